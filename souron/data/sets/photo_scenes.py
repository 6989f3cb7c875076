"""Things in their own colours on grass, sand, water, snow, sky, night and photographs.

Zhang, Isola, Efros: Colorful Image Colorization (2016).
https://arxiv.org/abs/1603.08511

2 400 scenes of one stamp each (``souron fetch stamps``) on a painted ground or on a patch of a
photograph; without stamps, ``drawn_photo_scenes`` are used instead. The mask of the stamp is known
(``object``), so its colours can be measured separately from those of the ground. Confidence
intervals are clustered by stamp; no stamp and no photograph is on two sides of the split.
"""

import torch

from souron.data.composing import own_colours
from souron.data.composing.cutouts import CATEGORIES
from souron.data.composing.stock import Stock, stocked
from souron.data.dataset import Dataset
from souron.utils.messages import _

ja = "切り抜いた物を元の色のまま、描いた背景や写真に置いた場面。物と背景の色を分けて測る"
task = "image_to_image"
licence = "GPL-2.0, CC-BY-SA-4.0"
source = "https://tuxpaint.org/stamps/"
cases = 2_400
ships_with = "souron"

SIDE = 64
SEED = 16
COUNTS = {"train": 2_000, "val": 100, "test": 300}
DRAWN_LICENCE = "Apache-2.0"


def load(side: int | None = None) -> Dataset:
    return of(stocked(CATEGORIES), side)


def of(made_of: Stock, side: int | None) -> Dataset:
    """Build the data set from that stock."""
    made = list(own_colours.cases(made_of, side or SIDE, SEED, COUNTS))
    drawn = made_of.name == "drawn"
    return Dataset(
        name="drawn_photo_scenes" if drawn else "photo_scenes",
        input=torch.stack([one.image for one in made]),
        target=torch.zeros(len(made), dtype=torch.long),
        classes=("",),
        file=[one.file for one in made],
        group=[one.group for one in made],
        part=[one.part for one in made],
        augment=("mirror",),
        source="" if drawn else source,
        licence=DRAWN_LICENCE if drawn else licence,
        grouped=_("the object"),
        columns={
            "object": [one.area for one in made],
            "thing": [one.thing for one in made],
            "ground": [one.ground for one in made],
        },
    )
