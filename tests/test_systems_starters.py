"""NanoDet, MoveNet, U^2-Net, style transfer and SSD on MobileNetV2: counted against what was
published, each mechanism against a reference or by hand; weights of a file by the names in it."""

import math

import naming
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from shapes import coats, masked, posed, shapes
from torch import nn
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou

from souron import registry
from souron.blocks import boxes, folded
from souron.blocks.folded_mobilenet import MobileNetV2
from souron.blocks.fusing import fused
from souron.blocks.yolo import distribution_focal, places
from souron.data.dataset import Rows
from souron.evaluation import summary
from souron.hub import weights
from souron.kinds.cutout import Cutout
from souron.kinds.picture import Picture
from souron.systems.detect import nanodet
from souron.systems.detect.nanodet import BINS, NanoDet
from souron.systems.detect.ssd import SSD
from souron.systems.image_to_image import style as style_file
from souron.systems.image_to_image.style import Style
from souron.systems.pose import movenet
from souron.systems.pose.movenet import MoveNet
from souron.systems.segment.u2net import RSU, U2Net
from souron.tasks import detect, pose, segment
from souron.training import checkpoint
from souron.utils.files import read_tensors, write_tensors
from souron.utils.messages import UserError

STARTERS = {
    "ssd_oid": SSD,
    "nanodet": NanoDet,
    "movenet_lightning": MoveNet,
    "movenet_thunder": MoveNet,
    "u2net": U2Net,
    "style": Style,
}


def made(kind, cases, size="tiny"):
    torch.manual_seed(0)
    return kind(kind.SIZES[size], kind.spec_for(cases))


def batch_of(model, cases):
    return model.batch(Rows(cases.input, cases.target))


# the published sizes


@pytest.mark.parametrize(
    "kind, size, count",
    [(U2Net, "small", 1_131_181), (U2Net, "paper", 44_009_869)],  # 4.7 and 176.3 MB
)
def test_u2net_has_as_many_parameters_as_published(kind, size, count):
    """There, each convolution has a bias beside its normalisation."""
    spec = segment.Spec(3, 320, ("background", "object"))
    model = summary.blueprint(kind, kind.SIZES[size], spec)
    norms = sum(one.num_features for one in model.modules() if isinstance(one, nn.BatchNorm2d))
    assert summary.parameters(model) + norms == count


def test_nanodet_has_as_many_parameters_as_published():
    model = summary.blueprint(NanoDet, NanoDet.SIZES["small"], detect.Spec(3, 416, detect.coco_labels()))
    assert round(summary.parameters(model) / 1e6, 1) == 3.8


def test_mobilenet_is_that_of_torchvision_without_its_classifier():
    with torch.device("meta"):
        own, theirs = MobileNetV2(3), torchvision.models.mobilenet_v2().features
    shapes_of = [[tuple(p.shape) for p in model.parameters() if p.ndim == 4] for model in (own, theirs)]
    assert shapes_of[0] == shapes_of[1] and len(shapes_of[0]) == 52
    wide = MobileNetV2(3, 1.75)
    assert wide.maps == (40, 56, 112, 1008, 1280) and own.maps == (24, 32, 64, 576, 1280)


def test_mobilenet_halves_the_side_five_times_and_rounds_up():
    model = MobileNetV2(1, 0.25).eval()
    sides = [x.shape[-1] for x in model(torch.rand(1, 1, 75, 75))]
    assert sides == [19, 10, 5, 5, 3]


@pytest.mark.parametrize("name", STARTERS)
def test_each_weight_is_asked_for_once_by_a_name_of_the_file(name):
    kind, config = registry.load_system(name)
    spec = kind.published_spec(registry.find(name)[1])
    asked = []

    class File(dict):
        def __missing__(self, key):
            asked.append(key)
            return torch.zeros(4)

    model = kind(config, spec)
    state = naming.state(name, model, File())
    assert set(state) == set(model.state_dict())
    assert len(asked) == len(set(asked)) and len(asked) > 60
    assert len([key for key in state if key.endswith("running_mean")]) == len(
        [layer for layer in model.modules() if isinstance(layer, folded.Norm)]
    )


