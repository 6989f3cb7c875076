"""Records of runs, comparisons and generated images, as they are saved, reported and printed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset, Skipped
from souron.data.quality import warnings as data_warnings
from souron.data.quality.warnings import DataWarning
from souron.evaluation.answers import Answers
from souron.kinds.labels import Labels
from souron.metrics.ranking import Judged, Ranking
from souron.stats.records import Measure
from souron.utils import units


@dataclass(frozen=True)
class Cost:
    """Time and memory, estimated or measured."""

    seconds: float  # of training
    bytes: int  # peak resident memory of the process


NO_FORECAST = Cost(0.0, 0)  # where it was skipped


@dataclass(repr=False)
class RunRecord:
    """One run from data to measures; ``folder`` holds all of it as files."""

    folder: Path
    system: str  # as requested: "resnet18"
    data: str  # as requested: "fashion", "photos/"
    task: str
    seed: int
    config: dict[str, Any]
    seen: dict[str, Any]
    parameters: int
    flops: int  # multiply-adds times two, of one forward pass of one case
    measures: dict[str, Measure]  # on the test part
    curve: list[dict[str, float]]  # rows of results.csv: step, epoch, seconds, examples, losses, val
    forecast: Cost
    outcome: Cost
    stopped: str  # "budget", "patience"
    parts: dict[str, int]  # train, val, test -> cases
    skipped: tuple[Skipped, ...] = ()
    leaking: tuple[str, ...] = ()  # files outside training that are also in another part
    torn: tuple[str, ...] = ()  # groups (patients) in more than one part
    doubtful: tuple[str, ...] = ()  # files outside training that may be altered copies of another part's
    grouped: str = ""  # source of the groups; see ``messages.again`` for another language
    patients: str = ""  # a sentence on how patients are identified, or the risk if they are not
    receipt: dict[str, Any] = field(default_factory=dict)  # versions, machine, data hash, options
    test: Dataset | None = None  # the test cases, for images
    answers: list[Answers] = field(default_factory=list)  # one per repeat, for the test cases
    details: Any = None  # content of the task's section of the report; ``as_json`` if it has one
    film: list[Tensor] = field(default_factory=list)  # (B, C, H, W) uint8 each: time lapse
    folds: int = 1  # of cross-validation, with few cases
    trainings: int = 1  # of the cross-validation, including the final network's
    reduced: str = ""  # what was left out to save time
    worked: float | None = None  # CPU seconds of training; None if
    # another device computes
    internal: dict[str, Measure] = field(default_factory=dict)  # on the run's own test cases, where
    # other data was measured
    unlike: float | None = None  # share of test cases beyond the familiarity threshold, see
    # ``evaluation.familiarity``; None without a check
    model: Any = None
    engine: str = "eager"  # what computed the answers, see ``inference.engine``
    notes: list[str] = field(default_factory=list)  # shown at the top of the report
    warnings: Sequence[DataWarning] = ()  # of the data check, shown above them

    def __repr__(self) -> str:
        """Return one line for the Python prompt; all figures are in the fields."""
        first = next(iter(self.measures.items()), None)
        measure_text = ""
        if first is not None:
            name, measure = first
            ends = units.ends(f"{measure.low:.3f}", f"{measure.high:.3f}")
            measure_text = f", {name} {measure.value:.3f} ({ends})"
        return f"<RunRecord {self.folder}: {self.system} on {self.data}{measure_text}>"

    def _repr_html_(self) -> str:
        return registry.notebook_html("run", self)

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``souron train --json`` prints."""
        return {
            "run": str(self.folder),
            "system": self.system,
            "data": self.data,
            "measures": {name: asdict(measure) for name, measure in self.measures.items()},
            "engine": self.engine,
            "train_seconds": self.outcome.seconds,
            **({} if self.worked is None else {"processor_seconds": round(self.worked, 3)}),
            "forecast": asdict(self.forecast),
            "outcome": asdict(self.outcome),
            "skipped": [asdict(skip) for skip in self.skipped],
            **({"patients": self.patients} if self.patients else {}),
            "notes": self.notes,
            **data_warnings.as_json(self.warnings, self.folder),
            **({} if self.unlike is None else {"unlike": self.unlike}),
            **(self.details.as_json() if hasattr(self.details, "as_json") else {}),
        }


