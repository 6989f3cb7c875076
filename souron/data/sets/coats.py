"""Things in an orange coat, and other things in a blue one: what differs is the coat alone.

Zhu, Park, Isola, Efros: Unpaired Image-to-Image Translation (2017).
https://arxiv.org/abs/1703.10593

One thing on a photograph or on noise, its brightness rendered in one of two colours: 1 400 unpaired
training images of the two domains without a common cut-out, and 400 scenes of other cut-outs in
both coats. An image determines its twin in the other coat, so a translation can be measured against
it; twins are never used in training.
"""

import torch

from souron.data.composing import coats as composing
from souron.data.composing.cutouts import CATEGORIES
from souron.data.composing.stock import stocked
from souron.data.dataset import Dataset
from souron.utils.messages import _

ja = "橙の物と青の物。違いは物の色だけ。対になる画像は隠され、テストだけで使う"
task = "image_to_image"
licence = "GPL-2.0, CC-BY-SA-4.0"
source = "https://tuxpaint.org/stamps/"
cases = 2_200
ships_with = "souron"

SIDE = 64
SEED = 11
COUNTS = {"train": 1_400, "val": 100, "test": 300}
DRAWN_LICENCE = "Apache-2.0"
COATS = composing.Coats(
    ("orange coat", "blue coat"), (composing.tinted((255, 150, 40)), composing.tinted((70, 130, 255)))
)


def load(side: int | None = None) -> Dataset:
    drawn = stocked(CATEGORIES).name == "drawn"
    made = list(composing.cases(COATS, side or SIDE, SEED, COUNTS))
    return Dataset(
        name="coats",
        input=torch.stack([one.image for one in made]),
        target=torch.tensor([one.domain for one in made]),
        classes=COATS.names,
        file=[one.file for one in made],
        group=[one.group for one in made],
        part=[one.part for one in made],
        augment=("mirror",),
        source="" if drawn else source,
        licence=DRAWN_LICENCE if drawn else licence,
        grouped=_("blocks of cut-outs"),
        columns={"twin": [one.twin for one in made], "object": [one.area for one in made]},
    )
