"""The rounds of a comparison on other processes or machines, and what their computers must agree on.

A round trains and tests every system with one seed, or one fold. It is played as a whole on one
machine, so that machines of unequal speed add to all systems alike and drop out of the difference.
Threads, precision, versions, souron's code and the data must be the same everywhere.
"""

import hashlib
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch

import souron
from souron.data.dataset import Dataset, content
from souron.engines import engine
from souron.engines.engine import Delivery
from souron.runs.elsewhere.machines import SUFFIX, Machine
from souron.runs.events import Event, left
from souron.utils import distributions, files, hardware
from souron.utils.messages import UserError, _

MENDS = {  # what to do on a machine that does not agree
    "souron": "pip install souron=={souron}",
    "code": "pip install --force-reinstall souron=={souron}",
    "torch": "pip install torch=={torch}",
    "bf16": "on=ENGINE with machines of one processor",
    "data": "souron fetch NAME, or copy the folder, or send=true",
    "weights": "copy the run's folder",
}


@dataclass(frozen=True)
class Agreement:
    """The properties of a machine that must be equal everywhere for results to be comparable."""

    souron: str  # version
    code: str  # hash of souron's files
    torch: str  # version, with its build
    bf16: bool  # whether training uses bfloat16 instructions
    data: str = ""  # hash of inputs and targets
    weights: str = ""  # hash of the files of trained systems

    @classmethod
    def here(cls, data: Dataset | None = None, weights: str = "") -> "Agreement":
        version, data_hash = str(hardware.installed("souron")), "" if data is None else content(data)
        return cls(version, code(), torch.__version__, hardware.bf16(), data_hash, weights)

    def check(self, own: "Agreement") -> None:
        """Raise UserError unless a machine's ``own`` agrees."""
        for field in fields(self):
            wanted, found = getattr(self, field.name), getattr(own, field.name)
            if wanted != found:
                raise UserError(
                    "worker refused",
                    _("on {host} {name} is {found}").format(host=platform.node(), name=field.name, found=found),
                    expected=_("{wanted}, as on the computer that hands out the work").format(wanted=wanted),
                    fix=MENDS[field.name].format(souron=self.souron, torch=self.torch.partition("+")[0]),
                    exit=5,
                )


@cache
def code() -> str:
    """Return a hash of the Python files of souron's core, whatever is installed beside it."""
    root, hasher = Path(souron.__file__).parent, hashlib.blake2b(digest_size=16)
    for file in sorted(root.rglob("*.py")):
        name = file.relative_to(root).as_posix()
        if not distributions.distribution(name):
            hasher.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return hasher.hexdigest()


def play_all(
    comparison: Any, play: Callable[..., Any], folder: Path, on: str, delivery: Delivery | None = None
) -> Iterator[Event]:
    """Play the rounds that are missing in ``folder`` on an engine, and keep each as it arrives.

    ``play`` plays one on a worker, see ``compare.play``; a ``delivery`` brings it the data. Raises
    UserError.
    """
    rounds = folder / "rounds"
    agreement = Agreement.here(comparison.everything)
    missing = {
        number: (comparison.args, number, engine.threads(on), agreement, delivery.key if delivery else "")
        for number in range(len(comparison.rounds))
        if not (rounds / f"{number}.safetensors").exists()
    }
    begun, count = time.monotonic(), len(missing)
    for done, (number, (written, machine)) in enumerate(engine.gather(on, play, missing.items(), delivery=delivery), 1):
        files.write_bytes(rounds / f"{number}.safetensors", written)
        files.write_json(rounds / f"{number}{SUFFIX}", asdict(machine))
        comparison.spent += machine.seconds
        text = _("round {number} of {count}, on {machine}").format(
            number=number + 1, count=len(comparison.rounds), machine=machine.name
        )
        yield Event("train", done / count, left(begun, done / count), text)


@dataclass(frozen=True)
class Waiting:
    """A comparison whose rounds are played by jobs, or one of them has been."""

    folder: Path
    rounds: int
    script: Path | None = None

    @property
    def sentence(self) -> str:
        resume = f"souron compare --resume {shlex.quote(str(self.folder))}"
        if self.script is not None:
            return _("{count} rounds wait: sbatch {script}, and once all are over: {resume}").format(
                count=self.rounds, script=shlex.quote(str(self.script)), resume=resume
            )
        there = len(list((self.folder / "rounds").glob("*.safetensors")))
        return _("{there} of {count} rounds are there; once all are: {resume}").format(
            there=there, count=self.rounds, resume=resume
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "rounds": self.rounds,
            **({} if self.script is None else {"script": str(self.script)}),
            "sentence": self.sentence,
        }


SCRIPT = """#!/bin/bash
#SBATCH --job-name=souron
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task={threads}
#SBATCH --output={output}
export OMP_NUM_THREADS={threads}
exec {python} -m souron compare --resume {folder} round=$SLURM_ARRAY_TASK_ID --quiet
"""


def write_script(comparison: Any, folder: Path, script: Path) -> Waiting:
    """Write a job script with one task for each round.

    Raises UserError where the file exists, and for a folder whose name would end a line of the script.
    """
    if script.exists():
        raise UserError("exists", _("{path} exists already").format(path=script), fix="sbatch=FILE", exit=3)
    whole = folder.resolve()
    logs = str(whole / "rounds").replace("%", "%%")  # SLURM puts numbers in the place of %a and its like
    words = {
        "last": len(comparison.rounds) - 1,
        "threads": torch.get_num_threads(),
        "output": shlex.quote(engine.check_line(logs) + "/%a.log"),
        "python": shlex.quote(sys.executable),
        "folder": shlex.quote(str(whole)),
    }
    (whole / "rounds").mkdir(exist_ok=True)
    files.write_text(script, SCRIPT.format(**words))
    return Waiting(folder, len(comparison.rounds), script)


def play_alone(comparison: Any, folder: Path, number: int) -> Iterator[Event]:
    """Play one round into the folder of its comparison, on this machine. Raises UserError."""
    if number >= len(comparison.rounds):
        raise UserError(
            "option",
            _("{name}={value} is not understood").format(name="round", value=number),
            expected=f"0..{len(comparison.rounds) - 1}",
        )
    kept = folder / "rounds" / f"{number}.safetensors"
    if not kept.exists():
        seed, split = comparison.rounds[number]
        begun = time.monotonic()
        yield from comparison.play_round(number, seed, split, kept)
        shutil.rmtree(kept.with_suffix(""), ignore_errors=True)
        machine = measured(kept, torch.get_num_threads(), time.monotonic() - begun)
        files.write_json(kept.with_suffix(SUFFIX), asdict(machine))
    yield Event("done", 1.0, record=Waiting(folder, len(comparison.rounds)))


def measured(kept: Path, threads: int, seconds: float) -> Machine:
    """Return this machine, with its speed in a round and its load in the last minute."""
    _tensors, about = files.read_tensors(kept)
    trained = sum(seconds for _curve, seconds, _examples in about.values())
    examples = sum(examples for _curve, _seconds, examples in about.values())
    load = psutil.getloadavg()[0] / hardware.cores()
    return Machine(platform.node(), threads, examples / max(trained, 1e-9), seconds, load)
