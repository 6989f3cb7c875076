"""Pictures, or whatever a system takes, of many requests through one network together."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import torch

PATIENCE = 0.003  # seconds that a batch waits for files which are being decoded
ROOM = 8  # batches that may wait; who decodes further ones waits with them


class Batcher:
    """Answers whatever waits, up to ``most`` cases through the network together.

    While it computes, the next ones gather, so that batches grow with the load by themselves.
    An idle network begins at once: it waits for others only while some are known to be coming.

    ``lanes`` batches are computed at a time and share the cores. Threads that compute one batch
    wait for each other at every layer, all of them for the one that a decoder keeps from its core;
    two batches do not wait for each other.
    """

    def __init__(
        self, network: Callable[[list[Any]], Sequence[Any]], most: int, lanes: int = 1
    ) -> None:
        self.network, self.most = network, most
        self.cores, self.busy = torch.get_num_threads(), 0  # busy: batches that are computed
        self.waiting: deque[tuple[Any, Future]] = deque()
        self.coming = 0  # files that are being decoded, or wait for that
        self.batches = self.cases = 0  # computed so far
        self.closing = False
        self.changed = threading.Condition()
        self.threads = [
            threading.Thread(target=self._work, name="network", daemon=True) for _ in range(lanes)
        ]
        for thread in self.threads:
            thread.start()

    def expect(self, decoding: Future) -> None:
        """More cases may come until that is done."""
        with self.changed:
            self.coming += 1
        decoding.add_done_callback(self._arrived)

    def put(self, case: Any) -> Future:
        """Its answer, later. Waits where too many wait already."""
        future: Future = Future()
        with self.changed:
            self.changed.wait_for(lambda: len(self.waiting) < ROOM * self.most)
            self.waiting.append((case, future))
            self.changed.notify_all()
        return future

    def close(self) -> None:
        """Answer what waits, then end the threads."""
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        for thread in self.threads:
            thread.join()

    def _arrived(self, _decoding: Future) -> None:
        with self.changed:
            self.coming -= 1
            self.changed.notify_all()

    def _work(self) -> None:
        torch.get_num_threads()  # only from here on a thread's number is its own
        while self._anything():
            batch = self._take()
            if batch:
                self._answer(batch)

    def _anything(self) -> bool:
        """Wait for the first case; False when there will be none."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closing)
            return bool(self.waiting)

    def _take(self) -> list[tuple[Any, Future]]:
        """The next batch, without what nobody waits for any more."""
        with self.changed:
            self.changed.wait_for(
                lambda: len(self.waiting) >= self.most or not self.coming, PATIENCE
            )
            taken = [self.waiting.popleft() for _ in range(min(self.most, len(self.waiting)))]
            self.changed.notify_all()
        return [pair for pair in taken if pair[1].set_running_or_notify_cancel()]

    def _answer(self, batch: list[tuple[Any, Future]]) -> None:
        """Where a batch fails, each alone: a case that cannot be answered spoils no other."""
        try:
            with self._cores():
                answers = self.network([case for case, _future in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
            else:
                for pair in batch:
                    self._answer([pair])
            return
        with self.changed:
            self.batches += 1
            self.cases += len(batch)
        for (_case, future), answer in zip(batch, answers, strict=True):
            future.set_result(answer)

    @contextmanager
    def _cores(self) -> Iterator[None]:
        """This thread's share of them."""
        with self.changed:
            self.busy += 1
            torch.set_num_threads(max(1, self.cores // self.busy))
        try:
            yield
        finally:
            with self.changed:
                self.busy -= 1
