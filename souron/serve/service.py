"""Predictions of one model for many requests: threads decode uploads, the batcher predicts."""

import asyncio
import math
import sys
import threading
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import torch

from souron import registry
from souron.evaluation.harmful.filters import Filter
from souron.model import Model
from souron.serve.batching import Batcher
from souron.serve.predictors import ClassifierPredictor, predictor_for
from souron.serve.uploads import Limits, Upload
from souron.utils import hardware
from souron.utils.messages import UserError, _

BATCHES_AT_ONCE = 2  # see Batcher


class Service:
    """The output of ``souron predict --json`` for several requests at once."""

    def __init__(self, model: Model, limits: Limits, filtered: Filter | None = None) -> None:
        self.predictor = predictor_for(model)
        self.name, self.task, self.limits = model.name, model.system.task, limits
        self.kind, self.reading = model.asked.given, model.reading
        self.voice = model.voice if registry.talks(self.task) else None
        if filtered is not None and self.voice is None:
            raise UserError(
                "filter",
                _("{name} is no language model: there is nothing to filter").format(name=self.name),
                expected=_("smollm2, a .gguf file, or a run of a system that completes texts"),
                fix="souron serve smollm2 filter=both",
            )
        self.filtered = filtered
        threads, batch = 1, 1
        if isinstance(self.predictor, ClassifierPredictor):
            threads = min(BATCHES_AT_ONCE, torch.get_num_threads())
            batch = math.ceil(limits.batch / threads)
        self.decoders = ThreadPoolExecutor(hardware.cores(), "decoding")
        self.batcher = Batcher(self.predictor.predict, batch, threads)
        self.actions = ThreadPoolExecutor(1, "actions")
        self.start = time.monotonic()
        self.waiting = self.served = 0  # requests

    def close(self) -> None:
        """Predict the queued inputs, then end the threads."""
        self.decoders.shutdown()
        self.actions.shutdown(cancel_futures=True)
        self.batcher.close()

    async def predict(self, uploads: list[Upload], options: dict[str, Any]) -> list[dict[str, Any]]:
        """Return one object for each file or frame; if cancelled, nothing more is computed."""
        decoding, cancelled = [], threading.Event()
        for upload in uploads:
            run = copy_context().run  # in this request's language
            future = self.decoders.submit(run, self._decode, upload, options, cancelled)
            self.batcher.expect(future)
            decoding.append(asyncio.wrap_future(future))
        try:
            queued = [pair for pairs in await asyncio.gather(*decoding) for pair in pairs]
            return await asyncio.gather(*(self._encode(*pair, options) for pair in queued))
        finally:
            cancelled.set()

    def _decode(self, upload: Upload, options: dict[str, Any], cancelled: threading.Event) -> list[tuple[str, Future]]:
        """Queue the items of a file; return their names and future outputs."""
        queued: list[tuple[str, Future]] = []
        try:
            for item in self.kind.each(upload, **self.reading):  # type: ignore[arg-type]
                if cancelled.is_set():
                    break
                case = self.predictor.preprocess(item, options)
                queued.append((item.file, self.batcher.put(case, cancelled)))
        except Exception as error:
            failed: Future = Future()
            failed.set_exception(error)
            queued.append((upload.name, failed))
        return queued

    async def _encode(self, name: str, output: Future, options: dict[str, Any]) -> dict[str, Any]:
        try:
            prediction = self.predictor.encode(await asyncio.wrap_future(output), options)
        except Exception as error:
            problem = as_user_error(error)
            prediction = {"error": f"[{problem.code}] {problem.found}"}
        return {"file": name} | prediction


def as_user_error(error: Exception) -> UserError:
    """Convert an error of one file to a UserError; bugs are printed on the server's stderr."""
    if isinstance(error, UserError):
        return error
    traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return UserError("memory", _("there is not enough memory"))
    return UserError("bug", f"{type(error).__name__}: {error}")
