"""Load OpenAI's published Whisper weights: from faster-whisper's files, or as transformers' folder.

A folder holds ``model.safetensors`` (or ``pytorch_model.bin``) with ``config.json`` and
``tokenizer.json`` as ``openai/whisper-*`` are published, or a CTranslate2 ``model.bin`` with its
``config.json`` and ``tokenizer.json``, as ``souron fetch whisper_base`` brings it. The size follows
from the shapes of the weights.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from souron import registry
from souron.blocks.speech_tokens import LANGUAGES, Layout
from souron.data.language.tokenizer import Tokenizer
from souron.hub import weights
from souron.hub.formats import ctranslate2
from souron.training import checkpoint
from souron.utils.messages import UserError, _

CTRANSLATE = "model.bin"
FILES = ("model.safetensors", "pytorch_model.bin", CTRANSLATE)
HEAD = 64  # width of a head, in every size
TEXT = 50_257  # tokens of text of the multilingual networks
END = "<|endoftext|>"
MOST_CONFIG = 10_000_000  # bytes
UNUSED = ("model.encoder.embed_positions.weight", "proj_out.weight")  # sinusoids; the embedding
# a layer's parts in CTranslate2 -> in transformers; several were joined one below the other
JOINED = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "ffn/layer_norm": ("final_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
}
WHOLE = {
    "decoder/embeddings/weight": "decoder.embed_tokens.weight",
    "decoder/position_encodings/encodings": "decoder.embed_positions.weight",
    "decoder/layer_norm/gamma": "decoder.layer_norm.weight",
    "decoder/layer_norm/beta": "decoder.layer_norm.bias",
    "encoder/layer_norm/gamma": "encoder.layer_norm.weight",
    "encoder/layer_norm/beta": "encoder.layer_norm.bias",
    "encoder/conv1/weight": "encoder.conv1.weight",
    "encoder/conv1/bias": "encoder.conv1.bias",
    "encoder/conv2/weight": "encoder.conv2.weight",
    "encoder/conv2/bias": "encoder.conv2.bias",
}
PART = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def system(name: str, source: bool | str = True) -> Any:
    """Build Whisper with published weights, or those of a file or folder. Raises UserError."""
    if source is True:
        _kind, config = registry.load_system(name)
        size = registry.find(name)[1]
        path = weights.find_or_tell(name, registry.load_system(name)[0].published(size, config))
    else:
        path = Path(str(source)).expanduser()
    file = _file(path)
    named = read(file)
    about = _about(file.parent)
    config = _config(named, about, file)
    system_class, known = registry.load_system("whisper_base")
    spec = _spec(named, about, file)
    made = system_class(replace(known, **config), spec)
    checkpoint.fill(made, named, file)
    return made.eval()


def _file(path: Path) -> Path:
    held = [path / name for name in FILES if (path / name).is_file()] if path.is_dir() else [path]
    if not held or not held[0].is_file():
        raise UserError(
            "weights file",
            _("no weights at {path}").format(path=path),
            expected=_("a file or a folder with one of {files}").format(files=", ".join(FILES)),
            fix="souron fetch whisper_base",
            exit=3,
        )
    return held[0]


def read(file: Path) -> dict[str, Tensor]:
    """Return the weights in float32 by the names of transformers. Raises UserError."""
    if file.name == CTRANSLATE:
        structure, held = ctranslate2.read(file)
        if structure != "WhisperSpec":
            raise weights.unreadable(file, _("it is a {name}").format(name=structure))
        named = dict(_renamed(held))
    else:
        named = {name: tensor.float() for name, tensor in weights.read_weights(file).items()}
        prefix = "" if any(name.startswith("model.") for name in named) else "model."
        named = {prefix + name: tensor for name, tensor in named.items()}
    return {name: tensor for name, tensor in named.items() if name not in UNUSED}


def _renamed(held: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of CTranslate2 under the names of transformers."""
    for name, tensor in held.items():
        if name in WHOLE:
            yield f"model.{WHOLE[name]}", tensor
            continue
        place = re.fullmatch(r"(encoder|decoder)/layer_(\d{1,3})/(.+)/(\w+)", name)
        if place is None or place[3] not in JOINED or place[4] not in PART:
            continue  # settings, and the encoder's sinusoids
        parts = JOINED[place[3]]
        for part, values in zip(parts, tensor.chunk(len(parts)), strict=False):
            if part.endswith("k_proj") and place[4] == "bias":
                continue  # zeros: transformers has none
            yield f"model.{place[1]}.layers.{place[2]}.{part}.{PART[place[4]]}", values.clone()


def _config(named: dict[str, Tensor], about: dict[str, Any], file: Path) -> dict[str, int]:
    """Return the sizes of a network from the shapes of its weights. Raises UserError."""
    try:
        width, mels = named["model.encoder.conv1.weight"].shape[:2]
        context = len(named["model.decoder.embed_positions.weight"])
    except (KeyError, ValueError) as error:
        raise UserError(
            "other system",
            _("{path} holds no weights of Whisper").format(path=file),
            expected="openai/whisper-base, faster-whisper-base",
            fix="souron fetch whisper_base",
            exit=3,
        ) from error
    heads = about.get("encoder_attention_heads")
    heads = heads if isinstance(heads, int) and 0 < heads <= width else max(1, width // HEAD)
    depth = {
        side: 1
        + max((int(name.split(".")[3]) for name in named if name.startswith(f"model.{side}.layers.")), default=-1)
        for side in ("encoder", "decoder")
    }
    return {"width": width, "mels": mels, "context": context, "heads": heads, **depth}


def _about(folder: Path) -> dict[str, Any]:
    """Return ``config.json`` and ``generation_config.json`` of a folder; {} without."""
    found: dict[str, Any] = {}
    for name in ("config.json", "generation_config.json"):
        file = folder / name
        if not file.is_file():
            continue
        try:
            if file.stat().st_size > MOST_CONFIG:
                raise ValueError(_("larger than {size} MB").format(size=MOST_CONFIG // 10**6))
            held = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise weights.unreadable(file, str(error)[:200]) from error
        found |= held if isinstance(held, dict) else {}
    return found


def _spec(named: dict[str, Tensor], about: dict[str, Any], file: Path) -> Any:
    """Return the vocabulary that the weights and the files beside them tell. Raises UserError."""
    vocabulary = len(named.get("model.decoder.embed_tokens.weight", torch.empty(0)))
    known = next((names for names in (LANGUAGES[:99], LANGUAGES) if Layout(TEXT, names).size == vocabulary), None)
    if known is None:
        raise UserError(
            "other system",
            _("{path} has {count} tokens: it is not a multilingual Whisper").format(path=file, count=vocabulary),
            expected=f"{Layout(TEXT).size}, {Layout(TEXT, LANGUAGES).size}",
            fix="souron fetch whisper_base",
            exit=3,
        )
    beside = file.parent / "tokenizer.json"
    if not beside.is_file():
        raise UserError(
            "tokenizer",
            _("the weights in {folder} have no tokenizer beside them").format(folder=file.parent),
            expected="tokenizer.json",
            fix="souron fetch whisper_base",
            exit=3,
        )
    tokenizer = Tokenizer.of_file(beside, end=[END], start=END)
    told = about.get("suppress_ids") or about.get("suppress_tokens") or ()
    silent = tuple(i for i in told if isinstance(i, int) and 0 <= i < TEXT)
    spec: Any = registry.load_task("transcribe").Spec(
        tokenizer.packed(), TEXT, languages=known, timed=True, silent=silent
    )
    return spec
