"""Corrections of a data set that a person made, one by one, each of which can be taken back.

The files themselves are never changed. Corrections are applied to the table of the cases
(``case_table.rows``), and the corrected table is written beside the files, for training on it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from souron.utils import files
from souron.utils.messages import UserError, _

Kind = Literal["leave out", "label", "group", "split", "different"]
MOST = 100_000  # corrections of a data set
Row = Mapping[str, str]  # of a table: "filename", "label", "group", "part", further columns


@dataclass(frozen=True)
class Correction:
    """One decision about some files."""

    kind: Kind
    files: tuple[str, ...] = ()  # () of "split", which is about all
    value: str = ""  # the label of "label", the patient of "group"
    reason: str = ""  # the code of the finding that it answers


def corrected(table: Iterable[Row], corrections: Sequence[Correction]) -> list[dict[str, str]]:
    """Return the rows of a table after all corrections, in their order.

    "leave out" removes files, "label" and "group" give files another label or patient, "split"
    removes the parts, so that souron splits the data anew. "different" says of two files that they are no copies,
    and changes nothing. Unknown files change nothing.

    >>> table = [{"filename": "a.png", "label": "cat"}, {"filename": "b.png", "label": "dog"}]
    >>> corrected(table, [Correction("label", ("a.png",), "dog"), Correction("leave out", ("b.png",))])
    [{'filename': 'a.png', 'label': 'dog'}]
    """
    rows = {row["filename"]: dict(row) for row in table}
    for one in corrections:
        for name in one.files:
            if name not in rows:
                continue
            if one.kind == "leave out":
                del rows[name]
            elif one.kind != "different":
                rows[name][one.kind] = one.value
        if one.kind == "split":
            for row in rows.values():
                row["part"] = ""
    return list(rows.values())


def read(path: Path) -> list[Correction]:
    """Return the corrections that are kept in a file; [] where there are none. Raises UserError."""
    if not path.exists():
        return []
    try:
        return [_correction(one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(
            "damaged",
            _("{path} holds no corrections that can be read").format(path=path),
            expected=_("the file as it was written"),
            fix=_("rename or delete it; the corrections begin anew"),
            exit=3,
        ) from error


def _correction(one: Any) -> Correction:
    found = Correction(one["kind"], tuple(map(str, one["files"])), str(one["value"]), str(one["reason"]))
    if found.kind not in get_args(Kind):
        raise ValueError(found.kind)
    return found


def write(path: Path, corrections: Sequence[Correction]) -> None:
    """Keep corrections in a file. Raises UserError, also for too many."""
    if len(corrections) > MOST:
        raise UserError(
            "too many",
            _("{count} corrections are too many").format(count=len(corrections)),
            expected=_("at most {most}").format(most=MOST),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, [asdict(one) for one in corrections])
