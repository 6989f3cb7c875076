"""Measure how many of a language model's answers are harmful, before and after tuning.

Each prompt is answered, each answer is split into sentences, and each sentence is judged by three
methods (``judges``): an answer is harmful if one of its sentences is. Prompts are resampled, so
that several answers to one prompt do not count as several prompts. Two models get the same prompts,
and their difference is judged pair by pair (``stats.verdict``); it applies to these two trained
networks. Gehman and others: RealToxicityPrompts (2020), https://arxiv.org/abs/2009.11462, measure
in the same way with longer prompts and a larger classifier.

With ``prompts="manners"`` the prompts are the test questions of ``manner_pairs``, and their own
judge (``evaluation.manners``) is added to the three methods.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from souron import model as models
from souron.data.composing import manners
from souron.data.texts import language
from souron.data.tokenizer import readable
from souron.evaluation.answers import Step
from souron.evaluation.conversation import Voice
from souron.evaluation.text_generation import Sampling, answers
from souron.kinds.chat import Turn
from souron.society.improper import corpus, judges
from souron.society.improper.corpus import LANGUAGES, Prompt
from souron.society.improper.judges import WAYS, Flagged, Judge, Record, Way
from souron.stats import intervals, verdict
from souron.stats.records import Measure, Verdict
from souron.utils import files
from souron.utils.messages import UserError, _

MANNERS = "manners"
LENGTH = 48  # tokens of an answer
MOST_PROMPTS, MOST_LETTERS, MOST_EACH = 5_000, 4_000, 50
MOST_BYTES = 20_000_000  # of a file of prompts
SAMPLING = (0.8, 0.95)  # temperature and top-p, as in souron chat
ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class Answered:
    """A model's answers, ``each`` per prompt, grouped by prompt."""

    model: str
    texts: list[str]
    flagged: dict[Way, list[list[Flagged]]]  # the harmful sentences of each answer
    improper: dict[str, NDArray[np.bool_]]  # method, or MANNERS -> (answers,)


@dataclass
class ImproperRecord:
    """The result of one audit."""

    model: str
    after: Answered
    before: Answered | None
    prompts: list[Prompt]
    each: int
    seed: int
    length: int
    words: str  # the lexicon's name
    entries: int
    judged: list[Record]  # accuracy of the methods
    thresholds: dict[str, float]
    folder: Path
    report: Path = field(default=Path())

    @property
    def rows(self) -> list[int]:
        """Return the index of the prompt of each answer."""
        return [number for number in range(len(self.prompts)) for _time in range(self.each)]

    def rate(self, answered: Answered, way: str, language: str = "", sort: str = "") -> Measure:
        """Return the share of harmful answers, optionally of one language or type of prompt."""
        rows = np.array(self.rows)
        of = np.array([
            language in ("", self.prompts[row].language) and sort in ("", self.prompts[row].sort)
            for row in rows
        ])  # fmt: skip
        table = answered.improper[way][None, of].astype(np.float64)
        return intervals.interval(table, None if self.each == 1 else rows[of].tolist())

    def verdict(self, way: str = "both") -> Verdict | None:
        """Return the verdict of after against before; None without the latter."""
        if self.before is None:
            return None
        scores = {
            name: one.improper[way][None].astype(np.float64)
            for name, one in (("after", self.after), ("before", self.before))
        }
        groups = None if self.each == 1 else self.rows
        return verdict.judge(scores, higher_is_better=False, groups=groups)[0]

    def parts(self, name: str) -> list[str]:
        """Return the distinct languages or types of the prompts; empty if there is only one."""
        found = list(dict.fromkeys(getattr(prompt, name) for prompt in self.prompts))
        return found if len(found) > 1 else []

    def as_json(self) -> dict[str, Any]:
        def rates(answered: Answered) -> dict[str, Any]:
            return {
                way: {**_per_1000(self.rate(answered, way)), "by_sort": {
                    sort: _per_1000(self.rate(answered, way, sort=sort))
                    for sort in self.parts("sort")
                }, "by_language": {
                    spoken: _per_1000(self.rate(answered, way, language=spoken))
                    for spoken in self.parts("language")
                }}
                for way in answered.improper
            }  # fmt: skip

        found = self.verdict()
        return {
            "model": self.model,
            "before": None if self.before is None else self.before.model,
            "prompts": len(self.prompts), "answers": len(self.after.texts),
            "seed": self.seed, "length": self.length,
            "lexicon": {"name": self.words, "entries": self.entries},
            "per_1000": rates(self.after),
            "per_1000_before": None if self.before is None else rates(self.before),
            "verdict": None if found is None else {
                "verdict": found.verdict, "fewer_per_1000": 1000 * found.difference,
                "low": 1000 * found.low, "high": 1000 * found.high,
                "prompts_needed": found.cases_needed,
            },
            "judges": [each.as_json() for each in self.judged],
            "report": str(self.report), "answers_file": str(self.folder / ANSWERS),
        }  # fmt: skip


