"""Enlarging: figures against scikit-image, networks against spandrel, tiles against the whole, and
each mechanism against what happens without it."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy import ndimage
from shapes import coats
from skimage import color, metrics
from torch import nn

from souron import model as models
from souron import registry
from souron.blocks import tiling
from souron.blocks.averaging import in_a_row
from souron.cli.main import run as souron
from souron.data import load
from souron.data.readers.run_lengths import area_of, lengths_of
from souron.evaluation import summary
from souron.evaluation.vision import image_to_image as evaluation
from souron.evaluation.vision import perceptual
from souron.kinds.picture import Picture
from souron.metrics import image_to_image as figures
from souron.systems.image_to_image import esrgan
from souron.systems.image_to_image.esrgan import ESRGAN, RRDBNet
from souron.systems.image_to_image.srgan import SRGAN
from souron.task import Setup
from souron.tasks import image_to_image as task_file
from souron.tasks.image_to_image import Spec, cropped, enlarged, lowered
from souron.training.loop import Run
from souron.utils.messages import UserError

TASK = registry.load_task("image_to_image")
KINDS = (SRGAN, ESRGAN)


def made(kind, size="tiny", channels=3, side=32, **changes):
    torch.manual_seed(0)
    config = dataclasses.replace(kind.SIZES[size], **changes)
    return kind(config, Spec(channels, side)).eval()


def shaken(model):
    """With weights of which all do something."""
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.1)
    return model


@pytest.fixture(scope="module")
def photo():
    """A piece of the photograph of a cat: fur, and neither black nor white, which Pillow cuts off
    between its two passes."""
    patches = load.load("photo_patches")
    return np.asarray(patches.input[patches.group.index("chelsea.png")].permute(1, 2, 0))


def test_figures_are_those_of_scikit_image(photo):
    random = np.random.default_rng(0)
    noisy = (photo + random.normal(0, 9, photo.shape)).clip(0, 255).astype(np.uint8)
    one, other = (part.transpose(2, 0, 1)[None] for part in (noisy, photo))
    expected = metrics.peak_signal_noise_ratio(photo, noisy)
    assert figures.psnr(one, other)[0] == pytest.approx(expected, abs=1e-6)
    grey = color.rgb2ycbcr(photo)[..., 0]
    assert np.allclose(figures.luma(other)[0], grey, atol=1e-3)
    blurred = ndimage.gaussian_filter(photo, (2, 2, 0)).transpose(2, 0, 1)[None]
    assert figures.sharpness(blurred, other)[0] < 0.7 < 1.1 < figures.sharpness(one, other)[0]
    apart = perceptual.distance(*(evaluation.as_share(part) for part in (blurred, other)))
    none = perceptual.distance(torch.ones(1, 3, 9, 9), torch.ones(1, 3, 9, 9))
    assert 0 < figures.ssim(blurred, other)[0] < 1
    assert apart[0] > 0.01 > float(none)


def test_equal_pictures_have_finite_figures(photo):
    same = photo.transpose(2, 0, 1)[None]
    assert figures.psnr(same, same)[0] == pytest.approx(58.92, abs=0.01)
    assert figures.ssim(same, same)[0] == 1 and figures.sharpness(same, same)[0] == 1
    assert figures.colour_difference(same, same)[0] == 0


def test_an_area_alone_is_measured_and_none_is_not_a_number():
    truth = np.zeros((2, 3, 8, 8), np.uint8)
    found = truth.copy()
    found[:, :, :4] = 255
    area = np.zeros((2, 8, 8), bool)
    area[0, :4] = True
    inside, outside = figures.psnr(found, truth, area), figures.psnr(found, truth, ~area)
    assert inside[0] == 0 and outside[0] > 58 and np.isnan(inside[1])
    assert (area_of(lengths_of(area[0]), 8) == area[0]).all()
    assert (area_of(lengths_of(~area[0]), 8) == ~area[0]).all()


def test_pictures_become_smaller_and_larger_as_pillow_makes_them(photo):
    image = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
    small = lowered(image, 2)
    reference = Image.fromarray(photo).resize((48, 48), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(small[0].permute(1, 2, 0) * 255) - np.asarray(reference)).max() <= 1
    back = (enlarged(small, 2)[0].permute(1, 2, 0).clamp(0, 1) * 255).numpy()
    assert np.abs(back - np.asarray(reference.resize((96, 96), Image.Resampling.BICUBIC))).max() < 2
    assert ((small * 255).round() - small * 255).abs().max() < 1e-3  # as a file would hold it


def test_a_crop_is_one_square_of_all_pictures_somewhere_by_chance():
    torch.manual_seed(0)
    image = torch.arange(64.0).view(1, 1, 8, 8).expand(2, 1, 8, 8)
    square = torch.arange(4)[:, None] * 8 + torch.arange(4)
    corners = set()
    for _crop in range(60):
        first, second = cropped(image, 4)
        corners.add(int(first[0, 0, 0]))
        assert torch.equal(first, second) and torch.equal(first[0] - first[0, 0, 0], square.float())
    assert len(corners) > 15
    assert cropped(image, 9).shape == image.shape


def test_the_same_network_untrained_stands_beside_what_has_learnt():
    cases = coats(8, 32)
    *_before, last = TASK.details(shaken(made(SRGAN)), {}, Setup(None, cases))
    expected = evaluation.answers_of(made(SRGAN), cases, beside=False)
    assert torch.equal(last.result["untrained:PSNR"], expected["PSNR"])


def test_photographs_lie_on_one_side_each_and_nine_are_for_testing():
    data = load.load("photo_patches")
    sides = {}
    for group, part in zip(data.group, data.part, strict=True):
        sides.setdefault(group, set()).add(part)
    assert all(len(parts) == 1 for parts in sides.values())
    tested = [group for group, parts in sides.items() if parts == {"test"}]
    assert len(tested) == 9 or len(sides) == 8  # all, or those of the Python packages alone
    assert data.input.shape[1:] == (3, 96, 96) and len(set(data.file)) == len(data)


def test_a_paper_network_has_the_parameters_of_the_published_one():
    with torch.device("meta"):
        network = RRDBNet(ESRGAN.SIZES["paper"], 3)
    assert summary.parameters(network) == 16_697_987


@pytest.mark.parametrize("scale, width", [(4, 16), (2, 8)])
def test_an_rrdb_network_is_that_of_spandrel_by_any_names(scale, width, tmp_path):
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet as Reference

    torch.manual_seed(1)
    reference = Reference(num_filters=width, num_blocks=2, scale=scale).eval()
    image = torch.rand(1, 3, 13, 17)
    with torch.no_grad():
        expected = reference(image)
    old = reference.state_dict()
    model = ESRGAN.of_published(old)
    new = model.generator.state_dict()
    sorts = {"^body": "RRDB_trunk", "rdb": "RDB", "conv_up": "upconv", "conv_hr": "HRconv", "conv_body": "trunk_conv"}
    copied = {}
    for name, weight in new.items():
        for later, earlier in sorts.items():
            name = re.sub(later, earlier, name)
        copied[name] = weight
    assert not set(old) & set(new) and not set(copied) & set(old)
    torch.save({"params_ema": new, "params": old}, tmp_path / "later.pth")
    save_file({name: weight.contiguous() for name, weight in copied.items()}, tmp_path / "a.safetensors")
    loaded = [model, *(models.load(tmp_path / name).system for name in ("later.pth", "a.safetensors"))]
    with torch.no_grad():
        for one in loaded:
            assert one.config.scale == scale
            assert torch.allclose(one(image), expected, atol=1e-5)


def test_a_file_whose_pixels_are_folded_is_known_by_its_first_layer():
    model = made(ESRGAN, width=8, lean=False)
    again = ESRGAN.of_published(model.generator.state_dict())
    image = torch.rand(1, 3, 7, 10)
    assert again.config.scale == 2 and again.generator.folded == 2
    with torch.no_grad():
        assert again(image).shape == (1, 3, 14, 20)
        assert torch.equal(again(image), model(image))


def test_weights_of_something_else_are_refused(tmp_path):
    save_file({"layer.weight": torch.ones(3)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError) as caught:
        models.load(tmp_path / "other.safetensors")
    assert caught.value.code == "other system" and "layer.weight" in caught.value.found
    weights = made(ESRGAN, width=8, lean=False).generator.state_dict()
    weights["conv_hr.weight"] = weights["conv_hr.weight"][:4]
    assert ESRGAN.of_published(weights) is None


@pytest.mark.parametrize(
    "length, tile, overlap", [(100, 32, 8), (33, 32, 8), (7, 32, 8), (1, 16, 2), (500, 40, 20), (64, 16, 0)]
)
def test_the_weights_of_tiles_add_up_to_one(length, tile, overlap):
    total = torch.zeros(2 * length)
    for window in tiling.windows(length, tile, overlap, 2):
        total[2 * window.start : 2 * window.stop] += window.weight
    assert torch.allclose(total, torch.ones(2 * length))


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_put_together_are_the_whole(kind, photo):
    model = made(kind)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.1)
    picture = Picture(Image.fromarray(np.tile(photo, (2, 2, 1))[:150, :170]))
    whole = np.asarray(model.predict(picture, tile=4096).after.image).astype(int)
    tiled = model.predict(picture, tile=96, overlap=0.5)  # 12 pixels of an edge are left out
    assert tiled.tiles == 3 * 3 and tiled.after.size == (340, 300)
    bicubic = picture.image.resize((340, 300), Image.Resampling.BICUBIC)
    assert np.abs(whole - np.asarray(bicubic).astype(int)).max() > 10  # the network does something
    assert np.abs(np.asarray(tiled.after.image).astype(int) - whole).max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_its_stages_share_the_budget_and_the_first_ones_weights_are_kept(kind):
    cases = coats(32, 32)
    model = made(kind, pixel=0.5)
    names = []
    for progress in model.fit(model.loader(cases), Run(6, 32)):
        names.append(tuple(progress.losses))
        if progress.step == 2:
            first = in_a_row(model.generator).clone()
    assert names == [("pixels",)] * 3 + [("critic", "generator")] * 3
    assert torch.equal(model.before, first) and model.begun
    low = model.given(cases.input[:2].float() / 255)
    with torch.no_grad():
        after, before = model.between(low, 1.0), model.between(low, 0.0)
        middle = model.between(low, 0.5)
    assert not torch.equal(after, before) and not torch.equal(after, middle)
    assert {"bicubic", "pixel stage"} == set(model.rivals(low, None))
    last = in_a_row(model.generator).clone()
    for weights, expected in ((first, before), ((first + last) / 2, middle)):
        nn.utils.vector_to_parameters(weights, model.generator.parameters())
        with torch.no_grad():
            assert torch.allclose(model(low), expected, rtol=0, atol=1e-6)
    assert not torch.allclose(middle, before, rtol=0, atol=1e-5)


def test_the_critic_of_esrgan_compares_a_picture_with_the_mean_of_the_others():
    real, drawn = torch.tensor([[2.0], [0.0]]), torch.tensor([[1.0], [-3.0]])
    ahead, behind = (real + 1).sigmoid(), (drawn - 1).sigmoid()
    expected = -ahead.log().mean() - (1 - behind).log().mean()
    assert float(esrgan.relative(real, drawn)) == pytest.approx(float(expected))


@pytest.mark.parametrize("kind", KINDS)
def test_the_gan_stage_pulls_on_features_pixels_and_the_critic(kind, monkeypatch):
    model = shaken(made(kind)).train()
    image = coats(4, 32).input.float() / 255
    high, low = model.truth(image), model.given(image)
    module = __import__(kind.__module__, fromlist=["x"])

    def gradient():
        losses = dict(model.adversarial(low, high))
        [found] = torch.autograd.grad(
            losses["generator"],
            [model.generator.state_dict(keep_vars=True)["last.bias" if kind is SRGAN else "conv_last.bias"]],
        )
        return found

    whole = gradient()
    for name in ("CONTENT", "ADVERSARIAL", "PIXEL"):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, 0.0)
            assert not torch.allclose(gradient(), whole, rtol=1e-6, atol=0), name


class Brightness(nn.Module):
    """A critic whose score can be computed by hand."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(9.0))

    def forward(self, image):
        return self.scale * image.float().mean((1, 2, 3))[:, None] - 4


