"""DICOM segmentations: labelled voxels of a series, in one file that refers to it.

DICOM PS3.3, A.51 (the object), C.8.20 (segments and their frames), C.7.6.16 (functional groups).
https://dicom.nema.org/medical/dicom/current/output/html/part03.html#sect_C.8.20

    a frame = one bit a pixel, of one segment in one plane; empty frames are left out

A frame is placed by its position and directions alone, never by its number, and only where its
pixels coincide with voxels of the volume. Files are untrusted: their items, frames and bytes are
bounded, and no decoder is called, since compressed pixels are refused.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from souron.kinds.codecs import dicom, grid, limits, series
from souron.utils.files import atomically
from souron.utils.messages import UserError, _

STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"  # SOP class
PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", dicom.DEFLATED)  # transfer syntaxes
MOST_ITEMS = 500_000  # items of sequences
MOST_FRAMES = 100_000
MOST_SEGMENTS = 255
NEAR = 0.1  # tolerance between a pixel and a voxel, in voxels
LONGEST = 64  # characters of a segment's name in the standard
CODED = (  # names of segments that have a code of SNOMED CT in pydicom's dictionary
    "Aorta", "Bladder", "Bone", "Brain", "Colon", "Esophagus", "Gallbladder", "Heart", "Kidney",
    "Liver", "Lung", "Muscle", "Pancreas", "Prostate", "Rib", "Skin", "Skull", "Spine", "Spleen",
    "Stomach", "Trachea",
)  # fmt: skip
KEPT = {  # attributes copied from the series, with defaults
    "SpecificCharacterSet": None,
    "PatientName": "",
    "PatientID": "",
    "PatientBirthDate": "",
    "PatientSex": "",
    "StudyInstanceUID": None,
    "StudyDate": "",
    "StudyTime": "",
    "StudyID": "",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "FrameOfReferenceUID": None,
    "PositionReferenceIndicator": "",
}


class Segments(NamedTuple):
    """Segments on the grid of a volume."""

    area: np.ndarray  # (slices, rows, columns) uint8: 0, or one more than the index in ``names``
    names: tuple[str, ...]
    series: str  # UID of the series that it refers to; "" for none
    overlapping: int  # voxels in several segments: the last one wins


def referred(path: Path) -> str:
    """Return the UID of the series that a segmentation refers to; "" for none. Raises UserError."""
    limits.check_file(path, otherwise="unreadable")
    held = dicom.read(path, pixels=False, items=MOST_ITEMS)
    return _referred(held) if dicom.text(held, "SOPClassUID") == STORAGE else ""


def _referred(held: Any) -> str:
    return dicom.text((held.get("ReferencedSeriesSequence") or [{}])[0], "SeriesInstanceUID")


def read(path: Path, size: Sequence[int], affine: Any) -> Segments:
    """Read the segments onto the grid of a volume.

    Raises UserError, also where a pixel is no voxel of it.
    """
    limits.check_file(path, otherwise="unreadable")
    held = dicom.read(path, items=MOST_ITEMS)
    with dicom.translated(path):
        _check(path, held)
        names, number = _segments(path, held)
        frames = dicom.whole_number(held, "NumberOfFrames", 1)
        shape = dicom.whole_number(held, "Rows"), dicom.whole_number(held, "Columns")
        groups = held.get("PerFrameFunctionalGroupsSequence") or []
        if frames > MOST_FRAMES or math.prod(shape) > grid.MOST_VOXELS:
            raise limits.trouble(path, "too large", _("the file has {count} frames").format(count=frames))
        if len(groups) != frames:
            raise ValueError(f"NumberOfFrames = {frames}, {len(groups)} functional groups")
        shared = (held.get("SharedFunctionalGroupsSequence") or [None])[0]
        pixels = _pixels(path, held, frames, shape)
        area = np.zeros(size, np.uint8)
        overlapping = 0
        for frame, group in enumerate(groups):
            inside = np.argwhere(pixels(frame))
            if not len(inside):
                continue
            place = _place(path, group, shared, np.linalg.inv(affine))
            voxels = place(inside)
            if (voxels < 0).any() or (voxels >= size).any():
                raise _elsewhere(path, _("it reaches beyond the volume"))
            own = int(_item(group, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)
            where = tuple(voxels.T)
            overlapping += int((area[where] > 0).sum())
            area[where] = number[own]
        of = _referred(held)
    return Segments(area, names, of, overlapping)


def _check(path: Path, held: Any) -> None:
    """Raise UserError unless it is a segmentation that can be read."""
    if dicom.text(held, "SOPClassUID") != STORAGE:
        raise limits.trouble(
            path, "not a segmentation", _("DICOM, but no segmentation"), _("a DICOM segmentation (SEG), NIfTI or NRRD")
        )
    if dicom.syntax(held) not in PLAIN:
        raise limits.trouble(
            path, "no decoder", _("its pixels are compressed"), _("a segmentation that is not compressed")
        )
    kind = dicom.text(held, "SegmentationType")
    bits = dicom.whole_number(held, "BitsAllocated")
    if (kind, bits) not in (("BINARY", 1), ("FRACTIONAL", 8)):
        raise limits.trouble(
            path,
            "not a segmentation",
            _("segments of the type {kind}, {bits} bits a pixel").format(kind=kind or "?", bits=bits),
            "BINARY, FRACTIONAL",
        )


def _segments(path: Path, held: Any) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the names, and the index, from 1, of each segment's number."""
    every = held.get("SegmentSequence") or []
    if not 1 <= len(every) <= MOST_SEGMENTS:
        raise limits.trouble(
            path,
            "not a segmentation",
            _("{count} segments").format(count=len(every)),
            _("1 to {most}").format(most=MOST_SEGMENTS),
        )
    names, number = [], {}
    for place, one in enumerate(every, 1):
        own = dicom.whole_number(one, "SegmentNumber")
        if own in number:
            raise ValueError(f"SegmentNumber {own}")
        number[own] = place
        names.append(dicom.text(one, "SegmentLabel", LONGEST) or str(own))
    return tuple(names), number


