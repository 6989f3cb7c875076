"""Tiers of the tests, and the processor's seconds that each case needs.

    pytest --tests=quick    all that are not slow, and a twentieth of the slow ones: ``make test``
    pytest --tests=all      all of them, the quick ones first, and the tables are brought up to date
    pytest                  whatever is named

Slow is what took over 0.15 seconds when all ran last: its id stands in ``stored/slow.txt``; and by hand,
``@pytest.mark.slow``, cases that are others for each commit. Each slow case runs within twenty commits.
Quick stays, whatever it takes, the cheapest case that finds a mutant: ``stored/kept.csv`` holds so many of
these that the quick tier finds 96 % of all mutants; and by hand, ``@pytest.mark.quick``, one of each mechanism.

``stored/seconds.csv`` holds the sum of each file; both are in seconds of the computer that its first
line names. Another one is compared by the median ratio over all files. A quick case that needs over
two of these seconds fails under CI=true; one that is kept may need twice what it took, one by hand
``@pytest.mark.quick(seconds=5)``. It is run twice then, and the second time counts: the first one may have
paid for what later cases use as well.

Counted are the processor's seconds of a case's process and of all that it starts; what a fixture of
a module or of the whole run needs is divided among the cases that share it.
"""

import csv
import hashlib
import os
import platform
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest
from _pytest.runner import runtestprotocol

SLOW = 0.15  # seconds
QUICK_AGAIN = 0.1  # below which a slow case is quick again, so that none goes to and fro
MOST = 2.0  # seconds of a quick case
FOUND = 0.96  # share of the mutants that the quick tier finds
TURNS = 20  # commits within which each slow case runs
NOTED = 1.0  # seconds by which a file's sum differs before its row changes, and a quarter of it
TELLING = 0.5  # seconds of a file from which on its ratio tells how fast a computer is
LONGEST = 10  # cases that are printed


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tests", choices=("quick", "all"), help="the quick tier and a part of the slow one, or all")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: belongs to the slow tier, whatever it took before")
    config.addinivalue_line("markers", "quick(seconds): stays in the quick tier; may need more than two seconds")
    config.pluginmanager.register(Clock(config), "clock")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Report(config), "report of seconds")


def tables(config: pytest.Config) -> "Tables":
    return Tables(config.rootpath / "tests" / "stored")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[pytest.CollectReport]:
    """Let each worker begin with other files: each writes the bytecode of a part, and reads that of the others."""
    report = yield
    worker = getattr(collector.config, "workerinput", None)
    if worker and isinstance(collector, pytest.Directory) and report.passed:
        at = len(report.result) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
        report.result = report.result[at:] + report.result[:at]
    return report


def turn(root: Path) -> int:
    """Return the number of the commit among those before it."""
    counted = subprocess.run(["git", "rev-list", "--count", "HEAD"], cwd=root, capture_output=True, text=True)
    return int(counted.stdout) if counted.returncode == 0 else 0


def due(case: str, number: int) -> bool:
    """Return whether it is a slow case's turn at a commit: once in each twenty."""
    return (int(hashlib.sha256(case.encode()).hexdigest(), 16) - number) % TURNS == 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.nodeid.partition("::")[0])  # in one order again
    tier = config.getoption("tests")
    if not tier:
        return
    listed = tables(config).listed()
    number = turn(config.rootpath)
    quick, slow = [], []
    for item in items:
        (slow if is_slow(item, listed) else quick).append(item)
    if tier == "quick":
        config.hook.pytest_deselected(items=[item for item in slow if not due(item.nodeid, number)])
        slow = [item for item in slow if due(item.nodeid, number)]
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = [item for at in range(workers) for tests in (quick, slow) for item in share(tests, at, workers)]


def is_slow(item: pytest.Item, listed: set[str]) -> bool:
    """Return whether a case belongs to the slow tier: marks by hand go before the list."""
    return not item.get_closest_marker("quick") and bool(item.get_closest_marker("slow") or item.nodeid in listed)


