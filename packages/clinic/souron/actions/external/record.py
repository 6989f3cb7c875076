"""The external validation in words, tables and plots."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from souron import registry
from souron.action import Block, Fact, Record, Section, Table, sections
from souron.actions.external.advice import MARGIN, Advice, Line, headline
from souron.actions.external.sides import Side
from souron.evaluation import external
from souron.evaluation.external import Change, InputShift, Mixed
from souron.metrics import calibration, classification
from souron.report import wording
from souron.stats.records import Measure, Row
from souron.stats.two_samples import EnergyTest
from souron.utils import units
from souron.utils.messages import N_, _, again, listed

SMALL, LARGE = 0.1, 0.25  # standardised differences
ALPHA = 0.05
MOST_SHARES = 4  # values of a column that are named


@dataclass(frozen=True)
class Prevalence:
    """The share of one class."""

    name: str
    training: int  # cases
    internal: Measure | None
    external: Measure | None  # None: no labels
    estimated: Measure | None  # from the probabilities alone

    @property
    def missed(self) -> bool:
        """True if the intervals of the estimate and of the true share do not meet."""
        if self.external is None or self.estimated is None:
            return False
        return self.external.high < self.estimated.low or self.estimated.high < self.external.low


@dataclass
class ExternalRecord(Record):
    """A run on other data, beside its own test."""

    eyebrow = N_("external validation")
    json_file = "external.json"

    changes: list[Change]
    internal: Side
    external: Side
    classes: tuple[str, ...]
    positive: int | None
    mix: list[Mixed] = field(default_factory=list)
    prevalence: list[Prevalence] = field(default_factory=list)
    lines: tuple[Line | None, Line | None] = (None, None)  # "O:E", "intercept" and "slope" of each side
    inputs: InputShift | None = None
    inputs_missing: bool = False
    sites: dict[str, dict[str, Measure]] = field(default_factory=dict)
    advice: list[Advice] = field(default_factory=list)
    run: str = ""
    data: str = ""
    folder: Path | None = None

    def page_title(self) -> str:
        return _("{run} on {data}").format(run=Path(self.run).name, data=Path(self.data).name or self.data)

    def as_json(self) -> dict[str, Any]:
        there = self.external
        return {
            "run": self.run,
            "data": self.data,
            "cases": len(there.cases) if there.cases is not None else 0,
            "patients": None if there.units is None else len(set(there.units)),
            "labels": there.truth is not None,
            "external": external.as_json(self.changes, wording.change_sentence(self.changes)) if self.changes else None,
            "case_mix": [_plain(asdict(one)) for one in self.mix],
            "prevalence": [_plain(asdict(one)) for one in self.prevalence],
            "calibration": {
                name: None if line is None else _plain({key: asdict(one) for key, one in line.items()})
                for name, line in zip(("internal", "external"), self.lines, strict=True)
            },
            "unlike": there.unlike,
            "inputs": None if self.inputs is None else _plain(asdict(self.inputs)),
            "sites": _plain({site: {n: asdict(m) for n, m in some.items()} for site, some in self.sites.items()}),
            "advice": {
                "action": headline(self.advice) if self.advice else None,
                "updates": [{**_plain(asdict(one)), "reason": reason(one)} for one in self.advice],
            },
            "notes": self.notes(),
        }

    def sentences(self) -> list[str]:
        found = []
        if self.changes:
            found.append(wording.change_sentence(self.changes))
        elif self.external.truth is None:
            found.append(
                _("The cases have no labels: nothing can be measured, only their inputs and case mix compared.")
            )
        else:
            found.append(_("The run keeps no measures of its own test to compare with."))
        if self.inputs is not None:
            found.append(_shift_sentence(self.inputs))
        if self.advice:
            found.append(advice_sentence(self.advice))
        return found

    def facts(self) -> list[Fact]:
        there = self.external
        found = [Fact(_("cases"), units.whole(len(there.cases) if there.cases is not None else 0))]
        if there.units is not None:
            found.append(Fact(_("patients"), units.whole(len(set(there.units)))))
        if self.inputs is not None:
            text = _("p = {p}").format(p=_p(self.inputs.everything))
            found.append(Fact(_("inputs further apart"), _further(self.inputs.everything), text))
        if there.unlike is not None:
            usual = _("5 % of its validation cases are")
            found.append(Fact(_("unlike its training data"), units.percent(there.unlike), usual))
        return found

    def notes(self) -> list[str]:
        found = [again(one) for one in dict.fromkeys([*self.external.notes, *self.internal.notes])]
        few = [one for one in (self.internal, self.external) if one.truth is not None and _few(one)]
        if few:
            found.append(_("Fewer than six patients or cases on a side get no verdict."))
        if self.external.units is None:
            found.append(_("Nothing names the patients of the other data: each case counts as a patient of its own."))
        if self.internal.cases is not None and not self.mix:
            found.append(_("The two tables share no column but the label: the mix of cases cannot be compared."))
        if self.inputs_missing:
            found.append(
                _("The inputs were not compared: that needs internal cases that the network was not trained on.")
            )
        tested = [one for one in self.changes if one.word != external.NOT_TESTED]
        if len(tested) > 1:
            text = _("The verdicts on {measures} and their intervals are corrected for their number (Holm).")
            found.append(text.format(measures=listed([registry.metric(one.name).title for one in tested], 6)))
        if len(tested) < len(self.changes):
            found.append(_("The other measures are not tested; they have 95 % intervals."))
        if any(one.estimated for one in self.prevalence):
            found.append(
                _(
                    "The estimated prevalence holds where only the shares of the classes differ, and where the "
                    "probabilities are calibrated; an image that looks different breaks it."
                )
            )
        missed = [one for one in self.prevalence if one.missed]
        if missed:
            names = listed([one.name for one in missed], MOST_SHARES)
            text = _("The estimate misses the true prevalence of {names}: more than the shares of the classes differs.")
            found.append(text.format(names=names))
        return found

    def tables(self) -> Sequence[Table]:
        made = [
            wording.change_table(self.changes, _("Internal test and external data")) if self.changes else None,
            self._calibration_table(),
            self._mix_table(),
            self._prevalence_table(),
            self._inputs_table(),
            self._site_table(),
            self._advice_table(),
        ]
        return [one for one in made if one is not None and one.rows]

    def _calibration_table(self) -> Table | None:
        rows = []
        for name, line in zip((_("internal"), _("external")), self.lines, strict=True):
            if line is not None:
                rows.append([name, _with_interval(line["intercept"]), _with_interval(line["slope"])])
        columns = [_("side"), _("calibration intercept"), _("calibration slope")]
        text = _(
            "0 and 1 are right. An intercept above 0: the risks of {positive} are too low; a slope below 1: they are "
            "too extreme."
        ).format(positive=self.classes[self.positive] if self.positive is not None else "")
        return Table(columns, rows, _("Calibration"), right=columns[1:], text=text) if rows else None

    def _mix_table(self) -> Table:
        columns = [_("column"), _("internal"), _("external"), _("missing"), _("standardised difference")]
        rows = [
            [
                one.column,
                _described(one, one.internal),
                _described(one, one.external),
                f"{units.percent(one.missing[0], 0)}, {units.percent(one.missing[1], 0)}",
                f"{one.difference:.2f}" if math.isfinite(one.difference) else "∞",
            ]
            for one in self.mix
        ]
        text = _(
            "In standard deviations; from {small} on a difference is worth a look, from {large} on it is large."
        ).format(small=SMALL, large=LARGE)
        return Table(columns, rows, _("Case mix"), right=columns[3:], text=text)

    def _prevalence_table(self) -> Table:
        columns = [_("class"), _("internal"), _("external"), _("estimated without labels")]
        rows = [[one.name, *map(_share, (one.internal, one.external, one.estimated))] for one in self.prevalence]
        return Table(columns, rows, _("Prevalence"), right=columns[1:])

    def _inputs_table(self) -> Table | None:
        if self.inputs is None:
            return None
        columns = [_("cases"), _("further apart"), _("energy distance"), "p", _("patients")]
        tests = {_("all"): self.inputs.everything, **self.inputs.classes}
        rows = [
            [name, _further(one), f"{one.distance:.3g}", _p(one), f"{one.internal} – {one.external}"]
            for name, one in tests.items()
        ]
        text = _(
            "Further apart: by how much the inputs of two patients of different sides differ more than those of two "
            "patients of one side. The permutation test exchanges whole patients. Where all cases differ and no class "
            "does, it is the mix of the classes."
        )
        return Table(columns, rows, _("Inputs of the last layer"), right=columns[1:], text=text)

    def _site_table(self) -> Table:
        columns = [_("site"), _("cases"), *(registry.metric(name).title for name in ("accuracy", "AUC"))]
        rows = [
            [site, units.whole(some["accuracy"].n), _share(some["accuracy"]), _with_interval(some.get("AUC"))]
            for site, some in self.sites.items()
        ]
        return Table(columns, rows, _("Sites of the other data"), right=columns[1:])

    def _advice_table(self) -> Table:
        words = {"yes": _("yes"), "no": _("no"), "cannot tell": _("cannot tell")}
        rows = [
            [
                update(one.action),
                words[one.word],
                units.roughly(one.patients) if one.patients else units.UNKNOWN,
                reason(one),
            ]
            for one in self.advice
        ]
        return Table([_("update"), _("advised"), _("local patients"), _("reason")], rows, _("Updates"))

    def sections(self) -> list[Section]:
        from souron.report import page

        named = {one.title: one for one in self.tables()}
        if self.changes:
            title = _("Internal test and external data")
            named[title] = wording.change_table(self.changes, title, wide=True)

        def part(name: str, title: str, drawn: bytes | None = None, words: str = "") -> tuple[str, str, list[Block]]:
            shown: list[Block] = [page.plot(drawn, words)] if drawn else []
            return name, title, [*shown, *([named[title]] if title in named else [])]

        return sections(
            part("measures", _("Internal test and external data"), self._roc(), _("ROC curves of both sides")),
            part("calibration", _("Calibration"), self._reliability(), _("Calibration curves of both sides")),
            part("case-mix", _("Case mix")),
            part("prevalence", _("Prevalence")),
            part("inputs", _("Inputs of the last layer")),
            part("sites", _("Sites of the other data"), self._forest(), _("The AUC or accuracy of each site")),
            part("updates", _("Updates")),
        )

    def _sides(self) -> dict[str, Side]:
        """Return the sides with labels, by name."""
        both = {_("internal"): self.internal, _("external"): self.external}
        return {name: one for name, one in both.items() if one.truth is not None and one.probability is not None}

    def _roc(self) -> bytes | None:
        from souron.report import plots

        if self.positive is None:
            return None
        curves = {}
        for name, side in self._sides().items():
            assert side.probability is not None and side.truth is not None
            y = side.truth == self.positive
            if y.any() and not y.all():
                false, true = classification.roc(y, side.probability[0, :, self.positive])
                curves[name] = false.tolist(), true.tolist()
        return plots.roc(curves) if curves else None

    def _reliability(self) -> bytes | None:
        from souron.report import plots

        points, confidence = {}, {}
        for name, side in self._sides().items():
            assert side.probability is not None and side.truth is not None
            bins = calibration.curve(side.probability, side.truth, groups=side.units)
            points[name] = [(one.confidence, Measure(one.share, one.low, one.high, one.n)) for one in bins]
            confidence[name] = torch.from_numpy(side.probability[0].max(1))
        return plots.reliability(points, confidence) if points else None

    def _forest(self) -> bytes | None:
        from souron.report import plots

        if not self.sites:
            return None
        name = "AUC" if all("AUC" in some for some in self.sites.values()) else "accuracy"
        whole = {one.name: one for one in self.changes}.get(name)
        rows = {_("internal"): whole.internal, _("external"): whole.external} if whole else {}
        rows |= {f"{site} ({some[name].n})": some[name] for site, some in self.sites.items()}
        return plots.intervals(
            [Row(site, name, one.value, one.low, one.high, 0, 0, 0, 0, ()) for site, one in rows.items()]
        )


def _few(side: Side) -> bool:
    return len(set(side.units) if side.units is not None else side.truth if side.truth is not None else ()) < 6


def _plain(thing: Any) -> Any:
    """Return a value for JSON, which has no infinity."""
    if isinstance(thing, dict):
        return {name: _plain(value) for name, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(value) for value in thing]
    if isinstance(thing, np.generic):
        return _plain(thing.item())
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing


def _share(one: Measure | None) -> str:
    if one is None:
        return units.UNKNOWN
    return f"{units.percent(one.value)} ({units.interval('share', one.low, one.high)})"


def _with_interval(one: Measure | None) -> str:
    if one is None:
        return units.UNKNOWN
    return f"{units.measure('', one.value)} ({units.interval('', one.low, one.high)})"


def _further(test: EnergyTest) -> str:
    return units.percent(test.further)


def _p(test: EnergyTest) -> str:
    return f"{test.p:.3f}"


def _described(one: Mixed, side: dict[str, float]) -> str:
    if not one.numeric:
        ordered = sorted(side.items(), key=lambda pair: -pair[1])
        return listed([f"{name} {units.percent(share, 0)}" for name, share in ordered], MOST_SHARES)
    if one.dates:
        day = str(np.datetime64(round(side["mean"]), "D"))
        return _("{mean} ± {sd} days").format(mean=day, sd=f"{side['sd']:.0f}")
    return f"{side['mean']:.3g} ± {side['sd']:.2g}"


def _shift_sentence(inputs: InputShift) -> str:
    test = inputs.everything
    if test.p > ALPHA:
        text = _("The inputs of the last layer show no difference between the sides (p = {p}).")
    elif inputs.classes and all(one.p > ALPHA for one in inputs.classes.values()):
        text = _(
            "The inputs of the last layer differ between the sides (p = {p}) but within no class: it is the mix of "
            "classes."
        )
    else:
        text = _(
            "The inputs of the last layer differ between the sides: two patients of different sides are {further} "
            "further apart than two of one side (p = {p})."
        )
    return text.format(p=_p(test), further=_further(test))


def update(action: str) -> str:
    """Return the name of an update."""
    return {"recalibrate": _("recalibrate"), "refit": _("refit the head (freeze=true)"), "retrain": _("train again")}[
        action
    ]


def advice_sentence(advice: Sequence[Advice]) -> str:
    """Return the advice as a whole, with the reason and the patients that it needs."""
    key = headline(advice)
    if key == "none":
        return _("No update is needed: discrimination and calibration hold.")
    if key == "cannot tell":
        unsure = next(one for one in advice if one.word == "cannot tell")
        return _("Cannot tell whether an update is needed. {reason}").format(reason=reason(unsure))
    one = next(one for one in advice if one.action == key)
    text = {
        "recalibrate": _("Advice: recalibrate it and choose the threshold anew, on about {count} local patients."),
        "refit": _("Advice: refit its head (freeze=true), on about {count} local patients."),
        "retrain": _("Advice: train again with local cases."),
    }[key]
    return f"{text.format(count=units.roughly(one.patients or 0))} {reason(one)}"


def reason(one: Advice) -> str:
    """Return the reason for or against an update, in a sentence."""
    text = {
        "off": _(
            "The AUC holds, but the probabilities are off: intercept {intercept} ({intercept_interval}), "
            "slope {slope} ({slope_interval})."
        ),
        "off, order unknown": _(
            "The probabilities are off (intercept {intercept}, slope {slope}), but whether the AUC holds is unknown."
        ),
        "order first": _("The AUC fell: recalibrating does not change the order of the cases, so mend that first."),
        "calibrated": _(
            "Intercept {intercept} ({intercept_interval}) and slope {slope} ({slope_interval}) agree with 0 and 1."
        ),
        "wide line": _("The intervals of intercept ({intercept_interval}) and slope ({slope_interval}) are too wide."),
        "classes": _("Intercept and slope are defined for two classes."),
        "no line": _(
            "Intercept and slope cannot be estimated: the classes are separated, or one has too few patients."
        ),
        "holds": _("The AUC is not more than {margin} below that of the internal test (interval from {low})."),
        "wide": _("The interval of the AUC's difference reaches from {low} past 0: too few patients."),
        "few": _("The AUC fell from {internal} to {external}; the rarer class has too few patients to try a new head."),
        "regained": _(
            "The AUC fell from {internal} to {external}, and a head fitted to the local cases reaches {head} "
            "({head_interval}) in cross-validation by patients."
        ),
        "lost": _(
            "The AUC fell from {internal} to {external}, and even a head fitted to the local cases reaches only {head} "
            "({head_interval}) in cross-validation by patients."
        ),
    }[one.why]
    shown = {name: f"{value:.2f}" for name, value in {"margin": MARGIN, **one.figures}.items()}
    for name in [name.removesuffix("_low") for name in shown if name.endswith("_low")]:
        shown[f"{name}_interval"] = units.ends(shown[f"{name}_low"], shown[f"{name}_high"])
    return text.format(**shown)


__all__ = ["ExternalRecord", "Prevalence", "advice_sentence", "reason", "update"]
