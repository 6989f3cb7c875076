"""How good a generator's pictures are: the figures of its report.

Real test pictures, as many as are drawn, are seen through a fixed network (``embedding``) and held
against the drawn ones (``generation``). Beside them stands the floor: the same figures for real
pictures that nothing has learnt from, which no generator needs to beat.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from souron.data.dataset import Dataset
from souron.data.splits import Parts, Split
from souron.evaluation import embedding
from souron.evaluation.answers import Answers, Setup, dense
from souron.evaluation.embedding import FeatureExtractor
from souron.evaluation.sampling import Sample
from souron.metrics import generation
from souron.metrics.generation import Resemblance
from souron.stats.records import Measure

SAMPLE = 500  # pictures drawn, and real ones beside them
AT_A_LOOK = 64  # pictures drawn at each look while it learns
LOOKING = 0.2  # of its training's seconds that these may take


@dataclass
class ReferenceSet(Setup):
    """Real pictures, seen once, that drawn ones are compared with. ``test`` holds as many as will
    be drawn."""

    extractor: FeatureExtractor = field(kw_only=True)
    real: tuple[Tensor, Tensor | None] = field(kw_only=True)  # features (N, D), probabilities
    # (N, labels), of the test pictures
    watched: tuple[Tensor, Tensor | None] = field(kw_only=True)  # of validation pictures
    floor: Resemblance | None = field(kw_only=True)  # real pictures beside real ones; None where
    # there are too few
    looked: float = 0.0  # seconds that looks at one training have taken
    _known: list[tuple[Answers, Resemblance]] = field(default_factory=list)

    @classmethod
    def of(
        cls, extractor: FeatureExtractor, parts: Parts, count: int = SAMPLE, options: Any = None
    ) -> "ReferenceSet":
        """``count`` pictures of each, or as many as there are."""
        test, val = _shuffled(parts.test), _shuffled(parts.val)
        count = min(count, len(test))
        chosen = test.only(range(count))
        others = torch.cat([val.input[:count], test.input[count : 2 * count]])[:count]
        real = extractor.see(chosen.input)
        watched = extractor.see(val.input[:count]) if len(val) else real
        floor = None
        if len(others) == count >= generation.FEWEST:
            floor = _resemble(extractor, real, extractor.see(others), chosen.units)
        return cls(options, chosen, extractor=extractor, real=real, watched=watched, floor=floor)

    def resemblance(self, answers: Answers) -> Resemblance:
        """How near the drawn pictures come to the test pictures, computed once."""
        for known, found in self._known:
            if known is answers:
                return found
        features, probability = answers["features"], answers.get("probability")
        assert isinstance(features, Tensor)
        assert probability is None or isinstance(probability, Tensor)
        found = _resemble(self.extractor, self.real, (features, probability), self.test.units)
        self._known.append((answers, found))
        return found

    def kernel_distance(self, image: Tensor) -> float:
        """Of pictures (N, C, H, W) to validation pictures; few pictures do not bias it."""
        seen = self.extractor.see(image)[0]
        return generation.kernel(self.watched[0].numpy(), seen.numpy()).value


@dataclass
class GenerationResult:
    """What the report says of one trained generator."""

    reference: ReferenceSet
    resemblance: Resemblance
    sample: Tensor  # (M, C, H, W) uint8
    seconds: float  # that a picture took
    measures: dict[str, Measure]

    @property
    def collapsed(self) -> bool:
        """Whether mode collapse is suspected."""
        recall = self.measures.get("recall")
        return recall is not None and recall.value < generation.COLLAPSED

    def as_json(self) -> dict[str, Any]:
        floor, classes = self.reference.floor, self.resemblance.classes
        return {
            "eye": self.reference.extractor.name,
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
    everything: Dataset, split: Split, count: int, options: Any = None
) -> Iterator[tuple[float, ReferenceSet | None]]:
    """How far it is, 0..1, and at the end the reference set; its feature extractor learnt from the
    training cases alone."""
    for done, extractor in embedding.feature_extractor(everything, split.train):
        yield 0.9 * done, None
        if extractor is not None:
            yield 1.0, ReferenceSet.of(extractor, split.deal(everything), count, options)


def answers_of(sample: Sample, reference: ReferenceSet) -> Answers:
    """Drawn pictures as answers: pixels, features, and what the extractor takes them for."""
    features, probability = reference.extractor.see(sample.image)
    return {
        "image": sample.image,
        "seconds": torch.full((len(sample.image),), sample.seconds),
        "features": features,
        **({} if probability is None else {"probability": probability}),
    }


def _resemble(
    extractor: FeatureExtractor,
    real: tuple[Tensor, Tensor | None],
    drawn: tuple[Tensor, Tensor | None],
    units: list[str] | None,
) -> Resemblance:
    said = [None if part is None else part.numpy() for part in (real[1], drawn[1])]
    return generation.resemble(
        real[0].numpy(), drawn[0].numpy(), said[0], said[1], extractor.labels, units
    )


def _shuffled(cases: Dataset) -> Dataset:
    """In an order that no class and no folder decides, the same every time."""
    order = torch.randperm(len(cases), generator=torch.Generator().manual_seed(0))
    return cases.only(order)


def gallery(answers: Mapping[str, Sequence[Answers]], reference: ReferenceSet) -> "Gallery":
    """What compared generators drew: system -> the answers of each seed."""
    return Gallery(
        eye=reference.extractor.name,
        sample=len(reference.test),
        floor=reference.floor.measures if reference.floor else {},
        real=reference.test.input[:],
        drawn={name: [dense(seed, "image") for seed in seeds] for name, seeds in answers.items()},
        seconds={
            name: [float(seed["seconds"][0]) for seed in seeds] for name, seeds in answers.items()
        },
        classes={name: reference.resemblance(seeds[0]).classes for name, seeds in answers.items()},
    )


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
            "generation": {
                "eye": self.eye,
                "samples": self.sample,
                "floor": {name: asdict(measure) for name, measure in self.floor.items()},
                "seconds_a_picture": self.seconds,
            }
        }
