"""The system that answers: its training data, weaknesses, and others that take such files."""

import warnings
from collections.abc import Iterator
from typing import Any

from souron.data.quality import warnings as data_warnings
from souron.hub import zoo
from souron.pipelines import default_system
from souron.runs.events import Event
from souron.utils.messages import Caution, _

MOST_OTHERS = 6  # other suitable systems that are listed


def of_system(loaded: Any) -> dict[str, Any]:
    """Return the system's name, training data and known weaknesses, and the warnings of the data check, for JSON."""
    origin = {"system": loaded.name, "learnt_from": loaded.learnt_from}
    weaknesses = zoo.weaknesses(loaded.folder) if loaded.folder else []
    origin |= {"weaknesses": weaknesses} if weaknesses else {}
    return origin | data_warnings.as_json(data_warnings.of_run(loaded.folder), loaded.folder)


def cautions(loaded: Any) -> list[str]:
    """Return the system's weaknesses and the warnings of the data check in sentences."""
    weaknesses = zoo.weaknesses(loaded.folder) if loaded.folder else []
    warned = data_warnings.texts(data_warnings.of_run(loaded.folder), loaded.folder)
    return [*(f"{loaded.name}: {text}" for text in weaknesses), *warned]


def described(loaded: Any, choice: Any) -> Iterator[Event]:
    """Warn of the system's weaknesses; where the user named no system, say which answers and which others do."""
    for text in cautions(loaded):
        warnings.warn(text, Caution, stacklevel=2)
    if choice is None:
        return
    yield Event("", note=_("answered by {system}, which was trained on {learnt_from}").format(**of_system(loaded)))
    named, more = choice.others[:MOST_OTHERS], len(choice.others[MOST_OTHERS:])
    named = [with_data(name) for name in named]
    if named:
        text = _("others that take such files: {names}")
        if more:
            text = _("others that take such files: {names} and {more} more (souron list)")
        yield Event("", note=text.format(names=", ".join(named), more=more))
    if not starters_here(choice):
        text = _("networks that answer on photographs: {command}")
        yield Event("", note=text.format(command="souron fetch starters"))


def with_data(name: str) -> str:
    """Return a system's name with its training data: ``ssd_oid (Open Images V4)``."""
    learnt_from = default_system.learnt_from(name)
    return f"{name} ({learnt_from})" if learnt_from else name


def starters_here(choice: Any) -> bool:
    """Return whether a starter is here, or would not take such a file."""
    photograph = choice.system == default_system.FIRST["Picture"]
    return not photograph or bool(default_system.starters())
