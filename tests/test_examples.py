"""Examples in docstrings: every public function of the core has one, and each of them is true."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest
from test_rules import FILES, HOUSE, name_of

SHOWN = ("metrics", "stats", "kinds")  # folders whose public functions all have an example
EXAMPLES = [name_of(file) for file in FILES if ">>> " in file.read_text(encoding="utf-8")]


def public_functions(file: Path) -> list[ast.FunctionDef]:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return [one for one in body if isinstance(one, ast.FunctionDef) and one.name[0] != "_"]


def test_every_public_function_has_an_example():
    files = [file for file in FILES if file.parent in [HOUSE / folder for folder in SHOWN]]
    assert len(files) > 60
    assert not [
        f"{name_of(file)}.{function.name}"
        for file in [*files, HOUSE / "data" / "splits.py"]
        for function in public_functions(file)
        if ">>> " not in (ast.get_docstring(function) or "")
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
