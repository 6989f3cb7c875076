"""State the facts of a run that reporting guidelines ask for, one function a fact.

Each returns a sentence or more in the reader's language, or "" where the run does not know it. ``FACTS`` names them for
the files of the guidelines; ``EXCLUDED`` are facts for which an item does not apply.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median

from souron import registry
from souron.actions.reporting.source import Source, dates, mapping, number, sequence, text
from souron.data.display_names import called
from souron.hub import networks, published
from souron.runs.datasheet import part_name
from souron.system import System
from souron.utils import units
from souron.utils.messages import N_, _, language, listed, sentences

MOST_NAMED = 12  # classes, values of a column or files that are named
MOST_CELLS = 3  # classes whose confusion matrix is stated in words
AGE = "age"
COLUMNS = {"site": N_("site"), "sex": N_("sex"), AGE: N_("age"), "device": N_("device"), "date": N_("date")}


def data(source: Source) -> str:
    """State the data set, its size, classes, source and licence."""
    if not source.data:
        return ""
    about = source.data
    parts = [
        _("Data: {name}, {cases} cases.").format(
            name=called(text(source.options.get("data") or about.get("name"))), cases=_whole(about.get("cases"))
        )
    ]
    if source.labels:
        parts.append(_("Classes: {names}.").format(names=listed(source.labels, MOST_NAMED)))
    if origin := text(about.get("source")):
        parts.append(_("Source: {source}.").format(source=origin))
    if licence := text(about.get("licence")):
        parts.append(_("Licence: {licence}.").format(licence=licence))
    return sentences(parts)


def patients(source: Source) -> str:
    """State the patients, or other groups, among the tested cases; "" where the run knows of none."""
    cases, groups = source.units
    if not groups or not cases:
        return ""
    return _("{cases} tested cases of {groups}.").format(cases=units.whole(cases), groups=_groups(source, groups))


def _groups(source: Source, count: float) -> str:
    form = _("{count} patients") if source.groups_are_patients else _("{count} groups")
    return form.format(count=_whole(count))


def study_dates(source: Source) -> str:
    """State the first and last date in the data's table."""
    found = dates(source.columns.get("date", []))
    return _("Dates in the data: {first} to {last}.").format(first=found[0], last=found[1]) if found else ""


def sites(source: Source) -> str:
    """State the cases of each site in the data's table."""
    return _counted(source, _("Sites: {counts}."), "site")


def devices(source: Source) -> str:
    """State the cases of each device in the data's table."""
    return _counted(source, _("Devices: {counts}."), "device")


def _counted(source: Source, form: str, column: str) -> str:
    counts = Counter(cell for cell in source.columns.get(column, []) if cell).most_common()
    if not counts or len(counts) > MOST_NAMED:
        return ""
    return form.format(counts=", ".join(f"{text(value)} {units.whole(count)}" for value, count in counts))


def excluded(source: Source) -> str:
    """State the files that could not be used, with the first reasons."""
    if "skipped" not in source.receipt:
        return ""
    skipped = [mapping(one) for one in sequence(source.receipt["skipped"])]
    if not skipped:
        return _("No file of the data was skipped as unreadable.")
    reasons = Counter(text(one.get("code")) or text(one.get("reason")) for one in skipped).most_common(3)
    return _("{count} files could not be used: {reasons}.").format(
        count=units.whole(len(skipped)), reasons=", ".join(f"{name} {units.whole(count)}" for name, count in reasons)
    )


def flow(source: Source) -> str:
    """State the cases from the files to the parts of the data."""
    if source.sheet is None:
        return ""
    return sentences([part for part in (data(source), excluded(source), events(source)) if part])


