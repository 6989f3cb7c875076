"""Transfer learning with a frozen network: features are computed once, then one layer is trained.

Alain, Bengio: Understanding intermediate layers using linear classifier probes (2016).
https://arxiv.org/abs/1610.01644

Since the layers below the last never change, neither do their outputs for an image. They are
computed once and cached, and only the last layer is trained for many epochs. This does not hold
where images are augmented, or where the network computes more after its last layer; such a network
is trained as any other.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from souron.data.dataset import Dataset, digest
from souron.training.trainer import autocast
from souron.utils import files

KEPT = 30  # files of features in the cache; the oldest are deleted
# small batches on a CPU: glibc returns large blocks, so 64 took 1.7 times as long
BATCH, BATCH_ON_CARDS = 16, 64
TIMED = 3  # batches timed where features are cached; the fastest counts
LEAST_EPOCHS = 5  # of the last layer, even if the features used up the budget
# without a limit, a time budget would allow thousands of epochs on few cases
MOST_EPOCHS, MOST_STEPS = 200, 1000  # the larger of both is the limit
PATIENCE = 3  # validations without improvement


@dataclass(frozen=True)
class Features:
    cases: Dataset  # with features (N, D) in place of images
    seconds: float  # time to compute them on this machine now


def features(
    system: Any, cases: Dataset, device: torch.device, exact: bool = False
) -> Iterator[tuple[float, Features | None]]:
    """Yield (fraction done 0..1, None), and at the end the features of the cases.

    ``exact`` computes in float32, for measurements; training uses the fastest precision.
    """
    file = files.cache_folder() / "features" / f"{_key(system, cases, exact)}.safetensors"
    size = BATCH if device.type == "cpu" else BATCH_ON_CARDS
    # computed before
    if file.exists():
        file.touch()  # mark as recently used
        vectors = files.read_tensors(file)[0]["features"]
        seconds_now = _seconds_now(system, cases, device, exact, size)
        yield 1.0, Features(replace(cases, input=vectors), seconds_now)
        return
    # one pass over the cases
    feed, parts, start = system.loader(cases, device=device), [], time.perf_counter()
    for batch in feed.once(size):
        parts.append(seen_by_the_head(system, batch.image, exact)[0].cpu())
        yield min(0.99, len(parts) * size / len(cases)), None
    image, seconds = torch.cat(parts), time.perf_counter() - start
    files.write_tensors(file, {"features": image}, {})
    for old in sorted(file.parent.glob("*.safetensors"), key=lambda f: -f.stat().st_mtime)[KEPT:]:
        old.unlink(missing_ok=True)
    yield 1.0, Features(replace(cases, input=image), seconds)


def _seconds_now(system: Any, cases: Dataset, device: torch.device, exact: bool, size: int) -> float:
    """Estimate the time for all cases from batches run now.

    The seconds of an earlier run do not apply: the machine may have been busy.
    """
    sample = cases.only(range(min(size, len(cases))))
    batch = next(system.loader(sample, device=device).once(size))
    times = []
    for _again in range(TIMED):
        start = time.perf_counter()
        seen_by_the_head(system, batch.image, exact)[0].cpu()
        times.append(time.perf_counter() - start)
    return min(times) * len(cases) / len(sample)


@torch.no_grad()
def seen_by_the_head(system: Any, image: Tensor, exact: bool = False) -> tuple[Tensor, Tensor]:
    """Return the input of the last layer (B, D) and the network's output (B, labels)."""
    head_inputs: list[Tensor] = []
    fast = autocast(image.device)
    layer = system.eval().get_submodule(system.head)
    handle = layer.register_forward_pre_hook(lambda _layer, inputs: head_inputs.append(inputs[0]))
    try:
        with torch.autocast(image.device.type, enabled=False) if exact else fast():
            answer = system(image)
    finally:
        handle.remove()
    return head_inputs[0].float(), answer.float()


def may(system: Any, cases: Dataset, device: torch.device) -> bool:
    """Return whether the last layer is the network's final operation and takes vectors."""
    batch = next(system.loader(cases.only(range(min(4, len(cases)))), device=device).once())
    vectors, answer = seen_by_the_head(system, batch.image)
    if vectors.ndim != 2:
        return False
    with torch.no_grad():
        alone = system.get_submodule(system.head)(vectors)
    return torch.allclose(alone, answer, atol=0.05, rtol=0.05)  # tolerance for bfloat16


def _key(system: Any, cases: Dataset, exact: bool) -> str:
    """Return a cache key of network, images and precision."""
    hasher = hashlib.blake2b(digest_size=16)
    about = (type(system).__name__, system.config, system.spec.mean, system.spec.std, exact)
    hasher.update(repr(about).encode())
    head = f"{system.head}."
    for tensor in _below(system, head):
        hasher.update(tensor.detach().cpu().contiguous().numpy().data)
    hasher.update(repr(tuple(cases.input.shape)).encode())
    digest(cases.stored, hasher)
    return hasher.hexdigest()


def _below(system: Any, head: str) -> Iterator[Tensor]:
    return (tensor for name, tensor in system.state_dict().items() if not name.startswith(head))
