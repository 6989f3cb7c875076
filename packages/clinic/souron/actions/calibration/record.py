"""The record of ``souron calibration``: sentences, tables, curves, JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from souron.action import Block, Fact, Record, Section, Table, sections
from souron.data.prediction_table import NAMED
from souron.data.predictions import Predictions
from souron.metrics.recalibration import Recalibration
from souron.metrics.risk_calibration import DISTANCES, FEWEST, NAMES, REASONS, RiskCalibration
from souron.stats.records import Measure
from souron.stats.variance import Scores
from souron.utils import plotting, units
from souron.utils.messages import N_, _, listed

ADVISED = 200  # cases with, and as many without, the outcome (Van Calster et al. 2016)
ISOTONIC = 1000  # cases (Niculescu-Mizil and Caruana 2005)
SPOKEN = 5  # methods that get sentences; the tables hold all
BANDS = 3  # curves in a plot up to which bands are drawn
BINS = 20  # of the histograms


@dataclass(frozen=True)
class Method:
    """A method's risks of the judged class with their calibration, before and after recalibration."""

    name: str
    risk: Scores  # (S, cases)
    before: RiskCalibration
    new_risk: Scores | None = None
    after: RiskCalibration | None = None
    how: str = ""  # "validation" or "cross-fitted": the cases that the recalibration was fitted on
    learnt_from: int = 0  # these cases
    recalibration: Recalibration | None = None  # for further cases
    refused: bool = False  # it could not be recalibrated


@dataclass
class CalibrationRecord(Record):
    """Methods with the calibration of the risk of one class."""

    eyebrow = N_("calibration")
    json_file = "calibration.json"

    data: Predictions
    positive: int
    outcome: Scores  # (cases,) 1 for the judged class
    methods: tuple[Method, ...]
    kind: str  # of recalibration
    runs: bool
    receipt: dict[str, Any]
    folder: Path | None

    def page_title(self) -> str:
        return _("Calibration of {names}").format(names=listed([one.name for one in self.methods], NAMED))

    @property
    def name(self) -> str:
        """The class whose risk is judged."""
        return self.data.classes[self.positive]

    def as_json(self) -> dict[str, Any]:
        return {
            "positive": self.name,
            "classes": list(self.data.classes),
            "cases": len(self.outcome),
            "with_outcome": int(self.outcome.sum()),
            "patients": None if self.data.groups is None else self.data.units,
            "trainings": self.data.seeds,
            "recalibrate": self.kind,
            "methods": [_method_json(one) for one in self.methods],
            "left_out": list(self.data.left_out),
            "notes": self.notes(),
            "receipt": self.receipt,
        }

    def sentences(self) -> list[str]:
        several = len(self.methods) > 1
        return [
            (f"{one.name}: " if several else "") + " ".join(_sentences(one, self.kind)) for one in self.methods[:SPOKEN]
        ]

    def facts(self) -> list[Fact]:
        facts = [
            Fact(_("cases"), units.whole(len(self.outcome))),
            Fact(_("of the class {name}").format(name=self.name), units.whole(self.outcome.sum())),
        ]
        if self.data.groups is not None:
            facts.append(Fact(_("patients"), units.whole(self.data.units), _("intervals count patients")))
        return facts

    def notes(self) -> list[str]:
        return list(_notes(self))

    def tables(self) -> Sequence[Table]:
        return [*self._tables_of(False), *self._tables_of(True), *self._formula_table()]

    def judged(self, after: bool) -> Iterator[tuple[str, Scores, RiskCalibration]]:
        """Yield name, risks and calibration of each method before or after its recalibration."""
        for one in self.methods:
            if not after:
                yield one.name, one.risk, one.before
            elif one.after is not None and one.new_risk is not None:
                yield one.name, one.new_risk, one.after

    def _tables_of(self, after: bool) -> list[Table]:
        """Return the table of O:E, intercept and slope, and that of the distances; [] without methods."""
        judged = list(self.judged(after))
        if not judged:
            return []
        first = [_("method"), _("O:E"), _("calibration intercept"), _("calibration slope")]
        second = [_("method"), _("mean risk"), "ICI", "E50", "E90"]
        measures = [[name, *(_figure(made.measures.get(each)) for each in NAMES[:3])] for name, _risk, made in judged]
        distances = [
            [name, units.percent(made.predicted), *(_figure(made.measures.get(each), 100, 1) for each in DISTANCES)]
            for name, _risk, made in judged
        ]
        texts = [
            _("With the 95 % interval. Perfect: O:E (observed / expected) 1, intercept 0 (log-odds), slope 1."),
            _(
                "{share} of the cases were {name}. Distance between predicted and observed risk along the curve, in "
                "percentage points: mean (ICI), median (E50), 90th percentile (E90)."
            ).format(share=units.percent(judged[0][2].observed), name=self.name),
        ]
        titles = (
            (_("After recalibration"), _("Distances after recalibration"))
            if after
            else (_("Calibration"), _("Distances from the observed risk"))
        )
        return [
            Table(first, measures, titles[0], right=first[1:], text="" if after else texts[0]),
            Table(second, distances, titles[1], right=second[1:], text="" if after else texts[1]),
        ]

    def _formula_table(self) -> list[Table]:
        rows = [
            [one.name, units.whole(one.learnt_from), _fitted_on(one.how), _formula(one.recalibration)]
            for one in self.methods
            if one.recalibration is not None
        ]
        columns = [_("method"), _("cases"), _("fitted on"), _("for further cases")]
        return [Table(columns, rows, _("Recalibration: {kind}").format(kind=_kind(self.kind)))] if rows else []

    def sections(self) -> list[Section]:
        from souron.report import page

        parts: list[tuple[str, str, Sequence[Block]]] = []
        for after, name in ((False, "curves"), (True, "recalibrated")):
            tables = self._tables_of(after)
            parts += [(f"{name}-{place}", table.title, [table]) for place, table in enumerate(tables)]
            if any(made.curve for _name, _risk, made in self.judged(after)):
                title = _("Curve after recalibration") if after else _("Observed against predicted risk")
                drawn = page.plot(curves(list(self.judged(after)), self.outcome), title)
                parts.append((name, title, [drawn]))
        return sections(*parts, *(("formula", table.title, [table]) for table in self._formula_table()))


