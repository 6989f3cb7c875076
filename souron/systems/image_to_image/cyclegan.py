"""Translates between two sorts of pictures without pairs: there and back must meet.

Zhu, Park, Isola, Efros: Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks (2017).
https://arxiv.org/abs/1703.10593

    G: A -> B,  F: B -> A,  critics that look at patches of 70 pixels, with squared errors
    min_D  (D_B(b) - 1)^2 + D_B(G(a))^2                                           and so for D_A
    min_G,F  (D_B(G(a)) - 1)^2 + c |F(G(a)) - a| + i c |G(b) - b|              and so the other way

The critics require that an image looks like one of the other domain, the cycle that no content is
lost, the identity that an image of the target domain stays unchanged. Nothing determines which
image of B belongs to one of A: inverted colours would satisfy all but the identity.

    generator: 7x7 convolution, two that halve the side, residual blocks, two that double it, 7x7

Differs from the paper: one cycle of the rate; a batch is trained in parts with as many images of
both domains; sides that 4 does not divide are padded; in `small` a generator predicts the
difference from its input, so that unchanged content is kept, and the critics are as narrow. A large
image is translated in tiles of `tile` pixels, each by its own mean and deviation. Reduced: critics
see only the latest generated images, without a pool of 50 earlier ones.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.portable import Portable
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.tasks.image_to_image import Batch, ImageTranslator, Made, Spec, check_domains
from souron.utils.messages import N_, UserError, _

STEPS = 256  # of a domain's histogram, for the trivial baseline


@dataclass(frozen=True)
class Config:
    width: int = 64  # channels next to the image
    blocks: int = 9
    added: bool = False  # the generators predict the difference from their input
    cycle: float = 10.0  # c
    identity: float = 0.5  # i
    part: int = 1  # images of each domain per update
    rate: float = 2e-4


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(width, width, 3),
            nn.InstanceNorm2d(width),
            nn.ReLU(inplace=True),
            convolution(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def convolution(inward: int, outward: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    mode: Literal["reflect", "zeros"] = "reflect" if stride == 1 else "zeros"
    return nn.Conv2d(inward, outward, kernel, stride, kernel // 2, padding_mode=mode)


class Generator(nn.Module):
    """(B, C, H, W) in 0..1 -> the same shape."""

    def __init__(self, channels: int, width: int, blocks: int, added: bool) -> None:
        super().__init__()
        self.added = added
        layers: list[nn.Module] = []
        for inward, outward, kernel, stride in (
            (channels, width, 7, 1),
            (width, 2 * width, 3, 2),
            (2 * width, 4 * width, 3, 2),
        ):
            layers += [convolution(inward, outward, kernel, stride), nn.InstanceNorm2d(outward)]
            layers.append(nn.ReLU(inplace=True))
        layers += [Block(4 * width) for _block in range(blocks)]
        for wide, narrow in ((4 * width, 2 * width), (2 * width, width)):
            layers.append(nn.ConvTranspose2d(wide, narrow, 3, 2, 1, output_padding=1))
            layers += [nn.InstanceNorm2d(narrow), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, convolution(width, channels, 7))

    def forward(self, image: Tensor) -> Tensor:
        high, wide = image.shape[2:]
        right, down = max(16 - wide, -wide % 4), max(16 - high, -high % 4)
        x = F.pad(image, (0, right, 0, down), mode="replicate") if right or down else image
        output = self.layers(2 * x - 1).float().tanh()[:, :, :high, :wide]
        return image + output if self.added else (output + 1) / 2


def own_name(name: str) -> str:
    """Return the name in ``Generator`` of a weight in the authors' files; "" for none, such as an
    average of the norms, which count for nothing.

    >>> own_name("model.10.conv_block.5.weight"), own_name("model.19.bias"), own_name("model.2.running_mean")
    ('layers.9.layers.3.weight', 'layers.18.bias', '')
    """
    match = re.fullmatch(r"model\.(\d+)\.(?:conv_block\.([15])\.)?(weight|bias)", name)
    if match is None:
        return ""
    index, within, kind = match.groups()
    number = int(index) - (2 if int(index) == 26 else 1)  # padding is a layer of its own there
    return f"layers.{number}.{kind}" if within is None else f"layers.{number}.layers.{'03'[within == '5']}.{kind}"


class Critic(nn.Sequential):
    """Score patches, (B, C, H, W) -> (B, 1, h, w): 1 for real ones, 0 for generated ones."""

    def __init__(self, channels: int, width: int) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for number, stride in enumerate((2, 2, 1)):
            inward = width * 2**number
            layers += [nn.Conv2d(inward, 2 * inward, 4, stride, 1), nn.InstanceNorm2d(2 * inward), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))


class CycleGAN(ImageTranslator):
    year = 2017
    ja = "対のない二種類の画像の間を、往復すれば元に戻ることを手がかりに変換する"
    status = "reduced"
    channels_last = True
    any_class = False  # it translates
    measures = ("PSNR", "object PSNR", "ground PSNR", "SSIM", "feature distance", "cycle PSNR")
    SIZES = {
        "tiny": Config(4, 1, part=16, rate=3e-3),
        "small": Config(20, 3, True, part=8, rate=1e-3),
        "paper": Config(),
    }
    one_way = False  # True with a file of the authors, which holds one generator
    histogram: Tensor  # (2, C, STEPS): sorted values of each domain's images
    seen: Tensor  # (), batch parts averaged in the histograms

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.forth, self.back = (
            Generator(spec.channels, config.width, config.blocks, config.added) for _way in range(2)
        )
        self.critics = nn.ModuleList(Critic(spec.channels, config.width) for _domain in range(2))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, 0, 0.02)
        for way in (self.forth, self.back) if config.added else ():
            last = way.layers[-1]
            assert isinstance(last, nn.Conv2d) and last.bias is not None
            nn.init.zeros_(last.weight)  # each starts as the identity
            nn.init.zeros_(last.bias)
        self.register_buffer("histogram", torch.zeros(2, spec.channels, STEPS))
        self.register_buffer("seen", torch.tensor(0))

    @classmethod
    def spec_for(cls, train: Any) -> Spec:
        """Raise UserError unless there are two domains without a common image."""
        check_domains(train)
        return super().spec_for(train)

    @classmethod
    def of_published(cls, weights: Mapping[str, Tensor]) -> "CycleGAN | None":
        """Build the model from one of the authors' generators, ``horse2zebra.pth``, which
        translates one way; None for another network.
        """
        names = {name: ours for name in weights if (ours := own_name(name))}
        model = cls(cls.SIZES["paper"], Spec(3, 256, ("A", "B")))
        own = {name: weight.shape for name, weight in model.forth.state_dict().items()}
        if {ours: weights[name].shape for name, ours in names.items()} != own:
            return None
        model.forth.load_state_dict({ours: weights[name] for name, ours in names.items()})
        model.one_way = True
        return model.requires_grad_(False).eval()

    def forward(self, image: Tensor) -> Tensor:
        return self.forth(image)

    def ways(self, label: Tensor) -> list[tuple[Tensor, nn.Module, nn.Module]]:
        """Return for each direction its images' mask, its generator and the inverse one."""
        return [(label == 0, self.forth, self.back), (label == 1, self.back, self.forth)]

    def translated(self, image: Tensor, label: Tensor) -> Tensor:
        output = torch.zeros_like(image, dtype=torch.float32)
        for rows, there, _back in self.ways(label):
            if rows.any():
                output[rows] = there(image[rows]).float()
        return output

    def further(self, batch: Batch, image: Tensor, output: Tensor) -> dict[str, Tensor]:
        again = self.translated(output, 1 - batch.label)
        error = (again - image).square().mean((1, 2, 3)).clamp(min=1e-6)
        return {"cycle PSNR": -10 * error.log10()}

    def rivals(self, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {"identity": image, "histograms": self.matched(image, label)}

    def matched(self, image: Tensor, label: Tensor) -> Tensor:
        """Match each channel's histogram to that of the other domain."""
        count = image[0, 0].numel()
        rank = image.flatten(2).argsort(2).argsort(2)  # (B, C, H W)
        quantile = (rank * STEPS // count).clamp(max=STEPS - 1)
        return self.histogram[1 - label].gather(2, quantile).view_as(image)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        generators = [*self.forth.parameters(), *self.back.parameters()]
        rate, betas = self.config.rate, (0.5, 0.999)
        return {
            "critics": torch.optim.Adam(self.critics.parameters(), rate, betas),
            "generators": torch.optim.Adam(generators, rate, betas),
        }

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        domains = [batch.image[batch.label == domain] for domain in (0, 1)]
        for real in zip(*(images.split(self.config.part) for images in domains), strict=False):
            count = min(map(len, real))
            if not count:  # a batch of one domain alone is skipped
                continue
            a, b = (images[:count] for images in real)
            self.count(a, b)
            # least-squares GAN loss of both critics, then of both generators with the cycle loss
            with torch.no_grad():
                fakes = self.back(b), self.forth(a)
            yield (
                "critics",
                sum(
                    (critic(true).float() - 1).square().mean() + critic(fake).float().square().mean()
                    for critic, true, fake in zip(self.critics, (a, b), fakes, strict=True)
                )
                / 2,
            )
            yield "generators", self.generators_loss(a, b)

    def generators_loss(self, a: Tensor, b: Tensor) -> Tensor:
        of_a, of_b = self.critics
        to_b, to_a = self.forth(a), self.back(b)
        adversarial = (of_b(to_b).float() - 1).square().mean() + (of_a(to_a).float() - 1).square().mean()
        cycle = F.l1_loss(self.back(to_b), a) + F.l1_loss(self.forth(to_a), b)
        same = F.l1_loss(self.forth(b), b) + F.l1_loss(self.back(a), a)
        return adversarial + self.config.cycle * (cycle + self.config.identity * same)

    @torch.no_grad()
    def count(self, a: Tensor, b: Tensor) -> None:
        """Add images of both domains to their histograms."""
        self.seen += 1
        for domain, images in enumerate((a, b)):
            values = images.float().transpose(0, 1).flatten(1).sort(1).values  # (C, B H W)
            quantile = torch.linspace(0, values.shape[1] - 1, STEPS, device=values.device).long()
            self.histogram[domain].lerp_(values[:, quantile], 1 / float(self.seen))

    def portable(self) -> Portable:
        return self.carried(self.forth, 16, 4, coloured=self.spec.channels == 3)

    def predict(
        self,
        picture: Picture,
        *,
        to: Annotated[str, Choice(N_("the domain to translate to; the second if not given"))] = "",
        tile: Annotated[int, Choice(N_("input size: pixels a side"), 16, 4096)] = 512,
        overlap: Annotated[float, Choice(N_("share of a tile's side"), 0, 0.5)] = 0.25,
    ) -> Made:
        """Translate an image to the other domain. Raises UserError for an unknown one."""
        if to and to not in self.spec.labels:
            raise UserError(
                "value",
                _("{name}={value} is not understood").format(name="to", value=to),
                expected=", ".join(self.spec.labels),
                fix=f'to="{self.spec.labels[1]}"',
            )
        back = bool(to) and self.spec.labels.index(to) == 0
        if back and self.one_way:
            raise UserError(
                "value",
                _("these weights translate one way"),
                expected=_("the file of the other generator, such as zebra2horse.pth"),
                exit=3,
            )
        way = self.back if back else self.forth
        return self.made(picture, way, 1, tile, overlap, coloured=self.spec.channels == 3)
