"""The doctor of data: what in a folder of pictures would spoil a result, before anything is learnt.

Each finding has a code that stays, names the files it is about, and says what to do. Nothing is
changed: ``manifest`` writes a new table that leaves out what is broken.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from souron import saving
from souron.data import duplicates, loading, splitting
from souron.data.cases import Cases
from souron.kinds import image as pictures
from souron.speaking import Trouble, _

SIDE = 64  # pixels at which pictures are compared
MOST_COMPARED = 20_000  # pictures
TINY = 10  # cases of a class that say nothing of it
UNEVEN = 10.0  # times as many cases in the largest class as in the smallest
ODD = 4.0  # times larger or smaller than the middle picture
TELLS = 0.6  # of the way from chance to certainty: from there on a feature alone is suspicious
FOLDS = 5
BROKEN = ("truncated", "unreadable", "empty file", "too large", "missing", "outside",
          "no decoder", "no scale", "window")  # fmt: skip

Severity = Literal["error", "warning", "hint"]


@dataclass(frozen=True)
class Finding:
    code: str
    severity: Severity
    files: tuple[str, ...]
    message: str  # in the reader's language
    fix: str
    rows: tuple[tuple[int, ...], ...] = ()  # of the cases, those that belong together in a tuple


@dataclass
class Checkup:
    """What was looked at, and what was found."""

    cases: Cases
    files: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return all(finding.severity != "error" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "readable": len(self.cases),
            "findings": [
                {
                    "code": finding.code,
                    "severity": finding.severity,
                    "files": list(finding.files),
                    "message": finding.message,
                    "fix": finding.fix,
                }
                for finding in self.findings
            ],
        }


@dataclass(frozen=True)
class File:
    """What a file is without its picture's meaning: these must not tell the label."""

    width: int
    height: int
    bytes: int
    colours: int  # 1 grey, 3 colour
    day: float  # when it was changed
    kind: str  # ".jpg"


def check(
    data: str | Path,
    group: str | None = None,
    watch: Callable[[str, float], None] = lambda doing, part: None,
) -> Checkup:
    """Look through a folder or CSV. ``watch`` hears what is being done and how far it is, 0..1.

    Raises Trouble where nothing can be read at all.
    """
    watch(_("reading the pictures"), 0.0)
    cases = loading.load(Path(data), SIDE, group)
    found = Checkup(cases, len(cases) + len(cases.skipped))
    watch(_("looking for copies"), 0.0)
    alike = duplicates.near(cases.image) if len(cases) <= MOST_COMPARED else []
    watch(_("reading the files' headers"), 0.0)
    about = list(headers(cases))
    parts: Sequence[Iterable[Finding]] = (
        _broken(cases), _copies(cases, alike), _patients(cases), _balance(cases),
        _sizes(cases, about), _shortcuts(cases, about, watch),
    )  # fmt: skip
    order = ("error", "warning", "hint")
    every = [finding for part in parts for finding in part]
    found.findings = sorted(every, key=lambda finding: order.index(finding.severity))
    return found


def root(cases: Cases) -> Path:
    """The folder that the files' names begin in."""
    source = Path(cases.source)
    return source if source.is_dir() else source.parent


def headers(cases: Cases) -> Iterator[File | None]:
    folder = root(cases)

    def look(name: str) -> File | None:
        path, _frame = pictures.case_file(folder, name)
        try:
            about, seen = path.stat(), pictures.look(path, folder)
            colours = 1 if seen.grey else 3
            return File(*seen.size, about.st_size, colours, about.st_mtime / 86400,
                        path.suffix.lower())  # fmt: skip
        except (Trouble, OSError):
            return None

    with ThreadPoolExecutor() as pool:
        yield from pool.map(look, cases.file)


def _broken(cases: Cases) -> Iterator[Finding]:
    by_code: dict[str, list[str]] = defaultdict(list)
    for skipped in cases.skipped:
        by_code[skipped.code].append(skipped.file)
    for code, files in sorted(by_code.items()):
        broken = code in BROKEN
        yield Finding(
            code,
            "error" if broken else "hint",
            tuple(files),
            _("{count} files cannot be used ({code})").format(count=len(files), code=code),
            _("copy them again from where they came, or take them out")
            if broken
            else _("nothing, if they are not pictures of the data"),
        )


