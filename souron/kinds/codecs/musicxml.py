"""MusicXML, plain (``.musicxml``, ``.xml``) or compressed (``.mxl``): reading and writing notes.

W3C Music Notation Community Group: MusicXML 4.0 (2021). https://www.w3.org/2021/06/musicxml40/

Pitches, lengths, ties, bars, the first tempo and the first time signature are read. Repeats are not
expanded, grace notes and ornaments are left out. Files are untrusted: their size is bounded before
they are decompressed, and one that defines entities is not parsed.
"""

import io
import zipfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from souron.kinds.codecs.limits import trouble
from souron.kinds.codecs.notation import MOST_NOTES, MOST_PARTS, TEMPO, Notation, Note, bounded, too_many
from souron.utils.messages import _

SUFFIXES = (".musicxml", ".xml", ".mxl")
MOST_BYTES = 20_000_000  # bytes of the text
MOST_TEXT = 200  # characters of a name
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SHARPS = (
    ("C", 0),
    ("C", 1),
    ("D", 0),
    ("D", 1),
    ("E", 0),
    ("F", 0),
    ("F", 1),
    ("G", 0),
    ("G", 1),
    ("A", 0),
    ("A", 1),
    ("B", 0),
)
TYPES = {
    0.25: ("16th", 0),
    0.5: ("eighth", 0),
    0.75: ("eighth", 1),
    1.0: ("quarter", 0),
    1.5: ("quarter", 1),
    2.0: ("half", 0),
    3.0: ("half", 1),
    4.0: ("whole", 0),
}
DIVISIONS = 4  # divisions of a quarter in written files


def parsed(raw: bytes, path: Path) -> Notation:
    """Parse a file's content.

    Raises UserError: "not music", "unreadable", "no notes", "too long", "too large".
    """
    raw = _text(path, raw)
    # an entity may expand to millions of characters
    if b"<!ENTITY" in raw.replace(b"\0", b"").upper():
        raise _not_music(path)
    try:
        root = ElementTree.fromstring(raw)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise _not_music(path) from error
    if root.tag != "score-partwise":
        raise _not_music(path)
    try:
        return bounded(_notation(root, path), path)
    except (ArithmeticError, ValueError, TypeError, KeyError) as error:
        raise trouble(path, "unreadable", _("cannot be decoded: {why}").format(why=error)) from error


def _not_music(path: Path) -> Exception:
    return trouble(path, "not music", _("not MusicXML that is read here"), "<score-partwise>")


def _text(path: Path, raw: bytes) -> bytes:
    """Return the XML; of an archive the first file that does not describe the archive itself."""
    if raw[:2] != b"PK":
        return raw
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as packed:
            for info in packed.infolist():
                name = info.filename.lower()
                if name.endswith((".xml", ".musicxml")) and not name.startswith("meta-inf/"):
                    with packed.open(info) as member:
                        text = member.read(MOST_BYTES + 1)
                    if len(text) > MOST_BYTES:
                        raise too_many(path)
                    return text
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise trouble(path, "unreadable", _("cannot be decoded: {why}").format(why=error)) from error
    raise _not_music(path)


