"""Signature of a system's ``predict``: input kind, output kind and options, from annotations.

    def predict(
        self,
        picture: Picture,
        *,
        least: Annotated[float, Choice(N_("least score"), low=0, high=1)] = 0.5,
    ) -> Boxes:

The command line, the pages of the studio and the HTTP interface are generated from this, so that a
system declares its inputs once, in its own file.
"""

import inspect
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any

from souron.kinds.kind import Kind
from souron.utils.messages import UserError, _, unknown_option

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
SCHEMA_TYPES = {int: "integer", float: "number", bool: "boolean", dict: "object"}


@dataclass(frozen=True)
class Choice:
    """Description and range of one option, read by the command line and the pages."""

    help: str  # English, within ``N_()``
    low: float | None = None
    high: float | None = None
    among: tuple[str, ...] = ()
    metavar: str = ""  # placeholder of the value in a help text
    text: bool = False  # it names texts, and a ``Text`` may stand in place of a name
    of: tuple[str, ...] = ()  # tasks: their runs and ready-trained systems are offered as values
    writes: bool = False  # it writes a file beside the page: an assistant is not offered it

    def option(self, name: str, default: Any, **more: Any) -> "Option":
        """Return the option of that name.

        >>> Choice("labels for each file", low=1).option("top", 5, type=int).allowed
        '1..'
        """
        return Option(**vars(self), name=name, default=default, **more)


@dataclass(frozen=True)
class Given:
    """The positional arguments of an action's command, read by the command line and the pages."""

    metavar: str  # "RUN|SYSTEM"
    help: str  # English, within ``N_()``
    least: int = 1
    most: int | None = 1  # None: any number
    typed: tuple[str, ...] = ()  # texts that a form holds at first, where texts are typed: one area each
    sent: tuple[str, ...] = ()  # ends of the files that a form takes beside paths: (".csv",)
    rest: tuple[str, ...] = ()  # ("FILES", help) of what follows the first word, where that is something else
    names: bool = False  # names, of which none has "=" in it as that of a file may have

    @property
    def many(self) -> bool:
        return self.most is None or self.most > 1

    def check(self, given: Sequence[Any], example: str, least: int = 0) -> None:
        """Raise UserError, with an example of the command, where too little or too much is given."""
        example = example.partition("  ")[0]  # without a remark behind it
        if len(given) < max(least, self.least):
            words = self.metavar.split()
            name = words[len(given)] if len(words) == self.least else self.metavar
            found = _("{argument} is missing").format(argument=name)
            raise UserError("argument", found, expected=name, fix=example)
        if self.most is not None and len(given) > self.most:
            found = _("one thing too many: {name}").format(name=given[self.most])
            raise UserError("option", found, expected=self.metavar, fix=example)


def only_one(first: str | None, second: str | None) -> str | None:
    """Return a name that may be given as an argument or as ``model=``. Raises UserError for two names.

    >>> only_one("resnet", ""), only_one(None, "resnet")
    ('resnet', 'resnet')
    """
    if first and second and first != second:
        raise UserError(
            "argument",
            _("two names are given: {first} and {second}").format(first=first, second=second),
            expected=_("one of them"),
        )
    return first or second


