"""Training, validation and test parts that share neither a patient nor a case.

The part of a case follows from the seed and the cases' names alone: equal on every machine,
whatever the order of the files.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
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

FEW = 400  # cases; so few make one test part uninformative
FOLDS, REPEATS = 5, 2
SHARES = (0.25, 0.5)  # shares of the training cases for the learning curve
COLUMNS = ("file", "label", "group", "part")


class Parts(NamedTuple):
    """The cases of each part."""

    train: Dataset
    val: Dataset
    test: Dataset


@dataclass(frozen=True)
class Split:
    """Rows of a ``Dataset`` by part, (n,) int64 each.

    Train and test are ascending; val is shuffled, so that its first rows represent all of it.
    """

    train: Tensor
    val: Tensor
    test: Tensor
    leaking: tuple[str, ...] = ()  # files outside train that another part shows too, train first
    torn: tuple[str, ...] = ()  # groups in more than one part
    doubtful: tuple[str, ...] = ()  # as leaking, of files that may be copies

    def deal(self, cases: Dataset) -> Parts:
        """Return a copy of each part's cases."""
        return Parts(*(cases.only(rows) for rows in (self.train, self.val, self.test)))


def everything(cases: Dataset) -> Split:
    """Return a split with all cases in both train and test.

    For tasks that describe the given cases and predict nothing of others.

    >>> import torch
    >>> cases = Dataset("toy", torch.zeros(3, 1), torch.tensor([0, 1, 0]), ("cat", "dog"), "abc")
    >>> everything(cases).train.tolist(), everything(cases).val.tolist()
    ([0, 1, 2], [])
    """
    rows = torch.arange(len(cases))
    return Split(rows, rows[:0], rows)


class Units(NamedTuple):
    """Cases that must stay together: a patient's, or those with the same pixels.

    A unit is identified by its first row.
    """

    order: list[int]  # the units, as the seed shuffles them
    rows: dict[int, list[int]]  # rows of the units with more than one
    labels: list[dict[int, int]]  # for each unit: label -> cases


def split(
    cases: Dataset, seed: int = 0, val: float = 0.15, test: float = 0.15, alike: Sequence[tuple[int, int]] = ()
) -> Split:
    """Divide the cases; ``val`` and ``test`` are fractions.

    Cases of one group stay together, and so do those with the same pixels and the pairs of rows in
    ``alike``, which may be copies (see ``duplicates``). Parts that the source gives stay as they are, even where they
    share images or groups; these are then named in ``leaking``, ``doubtful`` and ``torn``. A part that the source
    does not give is drawn from its training part: class by class as near to the fraction as whole
    groups allow, with at least one case of each class where that leaves one for training. Raises
    UserError where a part would be empty or a class would be missing from training.

    >>> import torch
    >>> cases = Dataset("toy", torch.arange(16)[:, None], torch.tensor([0, 1] * 8), ("cat", "dog"),
    ...                 file="abcdefghijklmnop", group="ABCDEFGHABCDEFGH")
    >>> found = split(cases, val=0.25, test=0.25)
    >>> [sorted({cases.group[i] for i in rows}) for rows in (found.train, found.val, found.test)]
    [['A', 'B', 'G', 'H'], ['E', 'F'], ['C', 'D']]
    """
    part = list(cases.part) if cases.part else [""] * len(cases)
    given = set(part)
    identical = same_image(cases, alike)
    units = _units(cases, identical, seed)
    free = []
    for unit in units.order:
        rows = units.rows.get(unit, (unit,))
        fixed = {part[i] for i in rows}
        if "test" not in fixed and "val" not in fixed:
            free.append(unit)
        for i in rows:
            # a case without a part joins the part of its duplicates
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

    found = _as_split(cases, part, same_image(cases))
    _check_classes(cases, found)
    return replace(found, doubtful=doubtful(cases, found, alike)) if alike else found


class Plan(NamedTuple):
    """The training runs of one experiment: one split, or repeated cross-validation.

    Where cases are few, every case is tested once per repeat, by a training that has not seen it;
    the final network is trained on all of them.
    """

    kept: Split  # split of the final network; its test part is empty where there are repeats
    repeats: list[list[Split]]  # folds of each repeat; none where one split is enough

    fewer: dict[float, list[Split]] = {}  # the first repeat with a share of the training cases

    @property
    def trainings(self) -> int:
        """Number of trainings, the final one included."""
        return 1 + len(list(self.rounds()))

    def rounds(self) -> Iterator[tuple[str, int, float, Split]]:
        """Yield name, repeat, share of the training cases, and split of each training to test."""
        for repeat, folds in enumerate(self.repeats):
            for fold, one in enumerate(folds, 1):
                yield f"{repeat + 1}-{fold}", repeat, 1.0, one
        for share, folds in self.fewer.items():
            for fold, one in enumerate(folds, 1):
                yield f"share{100 * share:.0f}-{fold}", 0, share, one


