"""DICOM segmentations: written of a series, read back, read by others, hostile ones refused."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid
from scanning import AXIAL, scan

from souron.kinds.codecs import segmentation
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.mesh import Mesh
from souron.kinds.volume import Volume
from souron.utils.messages import UserError

OBLIQUE = ((0.8, 0.0, -0.6), (0.48, 0.6, 0.64))
UIDS = {"StudyInstanceUID": "1.2.7", "FrameOfReferenceUID": "1.2.8", "PatientID": "P 7"}


def named(files, **values):
    """The same slices with these attributes."""
    for file in files:
        held = pydicom.dcmread(file)
        for keyword, value in values.items():
            setattr(held, keyword, value)
        held.save_as(file)
    return files


def area_of(volume):
    """Two segments in some of the slices; the third has none."""
    area = np.zeros(volume.values.shape, np.uint8)
    area[3:6, 2:9, 5:13], area[5:12, 10, 20:] = 1, 2
    return area


@pytest.fixture(params=[AXIAL, OBLIQUE], ids=["axial", "oblique"])
def labelled(tmp_path, request):
    named(scan(tmp_path / "ct", directions=request.param), **UIDS)
    volume = Volume.read(tmp_path / "ct")
    return LabelledVolume(volume, area_of(volume), ["", "liver", "Niere 左", "spleen"], "dicom")


def test_it_reads_back_equal_and_refers_to_its_series(tmp_path, labelled):
    labelled.save(tmp_path / "seg.dcm")
    volume = labelled.volume
    found = segmentation.read(tmp_path / "seg.dcm", volume.values.shape, volume.affine)
    assert np.array_equal(found.area, labelled.area) and found.overlapping == 0
    assert found.names == ("liver", "Niere 左", "spleen")
    assert found.series == volume.uid == "1.2.3"
    held = pydicom.dcmread(tmp_path / "seg.dcm")
    assert {word: held[word].value for word in UIDS} == UIDS
    assert held.PatientName == "Yamada^Hanako" and held.NumberOfFrames == 3 + 7
    liver = held.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    assert (liver.CodeValue, liver.CodingSchemeDesignator) == ("10200004", "SCT")
    kinds = {
        pydicom.dcmread(f).SOPInstanceUID: pydicom.dcmread(f).ImagePositionPatient for f in (tmp_path / "ct").iterdir()
    }
    for frame in held.PerFrameFunctionalGroupsSequence:
        [source] = frame.DerivationImageSequence[0].SourceImageSequence
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(kinds[source.ReferencedSOPInstanceUID], place, atol=1e-4)
    assert len(held.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 9


def test_frames_that_end_within_a_byte_are_read(tmp_path):
    named(scan(tmp_path / "ct", size=(5, 7), steps=[0, 2, 4, 6]), **UIDS)
    volume = Volume.read(tmp_path / "ct")
    area = (np.arange(4 * 5 * 7).reshape(4, 5, 7) % 3 == 0).astype(np.uint8)
    LabelledVolume(volume, area, ["", "a"]).save(tmp_path / "seg.dcm")
    found = segmentation.read(tmp_path / "seg.dcm", area.shape, volume.affine)
    assert np.array_equal(found.area, area)


def test_another_reader_sees_the_same(tmp_path, labelled):
    highdicom = pytest.importorskip("highdicom")
    labelled.save(tmp_path / "seg.dcm")
    theirs = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert theirs.number_of_segments == 3
    assert theirs.get_segment_description(1).segment_label == "liver"
    made = theirs.get_volume(combine_segments=True, allow_missing_positions=True)
    area, affine = np.asarray(made.array), made.affine
    for label in (1, 2):
        ours = labelled.volume.placed(np.argwhere(labelled.area == label))
        other = np.argwhere(area == label) @ affine[:3, :3].T + affine[:3, 3]
        assert np.allclose(sorted(map(tuple, ours.round(2))), sorted(map(tuple, other.round(2))), atol=0.02)


def test_what_another_writer_writes_is_read(tmp_path):
    highdicom = pytest.importorskip("highdicom")
    from highdicom.seg import SegmentationTypeValues as Kind
    from pydicom.sr.codedict import codes

    extra = {
        "PatientBirthDate": "",
        "PatientSex": "",
        "AccessionNumber": "",
        "StudyDate": "",
        "StudyTime": "",
        "StudyID": "",
        "ReferringPhysicianName": "",
        "PositionReferenceIndicator": "",
        "SliceThickness": 2,
    }
    files = named(scan(tmp_path / "ct"), **UIDS, **extra)
    volume = Volume.read(tmp_path / "ct")
    area = area_of(volume)
    about = [
        highdicom.seg.SegmentDescription(
            number,
            name,
            codes.SCT.AnatomicalStructure,
            codes.SCT.Liver,
            "AUTOMATIC",
            highdicom.AlgorithmIdentificationSequence("x", codes.DCM.ArtificialIntelligence, "1"),
        )
        for number, name in ((1, "liver"), (2, "kidneys"))
    ]
    for kind in (Kind.BINARY, Kind.FRACTIONAL):
        masks = np.stack([area == 1, area == 2], -1)
        highdicom.seg.Segmentation(
            [pydicom.dcmread(f) for f in files],
            masks if kind is Kind.BINARY else masks * 1.0,
            kind,
            about,
            generate_uid(),
            5,
            generate_uid(),
            1,
            "a",
            "b",
            "c",
            "d",
        ).save_as(tmp_path / "seg.dcm")
        found = segmentation.read(tmp_path / "seg.dcm", volume.values.shape, volume.affine)
        assert np.array_equal(found.area, area) and found.names == ("liver", "kidneys")


def test_in_a_folder_with_its_series_it_is_no_second_series(tmp_path, labelled):
    labelled.save(tmp_path / "ct" / "seg.dcm")
    assert np.array_equal(Volume.read(tmp_path / "ct").values, labelled.volume.values)
    assert segmentation.referred(tmp_path / "ct" / "seg.dcm") == "1.2.3"


def test_nothing_found_is_written_too(tmp_path, labelled):
    empty = LabelledVolume(labelled.volume, labelled.area * 0, labelled.names, "dicom")
    empty.save(tmp_path / "seg.dcm")
    volume = labelled.volume
    assert not segmentation.read(tmp_path / "seg.dcm", volume.values.shape, volume.affine).area.any()


def test_of_segments_that_overlap_the_last_has_the_voxels(tmp_path, labelled):
    labelled.save(tmp_path / "seg.dcm")
    held = pydicom.dcmread(tmp_path / "seg.dcm")
    for frame in held.PerFrameFunctionalGroupsSequence:
        which = frame.SegmentIdentificationSequence[0]
        place = frame.FrameContentSequence[0].DimensionIndexValues[1]
        if place == 6 and which.ReferencedSegmentNumber == 1:  # the slice that both have
            frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 3
    bits = np.frombuffer(held.PixelData, np.uint8)
    frames = np.unpackbits(bits, bitorder="little")[: 10 * 20 * 36].reshape(10, 20, 36)
    frames[3] |= frames[2]  # the first of the second segment, in the same slice
    held.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()
    held.save_as(tmp_path / "seg.dcm")
    volume = labelled.volume
    found = segmentation.read(tmp_path / "seg.dcm", volume.values.shape, volume.affine)
    both = labelled.area[5] == 1
    assert found.overlapping == both.sum() > 0 and (found.area[5][both] == 2).all()


def refused(path, volume, code):
    with pytest.raises(UserError) as caught:
        segmentation.read(path, volume.values.shape, volume.affine)
    assert caught.value.code == code and caught.value.exit == 3, caught.value
    return caught.value


def test_of_another_grid_it_is_refused(tmp_path, labelled):
    labelled.save(tmp_path / "seg.dcm")
    volume = labelled.volume
    moved, wider = volume.affine.copy(), volume.affine @ np.diag([1, 1, 2, 1])
    moved[:3, 3] += 0.3
    for affine in (moved, wider, volume.affine @ np.diag([1, 3, 1, 1])):
        trouble = refused(tmp_path / "seg.dcm", Volume(volume.values, affine), "geometry")
        assert "no voxels of the volume" in trouble.found
    short = Volume(volume.values[:6], volume.affine)
    assert "beyond" in refused(tmp_path / "seg.dcm", short, "geometry").found


@pytest.mark.parametrize(
    "change, code",
    [
        (lambda held: held.PixelData[:100], "truncated"),
        ({"SegmentationType": "LABELMAP"}, "not a segmentation"),
        ({"NumberOfFrames": 99}, "unreadable"),
        ({"NumberOfFrames": 2_000_000}, "too large"),
        ({"Rows": 60_000, "Columns": 60_000}, "too large"),
        ({"SegmentSequence": []}, "not a segmentation"),
        ({"SharedFunctionalGroupsSequence": []}, "unreadable"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "not a segmentation"),
    ],
)
def test_hostile_files_are_refused(tmp_path, labelled, change, code):
    labelled.save(tmp_path / "seg.dcm")
    held = pydicom.dcmread(tmp_path / "seg.dcm")
    if callable(change):
        held.PixelData = change(held)
    else:
        held.update(
            {
                pydicom.datadict.tag_for_keyword(word): pydicom.DataElement(
                    pydicom.datadict.tag_for_keyword(word), held[word].VR, value
                )
                for word, value in change.items()
            }
        )
    held.save_as(tmp_path / "bad.dcm")
    refused(tmp_path / "bad.dcm", labelled.volume, code)


def test_compressed_pixels_are_refused(tmp_path, labelled):
    labelled.save(tmp_path / "seg.dcm")
    held = pydicom.dcmread(tmp_path / "seg.dcm")
    held.file_meta.TransferSyntaxUID = pydicom.uid.RLELossless
    held.PixelData = pydicom.encaps.encapsulate([held.PixelData])
    held["PixelData"].is_undefined_length = True
    held.save_as(tmp_path / "bad.dcm")
    refused(tmp_path / "bad.dcm", labelled.volume, "no decoder")


def test_without_a_series_there_is_nothing_to_refer_to(tmp_path, labelled):
    alone = Volume(labelled.volume.values, labelled.volume.affine)
    with pytest.raises(UserError) as caught:
        LabelledVolume(alone, labelled.area, labelled.names).save(tmp_path / "seg.dcm")
    assert caught.value.code == "no reference" and caught.value.fix == "to=nifti"
    scan(tmp_path / "nameless")
    volume = Volume.read(tmp_path / "nameless")
    with pytest.raises(UserError) as caught:
        LabelledVolume(volume, labelled.area, labelled.names).save(tmp_path / "seg.dcm")
    assert "StudyInstanceUID" in caught.value.found and not (tmp_path / "seg.dcm").exists()


def test_surfaces_stand_beside_it_and_in_the_json(tmp_path, labelled):
    thing = LabelledVolume(labelled.volume, labelled.area, labelled.names, meshed=True)
    assert thing.suffix == ".nii.gz" and labelled.suffix == ".dcm" and thing.as_json()["meshes"] == []
    thing.save(tmp_path / "out.nii.gz")
    liver, kidneys = thing.as_json()["meshes"]
    assert liver["name"] == "liver" and kidneys["name"] == "Niere 左"
    mesh = Mesh.read(tmp_path / "out-liver.stl")
    assert len(mesh.faces) == liver["triangles"]
    inside = thing.volume.placed(np.argwhere(thing.area == 1))
    assert np.allclose(mesh.vertices.mean(0), inside.mean(0), atol=0.1)
    true = thing.as_json()["labels"][0]["millilitres"]
    assert liver["millilitres"] == pytest.approx(true, rel=0.15)
