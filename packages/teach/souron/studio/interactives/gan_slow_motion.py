"""A GAN in slow motion: the discriminator's step, the generator's step, and the effect of each.

souron's ``gan`` (Goodfellow and others 2014) is trained on digits, and each ``yield`` of its
``updates`` is one frame: the network updated, its loss, the discriminator's probabilities that real and
generated images are real, and the images generated from fixed noise.

After the idea of Kahng, Thorat, Chau, Viegas, Wattenberg: GAN Lab (2018),
https://arxiv.org/abs/1809.01587.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, button, canvas, controls, images, parts, player, plot, slider
from souron.utils.messages import N_, _

TITLE = N_("A GAN in slow motion")
ABOUT = N_(
    "A GAN (generative adversarial network) is a game of two networks. The discriminator "
    "learns to distinguish real digits from generated ones; the generator learns "
    "to make digits that the discriminator takes for real. They move in turns. Each frame is one step "
    "of one of them."
)
QUESTION = N_("Right after a step of the generator, what does the discriminator say of its generated digits?")
CHOICES = (
    N_("More likely real than before"),
    N_("Less likely real than before"),
    N_("The same: the discriminator has not moved"),
)
RIGHT = 0
ANSWER = N_(
    "More likely real: the step was made against this very discriminator. Then the discriminator's step takes it"
    " back, and so on. The losses therefore do not fall as in other trainings; they say who is "
    "ahead, not how good the pictures are. The page counts how often each step did what it "
    "is for."
)
WORDS = {
    "frames": N_("frame"),
    "frame": N_("round {round}, {who}: loss {loss}"),
    "critic": N_("the discriminator's step"),
    "generator": N_("the generator's step"),
    "start": N_("before its steps"),
    "trust": N_(
        "The discriminator rates real digits {real} % and generated ones {drawn} % likely to be "
        "real (before this step {before} %)."
    ),
    "count": N_(
        "Of the steps shown, the generator's raised what the discriminator says of generated "
        "digits in {up} of {ups}, the discriminator's lowered it in {down} of {downs}."
    ),
}
TOUR = (
    ("real", N_("Real digits of 8 × 8 pixels: what the generator has to imitate without ever seeing it.")),
    (
        "drawn",
        N_("Images generated from the same noise in every frame, so each change comes from the generator's weights."),
    ),
    (
        "frame",
        N_("A frame is one step of one network. The first twelve rounds are shown whole, then one round in twelve."),
    ),
    (
        "change",
        N_("In a frame of the discriminator's step, what changes in the generated digits?"),
        (N_("Nothing"), N_("They become lighter"), N_("They become sharper")),
        0,
    ),
    (
        "trust",
        N_("Right after the discriminator's step, how has its score of the generated digits moved?"),
        (N_("Up"), N_("Down"), N_("Not at all")),
        1,
    ),
    (
        "loss",
        N_("The losses of both networks. They need not fall as training goes on, since the opponent learns, too."),
    ),
    ("seed", N_("Another random seed brings other weights, other noise and other digits.")),
    ("count", N_("How many of the steps shown moved the discriminator's score as they were meant to.")),
)
ROUNDS, SLOW, EVERY = 300, 12, 12  # the first SLOW rounds are shown, then one in EVERY
DRAWN, JUDGED, BATCH = 16, 64, 32
SIDE = 8
SETTINGS = {"seed": (1, 2, 3)}


def stage() -> Markup:
    return beside(controls(
        slider("seed", _("random seed"), 1, 9, 1),
        button("learn", _("Train"), first=True),
    ) + player(_("steps of the two networks")), images(
        canvas("real", _("real digits"), 176, 176, _("Real digits")),
        canvas("drawn", _("what the generator makes from the same noise"), 176, 176,
               _("Generated from the same noise each time")),
        canvas("change", _("what this step changed in them"), 176, 176,
               _("What this step changed: blue is lighter, orange darker")),
    ) + images(
        plot("trust", _("how likely the discriminator takes real and generated digits for real"),
               260, 176,
               _("What the discriminator says: real digits (blue line), generated ones (orange, dashed)")),
        plot("loss", _("losses of both"), 260, 176,
               _("Losses: discriminator (blue line), generator (orange, dashed)")),
    ), parts("frame", "trust", "count"))  # fmt: skip


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    return trained(interactive.whole(asked, "seed", 0, 1000, 1))


def record() -> Iterator[dict[str, Any]]:
    for seed in SETTINGS["seed"]:
        yield {"seed": seed}


@lru_cache(maxsize=4)
def trained(seed: int) -> dict[str, Any]:
    """Train with that seed and return the frames."""
    import torch

    from souron import registry
    from souron.data.dataset import Rows
    from souron.data.load import load

    digits = load("digits")
    real = digits.input.float() / 127.5 - 1  # (N, 1, SIDE, SIDE)
    system_class, config = registry.load_system("gan_tiny")
    task = registry.load_task("generate")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        system = system_class(config, task.Spec(1, SIDE))
        noise = system.noise(JUDGED)
        rows = torch.randint(len(real), (ROUNDS, BATCH))
        optimizers = system.optimizers()
        frames = [looked_at(system, noise, real[:JUDGED]) | {"who": "start", "round": 0, "loss": 0}]
        for turn in range(ROUNDS):
            shown = turn < SLOW or turn % EVERY == 0
            some = digits.only(rows[turn])
            batch = system.batch(Rows(some.input, some.target * 0))
            if shown and turn > SLOW:  # the state just before the step, to compare with
                frames.append(looked_at(system, noise, real[:JUDGED]) | {"who": "start", "round": turn, "loss": 0})
            for who, loss in system.updates(batch, turn):
                weights = getattr(system, who).parameters()
                optimizers[who].zero_grad()
                loss.backward(inputs=list(weights))
                optimizers[who].step()
                if shown:
                    frames.append(
                        looked_at(system, noise, real[:JUDGED])
                        | {"who": who, "round": turn + 1, "loss": round(float(loss.detach()), 3)}
                    )
            system.after_update(turn)
    return {
        "side": SIDE,
        "real": interactive.packed(interactive.as_bytes(real[:DRAWN, 0], -1, 1)),
        "frames": frames,
        **counts(frames),
    }


def looked_at(system: Any, noise: Any, real: Any) -> dict[str, Any]:
    """Return the images generated from the noise and the discriminator's outputs, without dropout."""
    import torch

    system.eval()
    with torch.no_grad():
        drawn = system.generator(noise)  # (JUDGED, SIDE * SIDE)
        said = [float(system.critic(x).sigmoid().mean()) for x in (real.flatten(1), drawn)]
    system.train()
    return {
        "drawn": interactive.packed(interactive.as_bytes(drawn[:DRAWN], -1, 1)),
        "trust": [round(share, 4) for share in said],
    }


def counts(frames: list[dict[str, Any]]) -> dict[str, int]:
    """Count the steps that moved the discriminator's output for generated images as intended."""
    found = {"up": 0, "ups": 0, "down": 0, "downs": 0}
    for i in range(1, len(frames)):
        change = frames[i]["trust"][1] - frames[i - 1]["trust"][1]
        if frames[i]["who"] == "generator":
            found["ups"] += 1
            found["up"] += change > 0
        elif frames[i]["who"] == "critic":
            found["downs"] += 1
            found["down"] += change < 0
    return found
