"""Volume segmentation: a volume in, a class for every voxel out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from souron.data.dataset import Dataset, Loader, Rows
from souron.data.readers.resampling import resampled, resampled_labels, sizes
from souron.data.splits import Split
from souron.evaluation.answers import dense
from souron.evaluation.vision import volumes
from souron.evaluation.vision.volumes import VolumeResult, VolumeSetup, largest
from souron.kinds.codecs import axes
from souron.kinds.finding import Familiarity
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.signature import Choice
from souron.kinds.volume import Volume
from souron.metrics.metric import Metric
from souron.metrics.surface_meshes import surface_agreement
from souron.system import System
from souron.task import Answers, Jackknifed, Step, Task, Trainings, numbers
from souron.utils import units
from souron.utils.messages import N_, UserError, _

SHOWN = (48, 80, 96)  # slices, rows, columns that ``souron show`` builds with
SPACING = (6.8, 4.2, 4.2)  # mm of that volume
ORGANS = 6  # of that volume
MOST_VOXELS = 16_000_000  # processed by a system at once
MOST_ANSWERED = 150_000_000  # most voxels of a volume that ``predict`` accepts


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a segmenter needs before it is built."""

    channels: int
    size: tuple[int, ...]  # slices, rows, columns
    spacing: tuple[float, ...]  # the mean, in mm between slices, rows and columns
    labels: tuple[str, ...]  # the first is the background
    parts: tuple[int, ...]  # connected components per class except the background: two kidneys
    foreground: tuple[float, ...] = ()  # its percentiles 0.5 and 99.5, mean and standard deviation; none: not measured


class Batch(NamedTuple):
    volume: Tensor  # (B, C, D, H, W), raw values: Hounsfield units for CT
    target: Tensor  # (B, D, H, W) uint8, the class of every voxel


class VolumeSegmenter(System):
    """A volume segmenter: ``named`` predicts the class of every voxel.

    Only the largest connected components of each class are kept.
    """

    task = "segment_volume"
    spec: Spec

    def named(self, volume: Tensor) -> Tensor:
        """Map a volume (C, D, H, W) at the training spacing to classes (D, H, W)."""
        raise NotImplementedError

    @torch.no_grad()
    def example(self) -> Tensor:
        """Segment an empty volume, to show the layers' shapes."""
        return self.named(torch.empty(self.spec.channels, *self.spec.size, device=self.device))

    def kept(self, volume: Tensor) -> Tensor:
        """Return the classes of ``named`` without small components, (D, H, W) uint8."""
        area = self.named(volume).byte().cpu().numpy()
        return torch.from_numpy(largest(area, self.spec.parts))

    @torch.inference_mode()
    def found(self, data: Loader) -> Tensor:
        """Return the class of every voxel of each case, (cases, D, H, W) uint8."""
        return torch.stack([self.kept(volume) for batch in data.once() for volume in batch.volume])

    @torch.inference_mode()
    def predict(
        self,
        volume: Volume,
        *,
        to: Annotated[
            Literal["nifti", "dicom"],
            Choice(
                N_("file to save: of numbers, or a DICOM segmentation that refers to the series"),
                among=("nifti", "dicom"),
            ),
        ] = "nifti",
        meshes: Annotated[bool, Choice(N_("save a surface of each label, too (STL)"))] = False,
        page: Annotated[bool, Choice(N_("save a page with slices and surfaces, too (HTML, offline)"))] = False,
    ) -> LabelledVolume:
        """Return the classes of a volume of any spacing and orientation, in its own voxels.

        The system runs at the spacing of the training cases, with the patient upright.
        """
        check_size(volume, self.spec)
        order, flips = axes.upright(volume.affine)
        values = np.flip(volume.values.transpose(order), flips)
        steps = np.array(volume.spacing[::-1])[list(order)]
        size = sizes(values.shape, steps, self.spec.spacing)
        grey = torch.from_numpy(values.astype(np.float32))[None].to(self.device)
        grid = resampled(grey.expand(self.spec.channels, -1, -1, -1), size)
        area = resampled_labels(self.kept(grid), values.shape, len(self.spec.labels)).numpy()
        area = np.flip(area, flips).transpose(np.argsort(order))
        result = LabelledVolume(volume, area, ["", *self.spec.labels[1:]], to, meshes, page)
        result.judged(self.familiar(volume))
        return result

    def familiar(self, volume: Volume) -> Familiarity | None:
        """Return how like those of training a volume is; None where only a run can tell."""
        return None


