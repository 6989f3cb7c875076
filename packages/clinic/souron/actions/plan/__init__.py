"""Plan a study: how many patients are needed before it begins.

The formulas are those of ``souron.stats.sample_size``, which names their papers. Each question has its own options;
one of another question is refused. Several images of a patient are counted by the design effect 1 + (m - 1) ICC.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Annotated

from souron.action import Action, Given
from souron.actions.plan import pilot, questions
from souron.actions.plan.record import PlanRecord
from souron.kinds.signature import Choice
from souron.runs.events import Event
from souron.utils.messages import N_


@dataclass(frozen=True)
class Options:
    question: Annotated[
        str,
        Choice(
            N_("sensitivity, auc, two-aucs, methods, validation or development (default sensitivity)"),
            among=("sensitivity", "auc", "two-aucs", "methods", "validation", "development"),
            metavar="QUESTION",
        ),
    ] = "sensitivity"
    prevalence: Annotated[float | None, Choice(N_("share of patients with the disease (default 0.2)"))] = None
    sensitivity: Annotated[float | None, Choice(N_("expected sensitivity (default 0.9)"))] = None
    specificity: Annotated[float | None, Choice(N_("expected specificity (default 0.9)"))] = None
    width: Annotated[float | None, Choice(N_("half-width of the interval (default 0.05)"))] = None
    interval: Annotated[
        str | None, Choice(N_("wilson, or normal for the normal approximation (default wilson)"), metavar="KIND")
    ] = None
    auc: Annotated[float | None, Choice(N_("expected AUC (default 0.85; validation: 0.8; development: unknown)"))] = (
        None
    )
    null_auc: Annotated[float | None, Choice(N_("AUC to test against, in place of a half-width (auc)"))] = None
    other_auc: Annotated[float | None, Choice(N_("second AUC (two-aucs; default 0.8)"))] = None
    correlation: Annotated[float | None, Choice(N_("correlation of the two areas (two-aucs; default 0.5)"))] = None
    discordant: Annotated[
        float | None, Choice(N_("share of cases that only one method gets right (methods; default 0.2)"))
    ] = None
    difference: Annotated[
        float | None, Choice(N_("difference of the shares (methods; default 0.1; 0 with margin: not inferior)"))
    ] = None
    compared: Annotated[
        str | None, Choice(N_("accuracy, sensitivity or specificity (methods; default accuracy)"), metavar="SHARE")
    ] = None
    power: Annotated[float | None, Choice(N_("chance to find the difference (default 0.8)"))] = None
    oe_width: Annotated[
        float | None, Choice(N_("interval's width for observed/expected (validation; default 0.2)"))
    ] = None
    slope_width: Annotated[float | None, Choice(N_("interval's width for the slope (validation; default 0.2)"))] = None
    auc_width: Annotated[float | None, Choice(N_("interval's width for the AUC (validation; default 0.1)"))] = None
    threshold: Annotated[
        float | None, Choice(N_("risk from which one is treated, for the net benefit (validation)"))
    ] = None
    benefit_width: Annotated[
        float | None, Choice(N_("interval's width for the net benefit (validation; default 0.2)"))
    ] = None
    lp_mean: Annotated[float | None, Choice(N_("mean of the log-odds (validation; default: from auc)"))] = None
    lp_sd: Annotated[float | None, Choice(N_("standard deviation of the log-odds (validation; default: from auc)"))] = (
        None
    )
    parameters: Annotated[int | None, Choice(N_("candidate parameters (development; default 20)"))] = None
    r2: Annotated[float | None, Choice(N_("Cox-Snell R2 (development; default: from auc, or 15 % of the largest)"))] = (
        None
    )
    shrinkage: Annotated[float | None, Choice(N_("shrinkage (development; default 0.9)"))] = None
    optimism: Annotated[float | None, Choice(N_("largest optimism in R2 (development; default 0.05)"))] = None
    risk_width: Annotated[float | None, Choice(N_("half-width of the overall risk (development; default 0.05)"))] = None
    mean_error: Annotated[
        float | None, Choice(N_("mean absolute error of the predicted risks (development; default 0.05)"))
    ] = None
    level: Annotated[float | None, Choice(N_("confidence level (default 0.95)"))] = None
    images: Annotated[float | None, Choice(N_("images of a patient, on average (default 1)"))] = None
    icc: Annotated[float | None, Choice(N_("correlation of the images of a patient (default 0)"))] = None
    margin: Annotated[float | None, Choice(N_("margin to keep with the plan, in percentage points"))] = None


class PlanStudy(Action):
    """Compute the patients of a study from its assumptions, and keep the plan as a page and as JSON."""

    title = N_("Plan a study's sample size: how many patients before it begins.")
    examples = (
        "souron plan sensitivity=0.9 specificity=0.85 prevalence=0.2 width=0.05",
        "souron plan question=auc auc=0.85 null_auc=0.75 prevalence=0.2 power=0.9",
        "souron plan question=two-aucs auc=0.85 other_auc=0.8 correlation=0.5",
        "souron plan question=methods discordant=0.15 difference=0.05 compared=sensitivity",
        "souron plan question=methods discordant=0.15 difference=0 margin=2 compared=sensitivity",
        "souron plan question=validation auc=0.8 prevalence=0.1 threshold=0.1",
        "souron plan question=development parameters=24 prevalence=0.174 r2=0.288",
        "souron plan runs/classify/pilot width=0.04",
    )
    group = "train"
    question = N_("How many patients?")
    given = Given("RUN", N_("a pilot: a run, two runs on the same cases, or a comparison"), 0, 2)
    brief = True
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        named = {
            one.name: value
            for one in fields(options)
            if one.name != "question" and (value := getattr(options, one.name)) is not None
        }
        known = {}
        if given:
            yield Event("data", text=" ".join(given))
            known = pilot.read(given, named.get("compared", "accuracy"))
        made = questions.plan(options.question, named, known)
        folder = self.new_folder(made.question)
        yield Event("done", 1.0, record=PlanRecord(made, tuple(given), known, folder), folder=folder)
