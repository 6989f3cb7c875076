"""Letters burned into pictures: are they found, and what is taken for letters?

    .venv/bin/python benchmarks/lettering.py

Grounds: pieces of scikit-learn's and scikit-image's photographs, 512 pixels a side, and the stamps
(Tux Paint, ``souron fetch stamps``). On each, Pillow draws in a corner, at 1.5 to 6 % of the side:
a name or a date, in white, yellow, grey or black, straight on the picture or on a black bar, as it
is or after JPEG at quality 75; and an R at one place in sixty of them. A picture without letters
that is taken for one with is false; some stamps do have letters drawn on them.
"""

import argparse
import io
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from printing import table

from souron.data import load
from souron.data.quality import burned_in_text
from souron.kinds.codecs import image as image_codec

SIDE = 512
TEXTS = ("TANAKA HANAKO", "2024-05-01", "M/63Y 120kV", "ID 00482913")
GROUNDS = {"on the picture": None, "on a black bar": (0, 0, 0)}
COLOURS = {"white": (255, 255, 255), "yellow": (255, 235, 40), "grey": (190, 190, 190), "black": (0, 0, 0)}


def photographs() -> Iterator[Image.Image]:
    """Pieces of the photographs that scikit-learn and scikit-image bring along."""
    from sklearn.datasets import load_sample_images

    whole = [Image.fromarray(one) for one in load_sample_images().images]
    try:
        import skimage

        folder = Path(skimage.__file__).parent / "data"
        names = (
            "astronaut",
            "chelsea",
            "coffee",
            "rocket",
            "motorcycle_left",
            "retina",
            "ihc",
            "hubble_deep_field",
            "camera",
            "coins",
            "moon",
            "brick",
            "grass",
        )
        files = [file for name in names for file in folder.glob(f"{name}.*")]
        whole += [image_codec.read(file) for file in files]
    except ImportError:
        pass
    for image in whole:
        step = min(256, *image.size)
        for top, left in itertools.product(
            range(0, image.height - step + 1, step), range(0, image.width - step + 1, step)
        ):
            piece = image.crop((left, top, left + step, top + step))
            yield piece.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def stamps() -> Iterator[Image.Image]:
    """On white, at least 512 pixels on the longer side."""
    folder = load.found("stamps")
    for file in sorted(folder.rglob("*.png")):
        image = image_codec.read(file, folder).convert("RGB")
        if min(image.size) >= 64:
            larger = max(1.0, SIDE / max(image.size))
            yield image.resize([round(larger * side) for side in image.size])


def lettered(
    image: Image.Image, text: str, colour: tuple[int, int, int], ground: tuple | None, chance: random.Random
) -> Image.Image:
    """``text`` in a corner of a copy."""
    image, side = image.copy(), max(image.size)
    font = ImageFont.load_default(side * chance.uniform(0.025, 0.07))  # the letters: 0.7 of it
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    margin = 0.02 * side
    x = chance.choice((margin, image.width - right - margin))
    y = chance.choice((margin, image.height - bottom - margin))
    if ground is not None:
        draw.rectangle((x + left - 4, y + top - 4, x + right + 4, y + bottom + 4), fill=ground)
    draw.text((x, y), text, fill=colour, font=font)
    if chance.random() < 0.5:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=75)
        image = Image.open(stream).convert("RGB")
    return image


def found(image: Image.Image) -> bool:
    return burned_in_text.line(burned_in_text.marks(burned_in_text.prepared(image.copy())))


def rate(hits: list[bool]) -> str:
    return f"{sum(hits)} of {len(hits)} ({100 * np.mean(hits):.1f} %)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="pictures of each kind, at most")
    chosen = parser.parse_args()
    chance, rows = random.Random(0), []
    for name, make in (("photographs", photographs), ("stamps", stamps)):
        every = list(make())
        some = chance.sample(every, min(chosen.count, len(every)))
        rows.append([name, "none", rate([found(image) for image in every])])
        for (colour, fill), (where, ground) in itertools.product(COLOURS.items(), GROUNDS.items()):
            if ground == fill or (ground is None and name == "stamps" and colour != "black"):
                continue  # the stamps' ground is white
            hits = [found(lettered(i, chance.choice(TEXTS), fill, ground, chance)) for i in some]
            rows.append([name, f"{colour} {where}", rate(hits)])
        fill = (255, 255, 255) if name == "photographs" else (0, 0, 0)
        marked = [lettered(i, "R", fill, None, random.Random(1)) for i in some[:60]]
        mixed = [*marked, *some[60:]]
        seen = [burned_in_text.prepared(image.copy()) for image in mixed]
        shared = burned_in_text.repeated(list(map(burned_in_text.marks, seen)), [s.shape[:2] for s in seen])
        hits = [i in shared for i in range(len(mixed))]
        rows.append([name, "an R at one place in 60", rate(hits[:60])])
        rows.append([name, "the others among them", rate(hits[60:] or [False])])
    print(table(["pictures", "letters", "taken for lettered"], rows))


if __name__ == "__main__":
    main()
