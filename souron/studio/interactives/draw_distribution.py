"""A distribution of points, drawn by hand, learnt by a GAN, a VAE, a flow and a diffusion model.

All four are souron's own systems with their own losses and optimizers, for images of one pixel with
two channels, which are the coordinates: ``gan`` (Goodfellow and others 2014), ``vae`` (Kingma,
Welling 2013), ``glow`` with steps of its layers but no folding of pixels (Kingma, Dhariwal 2018)
and ``ddpm`` with an MLP in place of the UNet (Ho, Jain, Abbeel 2020).

A training is divided into parts, each one request. Its state stays in this process, at most
``MOST_KEPT`` of them, found by a hash of the drawing, the model and the seed.
"""

import hashlib
import math
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import button, canvas, choice, controls, images, player, slider
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
    "learning": N_("training: {model}, part {part} of {parts}"),
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
    ("learn", N_("The four models are trained one after the other, a part of each at a time.")),
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
SIDE = 40  # cells of the drawing, a side; the plane is -1..1
LEAST = 8  # painted cells
SHAPES = ("moons", "ring", "spiral", "islands", "letters", "empty")
MODELS = ("gan", "vae", "glow", "ddpm")
PARTS, FRAMES = 5, 3  # requests of a training; frames in each
STEPS = {"gan": 255, "vae": 330, "glow": 132, "ddpm": 480}  # of one part
BATCH, DRAWN, JUDGED = 256, 400, 200  # points of a step; shown; of each side of the energy distance
MOST_KEPT = 12  # trainings
STOPS, GRID = 20, 15  # of the way back; arrows a side
REACH, NOISE = 2.0, 4.0  # of the plane of the way back; most that the noise of an arrow may be
A, I = ("01110", "10001", "10001", "11111", "10001", "10001", "10001"), ("111", *["010"] * 5, "111")
KEPT: "OrderedDict[str, Learner]" = OrderedDict()


