"""A verdict on predictions from anywhere: which method or reader is better, and with what certainty.

The table has one row a case: ``case, truth``, optionally ``group`` (patient), ``site``, ``seed`` or
``fold``, and a column for each method (``data.prediction_table``, ``data.predictions``). The
verdict is that of ``souron compare``: paired by case, with intervals by patients and Holm's
correction for many pairs (``stats.verdict``).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import souron
from souron.data import coco_results, mask_folders, prediction_table
from souron.data.prediction_table import NAMED, ROLES, Sheet
from souron.data.predictions import KINDS, Asked, Predictions, predictions
from souron.data.readers import marked_answers
from souron.evaluation import method_verdict, run_predictions
from souron.evaluation.method_verdict import FEWEST, Judged, ReaderPair
from souron.kinds.codecs.limits import readable
from souron.kinds.signature import Choice
from souron.metrics.metric import Unit
from souron.report import verdict as report_verdict
from souron.report import wording
from souron.runs.events import Event
from souron.stats import readers
from souron.stats.records import Measure, pairs_as_json
from souron.stats.verdict import p_value
from souron.study import Fact, Given, Record, Study, Table
from souron.utils import units
from souron.utils.messages import N_, UserError, _, listed

MOST_SITES = 30
UNITS: dict[str, Unit] = {"mm": "mm", "px": "px", "none": ""}
MEANINGS = {**ROLES, **KINDS}


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


@dataclass
class VerdictRecord(Record):
    """Methods with their measures, and the verdict on each pair."""

    eyebrow = N_("verdict")
    json_file = "verdict.json"

    data: Predictions
    deciding: Judged
    others: list[Judged]
    sites: dict[str, dict[str, Measure]]
    options: Options
    receipt: dict[str, Any]
    folder: Path | None

    def page_title(self) -> str:
        return _("Verdict on {names}").format(names=listed(list(self.data.methods), NAMED))

    def as_json(self) -> dict[str, Any]:
        data, judged = self.data, [self.deciding, *self.others]
        return {
            "kind": data.kind,
            "measure": self.deciding.metric.name,
            "cases": len(data.cases),
            "patients": None if data.groups is None else data.units,
            "classes": list(data.classes),
            "positive": None if data.positive is None else data.classes[data.positive],
            "trainings": self.trainings,
            "columns": dict(data.taken),
            "missing": {name: list(cases) for name, cases in data.missing.items()},
            "left_out": list(data.left_out),
            "methods": [
                {
                    "method": one.system,
                    "measures": {
                        each.metric.name: _plain(asdict(method.measure))
                        for each in judged
                        for method in (*each.methods, *each.readers)
                        if method.system == one.system
                    },
                }
                for one in (*self.deciding.methods, *self.deciding.readers)
            ],
            "readers": [one.system for one in self.deciding.readers],
            "reader_study": [_reader_study(pair) for pair in self.deciding.reader_pairs],
            "pairs": _pairs(self.deciding),
            "further": {each.metric.name: _pairs(each) for each in self.others},
            "sites": {
                site: {name: _plain(asdict(measure)) for name, measure in found.items()}
                for site, found in self.sites.items()
            },
            "notes": self.notes(),
            "receipt": self.receipt,
        }

    @property
    def trainings(self) -> int:
        """Number of trainings of each method; 1 where the table names none."""
        return self.data.seeds if self.data.trainings is None else len({*self.data.trainings.ravel().tolist()})

    def sentences(self) -> list[str]:
        judged, data = self.deciding, self.data
        if judged.few and judged.verdicts:
            text = (
                _("Cannot tell: {count} patients are too few for a verdict; {least} at least are needed.")
                if data.groups is not None
                else _("Cannot tell: {count} cases are too few for a verdict; {least} at least are needed.")
            )
            if judged.units < data.units:
                text = _(
                    "Cannot tell: the rarer class has {count} patients or cases, too few for a verdict; {least} at "
                    "least are needed."
                )
            return [text.format(count=judged.units, least=FEWEST)]
        once = _(
            "One prediction of each method for a case: this applies to these trained models or readers only, not to "
            "other trainings."
        )
        if judged.reader_pairs:
            once = _(
                "This applies to readers and cases like these, and to these trained models only, not to other "
                "trainings."
            )
        sentence = wording.sentence(
            judged.verdicts,
            judged.methods,
            self.trainings,
            len(data.cases),
            judged.metric.title,
            judged.metric.unit,
            once=once,
        )
        if not judged.margins:
            return [sentence]
        return [sentence, wording.against_margin(judged.methods, judged.verdicts, judged.margins, self.margin_text)]

    @property
    def margin_text(self) -> str:
        """The margin with its unit."""
        return wording.margin_text(self.deciding.metric, self.options.margin)

    def facts(self) -> list[Fact]:
        data = self.data
        facts = [Fact(_("cases"), units.whole(len(data.cases)))]
        if data.groups is not None:
            facts.append(Fact(_("patients"), units.whole(data.units), _("intervals count patients")))
        facts.append(Fact(_("methods"), units.whole(len(data.methods)), _(KINDS[data.kind])))
        return facts

    def notes(self) -> list[str]:
        data = self.data
        notes = list(data.notes)
        for name, cases in data.missing.items():
            text = _("{method}: {count} predictions are missing: {names}")
            notes.append(text.format(method=name, count=len(cases), names=listed(list(cases), NAMED)))
        notes += self._about_readers()
        if data.left_out:
            notes.append(
                _(
                    "{count} cases are left out for all methods. If they are the hard ones, all figures are too good."
                ).format(count=units.whole(len(data.left_out)))
            )
        elif data.missing:
            notes.append(_("Missing predictions count as wrong."))
        if self.deciding.margins:
            notes.append(
                _("A margin is to be fixed before the figures are seen; the receipt notes {margin}.").format(
                    margin=self.margin_text
                )
            )
        if data.mixed:
            text = _(
                "{count} patients have cases of different truths, as several lesions may have; where the truth is the "
                "patient's, check them."
            )
            notes.append(text.format(count=units.whole(data.mixed)))
        if data.groups is None:
            notes.append(_("No column names patients: each case counts as a patient of its own."))
        if data.seeds > 1 and data.trainings is None:
            notes.append(_("If all trainings share one training set, another set could reverse this."))
        if len(self.others):
            notes.append(
                _("{measure} decides; the correction for many pairs is within each measure, not across them.").format(
                    measure=self.deciding.metric.title
                )
            )
        return notes

    def _about_readers(self) -> list[str]:
        judged, count = self.deciding, len(self.options.readers)
        if not count:
            return []
        if not judged.reader_pairs:
            return [
                _("The mean of {count} readers is compared; the verdict is on these readers, not on others.").format(
                    count=count
                )
            ]
        notes = [
            _(
                "The verdict on the mean of {count} readers is for other readers and other cases, as far as these are "
                "drawn from those (Obuchowski and Rockette 1995, Hillis 2007)."
            ).format(count=count)
        ]
        open_pairs = {(one.a, one.b) for one in judged.verdicts if one.verdict == "cannot tell"}
        if any((pair.a, pair.b) in open_pairs and pair.these.verdict != "cannot tell" for pair in judged.reader_pairs):
            notes.append(_("On these readers alone the verdict would be clear: more readers would help."))
        return notes

    def tables(self) -> Sequence[Table]:
        taken = [(column, _(MEANINGS[role])) for column, role in self.data.taken.items()]
        judged = self.deciding
        return [
            *report_verdict.tables(judged.metric, judged.ranking, self.margin_text),
            *([_reader_table(judged)] if judged.reader_pairs else []),
            *(
                report_verdict.ranking(each.metric, each.ranking.rows, each.metric.title.capitalize())
                for each in self.others
            ),
            *self._site_tables(),
            Table((_("column"), _("taken for")), taken[: 4 * NAMED], _("Columns")),
        ]

    def _site_tables(self) -> list[Table]:
        if not self.sites:
            return []
        names = list(self.data.methods)
        metric = self.deciding.metric
        rows = [
            [
                f"{site} ({found[names[0]].n})",
                *(
                    f"{metric.text(found[name].value)} ({metric.interval(found[name].low, found[name].high)})"
                    for name in names
                ),
            ]
            for site, found in self.sites.items()
        ]
        title = _("{measure} by site").format(measure=metric.title)
        return [Table((_("site (cases)"), *names), rows, title, right=names)]


def _plain(measure: dict[str, Any]) -> dict[str, Any]:
    """Return a measure for JSON, which has no infinity."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in measure.items()
    }


