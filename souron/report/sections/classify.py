"""The parts of a run's report that say how far to trust a classifier."""

import csv
from collections import Counter, defaultdict
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from souron.evaluation import corruptions, gradcam
from souron.evaluation.classification import Calibration, ClassificationResult, Disturbed
from souron.kinds.codecs import animation
from souron.report import plots
from souron.report.page import Tile, plot
from souron.stats.records import Measure
from souron.utils import units
from souron.utils.messages import _

if TYPE_CHECKING:
    from souron.runs.record import RunRecord

NAMES = ("discrimination", "subgroups", "calibration", "looked_at", "robustness", "sizes")
LOOKED_AT = 8  # misses, and as many hits


def parts(record: "RunRecord") -> dict[str, Any]:
    """What the template ``trust.html`` shows; nothing of systems that do not classify."""
    trust = record.trust
    if not isinstance(trust, ClassificationResult):
        return dict.fromkeys(NAMES)
    return {
        "discrimination": _discrimination(record, trust),
        "subgroups": _subgroups(trust),
        "calibration": _calibration(trust),
        "looked_at": _looked_at(record, trust),
        "robustness": _robustness(trust.disturbed),
        "sizes": _sizes(trust),
    }


def _figure(name: str, measure: Measure) -> dict[str, Any]:
    return {
        "name": units.called(name),
        "value": measure.value,
        "low": measure.low,
        "high": measure.high,
        "text": units.measure(name, measure.value),
        "interval": units.interval(name, measure.low, measure.high),
        "n": measure.n,
        "groups": measure.groups,
    }


def _discrimination(record: "RunRecord", trust: ClassificationResult) -> dict[str, Any]:
    rows = [_figure(name, trust.measures[name]) for name in trust.measures if name != "log loss"]
    curve = None
    if trust.roc is not None:
        false, found = trust.roc
        at = trust.measures
        point = 1 - at["specificity"].value, at["sensitivity"].value
        curve = plot(
            plots.roc({record.system: (false.tolist(), found.tolist())}, point),
            _("sensitivity against false alarms; the ring is the chosen threshold"),
        )
    return {
        "rows": rows,
        "patients": any(row["groups"] for row in rows),
        "roc": curve,
        "threshold": _threshold(trust),
        "caption": _("ROC curve: each threshold buys sensitivity with false alarms.")
        if record.folds == 1
        else _(
            "ROC curve of the first repeat. The ring may lie beside it: each fold chose its own "
            "threshold."
        ),
        "predictive": [
            {
                "prevalence": units.percent(share),
                "found": _figure("positive predictive value", found),
                "spared": _figure("negative predictive value", spared),
                "stated": share == trust.prevalence,
            }
            for share, found, spared in trust.predictive
        ],
        "prevalence": _prevalence(trust),
    }


def _threshold(trust: ClassificationResult) -> str:
    if not trust.positive:
        return ""
    low, high = (units.percent(end, 1) for end in trust.thresholds)
    ends = low if low == high else _("{low} to {high}").format(low=low, high=high)
    return _(
        "A case is called {label} from a probability of {threshold} on: chosen on validation cases "
        "only, never on the test cases. To look for another class: positive=CLASS"
    ).format(label=trust.positive, threshold=ends)


def threshold(record: "RunRecord") -> list[str]:
    """What the model card says of it."""
    told = _threshold(record.trust) if isinstance(record.trust, ClassificationResult) else ""
    return [told] if told else []


def _prevalence(trust: ClassificationResult) -> str:
    if trust.prevalence is not None:
        return _("The table above takes {share} of cases to be {label}, as was stated.").format(
            share=units.percent(trust.prevalence), label=trust.positive
        )
    return _(
        "The table above has the share of {label} among these cases; where it is rarer, fewer of "
        "the alarms are right. State it: prevalence=0.05"
    ).format(label=trust.positive)


def _subgroups(trust: ClassificationResult) -> list[dict[str, Any]]:
    return [
        {
            "column": group.column,
            "value": group.value,
            "accuracy": _figure("accuracy", group.measures["accuracy"]),
            "auc": _figure("AUC", group.measures["AUC"]),
            "small": group.small,
        }
        for group in trust.subgroups
    ]


