"""Films of one thing that moves, with captions in English and Japanese.

Kendrick and others: Tux Paint stamps (2002-). https://tuxpaint.org/stamps/

3 000 films of 8 frames of 32 pixels: a thing of one of 20 classes on grass, sand, water, snow, a
blue or a night sky moves to the left or right, up or down, grows, shrinks, rotates or stays still.
A film is a strip of frames stacked from top to bottom. They are composed of the stamps (``souron
fetch stamps``); without stamps, ``drawn_moving_scenes`` are used instead.

The test part has two subsets, in the column ``subset``: new films from the training distribution,
and new pairs of object and motion.
"""

from souron.data.composing import captioned, moving
from souron.data.dataset import Dataset, ListColumn

ja = "物・色・背景・動きがすべてわかる短い動画と、日本語と英語の説明文"
task = "text_to_video"
targets = ("film_captions",)
licence = "GPL-2.0"
source = "https://tuxpaint.org/stamps/"
cases = 3_000
ships_with = "souron"

SIDE, FRAMES, SEED = 32, 8, 0
COUNTS = {"train": 2_600, "val": 100, "new films": 150, moving.NEW: 150}
DRAWN_LICENCE = "Apache-2.0"


def load(side: int | None = None, target: str = "film_captions") -> Dataset:
    return of(captioned.sourced(), side)


def of(made_of: captioned.Source, side: int | None) -> Dataset:
    """Build the data set from that source of cut-outs."""
    recipe = moving.Recipe(side or SIDE, FRAMES, SEED, COUNTS)
    made = moving.films(recipe, made_of)
    drawn = made_of.name == "drawn"
    rows = recipe.rows
    return Dataset(
        name="drawn_moving_scenes" if drawn else "moving_scenes",
        input=made.strips,
        target=ListColumn(made.captions),
        classes=made_of.classes,
        file=[f"{subset.replace(' ', '_')}/{number:05d}" for subset, number in rows],
        part=[subset if subset in ("train", "val") else "test" for subset, _number in rows],
        augment=(),
        source="" if drawn else source,
        licence=DRAWN_LICENCE if drawn else licence,
        columns={name: [str(getattr(each, name)) for each in made.attributes] for name in moving.NAMES}
        | {"subset": ["" if name in ("train", "val") else name for name, _number in rows]},
    )
