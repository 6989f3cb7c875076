"""Does the memorisation audit catch what copies, and leave alone what does not?

    python benchmarks/memorisation.py --data fashion --budget 60s

Three tables. *False alarms*: real pictures that nobody learnt from stand for the drawn ones, again
and again with another half of them as control; how often are they called copies? *Power*: training
pictures are changed in one way or another and mixed among such real pictures; how many of them are
flagged, and how few among 256 are enough for a verdict in nine of ten mixtures? *Generators*: each
trained for the same time on 50 pictures and on all of them; with 50, whatever is near is
memorised.
"""

import argparse
import io
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from printing import say, table, watched, where
from torch import Tensor
from torch.nn import functional as F

from souron import registry
from souron.actions import memorisation
from souron.actions.memorisation import distances, record
from souron.actions.memorisation.distances import Change, Nearest, Space
from souron.actions.memorisation.record import MemorisationRecord, Result
from souron.data import load, splits
from souron.data.dataset import Dataset
from souron.evaluation.generators import embedding
from souron.evaluation.generators.sampling import Sample
from souron.kinds.codecs.image import as_image
from souron.training.budget import Budget
from souron.training.trainer import Trainer

DRAWN, FEW = 256, 50
SHARES = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)

Pool = list[tuple[Space, Nearest]]  # the nearest of the same pictures, distance by distance


def jpeg(image: Tensor) -> Tensor:
    made = []
    for one in image:
        stream = io.BytesIO()
        as_image(one).save(stream, "JPEG", quality=50)
        pixels = np.asarray(Image.open(stream))
        made.append(torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1).copy()).permute(2, 0, 1))
    return torch.stack(made)


def noise(levels: float) -> Callable[[Tensor], Tensor]:
    return lambda image: (image.float() + levels * torch.randn(image.shape)).clamp(0, 255).byte()


def zoomed(image: Tensor) -> Tensor:
    side = image.shape[-1]
    edge = max(1, side // 20)
    inner = image[..., edge : side - edge, edge : side - edge].float()
    return F.interpolate(inner, (side, side), mode="bilinear").round().byte()


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "equal": lambda image: image,
    "JPEG, quality 50": jpeg,
    **{f"noise of {levels} levels": noise(levels) for levels in (10, 20, 40)},
    "mirrored": Change(mirror=True).of,
    "shifted by a pixel": Change(right=1).of,
    "shifted by two, down and right": lambda image: Change(1, 1).of(Change(0, 1, 1).of(image)),
    "a quarter brighter": lambda image: (1.25 * image.float()).clamp(0, 255).byte(),
    "zoomed by a tenth": zoomed,
    "blurred over 3 x 3 pixels": lambda image: F.avg_pool2d(
        F.pad(image.float(), (1, 1, 1, 1), "replicate"), 3, 1
    ).byte(),
    "half of it, half of another": lambda image: ((image.float() + image.roll(1, 0).float()) / 2).byte(),
}


def main() -> None:
    asked = arguments()
    torch.manual_seed(0)
    cases = load.load(asked.data, asked.side)
    split = splits.plan(cases, 1, 1).kept
    learnt = cases.only(split.train)
    learnt = learnt.only(sorted(set(splits.same_image(learnt))))
    held = cases.only(torch.cat([split.val, split.test]))
    held = held.only(torch.randperm(len(held))[: asked.held])
    spaces = [distances.pixels(), distances.features(extractor(cases, split.train))]
    with watched():
        real = pool(held.input, learnt, spaces)
    new = ~distances.are_copies(held.input, learnt.input, real[0][1], spaces[0])
    clean = [(space, near.only(new.nonzero().flatten())) for space, near in real]
    say(f"{int((~new).sum())} of {len(held)} held-out pictures are copies")

    rows = [
        ("held-out pictures, without copies", *false_alarms(clean, asked.trials)),
        ("held-out pictures as they are", *false_alarms(real, asked.trials)),
    ]
    print(f"False alarms, {asked.data}: {DRAWN} real pictures, {asked.trials} times\n")
    print(table(("in place of drawn ones", "flagged", "called copies"), rows))

    some = learnt.input[torch.randint(len(learnt), (DRAWN,))]
    rows = []
    for name, change in CHANGES.items():
        say(name)
        with watched():
            copied = pool(change(some), learnt, spaces)
        rows.append((name, *power(copied, clean)))
    print(f"\nPower, {asked.data}: changed training pictures\n")
    print(
        table(("copies that are", "flagged by pixels", "by features", "by either", f"noticed from, of {DRAWN}"), rows)
    )

    rows = []
    for name, few in itertools.product(asked.systems, (True, False)):
        say(f"{name}, {'few' if few else 'all'}")
        own = learnt.only(range(FEW)) if few else learnt
        with watched():
            audit = of_system(name, own, held, spaces, asked.budget)
        found = audit.flagged
        rows.append(
            (
                f"{name}, {len(own):,} pictures",
                *(f"{int(one.flagged.sum())} of {DRAWN}" for one in audit.results),
                f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})",
                f"{audit.control.value:.1%}",
                *(
                    f"{one.generated.ratio.median():.2f} / {one.control.ratio.median():.2f}"
                    for one in audit.results[:1]
                ),
                "copies" if audit.copies_too_much else "no sign",
            )
        )
    print(f"\nGenerators, {asked.data}, {asked.budget} of training each\n")
    print(
        table(
            (
                "system, learnt from",
                "by pixels",
                "by features",
                "flagged",
                "of real ones",
                "median ratio, drawn / real",
                "verdict",
            ),
            rows,
        )
    )
    print(f"\n{where(torch.get_num_threads(), 'scipy')}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion")
    parser.add_argument("--side", type=int)
    parser.add_argument("--held", type=int, default=3000, help="held-out pictures, at most")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--systems", type=lambda text: text.split(","), default=["vae", "gan", "dcgan", "ddpm"])
    parser.add_argument("--budget", default="60s")
    return parser.parse_args()


