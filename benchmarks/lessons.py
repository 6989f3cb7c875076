"""Seconds of each notebook as it is: ``python benchmarks/lessons.py [NAME ...]``, a part of ``make notebooks``.

Each runs from top to bottom in a kernel and an empty folder of its own; a cell that fails ends it with exit code 1 once
the others have run. Printed are the seconds that pass, and the processor's seconds, which other work on the machine
changes less.
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

NOTEBOOKS = Path(__file__).parent.parent / "notebooks" / "en"


def main() -> None:
    found = sys.argv[1:] or [file.stem for file in NOTEBOOKS.glob("*.ipynb")]
    failed = []
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in sorted(found, key=lambda name: (len(name.split("_")[0]), name)):
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
        passed = time.monotonic() - begun
        print(f"{name:24} {passed:6.0f} s, processor {processor() - used:5.0f} s", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def processor() -> float:
    """Seconds that finished kernels have computed."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
