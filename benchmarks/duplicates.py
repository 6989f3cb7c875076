"""The search for copies: does it find them, does it take others for copies, how long does it take?

    .venv/bin/python benchmarks/duplicates.py

Pictures at 64 pixels a side: the stamps (Tux Paint, ``souron fetch stamps``), cut-outs on white,
and patches of the photographs that scikit-learn and (where it is installed) scikit-image bring
along. A copy is made of each: re-encoded as JPEG, resized to 80 % and back, made brighter or
darker, by a factor or by adding, cut off at black and white, or rotated, mirrored, inverted or
framed. Any two different originals that end in one family are a false pair; drawings of one shape
in other colours are not copies.
A copy so bright or dark that nothing is left on it cannot be found, and is counted beside.
The time and memory are those of 20 000 pictures of noise and of stamps.
"""

import argparse
import io
import itertools
import resource
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from printing import table, watched, where
from torch import Tensor

from souron.data import load
from souron.data.quality import duplicates
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs.image import as_image

SIDE = 64


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def resized(image: Image.Image) -> Image.Image:
    small = image.resize((SIDE * 8 // 10, SIDE * 8 // 10), Image.Resampling.BILINEAR)
    return small.resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def times(image: Image.Image, factor: float) -> Image.Image:
    return image.point(lambda value: min(255, round(factor * value)))


def plus(image: Image.Image, levels: int) -> Image.Image:
    return image.point(lambda value: max(0, min(255, value + levels)))


CHANGES = {
    **{f"re-encoded (JPEG, quality {q})": partial(jpeg, quality=q) for q in (50, 60, 75, 90)},
    "resized to 80 %": resized,
    **{f"brightness times {f}": partial(times, factor=f) for f in (1.1, 1.25, 1.4, 1.6, 0.75)},
    **{f"brightness {n:+d} levels": partial(plus, levels=n) for n in (64, -64)},
    "a quarter brighter, then JPEG": lambda image: jpeg(times(image, 1.25), 75),
    "rotated by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "mirrored, then JPEG": lambda image: jpeg(ImageOps.mirror(image), 75),
    "inverted": ImageOps.invert,
    "framed, a tenth of the side": lambda image: framed(image, SIDE // 10),
}


def framed(image: Image.Image, width: int) -> Image.Image:
    return ImageOps.expand(image, width, "white").resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def copies_in(image: Tensor) -> list[tuple[int, int]]:
    """As ``train`` looks for them."""
    near = duplicates.near(image)
    return [*near, *duplicates.altered(image, near)]


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1)


def patches() -> Tensor:
    """(N, 3, 64, 64) uint8, side by side, of every photograph at two sizes; flat ones left out."""
    from sklearn.datasets import load_sample_images

    whole = [Image.fromarray(one) for one in load_sample_images().images]
    try:
        import skimage

        files = sorted((Path(skimage.__file__).parent / "data").glob("*.*"))
        names = {
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
        }
        whole += [image_codec.read(file) for file in files if file.stem in names]
    except ImportError:
        pass
    found = []
    for image in whole:
        for step in (64, 128):
            for top, left in itertools.product(
                range(0, image.height - step + 1, step), range(0, image.width - step + 1, step)
            ):
                piece = image.crop((left, top, left + step, top + step)).resize((SIDE, SIDE))
                pixels = tensor(piece)
                if pixels.float().std((1, 2)).mean() > 8:
                    found.append(pixels)
    return torch.stack(found)


def families(pairs: Sequence[tuple[int, int]], count: int) -> list[list[int]]:
    leader = list(range(count))
    for i, j in pairs:
        one, other = leader[i], leader[j]
        leader = [one if top == other else top for top in leader]
    members = defaultdict(list)
    for row, top in enumerate(leader):
        members[top].append(row)
    return [rows for rows in members.values() if len(rows) > 1]


def false(image: Tensor) -> int:
    """Pairs of different pictures in one family."""
    found = families(copies_in(image), len(image))
    return sum(len(rows) * (len(rows) - 1) // 2 for rows in found)


def recall(image: Tensor, copies: Tensor) -> int:
    """How many originals are in one family with their copy."""
    count = len(image)
    found = families(copies_in(torch.cat([image, copies])), 2 * count)
    return sum(i + count in rows for rows in found for i in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="pictures, for the time")
    chosen = parser.parse_args()
    sets = {"stamps": load.load("stamps", SIDE).input, "patches": patches()}
    with watched():
        generator = torch.Generator().manual_seed(0)
        noise = torch.randint(0, 256, (chosen.count, 3, 8, 8), generator=generator).byte()
        many = torch.empty(chosen.count, 3, SIDE, SIDE, dtype=torch.uint8)
        for start in range(0, chosen.count, 1000):
            some = noise[start : start + 1000].float()
            many[start : start + 1000] = torch.nn.functional.interpolate(some, SIDE, mode="bilinear")
        known = sets["stamps"][: chosen.count]
        many[: len(known)] = known
        begun, used = time.perf_counter(), time.process_time()
        copies_in(many)
        seconds, used = time.perf_counter() - begun, time.process_time() - used
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # bytes
    rows = []
    for name, change in CHANGES.items():
        line = [name]
        for image in sets.values():
            copies = torch.stack([tensor(change(as_image(one))) for one in image])
            hits = recall(image, copies)
            empty = int((duplicates.contrast(copies) < duplicates.FLAT).sum())
            left = f", {empty} empty" if empty else ""
            line.append(f"{hits} of {len(image)} ({100 * hits / len(image):.1f} %{left})")
        rows.append(line)
    line = ["false pairs"]
    for image in sets.values():
        pairs, wrong = len(image) * (len(image) - 1) // 2, false(image)
        line.append(f"{wrong} of {pairs} ({100 * wrong / pairs:.4f} %)")
    print(table(["copy", *sets], [*rows, line]))
    print(
        f"\n{chosen.count} pictures: {seconds:.1f} s ({used:.1f} of processor time), "
        f"at most {most / 1e6:.0f} MB in all."
    )
    print(where(torch.get_num_threads(), "souron"))


if __name__ == "__main__":
    main()
