"""Training, validation and test parts that share neither a patient nor a case.

Which case goes where follows from the seed and the cases' names alone: the same on every machine,
whatever the order of the files.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from souron.data import texts
from souron.data.dataset import Dataset, digests
from souron.utils.files import atomically
from souron.utils.messages import UserError, _

FEW = 400  # cases; of so few, one test part would say little
FOLDS, REPEATS = 5, 2
SHARES = (0.25, 0.5)  # of the training cases, to see what more of them would bring
COLUMNS = ("file", "label", "group", "part")


class Parts(NamedTuple):
    train: Dataset
    val: Dataset
    test: Dataset


@dataclass(frozen=True)
class Split:
    """Rows of ``Dataset``, (n,) int64 each. Train and test rise; val is mixed, so that its first
    rows can stand for all of it."""

    train: Tensor
    val: Tensor
    test: Tensor
    leaking: tuple[str, ...] = ()  # files outside train that another part shows too, train first
    torn: tuple[str, ...] = ()  # groups that lie in more than one part

    def deal(self, cases: Dataset) -> Parts:
        """A copy of each part's cases."""
        return Parts(*(cases.only(rows) for rows in (self.train, self.val, self.test)))


def everything(cases: Dataset) -> Split:
    """All cases to learn from and to describe, where nothing is predicted of others."""
    rows = torch.arange(len(cases))
    return Split(rows, rows[:0], rows)


class Units(NamedTuple):
    """Cases that must stay together: a patient's, or those with the same pixels. A unit is called
    by its first row."""

    order: list[int]  # the units, as the seed shuffles them
    rows: dict[int, list[int]]  # of the units with more than one
    labels: list[dict[int, int]]  # of each unit: label -> cases


def split(
    cases: Dataset,
    seed: int = 0,
    val: float = 0.15,
    test: float = 0.15,
    alike: Sequence[tuple[int, int]] = (),
) -> Split:
    """Divide the cases; ``val`` and ``test`` are fractions.

    Cases of one group stay together, and so do those with the same pixels and the pairs of rows in
    ``alike`` (see ``duplicates``). Parts that the source gives stay as they are, even where they
    share pictures or groups; what is shared is then named in ``leaking`` and ``torn``. A part that
    the source does not give is drawn from its training part: class by class as near to the fraction
    as whole groups allow, with at least one case of each class where that leaves one for training.
    Raises UserError where a part would be empty or a class would be missing from training.
    """
    part = list(cases.part) if cases.part else [""] * len(cases)
    given = set(part)
    identical = same_picture(cases, alike)
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


class Plan(NamedTuple):
    """How a run divides its cases. Where they are few, every case is tested once a repeat, by a
    training that has not seen it; the network that is kept learns from all of them."""

    kept: Split  # of the network that is kept; its test part is empty where there are repeats
    repeats: list[list[Split]]  # of each repeat the folds; none where one split is enough

    fewer: dict[float, list[Split]] = {}  # the first repeat with a share of the training cases

    @property
    def trainings(self) -> int:
        return 1 + len(list(self.rounds()))

    def rounds(self) -> Iterator[tuple[str, int, float, Split]]:
        """Each training to test: its name, its repeat, its share of the training cases."""
        for repeat, folds in enumerate(self.repeats):
            for fold, one in enumerate(folds, 1):
                yield f"{repeat + 1}-{fold}", repeat, 1.0, one
        for share, folds in self.fewer.items():
            for fold, one in enumerate(folds, 1):
                yield f"share{100 * share:.0f}-{fold}", 0, share, one


def plan(
    cases: Dataset,
    folds: int | None = None,
    repeats: int = REPEATS,
    alike: Sequence[tuple[int, int]] = (),
    curve: int | None = None,
) -> Plan:
    """One split, or repeated cross-validation: of ``FEW`` cases or fewer without parts of their
    own ``folds`` is ``FOLDS`` where it is not said; 1 is one split. ``curve`` is how many of
    ``SHARES`` it is done with too, None all. Raises UserError as ``split``, and where
    cross-validation was asked for and cannot be."""
    asked = folds is not None and folds > 1
    if asked and cases.part:
        raise UserError(
            "option",
            _("{name} has parts of its own; cross-validation would mix them").format(
                name=cases.name
            ),
            expected="folds=1",
            fix="folds=1",
        )
    if not asked and (folds == 1 or cases.part or len(cases) > FEW):
        return Plan(split(cases, alike=alike), [])
    # all that follows asks of the pictures is which are the same
    marks = torch.frombuffer(bytearray(b"".join(_digests(cases))), dtype=torch.uint8)
    cases = replace(cases, input=marks.view(len(cases), 1, 1, -1))
    most = _most_folds(cases, alike)
    wanted = min(folds or FOLDS, most) if not asked else folds or FOLDS
    if wanted > most or most < 2:
        if asked:
            raise _too_few(cases, most)
        return Plan(split(cases, alike=alike), [])
    kept = split(cases, test=0.0, alike=alike)
    found = [cross(cases, wanted, repeat, alike) for repeat in range(repeats)]
    fewer = {
        share: [thin(cases, one, share, alike) for one in found[0]] for share in SHARES[:curve]
    }
    return Plan(kept, found, fewer)


