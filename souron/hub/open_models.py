"""Load published language models from a file or a folder: description and weights.

Accepted are ``smollm2`` by its name, a ``.gguf`` file, a folder with ``config.json``,
``tokenizer.json`` and ``.safetensors``, or the folder of a run of ``gpt``, which is also available
ready trained by that name. Metadata is read without the weights. Weights of the architectures in
``blocks.decoder`` are cached as bf16, so that the second start takes a second. No code of a model
is run: no pickle, no scripts beside the weights.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from souron import registry
from souron.blocks.decoder import Decoder, Structure, named
from souron.data.language.tokenizer import Tokenizer
from souron.hub import fetch, names, packages, zoo
from souron.hub.decoders.llama_decoder import LlamaDecoder
from souron.hub.formats import gguf_head, gguf_tokenizer
from souron.metrics.complete import PREFERRED
from souron.utils import files, hardware
from souron.utils.files import cache_folder
from souron.utils.messages import UserError, _

PRE_TOKENIZERS = {  # name in llama.cpp -> whether digits are split, regular expression of words
    "smollm": (True, ""),
    "gpt-2": (False, ""),
    "llama-bpe": (
        False,
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    "qwen2": (
        False,
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
}
LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")  # at most the number of tensors
SIZES = (  # at most the number of parameters
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "n_embd",
    "n_inner",
    "head_dim",
    "num_attention_heads",
    "num_key_value_heads",
    "n_head",
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
)
NATIVE = ("llama", "mistral", "qwen2", "gpt2")
MOST_CONTEXT = 8192  # tokens in the cache


@dataclass(frozen=True)
class Described:
    """Metadata in a model's files; "" or 0 where missing."""

    name: str
    path: Path
    architecture: str
    context: int  # tokens
    parameters: int
    bytes: int  # of the files
    licence: str
    languages: tuple[str, ...]
    template: str  # chat template
    quantised: str  # "Q4_1", "bf16"
    structure: Structure | None  # None where souron has no such architecture
    ends: tuple[int, ...] = ()  # further end tokens
    temperature: float | None = None  # recommended by its publishers
    top: float | None = None


def find(name: str) -> Path:
    """Return the file or folder of a model by its name or path. Raises UserError."""
    if name in packages.MODELS:
        where = fetch.where(name)
        if where is None:
            raise UserError(
                "fetch",
                _("the model {name} is not on this computer").format(name=name),
                expected=packages.MODELS[name].file,
                fix=f"souron fetch {name}",
                exit=4,
            )
        return where
    path = Path(name).expanduser()
    try:
        meaning = names.resolve(name)
    except UserError as error:
        raise _no_model(path, _("no such file or folder")) from error
    if isinstance(meaning, names.Run) and names.is_run(meaning.folder):
        return meaning.folder
    if isinstance(meaning, names.OpenModel) and path.exists():
        files = sorted(path.glob("*.gguf")) if not (path / "config.json").is_file() else []
        return files[0] if files else path
    raise _no_model(path, _("no model there") if path.exists() else _("no such file or folder"))


def conversing() -> str:
    """Return the name of the best language model here to talk with; "" where there is none.

    It is a published one that was tuned to answer, else the ready-trained one that most often finds
    the better of two answers likelier.
    """
    for name in packages.MODELS:
        with suppress(UserError):  # a damaged file
            if fetch.where(name) and glance(find(name)).template:
                return name
    folders = ((name, zoo.where(name)) for name in (*registry.entries(), *zoo.variants()))
    ready = {name: zoo.receipt(folder).get("measures", {}) for name, folder in folders if folder}
    aligned = {name: found[PREFERRED]["value"] for name, found in ready.items() if PREFERRED in found}
    return max(aligned, key=aligned.__getitem__, default="")


def _no_model(path: Path, why: str) -> UserError:
    return UserError(
        "model",
        _("{path} is no language model: {why}").format(path=path, why=why[:300]),
        expected=_("a .gguf file, or a folder with config.json, tokenizer.json and .safetensors"),
        fix="souron models",
        exit=3,
    )


