"""Metadata texts in sounds, scores, videos and pages, read and added without decoding the media.

| file | our own JSON | XMP |
|---|---|---|
| WAV | ``ICMT`` of ``LIST INFO`` | chunk ``_PMX`` |
| MP4, MOV | iTunes' comment (``moov/udta/meta/ilst``), read only | ``uuid`` box at the end |
| MIDI | a text event at the beginning of the first track | |
| HTML | ``<meta name="souron">`` | ``<meta name="digitalSourceType">``, its value alone |

Sources: Adobe: XMP Specification Part 3, Storage in Files (2020); Microsoft: Multimedia Programming
Interface (1991), for RIFF; ISO/IEC 14496-12, for boxes; MIDI Manufacturers Association: Standard
MIDI Files 1.0 (1996). Files are untrusted: their stated lengths are checked, at most ``LONGEST``
bytes of a text are read, and steps are counted.
"""

import html
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from souron.kinds.codecs.limits import check_file, trouble
from souron.utils.files import atomically
from souron.utils.messages import UserError, _

LONGEST = 131_072  # bytes of a text
MOST_STEPS = 100_000  # boxes, chunks or events that are skipped, at most
MOST_BYTES = 50_000_000_000  # bytes of a file of which only the headers are read
MOST_WHOLE = 200_000_000  # bytes of a file that is rewritten
MOST_PAGE = 1_000_000  # bytes of a page that are searched
BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
COMMENT = (b"moov", b"udta", b"meta", b"ilst", b"\xa9cmt", b"data")  # each within the one before
XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # sizes in streamed files
SUFFIXES = {
    "WAV": (".wav",),
    "MP4": (".mp4", ".mov", ".m4v", ".m4a"),
    "MIDI": (".mid", ".midi"),
    "HTML": (".html", ".htm"),
}
PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--.{0,2000}?-->\s*)?<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)
PLACES = [  # insert after the first match; a charset must be in a page's first 1024 bytes
    re.compile(rb"<meta\s[^<>]{0,200}\bcharset\b[^<>]{0,200}>", re.IGNORECASE),
    re.compile(rb"<head\b[^<>]*>", re.IGNORECASE),
    re.compile(rb"<html\b[^<>]*>", re.IGNORECASE),
    re.compile(rb"<!doctype\b[^<>]*>", re.IGNORECASE),
]
META = re.compile(r"<meta\b[^<>]{0,140000}>", re.IGNORECASE)
ATTRIBUTE = re.compile(r'([\w:.-]{1,60})\s*=\s*(?:"([^"]*)"|\'([^\']*)\')')


class Texts(NamedTuple):
    """Metadata of a file."""

    own: list[str]  # texts, one of which may be our JSON
    xmp: str  # the packet; for a page its meta elements instead


class Short(Exception):
    """Raised where the file is truncated or continues with unknown content."""


def kind_of(path: Path) -> str:
    """Return the file type by its first bytes: "WAV", "MP4", "MIDI", "HTML", or "".

    Raises UserError.
    """
    check_file(path, most=MOST_BYTES, otherwise="not an image")
    try:
        with path.open("rb") as stream:
            begins = stream.read(4096)
    except OSError as error:
        raise trouble(path, "unreadable", error.strerror or str(error)) from error
    if begins[:4] in (b"RIFF", b"RIFX", b"RF64") and begins[8:12] == b"WAVE":
        return "WAV"
    if begins[4:8] in BOXES:
        return "MP4"
    if begins[:4] == b"MThd":
        return "MIDI"
    return "HTML" if PAGE.match(begins) else ""


