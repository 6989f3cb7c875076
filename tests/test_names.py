"""Names of systems, runs, models and files: one place decides what each means."""

import json
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from souron import model as models_api
from souron.actions.tokens import cutters
from souron.cli import main
from souron.hub import names, packages, zoo
from souron.runs import folder as run_folder
from souron.runs import loading, train
from souron.utils.messages import UserError


def safetensors(path, tensor):
    """A file whose list of tensors names one."""
    head = json.dumps({tensor: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head)


@pytest.fixture
def places(own_folder):
    """Folders and files of each kind."""
    for name in ("runs/mine", "open", "one", "diffusion/unet", "empty"):
        (own_folder / name).mkdir(parents=True)
    (own_folder / "runs/mine/args.yaml").touch()
    (own_folder / "runs/mine/config.json").touch()  # a run's own file goes first
    (own_folder / "open/config.json").touch()
    (own_folder / "one/model.Q4.gguf").touch()
    safetensors(own_folder / "sd.safetensors", names.STABLE_DIFFUSION + "out.weight")
    safetensors(own_folder / "other.safetensors", "conv.weight")
    return own_folder


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("runs/mine", names.Run),
        ("runs/gone", names.Run),
        ("empty", names.Run),
        ("resnet", names.Ready),
        ("resnet50", names.System),
        (next(iter(packages.MODELS)), names.OpenModel),
        ("open", names.OpenModel),
        ("one", names.OpenModel),
        ("any.gguf", names.OpenModel),
        ("diffusion", names.DiffusionModel),
        ("sd.safetensors", names.DiffusionModel),
        ("other.safetensors", names.WeightsFile),
        ("esrgan.pth", names.WeightsFile),
    ],
)
def test_a_name_means(places, name, meaning):
    found = names.resolve(name)
    assert type(found) is meaning and found.name == name
    assert isinstance(found, names.Run) == hasattr(found, "folder")


def test_a_ready_system_is_its_run_in_the_zoo():
    assert names.resolve("resnet").folder == zoo.where("resnet")


def test_published_weights_on_this_computer_are_known():
    assert names.resolve("efficientnet_lite").published
    assert not names.resolve("resnet152").published


def test_a_folder_called_as_a_system_is_asked_about(places):
    (places / "resnet").mkdir()
    assert isinstance(names.resolve("resnet"), names.Ready), "a folder that is nothing else"
    (places / "resnet" / "args.yaml").touch()
    with pytest.raises(UserError) as trouble:
        names.resolve("resnet")
    assert trouble.value.code == "several meanings" and trouble.value.fix == "./resnet"
    for one in ("the folder of a run", "a ready-trained system"):
        assert one in trouble.value.found, "both meanings are listed"
    assert isinstance(names.resolve("./resnet"), names.Run)


def test_a_text_that_begins_with_a_tilde_is_no_path_of_a_user():
    assert names.known("~nobody of this name, and more words") is None


def test_what_means_nothing_is_told_what_is_near():
    with pytest.raises(UserError, match="resnet"):
        names.resolve("resnett")


@pytest.mark.parametrize("damage", [b"", b"\xff" * 8, (10**12).to_bytes(8, "little"), b"\x02" + bytes(7) + b"[]"])
def test_a_damaged_file_is_a_file_of_weights(own_folder, damage):
    (own_folder / "a.safetensors").write_bytes(damage)
    with pytest.raises(ValueError):
        names.head(own_folder / "a.safetensors")
    assert isinstance(names.resolve("a.safetensors"), names.WeightsFile)