def events(source: Source) -> str:
    """State cases, patients and classes of each part of the data."""
    if source.sheet is None:
        return ""
    told = []
    for part in source.sheet.parts:
        if not part.cases:
            continue
        found = [_("{count} cases").format(count=units.whole(part.cases))]
        if part.groups:
            found.append(_groups(source, part.groups))
        if 0 < len(part.classes) <= MOST_NAMED and source.labels:
            found += [f"{text(name)} {units.whole(count)}" for name, count in part.classes.items()]
        told.append(f"{part_name(part.name)}: {', '.join(found)}")
    form = _("By part: {parts}.") if source.folds == 1 else _("The final network's parts: {parts}.")
    return form.format(parts="; ".join(told)) if told else ""


def partitions(source: Source) -> str:
    """State how the data were divided: folds and repeats, or parts, and by patients where they are known."""
    cases, groups = source.units
    if source.folds > 1:
        how = _(
            "{folds}-fold cross-validation, repeats: {repeats}; each case is tested by networks that were trained "
            "without it."
        ).format(folds=source.folds, repeats=source.repeats)
    elif source.sheet is not None and source.sheet.part("test").cases:
        counts = ", ".join(f"{part_name(p.name)} {units.whole(p.cases)}" for p in source.sheet.parts if p.cases)
        how = _("One split of the cases: {counts}.").format(counts=counts)
    elif source.kind == "comparison" and cases:
        how = _("One split of the cases; {count} test cases.").format(count=units.whole(cases))
    else:
        return ""
    return sentences(part for part in (how, disjoint(source) if groups else "") if part)


def disjoint(source: Source) -> str:
    """State the level at which the parts are disjoint."""
    cases, groups = source.units
    if not cases:
        return ""
    if source.options.get("allow_leak"):
        return _("Parts that share groups (patients) or images were allowed (allow_leak).")
    if groups:
        if not source.apart:
            return _("Some groups of cases (patients) are in more than one part of a split.")
        if source.groups_are_patients:
            return _("Split by patient: no patient is in more than one part of a split.")
        return _("Split by group: no group of cases is in more than one part of a split.")
    return _("Cases were divided singly, without patients or other groups.")


def preprocessing(source: Source) -> str:
    """State the size, the channels and the normalisation of the network's input, and augmentation."""
    side, channels = number(source.seen.get("side")), number(source.seen.get("channels"))
    if not (source.of_images and math.isfinite(side) and math.isfinite(channels)):
        return ""
    colours = _("colour") if channels == 3 else _("grey values") if channels == 1 else f"{channels:g}"
    told = [_("The network's input has {side} × {side} pixels ({colours}).").format(side=f"{side:g}", colours=colours)]
    means = [number(one) for one in sequence(source.seen.get("mean"))]
    spreads = [number(one) for one in sequence(source.seen.get("std"))]
    if means and len(means) == len(spreads) and all(map(math.isfinite, [*means, *spreads])):
        told.append(
            _("Pixel values were normalised by mean {mean} and standard deviation {spread}.").format(
                mean="/".join(f"{one:.3f}" for one in means), spread="/".join(f"{one:.3f}" for one in spreads)
            )
        )
    if window := text(source.options.get("window")):
        told.append(_("Grey value window: {window}.").format(window=window))
    if augment := text(source.options.get("augment")):
        told.append(_("Augmentation of training images: {names}.").format(names=augment))
    return sentences(told)


def classes(source: Source) -> str:
    """State the classes and the positive one."""
    if not source.labels:
        return ""
    told = [_("Classes: {names}.").format(names=listed(source.labels, MOST_NAMED))]
    if positive := text(_decision(source).get("positive")):
        told.append(_("The class to detect is {name}.").format(name=positive))
    return sentences(told)


def inputs(source: Source) -> str:
    """State that the network saw the image alone."""
    return _("The network's input is the image alone; it was not given the reference standard.") if _ran(source) else ""


def _ran(source: Source) -> bool:
    return source.kind == "run" and source.of_images and bool(source.measures)


