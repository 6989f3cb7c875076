"""A run as files: atomic, safe to read, honest about what is wrong."""

import errno
import json
import math
import os
from dataclasses import dataclass

import pytest
import torch
import yaml
from torch import nn

from souron.runs import folder as run_folder
from souron.training import checkpoint
from souron.utils import files
from souron.utils.messages import UserError


def test_what_stood_there_stays_when_writing_fails(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.atomically(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(UserError) as trouble, files.atomically(path) as beside:
        beside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert trouble.value.code == "disk" and trouble.value.exit == 4
    assert "No space left" in str(trouble.value) and "MB free" in str(trouble.value)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_taken_name_is_never_used_again(tmp_path):
    folders = [files.new_folder(tmp_path, "run") for _i in range(3)]
    assert [folder.name for folder in folders] == ["run", "run-2", "run-3"]


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "", "写真 と 'q'"])
def test_a_name_never_leads_out_of_the_project(tmp_path, name):
    folder = files.new_folder(tmp_path / "project", name)
    assert folder.parent == tmp_path / "project" and not folder.name.startswith((".", "-"))


def test_args_that_would_run_code_are_refused(tmp_path):
    (tmp_path / "args.yaml").write_text("!!python/object/apply:os.system ['touch broken']")
    with pytest.raises(UserError, match="not a run"):
        run_folder.read_args(tmp_path)
    assert not (tmp_path / "broken").exists()


NULL = "{system: mlp, data: digits, seen: {}, config: null}"


@pytest.mark.parametrize("text", ["", "[1, 2]", "system: resnet", "\x00\x01", NULL])
def test_a_folder_that_is_no_run_says_so(tmp_path, text):
    (tmp_path / "args.yaml").write_text(text)
    with pytest.raises(UserError) as trouble:
        run_folder.read_args(tmp_path)
    assert trouble.value.code == "not a run" and trouble.value.expected


def test_a_missing_folder_is_no_run(tmp_path):
    with pytest.raises(UserError, match=r"no args\.yaml there"):
        run_folder.read_args(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"nonsense" * 9, b"\x80\x04K\x01."])
def test_a_broken_weights_file_says_so(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        files.read_tensors(path)


def test_weights_of_another_system_are_refused(tmp_path):
    model = nn.Linear(2, 3)
    model.config = "Config()"
    with pytest.raises(UserError, match="another system") as trouble:
        checkpoint.fill(model, {"weight": torch.zeros(9, 9), "bias": torch.zeros(3)}, tmp_path)
    assert "1 of 2" in str(trouble.value)


@dataclass(frozen=True)
class Config:
    width: int = 8
    rate: float = 1e-3
    deep: bool = False
    depths: tuple[int, ...] = (2, 2)
    name: str = "x"


@pytest.mark.parametrize(
    "change, code",
    [
        (lambda weight: weight.fill_(torch.nan), "weights file"),
        (lambda weight: weight.fill_(torch.inf), "weights file"),
        (lambda weight: weight.to(torch.int32), "other system"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(change, code, tmp_path):
    system = nn.Linear(2, 2)
    system.config = None
    weights = {name: change(weight.clone()) for name, weight in system.state_dict().items()}
    with pytest.raises(UserError) as trouble:
        checkpoint.fill(system, weights, tmp_path / "w.safetensors")
    assert trouble.value.code == code and "w.safetensors" in trouble.value.found


def test_a_pipe_in_the_place_of_weights_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a regular file"):
        files.read_tensors(tmp_path / "pipe")


def test_options_are_read_as_the_fields_type():
    changed = run_folder.override(
        Config(), {"width": "16", "rate": "0.5", "deep": "true", "depths": "1,2,3", "name": "y"}
    )
    assert changed == Config(16, 0.5, True, (1, 2, 3), "y")


@pytest.mark.parametrize("name, value", [("width", "many"), ("deep", "perhaps"), ("depths", "a")])
def test_an_option_that_does_not_fit_is_refused(name, value):
    with pytest.raises(UserError, match="does not fit"):
        run_folder.override(Config(), {name: value})


def test_an_unknown_option_gets_the_nearest():
    with pytest.raises(UserError) as trouble:
        run_folder.override(Config(), {"widht": 3})
    assert trouble.value.expected == "width"


def test_a_checkpoint_brings_back_everything(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.randn(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    path = tmp_path / "resume.safetensors"
    torch.manual_seed(7)
    checkpoint.write_checkpoint(path, model, {"model": optimizer}, {"step": 1})
    after = torch.rand(3)

    again = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    again.config = None
    states, state, random = checkpoint.read_checkpoint(path, again)
    other = torch.optim.AdamW(again.parameters(), lr=0.5)
    other.load_state_dict(states["model"])
    torch.set_rng_state(random)
    assert state == {"step": 1} and torch.equal(torch.rand(3), after)
    for one, two in ((model, again), (optimizer, other)):
        left, right = one.state_dict(), two.state_dict()
        if one is optimizer:
            assert left["param_groups"][0]["lr"] == right["param_groups"][0]["lr"]
            left, right = left["state"], right["state"]
            left, right = ({f"{i}{k}": v for i, s in held.items() for k, v in s.items()} for held in (left, right))
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left)


def test_yaml_keeps_japanese_as_it_is(tmp_path):
    run_folder.write_args(tmp_path, {"data": "写真"})
    assert "写真" in (tmp_path / "args.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load((tmp_path / "args.yaml").read_text(encoding="utf-8")) == {"data": "写真"}


def test_json_files_hold_null_where_a_figure_is_not_a_number(tmp_path):
    files.write_json(tmp_path / "a.json", {"low": -math.inf, "all": (1.5, math.nan)})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == {"low": None, "all": [1.5, None]}
