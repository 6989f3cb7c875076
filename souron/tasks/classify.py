"""Image classification: an image in, class probabilities out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from souron import registry
from souron.blocks.portable import Input, Pixels, Portable
from souron.data import transforms
from souron.data.dataset import Dataset, Loader, Rows, check_classes
from souron.evaluation import chest_films, summary
from souron.evaluation.answers import stacked
from souron.evaluation.vision import classification, corruptions
from souron.evaluation.vision.classification import ClassificationResult
from souron.hub import chest_findings, published, weights
from souron.kinds.findings import Findings
from souron.kinds.labels import Labels
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.metrics.classification import auc_scores, score
from souron.metrics.metric import Metric
from souron.stats.records import Measure
from souron.system import System
from souron.task import Answers, Augment, Scores, Setup, Step, Task, Trainings
from souron.training import checkpoint
from souron.training.trainer import autocast
from souron.utils.messages import N_, UserError, _

FEWEST_PIXELS = 64  # smallest side for which published weights are useful
MOST_LOOKED_AT = 60_000_000  # pixel values for the mean and deviation; more would not change them
FEW_CASES = 500  # training cases below which published weights are recommended
REHEARSED = 16  # cases in a rehearsal


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a classifier needs before it is built."""

    channels: int
    side: int  # pixels
    labels: tuple[str, ...]
    mean: tuple[float, ...] = (0.0,)  # of the training images in 0..1, one per channel
    std: tuple[float, ...] = (1.0,)


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W), zero mean and unit variance over the training images
    label: Tensor  # (B,)


class Classifier(System):
    """An image classifier: ``forward`` maps images (B, C, H, W) to logits (B, labels)."""

    task = "classify"

    head: ClassVar[str] = "fc"  # the layer that outputs the classes; replaced in transfer learning
    side_heads: ClassVar[tuple[str, ...]] = ()  # auxiliary output layers
    thresholds: tuple[float, ...] = ()  # one per label, where several may hold of one image
    spec: Spec

    def loss(self, batch: Batch) -> Tensor:
        return F.cross_entropy(self(batch.image), batch.label)

    @torch.inference_mode()
    def probabilities(self, data: Loader) -> Tensor:
        """Return class probabilities (cases, labels).

        Raises UserError where several labels may hold of one image.
        """
        if self.thresholds:
            raise UserError(
                "several findings",
                _("these weights name several findings of one image, the data one class each"),
                expected=_("training on these classes: pretrained=true"),
                exit=2,
            )
        return torch.cat([self(batch.image).float().softmax(1).cpu() for batch in data.once()])

    def reading(self) -> dict[str, Any]:
        return {"about": self.spec.side}

    @torch.inference_mode()
    def predict(self, picture: Picture) -> Labels:
        """Return the probability of each label for the central square of an image.

        Where several labels may hold, they are ``Findings``. Raises UserError for an image that is
        obviously no chest film then.
        """
        pixels = picture.square(self.spec.side, self.spec.channels)[None].to(self.device)
        logits = self(self.batch(Rows(pixels, None)).image).float()
        if self.thresholds:
            unlike = chest_films.familiarity(picture)
            scores = chest_findings.scores(logits.sigmoid()[0].tolist(), self.thresholds)
            return Findings(picture.file, self.spec.labels, scores, familiar=unlike)
        probability = logits.softmax(1)[0]
        return Labels(picture.file, self.spec.labels, tuple(probability.tolist()))

    def portable(self) -> Portable:
        side, channels, least = self.spec.side, self.spec.channels, self.thresholds
        shift, scale = (part.clone() for part in _scaling(self.spec, self.device))

        def finish(logits: Tensor) -> tuple[Tensor]:
            return (logits.float().sigmoid() if least else logits.float().softmax(1),)

        return Portable(
            Pixels(self, finish, shift, scale),
            (Input("image", (channels, side, side)),),
            ("probability",),
            "square",
            "findings" if least else "labels",
            self.spec.labels,
            {} if least else {"probability": 1},
            {"side": side, "channels": channels, **({"thresholds": list(least)} if least else {})},
            of_rows=lambda rows: (rows,),
            of_kind=lambda picture: (picture.square(side, channels)[None],),
        )

    def freeze(self) -> None:
        """Freeze all layers but the head."""
        self.requires_grad_(False)
        self.get_submodule(self.head).requires_grad_(True)
        self.frozen = True

    def train(self, mode: bool = True) -> Self:
        """Set the mode; frozen layers stay in evaluation mode and keep their statistics."""
        super().train(mode)
        if mode and getattr(self, "frozen", False):
            super().train(False)
            self.get_submodule(self.head).train()
        return self

    def head_alone(self) -> "Head":
        """Return the last layer as a classifier over the features of the frozen layers."""
        return Head(self)


