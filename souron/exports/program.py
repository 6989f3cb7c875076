"""``run.py`` of an exported folder, put together from ``parts``; nothing of a user's is written into it."""

import ast
from importlib.util import find_spec
from pathlib import Path

PARTS = "souron.exports.parts."
LONGEST = 40  # lines
HEAD = '''\
"""Needs {packages}. python run.py --check: equal answers here? python run.py {word}: an answer."""
import json, os, sys
from pathlib import Path
import numpy as np
from PIL import Image, ImageOps
os.environ["ORT_DISABLE_TELEMETRY"], sys.modules["openvino_telemetry"] = "1", None  # nothing is sent
'''
MAIN = """\
here = Path(__file__).resolve().parent
about, names = json.loads((here / "model.json").read_text("utf-8")), here / "labels.txt"
labels = names.read_text("utf-8").split("\\n")[:-1] if names.exists() else []
run = network(here / about["file"])
if sys.argv[1:] == ["--check"]:
    worst, changed = compared(run, np.load(here / "check.npz"), about)
    equal = worst <= about["tolerance"] and not changed
    print(json.dumps({"equal": equal, "max_difference": worst, "changed_labels": changed}))
    sys.exit(not equal)
for word in sys.argv[1:]:
    given, place = read(word, about)
    show(run(given), place, about, labels)
"""


def program(packages: tuple[str, ...], network: str, reads: str, shows: str, word: str) -> str:
    """Return the text of ``run.py``.

    ``network`` are the lines of a format, ``reads`` and ``shows`` names of files in ``parts``.
    """
    known: dict[str, str] = {}
    for name in ("compared", reads, shows):
        collect(name, known)
    named = ", ".join([*packages, "numpy", "pillow"])
    return HEAD.format(packages=named, word=word) + network + "".join(known.values()) + MAIN


def collect(part: str, known: dict[str, str]) -> None:
    """Add the functions of a part, after those of the parts that it imports, without their docstrings."""
    spec = find_spec(PARTS + part)
    assert spec is not None and spec.origin is not None, part
    text = Path(spec.origin).read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PARTS):
            collect((node.module or "").removeprefix(PARTS), known)
        if isinstance(node, ast.FunctionDef):
            node.body = node.body[1:]
            node.returns = None
            for argument in node.args.args:
                argument.annotation = None
            known.setdefault(part, "")
            if node.name not in known[part]:
                known[part] += ast.unparse(node) + "\n"