def _per_1000(found: Measure) -> dict[str, float | int]:
    return {"value": 1000 * found.value, "low": 1000 * found.low, "high": 1000 * found.high,
            "n": found.n}  # fmt: skip


def auditing(
    model: str,
    before: str | None = None,
    prompts: str | None = None,
    lexicon: str | None = None,
    n: int | None = None,
    each: int = 1,
    language: str = "",
    seed: int = 0,
    length: int = LENGTH,
    project: str | Path = "runs",
) -> Iterator[Step]:
    """Yield progress and, at the end, an ``ImproperRecord`` with its folder.

    The folder is created in ``project/improper``. ``n`` limits the prompts, evenly over types;
    ``each`` is the number of answers per prompt; ``language`` selects prompts. Raises UserError.
    """
    asked = chosen(prompts_of(prompts), n, language)
    if not 1 <= each <= MOST_EACH:
        raise UserError("value", _("{count} answers to a prompt").format(count=each),
                        expected=_("1 to {most}").format(most=MOST_EACH))  # fmt: skip
    yield Step(0.0, _("training the classifier"))
    judging = judges.judge(words=lexicon)
    found: dict[str, Answered] = {}
    names = [model, *([before] if before else [])]
    for number, name in enumerate(names):
        yield Step(number / len(names), _("loading {name}").format(name=name))
        voice = models.load(name).voice
        texts: list[str] = []
        for step in answering(voice, asked, each, seed, length):
            texts = step.result or texts
            yield Step((number + 0.9 * step.done) / len(names), step.text)
        yield Step((number + 0.9) / len(names), _("judging the answers"))
        found[name] = judged(judging, name, asked, texts, each)
    words, classifier = judging.words, judging.classifier
    record = ImproperRecord(
        model, found[model], found[before] if before else None, asked, each, seed, length,
        words.name if words else "", words.count if words else 0, judges.record(judging),
        classifier.thresholds if classifier else {},
        files.new_folder(Path(project) / "improper", Path(model).name or "model"),
    )  # fmt: skip
    write_answers(record)
    yield Step(1.0, result=record)


def answering(
    voice: Voice, asked: Sequence[Prompt], each: int, seed: int, length: int = LENGTH
) -> Iterator[Step]:
    """Generate ``each`` answers to every prompt, returned in order at the end."""
    one = [_tokens(voice, prompt.text, length) for prompt in asked]
    tokens = [row for row in one for _time in range(each)]
    texts = [""] * len(tokens)
    sampling = Sampling(*SAMPLING, seed=seed)
    reader = voice.reader
    for done, (row, written) in enumerate(answers(reader, tokens, length, sampling), 1):
        texts[row] = reader.tokenizer.decode(written)
        if done % 8 == 0:
            yield Step(done / len(tokens), _("answering {n} prompts").format(n=len(asked)))
    yield Step(1.0, result=texts)


def _tokens(voice: Voice, prompt: str, length: int) -> list[int]:
    """Tokenise a prompt; one that leaves less room than ``length`` gets a shorter answer.

    Raises UserError if no room is left.
    """
    turns = (Turn("user", readable(prompt)),)
    tokens = voice.tokens(turns)
    return tokens if len(tokens) < voice.reader.context else voice.prompt(turns, length).tokens


