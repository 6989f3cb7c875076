"""The report of one run, and its model card."""

import csv
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset, Loader
from souron.report import plots
from souron.report.page import (
    SMALL_TEST,
    Fact,
    Plot,
    Tile,
    card,
    few_cases,
    flat,
    leaks,
    of_each_class,
    page,
    picture_size,
    plot,
    receipt,
    tile,
    write,
)
from souron.report.sections import classify, generate
from souron.stats.intervals import proportion_interval
from souron.stats.records import Measure
from souron.training.budget import Budget
from souron.utils import units
from souron.utils.messages import UserError, _, language

if TYPE_CHECKING:
    from souron.runs.record import RunRecord

MISTAKES = 24
HEADLINES = (  # of a classifier or a generator, on top
    "accuracy", "AUC", "sensitivity", "specificity",
    "Fréchet distance", "recall", "bits per dimension",
)  # fmt: skip
SAMPLES = 20
PARTS = ("train", "val", "test")


def run_report(record: "RunRecord") -> Path:
    """Write ``report.html`` and ``card.md`` into the run's folder; the report's path.

    Sections without data are left out. Raises UserError where the folder cannot be written.
    """
    write(record.folder / "card.md", _card(record))
    headings = {
        "samples": _("Samples"),
        "resemblance": _("How near to real pictures"),
        "drawn_classes": _("What it draws"),
        "film": _("How it learnt to draw"),
        "groups": _("Groups"),
        "discrimination": _("How well it tells them apart"),
        "subgroups": _("For whom"),
        "calibration": _("How sure it may be of itself"),
        "looked_at": _("Where it looked"),
        "robustness": _("With worse pictures"),
        "sizes": _("What more cases would bring"),
        "learning": _("Learning"),
        "confusion": _("What was taken for what"),
        "classes": _("Class by class"),
        "mistakes": _("The most confident mistakes"),
        "data": _("Data"),
        "forecast": _("Forecast and outcome"),
        "system": _("The system"),
        "receipt": _("Receipt"),
    }
    parts: dict[str, Any] = {
        "groups": _groups(record),
        "curve": _curve(record),
        "confusion": _confusion(record),
        "classes": _classes(record),
        "mistakes": _mistakes(record),
    }
    trust = classify.parts(record)
    generation = generate.parts(record)
    shown = {"learning" if name == "curve" else name for name, part in parts.items() if part}
    shown |= {name for name, part in (trust | generation).items() if part}
    shown |= {"data", "forecast", "system", "receipt"}
    text = page(
        "run.html",
        title=_("{system} on {data}").format(system=record.system, data=record.data),
        eyebrow=registry.task_name(record.task),
        headline=_headline(record),
        notes=_notes(record),
        facts=_run_facts(record),
        contents=[(name, title) for name, title in headings.items() if name in shown],
        headings=headings,
        data=_data(record),
        costs=_costs(record),
        system=_system(record),
        receipt=receipt(record.receipt),
        command=record.receipt.get("command", ""),
        trust=trust,
        generation=generation,
        **parts,
    )
    return write(record.folder / "report.html", text)


def run_html(record: "RunRecord") -> str:
    """A few lines of HTML about a run, for a notebook."""
    rows = [
        (units.called(name), units.measure(name, m.value), units.interval(name, m.low, m.high), m.n)
        for name, m in record.measures.items()
    ]
    return page(
        "notebook.html",
        headline=_headline(record),
        columns=(_("measure"), _("value"), _("95 % interval"), "n"),
        rows=rows,
        path=record.folder / "report.html",
    )


def _notes(record: "RunRecord") -> list[str]:
    cases = record.parts.get("test", 0)
    few = [few_cases(cases)] if record.measures and 0 < cases < SMALL_TEST else []
    return [*leaks(record), *few, *_unequal(record), *generate.notes(record)]


def _unequal(record: "RunRecord") -> list[str]:
    """Subgroups on which it does worse than on the others."""
    if record.trust is None:
        return []
    whole = record.measures["accuracy"].value
    worse = [
        _("{value} ({column}): right on {share}").format(
            value=group.value,
            column=group.column,
            share=units.percent(group.measures["accuracy"].value),
        )
        for group in record.trust.subgroups
        if group.measures["accuracy"].high < whole and not group.small
    ]
    if not worse:
        return []
    return [_("It does worse for some: {groups}.").format(groups="; ".join(worse))]


