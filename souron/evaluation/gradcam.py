"""Grad-CAM: heat maps of the image regions that support a class.

Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra: Grad-CAM: Visual Explanations from Deep Networks
via Gradient-based Localization (2017). https://arxiv.org/abs/1610.02391

    weight_c = mean over positions of d(logit) / d(map_c)    heat = relu(sum_c weight_c map_c)

The feature maps are the last ones that the whole output depends on: the output of the last
activation, addition or convolution that is more than one position wide and that no skip connection
bypasses. They are found while the network runs, so that no system needs to name a layer and
functional activations (``F.relu``) count too. Pooling is left out: it only blurs its input.

Networks that read an image as a sequence of patches have no feature maps. For these, the last
layer-normalised patch tokens are taken from which other tokens, or the average of all, still reach
the output, and each patch counts for itself: heat = relu(sum_d gradient_d activation_d). Attention
rollout is not used (Abnar, Zuidema 2020; Chefer and others 2021): these systems compute attention
without storing its weights, and MLP-Mixer has none. Gradients serve both.

A heat map shows where evidence was found, not whether it was the right evidence.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from souron.utils.messages import UserError, _

BATCH = 8  # images; activations stay in memory for the backward pass

# names of the torch functions that produce feature maps
MAKES_MAPS = frozenset({
    "conv2d", "batch_norm", "group_norm", "add", "add_", "mul", "mul_", "cat", "relu", "relu_",
    "relu6", "leaky_relu", "elu", "celu", "gelu", "silu", "mish", "hardswish", "tanh",
})  # fmt: skip
MAKES_TOKENS = "layer_norm"
MOST_EXTRA_TOKENS = 8  # before the patches: class, distillation, registers


class Activation(NamedTuple):
    """An intermediate result that still has spatial positions."""

    values: Tensor
    kind: str  # "maps" (B, C, h, w), "maps last" (B, h, w, C), "tokens" (B, extra + h w, D)


class _Recorder(TorchFunctionMode):
    """Record the intermediate results of a network in order."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image, self.activations = image, list[Activation]()

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.requires_grad:
            kind = self._kind(getattr(func, "__name__", ""), result)
            if kind:
                self.activations.append(Activation(result, kind))
        return result

    def _kind(self, name: str, result: Tensor) -> str:
        """Return the kind of an activation; "" without spatial positions."""
        if len(result) != len(self.image):
            return ""
        if name in MAKES_MAPS and result.ndim == 4:
            return "maps" if self._is_grid(result.shape[2:]) else ""
        if name == MAKES_TOKENS and result.ndim == 4:
            return "maps last" if self._is_grid(result.shape[1:3]) else ""
        if name == MAKES_TOKENS and result.ndim == 3:
            side, extra = _grid(result.shape[1])
            return "tokens" if side > 1 and extra <= MOST_EXTRA_TOKENS else ""
        return ""

    def _is_grid(self, shape: torch.Size) -> bool:
        """Return whether a grid is more than one position wide and has the image's proportions."""
        (height, width), (tall, wide) = shape, self.image.shape[2:]
        return min(height, width) > 1 and abs(height * wide - width * tall) < max(tall, wide)


def heat(system: Any, image: Tensor, label: Tensor) -> Tensor:
    """Compute heat maps for a class, (B, H, W) float32 in 0..1 on the CPU.

    ``image`` is (B, C, H, W) as ``system.batch`` returns it; ``label`` (B,) int64 the class to
    explain. Each map is scaled to its own maximum, and is 0 where nothing supports the class. The
    system runs in evaluation mode and float32, and its state is restored; its weights may be
    frozen. Raises UserError where the system has no spatial activations (see ``method``).
    """
    # patches may extend beyond the right and lower edge of the image
    border = getattr(system, "border", 0)
    height, width = image.shape[2:]
    large = []
    for small in coarse(system, image, label).split(BATCH):
        size = (height + border, width + border)
        enlargement = F.interpolate(small[:, None], size, mode="bilinear", align_corners=False)
        large.append(enlargement[:, 0, :height, :width])
    maps = torch.cat(large)
    most = maps.amax((1, 2), keepdim=True)
    return maps / torch.where(most > 0, most, 1)


