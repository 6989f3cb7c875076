"""A window of grey values for each organ, and the largest part of what lies in it.

Otsu: A Threshold Selection Method from Gray-Level Histograms (1979).
https://doi.org/10.1109/TSMC.1979.4310076

    [a, b] of an organ = argmax of Dice = 2 n(a <= x <= b, organ) / (n(a <= x <= b) + n(organ))

It uses two numbers per organ and no position: it finds organs whose brightness is unique, such as
lungs. All windows are tried, on the histograms of the training volumes. Where the windows of organs
overlap, the one with the higher Dice gets the voxel.

Differs from the paper: the criterion is Dice with labels, where Otsu separates grey values without
any by the variance between two classes; several windows, each with two ends; the largest
components.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks.portable import NO_NETWORK
from souron.tasks.segment_volume import Spec, VolumeSegmenter
from souron.training.loop import Data, Progress, Run

LOW, HIGH = -1024.0, 1976.0  # HU; values outside are clamped
EVERY = 10**9  # more than any number of cases: one batch holds all


@dataclass(frozen=True)
class Config:
    step: float = 10.0  # HU between two candidate ends


class Threshold(VolumeSegmenter):
    blocked = NO_NETWORK
    year = 1979
    ja = "臓器ごとに濃度値の範囲を一つ選び、その中で最も大きい塊を残す"
    full_batch = True
    SIZES = {"tiny": Config(30.0), "small": Config()}

    window: Tensor  # (organs, 2): lower and upper end of each window
    dice: Tensor  # (organs,) on the training volumes; 0 before fitting

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        organs = len(spec.labels) - 1
        self.register_buffer("window", torch.tensor([[1.0, 0.0]]).repeat(organs, 1))
        self.register_buffer("dice", torch.zeros(organs))

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Fit the window of one organ per step."""
        histogram = self.histogram(next(iter(data.endless(EVERY))))
        for step in range(run.start, min(run.steps, len(self.window))):
            low, high, dice = best(histogram[:, step + 1], histogram.sum(1))
            ends = torch.tensor([low, high + 1], dtype=torch.float32) * self.config.step
            self.window[step] = LOW + ends
            self.dice[step] = dice
            yield Progress(step, {"1 - Dice": 1 - self.dice.mean()})

    def histogram(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Count the voxels of each class per value, (bins, labels)."""
        bins, labels = round((HIGH - LOW) / self.config.step), len(self.spec.labels)
        count = torch.zeros(bins * labels, dtype=torch.float64)
        for volume, target in zip(*batch, strict=True):
            bin_index = ((volume[0].float() - LOW) / self.config.step).long().clamp(0, bins - 1)
            counts = (bin_index * labels + target.long()).flatten().bincount(minlength=bins * labels)
            count += counts.double().cpu()
        return count.view(bins, labels)

    def named(self, volume: Tensor) -> Tensor:
        value = volume[0].float().clamp(LOW, HIGH - 1)
        low, high = self.window.T[:, :, None, None, None]
        inside = (value >= low) & (value < high)  # (organs, D, H, W)
        dice, organ = (inside * self.dice[:, None, None, None]).max(0)
        return torch.where(dice > 0, organ + 1, 0)


def best(organ: Tensor, every: Tensor) -> tuple[int, int, float]:
    """Return the first and last bin of the window with the highest Dice, and that Dice.

    ``organ`` and ``every`` are histograms (bins,).
    """
    inside, all_inside = (torch.cat([x.new_zeros(1), x.cumsum(0)]) for x in (organ, every))
    overlap = inside[None] - inside[:, None]  # from the row's bin to before the column's
    whole = all_inside[None] - all_inside[:, None] + inside[-1]
    dice = torch.where(overlap > 0, 2 * overlap / whole.clamp(min=1), 0.0).triu(1)
    index = int(dice.argmax())
    low, end = divmod(index, len(inside))
    return low, end - 1, float(dice.flatten()[index])
