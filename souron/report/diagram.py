"""Diagram of a system: its layers as boxes from input to output.

The height of a box grows with the square root of the side of its feature maps, its width with the
logarithm of the number of channels, so that one pixel and a thousand channels fit on one line.
Vectors are bars whose height grows with the logarithm of their length.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from souron import registry
from souron.data.dataset import Rows
from souron.evaluation import summary
from souron.report.layers.kinds import COLOURS, meaning, short
from souron.system import System

MOST = 26  # boxes on one line; deeper systems are drawn by their blocks
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
ATTENTION = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer, nn.MultiheadAttention)


@dataclass(frozen=True)
class Box:
    name: str  # as in the weights file: "layer1.0"
    kind: str  # a key of ``layers.kinds.COLOURS``
    shape: tuple[int, ...]  # of the output for one case
    towers: int = 1  # groups of channels, computed independently


def boxes(model: Any, seen: Any, calls: Mapping[str, "Call"] | None = None) -> list[list[Box]]:
    """Return the lines of boxes to draw: one line, or one for each network with its own optimizer.

    ``model`` has no numbers (meta device) and ``seen`` is an input for it. Where the modules do not
    show the stages, the system names them (``sketch``). ``calls`` are those of ``watched``, where they
    are known.
    """
    if stages := model.sketch():
        return [[Box("", "input", summary.describe(seen)), *(Box(*stage) for stage in stages)]]
    calls = watched(model, seen) if calls is None else calls
    if not any(True for _weight in model.parameters()):
        named = ((name, tuple(held.shape)) for name, held in model.named_buffers())
        kept = [Box(name, "kept", shape) for name, shape in named if 0 not in shape]
        return [[Box("", "input", summary.describe(seen)), *kept]]
    networks = apart(model)
    if not networks:
        return [[Box("", "input", summary.describe(seen)), *line(model, calls, "")]]
    lines = [row for name in networks if (row := line(model, calls, f"{name}."))]
    lines = lines or [line(model, calls, "")]
    return [[Box("", "input", calls[row[0].name].taken), *row] for row in lines]


def apart(model: Any) -> list[str]:
    """Name the networks that are trained one by one, in the order of the definition, which is that of reading."""
    optimizers = model.optimizers()
    if not any(name in optimizers for name, _part in model.named_children()):
        return []
    learning = {id(weight) for each in optimizers.values() for group in each.param_groups for weight in group["params"]}
    return [
        name for name, part in model.named_children() if any(id(weight) in learning for weight in part.parameters())
    ]


@dataclass(frozen=True)
class Call:
    """Calls of a part for one case: the shapes of the first one, and the FLOPs of all."""

    taken: tuple[int, ...]
    given: tuple[int, ...]
    flops: int = 0  # of the forward pass; a multiplication and an addition are two
    calls: int = 1
    learning: bool = False  # called in training only


def watched(model: Any, seen: Any) -> dict[str, Call]:
    """Return the calls of each part for one case, in order of completion."""
    calls = noted(model, lambda: summary.try_once(model, seen))
    rows = registry.load_task(model.task).example_rows(seen)
    if rows is None:
        return calls
    turns = take_turns(model)
    if turns or unused(model, calls):  # such as the encoder of a VAE, which generates with its decoder alone
        learning = {
            name: replace(call, flops=call.flops // len(rows.input), learning=True)
            for name, call in noted(model, lambda: learn_once(model, rows)).items()
        }
        if turns:
            return calls | {name: call for name, call in learning.items() if name not in calls}
        if not unused(model, learning):
            return {name: calls.get(name, call) for name, call in learning.items()}
    return calls


def noted(model: Any, use: Callable[[], object]) -> dict[str, Call]:
    """Record the shapes of each part at its first call in ``use``, and count its calls and FLOPs.

    PyTorch counts the FLOPs: those of convolutions, matrix products and attention.
    """
    from torch.utils.flop_counter import FlopCounterMode

    calls: dict[str, Call] = {}
    begun: dict[str, list[int]] = defaultdict(list)

    def begin(name: str) -> Any:
        return lambda part, taken: begun[name].append(counter.get_total_flops())

    def watch(name: str) -> Any:
        def note(part: nn.Module, taken: Any, given: Any) -> None:
            spent = counter.get_total_flops() - begun[name].pop()
            given = given[0] if isinstance(given, tuple) and given else given
            if isinstance(given, Tensor) and taken and isinstance(taken[0], Tensor):
                inward, outward = (tuple(value.shape[1:]) or (1,) for value in (taken[0], given))
                first = calls.get(name, Call(inward, outward, calls=0))
                calls[name] = replace(first, flops=first.flops + spent, calls=first.calls + 1)

        return note

    hooks = [part.register_forward_pre_hook(begin(name)) for name, part in model.named_modules()]
    hooks += [part.register_forward_hook(watch(name)) for name, part in model.named_modules()]
    try:
        counter: Any = FlopCounterMode(display=False)
        counter.mod_tracker = Untracked()
        with counter:
            use()
    finally:
        for hook in hooks:
            hook.remove()
    return calls


class Untracked:
    """Stand in for PyTorch's tracker of modules, which forbids ``autograd.grad`` of a gradient penalty."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...
    def __exit__(self, *raised: object) -> None: ...


