"""Diffusion: noise is added to an image step by step, and a network removes it.

The network is souron's ready-trained ``ddpm`` (Ho, Jain, Abbeel 2020). The forward process is its
own noise schedule; the reverse process is deterministic (DDIM, Song, Meng, Ermon 2020), from any
step.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, button, canvas, choice, controls, images, parts, player, slider
from souron.utils.messages import N_, _

TITLE = N_("Noise slider: diffusion there and back")
ABOUT = N_(
    "A diffusion model learns from pictures to which noise was added, step by step, until nothing "
    "of the picture is left. It learns to say which part of them is noise. Add noise with the "
    "slider, then let the network take it away from there."
)
QUESTION = N_("From pure noise (the last step), does the same picture come back?")
CHOICES = (N_("Yes, the network remembers it"), N_("No, another picture comes"), N_("No, only noise comes"))
RIGHT = 1
ANSWER = N_(
    "Another picture comes. With little noise the outline still decides and the same piece comes "
    "back, smoother than it was; with more only the kind may stay; at the end nothing of the "
    "picture is left that could decide, and the network makes one up. That is how it generates: "
    "it starts from pure noise. What it makes of a noisy picture of yours is likewise partly "
    "made up."
)
WORDS = {
    "step": N_("step {step} of {steps}: {share} % of the variance is noise"),
    "back": N_(
        "Back after {asked} questions to the network. Distance from the original: {after}; "
        "before: {before} (root mean square, of 255)."
    ),
}
TOUR = (
    ("picture", N_("Choose a test picture of 28 × 28 pixels.")),
    (
        "noise",
        N_(
            "The step t of the forward process. The picture is scaled down and Gaussian noise is added, so that the "
            "variance stays the same."
        ),
    ),
    (
        "step",
        N_("Which share of the variance is noise at the last step?"),
        (N_("About half"), N_("About 90 %"), N_("Nearly all of it")),
        2,
    ),
    ("seed", N_("The random seed of the noise: the same number brings the same noise.")),
    (
        "seen",
        N_(
            "From the noisy picture the network predicts the clean one. How does its prediction look when nearly "
            "everything is noise?"
        ),
        (N_("Sharp"), N_("Blurred, like a mean of many pictures"), N_("Black")),
        1,
    ),
    (
        "drawn",
        N_(
            "The reverse process goes to a little less noise with each evaluation of the network (DDIM, without new "
            "noise)."
        ),
    ),
    ("frame", N_("Move through the stops of the reverse process. Watch when the kind of clothing is decided.")),
    (
        "back",
        N_(
            "The root mean square from the original tells whether the same picture came back. Compare a small step "
            "with the last one."
        ),
    ),
)
STOPS = 20  # most evaluations of the network
UNIT = 6000  # of the noise that is sent, in int16
SETTINGS = {"picture": (0, 1, 2), "noise": (0, 10, 20, 30, 40, 50, 60, 80, 100), "seed": (1, 2)}


def stage() -> Markup:
    files = interactive.examples("ddpm")
    if not files:
        return Markup("<p>{}</p>").format(_("The ready-trained systems are not installed."))
    shown = [(str(i), file.stem) for i, file in enumerate(files)]
    return beside(
        controls(
            choice("picture", _("picture"), shown),
            slider("noise", _("noise step, in %"), 0, 100, 30),
            slider("seed", _("random seed"), 1, 9, 1),
            button("back", _("Remove the noise"), first=True),
        )
        + player(_("denoising, step by step")),
        images(
            canvas("clean", _("the picture"), 224, 224, _("The picture")),
            canvas("noisy", _("the picture with noise"), 224, 224, _("With noise")),
            canvas("drawn", _("what the network makes of it"), 224, 224, _("During denoising")),
            canvas(
                "seen",
                _("the clean picture that the network sees in it"),
                224,
                224,
                _("The clean picture that the network sees in it, at this stop"),
            ),
            kind="pairs",
        ),
        parts("step", "back"),
    )


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the noisy image, and what the script mixes one from at every stop of the slider.

    With ``back`` also every stop of the reverse process from there.
    """
    import numpy as np
    import torch

    from souron.studio.model_cache import models

    image = interactive.example("ddpm", asked)
    noise = interactive.number(asked, "noise", 0, 1, 0.3)
    seed = interactive.whole(asked, "seed", 0, 1000, 0)
    with models.answering("ddpm") as model, torch.no_grad():
        system = model.system
        clean = image.float() / 127.5 - 1  # (1, C, H, W)
        step = round(noise * (len(system.alpha_bars) - 1))
        noise_ = noise_like(clean, seed)
        noisy = with_noise(system, clean, step, noise_)
        found = {
            "side": clean.shape[-1],
            "clean": interactive.packed(as_grey(clean)),
            "noisy": interactive.packed(as_grey(noisy)),
            "step": step + 1,
            "steps": len(system.alpha_bars),
            "noise": interactive.packed(np.round(noise_[0].mean(0).numpy() * UNIT).astype("<i2").view(np.uint8)),
            "kept": [
                round(system.alpha_bars[round(stop / 100 * (len(system.alpha_bars) - 1))], 6) for stop in range(101)
            ],
        }
        if asked.get("back"):
            found |= way_back(system, clean, noisy, step)
    return found


def record() -> Iterator[dict[str, Any]]:
    if interactive.examples("ddpm"):
        for picture, noise, seed, back in product(*SETTINGS.values(), (False, True)):
            yield {"picture": picture, "noise": noise / 100, "seed": seed, "back": back}


def noise_like(clean: Any, seed: int) -> Any:
    """Draw standard normal noise of the shape of an image."""
    import torch

    return torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))


def with_noise(system: Any, clean: Any, step: int, noise: Any) -> Any:
    """Compute x_t from the image x_0 (1, C, H, W) in -1..1, by the system's noise schedule."""
    kept = system.alpha_bars[step]
    return kept**0.5 * clean + (1 - kept) ** 0.5 * noise


def way_back(system: Any, clean: Any, noisy: Any, step: int) -> dict[str, Any]:
    """Denoise from ``step``; return every stop with the network's estimate of the clean image."""
    import torch

    from souron.blocks.samplers import ddim

    none = torch.full((1,), system.classes)  # unconditional: no class is given
    seen = []

    def denoise(x: Any, t: int) -> Any:
        seen.append(system.clean(x, t, none))
        return seen[-1]

    kept = system.alpha_bars[: step + 1]
    stops = list(ddim(denoise, kept, min(STOPS, len(kept)), noisy, lambda: noisy))
    seen.append(stops[-1])

    def apart(x: Any) -> float:
        return round(float((x.clamp(-1, 1) - clean).square().mean().sqrt() * 127.5), 1)

    return {
        "way": [interactive.packed(as_grey(stop)) for stop in stops],
        "seen": [interactive.packed(as_grey(each)) for each in seen],
        "asked": len(stops) - 1,
        "before": apart(noisy),
        "after": apart(stops[-1]),
    }


def as_grey(values: Any) -> Any:
    """Convert (1, C, H, W) in -1..1 to bytes (H, W); values outside are clipped."""
    return interactive.as_bytes(values[0].mean(0), -1, 1)
