"""Images with captions: a ``metadata.jsonl`` that names them, or a ``.txt`` beside each image.

    metadata.jsonl      {"file_name": "1.jpg", "text": "a red bird on grass"}
                        {"file_name": "1.jpg", "text_ja": "草の上の赤い鳥", "caption_en": "..."}
                        {"file_name": "2.jpg", "captions": ["...", "..."], "language": "en"}
    3.jpg   3.txt       several lines are several captions
    train/  val/  test/ parts, each with its own files, or one metadata.jsonl above them

A caption's language is given by its column or ``language``, else inferred from its characters. What
cannot be used is listed in ``Dataset.skipped`` with the name of its file and line.
"""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from souron.data.dataset import Dataset, ListColumn, Skipped
from souron.data.readers import image_rows
from souron.data.readers.box_annotations import is_image
from souron.data.readers.decoding import Listed
from souron.data.readers.image_rows import Found
from souron.data.readers.settings import Reading
from souron.data.readers.text_files import beginning
from souron.data.readers.text_files import read as text_in
from souron.data.targets.captions import LONGEST, Caption, language_of
from souron.data.texts import Fault, worded
from souron.kinds.codecs.limits import check_file, readable
from souron.utils.messages import UserError, _

DEFAULT = Reading()
COLUMNS = ("text", "caption", "captions", "texts", "prompt", "sentence", "sentences", "alt", "キャプション", "説明")
LANGUAGES = {
    "en": "en",
    "eng": "en",
    "english": "en",
    "英語": "en",
    "ja": "ja",
    "jp": "ja",
    "jpn": "ja",
    "japanese": "ja",
    "日本語": "ja",
}
SPOKEN = {f"{column}{ending}": code for column in (*COLUMNS, "") for ending, code in LANGUAGES.items()}
MOST = 100  # captions of an image
MOST_BYTES = 1_000_000  # of a text beside an image
OTHERS = ("classes", "labels", "readme", "license", "licence", "requirements")  # texts that are not captions


def describes(path: Path) -> bool:
    """Return whether a path is a folder, or a ``metadata.jsonl``, with captions."""
    if image_rows.has_metadata(path, (*COLUMNS, *SPOKEN)):
        return True
    if not path.is_dir():
        return False
    there = list(image_rows.entries(path))
    texts = {file.with_suffix("") for file in there if file.suffix.lower() == ".txt"}
    beside = (f.with_suffix(".txt") for f in there if is_image(f.name) and f.with_suffix("") in texts)
    text = next((file for file in beside if file.is_file()), None)
    return text is not None and any(map(str.isalpha, beginning(text)))  # numbers are boxes


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read images in the order of their names, each with its captions. Images without a caption,
    captions without an image, empty captions and invalid lines are skipped and reported; long
    captions are cut. Raises UserError if no image with a caption can be used."""
    found = image_rows.look(path)
    captions, groups, parts = _told(found)
    for file, text in _beside(found):
        captions.setdefault(file, []).extend(_in_text(file, text, found))
    captions = {file: kept for file, given in captions.items() if (kept := _once(given))}
    without = [file for file in found.images if file not in captions]
    known = {skip.file for skip in found.skipped}
    found.skipped += [Skipped(file, "no caption", _("no caption")) for file in without if file not in known]
    listed = [
        Listed(found.below[file], file, "", groups.get(file, ""), parts.get(file) or image_rows.part_of(file))
        for file in found.images
        if file in captions
    ]
    cases = image_rows.read(path, listed, found.skipped, reading, lambda why: _nothing(path, why))
    target = [tuple(captions[_image(file, captions)]) for file in cases.file]
    # mirroring would make "left" in a caption wrong
    return replace(cases, target=ListColumn(target), augment=("shift",))


def _image(file: str, captions: Mapping[str, Any]) -> str:
    """Return the name of the file without the number of a frame."""
    return file if file in captions else file.rpartition("#")[0]


def _told(found: Found) -> tuple[dict[str, list[Caption]], dict[str, str], dict[str, str]]:
    """Return the captions, group and part of each image according to the metadata files."""
    captions: dict[str, list[Caption]] = {}
    groups: dict[str, str] = {}
    parts: dict[str, str] = {}
    for row in found.rows:
        groups.setdefault(row.file, image_rows.group_of(row.values))
        parts.setdefault(row.file, row.part)
        given = list(_given(row.values))
        if not given:
            found.skipped.append(Skipped(row.place, "no caption", _("no caption: text")))
        for text, language in given:
            captions.setdefault(row.file, []).extend(_caption(text, language, row.place, found))
    return captions, groups, parts


def _given(values: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield the captions of a line, each with its declared language."""
    wide = LANGUAGES.get(str(values.get("language") or "").strip().lower()[:40], "")
    for name in (*COLUMNS, *SPOKEN):
        value = values.get(name)
        every = value if isinstance(value, list) else [value]
        for each in every[: MOST + 1]:
            language = SPOKEN.get(name, wide)
            if isinstance(each, dict):
                language = LANGUAGES.get(str(each.get("language", ""))[:40].lower(), language)
                each = each.get("text", each.get("caption"))
            if each is not None:
                yield each, language