def describe(path: Path) -> Described:
    """Read a model's metadata without its weights. Raises UserError."""
    try:
        if path.is_file():
            return _described_gguf(path)
        if (path / "args.yaml").is_file():
            return _described_run(path)
        return _described_folder(path)
    except UserError:
        raise
    except Exception as error:  # a damaged file can raise anything in its reader
        raise _no_model(path, f"{type(error).__name__}: {error}") from error


def glance(path: Path) -> Described:
    """Return ``describe`` from the cache, since reading a vocabulary takes seconds.

    Raises UserError.
    """
    kept = _kept(path) / "about.json"
    if kept.exists():
        return _told(json.loads(kept.read_text(encoding="utf-8")), path)
    about = describe(path)
    files.write_json(kept, _as_json(about))
    return about


def _gguf(path: Path) -> Any:
    return _gguf_as_it_is(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)  # reading the vocabulary takes seconds
def _gguf_as_it_is(path: Path, changed: int) -> Any:
    import gguf

    with path.open("rb") as file:
        start = file.read(8)
    if start[:4] != b"GGUF":
        raise _no_model(path, _("it does not begin as a GGUF file does"))
    if int.from_bytes(start[4:], "little") > 0xFFFF:
        raise _no_model(path, _("its numbers are written back to front (big-endian)"))
    gguf_head.check(path)
    return gguf.GGUFReader(str(path))


def _described_gguf(path: Path) -> Described:
    import gguf

    reader = _gguf(path)

    def value(key: str, default: Any) -> Any:
        field = reader.fields.get(key)
        return default if field is None else field.contents()

    architecture = str(value("general.architecture", ""))

    def number(key: str, default: float = 0) -> Any:
        return value(f"{architecture}.{key}", default)

    vocabulary = len(reader.fields["tokenizer.ggml.tokens"].data)
    names = {tensor.name for tensor in reader.tensors}
    config = {
        "model_type": architecture,
        "vocab_size": vocabulary,
        "num_hidden_layers": number("block_count"),
        "hidden_size": number("embedding_length"),
        "intermediate_size": number("feed_forward_length"),
        "num_attention_heads": number("attention.head_count"),
        "num_key_value_heads": number("attention.head_count_kv"),
        "max_position_embeddings": number("context_length"),
        "rope_theta": number("rope.freq_base", 10_000.0),
        "rms_norm_eps": number("attention.layer_norm_rms_epsilon", 1e-5),
        "rope_scaling": value(f"{architecture}.rope.scaling.type", None),
        "tie_word_embeddings": "output.weight" not in names,
        "slowing": _slowing(reader),
        "attention_bias": "blk.0.attn_q.bias" in names,
        "bias_out": "blk.0.attn_output.bias" in names,
    }
    if architecture == "gpt2":  # not supported: its weights have other names in GGUF
        config["model_type"] = "gpt2 in GGUF"
    parameters = sum(int(tensor.n_elements) for tensor in reader.tensors)
    _compare(config, len(names), parameters)
    sort = value("general.file_type", None)
    return Described(
        name=str(value("general.name", path.stem)),
        path=path,
        architecture=architecture,
        context=int(number("context_length")),
        parameters=parameters,
        bytes=path.stat().st_size,
        licence=str(value("general.license", "")),
        languages=tuple(map(str, value("general.languages", ()) or ())),
        template=str(value("tokenizer.chat_template", "")),
        quantised="" if sort is None else re.sub("^(MOSTLY|ALL)_", "", gguf.LlamaFileType(sort).name),
        structure=structure_of(config),
        temperature=_within(value("general.sampling.temp", None), 0, 2),
        top=_within(value("general.sampling.top_p", None), 0.01, 1),
    )


def _within(value: Any, low: float, high: float) -> float | None:
    fits = isinstance(value, int | float) and low <= value <= high
    return float(value) if fits else None


def _slowing(reader: Any) -> tuple[float, ...]:
    """Read the RoPE scaling of Llama 3.1 to 3.3 as llama.cpp stores it.

    It is a divisor of each rotation frequency, in a tensor that no metadata field mentions.
    """
    found = [tensor for tensor in reader.tensors if tensor.name == "rope_freqs.weight"]
    return tuple(map(float, found[0].data)) if found else ()


