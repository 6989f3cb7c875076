"""OKS and its average precision against pycocotools, figures with points in every place that data
go through, and the task around them."""

import contextlib
import importlib
import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import posed

import souron
from souron import model, registry
from souron.data import load
from souron.data.dataset import Dataset, ListColumn, Rows, digests
from souron.data.target import target_of
from souron.data.targets.boxes import boxes_of
from souron.data.targets.poses import Figures, Skeleton, area_of, sides_swapped
from souron.evaluation.vision import detection, poses
from souron.evaluation.vision.detection import DetectionSetup
from souron.kinds.picture import Picture
from souron.kinds.poses import Poses
from souron.metrics import poses as similarity
from souron.metrics.detection import METRICS
from souron.runs import compare, evaluate, train
from souron.utils.messages import UserError

TASK = registry.load_task("pose")
LABELS = ("cat", "dog")


def drawn(seed, images=5):
    """Figures and what was found near them: crowds, figures without a marked point, points that are
    not marked, equal scores, more than twenty of one label, pictures without any."""
    random = np.random.default_rng(seed)
    names = similarity.COCO if seed % 2 else ("a", "b", "c")
    bones = Skeleton(names, sigmas=(0.03, 0.1, 0.2) if seed % 4 == 2 else ())
    truth, found = [], []
    for _image in range(images):
        count, said = random.integers(0, 5), random.integers(0, 45)
        corner = random.uniform(0, 60, (count, 2))
        box = np.c_[corner, corner + random.uniform(10, 60, (count, 2))]
        label = random.integers(0, 2, count)
        place = corner[:, None] + random.random((count, len(names), 2)) * (box[:, None, 2:] - box[:, None, :2])
        known = random.integers(0, 3, (count, len(names)))
        known[random.random(count) < 0.2] = 0
        crowd = random.random(count) < 0.15
        boxes = torch.from_numpy(np.c_[np.where(crowd, -1 - label, label), box])
        area = area_of(boxes) * torch.from_numpy(random.uniform(0.3, 1, count))
        points = torch.from_numpy(np.concatenate([place, known[..., None]], 2))
        truth.append(Figures(boxes, points, area, bones))
        near = random.integers(0, max(count, 1), said)
        at = place[near] if count else random.uniform(0, 60, (said, len(names), 2))
        at = at + random.normal(0, random.uniform(0, 6, (said, 1, 1)), at.shape)
        edges = np.c_[at.min(1), at.max(1)]
        named = np.where(random.random(said) < 0.8, label[near] if count else 0, 0)
        score = random.random(said).round(1)
        boxes = torch.from_numpy(np.c_[named, edges, score])
        points = torch.from_numpy(np.concatenate([at, np.ones((*at.shape[:2], 1))], 2))
        found.append(Figures(boxes, points, area_of(boxes), bones))
    image = torch.zeros(images, 3, 128, 128, dtype=torch.uint8)
    files = [f"{row}.png" for row in range(images)]
    return Dataset("drawn", image, ListColumn(truth), LABELS, files), found