def share(things: list[Any], at: int, workers: int) -> list[Any]:
    """One worker's part: pytest-xdist deals them out in a row, each its quick ones first."""
    return things[len(things) * at // workers : len(things) * (at + 1) // workers]


def processor() -> float:
    """Seconds of this process, and of what it started and what that started."""
    times = os.times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in psutil.Process().children(recursive=True) if _has_children() else ():
        try:
            of_child = child.cpu_times()
        except psutil.Error:  # it has ended meanwhile
            continue
        total += sum(getattr(of_child, name, 0) for name in ("user", "system", "children_user", "children_system"))
    return total


def _has_children() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return any((thread / "children").read_text() for thread in Path("/proc/self/task").iterdir())
    except OSError:  # a thread has ended meanwhile, or this Linux does not tell
        return True


class Clock:
    """Within a worker: counts what each case needs, and each fixture that several share."""

    def __init__(self, config: pytest.Config) -> None:
        self.last = 0.0
        self.shared: dict[str, float] = {}  # since the last report
        self.within = 0.0
        self.needed = 0.0
        self.listed = tables(config).listed()
        self.kept = tables(config).kept_seconds()
        self.repeats = bool(config.getoption("tests")) and os.environ.get("CI") == "true"
        self.again: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[object]:
        self.last, self.needed = processor(), 0.0
        done = yield
        if self.repeats and not is_slow(item, self.listed) and self.needed > self.allowed(item):
            self.last, self.needed = processor(), 0.0
            item._initrequest()  # type: ignore[attr-defined]  # as pytest-rerunfailures does
            runtestprotocol(item, nextitem=nextitem, log=False)
            self.again[item.nodeid] = self.needed
        return done

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):
            session.config.workeroutput["again"] = self.again  # type: ignore[attr-defined]

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        if fixturedef.scope == "function":
            return (yield)
        begun, outer, self.within = processor(), self.within, 0.0
        try:
            return (yield)
        finally:
            needed = processor() - begun
            name = f"{fixturedef.baseid}::{fixturedef.argname}"
            self.shared[name] = self.shared.get(name, 0.0) + needed - self.within
            self.within = outer + needed

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        report = yield
        now = processor()
        report.needed = max(0.0, now - self.last - sum(self.shared.values()))
        self.needed += report.needed
        report.shared = self.shared
        report.slow = is_slow(item, self.listed)
        report.uses = [f"{one[-1].baseid}::{name}" for name, one in _fixtures(item) if one[-1].scope != "function"]
        report.allowed, report.by_hand = self.allowed(item), bool(item.get_closest_marker("quick"))
        self.last, self.shared, self.within = now, {}, 0.0
        return report

    def allowed(self, item: pytest.Item) -> float:
        """Return the seconds that a quick case may need."""
        marker = item.get_closest_marker("quick")
        return marker.kwargs.get("seconds", MOST) if marker else max(MOST, 2 * self.kept.get(item.nodeid, 0.0))


def _fixtures(item: pytest.Item) -> list[Any]:
    info = getattr(item, "_fixtureinfo", None)
    return [(name, defs) for name, defs in info.name2fixturedefs.items() if defs] if info else []


@dataclass
class Case:
    """Seconds of a case, without fixtures that it shares."""

    seconds: float = 0.0
    uses: list[str] = field(default_factory=list)
    allowed: float = MOST  # as a quick case
    by_hand: bool = False  # quick, whatever it takes
    slow: bool = False


