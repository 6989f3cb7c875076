"""Recordings with their texts: sound files that a table names, or with a .txt beside each.

    metadata.csv        file,text,speaker         (or .tsv, .jsonl) also path, sentence, client_id
                                                  (Common Voice), file_name, transcription
    a.wav   a.txt       the text of each recording beside it
    84-1.trans.txt      a line for each recording: its name, then its text (LibriSpeech)
    train/  val/  test/ parts

WAV, FLAC, MP3 and Ogg are read, mixed to one channel at 16 kHz. All recordings of a speaker stay in
one part of a split, where a column or a folder for each names the speakers.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from souron.data import patients, recordings
from souron.data.dataset import Dataset, ListColumn
from souron.data.formats.folder import missing, natural, walk
from souron.data.log_mel import RATE
from souron.data.readers.settings import Reading
from souron.data.readers.text_files import (
    RECORDS,
    TABLES,
    Faults,
    columns,
    files_of,
    keys,
    name_of,
    part_of,
    read,
    records,
    table,
    value,
)
from souron.data.recordings import LONGEST, SHORTEST, Recording
from souron.data.texts import Fault, language, worded
from souron.kinds.codecs import audio
from souron.kinds.codecs.limits import check_file, readable
from souron.utils.messages import UserError, _

DEFAULT = Reading()
FILE = ("file", "path", "filename", "audio", "audiofilepath", "wav", "sound", "音声", "ファイル")
TEXT = (
    "text",
    "sentence",
    "transcription",
    "transcript",
    "normalizedtext",
    "words",
    "書き起こし",
    "文",
    "テキスト",
    "発話",
)
SPEAKER = ("speaker", "speakerid", "clientid", "話者")
BESIDE = ("", "clips", "wavs", "audio", "wav")  # folders of the files that a table names
LINES = ".trans.txt"
MOST_FILES = 50_000
MOST_SECONDS = 36_000.0  # of all recordings: 1.2 GB
LOOKED_AT = 300  # entries of a folder


class Listed(NamedTuple):
    """A recording, before it is read."""

    path: Path
    name: str
    text: str
    speaker: str
    part: str


def describes(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() in (*RECORDS, *TABLES) and _names_sounds(path)
    if not path.is_dir():
        return False
    if any(_names_sounds(file) for file, _part in files_of(path, (*RECORDS, *TABLES))[:3]):
        return True
    there = [file for _number, file in zip(range(LOOKED_AT), path.rglob("*"), strict=False)]
    texts = {file.with_suffix("") for file in there if file.suffix.lower() == ".txt"}
    sounds = [file for file in there if audio.is_sound(file)]
    lines = any(file.name.endswith(LINES) for file in there)
    return bool(sounds) and (lines or any(file.with_suffix("") in texts for file in sounds))


def _names_sounds(path: Path) -> bool:
    names = {*map(name_of, columns(path)), *map(name_of, keys(path))}
    return bool(names & set(FILE) and names & set(TEXT))


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read recordings in the order of their names. Those without a text, damaged, shorter than 0.1
    s or longer than 30 s are skipped and reported. Raises UserError if none can be used."""
    if not path.exists():
        raise missing(path)
    folder = path if path.is_dir() else path.parent
    faults, kept, total = Faults(), list[tuple[Listed, Recording]](), 0.0
    listed = sorted(_listed(path, folder, faults), key=lambda one: natural(one.name))
    for done, one in enumerate(listed):
        if reading.progress:
            reading.progress(done, len(listed))
        try:
            if len(kept) == MOST_FILES or total > MOST_SECONDS:
                raise Fault("too many", _("beyond the first {count}").format(count=len(kept)))
            made = _recording(one, folder)
        except (UserError, Fault) as trouble:
            why = trouble.found if isinstance(trouble, UserError) else trouble.reason
            faults.add(one.name, trouble.code, why.removeprefix(f"{readable(one.path)}: "))
        else:
            kept.append((one, made))
            total += made.seconds
    if not kept:
        raise _none(path, faults)
    speaker, how = _speakers([one for one, _made in kept], reading.group)
    parts = [one.part for one, _made in kept]
    texts = [one.text for one, _made in kept]
    return Dataset(
        readable(path.name),
        ListColumn([made for _one, made in kept]),
        ListColumn(texts),
        (),
        [one.name for one, _made in kept],
        group=speaker,
        grouped=how,
        part=parts if any(parts) else (),
        skipped=faults.told(),
        augment=(),
        source=readable(path),
        columns={"language": [language(text) for text in texts]},
    )


