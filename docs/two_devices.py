"""AlexNet on two devices, as in 2012: ``python docs/two_devices.py`` (some seconds).

Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks
(2012). https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks

    device 1   conv1 - conv2 -+- conv3 - conv4 - conv5 -+- fc6 -+- fc7 -+- fc8 -+- logits
                              x                         x       x       x       x
    device 2   conv1 - conv2 -+- conv3 - conv4 - conv5 -+- fc6 -+- fc7 -+- fc8 -+- logits

Two processes stand for the two graphics cards. Each has the weights of one half of the feature maps
and units. At an x the devices exchange activations, because the next layer reads those of both. The
logits equal those of one process that has the whole network, whose conv2, conv4 and conv5 are
convolutions with ``groups=2``.

``python docs/two_devices.py tiny`` does the same with narrow layers.
"""

import os
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn

from souron.registry import load_system
from souron.system import System
from souron.tasks.classify import Spec

IMAGES, SIDE, CLASSES = 4, 224, 1000
NUMBER = 4  # bytes of a number that are counted; computed is with 8, so that rounding hides no mistake
TOLERANCE = 1e-6  # of the largest logit


def whole(size: str) -> System:
    """Return the whole network, with the same random weights in each process."""
    torch.manual_seed(0)
    network, config = load_system(f"alexnet_{size}")
    return network(config, Spec(3, SIDE, tuple(map(str, range(CLASSES))))).double().eval()


def layers(network: System) -> list[nn.Module]:
    """Return the layers in the order in which they are computed."""
    return [*network.features, nn.AdaptiveAvgPool2d(network.grid), nn.Flatten(), *network.classifier]


def keep_half(layer: nn.Module, device: int) -> None:
    """Keep what a device computes of a layer: one half of its feature maps or units."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        layer.weight = nn.Parameter(layer.weight.chunk(2)[device].clone())
        layer.bias = nn.Parameter(layer.bias.chunk(2)[device].clone())
        layer.groups = 1  # of two groups, one is left
    elif hasattr(layer, "neighbours"):  # local response normalisation, within a device
        layer.neighbours = layer.neighbours.chunk(2)[device].chunk(2, 1)[device]


def exchange(own: Tensor) -> Tensor:
    """Send the own half to the other device, receive the other's, and join them along the channels."""
    halves = [torch.empty_like(own) for _device in range(2)]
    dist.all_gather(halves, own.contiguous())
    return torch.cat(halves, 1)


def run_device(device: int, size: str, images: Tensor, expected: Tensor, store: str) -> None:
    """Compute the logits as one of the two devices; the first one compares and prints them."""
    rendezvous = Path(store).as_uri()
    dist.init_process_group("gloo", init_method=rendezvous, rank=device, world_size=2, timeout=timedelta(minutes=2))
    x, rows, first = images, [], True
    for layer in layers(whole(size)):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            kilobytes = 0.0 if first else x.numel() * NUMBER / len(x) / 1e3
            reads_both = not first and getattr(layer, "groups", 1) == 1
            x = exchange(x) if reads_both else x  # the first layer reads the image
            keep_half(layer, device)
            megabytes = sum(weight.numel() * NUMBER for weight in layer.parameters()) / 1e6
            rows.append((megabytes, kilobytes if reads_both else 0.0, kilobytes))
            first = False
        else:
            keep_half(layer, device)
        x = layer(x)
    answer = x.numel() * NUMBER / len(x) / 1e3
    x = exchange(x)
    dist.destroy_process_group()
    if device == 0:
        report([*rows, (0.0, answer, answer)], float((x - expected).abs().max() / expected.abs().max()))


def report(rows: list[tuple[float, float, float]], difference: float) -> None:
    """Print weights and bytes of each layer. Raises SystemExit where the devices compute something else."""
    names = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8", "logits"]
    print("layer    MB of weights on a device    kB sent before it, for each image")
    for name, (megabytes, sent, _all) in zip(names, rows, strict=True):
        print(f"{name:6} {megabytes:15.2f} {sent:30.1f}")
    weights, sent, every = map(sum, zip(*rows, strict=True))
    print(f"One device:  {2 * weights:.1f} MB of weights, nothing is sent.")
    print(f"Two devices: {weights:.1f} MB on each; each sends {sent:.1f} kB for an image.")
    print(f"If every layer read both halves, it would send {every:.1f} kB.")
    print(f"Largest difference from one process: {difference:.0e} of the largest logit.")
    if not difference <= TOLERANCE:
        raise SystemExit(f"the two devices differ from one process by more than {TOLERANCE}")


@torch.inference_mode()
def main(size: str = "paper") -> None:
    images = torch.randn(IMAGES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = whole(size)(images)  # (IMAGES, CLASSES)
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nothing leaves this computer
    with tempfile.TemporaryDirectory() as folder:
        given = (size, images, expected, str(Path(folder) / "store"))
        torch.multiprocessing.spawn(run_device, given, nprocs=2)


if __name__ == "__main__":
    main(*sys.argv[1:2])
