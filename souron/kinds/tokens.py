"""Tokens: a text as split by a tokenizer."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from souron.kinds import files
from souron.kinds.kind import Kind
from souron.utils import units
from souron.utils.messages import N_, _

MOST = 1_000_000  # tokens
SHOWN = 20_000  # tokens shown on a page, and
ROWS = 60  # rows of a table below
PAINT = ("#b9e0f7", "#ffd894", "#a8e3cd", "#efc6dd", "#f5ec9a", "#f7bd98")  # behind black text
SURPRISED = 16.0  # bits from which on a token has the full shade
SIGNS = {"\n": "⏎\n", "\t": "⇥\t", "\r": "␍"}
PRINTABLE = 188  # printable bytes, which GPT-2's vocabulary writes as themselves
SPACES = " \u3000\xa0"
HEAD = ("id", "text", "start", "end", "bytes", "bits")


class Piece(NamedTuple):
    """A token and its position."""

    id: int
    text: str  # as in the text; for a part of a character the whole character
    start: int  # characters of the text before it
    end: int
    raw: bytes = b""  # its own bytes in UTF-8; empty where not known
    bits: float = math.nan  # surprise of a language model, -log2 p; nan where not known


@dataclass(frozen=True)
class Tokens(Kind):
    """A text and its tokens, in order."""

    widget = "tokens"
    noun = N_("tokens")
    suffix = ".csv"

    text: str
    pieces: Sequence[Piece]
    file: str = ""
    model: str = ""  # model whose tokenizer it is

    def __post_init__(self) -> None:
        object.__setattr__(self, "pieces", tuple(Piece(*piece) for piece in self.pieces))
        if len(self.pieces) > MOST:
            raise files.wrong(
                _("{count} tokens").format(count=units.whole(len(self.pieces))),
                _("at most {count}").format(count=units.whole(MOST)),
            )
        for piece in self.pieces:
            if not 0 <= piece.start <= piece.end <= len(self.text) or piece.id < 0:
                raise files.wrong(
                    _("a token {id} from character {start} to {end}").format(
                        id=piece.id, start=piece.start, end=piece.end
                    ),
                    _("tokens within a text of {count} characters").format(count=len(self.text)),
                )

    @classmethod
    def of(
        cls, text: str, ids: Sequence[int], raws: Sequence[bytes], bits: Sequence[float] = (), **about: str
    ) -> "Tokens":
        """Create from the bytes of each token, which together make the text."""
        owner = [place for place, letter in enumerate(text) for _byte in letter.encode()]
        pieces, at = [], 0
        for number, (id, raw) in enumerate(zip(ids, raws, strict=True)):
            start, end = owner[at], owner[at + len(raw) - 1] + 1
            said = bits[number] if bits else math.nan
            pieces.append(Piece(id, text[start:end], start, end, raw, said))
            at += len(raw)
        assert at == len(owner), "the tokens make the text"
        return cls(text, pieces, **about)

    @property
    def bytes(self) -> int:
        """Length of the text in UTF-8."""
        return len(self.text.encode("utf-8", "replace"))

    @property
    def bits(self) -> float:
        """Sum over all tokens that a language model predicted; nan where there is none."""
        known = [piece.bits for piece in self.pieces if math.isfinite(piece.bits)]
        return sum(known) if known else math.nan

    @cached_property
    def torn(self) -> tuple[int, ...]:
        """Positions of characters that are split between tokens."""
        last, found = -1, []
        for piece in self.pieces:
            for place in (piece.start, piece.end - 1):
                if piece.start <= place < piece.end and place <= last:
                    found.append(place)
            last = max(last, piece.end - 1)
        return tuple(dict.fromkeys(found))

    def parts(self, piece: Piece) -> bool:
        """Return whether the token holds only a part of a character, at one end or both."""
        return bool(piece.raw) and piece.raw != piece.text.encode("utf-8", "replace")

    def written(self, piece: Piece) -> str:
        """Return the token in readable form.

        Bytes that are no whole character are written as numbers, as in ``\\xe6\\xad``.
        """
        if not self.parts(piece):
            return piece.text
        return piece.raw.decode("utf-8", "backslashreplace")

    def shown(self, piece: Piece) -> str:
        """Return ``written`` with signs for invisible characters and no control characters."""
        return _signed(self.written(piece))

    @property
    def summary(self) -> str:
        """Number of tokens, characters and bytes, and the characters that were split."""
        told = [
            _("{tokens} tokens, {letters} characters, {bytes} bytes").format(
                tokens=units.whole(len(self.pieces)), letters=units.whole(len(self.text)), bytes=units.whole(self.bytes)
            )
        ]
        if self.torn:
            letters = "".join(dict.fromkeys(self.text[place] for place in self.torn))
            told.append(
                _("split within a character: {letters}").format(
                    letters=letters[:40] + ("…" if len(letters) > 40 else "")
                )
            )
        if math.isfinite(self.bits):
            told.append(
                _("{bits} bits, {each} per byte").format(
                    bits=f"{self.bits:.1f}", each=f"{self.bits / max(1, self.bytes):.2f}"
                )
            )
        return "; ".join(told)

    def save(self, path: Path) -> None:
        """Save as a table, as JSON, or as an HTML page."""
        suffix = files.ending(path, (".csv", ".json", ".html"))
        if suffix == ".csv":
            rows = [(p.id, p.text, p.start, p.end, p.raw.hex(), _bits(p)) for p in self.pieces]
            files.write(path, files.separated([HEAD, *rows]))
        elif suffix == ".json":
            text = json.dumps(self.as_json()["tokens"], ensure_ascii=False, indent=1)
            files.write(path, text.encode("utf-8", "replace"))
        else:
            page = (
                '<!DOCTYPE html><meta charset="utf-8"><meta name="viewport" '
                'content="width=device-width"><title>tokens</title>'
                "<body style='font-family:sans-serif;margin:1em'>"
            )
            files.write(path, (page + self._repr_html_()).encode("utf-8", "replace"))

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "text": self.text,
            "tokens": [
                {"id": p.id, "text": p.text, "start": p.start, "end": p.end}
                | ({"bytes": p.raw.hex()} if self.parts(p) else {})
                | ({"bits": round(p.bits, 3)} if math.isfinite(p.bits) else {})
                for p in self.pieces
            ],
        }

    def __str__(self) -> str:
        """Return the tokens with separators, for output without colours."""
        cut = "│".join(self.shown(piece) for piece in self.pieces)
        return f"{cut}\n{self.summary}"

    def __rich__(self) -> Any:
        """Return the tokens in colours, for a terminal."""
        from rich.text import Text

        text = Text(overflow="fold")
        for number, piece in enumerate(self.pieces[:SHOWN]):
            shown = self.shown(piece)
            style = "underline " if self.parts(piece) else ""
            text.append(shown, f"{style}black on {_paint(piece, number)}")
        return text

    def _repr_html_(self) -> str:
        """Return the tokens in colours, with ids on hover."""
        pieces = self.pieces[:SHOWN]
        spans = "".join(self._span(piece, number) for number, piece in enumerate(pieces))
        left = len(self.pieces) - len(pieces)
        more = f"<p>{escape(_('and {n} more').format(n=units.whole(left)))}</p>" if left else ""
        return (
            f"<p>{escape(self.summary)}</p><div class='tokens' style='white-space:pre-wrap;"
            f"overflow-wrap:anywhere;line-height:1.9'>{spans}</div>{more}"
        )

    def _span(self, piece: Piece, number: int) -> str:
        told = [f"id {piece.id}"]
        if piece.raw:
            told.append(_("bytes {bytes}").format(bytes=piece.raw.hex(" ")))
        if math.isfinite(piece.bits):
            told.append(_("{bits} bits").format(bits=_bits(piece)))
        edge = "outline:1px dashed #000;outline-offset:-2px" if self.parts(piece) else ("box-shadow:inset 1px 0 #0007")
        return (
            f"<span title='{escape(', '.join(told))}' style='background:{_paint(piece, number)};"
            f"color:#000;{edge}'>{escape(self.shown(piece))}</span>"
        )

    def table(self) -> str:
        """Return the first tokens as an HTML table."""
        shown = self.pieces[:ROWS]
        known = any(math.isfinite(piece.bits) for piece in shown)
        rows = [
            (
                p.id,
                self.shown(p).replace("\n", ""),
                f"{p.start}–{p.end}",
                p.raw.hex(" "),
                *([_bits(p)] if known else []),
            )
            for p in shown
        ]
        left = len(self.pieces) - len(shown)
        return files.html_table(
            ("id", _("token"), _("characters"), _("bytes"), *([_("bits")] if known else [])),
            rows,
            _("and {n} more").format(n=units.whole(left)) if left else "",
        )


def _bits(piece: Piece) -> str:
    return f"{piece.bits:.2f}" if math.isfinite(piece.bits) else ""


def _signed(text: str) -> str:
    """Replace invisible characters by signs, and control characters by their codes."""
    return "".join(
        SIGNS.get(letter) or (letter if letter.isprintable() or letter in SPACES else f"\\u{ord(letter):04x}")
        for letter in text
    )


def _paint(piece: Piece, number: int) -> str:
    """Return the background colour: white to orange by surprise if known, else in turn."""
    if math.isnan(piece.bits):
        return PAINT[number % len(PAINT)]
    share = min(1.0, max(0.0, piece.bits) / SURPRISED)
    ends = (0xFF, 0xFF, 0xF4), (0xF0, 0x80, 0x30)
    mixed = [round(low + share * (high - low)) for low, high in zip(*ends, strict=True)]
    return "#" + "".join(f"{value:02x}" for value in mixed)


@lru_cache(maxsize=1)
def single_bytes() -> tuple[int, ...]:
    """Return the byte of each of the first 256 tokens in GPT-2's order, printable ones first.

    >>> single_bytes()[:3], len(single_bytes())  # "!", '"' and "#"
    ((33, 34, 35), 256)
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return (*printable, *(byte for byte in range(256) if byte not in printable))