def _recording(one: Listed, folder: Path) -> Recording:
    check_file(one.path, folder, audio.MOST_STREAMED, "unreadable")
    made = recordings.of(audio.mono(one.path, RATE))
    if not SHORTEST <= made.seconds <= LONGEST:
        raise Fault(
            "length",
            _("{seconds:.1f} s long; {low:g} to {high:g} s are used: cut it at pauses").format(
                seconds=made.seconds, low=SHORTEST, high=LONGEST
            ),
        )
    return made


def _listed(path: Path, folder: Path, faults: Faults) -> list[Listed]:
    """Return every recording that has a text, by table, by lines or by a text beside it."""
    tables = [pair for pair in files_of(path, (*RECORDS, *TABLES)) if _names_sounds(pair[0])]
    if tables:
        split = [pair for pair in tables if pair[1]]  # train.tsv, dev.tsv; not invalidated.tsv
        return list(_by_tables(split or tables, folder, faults))
    return list(_by_files(folder, faults))


def _by_tables(tables: list[tuple[Path, str]], folder: Path, faults: Faults) -> Iterator[Listed]:
    known: set[str] = set()
    for file, part in tables:
        read_in = table if file.suffix.lower() in TABLES else records
        for row in read_in(file, faults, part):
            values = {name_of(str(name)): each for name, each in row.thing.items()}
            try:
                name, text = _named(values)
            except Fault as fault:
                faults.add(row.place, fault.code, fault.reason)
                continue
            places = [folder / below / name for below in BESIDE]
            path = next((place for place in places if place.is_file()), places[0])
            if name in known:
                faults.add(row.place, "duplicate", _("the same file once more"))
                continue
            known.add(name)
            speaker = str(value(values, SPEAKER) or "")[:200]
            yield Listed(path, readable(name), text, speaker, row.part)


def _named(values: Mapping[str, Any]) -> tuple[str, str]:
    """Return the file and the text of a row. Raises Fault."""
    name = value(values, FILE)
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise Fault("missing", _("no file is named"))
    name = name.strip().replace("\\", "/")
    return name, " ".join(worded(value(values, TEXT), "text").split())


def _by_files(folder: Path, faults: Faults) -> Iterator[Listed]:
    found = {name: file for file, name in walk(folder, faults.skipped)}
    said = {}
    for name, file in found.items():
        if name.endswith(LINES):
            place = PurePosixPath(name).parent
            for line in _words(file, folder, name, faults).splitlines():
                key, _space, text = line.partition(" ")
                said[(place / key).as_posix()] = text
        elif name.lower().endswith(".txt"):
            stem = PurePosixPath(name).with_suffix("").as_posix()
            if any(stem + end in found for end in audio.FORMATS):
                said[stem] = _words(file, folder, name, faults)
    for name, file in found.items():
        if not audio.is_sound(name):
            continue
        path = PurePosixPath(name)
        text = " ".join(said.get(path.with_suffix("").as_posix(), "").split())
        try:
            worded(text, "text")
        except Fault as fault:
            faults.add(name, "no text", fault.reason)
            continue
        part = part_of(path.parts[0]) if len(path.parts) > 1 else ""
        yield Listed(file, name, text, "", part)


def _words(file: Path, folder: Path, name: str, faults: Faults) -> str:
    try:
        return read(file, folder)
    except UserError as trouble:
        faults.add(name, trouble.code, trouble.found)
        return ""


def _speakers(listed: list[Listed], wish: str | None) -> tuple[list[str], str]:
    """Return each recording's speaker and where the names are from; [] where none is known."""
    if wish == "none":
        return [], ""
    names = [one.name for one in listed]
    if wish is not None and name_of(wish) not in SPEAKER:
        found = patients.groups(names, [""] * len(names), wish)
        return found.names, found.how
    speakers, how = [one.speaker for one in listed], _("a column of the table")
    if not any(speakers):
        folders = [[p for p in PurePosixPath(n).parts[:-1] if not part_of(p)] for n in names]
        speakers, how = [place[0] if place else "" for place in folders], _("folders")
    if len(set(speakers) - {""}) < 2:
        return [], ""
    return speakers, how


def _none(path: Path, faults: Faults) -> UserError:
    first = next((f"{skip.file}: {skip.reason}" for skip in faults.skipped), "-")
    return UserError(
        "no recordings",
        _("{path} holds no recording with a text ({first})").format(path=readable(path), first=first),
        expected=_("sound files with a .txt beside each, or a CSV of file and text"),
        fix="data=synthetic_digits",
        exit=3,
    )
