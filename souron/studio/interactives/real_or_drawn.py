"""Real or generated? Twenty images for the reader and for a detector.

The generated ones come from souron's ready-trained generators, the real ones from the test part of
Fashion-MNIST. The detector is that of ``souron audit generated``; for each generator, it was
trained without that generator's images.
"""

import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import button, controls, part, slider
from souron.utils.messages import N_, UserError, _

TITLE = N_("Real or drawn?")
ABOUT = N_(
    "Ten of these twenty pictures of clothes are real, ten were drawn by four generators (VAE, "
    "GAN, DCGAN, diffusion). Press those that you take for drawn. Then see the truth, and what a "
    "detector says that reads frequencies and neighbouring pixels."
)
QUESTION = N_(
    "The detector judges each generator's pictures without having learnt from that generator. How "
    "many of ten drawn pictures does it find?"
)
CHOICES = (N_("Nine or ten"), N_("Six to eight"), N_("Half of them or fewer"))
RIGHT = 2
ANSWER = N_(
    "Half of them or fewer, mostly. What gives a generator away differs from one to the next, so a "
    "detector is weak on those it never met; once it has learnt from them it finds more, and takes "
    "more real ones for drawn, too. Every new generator makes it unmeasured again. And twenty "
    "pictures say little: look at the intervals."
)
WORDS = {
    "picture": N_("picture {number}"),
    "real": N_("real"),
    "drawn": N_("drawn by {who}"),
    "score": N_("detector: {score} %"),
    "you": N_("You: {right} of {count} right (95 % interval {low} to {high} %)."),
    "detector": N_("Detector: {right} of {count} right ({low} to {high} %); it found {found} of "
                   "{drawn} drawn ones and took {false} of {real} real ones for drawn."),
    "after": N_("The detector after it has learnt from other pictures of VAE, GAN and DCGAN, too: "
                "{found} of {drawn} drawn ones found, {false} of {real} real ones taken for "
                "drawn."),
    "begin": N_("Press the pictures that you take for drawn."),
}  # fmt: skip
LEARNT = ("vae", "gan", "dcgan")  # generators whose images detectors are trained on
SHOWN = {"vae": 2, "gan": 3, "dcgan": 3, "ddpm": 2}
REALS = 10
EACH, SOME = 100, 400  # training images of each generator, and real ones
SLOW: dict[str, dict[str, Any]] = {"ddpm": {"steps": 10, "guidance": 0.0}}
first = 10_000  # index of the first image of a quiz; never used for training
learning = threading.Lock()


def build(studio: Any) -> Any:
    return interactive.put("real_or_drawn")


def stage() -> Markup:
    if not ready():
        return Markup("<p>{}</p>").format(_("The ready-trained systems are not installed."))
    return controls(
        slider("seed", _("which twenty"), 1, 50, 1),
        button("reveal", _("Show the truth"), first=True),
    ) + part("begin") + Markup('<ul class="tiles" data-part="tiles"></ul>') + Markup("").join(
        part(name) for name in ("you", "detector", "after")
    )  # fmt: skip


def ready() -> bool:
    from souron.hub import zoo

    return all(zoo.where(name) is not None for name in SHOWN)


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return twenty images; with ``guess`` also the truth and the detector's scores.

    ``guess`` holds the numbers of the images that the reader takes for generated. Raises UserError.
    """
    seed = interactive.whole(asked, "seed", 0, 1000, 1)
    if not ready():
        raise UserError("zoo", _("The ready-trained systems are not installed."))
    images, who = quiz(seed)
    found: dict[str, Any] = {
        "side": images.shape[-1], "count": len(who), "pictures": interactive.packed(images.numpy()),
    }  # fmt: skip
    if "guess" in asked:
        rows = interactive.table(asked, "guess", len(who), 1, len(who))
        scores = judged(images, who)
        taken = {int(row[0]) for row in rows}
        found["who"] = who
        found["score"] = [round(score, 3) for score in scores]
        found["you"] = told([(i in taken) for i in range(len(who))], who)
        found["detector"] = told([score > 0.5 for score in scores], who)
        found["after"] = told([score > 0.5 for score in judged(images, who, True)], who)
    return found


@lru_cache(maxsize=8)
def quiz(seed: int) -> tuple[Any, list[str]]:
    """Return (20, 1, H, W) uint8 in random order, and each image's generator; "" for a real one."""
    import torch

    from souron.hub import zoo

    source = torch.Generator().manual_seed(seed)
    real, _label = zoo.sample()
    rows = SOME + torch.randperm(len(real) - SOME, generator=source)[:REALS]
    images, who = [real[rows]], [""] * REALS
    for name, count in SHOWN.items():
        images.append(drawn(name, first + 100 * seed, count))
        who += [name] * count
    order = torch.randperm(len(who), generator=source)
    return torch.cat(images)[order], [who[i] for i in order.tolist()]


def drawn(name: str, start: int, count: int) -> Any:
    """Generate images with the numbers from ``start`` on, (count, 1, H, W) uint8."""
    from souron.evaluation import sampling
    from souron.studio.model_cache import models

    with models.answering(name) as model:
        noise = sampling.Noise(0, range(start, start + count), model.system.device)
        return sampling.done(sampling.draw(model.system, noise, **SLOW.get(name, {})))


@lru_cache(maxsize=1)
def detectors() -> tuple[Any, dict[str, Any]]:
    """Return the pipeline and, for each generator, a detector trained without it."""
    from souron.audit import drawn_detector
    from souron.hub import zoo

    real, _label = zoo.sample()
    pipeline = drawn_detector.Pipeline(real.shape[-1], real.shape[1])
    features = {
        name: drawn_detector.features(pipeline.many(drawn(name, 0, EACH))) for name in LEARNT
    }
    of_real = drawn_detector.features(pipeline.many(real[:SOME]))
    learnt = {
        name: drawn_detector.learn(of_real, [features[one] for one in LEARNT if one != name])
        for name in SHOWN  # for ddpm all of LEARNT
    }
    return pipeline, learnt


def judged(images: Any, who: list[str], seen: bool = False) -> list[float]:
    """Return each image's probability of being generated, by a detector new to its generator.

    For a real image it is the mean over all detectors. ``seen``: use the detector trained on all of
    LEARNT.
    """
    with learning:
        pipeline, learnt = detectors()
    passed = pipeline.many(images)
    if seen:
        return [float(score) for score in learnt["ddpm"].scores(passed)]
    each = {name: detector.scores(passed) for name, detector in learnt.items()}
    mean = sum(each.values()) / len(each)
    return [float(each[name][i] if name else mean[i]) for i, name in enumerate(who)]


def told(taken: list[bool], who: list[str]) -> dict[str, Any]:
    """Return the number of correct guesses, with Wilson's interval."""
    from souron.stats.intervals import proportion_interval

    right = sum(is_taken == bool(name) for is_taken, name in zip(taken, who, strict=True))
    share = proportion_interval(right, len(who))
    return {
        "right": right, "count": len(who),
        "low": round(100 * share.low), "high": round(100 * share.high),
        "found": sum(is_taken and bool(name) for is_taken, name in zip(taken, who, strict=True)),
        "false": sum(is_taken and not name for is_taken, name in zip(taken, who, strict=True)),
        "drawn": sum(map(bool, who)), "real": who.count(""),
    }  # fmt: skip
