"""Trace a system's network once, for every format."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from souron.blocks.portable import Portable
from souron.exports import resampling
from souron.utils.messages import UserError, _

MOST = 4096  # cases of a batch
TRACED = 3  # cases of the traced example; 1 would be taken for a constant


def traced(portable: Portable, name: str, many: bool) -> Any:
    """Return the network as a program of ``torch.export``: for any number of cases, or for one.

    Raises UserError where it cannot be traced, or is of one number of cases.
    """
    try:
        return _trace(portable, many)
    except Exception as error:  # torch.export raises many kinds
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise UserError(
            "not traced",
            _("the network of {name} cannot be traced: {why}").format(name=name, why=why),
            expected=_("a network without decisions in Python that depend on the input"),
            exit=1,
        ) from error


def _trace(portable: Portable, many: bool) -> Any:
    example = tuple(portable.sample(TRACED if many else 1))
    dims: list[dict[int, Any]] = []
    batch = torch.export.Dim("batch", min=1, max=MOST)
    for place, one in enumerate(portable.inputs):
        own: dict[int, Any] = {0: batch} if many else {}
        for axis, (least, most, step) in one.free.items():
            length = torch.export.Dim(f"free{place}_{axis}", min=-(-least // step), max=most // step)
            own[axis + 1] = step * length if step > 1 else length
        dims.append(own)
    with quiet(), torch.no_grad():
        program = torch.export.export(
            portable.network.eval(), example, dynamic_shapes=(tuple(dims),) if _variadic(portable) else tuple(dims)
        )
        return program.run_decompositions(resampling.decompositions())  # without changes in place


def _variadic(portable: Portable) -> bool:
    return portable.network.forward.__code__.co_flags & 0x04 != 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep still what tracing warns of, and trace attention as its parts."""
    fast = torch.backends.mha.get_fastpath_enabled()
    before = logging.root.manager.disable
    torch.backends.mha.set_fastpath_enabled(False)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        logging.disable(before)


@torch.no_grad()
def eager(portable: Portable, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the outputs of the network itself, case by case, as souron computes them."""
    rows = [portable.network(*(one[n : n + 1] for one in inputs)) for n in range(len(inputs[0]))]
    return [torch.cat(parts) for parts in zip(*rows, strict=True)]
