"""The tiers: which cases run when, what each needs, and what is said and stored of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import tiers
import waiting

HERE = Path(__file__).parent
TOY = """
import time

import pytest


def turn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.fixture(scope="module")
def costly():
    turn(0.15)


def test_light():
    pass


def test_heavy():
    turn(0.4)


@pytest.mark.parametrize("number", range(3))
def test_shared(costly, number):
    pass


@pytest.mark.quick(seconds=9)
def test_by_hand():
    turn(0.4)


@pytest.mark.slow
def test_slow_by_hand():
    pass
"""
CONFTEST = """
import tiers
import waiting
from tiers import pytest_addoption, pytest_collection_modifyitems, pytest_configure, pytest_make_collect_report

tiers.SLOW, tiers.QUICK_AGAIN, tiers.MOST = 0.2, 0.1, 0.2
"""


@pytest.fixture
def toy(tmp_path):
    """A project of seven cases: one is slow, one is slow by hand, and one stays quick by hand."""
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_toy.py").write_text(TOY)
    (tests / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -q -p no:cacheprovider\n")
    return tmp_path


def run(toy, *words, ci="false"):
    environment = os.environ | {"PYTHONPATH": str(HERE), "CI": ci}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", "pytest", *words]
    return subprocess.run(command, cwd=toy, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_whole_run_writes_the_tables_and_a_quick_one_leaves_out_what_is_slow(toy, workers):
    whole = run(toy, workers, "--tests=all")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    slow = toy / "tests" / "stored" / "slow.txt"
    assert "tests/test_toy.py::test_heavy\n" in slow.read_text() and "by_hand" not in slow.read_text()
    first, head, row = (toy / "tests" / "stored" / "seconds.csv").read_text().splitlines()
    assert first == f"# {tiers.this_computer()}" and head == "file,quick,slow"
    file, quick, late = row.split(",")
    assert file == "tests/test_toy.py" and 0.4 <= float(late) < 0.8
    assert 0.5 <= float(quick) < 1.5, "each worker makes the fixture of a module for itself"
    quick = run(toy, workers, "--tests=quick", "-v")
    assert "test_by_hand" in quick.stdout and "test_slow_by_hand" not in quick.stdout and "5 passed" in quick.stdout
    named = run(toy, workers)
    assert "7 passed" in named.stdout and "before)" not in named.stdout


PARTS = [["tests"], ["-k", "light"], ["-m", "slow"], ["--deselect", "tests/test_toy.py::test_light"]]


@pytest.mark.quick(seconds=10)
@pytest.mark.parametrize("words", PARTS)
def test_a_run_of_some_cases_leaves_the_tables_alone(toy, words):
    ended = run(toy, "-n1", "--tests=all", *words).stdout
    assert "seconds of the processor" in ended and "written" not in ended
    assert not (toy / "tests" / "stored").exists()


def test_the_end_of_a_run_says_sum_longest_cases_and_changes(toy):
    run(toy, "-n0", "--tests=all")
    more = toy / "tests" / "test_more.py"
    more.write_text("from test_toy import turn\n\ndef test_new():\n    turn(1.3)\n")
    end = run(toy, "-n0", "--tests=quick").stdout
    assert "6 quick cases" in end and "0 slow ones 0 s" in end
    assert end.index("tests/test_more.py::test_new") < end.index("tests/test_toy.py::test_by_hand")
    assert "tests/test_more.py (0.0 before)" in end and "tests/test_toy.py (" not in end


def test_a_quick_case_that_needs_too_long_fails_under_ci_by_name(toy):
    needing = re.compile(r"tests/test_toy.py::test_heavy: 0\.[4-7] s of 0\.2")
    assert run(toy, "-n0", "--tests=quick").returncode == 0
    failed = run(toy, "-n0", "--tests=quick", ci="true")
    assert failed.returncode == 1 and needing.search(failed.stdout) and "test_by_hand:" not in failed.stdout
    assert run(toy, "-n0", ci="true").returncode == 0, "no tier, no limit"
    run(toy, "-n0", "--tests=all")
    assert run(toy, "-n0", "--tests=quick", ci="true").returncode == 0, "it is slow now"


def test_a_case_that_pays_for_what_others_use_does_not_fail_under_ci(toy):
    (toy / "tests" / "test_first.py").write_text(
        "from functools import cache\n\nfrom test_toy import turn\n\nturned = cache(turn)\n\n"
        "def test_it():\n    turned(0.5)\n\ndef test_each_time():\n    turn(0.5)\n"
    )
    for workers in ("-n0", "-n2"):
        done = run(toy, workers, "--tests=quick", "tests/test_first.py", ci="true")
        assert done.returncode == 1 and re.search(r"test_each_time: 0\.[5-8] s of 0\.2", done.stdout), done.stdout
        assert "test_it: " not in done.stdout and "2 passed" in done.stdout


def test_a_tier_that_there_is_not_is_named(toy):
    done = run(toy, "--tests=nonsense")
    assert done.returncode == 4
    assert "nonsense" in done.stderr and "quick" in done.stderr and "all" in done.stderr


def test_each_slow_case_has_its_turn_within_twenty_commits():
    cases = [f"tests/test_x.py::test_{number}" for number in range(400)]
    turns = [sum(tiers.due(case, commit) for commit in range(7, 7 + tiers.TURNS)) for case in cases]
    assert turns == [1] * len(cases)
    each = [sum(tiers.due(case, commit) for case in cases) for commit in range(tiers.TURNS)]
    assert all(5 <= count <= 40 for count in each) and sum(each) == 400


def test_each_worker_has_quick_cases_first():
    assert [tiers.share(list(range(10)), at, 3) for at in range(3)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]


def cases(**seconds):
    return {f"tests/test_{name}.py::test_it": tiers.Case(value) for name, value in seconds.items()}


def test_another_computer_is_compared_by_the_median_ratio(tmp_path, monkeypatch):
    monkeypatch.setattr(tiers, "TELLING", 0.05)
    tables = tiers.Tables(tmp_path)
    stored = dict.fromkeys("abcdef", 0.1)
    tables.write(cases(**stored), set(), 1.0, [])
    now = tiers.by_file(cases(**dict.fromkeys(stored, 0.2) | {"a": 4.0}), set())
    assert tables.pace(now) == pytest.approx(2.0)
    assert tables.changes(now, 2.0) == [("tests/test_a.py", 0.1, 2.0)]
    assert tables.pace({}) == 1.0


def test_a_table_changes_only_where_much_changes(tmp_path):
    tables = tiers.Tables(tmp_path)
    tables.write(cases(a=0.1, b=0.1, c=5.0), set(), 1.0, [])
    before = tables.seconds.read_text()
    assert tables.slow.read_text() == "tests/test_c.py::test_it\n"
    slow = {"tests/test_c.py::test_it"}
    tables.write(cases(a=0.14, b=0.05, c=5.9), slow, 1.0, [])
    assert tables.seconds.read_text() == before
    tables.write(cases(a=0.3, b=0.1, c=0.12), slow, 1.0, [])
    assert tables.slow.read_text() == "tests/test_a.py::test_it\ntests/test_c.py::test_it\n", "0.12 s: not to and fro"
    tables.write(cases(a=0.1, b=0.1, c=0.09), slow, 1.0, [])
    assert tables.slow.read_text() == ""
    tables.write(cases(a=0.6, b=0.28, c=0.1), set(), 2.0, [])
    assert tables.slow.read_text() == "tests/test_a.py::test_it\n", "seconds of the table's computer"


def test_the_cheapest_cases_that_find_mutants_stay_quick(tmp_path, monkeypatch):
    monkeypatch.setattr(tiers, "FOUND", 0.8)
    seconds = {"t::test_a[1]": 9.0, "t::test_a[2]": 3.0, "t::test_b": 4.0, "t::test_c": 2.5, "t::test_d": 0.1}
    slow = {name for name, needed in seconds.items() if needed > 1}
    assert tiers.cheapest(["t::test_d", "t::test_a[1]"] * 2, seconds, slow) == {"t::test_a[1]"}
    assert tiers.cheapest(["t::test_d"] * 4 + ["t::test_a[1]"], seconds, slow) == set(), "0.8 of five have one"
    every = ["t::test_a", "t::test_b", "t::test_b", "t::test_c", "t::test_d"]
    assert tiers.cheapest(every, seconds, slow) == {"t::test_b", "t::test_c"}, "2, 2.5, then 3 seconds for each"
    assert tiers.cheapest(["t::test_gone"], seconds, slow) == set()

    tables = tiers.Tables(tmp_path)
    tables.write({name: tiers.Case(needed) for name, needed in seconds.items()}, set(), 1.0, every)
    assert tables.listed() == {"t::test_a[1]", "t::test_a[2]"}
    assert tables.kept_seconds() == {"t::test_b": 4.0, "t::test_c": 2.5}
    before = tables.kept.read_text()
    tables.write({name: tiers.Case(needed * 1.1) for name, needed in seconds.items()}, slow, 1.0, every)
    assert tables.kept.read_text() == before


def test_a_case_that_is_kept_may_need_twice_what_it_took(toy):
    stored = toy / "tests" / "stored"
    stored.mkdir()
    (stored / "kept.csv").write_text("case,seconds\ntests/test_toy.py::test_heavy,0.4\n")
    assert run(toy, "-n0", "--tests=quick", ci="true").returncode == 0
    (stored / "kept.csv").write_text("case,seconds\ntests/test_toy.py::test_heavy,0.15\n")
    failed = run(toy, "-n0", "--tests=quick", ci="true")
    assert failed.returncode == 1 and re.search(r"test_heavy: 0\.[4-7] s of 0\.3", failed.stdout)


def test_each_worker_begins_with_other_files_and_all_agree_on_the_order(toy):
    for name in "abcdef":
        (toy / "tests" / f"test_{name}.py").write_text(
            "import os\nfrom pathlib import Path\n\n"
            'Path(f"order {os.environ[\'PYTEST_XDIST_WORKER\']}").open("a").write(__name__ + " ")\n\n\n'
            "def test_it():\n    pass\n"
        )
    done = run(toy, "-n2")
    assert done.returncode == 0 and "13 passed" in done.stdout, done.stdout + done.stderr
    orders = [(toy / f"order gw{number}").read_text().split() for number in (0, 1)]
    assert orders == [[f"test_{name}" for name in order] for order in ("abcdef", "defabc")]


def test_a_process_counts_with_what_it_started():
    before = tiers.processor()
    code = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\nprint('now')\ninput()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    running = tiers.processor() - before
    child.communicate(b"\n")
    assert running >= 0.29 and tiers.processor() - before >= running - 0.02


def test_a_wait_ends_with_what_would_bring_its_state_about(monkeypatch):
    assert waiting.until(lambda: "state", lambda: False) == "state", "it may end once the state is reached"
    monkeypatch.setattr(waiting, "LIMIT", 1)
    with pytest.raises(AssertionError, match="has ended before\nits log"):
        waiting.until(lambda: False, lambda: False, log=lambda: "its log")
    monkeypatch.setattr(waiting, "LIMIT", 0)
    with pytest.raises(AssertionError, match="within 0 seconds"):
        waiting.until(lambda: False)


def test_a_process_that_waits_for_its_parent_is_not_alive():
    assert waiting.alive(os.getpid())
    ended = subprocess.Popen(["true"])
    waiting.until(lambda: not waiting.alive(ended.pid))
    assert psutil.Process(ended.pid).status() == psutil.STATUS_ZOMBIE
    ended.wait()
    assert not waiting.alive(ended.pid)
