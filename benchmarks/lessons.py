"""Seconds of each notebook as it is: ``python benchmarks/lessons.py [NAME ...]``, a part of ``make notebooks``.

Each runs from top to bottom in a kernel and an empty folder of its own; a cell that fails ends it with exit code 1 once
the others have run. Printed are the seconds that pass and the processor's seconds, which other work on the machine
changes less, of each notebook and in all.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import nbclient
import nbformat
import torch
from nbclient.exceptions import CellExecutionError

from souron.lecture.notebooks import ordered

NOTEBOOKS = Path(__file__).parent.parent / "packages" / "teach" / "souron" / "lecture" / "notebooks" / "en"


def main() -> None:
    found = sys.argv[1:] or [file.stem for file in NOTEBOOKS.glob("*.ipynb")]
    failed, times = [], []
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in ordered(found):
        lesson = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        begun, used = time.monotonic(), processor()
        with tempfile.TemporaryDirectory() as folder:
            try:
                nbclient.NotebookClient(
                    lesson, timeout=900, startup_timeout=300, resources={"metadata": {"path": folder}}
                ).execute()
            except CellExecutionError as error:
                failed.append(name)
                print(error, file=sys.stderr)
        times.append((time.monotonic() - begun, processor() - used))
        tell(name, *times[-1])
    tell("total", *map(sum, zip(*times, strict=True)))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def tell(name: str, passed: float, used: float) -> None:
    print(f"{name:24} {passed:6.1f} s, processor {used:6.1f} s", flush=True)


def processor() -> float:
    """Seconds that finished kernels have computed."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
