"""Report sections of classifiers: reliability of the figures, and disagreements."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.data.display_names import called
from souron.evaluation import gradcam
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision import corruptions
from souron.evaluation.vision.classification import FEW_PATIENTS, ClassificationResult, Disturbed, few_patients
from souron.report import plots
from souron.report.blocks import Block, Cell, Gallery, Group, Section, Table, Tile, sections
from souron.report.page import bare, figure, plot, tile
from souron.stats.records import Measure
from souron.utils import fonts, units
from souron.utils.messages import _, listed

LOOKED_AT = 8  # wrong answers, and as many right ones
MISTAKES = 24
DISAGREEMENTS = 12
BARELY = 0.1  # share of the gap between guessing and perfect accuracy


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for a classifier."""
    result, probability, test = record.details, _probability(record), record.test
    assert test is not None
    return sections(
        ("discrimination", _("Discrimination"), _discrimination(record, result)),
        ("confusion", _("Confusion matrix"), _confusion(test, probability)),
        ("classes", _("Class by class"), _classes(test, result)),
        ("mistakes", _("The most confident mistakes"), _mistakes(test, probability)),
        ("subgroups", _("Subgroups"), _subgroups(result)),
        ("calibration", _("Calibration"), _calibration(result)),
        ("looked_at", _("Grad-CAM"), _looked_at(record, result, probability)),
        ("robustness", _("Robustness"), _robustness(result.disturbed)),
        ("sizes", _("Learning curve"), _sizes(result)),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the cases on which the compared classifiers disagree."""
    return sections(("disagreements", _("Where they disagree"), _disagreements(record)))


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    measure = record.measures["accuracy"]
    said = {
        "system": record.system,
        "data": called(record.data),
        "train": units.whole(record.parts.get("train", 0)),
        "test": units.whole(record.parts.get("test", 0)),
        "time": units.seconds(record.outcome.seconds),
        "value": registry.metric("accuracy").text(measure.value),
        "interval": registry.metric("accuracy").interval(measure.low, measure.high),
        "folds": str(record.folds),
    }
    if record.folds > 1:
        return _(
            "{system} is right on {value} of {test} cases of {data} (95 % interval {interval}), "
            "each tested by trainings that never saw it ({folds}-fold cross-validation); the "
            "final network was trained on {train} cases."
        ).format(**said)
    return _(
        "{system} was trained on {train} cases of {data} in {time}, and is right on {value} of "
        "{test} unseen test cases (95 % interval {interval})."
    ).format(**said)


def notes(record: RunRecord) -> list[str]:
    """Return the caveats of a run.

    These are accuracy near guessing, classes with too few patients, and subgroups with a lower
    accuracy.
    """
    found = record.measures["accuracy"]
    guessing = chance(found.value, found.low, record.test)
    return [*guessing, *_rare(record.test), *_worse(record.details)]


def doubts(record: RunRecord) -> dict[str, str]:
    """Return metric -> warning for figures whose interval is not reliable."""
    test, trust = record.test, record.details
    if test is None:
        return {}
    every = [few_patients(test, label) for label in range(len(test.classes))]
    known = [few for few in every if few is not None]
    found = {"AUC": min(known)} if known else {}
    if trust.positive:
        positive = list(test.classes).index(trust.positive)
        hits, passes = every[positive], few_patients(test, positive, others=True)
        either = min((few for few in (hits, passes) if few is not None), default=None)
        for name, few in (
            ("sensitivity", hits),
            ("specificity", passes),
            ("positive predictive value", either),
            ("negative predictive value", either),
            ("balanced accuracy", either),
        ):
            if few is not None:
                found[name] = few
    return {name: _few(test, few) for name, few in found.items()}


def _few(test: Dataset, count: int) -> str:
    if test.units:
        return _("few patients: {count}").format(count=count)
    return _("few cases: {count}").format(count=count)


def _rare(test: Dataset | None) -> list[str]:
    """Warn of classes with too few patients in the test part."""
    if test is None:
        return []
    rare = [
        f"{fonts.short(name, 30)} ({count})"
        for label, name in enumerate(test.classes)
        if (count := few_patients(test, label)) is not None
    ]
    if not rare:
        return []
    told = (
        _(
            "Fewer than {least} test patients of a class: {classes}. No interval of its "
            "sensitivity, and none of an AUC, can be relied on."
        )
        if test.units
        else _(
            "Fewer than {least} test cases of a class: {classes}. No interval of its sensitivity, "
            "and none of an AUC, can be relied on."
        )
    )
    shown = listed(rare, 12)
    return [told.format(least=FEW_PATIENTS, classes=shown)]


def _worse(trust: ClassificationResult) -> list[str]:
    whole = trust.measures["accuracy"].value
    worse = [
        _("{value} ({column}): right on {share}").format(
            value=group.value, column=group.column, share=units.percent(group.measures["accuracy"].value)
        )
        for group in trust.subgroups
        if group.measures["accuracy"].high < whole and not group.small
    ]
    if not worse:
        return []
    return [_("It does worse for some: {groups}.").format(groups="; ".join(worse))]


def comparison_notes(record: ComparisonRecord) -> list[str]:
    """Return the caveats of a comparison: accuracy near guessing, classes with few patients."""
    rare = _rare(record.test)
    if record.measure != "accuracy":
        return rare
    best = record.rows[0]
    return [*chance(best.value, best.low, record.test, best.system), *rare]


def chance(value: float, low: float, test: Dataset | None, best: str = "") -> list[str]:
    """Compare an accuracy ``value`` with that of always predicting the most frequent class.

    ``low`` is the lower end of the accuracy's interval. Returns [] if it is clearly better.
    """
    if test is None or test.target is None or not len(test):
        return []
    counts = test.target.bincount(minlength=len(test.classes))
    share = float(counts.max()) / len(test)
    if value <= share:
        told = _("No better than guessing.")
    elif low <= share:
        told = _("No better than guessing on this data.")
    elif value - share < BARELY * (1 - share):
        told = _("Barely better than guessing.")
    else:
        return []
    if best:
        told = _("Even the best, {system}: {verdict}").format(system=best, verdict=told)
    return [
        _("{verdict} Always answering {label} is right on {share} of these cases.").format(
            verdict=told, label=test.classes[int(counts.argmax())], share=units.percent(share)
        )
    ]


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    labels = record.test.classes if record.test is not None else ()
    text = _("Classifying images like those of {data} into {count} classes: {labels}.")
    return text.format(data=record.data, count=len(labels), labels=listed(labels, 20)), 'model("picture.png").top5'


def limits(record: RunRecord) -> list[str]:
    """Return the sentence on the threshold, for the model card."""
    text = _threshold(record.details)
    return [text] if text else []


def _probability(record: RunRecord) -> Tensor:
    probability = record.answers[0]["probability"]
    assert isinstance(probability, Tensor)
    return probability


def _discrimination(record: RunRecord, trust: ClassificationResult) -> list[Block]:
    doubt = doubts(record)
    shown = {name: measure for name, measure in trust.measures.items() if name != "log loss"}
    patients = any(measure.groups for measure in shown.values())
    columns = [_("value"), _("95 % interval"), _("cases"), *([_("patients")] if patients else [])]
    rows = [
        [
            _doubtful(registry.metric(name).title, doubt.get(name, "")),
            *figure(name, measure),
            units.whole(measure.n),
            *([units.whole(measure.groups) if measure.groups else "–"] if patients else []),
        ]
        for name, measure in shown.items()
    ]
    return [
        _("How well it distinguishes the classes."),
        *filter(None, [_threshold(trust)]),
        Table([_("measure"), *columns], rows, right=columns),
        *_by_patients(patients),
        *_roc(record, trust),
        *_predictive(trust),
    ]


def _threshold(trust: ClassificationResult) -> str:
    if not trust.positive:
        return ""
    low, high = (units.percent(end) for end in trust.thresholds)
    ends = low if low == high else units.interval("share", *trust.thresholds)
    return _(
        'Threshold for "{label}": {threshold}, chosen on validation cases only, never on the '
        "test cases. To detect another class: positive=CLASS"
    ).format(label=trust.positive, threshold=ends)


def _prevalence(trust: ClassificationResult) -> str:
    if trust.prevalence is not None:
        return _("The table above assumes a prevalence of {share} for {label}, as stated.").format(
            share=units.percent(trust.prevalence), label=trust.positive
        )
    return _(
        "The table above uses the prevalence of {label} among these cases; where it is rarer, "
        "fewer of the alarms are right. To state it: prevalence=0.05"
    ).format(label=trust.positive)


def _subgroups(trust: ClassificationResult) -> list[Block]:
    columns = [_("cases"), _("accuracy"), _("95 % interval"), _("AUC"), _("95 % interval")]
    rows = [
        [
            group.column,
            _doubtful(group.value, _("few cases") if group.small else ""),
            units.whole(group.measures["accuracy"].n),
            *figure("accuracy", group.measures["accuracy"]),
            *bare("AUC", group.measures["AUC"]),
        ]
        for group in trust.subgroups
    ]
    text = _("For whom it works: the same figures for parts of the cases.")
    return [text, Table([_("column"), _("value"), *columns], rows, right=columns)] if rows else []


def _calibration(trust: ClassificationResult) -> list[Block]:
    both = {_("before"): trust.before, _("after"): trust.after}
    low, high = (f"{end:.2f}" for end in trust.temperatures)
    points = {
        name: [(one.confidence, Measure(one.share, one.low, one.high, one.n)) for one in made.curve]
        for name, made in both.items()
    }
    sure = {name: torch.from_numpy(made.confidence) for name, made in both.items()}
    columns = [_("Brier score"), _("95 % interval"), _("expected calibration error")]
    rows = [
        [name, *bare("Brier score", made.brier), Cell(units.percent(made.error), made.error)]
        for name, made in both.items()
    ]
    caption = _(
        "Reliability diagram. Dots on the diagonal: a prediction made with 80 % is right in 80 % of cases. Below it "
        "the network is overconfident."
    )
    text = _(
        "Temperature {temperature}, fitted on validation cases (above 1: it was overconfident). The expected "
        "calibration error is overestimated on few cases, and has no interval."
    )
    temperature = low if low == high else units.ends(low, high)
    return [
        _("Whether a probability means what it says."),
        plot(plots.reliability(points, sure), _("observed frequency by predicted probability"), caption),
        Table([_("temperature scaling"), *columns], rows, right=columns),
        Cell(text.format(temperature=temperature), style="faint"),
    ]


def _looked_at(record: RunRecord, trust: ClassificationResult, probability: Tensor) -> list[Block]:
    test = record.test
    if not trust.looked_at or test is None:
        return []
    sure, said = probability.max(1)
    right = said == test.target
    tiles: dict[bool, list[Tile]] = {False: [], True: []}
    for row, heat in sorted(trust.looked_at, key=lambda found: -sure[found[0]].item()):
        if len(tiles[bool(right[row])]) < LOOKED_AT:
            tiles[bool(right[row])].append(_case(test, row, said, sure, plots.overlay(test.input[row], heat)))
    text = _(
        "{method}: bright regions contributed to the predicted label. A map shows where, never why; a plausible "
        "region is no proof."
    )
    titles = {False: _("The most confident misses"), True: _("The most confident hits")}
    return [
        _("Where it looked."),
        text.format(method=gradcam.method(record.model)),
        *(Group(titles[hit], [Gallery(shown)]) for hit, shown in tiles.items() if shown),
    ]


def _robustness(disturbed: list[Disturbed]) -> list[Block]:
    if not disturbed:
        return []
    told, metric = corruptions.what(), registry.metric("accuracy")
    plain = disturbed[0].accuracy
    lines: dict[str, list[Measure]] = defaultdict(lambda: [plain])
    words = {"worse": _("worse"), "cannot tell": _("cannot tell"), "better": _("better")}
    rows = []
    for one in disturbed[1:]:
        title, strengths = told[one.name]
        lines[title].append(one.accuracy)
        assert one.loss is not None
        lost = one.loss
        rows.append(
            [
                strengths[one.level - 1],
                *bare("accuracy", one.accuracy),
                Cell(metric.difference(lost.difference), lost.difference),
                Cell(metric.differences(lost.low, lost.high), (lost.low, lost.high), "faint"),
                Cell(words[lost.verdict], lost.verdict, "worse" if lost.verdict == "worse" else "faint"),
            ]
        )
    columns = [_("accuracy"), _("95 % interval"), _("difference"), _("interval")]
    caption = _("Accuracy on {count} test cases whose images were degraded, with 95 % intervals.")
    drawn = plots.robustness(lines)
    alt = _("accuracy against the strength of each disturbance")
    table = Table([_("pictures"), *columns, _("verdict")], rows, right=columns)
    return [
        _("The effect of degraded images."),
        plot(drawn, alt, caption.format(count=plain.n)),
        Group(_("Each of them in figures"), [table], "folded"),
    ]


def _sizes(trust: ClassificationResult) -> list[Block]:
    if not trust.sizes or trust.more is None:
        return []
    sizes, found = zip(*trust.sizes, strict=True)
    more = trust.more
    gain = registry.metric("accuracy").difference(more.difference)
    ends = registry.metric("accuracy").differences(more.low, more.high)
    if more.verdict == "better":
        told = _("The second half of the training cases brought {gain} ({interval}): more cases would probably help.")
    else:
        told = _(
            "The second half of the training cases brought {gain} ({interval}): this does not "
            "show whether more cases would help."
        )
    drawn = plots.learning_sizes(sizes, [m.value for m in found], [m.low for m in found], [m.high for m in found])
    caption = _("Each point: trained again with a part of the training cases, tested on the same cases.")
    return [
        _("The effect of more training cases."),
        told.format(gain=gain, interval=ends),
        plot(drawn, _("accuracy against the number of training cases"), caption),
    ]


def _table(test: Dataset, probability: Tensor) -> Tensor:
    """Return the confusion counts (y_true, y_pred) of the test cases."""
    n = len(test.classes)
    return (test.target * n + probability.argmax(1)).bincount(minlength=n * n).view(n, n)


def _confusion(test: Dataset, probability: Tensor) -> list[Block]:
    matrix, labels = _table(test, probability), test.classes
    caption = (
        _("Rows: the true class. Columns: the predicted class. Percentages are of the row.")
        if len(labels) <= plots.READABLE_CLASSES
        else _("Of {count} classes, the pairs that were confused most often: true → predicted.").format(
            count=len(labels)
        )
    )
    alt = _("{right} of {all} cases on the diagonal").format(
        right=units.whole(matrix.trace().item()), all=units.whole(matrix.sum().item())
    )
    return [_("Which class was predicted for which."), plot(plots.confusion(matrix, labels), alt, caption)]


def _classes(test: Dataset, trust: ClassificationResult) -> list[Block]:
    """Return sensitivity and precision of each class, with the most probable class as prediction."""
    columns = ["n", _("sensitivity"), _("95 % interval"), _("precision"), _("95 % interval")]
    rows = [
        [
            _doubtful(one.name, "" if (few := few_patients(test, k)) is None else _few(test, few)),
            Cell(units.whole(one.cases), one.cases),
            *figure("accuracy", one.recall),
            *figure("accuracy", one.precision),
        ]
        for k, one in enumerate(trust.by_class)
    ]
    text = _(
        "Sensitivity (recall): of the cases of this class, the share that was predicted as such. Precision: of the "
        "cases predicted as this class, the share that are of it."
    )
    table = Table([_("class"), *columns], rows, right=columns)
    told = [_("The same class by class."), text, *filter(None, [_rule(trust)])]
    return [*told, table, *_by_patients(bool(test.units))]


def _rule(trust: ClassificationResult) -> str:
    """Explain why these figures differ from those at a threshold; "" without a threshold."""
    if not trust.positive:
        return ""
    return _(
        "Here the most probable class counts. The section above uses a threshold of its own for "
        "{label}, so its sensitivity is another figure; that one is what use will show."
    ).format(label=trust.positive)


def _mistakes(test: Dataset, probability: Tensor) -> list[Block]:
    sure, said = probability.max(1)
    wrong = (said != test.target).nonzero().flatten()
    worst = wrong[sure[wrong].argsort(descending=True, stable=True)[:MISTAKES]].tolist()
    if not worst:
        return []
    caption = _("{wrong} of {all} test cases are wrong; these with the highest probability.")
    tiles = [_case(test, row, said, sure) for row in worst]
    return [caption.format(wrong=units.whole(len(wrong)), all=units.whole(len(test))), Gallery(tiles)]


def _disagreements(record: ComparisonRecord) -> list[Block]:
    """Return the cases on which the systems disagree most, with each system's prediction."""
    predicted = record.details.predicted
    test, names = record.test, [row.system for row in record.rows if row.system in predicted]
    if test is None or len(names) < 2:
        return []
    answers = torch.stack([predicted[name].mode(0).values for name in names])  # (S, cases)
    right = answers == test.target
    spread = _spread(torch.cat([predicted[name] for name in names]), len(test.classes))
    apart = (answers != answers[0]).any(0)
    order = (spread + apart).argsort(descending=True, stable=True)[:DISAGREEMENTS].tolist()
    told = _(
        "On {agree} of the cases all agree. All are right on {right}, all are wrong on {wrong}. "
        "Below are the cases on which the answers differ most; of several trainings, the most "
        "frequent answer."
    ).format(
        agree=units.percent(1 - apart.float().mean().item()),
        right=units.percent(right.all(0).float().mean().item()),
        wrong=units.percent((~right).all(0).float().mean().item()),
    )
    tiles = []
    for i in order:
        if not apart[i]:
            continue
        lines = [_("true: {label}").format(label=test.classes[test.target[i]])]
        for name, is_right in zip(names, right[:, i].tolist(), strict=True):
            sign = f"{'✓' if is_right else '✗'} {_voice(predicted[name][:, i], test.classes)}"
            lines.append(Cell.of(Cell(name, style="faint"), Cell(sign, style="better" if is_right else "worse")))
        tiles.append(tile(test.input[i], _("test case {file}").format(file=test.file[i]), lines, test.file[i]))
    return [told, Gallery(tiles, large=True)]


def _spread(guesses: Tensor, labels: int) -> Tensor:
    """Compute the normalised entropy of each case's predictions, 0..1.

    ``guesses``: (answers, cases).
    """
    share = torch.stack([(guesses == label).float().mean(0) for label in range(labels)])
    return -(share * share.clamp(min=1e-9).log()).sum(0) / math.log(max(2, labels))


def _voice(said: Tensor, labels: Sequence[str]) -> str:
    """Return the majority label: ``cat``, or ``cat (2/3)`` where not all trainings agree."""
    most = int(said.mode().values)
    agreeing = int((said == most).sum())
    name = fonts.short(labels[most], 30)
    return name if agreeing == len(said) else f"{name} ({agreeing}/{len(said)})"


def _doubtful(name: str, doubt: str) -> Cell:
    return Cell.of(name, Cell(doubt, style="worse")) if doubt else Cell(name)


def _by_patients(there: bool) -> list[Block]:
    text = _("The intervals count patients: several images of one patient say less than as many patients.")
    return [Cell(text, style="faint")] if there else []


def _roc(record: RunRecord, trust: ClassificationResult) -> list[Block]:
    if trust.roc is None:
        return []
    false, found = trust.roc
    at = trust.measures
    point = 1 - at["specificity"].value, at["sensitivity"].value
    caption = (
        _("ROC curve: each threshold buys sensitivity with false alarms.")
        if record.folds == 1
        else _("ROC curve of the first repeat. The ring may lie beside it: each fold chose its own threshold.")
    )
    drawn = plots.roc({record.system: (false.tolist(), found.tolist())}, point)
    return [plot(drawn, _("sensitivity against false alarms; the ring is the chosen threshold"), caption)]


def _predictive(trust: ClassificationResult) -> list[Block]:
    """Tabulate how often an alarm is right, by prevalence; [] where no class is positive."""
    names = "positive predictive value", "negative predictive value"
    rows = [
        [
            Cell(units.percent(share), share, "strong" if share == trust.prevalence else ""),
            *(cell for name, one in zip(names, pair, strict=True) for cell in bare(name, one)),
        ]
        for share, *pair in trust.predictive
    ]
    columns = [_("prevalence"), *(head for name in names for head in (registry.metric(name).title, _("95 % interval")))]
    title = _("If an alarm is raised, is it right?")
    return [Group(title, [_prevalence(trust), Table(columns, rows, right=columns)])] if rows else []


def _case(test: Dataset, row: int, said: Tensor, sure: Tensor, drawn: Any = None) -> Tile:
    """Show a test case, or what was drawn over it, with its predicted and its true class."""
    predicted = _("predicted: {label} ({probability})").format(
        label=test.classes[said[row]], probability=units.percent(sure[row].item(), 0)
    )
    true = _("true: {label}").format(label=test.classes[test.target[row]])
    alt = _("test case {file}").format(file=test.file[row])
    return tile(test.input[row] if drawn is None else drawn, alt, (predicted, true), test.file[row], most=160)
