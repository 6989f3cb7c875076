"""Pages: generated HTML that cannot run, load or send anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from souron.kinds import files
from souron.kinds.codecs import browser, hypertext
from souron.kinds.kind import Kind
from souron.utils.messages import N_, _

SHOWN = 200  # lines of its parts
SIDE = 480  # CSS pixels, the height of the frame that shows it


@dataclass(frozen=True)
class Page(Kind):
    """A whole HTML page. Every instance is harmless: it is restricted to an allowlist.

    Only listed elements and attributes, no script, no event handler, no external address. Raises
    UserError for other pages.
    """

    widget = "page"
    noun = N_("web page")
    suffix = ".html"
    kept = True

    html: str
    parts: Sequence[str] = ()  # a line each; () derived from the roles of its elements
    request: str = ""  # the request
    notes: tuple[str, ...] = ()  # remarks for the reader, such as unknown words
    file: str = ""

    def __post_init__(self) -> None:
        told = hypertext.outline(hypertext.parts(self.roles))  # raises unless harmless
        object.__setattr__(self, "parts", tuple(self.parts or told))

    @cached_property
    def roles(self) -> hypertext.Node:
        """Accessibility tree, as for a screen reader. Raises UserError for a harmful page."""
        return hypertext.read(self.html)

    @property
    def title(self) -> str:
        return self.roles.name

    def screenshot(self, width: int = 900, height: int = 1200) -> bytes:
        """Return a PNG of the page, rendered by Chromium without a network.

        Raises UserError where there is no Chromium, or where it takes too long.
        """
        return browser.screenshot(self.html, width, height)

    def save(self, path: Path) -> None:
        """Save as ``.html``, or as the ``.png`` that Chromium renders."""
        if files.ending(path, (".html", ".htm", ".png")) == ".png":
            files.write(path, self.screenshot())
        else:
            files.write(path, self.html.encode("utf-8", "replace"))

    def as_json(self) -> dict[str, Any]:
        return {"request": self.request, "parts": list(self.parts), "notes": list(self.notes), "html": self.html}

    def __str__(self) -> str:
        left = len(self.parts) - SHOWN
        more = [_("and {n} more").format(n=left)] if left > 0 else []
        return "\n".join([*self.parts[:SHOWN], *more]) or _("an empty page")

    def _repr_html_(self) -> str:
        """Return the page in a sandboxed frame; its parts and its source below."""
        items = "".join(f"<li>{escape(line)}</li>" for line in self.parts[:SHOWN])
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return (
            f"{notes}<iframe sandbox srcdoc='{escape(self.html)}' title='{escape(self._named)}' "
            f"style='width:100%;height:{SIDE}px;border:1px solid #575b60;background:#fff' "
            "loading='lazy' referrerpolicy='no-referrer'></iframe>"
            f"<details><summary>{escape(_('The parts of the page'))}</summary><ol>{items}</ol>"
            f"</details><details><summary>HTML</summary><pre style='white-space:pre-wrap;"
            f"overflow-wrap:anywhere'>{escape(self.html)}</pre></details>"
        )

    @property
    def _named(self) -> str:
        return _("the page {title}").format(title=self.title)
