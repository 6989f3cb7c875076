"""The result of checking an answer: sentences, their passages and differences, as text and JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from souron.kinds.text import Text
from souron.society.claims.parts import Change
from souron.utils import units
from souron.utils.messages import N_, _

STATES = {
    "supported": N_("supported"),
    "contradicted": N_("contradicted"),
    "not found": N_("not found"),
    "no claim": N_("nothing to check"),
}
SIGNS = {"supported": "✓", "contradicted": "✗", "not found": "?", "no claim": "·"}
KINDS = {
    "number": N_("value"),
    "unit": N_("unit"),
    "date": N_("date"),
    "side": N_("side"),
    "order": N_("before or after"),
    "amount": N_("more or less"),
    "polarity": N_("opposite"),
    "negation": N_("negation"),
    "name": N_("name"),
    "swap": N_("exchanged"),
    "comparison": N_("at least or at most"),
    "word": N_("word"),
}


@dataclass(frozen=True)
class Checked:
    """A sentence of the answer with its deciding passage."""

    sentence: str
    start: int  # characters of the answer
    end: int
    state: str  # a key of STATES
    passage: str = ""  # the nearest one, even if nothing was found
    file: str = ""
    first: int = -1  # characters of the file's text
    last: int = -1
    score: float = 0.0  # probability that the passage supports it
    changed: Sequence[Change] = ()
    unchecked: Sequence[str] = ()  # kinds that could not be checked
    agree: tuple[int, int] | None = None  # resampled answers that agree, of how many

    @property
    def sign(self) -> str:
        return SIGNS[self.state]

    @property
    def state_name(self) -> str:
        return _(STATES[self.state])

    def told(self) -> list[str]:
        """Return the differences from the passage, and the agreement of resampled answers."""
        said = [change_text(change) for change in self.changed]
        if self.agree is not None:
            text = _("{count} of {all} answers that were sampled again say so")
            said.append(text.format(count=self.agree[0], all=self.agree[1]))
        return said

    def as_json(self) -> dict[str, Any]:
        told = {
            "sentence": self.sentence,
            "state": self.state,
            "passage": self.passage,
            "file": self.file,
            "score": round(self.score, 4),
            "changed": [change.as_json() for change in self.changed],
            "start": self.start,
            "end": self.end,
            "first": self.first,
            "last": self.last,
            "unchecked": list(self.unchecked),
        }
        if self.agree is not None:
            told["agree"] = {"answers": self.agree[0], "of": self.agree[1]}
        return told


@dataclass(frozen=True)
class Check:
    """A checked answer."""

    answer: str
    checked: Sequence[Checked]
    files: int
    sentences: int  # of the sources
    skipped: Sequence[str] = ()  # files that are not plain text
    citations: Sequence[Any] = ()
    seconds: float = 0.0
    texts: Sequence[Text] = field(default=(), repr=False)
    model: str = ""

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(each.state for each in self.checked)
        return {state: found[state] for state in STATES}

    def as_json(self) -> dict[str, Any]:
        told = {
            "sentences": [each.as_json() for each in self.checked],
            "counts": self.counts,
            "files": self.files,
            "source_sentences": self.sentences,
            "skipped": list(self.skipped),
            "seconds": round(self.seconds, 3),
        }
        if self.citations:
            told["citations"] = [finding.as_json() for finding in self.citations]
        return told

    def headline(self) -> str:
        found = self.counts
        text = _("{sentences} sentences: {supported} supported, {contradicted} contradicted, "
                 "{missing} not found.")  # fmt: skip
        return text.format(
            sentences=units.whole(len(self.checked) - found["no claim"]),
            supported=units.whole(found["supported"]),
            contradicted=units.whole(found["contradicted"]),
            missing=units.whole(found["not found"]),
        )

    def remarks(self) -> list[str]:
        """Return remarks on the limits of the verdicts."""
        said = [_("Supported means that a source says so, not that it is true. The check misses "
                  "errors and raises false alarms: read the passages.")]  # fmt: skip
        if any(each.unchecked for each in self.checked):
            said.append(_("Where a passage is in another language, numbers, units, dates and "
                          "sides were checked, negation and names were not."))  # fmt: skip
        if self.skipped:
            text = _("Not read, since they are no plain text: {files}. Save them as .txt first.")
            said.append(text.format(files=", ".join(self.skipped[:5])))
        return said

    def __str__(self) -> str:
        lines = [self.headline()]
        for each in self.checked:
            lines.append(f"{SIGNS[each.state]} {_(STATES[each.state])}: {line(each.sentence)}")
            lines += [f"    {told}" for told in described(each)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from souron.report import claims as page

        return page.fragment(self)


def from_json(told: Mapping[str, Any], answer: str) -> Check:
    """Read the output of ``Check.as_json``, without its references."""
    checked = [
        Checked(
            each["sentence"], each["start"], each["end"], each["state"], each["passage"],
            each["file"], each["first"], each["last"], each["score"],
            [Change(**change) for change in each["changed"]], each["unchecked"],
            (each["agree"]["answers"], each["agree"]["of"]) if "agree" in each else None,
        )
        for each in told["sentences"]
    ]  # fmt: skip
    return Check(answer, checked, told["files"], told["source_sentences"], told["skipped"],
                 seconds=told["seconds"])  # fmt: skip


def line(text: str) -> str:
    return " ".join(text.split())


def described(each: Checked) -> list[str]:
    """Return the differences, and the passage with its position."""
    told = each.told()
    if each.passage and each.state != "no claim":
        place = _("characters {start}–{end}").format(
            start=units.whole(each.first), end=units.whole(each.last)
        )
        name = f"{Path(each.file).name}, {place}" if each.file else place
        told.append(f"{line(each.passage)}  ({name})")
    return told


def change_text(change: Change) -> str:
    """Describe a difference: ``number: 250 mg, the source has 500 mg``."""
    kind = _(KINDS[change.kind])
    if change.kind == "negation":
        if change.answer:
            text = _("{kind}: {answer} is in the answer alone")
        else:
            text = _("{kind}: {source} is in the source alone")
    elif change.source:
        text = _("{kind}: {answer}, the source has {source}")
    else:
        text = _("{kind}: {answer} is not in the passage")
    return text.format(kind=kind, answer=line(change.answer), source=line(change.source))
