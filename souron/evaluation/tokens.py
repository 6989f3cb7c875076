"""A text as some model cuts it, with the bits of each token where the model foretells texts."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from souron.data.tokenizer import Tokenizer, readable
from souron.kinds.text import Text
from souron.kinds.tokens import Piece, Tokens, spelled

MOST_ASKED = 4096  # tokens whose bits are asked for; the others stay without


def cut(text: Text, model: Any, name: str = "") -> Tokens:
    """``model`` is a ``Tokenizer``, a system that cuts texts, or one that goes on with them."""
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
    """-log2 p of each of the first ``MOST_ASKED`` tokens, after those before it. Texts longer than
    the model sees are asked for in windows that share half of their tokens."""
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
