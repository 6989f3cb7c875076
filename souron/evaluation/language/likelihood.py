"""Log-likelihoods that a language model assigns to given texts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from souron import registry
from souron.kinds.signature import typed_as
from souron.training import checkpoint
from souron.utils import files
from souron.utils.messages import UserError, _

AT_ONCE = 16  # batch size


def language_model(folder: str) -> Any:
    """Load the language model of a text-completion run in evaluation mode. Raises UserError."""
    path = Path(folder)
    try:
        args = files.parse_yaml((path / "args.yaml").read_text(encoding="utf-8"))
        system_class, config = registry.load_system(str(args["system"]))
        if not registry.talks(system_class.task):
            raise ValueError(_("its task is {task}").format(task=registry.task_name(system_class.task)))
        settings = {name: typed_as(name, value, getattr(config, name)) for name, value in args["config"].items()}
        spec = registry.load_task(system_class.task).Spec(**args["seen"])
        system = system_class(replace(config, **settings), spec)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(
            "model",
            _("{folder} is no run of a language model: {why}").format(folder=folder, why=error),
            expected=_("a run of {task}").format(task=registry.task_name("complete")),
            fix="souron train gpt",
            exit=3,
        ) from error
    weights = path / "weights" / "best.safetensors"
    checkpoint.fill(system, files.read_tensors(weights)[0], weights)
    return system.eval()


@torch.inference_mode()
def log_likelihoods(model: Any, pairs: Sequence[tuple[str, str]]) -> tuple[Tensor, Tensor]:
    """Compute log P(text | before) in nats for each pair (before, text), (pairs,).

    Also returns whether the beginning was cut off to fit the context, (pairs,) bool.
    """
    tokenizer = model.tokenizer
    rows, cuts = tokenized(model, pairs)
    sums = torch.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda row: len(rows[row][0]))  # by length, for batches
    for start in range(0, len(order), AT_ONCE):
        batch = order[start : start + AT_ONCE]
        longest = len(rows[batch[-1]][0])
        tokens = torch.full((len(batch), longest), tokenizer.start)
        counts = torch.zeros(len(batch), longest - 1)
        for index, row in enumerate(batch):
            ids, count = rows[row]
            tokens[index, : len(ids)] = torch.tensor(ids)
            counts[index, len(ids) - 1 - count : len(ids) - 1] = 1
        nats = model.log_likelihoods(tokens.to(model.device)).float().cpu()
        sums[batch] = torch.where(counts > 0, nats, torch.zeros_like(nats)).sum(1)
    return sums, cuts


def tokenized(model: Any, pairs: Sequence[tuple[str, str]]) -> tuple[list[tuple[list[int], int]], Tensor]:
    """Return the tokens of each pair (before, text) that fit the context, with the number of the text's.

    Also returns whether the beginning was cut off, (pairs,) bool.
    """
    rows: list[tuple[list[int], int]] = []
    cuts = torch.zeros(len(pairs), dtype=torch.bool)
    for before, text in pairs:
        tokens = model.tokenizer.encode(text)
        ids = [model.tokenizer.start, *model.tokenizer.encode(before), *tokens]
        cuts[len(rows)] = len(ids) > model.context + 1
        rows.append((ids[-model.context - 1 :], min(len(tokens), model.context)))
    return rows, cuts
