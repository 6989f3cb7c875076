"""DICOM and pictures of more than 8 bits: every level kept, every bad file named, no name told."""

import json
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from collections import namedtuple
from pathlib import Path

import numpy as np
import psutil
import pydicom
import pytest
import torch
from PIL import Image
from pydicom import pixels
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)

from souron.cli import main
from souron.data import check, deidentify, load, transforms
from souron.data.check.headers import headers
from souron.data.dataset import Rows
from souron.data.formats import csv_table, folder
from souron.data.quality import duplicates
from souron.data.readers.settings import Reading
from souron.kinds.codecs import dicom, dicom_worker
from souron.kinds.codecs import image as image_codec
from souron.kinds.picture import Picture
from souron.tasks.classify import Classifier
from souron.utils.messages import UserError

SECRETS = {
    "PatientName": "Yamada^Hanako",
    "PatientID": "KRK-4711-99",
    "PatientBirthDate": "19610217",
    "InstitutionName": "St Elsewhere",
    "ReferringPhysicianName": "Craig^Mark",
    "AccessionNumber": "ACC0815X",
    "StudyDate": "20240131",
    "StudyDescription": "knee of Hanako",
    "StudyInstanceUID": "1.2.276.0.7230010.3.1.2.4711",
    "SeriesInstanceUID": "1.2.276.0.7230010.3.1.3.4711",
    "PatientAddress": "12 Long Lane",
    "OtherPatientIDs": "OTHER-77-88",
    "StationName": "MR-ROOM-3",
    "OperatorsName": "Nurse^Ratched",
    "PatientAge": "063Y",
    "DeviceSerialNumber": "SN-31415926",
}
RAMP = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16) * 20  # 0..3820, fits into 12 bits
LARGE = np.tile(RAMP, (3, 4))  # JPEG 2000 wants 32 pixels a side


