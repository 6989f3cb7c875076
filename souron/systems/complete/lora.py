"""Two thin matrices beside each matrix of a published model learn; the model itself stays.

Hu and others: LoRA: Low-Rank Adaptation of Large Language Models (2021).
https://arxiv.org/abs/2106.09685

    y = W x + (alpha / rank) B A x,    A (rank, inward) drawn by chance,    B (outward, rank) zero

Only A and B are saved with a run, about a hundredth of the size of the model.

Differs from the paper: the last matrix of the MLP is adapted too; no dropout; AdamW and one cycle
of the rate.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from souron.blocks.decoder import Cache, Decoder
from souron.hub import open_models
from souron.tasks.complete import LanguageModel, Spec, lesson_of
from souron.training import checkpoint
from souron.utils import files
from souron.utils.messages import N_


@dataclass(frozen=True)
class Config:
    model: str = "smollm2"  # or a .gguf file, or a folder
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("q", "v", "down")
    context: int = 512  # tokens
    rate: float = 1e-3
    preferences: str = "dpo"  # or "chosen": train on the better answers alone


class Frozen:
    """A frozen model, excluded from the state and shared by copies."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __deepcopy__(self, memo: dict[int, Any]) -> "Frozen":
        return self

    @cached_property
    def held(self) -> tuple[open_models.Described, Any, Decoder]:
        return open_models.load(self.name)


class LoRA(LanguageModel):
    blocked = N_("most of its weights are those of a published model, which is another file")
    year = 2021
    ja = "公開モデルの重みは動かさず、行列ごとに添えた二つの細い行列だけを学習する"
    SIZES = {
        "tiny": Config("gpt", rank=4, alpha=8.0, context=64),
        "small": Config(),
        "large": Config(rank=32, alpha=64.0, targets=("q", "k", "v", "out", "gate", "up", "down")),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        open_models.check_context(config.context)
        super().__init__(config, spec)
        self.frozen = Frozen(config.model)
        structure = open_models.structure_by(config.model)
        if structure is None:
            raise open_models.no_decoder(open_models.describe(open_models.find(config.model)))
        self.places = places(structure)
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        for layer in range(structure.layers):
            for target in config.targets:
                _matrix, rows, inward = self.places[target]
                name = f"{layer}_{target}"
                self.a[name] = nn.Parameter(torch.randn(config.rank, inward) / inward**0.5)
                self.b[name] = nn.Parameter(torch.zeros(rows.stop - rows.start, config.rank))

    @classmethod
    def spec_for(cls, train: Any) -> Spec:
        return Spec("", 0, lesson_of(train))

    def sketch(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Return the frozen model, and the adapter matrices of one layer as an example."""
        structure = open_models.structure_by(self.config.model)
        assert structure is not None, "else it is not built"
        tokens = self.context
        thin = [
            (f"{half}.0_{target}", "connected", (tokens, width))
            for target in self.config.targets
            for half, width in (("a", self.config.rank), ("b", len(self.b[f"0_{target}"])))
        ]
        return [("published model", "attention", (tokens, structure.width)), *thin]

    @property
    def tokenizer(self) -> Any:
        return self.frozen.held[1]

    @cached_property
    def own_sampling(self) -> tuple[float | None, float | None]:
        return open_models.own_sampling(self.config.model)

    def example(self) -> None:
        decoder = open_models.shape_of(self.config.model)
        if decoder is not None:
            decoder(torch.zeros(1, self.context, dtype=torch.long, device="meta"))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.frozen.held[2](tokens, change=self.change)

    def change(self, layer: int, name: str, x: Tensor, out: Tensor) -> Tensor:
        """Add the adapters' output to that of the matrix ``name``."""
        for target in self.config.targets:
            matrix, rows, _inward = self.places[target]
            if matrix != name:
                continue
            a, b = self.a[f"{layer}_{target}"], self.b[f"{layer}_{target}"]
            scale = self.config.alpha / self.config.rank
            more = (x.to(a.dtype) @ a.T @ b.T * scale).to(out.dtype)
            after = out.shape[-1] - rows.stop
            out = out + nn.functional.pad(more, (rows.start, after))
        return out

    def write_adapter(self, folder: Path) -> None:
        """Write ``adapter_config.json`` and ``adapter_model.safetensors`` in peft's format."""
        state = self.state_dict()
        names = dict(peft_names(self.config, self.frozen.held[2].structure.layers))
        folder.mkdir(parents=True, exist_ok=True)
        weights = {names[name]: weight for name, weight in state.items()}
        files.write_tensors(folder / "adapter_model.safetensors", weights, {})
        modules = sorted({name.split(".")[-3] for name in names.values()})
        files.write_json(
            folder / "adapter_config.json",
            {
                "peft_type": "LORA",
                "task_type": "CAUSAL_LM",
                "r": self.config.rank,
                "lora_alpha": self.config.alpha,
                "lora_dropout": 0.0,
                "bias": "none",
                "target_modules": modules,
                "base_model_name_or_path": self.config.model,
            },
        )

    def read_adapter(self, folder: Path) -> None:
        """Read an adapter of ``write_adapter`` or peft. Raises UserError for other shapes."""
        tensors = files.read_tensors(folder / "adapter_model.safetensors")[0]
        names = dict(peft_names(self.config, self.frozen.held[2].structure.layers))
        own = {name: tensors[theirs] for name, theirs in names.items() if theirs in tensors}
        checkpoint.fill(self, own, folder)

    def kv_cache(self, rows: int = 1) -> Cache:
        return self.frozen.held[2].kv_cache(rows, self.context)

    def read_many(self, tokens: Tensor, cache: Cache) -> Tensor:
        return self.frozen.held[2](tokens, cache, last=True, change=self.change)[:, -1]


def places(structure: Any) -> dict[str, tuple[str, slice, int]]:
    """Return target -> the decoder's matrix, its rows, and the input width."""
    width, head = structure.width, structure.head_width
    queries, keys = structure.heads * head, structure.shared * head
    hidden = structure.hidden or 4 * width
    up = hidden if structure.mlp == "swiglu" else 0
    return {
        "q": ("qkv", slice(0, queries), width),
        "k": ("qkv", slice(queries, queries + keys), width),
        "v": ("qkv", slice(queries + keys, queries + 2 * keys), width),
        "out": ("out", slice(0, width), width),
        "gate": ("up", slice(0, up), width),
        "up": ("up", slice(up, up + hidden), width),
        "down": ("down", slice(0, width), hidden),
    }


def peft_names(config: Config, layers: int) -> Iterator[tuple[str, str]]:
    """Yield the names of the adapter matrices here and in peft."""
    block = {
        "q": "self_attn.q_proj",
        "k": "self_attn.k_proj",
        "v": "self_attn.v_proj",
        "out": "self_attn.o_proj",
        "gate": "mlp.gate_proj",
        "up": "mlp.up_proj",
        "down": "mlp.down_proj",
    }
    for layer in range(layers):
        for target in config.targets:
            long = f"base_model.model.model.layers.{layer}.{block[target]}"
            yield f"a.{layer}_{target}", f"{long}.lora_A.weight"
            yield f"b.{layer}_{target}", f"{long}.lora_B.weight"
