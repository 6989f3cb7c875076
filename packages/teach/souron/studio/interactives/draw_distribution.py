"""A distribution of points, drawn by hand, learnt by a GAN, a VAE, a flow and a diffusion model.

The page shows a training while it runs: each request continues it to its next frame. Its state stays
in this process, at most ``MOST_KEPT`` of them, found by a hash of the drawing, the model, the seed and
the length.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, button, canvas, choice, controls, images, parts, player, slider
from souron.studio.interactives import _toy_generators as generators
from souron.studio.interactives import _toy_shapes as shapes
from souron.studio.interactives._toy_generators import MODELS, Learner
from souron.studio.interactives._toy_shapes import DRAWN, LEAST, SHAPES, SIDE
from souron.utils.messages import N_, UserError, _

TITLE = N_("Draw a distribution")
ABOUT = N_(
    "A generator learns where points are likely, and then makes new points there. Draw a shape, or choose one, and four"
    " kinds of generator learn it side by side within seconds: a GAN, a VAE, a normalizing flow and a diffusion model."
    " Each starts from noise; they differ in how they turn it into points."
)
QUESTION = N_(
    "A normalizing flow bends and stretches one cloud of noise, but never tears it. Can it learn two moons that do not"
    " touch each other?"
)
CHOICES = (
    N_("Yes, exactly"),
    N_("Nearly: a bridge of a few points stays between them"),
    N_("No, it learns only one of the moons"),
)
RIGHT = 1
ANSWER = N_(
    "Nearly. One piece of noise stays one piece, so some points always lie between the moons; the flow makes the bridge"
    " thin, but cannot remove it. A VAE with a smooth decoder has bridges too, and broader ones. A GAN may leave out a"
    " part of the shape, since nothing in its loss asks for all of it. Diffusion moves the points in many small steps"
    " and comes near to the shape without losing a part of it, but each new point costs many evaluations of the"
    " network."
)
WORDS = {
    "learning": N_("Training: frame {part} of {parts}."),
    "ready": N_("All four have been trained."),
    "few": N_("Paint at least {least} cells first."),
    "frame": N_("Steps of training: {steps}"),
    "cursor": N_("row {y}, column {x}"),
    "model": N_("model"),
    "energy": N_("energy distance"),
    "off": N_("samples off the shape"),
    "missed": N_("of the shape missed"),
    "real": N_("new points of the shape itself"),
    "stop": N_("stop {stop} of {stops}: {share} % of the variance is noise"),
    "arrow": N_("at ({x}, {y}): noise found ({a}, {b}), arrow ({u}, {v})"),
    "guided": N_(
        "With guidance {guidance}: {right} % of the samples lie nearest to their own colour, {off} % lie off the shape,"
        " {missed} % of the colour's cells are missed."
    ),
    "free": N_("No colour asked for: {off} % of the samples lie off the shape, {missed} % of its cells are missed."),
    "gan": N_("GAN"),
    "vae": N_("VAE"),
    "glow": N_("normalizing flow"),
    "ddpm": N_("diffusion"),
    "untrained": N_("Press Train: the arrows are those of the trained diffusion model."),
}
TOUR = (
    (
        "shape",
        N_("Choose a shape here. The two colours are two classes; three of the four models do not look at them."),
    ),
    ("paint", N_("Paint on it: press and drag, or move the frame with the arrow keys and press the space bar.")),
    (
        "learn",
        N_("The four models learn together: each draws the next frame as soon as it has trained a little further."),
    ),
    (
        "gan",
        N_("Guess first: eight islands. Which model most likely leaves some of them out?"),
        (N_("the GAN"), N_("the normalizing flow"), N_("diffusion")),
        0,
    ),
    ("scores", N_("Three figures for each model. The last row is what new points of the shape itself would get.")),
    ("frame", N_("Go back to the first steps of training: noise, then a smear, then the shape.")),
    ("field", N_("The way back of diffusion: every arrow says where the network moves a point that stands there.")),
    (
        "guidance",
        N_("Guess first: with much guidance, what happens to the samples of a class?"),
        (
            N_("they cover the class better"),
            N_("they crowd together, far from the other class"),
            N_("nothing, guidance is for text only"),
        ),
        1,
    ),
)
SETTINGS = {"shape": ("moons", "islands"), "seed": (1,), "length": (100,), "guidance": (0, 2, 4, 8)}  # recorded
PARTS = generators.FRAMES + 1  # requests of a training; the first shows it before its first step
MOST_KEPT = 12  # trainings
STOPS, GRID = 20, 15  # of the way back; arrows a side
REACH, NOISE = 2.0, 4.0  # of the plane of the way back; most that the noise of an arrow may be
KEPT: OrderedDict[str, Learner] = OrderedDict()
ONE_AT_A_TIME = threading.Lock()  # requests of two pages would continue the same training


def stage() -> Markup:
    shapes = [
        ("moons", _("two moons")),
        ("ring", _("two rings")),
        ("spiral", _("spiral")),
        ("islands", _("eight islands")),
        ("letters", _("letters")),
        ("empty", _("empty, to draw")),
    ]
    brush = [("1", _("blue")), ("2", _("orange")), ("0", _("eraser"))]
    wanted = [("0", _("blue")), ("1", _("orange")), ("2", _("no colour"))]
    arrows = [("score", _("score: towards likelier points")), ("velocity", _("the next step"))]
    panels = [
        canvas(
            "paint",
            _("the drawing: arrow keys move the frame, the space bar paints"),
            200,
            200,
            _("The shape. Paint with the mouse or finger; or arrow keys and space bar."),
            keys=True,
        ),
        *(
            canvas(name, _("points that {model} generates").format(model=_(WORDS[name])), 200, 200, _(WORDS[name]))
            for name in MODELS
        ),
    ]
    learning = beside(
        controls(
            choice("shape", _("shape"), shapes),
            choice("brush", _("brush"), brush),
            slider("seed", _("random seed"), 1, 9, 1),
            slider("length", _("length of training, in %"), 10, 100, 100, 10),
            button("learn", _("Train"), first=True),
        )
        + player(_("frames of the training")),
        images(*panels, kind="panels") + Markup('<div class="scores" data-part="scores"></div>'),
        parts("now"),
    )
    reverse = beside(
        controls(
            choice("wanted", _("class"), wanted),
            slider("guidance", _("guidance"), 0, 8, 0, 0.5),
            choice("arrows", _("arrows"), arrows),
            slider("stop", _("step of the reverse process"), 0, STOPS, 0),
            button("walk", _("Play the reverse process")),
        ),
        images(
            canvas(
                "field",
                _("points on their way back, and arrows: arrow keys move the chosen arrow"),
                420,
                420,
                _("Points on their way, and the network's arrows. Press one to read its numbers."),
                keys=True,
            )
        ),
        parts("stop", "arrow", "guided"),
    )
    return Markup("{}<h3>{}</h3>{}").format(
        learning, _("Diffusion: the reverse process, from noise to the shape"), reverse
    )


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a shape, one frame of a training, or a way back of diffusion."""
    if "cells" not in asked:
        shape = interactive.among(asked, "shape", SHAPES)
        return {"cells": shapes.cells_of(shape), "side": SIDE, "parts": PARTS, "least": LEAST}
    cells = read_cells(asked)
    seed = interactive.whole(asked, "seed", 0, 1000, 1)
    length = interactive.whole(asked, "length", 10, 100, 100)
    if "wanted" in asked:
        wanted = interactive.whole(asked, "wanted", 0, 2, 0)
        return way_back(cells, seed, length, wanted, interactive.number(asked, "guidance", 0, 8, 0))
    name = interactive.among(asked, "model", MODELS)
    return trained(cells, name, seed, length, interactive.whole(asked, "part", 0, PARTS - 1, 0))


