"""Intersections over unions against scikit-learn and a slow boundary, their pseudo-values against
leaving pictures out, and the task around it."""

import importlib
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import masked
from sklearn.metrics import jaccard_score

import souron
from souron import model, registry
from souron.cli import main
from souron.data import load, transforms
from souron.data.dataset import Rows
from souron.data.target import target_of
from souron.evaluation.vision.segmentation import SegmentationSetup
from souron.kinds.picture import Picture
from souron.metrics import segmentation
from souron.metrics.segmentation import UNKNOWN
from souron.runs import compare, evaluate, train
from souron.stats import intervals
from souron.tasks import segment
from souron.tasks.segment import Batch, Spec
from souron.utils.messages import UserError

TASK = registry.load_task("segment")
CLASSES = 5


def maps(seed, images=12, side=(20, 26), unknown=0.1, classes=CLASSES):
    """Blocks of classes, and the same with mistakes."""
    random = np.random.default_rng(seed)
    small = random.integers(0, classes, (images, 5, 7))
    truth = small.repeat(4, 1).repeat(4, 2)[:, : side[0], : side[1]].astype(np.uint8)
    wrong = random.integers(0, classes, (images, 10, 13)).repeat(2, 1).repeat(2, 2)
    kept = (random.random((images, 10, 13)) < 0.6).repeat(2, 1).repeat(2, 2)
    found = np.where(kept, truth, wrong).astype(np.uint8)
    truth[random.random(truth.shape) < unknown] = UNKNOWN
    return truth, found


@pytest.mark.parametrize("seed", range(4))
def test_the_means_are_those_of_scikit_learn(seed):
    truth, found = maps(seed)
    if seed == 3:  # a class that is never true counts for none, yet costs the others
        truth[truth == 2] = 1
    known = truth != UNKNOWN
    true, said = truth[known], found[known]
    counted = segmentation.compare(truth, found, CLASSES)
    scores = segmentation.scores(counted)
    there = np.unique(true)
    expected = jaccard_score(true, said, labels=there, average="macro")
    assert scores["mIoU"].mean() == pytest.approx(expected, abs=1e-12)
    objects = jaccard_score(true > 0, said > 0)
    assert scores["object IoU"].mean() == pytest.approx(objects, abs=1e-12)
    assert scores["pixel accuracy"].mean() == pytest.approx((true == said).mean(), abs=1e-12)
    each = jaccard_score(true, said, labels=range(CLASSES), average=None, zero_division=0)
    for label, own in enumerate(segmentation.by_label(counted)):
        if label in there:
            assert own.mean() == pytest.approx(each[label], abs=1e-12)
        else:
            assert np.isnan(own).all()
    assert counted.confusion.sum() == known.sum()
    assert counted.confusion[1, 3] == ((true == 1) & (said == 3)).sum()


def slow_boundary(area, far):
    """Pixels of an area (H, W) bool that lie at most ``far`` from its edge: it is worn away that
    many times by a square of nine, in a picture with nothing beside it (Cheng et al. 2021)."""
    core = area.copy()
    for _time in range(far):
        wide = np.pad(core, 1)
        core = np.ones_like(area)
        for down in range(3):
            for right in range(3):
                core &= wide[down : down + area.shape[0], right : right + area.shape[1]]
    return area & ~core