def _pairs(judged: Judged) -> list[dict[str, Any]]:
    return [_plain(pair) for pair in pairs_as_json(judged.verdicts, judged.margins)]


def _reader_study(pair: ReaderPair) -> dict[str, Any]:
    """Return the analysis of a pair with readers for JSON."""
    found, plain, variation = pair.others, readers.hillis(pair.others), pair.variation
    return _plain(
        {
            "a": pair.a,
            "b": pair.b,
            "readers": variation.readers,
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
            "p": p_value(found),
            "degrees_of_freedom": found.freedom,
            "between_readers": variation.between,
            "error": variation.error,
            "covariance": variation.covariance,
            "these_readers": {"low": pair.these.low, "high": pair.these.high},
            "hillis": {
                name: getattr(plain, key)
                for name, key in (("low", "low"), ("high", "high"), ("p", "p"), ("degrees_of_freedom", "freedom"))
            },
        }
    )


def _reader_table(judged: Judged) -> Table:
    """Return the differences of readers for whom they hold."""
    metric = judged.metric
    columns = [_("pair"), _("for other readers"), _("by Hillis (2007)"), _("for these readers")]
    rows = [
        [
            f"{pair.a} – {pair.b}",
            metric.differences(pair.others.low, pair.others.high),
            metric.differences(plain.low, plain.high),
            metric.differences(pair.these.low, pair.these.high),
        ]
        for pair, plain in ((pair, readers.hillis(pair.others)) for pair in judged.reader_pairs)
    ]
    text = _(
        "All intervals are for other cases. The verdict is the one for other readers, which is more cautious with few "
        "readers than the degrees of freedom of Hillis."
    )
    return Table(columns, rows, _("Readers"), right=columns[1:], text=text)


class VerdictStudy(Study):
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
        if all((path / run_predictions.ANSWERS).is_file() for path in paths):
            _check_options_of_runs(options)
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
    >>> found.deciding.verdicts[0].verdict, found.deciding.methods[0].system
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


def judge(sheet: Sheet, options: Options, source: dict[str, Any]) -> VerdictRecord:
    """Judge predictions that were read from a table. Raises UserError."""
    asked = Asked(options.kind, options.missing, options.positive, options.classes, options.methods)
    return conclude(predictions(sheet, asked), options, source)


def conclude(data: Predictions, options: Options, source: dict[str, Any]) -> VerdictRecord:
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
    deciding = method_verdict.judged(data, first, first.margin_width(options.margin), **people)
    others = [method_verdict.judged(data, metric, **people) for metric in rest]
    some_sites = 1 < len(set(data.sites)) <= MOST_SITES
    sites = method_verdict.by_site(data, first) if some_sites else {}
    receipt = {
        "souron": souron.__version__,
        **source,
        "options": {name: value for name, value in asdict(options).items() if value},
        "margin": options.margin or None,
    }
    return VerdictRecord(data, deciding, others, sites, options, receipt, None)


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
