"""COCO and YOLO files of figures with points: read whole, moved into squares, every fault told."""

import json

import pytest
import torch
from test_boxed_formats import BOX, SIZES, coco, image

from souron import registry
from souron.actions import data
from souron.cli import main
from souron.data import load
from souron.data.target import target_of
from souron.data.targets.poses import Poses
from souron.metrics.poses import COCO
from souron.utils.messages import UserError

FORMATS = ("yolo_pose", "coco_keypoints")
NAMES = ("head", "left hand", "right hand")
POINTS = ((10, 6, 2), (20, 6, 1), (0, 0, 0))


def keypoints(folder, change=None):
    """COCO's files as ``coco`` writes them, with points; ``change`` is made to those to learn
    from."""
    coco(folder)
    for file in (folder / "annotations").glob("*.json"):
        about = json.loads(file.read_text())
        for entry in about["annotations"]:
            entry |= {"keypoints": [at for point in POINTS for at in point], "num_keypoints": 2, "area": 100}
        for entry in about["categories"]:
            entry |= {"keypoints": list(NAMES), "skeleton": [[1, 2], [1, 3]]}
        if change and "train" in file.name:
            change(about)
        file.write_text(json.dumps(about))
    return folder


def yolo(folder, count=6, about="kpt_shape: [3, 3]\n", line=None):
    for i in range(count):
        part, (wide, high) = "val" if i >= count - 2 else "train", SIZES[i % 3]
        image(folder / "images" / part / f"{i}.png", (wide, high))
        left, top, right, bottom = BOX
        numbers = [
            0,
            (left + right) / 2 / wide,
            (top + bottom) / 2 / high,
            (right - left) / wide,
            (bottom - top) / high,
        ]
        for x, y, known in POINTS:
            numbers += [x / wide, y / high, known]
        text = folder / "labels" / part / f"{i}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        told = " ".join(map(str, numbers))
        text.write_text(f"{line(numbers) if line and i == 0 else told}\n")
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: [person]\n{about}")
    return folder


def loaded(folder, side=64):
    return load.load(folder, side, formats=FORMATS, target="poses")


def faults(cases):
    return {(some.code, some.file.rpartition("/")[2]): some.reason for some in cases.skipped}


@pytest.mark.parametrize("write", [keypoints, yolo])
def test_figures_lie_where_they_are_in_pictures_of_any_shape(write, tmp_path):
    cases = loaded(write(tmp_path / "data"))
    assert not [some for some in cases.skipped if some.code != "no object"]
    assert set(cases.part) == {"train", "val"}
    for file, figures in zip(cases.file, cases.target, strict=True):
        wide, high = SIZES[int(file.rpartition("/")[2].partition(".")[0]) % 3]
        scale = 64 / max(wide, high)
        left, top = (64 - wide * scale) / 2, (64 - high * scale) / 2
        assert len(figures.box) == 1 and figures.point.dtype == torch.float32
        for (x, y, known), point in zip(POINTS, figures.point[0].tolist(), strict=True):
            assert point[2] == known
            if known:
                assert point[:2] == pytest.approx([x * scale + left, y * scale + top], abs=0.6)
        if write is keypoints:
            assert figures.area.item() == pytest.approx(100 * scale**2, rel=0.05)
        else:
            edges = figures.box[0, 1:]
            assert figures.area.item() == pytest.approx(((edges[2:] - edges[:2]).prod()).item())
    bones = cases.target[0].skeleton
    if write is keypoints:
        assert bones.names == NAMES and bones.lines == ((0, 1), (0, 2)) and bones.swap == (0, 2, 1)
    else:
        assert bones.names == ("0", "1", "2") and bones.lines == ()


@pytest.mark.parametrize(
    "points, code, words",
    [
        ([10, 6, 2, 20, 6], "points", "5 numbers of points"),
        ([10, 6, 2] * 4, "points", "12 numbers of points"),
        ([10, 6, 3, 20, 6, 1, 0, 0, 0], "visibility", "head"),
        ([10, 6, 2, 200, 6, 1, 0, 0, 0], "outside", "left hand"),
        ([10, 6, 2, 20, "x", 1, 0, 0, 0], "number", "left hand"),
        ([10, 6, 2, 20, 6, None, 0, 0, 0], "visibility", "left hand"),
        ([float("nan"), 6, 2, 20, 6, 1, 0, 0, 0], "number", "head"),
    ],
)
def test_faults_of_points_are_told_by_file_and_the_rest_stays(tmp_path, points, code, words):
    def change(about):
        about["annotations"][0]["keypoints"] = points

    cases = loaded(keypoints(tmp_path / "data", change))
    assert words in faults(cases)[code, "0.png, box 1"]
    known = cases.target[list(cases.file).index("train/0.png")].point[0, :, 2].tolist()
    expected = [2.0, 1.0, 0.0]
    if code == "points":
        expected = [0.0, 0.0, 0.0]
    else:
        expected[NAMES.index(words)] = 0.0
    assert known == expected
    other = cases.target[list(cases.file).index("train/1.png")].point[0, :, 2].tolist()
    assert other == [2, 1, 0]


