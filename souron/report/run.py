"""Report of one run, and its model card."""

import csv
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.data.dataset import Dataset, ListColumn
from souron.data.display_names import called
from souron.data.quality import warnings as data_warnings
from souron.data.target import target_of
from souron.evaluation.record import RunRecord
from souron.report import plots
from souron.report.blocks import Table
from souron.report.page import (
    SMALL_TEST,
    Fact,
    Plot,
    Tile,
    card,
    few_cases,
    flat,
    in_each_language,
    in_other_languages,
    leaks,
    page,
    plot,
    receipt,
    report_file,
    tile,
    told_again,
    write,
)
from souron.training.budget import MOST_WAITING, Budget
from souron.utils import units
from souron.utils.messages import UserError, _, again, language

LEAST_TIMED = 1.0  # seconds of training; too few to tell whether the machine was busy
SAMPLES = 20
PARTS = ("train", "val", "test")


def run_report(record: RunRecord) -> Path:
    """Write ``report.html``, ``card.md`` and the other languages' reports into the run's folder.

    Return the path of ``report.html``; the others are named like ``report.ja.html``. Sections
    without data are left out. Raises UserError where the folder cannot be written.
    """
    record.notes = notes(record)
    write(record.folder / "card.md", _card(record))
    return in_each_language(record.folder, partial(_page, record))


def _page(record: RunRecord, elsewhere: Sequence[Any]) -> str:
    sections = _of_task(record, "run")
    headings = {
        "learning": _("Training"),
        "data": _("Data"),
        "forecast": _("Forecast and outcome"),
        "system": _("The system"),
        "receipt": _("Receipt"),
    }
    curve = _curve(record)
    contents = [(section.name, section.title) for section in sections]
    contents += [item for item in headings.items() if item[0] != "learning" or curve]
    return page(
        "run.html",
        elsewhere=elsewhere,
        title=_("{system} on {data}").format(system=record.system, data=called(record.data)),
        eyebrow=registry.task_name(record.task),
        headline=_headline(record),
        notes=[*data_warnings.texts(record.warnings, record.folder), *notes(record)],
        short=_short(record),
        onward=_onward(record),
        facts=_run_facts(record),
        contents=contents,
        sections=sections,
        curve=curve,
        headings=headings,
        data=_data(record),
        costs=_costs(record),
        system=_system(record),
        receipt=receipt(record.receipt),
        command=record.receipt.get("command", ""),
    )


def _of_task(record: RunRecord, part: str) -> Any:
    """Return a part of the task's ``report/sections/<task>.py``; [] where it has no such part."""
    module = registry.section(record.task)
    return getattr(module, part)(record) if module is not None and hasattr(module, part) else []


def run_translated(record: RunRecord) -> dict[str, Any]:
    """Translate the texts of a receipt; language -> ``notes``, for the other languages."""
    return in_other_languages(lambda: {"notes": notes(record)})


def run_html(record: RunRecord) -> str:
    """Return a few lines of HTML about a run, for a notebook."""
    rows = [
        (
            registry.metric(name).title,
            registry.metric(name).text(m.value),
            registry.metric(name).interval(m.low, m.high),
            str(m.n),
        )
        for name, m in record.measures.items()
    ]
    return page(
        "notebook.html",
        headline=_headline(record),
        tables=[Table((_("measure"), _("value"), _("95 % interval"), "n"), rows)],
        path=record.folder / report_file(),
    )


def notes(record: RunRecord) -> list[str]:
    """Return the caveats of a run, in the reader's language."""
    cases = record.parts.get("test", 0)
    few = [few_cases(cases)] if record.measures and 0 < cases < SMALL_TEST else []
    told = [again(note) for note in (record.patients, record.reduced) if note]
    doubts = [
        *leaks(record),
        *_barely_trained(record),
        *_busy(record),
    ]  # these come first: they question the figures themselves
    return [*doubts, *_of_task(record, "notes"), *few, *told]


