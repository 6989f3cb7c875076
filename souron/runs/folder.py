"""A run as a folder; every file is written to a temporary name and then moved in one step."""

import hashlib
import json
import warnings
from dataclasses import MISSING, asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from souron import registry
from souron.hub import names, weights, zoo
from souron.kinds.signature import typed_as, yes_or_no
from souron.utils.files import parse_yaml, read_tensors, write_text
from souron.utils.messages import Caution, UserError, _, unknown_option

TRIAL = "1min"  # budget suggested in messages
MOST_SIDE = 65_536  # pixels
MOST_SHOWN = 300  # characters of a description that is none
MOST_NAMED = 4  # systems listed in a message


def find(run: str | Path) -> Path:
    """Return a run's folder, or that of a ready-trained system.

    Raises UserError if there is none.
    """
    meaning = names.known(run)
    return Path(run) if meaning is None else folder_of(meaning)


def folder_of(meaning: names.Meaning) -> Path:
    """Return the folder of a run, or of a ready-trained system as it was packed.

    That of another thing is its path, and reading it says that it is no run. Raises UserError for
    an untrained system.
    """
    match meaning:
        case names.Ready(name=name, folder=folder):
            return _as_packed(name, folder)
        case names.Run(folder=folder):
            return folder
        case names.System(name=name):
            raise not_trained(name)
    return Path(meaning.name)


def not_trained(name: str) -> UserError:
    """Return the error for an untrained system: how to train it, and ready alternatives."""
    entry, size = registry.find(name)
    ready_ones = [other for other in zoo.names() if registry.find(other)[0].task == entry.task]
    ways = [_("a run's folder")]
    if ready_ones:
        ways.append(_("a ready-trained system: {names}").format(names=_some(ready_ones)))
    elif zoo.root() is None:
        ways.append(_("a system of the package souron-zoo, which is not installed"))
    data = registry.tasks()[entry.task].default_data
    fix = f"souron train {name} data={data} budget={TRIAL}"
    if source := entry.weights.get(size):
        if weights.find(source) is not None:
            ways.append(_("its published weights: pretrained=true"))
        else:
            fix = f"souron fetch {name}"
            ways.append(_("its published weights: {command}").format(command=fix))
    elif entry.weights:
        sized = [registry.full_name(entry, other) for other in entry.weights]
        ways.append(_("published weights: {names}").format(names=_some(sized)))
    return UserError(
        "not trained",
        _("{name} has not been trained yet, and does not come ready trained").format(name=name),
        expected="; ".join(ways),
        fix=fix,
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")


def ready(name: str) -> Path | None:
    """Return the folder of a ready-trained system, or None.

    Raises UserError if its files differ from the packed ones.
    """
    folder = zoo.where(name)
    return None if folder is None else _as_packed(name, folder)


def _as_packed(name: str, folder: Path) -> Path:
    refuse_changed(folder)
    held = registry.find(str(read_args(folder)["system"]))[0]
    if not zoo.receipt(folder).get("files") or zoo.system_of(folder.name) != held.name:
        raise UserError(
            "ready trained",
            _("{folder} does not hold {name} as it was packed").format(folder=folder, name=name),
            expected=_("args.yaml of that system, and receipt.json with its files' SHA-256"),
            fix="pip install --force-reinstall souron-zoo",
            exit=3,
        )
    return folder


def to_resume(text: str, project: Path, verb: str) -> str | None:
    """Return the run to resume, the latest unfinished one if no folder was named; None for a new one.

    Raises UserError where none is unfinished.
    """
    wish = yes_or_no(text)
    if not wish or isinstance(wish, str):
        return wish or None
    unfinished = [
        file
        for file in project.glob("*/*/args.yaml")
        if (file.parts[-3] == "compare") == (verb == "compare") and not (file.parent / "receipt.json").exists()
    ]
    if not unfinished:
        raise UserError(
            "resume",
            _("no run in {folder} waits to be resumed").format(folder=project),
            expected=_("the folder of an interrupted run"),
            fix=f"souron {verb} resume=FOLDER",
            exit=3,
        )
    return str(max(unfinished, key=lambda file: file.stat().st_mtime).parent)


def write_args(folder: Path, args: dict[str, Any]) -> None:
    write_text(folder / "args.yaml", yaml.safe_dump(args, allow_unicode=True, sort_keys=False))


OF_A_RUN = ("system", "data", "seen", "config")


def read_args(folder: Path, wanted: tuple[str, ...] = OF_A_RUN) -> dict[str, Any]:
    """Read the arguments of a run or comparison. Raises UserError if ``folder`` is none."""
    path = folder / "args.yaml"
    try:
        args = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            "not a run",
            _("{folder} is not a run: {why}").format(folder=folder, why=_reason(error, path)),
            expected=_("a folder made by souron train, with args.yaml and weights/"),
            fix="ls runs/*",
            exit=3,
        ) from error
    if not isinstance(args, dict) or not args.keys() >= set(wanted) or not isinstance(args.get("config", {}), dict):
        raise UserError(
            "not a run", _("{path} does not describe a run").format(path=path), expected=", ".join(wanted), exit=3
        )
    return args


