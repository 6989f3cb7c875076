"""Published networks answer as those of torchvision, with random weights. In float64 where
convolutions are added up, since processors add up float32 in orders of their own."""

from dataclasses import replace

import pytest
import references
import torch
import torchvision
from references import FEW, RCNNS, SEGMENTERS
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

from souron import registry
from souron.blocks import boxes, rcnn
from souron.blocks.mobilenet import padded
from souron.hub import published
from souron.systems.pose.keypoint_rcnn import highest
from souron.tasks import classify, detect, pose, segment

POINTS = tuple(map(str, range(17)))
MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)[:, None, None]


def spec_of(task, labels=4):
    names = tuple("abcdefgh"[:labels])
    if task == "pose":
        return pose.Spec(3, 64, ("person",), POINTS)
    return detect.Spec(3, 64, names)


def built(name, reference, spec=None):
    """Our network of that name, with the weights of ``reference``."""
    kind, config = registry.load_system(name)
    model = kind(config, spec or spec_of(kind.task)).eval()
    model.load_state_dict(model.renamed(reference.state_dict()))
    return model


@pytest.mark.parametrize("name", RCNNS)
@torch.inference_mode()
def test_an_rcnn_answers_as_torchvisions(name):
    """Maps, anchors, proposals, boxes and scores, and what is drawn into the boxes."""
    labels = 1 if name.startswith("keypoint") else 4
    theirs = references.rcnn(name, labels, min_size=50, max_size=90).double()
    model = built(name, theirs).double()
    model.layout = replace(model.layout, proposed=FEW)
    model.backbone.mean, model.backbone.std = MEAN, STD  # as theirs, not rounded to float32
    image = torch.rand(1, 3, 50, 77).double()
    seen, _targets = theirs.transform(list(image))
    assert seen.tensors.shape[2:] == (64, 96) and seen.image_sizes == [(50, 77)]

    maps = theirs.backbone(seen.tensors)
    levels = model.pyramid(model.backbone(image))
    for own, other in zip(levels, maps.values(), strict=True):
        torch.testing.assert_close(own, other, atol=1e-8, rtol=1e-6)
    anchors = torch.cat(model.anchors(levels))
    assert torch.equal(anchors, theirs.rpn.anchor_generator(seen, list(maps.values()))[0].float())

    [proposed], _losses = theirs.rpn(seen, maps)
    [(region, sure)] = model.proposals(model.proposer(levels), model.anchors(levels), image)
    assert region.shape == proposed.shape and 2 < len(region) <= FEW
    torch.testing.assert_close(region, proposed.float(), atol=1e-3, rtol=1e-4)
    assert (sure[:-1] >= sure[1:]).all()

    heads = theirs.roi_heads
    part = heads.box_head(heads.box_roi_pool(maps, [proposed], seen.image_sizes))
    logit, offset = heads.box_predictor(part)
    [expected] = heads.box_coder.decode(offset, [proposed]).split(len(proposed))
    expected = torchvision.ops.clip_boxes_to_image(expected, seen.image_sizes[0])
    _levels, [(box, score)] = model.regions(image)
    torch.testing.assert_close(box, expected[:, 1:].float(), atol=1e-3, rtol=1e-4)
    there = ((expected[..., 2:] - expected[..., :2]) >= 1e-2).all(2)[:, 1:]  # others are dropped
    wanted = logit.softmax(1)[:, 1:] * there
    assert there.any() and wanted.std() > 0.01
    torch.testing.assert_close(score, wanted.float(), atol=1e-5, rtol=1e-3)

    inside = box[:, 0]
    if name.startswith("mask"):
        drawn = model.drawn(levels, [inside], torch.full((len(inside),), 2))
        masks = heads.mask_roi_pool(maps, [inside.double()], seen.image_sizes)
        masks = heads.mask_predictor(heads.mask_head(masks))[:, 3]
        torch.testing.assert_close(drawn, masks.float(), atol=1e-4, rtol=1e-3)
    if name.startswith("keypoint"):
        drawn = model.drawn(image, model.seen(levels), [inside])
        places = heads.keypoint_roi_pool(maps, [inside.double()], seen.image_sizes)
        places = heads.keypoint_predictor(heads.keypoint_head(places))
        torch.testing.assert_close(drawn, places.float(), atol=1e-4, rtol=1e-3)


