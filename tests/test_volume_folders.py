"""Folders of volumes with labels: every layout, one grid for all, every fault by its file."""

import itertools
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from scanning import scan
from shapes import scans
from test_segmentations import UIDS, area_of, named

from souron.cli import main
from souron.data import load
from souron.data.formats import volumes
from souron.data.readers import resampling, volume_pairs
from souron.data.readers.settings import Reading
from souron.kinds.codecs import axes, nifti, segmentation
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.volume import Volume
from souron.runs import train
from souron.utils.messages import UserError

NAMES = ("background", "ball", "cubes")


@pytest.fixture(scope="module")
def cases():
    return scans(8)


def affine_of(spacing, origin=(-7.0, 3.0, 40.0)):
    affine = np.eye(4)
    affine[:3, :3] = np.diag(spacing)[::-1]
    affine[:3, 3] = origin
    return affine


def put(path, values, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".nrrd"):
        vectors = " ".join(f"({','.join(map(str, way))})" for way in affine[:3, 2::-1].T)
        head = (
            f"NRRD0004\ntype: int16\ndimension: 3\nspace: left-posterior-superior\n"
            f"sizes: {' '.join(map(str, values.shape[::-1]))}\nspace directions: {vectors}\n"
            f"endian: little\nencoding: raw\n"
            f"space origin: ({','.join(map(str, affine[:3, 3]))})\n\n"
        )
        path.write_bytes(head.encode() + np.ascontiguousarray(values, "<i2").tobytes())
    else:
        path.write_bytes(nifti.written(np.ascontiguousarray(values), affine, path.suffix == ".gz"))


def folder(place, cases, volume="images/{}.nii.gz", labels="labels/{}.nii.gz", spacing=(3, 2, 1.5)):
    for row in range(len(cases)):
        affine = affine_of(spacing)
        put(place / volume.format(row), cases.input[row, 0].numpy(), affine)
        put(place / labels.format(row), cases.target[row].numpy(), affine)
    return place


def told(data):
    return {(one.file, one.code) for one in data.skipped}


@pytest.mark.parametrize(
    "volume, labels",
    [
        ("images/{}.nii.gz", "labels/{}.nii.gz"),
        ("images/{}.nrrd", "labels/{}.nii"),
        ("imagesTr/case_{}_0000.nii.gz", "labelsTr/case_{}.nii.gz"),
        ("p{}/volume.nii", "p{}/labels.nii.gz"),
        ("{}_ct.nii.gz", "{}_seg.nii.gz"),
        ("scans/{}/ct.nii.gz", "scans/{}/masks/1.nii.gz"),
    ],
)
def test_every_layout_is_read(tmp_path, cases, volume, labels):
    folder(tmp_path, cases, volume, labels)
    assert volumes.describes(tmp_path)
    data = volumes.load(tmp_path)
    assert torch.equal(data.input, cases.input) and torch.equal(data.target, cases.target)
    assert data.input.dtype == torch.int16 and data.classes == ("background", "1", "2")
    assert data.file == [volume.format(row) for row in range(8)] and not data.skipped
    assert np.allclose(data.spacing, [(3, 2, 1.5)] * 8)


def test_a_folder_without_labels_or_of_pictures_is_left_to_others(tmp_path, cases):
    folder(tmp_path / "both", cases.only([0]))
    assert not volumes.describes(tmp_path / "both" / "images")
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(b"")
    (tmp_path / "labels" / "1.txt").write_text("0 .5 .5 .1 .1")
    assert volume_pairs.role_of(tmp_path / "labels" / "1.txt", tmp_path / "labels" / "1.txt") == ""
    with pytest.raises(UserError) as caught:
        volumes.load(tmp_path / "both" / "images")
    assert caught.value.code == "no labels" and caught.value.exit == 3


