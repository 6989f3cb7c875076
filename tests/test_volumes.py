"""Volumes: every voxel at its place in millimetres, and no geometry that is guessed."""

import gzip
import struct

import nibabel
import numpy as np
import pydicom
import pytest
from scanning import AXIAL, CENTRE, ellipsoid, scan

from souron.kinds.codecs import grid, series
from souron.kinds.codecs import nrrd as codecs_nrrd
from souron.kinds.volume import Volume
from souron.utils.messages import UserError

OBLIQUE = ((0.8, 0.0, -0.6), (0.48, 0.6, 0.64))
SIDEWAYS = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))  # sagittal


def places(volume):
    index = np.stack(np.meshgrid(*map(np.arange, volume.values.shape), indexing="ij"), -1)
    return volume.placed(index.reshape(-1, 3)).reshape(*volume.values.shape, 3)


def refused(path, **how):
    with pytest.raises(UserError) as caught:
        Volume.read(path, **how)
    assert caught.value.found and caught.value.exit == 3
    return caught.value


def as_drawn(volume, most=1.0):
    """Are the values those that the formula gives at their places?"""
    return np.abs(volume.values - ellipsoid(places(volume))).max() <= most


@pytest.mark.parametrize("directions, letters", [(AXIAL, "LPS"), (OBLIQUE, "LSA"), (SIDEWAYS, "PIR")])
def test_a_series_lies_where_its_slices_lie(tmp_path, directions, letters):
    scan(tmp_path, directions=directions)
    volume = Volume.read(tmp_path)
    assert volume.values.dtype == np.int16 and volume.values.shape == (17, 20, 36)
    assert volume.spacing == pytest.approx([1.0, 1.5, 2.0])
    assert as_drawn(volume)
    assert np.linalg.det(volume.affine[:3, [2, 1, 0]]) > 0
    assert volume.orientation == letters


def test_its_json_names_no_patient(tmp_path):
    scan(tmp_path, number=3)
    assert Volume.read(tmp_path).as_json() == {
        "series": "CT 3",
        "spacing": [1.0, 1.5, 2.0],
        "size": [36, 20, 17],
        "orientation": "LPS",
    }


def test_each_slice_has_its_own_slope_and_intercept(tmp_path):
    scan(tmp_path, slopes=[(1.0, -1024.0), (2.0, -1100.0), (0.5, -1000.0)])
    volume = Volume.read(tmp_path)
    assert as_drawn(volume)
    assert volume.values.dtype == np.float32  # halves of a unit


def test_fractions_of_a_slope_stay(tmp_path):
    scan(tmp_path, slopes=[(0.5, -1000.25)])
    volume = Volume.read(tmp_path)
    assert volume.values.dtype == np.float32 and volume.values.min() == -1000.25


def test_two_series_are_listed_and_one_is_chosen(tmp_path):
    scan(tmp_path / "a", series="1.2.3", number=2)
    scan(tmp_path / "b", series="1.2.4", number=1, steps=[0, 2, 4], spacing=(1, 1))
    trouble = refused(tmp_path)
    assert trouble.code == "series" and "series=" in trouble.fix
    assert "1: CT 1, 3 slices, 1.2.4" in trouble.found
    assert "2: CT 2, 17 slices, 1.2.3" in trouble.found
    assert Volume.read(tmp_path, series="2").size == [36, 20, 17]
    assert Volume.read(tmp_path, series="1.2.4").size == [36, 20, 3]
    assert refused(tmp_path, series="9").code == "series"


def test_missing_slices_are_counted_and_named(tmp_path):
    files = scan(tmp_path)
    for number in (4, 5, 11):
        files[number].unlink()
    trouble = refused(tmp_path)
    assert trouble.code == "geometry" and "Missing slices: 3" in trouble.found
    assert "90.00..96.00" in trouble.found and "104.00..108.00" in trouble.found
    assert "resample=true" in trouble.fix
    volume = Volume.read(tmp_path, resample=True)
    assert volume.values.shape == (17, 20, 36) and volume.spacing[2] == pytest.approx(2)
    assert volume.notes and "Missing slices: 3" in volume.notes[0]
    at = places(volume)
    there = [k for k in range(17) if k not in (4, 5, 11)]
    assert np.abs(volume.values - ellipsoid(at))[there].max() <= 1
    before, after = ellipsoid(at[3]), ellipsoid(at[6])
    assert volume.values[4] == pytest.approx(before + (after - before) / 3, abs=1)


