"""The tables of a verdict, a ranking and its pairs, which every face draws: terminal, page, Word and CSV."""

import math
from collections.abc import Callable, Mapping

from souron.metrics.ranking import Ranking
from souron.report import wording
from souron.report.blocks import Cell, Table
from souron.stats.records import Margin, Row, Verdict
from souron.utils import units
from souron.utils.messages import _

MOST_PAIRS = 1000  # of a table


def tables(found: Ranking, title: str = "", links: Mapping[str, str] | None = None) -> list[Table]:
    """Return the ranking with its ``title``, and the pairs if there are any; ``links`` are addresses of systems."""
    made = [ranking(found, title, links)]
    return [*made, pairs(found)] if found.verdicts else made


def ranking(found: Ranking, title: str = "", links: Mapping[str, str] | None = None) -> Table:
    """Return the table of systems, best first: the measure with its interval, and the cost where it is known.

    Single readers, whose mean is ranked, stand below.
    """
    metric, known = found.metric, links or {}
    single = [(one.system, one.measure) for one in found.readers]
    rows = [*found.rows, *(Row(name, metric.name, one.value, one.low, one.high) for name, one in single)]
    columns: dict[str, list[Cell]] = {
        _("system"): [Cell(row.system, link=known.get(row.system, "")) for row in rows],
        Cell(metric.title, metric.name): [Cell(metric.text(row.value), row.value) for row in rows],
        _("95 % interval"): [Cell(metric.interval(row.low, row.high), (row.low, row.high), "faint") for row in rows],
    }
    seeds = [row.seeds if len(row.seeds) > 1 else () for row in rows]
    further = {
        _("its seeds"): [
            Cell(metric.interval(min(own), max(own)), (min(own), max(own)), "faint") if own else None for own in seeds
        ],
        _("training time"): [_cost(row.train_seconds, units.seconds) for row in rows],
        _("examples seen"): [_cost(row.examples_seen, units.count) for row in rows],
        _("parameters"): [_cost(row.parameters, units.count) for row in rows],
        "FLOP": [_cost(row.flops, units.scaled) for row in rows],
    }
    for name, cells in further.items():
        if any(cell is not None for cell in cells):
            columns[name] = [Cell(units.UNKNOWN) if cell is None else cell for cell in cells]
    names = list(columns)
    return Table(
        names, list(zip(*columns.values(), strict=True)), title, right=names[1:], wide=(_("its seeds"), "FLOP")
    )


def _cost(value: float, text: Callable[[float], str]) -> Cell | None:
    return Cell(text(value), value) if math.isfinite(value) and value > 0 else None


def pairs(found: Ranking) -> Table:
    """Return the table of pairs: verdict, difference with its interval, the margin's word, and what would decide it."""
    metric = found.metric
    verdicts, (difference, span) = found.verdicts[:MOST_PAIRS], (_("difference"), _("interval"))
    open_pairs = _("to decide it")
    columns = {
        _("pair"): [Cell(f"{one.a} – {one.b}") for one in verdicts],
        difference: [Cell(metric.difference(one.difference), one.difference) for one in verdicts],
        span: [Cell(metric.differences(one.low, one.high), (one.low, one.high), "faint") for one in verdicts],
        _("verdict"): [word(one) for one in verdicts],
    }
    if found.margins:
        name = _("with a margin of {margin}").format(margin=wording.margin_text(metric, found.margin or 0.0))
        columns[name] = [*map(against_margin, found.margins[:MOST_PAIRS])]
    if any(one.verdict == "cannot tell" for one in verdicts):
        columns[open_pairs] = [Cell(needed(one)) for one in verdicts]
    text = _("The first of a pair is compared with the second; a difference above 0 favours the first.")
    rows = list(zip(*columns.values(), strict=True))
    wide = [open_pairs] if found.margins else []  # the margin names cases, too
    return Table(list(columns), rows, right=[difference, span], text=text, wide=wide)


def word(verdict: Verdict) -> Cell:
    """Return the word of a verdict on a pair in the reader's language."""
    text, style = {
        "better": (_("▲ better"), "better"),
        "worse": (_("▼ worse"), "worse"),
        "cannot tell": (_("≈ cannot tell"), "faint"),
    }[verdict.verdict]
    return Cell(text, verdict.verdict, style)


def against_margin(margin: Margin) -> Cell:
    """Return the word of a pair against a margin, with the further cases that it lacks."""
    text = {
        "superior": _("superior"),
        "not inferior": _("not inferior"),
        "equivalent": _("equivalent"),
        "inferior": _("inferior"),
        "cannot tell": _("cannot tell"),
    }[margin.word]
    if margin.small:
        text = _("{verdict}, within the margin").format(verdict=text)
    if margin.cases_needed:
        text = _("{verdict}; about {cases} more cases").format(verdict=text, cases=units.roughly(margin.cases_needed))
    return Cell(text, margin.word)


def needed(verdict: Verdict) -> str:
    """Return the further cases or seeds that would decide a pair; "" where it is decided."""
    if verdict.verdict != "cannot tell":
        return ""
    cases = units.roughly(verdict.cases_needed) if verdict.cases_needed else ""
    if cases and verdict.seeds_needed:
        text = _("about {cases} more test cases, or {seeds} more seeds each")
    elif cases:
        text = _("about {cases} more test cases")
    elif verdict.seeds_needed:
        text = _("about {seeds} more seeds each; more cases alone will not do")
    else:
        text = _("too close to decide with a reasonable number of cases or seeds")
    return text.format(cases=cases, seeds=verdict.seeds_needed)
