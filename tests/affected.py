"""The tests that a change can break, chosen by the import graph; ``make check`` runs them.

    python tests/affected.py          what has changed since the last green state, tested
    python tests/affected.py begin    note the state of the files, before ``make test``
    python tests/affected.py green    that state is green: a later check begins there

An edge leads from each file to the files that it imports, within functions too. What is found by
its name (``NAMED``) has no edge from the registry: a changed system selects the tests that name it,
and of the tests that walk through a registry those whose id holds its name.

A file that is no Python counts as a change of those beside it that name it. The nearest tests are
taken, of these the shortest, until ``SECONDS`` are full by the times of earlier runs; the slowest
of them begin. The tests that were left out are counted: ``make test TESTS=all`` runs everything.
"""

import ast
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import roots

ROOT = roots.ROOT
SECONDS = 140  # of tests; lint takes the rest of three minutes
START = 30  # of these, until the first test begins
UNKNOWN, SLOW = 0.2, 3.0  # seconds of a test that was never timed here, and of one that is listed as slow
NAMED = {  # folders whose files are found by name -> how a test walks through all of them
    "souron/systems": r"registry\.entries\(",
    "souron/tasks": r"registry\.(entries|tasks)\(",
    "souron/actions": r"registry\.studies\(",
    "souron/report/sections": r"registry\.(entries|tasks)\(",
    "souron/data/sets": r"load\.names\(",
    "souron/data/formats": r"\bFORMATS\b",
    "souron/data/targets": r"\btarget_of\(",
    "souron/lecture/rows": r"\brows\.\w+\(",
    "souron/lecture/computed": r"\bexercises\.of_row\(",
    "souron/studio/pages": r"\bPAGES\b",
    "souron/serve/endpoints": r"\b(application|Gate)\(",
    "souron/studio/interactives": r"\binteractives?\b",
}
EVERYTHING = ("conftest.py", "tests/isolation.py", "pyproject.toml", "constraints.txt")
GREEN = "refs/worktree/green"  # a commit that holds all tracked files as they were green
TIMES = ".pytest_cache/v/souron/seconds"  # written by conftest.py
ALL = "make test TESTS=all"
LATE = f"no time left: {ALL}"
PLAN = "AFFECTED_PLAN"  # the variable that leads the run to its plan
SIZE = r"(?:_(?:tiny|small|paper)|\d\w*)?"  # of a system, behind its name


@dataclass
class Selection:
    """Test files to run, and how far each is from what has changed."""

    distance: dict[str, int] = field(default_factory=dict)
    named: dict[str, set[str]] = field(default_factory=dict)  # only tests whose id holds a word
    core: list[str] = field(default_factory=list)  # changed files that most tests reach
    unknown: list[str] = field(default_factory=list)  # changed files that no test reaches

    def add(self, test: str, distance: int) -> None:
        self.distance[test] = min(distance, self.distance.get(test, distance))

    def takes(self, test_id: str) -> bool:
        """Does a test, by its pytest id, belong to it?"""
        file, _colons, name = test_id.partition("::")
        return file in self.distance or any(
            re.search(rf"(?<![a-z]){re.escape(word)}(?![a-z])", name) for word in self.named.get(file, ())
        )


