"""Transfer learning with a frozen network: what it sees is computed once, one layer learns.

Alain, Bengio: Understanding intermediate layers using linear classifier probes (2016).
https://arxiv.org/abs/1610.01644

As the layers below the last never change, neither do their answers to a picture: they are computed
once, kept in the cache, and the last layer alone goes through them again and again. Where pictures
are augmented, or where the network does more after its last layer, this does not hold, and the
network is run as any other.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from souron.data.dataset import Dataset, Loader
from souron.tasks.classify import Batch, Classifier
from souron.training.trainer import autocast
from souron.utils import files

KEPT = 30  # files of features in the cache; the oldest make room
# pictures at once: few, as glibc returns large blocks and 64 then took 1.7 times as long
BATCH, BATCH_ON_CARDS = 16, 64


class Head(Classifier):
    """The last layer of a classifier, over features (B, D) in place of pictures.

    Its weights go by the whole network's names, so that what is saved is the whole network.
    """

    ja = "凍結した網の最後の層"

    def __init__(self, whole: Classifier) -> None:
        super().__init__(whole.config, whole.seen)
        self.layer = whole.get_submodule(whole.head)
        self._whole = [whole]  # in a list, so that it is not a layer of this network

    @property
    def whole(self) -> Classifier:
        return self._whole[0]

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(image)

    def prepare(self, image: Tensor, label: Tensor) -> Batch:
        return Batch(image, label)

    def state_dict(self, *args: Any, **options: Any) -> Any:
        return self.whole.state_dict(*args, **options)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return self.whole.load_state_dict(state_dict, strict, assign)


@dataclass(frozen=True)
class Features:
    cases: Dataset  # with features (N, D) in place of pictures
    seconds: float  # that it took to compute them, today or when they were kept


def features(
    system: Classifier, cases: Dataset, device: torch.device, exact: bool = False
) -> Iterator[tuple[float, Features | None]]:
    """How much is done, 0..1, and at the end what was seen.

    ``exact`` asks for float32, as measuring does, where training takes what is fastest.
    """
    file = files.cache_folder() / "features" / f"{_key(system, cases, exact)}.safetensors"
    if file.exists():
        file.touch()  # used last
        tensors, about = files.read_tensors(file)
        yield 1.0, Features(replace(cases, image=tensors["features"]), about["seconds"])
        return
    feed, found, begun = Loader(cases, system.prepare, device=device), [], time.perf_counter()
    size = BATCH if device.type == "cpu" else BATCH_ON_CARDS
    for batch in feed.once(size):
        found.append(seen_by_the_head(system, batch.image, exact)[0].cpu())
        yield min(0.99, len(found) * size / len(cases)), None
    image, seconds = torch.cat(found), time.perf_counter() - begun
    files.write_tensors(file, {"features": image}, {"seconds": seconds})
    for old in sorted(file.parent.glob("*.safetensors"), key=lambda f: -f.stat().st_mtime)[KEPT:]:
        old.unlink(missing_ok=True)
    yield 1.0, Features(replace(cases, image=image), seconds)


@torch.no_grad()
def seen_by_the_head(
    system: Classifier, image: Tensor, exact: bool = False
) -> tuple[Tensor, Tensor]:
    """What the last layer is given (B, D), and the network's answer (B, labels)."""
    given: list[Tensor] = []
    fast = autocast(image.device)
    layer = system.eval().get_submodule(system.head)
    handle = layer.register_forward_pre_hook(lambda _layer, inputs: given.append(inputs[0]))
    try:
        with torch.autocast(image.device.type, enabled=False) if exact else fast():
            answer = system(image)
    finally:
        handle.remove()
    return given[0].float(), answer.float()


def may(system: Classifier, cases: Dataset, device: torch.device) -> bool:
    """Is the last layer the last thing that the network does, and do vectors reach it?"""
    batch = next(
        Loader(cases.only(range(min(4, len(cases)))), system.prepare, device=device).once()
    )
    vectors, answer = seen_by_the_head(system, batch.image)
    if vectors.ndim != 2:
        return False
    with torch.no_grad():
        alone = system.get_submodule(system.head)(vectors)
    return torch.allclose(alone, answer, atol=0.05, rtol=0.05)  # bfloat16 rounds


def _key(system: Classifier, cases: Dataset, exact: bool) -> str:
    """Another network, another picture or another precision is another key."""
    digest = hashlib.blake2b(digest_size=16)
    about = (type(system).__name__, system.config, system.seen.mean, system.seen.std, exact)
    digest.update(repr(about).encode())
    head = f"{system.head}."
    for tensor in _below(system, head):
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    digest.update(repr(tuple(cases.image.shape)).encode())
    for some in cases.stored.split(1024):
        digest.update(some.contiguous().numpy().data)
    return digest.hexdigest()


def _below(system: Classifier, head: str) -> Iterator[Tensor]:
    return (tensor for name, tensor in system.state_dict().items() if not name.startswith(head))
