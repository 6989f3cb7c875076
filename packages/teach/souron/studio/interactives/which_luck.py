"""Skill or chance? Two systems are compared many times, with chance in every comparison.

Scores are simulated as in ``benchmarks/verdict.py``: each case has its own difficulty, each
training its own quality, and each training gets different cases right. souron's
``verdict.difference`` judges them, beside two common methods that count fewer sources of variance.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, button, controls, images, parts, plot, slider
from souron.utils.messages import N_, _

TITLE = N_("Skill or luck?")
ABOUT = N_(
    "Two systems are trained and compared on the same test cases. Both are about 80 % right. "
    "Chance enters twice: the random seed of each training, and which cases happen to be in the "
    "test set. Here the whole comparison is repeated 200 times, and three ways to judge it stand "
    "side by side."
)
QUESTION = N_(
    "Two systems are equally good. Each is trained with 3 seeds and tested on 1000 cases. How "
    "often does the usual paired bootstrap over cases call one better?"
)
CHOICES = (N_("In 5 % of comparisons, as it promises"), N_("In about 20 %"), N_("In about half of them or more"))
RIGHT = 2
ANSWER = N_(
    "In about half of them or more, where trainings differ as much as here. The bootstrap "
    "resamples cases but takes the trainings as they are, so more cases make it more confident "
    "of what is only variance between seeds. souron's verdict counts both, stays near 5 % or "
    "below, and says whether more seeds or more cases would help. Move the true difference away "
    "from 0 to see what caution costs."
)
WORDS = {
    "mean": N_("the higher mean wins"),
    "bootstrap": N_("paired bootstrap: the interval counts cases only"),
    "souron": N_("souron's verdict: seeds and cases"),
    "said": N_(
        "{way}: one called better in {called} % of {repeats} comparisons (interval {low} to "
        "{high} %), wrongly in {wrong} %."
    ),
    "one": N_("The first of them: difference {difference} points, interval {low} to {high}: {verdict}."),
    "better": N_("A is better"),
    "worse": N_("B is better"),
    "cannot tell": N_("cannot tell"),
    "comparison": N_("comparison"),
    "apart": N_("difference, in points"),
}
TOUR = (
    ("seeds", N_("Each system is trained this many times, from a different random seed each time.")),
    ("cases", N_("The number of test cases. Both systems are tested on the same ones.")),
    ("luck", N_("The standard deviation of accuracy between trainings of the same system, in percentage points.")),
    (
        "bars",
        N_("How often each method calls one system better, in orange the part that is wrong. The dashed line is 5 %."),
    ),
    (
        "bootstrap",
        N_(
            "Both systems are equal and trainings differ. What do more test cases do to the false calls of the "
            "bootstrap?"
        ),
        (N_("They become rarer"), N_("They stay as they are"), N_("They become more frequent")),
        2,
    ),
    ("intervals", N_("The first forty comparisons by souron's verdict: the difference with its 95 % interval.")),
    (
        "luck",
        N_(
            "Set this to 0, so that all trainings of a system are equally good. Which methods then call equal "
            "systems different in about 5 % or less?"
        ),
        (N_("Only souron's verdict"), N_("The bootstrap and souron's verdict"), N_("All three")),
        1,
    ),
    ("difference", N_("Now make one system truly better and see from which difference on each method finds it.")),
)
REPEATS = 200
SEED_SPREAD, MIXED, DIFFICULTY = 0.3, 1.2, 1.5  # standard deviations of log odds
WAYS = ("mean", "bootstrap", "souron")
SETTINGS = {"seeds": (2, 3, 10), "cases": (200, 1000, 2000), "difference": (0, 4), "luck": (0, 4)}


def stage() -> Markup:
    return beside(
        controls(
            slider("seeds", _("seeds per system"), 2, 10, 3),
            slider("cases", _("test cases"), 50, 2000, 1000, 50),
            slider("difference", _("true difference, in points"), 0, 10, 0, 0.5),
            slider("luck", _("spread between trainings, in points"), 0, 8, 4, 0.5),
            button("go", _("200 comparisons"), first=True),
        ),
        images(
            plot("bars", _("how often each way calls one of them better"), 560, 190),
            plot(
                "intervals",
                _("the first 40 comparisons: difference and interval"),
                560,
                220,
                _(
                    "The first 40 comparisons by souron's verdict. Orange: the interval excludes 0 on "
                    "the wrong side, or both are equal."
                ),
            ),
        )
        + parts(*WAYS, "one"),
    )


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return how often each method calls one system better, and the first comparisons."""
    seeds = interactive.whole(asked, "seeds", 2, 10, 3)
    cases = interactive.whole(asked, "cases", 50, 2000, 1000)
    points = interactive.number(asked, "difference", 0, 10, 0)
    luck = interactive.number(asked, "luck", 0, 8, 4)
    return repeated(seeds, cases, points / 100, luck / 100)


def record() -> Iterator[dict[str, Any]]:
    for seeds, cases, difference, luck in product(*SETTINGS.values()):
        yield {"seeds": seeds, "cases": cases, "difference": difference, "luck": luck}


def repeated(seeds: int, cases: int, points: float, luck: float, repeats: int = REPEATS) -> dict[str, Any]:
    """Simulate ``repeats`` comparisons of systems whose accuracies differ by ``points`` (0..1)."""
    import numpy as np

    from souron.stats.intervals import proportion_interval
    from souron.stats.verdict import difference

    drawn = np.random.default_rng(0)
    said: dict[str, list[int]] = {way: [] for way in WAYS}
    first = []
    for repeat in range(repeats):
        a, b = scores(drawn, seeds, cases, points, luck)
        found = difference(a, b)
        apart = a.mean(0) - b.mean(0)  # (cases,)
        # a bootstrap over cases gives this interval, up to resampling noise
        reach = 1.96 * apart.std(ddof=1) / cases**0.5
        mean = float(apart.mean())
        said["mean"].append(int(np.sign(mean)))
        said["bootstrap"].append(int(np.sign(mean)) if abs(mean) > reach else 0)
        said["souron"].append({"better": 1, "worse": -1, "cannot tell": 0}[found.verdict])
        if repeat < 40:
            first.append([round(100 * value, 2) for value in (mean, found.low, found.high)])
    ways = {}
    for way, each in said.items():
        called = sum(one != 0 for one in each)
        wrong = sum(one < 0 or (one > 0 and points == 0) for one in each)
        share = proportion_interval(called, repeats)
        ways[way] = {
            "called": called / repeats,
            "wrong": wrong / repeats,
            "low": round(share.low, 4),
            "high": round(share.high, 4),
        }
    return {"ways": ways, "first": first, "repeats": repeats, "equal": points == 0}


def scores(drawn: Any, seeds: int, cases: int, points: float, luck: float) -> tuple[Any, Any]:
    """Simulate correctness, 1 or 0, (seeds, cases) for A and for B; A is better by ``points``."""
    import numpy as np
    from scipy.special import expit

    difficulty = DIFFICULTY * drawn.standard_normal(cases)
    slope = 0.11  # change of accuracy per unit of log odds at about 80 %, see the test
    found = []
    for way in (1, -1):
        ability = 2.15 + way * points / (2 * slope)
        training = luck / slope * drawn.standard_normal((seeds, 1))
        taste = MIXED * drawn.standard_normal((seeds, cases))
        right = drawn.random((seeds, cases)) < expit(ability + training + difficulty + taste)
        found.append(right.astype(np.float64))
    return found[0], found[1]
