"""The answers of the starters on sample photographs, and their seconds of one processor core.

    python docs/starters.py             prints the rows, in English; SOURON_LANG=ja in Japanese
    python docs/starters.py pictures    makes docs/_static/starters/*.jpg

The weights come from `souron fetch starters`. The photographs are those of scikit-image (public
domain and CC0) and scikit-learn (CC BY 2.0, by Tamás Varga: dahlia and temple).
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

import souron
from souron.kinds.cutout import Cutout
from souron.kinds.picture import Picture

PLACE = Path(__file__).parent / "_static" / "starters"
HIGH, SHOWN = 240, 3  # pixels of a picture; how often each is asked, the fastest counts
PHOTOGRAPHS = {
    "chelsea.png": data.chelsea,
    "astronaut.png": data.astronaut,
    "coffee.png": data.coffee,
    "rocket.jpg": data.rocket,
    "china.jpg": lambda: load_sample_image("china.jpg"),
    "flower.jpg": lambda: load_sample_image("flower.jpg"),
}
SYSTEMS = {  # name -> its photographs in the table and in the picture
    "ssd_oid": ("chelsea.png", "astronaut.png", "coffee.png", "china.jpg"),
    "nanodet": ("chelsea.png", "astronaut.png", "coffee.png", "rocket.jpg"),
    "movenet_lightning": ("astronaut.png", "chelsea.png"),
    "movenet_thunder": ("astronaut.png", "china.jpg"),
    "u2net": ("chelsea.png", "coffee.png", "china.jpg", "flower.jpg", "rocket.jpg"),
    "style": ("chelsea.png", "coffee.png"),
}


def photograph(name: str) -> Picture:
    return Picture(Image.fromarray(np.asarray(PHOTOGRAPHS[name]())))


def options(system: str) -> dict[str, str]:
    return {"style": "flower.jpg"} if system == "style" else {}


def answered(system: str, name: str) -> tuple[object, float]:
    """Return the answer and the seconds of one core that it took, without loading the weights."""
    model = souron.load(system)
    given = {key: photograph(value) for key, value in options(system).items()}
    least, answer = float("inf"), None
    for _time in range(SHOWN):
        begun = time.process_time()
        answer = model(photograph(name), **given)
        least = min(least, time.process_time() - begun)
    return answer, least


def rows() -> None:
    torch.set_num_threads(1)
    for system, names in SYSTEMS.items():
        for name in names:
            answer, seconds = answered(system, name)
            told = " ".join([f"{key}={value}" for key, value in options(system).items()])
            command = f"souron predict {system} {name} {told}".strip()
            print(f"| `{command}` | {answer} | {seconds:.2f} |", flush=True)


def shown(answer: object) -> Image.Image:
    """Return the picture of an answer; what was cut out is on green."""
    if isinstance(answer, Cutout):
        cut = answer.cut()
        ground = Image.new("RGB", cut.size, (52, 140, 96))
        ground.paste(cut, (0, 0), cut)
        return ground
    return answer.after.image if hasattr(answer, "after") else answer.drawn()


def images() -> None:
    PLACE.mkdir(exist_ok=True)
    for system, names in SYSTEMS.items():
        made = [
            shown(
                souron.load(system)(
                    photograph(name), **{key: photograph(value) for key, value in options(system).items()}
                )
            )
            for name in names
        ]
        small = [one.resize((round(one.width * HIGH / one.height), HIGH)) for one in made]
        sheet = Image.new("RGB", (sum(one.width + 4 for one in small) - 4, HIGH), "white")
        at = 0
        for one in small:
            sheet.paste(one, (at, 0))
            at += one.width + 4
        sheet.save(PLACE / f"{system}.jpg", quality=85)


if __name__ == "__main__":
    images() if "pictures" in sys.argv[1:] else rows()
