"""How a conversation becomes a text: the template that a model was published with.

A template is a program from a stranger. It runs in jinja2's sandbox, which gives it no way to
files or Python's insides, in a process that may take so much memory and time and no more. The
process stays for the next template as long as it behaves.
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

MOST_LETTERS = 2_000_000  # of what it puts around the turns
MOST_TEMPLATE = 200_000  # letters
MEMORY = 256 * 2**20  # bytes
KEEPS_MEMORY = sys.platform == "linux"  # macOS takes such a limit and does not keep it
SECONDS = 2.0  # of the processor
PATIENCE = 20.0  # seconds that are waited for it, on a busy machine too


def parts(
    template: str,
    turns: Sequence[Turn],
    answer: bool = False,
    names: Mapping[str, str] | None = None,
) -> Iterator[str | Turn]:
    """A conversation as the template arranges it: its own texts, which may hold special tokens, and
    between them the turns. ``answer``: it ends where the assistant is to go on; ``names``: the
    special tokens that the template calls ``bos_token`` and ``eos_token``. Raises UserError.
    """
    mark = uuid.uuid4().hex  # nobody can have written it
    messages = [
        {"role": turn.role, "content": f"{mark}:{number}:"} for number, turn in enumerate(turns)
    ]
    text = _rendered(template, messages, answer, names or {})
    end = 0
    for found in re.finditer(f"{mark}:(\\d+):", text):
        if found.start() > end:
            yield text[end : found.start()]
        yield turns[int(found[1])]
        end = found.end()
    if end < len(text):
        yield text[end:]


def shown(
    template: str,
    turns: Sequence[Turn],
    answer: bool = False,
    names: Mapping[str, str] | None = None,
) -> str:
    """The text that a model sees."""
    return "".join(
        part.text if isinstance(part, Turn) else part
        for part in parts(template, turns, answer, names)
    )


def _rendered(
    template: str, messages: list[dict[str, str]], answer: bool, names: Mapping[str, str]
) -> str:
    given = {
        "messages": messages, "add_generation_prompt": answer, "tools": None, "bos_token": "",
        "eos_token": "", **names,
    }  # fmt: skip
    if len(template) > MOST_TEMPLATE:
        raise _failure(_("over {count} letters").format(count=MOST_TEMPLATE))
    memory = MEMORY if KEEPS_MEMORY else 0
    limits = {"memory": memory, "seconds": SECONDS, "letters": MOST_LETTERS}
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
        return _("over {count} letters come out").format(count=MOST_LETTERS)
    if what == "memory":
        return _("it takes more than {size} MB of memory").format(size=MEMORY // 2**20)
    return _("it takes more than {seconds:g} s, or broke off").format(seconds=SECONDS)


class Worker:
    """A process that renders one template after the other."""

    def __init__(self) -> None:
        file = Path(__file__).with_name("template_worker.py")
        self.process = subprocess.Popen(  # -P: no file of souron or of a user's folder is a module
            [sys.executable, "-P", str(file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.memory_exceeded = False

    def render(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer, or which bound was exceeded."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        done = threading.Event()
        watch = threading.Thread(target=self._watch, args=(done,), daemon=True)
        watch.start()
        try:
            stdin.write(json.dumps(asked).encode() + b"\n")
            stdin.flush()
            answer: dict[str, Any] = json.loads(stdout.readline())
            return answer
        except (OSError, ValueError):  # it has ended, or was ended
            return {"exceeded": "memory" if self.memory_exceeded else "seconds"}
        finally:
            done.set()
            watch.join()

    def _watch(self, done: threading.Event) -> None:
        """End the process where it grows or stays too long, which some systems do not do."""
        end = time.monotonic() + PATIENCE
        with contextlib.suppress(psutil.Error):  # it has ended by itself
            process = psutil.Process(self.process.pid)
            while not done.wait(0.02):
                self.memory_exceeded = process.memory_info().rss > MEMORY
                if self.memory_exceeded or time.monotonic() > end:
                    self.process.kill()
                    return

    def close(self) -> None:
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was to be written goes nowhere
                    stream.close()
        self.process.wait()


_lock = threading.Lock()
_idle: list[Worker] = []


def _asked(asked: dict[str, Any]) -> dict[str, Any]:
    """What a worker answers; one that exceeded a bound is not asked again."""
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
    """A forked process has the pipes of its parent's worker, and must not speak into them."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
