"""The warnings of the data check that travel with the results of a data set."""

from collections.abc import Iterator
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

from souron.data import load
from souron.data.check.copies import copies
from souron.data.check.groups import patients, spellings
from souron.data.check.headers import headers
from souron.data.check.shortcuts import shortcuts
from souron.data.dataset import Dataset
from souron.data.display_names import called
from souron.data.quality.findings import Checkup, Finding
from souron.data.quality.warnings import DataWarning, place_of, read, read_json
from souron.data.target import target_of
from souron.utils import files
from souron.utils.messages import translated

FILE = "warnings.json"  # beside the page of a check
PLACES = ("data/*", "data-sets/*/data/*")  # of these pages, in a project
SPLIT = ("leak", "patient leak", "near leak", "rotated leak")  # what a result says of its own split
MOST = 1000  # images that are searched for shortcuts after a training, in about a second
MOST_HASHED = 5000  # images that are searched for identical ones


def of_data(data: str, cases: Dataset, project: Path) -> list[DataWarning]:
    """Return the warnings about the cases of a result: of the last check of the same cases, or of a quick one.

    [] for known data sets, which are used as published.
    """
    if data in load.names():
        return []
    mark, name, place = mark_of(cases), called(data), place_of(data)
    checks = [path for pattern in PLACES for path in project.glob(f"{pattern}/{FILE}")]
    for path in sorted(checks, key=lambda path: path.stat().st_mtime, reverse=True):
        told = read_json(path) or {}
        if told.get("cases") == mark:
            return [DataWarning(one.key, name, place, one.message, one.translated) for one in read(told)]
    return list(_travelling(quick(cases), cases, name, place))


def of_check(found: Checkup, data: str) -> list[DataWarning]:
    """Return the warnings of a check that stand beside the results of the data."""
    return list(_travelling(found.findings, found.cases, called(data), place_of(data)))


def keep(found: Checkup, data: str, folder: Path) -> list[DataWarning]:
    """Write the warnings of a check beside its page, where trainings on the same cases find them; return them."""
    kept = of_check(found, data)
    files.write_json(folder / FILE, {"cases": mark_of(found.cases), "warnings": [asdict(one) for one in kept]})
    return kept


def quick(cases: Dataset) -> Iterator[Finding]:
    """Yield what a check finds in about a second: of images with one class each, all but altered copies, wrong labels
    and lettering. Shortcuts are searched in at most ``MOST`` images spread over all; other data is not searched."""
    if not cases.images or cases.labels is None or not cases.classes:
        return
    yield from patients(cases)
    yield from spellings(cases)
    yield from target_of(cases).findings()
    if len(cases) <= MOST_HASHED:
        yield from copies(cases, (), (), {})
    if len(set(cases.labels)) < 2:
        return
    few = cases.only(range(0, len(cases), -(-len(cases) // MOST)))
    yield from shortcuts(few, list(headers(few)), lambda _doing, _part: None)


def mark_of(cases: Dataset) -> str:
    """Return a hash of the names, labels and sizes of the cases' files, which is alike however they are read."""

    def size(name: str) -> Any:
        try:
            return (cases.folder / name).stat().st_size
        except OSError:  # a frame or a line of a file
            return ""

    labels = cases.labels
    named = [""] * len(cases) if labels is None else [cases.classes[number] for number in labels]
    lines = sorted(f"{file}\t{label}\t{size(file)}" for file, label in zip(cases.file, named, strict=True))
    return blake2b("\n".join(lines).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _travelling(found: Any, cases: Dataset, data: str, place: str) -> Iterator[DataWarning]:
    """Yield the warnings of findings, but those that a result tells itself: of its split, and of unusable files."""
    own = {*SPLIT, *(skipped.code for skipped in cases.skipped)}
    for one in found:
        if one.severity != "hint" and one.code not in own:
            others = {wish: texts["message"] for wish, texts in translated({"message": one.message}).items()}
            yield DataWarning(one.key, data, place, str(one.message), others)