def shortened(one: Split, cases: Dataset, most: int) -> Split:
    """Return the split with at most ``most`` validation and test cases each, always the same ones.

    >>> import torch
    >>> cases = Dataset("toy", torch.arange(20)[:, None], torch.tensor([0, 1] * 10), ("cat", "dog"),
    ...                 file="abcdefghijklmnopqrst")
    >>> [len(part) for part in shortened(everything(cases), cases, 4).deal(cases)]
    [20, 0, 4]
    """
    drawn = sorted(one.test.tolist(), key=lambda row: _key(cases.file[row], "test"))[:most]
    return replace(one, val=one.val[:most], test=torch.tensor(sorted(drawn), dtype=torch.long))


def plan(
    cases: Dataset,
    folds: int | None = None,
    repeats: int = REPEATS,
    alike: Sequence[tuple[int, int]] = (),
    curve: int | None = None,
) -> Plan:
    """Plan one split, or repeated cross-validation.

    With ``FEW`` cases or fewer and no parts of their own, ``folds`` is by default ``FOLDS``; 1 is
    one split. ``curve`` is the number of ``SHARES`` for which it is repeated with fewer training
    cases, None all. Raises UserError as ``split`` does, and where cross-validation was asked for
    and is impossible.

    >>> import torch
    >>> cases = Dataset("toy", torch.arange(40)[:, None], torch.tensor([0, 1] * 20), ("cat", "dog"),
    ...                 file=[f"{i}.png" for i in range(40)])
    >>> found = plan(cases, folds=4, repeats=2, curve=0)
    >>> found.trainings, sorted(row for one in found.repeats[0] for row in one.test.tolist())[:4]
    (9, [0, 1, 2, 3])
    """
    asked = folds is not None and folds > 1
    if asked and cases.part:
        raise UserError(
            "option",
            _("{name} has parts of its own; cross-validation would mix them").format(name=cases.name),
            expected="folds=1",
            fix="folds=1",
        )
    if not asked and (folds == 1 or cases.part or len(cases) > FEW):
        return Plan(split(cases, alike=alike), [])
    # from here on only the equality of images matters
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
    fewer = {share: [thin(cases, one, share, alike) for one in found[0]] for share in SHARES[:curve]}
    return Plan(kept, found, fewer)


def thin(cases: Dataset, one: Split, share: float, alike: Sequence[tuple[int, int]] = ()) -> Split:
    """Return the split with a share of its training cases, whole groups of each class.

    >>> import torch
    >>> cases = Dataset("toy", torch.arange(20)[:, None], torch.tensor([0, 1] * 10), ("cat", "dog"),
    ...                 file="abcdefghijklmnopqrst")
    >>> len(thin(cases, everything(cases), 0.5).train)
    10
    """
    place = {row: i for i, row in enumerate(one.train.tolist())}
    pairs = [(place[i], place[j]) for i, j in alike if i in place and j in place]
    some = replace(cases.only(one.train), part=())
    return replace(one, train=one.train[split(some, val=1 - share, test=0.0, alike=pairs).train])


def cross(cases: Dataset, folds: int, seed: int = 0, alike: Sequence[tuple[int, int]] = ()) -> list[Split]:
    """Return ``folds`` splits with each case in the test part of exactly one.

    The folds are stratified by label and keep groups whole. Validation cases are drawn from the
    rest, as in ``split``.

    >>> import torch
    >>> cases = Dataset("toy", torch.arange(20)[:, None], torch.tensor([0, 1] * 10), ("cat", "dog"),
    ...                 file="abcdefghijklmnopqrst")
    >>> [len(one.test) for one in cross(cases, 5)]
    [4, 4, 4, 4, 4]
    """
    from sklearn.model_selection import StratifiedGroupKFold

    units = _units(cases, same_image(cases, alike), seed)
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
    """Return the largest number of folds, 0 where cross-validation is impossible.

    Each fold needs a unit of each class to test, and two for training and validation.
    """
    units = _units(cases, same_image(cases, alike), 0)
    count = Counter(label for unit in units.order for label in units.labels[unit])
    fewest = min(count[label] for label in range(len(cases.classes)))
    return fewest if fewest >= 4 else 0


