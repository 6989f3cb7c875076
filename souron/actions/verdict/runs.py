"""Compare finished runs on the test cases that they share, from the answers that they keep; nothing is trained.

The statistics are those of ``souron.stats.verdict``. Runs whose test cases differ are refused; what else was
not equal becomes a caveat.
"""

import csv
import json
import math
import shlex
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import souron
from souron import registry
from souron.actions.verdict.record import VerdictRecord
from souron.data import prediction_table, splits
from souron.data.dataset import Dataset, digests
from souron.data.display_names import called
from souron.data.quality import warnings as data_warnings
from souron.evaluation import run_predictions
from souron.evaluation.answers import Trainings, dense, flatten
from souron.metrics import ranking
from souron.metrics.ranking import Method, Ranking
from souron.report import wording
from souron.report.blocks import Cell, Table
from souron.runs import evaluate, prepare
from souron.runs import folder as run_folder
from souron.runs import options as run_options
from souron.stats.records import Measure, Row
from souron.task import Task
from souron.utils import units
from souron.utils.messages import UserError, _, again

MOST_RUNS = 8
MOST_SHOWN = 12  # cases on which the runs differ
PROBED = 8  # test cases that are answered to estimate the time for all of them
SAME = 1e-6  # of a figure and of the one in the run's receipt
NOT_COMPARED = ("system", "seen", "config", "name", "project", "device", "reduced", "resume", "forecast")
MOST_NOTES = 3  # of each run


@dataclass(frozen=True)
class Case:
    """A test case with the scores and the answers of each run."""

    file: str
    truth: str  # "" where the task's table has no such column
    scores: tuple[float, ...]  # of each run, mean over its repeats
    answers: tuple[str, ...]  # of each run; empty texts where the task has no table
    image: str = ""  # data URI of a thumbnail

    @property
    def apart(self) -> float:
        return max(self.scores) - min(self.scores)


@dataclass(frozen=True)
class Setting:
    """One setting of the runs, and whether it was equal."""

    name: str  # in the reader's language
    values: tuple[str, ...]  # of each run
    fair: bool = True  # False: where it differs, the comparison is not fair

    @property
    def equal(self) -> bool:
        return len(set(self.values)) == 1


