"""Load Stable Diffusion 1.5 or Karlo from a diffusers folder, the former also from a single file.

    folder/unet, vae, text_encoder (.safetensors each), tokenizer (vocab.json, merges.txt)
    folder/prior, text_encoder, text_proj, decoder, super_res_first, super_res_last, tokenizer
    file.safetensors with model.diffusion_model..., first_stage_model..., cond_stage_model...

The single file has no tokenizer; it must lie beside the file. Weights are read one by one and kept
in bf16. Time and memory per image are estimated beforehand. Pickles are not read, and no code of a
file is run.
"""

import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from souron import registry
from souron.blocks.autoencoder import autoencoder_name, flat
from souron.blocks.clip import CONTEXT, published_names
from souron.blocks.latent import Residual, SpatialTransformer, Words, unet_name
from souron.hub import adapters, clip_weights, names, packages
from souron.utils import hardware, units
from souron.utils.messages import N_, UserError, _

SIDE = 512  # pixels, of Stable Diffusion's training images
SINGLE = {  # souron's name -> prefix in a single file
    "unet": names.STABLE_DIFFUSION,
    "coder": "first_stage_model.",
    "network": "cond_stage_model.transformer.",
}
MOST_BYTES = 16 << 30  # of a file of weights
HELD_A_PIXEL = 2600  # bytes while decoding: about five feature maps of 256 channels in bf16
HELD_BY_KARLO = 8000  # the same while enlarging, not measured: the feature maps that skip connections keep
LATENT = 4  # channels
ENDINGS = (".safetensors", ".fp16.safetensors")  # suffixes of a part's file, the first that exists


class Model(NamedTuple):
    """A published model in the layout of diffusers."""

    title: str
    system: str
    parts: Mapping[str, str]  # ours -> its folder; the first one identifies the model in marks
    expected: str  # English, the key of its translation
    fix: str
    smaller: str  # what to try where the memory is too small
    options: Mapping[str, str] = {}  # its publisher's own, where they are not the defaults


STABLE_DIFFUSION = Model(
    "Stable Diffusion 1.5",
    "latent_diffusion_sd15",
    {"unet": "unet", "coder": "vae", "network": "text_encoder"},
    N_("a folder with unet, vae, text_encoder and tokenizer, or a single .safetensors file"),
    "souron show latent_diffusion_sd15",
    "imgsz=256",
)
KARLO = Model(
    "Karlo",
    "dalle2_karlo",
    {f"karlo.{part}": part for part in (*names.KARLO, "text_encoder")},
    N_("a folder with prior, decoder, super_res_first, super_res_last, text_proj, text_encoder and tokenizer"),
    N_("copy the file there, or delete the folder and run: souron fetch karlo"),
    "souron generate stable_diffusion imgsz=256",
    {"steps": "25", "guidance": "8", "sampler": "ddpm"},
)


class Cost(NamedTuple):
    """Estimated cost of one image."""

    seconds: float  # on the CPU, without loading
    bytes: int


def model(place: str | Path) -> Model:
    """Return the model whose files a folder, or a single file, holds or is to hold."""
    place = Path(place)
    named = place.name == packages.DIFFUSION["karlo"].file and not (place / "unet").is_dir()
    return KARLO if named or names.is_karlo(place) else STABLE_DIFFUSION


def side_of(place: str | Path) -> int:
    """Return the default side of the images in pixels."""
    _kind, config = registry.load_system(model(place).system)
    return getattr(config, "side", SIDE)


def refuse_side(place: str | Path, side: int) -> None:
    """Raise UserError for a side that the model cannot generate."""
    own = side_of(place)
    if model(place) is KARLO and side != own:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="imgsz", value=side),
            expected=f"imgsz={own}",
            fix=f"imgsz={own}",
        )


def of(meaning: names.DiffusionModel, side: int | None = None) -> Any:
    """Load the system of a name or a path, with its LoRA. Raises UserError as ``system`` does."""
    refuse_missing(meaning)
    if meaning.lora is not None and model(meaning.path) is KARLO:
        raise UserError(
            "option",
            _("{name} takes no LoRA").format(name=KARLO.title),
            expected=STABLE_DIFFUSION.title,
            fix=_("leave lora out"),
        )
    made = system(meaning.path, side or SIDE)
    if meaning.lora is not None:
        adapters.merge(made.unet, meaning.lora)
    return made


