"""Boxes by hand: intersection over union, non-maximum suppression and average precision, step by step.

Python sends twelve test scenes with their true boxes, and the raw boxes of a ready-trained detector; the script
computes IoU, suppression, matching and AP as ``blocks.boxes`` and ``metrics.detection`` do, in the moment a slider
moves.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, button, canvas, choice, controls, images, parts, plot, slider, tick
from souron.utils.messages import N_, UserError, _

TITLE = N_("Boxes by hand")
ABOUT = N_(
    "Draw a box around each thing and see how well it fits. Then look at what a detector really returns: many boxes "
    "for each thing. Sliders decide which of them are left, and the average precision of twelve pictures is built up "
    "detection by detection."
)
QUESTION = N_(
    "A box has the right size but lies half its width too far to the right. What is its IoU with the true box?"
)
CHOICES = (N_("One half"), N_("One third"), N_("Three quarters"))
RIGHT = 1
ANSWER = N_(
    "One third. Both share half a box, and together they cover one and a half. IoU falls fast: a box that looks good "
    "to the eye often has 0.7. AP50 counts a detection as right from an IoU of 0.5 on; at 0.9 most boxes are misses, "
    "those drawn by hand as well. Suppression at a low IoU removes real neighbours, at a high one it leaves "
    "duplicates, which count as false positives."
)
WORDS = {
    "hand": N_(
        "Draw with the mouse or a finger, from corner to corner. By keyboard: arrow keys move the cross, Enter sets a"
        " corner, Escape gives it up."
    ),
    "corner": N_("First corner set. Now the opposite one."),
    "mine": N_("Box {number}: IoU {iou} with the true box of “{label}”."),
    "none": N_("Box {number} touches no true box: IoU 0."),
    "mean": N_("{found} of {things} things have a box with an IoU of at least 0.5."),
    "raw": N_(
        "{count} raw boxes above 0.05. {low} are below the minimum confidence, {suppressed} suppressed by non-maximum"
        " suppression, {kept} left."
    ),
    "kept": N_("Raw box {number} of {count}, “{label}”, confidence {score}: it stays."),
    "low": N_(
        "Raw box {number} of {count}, “{label}”, confidence {score}: it is below the minimum confidence {least}."
    ),
    "suppressed": N_(
        "Raw box {number} of {count}, “{label}”, confidence {score}: suppressed, because its IoU with a more "
        "confident box of the same label (confidence {by}) is {iou}, above {limit}."
    ),
    "cell": N_("Stride {stride}: {side} × {side} cells. Row {row}, column {column}: {anchors}"),
    "point": N_("one anchor point in its middle; the network estimates the distances to the four edges."),
    "anchors": N_("{count} default boxes (dashed); the network estimates a correction of each."),
    "best": N_("The most confident raw box from here: “{label}”, {score}."),
    "silent": N_("No raw box from here is above 0.05."),
    "hit": N_("right: IoU {iou}, and no more confident box has this thing"),
    "miss": N_("wrong: its largest IoU with a thing that is still free is {iou}"),
    "step": N_(
        "Detection {number} of {count}, picture {picture}, confidence {score}: {outcome}. So far {right} right of "
        "{number}: precision {precision}; {right} of {things} things: recall {recall}."
    ),
    "area": N_("Area so far {area}. AP of “{label}” at an IoU of {overlap}: {ap}. Mean over {labels} labels: {mean}."),
    "nothing": N_("No detection of “{label}” is left."),
    "precision": N_("precision"),
    "recall": N_("recall"),
}
TOUR = (
    ("picture", N_("Twelve pictures that no detector has learnt from. Choose one.")),
    ("scene", N_("Draw a box around a thing. The page gives its IoU with the true box.")),
    ("detector", N_("Two detectors: yolo has one anchor point in each cell, ssd six default boxes.")),
    (
        "least",
        N_("Guess first: the minimum confidence is raised. What can happen to a box that stays?"),
        (N_("It moves"), N_("Nothing"), N_("It is suppressed by another one")),
        1,
    ),
    (
        "limit",
        N_("Two boxes of a label that overlap by more than this are one for the detector: the less confident goes."),
    ),
    ("candidate", N_("Go through the raw boxes one by one and read why each stays or goes.")),
    ("stride", N_("Show the cells of one level, then press the picture: the anchors of that cell appear.")),
    (
        "frame",
        N_("Guess first: a wrong detection comes after all right ones. What does it do to the AP?"),
        (N_("It lowers it"), N_("Nothing"), N_("It raises it")),
        1,
    ),
)
DETECTORS = ("yolo", "ssd")  # ready-trained on drawn_scenes
COUNT = 12  # the first scenes of its test part
LEAST = 0.05  # confidence of a raw box that is sent
MOST = 300  # raw boxes of an image


def stage() -> Markup:
    numbers = [(str(number), _("picture {number}").format(number=number + 1)) for number in range(COUNT)]
    overlaps = [(f"{0.5 + 0.05 * k:.2f}",) * 2 for k in range(10)]
    own = beside(
        controls(
            choice("picture", _("picture"), numbers),
            tick("truth", _("show the true boxes")),
            button("clear", _("Clear")),
        ),
        images(
            canvas("scene", _("the picture: arrow keys move the cross, Enter sets a corner"), 384, 384, keys=True),
            interactive.part("mine"),
        ),
    )
    detected = beside(
        controls(
            choice("detector", _("detector"), [(name, name) for name in DETECTORS]),
            slider("least", _("minimum confidence"), 0.05, 0.95, 0.25, 0.05),
            slider("limit", _("suppress boxes with an IoU above"), 0.05, 1, 0.45, 0.05),
            slider("candidate", _("inspect raw box number"), 0, MOST, 0),
            choice("stride", _("cells"), [("", _("none"))]),
        ),
        images(
            canvas(
                "raw",
                _("the detector's boxes: arrow keys choose a cell"),
                384,
                384,
                _(
                    "Solid: kept. Dotted: suppressed. Thick: the one raw box. With cells: press one, or use the arrow"
                    " keys."
                ),
                keys=True,
            ),
            Markup('<div data-part="fates">{}</div>').format(parts("counts", "fate", "cell")),
        ),
    )
    averaged = beside(
        controls(choice("label", _("label"), []), choice("overlap", _("counts as right from an IoU of"), overlaps))
        + interactive.player(_("detections in order of confidence")),
        images(
            plot("curve", _("precision and recall"), 320, 300, _("Line: precision after each detection. Area: AP.")),
            canvas("detection", _("the detection, dashed, and the true boxes of its label"), 256, 256),
        ),
        parts("step", "area"),
    )
    return Markup("<h3>{}</h3>{}<h3>{}</h3>{}<h3>{}</h3>{}").format(
        _("1. Your boxes"),
        own,
        _("2. The detector's boxes"),
        detected,
        _("3. Average precision over the twelve pictures"),
        averaged,
    )


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the images and true boxes with ``images``, else the raw boxes of a ``detector``. Raises UserError."""
    if asked.get("images"):
        return pictures()
    if asked.get("detector") is None:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="detector", value=""),
            expected=", ".join(DETECTORS),
        )
    return raw(interactive.among(asked, "detector", DETECTORS))