@dataclass(kw_only=True)
class RunsVerdict(VerdictRecord):
    """The verdict on finished runs."""

    folders: list[Path]  # best first, as the rows
    task: str
    data: str
    called: str  # the measure, with the parameters that it depends on
    caveats: list[str]
    settings: list[Setting]
    differing: int  # cases on which the scores are not equal
    apart: list[Case]  # those on which they differ most
    labels: tuple[str, ...] = ()  # of a classifier
    positive: str | None = None
    scores: dict[str, NDArray[np.float64]] = field(repr=False, default_factory=dict)  # run -> (repeats, cases)

    @property
    def command(self) -> str:
        margin = [f"margin={self.ranking.margin:g}"] if self.ranking.margin else []
        return shlex.join(["souron", "verdict", *map(str, self.folders), f"measure={self.measure}", *margin])

    def sentences(self) -> list[str]:
        return wording.verdict_sentences(self.ranking, self.cases, again(self.called))

    def notes(self) -> list[str]:
        return [*map(again, self.caveats), *super().notes()]

    def tables(self, links: Mapping[str, str] | None = None) -> list[Table]:
        """Return the ranking, the pairs, what was equal, the cases that differ most, and further measures."""
        tables = list(super().tables(links))
        main = 1 + bool(self.verdicts)
        title = _("on the same {count} test cases").format(count=units.whole(self.cases))
        first = replace(tables[0], title=title)
        return [first, *tables[1:main], self._settings_table(), *self._case_tables(), *tables[main:]]

    def _settings_table(self) -> Table:
        rows = [
            [
                again(one.name),
                *map(again, one.values),
                _("equal") if one.equal else Cell(_("not equal"), style="" if one.fair else "worse"),
            ]
            for one in self.settings
        ]
        return Table([_("setting"), *self.names, _("equal?")], rows, _("What was equal"))

    def _case_tables(self) -> list[Table]:
        if not self.apart:
            return []
        higher = self.ranking.metric.higher_is_better
        texts = any(any(case.answers) for case in self.apart)
        rows = []
        for case in self.apart:
            best = max(case.scores) if higher else min(case.scores)
            answers = []
            for score, answer in zip(case.scores, case.answers, strict=True):
                text = answer if texts else f"{score:.4g}"
                answers.append(Cell(f"✓ {text}", text, "better") if score == best else Cell(text))
            rows.append([Cell(case.file, image=case.image), case.truth, *answers])
        text = _("{shown} of {count} cases that are scored differently; the better answer is marked").format(
            shown=len(rows), count=units.whole(self.differing)
        )
        return [Table([_("case"), _("truth"), *self.names], rows, _("Cases that differ most"), text=text)]

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``souron compare RUN RUN --json`` prints."""
        return {
            "runs": [str(folder) for folder in self.folders],
            "task": self.task,
            "data": self.data,
            "kind": "probability" if self.labels else self.task,
            **super().as_json(),
            "classes": list(self.labels),
            "positive": self.positive,
            "columns": {},
            "missing": {},
            "left_out": [],
            "sites": {},
            "settings": [{**asdict(setting), "equal": setting.equal} for setting in self.settings],
            "differing": self.differing,
            "differ most": [
                {name: value for name, value in asdict(case).items() if name != "image"} for case in self.apart
            ],
        }


@dataclass
class Tested:
    """A run with its answers for its test cases, in the order in which they are kept."""

    name: str
    folder: Path
    args: dict[str, Any]
    receipt: dict[str, Any]
    task: Task
    setup: Any
    trainings: Trainings
    scores: dict[str, NDArray[np.float64]]
    measures: dict[str, Measure]
    learnt: frozenset[str]  # files of the training part
    notes: list[str] = field(default_factory=list)


def compare(
    folders: Sequence[str | Path],
    limit: float = math.inf,
    images: bool = False,
    margin: float | None = None,
    measure: str = "",
) -> RunsVerdict:
    """Compare finished runs of one task on the test cases that they share.

    A run without stored answers answers again, if that is estimated to take at most ``limit`` seconds.
    ``images`` adds thumbnails to the cases shown; ``margin``, in points or the measure's unit, is judged against,
    too. ``measure`` decides, by default the one by which ``souron compare`` ranks systems of the task. Raises
    UserError where the runs cannot be compared.
    """
    chosen = list(dict.fromkeys(Path(folder) for folder in folders))
    if not 2 <= len(chosen) <= MOST_RUNS:
        raise _refused(
            _("{count} runs are chosen").format(count=len(chosen)),
            _("two to {most} finished runs of one task").format(most=MOST_RUNS),
        )
    try:
        return _judged(_all_tested(chosen, limit), images, margin, measure)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        # arguments and answers of a run are not trusted: they may hold anything
        raise UserError(
            "damaged",
            _("these runs cannot be read: {why}").format(why=f"{type(error).__name__}: {error}"[:200]),
            expected=_("runs as souron wrote them"),
            exit=3,
        ) from error


def _all_tested(folders: Sequence[Path], limit: float) -> list[Tested]:
    """Read runs of one task. Raises UserError."""
    names = _names(folders)
    receipts = {folder: _receipt(folder) for folder in folders}
    args = {folder: run_folder.read_args(folder) for folder in folders}
    tasks = {prepare.task_of(about).name for about in args.values()}
    if len(tasks) > 1:
        raise _refused(
            _("they answer different questions: {tasks}").format(
                tasks=_(", ").join(sorted(registry.task_name(task) for task in tasks))
            ),
            _("runs of one task"),
        )
    _check_test_files(folders, names)
    return [_tested(names[folder], folder, args[folder], receipts[folder], limit) for folder in folders]


def _judged(tested: Sequence[Tested], images: bool, margin: float | None, wanted: str) -> RunsVerdict:
    """Rank runs by each measure that they share, on the same cases. Raises UserError."""
    order = [_aligned(tested[0], other) for other in tested]
    task, test, training = tested[0].task, tested[0].setup.test, _same_trainings(tested, order)
    names = _measures(tested, wanted)
    tables = [{one.name: one.scores[name][:, rows] for one, rows in zip(tested, order, strict=True)} for name in names]
    rankings = {
        name: _rank(tested, name, table, training, margin if name == names[0] else None)
        for name, table in zip(names, tables, strict=True)
    }
    first = rankings.pop(names[0])
    ranked = [next(one for one in tested if one.name == row.system) for row in first.rows]
    settings = _settings(ranked)
    cases = list(_cases(ranked, tables[0]))
    apart = sorted(cases, key=lambda case: (-case[1].apart, case[1].file))[:MOST_SHOWN]
    decision = ranked[0].receipt.get("decision")
    return RunsVerdict(
        ranking=first,
        others=rankings,
        cases=len(test),
        patients=None if test.units is None else len({*test.units}),
        receipt={"souron": souron.__version__, "files": _hashes(ranked), "margin": margin or None},
        folders=[one.folder for one in ranked],
        task=task.name,
        data=called(str(tested[0].args["data"])),
        called=task.called(names[0], tested[0].setup),
        caveats=_caveats(ranked, settings, margin),
        settings=settings,
        differing=len(cases),
        apart=[replace(case, image=_thumbnail(test, row)) if images else case for row, case in apart],
        labels=tuple(test.classes) if test.labels is not None else (),
        positive=decision.get("positive") if isinstance(decision, dict) else None,
        scores={one.name: tables[0][one.name] for one in ranked},
    )


def _rank(
    tested: Sequence[Tested], name: str, scores: Mapping[str, Any], training: Any, margin: float | None
) -> Ranking:
    task, test = tested[0].task, tested[0].setup.test
    found = ranking.rank(
        task.metric(name),
        [_row(one, name) for one in tested],
        scores,
        groups=test.units,
        trainings=training,
        strata=task.strata(test),
        margin=margin,
        times=1 if training is None else int(training.max()),
    )
    measures = {one.name: one.measures[name] for one in tested}
    return replace(found, methods=tuple(Method(row.system, measures[row.system]) for row in found.rows))


def _hashes(tested: Sequence[Tested]) -> dict[str, str]:
    """Return the SHA-256 of the answers of each run that keeps them."""
    return run_predictions.sources([one.folder for one in tested if (one.folder / evaluate.ANSWERS).is_file()])


def _refused(found: str, expected: str, fix: str = "") -> UserError:
    return UserError("not comparable", found, expected=expected, fix=fix, exit=5)


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """Return the shortest distinct name of each run: its folder's, or its path where two share one."""
    last = [folder.name for folder in folders]
    return {folder: str(folder) if last.count(folder.name) > 1 else folder.name for folder in folders}


