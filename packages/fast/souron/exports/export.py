"""Export a trained system: a folder that others run without souron, checked before it appears."""

import hashlib
import importlib
import os
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import souron
from souron import registry
from souron.blocks.portable import Portable, portable_of
from souron.evaluation import familiarity, photographs
from souron.exports import cases as export_cases
from souron.exports import formats, graph
from souron.exports.cases import Cases
from souron.exports.parts.compared import compared
from souron.exports.program import answers, program
from souron.hub import names, zoo
from souron.runs import folder as run_folder
from souron.runs import loading
from souron.utils import extras, files
from souron.utils.files import write_json, write_text
from souron.utils.messages import N_, UserError, _

TOLERANCE = 1e-4  # of the spread of an output, see ``parts.compared``
TIMED = 5  # passes of one case
DEFAULT = "openvino"
KEPT = ("auto", "validation", "noise")  # what ``check.npz`` may hold
NOISE = "noise"  # how a generator reads
WORDS = {NOISE: "SEED", "tokens": "1,2,3", "array": "FILE.npy", "sound": "FILE.wav"}  # by how it reads; else IMAGE


@dataclass(frozen=True)
class Exported:
    """A written folder, and how equal its answers are."""

    format: str
    folder: str
    files: tuple[str, ...]
    max_difference: float  # in standard deviations of an output
    changed_labels: int  # whose margin was larger than the tolerance
    milliseconds: float  # of one case
    cases: int
    source: str  # of these cases: "validation", "examples", "noise"
    kept: str  # the same of those in ``check.npz``
    batch: str  # "any", or "1"
    left_out: tuple[str, ...]  # parts of souron's answer that the folder does not have: "familiar"
    notice: str = ""  # what the folder does not check, English; "" for a generator

    def sizes(self) -> list[tuple[str, int]]:
        """Return the name of each file and its bytes."""
        return [(name, (Path(self.folder) / name).stat().st_size) for name in self.files]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "files": list(self.files), "left_out": list(self.left_out)}


def format_names() -> list[str]:
    """Return the formats: the files of ``formats``.

    >>> "onnx" in format_names()
    True
    """
    return files.names_in(formats)


def export(
    run: str | Path,
    format: str = DEFAULT,
    out: str | Path | None = None,
    cases: str = "auto",
    progress: Callable[[str], Any] = lambda step: None,
) -> Exported:
    """Write a trained system as a folder that others run without souron.

    ``run`` is a run's folder or the name of a ready-trained system, ``out`` the new folder (default:
    beside the run's files, or in the current folder). The network is compared with the trained one on 16
    validation cases; where its answers differ, nothing is left behind. ``cases`` says what the folder
    keeps for the same check elsewhere: "validation" those cases, "noise" random ones; "auto" keeps
    validation cases of published data sets only, and never a user's own. ``progress`` is called with
    each step in words.

    Raises UserError, also for a system that cannot be exported, with the reason.
    """
    writer = _format(format)
    if cases not in KEPT:
        raise UserError(
            "value", _("{name}={value} is not understood").format(name="cases", value=cases), expected=", ".join(KEPT)
        )
    meaning = names.resolve(run)
    if writer.EXTRA:
        extras.check(writer.EXTRA, _("format={format} needs more than souron itself").format(format=format))
    system = loading.load(meaning)
    if system is None:
        raise run_folder.not_trained(meaning.name)
    folder = meaning.folder if isinstance(meaning, names.Run) else None
    portable = portable_of(system.cpu().eval())
    place = _place(out, meaning, folder, format)
    compared_on = export_cases.cases_for(system, portable, folder)
    about = _about(system, portable, meaning, folder, format, writer)
    about["left_out"] = left_out(system, meaning.name, folder)
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        facts = _write(part, writer, portable, about, compared_on, cases, progress)
        if files.there(str(place)):  # made meanwhile
            raise _taken(place)
        part.rename(place)
    except OSError as error:
        raise files.cannot_write(place, error, "out=FOLDER") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Exported(format, str(place), **facts)


def _format(name: str) -> Any:
    if name not in format_names():
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="format", value=name),
            expected=", ".join(format_names()),
            fix=f"format={DEFAULT}",
        )
    return importlib.import_module(f"{formats.__name__}.{name}")


def left_out(system: Any, name: str, folder: Path | None) -> list[str]:
    """Return what the exported network does not say, though the system does here: the check "familiar".

    >>> left_out(None, "mlp", Path("runs/classify/none"))
    []
    """
    checked = photographs.detector_for(system, name) if folder is None else (folder / familiarity.FILE).exists()
    return ["familiar"] if checked else []


