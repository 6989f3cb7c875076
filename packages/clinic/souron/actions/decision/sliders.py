"""The part of the page with two sliders: who of 1,000 patients is called positive, at any threshold and prevalence.

The page holds sensitivity and specificity for each threshold as JSON, and its script (``report/static/decision.js``)
computes the rest as ``metrics.classification.at_threshold`` does.
"""

import json
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from souron.evaluation.decision_curves import DIGITS, PERCENTS, Decision, Rates, prevalences
from souron.metrics import classification, net_benefit
from souron.metrics.net_benefit import Frequencies
from souron.stats.records import Measure
from souron.utils import units
from souron.utils.messages import _

PEOPLE = 1000


def thresholds(marked: Sequence[float]) -> tuple[float, ...]:
    """Return the positions of the slider of thresholds: each percent, and the marked ones."""
    return tuple(sorted({*PERCENTS, *marked}))


def percent(share: float) -> str:
    """Return a share with the digits that it needs, three at most.

    >>> percent(0.08), percent(0.025), percent(0.4778)
    ('8 %', '2.5 %', '47.8 %')
    """
    return f"{100 * share:.3g} %"


def people(made: Decision) -> str:
    """Return what is counted, in words: patients, or cases where a patient has several."""
    return _("1,000 patients") if made.risks.units == len(made.risks.y_true) else _("1,000 cases")


def counted(made: Decision, rates: Rates) -> Frequencies:
    """Return the natural frequencies at a threshold and the prevalence of the study."""
    return net_benefit.frequencies(rates.sensitivity.value, rates.specificity.value, made.prevalence, PEOPLE)


def words(made: Decision) -> dict[str, str]:
    """Return the sentences of the page's script."""
    return {
        "result": _(
            "Of {people}, {ill} are ill. {called} are called positive: {found} of them are ill, and {alarms} are not. "
            "{missed} ill ones are missed."
        ).replace("{people}", people(made)),
        "harm": _("This threshold means accepting {harm} unnecessary interventions for one ill patient found."),
        "image": _(
            "{people} as dots: {found} true positives, {missed} missed, {alarms} false positives, {spared} true "
            "negatives"
        ).replace("{people}", people(made)),
    }


def held(made: Decision) -> dict[str, Any]:
    """Return what the page's script reads."""
    first = made.curves[0]
    positions = [one.threshold for one in first.rates]
    shares = prevalences(made.prevalence)
    return {
        "people": PEOPLE,
        "thresholds": positions,
        "prevalences": shares,
        "at": [positions.index(made.marked[0]), shares.index(round(made.prevalence, DIGITS))],
        "methods": [
            {
                "sensitivity": [_ends(one.sensitivity) for one in curve.rates],
                "specificity": [_ends(one.specificity) for one in curve.rates],
                "together": [round(one.together, DIGITS) for one in curve.rates],
            }
            for curve in made.curves
        ],
        "words": words(made),
    }


def part(made: Decision, nonce: str) -> dict[str, Any]:
    """Return what the template shows: the sliders at the study's threshold and prevalence."""
    now, first = held(made), made.curves[0]
    rates = first.rates[now["at"][0]]
    return {
        "held": Markup(json.dumps(now, separators=(",", ":")).replace("<", "\\u003c")),
        "nonce": nonce,
        "methods": [one.system for one in made.curves],
        "at": now["at"],
        "last": [len(now["thresholds"]) - 1, len(now["prevalences"]) - 1],
        "shown": [percent(made.marked[0]), percent(made.prevalence)],
        "text": words(made)["result"].format(**counted(made, rates)._asdict()),
        "harm": words(made)["harm"].format(harm=harm(made.marked[0])),
        "positive": made.risks.positive,
        "rates": _rates(made),
    }


def _rates(made: Decision) -> list[tuple[str, str, str, str]]:
    """Return rows of the table of rates at the first marked threshold: id, name, value and interval."""
    risks, threshold = made.risks, made.marked[0]
    calls = risks.calls(made.curves[0].system, threshold)
    found = classification.at_threshold(risks.y_true, calls, risks.groups, made.prevalence, trainings=risks.trainings)
    names = {
        "sensitivity": _("sensitivity"),
        "specificity": _("specificity"),
        "ppv": _("positive predictive value"),
        "npv": _("negative predictive value"),
    }
    measures = [found[name] for name in list(found)[: len(names)]]
    return [
        (key, name, units.percent(one.value), units.interval("share", one.low, one.high))
        for (key, name), one in zip(names.items(), measures, strict=True)
    ]


def harm(threshold: float) -> str:
    """Return how many unnecessary interventions one ill patient found is worth: 1 / w.

    >>> harm(0.1), harm(0.3)
    ('9', '2.33')
    """
    return f"{1 / net_benefit.weight(threshold):.3g}"


def _ends(measure: Measure) -> list[float]:
    return [round(one, DIGITS) for one in (measure.value, measure.low, measure.high)]