def check_size(volume: Volume, spec: Spec) -> None:
    """Raise UserError if a volume has too many voxels, as stored or after resampling."""
    steps = np.array(volume.spacing[::-1])
    needs = int(np.prod(np.ceil(np.array(volume.values.shape) * steps / min(spec.spacing))))
    count = max(volume.values.size, needs)
    if volume.values.size > MOST_ANSWERED or needs > MOST_VOXELS * 8:
        raise UserError(
            "too large",
            _("the volume has {size} voxels").format(size=units.whole(count)),
            expected=_("at most {count}").format(count=units.whole(MOST_ANSWERED)),
            fix=_("a part of it, or fewer slices"),
            exit=3,
        )


class VolumeSegmentation(Jackknifed, Task):
    """The class of every voxel of every test volume."""

    title = N_("segmentation of volumes")
    takes = Volume
    gives = LabelledVolume
    metrics = (
        Metric(N_("mean Dice"), unit="share", headline=True, kind="overlap"),
        Metric(N_("HD95"), higher_is_better=False, unit="mm", headline=True, kind="error"),
        Metric(N_("surface Dice at 2 mm"), unit="share", kind="overlap"),
        Metric(N_("volume error"), higher_is_better=False, unit="share", kind="error"),
    )
    watches = "mean Dice"
    default_data = "phantoms"
    target = "classes_of_voxels"
    formats = ("volumes",)

    def check(self, data: Dataset, options: Any) -> None:
        fault = volumes.fault(data)
        if fault:
            raise UserError(
                "no labelled volumes",
                fault,
                expected=_("volumes with a class number for every voxel"),
                fix="data=phantoms",
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        spacing = np.mean(np.array(train.spacing, np.float64), 0)
        return Spec(
            train.channels,
            tuple(train.input.shape[2:]),
            tuple(round(float(step), 4) for step in spacing),
            tuple(train.classes),
            volumes.parts_of(train.target, len(train.classes)),
        )

    def example(self, system: type[System], size: str) -> Spec:
        labels = tuple(map(str, range(ORGANS + 1)))
        return Spec(1, SHOWN, SPACING, labels, (1,) * ORGANS)

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        target = rows.target
        if target is None:
            target = torch.zeros_like(rows.input[:, 0], dtype=torch.uint8)
        return Batch(rows.input, target)

    def renumbered(self, target: Any, number: Tensor) -> Tensor:
        return number.byte()[target.long()]

    def setup(self, data: Dataset, split: Split, options: Any) -> Iterator[Step]:
        atlas = volumes.atlas(data.target, split.train, len(data.classes))
        yield Step(1.0, result=VolumeSetup(options, data.only(split.test), atlas=atlas))

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, VolumeSegmenter)
        return {volumes.DICE: torch.from_numpy(volumes.dice_of(system.found(data), data.cases))}

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: VolumeSetup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, VolumeSegmenter)
        yield Step(1.0, result={"found": _found(system, test, setup)})

    def judge(self, answers: Answers, setup: VolumeSetup) -> dict[str, Any]:
        return volumes.scores_of(dense(answers, "found"), setup.test)

    def ask_untrained(self, system: System, setup: VolumeSetup) -> Answers:
        assert isinstance(system, VolumeSegmenter)
        return {"untrained": _found(system, setup.test, setup)}

    def result(self, trainings: Trainings, setup: VolumeSetup) -> VolumeResult:
        return volumes.result(trainings, setup)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: VolumeSetup) -> dict[str, Tensor]:
        """Return system -> the class maps that its first seed predicts for the test volumes."""
        return {name: dense(seeds[0], "found") for name, seeds in answers.items()}

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        head = "file", "label", "Dice", "HD95_mm", "surface_Dice", "ml", "true_ml"
        yield *head, "mesh_HD95_mm", "mesh_ASSD_mm", "mesh_surface_Dice"
        labels = dense(answers, "found")
        every = volumes.agreements(labels, test)
        for row, (file, case) in enumerate(zip(test.file, every, strict=True)):
            for number, (name, agreement) in enumerate(zip(test.classes[1:], case, strict=True), 1):
                masks = (labels[row] == number).numpy(), (test.target[row] == number).numpy()
                mesh = surface_agreement(*masks, test.spacing[row], volumes.TOLERANCE)
                yield (
                    file,
                    name,
                    round(agreement.dice, 4),
                    round(agreement.hd95, 3),
                    round(agreement.surface_dice, 4),
                    round(agreement.found, 2),
                    round(agreement.truth, 2),
                    round(mesh.hd95, 3),
                    round(mesh.assd, 3),
                    round(mesh.surface_dice, 4),
                )


def _found(system: VolumeSegmenter, cases: Dataset, setup: VolumeSetup) -> Tensor:
    with numbers(system, setup):
        return system.found(system.loader(cases))


__all__ = ["Batch", "Spec", "VolumeSegmentation", "VolumeSegmenter"]
