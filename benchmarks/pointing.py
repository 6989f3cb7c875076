"""The pointing game: does a heat map's highest point lie on the object that was named?

    .venv-bench/bin/python benchmarks/pointing.py

Zhang, Lin, Brandt, Shen, Sclaroff: Top-down Neural Attention by Excitation Backprop (2016).
https://arxiv.org/abs/1608.00507

Scenes are stamps (Tux Paint) of a few classes, pasted anywhere on coloured noise, so that it is
known where they lie; the stamps of the test are not those of training. A hit is a highest point on
the stamp or within 15 pixels of it where the picture has 500 a side, as in the paper: 3 % of the
side. souron's ``heat``, pytorch-grad-cam and Captum explain the same network at the same layer, and
are asked about the true class of every test picture. The middle of the picture is the guess of one
who does not look.
"""

import argparse
import copy
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from printing import say, table, watched, where
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from souron.data import load
from souron.data.dataset import Dataset, Rows
from souron.data.splits import Parts, Split
from souron.evaluation import gradcam
from souron.runs import prepare
from souron.stats import intervals
from souron.utils import hardware

CLASSES = 5  # of stamps, the largest
TOLERANCE = 15 / 500  # of the side
TRAIN, VAL, TEST = 2000, 200, 400  # scenes
NETWORKS = {
    "cnn": {"side": 64, "budget": "8ep"},
    "resnet": {"side": 64, "budget": "8ep"},
    "efficientnet_lite, frozen": {"side": 224, "budget": "30ep"},
}


def stamps() -> tuple[Path, dict[str, list[str]]]:
    """Where they lie, and the largest classes' files."""
    folder, cases = load.found("stamps"), load.load("stamps", 8)
    names = [cases.classes[label] for label in cases.target.tolist()]
    largest = [name for name, _count in Counter(names).most_common(CLASSES)]
    files = {name: [f for f, n in zip(cases.file, names, strict=True) if n == name] for name in sorted(largest)}
    return folder, files


def scenes(folder: Path, files: dict[str, list[str]], count: int, side: int, seed: int) -> tuple[Dataset, Tensor]:
    """Pictures with one stamp each, and where it lies: (count, side, side) bool."""
    chance = np.random.default_rng(seed)
    names, opened = sorted(files), dict[str, Image.Image]()
    images, masks, labels = [], [], []
    for i in range(count):
        label = i % len(names)
        file = str(chance.choice(files[names[label]]))
        if file not in opened:
            opened[file] = Image.open(folder / file).convert("RGBA")
            opened[file].thumbnail((side, side))
        scene, mask = pasted(opened[file], side, chance)
        images.append(scene)
        masks.append(mask)
        labels.append(label)
    image = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    number = [f"{i}.png" for i in range(count)]
    cases = Dataset("scenes", image, torch.tensor(labels), tuple(names), number)
    return cases, torch.from_numpy(np.stack(masks))


