"""Colours a grey picture: of each place it says how likely each of 313 colours is.

Zhang, Isola, Efros: Colorful Image Colorization (2016).
https://arxiv.org/abs/1603.08511

    L (B, 1, H, W) -> eight stacks of convolutions -> logits of Q = 313 classes of ab
    loss  -v(q*) sum_q z(q) log p(q)            z: the true ab, spread over its five nearest classes
    v     1 / ((1 - u) h(q) + u / Q), whose mean over pixels is 1        h: the histogram, smoothed
    ab    the mean of the classes' centres by p^(1/T), T = 0.38: from the mean (1) to the mode (0)

The mean of all plausible colours is a brownish grey; rare, vivid colours would be lost beside walls
and skies. So the network classifies colours, and errors at rare colours cost more (``u``). Divided
by ``v``, its probabilities are calibrated again, with which bits per pixel are measured. With
``regression`` the same network predicts ab itself with squared errors, the paper's baseline.

Differs from the paper: one cycle of the rate, AdamW; of the 4 x 4 pixels that share a prediction
one is used for training, at random; the histogram is that of the images seen so far; the classes
are those 313 bins whose centres lie nearest to colours of sRGB; `tiny` and `small` have narrower
layers.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.colour_hints import hinted, read_hints
from souron.blocks.lab import bins, lab
from souron.blocks.recolouring import coloured, recoloured, smaller
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.tasks.image_to_image import Batch, ImageTranslator, Large, Made, Spec
from souron.utils.messages import N_, UserError, _

CLASSES = 313
BIN = 10.0  # width of a class in a and b
SPREAD = 5.0  # standard deviation for soft labels and the smoothed histogram
NEAREST = 5  # classes of a soft label
SCALE = 110.0  # scale of a and b within the network
STEP = 4  # pixels a side that share a prediction


@dataclass(frozen=True)
class Config:
    width: int = 64  # channels of the first stack
    regression: bool = False
    balance: float = 0.5  # u: weight of the uniform distribution; 1 weighs all colours alike
    temperature: float = 0.38
    rate: float = 3e-5


def stack(*layers: tuple[int, int, int, int], norm: bool = True) -> nn.Sequential:
    """3x3 convolutions of (channels in, channels out, stride, dilation), each followed by ReLU."""
    convolutions: list[nn.Module] = []
    for inward, outward, stride, apart in layers:
        convolutions += [nn.Conv2d(inward, outward, 3, stride, apart, apart), nn.ReLU(inplace=True)]
    return nn.Sequential(*convolutions, *([nn.BatchNorm2d(layers[-1][1])] if norm else []))


class Colorizer(ImageTranslator):
    blocked = N_("its colours are mixed with the image in CIE Lab, outside of the network")
    year = 2016
    ja = "白黒画像の各点の色を多数の色のクラスとみなして予測し、珍しい色を重くみて学ぶ"
    channels_last = True
    measures = (
        "PSNR",
        "colour difference",
        "object colour difference",
        "ground colour difference",
        "colour bits",
        "object colour bits",
        "ground colour bits",
        "chroma",
    )
    SIZES = {"tiny": Config(4, rate=3e-3), "small": Config(12, rate=3e-3), "paper": Config()}
    WEIGHTS = {"paper": "Colorful Image Colorization:eccv16"}
    histogram: Tensor  # (CLASSES,) float64: training pixels per class
    total: Tensor  # (3, 101) float64: sums of a and b, and the count, for each whole L

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        w = config.width
        self.model1 = stack((1, w, 1, 1), (w, w, 2, 1))
        self.model2 = stack((w, 2 * w, 1, 1), (2 * w, 2 * w, 2, 1))
        self.model3 = stack((2 * w, 4 * w, 1, 1), (4 * w, 4 * w, 1, 1), (4 * w, 4 * w, 2, 1))
        self.model4 = stack((4 * w, 8 * w, 1, 1), *2 * [(8 * w, 8 * w, 1, 1)])
        self.model5 = stack(*3 * [(8 * w, 8 * w, 1, 2)])
        self.model6 = stack(*3 * [(8 * w, 8 * w, 1, 2)])
        self.model7 = stack(*3 * [(8 * w, 8 * w, 1, 1)])
        self.model8 = nn.Sequential(
            nn.ConvTranspose2d(8 * w, 4 * w, 4, 2, 1),
            nn.ReLU(inplace=True),
            *stack(*2 * [(4 * w, 4 * w, 1, 1)], norm=False),
            nn.Conv2d(4 * w, CLASSES, 1),
        )
        self.model_out = nn.Conv2d(CLASSES, 2, 1, bias=False)
        if not config.regression:
            self.model_out.weight = nn.Parameter(
                (bins(BIN, CLASSES).T / SCALE)[:, :, None, None].contiguous(), requires_grad=False
            )
        self.register_buffer("histogram", torch.zeros(CLASSES, dtype=torch.float64))
        self.register_buffer("total", torch.zeros(3, 101, dtype=torch.float64))

    @classmethod
    def spec_for(cls, train: Any) -> Spec:
        """Raise UserError for grey images."""
        if train.channels != 3:
            raise UserError(
                "grey",
                _("the images of {data} are grey").format(data=train.name),
                expected=_("images with colours, to learn them"),
                fix="data=photo_scenes",
                exit=3,
            )
        return super().spec_for(train)

    @classmethod
    def of_published(cls, weights: Mapping[str, Tensor]) -> "Colorizer | None":
        """Build the model from the authors' weights ``eccv16``; None for another network.

        Their program takes the softmax of the outputs as they are, which is the default temperature
        here.
        """
        model = cls(cls.SIZES["paper"], Spec(3, 256, ("photograph",)))
        own = {n: w for n, w in model.state_dict().items() if n not in ("histogram", "total")}
        counts = {name for name in own if name.endswith("num_batches_tracked")}  # older files: none
        if not own.keys() - counts <= weights.keys() <= own.keys() or any(
            weights[name].shape != own[name].shape for name in weights
        ):
            return None
        model.load_state_dict(dict(weights), strict=False)
        last = model.model8[-1]
        with torch.no_grad():
            for weight in last.parameters():
                weight.mul_(model.config.temperature)
        return model.requires_grad_(False).eval()

    def forward(self, image: Tensor) -> Tensor:
        """Map L (B, 1, H, W) in 0..1 to class logits (B, Q, ceil(H/8) 2, ceil(W/8) 2).

        With ``regression`` the output is what ``model_out`` maps to ab. Of images (B, 3, H, W) only
        L is used.
        """
        if image.shape[1] == 3:
            image = self.given(image)
        x = self._padded(100 * image - 50) / 100
        for number in range(1, 9):
            x = getattr(self, f"model{number}")(x)
        return x.float()

    def _padded(self, maps: Tensor) -> Tensor:
        """Pad the sides to multiples of 8."""
        right, down = -maps.shape[3] % 8, -maps.shape[2] % 8
        return F.pad(maps, (0, right, 0, down), mode="replicate") if right or down else maps

    def given(self, image: Tensor) -> Tensor:
        return lab(image)[:, :1] / 100

    def visible(self, image: Tensor) -> Tensor:
        return coloured(image, image.new_zeros(len(image), 2, *image.shape[2:]))

    def translated(self, image: Tensor, label: Tensor) -> Tensor:
        return coloured(image, self.colours(image, self.config.temperature))

    def colours(self, image: Tensor, temperature: float) -> Tensor:
        """Return ab (B, 2, H, W)."""
        logits = self(image)
        if not self.config.regression:
            logits = (logits / temperature).softmax(1)
        ab = SCALE * F.conv2d(logits, self.model_out.weight.float())
        high, wide = image.shape[2:]
        return F.interpolate(ab, scale_factor=STEP, mode="bilinear")[:, :, :high, :wide]

    def rivals(self, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        light = (100 * image[:, 0]).round().clamp(0, 100).long()
        mean = (self.total[:2] / self.total[2].clamp(min=1)).float()[:, light]  # (2, B, H, W)
        return {"grey": self.visible(image), "mean colour": coloured(image, mean.transpose(0, 1))}

    @property
    def centres(self) -> Tensor:
        """Return a and b of each class, (Q, 2)."""
        return SCALE * self.model_out.weight[:, :, 0, 0].T.float()

    def classes(self, ab: Tensor) -> Tensor:
        """Map ab (B, 2, H, W) to the class of each pixel (B, H, W)."""
        reach = torch.arange(-12, 13, device=ab.device) * BIN
        table = torch.cdist(torch.cartesian_prod(reach, reach), self.centres).argmin(1)
        bins = (ab / BIN).round().clamp(-12, 12).long() + 12
        return table[25 * bins[:, 0] + bins[:, 1]]

    def frequencies(self) -> Tensor:
        """Return the frequencies (Q,) of the classes, with one pseudo-count spread evenly."""
        return ((self.histogram + 1 / CLASSES) / (self.histogram.sum() + 1)).float()

    def weights(self) -> Tensor:
        """Return the class weights v, (Q,)."""
        near = torch.exp(-torch.cdist(self.centres, self.centres).square() / (2 * SPREAD**2))
        often = (near / near.sum(0)) @ self.frequencies()
        even = self.config.balance
        weight = 1 / ((1 - even) * often + even / CLASSES)
        return weight / (self.frequencies() * weight).sum()

    def spread(self, ab: Tensor) -> Tensor:
        """Return soft labels z (N, Q) for ab (N, 2)."""
        far, index = torch.cdist(ab, self.centres).topk(NEAREST, largest=False)
        share = torch.softmax(-far.square() / (2 * SPREAD**2), 1)
        return torch.zeros(len(ab), CLASSES, device=ab.device).scatter(1, index, share)

    def loss(self, batch: Batch) -> Tensor:
        every = lab(batch.image)
        light, ab = every[:, :1] / 100, every[:, 1:]
        self.count(light, ab)
        logits = self(light)
        down, right = (int(torch.randint(STEP, ())) for _axis in range(2))
        ab = self._padded(ab)[:, :, down::STEP, right::STEP]
        if self.config.regression:
            return F.mse_loss(self.model_out(logits).float(), ab / SCALE)
        true = self.spread(ab.permute(0, 2, 3, 1).reshape(-1, 2))
        weight = self.weights()[true.argmax(1)]
        logs = logits.permute(0, 2, 3, 1).reshape(-1, CLASSES).log_softmax(1)
        return -(weight * (true * logs).sum(1)).mean()

    @torch.no_grad()
    def count(self, light: Tensor, ab: Tensor) -> None:
        """Add images to the histogram and the mean colours."""
        if not self.training:
            return
        if not self.config.regression:
            self.histogram += self.classes(ab).flatten().bincount(minlength=CLASSES)
        row = (100 * light).round().clamp(0, 100).long().flatten()
        ones = torch.ones(1, len(row), device=row.device)
        values = torch.cat([ab.transpose(0, 1).flatten(1), ones]).double()
        self.total.index_add_(1, row, values)

    def further(self, batch: Batch, image: Tensor, output: Tensor) -> dict[str, Tensor]:
        """Return the bits of the true class of each pixel (B, H, W), also under the histogram."""
        if self.config.regression:
            return {}
        ab = lab(batch.image)[:, 1:]
        logs = (self(image) - self.weights().log()[:, None, None]).log_softmax(1)
        true = self.classes(self._padded(ab))
        cells = F.pixel_unshuffle(true[:, None], STEP)  # (B, 16, h, w)
        log_likelihood = F.pixel_shuffle(logs.gather(1, cells), STEP)[:, 0]
        high, wide = ab.shape[2:]
        often = self.frequencies().log2()[true]
        return {
            "colour bits": -log_likelihood[:, :high, :wide] / math.log(2),
            "histogram:colour bits": -often[:, :high, :wide],
        }

    @torch.no_grad()
    def predict(
        self,
        picture: Picture,
        *,
        temperature: Annotated[float, Choice(N_("from the likeliest colours to their mean (1)"), 0.05, 1)] = 0.38,
        size: Annotated[int, Choice(N_("input size: pixels of the shorter side; 0: as in training"), 0, 1024)] = 0,
        hints: Annotated[str, Choice(N_("colours of points, x,y,#rrggbb;..."), metavar="x,y,#rrggbb;...")] = "",
    ) -> Made:
        """Colour an image, keeping its lightness. Raises UserError for invalid hints."""
        start = time.perf_counter()
        points = read_hints(hints, picture.size)
        share = min(1.0, (size or self.spec.side) / min(picture.size))
        wide, high = (max(1, round(share * length)) for length in picture.size)
        light = self.given(smaller(picture.image, (wide, high))).to(self.device)
        ab = self.colours(light, temperature).cpu()
        ab = hinted(
            ab,
            100 * light.cpu(),
            [(x * wide // picture.size[0], y * high // picture.size[1], colour) for x, y, colour in points],
        )
        output, vivid = recoloured(picture.image, ab)
        note = ""
        if vivid > 0.01:
            note = _("the image had colours: only its lightness was used")
        return Made(picture, Large(output), 1, time.perf_counter() - start, note=note)
