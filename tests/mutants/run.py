"""Mutants: small changes that remove a mechanism, each with the test that must fail.

    python tests/mutants/run.py NAME ...       the mutants of these files (cyclegan, training, ...)
    python tests/mutants/run.py all            every one, two at a time; takes hours
    python tests/mutants/run.py all --table    the same, and the table of README.md is written anew
    python tests/mutants/run.py all --quick    the same by the quick tests alone; names those that need a slow one
    python tests/mutants/run.py --some 3       three that are not slow, of the files that have changed
    python tests/mutants/run.py --moved        follow functions that have moved: the files here are written anew

A file ``tests/mutants/NAME.toml`` holds mutants of one system, task or module:

    [[mutant]]
    removes = "the cycle loss"
    file = "souron/systems/image_to_image/cyclegan.py"
    within = "CycleGAN.generators_loss"
    old = "F.l1_loss(self.back(to_b), a) + F.l1_loss(self.forth(to_a), b)"
    new = "F.l1_loss(self.back(to_b), a)"
    test = "tests/test_cyclegan.py::test_what_must_fail"
    slow = true                    (only where finding it takes over twenty seconds)

``old`` is an expression, one or more statements, or the head of one (``if n > 3:``), and stands once in
the function or class ``within``; "" is the file itself. Syntax trees are compared, so that blanks, line
breaks, comments and quotes do not matter (``syntax.py``). Without ``within`` it is text that stands
once in a file that is no Python, or in a string of one that is.

Each is applied to a copy of the project, never to the project itself, and its test runs in a
process that has PyTorch already. A mutant whose test still passes has survived: the exit code is
then 1.
"""

import argparse
import ast
import hashlib
import multiprocessing
import os
import queue
import random
import re
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
import affected  # noqa: E402 - beside the tests
import roots  # noqa: E402
import syntax  # noqa: E402