def model(source: Source) -> str:
    """State the system, its paper, size and parameters; of a comparison all systems."""
    if source.kind == "comparison":
        names = [text(mapping(row).get("system")) for row in sequence(source.receipt.get("rows"))]
        return _("Systems compared: {names}.").format(names=listed(names, MOST_NAMED)) if names else ""
    if source.kind == "arena":
        names = [text(mapping(one).get("name")) for one in sequence(source.receipt.get("models"))]
        return _("Models compared: {names}.").format(names=listed(names, MOST_NAMED)) if names else ""
    if not source.system:
        return ""
    told = [_("Model: {system}.").format(system=source.system)]
    if source.entry is not None:
        told.append(f"{source.entry.paper} {source.entry.url}".strip())
        if source.entry.status == "reduced":
            told.append(
                _("Its structure is reduced with respect to the paper (souron show {system}).").format(
                    system=source.entry.name
                )
            )
    if math.isfinite(weights := number(source.receipt.get("parameters"))) and weights:
        told.append(_("{count} parameters.").format(count=units.whole(weights)))
    return sentences(told)


def initial(source: Source) -> str:
    """State the initial weights with their licence, and which layers were trained."""
    began = text(source.options.get("pretrained"))
    if not source.by_gradient or not began or source.entry is None:
        return ""
    if began == "False":
        return _("Training began from random weights.")
    told = [_("Training began from the weights of {run}.").format(run=began)]
    if began == "True":
        form = _("Training began from the published weights of {system}, trained on {data}.")
        told = [form.format(system=source.system, data=registry.published_from(source.system))]
        entry, size = registry.find(source.system)
        origin = entry.weights.get(size, "")
        about, network = published.about(origin), networks.network(origin)
        if about is not None:
            told = [
                _("Training began from published weights: {source} ({data}).").format(
                    source=about.source, data=about.data
                )
            ]
        if licence := about.free if about is not None else network.licence if network is not None else "":
            told.append(_("Their licence: {licence}.").format(licence=licence))
    if source.options.get("freeze") is True:
        told.append(_("Only the last layer was trained."))
    return sentences(told)


def training(source: Source) -> str:
    """State budget, batch, learning rate, optimiser and seed."""
    options, config = source.options, mapping(source.options.get("config"))
    named = {
        _("budget"): text(options.get("budget")) or text(source.receipt.get("budget")),
        _("batch size"): text(options.get("batch")),
        _("maximum learning rate"): text(options.get("rate")) or text(config.get("rate")),
        _("optimiser"): _optimiser(source),
        _("random seed"): text(options.get("seed")) or text(source.receipt.get("seed")),
        _("number of seeds"): text(source.receipt.get("seeds")),
    }
    if number(options.get("patience")) > 0:
        named[_("validations without improvement before stopping")] = text(options.get("patience"))
    shown = ", ".join(f"{name} {value}" for name, value in named.items() if value)
    return _("Training: {settings}.").format(settings=shown) if shown and source.kind in ("run", "comparison") else ""


def _optimiser(source: Source) -> str:
    """Return the optimiser of a system that has the default one; "" for others, whose file says it."""
    if not source.by_gradient or source.entry is None:
        return ""
    system_class, config = registry.load_system(source.system)
    default = system_class.optimizers is System.optimizers and hasattr(config, "rate")
    return _("AdamW with one cycle of the learning rate") if default else ""


def settings(source: Source) -> str:
    """State the system's configuration."""
    config = mapping(source.options.get("config"))
    shown = ", ".join(f"{text(name)}={_value(value)}" for name, value in list(config.items())[:MOST_NAMED])
    return _("Configuration: {settings}.").format(settings=shown) if shown and source.kind == "run" else ""


def _value(value: object) -> str:
    return "/".join(text(one) for one in value[:MOST_NAMED]) if isinstance(value, list) else text(value) or "–"


def selection(source: Source) -> str:
    """State how the final weights were chosen."""
    watched = registry.tasks()[source.task].watches if source.task in registry.tasks() else ""
    if not source.by_gradient or not watched:
        return ""
    return _("The weights with the best validation {measure} were kept.").format(measure=registry.metric(watched).title)


