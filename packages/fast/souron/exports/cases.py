"""The cases on which an exported network is compared with the trained one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from souron.blocks.portable import Input, Portable
from souron.data import load
from souron.hub import zoo
from souron.kinds.signature import signature
from souron.runs import evaluate, prepare
from souron.runs import folder as run_folder
from souron.utils.messages import UserError

VALIDATION, EXAMPLES, NOISE = "validation", "examples", "noise"


class Cases(NamedTuple):
    """Inputs of a network, and where they are from."""

    inputs: list[Tensor]  # (cases, ...) each
    source: str  # VALIDATION, EXAMPLES or NOISE
    private: bool = False  # they are the user's own


def cases_for(system: Any, portable: Portable, folder: Path | None) -> Cases:
    """Return validation cases of the run where its data is here, else its examples, else noise."""
    if portable.of_rows is not None and folder is not None:
        try:
            return _validation(system, portable, folder)
        except UserError:  # the data is gone, or not as it was
            pass
    if portable.of_kind is not None and folder is not None and (inputs := _examples(system, portable, folder)):
        return Cases(inputs, EXAMPLES)
    return noise(portable)


def noise(portable: Portable) -> Cases:
    """Return random inputs."""
    return Cases(portable.sample(portable.cases), NOISE)


def _validation(system: Any, portable: Portable, folder: Path) -> Cases:
    assert portable.of_rows is not None
    args = {"side": None, **run_folder.read_args(folder)}
    task = prepare.task_of(args)
    data = evaluate.cases_of(args, args["data"], system.spec, task)
    split = prepare.read_split(folder, data, task)
    rows = split.val if len(split.val) else split.test
    tensors = portable.of_rows(data.only(rows[: portable.cases]).input)
    inputs = [fitted(*pair) for pair in zip(portable.inputs, tensors, strict=True)]
    return Cases(inputs, VALIDATION, is_own(args["data"]))


def is_own(data: Any) -> bool:
    """Return whether data is the user's, and none of the sets that souron knows."""
    return str(data) not in load.names()


def fitted(port: Input, tensor: Tensor) -> Tensor:
    """Convert inputs to the type of an exported network, whose images are bytes."""
    if port.type == torch.uint8 and tensor.is_floating_point():
        tensor = tensor.round().clamp(0, 255)
    return tensor.to(port.type).contiguous()


def _examples(system: Any, portable: Portable, folder: Path) -> list[Tensor]:
    """Return the ready-trained system's examples as inputs of one shape; [] without any."""
    assert portable.of_kind is not None
    asked = signature(type(system))
    if asked is None:
        return []
    rows: list[Sequence[Tensor]] = []
    for file in zoo.examples(folder)[: portable.cases]:
        try:
            rows.append(portable.of_kind(asked.given.read(file, **system.reading())))
        except UserError:
            continue
    if not rows:
        return []
    shapes = [part.shape for part in rows[0]]
    alike = [row for row in rows if [part.shape for part in row] == shapes]
    columns = zip(portable.inputs, zip(*alike, strict=True), strict=True)
    return [fitted(port, torch.cat(parts)) for port, parts in columns]
