"""Convert the names of weights in torchvision's detectors and segmenters to those here.

Files from before 2022 have older names of some layers, which torchvision converts on loading, too.
What is unknown keeps its name, so that a file of another network is refused.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

Rules = Sequence[tuple[str, str]]  # patterns of names there, and what replaces them

OLDER: Rules = (  # names of files from before 2022 -> those of today
    (r"backbone\.fpn\.(inner|layer)_blocks\.(\d+)\.(weight|bias)", r"backbone.fpn.\1_blocks.\2.0.\3"),
    (r"rpn\.head\.conv\.(weight|bias)", r"rpn.head.conv.0.0.\1"),
)
RCNN: Rules = (
    (r"backbone\.fpn\.inner_blocks\.(\d+)\.(\d)\.", r"pyramid.inner.\1.\2."),
    (r"backbone\.fpn\.layer_blocks\.(\d+)\.(\d)\.", r"pyramid.outer.\1.\2."),
    (r"rpn\.head\.cls_logits\.", "proposer.sure."),
    (r"rpn\.head\.bbox_pred\.", "proposer.offset."),
    (r"roi_heads\.box_head\.fc6\.", "judge.first."),
    (r"roi_heads\.box_head\.fc7\.", "judge.second."),
    (r"roi_heads\.box_head\.5\.", "judge.first."),
    (r"roi_heads\.box_head\.(\d)\.", r"judge.convs.\1."),
    (r"roi_heads\.box_predictor\.cls_score\.", "judge.label."),
    (r"roi_heads\.box_predictor\.bbox_pred\.", "judge.offset."),
    (r"roi_heads\.keypoint_head\.", "drawer."),
    (r"roi_heads\.keypoint_predictor\.kps_score_lowres\.", "drawer.16."),
)
LAYER = re.compile(r"roi_heads\.mask_head\.(?:mask_fcn)?(\d)\.(?:(\d)\.)?(\w+)")
BACKGROUND = {"judge.offset.weight": 4, "judge.offset.bias": 4}  # rows that no label has


def rcnn(system: Any, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of torchvision's R-CNNs by their names here.

    The offsets and the masks of the background, which are never used there, are dropped.
    """
    renaming, state_dict = of_backbone(system.backbone, "backbone.body.", "backbone."), {}
    normed = system.layout.normed
    masks = 3 * 4 if normed else 2 * 4  # the position of the first layer after the convolutions
    rules = (
        *OLDER,
        *RCNN,
        (r"roi_heads\.mask_predictor\.conv5_mask\.", f"drawer.{masks}."),
        (r"roi_heads\.mask_predictor\.mask_fcn_logits\.", f"drawer.{masks + 2}."),
    )
    for name, tensor in weights.items():
        key = renaming.get(name) or replaced(name, rules)
        if not normed:  # a convolution alone is no sequence
            key = re.sub(r"^(pyramid\.\w+\.\d+)\.0\.", r"\1.", key)
        key = _of_conv(key, normed)
        key = _of_mask(key, normed)
        drop = BACKGROUND.get(key, 1 if "mask_fcn_logits" in name else 0)
        state_dict[key] = tensor[drop:] if drop else tensor
    return with_counts(system, state_dict)


def _of_conv(key: str, deep: bool) -> str:
    """Convert the names of the proposal network's convolutions, of which there may be one alone."""
    layer = re.fullmatch(r"rpn\.head\.conv\.(\d)\.0\.(\w+)", key)
    if layer is None:
        return key
    return f"proposer.conv.{2 * int(layer[1])}.{layer[2]}" if deep else f"proposer.conv.{layer[2]}"


def _of_mask(key: str, normed: bool) -> str:
    """Convert the names of the mask head's convolutions; older files count them from 1."""
    layer = LAYER.fullmatch(key)
    if layer is None:
        return key
    number, part, kind = int(layer[1]), int(layer[2] or 0), layer[3]
    if "mask_fcn" in key:
        number -= 1
    return f"drawer.{(3 if normed else 2) * number + part}.{kind}"


def segmenter(system: Any, weights: Mapping[str, Tensor], backbone: str, rules: Rules) -> dict[str, Tensor]:
    """Return the weights of torchvision's segmenters by their names here.

    ``backbone`` is the backbone's name here, ``rules`` are those of the other layers.
    """
    renaming = of_backbone(system.get_submodule(backbone), "backbone.", f"{backbone}.")
    state_dict = {renaming.get(name) or replaced(name, rules): tensor for name, tensor in weights.items()}
    return with_counts(system, state_dict)


def replaced(name: str, rules: Rules) -> str:
    """Apply each rule to the beginning of a name, one after the other."""
    for pattern, new in rules:
        name = re.sub(rf"^{pattern}", new, name)
    return name


def of_backbone(backbone: Any, there: str, here: str) -> dict[str, str]:
    """Return the names of a backbone's weights in a published file -> those here.

    ``there`` and ``here`` are what stands before the names of the classifier and of the backbone.
    """
    return {there + name: here + own for own, name in backbone.names.items()}


def with_counts(system: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the number of batches of each batch normalisation, which files of frozen ones lack."""
    counts = {
        name: count.new_zeros(())
        for name, count in system.state_dict().items()
        if name.endswith(".num_batches_tracked")
    }
    return counts | dict(weights)