def refuse_missing(meaning: names.DiffusionModel) -> None:
    """Raise UserError where the files of a named model are not on this computer."""
    base = packages.LORAS.get(meaning.name, meaning.name)
    for name, path in ((base, meaning.path), (meaning.name, meaning.lora)):
        if path is not None and name in packages.DIFFUSION and not path.exists():
            about: Any = packages.DIFFUSION[name]
            raise UserError(
                "fetch",
                _("the model {name} is not on this computer").format(name=name),
                expected=", ".join(f"{about.file}/{file}" for file in about.package.names),
                fix=f"souron fetch {name}",
                exit=4,
            )


def system(path: str | Path, side: int = SIDE, size: Any = None) -> Any:
    """Load the system in bf16, ready to generate; ``size`` overrides its configuration.

    Raises UserError where the weights are unreadable, do not fit, or exceed the free memory.
    """
    place = Path(path).expanduser()
    about, files = model(place), _files(place)
    system_class, config = registry.load_system(about.system)
    config = size or config
    tokenizer = clip_weights.tokenizer(place if place.is_dir() else place.parent)
    task = registry.load_task(system_class.task)
    spec = task.Spec(3, getattr(config, "side", side), tokenizer.packed(), clip_weights.TOKENS)
    with torch.device("meta"):
        made = system_class(config, spec)
    refuse_too_large(place, needed(made), about.smaller)
    found = {f"{part}.{name}": tensor for part, file in files.items() for name, tensor in _weights(part, file)}
    within = tuple(f"{part}." for part in about.parts)
    wanted = {name: tuple(each.shape) for name, each in made.state_dict().items() if name.startswith(within)}
    given = {name: tuple(weight.shape) for name, weight in found.items()}
    if wanted != given:
        differ = sorted(dict(wanted.items() ^ given.items()))
        raise _wrong(place, _("{count} weights do not fit, as {first}").format(count=len(differ), first=differ[0]))
    made.load_state_dict(found, strict=False, assign=True)
    return made.eval().requires_grad_(False)


def needed(made: Any) -> int:
    """Return the bytes of memory for generating an image: weights and the decoder's
    feature maps.
    """
    weights = sum(2 * weight.numel() for weight in made.parameters())
    held = HELD_A_PIXEL if getattr(made, "karlo", None) is None else HELD_BY_KARLO
    return weights + held * made.spec.side**2


def refuse_too_large(place: Path, wanted: int, smaller: str = STABLE_DIFFUSION.smaller) -> None:
    """Raise UserError where ``wanted`` bytes exceed the free memory."""
    _total, free = hardware.memory()
    if wanted <= free:
        return
    raise UserError(
        "memory",
        _("{name} needs {needed:.1f} GB of memory, {free:.1f} GB are free").format(
            name=place.name, needed=wanted / 1e9, free=free / 1e9
        ),
        expected=_("an image that fits into memory"),
        fix=smaller,
        exit=4,
    )


def _files(place: Path) -> dict[str, Path]:
    """Return the file of each part. Raises UserError where one is missing."""
    parts, found = model(place).parts, {}
    if place.is_file():
        return dict.fromkeys(parts, place)
    for part, folder in parts.items():
        stem = "model" if folder == "text_encoder" else "diffusion_pytorch_model"
        held = [place / folder / (stem + ending) for ending in ENDINGS]
        there = [file for file in held if file.is_file()]
        if not there:
            raise _wrong(place, _("{file} is missing").format(file=held[0].relative_to(place)))
        found[part] = there[0]
    return found


def file_of(place: Path) -> Path:
    """Return the file that identifies the model in marks. Raises UserError."""
    return next(iter(_files(place).values()))


