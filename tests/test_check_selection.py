"""``make check`` chooses the tests that a change can break: on a small repository of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import affected
import pytest
import roots

FILES = {
    "souron/__init__.py": "",
    "souron/units.py": "def metres(feet):\n    return feet * 0.3048\n",
    "souron/road.py": "def length():\n    from souron.units import metres\n    return metres(10)\n",
    "souron/river.py": "DEPTH = 3\n",
    "souron/bridge.py": "import souron.river\nimport souron.road\nTABLE = 'loads.toml'\n",
    "souron/loads.toml": "car = 2\n",
    "souron/registry.py": "def entries():\n    return ['cnn', 'gpt']\n",
    "souron/systems/classify/cnn.py": "ANSWER = 1\n",
    "souron/systems/complete/gpt.py": "ANSWER = 2\n",
    "tests/helper.py": "from souron.river import DEPTH\n",
    "conftest.py": "",
    "tests/test_units.py": "from souron import units\ndef test_it():\n    assert units.metres(1)\n",
    "tests/test_road.py": "from souron import road\ndef test_it():\n    assert road.length() > 3\n",
    "tests/test_river.py": "import helper\ndef test_it():\n    assert helper.DEPTH == 3\n",
    "tests/test_bridge.py": "from souron import bridge\ndef test_it():\n    assert bridge.TABLE\n",
    "tests/test_gpt.py": "def test_it():\n    assert 'gpt_tiny'\n",
    "tests/test_alone.py": "def test_it():\n    pass\n",
    "tests/test_every.py": "import pytest\nfrom souron import registry\n"
    "@pytest.mark.parametrize('name', registry.entries())\n"
    "def test_it(name):\n    assert name\n",
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with these files, in a folder with a blank and Japanese letters."""
    root = tmp_path / "橋 bridge"
    for name, text in FILES.items():
        write(root / name, text)
    shutil.copy(affected.__file__, root / "tests/affected.py")
    shutil.copy(roots.__file__, root / "tests/roots.py")
    write(root / ".gitignore", "__pycache__/\n.pytest_cache/\n")
    monkeypatch.setattr(affected, "ROOT", root)
    commit(root, "init", "-q")
    commit(root)
    return root


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def commit(root: Path, *first: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in ([*first], ["add", "-A"], [*who, "commit", "--allow-empty", "-qm", "x"]):
        if words:
            subprocess.run(["git", *words], cwd=root, check=True)


def selected(root, *changed):
    return affected.Graph(root).select(list(changed))


def check(root, *words):
    """``python tests/affected.py`` as make calls it."""
    environment = os.environ | {"PYTHONPATH": str(root), "PYTEST_ADDOPTS": "-q -n 0 -rA"}
    for name in ("PYTEST_XDIST_WORKER", affected.PLAN):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "tests/affected.py", *words], cwd=root, env=environment, capture_output=True, text=True
    )


def test_importers_are_chosen_with_their_distance_lazy_imports_too(repository):
    found = selected(repository, "souron/units.py")
    assert found.distance == {"tests/test_units.py": 1, "tests/test_road.py": 2, "tests/test_bridge.py": 3}
    assert selected(repository, "souron/river.py").distance == {"tests/test_bridge.py": 2, "tests/test_river.py": 2}
    assert selected(repository, "tests/helper.py").distance == {"tests/test_river.py": 1}
    assert selected(repository, "tests/test_alone.py").distance == {"tests/test_alone.py": 0}


def test_what_is_found_by_name_selects_who_names_it_and_its_part_of_the_contract(repository):
    found = selected(repository, "souron/systems/complete/gpt.py")
    assert found.distance == {"tests/test_gpt.py": 1} and not found.core
    assert found.named == {"tests/test_every.py": {"gpt"}}
    assert found.takes("tests/test_every.py::test_it[gpt]")
    assert found.takes("tests/test_every.py::test_it[gpt_tiny]")
    assert not found.takes("tests/test_every.py::test_it[cnn]")
    assert not found.takes("tests/test_alone.py::test_it[gpt]")


def test_data_count_as_a_change_of_who_names_them(repository):
    assert selected(repository, "souron/loads.toml").distance == {"tests/test_bridge.py": 2}
    lost = selected(repository, "souron/other.bin")
    assert lost.unknown == ["souron/other.bin"] and not lost.distance


def test_the_core_and_the_settings_select_everything_and_say_so(repository):
    found = selected(repository, "souron/__init__.py")
    assert found.core == ["souron/__init__.py"] and "tests/test_units.py" in found.distance
    everything = selected(repository, "pyproject.toml")
    assert set(everything.distance) == {name for name in FILES if name.startswith("tests/test_")}
    assert everything.core == ["pyproject.toml"]


def test_the_nearest_fit_first_and_the_slowest_begin():
    selection = affected.Selection({"a.py": 1, "b.py": 2}, {"c.py": {"gpt"}})
    seconds = {"a.py::slow": 6, "a.py::quick": 1, "b.py::long": 4, "b.py::short": 2}
    ids = [*seconds, "c.py::x[gpt]", "c.py::x[cnn]"]
    chosen, left = affected.arrange(ids, selection, seconds, 10)
    assert chosen == ["a.py::slow", "b.py::short", "a.py::quick", "c.py::x[gpt]"]
    assert left == ["b.py::long"]


def test_changes_are_those_since_the_last_green_state(repository):
    write(repository / "souron/river.py", "DEPTH = 4\n")
    assert check(repository, "begin").returncode == 0
    assert check(repository, "green").returncode == 0
    assert affected.changes(affected.base()) == []
    write(repository / "souron/road.py", "def length():\n    return 5\n")
    write(repository / "souron/new.py", "")
    assert affected.changes(affected.base()) == ["souron/new.py", "souron/road.py"]
    commit(repository)
    assert affected.changes(affected.base()) == ["souron/new.py", "souron/road.py"]
    (repository / "souron/river.py").unlink()
    assert "souron/river.py" in affected.changes(affected.base())


def test_without_a_green_state_the_last_commit_is_checked(repository):
    write(repository / "souron/river.py", "DEPTH = 3.0\n")
    commit(repository)
    assert affected.changes(affected.base()) == ["souron/river.py"]


def test_a_change_runs_its_tests_and_fails_with_them(repository):
    write(repository / "souron/river.py", "DEPTH = 4\n")
    done = check(repository)
    assert done.returncode == 1 and "FAILED tests/test_river.py::test_it" in done.stdout
    assert "PASSED tests/test_bridge.py::test_it" in done.stdout
    assert "test_units" not in done.stdout + done.stderr
    write(repository / "souron/river.py", "DEPTH = 3\n# metres\n")
    assert check(repository).returncode == 0
    assert "0 files have changed" in check(repository).stdout


def test_what_has_no_room_is_told_and_is_not_green(repository):
    times = {"tests/test_river.py::test_it": 9999.0}
    write(repository / affected.TIMES, json.dumps(times))
    write(repository / "souron/river.py", "DEPTH = 5\n")
    done = check(repository)
    assert done.returncode == 0 and "PASSED tests/test_bridge.py::test_it" in done.stdout
    assert "1 tests had no room" in done.stdout and "tests/test_river.py: 1" in done.stdout
    assert "1 files have changed" in check(repository).stdout


def test_a_system_runs_its_part_of_the_contract_alone(repository):
    write(repository / "souron/systems/classify/cnn.py", "ANSWER = 3\n")
    done = check(repository)
    assert done.returncode == 0 and "PASSED tests/test_every.py::test_it[cnn]" in done.stdout
    assert "[gpt]" not in done.stdout
