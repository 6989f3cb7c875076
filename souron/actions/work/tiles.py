"""Tasks as tiles: colour, sign and text show the exposure of each."""

from collections.abc import Sequence

from markupsafe import Markup

from souron.actions.work.exposure import VALUES
from souron.actions.work.own_tasks import Own
from souron.actions.work.tables import Task, explained
from souron.utils import units
from souron.utils.messages import _

SIGNS = "○◔◑◕●"  # of a beta of 0, 1/4, 1/2, 3/4, 1


def grade(beta: float) -> int:
    """Return the grade 0 to 4 of a beta."""
    return min(int(beta * 4 + 0.5), 4)


def sign(beta: float) -> str:
    return SIGNS[grade(beta)]


def label_sign(label: str) -> str:
    return sign(VALUES["beta"][label])


def of_labels(tasks: Sequence[Task]) -> Markup:
    """Return tiles of an occupation's tasks, the most exposed by people first."""
    ordered = sorted(tasks, key=lambda task: (-VALUES["beta"][task.people], not task.core))
    return _list(
        [
            _tile(
                VALUES["beta"][task.people],
                task.text,
                [
                    _("people: {label}, {meaning}").format(label=task.people, meaning=explained(task.people)),
                    *(
                        [_("GPT-4: {label} {sign}").format(label=task.gpt4, sign=label_sign(task.gpt4))]
                        if task.gpt4
                        else []
                    ),
                    *([] if task.core else [_("not a core task: counts half")]),
                ],
            )
            for task in ordered
        ]
    )


def of_own(tasks: Sequence[Own]) -> Markup:
    """Return tiles of rated tasks, in their own order."""
    return _list(
        [
            _tile(
                task.value("beta"),
                task.text,
                [
                    _("expected beta {value}").format(value=f"{task.value('beta'):.2f}"),
                    told(task),
                    *([] if task.verb else [_("no verb was found")]),
                ],
            )
            for task in tasks
        ]
    )


def told(task: Own) -> str:
    """Format the probabilities: ``E0 62 %, E1 8 %, E2 30 %``."""
    return ", ".join(f"E{n} {units.percent(share, 0)}" for n, share in enumerate(task.probabilities))


def legend() -> Markup:
    """Return the legend of the signs."""
    return Markup('<p class="faint">{}</p>').format(
        " · ".join(f"{label_sign(label)} {label}: {explained(label)}" for label in VALUES["beta"])
    )


def _tile(beta: float, text: str, lines: Sequence[str]) -> Markup:
    below = Markup("").join(Markup("<small>{}</small>").format(line) for line in lines)
    return Markup('<li class="grade{}"><span class="sign" aria-hidden="true">{}</span><div>{}{}</div></li>').format(
        grade(beta), sign(beta), text, below
    )


def _list(tiles: Sequence[Markup]) -> Markup:
    return Markup('<ul class="exposed">{}</ul>').format(Markup("").join(tiles))