def extractor(cases: Dataset, rows: Tensor) -> embedding.FeatureExtractor:
    made = None
    for _done, found in embedding.feature_extractor(cases, rows):
        made = found
    assert made is not None
    return made


def pool(image: Tensor, learnt: Dataset, spaces: list[Space]) -> Pool:
    def last(events: Iterator[tuple[float, Nearest | None]]) -> Nearest:
        near = None
        for _done, found in events:
            near = found
        assert near is not None
        return near

    return [(space, last(distances.nearest(image, learnt.input, space))) for space in spaces]


def found(pool: Pool, drawn: Tensor, control: Tensor) -> list[Result]:
    return [Result(space, near.only(drawn), near.only(control), near.ratio[control]) for space, near in pool]


def called(ways: list[Result]) -> bool:
    return any(one.chance * len(ways) < record.DOUBT for one in ways)


def halves(count: int) -> tuple[Tensor, Tensor]:
    """Rows that stand for drawn pictures, and of the control."""
    order = torch.randperm(count)
    drawn = min(DRAWN, count // 2)
    return order[:drawn], order[drawn:][: memorisation.MOST_CONTROL]


def false_alarms(real: Pool, trials: int) -> tuple[str, str]:
    alarms, flagged = 0, []
    for _trial in range(trials):
        ways = found(real, *halves(len(real[0][1].ratio)))
        alarms += called(ways)
        flagged.append(torch.stack([one.flagged for one in ways]).any(0).float().mean().item())
    return f"{np.mean(flagged):.1%}", f"{alarms / trials:.1%}"


def power(copied: Pool, real: Pool) -> tuple[str, ...]:
    _drawn, control = halves(len(real[0][1].ratio))
    limits = [record.threshold(near.ratio[control]) for _space, near in real]
    flags = torch.stack([near.ratio <= limit for (_space, near), limit in zip(copied, limits, strict=True)])
    enough = next((share for share in SHARES if noticed(copied, real, share) >= 0.9), None)
    least = "-" if enough is None else f"{round(enough * DRAWN)}"
    return (*(f"{one.float().mean():.1%}" for one in flags), f"{flags.any(0).float().mean():.1%}", least)


def noticed(copied: Pool, real: Pool, share: float, trials: int = 200) -> float:
    """How often so large a share of copies among real pictures is called copying."""
    hits = 0
    for _trial in range(trials):
        drawn, control = halves(len(real[0][1].ratio))
        copies = torch.randperm(DRAWN)[: round(share * len(drawn))]
        ways = []
        for (space, mine), (_space, theirs) in zip(copied, real, strict=True):
            parts = zip(vars(mine.only(copies)).values(), vars(theirs.only(drawn[len(copies) :])).values(), strict=True)
            mixed = Nearest(*map(torch.cat, parts))
            ways.append(Result(space, mixed, theirs.only(control), theirs.ratio[control]))
        hits += called(ways)
    return hits / trials


def of_system(name: str, learnt: Dataset, held: Dataset, spaces: list[Space], budget: str) -> MemorisationRecord:
    kind, config = registry.load_system(name)
    torch.manual_seed(0)
    system = kind(config, kind.spec_for(learnt))
    if system.channels_last:
        system.to(memory_format=torch.channels_last)
    fit = Trainer(system, system.loader(learnt), None, Budget.parse(budget), 128)
    while not fit.done:
        fit.go(1.0)
    *_before, sample = Sample.growing(system, DRAWN, 0)
    *_before, (_done, audit) = memorisation.compare(sample.image, learnt, held, spaces)
    assert audit is not None
    return audit


if __name__ == "__main__":
    main()
