"""The house rules, as code."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import souron

HOUSE = Path(souron.__file__).parent
FILES = sorted(p for p in HOUSE.rglob("*.py") if "__pycache__" not in p.parts)
SYSTEMS = [p for p in FILES if p.parent.parent.name == "systems"]
MACHINERY = {"torch", "torchvision", "timm"}


def imports(file: Path) -> set[str]:
    """The modules that a file imports, at the top or within a function."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module.count(".") == 0:
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def python(code: str) -> str:
    """What fresh Python prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("file", SYSTEMS, ids=lambda p: p.stem)
def test_a_system_imports_machinery_and_the_contract_only(file):
    for name in imports(file):
        first, *rest = name.split(".")
        if first == "souron":
            assert not rest or rest[0] in ("system", "tasks", "kinds", "blocks", "training",
                                           "asking", "speaking"), name  # fmt: skip
        else:
            assert first in MACHINERY or first in sys.stdlib_module_names, name


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.stem)
def test_nothing_imports_a_system_by_name(file):
    assert not any(name.startswith("souron.systems") for name in imports(file))


def test_imports_run_one_way():
    order = ["cli", "touring", "comparing", "running", "fitting", "training"]
    for lower, name in enumerate(order):
        for higher in order[:lower]:
            assert f"souron.{higher}" not in imports(HOUSE / f"{name}.py"), (name, higher)


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.stem)
def test_nothing_runs_code_from_a_file(file):
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"\bimport pickle|(?<![.\w])(eval|exec)\(|yaml\.load\(|weights_only=False|"
                         r"shell=True|trust_remote_code", text)  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.stem)
def test_only_fetching_touches_the_network(file):
    if file.stem == "fetching":
        return
    network = {"urllib.request", "http.client", "socket", "requests", "httpx", "huggingface_hub"}
    assert not network & imports(file)


def test_every_message_has_its_fields_outside_of_the_translation():
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_":
                filled = isinstance(node.args[0], ast.JoinedStr | ast.BinOp | ast.Call)
                assert not filled, (file.name, node.lineno)


def test_importing_souron_imports_nothing_heavy():
    loaded = json.loads(python("import souron, sys, json; print(json.dumps(list(sys.modules)))"))
    assert not {"torch", "numpy", "rich", "typer", "matplotlib", "PIL"} & set(loaded)


def test_the_public_names_exist():
    for name in souron.PUBLIC:
        assert getattr(souron, name) is not None
    with pytest.raises(AttributeError):
        souron.no_such_name  # noqa: B018
