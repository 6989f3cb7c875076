"""Input widgets from the options of an action, so that a page accepts the same as its command."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.cli import actions
from souron.cli.parsing import options
from souron.kinds.signature import Option
from souron.registry import ActionEntry
from souron.runs.options import word
from souron.studio.forms import controls
from souron.studio.security.posted import Posted
from souron.utils.messages import UserError, _

# parameters that a page handles in another way or sets itself
EVERYWHERE = ("resume", "set", "model", "workers", "open", "project", "events", "forecast", "no_forecast", "json")
READING = ("group", "window")  # how data is read, besides the size: passed from page to page
CLAUSE = re.compile(r"(.+?)(?:[:;] |[：；。]|\s*(?=[(（]))(.+)")  # "random seed", "(default 0)"


@dataclass(frozen=True)
class Field:
    """One thing that an action takes."""

    name: str  # name on the command line: "imgsz"
    kind: type  # str, int, float, bool
    help: str  # in the reader's language
    low: float | None = None
    complete: Callable[[str], list] | None = None  # what a shell would offer
    many: bool = False  # it takes several, a line each

    def choices(self) -> list[tuple[str, str]]:
        """Return the choices as (shown, value)."""
        offered = self.complete("") if self.complete else []
        pairs = [each if isinstance(each, tuple) else (each, "") for each in offered]
        return [(f"{name} – {about}" if about else name, name) for name, about in pairs]

    @property
    def says(self) -> tuple[str, str]:
        """Split the help into a label and further information."""
        found = CLAUSE.fullmatch(self.help)
        if found is None:
            return self.help, ""
        label, more = found.groups()
        return label, more[1:-1] if more[0] in "(（" and more[-1] in ")）" else more

    def html(self, value: Any = "", label: str = "", about: str = "", **more: Any) -> Markup:
        """Return the labelled field of a plain page; ``value`` is what stands in it.

        ``label`` and ``about`` take the place of what the help says, ``more`` are further attributes.
        """
        name, info = self.says
        if self.kind is bool:
            return controls.tick(self.name, label or name, value in (True, "true"), about or info, **more)
        return controls.labelled(label or name, self._control(value, more), about or info)

    def _control(self, value: Any, more: Mapping[str, Any]) -> Markup:
        if self.many:
            return controls.area(self.name, value or "", **{"rows": 2, "placeholder": _("one a line"), **more})
        if self.complete:
            return controls.combo(self.name, self.choices(), value or "", **more)
        number = {"inputmode": "decimal"} if self.kind in (int, float) else {}
        return controls.text(self.name, "" if value is None else value, **number, **more)

    def read(self, value: Any) -> Any:
        """Return the value of its widget; None if empty. Raises UserError for an invalid number."""
        if value is None or value is False or not str(value).strip():
            return None
        if self.many:
            return [line.strip() for line in value.splitlines() if line.strip()]
        if self.kind not in (int, float):
            return value
        try:
            number = self.kind(str(value).strip())
            if not math.isfinite(number) or number < (self.low or number):
                raise ValueError
        except ValueError:
            raise UserError(
                "value",
                _("{name}={value} is not understood").format(name=self.says[0], value=value),
                expected=self.expected,
            ) from None
        return number

    @property
    def expected(self) -> str:
        if self.low:
            return _("a number from {low} on, or nothing").format(low=f"{self.low:g}")
        return _("a number, or nothing")


def fields(name: str, hidden: Sequence[str] = EVERYWHERE) -> dict[str, Field]:
    """Return what an action takes, by name: what is given, then its options, without the ``hidden`` ones."""
    entry = registry.action(name)
    every = [*_given(entry), *map(_field, (one for one in entry.options if one.type is not dict))]
    return {field.name: field for field in every if field.name not in hidden}


def options_of(name: str) -> dict[str, Field]:
    """Return the options of an action by name, for a page with a place of its own for what is given."""
    return fields(name, (*EVERYWHERE, actions.name_of_given(registry.action(name))))


def _given(entry: ActionEntry) -> Iterator[Field]:
    given, several = entry.given, actions.is_list(entry)
    complete = options.COMPLETE.get(given.metavar)
    yield Field(actions.name_of_given(entry), str, _(given.help), complete=complete, many=several)
    if given.rest:
        yield Field("files", str, _(given.rest[1]), many=True)


def _field(option: Option) -> Field:
    low, several = option.low if option.type is int else None, option.type is tuple
    kind = str if several else option.type
    return Field(word(option), kind, _(option.help), low, options.completion(option), several)


def values(fields: Iterable[Field], form: Posted) -> dict[str, Any]:
    """Read the fields of a form by name; empty ones are left out. Raises UserError."""
    read = {field.name: field.read(form[field.name]) for field in fields}
    return {name: value for name, value in read.items() if value is not None}


def python(function: str, first: str, options: Mapping[str, Any], spelt: Mapping[str, str]) -> str:
    """Return ``souron.train("cnn", data="digits")``; ``spelt``: option -> name in Python."""
    said = [f"{spelt.get(name, name)}={value!r}" for name, value in options.items()]
    return f"import souron\nsouron.{function}({', '.join([first, *said])})"
