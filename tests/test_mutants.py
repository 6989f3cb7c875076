"""The mutants themselves: each applies, each names a test that there is; survivors are told."""

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest

from souron import registry

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "mutants"))
import run as mutants  # noqa: E402 - a script beside the mutants


def test_each_mutant_applies_once_and_names_a_test_that_there_is():
    for mutant in mutants.mutants():
        text = (ROOT / mutant.file).read_text(encoding="utf-8")
        assert text.count(mutant.old) == 1, (mutant.name, mutant.removes)
        if mutant.file.endswith(".py"):
            ast.parse(text.replace(mutant.old, mutant.new))
        file, _colons, test = mutant.test.partition("::")
        name = test.partition("[")[0]
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), mutant.test


STUDIES = (
    "arena",
    "ask",
    "check",
    "claims",
    "credentials",
    "improper",
    "references",
    "skill",
    "surface",
    "tokens",
    "watch",
    "work",
)
LEAST = 3  # mutants of each


def test_each_system_task_and_study_has_mutants():
    count = Counter(mutant.name for mutant in mutants.mutants())
    wanted = [
        *registry.entries(),
        *(f"task_{name}" for name in registry.tasks()),
        *(f"study_{name}" for name in {*STUDIES, *registry.study_files()}),
    ]
    assert not [name for name in wanted if count[name] < LEAST]


@pytest.fixture
def toy(tmp_path):
    """A project of one function with a test that looks at it, and one that does not."""
    (tmp_path / "souron").mkdir()
    (tmp_path / "souron" / "__init__.py").touch()
    (tmp_path / "souron" / "double.py").write_text("def double(n):\n    return 2 * n\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_double.py").write_text(
        "from souron.double import double\n\n"
        "def test_two():\n    assert double(2) == 4\n\n"
        "def test_nothing():\n    assert callable(double)\n"
    )
    return tmp_path


def mutant(test, old="2 * n", new="n"):
    return mutants.Mutant("double", "the factor", "souron/double.py", old, new, test)


def test_a_mutant_is_found_or_survives_and_the_file_is_restored(toy):
    assert not mutants.survives(mutant("tests/test_double.py::test_two"), toy)
    assert mutants.survives(mutant("tests/test_double.py::test_nothing"), toy)
    assert (toy / "souron" / "double.py").read_text() == "def double(n):\n    return 2 * n\n"


def test_a_mutant_that_does_not_apply_or_a_test_that_is_not_there_is_an_error(toy):
    with pytest.raises(ValueError, match="0 times"):
        mutants.survives(mutant("tests/test_double.py::test_two", old="3 * n"), toy)
    with pytest.raises(ValueError, match="test_gone"):
        mutants.survives(mutant("tests/test_double.py::test_gone"), toy)


def test_each_commit_has_mutants_of_its_own():
    every = list(mutants.mutants())
    assert not any(one.slow for one in mutants.some(every, len(every), "a"))
    chosen = [tuple(one.removes for one in mutants.some(every, 3, commit)) for commit in "abcdef"]
    assert all(len(set(three)) == 3 for three in chosen)
    assert len(set(chosen)) > 1 and chosen[0] == tuple(one.removes for one in mutants.some(every, 3, "a"))


def test_a_file_that_is_not_complete_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text('[[mutant]]\nremoves = "x"\n')
    with pytest.raises(ValueError, match=r"a\.toml"):
        list(mutants.mutants(tmp_path))
