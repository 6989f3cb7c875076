"""Verdict of a comparison as one sentence, and against a margin."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from souron import registry
from souron.metrics.metric import Metric
from souron.metrics.ranking import FEWEST, Ranking
from souron.report.blocks import Table
from souron.stats.records import Verdict
from souron.stats.verdict import MOST_CASES
from souron.utils import units
from souron.utils.messages import _, listed, sentences

if TYPE_CHECKING:
    from souron.evaluation.external import Change
    from souron.evaluation.record import Measure


def sentence(found: Ranking, cases: int, measure: str = "", sample: int = 0, once: str = "") -> str:
    """Return the headline of a comparison's report.

    ``measure`` is the metric in the reader's language, where it is not its title alone. ``sample``: the number of
    training cases where all trainings share them, so that no verdict counts the effect of another training sample; 0
    with cross-validation, which does count it. ``once`` is the last sentence where there is one training of each; by
    default one about networks and seeds.
    """
    rows, best = found.rows, found.rows[0].system
    if len(rows) == 1:
        return _("{system} ran alone: there is nothing to compare it with.").format(system=best)
    beside = {
        (verdict.b if verdict.a == best else verdict.a): verdict
        for verdict in found.verdicts
        if best in (verdict.a, verdict.b)
    }
    like = [row.system for row in rows[1:] if beside[row.system].verdict == "cannot tell"]
    second = like[0] if like else rows[1].system
    lead = beside[second].of(best)
    if len(rows) == 2 and not like:
        told = _("{best} is better than {second} by {difference} in {measure}.")
    elif len(rows) == 2:
        told = _(
            "{best} or {second}: cannot tell which is better. In {measure}, {best} leads by "
            "{difference} on {cases} test cases."
        )
    elif not like:
        told = _("{best} is the best of {count}: better than {second}, the second, by {difference} in {measure}.")
    elif len(like) == len(rows) - 1:
        told = _(
            "{best} leads {second} by {difference} in {measure}, but on {cases} test cases it "
            "cannot be distinguished from any other of the {count}."
        )
    else:
        told = _(
            "{best} is better than {beaten}. On {cases} test cases it cannot be distinguished "
            "from {like}: it leads {second} by {difference} in {measure}."
        )
    said = [
        told.format(
            best=best,
            second=second,
            difference=_difference(lead.difference, lead.low, lead.high, found.metric.unit),
            measure=measure or found.metric.title,
            like=_listed(like),
            beaten=_listed([row.system for row in rows[1:] if row.system not in like]),
            cases=f"{cases:,}",
            count=len(rows),
        )
    ]
    if like:
        said.append(_needed(lead, found.trainings))
    if found.trainings == 1:
        said.append(once or _("One seed each: this applies to these trained networks only, not to other trainings."))
    elif sample and len(like) < len(rows) - 1:
        said.append(
            _("This holds for this training sample of {cases} cases; another training set could reverse this.").format(
                cases=f"{sample:,}"
            )
        )
    return sentences(said)


def verdict_sentences(found: Ranking, cases: int, measure: str = "", sample: int = 0, once: str = "") -> list[str]:
    """Return the sentence of a ranking, and that against a margin if there is one; see ``sentence``."""
    if found.few and found.verdicts:
        text = {
            "patients": _("Cannot tell: {count} patients are too few for a verdict; {least} at least are needed."),
            "cases": _("Cannot tell: {count} cases are too few for a verdict; {least} at least are needed."),
            "rarer class": _(
                "Cannot tell: the rarer class has {count} patients or cases, too few for a verdict; {least} at least "
                "are needed."
            ),
        }[found.counted]
        return [text.format(count=found.units, least=FEWEST)]
    headline = sentence(found, cases, measure, sample, once)
    return [headline, against_margin(found)] if found.margins else [headline]


def once() -> str:
    """Return for what a verdict holds where a method predicts each case once."""
    return _(
        "One prediction of each method for a case: this applies to these trained models or readers only, not to other "
        "trainings."
    )


def margin_text(metric: Metric, margin: float) -> str:
    """Return a margin with its unit: ``2 points``, ``0.5 mm``."""
    if metric.unit == "share":
        return _("{points} points").format(points=f"{margin:g}")
    return f"{metric.margin_width(margin):g} {metric.unit}".rstrip()


def against_margin(ranking: Ranking) -> str:
    """Return the sentence on the best system and the second one, against a margin."""
    best, second = (row.system for row in ranking.rows[:2])
    found = next(
        margin
        for one, margin in zip(ranking.verdicts, ranking.margins, strict=True)
        if {one.a, one.b} == {best, second}
    )
    text = {
        "superior": _("With a margin of {margin}: {a} is superior to {b}."),
        "inferior": _("With a margin of {margin}: {a} is inferior to {b}."),
        "equivalent": _("With a margin of {margin}: {a} and {b} are equivalent."),
        "not inferior": _(
            "With a margin of {margin}: {a} is not inferior to {b}; whether {b} is inferior to {a} is open."
        ),
        "cannot tell": _("With a margin of {margin}: cannot tell whether {a} is inferior to {b}."),
    }[found.word]
    parts = [text.format(margin=margin_text(ranking.metric, ranking.margin or 0.0), a=best, b=second)]
    if found.small:
        parts.append(_("The difference is significant, but its whole interval lies within the margin."))
    if found.cases_needed:
        parts.append(_("About {cases} more cases needed.").format(cases=units.roughly(found.cases_needed)))
    return sentences(parts)


def margin_changes(metric: Metric, history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each margin that was fixed or changed after results had been seen.

    ``history`` holds margins in their order, each with the finished ``rounds`` at its time.
    """
    changes = []
    for before, after in zip([None, *history], history, strict=False):
        if not after["rounds"]:
            continue
        now = margin_text(metric, after["margin"])
        if before is None:
            changes.append(_("The margin of {margin} was fixed after results were seen.").format(margin=now))
            continue
        text = _("The margin was changed after results were seen: from {before} to {after}.")
        was = before["margin"] if metric.unit == "share" else metric.margin_width(before["margin"])
        changes.append(text.format(before=f"{was:g}", after=now))
    return changes


