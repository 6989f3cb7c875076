"""A published language model as it is, from a file here. It learns nothing more.

Allal and others: SmolLM2: When Smol Goes Big (2025). https://arxiv.org/abs/2502.02737

    souron predict open_model prompt.txt model=folder/or/file.gguf

``smollm2`` can be downloaded; larger ones are files that the user provides. Decoders with the
architecture of Llama, Mistral, Qwen2 or GPT-2 run here: prompts are read in bf16, or fp16 where
that is faster, and tokens are generated with 8-bit matrices, or 4-bit ones where the file had no
more. A .gguf file of another architecture runs through llama.cpp, in the bits of the file, and
with ``engine=llama`` every .gguf file does.

Differs from the paper: nothing is trained, and the weights are those of the file, which may have
fewer bits than were published.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from souron.blocks import int8
from souron.blocks.decoder import Decoder
from souron.hub import open_models
from souron.hub.open_models import Described
from souron.tasks.complete import LanguageModel, Spec, lesson_of
from souron.training.loop import Data, Progress, Run
from souron.utils import hardware
from souron.utils.messages import N_, UserError

ENGINES = ("souron", "llama")


@dataclass(frozen=True)
class Config:
    model: str = "smollm2"  # or a .gguf file, or a folder
    context: int = 2048  # tokens
    bits: int = 8  # of the matrices during generation, at most; 16: as prompts are read
    engine: str = "souron"  # or "llama": llama.cpp, for a .gguf file


class OpenModel(LanguageModel):
    blocked = N_("its file is the published one, which other programs read as it is")
    year = 2025
    ja = "公開された言語モデルを、このコンピューターにあるファイルからそのまま使う"
    needs_fit = False
    full_batch = True
    SIZES = {"tiny": Config("gpt", context=64), "small": Config(), "large": Config(context=8192)}
    WEIGHTS = {}

    def __init__(self, config: Config, spec: Spec | None) -> None:
        open_models.check_context(config.context)
        if config.engine not in ENGINES:
            raise UserError("option", f"engine={config.engine}", expected=", ".join(ENGINES))
        super().__init__(config, spec)

    @cached_property
    def held(self) -> tuple[Described, Any, Any]:
        """The description, tokenizer and model, which reads prompts; not saved with a run."""
        load = open_models.load_llama if self.config.engine == "llama" else open_models.load_any
        about, tokenizer, model = load(self.config.model)
        return about, tokenizer, int8.reading(model) if isinstance(model, Decoder) else model

    @cached_property
    def quick(self) -> Decoder:
        """The model for generating single tokens, quantised to 8 bits where configured."""
        decoder = self.held[2]
        own = isinstance(decoder, Decoder) and self.config.bits == 8
        return int8.generating(decoder) if own else decoder

    @classmethod
    def spec_for(cls, train: Any) -> Spec:
        return Spec("", 0, lesson_of(train))

    @property
    def tokenizer(self) -> Any:
        return self.held[1]

    @property
    def software(self) -> str:
        """The engine with its version, "" where it is PyTorch."""
        about, _tokenizer, model = self.held
        if not isinstance(model, open_models.LlamaDecoder):
            return ""
        return f"xllamacpp {hardware.installed('xllamacpp')}, cpu, {about.quantised}"

    @property
    def template(self) -> str:
        return self.held[0].template

    @cached_property
    def own_sampling(self) -> tuple[float | None, float | None]:
        return open_models.own_sampling(self.config.model)

    @property
    def context(self) -> int:
        structure = self.held[2].structure
        return min(self.config.context, structure.context)

    def __deepcopy__(self, memo: dict[int, Any]) -> "OpenModel":
        return self  # immutable

    def example(self) -> None:
        decoder = open_models.shape_of(self.config.model)
        if decoder is not None:
            decoder(torch.zeros(1, self.config.context, dtype=torch.long, device="meta"))

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Compute the loss of a few cases without training."""
        yield Progress(0, {"model": self.loss(next(data.once(2)))})  # type: ignore[attr-defined]

    def forward(self, tokens: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.held[2](tokens)

    def kv_cache(self, rows: int = 1) -> Any:
        return self.held[2].kv_cache(rows, self.context)

    def read_many(self, tokens: Tensor, cache: Any) -> Tensor:
        decoder = self.quick if tokens.numel() == 1 else self.held[2]
        return decoder(tokens, cache, last=True)[:, -1]
