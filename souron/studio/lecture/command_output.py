"""Output of a row whose command is not one network's answer: it runs as a process of its own.

What it printed is kept until souron or the command changes.
"""

import hashlib
import json
import threading

from markupsafe import Markup

import souron
from souron.lecture.rows import Row
from souron.utils import files
from souron.utils.messages import language

running = threading.Lock()  # one command at a time


def printed(row: Row) -> str:
    """Return what a row's command prints as HTML, from the last time that it ran with this version.

    Raises UserError where it takes too long.
    """
    from souron.lecture import samples

    kept = files.cache_folder() / "rows" / f"{row.id}-{language()}.json"
    mark = hashlib.sha256(f"{souron.__version__} {row.answer}".encode()).hexdigest()
    try:
        held = json.loads(kept.read_text(encoding="utf-8"))
        lines = held["lines"] if held["mark"] == mark else None
    except (OSError, ValueError, KeyError, TypeError):
        lines = None
    if lines is None:
        came = samples.answer(row, files.cache_folder() / "rows" / row.id)
        lines = list(came.lines)
        if not came.exit:
            files.write_json(kept, {"mark": mark, "lines": lines})
    return str(
        Markup('<pre class="printed" tabindex="0" aria-label="{}"><code>$ {}\n{}</code></pre>').format(
            row.answer, row.answer, "\n".join(lines)
        )
    )