def _receipt(folder: Path) -> dict[str, Any]:
    """Return the receipt of a finished run of a single system. Raises UserError."""
    try:
        receipt = json.loads((folder / "receipt.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _refused(
            _("{name} is not finished").format(name=folder.name), _("finished runs"), f"souron train resume={folder}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(
            _("the receipt of {name} cannot be read: {why}").format(name=folder.name, why=error), _("finished runs")
        ) from error
    if not isinstance(receipt, dict) or "measures" not in receipt:
        raise _refused(
            _("{name} is no run of one system").format(name=folder.name),
            _("finished runs; a comparison is a verdict already"),
        )
    return receipt


def _check_test_files(folders: Sequence[Path], names: Mapping[Path, str]) -> None:
    """Refuse runs whose split files name different test cases, before any data is read. Raises UserError."""
    listed = [(names[folder], {*cases}) for folder in folders if (cases := _listed(folder)) is not None]
    for name, others in listed[1:]:
        one, own = listed[0]
        if own != others:
            raise _different(one, name, len(own & others), len(own), len(others))


def _different(one: str, other: str, both: int, count: int, of_other: int) -> UserError:
    return _refused(
        _(
            "{one} and {other} were tested on different cases: {both} are the same, of {count} and {of_other}. "
            "Their figures cannot be compared."
        ).format(one=one, other=other, both=both, count=count, of_other=of_other),
        _("runs with the same test cases and the same labels"),
        _("train one of them again on the data of the other"),
    )


def _listed(folder: Path) -> list[tuple[str, str]] | None:
    """Return (file, label) of each test case in the order of the run's split files; None where there are none."""
    for name, every in (("folds.csv", True), ("split.csv", False)):
        try:
            with (folder / name).open(encoding="utf-8-sig", newline="") as stream:
                return [
                    (row.get("file") or "", row.get("label") or "")
                    for row in csv.DictReader(stream)
                    if every or row.get("part") == "test"
                ]
        except (OSError, UnicodeDecodeError, csv.Error):
            continue
    return None


def _tested(name: str, folder: Path, args: dict[str, Any], receipt: dict[str, Any], limit: float) -> Tested:
    """Read a run's test cases and its answers. Raises UserError, also where its data has changed."""
    task = prepare.task_of(args)
    options = prepare.task_options(args, task)
    data, note = _data(name, folder, args, task)
    split = prepare.read_split(folder, data, task)
    *_before, step = task.setup(data, split, options)
    setup = step.result
    folds = folder / "folds.csv"
    if folds.exists():
        setup.test = data.only(splits.read_order(folds, data))
    trainings = _kept(folder, setup.test)
    if trainings is None:
        if folds.exists() or note:
            raise _refused(_("{name} does not keep its answers").format(name=name), _("the run's answers.safetensors"))
        trainings = _again(name, folder, task, setup, args, limit)
    scores = {key: np.asarray(table, dtype=np.float64) for key, table in task.scores(trainings.answers, setup).items()}
    measures = task.measures(trainings.answers, setup, trainings.training_of)
    learnt = frozenset(data.file[row] for row in split.train.tolist())
    one = Tested(name, folder, args, receipt, task, setup, trainings, scores, measures, learnt)
    one.notes = [*filter(None, [note]), *_doubts(one)]
    return one


def _data(name: str, folder: Path, args: dict[str, Any], task: Task) -> tuple[Dataset, str]:
    """Return a run's cases and a caveat: those of a classifier without their images where its data cannot be read.

    Raises UserError.
    """
    try:
        return evaluate.cases_of(args, str(args["data"]), run_folder.spec_of(args, task.name), task), ""
    except UserError as error:
        try:
            labels = run_predictions.of_run(folder).classes
            columns = prediction_table.columns_of(folder / "split.csv")
            files, target = columns["file"], [labels.index(label) for label in columns["label"]]
        except (UserError, KeyError, ValueError):
            raise error from None
        marks = torch.tensor([zlib.crc32(file.encode()) for file in files])[:, None, None, None]
        cases = Dataset(str(args["data"]), marks, torch.tensor(target), labels, files, columns.get("group", ()))
        text = _("{name}: its data cannot be read ({why}); it is judged by the answers and labels that it keeps.")
        return cases, text.format(name=name, why=error.found)


def _kept(folder: Path, test: Dataset) -> Trainings | None:
    """Return a run's stored answers; None where there are none for these cases in this order."""
    path = folder / evaluate.ANSWERS
    if not path.is_file() or path.is_symlink():
        return None
    order = None if (folder / "folds.csv").exists() else _listed(folder)
    if order is not None and [file for file, _label in order] != list(test.file):
        return None
    try:
        trainings = Trainings.read(path, test)
        counts = {len(dense(trainings.answers[0], name)) for name in flatten(trainings.answers[0]) if "/" not in name}
    except (UserError, LookupError, TypeError, ValueError):
        return None
    return trainings if counts == {len(test)} else None


def _again(name: str, folder: Path, task: Task, setup: Any, args: dict[str, Any], limit: float) -> Trainings:
    """Answer the test cases with the run's network, within ``limit`` seconds. Raises UserError."""
    run_folder.refuse_changed(folder)
    system = run_folder.load(folder)
    if limit < math.inf:
        few = task.against(setup.test.only(range(min(PROBED, len(setup.test)))), setup)
        begun = time.perf_counter()
        evaluate.answered_again(folder, task, system, few, args)
        needed = (time.perf_counter() - begun) * len(setup.test) / len(few.test)
        if needed > limit:
            raise _refused(
                _("{name} keeps no answers for its test cases, and to answer them takes about {time}").format(
                    name=name, time=units.seconds(needed)
                ),
                _("at most {time} on this page").format(time=units.seconds(limit)),
                f"souron compare {shlex.quote(str(folder))} RUN",
            )
    return evaluate.answered_again(folder, task, system, setup, args)


def _doubts(one: Tested) -> Iterator[str]:
    """Yield what makes a run's figures doubtful, in the reader's language."""
    if text := run_folder.changed(one.folder):
        yield _("{name}: {what}.").format(name=one.name, what=text)
    recorded = one.receipt["measures"] if isinstance(one.receipt["measures"], dict) else {}
    for name, measure in one.measures.items():
        then = recorded.get(name)
        value = then.get("value") if isinstance(then, dict) else None
        if isinstance(value, int | float) and abs(value - measure.value) > SAME + SAME * abs(value):
            metric = registry.metric(name)
            yield _(
                "{name}: {measure} is {now} today and was {then} in its report: its data or answers changed."
            ).format(name=one.name, measure=metric.title, now=metric.text(measure.value), then=metric.text(value))
            break
    for text in data_warnings.notes(one.receipt)[:MOST_NOTES]:
        yield _("{name}: {what}").format(name=one.name, what=text)


def _aligned(one: Tested, other: Tested) -> NDArray[np.int64]:
    """Return the rows of ``other``'s test cases in the order of ``one``'s. Raises UserError where they differ."""
    test, its = one.setup.test, other.setup.test
    row = {file: i for i, file in enumerate(its.file)}
    both = sum(file in row for file in test.file)
    if both != len(test) or len(its) != len(test) or len(row) != len(its):
        raise _different(one.name, other.name, both, len(test), len(its))
    order = np.array([row[file] for file in test.file], dtype=np.int64)
    mixed = its.only(torch.from_numpy(order))
    if _labels(test) != _labels(mixed) or (_form(test) == _form(mixed) and _digests(test) != _digests(mixed)):
        same = sum(a == b for a, b in zip(_labels(test), _labels(mixed), strict=True))
        if same == len(test):
            same = sum(a == b for a, b in zip(_digests(test), _digests(mixed), strict=True))
        raise _different(one.name, other.name, same, len(test), len(its))
    return order


def _labels(cases: Dataset) -> list[Any]:
    """Return the class of each case; the same for all cases where targets are no single classes."""
    target = cases.target
    if isinstance(target, torch.Tensor) and target.ndim == 1 and cases.classes:
        return [cases.classes[int(i)] if 0 <= int(i) < len(cases.classes) else int(i) for i in target.tolist()]
    return [""] * len(cases)


def _form(cases: Dataset) -> Any:
    """Return the shape of an input; contents are compared only where it is equal."""
    return cases.input.shape[1:] if isinstance(cases.input, torch.Tensor) else type(cases.input)


def _digests(cases: Dataset) -> list[bytes]:
    """Return a digest of each case's input, and of its target where that is more than a class."""
    inputs, target = list(digests(cases.stored)), cases.target
    if target is None or (isinstance(target, torch.Tensor) and target.ndim < 2):
        return inputs
    return [one + other for one, other in zip(inputs, digests(target), strict=True)]


def _measures(tested: Sequence[Tested], wanted: str) -> list[str]:
    """Return the measures that all runs have, first ``wanted`` or the task's own, if they have it. Raises UserError."""
    shared = [name for name in tested[0].scores if all(name in one.scores and name in one.measures for one in tested)]
    if not shared:
        raise _refused(_("they share no measure with a score for each case"), _("runs that were measured"))
    if wanted and wanted not in shared:
        raise UserError(
            "measure",
            _("there is no measure named {name} for {kind}").format(
                name=wanted, kind=registry.task_name(tested[0].task.name)
            ),
            expected=", ".join(shared),
        )
    first = wanted or tested[0].task.ranks(tested[0].setup)
    return sorted(shared, key=lambda name: name != first)


def _same_trainings(tested: Sequence[Tested], order: Sequence[NDArray[np.int64]]) -> NDArray[np.int64] | None:
    """Return the training behind each answer, (repeats, cases), the same for all runs; None for one training each.

    Raises UserError where the folds of cross-validations differ.
    """
    tables = [
        None if (table := one.trainings.training_of) is None else np.asarray(table)[:, rows]
        for one, rows in zip(tested, order, strict=True)
    ]
    first = tables[0]
    for table in tables[1:]:
        alike = (table is None) == (first is None)
        if table is not None and first is not None:
            alike = table.shape == first.shape and bool((table == first).all())
        if not alike:
            raise _refused(
                _("they were cross-validated in different folds"), _("the same folds and repeats, or one split each")
            )
    return first


def _row(one: Tested, measure: str) -> Row:
    """Return a run's row; the interval is the one of its report."""
    found, receipt = one.measures[measure], one.receipt
    each = one.scores[measure].mean(1)

    def number(value: Any, default: float) -> float:
        fine = isinstance(value, int | float) and abs(value) < 1e300
        return float(value) if fine else default

    return Row(
        system=one.name,
        measure=measure,
        value=found.value,
        low=found.low,
        high=found.high,
        train_seconds=number(receipt.get("train_seconds"), math.nan),
        examples_seen=math.nan,
        parameters=int(number(receipt.get("parameters"), 0)),
        flops=int(number(receipt.get("flops"), 0)),
        seeds=tuple(each.tolist()) if len(each) > 1 else (found.value,),
    )


def _settings(tested: Sequence[Tested]) -> list[Setting]:
    """Return what was equal and what was not: data, parts, budget, seed and every further option."""
    data = [about if isinstance(about := one.receipt.get("data"), dict) else {} for one in tested]
    first = tested[0].learnt
    test = [f"{units.whole(len(one.setup.test))}" for one in tested]
    made = [
        Setting(_("system"), tuple(str(one.args["system"]) for one in tested)),
        Setting(_("data"), tuple(called(str(one.args["data"])) for one in tested), fair=False),
        Setting(_("test cases"), tuple(test)),
        Setting(
            _("training cases"),
            tuple(
                units.whole(len(one.learnt))
                if one.learnt == first
                else _("{count}, other ones").format(count=units.whole(len(one.learnt)))
                for one in tested
            ),
            fair=False,
        ),
    ]
    prints = tuple(str(about.get("hash", ""))[:12] for about in data if about)
    if len(prints) == len(tested) and len({one.args.get("side") for one in tested}) == 1:
        made.append(Setting(_("fingerprint of the data"), prints, fair=False))
    fields = {one.name: run_options.word(one) for one in run_options.all_fields(run_options.TrainOptions)}
    titles = {"budget": _("budget"), "seed": _("seed"), "side": _("side of the images"), "batch": _("batch size"),
              "augment": _("augmentation"), "pretrained": _("start from"), "freeze": _("only the last layer trained"),
              "rate": _("learning rate")}  # fmt: skip
    given = dict.fromkeys(name for one in tested for name in one.args if name not in (*NOT_COMPARED, "data"))
    for name in sorted(given, key=lambda name: list(titles).index(name) if name in titles else len(titles)):
        values = tuple(_plain(one.args.get(name)) for one in tested)
        if len(set(values)) > 1 or (name in titles and values[0] != units.UNKNOWN):
            own = name in ("changes", "seed", "rate")  # the systems' own, or chance
            made.append(Setting(titles.get(name, fields.get(name, name)), values, fair=own))
    machines = [_machine(one.receipt) for one in tested]
    if all(machines):
        timed = any(str(one.args.get("budget", "")).endswith(("s", "min", "h")) for one in tested)
        made.append(Setting(_("machine"), tuple(machines), fair=not timed))
    return made


def _plain(value: Any) -> str:
    if value is None or value is False or str(value) in ("", "{}", "None", "False"):
        return units.UNKNOWN
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={held}" for name, held in value.items())
    return str(value)


def _machine(receipt: Mapping[str, Any]) -> str:
    about = receipt.get("machine")
    if not isinstance(about, Mapping):
        return ""
    return ", ".join(str(about[name]) for name in ("processor", "cpu", "cores", "device") if about.get(name))


def _caveats(tested: Sequence[Tested], settings: Sequence[Setting], margin: float | None) -> list[str]:
    """Return warnings of everything that makes the comparison unfair, in the reader's language."""
    unequal = [
        _("Not equal: {what}: {values}. The difference may come from that.").format(
            what=setting.name, values=" / ".join(dict.fromkeys(setting.values))
        )
        for setting in settings
        if not (setting.fair or setting.equal)
    ]
    few = len(tested[0].setup.test)
    data = dict.fromkeys(text for one in tested for text in _of_data(one))
    own = [note for one in tested for note in one.notes]
    margins = [_("A margin is to be fixed before the figures are seen.")] if margin else []
    small = [_("Only {n} test cases: small differences cannot be seen.").format(n=few)] if few < 100 else []
    return [*data, *unequal, *small, *margins, *own]


def _of_data(one: Tested) -> list[str]:
    """Return the warnings of the data check about a run's data."""
    return data_warnings.texts(data_warnings.read(one.receipt), one.folder)


def _cases(tested: Sequence[Tested], scores: Mapping[str, NDArray[np.float64]]) -> Iterator[tuple[int, Case]]:
    """Yield row and case of all on which the scores differ."""
    each = np.stack([scores[one.name].mean(0) for one in tested])  # (runs, cases)
    apart = each.max(0) - each.min(0)
    tables = [_table(one) for one in tested]
    test = tested[0].setup.test
    for row in np.flatnonzero(apart > 0).tolist():
        told = [table.get(test.file[row], {}) for table in tables]
        truth = _shared(told, "label") or _shared(told, "right option")
        hidden = {"file", "label", "right option"}
        texts = tuple(_answer([text for name, text in one.items() if name not in hidden]) for one in told)
        yield row, Case(str(test.file[row]), truth, tuple(each[:, row].tolist()), texts)


def _answer(texts: Sequence[str]) -> str:
    return f"{texts[0]} ({', '.join(texts[1:])})" if len(texts) > 1 else "".join(texts)


def _shared(told: Sequence[Mapping[str, str]], name: str) -> str:
    values = {one.get(name, "") for one in told}
    return values.pop() if len(values) == 1 else ""


def _table(one: Tested) -> dict[str, dict[str, str]]:
    """Return file -> column -> text of the task's table of answers; {} where a case has several rows."""
    rows = [list(map(str, row)) for row in one.task.table(one.trainings.answers[0], one.setup.test)]
    if len(rows) != len(one.setup.test) + 1 or not rows or rows[0][0] not in ("file", "right option"):
        return {}
    head, *body = rows
    files = [str(file) for file in one.setup.test.file]
    return {file: dict(zip(head, row, strict=False)) for file, row in zip(files, body, strict=True)}


def _thumbnail(test: Dataset, row: int) -> str:
    """Return a data URI of a case's image; "" for other data."""
    if not test.images:
        return ""
    from souron.data.target import target_of
    from souron.report.page import tile

    return tile(target_of(test).image(row), "").uri


__all__ = ["Case", "RunsVerdict", "Setting", "compare"]
