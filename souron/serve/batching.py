"""Dynamic batching: the inputs of many requests in one forward pass."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import torch

BATCH_WAIT = 0.003  # seconds that a batch waits for files being decoded
QUEUED_BATCHES = 8  # ``put`` blocks while so many batches are queued


class Batcher:
    """Predict queued inputs in batches of up to ``max_batch``.

    While a batch is computed, the next inputs queue up, so that batches grow with the load. An idle
    network starts at once: it waits for more inputs only while files are being decoded.

    ``threads`` batches are computed at a time and share the cores. The threads of a single batch
    wait for each other at every layer, and so for the one whose core a decoder uses; two separate
    batches do not wait for each other.
    """

    def __init__(self, predict: Callable[[list[Any]], Sequence[Any]], max_batch: int, threads: int = 1) -> None:
        self.predict, self.max_batch = predict, max_batch
        self.cores, self.computing = torch.get_num_threads(), 0  # computing: batches
        self.queue: deque[tuple[Any, Future, threading.Event]] = deque()
        self.decoding = 0  # files
        self.batches = self.cases = 0  # computed so far
        self.closing = False
        self.changed = threading.Condition()
        self.threads = [threading.Thread(target=self._run, name="network", daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def expect(self, decoding: Future) -> None:
        """Announce that more inputs may come until ``decoding`` is done."""
        with self.changed:
            self.decoding += 1
        decoding.add_done_callback(self._decoded)

    def put(self, case: Any, cancelled: threading.Event | None = None) -> Future:
        """Queue an input and return its future output; blocks while the queue is full.

        The output never comes once ``cancelled`` is set.
        """
        future: Future = Future()
        cancelled = cancelled or threading.Event()
        with self.changed:
            self.changed.wait_for(lambda: len(self.queue) < QUEUED_BATCHES * self.max_batch)
            self.queue.append((case, future, cancelled))
            self.changed.notify_all()
        return future

    def close(self) -> None:
        """Predict the queued inputs, then end the threads."""
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        for thread in self.threads:
            thread.join()

    def _decoded(self, _decoding: Future) -> None:
        with self.changed:
            self.decoding -= 1
            self.changed.notify_all()

    def _run(self) -> None:
        torch.get_num_threads()  # the first call makes the number of threads local to this thread
        while self._wait():
            batch = self._take()
            if batch:
                self._predict(batch)

    def _wait(self) -> bool:
        """Wait for an input; return False when no more will come."""
        with self.changed:
            self.changed.wait_for(lambda: self.queue or self.closing)
            return bool(self.queue)

    def _take(self) -> list[tuple[Any, Future]]:
        """Take the next batch off the queue, without cancelled inputs."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.queue) >= self.max_batch or not self.decoding, BATCH_WAIT)
            size = min(self.max_batch, len(self.queue))
            taken = [self.queue.popleft() for _ in range(size)]
            self.changed.notify_all()
        return [
            (case, future)
            for case, future, cancelled in taken
            if not cancelled.is_set() and future.set_running_or_notify_cancel()
        ]

    def _predict(self, batch: list[tuple[Any, Future]]) -> None:
        """Predict a batch; if it fails, each input alone, so that only the faulty one fails."""
        try:
            with self._share_cores():
                outputs = self.predict([case for case, _future in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
            else:
                for pair in batch:
                    self._predict([pair])
            return
        with self.changed:
            self.batches += 1
            self.cases += len(batch)
        for (_case, future), output in zip(batch, outputs, strict=True):
            future.set_result(output)

    @contextmanager
    def _share_cores(self) -> Iterator[None]:
        """Divide the cores evenly among the batches being computed."""
        with self.changed:
            self.computing += 1
            torch.set_num_threads(max(1, self.cores // self.computing))
        try:
            yield
        finally:
            with self.changed:
                self.computing -= 1
