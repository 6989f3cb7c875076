"""The reports: one offline HTML file for a run, one for a comparison, and a model card."""

import csv
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup
from torch import Tensor

from souron import finding
from souron.budget import Budget
from souron.data.cases import Cases, Feed
from souron.judging import proportion
from souron.records import ComparisonRecord, Measure, Row, RunRecord, Verdict
from souron.reporting import fonts, pictures, units
from souron.reporting.page import (
    Fact,
    Plot,
    Tile,
    card,
    flat,
    of_each_class,
    page,
    picture_size,
    plot,
    tile,
    write,
)
from souron.reporting.preview import data_page
from souron.speaking import Trouble, _, language

__all__ = ["comparison_html", "comparison_report", "data_page", "run_html", "run_report"]

SMALL_TEST = 100  # cases; fewer say little
MISTAKES = 24
SAMPLES = 20
DISAGREEMENTS = 12
PARTS = ("train", "val", "test")


def run_report(record: RunRecord) -> Path:
    """Write ``report.html`` and ``card.md`` into the run's folder; the report's path.

    Sections without data are left out. Raises Trouble where the folder cannot be written.
    """
    write(record.folder / "card.md", _card(record))
    headings = {
        "samples": _("Samples"),
        "groups": _("Groups"),
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
        "samples": _samples(record),
        "groups": _groups(record),
        "curve": _curve(record),
        "confusion": _confusion(record),
        "classes": _classes(record),
        "mistakes": _mistakes(record),
    }
    shown = {"learning" if name == "curve" else name for name, part in parts.items() if part}
    shown |= {"data", "forecast", "system", "receipt"}
    text = page(
        "run.html",
        title=_("{system} on {data}").format(system=record.system, data=record.data),
        eyebrow=_task(record.task),
        headline=_headline(record),
        notes=_notes(record),
        facts=_run_facts(record),
        contents=[(name, title) for name, title in headings.items() if name in shown],
        headings=headings,
        data=_data(record),
        costs=_costs(record),
        system=_system(record),
        receipt=list(flat({k: v for k, v in record.receipt.items() if k != "command"})),
        command=record.receipt.get("command", ""),
        **parts,
    )
    return write(record.folder / "report.html", text)


def comparison_report(record: ComparisonRecord) -> Path:
    """Write ``report.html`` into the comparison's folder; its path. Raises Trouble as above."""
    headings = {
        "ranking": _("Ranking"),
        "verdicts": _("Every pair"),
        "time": _("Against training time"),
        "size": _("Against size and computation"),
        "learning": _("Learning"),
        "disagreements": _("Where they disagree"),
        "equal": _("What was equal"),
        "receipt": _("Receipt"),
    }
    measure, curves = record.measure, record.curves
    budget = Budget.parse(record.budget)
    looked = any(f"val {measure}" in row for seeds in curves.values() for c in seeds for row in c)
    seconds = budget.amount if budget.unit == "seconds" else None
    examples = budget.amount if budget.unit == "examples" else None
    names = [row.system for row in record.rows]
    ordered = {name: curves[name] for name in names if any(curves.get(name, ()))}
    parts: dict[str, Any] = {
        "verdicts": [_pair(verdict, measure) for verdict in record.verdicts],
        "race": looked
        and plot(
            pictures.accuracy_over_seconds(ordered, measure, seconds),
            _("{measure} of each system against seconds of training").format(
                measure=units.called(measure)
            ),
        ),
        "learning": ordered
        and plot(
            pictures.learning_curves(ordered, measure, "examples", examples),
            _("learning curves of all systems against training examples seen"),
        ),
        "disagreements": _disagreements(record),
    }
    left_out = {"time" if name == "race" else name for name, part in parts.items() if not part}
    text = page(
        "comparison.html",
        title=_("{count} systems on {data}").format(count=len(names), data=record.data),
        eyebrow=_("comparison at equal budget · {task}").format(task=_task(record.task)),
        sentence=record.sentence,
        notes=[_few(record.cases)] if record.cases < SMALL_TEST else [],
        facts=[
            Fact(_("test cases"), units.whole(record.cases)),
            Fact(_("budget of each"), _budget(record.budget)),
            Fact(_("trainings of each"), str(record.seeds), _("with different seeds")),
        ],
        contents=[(name, title) for name, title in headings.items() if name not in left_out],
        headings=headings,
        measure=units.called(measure),
        cases=units.whole(record.cases),
        rows=_ranking(record.rows),
        intervals=plot(
            pictures.intervals(record.rows),
            "; ".join(
                f"{row.system} {units.measure(measure, row.value)} "
                f"({units.interval(measure, row.low, row.high)})"
                for row in record.rows
            ),
        ),
        matrix=record.verdicts
        and plot(
            pictures.verdicts(record.verdicts, names, measure),
            _("every system against every other; the table below says the same in words"),
        ),
        complexity=plot(
            pictures.complexity(record.rows),
            _("{measure} against parameters and against FLOPs").format(
                measure=units.called(measure)
            ),
        ),
        equal=_equal(record),
        skipped=record.skipped,
        receipt=list(flat({k: v for k, v in record.receipt.items() if k != "command"})),
        command=record.receipt.get("command", ""),
        **parts,
    )
    return write(record.folder / "report.html", text)


