"""Calibration of predicted risks: are 20 of 100 patients ill of whom a method says 20 %?

The measures are those of ``souron.metrics.risk_calibration``. A recalibration is fitted on the validation cases of a
run, or on other patients of a table, and never judged on a case that it was fitted on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import souron
from souron.action import Action, Given
from souron.actions.calibration import validation
from souron.actions.calibration.record import CalibrationRecord, Method
from souron.data import prediction_table, predictions
from souron.data.predictions import Asked, Predictions
from souron.evaluation import run_predictions
from souron.kinds.signature import Choice
from souron.metrics import recalibration
from souron.metrics.risk_calibration import risk_calibration
from souron.runs.events import Event
from souron.utils.messages import N_, UserError, _

NONE = "none"  # no recalibration


@dataclass(frozen=True)
class Options:
    recalibrate: Annotated[
        str,
        Choice(
            N_("recalibrate the risks on other cases (default none)"), among=("none", "intercept", "slope", "isotonic")
        ),
    ] = "none"
    positive: Annotated[
        str, Choice(N_("the class whose risk is judged; of several classes, against all others"), metavar="CLASS")
    ] = ""
    methods: Annotated[tuple[str, ...], Choice(N_("the columns of the methods to judge"), metavar="A,B")] = ()


class CalibrationStudy(Action):
    """Judge whether predicted risks are right, for the methods of a table or for runs."""

    title = N_("Say whether predicted probabilities are right, and recalibrate them.")
    examples = (
        "souron calibration predictions.csv",
        "souron calibration runs/classify/resnet recalibrate=slope",
        "souron calibration predictions.csv positive=melanoma recalibrate=isotonic",
    )
    group = "train"
    question = N_("Are the risks right?")
    given = Given(
        "RUN|TABLE",
        N_("a classifier's run, or case,truth[,group] and a column for each method"),
        1,
        None,
        sent=(".csv", ".tsv"),
    )
    lookup = True
    brief = True
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        paths = [Path(one) for one in given]
        yield Event("data", text=", ".join(path.name for path in paths))
        runs = all(path.is_dir() for path in paths)
        asked = _asked(options, run=runs)
        data = run_predictions.read(paths, asked)
        record = judge(data, options, {"files": run_predictions.sources(paths)}, paths if runs else ())
        record.folder = self.new_folder(paths[0].stem)
        yield Event("done", 1.0, record=record, folder=record.folder)


def calibration(table_or_run: Any, **options: Any) -> CalibrationRecord:
    """Judge the predicted risks in a table or of a run: a path, paths, a mapping of columns, or a data frame.

    ``options`` are those of ``souron calibration``. Nothing is written. Raises UserError.

    >>> columns = {"case": range(80), "truth": [0, 0, 0, 1] * 20, "model": [0.1, 0.3, 0.5, 0.3] * 20}
    >>> made = calibration(columns)
    >>> round(made.methods[0].before.measures["O:E"].value, 2)
    0.83
    """
    study = CalibrationStudy(writes=False)
    if isinstance(table_or_run, str | Path):
        table_or_run = [table_or_run]
    if isinstance(table_or_run, list | tuple):
        record = study.result(*map(str, table_or_run), **options)
        assert isinstance(record, CalibrationRecord)
        return record
    read = study.read(options)
    sheet = prediction_table.sheet_of(prediction_table.columns_from(table_or_run), _("the table"))
    return judge(predictions.predictions(sheet, _asked(read)), read, {})


def _asked(options: Options, run: bool = False) -> Asked:
    """Return how to read predictions. Cases without a prediction are left out, for no risk stands for them."""
    positive = "" if run else options.positive
    return Asked("probability", "leave-out", positive, methods=options.methods)


def judge(data: Predictions, options: Options, source: dict[str, Any], runs: Sequence[Path] = ()) -> CalibrationRecord:
    """Judge each method's risks of one class, and recalibrate them. Raises UserError."""
    positive = positive_class(data, options.positive)
    assert data.truth is not None
    outcome = (data.truth == positive).astype(float)
    if len({*outcome.tolist()}) < 2:
        raise UserError(
            "one class",
            _("all cases are of the class {name}").format(name=data.classes[positive])
            if outcome[0]
            else _("no case is of the class {name}").format(name=data.classes[positive]),
            expected=_("cases with and without it"),
            exit=3,
        )
    methods = []
    for place, (name, values) in enumerate(data.methods.items()):
        risk = values[..., positive]
        made = Method(name, risk, risk_calibration(risk, outcome, data.groups, data.trainings))
        if options.recalibrate != NONE:
            made = _recalibrated(made, data, outcome, options.recalibrate, runs[place] if runs else None, positive)
        methods.append(made)
    receipt = {
        "souron": souron.__version__,
        **source,
        "options": {name: value for name, value in asdict(options).items() if value and value != NONE},
    }
    return CalibrationRecord(data, positive, outcome, tuple(methods), options.recalibrate, bool(runs), receipt, None)


def positive_class(data: Predictions, wish: str) -> int:
    """Return the class whose risk is judged. Raises UserError for several classes of which none was named."""
    names = list(data.classes)
    if wish:
        name = wish if wish in names else predictions.canonical(wish)
        if name in names:
            return names.index(name)
        raise UserError(
            "positive",
            _("there is no class named {name}").format(name=wish),
            expected=", ".join(names),
            fix=f"positive={names[0]}",
        )
    if data.positive is None:
        raise UserError(
            "classes",
            _("calibration is of the risk of one class, and there are {count} classes").format(count=len(names)),
            expected=_("the class that is judged against all others"),
            fix=f"positive={names[0]}",
        )
    return data.positive


def _recalibrated(made: Method, data: Predictions, outcome: Any, kind: str, run: Path | None, positive: int) -> Method:
    """Return a method with its recalibrated risks and their calibration; ``refusal`` says why it has none."""
    held = None if run is None else validation.risks(run, data.classes[positive])
    if held is not None:
        final = recalibration.fitted(kind, held.risk, held.outcome)
        risk, how, cases = (None if final is None else final.of(made.risk)), "validation", len(held.risk)
    else:
        risk = recalibration.cross_fitted(kind, made.risk, outcome, data.groups)
        every = [outcome] * len(made.risk)
        final = recalibration.fitted(kind, made.risk.ravel(), [one for row in every for one in row])
        how, cases = "cross-fitted", len(outcome)
    if risk is None or final is None:
        return replace(made, how=how, learnt_from=cases, refused=True)
    after = risk_calibration(risk, outcome, data.groups, data.trainings)
    return replace(made, new_risk=risk, after=after, how=how, learnt_from=cases, recalibration=final)


__all__ = ["CalibrationRecord", "CalibrationStudy", "Options", "calibration"]
