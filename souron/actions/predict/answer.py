"""The answer of a system for one file, as it is printed and saved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from souron.action import Hint, Note, Record
from souron.hub import names
from souron.kinds import finding
from souron.pipelines.answer_lines import as_json, best, excludes
from souron.utils import files, units
from souron.utils.messages import N_, UserError, _
from souron.utils.terminal import likelihoods

BEFORE = 300  # characters of a given text that stand before its continuation


@dataclass
class Answer(Record):
    """The answer of a system for a file, or the ``UserError`` in its place."""

    eyebrow = N_("answer")

    file: str
    answer: Any
    saved: Path | None = None
    top: int = 5  # labels that are shown
    least: float | None = None  # confidence below which a person is asked; None refers nothing
    origin: Mapping[str, Any] = field(default_factory=dict)  # what answered it
    folder: Path | None = None

    @property
    def referred(self) -> bool:
        """Return whether the confidence of labels is below ``least``."""
        return self.least is not None and excludes(self.answer) and best(self.answer, 1)[0][1] < self.least

    def page_title(self) -> str:
        return self.file

    def as_json(self) -> dict[str, Any]:
        told = as_json(self.file, self.answer, self.top, self.origin)
        if "error" in told:
            return told
        refer = {} if self.least is None else {"refer": self.referred}
        return told | refer | ({"saved": str(self.saved)} if self.saved else {})

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def sentences(self) -> list[str]:
        if isinstance(self.answer, UserError):
            return [f"{self.file}: {self.answer.found}"]
        words = " ".join(str(self.answer).split()) if excludes(self.answer) else self._words()[-1]
        return [f"{self.file}: {words}"]

    def notes(self) -> list[str]:
        """Return a warning where the case is unlike the training data, and where a person is to decide."""
        unlike = finding.unlike(self.answer)
        refer = [_("{file}: pass on to a person").format(file=self.file)] if self.referred else []
        return [*([f"{self.file}: {unlike}"] if unlike else []), *refer]

    def shown(self) -> list[Any]:
        if isinstance(self.answer, UserError):
            first, *rest = str(self.answer).splitlines()
            return [Note(first), *map(Hint, rest)]
        paths = [self.saved, *getattr(self.answer, "also", [])] if self.saved else []
        return [
            *map(Note, self.notes()),
            *self._body(),
            *map(Note, getattr(self.answer, "notes", ())),
            *(_("saved: {path}").format(path=path) for path in paths),
        ]

    def _body(self) -> list[Any]:
        """Return the file and its labels with bars, or the answer in words; of an unlike case a guess."""
        labels = []
        if excludes(self.answer):
            labels = [(self.answer.called(label), share) for label, share in best(self.answer, self.top)]
        if finding.standing(self.answer) == "unlike":
            words = [" ".join([labels[0][0], units.percent(labels[0][1])])] if labels else self._words()
            return [*words[:-1], self.file, finding.guess(words[-1])]
        return [self.file, likelihoods(labels)] if labels else [self.file, *self._words()]

    def _words(self) -> list[Any]:
        """Return the answer as text: marks with their scores, of a long text that it continues the end alone."""
        start = getattr(self.answer, "continues", 0) - BEFORE
        if start <= 0:
            return [str(getattr(self.answer, "scored", self.answer))]
        hint = Hint(_("{count} characters before it are not shown").format(count=units.whole(start)))
        return [hint, f"… {self.answer.text[start:]}"]


def place_of_answers(meaning: names.Meaning) -> Path:
    """Return a new folder for answers, inside the run if the system is one of the user's."""
    own = meaning.folder if type(meaning) is names.Run else Path()  # not a ``Ready``
    return files.new_folder(own, "answers")
