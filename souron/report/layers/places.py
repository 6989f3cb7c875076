"""Lines of source files that make a layer, from the files' text alone."""

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import souron

HOME = Path(souron.__file__).parent
COMPOUND = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.FunctionDef, ast.ClassDef)
CONTAINERS = ("Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict")
NAMING = ("register_buffer", "register_parameter", "add_module", "register_module", "setattr")


@dataclass(frozen=True)
class Place:
    """Lines of a source file."""

    file: str  # below souron's folder: "systems/classify/alexnet.py"
    first: int  # from 1
    last: int

    def text(self) -> str:
        """Read the lines. Raises OSError."""
        lines = (HOME / self.file).read_text(encoding="utf-8").splitlines()
        return "\n".join(lines[self.first - 1 : self.last])

    def contains(self, other: "Place") -> bool:
        """Return whether all lines of the other place are among these."""
        return self.file == other.file and self.first <= other.first and other.last <= self.last


def below(file: str | Path) -> str:
    """Return a file's path within souron's folder; "" for files elsewhere."""
    path = Path(file)
    return path.relative_to(HOME).as_posix() if path.is_relative_to(HOME) else ""


@cache
def _tree(file: str, _changed: int) -> ast.Module:
    return ast.parse((HOME / file).read_text(encoding="utf-8"))


def tree(file: str) -> ast.Module:
    """Return the parsed file. Raises OSError."""
    return _tree(file, (HOME / file).stat().st_mtime_ns)


def statement(file: str, line: int) -> Place:
    """Return the whole statement that stands at a line; of a loop or a condition its first lines."""
    within = [node for node in ast.walk(tree(file)) if isinstance(node, ast.stmt) and _covers(node, line)]
    smallest = min(within, key=lambda node: (node.end_lineno or 0) - node.lineno, default=None)
    return _place(file, smallest) if smallest is not None else Place(file, line, line)


def _covers(node: ast.stmt, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _place(file: str, node: ast.stmt) -> Place:
    last = node.end_lineno or node.lineno
    if isinstance(node, COMPOUND):
        last = max(node.lineno, node.body[0].lineno - 1)
    return Place(file, node.lineno, last)


def class_place(kind: type) -> Place | None:
    """Return the lines of a class defined in souron; None for other classes."""
    file = _file_of(kind)
    node = _class(file, kind.__qualname__) if file else None
    return Place(file, node.lineno, node.end_lineno or node.lineno) if node else None


def _file_of(kind: type) -> str:
    module = sys.modules.get(kind.__module__)
    return below(getattr(module, "__file__", None) or "")


def _class(file: str, name: str) -> ast.ClassDef | None:
    last = name.rpartition(".")[2]
    nodes = (node for node in ast.walk(tree(file)) if isinstance(node, ast.ClassDef))
    return next((node for node in nodes if node.name == last), None)


def method(kind: type, name: str) -> Place | None:
    """Return the lines of a method of a class, or of one that it derives from; None outside of souron."""
    for base in kind.__mro__:
        node = _class(file, base.__name__) if (file := _file_of(base)) else None
        for each in node.body if node else ():
            if isinstance(each, ast.FunctionDef) and each.name == name:
                return Place(file, each.lineno, each.end_lineno or each.lineno)
    return None


def attribute(kind: type, name: str) -> Place | None:
    """Return the statement of a class, or of one that it derives from, that makes the attribute ``name``.

    These are ``self.name = …``, ``self.register_buffer("name", …)`` and the like; else the first
    statement that has ``"name"`` as a text, such as a key. None where there is none in souron.
    """
    own = [(file, node) for base in kind.__mro__ if (file := _file_of(base)) and (node := _class(file, base.__name__))]
    for makes in (_assigns, _mentions):
        for file, node in own:
            for each in _statements(node):
                if makes(each, name):
                    return _place(file, each)
    return None


def _statements(node: ast.ClassDef) -> Iterator[ast.stmt]:
    """Yield the simple statements of a class, those of ``__init__`` first."""
    functions = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    for function in sorted(functions, key=lambda each: each.name != "__init__"):
        for each in ast.walk(function):
            if isinstance(each, ast.stmt) and not isinstance(each, COMPOUND):
                yield each


def _assigns(node: ast.stmt, name: str) -> bool:
    targets: Sequence[ast.AST] = ()
    if isinstance(node, ast.Assign):
        targets = [each for target in node.targets for each in ast.walk(target)]
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = getattr(node.value.func, "attr", getattr(node.value.func, "id", ""))
        return called in NAMING and any(getattr(word, "value", None) == name for word in node.value.args)
    return any(isinstance(each, ast.Attribute) and each.attr == name for each in targets)


def _mentions(node: ast.stmt, name: str) -> bool:
    return any(isinstance(each, ast.Constant) and each.value == name for each in ast.walk(node))


def owner(model: Any, name: str) -> tuple[type, str]:
    """Return the class in souron that names a module or tensor, and the attribute's name there.

    Of ``features.4`` this is the class with ``self.features``: a container names nothing.
    """
    kind, attr = type(model), name.partition(".")[0]
    part = model
    for each in name.split("."):
        named = not each.isdigit() and type(part).__name__ not in CONTAINERS
        if named and any(map(_file_of, type(part).__mro__)):
            kind, attr = type(part), each
        part = getattr(part, each, None) if not hasattr(part, "__getitem__") else _item(part, each)
    return kind, attr


def _item(part: Any, name: str) -> Any:
    return dict(part.named_children()).get(name, getattr(part, name, None))
