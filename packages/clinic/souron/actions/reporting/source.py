"""Read the files of a finished run, a comparison, an exam or an arena, without opening its images.

Everything in them may come from somebody else: sizes are limited, and a value of another type than expected counts as
absent.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from souron import registry
from souron.data import load, prediction_table
from souron.data.formats.csv_table import COLUMNS, FURTHER, key_of
from souron.data.quality import warnings as data_warnings
from souron.runs import datasheet
from souron.runs import folder as run_folder
from souron.runs.datasheet import Datasheet
from souron.utils import units
from souron.utils.messages import UserError, _

MOST_BYTES = 20_000_000  # of a file
LONGEST = 400  # characters of a text
LANGUAGE = ("Text", "Question")  # inputs of tasks that work on texts
STUDIES = {"exam.json": "exam", "arena.json": "arena"}  # file of a study -> its kind


@dataclass
class Source:
    """The facts that the files of one folder hold; what they do not hold is empty."""

    folder: Path
    kind: str  # "run", "comparison", "exam" or "arena"
    receipt: dict[str, Any]
    args: dict[str, Any] = field(default_factory=dict)
    sheet: Datasheet | None = None  # of a run
    folds: int = 1
    repeats: int = 1
    units: tuple[int, int] = (0, 0)  # tested cases, and their groups (patients); 0 groups unless every case names one
    apart: bool = False  # True: no group is in two parts of a split, or in two folds of a repeat
    by_gradient: bool = False  # True: its learning curve has losses
    columns: dict[str, list[str]] = field(default_factory=dict)  # further columns of the data's table, a cell per case
    confusion: dict[tuple[str, str], int] = field(default_factory=dict)  # (label, predicted) -> test cases

    @property
    def system(self) -> str:
        return text(self.args.get("system") or self.receipt.get("system") or self.receipt.get("model"))

    @property
    def options(self) -> dict[str, Any]:
        return mapping(self.receipt.get("options"))

    @property
    def data(self) -> dict[str, Any]:
        return mapping(self.receipt.get("data"))

    @property
    def seen(self) -> dict[str, Any]:
        return mapping(self.args.get("seen"))

    @property
    def labels(self) -> list[str]:
        """The classes, in the order of the network's outputs."""
        return [text(label) for label in sequence(self.seen.get("labels"))]

    @property
    def entry(self) -> registry.Entry | None:
        """The system's entry; None for a name that is no system, such as an open language model."""
        return registry.find(self.system)[0] if self.system and registry.is_system(self.system) else None

    @property
    def task(self) -> str:
        return text(self.receipt.get("task")) or (self.entry.task if self.entry else "")

    @property
    def of_images(self) -> bool:
        return registry.takes(self.task) in ("Picture", "Volume") if self.task else False

    @property
    def of_language(self) -> bool:
        return self.kind in STUDIES.values() or (bool(self.task) and registry.takes(self.task) in LANGUAGE)

    @property
    def groups_are_patients(self) -> bool:
        """Return whether the groups of cases are patients: of own images, each of which names its group."""
        own = text(self.options.get("data") or self.args.get("data")) not in load.names()
        return self.of_images and own and self.units[1] > 0

    @property
    def measures(self) -> dict[str, dict[str, float]]:
        """The measures with a finite value and interval, by their names; all of them numbers."""
        found = {}
        for name, about in mapping(self.receipt.get("measures")).items():
            one = {key: number(mapping(about).get(key)) for key in ("value", "low", "high", "n", "groups")}
            if all(math.isfinite(one[key]) for key in ("value", "low", "high", "n")):
                found[text(name)] = one
        return found

    @property
    def notes(self) -> list[str]:
        """The caveats of the receipt, in the reader's language where it holds them."""
        return [text(note) for note in data_warnings.caveats(self.receipt, self.folder)[:40]]


def read(given: str | Path) -> Source:
    """Read a finished run or comparison, or the folder of an exam or arena. Raises UserError."""
    folder = Path(given)
    if not folder.is_dir():
        raise _refused(folder, _("there is no such folder"))
    for name, kind in STUDIES.items():
        if (folder / name).is_file():
            return Source(folder, kind, _json(folder / name))
    for name in ("receipt.json", "args.yaml", "split.csv", "folds.csv", "predictions.csv"):
        _check_size(folder / name)
    args = run_folder.read_args(folder, ("data",))
    if not (folder / "receipt.json").is_file():
        datasheet.read(folder)  # raises that it is not finished
    receipt = _json(folder / "receipt.json")
    if isinstance(receipt.get("rows"), list):
        return _comparison(folder, receipt, args)
    return _run(folder, receipt, args)