@dataclass(frozen=True, kw_only=True)
class Option(Choice):
    """An option of a command, a task, an action or a system's ``predict``.

    The command line, forms, the HTTP interface and the tools of an assistant are made from it.
    """

    name: str  # in Python
    default: Any  # None for an image
    kind: type[Kind] | None = None  # of an option that is read from a file, such as an image
    tasks: tuple[str, ...] = ()  # that accept it; () for all
    type: type = str  # int, float, bool, str, tuple, or dict: further words, as width=32

    def read(self, text: Any) -> Any:
        """Convert a text, or a value from a page, to the option's type. Raises UserError."""
        if self.type is dict:
            return dict(text if isinstance(text, Mapping) else (word.split("=", 1) for word in text))
        if self.kind is not None:
            given = text is None or isinstance(text, self.kind)
            return text if given else self.kind.read(Path(str(text)))
        value = text if self._is_text(text) else typed_as(self.name, text, self.default)
        if isinstance(value, tuple) and "," in self.metavar:  # "A,B": a command line gives it as one word
            value = tuple(part.strip() for word in value for part in word.split(",") if part.strip())
        low, high, among = self.low, self.high, self.among
        if (
            (among and value not in among)
            or (isinstance(value, float) and not math.isfinite(value))
            or (low is not None and value < low)
            or (high is not None and value > high)
        ):
            raise UserError(
                "value", _("{name}={value} is not understood").format(name=self.name, value=text), expected=self.allowed
            )
        return value

    def _is_text(self, value: Any) -> bool:
        """Return whether this is a ``Text``, or a tuple with one, and the option takes it."""
        parts = value if isinstance(value, tuple) else (value,)
        return self.text and any(isinstance(part, Kind) for part in parts)

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its values.

        >>> Choice("steps", low=1, high=1000).option("steps", 20, type=int).json_schema()
        {'type': 'integer', 'default': 20, 'minimum': 1, 'maximum': 1000}
        """
        schema: dict[str, Any] = {"type": SCHEMA_TYPES.get(self.type, "string")}
        if self.type is tuple:
            schema = {"type": "array", "items": {"type": "string"}}
        if self.among:
            schema["enum"] = list(dict.fromkeys([*self.among, self.default]))
        low = self.low
        if low is not None and self.default is not None:
            low = min(low, self.default)  # 0 may stand for none
        ends = {"default": self.default, "minimum": low, "maximum": self.high}
        return schema | {end: value for end, value in ends.items() if value is not None}

    @property
    def allowed(self) -> str:
        """Allowed values: ``ddpm, ddim, dpm`` or ``1..1000``; "" where any value of the type is."""
        if self.among:
            return ", ".join(self.among)
        ends = ["" if end is None else f"{end:g}" for end in (self.low, self.high)]
        return "..".join(ends) if any(ends) else ""


@dataclass(frozen=True)
class Signature:
    """Input kind, output kind and options of a system's ``predict``."""

    given: type[Kind]
    gives: type[Kind]
    options: dict[str, Option]
    reading: dict[str, Option] = field(default_factory=dict)  # options for reading files