def _calibration(trust: ClassificationResult) -> dict[str, Any]:
    both = {_("before"): trust.before, _("after"): trust.after}
    low, high = (f"{end:.2f}" for end in trust.temperatures)
    points = {
        name: [(one.confidence, Measure(one.share, one.low, one.high, one.n)) for one in made.curve]
        for name, made in both.items()
    }
    sure = {name: torch.from_numpy(made.confidence) for name, made in both.items()}
    return {
        "picture": plot(
            plots.reliability(points, sure),
            _("how often what was said came true, by how surely it was said"),
        ),
        "rows": [_calibration_row(name, made) for name, made in both.items()],
        "temperature": low if low == high else _("{low} to {high}").format(low=low, high=high),
    }


def _calibration_row(name: str, made: Calibration) -> dict[str, Any]:
    return {
        "name": name,
        "brier": _figure("Brier score", made.brier),
        "error": units.percent(made.error),
    }


def _looked_at(record: "RunRecord", trust: ClassificationResult) -> dict[str, Any] | None:
    test, probability = record.test, record.probability
    if not trust.looked_at or test is None or probability is None:
        return None
    sure, said = probability.max(1)
    right = said == test.label
    misses: list[tuple[int, torch.Tensor]] = []
    hits: list[tuple[int, torch.Tensor]] = []
    for row, heat in sorted(trust.looked_at, key=lambda found: -sure[found[0]].item()):
        (hits if right[row] else misses).append((row, heat))

    def tiles(chosen: list[tuple[int, torch.Tensor]]) -> list[Tile]:
        return [
            Tile(
                animation.thumbnail(plots.overlay(test.image[row], heat), 160),
                _("test case {file}").format(file=test.file[row]),
                160,
                (
                    _("said: {label} ({probability})").format(
                        label=test.labels[said[row]], probability=units.percent(sure[row].item(), 0)
                    ),
                    _("truly: {label}").format(label=test.labels[test.label[row]]),
                ),
                test.file[row],
            )
            for row, heat in chosen[:LOOKED_AT]
        ]

    return {
        "method": gradcam.method(record.model),
        "misses": tiles(misses),
        "hits": tiles(hits),
    }


def _robustness(disturbed: list[Disturbed]) -> dict[str, Any] | None:
    if not disturbed:
        return None
    told = corruptions.what()
    plain = disturbed[0].accuracy
    lines: dict[str, list[Measure]] = defaultdict(lambda: [plain])
    rows = []
    for one in disturbed[1:]:
        title, strengths = told[one.name]
        lines[title].append(one.accuracy)
        assert one.loss is not None
        lost = one.loss
        rows.append({
            "name": strengths[one.level - 1],
            "accuracy": _figure("accuracy", one.accuracy),
            "loss": units.difference("accuracy", lost.difference),
            "interval": units.differences("accuracy", lost.low, lost.high),
            "kind": "worse" if lost.verdict == "worse" else "faint",
            "verdict": _("worse") if lost.verdict == "worse" else _("cannot tell")
            if lost.verdict == "cannot tell" else _("better"),
        })  # fmt: skip
    return {
        "picture": plot(
            plots.robustness(lines), _("accuracy against the strength of each disturbance")
        ),
        "rows": rows,
        "n": plain.n,
    }


def _sizes(trust: ClassificationResult) -> dict[str, Any] | None:
    if not trust.sizes or trust.more is None:
        return None
    sizes, found = zip(*trust.sizes, strict=True)
    more = trust.more
    gain = units.difference("accuracy", more.difference)
    ends = units.differences("accuracy", more.low, more.high)
    if more.verdict == "better":
        told = _(
            "The second half of the training cases brought {gain} ({interval}): more cases would "
            "probably help."
        )
    else:
        told = _(
            "The second half of the training cases brought {gain} ({interval}): whether more cases "
            "would help cannot be told."
        )
    return {
        "picture": plot(
            plots.learning_sizes(
                sizes,
                [m.value for m in found],
                [m.low for m in found],
                [m.high for m in found],
            ),
            _("accuracy against the number of training cases"),
        ),
        "sentence": told.format(gain=gain, interval=ends),
    }


def ledger(folder: Path) -> list[dict[str, Any]]:
    """What each part of the data held, from ``split.csv``: cases, patients, classes, and a
    fingerprint of the files' names and labels."""
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
        made.append({
            "part": called[part],
            "cases": len(held),
            "patients": units.whole(patients) if patients else units.UNKNOWN,
            "classes": shown + (", …" if len(classes) > 12 else ""),
            "fingerprint": blake2b(names.encode(), digest_size=6).hexdigest(),
        })  # fmt: skip
    return made