def _described_folder(path: Path) -> Described:
    config = _json(path / "config.json")
    held = sorted(path.glob("*.safetensors"))
    if not held:
        raise _no_model(path, _("no .safetensors file (weights as pickle are not read)"))
    about = _json(path / "tokenizer_config.json", {})
    template = about.get("chat_template") or ""
    beside = path / "chat_template.jinja"
    if beside.is_file() and beside.stat().st_size < 1_000_000:
        template = beside.read_text(encoding="utf-8")
    if isinstance(template, list):  # several named templates
        template = next((t["template"] for t in template if t.get("name") == "default"), "")
    size = sum(file.stat().st_size for file in held)
    tensors = [count for file in held for count in _tensors(file)]
    _compare(config, len(tensors), sum(tensors))
    kind = str(config.get("dtype") or config.get("torch_dtype") or "")
    how = _json(path / "generation_config.json", {})
    ends = how.get("eos_token_id", config.get("eos_token_id"))
    ends = ends if isinstance(ends, list) else [ends]
    return Described(
        name=path.resolve().name,
        path=path,
        architecture=str(config.get("model_type", "")),
        context=int(config.get("max_position_embeddings") or config.get("n_positions") or 0),
        parameters=sum(tensors),
        bytes=size,
        licence=_front_matter(path / "README.md").get("license", ""),
        languages=(),
        template=str(template),
        quantised={"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}.get(kind, kind),
        structure=structure_of(config),
        ends=tuple(end for end in ends if isinstance(end, int)),
        temperature=_within(how.get("temperature"), 0, 2),
        top=_within(how.get("top_p"), 0.01, 1),
    )


def _run(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return config and ``Spec`` of a run of ``gpt``."""
    args = files.parse_yaml((path / "args.yaml").read_text(encoding="utf-8"))
    if not str(args["system"]).startswith("gpt"):
        raise _no_model(path, _("it is a run of {system}").format(system=args["system"]))
    return args["config"], args["seen"]


def _described_run(path: Path) -> Described:
    config, seen = _run(path)
    structure = named(
        config["structure"], seen["vocabulary"], config["context"], config["layers"], config["width"], config["heads"]
    )
    file = path / "weights" / "best.safetensors"
    talks = seen.get("lesson") != "text"
    template = Tokenizer.unpacked(seen["tokenizer"]).template if talks else ""
    return Described(
        path.resolve().name,
        path,
        "gpt",
        structure.context,
        sum(_tensors(file)),
        file.stat().st_size,
        "",
        (),
        template,
        "",
        structure,
    )


def _json(path: Path, otherwise: dict[str, Any] | None = None) -> dict[str, Any]:
    if otherwise is not None and not path.is_file():
        return otherwise
    if path.stat().st_size > 10_000_000:
        raise _no_model(path, _("larger than {size} MB").format(size=10))
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise _no_model(path, _("it is no JSON object"))
    return found


def _tensors(file: Path) -> list[int]:
    """Return the number of elements of each tensor of a .safetensors file, from its header."""
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:  # checks the header against the file size
        return [math.prod(opened.get_slice(name).get_shape()) for name in opened.keys()]  # noqa: SIM118


def _compare(config: Any, tensors: int, parameters: int) -> None:
    """Raise ValueError where a config claims more than its weights can hold.

    It is checked before anything is built from the config.
    """
    for name, value in config.items():
        if isinstance(value, dict):  # such as "text_config"
            _compare(value, tensors, parameters)
        most = tensors if name in LAYERS else parameters if name in SIZES else None
        if most is not None and isinstance(value, int) and value > most:
            raise ValueError(
                _("{name} is {value}, its weights hold {count}").format(name=name, value=value, count=most)
            )


def _front_matter(path: Path) -> dict[str, str]:
    """Read the YAML front matter of a README."""
    import yaml

    if not path.is_file() or path.stat().st_size > 1_000_000:
        return {}
    parts = path.read_text(encoding="utf-8", errors="replace").split("---", 2)
    try:
        found = files.parse_yaml(parts[1]) if len(parts) == 3 and not parts[0].strip() else {}
    except yaml.YAMLError:
        return {}
    return {k: str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def structure_of(config: dict[str, Any]) -> Structure | None:
    """Return the decoder architecture in a ``config.json``; None where souron does not support it.

    Raises ValueError where its sizes are inconsistent.
    """
    kind = config.get("model_type")
    if kind == "gpt2":
        return _consistent(
            Structure(
                int(config["vocab_size"]),
                int(config["n_positions"]),
                int(config["n_layer"]),
                int(config["n_embd"]),
                int(config["n_head"]),
                norm="layer",
                mlp="gelu",
                rotary=0.0,
                bias=True,
                epsilon=float(config.get("layer_norm_epsilon", 1e-5)),
            )
        )
    heads = config.get("num_attention_heads")
    scaled = config.get("rope_scaling") or config.get("rope_parameters") or {}
    scaled = scaled if isinstance(scaled, dict) else {"rope_type": scaled}
    plain = scaled.get("rope_type", scaled.get("type", "default")) in ("default", "none", None)
    own_width = config.get("head_dim") or 0
    if (
        kind not in NATIVE
        or not plain
        or not heads
        or (config.get("sliding_window") and config.get("use_sliding_window", kind == "mistral"))
        or (own_width and own_width * heads != config["hidden_size"])
        or config.get("hidden_act", "silu") != "silu"
        or config.get("mlp_bias")
    ):
        return None
    biased = kind == "llama" and bool(config.get("attention_bias"))
    structure = Structure(
        int(config["vocab_size"]),
        min(MOST_CONTEXT, int(config["max_position_embeddings"])),
        int(config["num_hidden_layers"]),
        int(config["hidden_size"]),
        int(heads),
        groups=int(config.get("num_key_value_heads") or heads),
        hidden=int(config["intermediate_size"]),
        rotary=float(config.get("rope_theta") or scaled.get("rope_theta") or 10_000.0),
        bias_queries=kind == "qwen2" or biased,
        bias_out=bool(config.get("bias_out", biased)),
        tied=bool(config.get("tie_word_embeddings", kind == "gemma")),
        epsilon=float(config.get("rms_norm_eps", 1e-6)),
        slowing=config.get("slowing", ()),
    )
    return _consistent(structure)


def _consistent(structure: Structure) -> Structure:
    s = structure
    sizes = (s.vocabulary, s.context, s.width, s.heads, s.shared, s.hidden + 1, s.layers + 1)
    whole = min(sizes) > 0 and s.width % s.heads == 0 and s.heads % s.shared == 0
    turns = not s.rotary or (s.head_width % 2 == 0 and 0 < s.rotary < math.inf)
    turns &= not s.slowing or (len(s.slowing) * 2 == s.head_width and min(s.slowing) > 0)
    if not whole or not turns:
        raise ValueError(
            _("its sizes do not fit together: {sizes}").format(
                sizes=f"width {s.width}, {s.heads} heads, {s.shared} groups, {s.layers} layers"
            )
        )
    return structure


def check_context(context: int) -> None:
    """Raise UserError where the context exceeds what souron supports for published models."""
    if context > MOST_CONTEXT:
        raise UserError(
            "context",
            f"context={context}",
            expected=_("at most {most} tokens: souron keeps no more of a published model's").format(most=MOST_CONTEXT),
            fix=f"context={MOST_CONTEXT}",
        )


def refuse_too_large(about: Described, needed: int = 0) -> None:
    """Raise UserError where the weights exceed the free memory, with the size that would fit.

    ``needed`` are the bytes of the weights, by default in bf16.
    """
    needed, (_total, free) = needed or 2 * about.parameters, hardware.memory()
    if needed * 1.2 < free:
        return
    raise UserError(
        "memory",
        _("{name} needs {needed:.1f} GB of memory, {free:.1f} GB are free").format(
            name=about.name, needed=needed * 1.2 / 1e9, free=free / 1e9
        ),
        expected=_("a model of at most {count:.1f} billion parameters").format(count=free / 1.2 / 2 / 1e9),
        fix="souron models",
        exit=4,
    )


def no_decoder(about: Described) -> UserError:
    return UserError(
        "model",
        _("{path}: souron has no decoder {kind}").format(path=about.path, kind=about.architecture),
        expected=_("a model of the structure {known}, or its .gguf file, which llama.cpp runs").format(
            known=", ".join(NATIVE)
        ),
        fix="souron models",
        exit=3,
    )


def load_any(name: str) -> tuple[Described, Tokenizer, Any]:
    """Load a model as ``load`` does, a .gguf file of another architecture with llama.cpp."""
    path = find(name)
    other = path.suffix == ".gguf" and glance(path).structure is None
    return load_llama(name) if other else load(name)


def load_llama(name: str) -> tuple[Described, Tokenizer, LlamaDecoder]:
    """Load a .gguf file with llama.cpp, in the bits of the file. Raises UserError."""
    path = find(name)
    if path.suffix != ".gguf":
        raise UserError(
            "engine",
            _("engine=llama does not read {path}").format(path=path),
            expected=_("a .gguf file"),
            fix="engine=souron",
            exit=3,
        )
    about = glance(path)
    refuse_too_large(about, about.bytes)
    kept = _kept(path) / "tokenizer.txt"
    if kept.exists():
        tokenizer = Tokenizer.unpacked(kept.read_text(encoding="ascii"))
    else:
        tokenizer = tokenizer_of(path, about)
        files.write_text(kept, tokenizer.packed())
    try:
        return about, tokenizer, LlamaDecoder(path, min(about.context, MOST_CONTEXT))
    except ValueError as error:
        raise _no_model(path, str(error)) from error


def load(name: str) -> tuple[Described, Tokenizer, Decoder]:
    """Load a model in bf16, ready to answer.

    Raises UserError where it cannot be read, exceeds the memory, or has another architecture.
    """
    path = find(name)
    kept = _kept(path)
    if (kept / "done").exists():
        about = _told(json.loads((kept / "about.json").read_text(encoding="utf-8")), path)
        tokenizer = Tokenizer.unpacked((kept / "tokenizer.txt").read_text(encoding="ascii"))
        weights = files.read_tensors(kept / "model.safetensors")[0]
        return about, tokenizer, filled(about.structure, weights)
    about = describe(path)
    if about.structure is None:
        raise no_decoder(about)
    refuse_too_large(about)
    tokenizer = tokenizer_of(path, about)
    try:
        weights = dict(_weights(path, about.structure))
    except UserError:
        raise
    except Exception as error:  # a damaged file can raise anything in its reader
        raise _no_model(path, f"{type(error).__name__}: {error}") from error
    decoder = filled(about.structure, weights, path)
    kept.mkdir(parents=True, exist_ok=True)
    files.write_text(kept / "tokenizer.txt", tokenizer.packed())
    files.write_json(kept / "about.json", _as_json(about))
    files.write_tensors(kept / "model.safetensors", weights, {})
    files.write_text(kept / "done", "")
    return about, tokenizer, decoder


def _kept(path: Path) -> Path:
    """Return the cache folder of a model in its current state."""
    held = [path] if path.is_file() else sorted(path.glob("*"))
    hasher = hashlib.blake2b(digest_size=16)
    for file in held:
        state = file.stat()
        hasher.update(f"2 {file.resolve()} {state.st_size} {state.st_mtime_ns}\n".encode())
    return cache_folder() / "models" / hasher.hexdigest()


def _as_json(about: Described) -> dict[str, Any]:
    return {**asdict(about), "path": str(about.path)}


def _told(values: dict[str, Any], path: Path) -> Described:
    held = values.pop("structure")
    structure = None if held is None else Structure(**{**held, "slowing": tuple(held["slowing"])})
    lists = {name: tuple(values[name]) for name in ("languages", "ends")}
    return Described(**{**values, **lists, "path": path}, structure=structure)


def filled(structure: Structure | None, weights: dict[str, Tensor], path: Path | None = None) -> Decoder:
    """Build a decoder with these weights. Raises UserError where they do not fit."""
    assert structure is not None
    with torch.device("meta"):
        decoder = Decoder(structure)
    wanted = {name: tuple(weight.shape) for name, weight in decoder.state_dict().items()}
    given = {name: tuple(weight.shape) for name, weight in weights.items()}
    if wanted != given:
        differ = sorted(dict(wanted.items() ^ given.items()))
        raise _no_model(
            path or Path(), _("{count} weights do not fit, as {first}").format(count=len(differ), first=differ[0])
        )
    decoder.load_state_dict(weights, assign=True)
    return decoder.eval().requires_grad_(False)


def tokenizer_of(path: Path, about: Described) -> Tokenizer:
    """Load the tokenizer of a model. Raises UserError."""
    if (path / "args.yaml").is_file():
        return Tokenizer.unpacked(_run(path)[1]["tokenizer"])
    if path.is_dir():
        config = _json(path / "tokenizer_config.json", {})
        ends = [_text(config.get(name)) for name in ("eos_token", "pad_token")]
        ends = list(dict.fromkeys([*filter(None, ends), "<|im_end|>", "<|endoftext|>"]))
        start = _text(config.get("bos_token"))
        made = Tokenizer.of_file(path / "tokenizer.json", about.template, ends, start)
        made.end = tuple(dict.fromkeys((*made.end, *(i for i in about.ends if 0 <= i < len(made)))))
        return made
    return _tokenizer_of_gguf(path, about)


def _tokenizer_of_gguf(path: Path, about: Described) -> Tokenizer:
    fields = _gguf(path).fields

    def value(key: str, default: Any = None) -> Any:
        field = fields.get(f"tokenizer.ggml.{key}")
        return default if field is None else field.contents()

    kind, pre = value("model"), value("pre", "gpt-2")
    if kind != "llama" and (kind != "gpt2" or pre not in PRE_TOKENIZERS):
        raise _no_model(path, _("its tokenizer {kind} is not known").format(kind=f"{kind} {pre}"))
    try:
        words, sorts = value("tokens"), value("token_type")
        special = [word for word, sort in zip(words, sorts, strict=True) if sort == 3]
        if kind == "llama":
            scores, first = value("scores"), value("add_space_prefix", True)
            whole = [word for word, sort in zip(words, sorts, strict=True) if sort == 4]
            backend = gguf_tokenizer.sentence_pieces(words, scores, special, whole, bool(first))
        else:
            merges = [tuple(merge.split(" ")) for merge in value("merges")]
            backend = gguf_tokenizer.byte_pairs(words, merges, special, *PRE_TOKENIZERS[pre])
        ids = {name: value(f"{name}_token_id") for name in ("eos", "eot", "bos")}
        named = {name: "" if number is None else str(words[number]) for name, number in ids.items()}
    except Exception as error:  # the library raises ``Exception`` itself
        raise _no_model(path, _("its tokenizer is damaged: {why}").format(why=str(error)[:200])) from error
    ends = list(dict.fromkeys(filter(None, [named["eos"], named["eot"], "<|endoftext|>"])))
    return Tokenizer(backend, about.template, ends, named["bos"])


def _text(token: Any) -> str:
    return token.get("content", "") if isinstance(token, dict) else str(token or "")


def _weights(path: Path, structure: Structure) -> Iterator[tuple[str, Tensor]]:
    """Yield name in ``Decoder`` and bf16 tensor."""
    if (path / "args.yaml").is_file():
        tensors, about = files.read_tensors(path / "weights" / "best.safetensors")
        for name, weight in (zoo.completed(tensors, about) if zoo.holds(path) else tensors).items():
            yield name.removeprefix("decoder."), weight.bfloat16()
        return
    raw = _Gguf(path, structure) if path.is_file() else _Folder(path)
    names = raw.names
    yield "embedding.weight", raw(names["embedding"])
    if "places" in names:
        yield "places.weight", raw(names["places"])
    for layer in range(structure.layers):
        block = f"blocks.{layer}"
        for part in ("weight", "bias"):
            for own, parts in (
                ("norm1", "norm1"),
                ("norm2", "norm2"),
                ("attention.qkv", "q k v"),
                ("attention.out", "out"),
                ("mlp.up", "gate up"),
                ("mlp.down", "down"),
            ):
                found = [
                    raw(f"{names[name].format(layer)}.{part}")
                    for name in parts.split()
                    if name in names and raw.has(f"{names[name].format(layer)}.{part}")
                ]
                if found:
                    yield f"{block}.{own}.{part}", torch.cat(found)
    for part in ("weight", "bias"):
        if raw.has(f"{names['norm']}.{part}"):
            yield f"norm.{part}", raw(f"{names['norm']}.{part}")
    if not structure.tied:
        yield "head.weight", raw(names["head"])


class _Gguf:
    names = {
        "embedding": "token_embd.weight",
        "head": "output.weight",
        "norm": "output_norm",
        "norm1": "blk.{}.attn_norm",
        "norm2": "blk.{}.ffn_norm",
        "q": "blk.{}.attn_q",
        "k": "blk.{}.attn_k",
        "v": "blk.{}.attn_v",
        "out": "blk.{}.attn_output",
        "gate": "blk.{}.ffn_gate",
        "up": "blk.{}.ffn_up",
        "down": "blk.{}.ffn_down",
    }

    def __init__(self, path: Path, structure: Structure) -> None:
        self.structure, self.reader = structure, _gguf(path)
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        self.turned = self.reader.fields["general.architecture"].contents() in ("llama", "mistral")

    def has(self, name: str) -> bool:
        return name in self.tensors

    def __call__(self, name: str) -> Tensor:
        from gguf.quants import dequantize

        tensor = self.tensors[name]
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        heads = {"attn_q": self.structure.heads, "attn_k": self.structure.shared}
        turned = next((heads[part] for part in heads if part in name), 0)
        if self.turned and turned:  # llama.cpp interleaves the two halves of a head
            shape = values.shape
            values = values.view(turned, shape[0] // turned // 2, 2, -1).transpose(1, 2)
            values = values.reshape(shape)
        return values.bfloat16()


class _Folder:
    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        self.files = [safe_open(file, "pt") for file in sorted(path.glob("*.safetensors"))]
        self.place = {name: file for file in self.files for name in file.keys()}  # noqa: SIM118
        gpt2 = any(name.endswith("attn.c_attn.weight") for name in self.place)
        self.turned = gpt2  # its matrices are transposed
        first = "wte.weight" if gpt2 else "embed_tokens.weight"
        self.prefix = next((p for p in ("transformer.", "model.") if self.has(p + first)), "")
        names = {
            "embedding": "wte.weight", "places": "wpe.weight", "norm": "ln_f",
            "norm1": "h.{}.ln_1", "norm2": "h.{}.ln_2", "q": "h.{}.attn.c_attn",
            "out": "h.{}.attn.c_proj", "up": "h.{}.mlp.c_fc", "down": "h.{}.mlp.c_proj",
        } if gpt2 else {
            "embedding": "embed_tokens.weight", "norm": "norm",
            "norm1": "layers.{}.input_layernorm", "norm2": "layers.{}.post_attention_layernorm",
            "q": "layers.{}.self_attn.q_proj", "k": "layers.{}.self_attn.k_proj",
            "v": "layers.{}.self_attn.v_proj", "out": "layers.{}.self_attn.o_proj",
            "gate": "layers.{}.mlp.gate_proj", "up": "layers.{}.mlp.up_proj",
            "down": "layers.{}.mlp.down_proj",
        }  # fmt: skip
        self.names = {part: self.prefix + name for part, name in names.items()}
        self.names["head"] = "lm_head.weight"

    def has(self, name: str) -> bool:
        return name in self.place

    def __call__(self, name: str) -> Tensor:
        values = self.place[name].get_tensor(name).bfloat16()
        if self.turned and values.ndim == 2 and ".h." in f".{name}":
            return values.T.contiguous()
        return values


KNOWN = {"smollm2": named("smollm2", 49_152, 8192, 30, 576, 9)}  # known without the file


CARDS = {  # temperature and top_p from the model page, where the file has none
    "smollm2": (0.2, 0.9)  # https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct
}


def own_sampling(name: str) -> tuple[float | None, float | None]:
    """Return the temperature and top-p recommended by a model's publishers.

    None where not given, or where there is no such model.
    """
    if name in CARDS:
        return CARDS[name]
    try:
        known = isinstance(names.resolve(name), names.OpenModel)
        about = glance(find(name)) if known else None
    except UserError:
        about = None
    return (about.temperature, about.top) if about else (None, None)


def structure_by(name: str) -> Structure | None:
    """Return the architecture of a model, built in for known ones. Raises UserError."""
    return KNOWN[name] if name in KNOWN else describe(find(name)).structure


def shape_of(name: str) -> Decoder | None:
    """Return the decoder of a model on the meta device; None where it is not on this computer."""
    try:
        structure = structure_by(name)
    except UserError:
        return None
    with torch.device("meta"):
        return None if structure is None else Decoder(structure).eval()