def _figure(measure: Measure | None, times: float = 1.0, digits: int = 2) -> str:
    """Return a value with its interval: ``0.72 (0.55–0.91)``."""
    if measure is None:
        return units.UNKNOWN
    value, low, high = (f"{times * each:.{digits}f}" for each in (measure.value, measure.low, measure.high))
    return f"{value} ({units.ends(low, high)})"


def _sentences(one: Method, kind: str) -> Iterator[str]:
    """Yield what the figures of a method mean."""
    yield from _meaning(one.before)
    if one.after is not None:
        found = [
            text.format(value=_figure(one.after.measures[name], times, digits))
            for name, text, times, digits in (
                ("O:E", _("O:E {value}"), 1.0, 2),
                ("slope", _("slope {value}"), 1.0, 2),
                ("ICI", _("ICI {value} points"), 100.0, 1),
            )
            if name in one.after.measures
        ]
        yield _("After recalibration ({kind}, fitted on {cases}): {measures}.").format(
            kind=_kind(kind), cases=_fitted_on(one.how), measures=", ".join(found) or units.UNKNOWN
        )
    elif one.refused:
        yield _("It cannot be recalibrated ({kind}): the cases do not determine how.").format(kind=_kind(kind))


def _meaning(made: RiskCalibration) -> Iterator[str]:
    """Yield what O:E, slope and ICI mean."""
    if not made.measures:
        yield _("Calibration cannot be estimated: {reason}.").format(reason=_reason(made.reasons["slope"]))
        return
    ratio, slope, distance = (made.measures.get(name) for name in ("O:E", "slope", "ICI"))
    if ratio is not None:
        text = _("The predicted risks are right on average, as far as these cases show: {p} predicted, {o} observed")
        if ratio.high < 1:
            text = _("The predicted risks are too high on average: {p} predicted, {o} observed")
        elif ratio.low > 1:
            text = _("The predicted risks are too low on average: {p} predicted, {o} observed")
        yield f"{text}, O:E {_figure(ratio)}.".format(p=units.percent(made.predicted), o=units.percent(made.observed))
    if slope is None:
        yield _("The slope cannot be estimated: {reason}.").format(reason=_reason(made.reasons["slope"]))
    elif slope.high < 1:
        yield _("They are too extreme: slope {value}; high risks are too high, and low ones too low.").format(
            value=_figure(slope)
        )
    elif slope.low > 1:
        yield _("They are too moderate: slope {value}; high risks are too low, and low ones too high.").format(
            value=_figure(slope)
        )
    else:
        yield _("These cases do not show them too extreme or too moderate: slope {value}.").format(value=_figure(slope))
    if distance is not None:
        yield _("Predicted and observed risks differ by {value} percentage points on average (ICI).").format(
            value=_figure(distance, 100, 1)
        )


