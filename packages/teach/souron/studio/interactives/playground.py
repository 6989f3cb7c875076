"""A small MLP trained on points in a plane: decision surface, hidden units and weights over time.

The network is souron's ``mlp`` with two coordinates as input in place of pixels. Sixteen copies
with different random initial weights train in parallel, since one initialisation may fail where
another succeeds.

After the idea of Smilkov, Carter, Sculley, Viegas, Wattenberg: Direct-Manipulation Visualization of
Deep Networks (2017), https://arxiv.org/abs/1708.03788.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, button, canvas, choice, controls, images, parts, player, plot, slider
from souron.utils.messages import N_, _

TITLE = N_("Playground: a network learns a plane")
ABOUT = N_(
    "Points of two kinds lie on a plane. An MLP (multi-layer perceptron) learns to separate "
    "them: each hidden unit bends the plane along one straight line, and the output adds the "
    "bends up. The background shows the network's answer everywhere, blue for one kind and "
    "orange for the other."
)
QUESTION = N_("In xor, opposite corners belong together. Can one hidden unit separate them?")
CHOICES = (N_("Yes, if it learns long enough"), N_("No, however long it learns"), N_("Only from a lucky start"))
RIGHT = 1
ANSWER = N_(
    "No. One unit knows one line, and its output only rises or only falls across it; no line has "
    "the blue corners on one side and the orange ones on the other. With two hardly any start "
    "finds the way, though two would do; with eight nearly all do. More width makes a good start "
    "likelier, and the page counts it."
)
WORDS = {
    "now": N_("step {step}: loss {loss}, {train} % of these points right, {test} % of new ones"),
    "starts": N_("From {starts} random starts, {good} classified at least 95 % of the points correctly."),
}
TOUR = (
    (
        "points",
        N_(
            "Choose the points. In xor opposite corners belong to one class; moons, circle and spiral need a curved "
            "boundary."
        ),
    ),
    (
        "width",
        N_(
            "Hidden units: each computes a ReLU of a weighted sum of x and y, so it is 0 on one side of a straight "
            "line and rises on the other."
        ),
    ),
    (
        "surface",
        N_("With one hidden unit, what shape has the boundary between the classes?"),
        (N_("A straight line"), N_("A corner"), N_("A circle")),
        0,
    ),
    ("frame", N_("Move through the training, forwards and backwards. The surface, the units and the loss follow.")),
    (
        "units",
        N_(
            "The activation of each hidden unit over the plane, bright where it is large. The frame is the weight "
            "that leads on: blue above 0, orange below, thicker where it is larger."
        ),
    ),
    (
        "loss",
        N_(
            "The cross-entropy on these points, step by step. A flat stretch is a time in which the weights move but "
            "the fit hardly improves."
        ),
    ),
    (
        "starts",
        N_(
            "Sixteen random starts are trained at once. With two hidden units on xor, how many get 95 % of the "
            "points right?"
        ),
        (N_("None"), N_("About half"), N_("Nearly all")),
        0,
    ),
    (
        "noise",
        N_(
            "More noise makes the classes overlap. Then compare the share right on these points with that on new "
            "ones: the difference is overfitting."
        ),
    ),
)
KINDS = ("xor", "moons", "circle", "spiral")
POINTS, STARTS, STEPS, FRAMES = 200, 16, 400, 30
SURFACE, UNIT = 40, 20  # cells a side
REACH = 1.2  # of the plane shown, from -REACH to REACH
RATE = 0.03
SETTINGS = {"width": (1, 2, 4, 8), "depth": (1,), "noise": (10,), "start": (3,)}


def stage() -> Markup:
    points = [("xor", _("xor")), ("moons", _("two moons")), ("circle", _("circle")), ("spiral", _("spiral"))]
    return beside(
        controls(
            choice("points", _("points"), points),
            slider("width", _("hidden units"), 1, 8, 1),
            slider("depth", _("hidden layers"), 1, 3, 1),
            slider("noise", _("noise, in %"), 0, 50, 10),
            slider("start", _("random start shown"), 1, STARTS, 3),
            button("learn", _("Train"), first=True),
        )
        + player(_("training steps")),
        images(
            canvas("surface", _("the points and the network's answer"), 320, 320, _("The network's output everywhere")),
            canvas(
                "units",
                _("what each hidden unit says"),
                320,
                240,
                _("Each hidden unit, a row for each layer; frame: the weight that leads on"),
            ),
            plot("loss", _("loss, step by step"), 240, 160, _("Loss on the points")),
        ),
        parts("now", "starts"),
    )


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recording of one network's training, and the final accuracies of all."""
    kind = interactive.among(asked, "points", KINDS)
    width = interactive.whole(asked, "width", 1, 8, 1)
    depth = interactive.whole(asked, "depth", 1, 3, 1)
    noise = interactive.number(asked, "noise", 0, 0.5, 0.1)
    start = interactive.whole(asked, "start", 0, STARTS - 1, 0)
    return learn(kind, width, depth, noise, start)


