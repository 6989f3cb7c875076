"""Compare the outputs of an engine with those of the network that it replaces.

The engine agrees where the largest difference of every output is within a fraction of that output's
spread (its standard deviation over all cases), and where no highest score has changed whose lead
over the second was larger than that. A check is needed at each build: a conversion can be wrong
without a word, as ``torch.onnx.export`` was for a ResNet-18
(https://github.com/pytorch/pytorch/issues/169178).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from souron.inference.refusal import Refused
from souron.utils.messages import _

TOLERANCES = {"f32": 1e-4, "bf16": 0.05, "int8": math.inf}  # of the spread; int8 is judged by its measures
MAPS = 4  # dimensions from which on the classes are the second axis, (B, classes, H, W)


@dataclass
class Output:
    """Running comparison of one output over several calls."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    largest: float = 0.0  # difference
    lead: float = 0.0  # largest lead of a highest score that changed
    trouble: str = ""

    def add(self, expected: Tensor, actual: Tensor) -> None:
        """Compare the outputs of one call."""
        if expected.shape != actual.shape:
            self.trouble = _("its outputs have another shape")
            return
        if not expected.is_floating_point():
            if not torch.equal(expected, actual.to(expected.dtype)):
                self.trouble = _("its whole numbers differ")
            return
        expected, actual = expected.double(), actual.double()
        finite = expected.isfinite()
        if not torch.equal(finite, actual.isfinite()):
            self.trouble = _("it answers with values that are no numbers")
            return
        values, others = expected[finite], actual[finite]
        if not len(values):
            return
        self.count += len(values)
        self.total += float(values.sum())
        self.squares += float(values.square().sum())
        self.largest = max(self.largest, float((values - others).abs().max()))
        if finite.all():
            self.lead = max(self.lead, changed_lead(expected, actual))

    @property
    def spread(self) -> float:
        """Return the standard deviation of the expected values; where they are all equal, their size."""
        if not self.count:
            return 1.0
        mean = self.total / self.count
        deviation = math.sqrt(max(0.0, self.squares / self.count - mean**2))
        return deviation if deviation > 1e-6 * abs(mean) else abs(mean) or 1.0


def changed_lead(expected: Tensor, actual: Tensor) -> float:
    """Return the largest lead of a highest score over the second that is no longer the highest.

    Example:
        >>> changed_lead(torch.tensor([[3.0, 1.0], [1.0, 1.5]]), torch.tensor([[2.0, 1.0], [1.6, 1.5]]))
        0.5
    """
    axis = 1 if expected.ndim >= MAPS else expected.ndim - 1
    if expected.ndim < 2 or expected.shape[axis] < 2:
        return 0.0
    first = expected.topk(2, axis).values
    changed = expected.argmax(axis) != actual.argmax(axis)
    leads = (first.select(axis, 0) - first.select(axis, 1))[changed]
    return float(leads.max()) if len(leads) else 0.0


@dataclass
class Agreement:
    """Running comparison of all outputs of a module."""

    outputs: list[Output] = field(default_factory=list)
    calls: int = 0

    def add(self, expected: Sequence[Tensor], actual: Sequence[Tensor]) -> None:
        """Compare the outputs of one call."""
        self.calls += 1
        if not self.outputs:
            self.outputs = [Output() for _each in expected]
        if len(expected) != len(actual):
            self.outputs[0].trouble = _("it has another number of outputs")
            return
        for output, one, other in zip(self.outputs, expected, actual, strict=True):
            output.add(one, other)

    @property
    def difference(self) -> float:
        """Return the largest difference, as a fraction of its output's spread."""
        return max((output.largest / output.spread for output in self.outputs), default=0.0)

    def check(self, tolerance: float) -> None:
        """Raise Refused where the outputs differ by more than ``tolerance`` of their spread."""
        for output in self.outputs:
            if output.trouble:
                raise Refused(output.trouble)
        if self.difference > tolerance:
            text = _("its outputs differ by {difference:.2g} of their spread, more than {tolerance:.2g}")
            raise Refused(text.format(difference=self.difference, tolerance=tolerance))
        if any(output.lead > tolerance * output.spread for output in self.outputs):
            raise Refused(_("it gives another label where the network was certain"))