def write(path, stored=RAMP, syntax=ExplicitVRLittleEndian, bits=12, **header) -> Path:
    """A small DICOM file; ``stored`` (H, W), (frames, H, W) or, with 3 samples, (H, W, 3)."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", generate_uid()
    made.Rows, made.Columns = stored.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    if stored.shape[-1] == 3:
        made.Rows, made.Columns = stored.shape[:2]
        made.SamplesPerPixel, made.PhotometricInterpretation = 3, "RGB"
        made.PlanarConfiguration = 0
    elif stored.ndim == 3:
        made.NumberOfFrames = len(stored)
    made.BitsAllocated = 8 * stored.dtype.itemsize
    made.BitsStored, made.HighBit = min(bits, made.BitsAllocated), min(bits, made.BitsAllocated) - 1
    made.PixelRepresentation = int(stored.dtype.kind == "i")
    made.Modality = "CT"
    for keyword, value in header.items():
        setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    made.PixelData = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    made["PixelData"].VR = "OB" if made.BitsAllocated == 8 else "OW"
    if syntax in (RLELossless, JPEG2000Lossless):
        made.compress(syntax, generate_instance_uid=False)
    made.file_meta.TransferSyntaxUID = syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def shown(path, **options) -> np.ndarray:
    return np.asarray(image_codec.read(path, **options))


def code(path, **options) -> str:
    with pytest.raises(UserError) as caught:
        image_codec.read(path, **options)
    return caught.value.code


def noise(seed) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4096, (12, 16), dtype=np.uint16)


def two_classes(root, count=3, **header):
    """``root/a`` and ``root/b`` with that many files each, every file its own patient."""
    for i in range(2 * count):
        about = {"PatientID": f"patient {i}"} | header
        write(root / "ab"[i % 2] / f"{i}.dcm", noise(i), **about)
    return root


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_one_grey_level_of_sixteen_bits_stays(tmp_path, kind):
    for i, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((9, 9), 40_000 + i, np.uint16)).save(tmp_path / name / f"1.{kind}")
    cases = folder.load(tmp_path)
    assert cases.input.dtype == torch.float32 and cases.input.shape == (2, 1, 9, 9)
    assert (cases.input[1] - cases.input[0]).unique().numpy() == pytest.approx(1 / 257, rel=0.01)
    assert folder.load(tmp_path, Reading(side=5)).input.unique().numel() == 2


def test_all_levels_of_sixteen_bits_stay_apart(tmp_path):
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(every).save(tmp_path / "a.png")
    pixels = image_codec.square(image_codec.read(tmp_path / "a.png"), 256, 1)
    assert pixels.unique().numel() == 65536 and pixels.min() == 0 and pixels.max() == 255


def test_deep_and_shallow_files_together(tmp_path):
    """Also where the deep one was not among those that were looked at."""
    for i in range(4):
        path = tmp_path / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 100 + i, np.uint8)).save(path)
    assert folder.load(tmp_path).input.dtype == torch.uint8
    Image.fromarray(np.full((8, 8), 12_345, np.uint16)).save(tmp_path / "b" / "9.png")
    seen = folder.load(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "LOOKED_AT", 1)
        unseen = folder.load(tmp_path)
    for cases in (seen, unseen):
        assert cases.input.dtype == torch.float32
        values = dict(zip(cases.file, cases.input[:, 0, 0, 0].tolist(), strict=True))
        assert values["a/2.png"] == 102 and values["b/9.png"] == pytest.approx(12_345 / 257)


def test_deep_pictures_take_four_bytes(tmp_path, monkeypatch):
    two_classes(tmp_path, 1)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: namedtuple("m", "available")(40_000))
    with pytest.raises(UserError) as caught:
        folder.load(tmp_path, Reading(side=64))
    assert caught.value.code == "memory" and caught.value.fix == "imgsz=50"
    assert folder.load(tmp_path, Reading(side=50)).side == 50


def test_fractions_in_a_tiff(tmp_path):
    def tiff(*values):
        Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tif")
        return tmp_path / "a.tif"

    assert shown(tiff(0, 0.25, 1)).tolist() == [[0, 63.75, 255]]
    assert shown(tiff(0, 257, 25_700)).tolist() == [[0, 1, 100]]
    for bad in ((-1, 0), (0, 70_000), (0, float("nan"))):
        assert code(tiff(*bad)) == "unreadable"


def test_a_jpeg_in_cmyk_and_a_turned_one(tmp_path):
    colours = np.zeros((8, 16, 3), np.uint8) + np.array([200, 30, 60], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(colours).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(colours).save(tmp_path / "b.jpg", quality=95, exif=exif)
    for name, shape in (("a.jpg", (8, 16, 3)), ("b.jpg", (16, 8, 3))):
        assert shown(tmp_path / name).shape == shape
        assert np.abs(shown(tmp_path / name).astype(int) - [200, 30, 60]).max() < 12


def test_preparing_does_not_change_the_cases(tmp_path):
    cases = folder.load(two_classes(tmp_path))
    before = cases.input.clone()
    system = Classifier.__new__(Classifier)
    torch.nn.Module.__init__(system)
    system.spec = Classifier.spec_for(cases)
    batch = system.batch(Rows(cases.input, cases.target))
    assert torch.equal(cases.input, before)
    assert abs(batch.image.mean()) < 1e-4 and abs(batch.image.std() - 1) < 0.02


def test_augmentation_keeps_fine_steps():
    image = torch.rand(16, 1, 12, 12, generator=torch.Generator().manual_seed(1)) * 255
    before = image.clone()
    for name, change in transforms.CHANGES.items():
        changed = change(image, torch.Generator().manual_seed(0))
        assert changed.dtype == torch.float32 and not torch.equal(changed, image), name
        assert changed.min() >= 0 and changed.max() <= 255
        assert not torch.equal(changed, changed.round()), name
        assert torch.equal(image, before), name


@pytest.mark.parametrize(
    "header, spacing",
    [
        ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.3, 0.3]}, 0.2),
        ({"ImagerPixelSpacing": [0.143, 0.143]}, 0.143),
        ({"PixelSpacing": [0.2, 0.3]}, 0.0),  # no square pixels
        ({"PixelSpacing": [0, 0]}, 0.0),
        ({}, 0.0),
    ],
)
def test_millimetres_a_pixel_are_read(tmp_path, header, spacing):
    assert Picture.read(write(tmp_path / "film.dcm", **header)).spacing == spacing


def test_copies_among_faint_deep_pictures(tmp_path):
    """A CT on the scale of 16 bits varies by less than two bytes."""
    noise = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    faint = torch.cat([noise, noise[:1]]) * 4 + 100
    assert faint.std() < duplicates.FLAT and duplicates.near(faint) == [(0, 3)]


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEG2000Lossless,
    ],
    ids=lambda uid: uid.name,
)
def test_every_level_of_twelve_bits(tmp_path, syntax):
    path = write(tmp_path / "a.dcm", LARGE, syntax=syntax)
    assert dicom.File(path).values().tolist() == LARGE.tolist()
    read = image_codec.read(path)
    assert read.mode == "F" and read.size == (64, 36)
    assert np.asarray(read) == pytest.approx(LARGE * (255 / 4095), abs=1e-4)
    assert image_codec.square(read, 12, 3).shape == (3, 12, 12)


def test_slope_and_intercept_with_a_window(tmp_path):
    path = write(tmp_path / "a.dcm", RAMP.astype(np.int16), bits=16, RescaleSlope="2", RescaleIntercept="-1024")
    units = RAMP * 2.0 - 1024
    assert np.array_equal(dicom.File(path).values(), units)
    expected = ((units - 39.5) / 399 + 0.5).clip(0, 1) * 255
    assert shown(path, window="40,400") == pytest.approx(expected, abs=1e-4)
    inside = (units > -160) & (units < 240)
    assert len(np.unique(shown(path, window="40,400")[inside])) == inside.sum() > 5
    low, high = -32768 * 2 - 1024, 32767 * 2 - 1024
    assert shown(path) == pytest.approx((units - low) / (high - low) * 255, abs=1e-4)


@pytest.mark.parametrize("how", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_windows_of_the_file_are_those_of_pydicom(tmp_path, how):
    path = write(tmp_path / "a.dcm", WindowCenter=[1500, 40], WindowWidth=[900, 400], VOILUTFunction=how)
    theirs = pixels.apply_windowing(RAMP, pydicom.dcmread(path))  # 0..4095
    assert shown(path) == pytest.approx(theirs * (255 / 4095), abs=1e-3)
    assert shown(path, window="full") == pytest.approx(RAMP * (255 / 4095), abs=1e-4)


def test_a_negative_slope_and_monochrome1_invert(tmp_path):
    plain = shown(write(tmp_path / "a.dcm"))
    inverted = shown(write(tmp_path / "b.dcm", PhotometricInterpretation="MONOCHROME1"))
    falling = shown(write(tmp_path / "c.dcm", RescaleSlope="-1", RescaleIntercept="0"))
    assert inverted == pytest.approx(255 - plain) and falling == pytest.approx(255 - plain)


def lut(first, entries, bits):
    made = Dataset()
    made.LUTDescriptor = [len(entries), first, bits]
    made.add_new("LUTData", "US", list(entries))
    return made


def test_look_up_tables(tmp_path):
    entries = (np.arange(4096) ** 2 // 4096).tolist()
    path = write(tmp_path / "a.dcm", ModalityLUTSequence=[lut(0, entries, 16)])
    assert np.array_equal(dicom.File(path).values(), RAMP.astype(int) ** 2 // 4096)
    assert shown(path) == pytest.approx((RAMP.astype(int) ** 2 // 4096) / 257, abs=1e-4)
    path = write(tmp_path / "b.dcm", VOILUTSequence=[lut(0, entries, 12)])
    assert shown(path) == pytest.approx((RAMP.astype(int) ** 2 // 4096) * (255 / 4095), abs=1e-3)


def test_bytes_stay_bytes(tmp_path):
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    read = image_codec.read(write(tmp_path / "a.dcm", stored, bits=8))
    assert read.mode == "L" and np.array_equal(np.asarray(read), stored)
    read = image_codec.read(write(tmp_path / "b.dcm", stored, bits=8, WindowCenter=128, WindowWidth=256))
    assert read.mode == "L" and np.array_equal(np.asarray(read), stored)
    wide = image_codec.read(write(tmp_path / "c.dcm", stored, bits=8, WindowCenter=128, WindowWidth=2000))
    assert wide.mode == "F" and len(np.unique(np.asarray(wide))) == 256


def test_colours(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    assert np.array_equal(shown(write(tmp_path / "a.dcm", colour, bits=8)), colour)
    palette = {
        f"{name}PaletteColorLookupTable{what}": value
        for i, name in enumerate(("Red", "Green", "Blue"))
        for what, value in (
            ("Descriptor", [256, 0, 16]),
            ("Data", (np.arange(256, dtype="<u2") * 257 // (i + 1)).tobytes()),
        )
    }
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = write(tmp_path / "b.dcm", stored, bits=8, PhotometricInterpretation="PALETTE COLOR", **palette)
    assert np.array_equal(shown(path)[..., 0], stored)
    assert np.abs(shown(path)[..., 2].astype(int) - stored / 3).max() <= 1
    deep = (colour.astype(np.uint16) + 0) * 257
    assert np.array_equal(shown(write(tmp_path / "c.dcm", deep, bits=16)), colour)


def test_an_enhanced_file_scales_frame_by_frame(tmp_path):
    def group(slope, center):
        scale, voi, made = Dataset(), Dataset(), Dataset()
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = str(slope), "0", "US"
        voi.WindowCenter, voi.WindowWidth = center, 2000
        made.PixelValueTransformationSequence, made.FrameVOILUTSequence = [scale], [voi]
        return made

    path = write(
        tmp_path / "a.dcm", np.stack([RAMP, RAMP]), PerFrameFunctionalGroupsSequence=[group(1, 1000), group(3, 5000)]
    )
    file = dicom.File(path)
    assert np.array_equal(file.values(1), RAMP * 3.0)
    expected = ((RAMP * 3.0 - 4999.5) / 1999 + 0.5).clip(0, 1) * 255
    assert np.asarray(file.frame(1)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("text", ["40", "40,", "a,b", "40,0", "nan,5", "1,inf", "1,2,3", ""])
def test_windows_that_make_no_sense(tmp_path, text):
    path = write(tmp_path / "a.dcm")
    with pytest.raises(UserError) as caught:
        image_codec.read(path, window=text)
    assert caught.value.code == "window" and caught.value.exit == 2
    with pytest.raises(UserError):
        folder.load(tmp_path, Reading(window=text))


def test_a_window_in_the_file_that_makes_no_sense(tmp_path):
    path = write(tmp_path / "a.dcm", WindowCenter=40, WindowWidth=0)
    assert code(path) == "window" and shown(path, window="full").max() > 200


def test_fractions_without_a_scale(tmp_path):
    path = write(tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    dataset.FloatPixelData = RAMP.astype("<f4").tobytes()
    dataset.BitsAllocated = 32
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        del dataset[keyword]
    dataset.save_as(path)
    assert code(path) == "no scale"
    expected = ((RAMP - 999.5) / 1999 + 0.5).clip(0, 1) * 255
    assert shown(path, window="1000,2000") == pytest.approx(expected, abs=1e-3)


def test_known_by_its_bytes_whatever_the_name(tmp_path):
    for name in ("IM0001", "1.2.840.113619", "a.png", "b.DCM", "c.txt"):
        assert image_codec.read(write(tmp_path / name)).mode == "F"
    whole = write(tmp_path / "a.dcm").read_bytes()
    (tmp_path / "bare.dcm").write_bytes(whole[132:])
    (tmp_path / "bare.img").write_bytes(whole[132:])
    (tmp_path / "text.dcm").write_text("hello, not DICOM at all")
    Image.new("L", (4, 4), 9).save(tmp_path / "really.png")
    (tmp_path / "really.png").rename(tmp_path / "really.dcm")
    assert np.array_equal(shown(tmp_path / "bare.dcm"), shown(tmp_path / "a.dcm"))
    assert code(tmp_path / "bare.img") == code(tmp_path / "text.dcm") == "not an image"
    assert shown(tmp_path / "really.dcm").max() == 9


def bad_files(root) -> dict[str, str]:
    """File -> the code that it must end in."""
    whole = write(root / "whole.dcm").read_bytes()
    (root / "cut.dcm").write_bytes(whole[:-100])
    (root / "header.dcm").write_bytes(whole[:400])
    (root / "empty.dcm").touch()
    without = pydicom.dcmread(root / "whole.dcm")
    del without.PixelData
    without.save_as(root / "report.dcm")
    huge = pydicom.dcmread(root / "whole.dcm")
    huge.Rows = huge.Columns = 65535
    huge.save_as(root / "huge.dcm")
    short = pydicom.dcmread(root / "whole.dcm")
    short.Rows = 4000
    short.save_as(root / "short.dcm")
    frames = pydicom.dcmread(root / "whole.dcm")
    frames.NumberOfFrames = 2_000_000_000
    frames.save_as(root / "frames.dcm")
    unknown = pydicom.dcmread(root / "whole.dcm")
    unknown.PhotometricInterpretation = "HSV"
    unknown.save_as(root / "colour.dcm")
    shifted = pydicom.dcmread(root / "whole.dcm")
    shifted.HighBit = 15
    shifted.save_as(root / "shifted.dcm")
    (root / "syntax.dcm").write_bytes(whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"))
    (root / "whole.dcm").unlink()
    return {
        "cut.dcm": "truncated",
        "header.dcm": "truncated",
        "empty.dcm": "empty file",
        "report.dcm": "no pixels",
        "huge.dcm": "too large",
        "short.dcm": "truncated",
        "frames.dcm": "too large",
        "colour.dcm": "unreadable",
        "shifted.dcm": "unreadable",
        "syntax.dcm": "no decoder",
    }


def test_bad_files_are_refused_and_skipped_by_name(tmp_path, capfd):
    expected = bad_files(tmp_path / "a")
    write(tmp_path / "a" / "good.dcm")
    write(tmp_path / "b" / "good.dcm")
    found = {name: code(tmp_path / "a" / name) for name in expected}
    cases = folder.load(tmp_path)
    skipped = {one.file.removeprefix("a/"): one.code for one in cases.skipped}
    assert found == skipped
    del found["header.dcm"], expected["header.dcm"]  # may be cut within any attribute
    assert found == expected
    assert list(cases.file) == ["a/good.dcm", "b/good.dcm"]
    assert capfd.readouterr() == ("", "")


def test_damaged_files_end_in_trouble_and_nothing_else(tmp_path, capfd):
    chance = np.random.default_rng(0)
    codes = set()
    for syntax in (ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, DeflatedExplicitVRLittleEndian):
        whole = write(tmp_path / "a.dcm", LARGE, syntax, PatientName="A^B").read_bytes()
        for _trial in range(40):
            damaged = bytearray(whole)
            for _byte in range(chance.integers(1, 8)):
                damaged[chance.integers(132, len(damaged))] = chance.integers(256)
            (tmp_path / "a.dcm").write_bytes(damaged)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    assert image_codec.read(tmp_path / "a.dcm").mode in ("L", "F", "RGB")
                except UserError as trouble:
                    codes.add(trouble.code)
    assert len(codes) > 2 and codes <= {
        "truncated",
        "unreadable",
        "too large",
        "no pixels",
        "no decoder",
        "window",
        "no scale",
    }
    assert capfd.readouterr() == ("", "")


def test_a_deflated_bomb_is_refused_in_little_memory(tmp_path):
    """200 KB that would become over 200 MB."""
    path = write(tmp_path / "a.dcm", syntax=DeflatedExplicitVRLittleEndian)
    whole = path.read_bytes()
    meta = 132 + 12 + struct.unpack_from("<I", whole, 140)[0]
    packing = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(1 << 20)
    body = b"".join(packing.compress(zeros) for _ in range(201)) + packing.flush()
    path.write_bytes(whole[:meta] + body)
    assert path.stat().st_size < 300_000
    tracemalloc.start()
    assert code(path) == "too large"
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_run_lengths_that_unfold_too_far(tmp_path, monkeypatch):
    path = write(tmp_path / "a.dcm", syntax=RLELossless)
    dataset = pydicom.dcmread(path)
    header = struct.pack("<16I", 2, 64, 66, *[0] * 13)
    bomb = header + b"\x81\0" * 5000
    dataset.PixelData = pydicom.encaps.encapsulate([bomb])
    dataset.save_as(path)
    monkeypatch.setattr(dicom, "MOST_RUNS", 100_000)
    assert code(path) == "too large"
    assert dicom.run_length(b"\x81\0" * 10 + b"\x02abc\x80", 10_000) == 10 * 128 + 3


def test_a_picture_larger_in_its_code_than_in_its_header(tmp_path):
    path = write(tmp_path / "a.dcm", LARGE, JPEG2000Lossless)
    dataset = pydicom.dcmread(path)
    dataset.Rows, dataset.Columns = 18, 128
    dataset.save_as(path)
    assert code(path) == "unreadable"
    coded = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
    assert dicom.coded_size(coded) == (64, 36)


def test_millions_of_items_are_refused_before_they_are_read(tmp_path):
    whole = write(tmp_path / "a.dcm").read_bytes()
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 150_000
    sequence = b"\x08\0\x40\x11SQ\0\0" + struct.pack("<I", len(items)) + items
    place = whole.index(b"\x08\0\x60\0CS")
    (tmp_path / "a.dcm").write_bytes(whole[:place] + sequence + whole[place:])
    assert code(tmp_path / "a.dcm") == "too large"


def test_every_file_that_pydicom_ships(capfd):
    """None crashes; each that is read has pydicom's own values; what pydicom reads is read."""
    read = 0
    root = Path(pydicom.__file__).parent / "data"
    for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.suffix.startswith(".py")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = pydicom.dcmread(path, force=True)
                theirs = dataset.pixel_array
            except Exception:
                theirs = None
            try:
                with image_codec.opened(path) as file:
                    assert isinstance(file, dicom.File), path
                    count = file.look().frames
                    ours = [file.values(number) for number in range(count)]
                    assert image_codec.square(file.frame(0, "full"), 8, 1).shape == (1, 8, 8)
            except UserError as trouble:
                assert trouble.found and theirs is None, (path.name, trouble.found)
                continue
            for mine, frame in zip(ours, theirs if count > 1 else [theirs], strict=True):
                if dataset.PhotometricInterpretation == "PALETTE COLOR":
                    frame = pixels.apply_color_lut(frame, dataset)[..., :3]
                elif dataset.SamplesPerPixel == 1:
                    frame = pixels.apply_modality_lut(frame, dataset)
                assert np.array_equal(mine, frame), path.name
        read += 1
    assert read > 50
    assert capfd.readouterr().out == ""


