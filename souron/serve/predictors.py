"""From one item to its prediction: a classifier predicts in batches, other systems one by one."""

import base64
import tempfile
import warnings
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from souron.data.dataset import Rows
from souron.evaluation.familiarity import Check
from souron.kinds import signature
from souron.kinds.finding import Familiarity
from souron.kinds.kind import Kind
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice, Option
from souron.model import Model
from souron.tasks.classify import Classifier
from souron.utils.messages import N_, UserError, _

TOLERANCE = 1e-4  # of the outputs' standard deviation: rounding errors that fusing may cause


class Predictor(Protocol):
    """The three steps of a prediction."""

    options: dict[str, Option]  # what a request may set in its query string

    def preprocess(self, item: Any, options: dict[str, Any]) -> Any:
        """The network's input. Called in several threads at once."""

    def predict(self, batch: list[Any]) -> list[Any]:
        """One output for each input."""

    def encode(self, output: Any, options: dict[str, Any]) -> dict[str, Any]:
        """The output as JSON."""


class ClassifierPredictor:
    """Predicts in float32 as ``souron predict`` does, and no layer mixes the pictures of a batch:
    the rest of the batch changes a prediction by rounding alone."""

    options = {"top": Option("top", 5, Choice(N_("labels for each file (default 5)"), low=1))}

    def __init__(self, model: Model) -> None:
        self.system = model.system.eval()
        if self.system.channels_last:
            self.system.to(memory_format=torch.channels_last)
        self.labels = tuple(self.system.spec.labels)
        self.network = fused(self.system)
        self.check = Check(model.check.gauge, self.network) if model.check else None

    def preprocess(self, item: Picture, options: dict[str, Any]) -> Tensor:
        """(C, H, W), uint8 or float32 in 0..255"""
        return item.square(self.system.spec.side, self.system.spec.channels)

    @torch.inference_mode()
    def predict(self, batch: list[Tensor]) -> list[tuple[Tensor, Familiarity | None]]:
        """Probabilities, (labels,) each, with how far each picture lies from those of training."""
        images = torch.stack([image.float() for image in batch])  # (B, C, H, W)
        prepared = self.system.batch(Rows(images, None))
        if self.check is None:
            return [(each, None) for each in self._probabilities(prepared.image)]
        with self.check.listening() as heard:
            probabilities = self._probabilities(prepared.image)
        return list(zip(probabilities, self.check.judge(heard, len(batch)), strict=True))

    def _probabilities(self, image: Tensor) -> list[Tensor]:
        return list(self.network(image).float().softmax(1))

    def encode(
        self, output: tuple[Tensor, Familiarity | None], options: dict[str, Any]
    ) -> dict[str, Any]:
        """The most likely first; equal ones stay in the order of the labels."""
        probabilities, familiar = output
        values, order = probabilities.sort(descending=True, stable=True)
        top = options.get("top", self.options["top"].default)
        labels = [
            {"label": self.labels[row], "probability": value}
            for row, value in zip(order[:top].tolist(), values[:top].tolist(), strict=True)
        ]
        return {"labels": labels} | ({"familiar": familiar.as_json()} if familiar else {})


def fused(system: Any) -> Any:
    """The network with batch normalizations fused into the convolutions before them; unchanged
    where there are none, or where torch.fx cannot trace it."""
    if not any(isinstance(module, nn.BatchNorm2d) for module in system.modules()):
        return system
    spec, generator = system.spec, torch.Generator().manual_seed(0)
    images = torch.rand(2, spec.channels, spec.side, spec.side, generator=generator)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the module also holds what torch deprecates
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
    """Any system with ``predict``, one item at a time."""

    def __init__(self, model: Model, options: dict[str, Option]) -> None:
        self.model, self.options = model, options

    def preprocess(self, item: Kind, options: dict[str, Any]) -> tuple[Kind, dict[str, Any]]:
        return item, options

    def predict(self, batch: list[tuple[Kind, dict[str, Any]]]) -> list[Kind]:
        return [self.model.answer(item, **options) for item, options in batch]

    def encode(self, output: Kind, options: dict[str, Any]) -> dict[str, Any]:
        """What is saved as a file is sent as one too, in base64."""
        return output.as_json() | ({"content": file_content(output)} if output.kept else {})


def file_content(output: Kind) -> str:
    """The file that ``save`` writes, in base64."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"output{output.suffix}"
        output.save(path)
        return base64.b64encode(path.read_bytes()).decode()


def predictor_for(model: Model) -> Predictor:
    """Raises UserError for a model that predicts nothing from a file."""
    kind = type(model.system)
    if hasattr(kind, "drawing") and signature.signature(kind) is None:
        raise UserError(
            "task",
            _("{name} is a generator; use souron generate").format(name=model.name),
            expected=_("a run of a system that answers, such as a classifier's"),
            fix=f"souron generate {model.name}",
            exit=5,
        )
    options = model.asked.options
    if isinstance(model.system, Classifier):
        return ClassifierPredictor(model)
    return SystemPredictor(model, options)
