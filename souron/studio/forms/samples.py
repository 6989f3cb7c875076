"""Sample input for a system, available before the user uploads anything."""

import csv
import importlib.util
import re
import shutil
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from souron.data import load
from souron.hub import zoo
from souron.kinds.codecs import image
from souron.kinds.kind import Kind
from souron.kinds.picture import Picture
from souron.studio.security.paths import Roots, upload_folder
from souron.utils.files import as_json
from souron.utils.messages import UserError

NOT_A_FILE = ("text", "chat", "question", "gallery")  # widgets whose value is not a file


def sample(kind: type[Kind], folder: Path | None, args: Mapping[str, Any], roots: Roots) -> Path | None:
    """Return a test case of a run, or else an image from an installed package.

    The run is in ``folder`` and was made with ``args``. The file is copied to the folder of
    uploads. Returns None where there is none.
    """
    if kind.widget in NOT_A_FILE:
        return None
    mark = blake2b(as_json([str(folder), args]).encode(), digest_size=8).hexdigest()
    place = Path(upload_folder()) / "samples" / mark
    found = None
    try:
        if folder is not None and zoo.holds(folder):
            found = copied(zoo.examples(folder)[0], place)
        elif folder is not None:
            found = tested(kind, folder, str(args["data"]), place, roots)
    except (UserError, OSError, ValueError, IndexError):  # the data is gone or has changed
        pass
    if found is None and kind.widget == "picture":
        package = importlib.util.find_spec("sklearn")
        if package and package.origin:
            found = copied(Path(package.origin).parent / "datasets" / "images" / "china.jpg", place)
    return found


def tested(kind: type[Kind], folder: Path, data: str, place: Path, roots: Roots) -> Path | None:
    """Copy the first case of the run's test part. Raises UserError, OSError, ValueError."""
    name = first_tested(folder / "split.csv")
    if not name:
        return None
    if data not in load.names():
        base = Path(data) if Path(data).is_dir() else Path(data).parent
        path = roots.check(image.case_file(base, name).path)
        return copied(path, place) if path.suffix.lower() in kind.formats else None
    if kind.widget != "picture":
        return None
    path = place / (re.sub(r"[^\w.\-]+", "-", name) + ".png")
    if not path.exists():
        cases = load.load(data)
        Picture.of(cases.input[list(cases.file).index(name)]).save(path)
    return path


def first_tested(path: Path) -> str:
    """Return the name of the first test case; "" where none is listed. Raises OSError."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            first: dict[str, str] = {}
            for row in csv.DictReader(file):
                first.setdefault(row.get("part", ""), row["file"])
            return first.get("test") or first.get("val", "")  # cross-validated: all were tested
    except (UnicodeDecodeError, KeyError, csv.Error):
        return ""


def copied(path: Path, place: Path) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(path, place / path.name))
