"""The tour: the lecture's chapters in a few minutes, on the data that is there."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from souron import comparing, running
from souron.data import loading
from souron.running import Event
from souron.speaking import _

HISTORY = "mlp cnn alexnet vgg googlenet resnet densenet vit mlp_mixer"


def touring(
    *, budget: str = "5s", seeds: int = 3, data: str = "", project: str | Path = "runs"
) -> Iterator[Event]:
    """Three systems of three rungs on real digits, then the history of image classification.

    The comparison runs on Fashion-MNIST where it is there, else on scikit-learn's digits. Each
    stop of the tour ends with an event that carries its record; the last one is the comparison's.
    """
    stops = (
        (
            _("grouping digits:"),
            running.training("kmeans", "digits", budget="30ep", project=project),
        ),
        (_("naming digits:"), running.training("mlp", "digits", budget="3s", project=project)),
        (
            _("drawing digits from noise:"),
            running.training("dcgan", "digits", budget="15s", project=project),
        ),
        (
            _("fair fight:"),
            comparing.comparing(
                HISTORY.split(),
                data or default_data(),
                budget=budget,
                seeds=seeds,
                name="tour",
                project=project,
            ),
        ),
    )
    for title, events in stops:
        for event in events:
            yield replace(event, text=f"{title} {event.text}".strip())


def default_data() -> str:
    """``fashion`` where it is there, else ``digits``."""
    return "fashion" if loading.names()["fashion"].where() else "digits"
