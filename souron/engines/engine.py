"""The contract of an engine, and how its work is handed out and gathered.

An engine is one file of ``engines/``, here or in another distribution; its name is the word before
the colon of ``on=processes:4``. It has

    opened(address, threads) a context manager that yields a ``concurrent.futures.Executor``
    opened_on(address, threads, host, delivery)  the same with the workers of one computer alone, by the
                             name that ``platform.node()`` gives there, or "", and after a delivery to
                             each of its workers, or None; for engines that can choose
    is_private(address)      whether what travels stays on this computer or is encrypted; without it no
    SHARES_FILES = True      for workers that see this computer's files
    threads(address)         how many threads a part computes with; without it as many as here
    most(address, threads)   how many parts are handed out and not yet back; without it IN_FLIGHT

souron schedules nothing itself: order, transport and the start of workers are the engine's. Nothing
of an engine is imported unless ``on=`` names it.

An error of the function travels home as its result. So whatever a future itself raises is the
engine's: a worker that was lost, or an object that could not be sent.
"""

import copy
import importlib
import traceback
import unicodedata
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from souron.utils import distributions
from souron.utils.messages import UserError, _

Key = TypeVar("Key", bound=Hashable)
ATTEMPTS = 3  # workers that a part may lose before it counts as their cause
IN_FLIGHT = 256  # parts that are handed out and not yet back
LOOK = 0.5  # seconds between two looks for Ctrl-C
CONTROL = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories of what no line of a script holds


class Engine(Protocol):
    def opened(self, address: str, threads: int) -> AbstractContextManager[Executor]: ...


class Delivery(NamedTuple):
    """Content that each computer keeps once, by its hash."""

    key: str
    content: bytes
    lacks: Callable[[str], bool]  # key -> whether the computer does not have it
    keep: Callable[[str, bytes], None]  # by key

    def here(self) -> None:
        if self.lacks(self.key):
            self.keep(self.key, self.content)


class Outcome(NamedTuple):
    """The result of a function, or the error that it raised."""

    result: Any
    error: Exception | None = None


def schemes() -> list[str]:
    """Return the names of all engines, without importing them."""
    return [name for name in distributions.names("engines") if name != "engine"]


def find(on: str) -> tuple[Engine, str]:
    """Return the engine that ``on`` names, and the address behind the colon. Raises UserError.

    Example:
        >>> engine, address = find("processes:2")
        >>> engine.__name__, address
        ('souron.engines.processes', '2')
    """
    scheme, _colon, address = on.partition(":")
    distributions.check(f"engines/{scheme}")
    if scheme not in schemes():
        raise UserError(
            "engine", _("{name} is no engine").format(name=on), expected=", ".join(schemes()), fix="on=processes:2"
        )
    try:
        module = importlib.import_module(f"souron.engines.{scheme}")
    except ImportError as error:
        raise UserError(
            "engine",
            _("{name} needs a package that is not installed: {package}").format(name=scheme, package=error.name),
            fix=f"pip install {error.name}",
        ) from error
    return cast(Engine, module), address.removeprefix("//")


def threads(on: str) -> int:
    """Return how many threads each part computes with: as here, or a fair share of one computer.

    Raises UserError.
    """
    import torch

    engine, address = find(on)
    return int(engine.threads(address)) if hasattr(engine, "threads") else torch.get_num_threads()


def most(on: str) -> int:
    """Return how many parts an engine is handed at most that are not yet back. Raises UserError."""
    engine, address = find(on)
    return int(engine.most(address, threads(on))) if hasattr(engine, "most") else IN_FLIGHT


def check_line(text: str) -> str:
    """Return a text that may stand in a line of a job script.

    Raises UserError for line breaks and other control characters, after which the script would go on otherwise.
    """
    if any(unicodedata.category(sign) in CONTROL for sign in text):
        raise UserError(
            "engine",
            _("{text!r} cannot stand in a job script").format(text=text),
            expected=_("a name without line breaks and control characters"),
        )
    return text


