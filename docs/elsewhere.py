"""Export every system in every format, and write the table of ``elsewhere.md``: ``python docs/elsewhere.py [NAMES]``.

Each system is built in its size ``tiny`` with random weights, exported, and the folder's own ``run.py --check`` is run
by a Python that has no souron. What passed is noted in ``elsewhere.json``; with NAMES only these systems are tried
again. ``packages/fast/tests/test_export.py`` compares the page with the notes, and the notes with what it exports
itself.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import torch  # noqa: E402
from shapes import cases_for  # noqa: E402

from souron import registry  # noqa: E402
from souron.blocks.portable import portable_of  # noqa: E402
from souron.exports import export as exports  # noqa: E402
from souron.runs import folder as run_folder  # noqa: E402
from souron.utils import files  # noqa: E402
from souron.utils.messages import UserError, use_language  # noqa: E402

PAGE, NOTES = (ROOT / "docs" / name for name in ("elsewhere.md", "elsewhere.json"))
PACKAGES = ("torch", "openvino", "onnx", "onnxruntime")
LONGEST = 120  # characters of a reason
RARE = ("detect", "pose")  # tasks whose scores begin near 0, all alike
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"
SHUT = """
import runpy, sys
sys.modules["souron"] = None
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    assert not [name for name in sys.modules if name.startswith("souron.")]
"""  # runs a file where importing souron fails


def built(entry: Any) -> Any:
    """A system in its smallest size, with random weights."""
    from souron.data import load

    kind = registry.load_system(registry.full_name(entry, "tiny"))[0]
    torch.manual_seed(0)
    system = kind(kind.SIZES["tiny"], kind.spec_for(cases_for(entry.task, load.load("digits"), 64)))
    if entry.task in RARE and system.last_layers and not kind.blocked:
        widen(system)
    return system


@torch.no_grad()
def widen(system: Any) -> None:
    """Give the scores of an untrained detector a spread, beside which rounding is small."""
    for name, layer in system.named_modules():
        if name in system.last_layers:
            for weight in layer.parameters():
                if weight.ndim > 1:
                    torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0  # the statistics of what follows
    network = getattr(system.train(), "predicted", system)
    network(torch.rand(8, system.spec.channels, system.spec.side, system.spec.side))


def run_of(entry: Any, place: Path) -> Path:
    """The folder of a run of such a system, whose data is gone."""
    system = built(entry)
    args = {
        "system": registry.full_name(entry, "tiny"),
        "config": run_folder.as_plain(system.config),
        "seen": run_folder.as_plain(system.spec),
        "data": str(place / "gone"),
    }
    run_folder.write_args(place, args)
    files.write_tensors(place / "weights" / "best.safetensors", system.state_dict(), {})
    return place


def outside(file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run an exported program in its folder, without souron."""
    home = {"HOME": str(file.parent), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    return subprocess.run(
        [sys.executable, "-I", "-c", SHUT, str(file), *words],
        cwd=file.parent,
        env=home,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def reason(entry: Any) -> str:
    """Why a system cannot be exported; "" where it can."""
    kind = registry.load_system(registry.full_name(entry, "tiny"))[0]
    if kind.blocked:
        return str(kind.blocked)
    try:
        portable_of(built(entry).eval())
    except UserError as error:
        return error.found.partition(": ")[2]
    return ""


def tried(entry: Any, formats: list[str]) -> dict[str, Any]:
    """Format -> what became of the system in it."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stderr(io.StringIO()):
        run = run_of(entry, Path(place))
        for format in formats:
            try:
                made = exports.export(run, format)
            except UserError as error:
                found[format] = {"why": f"{error.code}: {error.found}"}
                continue
            done = outside(Path(made.folder) / "run.py", "--check")
            if done.returncode:
                found[format] = {"why": (done.stdout + done.stderr)[-300:]}
                continue
            worst = max(made.max_difference, json.loads(done.stdout)["max_difference"])
            found[format] = {"worst": float(f"{worst:.1e}"), "batch": made.batch}
    return found


def table(notes: dict[str, Any]) -> str:
    """The systems that can be exported, by task, and below them the others with their reasons."""
    formats = exports.format_names()
    entries = sorted(registry.entries().values(), key=lambda one: (one.task, one.year, one.name))
    others = [entry for entry in entries if notes[entry.name].get("blocked")]
    rows = ["| task | system | " + " | ".join(formats) + " | difference |", "|" + "---|" * (3 + len(formats))]
    rows += [
        f"| `{entry.task}` | `{entry.name}` | {' | '.join(cells(notes[entry.name], formats))} |"
        for entry in entries
        if entry not in others
    ]
    reasons = ["| task | system | blocked, since |", "|---|---|---|"]
    reasons += [f"| `{entry.task}` | `{entry.name}` | {notes[entry.name]['blocked']} |" for entry in others]
    return "\n".join([*rows, "", "These are blocked in every format:", "", *reasons]) + "\n"


def cells(note: dict[str, Any], formats: list[str]) -> Iterator[str]:
    for one in (note[format] for format in formats):
        if "why" in one:
            yield f"blocked: {shortened(one['why'])}"
        else:
            yield "validated" if one["batch"] == "any" else "validated, one case at a time"
    worst = [note[format]["worst"] for format in formats if "worst" in note[format]]
    yield f"{max(worst):.6f}" if worst else ""


def shortened(why: str) -> str:
    """The first line of a reason as a cell, cut after a word where it is long."""
    return textwrap.shorten(why.strip().splitlines()[0].replace("|", "/"), LONGEST, placeholder=" …")


def written(notes: dict[str, Any]) -> str:
    """The page with the table of these notes."""
    text = PAGE.read_text(encoding="utf-8")
    before, _begin, rest = text.partition(BEGIN)
    _table, end, after = rest.partition(END)
    assert end, f"{PAGE.name} has no place for a table"
    return f"{before}{BEGIN}\n{table(notes)}\n{END}{after}"


def main(names: list[str]) -> None:
    notes = json.loads(NOTES.read_text(encoding="utf-8")) if names else {}
    formats = exports.format_names()
    with use_language("en"):
        for entry in registry.entries().values():
            if names and entry.name not in names:
                continue
            why = reason(entry)
            notes[entry.name] = {"blocked": why} if why else tried(entry, formats)
            print(entry.task, entry.name, notes[entry.name], flush=True)
            notes["versions"] = {name: metadata.version(name) for name in PACKAGES}
            files.write_json(NOTES, notes)
    PAGE.write_text(written(notes), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
