"""Standard MIDI files: reading and writing notes.

MIDI Association: Standard MIDI Files 1.0 (1988). https://midi.org/standard-midi-files

Notes, the first tempo and the first time signature, tracks and their names are read. A first bar of
fewer beats than the second is a pickup. Each channel of each track is a part; drums (channel 10)
are left out. Files are untrusted: every length is checked against the content.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from souron.kinds.codecs.limits import readable, trouble
from souron.kinds.codecs.notation import MOST_NOTES, MOST_PARTS, TEMPO, Notation, Note, bounded, too_many
from souron.utils.messages import _

SUFFIXES = (".mid", ".midi")
MOST_BYTES = 5_000_000
MOST_EVENTS = 1_000_000
DRUMS = 9  # channel, from 0
TICKS = 480  # ticks of a quarter in written files
NAME, END, TEMPO_EVENT, TIME = 0x03, 0x2F, 0x51, 0x58
DATA = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}  # data bytes of each type of event
LOUDNESS = 80  # 0..127


class _Damaged(Exception):
    """Raised where the content is inconsistent."""


def parsed(raw: bytes, path: Path) -> Notation:
    """Parse a file's content.

    Raises UserError: "not music", "truncated", "no notes", "too long", "too large".
    """
    if len(raw) > MOST_BYTES:
        raise too_many(path)
    if raw[:4] != b"MThd" or len(raw) < 14:
        raise trouble(path, "not music", _("not a MIDI file"), "MThd")
    size, _kind, tracks, division = struct.unpack(">IHHh", raw[4:14])
    if division == 0 or not 6 <= size <= 1000:
        raise trouble(path, "unreadable", _("its header makes no sense"))
    if division < 0:
        raise trouble(path, "not music", _("its times are frames of a film"), _("times in quarters"))
    try:
        found = _pieces(raw, 8 + size, tracks, division)
    except (_Damaged, IndexError, struct.error) as error:
        raise trouble(path, "truncated", _("the file is cut short")) from error
    except OverflowError as error:
        raise too_many(path) from error
    return bounded(found, path)


def _pieces(raw: bytes, place: int, tracks: int, division: int) -> Notation:
    """Parse all tracks. Raises _Damaged, OverflowError."""
    rows: dict[tuple[int, int], list[Note]] = {}
    names: dict[int, str] = {}
    bars: list[tuple[float, float]] = []  # position, quarters
    tempo, events, count = 0.0, 0, 0
    for track in range(tracks):
        if place >= len(raw):
            break
        head, size = raw[place : place + 4], int.from_bytes(raw[place + 4 : place + 8], "big")
        content = raw[place + 8 : place + 8 + size]
        if len(content) < size:
            raise _Damaged
        place += 8 + size
        if head != b"MTrk":
            continue
        open_notes: dict[tuple[int, int], list[int]] = {}
        for tick, status, data in _events(content):
            events += 1
            if events > MOST_EVENTS:
                raise OverflowError
            if status == 0x100 + NAME:
                names.setdefault(track, _words(data))
            elif status == 0x100 + TEMPO_EVENT and len(data) == 3:
                tempo = tempo or 6e7 / max(1, int.from_bytes(data, "big"))
            elif status == 0x100 + TIME and len(data) >= 2 and data[1] < 8:
                bars.append((tick / division, 4 * data[0] / 2 ** data[1]))
            elif status >> 4 in (0x8, 0x9) and status & 15 != DRUMS:
                key = (status & 15, data[0])
                if status >> 4 == 0x9 and data[1]:
                    open_notes.setdefault(key, []).append(tick)
                elif open_notes.get(key):
                    start = open_notes[key].pop(0)
                    if tick > start:
                        row = rows.setdefault((track, key[0]), [])
                        row.append(Note(0, start / division, (tick - start) / division, key[1]))
                        count += 1
                        if count > MOST_NOTES:
                            raise OverflowError
    if len(rows) > MOST_PARTS:
        raise OverflowError
    order = sorted(rows)
    notes = [note._replace(part=part) for part, key in enumerate(order) for note in rows[key]]
    called = [names.get(track, "") or str(part + 1) for part, (track, _c) in enumerate(order)]
    bars = [(place, bar) for place, bar in sorted(bars) if 0 < bar <= 64] or [(0.0, 4.0)]
    pickup = bars[1][0] if len(bars) > 1 and bars[1][0] == bars[0][1] < bars[1][1] else 0.0
    tempo = min(max(tempo, 10.0), 500.0) if tempo else TEMPO
    title = "" if any(track == 0 for track, _channel in order) else names.get(0, "")
    return Notation(notes, called, tempo, bars[pickup > 0][1], pickup, title)


def _events(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield tick, status (0x100 + type for meta events) and data of each event."""
    place = tick = status = 0
    while place < len(content):
        wait, place = _number(content, place)
        tick += wait
        if tick > 1 << 40:
            raise _Damaged
        if content[place] & 0x80:
            status, place = content[place], place + 1
        if status == 0xFF:
            sort = content[place]
            size, place = _number(content, place + 1)
            if place + size > len(content):
                raise _Damaged
            yield tick, 0x100 + sort, content[place : place + size]
            place += size
            if sort == END:
                return
        elif status in (0xF0, 0xF7):
            size, place = _number(content, place)
            place += size
        else:
            size = DATA.get(status >> 4, 0)
            if not size or place + size > len(content):
                raise _Damaged
            data = content[place : place + size]
            if max(data) > 127:
                raise _Damaged
            yield tick, status, data
            place += size


