"""Input widgets from a command's own parameters, so that a page takes what its command takes."""

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from typer.models import ArgumentInfo, OptionInfo

from souron.utils.messages import _

EVERYWHERE = ("resume", "set", "model", "workers", "open", "project", "events", "forecast", "json")
# what a page says in another way, or does by itself
READING = ("group", "window")  # how data is read, beside the size: one page tells it to the next


@dataclass(frozen=True)
class Field:
    """One parameter of a command."""

    name: str  # as on the command line: "imgsz"
    kind: type  # str, int, float, bool
    help: str  # in the reader's language
    metavar: str = ""
    low: float | None = None
    complete: Callable[[str], list] | None = None  # what a shell would offer

    def choices(self) -> list[tuple[str, str]]:
        """What may be chosen, as (shown, value)."""
        offered = self.complete("") if self.complete else []
        pairs = [each if isinstance(each, tuple) else (each, "") for each in offered]
        return [(f"{name} – {about}" if about else name, name) for name, about in pairs]

    def widget(self, value: Any = None, **options: Any) -> Any:
        """The Gradio component that fits it."""
        import gradio as gr

        about = {"label": self.name, "info": self.help, **options}
        if self.kind is bool:
            return gr.Checkbox(bool(value), **about)
        if self.kind in (int, float):
            return gr.Number(value, minimum=self.low, precision=0 if self.kind is int else None,
                             **about)  # fmt: skip
        if self.complete:
            return gr.Dropdown(self.choices(), value=value, allow_custom_value=True, **about)
        return gr.Textbox(value or "", placeholder=self.metavar, **about)


def fields(command: Callable) -> dict[str, Field]:
    """A command's parameters by name, in its order, but those that a page says in another way."""
    return {field.name: field for field in read(command) if field.name not in EVERYWHERE}


def read(command: Callable) -> Iterator[Field]:
    hints = typing.get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        kind, *marks = typing.get_args(hints[parameter.name]) or (hints[parameter.name],)
        info = next((m for m in marks if isinstance(m, ArgumentInfo | OptionInfo)), None)
        if info is None or info.hidden:
            continue
        yield Field(
            parameter.name,
            plain(kind),
            _(info.help or ""),
            info.metavar or "",
            info.min,
            info.autocompletion,
        )


def plain(kind: Any) -> type:
    """``int | None`` and ``list[str] | None`` -> what one of them is."""
    inner = [part for part in typing.get_args(kind) if part is not type(None)]
    return plain(inner[0]) if inner else kind


def told(query: Mapping[str, str], names: Sequence[str]) -> list[Any]:
    """For each widget: how the page that led here reads its data, or nothing new."""
    import gradio as gr

    return [query.get(name) or gr.skip() if name in READING else gr.skip() for name in names]


def chosen(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """What a form's widgets hold, by name; numbers without a fraction are whole."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in zip(names, values, strict=True)
        if value not in (None, "", False)
    }


def python(function: str, first: str, options: Mapping[str, Any], spelt: Mapping[str, str]) -> str:
    """``souron.train("cnn", data="digits")``; ``spelt`` are names that Python says otherwise."""
    said = [f"{spelt.get(name, name)}={value!r}" for name, value in options.items()]
    return f"import souron\nsouron.{function}({', '.join([first, *said])})"