@lru_cache(maxsize=1)
def _letters_of_bytes() -> dict[str, int]:
    """Return the bytes of the characters in GPT-2's vocabulary.

    Printable bytes are written as themselves, the others as characters from 256 on.
    """
    printable, others = single_bytes()[:PRINTABLE], single_bytes()[PRINTABLE:]
    return {chr(byte): byte for byte in printable} | {chr(256 + number): byte for number, byte in enumerate(others)}


def spelled(names: Sequence[str], text: str) -> list[bytes]:
    """Return the bytes of tokens from their names in a vocabulary like GPT-2's.

    Empty bytes where they do not make the text together, as with vocabularies of another kind.

    >>> spelled(["to", "Ġbe"], "to be"), spelled(["to", "▁be"], "to be")
    ([b'to', b' be'], [b'', b''])
    """
    known = _letters_of_bytes()
    raws = [bytes(known.get(letter, 0) for letter in name) for name in names]
    return raws if b"".join(raws) == text.encode("utf-8", "replace") else [b""] * len(names)


def label(name: str) -> str:
    """Return a token in readable form, from its name in a vocabulary like GPT-2's.

    Spaces become signs; bytes that are no whole character are written as numbers.

    >>> label("able"), label("Ġbe")
    ('able', '␣be')
    """
    known = _letters_of_bytes()
    if not all(letter in known for letter in name):
        return _signed(name)
    text = bytes(known[letter] for letter in name).decode("utf-8", "backslashreplace")
    return _signed(text).replace(" ", "␣")
