"""Merge a LoRA into the UNet of Stable Diffusion.

    W <- W + alpha / rank * up down        down (rank, inputs), up (outputs, rank)

A LoRA holds for each layer two narrow matrices whose product is added to the layer's weights, so
that it is small and costs nothing afterwards. ``souron fetch stable_diffusion_lcm`` brings one that
lets Stable Diffusion generate in four steps. Files in the format of kohya's scripts are read:
``lora_unet_mid_block_attentions_0_proj_in.lora_down.weight``, ``.lora_up.weight``, ``.alpha``.

Hu and others: LoRA: Low-Rank Adaptation of Large Language Models (2021).
https://arxiv.org/abs/2106.09685
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from souron.hub import weights
from souron.utils.messages import UserError, _

PREFIX = "lora_unet_"
PARTS = ("lora_down.weight", "lora_up.weight", "alpha")


def merge(unet: nn.Module, file: Path) -> int:
    """Add a LoRA to the weights of a UNet with diffusers' names; return the number of its layers.

    Raises UserError where the file is unreadable, or does not fit the UNet.
    """
    layers = {name.replace(".", "_"): layer for name, layer in unet.named_modules()}
    pairs = _pairs(file)
    for place, held in pairs.items():
        layer = layers.get(place)
        weight = getattr(layer, "weight", None)
        down, up = held.get(PARTS[0]), held.get(PARTS[1])
        if not isinstance(weight, Tensor) or down is None or up is None:
            raise _wrong(file, place)
        narrow, wide = down.float().flatten(1), up.float().flatten(1)
        if narrow.shape[0] != wide.shape[1] or (len(wide), narrow.shape[1]) != weight.flatten(1).shape:
            raise _wrong(file, place)
        rank = len(narrow)
        share = float(held.get(PARTS[2], torch.tensor(rank))) / rank
        with torch.no_grad():
            weight.copy_(weight.float() + share * (wide @ narrow).view_as(weight))
    return len(pairs)


def _pairs(file: Path) -> dict[str, dict[str, Tensor]]:
    """Return for each layer its tensors by ``PARTS``. Raises UserError."""
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.read_weights(file).items():
        place, _dot, part = name.partition(".")
        if not place.startswith(PREFIX) or part not in PARTS or not tensor.numel():
            raise _wrong(file, name)
        pairs.setdefault(place.removeprefix(PREFIX), {})[part] = tensor
    if not pairs:
        raise _wrong(file, "-")
    return pairs


def _wrong(file: Path, name: str) -> UserError:
    return UserError(
        "weights file",
        _("{file} is no LoRA for the UNet of Stable Diffusion 1.5: {name} does not fit").format(file=file, name=name),
        expected=_("a .safetensors file with lora_unet_... weights, and none for the text encoder"),
        fix="souron fetch stable_diffusion_lcm",
        exit=3,
    )
