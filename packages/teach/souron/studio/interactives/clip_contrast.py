"""CLIP's matrix of images and sentences: softmax both ways, the contrastive loss and its pull.

The vectors are those of souron's ``clip`` (Radford and others 2021), the ready-trained one or, where
they have been fetched, OpenAI's published weights. The script computes both softmaxes, the loss and
its gradient from the cosines, so that they follow the temperature at once.

    loss = (cross entropy of rows + cross entropy of columns) / 2
    gradient for image k = s / (2 N) sum over j of (row softmax + column softmax - 2 [j = k]) t_j
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, button, canvas, choice, controls, images, parts, slider, tick
from souron.studio.interactives import _own_image
from souron.utils.messages import N_, UserError, _

TITLE = N_("Contrast: images and sentences")
ABOUT = N_(
    "CLIP turns an image and a sentence into vectors of length 1. In training, each image of a batch must find its own"
    " sentence among all of them, and each sentence its image. Choose images, write sentences, and see the matrix of"
    " cosines that everything else follows from."
)
QUESTION = N_(
    "The loss pulls an image towards its own sentence. What does it do with the sentences of the other images?"
)
CHOICES = (
    N_("Nothing, only the own sentence counts"),
    N_("It pushes the image away from all of them equally"),
    N_("It pushes the image away from those most that are most similar to it"),
)
RIGHT = 2
ANSWER = N_(
    "It pushes most where a wrong sentence is similar: the push is the softmax of that cell, and a wrong sentence that"
    " is far away has next to none. The lower the temperature, the more the nearest wrong sentence counts alone. The"
    " same matrix, read row by row, is a zero-shot classifier: the sentences are the classes."
)
WORDS = {
    "image": N_("image {number}"),
    "own": N_("own image {number}"),
    "sentence": N_("sentence {number}"),
    "cell": N_("image {image}, sentence {text}: {value}"),
    "read": N_(
        "Image {image} and sentence {text}: cosine {cosine}; softmax among sentences {row} %, among images {column} %."
    ),
    "together": N_("The loss pulls the two together with {pull}. All sentences together move the image by {whole}."),
    "apart": N_("The loss pushes the two apart with {pull}. All sentences together move the image by {whole}."),
    "unpaired": N_("Image {image} or sentence {text} has no partner, so that the loss has no gradient here."),
    "loss": N_("Contrastive loss of {count} pairs: {loss}, by rows {rows} and by columns {columns}. Chance: {chance}."),
    "no loss": N_("The contrastive loss needs two pairs at least: image 1 with sentence 1, and so on."),
    "zero": N_("Image {image} as a classifier says: sentence {text}, {share} %"),
    "most": N_("{most} images at most"),
    "none": N_("Choose an image and write a sentence."),
    "unread": N_("This file is no image that the browser can read."),
    "vector": N_(
        "thin: the two vectors; thick: the pull of this cell on each, its square root as length; dashed: that of all"
        " sentences on the image"
    ),
}
TOUR = (
    ("images", N_("Press an image to take it into the batch or out of it. Its number is that of its sentence.")),
    ("photo", N_("Add images of your own. They stay on this computer.")),
    ("text0", N_("Write sentences, up to six. Sentence 1 belongs to image 1.")),
    (
        "matrix",
        N_("A row for each image, a column for each sentence. Bright numbers on the diagonal are what is learnt."),
    ),
    (
        "temperature",
        N_("Guess first: what does a low temperature do to the softmax of a row?"),
        (N_("it spreads the shares"), N_("it gives nearly everything to the largest cosine"), N_("nothing")),
        1,
    ),
    ("shown", N_("The same matrix as a softmax among sentences, or among images.")),
    (
        "plane",
        N_("Guess first: a wrong sentence that is far away from the image. How strong is its push?"),
        (N_("strong"), N_("next to nothing")),
        1,
    ),
    ("zero", N_("Read by rows, the matrix is a classifier whose classes you have just written.")),
)
SETTINGS = {"model": ("clip",)}  # recorded
MOST, LETTERS, SIDE = 6, 200, 64  # images and sentences; characters of one; pixels of an example's side
PUBLISHED = ("clip_vit_b_32", "clip_rn50")
SENTENCES = (
    N_("three blue flowers on sand"),
    N_("a yellow building on the right, on water"),
    N_("a blue fruit on the left, on snow"),
    N_("a bird on the left, on water"),
)


def systems() -> list[str]:
    """Return the systems that can answer: the ready-trained one, and published ones that have been fetched."""
    from souron import registry
    from souron.hub import weights, zoo

    entry, _size = registry.find("clip")
    fetched = [name for name in PUBLISHED if weights.find(entry.weights[name.removeprefix("clip_")])]
    return (["clip"] if zoo.where("clip") else []) + fetched


def stage() -> Markup:
    there = systems()
    if "clip" not in there:
        return Markup("<p>{}</p>").format(_("The ready-trained systems are not installed."))
    shown = [("cosine", _("cosine")), ("rows", _("softmax among sentences")), ("columns", _("softmax among images"))]
    sentences = Markup("").join(
        Markup('<label>{} <input type="text" name="text{}" maxlength="{}" value="{}"></label>').format(
            _("sentence {number}").format(number=place + 1),
            place,
            LETTERS,
            _(SENTENCES[place]) if place < len(SENTENCES) else "",
        )
        for place in range(MOST)
    )
    return (
        beside(
            controls(
                choice("model", _("model"), [(name, name) for name in there]),
                Markup(
                    '<label class="pick">{} <input type="file" data-part="photo" accept="image/*" multiple></label>'
                ).format(_("add your own images")),
                choice("shown", _("shown"), shown),
                tick("own", _("the temperature that the model has learnt")),
                slider("temperature", _("temperature"), 0.01, 0.5, 0.2, 0.005),
                button("compare", _("Compare"), first=True),
            ),
            Markup('<ul class="tiles" data-part="images"></ul><div class="controls sentences">{}</div>').format(
                sentences
            )
            + images(
                Markup('<div class="scores" data-part="matrix"></div>'),
                canvas(
                    "plane",
                    _("the vectors of the chosen image and sentence, and the pull on each"),
                    320,
                    320,
                    _("Both vectors in the plane that they span"),
                ),
            )
            + interactive.part("pull"),
            parts("loss", "read"),
        )
        + Markup("<h3>{}</h3>").format(_("Zero-shot classification"))
        + interactive.part("zero")
    )


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the example images, or the cosines of the chosen ones with sentences."""
    if "texts" not in asked:
        interactive.among(asked, "model", ["clip", *PUBLISHED])
        files = interactive.examples("clip")
        return {"side": SIDE, "examples": [thumbnail(file) for file in files], "most": MOST}
    there = systems()
    if not there:
        raise UserError("zoo", _("The ready-trained systems are not installed."))
    return compared(interactive.among(asked, "model", there), chosen(asked), sentences(asked))