def thin(cases: Dataset, one: Split, share: float, alike: Sequence[tuple[int, int]] = ()) -> Split:
    """The same split with a share of its training cases, whole groups of each class."""
    place = {row: i for i, row in enumerate(one.train.tolist())}
    pairs = [(place[i], place[j]) for i, j in alike if i in place and j in place]
    some = replace(cases.only(one.train), part=())
    return replace(one, train=one.train[split(some, val=1 - share, test=0.0, alike=pairs).train])


def cross(
    cases: Dataset, folds: int, seed: int = 0, alike: Sequence[tuple[int, int]] = ()
) -> list[Split]:
    """``folds`` splits, each case in the test part of one; stratified by label, whole groups.

    Validation cases are drawn from what is left, as in ``split``.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    units = _units(cases, same_picture(cases, alike), seed)
    rows = [row for unit in units.order for row in units.rows.get(unit, (unit,))]
    member = [
        place for place, unit in enumerate(units.order) for _row in units.rows.get(unit, (unit,))
    ]  # numbered as the seed orders them: sklearn sorts them
    dealt = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    found = []
    for _rest, chosen in dealt.split(rows, cases.target[rows].numpy(), member):
        part = [""] * len(cases)
        for i in chosen.tolist():
            part[rows[i]] = "test"
        found.append(split(replace(cases, part=part), seed, alike=alike))
    return found


def _most_folds(cases: Dataset, alike: Sequence[tuple[int, int]]) -> int:
    """Each fold needs a unit of each class to test, and two to learn from and to validate."""
    units = _units(cases, same_picture(cases, alike), 0)
    count = Counter(label for unit in units.order for label in units.labels[unit])
    fewest = min(count[label] for label in range(len(cases.classes)))
    return fewest if fewest >= 4 else 0


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


def same_picture(cases: Dataset, alike: Sequence[tuple[int, int]] = ()) -> list[int]:
    """For each case, the first one that shows the same: its pixels, its prompt, or a chain of
    ``alike``."""
    first: dict[bytes, int] = {}
    leader = [first.setdefault(digest, i) for i, digest in enumerate(_digests(cases))]
    for i, j in alike:
        _join(leader, i, j)
    return [_top(leader, row) for row in range(len(leader))]


def _digests(cases: Dataset) -> Iterator[bytes]:
    """Of each case's input; of texts, of what they ask: its answer makes no prompt another."""
    return texts.digests(cases) if texts.holds(cases) else digests(cases.stored)


def _top(leader: list[int], row: int) -> int:
    while leader[row] != row:
        leader[row] = leader[leader[row]]
        row = leader[row]
    return row


def _join(leader: list[int], one: int, other: int) -> None:
    one, other = _top(leader, one), _top(leader, other)
    leader[max(one, other)] = min(one, other)


def _units(cases: Dataset, identical: Sequence[int], seed: int) -> Units:
    """Cases that share a group or pixels, directly or through others."""
    leader = list(identical)
    first: dict[str, int] = {}
    for row, group in enumerate(cases.group):
        if group:
            _join(leader, first.setdefault(group, row), row)

    rows: dict[int, list[int]] = {}
    for row in range(len(leader)):
        if leader[row] != row:
            first_row = _top(leader, row)
            rows.setdefault(first_row, [first_row]).append(row)
    label = cases.target.tolist()
    ones = [{c: 1} for c in range(len(cases.classes))]  # shared: most units are one case
    labels: list[dict[int, int]] = [ones[c] for c in label]
    name = list(cases.file)
    for unit, members in rows.items():
        labels[unit] = Counter(label[i] for i in members)
        name[unit] = min(cases.file[i] for i in members)
    order = [row for row in range(len(leader)) if leader[row] == row]
    key = {unit: _key(name[unit], seed) for unit in order}
    order.sort(key=key.__getitem__)
    return Units(order, rows, labels)


def _as_split(cases: Dataset, part: Sequence[str], identical: Sequence[int]) -> Split:
    rows = {name: [i for i, p in enumerate(part) if p == name] for name in ("train", "val", "test")}
    rows["val"].sort(key=lambda i: _key(cases.file[i], "val"))
    leaking: list[str] = []
    seen: set[int] = set()
    for name in ("train", "val", "test"):
        leaking += [cases.file[i] for i in rows[name] if identical[i] in seen]
        seen.update(identical[i] for i in rows[name])
    parts = defaultdict(set)
    for group, p in zip(cases.group, part, strict=False):
        if group:
            parts[group].add(p)
    return Split(
        **{name: torch.tensor(chosen, dtype=torch.long) for name, chosen in rows.items()},
        leaking=tuple(leaking),
        torn=tuple(group for group, found in parts.items() if len(found) > 1),
    )