class Head(Classifier):
    """The last layer of a classifier, over features (B, D) instead of images.

    Its weights have the names of the whole network, so that the saved state is the whole
    network's.
    """

    def __init__(self, whole: Classifier) -> None:
        super().__init__(whole.config, whole.spec)
        self.layer = whole.get_submodule(whole.head)
        self._whole = [whole]  # in a list, so that it is not registered as a submodule

    @property
    def whole(self) -> Classifier:
        return self._whole[0]

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(image)

    def state_dict(self, *args: Any, **options: Any) -> Any:
        return self.whole.state_dict(*args, **options)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return self.whole.load_state_dict(state_dict, strict, assign)


@dataclass(frozen=True)
class Options:
    folds: Annotated[
        int | None, Choice(N_("cross-validate in N folds; 5 where cases are few, 1 for a single split"), low=1)
    ] = None
    repeats: Annotated[
        int | None, Choice(N_("repeats of the cross-validation (default 2, or 1 to save time)"), low=1)
    ] = None
    learning_curve: Annotated[
        int | None,
        Choice(N_("smaller training sets to cross-validate with (default 2, or 0 to save time)"), low=0, high=2),
    ] = None
    positive: Annotated[str | None, Choice(N_("the class to detect, such as a disease"))] = None
    prevalence: Annotated[
        float | None, Choice(N_("prevalence where it will be used, for predictive values"), low=0, high=1)
    ] = None
    sensitivity: Annotated[
        float | None, Choice(N_("what the threshold must reach on validation cases, such as 0.95"), low=0, high=1)
    ] = None


