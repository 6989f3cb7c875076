"""Tokens: a text as a tokenizer cuts it."""

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
from souron.utils.messages import _

MOST = 1_000_000  # tokens
SHOWN = 20_000  # tokens that a page shows, and
ROWS = 60  # of a table below
PAINT = ("#b9e0f7", "#ffd894", "#a8e3cd", "#efc6dd", "#f5ec9a", "#f7bd98")  # behind black letters
SURPRISED = 16.0  # bits from which on a token has the full shade
SIGNS = {"\n": "⏎\n", "\t": "⇥\t", "\r": "␍"}
PRINTABLE = 188  # bytes that GPT-2's vocabulary writes as themselves
SPACES = " \u3000\xa0"
HEAD = ("id", "text", "start", "end", "bytes", "bits")


class Piece(NamedTuple):
    """A token and where it stands."""

    id: int
    text: str  # as the text has it; of a token that is a part of a letter the whole letter
    start: int  # letters of the text before it
    end: int
    raw: bytes = b""  # what it stands for by itself, in UTF-8; empty where that is not known
    bits: float = math.nan  # how surprising a language model finds it; not a number: nobody said


@dataclass(frozen=True)
class Tokens(Kind):
    """A text and its tokens, in their order."""

    widget = "tokens"
    suffix = ".csv"

    text: str
    pieces: Sequence[Piece]
    file: str = ""
    model: str = ""  # whose tokenizer it is

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
                    _("a token {id} from letter {start} to {end}").format(
                        id=piece.id, start=piece.start, end=piece.end
                    ),
                    _("tokens within a text of {count} letters").format(count=len(self.text)),
                )

    @classmethod
    def of(
        cls,
        text: str,
        ids: Sequence[int],
        raws: Sequence[bytes],
        bits: Sequence[float] = (),
        **about: str,
    ) -> "Tokens":
        """Of the bytes that each token stands for, which make the text together."""
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
        """Of the text in UTF-8."""
        return len(self.text.encode("utf-8", "replace"))

    @property
    def bits(self) -> float:
        """Of all tokens that a language model could foresee; not a number where there is none."""
        known = [piece.bits for piece in self.pieces if math.isfinite(piece.bits)]
        return sum(known) if known else math.nan

    @cached_property
    def torn(self) -> tuple[int, ...]:
        """The places of letters that are cut into parts of their bytes."""
        last, found = -1, []
        for piece in self.pieces:
            for place in (piece.start, piece.end - 1):
                if piece.start <= place < piece.end and place <= last:
                    found.append(place)
            last = max(last, piece.end - 1)
        return tuple(dict.fromkeys(found))

    def parts(self, piece: Piece) -> bool:
        """Does the token hold a part of a letter only, at one end or both?"""
        return bool(piece.raw) and piece.raw != piece.text.encode("utf-8", "replace")

    def written(self, piece: Piece) -> str:
        """The token as it can be read: bytes that make no letter are written as numbers, as in
        ``\\xe6\\xad``."""
        if not self.parts(piece):
            return piece.text
        return piece.raw.decode("utf-8", "backslashreplace")

    def shown(self, piece: Piece) -> str:
        """``written`` with signs for what cannot be seen, and none that a terminal would obey."""
        return _signed(self.written(piece))

    @property
    def summary(self) -> str:
        """How many tokens, letters and bytes, and which letters fell into parts."""
        told = [
            _("{tokens} tokens, {letters} letters, {bytes} bytes").format(
                tokens=units.whole(len(self.pieces)),
                letters=units.whole(len(self.text)),
                bytes=units.whole(self.bytes),
            )
        ]
        if self.torn:
            letters = "".join(dict.fromkeys(self.text[place] for place in self.torn))
            told.append(
                _("cut into parts of a letter: {letters}").format(
                    letters=letters[:40] + ("…" if len(letters) > 40 else "")
                )
            )
        if math.isfinite(self.bits):
            told.append(
                _("{bits} bits, {each} a byte").format(
                    bits=f"{self.bits:.1f}", each=f"{self.bits / max(1, self.bytes):.2f}"
                )
            )
        return "; ".join(told)

    def save(self, path: Path) -> None:
        """As a table, as JSON, or as a page that can be looked at."""
        suffix = files.ending(path, (".csv", ".json", ".html"))
        if suffix == ".csv":
            rows = [
                (p.id, p.text, p.start, p.end, p.raw.hex(), _bits(p)) for p in self.pieces
            ]  # fmt: skip
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
        """The cut where colours cannot be shown."""
        cut = "│".join(self.shown(piece) for piece in self.pieces)
        return f"{cut}\n{self.summary}"

    def __rich__(self) -> Any:
        """The cut in colours, for a terminal."""
        from rich.text import Text

        text = Text(overflow="fold")
        for number, piece in enumerate(self.pieces[:SHOWN]):
            shown = self.shown(piece)
            style = "underline " if self.parts(piece) else ""
            text.append(shown, f"{style}black on {_paint(piece, number)}")
        return text

    def _repr_html_(self) -> str:
        """The cut in colours, ids when pointed at, and below a table of the first tokens."""
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
        edge = (
            "outline:1px dashed #000;outline-offset:-2px"
            if self.parts(piece)
            else ("box-shadow:inset 1px 0 #0007")
        )
        return (
            f"<span title='{escape(', '.join(told))}' style='background:{_paint(piece, number)};"
            f"color:#000;{edge}'>{escape(self.shown(piece))}</span>"
        )

    def table(self) -> str:
        """The first tokens as rows of a table, for pages."""
        shown = self.pieces[:ROWS]
        known = any(math.isfinite(piece.bits) for piece in shown)
        rows = [
            (p.id, self.shown(p).replace("\n", ""), f"{p.start}–{p.end}",
             p.raw.hex(" "), *([_bits(p)] if known else []))
            for p in shown
        ]  # fmt: skip
        left = len(self.pieces) - len(shown)
        return files.html_table(
            ("id", _("token"), _("letters"), _("bytes"), *([_("bits")] if known else [])), rows,
            _("and {n} more").format(n=units.whole(left)) if left else "",
        )  # fmt: skip