@pytest.mark.parametrize("side", [(20, 26), (60, 80)])
def test_the_boundary_is_that_of_a_slow_independent_way(side):
    truth, found = maps(1, side=(20, 26), unknown=0)
    truth, found = (
        part.repeat(side[0] // 20, 1).repeat(side[1] // 26 + 1, 2)[:, : side[0], : side[1]] for part in (truth, found)
    )
    far = max(1, round(0.02 * np.hypot(*side)))
    assert segmentation.reach(*side) == far == {20: 1, 60: 2}[side[0]]
    ratios = []
    for label in range(CLASSES):
        shared = union = 0
        for true, said in zip(truth == label, found == label, strict=True):
            own, other = slow_boundary(true, far), slow_boundary(said, far)
            shared += (own & other).sum()
            union += (own | other).sum()
        ratios.append(shared / union)
    scores = segmentation.scores(segmentation.compare(truth, found, CLASSES))
    assert scores["boundary IoU"].mean() == pytest.approx(np.mean(ratios), abs=1e-12)
    assert scores["boundary IoU"].mean() != pytest.approx(scores["mIoU"].mean(), abs=1e-3)


def test_a_boundary_is_strict_where_an_overlap_is_not():
    truth = np.zeros((1, 100, 100), dtype=np.uint8)
    truth[:, 20:80, 20:80] = 1
    found = np.roll(truth, 2, 2)
    scores = segmentation.scores(segmentation.compare(truth, found, 2))
    assert scores["object IoU"][0] == pytest.approx(58 / 62)
    assert scores["boundary IoU"][0] < 0.85 < scores["mIoU"][0]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", ["mIoU", "object IoU", "boundary IoU", "pixel accuracy"])
def test_pseudo_values_are_those_of_leaving_out(name, grouped):
    truth, found = maps(5, images=14)
    unit = np.array([0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 4, 5, 5, 5]) if grouped else np.arange(14)
    groups = [f"block {number}" for number in unit] if grouped else None

    def whole(rows):
        return segmentation.scores(segmentation.compare(truth[rows], found[rows], CLASSES))[name]

    scores = segmentation.scores(segmentation.compare(truth, found, CLASSES), groups)[name]
    every = whole(np.arange(14)).mean()
    assert scores.mean() == pytest.approx(every, abs=1e-12)
    units = unit.max() + 1
    each = np.array([-(units - 1) * whole(unit != number).mean() for number in range(units)])
    sums = np.array([(scores - every)[unit == number].sum() for number in range(units)])
    assert sums == pytest.approx((each - each.mean()) * 14 / units, abs=1e-9)
    assert all(len(set(scores[unit == number].round(12))) == 1 for number in range(units))


def test_a_class_that_one_picture_holds_leaves_the_others_a_mean():
    truth, found = maps(2, images=4, unknown=0)
    truth[truth == 4], found[found == 4] = 0, 0
    truth[0, 0, 0] = found[0, 0, 0] = 4
    scores = segmentation.scores(segmentation.compare(truth, found, CLASSES))["mIoU"]
    assert np.isfinite(scores).all()
    without = segmentation.scores(segmentation.compare(truth[1:], found[1:], CLASSES))["mIoU"]
    assert np.isfinite(without).all() and len(without) == 3


def test_intervals_of_blocks_are_wider_and_what_is_not_known_counts_nowhere():
    truth, found = maps(7, images=40)
    for block in range(8):  # five pictures of a block are good or bad together
        rows = slice(5 * block, 5 * block + 5)
        found[rows] = truth[rows] % CLASSES if block % 2 else (truth[rows] + 1) % CLASSES
    groups = [f"block {case // 5}" for case in range(40)]
    counted = segmentation.compare(truth, found, CLASSES)
    alone, together = (
        intervals.share_interval(segmentation.scores(counted, units)["mIoU"], units) for units in (None, groups)
    )
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    assert together.groups == 8 and together.value == pytest.approx(alone.value)
    random = np.random.default_rng(0).integers(0, CLASSES, truth.shape).astype(np.uint8)
    other = np.where(truth == UNKNOWN, random, found)
    same = segmentation.compare(truth, other, CLASSES)
    for mine, theirs in zip((*counted.whole, *counted.edges), (*same.whole, *same.edges), strict=True):
        assert (mine == theirs).all()


def test_cross_entropy_and_dice_ignore_what_is_not_known():
    torch.manual_seed(0)
    logits, target = torch.randn(3, 4, 6, 6), torch.randint(0, 4, (3, 6, 6))
    target[:, :2] = UNKNOWN
    other = logits.clone()
    other[:, :, :2] = torch.randn(3, 4, 2, 6) * 9
    for loss in (segment.cross_entropy, segment.dice_loss):
        assert loss(logits, target).item() == pytest.approx(loss(other, target).item(), abs=1e-5)
        assert loss(logits, torch.full_like(target, UNKNOWN)).item() == 0
        wide = logits.clone().requires_grad_()
        loss(wide, target).backward()
        assert (wide.grad[:, :, :2] == 0).all() and (wide.grad[:, :, 2:] != 0).any()
    known = target != UNKNOWN
    expected = torch.nn.functional.cross_entropy(logits.movedim(1, 3)[known], target[known])
    assert segment.cross_entropy(logits, target).item() == pytest.approx(expected.item(), abs=1e-6)


def test_dice_is_that_of_its_formula_over_the_classes_that_are_there():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 4, 5, 5), torch.randint(0, 3, (2, 5, 5))  # class 3 is nowhere
    share = logits.softmax(1)
    each = []
    for label in range(3):
        true = (target == label).float()
        both = (share[:, label] * true).sum()
        each.append(1 - (2 * both + 1) / (share[:, label].sum() + true.sum() + 1))
    assert segment.dice_loss(logits, target).item() == pytest.approx(sum(each).item() / 3, abs=1e-6)
    sure = torch.nn.functional.one_hot(target, 4).movedim(3, 1) * 50.0
    assert segment.dice_loss(sure, target).item() == pytest.approx(0, abs=1e-5)


