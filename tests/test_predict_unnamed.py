"""``souron predict photo.jpg``: the best system here for a file, where none is named."""

import json
import shutil

import pydicom.data
import pytest
from PIL import Image
from skimage import data as photographs

from souron import model as models_api
from souron.action import Hint
from souron.actions.predict.answer import BEFORE, Answer
from souron.actions.predict.naming import names_files
from souron.cli import main
from souron.hub.names import known
from souron.kinds.boxes import Boxes
from souron.kinds.picture import Picture
from souron.kinds.text import Text
from souron.pipelines import default_system, pipeline
from souron.utils.messages import Caution, UserError


@pytest.fixture
def cat(own_folder):
    Image.fromarray(photographs.chelsea()).save("a cat 猫.jpg")
    return "a cat 猫.jpg"


def test_a_photograph_is_answered_by_the_imagenet_weights(cat, capsys):
    assert main.run(["predict", cat]) == 0
    out, err = capsys.readouterr()
    assert "Egyptian cat" in out
    assert "answered by efficientnet_lite, which was trained on ImageNet-1k" in err
    assert "others that take such files" in err
    assert main.run(["predict", cat, "--json", "top=1"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["system"] == "efficientnet_lite" and printed["learnt_from"] == "ImageNet-1k"
    assert printed["labels"][0]["label"] == "Egyptian cat"


def test_published_weights_that_are_here_answer_without_pretrained(cat):
    assert models_api.load("efficientnet_lite")(cat).best[0] == "Egyptian cat"
    with pytest.warns(Caution, match="efficientnet_lite"):
        name = pipeline.pipeline("image-classification")
    assert name(cat)[0]["label"] == "Egyptian cat"


def test_a_named_system_says_what_it_has_learnt_from(cat, capsys):
    assert main.run(["predict", "resnet", cat, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["system"] == "resnet" and printed["learnt_from"] == "fashion"


def test_some_frames_of_a_video_are_answered(cat, capsys):
    cat, coffee = (Image.fromarray(getattr(photographs, name)()).resize((224, 150)) for name in ("chelsea", "coffee"))
    turned = cat.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    cat.save("film.gif", save_all=True, append_images=[turned, coffee], duration=700)
    assert main.run(["predict", "film.gif"]) == 0
    out = capsys.readouterr().out
    assert "film.gif#0.0s" in out and "film.gif#1.4s" in out and "film.gif#0.7s" not in out
    assert "Egyptian cat" in out and "espresso" in out


def test_a_text_and_a_volume_have_systems_of_their_own(own_folder):
    (own_folder / "a.txt").write_text("Good evening")
    (own_folder / "v.nii.gz").write_bytes(b"")
    assert default_system.choose("Good evening, ladies").system == "gpt"
    assert default_system.choose("a.txt").system == "gpt"
    choice = default_system.choose("v.nii.gz")
    assert choice.system == "unet_3d" and "resnet" not in choice.others


def test_where_nothing_has_learnt_from_such_a_file_that_is_said(own_folder):
    shutil.copy(pydicom.data.get_testdata_file("CT_small.dcm"), "slice.dcm")
    (own_folder / "t.csv").write_text("a,b\n1,2\n")
    for name, words in (("slice.dcm", "modality CT"), ("t.csv", "t.csv")):
        with pytest.raises(UserError) as trouble:
            default_system.choose(name)
        assert trouble.value.code == "nothing learnt" and words in trouble.value.found
    assert "data=t.csv" in trouble.value.fix


def run_of(system, folder):
    """A run as far as it is looked at before it is loaded."""
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "best.safetensors").touch()
    (folder / "args.yaml").write_text(f"system: {system}\ndata: x\nseen: {{}}\nconfig: {{}}\n")


def test_runs_of_ones_own_that_answer_for_such_files_are_named_first(own_folder):
    run_of("mlp", own_folder / "runs" / "classify" / "mine")
    run_of("kmeans", own_folder / "runs" / "cluster" / "table")  # groups a table, and answers for no image
    run_of("nosuch", own_folder / "runs" / "classify" / "gone")
    (own_folder / "runs" / "classify" / "begun").mkdir()
    (own_folder / "runs" / "classify" / "begun" / "args.yaml").touch()
    Image.new("RGB", (8, 8)).save("a.png")
    others = default_system.choose("a.png").others
    assert [name for name in others if name.startswith("runs")] == ["runs/classify/mine"]
    shutil.copy(pydicom.data.get_testdata_file("CT_small.dcm"), "slice.dcm")
    with pytest.raises(UserError) as trouble:
        default_system.choose("slice.dcm")
    assert "mine" in trouble.value.expected and trouble.value.fix.endswith("mine slice.dcm")


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("resnet", False),
        ("resnet18", False),
        ("nosuch", False),
        ("smollm2", False),
        ("model.gguf", False),
        ("weights.safetensors", False),
        ("folder/run", False),
        ("photo.jpg", True),
        ("*.png", True),
        ("two words", True),
        ("猫", True),
        ("photos", True),
        ("folder/run gone", False),
        ("folder/猫", False),
        ("folder/gone.png", True),
        ("a question and/or two", True),
    ],
)
def test_a_file_is_told_from_the_name_of_a_system(own_folder, word, names):
    (own_folder / "folder" / "run").mkdir(parents=True)
    (own_folder / "folder" / "run" / "args.yaml").write_text("")
    (own_folder / "photos").mkdir()
    assert (known(word) is None and names_files(word)) is names


def test_a_missing_file_is_named(capsys):
    assert main.run(["predict", "missing.jpg"]) == 3
    assert "missing.jpg" in capsys.readouterr().err


def test_of_a_long_text_the_end_and_its_continuation_are_printed():
    text = Text("word " * 1000 + "and on", continues=5000)
    hint = Hint("4,700 characters before it are not shown")
    assert Answer("a.txt", text).shown()[1:] == [hint, f"… {text.text[-BEFORE - 6 :]}"]
    assert Answer("a.txt", Text("short and on", continues=6)).shown() == ["a.txt", "short and on"]


def test_boxes_are_printed_with_their_scores():
    picture = Picture(Image.new("RGB", (8, 8)))
    boxes = Boxes(picture, [[0, 0, 4, 4]] * 3, ["cat", "dog", "cat"], [0.812, 0.4, 0.93])
    assert Answer("a.png", boxes).shown() == ["a.png", "2 cat (81-93%), 1 dog (40%)"]


def test_the_help_beside_a_system_names_its_own_options(capsys):
    assert main.run(["predict", "nanodet", "--help"]) == 0
    named = capsys.readouterr().out
    assert "Options of nanodet:" in named and "conf=0.35 (0..1)" in named
    assert main.run(["predict", "--help"]) == 0
    assert "Options of" not in capsys.readouterr().out
