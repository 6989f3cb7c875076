"""Short demonstrations on one page: photographs first, a verdict on a table, and last how learning works.

Each part is a generator of events; the last event carries a ``Highlight``. No part needs a network
connection. Networks of ``souron-starters`` and a chat model are shown where they are installed. The last part
trains: two classifiers compete live for ten seconds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from souron import model as models_api
from souron.data.dataset import Rows
from souron.hub import fetch, zoo
from souron.kinds import files as kinds_files
from souron.kinds.cutout import Cutout
from souron.kinds.finding import unlike
from souron.kinds.graphics import overlay, rendering
from souron.kinds.graphics.rendering import View
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.picture import Picture
from souron.kinds.text import Text
from souron.kinds.volume import Volume
from souron.report.page import Plot
from souron.runs.events import Event, changed
from souron.utils import files, units
from souron.utils.messages import N_, UserError, _, language
from souron.utils.plotting import uri

PHOTOGRAPHS = {"chelsea": N_("a cat"), "coffee": N_("a cup of coffee")}
CLASSIFIER = "efficientnet_lite"
CUTTER = "u2net"
PHOTOGRAPHED = {"ssd_oid": "coffee", "nanodet": "astronaut", "movenet_lightning": "astronaut", CUTTER: "coffee"}
DETECTOR = "yolo"
SCENES = 3  # composed scenes for the detector
FOLDS = 10  # of the predictions that are judged
ORGANS = "unet_3d"
TURNS = 18  # images of one turn around the organs
PAINTER = "latent_diffusion"
PROMPTS = {"en": "a blue bird on the left, on grass", "ja": "草の上の左側に、一羽の青い鳥"}
PAINTED = 3
ASSISTANT = "smollm2"  # shown where it was fetched
WRITER = "gpt"
QUESTION = "Explain to a child in two sentences why teeth are brushed."  # the model knows English alone
REPLY = 80  # tokens of its answer
LENGTH = 48  # tokens of the continuation
GENERATORS = ("gan", "vae")  # whose images are detected
GENERATED = 100  # images of each
SHOWN = 4  # images of each, on the page
RACERS = ("mlp", "cnn")
RACE = {"budget": "2.5s", "seeds": 2}  # two systems, two seeds: ten seconds of training
WIDTH = 320  # pixels of an image on the page


@dataclass(frozen=True)
class Highlight:
    """The result of one part.

    Example:
        >>> Highlight(("Egyptian cat: 74 %",)).sentences[0]
        'Egyptian cat: 74 %'
    """

    sentences: tuple[str, ...]  # the result first
    images: tuple[Plot, ...] = ()
    limits: str = ""  # what the system does not know
    command: str = ""  # shows the same again
    page: Path | None = None  # a longer report of it


@dataclass(frozen=True)
class Part:
    name: str
    title: str  # English, the key of its translation
    run: Callable[[Path], Iterator[Event]] = field(repr=False)


def classify(_project: Path) -> Iterator[Event]:
    """Name the content of photographs with published ImageNet weights."""
    from skimage import data as photographs

    from souron.evaluation import gradcam
    from souron.report.plots import overlay as heated

    yield Event("answer", text=CLASSIFIER)
    model = models_api.load(CLASSIFIER, pretrained=True)
    sentences, images = [], []
    for number, (name, content) in enumerate(PHOTOGRAPHS.items()):
        yield Event("answer", number / len(PHOTOGRAPHS), text=CLASSIFIER)
        photograph = Picture(Image.fromarray(getattr(photographs, name)()))
        answer = model(photograph)
        pixels = photograph.square(model.system.spec.side, model.system.spec.channels)
        best = torch.tensor([model.system.spec.labels.index(answer.best[0])])
        heat = gradcam.heat(model.system, model.system.batch(Rows(pixels[None], None)).image, best)
        label, share = answer.best
        sentences.append(f"{_(content)}: {label}, {units.percent(share, 0)}")
        images.append(_plot(photograph.image, f"{label} {units.percent(share, 0)}"))
        images.append(_plot(heated(pixels, heat[0]), _("where the evidence lies (Grad-CAM)")))
    yield _done(
        Highlight(
            tuple(sentences),
            tuple(images),
            _(
                "EfficientNet-Lite0 knows the 1,000 classes of ImageNet, and nothing else: whatever it "
                "sees, it answers with one of them."
            ),
            "souron predict photo.jpg",
        )
    )


def detect(_project: Path) -> Iterator[Event]:
    """Find objects, cut one out and estimate a pose on photographs; on composed scenes without ``souron-starters``."""
    from skimage import data as photographs

    if any(fetch.where(name) is None for name in PHOTOGRAPHED):
        yield from detect_in_scenes()
        return
    sentences, images = [], []
    for number, (name, content) in enumerate(PHOTOGRAPHED.items()):
        yield Event("answer", number / len(PHOTOGRAPHED), text=name)
        answer = models_api.load(name)(Picture(Image.fromarray(getattr(photographs, content)())))
        drawn = _on_white(answer.cut()) if isinstance(answer, Cutout) else answer.drawn()
        sentences.append(f"{name}: {answer}")
        images.append(_plot(drawn, sentences[-1]))
    yield _done(
        Highlight(
            tuple(sentences),
            tuple(images),
            _(
                "Four networks that others trained on photographs: two of objects, one of a person's joints, one of "
                "what is in front. They know the kinds of things that they were trained on, and miss others."
            ),
            "souron predict nanodet photo.jpg",
        )
    )


def detect_in_scenes() -> Iterator[Event]:
    """Detect objects in scenes outside the training data, and show a low score on a photograph."""
    from skimage import data as photographs

    yield Event("answer", text=DETECTOR)
    model, scenes = _ready(DETECTOR)
    images, counts = [], []
    for number, file in enumerate(scenes[:SCENES]):
        yield Event("answer", number / SCENES, text=DETECTOR)
        answer = model(Picture.read(file))
        counts.append(str(answer))
        images.append(_plot(answer.drawn(), str(answer)))
    cat = model(Picture(Image.fromarray(photographs.chelsea())))
    images.append(_plot(cat.drawn(), _("a photograph: {answer}").format(answer=cat)))
    counts.append(_("a photograph: {answer}").format(answer=cat) + f" – {unlike(cat)}")
    yield _done(
        Highlight(
            tuple(counts),
            tuple(images),
            _(
                "This small YOLO was trained for minutes on scenes that souron composes from cut-outs. "
                "It knows {count} kinds of objects ({kinds}), and no photographs."
            ).format(count=len(model.system.spec.labels), kinds=", ".join(model.system.spec.labels)),
            f"souron predict {DETECTOR} scene.png",
        )
    )


def segment(_project: Path) -> Iterator[Event]:
    """Segment organs in a CT volume, and turn their surfaces."""
    yield Event("answer", text=ORGANS)
    model, [file, *_more] = _ready(ORGANS)
    answer = model(Volume.read(file))
    yield Event("draw", 0.5, text=ORGANS)
    yield _done(
        Highlight(
            (str(answer),),
            (_wide(answer.planes(), _("from above, from the front, from the side")), turning(answer)),
            _(
                "This 3D U-Net was trained for minutes on synthetic CT volumes. It is no medical device, "
                "and has never seen a patient."
            ),
            f"souron predict {ORGANS} volume.nii.gz",
        )
    )


def generate(_project: Path) -> Iterator[Event]:
    """Generate images from a sentence."""
    prompt = PROMPTS[language()]
    yield Event("draw", text=PAINTER)
    model, _none = _ready(PAINTER)
    images = []
    for seed in range(PAINTED):
        yield Event("draw", seed / PAINTED, text=PAINTER)
        images.append(_plot(model(Text(prompt), seed=seed).image, prompt))
    yield _done(
        Highlight(
            (prompt,),
            tuple(images),
            _(
                "This latent diffusion model knows some hundred words in two languages, for objects, "
                "colours, positions and backgrounds, and generates images of 64 pixels a side."
            ),
            f'souron generate {PAINTER} prompt="{prompt}"',
        )
    )


def judge(project: Path) -> Iterator[Event]:
    """Judge a table of the predictions of two methods on the same patients."""
    from souron.actions.verdict import verdict
    from souron.report import plots
    from souron.report.page import plot

    yield Event("train", text=_("verdict"))
    table = project / "predictions.csv"
    columns = predictions()
    files.write_bytes(table, kinds_files.separated([[*columns], *zip(*columns.values(), strict=True)]))
    yield Event("test", 0.5, text=_("verdict"))
    record = verdict(table)
    record.folder = project / "verdict"
    yield _done(
        Highlight(
            tuple(record.sentences()),
            (
                plot(
                    plots.intervals(record.rows),
                    _("{measure} with its 95 % interval").format(measure=record.ranking.metric.title),
                ),
            ),
            _(
                "Predictions for the 569 tumours of scikit-learn's breast cancer data (Wisconsin, 1995), each by a "
                "model that had not seen it. Any table with a column for the truth and one for each method is judged "
                "so: another program's predictions, measurements, readers."
            ),
            f"souron verdict {table}",
            record.write(),
        )
    )


def predictions() -> dict[str, list[str]]:
    """Return the columns of a table: probabilities of malignancy by cross-validation, from two methods."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    data = load_breast_cancer()
    malignant = data.target == list(data.target_names).index("malignant")
    methods = {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
        "decision tree": DecisionTreeClassifier(min_samples_leaf=10, random_state=0),
    }
    columns = {
        "case": [f"tumour {number}" for number in range(len(malignant))],
        "truth": ["malignant" if one else "benign" for one in malignant],
    }
    for name, method in methods.items():
        probability = cross_val_predict(method, data.data, malignant, cv=FOLDS, method="predict_proba")[:, 1]
        columns[name] = [f"{value:.4f}" for value in probability]
    return columns


