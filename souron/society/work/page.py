"""The offline page of ``souron work``: tasks as tiles, figures, the curve of workers."""

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from souron.report import page as pages
from souron.report.page import Fact, Section, plot, section
from souron.society.work import exposure, tiles
from souron.society.work.exposure import FIGURES, Who, Whole
from souron.society.work.own_tasks import OwnTasks
from souron.society.work.tables import Table
from souron.stats.records import Measure
from souron.utils import plotting, units
from souron.utils.messages import _

if TYPE_CHECKING:
    from souron.society.work.answers import OccupationAnswer

TEMPLATE = "work_parts.html"  # macros of the sections


def write(answer: Any, table: Table | None, folder: Path) -> Path:
    """Write the page in both languages and return its path. Raises UserError."""
    return pages.in_each_language(folder, partial(_page, answer, table))


def headline(answer: Any) -> str:
    """Return the main result in one sentence."""
    if isinstance(answer, OwnTasks):
        beta = answer.figures["beta"]
        return _("{count} tasks: their expected exposure beta is {beta} (95 % interval "
                 "{interval}), as people would label them.").format(
            count=len(answer.tasks), beta=f"{beta.value:.2f}", interval=span(beta))  # fmt: skip
    if hasattr(answer, "whole"):
        return headline_of_all(answer.whole)
    one = answer.found.occupation
    told = (
        _("{title} ({code}), {count} tasks: exposure beta {beta} by the labels of people.")
        if answer.gpt4 is None
        else _("{title} ({code}), {count} tasks: exposure beta {beta} by the labels of people, "
               "{gpt4} by those of GPT-4.")
    )  # fmt: skip
    return told.format(
        title=one.title, code=one.code, count=len(one.tasks), beta=f"{answer.people.beta:.2f}",
        gpt4="" if answer.gpt4 is None else f"{answer.gpt4.beta:.2f}",
    )  # fmt: skip


def headline_of_all(found: Whole) -> str:
    """Return the main result for all occupations in one sentence."""
    least, most = (found.shares["people"]["list"][each] for each in exposure.THRESHOLDS)
    return _(
        "{least} of workers have an occupation with at least 10 % of its tasks exposed (beta), "
        "{most} one with at least 50 %: by the labels of people, on {count} occupations."
    ).format(
        least=units.percent(least.value, 0),
        most=units.percent(most.value, 0),
        count=len(found.table.occupations),
    )


def span(found: Measure) -> str:
    return f"{found.low:.2f}–{found.high:.2f}"


def meaning(name: str) -> str:
    """Return the definition of a figure."""
    return {
        "alpha": _("E1: a language model alone"),
        "beta": _("E1 + half of E2: with some of the software"),
        "zeta": _("E1 + E2: with all of the software"),
    }[name]


def _page(answer: Any, table: Table | None, elsewhere: Sequence[Any]) -> str:
    if isinstance(answer, OwnTasks):
        title, facts, sections = _own(answer)
    elif hasattr(answer, "whole"):
        title, facts, sections = _whole(answer.whole)
    else:
        title, facts, sections = _occupation(answer)
    remarks = answer.remarks() if isinstance(answer, OwnTasks) else []
    return pages.page(
        "work.html",
        elsewhere=elsewhere,
        title=title,
        eyebrow=_("Work"),
        headline=headline(answer),
        notes=[*remarks, *exposure.cautions(table)],
        facts=facts,
        contents=[(one.name, one.title) for one in sections],
        sections=sections,
    )


def _occupation(answer: "OccupationAnswer") -> tuple[str, list[Fact], list[Section]]:
    one = answer.found.occupation
    facts = [
        Fact(name, f"{getattr(answer.people, name):.2f}",
             "" if answer.gpt4 is None else _("GPT-4: {value}").format(
                 value=f"{getattr(answer.gpt4, name):.2f}"))
        for name in FIGURES
    ]  # fmt: skip
    if answer.workers:
        facts.append(Fact(_("workers in the United States"), units.whole(answer.workers),
                          _("May 2021")))  # fmt: skip
    text = _("The most exposed first. The label is that of people; GPT-4's stands below it.")
    part = {"text": text, "legend": tiles.legend(), "tiles": tiles.of_labels(one.tasks)}
    sections = [
        *section("tasks", _("The tasks"), TEMPLATE, part),
        *section("figures", _("Figures"), TEMPLATE, figures_of(answer)),
        *_method(shlex.join(["souron", "work", one.title])),
    ]
    return one.title, facts, sections


