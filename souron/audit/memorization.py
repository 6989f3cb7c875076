"""Test whether a generator copies its training images, by the nearest one to each generated image.

An image x is judged by how much nearer its nearest training image is than its neighbourhood:

    ratio(x) = |x - t_1| / median of |x - t_1|, ..., |x - t_k|      t_1, t_2, ... nearest first

Carlini and others: Extracting Training Data from Diffusion Models (2023).
https://arxiv.org/abs/2301.13188   (with the mean; a few copies of t_1 leave the median unchanged)

A copy's ratio is near 0. The distance alone would not do: smooth images lie near to everything; the
ratio reduces this effect, but not to zero (``Audit.grain``). Distances are measured between pixels
and between the features of a fixed network, for copies that no longer agree pixel by pixel
(Somepalli and others: Diffusion Art or Digital Forgery?, 2022, https://arxiv.org/abs/2212.03860);
mirrored or shifted by a pixel, a copy is a copy still.

The threshold comes from real images not used in training, as in Meehan, Chaudhuri, Dasgupta:
A Non-Parametric Test to Detect Data-Copying in Generative Models (2020),
https://arxiv.org/abs/2004.05675. It is the r-th smallest of their m ratios, where
r / (m + 1) is about ``LEVEL``. Of n images generated from the same distribution, the number below
the threshold is beta-binomial with n, r and m + 1 - r, whatever the distribution; more indicate
copying.
"""

import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import scipy
import torch
from torch import Tensor
from torch.nn import functional as F

from souron.audit import datasheet as ledgers
from souron.data import duplicates, splits
from souron.data.dataset import Dataset
from souron.evaluation import embedding, obedience, sampling
from souron.runs import folder as run_folder
from souron.runs import generate, prepare, train
from souron.runs.events import Event
from souron.runs.reading import reading
from souron.stats import intervals
from souron.stats.records import Measure
from souron.utils import hardware
from souron.utils.messages import UserError, _

LEVEL = 0.01  # expected share of real images below the threshold
DOUBT = 0.05  # false alarm rate of a verdict of copying, over all distances
NEIGHBOURS = 50
SIDE = 32  # pixels, to which larger images are reduced for the pixel distance
MOST_CONTROL = 1000  # real images
FEWEST_CONTROL, FEWEST_LEARNT = 5, 5
MOST = 4000  # generated images
MOST_SEEN = 60_000  # training images for the feature distance
SMOOTH = 0.7  # of the real images' grain; below it, flags are doubtful
FENCE = 3.0  # interquartile ranges below the lower quartile: far outliers, after Tukey
QUERIES, KNOWN = 128, 2048  # images compared at once


class Extractor(Protocol):
    """A fixed network for image features."""

    @property
    def name(self) -> str: ...

    def features(self, image: Tensor) -> Tensor:
        """Return features (N, D) of images (N, C, H, W) in 0..255."""
        ...


class Change(NamedTuple):
    """A transformation that a copy may have undergone."""

    mirror: bool = False
    down: int = 0  # pixels
    right: int = 0

    def of(self, image: Tensor) -> Tensor:
        """Apply the change to images (N, C, H, W), repeating edges."""
        if self.mirror:
            image = image.flip(-1)
        if not (self.down or self.right):
            return image
        height, width = image.shape[-2:]
        edged = F.pad(image.float(), (1, 1, 1, 1), "replicate")
        top, left = 1 - self.down, 1 - self.right
        return edged[..., top : top + height, left : left + width].to(image.dtype)

    def __str__(self) -> str:
        told = [_("mirrored")] if self.mirror else []
        return ", ".join([*told, _("shifted by a pixel")] if self.down or self.right else told)


SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))


@dataclass(frozen=True)
class Space:
    """A distance between images."""

    name: str  # "pixels", "features"
    see: Callable[[Tensor], Tensor]  # (N, C, H, W) in 0..255 -> (N, D)
    changes: tuple[Change, ...]
    about: str = ""  # name of the network
    most: int = sys.maxsize  # most training images compared


def pixels() -> Space:
    """Return the root mean square difference of pixel values, in levels of 0..255."""
    changes = tuple(Change(m, *shift) for m, shift in itertools.product((False, True), SHIFTS))
    return Space("pixels", _pixels, changes)


def features(eye: Extractor) -> Space:
    """Return the distance between the features of a fixed network."""
    return Space("features", eye.features, (Change(), Change(mirror=True)), eye.name, MOST_SEEN)


