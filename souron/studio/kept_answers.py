"""The answers that open pages show, so that their switches redraw them without asking again.

They are kept in memory for an hour below an id that cannot be guessed, with the files of an answer
beside the uploads. The oldest ones make room for others.
"""

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from souron.kinds.kind import Kind
from souron.kinds.labelled_volume import LabelledVolume
from souron.studio.answers import Answer
from souron.studio.security.paths import upload_folder
from souron.utils.messages import UserError, _

SECONDS = 3600.0
MOST = 24
ENDS = {  # widget -> the forms in which an answer is offered, where it is not only its own
    "boxes": (".png", ".csv", ".json"),
    "score": (".mid", ".musicxml", ".wav", ".png"),
    "transcript": (".txt", ".srt", ".vtt", ".json"),
}


@dataclass
class Kept:
    """Answers of a system that one page shows, and how much was given."""

    system: str
    answers: list[Answer]
    count: int  # files that were given
    named: list[str]  # what the equivalent command names
    folder: Path = field(default_factory=lambda: Path(upload_folder()) / "answers" / secrets.token_hex(16))
    files: list[Path] = field(default_factory=list)
    made: float = field(default_factory=time.monotonic)
    guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def said(self) -> Kind | None:
        """The answer, where there is one alone."""
        one = self.answers[0].said if len(self.answers) == 1 else None
        return one if isinstance(one, Kind) else None

    def saved(self) -> list[Path]:
        """Return the files of the one answer, written at the first call. Raises UserError."""
        with self.guard:
            if self.said is not None and not self.files:
                self.files = list(_write(self.said, self.folder, _stem(self.answers[0].file)))
        return self.files


def _stem(file: str) -> str:
    """Return the name of an input's file without its end.

    >>> _stem("/tmp/ct.v2.nii.gz"), _stem("")
    ('ct.v2', 'souron')
    """
    return Path(Path(file).name.removesuffix(".gz")).stem[:80] or "souron"


def _write(said: Kind, folder: Path, name: str) -> list[Path]:
    from souron.report import labelled

    if not said.suffix:  # a folder
        said.save(folder)
        return sorted(folder.iterdir())
    first, *more = (folder / f"{name}{end}" for end in ENDS.get(said.widget, (said.suffix,)))
    said.save(first)
    for path in more:
        with suppress(UserError):  # a score without notes sounds of nothing
            said.save(path)
    if isinstance(said, LabelledVolume):
        labelled.write_beside(said, first)
    return [*filter(Path.is_file, [first, *more]), *map(Path, getattr(said, "also", ()))]


class Answers:
    """The answers of a server by id."""

    def __init__(self) -> None:
        self.kept: OrderedDict[str, Kept] = OrderedDict()
        self.guard = threading.Lock()

    def add(self, new: Kept, before: str = "") -> str:
        """Keep answers in the place of ``before``, and return their id."""
        id = secrets.token_urlsafe(16)
        with self.guard:
            self._forget(before)
            while self.kept and (len(self.kept) >= MOST or self._is_old(next(iter(self.kept.values())))):
                self._forget(next(iter(self.kept)))
            self.kept[id] = new
        return id

    def get(self, id: str) -> Kept | None:
        """Return the answers of that id; None where they are not kept any more."""
        found = self.kept.get(id)
        return None if found is None or self._is_old(found) else found

    def find(self, id: str) -> Kept:
        """Return the answers of that id. Raises UserError."""
        found = self.get(id)
        if found is None:
            raise UserError("missing", _("this answer is not kept any more"), fix=_("give it once more"))
        return found

    def _is_old(self, one: Kept) -> bool:
        return time.monotonic() - one.made > SECONDS

    def _forget(self, id: str) -> None:
        one = self.kept.pop(id, None)
        if one is not None:
            shutil.rmtree(one.folder, ignore_errors=True)


answers = Answers()  # of this server
