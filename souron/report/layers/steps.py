"""Steps of a method that is no network: the functions of its system's file, in their order."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from souron.registry import Entry
from souron.report.layers import formulas

MACHINERY = (  # functions that describe a system to souron and compute nothing of its method
    "sketch", "example", "optimizers", "reading", "portable", "plan", "spec_for", "published_spec", "renamed",
    "forget", "load_state_dict", "whole", "device", "remarks", "software",
)  # fmt: skip
NO_RESULT = ("None", "Iterator[Progress]")
SHAPE = re.compile(r"#.*?(\([\w.\s,+*/-]*\))")  # "# (N,)" after a result
MOST = 14  # steps
MOST_LINES = 12  # of an equation


@dataclass(frozen=True)
class Step:
    """A function of a system's file."""

    name: str
    formula: str
    output: str  # type of the result, with its shape where the file says so: "Tensor (N,)"
    first: int  # line, from 1
    last: int


def steps(file: Path) -> list[Step]:
    """Return the public functions of a system's file and the methods of its class, in their order.

    Properties are left out.
    Methods of its other classes follow only where these are fewer than two. Raises OSError.
    """
    text = file.read_text(encoding="utf-8")
    module = ast.parse(text)
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    systems = [node for node in classes if any("SIZES" in _assigned(each) for each in node.body)]
    parents: list[ast.Module | ast.ClassDef] = [module, *systems]
    own = [each for parent in parents for each in _functions(parent)]
    if len(own) < 2:
        own += [each for parent in classes if parent not in systems for each in _functions(parent)]
    lines = text.splitlines()
    return [_step(node, lines) for node in sorted(own, key=lambda node: node.lineno)][:MOST]


def _assigned(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {each.id for each in targets if isinstance(each, ast.Name)}


def _functions(parent: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef]:
    for node in parent.body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_") or node.name in MACHINERY:
            continue
        if not any("property" in ast.unparse(each) for each in node.decorator_list):
            yield node


def _step(node: ast.FunctionDef, lines: list[str]) -> Step:
    first, last = node.lineno, node.end_lineno or node.lineno
    output = ast.unparse(node.returns) if node.returns else ""
    output = "" if output in NO_RESULT else output
    results = [each for each in ast.walk(node) if isinstance(each, ast.Return | ast.Yield)]
    noted = [SHAPE.search(lines[(each.end_lineno or each.lineno) - 1]) for each in results]
    shapes = dict.fromkeys(match[1] for match in noted if match)
    return Step(node.name, formulas.results(node), " ".join(filter(None, [output, *shapes])), first, last)


def equation(entry: Entry) -> str:
    """Return the indented lines of the docstring of a system's file: its equation or data path."""
    text = ast.get_docstring(ast.parse(entry.file.read_text(encoding="utf-8"))) or ""
    lines = [line for line in inspect.cleandoc(text).splitlines() if line.startswith("    ")]
    return inspect.cleandoc("\n".join(["", *lines[:MOST_LINES]]))