def _copies(cases: Cases, alike: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    same = _families(splitting.same_picture(cases))
    close = _families(splitting.same_picture(cases, alike))
    known = set(same)
    near = [rows for rows in close if rows not in known]
    for code, families, message in (
        ("duplicates", same, _("{count} pictures are there more than once, the same to the pixel")),
        ("near duplicates", near,
         _("{count} pictures are copies of others, re-encoded, resized or brightened")),
    ):  # fmt: skip
        if families:
            count = sum(len(rows) - 1 for rows in families)
            yield _finding(cases, code, "warning", families, message.format(count=count),
                           _("keep one of each: --fix"))  # fmt: skip
    label, part = cases.label.tolist(), list(cases.part) or [""] * len(cases)
    families = [*same, *near]
    conflicts = [rows for rows in families if len({label[i] for i in rows}) > 1]
    if conflicts:
        yield _finding(
            cases, "label conflict", "error", conflicts,
            _("{count} pictures have copies with another label").format(
                count=sum(map(len, conflicts))),
            _("look at them and decide; --fix leaves them all out"),
        )  # fmt: skip
    leaks = [rows for rows in families if len({part[i] for i in rows}) > 1]
    if leaks:
        yield _finding(
            cases, "leak", "error", leaks,
            _("{count} pictures are in more than one of train, val and test").format(
                count=len(leaks)),
            _("move each with its copies into one part"),
        )  # fmt: skip


def _patients(cases: Cases) -> Iterator[Finding]:
    if not cases.group:
        yield Finding(
            "no groups", "hint", (),
            _("nothing says which pictures are of one patient; each counts as a case of its own"),
            _("a column named patient in a CSV, or group=PATTERN"),
        )  # fmt: skip
        return
    members: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(cases.group):
        if name:
            members[name].append(row)
    if cases.part:
        torn = [tuple(rows) for rows in members.values() if len({cases.part[i] for i in rows}) > 1]
        if torn:
            yield _finding(
                cases, "patient leak", "error", torn,
                _("{count} patients are in more than one of train, val and test").format(
                    count=len(torn)),
                _("give all pictures of a patient to one part, or no parts: souron divides"),
            )  # fmt: skip
    label = cases.label.tolist()
    mixed = [tuple(rows) for rows in members.values() if len({label[i] for i in rows}) > 1]
    if mixed:
        yield _finding(
            cases, "patient in classes", "hint", mixed,
            _("{count} patients have pictures in more than one class").format(count=len(mixed)),
            _("nothing, if that is how it is (left and right, before and after)"),
        )  # fmt: skip
    patients = [len({cases.group[i] for i, k in enumerate(label) if k == c})
                for c in range(len(cases.labels))]  # fmt: skip
    few = [name for name, count in zip(cases.labels, patients, strict=True) if count < FOLDS]
    if few:
        yield Finding(
            "few patients", "warning", (),
            _("fewer than {count} patients in: {labels}").format(
                count=FOLDS, labels=", ".join(few)),
            _("more patients; more pictures of the same ones help little"),
        )  # fmt: skip


def _balance(cases: Cases) -> Iterator[Finding]:
    counts = Counter(cases.label.tolist())
    tiny = [cases.labels[c] for c, count in counts.items() if count < TINY]
    if tiny:
        yield Finding(
            "tiny class", "warning", (),
            _("fewer than {count} pictures in: {labels}").format(
                count=TINY, labels=", ".join(sorted(tiny))),
            _("more pictures, or join classes"),
        )  # fmt: skip
    most, least = max(counts.values()), min(counts.values())
    if most >= UNEVEN * least:
        yield Finding(
            "imbalance", "warning", (),
            _("the largest class has {most} pictures, the smallest {least}").format(
                most=most, least=least),
            _("read sensitivity class by class, not accuracy"),
        )  # fmt: skip


def _sizes(cases: Cases, about: Sequence[File | None]) -> Iterator[Finding]:
    sides = np.array([(file.width * file.height) ** 0.5 if file else np.nan for file in about])
    middle = np.nanmedian(sides) if np.isfinite(sides).any() else np.nan
    odd = np.flatnonzero((sides > ODD * middle) | (sides < middle / ODD)).tolist()
    if odd:
        yield _finding(
            cases, "odd size", "hint", [(row,) for row in odd],
            _("{count} pictures are over {times:g} times larger or smaller than the middle one")
            .format(count=len(odd), times=ODD),
            _("look whether they belong here"),
        )  # fmt: skip
    kinds = Counter(file.colours for file in about if file)
    if len(kinds) > 1:
        fewer = min(kinds, key=lambda colours: kinds[colours])
        rows = [(row,) for row, file in enumerate(about) if file and file.colours == fewer]
        yield _finding(
            cases, "mixed colours", "hint", rows,
            _("{grey} grey pictures among {colour} in colour").format(
                grey=kinds[1], colour=kinds[3]),
            _("nothing, if both classes have both; else see the shortcuts"),
        )  # fmt: skip


def features(cases: Cases, about: Sequence[File | None]) -> dict[str, np.ndarray]:
    """Figures of each case that have nothing to do with what it shows, (cases,) each."""
    pixels = cases.image.float().mean(1).numpy()  # (N, H, W)
    edge = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], 1)
    kinds = sorted({file.kind for file in about if file})

    def of(value: Callable[[File], float]) -> np.ndarray:
        return np.array([value(file) if file else 0.0 for file in about])

    return {
        _("width"): of(lambda file: file.width),
        _("height"): of(lambda file: file.height),
        _("bytes"): of(lambda file: file.bytes),
        _("colour or grey"): of(lambda file: file.colours),
        _("day of the file"): of(lambda file: round(file.day)),
        _("kind of file"): of(lambda file: kinds.index(file.kind)),
        _("brightness"): pixels.mean((1, 2)),
        _("contrast"): pixels.std((1, 2)),
        _("brightness of the border"): edge.mean(1),
    }


