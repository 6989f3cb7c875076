"""Options of a system as fields of a page, from the signature of its ``predict``.

A page where an answer should take seconds shows some of them, and numbers up to a few times their
defaults; ``whole`` stands for all options and their whole range.
"""

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from souron.kinds import signature
from souron.kinds.signature import Option
from souron.studio.forms.option_names import OPTION_NAMES
from souron.studio.security.posted import Posted
from souron.utils.messages import _

TIMES = 5  # a whole number may be raised to that many times its default: tokens, steps
STEPS = 100  # of a slider, approximately
MOST_TEXT = 2000  # characters of a text
OF_FILES = ("to", "meshes")  # forms of a saved file


def bounded(option: Option) -> bool:
    """Return whether an option is a number with both ends."""
    number = isinstance(option.default, int | float) and not isinstance(option.default, bool)
    return number and option.low is not None and option.high is not None


def highest(option: Option) -> Any:
    """Return the largest value of a bounded number here: an answer should take seconds."""
    high: Any = option.high
    default = option.default
    return min(high, TIMES * default) if isinstance(default, int) and default > 0 else high


def shown(options: Mapping[str, Option], whole: bool = False) -> dict[str, Option]:
    """Return the options that have a field.

    Those that are read from a file, such as an image, have none; without ``whole`` neither have those
    that only change a saved file.
    """
    return {
        name: one
        for name, one in options.items()
        if one.default is not None and one.kind is None and (whole or not _of_a_file(one))
    }


def _of_a_file(option: Option) -> bool:
    """Return whether an option only changes a saved file."""
    return option.name in OF_FILES and (isinstance(option.default, bool) or bool(option.among))


def fields(options: Mapping[str, Option], values: Mapping[str, Any], whole: bool = False) -> Markup:
    """Return a labelled field for each option; ``values`` are those that differ from the defaults."""
    known = shown(options, whole)
    return Markup("").join(field(one, values.get(name, one.default), whole) for name, one in known.items())


def called(option: Option) -> str:
    """Return the option's name in the reader's language."""
    return _(OPTION_NAMES[option.name]) if option.name in OPTION_NAMES else option.name


def field(option: Option, value: Any, whole: bool = False) -> Markup:
    """Return the field of one option with its value: a slider, a number, a list, a tick or a text."""
    return Markup('<label class="option"><span>{}</span>{}<small>{}</small></label>').format(
        called(option), _input(option, value, whole), _(option.help)
    )


def _input(option: Option, value: Any, whole: bool) -> Markup:
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
        high = option.high if whole else highest(option)
        step = 1 if isinstance(default, int) else _step((high or 0) - (option.low or 0))
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


def read(options: Mapping[str, Option], given: Mapping[str, Any], whole: bool = False) -> dict[str, Any]:
    """Read the values of fields, without ``whole`` numbers at most as high as ``highest``.

    Options without a field are left out. Raises UserError for a value that does not fit.
    """
    known = shown(options, whole)
    simple = {name: given[name] for name in known if isinstance(given.get(name), str | int | float)}
    values = signature.read_options(known, simple)
    if whole:
        return values
    return {name: min(value, highest(known[name])) if bounded(known[name]) else value for name, value in values.items()}


def of_form(options: Mapping[str, Option], form: Posted) -> dict[str, Any]:
    """Read all options of a form; empty numbers are left out. Raises UserError."""
    sent: dict[str, Any] = {name: form[name] for name in options if name in form}
    for name, one in options.items():
        if isinstance(one.default, bool):
            sent[name] = name in form  # a box that is not ticked is not sent
        elif not isinstance(one.default, str | tuple) and not sent.get(name):
            sent.pop(name, None)
    return read(options, sent, whole=True)
