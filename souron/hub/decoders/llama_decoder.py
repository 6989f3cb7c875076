"""Run a GGUF file as it is with llama.cpp, inside this process.

The package ``xllamacpp`` holds llama.cpp as a shared library. Its class ``Server`` is not used: it
opens an HTTP port to every program on the computer. The functions of llama.cpp's C interface are
called instead, so nothing listens, and logits come back, from which souron samples.

Interface: https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h

Parameters pass as blocks of memory larger than in any version. Only two numbers at the beginning of
those of a context are set, after a comparison with their documented defaults.
"""

import ctypes
import weakref
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from souron.utils import extras, hardware
from souron.utils.messages import UserError, _

AT_ONCE = 512  # tokens in a call of ``llama_decode``
DEFAULTS = (512, 2048, 512, 1)  # n_ctx, n_batch, n_ubatch, n_seq_max of llama_context_default_params


class Parameters(ctypes.Structure):
    """A structure that llama.cpp fills and reads, with room for more than its fields."""

    _fields_ = [("numbers", ctypes.c_uint32 * 256)]


class Batch(ctypes.Structure):
    """``llama_batch``: tokens to read at once, and of which of them logits are wanted."""

    _fields_ = [
        ("count", ctypes.c_int32),
        ("tokens", ctypes.c_void_p),
        ("embeddings", ctypes.c_void_p),
        ("positions", ctypes.c_void_p),
        ("sequence_counts", ctypes.c_void_p),
        ("sequences", ctypes.c_void_p),
        ("wanted", ctypes.c_void_p),
        ("more", ctypes.c_uint64 * 16),
    ]


Log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
Handle, Whole = ctypes.c_void_p, ctypes.c_int32
FUNCTIONS: dict[str, tuple[Any, Sequence[Any]]] = {  # name -> type of the result, types of the arguments
    "llama_log_set": (None, (Log, Handle)),
    "llama_backend_init": (None, ()),
    "llama_model_default_params": (Parameters, ()),
    "llama_model_load_from_file": (Handle, (ctypes.c_char_p, Parameters)),
    "llama_model_free": (None, (Handle,)),
    "llama_model_get_vocab": (Handle, (Handle,)),
    "llama_model_n_ctx_train": (Whole, (Handle,)),
    "llama_vocab_n_tokens": (Whole, (Handle,)),
    "llama_context_default_params": (Parameters, ()),
    "llama_init_from_model": (Handle, (Handle, Parameters)),
    "llama_free": (None, (Handle,)),
    "llama_n_ctx": (ctypes.c_uint32, (Handle,)),
    "llama_set_n_threads": (None, (Handle, Whole, Whole)),
    "llama_get_memory": (Handle, (Handle,)),
    "llama_memory_seq_rm": (ctypes.c_bool, (Handle, Whole, Whole, Whole)),
    "llama_batch_get_one": (Batch, (Handle, Whole)),
    "llama_decode": (Whole, (Handle, Batch)),
    "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), (Handle, Whole)),
}


@Log
def _silent(_level: int, _text: bytes, _data: Any) -> None:
    """Discard what llama.cpp would print."""


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """Return llama.cpp of the package xllamacpp. Raises UserError without it."""
    extras.check("llama", _("llama.cpp runs models by the package xllamacpp"))
    import xllamacpp

    opened = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
    for name, (gives, takes) in FUNCTIONS.items():
        if not hasattr(opened, name):
            raise _other_version(_("it has no function {name}").format(name=name))
        function = getattr(opened, name)
        function.restype, function.argtypes = gives, list(takes)
    opened.llama_log_set(_silent, None)
    opened.llama_backend_init()
    if tuple(opened.llama_context_default_params().numbers[: len(DEFAULTS)]) != DEFAULTS:
        raise _other_version(_("its parameters are in another order"))
    return opened


def _other_version(why: str) -> UserError:
    return UserError(
        "engine",
        _("this xllamacpp {version} cannot be called: {why}").format(version=hardware.installed("xllamacpp"), why=why),
        expected=_("another version of it, or souron's own engine"),
        fix="engine=souron",
        exit=4,
    )