def answer(project: Path) -> Iterator[Event]:
    """Let a small published language model answer a question, or continue a text where there is none."""
    if fetch.where(ASSISTANT) is None:
        yield from write(project)
        return
    yield Event("answer", text=ASSISTANT)
    from souron.evaluation.language.conversation import Conversation
    from souron.kinds.chat import Chat

    voice = models_api.load(ASSISTANT).voice
    talk = Conversation(voice, Chat(()), REPLY, voice.sampling(0, None, 0))
    reply = "".join(talk.ask(QUESTION))
    yield _done(
        Highlight(
            (QUESTION, reply),
            (),
            _(
                "SmolLM2, 135 million parameters, published by Hugging Face: it writes good English, knows little, and "
                "states mistakes like facts. In Japanese: souron fetch tinyswallow."
            ),
            "souron chat smollm2",
        )
    )


def write(_project: Path) -> Iterator[Event]:
    """Continue the beginning of a speech."""
    yield Event("answer", text=WRITER)
    model, [file, *_more] = _ready(WRITER)
    beginning = file.read_text(encoding="utf-8").strip()
    answer = str(model(Text(beginning), length=LENGTH, seed=0))
    parameters = units.count(sum(weight.numel() for weight in model.system.parameters()))
    yield _done(
        Highlight(
            (f"{beginning} [...]{answer.removeprefix(beginning)}",),
            (),
            _(
                "A very small language model: {parameters} parameters, trained for minutes on "
                "speeches. It has learnt their style, not facts. Larger published models: souron "
                "models."
            ).format(parameters=parameters),
            f'souron predict {WRITER} "{" ".join(beginning.split()[:4])}"',
        )
    )