def unused(model: Any, calls: Mapping[str, Call]) -> bool:
    """Return whether a linear layer or a convolution was never called."""
    return any(
        isinstance(part, (nn.Linear, *CONVOLUTIONS)) and name not in calls for name, part in model.named_modules()
    )


def take_turns(model: Any) -> bool:
    """Return whether the system trains several networks, each with its own optimizer."""
    learns = any(True for _weight in model.parameters())
    several = type(model).updates is not System.updates
    return learns and several and len(model.optimizers()) > 1


def learn_once(model: Any, rows: Rows) -> None:
    """Run one round of updates on the meta device, so that each network is called on its own."""
    batch = model.batch(rows)
    autocast = torch.autocast

    def without_meta(device_type: str, *options: Any, **named: Any) -> AbstractContextManager[Any]:
        """Leave out the meta device, which autocast does not support; other threads may use other devices."""
        return nullcontext() if device_type == "meta" else autocast(device_type, *options, **named)

    with mock.patch("torch.autocast", without_meta):
        for _update in model.train().updates(batch, 0):
            pass
    model.eval()


def line(model: nn.Module, calls: Mapping[str, Call], network: str) -> list[Box]:
    """Return the parts of one network at the deepest level that fits on a line.

    A single block is opened: it would be the whole diagram.
    """
    closed = blocks(model)
    while True:
        for depth in range(summary.deepest(model), network.count("."), -1):
            rows = [row for row in shown(model, calls, depth, closed) if row.name.startswith(network)]
            if len(rows) <= MOST:
                break
        if len(rows) != 1 or rows[0].name not in closed:
            return rows
        closed -= {rows[0].name}


def shown(model: nn.Module, calls: Mapping[str, Call], depth: int, closed: Set[str]) -> Iterator[Box]:
    """Yield the parts down to ``depth`` that have weights or change the shape; ``closed`` are not opened.

    Norms and activations are left out.
    """
    parts = dict(model.named_modules())
    for name, call in calls.items():
        level, part = name.count(".") + 1, parts[name]
        ends = level == depth or name in closed or next(part.children(), None) is None
        inside = any(name.startswith(f"{block}.") for block in closed)
        if not name or level > depth or not ends or inside:
            continue
        kind = sort(part)
        idle = kind in ("other", "pooling") and call.taken == call.given
        if idle or "Norm" in type(part).__name__:
            continue
        # depthwise convolutions have too many groups to be drawn as towers
        groups = getattr(part, "groups", 1)
        yield Box(name, kind, call.given, groups if groups < call.given[0] else 1)


def blocks(model: nn.Module) -> set[str]:
    """Return the names of blocks: parts of a type defined by the system that occurs more than once, and
    PyTorch's layers with attention, whose parts compute by themselves.

    The modules inside such a block need not form a sequence, so it is drawn as one box.
    """
    found = set()
    for name, parent in model.named_modules():
        parts = {title: part for title, part in parent.named_children() if title != "average"}
        types = Counter(map(type, parts.values()))
        for title, child in parts.items():
            own = not type(child).__module__.startswith("torch.nn") and types[type(child)] > 1
            if (own or isinstance(child, ATTENTION)) and next(child.children(), None) is not None:
                found.add(f"{name}.{title}".lstrip("."))
    return found


def sort(part: nn.Module) -> str:
    """Return the kind of a layer, or the kind of layers that a block consists of."""
    if isinstance(part, CONVOLUTIONS):
        return "convolution"
    if isinstance(part, nn.Linear):
        return "connected"
    if isinstance(part, nn.Embedding):
        return "embedding"
    within = list(part.modules())
    if any("Attention" in type(each).__name__ for each in within):
        return "attention"
    if any(isinstance(each, nn.RNNBase) for each in within):
        return "recurrent"
    convolving = sum(map(convolves, within))
    if convolving:
        return "convolution" if convolving == 1 else "convolutions"
    if any(weight.ndim == 2 for weight in part.parameters(recurse=False)):
        return "connected"  # one of a system's own
    if any(isinstance(each, nn.Linear) for each in within):
        return "mixing"
    return "pooling" if "Pool" in type(part).__name__ else "other"


