"""Names of systems, runs, models and files: one place decides what each means."""

import json
import subprocess
import sys

import pytest

from souron.hub import names, packages, zoo
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
        ("runs/mine", names.Run), ("runs/gone", names.Run), ("empty", names.Run),
        ("resnet", names.Ready), ("resnet50", names.System),
        (next(iter(packages.MODELS)), names.OpenModel), ("open", names.OpenModel),
        ("one", names.OpenModel), ("any.gguf", names.OpenModel),
        ("diffusion", names.DiffusionModel), ("sd.safetensors", names.DiffusionModel),
        ("other.safetensors", names.WeightsFile), ("esrgan.pth", names.WeightsFile),
    ],
)  # fmt: skip
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
    assert isinstance(names.resolve("./resnet"), names.Run)


def test_a_text_that_begins_with_a_tilde_is_no_path_of_a_user():
    assert names.known("~nobody of this name, and more words") is None


def test_what_means_nothing_is_told_what_is_near():
    with pytest.raises(UserError, match="resnet"):
        names.resolve("resnett")


@pytest.mark.parametrize(
    "damage", [b"", b"\xff" * 8, (10**12).to_bytes(8, "little"), b"\x02" + bytes(7) + b"[]"]
)
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
