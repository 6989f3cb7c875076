"""How long does it take to augment a batch on the CPU?  python benchmarks/augmenting.py

Milliseconds a batch of 128 pictures (median, and the range of the middle 80 %): souron's batched
changes, torchvision's picture by picture (as a Dataset applies them), and torchvision's on the
whole batch at once, where every picture gets the same move. All are timed in turn, so that a slow
moment of the machine hits all alike.
"""

import argparse
import platform
import time
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor
from torchvision.transforms import v2

from souron.data.transforms import augmentation

ROUNDS = 60
THEIRS: dict[str, Callable[[int], list]] = {
    "shift": lambda side: [v2.RandomCrop(side, padding=round(side / 10), padding_mode="reflect")],
    "mirror": lambda side: [v2.RandomHorizontalFlip()],
    "brightness": lambda side: [v2.ColorJitter(0.25, 0.25)],
    "erase": lambda side: [v2.RandomErasing(1.0, (0.06, 0.25), (1.0, 1.0))],
    "rotate": lambda side: [v2.RandomRotation(15, v2.InterpolationMode.BILINEAR)],
}
RECIPES = (("shift", "mirror"), ("shift",), ("mirror",), ("brightness",), ("erase",), ("rotate",))


def contestants(names: tuple[str, ...], image: Tensor) -> dict[str, Callable[[], Tensor]]:
    ours, generator = augmentation(names), torch.Generator()
    assert ours is not None
    theirs = v2.Compose([change for name in names for change in THEIRS[name](image.shape[-1])])
    return {
        "souron": lambda: ours(image, generator),
        "torchvision, each": lambda: torch.stack([theirs(image) for image in image]),
        "torchvision, batch": lambda: theirs(image),
    }


def milliseconds(contest: dict[str, Callable[[], Tensor]]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in contest}
    for _round in range(ROUNDS):
        for name, change in contest.items():
            start = time.perf_counter()
            change()
            times[name].append((time.perf_counter() - start) * 1000)
    return {name: sorted(of)[ROUNDS // 10 : -ROUNDS // 10] for name, of in times.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(options.parse_args().threads)
    print(
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, "
        f"{torch.get_num_threads()} threads, {platform.processor() or platform.machine()}"
    )
    for shape in ((128, 1, 28, 28), (128, 3, 32, 32), (128, 3, 64, 64)):
        image = torch.randint(0, 256, shape, dtype=torch.uint8)
        print(f"\n{shape}")
        for names in RECIPES:
            for name, of in milliseconds(contestants(names, image)).items():
                middle, span = of[len(of) // 2], f"({of[0]:.2f}..{of[-1]:.2f})"
                print(f"  {'+'.join(names):14} {name:20} {middle:8.2f}  {span}")


if __name__ == "__main__":
    main()
