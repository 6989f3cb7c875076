"""Backpropagation in a network of nine or thirteen weights, and what becomes of gradients in a deep one.

The small network is souron's ``mlp`` with two inputs and one output; the page's script computes its
forward and backward pass and three optimizers, which a test compares with PyTorch's. The deep one
is made of the MLPs and norms of souron's decoder, on scikit-learn's handwritten digits.

Rumelhart, Hinton, Williams: Learning Representations by Back-Propagating Errors (1986),
https://doi.org/10.1038/323533a0. Vanishing gradients: Hochreiter (1991), and Bengio, Simard,
Frasconi: Learning Long-Term Dependencies with Gradient Descent is Difficult (1994),
https://doi.org/10.1109/72.279181. Skips: He and others: Deep Residual Learning (2015),
https://arxiv.org/abs/1512.03385. Adam: Kingma, Ba (2014), https://arxiv.org/abs/1412.6980.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import (
    beside,
    button,
    canvas,
    choice,
    controls,
    images,
    part,
    parts,
    player,
    plot,
    slider,
)
from souron.utils.messages import N_, _

TITLE = N_("Backpropagation step by step")
ABOUT = N_(
    "A network computes forwards: inputs, hidden units, output, loss. Backpropagation goes the other way and gives "
    "each weight its gradient by the chain rule: how the loss changes if this weight grows a little. First a network "
    "that is small enough to follow every number, then one with up to 40 layers."
)
QUESTION = N_(
    "In a network of 30 blocks without skips and normalisation: how large is the gradient in the first block, "
    "compared with the last?"
)
CHOICES = (N_("about as large"), N_("ten to a hundred times smaller"), N_("more than a million times smaller"))
RIGHT = 2
ANSWER = N_(
    "More than a million times smaller: each block multiplies the gradient by a factor below one, and thirty such "
    "factors leave nothing, so that the first blocks do not learn. With normalisation the gradient does not depend "
    "on how small the signal has become; with skips it has a way past every block. Either of them keeps it nearly "
    "the same in all blocks, here at the beginning of training. Transformers and ResNets have both."
)
WORDS = {
    "forward": N_("Forward: each hidden unit adds up its weighted inputs, z, and a ReLU keeps what is positive, h"),
    "loss": N_("Loss: half of the squared error"),
    "output": N_("The gradient of the loss with respect to the output"),
    "weight": N_("Chain rule: the gradient behind the edge times the value in front of it"),
    "bias": N_("A bias is added as it is: its gradient is the one behind it"),
    "hidden": N_("Back through the edge: the gradient times the weight"),
    "relu": N_("Back through the ReLU: times 1 where z is positive, else times 0"),
    "step": N_("{name}: after {steps} steps the loss is {loss}"),
    "table": N_("weight"),
    "gradient": N_("{name}: gradient"),
    "change": N_("{name}: change"),
    "sgd": N_("SGD"),
    "momentum": N_("momentum"),
    "adam": N_("Adam"),
    "plain": N_("neither"),
    "skip": N_("skips"),
    "norm": N_("normalisation"),
    "both": N_("skips and normalisation"),
    "ratio": N_("{name}: the first block's gradient is {ratio} times the last one's ({first} and {last})."),
    "block": N_("block"),
    "norms": N_("norm of the gradient"),
}
TOUR = (
    ("x1", N_("The inputs and the target are yours to set. All numbers follow at once.")),
    ("graph", N_("Values stand in the circles, weights on the edges.")),
    ("later", N_("Go on step by step: each step computes one gradient, from the loss backwards.")),
    ("formula", N_("The chain rule with the numbers filled in.")),
    (
        "graph",
        N_("A hidden unit has z below 0. What is the gradient of the weights that lead into it?"),
        (N_("0"), N_("negative"), N_("as that of the other units")),
        0,
    ),
    ("once", N_("One step of three optimizers, from the same weights and with the same gradient.")),
    (
        "changes",
        N_("In the first step, how large is the change by Adam?"),
        (N_("as large as the gradient"), N_("about the learning rate, wherever there is a gradient")),
        1,
    ),
    ("norms", N_("A deep network on real digits: the size of the gradient in each block, on a logarithmic scale.")),
)
PARTS = ("network", "depth")
HIDDEN, DEPTHS = (3, 2), (2, 40)
WIDTH, UNITS, CASES = 64, 128, 128  # of the deep network; digits in the batch
WAYS = {"plain": (False, False), "skip": (True, False), "norm": (False, True), "both": (True, True)}


def stage() -> Markup:
    names = [("sgd", _("SGD")), ("momentum", _("momentum")), ("adam", _("Adam"))]
    first = beside(
        controls(
            slider("x1", _("input x₁"), -2, 2, 1.5, 0.1),
            slider("x2", _("input x₂"), -2, 2, -0.5, 0.1),
            slider("target", _("target t"), -2, 2, 1, 0.1),
            choice("hidden", _("hidden units"), [(str(count), str(count)) for count in HIDDEN]),
            button("weights", _("New random weights")),
        )
        + player(_("steps of the chain rule")),
        images(canvas("graph", _("the network as a graph, with values and gradients"), 480, 330)) + part("formula"),
    )
    second = beside(
        controls(
            slider("rate", _("learning rate"), 0.01, 0.5, 0.1, 0.01),
            choice("shown", _("shown in the graph"), names),
            button("once", _("One step"), first=True),
            button("ten", _("Ten steps")),
            button("again", _("Back to the first weights")),
        ),
        images(
            plot("losses", _("loss, step by step"), 360, 180, _("Loss: blue SGD, orange momentum, green Adam")),
            Markup('<figure class="numbers" data-part="changes" tabindex="0"></figure>'),
        ),
        parts(*(name for name, _text in names)),
    )
    third = beside(
        controls(slider("depth", _("blocks"), *DEPTHS, 30, 2)),
        images(
            plot(
                "norms",
                _("gradient norm, block by block"),
                480,
                300,
                _("Norm of the gradient in each block, from the first to the last, on a batch of digits"),
            )
        ),
        parts(*WAYS),
    )
    return Markup("{}<h3>{}</h3>{}<h3>{}</h3>{}").format(
        first, _("A step of three optimizers"), second, _("Vanishing gradients"), third
    )


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights of a small network, or the gradient norms of a deep one in four variants."""
    kind = interactive.among({"part": asked.get("part")}, "part", PARTS)
    if kind == "depth":
        return {"norms": norms(interactive.whole(asked, "depth", *DEPTHS, 30))}
    hidden = interactive.whole(asked, "hidden", min(HIDDEN), max(HIDDEN), 3)
    seed = interactive.whole(asked, "seed", 0, 999, 0)
    return {"weights": [round(value, 2) for value in flat(network(hidden, seed))], "hidden": hidden}


