"""Draw decision curves: at which thresholds acting on a prediction is better than treating all or treating none.

Vickers and Elkin: Decision curve analysis: a novel method for evaluating prediction models (2006).
https://doi.org/10.1177/0272989X06295361

The statistics are those of ``metrics.net_benefit``. The page also shows, for any threshold and prevalence, who of
1,000 patients is called positive, and who is missed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import souron
from souron.action import Action, Given
from souron.actions.decision import sliders
from souron.actions.decision.record import DecisionRecord
from souron.data.predictions import Asked
from souron.evaluation import decision_curves, run_predictions
from souron.kinds.signature import Choice, as_share
from souron.runs.events import Event
from souron.utils.messages import N_, UserError, _

LOW, HIGH = 0.01, 0.5  # range of thresholds, unless others are named
USUAL = (0.1, 0.05, 0.2, 0.3, 0.5)  # thresholds of the tables, the first of which the sentences take
MOST_MARKED = 12


@dataclass(frozen=True)
class Options:
    positive: Annotated[str, Choice(N_("the class to detect, such as a disease"), metavar="CLASS")] = ""
    low: Annotated[str, Choice(N_("the lowest threshold, as 5% or 0.05 (default 1%)"), metavar="SHARE")] = ""
    high: Annotated[str, Choice(N_("the highest threshold (default 50%)"), metavar="SHARE")] = ""
    threshold: Annotated[
        tuple[str, ...], Choice(N_("thresholds of the tables, the first in the sentences (default 10%)"), metavar="A,B")
    ] = ()
    prevalence: Annotated[
        str,
        Choice(N_("share of patients with the class where it will be used (default: these cases')"), metavar="SHARE"),
    ] = ""
    methods: Annotated[tuple[str, ...], Choice(N_("the columns of the methods to compare"), metavar="A,B")] = ()
    missing: Annotated[
        str, Choice(N_("missing predictions: count as wrong, or leave the case out"), among=("wrong", "leave-out"))
    ] = ""


class DecisionStudy(Action):
    """Compare acting on predictions with treating all and treating none, by net benefit."""

    title = N_("Say whether acting on a prediction helps: decision curves.")
    examples = (
        "souron decision runs/classify/resnet-photos",
        "souron decision predictions.csv positive=malignant threshold=10% low=2% high=40%",
        "souron decision predictions.csv prevalence=3%",
    )
    group = "train"
    question = N_("Are the risks right?")
    given = Given(
        "RUN|TABLE",
        N_("runs of classifiers, or case,truth[,group] and probabilities of each method"),
        1,
        None,
        sent=(".csv", ".tsv"),
    )
    brief = True
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        paths = [Path(one) for one in given]
        prevalence = share("prevalence", options.prevalence) if options.prevalence else None
        thresholds, marked = asked_thresholds(options)
        yield Event("data", text=", ".join(path.name for path in paths))
        wishes = Asked(missing=options.missing, positive=options.positive, methods=options.methods)
        data = run_predictions.read(paths, wishes)
        risks = decision_curves.risks_of(data, options.positive)
        shown = sliders.thresholds([*thresholds, *marked])
        yield Event(_("net benefit"))
        made = decision_curves.decision(risks, thresholds, marked, prevalence, shown)
        receipt = {
            "souron": souron.__version__,
            "files": run_predictions.sources(paths),
            "options": {name: value for name, value in asdict(options).items() if value},
        }
        folder = self.new_folder(paths[0].stem)
        record = DecisionRecord(made, data, tuple(map(str, given)), receipt, folder)
        yield Event("done", 1.0, record=record, folder=folder)


def share(name: str, text: str) -> float:
    """Return a share such as ``"5%"`` or ``"0.05"``. Raises UserError unless it lies between 0 and 1.

    >>> share("low", "5%"), share("low", "0.05")
    (0.05, 0.05)
    """
    return round(as_share(name, text), decision_curves.DIGITS)


def asked_thresholds(options: Options) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the thresholds of the curve, and those of the tables among them, the main one first. Raises UserError."""
    low = share("low", options.low) if options.low else LOW
    high = share("high", options.high) if options.high else HIGH
    if low >= high:
        raise UserError(
            "value",
            _("the lowest threshold is {low}, and the highest {high}").format(low=f"{low:g}", high=f"{high:g}"),
            expected=_("low below high"),
            fix="low=5% high=40%",
        )
    named = tuple(dict.fromkeys(share("threshold", one) for one in options.threshold))
    outside = [one for one in named if not low <= one <= high]
    if outside or len(named) > MOST_MARKED:
        raise UserError(
            "value",
            _("threshold={value} is not understood").format(value=",".join(options.threshold)),
            expected=_("at most {count} thresholds from {low} to {high}").format(
                count=MOST_MARKED, low=f"{low:g}", high=f"{high:g}"
            ),
            fix=f"low={min(low, *named):g} high={max(high, *named):g}",
        )
    usual = [one for one in USUAL if low <= one <= high]
    if len(usual) < 2:
        usual = [round((low + high) / 2, decision_curves.DIGITS), low, high]
    marked = named or tuple(usual)
    return decision_curves.grid(low, high, marked), marked


__all__ = ["DecisionRecord", "DecisionStudy", "Options"]
