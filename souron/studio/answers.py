"""Predictions for one or more inputs, each shown beside its input."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import model as models_api
from souron.data.dataset import Rows
from souron.evaluation import gradcam
from souron.kinds.codecs import image, limits
from souron.kinds.finding import unlike
from souron.kinds.kind import Kind
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.labels import Labels
from souron.kinds.picture import Picture
from souron.studio import volume_pages
from souron.studio.shared import remarks, trouble
from souron.utils import units
from souron.utils.messages import UserError, _

THUMBNAIL = 256  # pixels of the longer side
SMALL = 64  # pixels; smaller images are shown with visible pixels


@dataclass(frozen=True)
class Answer:
    """The prediction for one input."""

    file: str  # path of the input
    said: Kind | UserError
    image: str = ""  # thumbnail of the input, as the src of an <img>
    pixelated: bool = False
    looked: str = ""  # thumbnail with the Grad-CAM heat map, or the reason why there is none


def told(error: UserError, file: str = "") -> Markup:
    """Return an error as HTML, hiding the temporary path ``file`` from the user."""
    found = error.found.replace(limits.readable(file), limits.readable(Path(file).name))
    return trouble(error.code, found if file else error.found, error.expected, error.fix)


def answered(model: models_api.Model, files: Iterable[Path], chosen: Mapping[str, Any]) -> Iterator[Answer]:
    """Yield the prediction for each file, with what the page shows of the file."""
    for path in files:
        try:
            for given in model.asked.given.each(path, **model.reading):
                yield beside(given, model.answer(given, **chosen))
        except UserError as error:
            yield Answer(str(path), error)


def beside(given: Kind, said: Kind) -> Answer:
    if not isinstance(given, Picture):
        return Answer(given.file, said)
    small = image.rounded(given.image).copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return Answer(given.file, said, image.data_uri(small), max(small.size) < SMALL)


def looked(model: models_api.Model, answer: Answer) -> str:
    """Return the data URI of the image with its Grad-CAM heat map, or why there is none."""
    import torch

    from souron.report import plots

    if not isinstance(answer.said, Labels):
        return "-"
    system, path = model.system, Path(answer.file)
    place = image.case_file(path.parent, path.name)
    try:
        given = Picture.read(place.path, frame=place.frame, **model.reading)
        pixels = given.square(system.spec.side, system.spec.channels)
        best = system.spec.labels.index(answer.said.best[0])
        batch = system.batch(Rows(pixels[None], None))
        heat = gradcam.heat(system, batch.image, torch.tensor([best]))
    except UserError as error:
        return error.found
    return image.data_uri(plots.overlay(pixels, heat[0]))


def cards(answers: Sequence[Answer], top: float, look: bool) -> Markup:
    """Return each input beside its prediction, as HTML cards."""
    if not answers:
        return Markup()
    shown = Markup("").join(card(each, int(top), look) for each in answers)
    return Markup('<p role="status"><strong>{}</strong></p><div class="answers">{}</div>').format(
        summary(answers), shown
    )


def summary(answers: Sequence[Answer]) -> str:
    """Summarise the predictions in one sentence, for screen readers."""
    failed = sum(isinstance(each.said, UserError) for each in answers)
    if failed:
        return _("{failed} of {total} files could not be read").format(failed=failed, total=len(answers))
    if len(answers) == 1:
        return short(answers[0].said)
    return _("{count} answers").format(count=len(answers))


def short(said: Kind | UserError) -> str:
    if isinstance(said, Labels) and not said.several:
        label, share = said.best
        return f"{label}: {units.percent(share)}"
    return str(said)


def card(answer: Answer, top: int, look: bool) -> Markup:
    name = limits.readable(Path(answer.file).name)
    wrong = isinstance(answer.said, UserError)
    explained = look and answer.looked.startswith("data:")
    picture = Markup('<img src="{}" alt="{}" class="{}">').format(
        answer.looked if explained else answer.image, name, "pixelated" if answer.pixelated else ""
    )
    remark = "" if wrong or explained or not look else answer.looked
    return Markup('<figure class="answer">{}<div><figcaption>{}</figcaption>{}{}</div></figure>').format(
        picture if answer.image else "",
        name,
        said(answer, top),
        Markup("<p><small>{}</small></p>").format(remark) if remark else "",
    )


def said(answer: Answer, top: int) -> Markup:
    if isinstance(answer.said, UserError):
        return told(answer.said, answer.file)
    if isinstance(answer.said, Labels) and not answer.said.several:
        return doubt(answer.said) + bars(answer.said, top)
    shown = doubt(answer.said) + Markup(answer.said._repr_html_())  # a kind escapes what it shows
    if isinstance(answer.said, LabelledVolume):
        return volume_pages.frame(answer.said) + shown
    return shown


def doubt(said: Kind) -> Markup:
    """Return the warning for a case that is unlike the training data."""
    return remarks(filter(None, [unlike(said)]))


def bars(labels: Labels, top: int) -> Markup:
    """Return the most probable labels with their probabilities, also as bars."""
    pairs = zip(labels.labels, map(float, labels.probabilities), strict=True)
    best = sorted(pairs, key=lambda pair: -pair[1])[:top]
    rows = Markup("").join(
        Markup(
            '<tr><th scope="row">{}</th><td aria-hidden="true"><i style="width:{}%"></i></td><td>{}</td></tr>'
        ).format(label, f"{100 * share:.1f}", units.percent(share))
        for label, share in best
    )
    return Markup('<table class="shares">{}</table>').format(rows)
