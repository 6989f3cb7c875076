"""The search for copies: does it find them, does it take others for copies, how long does it take?

    .venv/bin/python benchmarks/duplicates.py [varied|standardised|time ...]

``varied``: pictures at 64 pixels a side: the stamps (Tux Paint, ``souron fetch stamps``), cut-outs on white,
and patches of the photographs that scikit-learn and (where it is installed) scikit-image bring
along. A copy is made of each: re-encoded as JPEG, resized to 80 % and back, made brighter or
darker, by a factor or by adding, cut off at black and white, or rotated, mirrored, inverted or
framed. Any two different originals that end in one family are a false pair; drawings of one shape
in other colours are not copies.
A copy so bright or dark that nothing is left on it cannot be found, and is counted beside.

``standardised``: images that resemble each other as copies do, 128 pixels a side, compared at 64: the
lateral head films that souron draws, bitewing films of different patients, tooth films of one view,
slices of each volume and of all volumes of one scanner, and a webcam before a fixed wall, with a
small thing at a place by chance. None of them has a copy. Then to 300 of them altered copies of a
tenth are added, and counted where they are found.

``time``: time and memory of 20 000 pictures of noise and of stamps.
"""

import argparse
import io
import itertools
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from printing import table, watched, where
from torch import Tensor

from souron.data import load
from souron.data.quality import duplicates
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs.image import as_image
from souron.utils.messages import UserError

SIDE, LARGE = 64, 128
MOST_FOLDERS, MOST_BESIDE = 4, 300  # of images of one view, where altered copies are added


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
ALTERED = {
    "re-encoded (JPEG, quality 75)": partial(jpeg, quality=75),
    "re-encoded (JPEG, quality 50)": partial(jpeg, quality=50),
    "scaled to 50 %": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
    "brightness times 1.25": partial(times, factor=1.25),
    "brightness -20 levels": partial(plus, levels=-20),
    "cropped, 1 % a side": lambda image: cropped(image, 0.01),
    "cropped, 3 % a side": lambda image: cropped(image, 0.03),
    "cropped, 5 % a side": lambda image: cropped(image, 0.05),
    "mirrored, then JPEG": lambda image: jpeg(ImageOps.mirror(image), 75),
    "rotated by 90 degrees, then JPEG": lambda image: jpeg(image.transpose(Image.Transpose.ROTATE_90), 75),
    "inverted": ImageOps.invert,
}


def cropped(image: Image.Image, share: float) -> Image.Image:
    return ImageOps.crop(image, max(1, round(share * image.width)))


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


# images of one view


class Steady:
    """A generator whose draws are near their middle: the same view, taken again and again."""

    def __init__(self, chance: np.random.Generator, share: float) -> None:
        self.chance, self.share = chance, share

    def normal(self, middle: float, spread: float, size: Any = None) -> Any:
        return self.chance.normal(middle, spread if size is not None else self.share * spread, size)

    def uniform(self, low: float, high: float, size: Any = None) -> Any:
        half = self.share * (high - low) / 2
        return self.chance.uniform((low + high) / 2 - half, (low + high) / 2 + half, size)

    def integers(self, *ends: Any) -> Any:
        return self.chance.integers(*ends)

    def permutation(self, count: int) -> Any:
        return self.chance.permutation(count)

    def choice(self, values: Sequence[Any]) -> Any:
        return values[-1]

    def random(self, size: Any = None) -> Any:
        return np.full(size, 1.0)


def films(count: int, share: float) -> list[Image.Image]:
    """Bitewing films, each of another patient; ``share`` is how much teeth and pose vary."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import radiographs

    shown = []
    for number in range(count):
        chance: Any = np.random.default_rng((7, number))
        chance = chance if share == 1 else Steady(chance, share)
        image = radiographs.radiograph(radiographs.jaw(chance), chance, number % 2, LARGE)
        shown.append(radiographs.exposed(image, "A", chance) * (255 / radiographs.MOST))
    return [Image.fromarray(one.round().astype(np.uint8)) for one in shown]


def frames(count: int, spread: float) -> list[Image.Image]:
    """A webcam before a fixed wall: a thing a tenth as wide as the image, turned and moved by chance within
    ``spread`` of the side, a light that flickers, and the sensor's noise."""
    from sklearn.datasets import load_sample_image

    wall = np.asarray(Image.fromarray(load_sample_image("china.jpg")).resize((LARGE, LARGE)))
    thing = Image.fromarray(load_sample_image("flower.jpg")).crop((220, 60, 420, 260)).resize((48, 48))
    shown = []
    for number in range(count):
        chance = np.random.default_rng((8, number))
        frame = Image.fromarray(wall)
        side = int(LARGE * chance.uniform(0.08, 0.12))
        turned = thing.rotate(chance.uniform(-40, 40), Image.Resampling.BICUBIC).resize((side, side))
        left, top = (LARGE * (0.5 + spread * chance.uniform(-0.5, 0.5, 2))).astype(int)
        frame.paste(turned, (left, top))
        frame = np.asarray(frame) * chance.uniform(0.97, 1.03) + chance.normal(0, 2, wall.shape)
        shown.append(jpeg(Image.fromarray(frame.round().clip(0, 255).astype(np.uint8)), 85))
    return shown


