"""Evaluate image-to-image translation against the ground truth and trivial baselines.

The truth is the test image itself where the system's input is derived from it: a smaller image, its
grey values. For translation between domains, it is the image's twin, whose file the column ``twin``
names; training cases have none. Some figures need no truth, such as the cycle error after
translating there and back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.data.readers.run_lengths import area_of
from souron.evaluation.answers import Answers, Setup, Sparse, Trainings, dense
from souron.evaluation.vision import perceptual
from souron.kinds.codecs.image import rounded
from souron.metrics import image_to_image as figures
from souron.stats.records import Measure
from souron.utils.messages import _

TWIN, AREA = "twin", "object"  # columns: the file of a case's twin; the mask of its object
SHOWN = 9  # images in a report, each of another group
CYCLE = "cycle PSNR"

Array = NDArray[Any]
FIGURES: dict[str, Callable[[Array, Array, Array | None], Array]] = {
    "PSNR": lambda output, truth, area: figures.psnr(output, truth),
    "PSNR of luma": lambda output, truth, area: figures.psnr(figures.luma(output), figures.luma(truth)),
    "SSIM": lambda output, truth, area: figures.ssim(output, truth),
    "sharpness": lambda output, truth, area: figures.sharpness(output, truth),
    "object PSNR": figures.psnr,
    "ground PSNR": lambda output, truth, area: figures.psnr(output, truth, None if area is None else ~area),
    "feature distance": lambda output, truth, area: perceptual.distance(as_share(output), as_share(truth)).numpy(),
    "chroma": lambda output, truth, area: figures.chroma(output, truth),
}
OF_AREAS = ("object PSNR", "ground PSNR")
COLOUR = "colour difference"


@dataclass(frozen=True)
class Beside:
    """A baseline's figures, and how often the system is better."""

    measures: dict[str, Measure]
    better: dict[str, tuple[int, int]]  # metric -> groups in which the system is better, all groups


@dataclass(frozen=True)
class ImageResult:
    """The results of one run for its report."""

    output: Tensor  # (cases, C, H, W) uint8
    truth: Tensor | None  # (cases, C, H, W) uint8; None where unknown
    rivals: dict[str, Beside]
    shown: tuple[int, ...]  # rows
    panes: dict[str, Tensor]  # name -> (shown, C, h, w) uint8

    def as_json(self) -> dict[str, Any]:
        return {
            "rivals": {
                name: {metric: measure.value for metric, measure in rival.measures.items()}
                for name, rival in self.rivals.items()
            },
            "better": {
                name: {metric: [int(count) for count in counts] for metric, counts in rival.better.items()}
                for name, rival in self.rivals.items()
            },
        }


def as_share(images: Any) -> Tensor:
    """Convert uint8 to 0..1."""
    return torch.as_tensor(images).float() / 255


def as_bytes(images: Tensor) -> Tensor:
    """Convert 0..1 to uint8, as in a file."""
    return (images.float().clamp(0, 1) * 255).round().byte().cpu()


def in_bytes(image: Image.Image) -> Image.Image:
    """Convert any image that was read to 8-bit RGB."""
    return rounded(image).convert("RGB")


def twins(cases: Dataset) -> list[int] | None:
    """Return the row of each case's twin; None where any twin is missing."""
    row = {file: number for number, file in enumerate(cases.file)}
    names = cases.columns.get(TWIN, ())
    if not names or any(name not in row for name in names):
        return None
    return [row[name] for name in names]


def areas(cases: Dataset) -> NDArray[np.bool_] | None:
    """Return the object masks (cases, H, W), from COCO run lengths; None where unknown."""
    run_lengths = cases.columns.get(AREA, ())
    if not run_lengths or not all(run_lengths):
        return None
    side = cases.side
    return np.stack([area_of(text, side) for text in run_lengths])


def truth_of(system: Any, cases: Dataset) -> Tensor | None:
    """Return the true images (cases, C, H, W) uint8, in the output size; None where unknown."""
    if system.any_class:
        return torch.cat([system.truth(part) for part in cases.input.split(256)]).cpu()
    rows = twins(cases)
    return None if rows is None else cases.input[torch.tensor(rows)]


@torch.inference_mode()
def answers_of(system: Any, cases: Dataset, names: Sequence[str] = (), beside: bool = True) -> Answers:
    """Run the system on the cases and compute the figures ``names``, by default all it has.

    With ``beside``, the baselines are computed, too.
    """
    metrics = [name for name in system.measures if not names or name in names]
    rows = rows_shown(cases)
    images_of: dict[str, list[Tensor]] = {}
    values_of: dict[str, list[Tensor]] = {}
    truth, area = truth_of(system, cases), areas(cases)
    start = 0
    for batch in system.loader(cases).once():
        inputs = system.given(batch.image)
        output = system.translated(inputs, batch.label)
        images_of.setdefault("", []).append(as_bytes(output))
        if beside:
            images_of.setdefault("given", []).append(as_bytes(system.visible(inputs)))
            for name, image in system.rivals(inputs, batch.label).items():
                images_of.setdefault(name, []).append(as_bytes(image))
        part = None if area is None else area[start : start + len(output)]
        start += len(output)
        for name, value in system.further(batch, inputs, output).items():
            values = {name: value.float().cpu()}
            if value.ndim == 3:
                rival, colon, metric = name.rpartition(":")
                by_area = figures.by_area(values[name].numpy(), part, metric)
                values = {rival + colon + key: torch.from_numpy(v) for key, v in by_area.items()}
            for key, column in values.items():
                values_of.setdefault(key, []).append(column)
    every = {name: torch.cat(parts) for name, parts in images_of.items()}
    answers: Answers = {"output": every[""]}
    for name, images in every.items():
        if beside and name:
            answers[f"shown:{name}"] = Sparse(rows, images[rows])
        if truth is not None and name != "given":
            scores = measured(images, truth, area, metrics)
            answers |= {f"{name}:{key}" if name else key: values for key, values in scores.items()}
    return answers | {
        name: torch.cat(parts).double() for name, parts in values_of.items() if name.rpartition(":")[2] in metrics
    }