def read(path: Path, kind: str) -> Texts:
    """Read the metadata of a file of that type. Raises UserError where it is damaged."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            return READERS[kind](stream, size)
    except Short as error:
        raise trouble(path, "truncated", _("the file is cut short or damaged")) from error
    except OSError as error:
        raise trouble(path, "unreadable", error.strerror or str(error)) from error


def add(path: Path, kind: str, own: str, packet: str, source: str) -> None:
    """Add our JSON, the XMP packet and IPTC's source type to a file of that type.

    The file stays unchanged if that fails. Raises UserError.
    """
    check_file(path, most=MOST_WHOLE, otherwise="not an image")
    read(path, kind)  # raises unless it is complete, as far as its headers tell
    try:
        made = WRITERS[kind](path.read_bytes(), own, packet, source)
    except Short as error:
        raise trouble(path, "truncated", _("the file is cut short or damaged")) from error
    if made is None:
        raise trouble(path, "format", _("there is no place for a mark in it"))
    with atomically(path) as beside:
        beside.write_bytes(made)


def _take(stream: BinaryIO, count: int) -> bytes:
    """Read ``count`` bytes. Raises Short."""
    found = stream.read(count)
    if len(found) < count:
        raise Short
    return found


def _text(raw: bytes) -> str:
    return raw[:LONGEST].rstrip(b"\0").decode("utf-8", "replace")


# RIFF


def _chunks(stream: BinaryIO, begin: int, end: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, content offset and length of each chunk; an unknown length is the rest."""
    for _step in range(MOST_STEPS):
        if begin + 8 > end:
            return
        stream.seek(begin)
        name, length = _take(stream, 4), int.from_bytes(_take(stream, 4), order)  # type: ignore[arg-type]
        if begin + 8 + length > end:
            if name != b"data" or length != UNKNOWN_SIZES[1]:
                raise Short
            length = end - begin - 8
        yield name, begin + 8, length
        begin += 8 + length + length % 2


def _read_wav(stream: BinaryIO, size: int) -> Texts:
    order = "big" if _take(stream, 4) == b"RIFX" else "little"
    length = int.from_bytes(_take(stream, 4), order)  # type: ignore[arg-type]
    if length + 8 > size and length not in UNKNOWN_SIZES:
        raise Short
    own, packet = [], ""
    for name, place, count in _chunks(stream, 12, size, order):
        stream.seek(place)
        if name == b"_PMX":
            packet = packet or _text(_take(stream, min(count, LONGEST)))
        elif name == b"LIST" and count >= 4 and _take(stream, 4) == b"INFO":
            for inner, there, length in _chunks(stream, place + 4, place + count, order):
                if inner in (b"ICMT", b"ISFT"):
                    stream.seek(there)
                    own.append(_text(_take(stream, min(length, LONGEST))))
    return Texts(own, packet)


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)


def _add_to_wav(raw: bytes, own: str, packet: str, source: str) -> bytes | None:
    if raw[:4] != b"RIFF" or int.from_bytes(raw[4:8], "little") in UNKNOWN_SIZES:
        return None
    body = raw[8 : 8 + int.from_bytes(raw[4:8], "little")]
    about = _chunk(b"ISFT", b"souron\0") + _chunk(b"ICMT", own.encode() + b"\0")
    body += b"\0" * (len(body) % 2)
    body += _chunk(b"LIST", b"INFO" + about) + _chunk(b"_PMX", packet.encode())
    return b"RIFF" + len(body).to_bytes(4, "little") + body


# boxes