def _headline(record: "RunRecord") -> str:
    said = {
        "system": record.system,
        "data": record.data,
        "train": units.whole(record.parts.get("train", 0)),
        "test": units.whole(record.parts.get("test", 0)),
        "time": units.seconds(record.outcome.seconds),
    }
    if not record.measures:
        return _("{system} learnt from {train} cases of {data} in {time}.").format(**said)
    name, measure = next(iter(record.measures.items()))
    said |= {
        "measure": units.called(name),
        "value": units.measure(name, measure.value),
        "interval": units.interval(name, measure.low, measure.high),
    }
    if name == "accuracy" and record.folds > 1:
        said["folds"] = str(record.folds)
        return _(
            "{system} is right on {value} of {test} cases of {data} (95 % interval {interval}), "
            "each tested by trainings that never saw it ({folds}-fold cross-validation); the "
            "network that is kept learnt from {train} cases."
        ).format(**said)
    if name == "accuracy":
        return _(
            "{system} learnt from {train} cases of {data} in {time}, and is right on {value} of "
            "{test} test cases it never saw (95 % interval {interval})."
        ).format(**said)
    if record.appraisal is not None:
        said["test"] = units.whole(measure.n)
        return _(
            "{system} learnt from {train} pictures of {data} in {time}; {measure} {value} (95 % "
            "interval {interval}) between what it draws and {test} test pictures it never saw."
        ).format(**said)
    return _(
        "{system} learnt from {train} cases of {data} in {time}; {measure} {value} on {test} test "
        "cases it never saw (95 % interval {interval})."
    ).format(**said)


def _run_facts(record: "RunRecord") -> list[Fact]:
    facts = [
        Fact(
            units.called(name),
            units.measure(name, measure.value),
            _("{interval}, n = {n}").format(
                interval=units.interval(name, measure.low, measure.high),
                n=units.whole(measure.n),
            ),
        )
        for name, measure in record.measures.items()
        if name in HEADLINES or (record.trust is None and record.appraisal is None)
    ]
    examples = record.curve[-1].get("examples") if record.curve else None
    return [
        *facts,
        Fact(
            _("training time"),
            units.seconds(record.outcome.seconds),
            _training_detail(record, examples),
        ),
        Fact(_("parameters"), units.count(record.parameters)),
        Fact(_("one forward pass"), units.operations(record.flops)),
    ]


def _training_detail(record: "RunRecord", examples: float | None) -> str:
    if record.trainings > 1:
        return _("of {count} trainings together").format(count=record.trainings)
    return _("{count} examples seen").format(count=units.count(examples)) if examples else ""


def _costs(record: "RunRecord") -> list[dict[str, str]]:
    forecast, outcome = record.forecast, record.outcome
    return [
        {
            "name": name,
            "forecast": form(before),
            "outcome": form(after),
            "difference": f"{100 * (after / before - 1):+.0f} %" if before > 0 else units.UNKNOWN,
        }
        for name, form, before, after in (
            (_("training time"), units.seconds, forecast.seconds, outcome.seconds),
            (_("peak memory"), units.size, forecast.bytes, outcome.bytes),
        )
    ]


def _curve(record: "RunRecord") -> dict[str, Any] | None:
    if len(record.curve) < 2:
        return None
    measure = plots.FOLLOWED if record.appraisal else next(iter(record.measures), "")
    budget = record.receipt.get("options", {}).get("budget")
    wish = Budget.parse(budget).share(record.trainings) if budget else None
    last = record.curve[-1]
    limit = wish.amount if wish and wish.unit == "seconds" else None
    early = limit is not None and last["seconds"] < 0.9 * limit
    if record.stopped == "budget" and early:
        limit = None
        why = _("It came to its end before the budget was used up.")
    else:
        why = {
            "budget": _("It stopped when its budget was used up."),
            "patience": _("It stopped early: the validation cases showed no more improvement."),
        }.get(record.stopped, "")
    seen = _("{examples} examples, {epochs} epochs, {time}.").format(
        examples=units.count(last["examples"]),
        epochs=f"{last['epoch']:.3g}",
        time=units.seconds(last["seconds"]),
    )
    return {
        "picture": plot(
            plots.learning_curves(
                {record.system: [record.curve]},
                measure,
                budget=limit,
            ),
            _("training loss, and what the validation cases showed, against seconds"),
        ),
        "caption": f"{seen} {why}",
    }


def _table(record: "RunRecord") -> Tensor | None:
    """Counts (truly, said) of the test cases."""
    if record.probability is None or record.test is None:
        return None
    n, truly = len(record.test.labels), record.test.label
    said = record.probability.argmax(1)
    return (truly * n + said).bincount(minlength=n * n).view(n, n)