class Classification(Task):
    """The probability of each label for every test case."""

    title = N_("classification")
    takes = Picture
    gives = Labels
    published_from = "ImageNet-1k"
    fits = "classes"
    first_system = "efficientnet_lite"
    transfers = True
    metrics = (
        Metric(N_("accuracy"), unit="share", headline=True),
        Metric(N_("AUC"), headline=True, kind="area"),
        Metric(N_("sensitivity"), unit="share", headline=True),
        Metric(N_("specificity"), unit="share", headline=True),
        Metric(N_("positive predictive value"), unit="share"),
        Metric(N_("negative predictive value"), unit="share"),
        Metric(N_("balanced accuracy"), unit="share"),
        Metric(N_("Brier score"), higher_is_better=False, kind="loss", most=2.0),
        Metric(N_("log loss"), higher_is_better=False, kind="loss", most=27.64),
    )
    watches = "accuracy"
    not_compared = ("repeats", "learning_curve", "positive", "prevalence", "sensitivity")
    fewest_classes = 2
    inherits = ("mean", "std")
    augments = True

    def check(self, data: Dataset, options: Options) -> None:
        check_classes(data)
        classification.positive(options.positive, data.classes)

    def strata(self, data: Dataset) -> Tensor:
        return data.target

    def spec(self, train: Dataset) -> Spec:
        every = max(1, len(train) // 5000, train.input.numel() // MOST_LOOKED_AT)
        pixels = train.input[::every].float() / 255
        mean = pixels.mean((0, 2, 3))
        std = pixels.std((0, 2, 3)).clamp(min=1e-3)
        return Spec(train.channels, train.side, train.classes, tuple(mean.tolist()), tuple(std.tolist()))

    def example(self, system: type[System], size: str) -> Spec:
        row = published.about(system.WEIGHTS.get(size, ""))
        if row is not None and row.classes == chest_findings.CLASSES:
            return chest_spec()
        is_published = system.WEIGHTS and size not in ("tiny", "small")
        channels, side, labels = summary.IMAGENET if is_published else summary.SMALL
        return Spec(channels, side, tuple(map(str, range(labels))))

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        """Normalise images (B, C, H, W) in 0..255.

        Features (B, D) of a frozen network are returned unchanged.
        """
        if rows.input.ndim == 2:
            return Batch(rows.input, rows.target)
        shift, scale = _scaling(spec, rows.input.device)
        image = rows.input.to(torch.float32, copy=True).sub_(shift).div_(scale)
        return Batch(image, rows.target)

    def augmentation(self, names: Sequence[str]) -> Augment | None:
        change = transforms.augmentation(names)
        if change is None:
            return None
        return lambda rows, generator: rows._replace(input=change(rows.input, generator))

    def published(self, name: str, source: bool | str, config: Any = None, spec: Any = None) -> System:
        """Load published weights: all but the last layer with a ``spec``, else every layer.

        Raises UserError for images that the weights are not made for.
        """
        system_class, default_config = registry.load_system(name)
        config = config or default_config
        entry, size = registry.find(name)
        origin = system_class.published(size, config)
        tensors = weights.weights(name, origin)
        row = published.about(origin)
        if spec is not None:
            _check_published(spec, row.channels if row else 3)
        films = row is not None and row.classes == chest_findings.CLASSES
        own = chest_spec() if films else _photos(origin)
        model_spec = replace(spec, mean=own.mean, std=own.std) if spec else own
        model = system_class(config, model_spec)
        tensors = model.renamed(tensors)
        checkpoint.fill(model, tensors, Path(entry.name), but=self.head(model) if spec else ())
        if films and spec is None:
            model.thresholds = tuple(chest_findings.THRESHOLDS.values())
        return model

    def head(self, system: System) -> tuple[str, ...]:
        assert isinstance(system, Classifier)
        return (system.head, *system.side_heads)

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, Classifier)
        return score(system.probabilities(data), data.cases.target)

    def decide(self, system: System, val: Dataset, setup: Setup) -> dict[str, float]:
        positive = self._positive(setup)
        return classification.decide(system, val, positive, setup.options.sensitivity)

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        if setup.fast:
            with autocast(system.device)():
                probability = classification.probabilities(system, test)
        else:
            probability = classification.probabilities(system, test)
        decisions = {name: torch.full((len(test),), value).double() for name, value in decision.items()}
        yield Step(1.0, result={"probability": torch.from_numpy(probability), **decisions})

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        probability, label = stacked(seeds, "probability"), setup.test.target
        right = [score(torch.from_numpy(repeat), label)["accuracy"].numpy() for repeat in probability]
        tables: Scores = {"accuracy": np.stack(right)}
        if len(label.unique()) > 1:
            tables["AUC"] = auc_scores(probability, label.numpy(), setup.test.units)
        return tables

    def measures(self, seeds: Sequence[Answers], setup: Setup, training: Any = None) -> dict[str, Measure]:
        positive, prevalence = self._positive(setup), setup.options.prevalence
        results = classification.measures(seeds, setup.test, positive, prevalence, training)
        return {metric.name: results[metric.name] for metric in self.metrics if metric.name in results}

    def details(self, system: System, answers: Answers, setup: Setup, trainings: int = 1) -> Iterator[Step]:
        flops = summary.flops(system, system.spec)
        text = _("blurred, noisy, darker, rotated images")
        figures: Answers = {}
        for share, right in classification.robustness(system, setup.test, flops, trainings):
            if right is not None:
                figures["right"] = right
            yield Step(0.9 * share, text)
        heat = classification.heat_maps(system, answers, setup.test)
        if heat is not None:
            figures["heat"] = heat
        yield Step(1.0, text, figures)

    def result(self, trainings: Trainings, setup: Setup) -> ClassificationResult:
        positive, prevalence = self._positive(setup), setup.options.prevalence
        return classification.result(trainings, positive, prevalence)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: Setup) -> Any:
        predictions = {
            name: torch.from_numpy(stacked(seeds, "probability")).argmax(2) for name, seeds in answers.items()
        }
        return classification.ComparedLabels(predictions)

    def advice(self, options: Mapping[str, Any], cases: int) -> str:
        if cases >= FEW_CASES or options.get("pretrained") not in (None, "False"):
            return ""
        return _(
            "{count} training cases are few for a network that is trained from scratch: one that "
            "was pretrained on photographs usually does better. Try: efficientnet_lite imgsz=224 "
            "pretrained=true freeze=true"
        ).format(count=cases)

    def rehearse(self, system: System, setup: Setup) -> None:
        cases = setup.test.only(range(min(REHEARSED, len(setup.test))))
        few = Setup(setup.options, cases)
        *_before, step = self.answer(system, cases, {}, few)
        next(self.details(system, step.result, few))
        classification.heat_maps(system, step.result, cases)

    def details_seconds(self, trainer: Any, setup: Setup, training: float, look: float) -> float:
        whole = trainer.system.whole
        cases = classification.disturbed_cases(len(setup.test), summary.flops(whole, whole.spec))
        return cases * corruptions.steps() * look

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        probability = answers["probability"]
        assert isinstance(probability, Tensor)
        yield "file", "label", "predicted", "probability"
        sure, predicted = probability.max(1)
        for row, name in enumerate(test.file):
            guess, true = int(predicted[row]), int(test.target[row])
            yield name, test.classes[true], test.classes[guess], round(sure[row].item(), 4)

    def next_command(self, run: str) -> str:
        return f"souron predict {run} FILE"

    def _positive(self, setup: Setup) -> int | None:
        return classification.positive(setup.options.positive, setup.test.classes)