@pytest.mark.parametrize("name", STARTERS)
def test_without_weights_the_answers_are_of_the_right_form_and_always_the_same(name):
    kind, config = registry.load_system(name)
    spec = kind.published_spec(registry.find(name)[1])
    picture = Picture(Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)))
    said = []
    for _time in range(2):
        torch.manual_seed(3)
        said.append(kind(config, spec).eval().predict(picture).as_json())
    said[0].pop("seconds", None), said[1].pop("seconds", None)
    assert said[0] == said[1] and said[0]["width"] == 80
    key = {Style: "out", U2Net: "masks", MoveNet: "points"}.get(kind, "boxes")
    assert key in said[0]


def test_a_file_that_numbers_its_convolutions_gives_each_layer_its_own(monkeypatch):
    kind, config = registry.load_system("nanodet")
    torch.manual_seed(0)
    other = kind(config, kind.published_spec("small"))
    convolutions = [n for n, p in other.named_modules() if hasattr(p, "bn")]
    order = convolutions[:-3] + [part for level in range(3) for part in (convolutions[-3 + level], f"outputs.{level}")]
    first, *rest = [f"PartitionedCall/convolution{end}" for end in ("", *(f"_{i}" for i in range(1, 34)))]
    file = {}
    for layer, name in zip(order, (first, *rest), strict=True):
        part = other.get_submodule(layer)
        weight = getattr(part, "conv", part).weight
        file[f"{name}.weight"] = torch.randn_like(weight) * 0.05
        file[f"{name}.bias"] = torch.randn(len(weight))
    held = naming.state("nanodet", other, file)
    monkeypatch.setattr(weights, "weights", lambda name, source: held)
    task = registry.load_task("detect")
    model = task.published("nanodet", True)
    assert torch.equal(model.first.conv.weight, file[f"{first}.weight"])
    assert torch.equal(model.outputs[2].bias, file[f"{rest[-1]}.bias"])
    assert model.spec.labels == detect.coco_labels() and model.spec.side == 416
    own = task.published("nanodet", True, None, detect.Spec(3, 64, ("a", "b")))
    assert torch.equal(own.first.bn.bias, file[f"{first}.bias"])
    assert own.outputs[0].out_channels == 2 + 4 * BINS  # new
    file.pop(f"{rest[6]}.bias")
    with pytest.raises(KeyError, match=r"convolution_7\.bias"):
        naming.state("nanodet", other, file)


# normalisation that was folded into convolutions


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(2, 3, 1, bias=False), folded.Norm(3, eps=1e-3)

    def forward(self, x):
        return self.bn(self.conv(x))


def test_a_folded_normalisation_adds_its_bias_also_while_it_is_trained(tmp_path):
    network = nn.Sequential(Two())
    held = {"a.weight": torch.randn(3, 2, 1, 1), "a.bias": torch.randn(3)}
    state = naming.named(network, [("0", "a")], held)
    network.load_state_dict(state)
    x = torch.randn(4, 2, 5, 5)
    expected = F.conv2d(x, held["a.weight"], held["a.bias"])
    assert torch.allclose(network(x), expected, atol=1e-6)  # in training mode
    assert torch.allclose(network.eval()(x), expected, atol=1e-6)
    write_tensors(tmp_path / "w.safetensors", network.state_dict(), {})
    again = nn.Sequential(Two())
    again.load_state_dict(read_tensors(tmp_path / "w.safetensors")[0])
    assert torch.equal(again.train()(x), network.train()(x))
    whole = fused(network.eval(), lambda copy: copy(x))
    assert torch.allclose(whole(x), expected, atol=1e-5)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in whole.modules())


def test_another_normalisation_is_that_of_its_batch():
    norm = folded.Norm(2)
    x = 3 + 2 * torch.randn(50, 2, 4, 4)
    assert norm(x).mean().abs() < 1e-3 and norm.num_batches_tracked == 1


# SSD on MobileNetV2


