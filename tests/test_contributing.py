"""CONTRIBUTING.md keeps its word: a system is one file, and nothing else is edited."""

import importlib
import inspect
import json
import re
import sys
from pathlib import Path

import pytest
import test_every_system as contract

import souron
from souron import registry
from souron.cli import main
from souron.runs import compare, train

ROOT = Path(__file__).parent.parent
NAME = "logistic"


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The example of CONTRIBUTING.md, in a package path of its own."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert code is not None
    assert f"souron/systems/classify/{NAME}.py" in text
    extra = tmp_path / "elsewhere" / "souron"
    file = extra / "systems" / "classify" / f"{NAME}.py"
    file.parent.mkdir(parents=True)
    file.write_text(code[1], encoding="utf-8")

    monkeypatch.setattr(souron, "__path__", [*souron.__path__, str(extra)])
    registry.system_files.cache_clear()
    registry.entries.cache_clear()
    importlib.invalidate_caches()
    yield registry.entries()[NAME]
    sys.modules.pop(f"souron.systems.classify.{NAME}", None)
    monkeypatch.undo()
    registry.system_files.cache_clear()
    registry.entries.cache_clear()


def test_it_is_found_and_listed(example, capsys):
    assert example.task == "classify" and example.year == 1958
    assert main.run(["list", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listed[NAME]["idea"] == {"en": example.idea, "ja": example.ja}


def test_it_is_shown(example, capsys):
    assert main.run(["show", NAME, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["idea"]["en"] == example.idea
    parameters = {size["name"]: size["parameters"] for size in shown["sizes"]}
    assert parameters[NAME] == 784 * 10 + 10  # 28 x 28 pixels by ten labels, and a bias for each


def test_it_learns(example):
    record = train.train(NAME, "digits", budget="8ep")
    assert record.measures["accuracy"].value > 0.7
    assert (record.folder / "report.html").exists()


def test_it_takes_part_in_a_comparison(example):
    record = compare.compare([NAME, "mlp_tiny"], "digits", budget="1ep", seeds=2)
    assert {row.system for row in record.rows} == {NAME, "mlp_tiny"}
    assert len(record.verdicts) == 1


def test_it_gets_its_page(example, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    pages = importlib.import_module("pages")

    text = pages.system(pages.describe(example))
    assert example.idea in text and "softmax(W x + b)" in text
    assert f"[{NAME}]({NAME}.md)" in pages.systems(list(registry.entries().values()))


CHECKS = {
    name: check
    for name, check in vars(contract).items()
    if name.startswith("test_") and set(inspect.signature(check).parameters) & {"entry", "name"}
}


def test_it_is_the_whole_contract_that_is_checked():
    assert len(CHECKS) >= 10


@pytest.mark.parametrize("check", CHECKS)
def test_it_keeps_the_contract(check, example, digits, tmp_path, monkeypatch):
    monkeypatch.setitem(contract.ENTRIES, NAME, example)
    offered = {
        "entry": example,
        "name": NAME,
        "digits": digits,
        "tmp_path": tmp_path,
        "channels": 1,
        "side": 8,
        "size": "tiny",
    }
    wanted = inspect.signature(CHECKS[check]).parameters
    if "fitted" in wanted:
        offered["fitted"] = contract.after_four_steps(example, digits)
    CHECKS[check](**{name: offered[name] for name in wanted})


def test_afterwards_it_is_gone():
    assert NAME not in registry.entries()
