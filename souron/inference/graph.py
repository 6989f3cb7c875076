"""A module as a graph of OpenVINO: tensors in, tensors out, with the structure of its arguments kept.

The module's own arguments and results may be nested lists, tuples and dictionaries; the graph has
flat lists of tensors. The features that a familiarity check takes from inner layers
(``evaluation.familiarity``) are further outputs of the graph.
"""

import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from souron.inference.outer_calls import Call
from souron.inference.refusal import Refused, last_line
from souron.utils import silent
from souron.utils.messages import _

DTYPES = (torch.float32, torch.int64, torch.int32, torch.uint8, torch.bool)
SEVERAL = 3  # cases, of the proof that a graph takes any number
PLAIN = (bool, int, float, str, type(None))
Features = list[tuple[str, Tensor]]  # layer and (cases, features), in order of the calls
Listening = Callable[[], AbstractContextManager[dict[str, list[Tensor]]]]


@dataclass(frozen=True)
class Signature:
    """The arguments that a graph was made for.

    ``batched`` marks the tensors whose first axis counts cases. Where ``any_batch``, its length is
    free, but the same for all of them.
    """

    spec: Any  # pytree's structure of (args, kwargs)
    leaves: tuple[Any, ...]  # None for a tensor, else the value in a tuple of one
    shapes: tuple[tuple[int, ...], ...]  # of the tensors
    dtypes: tuple[torch.dtype, ...]
    batch: int  # cases of the recorded call, 0 where no tensor counts them
    any_batch: bool = False

    @cached_property
    def batched(self) -> tuple[bool, ...]:
        """Return for each tensor whether its first axis counts cases."""
        return tuple(bool(shape) and shape[0] == self.batch > 0 for shape in self.shapes)

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "tuple[Signature, list[Tensor]] | None":
        """Return the signature and the tensors of a call; None where an engine cannot take them."""
        leaves, spec = pytree.tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if not tensors or not all(map(is_plain_tensor, tensors)):
            return None
        others = tuple(None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves)
        if any(other is not None and type(other[0]) not in PLAIN for other in others):
            return None
        shapes = tuple(tuple(tensor.shape) for tensor in tensors)
        batch = next((shape[0] for shape in shapes if shape), 0)
        return cls(spec, others, shapes, tuple(tensor.dtype for tensor in tensors), batch), tensors

    def fits(self, other: "Signature") -> bool:
        """Return whether a graph for these arguments takes those of ``other``."""
        if (self.spec, self.leaves, self.dtypes) != (other.spec, other.leaves, other.dtypes):
            return False
        if not self.any_batch:
            return self.shapes == other.shapes
        return other.batch > 0 and all(
            there == (other.batch, *mine[1:]) if counts else there == mine
            for mine, there, counts in zip(self.shapes, other.shapes, self.batched, strict=True)
        )

    def sizes(self, batch: int) -> list[tuple[int, ...]]:
        """Return the shapes for so many cases."""
        return [
            (batch, *shape[1:]) if counts else shape for shape, counts in zip(self.shapes, self.batched, strict=True)
        ]

    @property
    def plain(self) -> dict[str, Any]:
        """Return it for JSON and for the key of a cache, without the number of cases."""
        return {
            "spec": pytree.treespec_dumps(self.spec),
            "leaves": [None if leaf is None else [type(leaf[0]).__name__, *leaf] for leaf in self.leaves],
            "shapes": [
                ["cases" if counts else size[0], *size[1:]] if size else []
                for size, counts in zip(self.shapes, self.batched, strict=True)
            ],
            "dtypes": [str(dtype).removeprefix("torch.") for dtype in self.dtypes],
        }

    def rebuilt(self, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with these tensors in their positions."""
        rest = iter(tensors)
        return pytree.tree_unflatten([next(rest) if leaf is None else leaf[0] for leaf in self.leaves], self.spec)


def is_plain_tensor(tensor: Tensor) -> bool:
    """Return whether NumPy can hold a tensor as it is."""
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.layout is torch.strided
        and tensor.dtype in DTYPES
    )


class Flat(nn.Module):
    """A module that takes and returns the tensors of its arguments and results alone.

    ``last`` describes the results of the latest call: the structure, the values that are no
    tensors, and the layers whose features follow the results.
    """

    def __init__(self, inner: nn.Module, signature: Signature, listening: Listening = lambda: nullcontext({})) -> None:
        super().__init__()
        self.inner, self.signature, self.listening = inner, signature, listening
        self.eager = inner.forward
        self.last: Layout | None = None

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        args, kwargs = self.signature.rebuilt(tensors)
        tracing = torch.jit.is_tracing()
        before = self._state(tensors)
        with self.listening() as heard:
            result = self.eager(*args, **kwargs)
        leaves, spec = pytree.tree_flatten(result)
        if not tracing:
            if self._state(tensors) != before or pytree.tree_structure((args, kwargs)) != self.signature.spec:
                raise Refused(_("it changes its arguments or keeps a state"))
            others = tuple(None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves)
            layers = tuple(name for name, rows in heard.items() for _row in rows)
            self.last = Layout(spec, others, layers)
        assert self.last is not None  # numbers of the result are tensors while it is traced
        kept = [leaf for leaf, other in zip(leaves, self.last.others, strict=True) if other is None]
        return (*kept, *(row for rows in heard.values() for row in rows))

    def _state(self, tensors: Sequence[Tensor]) -> list[int]:
        """Return how often the arguments and the module's buffers were changed in place."""
        return [one._version for one in (*tensors, *self.inner.buffers()) if not one.is_inference()]


@dataclass(frozen=True)
class Layout:
    """The structure of a module's results."""

    spec: Any
    others: tuple[Any, ...]  # None for a tensor, else the value in a tuple of one
    layers: tuple[str, ...]  # whose features follow the tensors of the results

    def rebuilt(self, tensors: Sequence[Tensor]) -> tuple[Any, Features]:
        """Return the result and the features of layers."""
        rest = iter(tensors)
        result = pytree.tree_unflatten([next(rest) if one is None else one[0] for one in self.others], self.spec)
        return result, list(zip(self.layers, rest, strict=True))


@dataclass
class Graph:
    """A compiled graph of one module, for one signature."""

    signature: Signature
    layout: Layout
    model: Any  # openvino.Model
    precision: str  # "f32", "bf16" or "int8"
    compiled: Any = None

    def __post_init__(self) -> None:
        self.requests = threading.local()  # an infer request serves one thread at a time

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the results and the features for tensors that fit the signature."""
        request = getattr(self.requests, "own", None)
        if request is None:
            request = self.requests.own = self.compiled.create_infer_request()
        arrays = [tensor.detach().contiguous().numpy() for tensor in tensors]
        results = request.infer(arrays, share_inputs=True)  # outputs are copies
        return [torch.from_numpy(results[place]) for place in range(len(self.compiled.outputs))]

    def compile(self) -> "Graph":
        """Compile for this computer. Raises Refused."""
        openvino = silent.imported("openvino")
        try:
            self.resize(-1 if self.signature.any_batch else self.signature.batch)
            self.compiled = core(openvino).compile_model(self.model, "CPU", self.settings)
        except RuntimeError as error:
            raise Refused(_("it cannot be compiled ({why})").format(why=last_line(error))) from error
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """Return OpenVINO's settings for this graph."""
        return {
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }

    def trial(self, file: str) -> dict[str, Any]:
        """Return what ``trial.attempted`` takes: any number of cases first, then those of the signature."""
        one = self.signature
        fixed = [one.sizes(one.batch), [one.sizes(one.batch)]]
        free = [one.sizes(-1), [one.sizes(1), one.sizes(SEVERAL)]]
        dtypes = [str(dtype).removeprefix("torch.") for dtype in one.dtypes]
        return {"file": file, "settings": self.settings, "dtypes": dtypes, "sizes": [free, fixed][not one.any_batch :]}

    def resize(self, batch: int) -> None:
        """Give the graph's inputs the sizes of the signature, with so many cases; -1 for any number.

        Raises RuntimeError where the graph's own sizes contradict them.
        """
        openvino = silent.imported("openvino")
        counting = zip(self.model.inputs, self.signature.shapes, self.signature.batched, strict=True)
        self.model.reshape(
            {
                port: openvino.PartialShape([batch, *shape[1:]] if counts else [*shape])
                for port, shape, counts in counting
            }
        )

    def has_known_sizes(self, batch: int) -> bool:
        """Return whether every size within the graph follows from those of the inputs.

        Where sizes depend on values, as the number of boxes that are left, a trace keeps the number
        of its example, and for another one the engine would read beyond its memory.
        """
        try:
            self.resize(batch)
        except RuntimeError:
            return False
        ports = [port for each in self.model.get_ops() for port in each.outputs()]
        return all(port.get_partial_shape().is_static for port in ports)


def core(openvino: Any) -> Any:
    """Return OpenVINO's core, one for the process."""
    if not hasattr(core, "made"):
        core.made = openvino.Core()  # type: ignore[attr-defined]
    return core.made  # type: ignore[attr-defined]


def converted(inner: nn.Module, call: Call, precision: str, listening: Listening | None = None) -> tuple[Graph, Flat]:
    """Convert a module for the arguments of a recorded call; also return the module as ``Flat``.

    The graph takes any number of cases where its sizes, and its outputs for several, show that it
    can; a module may have baked the number into it, for instance by ``len(image)``. Raises Refused.
    """
    read = Signature.of(call.args, call.kwargs)
    if read is None:
        raise Refused(_("its arguments are not tensors alone"))
    signature, tensors = read
    single = replace(signature, batch=1, shapes=tuple(signature.sizes(1)))
    first = [one[:1] if counts else one for one, counts in zip(tensors, signature.batched, strict=True)]
    if signature.batch:  # a graph of one case reads nothing that is not there, however many cases come
        made, flat = _traced(inner, single, first, precision, listening)
        if made.has_known_sizes(1) and takes_several(made, flat, first):
            made.signature = replace(single, any_batch=True)
            return made, flat
    if signature.batch != 1:
        made, flat = _traced(inner, signature, tensors, precision, listening)
    if not made.has_known_sizes(signature.batch):
        raise Refused(_("its sizes depend on the data"))
    return made, flat


def _traced(
    inner: nn.Module, signature: Signature, tensors: Sequence[Tensor], precision: str, listening: Listening | None
) -> tuple[Graph, Flat]:
    """Convert a module by running it once. Raises Refused."""
    flat = Flat(inner, signature, listening or (lambda: nullcontext({})))
    flat.eval()
    keep_quiet()
    openvino = silent.imported("openvino")
    try:
        with torch.no_grad():
            flat(*tensors)
            # weights of its own: the graph must not change with the network's
            model = openvino.convert_model(flat, example_input=tuple(tensors), share_weights=False)
    except Refused:
        raise
    except Exception as error:  # whatever a module or the converter raises
        raise Refused(_("it cannot be converted ({why})").format(why=last_line(error))) from error
    if len(model.inputs) != len(tensors):
        raise Refused(_("it cannot be converted ({why})").format(why=_("an argument is not used")))
    assert flat.last is not None
    return Graph(signature, flat.last, model, precision), flat


@torch.no_grad()
def takes_several(made: Graph, flat: Flat, tensors: Sequence[Tensor]) -> bool:
    """Return whether a graph that was traced with one case has the sizes of the network's outputs for three."""
    if not made.has_known_sizes(SEVERAL):
        return False
    sizes = [tuple(port.get_partial_shape().to_shape()) for port in made.model.outputs]
    counting = zip(tensors, made.signature.batched, strict=True)
    try:
        outputs = flat(*(torch.cat([one] * SEVERAL) if counts else one for one, counts in counting))
    except Exception:  # a network of a fixed number of cases raises anything
        return False
    return [tuple(each.shape) for each in outputs] == sizes and flat.last == made.layout


def keep_quiet() -> None:
    """Ignore the warnings of tracing, in every thread: ``catch_warnings`` would disturb other threads.

    Also called before the thread that traces begins: another one that imports a module may meanwhile
    leave a ``catch_warnings``, which takes away what was ignored since its beginning.
    """
    warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
