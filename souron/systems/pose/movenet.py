"""From a figure's centre a vector leads near each point; the peak close by is the point.

Votel, Li: Next-Generation Pose Detection with MoveNet and TensorFlow.js (2021).
https://blog.tensorflow.org/2021/05/next-generation-pose-detection-with-movenet-and-tensorflowjs.html

    image -> MobileNetV2 -> maps at 1/32 .. 1/4 of the side, added on the way up -> at each cell
    centre c = sigmoid,    from a centre to each point v (K, 2),    points h = sigmoid (K),
    from a point's cell to the point o (K, 2)
    point k = q + o_k(q),    q = argmax h_k(q) / (|q - centre - v_k| + 1.8),    its score h_k(q)
    loss = focal(c) + focal(h) + 0.1 |v| + |o|

The heat maps alone would mix the limbs of several people; the vectors from a centre are coarse, but
tell whose limb it is. The losses are those of CenterNet (Zhou, Wang, Krähenbühl: Objects as Points,
2019, https://arxiv.org/abs/1904.07850): the peaks are Gaussians, whose slopes are punished less the
nearer they are to the peak. With ``most=1`` one figure is found, the more central the likelier.

Lightning and thunder are the published networks, for images of 192 and 256 pixels, trained by
Google on COCO and on videos of sport, dance and yoga; `tiny` and `small` find several figures.

Differs from the paper: AdamW and one cycle of the rate; a batch is trained in parts; the Gaussians
are as wide as 6 % of the figure; the box encloses the points that are found, and its score is that
of its centre times that of its fourth best point.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.folded import Norm
from souron.blocks.folded_mobilenet import MobileNetV2
from souron.blocks.portable import Portable
from souron.tasks.pose import Batch, Poser, Spec, body

STRIDE = 4  # pixels per cell
PYRAMID = (64, 64, 32, 24)  # channels at 1/32, 1/16, 1/8 and 1/4 of the side
HEAD = 96  # channels before a prediction
NEAR = 1.8  # cells: softens the distance to where a point is expected
SPREAD = 0.06  # standard deviation of a peak, in roots of the figure's area
REGRESS, OFFSET = 0.1, 1.0  # weights of the losses
RARE = -2.19  # initial logit of a peak: 0.1
BEST = 4  # the point that decides a figure's score
DRAWN = 0.2  # least score of a point that the box encloses
SIDES = {"lightning": 192, "thunder": 256}
AT_ONCE = 16  # images per training step


@dataclass(frozen=True)
class Config:
    width: float = 1.0  # times the channels of MobileNetV2
    most: int = 1  # figures per image
    rate: float = 1e-3


class Separable(nn.Module):
    """A 3x3 convolution of each map by itself, then a 1x1 convolution that mixes them."""

    def __init__(self, inward: int, outward: int, norm: bool) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inward, inward, 3, padding=1, groups=inward, bias=False)
        self.conv = nn.Conv2d(inward, outward, 1, bias=not norm)
        self.bn = Norm(outward, eps=1e-3) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(self.depthwise(x))))


class MoveNet(Poser):
    year = 2021
    ja = "人物の中心の地図、中心から各点へのベクトル、各点の地図を重ねて、点の位置を決める"
    channels_last = True
    clip = 10.0
    SIZES = {
        "tiny": Config(0.25, 6, 5e-3),
        "small": Config(0.5, 6, 2e-3),
        "lightning": Config(),
        "thunder": Config(1.75),
    }
    WEIGHTS = {"lightning": "package:movenet_lightning", "thunder": "package:movenet_thunder"}
    published_from = {"lightning": "COCO, Active", "thunder": "COCO, Active"}
    last_layers = ("heads.centre.1", "heads.points.1", "heads.regress.1", "heads.offset.1")

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.backbone = MobileNetV2(spec.channels, config.width)
        quarter, eighth, sixteenth, _widened, last = self.backbone.maps
        self.lateral = nn.ModuleList(
            nn.Conv2d(inward, outward, 1)
            for inward, outward in zip((last, sixteenth, eighth, quarter), PYRAMID, strict=True)
        )
        self.up = nn.ModuleList(
            Separable(inward, outward, norm=True)
            for inward, outward in zip(PYRAMID[1:], (*PYRAMID[2:], PYRAMID[3]), strict=True)
        )
        points = len(spec.points)
        outputs = {"centre": len(spec.labels), "points": points, "regress": 2 * points, "offset": 2 * points}
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(Separable(PYRAMID[3], HEAD, norm=False), nn.Conv2d(HEAD, count, 1))
                for name, count in outputs.items()
            }
        )
        for name in ("centre", "points"):
            last_layer = self.heads[name].get_submodule("1")
            nn.init.constant_(last_layer.get_parameter("bias"), RARE)

    @classmethod
    def published_spec(cls, size: str) -> Spec | None:
        return Spec(3, SIDES[size], ("person",), *body()) if size in cls.WEIGHTS else None

    def predicted(self, image: Tensor) -> dict[str, Tensor]:
        """Return the outputs of each head, (B, channels, h, w); centres and points as logits."""
        features = self.backbone(2 * image - 1)
        x, *lateral = (
            layer(level)
            for layer, level in zip(
                self.lateral, (features.last, features.sixteenth, features.eighth, features.quarter), strict=True
            )
        )
        for up, finer in zip(self.up, lateral, strict=True):
            x = up(F.interpolate(x, finer.shape[2:], mode="bilinear") + finer)
        return {name: head(x).float() for name, head in self.heads.items()}

    def poses(self, image: Tensor, conf: float = 0.001, iou: float = 0.7) -> list[tuple[Tensor, Tensor]]:
        maps, poses = self.predicted(image), []
        for row in range(len(image)):
            label, score, point = self.figures({name: part[row] for name, part in maps.items()})
            box = torch.cat([label[:, None].float(), hull(point), score[:, None]], 1)
            order = (score > conf).nonzero().flatten()
            order = order[score[order].argsort(descending=True)]
            poses.append((box[order], point[order]))
        return poses

    def figures(self, maps: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return labels (n,), scores (n,) and points (n, K, 3) of the outputs for one image."""
        centre = maps["centre"].sigmoid()
        label, cell = self.centres(centre)
        point = located(cell, *(maps[name] for name in ("points", "regress", "offset")))
        score = point[..., 2].topk(min(BEST, point.shape[1]), 1).values[:, -1]
        return label, score * centre[label, cell[:, 0], cell[:, 1]], point

    def each(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return boxes (1, n, 4), scores (1, n, labels) and points (1, n, K, 3) of one image."""
        label, score, point = self.figures({name: part[0] for name, part in self.predicted(image).items()})
        scores = F.one_hot(label, len(self.spec.labels)) * score[:, None]
        return hull(point)[None], scores[None], point[None]

    def portable(self) -> Portable:
        points = list(self.spec.points)  # an overlap above 1: nothing is suppressed
        program = self.carried(self.each, ("box", "probability", "point"), "poses", points=points, iou=2.0)
        return replace(program, batch=False)

    def centres(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels (n,) and cells (n, 2), row and column, of peaks of the map (labels, h, w).

        If one figure is wanted, central peaks are preferred.
        """
        if self.config.most == 1:
            middle = torch.tensor([length // 2 for length in centre.shape[1:]])
            centre = centre / (away(centre, middle.to(centre.device)[None])[0] + NEAR)
        around = F.max_pool2d(centre[None], 3, 1, 1)[0]
        peaks = centre.where(centre == around, 0.0).flatten()
        best, cells = list[Tensor](), torch.arange(len(peaks), device=peaks.device)
        for _figure in range(min(self.config.most, len(peaks))):
            best.append(peaks.argmax(keepdim=True))  # of equal ones the first, in every engine
            peaks = peaks.where(cells != best[-1], -1.0)
        height, width = centre.shape[1:]
        index = torch.cat(best)
        return index // (height * width), torch.stack([index // width % height, index % width], 1)

    def loss(self, batch: Batch) -> Tensor:
        maps = self.predicted(batch.image)
        height, width = maps["centre"].shape[2:]
        centre, points = torch.zeros_like(maps["centre"]), torch.zeros_like(maps["points"])
        far = maps["centre"].new_zeros(())
        figures = visible_count = 0
        for row, (box, point) in enumerate(zip(batch.target, batch.point, strict=True)):
            if not len(box):
                continue
            most = torch.tensor([height - 1, width - 1], device=box.device)
            middle = (box[:, 1:3] + box[:, 3:]).flip(1) / (2 * STRIDE)
            cell = middle.long().clamp(min=0).minimum(most)
            spread = SPREAD * (box[:, 3:] - box[:, 1:3]).prod(1).clamp(min=1).sqrt() / STRIDE
            position = point[..., :2].flip(2) / STRIDE  # row and column
            visible = (point[..., 2] > 0) & (position >= 0).all(2) & (position.long() <= most).all(2)
            # targets of the two heat maps: a Gaussian at each centre and each visible keypoint
            peaks(centre[row], box[:, 0].long(), cell, spread)
            figure, kind = visible.nonzero(as_tuple=True)
            of_point = position[figure, kind].long()
            peaks(points[row], kind, of_point, spread[figure])
            # L1 losses: keypoints from the centre's cell, and the offset of each within its own cell
            regress = maps["regress"][row][:, cell[:, 0], cell[:, 1]].T.unflatten(1, (-1, 2))
            offset = maps["offset"][row].unflatten(0, (-1, 2))[kind, :, *of_point.T]
            aim = (position - cell[:, None])[figure, kind]
            far = far + REGRESS * (regress[figure, kind] - aim).abs().sum()
            far = far + OFFSET * (offset - (position[figure, kind] - of_point)).abs().sum()
            figures, visible_count = figures + len(box), visible_count + len(figure)
        heat = focal(maps["centre"], centre) / max(1, figures)
        return heat + (focal(maps["points"], points) + far) / max(1, visible_count)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        for start in range(0, len(batch.image), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            yield ("model", self.loss(Batch(batch.image[part], batch.target[part], batch.point[part])))

    def example(self) -> None:
        """Run one pass, for the table of layers."""
        side = self.spec.side
        self.predicted(torch.empty(1, self.spec.channels, side, side, device=self.device))


def away(like: Tensor, center: Tensor) -> Tensor:
    """Return the distance of each cell of ``like`` (..., h, w) from places (n, 2): (n, h, w)."""
    down, across = (torch.arange(float(n), device=like.device) for n in like.shape[-2:])
    center = center.to(like.device).float()
    square = (down - center[:, :1]).square()[:, :, None] + (across - center[:, 1:]).square()[:, None]
    return square.sqrt()


def located(cell: Tensor, heat: Tensor, regress: Tensor, offset: Tensor) -> Tensor:
    """Return x, y in pixels and score (n, K, 3) of the points of figures with centres (n, 2).

    ``cell`` is row and column; ``heat`` (K, h, w) are logits, ``regress`` and ``offset`` cells
    (2 K, h, w), the row first.
    """
    heat = heat.sigmoid()
    count, (points, _height, width) = len(cell), heat.shape
    aim = cell[:, None] + regress[:, cell[:, 0], cell[:, 1]].T.unflatten(1, (points, 2))
    near = heat / (away(heat, aim.flatten(0, 1)).unflatten(0, (count, points)) + NEAR)
    best = near.flatten(2).argmax(2)  # (n, K)
    row, column = best // width, best % width
    kind = torch.arange(points, device=heat.device).expand_as(best)
    position = torch.stack([row, column], 2) + offset.unflatten(0, (points, 2))[kind, :, row, column]
    return torch.cat([STRIDE * position.flip(2), heat[kind, row, column][..., None]], 2)


def hull(point: Tensor) -> Tensor:
    """Return boxes (n, 4) around the points (n, K, 3) that are seen, or all where none is."""
    visible = point[..., 2:] >= DRAWN
    visible = visible | ~visible.any(1, keepdim=True)
    low = point[..., :2].where(visible, torch.inf).amin(1)
    return torch.cat([low, point[..., :2].where(visible, -torch.inf).amax(1)], 1)


@torch.no_grad()
def peaks(heat: Tensor, kind: Tensor, cell: Tensor, spread: Tensor) -> None:
    """Draw a Gaussian of deviation ``spread`` (n,) on the map ``kind`` (n,) at each cell (n, 2)."""
    far = away(heat, cell)
    gaussians = torch.exp(-far.square() / (2 * spread.clamp(min=0.7)[:, None, None].square()))
    for number, gaussian in zip(kind.tolist(), gaussians, strict=True):
        heat[number] = heat[number].maximum(gaussian)


def focal(logit: Tensor, heat: Tensor) -> Tensor:
    """Return the focal loss of logits for heat maps whose peaks are 1, summed over cells."""
    on = (heat == 1).float()
    sure = logit.sigmoid()
    right = on * (1 - sure).square() * F.logsigmoid(logit)
    wrong = (1 - on) * (1 - heat) ** 4 * sure.square() * F.logsigmoid(-logit)
    return -(right + wrong).sum()