def test_uneven_steps_are_refused_or_made_even(tmp_path):
    steps = [0, 2, 4, 6.6, 8, 10, 12]
    scan(tmp_path, steps=steps)
    trouble = refused(tmp_path)
    assert "Steps other than 2 mm: 2" in trouble.found and "104.00..106.60" in trouble.found
    volume = Volume.read(tmp_path, resample=True)
    assert len(volume.values) == 7 and as_drawn(volume, 300)
    assert np.abs(volume.values - ellipsoid(places(volume)))[[0, 1, 2, 4, 5, 6]].max() <= 1


def test_slices_at_one_place_are_refused_or_averaged(tmp_path):
    scan(tmp_path, steps=[0, 2, 4, 4, 6])
    trouble = refused(tmp_path)
    assert "Slices where another one lies: 1, at 104.00 mm" in trouble.found
    volume = Volume.read(tmp_path, resample=True)
    assert len(volume.values) == 4 and as_drawn(volume)


def test_two_phases_under_one_uid_are_never_averaged(tmp_path):
    scan(tmp_path / "a")
    late = scan(tmp_path / "b", header={"RescaleIntercept": "-924"})  # enhanced: 100 HU more
    for file in late:
        file.rename(tmp_path / "a" / f"late-{file.name}")
    trouble = refused(tmp_path / "a", resample=True)
    assert trouble.code == "geometry" and "different images at one position: 17" in trouble.found
    assert "folder" in trouble.fix and "resample" not in trouble.fix


@pytest.mark.parametrize(
    "header, warns",
    [
        ({"SliceThickness": "2.5"}, True),
        ({"SpacingBetweenSlices": "-2.5"}, True),
        ({"SliceThickness": "4"}, False),
        ({"SliceThickness": ""}, False),
        ({"SliceThickness": "2.5", "SpacingBetweenSlices": "5"}, False),
        ({}, False),
    ],
)
def test_every_second_slice_missing_is_noted(tmp_path, header, warns):
    scan(tmp_path, steps=np.arange(-15, 16, 5.0), header=header)
    notes = Volume.read(tmp_path).notes
    assert bool(notes) == warns
    assert not warns or ("2.5 mm" in notes[0] and "lie 5 mm apart" in notes[0])


@pytest.mark.parametrize("tilt", [0.21, -0.4])
def test_a_tilted_gantry_is_refused_or_sheared_back(tmp_path, tilt):
    scan(tmp_path, tilt=tilt, size=(40, 36))
    trouble = refused(tmp_path)
    assert trouble.code == "geometry"
    assert f"{np.degrees(np.arctan(abs(tilt))):.1f} degrees" in trouble.found
    assert f"{32 * abs(tilt):.1f} mm over 32.0 mm" in trouble.found
    volume = Volume.read(tmp_path, resample=True)
    steps = volume.affine[:3, :3]
    assert np.allclose(steps.T @ steps, np.diag([4.0, 2.25, 1.0]))  # right angles
    inside = np.abs(places(volume)[..., 1] - CENTRE[1]) < 16  # not what no slice has seen
    wrong = np.abs(volume.values - ellipsoid(places(volume)))[inside]
    assert wrong.max() < 260 and wrong.mean() < 5  # linear between the rows of a sharp edge


def test_steps_of_a_thousandth_are_no_gap(tmp_path):
    scan(tmp_path, steps=[0, 2.001, 4, 5.999, 8])
    assert Volume.read(tmp_path).notes == ()


@pytest.mark.parametrize("second", [{"size": (20, 30)}, {"spacing": (1.5, 1.2)}, {"directions": OBLIQUE}])
def test_slices_of_several_kinds_are_refused_always(tmp_path, second):
    scan(tmp_path / "a", steps=[0, 2, 4, 6])
    scan(tmp_path / "b", steps=[8, 10], **second)
    for resample in (False, True):
        trouble = refused(tmp_path, resample=resample)
        assert trouble.code == "geometry" and "several kinds: 4 of 20 x 36" in trouble.found
        assert "2 of 20 x" in trouble.found


def test_one_slice_is_no_volume(tmp_path):
    scan(tmp_path, steps=[0])
    assert "one slice only" in refused(tmp_path, resample=True).found


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "PixelSpacing"])
def test_slices_without_a_place_are_refused(tmp_path, keyword):
    scan(tmp_path, drop=[keyword])
    trouble = refused(tmp_path)
    assert trouble.code == "no geometry" and keyword in trouble.found


def test_other_files_of_the_folder_are_left_alone(tmp_path):
    scan(tmp_path)
    (tmp_path / "notes.txt").write_text("no slice")
    (tmp_path / ".hidden.dcm").write_text("no slice")
    assert len(Volume.read(tmp_path).values) == 17
    (tmp_path / "away").mkdir()
    assert refused(tmp_path / "away").code == "no files"


