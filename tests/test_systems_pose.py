"""Keypoint R-CNN and YOLO-Pose: counted against what was published, points against the places they
lie in, losses by hand."""

import numpy as np
import pytest
import torch
from shapes import posed
from torch.nn import functional as F
from torchvision.models.detection import roi_heads

from souron import registry
from souron.data.dataset import Rows
from souron.evaluation import summary
from souron.systems.pose import keypoint_rcnn, yolo_pose
from souron.systems.pose.keypoint_rcnn import ACROSS, KeypointRCNN
from souron.systems.pose.yolo_pose import YOLOPose
from souron.tasks.pose import Batch, Spec

TASK = registry.load_task("pose")
PEOPLE = Spec(3, 640, ("person",), tuple(map(str, range(17))))


def made(kind, cases, size="tiny"):
    torch.manual_seed(0)
    return kind(kind.SIZES[size], TASK.spec(cases))


@pytest.mark.parametrize("size, count", [("n", 3_295_470), ("s", 11_626_046), ("m", 26_464_462)])
def test_yolo_has_as_many_parameters_as_published(size, count):
    """3.3, 11.6 and 26.4 million."""
    assert summary.parameters(summary.blueprint(YOLOPose, YOLOPose.SIZES[size], PEOPLE)) == count


def test_keypoint_rcnn_draws_as_published_in_its_published_size():
    model = summary.blueprint(KeypointRCNN, KeypointRCNN.SIZES["resnet50"], PEOPLE)
    shapes = [tuple(layer.weight.shape) for layer in model.drawer if hasattr(layer, "weight")]
    assert shapes == [(512, 256, 3, 3)] + [(512, 512, 3, 3)] * 7 + [(512, 17, 4, 4)]
    small = made(KeypointRCNN, posed(1, 32))
    assert small.drawer(torch.randn(2, 32, 14, 14)).shape == (2, 3, 56, 56)


def test_a_point_lies_in_the_place_that_torchvision_names():
    random = torch.Generator().manual_seed(0)
    box = torch.rand(50, 4, generator=random) * 10
    box[:, 2:] += box[:, :2] + 20
    point = torch.rand(50, 7, 3, generator=random) * 40
    point[..., 2] = (point[..., 2] / 14).floor()
    own = keypoint_rcnn.places_of(point, box)
    theirs, valid = roi_heads.keypoints_to_heatmap(point, box, ACROSS)
    assert torch.equal(own >= 0, valid > 0) and 50 < int((own >= 0).sum()) < 300
    assert torch.equal(own[own >= 0], theirs[own >= 0])


def test_the_answer_is_the_middle_of_the_brightest_spot():
    box = torch.tensor([[10.0, 20, 38, 76]])  # half a pixel and one pixel a place
    maps = torch.zeros(1, 2, ACROSS, ACROSS)
    maps[0, 0, 30, 10], maps[0, 0, 30, 11], maps[0, 0, 50, 50] = 0.5, 0.25, 0.25
    maps[0, 1, 0, 55] = 1
    found = keypoint_rcnn.brightest(maps, box)[0]
    assert found[0].tolist() == pytest.approx([10 + (10.5 + 1 / 3) / 2, 50.5, 0.75])
    assert found[1].tolist() == pytest.approx([37.75, 20.5, 1.0])
    back = keypoint_rcnn.places_of(torch.cat([found[..., :2], torch.ones(2, 1)], 1)[None], box)
    assert back.tolist() == [[30 * ACROSS + 10, 55]]


def test_the_places_of_a_map_compete_and_the_surest_twenty_boxes_get_points():
    cases = posed(2, 32)
    model = made(KeypointRCNN, cases).eval()
    image = cases.input.float() / 255
    with torch.inference_mode():
        mapped, posed_ = model.mapped(image, 0.0, 1.0), model.poses(image, 0.0, 1.0)
    for (box, maps), (_box, point) in zip(mapped, posed_, strict=True):
        assert len(box) == 20 and (box[:, 5].diff() <= 0).all()
        assert torch.allclose(maps.sum((2, 3)), torch.ones(20, 3), atol=1e-4)
        assert torch.equal(point, keypoint_rcnn.brightest(maps, box[:, 1:5]))


def test_points_are_looked_for_in_a_quarter_of_the_side_made_of_picture_and_pyramid(monkeypatch):
    model = made(KeypointRCNN, posed(1, 64)).eval()
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    level = torch.rand(1, 32, 8, 8, requires_grad=True)
    finest = model.finest(image, level)
    assert finest.shape == (1, 32, 16, 16)
    assert all(slope.any() for slope in torch.autograd.grad(finest.sum(), (image, level)))
    columns = torch.arange(16.0).expand(1, 1, 16, 16)
    monkeypatch.setattr(model.finest, "forward", lambda _image, _level: columns)
    monkeypatch.setattr(model.drawer, "forward", lambda part: part)
    part = model.drawn(image, level, [torch.tensor([[8.0, 8, 50, 50]])])
    middle = 2 + 10.5 * (torch.arange(14) + 0.5) / 14 - 0.5
    assert torch.allclose(part, middle.expand(1, 1, 14, 14))