def _number(content: bytes, place: int) -> tuple[int, int]:
    """Read a number of up to four bytes with seven bits each; return it and its end."""
    value = 0
    for _byte in range(4):
        value = value << 7 | content[place] & 0x7F
        place += 1
        if not content[place - 1] & 0x80:
            return value, place
    raise _Damaged


def _words(data: bytes) -> str:
    for code in ("utf-8", "cp932"):
        try:
            return readable(data[:200].decode(code).strip("\0 "))
        except UnicodeDecodeError:
            continue
    return ""


def write(piece: Notation) -> bytes:
    """Encode a piece as a MIDI file with a track for each part."""
    head = [(0, _meta(NAME, piece.title.encode()))] if piece.title else []
    head.append((0, _meta(TEMPO_EVENT, round(6e7 / piece.tempo).to_bytes(3, "big"))))
    if piece.pickup:
        head.append((0, _meta(TIME, _time(piece.pickup))))
    head.append((round(TICKS * piece.pickup), _meta(TIME, _time(piece.bar))))
    tracks = [_track(head)]
    for part, name in enumerate(piece.parts):
        channel = part % 15 if part % 15 < DRUMS else part % 15 + 1
        events = [(0, _meta(NAME, name.encode()))]
        for note in piece.notes:
            if note.part == part:
                start, end = (round(TICKS * at) for at in (note.start, note.start + note.length))
                events.append((start, bytes([0x90 | channel, note.pitch, LOUDNESS])))
                events.append((max(end, start + 1), bytes([0x80 | channel, note.pitch, 0])))
        tracks.append(_track(events))
    return b"MThd" + struct.pack(">IHHh", 6, 1, len(tracks), TICKS) + b"".join(tracks)


def _time(bar: float) -> bytes:
    whole = bar == int(bar)
    return bytes([min(255, round(bar if whole else 4 * bar)), 2 if whole else 4, 24, 8])


def _meta(sort: int, data: bytes) -> bytes:
    return bytes([0xFF, sort]) + _coded(len(data)) + data


def _track(events: list[tuple[int, bytes]]) -> bytes:
    """Encode a track; a note ends before another begins at the same time."""
    content, now = bytearray(), 0
    for tick, event in sorted(events, key=lambda e: (e[0], e[1][0] >> 4 == 0x9)):
        content += _coded(tick - now) + event
        now = tick
    content += b"\0" + _meta(END, b"")
    return b"MTrk" + struct.pack(">I", len(content)) + bytes(content)


def _coded(number: int) -> bytes:
    found = [number & 0x7F]
    while number := number >> 7:
        found.insert(0, number & 0x7F | 0x80)
    return bytes(found)
