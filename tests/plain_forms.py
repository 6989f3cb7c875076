"""Forms of the studio's plain pages as a browser reads and sends them."""

import re
from contextvars import ContextVar
from html import unescape
from pathlib import Path

from souron.studio.security import paths
from souron.studio.security.posted import Posted


def uploads(monkeypatch, place: Path) -> Path:
    """Let uploads be kept in a folder, as a guard does for each request."""
    monkeypatch.setattr(paths, "PLACE", ContextVar("PLACE", default=place))
    return place


CONTROLS = re.compile(r"<input[^>]*>|<select.*?</select>|<textarea.*?</textarea>", re.DOTALL)


def form(attached=None, /, **values) -> Posted:
    """A form as a browser sends it; ``attached``: name of a field -> paths of its files."""
    sent = {name: list(map(Path, paths)) for name, paths in (attached or {}).items()}
    return Posted({name: value if isinstance(value, list) else [value] for name, value in values.items()}, sent)


def attribute(tag: str, name: str) -> str:
    """The value of an attribute of a tag; "" without it."""
    found = re.search(rf' {name}="([^"]*)"', tag)
    return unescape(found[1]) if found else ""


def controls(html: str) -> list[str]:
    return CONTROLS.findall(html)


def names(html: str) -> list[str]:
    """The names of the fields, in their order."""
    return [attribute(tag, "name") for tag in controls(html)]


def sent(html: str) -> Posted:
    """What a browser sends of a form that nobody has touched."""
    values: dict[str, list[str]] = {}
    for tag in controls(html):
        name = attribute(tag, "name")
        if tag.startswith("<select"):
            options = re.findall(r"<option[^>]*>", tag)
            chosen = [one for one in options if " selected" in one] or options[:1]
            values.setdefault(name, []).extend(attribute(one, "value") for one in chosen)
        elif tag.startswith("<textarea"):
            text = re.search(r"^[^>]*>\n?(.*)</textarea>", tag, re.DOTALL)
            values.setdefault(name, []).append(unescape(text[1]))
        elif 'type="file"' not in tag and (not re.search('type="(?:checkbox|radio)"', tag) or " checked" in tag):
            values.setdefault(name, []).append(attribute(tag, "value"))
    return Posted(values)
