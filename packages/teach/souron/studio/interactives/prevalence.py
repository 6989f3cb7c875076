"""Threshold, prevalence and cost: a classifier's alarms for 1,000 patients, on real scores.

Scores are those of a ready-trained classifier for one class against the rest, or of a run of the project. Python
sends the numbers of true and false positives at each threshold; the script computes what follows from them as
``metrics.classification.at_threshold`` and ``metrics.net_benefit`` do, in the moment a slider moves. With c for the
cost of a missed case in false alarms, the cost of 1,000 patients is

    1000 (c p (1 - sensitivity) + (1 - p) (1 - specificity)) = 1000 c (p - NB)

with the net benefit NB at the prevalence p and the threshold 1 / (1 + c), where a false positive weighs 1 / c.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from souron.studio.interactive import beside, button, canvas, choice, controls, images, parts, plot, slider
from souron.utils.messages import N_, UserError, _

if TYPE_CHECKING:
    from souron.data.predictions import Predictions
    from souron.evaluation.decision_curves import Risks

TITLE = N_("Threshold and prevalence")
ABOUT = N_(
    "A classifier gives each case a score, and an alarm sounds from a threshold on. Here a class of pictures stands "
    "for a disease. Move the threshold, the share of patients who are ill, and the cost of a missed case, and see who"
    " of 1,000 patients gets an alarm."
)
QUESTION = N_(
    "A classifier finds 90 % of the ill and alarms for 10 % of the healthy. Ten of 1,000 patients are ill. How many "
    "of those with an alarm are ill?"
)
CHOICES = (N_("Nine in ten"), N_("About half"), N_("About one in twelve"))
RIGHT = 2
ANSWER = N_(
    "About one in twelve: 9 of the 10 ill get an alarm, but 99 of the 990 healthy do, too. Sensitivity, specificity "
    "and the ROC curve do not change with the prevalence; predictive values and the precision-recall curve do. So a "
    "classifier that convinces where half of the cases are ill may alarm mostly in vain where few are. The best "
    "threshold depends on the prevalence and on the cost of a missed case, and 0.5 is seldom the best."
)
WORDS = {
    "result": N_(
        "Of 1,000 patients, {ill} are ill. {called} get an alarm: {found} of them are ill, and {alarms} are not. "
        "{missed} ill ones are missed."
    ),
    "image": N_(
        "1,000 patients: {found} ill with an alarm, {missed} ill ones missed, {alarms} false alarms, {spared} healthy"
        " without an alarm"
    ),
    "cost": N_(
        "Cost of 1,000 patients, in false alarms: {cost}. The lowest on these cases is {least}, from a threshold of "
        "{best} %. Alarm for nobody costs {nobody}, for everybody {everybody}."
    ),
    "known": N_("A score that is a true probability would be cut at {threshold} % for this cost."),
    "cases": N_("{cases} cases, {ill} of them “{positive}”. AUC {auc} (95 % interval {low}–{high})."),
    "sensitivity": N_("sensitivity"),
    "false": N_("1 − specificity"),
    "precision": N_("positive predictive value"),
    "threshold": N_("threshold, %"),
    "costs": N_("cost, in false alarms"),
    "everybody": N_("everybody"),
    "nobody": N_("nobody"),
}
TOUR = (
    ("source", N_("Choose whose scores are shown: a ready-trained classifier's, or those of a run of your own.")),
    ("dots", N_("Each sign is one of 1,000 patients: discs and crosses are ill, squares and points healthy.")),
    (
        "threshold",
        N_("Guess first: the threshold is lowered. What happens?"),
        (
            N_("More ill are found, with more false alarms"),
            N_("More ill are found, with fewer false alarms"),
            N_("Fewer ill are found"),
        ),
        0,
    ),
    ("roc", N_("The ring is the threshold that is set. It moves along the ROC curve; no threshold leaves the curve.")),
    (
        "prevalence",
        N_("Guess first: fewer patients are ill. Which of the two curves changes?"),
        (N_("The ROC curve"), N_("The precision-recall curve"), N_("Both")),
        1,
    ),
    (
        "rates",
        N_("Sensitivity and specificity hold with their intervals; the predictive values belong to this prevalence."),
    ),
    ("cost", N_("Set how many false alarms one missed case is worth. There is no right value: people decide it.")),
    ("least", N_("Set the threshold of least cost. Watch where it goes when a missed case costs more.")),
)
READY = {"shirt": ("mlp", "shirt"), "sneaker": ("cnn", "sneaker")}  # key -> system, class
OWN = "run:"  # before task/name in the key of a run
MOST_RUNS = 20  # of the newest
MOST_POINTS = 400  # of a ROC curve
PEOPLE = 1000


def stage() -> Markup:
    from souron.evaluation.decision_curves import prevalences

    positions = len(prevalences(0.005)) + 1  # one more where the cases have another one
    return beside(
        controls(
            choice("source", _("scores"), []),
            slider("threshold", _("threshold"), 1, 99, 50),
            slider("prevalence", _("prevalence: share of the ill"), 0, positions - 1, 18),
            slider("cost", _("cost of a missed case, in false alarms"), 1, 100, 10),
            button("own", _("Prevalence of these cases")),
            button("least", _("Threshold of least cost"), first=True),
        ),
        images(
            canvas(
                "dots",
                _("1,000 patients"),
                400,
                250,
                _("Disc: ill, with an alarm. Cross: ill, missed. Square: false alarm. Point: healthy, no alarm."),
            ),
            _table(),
        )
        + images(
            plot("roc", _("ROC curve"), 300, 300, _("ROC curve: the same at every prevalence")),
            plot(
                "precision",
                _("precision-recall curve"),
                300,
                300,
                _("Precision-recall curve at this prevalence; dashed: an alarm for everybody"),
            ),
            plot("costs", _("cost at each threshold"), 380, 300, _("Cost of 1,000 patients at each threshold")),
        ),
        parts("result", "cost_now", "known", "cases"),
    )


def _table() -> Markup:
    """Return the confusion matrix and the rates, whose cells the script fills."""
    cell = Markup('<td data-part="{}"></td>').format
    rows = ((_("ill"), "found", "missed"), (_("healthy"), "alarms", "spared"))
    matrix = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}{}</tr>').format(name, cell(one), cell(other)) for name, one, other in rows
    )
    rates = (
        (_("sensitivity"), "sensitivity", True),
        (_("specificity"), "specificity", True),
        (_("positive predictive value"), "positive", False),
        (_("negative predictive value"), "negative", False),
    )
    listed = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}{}</tr>').format(
            name, cell(key), cell(f"{key}_interval") if interval else ""
        )
        for name, key, interval in rates
    )
    return Markup(
        '<div class="numbers"><table><caption>{}</caption><tr><td></td><th scope="col">{}</th><th scope="col">{}</th>'
        '</tr>{}</table><table data-part="rates"><caption>{}</caption>{}</table></div>'
    ).format(
        _("Confusion matrix"),
        _("alarm"),
        _("no alarm"),
        matrix,
        _("Rates; with 95 % intervals where the prevalence does not change them"),
        listed,
    )


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the list of sources with ``list``, else the counts of a ``source`` at each threshold. Raises UserError."""
    if asked.get("list"):
        return {"sources": [[key, text] for key, text in sources()]}
    known = str(asked.get("source", ""))
    if known in READY:
        return counted(ready(*READY[known]))
    if known.startswith(OWN) and known in (own := own_runs()):
        return counted(own[known])
    raise UserError(
        "value",
        _("{name}={value} is not understood").format(name="source", value=known[:40]),
        expected=", ".join(READY),
    )


