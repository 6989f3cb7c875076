"""Does souron see that a case is unlike anything a system has learnt from?

    python benchmarks/familiarity.py                  every system of souron-zoo that has it
    python benchmarks/familiarity.py resnet yolo --cases 100

Each system answers test cases of its own data, and others: photographs (scikit-image's and
scikit-learn's, whole and random parts of them), digits, drawn scenes and people, drawn films of
heads and of torsos. A column shows the AUROC of souron's distance between its own test cases and
those, the AUROC of the energy of the answer in brackets, and the share that souron flags.

The energy is -logsumexp of the logits (Liu et al.: Energy-based Out-of-distribution Detection,
2020, https://arxiv.org/abs/2010.03759), of pixels their mean; where answers have scores in place of
logits, the logsumexp of the scores' log odds. Nothing is fetched.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import skimage
import sklearn
import torch
from PIL import Image
from printing import say, table
from sklearn.metrics import roc_auc_score
from torch import Tensor

from souron import model as models_api
from souron.data import load
from souron.evaluation import familiarity
from souron.hub import zoo
from souron.kinds.kind import Kind
from souron.kinds.picture import Picture
from souron.kinds.volume import Volume

PHOTOGRAPHS = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "coins.png",
    "brick.png",
    "grass.png",
    "gravel.png",
    "china.jpg",
    "flower.jpg",
)
OTHERS = {  # what a system of this data is asked about beside its own test cases
    "fashion": ("photographs", "digits", "drawn_scenes"),
    "drawn_scenes": ("photographs", "people", "cephalo"),
    "people": ("photographs", "drawn_scenes", "cephalo"),
    "cephalo": ("photographs", "torsos", "drawn_scenes"),
    "phantoms": ("heads",),
}
CONF = 0.01  # least score of what counts in an energy
HIGH = 200  # pixels of a film


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="SYSTEM")
    parser.add_argument("--cases", type=int, default=60, help="of each set")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    package = zoo.root()
    assert package is not None, "pip install --editable zoo"
    there = sorted(file.parent.parent.name for file in package.glob(f"*/{familiarity.FILE}"))
    rows: dict[str, list[list[str]]] = {}
    for name in asked.names or there:
        data = str(zoo.receipt(package / name)["options"]["data"])
        rows.setdefault(data, []).append(row(name, data, asked.cases))
        say(" ".join(rows[data][-1]))
    for data, some in rows.items():
        print(f"\n{data}")
        print(table(["system", "own test cases flagged", *OTHERS[data]], some))


def row(name: str, data: str, count: int) -> list[str]:
    model = models_api.load((zoo.root() or Path()) / name)
    energy = Energy(model)
    own = [energy.ask(case) for case in cases(data, count)]
    cells = [name, f"{flagged(own):.0%}"]
    for other in OTHERS[data]:
        far = [energy.ask(case) for case in cases(other, count)]
        distance, beside = (auroc([pair[i] for pair in own], [pair[i] for pair in far]) for i in (0, 1))
        cells.append(f"{distance:.3f} ({beside:.3f}) {flagged(far):.0%}")
    return cells


def auroc(own: Sequence[float], far: Sequence[float]) -> float:
    return float(roc_auc_score([0] * len(own) + [1] * len(far), [*own, *far]))


def flagged(asked: Sequence[tuple[float, float, bool]]) -> float:
    return float(np.mean([pair[2] for pair in asked]))


class Energy:
    """A model that tells the energy of each answer beside souron's distance."""

    def __init__(self, model: models_api.Model) -> None:
        self.model, self.logits = model, None
        model.system.register_forward_hook(self._hear)

    def _hear(self, _network: Any, _given: Any, out: Any) -> None:
        self.logits = out if isinstance(out, Tensor) else None

    def ask(self, case: Kind) -> tuple[float, float, bool]:
        """Distance, energy, and whether souron flags the case."""
        self.logits = None
        options = {"conf": CONF} if "conf" in self.model.asked.options else {}
        answer = self.model.answer(case, **options)
        if self.logits is not None:
            energy = -float(self.logits.float().logsumexp(1).mean())
        else:
            score = torch.tensor([CONF, *getattr(answer, "scores", ())]).clamp(1e-6, 1 - 1e-6)
            energy = -float(score.logit().logsumexp(0))
        return answer.familiar.score, energy, answer.familiar.unlike


