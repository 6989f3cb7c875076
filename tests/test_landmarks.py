"""Landmarks: radial errors against plain sums, files read whole with every fault told, and the task
around them."""

import csv
import importlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import MARKS, marks

import souron
from souron import model, registry
from souron.cli import main
from souron.data import load
from souron.data.dataset import Rows
from souron.data.formats import landmarks
from souron.data.readers.settings import Reading
from souron.evaluation.vision import keypoints as evaluation
from souron.evaluation.vision.keypoints import KeypointSetup, mean_places
from souron.kinds.picture import Picture
from souron.kinds.points import Points
from souron.metrics import keypoints
from souron.runs import compare, evaluate, prepare, train
from souron.tasks import keypoints as keypoints_task
from souron.utils.messages import UserError

TASK = registry.load_task("keypoints")
SIZES = ((64, 32), (40, 60), (50, 50))  # width, height
NAN = float("nan")


def test_scores_are_means_over_the_landmarks_of_a_film():
    true = np.array([[[0, 0], [10, 10]], [[5, 5], [NAN, NAN]]])
    found = np.array([[[3, 4], [10, 11]], [[5, 7], [1, 1]]])
    error = keypoints.errors(found, true)
    assert error.tolist()[0] == [5, 1] and error[1, 0] == 2 and np.isnan(error[1, 1])
    assert keypoints.area_around(true).tolist() == [100, 0]
    scores = keypoints.scores(error, 100, [0.5, 2.0], np.array([100.0, 50.0]))
    expected = [(np.exp(-25 / 2) + np.exp(-1 / 2)) / 2, np.exp(-4)]
    assert scores["OKS"].tolist() == pytest.approx(expected)
    assert scores["mean radial error"].tolist() == [1.5, 4.0]
    assert scores["mean radial error in pixels"].tolist() == [3, 2]
    assert scores["within 2 mm"].tolist() == [0.5, 0] and scores["within 4 mm"].tolist() == [1, 1]
    assert scores["within 2.5 mm"].tolist() == [1, 0]  # 2.5 mm itself is within
    assert scores["within 1/50 of the side"].tolist() == [0.5, 1]
    assert set(scores) == {metric.name for metric in TASK.metrics}
    unknown = keypoints.scores(error, 100, [0.5, 0.0])
    assert set(unknown) == {"mean radial error in pixels", "within 1/50 of the side"}
    assert keypoints.curve(error, [0, 1, 2, 4.9, 5]).tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1])


def test_a_model_that_knows_more_landmarks_is_measured_by_those_that_are_marked():
    found, true = np.zeros((2, 3, 2)), np.ones((2, 2, 2))
    error = keypoints.errors(found, true)
    assert error.shape == (2, 3) and np.isnan(error[:, 2]).all()
    assert keypoints.mean(error).tolist() == pytest.approx([2**0.5] * 2)


def test_millimetres_decide_where_they_are_known():
    for spacing, name in ((0.5, "mean radial error"), (None, "mean radial error in pixels")):
        data = marks(6, 32, spacing=spacing)
        assert TASK.ranks(KeypointSetup(None, data)) == name


def test_the_constant_answer_is_each_landmark_s_mean_place():
    points = torch.tensor([[[0.0, 0], [NAN, NAN]], [[4.0, 2], [NAN, NAN]]])
    assert mean_places(points).tolist() == [[2, 1], [2, 1]]


@pytest.mark.parametrize("names", [("shift",), ("rotate",), ("shift", "rotate", "brightness")])
def test_points_move_with_their_pictures(names):
    data = marks(30, 64, hidden=0, seed=2)
    after = TASK.augmentation(names)(Rows(data.input, data.target), torch.Generator().manual_seed(1))
    assert after.input.dtype == torch.uint8 and not torch.equal(after.input, data.input)
    moved, lit = [], []
    for image, points, old in zip(after.input, after.target, data.target, strict=True):
        for k in (0, 1):
            if points[k].isfinite().all():
                moved.append((points[k] - old[k]).norm())
                x, y = points[k].int().clamp(1, 62).tolist()
                lit.append(image[0, y - 1 : y + 2, x - 1 : x + 2].float().mean())
    assert len(moved) > 45 and torch.stack(moved).mean() > 1
    assert torch.stack(lit).min() > 110  # the middle of a shape is bright, noise is below 70


def test_points_that_leave_the_picture_are_not_marked_and_a_mirror_is_refused():
    data = marks(20, 32)
    edge = torch.full_like(data.target, 0.4)
    after = TASK.augmentation(("shift",))(Rows(data.input, edge), torch.Generator().manual_seed(0))
    gone = after.target.isnan().all(2)
    assert gone.any() and not gone.all()
    assert (after.target[~gone] >= 0).all()
    for name in ("mirror", "shfit"):
        with pytest.raises(UserError, match="augment"):
            TASK.augmentation((name,))
    assert TASK.augmentation(()) is None