def test_deciding_imports_no_network():
    code = (
        "import sys; from souron.hub import names; names.resolve('resnet50'); names.known('a');"
        "print(*(m for m in ('torch', 'transformers', 'safetensors') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.strip()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one's own."""
    return train.train("mlp_tiny", "digits", budget="1ep", project=tmp_path_factory.mktemp("a"))


@pytest.fixture
def asked(monkeypatch):
    """The names that the table was asked for; nothing else looks for the file of a run there."""
    found, here, is_run = [], names._by_path, names.is_run

    def other(name):  # the run of another name, as of those that are listed beside the chosen one
        assert str(name) not in found
        return is_run(name)

    monkeypatch.setattr(names, "_by_path", lambda name, path: found.append(name) or here(name, path))
    monkeypatch.setattr(names, "is_run", other)
    return found


@pytest.mark.parametrize(
    ("words", "once"),
    [
        (["./mine", "a.png"], ["./mine"]),
        (["./mine"], ["./mine"]),  # whether files are needed is a question to its system
        (["resnet", "a.png"], ["resnet"]),
        (["yolo", "a.png", "conf=0.9", "out=found"], ["yolo"]),
        (["model=resnet", "a.png"], ["resnet"]),
        (["efficientnet_lite", "a.png"], ["efficientnet_lite"]),
        (["a.png"], ["a.png", "efficientnet_lite"]),
        (["weights.pth", "a.png", "scale=2"], ["weights.pth"]),
        (["gone/run", "a.png"], ["gone/run"]),
        (["resnett", "a.png"], ["resnett"]),
    ],
)
def test_predict_asks_once_what_a_name_means(own_folder, trained, asked, words, once):
    shutil.copytree(trained.folder, "mine")
    Image.new("RGB", (40, 40)).save("a.png")
    fails = {"./mine": len(words) < 2, "weights.pth": True, "gone/run": True, "resnett": True}
    assert bool(main.run(["predict", *words])) is fails.get(words[0], False)
    assert asked == once


def test_what_a_name_means_can_be_loaded_without_asking_again(asked):
    meaning = names.resolve("resnet")
    model = models_api.load(meaning)
    assert (model.name, model.folder) == ("resnet", meaning.folder) and asked == ["resnet"]


def test_answers_are_saved_in_a_run_of_ones_own_alone(own_folder, trained):
    shutil.copytree(trained.folder, "mine")
    Image.new("RGB", (40, 40)).save("a.png")
    for name, place in (("./mine", "mine/answers"), ("resnet", "answers")):
        assert main.run(["predict", name, "a.png", "to=csv"]) == 0
        assert (own_folder / place / "a.csv").is_file()


@pytest.mark.parametrize("folder", [False, True])
def test_a_folder_of_anything_else_hides_no_ready_system(own_folder, folder):
    if folder:
        (own_folder / "resnet").mkdir()
    assert run_folder.find("resnet") == zoo.where("resnet")
    assert loading.load(names.resolve("resnet")).task == "classify"


COMPARING = """
import sys
from souron.cli import main
from souron.hub import names
def refuse(*given):
    raise AssertionError(given)
names.PLACES = tuple((refuse, make) for _test, make in names.PLACES)
names.by_name = names.head = refuse
assert main.run("compare mlp_tiny cnn_tiny data=digits budget=1ep seeds=1".split()) == 0
heavy = (".clip", ".open_model", ".open_models", ".diffusion_weights", "transformers")
print(*(name for name in sys.modules if name.endswith(heavy)))
"""


def test_a_comparison_on_digits_asks_nothing_of_published_models(own_folder):
    done = subprocess.run([sys.executable, "-c", COMPARING], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.splitlines()[-1].strip(), "no such module was imported"


@pytest.mark.parametrize(
    ("word", "model"),
    [
        ("runs/mine", True),
        ("open", True),
        ("one", True),
        ("any.gguf", True),
        ("bpe", True),
        ("gpt", True),
        ("smollm2", True),
        ("resnet", False),
        ("empty", False),
        ("a word", False),
        ("a.json", True),
        ("gone.json", False),
    ],
)
def test_a_word_for_tokens_is_a_model_by_what_it_means(places, word, model):
    (places / "a.json").touch()
    assert cutters.names_a_model(word) is model