def test_patients_and_columns_without_names(tmp_path):
    for i in range(6):
        about = {
            **SECRETS,
            "PatientID": f"KRK-{i // 2}",
            "PatientSex": "FM"[i % 2],
            "Manufacturer": "Acme",
            "ManufacturerModelName": "One",
        }
        write(tmp_path / "ab"[i % 2] / f"{i}.dcm", RAMP + np.uint16(i), **about)
    cases = folder.load(tmp_path)
    assert cases.grouped == "PatientID of the DICOM files" and len(set(cases.group)) == 3
    assert cases.group == [dicom.pseudonym(f"KRK-{i}") for i in (0, 1, 2, 0, 1, 2)]
    assert cases.columns == {
        "sex": ["F"] * 3 + ["M"] * 3,
        "device": ["Acme One"] * 6,
        "date": ["20240131"] * 6,
        "modality": ["CT"] * 6,
    }
    told = repr((cases.group, cases.columns, cases.grouped, cases.file))
    assert not [secret for name, secret in SECRETS.items() if name != "StudyDate" and secret in told]
    assert folder.load(tmp_path, Reading(group="none")).group == ()
    (tmp_path / "list.csv").write_text(
        "file,label,patient\n" + "".join(f"{file},{file[0]},p{i}\n" for i, file in enumerate(cases.file))
    )
    assert csv_table.load(tmp_path / "list.csv").group == [f"p{i}" for i in range(6)]