class Report:
    """Collect all reports: sums, the longest cases, tables, and the failure of a run that needs too long."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.cases: dict[str, Case] = defaultdict(Case)
        self.shared: dict[str, float] = defaultdict(float)
        self.tables = tables(config)
        self.again: dict[str, float] = {}  # cases that needed too long -> what they needed the second time

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.again |= getattr(node, "workeroutput", {}).get("again", {})

    def pytest_runtest_logreport(self, report: Any) -> None:
        if not hasattr(report, "needed"):
            return
        case = self.cases[report.nodeid]
        case.seconds += report.needed
        case.uses, case.slow = report.uses, report.slow
        case.allowed, case.by_hand = report.allowed, report.by_hand
        for name, seconds in report.shared.items():
            self.shared[name] += seconds

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if clock := session.config.pluginmanager.get_plugin("clock"):
            self.again |= clock.again
        if os.environ.get("CI") == "true" and self.config.getoption("tests") and self.too_long():
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def slow(self) -> set[str]:
        """The cases of this run that do not belong to the quick tier."""
        return {name for name, case in self.cases.items() if case.slow}

    def pace(self) -> float:
        """Return how many of this computer's seconds are one of the tables'; 1 where that cannot be told."""
        return self.tables.pace(by_file(self.cases, self.slow()))

    def too_long(self) -> list[str]:
        """Quick cases that need more than they may, with their seconds."""
        pace, slow = max(1.0, self.pace()), self.slow()
        needed = {name: min(case.seconds, self.again.get(name, case.seconds)) for name, case in self.cases.items()}
        return [
            f"{name}: {needed[name]:.1f} s of {case.allowed * pace:.1f}"
            for name, case in sorted(self.cases.items())
            if name not in slow and needed[name] > case.allowed * pace
        ]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        write, slow = terminalreporter.write_line, self.slow()
        if not self.cases:
            return
        quick = sum(case.seconds for name, case in self.cases.items() if name not in slow)
        late = sum(self.cases[name].seconds for name in slow)
        rest = sum(self.shared.values())
        terminalreporter.section("seconds of the processor")
        count = len(self.cases) - len(slow)
        write(f"{count} quick cases {quick:.0f} s, {len(slow)} slow ones {late:.0f} s, shared fixtures {rest:.0f} s")
        longest = sorted(self.cases.items(), key=lambda item: item[1].seconds, reverse=True)
        for name, case in longest[:LONGEST]:
            write(f"{case.seconds:7.1f}  {name}")
        tier = self.config.getoption("tests")
        if not tier:
            return
        pace, sums = self.pace(), by_file(self.cases, slow)
        write(f"one second of the table is {pace:.2f} here; files whose quick cases changed:")
        for file, before, now in self.tables.changes(sums, pace):
            write(f"{now:7.1f}  {file} ({before:.1f} before)")
        for line in self.too_long():
            write(f"too long for a quick case, over {MOST:.0f} s: {line}", red=True)
        whole = self.with_shares()
        if cache := getattr(self.config, "cache", None):
            cache.set("souron/processor", {name: round(case.seconds, 3) for name, case in whole.items()})
        ended = terminalreporter._session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if tier == "all" and ended and names_no_case(self.config):
            self.tables.write(whole, slow, pace, tests_of_mutants(self.config.rootpath))
            write(f"written: {self.tables.seconds}, {self.tables.slow}, {self.tables.kept}")

    def with_shares(self) -> dict[str, Case]:
        """The cases, each with its share of the fixtures that it uses."""
        users: dict[str, int] = defaultdict(int)
        for case in self.cases.values():
            for name in case.uses:
                users[name] += 1

        def whole(case: Case) -> float:
            return case.seconds + sum(self.shared.get(name, 0) / users[name] for name in case.uses)

        return {name: replace(case, seconds=whole(case)) for name, case in self.cases.items()}


def by_file(cases: dict[str, Case], slow: set[str]) -> dict[str, list[float]]:
    """Seconds of the quick and of the slow cases of each file."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for name, case in cases.items():
        sums[name.partition("::")[0]][name in slow] += case.seconds
    return dict(sums)


def names_no_case(config: pytest.Config) -> bool:
    """Return whether a run is of all files: a table of some of them would make all others quick."""
    option = config.option
    chosen = option.keyword or option.markexpr or option.deselect or getattr(option, "lf", False)
    return not chosen and config.args_source is not pytest.Config.ArgsSource.ARGS


def tests_of_mutants(root: Path) -> list[str]:
    """The test that finds each mutant: a case, or a function that has several."""
    files = sorted((root / "tests" / "mutants").glob("*.toml"))
    return [mutant["test"] for file in files for mutant in tomllib.loads(file.read_text(encoding="utf-8"))["mutant"]]


def cheapest(tests: list[str], seconds: dict[str, float], slow: set[str]) -> set[str]:
    """Return the slow cases that are to stay quick, so that ``FOUND`` of these tests have a quick case.

    Taken are first those that need the fewest seconds for each test.
    """
    cases = defaultdict(list)
    for name in seconds:
        cases[name.partition("[")[0]].append(name)
    found, needing = 0, Counter[str]()
    for test in tests:
        own = [test] if test in seconds else cases[test]
        if set(own) - slow:
            found += 1
        elif own:
            needing[min(own, key=lambda name: seconds[name])] += 1
    kept: set[str] = set()
    for name in sorted(needing, key=lambda name: seconds[name] / needing[name]):
        if found >= FOUND * len(tests):
            break
        found += needing[name]
        kept.add(name)
    return kept


