"""Load published CLIP weights from a file or a folder, with their tokenizer.

Files of open_clip and of the transformers library are read, with the weight names of either.
OpenAI's own ``.pt`` files are programs (TorchScript) and are never run; open_clip publishes the
same weights. The tokenizer lies beside the weights: as ``tokenizer.json``, as ``vocab.json`` with
``merges.txt`` (as in Stable Diffusion), or as OpenAI's list of merges.
"""

import gzip
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from souron import registry
from souron.blocks.clip import published_names
from souron.data.language.tokenizer import MOST_BYTES as MOST_TOKENIZER
from souron.data.language.tokenizer import Tokenizer
from souron.hub import weights
from souron.training import checkpoint
from souron.utils.messages import UserError, _

if TYPE_CHECKING:
    from torch import Tensor

FILES = (  # in a folder, the first that exists
    weights.OPEN_CLIP,
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
)
MERGES = "bpe_simple_vocab_16e6.txt.gz"  # as OpenAI publishes them
START, END = "<|startoftext|>", "<|endoftext|>"
TOKENS = 49_408
PIECES = (  # words, single digits, punctuation
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
SIDE = 224  # pixels
MOST_BYTES = 4 << 30  # of a file of weights


class Published(NamedTuple):
    """Contents of a file or folder of CLIP weights."""

    path: Path
    weights: "dict[str, Tensor]"  # by OpenAI's names
    tokenizer: Tokenizer
    quick: bool | None  # QuickGELU; None where unknown


def system(name: str, pretrained: str | bool = True, changed: Any = None) -> Any:
    """Build CLIP at the size in ``name`` with its published weights, or those of a file or folder.

    ``changed`` overrides the configuration. Raises UserError where the weights are missing,
    unreadable or do not fit.
    """
    system_class, config = registry.load_system(name)
    config = changed or config
    if pretrained is True:
        source = system_class.published(registry.find(name)[1], config)
        path = weights.find_or_tell(name, source)
    else:
        path = Path(str(pretrained)).expanduser()
    found = read(path)
    if found.quick is not None:
        config = replace(config, quick=found.quick)
    packed = found.tokenizer.packed()
    spec = registry.load_task(system_class.task).Spec(3, SIDE, packed, len(found.tokenizer))
    made = system_class(config, spec)
    named = {f"network.{key}": tensor for key, tensor in found.weights.items()}
    checkpoint.fill(made, named, found.path)
    return made


def read(path: Path) -> Published:
    """Read weights and tokenizer from a file or folder. Raises UserError."""
    file = path
    if path.is_dir():
        held = [path / name for name in FILES if (path / name).is_file()]
        file = (held or sorted(path.glob("*.safetensors")) or [path / FILES[0]])[0]
    if not file.is_file():
        raise UserError(
            "weights file",
            _("no weights at {path}").format(path=file),
            expected=_("a file or a folder with one of {files}").format(files=", ".join(FILES)),
            fix="souron fetch clip_vit_b_32",
            exit=3,
        )
    return Published(file, read_weights(file), tokenizer(file.parent), _quick(file.parent))


def read_weights(file: Path) -> "dict[str, Tensor]":
    """Read tensors in float32 under OpenAI's names, without running code of the file.

    Raises UserError.
    """
    if file.stat().st_size > MOST_BYTES:
        raise weights.unreadable(file, _("larger than {size} MB").format(size=MOST_BYTES // 10**6))
    if file.suffix == ".safetensors":
        return published_names(weights.read_weights(file))
    if _is_program(file):
        raise UserError(
            "weights file",
            _("{file} is a program (TorchScript), and souron runs none from a file").format(file=file),
            expected=_("the same weights as .safetensors, as open_clip publishes them"),
            fix="souron fetch clip_vit_b_32, souron fetch clip_rn50",
            exit=3,
        )
    return published_names(weights.read_weights(file, inside="state_dict"))


def _is_program(file: Path) -> bool:
    """Return whether a file contains TorchScript code."""
    try:
        with zipfile.ZipFile(file) as packed:
            return any(name.endswith("/constants.pkl") for name in packed.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def tokenizer(folder: Path) -> Tokenizer:
    """Read CLIP's tokenizer from a folder, or its subfolder ``tokenizer``. Raises UserError."""
    for place in (folder, folder / "tokenizer"):
        if (place / "tokenizer.json").is_file():
            found = Tokenizer.of_file(place / "tokenizer.json", end=[END], start=START)
            return _checked(found, place / "tokenizer.json")
        if (place / "vocab.json").is_file() and (place / "merges.txt").is_file():
            return _made(place / "merges.txt", place / "vocab.json")
        if (place / MERGES).is_file():
            return _made(place / MERGES)
    raise UserError(
        "tokenizer",
        _("the weights in {folder} have no tokenizer beside them").format(folder=folder),
        expected=f"tokenizer.json; vocab.json, merges.txt; {MERGES}",
        fix="souron fetch clip_vit_b_32",
        exit=3,
    )


def _made(merges: Path, vocabulary: Path | None = None) -> Tokenizer:
    """Build a tokenizer from a list of merges, whose order defines the ids without a
    ``vocabulary``.
    """
    try:
        lines = _text(merges).split("\n")[1:]
        pairs = [(one, other) for one, _space, other in (line.partition(" ") for line in lines) if one and other]
        if vocabulary is None:
            pairs = pairs[: TOKENS - 2 * 256 - 2]
            numbers = _numbered(pairs)
        else:
            numbers = {str(word): int(i) for word, i in json.loads(_text(vocabulary)).items()}
        return _checked(Tokenizer(_backend(numbers, pairs), end=[END], start=START), merges)
    except UserError:
        raise
    except Exception as error:  # the library raises plain ``Exception``
        raise _no_tokenizer(merges, str(error)[:200]) from error


def _text(file: Path) -> str:
    if file.suffix == ".gz":
        with gzip.open(file) as packed:
            content = packed.read(MOST_TOKENIZER + 1)
    else:
        with file.open("rb") as plain:
            content = plain.read(MOST_TOKENIZER + 1)
    if len(content) > MOST_TOKENIZER:
        raise ValueError(_("larger than {size} MB").format(size=MOST_TOKENIZER // 10**6))
    return content.decode("utf-8")


def _numbered(pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Number the byte characters, the same as word endings, the merges, and the two
    special tokens.
    """
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]  # printable bytes
    hidden = sorted(set(range(256)) - set(shown))
    letters = [*map(chr, shown), *(chr(256 + place) for place in range(len(hidden)))]
    ended = [f"{letter}</w>" for letter in letters]
    words = [*letters, *ended, *(one + other for one, other in pairs), START, END]
    return {word: number for number, word in enumerate(words)}


def _backend(numbers: dict[str, int], pairs: list[tuple[str, str]]) -> Any:
    import tokenizers
    from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

    backend = tokenizers.Tokenizer(models.BPE(numbers, pairs, end_of_word_suffix="</w>", unk_token=END))
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PIECES), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.Sequence([decoders.Replace("</w>", " "), decoders.ByteLevel()])
    backend.add_special_tokens([AddedToken(mark, normalized=False) for mark in (START, END)])
    return backend


def _checked(found: Tokenizer, file: Path) -> Tokenizer:
    if not found.end or found.start == found.end[0]:
        raise _no_tokenizer(file, _("it lacks {tokens}").format(tokens=f"{START}, {END}"))
    return found


def _no_tokenizer(file: Path, why: str) -> UserError:
    return UserError(
        "tokenizer",
        _("{path} is no tokenizer: {why}").format(path=file, why=why),
        expected=_("CLIP's tokenizer, as it is published beside the weights"),
        exit=3,
    )


def _quick(folder: Path) -> bool | None:
    """Return whether the weights need QuickGELU, from the configuration beside them, else None."""
    for name, say in (("open_clip_config.json", _of_open_clip), ("config.json", _of_transformers)):
        if (folder / name).is_file():
            try:
                return say(json.loads(_text(folder / name)))
            except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
                return None
    return None


def _of_open_clip(config: dict[str, Any]) -> bool:
    return bool(config["model_cfg"].get("quick_gelu", False))


def _of_transformers(config: dict[str, Any]) -> bool | None:
    told = (config.get("text_config") or config).get("hidden_act")
    return None if told is None else told == "quick_gelu"
