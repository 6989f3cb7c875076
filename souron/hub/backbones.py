"""A published classifier without its last layers, as the backbone of a detector or a segmenter.

    backbone=efficientnet_lite    its ImageNet weights are included in souron
    backbone=resnet50             after souron fetch resnet50

A classifier with ``stages()``, its layers split where the resolution changes, can be a backbone.
Its first stages, which detect edges and textures, stay frozen. The others are fine-tuned, except
depthwise convolutions, whose gradient takes half of the time of a step on a CPU.

With ``atrous``, its last stages keep the resolution of the one before: strides of two become one,
and the following convolutions are dilated by two, so that the published weights still see the input
spacing they were trained on (Chen, Papandreou, Kokkinos, Murphy, Yuille: DeepLab, 2016,
https://arxiv.org/abs/1606.00915).
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from souron import registry
from souron.hub import weights
from souron.training import checkpoint
from souron.utils.messages import UserError, _

SIDE = 224  # pixels, of ImageNet's networks
FROZEN = 3  # frozen stages, down to 1/8 of the side


class Backbone(nn.Module):
    """Extract feature maps at 1/8, 1/16, 1/32 of the side, each (B, maps, h, w).

    The input are images (B, C, H, W) in 0..1. ``levels`` counts the feature maps from the last one:
    5 includes those at 1/2 and 1/4. The last ``atrous`` stages do not downsample. Weights are
    random until ``load_published``. Raises UserError where ``name`` is no classifier with stages.
    """

    mean: Tensor  # (3, 1, 1)
    std: Tensor

    def __init__(self, name: str, channels: int, levels: int = 3, atrous: int = 0) -> None:
        super().__init__()
        self.name, self.colours = name, channels == 3
        model, (mean, std) = _classifier(name)
        self.stages = nn.ModuleList(model.stages())
        self.first = len(self.stages) - levels  # first stage whose feature maps are returned
        apart = 1
        for stage in self.stages[len(self.stages) - atrous :]:
            apart = spread(stage, apart)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
        self.stages[:FROZEN].requires_grad_(False)
        for layer in self.stages.modules():
            if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1:
                layer.weight.requires_grad_(False)
        with torch.no_grad():
            maps = self.eval()(torch.zeros(1, channels, 64, 64))
        self.maps = [each.shape[1] for each in maps]
        self.train()

    def train(self, mode: bool = True) -> "Backbone":
        super().train(mode)
        self.stages[:FROZEN].eval()
        return self

    def forward(self, image: Tensor) -> list[Tensor]:
        x = image if self.colours else image.expand(-1, 3, -1, -1)
        x, found = (x - self.mean) / self.std, []
        for place, stage in enumerate(self.stages):
            x = stage(x)
            if place >= self.first:
                found.append(x)
        return found

    def load_published(self) -> None:
        """Load the published weights. Raises UserError where they are not on this computer."""
        model, _normalisation = _classifier(self.name)
        entry, size = registry.find(self.name)
        new = registry.load_task(model.task).head(model)
        published = weights.weights(self.name, model.published(size, model.config))
        checkpoint.fill(model, published, Path(entry.name), but=new)
        for stage, filled in zip(self.stages, model.stages(), strict=True):
            stage.load_state_dict(filled.state_dict())


def spread(stage: nn.Module, apart: int = 1) -> int:
    """Replace strides by dilation; ``apart`` is the dilation so far. Return the final dilation."""
    for layer in stage.modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        before = apart
        if layer.kernel_size[0] > 1:
            assert not isinstance(layer.padding, str)
            high, wide = layer.padding
            apart *= layer.stride[0]
            layer.dilation, layer.padding = (before, before), (high * before, wide * before)
        layer.stride = (1, 1)
    return apart


def _classifier(name: str):
    """Build a classifier with random weights; also return the input mean and deviation."""
    _entry, size = registry.find(name)
    kind, config = registry.load_system(name)
    if not hasattr(kind, "stages") or not kind.published(size, config):
        able = [
            registry.full_name(each, of_size)
            for each in registry.entries().values()
            for of_size in each.weights
            if hasattr(registry.load_system(each.name)[0], "stages")
        ]
        raise UserError(
            "option",
            _("{name} is no backbone").format(name=name),
            expected=", ".join(able),
            fix="backbone=efficientnet_lite",
        )
    mean, std = weights.normalisation(kind.published(size, config))
    spec = registry.load_task(kind.task).Spec(3, SIDE, ("",), mean, std)
    return kind(config, spec), (mean, std)
