"""Pieces in four voices: a folder of MIDI files (.mid) and MusicXML (.musicxml, .xml, .mxl).

A file is a piece; its four voices are ordered by pitch. Folders ``train``, ``val`` and ``test`` are
parts of the data. Pieces that share a tune stay together in a split.
"""

from pathlib import Path, PurePosixPath

from souron.data.dataset import Dataset, ListColumn
from souron.data.formats.folder import missing, natural, walk
from souron.data.readers.settings import Reading
from souron.data.readers.text_files import Faults, part_of
from souron.data.voices import MOST_STEPS, Voices, by_height, of, tunes
from souron.kinds.codecs.limits import readable
from souron.kinds.codecs.notation import Notation
from souron.kinds.score import Score
from souron.utils.messages import UserError, _

DEFAULT = Reading()
SUFFIXES = Score.formats
MOST_FILES = 5_000


def describes(path: Path) -> bool:
    if path.is_dir():
        return any(file.suffix.lower() in SUFFIXES for file in path.rglob("*"))
    return path.suffix.lower() in SUFFIXES


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read pieces. Files without notes, without exactly four voices, or too long are skipped and
    reported. Raises UserError if none can be used."""
    if not path.exists():
        raise missing(path)
    faults = Faults()
    listed = [(path, path.name)] if path.is_file() else list(walk(path, faults.skipped))
    listed = [(file, name) for file, name in listed if file.suffix.lower() in SUFFIXES]
    pieces: list[Voices] = []
    names: list[str] = []
    for done, (file, name) in enumerate(sorted(listed, key=lambda one: natural(one[1]))):
        if reading.progress:
            reading.progress(done, len(listed))
        try:
            if len(names) == MOST_FILES:
                raise UserError("too many", _("beyond the first {count}").format(count=MOST_FILES))
            pieces.append(of(four_parts(Score.read(file).notation)))
        except UserError as trouble:
            faults.add(readable(name), trouble.code, trouble.found)
        else:
            names.append(readable(name))
    if not pieces:
        raise UserError(
            "no pieces",
            _("{path} holds no piece in four parts").format(path=readable(path)),
            expected=_("MIDI or MusicXML files of four parts, such as a choir's"),
            fix="data=chorales",
            exit=3,
        )
    group = tunes(pieces, names)
    return Dataset(
        readable(path.name),
        ListColumn(pieces),
        None,
        (),
        names,
        group=group if len(set(group)) < len(group) else (),
        grouped=_("tunes: melodies that are alike in any key"),
        part=[part_of(PurePosixPath(name).parts[0]) for name in names],
        skipped=faults.told(),
        augment=("transpose",),
        source=readable(path),
    )


def four_parts(piece: Notation) -> Notation:
    """Return the piece with its voices ordered by pitch. Raises UserError if there are not four."""
    used = sorted({note.part for note in piece.notes})
    if len(used) != 4:
        raise UserError(
            "voices",
            _("it has {count} parts with notes").format(count=len(used)),
            expected=_("four parts: soprano, alto, tenor and bass"),
            exit=3,
        )
    if max(note.start + note.length for note in piece.notes) * 4 > MOST_STEPS:
        raise UserError(
            "too long",
            _("it has more than {count} quarters").format(count=MOST_STEPS // 4),
            expected=_("single movements"),
            exit=3,
        )
    order = by_height(piece.notes)
    notes = [note._replace(part=order[note.part]) for note in piece.notes]
    return piece._replace(notes=notes, parts=[piece.parts[k] for k in order])