def test_what_learns_is_both_and_of_a_picture_without_truth_nothing():
    data = masked(4, 16)
    bright = Bright(None, TASK.spec(data))
    batch = TASK.batch(Rows(data.input, data.target), None)
    both = [loss(bright(batch.image), batch.target).item() for loss in (segment.cross_entropy, segment.dice_loss)]
    assert min(both) > 0.01
    assert bright.loss(batch).item() == pytest.approx(sum(both), abs=1e-6)
    asked = TASK.batch(Rows(data.input, None), None)
    assert (asked.target == UNKNOWN).all() and torch.equal(asked.image, batch.image)


def lit(image):
    """What the shapes are: brighter than the noise."""
    return image.amax(0) >= 150


@pytest.mark.parametrize("names", [("mirror",), ("shift",), ("shift", "mirror"), ("rotate",), ("erase",)])
def test_masks_move_with_their_pictures(names):
    data = masked(30, 48, 3, seed=3)
    before = Rows(data.input, data.target)
    assert all(((mask > 0) == lit(image)).float().mean() > 0.999 for image, mask in zip(*before, strict=True))
    after = TASK.augmentation(names)(before, torch.Generator().manual_seed(1))
    assert not torch.equal(after.input, before.input)
    assert after.target.dtype == torch.uint8 and after.target.shape == before.target.shape
    known = after.target != UNKNOWN
    agree = torch.stack(
        [
            ((mask > 0) == lit(image))[there].float().mean()
            for image, mask, there in zip(after.input, after.target, known, strict=True)
        ]
    )
    assert agree.min() > (0.93 if names == ("rotate",) else 0.999)
    away = (~known).float().mean()
    assert away == 0 if names == ("mirror",) else 0.005 < away < 0.35
    assert {0, 1, 2, 3} <= set(after.target.unique().tolist()) <= {0, 1, 2, 3, UNKNOWN}