def figures_of(answer: "OccupationAnswer") -> dict[str, Any]:
    """Return a table of alpha, beta and zeta by people and by GPT-4, and their agreement."""
    judges = [(_("people"), answer.people), (_("GPT-4"), answer.gpt4)]
    rows = [
        [name, meaning(name), *(f"{getattr(said, name):.3f}" for _who, said in judges if said)]
        for name in FIGURES
    ]
    texts = [
        _("Means over the tasks, core tasks with weight 1, others with 1/2. They have no interval: "
          "these are all tasks of the occupation. Their doubt is in the labels.")
    ]  # fmt: skip
    if answer.agreement:
        same, kappa = answer.agreement.same, answer.agreement.kappa
        told = _("People and GPT-4 gave {share} of the {count} tasks the same label (kappa "
                 "{kappa}, 95 % interval {low} to {high}).")  # fmt: skip
        texts.append(told.format(share=units.percent(same.value, 0), count=same.n,
                                 kappa=f"{kappa.value:.2f}", low=f"{kappa.low:.2f}",
                                 high=f"{kappa.high:.2f}"))  # fmt: skip
    if answer.more_exposed is not None:
        texts.append(
            _("{share} of the workers in this table have an occupation with a lower beta.").format(
                share=units.percent(answer.more_exposed, 0))
        )  # fmt: skip
    heads = [_("figure"), _("what it counts"), *(name for name, said in judges if said)]
    return {"text": " ".join(texts), "heads": heads, "rows": rows}


def _own(answer: OwnTasks) -> tuple[str, list[Fact], list[Section]]:
    facts = [
        Fact(name, f"{one.value:.2f}", _("95 % interval: {low} to {high}").format(
            low=f"{one.low:.2f}", high=f"{one.high:.2f}"))
        for name, one in answer.figures.items()
    ]  # fmt: skip
    text = _(
        "Each tile's colour and sign say the expected beta; E0, E1 and E2 how likely each label "
        "is. A single task is rated roughly; many together are rated better."
    )
    part = {"text": text, "legend": tiles.legend(), "tiles": tiles.of_own(answer.tasks)}
    sections = [
        *section("tasks", _("The tasks"), TEMPLATE, part),
        *_method(shlex.join(["souron", "work", answer.name])),
    ]
    return answer.name, facts, sections


def _whole(found: Whole) -> tuple[str, list[Fact], list[Section]]:
    facts = [
        Fact(
            _("workers with beta ≥ {least}").format(least=units.percent(least, 0)),
            units.percent(share.value),
            _("95 % interval: {low} to {high}").format(
                low=units.percent(share.low), high=units.percent(share.high)
            ),
        )
        for least, share in found.shares["people"]["list"].items()
    ]
    facts.append(Fact(_("tasks at work"), units.whole(len(found.table.tasks))))
    facts.append(Fact(_("occupations"), units.whole(len(found.table.occupations))))
    sections = [
        *section("workers", _("Workers against exposed share"), TEMPLATE,
                 {"plot": curve_plot(found), **workers_table(found)}),
        *section("figures", _("People beside GPT-4"), TEMPLATE, means_table(found)),
        *section("occupations", _("Occupations, the most exposed first"), TEMPLATE,
                 occupations_table(found.table)),
        *_method("souron work"),
    ]  # fmt: skip
    return _("Occupations and language models"), facts, sections


def workers_table(found: Whole) -> dict[str, Any]:
    """Return a table of the shares of workers by each matching rule."""
    rows = [
        [
            _("beta ≥ {least}").format(least=units.percent(least, 0)),
            exposure.told_rule(rule),
            units.whole(found.matched[rule][0]),
            *(f"{units.percent(rules[rule][least].value)} "
              f"({units.interval('share', rules[rule][least].low, rules[rule][least].high)})"
              for rules in found.shares.values()),
        ]
        for least in exposure.THRESHOLDS for rule in exposure.RULES
    ]  # fmt: skip
    text = _(
        "How occupations are matched with employment moves these figures, so that the rule stands "
        "beside each. The paper says 80 % and 19 %; in brackets the 95 % interval, as if the "
        "occupations were drawn from many."
    )
    heads = [_("workers"), _("matched"), _("occupations"), *map(judge, found.shares)]
    return {"text": text, "heads": heads, "rows": rows}


