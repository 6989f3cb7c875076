"""The mutants themselves: each applies, each names a test that there is; survivors are told."""

import shutil
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from souron import registry

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "mutants"))
import run as mutants  # noqa: E402 - a script beside the mutants
import syntax  # noqa: E402


def test_each_mutant_applies_once_and_names_a_test_that_there_is():
    text = cache(lambda file: (ROOT / file).read_text(encoding="utf-8"))
    for mutant in sorted(mutants.mutants(), key=lambda mutant: mutant.file):
        assert len(mutant.places(text(mutant.file))) == 1, (mutant.name, mutant.removes)
        assert mutant.within is None or syntax.parsed(mutant.new)
        file, _colons, test = mutant.test.partition("::")
        name = test.partition("[")[0]
        assert f"def {name}(" in text(file), mutant.test


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
        *(f"study_{name}" for name in {*STUDIES, *registry.action_files()}),
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


def mutant(test, old="2 * n", new="n", **more):
    return mutants.Mutant("double", "the factor", "souron/double.py", old, new, test, **{"within": "double"} | more)


def test_a_mutant_is_found_or_survives_and_the_file_is_restored(toy):
    assert mutants.survives(mutant("tests/test_double.py::test_two"), toy) is False
    assert mutants.survives(mutant("tests/test_double.py::test_nothing"), toy) is True
    assert (toy / "souron" / "double.py").read_text() == "def double(n):\n    return 2 * n\n"


def test_a_mutant_that_does_not_apply_or_a_test_that_is_not_there_is_an_error(toy):
    for where in ({}, {"within": None}):
        with pytest.raises(ValueError, match=r"0 times.*--moved"):
            mutants.survives(mutant("tests/test_double.py::test_two", old="3 * n", **where), toy)
    with pytest.raises(ValueError, match="test_gone"):
        mutants.survives(mutant("tests/test_double.py::test_gone"), toy)


def test_a_slow_test_is_tried_after_the_quick_ones(toy):
    (toy / "tests" / "stored").mkdir()
    (toy / "tests" / "stored" / "slow.txt").write_text("tests/test_double.py::test_two\n")
    shutil.copy(ROOT / "tests" / "tiers.py", toy / "tests")
    (toy / "tests" / "conftest.py").write_text(
        "from tiers import pytest_addoption, pytest_collection_modifyitems, pytest_configure\n"
    )
    (toy / "pytest.ini").write_text("[pytest]\n")
    slow = mutant("tests/test_double.py::test_two")
    assert mutants.survives(slow, toy, "quick") is None
    assert mutants.survives(slow, toy) is False


FUNCTION = """\
class Loss(Base):
    rate: float = 1e-2

    def forward(self, x, y, *, weight=1.0):
        # how far it is
        if x.ndim > 2 and y is not None:
            x = x.flatten(1)
        elif x.ndim == 1:
            x = x[None]
        total = (x - y).square().sum() / len(x)
        print(f"{total / 2}", 'as "text"')
        try:
            return total * weight
        except (ValueError, KeyError) as error:
            raise Problem from error


def helper(n):
    return [2 * value for value in range(n) if value]
"""


@pytest.mark.parametrize(
    "within, old, new, result",
    [
        ("Loss.forward", "(x-y).square().sum()/len(x)", "x.mean()", "total = x.mean()"),
        ("Loss.forward", "x - y", "x + y", "((x + y)).square()"),
        ("Loss.forward", "(x - y).square()", "x - y", "(x - y).sum()"),
        ("Loss.forward", "x.ndim>2 and(y is not None)", "x.ndim > 2 or y", "if (x.ndim > 2 or y):"),
        ("Loss.forward", "if x.ndim > 2 and y is not None:", "if False:", "if False:\n            x = x.flatten(1)"),
        ("Loss.forward", "if x.ndim == 1:", "if True:", "elif True:"),
        ("Loss.forward", "x = x[ None ]", "", "            pass\n        total"),
        ("Loss.forward", "'as \"text\"'", "'other'", "2}\", 'other')"),
        ("Loss.forward", "except (ValueError, KeyError) as error:", "except KeyError as error:", "except KeyError as"),
        ("Loss.forward", "1.0", "2.0", "weight=2.0"),
        ("Loss", "rate: float = 1e-2", "rate: float = 1", "    rate: float = 1\n"),
        ("Loss", "0.01", "0.5", "rate: float = 0.5"),
        ("helper", "2 * value", "value", "[value for value"),
        ("", "class Loss(Base):", "class Loss:", "class Loss:\n    rate"),
        ("", "def helper(n):", "def helper(n=1):", "def helper(n=1):\n    return"),
        (
            "Loss.forward",
            "x = x[None]",
            "x = x[\n    None,\n    None]",
            "            x = x[\n                None,\n                None]",
        ),
    ],
)
def test_a_piece_is_found_by_its_tree_and_replaced_where_it_stands(within, old, new, result):
    [found] = syntax.pieces(FUNCTION, within, old)
    changed = syntax.replaced(FUNCTION, found, new)
    assert result in changed
    assert len(syntax.pieces(changed, within, new or "pass")) >= 1


@pytest.mark.parametrize(
    "within, old, count",
    [
        ("Loss.forward", "x - z", 0),
        ("Loss.forward", "x.ndim", 2),
        ("Loss.forward", "total / 2", 0),  # within an f-string
        ("Loss", "x - y", 0),
        ("helper", "x - y", 0),
        ("gone", "x", 0),
        ("Loss.forward", "x = x.flatten(1)\nx = x[None]", 0),
    ],
)
def test_a_piece_is_counted_within_its_function_alone(within, old, count):
    assert len(syntax.pieces(FUNCTION, within, old)) == count