def run_html(record: RunRecord) -> str:
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


def comparison_html(record: ComparisonRecord) -> str:
    """A few lines of HTML about a comparison, for a notebook."""
    rows = [
        (row["system"], row["value"], row["interval"], row["seconds"], row["parameters"])
        for row in _ranking(record.rows)
    ]
    measure = units.called(record.measure)
    return page(
        "notebook.html",
        headline=record.sentence,
        columns=(
            _("system"), measure, _("95 % interval"), _("training time"), _("parameters")
        ),
        rows=rows,
        path=record.folder / "report.html",
    )  # fmt: skip


def _task(task: str) -> str:
    return {
        "classify": _("classification"),
        "generate": _("generation"),
        "group": _("grouping"),
    }.get(task, task)


def _budget(text: str) -> str:
    budget = Budget.parse(text)
    if budget.unit == "seconds":
        return units.seconds(budget.amount)
    if budget.unit == "epochs":
        return _("{count} epochs").format(count=f"{budget.amount:g}")
    return _("{count} examples").format(count=units.count(budget.amount))


def _few(cases: int) -> str:
    return _(
        "Only {n} test cases: the interval is wide, and the next {n} may tell another story."
    ).format(n=cases)


def _notes(record: RunRecord) -> list[str]:
    cases = record.parts.get("test", 0)
    notes = [_few(cases)] if record.measures and 0 < cases < SMALL_TEST else []
    if record.stopped == "interrupted":
        notes.append(_("The run was interrupted before its budget was used up."))
    return notes


def _headline(record: RunRecord) -> str:
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
    if name == "accuracy":
        return _(
            "{system} learnt from {train} cases of {data} in {time}, and is right on {value} of "
            "{test} test cases it never saw (95 % interval {interval})."
        ).format(**said)
    return _(
        "{system} learnt from {train} cases of {data} in {time}; {measure} {value} on {test} test "
        "cases it never saw (95 % interval {interval})."
    ).format(**said)


def _run_facts(record: RunRecord) -> list[Fact]:
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
    ]
    examples = record.curve[-1].get("examples") if record.curve else None
    return [
        *facts,
        Fact(
            _("training time"),
            units.seconds(record.outcome.seconds),
            _("{count} examples seen").format(count=units.count(examples)) if examples else "",
        ),
        Fact(_("parameters"), units.count(record.parameters)),
        Fact(_("one forward pass"), units.operations(record.flops)),
    ]


def _costs(record: RunRecord) -> list[dict[str, str]]:
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