def test_whatever_the_axes_the_patient_is_upright(tmp_path, cases):
    """Volumes and labels each with axes of their own."""
    every = list(itertools.product(itertools.permutations(range(3)), ((), (0,), (1, 2), (0, 1, 2))))
    affine = affine_of((3, 2, 1.5))
    for number, (order, flipped) in enumerate(every):
        other = every[(number * 7 + 3) % len(every)]
        turned = axes.turned(cases.input[0, 0].numpy(), affine, order, flipped)
        put(tmp_path / "images" / f"{number}.nii", *turned)
        labels = axes.turned(cases.target[0].numpy(), affine, *other)
        put(tmp_path / "labels" / f"{number}.nii", *labels)
    data = volumes.load(tmp_path)
    assert len(data) == 24 and not data.skipped
    assert all(torch.equal(one, cases.input[0]) for one in data.input)
    assert all(torch.equal(one, cases.target[0]) for one in data.target)


def test_one_spacing_and_one_size_for_all(tmp_path, cases):
    """One case twice as fine, one half as long: they lie in the middle."""
    affine = affine_of((3, 2, 1.5))
    values, area = cases.input[0, 0].numpy(), cases.target[0].numpy()
    fine = affine @ np.diag([0.5, 0.5, 0.5, 1])
    for name, grid, cut in (("0", affine, slice(None)), ("1", affine, slice(2, 6))):
        put(tmp_path / f"images/{name}.nii", values[cut], grid)
        put(tmp_path / f"labels/{name}.nii", area[cut], grid)
    for role, held in (("images", values), ("labels", area)):
        put(tmp_path / f"{role}/2.nii", held.repeat(2, 0).repeat(2, 1).repeat(2, 2), fine)
    data = volumes.load(tmp_path)
    assert data.input.shape == (3, 1, 8, 12, 16)
    assert torch.equal(data.input[0], cases.input[0]) and torch.equal(data.input[2], data.input[0])
    assert torch.equal(data.target[2], data.target[0])
    assert torch.equal(data.input[1, :, 2:6], data.input[0, :, 2:6])
    assert (data.input[1, :, :2] == data.input[1, :, 2:6].min()).all()
    assert not data.target[1, :2].any() and not data.target[1, 6:].any()
    small = volumes.load(tmp_path, Reading(side=8))
    assert small.input.shape[2:] == (8, 8, 8)
    assert min(small.spacing[0]) == pytest.approx(3)


def test_labels_keep_their_volume():
    """The class of which most is there: a ball has as many millilitres in larger voxels."""
    place = np.stack(np.meshgrid(*[np.arange(40) - 18.3] * 3, indexing="ij"))
    ball = torch.from_numpy((place**2).sum(0) < 12**2).byte()
    for side in (16, 20, 27, 33, 64):
        found = resampling.resampled_labels(ball, (side,) * 3, 2)
        share = float(found.sum()) / side**3
        assert share == pytest.approx(float(ball.sum()) / 40**3, rel=0.02)


@pytest.mark.parametrize("size", [(9, 11, 13), (20, 12, 40), (40, 30, 60)])
def test_every_voxel_has_the_class_with_the_largest_share(size):
    random = torch.Generator().manual_seed(0)
    blocks = torch.randint(0, 4, (5, 6, 7), generator=random).byte()
    area = blocks.repeat_interleave(4, 0).repeat_interleave(4, 1).repeat_interleave(4, 2)
    share = torch.stack([resampling.resampled((area == k).float()[None], size)[0] for k in range(4)])
    found = resampling.resampled_labels(area, size, 4).long()
    assert (share.gather(0, found[None])[0] >= share.amax(0) - 1e-3).all()
    finer = torch.nn.functional.interpolate(share[None], (50, 50, 70), mode="trilinear")[0]
    assert torch.allclose(resampling.resampled(share, (50, 50, 70)), finer, atol=1e-5)


def test_large_volumes_are_made_smaller(tmp_path, cases, monkeypatch):
    folder(tmp_path, cases.only([0, 1]))
    monkeypatch.setattr(volumes, "MOST_VOXELS", 500)
    data = volumes.load(tmp_path)
    assert 250 < data.input[0].numel() <= 500 and data.spacing[0][0] >= 3
    assert data.spacing[0][1] == pytest.approx(data.spacing[0][2], rel=0.2)
    monkeypatch.setattr(volumes, "MOST_READ", 100)
    with pytest.raises(UserError) as caught:
        volumes.load(tmp_path)
    assert "voxels" in caught.value.found


