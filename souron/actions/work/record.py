"""Records of ``souron work``: one occupation, tasks of the user, or all occupations of a table."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from souron.action import Cell, Fact, Live, Record, Section, Table
from souron.actions.work import exposure, tiles
from souron.actions.work.answers import OccupationAnswer, WholeAnswer
from souron.actions.work.exposure import FIGURES, Who
from souron.actions.work.own_tasks import OwnTasks
from souron.actions.work.tables import Table as LabelledTable
from souron.report import page
from souron.report.blocks import again
from souron.stats.records import Measure
from souron.utils import plotting, units
from souron.utils.messages import N_, _

MOST_ROWS = 40  # tasks in the terminal


@dataclass
class WorkRecord(Record):
    """An answer, and the table that it is from; None for tasks of the user."""

    eyebrow = N_("Work")
    json_file = "work.json"

    answer: Any
    table: LabelledTable | None = None
    folder: Path = Path()  # once it is known where it is written

    @property
    def run_name(self) -> str:
        """Return the name of the record's folder."""
        return self.page_title()

    @property
    def command(self) -> str:
        """Return the command that gives this record."""
        return shlex.join(["souron", "work", self.page_title()])

    def as_json(self) -> dict[str, Any]:
        return {
            **self.answer.as_json(),
            "notes": self.notes(),
            "source": exposure.attribution(),
            "table": self.table.name if self.table else None,
            "report": str(self.report),
        }

    def notes(self) -> list[str]:
        return exposure.cautions(self.table)

    def method(self) -> Section:
        """Return the section on the figures, the command and the sources."""
        text = _(
            "E0: a language model does not halve the time of the task. E1: it does, alone, at equal quality. E2: "
            "software that is built on one does. alpha = E1, beta = E1 + E2/2, zeta = E1 + E2."
        )
        paper = Cell("arXiv:2303.10130", link="https://arxiv.org/abs/2303.10130")
        source = Cell.of(exposure.attribution(), paper, style="faint")
        return Section("method", _("What the figures are"), [text, *again(self.command), source])

    def tasks(self, text: str, shown: Any) -> Section:
        """Return the section that shows tasks as tiles."""
        return Section("tasks", _("The tasks"), [text, Live(tiles.legend()), Live(shown)])


@dataclass
class OccupationRecord(WorkRecord):
    """The tasks and figures of one occupation."""

    answer: OccupationAnswer

    def page_title(self) -> str:
        return self.answer.found.occupation.title

    def sentences(self) -> list[str]:
        answer, found = self.answer, self.answer.found
        text = (
            _("{title} ({code}), {count} tasks: exposure beta {beta} by the labels of people.")
            if answer.gpt4 is None
            else _(
                "{title} ({code}), {count} tasks: exposure beta {beta} by the labels of people, "
                "{gpt4} by those of GPT-4."
            )
        )
        one = found.occupation
        headline = text.format(
            title=one.title,
            code=one.code,
            count=len(one.tasks),
            beta=f"{answer.people.beta:.2f}",
            gpt4="" if answer.gpt4 is None else f"{answer.gpt4.beta:.2f}",
        )
        if found.exact or not found.near:
            return [headline]
        return [headline, _("It would also fit: {names}").format(names="; ".join(found.near))]

    def facts(self) -> list[Fact]:
        people, gpt4 = self.answer.people, self.answer.gpt4
        by_gpt4 = _("GPT-4: {value}")
        facts = [
            Fact(
                name, f"{getattr(people, name):.2f}", by_gpt4.format(value=f"{getattr(gpt4, name):.2f}") if gpt4 else ""
            )
            for name in FIGURES
        ]
        if self.answer.workers:
            workers = units.whole(self.answer.workers)
            facts.append(Fact(_("workers in the United States"), workers, _("May 2021")))
        return facts

    def figures(self) -> Table:
        """Return alpha, beta and zeta by people and by GPT-4, and how far the two agree."""
        answer = self.answer
        judges = {_("people"): answer.people, **({_("GPT-4"): answer.gpt4} if answer.gpt4 else {})}
        rows = [[name, meaning(name), *(f"{getattr(one, name):.3f}" for one in judges.values())] for name in FIGURES]
        texts = [
            _(
                "Means over the tasks, core tasks with weight 1, others with 1/2. They have no "
                "interval, since these are all tasks of the occupation; the uncertainty is in the "
                "labels."
            )
        ]
        if answer.agreement:
            same, kappa = answer.agreement.same, answer.agreement.kappa
            text = _(
                "People and GPT-4 gave {share} of the {count} tasks the same label (kappa "
                "{kappa}, 95 % interval {interval})."
            )
            share = units.percent(same.value, 0)
            texts.append(text.format(share=share, count=same.n, kappa=f"{kappa.value:.2f}", interval=span(kappa)))
        if answer.more_exposed is not None:
            text = _("{share} of the workers in this table have an occupation with a lower beta.")
            texts.append(text.format(share=units.percent(answer.more_exposed, 0)))
        columns = (_("figure"), _("what it counts"), *judges)
        return Table(columns, rows, right=tuple(judges), text=" ".join(texts))

    def tables(self) -> list[Table]:
        tasks, counts = self.answer.found.occupation.tasks, _("counts")
        by_gpt4 = self.answer.gpt4 is not None
        rows = [
            [
                tiles.label_sign(task.people),
                task.text,
                task.people,
                *([task.gpt4] if by_gpt4 else []),
                f"{task.weight:g}",
            ]
            for task in tasks[:MOST_ROWS]
        ]
        judges = [_("people"), *([_("GPT-4")] if by_gpt4 else [])]
        columns = ("", _("task at work"), *judges, counts)
        listed = Table(columns, rows, right=(counts,), text=_below(len(tasks)))
        return [self.figures(), listed]

    def sections(self) -> list[Section]:
        text = _("The most exposed first. The label is that of people; GPT-4's stands below it.")
        return [
            self.tasks(text, tiles.of_labels(self.answer.found.occupation.tasks)),
            Section("figures", _("Figures"), [self.figures()]),
            self.method(),
        ]


