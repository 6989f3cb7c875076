"""Check a folder of images for faults that would spoil a result, before anything is trained.

Each finding has a stable code, names the files concerned and says what to do. The data itself is
not changed: ``manifest`` writes a new table without the faulty cases.
"""

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL.ExifTags import IFD, Base
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional as F

from souron.data import (
    burned_in_text,
    duplicates,
    load,
    orientation,
    patients,
    recording_check,
    recordings,
    splits,
    text_check,
    texts,
    wrong_labels,
)
from souron.data.dataset import Dataset, ListColumn, digests
from souron.data.findings import Checkup, Finding, differing, in_order, of_rows, together
from souron.data.instances import Instances
from souron.kinds.codecs import image as pictures
from souron.utils import files as file_utils
from souron.utils import units
from souron.utils.messages import UserError, _

SIDE = 64  # pixels at which images are compared
MOST_COMPARED = 20_000  # images
TINY = 10  # cases of a class, too few to measure anything
UNEVEN = 10.0  # ratio of the largest class to the smallest
ODD = 4.0  # times larger or smaller than the median image
LARGE = 16  # pixels of a mask that is large enough to show a shape
FULL, TWICE = 0.98, 0.9  # share of a box that its mask fills; IoU of two masks of one object
OFTEN, GIVEN_AWAY = 5, 0.75  # times a question is asked, and the share answered by its words
MANY, SPECK = 0.5, 0.02  # share of boxes with one fault; share of the side that is a speck
COARSE = 12  # pixels a side
MOST_LABELS = 2000  # images whose labels are checked; more would take minutes
TELLS = 0.6  # of the way from chance to certainty: from there on a feature alone is suspicious
FOLDS = 5
BROKEN = ("truncated", "unreadable", "empty file", "too large", "missing", "outside",
          "no decoder", "no scale", "window")  # fmt: skip
MOST_NAMED = 5  # patients or classes in several spellings, that are listed
MOST_READ = 400  # images that are searched for characters
LONGEST = 200  # characters of a header value
DATE = re.compile(r"(\d{4})[-/.:年](\d\d?)[-/.:月](\d\d?)(?!\d)")


@dataclass(frozen=True)
class File:
    """Properties of a file that are independent of its content: they should not predict
    the label."""

    width: int
    height: int
    bytes: int
    colours: int  # 1 grey, 3 colour
    day: float  # of the last change
    kind: str  # ".jpg"
    camera: str  # maker and model, from the header
    taken: str  # date and time, from the header: "2024:05:01 12:00:00"


def coarse_pixels(image: Tensor) -> Tensor:
    """Downscale images (N, C, H, W) to features (N, D): a fallback when no network is available."""
    size = (COARSE, COARSE)
    return F.interpolate(image.float(), size, mode="bilinear", antialias=True).flatten(1)


def check(
    data: str | Path,
    group: str | None = None,
    watch: Callable[[str, float], None] = lambda doing, part: None,
    window: str | None = None,
    formats: Sequence[str] = load.FORMATS,
    embed: Callable[[Tensor], Tensor] = coarse_pixels,
) -> Checkup:
    """Check a folder, a CSV or a ``data.yaml``. ``watch`` is called with the current step and the
    progress in 0..1; ``window`` is the range of grey values for DICOM (see ``dicom.Window``);
    ``embed`` maps images (N, C, H, W) in 0..255 to features (N, D), which are used to find wrong
    labels. Raises UserError if nothing can be read at all.
    """
    text = _("reading the images")
    watch(text, 0.0)
    cases = load.load(
        Path(data), SIDE, group, window, progress=lambda done, total: watch(text, done / total),
        formats=formats,
    )  # fmt: skip
    if cases.volumes:
        found = Checkup(cases, len(cases) + len(cases.skipped))
        found.findings = in_order([_broken(cases), _patients(cases), _volumes(cases)])
        return found
    if texts.holds(cases):
        found = Checkup(cases, len(cases) + len(cases.skipped))
        found.findings = in_order(text_check.found(cases, root(cases)))
        return found
    if recordings.holds(cases):
        found = Checkup(cases, len(cases) + len(cases.skipped))
        found.findings = in_order(recording_check.found(cases))
        return found
    if not cases.pictures:
        raise UserError(
            "no image",
            _("{data} has no images").format(data=data),
            expected=_("a folder of images, or a CSV that names them"),
            fix=f"souron data {data}",
            exit=3,
        )
    found = Checkup(cases, len(cases) + len(cases.skipped))
    watch(_("looking for copies"), 0.0)
    alike = duplicates.near(cases.stored) if len(cases) <= MOST_COMPARED else []
    altered: list[tuple[int, int]] = []
    if len(cases) <= MOST_COMPARED:
        watch(_("looking for rotated copies"), 0.0)
        identical = list(enumerate(splits.same_picture(cases, alike)))
        altered = duplicates.altered(cases.stored, identical)
    watch(_("reading the files' headers"), 0.0)
    about = list(headers(cases))
    parts: list[Iterable[Finding]] = [
        _broken(cases), _copies(cases, alike), _altered(cases, altered), _patients(cases),
        _sizes(cases, about), _lettering(cases, watch),
    ]  # fmt: skip
    if cases.labels is not None:
        parts += [
            _spellings(cases), _balance(cases), _shortcuts(cases, about, watch),
            _wrong_labels(cases, embed, watch),
        ]  # fmt: skip
    if cases.has_captions:
        parts.append(_captions(cases))
    elif cases.has_picture_questions:
        parts.append(_questions(cases))
    elif isinstance(cases.target, ListColumn):
        parts.append(_boxes(cases))
        parts.append(_masks(cases))
    found.findings = in_order(parts)
    return found


