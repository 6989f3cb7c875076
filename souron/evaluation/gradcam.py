"""Where a network looks: which places of a picture spoke for a class.

Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra: Grad-CAM: Visual Explanations from Deep Networks
via Gradient-based Localization (2017). https://arxiv.org/abs/1610.02391

    weight_c = mean over places of d(logit) / d(map_c)      heat = relu(sum_c weight_c map_c)

The maps are the last ones that all of the answer comes from: the last activation, sum or
convolution in the order of computing whose result is more than one place wide, and which no skip
connection leads around. They are found while the network computes, so that no system needs to name
a layer, and activations that are not layers (``F.relu``) count too. Poolings do not: they only blur
what came before.

Networks that read a picture as a sentence of patches have no maps. There the last normalised
patches are taken through which other patches, or the mean of all, still reach the answer, and each
patch counts for itself: heat = relu(sum_d gradient_d activation_d). Attention is not rolled out
(Abnar, Zuidema 2020; Chefer and others 2021): these systems compute it without keeping the table
of who looks at whom, and MLP-Mixer has none. Gradients serve both.

A heat map says where evidence was found, not whether it was the right evidence.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from souron.utils.messages import UserError, _

if TYPE_CHECKING:
    from souron.tasks.classify import Classifier

BATCH = 8  # pictures; what the network computed of them is kept until the gradient is known

# what makes maps, by the names that torch gives to its functions
MAKES_MAPS = frozenset({
    "conv2d", "batch_norm", "group_norm", "add", "add_", "mul", "mul_", "cat", "relu", "relu_",
    "relu6", "leaky_relu", "elu", "celu", "gelu", "silu", "mish", "hardswish", "tanh",
})  # fmt: skip
MAKES_TOKENS = "layer_norm"
MOST_EXTRA_TOKENS = 8  # before the patches: class, distillation, registers


class Activation(NamedTuple):
    """What was computed on the way, where it still has places."""

    values: Tensor
    kind: str  # "maps" (B, C, h, w), "maps last" (B, h, w, C), "tokens" (B, extra + h w, D)


class _Recorder(TorchFunctionMode):
    """Keeps what a network computes, in order."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image, self.activations = image, list[Activation]()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.requires_grad:
            kind = self._kind(getattr(func, "__name__", ""), result)
            if kind:
                self.activations.append(Activation(result, kind))
        return result

    def _kind(self, name: str, result: Tensor) -> str:
        """ "" where there are no places."""
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
        """More than one place a side, and in the proportions of the picture."""
        (height, width), (tall, wide) = shape, self.image.shape[2:]
        return min(height, width) > 1 and abs(height * wide - width * tall) < max(tall, wide)


def heat(system: "Classifier", image: Tensor, label: Tensor) -> Tensor:
    """Where each picture speaks for a class: (B, H, W) float32 in 0..1, on the processor.

    ``image`` (B, C, H, W) as ``system.batch`` gives it; ``label`` (B,) int64, the class that is
    asked about. Each picture is scaled to its own maximum; all is 0 where nothing speaks for the
    class. The system is asked in evaluation mode and float32, and left as it was; its weights may
    be frozen. Raises UserError where the system has no places to point at (see ``method``).
    """
    # patches may reach over the picture's right and lower edge
    border = getattr(system, "border", 0)
    height, width = image.shape[2:]
    large = []
    for small in coarse(system, image, label).split(BATCH):
        size = (height + border, width + border)
        resized = F.interpolate(small[:, None], size, mode="bilinear", align_corners=False)
        large.append(resized[:, 0, :height, :width])
    maps = torch.cat(large)
    most = maps.amax((1, 2), keepdim=True)
    return maps / torch.where(most > 0, most, 1)


def coarse(system: "Classifier", image: Tensor, label: Tensor) -> Tensor:
    """``heat`` before it is enlarged and scaled: (B, h, w) float32 in the network's own grid."""
    batches = zip(image.split(BATCH), label.split(BATCH), strict=True)
    with _evaluating(system):
        return torch.cat([_coarse(system, *batch) for batch in batches])


def method(system: "Classifier") -> str | None:
    """How ``heat`` finds it, in the reader's language; None where the system has no places."""
    blank = torch.zeros(1, system.spec.channels, system.spec.side, system.spec.side)
    with _evaluating(system):
        _logits, activations = _activations(system, blank)
        last = next(activations, None)
    if last is None:
        return None
    if last.kind == "tokens":
        return _("gradient times activation, patch by patch")
    return _("Grad-CAM at the last feature maps")


def _coarse(system: "Classifier", image: Tensor, label: Tensor) -> Tensor:
    logits, activations = _activations(system, image)
    # pictures do not mix in evaluation mode, so that each gets the gradient of its own logit
    logit = logits.gather(1, label.to(logits.device)[:, None]).sum()
    evidence = None
    for values, kind in activations:
        (slope,) = torch.autograd.grad(logit, values, retain_graph=True, allow_unused=True)
        if slope is None:
            continue
        evidence = _evidence(values.detach(), slope, kind)
        # after the last exchange between tokens, the patches no longer matter to the class token
        if kind != "tokens" or _places(slope, kind).any():
            break
    if evidence is None:
        raise UserError(
            "heat",
            _("{system} does not keep the places of a picture apart").format(
                system=type(system).__name__
            ),
            expected=_("a system of convolutions or of patches, such as resnet or vit"),
        )
    return evidence


def _evidence(values: Tensor, slope: Tensor, kind: str) -> Tensor:
    """Evidence of each place, (B, h, w) on the processor."""
    values, slope = _places(values, kind), _places(slope, kind)
    weight = slope if kind == "tokens" else slope.mean((2, 3), keepdim=True)
    return (weight * values).sum(1).relu().float().cpu()


def _places(values: Tensor, kind: str) -> Tensor:
    """(B, C, h, w)"""
    if kind == "maps last":
        return values.movedim(3, 1)
    if kind == "tokens":
        side, extra = _grid(values.shape[1])
        return values[:, extra:].transpose(1, 2).unflatten(2, (side, side))
    return values


def _grid(tokens: int) -> tuple[int, int]:
    """Patches a side, and how many tokens stand before them."""
    side = math.isqrt(tokens)
    return side, tokens - side**2


def _activations(system: "Classifier", image: Tensor) -> tuple[Tensor, Iterator[Activation]]:
    """Logits (B, labels), and what they come from, the last first."""
    # frozen weights let gradients through only where the picture itself asks for one
    image = image.detach().to(system.device, torch.float32, copy=True).requires_grad_()
    with _Recorder(image) as recorder:
        logits = system(image)
    activations = reversed(recorder.activations)
    # patches are always led around: each layer adds to them
    return logits, (
        one for one in activations if one.kind == "tokens" or _all_of(logits, one, image)
    )


def _all_of(logits: Tensor, one: Activation, image: Tensor) -> bool:
    """Does all that the logits know of the picture pass here?"""
    visited, ahead = {one.values.grad_fn}, [logits.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if getattr(node, "variable", None) is image:
            return False
        ahead += [before for before, _place in node.next_functions]
    return True


@contextmanager
def _evaluating(system: "Classifier") -> Iterator[None]:
    """In evaluation mode, float32 and with gradients, whatever goes on around; afterwards each
    layer is in the mode in which it was."""
    before = [(module, module.training) for module in system.modules()]
    system.eval()
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(system.device.type, enabled=False),
        ):
            yield
    finally:
        for module, training in before:
            module.training = training