def test_its_default_boxes_are_those_of_the_published_network():
    """1917, of six shapes a cell, but of three on the finest map."""
    spec = SSD.published_spec("oid")
    model = SSD(SSD.SIZES["oid"], spec)
    sizes = [(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)]
    default = model.defaults(sizes, torch.empty(1, 3, 300, 300))
    assert len(default) == 1917
    middle = (default[:, :2] + default[:, 2:]) / 2
    size = default[:, 2:] - default[:, :2]
    assert middle[0].tolist() == pytest.approx([300 / 38] * 2, rel=1e-4)
    assert size[0].tolist() == pytest.approx([30, 30]) and middle[-1].tolist() == [150, 150]
    wide, high = size[1].tolist()
    assert wide / high == pytest.approx(2) and wide * high == pytest.approx(60**2, rel=1e-4)
    assert size[2].tolist() == pytest.approx([high, wide], rel=1e-4)
    last = size[-1].tolist()  # between the last scale and 1
    assert last == pytest.approx([300 * math.sqrt(0.95)] * 2, rel=1e-4)


def test_offsets_of_the_file_have_their_rows_first():
    class File(dict):
        def __missing__(self, key):
            count = 12 if "BoxPredictor_0/Box" in key else 24
            return torch.arange(float(count))

    model = SSD(SSD.SIZES["oid"], SSD.published_spec("oid"))
    state = naming.state("ssd_oid", model, File())
    first = state["head.regression_head.module_list.0.bias"].tolist()
    assert first == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10]
    assert state["head.classification_head.module_list.1.bias"].tolist() == list(range(24))


def test_its_labels_do_not_compete():
    model = SSD(SSD.SIZES["oid"], detect.Spec(3, 64, ("a", "b")))
    logit = torch.tensor([[[0.0, 2.0, -1.0], [3.0, -2.0, 0.5]]])
    loss = model.label_loss(logit, torch.tensor([[1, 0]]))
    true = torch.tensor([[[0.0, 1, 0], [1, 0, 0]]])
    expected = -(true * logit.sigmoid().log() + (1 - true) * (1 - logit.sigmoid()).log()).sum(2)
    assert torch.allclose(loss, expected)
    image = torch.rand(1, 3, 64, 64)
    _box, score = model.eval()(image)
    assert torch.allclose(score, model.outputs(image)[1].sigmoid()[..., 1:])


# NanoDet


def test_generalised_iou_is_that_of_torchvision():
    random = torch.Generator().manual_seed(0)
    box, true = (torch.rand(40, 4, generator=random) * 20 for _set in range(2))
    box[:, 2:] += box[:, :2] + 0.5
    true[:, 2:] += true[:, :2] + 0.5
    expected = generalized_box_iou(box, true).diagonal()
    assert torch.allclose(boxes.giou(box, true), expected, atol=1e-5)
    assert (expected < 0).any()


def slow_assign(place, stride, sizes, truth):
    """ATSS, one object and one cell at a time."""
    owner, held = [-1] * len(place), [-1.0] * len(place)
    for number, (_label, left, top, right, bottom) in enumerate(truth.tolist()):
        middle = ((left + right) / 2, (top + bottom) / 2)
        near, start = [], 0
        for height, width in sizes:
            cells = sorted(range(start, start + height * width), key=lambda i: math.dist(middle, place[i].tolist()))
            near += cells[: nanodet.NEAREST]
            start += height * width
        fits = {}
        for i in near:
            (x, y), half = place[i].tolist(), 4 * float(stride[i])
            wide = max(0, min(right, x + half) - max(left, x - half))
            high = max(0, min(bottom, y + half) - max(top, y - half))
            area = (right - left) * (bottom - top) + 4 * half**2 - wide * high
            fits[i] = wide * high / area
        values = np.array(list(fits.values()))
        least = values.mean() + values.std(ddof=1)
        for i, fit in fits.items():
            x, y = place[i].tolist()
            if left < x < right and top < y < bottom and fit >= least - 1e-6 and fit > held[i]:
                owner[i], held[i] = number, fit
    return owner


def test_cells_are_assigned_by_the_spread_of_their_overlaps():
    sizes = [(8, 8), (4, 4), (2, 2)]
    place, stride = places(sizes, torch.device("cpu"))
    truth = torch.tensor([[0.0, 3.2, 5.1, 60.3, 58.8], [1, 9.3, 8.1, 40.1, 35.6], [0, 30.5, 33.2, 47.9, 57.3]])
    own = nanodet.assign(place, stride, sizes, truth)
    assert own.tolist() == slow_assign(place, stride, sizes, truth)
    assert set(own.tolist()) == {-1, 0, 1, 2}
    assert (nanodet.assign(place, stride, sizes, truth[:0]) == -1).all()


