"""``souron show SYSTEM picture=FILE``: the way to an answer about a picture of one's own."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import cases_for

from souron import registry
from souron.cli import main
from souron.data.dataset import Rows
from souron.hub import zoo
from souron.kinds.picture import Picture
from souron.report import steps

TELLS = [entry.name for entry in registry.entries().values() if hasattr(registry.load_system(entry.name)[0], "explain")]


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("name", TELLS)
def test_each_tells_of_a_picture_of_which_nothing_is_known(name, digits):
    kind, config = registry.load_system(f"{name}_tiny")
    cases = cases_for(kind.task, digits, 4)
    torch.manual_seed(0)
    system = kind(config, kind.spec_for(cases)).eval()
    batch = system.batch(Rows(cases.input[:1], None))
    with torch.inference_mode():
        told = system.explain(batch.image, system.unknown(batch.image))
    assert told and all(step.title and step.caption for step in told)


def test_tasks_that_find_things_tell_of_it():
    tasks = {registry.find(name)[0].task for name in TELLS}
    wanted = {"detect", "segment", "segment_instances", "segment_panoptic", "pose", "keypoints"}
    assert tasks == wanted


def test_a_page_shows_each_step_and_the_answer(photo, tmp_path, capsys):
    assert main.run(["show", "yolo", f"picture={photo}", "--json"]) == 0
    page = json.loads(capsys.readouterr().out)["page"]
    text = (tmp_path / page).read_text(encoding="utf-8")
    assert page == "runs/explained/yolo/steps.html" and "<h1>yolo: photo.png" in text
    assert "Candidates" in text and text.count("data:image/jpeg") >= 2
    assert main.run(["show", "unet", f"picture={photo}"]) == 0
    assert "runs/explained/unet/steps.html" in capsys.readouterr().out


def test_what_tells_nothing_says_so_and_leaves_no_folder(photo, tmp_path, capsys):
    assert main.run(["show", "mlp", f"picture={photo}"]) == 2
    assert "does not show how it reaches" in capsys.readouterr().err
    assert main.run(["show", "yolo", "picture=nowhere.png"]) == 3
    assert "nowhere.png" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_names_of_files_are_escaped(tmp_path):
    from souron import model

    path = tmp_path / "<b>x.png"
    Image.new("RGB", (40, 40)).save(path)
    assert zoo.where("yolo_tiny") is not None
    system = model.load("yolo").system
    page = steps.explained(system, "yolo", Picture.read(path), tmp_path)
    assert "<b>x" not in page.read_text(encoding="utf-8")
