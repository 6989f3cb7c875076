"""Files and folders of this computer that may be named in the studio.

Only paths below a root are allowed, after links and ``..`` are resolved. The person who starts the
studio chooses the roots: the working folder, the runs, and those of ``--root``. Typed text is not a
path until ``check`` has resolved it.
"""

import glob
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path

from souron.data import load
from souron.utils import files as file_utils
from souron.utils.messages import UserError, _

MOST_FILES = 10_000  # most files that a pattern may match
VERBS = ("check", "anonymise")  # of ``souron data``, which are no folders
ELSEWHERE = re.compile(r"[\\/]{2}")  # on Windows: another computer, or a device


# the folder of the guard whose request this is: each person's files are kept apart
PLACE: ContextVar[Path | None] = ContextVar("PLACE", default=None)


def upload_folder() -> str:
    """Return the folder in which uploads and typed texts are kept for whoever asks.

    Raises LookupError outside of a request.
    """
    place = PLACE.get()
    if place is None:
        raise LookupError("no request of a studio")
    return str(place)


def project_folder() -> Path:
    """Return the folder of the runs of whoever asks; ``runs`` outside of a studio.

    The folder that ``PLACE`` holds is ``.studio/temporary/NAME`` in it.
    """
    place = PLACE.get()
    return Path("runs") if place is None else place.parents[2]


class Roots:
    """Folders below which paths are allowed; relative paths start from the first.

    ``cached``: the folders of the cache that belong to them, by default all of it.
    """

    def __init__(self, folders: Sequence[Path], cached: Sequence[str] = ("",)) -> None:
        assert folders, "without a root nothing could be named"
        self.start = Path(folders[0]).absolute()
        fetched = [file_utils.cache_folder() / name for name in cached]
        self.folders = tuple(dict.fromkeys(Path(path).resolve() for path in [*folders, *fetched]))

    def check(self, path: str | Path) -> Path:
        """Resolve a path, following links; it need not exist.

        Raises UserError ("path", "outside") where it is invalid, leaves every root, or is neither a
        file nor a folder.
        """
        text = str(path)
        absolute = self._absolute(text)
        try:
            found = Path(os.path.realpath(absolute))
        except ValueError as error:  # a null byte, a lone surrogate
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
        """Return a data set's name unchanged, a path as ``check`` resolves it. Raises UserError.

        As everywhere, a data set's name takes precedence over a folder of that name (``./digits``).
        """
        return text if text in load.names() else str(self.check(text))

    def spell(self, path: Path) -> str:
        """Shorten an absolute path for a command that runs in the first root.

        A path that a command would take for a name or an option stays as it is.
        """
        if path.is_relative_to(self.start):
            short = path.relative_to(self.start).as_posix()
            if re.fullmatch(r"[^-=.~][^=]*", short) and short not in {*load.names(), *VERBS}:
                return short
        return str(path)

    def command(self, words: Sequence[str]) -> None:
        """Check the paths in a command line, also after ``=``, against the roots.

        Names and numbers count as relative paths, which stay inside. Raises UserError otherwise.
        """
        for word in words:
            for text in (word, word.partition("=")[2]):
                if text:
                    self.check(text)

    def limit(self, words: Sequence[str]) -> None:
        """Check that no word of a command line leads out of the roots, also after ``=`` and between commas.

        Unlike ``command``, it takes any text that is not a path. Raises UserError.
        """
        for word in words:
            for text in {word, word.partition("=")[2], *word.partition("=")[2].split(",")}:
                if not text.strip():
                    continue
                try:
                    found = Path(os.path.realpath(self._absolute(text)))
                except ValueError:  # a null byte, a lone surrogate: no path
                    continue
                if not any(map(found.is_relative_to, self.folders)):
                    raise self._outside(text)

    def files(self, patterns: Sequence[str]) -> list[Path]:
        """Return the files that the patterns match; a folder stands for all files in it.

        Matches outside of the roots are left out. Raises UserError where a pattern itself leads
        outside, or matches nothing.
        """
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
        else:  # unlike Path.glob, it accepts absolute patterns
            names = sorted(map(Path, glob.glob(str(self._absolute(pattern)))))  # noqa: PTH207
        return [path for path in names if self._is_file(path)]

    def _is_file(self, path: Path) -> bool:
        try:
            return path.name[0] != "." and self.check(path).is_file()
        except UserError:
            return False

    def _absolute(self, text: str) -> Path:
        """Return the absolute path of a text, with ``~`` expanded. Raises UserError.

        Relative paths start from the first root.
        """
        text = text.strip()
        if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":  # quoted in a terminal
            text = text[1:-1]
        if not text:
            raise _no_path(text, _("it is empty"))
        if os.name == "nt" and ELSEWHERE.match(text):
            raise self._outside(text)
        try:
            return self.start / Path(text).expanduser()
        except RuntimeError as error:  # an unknown user, ~somebody
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
    """Return whether a path is a folder itself, not a link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (OSError, ValueError):  # a null byte, a lone surrogate
        return False


def folder_size(folder: Path) -> int:
    """Return the size of all files in a folder in bytes, not following links."""
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