def test_a_score_learns_how_well_its_box_fits(monkeypatch):
    cases = shapes(2, 32)
    model = made(NanoDet, cases)
    sizes = [(4, 4), (2, 2), (1, 1)]
    labels = len(model.spec.labels)
    label, edge = torch.randn(2, 21, labels), torch.randn(2, 21, 4 * BINS)
    monkeypatch.setattr(model, "raw", lambda image: (label, edge, sizes))
    own = torch.full((2, 21), -1)
    own[0, 5], own[0, 17], own[1, 20] = 0, 0, 0
    turns = iter(own)
    monkeypatch.setattr(nanodet, "assign", lambda *_given: next(turns))
    truth = [torch.tensor([[1.0, 2, 3, 21, 19]]), torch.tensor([[2.0, 4, 1, 30, 31]])]
    loss = model.loss(detect.Batch(torch.zeros(2, 3, 32, 32), truth))
    place, stride = places(sizes, torch.device("cpu"))
    box, score = nanodet.boxes(edge, place, stride), label.sigmoid()
    quality, placed, sure = 0.0, 0.0, 0.0
    wanted = torch.zeros_like(label)
    for row, cell in ((0, 5), (0, 17), (1, 20)):
        true = truth[row][0]
        fit = torchvision.ops.box_iou(box[row, cell][None], true[None, 1:])[0, 0]
        wanted[row, cell, int(true[0])] = fit
        weight = score[row, cell].max()
        far = torch.cat([place[cell] - true[1:3], true[3:] - place[cell]]) / stride[cell]
        edges = distribution_focal(edge[row, cell][None], far.clamp(0, BINS - 1.1)[None])[0]
        unlike = 1 - generalized_box_iou(box[row, cell][None], true[None, 1:])[0, 0]
        placed, sure = placed + weight * (2 * unlike + edges / 4), sure + weight
    each = F.binary_cross_entropy(score, wanted, reduction="none")
    quality = (each * (wanted - score).abs() ** 2).sum() / 3
    assert loss.item() == pytest.approx((quality + placed / sure).item(), rel=1e-4)


def test_the_pyramid_goes_down_and_up_by_adding():
    pyramid = nanodet.Pyramid([2, 2, 2], 2)
    for lateral in pyramid.lateral:
        nn.init.dirac_(lateral.conv.weight)
        lateral.bn.eval()
    maps = [torch.full((1, 2, side, side), value) for side, value in ((8, 1.0), (4, 10.0), (2, 100.0))]
    fine, middle, coarse = (round(x.mean().item()) for x in pyramid(maps))
    assert (fine, middle, coarse) == (111, 110 + 111, 100 + 221)


def test_blue_comes_first_and_a_box_is_the_mean_of_its_bins():
    cases = shapes(1, 32)
    model = made(NanoDet, cases).eval()
    seen = []
    model.first.register_forward_pre_hook(lambda _layer, given: seen.append(given[0]))
    image = torch.zeros(1, 3, 32, 32)
    image[:, 2] = 1  # blue
    model(image)
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx(
        [(1 - 0.406) / 0.225, -0.456 / 0.224, -0.485 / 0.229], rel=1e-4
    )
    edge = torch.full((1, 1, 4 * BINS), -50.0)
    for side, (low, high) in enumerate(((1, 2), (3, 3), (0, 1), (10, 10))):
        edge[0, 0, side * BINS + low] = edge[0, 0, side * BINS + high] = 0
    box = nanodet.boxes(edge, torch.tensor([[100.0, 200]]), torch.tensor([[8.0]]))
    assert box[0, 0].tolist() == pytest.approx([100 - 12, 200 - 24, 104, 280])


# MoveNet


def test_of_equal_peaks_the_first_is_taken():
    """An engine elsewhere has to pick the same ones."""
    model = MoveNet(MoveNet.SIZES["tiny"], MoveNet.published_spec("lightning"))
    _label, cell = model.centres(torch.full((1, 12, 12), 0.5))
    assert cell.tolist() == [[0, column] for column in range(model.config.most)]


