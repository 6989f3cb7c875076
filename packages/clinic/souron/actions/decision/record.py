"""Decision curves in words, tables, a plot, and a page with sliders."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from souron.action import Fact, Live, Record, Section, Table, sections
from souron.actions.decision import figure, sliders
from souron.actions.decision.sliders import percent
from souron.data.prediction_table import NAMED
from souron.data.predictions import Predictions
from souron.evaluation.decision_curves import ABOVE, Curve, Decision, Point, Range
from souron.report import page, verdict, viewer, wording
from souron.stats.records import Measure, pairs_as_json
from souron.utils import units
from souron.utils.messages import N_, _, again, listed

FEW_INSIDE = 0.1  # share of the predicted risks within the range of thresholds
FEW_ILL = 20  # patients with, or without, the class
SHORTEST = 1e-9  # width of a range


@dataclass
class DecisionRecord(Record):
    """Decision curves of methods on the same cases."""

    eyebrow = N_("decision curves")
    json_file = "decision.json"
    template = "decision.html"

    made: Decision
    data: Predictions
    given: tuple[str, ...]
    receipt: dict[str, Any]
    folder: Path | None
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(16))  # of the page's script

    def page_title(self) -> str:
        names = [curve.system for curve in self.made.curves]
        return _("Decision curves of {names}").format(names=listed(names, NAMED))

    def as_json(self) -> dict[str, Any]:
        made = self.made
        return {
            "positive": made.risks.positive,
            "cases": len(made.risks.y_true),
            "patients": None if made.risks.groups is None else made.risks.units,
            "prevalence": {"value": made.prevalence, "given": made.given},
            "thresholds": made.thresholds,
            "marked": list(made.marked),
            "treat_all": [asdict(one) for one in made.everyone],
            "methods": [
                {
                    "method": curve.system,
                    "better": [list(one) for one in curve.better],
                    "certain": [list(one) for one in curve.certain],
                    "inside": curve.inside,
                    "miscalibration": curve.miscalibration or None,
                    "curve": [asdict(point) for point in curve.points],
                }
                for curve in made.curves
            ],
            "pairs": pairs_as_json(made.ranking.verdicts),
            "notes": self.notes(),
            "receipt": self.receipt,
        }

    def sentences(self) -> list[str]:
        made = self.made
        found = [_usefulness(made, curve) for curve in made.curves[:NAMED]]
        found.append(self._at_the_threshold(made.curves[0]))
        if made.ranking.verdicts and not made.few:
            called = _("net benefit at {threshold}").format(threshold=percent(made.marked[0]))
            found += wording.verdict_sentences(made.ranking, len(made.risks.y_true), called, once=wording.once())
        return [*found, _meaning(made.marked[0])]

    def _at_the_threshold(self, curve: Curve) -> str:
        """Return natural frequencies at the main threshold, and what they are worth."""
        made, threshold = self.made, self.made.marked[0]
        point = _point(curve, threshold)
        rates = next(one for one in curve.rates if one.threshold == threshold)
        text = _(
            "At a threshold of {threshold}: of {people}, {ill} are ill ({positive}); {method} calls {called} positive, "
            "{found} of them ill, and misses {missed}."
        ).format(
            threshold=percent(threshold),
            people=sliders.people(made),
            positive=made.risks.positive,
            method=curve.system,
            **sliders.counted(made, rates)._asdict(),
        )
        everyone = made.everyone[made.thresholds.index(threshold)].value
        if point.against_default.value <= ABOVE:
            worth = _("Its net benefit is not above that of treating all or of treating none there.")
        elif everyone >= 0:
            worth = _(
                "Compared with treating all, that is worth {avoided} interventions avoided per 100 (95 % interval "
                "{interval}), at no further miss."
            ).format(
                avoided=f"{point.avoided.value:.0f}",
                interval=units.ends(f"{point.avoided.low:.0f}", f"{point.avoided.high:.0f}"),
            )
        else:
            worth = _(
                "Compared with treating none, that is worth {found} ill patients found among 1,000 (95 % interval "
                "{interval}), without a false positive."
            ).format(**_thousand(point.net_benefit))
        return f"{text} {worth}"

    def facts(self) -> list[Fact]:
        made, risks = self.made, self.made.risks
        facts = [Fact(_("cases"), units.whole(len(risks.y_true)))]
        if risks.groups is not None:
            facts.append(Fact(_("patients"), units.whole(risks.units), _("intervals count patients")))
        source = _("as given") if made.given else _("that of these cases")
        facts.append(Fact(_("prevalence"), percent(made.prevalence), source))
        ends = f"{percent(made.thresholds[0])} – {percent(made.thresholds[-1])}"
        facts.append(Fact(_("thresholds"), ends))
        return facts

    def notes(self) -> list[str]:
        made, risks = self.made, self.made.risks
        notes = [
            note for curve in made.curves for note in (*_inside(made, curve), *_calibration(made, curve, self.given))
        ]
        rarer = min(_units(risks, risks.y_true), _units(risks, ~risks.y_true))
        if rarer < FEW_ILL:
            notes.append(
                _("The rarer class has {count} patients or cases: the intervals are wide and rough.").format(
                    count=rarer
                )
            )
        if not made.given:
            text = _(
                "The prevalence is that of these cases, {share}. If they were selected by their class, name the one "
                "where it will be used: prevalence=5%"
            )
            notes.append(text.format(share=percent(made.prevalence)))
        notes.append(
            _(
                "Choose the thresholds before the curve is seen: by how many unnecessary interventions one ill "
                "patient found is worth. The intervals hold for each threshold alone."
            )
        )
        if risks.called:
            notes.append(_("Labels instead of probabilities: the calls are the same at every threshold."))
        notes.extend(map(again, self.data.notes))
        if self.data.missing and not self.data.left_out:
            notes.append(_("Missing predictions count as wrong."))
        if self.data.left_out:
            notes.append(
                _(
                    "{count} cases are left out for all methods. If they are the hard ones, all figures are too good."
                ).format(count=units.whole(len(self.data.left_out)))
            )
        if risks.groups is None:
            notes.append(_("No column names patients: each case counts as a patient of its own."))
        return notes

    def tables(self) -> Sequence[Table]:
        pairs = [self._pairs()] if self.made.ranking.verdicts else []
        return [self._benefits(), self._differences(), *pairs]

    def _benefits(self) -> Table:
        made = self.made
        columns = [*self._columns(), _("net benefit"), _("95 % interval"), _("treat all"), _("standardised")]
        rows = [
            [
                *self._row(threshold, curve),
                _three(point.net_benefit.value),
                _between(point.net_benefit),
                _three(made.everyone[made.thresholds.index(threshold)].value),
                _three(point.standardised.value),
            ]
            for threshold, curve, point in self._marked()
        ]
        text = _(
            "Net benefit: true positives for each patient, less false positives by their weight. Treating none has 0. "
            "Standardised: as a share of the prevalence, the largest possible net benefit."
        )
        return Table(columns, rows, _("Net benefit"), right=[columns[0], *columns[-4:]], text=text)

    def _differences(self) -> Table:
        columns = [*self._columns(), _("better by"), _("95 % interval"), _("avoided per 100"), _("interval")]
        rows = [
            [
                *self._row(threshold, curve),
                _three(point.against_default.value),
                _between(point.against_default),
                f"{point.avoided.value:.0f}",
                units.ends(f"{point.avoided.low:.0f}", f"{point.avoided.high:.0f}"),
            ]
            for threshold, curve, point in self._marked()
        ]
        text = _(
            "Better by: the net benefit above that of treating all or none, whichever is better. Avoided: "
            "interventions among 100 patients that treating all would have added, at the same number of true positives."
        )
        title = _("Against treating all and treating none")
        return Table(columns, rows, title, right=[columns[0], *columns[-4:]], text=text)

    def _pairs(self) -> Table:
        title = _("Net benefit of pairs at a threshold of {threshold}").format(threshold=percent(self.made.marked[0]))
        return replace(verdict.pairs(self.made.ranking), title=title)

    def _columns(self) -> list[str]:
        """Return the first headings; a single method needs no column."""
        return [_("threshold"), *([_("method")] if len(self.made.curves) > 1 else [])]

    def _row(self, threshold: float, curve: Curve) -> list[str]:
        return [percent(threshold), *([curve.system] if len(self.made.curves) > 1 else [])]

    def _marked(self) -> list[tuple[float, Curve, Point]]:
        return [
            (threshold, curve, _point(curve, threshold))
            for threshold in sorted(self.made.marked)
            for curve in self.made.curves
        ]

    def sections(self) -> list[Section]:
        made, headline = self.made, self.sentences()[0]
        explained = [
            _(
                "The line of a method is above both others where acting on it does more good than treating all and "
                "than treating none; the band is its 95 % interval. One unit is one true positive for each patient."
            ),
            _('"Treat" stands for whatever follows a positive result: a biopsy, a drug, a recall.'),
        ]
        people = Live(page.part("people.html", part=sliders.part(made, self.nonce)))
        return sections(
            ("curve", _("Decision curves"), [page.plot(figure.decision_curves(made), headline, headline), *explained]),
            ("people", _("Who is called positive at which threshold?"), [people]),
            ("meaning", _("What a threshold means"), [_meaning(threshold) for threshold in sorted(made.marked)]),
            ("tables", _("In numbers"), self.tables()),
            ("receipt", _("Receipt"), [Table([], list(page.flat(self.receipt)))]),
        )

    def further(self) -> dict[str, Any]:
        return {"nonce": self.nonce, "script": viewer.script("decision.js")}


def _usefulness(made: Decision, curve: Curve) -> str:
    """Return at which thresholds a method is better than treating all and than treating none."""
    if made.few:
        return _("{method}: cannot tell, {count} patients are too few.").format(
            method=curve.system, count=made.risks.units
        )
    if not curve.better:
        return _(
            "At no threshold from {low} to {high} is the net benefit of {method} above that of treating all and of "
            "treating none."
        ).format(low=percent(made.thresholds[0]), high=percent(made.thresholds[-1]), method=curve.system)
    text = _("Between thresholds of {low} and {high}, {method} is better than treating all and than treating none.")
    if curve.better[0][1] - curve.better[0][0] < SHORTEST:
        text = _("At a threshold of {low} alone, {method} is better than treating all and than treating none.")
    text = text.format(**_ends(curve.better[0]), method=curve.system)
    if len(curve.better) > 1:
        text += " " + _("Outside of that range it is, too, at some thresholds.")
    if not curve.certain:
        return f"{text} " + _("The 95 % interval of the difference includes 0 there: it may be chance.")
    if curve.certain == curve.better:
        return f"{text} " + _("The 95 % interval of the difference lies above 0 there.")
    return f"{text} " + _("The 95 % interval of the difference lies above 0 from {low} to {high}.").format(
        **_ends(curve.certain[0])
    )


def _meaning(threshold: float) -> str:
    """Return what a threshold says about the harm of a false positive against that of a miss."""
    if threshold <= 0.5:
        return _(
            "Acting from {threshold} on means accepting {harm} unnecessary interventions for one ill patient found."
        ).format(threshold=percent(threshold), harm=sliders.harm(threshold))
    return _(
        "Acting from {threshold} on means missing {harm} ill patients rather than intervening once without need."
    ).format(threshold=percent(threshold), harm=sliders.harm(1 - threshold))


def _inside(made: Decision, curve: Curve) -> list[str]:
    if made.risks.called or curve.inside >= FEW_INSIDE:
        return []
    text = _(
        "{method}: only {share} of the predicted risks lie between {low} and {high}. In this range the threshold "
        "hardly changes who is called positive."
    )
    ends = {"low": percent(made.thresholds[0]), "high": percent(made.thresholds[-1])}
    return [text.format(method=curve.system, share=percent(curve.inside), **ends)]


def _calibration(made: Decision, curve: Curve, given: Sequence[str]) -> list[str]:
    if not curve.miscalibration:
        return []
    how = {
        "level": _("{predicted} on average, where {observed} are ill"),
        "extreme": _("too close to 0 % and 100 %"),
        "central": _("too far from 0 % and 100 %"),
    }[curve.miscalibration].format(predicted=percent(curve.predicted), observed=percent(made.prevalence))
    text = _(
        "{method}: the predicted risks are badly calibrated ({how}), so that a threshold does not mean what it says. "
        "See: souron calibration {given}"
    )
    return [text.format(method=curve.system, how=how, given=" ".join(given))]


def _units(risks: Any, chosen: Any) -> int:
    """Return the number of patients, or of cases without patients, among the chosen cases."""
    return int(chosen.sum()) if risks.groups is None else len({*risks.groups[chosen].tolist()})


def _point(curve: Curve, threshold: float) -> Point:
    return next(one for one in curve.points if math.isclose(one.threshold, threshold))


def _ends(range_: Range) -> dict[str, str]:
    return {"low": percent(range_[0]), "high": percent(range_[1])}


def _thousand(measure: Measure) -> dict[str, str]:
    """Return a net benefit as true positives among 1,000 patients."""
    return {
        "found": f"{1000 * measure.value:.0f}",
        "interval": units.ends(f"{1000 * measure.low:.0f}", f"{1000 * measure.high:.0f}"),
    }


def _three(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"  # -0.0 becomes 0.0


def _between(measure: Measure) -> str:
    return units.ends(_three(measure.low), _three(measure.high))
