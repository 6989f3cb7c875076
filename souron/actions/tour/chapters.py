"""Chapters of the tour: families of systems at work, and trained live.

Each chapter is a sequence of stops, and each stop a generator of events whose last one carries its
record. Stops that need the package ``souron-zoo`` are left out where it is not installed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from souron.actions.tour import society_tour
from souron.data import load
from souron.hub import zoo
from souron.runs import compare, ready, train
from souron.runs import events as runs_events
from souron.runs.events import Event
from souron.utils.messages import N_, Message, UserError, _, near

SAMPLES = 200  # images generated to evaluate each generator
DRAW = "vae dcgan ddpm"  # generators that produce digits after a short training
DRAW_BUDGET = "15s"
FINDERS = "yolo_lite ssd_lite"  # detectors
SEGMENTERS = "unet_lite fcn_lite"
FIND_BUDGET = "20s"
ENLARGER = "srgan"  # enlarges photographs by a factor of 2
ENLARGE_BUDGET = "30s"
WRITERS = "ngram gpt_tiny"  # language models that continue texts
WRITE_BUDGET = "20s"
HISTORY = "mlp cnn alexnet vgg googlenet resnet densenet vit mlp_mixer"

Stop = tuple[str, Iterator[Event]]  # (title, events)


@dataclass(frozen=True)
class Given:
    """Options of a chapter."""

    project: str = "runs"
    data: str = ""  # of the fair fight; its default: ``default_data``
    budget: str = "3s"
    seeds: int = 3


@dataclass(frozen=True)
class Chapter:
    name: str
    title: str  # English, the key of its translation
    stops: Callable[[Given], list[Stop]]


def classification(given: Given) -> list[Stop]:
    learn = partial(train.training, project=given.project)
    return [
        *_ready(_("ready trained:"), ("classify",), "ready", given),
        (_("clustering digits:"), learn("kmeans", "digits", budget="30ep")),
        (_("naming digits:"), learn("mlp", "digits", budget="3s")),
    ]


def generation(given: Given) -> list[Stop]:
    contest = compare.comparing(
        DRAW.split(),
        "digits",
        budget=DRAW_BUDGET,
        seeds=1,
        samples=SAMPLES,
        name="tour-generate",
        project=given.project,
    )
    return [*_ready(_("ready trained:"), ("generate",), "ready-generation", given), (_("GAN or diffusion:"), contest)]


def detection(given: Given) -> list[Stop]:
    return [
        *_ready(_("detection:"), ("detect", "pose", "keypoints"), "ready-detection", given),
        (_("detectors:"), _fight(FINDERS, "tour-detect", given)),
    ]


def segmentation(given: Given) -> list[Stop]:
    tasks = ("segment", "segment_instances", "segment_panoptic", "segment_volume")
    return [
        *_ready(_("segmentation:"), tasks, "ready-segmentation", given),
        (_("segmenters:"), _fight(SEGMENTERS, "tour-segment", given)),
    ]


def language(given: Given) -> list[Stop]:
    contest = compare.comparing(
        WRITERS.split(), "manners", budget=WRITE_BUDGET, seeds=1, name="tour-language", project=given.project
    )
    return [*_ready(_("language:"), ("complete",), "ready-language", given), (_("language models:"), contest)]


def words(given: Given) -> list[Stop]:
    enlarge = train.training(ENLARGER, "photo_patches", budget=ENLARGE_BUDGET, project=given.project)
    return [
        *_ready(_("words and pictures:"), ("text_to_image",), "ready-words", given),
        (_("a photograph enlarged:"), enlarge),
        *_ready(_("music:"), ("compose",), "ready-music", given),
    ]


def society(given: Given) -> list[Stop]:
    return society_tour.stops(given.project)


def fair_fight(given: Given) -> list[Stop]:
    contest = compare.comparing(
        HISTORY.split(),
        given.data or default_data(),
        budget=given.budget,
        seeds=given.seeds,
        name="tour",
        project=given.project,
    )
    return [(_("fair fight:"), contest)]


CHAPTERS = {
    chapter.name: chapter
    for chapter in (
        Chapter("classification", N_("Classification"), classification),
        Chapter("generation", N_("Generation"), generation),
        Chapter("detection", N_("Detection"), detection),
        Chapter("segmentation", N_("Segmentation"), segmentation),
        Chapter("language", N_("Language"), language),
        Chapter("words", N_("Words, images and music"), words),
        Chapter("society", N_("AI and society"), society),
        Chapter("fair-fight", N_("Fair fight"), fair_fight),
    )
}


def find(name: str) -> Chapter:
    """Return the chapter of that name. Raises UserError."""
    if name not in CHAPTERS:
        raise UserError(
            "chapter",
            _("no chapter is named {name!r}").format(name=name),
            expected=", ".join([*CHAPTERS, "all"]),
            fix=f"souron tour {near(name, list(CHAPTERS)).partition(',')[0] or 'classification'}",
        )
    return CHAPTERS[name]


def touring(name: str, given: Given | None = None) -> Iterator[Event]:
    """Run one chapter; each stop ends with an event that carries its record. Raises UserError."""
    for title, events in find(name).stops(given or Given()):
        yield from runs_events.changed(events, partial(_titled, title))


def _ready(title: str, tasks: tuple[str, ...], name: str, given: Given) -> list[Stop]:
    return [(title, ready.showing(tasks, given.project, name))] if zoo.root() else []


def _fight(systems: str, name: str, given: Given) -> Iterator[Event]:
    return compare.comparing(
        systems.split(), "drawn_scenes", budget=FIND_BUDGET, seeds=1, name=name, project=given.project
    )


def _titled(title: str, event: Event) -> Event:
    return replace(event, text=Message(" ").join(filter(None, (title, event.text))))


def default_data() -> str:
    """Return ``fashion`` where it is downloaded, else ``digits``."""
    return "fashion" if load.names()["fashion"].where() else "digits"
