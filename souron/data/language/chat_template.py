"""Render a conversation as text with the chat template that a model was published with.

A template is a program from an untrusted source. It runs in jinja2's sandbox, which gives it no
access to files or Python's internals, in a separate process with limits on memory and time. The
process is reused for the next template as long as it stays within the limits.
"""

import atexit
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from souron.kinds.chat import Turn
from souron.utils.messages import UserError, _

MOST_LETTERS = 2_000_000  # characters that the template may add around the turns
MOST_TEMPLATE = 200_000  # characters
MEMORY = 256 * 2**20  # bytes
KEEPS_MEMORY = sys.platform == "linux"  # macOS accepts such a limit but does not enforce it
SECONDS = 2.0  # of processor time
PATIENCE = 20.0  # seconds of wall time to wait for the process, also on a busy machine


def parts(
    template: str, turns: Sequence[Turn], answer: bool = False, names: Mapping[str, str] | None = None
) -> Iterator[str | Turn]:
    """Yield a conversation as the template arranges it: the template's own texts, which may hold
    special tokens, and between them the turns, as far as the template includes them. With
    ``answer``, it ends where the assistant's reply begins; ``names`` holds the special tokens that
    the template calls ``bos_token`` and ``eos_token``. Raises UserError if the template fails or
    alters the turns.
    """
    mark = str(uuid.uuid4().int)  # unguessable, and no filter changes digits
    messages = [
        {"role": turn.role, "content": _marked(turn, f"{mark}{number:06}")} for number, turn in enumerate(turns)
    ]
    text = _rendered(template, messages, answer, names or {})
    signs = re.compile(f"{mark}(\\d{{6}})([01])")
    left = signs.sub("", text)
    if any(part in left for part in (mark[:12], mark[-12:], mark[:12][::-1])):
        raise _failure(_("it takes apart what was written"))
    open_at, end = None, 0  # the turn that is being read, and the end of the last mark
    for sign in signs.finditer(text):
        number, begins = int(sign[1]), sign[2] == "1"
        if begins == (open_at is not None) or (not begins and number != open_at):
            raise _failure(_("it takes apart what was written"))
        if begins and sign.start() > end:
            yield text[end : sign.start()]
        elif not begins:
            yield Turn(turns[number].role, text[end : sign.start()])
        open_at, end = (number if begins else None), sign.end()
    if open_at is not None:
        raise _failure(_("it takes apart what was written"))
    if end < len(text):
        yield text[end:]


THOUGHT = re.compile("(</?think>)")  # templates split an assistant's turn at these tags


def _marked(turn: Turn, mark: str) -> str:
    """Put marks around the text of a turn to recognise it in the output. Surrounding whitespace
    stays outside of the marks, since templates strip it."""
    pieces = THOUGHT.split(turn.text) if turn.role == "assistant" else [turn.text]
    if len(pieces) == 1:
        return _between(turn.text, mark)
    whole = (not piece or THOUGHT.fullmatch(piece) for piece in pieces)
    return "".join(piece if known else _between(piece, mark) for piece, known in zip(pieces, whole, strict=True))


def _between(text: str, mark: str) -> str:
    core = text.strip()
    before = text[: len(text) - len(text.lstrip())]
    return f"{before}{mark}1{core}{mark}0{text[len(before) + len(core) :]}"


def shown(template: str, turns: Sequence[Turn], answer: bool = False, names: Mapping[str, str] | None = None) -> str:
    """Return the rendered conversation as one text, as the model receives it."""
    return "".join(part.text if isinstance(part, Turn) else part for part in parts(template, turns, answer, names))


def _rendered(template: str, messages: list[dict[str, str]], answer: bool, names: Mapping[str, str]) -> str:
    given = {
        "messages": messages,
        "add_generation_prompt": answer,
        "tools": None,
        "bos_token": "",
        "eos_token": "",
        **names,
    }
    if len(template) > MOST_TEMPLATE:
        raise _failure(_("over {count} characters").format(count=MOST_TEMPLATE))
    written = sum(len(message["content"]) for message in messages)
    limits = {
        "memory": MEMORY + 40 * written,
        "kept": KEEPS_MEMORY,
        "seconds": SECONDS + written / 1e6,
        "letters": MOST_LETTERS + 2 * written,
    }
    found = _asked({"template": template, "limits": limits, "given": given})
    if "text" in found:
        return str(found["text"])
    raise _failure(str(found["error"]) if "error" in found else _exceeded(found["exceeded"]))


def _failure(why: str) -> UserError:
    return UserError(
        "template",
        _("the model's template for conversations fails: {why}").format(why=why),
        expected=_("a Jinja template, as models are published with"),
        fix=_("let it complete a plain text"),
        exit=3,
    )


def _exceeded(what: str) -> str:
    if what == "letters":
        return _("over {count} characters are produced").format(count=MOST_LETTERS)
    if what == "memory":
        return _("it takes more than {size} MB of memory").format(size=MEMORY // 2**20)
    return _("it takes more than {seconds:g} s, or broke off").format(seconds=SECONDS)


class Worker:
    """A process that renders one template after another."""

    def __init__(self) -> None:
        file = Path(__file__).with_name("template_worker.py")
        self.process = subprocess.Popen(  # -P: import no module from souron's or a user's folder
            [sys.executable, "-P", str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.memory_exceeded = False

    def render(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the answer, or the limit that was exceeded."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        done = threading.Event()
        most = asked["limits"]["memory"]
        watch = threading.Thread(target=self._watch, args=(done, most), daemon=True)
        watch.start()
        try:
            stdin.write(json.dumps(asked).encode() + b"\n")
            stdin.flush()
            answer: dict[str, Any] = json.loads(stdout.readline())
            return answer
        except (OSError, ValueError):  # the process has ended, or was killed
            return {"exceeded": "memory" if self.memory_exceeded else "seconds"}
        finally:
            done.set()
            watch.join()

    def _watch(self, done: threading.Event, most: int) -> None:
        """Kill the process if it exceeds its memory or time; some operating systems do not enforce
        limits."""
        end = time.monotonic() + PATIENCE
        with contextlib.suppress(psutil.Error):  # the process has ended by itself
            process = psutil.Process(self.process.pid)
            while not done.wait(0.02):
                self.memory_exceeded = process.memory_info().rss > most
                if self.memory_exceeded or time.monotonic() > end:
                    self.process.kill()
                    return

    def close(self) -> None:
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # unwritten data is discarded
                    stream.close()
        self.process.wait()


_lock = threading.Lock()
_idle: list[Worker] = []


def _asked(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of a worker; one that exceeded a limit is not used again."""
    with _lock:
        worker = _idle.pop() if _idle else Worker()
        found: dict[str, Any] = {}
        try:
            found = worker.render(asked)
        finally:
            if "text" in found or "error" in found:
                _idle.append(worker)
            else:
                worker.close()
    return found


@atexit.register
def stop() -> None:
    while _idle:
        _idle.pop().close()


def _forget() -> None:
    """Drop the workers after a fork: the child has the pipes of its parent's workers and must not
    write to them."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
