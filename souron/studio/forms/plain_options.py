"""Options of a system as fields of a plain page, from the signature of its ``predict``.

They have the same labels as on the page Use, where Gradio shows them.
"""

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron.kinds import signature
from souron.kinds.signature import Option
from souron.studio.forms.option_names import OPTION_NAMES
from souron.utils.messages import _

TIMES = 5  # a whole number may be raised to that many times its default: tokens, steps
STEPS = 100  # of a slider, approximately
MOST_TEXT = 2000  # characters of a text
OF_FILES = ("to", "meshes")  # forms of a saved file, which a plain page does not offer


def bounded(option: Option) -> bool:
    """Return whether an option is a number with both ends."""
    number = isinstance(option.default, int | float) and not isinstance(option.default, bool)
    return number and option.low is not None and option.high is not None


def highest(option: Option) -> Any:
    """Return the largest value of a bounded number here: an answer should take seconds."""
    high: Any = option.high
    default = option.default
    return min(high, TIMES * default) if isinstance(default, int) and default > 0 else high


def shown(options: Mapping[str, Option]) -> dict[str, Option]:
    """Return the options that have a field.

    Those that are read from a file, such as an image, have none, and those that only change a saved file.
    """
    return {
        name: one
        for name, one in options.items()
        if one.default is not None and one.kind is None and not _of_a_file(one)
    }


def _of_a_file(option: Option) -> bool:
    """Return whether an option only changes a saved file."""
    return option.name in OF_FILES and (isinstance(option.default, bool) or bool(option.among))


def fields(options: Mapping[str, Option], values: Mapping[str, Any]) -> Markup:
    """Return a labelled field for each option; ``values`` are those that differ from the defaults."""
    return Markup("").join(field(one, values.get(name, one.default)) for name, one in shown(options).items())


def field(option: Option, value: Any) -> Markup:
    """Return the field of one option with its value: a slider, a number, a list, a tick or a text."""
    name = _(OPTION_NAMES[option.name]) if option.name in OPTION_NAMES else option.name
    return Markup('<label class="option"><span>{}</span>{}<small>{}</small></label>').format(
        name, _input(option, value), _(option.help)
    )


def _input(option: Option, value: Any) -> Markup:
    default = option.default
    if option.among:
        texts = Markup("").join(
            Markup("<option{}>{}</option>").format(Markup(" selected") if one == value else "", one)
            for one in option.among
        )
        return Markup('<select name="{}">{}</select>').format(option.name, texts)
    if isinstance(default, bool):
        ticked = Markup(" checked") if value else ""
        return Markup('<input type="checkbox" name="{}"{}>').format(option.name, ticked)
    if bounded(option):
        high = highest(option)
        step = 1 if isinstance(default, int) else _step(high - (option.low or 0))
        return Markup(
            '<input type="range" name="{}" min="{:g}" max="{:g}" step="{:g}" value="{:g}"><output>{:g}</output>'
        ).format(option.name, option.low, high, step, value, value)
    if isinstance(default, int | float):
        ends = Markup("").join(
            Markup(' {}="{:g}"').format(*end)
            for end in (("min", option.low), ("max", option.high))
            if end[1] is not None
        )
        each = "1" if isinstance(default, int) else "any"
        return Markup('<input type="number" name="{}" step="{}" value="{}"{}>').format(option.name, each, value, ends)
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return Markup('<input type="text" name="{}" maxlength="{}" value="{}">').format(option.name, MOST_TEXT, text)


def _step(reach: float) -> float:
    """Return a power of ten that fits into ``reach`` at least a hundred times."""
    return 10.0 ** math.floor(math.log10(reach / STEPS) + 1e-9) if reach > 0 else 1.0


def read(options: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the values of fields, numbers at most as high as ``highest``.

    Options without a field are left out. Raises UserError for a value that does not fit.
    """
    known = shown(options)
    simple = {name: given[name] for name in known if isinstance(given.get(name), str | int | float)}
    values = signature.read_options(known, simple)
    return {name: min(value, highest(known[name])) if bounded(known[name]) else value for name, value in values.items()}
