"""Training, validation and test parts that share neither a patient nor a picture.

Which case goes where follows from the seed and the cases' names alone: the same on every machine,
whatever the order of the files.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from souron.data.cases import Cases
from souron.saving import atomically
from souron.speaking import Trouble, _

COLUMNS = ("file", "label", "group", "part")


class Parts(NamedTuple):
    train: Cases
    val: Cases
    test: Cases


@dataclass(frozen=True)
class Split:
    """Rows of ``Cases``, (n,) int64 each. Train and test rise; val is mixed, so that its first
    rows can stand for all of it."""

    train: Tensor
    val: Tensor
    test: Tensor
    leaks: int = 0  # cases outside train with the same pixels in another part, train first
    torn: int = 0  # groups that lie in more than one part

    def deal(self, cases: Cases) -> Parts:
        """A copy of each part's cases."""
        return Parts(*(cases.only(rows) for rows in (self.train, self.val, self.test)))


class Units(NamedTuple):
    """Cases that must stay together: a patient's, or those with the same pixels. A unit is called
    by its first row."""

    order: list[int]  # the units, as the seed shuffles them
    rows: dict[int, list[int]]  # of the units with more than one
    labels: list[dict[int, int]]  # of each unit: label -> cases


def split(cases: Cases, seed: int = 0, val: float = 0.15, test: float = 0.15) -> Split:
    """Divide the cases; ``val`` and ``test`` are fractions.

    Parts that the source gives stay as they are, even where they share pictures or groups; what is
    shared is then counted in ``leaks`` and ``torn``. A part that the source does not give is drawn
    from its training part: class by class as near to the fraction as whole groups allow, with at
    least one case of each class where that leaves one for training. Raises Trouble where a part
    would be empty or a class would be missing from training.
    """
    part = list(cases.part) if cases.part else [""] * len(cases)
    given = set(part)
    identical = _identical(cases)
    units = _units(cases, identical, seed)
    free = []
    for unit in units.order:
        rows = units.rows.get(unit, (unit,))
        fixed = {part[i] for i in rows}
        if "test" not in fixed and "val" not in fixed:
            free.append(unit)
        for i in rows:
            # a case without a part goes where its like is
            part[i] = part[i] or next((p for p in ("test", "val") if p in fixed), "train")

    wanted = {name: size for name, size in (("test", test), ("val", val)) if name not in given}
    for name, fraction in wanted.items():
        if fraction == 0:
            continue
        if name == "val" and "test" in wanted:
            fraction /= 1 - test  # of what test left
        spare = name == "test" and wanted.get("val", 0) > 0
        drawn = _draw({unit: units.labels[unit] for unit in free}, fraction, spare)
        if not drawn:
            raise _too_few(cases, len(free))
        for unit in drawn:
            for i in units.rows.get(unit, (unit,)):
                part[i] = name
        free = [unit for unit in free if unit not in drawn]

    found = _as_split(cases, part, identical)
    _check_classes(cases, found)
    return found


def _draw(units: dict[int, dict[int, int]], fraction: float, spare: bool) -> set[int]:
    """Units for a part, the first ones first; each class keeps one unit at least.

    ``units``: unit -> label -> cases. ``spare``: leave a class with one unit more, so that another
    part can draw.
    """
    left: dict[int, int] = defaultdict(int)  # label -> units not drawn
    total: dict[int, int] = defaultdict(int)  # label -> cases
    for labels in units.values():
        for c, n in labels.items():
            left[c] += 1
            total[c] += n
    need = {c: max(1, round(fraction * n)) for c, n in total.items()}
    drawn: set[int] = set()

    def may(labels: dict[int, int]) -> bool:
        return all(left[c] > 1 for c in labels) and (
            not spare or any(n - (c in labels) > 1 for c, n in left.items())
        )

    def cost(labels: dict[int, int]) -> int:
        """How much further from what is needed, in cases."""
        return sum(abs(need[c] - n) - abs(need[c]) for c, n in labels.items())

    def take(unit: int) -> None:
        drawn.add(unit)
        for c, n in units[unit].items():
            left[c] -= 1
            need[c] -= n

    for unit, labels in units.items():
        if cost(labels) < 0 and may(labels):
            take(unit)
    have = {c for unit in drawn for c in units[unit]}
    for c in sorted(total.keys() - have):
        candidates = [
            unit
            for unit, labels in units.items()
            if c in labels and unit not in drawn and may(labels)
        ]
        if c not in have and candidates:
            take(best := min(candidates, key=lambda unit: cost(units[unit])))
            have |= units[best].keys()
    return drawn


def _key(name: str, seed: int | str) -> bytes:
    return blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()


def _identical(cases: Cases) -> list[int]:
    """For each case, the first one with the same pixels."""
    first: dict[bytes, int] = {}
    return [
        first.setdefault(blake2b(pixels, digest_size=16).digest(), i)
        for i, pixels in enumerate(cases.image.flatten(1).contiguous().numpy())
    ]


