"""Names of data, runs and jobs on the pages, instead of paths and command lines."""

import re
from collections.abc import Sequence
from pathlib import Path

from souron.data import display_names, load
from souron.utils import units
from souron.utils.messages import _

LONGEST = 80  # characters of a job, which may have whole texts in its words
BUDGET = re.compile(r"([\d.]+) *(s|sec|min|m|h|ep|ex)")


def job(words: Sequence[str], meant: Sequence[str] = ()) -> str:
    """Describe a job: ``train cnn on photos``; ``meant``: the words of the job it resumes."""
    verb, names, options = taken(meant or words)
    first = names[0] if names else ""
    if "resume" in options:
        return _("resume {run}").format(run=Path(options["resume"]).name)
    data = display_names.called(options.get("data", ""))
    match verb:
        case "train":
            return _("train {system} on {data}").format(system=first, data=data)
        case "compare":
            return _("compare {systems} on {data}").format(systems=_(", ").join(names), data=data)
        case "generate":
            return _("generate with {run}").format(run=display_names.run(first))
        case "export":
            return _("export {run}").format(run=display_names.run(first))
        case "data" if first == "check" and "fix" in options:
            return _("clean {data}").format(data=display_names.called(names[-1]))
        case "data" if first == "check":
            return _("check {data}").format(data=display_names.called(names[-1]))
        case "data" if first == "anonymise":
            return _("anonymise {data}").format(data=display_names.called(names[1]))
        case "data":
            return _("look at {data}").format(data=display_names.called(first))
        case "fetch":
            return _("fetch {name}").format(name=first)
        case "ask":
            return _("ask {text}").format(text=Path(first or words[-2]).name)
        case "tour":
            return _("the tour")
    said = " ".join([verb, *map(display_names.run, names)])
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"


def taken(words: Sequence[str]) -> tuple[str, list[str], dict[str, str]]:
    """Split a command line into verb, names and options."""
    verb, *rest = words or [""]
    pairs = [word.partition("=") for word in rest if not word.startswith("--")]
    names = [name for name, equals, _value in pairs if not equals]
    return verb, names, {name: value for name, equals, value in pairs if equals}


def budget(text: str) -> str:
    """Spell out a budget: ``10s`` -> ``10 seconds``."""
    found = BUDGET.fullmatch(text)
    if found is None:
        return text
    amount, unit = float(found[1]), found[2]
    shown = f"{amount:g}"
    if unit in ("s", "sec"):
        return _("{count} seconds").format(count=shown)
    if unit in ("min", "m"):
        return _("{count} min").format(count=shown)
    if unit == "h":
        return _("{count} h").format(count=shown)
    if unit == "ep":
        return _("{count} × all of the data").format(count=shown)
    return _("{count} examples").format(count=units.count(amount))


def budgets(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return (shown, value) for a list of budgets."""
    return [(budget(text), text) for text in texts]


def known(data: str) -> bool:
    return data in load.names()