def _busy(record: RunRecord) -> list[str]:
    """Warn where other programs used the processor for much of a budget in seconds."""
    wish = record.receipt.get("options", {}).get("budget", "1ep")
    seconds = record.curve[-1]["seconds"] if record.curve else 0.0
    if record.worked is None or Budget.parse(wish).unit != "seconds" or seconds < LEAST_TIMED:
        return []
    if record.worked >= seconds / MOST_WAITING:  # it had the whole budget, only later
        return []
    return [
        _(
            "The machine was busy: the processor worked for {worked} of {time} of training. On "
            "an idle machine the same budget trains for longer."
        ).format(time=units.seconds(seconds), worked=units.seconds(record.worked))
    ]


def _barely_trained(record: RunRecord) -> list[str]:
    """Warn where gradient training took one step, or saw less than one epoch."""
    last = record.curve[-1] if record.curve else {}
    learns = any(column.startswith("loss ") for column in last)
    if not learns or not last["step"] or (last["step"] > 1 and last["epoch"] >= 1):
        return []
    return [
        _(
            "Barely trained (steps: {steps}): each training case was seen {times} times on "
            "average. A larger budget may change all figures."
        ).format(steps=units.whole(last["step"]), times=f"{last['epoch']:.2g}")
    ]


def _onward(record: RunRecord) -> list[tuple[str, str]]:
    """Return next steps: a sentence, and the command for it or ""."""
    steps = []
    if record.leaking or record.torn:
        steps.append((_("Fix the data first."), f"souron data check {shlex.quote(record.data)}"))
    if 0 < record.parts.get("test", 0) < SMALL_TEST and record.folds == 1 and _held_out(record):
        steps.append((_("Test on more cases, of other patients: that narrows the interval."), ""))
    task = registry.load_task(record.task)
    options = record.receipt.get("options", {})
    if record.test is not None and record.test.images:
        steps.append((task.advice(options, record.parts.get("train", 0)), ""))
    try_it = _("Try it: in the studio with the button Use it, in a terminal with")
    steps.append((try_it, task.next_command(shlex.quote(str(record.folder)))))
    return [(text, command) for text, command in steps if text]


def _headline(record: RunRecord) -> str:
    if record.measures and (own := _of_task(record, "headline")):
        return str(own)
    said = {
        "system": record.system,
        "data": called(record.data),
        "train": units.whole(record.parts.get("train", 0)),
        "test": units.whole(record.parts.get("test", 0)),
        "time": units.seconds(record.outcome.seconds),
    }
    if not record.measures:
        return _("{system} was trained on {train} cases of {data} in {time}.").format(**said)
    name, measure = next(iter(record.measures.items()))
    metric = registry.metric(name)
    text = _(
        "{system} was trained on {train} cases of {data} in {time}; {measure} {value} on {test} "
        "unseen test cases (95 % interval {interval})."
    )
    if not _held_out(record):
        text = _("{system} described {train} cases of {data} in {time}; {measure} {value} (95 % interval {interval}).")
    return text.format(
        **said,
        measure=metric.title,
        value=metric.text(measure.value),
        interval=metric.interval(measure.low, measure.high),
    )


def _short(record: RunRecord) -> list[tuple[str, str]]:
    """Return how sure the main figure is, and for which cases it holds, where it was measured."""
    if not record.measures or not _held_out(record):
        return []
    name, measure = next(iter(record.measures.items()))
    metric, caveats = registry.metric(name), len(notes(record))
    sure = _("The 95 % interval of the {measure} is {interval}: a difference smaller than that proves nothing.").format(
        measure=metric.title, interval=metric.interval(measure.low, measure.high)
    )
    more = _("Read the caveats below first: {count}.").format(count=caveats) if caveats else ""
    groups = measure.groups or measure.n
    whom = _("For cases like the {count} unseen ones of {data}. Other devices, places or people may differ.")
    if groups != measure.n:
        whom = _(
            "For cases like the {count} unseen ones of {groups} patients or groups in {data}. Other devices, places or "
            "people may differ."
        )
    positive = getattr(record.details, "positive", "")
    about = _("{label}: sensitivity, specificity and predictive values are about it.").format(label=positive)
    return [
        *([(_("Positive class"), about)] if positive else []),
        (_("How sure?"), " ".join(filter(None, [sure, more]))),
        (
            _("For whom?"),
            whom.format(count=units.whole(measure.n), groups=units.whole(groups), data=called(record.data)),
        ),
    ]


