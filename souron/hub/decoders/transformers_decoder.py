"""Run published language models of other architectures with transformers.

Weights are read from ``.safetensors`` or GGUF only, code beside them is not run, and the network is
not used.
"""

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

MOST_CONTEXT = 8192  # tokens in the cache


class OtherDecoder:
    """The interface of ``blocks.decoder.Decoder``: tokens (B, T) -> logits (B, T, vocabulary)."""

    def __init__(self, path: Path, context: int) -> None:
        from transformers import AutoModelForCausalLM

        folder = path if path.is_dir() else path.parent
        self.model = AutoModelForCausalLM.from_pretrained(
            folder,
            gguf_file=None if path.is_dir() else path.name,
            local_files_only=True,
            use_safetensors=path.is_dir() or None,
            dtype=torch.bfloat16,
        ).eval()
        takes = inspect.signature(self.model.forward).parameters
        self.cache = "cache" if "cache" in takes else "past_key_values"  # since transformers 5.24
        self.structure = SimpleNamespace(context=min(context or MOST_CONTEXT, MOST_CONTEXT))

    def kv_cache(self, rows: int = 1, context: int = 0) -> "OtherMemory":
        return OtherMemory()

    @torch.inference_mode()
    def __call__(self, tokens: Tensor, cache: "OtherMemory | None" = None, last: bool = False) -> Tensor:
        past = {} if cache is None else {self.cache: cache.states}
        keep = 1 if last else 0
        out = self.model(tokens, use_cache=cache is not None, logits_to_keep=keep, **past)
        if cache is not None:
            cache.length += tokens.shape[1]
        return out.logits


class OtherMemory:
    """The cache of keys and values of transformers."""

    def __init__(self) -> None:
        self.states, self.length = _nothing(), 0

    def truncate(self, length: int) -> None:
        """Discard all but the first ``length`` tokens."""
        if length == 0:
            self.states = _nothing()
        elif length < self.length:
            self.states.crop(length)
        self.length = min(length, self.length)


def _nothing() -> Any:
    from transformers import DynamicCache

    return DynamicCache()
