"""A trained network as other programs run it: tensors in, tensors out, without souron.

A system says by ``System.portable`` what of it others can run, and how the rest of an answer follows
from the outputs: by the names of two files in ``souron/exports/parts``, of which one reads the input
from a file and the other shows the answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from souron.utils.messages import N_, UserError, _

NO_NETWORK = N_("it has no network")
REGIONS = N_("a second network judges the regions that a first one proposes, another number in every image")
PIECES = N_("it makes its answer piece by piece, each from those before, in a program around the network")


class Free(NamedTuple):
    """An axis of any length."""

    least: int
    most: int
    step: int = 1  # the length is a multiple of it


@dataclass(frozen=True)
class Input:
    """One input of a network."""

    name: str
    shape: tuple[int, ...]  # of one case
    type: torch.dtype = torch.uint8
    free: Mapping[int, Free] = field(default_factory=dict)  # axis of one case -> its lengths
    below: int = 256  # integers are at least 0 and below it

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw random cases (count, *shape): integers uniformly, other numbers normally.

        >>> Input("image", (1, 4, 4)).sample(2, torch.Generator()).shape
        torch.Size([2, 1, 4, 4])
        """
        shape = (count, *self.shape)
        if self.type.is_floating_point:
            return torch.randn(shape, generator=generator, dtype=self.type)
        return torch.randint(self.below, shape, generator=generator).to(self.type)


@dataclass(frozen=True)
class Portable:
    """The part of a system that others run, and how they read inputs and show answers.

    ``network`` maps tensors, in the order of ``inputs``, to a tuple of tensors, in the order of
    ``outputs``; the first axis of each counts the cases.
    """

    network: nn.Module
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    reads: str  # souron/exports/parts/<reads>.py: from a file to the inputs
    shows: str  # souron/exports/parts/<shows>.py: from the outputs to an answer
    labels: tuple[str, ...] = ()
    decides: Mapping[str, int] = field(default_factory=dict)  # output -> axis along which the largest value decides
    about: Mapping[str, Any] = field(default_factory=dict)  # what the two files need to know, in JSON's types
    of_rows: Callable[[Any], Sequence[Tensor]] | None = None  # inputs of a data set's cases; None where noise goes in
    of_kind: Callable[[Any], Sequence[Tensor]] | None = None  # inputs of one case, as ``predict`` prepares it
    beside: Mapping[str, str] = field(default_factory=dict)  # name -> text of a file that is kept beside the network
    batch: bool = True  # False: one case at a time
    cases: int = 16  # that are compared

    def sample(self, count: int, seed: int = 0) -> list[Tensor]:
        """Draw random inputs of that many cases."""
        generator = torch.Generator().manual_seed(seed)
        return [spec.sample(count, generator) for spec in self.inputs]


def portable_of(system: Any) -> Portable:
    """Return what others run of a system. Raises UserError with the reason where nothing is."""
    if system.blocked:
        raise refused(type(system).__name__, _(system.blocked))
    portable: Portable = system.portable()
    return portable


def refused(name: str, reason: str) -> UserError:
    """Return the error of a system that cannot leave souron; ``reason`` is translated."""
    return UserError(
        "no export",
        _("{name} cannot be exported: {reason}").format(name=name, reason=reason),
        expected=_("a system of the table in the documentation, page Elsewhere"),
        fix="souron export resnet",
        exit=5,
    )


class Pixels(nn.Module):
    """A network over bytes: ``finish(network((image - shift) / scale))``.

    ``shift`` and ``scale`` broadcast over images (B, C, H, W) in 0..255.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        network: Callable[[Tensor], Any],
        finish: Callable[[Any], tuple[Tensor, ...]],
        shift: Tensor | float = 0.0,
        scale: Tensor | float = 255.0,
    ) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            self.owner = getattr(network, "__self__", None)  # of a method: its weights
        self.network, self.finish = network, finish
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float32), persistent=False)
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.finish(self.network((image.float() - self.shift) / self.scale))


class Answer(nn.Module):
    """A function of tensors with the module whose weights it uses, so that both are traced together."""

    def __init__(self, owner: nn.Module, answer: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.owner, self.answer = owner, answer

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.answer(*inputs)