def test_landmarks_are_renumbered_by_name():
    target = torch.tensor([[[1.0, 1], [2, 2]]])
    there = TASK.renumbered(target, torch.tensor([2, 0]))
    assert there[0, 2].tolist() == [1, 1] and there[0, 0].tolist() == [2, 2]
    assert there[0, 1].isnan().all()


def test_points_tell_millimetres_where_the_spacing_is_known():
    picture = Picture(Image.new("L", (20, 10)))
    plain = Points(picture, [[4, 2]], ["a"], [0.5])
    assert plain.rows() == [["a 50%", 4, 2]] and "mm" not in plain.as_json()["points"][0]
    known = Points(picture, [[4, 2]], ["a"], [0.5], spacing=0.25)
    assert known.columns[1:] == ["x", "y", "x mm", "y mm"] and known.rows()[0][1:] == [4, 2, 1, 0.5]
    assert known.as_json()["points"][0]["mm"][0] == 1 and str(known) == "a 50% 4 2"


# files


def folder(tmp_path, count=6, form="wide", mm="0.5", patients=False):
    """Pictures of several sizes, bright where the landmark ``eye`` is, and their CSV."""
    rows = []
    for i in range(count):
        wide, high = SIZES[i % 3]
        pixels = np.random.default_rng(i).integers(0, 60, (high, wide), dtype=np.uint8)
        x, y = 10 + i % 8, 12 + i % 8
        pixels[y - 2 : y + 3, x - 2 : x + 3] = 250
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        further = {"mm": mm, "patient": f"p{i // 2}" if patients else ""}
        places = {"eye": (x + 0.5, y + 0.5), "ear": (wide - 8, high - 6.5)}
        if form == "wide":
            flat = {f"{n}_{axis}": at for n, xy in places.items() for axis, at in zip("xy", xy, strict=True)}
            rows.append({"file": f"{i}.png", **flat, **further})
        else:
            rows += [{"file": f"{i}.png", "name": n, "x": x, "y": y, **further} for n, (x, y) in places.items()]
    write(tmp_path / "landmarks.csv", rows)
    return rows


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def told(data):
    return {(one.code, one.file) for one in data.skipped}


@pytest.mark.parametrize("form", ["wide", "long"])
def test_pictures_of_any_size_lie_in_squares_with_their_landmarks(form, tmp_path):
    folder(tmp_path, form=form, patients=True)
    data = load.load(tmp_path, 32, formats=("landmarks",))
    assert data.classes == ("eye", "ear") and data.input.shape == (6, 1, 32, 32)
    assert data.target.shape == (6, 2, 2) and data.has("points") and not data.skipped
    assert len(set(data.group)) == 3
    for row, (image, points) in enumerate(zip(data.input, data.target, strict=True)):
        y, x = np.nonzero(image[0].numpy() > 150)
        middle = np.array([x.mean() + 0.5, y.mean() + 0.5])
        assert np.abs(points[0].numpy() - middle).max() < 0.6
        scale = 32 / max(SIZES[row % 3])
        assert data.spacing[row] == pytest.approx(0.5 / scale, rel=0.03)
    assert torch.equal(load.load(tmp_path / "landmarks.csv", 32, formats=("landmarks",)).target, data.target)
    assert load.load(tmp_path, formats=("landmarks",)).side == 128


def test_every_fault_is_told_and_leaves_the_rest(tmp_path):
    rows = folder(tmp_path, 6)
    rows[0]["eye_x"] = "left"
    rows[1]["ear_y"] = "600"
    rows[2]["ear_x"] = rows[2]["ear_y"] = ""
    rows[3] |= {"ear_x": "", "ear_y": "", "eye_x": "-9"}
    rows[4]["mm"] = "huge"
    for row in rows:
        row |= {"nose_x": "", "nose_y": ""}
    rows.append({**rows[5], "file": "5.png"})
    rows.append({**rows[5], "file": "gone.png"})
    rows.append({**rows[5], "file": ""})
    rows.append({**rows[5], "file": "../outside.png"})
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    rows.append({**rows[5], "file": "broken.png"})
    Image.new("L", (9, 9)).save(tmp_path / "more.png")
    write(tmp_path / "landmarks.csv", rows)
    data = landmarks.load(tmp_path, Reading(side=32))
    found = told(data)
    assert ("no number", "0.png, landmark eye") in found
    assert ("outside", "1.png, landmark ear") in found
    assert ("outside", "3.png, landmark eye") in found and ("no point", "3.png") in found
    assert ("spacing", "4.png") in found and ("no spacing", "4.png") in found
    assert ("duplicate", "5.png") in found and ("never marked", "nose") in found
    assert ("no file", "landmarks.csv, line 10") in found and ("unlisted", "more.png") in found
    codes = {file: code for code, file in found}
    assert codes["gone.png"] == "missing" and {"broken.png", "../outside.png"} <= codes.keys()
    assert len(found) == 13, found
    assert list(data.file) == ["0.png", "1.png", "2.png", "4.png", "5.png"]
    assert data.classes == ("eye", "ear")
    assert data.target.isnan().all(2).tolist() == [
        [True, False],
        [False, True],
        [False, True],
        [False, False],
        [False, False],
    ]
    assert not keypoints.known(data.spacing) and data.spacing[0] > 0 and data.spacing[3] == 0


