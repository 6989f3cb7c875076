"""The programs of an exported folder: ``run.py``, and ``answers.py`` put together from ``parts``.

Nothing of a user's is written into them: labels and numbers are read from ``labels.txt`` and ``model.json``.
"""

import ast
from importlib.util import find_spec
from pathlib import Path

PARTS = "souron.exports.parts."
ANSWERS = '"""Reads what goes in, shows what comes out, and compares it: for run.py."""\n\n'
RUN = '''\
"""Needs {packages}. python run.py --check: the same answers here? python run.py {word}: an answer."""
import json, os, sys
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"], sys.modules["openvino_telemetry"] = "1", None  # nothing is sent
here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
sys.dont_write_bytecode = True


{network}
try:
    import numpy as np
    from answers import compared, read, show, within
    about, names = json.loads((here / "model.json").read_text("utf-8")), here / "labels.txt"
    labels = names.read_text("utf-8").split("\\n")[:-1] if names.exists() else []
    run, checks = network(here / about["file"]), sys.argv[1:] == ["--check"]
    worst, changed = compared(run, dict(np.load(here / "check.npz")), about) if checks else (0, 0)
except ImportError as error:
    sys.exit(f"{{error.name}} cannot be imported here. Next: pip install {install}")
except Exception as error:  # each runtime has errors of its own
    sys.exit(f"This folder is damaged. Next: copy or export it again ({{error}})")
if checks:
    equal = worst <= about["tolerance"] and not changed
    print(json.dumps({{"equal": equal, "max_difference": worst, "changed_labels": changed}}))
    sys.exit(0 if equal else "Other answers. Next: copy the folder again, or install the versions in model.json")
if sys.argv[1:] and about["notice"]:
    print(about["notice"], file=sys.stderr)
for word in sys.argv[1:] or sys.exit(__doc__):
    try:
        inputs, place = read(word, about)
        outputs = run(within(inputs, about))
    except Exception as error:
        sys.exit(f"{{word}} cannot be answered ({{error}}). Next: python run.py {word}")
    show(outputs, place, about, labels)
'''


def program(packages: tuple[str, ...], network: str, word: str) -> str:
    """Return the text of ``run.py``; ``network`` are the lines of a format.

    >>> len(program(("torch",), "def network(file):\\n    ...\\n", "IMAGE").splitlines()) < 40
    True
    """
    needs = [*packages, "numpy", "pillow"]
    return RUN.format(packages=", ".join(needs), install=" ".join(needs), network=network, word=word)


def answers(reads: str, shows: str) -> str:
    """Return the text of ``answers.py`` from two files in ``parts``, and those that they import."""
    imports: dict[str, None] = {}
    functions: dict[str, str] = {}
    for name in (reads, shows, "within", "compared"):
        _collect(name, imports, functions)
    plain = [line for line in sorted(imports) if line.startswith("import ")]
    others = [line for line in sorted(imports) if not line.startswith("import ")]
    return ANSWERS + "\n".join([*plain, *others]) + "\n\n\n" + "\n\n\n".join(functions.values()) + "\n"


def _collect(part: str, imports: dict[str, None], functions: dict[str, str]) -> None:
    """Add the imports and functions of a part, after those of the parts that it imports."""
    spec = find_spec(PARTS + part)
    assert spec is not None and spec.origin is not None, part
    text = Path(spec.origin).read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PARTS):
            _collect((node.module or "").removeprefix(PARTS), imports, functions)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imports[ast.unparse(node)] = None
        elif isinstance(node, ast.FunctionDef):
            functions[node.name] = ast.get_source_segment(text, node) or ""