def test_a_coordinate_that_was_rounded_over_the_edge_is_kept(tmp_path):
    def change(about):
        about["annotations"][0]["keypoints"] = [64.02, 6, 2, 20, -0.01, 1, 0, 0, 0]

    cases = loaded(keypoints(tmp_path / "data", change))
    assert not faults(cases).keys() & {("outside", "0.png, box 1")}
    figures = cases.target[list(cases.file).index("train/0.png")]
    assert figures.point[0, 0, 0] == 64 and (figures.point[0, :2, 2] > 0).all()


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda about: about["categories"][0].update(keypoints=["a", "b", "c"]), "different po"),
        (lambda about: [c.update(keypoints=["a", "a", "b"]) for c in about["categories"]], "two points have one name"),
        (lambda about: [c.update(skeleton=[[0, 2]]) for c in about["categories"]], "joins"),
        (
            lambda about: [c.update(keypoints={}) or c.pop("keypoints") for c in about["categories"]],
            "how its points are called",
        ),
    ],
)
def test_categories_without_one_sense_are_refused(tmp_path, change, words):
    folder = keypoints(tmp_path / "data", change)
    for file in (folder / "annotations").glob("*val*"):
        file.unlink()
    with pytest.raises(UserError, match=words):
        loaded(folder)


def test_coco_names_areas_crowds_and_sigmas(tmp_path):
    def change(about):
        about["annotations"][1] |= {"iscrowd": 1, "keypoints": [0] * 9}
        for entry in about["categories"]:
            entry["sigmas"] = [0.1, 0.2, 0.3]

    cases = loaded(keypoints(tmp_path / "data", change))
    assert cases.target[list(cases.file).index("train/1.png")].box[0, 0] < 0
    assert max(one.skeleton.sigmas for one in cases.target) == (0.1, 0.2, 0.3)


def test_yolo_tells_names_mirror_and_pairs_without_visibility(tmp_path):
    about = "kpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\nkpt_names: {0: [a, b, c]}\n"
    bones = loaded(yolo(tmp_path / "named", about=about)).target[0].skeleton
    assert bones.names == ("a", "b", "c") and bones.swap == (0, 2, 1)
    pairs = yolo(tmp_path / "pairs", about="kpt_shape: [2, 2]\n")
    for file in (pairs / "labels").rglob("*.txt"):
        file.write_text("0 0.5 0.5 0.4 0.4 0.5 0.4 0 0\n")
    assert loaded(pairs).target[0].point[0, :, 2].tolist() == [2, 0]
    many = yolo(tmp_path / "many", about="kpt_shape: [17, 3]\n")
    for file in (many / "labels").rglob("*.txt"):
        file.write_text("0 0.5 0.5 0.4 0.4" + " 0.5 0.4 2" * 17 + "\n")
    bones = loaded(many).target[0].skeleton
    assert bones.names == COCO and len(bones.lines) == 19 and bones.swap[:3] == (0, 2, 1)


@pytest.mark.parametrize(
    "about, words",
    [
        ("kpt_shape: 17\n", "kpt_shape"),
        ("kpt_shape: [100000000, 3]\n", "kpt_shape"),
        ("kpt_shape: [3, 3]\nflip_idx: [0, 1, 1]\n", "flip_idx"),
        ("kpt_shape: [3, 3]\nkpt_names: [a, b]\n", "kpt_names"),
    ],
)
def test_a_yaml_without_sense_is_refused(tmp_path, about, words):
    with pytest.raises(UserError, match=words):
        loaded(yolo(tmp_path / "data", about=about))


def test_a_line_with_other_numbers_is_told_by_its_number(tmp_path):
    cases = loaded(yolo(tmp_path / "data", line=lambda numbers: " ".join(map(str, numbers[:-1]))))
    assert "four shares and 9 numbers" in faults(cases)["unreadable", "0.txt, line 1"]
    cases = loaded(yolo(tmp_path / "more", line=lambda numbers: " ".join(map(str, [*numbers[:5], 1.4, *numbers[6:]]))))
    assert "0" in faults(cases)["outside", "0.png, box 1"]


@pytest.mark.parametrize("write", [keypoints, yolo])
def test_souron_data_shows_figures_and_detectors_take_their_boxes(write, tmp_path):
    folder = write(tmp_path / "data")
    formats = data.every_format()
    assert formats.index("yolo_pose") < formats.index("yolo_boxes")
    assert target_of(load.load(folder, 32, formats=formats)).__class__ is Poses
    boxes = load.load(folder, 32, formats=registry.load_task("detect").formats)
    assert boxes.has("boxes") and all(len(box) == 1 for box in boxes.target)
    assert not [some for some in boxes.skipped if some.code == "unreadable"]


def test_copies_of_pictures_with_figures_are_shown_by_the_doctor_of_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = keypoints(tmp_path / "data")  # pictures of one size are alike
    assert main.run(["data", "check", str(folder)]) == 3
    page = next((tmp_path / "runs").rglob("*.html")).read_text(encoding="utf-8")
    assert "train/0.png" in page and "train/3.png" in page


def test_files_without_points_are_not_taken(tmp_path):
    with pytest.raises(UserError, match=r"\[data\]|data"):
        loaded(coco(tmp_path / "boxes"))
    written = json.loads((tmp_path / "boxes/annotations/instances_train.json").read_text())
    assert "keypoints" not in written["annotations"][0]
