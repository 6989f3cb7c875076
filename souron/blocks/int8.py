"""Int8 weights for token-by-token decoding.

Each step reads every weight once and computes little, so half the bytes take half the time. Each
row of a matrix has its own scale, and weights are rounded to 255 levels (Dettmers and others:
LLM.int8() (2022), https://arxiv.org/abs/2208.07339, without outliers).
"""

import copy

import torch
from torch import Tensor, nn

from souron.blocks.decoder import Decoder


class Int8Linear(nn.Module):
    """A linear layer (..., inward) bf16 -> (..., outward) bf16 with int8 weights."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        scale = weight.float().abs().amax(1).clamp(min=1e-8) / 127
        self.rows: Tensor
        self.scale: Tensor
        self.register_buffer("rows", (weight.float() / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale.bfloat16())
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1]).bfloat16()
        out = torch._weight_int8pack_mm(flat, self.rows, self.scale)
        out = out.view(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias


class Int8Decoder(Decoder):
    """A copy of a decoder with int8 matrices; unchanged parts are shared."""

    def __init__(self, decoder: Decoder) -> None:
        nn.Module.__init__(self)
        self.structure = decoder.structure
        self.embedding, self.norm = decoder.embedding, decoder.norm
        if not decoder.structure.rotary:
            self.places = decoder.places
        blocks = []
        for block in decoder.blocks:
            mine = copy.copy(block)
            mine._modules = dict(block._modules)
            for name in ("attention", "mlp"):
                part = copy.copy(block._modules[name])
                assert part is not None
                part._modules = {
                    key: Int8Linear(layer.weight, layer.bias) if isinstance(layer, nn.Linear) else layer
                    for key, layer in part._modules.items()
                }
                mine._modules[name] = part
            blocks.append(mine)
        self.blocks = nn.ModuleList(blocks)
        head = decoder.embedding if decoder.structure.tied else decoder.head
        self.quick_head = Int8Linear(head.weight)

    def logits(self, features: Tensor) -> Tensor:
        return self.quick_head(features)
