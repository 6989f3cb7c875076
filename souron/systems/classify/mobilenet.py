"""Narrow outside, wide inside: each channel is filtered alone, and 1x1 layers mix them.

Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks
(2018). https://arxiv.org/abs/1801.04381

    y = project(depthwise(expand(x)))  [+ x]        1x1 - 3x3 per channel - 1x1

A convolution that mixes all channels at all positions is expensive. Here a 3x3 convolution looks at
each channel alone, and 1x1 convolutions mix them. A residual block is thin outside, so that little
is kept in memory, and wide inside, where the ReLU loses least; the last 1x1 has no activation.

Size `v2` is the published network. `v3_large` is its successor: Howard and others: Searching for
MobileNetV3 (2019), https://arxiv.org/abs/1905.02244, with 5x5 kernels, squeeze and excitation, and
hard swish. Both have torchvision's layers, so that its published weights load. The blocks are in
``blocks.mobilenet``.

Differs from the paper: it learns with AdamW and one cycle of the rate, as all classifiers here.
Images under 64 pixels a side enter with stride 1. The small sizes have fewer channels in the last
convolution.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from souron.blocks.mobilenet import LAST, STEM, V3, InvertedResidual, eights, layers_of, v2, v3_layers
from souron.tasks.classify import Classifier, Spec

FLAT = re.compile(r"(features\.\d+\.)conv\.(\d)\.(\w+)")  # V2's published name of a projection


@dataclass(frozen=True)
class Config:
    version: int = 2
    width: float = 1.0  # times the channels, of version 2
    depth: float = 1.0  # times the blocks of a stage, of version 2
    last: int = LAST  # channels before the labels
    dropout: float = 0.2
    rate: float = 1e-3


class MobileNet(Classifier):
    year = 2018
    ja = "細い層を中で広げ、チャネルごとの畳み込みを 1x1 の畳み込みで挟んで、計算を大きく減らす"
    channels_last = True
    SIZES = {
        "tiny": Config(2, 0.125, 0.4, 64, 0.0, 1e-2),
        "small": Config(2, 0.35, 0.6, 256, 0.1, 5e-3),
        "v2": Config(),
        "v3_large": Config(3),
    }
    WEIGHTS = {
        "v2": "torchvision:MobileNet_V2_Weights.IMAGENET1K_V1",
        "v3_large": "torchvision:MobileNet_V3_Large_Weights.IMAGENET1K_V1",
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        tail: list[nn.Module] = [nn.Dropout(config.dropout)]
        if config.version == 3:
            layers = v3_layers(spec.channels)
            tail = [nn.Linear(6 * V3[-1][2], config.last), nn.Hardswish(), *tail]
        else:
            stem, stride = eights(STEM * config.width), 1 if spec.side < 64 else 2
            blocks = v2(config.width, config.depth)
            layers = list(layers_of(spec.channels, stem, blocks, config.last, stride))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(*tail, nn.Linear(config.last, len(spec.labels)))

    @property
    def head(self) -> str:  # type: ignore[override]  # each version has its own
        return f"classifier.{len(self.classifier) - 1}"

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the published weights of version 2, whose blocks end in two layers without a name
        in common: ``conv.2``, ``conv.3`` -> ``block.2.0``, ``block.2.1``.
        """
        state_dict = {}
        for key, tensor in weights.items():
            flat = FLAT.fullmatch(key)
            if flat:
                stem, number, kind = flat.groups()
                mixes = tensor.ndim == 4
                index = f"{number}.0" if mixes else f"{int(number) - 1}.1"
                key = f"{stem}block.{index}.{kind}"
            state_dict[key.replace(".conv.", ".block.")] = tensor
        return state_dict

    def stages(self) -> list[nn.Sequential]:
        """Return the layers in stages of 1/2, 1/4, ..., 1/32 of the side, see ``hub.backbones``."""
        first, *layers, _last = self.features.children()
        stages = [nn.Sequential(first)]
        for layer in layers:
            if isinstance(layer, InvertedResidual) and layer.halves:
                stages.append(nn.Sequential())
            stages[-1].append(layer)
        return stages

    def forward(self, image: Tensor) -> Tensor:
        x = self.features(image)  # (B, last, H / 32, W / 32)
        return self.classifier(x.mean((2, 3)))  # (B, labels)
