"""A CSV that lists images: ``filename,label[,group][,part]``, files relative to the CSV.

Every further column is kept in ``Dataset.columns``: the site of a case, sex and age of the patient,
the device. Column names may be English or Japanese.
"""

import csv
import io
import os
import re
import unicodedata
from pathlib import Path
from typing import Any

from souron.data.dataset import Dataset, Skipped
from souron.data.formats.folder import PARTS, gather, missing
from souron.data.patients import COLUMN
from souron.data.readers.decoding import Listed
from souron.data.readers.settings import Reading
from souron.kinds.codecs.limits import printable, readable
from souron.utils.messages import UserError, _

# names normalised by ``key_of``: lower case, without spaces, hyphens and underscores
COLUMNS = {
    "file": ("filename", "file", "image", "path", "filepath", "imagepath", "ファイル", "ファイル名",
             "画像", "画像名", "画像ファイル", "パス"),
    "label": ("label", "class", "target", "ラベル", "クラス", "正解", "分類", "診断", "診断名"),
    "group": COLUMN,
    "part": ("part", "split", "分割", "区分"),
}  # fmt: skip
FURTHER = {
    "site": ("site", "hospital", "facility", "institution", "施設", "施設名", "病院", "病院名", "医療機関"),
    "sex": ("sex", "gender", "性別"),
    "age": ("age", "年齢"),
    "device": ("device", "machine", "scanner", "機種", "機器", "装置", "撮影装置"),
    "date": ("date", "日付", "撮影日", "検査日"),
}
DEFAULT = Reading()
MOST_FURTHER = 20  # columns
LONGEST = 200  # characters of a value in a further column
NOTHING = ("", "nan", "NaN", "NAN", "NA", "N/A", "#N/A", "<NA>", "None", "null", "NULL")
PARTS_JA = {"学習": "train", "訓練": "train", "検証": "val", "テスト": "test", "評価": "test"}
MOST_BYTES = 200_000_000


def describes(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".csv"


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images that a CSV lists, in its order. ``group`` may also name a column.

    ``scan.dcm#3`` is the third frame of a DICOM file.

    Rows whose file is missing, damaged, listed twice or outside the CSV's folder, or which have no
    label, are skipped and reported; placeholders of pandas and spreadsheets for missing values
    ("NaN", "None", "null", ...) are not labels. Of further columns the first 20 are kept. Raises
    UserError if the CSV cannot be read, lacks a column, or leaves fewer than two classes.
    """
    skipped: list[Skipped] = []
    rows = listing(path, reading.group, skipped, unlabelled=not reading.fewest_classes)
    return gather(path, path.parent, [row for row in rows if row.label] or rows, skipped, reading)


def listing(path: Path, group: str | None, skipped: list[Skipped], unlabelled: bool = False) -> list[Listed]:
    """Return the rows of a CSV that name a file and a label; no image is opened. Raises
    UserError.

    ``unlabelled``: also rows without a label, and a CSV without a column of labels.
    """
    if not path.is_file():
        raise missing(path)
    listed: dict[str, Listed] = {}
    for row in _rows(path, group, unlabelled):
        name = row["file"].strip()
        if not name:
            continue
        place, frame = find(path.parent, name), 0
        if (framed := re.fullmatch(r"(.+)#([1-9]\d{0,4})", name)) and not os.path.lexists(place):
            place, frame = find(path.parent, framed[1]), int(framed[2])
        file = readable(Path(os.path.relpath(place, path.parent)).as_posix())
        file += f"#{frame}" if frame else ""
        label, written = value_of(row["label"]), row["label"].strip()
        if not label and not unlabelled:
            why = _("the label is {label!r}").format(label=written) if written else ""
            skipped.append(Skipped(file, "no label", why or _("the label is empty")))
        elif file in listed:
            code = "duplicate" if listed[file].label == label else "label conflict"
            why = _("listed before, as {label!r}").format(label=listed[file].label)
            skipped.append(Skipped(file, code, why))
        else:
            further = {n: value_of(row[n])[:LONGEST] for n in row if n not in COLUMNS}
            part = part_of(value_of(row["part"]), path)
            group_of = value_of(row["group"])
            listed[file] = Listed(place, file, label, group_of, part, frame, further)
    return list(listed.values())


def _rows(path: Path, group: str | None, unlabelled: bool) -> list[dict[str, str]]:
    """Return rows with the keys of ``COLUMNS`` and the names of further columns, independent of the
    header's spelling."""
    text = text_of(path)
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restval="")
    try:
        rows = list(reader)
    except csv.Error as error:
        raise unreadable(path, str(error)) from error
    header = {key_of(name): name for name in reader.fieldnames or ()}
    names = {
        column: next((header[alias] for alias in aliases if alias in header), None)
        for column, aliases in COLUMNS.items()
    }
    if group is not None:  # another column, a pattern for the files' names, or none
        names["group"] = header.get(key_of(group))
    if names["file"] is None or (names["label"] is None and not unlabelled):
        raise UserError(
            "columns",
            _("{path} has the columns: {names}").format(path=readable(path), names=first.strip()[:200]),
            expected="filename,label[,group][,part]",
            fix=_("name the columns of images in the first line; of a table of numbers: {command}").format(
                command=f"souron train pca data={readable(path)}"
            ),
            exit=3,
        )
    wanted = names | _further(header, names)
    return [{c: row[name] if name else "" for c, name in wanted.items()} for row in rows]


