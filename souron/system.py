"""The contract of a system: the base class of every model."""

from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from souron import registry
from souron.blocks.portable import Portable, refused
from souron.data.dataset import Dataset, Loader, Rows
from souron.training.loop import Data, Progress, Run, descend
from souron.utils.messages import _


class System(nn.Module, ABC):
    """One AI system. Override the lowest of these levels that is enough:

    1. ``forward``, and ``loss(batch)`` unless the task supplies it    one network, one loss
    2. ``optimizers()`` and ``updates(batch, step)``                   networks trained in turn
    3. ``fit(data, run)``                                              no gradient at all

    ``predict`` answers for a single case; most tasks supply it:

        def predict(self, picture: Picture, *, least: Annotated[float, Choice(...)] = 0.5) -> Boxes

    Its annotations declare the kinds of input and output and the options; the command line and the
    studio are generated from them (``signature``). A system that predicts nothing has none.

    All learnt state lives in parameters and buffers, so one way of saving serves every system. A
    system is built as ``Class(config, spec)``: ``config`` is one of its ``SIZES``, ``spec`` the
    properties of the data given by the task (channels, side in pixels, class names, ...).
    """

    task: ClassVar[str]
    SIZES: ClassVar[dict[str, Any]]
    WEIGHTS: ClassVar[dict[str, str]] = {}  # size -> source of its published weights: "torchvision:...", "timm:..."
    published_from: ClassVar[
        dict[str, str]
    ] = {}  # size -> training data of its published weights, where it is not the task's
    year: ClassVar[int]
    ja: ClassVar[str]
    status: ClassVar[Literal["faithful", "reduced", "pretrained"]] = "faithful"
    needs_fit: ClassVar[bool] = True
    any_class: ClassVar[bool] = False  # True where images of other classes are accepted, too
    channels_last: ClassVar[bool] = False  # True for convolutional networks: faster
    full_batch: ClassVar[bool] = False  # True where each step uses every case
    grows: ClassVar[bool] = False  # True where later steps cost more: see ``used``
    in_stages: Mapping[str, float] = {}  # stages of training, which share the budget: ``N_``
    # name -> share; the learning rate has one cycle per stage
    last_layers: tuple[str, ...] = ()  # that depend on the labels: new, where published weights are
    # adapted to other data
    sized_by_data: ClassVar[tuple[str, ...]] = ()  # buffers whose length is known only after training
    clip: ClassVar[float | None] = None  # the largest gradient norm of an update

    blocked: ClassVar[str] = ""  # why it cannot be exported, where that is known: ``N_``

    most_steps: int | None = None  # number of steps; None: as many as the budget allows

    config: Any
    spec: Any
    left_out: tuple[str, ...] = ()  # parts of a packed system that prediction does not need;
    # their weights are not the trained ones
    used: float = 0.0  # fraction of the budget used, 0..1, for growing networks and annealing
    as_published: bool = False  # True with all of its published weights: its input is prepared as
    # in the publisher's training

    def __init__(self, config: Any, spec: Any) -> None:
        super().__init__()
        self.config, self.spec = config, spec

    @classmethod
    def published(cls, size: str, config: Any) -> str:
        """Return the source of the published weights of a size and config; "" for none."""
        return cls.WEIGHTS.get(size, "")

    @classmethod
    def published_spec(cls, size: str) -> Any:
        """Return the ``Spec`` of the published weights of a size; None where the task knows it."""
        return None

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return published weights by the names that they have in this system."""
        return dict(weights)

    def loss(self, batch: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} needs loss(), updates() or fit()")

    def updates(self, batch: Any, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield ``(name, loss)``; the optimizer ``name`` steps before the next loss is computed."""
        yield "model", self.loss(batch)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        learning = [weight for weight in self.parameters() if weight.requires_grad]
        rate = self.config.rate
        return {"model": torch.optim.AdamW(learning, lr=rate, weight_decay=0.05, fused=True)}

    def after_update(self, step: int) -> None:
        """Update state that follows the weights without a gradient: weight averages, codebooks."""

    def prepare(self, data: Dataset) -> Iterator[float]:
        """Precompute and cache features of the images before training; yield the fraction done,
        0..1.

        No budget counts this time.
        """
        return iter(())

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        return descend(self, data, run)

    @classmethod
    def spec_for(cls, train: Dataset) -> Any:
        """Return the ``Spec`` that the task derives from these training cases."""
        return registry.load_task(cls.task).spec(train)

    def batch(self, rows: Rows) -> Any:
        """Collate cases into the argument of ``loss``, in the system's memory format."""
        batch = registry.load_task(self.task).batch(rows, self.spec)
        return in_channels_last(batch) if self.channels_last else batch

    def loader(
        self,
        data: Dataset,
        augment: Callable[[Rows, Generator], Rows] | None = None,
        seed: int = 0,
        device: torch.device | None = None,
    ) -> Loader:
        """Return a loader of batches of these cases in the system's format."""
        return Loader(data, self.batch, augment, seed, device or self.device)

    def validate(self, data: Loader) -> dict[str, Tensor]:
        """Compute the task's per-case validation metrics, each (cases,)."""
        return registry.load_task(self.task).validate(self, data)

    def sketch(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """List the stages for the diagram of the layers: name, kind and output shape.

        Kinds are those of ``report.layers.kinds``. [] where the modules themselves are shown.
        """
        return []

    def plan(self) -> dict[str, Any]:
        """Return what of the network was derived from the training data, for the receipt; {} where nothing was."""
        return {}

    def reading(self) -> dict[str, Any]:
        """Return keyword arguments for the ``read`` method of the input kind of ``predict``."""
        return {}

    def portable(self) -> Portable:
        """Return what others run of this system without souron. Raises UserError where nothing is."""
        raise refused(type(self).__name__, _("its answer is more than one pass of a network"))

    @property
    def whole(self) -> "System":
        """The network that takes the task's input; see ``classify.Head``."""
        return self

    @property
    def device(self) -> torch.device:
        return next(self.parameters(), next(self.buffers(), torch.empty(0))).device


def in_channels_last(batch: Any) -> Any:
    """Convert the images of a batch to channels-last memory format, for fast convolutions."""
    return type(batch)(
        *(
            part.contiguous(memory_format=torch.channels_last) if isinstance(part, Tensor) and part.ndim == 4 else part
            for part in batch
        )
    )