def record() -> Iterator[dict[str, Any]]:
    """Yield the requests for any choice of the examples with the first sentences."""
    if not interactive.examples("clip"):
        return
    yield {"model": "clip"}
    texts = [_(sentence) for sentence in SENTENCES]
    for count in range(1, len(SENTENCES) + 1):
        for some in combinations(range(len(SENTENCES)), count):
            yield {"model": "clip", "images": list(some), "texts": texts}


def thumbnail(file: Any) -> str:
    """Return an example as packed RGB pixels, (SIDE, SIDE, 3)."""
    from souron.kinds.picture import Picture

    return interactive.packed(Picture.read(file).square(SIDE, 3).permute(1, 2, 0).numpy())


def sentences(asked: Mapping[str, Any]) -> list[str]:
    """Read the sentences. Raises UserError."""
    texts = asked.get("texts")
    good = (
        isinstance(texts, list)
        and 1 <= len(texts) <= MOST
        and all(isinstance(text, str) and 0 < len(text.strip()) <= LETTERS for text in texts)
    )
    if not good:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="texts", value=str(texts)[:40]),
            expected=_("1 to {most} sentences of at most {letters} characters").format(most=MOST, letters=LETTERS),
        )
    return list(texts or [])


def chosen(asked: Mapping[str, Any]) -> list[Any]:
    """Return the chosen images, each an example's number or an own one. Raises UserError."""
    from souron.kinds.picture import Picture

    wanted = asked.get("images")
    if not isinstance(wanted, list) or not 1 <= len(wanted) <= MOST:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="images", value=str(wanted)[:40]),
            expected=_("{most} images at most").format(most=MOST),
        )
    files = interactive.examples("clip")
    return [
        _own_image.read(each)
        if isinstance(each, dict)
        else Picture.read(files[interactive.whole({"image": each}, "image", 0, len(files) - 1, 0)])
        for each in wanted
    ]


def compared(name: str, pictures: list[Any], texts: list[str]) -> dict[str, Any]:
    """Return all cosines: of images with sentences, of images, and of sentences; and the model's own scale."""
    import torch

    from souron.studio.model_cache import models

    with models.answering(name) as model, torch.inference_mode():
        system = model.system
        system.eval()
        pixels = torch.stack([system.pixels(picture) for picture in pictures]).to(system.device)
        image, text = system.see(pixels).float().cpu(), system.read_texts(texts)
        return {
            "cosine": rounded(image @ text.T),
            "images": rounded(image @ image.T),
            "texts": rounded(text @ text.T),
            "scale": float(system.scale),
        }


def rounded(values: Any) -> list[list[float]]:
    return [[round(value, 6) for value in row] for row in values.tolist()]
