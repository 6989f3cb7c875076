"""The network and the loss of YOLOv8, shared by its relatives.

Terven, Córdova-Esparza, Romero-González: A Comprehensive Review of YOLO Architectures in Computer
Vision: From YOLOv1 to YOLOv8 and YOLO-NAS (2023). https://arxiv.org/abs/2304.00501
"""

from collections.abc import Sequence
from math import ceil, log, pi
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.averaging import named
from souron.blocks.boxes import crossed
from souron.blocks.csp import SPPF, C2f, Convolution, CSPBackbone

STRIDES = (8, 16, 32)  # pixels per cell
BINS = 16  # of an edge's distance, in strides
TOP = 10  # anchor points assigned to an object
SURE, FIT = 0.5, 6.0  # exponents of score and IoU in the assignment metric
BOX, LABEL, EDGE = 7.5, 0.5, 1.5  # weights of the losses
PRIOR = 0.01  # initial score of every label


Outputs = tuple[Tensor, Tensor, list[tuple[int, int]]]  # edges, labels, the sides of the grids


class Branch(nn.Sequential):
    """A prediction head of one level: for box edges, or for labels."""

    def __init__(self, inward: int, maps: int, outward: int, bias: float) -> None:
        last = nn.Conv2d(maps, outward, 1)
        super().__init__(Convolution(inward, maps, 3), Convolution(maps, maps, 3), last)
        nn.init.constant_(last.get_parameter("bias"), bias)


