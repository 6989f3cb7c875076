"""A verdict on predictions from anywhere: which method or reader is better, and with what certainty.

The table has one row a case: ``case, truth``, optionally ``group`` (patient), ``site``, ``seed`` or
``fold``, and a column for each method (``data.prediction_table``, ``data.predictions``). The
verdict is that of ``souron compare``: paired by case, with intervals by patients and Holm's
correction for many pairs (``stats.verdict``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import souron
from souron.action import Action, Given
from souron.actions.verdict import runs
from souron.actions.verdict.record import TableVerdict, VerdictRecord
from souron.data import coco_results, mask_folders, prediction_table
from souron.data.prediction_table import NAMED, Sheet
from souron.data.predictions import KINDS, Asked, Predictions, predictions
from souron.data.readers import marked_answers
from souron.evaluation import method_verdict, run_predictions
from souron.hub import names
from souron.kinds.codecs.limits import readable
from souron.kinds.signature import Choice
from souron.metrics.metric import Unit
from souron.runs.events import Event
from souron.utils.messages import N_, UserError, _, listed

MOST_SITES = 30
UNITS: dict[str, Unit] = {"mm": "mm", "px": "px", "none": ""}


@dataclass(frozen=True)
class Options:
    kind: Annotated[
        str,
        Choice(
            N_("what the columns hold, where that is not clear"),
            among=("labels", "probability", "score", "dice", "error", "rating"),
        ),
    ] = ""
    missing: Annotated[
        str, Choice(N_("missing predictions: count as wrong, or leave the case out"), among=("wrong", "leave-out"))
    ] = ""
    margin: Annotated[
        float, Choice(N_("margin of non-inferiority and equivalence: points, or the measure's unit"), low=0)
    ] = 0.0
    measure: Annotated[str, Choice(N_("the measure that decides, such as accuracy"), metavar="NAME")] = ""
    positive: Annotated[str, Choice(N_("the class to detect, such as a disease"), metavar="CLASS")] = ""
    classes: Annotated[tuple[str, ...], Choice(N_("all classes, where the cases show fewer"), metavar="A,B")] = ()
    methods: Annotated[tuple[str, ...], Choice(N_("the columns of the methods to compare"), metavar="A,B")] = ()
    readers: Annotated[
        tuple[str, ...], Choice(N_("columns of readers whose mean is compared, for readers like them"), metavar="A,B")
    ] = ()
    aided: Annotated[
        tuple[str, ...], Choice(N_("columns of the same readers with aid, in the same order"), metavar="A,B")
    ] = ()
    unit: Annotated[str, Choice(N_("the unit of errors (default mm)"), among=("mm", "px", "none"))] = "mm"


class VerdictStudy(Action):
    """Judge predictions of any methods or readers on the same cases."""

    title = N_("Say which method is better, from a table of anybody's predictions.")
    examples = (
        "souron verdict predictions.csv",
        "souron verdict predictions.csv margin=2",
        "souron verdict unet.csv nnunet.csv kind=dice missing=leave-out",
        "souron verdict truth/ unet/ nnunet/",
        "souron verdict instances.json yolo.json detr.json",
        "souron verdict answers.jsonl",
        "souron verdict readers.csv readers=ito,sato,mori",
        "souron verdict runs/classify/cnn-digits runs/classify/mlp-digits margin=2",
    )
    group = "train"
    question = N_("Which is better?")
    given = Given(
        "TABLE",
        N_("case,truth[,group] and a column for each method; or runs, masks, JSONL, COCO"),
        1,
        None,
        sent=(".csv", ".tsv", ".json", ".jsonl"),
    )
    lookup = True
    brief = True
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        paths = [Path(one) for one in given]
        yield Event("data", text=", ".join(path.name for path in paths))
        of_runs = all(map(names.is_run, paths))
        if of_runs:
            _check_options_of_runs(options)
        record: VerdictRecord
        if of_runs and len(paths) > 1 and not options.readers:
            record = runs.compare(paths, margin=options.margin, measure=options.measure)
        elif of_runs:
            data = run_predictions.read(paths, Asked(positive=options.positive))
            record = conclude(data, options, _sources(paths))
        elif all(path.is_dir() for path in paths):
            options = replace(options, kind=options.kind or "dice")
            record = judge(
                mask_folders.read(paths[0], _methods_beside(paths)),
                options,
                {"folders": [readable(path.name) for path in paths]},
            )
        elif all(path.suffix.lower() in marked_answers.SUFFIXES for path in paths):
            classes = marked_answers.CLASSES
            asked = Asked("labels", options.missing, classes[1], classes, options.methods)
            record = conclude(predictions(marked_answers.read(paths), asked), options, _sources(paths))
        elif all(path.suffix.lower() == ".json" for path in paths):
            record = conclude(coco_results.read(paths[0], _methods_beside(paths)), options, _sources(paths))
        else:
            record = judge(prediction_table.read(paths), options, _sources(paths))
        record.folder = self.new_folder(paths[0].stem)
        yield Event("done", 1.0, record=record, folder=record.folder)


def verdict(table: Any, **options: Any) -> VerdictRecord:
    """Judge a table of predictions: a file, files, a mapping of columns, or a data frame.

    ``options`` are those of ``souron verdict``. Nothing is written. Raises UserError.

    >>> columns = {"case": range(40), "truth": [0, 1] * 20, "a": [0, 1] * 20, "b": [0, 0, 1, 1] * 10}
    >>> found = verdict(columns)
    >>> found.ranking.verdicts[0].verdict, found.ranking.methods[0].system
    ('better', 'a')
    """
    study = VerdictStudy(writes=False)
    if isinstance(table, str | Path):
        table = [table]
    if isinstance(table, list | tuple):
        record = study.result(*map(str, table), **options)
        assert isinstance(record, VerdictRecord)
        return record
    columns = prediction_table.columns_from(table)
    return judge(prediction_table.sheet_of(columns, _("the table")), study.read(options), {})


def judge(sheet: Sheet, options: Options, source: dict[str, Any]) -> TableVerdict:
    """Judge predictions that were read from a table. Raises UserError."""
    asked = Asked(options.kind, options.missing, options.positive, options.classes, options.methods)
    return conclude(predictions(sheet, asked), options, source)


def conclude(data: Predictions, options: Options, source: dict[str, Any]) -> TableVerdict:
    """Judge predictions by each of their measures. Raises UserError."""
    measures = list(method_verdict.metrics(data, UNITS[options.unit]))
    if not measures:
        raise UserError(
            "one class", _("the cases that are left have one truth only"), expected=_("cases of two classes"), exit=3
        )
    names = [metric.name for metric in measures]
    if options.measure:
        if options.measure not in names:
            raise UserError(
                "measure",
                _("there is no measure named {name} for {kind}").format(name=options.measure, kind=_(KINDS[data.kind])),
                expected=", ".join(names),
            )
        measures.insert(0, measures.pop(names.index(options.measure)))
    first, *rest = measures
    people: dict[str, Any] = {"readers": options.readers, "aided": options.aided}
    _check_readers(data, **people)
    some_sites = 1 < len(set(data.sites)) <= MOST_SITES
    sites = method_verdict.by_site(data, first) if some_sites else {}
    receipt = {
        "souron": souron.__version__,
        **source,
        "options": {name: value for name, value in asdict(options).items() if value},
        "margin": options.margin or None,
    }
    return TableVerdict(
        ranking=method_verdict.judged(data, first, options.margin, **people),
        others={metric.name: method_verdict.judged(data, metric, **people) for metric in rest},
        cases=len(data.cases),
        patients=None if data.groups is None else data.units,
        receipt=receipt,
        data=data,
        sites=sites,
    )


def _check_options_of_runs(options: Options) -> None:
    """Raise UserError for options that say how a table is read."""
    values = {name: getattr(options, name) for name in ("kind", "missing", "classes", "methods")}
    given = [name for name, value in values.items() if value and (name, value) != ("kind", "probability")]
    if given:
        raise UserError(
            "option",
            _("{given} cannot go together with runs, which are trained").format(given=", ".join(given)),
            expected=_("folders of runs alone"),
            fix="souron verdict RUN RUN",
        )


def _check_readers(data: Predictions, readers: Sequence[str], aided: Sequence[str]) -> None:
    """Raise UserError for readers that are no columns, one reader alone, or none beside them."""
    unknown = [name for name in (*readers, *aided) if name not in data.methods]
    if aided and (unknown or len(aided) != len(readers) or len({*readers, *aided}) < 2 * len(readers)):
        raise UserError(
            "readers",
            _("these cannot be the readers with aid: {names}").format(names=listed(unknown or list(aided), NAMED)),
            expected=_("one other column for each of readers={names}, in the same order").format(
                names=",".join(readers)
            ),
        )
    if readers and (unknown or len({*readers}) < len(readers) or len(readers) < 2 or len(readers) >= len(data.methods)):
        raise UserError(
            "readers",
            _("these cannot be compared as readers: {names}").format(names=listed(unknown or list(readers), NAMED)),
            expected=_("two or more of the columns {names}, and a method beside them").format(
                names=listed(list(data.methods), 2 * NAMED)
            ),
        )


def _methods_beside(paths: Sequence[Path]) -> Sequence[Path]:
    """Return the methods' files or folders, after that of the truth. Raises UserError."""
    if len(paths) < 2:
        raise UserError(
            "methods",
            _("{path} holds the truth, and no method stands beside it").format(path=paths[0]),
            fix="souron verdict TRUTH METHOD METHOD",
        )
    return paths[1:]


def _sources(paths: Sequence[Path]) -> dict[str, Any]:
    return {"files": run_predictions.sources(paths)}


__all__ = ["Options", "VerdictRecord", "VerdictStudy", "verdict"]