def test_a_keypoint_lies_where_torchvision_finds_it():
    torch.manual_seed(0)
    logit = 3 * torch.randn(3, 17, 56, 56)
    box = torch.tensor([[3.0, 4, 60.4, 91], [0, 0, 30, 20.5], [50, 50, 50.5, 50.7]])
    maps = logit.flatten(2).softmax(2).view_as(logit)
    expected, _scores = heatmaps_to_keypoints(logit, box)
    torch.testing.assert_close(highest(maps, box)[..., :2], expected[..., :2], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_ssdlite_answers_as_torchvisions():
    theirs = references.ssdlite(3).double()
    model = built("ssdlite320_mobilenet_v3_large", theirs, spec_of("detect", 3)).double()
    image = torch.rand(1, 3, 320, 320).double()
    box, score = model(image)
    seen, _targets = theirs.transform(list(image))
    maps = list(theirs.backbone(seen.tensors).values())
    said = theirs.head(maps)
    [default] = theirs.anchor_generator(seen, maps)
    assert box.shape == (1, 3234, 4)
    torch.testing.assert_close(score, said["cls_logits"].softmax(2)[..., 1:].float())
    decoded = theirs.box_coder.decode_single(said["bbox_regression"][0], default)
    torch.testing.assert_close(box[0].float(), decoded.float(), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", SEGMENTERS)
@torch.inference_mode()
def test_a_segmenter_answers_as_torchvisions(name):
    theirs = references.segmenter(name, 4).double()
    model = built(name, theirs, segment.Spec(3, 64, tuple("abcd"))).double()
    image = torch.rand(2, 3, 52, 72).double()
    expected = theirs((image - MEAN.float().double()) / STD.float().double())  # as ours
    torch.testing.assert_close(model(image), expected["out"], atol=1e-6, rtol=1e-6)
    if "aux" in expected:
        maps = model.get_submodule("classifier" if name.startswith("fcn") else "backbone")(image)
        second = F.interpolate(model.beside(maps[-2]), image.shape[2:], mode="bilinear")
        torch.testing.assert_close(second, expected["aux"], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["deeplab_v3_tiny", "fcn_resnet50"])
def test_a_second_head_learns_beside_the_first(name):
    """Half of its cross-entropy is added, and an answer does not need it."""
    torch.manual_seed(0)
    kind, config = registry.load_system(name)
    model = kind(config, segment.Spec(3, 32, tuple("abcd"))).eval()
    batch = segment.Batch(torch.rand(2, 3, 32, 32), torch.randint(0, 4, (2, 32, 32)))
    alone = segment.Segmenter.loss(model, batch)
    maps = model.get_submodule("classifier" if name.startswith("fcn") else "backbone")(batch.image)
    second = F.interpolate(model.beside(maps[-2]), (32, 32), mode="bilinear")
    expected = alone + 0.5 * F.cross_entropy(second, batch.target)
    torch.testing.assert_close(model.loss(batch), expected)
    with torch.no_grad():
        before = model(batch.image)
        model.beside[2].bias.add_(1)
        assert torch.equal(model(batch.image), before)
    model.loss(batch).backward()
    assert model.beside[2].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["fcn_resnet101", "deeplabv3_resnet101"])
def test_the_deeper_ones_have_torchvisions_layers(name):
    with torch.device("meta"):
        builder = getattr(torchvision.models.segmentation, name)
        theirs = builder(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    kind, config = registry.load_system(name)
    model = kind(config, segment.Spec(3, 64, tuple(map(str, range(21)))))
    own, given = model.state_dict(), model.renamed(theirs.state_dict())
    assert {key: held.shape for key, held in own.items()} == {key: held.shape for key, held in given.items()}


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large"])
@torch.inference_mode()
def test_mobilenet_answers_as_torchvisions(name):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(num_classes=7)
    theirs = references.lively(theirs, torch.randn(2, 3, 64, 64)).double()
    labels = tuple("abcdefg")
    kind, config = registry.load_system(name)
    model = kind(config, classify.Spec(3, 64, labels, (0.0,) * 3, (1.0,) * 3)).eval()
    model.load_state_dict(model.renamed(theirs.state_dict()))
    image = torch.randn(2, 3, 64, 64).double()
    torch.testing.assert_close(model.double()(image), theirs(image))
    sides = [x.shape[2] for x in stages_of(model, image)]
    assert sides == [32, 16, 8, 4, 2]


def stages_of(model, x):
    for stage in model.stages():
        x = stage(x)
        yield x


def test_older_names_of_files_are_understood():
    """The files of 2019 name layers as torchvision did then."""
    theirs = references.rcnn("maskrcnn_resnet50_fpn", 4, min_size=50, max_size=90)
    model = built("maskrcnn_resnet50_fpn", theirs)
    old = references.older(theirs.state_dict())
    assert "rpn.head.conv.weight" in old and "roi_heads.mask_head.mask_fcn1.weight" in old
    assert "backbone.fpn.inner_blocks.0.weight" in old
    again = model.renamed(old)
    for name, held in model.state_dict().items():
        assert torch.equal(held, again[name]), name


def test_frozen_normalisation_stays_while_the_rest_learns():
    torch.manual_seed(0)
    kind, config = registry.load_system("faster_rcnn_mobilenet_v3_large_320_fpn")
    model = kind(config, detect.Spec(3, 64, ("a", "b"))).train()
    norms = [layer for layer in model.backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms and not any(layer.training or layer.weight.requires_grad for layer in norms)
    assert {layer.eps for layer in norms} == {1e-5}
    before = {name: held.clone() for name, held in model.state_dict().items()}
    target = [torch.tensor([[1.0, 8, 8, 40, 40]]), torch.tensor([[0.0, 20, 10, 60, 60]])]
    for _name, loss in model.updates(detect.Batch(torch.rand(2, 3, 64, 64), target), 0):
        loss.backward()
        model.optimizers()["model"].step()
    after = model.state_dict()
    moved = {name for name, held in after.items() if not torch.equal(held, before[name])}
    assert not any("running" in name for name in moved)
    inside = {int(name.split(".")[1]) for name in moved if name.startswith("backbone.")}
    assert inside and min(inside) >= 7  # the first layers are frozen
    assert {"pyramid", "proposer", "judge"} <= {name.partition(".")[0] for name in moved}


def test_a_published_rcnn_learns_from_two_images_at_a_time(monkeypatch):
    kind, config = registry.load_system("faster_rcnn_mobilenet_v3_large_320_fpn")
    model, seen = kind(config, detect.Spec(3, 64, ("a", "b"))), []
    monkeypatch.setattr(model, "loss", lambda batch: seen.append(len(batch.image)))
    list(model.updates(detect.Batch(torch.zeros(5, 3, 8, 8), [torch.zeros(0, 5)] * 5), 0))
    assert seen == [2, 2, 1]


def test_anchors_lie_around_corners_with_edges_in_whole_pixels():
    sizes = torch.tensor([[45.25, 22.63]])
    found = boxes.at_corners(2, 3, (16, 8), sizes)
    assert found.shape == (6, 4)
    assert found[0].tolist() == [-23, -11, 23, 11]
    assert found[2].tolist() == [9, -11, 55, 11]  # to the right first
    assert found[3].tolist() == [-23, -3, 23, 19]


def test_boxes_are_clipped_to_the_image_and_images_are_padded_with_zeros():
    box = torch.tensor([[-3.0, -4, 90, 90], [10, 10, 20, 20]])
    wide = torch.zeros(1, 3, 50, 77)
    assert boxes.clipped(box, wide).tolist() == [[0, 0, 77, 50], [10, 10, 20, 20]]
    grown = padded(torch.ones(1, 3, 50, 77), 32)
    assert grown.shape == (1, 3, 64, 96)
    assert grown[..., :50, :77].all() and grown.sum() == 3 * 50 * 77


def test_only_all_proposals_of_enough_score_and_size_are_kept():
    layout = replace(rcnn.LAYOUTS["mobilenet_v3_large_fpn"], proposed=2)
    kind, config = registry.load_system("faster_rcnn_mobilenet_v3_large_320_fpn")
    model = kind(config, detect.Spec(3, 64, ("a",))).eval()
    model.layout = layout
    anchor = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50], [5, 5, 5, 9], [0, 30, 9, 39]])
    sure = torch.tensor([[1.0, -2.9, 2.0, 9.0, 0.5]])  # the second has a score of 0.052
    still, image = torch.zeros(1, 5, 4), torch.zeros(1, 3, 64, 64)
    [(box, _score)] = model.proposals((sure, still), [anchor], image)
    assert box.tolist() == [[40, 40, 50, 50], [0, 0, 10, 10]]
    sure[0, [0, 2, 4]] = -3.0  # and these one of 0.047
    [(box, _score)] = model.proposals((sure, still), [anchor], image)
    assert box.tolist() == [[20, 20, 30, 30]]


def test_coco_s_numbers_have_gaps_and_voc_s_begin_with_the_background():
    coco = published.labels(published.of_system("fasterrcnn_resnet50_fpn"))
    assert len(coco) == 90 and coco.count("N/A") == 10
    assert (coco[0], coco[17], coco[89]) == ("person", "dog", "toothbrush")
    voc = published.labels(published.of_system("deeplabv3_resnet50"))
    assert len(voc) == 21 and voc[0] == "__background__" and voc[15] == "person"
    assert published.labels(published.of_system("keypointrcnn_resnet50_fpn")) == ("person",)