def signature(system: type) -> Signature | None:
    """Return the signature of a system's ``predict``; None for a class without one.

    Systems that generate from noise or cluster a whole data set have none.

    >>> from souron.kinds.picture import Picture
    >>> class Copier:
    ...     def predict(self, picture: Picture) -> Picture:
    ...         return picture
    >>> signature(Copier).gives.__name__, signature(object)
    ('Picture', None)
    """
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
    """Return the keyword-only arguments of a method by name, each ``Annotated`` with a ``Choice``.

    >>> from typing import Annotated
    >>> def predict(*, least: Annotated[float, Choice("least score", low=0, high=1)] = 0.5): ...
    >>> options_of(predict)["least"].default, options_of(predict)["least"].allowed
    (0.5, '0..1')
    """
    hints = typing.get_type_hints(method, include_extras=True)
    return {
        name: _option(name, hints.get(name), parameter.default)
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def options_of_class(options: type) -> dict[str, Option]:
    """Return the fields of a dataclass by name, in its ``ORDER`` where it has one; each is ``Annotated``
    with a ``Choice``.

    >>> from dataclasses import make_dataclass
    >>> from typing import Annotated
    >>> options = make_dataclass("Options", [("n", Annotated[int, Choice("images")], 8)])
    >>> options_of_class(options)["n"].default
    8
    """
    hints = typing.get_type_hints(options, include_extras=True)
    defaults, order = {one.name: one.default for one in fields(options)}, getattr(options, "ORDER", ())
    names = [*filter(defaults.__contains__, order), *(name for name in defaults if name not in order)]
    return {name: _option(name, hints[name], defaults[name]) for name in names}


def _option(name: str, annotation: Any, default: Any) -> Option:
    """Return the option of one keyword. Raises AssertionError where it is not annotated."""
    kind, *_more, choice = typing.get_args(annotation) or (None, None)
    assert isinstance(choice, Choice), f"{name} is to be Annotated[type, Choice(...)]"
    assert default is not inspect.Parameter.empty, f"{name} needs a default"
    if kind is float:
        default = float(default)  # 1 stands for 1.0
    kinds = () if choice.text else (kind, *typing.get_args(kind))
    plain, *_none = [typing.get_origin(part) or part for part in _alternatives(kind)]
    return choice.option(
        name,
        default,
        kind=next(filter(None, map(_kind, kinds)), None),
        type=plain if plain in (int, float, bool, tuple, dict) else str,
    )


def _alternatives(annotation: Any) -> list[Any]:
    """Return the types of ``int | None`` without None, and any other type alone.

    >>> _alternatives(int | None), _alternatives(tuple[str, ...])
    ([<class 'int'>], [tuple[str, ...]])
    """
    union = isinstance(annotation, UnionType) or typing.get_origin(annotation) is typing.Union
    return [part for part in typing.get_args(annotation) if part is not type(None)] if union else [annotation]


def read_options(known: Mapping[str, Option], given: Mapping[str, Any], fix: str = "") -> dict[str, Any]:
    """Convert texts to the types of a method's options. Raises UserError for unknown ones.

    >>> known = {"steps": Choice("steps", low=1, high=1000).option("steps", 20)}
    >>> read_options(known, {"steps": "50"})
    {'steps': 50}
    """
    for name in given:
        if name not in known:
            raise unknown_option(name, list(known), fix)
    return {name: known[name].read(value) if _is_read(known[name]) else value for name, value in given.items()}


def _is_read(option: Option) -> bool:
    return option.default is not None or option.kind is not None or option.type is dict


def changed_options(options: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that differ from their defaults.

    >>> from dataclasses import make_dataclass
    >>> Options = make_dataclass("Options", [("n", int, 8), ("seed", int, 0)])
    >>> changed_options(Options(seed=3))
    {'seed': 3}
    """
    defaults = {one.name: one.default for one in fields(options)}
    return {name: value for name, value in vars(options).items() if value != defaults[name]}


def as_share(name: str, text: str) -> float:
    """Convert a percentage or a share to a number between 0 and 1. Raises UserError.

    >>> as_share("refer", "10%"), as_share("refer", "0.1")
    (0.1, 0.1)
    """
    number, percent, rest = str(text).strip().partition("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if rest or not 0 < share < 1:
        raise UserError(
            "option",
            _("{name}={value} does not fit").format(name=name, value=text),
            expected=_("a share between 0 % and 100 %"),
            fix=f"{name}=10%",
        )
    return share


def yes_or_no(text: str | None) -> bool | str | None:
    """Convert ``"true"`` and ``"false"`` to bool; return any other text unchanged.

    >>> yes_or_no("True"), yes_or_no("no"), yes_or_no("auto")
    (True, False, 'auto')
    """
    low = (text or "").lower()
    return True if low in TRUE else False if low in FALSE else text


def typed_as(name: str, value: Any, example: Any) -> Any:
    """Convert ``value`` to the type of ``example``. Raises UserError.

    >>> typed_as("side", "64", 32), typed_as("grey", "true", False), typed_as("sizes", "(1, 2)", (0,))
    (64, True, (1, 2))
    """
    shown = ",".join(map(str, example)) if isinstance(example, tuple) else example
    try:
        if value is None:
            raise TypeError
        if isinstance(example, bool):
            return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        if isinstance(example, tuple):
            parts = value if isinstance(value, list | tuple) else str(value).strip("()[] ").split(",")
            kind = type(example[0]) if example else str
            return tuple(kind(part) for part in parts)
        typed = type(example)(value)
        if isinstance(example, int) and isinstance(value, float) and typed != value:
            raise ValueError  # 2.5 where an integer is expected
        return typed
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise UserError(
            "option",
            _("{name}={value} does not fit").format(name=name, value=value),
            expected=f"{type(example).__name__}, {name}={shown}",
        ) from error