def root(cases: Dataset) -> Path:
    """Return the folder that the files' names are relative to."""
    source = Path(cases.source)
    return source if source.is_dir() else source.parent


def headers(cases: Dataset) -> Iterator[File | None]:
    folder = root(cases)

    def look(name: str) -> File | None:
        path, _frame = pictures.case_file(folder, name)
        try:
            about, seen = path.stat(), pictures.look(path, folder)
            colours = 1 if seen.grey else 3
            return File(*seen.size, about.st_size, colours, about.st_mtime / 86400,
                        path.suffix.lower(), *_camera_of(path, folder))  # fmt: skip
        except (UserError, OSError):
            return None

    with ThreadPoolExecutor() as pool:
        yield from pool.map(look, cases.file)


def _camera_of(path: Path, folder: Path) -> tuple[str, str]:
    """Return camera and date; both empty for DICOM, whose device and date are columns of
    the cases."""
    try:
        with pictures.opened(path, folder) as image:
            return _camera(image) if isinstance(image, Image) else ("", "")
    except UserError:
        return "", ""


def _camera(image: Image) -> tuple[str, str]:
    """Return camera and date from the header's EXIF; the location (GPS) is not read."""
    if image.format == "PNG" and "exif" not in image.info:
        return "", ""  # Pillow would decode the whole image to look behind the pixels
    try:
        exif = image.getexif()
        told = [exif.get(Base.Make), exif.get(Base.Model)]
        date = exif.get_ifd(IFD.Exif).get(Base.DateTimeOriginal) or exif.get(Base.DateTime)
    except pictures.DAMAGE:
        return "", ""
    camera = " ".join(str(name).strip("\0 ")[:LONGEST] for name in told if name)
    return camera, str(date or "")[:LONGEST]


def _broken(cases: Dataset) -> Iterator[Finding]:
    by_code: dict[str, list[str]] = defaultdict(list)
    for skipped in cases.skipped:
        by_code[skipped.code].append(skipped.file)
    fixes = {
        "no label": _("a label for each; cases without one are left out"),
        "duplicate": _("nothing: each counts once"),
        "label conflict": _("look at them and decide; the first label counts until then"),
        "no caption": _("a caption for each; images without one are left out"),
        "cut": _("a shorter caption: the first words matter most"),
        **dict.fromkeys(BROKEN, _("copy them again from their source, or remove them")),
    }
    for code, files in sorted(by_code.items()):
        yield Finding(
            code,
            "error" if code in (*BROKEN, "label conflict") else "hint",
            tuple(files),
            (
                _("1 file cannot be used ({code})")
                if len(files) == 1
                else _("{count} files cannot be used ({code})")
            ).format(count=len(files), code=code),
            fixes.get(code, _("nothing, if they are not images of the data")),
        )