def record() -> Iterator[dict[str, Any]]:
    """Yield the requests of an exported page."""
    for hidden in HIDDEN:
        yield from ({"part": "network", "hidden": hidden, "seed": seed} for seed in range(20))
    yield from ({"part": "depth", "depth": depth} for depth in range(DEPTHS[0], DEPTHS[1] + 1, 2))


def network(hidden: int, seed: int) -> Any:
    """Return souron's ``mlp`` with two inputs, one layer of hidden units and one output."""
    import torch

    from souron import registry

    system_class, config = registry.load_system("mlp_tiny")
    spec = registry.load_task("classify").Spec(2, 1, ("y",), (0.0, 0.0), (1.0, 1.0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = system_class(type(config)((hidden,)), spec)
        for weight in made.parameters():
            torch.nn.init.uniform_(weight, -1, 1)  # large enough to be seen
    return made


def flat(system: Any) -> list[float]:
    """Return all weights in the order of the script: W1 row by row, b1, W2, b2."""
    return [value for weight in system.parameters() for value in weight.detach().flatten().tolist()]


@lru_cache(maxsize=64)
def norms(depth: int) -> dict[str, list[float]]:
    """Return variant -> norm of the gradient of each block's weights, from the first block to the last."""
    import torch
    from torch.nn import functional as F

    image, target = digits()
    found = {}
    for way, (skip, normalised) in WAYS.items():
        deep = deep_network(depth, skip, normalised)
        loss = F.cross_entropy(deep(image), target)
        slopes = torch.autograd.grad(loss, list(deep.parameters()), allow_unused=True)
        by_weight = dict(zip((name for name, _weight in deep.named_parameters()), slopes, strict=True))
        found[way] = [float(by_weight[f"blocks.{block}.up.weight"].norm().clamp(min=1e-300)) for block in range(depth)]
    return found


@lru_cache(maxsize=1)
def digits() -> tuple[Any, Any]:
    """Return a batch of digits, (CASES, 64) standardised, and their classes."""
    from souron.data.load import load

    data = load("digits")
    pixels = data.input[:CASES].flatten(1).double()
    return (pixels - pixels.mean()) / pixels.std(), data.target[:CASES]


def deep_network(depth: int, skip: bool, normalised: bool) -> Any:
    """Return a network of ``depth`` MLPs of souron's decoder, with PyTorch's usual initial weights."""
    import torch
    from torch import nn

    from souron.blocks.decoder import MLP, Structure, norm, unchanged

    structure = Structure(1, 1, depth, WIDTH, 1, hidden=UNITS, mlp="gelu", bias=True)

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.begin = nn.Linear(64, WIDTH)
            self.blocks = nn.ModuleList(MLP(structure) for _block in range(depth))
            self.norms = nn.ModuleList(norm(structure) for _block in range(depth + 1))
            self.head = nn.Linear(WIDTH, 10)

        def forward(self, image: Any) -> Any:
            x = self.begin(image)
            for number, block in enumerate(self.blocks):
                given = self.norms[number](x) if normalised else x
                change = block(given, number, unchanged)
                x = x + change if skip else change
            return self.head(self.norms[depth](x) if normalised else x)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Deep().double()  # in float32 the smallest gradients would become 0