class Network(nn.Module):
    """Images (B, C, H, W) -> edge bins (B, A, 4 * BINS) and label logits (B, A, labels).

    A counts the anchor points of the three grids. ``config`` has ``width``, ``depth`` and ``most``;
    a published backbone replaces its own.
    """

    def __init__(self, config: Any, channels: int, labels: int, backbone: Any = None) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = (8 * ceil(min(maps, config.most) * config.width / 8) for maps in (64, 128, 256, 512, 1024))
        short, long = (max(1, round(blocks * config.depth)) for blocks in (3, 6))
        self.backbone: nn.Module
        if backbone is not None:
            self.backbone = backbone
            c3, c4, _c5 = backbone.maps
            self.spatial = nn.Sequential(Convolution(backbone.maps[2], c5), SPPF(c5))
        else:
            self.backbone = CSPBackbone(channels, (c1, c2, c3, c4, c5), short, long)
            self.spatial = nn.Sequential(SPPF(c5))
        self.down4, self.down3 = C2f(c5 + c4, c4, short), C2f(c4 + c3, c3, short)
        self.half3, self.half4 = Convolution(c3, c3, 3, 2), Convolution(c4, c4, 3, 2)
        self.up4, self.up5 = C2f(c3 + c4, c4, short), C2f(c4 + c5, c5, short)
        self.maps = (c3, c4, c5)
        edge, label = max(16, c3 // 4, 4 * BINS), max(c3, min(labels, 100))
        self.edges = nn.ModuleList(Branch(c, edge, 4 * BINS, 1.0) for c in (c3, c4, c5))
        rare = log(PRIOR / (1 - PRIOR))
        self.labels = nn.ModuleList(Branch(c, label, labels, rare) for c in (c3, c4, c5))
        self.bins = nn.Parameter(torch.arange(float(BINS)), requires_grad=False)  # strides

    def levels(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the feature pyramid at 1/8, 1/16 and 1/32 of the side."""
        fine, middle, coarse = self.backbone(image)
        coarse = self.spatial(coarse)
        down = self.down4(torch.cat([F.interpolate(coarse, middle.shape[2:]), middle], 1))
        fine = self.down3(torch.cat([F.interpolate(down, fine.shape[2:]), fine], 1))
        middle = self.up4(torch.cat([self.half3(fine), down], 1))
        coarse = self.up5(torch.cat([self.half4(middle), coarse], 1))
        return fine, middle, coarse

    def outputs(self, levels: Sequence[Tensor]) -> Outputs:
        """Compute the outputs of ``forward`` from the feature pyramid."""
        edge, label = (
            torch.cat([in_a_row(part(x)) for part, x in zip(branches, levels, strict=True)], 1)
            for branches in (self.edges, self.labels)
        )
        return edge, label, [(x.shape[2], x.shape[3]) for x in levels]

    def forward(self, image: Tensor) -> Outputs:
        return self.outputs(self.levels(image))

    def boxes(self, edge: Tensor, center: Tensor, stride: Tensor) -> Tensor:
        """Decode bins (B, A, 4 * BINS) to boxes (B, A, 4) in pixels, each edge at its
        mean distance.
        """
        distance = edge.unflatten(2, (4, BINS)).softmax(3) @ self.bins * stride
        return torch.cat([center - distance[..., :2], center + distance[..., 2:]], 2)


def in_a_row(x: Tensor) -> Tensor:
    """Flatten (B, maps, H, W) -> (B, H * W, maps)."""
    return x.flatten(2).transpose(1, 2)


def places(sizes: Sequence[tuple[int, int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the anchor points (A, 2), x and y in pixels, and their strides (A, 1)."""
    middles, strides = [], []
    for (height, width), stride in zip(sizes, STRIDES, strict=True):
        y, x = (torch.arange(count, device=device) + 0.5 for count in (height, width))
        middle = crossed(x, y) * stride
        middles.append(middle)
        strides.append(torch.full_like(middle[:, :1], stride))
    return torch.cat(middles), torch.cat(strides)


def ciou(box: Tensor, true: Tensor) -> Tensor:
    """Complete IoU (..., 4), (..., 4) -> (...), with penalties for centre distance and aspect
    ratio.

    u - |centre - centre|^2 / |diagonal of both|^2 - a v,  v = 4 / pi^2 (atan w/h - atan w/h)^2
    """
    low, high = box[..., :2].maximum(true[..., :2]), box[..., 2:].minimum(true[..., 2:])
    intersection = (high - low).clamp(min=0).prod(-1)
    size, true_size = box[..., 2:] - box[..., :2], true[..., 2:] - true[..., :2]
    u = intersection / (size.prod(-1) + true_size.prod(-1) - intersection).clamp(min=1e-7)
    around = box[..., 2:].maximum(true[..., 2:]) - box[..., :2].minimum(true[..., :2])
    apart = (box[..., :2] + box[..., 2:] - true[..., :2] - true[..., 2:]) / 2
    far = apart.square().sum(-1) / around.square().sum(-1).clamp(min=1e-7)
    angle, true_angle = (torch.atan2(shape[..., 0], shape[..., 1].clamp(min=1e-7)) for shape in (size, true_size))
    v = 4 / pi**2 * (angle - true_angle).square()
    with torch.no_grad():
        a = v / (1 - u + v).clamp(min=1e-7)
    return u - far - a * v


@torch.no_grad()
def assign(score: Tensor, box: Tensor, center: Tensor, truth: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Assign an object to each anchor point (B, A), and its target score (B, A), 0 for none.

    ``score`` (B, A, labels), ``box`` (B, A, 4), ``center`` (A, 2), ``truth`` (B, M, 5) of which
    ``there`` (B, M) are objects.
    """
    true = truth[:, :, None, 1:]  # (B, M, 1, 4)
    inside = torch.cat([center - true[..., :2], true[..., 2:] - center], -1).amin(-1) > 0
    inside &= there[..., None]  # (B, M, A)
    overlap = ciou(box[:, None], true).clamp(min=0) * inside
    label = truth[:, None, :, 0].long().expand(-1, score.shape[1], -1)
    # task alignment: score and IoU together; each object takes its best points
    fit = score.gather(2, label).transpose(1, 2) ** SURE * overlap**FIT
    best = fit.topk(min(TOP, fit.shape[2]), 2).indices
    positive = torch.zeros_like(inside).scatter_(2, best, True) & inside
    owner = torch.where(positive, overlap, -1).argmax(1)  # ties between objects: the largest IoU
    positive &= owner[:, None] == torch.arange(truth.shape[1], device=owner.device)[:, None]
    # target scores: the alignment, scaled to the object's largest IoU
    fit = fit * positive
    most = (overlap * positive).amax(2, keepdim=True)
    sure = fit / fit.amax(2, keepdim=True).clamp(min=1e-30) * most
    return owner, sure.amax(1)


class Learnt(NamedTuple):
    """The loss of boxes and labels, and the assignment of objects to anchor points."""

    loss: Tensor
    on: Tensor  # (B, A) bool
    owner: Tensor  # (B, A), index of the object where ``on``


def learn(network: Network, pred: Outputs, target: Sequence[Tensor]) -> Learnt:
    """Compute the loss of predictions ``pred`` given each image's objects (n, 5)."""
    edge, label, sizes = pred[0].float(), pred[1].float(), pred[2]
    center, stride = places(sizes, edge.device)
    box = network.boxes(edge, center, stride)
    targets, weight = torch.zeros_like(label), torch.zeros(0)
    on, owner = label[..., 0] > torch.inf, label[..., 0].new_zeros(label.shape[:2]).long()
    truth = nn.utils.rnn.pad_sequence(list(target), True, padding_value=-1)  # (B, M, 5)
    if truth.shape[1]:
        there = truth[..., 0] >= 0
        owner, sure = assign(label.sigmoid(), box, center, truth.clamp(min=0), there)
        on, weight = sure > 0, sure[sure > 0]
        mine = truth.gather(1, owner[..., None].expand(-1, -1, 5))[on]  # (places, 5)
        targets[on] = F.one_hot(mine[:, 0].long(), label.shape[2]) * weight[:, None]
    total = weight.sum().clamp(min=1)
    loss = LABEL * F.binary_cross_entropy_with_logits(label, targets, reduction="sum")
    # distribution focal loss of the edges, CIoU of the boxes
    if len(weight):
        where, near = (part.expand(len(on), -1, -1)[on] for part in (center, stride))
        far = torch.cat([where - mine[:, 1:3], mine[:, 3:] - where], 1) / near
        edges = distribution_focal(edge[on], far.clamp(0, BINS - 1.01))
        loss = loss + BOX * ((1 - ciou(box[on], mine[:, 1:])) * weight).sum()
        loss = loss + EDGE * (edges * weight).sum()
    return Learnt(loss / total, on, owner)


@torch.no_grad()
def lead(average: nn.Module, network: nn.Module, most: float, step: int) -> None:
    """Update the averaged weights and normalisation statistics with decay ``most``,
    smaller at first.
    """
    decay = min(most, (1 + step) / (10 + step))
    slow, fast = (list(named(model).values()) for model in (average, network))
    torch._foreach_lerp_(slow, fast, 1 - decay)


def distribution_focal(edge: Tensor, far: Tensor) -> Tensor:
    """Distribution focal loss of bins (n, 4 bins) for distances (n, 4) in strides, (n,).

    The two bins beside the true distance are the targets, weighted by nearness.
    """
    bins = edge.unflatten(1, (4, edge.shape[1] // 4)).flatten(0, 1)  # (4 n, bins)
    lower = far.flatten().long()
    near = lower + 1 - far.flatten()
    both = [F.cross_entropy(bins, bin_index, reduction="none") for bin_index in (lower, lower + 1)]
    return (both[0] * near + both[1] * (1 - near)).unflatten(0, (-1, 4)).mean(1)