def _reason(error: Exception, path: Path) -> str:
    return _("no {file} there").format(file=path.name) if not path.exists() else str(error)


def build(args: dict[str, Any]) -> Any:
    """Build the system that ``args`` describe, untrained."""
    system_class, config = config_of(args)
    try:
        return system_class(config, spec_of(args, system_class.task))
    except (RuntimeError, MemoryError, OverflowError) as error:  # too large for any memory
        raise UserError(
            "not a run",
            _("what the run describes cannot be built: {why}").format(why=str(error)[:MOST_SHOWN]),
            expected=_("args.yaml as the run wrote it"),
            exit=3,
        ) from error


def spec_of(args: dict[str, Any], task: str) -> Any:
    """Return what a run's system was made for, the ``Spec`` of its task. Raises UserError."""
    return _from_dict(registry.load_task(task).Spec, args["seen"])


def config_of(args: dict[str, Any]) -> tuple[Any, Any]:
    """Return the class and the config of a run. Raises UserError if its config had other fields."""
    system_class, config = registry.load_system(str(args["system"]))
    if args["config"].keys() - asdict(config).keys():
        raise _of_another_version(str(args["system"]), config, args["config"])
    return system_class, override(config, args["config"])


def _of_another_version(name: str, config: Any, given: dict[str, Any]) -> UserError:
    """Return the error for a run whose config fields no longer match."""
    entry, size = registry.find(name)
    for other in registry.entries().values():  # the name may have moved to another system's file
        if other.task == entry.task and other.name.startswith(entry.name) and size in other.sizes:
            now = registry.full_name(other, size)
            if asdict(registry.load_system(now)[1]).keys() == given.keys():
                return UserError(
                    "earlier version",
                    _("what was {name} when this run was made is {now} today").format(name=name, now=now),
                    fix=_("write system: {now} into the run's args.yaml").format(now=now),
                    exit=3,
                )
    unknown = sorted(given.keys() - asdict(config).keys())
    return UserError(
        "earlier version",
        _("the run's {name} has what today's has not: {fields}").format(name=name, fields=", ".join(unknown)),
        expected=", ".join(asdict(config)),
        fix=f"souron train {name}",
        exit=3,
    )


def _from_dict(record: type, values: Any) -> Any:
    names = {item.name for item in fields(record)}
    kinds = get_type_hints(record)
    required = {item.name for item in fields(record) if item.default is MISSING and item.default_factory is MISSING}
    if (
        not isinstance(values, dict)
        or not required <= set(values) <= names
        or not all(_fits(value, kinds[name]) for name, value in values.items())
        or values.get("side", 1) > MOST_SIDE
    ):
        raise UserError(
            "not a run",
            _("the run describes its data as {found}").format(found=str(values)[:MOST_SHOWN]),
            expected=", ".join(sorted(names)),
            exit=3,
        )
    return record(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value of a YAML file is of a field's type, such as ``int`` or ``tuple[str, ...]``."""
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_fits(each, get_args(kind)[0]) for each in value)
    return isinstance(value, float | int if kind is float else kind)


