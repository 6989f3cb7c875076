"""Name -> file -> class. There is no list of systems to edit: a file in ``systems/`` is a system.

``resnet`` is the file ``systems/classify/resnet.py`` at its size ``small``; ``resnet152`` and
``yolo_n`` name a size too. What a table shows of a system is read from its source without
importing it, so that ``souron list`` does not wait for torch.
"""

import ast
import difflib
import importlib
import inspect
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from souron.utils.files import package_folders
from souron.utils.messages import UserError, _, language


@dataclass(frozen=True)
class Entry:
    """A system as its file describes it."""

    name: str
    task: str
    idea: str  # English
    ja: str  # Japanese
    year: int
    paper: str  # authors, title, year, as in the file
    url: str
    sizes: tuple[str, ...]
    status: str
    file: Path
    about: str  # the whole docstring
    weights: dict[str, str]  # size -> its published weights, as fetching names them


@lru_cache
def entries() -> dict[str, Entry]:
    """Every system, by name, in the order of task and year."""
    found = [
        describe(file)
        for folder in package_folders("systems")
        for file in sorted(folder.glob("*/*.py"))
        if not file.name.startswith("_")
    ]
    return {entry.name: entry for entry in sorted(found, key=lambda e: (e.task, e.year, e.name))}


def describe(file: Path) -> Entry:
    """Read a system's file without running it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    about = ast.get_docstring(tree) or ""
    values: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
                    values[item.targets[0].id] = item.value
                elif isinstance(item, ast.AnnAssign) and item.value is not None:
                    values[getattr(item.target, "id", "")] = item.value

    sizes = values.get("SIZES", ast.Dict([], []))
    assert isinstance(sizes, ast.Dict), f"{file}: SIZES is a plain dict"

    def value(name: str, default: Any) -> Any:
        return ast.literal_eval(values[name]) if name in values else default

    paragraphs = re.split(r"\n\s*\n", about)
    paper = " ".join(paragraphs[1].split()) if len(paragraphs) > 1 else ""
    url = re.search(r"https?://\S+", paper)
    return Entry(
        name=file.stem,
        task=file.parent.name,
        idea=about.partition("\n")[0],
        ja=value("ja", ""),
        year=value("year", 0),
        paper=re.sub(r"\s*https?://\S+", "", paper),
        url=url.group().rstrip(".") if url else "",
        sizes=tuple(ast.literal_eval(key) for key in sizes.keys if key),
        status=value("status", "faithful"),
        file=file,
        about=about,
        weights=value("WEIGHTS", {}),
    )


def find(name: str) -> tuple[Entry, str]:
    """``"resnet152"`` -> the entry ``resnet`` and its size ``"152"``; ``"small"`` without one."""
    everything = entries()
    if name in everything:
        return everything[name], "small"
    for entry in sorted(everything.values(), key=lambda e: -len(e.name)):
        size = name.removeprefix(entry.name).lstrip("_-")
        if name.startswith(entry.name) and size in entry.sizes:
            return entry, size
    known = [*everything, *(full_name(e, size) for e in everything.values() for size in e.sizes)]
    near = difflib.get_close_matches(name, dict.fromkeys(known), 3, 0.5)
    raise UserError(
        "system",
        _("no system is named {name!r}").format(name=name),
        expected=", ".join(near or everything),
        fix=f"souron show {near[0]}" if near else "souron list",
    )


def full_name(entry: Entry, size: str) -> str:
    """The name of a system at a size: ``resnet152``, ``vit_tiny``, ``resnet`` for its small."""
    if size == "small":
        return entry.name
    return entry.name + size if size[0].isdigit() else f"{entry.name}_{size}"


def load_system(name: str) -> tuple[Any, Any]:
    """The class, and the config of the size that the name asks for. Imports torch."""
    entry, size = find(name)
    module = importlib.import_module(f"souron.systems.{entry.task}.{entry.name}")
    found = system_class(module)
    return found, found.SIZES[size]


def system_class(module: ModuleType) -> Any:
    """The one system that a file defines."""
    own = [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing)
        and hasattr(thing, "SIZES")
        and thing.__module__ == module.__name__
    ]
    assert len(own) == 1, f"{module.__name__} defines {len(own)} systems; one file, one system"
    return own[0]


def status(entry: Entry) -> str:
    return {
        "faithful": _("faithful"),
        "reduced": _("reduced"),
        "pretrained": _("pretrained"),
    }[entry.status]


def entry_as_json(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "task": entry.task,
        "year": entry.year,
        "paper": entry.paper,
        "url": entry.url,
        "idea": {"en": entry.idea, "ja": entry.ja},
        "sizes": list(entry.sizes),
        "status": entry.status,
    }


def differs(entry: Entry) -> str:
    """The paragraph of a system's docstring that begins "Differs from the paper"."""
    found = re.search(r"Differs from the paper[,:]?\s*(.*?)(\n\s*\n|\Z)", entry.about, re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def about(entry: Any) -> str:
    """A system's or data set's idea in the reader's language."""
    return entry.ja if language() == "ja" and entry.ja else entry.idea


def task_name(task: str) -> str:
    """What is asked, in the reader's language."""
    return {
        "classify": _("classification"),
        "generate": _("generation"),
        "cluster": _("clustering"),
    }.get(task, task)
