"""The search for copies: does it find them, does it take others for copies, how long does it take?

    .venv/bin/python benchmarks/duplicates.py

On the stamps (Tux Paint, ``souron fetch stamps``) at 64 pixels a side, a copy is made of each:
re-encoded as JPEG (quality 60), resized to 80 % and back, or a quarter brighter. A pair of two
different stamps that is taken for copies is false; those that are drawings of one shape in other
colours or mirrored are not copies. The time is that of 20 000 pictures of noise and of stamps.
"""

import argparse
import io
import time

import torch
from PIL import Image, ImageEnhance
from printing import table, watched, where

from souron.data import duplicates, loading
from souron.kinds.image import picture

SIDE = 64


def jpeg(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=60)
    return Image.open(stream)


def resized(image: Image.Image) -> Image.Image:
    small = image.resize((SIDE * 8 // 10, SIDE * 8 // 10), Image.Resampling.BILINEAR)
    return small.resize((SIDE, SIDE), Image.Resampling.BILINEAR)


CHANGES = {
    "re-encoded (JPEG, quality 60)": jpeg,
    "resized to 80 %": resized,
    "a quarter brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.25),
}


def tensor(image: Image.Image) -> torch.Tensor:
    import numpy as np

    return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20_000, help="pictures, for the time")
    chosen = parser.parse_args()
    image = loading.load("stamps", SIDE).image
    count = len(image)
    with watched():
        among = duplicates.near(image)
        pairs = count * (count - 1) // 2
        rows = []
        for name, change in CHANGES.items():
            copies = torch.stack([tensor(change(picture(one))) for one in image])
            found = set(duplicates.near(torch.cat([image, copies])))
            hits = sum((i, i + count) in found for i in range(count))
            rows.append([name, f"{hits} of {count}", f"{100 * hits / count:.1f}"])
        generator = torch.Generator().manual_seed(0)
        noise = torch.randint(0, 256, (chosen.count, 3, 8, 8), generator=generator).byte()
        many = torch.nn.functional.interpolate(noise.float(), SIDE, mode="bilinear").byte()
        many[: min(count, chosen.count)] = image[: chosen.count]
        begun = time.perf_counter()
        duplicates.near(many)
        seconds = time.perf_counter() - begun
    print(table(["copy", "found", "%"], rows))
    print(f"\nTaken for copies among the {count} stamps themselves: {len(among)} of {pairs} pairs")
    print(f"({100 * len(among) / pairs:.4f} %). {chosen.count} pictures: {seconds:.1f} s.")
    print(where(torch.get_num_threads(), "souron"))


if __name__ == "__main__":
    main()