def record() -> Iterator[dict[str, Any]]:
    """Yield the requests of two shapes with the first random start, trained and asked back."""
    for shape in SETTINGS["shape"]:
        yield {"shape": shape}
        own: dict[str, Any] = {"cells": shapes.cells_of(str(shape)), "seed": 1, "length": 100}
        for part in range(PARTS):
            for name in MODELS:
                yield own | {"model": name, "part": part}
        for wanted in (0, 1, 2):
            for guidance in (0,) if wanted == 2 else SETTINGS["guidance"]:
                yield own | {"wanted": wanted, "guidance": guidance}


def read_cells(asked: Mapping[str, Any]) -> str:
    """Read the drawing, one of 0 (empty), 1 and 2 (classes) for each cell. Raises UserError."""
    cells = asked.get("cells")
    if not isinstance(cells, str) or len(cells) != SIDE**2 or set(cells) - set("012"):
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="cells", value=str(cells)[:40]),
            expected=_("{count} of the digits 0, 1 and 2").format(count=SIDE**2),
        )
    if len(cells) - cells.count("0") < LEAST:
        raise UserError("value", _("Paint at least {least} cells first.").format(least=LEAST))
    return cells


def key(cells: str, name: str, seed: int, length: int) -> str:
    return hashlib.sha256(f"{cells} {name} {seed} {length}".encode()).hexdigest()