def _reason(key: str) -> str:
    return _(REASONS[key]).format(count=FEWEST)


def _kind(kind: str) -> str:
    """Return the name of a recalibration."""
    return {"intercept": _("intercept"), "slope": _("intercept and slope"), "isotonic": _("isotonic")}.get(kind, kind)


def _fitted_on(how: str) -> str:
    return _("validation cases") if how == "validation" else _("other patients, in ten parts")


def _formula(made: Recalibration | None) -> str:
    """Return how to recalibrate a further case."""
    if made is None:
        return units.UNKNOWN
    if made.steps:
        return _("{count} points in calibration.json, linear in between").format(count=units.whole(len(made.steps)))
    return f"logit q = {made.intercept:.3g} + {made.slope:.3g} logit p"


def _notes(record: CalibrationRecord) -> Iterator[str]:
    """Yield what limits the figures."""
    data = record.data
    if data.left_out:
        yield _("{count} cases are left out, since a prediction or the truth is missing: {names}").format(
            count=units.whole(len(data.left_out)), names=listed(list(data.left_out), NAMED)
        )
    if len(data.classes) > 2:
        yield _("The class {name} is judged against all others.").format(name=record.name)
    else:
        yield _("The risks are those of the class {name}.").format(name=record.name)
    if record.runs:
        yield _("They are the network's own, as souron predict shows them, without temperature scaling.")
    few = int(min(record.outcome.sum(), (1 - record.outcome).sum()))
    if few < ADVISED:
        yield _(
            "{count} cases are of the rarer outcome. At least {advised} are advised for a calibration curve; with "
            "fewer, a method that looks well calibrated may not be."
        ).format(count=few, advised=ADVISED)
    yield from _notes_of_methods(record)
    if data.seeds > 1:
        yield _("Each of {count} predictions of a case has measures of its own; their mean is shown.").format(
            count=data.seeds
        )
    if data.groups is None:
        yield _("No column names patients: each case counts as a patient of its own.")
    yield from _notes_on_recalibration(record)


def _notes_of_methods(record: CalibrationRecord) -> Iterator[str]:
    """Yield what could not be estimated, and risks of exactly 0 or 1."""
    both = [
        (_("{name}, recalibrated").format(name=name) if after else name, made)
        for after in (False, True)
        for name, _risk, made in record.judged(after)
    ]
    for name, made in both:
        for reason in dict.fromkeys(made.reasons.values()):
            lacking = [each for each, why in made.reasons.items() if why == reason]
            yield _("{name}: {measures} cannot be estimated: {reason}.").format(
                name=name, measures=", ".join(lacking), reason=_reason(reason)
            )
        if made.extreme:
            yield _(
                "{name}: {count} predicted risks are within 0.000001 of 0 or 1, which claims certainty; {wrong} of "
                "them are wrong. They count as 0.000001 and 0.999999, on which the slope depends."
            ).format(name=name, count=units.whole(made.extreme), wrong=units.whole(made.wrong))
        if made.curve is not None and not made.curve.knots:
            yield _("{name}: the curve is a straight line in the log-odds, for the cases bear no other.").format(
                name=name
            )


def _notes_on_recalibration(record: CalibrationRecord) -> Iterator[str]:
    hows = {one.how for one in record.methods if one.how}
    if "validation" in hows:
        yield _(
            "The recalibration was fitted on the run's validation cases, and judged on its test cases. The validation "
            "cases also chose the checkpoint."
        )
    if "cross-fitted" in hows:
        yield _(
            "Each patient's risks were recalibrated by the other patients in ten parts; what is given for further "
            "cases is fitted on all. The intervals after recalibration take it as given."
        )
    if record.runs and "cross-fitted" in hows:
        yield _("No validation cases were left for it: a run was cross-validated, or has none.")
    least = min((one.learnt_from for one in record.methods if one.how), default=ISOTONIC)
    if record.kind == "isotonic" and least < ISOTONIC:
        yield _("Isotonic recalibration on {count} cases overfits; about {advised} are advised.").format(
            count=units.whole(least), advised=units.whole(ISOTONIC)
        )