def record() -> Iterator[dict[str, Any]]:
    """Yield the requests whose answers an exported page carries."""
    yield {"list": True}
    for key in READY:
        yield {"source": key}


def sources() -> Iterator[tuple[str, str]]:
    """Yield key and text of each source: ready-trained classifiers, then runs of the project."""
    from souron.hub import zoo

    for key, (system, name) in READY.items():
        if zoo.where(system):
            yield (
                key,
                _("{system}, ready-trained: “{name}” against all other things to wear").format(
                    system=system, name=name
                ),
            )
    for key, risks in own_runs().items():
        name = key.removeprefix(OWN).rpartition(":")[0]
        yield key, _("your run {name}: “{positive}”").format(name=name, positive=risks.positive)


def own_runs() -> dict[str, "Risks"]:
    """Return the scores of the newest runs of the served project that have two classes, ``run:task/name:class``.

    Where no name says which class is the positive one, each of them is offered.
    """
    from souron.evaluation import decision_curves, run_predictions
    from souron.studio.runs import run_list

    project, found = run_list.served.get(), {}
    if project is None:
        return {}
    there = [run for run in run_list.runs(project) if (run.folder / run_predictions.ANSWERS).is_file()]
    for run in [one for one in there if one.state == "finished"][:MOST_RUNS]:
        with suppress(UserError):
            data = run_predictions.of_run(run.folder)
            for number, name in enumerate(data.classes if len(data.classes) == 2 else ()):
                if name == named_positive(data, name):
                    found[f"{OWN}{run.task}/{run.name}:{number}"] = decision_curves.risks_of(data, name)
    return found


