"""What comes ready trained, shown at work: each classifier names pictures that it never saw, each
generator draws some."""

import time
from collections.abc import Iterator
from pathlib import Path

import torch

from souron.evaluation import sampling
from souron.hub import zoo
from souron.kinds import signature
from souron.kinds.picture import Picture
from souron.runs import folder as run_folder
from souron.runs.events import Event
from souron.runs.record import ReadyRecord
from souron.utils import files
from souron.utils.messages import _

DRAWN = 10  # pictures of each generator


@torch.no_grad()
def showing(project: str | Path = "runs", name: str = "ready") -> Iterator[Event]:
    """Ask every system that comes ready trained; the last event carries a ``ReadyRecord``, whose
    folder holds ``ready.html``. Raises UserError where one is not as it was packed."""
    from souron.report import report

    begun = time.perf_counter()
    examples = [Picture.read(file) for file in zoo.examples()]
    record = ReadyRecord(files.new_folder(Path(project), name), zoo.examples())
    found = [(name, folder) for name in zoo.names() if (folder := run_folder.ready(name))]
    for number, (name, folder) in enumerate(found):
        yield Event("test", number / len(found), text=name)
        system = run_folder.load(folder)
        asked = signature.signature(type(system))
        if asked is not None and asked.given is Picture:
            record.answers[name] = [system.predict(picture).best for picture in examples]
        elif hasattr(system, "drawing"):
            *_before, drawn = sampling.draw(system, sampling.Noise(1, range(DRAWN)))
            record.drawings[name] = drawn
    yield Event("report", text=str(record.folder))
    report.ready_page(record)
    record.seconds = time.perf_counter() - begun
    yield Event("done", 1.0, text=_("done"), record=record)
