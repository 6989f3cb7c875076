"""k-means by hand: place the centres, then assign points and move centres step by step.

Every step is one of souron's ``kmeans``: ``forward`` assigns points to centres (Lloyd 1957) and
``move`` moves the centres to the means. The clusters that it finds from its own k-means++
initialisations are shown for comparison.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, button, canvas, choice, controls, images, parts, plot
from souron.utils.messages import N_, UserError, _

TITLE = N_("k-means by hand")
ABOUT = N_(
    "k-means repeats two steps: each point joins the nearest centre, then each centre moves to the "
    "mean of its points. Place centres yourself, go step by step, and see where it ends."
)
QUESTION = N_("Does k-means always end with the best clusters?")
CHOICES = (
    N_("Yes, every step makes it better"),
    N_("No, it depends on where the centres start"),
    N_("It may go on for ever"),
)
RIGHT = 1
ANSWER = N_(
    "No. Each step lowers the inertia (the mean squared distance to the own centre) or leaves "
    "it, so it ends; but it may end in a local optimum, from which no single step helps. Put two "
    "centres into one group of points and the third between the other two, and it stays there. "
    "That is why k-means++ draws the first centres far apart, and why one tries several starts."
)
WORDS = {
    "place": N_(
        "Place {count} centres: press the picture, or move the cross with the arrow keys "
        "and press Enter. Placed: {placed}."
    ),
    "joined": N_("step {step}: {changed} points changed their centre; inertia {inertia}"),
    "moved": N_("step {step}: the centres moved to the means of their points; inertia {inertia}"),
    "ended": N_("Ended after {rounds} rounds: no point changes any more. Inertia {inertia}."),
    "rival": N_(
        "souron's kmeans, from 20 starts of its own: the best inertia {best}, reached "
        "{times} times; the worst {worst}. Yours: {ratio} times the best."
    ),
}
TOUR = (
    (
        "points",
        N_(
            "Choose the points. Three groups are easy; two stripes contradict what k-means assumes; the last set has "
            "no groups at all."
        ),
    ),
    ("plane", N_("Place the centres: press the picture, or move the cross with the arrow keys and press Enter.")),
    (
        "step",
        N_(
            "A step assigns each point to its nearest centre; the next one moves each centre to the mean of its points."
        ),
    ),
    (
        "curve",
        N_("Can the inertia rise from one step to the next, as long as every centre has points?"),
        (N_("Never"), N_("Only when the centres move"), N_("Yes, at random")),
        0,
    ),
    ("run", N_("Go on until no point changes its centre. That always happens after finitely many steps.")),
    ("again", N_("Start again with other centres and compare the final inertia.")),
    (
        "points",
        N_("Two stripes and two centres: which clusters have the lower inertia?"),
        (N_("Each stripe by itself"), N_("The left and the right half of both stripes")),
        1,
    ),
    (
        "rival",
        N_(
            "souron's kmeans starts twenty times by k-means++. Compare its best inertia, and how often it is "
            "reached, with yours."
        ),
    ),
)
MOST = 8  # centres
REACH = 1.2  # of the plane shown
RIVALS = 20
SETS = ("groups", "stripes", "digits", "even")


def stage() -> Markup:
    sets = [
        ("groups", _("three groups")),
        ("stripes", _("two stripes")),
        ("digits", _("digits on two principal components")),
        ("even", _("no groups at all")),
    ]
    counts = [(str(count), str(count)) for count in (3, 2, 4, 5, 6, 7, 8)]
    return beside(
        controls(
            choice("points", _("points"), sets),
            choice("count", _("centres"), counts),
            button("random", _("Random centres")),
            button("step", _("Step"), first=True),
            button("run", _("To the end")),
            button("again", _("Start again")),
            button("rival", _("Compare with kmeans")),
        ),
        images(
            canvas(
                "plane",
                _("points and centres: arrow keys move the cross, Enter places a centre"),
                420,
                420,
                "",
                keys=True,
            ),
            plot("curve", _("inertia, step by step"), 260, 160, _("Inertia, step by step")),
            kind="abreast",
        ),
        parts("now", "rival"),
    )


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the points; with ``centres`` the next step, with ``rival`` souron's ``count`` clusters."""
    kind = interactive.among(asked, "points", SETS)
    found = points(kind)
    if asked.get("rival") is True:
        return rivals(kind, interactive.whole(asked, "count", 1, MOST, 3))
    if "centres" not in asked:
        return {"points": [[round(x, 5), round(y, 5)] for x, y in found.tolist()], "reach": REACH}
    centres = interactive.table(asked, "centres", MOST, 2, 10)
    if not centres:
        raise UserError("value", _("no centre has been placed"))
    return step(found, centres, bool(asked.get("move")))


