"""Masks of objects: packed, moved and counted, COCO's figures of them against pycocotools, and the
task around them."""

import contextlib
import hashlib
import importlib
import io
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import instanced, shapes

import souron
from souron import model, registry
from souron.data import load
from souron.data.dataset import Dataset, ListColumn, Rows, digest, digests
from souron.data.sets import scenes
from souron.data.targets.boxes import boxes_of
from souron.data.targets.instances import Instances, numbered, packed
from souron.evaluation.answers import Sparse, Trainings
from souron.evaluation.vision import detection as evaluation
from souron.metrics import detection
from souron.runs import compare, evaluate, train
from souron.tasks.segment_instances import filled
from souron.utils.messages import UserError

TASK = registry.load_task("segment_instances")
LABELS = ("a", "b", "c")


def blobs(random, count, side):
    """Ellipses of any size, some of a few pixels, some across the border."""
    y, x = np.mgrid[:side, :side]
    middle = random.uniform(0, side, (count, 2, 1, 1))
    reach = random.uniform(1, side / 2, (count, 2, 1, 1))
    return ((x - middle[:, 0]) / reach[:, 0]) ** 2 + ((y - middle[:, 1]) / reach[:, 1]) ** 2 < 1


def drawn(seed, images=4):
    """Objects, and masks near some of them, with crowd regions, ties and empty pictures."""
    random = np.random.default_rng(seed)
    side = (40, 75, 128)[seed % 3]
    truth, found = [], []
    for _image in range(images):
        objects, said = random.integers(0, 5), random.integers(0, 12)
        true = blobs(random, objects, side)
        label = random.integers(0, 3, objects)
        named = np.where(random.random(objects) < 0.15, -1 - label, label)
        masks, labels = [], []
        for _each in range(said if objects else 2):
            near = random.integers(0, objects) if objects else -1
            mask = true[near] if objects else blobs(random, 1, side)[0]
            masks.append(np.roll(mask, random.integers(-4, 5, 2), (0, 1)))
            right = objects and random.random() < 0.8
            labels.append(label[near] if right else random.integers(0, 3))
        score = random.random(len(masks)).round(1)
        truth.append(made(true, np.c_[named]))
        masks = np.array(masks).reshape(-1, side, side)
        found.append(made(masks, np.c_[labels], score[:, None]))
    image = torch.zeros(images, 1, side, side, dtype=torch.uint8)
    files = [str(row) for row in range(images)]
    return Dataset("blobs", image, ListColumn(truth), LABELS, files), found


def made(masks, label, *score):
    """With boxes that are of no matter."""
    box = np.tile([0.0, 0, 9, 9], (len(masks), 1))
    row = np.concatenate([label.reshape(-1, 1), box, *score], 1)
    return packed(torch.from_numpy(row), torch.from_numpy(np.array(masks)))


def pycocotools(cases, found):
    from pycocotools import mask as runs
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def written(every, row, **more):
        for row_of_box, mask in zip(every.box.tolist(), every.masks(cases.side), strict=True):
            label = int(row_of_box[0])
            pixels = np.asfortranarray(mask.numpy().astype(np.uint8))
            yield {
                "image_id": row + 1,
                "category_id": (-1 - label if label < 0 else label) + 1,
                "segmentation": runs.encode(pixels),
                "area": int(pixels.sum()),
                "iscrowd": int(label < 0),
                "score": row_of_box[-1],
            }

    with contextlib.redirect_stdout(io.StringIO()):
        given = COCO()
        truth = [one for row, each in enumerate(cases.target) for one in written(each, row)]
        given.dataset = {
            "info": {},
            "images": [{"id": row + 1, "width": cases.side, "height": cases.side} for row in range(len(cases))],
            "categories": [{"id": n + 1, "name": name} for n, name in enumerate(LABELS)],
            "annotations": [{**one, "id": n + 1} for n, one in enumerate(truth)],
        }
        given.createIndex()
        said = [one for row, each in enumerate(found) for one in written(each, row)]
        evaluator = COCOeval(given, given.loadRes(said), "segm")
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"]  # (overlaps, recalls, labels, areas, most)

    def mean(area, overlap):
        values = precision[overlap, :, :, area, -1]
        return values[values > -1].mean() if (values > -1).any() else np.nan

    return {name: mean(area, overlap) for name, (area, overlap) in detection.METRICS.items()}