def single(source: Source) -> str:
    """State that no ensemble was used."""
    return _("One network answers; no outputs of several networks are combined.") if source.kind == "run" else ""


def software(source: Source) -> str:
    """State the versions of the software."""
    machine = mapping(source.receipt.get("machine"))
    versions = [(text(name), text(version)) for name, version in mapping(machine.get("packages")).items()]
    if python := text(machine.get("python")):
        versions.append(("Python", python))
    shown = ", ".join(f"{name} {version}" for name, version in versions[:MOST_NAMED] if version)
    return _("Software: {versions}.").format(versions=shown) if shown else ""


def machine(source: Source) -> str:
    """State the processor, the memory and the time of training."""
    about = mapping(source.receipt.get("machine"))
    named = [text(about.get("processor"))]
    if math.isfinite(cores := number(about.get("cores"))):
        named.append(_("{count} cores").format(count=units.whole(cores)))
    if math.isfinite(memory := number(about.get("memory"))):
        named.append(units.size(memory))
    shown = ", ".join(filter(None, named))
    told = [_("Computer: {machine}.").format(machine=shown)] if shown else []
    spent = number(source.receipt.get("train_seconds"))
    if math.isfinite(spent):
        told.append(_("Training took {time}.").format(time=units.seconds(spent)))
    if math.isfinite(seconds := number(source.receipt.get("seconds"))):
        told.append(_("It took {time}.").format(time=units.seconds(seconds)))
    if math.isfinite(flops := number(source.receipt.get("flops"))) and flops:
        told.append(_("One forward pass: {operations}.").format(operations=units.operations(flops)))
    return sentences(told)


def output(source: Source) -> str:
    """State the output of a classifier."""
    if not (_ran(source) and source.labels):
        return ""
    return _("The output is a probability for each of {count} classes.").format(count=len(source.labels))


def _decision(source: Source) -> dict[str, object]:
    return mapping(source.receipt.get("decision"))


def threshold(source: Source) -> str:
    """State the decision threshold and how it was chosen."""
    decision = _decision(source)
    positive, ends = text(decision.get("positive")), [number(one) for one in sequence(decision.get("threshold"))]
    if not positive or not ends or not all(map(math.isfinite, ends)):
        return ""
    low, high = units.percent(min(ends)), units.percent(max(ends))
    shown = low if low == high else units.interval("share", min(ends), max(ends))
    told = [
        _("Threshold for {label}: {threshold}, chosen on validation cases only, never on the test cases.").format(
            label=positive, threshold=shown
        )
    ]
    wanted = number(source.options.get("sensitivity"))
    if math.isfinite(wanted):
        told.append(
            _("It is the highest at which the sensitivity on validation cases reaches {value}.").format(
                value=units.percent(wanted)
            )
        )
    else:
        told.append(_("It has the highest sum of sensitivity and specificity on validation cases (Youden's index)."))
    return sentences(told)


def prevalence(source: Source) -> str:
    """State the prevalence among the tested cases, and the one that predictive values assume."""
    positive, told = text(_decision(source).get("positive")), []
    if not positive:
        return ""
    if source.confusion:
        total = sum(source.confusion.values())
        sick = sum(count for (label, _answer), count in source.confusion.items() if label == positive)
        told.append(
            _("{count} of {all} tested cases ({share}) are {label}.").format(
                count=units.whole(sick), all=units.whole(total), share=units.percent(sick / total), label=positive
            )
        )
    assumed = number(source.options.get("prevalence"))
    if math.isfinite(assumed):
        told.append(_("Predictive values assume a prevalence of {share}.").format(share=units.percent(assumed)))
    return sentences(told)


