"""Inside a CNN: kernels, feature maps, and one output pixel as window times kernel.

The network is souron's ready-trained ``cnn`` (LeCun and others 1998), a classifier of clothes on
Fashion-MNIST. The page shows its weights and its intermediate activations.

After the idea of Wang and others: CNN Explainer (2020), https://arxiv.org/abs/2004.15004.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, button, canvas, choice, controls, images, parts
from souron.utils.messages import N_, _

TITLE = N_("Inside a CNN")
ABOUT = N_(
    "A CNN (convolutional neural network) slides small kernels over a picture. Each kernel writes "
    "a feature map, and the next layer slides its kernels over all of these maps. Choose a picture"
    " or draw one, then press a pixel of a map to see what it was computed from."
)
QUESTION = N_("How many weights does the first layer use to compute one pixel of a map?")
CHOICES = (N_("9, a window of 3 × 3"), N_("784, the whole picture"), N_("about 225 000, all of the network"))
RIGHT = 0
ANSWER = N_(
    "Nine. The kernel's nine weights times the nine pixels under it, added up: and the same nine "
    "weights at every position of the map. The second layer's pixel takes nine from each of the "
    "32 maps below, 288 in all. Few weights used everywhere are why a CNN needs so few examples."
)
WORDS = {
    "says": N_("The network says: {said}"),
    "map": N_("layer {layer}, map {map}"),
    "sum": N_("window times kernel, added up: {sum}; the layer itself says {layer}"),
    "after": N_("normalised over what it saw in training: {normal}; after ReLU: {relu}"),
    "below": N_("the part of map {map} below, the strongest of {maps}: {part}"),
    "window": N_("window"),
    "kernel": N_("kernel"),
    "product": N_("product"),
    "cursor": N_("row {y}, column {x}"),
}
TOUR = (
    ("picture", N_("Choose a test picture, or empty it and draw a piece of clothing yourself.")),
    (
        "kernels",
        N_("The 32 kernels of the first layer, 3 × 3 weights each. Blue weights are positive, orange ones negative."),
    ),
    (
        "kernels",
        N_("A kernel is positive on its left side and negative on its right side. Where is its feature map bright?"),
        (N_("On vertical edges"), N_("On horizontal edges"), N_("On every bright surface")),
        0,
    ),
    (
        "first",
        N_("Each kernel gives one feature map, shown after batch normalisation and ReLU. Press a pixel of a map."),
    ),
    (
        "window",
        N_(
            "The window under the kernel, the kernel, and their products. The sum of the products is the pixel of "
            "the map."
        ),
    ),
    ("sum", N_("The sum added up here beside the output of the layer itself: they are equal.")),
    (
        "second",
        N_("From how many values of the first layer is one pixel of the second layer computed?"),
        ("9", "288", "784"),
        1,
    ),
    (
        "says",
        N_(
            "At the end softmax gives each class a probability. Draw something that is no piece of clothing: the "
            "probabilities add up to 1 all the same."
        ),
    ),
)
SIDE = 28  # pixels a side of an image
SETTINGS = {"picture": (0, 1, 2)}
LAYERS = ((32, 28), (64, 14))  # maps and pixels a side of each layer
RECORDED = 7  # every seventh pixel of a map is in an exported file


def stage() -> Markup:
    files = interactive.examples("cnn")
    if not files:
        return Markup("<p>{}</p>").format(_("The ready-trained systems are not installed."))
    shown = [(str(i), file.stem) for i, file in enumerate(files)]
    return beside(controls(
        choice("picture", _("picture"), shown),
        button("clear", _("Empty picture, to draw")),
        button("look", _("Classify"), first=True),
    ) + images(
        canvas("input", _("the picture: arrow keys move, the space bar draws"), 280, 280,
               _("The picture. Draw with the mouse, or with arrow keys and space bar; then press Classify."),
               keys=True),
    ), images(
        canvas("kernels", _("the kernels of the first layer"), 232, 116,
               _("32 kernels of the first layer; blue above 0, orange below")),
        canvas("first", _("maps of the first layer: arrow keys move, Enter chooses a pixel"),
               464, 232, _("32 feature maps of the first layer. Press a pixel; or arrow keys and "
                           "Enter."), keys=True),
        canvas("second", _("maps of the second layer: arrow keys move, Enter chooses a pixel"),
               464, 116, _("64 feature maps of the second layer"), keys=True),
    ), interactive.part("says")) + Markup('<h3 data-part="map"></h3>') + beside(
        Markup(), images(canvas("window", _("window, kernel and product"), 420, 150)), parts("sum", "after", "below")
    ) + Markup(
        '<details><summary>{}</summary><pre data-part="numbers" tabindex="0"></pre></details>'
    ).format(_("the same as numbers"))  # fmt: skip


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return all feature maps of an image, or one output pixel explained if ``layer`` is given."""
    from souron.studio.model_cache import models

    image = pixels(asked)
    with models.answering("cnn") as model:
        if "layer" in asked:
            return explained(model.system, image, asked)
        return looked_at(model.system, image)


