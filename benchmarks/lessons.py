"""How long each lesson takes as it is: ``python benchmarks/lessons.py [NAME ...]``.

Each notebook runs from top to bottom in a kernel and an empty folder of its own. Printed are the
seconds that pass, and the processor's seconds, which other work on the machine changes less.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import nbclient
import nbformat
import torch

NOTEBOOKS = Path(__file__).parent.parent / "notebooks" / "en"


def main() -> None:
    names = sys.argv[1:] or sorted(file.stem for file in NOTEBOOKS.glob("[0-9]*.ipynb"))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in names:
        lesson = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            begun, used = time.monotonic(), processor()
            nbclient.NotebookClient(
                lesson, timeout=900, startup_timeout=300, resources={"metadata": {"path": folder}}
            ).execute()
        passed = time.monotonic() - begun
        print(f"{name:24} {passed:6.0f} s, processor {processor() - used:5.0f} s", flush=True)


def processor() -> float:
    """Seconds that finished kernels have computed."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