def _place(out: str | Path | None, meaning: names.Meaning, folder: Path | None, format: str) -> Path:
    """Return the folder to be made. Raises UserError where something of that name exists."""
    if out is not None:
        if files.there(str(out)) or Path(out).is_symlink():
            raise _taken(Path(out))
        return Path(out)
    own = folder is not None and not isinstance(meaning, names.Ready)
    base, name = (folder or Path(), f"export-{format}") if own else (Path(), f"{Path(meaning.name).name}-{format}")
    return files.free(base, name, "")


def _taken(place: Path) -> UserError:
    return UserError(
        "exists",
        _("{path} is there already, and nothing is overwritten").format(path=place),
        expected=_("the name of a new folder"),
        fix=f"out={place}-2",
        exit=3,
    )


def _about(
    system: Any, portable: Portable, meaning: names.Meaning, folder: Path | None, format: str, writer: Any
) -> dict[str, Any]:
    """Return the content of ``model.json`` that is known before the network is written."""
    entry = registry.entries().get(Path(type(system).__module__.rpartition(".")[2]).name)
    task = registry.load_task(system.task)
    receipt = zoo.receipt(folder) if folder else {}
    data: Any = receipt.get("data") if isinstance(receipt.get("data"), dict) else {}
    data = {key: data[key] for key in ("name", "cases", "hash", "source", "licence") if key in data}
    if "name" in data:
        data["name"] = Path(str(data["name"])).name  # a path says more than others need to know
    elif folder is None:
        data = {"name": task.published_data(meaning.name)}
    return {
        "format": format,
        "file": writer.FILE,
        "system": entry.name if entry else type(system).__name__,
        "paper": entry.url if entry else "",
        "task": system.task,
        "kinds": [task.takes.__name__ if task.takes else "", task.gives.__name__],
        "inputs": {one.name: [*one.shape] for one in portable.inputs},
        "types": {one.name: str(one.type).removeprefix("torch.") for one in portable.inputs},
        "below": {one.name: one.below for one in portable.inputs if one.type == torch.int64},
        "free": {one.name: {str(axis + 1): [*free] for axis, free in one.free.items()} for one in portable.inputs},
        "outputs": list(portable.outputs),
        "decides": dict(portable.decides),
        "tolerance": TOLERANCE,
        "notice": "" if portable.reads == NOISE else NOTICE,
        "trained_on": data,
        "licence": data.get("licence", ""),
        "measures": receipt.get("measures", {}),
        "receipt_sha256": _sha256(folder),
        "souron": souron.__version__,
        **portable.about,
    }


def _sha256(folder: Path | None) -> str:
    with suppress(OSError):
        return hashlib.sha256((folder / "receipt.json").read_bytes()).hexdigest() if folder else ""
    return ""


def _write(
    part: Path,
    writer: Any,
    portable: Portable,
    about: dict[str, Any],
    compared_on: Cases,
    keep: str,
    progress: Callable[[str], Any],
) -> dict[str, Any]:
    """Write all files into a folder that nobody sees yet; return the fields of ``Exported``."""
    kept = compared_on
    if keep == "noise" or (keep == "auto" and compared_on.private):
        kept = export_cases.noise(portable)
    checks = [_check(portable, one.inputs) for one in ([compared_on] if kept is compared_on else [compared_on, kept])]
    for many in (True, False) if portable.batch else (False,):
        about |= {"batch": "any" if many else "1"}
        try:
            run, agreement = _network(part / writer.FILE, writer, portable, about, checks, progress)
            break
        except UserError:  # it may be right for one case at a time
            if not many:
                raise
    about |= {**agreement, "compared": compared_on.source, "kept": kept.source}
    milliseconds = _milliseconds(run, checks[-1], about)
    with (part / "check.npz").open("wb") as stream:
        np.savez_compressed(stream, **checks[-1])  # type: ignore[arg-type]
    for name, text in portable.beside.items():
        write_text(part / name, text)
    if portable.labels:
        write_text(part / "labels.txt", "".join(f"{line(label)}\n" for label in portable.labels))
    write_json(part / "model.json", about)
    word = WORDS.get(portable.reads, "IMAGE")
    write_text(part / "run.py", program(writer.PACKAGES, writer.RUN, word))
    write_text(part / "answers.py", answers(portable.reads, portable.shows))
    write_text(part / "README.md", readme(about, writer, word))
    return {
        "files": tuple(sorted(file.name for file in part.iterdir())),
        "max_difference": about["max_difference"],
        "changed_labels": about["changed_labels"],
        "milliseconds": round(milliseconds, 3),
        "cases": len(compared_on.inputs[0]),
        "source": compared_on.source,
        "kept": kept.source,
        "batch": about["batch"],
        "left_out": tuple(about["left_out"]),
        "notice": about["notice"],
    }


