"""Check an answer against its sources: each sentence is supported, contradicted, or not found.

Vectors and BM25 find passages (``passages``), rules find differences (``comparison``), and a
learned judge decides (``judges``). Support means that a source says so, not that it is true.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from souron.actions.check import passages, self_consistency, verdicts
from souron.actions.check.record import Checked, CheckedAnswer
from souron.actions.references import findings as references
from souron.actions.references import library as shelf
from souron.data.language.sentences import Sentence, sentences
from souron.kinds.text import Text, text_of
from souron.runs import documents
from souron.runs.events import Event, last, left
from souron.utils import units
from souron.utils.messages import UserError, _

MOST_SENTENCES = 2_000  # of an answer
MOST_SAMPLES = 20  # resampled answers
UNREAD = (".pdf", ".docx", ".doc", ".odt", ".rtf", ".html", ".htm", ".pptx", ".xlsx")


def check(answer: Any, sources: Any, **options: Any) -> CheckedAnswer:
    """Check each sentence of ``answer`` against files, folders or a ``Text``.

    ``keep`` caches the sources' vectors. Raises UserError.

    Example:
        >>> from souron.kinds.text import Text
        >>> from souron.actions.check import faithfulness
        >>> found = faithfulness.check(Text("He took 250 mg."), Text("He took 0.5 g."))
        >>> found.checked[0].state
        'contradicted'
    """
    return last(checking(answer, sources, **options))


def checking(
    answer: Any,
    sources: Any,
    keep: bool = True,
    library: Sequence[str] = (),
    model: str = "",
    samples: int = 0,
    question: str = "",
    seed: int = 0,
) -> Iterator[Event]:
    """Run ``check`` and yield its events; the last one has the ``CheckedAnswer``."""
    begun = time.monotonic()
    if samples and not (model and question.strip()):
        raise UserError(
            "argument",
            _("samples= without a model and a question"),
            expected=_("who answered, and what was asked"),
            fix='model=smollm2 question="..." samples=5',
        )
    if not 0 <= samples <= MOST_SAMPLES:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="samples", value=samples),
            expected=f"0..{MOST_SAMPLES}",
        )
    said = text_of(answer).text
    cut = claims_of(said)
    yield Event("data", text=_("reading the text"))
    texts = documents.read(sources)
    skipped = unread(sources)
    findings = references.check(said, shelf.read(library))
    started, made = time.monotonic(), None
    for done, made in passages.prepared(texts, keep):  # noqa: B007
        yield Event("read", done, left(started, done), _("reading the text"))
    assert made is not None
    if not made.cut:
        raise no_sources(", ".join(text.file for text in texts[:3]))
    checked, started = [], time.monotonic()
    for number, sentence in enumerate(cut, 1):
        checked.append(verdicts.judged(sentence, made))
        done = number / len(cut)
        yield Event("check", done, left(started, done))
    if model and samples:
        steps = self_consistency.agreeing(checked, model, samples, question, seed)
        for done, checked in steps:  # noqa: B007
            yield Event("answer", done, text=_("the language model is writing"))
    seconds = time.monotonic() - begun
    record = CheckedAnswer(said, checked, len(texts), len(made.cut), skipped, findings, seconds)
    yield Event("done", 1.0, record=record)


def claims_of(answer: str) -> list[Sentence]:
    """Split the answer into sentences. Raises UserError if there are none, or too many."""
    cut = sentences(answer)
    if not cut:
        raise UserError(
            "empty answer",
            _("the answer has no sentence"),
            expected=_("a text of one sentence or more"),
            fix="souron check answer.txt sources=folder/",
            exit=3,
        )
    if len(cut) > MOST_SENTENCES:
        raise UserError(
            "too large",
            _("an answer of {count} sentences").format(count=units.whole(len(cut))),
            expected=_("at most {count}").format(count=units.whole(MOST_SENTENCES)),
            fix=_("check it in parts"),
            exit=3,
        )
    return cut


def no_sources(names: str) -> UserError:
    return UserError(
        "no texts",
        _("no sentence in {names}").format(names=names or "sources="),
        expected=_("texts with sentences, .txt or .md"),
        exit=3,
    )


def unread(sources: Any) -> list[str]:
    """Return the names of files in the folders that are not plain text."""
    given = [sources] if isinstance(sources, str | Path | Text) else list(sources)
    found = []
    for one in given:
        if isinstance(one, str | Path) and Path(one).is_dir():
            found += [path.name for path in sorted(Path(one).rglob("*")) if path.suffix.lower() in UNREAD]
    return found


__all__ = ["Checked", "CheckedAnswer", "check", "checking"]
