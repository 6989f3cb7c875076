"""Use a system: any run or published weights, on one's own files."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from souron import evaluating, fetching, finding, running, saving
from souron.kinds import image
from souron.kinds.labels import Labels
from souron.records import DrawnRecord, Measure, RunRecord
from souron.speaking import Trouble, _


def load(name: str | Path, pretrained: bool = False) -> "Model":
    """A run's folder, or a system's name; ``pretrained`` brings its published weights."""
    folder = Path(name)
    if (folder / "args.yaml").exists():
        return Model(str(name), saving.load(folder), folder)
    kind, config = finding.system(str(name))
    if not pretrained:
        return Model(str(name))
    if kind.task != "classify":
        raise Trouble("task", _("{name} has no published weights").format(name=name))
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    from souron.tasks.classify import Seen

    source = kind.published(finding.split(str(name))[1], config)
    weights = fetching.weights(str(name), source)
    mean, std = fetching.normalisation(source)
    seen = Seen(3, 224, tuple(_IMAGENET_CATEGORIES), mean, std)
    system = kind(config, seen)
    saving.fill(system, weights, Path(str(name)))
    return Model(str(name), system.eval())


@dataclass
class Model:
    """A system to hold in one's hand: ``model("cat.jpg").top5``, ``model.train(data=...)``."""

    name: str
    system: Any = None  # None: nothing learnt yet
    folder: Path | None = None

    def __call__(self, *files: str | Path) -> Any:
        """What it says of each file: a ``Labels`` for one, a list for several files or
        frames. Raises Trouble."""
        answers = []
        for _file, answer in predict(self, files):
            if isinstance(answer, Trouble):
                raise answer
            answers.append(answer)
        return answers[0] if len(answers) == 1 else answers

    def train(self, data: str | Path | None = None, **options: Any) -> RunRecord:
        """``running.train`` of this system; the model is the trained one afterwards."""
        record = running.train(self.name, data, **options)
        self.system, self.folder = record.model, record.folder
        return record

    def val(self, data: str | Path | None = None) -> dict[str, Measure]:
        """``evaluating.evaluate`` of this run. Raises Trouble before it was trained."""
        return evaluating.evaluate(self._trained(), data)

    def generate(self, count: int = 64, seed: int = 0, **options: Any) -> DrawnRecord:
        """``generating.generate`` of this run. Raises Trouble before it was trained."""
        from souron import generating

        return generating.generate(self._trained(), count, seed, **options)

    def _trained(self) -> Path:
        if self.folder is None:
            raise Trouble(
                "not trained",
                _("{name} has not been trained yet").format(name=self.name),
                fix=f"model.train(data=...), souron train {self.name}",
            )
        return self.folder

    fit, evaluate = train, val


def predict(model: Model, files: Sequence[str | Path]) -> Iterator[tuple[Path, Labels | Trouble]]:
    """What ``model`` says of each file; an unreadable one gets its Trouble and stops nothing. Each
    frame of a DICOM file with several gets an answer of its own, ``scan.dcm#3``."""
    if model.system is None or model.system.task != "classify":
        raise Trouble(
            "not trained",
            _("{name} cannot label pictures: it has not learnt to").format(name=model.name),
            expected=_("a classifier's run, or a system with pretrained=true"),
            fix=f"souron train {model.name}",
        )
    system = model.system.eval()
    side = system.seen.side
    window = saving.read_args(model.folder).get("window") if model.folder else None
    for path in find(files):
        try:
            frames = image.look(path).frames
            for number, read in enumerate(image.frames(path, about=side, window=window), 1):
                picture = image.square(read, side, system.seen.channels)
                with torch.inference_mode():
                    batch = system.prepare(picture[None], torch.zeros(1, dtype=torch.long))
                    probability = system(batch.image).float().softmax(1)[0]
                name = path if frames == 1 else path.with_name(f"{path.name}#{number}")
                yield name, Labels(str(name), system.seen.labels, tuple(probability.tolist()))
        except Trouble as trouble:
            yield path, trouble


def find(files: Sequence[str | Path]) -> Iterator[Path]:
    """Files as they are, all files of a folder, what a glob matches; sorted within each."""
    for name in files:
        path = Path(name)
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file() and p.name[0] != ".")
        elif path.exists() or not glob.has_magic(str(name)):
            yield path
        else:
            # unlike Path.glob it takes patterns that begin at the root
            yield from sorted(map(Path, glob.glob(str(name), recursive=True)))  # noqa: PTH207