class Graph:
    """Who imports whom among the Python files of a repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        folders = (*roots.houses(root), *roots.tests(root), root / "zoo", root / "starters")
        paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
        self.text = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}
        self.modules = {self._module(file): file for file in self.text}
        self.tests = [file for file in self.text if re.match(r"tests/(.*/)?test_", _in_distribution(file))]

    @staticmethod
    def _module(file: str) -> str:
        parts = PurePosixPath(_in_distribution(file)).with_suffix("").parts
        parts = parts[1:] if parts[0] in ("tests", "zoo", "starters") else parts  # these lie on the path
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def importers(self) -> dict[str, set[str]]:
        """Each file -> the files that import it."""
        found: dict[str, set[str]] = {file: set() for file in self.text}
        for file in self.text:
            for other in self.imports(file):
                found[other].add(file)
        return found

    def imports(self, file: str) -> set[str]:
        """The files that it imports, anywhere in it, with the packages that they lie in."""
        found = set()
        for name in _imported(ast.parse(self.text[file]), self._module(file)):
            while name:
                found |= {self.modules[name]} if name in self.modules else set()
                name = name.rpartition(".")[0]
        return found - {file}

    def reach(self, file: str) -> dict[str, int]:
        """The test files that import a file, directly or through others -> over how many."""
        distance, newest = {file: 0}, {file}
        while newest:
            newest = {up for one in newest for up in self.importers[one]} - distance.keys()
            step = max(distance.values()) + 1
            distance |= dict.fromkeys(newest, step)
        return {test: distance[test] for test in self.tests if test in distance}

    def naming(self, words: set[str], files: list[str]) -> list[str]:
        """Return the files that have one of these words in a string, a path or a command. A word
        that a third of them has says nothing."""
        kept: set[str] = set()
        for word in words:
            known = re.compile(rf"""["'/ ]{re.escape(word)}{SIZE}["'/ ]""")
            naming = {file for file in files if known.search(self.text[file])}
            kept |= naming if len(naming) <= max(len(files) / 3, 1) else set()
        return sorted(kept)

    def select(self, changed: list[str]) -> Selection:
        """Return the tests to run after these files have changed, deleted ones too."""
        selection = Selection()
        for file in changed:
            known = self._of(file, selection)
            if file in EVERYTHING or len(known) > len(self.tests) / 2:
                selection.core.append(file)
            for test, distance in known.items():
                selection.add(test, distance)
            if not known and file not in EVERYTHING and not self._walking(file, selection):
                selection.unknown.append(file)
        if any(file in EVERYTHING for file in changed):
            for test in self.tests:
                selection.add(test, 9)
        return selection

    def _of(self, file: str, selection: Selection) -> dict[str, int]:
        if file not in self.text:
            return self._of_data(file, selection)
        known = self.reach(file)
        if _named(file):
            stem = PurePosixPath(file).stem
            known |= dict.fromkeys(self.naming({stem}, self.tests), 1)
            for test in self._walking(file, selection):
                selection.named.setdefault(test, set()).add(stem)
        return known

    def _of_data(self, file: str, selection: Selection) -> dict[str, int]:
        """Templates, tables, documents, and what was deleted: by their names."""
        path = PurePosixPath(file)
        near = [parent.as_posix() for parent in list(path.parents)[:2]]
        beside = [one for one in self.text if PurePosixPath(one).parent.as_posix() in near]
        known: dict[str, int] = {}
        for owner in self.naming({path.name}, beside) if not _named(file) else ():
            for test, distance in self.reach(owner).items():
                known[test] = min(distance + 1, known.get(test, distance + 1))
        words = {path.name, path.stem, *path.parts[:-1]} - {"souron", "packages"}
        words = {word for word in words if len(word) > 2}  # "ja" stands everywhere
        for test in self._walking(file, selection):
            selection.named.setdefault(test, set()).add(path.stem)
        helpers = [one for one in self.text if _in_distribution(one).startswith("tests/")]
        for naming in self.naming(words, helpers):
            known |= {naming: 1} if naming in self.tests else self.reach(naming)
        return known

    def _walking(self, file: str, selection: Selection) -> list[str]:
        """The test files that go through a registry, for a file that a registry finds."""
        walk = next((NAMED[folder] for folder in NAMED if _named(file, folder)), None)
        return [test for test in self.tests if walk and re.search(walk, self.text[test])]


def _in_distribution(file: str) -> str:
    """``packages/clinic/souron/actions/plan.py`` -> ``souron/actions/plan.py``; others as they are"""
    return re.sub(r"^packages/\w+/", "", file)


def _named(file: str, *folders: str) -> bool:
    file = _in_distribution(file)
    below = any(file.startswith(folder + "/") for folder in folders or NAMED)
    return below and not PurePosixPath(file).stem.startswith("_")


def _imported(tree: ast.AST, module: str) -> Iterator[str]:
    """The dotted names of all imports, and of constants given to ``import_module``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and re.fullmatch(r"souron(\.\w+)+", str(node.value)):
            yield str(node.value)  # python -m souron.studio.jobs.worker


def git(*words: str) -> str:
    """Return the output of git; empty where it fails."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def state() -> str:
    """A commit of all tracked files as they are now; nothing of the repository moves."""
    who = ("-c", "user.name=check", "-c", "user.email=check@localhost")
    return git(*who, "stash", "create") or git("rev-parse", "HEAD")


def base() -> str:
    """Return the last green state, else where this branch began, else the commit before."""
    return (
        git("rev-parse", "--verify", "--quiet", GREEN)
        or git("merge-base", "HEAD", "origin/main")
        or git("rev-parse", "--verify", "--quiet", "HEAD~1")
        or git("hash-object", "-t", "tree", "/dev/null")
    )


def changes(since: str) -> list[str]:
    """Files that differ from that commit, those that git does not know included."""
    known = git("diff", "--name-only", "--no-renames", since)
    new = git("ls-files", "--others", "--exclude-standard")
    return sorted({*known.splitlines(), *new.splitlines()} - {""})


def arrange(
    ids: list[str], selection: Selection, seconds: dict[str, float], room: float
) -> tuple[list[str], list[str]]:
    """The tests that fit into ``room`` seconds, the slowest first, and those that do not."""
    wanted = [one for one in ids if selection.takes(one)]

    def length(one: str) -> float:
        return seconds.get(one, UNKNOWN)

    def nearness(one: str) -> tuple[int, float]:
        return selection.distance.get(one.partition("::")[0], 0), length(one)

    chosen, left = [], []
    for one in sorted(wanted, key=nearness):
        fits = length(one) <= room
        room -= length(one) if fits else 0
        (chosen if fits else left).append(one)
    return sorted(chosen, key=length, reverse=True), left


def pytest_collection_modifyitems(config, items) -> None:  # type: ignore[no-untyped-def]
    """As a plugin of the check's own run: keep the tests of the plan, in its order."""
    plan = json.loads(Path(os.environ[PLAN]).read_text(encoding="utf-8"))
    selection = Selection(plan["distance"], {k: set(v) for k, v in plan["named"].items()})
    by_id = {item.nodeid: item for item in items}
    chosen, left = arrange(list(by_id), selection, plan["seconds"], plan["room"])
    config.hook.pytest_deselected(items=[by_id[one] for one in by_id.keys() - set(chosen)])
    items[:] = [by_id[one] for one in chosen]
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        Path(os.environ[PLAN]).with_suffix(".left").write_text("\n".join(left), encoding="utf-8")


def pytest_runtest_setup(item) -> None:  # type: ignore[no-untyped-def]
    """The times of another machine do not hold here: after the end no test begins."""
    import pytest

    if time.time() > json.loads(Path(os.environ[PLAN]).read_text(encoding="utf-8"))["end"]:
        pytest.skip(LATE)


def check() -> int:
    """Select, say what was selected, run it. Returns pytest's exit code."""
    if not git("rev-parse", "--git-dir"):
        print("no git repository: run make test")
        return 2
    now, since = state(), base()
    changed = changes(since)
    selection = Graph(ROOT).select(changed)
    print(f"{len(changed)} files have changed since {since[:9]}")
    if not changed:
        return 0
    files = sorted({*selection.distance, *selection.named})
    for file in selection.core:
        print(f"  {file} is part of the core: run {ALL}")
    for file in selection.unknown:
        print(f"  {file} is reached by no test")
    if not files:
        return 0
    code, left = _run(files, selection)
    if left:
        print(f"{sum(left.values())} tests had no room in {SECONDS} s: run {ALL}")
        for file, count in sorted(left.items()):
            print(f"  {file}: {count}")
    elif code == 0:
        git("update-ref", GREEN, now)
    return code


def _run(files: list[str], selection: Selection) -> tuple[int, dict[str, int]]:
    """pytest's exit code, and how many tests of which file were left out."""
    times, listed = ROOT / TIMES, ROOT / "tests" / "stored" / "slow.txt"
    seconds = dict.fromkeys(listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else (), SLOW)
    seconds |= json.loads(times.read_text(encoding="utf-8")) if times.is_file() else {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    plan = ROOT / ".pytest_cache" / "check.json"
    plan.parent.mkdir(exist_ok=True)
    plan.write_text(
        json.dumps(
            {
                "distance": selection.distance,
                "named": {test: sorted(words) for test, words in selection.named.items()},
                "seconds": seconds,
                "room": (SECONDS - START) * (cores or 1),
                "end": time.time() + SECONDS,
            }
        ),
        encoding="utf-8",
    )
    left, report = plan.with_suffix(".left"), plan.with_suffix(".xml")
    for file in (left, report):
        file.unlink(missing_ok=True)
    path = os.pathsep.join(filter(None, (str(ROOT / "tests"), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "pytest", "-p", "affected", f"--junit-xml={report}", *files]
    environment = os.environ | {PLAN: str(plan), "PYTHONPATH": path}
    code = subprocess.run(command, cwd=ROOT, env=environment).returncode
    ids = left.read_text(encoding="utf-8").splitlines() if left.is_file() else []
    count = Counter(one.partition("::")[0] for one in ids)
    late = report.read_text(encoding="utf-8").count(f'message="{LATE}"') if report.is_file() else 0
    if late:
        count["begun too late"] = late
    return (0 if code == 5 and count else code), dict(count)


def main(words: list[str]) -> int:
    note = ROOT / ".pytest_cache" / "begun"
    if words == ["begin"]:
        note.parent.mkdir(exist_ok=True)
        note.write_text(state(), encoding="utf-8")
    elif words == ["green"] and note.is_file():
        git("update-ref", GREEN, note.read_text(encoding="utf-8"))
    elif not words:
        return check()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
