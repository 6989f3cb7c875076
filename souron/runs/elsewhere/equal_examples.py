"""A budget in seconds on one named machine, as the number of examples that every machine trains.

With ``budget=10min@HOST`` each system trains briefly on ``HOST`` once. The examples that 10 minutes fit
there are kept with the comparison, and all its rounds train that many, so that a slow machine takes
longer and changes nothing else.
"""

import platform
from collections.abc import Callable, Generator
from typing import Any

import torch

from souron.engines import engine
from souron.engines.engine import Delivery
from souron.runs.elsewhere.rounds import Agreement
from souron.runs.events import Event
from souron.training.budget import HERE
from souron.utils.messages import UserError, _


def is_here(host: str) -> bool:
    return host in (HERE, platform.node())


def check(host: str, on: str | None) -> None:
    """Raise UserError unless ``host``, "" for none, is this machine or one that the engine can choose."""
    if not host or is_here(host):
        return
    if on is None:
        raise UserError(
            "budget",
            _("{host} is not this computer, which is called {name}").format(host=host, name=platform.node()),
            expected=_("an engine that reaches it, or the word here"),
            fix=f"on=dask://HOST:PORT, or budget=10min@{HERE}",
        )
    engine.check_choice(on)


def measured(
    comparison: Any, measure: Callable[..., Any], on: str | None, delivery: Delivery | None = None
) -> Generator[Event, None, dict[str, Any]]:
    """Return ``machine``, ``threads``, and ``examples`` of one training of each system.

    ``measure`` does it on a worker, see ``compare.measure``. Raises UserError.
    """
    check(comparison.host, on)
    threads = engine.threads(on) if on else torch.get_num_threads()
    if not is_here(comparison.host):
        yield Event("forecast", text=_("measuring speed on {host}").format(host=comparison.host))
        sent = delivery.key if delivery else ""
        part = (comparison.args, threads, Agreement.here(comparison.everything), sent)
        [(_key, found)] = engine.gather(str(on), measure, [(0, part)], comparison.host, delivery)
        return dict(found)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)  # as in the rounds
    try:
        return dict((yield from comparison.measure()))
    finally:
        torch.set_num_threads(before)