@lru_cache
def cases(name: str, count: int) -> list[Kind]:
    return SETS[name](count) if name in SETS else drawn(name, count)


def drawn(name: str, count: int) -> list[Kind]:
    """Test cases of a data set that souron has."""
    found = load.load(name)
    rows = [i for i, part in enumerate(found.part) if part == "test"] or [*range(len(found))]
    chosen = np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)
    some = found.only([rows[i] for i in chosen])
    if some.volumes:
        return [volume(one[0].numpy(), step) for one, step in zip(some.input, some.spacing, strict=True)]
    return [Picture.of(one) for one in some.input]


def fashion(count: int) -> list[Kind]:
    images = zoo.sample()[0]
    return [Picture.of(one) for one in images[: 5 * count]]


def photographs(count: int) -> list[Kind]:
    """Whole, then random squares of 0.3 to 1 of the shorter side."""
    folders = [Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images"]
    files = [folder / name for name in PHOTOGRAPHS for folder in folders if (folder / name).exists()]
    rng, found = np.random.default_rng(0), []
    for number in range(count):
        whole = Image.open(files[number % len(files)]).convert("RGB")
        if number >= len(files):
            side = int(min(whole.size) * rng.uniform(0.3, 1))
            left, top = (int(rng.integers(0, edge - side + 1)) for edge in whole.size)
            whole = whole.crop((left, top, left + side, top + side))
        found.append(Picture(whole))
    return found


def torsos(count: int) -> list[Kind]:
    """Films of the torsos in ``phantoms``, from the front and from the side."""
    found = []
    for body in load.load("phantoms").input[: -(-count // 2), 0]:
        stops = (body.float() + 1000).clamp(min=0) / 1000
        for axis in (1, 2):
            film = 1 - torch.exp(-3 * stops.sum(axis) / stops.sum(axis).max())
            shown = Picture.of((255 * film / film.max())[None].flip(1)).image.convert("L")
            found.append(Picture(shown.resize((HIGH * 11 // 10, HIGH))))
    return found[:count]


def heads(count: int) -> list[Kind]:
    """Skulls as ellipsoids of bone around brain, with ventricles and a neck."""
    rng, found = np.random.default_rng(0), []
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (48, 64, 64)), indexing="ij")
    for _number in range(min(count, 40)):
        wide, long, high = rng.uniform((0.5, 0.65, 0.7), (0.65, 0.85, 0.9))
        r = np.sqrt((x / wide) ** 2 + (y / long) ** 2 + (z / high) ** 2)
        values = np.full(r.shape, -1000.0)
        values[(x / wide) ** 2 + (y / long) ** 2 + 0 * z < np.where(z < 0, 0.35, 0)] = 50
        values[r < 1] = 40
        values[(r < 0.94) & (r > 0.85)] = rng.uniform(700, 1200)
        values[r < 0.85] = 35
        values[r < 0.2] = 8
        values += rng.normal(0, 12, r.shape)
        found.append(volume(values.astype(np.int16), (4.0, 3.2, 3.2)))
    return found


def volume(values: Any, steps: Sequence[float]) -> Volume:
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]], affine[3, 3] = steps, 1
    return Volume(values, affine)


SETS: dict[str, Callable[[int], list[Kind]]] = {
    "fashion": fashion,
    "photographs": photographs,
    "torsos": torsos,
    "heads": heads,
}


if __name__ == "__main__":
    main()
