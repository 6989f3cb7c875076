"""The verdict on finished runs in the studio: computed once, shown, and exported."""

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron.studio.runs import run_list
from souron.studio.shared import Studio, command, remarks, same_thing
from souron.utils.messages import _

PATIENCE = 60.0  # seconds for answers that a run does not keep
KEPT = 16  # verdicts
computing = threading.Lock()  # two tabs that ask for the same wait for one computation


def verdict(studio: Studio, named: Sequence[str]) -> Any:
    """Return the verdict on runs by their names (``souron.actions.verdict.runs.RunsVerdict``). Raises UserError."""
    folders = tuple(dict.fromkeys(run_list.find(studio.project, name) for name in named[:100]))
    marks = tuple(_mark(folder) for folder in folders)
    with computing:
        return _verdict(folders, marks, studio.language)


def _mark(folder: Path) -> tuple[int, ...]:
    """Return when the files that a verdict is made of were changed."""
    names = ("receipt.json", "args.yaml", "answers.safetensors", "split.csv", "folds.csv")
    found = []
    for name in names:
        try:
            found.append((folder / name).lstat().st_mtime_ns)
        except OSError:
            found.append(0)
    return tuple(found)


@lru_cache(KEPT)
def _verdict(folders: tuple[Path, ...], _marks: tuple[tuple[int, ...], ...], _language: str) -> Any:
    from souron.actions.verdict import runs

    return runs.compare(folders, PATIENCE, images=True)


def shown(studio: Studio, pair: Any, documents: Markup) -> Markup:
    """Return a verdict as HTML: the sentence, caveats, figures, settings and the cases that differ."""
    addresses = {
        row.system: studio.url("runs", run=f"{folder.parent.name}/{folder.name}")
        for row, folder in zip(pair.rows, pair.folders, strict=True)
    }
    return Markup(
        '<figure class="copy quote"><pre class="verdict">{sentence}</pre>'
        '<button type="button" data-copy>{copy}</button>'
        "</figure>{notes}{documents}{tables}{alike}{same}"
    ).format(
        sentence=pair.sentence,
        copy=_("copy"),
        documents=documents,
        notes=remarks(pair.notes()),
        tables=drawn_tables(pair.tables(addresses)),
        alike=Markup() if pair.apart else Markup("<p>{}</p>").format(_("Every case is scored alike.")),
        same=same_thing(
            command(["compare", *map(str, pair.folders)]),
            f"import souron\nprint(souron.verdict({[str(folder) for folder in pair.folders]!r}).sentence)",
        ),
    )


def drawn_tables(tables: Sequence[Any]) -> Markup:
    """Return tables as a report draws them, in the reader's language."""
    from souron.report import page

    return page.html(tables)
