"""Something to try a system on, there before anybody has brought anything."""

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
from souron.studio.paths import Roots
from souron.utils.files import as_json
from souron.utils.messages import UserError

NOT_A_FILE = ("text", "chat", "question", "gallery")  # widgets that hand over something else


def sample(
    kind: type[Kind], folder: Path | None, args: Mapping[str, Any], roots: Roots
) -> Path | None:
    """A case that a run in ``folder``, made with ``args``, was tested on; else a picture that a
    package carries; copied to a place from which the page may show it. None where there is none."""
    from gradio.utils import get_upload_folder

    if kind.widget in NOT_A_FILE:
        return None
    mark = blake2b(as_json([str(folder), args]).encode(), digest_size=8).hexdigest()
    place = Path(get_upload_folder()) / "samples" / mark
    found = None
    try:
        if folder is not None and zoo.holds(folder):
            found = copied(zoo.examples(folder)[0], place)
        elif folder is not None:
            found = tested(kind, folder, str(args["data"]), place, roots)
    except (UserError, OSError, ValueError, IndexError):  # the data is gone, or not the same
        pass
    if found is None and kind.widget == "picture":
        package = importlib.util.find_spec("sklearn")
        if package and package.origin:
            found = copied(Path(package.origin).parent / "datasets" / "images" / "china.jpg", place)
    return found


def tested(kind: type[Kind], folder: Path, data: str, place: Path, roots: Roots) -> Path | None:
    """The first case of the run's test part. Raises UserError, OSError, ValueError."""
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
    """A case's name; "" where no case is told. Raises OSError."""
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