@pytest.mark.parametrize("kind", KINDS)
def test_the_gan_stage_weighs_content_critic_and_pixels_as_its_file_says(kind):
    """0.03, 0.001 and 1, each computed by hand."""
    model = shaken(made(kind)).train()
    model.critic = Brightness()
    image = coats(4, 32).input.float() / 255
    high, low = model.truth(image), model.given(image)
    with torch.no_grad():
        drawn = model.generator(low)
        real, fake = model.critic(high), model.critic(drawn)
        seen, true = (perceptual.features(each)[2].float() for each in (drawn, high))
        critic = -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()
        content = (seen - true).square().mean() / true.square().mean()
        fooled = -fake.sigmoid().log().mean()
        if kind is ESRGAN:
            ahead, behind = (real - fake.mean()).sigmoid(), (fake - real.mean()).sigmoid()
            critic = -ahead.log().mean() - (1 - behind).log().mean()
            content = (seen - true).abs().mean() / true.abs().mean()
            fooled = -behind.log().mean() - (1 - ahead).log().mean()
        whole = 0.03 * content + 0.001 * fooled + (drawn - high).abs().mean()
    losses = dict(model.adversarial(low, high))
    assert float(losses["critic"].detach()) == pytest.approx(float(critic), rel=1e-4)
    assert float(losses["generator"].detach()) == pytest.approx(float(whole), rel=1e-4)
    assert 0.001 * fooled > 1e-3 * whole  # each term is more than the tolerance
    assert 0.03 * content > 1e-3 * whole