def test_a_damaged_slice_is_no_gap_but_trouble(tmp_path):
    files = scan(tmp_path)
    files[-1].write_bytes(files[-1].read_bytes()[:900])
    assert refused(tmp_path).code in ("truncated", "unreadable")


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    files = scan(tmp_path / "series")
    outside = files[3].rename(tmp_path / "outside.dcm")
    files[3].symlink_to(outside)
    assert refused(tmp_path / "series").code == "outside"


def test_a_series_may_not_be_too_large(tmp_path, monkeypatch):
    scan(tmp_path)
    monkeypatch.setattr(grid, "MOST_VOXELS", 17 * 20 * 36 - 1)
    monkeypatch.setattr(series, "_values", lambda slices: pytest.fail("read"))
    assert refused(tmp_path).code == "too large"


def drawn(matrix, size=(18, 14, 12)):
    """Values of the ellipsoid on a NIfTI's grid: the matrix leads to right, front and head."""
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1)
    place = index @ matrix[:3, :3].T + matrix[:3, 3]
    return np.round(ellipsoid(place * [-1, -1, 1])).astype(np.int16)


RAS = np.array([[2.0, 0, 0, -14], [0, 2, 0, -18], [0, 0, 2, 89], [0, 0, 0, 1]])
LAS = np.array([[-2.0, 0, 0, 20], [0, 2, 0, -18], [0, 0, 2, 89], [0, 0, 0, 1]])


@pytest.mark.parametrize("matrix, letters", [(RAS, "RAS"), (LAS, "LAS")])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_nifti_lies_where_its_matrix_says(tmp_path, matrix, letters, ending):
    nibabel.save(nibabel.Nifti1Image(drawn(matrix), matrix), tmp_path / f"a{ending}")
    volume = Volume.read(tmp_path / f"a{ending}")
    assert as_drawn(volume) and volume.orientation == letters and volume.series == "a"
    assert nibabel.aff2axcodes(matrix) == tuple(letters)


def test_a_nifti_of_metres_and_of_the_second_kind(tmp_path):
    small = RAS.copy()
    small[:3] /= 1000
    image = nibabel.Nifti2Image(drawn(RAS), small)
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "a.nii")
    assert as_drawn(Volume.read(tmp_path / "a.nii"))


def test_a_nifti_with_slope_is_scaled(tmp_path):
    image = nibabel.Nifti1Image(drawn(RAS).astype(np.float32) / 2, RAS)
    image.header.set_data_dtype(np.int16)
    image.header.set_slope_inter(0.25, -100)
    nibabel.save(image, tmp_path / "a.nii")
    found = nibabel.load(tmp_path / "a.nii").get_fdata()
    assert pytest.approx(found) == Volume.read(tmp_path / "a.nii").values.T


@pytest.mark.parametrize("code", ["qform", "sform"])
def test_a_nifti_has_one_of_two_matrices(tmp_path, code):
    image = nibabel.Nifti1Image(drawn(LAS), LAS)
    image.set_qform(LAS, int(code == "qform"))
    image.set_sform(LAS if code == "sform" else None, int(code == "sform"))
    nibabel.save(image, tmp_path / "a.nii")
    assert as_drawn(Volume.read(tmp_path / "a.nii"))


def test_a_nifti_without_a_matrix_needs_a_spacing(tmp_path):
    image = nibabel.Nifti1Image(drawn(RAS), None)
    image.header.set_zooms((2, 2, 3))
    nibabel.save(image, tmp_path / "a.nii")
    trouble = refused(tmp_path / "a.nii")
    assert trouble.code == "no geometry" and "spacing=" in trouble.fix
    volume = Volume.read(tmp_path / "a.nii", spacing=(2, 2.5, 3))
    assert volume.spacing == [2, 2.5, 3] and "swapped" in volume.notes[0]
    assert refused(tmp_path / "a.nii", spacing=(2, 0, 3)).code == "numbers"


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 2)])
def test_a_nifti_of_other_dimensions_is_refused(tmp_path, shape):
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.int16), RAS), tmp_path / "a.nii")
    assert refused(tmp_path / "a.nii").code == "not a volume"


def test_a_nifti_of_colours_is_refused(tmp_path):
    colours = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, RAS), tmp_path / "a.nii")
    assert refused(tmp_path / "a.nii").code == "not a volume"