def convolves(part: nn.Module) -> bool:
    """Return whether a layer is a convolution, or has a convolution's 4-dimensional weight."""
    weights = part.parameters(recurse=False)
    return isinstance(part, CONVOLUTIONS) or any(weight.ndim >= 4 for weight in weights)


def draw(lines: list[list[Box]], file: Path, words: bool = True) -> None:
    """Write the diagram as SVG; ``words`` adds the layers' names and shapes and a legend."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from souron.utils import fonts

    style: Any = {"font.family": fonts.families(), "font.size": 8, "svg.hashsalt": "souron", "text.parse_math": False}
    with matplotlib.rc_context(style):
        height = 2.6 * len(lines) + 0.4 if words else 1.9 * len(lines)
        figure = Figure(figsize=(9, height), layout="constrained")
        for axes, row in zip(figure.subplots(len(lines), squeeze=False)[:, 0], lines, strict=True):
            draw_line(axes, row, words)
        kinds = dict.fromkeys(box.kind for row in lines for box in row)
        handles = [Patch(color=COLOURS[kind], label=meaning(kind)) for kind in kinds]
        if words:
            figure.legend(handles=handles, loc="outside lower center", ncols=len(kinds), frameon=False)
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})


def draw_line(axes: Any, row: list[Box], words: bool) -> None:
    from matplotlib.patches import Polygon

    largest = max((side(box) for box in row), default=1)
    longest = max((box.shape[0] for box in row if len(box.shape) == 1), default=1)
    gap, slant = 0.16, 0.28
    x = 0.0
    for box in row:
        if len(box.shape) == 1:
            width, depth = 0.07, 0.05
            height = 0.15 + 0.75 * math.log1p(box.shape[0]) / math.log1p(max(longest, 4096))
        else:
            width = 0.05 + 0.05 * math.log2(channels(box))
            height = 0.12 + 0.88 * math.sqrt(side(box) / largest)
            depth = slant * height
        right, back = x + width, x + width + depth
        part = height / box.towers
        for tower in range(box.towers):  # from below, so that the upper one hides nothing
            low = tower * part - height / 2
            high = low + part * (0.8 if box.towers > 1 else 1)
            rise = depth * 0.7 / box.towers
            faces = {
                1.0: [(x, low), (right, low), (right, high), (x, high)],
                1.25: [(x, high), (right, high), (back, high + rise), (x + depth, high + rise)],
                0.78: [(right, low), (back, low + rise), (back, high + rise), (right, high)],
            }
            for light, corners in faces.items():
                colour = shade(COLOURS[box.kind], light)
                axes.add_patch(Polygon(corners, facecolor=colour, edgecolor="white", linewidth=0.5))
        if words:
            label = "×".join(map(str, box.shape))
            if box.towers > 1:
                label = "×".join(map(str, (box.shape[0] // box.towers, *box.shape[1:])))
                label = f"{box.towers} · {label}"
            name = short(box.name)
            axes.text(
                x + width / 2 + 0.08,
                -0.62,
                f"{name}\n{label}" if name else label,
                rotation=50,
                rotation_mode="anchor",
                ha="right",
                va="center",
                fontsize=7,
            )
        x = right + max(gap, depth * 0.75)
    axes.set(xlim=(-0.5, max(x + 0.3, 4)), ylim=(-1.25 if words else -0.6, 0.9), aspect="equal")
    axes.axis("off")


def channels(box: Box) -> int:
    """Return the number of feature maps, or the width of a token."""
    if not box.shape:  # a text
        return 1
    return box.shape[0] if len(box.shape) > 2 else box.shape[-1]


def side(box: Box) -> float:
    """Return the side of the feature maps in pixels or voxels.

    For tokens it is the side of a square of as many cells.
    """
    if len(box.shape) < 2:
        return 1
    return (math.prod(box.shape) / channels(box)) ** (1 / max(2, len(box.shape) - 1))


def shade(colour: str, light: float) -> tuple[float, ...]:
    """Make a colour lighter (``light`` above 1) or darker (below 1)."""
    from matplotlib.colors import to_rgb

    return tuple(min(1.0, value * light) for value in to_rgb(colour))