def _curve(record: RunRecord) -> dict[str, Any] | None:
    if len(record.curve) < 2:
        return None
    measure = next(iter(record.measures), "")
    budget = record.receipt.get("options", {}).get("budget")
    wish = Budget.parse(budget) if budget else None
    last = record.curve[-1]
    why = {
        "budget": _("It stopped when its budget was used up."),
        "patience": _("It stopped early: the validation cases showed no more improvement."),
        "interrupted": _("It was interrupted."),
    }.get(record.stopped, "")
    seen = _("{examples} examples, {epochs} epochs, {time}.").format(
        examples=units.count(last["examples"]),
        epochs=f"{last['epoch']:.3g}",
        time=units.seconds(last["seconds"]),
    )
    return {
        "picture": plot(
            pictures.learning_curves(
                {record.system: [record.curve]},
                measure,
                budget=wish.amount if wish and wish.unit == "seconds" else None,
            ),
            _("training loss, and what the validation cases showed, against seconds"),
        ),
        "caption": f"{seen} {why}",
    }


def _table(record: RunRecord) -> Tensor | None:
    """Counts (truly, said) of the test cases."""
    if record.probability is None or record.test is None:
        return None
    n, truly = len(record.test.labels), record.test.label
    said = record.probability.argmax(1)
    return (truly * n + said).bincount(minlength=n * n).view(n, n)


def _confusion(record: RunRecord) -> dict[str, Any] | None:
    matrix = _table(record)
    if matrix is None or record.test is None:
        return None
    labels = record.test.labels
    caption = (
        _("Rows: what the case truly is. Columns: what was said. Percentages are of the row.")
        if len(labels) <= pictures.READABLE_CLASSES
        else _("Of {count} classes, the pairs that were confused most often: truly → said.").format(
            count=len(labels)
        )
    )
    alt = _("{right} of {all} cases on the diagonal").format(
        right=units.whole(matrix.trace().item()), all=units.whole(matrix.sum().item())
    )
    return {"picture": plot(pictures.confusion(matrix, labels), alt), "caption": caption}