def check_choice(on: str) -> None:
    """Raise UserError unless the engine can choose the computer of a part."""
    if not hasattr(find(on)[0], "opened_on"):
        raise UserError(
            "engine",
            _("{name} cannot choose the computer of a part").format(name=on),
            expected="on=dask://HOST:PORT",
            fix="budget=10min@here",
        )


def check_private(on: str) -> None:
    """Raise UserError unless what is sent stays on this computer or is encrypted on its way."""
    engine, address = find(on)
    if not hasattr(engine, "is_private") or not cast(Any, engine).is_private(address):
        raise not_private(on)


def not_private(on: str) -> UserError:
    return UserError(
        "send",
        _("{name} would send data that others in the network can read").format(name=on),
        expected=_("an encrypted connection, or workers of this computer"),
        fix="on=dask:tls://HOST:PORT, or on=processes:2",
    )


def gather(
    on: str,
    function: Callable[..., Any],
    parts: Iterable[tuple[Key, tuple[Any, ...]]],
    host: str = "",
    delivery: Delivery | None = None,
) -> Iterator[tuple[Key, Any]]:
    """Run ``function(*arguments)`` for each ``(key, arguments)`` and yield ``(key, result)`` as they arrive.

    Parts are taken as they are needed, ``most`` ahead. One whose worker is lost is handed out
    again. ``host`` names the only computer that may compute; "" for all. Each computer gets the
    ``delivery`` before its first part. The first error of the function ends all, as does closing
    the iterator or Ctrl-C in its consumer: what waits is cancelled.

    Raises UserError; whatever the function raises.
    """
    left, again = iter(parts), deque[tuple[Key, tuple[Any, ...]]]()
    losses: dict[Key, int] = {}
    over, ahead = False, most(on)
    while not over:
        flying: dict[Future[Any], tuple[Key, tuple[Any, ...]]] = {}
        with opened(on, host, delivery) as executor:
            try:
                broken = False
                while not broken:
                    while len(flying) < ahead and (part := again.popleft() if again else next(left, None)):
                        flying[executor.submit(attempt, function, part[1])] = part
                    if not flying:
                        over = True
                        break
                    for future in wait(flying, timeout=LOOK, return_when=FIRST_COMPLETED).done:
                        key, given = flying.pop(future)
                        trouble = CancelledError() if future.cancelled() else future.exception()
                        if trouble is not None:
                            losses[key] = losses.get(key, 0) + 1
                            if losses[key] >= ATTEMPTS:
                                raise worker_lost(trouble) from trouble
                            again.append((key, given))
                            broken = broken or isinstance(trouble, BrokenExecutor | CancelledError)
                            continue
                        outcome: Outcome = future.result()
                        if outcome.error is not None:
                            raise outcome.error
                        yield key, outcome.result
                again.extend(flying.values())
            finally:
                for future in flying:
                    future.cancel()


def opened(on: str, host: str, delivery: Delivery | None) -> AbstractContextManager[Executor]:
    engine, address = find(on)
    if host:
        check_choice(on)
    if delivery is not None:
        check_private(on)
    if delivery is not None and getattr(engine, "SHARES_FILES", False):
        delivery.here()
    elif host or delivery is not None:
        return cast(Any, engine).opened_on(address, threads(on), host, delivery)
    return engine.opened(address, threads(on))


def attempt(function: Callable[..., Any], given: tuple[Any, ...]) -> Outcome:
    """Call a function on a worker; its error becomes a part of the outcome."""
    try:
        return Outcome(function(*given))
    except Exception as error:
        try:
            copy.deepcopy(error)  # as it is taken apart and put together on its way home
        except Exception:
            return Outcome(None, RuntimeError("".join(traceback.format_exception(error))))
        return Outcome(None, error)


def worker_lost(error: BaseException) -> UserError:
    return UserError(
        "engine",
        _("{count} workers were lost with the same part of the work: {error}").format(
            count=ATTEMPTS, error=str(error)[:300] or type(error).__name__
        ),
        expected=_("souron and enough memory on each machine, and a connection that holds"),
    )