def statistics(source: Source) -> str:
    """State the measures, and the units that their intervals count."""
    names = [registry.metric(name).title for name in source.measures]
    if source.kind == "comparison":
        names = list(
            dict.fromkeys(
                registry.metric(text(mapping(row).get("measure"))).title for row in sequence(source.receipt.get("rows"))
            )
        )
    if not names:
        return ""
    told = [_("Measures: {names}.").format(names=listed(names, MOST_NAMED))]
    if any(math.isfinite(one["groups"]) for one in source.measures.values()):
        form = _("95 % confidence intervals count {units}, not single cases, as independent.")
        told.append(form.format(units=_unit(source)))
    elif source.measures:
        told.append(_("95 % confidence intervals count each case as independent."))
    if source.kind == "comparison":
        form = _("Differences are paired by case; their intervals count {units}, corrected for many pairs (Holm).")
        if source.folds > 1 or number(source.receipt.get("seeds")) > 1:
            form = _(
                "Differences are paired by case; their intervals count {units} and trainings, corrected for many pairs "
                "(Holm)."
            )
        told.append(form.format(units=_unit(source) if source.units[1] else _("cases")))
    return sentences(told)


def _unit(source: Source) -> str:
    return _("patients") if source.groups_are_patients else _("groups of cases")


def results(source: Source) -> str:
    """State each measure with its interval and its number of cases."""
    told = []
    for name, one in source.measures.items():
        metric = registry.metric(name)
        form = _("{measure} {value} (95 % CI {interval}; n = {n})")
        if math.isfinite(one["groups"]):
            form = _("{measure} {value} (95 % CI {interval}; n = {n}, {groups})")
        told.append(
            form.format(
                measure=metric.title,
                value=metric.text(one["value"]),
                interval=metric.interval(one["low"], one["high"]),
                n=units.whole(one["n"]),
                groups=_groups(source, one["groups"]),
            )
        )
    return (
        _("On the test cases: {results}.").format(results="; ".join(told))
        if told
        else compared(source) or examined(source)
    )


def examined(source: Source) -> str:
    """State the accuracy of an exam with its controls, or the ratings of an arena."""
    receipt, metric = source.receipt, registry.metric("accuracy")
    if source.kind == "arena":
        models = [mapping(one) for one in sequence(receipt.get("models"))]
        shown = [
            f"{text(one.get('name'))} {number(one.get('rating')):.0f} "
            f"({units.ends(*(f'{number(one.get(end)):.0f}' for end in ('low', 'high')))})"
            for one in models
            if math.isfinite(number(one.get("rating")))
        ]
        return (
            _("Ratings from {votes} blind votes (95 % interval): {ratings}.").format(
                votes=_whole(receipt.get("votes")), ratings=", ".join(shown)
            )
            if shown
            else ""
        )
    value, low, high, n = (number(receipt.get(key)) for key in ("accuracy", "low", "high", "n"))
    if source.kind != "exam" or not all(map(math.isfinite, (value, low, high, n))):
        return ""
    told = [
        _("Accuracy {value} (95 % CI {interval}; n = {n} questions).").format(
            value=metric.text(value), interval=metric.interval(low, high), n=units.whole(n)
        )
    ]
    controls = {"chance": _("by chance {value}"), "control": _("without the questions {value}")}
    shown = [
        form.format(value=metric.text(number(receipt.get(key))))
        for key, form in controls.items()
        if math.isfinite(number(receipt.get(key)))
    ]
    return sentences([*told, *([_("Controls: {controls}.").format(controls=", ".join(shown))] if shown else [])])


def compared(source: Source) -> str:
    """State the verdict of a comparison with each system's measure."""
    if source.kind != "comparison":
        return ""
    told = []
    for row in map(mapping, sequence(source.receipt.get("rows"))[:MOST_NAMED]):
        metric = registry.metric(text(row.get("measure")))
        value, low, high = (number(row.get(key)) for key in ("value", "low", "high"))
        if math.isfinite(value):
            told.append(f"{text(row.get('system'))} {metric.text(value)} ({metric.interval(low, high)})")
    own = mapping(mapping(source.receipt.get("translated")).get(language()))
    sentence = text(own.get("sentence")) or text(source.receipt.get("sentence"))
    measure = text(mapping(next(iter(sequence(source.receipt.get("rows"))), None)).get("measure"))
    if not told:
        return ""
    shown = _("{measure} (95 % CI): {values}.").format(measure=registry.metric(measure).title, values=", ".join(told))
    return sentences([one for one in (shown, sentence) if one])


