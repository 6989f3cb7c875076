"""The networks that the PyTorch contestants train, and the data as tutorials give it to them."""

import numpy as np
import torch
from PIL import Image
from protocol import MEAN, STD, Fashion
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

WIDTHS = (32, 64, 128)


def small() -> nn.Sequential:
    """The same in every framework: three 3x3 convolutions, each with batch norm, relu and pool."""
    layers: list[nn.Module] = []
    inward = 1
    for width in WIDTHS:
        convolution = nn.Conv2d(inward, width, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        inward = width
    layers[-1] = nn.AvgPool2d(7)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inward, 10))


def example() -> nn.Sequential:
    """The network of PyTorch's MNIST example and of Lightning's image classifier example.

    https://github.com/pytorch/examples/blob/main/mnist/main.py
    """
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


class Images(Dataset):
    """As ``torchvision.datasets.FashionMNIST`` with the transforms of the tutorials."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray) -> None:
        self.pixels, self.labels = torch.from_numpy(pixels), torch.from_numpy(labels).long()
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.pixels[i].numpy())
        return self.transform(image), int(self.labels[i])


def loader(data: Fashion, batch: int, workers: int) -> DataLoader:
    images = Images(data.train, data.train_label)
    return DataLoader(images, batch, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0)


def normalised(pixels: np.ndarray) -> Tensor:
    """(N, 28, 28) uint8 -> (N, 1, 28, 28) float32"""
    return (torch.from_numpy(pixels)[:, None] / 255 - MEAN) / STD


@torch.inference_mode()
def accuracy(network: nn.Module, data: Fashion) -> float:
    learning = network.training
    network.eval()
    images, labels = normalised(data.test), torch.from_numpy(data.test_label)
    right = sum(
        (network(some).argmax(1) == answer).sum().item()
        for some, answer in zip(images.split(500), labels.split(500), strict=True)
    )
    network.train(learning)
    return right / len(labels)