def build(studio: Any) -> Any:
    return interactive.put("draw_distribution")


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
    return (
        controls(
            choice("shape", _("shape"), shapes),
            choice("brush", _("brush"), brush),
            slider("seed", _("which random start"), 1, 9, 1),
            slider("length", _("length of training, in %"), 10, 100, 100, 10),
            button("learn", _("Train"), first=True),
        )
        + Markup('<div class="pictures panels">{}</div>').format(Markup("").join(panels))
        + player(_("frames of the training"))
        + interactive.part("now")
        + Markup('<div class="scores" data-part="scores"></div>')
        + Markup("<h3>{}</h3>").format(_("Diffusion: the way back from noise"))
        + controls(
            choice("wanted", _("class"), wanted),
            slider("guidance", _("guidance"), 0, 8, 0, 0.5),
            choice("arrows", _("arrows"), arrows),
            slider("stop", _("stop of the way back"), 0, STOPS, 0),
            button("walk", _("Play the way back")),
        )
        + images(
            canvas(
                "field",
                _("points on their way back, and arrows: arrow keys move the chosen arrow"),
                420,
                420,
                _("Points on their way, and the network's arrows. Press one to read its numbers."),
                keys=True,
            )
        )
        + interactive.part("stop")
        + interactive.part("arrow")
        + interactive.part("guided")
    )


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a shape, one part of a training, or a way back of diffusion."""
    if "cells" not in asked:
        shape = interactive.among(asked, "shape", SHAPES)
        return {"cells": cells_of(shape), "side": SIDE, "parts": PARTS, "least": LEAST}
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
        own: dict[str, Any] = {"cells": cells_of(str(shape)), "seed": 1, "length": 100}
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


def cells_of(shape: str) -> str:
    """Return a ready shape row by row from the top, as ``read_cells`` reads it."""
    import numpy as np

    middle = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    y, x = np.meshgrid(-middle, middle, indexing="ij")
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    kind = np.zeros((SIDE, SIDE), dtype=int)
    if shape == "moons":
        for number, (left, low, turn) in enumerate([(-0.25, -0.2, 1), (0.25, 0.2, -1)], 1):
            arc = (abs(np.hypot(x - left, y - low) - 0.6) < 0.1) & (turn * (y - low) > -0.05)
            kind[arc] = number
    elif shape == "ring":
        kind[abs(radius - 0.75) < 0.09] = 1
        kind[abs(radius - 0.32) < 0.09] = 2
    elif shape == "spiral":
        for number in (1, 2):
            turns = (angle + math.pi * number) % (2 * math.pi) / (2 * math.pi)
            arms = [0.12 + 0.62 * (turns + more) for more in (0, 1)]
            kind[(np.minimum(*(abs(radius - arm) for arm in arms)) < 0.07) & (radius < 0.85)] = number
    elif shape == "islands":
        for number in range(8):
            way = number * math.pi / 4
            kind[np.hypot(x - 0.7 * math.cos(way), y - 0.7 * math.sin(way)) < 0.16] = 1 + number % 2
    elif shape == "letters":
        for number, (letter, left) in enumerate([(A, 3), (I, 25)], 1):
            rows = np.array([[int(cell) for cell in row] for row in letter])
            big = rows.repeat(4, 0).repeat(4, 1)
            kind[6 : 6 + big.shape[0], left : left + big.shape[1]] = number * big
    return "".join(map(str, kind.flatten().tolist()))


def grid_of(cells: str) -> Any:
    """Return the classes of the cells, (SIDE, SIDE) int64, the top row first."""
    import torch

    return torch.tensor([int(cell) for cell in cells]).view(SIDE, SIDE)


def sampled(grid: Any, count: int, source: Any = None) -> tuple[Any, Any]:
    """Sample points (count, 2) in -1..1 evenly from the painted cells, and their classes from 0."""
    import torch

    painted = grid.flatten().nonzero()[:, 0]
    cell = painted[torch.randint(len(painted), (count,), generator=source)]
    row, column = cell // SIDE, cell % SIDE
    within = torch.rand(count, 2, generator=source)
    x = (column + within[:, 0]) / SIDE * 2 - 1
    y = 1 - (row + within[:, 1]) / SIDE * 2
    return torch.stack([x, y], 1), grid.flatten()[cell] - 1


def held_out(grid: Any, seed: int = 0) -> Any:
    """Return points that no training has seen, (DRAWN, 2)."""
    import torch

    return sampled(grid, DRAWN, torch.Generator().manual_seed(10_000 + seed))[0]


@dataclass
class Learner:
    """A training that goes on with each request."""

    name: str
    system: Any
    optimizers: dict[str, Any]
    random: Any  # state of the random number generator
    steps: int  # of one frame
    step: int = 0
    answers: list[dict[str, Any]] = field(default_factory=list)  # of the parts that are done


def key(cells: str, name: str, seed: int, length: int) -> str:
    return hashlib.sha256(f"{cells} {name} {seed} {length}".encode()).hexdigest()


def trained(cells: str, name: str, seed: int, length: int, part: int) -> dict[str, Any]:
    """Return the frames of one part of a training. Raises UserError if an earlier part is missing."""
    import torch

    own, grid = key(cells, name, seed, length), grid_of(cells)
    learner = KEPT.get(own)
    if learner is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            system = made(name, grid)
            steps = max(1, STEPS[name] * length // (100 * FRAMES))
            learner = Learner(name, system, system.optimizers(), torch.get_rng_state(), steps)
        KEPT[own] = learner
    KEPT.move_to_end(own)
    while len(KEPT) > MOST_KEPT:
        KEPT.popitem(last=False)
    if part > len(learner.answers):
        raise UserError("value", _("The training has to begin with its first part. Press Train again."))
    if part == len(learner.answers):
        learner.answers.append(go_on(learner, grid))
    return learner.answers[part]


def go_on(learner: Learner, grid: Any) -> dict[str, Any]:
    """Train for one part and return its frames, and what real points would get for comparison."""
    import torch

    first = [frame(learner, grid)] if learner.step == 0 else []
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(learner.random)
        frames = []
        for _frame in range(FRAMES):
            for _step in range(learner.steps):
                one_step(learner, grid)
            frames.append(frame(learner, grid))
        learner.random = torch.get_rng_state()
    real = held_out(grid)
    return {
        "frames": first + frames,
        "real": interactive.packed(interactive.as_bytes(real, -1, 1)),
        "floor": scores(held_out(grid, 1), grid),
    }


def one_step(learner: Learner, grid: Any) -> None:
    """Train on one batch with the system's own losses; the rate falls linearly to zero."""
    import torch

    from souron.tasks.generate import Batch

    system = learner.system
    point, label = sampled(grid, BATCH)
    image = point[..., None, None]
    if learner.name == "glow":
        image = image.transpose(0, 2)  # as one image of BATCH pixels: the same mean, in less time
    batch = Batch(image, label)
    for optimizer in learner.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = system.config.rate * (1 - learner.step / (learner.steps * FRAMES * PARTS))
    for who, loss in system.updates(batch, learner.step):
        optimizer = learner.optimizers[who]
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        optimizer.zero_grad()
        loss.backward(inputs=weights)
        if system.clip:
            torch.nn.utils.clip_grad_norm_(weights, system.clip)
        optimizer.step()
    system.after_update(learner.step)
    learner.step += 1


