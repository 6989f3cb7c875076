"""The margin of a comparison, noted with its time before results are seen."""

import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

from souron.kinds.codecs.limits import check_file, readable
from souron.metrics.metric import Metric
from souron.utils.messages import UserError, _

MOST_BYTES = 1_000_000  # of plan.json


def asked(margin: float | None, plan: str | None) -> float | None:
    """Return the margin that was given, or that of a plan's folder; None without one. Raises UserError."""
    of_plan = None if plan is None else read_plan(Path(plan))
    if margin is not None and of_plan is not None and margin != of_plan:
        raise UserError(
            "margin",
            _("margin={margin} is not the margin of {plan}, which is {other}").format(
                margin=f"{margin:g}", plan=plan, other=f"{of_plan:g}"
            ),
            fix=f"plan={plan}",
        )
    margin = of_plan if margin is None else margin
    if margin is not None and not 0 < margin < math.inf:
        raise UserError("margin", f"margin={margin:g}", expected=_("a margin above 0"), fix="margin=2")
    return margin


def read_plan(folder: Path) -> float:
    """Return the margin that ``souron plan`` kept, in points. Raises UserError."""
    path = folder / "plan.json"
    check_file(path, None, MOST_BYTES, "no plan")
    try:
        margin = json.loads(path.read_text(encoding="utf-8"))["margin"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _no_margin(path) from error
    if isinstance(margin, bool) or not isinstance(margin, int | float):
        raise _no_margin(path)
    return float(margin)


def _no_margin(path: Path) -> UserError:
    return UserError(
        "no plan",
        _("{path} keeps no margin").format(path=readable(path)),
        expected=_("the folder of a plan with a margin"),
        fix="souron plan question=methods margin=2",
        exit=3,
    )


def check(metric: Metric, plan: str | None) -> None:
    """Raise UserError where a plan's margin, in points, does not fit the measure that decides."""
    if plan is not None and not metric.in_points:
        raise UserError(
            "margin",
            _("the margin of {plan} is in points, and {measure} is not a share").format(
                plan=plan, measure=metric.title
            ),
            expected=_("a margin in the unit of the measure"),
            fix="margin=2",
        )


def note(args: dict[str, Any], margin: float, rounds: int, plan: str | None = None) -> bool:
    """Note a margin in a comparison's arguments; return whether it is another one than before.

    ``rounds`` are those that have been played: from the first on, results have been seen.
    """
    history = args.get("margins", [])
    if history and history[-1]["margin"] == margin:
        return False
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    entry = {"margin": margin, "time": now, "rounds": rounds, **({} if plan is None else {"plan": plan})}
    args |= {"margin": margin, "margins": [*history, entry]}
    return True