def _copies(cases: Dataset, alike: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    same = together(splits.same_picture(cases))
    known = set(same)
    near = [rows for rows in together(splits.same_picture(cases, alike)) if rows not in known]
    yield from of_rows(
        cases, "duplicates", "warning", same,
        _("{count} images occur more than once, identical to the pixel"),
        _("keep one of each (a cleaned table does)"), count=sum(len(rows) - 1 for rows in same),
        one=_("1 image occurs more than once, identical to the pixel"),
    )  # fmt: skip
    yield from of_rows(
        cases, "near duplicates", "warning", near,
        _("{count} images are copies of others, re-encoded, resized or brightened"),
        _("keep one of each (a cleaned table does)"), count=sum(len(rows) - 1 for rows in near),
        one=_("1 image is a copy of another, re-encoded, resized or brightened"),
    )  # fmt: skip
    named = [tuple(row for row in rows if cases.group[row]) for rows in [*same, *near]
             if cases.group]  # fmt: skip
    yield from of_rows(
        cases, "copies of patients", "error", differing(named, cases.group),
        _("{count} images occur under more than one patient: a leak, or a wrong number"),
        _("find out which patient each belongs to, and give all copies that one"),
        one=_("1 image occurs under more than one patient: a leak, or a wrong number"),
    )  # fmt: skip
    conflicts = differing([*same, *near], cases.labels or [0] * len(cases))
    yield from of_rows(
        cases, "label conflict", "error", conflicts,
        _("{count} images have copies with another label"),
        _("look at them and decide; a cleaned table leaves them all out"),
        count=sum(map(len, conflicts)),
    )  # fmt: skip
    yield from of_rows(
        cases, "leak", "error", differing([*same, *near], cases.part),
        _("{count} images are in more than one of train, val and test"),
        _("move each with its copies into one part"),
        one=_("1 image is in more than one of train, val and test"),
    )  # fmt: skip


def _altered(cases: Dataset, pairs: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    yield from of_rows(
        cases, "rotated copies", "warning", pairs,
        _("{count} images are rotated, mirrored, inverted or framed copies of others"),
        _("keep one of each; souron alters training images itself: augment=mirror,rotate"),
        one=_("1 image is a rotated, mirrored, inverted or framed copy of another"),
    )  # fmt: skip
    yield from of_rows(
        cases, "rotated leak", "error", differing(pairs, cases.part),
        _("{count} images are in one of train, val and test, and an altered copy in another"),
        _("move each with its copies into one part"),
        one=_("1 image is in one of train, val and test, and an altered copy in another"),
    )  # fmt: skip


def _spellings(cases: Dataset) -> Iterator[Finding]:
    label = [cases.classes[c] for c in cases.target.tolist()]
    yield from _several_spellings(
        cases, "patient spellings", cases.group,
        _("{count} patients may occur in several spellings: {names}"),
        _("one spelling for each; until then each counts as a separate patient"),
        _("1 patient may occur in several spellings: {names}"),
    )  # fmt: skip
    yield from _several_spellings(
        cases, "class spellings", label,
        _("{count} classes may occur in several spellings: {names}"),
        _("one spelling for each; until then each counts as a separate class"),
        _("1 class may occur in several spellings: {names}"),
    )  # fmt: skip


def _several_spellings(
    cases: Dataset, code: str, names: Sequence[str], message: str, fix: str, one: str
) -> Iterator[Finding]:
    spelled: dict[str, dict[str, int]] = defaultdict(dict)  # names, each with its first row
    for row, name in enumerate(names):
        if name:
            spelled[patients.spelling(name)].setdefault(name, row)
    several = [rows for rows in spelled.values() if len(rows) > 1]
    shown = [" = ".join(rows) for rows in several[:MOST_NAMED]]
    yield from of_rows(
        cases, code, "warning", [tuple(rows.values()) for rows in several], message, fix, one=one,
        names=", ".join(shown) + (", ..." if len(several) > MOST_NAMED else ""),
    )  # fmt: skip


def _patients(cases: Dataset) -> Iterator[Finding]:
    if not cases.group:
        yield Finding(
            "no groups", "hint", (),
            _("nothing says which images are of one patient; each counts as a case of its own"),
            cases.question or _("a column named patient in a CSV, or group=PATTERN"),
        )  # fmt: skip
        return
    yield from of_rows(
        cases, "no patient", "hint", [(row,) for row, name in enumerate(cases.group) if not name],
        _("{count} images name no patient; each counts as a case of its own"),
        _("a name like the others', if they are of a patient"),
        one=_("1 image names no patient; it counts as a case of its own"),
    )  # fmt: skip
    families = together([name or row for row, name in enumerate(cases.group)])
    label = cases.labels
    if label is None:
        return
    yield from of_rows(
        cases, "patient leak", "error", differing(families, cases.part),
        _("{count} patients are in more than one of train, val and test"),
        _("give all images of a patient to one part, or define no parts: souron then splits the "
          "data"),
        one=_("1 patient is in more than one of train, val and test"),
    )  # fmt: skip
    yield from of_rows(
        cases, "patient in classes", "hint", differing(families, label),
        _("{count} patients have images in more than one class"),
        _("nothing, if that is how it is (left and right, before and after)"),
        one=_("1 patient has images in more than one class"),
    )  # fmt: skip
    seen = {(c, name or row) for row, (c, name) in enumerate(zip(label, cases.group, strict=True))}
    number = Counter(c for c, _name in seen)
    few = [name for c, name in enumerate(cases.classes) if number[c] < FOLDS]
    if few:
        yield Finding(
            "few patients", "warning", (),
            _("fewer than {count} patients in: {labels}").format(
                count=FOLDS, labels=", ".join(few)),
            _("more patients; more images of the same ones help little"),
        )  # fmt: skip


def _balance(cases: Dataset) -> Iterator[Finding]:
    counts = Counter(cases.target.tolist())
    tiny = [cases.classes[c] for c, count in counts.items() if count < TINY]
    if tiny:
        yield Finding(
            "tiny class", "warning", (),
            _("fewer than {count} images in: {labels}").format(
                count=TINY, labels=", ".join(sorted(tiny))),
            _("more images, or join classes"),
        )  # fmt: skip
    most, least = max(counts.values()), min(counts.values())
    if most >= UNEVEN * least:
        yield Finding(
            "imbalance", "warning", (),
            _("the largest class has {most} images, the smallest {least}").format(
                most=most, least=least),
            _("read sensitivity class by class, not accuracy"),
        )  # fmt: skip


def _captions(cases: Dataset) -> Iterator[Finding]:
    """Find captions that describe nothing particular, because all or most images share them."""
    said = Counter(caption.text for captions in cases.target for caption in {*captions})
    if len(cases) > 1 and len(set(cases.target)) == 1:
        yield Finding(
            "one caption", "warning", (),
            _("all {count} images have the same caption").format(count=len(cases)),
            _("captions that say how the images differ"),
        )  # fmt: skip
        return
    text, most = said.most_common(1)[0]
    if most > max(TINY, MANY * len(cases)):
        yield Finding(
            "one caption", "warning", (),
            _("{count} of {all} images have the caption {text!r}").format(
                count=most, all=len(cases), text=texts.shown(text)),
            _("captions that say how the images differ"),
        )  # fmt: skip


def _questions(cases: Dataset) -> Iterator[Finding]:
    """Find questions whose wording gives the answer away."""
    answers: dict[str, Counter[str]] = {}
    for some in cases.target:
        for one in some:
            answers.setdefault(one.question, Counter())[one.answer] += 1
    often = [count for count in answers.values() if count.total() >= OFTEN]
    asked = sum(count.total() for count in often)
    told = sum(count.most_common(1)[0][1] for count in often)
    if asked and told > GIVEN_AWAY * asked:
        yield Finding(
            "language bias", "warning", (),
            _("of the questions that are asked {often} times or more, always the usual answer is "
              "right for {share}: the words alone reveal as much").format(
                often=OFTEN, share=units.percent(told / asked)),
            _("the same questions about images with other answers, and question_only beside "
              "every system"),
        )  # fmt: skip


def _boxes(cases: Dataset) -> Iterator[Finding]:
    """Find faults that many boxes share: a wrong unit, and classes with few objects."""
    boxes = torch.cat(cases.boxes)
    outside = sum(skipped.code in ("outside", "no area") for skipped in cases.skipped)
    if outside > MANY * (outside + len(boxes)):
        yield Finding(
            "unit of boxes", "error", (),
            _("{count} of {all} objects lie outside of their images or have no area").format(
                count=outside, all=outside + len(boxes)),
            _("shares of the side in YOLO's files, pixels in COCO's and VOC's"),
        )  # fmt: skip
    boxes = boxes[boxes[:, 0] >= 0]
    small = int(((boxes[:, 3:] - boxes[:, 1:3]).amax(1) < SPECK * cases.side).sum())
    if small > MANY * len(boxes):
        yield Finding(
            "unit of boxes", "error", (),
            _("{count} of {all} objects are smaller than a fiftieth of the side").format(
                count=small, all=len(boxes)),
            _("shares of the side in YOLO's files, pixels in COCO's and VOC's"),
        )  # fmt: skip
    counts = boxes[:, 0].long().bincount(minlength=len(cases.classes)).tolist()
    few = [name for name, count in zip(cases.classes, counts, strict=True) if count < TINY]
    if few:
        yield Finding(
            "tiny class", "warning", (),
            _("fewer than {count} objects of: {labels}").format(count=TINY, labels=", ".join(few)),
            _("more images, or join classes"),
        )  # fmt: skip


def _masks(cases: Dataset) -> Iterator[Finding]:
    """Find masks that are merely boxes, and objects that were annotated twice."""
    full = count = 0
    twice = []
    for row, objects in enumerate(cases.target):
        if not isinstance(objects, Instances):
            return
        square = objects.masks(cases.side)
        around = square.any(1).sum(1) * square.any(2).sum(1)  # pixels of the box
        masks = square.flatten(1).float()
        area = masks.sum(1)
        large = area >= LARGE
        full += int((large & (area >= FULL * around)).sum())
        count += int(large.sum())
        shared = masks @ masks.T
        union = area[:, None] + area - shared
        alike = (shared > TWICE * union) & (objects.box[:, 0] == objects.box[:, :1])
        if alike.triu(1).any():
            twice.append((row,))
    if count >= TINY and full > MANY * count:
        yield Finding(
            "masks like boxes", "warning", (),
            _("{count} of {all} masks fill their boxes").format(count=full, all=count),
            _("check whether boxes were written as outlines: a network would learn to fill boxes"),
        )  # fmt: skip
    yield from of_rows(
        cases, "drawn twice", "warning", twice,
        _("{count} images have objects of one label that nearly cover each other"),
        _("look at them, and keep one of each"),
        one=_("1 image has objects of one label that nearly cover each other"),
    )  # fmt: skip


def _volumes(cases: Dataset) -> Iterator[Finding]:
    """Find faults of labelled volumes: duplicates, mirrored volumes, labels in few volumes."""
    same = together(list(digests(cases.input)))
    yield from of_rows(
        cases, "duplicates", "warning", same,
        _("{count} volumes occur more than once, identical to the voxel"),
        _("keep one of each"), count=sum(len(rows) - 1 for rows in same),
        one=_("1 volume occurs more than once, identical to the voxel"),
    )  # fmt: skip
    yield from of_rows(
        cases, "leak", "error", differing(same, cases.part),
        _("{count} volumes are in more than one of train, val and test"),
        _("keep one of each"),
        one=_("1 volume is in more than one of train, val and test"),
    )  # fmt: skip
    turned = orientation.mirrored(cases.target, len(cases.classes))
    yield from of_rows(
        cases, "flipped orientation", "warning", [(row,) for row, _axis in turned],
        _("{count} volumes fit the others better when they are mirrored"),
        _("look at them: the file may say left where right is (a flipped affine)"),
        one=_("1 volume fits the others better when it is mirrored"),
    )  # fmt: skip
    there = torch.stack([cases.target == label for label in range(len(cases.classes))])
    counts = there.flatten(2).any(2).sum(1).tolist()
    few = [
        name
        for name, count in zip(cases.classes[1:], counts[1:], strict=True)
        if count < min(TINY, len(cases))
    ]
    if few:
        yield Finding(
            "tiny class", "warning", (),
            _("labels that fewer than {few} volumes show: {names}").format(
                few=min(TINY, len(cases)), names=", ".join(few[:MOST_NAMED])
            ),
            _("more volumes with them, or leave them out"),
        )  # fmt: skip


def _sizes(cases: Dataset, about: Sequence[File | None]) -> Iterator[Finding]:
    sides = np.array([(file.width * file.height) ** 0.5 if file else np.nan for file in about])
    middle = np.nanmedian(sides) if np.isfinite(sides).any() else np.nan
    odd = np.flatnonzero((sides > ODD * middle) | (sides < middle / ODD)).tolist()
    yield from of_rows(
        cases, "odd size", "hint", [(row,) for row in odd],
        _("{count} images are over {times:g} times larger or smaller than the median one"),
        _("check whether they belong here"), times=ODD,
        one=_("1 image is over {times:g} times larger or smaller than the median one"),
    )  # fmt: skip
    kinds = Counter(file.colours for file in about if file)
    fewer = min(kinds, key=lambda colours: kinds[colours]) if len(kinds) > 1 else 0
    yield from of_rows(
        cases, "mixed colours", "hint",
        [(row,) for row, file in enumerate(about) if file and file.colours == fewer],
        _("{grey} grey images among {colour} in colour"),
        _("nothing, if both classes have both; else see the shortcuts"),
        grey=kinds[1], colour=kinds[3],
    )  # fmt: skip


def _lettering(cases: Dataset, watch: Callable[[str, float], None]) -> Iterator[Finding]:
    """Find images with burned-in characters or marks, among at most ``MOST_READ`` spread over all;
    and those that a column (of DICOM's attribute) declares."""
    folder = root(cases)
    looked = range(0, len(cases), -(-len(cases) // MOST_READ))

    def look(row: int) -> tuple[list[burned_in_text.Mark], tuple[int, int]]:
        try:
            image = pictures.read(folder / cases.file[row], folder, about=burned_in_text.SIDE // 2)
        except UserError:
            return [], (1, 1)
        pixels = burned_in_text.prepared(image)
        return burned_in_text.marks(pixels), pixels.shape[:2]

    found = []
    with ThreadPoolExecutor() as pool:
        for i, seen in enumerate(pool.map(look, looked)):
            watch(_("looking for burned-in text"), i / len(looked))
            found.append(seen)
    marks, sizes = [some for some, _size in found], [size for _some, size in found]
    lines = [i for i, some in enumerate(marks) if burned_in_text.line(some)]
    told = cases.columns.get(burned_in_text.COLUMN, ())
    rows = {looked[i] for i in (*lines, *burned_in_text.repeated(marks, sizes))}
    rows |= {row for row, value in enumerate(told) if value.upper() == "YES"}
    yield from of_rows(
        cases, "burned-in text", "hint", [(row,) for row in sorted(rows)],
        _("{count} images seem to have text or marks burned in ({looked} were checked)"),
        _("check them: no name may be visible, and a mark that one class has is what a network "
          "will learn"),
        looked=len(looked),
        one=_("1 image seems to have text or marks burned in ({looked} were checked)"),
    )  # fmt: skip


def features(cases: Dataset, about: Sequence[File | None]) -> dict[str, np.ndarray | Sequence[str]]:
    """Return properties of each case that are independent of its content, of length (cases,) each:
    arrays of numbers, or texts that name categories."""
    brightness, contrast, border = map(
        np.concatenate, zip(*map(_brightness, cases.input.split(1024)), strict=True)
    )

    def number(value: Callable[[File], float]) -> np.ndarray:
        return np.array([value(file) if file else 0.0 for file in about])

    def text(value: Callable[[File], str]) -> list[str]:
        return [value(file) if file else "" for file in about]

    return {
        _("width"): number(lambda file: file.width),
        _("height"): number(lambda file: file.height),
        _("bytes"): number(lambda file: file.bytes),
        _("colour or grey"): number(lambda file: file.colours),
        _("day of the file"): number(lambda file: round(file.day)),
        _("kind of file"): text(lambda file: file.kind),
        _("camera (EXIF)"): text(lambda file: file.camera),
        _("date (EXIF)"): text(lambda file: file.taken),
        _("brightness"): brightness,
        _("contrast"): contrast,
        _("brightness of the border"): border,
        **({_("colour cast (red, blue)"): _cast(cases)} if cases.channels == 3 else {}),
        **{_("the column {name}").format(name=n): v for n, v in cases.columns.items()},
    }


def _brightness(image: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and standard deviation of images (N, C, H, W), and the mean of their border, (N,)
    each."""
    pixels = image.float().mean(1).numpy()  # (N, H, W)
    edge = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], 1)
    return pixels.mean((1, 2)), pixels.std((1, 2)), edge.mean(1)


def _cast(cases: Dataset) -> np.ndarray:
    """Return how much more red, and blue, than green the images have on average, in
    levels, (N, 2)."""
    means = [some.float().mean((2, 3)).numpy() for some in cases.input.split(1024)]
    red, green, blue = np.concatenate(means).T
    return np.stack([red - green, blue - green], 1)


def _shortcuts(
    cases: Dataset, about: Sequence[File | None], watch: Callable[[str, float], None]
) -> Iterator[Finding]:
    """Find single properties that predict the label on cases that they were not fitted to."""
    label = cases.target.numpy()
    names = cases.group or [""] * len(cases)
    groups = [name or f"\0{i}" for i, name in enumerate(names)]  # ungrouped cases count singly
    named = features(cases, about)
    for i, (name, values) in enumerate(named.items()):
        watch(_("looking for shortcuts"), i / len(named))
        shortcut = _shortcut(values, label, groups)
        if shortcut is None or not shortcut.classes:
            continue
        shown = [
            _("{label} ({value})").format(
                label=cases.classes[c], value=_typical(name, values, label == c))
            for c in shortcut.classes
        ]  # fmt: skip
        if len(shortcut.classes) < len(cases.classes):
            others = ~np.isin(label, shortcut.classes)
            shown.append(_("others ({value})").format(value=_typical(name, values, others)))
        yield Finding(
            "shortcut", "warning", (),
            _("{name} alone predicts the class: {classes}; {share:.0%} of the way from chance to "
              "certainty").format(name=name, classes=", ".join(shown), share=shortcut.share),
            _("make it the same in all classes, else a network will learn it"),
        )  # fmt: skip


def _wrong_labels(
    cases: Dataset, embed: Callable[[Tensor], Tensor], watch: Callable[[str, float], None]
) -> Iterator[Finding]:
    """Find labels that a cross-validated classifier contradicts, if it distinguishes the classes
    well, among at most ``MOST_LABELS`` images spread over all."""
    from sklearn.metrics import balanced_accuracy_score

    watch(_("looking for wrong labels"), 0.0)
    rows = list(range(0, len(cases), -(-len(cases) // MOST_LABELS)))
    present, label = np.unique(cases.target.numpy()[rows], return_inverse=True)
    names = cases.group or [""] * len(cases)
    groups = [names[row] or f"\0{row}" for row in rows]
    picked = torch.tensor(rows).split(256)
    features = torch.cat([embed(cases.input[some]) for some in picked]).double().numpy()
    probability = wrong_labels.cross_validated(features, label, groups)
    if probability is None:
        return
    chance = 1 / len(present)
    skill = balanced_accuracy_score(label, probability.argmax(1))
    if skill < chance + TELLS * (1 - chance):
        return
    suspects = wrong_labels.suspects(probability, label)
    shown = [
        _("{file} ({label}: {other}?)").format(
            file=cases.file[rows[i]],
            label=cases.classes[present[label[i]]],
            other=cases.classes[present[j]],
        )
        for i, j in suspects[:MOST_NAMED]
    ]
    yield from of_rows(
        cases, "wrong label", "warning", [(rows[i],) for i, _other in suspects],
        _("{count} labels may be wrong ({looked} were checked): {names}"),
        _("look at them, the first ones first; a rare view of a class is listed too"),
        looked=len(rows), names=", ".join(shown) + (", ..." if len(suspects) > MOST_NAMED else ""),
        one=_("1 label may be wrong ({looked} were checked): {names}"),
    )  # fmt: skip


def _typical(name: str, values: np.ndarray | Sequence[str], chosen: np.ndarray) -> str:
    """Return the median value of the chosen cases; of categories the most frequent one."""
    if not isinstance(values, np.ndarray):
        rows, numbers = np.flatnonzero(chosen).tolist(), _numbers(values)
        if numbers is not None:
            return values[sorted(rows, key=lambda row: numbers[row])[len(rows) // 2]] or "-"
        return Counter(values[row] for row in rows).most_common(1)[0][0] or "-"
    middle = np.atleast_1d(np.median(values[chosen], 0))
    if name == _("day of the file"):
        return date.fromtimestamp(86400 * middle[0]).isoformat()
    return ", ".join(f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}" for value in middle)


class _Shortcut(NamedTuple):
    """The classes that a single property predicts, and how well."""

    classes: list[int]
    share: float  # of the way from chance to certainty


def _shortcut(
    values: np.ndarray | Sequence[str], label: np.ndarray, groups: Sequence[Any]
) -> _Shortcut | None:
    """Return the classes that a property predicts, by the balanced accuracy of a small tree, or of
    a table of categories; for one class against the others by Youden's J. None if there are too few
    groups or values."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    classes = len(np.unique(label))
    if len(set(groups)) < FOLDS or len(np.unique(values, axis=0)) < 2:
        return None
    ways, numbers = [], values if isinstance(values, np.ndarray) else _numbers(values)
    if not isinstance(values, np.ndarray):
        ways.append(_by_category(values, label, groups))
    if numbers is not None:
        few = 2 * classes
        tree = DecisionTreeClassifier(max_leaf_nodes=few, min_samples_leaf=3, random_state=0)
        folds = GroupKFold(FOLDS)
        ways.append(
            cross_val_predict(tree, numbers.reshape(len(label), -1), label, groups=groups, cv=folds)
        )
    chance = 1 / classes
    accuracy, best = max(
        ((balanced_accuracy_score(label, way), way) for way in ways), key=lambda pair: pair[0]
    )
    overall = (accuracy - chance) / (1 - chance)
    each = {c: _informedness(label == c, best == c) for c in np.unique(label).tolist()}
    large = {c: share for c, share in each.items() if (label == c).sum() >= TINY}
    given = [c for c, share in large.items() if share > TELLS]
    if overall > TELLS:
        return _Shortcut(given or [max(each, key=lambda c: each[c])], overall)
    return _Shortcut(given, max((large[c] for c in given), default=0.0))


def _informedness(truly: np.ndarray, predicted: np.ndarray) -> float:
    """Return Youden's J: sensitivity minus false positive rate."""
    return float(predicted[truly].mean() - predicted[~truly].mean())


def _by_category(values: Sequence[str], label: np.ndarray, groups: Sequence[Any]) -> np.ndarray:
    """Predict for each case (N,) the class that is most frequent, relative to its size, in the
    case's category among the other folds' cases; the first class for a category that they lack."""
    from sklearn.model_selection import GroupKFold

    kind = np.unique(values, return_inverse=True)[1]
    said = np.empty_like(label)
    for train, test in GroupKFold(FOLDS).split(kind, label, groups):
        count = np.zeros((kind.max() + 1, label.max() + 1))
        np.add.at(count, (kind[train], label[train]), 1)
        said[test] = (count / count.sum(0).clip(min=1)).argmax(1)[kind[test]]
    return said


def _numbers(values: Sequence[str]) -> np.ndarray | None:
    """Convert numbers or dates to ranks (N,), missing values lowest; None if some are neither."""
    found = list(map(_number, values))
    if None in found:
        return None
    return np.unique(np.array(found, dtype=float), return_inverse=True)[1]


def _number(text: str) -> float | None:
    if not text:
        return -np.inf
    if date := DATE.match(text):
        year, month, day = map(int, date.groups())
        return (year * 12 + month) * 31 + day
    try:
        return float(text)
    except ValueError:
        return None


def manifest(found: Checkup, path: Path) -> int:
    """Write a CSV (filename, label, group, part, further columns) beside the images and return the
    number of cases in it. Of copies one is kept, none if their labels disagree. Raises UserError if
    ``path`` exists, or lies outside the folder that the files' names are relative to."""
    folder = root(found.cases)
    if path.absolute().parent.resolve() != folder.absolute().resolve():
        raise UserError(
            "outside",
            _("{path} would not find the images it lists").format(path=path),
            expected=_("a file in {folder}").format(folder=folder),
            fix=f"--fix {folder / 'checked.csv'}",
        )
    if path.exists():
        raise UserError(
            "exists",
            _("{path} is there already").format(path=path),
            expected=_("a new file"),
            fix="--fix OTHER.csv",
            exit=5,
        )
    cases, out = found.cases, set()
    label = cases.labels
    if label is None:
        raise UserError(
            "option",
            _("--fix writes a table with one class for each image, which these do not have"),
            expected=_("a folder with a sub-folder for each class"),
        )
    for finding in found.findings:
        for family in finding.rows:
            if finding.code == "label conflict":
                out |= set(family)
            elif finding.code in ("duplicates", "near duplicates"):
                out |= set(family[1:])
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("filename", "label", "group", "part", *cases.columns))
    kept = [row for row in range(len(cases)) if row not in out]
    for row in kept:
        group = cases.group[row] if cases.group else ""
        part = cases.part[row] if cases.part else ""
        further = [values[row] for values in cases.columns.values()]
        writer.writerow((cases.file[row], cases.classes[label[row]], group, part, *further))
    file_utils.write_text(path, stream.getvalue())
    return len(kept)
