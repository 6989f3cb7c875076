"""CLIP's two encoders: images and texts are embedded in one space.

Radford and others: Learning Transferable Visual Models From Natural Language Supervision (2021).
https://arxiv.org/abs/2103.00020

    image -> ResNet with attention pooling,  or  patches -> Transformer, class token
    text  -> causal Transformer, token at the end of the text
    both  -> linear projection into the shared space

Parameters are named as published by OpenAI and open_clip; ``published_names`` converts those of the
transformers library, which Stable Diffusion's text encoder uses.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from math import ceil, log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PAD = -1  # padding of shorter texts
CONTEXT = 77  # most tokens of a text
POOLED = 64  # least side in pixels for pooling in the ResNet's stem
HEAD = 64  # width of an attention head
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the published networks' training images
STD = (0.26862954, 0.26130258, 0.27577711)
UNUSED = ("input_resolution", "context_length", "vocab_size")  # entries of OpenAI's own files


class QuickGELU(nn.Module):
    """The activation x sigmoid(1.702 x) of OpenAI's weights."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention over tokens (B, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))  # of q, k and v, stacked
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.normal_(self.in_proj_weight, std=width**-0.5)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # (B, T, 3 width)
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, d)
            for part in qkv.chunk(3, -1)
        )
        return self.out_proj(attended(q, k, v, mask).transpose(1, 2).flatten(2))


def attended(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute attention explicitly: the fused form is slow on a CPU in bfloat16 with
    narrow heads.
    """
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, heads, T, T)
    return (scores if mask is None else scores + mask).softmax(-1).to(v.dtype) @ v


class Block(nn.Module):
    """A Transformer layer: x = x + attention(norm(x));  x = x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int, layers: int, quick: bool) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        widen, narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        between = QuickGELU() if quick else nn.GELU()
        self.mlp = nn.Sequential(OrderedDict(c_fc=widen, gelu=between, c_proj=narrow))
        nn.init.normal_(widen.weight, std=(2 * width) ** -0.5)
        for last in (self.attn.out_proj, narrow):
            nn.init.normal_(last.weight, std=width**-0.5 * (2 * layers) ** -0.5)
        for linear in (self.attn.out_proj, widen, narrow):
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """A stack of layers (B, T, width) -> (B, T, width); ``mask`` (T, T) is added to the scores."""

    def __init__(self, width: int, heads: int, layers: int, quick: bool) -> None:
        super().__init__()
        blocks = (Block(width, heads, layers, quick) for _layer in range(layers))
        self.resblocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


class TextTransformer(nn.Module):
    """A causal text encoder: tokens (B, T), padded with ``PAD`` -> (B, dims).

    Args:
        dims: of the shared space; 0: no projection, as in Stable Diffusion.
        quick: QuickGELU, as in OpenAI's weights, else GELU.
    """

    def __init__(
        self,
        vocabulary: int,
        layers: int,
        width: int,
        heads: int,
        dims: int = 0,
        quick: bool = True,
        context: int = CONTEXT,
    ) -> None:
        super().__init__()
        self.transformer = Transformer(width, heads, layers, quick)
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.empty(context, width).normal_(std=0.01))
        self.ln_final = nn.LayerNorm(width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        if dims:
            self.text_projection = nn.Parameter(torch.empty(width, dims).normal_(std=width**-0.5))

    def features(self, tokens: Tensor) -> Tensor:
        """Compute the contextual features of each token, (B, T, width)."""
        length = tokens.shape[1]
        x = self.token_embedding(tokens.clamp(min=0)) + self.positional_embedding[:length]
        ahead = torch.full((length, length), float("-inf"), device=x.device).triu(1)
        return self.ln_final(self.transformer(x, ahead))

    def pooled(self, tokens: Tensor) -> Tensor:
        """Compute the features of the last token of each text, (B, width)."""
        end = (tokens != PAD).sum(1).sub(1).clamp(min=0)
        return self.features(tokens)[torch.arange(len(tokens), device=tokens.device), end]

    def text(self, tokens: Tensor) -> Tensor:
        """Embed texts, (B, dims), not normalised."""
        return self.pooled(tokens) @ self.text_projection

    forward = text


class CLIP(TextTransformer):
    """The whole model: ``image`` (B, C, side, side) and ``text`` (B, T) -> (B, dims),
    ``logit_scale``.

    Args:
        side: of the images, in pixels.
        depths: blocks of each stage of a ResNet; one number: layers of a ViT.
        width: channels of the ResNet's first stage, or width of a ViT's tokens.
        patch: pixels a side of a ViT's patches.
        text: layers, width and heads of the text's Transformer.
    """

    def __init__(
        self,
        channels: int,
        side: int,
        depths: tuple[int, ...],
        width: int,
        patch: int,
        vocabulary: int,
        text: tuple[int, int, int],
        dims: int,
        quick: bool = False,
    ) -> None:
        super().__init__(vocabulary, *text, dims, quick)
        self.visual: nn.Module
        if len(depths) == 1:
            self.visual = VisionTransformer(channels, side, patch, depths[0], width, dims, quick)
        else:
            self.visual = ModifiedResNet(channels, side, depths, width, dims)
        self.logit_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))

    def image(self, image: Tensor) -> Tensor:
        """Embed normalised images (B, C, side, side) -> (B, dims), not normalised."""
        return self.visual(image)


