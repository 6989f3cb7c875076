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

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from souron import registry
from souron.blocks.csp import own_backbone
from souron.blocks.mobilenet import freeze_norms, norms_in_evaluation, padded, v3, v3_layers
from souron.blocks.rcnn import LAYOUTS
from souron.hub import weights
from souron.training import checkpoint
from souron.utils.messages import UserError, _

SIDE = 224  # pixels, of ImageNet's networks
FROZEN = 3  # frozen stages, down to 1/8 of the side
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's images


class Backbone(nn.Module):
    """Extract feature maps at 1/8, 1/16, 1/32 of the side, each (B, maps, h, w).

    The input are images (B, C, H, W) in 0..1. ``levels`` counts the feature maps from the last one:
    5 includes those at 1/2 and 1/4. The last ``atrous`` stages do not downsample. The first
    ``frozen`` stages are not trained, and with ``eps`` no batch normalisation is. Images are padded
    at the right and at the bottom to ``multiple`` pixels. Weights are random until
    ``load_published``. Raises UserError where ``name`` is no classifier with stages.
    """

    mean: Tensor  # (3, 1, 1)
    std: Tensor

    def __init__(
        self,
        name: str,
        channels: int,
        levels: int = 3,
        atrous: int = 0,
        frozen: int = FROZEN,
        eps: float | None = None,
        multiple: int = 1,
    ) -> None:
        super().__init__()
        self.name, self.colours, self.multiple = name, channels == 3, multiple
        self.frozen, self.still = frozen, eps is not None
        model, (mean, std) = _classifier(name)
        self.stages = nn.ModuleList(model.stages())
        held = {id(part): key for key, part in model.state_dict(keep_vars=True).items()}
        parts = self.state_dict(keep_vars=True).items()
        self.names = {key: held[id(part)] for key, part in parts}  # here -> in the classifier
        self.first = len(self.stages) - levels  # first stage whose feature maps are returned
        apart = 1
        for stage in self.stages[len(self.stages) - atrous :]:
            apart = spread(stage, apart)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
        self.stages[:frozen].requires_grad_(False)
        if eps is not None:
            freeze_norms(self, eps)
        for layer in self.stages.modules():
            if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1:
                layer.weight.requires_grad_(False)
        with torch.no_grad():
            maps = self.eval()(torch.zeros(1, channels, 64, 64))
        self.maps = [each.shape[1] for each in maps]
        self.train()

    def train(self, mode: bool = True) -> "Backbone":
        super().train(mode)
        self.stages[: self.frozen].eval()
        if self.still:
            norms_in_evaluation(self)
        return self

    def forward(self, image: Tensor) -> list[Tensor]:
        x = image if self.colours else image.expand(-1, 3, -1, -1)
        x, found = padded((x - self.mean) / self.std, self.multiple), []
        for place, stage in enumerate(self.stages):
            x = stage(x)
            if place >= self.first:
                found.append(x)
        return found

    def freeze(self) -> None:
        """Freeze all stages."""
        self.frozen = len(self.stages)
        self.requires_grad_(False)
        self.train(self.training)

    def load_published(self) -> None:
        """Load the published weights. Raises UserError where they are not on this computer."""
        model, _normalisation = _classifier(self.name)
        entry, size = registry.find(self.name)
        new = registry.load_task(model.task).head(model)
        published = weights.weights(self.name, model.published(size, model.config))
        checkpoint.fill(model, model.renamed(published), Path(entry.name), but=new)
        for stage, filled in zip(self.stages, model.stages(), strict=True):
            stage.load_state_dict(filled.state_dict())


class MobileNetBackbone(nn.Sequential):
    """MobileNetV3-Large as a backbone: images (B, C, H, W) in 0..1 -> the outputs of some layers.

    ``taken`` are the numbers of these layers, ``dilated`` as in ``blocks.mobilenet.v3``. Images are
    padded at the right and at the bottom to ``multiple`` pixels. With ``eps``, batch normalisation
    is frozen, and so are the layers before number ``frozen``.
    """

    name = "mobilenet_v3_large"
    mean: Tensor  # (3, 1, 1)
    std: Tensor

    def __init__(
        self, taken: Sequence[int], dilated: bool = False, frozen: int = 0, eps: float | None = None, multiple: int = 1
    ) -> None:
        settings = v3()
        outward = [layer.outward for layer in settings]
        super().__init__(*v3_layers(dilated=dilated))
        self.taken, self.multiple, self.still = tuple(taken), multiple, eps is not None
        self.maps = [[*outward, 6 * outward[-1]][number - 1] for number in taken]
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)
        if eps is not None:
            freeze_norms(self, eps)
        for layer in list(self)[:frozen]:
            layer.requires_grad_(False)
        self.names = {key: key for key in self.state_dict()}  # here -> in the classifier

    def train(self, mode: bool = True) -> "MobileNetBackbone":
        super().train(mode)
        if self.still:
            norms_in_evaluation(self)
        return self

    def freeze(self) -> None:
        """Freeze all layers."""
        self.still = True
        self.requires_grad_(False)
        self.train(self.training)

    def forward(self, image: Tensor) -> list[Tensor]:
        image = image.expand(-1, 3, -1, -1)
        x, found = padded((image - self.mean) / self.std, self.multiple), []
        for number, layer in enumerate(self):
            x = layer(x)
            if number in self.taken:
                found.append(x)
        return found

    def load_published(self) -> None:
        """Load the published weights. Raises UserError where they are not on this computer."""
        model, _normalisation = _classifier(self.name)
        entry, size = registry.find(self.name)
        published = weights.weights(self.name, model.published(size, model.config))
        checkpoint.fill(model, published, Path(entry.name), but=(model.head,))
        self.load_state_dict(model.features.state_dict())


def of_detector(config: Any, channels: int) -> nn.Module:
    """Build the backbone of an R-CNN from its ``config``: of a published layout, a published
    classifier, or its own.
    """
    layout = LAYOUTS.get(config.backbone)
    if layout is not None and layout.taken:
        return MobileNetBackbone(layout.taken, frozen=7, eps=layout.eps, multiple=layout.multiple)
    if layout is not None:
        return Backbone(layout.classifier, channels, 4, frozen=2, eps=layout.eps, multiple=layout.multiple)
    if config.backbone:
        return Backbone(config.backbone, channels)
    return own_backbone(config.width, config.depth, channels)


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
    system_class, config = registry.load_system(name)
    if not hasattr(system_class, "stages") or not system_class.published(size, config):
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
    mean, std = weights.normalisation(system_class.published(size, config))
    spec = registry.load_task(system_class.task).Spec(3, SIDE, ("",), mean, std)
    return system_class(config, spec), (mean, std)