def test_the_same_patient_has_the_same_pseudonym_everywhere():
    assert dicom.pseudonym("a") == dicom.pseudonym("a") != dicom.pseudonym("b")
    assert dicom.pseudonym(dicom.pseudonym("a")) == dicom.pseudonym("a")
    assert dicom.pseudonym("") == "" == dicom.pseudonym(" ^")
    spellings = ("P001", "p001 ", " P 001", "Ｐ００１", "P001^")
    assert len({dicom.pseudonym(spelling) for spelling in spellings}) == 1
    assert dicom.pseudonym("P001") != dicom.pseudonym("P0010")


def test_each_frame_is_a_case(tmp_path):
    movie = np.stack([RAMP + np.uint16(i) for i in range(3)])
    write(tmp_path / "a" / "movie.dcm", movie, PatientID="x")
    write(tmp_path / "b" / "movie", np.stack([noise(i) for i in range(3)]), syntax=RLELossless)
    write(tmp_path / "b" / "single.dcm", noise(9), PatientID="y")
    cases = folder.load(tmp_path)
    assert list(cases.file) == [
        *(f"a/movie.dcm#{i}" for i in (1, 2, 3)),
        *(f"b/movie#{i}" for i in (1, 2, 3)),
        "b/single.dcm",
    ]
    assert cases.group == [dicom.pseudonym("x")] * 3 + ["b/movie"] * 3 + [dicom.pseudonym("y")]
    step = cases.input[1] - cases.input[0]
    assert step.numpy() == pytest.approx(255 / 4095, rel=1e-3)

    found = check.check(tmp_path)
    assert all(headers(found.cases))
    check.manifest(found, tmp_path / "checked.csv")
    again = csv_table.load(tmp_path / "checked.csv")
    rows = [list(cases.file).index(file) for file in again.file]
    assert torch.equal(again.input, cases.only(rows).input)
    assert again.group == [cases.group[i] for i in rows]


