"""Formulas of layers: those of PyTorch's from their settings, those of own classes from ``forward``.

A formula is a line or a few lines of text. x is the input and y the output for one case, c counts
channels in, o channels out; i, j, k are positions, u, v, t positions within a window. Bounds such as
``c < 64`` are those of the layer at hand.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from souron.utils.messages import N_, _

MOST_LINES = 14  # of a formula
PLAIN = ("F", "torch", "nn", "functional", "self", "math", "ops", "np")  # left out before a dot
IDLE = (ast.Assert, ast.Raise, ast.Pass, ast.Import, ast.ImportFrom)  # statements that compute nothing
CONVOLUTION = N_("Convolution: each output is a weighted sum over a window of the input, the same weights everywhere.")
TRANSPOSED = N_("Transposed convolution: each input is spread over a window of the output, and overlaps are added.")
NORM = N_("Normalisation: mean and standard deviation are brought to values that are learnt.")
LARGEST = N_("Pooling: the largest value of each window.")
MEAN = N_("Pooling: the mean of each window.")
NONLINEAR = N_("Activation function, applied to each number on its own.")
DROPOUT = N_("Dropout: in training, a random share of the numbers is set to zero.")
PADDING = N_("Padding: values are added around the input.")
IN_ORDER = N_("Its parts one after the other.")
ONE_SHAPE = N_("The same numbers in another shape.")
STORED = N_("Values that fitting stores. Steps of the method compute with them.")
LEARNT = N_("Values that training changes. Steps of the system compute with them.")
STEP = N_("A step of the method: a function of its file, and its result.")
OWN = N_("A layer of its own class: the steps of its forward pass, in their order.")
INPUT = N_("The input for one case. That of a generator is noise.")

SENTENCES = {  # class of torch.nn, or a name of ``base`` -> meaning
    **dict.fromkeys(("Conv1d", "Conv2d", "Conv3d"), CONVOLUTION),
    **dict.fromkeys(("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"), TRANSPOSED),
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"), NORM),
    **dict.fromkeys(("LayerNorm", "GroupNorm", "InstanceNorm2d", "InstanceNorm3d", "RMSNorm"), NORM),
    "LocalResponseNorm": N_("Normalisation: each channel is divided by the energy of its neighbours."),
    "Linear": N_("Fully connected layer: each output is a weighted sum of all inputs."),
    "Embedding": N_("Embedding: each number is looked up as a row of a table that is learnt."),
    "EmbeddingBag": N_("Embedding: the rows of a learnt table for all numbers of a case, averaged or added."),
    "MultiheadAttention": N_("Attention: each position takes a weighted mean of the values of all positions."),
    **dict.fromkeys(
        ("TransformerEncoderLayer", "TransformerDecoderLayer"),
        N_("Transformer layer: attention, then a network for each position; each is added to its input."),
    ),
    **dict.fromkeys(("MaxPool1d", "MaxPool2d", "MaxPool3d", "AdaptiveMaxPool2d"), LARGEST),
    **dict.fromkeys(("AvgPool1d", "AvgPool2d", "AvgPool3d"), MEAN),
    **dict.fromkeys(("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d"), MEAN),
    **dict.fromkeys(("ZeroPad2d", "ReflectionPad2d", "ReplicationPad2d", "ConstantPad2d"), PADDING),
    **dict.fromkeys(("Dropout", "Dropout2d", "Dropout3d"), DROPOUT),
    **dict.fromkeys(("Flatten", "Unflatten"), ONE_SHAPE),
    **dict.fromkeys(("PixelShuffle", "PixelUnshuffle", "ChannelShuffle"), ONE_SHAPE),
    "LSTM": N_("Recurrent layer: its state carries what came before from step to step."),
    "Upsample": N_("Upsampling: positions between those of the input are filled in."),
    "Identity": N_("The input, unchanged."),
    **dict.fromkeys(("Sequential", "ModuleList"), IN_ORDER),
    "input": INPUT,
    "stored": STORED,
    "parameter": LEARNT,
    "step": STEP,
    "own": OWN,
}

ACTIVATIONS = {
    "ReLU": "max(0, x)",
    "ReLU6": "min(max(0, x), 6)",
    "LeakyReLU": "max(x, {negative_slope} · x)",
    "PReLU": "max(0, x) + a · min(0, x),  a is learnt",
    "ELU": "x where x > 0, else {alpha} · (exp(x) − 1)",
    "SELU": "1.0507 · (x where x > 0, else 1.6733 · (exp(x) − 1))",
    "GELU": "x · Φ(x),  Φ: the normal distribution's cumulative probability",
    "SiLU": "x · σ(x),  σ(x) = 1 / (1 + exp(−x))",
    "Mish": "x · tanh(log(1 + exp(x)))",
    "Hardswish": "x · min(max(x + 3, 0), 6) / 6",
    "Hardsigmoid": "min(max(x + 3, 0), 6) / 6",
    "Sigmoid": "1 / (1 + exp(−x))",
    "Tanh": "(exp(x) − exp(−x)) / (exp(x) + exp(−x))",
    "Softplus": "log(1 + exp(x))",
    "Softmax": "exp(x) / Σ exp(x)",
    "LogSoftmax": "x − log Σ exp(x)",
}


def meaning(base: str) -> str:
    """Return what a layer of that ``base`` does, in the reader's language."""
    return _(SENTENCES.get(base) or (NONLINEAR if base in ACTIVATIONS else OWN))


