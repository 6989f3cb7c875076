"""The folders that hold souron: ``souron/``, and ``souron/`` of each distribution in ``packages/``."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def distributions(root: Path = ROOT) -> list[Path]:
    """List the folders of the distributions beside the core, such as ``packages/clinic``."""
    return sorted(file.parent for file in root.glob("packages/*/pyproject.toml"))


def houses(root: Path = ROOT) -> list[Path]:
    """List the folders ``souron/``, the core's first."""
    return [root / "souron", *(folder / "souron" for folder in distributions(root))]


def sources(pattern: str = "*.py", root: Path = ROOT) -> Iterator[Path]:
    """Yield the files of souron with names like ``pattern``, those of the core first."""
    for house in houses(root):
        yield from sorted(file for file in house.rglob(pattern) if "__pycache__" not in file.parts)


def within(file: Path, root: Path = ROOT) -> Path:
    """Return the path of a file below its ``souron/``, such as ``actions/plan/pilot.py``."""
    return next(file.relative_to(house) for house in houses(root) if file.is_relative_to(house))


def tests(root: Path = ROOT) -> list[Path]:
    """List the folders of tests, the core's first."""
    return [root / "tests", *(folder / "tests" for folder in distributions(root))]
