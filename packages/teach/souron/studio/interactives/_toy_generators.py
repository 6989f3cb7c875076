"""Souron's GAN, VAE, flow and diffusion model for points in a plane, and their training step by step.

All four are the systems themselves, with their own losses and optimizers, for images of one pixel with two channels,
which are the coordinates: ``gan`` (Goodfellow and others 2014), ``vae`` (Kingma, Welling 2013), ``glow`` with steps of
its layers but no folding of pixels (Kingma, Dhariwal 2018) and ``ddpm`` with an MLP in place of the UNet (Ho, Jain,
Abbeel 2020).
"""

import math
import sys
from dataclasses import dataclass, field, replace
from typing import Any

from souron.studio import interactive
from souron.studio.interactives._toy_shapes import DRAWN, held_out, sampled, scores

MODELS = ("gan", "vae", "glow", "ddpm")
FRAMES = 15  # of a training, without the one before it
STEPS = {"gan": 85, "vae": 110, "glow": 44, "ddpm": 160}  # from one frame to the next
BATCH = 256  # points of a step


@dataclass
class Learner:
    """A training that goes on with each request."""

    name: str
    system: Any
    optimizers: dict[str, Any]
    random: Any  # state of the random number generator
    steps: int  # from one frame to the next
    step: int = 0
    answers: list[dict[str, Any]] = field(default_factory=list)  # the frames so far


def begin(name: str, grid: Any, seed: int, length: int) -> Learner:
    """Start a training on a drawing (SIDE, SIDE), of ``length`` % of the usual number of steps."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        system = made(name, grid)
        steps = max(1, STEPS[name] * length // 100)
        return Learner(name, system, system.optimizers(), torch.get_rng_state(), steps)


def next_frame(learner: Learner, grid: Any) -> dict[str, Any]:
    """Train to the next frame and return it; the first is untrained, and has the scores of real points beside it."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(learner.random)
        if not learner.answers:
            return frame(learner, grid) | {"floor": scores(held_out(grid, 1), grid)}
        for _step in range(learner.steps):
            one_step(learner, grid)
        found = frame(learner, grid)
        learner.random = torch.get_rng_state()
    return found


def one_step(learner: Learner, grid: Any) -> None:
    """Train on one batch with the system's own losses; the rate falls linearly to zero."""
    import torch

    from souron.tasks.generate import Batch

    system = learner.system
    point, label = sampled(grid, BATCH)
    image = point[..., None, None]
    if learner.name == "glow":
        image = image.transpose(0, 2)  # as one image of BATCH pixels: the same mean, in less time
    batch = Batch(image, label)
    for optimizer in learner.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = system.config.rate * (1 - learner.step / (learner.steps * FRAMES))
    for who, loss in system.updates(batch, learner.step):
        optimizer = learner.optimizers[who]
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        optimizer.zero_grad()
        loss.backward(inputs=weights)
        if system.clip:
            torch.nn.utils.clip_grad_norm_(weights, system.clip)
        optimizer.step()
    system.after_update(learner.step)
    learner.step += 1


def frame(learner: Learner, grid: Any) -> dict[str, Any]:
    """Return generated points and their scores."""
    found = generated(learner.name, learner.system)
    return {
        "step": learner.step,
        "points": interactive.packed(interactive.as_bytes(found, -1, 1)),
        **scores(found, grid),
    }


def generated(name: str, system: Any) -> Any:
    """Generate (DRAWN, 2) points, always from the same noise."""
    import torch

    from souron.evaluation.generators.sampling import Noise

    own = {"vae": {"grain": 1.0}, "ddpm": {"guidance": 0.0}}
    system.eval()
    with torch.no_grad():
        found = system.draw(Noise(0, range(DRAWN)), **own.get(name, {}))
    system.train()
    return found[:, :, 0, 0]


