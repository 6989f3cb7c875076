"""Report sections of passage retrieval: by language, question by question, and the worst misses."""

from typing import Any

from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.answers import Answers, dense
from souron.evaluation.record import RunRecord
from souron.report.page import Section, figure, filled, section
from souron.utils import units
from souron.utils.messages import N_, _

TEMPLATE = "retrieve.html"
SHOWN = 16  # questions
WORST = 12  # of the missed answers, and of the false claims that an answer exists
LETTERS = 500  # characters of a question or passage
FIGURES = ("hit@1", "hit@3", "hit@8", "told whether it is there")
LANGUAGES = {"en": N_("English"), "ja": N_("Japanese")}


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for passage retrieval."""
    assert record.test is not None
    answers, test = record.answers[0], record.test
    parts = (
        ("languages", _("By language"), _languages(record)),
        ("found", _("Questions and what was found"), questions(answers, test)),
        ("missed", _("The worst misses"), missed(answers, test)),
        ("invented", _("Reported as present, but absent"), invented(answers, test)),
    )
    return [one for name, title, part in parts for one in section(name, title, TEMPLATE, part)]


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} questions to {data} in {time}. Of {test} test questions "
        "that the text answers, the first passage is right in {value} (95 % interval {interval})."
    )
    return filled(record, text, "hit@1")


def notes(record: RunRecord) -> list[str]:
    """Return the caveats of the figures."""
    told = []
    if record.data == "help_questions":
        told.append(_("Paragraphs and titles serve as questions here: people ask differently."))
    measure = record.measures.get("told whether it is there")
    if measure is not None and record.test is not None:
        there = sum(len(target) > 0 for target in record.test.target) / len(record.test)
        if measure.low <= max(there, 1 - there):
            told.append(_("Whether the text answers is predicted no better than by always saying the same."))
    return told


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Finding the passages that answer a question to a text like those of {data}.")
    return text.format(data=record.data), 'model("guide.txt", question="...")'


def _languages(record: RunRecord) -> Any:
    by_language = getattr(record.details, "by_language", {})
    return (
        {
            "names": [registry.metric(name).title for name in FIGURES],
            "rows": [
                {
                    "name": _named(language),
                    "asked": found.asked,
                    "there": found.there,
                    "figures": [figure(name, found.measures.get(name)) for name in FIGURES],
                }
                for language, found in by_language.items()
            ],
        }
        if by_language
        else {}
    )


def questions(answers: Answers, test: Dataset) -> list[dict[str, Any]]:
    """Return evenly spaced questions with the passages that were retrieved."""
    if "places" not in answers:
        return []
    step = max(1, len(test) // SHOWN)
    return [asked(answers, test, row) for row in range(0, len(test), step)][:SHOWN]


def missed(answers: Answers, test: Dataset) -> dict[str, Any]:
    """Return the questions whose correct passage has the worst rank."""
    if "places" not in answers:
        return {}
    rank = dense(answers, "rank")
    rows = [row for row in rank.argsort(descending=True).tolist() if rank[row] > 1]
    return (
        {"count": len(rows), "all": int((rank > 0).sum()), "items": [asked(answers, test, row) for row in rows[:WORST]]}
        if rows
        else {}
    )


def invented(answers: Answers, test: Dataset) -> dict[str, Any]:
    """Return unanswerable questions that were predicted answerable, the highest score first."""
    if "places" not in answers:
        return {}
    score, found, rank = (dense(answers, name) for name in ("score", "found", "rank"))
    absent = rank == 0
    rows = [row for row in score.argsort(descending=True).tolist() if absent[row] and found[row]]
    return (
        {"count": len(rows), "all": int(absent.sum()), "items": [asked(answers, test, row) for row in rows[:WORST]]}
        if rows
        else {}
    )


def asked(answers: Answers, test: Dataset, row: int) -> dict[str, Any]:
    """Return a question with its passages, the correct ones marked.

    If no retrieved passage is correct, the correct one is added.
    """
    search, target = test.input[row], test.target[row]
    spans = dense(answers, "places")[row].long()
    spans = spans[spans[:, 0] >= 0]
    rank = int(dense(answers, "rank")[row])
    passages = [(_cut(search.document[a:b]), _meets((a, b), target)) for a, b in spans.tolist()]
    there = len(target) > 0
    wanted = [] if any(right for _text, right in passages) else target.tolist()[:1]
    return {
        "file": test.file[row],
        "question": _cut(search.question),
        "passages": passages,
        "rank": units.whole(rank) if rank else "",
        "there": there,
        "told": bool(dense(answers, "found")[row]),
        "score": f"{float(dense(answers, 'score')[row]):.2f}",
        "wanted": [_cut(search.document[a:b]) for a, b in wanted],
    }


def _meets(span: tuple[int, int], target: Tensor) -> bool:
    return any(span[0] < last and first < span[1] for first, last in target.tolist())


def _cut(text: str) -> str:
    return text[:LETTERS] + ("…" if len(text) > LETTERS else "")


def _named(language: str) -> str:
    return _(LANGUAGES[language]) if language in LANGUAGES else language
