"""Weights of 8 bits for token-by-token decoding.

Each step reads every weight once and computes little, so half the bytes take half the time. Each
row of a matrix has its own scale, and weights are rounded to 255 levels (Dettmers and others:
LLM.int8() (2022), https://arxiv.org/abs/2208.07339, without outliers).

On x86 the products are those of FBGEMM, with and without VNNI instructions (Khudia and others:
FBGEMM (2021), https://arxiv.org/abs/2101.05615). It multiplies whole numbers, so an activation is
the sum of two of 7 bits, ``x = step * (high + low / 126)``; both are rows of one product, which
reads the weights once. With more than 7 bits, sums of two products could exceed the 16 bits in
which processors without VNNI keep them.
"""

import copy
import math
import warnings
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.decoder import Decoder

LEVELS, FINER, ZERO = 63, 126, 64  # of ``high``; units of ``low`` in one of ``high``; what stands for 0


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return whole numbers of -127 to 127 (rows, columns) and the scale of each row (rows,)."""
    scale = weight.float().abs().amax(1).clamp(min=1e-8) / 127
    return (weight.float() / scale[:, None]).round().to(torch.int8), scale


class Int8Linear(nn.Module):
    """A linear layer (..., inward) bf16 -> (..., outward) bf16 with int8 weights."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.rows: Tensor
        self.scale: Tensor
        rows, scale = quantised(weight)
        self.register_buffer("rows", rows)
        self.register_buffer("scale", scale.bfloat16())
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1]).bfloat16()
        out = torch._weight_int8pack_mm(flat, self.rows, self.scale)
        out = out.view(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias


class FbgemmLinear(nn.Module):
    """A linear layer (..., inward) -> (..., outward) in float32 with int8 weights."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.outward = len(weight)
        self.packed = packed(*quantised(weight))
        self.bias = None if bias is None else bias.float()

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        low, high = torch.aminmax(flat)
        step = max(-low.item(), high.item(), 1e-30) / LEVELS
        if not math.isfinite(step):
            return x.new_full((*x.shape[:-1], self.outward), torch.nan)
        flat = flat / step
        whole = flat.round()
        rows = torch.cat([whole, flat.sub_(whole).mul_(FINER)])
        out = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(rows, 1.0, ZERO, self.packed)
        out = out[: len(flat)].add_(out[len(flat) :], alpha=1 / FINER).mul_(step).view(*x.shape[:-1], self.outward)
        return out if self.bias is None else out.add_(self.bias)


def packed(rows: Tensor, scale: Tensor) -> torch.ScriptObject:
    """Return a matrix as FBGEMM holds it. Raises RuntimeError or AttributeError without FBGEMM."""
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*deprecated", UserWarning)  # of the type of the next tensor
            matrix = torch._make_per_channel_quantized_tensor(rows, scale.double(), torch.zeros(len(rows)).long(), 0)
        return torch.ops.quantized.linear_prepack(matrix, None)
    finally:
        torch.backends.quantized.engine = engine


@lru_cache(maxsize=1)
def has_fbgemm() -> bool:
    """Return whether this PyTorch multiplies with FBGEMM; Apple's and other ARM processors do not."""
    try:
        FbgemmLinear(torch.ones(1, 4))(torch.ones(1, 4))
    except (RuntimeError, AttributeError):
        return False
    return True


class RMSNorm(nn.Module):
    """Root mean square normalisation in float32; for one token in half the time of PyTorch's."""

    def __init__(self, norm: nn.RMSNorm) -> None:
        super().__init__()
        self.weight = None if norm.weight is None else norm.weight.float()
        self.shape, self.epsilon = norm.normalized_shape, norm.eps or 0.0

    def forward(self, x: Tensor) -> Tensor:
        if x.numel() > x.shape[-1]:
            return F.rms_norm(x, self.shape, self.weight, self.epsilon)
        flat = x.flatten()
        factor = (flat.dot(flat).item() / len(flat) + self.epsilon) ** -0.5
        return x * factor if self.weight is None else (x * self.weight).mul_(factor)


class Int8Decoder(Decoder):
    """A copy of a decoder with int8 matrices; embeddings are shared."""

    def __init__(self, decoder: Decoder) -> None:
        nn.Module.__init__(self)
        self.structure = decoder.structure
        self.exact = has_fbgemm()  # activations in float32, else in bf16
        self.embedding, self.norm = decoder.embedding, self._converted(decoder.norm)
        if not decoder.structure.rotary:
            self.places = decoder.places
        blocks = []
        for block in decoder.blocks:
            mine = copy.copy(block)
            mine._modules = {name: self._converted(part) for name, part in block._modules.items() if part is not None}
            for name in ("attention", "mlp"):
                part = copy.copy(mine._modules[name])
                assert part is not None
                part._modules = {
                    key: self._converted(layer) for key, layer in part._modules.items() if layer is not None
                }
                mine._modules[name] = part
            blocks.append(mine)
        self.blocks = nn.ModuleList(blocks)
        self.quick_head = self._converted(decoder.embedding if decoder.structure.tied else decoder.head)

    def _converted(self, layer: nn.Module) -> nn.Module:
        """Return a layer with int8 weights, or a norm in the type of the activations."""
        if isinstance(layer, nn.Linear | nn.Embedding):
            kind = FbgemmLinear if self.exact else Int8Linear
            return kind(layer.weight, getattr(layer, "bias", None))
        if not self.exact:
            return layer
        if isinstance(layer, nn.RMSNorm):
            return RMSNorm(layer)
        return copy.deepcopy(layer).float() if isinstance(layer, nn.LayerNorm) else layer

    def embedded(self, tokens: Tensor, place: Tensor) -> Tensor:
        x = super().embedded(tokens, place)
        return x.float() if self.exact else x

    def logits(self, features: Tensor) -> Tensor:
        return self.quick_head(features)
