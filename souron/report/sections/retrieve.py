"""Report sections of passage retrieval: by language, question by question, and the worst misses."""

from torch import Tensor

from souron.data.dataset import Dataset
from souron.evaluation.answers import Answers, dense
from souron.evaluation.record import RunRecord
from souron.report.blocks import Block, Cell, Group, Section, Table, sections
from souron.report.page import figures, filled
from souron.utils import units
from souron.utils.messages import N_, _

SHOWN = 16  # questions
WORST = 12  # of the missed answers, and of the false claims that an answer exists
LETTERS = 500  # characters of a question or passage
FIGURES = ("hit@1", "hit@3", "hit@8", "told whether it is there")
LANGUAGES = {"en": N_("English"), "ja": N_("Japanese")}


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for passage retrieval."""
    assert record.test is not None
    answers, test = record.answers[0], record.test
    return sections(
        ("languages", _("By language"), _languages(record)),
        ("found", _("Questions and what was found"), questions(answers, test)),
        ("missed", _("The worst misses"), missed(answers, test)),
        ("invented", _("Reported as present, but absent"), invented(answers, test)),
    )


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


def _languages(record: RunRecord) -> list[Table]:
    counts = [_("questions"), _("answered by the text")]
    rows = [
        ([_named(language), units.whole(found.asked), units.whole(found.there)], found.measures)
        for language, found in getattr(record.details, "by_language", {}).items()
    ]
    return figures([_("language"), *counts], rows, FIGURES, counts)


def questions(answers: Answers, test: Dataset) -> list[Block]:
    """Return evenly spaced questions with the passages that were retrieved."""
    if "places" not in answers:
        return []
    step = max(1, len(test) // SHOWN)
    text = _("Some test questions, and the passages that were found, the best first. Right ones are marked.")
    return [text, *(asked(answers, test, row) for row in range(0, len(test), step)[:SHOWN])]


def missed(answers: Answers, test: Dataset) -> list[Block]:
    """Return the questions whose correct passage has the worst rank."""
    if "places" not in answers:
        return []
    rank = dense(answers, "rank")
    rows = [row for row in rank.argsort(descending=True).tolist() if rank[row] > 1]
    text = _(
        "Of {all} questions that the text answers, {count} have another passage first. Those whose right passage has "
        "the lowest rank:"
    ).format(all=units.whole(int((rank > 0).sum())), count=units.whole(len(rows)))
    return [text, *(asked(answers, test, row) for row in rows[:WORST])] if rows else []


def invented(answers: Answers, test: Dataset) -> list[Block]:
    """Return unanswerable questions that were predicted answerable, the highest score first."""
    if "places" not in answers:
        return []
    score, found, rank = (dense(answers, name) for name in ("score", "found", "rank"))
    absent = rank == 0
    rows = [row for row in score.argsort(descending=True).tolist() if absent[row] and found[row]]
    text = _(
        "Of {all} questions that the text does not answer, {count} were reported as answered. The most confident of "
        "them:"
    ).format(all=units.whole(int(absent.sum())), count=units.whole(len(rows)))
    return [text, *(asked(answers, test, row) for row in rows[:WORST])] if rows else []


def asked(answers: Answers, test: Dataset, row: int) -> Group:
    """Return a question with its passages, the correct ones marked.

    If no retrieved passage is correct, the correct one is added.
    """
    search, target = test.input[row], test.target[row]
    spans = dense(answers, "places")[row].long()
    spans = spans[spans[:, 0] >= 0]
    passages = [(_cut(search.document[a:b]), _meets((a, b), target)) for a, b in spans.tolist()]
    shown: list[Block] = []
    for number, (text, right) in enumerate(passages, 1):
        marked = (Cell("✓", style="better"), Cell(text, style="mark")) if right else (text,)
        shown.append(Cell.of(f"{number}.", *marked))
    if not any(right for _text, right in passages):
        rank = int(dense(answers, "rank")[row])
        told = _("The right one, found as number {rank}:").format(rank=units.whole(rank) if rank else "")
        shown += [Cell.of(told, Cell(_cut(search.document[a:b]), style="mark")) for a, b in target.tolist()[:1]]
    there, found = len(target) > 0, bool(dense(answers, "found")[row])
    answered = _("the text answers it") if there else _("the text does not answer it")
    reported = _("reported as present") if found else _("reported as absent")
    score = f"({_('score')} {float(dense(answers, 'score')[row]):.2f})"
    verdict = Cell(reported, style="better" if found == there else "worse")
    last = Cell.of(f"{test.file[row]}; {answered},", verdict, score, style="faint")
    return Group(_cut(search.question), [*shown, last])


def _meets(span: tuple[int, int], target: Tensor) -> bool:
    return any(span[0] < last and first < span[1] for first, last in target.tolist())


def _cut(text: str) -> str:
    return text[:LETTERS] + ("…" if len(text) > LETTERS else "")


def _named(language: str) -> str:
    return _(LANGUAGES[language]) if language in LANGUAGES else language