def record() -> Iterator[dict[str, Any]]:
    """Yield the requests for points and rivals; the script computes the steps of a recording itself."""
    for kind in SETS:
        yield {"points": kind}
        for count in range(2, MOST + 1):
            yield {"points": kind, "count": count, "rival": True}


@lru_cache
def points(kind: str) -> Any:
    """Return the points of a set, (N, 2) in about -1..1."""
    import torch

    source = torch.Generator().manual_seed(3)
    noise = torch.randn(150, 2, generator=source)
    if kind == "groups":
        middle = torch.tensor([[-0.7, -0.5], [0.55, -0.6], [0.1, 0.7]]).repeat(50, 1)
        return middle + 0.14 * noise
    if kind == "stripes":
        stripe = torch.tensor([[0.0, -0.3], [0.0, 0.3]]).repeat(75, 1)
        return stripe + noise * torch.tensor([0.5, 0.05])
    if kind == "even":
        return torch.rand(150, 2, generator=source) * 2 - 1
    from souron.data.load import load

    pixels = load("digits").input[:400].flatten(1).float()
    centred = pixels - pixels.mean(0)
    _left, _scale, right = torch.linalg.svd(centred, full_matrices=False)
    places = centred @ right[:2].T
    return places / places.abs().amax()


def system(count: int) -> Any:
    """Return souron's kmeans with ``count`` clusters for points of the plane."""
    from souron import registry
    from souron.evaluation.unsupervised import Spec

    system_class, config = registry.load_system("kmeans")
    return system_class(type(config)(count), Spec(2))


def step(found: Any, centres: list[list[float]], move: bool) -> dict[str, Any]:
    """Return each point's nearest centre; with ``move`` the centres first move to the means."""
    import torch

    kmeans = system(len(centres))
    kmeans.centres.copy_(torch.tensor(centres))
    with torch.no_grad():
        if move:
            nearest = kmeans(found)
            kmeans.move(found, nearest, squares(found, kmeans.centres, nearest))
        else:
            nearest = kmeans(found)
    return {
        "centres": kmeans.centres.tolist(),
        "nearest": nearest.tolist(),
        "inertia": float(squares(found, kmeans.centres, nearest).mean()),
    }


def squares(found: Any, centres: Any, nearest: Any) -> Any:
    """Return the squared distance of each point from its centre, (N,)."""
    return (found - centres[nearest]).square().sum(1)


@lru_cache
def rivals(kind: str, count: int) -> dict[str, Any]:
    """Return the final inertia of souron's kmeans from RIVALS initialisations."""
    import torch

    from souron.evaluation.unsupervised import Points
    from souron.training.loop import Run

    found = points(kind)
    ends = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for seed in range(RIVALS):
            torch.manual_seed(seed)
            kmeans = system(count)
            for _progress in kmeans.fit(Points(found), Run(300, batch=len(found))):
                pass
            ends.append((float(squares(found, kmeans.centres, kmeans(found)).mean()), kmeans.centres.tolist()))
    best = min(ends)
    return {
        "best": best[0],
        "worst": max(ends)[0],
        "times": sum(end[0] <= best[0] * 1.0001 + 1e-9 for end in ends),
        "centres": best[1],
    }