def _pixels(path: Path, held: Any, frames: int, shape: tuple[int, int]) -> Any:
    """Return a function: frame number -> (rows, columns) bool."""
    raw, each = np.frombuffer(held.PixelData, np.uint8), math.prod(shape)
    binary = held.BitsAllocated == 1
    needed = -(-frames * each // 8) if binary else frames * each
    if len(raw) < needed:
        raise limits.trouble(path, "truncated", _("the file is cut short"))
    half = dicom.whole_number(held, "MaximumFractionalValue", 255) / 2

    def frame(number: int) -> np.ndarray:
        first, end = number * each, (number + 1) * each
        if not binary:
            return (raw[first:end] >= half).reshape(shape)
        bits = np.unpackbits(raw[first // 8 : -(-end // 8)], bitorder="little")
        return bits[first % 8 : first % 8 + each].reshape(shape) != 0

    return frame


def _item(group: Any, shared: Any, keyword: str) -> Any:
    """Return an item of a frame, or the one shared by all frames. Raises ValueError."""
    for source in (group, shared):
        found = source.get(keyword) if source is not None else None
        if found:
            return found[0]
    raise ValueError(_("{keyword} is missing").format(keyword=keyword))


def _place(path: Path, group: Any, shared: Any, inverse: np.ndarray) -> Any:
    """Return a function: (n, 2) rows and columns of a frame -> (n, 3) voxels of the volume."""
    position, ways, steps = (
        np.array([float(number) for number in _item(group, shared, sequence)[keyword].value])
        for sequence, keyword in (
            ("PlanePositionSequence", "ImagePositionPatient"),
            ("PlaneOrientationSequence", "ImageOrientationPatient"),
            ("PixelMeasuresSequence", "PixelSpacing"),
        )
    )
    along = inverse[:3, :3] @ np.stack([ways[3:] * steps[0], ways[:3] * steps[1]], axis=1)
    first = inverse[:3, :3] @ position + inverse[:3, 3]
    if not (np.isfinite(along).all() and np.isfinite(first).all()):
        raise ValueError(_("numbers that are not finite"))
    whole, start = np.round(along).astype(int), np.round(first).astype(int)
    if sorted(np.abs(whole).sum(0)) != [1, 1] or (np.abs(whole).sum(1) > 1).any():
        raise _elsewhere(path, _("its pixels have other directions or another size"))

    def place(inside: np.ndarray) -> np.ndarray:
        corners = np.stack([inside.min(0), inside.max(0)])
        far = np.abs(corners @ (along - whole).T + (first - start)).max()
        if far > NEAR:
            raise _elsewhere(path, _("up to {count:.2g} voxels away").format(count=far))
        return inside @ whole.T + start

    return place


def _elsewhere(path: Path, why: str) -> UserError:
    found = _("its pixels are no voxels of the volume: {why}").format(why=why)
    return limits.trouble(path, "geometry", found, _("a segmentation of this very series"))


def write(path: Path, area: np.ndarray, names: Sequence[str], affine: Any, of: Path, uid: str) -> None:
    """Write classes (slices, rows, columns) of a volume that was read from a series.

    ``of`` is the folder and ``uid`` the UID of the series. A class without a name is background.
    Raises UserError.
    """
    _uid, header, slices = series.ordered(of, uid)
    held = _head(of, header)
    named = [(label, name) for label, name in enumerate(names) if name]
    numbered = list(enumerate(named, 1))
    held.SegmentSequence = [_segment(number, name) for number, (_label, name) in numbered]
    held.SharedFunctionalGroupsSequence = [_shared(affine)]
    held.Rows, held.Columns = area.shape[1:]
    frames = [
        (number, k, area[k] == label)
        for number, (label, _name) in numbered
        for k in np.flatnonzero((area == label).any((1, 2))).tolist()
    ] or [(1, 0, np.zeros(area.shape[1:], bool))]  # at least one frame is required
    places = affine[:3, :3] @ np.eye(3)[:1].T * np.arange(len(area)) + affine[:3, 3:]  # (3, slices)
    sources = [
        next((one for one in slices if np.abs(one.position - place).max() < series.SAME), None) for place in places.T
    ]  # most planes of a resampled volume have none
    held.NumberOfFrames = len(frames)
    held.PerFrameFunctionalGroupsSequence = [
        _frame(number, k, places[:, k], sources[k]) for number, k, _plane in frames
    ]
    used = {k: one for _number, k, _plane in frames if (one := sources[k]) is not None}
    referred = _made(SeriesInstanceUID=uid)
    referred.ReferencedInstanceSequence = [_instance(*one.instance) for one in list(used.values()) or slices[:1]]
    held.ReferencedSeriesSequence = [referred]
    bits = np.packbits(np.stack([plane for *_place, plane in frames]).ravel(), bitorder="little")
    held.PixelData = bits.tobytes() + bytes(len(bits) % 2)
    held["PixelData"].VR = "OB"
    with atomically(path) as beside:
        held.save_as(beside, enforce_file_format=True)


def _made(**elements: Any) -> Any:
    from pydicom.dataset import Dataset

    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def _head(of: Path, header: Any) -> Any:
    """Return the dataset without segments and frames."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    import souron

    now, organization = datetime.now(), generate_uid()
    held = _made(
        SOPClassUID=STORAGE, SOPInstanceUID=generate_uid(), Modality="SEG",
        SeriesInstanceUID=generate_uid(), SeriesNumber=900, InstanceNumber=1,
        SeriesDescription="souron segmentation", ContentLabel="SEGMENTATION",
        ContentDescription="", ContentCreatorName="",
        ContentDate=now.strftime("%Y%m%d"), ContentTime=now.strftime("%H%M%S"),
        Manufacturer="souron", ManufacturerModelName="souron", DeviceSerialNumber="0",
        SoftwareVersions=souron.__version__, ImageType=["DERIVED", "PRIMARY"],
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", PixelRepresentation=0,
        BitsAllocated=1, BitsStored=1, HighBit=0, LossyImageCompression="00",
        SegmentationType="BINARY", SegmentsOverlap="NO",
    )  # fmt: skip
    for keyword, otherwise in KEPT.items():
        if keyword in header:
            held[keyword] = header[keyword]
        elif otherwise is not None:
            setattr(held, keyword, otherwise)
        elif keyword != "SpecificCharacterSet":
            raise limits.trouble(
                of,
                "no reference",
                _("{keyword} is missing").format(keyword=keyword),
                _("a series that names its study and its frame of reference"),
            )
    held.SpecificCharacterSet = "ISO_IR 192"  # pydicom writes names anew
    held.DimensionOrganizationSequence = [_made(DimensionOrganizationUID=organization)]
    held.DimensionIndexSequence = [
        _made(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=tag_for_keyword(pointer),
            FunctionalGroupPointer=tag_for_keyword(group),
            DimensionDescriptionLabel=pointer,
        )
        for pointer, group in (
            ("ReferencedSegmentNumber", "SegmentIdentificationSequence"),
            ("ImagePositionPatient", "PlanePositionSequence"),
        )
    ]
    held.file_meta = FileMetaDataset()
    held.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    held.file_meta.MediaStorageSOPClassUID = STORAGE
    held.file_meta.MediaStorageSOPInstanceUID = held.SOPInstanceUID
    return held


def _segment(number: int, name: str) -> Any:
    from pydicom.sr.codedict import codes

    plain = name.strip().capitalize()
    known = next((word for word in CODED if plain in (word, word + "s")), "")
    kind = getattr(codes.SCT, known or "Tissue")
    category = codes.SCT.AnatomicalStructure if known else codes.SCT.Tissue
    return _made(
        SegmentNumber=number,
        SegmentLabel=limits.printable(name).replace("\\", "/")[:LONGEST],
        SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName="souron",
        SegmentedPropertyCategoryCodeSequence=[_code(category)],
        SegmentedPropertyTypeCodeSequence=[_code(kind)],
    )


def _code(code: Any) -> Any:
    return _made(CodeValue=code.value, CodingSchemeDesignator=code.scheme_designator, CodeMeaning=code.meaning)


def _shared(affine: Any) -> Any:
    slices, rows, columns = (np.asarray(affine)[:3, axis] for axis in range(3))
    steps = [float(np.linalg.norm(way)) for way in (slices, rows, columns)]
    ways = [*(columns / steps[2]), *(rows / steps[1])]
    return _made(
        PixelMeasuresSequence=[
            _made(
                PixelSpacing=[_number(steps[1]), _number(steps[2])],
                SliceThickness=_number(steps[0]),
                SpacingBetweenSlices=_number(steps[0]),
            )
        ],
        PlaneOrientationSequence=[_made(ImageOrientationPatient=list(map(_number, ways)))],
    )


def _frame(number: int, k: int, place: np.ndarray, source: series.Slice | None) -> Any:
    from pydicom.sr.codedict import codes

    made = _made(
        FrameContentSequence=[_made(DimensionIndexValues=[number, k + 1])],
        PlanePositionSequence=[_made(ImagePositionPatient=list(map(_number, place)))],
        SegmentIdentificationSequence=[_made(ReferencedSegmentNumber=number)],
    )
    if source is not None:
        instance = _instance(*source.instance)
        purpose = codes.DCM.SourceImageForImageProcessingOperation
        instance.PurposeOfReferenceCodeSequence = [_code(purpose)]
        derived = _made(SourceImageSequence=[instance])
        derived.DerivationCodeSequence = [_code(codes.DCM.SegmentationImageDerivation)]
        made.DerivationImageSequence = [derived]
    return made


def _instance(kind: str, uid: str) -> Any:
    return _made(ReferencedSOPClassUID=kind, ReferencedSOPInstanceUID=uid)


def _number(value: float) -> str:
    """Format a decimal in at most 16 characters."""
    return f"{float(value) + 0.0:.8g}"