def test_100_sets_of_masks_agree_with_both_evaluators():
    seen = set()
    for seed in range(100):
        cases, found = drawn(seed)
        expected = pycocotools(cases, found)
        own = evaluation.scores_of(found, cases)
        boxes = [each.box.numpy() for each in found]
        masks = evaluation._masks(found, cases)
        kept = detection.coco(boxes_of(cases.target), boxes, 3, masks=masks) if seed % 4 == 0 else None
        for name in detection.METRICS:
            if np.isnan(expected[name]):
                assert name not in own
                continue
            seen.add(name)
            assert own[name].mean() == pytest.approx(expected[name], abs=1e-6), (seed, name)
            if kept is not None:
                assert kept[name] == pytest.approx(expected[name], abs=1e-6)
    assert seen == set(detection.METRICS)


def test_a_mask_overlaps_what_it_shares_and_a_crowd_by_its_own_area():
    square = np.zeros((3, 20, 20), dtype=bool)
    square[0, :10, :10] = square[1, :10, 5:15] = square[2, :, :] = True
    bits = np.packbits(square, axis=2)
    found = detection.of_masks(bits, bits, np.array([False, False, True]))
    third = 50 / 150
    assert found.overlap.tolist() == [[1, third, 1], [third, 1, 1], [0.25, 0.25, 1]]
    assert found.own.tolist() == found.true.tolist() == [100, 100, 400]
    nothing = detection.of_masks(bits[:0], bits, np.zeros(3, bool))
    assert nothing.overlap.shape == (0, 3)


def test_objects_in_one_box_are_told_apart_by_their_masks():
    masks = np.zeros((2, 16, 16), dtype=bool)
    masks[0, :, :8] = masks[1, :, 8:] = True
    truth = made(masks, np.array([0, 1]))
    said = made(masks[::-1], np.array([1, 0]), np.array([[0.9], [0.8]]))
    image = torch.zeros(1, 1, 16, 16)
    cases = Dataset("two", image, ListColumn([truth]), LABELS, ["0"])
    assert evaluation.confusion([said], cases, 0.5)[:2, :2].tolist() == [[1, 0], [0, 1]]
    assert evaluation.threshold([said], cases) == pytest.approx(0.8)
    swapped = Instances(said.box, said.bits.flip(0))
    table = evaluation.confusion([swapped], cases, 0.5)
    assert table[:2, :2].tolist() == [[0, 1], [1, 0]]
    scores = TASK.judged([swapped], cases)
    assert scores["mask AP50"].mean() == 0 and scores["box AP50"].mean() > 0.999