def _pixels(image: Tensor) -> Tensor:
    """Flatten images to (N, D), scaled so that distances are root mean squares.

    Larger images are reduced.
    """
    values = image.float()
    if image.shape[-1] > SIDE:
        values = F.interpolate(values, (SIDE, SIDE), mode="bilinear", antialias=True)
    values = values.flatten(1)
    return (values - 127.5) / math.sqrt(values.shape[1])


@dataclass(frozen=True)
class Nearest:
    """The nearest training image of each image."""

    row: Tensor  # (N,) index of the training image
    distance: Tensor  # (N,)
    ratio: Tensor  # (N,)
    change: Tensor  # (N,) index of the space's change with the least distance

    def only(self, chosen: Tensor) -> "Nearest":
        return Nearest(*(values[chosen] for values in vars(self).values()))


@dataclass(frozen=True)
class Found:
    """The results for one distance."""

    space: Space
    drawn: Nearest
    control: Nearest
    threshold: float

    @property
    def flagged(self) -> Tensor:
        """Return a mask (N,) of the flagged generated images."""
        return self.drawn.ratio <= self.threshold

    @property
    def real(self) -> Tensor:
        """Return a mask (M,) of the flagged real images."""
        return self.control.ratio <= self.threshold

    @property
    def chance(self) -> float:
        """Return the p-value of the number flagged, under the control's distribution."""
        n, m, rank = len(self.flagged), len(self.real), rank_of(len(self.real))
        return float(scipy.stats.betabinom.sf(int(self.flagged.sum()) - 1, n, rank, m + 1 - rank))


@dataclass(frozen=True)
class Pair:
    """A generated image and its nearest training image, for the most suspicious distance."""

    picture: int  # index within the seed
    row: int  # index of the training image
    file: str
    space: str
    distance: float
    ratio: float
    change: str
    flagged: bool