def record() -> Iterator[dict[str, Any]]:
    for picture in SETTINGS["picture"] if interactive.examples("cnn") else ():
        yield {"picture": picture}
        for layer, (maps, side) in enumerate(LAYERS):
            places = range(RECORDED // 2, side, RECORDED)
            for number, y, x in product(range(maps), places, places):
                yield {"picture": picture, "layer": layer, "map": number, "y": y, "x": x}


def pixels(asked: Mapping[str, Any]) -> Any:
    """Return the drawn image, or an example, (1, 1, SIDE, SIDE) uint8. Raises UserError."""
    import torch

    if "pixels" in asked:
        drawn = interactive.table(asked, "pixels", SIDE, SIDE, 255)
        if len(drawn) == SIDE:
            return torch.tensor(drawn).clamp(0, 255).to(torch.uint8)[None, None]
    return interactive.example("cnn", asked)


def looked_at(system: Any, image: Any) -> dict[str, Any]:
    """Return the image, feature maps after each ReLU, first-layer kernels, and prediction."""
    import torch

    from souron.data.dataset import Rows
    from souron.evaluation import feature_maps

    given = system.batch(Rows(image, None)).image
    bent = [each.maps for each in feature_maps.feature_maps(system, given) if each.kind == "ReLU"]
    kernels = feature_maps.kernels(system)[:, 0]  # (maps, size, size)
    most = float(kernels.abs().max())
    with torch.no_grad():
        probability = system(given).softmax(1)[0]
    best = probability.argsort(descending=True)[:3]
    return {
        "image": interactive.packed(image[0, 0].numpy()),
        "maps": [
            {
                "count": len(maps),
                "side": maps.shape[-1],
                "values": interactive.packed(interactive.as_bytes(maps, 0, max(float(maps.max()), 1e-6))),
            }
            for maps in bent
            if maps.ndim == 3
        ],
        "kernels": interactive.packed(interactive.as_bytes(kernels, -most, most)),
        "size": kernels.shape[-1],
        "said": [[system.spec.labels[i], round(float(probability[i]), 3)] for i in best.tolist()],
    }


def explained(system: Any, image: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Explain one pixel of a feature map.

    Return its window, the kernel and the sum of their products, with the layer's own output.
    """
    from souron.data.dataset import Rows
    from souron.evaluation import feature_maps

    names = list(feature_maps.convolutions(system))
    name = names[interactive.whole(asked, "layer", 0, len(names) - 1, 0)]
    given = system.batch(Rows(image, None)).image
    computed = feature_maps.feature_maps(system, given)
    place = [each.name for each in computed].index(name)
    count, height, width = computed[place].maps.shape
    number = interactive.whole(asked, "map", 0, count - 1, 0)
    y = interactive.whole(asked, "y", 0, height - 1, 0)
    x = interactive.whole(asked, "x", 0, width - 1, 0)
    pixel = feature_maps.one_pixel(system, given, y, x, number, name)
    parts = pixel.product.sum((1, 2))  # for each input channel
    strongest = int(parts.abs().argmax())
    normal, relu = (float(each.maps[number, y, x]) for each in computed[place + 1 : place + 3])
    return {
        "window": rounded(pixel.window[strongest]),
        "kernel": rounded(pixel.kernel[strongest]),
        "product": rounded(pixel.product[strongest]),
        "below": strongest,
        "inward": len(parts),
        "part": round(float(parts[strongest]), 4),
        "sum": round(pixel.value, 4),
        "layer": round(pixel.layer, 4),
        "normal": round(normal, 4),
        "relu": round(relu, 4),
        "size": pixel.kernel.shape[-1],
    }


def rounded(values: Any) -> list[list[float]]:
    return [[round(value, 3) for value in row] for row in values.tolist()]