@dataclass(frozen=True)
class Tables:
    """The three files of ``stored/``."""

    folder: Path

    @property
    def seconds(self) -> Path:
        return self.folder / "seconds.csv"

    @property
    def slow(self) -> Path:
        return self.folder / "slow.txt"

    @property
    def kept(self) -> Path:
        return self.folder / "kept.csv"

    def listed(self) -> set[str]:
        """The ids of the slow cases."""
        return set(self.slow.read_text(encoding="utf-8").splitlines()) if self.slow.exists() else set()

    def kept_seconds(self) -> dict[str, float]:
        """Return the seconds of the cases that would be slow, but stay quick."""
        if not self.kept.exists():
            return {}
        with self.kept.open(encoding="utf-8", newline="") as file:
            return {row["case"]: float(row["seconds"]) for row in csv.DictReader(file)}

    def read(self) -> tuple[str, dict[str, list[float]]]:
        """The computer, and each file's seconds of quick and of slow cases."""
        if not self.seconds.exists():
            return "", {}
        first, *lines = self.seconds.read_text(encoding="utf-8").splitlines()
        rows = list(csv.reader(lines))[1:]
        return first.removeprefix("# "), {file: [float(quick), float(slow)] for file, quick, slow in rows}

    def pace(self, sums: dict[str, list[float]]) -> float:
        """The median ratio of quick seconds, now to stored; 1 without files enough."""
        known = self.read()[1]
        ratios = [now[0] / known[file][0] for file, now in sums.items() if known.get(file, [0])[0] >= TELLING]
        return median(ratios) if len(ratios) >= 5 else 1.0

    def changes(self, sums: dict[str, list[float]], pace: float) -> list[tuple[str, float, float]]:
        """Files whose quick seconds differ from the table's: file, before, now."""
        known = self.read()[1]
        changed = [(file, known.get(file, [0.0])[0], now[0] / pace) for file, now in sums.items()]
        return [(file, before, now) for file, before, now in changed if differs(before, now)]

    def write(self, cases: dict[str, Case], slow: set[str], pace: float, mutants: list[str]) -> None:
        """Bring all up to date; what differs little stays as it is.

        A case counts with what it took in this run. The first one that pays for an import or a cache which others use
        as well so becomes slow; it is quick again after the next run, where slow cases come last and another one pays.
        """
        computer, known = self.read()
        seconds = {name: case.seconds / pace for name, case in cases.items()}
        now_slow = {
            name
            for name, needed in seconds.items()
            if not cases[name].by_hand and needed > (QUICK_AGAIN if name in slow else SLOW)
        }
        kept = cheapest(mutants, seconds, now_slow)
        now_slow -= kept
        rows = {}
        for file, sums in sorted(by_file(cases, now_slow).items()):
            before = known.get(file, [0.0, 0.0])
            rows[file] = [
                was if file in known and not differs(was, now / pace) else round(now / pace, 1)
                for was, now in zip(before, sums, strict=True)
            ]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.slow.write_text("".join(f"{name}\n" for name in sorted(now_slow)), encoding="utf-8")
        before = self.kept_seconds()
        write_csv(
            self.kept,
            ["case", "seconds"],
            [
                [name, before[name] if name in before and not differs(before[name], now) else round(now, 1)]
                for name, now in sorted(seconds.items())
                if name in kept
            ],
        )
        write_csv(
            self.seconds,
            ["file", "quick", "slow"],
            [[name, *sums] for name, sums in rows.items()],
            f"# {computer or this_computer()}\n",
        )


def write_csv(file: Path, head: list[str], rows: list[list[Any]], above: str = "") -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        opened.write(above)
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def differs(before: float, now: float) -> bool:
    return abs(now - before) > max(NOTED, before / 4)


def this_computer() -> str:
    """The processor's name and its number of cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores"
