"""CONTRIBUTING.md keeps its word: a task is one file, with its metrics, its section, its format and
its systems; dropped into a folder of its own, it lists, trains, resumes, evaluates and compares."""

import importlib
import json
import sys

import pytest
import torch
from dropping import forget
from PIL import Image

import souron
from souron import registry
from souron.cli import main
from souron.runs import compare, evaluate, train
from souron.utils.messages import UserError

TASK = '''"""Locate: a picture in, one box out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.kinds.boxes import Boxes
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.metrics.locating import overlap
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Step, Task
from souron.utils.messages import N_


@dataclass(frozen=True)
class Spec:
    channels: int
    side: int


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in 0..1
    box: Tensor  # (B, 4) left, top, right, bottom in shares of the side


class Locator(System):
    """``forward`` maps pictures to boxes (B, 4)."""

    task = "locate"

    def loss(self, batch):
        return F.mse_loss(self(batch.image), batch.box)


@dataclass(frozen=True)
class Options:
    enough: Annotated[float, Choice(N_("overlap of a hit"), low=0, high=1)] = 0.5


class Locating(Task):
    title = N_("locating")
    takes = Picture
    gives = Boxes
    metrics = (
        Metric(N_("overlap"), unit="share", headline=True),
        Metric(N_("share of hits"), unit="share"),
    )
    watches = "overlap"
    default_data = "spots"
    formats = ("boxes_txt",)

    def spec(self, train):
        return Spec(train.channels, train.side)

    def example(self, system, size):
        return Spec(1, 16)

    def batch(self, rows, spec):
        return Batch(rows.input.float() / 255, rows.target)

    @torch.inference_mode()
    def validate(self, system, data):
        found = [overlap(system(batch.image), batch.box) for batch in data.once()]
        return {"overlap": torch.cat(found)}

    @torch.inference_mode()
    def answer(self, system, test, decision, setup, seed=0) -> Iterator[Step]:
        boxes = [system(batch.image) for batch in system.loader(test).once()]
        yield Step(1.0, result={"box": torch.cat(boxes)})

    def scores(self, seeds, setup) -> dict[str, Any]:
        shared = torch.stack([overlap(seed["box"], setup.test.target) for seed in seeds])
        hits = (shared >= setup.options.enough).float()
        return {"overlap": shared.numpy(), "share of hits": hits.numpy()}

    def result(self, trainings, setup):
        return len(trainings.answers[0]["box"])
'''
METRIC = '''"""Overlap of boxes."""


def overlap(first, second):
    """Intersection over union of boxes (N, 4)."""
    low = first[:, :2].maximum(second[:, :2])
    high = first[:, 2:].minimum(second[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    areas = [(box[:, 2:] - box[:, :2]).clamp(min=0).prod(1) for box in (first, second)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=1e-9)
'''
SECTION = '''"""What the reports say of boxes."""

from souron.report.blocks import Section


def run(record):
    return [Section("boxes", "Boxes", [f"{record.details} boxes were found."])]
'''
DATA = '''"""Bright spots on dark squares, with their boxes."""

import torch

from souron.data.dataset import Dataset

ja = "暗い正方形の上の明るい点と枠"
task = "locate"
licence = "CC0"
source = "https://example.org/spots"
cases = 120
ships_with = "torch"


def load(side=None):
    side = side or 16
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, side // 2, (cases, 2), generator=generator)
    box = torch.cat([corner, corner + side // 2], 1)
    image = torch.zeros(cases, 1, side, side, dtype=torch.uint8)
    for row, (left, top, right, bottom) in enumerate(box.tolist()):
        image[row, 0, top:bottom, left:right] = 200
    return Dataset("spots", image, box / side, (), [f"{i}" for i in range(cases)])
'''
FORMAT = '''"""Pictures with boxes in ``boxes.txt``: ``name left top right bottom``, in pixels."""

import numpy as np
import torch
from PIL import Image

from souron.data.dataset import Dataset


def describes(path):
    return (path / "boxes.txt").is_file()


def load(path, reading):
    rows = [line.split() for line in (path / "boxes.txt").read_text().splitlines()]
    files = [row[0] for row in rows]
    pictures = [np.array(Image.open(path / file).convert("L")) for file in files]
    box = torch.tensor([[float(edge) for edge in row[1:]] for row in rows])
    grey = torch.from_numpy(np.stack(pictures))[:, None]
    return Dataset(path.name, grey, box / grey.shape[-1], (), files)
'''
SYSTEM = '''"""One weight for every pixel and edge.

Somebody: A Line (2020).
https://example.org/line
"""

from dataclasses import dataclass

from torch import nn

from souron.tasks.locate import Locator, Spec


@dataclass(frozen=True)
class Config:
    rate: float = 3e-3


class Liner(Locator):
    year = 2020
    ja = "画素と辺ごとに重みを一つもつ"
    SIZES = {{"tiny": Config(), "small": Config({rate})}}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.fc = nn.Linear(spec.channels * spec.side**2, 4)

    def forward(self, image):
        return self.fc(image.flatten(1)).sigmoid()
'''


