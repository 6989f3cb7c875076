"""Which files and folders of this computer a person may name in the studio.

Everything below a root may be named, and nothing else, wherever a link or ``..`` leads. Whoever
started the studio chooses the roots: the folder where it was started, the runs, and what
``--root`` adds. What is typed is text until ``check`` has resolved it.
"""

import glob
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from souron.data import load
from souron.utils import files as file_utils
from souron.utils.messages import UserError, _

MOST_FILES = 10_000  # that a pattern may stand for
ELSEWHERE = re.compile(r"[\\/]{2}")  # in Windows: another computer, or a device


class Roots:
    """The folders below which paths may be named; relative ones start from the first."""

    def __init__(self, folders: Sequence[Path]) -> None:
        assert folders, "without a root nothing could be named"
        self.start = Path(folders[0]).absolute()
        fetched = file_utils.cache_folder()
        self.folders = tuple(dict.fromkeys(Path(path).resolve() for path in [*folders, fetched]))

    def check(self, path: str | Path) -> Path:
        """Where a path leads, links followed; it need not exist.

        Raises UserError ("path", "outside") where it is no path, leaves every root, or is neither a
        file nor a folder.
        """
        text = str(path)
        absolute = self._absolute(text)
        try:
            found = Path(os.path.realpath(absolute))
        except ValueError as error:  # a zero byte, half a letter
            raise _no_path(text, _("it holds a character that no path has")) from error
        if not any(map(found.is_relative_to, self.folders)):
            raise self._outside(text)
        try:
            mode = found.stat().st_mode
        except FileNotFoundError:
            return found
        except OSError as error:
            raise _no_path(text, error.strerror or str(error)) from error
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise _no_path(text, _("it is a device or a connection, not a file"))
        return found

    def data(self, text: str) -> str:
        """The name of a data set as it is, a path as ``check`` resolves it. Raises UserError.

        As everywhere a data set's name goes before a folder of that name, which is ``./digits``.
        """
        return text if text in load.names() else str(self.check(text))

    def command(self, words: Sequence[str]) -> None:
        """Raises UserError where a word of a command line, or what stands behind its ``=``, is a
        path that leaves the roots. Names and numbers are taken for relative paths, which do not."""
        for word in words:
            for text in (word, word.partition("=")[2]):
                if text:
                    self.check(text)

    def files(self, patterns: Sequence[str]) -> list[Path]:
        """The files that the patterns stand for, a folder for all of its own; what a pattern finds
        outside of the roots is left out. Raises UserError where a pattern itself leads there, and
        where one stands for nothing."""
        found: dict[Path, None] = {}
        for pattern in patterns:
            some = self._some(pattern)
            if not some:
                raise UserError(
                    "missing",
                    _("there is no {path}").format(path=pattern),
                    expected=_("a file, a folder, or a pattern such as photos/*.png"),
                    exit=3,
                )
            found |= dict.fromkeys(some)
        return list(found)[:MOST_FILES]

    def _some(self, pattern: str) -> list[Path]:
        whole = self.check(pattern)
        if whole.is_file():
            return [whole]
        if whole.is_dir():
            names = sorted(whole.rglob("*"))
        else:  # unlike Path.glob it takes patterns that begin at the root
            names = sorted(map(Path, glob.glob(str(self._absolute(pattern)))))  # noqa: PTH207
        return [path for path in names if self._is_file(path)]

    def _is_file(self, path: Path) -> bool:
        try:
            return path.name[0] != "." and self.check(path).is_file()
        except UserError:
            return False

    def _absolute(self, text: str) -> Path:
        """The path as text says it, from the first root, ``~`` filled in. Raises UserError."""
        text = text.strip()
        if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":  # as copied from a terminal
            text = text[1:-1]
        if not text:
            raise _no_path(text, _("it is empty"))
        if os.name == "nt" and ELSEWHERE.match(text):
            raise self._outside(text)
        try:
            return self.start / Path(text).expanduser()
        except RuntimeError as error:  # ~somebody whom this computer does not know
            raise self._outside(text) from error

    def _outside(self, text: str) -> UserError:
        return UserError(
            "outside",
            _("{path} lies outside of the folders that the studio may read").format(path=text),
            expected=", ".join(map(str, self.folders)),
            fix=_("souron studio --root FOLDER, with the folder that holds it"),
            exit=3,
        )


def is_folder(path: Path) -> bool:
    """A folder itself, not a link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (OSError, ValueError):  # a zero byte, half a letter
        return False


def folder_size(folder: Path) -> int:
    """Bytes of all its files, links not followed."""
    total = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(place, name).lstat().st_size
    return total


def _no_path(text: str, why: str) -> UserError:
    shown = text if len(text) <= 80 else f"{text[:80]}…"
    return UserError(
        "path",
        _("{path} is not a path that can be used: {why}").format(
            path=repr(shown) if not shown.isprintable() else shown, why=why
        ),
        expected=_("a file or a folder on this computer"),
        exit=3,
    )