def test_only_marked_points_in_regions_that_are_objects_learn(monkeypatch):
    cases = posed(1, 32, 1)
    model = made(KeypointRCNN, cases)
    truth = torch.tensor([[0.0, 4, 4, 20, 20]])
    point = torch.tensor([[[5.0, 6, 2], [12, 12, 0], [25, 12, 2]]])  # not marked, outside
    region = torch.tensor([[4.0, 4, 20, 20], [20, 20, 30, 30]])
    batch = Batch(torch.zeros(1, 3, 32, 32), [truth], [point])
    logit = torch.zeros(1, 3, ACROSS, ACROSS, requires_grad=True)
    asked = []

    def drawn(_image, _level, box):
        asked.extend(box)
        return logit

    monkeypatch.setattr(model, "drawn", drawn)
    level = torch.zeros(1, 32, 4, 4)
    loss = model.heatmap_loss(level, [region], [torch.tensor([0, -1])], batch)
    assert loss.item() == pytest.approx(np.log(ACROSS**2), rel=1e-5)
    assert [each.tolist() for each in asked] == [[[4, 4, 20, 20]]]
    loss.backward()
    assert not logit.grad[0, 1:].any() and (logit.grad[0, 0] < 0).nonzero().tolist() == [[7, 3]]
    none = model.heatmap_loss(level, [region], [torch.tensor([-1, -1])], batch)
    assert none.item() == 0


def test_both_add_the_loss_of_points_to_those_of_boxes(monkeypatch):
    cases = posed(8, 32)
    for kind, part, name in ((KeypointRCNN, "drawer", "heatmap_loss"), (YOLOPose, "network.points", "pose_loss")):
        model = made(kind, cases)
        batch = model.batch(Rows(cases.input, cases.target))
        torch.manual_seed(1)
        whole = model.loss(batch)
        where = model if kind is KeypointRCNN else yolo_pose
        monkeypatch.setattr(where, name, lambda *_given: torch.tensor(0.0))
        torch.manual_seed(1)
        assert (whole - model.loss(batch)).item() > 1
        monkeypatch.undo()
        whole.backward()
        assert all(weight.grad.abs().sum() > 0 for weight in model.get_submodule(part).parameters())


def test_yolo_learns_how_alike_poses_are():
    truth = torch.tensor([[0.0, 0, 0, 20, 10], [0, 5, 5, 15, 25]])
    true = torch.tensor([[[3.0, 3, 2], [9, 9, 1], [0, 0, 0]], [[7, 7, 2], [0, 0, 0], [0, 0, 0]]])
    said = torch.randn(1, 4, 3, 3) * 4 + 6
    on, owner = torch.tensor([[True, False, True, True]]), torch.tensor([[1, 0, 0, 1]])
    batch = Batch(torch.zeros(1, 3, 32, 32), [truth], [true])
    unlike, wrong = [], []
    for place, own in ((0, 1), (2, 0), (3, 1)):
        marked = true[own, :, 2] > 0
        far = (said[0, place, :, :2] - true[own, :, :2]).square().sum(1)[marked]
        share = far / 200
        unlike.append((12 * (1 - torch.exp(-share / (2 * 0.1**2))) + 5 * share.sqrt()).mean())
        wrong.append(F.binary_cross_entropy_with_logits(said[0, place, :, 2], marked.float()))
    expected = (sum(unlike) + sum(wrong)).item() / 3
    own = yolo_pose.pose_loss(said, on, owner, batch).item()
    assert own == pytest.approx(expected, rel=1e-4)


def test_yolo_answers_with_the_points_of_the_place_that_found_the_box(monkeypatch):
    cases = posed(1, 64)
    model = made(YOLOPose, cases).eval()
    network = model.average
    for branch in network.points:
        monkeypatch.setattr(branch[-1], "weight", torch.nn.Parameter(torch.zeros_like(branch[-1].weight)))
        bias = torch.tensor([0.25, 0.25, 0.0, 0.75, 0.25, 2.0, 0.25, -0.75, -2.0])
        monkeypatch.setattr(branch[-1], "bias", torch.nn.Parameter(bias))
    box = torch.rand(2, 6)
    monkeypatch.setattr(yolo_pose, "chosen", lambda *_given: (box, torch.tensor([20, 83])))
    with torch.inference_mode():
        (_edge, _label, sizes), point = network(cases.input.float() / 255)
        [(found, own)] = model.poses(cases.input.float() / 255)
    assert point.shape == (1, 84, 3, 3) and sizes == [(8, 8), (4, 4), (2, 2)]
    assert point[0, 0, 0].tolist() == [4, 4, 0]  # the first place's middle
    assert point[0, 0, 1].tolist() == [12, 4, 2] and point[0, 83, 2].tolist() == [48, -16, -2]
    assert torch.equal(own[..., :2], point[0, [20, 83], :, :2]) and found is box
    assert own[1, :, 2].tolist() == pytest.approx([0.5, 0.8808, 0.1192], abs=1e-4)


def test_the_average_of_yolos_weights_follows_after_each_part():
    cases = posed(20, 32)
    model = made(YOLOPose, cases)
    fast, slow = (each.points[0][0].conv.weight for each in (model.network, model.average))
    before = slow.clone()
    with torch.no_grad():
        fast.fill_(1.0)
    assert len(list(model.updates(model.batch(Rows(cases.input, cases.target)), 1000))) == 2
    assert torch.allclose(slow, 1 + 0.95**2 * (before - 1), atol=1e-5)  # 0.95 stays each time


@pytest.mark.parametrize("kind", [KeypointRCNN, YOLOPose])
def test_pictures_without_figures_are_learnt_from_and_answered(kind):
    cases = posed(4, 32)
    model = made(kind, cases)
    none = [one.of(torch.zeros(0, dtype=torch.long)) for one in cases.target]
    loss = model.loss(model.batch(Rows(cases.input, none)))
    assert loss.isfinite() and loss > 0
    with torch.inference_mode():
        answered = model.eval().poses(cases.input.float() / 255, 2.0)
    assert [tuple(point.shape) for _box, point in answered] == [(0, 3, 3)] * 4