def test_names_come_from_a_file(tmp_path, cases):
    folder(tmp_path, cases)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "ball": 1, "cubes": 2}}))
    assert volumes.load(tmp_path).classes == NAMES
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"0": "x", "1": "b", "2": "c"}}))
    assert volumes.load(tmp_path).classes == ("x", "b", "c")
    for held in ({"labels": {"a": [1, 2], "b": 1}}, {"labels": {"a": 1, "b": 1}}, [1]):
        (tmp_path / "dataset.json").write_text(json.dumps(held))
        found = volumes.load(tmp_path)
        assert found.classes == ("background", "1", "2")
        assert ("dataset.json", "names") in told(found) or held == [1]
    (tmp_path / "classes.txt").write_text("ground\nBall\n立方体\n")
    assert volumes.load(tmp_path).classes == ("ground", "Ball", "立方体")


def test_numbers_with_gaps_are_called_by_their_numbers(tmp_path, cases):
    number = torch.tensor([0, 40, 7], dtype=torch.uint8)
    folder(tmp_path, type(cases)(**{**vars(cases), "target": number[cases.target.long()]}))
    data = volumes.load(tmp_path)
    assert data.classes == ("background", "7", "40")
    assert torch.equal(data.target == 2, cases.target == 1)


def test_test_volumes_stay_apart(tmp_path, cases):
    folder(tmp_path, cases, "imagesTr/{}_0000.nii.gz", "labelsTr/{}.nii.gz")
    put(tmp_path / "imagesTs/9_0000.nii.gz", cases.input[0, 0].numpy(), affine_of((3, 2, 1.5)))
    put(tmp_path / "imagesTr/3_0001.nii.gz", cases.input[0, 0].numpy(), affine_of((3, 2, 1.5)))
    data = volumes.load(tmp_path)
    assert data.part == () and told(data) == {
        ("imagesTs/9_0000.nii.gz", "no labels"),
        ("imagesTr/3_0001.nii.gz", "channel"),
    }
    assert torch.equal(data.input, cases.input)
    (tmp_path / "imagesTr/3_0001.nii.gz").unlink()
    put(tmp_path / "labelsTs/9.nii.gz", cases.target[0].numpy(), affine_of((3, 2, 1.5)))
    data = volumes.load(tmp_path)
    assert list(data.part) == ["train"] * 8 + ["test"] and not data.skipped


def test_a_series_with_its_segmentation(tmp_path):
    for number, (seg, series) in enumerate(
        (("{}/seg.dcm", "{}/ct"), ("{}/b/1.dcm", "{}/a/b"), ("{}/ct/seg.dcm", "{}/ct"))
    ):
        place = tmp_path / series.format(f"p{number}")
        files = scan(place, series=f"1.2.{number}", directions=((1, 0, 0), (0, 1, 0)))
        named(files, **UIDS | {"PatientID": f"P{number % 2}"})
        volume = Volume.read(place)
        made = LabelledVolume(volume, area_of(volume), ["", "liver", "Niere 左"])
        (tmp_path / seg.format(f"p{number}")).parent.mkdir(exist_ok=True)
        made.save(tmp_path / seg.format(f"p{number}"))
    assert volumes.describes(tmp_path)
    data = volumes.load(tmp_path)
    assert data.classes == ("background", "liver", "Niere 左") and len(data) == 3
    assert data.file == ["p0/ct", "p1/a/b", "p2/ct"] and not data.skipped
    assert np.array_equal(data.target[0], area_of(volume))
    assert data.group[0] == data.group[2] != data.group[1] and "PatientID" in data.grouped
    (tmp_path / "classes.txt").write_text("background\nniere 左\nliver\n")
    other = volumes.load(tmp_path)
    assert torch.equal(other.target == 2, data.target == 1)
    (tmp_path / "classes.txt").write_text("background\nliver\nspleen\n")
    with pytest.raises(UserError) as caught:
        volumes.load(tmp_path)
    assert "Niere 左" in caught.value.found


