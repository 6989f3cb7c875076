"""Write the events of a command to a file as JSON lines, for programs that watch it.

Each line is written at once and stands for one ``events.Event``; the last line is the exit status.
Failures to write never stop the command: the line is then missing.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import souron
from souron.utils.files import as_json
from souron.utils.messages import UserError, _, translated

BETWEEN = 0.1  # least seconds between two lines of one phase


class Journal:
    """Appends events to ``path``; images generated meanwhile are stored in ``picture``."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises UserError if ``path`` cannot be written."""
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise UserError(
                "events",
                _("{path} cannot be written: {why}").format(path=path, why=error.strerror or error),
                expected=_("a file that can be written"),
                fix="--events events.jsonl",
                exit=3,
            ) from error
        self.picture = path.with_name(f"{path.name}.png")
        self._phase, self._written = "", -math.inf
        self._held: dict[str, Any] | None = None  # the latest event, if it came too soon
        self._whole = True  # whether the last line is complete, as far as is known

    def tell(self, event: Any) -> None:
        """Write a line for the event, unless the next one repeats its phase and values."""
        line = described(event)
        if event.picture is not None and event.folder and self._draw(event):
            line["picture"] = self.picture.name
        if self._held is not None and line.get("values") != self._held.get("values"):
            self._release()
        if event.phase != self._phase:
            self._release()
            self._phase, self._written = event.phase, -math.inf
        self._held = line
        if "picture" in line or time.monotonic() - self._written >= BETWEEN:
            self._release()
            self._written = time.monotonic()

    def end(self, code: int, error: dict[str, str] | None) -> None:
        """Write the last line: the exit code, and the error if there was one."""
        self._release()
        why = {"error": error, **_translations(error)} if error else {}
        self._write({"time": time.time(), "ended": code, **why})
        self._file.close()

    def _release(self) -> None:
        if self._held is not None:
            self._write(self._held)
            self._held = None

    def _write(self, line: dict[str, Any]) -> None:
        text = ("" if self._whole else "\n") + as_json(line) + "\n"
        written = text.encode("utf-8", "surrogatepass")
        self._whole = False  # until written: the disk may be full, Ctrl-C may come
        try:
            self._whole = self._file.write(written) == len(written)
        except OSError:
            return

    def _draw(self, event: Any) -> bool:
        """Write a sheet of the event's images, marked, and return whether it succeeded."""
        from souron.kinds.codecs import animation
        from souron.kinds.codecs.provenance import Mark, save
        from souron.runs import folder as run_folder
        from souron.utils import files

        [sheet] = animation.frames([event.picture])
        try:
            args = run_folder.read_args(event.folder)
            data, run = Path(str(args["data"])).name, "unfinished"  # no weights of its own yet
            mark = Mark("souron", souron.__version__, args["system"], data, run, args["seed"])
            with files.atomically(self.picture) as beside:
                save(sheet, beside, mark, format="PNG")
        except UserError:
            return False
        return True


def described(event: Any) -> dict[str, Any]:
    """Return the non-empty fields of an event for a line."""
    folder = str(event.folder) if event.folder else None
    more = {
        "seconds_left": event.seconds_left,
        "text": event.text,
        "note": event.note,
        "values": event.values,
        "rows": event.rows,
        "folder": folder,
    }
    said = {name: value for name, value in more.items() if value not in (None, "", {}, [])}
    texts = {name: text for name, text in said.items() if name in ("text", "note")}
    return {"time": time.time(), "phase": event.phase, "fraction": event.fraction, **said, **_translations(texts)}


def _translations(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the texts in the other languages, for pages that show another one."""
    others = translated(texts)
    return {"translated": others} if others else {}