def test_a_point_is_the_peak_near_to_where_the_centre_expects_it():
    heat = torch.full((1, 12, 12), -9.0)
    heat[0, 2, 3], heat[0, 9, 9] = 1.0, 2.0  # the second is brighter, and somebody else's
    regress, offset = torch.zeros(2, 12, 12), torch.zeros(2, 12, 12)
    regress[:, 5, 5] = torch.tensor([-3.5, -1.0])  # row and column
    offset[:, 2, 3] = torch.tensor([0.25, 0.5])
    cell = torch.tensor([[5, 5]])
    [[point]] = movenet.located(cell, heat, regress, offset).tolist()
    assert point == pytest.approx([4 * 3.5, 4 * 2.25, torch.tensor(1.0).sigmoid().item()])
    regress[:, 5, 5] = torch.tensor([4.0, 4.0])
    [[point]] = movenet.located(cell, heat, regress, offset).tolist()
    assert point[:2] == [36, 36]


def test_a_single_figure_is_the_more_central_one_and_several_are_peaks():
    cases = posed(1, 64)
    one = MoveNet(MoveNet.SIZES["lightning"], MoveNet.spec_for(cases))
    several = made(MoveNet, cases)
    centre = torch.zeros(1, 16, 16)
    centre[0, 1, 1], centre[0, 8, 9], centre[0, 8, 10] = 0.9, 0.7, 0.6
    label, cell = one.centres(centre)
    assert label.tolist() == [0] and cell.tolist() == [[8, 9]]
    label, cell = several.centres(centre)
    assert cell[:2].tolist() == [[1, 1], [8, 9]] and [8, 10] not in cell.tolist()


def test_a_figure_is_as_sure_as_its_centre_times_its_fourth_best_point(monkeypatch):
    spec = pose.Spec(3, 32, ("person",), pose.body()[0])
    model = MoveNet(MoveNet.SIZES["lightning"], spec)
    scores = torch.zeros(1, 17, 3)
    scores[0, :6, 2] = torch.tensor([0.9, 0.8, 0.3, 0.7, 0.5, 0.1])
    scores[0, :6, :2] = torch.tensor([[4.0, 5], [8, 9], [1, 2], [6, 3], [7, 7], [30, 30]])
    monkeypatch.setattr(movenet, "located", lambda *_given: scores)
    maps = {"centre": torch.zeros(1, 1, 8, 8), "points": None, "regress": None, "offset": None}
    monkeypatch.setattr(
        model,
        "predicted",
        lambda image: {name: value if name == "centre" else torch.zeros(1, 1, 8, 8) for name, value in maps.items()},
    )
    [(box, point)] = model.poses(torch.zeros(1, 3, 32, 32), 0.2)
    assert box[0].tolist() == pytest.approx([0, 1, 2, 8, 9, 0.5 * 0.5])
    assert torch.equal(point, scores)
    [(box, _point)] = model.poses(torch.zeros(1, 3, 32, 32), 0.26)
    assert not len(box)


def test_the_slope_of_a_peak_is_punished_less():
    logit, heat = torch.randn(1, 5, 5), torch.zeros(1, 5, 5)
    movenet.peaks(heat, torch.tensor([0]), torch.tensor([[2, 1]]), torch.tensor([1.0]))
    assert heat[0, 2, 1] == 1 and heat[0, 2, 2].item() == pytest.approx(math.exp(-0.5))
    movenet.peaks(heat, torch.tensor([0]), torch.tensor([[2, 2]]), torch.tensor([1.0]))
    assert heat[0, 2, 1:3].tolist() == [1, 1]  # the larger of two
    sure = logit.sigmoid()
    loss = torch.where(
        heat == 1, -((1 - sure) ** 2) * sure.log(), -((1 - heat) ** 4) * sure**2 * (1 - sure).log()
    ).sum()
    assert movenet.focal(logit, heat).item() == pytest.approx(loss.item(), rel=1e-4)


