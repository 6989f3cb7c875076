"""The training data of a run: source, licence, number of cases, files.

Read from the run's own ``receipt.json`` and ``split.csv``; the images need not exist any more.
"""

import csv
import json
from collections import Counter
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from souron.hub import zoo
from souron.report.blocks import Table
from souron.runs import folder as run_folder
from souron.utils import units
from souron.utils.messages import UserError, _, again

PARTS = ("train", "val", "test")
CLASSES, FILES = 50, 3  # at most in a table


@dataclass(frozen=True)
class Part:
    """One part of the data: ``train`` was used for training, ``val`` and ``test`` were not."""

    name: str
    cases: int
    groups: int  # patients; 0 if unknown
    classes: dict[str, int]
    hash: str  # of the files' names and labels
    files: tuple[str, ...]


@dataclass(frozen=True)
class Datasheet:
    run: str
    system: str
    data: str  # as requested
    source: str
    licence: str  # "" if not stated
    cases: int
    hash: str  # of the pixels and labels of all parts
    started_from: str  # initial weights; "" if random
    parts: tuple[Part, ...]

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table]:
        """Return the data set, its parts, and the classes of the training cases as tables."""
        train = self.part("train")
        about = [
            (_("run"), self.run),
            (_("system"), self.system),
            (_("data"), self.data),
            (_("source"), self.source or _("not stated")),
            (_("licence"), self.licence or _("not stated")),
            (_("cases"), units.whole(self.cases)),
            (_("hash of the data"), self.hash),
            (_("initial weights"), again(self.started_from)),
            (_("training files"), self._files(train)),
        ]
        cases, patients = _("cases"), _("patients")
        parts = [
            (
                part_name(part.name),
                units.whole(part.cases),
                units.whole(part.groups) if part.groups else units.UNKNOWN,
                part.hash,
            )
            for part in self.parts
        ]
        counts = [(name, units.whole(count)) for name, count in train.classes.items()]
        if len(counts) > CLASSES:
            more = _("and {n} more").format(n=units.whole(len(counts) - CLASSES))
            counts = [*counts[:CLASSES], (more, "")]
        return [
            Table(("", ""), [row for row in about if row[1]]),
            Table((_("part"), cases, patients, _("fingerprint")), parts, right=(cases, patients)),
            Table((_("class"), cases), counts, _("Training data, by class"), right=(cases,)),
        ]

    def notes(self) -> list[str]:
        """Return a caveat where no licence is stated."""
        if self.licence:
            return []
        return [_("no licence is stated: being able to open the images does not mean that you may use them")]

    def _files(self, part: Part) -> str:
        if len(part.files) <= FILES:
            return ", ".join(part.files)
        return _("{files}, ...; all of them in {path}").format(
            files=", ".join(part.files[:FILES]), path=Path(self.run) / "split.csv"
        )


def part_name(name: str) -> str:
    """Return the name of a part of the data in the reader's language."""
    return {"train": _("training"), "val": _("validation"), "test": _("test")}[name]


def read(folder: Path) -> Datasheet:
    """Read the data sheet of a finished run, or of a ready-trained system. Raises UserError."""
    if zoo.holds(folder) and not (folder / "split.csv").exists():
        return _packed(folder / "datasheet.json")
    args = run_folder.read_args(folder)
    data = _receipt(folder)["data"]
    began = str(args.get("pretrained", "False"))
    return Datasheet(
        str(folder),
        str(args["system"]),
        str(args["data"]),
        data["source"],
        data["licence"],
        data["cases"],
        data["hash"],
        {"False": "", "True": _("published weights of {system}")}.get(began, began).format(system=args["system"]),
        tuple(_parts(folder / "split.csv")),
    )


def _packed(path: Path) -> Datasheet:
    """Read the data sheet that a ready-trained system was packed with."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        parts = [Part(**{**part, "files": tuple(part["files"])}) for part in held.pop("parts")]
        return Datasheet(**held, parts=tuple(parts))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(path, error) from error


def _receipt(folder: Path) -> dict[str, Any]:
    path = folder / "receipt.json"
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            "not finished",
            _("{folder} has no receipt yet").format(folder=folder),
            expected=_("a finished run"),
            fix=f"souron train resume={folder}",
            exit=3,
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error
    wanted = {"source": str, "licence": str, "cases": int, "hash": str}
    data = receipt.get("data") if isinstance(receipt, dict) else None
    if not isinstance(data, dict) or any(not isinstance(data.get(name), kind) for name, kind in wanted.items()):
        raise _unreadable(path, ValueError(_("it does not say what the data were")))
    return receipt


def _parts(path: Path) -> list[Part]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, restval=""))
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, error) from error
    if rows and not rows[0].keys() >= {"file", "label", "group", "part"}:
        raise _unreadable(path, ValueError(_("it does not have the columns of a split")))
    made = []
    for name in PARTS:
        held = [row for row in rows if row["part"] == name]
        named = "\n".join(sorted(f"{row['file']}\t{row['label']}" for row in held))
        made.append(
            Part(
                name,
                len(held),
                len({row["group"] for row in held} - {""}),
                dict(Counter(row["label"] for row in held).most_common()),
                blake2b(named.encode(), digest_size=6).hexdigest(),
                tuple(row["file"] for row in held),
            )
        )
    return made


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(
        "ledger",
        _("{path} cannot be read: {why}").format(path=path, why=error),
        expected=_("the folder of a finished run"),
        exit=3,
    )