COPIED = (
    "souron",
    "zoo",
    "starters",
    "packages",
    "tests",
    "conftest.py",
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
    "deno.jsonc",
    "install.py",
)
FIELDS = {"removes", "file", "old", "new", "test"}
OPTIONAL = {"within", "slow"}
README, HEADING = HERE / "README.md", "## The last whole run"
BEGIN = "[[mutant]]\n"
SECONDS = 600  # after which a test hangs, which counts as failing
NO_TESTS = 5  # pytest's exit code
RAN = 100  # added to pytest's exit code, which tells it from that of a process that did not run it
PRELOADED = ["pytest", "torch", "torchvision", "scipy.stats", "matplotlib.figure"]
# as in conftest.py, which comes too late for what is imported before a test is
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
    within: str | None = None
    slow: bool = False

    def places(self, text: str) -> Sequence[Any]:
        """List the places of ``old`` in the text of the file."""
        if self.within is None:
            return range(text.count(self.old))
        return syntax.pieces(text, self.within, self.old)

    def changed(self, text: str) -> str:
        """The text of the file with the change. Raises ValueError where ``old`` is not there once."""
        found = self.places(text)
        if len(found) != 1:
            place = f"{self.file} {self.within or ''}".strip()
            moved = "; if its function has moved: python tests/mutants/run.py --moved"
            raise ValueError(f"{self.name}: {place} holds {self.old!r} {len(found)} times, not once{moved}")
        if self.within is None:
            return text.replace(self.old, self.new)
        return syntax.replaced(text, found[0], self.new)

    def apply(self, root: Path) -> None:
        """Change the file below ``root``. Raises ValueError where ``old`` is not there once."""
        place = root / self.file
        place.write_text(self.changed(place.read_text(encoding="utf-8")), encoding="utf-8")

    def applies(self, root: Path) -> bool:
        """Return whether ``old`` stands where it is looked for."""
        try:
            self.changed((root / self.file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return True


def mutants(folder: Path = HERE) -> Iterator[Mutant]:
    """Every mutant, file by file. Raises ValueError where one is not complete."""
    for file in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(file.read_text(encoding="utf-8"))["mutant"]:
            if set(entry) - OPTIONAL != FIELDS:
                raise ValueError(f"{file.name}: {sorted(entry)}, expected {sorted(FIELDS)}")
            yield Mutant(file.stem, **entry)


def some(every: list[Mutant], count: int, commit: str, changed: Collection[str] = ()) -> list[Mutant]:
    """As many of those that are not slow, others for each commit; first of the files that have changed."""
    every = [mutant for mutant in every if not mutant.slow]
    seed = int(hashlib.sha256(commit.encode()).hexdigest(), 16)
    mixed = random.Random(seed).sample(every, len(every))
    return sorted(mixed, key=lambda mutant: mutant.file not in changed)[:count]


def found_again(mutant: Mutant, root: Path) -> Mutant:
    """The mutant where its function stands now: the file and function that hold the piece once.

    A function keeps its name; it may lie in another file, or in another class. Raises ValueError
    where no such function or several hold the piece.
    """
    if mutant.applies(root) or mutant.within is None:
        return mutant
    own = mutant.within.rpartition(".")[2]
    places = []
    houses = roots.houses(root)
    of_souron = any((root / mutant.file).is_relative_to(house) for house in houses)
    folders = houses if of_souron else [root / mutant.file.partition("/")[0]]
    for file in (file for folder in folders for file in sorted(folder.rglob("*.py"))):
        text = file.read_text(encoding="utf-8")
        if own not in text:
            continue
        for name, _scope in syntax.scopes(ast.parse(text)):
            there = replace(mutant, file=file.relative_to(root).as_posix(), within=name)
            if name.rpartition(".")[2] == own and there.applies(root):
                places.append(there)
    same_name = [there for there in places if there.within == mutant.within]
    if len(same_name or places) != 1:
        stands = ", ".join(f"{one.file} {one.within}" for one in places) or "nowhere"
        raise ValueError(f"{mutant.name}: {mutant.within} with {mutant.old!r} stands {stands}: write it by hand")
    return (same_name or places)[0]


def follow(folder: Path = HERE, root: Path = ROOT) -> list[str]:
    """Write the files of mutants anew where functions have moved; a line for each that was not found."""
    missing = []
    for file in sorted(folder.glob("*.toml")):
        head, *blocks = file.read_text(encoding="utf-8").split(BEGIN)
        for at, block in enumerate(blocks):
            mutant = Mutant(file.stem, **tomllib.loads(BEGIN + block)["mutant"][0])
            try:
                now = found_again(mutant, root)
            except ValueError as error:
                missing.append(str(error))
                continue
            for field in ("file", "within"):
                was, is_now = (f'\n{field} = "{getattr(one, field)}"\n' for one in (mutant, now))
                blocks[at] = blocks[at].replace(was, is_now, 1)
        file.write_text(BEGIN.join([head, *blocks]), encoding="utf-8")
    return missing


def run_test(copy: Path, test: str, tier: str, output: Path) -> None:
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

    tier = [f"--tests={tier}"] if tier else []
    own = f"--basetemp={copy}-tmp"  # a folder that several runs share is tidied by each of them
    os._exit(RAN + pytest.main(["-n0", "-q", "-x", "-p", "no:cacheprovider", *tier, own, test]))


def survives(mutant: Mutant, copy: Path, tier: str = "") -> bool | None:
    """Return whether the test passes in a copy of the project that has been changed; None where all of it is slow
    and only quick tests are to run.

    Raises ValueError where no test ran.
    """
    original = (copy / mutant.file).read_bytes()
    output = copy / "output.txt"
    mutant.apply(copy)
    process = PROCESSES.Process(target=run_test, args=(copy, mutant.test, tier, output))
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
    if tier == "quick" and code == NO_TESTS:
        return None
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
    """A mutant, which tests found it, and how long that took."""

    mutant: Mutant
    found_by: str  # "quick" tests, "slow" ones, "" where it survived
    seconds: float

    def __str__(self) -> str:
        state = {"quick": "found", "slow": "found by a slow test", "": "SURVIVED"}[self.found_by]
        return f"{state:9} {self.mutant.name}: {self.mutant.removes}  ({self.seconds:.0f} s)"


def try_all(chosen: list[Mutant], at_once: int, only_quick: bool = False) -> Iterator[Result]:
    """Try mutants, as many at once as told, each in a copy that no other uses; by quick tests first."""
    with tempfile.TemporaryDirectory() as folder:
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(min(at_once, len(chosen))):
            place = Path(folder, str(number))
            place.mkdir()
            copies.put(copied(place))

        def judge(mutant: Mutant) -> Result:
            copy = copies.get()
            begun = time.perf_counter()
            found_by = ""
            try:
                if survives(mutant, copy, "quick") is False:
                    found_by = "quick"
                elif not only_quick and not survives(mutant, copy):
                    found_by = "slow"
            except ValueError as error:  # a test that does not run finds nothing
                print(error, file=sys.stderr)
            finally:
                copies.put(copy)
            return Result(mutant, found_by, time.perf_counter() - begun)

        with ThreadPoolExecutor(at_once) as pool:
            yield from pool.map(judge, chosen)


def write_table(results: list[Result]) -> None:
    """Put results into README.md; those of other mutants stay, so that a whole run may come in parts."""
    text, _heading, rest = README.read_text(encoding="utf-8").partition(HEADING)
    rows = dict(re.findall(r"^\| ([a-z]\w*) (\|.*\| \d+ \| \d+ \| \d+ \| \d+ \|)$", rest, re.MULTILINE))
    by_name: dict[str, list[Result]] = {}
    for result in results:
        by_name.setdefault(result.mutant.name, []).append(result)
    rows |= {name: as_row(those) for name, those in by_name.items()}
    known = {mutant.name for mutant in mutants()}
    lines = ["| mutants of | removes | there are | found | by quick tests | seconds |", "|---|---|---:|---:|---:|---:|"]
    lines += [f"| {name} {row}" for name, row in sorted(rows.items()) if name in known]
    sums = [sum(int(row.split(" | ")[at]) for name, row in rows.items() if name in known) for at in (-4, -3, -2)]
    lines += [f"| **all** | | **{sums[0]}** | **{sums[1]}** | **{sums[2]} ({sums[2] / sums[0]:.1%})** | |"]
    README.write_text("\n".join([text + HEADING, "", *lines, ""]), encoding="utf-8")


def as_row(those: list[Result]) -> str:
    """The row of one file of mutants, without its name."""
    removed = "; ".join(one.mutant.removes.replace("|", "\\|") for one in those)
    found, quick = (sum(one.found_by in tiers for one in those) for tiers in (("quick", "slow"), ("quick",)))
    seconds = sum(one.seconds for one in those)
    return f"| {removed} | {len(those)} | {found} | {quick} | {seconds:.0f} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--some", type=int, metavar="N")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument(
        "--part", default="1/1", metavar="K/N", help="the K-th of N parts, where a whole run takes too long"
    )
    parser.add_argument("--quick", action="store_true", help="by the quick tests alone")
    parser.add_argument("--moved", action="store_true", help="follow functions that have moved")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if asked.moved:
        missing = follow()
        print("\n".join(missing) or "each mutant stands where its file says")
        return bool(missing)
    os.environ |= ONE_THREAD
    chosen = choose(asked, parser)
    results = []
    for result in try_all(chosen, asked.at_once, asked.quick):
        results.append(result)
        print(result, flush=True)
    for one in results:
        if one.found_by != "quick":
            print(f"not found by quick tests: {one.mutant.name}: {one.mutant.removes}  {one.mutant.test}")
    quick, found = (sum(one.found_by in tiers for one in results) for tiers in (("quick",), ("quick", "slow")))
    print(f"{found} of {len(results)} found, {quick} ({quick / len(results):.1%}) by quick tests")
    if asked.table:
        write_table(results)
    return found < len(results)


def choose(asked: argparse.Namespace, parser: argparse.ArgumentParser) -> list[Mutant]:
    """The mutants that the command line asks for."""
    every = list(mutants())
    if asked.some:
        commit = affected.git("rev-parse", "HEAD")
        changed = affected.changes(affected.base()) or affected.changes("HEAD~1")
        return some(every, asked.some, commit, changed)
    chosen = [one for one in every if "all" in asked.names or one.name in asked.names]
    if not chosen:
        known = sorted({one.name for one in every})
        parser.error(f"no mutant is named so; there are: {', '.join(known)}")
    part, parts = map(int, asked.part.split("/"))
    files = sorted({one.name for one in chosen})[part - 1 :: parts]
    return [one for one in chosen if one.name in files]


if __name__ == "__main__":
    sys.exit(main())