def _notation(root: Any, path: Path) -> Notation:
    """Convert the XML tree to a piece. Raises UserError and parsing errors."""
    names = {
        part.get("id", ""): (part.findtext("part-name") or "")[:MOST_TEXT]
        for part in root.iterfind("part-list/score-part")
    }
    parts = root.findall("part")
    if len(parts) > MOST_PARTS:
        raise too_many(path)
    told = [list(_measures(part)) for part in parts]
    count = max(map(len, told), default=0)
    lengths = [max((m[k].length for m in told if k < len(m)), default=0.0) for k in range(count)]
    starts = [sum(lengths[:k]) for k in range(count)] if count < 5000 else []
    if count and not starts:
        raise too_many(path)
    apart = len(parts) <= 2  # a staff of a short score holds two voices
    rows: dict[tuple[int, str], list[Note]] = {}
    for number, measures in enumerate(told):
        for start, measure in zip(starts, measures, strict=False):
            for voice, tie, offset, length, pitch in measure.tones:
                row = rows.setdefault((number, voice if apart else ""), [])
                before = next((n for n in row[:-9:-1] if n.pitch == pitch), None) if tie else None
                at = start + offset
                if before and abs(before.start + before.length - at) < 1e-6:
                    row[row.index(before, -8 if len(row) > 8 else 0)] = before._replace(length=before.length + length)
                else:
                    row.append(Note(0, at, length, pitch))
    if sum(map(len, rows.values())) > MOST_NOTES or len(rows) > MOST_PARTS:
        raise too_many(path)
    order = sorted(rows)
    ids = [part.get("id", "") for part in parts]
    first = [measures[0] for measures in told if measures]
    bar = next((m.bar for m in first if m.bar), 4.0)
    short = lengths[0] if lengths and lengths[0] < bar - 1e-6 else 0.0
    title = root.findtext("movement-title") or root.findtext("work/work-title") or ""
    tempo = next((m.tempo for measures in told for m in measures if m.tempo), TEMPO)
    return Notation(
        [note._replace(part=k) for k, key in enumerate(order) for note in rows[key]],
        [names.get(ids[number], "") or str(k + 1) for k, (number, _v) in enumerate(order)],
        min(max(tempo, 10.0), 500.0),
        bar,
        short,
        title[:MOST_TEXT],
    )


class _Measure:
    """One bar of one part: tones as (voice, tied to the previous one, start, length, pitch)."""

    def __init__(self) -> None:
        self.tones: list[tuple[str, bool, float, float, int]] = []
        self.length = self.bar = self.tempo = 0.0


def _measures(part: Any) -> Iterator[_Measure]:
    divisions, bar, moved = 1.0, 0.0, 0
    for written in part.iterfind("measure"):
        measure, at, last = _Measure(), 0.0, 0.0
        for element in written:
            length = float(element.findtext("duration") or 0) / divisions
            if not 0 <= length < 1e4:
                raise ValueError(f"duration {length}")
            if element.tag == "attributes":
                divisions = float(element.findtext("divisions") or divisions)
                moved = int(element.findtext("transpose/chromatic") or moved)
                if element.find("time") is not None:
                    bar = _bar(element) or bar
            elif element.tag == "backup":
                at = max(0.0, at - length)
            elif element.tag == "forward":
                at += length
            elif element.tag == "note" and element.find("grace") is None:
                if element.find("chord") is not None:
                    at = last
                pitch = element.find("pitch")
                if pitch is not None and length:
                    tie = any(tie.get("type") == "stop" for tie in element.iterfind("tie"))
                    voice = element.findtext("voice") or ""
                    measure.tones.append((voice, tie, at, length, _pitch(pitch) + moved))
                last, at = at, at + length
            for sound in element.iter("sound"):
                measure.tempo = measure.tempo or float(sound.get("tempo") or 0)
            measure.length = max(measure.length, at)
        measure.bar = bar
        yield measure


def _bar(attributes: Any) -> float:
    beats = (attributes.findtext("time/beats") or "").split("+")
    kind = attributes.findtext("time/beat-type") or ""
    if not kind.strip().isdigit() or not all(part.strip().isdigit() for part in beats):
        return 0.0
    bar = 4 * sum(map(int, beats)) / int(kind)
    return bar if 0 < bar <= 64 else 0.0


def _pitch(pitch: Any) -> int:
    octave = int(pitch.findtext("octave"))
    found = STEPS[pitch.findtext("step").strip()] + 12 * (octave + 1)
    found += round(float(pitch.findtext("alter") or 0))
    if not 0 <= found < 128:
        raise ValueError(f"octave {octave}")
    return found


