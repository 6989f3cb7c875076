"""The tour: the lecture's chapters in a few minutes, on the data that is there."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from souron.data import load
from souron.hub import zoo
from souron.lecture import society_tour
from souron.runs import compare, ready, train
from souron.runs import events as runs_events
from souron.runs.events import Event
from souron.utils.messages import _

SAMPLES = 200  # pictures that each generator is judged by
DRAW = "vae dcgan ddpm"  # those that draw digits after so short a training
DRAW_BUDGET = "15s"
FINDERS = "yolo_lite ssd_lite"  # and those that find boxes
SEGMENTERS = "unet_lite fcn_lite"
FIND_BUDGET = "25s"
ENLARGER = "srgan"  # which makes photographs twice as large
ENLARGE_BUDGET = "30s"
WRITERS = "ngram gpt_tiny"  # and those that go on with texts
WRITE_BUDGET = "20s"
HISTORY = "mlp cnn alexnet vgg googlenet resnet densenet vit mlp_mixer"


def touring(
    *, budget: str = "4s", seeds: int = 3, data: str = "", project: str | Path = "runs"
) -> Iterator[Event]:
    """What comes ready trained, at work; then, trained live, groups and names of real digits and
    three ways to draw; then detection, segmentation, one sentence in two languages drawn, a
    photograph enlarged, a tune set for four voices, and language, ready trained and live; then
    society: drawn or real, an answer checked, an occupation, improper output; at last the history
    of classification.

    Where the package ``souron-zoo`` is not installed, nothing is shown ready trained. The last
    comparison runs on Fashion-MNIST where it is there, else on scikit-learn's digits. Each
    stop of the tour ends with an event that carries its record; the last one is the comparison's.
    """
    stops = (
        *_ready(_("ready trained:"), ("classify", "generate"), "ready", project),
        (
            _("clustering digits:"),
            train.training("kmeans", "digits", budget="30ep", project=project),
        ),
        (_("naming digits:"), train.training("mlp", "digits", budget="3s", project=project)),
        (
            _("GAN or diffusion:"),
            compare.comparing(
                DRAW.split(),
                "digits",
                budget=DRAW_BUDGET,
                seeds=1,
                samples=SAMPLES,
                name="tour-generate",
                project=project,
            ),
        ),
        *_ready(_("detection:"), ("detect", "pose", "keypoints"), "ready-detection", project),
        (_("detectors:"), _fight(FINDERS, "tour-detect", project)),
        *_ready(
            _("segmentation:"),
            ("segment", "segment_instances", "segment_panoptic", "segment_volume"),
            "ready-segmentation",
            project,
        ),
        (_("segmenters:"), _fight(SEGMENTERS, "tour-segment", project)),
        *_ready(_("words and pictures:"), ("text_to_image",), "ready-words", project),
        (
            _("a photograph enlarged:"),
            train.training(ENLARGER, "photo_patches", budget=ENLARGE_BUDGET, project=project),
        ),
        *_ready(_("music:"), ("compose",), "ready-music", project),
        *_ready(_("language:"), ("complete",), "ready-language", project),
        (
            _("language models:"),
            compare.comparing(
                WRITERS.split(),
                "manners",
                budget=WRITE_BUDGET,
                seeds=1,
                name="tour-language",
                project=project,
            ),
        ),
        *society_tour.stops(project),
        (
            _("fair fight:"),
            compare.comparing(
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
        yield from runs_events.changed(events, partial(titled, title))


def _ready(
    title: str, tasks: tuple[str, ...], name: str, project: str | Path
) -> list[tuple[str, Iterator[Event]]]:
    return [(title, ready.showing(tasks, project, name))] if zoo.root() else []


def _fight(systems: str, name: str, project: str | Path) -> Iterator[Event]:
    return compare.comparing(
        systems.split(), "drawn_scenes", budget=FIND_BUDGET, seeds=1, name=name, project=project
    )


def titled(title: str, event: Event) -> Event:
    return replace(event, text=f"{title} {event.text}".strip())


def default_data() -> str:
    """``fashion`` where it is there, else ``digits``."""
    return "fashion" if load.names()["fashion"].where() else "digits"
