"""Pair volumes with their label maps, in common folder layouts.

    images/1.nii.gz  labels/1.nii.gz      also imagesTr/1_0000.nii.gz labelsTr/1.nii.gz
    p1/volume.nii.gz  p1/labels.nii.gz    also p1_ct.nrrd p1_seg.nrrd
    p1/ct/*.dcm  p1/seg/1.dcm             DICOM slices and a DICOM segmentation

The role of a file is inferred from its folder's name, or from the last word of its own; for DICOM
from its header. The names of a pair are equal apart from these words. A segmentation whose name
matches nothing belongs to the series that it refers to.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from souron.data.dataset import Skipped
from souron.data.formats.folder import PARTS, natural, walk
from souron.data.readers.box_annotations import many
from souron.kinds.codecs import dicom, limits, segmentation
from souron.utils.messages import UserError, _

SUFFIXES = (".nii.gz", ".nii", ".nrrd")
ROLES = {
    "volume": ("images", "image", "imgs", "img", "volumes", "volume", "imagestr", "imagests", "ct",
               "cts", "mr", "mri", "scan", "scans", "series", "dicom"),
    "labels": ("labels", "label", "labelstr", "labelsts", "masks", "mask", "seg", "segs",
               "segmentation", "segmentations", "organs", "gt"),
}  # fmt: skip
ROLE = {word: role for role, words in ROLES.items() for word in words}
CHANNEL = re.compile(r"_(\d{4})$")  # nnU-Net's channel number
MAP = re.compile(re.escape(segmentation.STORAGE).encode() + rb"(?![\d.])")
TESTED = ("imagests", "labelsts")  # nnU-Net's folders of test cases
MOST_LOOKED_AT = 3000  # files, examined to find volumes in a folder


class Pair(NamedTuple):
    """A volume that should become a case, and its labels."""

    file: str  # the volume's name in ``Dataset``
    volume: Path  # a file, or the folder of a series
    labels_file: str
    labels: Path
    part: str = ""


class Thing(NamedTuple):
    """A volume or a label map."""

    role: str
    file: str
    path: Path
    keys: tuple[str, ...]  # possible names, the most likely first
    part: str = ""


def described(folder: Path) -> bool:
    """Return whether there are volumes and labels among the first files."""
    roles: set[str] = set()
    for path, file in islice(walk(folder, []), MOST_LOOKED_AT):
        role = role_of(path, PurePosixPath(file))
        roles.update([role] if role else [])
        if len(roles) == 2:
            return True
    return False


def role_of(path: Path, file: PurePosixPath) -> str:
    """Return the role of a file: "volume", "labels", or "" for other files."""
    name = file.name.lower()
    if name.endswith(SUFFIXES):
        role, _place = _foldered(file)
        return role or ROLE.get(_words(_stem(file))[-1].lower(), "")
    if file.suffix.lower() in limits.DICOM or not _has_suffix(file):
        begins = _begins(path)
        if begins[128:132] == b"DICM":
            return "labels" if MAP.search(begins) else "volume"
    return ""


def _begins(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as stream:
            return stream.read(1024)
    except OSError:
        return b""


def _has_suffix(file: PurePosixPath) -> bool:
    return re.fullmatch(r"\.[A-Za-z]\w{0,9}", file.suffix) is not None


def _stem(file: PurePosixPath) -> str:
    name = file.name
    end = next((end for end in SUFFIXES if name.lower().endswith(end)), file.suffix)
    return name[: len(name) - len(end)] if end else name


def _words(stem: str) -> list[str]:
    return re.split(r"[_\-. ]", CHANNEL.sub("", stem))


def _foldered(file: PurePosixPath) -> tuple[str, int]:
    """Return the role of the last folder that names one, and its index."""
    for place in range(len(file.parts) - 2, -1, -1):
        if role := ROLE.get(file.parts[place].lower()):
            return role, place
    return "", -1


def _keys(file: PurePosixPath, role: str, slices: bool) -> tuple[str, ...]:
    """Return the possible names of a file, without the folder and the word that tell its role, and
    with the folder; for slices those of their folder."""
    named, place = _foldered(file)
    above, stem = list(file.parts[:-1]), _stem(file)
    folders = [above]
    if place >= 0 and named == role:
        folders.insert(0, above[:place] + above[place + 1 :])
    if slices:
        return tuple("/".join(folder) for folder in folders)
    plain = CHANNEL.sub("", stem) if role == "volume" else stem
    ends = [[plain], [stem]]
    word = _words(plain)[-1]
    if ROLE.get(word.lower()) == role:
        rest = plain[: len(plain) - len(word)].rstrip("_-. ")
        ends.append([rest] if rest else [])
    elif role == "labels":
        ends.append([])
    keys = ["/".join([*folder, *end]) for folder in folders for end in ends]
    return tuple(dict.fromkeys(keys))


def _part(file: PurePosixPath) -> str:
    folders = [name.lower() for name in file.parts[:-1]]
    if set(folders) & set(TESTED):
        return "test"
    return next((PARTS[name] for name in folders if name in PARTS), "")


def found(folder: Path, told: list[Skipped]) -> list[Pair]:
    """Return the pairs, matched by name. Files without a partner are reported."""
    volumes, labels = _things(folder, told)
    by_key: dict[str, Thing] = {}
    for one in volumes:
        for key in one.keys:
            by_key.setdefault(key, one)
    pairs: dict[str, Pair] = {}
    for one in labels:
        volume = next((by_key[key] for key in one.keys if key in by_key), None)
        volume = volume or _referred(one, volumes)
        if volume is None:
            told.append(Skipped(one.file, "missing", _("no volume has this name")))
        elif volume.file in pairs:
            why = _("another file has its name: {file}").format(file=pairs[volume.file].labels_file)
            told.append(Skipped(one.file, "duplicate", why))
        else:
            part = one.part or volume.part
            pairs[volume.file] = Pair(volume.file, volume.path, one.file, one.path, part)
    lonely = [one.file for one in volumes if one.file not in pairs]
    tested = [name for name in lonely if _part(PurePosixPath(name)) == "test"]
    told += many(tested, "no labels", _("{count} test volumes without labels"))
    for name in lonely:
        if name not in tested:
            told.append(Skipped(name, "no labels", _("no labels have this name")))
    made = sorted(pairs.values(), key=lambda pair: natural(pair.file))
    if any(pair.part == "test" for pair in made):
        made = [pair._replace(part=pair.part or "train") for pair in made]
    return made


def _things(folder: Path, told: list[Skipped]) -> tuple[list[Thing], list[Thing]]:
    """Return volumes and label maps; the slices of one folder are one volume."""
    every: dict[str, list[Thing]] = {"volume": [], "labels": []}
    seen: dict[str, str] = {}
    for path, file in sorted(walk(folder, told), key=lambda one: natural(one[1])):
        place = PurePosixPath(file)
        role = role_of(path, place)
        if not role:
            if place.name.lower().endswith(SUFFIXES):
                told.append(Skipped(file, "no role", _("neither among the volumes nor the labels")))
            continue
        slices = role == "volume" and not place.name.lower().endswith(SUFFIXES)
        if slices:
            file, path = place.parent.as_posix(), path.parent
            if file in seen:
                continue
        keys = _keys(place, role, slices)
        channel = CHANNEL.search(_stem(place))
        if role == "volume" and channel and int(channel[1]) > 0:
            why = _("another channel: the first alone is read")
            told.append(Skipped(file, "channel", why))
            continue
        if (role + keys[0]) in seen:
            why = _("another file has its name: {file}").format(file=seen[role + keys[0]])
            told.append(Skipped(file, "duplicate", why))
            continue
        seen[role + keys[0]] = seen[file] = file
        every[role].append(Thing(role, file, path, keys, _part(place)))
    return every["volume"], every["labels"]


def _referred(one: Thing, volumes: Sequence[Thing]) -> Thing | None:
    """Return the series that a segmentation refers to."""
    if one.path.name.lower().endswith(SUFFIXES):
        return None
    try:
        uid = segmentation.referred(one.path)
    except UserError:
        return None
    return next((each for each in volumes if uid and uid in set(_series(each.path))), None)


def _series(folder: Path) -> Iterator[str]:
    """Yield the UID of the series in a folder, from its first file."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if role_of(path, PurePosixPath(path.name)) == "volume":
            try:
                yield dicom.text(dicom.read(path, pixels=False), "SeriesInstanceUID")
            except UserError:
                continue
            return