def write(piece: Notation, software: str, remarks: Sequence[tuple[str, str]] = ()) -> bytes:
    """Encode a piece as MusicXML, notes on a grid of sixteenths.

    ``remarks`` are stored as miscellaneous fields, each with its name.
    """
    root = ElementTree.Element("score-partwise", version="4.0")
    if piece.title:
        ElementTree.SubElement(root, "movement-title").text = piece.title
    about = ElementTree.SubElement(root, "identification")
    encoding = ElementTree.SubElement(about, "encoding")
    ElementTree.SubElement(encoding, "software").text = software
    if remarks:
        fields = ElementTree.SubElement(about, "miscellaneous")
        for name, text in remarks:
            ElementTree.SubElement(fields, "miscellaneous-field", name=name).text = text
    listed = ElementTree.SubElement(root, "part-list")
    for number, name in enumerate(piece.parts, 1):
        one = ElementTree.SubElement(listed, "score-part", id=f"P{number}")
        ElementTree.SubElement(one, "part-name").text = name
    for number in range(len(piece.parts)):
        part = ElementTree.SubElement(root, "part", id=f"P{number + 1}")
        _write_part(part, [note for note in piece.notes if note.part == number], piece)
    ElementTree.indent(root)
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE score-partwise PUBLIC '
        '"-//Recordare//DTD MusicXML 4.0 Partwise//EN" '
        '"http://www.musicxml.org/dtds/partwise.dtd">\n'
    )
    return head.encode() + ElementTree.tostring(root, "utf-8")


def _write_part(part: Any, notes: Sequence[Note], piece: Notation) -> None:
    end = round(4 * max(note.start + note.length for note in piece.notes))
    bar, pickup = max(1, round(4 * piece.bar)), round(4 * piece.pickup)
    lines = [0, *range(pickup or bar, end, bar), end]
    low = sum(note.pitch for note in notes) < 58 * max(1, len(notes))
    for number, (start, stop) in enumerate(pairwise(lines)):
        measure = ElementTree.SubElement(part, "measure", number=str(number + (not pickup)))
        if number == 0:
            _write_head(measure, piece, low)
        at = start
        for note in notes:
            begin, over = round(4 * note.start), round(4 * (note.start + note.length))
            if over <= start or begin >= stop or over <= at:
                continue
            if begin > at:
                _write_tones(measure, None, begin - at)
            first, last = max(begin, at), min(over, stop)
            _write_tones(measure, note.pitch, last - first, begin < first, over > last)
            at = last
        if at < stop:
            _write_tones(measure, None, stop - at)


def _write_head(measure: Any, piece: Notation, low: bool) -> None:
    about = ElementTree.SubElement(measure, "attributes")
    ElementTree.SubElement(about, "divisions").text = str(DIVISIONS)
    time = ElementTree.SubElement(about, "time")
    whole = piece.bar == int(piece.bar)
    ElementTree.SubElement(time, "beats").text = str(round(piece.bar * (1 if whole else 4)))
    ElementTree.SubElement(time, "beat-type").text = "4" if whole else "16"
    clef = ElementTree.SubElement(about, "clef")
    ElementTree.SubElement(clef, "sign").text = "F" if low else "G"
    ElementTree.SubElement(clef, "line").text = "4" if low else "2"
    ElementTree.SubElement(measure, "sound", tempo=f"{piece.tempo:g}")


def _write_tones(measure: Any, pitch: int | None, sixteenths: int, tied: bool = False, ties: bool = False) -> None:
    """Write a tone, or a rest, as the fewest possible notes, tied to one another."""
    left = sixteenths
    while left:
        length = max(size for size in TYPES if 4 * size <= left)
        left -= round(4 * length)
        note = ElementTree.SubElement(measure, "note")
        if pitch is None:
            ElementTree.SubElement(note, "rest")
        else:
            step, alter = SHARPS[pitch % 12]
            told = ElementTree.SubElement(note, "pitch")
            ElementTree.SubElement(told, "step").text = step
            if alter:
                ElementTree.SubElement(told, "alter").text = str(alter)
            ElementTree.SubElement(told, "octave").text = str(pitch // 12 - 1)
        ElementTree.SubElement(note, "duration").text = str(round(DIVISIONS * length))
        kinds = [] if pitch is None else ["stop"] * tied + ["start"] * (ties or left > 0)
        for kind in kinds:
            ElementTree.SubElement(note, "tie", type=kind)
        name, dots = TYPES[length]
        ElementTree.SubElement(note, "type").text = name
        for _dot in range(dots):
            ElementTree.SubElement(note, "dot")
        if kinds:
            marks = ElementTree.SubElement(note, "notations")
            for kind in kinds:
                ElementTree.SubElement(marks, "tied", type=kind)
        tied = True
