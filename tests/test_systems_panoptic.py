"""Panoptic FPN: what it learns from pixels, how things and stuff are merged, the sizes of its
maps."""

import pytest
import torch
from shapes import pieced

from souron import registry
from souron.data.dataset import ListColumn, Rows
from souron.data.targets.panoptic import divided
from souron.evaluation import summary
from souron.systems.segment_instances.mask_rcnn import MaskRCNN
from souron.systems.segment_panoptic.panoptic_fpn import NOWHERE, Candidates, Namer, PanopticFPN
from souron.tasks.segment_panoptic import Spec

TASK = registry.load_task("segment_panoptic")
LABELS = ("sky", "cat", "grass", "dog")  # of which two are stuff


def made(cases=None, size="tiny", spec=None):
    torch.manual_seed(0)
    return PanopticFPN(PanopticFPN.SIZES[size], spec or TASK.spec(cases))


def batch_of(model, cases, target=None):
    return model.batch(Rows(cases.input, cases.target if target is None else ListColumn(target)))


def test_in_its_published_size_pixels_are_named_as_published():
    """Three, two and one step of 128 maps with 32 groups; those of Mask R-CNN beside."""
    spec = TASK.example(PanopticFPN, "resnet50")
    assert len(spec.labels) == 133 and len(spec.stuff) == 53
    model = summary.blueprint(PanopticFPN, PanopticFPN.SIZES["resnet50"], spec)
    steps = [len(way) for way in model.namer.ways]
    assert steps == [1, 1, 2]  # the finest map is an eighth of the side, not a quarter
    norms = [layer for layer in model.namer.modules() if isinstance(layer, torch.nn.GroupNorm)]
    assert {(norm.num_groups, norm.num_channels) for norm in norms} == {(32, 128)}
    assert model.namer.last.weight.shape == (54, 128, 1, 1)
    task = registry.load_task("segment_instances")
    small = task.Spec(spec.channels, spec.side, spec.things)
    other = summary.blueprint(MaskRCNN, MaskRCNN.SIZES["resnet50"], small)
    shared = {name for name, _weight in model.named_parameters()}
    assert shared - {name for name in shared if name.startswith("namer.")} == {
        name for name, _weight in other.named_parameters()
    }


def test_each_map_is_made_as_fine_as_the_finest():
    namer = Namer(8, 16, 3)
    for way in namer.ways:
        for step in way:
            torch.nn.init.zeros_(step[0].weight)
            torch.nn.init.ones_(step[1].bias)
    torch.nn.init.ones_(namer.last.weight)
    torch.nn.init.zeros_(namer.last.bias)
    levels = [torch.randn(2, 8, n, n) for n in (13, 7, 4)]  # of an odd side
    assert torch.equal(namer(levels), torch.full((2, 3, 13, 13), 3.0 * 16))


def boxed(rows):
    """Candidates (n, 6) in a picture of 16 pixels, their masks whole boxes, over sky and grass."""
    box = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    mask = torch.zeros(len(box), 16, 16, dtype=torch.bool)
    for area, (left, top, right, bottom) in zip(mask, box[:, 1:5].int().tolist(), strict=True):
        area[top:bottom, left:right] = True
    pixel = torch.zeros(3, 16, 16)
    pixel[0, :8], pixel[1, 8:] = 0.8, 0.7
    return Candidates(box, mask, pixel)


def test_the_surest_thing_lies_above_and_stuff_fills_the_rest():
    model = made(spec=Spec(3, 16, LABELS, ("sky", "grass")))
    said = boxed(
        [
            [0, 0, 0, 8, 8, 0.9],
            [1, 4, 0, 10, 8, 0.8],
            [0, 0, 0, 8, 8, 0.7],
            [1, 10, 10, 14, 14, 0.6],
            [1, 0, 12, 4, 16, 0.3],
        ]
    )
    [(one, score)] = model.merged([said], 0.5)
    names = [LABELS[label] for label in one.label.tolist()]
    assert names == ["cat", "dog", "sky", "grass"]
    assert one.thing.tolist() == [True, True, False, False]
    ids = torch.full((16, 16), 4, dtype=torch.uint8)
    ids[:8], ids[:8, :8], ids[10:14, 10:14] = 3, 1, 2
    assert torch.equal(one.ids, ids)
    assert score.tolist() == pytest.approx([0.9, 0.6, 0.8, 0.7])