def equal(tokens: Tensor) -> Tensor:
    """Return which texts are equal, (B, B) bool."""
    _texts, number = tokens.unique(dim=0, return_inverse=True)
    return number[:, None] == number


def contrast(image: Tensor, text: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Compute the contrastive loss of unit vectors (B, D).

    Pairs with equal texts, ``same`` (B, B), are not used as negatives.
    """
    own = torch.eye(len(image), dtype=torch.bool, device=image.device)
    with torch.autocast(image.device.type, enabled=False):
        logits = (scale.float() * image @ text.T).masked_fill(same & ~own, -torch.inf)
    row = torch.arange(len(image), device=image.device)
    return (F.cross_entropy(logits, row) + F.cross_entropy(logits.T, row)) / 2


def convolution(inward: int, outward: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inward, outward, kernel, stride, kernel // 2, bias=False)


class Bottleneck(nn.Module):
    """A bottleneck block (B, inward, H, W) -> (B, 4 width, H/stride, W/stride) with
    average pooling.
    """

    widens = 4

    def __init__(self, inward: int, width: int, stride: int) -> None:
        super().__init__()
        outward = self.widens * width
        self.conv1, self.bn1 = convolution(inward, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = convolution(width, width, 3), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = convolution(width, outward, 1), nn.BatchNorm2d(outward)
        nn.init.zeros_(self.bn3.weight)  # the residual branch starts at zero
        self.pool: nn.Module = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inward != outward:
            self.downsample = nn.Sequential(convolution(inward, outward, 1), nn.BatchNorm2d(outward))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.pool(F.relu(self.bn2(self.conv2(y))))
        y = self.bn3(self.conv3(y))
        return F.relu(y + self.downsample(self.pool(x)))


class AttentionPool(nn.Module):
    """Attention pooling (B, width, H, W) -> (B, dims): the mean feature queries all positions."""

    def __init__(self, grid: int, width: int, heads: int, dims: int) -> None:
        super().__init__()
        self.heads = heads
        start = torch.randn(grid**2 + 1, width) / width**0.5
        self.positional_embedding = nn.Parameter(start)
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.c_proj = nn.Linear(width, width), nn.Linear(width, dims)
        for part in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(part.weight, std=width**-0.5)
            nn.init.zeros_(part.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2)  # (B, H W, width)
        x = torch.cat([x.mean(1, keepdim=True), x], 1) + self.positional_embedding
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x))
        )
        return self.c_proj(attended(q, k, v).transpose(1, 2).flatten(1))


class ModifiedResNet(nn.Module):
    """Images (B, C, side, side) -> (B, dims): a ResNet with CLIP's changes.

    It has a stem of three convolutions, average pooling in place of strides, and attention pooling
    at the end.
    """

    def __init__(self, channels: int, side: int, depths: tuple[int, ...], width: int, dims: int) -> None:
        super().__init__()
        half = max(1, width // 2)
        self.conv1, self.bn1 = convolution(channels, half, 3, 2), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = convolution(half, half, 3), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = convolution(half, width, 3), nn.BatchNorm2d(width)
        grid = (side + 1) // 2
        self.pool: nn.Module = nn.AvgPool2d(2) if side >= POOLED else nn.Identity()
        grid = grid // 2 if side >= POOLED else grid
        inward = width
        for stage, depth in enumerate(depths):
            stride = 2 if stage and grid >= 4 else 1
            grid //= stride
            layer = nn.Sequential()
            for index in range(depth):
                layer.append(Bottleneck(inward, width << stage, 1 if index else stride))
                inward = Bottleneck.widens * width << stage
            self.add_module(f"layer{stage + 1}", layer)
        self.stages = [f"layer{stage + 1}" for stage in range(len(depths))]
        self.attnpool = AttentionPool(grid, inward, max(1, inward // HEAD), dims)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(image)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.pool(F.relu(self.bn3(self.conv3(x))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return self.attnpool(x)


class VisionTransformer(nn.Module):
    """Images (B, C, side, side) -> (B, dims): a ViT with a class token."""

    def __init__(self, channels: int, side: int, patch: int, layers: int, width: int, dims: int, quick: bool) -> None:
        super().__init__()
        patch = min(patch, max(1, side // 4))
        grid = ceil(side / patch)
        self.border = grid * patch - side
        self.conv1 = nn.Conv2d(channels, width, patch, patch, bias=False)
        std = width**-0.5
        self.class_embedding = nn.Parameter(std * torch.randn(width))
        self.positional_embedding = nn.Parameter(std * torch.randn(grid**2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, max(1, width // HEAD), layers, quick)
        self.proj = nn.Parameter(std * torch.randn(width, dims))

    def forward(self, image: Tensor) -> Tensor:
        image = F.pad(image, (0, self.border, 0, self.border))
        patches = self.conv1(image).flatten(2).transpose(1, 2)  # (B, T, width)
        first = self.class_embedding.to(patches.dtype).expand(image.shape[0], 1, -1)
        x = self.ln_pre(torch.cat([first, patches], 1) + self.positional_embedding)
        return self.ln_post(self.transformer(x)[:, 0]) @ self.proj


ELSEWHERE = (  # prefixes of names in the transformers library -> souron's
    (r"(text_model\.)?embeddings\.token_embedding\.", "token_embedding."),
    (r"(text_model\.)?embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"(text_model\.)?final_layer_norm\.", "ln_final."),
    (r"(text_model\.)?encoder\.layers\.", "transformer.resblocks."),
    (r"vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"vision_model\.embeddings\.class_embedding", "visual.class_embedding"),
    (r"vision_model\.embeddings\.position_embedding\.weight", "visual.positional_embedding"),
    (r"vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"visual_projection\.weight", "visual.proj"),
    (r"text_projection\.weight", "text_projection"),
    (r"text\.", ""),  # open_clip with a separate text network
)
INSIDE = (  # of a layer
    (".self_attn.", ".attn."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)
QUERY = re.compile(r"(.*resblocks\.\d+\.attn\.)q_proj\.(weight|bias)")


def published_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert weights of CLIP, or its text encoder, to OpenAI's names and float32.

    Accepted names are those, open_clip's, and those of the transformers library, whose q, k and v
    are concatenated.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        name = name.removeprefix("module.")
        if name in UNUSED or name.endswith("position_ids"):
            continue
        new = name
        for pattern, ours in ELSEWHERE:
            new, count = re.subn(f"^{pattern}", ours, name)
            if count:
                break
        if name in ("visual_projection.weight", "text_projection.weight") and tensor.ndim == 2:
            tensor = tensor.T
        if "resblocks." in new:
            for theirs, ours in INSIDE:
                new = new.replace(theirs, ours)
        tensors[new] = tensor.float() if tensor.is_floating_point() else tensor
    for name in [*tensors]:
        if match := QUERY.fullmatch(name):
            start, sort = match.groups()
            parts = [f"{start}{letter}_proj.{sort}" for letter in "qkv"]
            if all(part in tensors for part in parts):
                tensors[f"{start}in_proj_{sort}"] = torch.cat([tensors.pop(part) for part in parts])
    return tensors