def test_vectors_are_learnt_from_the_centre_and_remainders_from_the_point(monkeypatch):
    spec = pose.Spec(3, 32, ("bar",), ("a", "b", "c"))
    model = MoveNet(MoveNet.SIZES["tiny"], spec)
    maps = {
        "centre": torch.full((1, 1, 8, 8), -30.0),
        "points": torch.full((1, 3, 8, 8), -30.0),
        "regress": torch.zeros(1, 6, 8, 8),
        "offset": torch.zeros(1, 6, 8, 8),
    }
    monkeypatch.setattr(movenet, "focal", lambda logit, heat: logit.new_zeros(()))
    monkeypatch.setattr(model, "predicted", lambda image: maps)
    box = torch.tensor([[0.0, 8, 4, 24, 20]])  # its centre is (16, 12): row 3, column 4
    point = torch.tensor([[[9.0, 6, 2], [20, 19, 1], [1, 1, 0]]])  # the last is not marked
    loss = model.loss(pose.Batch(torch.zeros(1, 3, 32, 32), [box], [point]))
    vectors = abs(1.5 - 3) + abs(2.25 - 4) + abs(4.75 - 3) + abs(5 - 4)
    remainders = 0.5 + 0.25 + 0.75 + 0.0
    assert loss.item() == pytest.approx((0.1 * vectors + remainders) / 2)
    maps["regress"][0, :4, 3, 4] = torch.tensor([-1.5, -1.75, 1.75, 1.0])
    loss = model.loss(pose.Batch(torch.zeros(1, 3, 32, 32), [box], [point]))
    assert loss.item() == pytest.approx(remainders / 2)
    none = model.loss(pose.Batch(torch.zeros(1, 3, 32, 32), [box[:0]], [point[:0]]))
    assert none.item() == 0


# U^2-Net


def test_each_map_learns_and_the_background_is_nought():
    cases = masked(4, 32)
    model = made(U2Net, cases)
    batch = batch_of(model, cases)
    outputs = model.eval().outputs(batch.image)
    assert len(outputs) == 7 and all(x.shape[2:] == (32, 32) for x in outputs)
    assert all(x.shape[1] == len(cases.classes) and not x[:, 0].any() for x in outputs)
    expected = sum(F.cross_entropy(x, batch.target, ignore_index=segment.UNKNOWN) for x in outputs)
    assert model.loss(batch).item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.equal(model(batch.image), outputs[0])


def test_a_block_adds_what_its_small_network_sees_and_deep_ones_keep_the_side():
    seen = []
    for deep, sides in ((False, [16, 8, 4, 4]), (True, [16, 16, 16, 16])):
        torch.manual_seed(0)
        block = RSU(4, 3, 2, 5, deep).eval()
        hooks = [
            layer.register_forward_hook(lambda _l, _g, out: seen.append(out.shape[-1]))
            for layer in (*block.down, block.bottom)
        ]
        seen.clear()
        x = torch.rand(1, 3, 16, 16)
        whole = block(x)
        assert seen == sides
        for hook in hooks:
            hook.remove()
        assert block.bottom.conv.dilation == ((8, 8) if deep else (2, 2))
        nn.init.zeros_(block.up[-1].conv.weight)
        assert torch.equal(block(x), block.first(x)) and not torch.equal(whole, block(x))


def test_the_brightest_value_of_an_image_is_one_for_it():
    model = made(U2Net, masked(1, 32)).eval()
    image = torch.rand(1, 3, 32, 32) * 0.5
    with torch.inference_mode():
        assert torch.allclose(model(image), model(image / image.max()), atol=1e-5)
        assert not torch.allclose(model(image), model(image**2), atol=1e-3)


