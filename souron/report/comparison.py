"""The report of a comparison."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from souron import registry
from souron.data.display_names import called
from souron.data.quality import warnings as data_warnings
from souron.evaluation.record import ComparisonRecord
from souron.registry import task_name
from souron.report import plots, verdict, wording
from souron.report.blocks import Table, machine_table
from souron.report.page import (
    SMALL_TEST,
    Fact,
    Plot,
    budget_text,
    few_cases,
    in_each_language,
    in_other_languages,
    leaks,
    page,
    plot,
    receipt,
    report_file,
    told_again,
)
from souron.training.budget import split_host
from souron.utils import units
from souron.utils.messages import N_, _, again

LARGE_TEST = 0.2  # of the training cases: above it, the training sample dominates
FEW_TIMES = 3  # that each training case was seen

AUC = N_(
    "Probability that a case of a class is ranked above one of another class, whatever the "
    "threshold; mean over the classes. Differences by DeLong's method, counting trainings and "
    "patients."
)


def comparison_report(record: ComparisonRecord) -> Path:
    """Write ``report.html`` into the comparison's folder, with the other languages beside it.

    Return the path of ``report.html``. Raises UserError.
    """
    record.notes = notes(record)
    return in_each_language(record.folder, partial(_page, record))


def _page(record: ComparisonRecord, elsewhere: Sequence[Any]) -> str:
    module = registry.section(record.task)
    sections = module.comparison(record) if module and hasattr(module, "comparison") else []
    names = [row.system for row in record.rows]
    headings, parts = _headings(), _parts(record)
    heading_of = {"race": "time", "complexity": "size"}
    left_out = {heading_of.get(name, name) for name, part in parts.items() if not part}
    title = _("{count} systems on {data}").format(count=len(names), data=called(record.data))
    if len(names) == 1:
        title = _("{system} on {data}").format(system=names[0], data=called(record.data))
    return page(
        "comparison.html",
        elsewhere=elsewhere,
        title=title,
        eyebrow=_("comparison at equal budget · {task}").format(task=task_name(record.task)),
        sentence=again(record.sentence),
        notes=[*data_warnings.texts(record.warnings, record.folder), *notes(record)],
        facts=_facts(record),
        contents=[
            *((section.name, section.title) for section in sections),
            *((name, title) for name, title in headings.items() if name not in left_out),
        ],
        sections=sections,
        headings=headings,
        ranking=_ranking(record),
        intervals=_intervals(record),
        matrix=record.verdicts
        and plot(
            plots.verdicts(record.verdicts, names, record.measure),
            _("every system against every other; the table below says the same in words"),
        ),
        equal=_equal(record),
        skipped=told_again(record.skipped),
        receipt=receipt({name: value for name, value in record.receipt.items() if name != "machines"}),
        command=record.receipt.get("command", ""),
        **parts,
    )


def _headings() -> dict[str, str]:
    """Return the titles of the parts of the page, by name."""
    return {
        "ranking": _("Ranking"),
        "verdicts": _("Every pair"),
        "further": _("By further measures"),
        "time": _("Against training time"),
        "size": _("Against size and computation"),
        "learning": _("Learning"),
        "machines": _("Machines"),
        "equal": _("What was equal"),
        "receipt": _("Receipt"),
    }


def _facts(record: "ComparisonRecord") -> list[Fact]:
    seeds = _("with different seeds")
    if record.folds > 1:
        text = _("{seeds} seeds, {folds} folds of each")
        seeds = text.format(seeds=record.seeds, folds=record.folds)
    return [
        Fact(_("cases"), units.whole(record.cases)),
        Fact(_("budget of each"), budget_text(record.budget)),
        Fact(_("trainings of each"), units.whole(record.seeds * record.folds), seeds),
    ]


def _parts(record: "ComparisonRecord") -> dict[str, Any]:
    """Return the parts of the page that a comparison may lack; those are falsy."""
    measure, curves = record.measure, record.curves
    budget, host = split_host(record.budget)
    budget = budget.share(record.folds)  # the curves are of one training
    follows = record.follows or measure
    looked = any(f"val {follows}" in row for seeds in curves.values() for c in seeds for row in c)
    seconds = budget.amount if budget.unit == "seconds" and not host else None
    examples = budget.amount if budget.unit == "examples" else None
    ordered = {row.system: curves[row.system] for row in record.rows if any(curves.get(row.system, ()))}
    return {
        "pairs": record.verdicts and verdict.pairs(record.ranking),
        "counted": _counted(record),
        "race": looked
        and plot(
            plots.accuracy_over_seconds(ordered, follows, seconds),
            _("{measure} of each system against seconds of training").format(measure=registry.metric(follows).title),
        ),
        "learning": ordered
        and plot(
            plots.learning_curves(ordered, follows, "examples", examples),
            _("learning curves of all systems against training examples seen"),
        ),
        "complexity": any(row.parameters or row.flops for row in record.rows)
        and plot(
            plots.complexity(record.rows),
            _("{measure} against parameters and against FLOPs").format(measure=registry.metric(measure).title),
        ),
        "further": [
            {
                "name": registry.metric(name).title,
                "about": _(AUC) if name == "AUC" else "",
                "ranking": verdict.ranking(ranking),
                "pairs": ranking.verdicts and verdict.pairs(ranking),
            }
            for name, ranking in record.further.items()
        ],
        "machines": "machines" in record.receipt and machine_table(record.receipt["machines"]),
    }


def _intervals(record: "ComparisonRecord") -> Plot:
    """Plot the interval of each system, with the figures as text."""
    metric = registry.metric(record.measure)
    each = (f"{row.system} {metric.text(row.value)} ({metric.interval(row.low, row.high)})" for row in record.rows)
    return plot(plots.intervals(record.rows), "; ".join(each))


def notes(record: ComparisonRecord) -> list[str]:
    """Return the caveats of a comparison, in the reader's language."""
    module = registry.section(record.task)
    own: list[str] = getattr(module, "comparison_notes", lambda _record: [])(record)
    few = [few_cases(record.cases)] if record.cases < SMALL_TEST else []
    patients = [again(record.patients)] if record.patients else []
    return [*leaks(record), *about_margin(record), *patients, *undertrained(record), *large_test(record), *own, *few]