def trained(cells: str, name: str, seed: int, length: int, part: int) -> dict[str, Any]:
    """Return one frame of a training. Raises UserError if an earlier part is missing."""
    own, grid = key(cells, name, seed, length), shapes.grid_of(cells)
    with ONE_AT_A_TIME:
        learner = KEPT.get(own)
        if learner is None:
            learner = KEPT[own] = generators.begin(name, grid, seed, length)
        KEPT.move_to_end(own)
        while len(KEPT) > MOST_KEPT:
            KEPT.popitem(last=False)
        if part > len(learner.answers):
            raise UserError("value", _("The training has to begin with its first part. Press Train again."))
        if part == len(learner.answers):
            learner.answers.append(generators.next_frame(learner, grid))
        return learner.answers[part]


def way_back(cells: str, seed: int, length: int, wanted: int, guidance: float) -> dict[str, Any]:
    """Return points at every stop from noise to shape, and the network's noise on a grid.

    ``wanted`` is a class, or 2 for none. The noise that the network finds is given for that class and for no class, so
    that the page mixes them for any guidance. Raises UserError where the model has not been trained.
    """
    import torch

    from souron.blocks.samplers import evenly
    from souron.evaluation.generators.sampling import Noise

    learner = KEPT.get(key(cells, "ddpm", seed, length))
    if learner is None or len(learner.answers) < PARTS:
        raise UserError("value", _("The diffusion model has not been trained on this drawing. Press Train."))
    system, grid = learner.system, shapes.grid_of(cells)
    label = torch.full((DRAWN,), wanted)
    system.eval()
    with torch.no_grad():
        noise = Noise(1, range(DRAWN))
        stops = [x[:, :, 0, 0] for x in system.drawing(noise, label, sampler="ddim", steps=STOPS, guidance=guidance)]
        times = evenly(system.alpha_bars, STOPS)
        fields = [[arrows(system, t, kind) for kind in (wanted, 2)] for t in times]
    system.train()
    own = grid if wanted == 2 else torch.where(grid == wanted + 1, grid, 0)
    shape, colour = shapes.scores(stops[-1], grid), shapes.scores(stops[-1], own) if (own > 0).any() else None
    return {
        "points": [interactive.packed(interactive.as_bytes(x, -REACH, REACH)) for x in stops],
        "noise": [[interactive.packed(interactive.as_bytes(each, -NOISE, NOISE)) for each in both] for both in fields],
        "kept": [*(round(system.alpha_bars[t], 6) for t in times), 1.0],
        "grid": GRID,
        "reach": REACH,
        "most": NOISE,
        "off": shape["off"],
        "missed": colour["missed"] if colour else 1.0,
        "right": shapes.nearest_share(stops[-1], grid, wanted),
    }


def places() -> Any:
    """Return where the arrows stand, (GRID * GRID, 2), row by row from the top."""
    import torch

    middle = (torch.arange(GRID) + 0.5) / GRID * 2 * REACH - REACH
    y, x = torch.meshgrid(-middle, middle, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)


def arrows(system: Any, t: int, label: int) -> Any:
    """Return the noise that the averaged network finds in the places of the arrows, (GRID * GRID, 2)."""
    import torch

    where = places()[..., None, None]
    step, kind = torch.full((len(where),), t), torch.full((len(where),), label)
    return system.find(system.average, where, step, kind)[:, :, 0, 0]
