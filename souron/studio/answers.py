"""Predictions for one or more inputs, each shown beside its input."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import model as models_api
from souron.data.dataset import Rows
from souron.data.display_names import called
from souron.evaluation import gradcam
from souron.kinds import finding
from souron.kinds.codecs import image, limits
from souron.kinds.kind import Kind
from souron.kinds.labels import Labels
from souron.kinds.picture import Picture
from souron.studio.forms import widgets
from souron.studio.shared import trouble
from souron.utils import units
from souron.utils.messages import UserError, _, language

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
    learnt: str = ""  # the training data


def told(error: UserError, file: str = "") -> Markup:
    """Return an error as HTML, hiding the temporary path ``file`` from the user."""
    found = error.found.replace(limits.readable(file), limits.readable(Path(file).name))
    return trouble(error.code, found if file else error.found, error.expected, error.fix)


def answered(model: models_api.Model, files: Iterable[Path], chosen: Mapping[str, Any]) -> Iterator[Answer]:
    """Yield the prediction for each file, with what the page shows of the file.

    The prediction knows the file's name and not its place.
    """
    for path in files:
        try:
            for given in model.asked.given.each(path, **model.reading):
                said = model.answer(replace(given, file=Path(given.file).name), **chosen)  # type: ignore[type-var]
                yield beside(given, said, model.learnt_from)
        except UserError as error:
            yield Answer(str(path), error)


def beside(given: Kind, said: Kind, learnt: str = "") -> Answer:
    if not isinstance(given, Picture):
        return Answer(given.file, said, learnt=learnt)
    small = image.rounded(given.image).copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return Answer(given.file, said, image.data_uri(small), max(small.size) < SMALL, learnt=learnt)


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


def cards(answers: Sequence[Answer], top: float, look: bool, view: widgets.View | None = None) -> Markup:
    """Return each input beside its prediction, as HTML cards."""
    if not answers:
        return Markup()
    shown = Markup("").join(card(each, int(top), look, view) for each in answers)
    return Markup('<p role="status"><strong>{}</strong></p>{}<div class="answers">{}</div>').format(
        summary(answers), unchecked(answers), shown
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
    """Return an answer in a line, as a guess where the case is unlike the training data."""
    if finding.standing(said) == "unlike":
        return _("unlike its training data – {guess}").format(guess=finding.guess(_plain(said)))
    return _plain(said)


def _plain(said: Kind | UserError) -> str:
    if isinstance(said, Labels) and not said.several:
        label, share = said.best
        return f"{said.called(label)}: {units.percent(share)}"
    return str(said)


def card(answer: Answer, top: int, look: bool, view: widgets.View | None = None) -> Markup:
    name = limits.readable(Path(answer.file).name)
    wrong = isinstance(answer.said, UserError)
    explained = look and answer.looked.startswith("data:")
    picture = Markup('<img src="{}" alt="{}" class="{}">').format(
        answer.looked if explained else answer.image, name, "pixelated" if answer.pixelated else ""
    )
    remark = "" if wrong or explained or not look else answer.looked
    return Markup('<figure class="answer">{}<div>{}{}{}</div></figure>').format(
        picture if answer.image else "",
        Markup("<figcaption>{}</figcaption>").format(name) if name else "",
        said(answer, top, view=view),
        Markup("<p><small>{}</small></p>").format(remark) if remark else "",
    )


def said(answer: Answer, top: int, folded: bool = True, view: widgets.View | None = None) -> Markup:
    """Return an answer; of an unlike case the warning and the guess, ``folded`` or not."""
    if isinstance(answer.said, UserError):
        return told(answer.said, answer.file)
    if isinstance(answer.said, Labels) and not answer.said.several:
        shown = bars(answer.said, top)
    else:
        shown = widgets.shown(answer.said, view)
    warned = doubt(answer.said, answer.learnt)
    if warned:
        guess = finding.guess(_plain(answer.said))
        opened = "" if folded else "open"
        shown = Markup('<details class="guess" {}><summary>{}</summary>{}</details>').format(opened, guess, shown)
    return warned + shown


def doubt(said: Kind, learnt: str = "") -> Markup:
    """Return the warning for a case that is unlike the training data ``learnt``, with what could help."""
    text = finding.unlike(said)
    if not text:
        return Markup()
    return _warning(text, finding.advice(called(learnt) if learnt else ""))


def film_doubt(unlike: int | None, frames: int) -> Markup:
    """Return the notice for a film, of whose frames so many are unlike the training data."""
    text = finding.film_notice(unlike, frames)
    if finding.film_standing(unlike, frames) == "unlike":
        return _warning(text, finding.advice())
    return Markup('<p class="faint">{}</p>').format(text) if text else Markup()


def _warning(text: str, advice: str) -> Markup:
    return Markup(
        '<div class="remark"><p><strong>{}</strong></p><p><small>{} <a href="/{language}/use">{}</a>, '
        '<a href="/{language}/my_data">{}</a></small></p></div>'
    ).format(text, advice, _("Choose another system"), _("Train on your own files"), language=language())


def unchecked(answers: Sequence[Answer]) -> Markup:
    """Return the sentence that there is no check, once, where an answer has none."""
    if all(finding.standing(each.said) != "unchecked" for each in answers):
        return Markup()
    return Markup('<p class="faint">{}</p>').format(finding.unchecked())


def bars(labels: Labels, top: int) -> Markup:
    """Return the most probable labels with their probabilities, also as bars."""
    pairs = zip(labels.labels, map(float, labels.probabilities), strict=True)
    best = sorted(pairs, key=lambda pair: -pair[1])[:top]
    rows = Markup("").join(
        Markup(
            '<tr><th scope="row">{}</th><td aria-hidden="true"><i style="width:{}%"></i></td><td>{}</td></tr>'
        ).format(labels.called(label), f"{100 * share:.1f}", units.percent(share))
        for label, share in best
    )
    return Markup('<table class="shares">{}</table>').format(rows)