def described(part: Any) -> tuple[str, str]:
    """Return the ``base`` of a module, a key of ``meaning``, and its formula.

    A class outside of torch.nn that has a ``forward`` of its own is "own". Its formula is its attribute
    ``formula`` where it has one, else its forward pass.
    """
    for kind in type(part).__mro__:
        name = kind.__name__
        if kind.__module__.startswith("torch.nn.modules"):
            if name in FORMULAS:
                return name, FORMULAS[name](part)
            if name in ACTIVATIONS:
                return name, "y = " + ACTIVATIONS[name].format(**vars(part))
        elif "forward" in vars(kind):
            text = vars(kind).get("formula")
            return "own", text if isinstance(text, str) else computed(vars(kind)["forward"])
    return "own", f"y = {type(part).__name__}(x)"


def computed(function: Callable[..., Any]) -> str:
    """Return the statements of a function without what says nothing about its result."""
    try:
        [node] = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return f"y = {function.__qualname__}(x)"
    assert isinstance(node, ast.FunctionDef)
    return cut(statements(node))


def statements(node: ast.FunctionDef) -> list[str]:
    """Return the lines of a function's body without docstring, assertions, types and ``self``.

    >>> statements(ast.parse("def forward(self, x: Tensor) -> Tensor: return F.relu(self.conv(x)) + x").body[0])
    ['y = relu(conv(x)) + x']
    """
    body = [Plain().visit(each) for each in node.body]
    return [line for each in body if each for line in ast.unparse(ast.fix_missing_locations(each)).splitlines()]


def cut(lines: list[str]) -> str:
    return "\n".join(lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], "…"])


class Plain(ast.NodeTransformer):
    """Python as one would write it on a board: ``self.conv(x)`` is conv(x), ``return`` is y."""

    def visit(self, node: ast.AST) -> Any:
        return None if isinstance(node, IDLE) else super().visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id in PLAIN:
            return ast.Name(node.attr, node.ctx)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        self.generic_visit(node)
        return ast.Assign([node.target], node.value) if node.value else None

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        return ast.Assign([ast.Name("y", ast.Store())], node.value) if node.value else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node  # its ``return`` is not that of the function around it

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        idle = isinstance(node.value, ast.Constant) or _progress(getattr(node.value, "value", None))
        return None if idle else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        self.generic_visit(node)
        return node if node.body else None


def _progress(node: Any) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Progress"


def results(node: ast.FunctionDef) -> str:
    """Return what a step of a method computes: its results, or its statements where these are but names.

    >>> results(ast.parse("def nearest(self, points): return torch.cdist(points, self.centres).argmin(1)").body[0])
    'nearest(points) = cdist(points, centres).argmin(1)'
    """
    given = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    call = f"{node.name}({', '.join(name for name in given if name not in ('self', 'cls'))})"
    lines = [
        f"{call} {sign} {ast.unparse(Plain().visit(value))}"
        for sign, value in _values(node)
        if not _progress(value) and not _names_only(value)
    ]
    return cut(lines or statements(node) or [call])


def _names_only(node: ast.expr) -> bool:
    parts = node.elts if isinstance(node, ast.Tuple | ast.List) else [node]
    return all(isinstance(each, ast.Name | ast.Constant | ast.Attribute) for each in parts)


