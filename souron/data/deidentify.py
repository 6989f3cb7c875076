"""Find identifying attributes in DICOM files, and write a de-identified copy of a folder.

The attributes and their treatment are those of the Basic Application Level Confidentiality Profile,
as the package dicom-anonymizer lists them: DICOM PS3.15 (2026c), table E.1-1.
https://dicom.nema.org/medical/dicom/current/output/html/part15.html#table_E.1-1

Beyond the profile, unknown and private attributes are removed at every depth, every person name is
removed, and a retained text is emptied if it repeats the patient's name or number. The PatientID
becomes a pseudonym, so that a patient's files stay together; it is derived with a secret that stays
on this computer (``secret``), so that nobody who has the copy can test candidate IDs.

A CSV that names the files and their labels is rewritten: file, label, patient, part. Its other
columns are left out, as the profile removes dates, ages and institutions.
"""

import contextlib
import csv
import io
import os
import secrets as chance
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from souron.data.dataset import Dataset, Skipped
from souron.data.formats import csv_table
from souron.data.formats.folder import labelled, missing, natural, walk
from souron.data.readers.decoding import Listed
from souron.kinds.codecs import dicom, limits
from souron.kinds.codecs import image as image_codec
from souron.utils import files as file_utils
from souron.utils import units
from souron.utils.messages import UserError, _

EDITION = "dicomfields_2026c"
PRIVATE = "private attributes"
PATIENT_ID = 0x00100020
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture Image Storage
LIKELY = ("US", "XC", "SC")  # modalities whose images often contain text
DUMMIES = (
    "",
    "0",
    "ANONYMIZED",
    "000Y",
    "00010101",
    "000000.00",
    "00010101010101.000000+0000",
    "http://anonymized.invalid",
    "b'Anonymized'",
    "b''",
)
NEW_UID = "2.25."  # the root of random identifiers
TEXTS = ("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UT", "UR")  # value representations of text
SHORTEST = 4  # characters of a name or number that is searched for in other attributes


@dataclass
class Copied:
    """A summary of what ``anonymise`` did."""

    files: int = 0
    removed: Counter[str] = field(default_factory=Counter)  # keyword -> files that had it
    folders: list[str] = field(default_factory=list)  # whose names were kept
    skipped: list[Skipped] = field(default_factory=list)
    others: int = 0  # files that are not DICOM; left out
    tables: int = 0  # of labels, rewritten
    said_burned_in: int = 0  # files that declare burned-in text
    likely_burned_in: int = 0  # other files of modalities in which it is likely


@lru_cache
def actions() -> dict[tuple[int, ...], Callable[[Any, Any], None]]:
    """Map each tag to the profile's action. A tag with two masks after it stands for a range."""
    from dicomanonymizer.simpledicomanonymizer import initialize_actions

    return initialize_actions(EDITION)


def action(tag: Any) -> Callable[[Any, Any], None] | None:
    found = actions().get((tag.group, tag.element))
    if found is None:
        for each, act in _ranges():
            group, element, group_mask, element_mask = each
            if (tag.group & group_mask, tag.element & element_mask) == (group, element):
                return act
    return found


@lru_cache
def _ranges() -> list[tuple[tuple[int, ...], Callable[[Any, Any], None]]]:
    return [(tag, act) for tag, act in actions().items() if len(tag) == 4]


def identifying(dataset: Any) -> set[str]:
    """Return the keywords of the profile's attributes that have a value, at every depth;
    ``PRIVATE`` for private ones. The values themselves are never returned."""
    return set(_identifying(dataset, ""))


def _identifying(dataset: Any, within: str) -> Iterator[str]:
    for tag in list(dataset.keys()):
        if tag.is_private:
            yield PRIVATE
            continue
        try:
            element = dataset[tag]
            value, kind = element.value, element.VR
        except Exception:  # a damaged value is not a readable name
            continue
        name = within or (element.keyword if action(tag) else "")
        if kind == "SQ":
            for item in value:
                yield from _identifying(item, name)
        elif name and not _is_dummy(tag, value):
            yield name


def _is_dummy(tag: Any, value: Any) -> bool:
    shown = "" if value is None else str(value)
    if tag == PATIENT_ID and dicom.PSEUDONYM.fullmatch(shown):
        return True
    several = value if isinstance(value, list | tuple) else [shown]
    return shown in DUMMIES or all(str(each).startswith(NEW_UID) for each in several)


