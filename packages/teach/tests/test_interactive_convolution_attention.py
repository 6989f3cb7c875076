"""Convolution and attention by hand: what the script computes is what PyTorch computes."""

import base64
import re

import browsing
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from souron.data.dataset import Rows
from souron.hub import zoo
from souron.kinds.picture import Picture
from souron.studio import interactive
from souron.studio.interactives import convolution_attention as by_hand
from souron.studio.model_cache import models
from souron.utils.messages import UserError

pytestmark = pytest.mark.skipif(zoo.where("vit") is None, reason="souron-zoo is not installed")


def unpacked(text):
    return np.frombuffer(base64.b64decode(text), np.uint8)


def sent(picture):
    image = picture.image.convert("RGB")
    return {"width": image.width, "height": image.height, "rgb": base64.b64encode(image.tobytes()).decode()}


def layers(network, **where):
    return by_hand.answer({"picture": 0, "network": network, **where})["layers"]


def size(layer):
    top, left, bottom, right = layer["box"]
    return bottom - top, right - left


def test_photographs_come_before_garments_and_an_own_one_counts_as_its_file():
    first = by_hand.files()[0]
    own = by_hand.answer({"own": sent(Picture.read(by_hand.files()[-1]))})
    assert by_hand.answer({"picture": len(by_hand.files()) - 1}) == own
    assert len(unpacked(own["grey"])) == by_hand.SIDE**2
    assert first.stem in ("chelsea", "coffee", "astronaut", "rocket") or first in interactive.examples("vit")


def test_receptive_fields_grow_as_kernels_and_strides_say():
    found = layers("cnn")
    assert [(each["kind"], each["side"]) for each in found[:4]] == [
        ("Conv2d", 28),
        ("MaxPool2d", 14),
        ("Conv2d", 14),
        ("MaxPool2d", 7),
    ]
    assert [size(each) for each in found[:4]] == [(3, 3), (4, 4), (8, 8), (10, 10)]
    assert found[0]["box"] == [13, 13, 16, 16] and (found[0]["y"], found[0]["x"]) == (14, 14)
    assert found[-1]["kind"] == "Linear" and size(found[-1]) == (28, 28)
    values = unpacked(found[0]["values"]).reshape(28, 28)
    assert (values > 0).sum() <= 9 and values.max() == 255


def test_the_receptive_field_of_a_resnet_covers_the_image_before_its_last_layer():
    found = layers("resnet")
    widths = [size(each)[0] for each in found]
    assert widths[0] == 3 and widths[1] == 5
    assert max(widths[:-1]) == 28
    assert len(found) > 10


def test_a_unit_in_the_corner_sees_the_corner():
    assert layers("cnn", y=0, x=0)[0]["box"] == [0, 0, 2, 2]
    assert layers("cnn", y=1, x=0)[0]["box"] == [26, 0, 28, 2]


def test_attention_and_tokens_are_those_of_the_vit():
    small = Picture.read(by_hand.files()[0]).square(28, 1)[None]
    about = by_hand.answer({"picture": 0})
    with models.answering("vit") as model, torch.no_grad():
        system = model.system.eval()
        image = system.batch(Rows(small, None)).image
        layer = system.encoder.layers[2].self_attention
        passed = []
        hook = layer.register_forward_hook(lambda _layer, given, made: passed.append((given[0], made)))
        scores = system(image)
        hook.remove()
        given, made = passed[0]
        weights = by_hand.attention(system, image, 2)
        value = F.linear(given, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1)[2]
        mixed = weights @ value.unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        torch.testing.assert_close(layer.out_proj(mixed.transpose(1, 2).flatten(2)), made, atol=1e-5, rtol=1e-4)
        patches = system.conv_proj(image)[0].flatten(1).T
        names = system.spec.labels
    found = by_hand.answer({"picture": 0, "block": 2, "head": 1})["weights"]
    np.testing.assert_allclose(found, weights[1], atol=1e-4)
    np.testing.assert_allclose(np.sum(found, 1), 1, atol=0.01)
    most = float(patches.abs().max())
    shown = unpacked(about["tokens"]).reshape(about["grid"] ** 2, about["width"]) / 255 * 2 * most - most
    np.testing.assert_allclose(shown, patches, atol=most / 200)
    assert about["said"][0][0] == names[int(scores.argmax())]


def test_bad_photographs_and_layers_are_refused():
    whole = sent(Picture(Image.new("RGB", (3, 2))))
    for asked in (
        {"picture": 99},
        {"picture": 0, "block": 9},
        {"picture": 0, "block": 0, "head": 4},
        {"picture": 0, "network": "vgg"},
        {"picture": 0, "network": "cnn", "y": 2},
        {"own": whole | {"height": 3}},
        {"own": whole | {"rgb": "ÿ"}},
    ):
        with pytest.raises(UserError):
            by_hand.answer(asked)