def _run_facts(record: RunRecord) -> list[Fact]:
    doubts = dict(_of_task(record, "doubts"))
    facts = [
        Fact(
            registry.metric(name).title,
            registry.metric(name).text(measure.value),
            _("{interval}, n = {n}").format(
                interval=registry.metric(name).interval(measure.low, measure.high), n=units.whole(measure.n)
            ),
            doubts.get(name, ""),
        )
        for name, measure in record.measures.items()
        if registry.metric(name).headline
    ]
    examples = record.curve[-1].get("examples") if record.curve else None
    return [
        *facts,
        Fact(_("training time"), units.seconds(record.outcome.seconds), _training_detail(record, examples)),
        *_unlike(record),
        Fact(_("parameters"), units.count(record.parameters)),
        Fact(_("one forward pass"), units.operations(record.flops)),
    ]


def _unlike(record: RunRecord) -> list[Fact]:
    """Return the share of test cases flagged as unlike the training data."""
    if record.unlike is None:
        return []
    detail = _("of test cases; 5 % of validation cases exceed the threshold")
    return [Fact(_("unlike the training data"), units.percent(record.unlike), detail)]


def _training_detail(record: RunRecord, examples: float | None) -> str:
    if record.trainings > 1:
        return _("of {count} trainings together").format(count=record.trainings)
    return _("{count} examples seen").format(count=units.count(examples)) if examples else ""


