"""The process that renders templates of conversations, with as little in it as can be.

It is asked by a line of JSON and answers with one. The sandbox keeps a template from files and
Python's insides; the limits of this process keep it from time and memory. It is run as a file, so
that nothing of souron is imported.

    {"template": ..., "limits": {...}, "given": {...}}   ->   {"text": ...}   or   {"error": ...}
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
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    made.globals |= {
        "raise_exception": refuse,
        "strftime_now": lambda how: datetime.now().strftime(how),
    }
    return made.from_string(source)


def _limit(memory: int | None, seconds: float) -> None:
    """Allow so much memory in all, and so much time of the processor from now on. A system without
    such limits, as Windows, leaves that to the process which asks."""
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
    except Exception as error:  # a template may raise anything; the one who asks hears of it
        return {"error": (str(error) or type(error).__name__)[:200]}


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(_answer(json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