def _draw(units: dict[int, dict[int, int]], fraction: float, spare: bool) -> set[int]:
    """Draw units for a part, the first ones first; each class keeps at least one unit.

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
        return all(left[c] > 1 for c in labels) and (not spare or any(n - (c in labels) > 1 for c, n in left.items()))

    def cost(labels: dict[int, int]) -> int:
        """Return how many cases further from the required numbers the part would be."""
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
        candidates = [unit for unit, labels in units.items() if c in labels and unit not in drawn and may(labels)]
        if c not in have and candidates:
            take(best := min(candidates, key=lambda unit: cost(units[unit])))
            have |= units[best].keys()
    return drawn


def _key(name: str, seed: int | str) -> bytes:
    """Return the hash by which a unit is ordered."""
    return blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()


def same_image(cases: Dataset, alike: Sequence[tuple[int, int]] = ()) -> list[int]:
    """Return for each case the first one with the same content.

    Equal are cases with the same pixels, the same prompt, or connected by a chain of ``alike``
    pairs.

    >>> import torch
    >>> cases = Dataset("toy", torch.tensor([[1], [2], [1], [3]]), None, ("cat",), "abcd")
    >>> same_image(cases), same_image(cases, alike=[(1, 3)])
    ([0, 1, 0, 3], [0, 1, 0, 1])
    """
    first: dict[bytes, int] = {}
    leader = [first.setdefault(digest, i) for i, digest in enumerate(_digests(cases))]
    for i, j in alike:
        _join(leader, i, j)
    return [_top(leader, row) for row in range(len(leader))]


def _digests(cases: Dataset) -> Iterator[bytes]:
    """Yield a digest of each case's input; for texts, of the prompt without its answer."""
    return texts.digests(cases) if texts.holds(cases) else digests(cases.stored)


def _top(leader: list[int], row: int) -> int:
    """Return the representative of a row (union-find)."""
    while leader[row] != row:
        leader[row] = leader[leader[row]]
        row = leader[row]
    return row


def _join(leader: list[int], one: int, other: int) -> None:
    """Merge the sets of two rows (union-find)."""
    one, other = _top(leader, one), _top(leader, other)
    leader[max(one, other)] = min(one, other)


def _units(cases: Dataset, identical: Sequence[int], seed: int) -> Units:
    """Group cases that share a group or pixels, directly or through others."""
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


