"""Mutants: small changes that remove a mechanism, each with the test that must fail.

    python tests/mutants/run.py NAME ...       the mutants of these files (cyclegan, training, ...)
    python tests/mutants/run.py all            every one, two at a time; takes hours
    python tests/mutants/run.py all --table    the same, and the table of README.md is written anew
    python tests/mutants/run.py --some 3       three that are not slow, chosen by the commit

A file ``tests/mutants/NAME.toml`` holds mutants of one system, task or module:

    [[mutant]]
    removes = "the cycle loss"
    file = "souron/systems/image_to_image/cyclegan.py"
    old = "a line as it stands there, once"
    new = "what takes its place"
    test = "tests/test_cyclegan.py::test_what_must_fail"
    slow = true                    (only where finding it takes over twenty seconds)

Each is applied to a copy of the project, never to the project itself, and its test runs in a
process that has PyTorch already. A mutant whose test still passes has survived: the exit code is
then 1.
"""

import argparse
import hashlib
import multiprocessing
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
COPIED = (
    "souron",
    "zoo",
    "tests",
    "docs",
    "notebooks",
    "benchmarks",
    "pyproject.toml",
    "README.md",
    "README.ja.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "LOG.md",
    "Makefile",
    "install.py",
)
FIELDS = {"removes", "file", "old", "new", "test"}
README, HEADING = HERE / "README.md", "## The last whole run"
SECONDS = 600  # after which a test hangs, which counts as failing
RAN = 100  # added to pytest's exit code, which tells it from that of a process that did not run it
PRELOADED = ["pytest", "torch", "torchvision", "scipy.stats", "matplotlib.figure"]
# as in tests/conftest.py, which comes too late for what is imported before a test is
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
PROCESSES = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
if sys.platform != "win32":
    PROCESSES.set_forkserver_preload(PRELOADED)  # what most tests import, once for all mutants


@dataclass(frozen=True)
class Mutant:
    """One change, and the test that must fail with it."""

    name: str  # of the file that describes it
    removes: str
    file: str
    old: str
    new: str
    test: str
    slow: bool = False

    def apply(self, root: Path) -> None:
        """Change the file below ``root``. Raises ValueError where ``old`` is not there once."""
        place = root / self.file
        text = place.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            count = text.count(self.old)
            raise ValueError(f"{self.name}: {self.file} holds {self.old!r} {count} times, not once")
        place.write_text(text.replace(self.old, self.new), encoding="utf-8")


def mutants(folder: Path = HERE) -> Iterator[Mutant]:
    """Every mutant, file by file. Raises ValueError where one is not complete."""
    for file in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(file.read_text(encoding="utf-8"))["mutant"]:
            if set(entry) - {"slow"} != FIELDS:
                raise ValueError(f"{file.name}: {sorted(entry)}, expected {sorted(FIELDS)}")
            yield Mutant(file.stem, **entry)


def some(every: list[Mutant], count: int, commit: str) -> list[Mutant]:
    """As many of those that are not slow, others for each commit."""
    every = [mutant for mutant in every if not mutant.slow]
    seed = int(hashlib.sha256(commit.encode()).hexdigest(), 16)
    return random.Random(seed).sample(every, min(count, len(every)))


def run_test(copy: Path, test: str, output: Path) -> None:
    """Run one test in a copy, in a process of its own; its exit code is ``RAN`` and pytest's."""
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(copy), str(copy / "zoo")])
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(copy), str(copy / "zoo")]
    os.chdir(copy)
    import pytest

    own = f"--basetemp={copy}-tmp"  # a folder that several runs share is tidied by each of them
    os._exit(RAN + pytest.main(["-n0", "-q", "-x", "-p", "no:cacheprovider", own, test]))


def survives(mutant: Mutant, copy: Path) -> bool:
    """Return whether the test passes in a copy of the project that has been changed.

    Raises ValueError where no test ran.
    """
    original = (copy / mutant.file).read_bytes()
    output = copy / "output.txt"
    mutant.apply(copy)
    process = PROCESSES.Process(target=run_test, args=(copy, mutant.test, output))
    try:
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
            return False
    finally:
        (copy / mutant.file).write_bytes(original)
    code = (process.exitcode or 0) - RAN
    if process.exitcode is not None and process.exitcode >= 0 and code not in (0, 1):
        printed = output.read_text(encoding="utf-8", errors="replace")
        raise ValueError(f"{mutant.name}: {mutant.test}\n{printed[-2000:]}")
    return code == 0  # below zero: the process crashed, which is a failure too


def copied(place: Path) -> Path:
    """A copy of the project."""
    unwanted = shutil.ignore_patterns("__pycache__", "_build")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=unwanted)
        else:
            shutil.copyfile(source, place / name)
    return place


@dataclass(frozen=True)
class Result:
    """A mutant, whether a test found it, and how long that took."""

    mutant: Mutant
    survived: bool
    seconds: float


def try_all(chosen: list[Mutant], at_once: int) -> Iterator[Result]:
    """Try mutants, as many at once as told, each in a copy that no other uses."""
    with tempfile.TemporaryDirectory() as folder:
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(min(at_once, len(chosen))):
            place = Path(folder, str(number))
            place.mkdir()
            copies.put(copied(place))

        def judge(mutant: Mutant) -> Result:
            copy = copies.get()
            begun = time.perf_counter()
            try:
                return Result(mutant, survives(mutant, copy), time.perf_counter() - begun)
            except ValueError as error:  # a test that does not run finds nothing
                print(error, file=sys.stderr)
                return Result(mutant, True, time.perf_counter() - begun)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(at_once) as pool:
            yield from pool.map(judge, chosen)


def as_table(results: list[Result]) -> str:
    """The results as a Markdown table, one row a file of mutants."""
    by_name: dict[str, list[Result]] = {}
    for result in results:
        by_name.setdefault(result.mutant.name, []).append(result)
    rows = ["| mutants of | removes | found | seconds |", "|---|---|---:|---:|"]
    for name, those in sorted(by_name.items()):
        removed = "; ".join(one.mutant.removes.replace("|", "\\|") for one in those)
        count = sum(not one.survived for one in those)
        seconds = sum(one.seconds for one in those)
        rows.append(f"| {name} | {removed} | {count} of {len(those)} | {seconds:.0f} |")
    found = sum(not one.survived for one in results)
    rows.append(f"| **all** | | **{found} of {len(results)}** | |")
    return "\n".join(rows) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--some", type=int, metavar="N")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    os.environ |= ONE_THREAD
    every = list(mutants())
    if asked.some:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True)
        chosen = some(every, asked.some, commit.stdout.decode())
    else:
        chosen = [one for one in every if "all" in asked.names or one.name in asked.names]
    if not chosen:
        known = sorted({one.name for one in every})
        parser.error(f"no mutant is named so; there are: {', '.join(known)}")
    results = []
    for result in try_all(chosen, asked.at_once):
        results.append(result)
        state = "SURVIVED" if result.survived else "found"
        mutant, seconds = result.mutant, result.seconds
        print(f"{state:9} {mutant.name}: {mutant.removes}  ({seconds:.0f} s)", flush=True)
    survivors = sum(result.survived for result in results)
    print(f"{len(results) - survivors} of {len(results)} found")
    if asked.table:
        text, _heading, _old = README.read_text(encoding="utf-8").partition(HEADING)
        README.write_text(text + HEADING + "\n\n" + as_table(results), encoding="utf-8")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
