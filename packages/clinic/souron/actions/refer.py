"""Refer cases to a person: which answers of a classifier, and how many errors then remain.

A run of a classifier, or a table of anybody's probabilities (``data.prediction_table``). The least confident answers
are passed on; the error among the others is compared with that of all (``metrics.abstention``). Beside them stand
conformal sets of classes, of which one is the true one with a promised probability (``metrics.conformal``).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

import souron
from souron.action import Action, Fact, Given, Record, Section, Table, sections
from souron.data.predictions import Asked, Predictions
from souron.evaluation import run_predictions
from souron.evaluation.referral import Mistake, Referral, fewest_patients, referral
from souron.kinds import files as kinds_files
from souron.kinds.signature import Choice, as_share
from souron.metrics.ranking import FEWEST
from souron.runs.events import Event
from souron.stats.records import Measure
from souron.utils import plotting, units
from souron.utils.messages import N_, UserError, _, listed

CASES = "referred.csv"
SHOWN = 4  # methods in sentences and in the plot
LEAST_LEVEL = 0.5


@dataclass(frozen=True)
class Options:
    refer: Annotated[str, Choice(N_("share of the answers to pass on to a person"), metavar="SHARE")] = "10%"
    level: Annotated[
        str, Choice(N_("how often a set of classes is to hold the true one (default 95%)"), metavar="SHARE")
    ] = "95%"
    each_class: Annotated[bool, Choice(N_("reach that level within each true class, too"))] = False
    positive: Annotated[str, Choice(N_("the class to detect, such as a disease"), metavar="CLASS")] = ""
    classes: Annotated[tuple[str, ...], Choice(N_("all classes, where the cases show fewer"), metavar="A,B")] = ()
    methods: Annotated[tuple[str, ...], Choice(N_("the columns of the methods"), metavar="A,B")] = ()
    missing: Annotated[
        str, Choice(N_("missing predictions: count as wrong, or leave the case out"), among=("wrong", "leave-out"))
    ] = ""


@dataclass
class ReferRecord(Record):
    """Methods, the answers that they pass on, and their sets of classes."""

    eyebrow = N_("referral")
    json_file = "refer.json"

    data: Predictions
    methods: list[Referral]
    share: float
    level: float
    each_class: bool
    receipt: dict[str, Any]
    folder: Path | None

    def page_title(self) -> str:
        return _("Cases to pass on: {names}").format(names=listed([one.method for one in self.methods], SHOWN))

    def as_json(self) -> dict[str, Any]:
        data = self.data
        return {
            "refer": self.share,
            "level": self.level,
            "each_class": self.each_class,
            "cases": len(data.cases),
            "patients": None if data.groups is None else data.units,
            "classes": list(data.classes),
            "positive": None if data.positive is None else data.classes[data.positive],
            "trainings": self._trainings,
            "methods": [self._method_json(one) for one in self.methods],
            "notes": self.notes(),
            "receipt": self.receipt,
        }

    def _method_json(self, one: Referral) -> dict[str, Any]:
        return {
            "method": one.method,
            "passed_on": one.passed,
            "floor": one.floor,
            "mistakes": {
                each.name: {
                    "kept": _plain(each.kept),
                    "all": _plain(each.every),
                    "difference": None if each.difference is None else _plain(each.difference),
                }
                for each in one.mistakes
            },
            "aurc": _plain(one.area),
            "points": [{"passed_on": share, "error": _plain(measure)} for share, measure in one.points],
            "sets": {name: _plain(measure) for name, measure in one.sizes.items()},
            "set_floors": {
                name: max(float(floor), 0.0) for name, floor in zip(self.data.classes, one.floors, strict=True)
            },
            "coverage": [{"column": each.column, "value": each.name, **_plain(each.measure)} for each in one.covered],
        }

    @property
    def _trainings(self) -> int:
        return self.data.seeds if self.data.trainings is None else len(np.unique(self.data.trainings))

    def sentences(self) -> list[str]:
        if self.data.units < FEWEST:
            text = (
                _("Cannot tell: {count} patients are too few; {least} at least are needed.")
                if self.data.groups is not None
                else _("Cannot tell: {count} cases are too few; {least} at least are needed.")
            )
            return [text.format(count=self.data.units, least=FEWEST)]
        return [sentence for one in self.methods[:SHOWN] for sentence in (self._headline(one), self._of_sets(one))]

    def _headline(self, one: Referral) -> str:
        error = one.mistakes[0]
        apart = error.difference
        if apart is None:
            return _(
                "None of the answers of {method} can be passed on: they are equally confident, or too few."
            ).format(method=one.method)
        if apart.high < 0:
            text = _(
                "When the {share} least confident answers of {method} go to a person, {kept} of its other answers are "
                "wrong, instead of {all} of all: {difference} (95 % interval {interval})."
            )
        elif apart.low > 0:
            text = _(
                "Do not choose by confidence here: without the {share} least confident answers of {method}, {kept} of "
                "the others are wrong, more than the {all} of all: {difference} (95 % interval {interval})."
            )
        else:
            text = _(
                "It is not shown that passing on helps: without the {share} least confident answers of {method}, "
                "{kept} of the others are wrong, and {all} of all: {difference} (95 % interval {interval})."
            )
        return text.format(
            share=units.percent(one.passed),
            method=one.method,
            kept=units.percent(error.kept.value),
            all=units.percent(error.every.value),
            difference=units.difference("share", apart.value),
            interval=units.differences("share", apart.low, apart.high),
        )

    def _of_sets(self, one: Referral) -> str:
        text = _(
            "The sets of {method} that are to hold the true class in {level} hold one class for {one} of the cases, "
            "several for {several} and none for {none}; the true class was among them in {covered} (95 % interval "
            "{interval})."
        )
        held = one.covers()
        return text.format(
            method=one.method,
            level=f"{100 * self.level:g} %",
            covered=units.percent(held.value),
            interval=units.interval("share", held.low, held.high),
            **{name: units.percent(measure.value) for name, measure in one.sizes.items()},
        )

    def facts(self) -> list[Fact]:
        first, data = self.methods[0], self.data
        return [
            Fact(_("passed on"), units.percent(first.passed), first.method),
            Fact(
                _("error among the others"),
                units.percent(first.mistakes[0].kept.value),
                _interval(first.mistakes[0].kept),
            ),
            Fact(_("error of all"), units.percent(first.mistakes[0].every.value), _interval(first.mistakes[0].every)),
            Fact(_("cases"), units.whole(len(data.cases))),
            *([] if data.groups is None else [Fact(_("patients"), units.whole(data.units))]),
        ]

    def notes(self) -> list[str]:
        data = self.data
        notes = [
            *data.notes,
            _(
                "The order is that of the network's own confidence: where it is confidently wrong, nothing is passed "
                "on."
            ),
            _("A case unlike the training data is another question: a network may be confident of it."),
        ]
        fewer = [one.method for one in self.methods if one.passed < self.share - 1 / len(data.cases)]
        if fewer:
            text = _("Fewer than {share} are passed on, because many answers are equally confident: {names}.")
            notes.append(text.format(share=units.percent(self.share, 0), names=listed(fewer, SHOWN)))
        least = fewest_patients(self.level)
        if any(not np.isfinite(one.floors).all() for one in self.methods):
            text = _(
                "A set at {level} needs {least} patients to learn from; with fewer it holds every class, or that class."
            )
            notes.append(text.format(level=f"{100 * self.level:g} %", least=least))
        notes.append(
            _("The level of a set is promised for one case of a new patient; the coverage below counts all cases.")
            if data.groups is not None
            else _("No column names patients: each case counts as a patient of its own.")
        )
        if self._trainings == 1:
            notes.append(_("One training of each method: this applies to these trained networks only."))
        return notes

    def tables(self) -> Sequence[Table]:
        return [self._mistakes(), self._points(), self._sizes(), self._coverage()]

    def _sizes(self) -> Table:
        sizes = [_("one class"), _("several classes"), _("no class")]
        shares = [[one.method, *(_with_interval(measure) for measure in one.sizes.values())] for one in self.methods]
        return self._of_methods(sizes, shares, _("Classes in a set"), self._floors(), sizes)

    def _of_methods(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], title: str, text: str, right: Sequence[str]
    ) -> Table:
        """Return a table whose rows begin with a method; of one method alone it has no such column."""
        if len(self.methods) == 1:
            return Table(columns, [row[1:] for row in rows], title, right=right, text=text)
        return Table([_("method"), *columns], rows, title, right=right, text=text)

    def _mistakes(self) -> Table:
        columns = [_("mistake"), _("answers"), _("share"), _("95 % interval")]
        rows = []
        for one in self.methods:
            for each in one.mistakes:
                for title, measure in ((_("not passed on"), each.kept), (_("all"), each.every)):
                    rows.append(
                        [one.method, self._named(each), title, units.percent(measure.value), _interval(measure)]
                    )
                if each.difference is not None:
                    apart = each.difference
                    points = units.difference("share", apart.value), units.differences("share", apart.low, apart.high)
                    rows.append([one.method, self._named(each), _("difference"), *points])
        text = _("A difference below 0: fewer mistakes among the answers that are not passed on.")
        title = _("Mistakes when {share} are passed on").format(share=units.percent(self.share, 0))
        return self._of_methods(columns, rows, title, text, columns[2:])

    def _named(self, each: Mistake) -> str:
        if each.name == "error" or self.data.positive is None:
            return _("wrong answers")
        positive, other = self.data.classes[self.data.positive], self.data.classes[1 - self.data.positive]
        text = _("{positive} taken for {other}")
        pair = (positive, other) if each.name == "missed" else (other, positive)
        return text.format(positive=pair[0], other=pair[1])

    def _points(self) -> Table:
        columns = [_("passed on"), *(one.method for one in self.methods)]
        rows = [
            [units.percent(share, 0), *(_with_interval(one.points[k][1]) for one in self.methods)]
            for k, (share, _measure) in enumerate(self.methods[0].points)
        ]
        areas = [
            f"{one.method} {one.area.value:.3f} ({units.ends(f'{one.area.low:.3f}', f'{one.area.high:.3f}')})"
            for one in self.methods
        ]
        text = _("Mean error over all shares passed on (AURC): {areas}.").format(areas=listed(areas, SHOWN))
        return Table(columns, rows, _("Error among the answers that are not passed on"), right=columns, text=text)

    def _floors(self) -> str:
        """Return from which probability on a class belongs to the set of a new case, in words."""
        parts = []
        for one in self.methods[:SHOWN]:
            named = dict(zip(self.data.classes, one.floors, strict=True)) if self.each_class else {"": one.floors[0]}
            shown = [f"{name} {units.percent(max(floor, 0.0))}".strip() for name, floor in named.items()]
            parts.append(f"{one.method}: {listed(shown, 2 * SHOWN)}")
        return _("A class belongs to the set of a new case from this probability on: {floors}").format(
            floors="; ".join(parts)
        )

    def _coverage(self) -> Table:
        titles = {"": _("all cases"), "class": _("class"), "site": _("site")}
        columns = [_("cases"), _("number"), *(one.method for one in self.methods)]
        rows = []
        for k, first in enumerate(self.methods[0].covered):
            cells = [one.covered[k].measure for one in self.methods]
            rows.append(
                [
                    f"{titles[first.column]} {first.name}".strip(),
                    units.whole(first.measure.n),
                    *map(_with_interval, cells),
                ]
            )
        return Table(columns, rows, _("How often the set holds the true class"), right=columns[1:])

    def sections(self) -> list[Section]:
        from souron.report import page

        mistakes, points, sizes, coverage = self.tables()
        drawn = page.plot(risk_curves(self.methods[:SHOWN], self.share), points.title)
        return sections(
            ("mistakes", mistakes.title, [mistakes]),
            ("curve", points.title, [drawn]),
            ("points", _("The same in numbers"), [points]),
            ("sets", sizes.title, [sizes]),
            ("coverage", coverage.title, [coverage]),
        )

    def referred(self) -> Iterator[Sequence[Any]]:
        """Yield the rows of the list of cases that are passed on, header first, the least confident first."""
        data, truth = self.data, self.data.truth
        assert truth is not None
        yield "method", "training", "case", "predicted", "truth", "confidence"
        for one in self.methods:
            for training, kept in enumerate(one.kept):
                passed = np.flatnonzero(~kept)
                for case in passed[np.argsort(one.confidence[training, passed], kind="stable")]:
                    guess, true = one.predicted[training, case], truth[case]
                    sure = round(float(one.confidence[training, case]), 4)
                    yield one.method, training + 1, data.cases[case], data.classes[guess], data.classes[true], sure

    def write(self) -> Path | None:
        if self.folder is not None:
            kinds_files.write(self.folder / CASES, kinds_files.separated([*self.referred()]))
        return super().write()


def _with_interval(measure: Measure) -> str:
    return f"{units.percent(measure.value)} ({_interval(measure)})"


def _interval(measure: Measure) -> str:
    return units.interval("share", measure.low, measure.high)


def _plain(measure: Measure) -> dict[str, Any]:
    """Return a measure for JSON, which has no infinity."""
    return {name: _finite(value) for name, value in asdict(measure).items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def risk_curves(methods: Sequence[Referral], share: float) -> bytes:
    """Plot the error among the answers that are not passed on, against the share that is."""
    from matplotlib.ticker import PercentFormatter

    figure = plotting.new_figure(7.2, 3.8)
    axes = figure.subplots()
    plotting.style_axes(axes, _("passed on to a person"), _("error among the others"))
    for index, one in enumerate(methods):
        style = plotting.line_style(index)
        coverage, error = one.curve
        axes.plot(1 - coverage, error, **style, linewidth=1.6, label=plotting.label(one.method, 24))
        places = [place + 0.004 * index for place, _measure in one.points]
        ends = [(measure.low, measure.high) for _place, measure in one.points]
        axes.vlines(places, *zip(*ends, strict=True), color=style["color"], linewidth=1.2, alpha=0.6)
    axes.axvline(share, color=plotting.FAINT, linewidth=1, linestyle=(0, (4, 3)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_xlim(-0.02, 1.0)
    axes.set_ylim(bottom=0)
    plotting.add_legend(figure, axes, 2)
    return plotting.as_png(figure)


class ReferStudy(Action):
    """Say which cases a classifier should pass on to a person, and what that is worth."""

    title = N_("Say which cases a classifier should pass on to a person, and how many errors remain.")
    examples = (
        "souron refer runs/classify/resnet-photos",
        "souron refer runs/classify/resnet-photos refer=20% level=90%",
        "souron refer predictions.csv positive=malignant",
        "souron refer predictions.csv each_class=true",
    )
    group = "train"
    question = N_("Who should be passed on?")
    given = Given(
        "RUN|TABLE",
        N_("a run of a classifier, or case,truth[,group,site] and probabilities"),
        1,
        None,
        sent=(".csv", ".tsv"),
    )
    brief = True
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        paths = [Path(one) for one in given]
        share, level = as_share("refer", options.refer), as_share("level", options.level)
        if level < LEAST_LEVEL:
            raise UserError(
                "option",
                _("{name}={value} does not fit").format(name="level", value=options.level),
                expected=_("50 % or more"),
                fix="level=95%",
            )
        yield Event("data", text=", ".join(path.name for path in paths))
        asked = Asked("probability", options.missing, options.positive, options.classes, options.methods)
        data = run_predictions.read(paths, asked)
        methods = [referral(data, name, share, level, options.each_class) for name in data.methods]
        receipt = {
            "souron": souron.__version__,
            "files": run_predictions.sources(paths),
            "options": {name: value for name, value in asdict(options).items() if value},
        }
        folder = self.new_folder(paths[0].resolve().stem)
        record = ReferRecord(data, methods, share, level, options.each_class, receipt, folder)
        yield Event("done", 1.0, record=record, folder=folder)


__all__ = ["Options", "ReferRecord", "ReferStudy", "risk_curves"]