def held(cases: Dataset) -> dict[str, int]:
    """Count the files that hold each identifying DICOM attribute: keyword -> files, most frequent
    first."""
    source = Path(cases.source)
    if not cases.source or not source.exists():
        return {}
    root = source if source.is_dir() else source.parent
    paths = {image_codec.case_file(root, name).path for name in cases.file}
    count: Counter[str] = Counter()
    for path in sorted(paths):
        with contextlib.suppress(UserError, OSError), limits.quiet:
            if _is_dicom(path, root):
                count.update(identifying(dicom.read(path, pixels=False)))
    return dict(sorted(count.items(), key=lambda item: (-item[1], item[0])))


def _is_dicom(path: Path, root: Path) -> bool:
    with image_codec.opened(path, root) as file:
        return isinstance(file, dicom.File)


def secret_file() -> Path:
    """Return the path of the secret behind the pseudonyms: SOURON_SECRET, or a file in the user's
    data folder. The same secret gives a patient the same pseudonym in every copy."""
    own = os.environ.get("SOURON_SECRET")
    if own:
        return Path(own).expanduser()
    from platformdirs import user_data_path

    return user_data_path("souron") / "secret"


def secret() -> bytes:
    """Return the secret for pseudonyms; a random one is created if there is none."""
    file = secret_file()
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with file_utils.atomically(file) as beside:
            beside.touch(0o600)
            beside.write_text(chance.token_hex(32), encoding="ascii")
    return file.read_bytes().strip()[:64]


