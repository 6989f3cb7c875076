"""An engine for a whole evaluation: it answers from the first case, and never begins in the middle."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch

from souron.data.dataset import Dataset
from souron.evaluation import familiarity
from souron.evaluation.familiarity import Gauge
from souron.inference.engine import Engine
from souron.inference.outer_calls import recording

Naming = Callable[[], str]


def hastening(
    mode: str, notice: Callable[[str], None]
) -> Callable[[Any, Dataset, Path | None], AbstractContextManager[Naming]]:
    """Return what lets an engine answer an evaluation, for ``runs.evaluate.examine``.

    With "auto" it is a build that an earlier command has stored, else none; with a named precision
    it is built first. The same files give the same figures, however fast the computer is.
    """

    @contextmanager
    def hasten(system: Any, cases: Dataset, folder: Path | None) -> Iterator[Naming]:
        file = folder / familiarity.FILE if folder else None
        layers = [*Gauge.read(file).layers] if file is not None and file.is_file() else []
        engine = Engine(system, mode=mode, folder=folder, layers=layers, notice=notice)
        if engine.state == "new" and len(cases):
            system.eval()
            with torch.no_grad(), recording(system) as calls:
                system.validate(system.loader(cases.only([0])))
            engine.prepare(calls)
        engine.count.fast = engine.count.eager = 0
        try:
            yield lambda: engine.name
        finally:
            engine.close()

    return hasten
