"""A 2D embedding of digits with a brush: are neighbours on the map neighbours in the data?

The embeddings are souron's ``pca`` and ``tsne``, the figures those of its task *reduce* (Venna,
Kaski 2001). A switch shuffles every column independently, which destroys all neighbourhoods: any
structure on the map then comes from the method.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, canvas, choice, controls, images, parts, tick
from souron.utils.messages import N_, _

TITLE = N_("A map to trust?")
ABOUT = N_(
    "400 handwritten digits of 64 pixels each are points in 64 dimensions. A map puts them on a "
    "plane so that neighbours stay neighbours, as far as that can be done. Move the brush over it: "
    "the page shows the pictures under it, and how many of their true neighbours are there, too. "
    "Then shuffle every column (pixel) by itself: nothing that belongs together is left."
)
QUESTION = N_(
    "A random map has a trustworthiness of 0.5. What does t-SNE reach on shuffled columns, where "
    "there is nothing to find?"
)
CHOICES = (N_("About 0.5"), N_("About 0.8"), N_("Nearly 1"))
RIGHT = 1
ANSWER = N_(
    "About 0.8. Even points without any structure have nearest points by chance, and t-SNE finds "
    "them and makes clumps of them. So read a map beside that of the shuffled columns: what the "
    "real one has more is in the data. The colours are the digits' classes, which no method used."
)
WORDS = {
    "map": N_("trustworthiness {trust}, continuity {continuity}"),
    "brush": N_(
        "{count} cases under the brush: {classes}. Of their five true neighbours, {near} % are under the brush, too."
    ),
    "none": N_("No case is under the brush."),
    "one": N_("{count} times {name}"),
}
TOUR = (
    (
        "way",
        N_(
            "PCA projects onto the two directions of largest variance. t-SNE keeps near neighbours near. The random "
            "map ignores the data."
        ),
    ),
    ("map", N_("Each point is a digit of 64 pixels. Colour and shape show its class, which no method was given.")),
    ("under", N_("The digits under the brush. In a good map they resemble each other.")),
    ("brush", N_("The share of their true neighbours, found in 64 dimensions, that are under the brush as well.")),
    (
        "way",
        N_("Which map of these digits has the higher trustworthiness?"),
        (N_("PCA"), N_("t-SNE"), N_("Both the same")),
        1,
    ),
    (
        "by_trust",
        N_(
            "The trustworthiness of every single point: orange ones have neighbours on the map that are far away in "
            "the data."
        ),
    ),
    (
        "shuffled",
        N_("With shuffled columns nothing belongs together. Does the map of t-SNE show clumps all the same?"),
        (N_("No, an even cloud"), N_("Yes, clumps of points that are near by chance")),
        1,
    ),
    (
        "shuffled",
        N_(
            "So compare the figures of the real map with those of the shuffled one: only what is above them is in "
            "the data."
        ),
    ),
)
CASES, NEAR = 400, 5
STEPS = 300  # of t-SNE
WAYS = ("pca", "tsne", "chance")


def stage() -> Markup:
    ways = [("pca", _("PCA")), ("tsne", _("t-SNE")), ("chance", _("random map"))]
    return beside(
        controls(
            choice("way", _("map"), ways),
            tick("shuffled", _("shuffle the columns")),
            tick("by_trust", _("colour by trustworthiness: blue good, orange bad")),
        ),
        images(
            canvas(
                "map",
                _("the map: arrow keys move the brush, plus and minus change its size"),
                460,
                460,
                _("Drag the brush; or arrow keys, plus and minus"),
                keys=True,
            ),
            canvas("under", _("the digits under the brush"), 320, 320, _("The digits under the brush (100 at most)")),
            kind="abreast",
        ),
        parts("map", "brush"),
    )


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    way = interactive.among(asked, "way", WAYS)
    return mapped(way, asked.get("shuffled") is True)


def record() -> Iterator[dict[str, Any]]:
    for way, shuffled in product(WAYS, (False, True)):
        yield {"way": way, "shuffled": shuffled}


@lru_cache
def mapped(way: str, shuffled: bool) -> dict[str, Any]:
    """Return positions in 0..1, true neighbours, images, and trustworthiness."""
    import torch

    from souron.metrics import reduction

    pixels, label = digits(shuffled)
    places = drawn(way, pixels)
    trust = reduction.trustworthiness(pixels, places, NEAR)
    low, high = places.amin(0), places.amax(0)
    apart = reduction.distances(pixels, torch.arange(len(pixels)))  # itself last
    near = apart.argsort(dim=1, stable=True)[:, :NEAR]
    return {
        "places": [[round(x, 4), round(y, 4)] for x, y in ((places - low) / (high - low)).tolist()],
        "label": label.tolist(),
        "near": near.tolist(),
        "pictures": interactive.packed(interactive.as_bytes(pixels, 0, 1)),
        "side": 8,
        "each": [round(value, 3) for value in trust.tolist()],
        "trust": round(float(trust.mean()), 3),
        "continuity": round(float(reduction.continuity(pixels, places, NEAR).mean()), 3),
    }


def digits(shuffled: bool) -> tuple[Any, Any]:
    """Return the digits (CASES, 64) in 0..1 and their classes."""
    import torch

    from souron.data.load import load
    from souron.metrics.reduction import shuffled_columns

    data = load("digits")
    pixels = data.input[:CASES].flatten(1).float() / 255
    if shuffled:
        pixels = shuffled_columns(pixels, torch.Generator().manual_seed(0))
    return pixels, data.target[:CASES]


def drawn(way: str, pixels: Any) -> Any:
    """Embed the digits with souron's system of that name, (CASES, 2)."""
    import torch

    from souron import registry
    from souron.evaluation.unsupervised import Points, Spec
    from souron.training.loop import Run

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        if way == "chance":
            return torch.rand(len(pixels), 2)
        system_class, config = registry.load_system(way)
        system = system_class(config, Spec(pixels.shape[1], len(pixels)))
        for _progress in system.fit(Points(pixels), Run(STEPS, batch=len(pixels))):
            pass
        return system(pixels)[:, :2]