@lru_cache(maxsize=8)
def _scaling(spec: Spec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the shift and the divisor of raw pixel values, (1, C, 1, 1) each."""
    return (
        torch.tensor(spec.mean, device=device).view(1, -1, 1, 1) * 255,
        torch.tensor(spec.std, device=device).view(1, -1, 1, 1) * 255,
    )


def _photos(origin: str) -> Spec:
    """Return what published weights that were trained on ImageNet expect."""
    mean, std = weights.normalisation(origin)
    return Spec(3, weights.PUBLISHED_SIDE, weights.imagenet_labels(), mean, std)


def chest_spec() -> Spec:
    """Return what torchxrayvision's weights expect: grey films in -1024..1024, 18 findings."""
    return Spec(1, weights.PUBLISHED_SIDE, chest_findings.LABELS, chest_findings.MEAN, chest_findings.STD)


def _check_published(spec: Spec, channels: int) -> None:
    """Raise UserError for images unsuitable for published weights."""
    if spec.side < FEWEST_PIXELS:
        raise UserError(
            "imgsz",
            _("published weights need images of 64 pixels a side or more, these have {side}").format(side=spec.side),
            expected="imgsz=224",
            fix="imgsz=224",
        )
    if spec.channels != channels:
        raise UserError(
            "channels",
            _("these published weights need images of {count} channels, these have {channels}").format(
                count=channels, channels=spec.channels
            ),
            expected=_("colour images") if channels == 3 else _("grey images"),
            exit=3,
        )