def _confusion(record: "RunRecord") -> dict[str, Any] | None:
    matrix = _table(record)
    if matrix is None or record.test is None:
        return None
    labels = record.test.labels
    caption = (
        _("Rows: what the case truly is. Columns: what was said. Percentages are of the row.")
        if len(labels) <= plots.READABLE_CLASSES
        else _("Of {count} classes, the pairs that were confused most often: truly → said.").format(
            count=len(labels)
        )
    )
    alt = _("{right} of {all} cases on the diagonal").format(
        right=units.whole(matrix.trace().item()), all=units.whole(matrix.sum().item())
    )
    return {"picture": plot(plots.confusion(matrix, labels), alt), "caption": caption}


def _classes(record: "RunRecord") -> list[dict[str, Any]]:
    matrix = _table(record)
    if matrix is None or record.test is None:
        return []
    truly, said, right = matrix.sum(1).tolist(), matrix.sum(0).tolist(), matrix.diag().tolist()
    return [
        {
            "name": name,
            "n": truly[k],
            "recall": _share(proportion_interval(right[k], truly[k])),
            "precision": _share(proportion_interval(right[k], said[k])),
        }
        for k, name in enumerate(record.test.labels)
    ]


def _share(share: Measure) -> dict[str, Any]:
    if share.n == 0:
        return {"n": 0, "text": units.UNKNOWN, "interval": ""}
    return {
        "n": share.n,
        "text": units.percent(share.value),
        "interval": units.interval("accuracy", share.low, share.high),
        "value": share.value,
        "low": share.low,
        "high": share.high,
    }


def _mistakes(record: "RunRecord") -> dict[str, Any] | None:
    if record.probability is None or record.test is None:
        return None
    test = record.test
    sure, said = record.probability.max(1)
    wrong = (said != test.label).nonzero().flatten()
    worst = wrong[sure[wrong].argsort(descending=True, stable=True)[:MISTAKES]].tolist()
    if not worst:
        return None
    caption = _("{wrong} of {all} test cases are wrong; these with the highest probability.")
    return {
        "caption": caption.format(wrong=units.whole(len(wrong)), all=units.whole(len(test))),
        "tiles": [
            tile(
                test.image[i],
                _("test case {file}").format(file=test.file[i]),
                (
                    _("said: {label} ({probability})").format(
                        label=test.labels[said[i]], probability=units.percent(sure[i].item(), 0)
                    ),
                    _("truly: {label}").format(label=test.labels[test.label[i]]),
                ),
                test.file[i],
            )
            for i in worst
        ],
    }


def _groups(record: "RunRecord") -> dict[str, Any] | None:
    if record.groups is None or record.test is None:
        return None
    test, groups = record.test, record.groups.cpu()
    found = groups.unique().tolist()
    members = {group: (groups == group).nonzero().flatten() for group in found}
    chosen = {
        _("group {number}").format(number=group + 1): test.image[rows[:12]]
        for group, rows in members.items()
    }
    counts = [len(rows) for rows in members.values()]
    rows = [
        {"name": name, "cases": len(held), "holds": _most_frequent(test, held)}
        for name, held in zip(chosen, members.values(), strict=True)
    ]
    silhouette = _silhouettes(record)
    return {
        "picture": plot(
            plots.classes(chosen, counts),
            _("pictures of {count} groups").format(count=len(found)),
        ),
        "rows": rows,
        "silhouette": silhouette is not None
        and plot(
            plots.histogram(silhouette, units.called("silhouette"), range_=(-1, 1)),
            _("how often each silhouette occurs"),
        ),
    }


def _most_frequent(test: Dataset, rows: Tensor) -> str:
    counts = Counter(test.label[rows].tolist()).most_common(3)
    return ", ".join(
        f"{test.labels[label]} ({units.percent(n / len(rows), 0)})" for label, n in counts
    )


def _silhouettes(record: "RunRecord") -> Tensor | None:
    if record.model is None or record.test is None:
        return None
    feed = Loader(record.test, record.model.prepare, device=record.model.device)
    return record.model.evaluate(feed)["silhouette"]


def _data(record: "RunRecord") -> dict[str, Any]:
    test = record.test
    return {
        "facts": _data_facts(record),
        "skipped": record.skipped,
        "tiles": _some(test) if test is not None and record.task != "cluster" else [],
        "ledger": classify.ledger(record.folder),
        "balance": _balance(record.folder / "split.csv", test) if test is not None else None,
    }


def _data_facts(record: "RunRecord") -> list[tuple[str, str]]:
    facts = [(_("name"), record.data)]
    for part in PARTS:
        if part in record.parts:
            cases = _("{count} cases").format(count=units.whole(record.parts[part]))
            facts.append((_part(part), cases))
    if record.test is not None:
        facts += [
            (_("picture"), picture_size(record.test)),
            (_("classes"), units.whole(len(record.test.labels))),
            (_("patients, known by"), record.grouped or _("nothing: each picture counts alone")),
            (_("source"), record.test.source or units.UNKNOWN),
            (_("licence"), record.test.licence or units.UNKNOWN),
        ]
    return [*facts, (_("files skipped"), units.whole(len(record.skipped)))]