def check(project: Path) -> Iterator[Event]:
    """Check each sentence of an answer against its source."""
    from souron.actions.tour import society_tour

    for event in society_tour.checked(project):
        if event.record is None:
            yield event
            continue
        yield _done(
            Highlight(
                (event.record.sentences[-1], *event.record.sentences[:-1]),
                (),
                _(
                    "Rules and small classifiers compare each sentence with the nearest passage. "
                    '"Supported" means that the source says so, not that it is true.'
                ),
                "souron check answer.txt sources=source.txt",
                event.record.page,
            )
        )


def detect_generated(_project: Path) -> Iterator[Event]:
    """Train a detector of generated images, and test it on images that it has not seen."""
    from souron.actions import generated
    from souron.actions.generated import image_sources
    from souron.actions.generated.image_sources import Source
    from souron.kinds.codecs.image import as_image

    if zoo.root() is None:
        raise not_installed()
    real = Source("fashion", image=zoo.sample()[0])
    sources = []
    for name in GENERATORS:
        for event in image_sources.generating(name, GENERATED, seed=0, device="cpu"):
            if event.record is not None:
                sources.append(event.record)
            yield Event("draw", event.fraction, text=name)
    audit = None
    for done, result in generated.compare(real, sources):
        audit = result
        yield Event("check", done, text=" ".join(GENERATORS))
    assert audit is not None
    images = [
        _plot(
            as_image(image),
            f"{_(source.name) if source is real else source.name}: "
            + _("probability of being generated {share}").format(share=units.percent(float(score), 0)),
            True,
        )
        for source in (real, *sources)
        for image, score in _scored(audit, source)
    ]
    yield _done(
        Highlight(
            tuple(audit.sentences()),
            tuple(images),
            _("A detector is only as good as the generators that it has met: of a new one it misses far more."),
            f"souron audit generated {' '.join(GENERATORS)} real=fashion",
        )
    )


def _scored(audit: Any, source: Any) -> Iterator[tuple[Any, float]]:
    """Yield some images of a source, each with the probability that it is generated."""
    some = source.image[:SHOWN]
    passed = [one for _done, one in replace(source, image=some).through(audit.pipeline)]
    yield from zip(some, audit.detector.scores(torch.stack(passed)), strict=True)