def _run(folder: Path, receipt: dict[str, Any], args: dict[str, Any]) -> Source:
    if not isinstance(receipt.get("measures"), dict):
        raise _refused(folder, _("its receipt holds no measures"))
    found = Source(folder, "run", receipt, args, datasheet.read(folder))
    _add_units(found)
    if (folder / "results.csv").is_file():
        with (folder / "results.csv").open(encoding="utf-8", errors="replace") as stream:
            found.by_gradient = ",loss " in stream.readline(LONGEST)
    if (folder / "predictions.csv").is_file():
        table = prediction_table.columns_of(folder / "predictions.csv")
        if {"label", "predicted"} <= table.keys():
            found.confusion = dict(Counter(zip(table["label"], table["predicted"], strict=True)))
    found.columns = _columns(found)
    return found


def _comparison(folder: Path, receipt: dict[str, Any], args: dict[str, Any]) -> Source:
    found = Source(folder, "comparison", receipt, {**args, "system": ""})
    _add_units(found)
    return found


def _add_units(found: Source) -> None:
    """Read the tested cases, their groups and whether those are kept apart, from the folds or else from the split."""
    path = found.folder / "folds.csv"
    if path.is_file():
        table = prediction_table.columns_of(path)
        sides = [cells for name, cells in table.items() if re.fullmatch(r"repeat \d+", name)]
        tested = list(table.get("group", ()))
        found.folds, found.repeats = (len(set(sides[0]) - {""}), len(sides)) if sides else (1, 1)
    elif (found.folder / "split.csv").is_file():
        table = prediction_table.columns_of(found.folder / "split.csv")
        sides = [table.get("part", [])]
        tested = [group for group, part in zip(table.get("group", []), sides[0], strict=False) if part == "test"]
    else:
        return
    found.units = (len(tested), len(set(tested)) if all(tested) else 0)
    pairs = [set(zip(table.get("group", []), cells, strict=False)) for cells in sides]
    found.apart = all(len(one) == len({group for group, _side in one}) for one in pairs)


def _columns(found: Source) -> dict[str, list[str]]:
    """Return the further columns of the data's table, if it is still where the run found it, for the run's cases."""
    path = Path(text(found.args.get("data")))
    if path.suffix.lower() != ".csv" or not path.is_file() or found.sheet is None or path.stat().st_size > MOST_BYTES:
        return {}
    try:
        table = prediction_table.columns_of(path)
    except UserError:
        return {}
    names = [name for name in table if key_of(name) in COLUMNS["file"]]
    split = prediction_table.columns_of(found.folder / "split.csv")
    used = set(split.get("file", ()))
    rows = [row for row, name in enumerate(table[names[0]]) if name in used] if names else []
    if len(rows) != len(used):  # the table has changed since
        return {}
    kinds = {alias: kind for kind, aliases in FURTHER.items() for alias in aliases}
    return {kinds[key_of(name)]: [cells[i] for i in rows] for name, cells in table.items() if key_of(name) in kinds}


def dates(cells: list[str]) -> tuple[date, date] | None:
    """Return the first and last of the dates; None unless every cell with a text is one.

    >>> dates(["2022-02-08", "", "2021-12-31"])
    (datetime.date(2021, 12, 31), datetime.date(2022, 2, 8))
    """
    try:
        found = [date.fromisoformat(cell.replace("/", "-")) for cell in cells if cell]
    except ValueError:
        return None
    return (min(found), max(found)) if found else None


def text(value: Any) -> str:
    """Return a text or number as one line of at most ``LONGEST`` characters; "" for anything else.

    >>> text("two\\nlines"), text(None), text(3)
    ('two lines', '', '3')
    """
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    line = " ".join("".join(c for c in str(value)[: 2 * LONGEST] if c.isprintable() or c.isspace()).split())
    return line if len(line) <= LONGEST else line[:LONGEST] + "…"


def number(value: Any) -> float:
    """Return a finite number; nan for anything else."""
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else math.nan


def mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def sequence(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _check_size(path: Path) -> None:
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise UserError(
            "too large",
            _("{path} has {size}").format(path=path, size=units.size(path.stat().st_size)),
            expected=_("at most {size}").format(size=units.size(MOST_BYTES)),
            exit=3,
        )


def _json(path: Path) -> dict[str, Any]:
    _check_size(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(path, str(error)) from error
    if not isinstance(found, dict):
        raise _refused(path, _("it holds no record"))
    return found


def _refused(path: Path, why: str) -> UserError:
    return UserError(
        "not a run",
        f"{path}: {why}",
        expected=_("the folder of a finished run or comparison, or of an exam or arena"),
        fix="ls runs/*",
        exit=3,
    )
