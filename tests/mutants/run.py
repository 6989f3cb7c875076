"""Mutants: small changes that remove a mechanism, each with the test that must fail.

    python tests/mutants/run.py NAME ...   the mutants of these files (cyclegan, familiarity, ...)
    python tests/mutants/run.py all        every one; may take hours
    python tests/mutants/run.py --some 3   three of those that are not slow, chosen by the commit

A file ``tests/mutants/NAME.toml`` holds mutants of one system, task or module:

    [[mutant]]
    removes = "the cycle loss"
    file = "souron/systems/image_to_image/cyclegan.py"
    old = "a line as it stands there, once"
    new = "what takes its place"
    test = "tests/test_cyclegan.py::test_what_must_fail"
    slow = true                    (only where finding it takes over twenty seconds)

Each is applied to a copy of the project, never to the project itself. A mutant whose test still
passes has survived: the exit code is then 1.
"""

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
COPIED = ("souron", "zoo", "tests", "docs", "notebooks", "benchmarks", "pyproject.toml",
          "README.md", "README.ja.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "LOG.md",
          "Makefile", "install.py")  # fmt: skip
FIELDS = {"removes", "file", "old", "new", "test"}
SECONDS = 600  # after which a test hangs, which counts as failing


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


def survives(mutant: Mutant, copy: Path) -> bool:
    """Return whether the test passes in a copy of the project that has been changed."""
    original = (copy / mutant.file).read_bytes()
    mutant.apply(copy)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(copy), str(copy / "zoo")])}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment.pop("PYTEST_ADDOPTS", None)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-n0", "-q", "-x", "-p", "no:cacheprovider",
             mutant.test], cwd=copy, env=environment, capture_output=True, timeout=SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    finally:
        (copy / mutant.file).write_bytes(original)
    if done.returncode not in (0, 1):  # no test ran
        raise ValueError(f"{mutant.name}: {mutant.test}\n{done.stdout.decode()[-2000:]}")
    return done.returncode == 0


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


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--some", type=int, metavar="N")
    asked = parser.parse_args()
    every = list(mutants())
    if asked.some:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True)
        chosen = some(every, asked.some, commit.stdout.decode())
    else:
        chosen = [one for one in every if "all" in asked.names or one.name in asked.names]
    if not chosen:
        known = sorted({one.name for one in every})
        parser.error(f"no mutant is named so; there are: {', '.join(known)}")
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder))
        for mutant in chosen:
            begun = time.perf_counter()
            alive = survives(mutant, copy)
            survivors += alive
            state = "SURVIVED" if alive else "found"
            seconds = time.perf_counter() - begun
            print(f"{state:9} {mutant.name}: {mutant.removes}  ({seconds:.0f} s)", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} found")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
