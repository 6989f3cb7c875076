"""Requests for web pages, in English and Japanese, each with the parts that are asked for.

Beltramelli: pix2code: Generating Code from a Graphical User Interface Screenshot (2017), for a
small language of pages to learn with. https://arxiv.org/abs/1705.07962

Composed by souron with a seed: twelve kinds of parts with colours, counts, labels and an order. The
test part has three subsets of 400 each, which are reported separately: combinations of parts that
are not in training; pairs of parts that never occur on one page there; held-out wordings. A fifth
of the vocabulary of labels is used in the test part only.
"""

from souron.data.composing.language import page_requests
from souron.data.dataset import Dataset, ListColumn

ja = "ウェブページへの依頼文（日英）と、求められる部品。souron が組み立てる"
task = "text_to_page"
licence = "Apache-2.0"
source = "https://arxiv.org/abs/1705.07962"  # of the idea
cases = 25_400
ships_with = "souron"


def load(side: int | None = None) -> Dataset:
    return of(list(page_requests.requests()))


def of(made: list[page_requests.Request]) -> Dataset:
    """Build the data set from these requests."""
    parts = [one.subset if one.subset in ("train", "val") else "test" for one in made]
    return Dataset(
        name="page_requests",
        input=ListColumn([one.text for one in made]),
        target=ListColumn([one.parts for one in made]),
        classes=(),
        file=[f"{one.subset}/{one.language}/{number:05d}" for number, one in enumerate(made)],
        part=parts,
        augment=(),
        source=source,
        licence=licence,
        columns={
            "language": [one.language for one in made],
            "subset": [one.subset if part == "test" else "" for one, part in zip(made, parts, strict=True)],
        },
    )