def coarse(system: Any, image: Tensor, label: Tensor) -> Tensor:
    """Compute ``heat`` before resizing and scaling: (B, h, w) float32 in the network's own grid."""
    batches = zip(image.split(BATCH), label.split(BATCH), strict=True)
    with _evaluating(system):
        return torch.cat([_coarse(system, *batch) for batch in batches])


def method(system: Any) -> str | None:
    """Return the name of the method of ``heat``, in the reader's language; None where
    none applies.
    """
    blank = torch.zeros(1, system.spec.channels, system.spec.side, system.spec.side)
    with _evaluating(system):
        _logits, activations = _activations(system, blank)
        last = next(activations, None)
    if last is None:
        return None
    if last.kind == "tokens":
        return _("gradient times activation, patch by patch")
    return _("Grad-CAM at the last feature maps")


def _coarse(system: Any, image: Tensor, label: Tensor) -> Tensor:
    logits, activations = _activations(system, image)
    # in evaluation mode images are independent, so the sum gives each its own gradient
    logit = logits.gather(1, label.to(logits.device)[:, None]).sum()
    evidence = None
    for values, kind in activations:
        (slope,) = torch.autograd.grad(logit, values, retain_graph=True, allow_unused=True)
        if slope is None:
            continue
        evidence = _evidence(values.detach(), slope, kind)
        # after the last attention, patch tokens no longer affect the class token: go further back
        if kind != "tokens" or _places(slope, kind).any():
            break
    if evidence is None:
        raise UserError(
            "heat",
            _("{system} has no spatial feature maps").format(system=type(system).__name__),
            expected=_("a system of convolutions or of patches, such as resnet or vit"),
        )
    return evidence


def _evidence(values: Tensor, slope: Tensor, kind: str) -> Tensor:
    """Compute the evidence at each position, (B, h, w) on the CPU."""
    values, slope = _places(values, kind), _places(slope, kind)
    weight = slope if kind == "tokens" else slope.mean((2, 3), keepdim=True)
    return (weight * values).sum(1).relu().float().cpu()


def _places(values: Tensor, kind: str) -> Tensor:
    """Rearrange activations to (B, C, h, w)."""
    if kind == "maps last":
        return values.movedim(3, 1)
    if kind == "tokens":
        side, extra = _grid(values.shape[1])
        return values[:, extra:].transpose(1, 2).unflatten(2, (side, side))
    return values


def _grid(tokens: int) -> tuple[int, int]:
    """Return the patches per side, and the number of tokens before them."""
    side = math.isqrt(tokens)
    return side, tokens - side**2


def _activations(system: Any, image: Tensor) -> tuple[Tensor, Iterator[Activation]]:
    """Return logits (B, labels), and the activations behind them, last first."""
    # with frozen weights, gradients need an input that requires them
    image = image.detach().to(system.device, torch.float32, copy=True).requires_grad_()
    with _Recorder(image) as recorder:
        logits = system(image)
    activations = reversed(recorder.activations)
    # patch tokens always have skip connections
    return logits, (
        activation for activation in activations if activation.kind == "tokens" or _all_of(logits, activation, image)
    )


def _all_of(logits: Tensor, activation: Activation, image: Tensor) -> bool:
    """Return whether every path from the image to the logits passes this activation."""
    nodes, ahead = {activation.values.grad_fn}, [logits.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in nodes:
            continue
        nodes.add(node)
        if getattr(node, "variable", None) is image:
            return False
        ahead += [before for before, _place in node.next_functions]
    return True


@contextmanager
def _evaluating(system: Any) -> Iterator[None]:
    """Run in evaluation mode, float32 and with gradients; restore the mode of each layer."""
    before = [(module, module.training) for module in system.modules()]
    system.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(system.device.type, enabled=False):
            yield
    finally:
        for module, training in before:
            module.training = training