def pycocotools(cases, found):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, results = [], []
    for row, (there, said) in enumerate(zip(cases.target, found, strict=True), 1):
        for (label, left, top, right, bottom), point, area in zip(
            there.box.tolist(), there.point, there.area.tolist(), strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": row,
                    "area": area,
                    "category_id": int(-1 - label if label < 0 else label) + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "iscrowd": int(label < 0),
                    "keypoints": point.flatten().tolist(),
                    "num_keypoints": int((point[:, 2] > 0).sum()),
                }
            )
        for box, point in zip(said.box.tolist(), said.point, strict=True):
            results.append(
                {
                    "image_id": row,
                    "category_id": int(box[0]) + 1,
                    "score": box[5],
                    "keypoints": point.flatten().tolist(),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        given = COCO()
        given.dataset = {
            "info": {},
            "images": [{"id": row + 1} for row in range(len(found))],
            "categories": [{"id": 1}, {"id": 2}],
            "annotations": annotations,
        }
        given.createIndex()
        evaluator = COCOeval(given, given.loadRes(results), "keypoints")
        bones = cases.target[0].skeleton
        evaluator.params.kpt_oks_sigmas = (
            evaluator.params.kpt_oks_sigmas if bones.names == similarity.COCO else np.array(bones.sigmas or [0.05] * 3)
        )
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][:, :, :, 0, -1]  # (overlaps, recalls, labels)

    def mean(overlap):
        values = precision[overlap]
        return values[values > -1].mean() if (values > -1).any() else np.nan

    return {name: mean(METRICS[name][1]) for name in ("AP", "AP50", "AP75")}


def test_60_sets_of_poses_agree_with_pycocotools():
    compared = 0
    for seed in range(60):
        cases, found = drawn(seed)
        if not sum(len(each.box) for each in found):
            continue
        own = TASK.judged(found, cases, sizes=False)
        for name, expected in pycocotools(cases, found).items():
            if np.isnan(expected):
                assert f"OKS {name}" not in own
                continue
            assert own[f"OKS {name}"].mean() == pytest.approx(expected, abs=1e-6), seed
            compared += 1
    assert compared > 150


def test_oks_by_hand_and_the_sigmas_of_names():
    true = [[[0, 0, 2], [10, 10, 1], [5, 5, 0]]]
    found = [[[3, 4], [10, 10], [90, 90]]]
    expected = (np.exp(-25 / (2 * 100 * 0.1**2)) + 1) / 2
    assert similarity.similarities(found, true, [100.0], [0.05] * 3)[0, 0] == pytest.approx(expected)
    assert np.isnan(similarity.similarities(found, [[[1, 1, 0]] * 3], [9.0], [0.05] * 3)).all()
    coco = similarity.sigmas_of([name.replace("_", " ") for name in similarity.COCO])
    assert coco[[0, 1, 5, 9, 15]].tolist() == [0.026, 0.025, 0.079, 0.062, 0.089]
    assert similarity.sigmas_of(("nose", "tail")).tolist() == [0.05, 0.05]
    assert similarity.sigmas_of(("nose", "tail"), (0.1, 0.2)).tolist() == [0.1, 0.2]


def test_pseudo_values_are_those_of_leaving_blocks_out_over_all_recalls():
    cases, found = drawn(5, images=8)
    cases = replace(cases, group=[f"block {row // 2}" for row in range(8)])
    own = TASK.judged(found, cases)["OKS AP"]
    left = []
    for block in range(4):
        rows = [row for row in range(8) if row // 2 != block]
        matches = detection.matched([found[row] for row in rows], cases.only(rows))
        left.append(np.nanmean(matches.without(np.zeros(6, int), 2, smooth=True)[1, 0]))
    expected = pycocotools(cases, found)["AP"] + 3 * (np.mean(left) - np.repeat(left, 2))
    assert own == pytest.approx(expected, abs=1e-6)


def test_left_and_right_are_exchanged_by_name():
    assert sides_swapped(("nose", "left_eye", "right_eye")) == (0, 2, 1)
    assert sides_swapped(("Left hand", "right hand")) == (0, 1)  # other letters: another name
    assert sides_swapped(("L-hip", "left", "upright line")) == (0, 1, 2)
    assert sides_swapped(similarity.COCO)[:5] == (0, 2, 1, 4, 3)


@pytest.mark.parametrize("names", [("mirror",), ("shift",), ("shift", "mirror", "brightness")])
def test_points_move_with_their_pictures(names):
    cases = posed(40, 48, 1)
    after = TASK.augmentation(names)(Rows(cases.input, cases.target), torch.Generator().manual_seed(1))
    moved = 0
    for image, now, before in zip(after.input, after.target, cases.target, strict=True):
        for point in now.point:
            marked = point[:, 2] > 0
            x, y = point[:, :2].long().clamp(0, 47).unbind(1)
            assert (image.amax(0)[y, x][marked] > 90).all()
            if marked[:2].all():
                assert point[0, 0] < point[1, 0]  # the left end is on the left
        inside = (now.point[..., :2] >= 0) & (now.point[..., :2] <= 48)
        assert inside.all(2)[now.point[..., 2] > 0].all()
        moved += len(now.box) != len(before.box) or not torch.equal(now.point, before.point)
    assert moved > 10


def test_what_leaves_the_picture_is_no_longer_marked():
    figures = posed(1, 48, 1).target[0]
    box = torch.tensor([[0.0, 10, 10, 40, 40]])
    point = torch.tensor([[[12.0, 20, 2], [38, 20, 2], [30, 20, 1]]])
    there = TASK.moved(figures._replace(box=box, point=point), torch.tensor([15, 0]), 48)
    assert there.box.tolist() == [[0, 25, 10, 48, 40]]
    assert there.point[0].tolist() == [[27, 20, 2], [53, 20, 0], [45, 20, 1]]
    gone = TASK.moved(figures._replace(box=box, point=point), torch.tensor([35, 0]), 48)
    assert len(gone.box) == len(gone.point) == len(gone.area) == 0


def test_a_column_moves_chooses_and_digests_figures():
    column = posed(6, 32).target
    again = column.to(torch.device("cpu")).index_select(0, torch.tensor([4, 2]))
    assert torch.equal(again[0].point, column[4].point) and again[0].skeleton.lines == ((0, 2), (2, 1))
    before = list(digests(column))
    column.entries[3].point[0, 0, 2] = 1 - column.entries[3].point[0, 0, 2]
    changed = [one != other for one, other in zip(before, digests(column), strict=True)]
    assert changed == [False, False, False, True, False, False]


def test_answers_come_back_as_they_were_and_damaged_ones_are_refused():
    cases = posed(4, 32)
    found = [
        Figures(torch.rand(n, 6), torch.rand(n, 3, 3), torch.rand(n), cases.target[0].skeleton) for n in (2, 0, 3, 1)
    ]
    kept = detection.packed(found)
    for one, other in zip(found, detection.unpacked(kept, cases), strict=True):
        assert torch.equal(one.box, other.box) and torch.equal(one.point, other.point)
    lost = kept["found points"]
    kept["found points"] = lost._replace(rows=lost.rows[1:], values=lost.values[1:])
    with pytest.raises(ValueError, match="points"):
        detection.unpacked(kept, cases)


def test_the_mean_pose_lies_in_the_mean_box_and_crowds_are_not_learnt_from():
    bones = posed(1, 32).target[0].skeleton
    box = torch.tensor([[0.0, 0, 0, 10, 20], [0, 10, 0, 30, 20], [-1, 0, 0, 30, 30]])
    point = torch.zeros(3, 3, 3)
    point[0] = torch.tensor([[1.0, 2, 2], [9, 18, 1], [0, 0, 0]])
    point[1] = torch.tensor([[14.0, 6, 2], [0, 0, 0], [20, 10, 2]])
    figures = Figures(box, point, area_of(box), bones)
    mean = poses.mean_pose([figures])
    assert mean.box[0, :5].tolist() == [0, 5, 0, 20, 20]
    expected = [[5 + 15 * 0.15, 4], [5 + 15 * 0.9, 18], [5 + 15 * 0.5, 10]]
    assert mean.point[0, :, :2].numpy() == pytest.approx(np.array(expected))
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    batch = TASK.batch(Rows(image, ListColumn([figures])), None)
    assert [len(batch.target[0]), len(batch.point[0])] == [2, 2]
    assert TASK.renumbered([figures], torch.tensor([3]))[0].box[:, 0].tolist() == [3, 3, -4]


def test_errors_of_points_are_counted_over_the_figures_that_were_found():
    cases = posed(6, 64, 2)
    found = [
        Figures(
            torch.cat([each.box, torch.ones(len(each.box), 1)], 1),
            each.point + torch.tensor([0.6, 0.8, 0]),
            each.area,
            each.skeleton,
        ).of(torch.arange(len(each.box)).flip(0))
        for each in cases.target
    ]
    by_point = poses.by_point(found, cases)
    assert [one.name for one in by_point] == ["left end", "right end", "middle"]
    known = torch.cat([each.point for each in cases.target])[..., 2] > 0
    assert [one.marked for one in by_point] == known.sum(0).tolist()
    assert all(one.error.value == pytest.approx(1, abs=1e-4) for one in by_point)
    of_two = poses.by_point(found, replace(cases, group=[f"patient {row // 3}" for row in range(6)]))
    assert {(one.error.groups, one.near.groups) for one in of_two} == {(2, 2)}
    assert poses._of_point("tip", np.ones(1), np.array([poses.NEAR]), ["a"]).near.value == 1
    far = [each._replace(point=each.point + 900) for each in found]
    assert [one.marked for one in poses.by_point(far, cases)] == [0, 0, 0]


def test_poses_are_told_in_json_csv_coco_and_yolo(tmp_path):
    image = Image.fromarray(np.full((50, 100, 3), 90, np.uint8))
    point = [[[10, 20], [30, 40]], [[60, 5], [70, 45]]]
    box = [[5, 10, 45, 45], [50, 0, 90, 50]]
    made = Poses(
        Picture(image),
        box,
        ["dog", "cat"],
        point,
        ("head", "tail"),
        [0.9, 0.5],
        [[0.8, 0.7], [0.6, 0.25]],
        ((0, 1),),
        LABELS,
    )
    told = made.as_json()
    assert told["width"] == 100 and told["boxes"][1]["xyxy"] == [50, 0, 90, 50]
    assert told["points"][2] == {"figure": 1, "name": "head", "score": 0.6, "x": 60, "y": 5}
    made.save(tmp_path / "a.coco.json")
    [first, second] = json.loads((tmp_path / "a.coco.json").read_text())
    assert first["category_id"] == 2 and first["keypoints"] == [10, 20, 2, 30, 40, 2]
    assert second["bbox"] == [50, 0, 40, 50] and second["score"] == 0.5
    made.save(tmp_path / "a.txt")
    words = (tmp_path / "a.txt").read_text().splitlines()[1].split()
    assert words[0] == "0" and list(map(float, words[1:])) == pytest.approx(
        [0.7, 0.5, 0.4, 1, 0.6, 0.1, 0.6, 0.7, 0.9, 0.25, 0.5]
    )
    made.save(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().splitlines()[4] == "1,cat,0.5,tail,70.0,45.0,0.25"
    plain, only = np.asarray(made.drawn(shown=[])), np.asarray(made.drawn(shown=["cat"]))
    changed = (plain != only).any(2).mean(0)
    assert changed[: len(changed) * 45 // 100].max() == 0 < changed[len(changed) // 2 :].max()
    with pytest.raises(UserError, match="3 points for 2 figures"):
        Poses(Picture(image), box, ["a", "b"], point[0] + point[1][:1], ("head", "tail"))
    with pytest.raises(UserError, match="lines"):
        Poses(Picture(image), [], [], [], ("head",), skeleton=((0, 1),))


def test_drawn_targets_and_data_without_points():
    cases = posed(8, 48)
    target = target_of(cases)
    assert type(target).__name__ == "Poses" and target.counts() == [sum(map(len, boxes_of(cases.target)))]
    image, words = target.drawn(0)
    assert words == "bar" and np.asarray(image).any()
    unmarked = [one._replace(point=one.point * torch.tensor([1, 1, 0])) for one in cases.target]
    without = np.asarray(target_of(replace(cases, target=ListColumn(unmarked))).drawn(0)[0])
    assert (np.asarray(image) != without).any()
    for lacking in (
        replace(cases, target=ListColumn(boxes_of(cases.target))),
        replace(cases, target=ListColumn(unmarked)),
    ):
        with pytest.raises(UserError, match="points"):
            TASK.check(lacking, None)


DATA = '''"""Bright bars on dark noise, with their ends and middles."""

from shapes import posed

ja = "暗い雑音の上の明るい棒とその両端と中央"
task = "pose"
licence = "CC0"
source = "https://example.org/bars"
cases = 160
ships_with = "torch"


def load(side=None):
    return posed(cases, side or 32, 1)
'''


@pytest.fixture
def bars(tmp_path, monkeypatch):
    """The bars as a data set of its own."""
    file = tmp_path / "elsewhere" / "souron" / "data" / "sets" / "bars.py"
    file.parent.mkdir(parents=True)
    file.write_text(DATA, encoding="utf-8")
    monkeypatch.setattr(souron, "__path__", [*souron.__path__, str(file.parents[2])])
    load.names.cache_clear()
    importlib.invalidate_caches()
    yield "bars"
    sys.modules.pop("souron.data.sets.bars", None)
    monkeypatch.undo()
    load.names.cache_clear()


def test_it_trains_reports_predicts_is_measured_again_and_compared(bars, tmp_path):
    record = train.train("keypoint_rcnn_tiny", bars, budget="16ep", batch=16)
    assert list(record.measures) == [metric.name for metric in TASK.metrics]
    measure = record.measures["OKS AP50"]
    assert measure.value > 0.2 and measure.low < measure.value < measure.high
    assert measure.groups == len(set(record.test.group)) < measure.n
    baselines = record.details.baselines
    assert baselines["untrained"]["OKS AP50"].value < 0.05
    assert baselines["constant"]["OKS AP50"].value < measure.value
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    for part in ("found", "precision", "points", "maps"):
        assert f'id="{part}"' in page
    assert "OKS AP50" in page and "right end" in page and "untrained" in page
    assert evaluate.evaluate(record.folder) == record.measures
    header, *lines = (record.folder / "predictions.csv").read_text().splitlines()
    assert header == "file,figure,label,score,point,x,y,point score" and len(lines) % 3 == 0 < len(lines)

    row = max(range(len(record.test)), key=lambda row: len(record.details.found[row].box))
    pixels = record.test.input[row].numpy().transpose(1, 2, 0).repeat(3, 0).repeat(3, 1)
    Image.fromarray(np.pad(pixels, ((0, 0), (0, 12), (0, 0)))).save(tmp_path / "wide.png")
    asked = model.load(record.folder)
    found = asked(tmp_path / "wide.png", conf=0.02)
    assert found.point.shape == (len(found.labels), 3, 2) and found.skeleton == ((0, 2), (2, 1))
    assert ((found.point >= 0) & (found.point <= (108, 96))).all()
    true = 3 * record.test.target[row].point[0, :, :2].numpy()
    assert np.linalg.norm(found.point - true, axis=2).mean(1).min() < 25
    assert len(asked(tmp_path / "wide.png", conf=0.999).box) == 0

    other = replace(record.test.target[0].skeleton, names=("a", "b", "c"))
    renamed = ListColumn([one._replace(skeleton=other) for one in record.test.target])
    setup = DetectionSetup(TASK.Options(), replace(record.test, target=renamed))
    with pytest.raises(UserError, match="does not know the points a, b, c"):
        TASK._found(asked.system, setup.test, setup)

    both = ["keypoint_rcnn_tiny", "yolo_pose_tiny"]
    fought = compare.compare(both, bars, budget="32ex", seeds=1, batch=8)
    assert "too few" in fought.sentence and {row.system for row in fought.rows} == set(both)
    assert "side_by_side" in (fought.folder / "report.html").read_text(encoding="utf-8")


def test_points_on_the_edge_of_the_picture_stay_marked():
    figures = posed(1, 48, 1).target[0]
    box = torch.tensor([[0.0, 10, 10, 40, 40]])
    point = torch.tensor([[[8.0, 20, 2], [40, 20, 2], [20, 40, 1]]])
    for move, place in ((-8, 0), (8, 1)):
        there = TASK.moved(figures._replace(box=box, point=point), torch.tensor([move, 8]), 48)
        assert there.point[0, :, 2].tolist() == [2, 2, 1] and there.point[0, place, 0] in (0, 48)
