"""Interactives as files: each one HTML page that works from a disk and loads nothing.

Beside them lie the notebooks with the functions to write of their rows. A page carries the style
sheets, the scripts as one classic script (browsers import no modules from ``file:``), and the answers
to the requests that the interactive's ``record()`` yields. Its Content-Security-Policy forbids every
request.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

import souron
from souron.hub import fetch
from souron.lecture import notebooks, rows
from souron.studio import interactive
from souron.studio.lecture import marking
from souron.utils import files
from souron.utils.messages import UserError, _, language

IMPORT = re.compile(r'^import \{([^}]*)\} from "\.(\.?)/(\w+)\.js";$', re.MULTILINE)
EXPORT = re.compile(r"^export (const|let|class|function|async function) (\w+)", re.MULTILINE)
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
START = """
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.body.classList.toggle("dark", dark.matches);
dark.addEventListener("change", paint);
paint();
const exported = JSON.parse(document.getElementById("recorded").textContent);
const root = document.querySelector("[data-interactive]");
module_common.begin(root, { ...exported, start: module_NAME.start });
"""
STYLE = """body { margin: 0; background: var(--paper); line-height: 1.6; }
main { max-width: 70rem; margin: 0 auto; padding: .6rem 1rem 3rem; }"""
PAGE = Markup(
    '<!DOCTYPE html>\n<html lang="{language}"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" content="{policy}">'
    "<title>{title}</title><style>{style}</style></head>\n"
    '<body><main id="page">{body}</main>{scripts}</body></html>\n'
)


@dataclass(frozen=True)
class File:
    """One interactive of an export; ``path`` is None where it needs the studio."""

    name: str
    title: str
    path: Path | None
    size: int  # bytes

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "title": self.title, "path": self.path, "bytes": self.size}


def write(folder: Path, names: Sequence[str] = ()) -> Iterator[File]:
    """Write the named interactives, or all, and ``index.html`` into a new folder, in the current language.

    Yields a File after each. The folder appears at the end, as a whole. Raises UserError where it
    exists, a name is unknown, or the disk cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        raise UserError(
            "exists",
            _("{path} is there already").format(path=folder),
            expected=_("a new folder"),
            fix="souron lecture export OTHER",
            exit=5,
        )
    chosen = list(dict.fromkeys(names)) or interactive.names()
    for name in chosen:
        interactive.find(name)
    done = []
    with fetch.work_folder(folder.absolute().parent) as work:
        made = work / "interactives"
        for name in chosen:
            text = page(name)
            if text is not None:
                files.write_text(made / f"{name}.html", text)
                copy_notebooks(name, made / marking.BESIDE)
            path = None if text is None else folder / f"{name}.html"
            done.append(File(name, _(interactive.find(name).TITLE), path, len((text or "").encode())))
            yield done[-1]
        files.write_text(made / "index.html", index(done))
        try:
            made.rename(folder)
        except OSError as error:
            raise files.cannot_write(folder, error) from error


def rows_of(name: str) -> list[rows.Row]:
    """Return the rows of the lecture that show an interactive."""
    return [row for row in rows.rows().values() if name in row.interactive]


def copy_notebooks(name: str, folder: Path) -> None:
    """Copy the notebooks that an interactive's page links to. Raises UserError."""
    for row in rows_of(name):
        for _function, notebook in notebooks.by_row().get(row.id, ()):
            source = notebooks.find(notebook, language())
            files.write_bytes(folder / source.name, source.read_bytes())


def page(name: str) -> str | None:
    """Return an interactive as one HTML file in the current language; None if it records nothing."""
    module = interactive.find(name)
    asked = list(module.record()) if hasattr(module, "record") else []
    if not asked:
        return None
    recorded = {
        "answers": [(what, interactive.answer(name, what)) for what in asked],
        "settings": getattr(module, "SETTINGS", {}),
    }
    note = _("This file holds the answers for some settings; souron studio computes every setting.")
    body = Markup('<p class="actions"><a href="index.html">{}</a></p>{}{}<p class="faint">{} souron {}</p>').format(
        _("all interactives"), interactive.html(name, "h1"), marking.to_write(rows_of(name)), note, souron.__version__
    )
    data = json.dumps(recorded, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    script = bundled(name) + START.replace("NAME", name)
    assert "</script" not in script and "<!--" not in script, name
    scripts = Markup('<script type="application/json" id="recorded">{}</script>\n<script>{}</script>').format(
        Markup(data), Markup(f'"use strict";\n{script}')
    )
    return framed(_(module.TITLE), body, scripts)


def index(done: Sequence[File]) -> str:
    """Return the page that lists what was exported, and what needs the studio."""
    there = [Markup('<li><a href="{}.html">{}</a></li>').format(file.name, file.title) for file in done if file.path]
    missing = [Markup("<li>{}</li>").format(file.title) for file in done if not file.path]
    body = Markup("<h1>{}</h1><ul>{}</ul>").format(_("Interactives"), Markup("").join(there))
    if missing:
        body += Markup("<h2>{}</h2><ul>{}</ul>").format(
            _("These compute too much for a file: open them in souron studio."), Markup("").join(missing)
        )
    return framed(_("Interactives"), body)


def framed(title: str, body: Markup, scripts: Markup | str = "") -> str:
    style = "\n".join([text_of("studio.css"), text_of("interactives/interactives.css"), STYLE])
    return PAGE.format(language=language(), policy=POLICY, title=title, style=Markup(style), body=body, scripts=scripts)


def text_of(name: str) -> str:
    """Return a file of ``studio/static``."""
    found = [folder / name for folder in files.package_folders("studio/static") if (folder / name).is_file()]
    return found[0].read_text(encoding="utf-8")


def bundled(name: str, done: list[str] | None = None, folder: str = "interactives/") -> str:
    """Return a module of ``static/interactives`` and those it imports, there or above, as one classic script.

    Each becomes a constant, ``module_<name>``, that holds what it exports.
    """
    done = [] if done is None else done
    done.append(name)
    text, before = text_of(f"{folder}{name}.js"), ""
    for _names, up, other in IMPORT.findall(text):
        before += "" if other in done else bundled(other, done, "" if up else folder)
    exports = [found[1] for found in EXPORT.findall(text)]
    text = IMPORT.sub(lambda found: f"const {{{found[1].replace(' as ', ': ')}}} = module_{found[3]};", text)
    text = EXPORT.sub(r"\1 \2", text)
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE), f"{name}.js: an import or export of another form"
    return f"{before}const module_{name} = (() => {{\n{text}\nreturn {{ {', '.join(exports)} }};\n}})();\n"