def _shortcuts(
    cases: Cases, about: Sequence[File | None], watch: Callable[[str, float], None]
) -> Iterator[Finding]:
    """How well one such figure alone tells the label, on cases that it was not fitted to."""
    label = cases.label.numpy()
    names = cases.group or [""] * len(cases)
    groups = [name or f"\0{i}" for i, name in enumerate(names)]  # without a group, one by itself
    named = features(cases, about)
    for i, (name, values) in enumerate(named.items()):
        watch(_("looking for shortcuts"), i / len(named))
        told = _told_by(values, label, groups)
        if told is not None and told > TELLS:
            yield Finding(
                "shortcut", "warning", (),
                _("{name} alone tells the class: {told:.0%} of the way from chance to certainty")
                .format(name=name, told=told),
                _("make it alike in all classes, else that is what will be learnt"),
            )  # fmt: skip


def _told_by(values: np.ndarray, label: np.ndarray, groups: Sequence[Any]) -> float | None:
    """0 chance, 1 certainty (balanced accuracy of a small tree); None where it cannot be told."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    classes = len(np.unique(label))
    if len(set(groups)) < FOLDS or len(np.unique(values)) < 2:
        return None
    tree = DecisionTreeClassifier(max_leaf_nodes=2 * classes, min_samples_leaf=3, random_state=0)
    said = cross_val_predict(tree, values[:, None], label, groups=groups, cv=GroupKFold(FOLDS))
    chance = 1 / classes
    return (balanced_accuracy_score(label, said) - chance) / (1 - chance)


def _families(leader: Sequence[int]) -> list[tuple[int, ...]]:
    """Rows that share a leader, where they are more than one."""
    members: dict[int, list[int]] = defaultdict(list)
    for row, first in enumerate(leader):
        members[first].append(row)
    return [tuple(rows) for rows in members.values() if len(rows) > 1]


def _finding(
    cases: Cases, code: str, severity: Severity, rows: Sequence[tuple[int, ...]], message: str,
    fix: str,
) -> Finding:  # fmt: skip
    files = tuple(cases.file[row] for family in rows for row in family)
    return Finding(code, severity, files, message, fix, tuple(rows))


def manifest(found: Checkup, path: Path) -> int:
    """Write a CSV (filename, label, group, part) beside the pictures: one of each copy, none whose
    copies disagree on the label. How many cases it lists. Raises Trouble where ``path`` exists, or
    is not where its files' names begin."""
    folder = root(found.cases)
    if path.absolute().parent.resolve() != folder.absolute().resolve():
        raise Trouble(
            "outside",
            _("{path} would not find the pictures that it names").format(path=path),
            expected=_("a file in {folder}").format(folder=folder),
            fix=f"--fix {folder / 'checked.csv'}",
        )
    if path.exists():
        raise Trouble(
            "exists",
            _("{path} is there already").format(path=path),
            expected=_("a new file"),
            fix="--fix OTHER.csv",
            exit=5,
        )
    cases, out = found.cases, set()
    for finding in found.findings:
        for family in finding.rows:
            if finding.code == "label conflict":
                out |= set(family)
            elif finding.code in ("duplicates", "near duplicates"):
                out |= set(family[1:])
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("filename", "label", "group", "part"))
    kept = [row for row in range(len(cases)) if row not in out]
    label = cases.label.tolist()
    for row in kept:
        group = cases.group[row] if cases.group else ""
        part = cases.part[row] if cases.part else ""
        writer.writerow((cases.file[row], cases.labels[label[row]], group, part))
    saving.write_text(path, stream.getvalue())
    return len(kept)