def confusion(source: Source) -> str:
    """State the test cases of each label by their most probable class."""
    if not source.confusion:
        return ""
    if len(source.labels) > MOST_CELLS:
        wrong = sum(count for (label, answer), count in source.confusion.items() if label != answer)
        return _("{wrong} of {all} test cases were called another class; predictions.csv lists them.").format(
            wrong=units.whole(wrong), all=units.whole(sum(source.confusion.values()))
        )
    cells = [
        _("{label} called {answer}: {count}").format(label=text(label), answer=text(answer), count=units.whole(count))
        for (label, answer), count in sorted(source.confusion.items())
    ]
    return _("By the most probable class, not at the threshold: {cells}.").format(cells=", ".join(cells))


def subgroups(source: Source) -> str:
    """State the first measure of each subgroup with its interval."""
    return _subgroups(source, lambda column: True)


def by_site(source: Source) -> str:
    """State the first measure of each site with its interval."""
    return _subgroups(source, lambda column: column == "site")


def _subgroups(source: Source, wanted: Callable[[str], bool]) -> str:
    told = []
    for one in map(mapping, sequence(source.receipt.get("subgroups"))[:40]):
        column = text(one.get("column"))
        name, about = next(iter(mapping(one.get("measures")).items()), ("", {}))
        value, low, high, n = (number(mapping(about).get(key)) for key in ("value", "low", "high", "n"))
        if wanted(column) and math.isfinite(value) and math.isfinite(n):
            metric = registry.metric(text(name))
            told.append(
                _("{column} {value}: {measure} {figure} ({interval}; n = {n})").format(
                    column=_(COLUMNS[column]) if column in COLUMNS else column,
                    value=text(one.get("value")),
                    measure=metric.title,
                    figure=metric.text(value),
                    interval=metric.interval(low, high),
                    n=units.whole(n),
                )
            )
    return _("Subgroups: {subgroups}.").format(subgroups="; ".join(told)) if told else ""


def calibration(source: Source) -> str:
    """State the expected calibration error and the Brier score, before and after temperature scaling."""
    about = mapping(source.receipt.get("calibration"))
    before, after = (number(mapping(about.get(k)).get("expected_calibration_error")) for k in ("before", "after"))
    if not math.isfinite(before):
        return ""
    told = [_("Expected calibration error {value}.").format(value=f"{before:.3f}")]
    if math.isfinite(after):
        told = [
            _("Expected calibration error {before}; {after} after temperature scaling on validation cases.").format(
                before=f"{before:.3f}", after=f"{after:.3f}"
            )
        ]
    return sentences(told)


def missing(source: Source) -> str:
    """State the empty cells of the data's table, and the files that could not be used."""
    told = [excluded(source)] if excluded(source) else []
    empty = {name: sum(not cell for cell in cells) for name, cells in source.columns.items()}
    if empty:
        shown = ", ".join(f"{_(COLUMNS[name])} {count}" for name, count in empty.items())
        told.append(_("Empty cells in the data's table: {counts}.").format(counts=shown))
    return sentences(told)


def characteristics(source: Source) -> str:
    """State the distribution of the further columns of the data's table over all cases of the run."""
    told = [form for form in (sites(source), devices(source), _counted(source, _("Sex: {counts}."), "sex")) if form]
    try:
        ages = [float(cell) for cell in source.columns.get(AGE, []) if cell]
    except ValueError:
        ages = []
    if ages and all(map(math.isfinite, ages)):
        told.append(
            _("Age: median {median} ({range}; n = {n}).").format(
                median=f"{median(ages):g}",
                range=units.ends(f"{min(ages):g}", f"{max(ages):g}"),
                n=units.whole(len(ages)),
            )
        )
    return sentences([*told, study_dates(source)] if study_dates(source) else told)