def _network(
    file: Path,
    writer: Any,
    portable: Portable,
    about: dict[str, Any],
    checks: Sequence[dict[str, np.ndarray]],
    progress: Callable[[str], Any],
) -> tuple[Callable, dict[str, Any]]:
    """Write the network for any number of cases, or for one, and compare it; return how it is run.

    Raises UserError where it cannot be written so, or answers otherwise.
    """
    worst, changed = 0.0, 0
    progress(_("tracing the network"))
    program = graph.traced(portable, about["system"], about["batch"] == "any")
    try:
        with graph.quiet():
            progress(_("writing {file}").format(file=file.name))
            versions = writer.write(program, portable, file)
            run = writer.network(file)
            progress(_("comparing the answers"))
            for cases in checks:
                difference, labels = compared(run, cases, about)
                worst, changed = max(worst, difference), changed + labels
    except OSError:
        raise
    except Exception as error:  # each library has errors of its own
        if shutil.disk_usage(file.parent).free < 2**20:
            raise OSError(28, os.strerror(28)) from error
        raise UserError(
            "not converted",
            _("{format} cannot hold {name}: {why}").format(
                format=about["format"], name=about["system"], why=reason(error)
            ),
            expected=_("another format: {names}").format(names=", ".join(format_names())),
            exit=1,
        ) from error
    check_equal(worst, changed, about)
    return run, {**versions, "max_difference": worst, "changed_labels": changed}


def reason(error: BaseException) -> str:
    """Return the last line of the first of the errors that led to this one.

    >>> reason(ValueError("no rule\\n  for inv"))
    'for inv'
    """
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()[:300]


def check_equal(worst: float, changed: int, about: dict[str, Any]) -> None:
    """Raise UserError where a network's answers are not those of the trained one."""
    if worst <= TOLERANCE and not changed:
        return
    raise UserError(
        "other answers",
        _(
            "written as {format}, {name} answers otherwise: off by {worst:.2g} of the outputs' spread, "
            "{changed} labels changed"
        ).format(format=about["format"], name=about["system"], worst=worst, changed=changed),
        expected=_("at most {tolerance:g} of the spread, and no label changed; nothing was kept").format(
            tolerance=TOLERANCE
        ),
        fix=_("another format: {names}").format(
            names=", ".join(one for one in format_names() if one != about["format"])
        ),
        exit=1,
    )


def _check(portable: Portable, inputs: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """Return the content of ``check.npz``: inputs, and the answers of the network itself."""
    keys = [*(f"in_{port.name}" for port in portable.inputs), *(f"out_{name}" for name in portable.outputs)]
    return {key: tensor.numpy() for key, tensor in zip(keys, [*inputs, *graph.eager(portable, inputs)], strict=True)}


def _milliseconds(run: Callable, check: dict[str, np.ndarray], about: dict[str, Any]) -> float:
    inputs = [np.ascontiguousarray(check[f"in_{name}"][:1]) for name in about["inputs"]]
    times = []
    for _pass in range(TIMED):
        begun = time.perf_counter()
        run(inputs)
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


def line(label: str) -> str:
    r"""Return a label as one line: what would end a line or steer a terminal becomes a space.

    >>> line("two\nlines")
    'two lines'
    """
    return "".join(sign if sign.isprintable() else " " for sign in label)


README = N_("""# {system}, exported by souron {souron}

`pip install {packages}`, then

    python run.py --check
    python run.py {word}

The first compares the answers here with those that PyTorch gave for the cases in `check.npz`; when this was
written, they differed by {worst:.1e} of an output's spread at most. `model.json` says what goes in and what comes
out, what it was trained on ({data}; licence: {licence}) and how well it did.
""")


NOTICE = N_("It answers whatever it is given: nothing here checks that an input is like the training data.")


def readme(about: dict[str, Any], writer: Any, word: str) -> str:
    return _(README).format(
        system=about["system"],
        souron=about["souron"],
        packages=" ".join([*writer.PACKAGES, "numpy", "pillow"]),
        word=word,
        worst=about["max_difference"],
        data=line(str(about["trained_on"].get("name", ""))) or _("not stated"),
        licence=line(str(about["licence"])) or _("not stated"),
    ) + (f"\n{_(about['notice'])}\n" if about["notice"] else "")
