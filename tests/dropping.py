"""Systems of one file each, dropped in beside souron's own: one for every kind that comes out."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import souron
from souron import registry
from souron.data import load, target
from souron.kinds.chat import Chat
from souron.kinds.codecs.notation import Note
from souron.kinds.mesh import Mesh
from souron.kinds.picture import Picture
from souron.kinds.question import Question
from souron.kinds.ranking import Ranking, Scored
from souron.kinds.score import Score
from souron.kinds.sound import Sound
from souron.kinds.table import Table
from souron.kinds.text import Text
from souron.kinds.video import Video
from souron.kinds.volume import Volume
from souron.lecture import rows
from souron.runs import folder as run_folder
from souron.studio import interactive
from souron.utils import files

SOURCE = '''"""Answers {given} with {gives}.

Somebody: A Paper (2020).
https://example.org/paper
"""

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import nn

from souron.kinds.{given_file} import {given}
from souron.kinds.{gives_file} import {gives_names}
from souron.kinds.signature import Choice
from souron.system import System
from souron.utils.messages import N_


@dataclass(frozen=True)
class Config:
    width: int = 1


class Answerer(System):
    task = "respond"
    year = 2020
    ja = "答えを返す"
    SIZES = {{"tiny": Config(), "small": Config()}}
    needs_fit = False

    def predict(
        self,
        given: {given},
        *,
        least: Annotated[float, Choice(N_("how sure it must be"), low=0, high=1)] = 0.25,
        count: Annotated[int, Choice(N_("how many"), 1, 5)] = 2,
        reach: Annotated[float, Choice(N_("how far"), low=0)] = 1,
        way: Annotated[str, Choice(N_("which way"), among=("up", "down"))] = "up",
        loud: Annotated[bool, Choice(N_("whether loud"))] = False,
        word: Annotated[str, Choice(N_("what to say"))] = "<b>",
    ) -> {gives}:
        {body}
'''

TASK = '''"""A task that only these systems have."""

from dataclasses import dataclass

from souron.task import Task


@dataclass(frozen=True)
class Spec:
    labels: tuple[str, ...] = ("bright",)


class Answering(Task):
    title = "answering"
    takes = None
    gives = None
    metrics = ()

    def spec(self, train):
        return Spec()

    def example(self, system, size):
        return Spec()

    def batch(self, rows, spec):
        return rows

    def answer(self, system, test, decision, setup, seed=0):
        return iter(())

    def scores(self, seeds, setup):
        return {}
'''

BODIES = {  # what comes out -> from what, and how
    "picture": ("picture", "return Picture(given.image.rotate(180 if way == 'down' else 0))"),
    "labels": ("picture", "return Labels(given.file, [word, '猫'], [1 - least, least])"),
    "boxes": (
        "picture",
        "found = [(word, 0.9), ('猫', 0.6), ('猫', 0.3)]\n"
        "        sure = [(name, score) for name, score in found if score >= least][:count]\n"
        "        box = [[i, 0, i + 4, given.size[1]] for i in range(len(sure))]\n"
        "        return Boxes(given, box, [n for n, _s in sure], [s for _n, s in sure])",
    ),
    "mask": (
        "picture",
        "area = torch.zeros(given.size[1], given.size[0], dtype=torch.long)\n"
        "        area[:3] = 1\n"
        "        area[-3:] = 2\n"
        "        return Mask(given, area, ['', word, '猫'])",
    ),
    "segments": (
        "picture",
        "ids = torch.zeros(given.size[1], given.size[0], dtype=torch.long)\n"
        "        ids[:3], ids[-3:] = 1, 2\n"
        "        return Segments(given, ids, [word, '猫'], [True, False])",
    ),
    "points": (
        "picture",
        "point = [[i, 2 * i] for i in range(count)]\n"
        "        return Points(given, point, [word] * count, [least] * count, [(0, 1)])",
    ),
    "poses": (
        "picture",
        "box = [[i, 0, i + 4, given.size[1]] for i in range(count)]\n"
        "        point = [[[i, 1], [i + 2, 3]] for i in range(count)]\n"
        "        return Poses(given, box, [word] * count, point, ['a', 'b'], [least] * count)",
    ),
    "gallery": ("picture", "return Gallery([given] * count, [word] * count)"),
    "video": ("video", "return Video(given.frames[::-1], given.rate)"),
    "sound": ("sound", "return Sound(given.samples * (0.9 if loud else 0.1), given.rate)"),
    "text": ("text", "return Text((given.text.upper() if loud else given.text) * count)"),
    "tokens": (
        "text",
        "raws = [letter.encode() for letter in given.text]\n"
        "        return Tokens.of(given.text, range(len(raws)), raws, [reach] * len(raws))",
    ),
    "chat": ("chat", "return given.said('assistant', word * count)"),
    "question": ("question", "return Question(given.text, given.options[::-1], word)"),
    "mesh": ("mesh", "return Mesh(given.vertices * reach, given.faces)"),
    "volume": ("volume", "return Volume(given.values * reach, given.affine)"),
    "labelled_volume": ("volume", "return LabelledVolume(given, (given.values > 0).astype(int), ['', word])"),
    "table": ("table", "return Table([*given.columns, word], [[*r, least] for r in given.rows])"),
    "page": (
        "text",
        "said = word.replace('<', '&lt;')\n"
        "        return Page(f'<h1>{said}</h1>', [f'heading ({word})'], given.text, (word,))",
    ),
    "spans": (
        "text",
        "marks = [Span(given.text[:1], word, 0, 1, least)] if given.text else []\n"
        "        return Spans(given.text, marks, given.file)",
    ),
    "score": ("score", "return replace(given, title=word, given=[loud] * len(given.tones))"),
    "plot": ("sound", "return Plot([Series(word, range(5), given.mono[:5])], 'time (s)', '音圧')"),
    "ranking": ("picture", "return Ranking.of([word, '猫', 'a'][:count + 1], [least, 0.9, 0.1][:count + 1], given)"),
    "before_after": (
        "picture",
        "return BeforeAfter(given, Picture(given.image.resize(\n"
        "            (given.size[0] * count, given.size[1] * count))))",
    ),
    "transcript": (
        "sound",
        "pieces = [Piece(0.5 * k, 0.5 * k + 0.4, word) for k in range(count)]\n"
        "        return Transcript(pieces, 'ja', given.seconds, 'srt' if loud else '')",
    ),
    "passages": (
        "text",
        "quote = Passage(given.text[:3], 0, len(given.text[:3]), least)\n"
        "        return Passages(word, [quote] * count, loud, given.text, given.file)",
    ),
}


def source(kind: str) -> str:
    """The file of the system that gives such things."""
    return written(BODIES[kind][0], kind, BODIES[kind][1])


def written(given: str, gives: str, body: str) -> str:
    """The file of a system from the names of its kinds and what its ``predict`` does."""
    kind = "".join(part.capitalize() for part in gives.split("_"))
    names = {
        "plot": "Plot, Series",
        "passages": "Passage, Passages",
        "spans": "Span, Spans",
        "transcript": "Piece, Transcript",
        "before_after": "BeforeAfter, Picture",
    }.get(gives, kind)
    return SOURCE.format(
        given=given.capitalize(), given_file=given, gives=kind, gives_file=gives, gives_names=names, body=body
    )


@contextmanager
def dropped(folder: Path, sources: dict[str, str], task: str = "respond") -> Iterator[None]:
    """Within the block, souron finds these files (name -> source) as its own systems."""
    place = folder / "elsewhere" / "souron" / "systems" / task
    place.mkdir(parents=True)
    for name, text in sources.items():
        (place / f"{name}.py").write_text(text, encoding="utf-8")
    tasks = place.parent.parent / "tasks"
    tasks.mkdir()
    (tasks / f"{task}.py").write_text(TASK, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(souron, "__path__", [*souron.__path__, str(place.parent.parent)])
        forget()
        importlib.invalidate_caches()
        try:
            yield
        finally:
            mine = (f"souron.systems.{task}", f"souron.tasks.{task}")
            for name in [name for name in sys.modules if name.startswith(mine)]:
                del sys.modules[name]
    forget()


@contextmanager
def put_in(folder: Path, files: dict[str, str], *packages: Any) -> Iterator[Path]:
    """Within the block, souron finds these files (``data/sets/spots.py`` -> text) as its own, also
    in ``packages``, which have a path of their own; yields the folder that stands for ``souron/``.
    """
    root = folder / "elsewhere" / "souron"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(souron, "__path__", [*souron.__path__, str(root)])
        for package in packages:
            part = package.__name__.partition(".")[2].replace(".", "/")
            patch.setattr(package, "__path__", [*package.__path__, str(root / part)])
        forget()
        importlib.invalidate_caches()
        try:
            yield root
        finally:
            mine = {Path(name).stem for name in files}
            for name in set(sys.modules) - before:
                if name.startswith("souron.") and name.rpartition(".")[2] in mine:
                    del sys.modules[name]
    forget()


def forget() -> None:
    """Let souron look at the folders anew."""
    for known in (
        registry.system_files,
        registry.entries,
        registry.tasks,
        registry.metrics,
        registry.load_task,
        registry.tasks_of_formats,
        registry._described_action,
        load.names,
        target.kinds,
        interactive.names,
        rows.rows,
        rows.chapters,
    ):
        known.cache_clear()


def made_run(folder: Path, name: str, system: Any, config: Any, seen: Any) -> Path:
    """A run's folder with a system's weights as they are."""
    args = {"system": name, "data": "digits", "config": run_folder.as_plain(config), "seen": run_folder.as_plain(seen)}
    run_folder.write_args(folder, args)
    files.write_tensors(folder / "weights" / "best.safetensors", system.state_dict(), {})
    return folder


def ramp(width: int = 40, height: int = 30) -> Picture:
    pixels = np.indices((height, width)).sum(0) * 3
    return Picture(Image.fromarray(pixels.astype(np.uint8)))


def tone(seconds: float = 0.1, rate: int = 8000) -> Sound:
    return Sound(0.5 * np.sin(np.arange(int(seconds * rate)) / 5), rate)


def film(count: int = 4) -> Video:
    frames = torch.arange(count)[:, None, None, None] * 40 + torch.zeros(1, 12, 16, 3)
    return Video(frames.to(torch.uint8).numpy(), 8.0)


def pyramid() -> Mesh:
    return Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def scanned() -> Volume:
    values = np.random.default_rng(0).integers(-1000, 2000, (5, 6, 8)).astype(np.int16)
    return Volume(values, [[0, 0, 0.7, -3], [0, 0.8, 0, 4], [1.5, 0, 0, 5], [0, 0, 0, 1]])


def tune() -> Score:
    """Two bars of three quarters in two parts, after a pickup."""
    low = [(1, 1.0 + 3 * bar, 3.0, 48 + 7 * bar) for bar in range(2)]
    high = [(0, float(place), 1.0, 67 + place) for place in range(7)]
    notes = [Note(*each) for each in sorted([*high, *low], key=lambda n: (n[1], n[0]))]
    return Score(notes, ("メロディー", "Bass"), 96.0, 3.0, 1.0, "調べ")


EXAMPLES: dict[str, Callable[[], Any]] = {  # of what goes in
    "picture": ramp,
    "video": film,
    "sound": tone,
    "text": lambda: Text("こんにちは, world"),
    "chat": lambda: Chat([("user", "やあ")]),
    "question": lambda: Question("骨は?", ("femur", "肝臓")),
    "mesh": pyramid,
    "volume": scanned,
    "score": tune,
    "ranking": lambda: Ranking([Scored("猫", 0.3), Scored("犬", 0.2)]),
    "table": lambda: Table(["名前", "x"], [["あ, b", "1"], ["c", "2"]]),
}
