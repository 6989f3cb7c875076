"""Tokenize a text with a model, and compute the bits of each token with a language model."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from souron.data.language.tokenizer import Tokenizer, readable
from souron.kinds.text import Text
from souron.kinds.tokens import Piece, Tokens, spelled

MOST_ASKED = 4096  # tokens whose bits are computed; later ones have none


def cut(text: Text, model: Any, name: str = "") -> Tokens:
    """Tokenize with ``model``: a ``Tokenizer``, a tokenizing system, or a language model."""
    if not isinstance(model, Tokenizer) and not hasattr(model, "tokenizer"):
        found = model.predict(text)
        return Tokens(found.text, found.pieces, text.file, name)
    tokenizer = model if isinstance(model, Tokenizer) else model.tokenizer
    clean = readable(text.text)
    pieces = tokenizer.pieces(clean)
    raws = spelled([tokenizer.backend.id_to_token(piece.id) or "" for piece in pieces], clean)
    said = [] if model is tokenizer else bits(model, [piece.id for piece in pieces])
    said += [math.nan] * (len(pieces) - len(said))
    full = [
        Piece(piece.id, piece.text, piece.start, piece.end, raw, surprise)
        for piece, raw, surprise in zip(pieces, raws, said, strict=True)
    ]
    return Tokens(clean, full, text.file, name)


@torch.inference_mode()
def bits(system: Any, ids: Sequence[int]) -> list[float]:
    """Compute -log2 p of each of the first ``MOST_ASKED`` tokens given those before it.

    Texts longer than the context are read in windows that overlap by half.
    """
    asked = [system.tokenizer.start, *ids[:MOST_ASKED]]
    context = system.context
    found: list[float] = []
    step = max(1, context // 2)
    begin = 0
    while len(found) < len(asked) - 1:
        window = torch.tensor(asked[begin : begin + context + 1], device=system.device)
        surprise = -system.log_likelihoods(window[None])[0].double() / math.log(2)
        found += surprise[len(found) - begin :].tolist()
        begin += step
    return found