@dataclass
class DrawnRecord:
    """Images that a run generated, as files."""

    folder: Path
    run: Path
    system: str
    seed: int
    count: int
    seconds: float  # of generation and writing
    files: list[Path]  # of the images and of everything made from them
    settings: dict[str, Any] = field(default_factory=dict)  # prompt, steps, guidance, ...
    notes: list[str] = field(default_factory=list)
    obedience: dict[str, Any] = field(default_factory=dict)  # attribute -> requested value, and its
    # probability predicted from the first image

    def _repr_html_(self) -> str:
        return registry.notebook_html("drawn", self)

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``souron generate --json`` prints."""
        return {
            "run": str(self.run),
            "system": self.system,
            "seed": self.seed,
            "count": self.count,
            "seconds": round(self.seconds, 3),
            "folder": str(self.folder),
            "files": [str(file) for file in self.files],
            **{name: str(value) if isinstance(value, Path) else value for name, value in self.settings.items()},
            **({"notes": self.notes} if self.notes else {}),
            **({"obedience": self.obedience} if self.obedience else {}),
        }


@dataclass
class ReadyRecord:
    """Answers and images of the ready-trained systems."""

    folder: Path  # holds ready.html
    examples: dict[str, list[Path]] = field(default_factory=dict)  # system -> its input files;
    # for a classifier named after the classes
    answers: dict[str, list[Any]] = field(default_factory=dict)  # system -> per example
    # labels, boxes, a mask, ...
    drawings: dict[str, Tensor] = field(default_factory=dict)  # generator -> (B, C, H, W) uint8
    prompts: dict[str, list[str]] = field(default_factory=dict)  # prompts of each generator, if any
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "page": str(self.folder / "ready.html"),
            "answers": {
                name: [answer.best if isinstance(answer, Labels) else str(answer) for answer in answers]
                for name, answers in self.answers.items()
            },
            "drawn": {name: len(images) for name, images in self.drawings.items()},
            "seconds": round(self.seconds, 3),
        }


@dataclass(repr=False)
class ComparisonRecord(Judged):
    folder: Path
    task: str
    data: str
    budget: str
    seeds: int
    cases: int
    ranking: Ranking  # by the measure that decides
    sentence: str
    curves: dict[str, list[list[dict[str, float]]]]  # system -> one curve per seed
    scores: dict[str, Any]  # system -> (seeds, cases), the headline metric per case
    report: Path
    receipt: dict[str, Any]
    skipped: tuple[Skipped, ...] = ()
    leaking: tuple[str, ...] = ()  # as in RunRecord
    torn: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    grouped: str = ""
    patients: str = ""
    folds: int = 1
    sample: int = 0  # training cases, if all trainings share them: their variance is not counted
    further: dict[str, Ranking] = field(default_factory=dict)  # by further metrics
    follows: str = ""  # the metric that was validated during training
    details: Any = None  # content of the task's section of the report
    test: Dataset | None = None
    train: int = 0  # cases per training
    notes: list[str] = field(default_factory=list)  # shown at the top of the report
    warnings: Sequence[DataWarning] = ()  # of the data check, shown above them

    def __repr__(self) -> str:
        """Return one line for the Python prompt; all figures are in the fields."""
        return f"<ComparisonRecord {self.folder}: {self.sentence}>"

    def _repr_html_(self) -> str:
        return registry.notebook_html("comparison", self)

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``souron compare --json`` prints."""
        return {
            "task": self.task,
            "data": self.data,
            "budget": self.budget,
            "seeds": self.seeds,
            "cases": self.cases,
            **self.ranking.as_json(),
            **{name.lower(): ranking.as_json() for name, ranking in self.further.items()},
            **(self.details.as_json() if hasattr(self.details, "as_json") else {}),
            "sentence": self.sentence,
            "notes": self.notes,
            **data_warnings.as_json(self.warnings, self.folder),
            "report": str(self.report),
            **{name: self.receipt[name] for name in ("measured", "margins", "machines") if name in self.receipt},
        }