def test_a_piece_that_is_no_python_is_an_error():
    with pytest.raises(ValueError, match="neither an expression nor statements"):
        syntax.pieces(FUNCTION, "helper", "2 * (")
    [found] = syntax.pieces(FUNCTION, "helper", "2 * value")
    with pytest.raises(ValueError, match="neither an expression nor statements"):
        syntax.replaced(FUNCTION, found, "2 *")


@pytest.fixture
def house(tmp_path):
    """A project with one mutant of the function above, and the folder of its mutants."""
    (tmp_path / "souron" / "parts").mkdir(parents=True)
    (tmp_path / "souron" / "loss.py").write_text(FUNCTION)
    (tmp_path / "mutants").mkdir()
    (tmp_path / "mutants" / "loss.toml").write_text(
        "# of the loss\n\n[[mutant]]\n"
        'removes = "the square"\nfile = "souron/loss.py"\nwithin = "Loss.forward"\n'
        'old = "(x - y).square()"\nnew = "(x - y)"\ntest = "tests/test_loss.py::test_it"\n'
    )
    return tmp_path


MOVED = """\
from elsewhere import other


class Distance:
    def forward(self, x, y, *, weight = 1.0):
        total = ( ( x - y )   # reformatted
                  .square().sum() / len(x) )
        return total
"""


def test_a_function_that_moved_to_another_file_and_class_is_found_again(house):
    [before] = mutants.mutants(house / "mutants")
    assert before.applies(house) and mutants.found_again(before, house) == before
    (house / "souron" / "loss.py").unlink()
    (house / "souron" / "parts" / "distance.py").write_text(MOVED)
    (house / "souron" / "parts" / "other.py").write_text("def forward(x, y):\n    return x - y\n")
    assert not before.applies(house)
    assert mutants.follow(house / "mutants", house) == []
    [after] = mutants.mutants(house / "mutants")
    assert (after.file, after.within) == ("souron/parts/distance.py", "Distance.forward")
    assert after == replace(before, file=after.file, within=after.within)
    assert ".square()" not in after.changed(MOVED) and after.applies(house)
    text = (house / "mutants" / "loss.toml").read_text()
    assert text.startswith("# of the loss\n\n[[mutant]]\n") and mutants.follow(house / "mutants", house) == []
    assert (house / "mutants" / "loss.toml").read_text() == text


def test_a_function_that_is_gone_or_stands_twice_is_named(house):
    (house / "souron" / "loss.py").unlink()
    [missing] = mutants.follow(house / "mutants", house)
    assert "Loss.forward" in missing and "nowhere" in missing
    for name in ("one", "two"):
        (house / "souron" / f"{name}.py").write_text(MOVED)
    [missing] = mutants.follow(house / "mutants", house)
    assert "souron/one.py Distance.forward, souron/two.py Distance.forward" in missing
    (house / "souron" / "two.py").write_text(MOVED.replace("Distance", "Loss"))
    assert mutants.follow(house / "mutants", house) == [], "the one whose class has the old name"
    [after] = mutants.mutants(house / "mutants")
    assert after.file == "souron/two.py"


def test_each_commit_has_mutants_of_its_own():
    every = list(mutants.mutants())
    assert not any(one.slow for one in mutants.some(every, len(every), "a"))
    chosen = [tuple(one.removes for one in mutants.some(every, 3, commit)) for commit in "abcdef"]
    assert all(len(set(three)) == 3 for three in chosen)
    assert len(set(chosen)) > 1 and chosen[0] == tuple(one.removes for one in mutants.some(every, 3, "a"))


def test_mutants_of_changed_files_come_first():
    every = list(mutants.mutants())
    file = "souron/systems/image_to_image/cyclegan.py"
    three = mutants.some(every, 3, "a", [file, "README.md"])
    assert [one.file for one in three] == [file] * 3
    of_file = [one for one in every if one.file == file and not one.slow]
    assert len(of_file) >= 4 and {one.file for one in mutants.some(every, len(of_file) + 1, "a", [file])} > {file}


def test_results_of_parts_meet_in_one_table(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Mutants\n\n{mutants.HEADING}\n\n| old | x | 6 of 6 | 3 |\n")
    monkeypatch.setattr(mutants, "README", readme)
    every = list(mutants.mutants())
    for name, tiers in (("vgg", ("quick",)), ("cyclegan", ("quick", "slow", ""))):
        mutants_of = [one for one in every if one.name == name]
        found = [mutants.Result(one, tiers[at % len(tiers)], 1.2) for at, one in enumerate(mutants_of)]
        mutants.write_table(found)
    text = readme.read_text()
    assert text.startswith(f"# Mutants\n\n{mutants.HEADING}\n\n| mutants of |") and "old" not in text
    vgg, cyclegan = (sum(one.name == name for one in every) for name in ("vgg", "cyclegan"))
    thirds = [sum(at % 3 == k for at in range(cyclegan)) for k in range(3)]
    assert f"| {vgg} | {vgg} | {vgg} | {vgg * 1.2:.0f} |" in text
    assert f"| {cyclegan} | {thirds[0] + thirds[1]} | {thirds[0]} | {cyclegan * 1.2:.0f} |" in text
    quick = vgg + thirds[0]
    assert f"**{vgg + cyclegan}** | **{quick + thirds[1]}** | **{quick} ({quick / (vgg + cyclegan):.1%})**" in text


def test_a_file_that_is_not_complete_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text('[[mutant]]\nremoves = "x"\n')
    with pytest.raises(ValueError, match=r"a\.toml"):
        list(mutants.mutants(tmp_path))