def override(config: Any, changes: dict[str, Any]) -> Any:
    """Change fields of a config; text is parsed as the field's type. Raises UserError."""
    from dataclasses import replace

    known = {item.name: getattr(config, item.name) for item in fields(config)}
    changed = {}
    for name, value in changes.items():
        if name not in known:
            raise unknown_option(name, list(known))
        changed[name] = typed_as(name, value, known[name])
    return replace(config, **changed)


def load(folder: Path, which: str = "best") -> Any:
    """Load a run's system with its trained weights, in evaluation mode.

    Warns if a file changed after the run ended. Raises UserError.
    """
    from souron.evaluation import answers
    from souron.training.checkpoint import fill

    args = read_args(folder)
    system = build(args)
    path = folder / "weights" / f"{which}.safetensors"
    if not path.exists():
        raise UserError(
            "not finished",
            _("{folder} holds no weights yet").format(folder=folder),
            fix=f"souron train resume={folder}",
            exit=3,
        )
    tensors, about = read_tensors(path)
    system.left_out = ()
    if zoo.holds(folder):
        system.left_out = tuple(about.get("left_out", ()))
        tensors = zoo.completed(tensors, about)
    fill(system, tensors, path, system.left_out)
    if text := changed(folder):
        warnings.warn(f"{folder}: {text}", Caution, stacklevel=3)
    if hasattr(system, "decision"):
        system.decision = answers.decision(folder / "answers.safetensors")
    return system.eval()


ANSWERS = ("seen", "config")  # what of args.yaml decides on the answers: labels, sizes, settings
HASHED = (
    "args.yaml",
    "weights/best.safetensors",
    "weights/last.safetensors",
    "weights/familiar.safetensors",
    "split.csv",
    "fingerprints.safetensors",
)


def hashes(folder: Path) -> dict[str, str]:
    """Return name -> SHA-256 of the files on which a run's figures depend; of args.yaml, of its ``ANSWERS`` as JSON."""
    return {name: _sha256(folder / name) for name in HASHED if (folder / name).exists()}


def _sha256(file: Path) -> str:
    if file.name == "args.yaml":
        args = read_args(file.parent, ())
        text = json.dumps([args.get(name) for name in ANSWERS], default=str)
        return hashlib.sha256(text.encode()).hexdigest()
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            "unreadable", _("{path} cannot be read: {why}").format(path=file, why=error.strerror or error), exit=3
        ) from error


def changed(folder: Path) -> str:
    """Describe the files that changed after the run ended, in the reader's language.

    "" if none did, and for runs without hashes in their receipt.
    """
    try:
        receipt = json.loads((folder / "receipt.json").read_text(encoding="utf-8"))
        known, ended = dict(receipt["files"]), str(receipt.get("ended", ""))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    others = [
        _("{file} (written {time})").format(file=name, time=_minute((folder / name).stat().st_mtime))
        for name, sha256 in known.items()
        if name in HASHED and (folder / name).is_file() and _sha256(folder / name) != sha256
    ]
    if not others:
        return ""
    return _("not the files that the run ended with{ended}: {files}").format(
        ended=f" ({ended})" if ended else "", files=", ".join(others)
    )


def _minute(time: float | None = None) -> str:
    moment = datetime.now() if time is None else datetime.fromtimestamp(time)
    return moment.isoformat(" ", "minutes")


def ending(folder: Path) -> dict[str, Any]:
    """Return the receipt's entries on the run's end: time and file hashes."""
    return {"ended": _minute(), "files": hashes(folder)}


def refuse_changed(folder: Path) -> None:
    """Raise UserError if weights or split changed after the run ended."""
    if text := changed(folder):
        raise UserError(
            "changed",
            f"{folder}: {text}",
            expected=_("the files whose SHA-256 is in receipt.json"),
            fix=_("the run's folder from where it was copied, or train it again"),
            exit=3,
        )


def as_plain(record: Any) -> dict[str, Any]:
    """Convert a dataclass to values for YAML and JSON."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(record).items()}