@pytest.fixture
def task(tmp_path, monkeypatch):
    """The files of the task, in a folder of their own."""
    root = tmp_path / "elsewhere" / "souron"
    for name, text in {
        "tasks/locate.py": TASK,
        "metrics/locating.py": METRIC,
        "report/sections/locate.py": SECTION,
        "data/sets/spots.py": DATA,
        "data/formats/boxes_txt.py": FORMAT,
        "systems/locate/liner.py": SYSTEM.format(rate=""),
        "systems/locate/slow.py": SYSTEM.format(rate="rate=1e-9").replace("Liner", "Slow"),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    before = set(sys.modules)
    monkeypatch.setattr(souron, "__path__", [*souron.__path__, str(root)])
    from souron.data import load

    forget()
    load.names.cache_clear()
    importlib.invalidate_caches()
    yield root
    for name in set(sys.modules) - before:
        if name.rpartition(".")[2] in ("locate", "locating", "spots", "boxes_txt", "liner", "slow"):
            del sys.modules[name]
    monkeypatch.undo()
    forget()
    load.names.cache_clear()


def test_a_task_dropped_in_lists_trains_evaluates_compares_and_reports(task, capsys):
    assert main.run(["list", "--json"]) == 0
    assert "liner" in {entry["name"] for entry in json.loads(capsys.readouterr().out)}
    record = train.train("liner", budget="60ep", batch=16)
    assert record.measures["overlap"].value > 0.5 and record.data == "spots"
    assert list(record.curve[-1])[-1] == "val overlap"
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    assert 'id="boxes"' in page and "boxes were found" in page
    again = evaluate.evaluate(record.folder)
    assert again == record.measures
    strict = evaluate.evaluate(record.folder, enough=0.99)
    assert strict["share of hits"].value < record.measures["share of hits"].value
    fought = compare.compare(["liner", "slow"], "spots", budget="40ep", seeds=2, batch=16)
    assert fought.rows[0].system == "liner" and "overlap" in fought.sentence
    assert registry.metric("overlap").text(0.5) == "50.0 %"
    assert main.run(["train", "liner", "folds=3"]) == 2
    assert "folds" in capsys.readouterr().err


def test_its_own_format_reads_a_folder_that_others_would_take(task, tmp_path):
    lines = []
    for number in range(40):
        image = Image.new("L", (16, 16))
        left, top = number % 8, number // 8
        image.paste(200, (left, top, left + 8, top + 8))
        (tmp_path / "boxes").mkdir(exist_ok=True)
        image.save(tmp_path / "boxes" / f"{number}.png")
        lines.append(f"{number}.png {left} {top} {left + 8} {top + 8}")
    (tmp_path / "boxes" / "boxes.txt").write_text("\n".join(lines))
    record = train.train("liner", tmp_path / "boxes", budget="20ep", batch=8)
    assert record.measures["overlap"].value > 0.3 and record.test.file[0].endswith(".png")
    with pytest.raises(UserError, match="data"):
        train.train("liner", tmp_path)


def test_an_interrupted_run_of_it_goes_on_to_the_same_weights(task, monkeypatch):
    whole = train.train("liner", budget="20ep", batch=16)
    from souron.runs import events
    from souron.training.trainer import Trainer

    go = Trainer.go

    def stopped(self, *given):
        go(self, 0.02)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "go", stopped)
        train.train("liner", budget="20ep", batch=16, name="broken")
    again = events.last(train.training(resume="runs/locate/broken"))
    kept = again.model.state_dict()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, kept[name])


@pytest.mark.parametrize(
    "before, after, expected",
    [
        ('    title = N_("locating")\n', "", "title"),
        ("def batch(self, rows, spec)", "def batch(self, rows)", "batch(self, rows, spec)"),
        ('Metric(N_("overlap"), unit', "Metric(NAME, unit", ""),
        ('formats = ("boxes_txt",)', 'formats = ("boxes_xml",)', "boxes_txt, captions"),
    ],
)
def test_a_task_file_that_breaks_the_contract_is_named_with_its_line(task, before, after, expected, capsys):
    assert before in TASK
    file = task / "tasks" / "locate.py"
    file.write_text(TASK.replace(before, after), encoding="utf-8")
    forget()
    assert main.run(["train", "liner"]) == 2
    error = capsys.readouterr().err
    assert "[task file]" in error and "locate.py" in error and ", line " in error
    assert expected in error
