"""What a method can be asked: what goes in, what comes out, and its options, by its annotations.

    def predict(
        self,
        picture: Picture,
        *,
        least: Annotated[float, Choice(N_("how sure it must be"), low=0, high=1)] = 0.5,
    ) -> Boxes:

The command line, the pages of the studio and the HTTP interface are drawn from this, so that what
a system takes is said once, in its own file.
"""

import inspect
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from souron.kinds.kind import Kind
from souron.utils.messages import UserError, _, unknown_option


@dataclass(frozen=True)
class Choice:
    """What one option does and may be: the command line and the pages read it."""

    help: str  # English, within ``N_()``
    low: float | None = None
    high: float | None = None
    among: tuple[str, ...] = ()
    metavar: str = ""  # stands for the value in a help text


@dataclass(frozen=True)
class Given:
    """What stands on a study's command line beside its options: the command line and the pages
    read it."""

    metavar: str  # "RUN|SYSTEM"
    help: str  # English, within ``N_()``
    least: int = 1
    most: int | None = 1  # None: any number

    @property
    def many(self) -> bool:
        return self.most is None or self.most > 1


@dataclass(frozen=True)
class Option:
    """A keyword of a method, with its default."""

    name: str
    default: Any  # None for a picture
    choice: Choice

    def read(self, text: Any) -> Any:
        """The value that a text, or what a page hands over, stands for. Raises UserError."""
        value = typed_as(self.name, text, self.default)
        low, high, among = self.choice.low, self.choice.high, self.choice.among
        if (
            (among and value not in among)
            or (isinstance(value, float) and not math.isfinite(value))
            or (low is not None and value < low)
            or (high is not None and value > high)
        ):
            raise UserError(
                "value",
                _("{name}={value} is not understood").format(name=self.name, value=text),
                expected=self.allowed,
            )
        return value

    @property
    def allowed(self) -> str:
        """``ddpm, ddim, dpm`` or ``1..1000``; "" where anything of its type is."""
        if self.choice.among:
            return ", ".join(self.choice.among)
        ends = ["" if end is None else f"{end:g}" for end in (self.choice.low, self.choice.high)]
        return "..".join(ends) if any(ends) else ""


@dataclass(frozen=True)
class Signature:
    """What ``predict`` of a system takes, gives and can be told."""

    given: type[Kind]
    gives: type[Kind]
    options: dict[str, Option]
    reading: dict[str, Option] = field(default_factory=dict)  # of files of what is given


def signature(system: type) -> Signature | None:
    """What that class can be asked; None where it has no ``predict``: what draws from noise or
    groups a whole data set answers nothing."""
    method = getattr(system, "predict", None)
    if method is None:
        return None
    _self, first, *rest = inspect.signature(method).parameters.values()
    hints = typing.get_type_hints(method)
    given, gives = _kind(hints.get(first.name)), _kind(hints.get("return"))
    where = f"{system.__name__}.predict"
    assert given and given.formats, f"{where}: {first.name} is to be a kind that is read"
    assert gives, f"{where}: what it returns is to be a kind"
    assert all(each.kind is each.KEYWORD_ONLY for each in rest), f"{where}: options are keywords"
    return Signature(given, gives, options_of(method), options_of(given.read))


def _kind(annotation: Any) -> type[Kind] | None:
    known = inspect.isclass(annotation) and issubclass(annotation, Kind)
    return annotation if known else None


def options_of(method: Callable) -> dict[str, Option]:
    """The keywords of a method, by name; each is ``Annotated`` with a ``Choice``."""
    hints = typing.get_type_hints(method, include_extras=True)
    return {
        name: _option(name, hints.get(name), parameter.default)
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def options_of_class(options: type) -> dict[str, Option]:
    """The fields of a dataclass, by name; each is ``Annotated`` with a ``Choice``."""
    hints = typing.get_type_hints(options, include_extras=True)
    return {one.name: _option(one.name, hints[one.name], one.default) for one in fields(options)}


def _option(name: str, annotation: Any, default: Any) -> Option:
    kind, *_more, choice = typing.get_args(annotation) or (None, None)
    assert isinstance(choice, Choice), f"{name} is to be Annotated[type, Choice(...)]"
    assert default is not inspect.Parameter.empty, f"{name} needs a default"
    if kind is float:
        default = float(default)  # 1 stands for 1.0
    return Option(name, default, choice)


def read_options(
    known: Mapping[str, Option], given: Mapping[str, Any], fix: str = ""
) -> dict[str, Any]:
    """Texts as the method wants them. Raises UserError for what it does not know."""
    for name in given:
        if name not in known:
            raise unknown_option(name, list(known), fix)
    return {
        name: value if known[name].default is None else known[name].read(value)
        for name, value in given.items()
    }


def typed_as(name: str, value: Any, example: Any) -> Any:
    """``value`` as the type of ``example``. Raises UserError."""
    try:
        if value is None:
            raise TypeError
        if isinstance(example, bool):
            return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        if isinstance(example, tuple):
            parts = value if isinstance(value, list | tuple) else str(value).split(",")
            kind = type(example[0]) if example else str
            return tuple(kind(part) for part in parts)
        typed = type(example)(value)
        if isinstance(example, int) and isinstance(value, float) and typed != value:
            raise ValueError  # 2.5 where a whole number is wanted
        return typed
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise UserError(
            "option",
            _("{name}={value} does not fit").format(name=name, value=value),
            expected=f"{type(example).__name__}, {name}={example}",
        ) from error