def test_all_requests_of_the_record_are_answered():
    answers = [interactive.answer("convolution_attention", asked) for asked in by_hand.record()]
    assert 100_000 < sum(len(str(each)) for each in answers) < 3_000_000  # bytes of an exported page


def numbers(page, part):
    return [float(value) for value in re.findall(r"-?\d+\.\d+", page.locator(f"[data-part={part}]").inner_text())]


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_the_script_convolves_as_torch_does(looked_at):
    grey = torch.from_numpy(unpacked(by_hand.answer({"picture": 0})["grey"]).copy()).double().view(1, 1, 64, 64)
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/en/interactives?name=convolution_attention")
        page.locator("[data-do=skip]").click()
        page.wait_for_selector("[data-ready]")
        for preset, stride, padding, dilation in (("blur", 1, 1, 1), ("vertical", 2, 0, 1), ("emboss", 3, 3, 4)):
            page.locator("[name=preset]").select_option(preset)
            for name, value in (("stride", stride), ("padding", padding), ("dilation", dilation)):
                page.locator(f"[name={name}]").fill(str(value))
            page.locator("[name=k1]").fill("-0.7")  # by hand
            page.locator("canvas[data-canvas=output]").focus()
            page.keyboard.press("ArrowDown")
            kernel = torch.tensor([float(page.locator(f"[name=k{i}]").input_value()) for i in range(9)]).double()
            divisor = float(page.locator("[name=divisor]").input_value())
            assert divisor == (9 if preset == "blur" else 1)
            made = F.conv2d(grey, kernel.view(1, 1, 3, 3) / divisor, None, stride, padding, dilation)[0, 0]
            assert f"become {made.shape[0]} × {made.shape[0]};" in page.locator("[data-part=size]").inner_text()
            expected = [made.min().item(), made.max().item(), made.mean().item()]
            assert numbers(page, "size")[:3] == pytest.approx(expected, abs=0.006)
            text = page.locator("[data-part=pixel]").inner_text()
            row, column = (int(value) for value in re.findall(r"\d+", text)[:2])
            assert float(text.rpartition("=")[2]) == pytest.approx(made[row - 1, column - 1].item(), abs=0.006)
        assert visit.outside == [] and visit.errors == []


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_the_script_attends_as_torch_does_and_every_control_works(looked_at, tmp_path):
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/en/interactives?name=convolution_attention")
        page.locator("[data-do=skip]").click()
        page.wait_for_selector("[data-ready]")
        page.locator("[name=count]").select_option("4")
        page.locator("[name=q01]").fill("-1.5")
        page.locator("[name=w0]").fill("銀行")
        vectors = [
            torch.tensor(
                [[float(page.locator(f"[name={kind}{i}{d}]").input_value()) for d in (0, 1)] for i in range(4)]
            )
            for kind in "qkv"
        ]
        for causal in (False, True):
            page.locator("[name=causal]").set_checked(causal)
            scores = vectors[0] @ vectors[1].T / 2**0.5
            scores = scores.masked_fill(torch.ones(4, 4).triu(1) > 0, -torch.inf) if causal else scores
            output = F.scaled_dot_product_attention(*(each[None] for each in vectors), is_causal=causal)[0]
            shown = torch.tensor(numbers(page, "attention")).view(4, 6)
            torch.testing.assert_close(shown[:, :4], scores.softmax(1), atol=0.0006, rtol=0)
            torch.testing.assert_close(shown[:, 4:], output, atol=0.006, rtol=0)
        assert "銀行" in page.locator("[data-part=attention]").inner_text()
        page.locator("[name=network]").select_option("resnet")
        page.wait_for_selector(".interactive[aria-busy]", state="detached")
        page.locator("[name=depth]").fill("3")
        assert "conv" in page.locator("[data-part=layer]").inner_text()
        page.locator("[name=block]").fill("3")
        page.locator("[name=head]").fill("2")
        page.wait_for_selector(":text('layer 3, head 2')")
        page.locator("canvas[data-canvas=patches]").focus()
        page.keyboard.press("ArrowUp")
        row = by_hand.answer({"picture": 0, "block": 2, "head": 1})["weights"][1 + 2 * 7 + 3]
        best = numbers(page, "looks")
        assert best == pytest.approx([100 * max(row[1:]), 100 * row[0], 100 * row[1 + 2 * 7 + 3]], abs=0.06)
        page.locator("[name=first]").check()
        assert "class token is learnt" in page.locator("[data-part=became]").inner_text()
        before = page.locator("[data-part=size]").inner_text()
        file = tmp_path / "写真.png"
        Picture.read(by_hand.files()[1]).save(file)
        page.locator("[data-part=photo]").set_input_files(str(file))
        page.wait_for_function("text => document.querySelector('[data-part=size]').innerText !== text", arg=before)
        page.wait_for_selector(".interactive[aria-busy]", state="detached")
        page.locator("[name=picture]").select_option("2")
        page.wait_for_selector(".interactive[aria-busy]", state="detached")
        assert visit.outside == [] and visit.errors == []
