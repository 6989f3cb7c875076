"""Independent units of a long computation on an engine: answers of a model, images of a generator.

    for key, result in workers.gather("processes:4", function, [(key, arguments), ...], systems=["gpt"]):

A unit draws its random numbers by a seed among its arguments, so that its result is the same on any
worker.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from souron.engines import engine
from souron.engines.engine import Key
from souron.hub import names
from souron.runs import folder as run_folder
from souron.runs.elsewhere.rounds import Agreement


def gather(
    on: str, function: Callable[..., Any], parts: Iterable[tuple[Key, tuple[Any, ...]]], systems: Sequence[str] = ()
) -> Iterator[tuple[Key, Any]]:
    """Run ``function(*arguments)`` for each part on an engine and yield ``(key, result)`` as they arrive.

    Each computes with as many threads as this process, or with its share of one computer's. A
    worker with another version, other code, or other weights of the named ``systems`` is refused.
    Raises UserError; whatever the function raises.
    """
    common = (Agreement.here(weights=weights(systems)), engine.threads(on), tuple(systems), function)
    return engine.gather(on, run, ((key, (*common, *given)) for key, given in parts))


def run(agreement: Agreement, threads: int, systems: Sequence[str], function: Callable[..., Any], *given: Any) -> Any:
    """Run one unit on this machine. Raises UserError where it does not agree with the caller."""
    torch.set_num_threads(threads)
    agreement.check(Agreement.here(weights=weights(systems)))
    return function(*given)


def weights(systems: Sequence[str]) -> str:
    """Return a hash of the files of runs and ready-trained systems; "" where none is named.

    Published weights are checked by their own hash when they are fetched.
    """
    meanings = [names.resolve(name) for name in systems]
    runs = [run_folder.hashes(run_folder.folder_of(one)) for one in meanings if isinstance(one, names.Run)]
    return hashlib.sha256(json.dumps(runs).encode()).hexdigest()[:16] if runs else ""


def loaded(load: Callable[[str], Any], name: str) -> Any:
    """Return ``load(name)``, which a worker keeps until it needs another system or other weights."""
    return _loaded(load, name, weights([name]))


@lru_cache(1)
def _loaded(load: Callable[[str], Any], name: str, weights: str) -> Any:
    return load(name)


def anywhere(name: str) -> str:
    """Return the path of a file or folder as an absolute one, since a worker may run elsewhere; a name as it is.

    Example:
        >>> anywhere("gpt")
        'gpt'
    """
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() and names.by_name(name) is None else name


def slices(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yield ``size`` items at a time.

    Example:
        >>> list(slices("abcde", 2))
        ['ab', 'cd', 'e']
    """
    for start in range(0, len(items), size):
        yield items[start : start + size]