def record() -> Iterator[dict[str, Any]]:
    for width, depth, noise, start in product(*SETTINGS.values()):
        for kind in KINDS:
            yield {"points": kind, "width": width, "depth": depth, "noise": noise / 100, "start": start - 1}


def points(kind: str, noise: float, seed: int) -> tuple[Any, Any]:
    """Return points (POINTS, 2) in about -1..1 and their classes (POINTS,) int64."""
    import torch

    source = torch.Generator().manual_seed(seed)
    place = torch.rand(POINTS, generator=source)
    sort = torch.arange(POINTS) % 2
    if kind == "xor":
        corner = torch.rand(POINTS, 2, generator=source) * 0.8 + 0.1
        flip = torch.where(torch.rand(POINTS, generator=source) < 0.5, 1.0, -1.0)
        found = corner * torch.stack([flip, flip * (1 - 2 * sort)], 1)
    elif kind == "moons":
        angle = math.pi * place
        x = torch.where(sort == 0, angle.cos(), 1 - angle.cos())
        y = torch.where(sort == 0, angle.sin(), 0.5 - angle.sin())
        found = torch.stack([(x - 0.5) / 1.5, (y - 0.25) / 1.5], 1)
    elif kind == "circle":
        angle, radius = 2 * math.pi * place, torch.where(sort == 0, 0.35, 0.9)
        found = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    else:
        angle = 1.6 * math.pi * place.sqrt() + math.pi * sort
        radius = 0.1 + 0.85 * place.sqrt()
        found = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    return found + noise * 0.5 * torch.randn(POINTS, 2, generator=source), sort


def networks(width: int, depth: int) -> list[Any]:
    """Return STARTS of souron's MLPs for points, each with its own random weights."""
    import torch

    from souron import registry

    system_class, _config = registry.load_system("mlp_tiny")
    config = type(_config)((width,) * depth, RATE)
    spec = registry.load_task("classify").Spec(2, 1, ("0", "1"), (0.0, 0.0), (1.0, 1.0))
    made = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(STARTS):
            torch.manual_seed(seed)
            made.append(system_class(config, spec))
    return made


def learn(kind: str, width: int, depth: int, noise: float, start: int) -> dict[str, Any]:
    import torch
    from torch.nn import functional as F

    here, sort = points(kind, noise, 0)
    new, new_sort = points(kind, noise, 1)
    weights = stacked(networks(width, depth))
    frames = sorted({round(STEPS * (i / (FRAMES - 1)) ** 1.7) for i in range(FRAMES)})
    adam = Adam(weights)
    shown: list[dict[str, Any]] = []
    losses = []
    for step in range(STEPS + 1):
        logits = forward(weights, here)[-1]  # (STARTS, POINTS, 2)
        each = F.cross_entropy(logits.flatten(0, 1), sort.repeat(STARTS), reduction="none")
        loss = each.view(STARTS, -1).mean(1)  # (STARTS,)
        losses.append(loss[start].item())
        if step in frames:
            own = [value[start : start + 1].detach() for value in weights]
            right = (forward(own, new)[-1][0].argmax(1) == new_sort).float().mean()
            train = (logits[start].argmax(1) == sort).float().mean()
            shown.append(
                frame(own)
                | {
                    "step": step,
                    "loss": round(losses[-1], 4),
                    "train": round(train.item(), 3),
                    "test": round(right.item(), 3),
                }
            )
        if step < STEPS:
            adam.step(torch.autograd.grad(loss.sum(), weights))
    share = (logits.argmax(2) == sort).float().mean(1)  # (STARTS,)
    return {
        "points": [[round(x, 3), round(y, 3)] for x, y in here.tolist()],
        "sort": sort.tolist(),
        "frames": shown,
        "losses": [round(loss, 4) for loss in losses],
        "width": width,
        "depth": depth,
        "reach": REACH,
        "surface": SURFACE,
        "unit": UNIT,
        "starts": STARTS,
        "good": int((share >= 0.95).sum()),
        "best": round(share.max().item(), 3),
    }