def _part(part: str) -> str:
    return {"train": _("training"), "val": _("validation"), "test": _("test")}[part]


def _some(test: Dataset) -> list[Tile]:
    """Cases of every class, as many of each as there is room for."""
    each = max(1, SAMPLES // max(1, len(test.labels)))
    rows = [row for found in of_each_class(test, each).values() for row in found][:SAMPLES]
    return [
        tile(test.image[i], test.labels[test.label[i]], (test.labels[test.label[i]],)) for i in rows
    ]


def _balance(split: Path, test: Dataset) -> Plot | None:
    """Cases of each class in each part, from ``split.csv``; else of the test part."""
    if split.exists():
        with split.open(newline="", encoding="utf-8") as file:
            counted = Counter((row["part"], row["label"]) for row in csv.DictReader(file))
    else:
        counted = Counter(("test", test.labels[label]) for label in test.label.tolist())
    here = {part for part, _label in counted}
    parts = {
        _part(part): [counted[part, label] for label in test.labels]
        for part in PARTS
        if part in here
    }
    if not parts:
        return None
    return plot(plots.balance(parts, test.labels), _("cases of each class in each part"))


def _entry(system: str) -> registry.Entry | None:
    """The system's file; None where it is not installed here."""
    try:
        return registry.find(system)[0]
    except UserError:
        return None


def _system(record: "RunRecord") -> dict[str, Any]:
    facts = [
        (_("name"), record.system),
        (_("parameters"), units.whole(record.parameters)),
        (_("one forward pass"), units.operations(record.flops)),
    ]
    config = list(flat({**record.config, "seed": record.seed}))
    entry = _entry(record.system)
    if entry is None:
        return {"idea": "", "facts": facts, "config": config, "paper": "", "url": "", "about": ""}
    facts[1:1] = [(_("year"), str(entry.year)), (_("status"), _status(entry.status))]
    return {
        "idea": _idea(entry),
        "facts": facts,
        "config": config,
        "paper": entry.paper,
        "url": entry.url,
        "about": entry.about,
    }


def _idea(entry: registry.Entry) -> str:
    return entry.ja if language() == "ja" and entry.ja else entry.idea


def _status(status: str) -> str:
    return {
        "faithful": _("faithful to the paper"),
        "reduced": _("reduced"),
        "pretrained": _("pretrained"),
    }.get(status, status)


def _card(record: "RunRecord") -> str:
    entry = _entry(record.system)
    ways = {
        "classify": (
            _("Sorting pictures like those of {data} into {count} classes: {labels}."),
            'model("picture.png").top5',
        ),
        "generate": (_("Drawing pictures like those of {data}."), "model.generate(16).folder"),
        "cluster": (_("Finding groups among pictures like those of {data}."), "model.system"),
    }
    use, usage = ways.get(record.task, (_("For {data}."), "model.system"))
    labels = record.test.labels if record.test is not None else ()
    limits = [
        _("It was measured on {n} cases of {data} only; other sources may differ.").format(
            n=units.whole(record.parts.get("test", 0)), data=record.data
        ),
        *_notes(record),
        *classify.threshold(record),
        _("It is no medical device: no diagnosis may rest on it alone."),
    ]
    return card(
        "card.md",
        title=_("{system} on {data}").format(system=record.system, data=record.data),
        task=Markup(re.sub(r"\W", "-", record.task)),
        system=Markup(re.sub(r"[^\w.-]", "-", record.system)),
        headline=_headline(record),
        system_idea=_idea(entry) if entry else "",
        use=use.format(
            data=record.data,
            count=len(labels),
            labels=", ".join(labels[:20]) + (", …" if len(labels) > 20 else ""),
        ),
        data=_data_facts(record),
        measures=[
            {
                "name": units.called(name),
                "value": units.measure(name, m.value),
                "interval": units.interval(name, m.low, m.high),
                "n": units.whole(m.n),
            }
            for name, m in record.measures.items()
        ],
        limits=limits,
        folder_text=Markup(repr(str(record.folder))),
        usage=Markup(usage),
        command=Markup(" ".join(record.receipt.get("command", "").split())),
        made=[
            (_("training time"), units.seconds(record.outcome.seconds)),
            (_("parameters"), units.whole(record.parameters)),
            (_("one forward pass"), units.operations(record.flops)),
            (_("seed"), str(record.seed)),
        ],
        paper=f"{entry.paper} {entry.url}" if entry else "",
    )