def slices() -> list[list[Image.Image]]:
    """Slices of synthetic computed tomographies, those of one volume in a list."""
    volumes = load.load("phantoms").input.float()  # (N, 1, slices, rows, columns), Hounsfield units
    grey = ((volumes[:, 0] + 160) * (255 / 400)).clamp(0, 255).byte().numpy()
    return [[Image.fromarray(one).resize((LARGE, LARGE)) for one in volume] for volume in grey]


def standardised() -> dict[str, list[list[Image.Image]]]:
    """Folders of images by their name, of which none is a copy of another."""
    heads = load.load("cephalo", LARGE).input
    volumes = slices()
    return {
        "head films": [[as_image(one) for one in heads]],
        "bitewings": [films(1000, 1.0)],
        "tooth films": [films(1000, 0.3), films(84, 0.15)],
        "slices of a volume": volumes,
        "slices of a scanner": [[one for volume in volumes for one in volume]],
        "webcam": [frames(600, 0.8), frames(400, 0.2), frames(40, 0.2)],
    }


def small(images: Sequence[Image.Image]) -> Tensor:
    """(N, C, 64, 64), as the check reads files."""
    pixels = [torch.tensor(np.asarray(one)).float().reshape(*one.size[::-1], -1).permute(2, 0, 1) for one in images]
    many = [torch.nn.functional.interpolate(one[None], (SIDE, SIDE), mode="bilinear", antialias=True) for one in pixels]
    return torch.cat(many).round().clamp(0, 255).byte()


def of_one_view() -> None:
    """Print what is taken for a copy among images of one view, and what altered copies of them are found."""
    sets = standardised()
    every = {name: [small(folder) for folder in folders] for name, folders in sets.items()}
    count = {name: sum(map(len, folders)) for name, folders in sets.items()}
    asked = {name: [copies_in(folder) for folder in folders] for name, folders in every.items()}
    rows = []
    for name in sets:
        pairs = sum(map(len, asked[name]))
        concerned = sum(len({i for pair in some for i in pair}) for some in asked[name])
        rows.append([name, str(len(sets[name])), str(count[name]), str(pairs), f"{1000 * concerned / count[name]:.1f}"])
    whole = sum(count.values())
    rows.append(["all", "", str(whole), str(sum(int(row[3]) for row in rows)), ""])
    print(
        table(["images without a copy", "folders", "images", "pairs asked about", "images in 1000"], rows), end="\n\n"
    )
    rows = []
    for change, altered in ALTERED.items():
        line = [change]
        for name, folders in sets.items():
            hits = total = 0
            for images, folder in list(zip(folders, every[name], strict=True))[:MOST_FOLDERS]:
                folder = folder[:MOST_BESIDE]
                chosen = range(0, len(folder), 10)
                added = small([altered(images[i]) for i in chosen])
                pairs = families(copies_in(torch.cat([folder, added])), len(folder) + len(added))
                hits += sum(i in rows and len(folder) + k in rows for k, i in enumerate(chosen) for rows in pairs)
                total += len(chosen)
            line.append(f"{100 * hits / total:.0f} of {total}")
        rows.append(line)
    print(table(["copies found, %", *sets], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", choices=sorted(PARTS), help="all without a name")
    parser.add_argument("--count", type=int, default=20_000, help="pictures, for the time")
    chosen = parser.parse_args()
    with watched():
        for name in chosen.part or PARTS:
            PARTS[name](chosen.count)
            print()
    print(where(torch.get_num_threads(), "souron"))


def timed(count: int) -> None:
    """Print seconds and memory for so many pictures."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (count, 3, 8, 8), generator=generator).byte()
    many = torch.empty(count, 3, SIDE, SIDE, dtype=torch.uint8)
    for start in range(0, count, 1000):
        some = noise[start : start + 1000].float()
        many[start : start + 1000] = torch.nn.functional.interpolate(some, SIDE, mode="bilinear")
    known = stamps()[:count]
    many[: len(known)] = known
    begun, used = time.perf_counter(), time.process_time()
    copies_in(many)
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # bytes
    print(f"{count} pictures: {seconds:.1f} s ({used:.1f} of processor time), at most {most / 1e6:.0f} MB in all.")


def stamps() -> Tensor:
    """The stamps, none where they were not fetched."""
    try:
        return load.load("stamps", SIDE).input
    except UserError:
        return torch.zeros(0, 3, SIDE, SIDE, dtype=torch.uint8)


def varied(_count: int) -> None:
    """Print what is found and mistaken among cut-outs and patches of photographs."""
    sets = {name: image for name, image in (("stamps", stamps()), ("patches", patches())) if len(image)}
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


PARTS = {"varied": varied, "standardised": lambda _count: of_one_view(), "time": timed}


if __name__ == "__main__":
    main()
