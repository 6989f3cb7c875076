"""Any of the thousand published networks that the library timm collects, by its name.

Wightman: PyTorch Image Models (2019). https://github.com/huggingface/pytorch-image-models

    image -> backbone of that name, with a new last layer -> one score per label

Differs from the paper: there are hundreds of papers, and the mechanism is timm's and not shown
here; see `resnet`, `vit`, ... for that. All learn with AdamW and one cycle of the rate, as all
classifiers here. The option `backbone` selects the network, as in `backbone=convnext_tiny`, and may
include the tag of published weights, as in `backbone=resnet18.a1_in1k`; a few with several output
layers are excluded. Networks with a fixed image size get images of it; for the others images under
32 pixels a side are enlarged to 32.
"""

import difflib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import timm
from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.classify import Classifier, Spec
from souron.utils.messages import UserError, _


@dataclass(frozen=True)
class Config:
    backbone: str = "resnet18"
    rate: float = 1e-3


class Timm(Classifier):
    year = 2019
    ja = "ライブラリ timm が集めた千を超える画像モデルを、名前で呼び出して使う"
    status = "pretrained"
    channels_last = True
    SIZES = {"tiny": Config("test_efficientnet", 1e-2), "small": Config("regnetx_002", 5e-3)}
    WEIGHTS = {"tiny": "timm:test_efficientnet.r160_in1k", "small": "timm:regnetx_002.pycls_in1k"}

    def __init__(self, config: Config, spec: Spec):
        """Raise UserError if timm has no network of that name, or none that fits."""
        super().__init__(config, spec)
        self.about = look_up(config.backbone)
        self.backbone = timm.create_model(config.backbone, in_chans=spec.channels, num_classes=len(spec.labels))
        fixed_size = self.about.fixed_input_size
        self.side = self.about.input_size[-1] if fixed_size else max(32, spec.side)

    @classmethod
    def published(cls, size: str, config: Config) -> str:
        about = look_up(config.backbone)
        return f"timm:{about.architecture}.{about.tag}" if about.tag else ""

    @property
    def head(self) -> str:  # type: ignore[override]  # each network has its own
        return self.about.classifier

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[-1] != self.side:
            image = F.interpolate(image, (self.side, self.side), mode="bilinear", antialias=True)
        return self.backbone(image)  # (B, labels)

    # layers and weights keep timm's names, so that published weights load
    def get_submodule(self, target: str) -> nn.Module:
        return self.backbone.get_submodule(target)

    def state_dict(self, *args, **options):
        return self.backbone.state_dict(*args, **options)

    def load_state_dict(self, state_dict, strict: bool = True, assign: bool = False):
        return self.backbone.load_state_dict(state_dict, strict, assign)


@lru_cache
def look_up(backbone: str) -> Any:
    """Return timm's description of a network: its image side, the name of its last layer.

    Raises UserError for an unknown network.
    """
    every = [*timm.list_models(), *timm.list_pretrained()]
    networks: dict[str, Any] = {name: timm.get_pretrained_cfg(name) for name in every}
    usable = [name for name, about in networks.items() if isinstance(about.classifier, str)]
    if backbone in usable:
        return networks[backbone]
    near = difflib.get_close_matches(backbone, usable, 3, 0.5)
    raise UserError(
        "backbone",
        _("timm has no network named {name!r} that ends in one layer for the labels").format(name=backbone),
        expected=", ".join(near) or "resnet18, convnext_tiny, vit_base_patch16_224, ...",
        fix=f"backbone={near[0]}" if near else "backbone=resnet18",
    )