def _units(cases: Cases, identical: Sequence[int], seed: int) -> Units:
    """Cases that share a group or pixels, directly or through others."""
    leader = list(identical)

    def top(row: int) -> int:
        while leader[row] != row:
            leader[row] = leader[leader[row]]
            row = leader[row]
        return row

    first: dict[str, int] = {}
    for row, group in enumerate(cases.group):
        if group:
            one, other = top(first.setdefault(group, row)), top(row)
            leader[max(one, other)] = min(one, other)

    rows: dict[int, list[int]] = {}
    for row in range(len(leader)):
        if leader[row] != row:
            first_row = top(row)
            rows.setdefault(first_row, [first_row]).append(row)
    label = cases.label.tolist()
    ones = [{c: 1} for c in range(len(cases.labels))]  # shared: most units are one case
    labels: list[dict[int, int]] = [ones[c] for c in label]
    name = list(cases.file)
    for unit, members in rows.items():
        labels[unit] = Counter(label[i] for i in members)
        name[unit] = min(cases.file[i] for i in members)
    order = [row for row in range(len(leader)) if leader[row] == row]
    key = {unit: _key(name[unit], seed) for unit in order}
    order.sort(key=key.__getitem__)
    return Units(order, rows, labels)


def _as_split(cases: Cases, part: Sequence[str], identical: Sequence[int]) -> Split:
    rows = {name: [i for i, p in enumerate(part) if p == name] for name in ("train", "val", "test")}
    rows["val"].sort(key=lambda i: _key(cases.file[i], "val"))
    leaks, seen = 0, set()
    for name in ("train", "val", "test"):
        pixels = [identical[i] for i in rows[name]]
        leaks += sum(p in seen for p in pixels)
        seen.update(pixels)
    parts = defaultdict(set)
    for group, p in zip(cases.group, part, strict=False):
        if group:
            parts[group].add(p)
    return Split(
        **{name: torch.tensor(chosen, dtype=torch.long) for name, chosen in rows.items()},
        leaks=leaks,
        torn=sum(len(found) > 1 for found in parts.values()),
    )


def _check_classes(cases: Cases, found: Split) -> None:
    if len(found.train) == 0:
        raise Trouble(
            "no training part",
            _("every case of {name} is for validation or test").format(name=cases.name),
            expected=_("a part called train"),
            exit=3,
        )
    unlearnt = set(cases.label.tolist()) - set(cases.label[found.train].tolist())
    if unlearnt:
        names = ", ".join(cases.labels[c] for c in sorted(unlearnt))
        raise Trouble(
            "class not in train",
            _("{name} has no training case of: {labels}").format(name=cases.name, labels=names),
            expected=_("each class in the training part"),
            fix=_("move some of these cases to train, or take the class out"),
            exit=3,
        )


def _too_few(cases: Cases, units: int) -> Trouble:
    what = _("groups of cases (patients)") if cases.group else _("different cases")
    return Trouble(
        "too few cases",
        _("{name} has {count} {what} in {labels} classes to divide").format(
            name=cases.name, count=units, what=what, labels=len(cases.labels)
        ),
        expected=_("at least one for training in each class, and two more"),
        fix=_("add cases, or folders train, val and test of your own"),
        exit=3,
    )


def write(split: Split, cases: Cases, path: Path) -> None:
    """A CSV with the columns file, label, group, part; whole or not at all."""
    part = {row: name for name in ("train", "val", "test") for row in getattr(split, name).tolist()}
    with atomically(path) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for i, label in enumerate(cases.label.tolist()):
            group = cases.group[i] if cases.group else ""
            writer.writerow((cases.file[i], cases.labels[label], group, part.get(i, "")))


def read(path: Path, cases: Cases) -> Split:
    """The split that was written, for the same cases in any order.

    Raises Trouble where the file is no split, and where files or labels are not those of ``cases``.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _mismatch(path, _("cannot be read: {why}").format(why=error)) from error
    if not rows or not set(COLUMNS) <= rows[0].keys():
        raise _mismatch(path, _("does not have the columns {names}").format(names=COLUMNS))
    listed = {row["file"]: row for row in rows}
    gone = listed.keys() - set(cases.file)
    new = [file for file in cases.file if file not in listed]
    if gone or new:
        raise _mismatch(
            path,
            _("{gone} of its files are not in {name}, {new} of its files are new: {files}").format(
                gone=len(gone), name=cases.name, new=len(new), files=_some([*sorted(gone), *new])
            ),
        )
    labels = [cases.labels[c] for c in cases.label.tolist()]
    moved = [f for f, name in zip(cases.file, labels, strict=True) if listed[f]["label"] != name]
    if moved:
        raise _mismatch(path, _("other labels than now: {files}").format(files=_some(moved)))
    part = [listed[file]["part"] for file in cases.file]
    if set(part) - {"train", "val", "test", ""}:
        raise _mismatch(path, _("unknown parts: {names}").format(names=_some(sorted(set(part)))))
    return _as_split(cases, part, _identical(cases))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _mismatch(path: Path, why: str) -> Trouble:
    return Trouble(
        "split",
        f"{path}: {why}",
        expected=_("the data that the split was made of"),
        fix="data=...",
        exit=3,
    )
