"""Convolution, patches and attention by hand, on the reader's own photograph.

- a 3 x 3 kernel with stride, padding and dilation, computed in the script (as PyTorch's ``conv2d``);
- receptive fields of one unit through the layers of souron's ready-trained ``cnn`` or ``resnet``, by
  gradient (Luo, Li, Urtasun, Zemel: Understanding the Effective Receptive Field, 2016,
  https://arxiv.org/abs/1701.04128);
- the tokens of the ready-trained ``vit`` and the attention of one head (Dosovitskiy and others 2020);
- attention of three to five words with vectors set by hand, computed in the script (Vaswani and
  others 2017).
"""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, canvas, choice, controls, images, parts, slider, tick
from souron.studio.interactives import _own_image
from souron.utils.messages import N_, UserError, _

TITLE = N_("Convolution and attention by hand")
ABOUT = N_(
    "A convolution looks at a small window and uses the same weights everywhere. Attention lets every part of an image,"
    " or every word, look at every other one, with weights that depend on what is there. Compute both yourself, on a"
    " photograph of your own."
)
QUESTION = N_(
    "A photograph is rearranged: its left and right half change places. For which of the two do the results merely"
    " change places too, away from the borders?"
)
CHOICES = (
    N_("for the convolution, since its weights are the same everywhere"),
    N_("for neither"),
    N_("for a ViT with its position embeddings"),
)
RIGHT = 0
ANSWER = N_(
    "For the convolution: the same kernel meets the same window, wherever that lies. A ViT adds to each patch an"
    " embedding of its position, so that the same patch elsewhere is another token. In return, attention reaches the"
    " whole image in the first layer, while the receptive field of a convolution grows layer by layer."
)
WORDS = {
    "size": N_("{before} × {before} pixels become {after} × {after}; the values go from {low} to {high}, mean {mean}"),
    "pixel": N_("row {y}, column {x}: {sum}"),
    "empty": N_("no window fits into the image"),
    "layer": N_(
        "{layer} ({kind}): its unit in row {y}, column {x} of {side} × {side} depends on {high} × {wide} pixels"
    ),
    "scores": N_("{layer} ({kind}): the highest score depends on {high} × {wide} pixels"),
    "token": N_("The patch of {patch} × {patch} pixels in row {y}, column {x} becomes token {token}: {width} numbers."),
    "first": N_("The class token is learnt; the classifier reads what it has become after the last layer."),
    "looks": N_(
        "Its attention, layer {layer}, head {head}: {best} % to the patch in row {y}, column {x}, {first} % to the"
        " class token, {own} % to itself."
    ),
    "says": N_("The ViT, which knows ten kinds of clothes and nothing else, says: {said}"),
    "word": N_("word"),
    "query": N_("query"),
    "key": N_("key"),
    "value": N_("value"),
    "output": N_("output"),
    "weights": N_("{word} attends to"),
    "unread": N_("This file is no image that the browser can read."),
    "own": N_("own photograph"),
}
TOUR = (
    ("picture", N_("Choose a photograph, or a garment from the data that the networks were trained on.")),
    ("photo", N_("Or take one of your own. It stays on this computer.")),
    ("kernel", N_("Nine weights. Choose a preset, then change a number and see what becomes of the image.")),
    (
        "stride",
        N_("Guess first: with a stride of 2, how many pixels are left of 64 × 64?"),
        (N_("64 × 64"), N_("about a half"), N_("about a quarter")),
        2,
    ),
    ("output", N_("Press a pixel of the result: the page writes out the nine products and their sum.")),
    ("depth", N_("Deeper layers see more: the frame is all that one unit depends on.")),
    ("patches", N_("A ViT cuts the image into patches. Press one: where does it look?")),
    (
        "words",
        N_("Guess first: a query of zeros. How does that word divide its attention?"),
        (N_("evenly"), N_("all to itself"), N_("not at all")),
        0,
    ),
)
SETTINGS = {"picture": (0, 4)}  # recorded: a photograph and a garment
SIDE = 64  # pixels of the image that the kernel slides over
PHOTOGRAPHS = ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg")  # of scikit-image, CC0 and public domain
NETWORKS = ("cnn", "resnet")
VECTORS = (  # word, query, key, value; the two numbers of a vector are read as water and finance
    (N_("bank"), (2, 0.5), (1, 1), (0.5, 0.5)),
    (N_("river"), (1, 0), (2, 0), (1, 0)),
    (N_("money"), (0, 1), (0, 2), (0, 1)),
    (N_("fish"), (1.5, 0), (1.5, 0), (1, -0.5)),
    (N_("the"), (0, 0), (0, 0), (0, 0)),
)


