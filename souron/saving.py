"""A run as a folder: every file is written beside its place and then moved there in one step."""

import json
import os
import re
import shutil
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from souron import finding
from souron.asking import typed_as
from souron.jsoning import as_json
from souron.speaking import Trouble, _, unknown_option


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Yield a place beside ``path`` to write to; what stands there at the end becomes ``path``.

    Raises Trouble where the disk is full or the folder cannot be written; ``path`` is then as it
    was before.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # where its folder is none, nothing is left either
            beside.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> Trouble:
    place = next((folder for folder in path.parents if folder.exists()), Path())
    free = shutil.disk_usage(place).free
    return Trouble(
        "disk",
        _("cannot write {path}: {why} ({free} MB free)").format(
            path=path, why=error.strerror or error, free=free // 2**20
        ),
        expected=_("a folder that can be written, with room for the run"),
        fix="project=FOLDER",
        exit=4,
    )


def write_text(path: Path, text: str) -> None:
    with atomically(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, thing: Any) -> None:
    write_text(path, as_json(thing, indent=1) + "\n")


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Tensors and a JSON-able dict in one safetensors file."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomically(path) as beside:
        try:
            save_file(whole, beside, {"souron": json.dumps(about, ensure_ascii=False)})
        except SafetensorError as error:  # it hides the OSError of a full disk
            raise OSError(str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("souron", "{}"))
        return load_file(path), about
    except (SafetensorError, OSError, ValueError) as error:
        raise Trouble(
            "weights file",
            _("{path} cannot be read: {why}").format(path=path, why=error),
            expected=_("a safetensors file that souron wrote"),
            exit=3,
        ) from error


def new_folder(project: Path, name: str) -> Path:
    """Make ``project/name``, or ``name-2``, ``name-3``, ... where that is taken."""
    name = re.sub(r"[^\w.\-]+", "-", name).strip("-.") or "run"
    for number in range(1, 100_000):
        folder = project / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise cannot_write(folder, error) from error
    raise AssertionError("no free name for a run")


def write_args(folder: Path, args: dict[str, Any]) -> None:
    write_text(folder / "args.yaml", yaml.safe_dump(args, allow_unicode=True, sort_keys=False))


OF_A_RUN = ("system", "data", "seen", "config")


def read_args(folder: Path, wanted: tuple[str, ...] = OF_A_RUN) -> dict[str, Any]:
    """What a run or comparison was made with. Raises Trouble where ``folder`` is none."""
    path = folder / "args.yaml"
    try:
        args = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Trouble(
            "not a run",
            _("{folder} is not a run: {why}").format(folder=folder, why=_reason(error, path)),
            expected=_("a folder made by souron train, with args.yaml and weights/"),
            fix="ls runs/*",
            exit=3,
        ) from error
    if not isinstance(args, dict) or not args.keys() >= set(wanted):
        raise Trouble(
            "not a run",
            _("{path} does not describe a run").format(path=path),
            expected=", ".join(wanted),
            exit=3,
        )
    return args


def _reason(error: Exception, path: Path) -> str:
    return _("no {file} there").format(file=path.name) if not path.exists() else str(error)


def build(args: dict[str, Any]) -> Any:
    """The system that ``args`` describe, untrained."""
    kind, config = finding.system(str(args["system"]))
    config = override(config, args["config"])
    seen = _from_dict(_seen_class(kind), args["seen"])
    return kind(config, seen)


def _seen_class(kind: Any) -> type:
    return typing.get_type_hints(kind.see)["return"]


def _from_dict(record: type, values: Any) -> Any:
    names = {item.name for item in fields(record)}
    if not isinstance(values, dict) or set(values) != names:
        raise Trouble(
            "not a run",
            _("the run describes its data as {found}").format(found=values),
            expected=", ".join(sorted(names)),
            exit=3,
        )
    return record(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


def override(config: Any, changes: dict[str, Any]) -> Any:
    """A config with some fields changed; text is read as the field's own type. Raises Trouble."""
    from dataclasses import replace

    known = {item.name: getattr(config, item.name) for item in fields(config)}
    changed = {}
    for name, value in changes.items():
        if name not in known:
            raise unknown_option(name, list(known))
        changed[name] = typed_as(name, value, known[name])
    return replace(config, **changed)


def load(folder: Path, which: str = "best") -> Any:
    """The system of a run with its learnt weights, ready to answer."""
    args = read_args(folder)
    system = build(args)
    path = folder / "weights" / f"{which}.safetensors"
    if not path.exists():
        raise Trouble(
            "not finished",
            _("{folder} holds no weights yet").format(folder=folder),
            fix=f"souron train resume={folder}",
            exit=3,
        )
    fill(system, read_tensors(path)[0], path)
    return system.eval()


def fill(system: Any, weights: dict[str, Tensor], path: Path, but: Sequence[str] = ()) -> None:
    """Load weights by name, all of them (``but`` those of the layers so named). Raises Trouble."""
    left_out = tuple(f"{layer}." for layer in but)
    own = system.state_dict()
    wanted = {n: t for n, t in own.items() if not n.startswith(left_out)}
    given = {n: t for n, t in weights.items() if not n.startswith(left_out)}
    differ = sorted(
        name
        for name in wanted.keys() | given.keys()
        if name not in wanted or name not in given or wanted[name].shape != given[name].shape
    )
    if differ:
        raise Trouble(
            "other system",
            _(
                "{path} holds another system's weights: {count} of {all} do not fit, as {first}"
            ).format(path=path, count=len(differ), all=len(wanted | given), first=differ[0]),
            expected=type(system).__name__ + f" {system.config}",
            exit=3,
        )
    system.load_state_dict(given, strict=False)


def write_checkpoint(
    path: Path, system: Any, optimizers: dict[str, Optimizer], state: dict[str, Any]
) -> None:
    """All that going on needs, in one file: weights, optimizers, the random state, ``state``."""
    tensors = {f"weights/{name}": tensor for name, tensor in system.state_dict().items()}
    groups = {}
    for title, optimizer in optimizers.items():
        held = optimizer.state_dict()
        groups[title] = held["param_groups"]
        for index, values in held["state"].items():
            for key, value in values.items():
                if value is not None:
                    tensors[f"optimizer/{title}/{index}/{key}"] = torch.as_tensor(value)
    tensors["random"] = torch.get_rng_state()
    write_tensors(path, tensors, {"state": state, "groups": groups})


def read_checkpoint(
    path: Path, system: Any
) -> tuple[dict[str, dict[str, Any]], dict[str, Any], Tensor]:
    """Fill the system; return the optimizers' states, ``state`` and the random state."""
    tensors, about = read_tensors(path)
    weights = {n.removeprefix("weights/"): t for n, t in tensors.items() if n[:8] == "weights/"}
    fill(system, weights, path)
    optimizers: dict[str, dict[str, Any]] = {
        title: {"state": {}, "param_groups": groups} for title, groups in about["groups"].items()
    }
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _part, title, index, key = name.split("/", 3)
            optimizers[title]["state"].setdefault(int(index), {})[key] = tensor
    return optimizers, about["state"], tensors["random"]


def as_plain(record: Any) -> dict[str, Any]:
    """A dataclass as YAML- and JSON-able values."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(record).items()
    }