def test_frames_without_patients_stay_together(tmp_path):
    movie = np.stack([RAMP + np.uint16(i) for i in range(3)])
    for name in ("a/1.dcm", "a/2.dcm", "b/1.dcm"):
        write(tmp_path / name, movie)
    cases = folder.load(tmp_path)
    assert len(set(cases.group)) == 3 and cases.grouped == "the DICOM files with several frames"


def test_one_patient_id_for_all_says_nothing(tmp_path):
    two_classes(tmp_path, PatientID="ANONYMOUS")
    assert folder.load(tmp_path).group == ()


def run(*words) -> int:
    return main.run([str(word) for word in words])


def test_predicting_dicom(tmp_path, capsys):
    root = two_classes(tmp_path / "scans", 6)
    assert run("train", "cnn", f"data={root}", "budget=1ep", "--quiet") == 0
    [receipt] = Path("runs").glob("*/*/receipt.json")
    movie = write(tmp_path / "movie.dcm", np.stack([RAMP, RAMP]))
    capsys.readouterr()
    assert run("predict", receipt.parent, movie, root / "a" / "0.dcm", "--json") == 0
    said = capsys.readouterr().out
    assert "movie.dcm#1" in said and "movie.dcm#2" in said and "error" not in said
    for secret in ("patient 0", "patient 1"):
        for file in receipt.parent.rglob("*"):
            if file.is_file():
                assert secret.encode() not in file.read_bytes(), file