def about_margin(record: ComparisonRecord) -> list[str]:
    """Return when the margin was fixed, or how it was changed after results had been seen."""
    history = record.receipt.get("margins", ())
    if not history:
        return []
    metric = registry.metric(record.measure)
    last = history[-1]
    fixed = _("The margin of {margin} was fixed on {time}, before results were seen.").format(
        margin=wording.margin_text(metric, last["margin"]), time=last["time"]
    )
    return wording.margin_changes(metric, history) or [fixed]


def large_test(record: ComparisonRecord) -> list[str]:
    """Warn that "about 5 %" does not cover another training sample.

    This is the case where a single split has many test cases relative to its training cases.
    """
    if not record.sample or record.cases <= LARGE_TEST * record.sample:
        return []
    if all(one.verdict == "cannot tell" for one in record.verdicts):
        return []
    return [
        _(
            "One split, {test} test cases and {train} for training: over repeated training "
            "samples, equal methods are called different in more than 5 % of such comparisons, "
            "the more often the larger the test set is relative to the training set. "
            "Cross-validation accounts for that: folds=5."
        ).format(test=units.whole(record.cases), train=units.whole(record.sample))
    ]


def comparison_translated(record: ComparisonRecord) -> dict[str, Any]:
    """Translate the ``sentence`` and ``notes`` of a comparison; keys are the other languages."""
    return in_other_languages(lambda: {"sentence": again(record.sentence), "notes": notes(record)})


def undertrained(record: ComparisonRecord) -> list[str]:
    """Warn of systems that saw their training cases so seldom that speed may decide the order."""
    if not record.train:
        return []
    times = {row.system: row.examples_seen / record.folds / record.train for row in record.rows if row.examples_seen}
    told = [f"{system} {n:.2g} ×" for system, n in times.items() if n < FEW_TIMES]
    if not told:
        return []
    return [
        _("Barely trained. Passes over the training cases: {times}. More time may change the order.").format(
            times=_(", ").join(told)
        )
    ]


def comparison_html(record: ComparisonRecord) -> str:
    """Return a few lines of HTML about a comparison, for a notebook."""
    tables, path = verdict.tables(record.ranking), record.folder / report_file()
    return page("notebook.html", headline=record.sentence, tables=tables, path=path)


def _ranking(record: ComparisonRecord) -> Table:
    measure = registry.metric(record.measure)
    text = _(
        "{measure} on {cases} test cases with its 95 % interval, which counts cases and trainings; beside it the "
        "lowest and the highest seed. Parameters and FLOPs of one forward pass."
    ).format(measure=measure.title.capitalize(), cases=units.whole(record.cases))
    return verdict.ranking(record.ranking, text)


def _counted(record: ComparisonRecord) -> str:
    """Name the sources of variation that the 5 % of the verdicts cover."""
    if not record.sample:
        return _("Uncertainty counted: test cases, trainings and the training sample.")
    if record.seeds == 1:
        return _("Uncertainty counted: test cases. Not counted: another training, another training sample.")
    return _(
        "Uncertainty counted: test cases and trainings. Not counted: another training sample "
        "than these {cases} cases, which makes errors more frequent."
    ).format(cases=units.whole(record.sample))


def _equal(record: ComparisonRecord) -> list[tuple[str, str]]:
    options: Mapping[str, Any] = record.receipt.get("options", {})
    change = options.get("augment")
    if change is None and record.test is not None:
        augments = registry.load_task(record.task).augments
        change = ", ".join(record.test.augment) if augments else None
    return [
        (_("budget"), budget_text(record.budget)),
        *(
            (_("examples of each training, {system}").format(system=system), units.whole(count))
            for system, count in record.receipt.get("measured", {}).get("examples", {}).items()
        ),
        (_("seeds"), _("{count}, the same for all, trained in turns").format(count=record.seeds)),
        (_("split"), _("the same, written to {file}").format(file="split.csv")),
        (_("test cases"), units.whole(record.cases)),
        *(
            [(_("cross-validation"), _("{count} folds, every case tested once a seed").format(count=record.folds))]
            if record.folds > 1
            else []
        ),
        (_("patients, grouped by"), again(record.grouped) or _("nothing: each image counts separately")),
        (_("augmentation"), change or _("none")),
        *([(_("batch"), str(options["batch"]))] if "batch" in options else []),
    ]