def _values(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield what a function returns and yields; not what functions within it do."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(child, ast.Return | ast.Yield) and child.value is not None:
            yield "=" if isinstance(child, ast.Return) else "∋", child.value
        yield from _values(child)


def _convolution(part: Any) -> str:
    letters, window, place = _letters(part)
    inward, groups = part.in_channels // part.groups, part.groups
    where = ", ".join(
        _shifted(letter, step, spread, within, pad)
        for letter, step, spread, within, pad in zip(
            letters, part.stride, part.dilation, window, _padding(part), strict=True
        )
    )
    each = part.out_channels // groups  # outputs of a group
    channel = "c" if groups == 1 else f"{inward} ⌊o / {each}⌋ + c"
    weight = f"w[o, c, {', '.join(window)}]"
    bounds = [f"o < {part.out_channels}", f"c < {inward}", *_bounds(window, part.kernel_size)]
    if inward == each == 1:  # each channel on its own
        channel, weight = "o", f"w[o, {', '.join(window)}]"
        del bounds[1]
    bias = "b[o] + " if part.bias is not None else ""
    return f"y[o, {place}] = {bias}Σ {weight} · x[{channel}, {where}]\n{',  '.join(bounds)}"


def _transposed(part: Any) -> str:
    letters, window, place = _letters(part)
    where = ", ".join(
        _shifted(letter, step, spread, within, pad)
        for letter, step, spread, within, pad in zip(
            letters, part.stride, part.dilation, window, _padding(part), strict=True
        )
    )
    bounds = [f"o < {part.out_channels}", f"c < {part.in_channels // part.groups}", *_bounds(window, part.kernel_size)]
    first = f"y[o, …] = {'b[o]' if part.bias is not None else '0'}"
    added = f"y[o, {where}] += w[c, o, {', '.join(window)}] · x[c, {place}]"
    return f"{first},  then\n{added}\n{',  '.join(bounds)}"


def _letters(part: Any) -> tuple[str, str, str]:
    """Return letters of positions, of the window, and the positions as an index."""
    size = len(part.kernel_size)
    return "ijk"[:size], "uvt"[:size], ", ".join("ijk"[:size])


def _padding(part: Any) -> tuple[int, ...]:
    if isinstance(part.padding, str):  # "same", "valid"
        same = part.padding == "same"
        reach = zip(part.kernel_size, part.dilation, strict=True)
        return tuple(spread * (size - 1) // 2 if same else 0 for size, spread in reach)
    return tuple(part.padding)


def _shifted(letter: str, step: int, spread: int, within: str, pad: int) -> str:
    """Return the index of an input: ``2i + u − 1``."""
    moved = f"{'' if step == 1 else step}{letter} + {'' if spread == 1 else spread}{within}"
    return f"{moved} − {pad}" if pad else moved


def _bounds(window: str, sizes: Any) -> Iterator[str]:
    return (f"{letter} < {size}" for letter, size in zip(window, sizes, strict=True))


def _linear(part: Any) -> str:
    bias = "b[o] + " if part.bias is not None else ""
    return f"y[o] = {bias}Σ w[o, c] · x[c]\no < {part.out_features},  c < {part.in_features}"


def _normal(over: str) -> Callable[[Any], str]:
    def text(part: Any) -> str:
        learnt = getattr(part, "weight", None) is not None
        centred = "(x − μ)" if over != "rms" else "x"
        scale = f"√(σ² + {part.eps:g})" if over != "rms" else "√(mean(x²) + ε)"
        shift = (" · γ + β" if getattr(part, "bias", None) is not None else " · γ") if learnt else ""
        of = {
            "batch": "μ, σ: of each channel over the cases of a batch; in use, their running means",
            "layer": f"μ, σ: of each position over its {getattr(part, 'normalized_shape', ('',))[-1]} numbers",
            "group": f"μ, σ: of each of {getattr(part, 'num_groups', 1)} groups of channels in a case",
            "instance": "μ, σ: of each channel in a case",
            "rms": "mean over the numbers of each position",
        }[over]
        return f"y = {centred} / {scale}{shift}\n{of}"

    return text


def _dimensions(part: Any) -> int:
    """Return 2 of a ``MaxPool2d``, whatever a class that derives from it is called."""
    names = (kind.__name__ for kind in type(part).__mro__ if kind.__module__.startswith("torch.nn.modules"))
    return next(int(name[-2]) for name in names if name[-1] == "d" and name[-2].isdigit())


def _window(largest: bool) -> Callable[[Any], str]:
    def text(part: Any) -> str:
        sides = part.kernel_size if isinstance(part.kernel_size, tuple) else (part.kernel_size,)
        size = max(len(sides), _dimensions(part))
        letters, window = "ijk"[:size], "uvt"[:size]

        def each(value: Any) -> tuple[int, ...]:
            return tuple(value) if isinstance(value, tuple | list) else (value,) * size

        where = ", ".join(
            _shifted(letter, step, 1, within, pad)
            for letter, step, within, pad in zip(letters, each(part.stride), window, each(part.padding), strict=True)
        )
        bounds = ",  ".join(_bounds(window, each(part.kernel_size)))
        return f"y[c, {', '.join(letters)}] = {'max' if largest else 'mean'} x[c, {where}]\n{bounds}"

    return text


def _adaptive(word: str) -> Callable[[Any], str]:
    def text(part: Any) -> str:
        size = part.output_size
        cells = " × ".join(map(str, size if isinstance(size, tuple) else (size,) * _dimensions(part)))
        return f"y[c, cell] = {word} of x[c, …] in that cell\n{cells} cells"

    return text


def _attention(part: Any) -> str:
    return (
        "q, k, v = W_q x, W_k x, W_v x\n"
        f"head = softmax(q kᵀ / √{part.head_dim}) v,  {part.num_heads} heads\ny = W_o [head, head, …]"
    )


def _transformer(part: Any) -> str:
    first = "x = x + attention(norm(x))" if part.norm_first else "x = norm(x + attention(x))"
    last = "y = x + W₂ f(W₁ norm(x))" if part.norm_first else "y = norm(x + W₂ f(W₁ x))"
    return f"{first}\n{last}\nf = {getattr(part.activation, '__name__', type(part.activation).__name__)}"


def _chained(part: Any) -> str:
    names = [type(each).__name__ for each in part.children()]
    lines = textwrap.wrap(" → ".join(["x", *names, "y"]), 70, break_on_hyphens=False)
    return cut(lines)


FORMULAS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("Conv1d", "Conv2d", "Conv3d"), _convolution),
    **dict.fromkeys(("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"), _transposed),
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"), _normal("batch")),
    **dict.fromkeys(("InstanceNorm2d", "InstanceNorm3d"), _normal("instance")),
    "LayerNorm": _normal("layer"),
    "GroupNorm": _normal("group"),
    "RMSNorm": _normal("rms"),
    "LocalResponseNorm": lambda part: (
        f"y[c] = x[c] / ({part.k:g} + {part.alpha:g} · mean x²)^{part.beta:g}\nmean over {part.size} channels around c"
    ),
    "Linear": _linear,
    "Embedding": lambda part: f"y = E[x]\nE: {part.num_embeddings} × {part.embedding_dim}",
    "EmbeddingBag": lambda part: f"y = {part.mode} of E[x]\nE: {part.num_embeddings} × {part.embedding_dim}",
    "MultiheadAttention": _attention,
    **dict.fromkeys(("TransformerEncoderLayer", "TransformerDecoderLayer"), _transformer),
    **dict.fromkeys(("MaxPool1d", "MaxPool2d", "MaxPool3d"), _window(True)),
    **dict.fromkeys(("AvgPool1d", "AvgPool2d", "AvgPool3d"), _window(False)),
    **dict.fromkeys(("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d"), _adaptive("mean")),
    "AdaptiveMaxPool2d": _adaptive("max"),
    "LSTM": lambda part: "i, f, o = σ(W x + U h + b)\ns = f · s + i · tanh(W_s x + U_s h + b_s)\ny = h = o · tanh(s)",
    **dict.fromkeys(
        ("ZeroPad2d", "ReflectionPad2d", "ReplicationPad2d", "ConstantPad2d"),
        lambda part: (
            f"y[c, i, j] = x[c, i − {part.padding[2]}, j − {part.padding[0]}]\n"
            f"outside: {type(part).__name__.removesuffix('Pad2d').lower()}"
        ),
    ),
    **dict.fromkeys(
        ("Dropout", "Dropout2d", "Dropout3d"),
        lambda part: f"training: y = m · x / {1 - part.p:g},  m = 0 with probability {part.p:g}, else 1\nuse: y = x",
    ),
    "Flatten": lambda part: "y[n] = x[c, i, j],  n = position of (c, i, j) in their order",
    "Unflatten": lambda part: f"y = x as {' × '.join(map(str, part.unflattened_size))}",
    "PixelShuffle": lambda part: (
        f"y[c, {part.upscale_factor}i + u, {part.upscale_factor}j + v] = "
        f"x[{part.upscale_factor**2}c + {part.upscale_factor}u + v, i, j]\nu, v < {part.upscale_factor}"
    ),
    "PixelUnshuffle": lambda part: (
        f"y[{part.downscale_factor**2}c + {part.downscale_factor}u + v, i, j] = "
        f"x[c, {part.downscale_factor}i + u, {part.downscale_factor}j + v]\nu, v < {part.downscale_factor}"
    ),
    "Upsample": lambda part: (
        f"y[c, i, j] = x[c, i / {part.scale_factor or 's'}, j / {part.scale_factor or 's'}],  {part.mode}"
    ),
    "Identity": lambda part: "y = x",
    "Sequential": _chained,
    "ModuleList": _chained,
}