@dataclass
class OwnTasksRecord(WorkRecord):
    """Tasks of the user, rated."""

    answer: OwnTasks

    @property
    def run_name(self) -> str:
        return Path(self.answer.name).stem

    @property
    def command(self) -> str:
        return shlex.join(["souron", "work", self.answer.name])

    def page_title(self) -> str:
        return _("Tasks of {file}").format(file=self.answer.name)

    def sentences(self) -> list[str]:
        beta = self.answer.figures["beta"]
        text = _(
            "{count} tasks: their expected exposure beta is {beta} (95 % interval {interval}), as "
            "people would label them."
        )
        count = len(self.answer.tasks)
        return [text.format(count=count, beta=f"{beta.value:.2f}", interval=span(beta))]

    def facts(self) -> list[Fact]:
        return [
            Fact(name, f"{one.value:.2f}", _("95 % interval: {interval}").format(interval=span(one)))
            for name, one in self.answer.figures.items()
        ]

    def notes(self) -> list[str]:
        return [*self.answer.remarks(), *super().notes()]

    def figures(self) -> Table:
        """Return the expected alpha, beta and zeta with their intervals."""
        value, interval = _("expected value"), _("95 % interval")
        rows = [[name, meaning(name), f"{one.value:.2f}", span(one)] for name, one in self.answer.figures.items()]
        columns = (_("figure"), _("what it counts"), value, interval)
        return Table(columns, rows, right=(value, interval))

    def tables(self) -> list[Table]:
        tasks = self.answer.tasks
        rows = [
            [
                tiles.sign(task.value("beta")),
                task.text,
                f"{task.value('beta'):.2f}",
                ", ".join(units.percent(share, 0) for share in task.probabilities),
            ]
            for task in tasks[:MOST_ROWS]
        ]
        columns = ("", _("task at work"), "beta", "E0, E1, E2")
        return [self.figures(), Table(columns, rows, right=("beta",), text=_below(len(tasks)))]

    def sections(self) -> list[Section]:
        text = _(
            "The colour and sign of each tile show the expected beta; E0, E1 and E2 are the "
            "probabilities of the labels. The rating of a single task is rough; the mean of many "
            "is more accurate."
        )
        return [
            self.tasks(text, tiles.of_own(self.answer.tasks)),
            Section("figures", _("Figures"), [self.figures()]),
            self.method(),
        ]