def test_what_a_shift_lets_in_is_not_known():
    mask = torch.arange(16, dtype=torch.uint8).view(4, 4)
    moved = segment._moved(mask, 1, -1)
    assert moved[:3, 1:].equal(mask[1:, :3])
    assert (moved[3] == UNKNOWN).all() and (moved[:, 0] == UNKNOWN).all()
    image = torch.zeros(8, 1, 32, 32, dtype=torch.uint8)
    image[:, :, 10:20, 10:20] = 200
    rows = TASK.augmentation(("shift",))(Rows(image, image[:, 0] // 200), torch.Generator())
    for picture, one in zip(rows.input, rows.target, strict=True):
        assert ((picture[0] > 0) == (one == 1)).all()


def test_pictures_change_as_they_do_without_masks():
    data = masked(6, 32)
    for name, change in transforms.CHANGES.items():
        alone = change(data.input, torch.Generator().manual_seed(4))
        rows = TASK.augmentation((name,))(Rows(data.input, data.target), torch.Generator().manual_seed(4))
        assert torch.equal(rows.input, alone)
    assert TASK.augmentation(()) is None
    with pytest.raises(UserError, match="augment"):
        TASK.augmentation(("shfit",))


def test_classes_are_renumbered_and_what_is_not_known_stays():
    target = torch.tensor([[[0, 1], [2, UNKNOWN]]], dtype=torch.uint8)
    made = TASK.renumbered(target, torch.tensor([0, 2, 1]))
    assert made.tolist() == [[[0, 2], [1, UNKNOWN]]] and made.dtype == torch.uint8


def test_data_that_cannot_be_segmented_is_refused(digits):
    from dataclasses import replace

    data = masked(6, 32)
    TASK.check(data, None)
    wrong = (
        (digits, "has no masks"),
        (replace(data, target=data.target[:, :16]), "their masks"),
        (replace(data, target=data.target + 7), "class 7, where there are 4"),
        (replace(data, target=torch.full_like(data.target, UNKNOWN)), "no pixel"),
        (replace(data, classes=tuple(map(str, range(256)))), "256 classes"),
    )
    for cases, why in wrong:
        with pytest.raises(UserError, match=why) as caught:
            TASK.check(cases, None)
        assert caught.value.code == "no masks" and caught.value.fix == "data=scenes"


class Bright(segment.Segmenter):
    """Names what is bright, as the shapes are."""

    def forward(self, image):
        light = image.amax(1, keepdim=True)
        return torch.cat([150 / 255 - light, light - 150 / 255, light - 9, light - 9], 1)


@pytest.mark.parametrize("size", [(300, 100), (40, 90), (64, 64), (500, 20)])
def test_a_picture_of_any_shape_gets_a_mask_of_its_own_size(size):
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    left, top, right, bottom = size[0] // 4, size[1] // 4, size[0] // 2, 3 * size[1] // 4
    pixels[top:bottom, left:right] = 255
    bright = Bright(None, Spec(3, 64, ("background", "square", "disc", "wedge")))
    mask = bright.predict(Picture(Image.fromarray(pixels)))
    assert mask.area.shape == (size[1], size[0]) and mask.area.dtype == np.uint8
    assert (mask.area == pixels[..., 0] // 255).mean() > 0.95
    assert mask.found.names == ("square",)
    assert mask.as_json()["masks"][0]["pixels"] == (mask.area == 1).sum()


def test_enlarging_by_strips_is_enlarging_at_once(monkeypatch):
    torch.manual_seed(0)
    logits = torch.randn(4, 9, 13)
    at_once = torch.nn.functional.interpolate(logits[None], (50, 31), mode="bilinear")[0].argmax(0)
    monkeypatch.setattr(segment, "VALUES", 4 * 31 * 3)
    strips = segment.enlarged(logits, 50, 31)
    assert strips.shape == (50, 31) and (strips == at_once).float().mean() > 0.999


def test_many_logits_are_made_a_few_pictures_at_a_time(monkeypatch):
    data = masked(10, 16)
    bright = Bright(None, TASK.spec(data))
    found = bright.found(bright.loader(data))
    assert found.dtype == torch.uint8 and ((found > 0) == (data.input.amax(1) > 150)).all()
    sizes = []
    bright.register_forward_hook(lambda _module, given, _out: sizes.append(len(given[0])))
    monkeypatch.setattr(segment, "VALUES", 3 * 4 * 16 * 16)
    assert torch.equal(bright.found(bright.loader(data)), found) and max(sizes) == 3


def test_a_batch_is_learnt_from_in_parts_and_no_part_is_one_picture():
    data = masked(33, 16)
    bright = Bright(None, TASK.spec(data))
    seen = []
    bright.loss = lambda batch: seen.append(len(batch.image)) or batch.image.sum()
    list(bright.updates(TASK.batch(Rows(data.input, data.target), None), 0))
    assert seen == [16, 16]
    seen.clear()
    list(bright.updates(Batch(data.input[:1].float(), data.target[:1].long()), 0))
    assert seen == [1]


DATA = '''"""Bright shapes on dark noise, with the class of every pixel."""

from shapes import masked, shapes

ja = "暗い雑音の上の明るい図形と画素の分類"
task = "segment"
licence = "CC0"
source = "https://example.org/shapes"
cases = 120
ships_with = "torch"
targets = ("boxes", "classes_of_pixels")


def load(side=None, target="boxes"):
    return (shapes if target == "boxes" else masked)(cases, side or 32, 2)
'''


@pytest.fixture
def areas(tmp_path, monkeypatch):
    """The shapes as a data set of its own, which offers boxes as well."""
    file = tmp_path / "elsewhere" / "souron" / "data" / "sets" / "areas.py"
    file.parent.mkdir(parents=True)
    file.write_text(DATA, encoding="utf-8")
    monkeypatch.setattr(souron, "__path__", [*souron.__path__, str(file.parents[2])])
    load.names.cache_clear()
    importlib.invalidate_caches()
    yield "areas"
    sys.modules.pop("souron.data.sets.areas", None)
    monkeypatch.undo()
    load.names.cache_clear()


def test_a_segmenter_trains_reports_predicts_is_measured_again_and_compared(areas, tmp_path):
    record = train.train("unet_tiny", areas, budget="8ep", batch=16)
    assert list(record.measures) == ["mIoU", "object IoU", "boundary IoU", "pixel accuracy"]
    measure = record.measures["mIoU"]
    assert measure.value > 0.4 and measure.low < measure.value < measure.high
    assert record.measures["object IoU"].value > 0.7
    assert measure.groups == len(set(record.test.group)) < measure.n
    setup = SegmentationSetup(TASK.Options(), record.test)
    own = TASK.scores(record.answers, setup)["mIoU"][0]
    assert len(set(own.round(9))) <= measure.groups  # pictures of a block share what it says
    assert record.answers[0]["found"].dtype == torch.uint8
    baselines = record.details.baselines
    assert baselines["constant"]["mIoU"].value < 0.3 < measure.value
    assert baselines["constant"]["object IoU"].value == 0
    assert baselines["untrained"]["mIoU"].value < measure.value - 0.1
    by_label = {one.name: one for one in record.details.labels}
    assert np.mean([one.iou.value for one in by_label.values()]) == pytest.approx(measure.value)
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    for part in ("found", "overlap", "confusion", "worst", "steps"):
        assert f'id="{part}"' in page
    assert "every pixel background" in page and "wedge" in page and "groups of images" in page
    assert evaluate.evaluate(record.folder) == record.measures
    header, *lines = (record.folder / "predictions.csv").read_text().splitlines()
    assert header == "file,label,pixels,true,IoU" and len(lines) >= 2 * len(record.test)

    pixels = record.test.input[0].numpy().transpose(1, 2, 0).repeat(3, 0).repeat(3, 1)
    Image.fromarray(np.pad(pixels, ((0, 0), (0, 24), (0, 0)))).save(tmp_path / "wide.png")
    mask = model.load(record.folder)(tmp_path / "wide.png")
    assert mask.area.shape == (96, 120)
    true = record.test.target[0].numpy().repeat(3, 0).repeat(3, 1)
    assert ((mask.area[:, :96] > 0) == (true > 0)).mean() > 0.8
    assert set(mask.found.names) <= {"square", "disc", "wedge"}

    fought = compare.compare(["unet_tiny", "fcn_tiny"], areas, budget="1ep", seeds=2, batch=16)
    assert "too few" in fought.sentence and len(fought.rows) == 2
    assert "side_by_side" in (fought.folder / "report.html").read_text(encoding="utf-8")


def test_data_is_shown_by_its_pixels_with_its_areas(areas, capsys):
    cases = load.load(areas, target="classes_of_pixels")
    counts = target_of(cases).counts()
    assert counts == [(cases.target == label).sum() for label in range(4)]
    rows = target_of(cases).rows(3)
    assert all((cases.target[row] == label).any() for label, some in rows.items() for row in some)
    names = target_of(cases).words(0).split(", ")
    assert names == [cases.classes[label] for label in cases.target[0].unique().tolist() if label]
    shown = target_of(cases).image(0)
    here = cases.target[0] > 0
    assert (shown != cases.input[0])[:, here].any() and shown.dtype == torch.uint8
    assert torch.equal(shown[:, ~here], cases.input[0][:, ~here])
    assert main.run(["data", areas, "--json"]) == 0  # boxes, the usual target
    assert sum(json.loads(capsys.readouterr().out)["labels"].values()) < 1000
    for words in (["list"], ["show", "unet"], ["show", "deeplab"]):
        assert main.run(words) == 0
    assert "U-Net" in capsys.readouterr().out