def _check_classes(cases: Dataset, found: Split) -> None:
    if len(found.train) == 0:
        raise UserError(
            "no training part",
            _("every case of {name} is for validation or test").format(name=cases.name),
            expected=_("a part called train"),
            exit=3,
        )
    unlearnt = set(cases.target.tolist()) - set(cases.target[found.train].tolist())
    if unlearnt:
        names = ", ".join(cases.classes[c] for c in sorted(unlearnt))
        raise UserError(
            "class not in train",
            _("{name} has no training case of: {labels}").format(name=cases.name, labels=names),
            expected=_("each class in the training part"),
            fix=_("move some of these cases to train, or take the class out"),
            exit=3,
        )


def _too_few(cases: Dataset, units: int) -> UserError:
    what = _("groups of cases (patients)") if cases.group else _("different cases")
    return UserError(
        "too few cases",
        _("{name} has {count} {what} in {labels} classes to divide").format(
            name=cases.name, count=units, what=what, labels=len(cases.classes)
        ),
        expected=_("at least one for training in each class, and two more"),
        fix=_("add cases, or folders train, val and test of your own"),
        exit=3,
    )


def refuse_leaks(leaking: Sequence[str], torn: Sequence[str]) -> None:
    """Raises UserError where pictures or groups (patients) lie on both sides of the test."""
    if not leaking and not torn:
        return
    found = []
    if torn:
        text = _("{count} groups (patients) are in training and in other parts: {names}")
        found.append(text.format(count=len(torn), names=first_three(torn)))
    if leaking:
        text = _("{count} cases outside training show what another part shows: {names}")
        found.append(text.format(count=len(leaking), names=first_three(leaking)))
    raise UserError(
        "leak",
        "; ".join(found),
        expected=_("parts that share neither a patient nor a case; else the figures are too good"),
        fix=_("no parts of your own (souron divides), or allow_leak=true: the report then says so"),
        exit=3,
    )


def write(split: Split, cases: Dataset, path: Path) -> None:
    """A CSV with the columns file, label, group, part; whole or not at all."""
    part = {row: name for name in ("train", "val", "test") for row in getattr(split, name).tolist()}
    with atomically(path) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for i, label in enumerate(cases.target.tolist()):
            group = cases.group[i] if cases.group else ""
            writer.writerow((cases.file[i], cases.classes[label], group, part.get(i, "")))


def write_folds(plan: Plan, cases: Dataset, path: Path) -> None:
    """A CSV with the columns file, label, group, and for each repeat the fold (from 1) that tested
    the case."""
    fold = torch.zeros(len(cases), len(plan.repeats), dtype=torch.long)
    for repeat, folds in enumerate(plan.repeats):
        for number, one in enumerate(folds, 1):
            fold[one.test, repeat] = number
    names = [f"repeat {repeat}" for repeat in range(1, len(plan.repeats) + 1)]
    with atomically(path) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("file", "label", "group", *names))
        for i, label in enumerate(cases.target.tolist()):
            group = cases.group[i] if cases.group else ""
            writer.writerow((cases.file[i], cases.classes[label], group, *fold[i].tolist()))


def read(path: Path, cases: Dataset) -> Split:
    """The split that was written, for the same cases in any order.

    Raises UserError where the file is no split, and where files or labels are not those of
    ``cases``.
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
                gone=len(gone),
                name=cases.name,
                new=len(new),
                files=first_three([*sorted(gone), *new]),
            ),
        )
    labels = [cases.classes[c] for c in cases.target.tolist()]
    moved = [f for f, name in zip(cases.file, labels, strict=True) if listed[f]["label"] != name]
    if moved:
        raise _mismatch(path, _("other labels than now: {files}").format(files=first_three(moved)))
    part = [listed[file]["part"] for file in cases.file]
    if set(part) - {"train", "val", "test", ""}:
        raise _mismatch(
            path, _("unknown parts: {names}").format(names=first_three(sorted(set(part))))
        )
    return _as_split(cases, part, same_picture(cases))


def read_order(path: Path, cases: Dataset) -> list[int]:
    """The rows of ``cases`` in the order of a file that ``write_folds`` wrote."""
    row = {file: i for i, file in enumerate(cases.file)}
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return [row[listed["file"]] for listed in csv.DictReader(stream)]


def read_groups(path: Path) -> set[str]:
    """The groups that a split gave to training."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return {row["group"] for row in csv.DictReader(stream) if row["part"] == "train"} - {""}


def shared(learnt: Dataset, cases: Dataset) -> list[str]:
    """Files of ``cases`` with the pixels of a picture in ``learnt``."""
    known = set(_digests(learnt))
    return [name for name, own in zip(cases.file, _digests(cases), strict=True) if own in known]


def first_three(names: Sequence[str]) -> str:
    """``a, b, c, ...``"""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _mismatch(path: Path, why: str) -> UserError:
    return UserError(
        "split",
        f"{path}: {why}",
        expected=_("the data that the split was made of"),
        fix="data=...",
        exit=3,
    )
