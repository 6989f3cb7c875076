"""A head so light that it runs on a telephone: one gate for all places, and one finer map.

Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam: Searching for
MobileNetV3 (2019), section 6.4. https://arxiv.org/abs/1905.02244

    image -> MobileNetV3 -> maps at 1/8, and at 1/16 of the side
    1x1(coarse) * sigmoid(1x1(mean of coarse)) -> 2 x as large -> scores, + scores of the fine maps
                                               -> 8 x as large

Atrous spatial pyramid pooling (`deeplab_v3`) looks at each place in five ways. Lite R-ASPP keeps
two: each place itself, and the mean of the whole map, which opens or closes channels everywhere
alike, so that what the image shows decides what a place may be. One skip connection to finer maps
brings the edges. Most of the time goes into the backbone.

Size `mobilenet_v3_large` is torchvision's network, whose published weights load: ``souron predict
lraspp_mobilenet_v3_large photo.jpg``. The small ones have a backbone of CSP blocks.

Differs from the paper: the mean is that of the whole map, not of windows of 49 places; AdamW and
one cycle of the rate; Dice beside the cross-entropy.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks import torchvision_names
from souron.blocks.csp import CSPBackbone, own_backbone
from souron.hub.backbones import MobileNetBackbone
from souron.tasks.segment import Segmenter, Spec

FINE, COARSE = 4, 16  # layers of MobileNetV3 at 1/8 and at 1/16 of the side
NAMES = (  # torchvision's names -> those here
    (r"classifier\.cbr\.", "mix."),
    (r"classifier\.scale\.", "gate."),
    (r"classifier\.low_classifier\.", "fine."),
    (r"classifier\.high_classifier\.", "coarse."),
)


@dataclass(frozen=True)
class Config:
    width: float = 0.25  # times 64 to 1024 channels of the backbone
    depth: float = 0.33  # times 3 to 6 blocks
    maps: int = 64  # channels of the head
    rate: float = 2e-3
    mobile: bool = False  # the published network, on MobileNetV3


class LRASPP(Segmenter):
    year = 2019
    ja = "画像全体の平均でチャネルの門を開け閉めし、細かい特徴マップを一つ足すだけの軽い出力層"
    channels_last = True
    last_layers = ("fine", "coarse")
    SIZES = {
        "tiny": Config(0.125, 0.33, 32, 1e-2),
        "small": Config(),
        "mobilenet_v3_large": Config(1.0, 1.0, 128, 1e-3, True),
    }
    WEIGHTS = {"mobilenet_v3_large": ("torchvision:LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1")}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        backbone: MobileNetBackbone | CSPBackbone
        if config.mobile:
            backbone = MobileNetBackbone((FINE, COARSE), dilated=True)
        else:
            backbone = own_backbone(config.width, config.depth, spec.channels, 2)
        self.backbone = backbone
        fine, coarse = backbone.maps
        labels = len(spec.labels)
        self.mix = nn.Sequential(nn.Conv2d(coarse, config.maps, 1, bias=False), nn.BatchNorm2d(config.maps), nn.ReLU())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(coarse, config.maps, 1, bias=False), nn.Sigmoid())
        self.fine, self.coarse = nn.Conv2d(fine, labels, 1), nn.Conv2d(config.maps, labels, 1)

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return torchvision_names.segmenter(self, weights, "backbone", NAMES)

    def forward(self, image: Tensor) -> Tensor:
        fine, coarse = self.backbone(image)
        x = self.mix(coarse) * self.gate(coarse)  # (B, maps, H / 16, W / 16)
        x = F.interpolate(x, fine.shape[2:], mode="bilinear")
        scores = self.fine(fine) + self.coarse(x)  # (B, labels, H / 8, W / 8)
        return F.interpolate(scores, image.shape[2:], mode="bilinear")