@dataclass
class WholeRecord(WorkRecord):
    """All occupations of a table, and the workers in them."""

    answer: WholeAnswer
    table: LabelledTable

    @property
    def run_name(self) -> str:
        return "all"

    @property
    def command(self) -> str:
        return "souron work"

    def page_title(self) -> str:
        return _("Occupations and language models")

    def sentences(self) -> list[str]:
        shares = self.answer.whole.shares["people"]["list"]
        least, most = (units.percent(shares[one].value, 0) for one in exposure.THRESHOLDS)
        text = _(
            "{least} of workers have an occupation with at least 10 % of its tasks exposed (beta), "
            "{most} one with at least 50 %: by the labels of people, on {count} occupations."
        )
        return [text.format(least=least, most=most, count=len(self.table.occupations))]

    def facts(self) -> list[Fact]:
        name, interval = _("workers with beta ≥ {least}"), _("95 % interval: {interval}")
        facts = [
            Fact(
                name.format(least=units.percent(least, 0)),
                units.percent(share.value),
                interval.format(interval=units.interval("share", share.low, share.high)),
            )
            for least, share in self.answer.whole.shares["people"]["list"].items()
        ]
        facts.append(Fact(_("tasks at work"), units.whole(len(self.table.tasks))))
        facts.append(Fact(_("occupations"), units.whole(len(self.table.occupations))))
        return facts

    def workers(self) -> Table:
        """Return the shares of workers by each rule that matches occupations with employment."""
        found = self.answer.whole
        rows = [
            [
                _("beta ≥ {least}").format(least=units.percent(least, 0)),
                exposure.rule_name(rule),
                units.whole(found.matched[rule][0]),
                *(_share(rules[rule][least]) for rules in found.shares.values()),
            ]
            for least in exposure.THRESHOLDS
            for rule in exposure.RULES
        ]
        text = _(
            "These figures depend on how occupations are matched with employment, so each names "
            "its rule. The paper reports 80 % and 19 %. In brackets the 95 % interval, as if the "
            "occupations were a sample of many."
        )
        count = _("occupations")
        columns = (_("workers"), _("matched"), count, *map(judge, found.shares))
        return Table(columns, rows, right=(count,), text=text)

    def means(self) -> Table:
        """Return means over tasks, and how far people and GPT-4 agree."""
        found = self.answer.whole
        rows = [[name, meaning(name), *(_mean(one[name]) for one in found.means.values())] for name in FIGURES]
        text = _("Means over all tasks, each with the same weight; in brackets the 95 % interval.")
        if found.agreement and found.nearness:
            near = found.nearness
            agree = _(
                "People and GPT-4 gave {share} of the tasks the same label (kappa {kappa}). "
                "Their beta of occupations: correlation {correlation}, mean absolute error "
                "{error}, mean difference {bias} (GPT-4 minus people)."
            )
            text += " " + agree.format(
                share=units.percent(found.agreement.same.value),
                kappa=f"{found.agreement.kappa.value:.3f}",
                correlation=f"{near.correlation:.3f}",
                error=f"{near.error:.3f}",
                bias=f"{near.bias:+.3f}",
            )
        columns = (_("figure"), _("what it counts"), *map(judge, found.means))
        return Table(columns, rows, text=text)

    def occupations(self) -> Table:
        """Return all occupations, the most exposed first."""
        judges: list[Who] = ["people", "gpt4"] if self.table.by_gpt4 else ["people"]
        betas = [exposure.betas(self.table, who) for who in judges]
        employed = exposure.workers(self.table, "list")
        rows = [
            [
                self.table.occupations[n].title,
                units.whole(len(self.table.occupations[n].tasks)),
                *(f"{found[n]:.2f}" for found in betas),
                units.whole(round(employed[n])) if employed[n] else units.UNKNOWN,
            ]
            for n in np.argsort(-betas[0], kind="stable")
        ]
        right = (_("tasks at work"), *(f"beta, {judge(who)}" for who in judges), _("workers"))
        return Table((_("occupation"), *right), rows, right=right)

    def tables(self) -> list[Table]:
        means = self.means()
        return [self.workers(), replace(means, text=f"{means.text} {exposure.attribution()}")]

    def sections(self) -> list[Section]:
        text = _(
            "Share of workers whose occupation has at least this share of its tasks exposed: "
            "alpha, beta and zeta, by people and by GPT-4."
        )
        plot = page.plot(curves(self.table, list(self.answer.whole.means)), text, text)
        return [
            Section("workers", _("Workers against exposed share"), [plot, self.workers()]),
            Section("figures", _("People beside GPT-4"), [self.means()]),
            Section("occupations", _("Occupations, the most exposed first"), [self.occupations()]),
            self.method(),
        ]


def _below(count: int) -> str:
    """Return the number of tasks that a terminal does not show, and the sources of the data."""
    more = _("and {count} more").format(count=count - MOST_ROWS) if count > MOST_ROWS else ""
    return "\n".join(filter(None, (more, exposure.attribution())))


def _share(found: Measure) -> str:
    return f"{units.percent(found.value)} ({units.interval('share', found.low, found.high)})"


def _mean(found: Measure) -> str:
    return f"{found.value:.3f} ({units.ends(f'{found.low:.3f}', f'{found.high:.3f}')})"


def span(found: Measure) -> str:
    return units.ends(f"{found.low:.2f}", f"{found.high:.2f}")


def judge(who: Who) -> str:
    return _("people") if who == "people" else _("GPT-4")


def meaning(name: str) -> str:
    """Return the definition of a figure."""
    return {
        "alpha": _("E1: a language model alone"),
        "beta": _("E1 + half of E2: with some of the software"),
        "zeta": _("E1 + E2: with all of the software"),
    }[name]


def curves(table: LabelledTable, judges: Sequence[Who]) -> bytes:
    """Plot the share of workers in occupations of at least a given exposure, as PNG."""
    from matplotlib.ticker import PercentFormatter

    figure = plotting.new_figure(7.2, 3.6)
    axes = figure.subplots()
    plotting.style_axes(axes, _("share of tasks exposed, at least"), _("workers"))
    steps = np.linspace(0, 1, exposure.STEPS + 1)
    for number, who in enumerate(judges):
        for colour, name in enumerate(FIGURES):
            style = plotting.line_style(colour + len(plotting.COLOURS) * number)
            workers = exposure.curve(table, who, "list", name)
            axes.plot(steps, workers, linewidth=1.6, label=f"{name}, {judge(who)}", **style)
    for least in exposure.THRESHOLDS:
        axes.axvline(least, color=plotting.FAINT, linewidth=0.7)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, 0))
    plotting.add_legend(figure, axes, 3)
    return plotting.as_png(figure)
