"""The picture of the head's bone: ``python docs/surface.py``, once ``souron fetch head_ct`` has run
(half a minute)."""

from pathlib import Path

from souron.data.sets import head_ct
from souron.kinds import surface
from souron.report import surface as report
from souron.runs.surface import BONE
from souron.utils import files

PICTURE = Path(__file__).parent / "_static" / "head-ct.png"


def main() -> None:
    shape, parts = surface.surface(head_ct.volume(), BONE)
    with files.atomically(PICTURE) as beside:
        beside.write_bytes(report.sides(surface.chosen(shape, parts, "largest")))


if __name__ == "__main__":
    main()
