"""The process that renders chat templates, with as few dependencies as possible.

Requests and answers are lines of JSON. The sandbox denies a template access to files and Python's
internals; the limits of this process bound its time and memory. It is run as a file, so that
nothing of souron is imported.

    {"template": ..., "limits": {...}, "given": {...}}   ->   {"text": ...}
                                                            or {"error": ...}, {"exceeded": ...}
"""

import json
import signal
import sys
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


def refuse(message: str) -> None:
    raise ValueError(message)


@lru_cache(maxsize=4)
def _template(source: str) -> Template:
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    made.globals |= {"raise_exception": refuse, "strftime_now": lambda how: datetime.now().strftime(how)}
    return made.from_string(source)


def _limit(memory: int | None, seconds: float) -> None:
    """Limit the total memory, and the processor time from now on. On systems without such limits,
    such as Windows, the calling process enforces them."""
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime + seconds + 1)
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    limits = asked["limits"]
    try:
        _limit(limits["memory"] if limits["kept"] else None, limits["seconds"])
        text, size = [], 0
        for piece in _template(asked["template"]).generate(**asked["given"]):
            text.append(piece)
            size += len(piece)
            if size > limits["letters"]:
                return {"exceeded": "letters"}
        return {"text": "".join(text)}
    except MemoryError:
        return {"exceeded": "memory"}
    except Exception as error:  # a template may raise anything; the error is reported to the caller
        return {"error": (str(error) or type(error).__name__)[:200]}


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(_answer(json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