def test_the_answer_is_a_cut_out_in_the_images_own_colours(tmp_path, monkeypatch):
    spec = segment.Spec(3, 32, ("background", "object"))
    model = U2Net(U2Net.SIZES["tiny"], spec).eval()

    def right_half(image):
        logits = torch.zeros(len(image), 2, *image.shape[2:])
        logits[:, 1] = -8
        logits[:, 1, :, 16:] = 8
        return logits

    monkeypatch.setattr(model, "forward", right_half)
    picture = Picture(Image.new("RGB", (64, 40), (10, 200, 30)))
    found = model.predict(picture)
    assert isinstance(found, Cutout) and str(found) == "object 50.0%"
    found.save(tmp_path / "cut.png")
    pixels = np.asarray(Image.open(tmp_path / "cut.png"))
    assert pixels.shape == (40, 64, 4) and (pixels[..., :3] == (10, 200, 30)).all()
    assert (pixels[:, :30, 3] < 2).all() and (pixels[:, 34:, 3] > 253).all()
    plain = model.predict(picture, cut=False)
    assert not isinstance(plain, Cutout) and (plain.area == found.area).all()
    seen = Picture(picture.image, alpha=Image.new("L", (64, 40), 128))
    assert np.asarray(model.predict(seen).cut())[0, 60, 3] in (127, 128)
    monkeypatch.setattr(model, "forward", lambda image: right_half(image) * 0 - torch.tensor([0.0, 5])[:, None, None])
    assert str(model.predict(picture)) == "nothing found"


# style transfer


def test_a_layer_has_the_mean_and_the_deviation_of_the_style():
    layer = style_file.Styled(3, 4, 3, 6)
    style = torch.randn(2, 6, 1, 1)
    x = layer(5 + 3 * torch.randn(2, 3, 20, 20), style)
    assert torch.allclose(x.mean((2, 3)), layer.shift(style)[:, :, 0, 0], atol=1e-4)
    assert torch.allclose(x.std((2, 3), correction=0), layer.scale(style)[:, :, 0, 0].abs(), atol=1e-3)


def test_the_style_is_that_of_the_other_image_as_far_as_is_asked(monkeypatch):
    model = Style(Style.SIZES["tiny"], Style.published_spec("small")).eval()
    asked = []

    def paint(image, style):
        asked.append((tuple(image.shape[2:]), style.flatten().clone()))
        return image

    monkeypatch.setattr(model, "paint", paint)
    monkeypatch.setattr(model, "read", lambda image: image.mean((1, 2, 3), keepdim=True))
    random = np.random.default_rng(0)
    content, other = (Picture(Image.fromarray(random.integers(0, high, (60, 120, 3), np.uint8))) for high in (90, 255))
    for strength in (0, 1, 0.25):
        model.predict(content, style=other, strength=strength)
    (size, own), (_size, whole), (_again, part) = asked
    assert size == (60, 120) and not torch.allclose(own, whole, atol=1e-4)
    assert torch.allclose(part, own + 0.25 * (whole - own), atol=1e-5)
    made = model.predict(content, size=64)
    assert asked[-1][0] == (32, 64) and made.after.size == (120, 60)
    assert "style=FILE" in str(made) and "style=FILE" not in str(model.predict(content, style=other))
    grey = model.predict(Picture(Image.fromarray(random.random((40, 40), np.float32) * 255)))
    assert grey.after.image.mode == "RGB"


def test_content_is_compared_at_its_places_and_style_anywhere(monkeypatch):
    cases = coats(4, 32)
    model = made(Style, cases)
    batch = batch_of(model, cases)
    maps = [torch.rand(4, 3, 6, 6) for _stage in range(5)]
    turned = [x.flip(3) for x in maps]
    given = iter([maps, turned])
    monkeypatch.setattr(style_file, "features", lambda image: next(given))
    loss = model.loss(batch).item()

    def mean_products(x):
        return torch.einsum("bihw,bjhw->bij", x, x) / 36

    content = (turned[2] - maps[2]).square().mean() / maps[2].square().mean()
    style = 0.0
    for x in maps[:4]:
        one, other = mean_products(x), mean_products(x).roll(1, 0)  # of the image before
        style += (one - other).square().mean() / other.square().mean()
    assert loss == pytest.approx((content + style).item(), rel=1e-4)


def test_a_border_mirrors_the_map():
    x = torch.arange(5.0).expand(1, 1, 5, 5)
    assert style_file.mirrored(x, 2)[0, 0, 0].tolist() == [2, 1, 0, 1, 2, 3, 4, 3, 2]
    assert style_file.mirrored(x[..., :2, :2], 2)[0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_what_was_published_is_refused_by_another_structure():
    kind, config = registry.load_system("u2net_tiny")
    model = kind(config, kind.published_spec("small"))
    with pytest.raises(UserError, match="another system's weights"):
        checkpoint.fill(model, {"side.0.weight": torch.zeros(1)}, "u2netp.onnx")
