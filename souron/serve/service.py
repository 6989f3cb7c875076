"""A trained system that answers many at once: some threads decode, two own the network."""

import asyncio
import math
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import torch

from souron import model as models_api
from souron.serve import uploads
from souron.serve.answering import Classifying, answering
from souron.serve.batching import Batcher
from souron.serve.uploads import Limits
from souron.utils import hardware
from souron.utils.messages import UserError, _

LANES = 2  # batches that are computed side by side


class Service:
    """What ``souron predict --json`` says of each file, for several requests together."""

    def __init__(self, model: models_api.Model, limits: Limits) -> None:
        self.answering = answering(model)
        self.name, self.task, self.limits = model.name, model.system.task, limits
        self.kind, self.reading = model.asked.given, model.reading
        several = isinstance(self.answering, Classifying)
        lanes = min(LANES, torch.get_num_threads()) if several else 1
        together = math.ceil(limits.batch / lanes) if several else 1
        self.pool = ThreadPoolExecutor(hardware.cores(), "decoding")
        self.batcher = Batcher(self.answering.network, together, lanes)
        self.begun = time.monotonic()
        self.requests = self.served = 0  # under way; answered
        self.held = 0  # bytes of the requests under way
        self.closing = False

    def close(self) -> None:
        """End the threads. Answer what waits first."""
        self.pool.shutdown()
        self.batcher.close()

    def health(self) -> dict[str, Any]:
        return {
            "ready": not self.closing,
            "model": self.name,
            "task": self.task,
            "uptime": round(time.monotonic() - self.begun, 3),
            "waiting": self.requests,
            "served": self.served,
            "cases": self.batcher.cases,
            "batches": self.batcher.batches,
        }

    async def answer(
        self, content_type: str, body: bytes, said: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """One object for each file or frame. Raises Refusal. May be cancelled at any time."""
        request = Request(said)
        try:
            sent = await self._aside(uploads.parse, content_type, body, self.limits)
            del body
            decoding = [self._aside(self._decode, upload, request) for upload in sent]
            del sent
            found = [pair for pairs in await asyncio.gather(*decoding) for pair in pairs]
            return [await self._told(name, answer, said) for name, answer in found]
        finally:
            request.end()

    def _aside(self, work: Callable, *given: Any) -> asyncio.Future:
        """Begin it in a thread of the pool, in the language of whoever asked."""
        future = self.pool.submit(copy_context().run, work, *given)
        self.batcher.expect(future)
        return asyncio.wrap_future(future)

    def _decode(self, upload: Any, request: "Request") -> list[tuple[str, Any]]:
        """Hand each thing in a file on to the network: its name and its future answer, or what is
        wrong with it."""
        found: list[tuple[str, Future | UserError]] = []
        try:
            for given in self.kind.each(upload, **self.reading):
                taken = self.answering.take(given, request.said)
                found.append((given.file, request.keep(self.batcher.put(taken))))
                if request.over:
                    break
        except Exception as error:
            found.append((upload.name, as_trouble(error)))
        return found

    async def _told(
        self, name: str, answer: Future | UserError, said: dict[str, Any]
    ) -> dict[str, Any]:
        if not isinstance(answer, UserError):
            try:
                found = await asyncio.wrap_future(answer)
                return {"file": name, **self.answering.tell(found, said)}
            except Exception as error:
                answer = as_trouble(error)
        return {"file": name, "error": f"[{answer.code}] {answer.found}"}


class Request:
    """What one request said, and its future answers: given up when nobody waits for them any
    more."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.futures: list[Future] = []
        self.over = False

    def keep(self, future: Future) -> Future:
        self.futures.append(future)
        if self.over:
            future.cancel()
        return future

    def end(self) -> None:
        self.over = True
        for future in self.futures:
            future.cancel()


def as_trouble(error: Exception) -> UserError:
    """What is wrong with one picture; a mistake of souron's is told to whoever runs the server."""
    if isinstance(error, UserError):
        return error
    traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return UserError("memory", _("there is not enough memory"))
    return UserError("bug", f"{type(error).__name__}: {error}")
