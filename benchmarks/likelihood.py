"""What the bits per dimension of generators are to be read against.

    python benchmarks/likelihood.py

What gives a picture a probability could write it in as many bits. Hence the bits per dimension of
the test pictures of Fashion-MNIST as formats without loss write them (many in one file, so that its
head hardly counts), and by the simplest model of all: each pixel for itself, with how often each
grey occurred at that place in training. Training and test pictures are those of ``generators.py``.
"""

import argparse
import io
import lzma

import PIL
import torch
from PIL import Image
from printing import table
from torch import Tensor

from souron.data import load, splits

AT_ONCE = 500  # pictures in a file: WebP allows 16 383 pixels a side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="fashion", help="a data set of grey pictures")
    cases = load.load(parser.parse_args().data)
    split = splits.plan(cases, 1, 1).kept
    train, test = (cases.input[part] for part in (split.train, split.test))  # (N, 1, H, W)
    bits = {
        "each pixel for itself": by_itself(train, test),
        "PNG": written(test, "PNG", optimize=True),
        "WebP without loss": written(test, "WEBP", lossless=True, quality=100),
        "LZMA, the bytes of the pixels": packed(test),
    }
    rows = [(name, f"{value:.2f}") for name, value in bits.items()]
    print(table(("how the test pictures are told", "bits per dimension"), rows))
    print(f"\n{len(test)} test pictures, {len(train)} training pictures, pillow {PIL.__version__}.")


def by_itself(train: Tensor, test: Tensor) -> float:
    """Bits of a grey where the pixels are independent, each grey counted once more than it was."""
    places = train[0].numel()
    cell = torch.arange(places) * 256
    counts = (train.flatten(1).long() + cell).flatten().bincount(minlength=places * 256) + 1.0
    chance = counts / (len(train) + 256)
    return -chance[test.flatten(1).long() + cell].log2().mean().item()


def written(test: Tensor, kind: str, **options: object) -> float:
    """Bits of a pixel in files of that kind, the pictures below each other."""
    size = 0
    for some in test.split(AT_ONCE):
        file = io.BytesIO()
        column = Image.fromarray(some.reshape(-1, some.shape[-1]).numpy())
        column.save(file, kind, **options)
        size += file.tell()
    return 8 * size / test.numel()


def packed(test: Tensor) -> float:
    return 8 * len(lzma.compress(test.numpy().tobytes(), preset=9)) / test.numel()


if __name__ == "__main__":
    main()