def frame(learner: Learner, grid: Any) -> dict[str, Any]:
    """Return generated points and their scores."""
    found = generated(learner.name, learner.system)
    return {
        "step": learner.step,
        "points": interactive.packed(interactive.as_bytes(found, -1, 1)),
        **scores(found, grid),
    }


def generated(name: str, system: Any) -> Any:
    """Generate (DRAWN, 2) points, always from the same noise."""
    import torch

    from souron.evaluation.generators.sampling import Noise

    own = {"vae": {"grain": 1.0}, "ddpm": {"guidance": 0.0}}
    system.eval()
    with torch.no_grad():
        found = system.draw(Noise(0, range(DRAWN)), **own.get(name, {}))
    system.train()
    return found[:, :, 0, 0]


def scores(found: Any, grid: Any) -> dict[str, float]:
    """Compare generated points (N, 2) with the shape.

    ``energy`` is the energy distance to held-out points of the shape; ``off`` the share of points more than one cell
    away from it; ``missed`` the share of painted cells that have no point in them or in the eight cells around.
    """
    from scipy import ndimage

    from souron.stats.two_samples import energy_test

    painted = (grid > 0).numpy()
    row, column = cells_at(found)
    near = ndimage.binary_dilation(painted, structure=[[1] * 3] * 3)
    hit = painted * 0
    hit[row, column] = 1
    reached = ndimage.binary_dilation(hit, structure=[[1] * 3] * 3)
    energy = energy_test(held_out(grid)[:JUDGED], found[:JUDGED], permutations=0).distance
    return {
        "energy": round(energy, 4),
        "off": round(float(1 - near[row, column].mean()), 4),
        "missed": round(float(1 - reached[painted].mean()), 4),
    }


def cells_at(points: Any) -> tuple[Any, Any]:
    """Return the row and column of the cell of each point (N, 2)."""
    column = ((points[:, 0] + 1) / 2 * SIDE).long().clamp(0, SIDE - 1).numpy()
    row = ((1 - points[:, 1]) / 2 * SIDE).long().clamp(0, SIDE - 1).numpy()
    return row, column


def made(name: str, grid: Any) -> Any:
    """Build one of souron's systems for images of one pixel, whose two channels are coordinates."""
    from torch import nn

    from souron import registry
    from souron.tasks.generate import Spec

    kind, config = registry.load_system(f"{name}_tiny")
    share = float((grid == 1).sum() / (grid > 0).sum())
    spec = Spec(2, 1, ("1", "2"), (share, 1 - share))
    if name == "gan":
        system = kind(
            replace(config, width=128, units=64, pieces=3, noise=4, rate=1e-3, momentum=0.5, average=0.99), spec
        )
        for part in system.critic:
            if isinstance(part, nn.Dropout):
                part.p = 0.0  # of two coordinates none can be spared
        return system
    if name == "vae":
        return kind(replace(config, hidden=128, layers=2, latent=2, rate=2e-3), spec)
    if name == "glow":
        return flow(kind, replace(config, depth=8, width=64, rate=3e-3), spec)
    return diffusion(kind, replace(config, rate=3e-3), spec)