def race(project: Path) -> Iterator[Event]:
    """Train two classifiers at an equal budget and return the verdict."""
    from souron.runs import compare

    events = compare.comparing(RACERS, "digits", name="tour-race", project=project, **RACE)
    for event in changed(events, lambda one: one):
        if event.record is None:
            yield event
            continue
        record = event.record
        rows = [
            f"{row.system}: {units.percent(row.value)} ({units.percent(row.low)} – {units.percent(row.high)})"
            for row in record.rows
        ]
        yield _done(
            Highlight(
                (record.sentence, *rows),
                (),
                _(
                    "Ten seconds of training in all, on 1,797 handwritten digits: the same cases, the "
                    "same time and the same seeds for both."
                ),
                f"souron compare {' '.join(RACERS)} data=digits budget=2.5s seeds=2",
                record.report,
            )
        )


PARTS = (
    Part("photograph", N_("A photograph is named"), classify),
    Part("detection", N_("Objects are found"), detect),
    Part("organs", N_("Organs are segmented"), segment),
    Part("verdict", N_("Two methods are judged by their predictions"), judge),
    Part("language", N_("A language model writes"), answer),
    Part("sources", N_("An answer is checked against its source"), check),
    Part("generated", N_("Generated images are detected"), detect_generated),
    Part("sentence", N_("How learning works: a sentence becomes a small drawing"), generate),
    Part("race", N_("How learning works: two systems learn digits and are compared"), race),
)


def turning(found: LabelledVolume) -> Plot:
    """Render an animation of one turn around the surfaces of all labels, each in its colour."""
    vertices, faces, colours, count = [], [], [], 0
    for label, (name, voxels) in enumerate(zip(found.names, found.voxels, strict=True)):
        if not name or not voxels:
            continue
        shape = found.surface(label)
        vertices.append(shape.vertices)
        faces.append(shape.faces + count)
        colours.append(np.tile(overlay.colour(label - 1), (len(shape.faces), 1)))
        count += len(shape.vertices)
    points, triangles = np.concatenate(vertices), np.concatenate(faces)
    colour = np.concatenate(colours).astype(float)
    images = []
    for turn in range(TURNS):
        angle = 2 * np.pi * turn / TURNS
        view = View((float(np.cos(angle)), float(np.sin(angle)), 0.0), (0.0, 0.0, 1.0))
        images.append(Image.fromarray(rendering.render(points, triangles, view, WIDTH, colour)))
    stream = BytesIO()
    images[0].save(stream, "WEBP", save_all=True, append_images=images[1:], duration=120, loop=0, quality=70)
    return Plot(uri(stream.getvalue()), _("the organs, turning"), WIDTH)


def not_installed() -> UserError:
    """Return the error for a missing package of ready-trained systems."""
    return UserError(
        "ready trained",
        _("the package souron-zoo is not installed"),
        expected=_("ready-trained systems"),
        fix="pip install souron-zoo",
        exit=4,
    )


def _ready(name: str) -> tuple[models_api.Model, list[Path]]:
    """Load a ready-trained system and its test cases. Raises UserError if not installed."""
    folder = zoo.where(name)
    if folder is None:
        raise not_installed()
    return models_api.load(name), zoo.examples(folder)


def _plot(image: Image.Image, words: str, small: bool = False) -> Plot:
    """Embed an image of at most ``WIDTH`` pixels; ``small`` keeps its pixels visible."""
    shown = image.convert("RGB")
    if small:
        factor = max(1, WIDTH // 2 // shown.width)
        size = (shown.width * factor, shown.height * factor)
        shown = shown.resize(size, Image.Resampling.NEAREST)
    else:
        shown.thumbnail((2 * WIDTH, 2 * WIDTH))
    stream = BytesIO()
    shown.save(stream, "PNG" if small else "JPEG", quality=88)
    return Plot(uri(stream.getvalue()), words, min(shown.width, WIDTH))


def _on_white(image: Image.Image) -> Image.Image:
    """Return a cut-out on white paper, with a margin."""
    paper = Image.new("RGBA", image.size, "white")
    return ImageOps.expand(Image.alpha_composite(paper, image), 8, "white")


def _wide(image: Image.Image, words: str) -> Plot:
    """Embed an image at the full width of the page."""
    return replace(_plot(image, words), width=2 * WIDTH)


def _done(highlight: Highlight) -> Event:
    return Event("done", 1.0, record=highlight)