def anonymise(folder: Path, out: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Copied:
    """Write the DICOM images of ``folder`` to a new folder ``out`` without identifying attributes.
    The class and part folders keep their names, the files are numbered.

    ``folder`` is only read. Files that are not DICOM, and DICOM files without an image, are left
    out. Text within the images remains. Raises UserError if ``folder`` is missing, or ``out``
    exists or lies within ``folder``.
    """
    if not folder.is_dir():
        raise missing(folder)
    if out.exists() or out.is_symlink():
        raise UserError(
            "exists", _("{path} is there already").format(path=limits.readable(out)), expected=_("a new folder"), exit=5
        )
    if out.absolute().resolve().is_relative_to(folder.absolute().resolve()):
        raise UserError(
            "folder",
            _("{path} lies within the folder that is copied").format(path=limits.readable(out)),
            expected=_("a new folder elsewhere"),
        )
    done = Copied()
    names = sorted(walk(folder, done.skipped), key=lambda file: natural(file[1]))
    loose: list[Skipped] = []
    listed, inside = labelled(names, loose), {skipped.file for skipped in loose}
    listed += [Listed(path, file, "") for path, file in names if file in inside]
    key = secret()
    if out.resolve() in secret_file().resolve().parents:
        raise UserError(
            "folder",
            _("{path} would hold the secret behind the pseudonyms").format(path=limits.readable(out)),
            expected=_("a new folder elsewhere"),
        )
    out.mkdir(parents=True)
    copied: dict[str, str] = {}  # path -> name in the copy
    numbers: Counter[PurePosixPath] = Counter()
    for count, item in enumerate(listed, 1):
        place = PurePosixPath(item.part, item.label)
        number = numbers[place] + 1
        target = out / place / f"{number:06}.dcm"
        try:
            if not _is_dicom(item.path, folder):
                done.others += 1
            else:
                _copy(item.path, target, key, done)
                numbers[place] = number
                copied[os.path.normpath(item.path)] = target.relative_to(out).as_posix()
        except UserError as trouble:
            if trouble.code == "not an image":
                done.others += 1
            else:
                why = trouble.found.removeprefix(f"{limits.readable(item.path)}: ")
                done.skipped.append(Skipped(item.file, trouble.code, why))
        progress(count, len(listed))
    for path, _name in names:
        if path.suffix.lower() == ".csv" and copied:
            done.tables += _copy_table(path, out, copied, key, done.tables)
    done.others -= done.tables
    done.folders = sorted(str(place) for place in numbers if str(place) != ".")
    return done


def _copy_table(path: Path, out: Path, copied: dict[str, str], key: bytes, before: int) -> bool:
    """Rewrite a CSV if it holds the labels of copied files; return whether it was written."""
    try:
        listed = csv_table.listing(path, None, [])
    except UserError:  # a table with other content
        return False
    rows = []
    for item in listed:
        if name := copied.get(os.path.normpath(item.path)):
            name += f"#{item.frame}" if item.frame else ""
            rows.append([name, item.label, dicom.pseudonym(item.group, key), item.part])
    if not rows:
        return False
    used = [i for i in range(4) if any(row[i] for row in rows)]
    name = f"labels-{before + 1}.csv" if before else "labels.csv"
    with (out / name).open("x", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for row in (["filename", "label", "patient", "part"], *rows):
            writer.writerow([row[i] for i in used])
    return True


def _copy(path: Path, target: Path, key: bytes, done: Copied) -> None:
    """Copy one file; it is written only after all attributes were cleaned."""
    dataset = dicom.read(path)
    with dicom.translated(path):
        had = identifying(dataset)
        burned = dicom.text(dataset, "BurnedInAnnotation").upper() == "YES"
        likely = dicom.text(dataset, "Modality").upper() in LIKELY
        clean(dataset, key)
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        file.write(stream.getvalue())
    done.files += 1
    done.removed.update(had)
    done.said_burned_in += burned
    done.likely_burned_in += likely and not burned


def clean(dataset: Any, key: bytes) -> None:
    """Apply the profile to a pydicom dataset in place; ``key`` is the secret for the pseudonym."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, generate_uid

    secrets = _secrets(dataset)
    identity = dicom.pseudonym(dicom.text(dataset, "PatientID", 1000), key)
    how = dicom.syntax(dataset)
    _clean(dataset, secrets)
    dataset.PatientID = identity
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "DICOM PS3.15 Basic Application Level Confidentiality Profile"
    dataset.SOPInstanceUID = dataset.get("SOPInstanceUID") or generate_uid(None)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(how)
    meta.MediaStorageSOPClassUID = UID(dataset.get("SOPClassUID") or SECONDARY)
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta, dataset.preamble = meta, b"\0" * 128


def _secrets(dataset: Any) -> set[str]:
    """Return the patient's names and numbers in lower case."""
    found = {dicom.text(dataset, name) for name in ("PatientID", "AccessionNumber")}
    found |= set(dicom.text(dataset, "PatientName").replace("=", "^").replace(" ", "^").split("^"))
    return {secret.lower() for secret in found if len(secret) >= SHORTEST}


def _clean(dataset: Any, secrets: set[str]) -> None:
    for tag in list(dataset.keys()):
        if tag.is_private or tag.group in (0x0000, 0xFFFC) or tag.element == 0:
            del dataset[tag]
            continue
        try:
            element, act = dataset[tag], action(tag)
            unknown = element.VR == "UN" or not element.keyword
            if unknown and act is None:
                del dataset[tag]  # its content is unknown
                continue
            if act is not None:
                act(dataset, (tag.group, tag.element))
            if tag not in dataset:
                continue
            element = dataset[tag]
            if element.VR == "SQ":
                for item in element.value:
                    _clean(item, secrets)
            elif element.VR == "PN" or (element.VR in TEXTS and _repeats(element.value, secrets)):
                element.value = ""
        except Exception:  # damaged, or of a type without a dummy value
            if tag in dicom.PIXELS:
                raise
            del dataset[tag]


def _repeats(value: Any, secrets: set[str]) -> bool:
    said = str(value).lower()
    return any(secret in said for secret in secrets)


def counted(files: Mapping[str, int]) -> str:
    """Format counts of files per DICOM attribute, such as ``PatientName 3, PatientID 3``."""
    return ", ".join(f"{keyword} {units.whole(count)}" for keyword, count in sorted(files.items()))


def warnings(found: Any) -> list[str]:
    """Return warnings about identifying content that may remain in an anonymised copy."""
    from souron.data import deidentify

    told = []
    if found.said_burned_in:
        told.append(
            _("{count} files state that there is text in the image; it stays").format(
                count=units.whole(found.said_burned_in)
            )
        )
    if found.likely_burned_in:
        told.append(
            _(
                "{count} files are of kinds that often have text in the image (ultrasound, photos, "
                "screenshots); it stays: check them"
            ).format(count=units.whole(found.likely_burned_in))
        )
    if found.folders:
        told.append(_("the folder names are unchanged: make sure that they identify no one"))
    if found.files:
        told.append(
            _(
                "a PatientID became a pseudonym, made with the secret in {file}: keep it, and keep it out of the copy"
            ).format(file=deidentify.secret_file())
        )
    if found.tables:
        told.append(_("the labels are unchanged: make sure that they identify no one"))
    return told
