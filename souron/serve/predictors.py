"""Predictors: classifiers predict in batches, other systems one item at a time."""

import base64
import tempfile
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from souron.data.dataset import Rows
from souron.evaluation.familiarity import Check
from souron.kinds import signature
from souron.kinds.finding import Familiarity, check_json
from souron.kinds.kind import Kind
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice, Option
from souron.model import Model
from souron.tasks.classify import Classifier
from souron.utils.messages import N_, UserError, _

TOLERANCE = 1e-4  # rounding error allowed after fusing, in standard deviations of the outputs


class Predictor(Protocol):
    """The three steps of a prediction."""

    options: dict[str, Option]  # what a request may set in its query string

    def preprocess(self, item: Any, options: dict[str, Any]) -> Any:
        """Return the network's input. Called in several threads at once."""

    def predict(self, batch: list[Any]) -> list[Any]:
        """Return one output for each input."""

    def encode(self, output: Any, options: dict[str, Any]) -> dict[str, Any]:
        """Return the output as JSON."""


class ClassifierPredictor:
    """Batched prediction of a classifier in float32, as in ``souron predict``.

    No layer mixes the images of a batch, so the other images change a prediction by rounding only.
    """

    options = {"top": Choice(N_("labels for each file (default 5)"), low=1).option("top", 5, type=int)}

    def __init__(self, model: Model) -> None:
        self.system = model.system.eval()
        if self.system.channels_last:
            self.system.to(memory_format=torch.channels_last)
        self.labels = tuple(self.system.spec.labels)
        self.network = fused(self.system)
        self.check = Check(model.check.gauge, self.network) if model.check else None
        self.outlier_detector = model.outlier_detector
        self.engine = model.engine and model.engine.of(self.network, self.check.sensor if self.check else None)

    def preprocess(self, item: Picture, options: dict[str, Any]) -> tuple[Tensor, Familiarity | None]:
        """Return the image as (C, H, W), uint8 or float32 in 0..255, and whether it is like photographs."""
        image = item.square(self.system.spec.side, self.system.spec.channels)
        return image, None if self.outlier_detector is None else self.outlier_detector.judge(item)

    @torch.inference_mode()
    def predict(self, batch: list[tuple[Tensor, Familiarity | None]]) -> list[tuple[Tensor, Familiarity | None]]:
        """Return each image's probabilities (labels,) and distance from the training data."""
        images = torch.stack([image.float() for image, _familiar in batch])  # (B, C, H, W)
        prepared = self.system.batch(Rows(images, None))
        if self.check is None:
            return list(zip(self._probabilities(prepared.image), (familiar for _image, familiar in batch), strict=True))
        with self.check.listening() as heard:
            probabilities = self._probabilities(prepared.image)
        blank = (images.amin((2, 3)) == images.amax((2, 3))).all(1).tolist()
        checks = self.check.judge(heard, len(batch))
        familiar = [replace(one, blank=empty) for one, empty in zip(checks, blank, strict=True)]
        return list(zip(probabilities, familiar, strict=True))

    def _probabilities(self, image: Tensor) -> list[Tensor]:
        with self.engine.answering() if self.engine else nullcontext():
            return list(self.network(image).float().softmax(1))

    def encode(self, output: tuple[Tensor, Familiarity | None], options: dict[str, Any]) -> dict[str, Any]:
        """Return the most probable labels first; ties keep the order of the labels."""
        probabilities, familiar = output
        values, order = probabilities.sort(descending=True, stable=True)
        top = options.get("top", self.options["top"].default)
        labels = [
            {"label": self.labels[row], "probability": value}
            for row, value in zip(order[:top].tolist(), values[:top].tolist(), strict=True)
        ]
        return {"labels": labels, "familiar": familiar and familiar.as_json()}


def fused(system: Any) -> Any:
    """Fuse batch normalizations into the preceding convolutions.

    Return the network unchanged where it has none or torch.fx cannot trace it.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in system.modules()):
        return system
    spec, generator = system.spec, torch.Generator().manual_seed(0)
    images = torch.rand(2, spec.channels, spec.side, spec.side, generator=generator)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the module also imports deprecated parts of torch
            from torch.fx.experimental.optimization import fuse
        network = fuse(system)
        with torch.inference_mode():
            expected = system(images)
            tolerance = TOLERANCE * float(expected.std())
            same = torch.allclose(network(images), expected, rtol=0, atol=tolerance)
    except Exception:  # whatever a system's own code raises when it is traced
        return system
    return network if same else system


class SystemPredictor:
    """Prediction of any system with ``predict``, one item at a time."""

    def __init__(self, model: Model, options: dict[str, Option]) -> None:
        self.model, self.options = model, options

    def preprocess(self, item: Kind, options: dict[str, Any]) -> tuple[Kind, dict[str, Any]]:
        return item, options

    def predict(self, batch: list[tuple[Kind, dict[str, Any]]]) -> list[Kind]:
        return [self.model.answer(item, **options) for item, options in batch]

    def encode(self, output: Kind, options: dict[str, Any]) -> dict[str, Any]:
        """Return the output as JSON; an output that is saved as a file is added in base64."""
        return output.as_json() | check_json(output) | ({"content": file_content(output)} if output.kept else {})


def file_content(output: Kind) -> str:
    """Return the file that ``save`` writes, in base64."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"output{output.suffix}"
        output.save(path)
        return base64.b64encode(path.read_bytes()).decode()


def predictor_for(model: Model) -> Predictor:
    """Return the predictor of a model. Raises UserError if it cannot predict from a file."""
    system_class = type(model.system)
    if hasattr(system_class, "drawing") and signature.signature(system_class) is None:
        raise UserError(
            "task",
            _("{name} is a generator; use souron generate").format(name=model.name),
            expected=_("a run of a system that answers, such as a classifier's"),
            fix=f"souron generate {model.name}",
            exit=5,
        )
    # no client chooses files of this computer
    options = {name: one for name, one in model.asked.options.items() if one.kind is None}
    if isinstance(model.system, Classifier) and not model.system.thresholds:
        return ClassifierPredictor(model)
    return SystemPredictor(model, options)
