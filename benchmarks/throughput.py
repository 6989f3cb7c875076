"""Training pictures a second, 64x64: souron's loop beside a plain fp32 loop and Lightning.

    .venv-bench/bin/python benchmarks/throughput.py

All three train the same network from the same initial weights with the same optimizer on the same
batches in the same order, each in a process of its own; they take turns. Fast and wrong is no
feat: after ``--steps`` steps the loss (mean of the last tenth) has to be the same within what
another seed changes.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import mean, median, stdev
from typing import Any

from printing import child, say, spread, table, where

from souron.utils import hardware

CONTESTANTS = {"souron": "souron's loop", "plain": "plain fp32 loop", "lightning": "Lightning, fp32"}
SYSTEMS = ("resnet18", "vgg16", "vit")
SIDE = 64
CASES = 6400  # of Fashion-MNIST, resized, three channels
WARM = 5  # steps that do not count


def contest(who: str, name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Train here and now: the seconds of each step after the first few, and its loss."""
    if who == "souron":
        hardware.calm_allocator()

    import torch

    from souron import registry
    from souron.data.dataset import Dataset
    from souron.data.load import load

    torch.set_num_threads(chosen.threads)
    few = load("fashion").only(range(CASES))
    wide = torch.nn.functional.interpolate(few.input.float(), (SIDE, SIDE), mode="bilinear")
    image = wide.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    cases = Dataset("fashion 64", image, few.target, few.classes, file=())
    kind, config = registry.load_system(name)
    torch.manual_seed(chosen.seed)
    system = kind(config, kind.spec_for(cases))
    torch.manual_seed(chosen.seed)
    ends, losses = [time.perf_counter()], []

    def tick(loss: torch.Tensor) -> None:
        losses.append(loss.detach())
        ends.append(time.perf_counter())

    LOOPS[who](system, cases, chosen, tick)
    seconds = (ends[-1] - ends[WARM]) / (len(ends) - 1 - WARM)
    last = losses[-max(1, len(losses) // 10) :]
    return {"rate": chosen.batch / seconds, "loss": torch.stack(last).mean().item()}


def with_souron(system: Any, cases: Any, chosen: argparse.Namespace, tick: Callable) -> None:
    import torch

    from souron.training.loop import Run
    from souron.training.trainer import autocast

    if system.channels_last:
        system.to(memory_format=torch.channels_last)
    feed = system.loader(cases, seed=chosen.seed)
    run = Run(chosen.steps, chosen.batch, autocast=autocast(feed.device))
    for progress in system.fit(feed, run):
        tick(progress.losses["model"])


def prepared(system: Any, cases: Any, chosen: argparse.Namespace) -> tuple[Any, list[Any]]:
    """All pictures normalised, (N, 3, 64, 64) float32, and the rows of each of souron's batches."""
    import torch

    from souron.data.dataset import Loader

    image = torch.cat([batch.image for batch in system.loader(cases).once()]).contiguous()
    numbered = replace(cases, input=torch.arange(len(cases)).view(-1, 1, 1, 1))
    order = Loader(numbered, lambda row, label: row.flatten(), seed=chosen.seed).endless(chosen.batch)
    return image, [next(order) for _step in range(chosen.steps)]


def as_it_comes(system: Any) -> Any:
    """The system's optimizer with PyTorch's own choice of how to compute a step."""
    optimizer = system.optimizers()["model"]
    for group in optimizer.param_groups:
        group |= {name: None for name in ("fused", "foreach") if name in group}
    return optimizer


def with_plain(system: Any, cases: Any, chosen: argparse.Namespace, tick: Callable) -> None:
    import torch

    from souron.tasks.classify import Batch

    image, order = prepared(system, cases, chosen)
    optimizer = as_it_comes(system)
    system.train()
    for rows in order:
        optimizer.zero_grad()
        loss = system.loss(Batch(image[rows], cases.target[rows]))
        loss.backward()
        if system.clip is not None:
            torch.nn.utils.clip_grad_norm_(system.parameters(), system.clip)
        optimizer.step()
        tick(loss)


def with_lightning(system: Any, cases: Any, chosen: argparse.Namespace, tick: Callable) -> None:
    import logging
    import warnings

    import lightning
    from torch.utils.data import DataLoader, TensorDataset

    from souron.tasks.classify import Batch

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    image, order = prepared(system, cases, chosen)

    class Model(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.system = system

        def training_step(self, batch: Any, i: int) -> Any:
            return self.system.loss(Batch(*batch))

        def configure_optimizers(self) -> Any:
            return as_it_comes(system)

        def on_train_batch_end(self, outputs: Any, batch: Any, i: int) -> None:
            tick(outputs["loss"])

    rows = [some.tolist() for some in order]
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        gradient_clip_val=system.clip,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Model(), DataLoader(TensorDataset(image, cases.target), batch_sampler=rows))


LOOPS: dict[str, Callable] = {"souron": with_souron, "plain": with_plain, "lightning": with_lightning}


def row(name: str, who: str, told: dict[str, list[dict[str, Any]]]) -> list[str]:
    rates = {key: [one["rate"] for one in of] for key, of in told.items()}
    losses = {key: [one["loss"] for one in of] for key, of in told.items()}
    # the initial weights are the same seed by seed, so that differences are taken in pairs
    apart = [a - b for a, b in zip(losses[who], losses["souron"], strict=True)]
    noise = f"{stdev(losses[who]):.4f}" if len(apart) > 1 else "-"
    return [
        f"`{name}`",
        CONTESTANTS[who],
        spread(rates[who]),
        f"{median(rates['souron']) / median(rates[who]):.2f}" if who != "souron" else "-",
        spread(losses[who], 4),
        f"{mean(apart):+.4f}" if who != "souron" else "-",
        noise,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default=",".join(SYSTEMS), type=lambda text: text.split(","))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=hardware.cores())
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.contestant:
        print(json.dumps(contest(chosen.contestant, chosen.systems[0], chosen)))
        return

    rows = []
    for name in chosen.systems:
        told: dict[str, list[dict[str, Any]]] = {who: [] for who in CONTESTANTS}
        for seed in range(chosen.seeds):
            for who in CONTESTANTS:
                said = child(
                    "throughput.py",
                    *("--contestant", who, "--systems", name, "--steps", chosen.steps),
                    *("--batch", chosen.batch, "--threads", chosen.threads, "--seed", seed),
                    threads=chosen.threads,
                )
                told[who].append(json.loads(said.splitlines()[-1]))
                one = told[who][-1]
                say(f"{name} {who} seed {seed}: {one['rate']:.1f} a second, loss {one['loss']:.3f}")
        rows += [row(name, who, told) for who in CONTESTANTS]
    head = [
        "system",
        "loop",
        "pictures a second",
        "souron is faster by",
        f"loss after {chosen.steps} steps",
        "apart from souron's",
        "a seed changes it by (sd)",
    ]
    print(table(head, rows))
    print(f"\nFashion-MNIST ({CASES} pictures, {SIDE}x{SIDE}, three channels), batch {chosen.batch},")
    print(f"{chosen.seeds} seeds, median (least to most); the first {WARM} steps do not count.")
    print("souron sets glibc's allocator as its command line does; the peers run as they come.")
    print(where(chosen.threads, "souron", "lightning"))


if __name__ == "__main__":
    main()