def test_data_shows_which_attributes_identify_and_never_what_they_say(tmp_path, capsys):
    root = tmp_path / "scans"
    for i in range(4):
        write(
            root / "ab"[i % 2] / f"{i}.dcm",
            RAMP + np.uint16(i),
            **(SECRETS if i else {"PatientName": "", "PatientID": "z"}),
        )
    assert run("data", root, "--json") == 0
    said = capsys.readouterr().out
    found, page = (json.loads(said)[name] for name in ("identifying", "page"))
    assert found["PatientName"] == 3 and found["PatientID"] == 4 and found["InstitutionName"] == 3
    assert "Rows" not in found and set(SECRETS) <= set(found)
    assert run("data", root) == 0
    said += capsys.readouterr().out
    assert "PatientName 3" in " ".join(said.split()) and "souron data anonymise" in said
    for place in (said, Path(page).read_text(encoding="utf-8")):
        assert not [secret for secret in SECRETS.values() if secret in place]


def identified(path, i, **more):
    """A file that names its patient in every corner."""
    inner, deep, code = Dataset(), Dataset(), Dataset()
    inner.PatientName, inner.PatientID = SECRETS["PatientName"], SECRETS["PatientID"]
    inner.ReferencedSOPInstanceUID = SECRETS["StudyInstanceUID"]
    deep.ReferencedSOPClassUID, deep.SourceImageSequence = "1.2.3", [inner]
    code.CodeMeaning = f"as for {SECRETS['PatientID']}"
    write(
        path,
        RAMP + np.uint16(i),
        **SECRETS,
        SourceImageSequence=[deep],
        ViewCodeSequence=[code],
        ImageType=["ORIGINAL", "PRIMARY"],
        PatientSex="F",
        KVP="120",
        **more,
    )
    dataset = pydicom.dcmread(path)
    block = dataset.private_block(0x0009, "ACME", create=True)
    block.add_new(1, "LO", SECRETS["PatientName"])
    dataset.preamble = SECRETS["PatientName"].encode().ljust(128, b"\0")
    dataset.file_meta.SourceApplicationEntityTitle = SECRETS["StationName"]
    dataset.BodyPartExamined = "KNEE"
    dataset.save_as(path)


