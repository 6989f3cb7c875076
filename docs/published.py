"""Write the table of ``published.md`` from ``souron.hub.published``: ``python docs/published.py``.

``tests/test_published.py`` fails until the table is written again after the other has changed.
"""

import re
from pathlib import Path

from souron import registry
from souron.hub import published
from souron.utils import units

PAGE = Path(__file__).resolve().parent / "published.md"
TABLE = re.compile(r"(?<=<!-- table -->\n)(.*?)(?=<!-- end of table -->)", re.DOTALL)
OTHERS = re.compile(r"(?<=<!-- others -->\n)(.*?)(?=<!-- end of others -->)", re.DOTALL)
HEADER = ("name", "system here", "classes", "size", "publisher's figure", "SHA-256", "checked here")
OTHER_HEADER = ("name", "system here", "licence", "size", "training data", "SHA-256", "checked here")
CLASSES = {"coco": "COCO", "voc": "VOC", "person": "person, 17 points", "imagenet": "ImageNet"}


def checksum(row: published.About) -> str:
    """The beginning of a file's checksum."""
    return row.sha256[:8] or f"MD5 {row.md5[:8]}"


def main() -> None:
    PAGE.write_text(written(), encoding="utf-8", newline="\n")


def written() -> str:
    """The page with the tables of today."""
    text = PAGE.read_text(encoding="utf-8")
    for place, made in ((TABLE, table()), (OTHERS, others())):
        assert place.search(text), f"{PAGE.name} has no place for a table"
        text = place.sub(lambda _match, made=made: f"\n{made}\n", text)
    return text


def table() -> str:
    """One row for each size of a system that finds things, and for each classifier that was opened
    here."""
    rows = [HEADER, ("---",) * len(HEADER)]
    for entry in registry.entries().values():
        for size, source in entry.weights.items():
            row = published.about(source)
            if row is None or row.url:
                continue
            if row.classes != "imagenet" or row.opened:
                rows.append(cells(row, registry.full_name(entry, size)))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def others() -> str:
    """One row for each size with weights of another publisher than torchvision."""
    rows = [OTHER_HEADER, ("---",) * len(OTHER_HEADER)]
    for entry in registry.entries().values():
        for size, source in entry.weights.items():
            row = published.about(source)
            if row is not None and row.url:
                name, megabytes = registry.full_name(entry, size), units.size(row.megabytes * 1e6)
                checked = "package" if row.opened else "structure"
                rows.append(
                    (f"`{row.name}`", f"`{name}`", row.free, megabytes, row.data, f"`{checksum(row)}`", checked)
                )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def cells(row: published.About, name: str) -> tuple[str, ...]:
    figures = ", ".join(f"{title} {value:g}" for title, value in row.figures.items())
    return (
        f"`{row.name.partition('_Weights')[0].lower()}`",
        f"`{name}`",
        CLASSES[row.classes],
        units.size(row.megabytes * 1e6),
        figures,
        f"`{checksum(row)}`",
        "file" if row.opened else "structure",
    )


if __name__ == "__main__":
    main()