def test_a_nifti_that_would_grow_is_refused_in_little_memory(tmp_path):
    head = bytearray(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), RAS).to_bytes())
    head[40:48] = struct.pack("<4h", 3, 30_000, 30_000, 30_000)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(head) + bytes(10_000_000)))
    assert refused(tmp_path / "a.nii.gz").code == "too large"
    head[40:48] = struct.pack("<4h", 3, 300, 300, 300)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(head)))
    assert refused(tmp_path / "a.nii.gz").code == "truncated"
    head[108:112] = struct.pack("<f", 1e9)  # the values would begin a gigabyte further on
    (tmp_path / "a.nii").write_bytes(bytes(head))
    assert refused(tmp_path / "a.nii").code == "unreadable"


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    values = np.zeros((3, 3, 3), np.float32)
    values[1, 1, 1] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, RAS), tmp_path / "a.nii")
    assert refused(tmp_path / "a.nii").code == "unreadable"


def nrrd(path, values, *lines, encoding="raw", endian="little"):
    """``values`` (slices, rows, columns)."""
    kind = {"i": "short", "f": "float", "u": "uchar"}[values.dtype.kind]
    head = [
        "NRRD0004",
        "# drawn",
        f"type: {kind}",
        "dimension: 3",
        f"sizes: {' '.join(map(str, values.shape[::-1]))}",
        f"endian: {endian}",
        f"encoding: {encoding}",
        *lines,
        "key:=value",
    ]
    order = {"little": "<", "big": ">"}[endian]
    body = values.astype(values.dtype.newbyteorder(order)).tobytes()
    body = gzip.compress(body) if encoding == "gzip" else body
    path.write_bytes("\n".join([*head, "", ""]).encode() + body)


@pytest.mark.parametrize("encoding, endian", [("raw", "little"), ("gzip", "big")])
@pytest.mark.parametrize("space", ["left-posterior-superior", "right-anterior-superior"])
def test_a_nrrd_lies_where_its_directions_say(tmp_path, encoding, endian, space):
    sign = np.diag([1 if space[0] == "l" else -1, 1 if space[5] == "p" else -1, 1])
    sign = sign if space[0] == "l" else np.diag([-1, -1, 1])
    matrix = sign @ RAS[:3]
    index = np.stack(np.meshgrid(*map(np.arange, (18, 14, 12)), indexing="ij"), -1)
    place = (index @ matrix[:, :3].T + matrix[:, 3]) @ sign
    values = np.round(ellipsoid(place)).astype(np.int16).T
    ways = " ".join("(" + ",".join(f"{v:g}" for v in way) + ")" for way in matrix[:, :3].T)
    origin = "(" + ",".join(f"{v:g}" for v in matrix[:, 3]) + ")"
    nrrd(
        tmp_path / "a.nrrd",
        values,
        f"space: {space}",
        f"space directions: {ways}",
        f"space origin: {origin}",
        encoding=encoding,
        endian=endian,
    )
    volume = Volume.read(tmp_path / "a.nrrd")
    assert as_drawn(volume) and volume.values.std() > 100


@pytest.mark.parametrize(
    "encoding, lines, before, behind",
    [
        ("raw", ["byte skip: 5"], b"other", b""),
        ("raw", ["byteskip: -1"], b"anything", b""),
        ("raw", ["line skip: 2"], b"one\ntwo\n", b""),
        ("raw", ["lineskip: 1", "byte skip: 3"], b"one\nabc", b"more"),
        ("gzip", ["line skip: 1"], b"one\n", b""),
    ],
)
def test_a_nrrd_skips_lines_and_bytes(tmp_path, encoding, lines, before, behind):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = tmp_path / "a.nrrd"
    nrrd(path, values, *lines, encoding=encoding)
    head, end, body = path.read_bytes().partition(b"\n\n")
    path.write_bytes(head + end + before + body + behind)
    assert np.array_equal(Volume.read(path, spacing=(1, 1, 2)).values, values)


