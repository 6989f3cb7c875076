"""Packages that are left out of `pip install souron`: what is missed says their name."""

import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from souron.cli.mcp import mcp
from souron.exports import export
from souron.hub.decoders import llama_decoder
from souron.kinds.codecs import credentials, slides
from souron.kinds.video import Video
from souron.utils import extras
from souron.utils.messages import UserError

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(params=extras.EXTRAS)
def absent(request, monkeypatch):
    """The name of an extra whose modules are not here."""
    for module in extras.EXTRAS[request.param]:
        monkeypatch.setitem(sys.modules, module, None)
    return request.param


def use(extra, folder, monkeypatch):
    """Ask for what that extra does."""
    if extra == "video":
        (folder / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(50))
        Video.read(folder / "a.mp4")
    elif extra == "slides":
        (folder / "a.svs").write_bytes(b"\0" * 100)
        with slides.opened(folder / "a.svs"):
            pass
    elif extra == "credentials":
        credentials.library()
    elif extra == "llama":
        llama_decoder.library.cache_clear()
        llama_decoder.library()
    elif extra == "mcp":
        mcp([str(folder)])
    else:
        export.export("mlp", {"fast": "openvino", "onnx": "onnx"}[extra], folder / "out")


def test_what_is_missed_says_its_extra(absent, tmp_path, monkeypatch):
    assert not extras.installed(absent)
    with pytest.raises(UserError) as trouble:
        use(absent, tmp_path, monkeypatch)
    assert (trouble.value.code, trouble.value.exit) == ("extra", 4)
    assert trouble.value.fix == f'pip install "souron[{absent}]"'


def test_a_broken_slide_is_not_blamed_on_an_extra_that_is_here(tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "reads", lambda: True)
    monkeypatch.setitem(
        sys.modules, "openslide", SimpleNamespace(OpenSlide=SimpleNamespace(detect_format=lambda path: None))
    )
    (tmp_path / "a.svs").write_bytes(b"\0" * 100)
    with pytest.raises(UserError) as trouble, slides.opened(tmp_path / "a.svs"):
        pass
    assert trouble.value.code != "extra"


def names(requirements):
    return {Requirement(each).name for each in requirements}


def test_extras_are_declared_and_tests_have_all_of_them():
    declared = PROJECT["optional-dependencies"]
    assert set(extras.EXTRAS) <= set(declared)
    (everything,) = declared["all"]
    assert Requirement(everything).extras == set(declared) - {"all", "dev", "docs"}
    for extra in extras.EXTRAS:
        assert names(declared[extra]) <= names(declared["dev"])
        assert not names(declared[extra]) & names(PROJECT["dependencies"])
