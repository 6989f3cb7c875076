"""torchvision's networks with random weights, as they are with published ones, for comparison."""

from collections import OrderedDict
from functools import partial

import torch
from torch import nn
from torchvision.models import mobilenet_v3_large, resnet50, segmentation
from torchvision.models.detection import (
    FasterRCNN,
    KeypointRCNN,
    MaskRCNN,
    RetinaNet,
    fasterrcnn_resnet50_fpn_v2,
    maskrcnn_resnet50_fpn_v2,
    retinanet_resnet50_fpn_v2,
    ssdlite320_mobilenet_v3_large,
)
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import _mobilenet_extractor, _resnet_fpn_extractor
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

FEW = 20  # proposals
IMAGES = 8  # whose statistics normalisation has
NOTHING = {"weights": None, "weights_backbone": None}
MOBILE = "mobilenet_v3_large"


def frozen_resnet() -> nn.Module:
    """A ResNet-50 with its pyramid, as with published weights: normalisation is frozen."""
    return _resnet_fpn_extractor(resnet50(norm_layer=FrozenBatchNorm2d), 3)


def mobile(labels: int, **how) -> nn.Module:
    backbone = _mobilenet_extractor(mobilenet_v3_large(norm_layer=FrozenBatchNorm2d), True, 3)
    anchors = AnchorGenerator(((32, 64, 128, 256, 512),) * 3, ((0.5, 1.0, 2.0),) * 3)
    return FasterRCNN(backbone, 1 + labels, rpn_anchor_generator=anchors, rpn_score_thresh=0.05, **how)


def first(kind, **own):
    """A network of 2019, whose checkpoint adds nothing to variances."""

    def build(labels: int, **how) -> nn.Module:
        network = kind(frozen_resnet(), num_classes=1 + labels, **own, **how)
        overwrite_eps(network, 0.0)
        return network

    return build


def second(builder):
    return lambda labels, **how: builder(num_classes=1 + labels, **NOTHING, **how)


RCNNS = {
    "fasterrcnn_resnet50_fpn": first(FasterRCNN),
    "fasterrcnn_resnet50_fpn_v2": second(fasterrcnn_resnet50_fpn_v2),
    "fasterrcnn_mobilenet_v3_large_fpn": mobile,
    "fasterrcnn_mobilenet_v3_large_320_fpn": partial(mobile, rpn_pre_nms_top_n_test=150),
    "maskrcnn_resnet50_fpn": first(MaskRCNN),
    "maskrcnn_resnet50_fpn_v2": second(maskrcnn_resnet50_fpn_v2),
    "keypointrcnn_resnet50_fpn": first(KeypointRCNN, num_keypoints=17),
}
RETINAS = ("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2")
SEGMENTERS = ("fcn_resnet50", "deeplabv3_resnet50", f"deeplabv3_{MOBILE}", f"lraspp_{MOBILE}")


def rcnn(name: str, labels: int, **how) -> nn.Module:
    """One of torchvision's R-CNNs that gives few proposals, and answers that differ."""
    torch.manual_seed(0)
    usual = {"rpn_post_nms_top_n_test": FEW, "box_detections_per_img": 2}
    network = RCNNS[name](labels, **{**usual, **how})
    image = list(torch.rand(IMAGES, 3, 50, 77))
    lively(network, image)
    spread(network, image, network.rpn.head.cls_logits, 1.0)
    spread(network, image, network.roi_heads.box_predictor.cls_score, 1.0)
    spread(network, image, network.roi_heads.box_predictor.bbox_pred, 0.5)
    return network


def retina(name: str, labels: int, **how) -> nn.Module:
    """One of torchvision's RetinaNets whose answers differ."""
    torch.manual_seed(0)
    sides = {"min_size": 50, "max_size": 90, **how}
    if name.endswith("v2"):
        network = retinanet_resnet50_fpn_v2(num_classes=1 + labels, **NOTHING, **sides)
    else:
        resnet = resnet50(norm_layer=FrozenBatchNorm2d)
        coarse = LastLevelP6P7(256, 256)
        network = RetinaNet(_resnet_fpn_extractor(resnet, 3, [2, 3, 4], coarse), 1 + labels, **sides)
        overwrite_eps(network, 0.0)
    image = list(torch.rand(IMAGES, 3, 50, 77))
    lively(network, image)
    spread(network, image, network.head.classification_head.cls_logits, 1.0)
    spread(network, image, network.head.regression_head.bbox_reg, 0.5)
    return network


@torch.no_grad()
def spread(network: nn.Module, image: list, layer: nn.Module, deviation: float) -> None:
    """Centre what a layer answers, channel by channel, and scale it to a deviation, so that neither
    rounding nor saturation decides anything."""
    seen = []
    hook = layer.register_forward_hook(lambda _layer, _given, answer: seen.append(answer))
    network(image)
    hook.remove()
    answer = torch.cat([each.transpose(0, 1).flatten(1) for each in seen], 1)  # (channels, places)
    middle, scale = answer.mean(1), deviation / (answer - answer.mean(1, keepdim=True)).std()
    layer.weight *= scale
    layer.bias.copy_(scale * (layer.bias - middle))


def segmenter(name: str, labels: int) -> nn.Module:
    torch.manual_seed(0)
    beside = {} if name.startswith("lraspp") else {"aux_loss": True}
    network = getattr(segmentation, name)(num_classes=labels, **NOTHING, **beside)
    return lively(network, torch.randn(IMAGES, 3, 64, 96))


def ssdlite(labels: int) -> nn.Module:
    torch.manual_seed(0)
    network = ssdlite320_mobilenet_v3_large(num_classes=1 + labels, **NOTHING)
    return lively(network, list(torch.rand(IMAGES, 3, 90, 70)))


@torch.no_grad()
def lively(network: nn.Module, image: object) -> nn.Module:
    """The network with the statistics of normalisation that images have in it: without training,
    others would make its maps alike everywhere, or huge."""
    hooks = [
        layer.register_forward_pre_hook(measured)
        for layer in network.modules()
        if isinstance(layer, FrozenBatchNorm2d | nn.BatchNorm2d)
    ]
    network.eval()(image)
    for hook in hooks:
        hook.remove()
    return network


def measured(layer: nn.Module, given: tuple) -> None:
    layer.running_mean.copy_(given[0].mean((0, 2, 3)))
    layer.running_var.copy_(given[0].var((0, 2, 3), correction=0).clamp(min=1e-2))


def older(weights: dict) -> "OrderedDict[str, torch.Tensor]":
    """Rename weights to the names that files of before 2022 have, without what was not counted
    then."""
    named = OrderedDict()
    for name, tensor in weights.items():
        if name.endswith("num_batches_tracked"):
            continue
        if "fpn." in name or "rpn.head.conv" in name:
            name = name.replace(".0.0.", ".", 1) if "conv" in name else drop(name)
        if "mask_head." in name:
            _heads, _mask, number, _conv, kind = name.split(".")
            name = f"roi_heads.mask_head.mask_fcn{int(number) + 1}.{kind}"
        named[name] = tensor
    return named


def drop(name: str) -> str:
    """``backbone.fpn.inner_blocks.3.0.weight`` -> ``backbone.fpn.inner_blocks.3.weight``"""
    stem, _zero, kind = name.rsplit(".", 2)
    return f"{stem}.{kind}"