def test_a_gzipped_nrrd_skips_bytes_of_what_is_inside(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = tmp_path / "a.nrrd"
    nrrd(path, values, "byte skip: 7", encoding="gzip")
    head, end, body = path.read_bytes().partition(b"\n\n")
    path.write_bytes(head + end + gzip.compress(b"7 bytes" + gzip.decompress(body)))
    assert np.array_equal(Volume.read(path, spacing=(1, 1, 2)).values, values)


@pytest.mark.parametrize(
    "line", ["byte skip: -2", "line skip: -1", "byte skip: 2", "line skip: 9", "byte skip: 1000000000", "byte skip: x"]
)
def test_a_nrrd_that_skips_what_is_not_there_is_refused(tmp_path, line):
    nrrd(tmp_path / "a.nrrd", np.zeros((2, 3, 4), np.int16), line)
    refused(tmp_path / "a.nrrd", spacing=(1, 1, 2))


def test_a_slope_that_no_device_has_is_refused(tmp_path):
    scan(tmp_path, slopes=[(1.0, -1024.0)] * 4 + [(1e30, -1024.0)] + [(1.0, -1024.0)] * 12)
    files = sorted(tmp_path.glob("*.dcm"))
    for file in files:
        slice_ = pydicom.dcmread(file)
        if float(slice_.RescaleSlope) > 1:
            slice_.PixelData = np.ones((20, 36), np.uint16).tobytes()
            slice_.save_as(file)
    assert "1e+30" in refused(tmp_path).found


@pytest.mark.parametrize(
    "units, millimetres",
    [("", [1, 2, 3]), ('"mm" "mm" "mm"', [1, 2, 3]), ('"m" "m" "m"', [1000, 2000, 3000]),
     ('"um" "µm" "cm"', [0.001, 0.002, 30])],
)  # fmt: skip
def test_a_nrrd_obeys_the_units_of_its_space(tmp_path, units, millimetres):
    lines = ["space: left-posterior-superior", "space directions: (1,0,0) (0,2,0) (0,0,3)"]
    nrrd(tmp_path / "a.nrrd", np.zeros((2, 3, 4), np.int16), *lines, *([f"space units: {units}"] if units else []))
    affine = codecs_nrrd.read(tmp_path / "a.nrrd", (tmp_path / "a.nrrd").read_bytes()).affine
    assert grid.spacing_of(affine) == pytest.approx(millimetres)


@pytest.mark.parametrize("units", ['"furlong" "mm" "mm"', '"mm"', "mm mm mm"])
def test_a_nrrd_in_unknown_units_needs_a_spacing(tmp_path, units):
    lines = ["space: left-posterior-superior", "space directions: (1,0,0) (0,2,0) (0,0,3)", f"space units: {units}"]
    nrrd(tmp_path / "a.nrrd", np.zeros((2, 3, 4), np.int16), *lines)
    assert refused(tmp_path / "a.nrrd").code == "no geometry"
    assert Volume.read(tmp_path / "a.nrrd", spacing=(1, 1, 2)).size == [4, 3, 2]


def test_a_nrrd_without_directions_needs_a_spacing(tmp_path):
    nrrd(tmp_path / "a.nrrd", np.zeros((2, 3, 4), np.int16), "spacings: 1 1 2")
    assert refused(tmp_path / "a.nrrd").code == "no geometry"
    assert Volume.read(tmp_path / "a.nrrd", spacing=(1, 1, 2)).size == [4, 3, 2]


def test_a_nrrd_whose_values_lie_elsewhere_is_refused(tmp_path):
    nrrd(tmp_path / "a.nrrd", np.zeros((2, 3, 4), np.int16), "data file: /etc/passwd")
    assert refused(tmp_path / "a.nrrd").code == "not a volume"
    nrrd(tmp_path / "a.nrrd", np.zeros((2, 3, 4), np.int16), encoding="raw")
    text = (tmp_path / "a.nrrd").read_bytes()
    (tmp_path / "a.nrrd").write_bytes(text.replace(b"encoding: raw", b"encoding: bzip2"))
    assert refused(tmp_path / "a.nrrd").code == "no decoder"
    (tmp_path / "a.nrrd").write_bytes(text.replace(b"sizes: 4 3 2", b"sizes: 9999 9999 99"))
    assert refused(tmp_path / "a.nrrd").code == "too large"


def test_a_single_dicom_file_asks_for_the_folder(tmp_path):
    [first, *_rest] = scan(tmp_path)
    trouble = refused(first)
    assert trouble.code == "not a volume" and "folder" in trouble.expected


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.eye(3), np.diag([1, 1, 0, 1]), np.full((4, 4), np.nan)])
def test_a_matrix_that_places_nothing_is_refused(affine):
    with pytest.raises(UserError):
        Volume(np.zeros((2, 2, 2)), affine)


def test_what_was_saved_is_what_is_read(tmp_path):
    scan(tmp_path / "series", directions=OBLIQUE, slopes=[(0.5, -1000.25)])
    volume = Volume.read(tmp_path / "series")
    for ending in (".nii", ".nii.gz"):
        volume.save(tmp_path / f"a{ending}")
        again = Volume.read(tmp_path / f"a{ending}")
        assert np.array_equal(again.values, volume.values)
        assert again.affine == pytest.approx(volume.affine, abs=1e-4)
    assert nibabel.load(tmp_path / "a.nii").shape == (36, 20, 17)
