"""Evaluate image generators: the figures of their reports.

Real test images, as many as are generated, pass through a fixed network (``embedding``) and are
compared with the generated ones (``generation``). The floor is the same comparison between two sets
of real images that no system was trained on; no generator needs to beat it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from souron.data.dataset import Dataset
from souron.data.splits import Parts, Split
from souron.evaluation.answers import Answers, Setup, dense
from souron.evaluation.generators import embedding
from souron.evaluation.generators.embedding import FeatureExtractor
from souron.evaluation.generators.sampling import Sample
from souron.metrics import generation
from souron.metrics.generation import Resemblance
from souron.stats.records import Measure

SAMPLE = 500  # images generated, and as many real ones
AT_A_LOOK = 64  # images generated at each validation during training
LOOKING = 0.2  # fraction of the training time that these may take


@dataclass
class ReferenceSet(Setup):
    """Real images and their features, with which generated images are compared.

    ``test`` holds as many as will be generated.
    """

    extractor: FeatureExtractor = field(kw_only=True)
    real: tuple[Tensor, Tensor | None] = field(kw_only=True)  # features (N, D), probabilities
    # (N, labels), of the test images
    watched: tuple[Tensor, Tensor | None] = field(kw_only=True)  # of validation images
    floor: Resemblance | None = field(kw_only=True)  # two sets of real images; None where
    # there are too few
    looked: float = 0.0  # seconds spent on the validations of one training
    _known: list[tuple[Answers, Resemblance]] = field(default_factory=list)

    @classmethod
    def of(cls, extractor: FeatureExtractor, parts: Parts, count: int = SAMPLE, options: Any = None) -> "ReferenceSet":
        """Take ``count`` images of the test part and of the validation part, or as many
        as there are.
        """
        test, val = _shuffled(parts.test), _shuffled(parts.val)
        count = min(count, len(test))
        cases = test.only(range(count))
        others = torch.cat([val.input[:count], test.input[count : 2 * count]])[:count]
        real = extractor.see(cases.input)
        validation = extractor.see(val.input[:count]) if len(val) else real
        floor = None
        if len(others) == count >= generation.FEWEST:
            floor = _resemble(extractor, real, extractor.see(others), cases.units)
        return cls(options, cases, extractor=extractor, real=real, watched=validation, floor=floor)

    def resemblance(self, answers: Answers) -> Resemblance:
        """Compute how similar the generated images are to the test images; the result is cached."""
        for earlier, resemblance in self._known:
            if earlier is answers:
                return resemblance
        features, probability = answers["features"], answers.get("probability")
        assert isinstance(features, Tensor)
        assert probability is None or isinstance(probability, Tensor)
        resemblance = _resemble(self.extractor, self.real, (features, probability), self.test.units)
        self._known.append((answers, resemblance))
        return resemblance

    def kernel_distance(self, image: Tensor) -> float:
        """Compute the kernel distance of images (N, C, H, W) to validation images.

        It is unbiased for small samples.
        """
        features = self.extractor.see(image)[0]
        return generation.kernel(self.watched[0].numpy(), features.numpy()).value


@dataclass
class GenerationResult:
    """The results of one trained generator for its report."""

    reference: ReferenceSet
    resemblance: Resemblance
    sample: Tensor  # (M, C, H, W) uint8
    seconds: float  # per image
    measures: dict[str, Measure]

    @property
    def collapsed(self) -> bool:
        """Return whether mode collapse is suspected."""
        recall = self.measures.get("recall")
        return recall is not None and recall.value < generation.COLLAPSED

    def as_json(self) -> dict[str, Any]:
        floor, classes = self.reference.floor, self.resemblance.classes
        return {
            "eye": self.reference.extractor.name,
            "samples": len(self.sample),
            "seconds_a_picture": self.seconds,
            "floor": {} if floor is None else {n: vars(m) for n, m in floor.measures.items()},
            "classes": None
            if classes is None
            else {
                label: {"real": real, "drawn": generated}
                for label, real, generated in zip(classes.labels, classes.real, classes.drawn, strict=True)
            },
            "mode_collapse_suspected": self.collapsed,
        }


def reference_set(
    everything: Dataset, split: Split, count: int, options: Any = None
) -> Iterator[tuple[float, ReferenceSet | None]]:
    """Yield (fraction done 0..1, None), and at the end the reference set.

    Its feature extractor is trained on the training cases alone.
    """
    for share, extractor in embedding.feature_extractor(everything, split.train):
        yield 0.9 * share, None
        if extractor is not None:
            yield 1.0, ReferenceSet.of(extractor, split.deal(everything), count, options)


def answers_of(sample: Sample, reference: ReferenceSet) -> Answers:
    """Return generated images as ``Answers``: pixels, features, and predicted probabilities."""
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
    generated: tuple[Tensor, Tensor | None],
    units: list[str] | None,
) -> Resemblance:
    probabilities = [None if part is None else part.numpy() for part in (real[1], generated[1])]
    return generation.resemble(
        real[0].numpy(), generated[0].numpy(), probabilities[0], probabilities[1], extractor.labels, units
    )


def _shuffled(cases: Dataset) -> Dataset:
    """Shuffle with a fixed seed, so that the order does not depend on classes or folders."""
    order = torch.randperm(len(cases), generator=torch.Generator().manual_seed(0))
    return cases.only(order)


def gallery(answers: Mapping[str, Sequence[Answers]], reference: ReferenceSet) -> "Gallery":
    """Collect the images of compared generators; ``answers`` maps a system to its seeds'
    answers.
    """
    return Gallery(
        eye=reference.extractor.name,
        sample=len(reference.test),
        floor=reference.floor.measures if reference.floor else {},
        real=reference.test.input[:],
        drawn={name: [dense(seed, "image") for seed in seeds] for name, seeds in answers.items()},
        seconds={name: [float(seed["seconds"][0]) for seed in seeds] for name, seeds in answers.items()},
        classes={name: reference.resemblance(seeds[0]).classes for name, seeds in answers.items()},
    )


@dataclass(frozen=True)
class Gallery:
    """Images of compared generators, with their references."""

    eye: str  # the feature extractor
    sample: int  # images of each training, and as many real ones
    floor: dict[str, Measure]  # real images in place of generated ones
    real: Tensor  # (N, C, H, W)
    drawn: dict[str, list[Tensor]]  # system -> (N, C, H, W) uint8 of each seed
    seconds: dict[str, list[float]]  # system -> seconds per image of each seed
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