def _bits(piece: Piece) -> str:
    return f"{piece.bits:.2f}" if math.isfinite(piece.bits) else ""


def _signed(text: str) -> str:
    """With signs for what cannot be seen, and none that a terminal would obey."""
    return "".join(
        SIGNS.get(letter)
        or (letter if letter.isprintable() or letter in SPACES else f"\\u{ord(letter):04x}")
        for letter in text
    )


def _paint(piece: Piece, number: int) -> str:
    """By how surprising it is, from white to orange, where that is known; else in turn."""
    if math.isnan(piece.bits):
        return PAINT[number % len(PAINT)]
    share = min(1.0, max(0.0, piece.bits) / SURPRISED)
    ends = (0xFF, 0xFF, 0xF4), (0xF0, 0x80, 0x30)
    mixed = [round(low + share * (high - low)) for low, high in zip(*ends, strict=True)]
    return "#" + "".join(f"{value:02x}" for value in mixed)


@lru_cache(maxsize=1)
def single_bytes() -> tuple[int, ...]:
    """The byte that each of the first 256 tokens stands for, in GPT-2's order: those that can be
    printed go before the others."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return (*printable, *(byte for byte in range(256) if byte not in printable))


@lru_cache(maxsize=1)
def _letters_of_bytes() -> dict[str, int]:
    """How vocabularies of GPT-2's kind write bytes: as themselves where they can be printed, the
    others as letters from 256 on."""
    printable, others = single_bytes()[:PRINTABLE], single_bytes()[PRINTABLE:]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + number): byte for number, byte in enumerate(others)
    }


def spelled(names: Sequence[str], text: str) -> list[bytes]:
    """The bytes of tokens by their names in a vocabulary of GPT-2's kind; empty ones where they do
    not make the text together, as with vocabularies of another kind."""
    known = _letters_of_bytes()
    raws = [bytes(known.get(letter, 0) for letter in name) for name in names]
    return raws if b"".join(raws) == text.encode("utf-8", "replace") else [b""] * len(names)
