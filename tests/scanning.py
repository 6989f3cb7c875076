"""CT series drawn by formulas: DICOM slices of an ellipsoid in any direction, with any mistakes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AIR, TISSUE = -1000, 60
RADII = np.array([14.0, 10.0, 12.0])  # mm: left, back, head
CENTRE = np.array([-3.0, 5.0, 100.0])
AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def ellipsoid(place: np.ndarray) -> np.ndarray:
    """(..., 3) mm -> HU: the edge falls over 2 mm, as partial volume makes it."""
    far = np.linalg.norm((place - CENTRE) / RADII, axis=-1)
    depth = (1 - far) * RADII.min()
    return AIR + (TISSUE - AIR) * np.clip(depth / 2 + 0.5, 0, 1)


def scan(
    folder: Path,
    *,
    steps: Sequence[float] = tuple(np.arange(-16, 17, 2.0)),  # mm along the normal from the centre
    spacing: tuple[float, float] = (1.5, 1.0),  # between rows, between columns
    size: tuple[int, int] = (20, 36),
    directions: tuple[Sequence[float], Sequence[float]] = AXIAL,
    tilt: float = 0.0,  # mm down the column for each mm along the normal
    series: str = "1.2.3",
    number: int = 1,
    slopes: Sequence[tuple[float, float]] = ((1.0, -1024.0),),
    drop: Sequence[str] = (),
    header: Mapping[str, object] | None = None,
) -> list[Path]:
    """Names and instance numbers run in no order. Returns the files in the order of ``steps``."""
    row, column = (np.array(way, float) for way in directions)
    normal = np.cross(row, column)
    shuffled = np.random.default_rng(0).permutation(len(steps))
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    i, j = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")
    for k, step in enumerate(steps):
        middle = CENTRE + normal * step + column * tilt * step
        first = middle - column * spacing[0] * (size[0] - 1) / 2 - row * spacing[1] * (size[1] - 1) / 2
        place = first + i[..., None] * column * spacing[0] + j[..., None] * row * spacing[1]
        slope, shift = slopes[k % len(slopes)]
        made = Dataset()
        made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
        made.Modality, made.PatientName = "CT", "Yamada^Hanako"
        made.SeriesInstanceUID, made.SeriesNumber = series, number
        made.InstanceNumber = int(shuffled[k])
        made.Rows, made.Columns = size
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated = made.BitsStored = 16
        made.HighBit, made.PixelRepresentation = 15, 0
        made.RescaleSlope, made.RescaleIntercept = str(slope), str(shift)
        made.PixelSpacing = [f"{step:.6g}" for step in spacing]
        made.ImageOrientationPatient = [f"{v:.8f}" for v in (*row, *column)]
        made.ImagePositionPatient = [f"{v:.6f}" for v in first]
        stored = np.round((ellipsoid(place) - shift) / slope).astype(np.uint16)
        made.PixelData = stored.tobytes()
        made["PixelData"].VR = "OW"
        for keyword, value in (header or {}).items():
            setattr(made, keyword, value)
        for keyword in drop:
            del made[keyword]
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        path = folder / f"{series}-{shuffled[k]:03d}.dcm"
        made.save_as(path, enforce_file_format=True)
        files.append(path)
    return files
