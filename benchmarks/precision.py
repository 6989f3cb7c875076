"""Whether this processor trains faster in bfloat16 than in float32, and whether souron knows.

    .venv/bin/python benchmarks/precision.py

A training step of each system, forward, backward and the optimizer, in turns within one process.
"""

# ruff: noqa: E402, the allocator is set before torch is imported

import argparse
import time
from collections.abc import Callable

from souron.utils import hardware

hardware.calm_allocator()

import torch
from printing import spread, table, watched, where

from souron import registry
from souron.tasks.classify import Spec

SYSTEMS = {"cnn": 28, "resnet18": 64, "vit": 64}  # and the side of their pictures


def step(name: str, side: int, batch: int) -> Callable[[bool], float]:
    """Does one, in bfloat16 if asked; its seconds."""
    torch.manual_seed(0)
    kind, config = registry.load_system(name)
    seen = Spec(3, side, tuple("0123456789"), (0.5,) * 3, (0.2,) * 3)
    system = kind(config, seen).train()
    layout = torch.channels_last if system.channels_last else torch.contiguous_format
    system.to(memory_format=layout)
    optimizer = torch.optim.AdamW(system.parameters(), 1e-3, fused=True)
    image = torch.randn(batch, 3, side, side).contiguous(memory_format=layout)
    label = torch.randint(10, (batch,))

    def go(half: bool) -> float:
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = torch.nn.functional.cross_entropy(system(image).float(), label)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - begun

    return go


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=32)
    chosen = parser.parse_args()
    rows = []
    for name, side in SYSTEMS.items():
        go = step(name, side, chosen.batch)
        with watched():
            times = [(go(False), go(True)) for _ in range(chosen.steps)][chosen.steps // 4 :]
        single, half = zip(*times, strict=True)
        ratio = [a / b for a, b in times]
        rows.append(
            [
                f"`{name}`, {side} pixels",
                spread([1000 * s for s in single], 1),
                spread([1000 * s for s in half], 1),
                spread(ratio, 2),
            ]
        )
    print(table(["system", "float32, ms", "bfloat16, ms", "bfloat16 is faster by"], rows))
    taken = "bfloat16" if hardware.bf16() else "float32"
    print(f"\nBatch {chosen.batch}; median (least to most). souron trains in {taken} here.")
    print(where(torch.get_num_threads()))


if __name__ == "__main__":
    main()
