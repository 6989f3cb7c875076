"""Lines of the frame for each system: what is written once and serves all of them.

    python tests/frame.py

The frame is all Python of ``souron/`` outside of the folders to which systems, tasks and data sets
are added, each as one file. As long as that contract holds, the figure falls with every system. The
distributions in ``packages/`` are counted one by one.
"""

from pathlib import Path
from typing import NamedTuple

import roots

ADDED = ("systems", "tasks", "metrics", "data")  # folders of souron/


class Frame(NamedTuple):
    lines: int
    systems: int

    def __str__(self) -> str:
        each = round(self.lines / self.systems)
        return f"frame: {self.lines} lines for {self.systems} systems, {each} for each"


def measured(package: Path) -> Frame:
    """Return the lines of the frame of a package, and the number of its systems."""
    files = [path.relative_to(package) for path in package.rglob("*.py")]
    lines = sum(lines_of(package / file) for file in files if file.parts[0] not in ADDED)
    systems = [file for file in files if file.parts[0] == "systems" and len(file.parts) == 3]
    return Frame(lines, sum(not file.name.startswith("_") for file in systems))


def lines_of(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def by_package() -> dict[str, int]:
    """Return the lines of Python of the core and of each distribution."""
    names = ["souron", *(f"souron-{folder.name}" for folder in roots.distributions())]
    counts = [sum(map(lines_of, house.rglob("*.py"))) for house in roots.houses()]
    return dict(zip(names, counts, strict=True))


if __name__ == "__main__":
    print(measured(roots.houses()[0]))
    print("; ".join(f"{name}: {lines} lines" for name, lines in by_package().items()))