def _classes(record: RunRecord) -> list[dict[str, Any]]:
    matrix = _table(record)
    if matrix is None or record.test is None:
        return []
    truly, said, right = matrix.sum(1).tolist(), matrix.sum(0).tolist(), matrix.diag().tolist()
    return [
        {
            "name": name,
            "n": truly[k],
            "recall": _share(proportion(right[k], truly[k])),
            "precision": _share(proportion(right[k], said[k])),
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


def _mistakes(record: RunRecord) -> dict[str, Any] | None:
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


def _samples(record: RunRecord) -> dict[str, Any] | None:
    if record.samples is None:
        return None
    image = ((record.samples.cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return {
        "count": len(image),
        "picture": plot(
            pictures.samples(image),
            _("{count} pictures drawn by {system}").format(count=len(image), system=record.system),
        ),
    }


def _groups(record: RunRecord) -> dict[str, Any] | None:
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
            pictures.classes(chosen, counts),
            _("pictures of {count} groups").format(count=len(found)),
        ),
        "rows": rows,
        "silhouette": silhouette is not None
        and plot(
            pictures.histogram(silhouette, units.called("silhouette"), range_=(-1, 1)),
            _("how often each silhouette occurs"),
        ),
    }


def _most_frequent(test: Cases, rows: Tensor) -> str:
    counts = Counter(test.label[rows].tolist()).most_common(3)
    return ", ".join(
        f"{test.labels[label]} {units.percent(n / len(rows), 0)}" for label, n in counts
    )


def _silhouettes(record: RunRecord) -> Tensor | None:
    if record.model is None or record.test is None:
        return None
    feed = Feed(record.test, record.model.prepare, device=record.model.device)
    return record.model.evaluate(feed)["silhouette"]


def _data(record: RunRecord) -> dict[str, Any]:
    test = record.test
    return {
        "facts": _data_facts(record),
        "skipped": record.skipped,
        "tiles": _some(test) if test is not None and record.task != "group" else [],
        "balance": _balance(record.folder / "split.csv", test) if test is not None else None,
    }


def _data_facts(record: RunRecord) -> list[tuple[str, str]]:
    facts = [(_("name"), record.data)]
    for part in PARTS:
        if part in record.parts:
            cases = _("{count} cases").format(count=units.whole(record.parts[part]))
            facts.append((_part(part), cases))
    if record.test is not None:
        facts += [
            (_("picture"), picture_size(record.test)),
            (_("classes"), units.whole(len(record.test.labels))),
            (_("source"), record.test.source or units.UNKNOWN),
            (_("licence"), record.test.licence or units.UNKNOWN),
        ]
    return [*facts, (_("files skipped"), units.whole(len(record.skipped)))]


def _part(part: str) -> str:
    return {"train": _("training"), "val": _("validation"), "test": _("test")}[part]


def _some(test: Cases) -> list[Tile]:
    """Cases of every class, as many of each as there is room for."""
    each = max(1, SAMPLES // max(1, len(test.labels)))
    rows = [row for found in of_each_class(test, each).values() for row in found][:SAMPLES]
    return [
        tile(test.image[i], test.labels[test.label[i]], (test.labels[test.label[i]],)) for i in rows
    ]


def _balance(split: Path, test: Cases) -> Plot | None:
    """Cases of each class in each part, from ``split.csv``; of the test part where there is none."""
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
    return plot(pictures.balance(parts, test.labels), _("cases of each class in each part"))


def _entry(system: str) -> finding.Entry | None:
    """The system's file; None where it is not installed here."""
    try:
        return finding.split(system)[0]
    except Trouble:
        return None


def _system(record: RunRecord) -> dict[str, Any]:
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


def _idea(entry: finding.Entry) -> str:
    return entry.ja if language() == "ja" and entry.ja else entry.idea


def _status(status: str) -> str:
    return {
        "faithful": _("faithful to the paper"),
        "reduced": _("reduced"),
        "pretrained": _("pretrained"),
    }.get(status, status)


def _card(record: RunRecord) -> str:
    entry = _entry(record.system)
    ways = {
        "classify": (
            _("Sorting pictures like those of {data} into {count} classes: {labels}."),
            'model("picture.png").top5',
        ),
        "generate": (_("Drawing pictures like those of {data}."), "model.system.draw(16)"),
        "group": (_("Finding groups among pictures like those of {data}."), "model.system"),
    }
    use, usage = ways.get(record.task, (_("For {data}."), "model.system"))
    labels = record.test.labels if record.test is not None else ()
    limits = [
        _("It was measured on {n} cases of {data} only; other sources may differ.").format(
            n=units.whole(record.parts.get("test", 0)), data=record.data
        ),
        *_notes(record),
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


def _ranking(rows: Sequence[Row]) -> list[dict[str, Any]]:
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    scale = (high - low) or 1.0
    return [
        {
            "system": row.system,
            "value": units.measure(row.measure, row.value),
            "interval": units.interval(row.measure, row.low, row.high),
            "place": {
                "low": (row.low - low) / scale,
                "value": (row.value - low) / scale,
                "high": (row.high - low) / scale,
            },
            "seeds": units.interval(row.measure, min(row.seeds), max(row.seeds))
            if len(row.seeds) > 1
            else units.UNKNOWN,
            "seconds": units.seconds(row.train_seconds),
            "examples": units.count(row.examples_seen),
            "parameters": units.count(row.parameters),
            "flops": units.operations(row.flops).removesuffix("FLOP").strip(),
        }
        for row in rows
    ]


def _pair(verdict: Verdict, measure: str) -> dict[str, str]:
    a, b = verdict.a, verdict.b
    told, kind = {
        "better": (_("▲ {a} is better than {b}").format(a=a, b=b), "better"),
        "worse": (_("▼ {a} is worse than {b}").format(a=a, b=b), "worse"),
        "cannot tell": (_("≈ cannot tell"), "faint"),
    }[verdict.verdict]
    return {
        "a": a,
        "b": b,
        "kind": kind,
        "verdict": told,
        "difference": units.difference(measure, verdict.difference),
        "interval": _("{low} to {high}").format(
            low=units.difference(measure, verdict.low).split(" ")[0],
            high=units.difference(measure, verdict.high),
        ),
        "needed": _needed(verdict),
    }


def _needed(verdict: Verdict) -> str:
    if verdict.verdict != "cannot tell":
        return ""
    cases = units.whole(verdict.cases_needed) if verdict.cases_needed else ""
    if cases and verdict.seeds_needed:
        told = _("about {cases} more test cases, or {seeds} more seeds each")
    elif cases:
        told = _("about {cases} more test cases")
    elif verdict.seeds_needed:
        told = _("about {seeds} more seeds each; more cases alone will not do")
    else:
        told = _("too close: neither more cases nor more seeds within reason")
    return told.format(cases=cases, seeds=verdict.seeds_needed)


def _disagreements(record: ComparisonRecord) -> dict[str, Any] | None:
    """The cases on which the systems' answers spread most, with what each said."""
    test, names = record.test, [row.system for row in record.rows if row.system in record.guesses]
    if test is None or len(names) < 2:
        return None
    answers = torch.stack([record.guesses[name].mode(0).values for name in names])  # (S, cases)
    right = answers == test.label
    spread = _spread(torch.cat([record.guesses[name] for name in names]), len(test.labels))
    apart = (answers != answers[0]).any(0)
    order = (spread + apart).argsort(descending=True, stable=True)[:DISAGREEMENTS].tolist()
    told = _(
        "On {agree} of the cases all say the same. All are right on {right}, all are wrong on "
        "{wrong}. Below, the cases on which the answers differ most; of several trainings, the "
        "most frequent answer."
    ).format(
        agree=units.percent(1 - apart.float().mean().item()),
        right=units.percent(right.all(0).float().mean().item()),
        wrong=units.percent((~right).all(0).float().mean().item()),
    )
    tiles = []
    for i in order:
        if not apart[i]:
            continue
        picture = tile(test.image[i], _("test case {file}").format(file=test.file[i]))
        tiles.append({
            "uri": picture.uri,
            "alt": picture.alt,
            "side": picture.side,
            "file": test.file[i],
            "truly": test.labels[test.label[i]],
            "said": [
                (name, _voice(record.guesses[name][:, i], test.labels), bool(right[s, i]))
                for s, name in enumerate(names)
            ],
        })  # fmt: skip
    return {"caption": told, "tiles": tiles}


def _spread(guesses: Tensor, labels: int) -> Tensor:
    """Entropy of the answers to each case, 0..1; ``guesses`` (answers, cases)."""
    share = torch.stack([(guesses == label).float().mean(0) for label in range(labels)])
    return -(share * share.clamp(min=1e-9).log()).sum(0) / math.log(max(2, labels))


def _voice(said: Tensor, labels: Sequence[str]) -> str:
    """``cat``, or ``cat (2/3)`` where not all trainings say so."""
    most = int(said.mode().values)
    agreeing = int((said == most).sum())
    name = fonts.short(labels[most], 30)
    return name if agreeing == len(said) else f"{name} ({agreeing}/{len(said)})"


def _equal(record: ComparisonRecord) -> list[tuple[str, str]]:
    options: Mapping[str, Any] = record.receipt.get("options", {})
    change = options.get("augment")
    if change is None and record.test is not None:
        change = ", ".join(record.test.augment)
    return [
        (_("budget"), _budget(record.budget)),
        (_("seeds"), _("{count}, the same for all, trained in turns").format(count=record.seeds)),
        (_("split"), _("the same, written to {file}").format(file="split.csv")),
        (_("test cases"), units.whole(record.cases)),
        (_("augmentation"), change or _("none")),
        *([(_("batch"), str(options["batch"]))] if "batch" in options else []),
    ]