@pytest.mark.parametrize("kind", KINDS)
def test_the_gan_stage_learns_with_a_tenth_of_the_rate(kind):
    made_of = made(kind, rate=1e-3).optimizers().items()
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in made_of}
    assert rates == pytest.approx({"pixels": 1e-3, "critic": 1e-4, "generator": 1e-4})


def test_what_the_blocks_of_srgan_find_is_added_to_the_first_maps():
    network = shaken(made(SRGAN)).generator
    for weight in network.after.parameters():
        nn.init.zeros_(weight)  # they find nothing
    low = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        expected = enlarged(low, 2) + network.last(network.up(network.first(low)))
        torch.testing.assert_close(network(low), expected)


def test_the_body_of_esrgan_begins_with_a_tenth_of_the_usual_weights():
    layers = [each for each in made(ESRGAN).generator.body.modules() if isinstance(each, nn.Conv2d)]
    assert len(layers) == 15
    for layer in layers:
        usual = (2 / layer.weight[0].numel()) ** 0.5
        assert float(layer.weight.detach().std()) == pytest.approx(0.1 * usual, rel=0.2)
        assert not layer.bias.any()


def test_both_players_of_esrgan_compare_with_the_mean_of_the_other_sort(monkeypatch):
    for name, weight in (("CONTENT", 0.0), ("ADVERSARIAL", 1.0), ("PIXEL", 0.0)):
        monkeypatch.setattr(esrgan, name, weight)
    model = shaken(made(ESRGAN)).train()
    model.critic = Brightness()
    image = coats(4, 32).input.float() / 255
    high, low = model.truth(image), model.given(image)
    with torch.no_grad():
        real, drawn = model.critic(high), model.critic(model.generator(low))
        assert real.std() > 0.1 and abs(float(real.mean() - drawn.mean())) > 0.1
        of = {
            "critic": -(real - drawn.mean()).sigmoid().log().mean()
            - (1 - (drawn - real.mean()).sigmoid()).log().mean(),
            "generator": -(drawn - real.mean()).sigmoid().log().mean()
            - (1 - (real - drawn.mean()).sigmoid()).log().mean(),
        }
    losses = dict(model.adversarial(low, high))
    for player, expected in of.items():
        assert float(losses[player].detach()) == pytest.approx(float(expected), rel=1e-4), player


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "RGBA", "I;16"])
def test_pictures_of_any_sort_stay_what_they_are(mode, tmp_path):
    ramp = np.linspace(0, 255, 20 * 12).reshape(12, 20)
    image = Image.fromarray(ramp.astype(np.uint8))
    if mode == "I;16":
        image = Image.fromarray((ramp * 257).astype(np.uint16))
    elif mode != "L":
        image = image.convert("RGB").convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.tile(np.arange(20, dtype=np.uint8) * 12, (12, 1))))
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(file)
    before = file.read_bytes()
    answer = made(SRGAN).predict(Picture.read(file))
    answer.save(tmp_path / "out" / "b.png")
    with Image.open(tmp_path / "out" / "b.png") as saved:
        assert saved.size == (40, 24)
        expected = {"I;16": "I;16", "CMYK": "RGB"}.get(mode, mode)
        assert saved.mode == expected
        if mode == "I;16":
            assert len(np.unique(np.asarray(saved))) > 256
        if mode == "RGBA":
            alpha = np.asarray(saved.getchannel("A"))
            assert alpha[:, 0].max() < 10 and alpha[:, -1].min() > 220
    assert file.read_bytes() == before
    assert (tmp_path / "out" / f"b.original{file.suffix}").read_bytes() == before