def test_a_landmark_twice_in_a_picture_is_told_and_the_first_stays(tmp_path):
    rows = folder(tmp_path, 3, "long")
    rows.append({**rows[0], "x": 1, "y": 1})
    write(tmp_path / "landmarks.csv", rows)
    data = landmarks.load(tmp_path, Reading(side=64))
    assert told(data) == {("duplicate", "0.png, landmark eye")}
    assert data.target[0, 0, 0] == pytest.approx(10.5, abs=0.01)


def test_other_tables_are_no_landmarks_and_nothing_usable_is_refused(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("filename,label\na.png,cat\n", encoding="utf-8")
    assert not landmarks.describes(table) and not landmarks.describes(tmp_path)
    table.write_text("file,sella_x,sella_y\na.png,1,2\n", encoding="utf-8")
    assert landmarks.describes(table)
    with pytest.raises(UserError, match="no image that") as trouble:
        landmarks.load(table)
    assert trouble.value.code == "no points" and "a.png" in trouble.value.found
    (tmp_path / "landmarks.csv").write_text("picture,where\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError) as trouble:
        landmarks.load(tmp_path)
    assert trouble.value.code == "columns"
    many = ",".join(f"p{i}_x,p{i}_y" for i in range(landmarks.MOST + 1))
    (tmp_path / "landmarks.csv").write_text(f"file,{many}\na.png,1,2\n", encoding="utf-8")
    with pytest.raises(UserError) as trouble:
        landmarks.load(tmp_path)
    assert trouble.value.code == "columns" and str(landmarks.MOST + 1) in trouble.value.found
    with pytest.raises(UserError, match="landmarks"):
        train.train("heatmap_points_tiny", "digits", budget="1ep")


def test_films_in_one_pose_are_no_copies_of_each_other():
    data = marks(8, 64, hidden=0)
    noise = torch.randint(0, 255, data.input.shape, generator=torch.Generator().manual_seed(0)).byte()
    noise[7] = noise[0] // 2 + 60
    alike = replace(data, input=noise)
    assert not prepare._near_duplicates(alike)
    assert prepare._near_duplicates(replace(alike, target=torch.zeros(8, dtype=torch.long))) == [(0, 7)]


# from end to end

DATA = '''"""Bright marks on dark noise, with landmarks."""

from shapes import marks

ja = "暗い雑音の上の明るい印と計測点"
task = "keypoints"
licence = "CC0"
source = "https://example.org/marks"
cases = 240
ships_with = "torch"


def load(side=None):
    return marks(cases, side or 32)
'''


@pytest.fixture
def spots(tmp_path, monkeypatch):
    """The marks as a data set of its own."""
    file = tmp_path / "elsewhere" / "souron" / "data" / "sets" / "spots.py"
    file.parent.mkdir(parents=True)
    file.write_text(DATA, encoding="utf-8")
    monkeypatch.setattr(souron, "__path__", [*souron.__path__, str(file.parents[2])])
    load.names.cache_clear()
    importlib.invalidate_caches()
    yield "spots"
    sys.modules.pop("souron.data.sets.spots", None)
    monkeypatch.undo()
    load.names.cache_clear()


def test_a_landmarker_trains_reports_predicts_is_measured_again_and_compared(spots, tmp_path):
    record = train.train("heatmap_points_tiny", spots, budget="6ep", batch=24)
    assert list(record.measures)[:2] == ["mean radial error", "within 2 mm"]
    measure = record.measures["mean radial error"]
    assert measure.low < measure.value < measure.high and measure.value < 2
    assert measure.groups == len(set(record.test.group)) < measure.n
    pixels = record.measures["mean radial error in pixels"]
    assert pixels.value == pytest.approx(2 * measure.value)
    result = record.details
    assert result.baselines["constant"]["mean radial error"].value > 2 * measure.value
    assert result.baselines["untrained"]["mean radial error"].value > 2 * measure.value
    each = [one.error.value for one in result.landmarks]
    error = keypoints.errors(result.found, record.test.target) / 2
    assert each == pytest.approx(np.nanmean(error, 0).tolist(), rel=1e-5)
    assert [one.marked for one in result.landmarks] == np.isfinite(error).sum(0).tolist()
    assert result.maps is not None and result.maps.chance.shape[1:] == (32, 32)
    assert result.maps.chance.sum((1, 2)) == pytest.approx(1, abs=1e-3)
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    for part in ("found", "landmarks", "success", "maps", "worst"):
        assert f'id="{part}"' in page
    assert "tip of the wedge" in page and "untrained" in page and "mm" in page
    again = evaluate.evaluate(record.folder)
    assert {n: m.value for n, m in again.items()} == pytest.approx(
        {n: m.value for n, m in record.measures.items()}, rel=1e-5
    )
    header, *lines = (record.folder / "predictions.csv").read_text().splitlines()
    assert header == "file,landmark,x,y,score,error_px,error_mm"
    assert len(lines) == 3 * len(record.test)

    pixels = record.test.input[0, 0].numpy().repeat(3, 0).repeat(3, 1)
    Image.fromarray(np.pad(pixels, ((0, 0), (0, 24)))).save(tmp_path / "wide.png")
    asked = model.load(record.folder)
    found = asked(tmp_path / "wide.png")
    assert tuple(found.names) == MARKS and found.point.shape == (3, 2)
    assert (found.point >= 0).all() and (found.point <= (120, 96)).all()
    known = asked(tmp_path / "wide.png", spacing=0.2).as_json()["points"][0]
    assert known["mm"][0] == pytest.approx(0.2 * known["x"], abs=0.01) and 0 <= known["score"] <= 1
    film = replace(Picture.read(tmp_path / "wide.png"), spacing=0.2)  # as a DICOM file states
    assert asked(film).as_json()["points"][0]["mm"] == known["mm"]
    true = 3 * record.test.target[0].numpy()
    assert np.nanmin(np.hypot(*(found.point - true).T)) < 12

    fought = compare.compare(["heatmap_points_tiny", "heatmap_points"], spots, budget="1ep", seeds=2, batch=24)
    assert fought.measure == "mean radial error" and len(fought.rows) == 2
    assert "side_by_side" in (fought.folder / "report.html").read_text(encoding="utf-8")


def test_a_folder_goes_through_the_command_line_in_pixels(tmp_path, capsys):
    place = tmp_path / "faces"
    place.mkdir()
    folder(place, 24, mm="")
    assert main.run(["data", str(place), "imgsz=32", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["labels"] == {"eye": 24, "ear": 24} and shown["cases"] == 24
    page = (tmp_path / shown["page"]).read_text(encoding="utf-8")
    assert "0.png: 1 eye, 2 ear" in page
    assert main.run(["data", str(place), "imgsz=32"]) == 0
    capsys.readouterr()
    options = ["budget=2ep", "imgsz=32", "batch=8", "project=runs", "name=faces", "--json"]
    assert main.run(["train", "heatmap_points_tiny", f"data={place}", *options]) == 0
    made = json.loads(capsys.readouterr().out)
    assert {"mean radial error in pixels", "OKS"} < set(made["measures"])
    assert main.run(["predict", made["run"], str(place / "0.png"), "--json"]) == 0
    assert '"eye"' in capsys.readouterr().out


def test_it_is_listed_and_shown(capsys):
    assert main.run(["list"]) == 0
    assert "heatmap_points" in capsys.readouterr().out
    assert main.run(["show", "heatmap_points"]) == 0
    assert "2018" in capsys.readouterr().out


@pytest.mark.parametrize("move, place", [(-5, 0), (5, 1)])
def test_landmarks_on_the_edge_of_the_picture_stay_marked(monkeypatch, move, place):
    points = torch.tensor([[[5.0, 8], [27, 8]]])
    shifted = lambda image, _generator: (image, torch.tensor([[move, 0]]))  # noqa: E731
    monkeypatch.setattr(keypoints_task.transforms, "shifted", shifted)
    after = TASK.augmentation(("shift",))(Rows(torch.zeros(1, 1, 32, 32), points), torch.Generator())
    assert after.target.isfinite().all() and after.target[0, place, 0] in (0, 32)


def test_a_landmark_that_is_just_within_the_share_of_the_side_counts():
    cases = replace(marks(1, 50), spacing=())
    error = np.array([keypoints.SHARE * 50])
    assert evaluation._of_landmark("tip", error, cases).near.value == 1