def stage() -> Markup:
    if not interactive.examples("vit"):
        return Markup("<p>{}</p>").format(_("The ready-trained systems are not installed."))
    shown = [(str(place), file.stem) for place, file in enumerate(files())]
    return (
        controls(
            choice("picture", _("photograph"), shown),
            Markup('<label class="pick">{} <input type="file" data-part="photo" accept="image/*"></label>').format(
                _("one of your own")
            ),
        )
        + kernel_stage()
        + field_stage()
        + patch_stage()
        + word_stage()
    )


def kernel_stage() -> Markup:
    """Return the part with the kernel."""
    presets = [
        ("blur", _("blur")),
        ("edges", _("edges")),
        ("vertical", _("vertical edges (Sobel)")),
        ("sharpen", _("sharpen")),
        ("emboss", _("emboss")),
        ("nothing", _("nothing")),
    ]
    cells = Markup("").join(
        Markup('<input type="number" step="any" name="k{}" value="1" aria-label="{}">').format(
            place, _("kernel, row {y}, column {x}").format(y=place // 3 + 1, x=place % 3 + 1)
        )
        for place in range(9)
    )
    return Markup("<h3>{}</h3>").format(_("A kernel of 3 × 3")) + beside(
        controls(
            choice("preset", _("preset"), presets),
            Markup(
                '<div class="pictures"><fieldset class="kernel" data-part="kernel"><legend>{}</legend>{}</fieldset>'
                '<label>{} <input type="number" step="any" name="divisor" value="9"></label></div>'
            ).format(_("kernel"), cells, _("divided by")),
            slider("stride", _("stride"), 1, 4, 1),
            slider("padding", _("padding"), 0, 3, 1),
            slider("dilation", _("dilation"), 1, 4, 1),
        ),
        images(
            canvas("input", _("the photograph in grey"), 256, 256, _("The photograph; the frame is the window")),
            canvas(
                "output",
                _("the result: arrow keys move the chosen pixel"),
                256,
                256,
                _("The result. Blue is above 0, orange below, where there are both."),
                keys=True,
            ),
        ),
        parts("size", "pixel"),
    )


def field_stage() -> Markup:
    """Return the part with receptive fields."""
    return Markup("<h3>{}</h3>").format(_("The receptive field of one unit")) + beside(
        controls(
            choice("network", _("network"), [(name, name) for name in NETWORKS]), slider("depth", _("layer"), 1, 2, 1)
        ),
        images(
            canvas(
                "receptive",
                _("the pixels that the unit depends on: arrow keys move the unit"),
                280,
                280,
                _("Blue: how much the unit depends on a pixel, by gradient. Press to move the unit."),
                keys=True,
            )
        ),
        parts("layer"),
    )


def patch_stage() -> Markup:
    """Return the part with the patches of a ViT."""
    return Markup("<h3>{}</h3>").format(_("Patches and the attention of a ViT")) + beside(
        controls(
            slider("block", _("layer of the ViT"), 1, 4, 1),
            slider("head", _("head"), 1, 4, 1),
            tick("first", _("ask the class token")),
        ),
        images(
            canvas(
                "patches",
                _("the patches: arrow keys choose one"),
                280,
                280,
                _("The frame is the patch that asks; blue is where it looks. Press another one."),
                keys=True,
            ),
            canvas("token", _("the patch and its token"), 280, 120, _("The patch, and the token that it becomes")),
        ),
        parts("says", "became", "looks"),
    )


def word_stage() -> Markup:
    """Return the part with the words."""

    def cell(kind: str, place: int, number: int, value: float, label: str) -> Markup:
        return Markup('<td><input type="number" step="any" name="{}{}{}" value="{}" aria-label="{}"></td>').format(
            kind, place, number, value, f"{label} {number + 1}, {_(VECTORS[place][0])}"
        )

    kinds = (("q", _("query")), ("k", _("key")), ("v", _("value")))
    rows = Markup("").join(
        Markup(
            '<tr data-row="{}"><td><input type="text" name="w{}" maxlength="20" value="{}" aria-label="{}"></td>{}</tr>'
        ).format(
            place,
            place,
            _(word),
            _("word {number}").format(number=place + 1),
            Markup("").join(
                cell(kind, place, number, value, label)
                for (kind, label), vector in zip(kinds, vectors, strict=True)
                for number, value in enumerate(vector)
            ),
        )
        for place, (word, *vectors) in enumerate(VECTORS)
    )
    heads = Markup("").join(Markup('<th scope="col" colspan="2">{}</th>').format(label) for _kind, label in kinds)
    return (
        Markup("<h3>{}</h3>").format(_("Attention of a few words"))
        + controls(
            choice("count", _("words"), [("3", "3"), ("4", "4"), ("5", "5")]),
            tick("causal", _("only words before (causal mask)")),
        )
        + Markup(
            '<div class="scores"><table class="vectors" data-part="words">'
            '<tr><th scope="col">{}</th>{}</tr>{}</table></div>'
        ).format(_("word"), heads, rows)
        + Markup('<p class="faint">{}</p><div class="scores" data-part="attention"></div>').format(
            _("weights = softmax(query · key / √2), output = the sum of the values by these weights")
        )
    )


def files() -> list[Path]:
    """Return photographs of scikit-image, as far as they are installed, then garments of Fashion-MNIST."""
    spec = find_spec("skimage")
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else Path("missing")
    return [*(folder / name for name in PHOTOGRAPHS if (folder / name).is_file()), *interactive.examples("vit")]


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the grey image and tokens, receptive fields of a network, or the attention of a head."""
    import torch

    from souron.data.dataset import Rows
    from souron.studio.model_cache import models

    picture = photograph(asked)
    small = picture.square(28, 1)[None]
    if "network" in asked:
        name = interactive.among(asked, "network", NETWORKS)
        y, x = (interactive.number(asked, each, 0, 1, 0.5) for each in ("y", "x"))
        with models.answering(name) as model:
            return receptive_fields(model.system, torch.cat([small, *garments()]), y, x)
    with models.answering("vit") as model, torch.no_grad():
        system = model.system
        system.eval()
        image = system.batch(Rows(small, None)).image
        if "block" in asked:
            layers, heads = system.config.layers, system.config.heads
            block = interactive.whole(asked, "block", 0, layers - 1, 0)
            weights = attention(system, image, block)[interactive.whole(asked, "head", 0, heads - 1, 0)]
            return {"weights": [[round(value, 4) for value in row] for row in weights.tolist()]}
        return {
            "side": SIDE,
            "grey": interactive.packed(picture.square(SIDE, 1)[0].numpy()),
            "small": interactive.packed(small[0, 0].numpy()),
            **tokens(system, image),
        }


def record() -> Iterator[dict[str, Any]]:
    """Yield the requests of two images: all layers and heads, both networks with a unit in the middle."""
    for picture in SETTINGS["picture"] if interactive.examples("vit") else ():
        yield {"picture": picture}
        for name in NETWORKS:
            yield {"picture": picture, "network": name, "y": 0.5, "x": 0.5}
        for block in range(4):
            for head in range(4):
                yield {"picture": picture, "block": block, "head": head}


def photograph(asked: Mapping[str, Any]) -> Any:
    """Return the chosen image, or an own one that the browser has decoded. Raises UserError."""
    from souron.kinds.picture import Picture

    sent = asked.get("own")
    if not isinstance(sent, dict):
        known = files()
        if not known:
            raise UserError("zoo", _("The ready-trained systems are not installed."))
        return Picture.read(known[interactive.whole(asked, "picture", 0, len(known) - 1, 0)])
    return _own_image.read(sent)


def garments() -> list[Any]:
    """Return the ready test images of Fashion-MNIST, (1, 1, 28, 28) uint8 each."""
    from souron.kinds.picture import Picture

    return [Picture.read(file).square(28, 1)[None] for file in interactive.examples("cnn")]


def receptive_fields(system: Any, given: Any, y: float, x: float) -> dict[str, Any]:
    """Return for every layer how much one unit depends on each pixel, the mean |gradient| over images.

    ``y`` and ``x`` are the unit's position as shares of the layer's side. The unit's value is the sum of its channels;
    for the last layer it is the highest score.
    """
    import torch
    from torch import nn

    from souron.data.dataset import Rows

    outputs: list[tuple[str, str, Any]] = []

    def note(name: str) -> Any:
        return lambda part, _given, made: outputs.append((name, type(part).__name__, made))

    kinds = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
    parts = [
        (name, part) for name, part in system.named_modules() if isinstance(part, kinds) and "downsample" not in name
    ]
    hooks = [part.register_forward_hook(note(name)) for name, part in parts]
    system.eval()
    try:
        image = system.batch(Rows(given, None)).image.requires_grad_()
        scores = system(image)
    finally:
        for hook in hooks:
            hook.remove()
    layers = []
    for name, kind, made in outputs:
        side = made.shape[-1]
        row, column = min(int(y * side), side - 1), min(int(x * side), side - 1)
        [slope] = torch.autograd.grad(made[:, :, row, column].sum(), image, retain_graph=True)
        layers.append({"layer": name, "kind": kind, "side": side, "y": row, "x": column, **spread(slope)})
    [slope] = torch.autograd.grad(scores.amax(1).sum(), image)
    return {"layers": [*layers, {"layer": "fc", "kind": "Linear", "side": 1, "y": 0, "x": 0, **spread(slope)}]}


def spread(slope: Any) -> dict[str, Any]:
    """Return the mean absolute gradient as bytes, and the box in which it is not zero."""
    mean = slope.detach().abs().mean((0, 1))  # (H, W)
    rows, columns = (mean.sum(1) > 0).nonzero()[:, 0], (mean.sum(0) > 0).nonzero()[:, 0]
    box = [int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1] if len(rows) else [0] * 4
    root = (mean / mean.max().clamp(min=1e-12)).sqrt()
    return {"values": interactive.packed(interactive.as_bytes(root, 0, 1)), "box": box}


def tokens(system: Any, image: Any) -> dict[str, Any]:
    """Return the tokens of the patches before positions are added, and the network's three best answers."""
    patches = system.conv_proj(image)[0]  # (width, grid, grid); 28 pixels need no border
    most = float(patches.abs().max())
    probability = system(image).softmax(1)[0]
    best = probability.argsort(descending=True)[:3].tolist()
    return {
        "grid": patches.shape[-1],
        "patch": system.conv_proj.kernel_size[0],
        "width": len(patches),
        "tokens": interactive.packed(interactive.as_bytes(patches.flatten(1).T, -most, most)),
        "said": [[system.spec.labels[place], round(float(probability[place]), 3)] for place in best],
    }


def attention(system: Any, image: Any, block: int) -> Any:
    """Return the attention weights of every head of a layer, (heads, tokens, tokens); token 0 is the class token."""
    from torch.nn import functional as F

    layer = system.encoder.layers[block].self_attention
    given: list[Any] = []
    hook = layer.register_forward_pre_hook(lambda _layer, values: given.append(values[0]))
    try:
        system(image)
    finally:
        hook.remove()
    query, key, _value = (
        part.unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        for part in F.linear(given[0], layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1)
    )
    return ((query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)).softmax(-1)[0]
