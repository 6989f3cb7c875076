"""Weights of 8 or 4 bits for token-by-token decoding, and of fp16 where bf16 is slow.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.decoder import Decoder
from souron.utils import hardware

LEVELS, FINER, ZERO = 63, 126, 64  # of ``high``; units of ``low`` in one of ``high``; what stands for 0
BLOCK = 32  # columns that share a scale in 4 bits
SPLIT = torch.tensor([[[1.0]], [[FINER]]]) * LEVELS  # of an activation between -1 and 1: ``high``, ``low``


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
        rows, scale = quantised(weight)
        self.outward = len(weight)
        self.packed = packed(rows, scale / LEVELS)
        self.bias = None if bias is None else bias.float()

    def forward(self, x: Tensor) -> Tensor:
        out = self.product(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], self.outward)
        return out if self.bias is None else out.add_(self.bias)

    def product(self, x: Tensor) -> Tensor:
        """Multiply (N, inward) -> (N, outward)."""
        largest = torch.linalg.vector_norm(x, torch.inf)
        if not 0 < largest.item() < math.inf:  # all are 0, or one is no number
            return x.new_full((len(x), self.outward), 0 * largest.item())
        high, low = halves = x * (SPLIT / largest)  # (2, N, inward)
        low.sub_(high.round_(), alpha=FINER)
        rows = halves.view(-1, x.shape[-1])
        rows = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(rows, 1.0, ZERO, self.packed)
        high, low = rows.view(2, len(x), self.outward)
        return high.add_(low, alpha=1 / FINER).mul_(largest)


class Int4Linear(nn.Module):
    """A linear layer (..., inward) -> (..., outward) in float32; weights of 4 bits, products in bf16.

    ``numbers``, ``scale`` and ``least`` are those of ``blocks_of``.
    """

    def __init__(self, numbers: Tensor, scale: Tensor, least: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.packed = torch._convert_weight_to_int4pack_for_cpu(numbers, 1)
        self.scales = torch.stack([scale, least + 8 * scale], -1).transpose(0, 1).bfloat16().contiguous()
        self.bias = None if bias is None else bias.float()

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1]).bfloat16()
        out = torch._weight_int4pack_mm_for_cpu(flat, self.packed, BLOCK, self.scales)
        out = out.float().view(*x.shape[:-1], out.shape[-1])
        return out if self.bias is None else out.add_(self.bias)


def blocks_of(weight: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return the blocks of a matrix (rows, columns) that was stored in 4 bits; None for another one.

    The forms are Q4_0 and Q4_1 of llama.cpp: ``least + scale * number``, with numbers of 0 to 15
    (rows, columns), and scale and least (rows, columns / 32) of each block of 32 columns.
    """
    rows, columns = weight.shape
    if columns % BLOCK or rows % 64:
        return None
    few = weight[:: rows // 64].float().view(-1, columns // BLOCK, BLOCK)
    for form in (_q4_1, _q4_0):
        if not _is_of(few, *form(few)):
            continue
        blocks = weight.float().view(rows, -1, BLOCK)
        numbers, scale, least = form(blocks)
        if _is_of(blocks, numbers, scale, least):
            return numbers.int().view(rows, columns), scale[..., 0], least[..., 0]
    return None


def _q4_1(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    least, most = blocks.aminmax(dim=-1, keepdim=True)
    return _numbers(blocks, (most - least) / 15, least)


def _q4_0(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    least = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    return _numbers(blocks, least / -8, least)


def _numbers(blocks: Tensor, scale: Tensor, least: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    numbers = ((blocks - least) / scale).nan_to_num_(0).round_().clamp_(0, 15)
    return numbers, scale, least


def _is_of(blocks: Tensor, numbers: Tensor, scale: Tensor, least: Tensor) -> bool:
    """Return whether numbers and scales give the blocks, to the precision of bf16."""
    error = (numbers * scale).add_(least).sub_(blocks).abs_().amax(-1)
    return bool((error <= blocks.abs().amax(-1) / 128).all())


class Fp16Linear(nn.Module):
    """A linear layer (..., inward) -> (..., outward) in float32 with fp16 weights, by FBGEMM."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        with with_fbgemm():
            self.packed = torch.ops.quantized.linear_prepack_fp16(weight.float(), None)
        self.bias = None if bias is None else bias.float()

    @property
    def weight(self) -> Tensor:
        return torch.ops.quantized.linear_unpack_fp16(self.packed)[0]

    def forward(self, x: Tensor) -> Tensor:
        out = torch.ops.quantized.linear_dynamic_fp16(x, self.packed)
        return out if self.bias is None else out.add_(self.bias)


@contextmanager
def with_fbgemm() -> Iterator[None]:
    """Let matrices be packed for FBGEMM. Raises RuntimeError without it."""
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        yield
    finally:
        torch.backends.quantized.engine = engine


def packed(rows: Tensor, scale: Tensor) -> torch.ScriptObject:
    """Return a matrix of int8 (rows, columns) with the scale of each row as FBGEMM holds it.

    Raises RuntimeError or AttributeError without FBGEMM.
    """
    with with_fbgemm(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*deprecated", UserWarning)  # of the type of the next tensor
        matrix = torch._make_per_channel_quantized_tensor(rows, scale.double(), torch.zeros(len(rows)).long(), 0)
        return torch.ops.quantized.linear_prepack(matrix, None)


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


Form = Callable[[Tensor, Tensor | None], nn.Module]


class PackedDecoder(Decoder):
    """A copy of a decoder whose matrices have another form; embeddings are shared.

    ``form`` makes a layer of a matrix and its bias; its activations are in float32, or in bf16 where
    it is ``Int8Linear``.
    """

    def __init__(self, decoder: Decoder, form: Form) -> None:
        nn.Module.__init__(self)
        self.structure, self.form = decoder.structure, form
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
                layers = part._modules.items()
                part._modules = {key: self._converted(layer) for key, layer in layers if layer is not None}
                mine._modules[name] = part
            blocks.append(mine)
        self.blocks = nn.ModuleList(blocks)
        self.head = self._converted(decoder.embedding if decoder.structure.tied else decoder.head)  # type: ignore[assignment]

    def _converted(self, layer: nn.Module) -> nn.Module:
        """Return a layer with packed weights, or a norm in the type of the activations."""
        if isinstance(layer, nn.Linear | nn.Embedding | Fp16Linear):
            return self.form(layer.weight, getattr(layer, "bias", None))
        if self.form is Int8Linear:
            return layer
        if isinstance(layer, nn.RMSNorm):
            return RMSNorm(layer)
        return copy.deepcopy(layer).float() if isinstance(layer, nn.LayerNorm) else layer

    def embedded(self, tokens: Tensor, position: Tensor) -> Tensor:
        x = super().embedded(tokens, position)
        return x if self.form is Int8Linear else x.float()

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features)


def generating(decoder: Decoder) -> PackedDecoder:
    """Return a copy that generates token by token, with matrices in 8 bits, or 4 where the file had no more."""
    return PackedDecoder(decoder, smallest if has_fbgemm() else Int8Linear)


def smallest(weight: Tensor, bias: Tensor | None = None) -> nn.Module:
    """Return a layer in 4 bits where nothing is lost and the processor is fast at it, else in 8."""
    blocks = blocks_of(weight) if torch.backends.cpu.get_cpu_capability() == "AVX512" else None
    return FbgemmLinear(weight, bias) if blocks is None else Int4Linear(*blocks, bias)


def reading(decoder: Decoder) -> Decoder:
    """Return the decoder, which reads prompts in bf16, or a copy in fp16 where bf16 is slow."""
    return decoder if hardware.bf16() or not has_fbgemm() else PackedDecoder(decoder, Fp16Linear)
