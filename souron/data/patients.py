"""Which pictures belong to one patient: from a column, a folder for each, or the files' names."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from souron.utils.messages import UserError, _

NAMED = re.compile(
    r"(?:^|[_\-. ])"
    r"((?:patient|pat|subject|subj|sub|person|case|pid|pt|id|p|s)[_\-]?\d+)"
    r"(?=[_\-. ])",
    re.IGNORECASE,
)
FEWEST = 3  # groups; fewer are more likely a name for something else


class Groups(NamedTuple):
    names: list[str]  # of each case; "" where it stands for itself
    how: str  # what they were read from, in the reader's language; "" without groups


def groups(files: Sequence[str], labels: Sequence[str], wish: str | None = None) -> Groups:
    """Groups from the names of files (``class/p012_left.png``, with slashes) and their labels.

    ``wish``: None looks by itself; ``"none"`` makes no groups; else a regular expression whose
    first bracket, or whole match, is the group. Raises UserError where it is none or matches
    nothing.
    """
    if wish == "none":
        return Groups([""] * len(files), "")
    if wish is not None:
        return _by_wish(files, wish)
    ways = ((_by_name(files), _("file names")), (_by_folder(files, labels), _("folders")))
    for names, how in ways:
        if _plausible(names):
            shown = _("{how}, as {name} in {file}").format(how=how, name=names[0], file=files[0])
            return Groups(names, shown)
    return Groups([""] * len(files), "")


def _by_wish(files: Sequence[str], wish: str) -> Groups:
    try:
        pattern = re.compile(wish)
    except re.error as error:
        raise UserError(
            "group",
            _("{wish!r} is no regular expression: {why}").format(wish=wish, why=error),
            expected=_("none, a column of the CSV, or a pattern such as {pattern}").format(
                pattern=r"(p\d+)_"
            ),
        ) from error
    found = [pattern.search(file) for file in files]
    names = [match[1 if pattern.groups else 0] or "" if match else "" for match in found]
    if not any(names):
        raise UserError(
            "group",
            _("the pattern {wish!r} is in no file's name, as {file}").format(
                wish=wish, file=files[0] if files else ""
            ),
            expected=_("a pattern such as {pattern}").format(pattern=r"(p\d+)_"),
            fix="group=none",
        )
    return Groups(names, _("the pattern {wish}").format(wish=wish))


def _by_name(files: Sequence[str]) -> list[str]:
    found = [NAMED.search(PurePosixPath(file).name) for file in files]
    return [match[1].lower() if match else "" for match in found]


def _by_folder(files: Sequence[str], labels: Sequence[str]) -> list[str]:
    """``cat/p012/1.png``: a folder of its own within the class."""
    folders = [PurePosixPath(file).parent.name for file in files]
    return ["" if name == label else name for name, label in zip(folders, labels, strict=True)]


def _plausible(names: Sequence[str]) -> bool:
    """Every case has a group, some groups hold several, and there are not just a few groups."""
    distinct = set(names)
    return "" not in distinct and FEWEST <= len(distinct) < len(names)