def _method_json(one: Method) -> dict[str, Any]:
    fitted = one.recalibration
    return {
        "method": one.name,
        "before": _calibration_json(one.before),
        "after": None if one.after is None else _calibration_json(one.after),
        "recalibration": None
        if not one.how
        else {
            "fitted_on": one.how,
            "cases": one.learnt_from,
            "intercept": None if fitted is None or fitted.steps else fitted.intercept,
            "slope": None if fitted is None or fitted.steps else fitted.slope,
            "points": [] if fitted is None else [list(step) for step in fitted.steps],
        },
    }


def _calibration_json(made: RiskCalibration) -> dict[str, Any]:
    return {
        "predicted": made.predicted,
        "observed": made.observed,
        "measures": {name: asdict(measure) for name, measure in made.measures.items()},
        "cannot_be_estimated": {name: REASONS[key].format(count=FEWEST) for name, key in made.reasons.items()},
        "ici_if_perfect": made.chance,
        "extreme_risks": {"count": made.extreme, "wrong": made.wrong},
        "curve": []
        if made.curve is None
        else [
            {"risk": risk, "observed": observed, "low": low, "high": high}
            for risk, observed, low, high in np.stack(
                [made.curve.risk, made.curve.observed, made.curve.low, made.curve.high], 1
            ).tolist()
        ],
        "knots": None if made.curve is None else made.curve.knots,
    }


def curves(judged: Sequence[tuple[str, Scores, RiskCalibration]], outcome: Scores) -> bytes:
    """Plot observed against predicted risk with bands, above histograms of the risks for both outcomes, as PNG.

    Of each method with a curve; ``outcome`` (cases,). The dashed diagonal is perfect calibration. Bands are drawn for
    up to ``BANDS`` methods. The histograms point up for cases with the outcome, and down for those without.
    """
    from matplotlib.ticker import FuncFormatter, PercentFormatter

    shown = [(name, risk, made.curve) for name, risk, made in judged if made.curve is not None]
    most = max(max(float(curve.risk.max()), float(curve.observed.max())) for _name, _risk, curve in shown)
    end = 1.0 if most > 0.5 else 1.3 * most
    figure = plotting.new_figure(5.6, 5.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    plotting.style_axes(upper, "", _("observed risk"))
    plotting.style_axes(lower, _("predicted risk"), _("cases"))
    upper.plot((0, 1), (0, 1), color=plotting.FAINT, linewidth=1, linestyle=(0, (4, 3)))
    lower.axhline(0, color=plotting.FAINT, linewidth=0.8)
    for place, (name, risk, curve) in enumerate(shown):
        style = plotting.line_style(place)
        upper.plot(curve.risk, curve.observed, **style, linewidth=1.8, label=plotting.label(name, 32))
        if len(shown) <= BANDS:
            upper.fill_between(curve.risk, curve.low, curve.high, color=style["color"], alpha=0.14, linewidth=0)
        for chosen, sign in ((outcome == 1, 1), (outcome == 0, -1)):
            counts, edges = np.histogram(risk[:, chosen], BINS, (0, end))
            lower.stairs(sign * counts / len(risk), edges, **style, linewidth=1.2, fill=len(shown) == 1, alpha=0.7)
    upper.set_xlim(-0.02 * end, 1.02 * end)
    upper.set_ylim(-0.02 * end, 1.02 * end)
    for axis in (upper.yaxis, lower.xaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    lower.yaxis.set_major_formatter(FuncFormatter(lambda n, _place: units.count(abs(n))))
    for text, height, side in ((_("with the outcome"), 0.97, "top"), (_("without the outcome"), 0.03, "bottom")):
        lower.text(0.5, height, text, transform=lower.transAxes, ha="center", va=side, color=plotting.FAINT, fontsize=8)
    plotting.add_legend(figure, upper, min(len(shown), 2))
    return plotting.as_png(figure)


__all__ = ["CalibrationRecord", "Method", "curves"]
