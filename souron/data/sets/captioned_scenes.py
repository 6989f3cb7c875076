"""Scenes with captions in English and Japanese: object, colour, count, place and ground.

Kendrick and others: Tux Paint stamps (2002-). https://tuxpaint.org/stamps/

17 900 scenes of one to three things of one of 20 classes on grass, sand, water, snow, a blue or a
night sky, each with six captions or more. They are composed of the stamps (``souron fetch
stamps``); without stamps, ``drawn_captioned_scenes`` are used instead.

The test part has three subsets, in the column ``subset``: new scenes from the training
distribution; new pairs of object and colour; stamps held out from training, named by their class.
Scenes of one held-out stamp are not independent, so confidence intervals are clustered by stamp
there.
"""

from souron.data.composing import captioned
from souron.data.composing.captioned_words import NAMES
from souron.data.dataset import Dataset, ListColumn
from souron.utils.messages import _

ja = "物・色・数・位置・背景がすべてわかる場面と、日本語と英語の説明文"
task = "match"
targets = ("captions",)
licence = "GPL-2.0"
source = "https://tuxpaint.org/stamps/"
cases = 17_900
ships_with = "souron"

SIDE = 64
SEED = 0
COUNTS = {"train": 16_000, "val": 400, "new scenes": 500, "new pairs": 500, captioned.UNSEEN: 500}
DRAWN_LICENCE = "Apache-2.0"


def load(side: int | None = None, target: str = "captions") -> Dataset:
    return of(captioned.sourced(), side)


def of(made_of: captioned.Source, side: int | None) -> Dataset:
    """Build the data set from that source of cut-outs."""
    recipe = captioned.Recipe(side or SIDE, SEED, COUNTS)
    made = captioned.scenes(recipe, made_of)
    drawn = made_of.name == "drawn"
    rows = recipe.rows
    subsets = ["" if subset in ("train", "val") else subset for subset, _number in rows]
    return Dataset(
        name="drawn_captioned_scenes" if drawn else "captioned_scenes",
        input=made.images,
        target=ListColumn(made.captions),
        classes=made_of.classes,
        file=[f"{subset.replace(' ', '_')}/{number:05d}" for subset, number in rows],
        group=[
            cutout if subset == captioned.UNSEEN else f"{subset} {number}"
            for (subset, number), cutout in zip(rows, made.cutouts, strict=True)
        ],
        part=[subset if subset in ("train", "val") else "test" for subset, _number in rows],
        augment=(),
        source="" if drawn else source,
        licence=DRAWN_LICENCE if drawn else licence,
        grouped=_("the object, where it is held out of training"),
        columns={name: [str(getattr(each, name)) for each in made.attributes] for name in NAMES} | {"subset": subsets},
    )
