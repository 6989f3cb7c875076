"""How a system answers over HTTP: a classifier many pictures together, any other one by one."""

import base64
import tempfile
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node, symbolic_trace
from torch.nn.utils.fusion import fuse_conv_bn_eval

from souron import model as models_api
from souron.kinds.kind import Kind
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice, Option
from souron.utils.messages import N_, UserError, _

NEAR = 1e-4  # of the spread of the outputs: how far folding may move one, by rounding


class Answering(Protocol):
    """What the service asks of a system, in this order, for each thing in a file."""

    options: dict[str, Option]  # what a request may say

    def take(self, given: Any, said: dict[str, Any]) -> Any:
        """In one of several threads: what the network gets."""

    def network(self, taken: list[Any]) -> list[Any]:
        """In one of few threads: an answer for each."""

    def tell(self, answer: Any, said: dict[str, Any]) -> dict[str, Any]:
        """What the request is told, beside the file's name."""


class Classifying:
    """In float32 as ``souron predict`` computes, and no layer looks at another picture: what else
    goes through the network at the moment changes an answer by rounding alone."""

    options = {"top": Option("top", 5, Choice(N_("labels for each file; 5 if not said"), low=1))}

    def __init__(self, model: models_api.Model) -> None:
        self.system = model.system.eval()
        if self.system.channels_last:
            self.system.to(memory_format=torch.channels_last)
        self.labels = tuple(self.system.spec.labels)
        self.folded = folded(self.system)

    def take(self, given: Picture, said: dict[str, Any]) -> Tensor:
        """(C, H, W), uint8 or float32 in 0..255"""
        return given.square(self.system.spec.side, self.system.spec.channels)

    @torch.inference_mode()
    def network(self, taken: list[Tensor]) -> list[Tensor]:
        """Probabilities, (labels,) each."""
        stack = torch.stack([pixels.float() for pixels in taken])
        batch = self.system.prepare(stack, torch.zeros(len(stack), dtype=torch.long))
        return list(self.folded(batch.image).float().softmax(1))

    def tell(self, answer: Tensor, said: dict[str, Any]) -> dict[str, Any]:
        """The likeliest first; equals stay in the order of the labels."""
        values, order = answer.sort(descending=True, stable=True)
        top = said.get("top", self.options["top"].default)
        labels = [
            {"label": self.labels[row], "probability": value}
            for row, value in zip(order[:top].tolist(), values[:top].tolist(), strict=True)
        ]
        return {"labels": labels}


def folded(system: Any) -> Any:
    """The network with its batch normalisations, whose statistics are fixed by now, folded into the
    convolutions before them; as it is where it has none, or cannot be told apart layer by layer."""
    if not any(isinstance(part, nn.BatchNorm2d) for part in system.modules()):
        return system
    seen = system.spec
    given = torch.rand(
        2, seen.channels, seen.side, seen.side, generator=torch.Generator().manual_seed(0)
    )
    try:
        found = fused(symbolic_trace(system))
        with torch.inference_mode():
            wanted = system(given)
            near = torch.allclose(found(given), wanted, rtol=0, atol=NEAR * float(wanted.std()))
    except Exception:  # whatever a system's own code raises when it is read instead of run
        return system
    return found if near else system


def fused(graph: GraphModule) -> GraphModule:
    """Each normalisation that follows a convolution, and nothing else does, becomes part of it."""
    parts = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        norm = parts.get(str(node.target))
        before = node.args[0] if isinstance(norm, nn.BatchNorm2d) else None
        if isinstance(before, Node) and len(before.users) == 1:
            convolution = parts.get(str(before.target))
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                graph.add_submodule(str(before.target), fuse_conv_bn_eval(convolution, norm))
                node.replace_all_uses_with(before)
                graph.graph.erase_node(node)
    graph.recompile()
    graph.delete_all_unused_submodules()
    return graph


class Asking:
    """Any system with ``predict``, as ``model`` asks it."""

    def __init__(self, model: models_api.Model) -> None:
        self.model, self.options = model, model.asked.options

    def take(self, given: Kind, said: dict[str, Any]) -> tuple[Kind, dict[str, Any]]:
        return given, said

    def network(self, taken: list[tuple[Kind, dict[str, Any]]]) -> list[Kind]:
        return [self.model.answer(given, **said) for given, said in taken]

    def tell(self, answer: Kind, said: dict[str, Any]) -> dict[str, Any]:
        """As JSON; what words cannot tell as a file too, in base64."""
        return answer.as_json() | ({"content": content(answer)} if answer.kept else {})


def content(answer: Kind) -> str:
    """The file that ``save`` writes. It is gone before this returns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"answer{answer.suffix}"
        answer.save(path)
        return base64.b64encode(path.read_bytes()).decode()


def answering(model: models_api.Model) -> Answering:
    """How that model answers. Raises UserError where nothing can be asked of it."""
    if getattr(model.system, "task", None) == "generate":
        raise UserError(
            "task",
            _("{name} draws pictures: it is not asked, file by file").format(name=model.name),
            expected=_("a run of a system that answers, such as a classifier's"),
            fix=f"souron generate {model.name}",
            exit=5,
        )
    asked = model.asked
    if asked.gives.kept and not asked.gives.suffix:
        raise UserError(
            "task",
            _("{name} answers with a folder").format(name=model.name),
            expected=_("a run of a system that answers, such as a classifier's"),
            fix=f"souron predict {model.name}",
            exit=5,
        )
    return Classifying(model) if model.system.task == "classify" else Asking(model)