@pytest.mark.parametrize("side", [8, 13, 64])
def test_packed_masks_come_back_whatever_the_side(side):
    random = torch.Generator().manual_seed(0)
    masks = torch.rand(3, side, side, generator=random) < 0.5
    objects = packed(torch.zeros(3, 5), masks)
    assert objects.bits.shape == (3, side, -(-side // 8)) and objects.bits.dtype == torch.uint8
    assert torch.equal(objects.masks(side), masks)
    assert torch.equal(objects.of(torch.tensor([2, 0])).masks(side), masks[[2, 0]])
    ids = torch.tensor([[0, 1], [2, 1]], dtype=torch.uint8)
    seen = numbered(torch.zeros(3, 5), ids).masks(2)
    assert seen.int().tolist() == [[[0, 1], [0, 1]], [[0, 0], [1, 0]], [[0, 0], [0, 0]]]
    assert packed(torch.zeros(0, 5), masks[:0]).masks(side).shape == (0, side, side)


def test_a_column_moves_indexes_and_digests_objects_with_masks():
    cases = instanced(6, 32)
    column = cases.target
    moved = column.to(torch.device("meta"))[0]
    assert isinstance(moved, Instances) and moved.box.is_meta and moved.bits.is_meta
    chosen = column.index_select(0, torch.tensor([4, 1]))
    assert chosen[0] is column[4] and chosen[1] is column[1]

    def told(some):
        hasher = hashlib.blake2b()
        digest(some, hasher)
        return hasher.digest()

    copied = ListColumn([Instances(one.box.clone(), one.bits.clone()) for one in column])
    assert told(copied) == told(column) and list(digests(copied)) == list(digests(column))
    copied[3].bits[0, 5, 1] ^= 1  # one pixel
    assert told(copied) != told(column)
    other = [a != b for a, b in zip(digests(copied), digests(column), strict=True)]
    assert other == [False, False, False, True, False, False]
    assert list(digests([(torch.ones(2), torch.ones(1))])) != list(digests([(torch.ones(2),)]))


def test_scenes_give_what_is_seen_of_each_thing_and_its_box(monkeypatch):
    monkeypatch.setattr(scenes, "COUNTS", {"train": 12, "val": 4, "test": 4})
    whole, boxes, maps = (
        load.load("scenes", 48, target=target) for target in ("instances", "boxes", "classes_of_pixels")
    )
    assert whole.classes == boxes.classes and torch.equal(whole.input, boxes.input)
    for one, box, area in zip(whole.target, boxes.target, maps.target, strict=True):
        masks = one.masks(48)
        assert torch.equal(one.box, box) and masks.sum(0).max() <= 1
        assert torch.equal((masks * (box[:, 0, None, None] + 1)).sum(0).byte(), area)
        for mask, edges in zip(masks, box[:, 1:].tolist(), strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            assert edges == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("names", [("mirror",), ("shift",), ("shift", "mirror")])
def test_masks_move_with_their_pictures_and_boxes(names):
    cases = instanced(40, 48, seed=3)
    before = Rows(cases.input, cases.target)
    after = TASK.augmentation(names)(before, torch.Generator().manual_seed(1))
    moved = 0
    for image, one, old in zip(after.input, after.target, before.target, strict=True):
        lit, masks = image.amax(0) >= 150, one.masks(48)
        assert lit[masks.any(0)].all()
        if names == ("mirror",):  # a shifted picture shows its reflection at the border
            assert torch.equal(lit, masks.any(0))
        for mask, (left, top, right, bottom) in zip(masks, one.box[:, 1:].tolist(), strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            assert rows.min() >= top and rows.max() < bottom
            assert columns.min() >= left and columns.max() < right
        moved += not torch.equal(one.bits, old.bits)
    assert moved > 10
    with pytest.raises(UserError, match="augment"):
        TASK.augmentation(("rotate",))


def test_what_leaves_the_picture_goes_with_its_mask():
    masks = torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[0, 2:6, 0:4] = masks[1, 2:6, 8:12] = True
    box = torch.tensor([[0.0, 0, 2, 4, 6], [1, 8, 2, 12, 6]])
    one = TASK.moved(packed(box, masks), torch.tensor([-3, 1]), 16)
    assert one.box.tolist() == [[1, 5, 3, 9, 7]]
    assert torch.equal(one.masks(16)[0], masks[1].roll((1, -3), (0, 1)))


def test_crowds_are_not_learnt_from_and_labels_are_renumbered():
    cases = instanced(1, 32, 1)
    one = cases.target[0]
    two = packed(torch.cat([one.box, one.box]), torch.cat([one.masks(32), ~one.masks(32)]))
    two.box[0, 0], two.box[1, 0] = -2, 0
    batch = TASK.batch(Rows(cases.input, ListColumn([two])), None)
    assert batch.target[0][:, 0].tolist() == [0] and batch.image.max() <= 1
    assert torch.equal(batch.mask[0], ~one.masks(32))
    again = TASK.renumbered(ListColumn([two]), torch.tensor([2, 0]))
    assert again[0].box[:, 0].tolist() == [-1, 2] and torch.equal(again[0].bits, two.bits)
    asked = TASK.batch(Rows(cases.input, None), None)
    assert asked.target == asked.mask == []


def test_answers_are_small_and_come_back_in_the_order_of_folds():
    cases, found = drawn(2, images=6)
    answers = evaluation.packed(found)
    masks = answers["found masks"]
    assert isinstance(masks, Sparse)
    assert masks.values.numel() < sum(each.bits.numel() for each in found) / 4
    trainings = Trainings.empty(cases, {})
    for rows in ([5, 0, 3], [1, 4, 2]):
        trainings.add(evaluation.packed([found[row] for row in rows]), torch.tensor(rows))
    for own in (answers, trainings.answers[0]):
        for one, there in zip(evaluation.unpacked(own, cases), found, strict=True):
            assert torch.equal(one.bits, there.bits)
            assert torch.equal(one.box, there.box.float())
    none = [Instances(each.box[:0], each.bits[:0]) for each in found]
    again = evaluation.unpacked(evaluation.packed(none), cases)
    assert all(one.bits.shape == (0, 128, 16) for one in again)


def test_damaged_answers_are_refused():
    cases, found = drawn(2, images=3)
    answers = evaluation.packed(found)
    masks = answers["found masks"]
    for values in (masks.values.flip(0), torch.zeros_like(masks.values)):
        with pytest.raises(ValueError, match="masks"):
            evaluation.unpacked({**answers, "found masks": Sparse(masks.rows, values)}, cases)
    smaller = Dataset("other", cases.input[..., :64, :64], cases.target, LABELS, cases.file)
    with pytest.raises(ValueError, match="masks"):
        evaluation.unpacked(answers, smaller)


def test_the_constant_answer_fills_its_box():
    one = filled(torch.tensor([[1.0, 2, 3, 5.6, 7.4, 1]]), 12)
    rows, columns = one.masks(12)[0].nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 6, 2, 5)
    assert len(rows) == 16


def test_data_without_masks_of_objects_are_refused():
    for cases in (shapes(4, 32), instanced(4, 32).only([])):
        with pytest.raises(UserError, match="masks"):
            TASK.check(cases, None)
    cases = instanced(4, 32)
    TASK.check(cases, None)
    large = Dataset("large", torch.zeros(4, 3, 40, 40), cases.target, LABELS, cases.file)
    with pytest.raises(UserError, match="masks"):
        TASK.check(large, None)


DATA = '''"""Bright shapes on dark noise, with their pixels."""

from shapes import instanced

ja = "暗い雑音の上の明るい図形とその画素"
task = "segment_instances"
licence = "CC0"
source = "https://example.org/shapes"
cases = 160
ships_with = "torch"


def load(side=None):
    return instanced(cases, side or 32, 2)
'''


@pytest.fixture
def pieces(tmp_path, monkeypatch):
    """The shapes as a data set of its own."""
    file = tmp_path / "elsewhere" / "souron" / "data" / "sets" / "pieces.py"
    file.parent.mkdir(parents=True)
    file.write_text(DATA, encoding="utf-8")
    monkeypatch.setattr(souron, "__path__", [*souron.__path__, str(file.parents[2])])
    load.names.cache_clear()
    importlib.invalidate_caches()
    yield "pieces"
    sys.modules.pop("souron.data.sets.pieces", None)
    monkeypatch.undo()
    load.names.cache_clear()


def test_it_trains_reports_predicts_is_measured_again_and_compared(pieces, tmp_path):
    record = train.train("yolo_seg_tiny", pieces, budget="16ep", batch=16)
    assert list(record.measures) == ["mask AP", "mask AP50", "mask AP75", "box AP", "box AP50"]
    measure = record.measures["mask AP50"]
    assert measure.value > 0.1 and measure.low < measure.value < measure.high
    assert measure.groups == len(set(record.test.group)) < measure.n
    baselines = record.details.baselines
    assert baselines["untrained"]["mask AP50"].value < 0.05
    assert baselines["constant"]["mask AP50"].value < measure.value
    assert record.details.coco["AP50"] == pytest.approx(measure.value, abs=1e-6)
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    for part in ("found", "precision", "curves", "confusion", "steps"):
        assert f'id="{part}"' in page
    assert "mask AP50" in page and "box AP" in page and "untrained" in page
    assert evaluate.evaluate(record.folder) == record.measures
    header, *lines = (record.folder / "predictions.csv").read_text().splitlines()
    assert header == "file,label,left,top,right,bottom,score,pixels" and lines

    row = max(range(len(record.test)), key=lambda row: len(record.details.found[row].box))
    pixels = record.test.input[row].numpy().transpose(1, 2, 0).repeat(3, 0).repeat(3, 1)
    Image.fromarray(np.pad(pixels, ((0, 0), (0, 12), (0, 0)))).save(tmp_path / "wide.png")
    asked = model.load(record.folder)
    found = asked(tmp_path / "wide.png", conf=0.02)
    assert found.area.shape == (len(found.names), 96, 108) and found.area.dtype == bool
    true = record.test.target[row].masks(32).numpy().repeat(3, 1).repeat(3, 2)
    true = np.pad(true, ((0, 0), (0, 0), (0, 12)))
    either = (found.area[:, None] | true).sum((2, 3))
    assert ((found.area[:, None] & true).sum((2, 3)) / either).max() > 0.4
    assert set(found.names) <= set(record.test.classes)
    only = asked(tmp_path / "wide.png", conf=0.0, classes="disc")
    assert set(only.names) == {"disc"} and len(only.area) == len(only.names)
    assert len(asked(tmp_path / "wide.png", conf=0.999).area) == 0

    both = ["yolo_seg_tiny", "mask_rcnn_tiny"]
    fought = compare.compare(both, pieces, budget="32ex", seeds=1, batch=8)
    assert "too few" in fought.sentence and {row.system for row in fought.rows} == set(both)


def test_masks_of_the_first_label_are_no_crowd_and_are_those_that_coco_sees():
    cases = instanced(2, 32, 1)
    halves = []
    for one in cases.target:
        bits = one.bits.clone()
        bits[:, : int(one.box[0, [2, 4]].mean())] = 0
        box = torch.cat([one.box, torch.full((len(one.box), 1), 0.5)], 1)
        box[:, 0] = 0
        halves.append(one._replace(box=box, bits=bits))
    first = [one._replace(box=torch.cat([torch.zeros(len(one.box), 1), one.box[:, 1:]], 1)) for one in cases.target]
    cases = replace(cases, target=ListColumn(first))
    assert all(each.overlap.max() < 0.9 for each in evaluation._measured(halves, cases))
    assert evaluation._masks(halves, cases) is not None
    assert len(evaluation.sure(halves[0], 0.5).box) == len(halves[0].box)
