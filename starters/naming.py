"""Which layer of a system has which name in the file that its weights were published in.

``layers(name, system)`` are pairs of both; ``state`` makes the system's own weights of a file's. Files
for telephones and browsers hold a convolution together with the normalisation that followed it:

    g (w * x - mean) / s + beta  =  (w g / s) * x + (beta - mean g / s),    s = sqrt(var + eps)
"""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from souron.blocks.folded import FOLDED, Norm
from souron.blocks.folded_mobilenet import MobileNetV2

Layers = Iterator[tuple[str, str]]  # a layer's name here, and in the file


def state(name: str, system: nn.Module, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a file under the names of a system. Raises KeyError where the file lacks one.

    ``held`` has ``NAME.weight`` and ``NAME.bias`` for each convolution of the file. SSD's file has the
    offsets of a box as y, x, height, width; here x is first.
    """
    own = named(system, layers(name, system), held)
    for key, value in own.items():
        if key.startswith("head.regression_head."):
            own[key] = value[torch.arange(len(value)).view(-1, 4)[:, [1, 0, 3, 2]].flatten()]
    return own


def named(network: nn.Module, layers: Iterable[tuple[str, str]], held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's weights; a layer is a convolution, or a module with ``conv`` and ``bn``."""
    own = {}
    for layer, name in layers:
        part = network.get_submodule(layer)
        norm = getattr(part, "bn", None)
        if isinstance(norm, Norm):
            own[f"{layer}.conv.weight"] = held[f"{name}.weight"]
            own |= {f"{layer}.bn.{key}": value for key, value in folded(norm, held[f"{name}.bias"]).items()}
            continue
        own[f"{layer}.weight"] = held[f"{name}.weight"]
        if getattr(part, "bias", None) is not None:
            own[f"{layer}.bias"] = held[f"{name}.bias"]
    return own


def folded(norm: Norm, bias: Tensor) -> dict[str, Tensor]:
    """Return the state of a normalisation that adds ``bias``."""
    return {
        "weight": torch.ones_like(bias),
        "bias": bias,
        "running_mean": torch.zeros_like(bias),
        "running_var": torch.full_like(bias, 1 - norm.eps),
        "num_batches_tracked": torch.tensor(FOLDED),
    }


def layers(name: str, system: nn.Module) -> Layers:
    """Yield each convolution of a system with its name in the file.

    >>> from souron import registry
    >>> kind, config = registry.load_system("u2net")
    >>> next(layers("u2net", kind(config, kind.published_spec("small"))))
    ('down.0.first', '1966')
    """
    return {"ssd_oid": ssd, "nanodet": nanodet, "u2net": u2net, "style": style}.get(name, movenet)(system)


def mobilenet(network: MobileNetV2) -> Iterator[tuple[str, int, str]]:
    """Yield each convolution: its name here, the number of its block, and its part of it.

    The first has the number -1, the last that after the last block.
    """
    yield "first", -1, ""
    number = 0
    for stage, blocks in enumerate(network.stages):
        for place, block in enumerate(blocks.children()):
            for part in ("expand", "depthwise", "project"):
                if hasattr(block, part):
                    yield f"stages.{stage}.{place}.{part}", number, part
            number += 1
    yield "last", number, ""


def ssd(system: nn.Module) -> Layers:
    features, file = system.backbone, "FeatureExtractor/MobilenetV2"
    for layer, block, part in mobilenet(features.network):
        inside = f"expanded_conv_{block}" if block else "expanded_conv"
        name = {
            "": "Conv/Relu6" if block < 0 else "Conv_1/Relu6",
            "project": f"{inside}/project/BatchNorm/FusedBatchNormV3",
        }.get(part, f"{inside}/{part}/Relu6")
        yield f"backbone.network.{layer}", f"{file}/{name}"
    for number, (first, second) in enumerate(features.extra):
        narrow, wide = first.conv.out_channels, second.conv.out_channels
        yield f"backbone.extra.{number}.0", f"{file}/layer_19_1_Conv2d_{number + 2}_1x1_{narrow}/Relu6"
        yield f"backbone.extra.{number}.1", f"{file}/layer_19_2_Conv2d_{number + 2}_3x3_s2_{wide}/Relu6"
    for branch, part in (("classification_head", "ClassPredictor"), ("regression_head", "BoxEncodingPredictor")):
        for level in range(len(features.maps)):
            yield f"head.{branch}.module_list.{level}", f"BoxPredictor_{level}/{part}/BiasAdd"


def nanodet(system: nn.Module) -> Layers:
    """The file numbers its convolutions in the order in which they are computed."""
    names = [name for name, part in system.named_modules() if hasattr(part, "bn")]
    body, heads = names[: -len(system.heads)], names[-len(system.heads) :]
    outputs = [f"outputs.{level}" for level in range(len(heads))]
    order = [*body, *(name for pair in zip(heads, outputs, strict=True) for name in pair)]
    file = "PartitionedCall/convolution"
    yield from ((layer, f"{file}_{number}" if number else file) for number, layer in enumerate(order))


def movenet(system: nn.Module) -> Layers:
    file = "StatefulPartitionedCall"
    body = f"{file}/center_net_mobile_net_v2fpn_feature_extractor/model_1"
    for layer, number, part in mobilenet(system.backbone):
        inside = f"{body}/model/" + (f"block_{number}" if number else "expanded_conv")
        name = {
            "": f"{body}/model/" + ("Conv1_relu/Relu6" if number < 0 else "out_relu/Relu6"),
            "expand": f"{inside}_expand_relu/Relu6",
            "depthwise": f"{inside}_depthwise/depthwise",
            "project": f"{inside}_project_BN/FusedBatchNormV3",
        }[part]
        yield f"backbone.{layer}", name
    for level, end in enumerate(("", "_1", "_2", "_3")):
        yield f"lateral.{level}", f"{body}/conv2d{end}/BiasAdd"
    for level, end in enumerate(("", "_1", "_2")):
        yield f"up.{level}.depthwise", f"{body}/separable_conv2d{end}/separable_conv2d/depthwise"
        yield f"up.{level}", f"{body}/re_lu{end}/Relu"
    heads = {"centre": "center", "points": "kpt_heatmap", "regress": "kpt_regress", "offset": "kpt_offset"}
    for number, (head, theirs) in enumerate(heads.items(), 3):
        part = f"{file}/{theirs}_0"
        yield f"heads.{head}.0.depthwise", f"{part}/separable_conv2d_{number}/separable_conv2d/depthwise"
        yield f"heads.{head}.0.conv", f"{part}/re_lu_{number}/Relu"
        yield f"heads.{head}.1", f"{part}/conv2d_{number + 1}/BiasAdd"


def u2net(system: nn.Module) -> Layers:
    """The file numbers what it computes: every third is a convolution, those that give logits apart."""
    body = [name for name, part in system.named_modules() if hasattr(part, "bn")]
    yield from ((name, str(1966 + 3 * place)) for place, name in enumerate(body))
    sides = (1856, 1857, 1877, 1897, 1917, 1937)
    yield from ((f"side.{stage}", str(number)) for stage, number in enumerate(sides))
    yield "fuse", "1958"


def style(system: nn.Module) -> Layers:
    for layer, number, part in mobilenet(system.reader):
        inside = "MobilenetV2/" + (f"expanded_conv_{number}" if number else "expanded_conv")
        name = {
            "": "MobilenetV2/" + ("Conv/Relu6" if number < 0 else "Conv_1/Relu6"),
            "project": f"{inside}/project/BatchNorm/FusedBatchNormV3",
        }.get(part, f"{inside}/{part}/Relu6")
        yield f"reader.{layer}", f"{name}_prequant"
    yield "bottleneck", "mobilenet_conv/Conv/BiasAdd_int8_prequant"
    for number in range(1, len(system.contract) + 1):
        yield f"contract.{number - 1}", f"transformer/contract/conv{number}/Relu_prequant"
    styled = {
        f"residual.{block}.conv{number}": f"residual/residual{block + 1}/conv{number}"
        for block in range(len(system.residual))
        for number in (1, 2)
    } | {f"expand.{number}": f"expand/conv{number + 1}/conv" for number in range(3)}
    for layer, path in styled.items():
        yield f"{layer}.conv", f"transformer/{path}/Conv2D_prequant"
        for part, theirs in (("scale", "Conv_1"), ("shift", "Conv")):
            yield f"{layer}.{part}", f"style_params/transformer/{path}/StyleNorm/{theirs}/BiasAdd_prequant"