def named_positive(data: "Predictions", otherwise: str) -> str:
    """Return the class that is positive by its name, or ``otherwise``."""
    from souron.evaluation import decision_curves

    try:
        return decision_curves.risks_of(data).positive
    except UserError:
        return otherwise


def ready(system: str, name: str) -> "Risks":
    """Return a ready-trained classifier's scores of one class for its test images. Raises UserError."""
    import torch

    from souron.data.dataset import Rows
    from souron.evaluation.decision_curves import Risks
    from souron.hub import zoo
    from souron.studio.model_cache import models

    if zoo.where(system) is None:
        raise UserError("zoo", _("The ready-trained systems are not installed."))
    image, label = zoo.sample()
    with models.answering(system) as model, torch.inference_mode():
        probability = model.system(model.system.batch(Rows(image, None)).image).softmax(1)
        number = model.system.spec.labels.index(name)
    return Risks(name, (label == number).numpy(), {system: probability[:, number].double().numpy()[None]}, False)


def counted(risks: "Risks") -> dict[str, Any]:
    """Return the numbers of true and false positives along the ROC curve and at each threshold of the slider.

    Of a cross-validation it is the first repeat.
    """
    import numpy as np

    from souron.evaluation import decision_curves
    from souron.metrics import classification

    [scores] = [values[0] for values in risks.methods.values()]
    positive, groups = risks.y_true, risks.groups
    false, true = classification.roc(positive, scores)
    ill, healthy = int(positive.sum()), int((~positive).sum())
    curve = np.stack([false * healthy, true * ill], 1).round().astype(int)
    corner = np.ones(len(curve), bool)  # points on a straight line between two others are left out
    step = np.diff(curve, axis=0)
    corner[1:-1] = step[1:, 0] * step[:-1, 1] != step[1:, 1] * step[:-1, 0]
    curve = curve[corner]
    some = np.unique(np.linspace(0, len(curve) - 1, MOST_POINTS).round().astype(int))
    area = classification.auc(np.stack([1 - scores, scores], 1), positive, groups)
    rates = []
    for threshold in decision_curves.PERCENTS:
        called = scores >= threshold
        hits, passes, _together = classification.sensitivity_and_specificity(positive, called, groups)
        ends = [round(end, 4) for one in (hits, passes) for end in (one.low, one.high)]
        rates.append([int((called & positive).sum()), int((called & ~positive).sum()), *ends])
    return {
        "positive": risks.positive,
        "ill": ill,
        "healthy": healthy,
        "prevalences": decision_curves.prevalences(ill / len(positive)),
        "auc": [round(one, 4) for one in (area.value, area.low, area.high)],
        "roc": curve[some].tolist(),
        "rates": rates,
    }
