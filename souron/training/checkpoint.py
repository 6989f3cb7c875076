"""Checkpoints: weights, optimizer states and the random state in one file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from souron.utils.files import read_tensors, write_tensors
from souron.utils.messages import UserError, _


def fill(system: Any, weights: dict[str, Tensor], path: Path, but: Sequence[str] = ()) -> None:
    """Load all weights by name, except those of the layers in ``but``. Raises UserError."""
    left_out = tuple(f"{layer}." for layer in but)
    _make_room(system, weights)
    own = system.state_dict()
    expected = {n: t for n, t in own.items() if not n.startswith(left_out)}
    tensors = {n: t for n, t in weights.items() if not n.startswith(left_out)}
    differ = sorted(
        name
        for name in expected.keys() | tensors.keys()
        if name not in expected or name not in tensors or _kind(expected[name]) != _kind(tensors[name])
    )
    if differ:
        raise UserError(
            "other system",
            _("{path} holds another system's weights: {count} of {all} do not fit, as {first}").format(
                path=path, count=len(differ), all=len(expected | tensors), first=differ[0]
            ),
            expected=type(system).__name__ + f" {system.config}",
            exit=3,
        )
    # refuse NaN and infinity
    parameters = {name for name, _weight in system.named_parameters()} & tensors.keys()
    for name in sorted(parameters):
        if not tensors[name].isfinite().all():
            raise UserError(
                "weights file",
                _("{path}: {name} holds values that are not finite").format(path=path, name=name),
                expected=_("weights of a training that did not fail"),
                exit=3,
            )
    system.load_state_dict(tensors, strict=False)


def _make_room(system: Any, weights: dict[str, Tensor]) -> None:
    """Resize buffers whose length depends on the training data to that of the saved ones."""
    for name in getattr(system, "sized_by_data", ()):
        own, tensor = system.get_buffer(name), weights.get(name)
        if tensor is not None and tensor.shape[1:] == own.shape[1:]:
            setattr(system, name, own.new_zeros(tensor.shape))


def _kind(weight: Tensor) -> tuple[torch.Size, bool]:
    return weight.shape, weight.is_floating_point()


def write_checkpoint(path: Path, system: Any, optimizers: dict[str, Optimizer], state: dict[str, Any]) -> None:
    """Write all that resuming needs to one file: weights, optimizers, random state and
    ``state``.
    """
    tensors = {f"weights/{name}": tensor for name, tensor in system.state_dict().items()}
    groups = {}
    for title, optimizer in optimizers.items():
        state_dict = optimizer.state_dict()
        groups[title] = state_dict["param_groups"]
        for index, values in state_dict["state"].items():
            for key, value in values.items():
                if value is not None:
                    tensors[f"optimizer/{title}/{index}/{key}"] = torch.as_tensor(value)
    tensors["random"] = torch.get_rng_state()
    write_tensors(path, tensors, {"state": state, "groups": groups})


def read_checkpoint(path: Path, system: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any], Tensor]:
    """Load the weights into ``system``; return optimizer states, ``state`` and the random state."""
    tensors, about = read_tensors(path)
    weights = {n.removeprefix("weights/"): t for n, t in tensors.items() if n[:8] == "weights/"}
    fill(system, weights, path)
    optimizers: dict[str, dict[str, Any]] = {
        title: {"state": {}, "param_groups": groups} for title, groups in about["groups"].items()
    }
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _part, title, index, key = name.split("/", 3)
            optimizers[title]["state"].setdefault(int(index), {})[key] = tensor
    return optimizers, about["state"], tensors["random"]