def _weights(part: str, file: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield name in that part of the system, and bf16 tensor. Raises UserError."""
    from safetensors import SafetensorError, safe_open

    begin = SINGLE.get(part, "") if any(name.startswith(SINGLE["unet"]) for name in _head(file)) else ""
    try:
        with safe_open(file, "pt") as opened:
            names = [name for name in opened.keys() if name.startswith(begin)]  # noqa: SIM118
            read = ((name.removeprefix(begin), opened.get_tensor(name)) for name in names)
            if part in ("network", "karlo.text_encoder"):
                given = dict(read)
                yield from ((n, tensor.bfloat16()) for n, tensor in published_names(given).items())
                return
            for name, tensor in read:
                if part == "unet":
                    yield (unet_name(name) if begin else name) or name, tensor.bfloat16()
                elif part != "coder":
                    yield name, tensor.bfloat16()
                else:
                    name = autoencoder_name(name)
                    attends = ".attentions." in name and name.endswith(".weight")
                    linear = attends and "group_norm" not in name
                    yield name, flat(tensor, (0, 0) if linear else ()).bfloat16()
    except (SafetensorError, OSError) as error:
        raise _wrong(file, str(error).partition("\n")[0]) from error


def _head(file: Path) -> dict[str, Any]:
    """Read the table of tensors of a .safetensors file. Raises UserError."""
    if file.stat().st_size > MOST_BYTES:
        raise _wrong(file, _("larger than {size} MB").format(size=MOST_BYTES // 10**6))
    try:
        return names.head(file)
    except ValueError as error:
        raise _wrong(file, _("its head is damaged")) from error


def _wrong(path: Path, why: str) -> UserError:
    about = model(path.parent.parent if path.is_file() else path)
    return UserError(
        "model",
        _("{path} is not {model}: {why}").format(path=path, model=about.title, why=why),
        expected=_(about.expected),
        fix=_(about.fix),
        exit=3,
    )


def cost(made: Any, steps: int = 20, guided: bool = True) -> Cost:
    """Estimate seconds and bytes per image for a system on the meta device.

    Operations are counted, and a block of the UNet is timed on this machine.
    """
    if (karlo := getattr(made, "karlo", None)) is not None:
        operations = sum(times * counted(network, *given) for times, network, given in karlo.calls(steps, guided))
        return Cost(operations / speed(), needed(made))
    places, width = made.spec.side // made.finest, made.config.text[1]
    z = torch.zeros(1, LATENT, places, places, device="meta")
    step = torch.zeros(1, dtype=torch.long, device="meta")
    words = torch.zeros(1, CONTEXT, width, device="meta")
    asked = steps * (2 if guided else 1)
    operations = asked * counted(made.unet, z, step, words) + counted(made.coder.decode, z)
    return Cost(operations / speed(), needed(made))


def told(path: str | Path, side: int = SIDE, steps: int = 20, guided: bool = True) -> tuple[Cost, str]:
    """Estimate the cost of an image, also as a sentence, without reading weights."""
    system_class, config = registry.load_system(model(path).system)
    side = getattr(config, "side", side)
    with torch.device("meta"):
        made = system_class(config, registry.load_task(system_class.task).Spec(3, side, "", clip_weights.TOKENS))
    wanted = cost(made, steps, guided)
    text = _("an image of {side} pixels a side takes about {time} and {memory} of memory").format(
        side=side, time=units.seconds(wanted.seconds), memory=units.size(wanted.bytes)
    )
    return wanted, text


def counted(network: Any, *given: Tensor) -> int:
    """Count the operations of a network on the meta device."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*given)
    return counter.get_total_flops()


@lru_cache(maxsize=1)
def speed() -> float:
    """Measure operations per second of the UNet's first blocks on this machine, bf16,
    512 pixels.
    """
    with torch.device("meta"):
        layers = Residual(320, 320, 1280, 32, 1e-5), SpatialTransformer(320, 768, 8, 32)
    x, time_, words = (torch.zeros(1, 320, 64, 64), torch.zeros(1, 1280), torch.zeros(1, 77, 768))

    def run(x: Tensor, time_: Tensor, words: Tensor) -> Tensor:
        return layers[1](layers[0](x, time_), Words(words))

    operations = counted(run, *(each.to("meta") for each in (x, time_, words)))
    for layer in layers:
        layer.to_empty(device="cpu").bfloat16()
        for weight in layer.parameters():
            nn.init.normal_(weight, std=0.02)
    took = []
    with torch.no_grad():
        for _time in range(2):  # the first one is a warm-up
            begun = time.perf_counter()
            run(x.bfloat16(), time_.bfloat16(), words.bfloat16())
            took.append(time.perf_counter() - begun)
    return operations / took[-1]