class LlamaDecoder:
    """The interface of ``blocks.decoder.Decoder``: tokens (B, T) -> logits (B, T, vocabulary).

    Raises ValueError where llama.cpp cannot read the file.
    """

    def __init__(self, path: Path, context: int) -> None:
        self.library = library()
        self.model = self.library.llama_model_load_from_file(bytes(path), self.library.llama_model_default_params())
        if not self.model:
            raise ValueError(_("llama.cpp cannot read it"))
        weakref.finalize(self, self.library.llama_model_free, self.model)
        self.vocabulary = self.library.llama_vocab_n_tokens(self.library.llama_model_get_vocab(self.model))
        self.bytes = path.stat().st_size  # of memory, for the weights
        self.structure = SimpleNamespace(context=min(context, self.library.llama_model_n_ctx_train(self.model)))

    def kv_cache(self, rows: int = 1, context: int = 0) -> "LlamaMemory":
        """Return an empty cache for ``rows`` texts."""
        return LlamaMemory(self, rows, context or self.structure.context)

    @torch.inference_mode()
    def __call__(self, tokens: Tensor, cache: "LlamaMemory | None" = None, last: bool = False) -> Tensor:
        """Compute the logits; ``cache`` and ``last`` are as of ``Decoder.forward``."""
        cache = cache or self.kv_cache(len(tokens), tokens.shape[1])
        if cache.length + tokens.shape[1] > cache.context:
            raise UserError(
                "context",
                _("{count} tokens").format(count=cache.length + tokens.shape[1]),
                expected=_("at most {most} tokens").format(most=cache.context),
                exit=3,
            )
        rows = [self._read(*pair, last) for pair in zip(cache.contexts, tokens, strict=True)]
        cache.length += tokens.shape[1]
        return rows[0][None] if len(rows) == 1 else torch.stack(rows)

    def _read(self, context: int, tokens: Tensor, last: bool) -> Tensor:
        """Read tokens (T,) after those in a context; return logits (T or 1, vocabulary)."""
        parts = []
        for part in tokens.to(torch.int32).contiguous().split(AT_ONCE):
            batch = self.library.llama_batch_get_one(part.data_ptr(), len(part))
            if (batch.count, batch.tokens) != (len(part), part.data_ptr()):
                raise _other_version(_("its parameters are in another order"))
            all_of_them = torch.ones(len(part), dtype=torch.int8)
            if not last:
                batch.wanted = all_of_them.data_ptr()
            code = self.library.llama_decode(context, batch)
            if code:
                raise UserError("engine", _("llama.cpp stopped with error {code}").format(code=code), exit=1)
            parts += [] if last else [self._logits(context, row) for row in range(len(part))]
        return self._logits(context, -1)[None] if last else torch.stack(parts)

    def _logits(self, context: int, row: int) -> Tensor:
        place = self.library.llama_get_logits_ith(context, row)
        values = ctypes.cast(place, ctypes.POINTER(ctypes.c_float * self.vocabulary)).contents
        return torch.frombuffer(values, dtype=torch.float32).clone()


class LlamaMemory:
    """The caches of keys and values of llama.cpp, one a text."""

    def __init__(self, decoder: LlamaDecoder, rows: int, context: int) -> None:
        self.decoder, self.context, self.length = decoder, context, 0
        self.contexts: list[int] = []
        for _row in range(rows):
            parameters = decoder.library.llama_context_default_params()
            parameters.numbers[:2] = context, AT_ONCE
            handle = decoder.library.llama_init_from_model(decoder.model, parameters)
            if handle:
                weakref.finalize(self, decoder.library.llama_free, handle)
            if not handle or decoder.library.llama_n_ctx(handle) < context:
                raise UserError("memory", _("llama.cpp has no room for {count} tokens").format(count=context), exit=4)
            decoder.library.llama_set_n_threads(handle, *2 * [torch.get_num_threads()])
            self.contexts.append(handle)

    def truncate(self, length: int) -> None:
        """Discard all but the first ``length`` tokens; all of them where the architecture keeps only a last state."""
        self.length = min(length, self.length)
        if not all(self._discard(context) for context in self.contexts):
            self.length = 0
            for context in self.contexts:
                self._discard(context)

    def _discard(self, context: int) -> bool:
        """Remove the tokens after ``length`` from a context; return whether llama.cpp could."""
        memory = self.decoder.library.llama_get_memory(context)
        return bool(self.decoder.library.llama_memory_seq_rm(memory, 0, self.length, -1))
