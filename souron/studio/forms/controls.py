"""Parts of a form on a plain page: labelled fields, lists to choose from, files, folded options."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from souron.studio.security.posted import Posted
from souron.studio.shared import Studio
from souron.utils.messages import UserError, _

IDS = re.compile(r' id="([^"]*)"')  # of the control that a label belongs to


def attributes(values: dict[str, Any]) -> Markup:
    """Return attributes of an element; ``_`` stands for ``-``, True for one without a value, False for none.

    >>> attributes({"hx_get": "/a?b&c", "required": True, "checked": False})
    Markup(' hx-get="/a?b&amp;c" required')
    """
    return Markup("").join(
        Markup(" {}").format(name.replace("_", "-"))
        if value is True
        else Markup(' {}="{}"').format(name.replace("_", "-"), value)
        for name, value in values.items()
        if value is not False
    )


def part(studio: Studio, page: str, name: str) -> str:
    """Return the address of a part of a page, see ``page_routes``."""
    return f"/part/{studio.language}/{page}/{name}"


def form(studio: Studio, page: str, name: str, content: Markup, target: str = "#job", **more: Any) -> Markup:
    """Return a form whose answer takes the place of ``target``; a second press waits for the first."""
    sends = {"hx_post": part(studio, page, name), "hx_target": target, "hx_swap": "outerMorph"}
    sends["hx_sync"] = f"{target}:drop"
    extra = attributes({"id": "form", "hx_encoding": "multipart/form-data", "novalidate": True, **sends, **more})
    return Markup('<form class="form"{}>{}</form>').format(extra, content)


def labelled(label: str, control: Markup, about: str = "") -> Markup:
    """Return a control with its label above and an explanation below.

    >>> print(labelled("seed", area("seed")).splitlines()[0])
    <div class="field"><label for="field-seed">seed</label><textarea id="field-seed" name="seed" rows="3">
    """
    [id, *_others] = IDS.findall(control)
    small = Markup('<small id="{}-about">{}</small>').format(id, about) if about else ""
    described = Markup(' id="{0}" aria-describedby="{0}-about"').format(id) if about else ""
    content = control.replace(Markup(' id="{}"').format(id), described, 1) if about else control
    return Markup('<div class="field"><label for="{}">{}</label>{}{}</div>').format(id, label, content, small)


def text(name: str, value: str = "", **more: Any) -> Markup:
    return Markup("<input{}>").format(
        attributes({"id": f"field-{name}", "type": "text", "name": name, "value": value, "autocomplete": "off", **more})
    )


def number(name: str, value: Any, low: float, high: float, step: float = 1, **more: Any) -> Markup:
    """Return a field for a number, which ``number_of`` reads."""
    ends = {"min": low, "max": high, "step": step}
    about = {"id": f"field-{name}", "type": "number", "name": name, "value": value}
    return Markup("<input{}>").format(attributes({**about, **ends, **more}))


def number_of(text: str, label: str, kind: type, low: float, high: float) -> Any:
    """Return the int or float that was typed, the lowest one where nothing was.

    Raises UserError for any other text, and for a number that is out of bounds.
    """
    try:
        value = kind(text.strip() or low)
        if not low <= value <= high:
            raise ValueError
    except ValueError:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name=label, value=text),
            expected=_("a number from {low} to {high}").format(low=low, high=high),
        ) from None
    return value


def area(name: str, value: str = "", **more: Any) -> Markup:
    """Return a field of several lines."""
    return Markup("<textarea{}>\n{}</textarea>").format(
        attributes({"id": f"field-{name}", "name": name, "rows": 3, **more}), value
    )


def tick(name: str, label: str, ticked: bool = False, about: str = "", **more: Any) -> Markup:
    """Return a box to tick, its label behind it."""
    box = attributes({"name": name, "value": "true", "checked": ticked, **more})
    small = Markup("<small>{}</small>").format(about) if about else ""
    return Markup('<label class="field tick"><input type="checkbox"{}><span>{}</span>{}</label>').format(
        box, label, small
    )


def ticks(name: str, legend: str, choices: Iterable[tuple[str, str]], ticked: Sequence[str] = ()) -> Markup:
    """Return a group of boxes to tick, ``(shown, value)``; their field has a value for each that is ticked."""
    boxes = Markup("").join(
        Markup('<label><input type="checkbox"{}>{}</label>').format(
            attributes({"name": name, "value": value, "checked": value in ticked}), shown
        )
        for shown, value in choices
    )
    return Markup('<fieldset class="ticks"><legend>{}</legend>{}</fieldset>').format(legend, boxes)


def radios(name: str, legend: str, choices: Iterable[tuple[str, str]], value: str, about: str = "") -> Markup:
    """Return a group of which one is chosen, ``(shown, value)``."""
    buttons = Markup("").join(
        Markup('<label><input type="radio"{}>{}</label>').format(
            attributes({"name": name, "value": one, "checked": one == value}), shown
        )
        for shown, one in choices
    )
    small = Markup("<small>{}</small>").format(about) if about else ""
    return Markup('<fieldset class="ticks"><legend>{}</legend>{}{}</fieldset>').format(legend, buttons, small)


def chooser(name: str, choices: Iterable[tuple[str, str]], value: str = "", **more: Any) -> Markup:
    """Return a list to choose from, ``(shown, value)``; a ``value`` that it lacks is added."""
    listed = list(choices)
    if value and value not in [one for _shown, one in listed]:
        listed.append((value, value))
    options = Markup("").join(
        Markup("<option{}>{}</option>").format(attributes({"value": one, "selected": one == value}), shown)
        for shown, one in listed
    )
    return Markup("<select{}>{}</select>").format(attributes({"id": f"field-{name}", "name": name, **more}), options)


def combo(name: str, choices: Iterable[tuple[str, str]], value: str = "", **more: Any) -> Markup:
    """Return a text field that offers values, ``(shown, value)``, and takes others."""
    options = Markup("").join(
        Markup("<option{}>{}</option>").format(attributes({"value": one}), shown) for shown, one in choices
    )
    field = text(name, value, list=f"{name}-offered", **more)
    return Markup('{}<datalist id="{}-offered">{}</datalist>').format(field, name, options)


def either(name: str, choices: Sequence[tuple[str, str]], value: str, other: str, **more: Any) -> Markup:
    """Return a list to choose from, and a text field called ``other`` for another value; ``chosen`` reads both."""
    listed = value in [one for _shown, one in choices]
    field = text(f"{name}-other", "" if listed else value, placeholder=other, aria_label=other)
    return chooser(name, choices if listed else [(other, ""), *choices], value if listed else "", **more) + field


def chosen(form: Posted, name: str) -> str:
    """Return the value of ``either``: what was typed, or else what was chosen."""
    return form[f"{name}-other"].strip() or form[name]


def files(name: str, ends: Sequence[str], *, many: bool = False, **more: Any) -> Markup:
    """Return a place for files, which may also be dropped on it."""
    about = {"id": f"field-{name}", "type": "file", "name": name, "accept": ",".join(ends), "multiple": many}
    return Markup("<input{}>").format(attributes({**about, **more}))


def folded(title: str, content: Markup, *, opened: bool = False) -> Markup:
    """Return further fields, folded unless they are ``opened``."""
    return Markup('<details class="further"{}><summary>{}</summary>{}</details>').format(
        attributes({"open": opened}), title, content
    )


def press(label: str, *, first: bool = False, **more: Any) -> Markup:
    """Return a button, the ``first`` one of a form to be its main one."""
    kind = {"type": "submit" if first else "button", "class": "first" if first else False}
    return Markup("<button{}>{}</button>").format(attributes({**kind, **more}), label)


def confirmed(label: str, question: str, do: Markup) -> Markup:
    """Return a button that unfolds a question, and below it the button ``do`` that answers yes."""
    return Markup(
        '<details class="confirm"><summary>{}</summary><div role="alert"><p>{}</p><p class="actions">{}</p></div>'
        "</details>"
    ).format(label, question, do)


CHANGES = ("input", "change", "htmx:after:swap")  # of a form: by hand, or drawn anew


def follows(
    studio: Studio, page: str, name: str, id: str, content: Markup | str = "", *, delay: str = "200ms", **more: Any
) -> Markup:
    """Return a place that the part ``name`` draws anew when the form of the page changes, and fills unless
    it has a ``content``."""
    begins = [] if content else ["load"]
    triggers = ", ".join([*begins, *(f"{event} from:#form delay:{delay}" for event in CHANGES)])
    draws = {"hx_post": part(studio, page, name), "hx_trigger": triggers, "hx_include": "#form"}
    how = {"hx_swap": "innerMorph", "hx_sync": "this:replace"}
    return Markup("<div{}>{}</div>").format(attributes({"id": id, **draws, **how, **more}), content)


def columns(left: Markup, right: Markup) -> Markup:
    """Return a form beside what comes of it; one below the other on a narrow screen."""
    return Markup('<div class="columns"><div>{}</div><div>{}</div></div>').format(left, right)


def page_head(title: str, about: str = "") -> Markup:
    return Markup("<h1>{}</h1>{}").format(title, Markup("<p>{}</p>").format(about) if about else "")


def more_options() -> str:
    return _("More options")
