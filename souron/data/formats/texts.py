"""Plain texts: a ``.txt`` or ``.md`` file, a folder of them, or JSONL with ``{"text": ...}``.

A long text is split into consecutive pieces of about 6 000 characters, one case each: ``book.md#3``
is the third. If there are enough documents, the pieces of one stay together in a split. Folders
``train``, ``val`` and ``test`` are parts.
"""

from pathlib import Path, PurePosixPath

from souron.data.formats.folder import NAMED, missing, natural, walk
from souron.data.readers.settings import Reading
from souron.data.readers.text_files import (
    RECORDS,
    Dataset,
    Faults,
    Located,
    any_file,
    files_of,
    gathered,
    keys,
    made,
    part_of,
    read,
    records,
    value,
)
from souron.data.texts import Fault, pieces, worded
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

DEFAULT = Reading()
SUFFIXES = (".txt", ".md")
ENOUGH = 20  # documents, from which on test documents are kept separate from training documents
IMAGES = NAMED | {".nii", ".gz", ".nrrd", ".mha", ".npy", ".mp4"}
MOST_LOOKED_AT = 500  # entries of a folder, examined to determine its content


def describes(path: Path) -> bool:
    if path.is_dir() and has_texts(path):
        return True
    return path.suffix.lower() in SUFFIXES if path.is_file() else any_file(path, RECORDS, _plain)


def _plain(path: Path) -> bool:
    found = keys(path)
    others = {"label", "class", "messages", "chosen", "source", "file_name"}
    return "text" in found and not found & others


def has_texts(folder: Path) -> bool:
    """Return whether a folder has texts, and no images, among its first entries."""
    places, looked, found = [folder], 0, False
    while places and looked < MOST_LOOKED_AT:
        for place in sorted(places.pop(0).iterdir()):
            looked += 1
            if place.suffix.lower() in IMAGES:
                return False  # texts beside images belong to them
            found = found or (place.suffix.lower() in SUFFIXES and place.is_file())
            if place.is_dir() and not place.is_symlink():
                places.append(place)
    return found


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read plain texts. Files that are not text, empty, or outside of the folder are skipped and
    reported. Raises UserError if none can be used."""
    if not path.exists():
        raise missing(path)
    faults, found, documents = Faults(), [], []
    recorded = path.suffix.lower() in RECORDS or (path.is_dir() and not has_texts(path))
    for name, text, part in _recorded(path, faults) if recorded else _files(path, faults, reading):
        cut = pieces(text)
        for number, piece in enumerate(cut, 1):
            found.append(Located(f"{name}#{number}" if len(cut) > 1 else name, piece, part))
            documents.append(name)
    enough = len(set(documents)) >= ENOUGH and len(set(documents)) < len(documents)
    return gathered(
        readable(path.name),
        found,
        faults,
        source=readable(path),
        group=documents if enough else (),
        grouped=_("the files' names") if enough else "",
    )


def _files(path: Path, faults: Faults, reading: Reading) -> list[tuple[str, str, str]]:
    """Return name, text and part of each file."""
    listed = [(path, readable(path.name))] if path.is_file() else list(walk(path, faults.skipped))
    listed = [one for one in listed if one[0].suffix.lower() in SUFFIXES]
    found = []
    for done, (file, name) in enumerate(sorted(listed, key=lambda one: natural(one[1]))):
        if reading.progress:
            reading.progress(done, len(listed))
        try:
            text = worded(read(file, path if path.is_dir() else None))
        except UserError as trouble:
            faults.add(name, trouble.code, trouble.found)
        except Fault as fault:
            faults.add(name, fault.code, fault.reason)
        else:
            found.append((name, text, part_of(PurePosixPath(name).parts[0])))
    return found


def _recorded(path: Path, faults: Faults) -> list[tuple[str, str, str]]:
    found = []
    for file, part in files_of(path, RECORDS):
        told = made(records(file, faults, part), lambda row: worded(value(row, ("text",))), faults)
        found += [(one.place, one.thing, one.part) for one in told]
    return found
