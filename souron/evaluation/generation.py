"""How good a generator's pictures are: the figures of its report.

Real test pictures, as many as are drawn, are seen through a fixed network (``embedding``) and held
against the drawn ones (``generation``). Beside them stands the floor: the same figures for real
pictures that nothing has learnt from, which no generator needs to beat.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from souron.data.dataset import Dataset, Loader
from souron.data.splits import Parts, Split
from souron.evaluation import embedding
from souron.evaluation.embedding import FeatureExtractor
from souron.evaluation.sampling import Sample
from souron.metrics import generation
from souron.metrics.generation import Resemblance
from souron.stats import intervals
from souron.stats.records import Measure

SAMPLE = 500  # pictures drawn, and real ones beside them
AT_A_LOOK = 64  # pictures drawn at each look while it learns
LOOKING = 0.2  # of its training's seconds that these may take
COLLAPSED = 0.1  # recall; what is less is called a suspected mode collapse
HEADLINE = "Fréchet distance"


@dataclass
class ReferenceSet:
    """Real pictures, seen once, that drawn ones are held against."""

    eye: FeatureExtractor
    test: Dataset  # the real pictures, as many as will be drawn
    real: tuple[Tensor, Tensor | None]  # features (N, D), probabilities (N, labels), of test cases
    watched: tuple[Tensor, Tensor | None]  # of validation cases, for looks while it learns
    floor: Resemblance | None  # real beside real; None where there are too few pictures

    @classmethod
    def of(cls, eye: FeatureExtractor, parts: Parts, count: int = SAMPLE) -> "ReferenceSet":
        """``count`` pictures of each, or as many as there are."""
        test, val = _mixed(parts.test), _mixed(parts.val)
        count = min(count, len(test))
        chosen = test.only(range(count))
        others = torch.cat([val.image[:count], test.image[count : 2 * count]])[:count]
        real = eye.see(chosen.image)
        watched = eye.see(val.image[:count]) if len(val) else real
        floor = None
        if len(others) == count >= generation.FEWEST:
            floor = _resemble(eye, real, eye.see(others), chosen.units)
        return cls(eye, chosen, real, watched, floor)

    def hold(self, image: Tensor) -> Resemblance:
        """Drawn pictures (M, C, H, W) uint8 against the test cases."""
        return _resemble(self.eye, self.real, self.eye.see(image), self.test.units)

    def look(self, image: Tensor) -> float:
        """Kernel distance to validation cases, which few pictures do not bias."""
        return generation.kernel(self.watched[0].numpy(), self.eye.see(image)[0].numpy()).value


@dataclass
class Watcher:
    """What a look shows while a generator learns, as long as there is time for it."""

    scale: ReferenceSet
    fit: Any
    seconds: float = 0.0

    def __call__(self, system: Any) -> dict[str, float]:
        if self.seconds > LOOKING * self.fit.seconds:
            return {}
        learning = system.training
        *_before, sample = Sample.growing(system, AT_A_LOOK, seed=0)
        system.train(learning)
        self.seconds += sample.seconds * AT_A_LOOK
        return {"kernel distance": self.scale.look(sample.image)}


@dataclass
class GenerationResult:
    """What was found of one trained generator."""

    scale: ReferenceSet
    resemblance: Resemblance
    sample: Tensor  # (M, C, H, W) uint8
    seconds: float  # that a picture took
    measures: dict[str, Measure] = field(default_factory=dict)

    @property
    def collapsed(self) -> bool:
        """Whether mode collapse is suspected."""
        recall = self.measures.get("recall")
        return recall is not None and recall.value < COLLAPSED

    def as_json(self) -> dict[str, Any]:
        floor, classes = self.scale.floor, self.resemblance.classes
        return {
            "eye": self.scale.eye.name,
            "samples": len(self.sample),
            "seconds_a_picture": self.seconds,
            "floor": {} if floor is None else {n: vars(m) for n, m in floor.measures.items()},
            "classes": None if classes is None else {
                label: {"real": real, "drawn": drawn}
                for label, real, drawn in zip(
                    classes.labels, classes.real, classes.drawn, strict=True
                )
            },
            "mode_collapse_suspected": self.collapsed,
        }  # fmt: skip


def reference_set(
    everything: Dataset, split: Split, count: int
) -> Iterator[tuple[float, ReferenceSet | None]]:
    """How far it is, 0..1, and at the end the scale, with an eye that learnt from the training
    cases alone."""
    for done, eye in embedding.feature_extractor(everything, split.train):
        yield 0.9 * done, None
        if eye is not None:
            yield 1.0, ReferenceSet.of(eye, split.deal(everything), count)


def appraise(
    system: Any, scale: ReferenceSet, seed: int
) -> Iterator[tuple[float, GenerationResult | None]]:
    """How far it is, 0..1, and at the end what was found."""
    sample, count = Sample(torch.empty(0), 0.0), len(scale.test)
    for so_far in Sample.growing(system, count, seed):
        sample = so_far
        yield 0.9 * len(sample.image) / count, None
    found = scale.hold(sample.image)
    measures = dict(found.measures)
    measures |= {
        name: intervals.interval(bits.numpy(), scale.test.units)
        for name, bits in likelihood(system, scale).items()
    }
    yield 1.0, GenerationResult(scale, found, sample.image, sample.seconds, measures)


def likelihood(system: Any, scale: ReferenceSet) -> dict[str, Tensor]:
    """Bits per dimension of each real picture (N,), where the system can tell."""
    return system.evaluate(Loader(scale.test, system.prepare, device=system.device))


def _resemble(
    eye: FeatureExtractor,
    real: tuple[Tensor, Tensor | None],
    drawn: tuple[Tensor, Tensor | None],
    units: list[str] | None,
) -> Resemblance:
    said = [None if part is None else part.numpy() for part in (real[1], drawn[1])]
    return generation.resemble(
        real[0].numpy(), drawn[0].numpy(), said[0], said[1], eye.labels, units
    )


def _mixed(cases: Dataset) -> Dataset:
    """In an order that no class and no folder decides, the same every time."""
    order = torch.randperm(len(cases), generator=torch.Generator().manual_seed(0))
    return cases.only(order)


@dataclass(frozen=True)
class Gallery:
    """What compared generators drew, and what it was held against."""

    eye: str  # the network that looked
    sample: int  # pictures of each training, and real ones beside them
    floor: dict[str, Measure]  # real pictures in place of drawn ones
    real: Tensor  # (N, C, H, W)
    drawn: dict[str, list[Tensor]]  # system -> (N, C, H, W) uint8 of each seed
    seconds: dict[str, list[float]]  # system -> that a picture took, each seed
    classes: dict[str, Any]  # system -> resembling.Classes of the first seed, or None

    def as_json(self) -> dict[str, Any]:
        return {
            "eye": self.eye,
            "samples": self.sample,
            "floor": {name: asdict(measure) for name, measure in self.floor.items()},
            "seconds_a_picture": self.seconds,
        }