def test_a_series_without_every_second_slice_is_told_and_stays(tmp_path):
    for name, thickness in (("p0", "2"), ("p1", "1")):
        header = {"SliceThickness": thickness}
        named(scan(tmp_path / name / "ct", series=f"1.2.{name[1]}", header=header), **UIDS)
        volume = Volume.read(tmp_path / name / "ct")
        made = LabelledVolume(volume, area_of(volume), ["", "liver", "spleen"])
        made.save(tmp_path / name / "seg.dcm")
    data = volumes.load(tmp_path)
    assert len(data) == 2 and told(data) == {("p1/ct", "slices")}
    assert "lie 2 mm apart" in data.skipped[0].reason


def test_a_segmentation_of_another_series_is_refused(tmp_path):
    """Though it lies at the same place."""
    for name in ("p0", "p1"):
        named(scan(tmp_path / name / "ct", series=f"1.2.{name[1]}"), **UIDS)
        volume = Volume.read(tmp_path / name / "ct")
        made = LabelledVolume(volume, area_of(volume), ["", "liver", "spleen"])
        made.save(tmp_path / name / "seg.dcm")
    assert len(volumes.load(tmp_path)) == 2
    (tmp_path / "p1" / "seg.dcm").write_bytes((tmp_path / "p0" / "seg.dcm").read_bytes())
    data = volumes.load(tmp_path)
    assert data.file == ["p0/ct"] and told(data) == {("p1/seg.dcm", "series")}


def break_it(place, fault):
    values, affine = np.zeros((8, 12, 16), np.int16), affine_of((3, 2, 1.5))
    image, labels = place / "images" / "7.nii.gz", place / "labels" / "7.nii.gz"
    if fault == "no volume":
        image.unlink()
    elif fault == "no labels":
        labels.unlink()
    elif fault == "shape":
        put(labels, values[:, :, 1:], affine)
    elif fault == "elsewhere":
        moved = affine.copy()
        moved[0, 3] += 1
        put(labels, values, moved)
    elif fault == "spacing":
        put(labels, values, affine @ np.diag([1.1, 1, 1, 1]))
    elif fault == "fractions":
        put(labels, values + np.float32(0.5), affine)
    elif fault == "negative":
        put(labels, values - 1, affine)
    elif fault == "class":
        put(labels, values + 9, affine)
    elif fault == "nan":
        put(image, np.full((8, 12, 16), np.nan, np.float32), affine)
    elif fault == "no affine":
        nibabel.save(nibabel.Nifti1Image(values.T, None), image)
    elif fault == "truncated":
        image.write_bytes(image.read_bytes()[:-40])
    elif fault == "text":
        image.write_text("hello")
    elif fault == "huge":
        held = nibabel.Nifti1Header()
        held.set_data_shape((30_000, 30_000, 30_000))
        held["sform_code"], held["srow_x"] = 1, [1, 0, 0, 0]
        held["magic"], held["vox_offset"] = b"n+1", 352
        (place / "images" / "7.nii").write_bytes(held.binaryblock + bytes(200))
        image.unlink()


@pytest.mark.parametrize(
    "fault, file, code",
    [
        ("no volume", "labels/7.nii.gz", "missing"),
        ("no labels", "images/7.nii.gz", "no labels"),
        ("shape", "labels/7.nii.gz", "size"),
        ("elsewhere", "labels/7.nii.gz", "geometry"),
        ("spacing", "labels/7.nii.gz", "geometry"),
        ("fractions", "labels/7.nii.gz", "class"),
        ("negative", "labels/7.nii.gz", "class"),
        ("class", "labels/7.nii.gz", "class"),
        ("nan", "images/7.nii.gz", "unreadable"),
        ("no affine", "images/7.nii.gz", "no geometry"),
        ("truncated", "images/7.nii.gz", "truncated"),
        ("text", "images/7.nii.gz", "not a volume"),
        ("huge", "images/7.nii", "too large"),
    ],
)
def test_every_fault_is_told_by_its_file(tmp_path, cases, fault, file, code):
    folder(tmp_path, cases)
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    break_it(tmp_path, fault)
    data = volumes.load(tmp_path)
    assert told(data) == {(file, code)} and len(data) == 7
    assert torch.equal(data.target, cases.target[:7])


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda place: scan(place, series="1.9", number=2), "2 series"),
        (lambda place: sorted(place.glob("*.dcm"))[4].unlink(), "Missing slices: 1"),
        (lambda place: [one.unlink() for one in sorted(place.glob("*.dcm"))[1:]], "one slice only"),
        (lambda place: scan(place, directions=((0, 1, 0), (0, 0, -1)), steps=[40]), "several kinds"),
    ],
)
def test_a_series_that_is_none_is_told(tmp_path, cases, change, words):
    for name in ("p0", "p1"):
        files = named(scan(tmp_path / name / "ct"), **UIDS)
        volume = Volume.read(tmp_path / name / "ct")
        labels = LabelledVolume(volume, area_of(volume), ["", "a", "b"])
        labels.save(tmp_path / name / "labels.nii.gz")
    assert files and len(volumes.load(tmp_path)) == 2
    change(tmp_path / "p1" / "ct")
    data = volumes.load(tmp_path)
    assert len(data) == 1 and len(data.skipped) == 1
    assert data.skipped[0].file == "p1/ct" and words in data.skipped[0].reason


