"""DICOM: does souron read what pydicom reads, to the same values, and say clearly what it cannot?

    .venv/bin/python benchmarks/dicom.py

Over every file that pydicom ships for its own tests; nothing is downloaded. Each frame's values
before any window (rescaled grey, or RGB) are compared with those of pydicom under its own choice of
decoders. A file is the same only if every value of every frame is equal.
"""

import argparse
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from printing import table, watched, where
from pydicom.pixels import apply_color_lut, apply_modality_lut

from souron.kinds.codecs import image
from souron.kinds.codecs.dicom import File
from souron.utils.messages import UserError

FOLDER = Path(pydicom.__file__).parent / "data"


def ours(path: Path) -> list[np.ndarray] | str:
    """Each frame's values, or the code of what is wrong."""
    try:
        with image.opened(path) as file:
            if not isinstance(file, File):
                return "not DICOM"
            return [file.values(number) for number in range(file.look().frames)]
    except UserError as trouble:
        return trouble.code
    except Exception as error:
        return f"crash: {type(error).__name__}"


def theirs(path: Path) -> list[np.ndarray] | None:
    """The same by pydicom alone; None where it cannot."""
    try:
        dataset: Any = pydicom.dcmread(path, force=True)
        pixels = dataset.pixel_array
        frames = list(pixels) if int(dataset.get("NumberOfFrames") or 1) > 1 else [pixels]
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            return [apply_color_lut(frame, dataset)[..., :3] for frame in frames]
        if dataset.SamplesPerPixel == 1:
            return [apply_modality_lut(frame, dataset) for frame in frames]
        return frames
    except Exception:
        return None


def outcome(path: Path) -> str:
    read, expected = ours(path), theirs(path)
    if isinstance(read, str):
        refused = f"refused: {read}" if not read.startswith("crash") else read
        return refused if expected is None else f"{refused}, though pydicom reads it"
    if expected is None:
        return "read, though pydicom does not"
    same = len(read) == len(expected) and all(map(np.array_equal, read, expected))
    return "the same values as pydicom" if same else "other values than pydicom"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", action="store_true", help="also each file that was refused")
    chosen = parser.parse_args()
    files = [p for p in sorted(FOLDER.rglob("*")) if p.is_file() and p.suffix not in (".py", ".pyc")]
    with watched(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcomes = {path: outcome(path) for path in files}
    count = Counter(outcomes.values())
    rows = [[what, str(number)] for what, number in count.most_common()]
    print(table(["outcome", "files"], [*rows, ["all", str(len(files))]]))
    if chosen.files:
        refused = [(p, o) for p, o in outcomes.items() if not o.startswith("the same")]
        print()
        print(table(["file", "outcome"], [[str(p.relative_to(FOLDER)), o] for p, o in refused]))
    print()
    print(where(1, "pydicom", "pylibjpeg", "pylibjpeg-openjpeg", "python-gdcm"))


if __name__ == "__main__":
    main()