def pasted(stamp: Image.Image, side: int, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(side, side, 3) uint8, and where the stamp is: (side, side) bool."""
    factor = chance.uniform(0.3, 0.5) * side / max(stamp.size)
    width, height = (max(2, round(factor * length)) for length in stamp.size)
    small = stamp.resize((width, height))
    if chance.random() < 0.5:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    left, top = (int(chance.integers(0, side - length + 1)) for length in (width, height))
    clouds = Image.fromarray(chance.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    ground = clouds.resize((side, side), Image.Resampling.BICUBIC)
    noisy = np.asarray(ground, dtype=np.float32) + chance.normal(0, 12, (side, side, 3))
    scene = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    scene.paste(small, (left, top), small)
    mask = np.zeros((side, side), dtype=bool)
    mask[top : top + height, left : left + width] = np.asarray(small)[..., 3] > 127
    return np.asarray(scene), mask


def learnt(network: str, budget: str, parts: Parts) -> Any:
    frozen = network.endswith("frozen")
    args = {
        "system": network.split(",")[0],
        "budget": budget,
        "seed": 0,
        "batch": 64,
        "rate": None,
        "pretrained": str(frozen),
        "freeze": frozen,
        "patience": 0,
        "changes": {},
        "device": "cpu",
        "augment": "none" if frozen else "shift,mirror",
    }
    cases = replace(
        parts.train,
        input=torch.cat([part.image for part in parts]),
        target=torch.cat([part.label for part in parts]),
        file=[name for part in parts for name in part.file],
    )
    ends = [len(parts.train), len(parts.train) + len(parts.val)]
    split = Split(*torch.arange(len(cases)).tensor_split(ends))
    model = prepare.build(args, parts.train)
    found = None
    for _done, found in prepare.looking(args, cases, model):  # noqa: B007
        pass
    fit, _parts = prepare.enter(args, model, cases, split, found)
    while not fit.done:
        fit.go(5)
        say(f"{network}: {fit.fraction:.0%} trained")
    fit.use_best()
    return model.eval()


class Opened(nn.Module):
    """EfficientNet-Lite with a layer where its last maps are; its last activation is none."""

    def __init__(self, system: Any) -> None:
        super().__init__()
        self.system, self.maps = system, nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        net = self.system
        x = F.relu6(net.bn0(net.conv_stem(image)))
        for block in net.blocks:
            x = block(x)
        x = self.maps(F.relu6(net.bn1(net.conv_head(x))))
        return net.fc(x.mean((2, 3)))


def for_peers(network: str, system: Any) -> tuple[nn.Module, nn.Module]:
    """A copy of the network that the peers may hook, and the layer that souron finds by itself."""
    own = copy.deepcopy(system).requires_grad_(True).eval()
    if network.startswith("efficientnet"):
        opened = Opened(own)
        return opened, opened.maps
    if network == "resnet":
        return own, own.get_submodule(f"layer{len(own.config.depths)}")
    last = [layer for layer in own.features if isinstance(layer, nn.ReLU)][-1]
    return own, last


Maps = tuple[Tensor, Tensor]  # small (B, h, w) as computed, large (B, H, W)


def with_souron(system: Any, image: Tensor, label: Tensor) -> Maps:
    return gradcam.coarse(system, image, label), gradcam.heat(system, image, label)


def with_grad_cam(model: nn.Module, layer: nn.Module) -> Callable[[Any, Tensor, Tensor], Maps]:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def explain(_system: Any, image: Tensor, label: Tensor) -> Maps:
        small, large = [], []
        for some, about in zip(image.split(16), label.split(16), strict=True):
            targets = [ClassifierOutputTarget(k) for k in about.tolist()]
            with GradCAM(model=model, target_layers=[layer]) as cam:
                large.append(torch.from_numpy(cam(input_tensor=some, targets=targets)))
                seen = cam.activations_and_grads
                values = [kept[0].numpy() for kept in (seen.activations, seen.gradients)]
                small.append(torch.from_numpy(cam.get_cam_image(some, layer, targets, *values)))
        return torch.cat(small).relu(), torch.cat(large)

    return explain


def with_captum(model: nn.Module, layer: nn.Module) -> Callable[[Any, Tensor, Tensor], Maps]:
    from captum.attr import LayerAttribution, LayerGradCam

    def explain(_system: Any, image: Tensor, label: Tensor) -> Maps:
        cam = LayerGradCam(model, layer)
        batches = zip(image.split(16), label.split(16), strict=True)
        found = [  # detached at once: they hold on to all that the network computed
            cam.attribute(some, about, relu_attributions=True).detach() for some, about in batches
        ]
        small = torch.cat(found)
        large = LayerAttribution.interpolate(small, image.shape[2:], "bilinear")
        return small[:, 0], large[:, 0]

    return explain


def hits(large: Tensor, masks: Tensor) -> np.ndarray:
    """(pictures,) 0 or 1"""
    height, width = masks.shape[1:]
    found = []
    for heat, mask in zip(large.numpy(), masks.numpy(), strict=True):
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        away = ndimage.distance_transform_edt(~mask)[row, column]
        found.append(heat.max() > 0 and away <= TOLERANCE * max(height, width))
    return np.array(found, dtype=float)


def alike(one: Tensor, other: Tensor) -> list[float]:
    """Correlation of two maps, picture by picture, where both have something to show."""
    return [
        float(np.corrcoef(a.flatten(), b.flatten())[0, 1])
        for a, b in zip(one.numpy(), other.numpy(), strict=True)
        if a.std() > 0 and b.std() > 0
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=hardware.cores())
    parser.add_argument("--networks", default=";".join(NETWORKS))
    parser.add_argument("--scenes", type=float, default=1.0, help="times as many scenes")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)

    folder, files = stamps()
    os.environ["SOURON_CACHE"] = tempfile.mkdtemp()
    parts_of = ((0, 5), (5, 6), (6, 9))  # of nine: stamps for training, validation and test
    split = [
        {name: [f for i, f in enumerate(of) if low <= i % 9 < high] for name, of in files.items()}
        for low, high in parts_of
    ]
    rows = []
    for network in chosen.networks.split(";"):
        about = NETWORKS[network]
        counts = [max(CLASSES, round(chosen.scenes * n)) for n in (TRAIN, VAL, TEST)]
        made = [
            scenes(folder, some, count, int(about["side"]), seed)
            for seed, (some, count) in enumerate(zip(split, counts, strict=True))
        ]
        parts, masks = Parts(*(cases for cases, _masks in made)), made[2][1]
        with watched():
            rows += play(network, learnt(network, str(about["budget"]), parts), parts.test, masks)
    head = [
        "network (accuracy)",
        "heat map",
        "highest point on the stamp, % (95 %)",
        "correlation with souron's, median (least)",
        "largest difference before enlarging",
        "ms a picture",
    ]
    print(table(head, rows))
    print(f"\n{round(chosen.scenes * TEST)} test scenes of {', '.join(files)}; tolerance {TOLERANCE:.0%} of the side.")
    print(where(chosen.threads, "souron", "grad-cam", "captum"))


def play(network: str, system: Any, test: Dataset, masks: Tensor) -> list[list[str]]:
    """A line for each way to explain."""
    image, label = system.batch(Rows(test.input, test.target))
    with torch.inference_mode():
        said = torch.cat([system(some).argmax(1) for some in image.split(64)])
    accuracy = (said == label).float().mean().item()
    model, layer = for_peers(network, system)
    ways = {"souron": with_souron, "pytorch-grad-cam": with_grad_cam(model, layer), "Captum": with_captum(model, layer)}
    rows, ours, own = [], torch.empty(0), torch.empty(0)
    for name, explain in ways.items():
        begun = time.perf_counter()
        small, large = explain(system, image, label)
        took = 1000 * (time.perf_counter() - begun) / len(test)
        if name == "souron":
            ours, own, took = small, large, took / 2  # it was asked for both
        off = ((small - ours).abs().amax((1, 2)) / ours.amax((1, 2)).clamp(min=1e-12)).max()
        same = alike(own, large)
        share = intervals.interval(hits(large, masks))
        rows.append(
            [
                f"{network} ({accuracy:.0%})",
                name,
                percent(share),
                f"{np.median(same):.4f} ({min(same):.4f})",
                f"{off:.0e} of the highest",
                f"{took:.1f}",
            ]
        )
    middle = torch.zeros_like(own)
    middle[:, own.shape[1] // 2, own.shape[2] // 2] = 1
    share = intervals.interval(hits(middle, masks))
    rows.append([network, "the middle", percent(share), "-", "-", "-"])
    return rows


def percent(share: Any) -> str:
    return f"{100 * share.value:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"


if __name__ == "__main__":
    main()