def judged(
    judging: Judge, name: str, asked: Sequence[Prompt], texts: list[str], each: int = 1
) -> Answered:
    """Judge the answers by each method."""
    flagged = judging.answers(texts)
    found: dict[str, Any] = {way: np.array([bool(row) for row in flagged[way]]) for way in WAYS}
    sorts = [prompt.sort for prompt in asked for _time in range(each)]
    if set(sorts) <= set(manners.SORTS):
        found[MANNERS] = np.array([
            manners.judged(sort, text).improper for sort, text in zip(sorts, texts, strict=True)
        ])  # fmt: skip
    return Answered(name, texts, flagged, found)


def prompts_of(name: str | None) -> list[Prompt]:
    """Load souron's own prompts, ``manners``, or those of a file. Raises UserError."""
    if name is None:
        return corpus.prompts()
    if name == MANNERS:
        counts = {"train": 0, "val": 0, "test": manners.COUNTS["test"]}
        return [
            Prompt(one.prompt, one.language, one.sort, one.name)
            for one in manners.exchanges(counts=counts)
        ]
    return own_prompts(Path(name).expanduser())


def own_prompts(file: Path) -> list[Prompt]:
    """Read prompts, one per line, or JSONL with ``prompt`` and optionally ``sort``.

    Raises UserError.
    """
    try:
        if not file.is_file():
            raise _no_prompts(file, _("no such file"))
        if file.stat().st_size > MOST_BYTES:
            raise _no_prompts(file, _("more than {count} bytes").format(count=MOST_BYTES))
        lines = file.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _no_prompts(file, str(error)[:200]) from error
    made: list[Prompt] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        text, sort = _told(line) if file.suffix == ".jsonl" else (line.strip(), "")
        if not text or len(text) > MOST_LETTERS or len(made) >= MOST_PROMPTS:
            raise _no_prompts(file, _("line {number}").format(number=number))
        made.append(Prompt(text, language(text), sort, f"{file.name}#{number}"))
    if not made:
        raise _no_prompts(file, _("empty"))
    return made


def _told(line: str) -> tuple[str, str]:
    """Return prompt and type from a line of JSON; "" if missing."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return "", ""
    text = told.get("prompt") if isinstance(told, dict) else None
    sort = told.get("sort", "") if isinstance(told, dict) else ""
    return (text.strip() if isinstance(text, str) else ""), str(sort)[:60]


def _no_prompts(file: Path, why: str) -> UserError:
    return UserError(
        "prompts",
        _("{file} holds no prompts: {why}").format(file=file, why=why),
        expected=_('a text with a prompt a line, or .jsonl with "prompt": at most {count} of '
                   "{letters} characters").format(count=MOST_PROMPTS, letters=MOST_LETTERS),
        fix="prompts=manners",
        exit=3,
    )  # fmt: skip


def chosen(asked: Sequence[Prompt], n: int | None, spoken: str = "") -> list[Prompt]:
    """Select at most ``n`` prompts, in turn from each type and language, keeping their order.

    Raises UserError.
    """
    if spoken and spoken not in LANGUAGES:
        raise UserError("language", _("no such language: {wish}").format(wish=spoken),
                        expected=", ".join(LANGUAGES))  # fmt: skip
    kept = [prompt for prompt in asked if spoken in ("", prompt.language)]
    if not kept:
        raise UserError("prompts", _("no prompt is in that language"), expected="language=en")
    if n is None or n >= len(kept):
        return kept
    seen: dict[tuple[str, str], int] = {}
    places = []
    for row, prompt in enumerate(kept):
        key = (prompt.sort, prompt.language)
        places.append((seen.setdefault(key, 0), row))
        seen[key] += 1
    return [kept[row] for row in sorted(row for _place, row in sorted(places)[:n])]


def write_answers(record: ImproperRecord) -> None:
    """Write every answer with its verdicts, one line of JSON each."""
    lines = []
    for answered in filter(None, (record.after, record.before)):
        for number, (row, text) in enumerate(zip(record.rows, answered.texts, strict=True)):
            prompt = record.prompts[row]
            flags = {way: bool(found[number]) for way, found in answered.improper.items()}
            lines.append(files.as_json({
                "model": answered.model, "prompt": prompt.text, "sort": prompt.sort,
                "language": prompt.language, "answer": text, **flags,
            }))  # fmt: skip
    text = "\n".join(lines) + "\n"
    files.write_text(record.folder / ANSWERS, text.encode("utf-8", "replace").decode())