def _costs(record: RunRecord) -> list[dict[str, str]]:
    forecast, outcome = record.forecast, record.outcome
    return [
        {
            "name": name,
            "forecast": form(before) if before else units.UNKNOWN,
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
    measure = registry.tasks()[record.task].watches or next(iter(record.measures), "")
    budget = record.receipt.get("options", {}).get("budget")
    wish = Budget.parse(budget) if budget else None
    last = record.curve[-1]
    limit = wish.amount if wish and wish.unit == "seconds" else None
    early = limit is not None and last["seconds"] < 0.9 * limit
    if record.stopped == "budget" and early:
        limit = None
        why = _("It finished before the budget was used up.")
    else:
        why = {
            "budget": _("It stopped when its budget was used up."),
            "patience": _("It stopped early: no further improvement on the validation cases."),
        }.get(record.stopped, "")
    seen = _("{examples} examples, {epochs} epochs, {time}.").format(
        examples=units.count(last["examples"]),
        epochs=units.count(last["epoch"]) if last["epoch"] >= 100 else f"{last['epoch']:.3g}",
        time=units.seconds(last["seconds"]),
    )
    return {
        "picture": plot(
            plots.learning_curves({record.system: [record.curve]}, measure, budget=limit),
            _("training loss and validation results against seconds"),
        ),
        "caption": f"{seen} {why}",
    }


def _data(record: RunRecord) -> dict[str, Any]:
    test = record.test
    return {
        "facts": _data_facts(record),
        "skipped": told_again(record.skipped),
        "some": _("Some test cases") if _held_out(record) else _("Some cases"),
        "tiles": _some(test) if test is not None and test.images else [],
        "ledger": ledger(record.folder),
        "balance": _balance(record.folder / "split.csv", test) if test is not None and _held_out(record) else None,
    }


def _data_facts(record: RunRecord) -> list[tuple[str, str]]:
    facts = [(_("name"), record.data)]
    if _held_out(record):
        facts += [
            (_part(part), _("{count} cases").format(count=units.whole(record.parts[part])))
            for part in PARTS
            if part in record.parts
        ]
    else:
        facts.append((_("cases"), units.whole(record.parts["train"])))
    if record.test is not None:
        imaged = not isinstance(record.test.input, ListColumn)
        if record.test.classes:
            facts.append((_("classes"), units.whole(len(record.test.classes))))
        facts += [
            target_of(record.test).shape(),
            (
                _("patients, grouped by") if imaged else _("cases that belong together, grouped by"),
                again(record.grouped)
                or (
                    _("nothing: each image counts separately") if imaged else _("nothing: each text counts separately")
                ),
            ),
            (_("source"), record.test.source or units.UNKNOWN),
            (_("licence"), record.test.licence or units.UNKNOWN),
        ]
    return [*facts, (_("files skipped"), units.whole(len(record.skipped)))]


def _held_out(record: RunRecord) -> bool:
    return bool(registry.load_task(record.task).held_out)


def _part(part: str) -> str:
    return {"train": _("training"), "val": _("validation"), "test": _("test")}[part]


def _some(test: Dataset) -> list[Tile]:
    """Return tiles of test cases, equally many of each class, as far as there is room."""
    target, each = target_of(test), max(1, SAMPLES // max(1, len(test.classes)))
    rows = (
        list(range(min(SAMPLES, len(test))))
        if target.every_class
        else [row for found in target.rows(each).values() for row in found][:SAMPLES]
    )
    return [
        tile(target.image(i), target.words(i), (target.words(i),))
        for i in dict.fromkeys(rows)  # an image with several objects once
    ]


def _balance(split: Path, test: Dataset) -> Plot | None:
    """Plot the cases of each class in each part of ``split.csv``, or else of the test part."""
    if not target_of(test).one_class:
        return None
    if split.exists():
        with split.open(newline="", encoding="utf-8") as file:
            counted = Counter((row["part"], row["label"]) for row in csv.DictReader(file))
    else:
        counted = Counter(("test", test.classes[label]) for label in test.target.tolist())
    here = {part for part, _label in counted}
    parts = {_part(part): [counted[part, label] for label in test.classes] for part in PARTS if part in here}
    if not parts:
        return None
    return plot(plots.balance(parts, test.classes), _("cases of each class in each part"))


def _entry(system: str) -> registry.Entry | None:
    """Return the system's registry entry; None where it is not installed."""
    try:
        return registry.find(system)[0]
    except UserError:
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


def _idea(entry: registry.Entry) -> str:
    return entry.ja if language() == "ja" and entry.ja else entry.idea


def _status(status: str) -> str:
    return {"faithful": _("faithful to the paper"), "reduced": _("reduced"), "pretrained": _("pretrained")}.get(
        status, status
    )


def _card(record: RunRecord) -> str:
    entry = _entry(record.system)
    use, usage = _of_task(record, "use") or (_("For {data}.").format(data=record.data), "model.system")
    limits = [
        _("It was measured on {n} cases of {data} only; other sources may differ.").format(
            n=units.whole(record.parts.get("test", 0)), data=record.data
        ),
        *data_warnings.texts(record.warnings, record.folder),
        *record.notes,
        *_of_task(record, "limits"),
        _("It is no medical device: no diagnosis may rest on it alone."),
    ]
    return card(
        "card.md",
        title=_("{system} on {data}").format(system=record.system, data=called(record.data)),
        task=Markup(re.sub(r"\W", "-", record.task)),
        system=Markup(re.sub(r"[^\w.-]", "-", record.system)),
        headline=_headline(record),
        system_idea=_idea(entry) if entry else "",
        use=use,
        data=_data_facts(record),
        measures=[
            {
                "name": registry.metric(name).title,
                "value": registry.metric(name).text(m.value),
                "interval": registry.metric(name).interval(m.low, m.high),
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


def ledger(folder: Path) -> list[dict[str, Any]]:
    """Return the cases, patients and classes of each part of the data, from ``split.csv``.

    Each part also has a fingerprint of its file names and labels.
    """
    path = folder / "split.csv"
    if not path.exists():
        return []
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[row["part"]].append(row)
    called = {"train": _("training"), "val": _("validation"), "test": _("test")}
    made = []
    for part in (name for name in called if rows[name]):
        held = rows[part]
        names = "\n".join(sorted(f"{row['file']}\t{row['label']}" for row in held))
        classes = Counter(row["label"] for row in held).most_common()
        shown = ", ".join(f"{label} {units.whole(count)}" for label, count in classes[:12])
        patients = len({row["group"] for row in held} - {""})
        made.append(
            {
                "part": called[part],
                "cases": len(held),
                "patients": units.whole(patients) if patients else units.UNKNOWN,
                "classes": shown + (", …" if len(classes) > 12 else ""),
                "fingerprint": blake2b(names.encode(), digest_size=6).hexdigest(),
            }
        )
    return made