def flow(kind: Any, config: Any, spec: Any) -> Any:
    """Build ``glow`` with one level of its steps on two channels, since one pixel cannot be folded."""
    from torch import nn

    layers = sys.modules[kind.__module__]

    class PointLevel(nn.Module):
        """(B, 2, 1, 1) <-> as many normal numbers."""

        def __init__(self) -> None:
            super().__init__()
            steps = [
                layer
                for _step in range(config.depth)
                for layer in (layers.Actnorm(2), layers.Mixing(2), one_pixel(layers.Coupling(2, config.width)))
            ]
            self.steps = nn.ModuleList([*steps, layers.Actnorm(2)])

        def forward(self, x: Any) -> Any:
            total = x.new_zeros(len(x))
            for step in self.steps:
                x, change = step(x)
                total = total + change
            return x, [x], total

        def inverse(self, _x: Any, normal: Any) -> Any:
            step: Any
            for step in reversed(self.steps):
                normal = step.inverse(normal)
            return normal

    system = kind(config, replace(spec, side=4))  # the least side that it can fold
    system.spec = spec
    system.levels, system.shapes = nn.ModuleList([PointLevel()]), [[(2, 1, 1)]]
    return system


def one_pixel(part: Any) -> Any:
    """Keep the middle of the kernels of all convolutions: the rest would only meet the border."""
    from torch import nn

    for convolution in part.modules():
        if isinstance(convolution, nn.Conv2d):
            middle = convolution.kernel_size[0] // 2
            convolution.weight = nn.Parameter(
                convolution.weight.detach()[..., middle : middle + 1, middle : middle + 1]
            )
            convolution.kernel_size, convolution.padding = (1, 1), (0, 0)
    return part


def diffusion(kind: Any, config: Any, spec: Any) -> Any:
    """Build ``ddpm`` with an MLP of points in place of its UNet of images."""
    import torch
    from torch import nn

    from souron.blocks.averaging import follower

    class PointNetwork(nn.Module):
        """Noise (B, 2, 1, 1) in points at steps (B,) of 1000, for labels (B,)."""

        def __init__(self, width: int, classes: int) -> None:
            super().__init__()
            self.label = nn.Embedding(classes + 1, width)
            self.first = nn.Linear(2 + 16 + 8, width)
            self.rest = nn.Sequential(
                nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
            )
            self.octaves: Any
            self.register_buffer("octaves", math.pi / 2 * torch.tensor([1.0, 2.0, 4.0, 8.0]), persistent=False)

        def forward(self, noisy: Any, step: Any, label: Any) -> Any:
            point = noisy.flatten(1)
            angle = torch.cat([point, step[:, None] / 1000], 1)[..., None] * self.octaves  # (B, 3, 4)
            whole = torch.cat([point, angle.sin().flatten(1), angle.cos().flatten(1)], 1)
            return self.rest(self.first(whole) + self.label(label))[..., None, None]

    system = kind(config, spec)
    system.network = PointNetwork(128, system.classes)
    system.average = follower(system.network)
    return system


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
    system, grid = learner.system, grid_of(cells)
    label = torch.full((DRAWN,), wanted)
    system.eval()
    with torch.no_grad():
        noise = Noise(1, range(DRAWN))
        stops = [x[:, :, 0, 0] for x in system.drawing(noise, label, sampler="ddim", steps=STOPS, guidance=guidance)]
        times = evenly(system.kept, STOPS)
        fields = [[arrows(system, t, kind) for kind in (wanted, 2)] for t in times]
    system.train()
    own = grid if wanted == 2 else torch.where(grid == wanted + 1, grid, 0)
    shape, colour = scores(stops[-1], grid), scores(stops[-1], own) if (own > 0).any() else None
    return {
        "points": [interactive.packed(interactive.as_bytes(x, -REACH, REACH)) for x in stops],
        "noise": [[interactive.packed(interactive.as_bytes(each, -NOISE, NOISE)) for each in both] for both in fields],
        "kept": [*(round(system.kept[t], 6) for t in times), 1.0],
        "grid": GRID,
        "reach": REACH,
        "most": NOISE,
        "off": shape["off"],
        "missed": colour["missed"] if colour else 1.0,
        "right": nearest_share(stops[-1], grid, wanted),
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


def nearest_share(found: Any, grid: Any, wanted: int) -> float:
    """Return the share of points (N, 2) whose nearest painted cell has the wanted class."""
    from scipy import ndimage

    _far, index = ndimage.distance_transform_edt((grid == 0).numpy(), return_indices=True)
    row, column = cells_at(found)
    colour = grid.numpy()[index[0][row, column], index[1][row, column]]
    return round(float((colour == wanted + 1).mean()), 4)