def made(name: str, grid: Any) -> Any:
    """Build one of souron's systems for images of one pixel, whose two channels are coordinates."""
    from torch import nn

    from souron import registry
    from souron.tasks.generate import Spec

    system_class, config = registry.load_system(f"{name}_tiny")
    share = float((grid == 1).sum() / (grid > 0).sum())
    spec = Spec(2, 1, ("1", "2"), (share, 1 - share))
    if name == "gan":
        system = system_class(
            replace(config, width=128, units=64, pieces=3, noise=4, rate=1e-3, momentum=0.5, average=0.99), spec
        )
        for part in system.critic:
            if isinstance(part, nn.Dropout):
                part.p = 0.0  # of two coordinates none can be spared
        return system
    if name == "vae":
        return system_class(replace(config, hidden=128, layers=2, latent=2, rate=2e-3), spec)
    if name == "glow":
        return flow(system_class, replace(config, depth=8, width=64, rate=3e-3), spec)
    return diffusion(system_class, replace(config, rate=3e-3), spec)


def flow(system_class: Any, config: Any, spec: Any) -> Any:
    """Build ``glow`` with one level of its steps on two channels, since one pixel cannot be folded."""
    from torch import nn

    layers = sys.modules[system_class.__module__]

    class PointLevel(nn.Module):
        """(B, 2, 1, 1) <-> as many normal numbers."""

        def __init__(self) -> None:
            super().__init__()
            steps = [
                layer
                for _step in range(config.depth)
                for layer in (
                    layers.Actnorm(2),
                    layers.InvertibleConv1x1(2),
                    one_pixel(layers.Coupling(2, config.width)),
                )
            ]
            self.steps = nn.ModuleList([*steps, layers.Actnorm(2)])

        def forward(self, x: Any) -> Any:
            total = x.new_zeros(len(x))
            for step in self.steps:
                x, change = step(x)
                total = total + change
            return x, [x], total

        def inverse(self, _x: Any, normal: Any) -> Any:
            step: Any
            for step in reversed(self.steps):
                normal = step.inverse(normal)
            return normal

    system = system_class(config, replace(spec, side=4))  # the least side that it can fold
    system.spec = spec
    system.levels, system.shapes = nn.ModuleList([PointLevel()]), [[(2, 1, 1)]]
    return system


def one_pixel(part: Any) -> Any:
    """Keep the middle of the kernels of all convolutions: the rest would only meet the border."""
    from torch import nn

    for convolution in part.modules():
        if isinstance(convolution, nn.Conv2d):
            middle = convolution.kernel_size[0] // 2
            convolution.weight = nn.Parameter(
                convolution.weight.detach()[..., middle : middle + 1, middle : middle + 1]
            )
            convolution.kernel_size, convolution.padding = (1, 1), (0, 0)
    return part


def diffusion(system_class: Any, config: Any, spec: Any) -> Any:
    """Build ``ddpm`` with an MLP of points in place of its UNet of images."""
    import torch
    from torch import nn

    from souron.blocks.averaging import follower

    class PointNetwork(nn.Module):
        """Noise (B, 2, 1, 1) in points at steps (B,) of 1000, for labels (B,)."""

        def __init__(self, width: int, classes: int) -> None:
            super().__init__()
            self.label = nn.Embedding(classes + 1, width)
            self.first = nn.Linear(2 + 16 + 8, width)
            self.rest = nn.Sequential(
                nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
            )
            self.octaves: Any
            self.register_buffer("octaves", math.pi / 2 * torch.tensor([1.0, 2.0, 4.0, 8.0]), persistent=False)

        def forward(self, noisy: Any, step: Any, label: Any) -> Any:
            point = noisy.flatten(1)
            angle = torch.cat([point, step[:, None] / 1000], 1)[..., None] * self.octaves  # (B, 3, 4)
            whole = torch.cat([point, angle.sin().flatten(1), angle.cos().flatten(1)], 1)
            return self.rest(self.first(whole) + self.label(label))[..., None, None]

    system = system_class(config, spec)
    system.network = PointNetwork(128, system.classes)
    system.average = follower(system.network)
    return system
