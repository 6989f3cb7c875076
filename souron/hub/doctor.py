"""``souron doctor``: the capabilities of this machine, and missing parts."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from souron import registry
from souron.utils import units
from souron.utils.hardware import bf16, devices, facts, installed
from souron.utils.messages import _


def diagnosis(machine: dict[str, Any]) -> list[tuple[str, str]]:
    """Describe the machine as pairs of title and text."""
    packages = {name: number or _("missing") for name, number in machine["packages"].items()}
    here = [name for name, place in machine["data"].items() if place]
    away = [name for name, place in machine["data"].items() if not place]
    return [
        ("souron", packages.pop("souron")),
        (_("versions"), ", ".join([f"Python {machine['python']}", *(f"{n} {v}" for n, v in packages.items())])),
        (_("platform"), machine["platform"]),
        (
            _("processor"),
            _("{name}; cores: {cores}, threads: {threads}").format(
                name=machine["processor"], cores=machine["cores"], threads=machine["threads"]
            ),
        ),
        (
            _("numbers"),
            _("bfloat16 where it is safe: this processor is made for it")
            if machine["bf16"]
            else _("float32: this processor has no fast bfloat16"),
        ),
        (_("devices"), ", ".join(machine["devices"])),
        (
            _("memory"),
            _("{total}, {free} free").format(
                total=units.size(machine["memory"]), free=units.size(machine["memory_free"])
            ),
        ),
        (
            _("run folder"),
            _("{folder}, {free} free").format(folder=machine["folder"], free=units.size(machine["disk_free"])),
        ),
        (
            _("Japanese font"),
            machine["japanese_font"] or _("no Japanese font: images show boxes; try: pip install matplotlib-fontja"),
        ),
        (_("network"), _("forbidden by SOURON_OFFLINE") if machine["offline"] else _("used by souron fetch alone")),
        (_("data here"), " ".join(here)),
        (_("data to fetch"), " ".join(away)),
        (_("weights here"), " ".join(machine["can_predict"]) or _("none; see souron fetch --list")),
        (_("can train"), " ".join(machine["can_train"])),
        (_("engines"), _engines(machine["engines"])),
    ]


ENGINES = ("openvino", "nncf", "onnxruntime")  # which report their use unless told not to


def _engines(versions: dict[str, str | None]) -> str:
    """Name the engines of faster answers, and whether they report their use."""
    here = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if not here:
        return _('PyTorch alone; faster answers: pip install "souron[fast]"')
    return _("{names}; their usage reports are switched off").format(names=here)


LEAST_MEMORY, LEAST_DISK = 10**9, 5 * 10**8  # bytes, free


def diagnose(project: Path) -> dict[str, Any]:
    """Return ``facts`` and whether souron can work here, as ``souron doctor`` shows them.

    ``troubles`` lists obstacles in the reader's language; ``usable`` is true without any. ``data``
    and ``weights`` give locations, None where not fetched.
    """
    import torch

    from souron.data import load
    from souron.hub import fetch
    from souron.utils import files, fonts

    machine = facts()
    there = next(folder for folder in [project, *project.absolute().parents] if folder.exists())
    writable, room = can_write(there), shutil.disk_usage(there).free
    items = fetch.fetchable().values()
    weights = {item.name: fetch.where(item.name) for item in items if item.sort == "weights"}
    hindrances = [
        (not writable, _("nothing can be written in {folder}").format(folder=there)),
        (room < LEAST_DISK, _("less than {gigabytes} GB of disk are free").format(gigabytes=0.5)),
        (machine["memory_free"] < LEAST_MEMORY, _("less than {gigabytes} GB of memory are free").format(gigabytes=1)),
    ]
    troubles = [text for hinders, text in hindrances if hinders]
    japanese = [family for family in fonts.families() if family != fonts.LATIN]
    return {
        **machine,
        "threads": torch.get_num_threads(),
        "bf16": bf16(),
        "devices": devices(),
        "folder": project.absolute(),
        "writable": writable,
        "disk_free": room,
        "japanese_font": next(iter(japanese), None),
        "offline": bool(os.environ.get("SOURON_OFFLINE")),
        "cache": files.cache_folder(),
        "data": {entry.name: entry.where() for entry in load.names().values()},
        "weights": weights,
        "can_train": [] if troubles else list(registry.entries()),
        "can_predict": [name for name, file in weights.items() if file],
        "engines": {name: installed(name) for name in ENGINES},
        "troubles": troubles,
        "usable": not troubles,
    }


def can_write(folder: Path) -> bool:
    """Return whether a file can be created; tested, as permissions can mislead on some
    file systems.
    """
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