def counts(source: Source) -> str:
    """State the tested cases and patients."""
    if patients(source):
        return patients(source)
    questions = number(source.receipt.get("n") if source.kind == "exam" else source.receipt.get("questions"))
    if source.kind in ("exam", "arena") and math.isfinite(questions):
        return _("{count} questions.").format(count=units.whole(questions))
    return _("{count} test cases.").format(count=units.whole(source.units[0])) if source.units[0] else ""


def limits(source: Source) -> str:
    """State the caveats of the run's own report."""
    told = source.notes
    if source.kind == "run" and source.measures:
        told = [
            *told,
            _("It was measured on {n} cases of {data} only; other sources may differ.").format(
                n=units.whole(source.units[0]), data=called(text(source.options.get("data") or source.data.get("name")))
            ),
        ]
    return sentences(told)


def code(source: Source) -> str:
    """State the command that repeats the run, and the hashes of its weights and data."""
    told = []
    if command := text(source.receipt.get("command")):
        told.append(_("The command that repeats it: {command}").format(command=command))
    for name, digest in mapping(source.receipt.get("files")).items():
        if name == "weights/best.safetensors" and text(digest):
            told.append(_("SHA-256 of the weights: {digest}.").format(digest=text(digest)))
    if digest := text(source.data.get("hash")):
        told.append(_("Hash of the data: {digest}.").format(digest=digest))
    return sentences(told)


def stored(source: Source) -> str:
    """State that the outputs are stored with the run."""
    if source.kind != "run" or not source.confusion:
        return ""
    return _("The output for each test case is stored with the run (predictions.csv, answers.safetensors).")


def answered(source: Source) -> str:
    """State that the network answers every case."""
    return _("The network answers every test case; it has no indeterminate result.") if _ran(source) else ""


def exam_data(source: Source) -> str:
    """State the questions of an exam or arena."""
    if source.kind == "exam":
        return _("Questions: {data}, seed {seed}; {count}").format(
            data=called(text(source.receipt.get("data"))), seed=text(source.receipt.get("seed")), count=counts(source)
        )
    return counts(source) if source.kind == "arena" else ""


def seen_before(source: Source) -> str:
    """State how many questions of an exam the model has read in training, or why that is not known."""
    about = mapping(source.receipt.get("overlap"))
    if source.kind != "exam" or not about:
        return ""
    if why := text(about.get("unknown")):
        return _("Whether it has read these questions before is not known: {why}.").format(why=why)
    seen = number(about.get("seen"))
    return _("{count} of the questions are in its training texts.").format(count=_whole(seen)) if seen == seen else ""


def multiple_choice(source: Source) -> str:
    """State that an exam has options, none of whose answers is a text."""
    return _("The task is multiple choice.") if source.kind == "exam" else ""


def blind(source: Source) -> str:
    """State how an arena's answers were compared."""
    if source.kind != "arena":
        return ""
    return _("Two answers to the same question were compared blind: the models' names were shown after each vote.")


def _whole(value: object) -> str:
    found = number(value)
    return units.whole(found) if math.isfinite(found) else units.UNKNOWN


Fact = Callable[[Source], str]
FACTS: dict[str, Fact] = {
    one.__name__: one
    for one in (
        data, patients, study_dates, sites, devices, excluded, flow, events, partitions, disjoint, preprocessing,
        classes, inputs, model, initial, training, settings, selection, single, software, machine, output, threshold,
        prevalence, statistics, results, compared, confusion, subgroups, by_site, calibration, missing,
        characteristics, counts, limits, code, stored, answered, exam_data, seen_before, multiple_choice, blind,
    )
}  # fmt: skip


def told(source: Source, names: Sequence[str]) -> str:
    """Return the facts of these names that the source knows, as one text."""
    return sentences([text for text in (FACTS[name](source) for name in names) if text])
