"""The contract that every system keeps."""

from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from souron import registry
from souron.data.dataset import Dataset, Loader, Rows
from souron.training.loop import Data, Progress, Run, descend


class System(nn.Module, ABC):
    """Who answers: one AI system. Override the lowest rung that is enough.

    1. ``forward``, and ``loss(batch)`` unless the task supplies it    one network, one loss
    2. ``optimizers()`` and ``updates(batch, step)``                   networks that take turns
    3. ``fit(data, run)``                                              no gradient at all

    Where one case can be asked about, ``predict`` answers; most tasks supply it:

        def predict(self, picture: Picture, *, least: Annotated[float, Choice(...)] = 0.5) -> Boxes

    Its annotations say which kinds go in and come out and what may be chosen; the command line and
    the studio are drawn from them (``signature``). A system that answers nothing has none.

    What a system learns lives in parameters and buffers, so that one way of saving serves all.
    A system is built as ``Class(config, spec)``: ``config`` one of its ``SIZES``, ``spec`` what
    its task tells it of the data (channels, side in pixels, class names, ...).
    """

    task: ClassVar[str]
    SIZES: ClassVar[dict[str, Any]]
    WEIGHTS: ClassVar[
        dict[str, str]
    ] = {}  # size -> where its published weights are from: "torchvision:...", "timm:..."
    year: ClassVar[int]
    ja: ClassVar[str]
    status: ClassVar[Literal["faithful", "reduced", "pretrained"]] = "faithful"
    needs_fit: ClassVar[bool] = True
    any_class: ClassVar[bool] = False  # True where pictures of classes it has not learnt will do
    channels_last: ClassVar[bool] = False  # True for convolutional networks: faster
    full_batch: ClassVar[bool] = False  # True where each step sees every case
    grows: ClassVar[bool] = False  # True where later steps cost more: see ``used``
    BEFORE: ClassVar[dict[str, Any]] = {}  # field of the config -> what runs from before it had
    in_stages: Mapping[str, float] = {}  # of what learns in stages, which share the budget: ``N_``
    # name of each -> its share; the rate has a cycle in each
    sized_by_data: ClassVar[
        tuple[str, ...]
    ] = ()  # buffers whose length is known once it has learnt
    clip: ClassVar[float | None] = None  # the largest gradient norm of an update

    most_steps: int | None = None  # after so many it is done; None: as many as the budget allows

    config: Any
    spec: Any
    left_out: tuple[str, ...] = ()  # parts of a packed system that answering does not need; their
    # weights are not the learnt ones
    used: float = 0.0  # how much of the budget training has used, 0..1, for what grows or cools

    def __init__(self, config: Any, spec: Any) -> None:
        super().__init__()
        self.config, self.spec = config, spec

    @classmethod
    def published(cls, size: str, config: Any) -> str:
        """Where the published weights of that size and config are from; "" where there are none."""
        return cls.WEIGHTS.get(size, "")

    def loss(self, batch: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} needs loss(), updates() or fit()")

    def updates(self, batch: Any, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield ``(name, loss)``; that optimizer steps before the next loss is asked for."""
        yield "model", self.loss(batch)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        learning = [weight for weight in self.parameters() if weight.requires_grad]
        rate = self.config.rate
        return {"model": torch.optim.AdamW(learning, lr=rate, weight_decay=0.05, fused=True)}

    def after_update(self, step: int) -> None:
        """For what follows the weights without a gradient: averages, codebooks."""

    def prepare(self, data: Dataset) -> Iterator[float]:
        """What it computes of pictures once, before it learns, and keeps in the cache: how much of
        it is done, 0..1. No budget counts it."""
        return iter(())

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        return descend(self, data, run)

    @classmethod
    def spec_for(cls, train: Dataset) -> Any:
        """What its task tells it of these training cases."""
        return registry.load_task(cls.task).spec(train)

    def batch(self, rows: Rows) -> Any:
        """What ``loss`` takes, of some cases, in the layout that the system computes in."""
        batch = registry.load_task(self.task).batch(rows, self.spec)
        return in_channels_last(batch) if self.channels_last else batch

    def loader(
        self,
        data: Dataset,
        augment: Callable[[Rows, Generator], Rows] | None = None,
        seed: int = 0,
        device: torch.device | None = None,
    ) -> Loader:
        """Batches of these cases as the system wants them."""
        return Loader(data, self.batch, augment, seed, device or self.device)

    def validate(self, data: Loader) -> dict[str, Tensor]:
        """Metrics case by case, (cases,), as its task computes them."""
        return registry.load_task(self.task).validate(self, data)

    def sketch(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Name, kind (``report.layer_kinds``) and output shape of each stage, for the picture of
        its layers; [] where its modules show them."""
        return []

    def reading(self) -> dict[str, Any]:
        """How files are read for ``predict``: what the kind's ``read`` takes."""
        return {}

    @property
    def whole(self) -> "System":
        """The network that takes what the task gives; see ``classify.Head``."""
        return self

    @property
    def device(self) -> torch.device:
        return next(self.parameters(), next(self.buffers(), torch.empty(0))).device


def in_channels_last(batch: Any) -> Any:
    """A batch whose pictures lie in memory pixel by pixel, as fast convolutions want them."""
    return type(batch)(*(
        part.contiguous(memory_format=torch.channels_last)
        if isinstance(part, Tensor) and part.ndim == 4
        else part
        for part in batch
    ))  # fmt: skip