def test_want_of_memory_is_told(tmp_path, cases, monkeypatch):
    folder(tmp_path, cases)
    free = type("Memory", (), {"available": 2000})
    monkeypatch.setattr(volumes.psutil, "virtual_memory", lambda: free)
    with pytest.raises(UserError) as caught:
        volumes.load(tmp_path)
    assert caught.value.code == "memory" and caught.value.fix.startswith("imgsz=")


@pytest.mark.parametrize("system", ["threshold_tiny", "unet_3d_tiny"])
def test_systems_learn_from_a_folder(tmp_path, system, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "mine", scans(16), "patient{}/ct.nii.gz", "patient{}/labels.nii.gz")
    record = train.train(system, "mine", budget="4ex", name="run")
    assert record.parts["test"] >= 2 and 0 <= record.measures["mean Dice"].value <= 1
    assert (record.folder / "report.html").is_file()
    capsys.readouterr()
    ask = ["predict", str(record.folder), "mine/patient3/ct.nii.gz", "meshes=true", "page=true", "out=answers"]
    assert main.run([*ask, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["series"] == "ct" and said["spacing"] == [1.5, 2.0, 3.0]
    assert [one["name"] for one in said["labels"]] == ["1", "2"]
    assert {one["name"] for one in said["meshes"]} == {one["name"] for one in said["labels"] if one["voxels"]}
    assert said["saved"] == "answers/ct.nii.gz"
    page = Path(said["page"]).read_text(encoding="utf-8")
    assert page.count('id="mesh') == len(said["meshes"]) and "volume" in page
    assert main.run(["data", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"] == 16


def test_a_folder_that_is_none_says_what_is_wrong(tmp_path, cases):
    folder(tmp_path / "mine", cases)
    assert load.load(tmp_path / "mine", formats=("volumes",)).volumes
    (tmp_path / "empty").mkdir()
    for place in ("empty", "mine/images"):
        with pytest.raises(UserError) as caught:
            load.load(tmp_path / place, formats=("volumes",))
        assert caught.value.code == "no labels" and "labels/1.nii.gz" in caught.value.expected


def test_a_series_becomes_a_segmentation_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "mine", scans(16), "patient{}/ct.nii.gz", "patient{}/labels.nii.gz")
    train.train("threshold_tiny", "mine", budget="4ex", name="run", project="runs")
    run = "runs/segment_volume/run"
    for number in (1, 2):
        files = scan(tmp_path / "ct", series=f"1.2.{number}", number=number)
        named(files, **UIDS)
    files[4].unlink()
    capsys.readouterr()
    assert main.run(["predict", run, "ct"]) == 3
    said = capsys.readouterr().err
    assert "2: CT 2, 16 slices" in said and "series=1" in said
    assert main.run(["predict", run, "ct", "series=2"]) == 3
    assert "resample=true" in capsys.readouterr().err
    ask = ["predict", run, "ct", "series=2", "resample=true", "to=dicom", "out=answers"]
    assert main.run(ask) == 0
    told = capsys.readouterr()
    assert "answers/ct.dcm" in told.out and "Missing slices: 1" in told.err
    volume = Volume.read(tmp_path / "ct", series="2", resample=True)
    found = segmentation.read(tmp_path / "answers/ct.dcm", volume.values.shape, volume.affine)
    assert found.series == "1.2.2"