def test_what_is_hardly_seen_or_hardly_there_is_left_out():
    model = made(spec=Spec(3, 16, LABELS, ("sky", "grass")))
    said = boxed([[0, 0, 0, 8, 8, 0.9], [1, 4, 0, 11, 8, 0.8]])
    assert len(model.one(said, 0.5).segments.label) == 3  # 3 of 7 columns are seen: no dog
    said = boxed([[0, 0, 0, 8, 8, 0.9], [1, 4, 0, 13, 8, 0.8]])
    assert model.one(said, 0.5).segments.label.tolist() == [1, 3, 0, 2]
    said.pixel[:, 0:8], said.pixel[0, 14:16, 15] = 0, 0.9  # two pixels of sky
    said.pixel[2, :8] = 1
    one = model.one(said, 0.5).segments
    assert one.label.tolist() == [1, 3, 2] and not one.ids[:8, 13:].any()
    assert not one.ids[14:16, 15].any()


def test_pixels_learn_their_stuff_or_that_they_are_things_and_void_and_crowds_nothing():
    model = made(spec=Spec(3, 16, LABELS, ("sky", "grass")))
    ids = torch.zeros(16, 16, dtype=torch.uint8)
    ids[:4], ids[4:8], ids[8:12], ids[12:, :8] = 1, 2, 3, 4
    one = divided([2, 3, -1 - 1, 1], [False, True, True, True], ids)
    batch = model.batch(Rows(torch.zeros(1, 3, 16, 16), ListColumn([one])))
    known = model.learnt(batch)
    assert known.target[0].tolist() == [[1, 0, 4, 16, 8], [0, 0, 12, 8, 16]]
    assert torch.equal(known.mask[0][0], ids == 2)
    expected = torch.full((16, 16), NOWHERE)
    expected[:4], expected[4:8], expected[12:, :8] = 1, 2, 2
    assert torch.equal(known.pixel[0], expected)


def test_the_loss_of_pixels_is_added_at_half_its_weight(monkeypatch):
    cases = pieced(4, 32)
    model = made(cases)
    batch = batch_of(model, cases)
    torch.manual_seed(1)
    whole = model.loss(batch)
    others = []
    for named in (0.0, 2.0):
        monkeypatch.setattr(model, "naming", lambda *_given, named=named: named)
        torch.manual_seed(1)
        others.append(model.loss(batch).item())
    assert others[1] - others[0] == pytest.approx(1, abs=1e-3)
    assert 0 < whole.item() - others[0] < 1.5
    monkeypatch.undo()
    whole.backward()
    for part in (model.namer, model.drawer, model.judge, model.proposer, model.backbone):
        assert any(weight.grad.abs().sum() > 0 for weight in part.parameters())
    nothing = torch.full((4, 32, 32), NOWHERE)
    levels = model.pyramid(model.backbone(batch.image))
    assert model.naming(levels, nothing).item() == 0


def test_it_shows_its_steps_and_takes_pictures_without_things():
    cases = pieced(3, 32)
    model = made(cases).eval()
    pixels, things, merged = model.explain(cases.input[:1].float() / 255, None, 0.05)
    assert not pixels.segments.thing.any() and things.segments.thing.all()
    assert len(merged.segments.label) >= len(things.segments.label)
    empty = [divided([0], [False], torch.ones(32, 32)) for _case in range(3)]
    loss = model.loss(batch_of(model, cases, empty))
    assert loss.isfinite()
    loss.backward()


@pytest.mark.parametrize("channels, side", [(1, 16), (3, 100)])
def test_it_takes_pictures_of_any_side_and_any_stuff(channels, side):
    for stuff in ((), ("a",), ("a", "c")):
        model = made(spec=Spec(channels, side, ("a", "b", "c"), stuff)).eval()
        with torch.no_grad():
            answered = model.divide(torch.rand(2, channels, side, side), 0.0)
        for one, score in answered:
            assert one.ids.shape == (side, side) and int(one.ids.max()) <= len(one.label)
            assert len(score) == len(one.label) == len(one.thing)


def test_a_published_backbone_keeps_its_first_stages():
    cases = pieced(8, 32)
    model = made(cases, "lite")
    model.loss(batch_of(model, cases)).backward()
    early = list(model.backbone.stages[:3].parameters())
    assert early and not any(weight.requires_grad for weight in early)
    assert any(weight.grad is not None for weight in model.backbone.stages[3:].parameters())