def _boxes(stream: BinaryIO, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, content offset and end of each box."""
    for _step in range(MOST_STEPS):
        if begin + 8 > end:
            return
        stream.seek(begin)
        length, name, place = int.from_bytes(_take(stream, 4)), _take(stream, 4), begin + 8
        following = begin + length if length else end
        if length == 1:
            following, place = begin + int.from_bytes(_take(stream, 8)), begin + 16
        if following > end or following < place:
            raise Short
        yield name, place, following
        begin = following


def _read_mp4(stream: BinaryIO, size: int) -> Texts:
    own, packet = [], ""
    waiting = [(0, size, 0)]
    while waiting:
        begin, end, depth = waiting.pop()
        for name, place, following in _boxes(stream, begin, end):
            stream.seek(place)
            if name == b"uuid" and depth == 0 and following - place > 16:
                if _take(stream, 16) == XMP_BOX:
                    packet = packet or _text(_take(stream, min(following - place - 16, LONGEST)))
            elif name != COMMENT[depth]:
                continue
            elif name == b"data":
                if following - place > 8:  # after its type and its country
                    stream.seek(place + 8)
                    own.append(_text(_take(stream, min(following - place - 8, LONGEST))))
            else:
                # after the version of ``meta``, which QuickTime leaves out
                version = name == b"meta" and _take(stream, 8)[4:] != b"hdlr"
                waiting.append((place + 4 * version, following, depth + 1))
    return Texts(own, packet)


def _add_to_mp4(raw: bytes, own: str, packet: str, source: str) -> bytes | None:
    """Append a box at the end, so that offsets within the file stay valid."""
    begin = 0
    while begin < len(raw):  # a last box without a length would include ours
        length = int.from_bytes(raw[begin : begin + 4])
        if length == 0:
            return None
        begin += int.from_bytes(raw[begin + 8 : begin + 16]) if length == 1 else length
    body = XMP_BOX + packet.encode()
    return raw + (len(body) + 8).to_bytes(4) + b"uuid" + body


# MIDI


def _number(stream: BinaryIO) -> int:
    """Read a variable-length number, 7 bits a byte, at most four bytes."""
    found = 0
    for _byte in range(4):
        byte = _take(stream, 1)[0]
        found = found << 7 | byte & 0x7F
        if byte < 0x80:
            return found
    raise Short


def _coded_number(number: int) -> bytes:
    parts = [number & 0x7F]
    while number := number >> 7:
        parts.append(number & 0x7F | 0x80)
    return bytes(reversed(parts))


def _read_midi(stream: BinaryIO, size: int) -> Texts:
    _take(stream, 4)
    begin, own, steps = 8 + int.from_bytes(_take(stream, 4)), [], 0
    if begin > size:
        raise Short
    while begin + 8 <= size and steps < MOST_STEPS:
        stream.seek(begin)
        name, length = _take(stream, 4), int.from_bytes(_take(stream, 4))
        end = begin + 8 + length
        if end > size:
            raise Short
        before = 0  # running status
        while name == b"MTrk" and stream.tell() < end and steps < MOST_STEPS:
            steps += 1
            _number(stream)
            status = _take(stream, 1)[0]
            if status < 0x80:
                status = before
                stream.seek(-1, os.SEEK_CUR)
            if status == 0xFF:
                sort, count = _take(stream, 1)[0], _number(stream)
                if stream.tell() + count > end:
                    raise Short
                if sort == 1:
                    own.append(_text(_take(stream, min(count, LONGEST))))
                    count -= min(count, LONGEST)
                stream.seek(count, os.SEEK_CUR)
            elif status in (0xF0, 0xF7):
                stream.seek(_number(stream), os.SEEK_CUR)
            elif 0x80 <= status < 0xF0:
                before = status
                stream.seek(1 if status >> 4 in (0xC, 0xD) else 2, os.SEEK_CUR)
            else:
                raise Short  # no event: the rest cannot be parsed
        begin = end
    return Texts(own, "")


def _add_to_midi(raw: bytes, own: str, packet: str, source: str) -> bytes | None:
    first = 8 + int.from_bytes(raw[4:8])
    while raw[first : first + 4] != b"MTrk":
        if first >= len(raw):
            return None
        first += 8 + int.from_bytes(raw[first + 4 : first + 8])
    text = own.encode()
    event = b"\0\xff\x01" + _coded_number(len(text)) + text
    length = int.from_bytes(raw[first + 4 : first + 8]) + len(event)
    return raw[: first + 4] + length.to_bytes(4) + event + raw[first + 8 :]


# pages


def _read_page(stream: BinaryIO, size: int) -> Texts:
    text = stream.read(MOST_PAGE).decode("utf-8", "replace")
    own, said = [], ""
    for found in META.finditer(text):
        about = {name.lower(): html.unescape(double or single) for name, double, single in ATTRIBUTE.findall(found[0])}
        name, content = about.get("name", "").lower(), about.get("content", "")
        if name == "souron":
            own.append(content[:LONGEST])
        elif name == "digitalsourcetype":
            said = said or f'DigitalSourceType="{content[:200]}"'
    return Texts(own, said)


def _add_to_page(raw: bytes, own: str, packet: str, source: str) -> bytes | None:
    elements = (
        '<meta name="generator" content="souron">'
        f'<meta name="digitalSourceType" content="{html.escape(source)}">'
        f'<meta name="souron" content="{html.escape(own)}">'
    ).encode()
    for place in PLACES:
        if found := place.search(raw, 0, MOST_PAGE):
            return raw[: found.end()] + elements + raw[found.end() :]
    return None


READERS = {"WAV": _read_wav, "MP4": _read_mp4, "MIDI": _read_midi, "HTML": _read_page}
WRITERS = {"WAV": _add_to_wav, "MP4": _add_to_mp4, "MIDI": _add_to_midi, "HTML": _add_to_page}


def unknown(path: Path) -> UserError:
    """Return the UserError for a file that is none of these, and no image either."""
    expected = ", ".join(("PNG", "JPEG", "WEBP", "GIF", *READERS))
    why = _("neither an image nor a sound, score, video or page")
    return trouble(path, "not an image", why, expected)