def stacked(networks: list[Any]) -> list[Any]:
    """Stack the parameters of networks, layer by layer.

    Each layer gives weights (networks, outputs, inputs), then biases (networks, 1, outputs).
    """
    import torch

    each = [list(network.parameters()) for network in networks]
    together = [torch.stack([value.detach() for value in values]) for values in zip(*each, strict=True)]
    return [(v if v.ndim == 3 else v[:, None]).requires_grad_() for v in together]


def forward(weights: list[Any], where: Any) -> list[Any]:
    """Compute the activations of all networks at positions (N, 2), layer by layer.

    Return a list of (networks, N, units), the last are the logits. It equals ``mlp``'s ``forward``,
    for all networks at once.
    """
    value = where.expand(len(weights[0]), -1, -1)
    said = []
    for layer in range(0, len(weights), 2):
        value = weights[layer + 1].baddbmm(value, weights[layer].mT)
        value = value if layer == len(weights) - 2 else value.relu()
        said.append(value)
    return said


class Adam:
    """Adam for a few small tensors; importing PyTorch's takes a second.

    Kingma, Ba: Adam: A Method for Stochastic Optimization (2014), https://arxiv.org/abs/1412.6980
    """

    def __init__(self, weights: list[Any], rate: float = RATE) -> None:
        self.weights, self.rate, self.count = weights, rate, 0
        self.mean = [weight.detach() * 0 for weight in weights]
        self.square = [weight.detach() * 0 for weight in weights]

    def step(self, slopes: Any) -> None:
        self.count += 1
        early = math.sqrt(1 - 0.999**self.count) / (1 - 0.9**self.count)
        for weight, slope, mean, square in zip(self.weights, slopes, self.mean, self.square, strict=True):
            mean.lerp_(slope, 0.1)
            square.lerp_(slope.square(), 0.001)
            weight.data.addcdiv_(mean, square.sqrt().add_(1e-8), value=-self.rate * early)


def frame(weights: list[Any]) -> dict[str, Any]:
    """Return one network's decision surface, hidden units over the plane, and outgoing weights."""
    import torch

    with torch.no_grad():
        logits = forward(weights, grid(SURFACE))[-1][0]
        hidden = torch.stack([said[0].T for said in forward(weights, grid(UNIT))[:-1]])
        units = hidden / hidden.amax((1, 2), keepdim=True).clamp(min=1e-6)  # (depth, width, cells)
        leads = []
        for onward in weights[2::2]:
            last = onward is weights[-2]
            # towards class 1, or to the unit of the next layer with the largest weight
            lead = onward[0, 1] - onward[0, 0] if last else signed_largest(onward[0])
            leads.append([round(value, 2) for value in lead.tolist()])
    return {
        "surface": interactive.packed(interactive.as_bytes(logits.softmax(1)[:, 1], 0, 1)),
        "units": interactive.packed(interactive.as_bytes(units, 0, 1)),
        "leads": leads,
    }


def signed_largest(weight: Any) -> Any:
    """Return the value of largest magnitude in each column of (outputs, inputs)."""
    return weight.gather(0, weight.abs().argmax(0, keepdim=True))[0]


def grid(cells: int) -> Any:
    """Return the centres of the cells, (cells * cells, 2), row by row from the top."""
    import torch

    middle = (torch.arange(cells) + 0.5) / cells * 2 * REACH - REACH
    y, x = torch.meshgrid(-middle, middle, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)