def measured(images: Tensor, truth: Tensor, area: Array | None, names: Sequence[str]) -> dict[str, Tensor]:
    """Compute metric -> (cases,) for images (cases, C, H, W) uint8."""
    output, other = images.numpy(), truth.numpy()
    has_area = area is not None and area.shape[1:] == output.shape[2:]
    found_of = {
        name: FIGURES[name](output, other, area if has_area else None)
        for name in names
        if name in FIGURES and (has_area or name not in OF_AREAS)
    }
    if COLOUR in names:
        apart = figures.differences(output, other)
        found_of |= figures.by_area(apart, area if has_area else None, COLOUR)
    return {name: torch.from_numpy(found_of[name]) for name in names if name in found_of}


def rows_shown(cases: Dataset) -> Tensor:
    """Choose the first case of some groups, evenly over the groups."""
    units = cases.units or [str(row) for row in range(len(cases))]
    firsts = list({unit: row for row, unit in reversed(list(enumerate(units)))}.values())
    indices = np.linspace(0, len(firsts) - 1, min(SHOWN, len(firsts))).round().astype(int)
    return torch.tensor(sorted(firsts)).long()[torch.from_numpy(indices)]


def tables(seeds: Sequence[Answers], names: Sequence[str]) -> dict[str, Array]:
    """Return metric -> (seeds, cases) for the metrics that the answers contain."""
    there = [name for name in names if name in seeds[0]]
    return {name: torch.stack([dense(answers, name) for answers in seeds]).double().numpy() for name in there}


def measures(table_of: Mapping[str, Array], units: Sequence[str] | None, trainings: Any = None) -> dict[str, Measure]:
    """Return each metric with its interval; cases with NaN are left out."""
    results = {}
    for name, table in table_of.items():
        finite = np.isfinite(table).all(0)
        if finite.any():
            results[name] = registry.metric(name).measure(
                table[:, finite],
                None if units is None else [units[i] for i in np.flatnonzero(finite).tolist()],
                None if trainings is None else trainings[:, finite],
            )
    return results


def result(trainings: Trainings, setup: Setup, names: Sequence[str], better: Any) -> ImageResult:
    """Compute the results; ``better`` returns whether higher is better for a metric's name."""
    [answers] = trainings.answers
    test = setup.test
    units = test.units
    rivals = list(
        dict.fromkeys(name.partition(":")[0] for name in answers if ":" in name and not name.startswith("shown:"))
    )
    own = tables([answers], names)
    rivals_beside = {}
    for rival in rivals:
        table = tables([answers], [f"{rival}:{name}" for name in names])
        table = {name.partition(":")[2]: values for name, values in table.items()}
        counts = {
            name: _won(own[name][0], values[0], units, better(name)) for name, values in table.items() if name in own
        }
        rivals_beside[rival] = Beside(measures(table, units), counts)
    images = {name.removeprefix("shown:"): pane for name, pane in answers.items() if isinstance(pane, Sparse)}
    rows = next(iter(images.values())).rows.tolist() if images else []
    rows_of = twins(test)
    truth = test.input if rows_of is None else test.input[torch.tensor(rows_of)]
    panes = {name: pane.values for name, pane in images.items()}
    return ImageResult(
        dense(answers, "output"),
        truth if rows_of is not None or len(test.classes) == 1 else None,
        rivals_beside,
        tuple(rows),
        panes,
    )


def _won(own: Array, other: Array, units: Sequence[str] | None, higher: bool) -> tuple[int, int]:
    """Count the groups in which the system's mean is better, and all groups with a mean."""
    names = np.asarray(units if units is not None else range(len(own)))
    finite = np.isfinite(own) & np.isfinite(other)
    lead = (own - other) * (1 if higher else -1)
    leads = [lead[finite & (names == name)].mean() for name in np.unique(names[finite])]
    return sum(mean > 0 for mean in leads), len(leads)


def said_of(rival: str) -> str:
    """Return the name of a baseline in the reader's language."""
    return {
        "bicubic": _("bicubic interpolation"),
        "pixel stage": _("the same network before its GAN stage"),
        "identity": _("the input image"),
        "histograms": _("histogram matching"),
        "untrained": _("the same network untrained"),
        "given": _("the input"),
        "grey": _("grey"),
        "mean colour": _("the mean colour of that lightness"),
        "histogram": _("how often each colour is"),
    }.get(rival, rival)