def record() -> Iterator[dict[str, Any]]:
    """Yield the requests whose answers an exported page carries."""
    yield {"images": True}
    for name in DETECTORS:
        yield {"detector": name}


@lru_cache
def scenes() -> tuple[Any, list[Any]]:
    """Return the first test scenes of drawn_scenes, (COUNT, 3, side, side) uint8, and their boxes (n, 5)."""
    import torch

    from souron.data.composing import stock
    from souron.data.composing.composer import Composer
    from souron.data.composing.cutouts import CATEGORIES
    from souron.data.sets import scenes as recipe

    composer = Composer(recipe.SIDE, recipe.SEED, "test", CATEGORIES, stock.drawn(CATEGORIES))
    made = [composer.scene(number) for number in range(COUNT)]
    boxes = [torch.cat([one.labels[:, None].float(), one.boxes], 1) for one in made]
    return torch.stack([one.image for one in made]), boxes


def pictures() -> dict[str, Any]:
    from souron.data.composing.cutouts import CATEGORIES

    image, boxes = scenes()
    return {
        "side": image.shape[-1],
        "labels": list(CATEGORIES),
        "images": [interactive.packed(each.permute(1, 2, 0).numpy()) for each in image],
        "truth": [[[int(label), *edges] for label, *edges in each.tolist()] for each in boxes],
    }


@lru_cache
def raw(name: str) -> dict[str, Any]:
    """Return a detector's raw boxes before suppression, by falling confidence, and the levels of its cells.

    A raw box is label, left, top, right, bottom, confidence, level, row, column. Raises UserError.
    """
    import torch

    from souron.hub import zoo
    from souron.studio.model_cache import models

    if zoo.where(name) is None:
        raise UserError("zoo", _("The ready-trained systems are not installed."))
    image, _boxes = scenes()
    with models.answering(name) as model, torch.inference_mode():
        box, score = (part.float() for part in model.system(image.float() / 255))
        levels = levels_of(model.system, image.shape[-1])
    cells = torch.tensor(
        [
            (number, *divmod(cell, one["cells"]))
            for number, one in enumerate(levels)
            for cell in range(one["cells"] ** 2)
            for _anchor in one["anchors"] or [None]
        ]
    )
    assert len(cells) == box.shape[1], "one row for each candidate of each cell"
    found = []
    for edges, scores in zip(box, score, strict=True):
        place, label = (scores > LEAST).nonzero(as_tuple=True)
        sure, order = scores[place, label].sort(descending=True, stable=True)
        place, label = place[order][:MOST], label[order][:MOST]
        found.append(
            [
                [of, *(round(edge, 2) for edge in four), round(one, 6), *cell]
                for of, four, one, cell in zip(
                    label.tolist(), edges[place].tolist(), sure.tolist(), cells[place].tolist(), strict=False
                )
            ]
        )
    return {"levels": levels, "raw": found, "limit": model.system.overlap}


def levels_of(system: Any, side: int) -> list[dict[str, Any]]:
    """Return the stride, the cells a side and the widths and heights of the default boxes, level by level."""
    from souron.blocks.yolo import STRIDES

    if not hasattr(system, "shapes"):  # one anchor point a cell
        return [{"stride": stride, "cells": side // stride, "anchors": []} for stride in STRIDES]
    strides = system.backbone.strides
    return [
        {
            "stride": stride,
            "cells": -(-side // stride),
            "anchors": [[round(share * side, 2) for share in shape] for shape in shapes],
        }
        for stride, shapes in zip(strides, system.shapes(len(strides)), strict=True)
    ]