def _caption(text: Any, language: str, place: str, found: Found) -> Iterator[Caption]:
    """Yield the caption in one line; faults are reported."""
    try:
        line = " ".join(worded(text).split())
    except Fault as fault:
        code = "no caption" if fault.code == "empty" else fault.code
        found.skipped.append(Skipped(place, code, fault.reason))
        return
    if len(line) > LONGEST:
        found.skipped.append(
            Skipped(
                place, "cut", _("a caption of {count} characters, cut to {most}").format(count=len(line), most=LONGEST)
            )
        )
        line = line[:LONGEST].strip()
    yield Caption(line, language or language_of(line))


def _once(captions: list[Caption]) -> list[Caption]:
    """Remove repeated texts, and keep at most ``MOST``."""
    seen: dict[str, Caption] = {}
    for caption in captions:
        seen.setdefault(caption.text, caption)
    return list(seen.values())[:MOST]


def _beside(found: Found) -> Iterator[tuple[str, str]]:
    """Yield each image's name and the name of the text beside it; texts without an image are
    reported."""
    stems = {posixpath.splitext(file)[0]: file for file in reversed(found.images)}
    texts = [file for file in found.below if file.lower().endswith(".txt")]
    for text in sorted(texts):
        stem = posixpath.splitext(text)[0]
        if stem in stems:
            yield stems[stem], text
        elif PurePosixPath(stem).name.lower() not in OTHERS:
            found.skipped.append(Skipped(text, "missing", _("no image has this name")))


def _in_text(file: str, text: str, found: Found) -> Iterator[Caption]:
    path = found.below[text]
    try:
        check_file(path, found.folder, MOST_BYTES, "unreadable")
        lines = [line for line in text_in(path).splitlines() if line.strip()]
    except UserError as trouble:
        why = trouble.found.removeprefix(f"{readable(path)}: ")
        code = "no caption" if trouble.code == "empty file" else trouble.code
        found.skipped.append(Skipped(text, code, why))
        return
    if not lines:
        found.skipped.append(Skipped(text, "no caption", _("the file is empty")))
    for number, line in enumerate(lines[:MOST], 1):
        yield from _caption(line, "", f"{text}:{number}", found)


def _nothing(path: Path, why: str) -> UserError:
    return UserError(
        "no captions",
        _("{folder} holds no image with a caption ({first})").format(folder=readable(path), first=why)
        if why
        else _("{folder} holds no image with a caption").format(folder=readable(path)),
        expected=_("images with a metadata.jsonl, or a .txt beside each"),
        fix='{"file_name": "1.jpg", "text": "..."}',
        exit=3,
    )