def doubtful(cases: Dataset, found: Split, alike: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """Return the files outside train that may be copies of one in another part, of the pairs of rows ``alike``.

    >>> import torch
    >>> cases = Dataset("toy", torch.arange(4)[:, None], torch.tensor([0, 1, 0, 1]), ("cat", "dog"), file="abcd")
    >>> doubtful(cases, Split(torch.tensor([0, 1]), torch.tensor([2]), torch.tensor([3])), [(1, 3)])
    ('d',)
    """
    rows = {name: getattr(found, name).tolist() for name in ("train", "val", "test")}
    return tuple(file for file in _shared(cases, rows, same_image(cases, alike)) if file not in found.leaking)


def _as_split(cases: Dataset, part: Sequence[str], identical: Sequence[int]) -> Split:
    """Convert the part of each case to a ``Split``, with leaks between the parts."""
    rows = {name: [i for i, p in enumerate(part) if p == name] for name in ("train", "val", "test")}
    rows["val"].sort(key=lambda i: _key(cases.file[i], "val"))
    parts = defaultdict(set)
    for group, p in zip(cases.group, part, strict=False):
        if group:
            parts[group].add(p)
    train, val, test = (torch.tensor(chosen, dtype=torch.long) for chosen in rows.values())
    return Split(
        train,
        val,
        test,
        leaking=_shared(cases, rows, identical),
        torn=tuple(group for group, found in parts.items() if len(found) > 1),
    )


def _shared(cases: Dataset, rows: Mapping[str, Sequence[int]], leader: Sequence[int]) -> tuple[str, ...]:
    """Return the files of which an earlier part has another one with the same leader."""
    shared: list[str] = []
    seen: set[int] = set()
    for name in ("train", "val", "test"):
        shared += [cases.file[i] for i in rows[name] if leader[i] in seen]
        seen.update(leader[i] for i in rows[name])
    return tuple(shared)


def _check_classes(cases: Dataset, found: Split) -> None:
    """Raise UserError where training is empty or lacks a class."""
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
    """Return the error for too few cases to divide."""
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
    """Raise UserError where images or groups (patients) lie on both sides of the test.

    >>> refuse_leaks([], [])
    >>> try:
    ...     refuse_leaks([], ["anna"])
    ... except UserError as error:
    ...     print(error.found)
    1 groups (patients) are in training and in other parts: anna
    """
    if not leaking and not torn:
        return
    found = []
    if torn:
        text = _("{count} groups (patients) are in training and in other parts: {names}")
        found.append(text.format(count=len(torn), names=first_three(torn)))
    if leaking:
        text = _("{count} cases outside training are the same as cases of another part: {names}")
        found.append(text.format(count=len(leaking), names=first_three(leaking)))
    raise UserError(
        "leak",
        "; ".join(found),
        expected=_("parts that share neither a patient nor a case; else the figures are too good"),
        fix=_("no parts of your own (souron divides), or allow_leak=true: the report then says so"),
        exit=3,
    )


def write(split: Split, cases: Dataset, path: Path) -> None:
    """Write a CSV file with the columns file, label, group, part; complete or not at all.

    >>> write(split(cases), cases, Path("split.csv"))  # doctest: +SKIP
    """
    part = {row: name for name in ("train", "val", "test") for row in getattr(split, name).tolist()}
    with atomically(path) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for i, label in enumerate(cases.target.tolist()):
            group = cases.group[i] if cases.group else ""
            writer.writerow((cases.file[i], cases.classes[label], group, part.get(i, "")))


def write_folds(plan: Plan, cases: Dataset, path: Path) -> None:
    """Write a CSV file with the columns file, label, group, and one column per repeat.

    The last hold the fold (from 1) that tested the case.

    >>> write_folds(plan(cases, folds=5), cases, Path("folds.csv"))  # doctest: +SKIP
    """
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
    """Read a split that ``write`` wrote, for the same cases in any order.

    Raises UserError where the file is no split, and where files or labels are not those of
    ``cases``.

    >>> read(Path("split.csv"), cases).test.equal(split(cases).test)  # doctest: +SKIP
    True
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
                gone=len(gone), name=cases.name, new=len(new), files=first_three([*sorted(gone), *new])
            ),
        )
    labels = [cases.classes[c] for c in cases.target.tolist()]
    moved = [f for f, name in zip(cases.file, labels, strict=True) if listed[f]["label"] != name]
    if moved:
        raise _mismatch(path, _("other labels than now: {files}").format(files=first_three(moved)))
    part = [listed[file]["part"] for file in cases.file]
    if set(part) - {"train", "val", "test", ""}:
        raise _mismatch(path, _("unknown parts: {names}").format(names=first_three(sorted(set(part)))))
    return _as_split(cases, part, same_image(cases))


def read_order(path: Path, cases: Dataset) -> list[int]:
    """Return the rows of ``cases`` in the order of a file that ``write_folds`` wrote.

    >>> read_order(Path("folds.csv"), cases) == list(range(len(cases)))  # doctest: +SKIP
    True
    """
    row = {file: i for i, file in enumerate(cases.file)}
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return [row[listed["file"]] for listed in csv.DictReader(stream)]


def read_groups(path: Path) -> set[str]:
    """Return the groups that a written split assigns to training.

    >>> train = split(cases).train.tolist()  # doctest: +SKIP
    >>> read_groups(Path("split.csv")) == {cases.group[row] for row in train}  # doctest: +SKIP
    True
    """
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return {row["group"] for row in csv.DictReader(stream) if row["part"] == "train"} - {""}


def shared(learnt: Dataset, cases: Dataset) -> list[str]:
    """Return files of ``cases`` whose pixels are also those of a case in ``learnt``.

    >>> import torch
    >>> training = Dataset("toy", torch.tensor([[1], [2]]), None, ("cat",), ["a.png", "b.png"])
    >>> test = Dataset("toy", torch.tensor([[2], [3]]), None, ("cat",), ["c.png", "d.png"])
    >>> shared(training, test)
    ['c.png']
    """
    known = set(_digests(learnt))
    return [name for name, own in zip(cases.file, _digests(cases), strict=True) if own in known]


def first_three(names: Sequence[str]) -> str:
    """Join at most three names, with dots for further ones.

    >>> first_three(["a", "b", "c", "d"]), first_three(["a"])
    ('a, b, c, ...', 'a')
    """
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _mismatch(path: Path, why: str) -> UserError:
    """Return the error for a split file that does not fit."""
    return UserError(
        "split", f"{path}: {why}", expected=_("the data that the split was made of"), fix="data=...", exit=3
    )
