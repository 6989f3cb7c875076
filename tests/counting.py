"""The intervals within a result."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from souron.stats.records import Measure


def intervals(thing: Any, place: str = "") -> Iterator[tuple[str, Measure]]:
    """Yield the intervals within a result with their places."""
    inside: Any = ()
    if isinstance(thing, Measure):
        yield place, thing
    elif isinstance(thing, Mapping):
        inside = thing.items()
    elif isinstance(thing, list | tuple):
        inside = enumerate(thing)
    elif is_dataclass(thing):
        inside = [(field.name, getattr(thing, field.name)) for field in fields(thing)]
    for name, value in inside:
        yield from intervals(value, f"{place} {name}")
