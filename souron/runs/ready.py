"""Demonstrate the ready-trained systems on held-out cases, and let generators generate."""

import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from souron import registry
from souron.evaluation.generators import sampling
from souron.evaluation.record import ReadyRecord
from souron.hub import zoo
from souron.kinds import signature
from souron.kinds.picture import Picture
from souron.runs import folder as run_folder
from souron.runs.events import Event
from souron.utils import files
from souron.utils.messages import _

DRAWN = 10  # images per generator
PROMPTS = ("a blue bird on the left, on grass", "草の上の左側に、一羽の青い鳥")  # in turn


@torch.no_grad()
def showing(tasks: Collection[str] = (), project: str | Path = "runs", name: str = "ready") -> Iterator[Event]:
    """Run every ready-trained system of these tasks, or of all.

    The last event carries a ``ReadyRecord``, whose folder holds ``ready.html``. Raises UserError if
    a system's files differ from the packed ones.
    """
    from souron.report import report

    begun = time.perf_counter()
    record = ReadyRecord(files.new_folder(Path(project), name))
    every = [*zoo.names(), *zoo.variants()]
    names = [name for name in every if not tasks or registry.find(zoo.system_of(name))[0].task in tasks]
    found = [(name, folder) for name in names if (folder := run_folder.ready(name))]
    for number, (name, folder) in enumerate(found):
        yield Event("test", number / len(found), text=name)
        system = run_folder.load(folder)
        asked = signature.signature(type(system))
        if hasattr(system, "drawing") and (asked is None or asked.gives is Picture):
            turns = [PROMPTS[i % len(PROMPTS)] for i in range(DRAWN)]
            sentences = turns if system.prompted else None
            noise = sampling.Noise(1, range(DRAWN))
            record.drawings[name] = sampling.done(sampling.draw(system, noise, sentences))
            record.prompts[name] = sentences or []
        elif asked is not None:
            record.examples[name] = zoo.examples(folder)
            read: list[Any] = [asked.given.read(file, **system.reading()) for file in record.examples[name]]
            given = [replace(one, file=one.file and Path(one.file).name) for one in read]
            record.answers[name] = [system.predict(one, **zoo.asked(folder)) for one in given]
    yield Event("report", text=str(record.folder))
    report.ready_page(record)
    record.seconds = time.perf_counter() - begun
    yield Event("done", 1.0, text=_("done"), record=record)