def _further(header: dict[str, str], names: dict[str, str | None]) -> dict[str, str]:
    """Map our name to the CSV's for the columns beyond ``COLUMNS``. Further columns that identify
    patients are left out, since they would predict the label of all images of a patient after the
    first."""
    found: dict[str, str] = {}
    for key, name in header.items():
        known = next((ours for ours, aliases in FURTHER.items() if key in aliases), "")
        ours = unicodedata.normalize("NFC", name.strip())[:LONGEST]
        ours = known if known and known not in found else ours
        if key and name not in names.values() and key not in COLUMNS["group"] and ours not in names:
            found.setdefault(ours, name)
    return dict(list(found.items())[:MOST_FURTHER])


def key_of(name: str) -> str:
    """Normalise a column name: ``"Patient ID"`` equals ``"patient_id"``, ``"患者ＩＤ"`` equals
    ``"患者ID"``."""
    return re.sub(r"[\s_\-]", "", unicodedata.normalize("NFKC", name)).lower()


def value_of(text: Any) -> str:
    """Return a value in composed Unicode; "" for a placeholder of a missing value."""
    text = printable(unicodedata.normalize("NFC", text.strip()))
    return "" if text in NOTHING else text


def text_of(path: Path) -> str:
    if path.stat().st_size > MOST_BYTES:
        raise unreadable(path, _("over {count} MB").format(count=MOST_BYTES // 1_000_000))
    raw = path.read_bytes()
    try:
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            text = raw.decode("utf-16")
        else:
            text = _decoded(raw.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError as error:
        raise unreadable(path, _("neither UTF-8 nor Shift_JIS")) from error
    if "\0" in text:
        raise unreadable(path, _("neither UTF-8 nor Shift_JIS"))
    return text


def _decoded(raw: bytes) -> str:
    """Decode as UTF-8, else line by line as UTF-8 or Shift_JIS, for tables merged from both.

    The whole of such a file may be valid Shift_JIS by chance, with its UTF-8 decoded to nonsense;
    so UTF-8 is tried first for each line. It is rejected if it contains characters of two bytes,
    which Japanese does not use: half-width katakana in Shift_JIS can look like them.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(map(_line, raw.splitlines(keepends=True)))


def _line(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp932")
    return raw.decode("cp932") if re.search("[\u0080-\u07ff]", text) else text


def unreadable(path: Path, why: str) -> UserError:
    return UserError(
        "unreadable",
        _("{path} cannot be read as a CSV: {why}").format(path=readable(path), why=why),
        expected=_("text in UTF-8, separated by commas"),
        exit=3,
    )


def find(folder: Path, name: str) -> Path:
    """Find the file, allowing for backslashes and for another Unicode normalisation in the CSV."""
    spellings = [name, name.replace("\\", "/")]
    spellings += [unicodedata.normalize(form, spellings[1]) for form in ("NFC", "NFD")]
    places = [Path(os.path.normpath(folder / spelling)) for spelling in spellings]
    return next((place for place in places if os.path.lexists(place)), places[1])


def part_of(name: str, path: Path) -> str:
    known = PARTS | PARTS_JA
    if name and name.lower() not in known:
        raise UserError(
            "part",
            _("{path} names the part {name!r}").format(path=readable(path), name=name[:LONGEST]),
            expected="train, val, test",
            exit=3,
        )
    return known.get(name.lower(), "")
