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

from souron.runs import folder as run_folder
from souron.utils.messages import UserError, _

PARTS = ("train", "val", "test")


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

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read(folder: Path) -> Datasheet:
    """Read the data sheet of a finished run. Raises UserError."""
    args = run_folder.read_args(folder)
    data = _receipt(folder)["data"]
    began = str(args.get("pretrained", "False"))
    return Datasheet(
        str(folder), str(args["system"]), str(args["data"]), data["source"], data["licence"],
        data["cases"], data["hash"],
        {"False": "", "True": _("published weights of {system}")}.get(began, began).format(
            system=args["system"]),
        tuple(_parts(folder / "split.csv")),
    )  # fmt: skip


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
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    wanted = {"source": str, "licence": str, "cases": int, "hash": str}
    data = receipt.get("data") if isinstance(receipt, dict) else None
    if not isinstance(data, dict) or any(
        not isinstance(data.get(name), kind) for name, kind in wanted.items()
    ):
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