def test_a_picture_lies_as_its_orientation_says_and_one_pixel_is_enough(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (20, 12), "red").save(tmp_path / "a.jpg", exif=exif)
    assert made(SRGAN).predict(Picture.read(tmp_path / "a.jpg")).after.size == (24, 40)
    dot = Picture(Image.new("RGB", (1, 1), (9, 200, 30)))
    for kind in KINDS:
        assert made(kind).predict(dot).after.image.getpixel((1, 1)) == (9, 200, 30)


def test_what_would_be_too_large_and_scales_that_cannot_be_are_refused(monkeypatch):
    model = made(SRGAN)
    dot = Picture(Image.new("L", (5, 5)))
    assert model.predict(dot, scale=4).after.size == (20, 20)
    with pytest.raises(UserError, match="scale=3"):
        model.predict(dot, scale=3)
    monkeypatch.setattr(task_file, "MOST_MADE", 99)
    with pytest.raises(UserError) as caught:
        model.predict(dot)
    assert caught.value.code == "too large" and caught.value.fix


def test_a_reference_is_compared_and_another_size_told(tmp_path, capsys, photo):
    from souron.runs import folder
    from souron.utils import files

    run = tmp_path / "run"
    model = made(SRGAN)
    folder.write_args(
        run,
        {
            "system": "srgan_tiny",
            "config": folder.as_plain(model.config),
            "seen": folder.as_plain(model.spec),
            "data": "photo_patches",
        },
    )
    files.write_tensors(run / "weights" / "best.safetensors", model.state_dict(), {})
    high = Image.fromarray(photo)
    high.save(tmp_path / "high.png")
    high.resize((48, 48), Image.Resampling.BICUBIC).save(tmp_path / "low.png")
    ask = ["predict", str(run), str(tmp_path / "low.png"), "--json", f"out={tmp_path / 'made'}"]
    assert souron([*ask, "tile=32", f"reference={tmp_path / 'high.png'}"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"file", "out", "width", "height", "tiles", "seconds", "psnr", "ssim", "delta_e"} <= set(told)
    assert (told["width"], told["height"], told["tiles"]) == (96, 96, 4)
    with Image.open(told["out"]) as saved:
        grey = [color.rgb2ycbcr(np.asarray(one))[..., 0] for one in (saved, photo)]
    assert told["psnr"] == pytest.approx(metrics.peak_signal_noise_ratio(*grey, data_range=255), abs=0.01)
    assert souron([*ask, f"reference={tmp_path / 'low.png'}"]) != 0
    assert "96" in capsys.readouterr().err


def test_features_that_were_first_asked_while_predicting_can_teach():
    perceptual.network.cache_clear()
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        perceptual.features(image)
    image.requires_grad_()
    perceptual.features(image)[-1].square().mean().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0


def test_an_enlarger_is_measured_on_pictures_of_any_class():
    from shapes import coats

    from souron.runs import evaluate

    cases = coats(4, 32)
    assert set(cases.classes) - set(made(SRGAN).spec.labels)
    assert evaluate._with_classes_of(made(SRGAN), cases) is cases