@dataclass
class Audit:
    """An audit of a generator; ``learnt`` and ``held`` are the training and held-out images."""

    run: str
    system: str
    data: str
    seed: int
    image: Tensor  # (N, C, H, W) uint8, generated
    learnt: Dataset
    held: Dataset
    grain: float  # generated over real; below 1 the generated ones are smoother
    copies: int  # held-out images excluded from the control as copies of training images
    found: list[Found]
    pairs: list[Pair]  # of every generated image, worst first
    changed: bool = False  # whether the data differ from the run's receipt
    ledger: ledgers.Datasheet | None = None

    @property
    def samples(self) -> int:
        return len(self.image)

    @property
    def flagged(self) -> Measure:
        """Return the share of generated images that any distance flags."""
        return intervals.proportion_interval(sum(pair.flagged for pair in self.pairs), self.samples)

    @property
    def control(self) -> Measure:
        """Return the share of real images that any distance flags."""
        real = torch.stack([one.real for one in self.found]).any(0)
        return intervals.proportion_interval(int(real.sum()), len(real))

    @property
    def copies_too_much(self) -> bool:
        return any(one.chance * len(self.found) < DOUBT for one in self.found)

    @property
    def place(self) -> Path:
        """Return the folder for its page."""
        return generate.own_place(Path(self.run))

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``souron audit memorisation --json`` prints."""
        drawn, real = self.flagged, self.control
        return {
            "run": self.run,
            "system": self.system,
            "data": self.data,
            "seed": self.seed,
            "samples": self.samples,
            "flagged": sum(pair.flagged for pair in self.pairs),
            "rate": drawn.value,
            "low": drawn.low,
            "high": drawn.high,
            "control": real.n,
            "control_rate": real.value,
            "control_low": real.low,
            "control_high": real.high,
            "grain": self.grain,
            "held_out_copies": self.copies,
            "copies": self.copies_too_much,
            "data_changed": self.changed,
            "distances": [
                {
                    "name": one.space.name,
                    "threshold": one.threshold,
                    "flagged": int(one.flagged.sum()),
                    "chance": one.chance,
                }
                for one in self.found
            ],
            "pairs": [asdict(pair) for pair in self.pairs],
        }


def auditing(run: str | Path, n: int = 256, seed: int = 0, device: str = "auto") -> Iterator[Event]:
    """Generate ``n`` images with a run and compare each with all training images.

    They are compared by pixels and by the features suited to the data (``embedding``). The last
    event carries the ``Audit``. Raises UserError.
    """
    folder = run_folder.find(run)
    args = run_folder.read_args(folder)
    if not 1 <= n <= MOST:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="n", value=n),
            expected=f"1..{MOST}",
            fix="n=256",
        )
    system = generate.generator(folder, args)
    system.to(hardware.device(device))
    told = ledgers.read(folder)
    yield Event("data", text=str(args["data"]))
    cases = yield from reading(args)
    split = prepare.read_split(folder, cases, prepare.task_of(args))
    image = torch.empty(0)
    for sample in sampling.Sample.growing(system, n, seed):
        image = sample.image
        left = sample.seconds * (n - len(image))
        yield Event("draw", len(image) / n, left)
    eye = None
    known = obedience.with_classes(cases) if cases.has_captions else cases
    for done, made in embedding.feature_extractor(known, split.train):
        eye = made
        yield Event("features", done, text=_("training the network that compares images"))
    assert eye is not None
    spaces = [pixels(), features(eye)]
    learnt = cases.only(split.train)
    held = cases.only(torch.cat([split.val, split.test]))
    audit, text = None, _("with {count} training images").format(count=len(learnt))
    for done, found in compare(image, learnt, held, spaces):
        audit = found
        yield Event("compare", done, text=text)
    assert audit is not None
    audit.run, audit.system, audit.data = str(folder), str(args["system"]), str(args["data"])
    audit.seed, audit.ledger = seed, told
    audit.changed = told.hash != train.receipt(args, cases)["data"]["hash"]
    yield Event("done", 1.0, record=audit)


def compare(
    image: Tensor, learnt: Dataset, held: Dataset, spaces: Sequence[Space]
) -> Iterator[tuple[float, Audit | None]]:
    """Audit generated images ``image`` (N, C, H, W) in 0..255; yields progress, and the audit last.

    A copy is nearer to an image in ``learnt`` than those in ``held`` are. The first of ``spaces``
    finds held-out images that are copies themselves and excludes them from the control. Raises
    UserError if there are too few images.
    """
    first = sorted(set(splits.same_picture(learnt)))  # repeated, a picture counts once
    learnt = learnt.only(first)
    _check(len(learnt), FEWEST_LEARNT, _("different training images"))
    order = torch.randperm(len(held), generator=torch.Generator().manual_seed(0))
    held = held.only(order[:MOST_CONTROL])
    equal = set(splits.shared(learnt, held))
    held = held.only([i for i, file in enumerate(held.file) if file not in equal])
    _check(len(held), FEWEST_CONTROL, _("images it was not trained on"))
    own: list[Nearest] = []
    theirs: list[Nearest] = []
    for number, space in enumerate(spaces):
        both = torch.cat([image.to(held.input.dtype), held.input[:]])
        near = None
        for done, found in nearest(both, learnt.input, space):
            near = found
            yield (number + done) / len(spaces), None
        assert near is not None
        own.append(near.only(torch.arange(len(image))))
        theirs.append(near.only(torch.arange(len(image), len(both))))
    new = ~are_copies(held.input, learnt.input, theirs[0], spaces[0])
    ways = [
        Found(space, drawn, real.only(new), threshold(real.ratio[new]))
        for space, drawn, real in zip(spaces, own, theirs, strict=True)
    ]
    held = held.only(new.nonzero().flatten())
    copies = len(equal) + int((~new).sum())
    finer = (grain(image).median() / grain(held.input[:]).median().clamp(min=1e-6)).item()
    yield 1.0, Audit("", "", "", 0, image, learnt, held, finer, copies, ways, _pairs(ways, learnt))


def rank_of(count: int) -> int:
    """Return the rank of the threshold among ``count`` control ratios, the smallest first."""
    return max(1, math.floor(LEVEL * (count + 1)))


def threshold(ratio: Tensor) -> float:
    return ratio.kthvalue(rank_of(len(ratio))).values.item()


def grain(image: Tensor) -> Tensor:
    """Return the root mean square (N,) of details finer than three pixels, in levels."""
    values = image.float()
    coarse = F.avg_pool2d(F.pad(values, (1, 1, 1, 1), "replicate"), 3, 1)
    return (values - coarse).flatten(1).square().mean(1).sqrt()


def _check(count: int, fewest: int, what: str) -> None:
    if count < fewest:
        raise UserError(
            "too few",
            _("there are {count} {what}").format(count=count, what=what),
            expected=_("at least {count}").format(count=fewest),
            exit=3,
        )


@torch.inference_mode()
def nearest(image: Tensor, learnt: Tensor, space: Space) -> Iterator[tuple[float, Nearest | None]]:
    """Yield progress 0..1 and, at the end, the nearest training image of each image (N, C, H, W).

    The training images are processed in batches, so that memory does not grow with them.
    """
    rows = torch.arange(len(learnt))
    if len(rows) > space.most:
        rows = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[: space.most]
    crowds = [Crowd.of(some, space) for some in image.split(QUERIES)]
    pieces = rows.split(KNOWN)
    for done, piece in enumerate(pieces, 1):
        known = space.see(learnt[piece])
        for crowd in crowds:
            crowd.meet(known, piece)
        yield done / (len(pieces) + 1), None
    yield 1.0, Nearest(*map(torch.cat, zip(*(crowd.nearest(learnt, space) for crowd in crowds),
                                           strict=True)))  # fmt: skip


@dataclass
class Crowd:
    """A batch of images with their nearest training images so far, the nearest first."""

    seen: Tensor  # (V, B, D) features under each change
    square: Tensor  # (B, k) distances
    row: Tensor  # (B, k) indices of training images
    change: Tensor  # (B, k)

    @classmethod
    def of(cls, image: Tensor, space: Space) -> "Crowd":
        seen = torch.stack([space.see(change.of(image)) for change in space.changes])
        none = torch.empty(len(image), 0, dtype=torch.long)
        return cls(seen, none.float(), none, none)

    def meet(self, known: Tensor, row: Tensor) -> None:
        """Compare with more training images (K, D), whose indices are ``row``."""
        # |a - b|^2 = |a|^2 + |b|^2 - 2 a b
        apart = torch.stack([
            torch.addmm(known.square().sum(1), one, known.T, alpha=-2).add_(
                one.square().sum(1, keepdim=True)
            )
            for one in self.seen
        ])  # (V, B, K)  # fmt: skip
        least, change = apart.min(0)
        square = torch.cat([self.square, least], 1)
        self.square, kept = square.topk(min(NEIGHBOURS, square.shape[1]), largest=False)
        self.row = torch.cat([self.row, row.expand(len(least), -1)], 1).gather(1, kept)
        self.change = torch.cat([self.change, change], 1).gather(1, kept)

    def nearest(self, learnt: Tensor, space: Space) -> tuple[Tensor, ...]:
        """Return the fields of ``Nearest``."""
        row, change = self.row[:, 0], self.change[:, 0]
        mine = self.seen[change, torch.arange(len(row))]
        # recomputed without the rounding of the sum above, which matters near 0
        distance = (mine - space.see(learnt[row])).norm(dim=1)
        typical = self.square.clamp(min=0).sqrt().median(1).values
        return row, distance, distance / typical.clamp(min=1e-6), change


def are_copies(held: Tensor, learnt: Tensor, near: Nearest, space: Space) -> Tensor:
    """Return a mask (N,) of held-out images that are copies of training images.

    They equal a training image up to brightness, and are far nearer than the others. They would
    make the threshold 0.
    """
    logs = near.ratio.clamp(min=1e-6).log()
    low, high = logs.quantile(torch.tensor([0.25, 0.75]))
    copies = logs < low - FENCE * (high - low)
    for i in copies.nonzero().flatten().tolist():
        change = space.changes[int(near.change[i])]
        mine, theirs = change.of(held[i : i + 1]), learnt[near.row[i]][None]
        likeness = duplicates.alike(mine.float(), theirs.float(), duplicates.FINE)
        copies[i] = likeness[0] > duplicates.ALIKE_FINE
    return copies


def _pairs(found: list[Found], learnt: Dataset) -> list[Pair]:
    relative = torch.stack([
        one.drawn.ratio / max(one.threshold, 1e-6) for one in found
    ])  # (spaces, N)  # fmt: skip
    least, which = relative.min(0)
    pairs = []
    for i in least.argsort(stable=True).tolist():
        one = found[int(which[i])]
        row = int(one.drawn.row[i])
        pairs.append(Pair(
            i, row, learnt.file[row], one.space.name, round(one.drawn.distance[i].item(), 4),
            round(one.drawn.ratio[i].item(), 4), str(one.space.changes[int(one.drawn.change[i])]),
            any(bool(each.flagged[i]) for each in found),
        ))  # fmt: skip
    return pairs


def sentence(audit: Audit) -> str:
    """Return the verdict in words."""
    drawn = audit.flagged
    said = {
        "flagged": sum(pair.flagged for pair in audit.pairs),
        "n": audit.samples,
        "control": f"{100 * audit.control.value:.1f} %",
        "high": f"{100 * drawn.high:.1f} %",
    }
    if audit.copies_too_much:
        return _(
            "It copies: {flagged} of {n} generated images lie nearer to a training image than "
            "real images do, of which {control} lie that near."
        ).format(**said)
    return _(
        "No sign of copying in {n} images: {flagged} lie as near to a training image as "
        "{control} of real ones do. Fewer than {high} could have been copied unnoticed."
    ).format(**said)