def _listed(names: Sequence[str], most: int = 3) -> str:
    shown = _(", ").join(names[:most])
    if len(names) <= most:
        return shown
    return _("{names} and {count} more").format(names=shown, count=len(names) - most)


def _needed(verdict: Verdict, seeds: int) -> str:
    more = {"cases": units.roughly(verdict.cases_needed or 0), "seeds": verdict.seeds_needed, "times": MOST_CASES}
    if verdict.cases_needed and verdict.seeds_needed:
        told = _("About {cases} more cases needed, or more seeds: about {seeds} each.")
    elif verdict.seeds_needed:
        told = _("More seeds needed, about {seeds} each; more cases alone will not decide it.")
    elif verdict.cases_needed and seeds > 1:
        told = _("About {cases} more cases needed; more seeds alone will not decide it.")
    elif verdict.cases_needed:
        told = _("About {cases} more cases needed.")
    elif seeds > 1:
        told = _(
            "More cases alone (up to {times} times), or more trainings alone (up to a hundred), will not decide it."
        )
    else:
        told = _("Even {times} times the cases will not decide it.")
    return told.format(**more)


def _difference(value: float, low: float, high: float, unit: str) -> str:
    """Format a difference as ``0.8 points (0.3–1.3)``, with digits enough to exclude 0."""
    if unit == "share":
        value, low, high = 100 * value, 100 * low, 100 * high
    large = max(abs(value), abs(low), abs(high))
    digits = 1 if unit == "share" or large >= 10 else 3
    while digits < 8 and low * high > 0 and min(abs(low), abs(high)) < 0.5 * 10**-digits:
        digits += 1
    middle, *ends = (f"{round(each, digits) + 0:.{digits}f}" for each in (value, low, high))
    shown = {"value": middle, "interval": units.ends(*ends), "unit": unit}
    if unit == "share":
        return _("{value} points ({interval})").format(**shown)
    if unit:
        return _("{value} {unit} ({interval})").format(**shown)
    return _("{value} ({interval})").format(**shown)


def measure_table(measures: Mapping[str, "Measure"], title: str = "") -> Table:
    """Return each measure with its interval and its number of cases."""
    columns = [_("measure"), _("value"), _("95 % interval"), _("cases")]
    rows = []
    for name, one in measures.items():
        metric = registry.metric(name)
        rows.append([metric.title, metric.text(one.value), metric.interval(one.low, one.high), units.whole(one.n)])
    return Table(columns, rows, title, right=columns[1:])


def change_table(changes: Sequence["Change"], title: str = "", wide: bool = False) -> Table:
    """Return each measure in the internal test and on external data, with the interval of the difference.

    ``wide``: also the interval of each side, for a page.
    """
    words = {"worse": _("worse"), "better": _("better"), "cannot tell": _("cannot tell"), "not tested": _("not tested")}
    columns = [_("measure"), _("internal"), _("external"), _("difference"), _("interval"), ""]
    rows = []
    for one in changes:
        metric, known = registry.metric(one.name), math.isfinite(one.shift.low) and math.isfinite(one.shift.high)
        rows.append(
            [
                metric.title,
                *(
                    metric.text(side.value) + (f" ({metric.interval(side.low, side.high)})" if wide else "")
                    for side in (one.internal, one.external)
                ),
                metric.difference(one.shift.difference),
                metric.differences(one.shift.low, one.shift.high) if known else units.UNKNOWN,
                words[one.word],
            ]
        )
    return Table(columns, rows, title, right=columns[1:5])


def change_sentence(changes: Sequence["Change"]) -> str:
    """Return the measures that are worse, or better, on external data than in the internal test."""
    said = []
    for word, text in (
        ("worse", _("Worse on the external data than in the internal test: {measures}.")),
        ("better", _("Better on the external data than in the internal test: {measures}.")),
    ):
        if some := [_changed(one) for one in changes if one.word == word]:
            said.append(text.format(measures=listed(some, 6)))
    if not any(one.word == "worse" for one in changes):
        said.insert(0, _("No measure is shown to be worse on the external data than in the internal test."))
    return sentences(said)


def _changed(one: "Change") -> str:
    low, high = sorted((abs(one.shift.low), abs(one.shift.high)))
    metric = registry.metric(one.name)
    return _("{measure} by {difference}").format(
        measure=metric.title, difference=_difference(abs(one.shift.difference), low, high, metric.unit)
    )