def means_table(found: Whole) -> dict[str, Any]:
    """Return a table of means over tasks, and the agreement of people and GPT-4."""
    rows = [
        [name, meaning(name), *(f"{one[name].value:.3f} ({one[name].low:.3f}–{one[name].high:.3f})"
                                for one in found.means.values())]
        for name in FIGURES
    ]  # fmt: skip
    text = _("Means over all tasks, each with the same weight; in brackets the 95 % interval.")
    if found.agreement and found.nearness:
        near = found.nearness
        told = _("People and GPT-4 gave {share} of the tasks the same label (kappa {kappa}). "
                 "Their beta of occupations: correlation {correlation}, mean absolute error "
                 "{error}, mean difference {bias} (GPT-4 minus people).")  # fmt: skip
        text += " " + told.format(
            share=units.percent(found.agreement.same.value),
            kappa=f"{found.agreement.kappa.value:.3f}",
            correlation=f"{near.correlation:.3f}", error=f"{near.error:.3f}",
            bias=f"{near.bias:+.3f}",
        )  # fmt: skip
    heads = [_("figure"), _("what it counts"), *map(judge, found.means)]
    return {"text": text, "heads": heads, "rows": rows}


def occupations_table(table: Table) -> dict[str, Any]:
    judges: list[Who] = ["people", "gpt4"] if table.by_gpt4 else ["people"]
    found = [exposure.betas(table, who) for who in judges]
    there = exposure.workers(table, "list")
    rows = [
        [table.occupations[n].title, units.whole(len(table.occupations[n].tasks)),
         *(f"{betas[n]:.2f}" for betas in found),
         units.whole(round(there[n])) if there[n] else units.UNKNOWN]
        for n in np.argsort(-found[0], kind="stable")
    ]  # fmt: skip
    heads = [
        _("occupation"),
        _("tasks at work"),
        *(f"beta, {judge(who)}" for who in judges),
        _("workers"),
    ]
    return {"text": "", "heads": heads, "rows": rows}


def judge(who: Who) -> str:
    return _("people") if who == "people" else _("GPT-4")


def _method(command: str) -> list[Section]:
    texts = [
        _("E0: a language model does not halve the time of the task. E1: it does, alone, at equal "
          "quality. E2: software that is built on one does. alpha = E1, beta = E1 + E2/2, "
          "zeta = E1 + E2."),
    ]  # fmt: skip
    part = {"texts": texts, "command": command, "source": exposure.attribution()}
    return section("method", _("What the figures are"), TEMPLATE, part)


def curve_plot(found: Whole) -> pages.Plot:
    """Return the plot of workers against exposed share."""
    told = _("How many workers have an occupation of which at least so much is exposed: alpha, "
             "beta and zeta, by people and by GPT-4.")  # fmt: skip
    return plot(curves(found.table, list(found.means)), told)


def curves(table: Table, judges: Sequence[Who]) -> bytes:
    """Plot the share of workers in occupations of at least a given exposure, as PNG."""
    from matplotlib.ticker import PercentFormatter

    figure = plotting.new_figure(7.2, 3.6)
    axes = figure.subplots()
    plotting.style_axes(axes, _("share of tasks exposed, at least"), _("workers"))
    steps = np.linspace(0, 1, exposure.STEPS + 1)
    for number, who in enumerate(judges):
        for colour, name in enumerate(FIGURES):
            style = plotting.line_style(colour + len(plotting.COLOURS) * number)
            axes.plot(steps, exposure.curve(table, who, "list", name), linewidth=1.6,
                      label=f"{name}, {judge(who)}", **style)  # fmt: skip
    for least in exposure.THRESHOLDS:
        axes.axvline(least, color=plotting.FAINT, linewidth=0.7)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, 0))
    plotting.add_legend(figure, axes, 3)
    return plotting.as_png(figure)