def test_anonymise_end_to_end(tmp_path, capsys):
    root, out = tmp_path / "scans", tmp_path / "clean"
    for i in range(4):
        more = {"BurnedInAnnotation": "YES"} if i == 0 else {}
        more |= {"Modality": "US"} if i == 1 else {}
        identified(root / "ab"[i % 2] / f"Yamada {i}.dcm", i, **more)
    write(root / "b" / "packed", RAMP, syntax=RLELossless, **SECRETS)
    write(root / "b" / "deflated", RAMP + 9, syntax=DeflatedExplicitVRLittleEndian, **SECRETS)
    bad = bad_files(root / "a")
    (root / "a" / "notes.txt").write_text("Yamada Hanako")
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}

    assert run("data", "anonymise", root, out, "--json") == 0
    said = capsys.readouterr().out
    told = json.loads(said)
    assert before == {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    files = sorted(file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file())
    assert len(files) == told["files"] >= 6 and told["folders"] == ["a", "b"]
    assert files[0] == "a/000001.dcm" and files[-1].startswith("b/00000")
    assert told["left_out"] == 1 and told["burned_in"] == {"said": 1, "likely": 1}
    assert {one["file"] for one in told["skipped"]} <= {f"a/{name}" for name in bad}
    assert told["removed"]["PatientName"] == 6 and told["removed"][deidentify.PRIVATE] == 4

    words = [*SECRETS.values(), *SECRETS["PatientName"].split("^"), "ACME"]
    places = [said.encode(), *((out / file).read_bytes() for file in files)]
    for file in files:  # what is deflated as well
        places.append(pydicom.dcmread(out / file).to_json().encode())
    for word in words:
        assert not [place for place in places if word.lower().encode() in place.lower()], word

    clean = pydicom.dcmread(out / "b" / "000001.dcm")
    assert clean.PatientID == dicom.pseudonym(SECRETS["PatientID"], deidentify.secret())
    assert clean.PatientIdentityRemoved == "YES" and clean.BodyPartExamined == "KNEE"
    assert clean.SOPInstanceUID == clean.file_meta.MediaStorageSOPInstanceUID
    assert deidentify.identifying(clean) == set()
    assert run("data", "anonymise", root, out) == 5  # it is there already


def test_an_anonymised_copy_has_the_same_pictures_and_patients(tmp_path, capsys):
    root, out = two_classes(tmp_path / "scans"), tmp_path / "new" / "clean"
    assert run("data", "anonymise", root, out) == 0
    said = capsys.readouterr().err + capsys.readouterr().out
    assert "patient 1" not in said
    one, other = load.load(root), load.load(out)
    assert torch.equal(one.input, other.input) and torch.equal(one.target, other.target)
    assert len(set(zip(one.group, other.group, strict=True))) == len(set(one.group)) == 6
    assert deidentify.held(one)["PatientID"] == 6 and deidentify.held(other) == {}


def test_a_pseudonym_cannot_be_found_by_trying_ids(tmp_path, monkeypatch, capsys):
    """Without the secret; with it, a patient is the same in every copy."""
    root = two_classes(tmp_path / "scans")
    for name in ("one", "two"):
        assert run("data", "anonymise", root, tmp_path / name) == 0
    monkeypatch.setenv("SOURON_SECRET", str(tmp_path / "other secret"))
    assert run("data", "anonymise", root, tmp_path / "three") == 0
    real, one, two, three = (load.load(tmp_path / name).group for name in ("scans", "one", "two", "three"))
    assert one == two
    assert not set(one) & set(real) and not set(one) & set(three)
    secret = tmp_path / "other secret"
    assert len(secret.read_text()) == 64 and secret.stat().st_mode & 0o077 == 0
    assert not any("secret" in file.name for file in (tmp_path / "three").rglob("*"))


def test_a_table_of_labels_comes_along_without_names(tmp_path, capsys):
    root = tmp_path / "scans"
    rows = ["file,label,patient,doctor,date,split"]
    for i in range(12):
        write(root / "images" / f"Yamada {i}.dcm", RAMP + np.uint16(i), PatientID=f"P-{i // 2}")
        part = ("train", "val", "test")[i // 2 % 3]
        rows.append(f"images/Yamada {i}.dcm,{'ab'[i % 2]},P-{i // 2},Sato,2024-01-0{i % 9},{part}")
    rows.append("images/missing.dcm,a,P-9,Sato,2024-01-01,train")
    (root / "Yamada.csv").write_text("\n".join(rows), encoding="cp932")
    (root / "notes.csv").write_text("who,what\nYamada,asked", encoding="utf-8")
    assert run("data", "anonymise", root, tmp_path / "out", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["tables"] == 1 and said["left_out"] == 1 and said["files"] == 12
    made = tmp_path / "out" / "labels.csv"
    text = made.read_text(encoding="utf-8")
    assert text.splitlines()[0] == "filename,label,patient,part" and len(text.splitlines()) == 13
    for secret in ("Yamada", "Sato", "2024", "P-"):
        assert secret not in text
    one, other = load.load(root / "Yamada.csv"), load.load(made)
    assert torch.equal(one.input, other.input) and torch.equal(one.target, other.target)
    assert list(one.part) == list(other.part) and not other.skipped
    assert len(set(zip(one.group, other.group, strict=True))) == len(set(one.group)) == 6
    alone = dicom.pseudonym("P-0", deidentify.secret())  # as in the DICOM files
    assert other.group[0] == alone == pydicom.dcmread(made.parent / other.file[0]).PatientID


def test_anonymise_refuses(tmp_path, capsys):
    root = two_classes(tmp_path / "scans", 1)
    assert run("data", "anonymise", root) == 2
    assert run("data", "anonymise", root, root / "inside") == 2
    assert run("data", "anonymise", tmp_path / "scan", tmp_path / "out") == 3
    assert run("data", root, "one", "more") == 2
    assert not (root / "inside").exists() and not (tmp_path / "out").exists()
    (tmp_path / "pictures" / "a").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "pictures" / "a" / "1.png")
    assert run("data", "anonymise", tmp_path / "pictures", tmp_path / "out") == 3


def test_the_window_reaches_the_cases(tmp_path):
    root = two_classes(tmp_path, 2)
    narrow, full = (load.load(root, window=window) for window in ("1000,100", "full"))
    assert narrow.input.min() == 0 and narrow.input.max() == 255
    assert full.input.unique().numel() > 500 > narrow.input.unique().numel()
    assert torch.equal(load.load(root, window="1000,100").input, narrow.input)
    looked = [check.check(root, window=window).cases.input for window in ("1000,100", "full")]
    assert looked[0].max() == 255 and not torch.equal(*looked)


def test_pydicom_is_imported_only_for_dicom():
    script = (
        "import sys, souron.cli.main, souron.data.formats.folder; "
        "print('pydicom' in sys.modules, 'dicomanonymizer' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def shipped(name: str) -> bytes:
    return (Path(pydicom.__file__).parent / "data" / "test_files" / name).read_bytes()


def test_a_decoder_that_dies_takes_nothing_with_it(tmp_path, capfd):
    """Damaged lossless JPEG and JPEG-LS, on which GDCM ends its process; then whole ones."""
    chance = np.random.default_rng(0)
    for name in ("MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_gdcm.dcm"):
        whole = shipped(name)
        place = whole.index(b"\xe0\x7f\x10\x00")
        for _trial in range(25):
            damaged = bytearray(whole)
            for _byte in range(chance.integers(1, 8)):
                damaged[place + chance.integers(8, 400)] = chance.integers(256)
            (tmp_path / "a.dcm").write_bytes(damaged)
            try:
                image_codec.read(tmp_path / "a.dcm")
            except UserError as trouble:
                assert trouble.code in ("unreadable", "truncated", "too large")
        (tmp_path / "a.dcm").write_bytes(whole)
        assert image_codec.read(tmp_path / "a.dcm").getbbox()
    assert capfd.readouterr() == ("", "")


def test_a_decoder_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    (tmp_path / "a.dcm").write_bytes(shipped("JPEG2000.dcm"))
    with monkeypatch.context() as patch:
        patch.setattr(dicom_worker, "SECONDS", 0.0)
        dicom_worker.stop()
        assert code(tmp_path / "a.dcm") == "unreadable"
    assert image_codec.read(tmp_path / "a.dcm").getbbox()


def test_a_decoder_is_not_looked_for_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "a.dcm").write_bytes(shipped("JPEG2000.dcm"))
    for name in ("pydicom.py", "gdcm.py", "json.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit")
    dicom_worker.stop()
    assert image_codec.read(tmp_path / "a.dcm").getbbox()
