"""Colouring: Lab against scikit-image, the network's names and shapes as published, each mechanism
against what happens without it, object and ground apart, hints, and a run to its report."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import coats
from skimage.color import deltaE_ciede2000, rgb2lab

import souron
from souron import registry
from souron.blocks.lab import bins, lab, srgb
from souron.data.composing import stock
from souron.data.composing.cutouts import CATEGORIES
from souron.data.readers.run_lengths import area_of
from souron.data.sets import photo_scenes
from souron.evaluation.vision import image_to_image as evaluation
from souron.hub import weights
from souron.kinds.picture import Picture
from souron.runs import train
from souron.systems.image_to_image import colorizer
from souron.systems.image_to_image.colorizer import CLASSES, SCALE, Colorizer
from souron.tasks.image_to_image import Batch, Spec
from souron.utils.messages import UserError

PUBLISHED = {  # of eccv16 in github.com/richzhang/colorization: the weights of convolutions
    "model1.0": (64, 1, 3, 3),
    "model1.2": (64, 64, 3, 3),
    "model1.4": (64,),
    "model2.0": (128, 64, 3, 3),
    "model2.2": (128, 128, 3, 3),
    "model2.4": (128,),
    "model3.0": (256, 128, 3, 3),
    "model3.2": (256, 256, 3, 3),
    "model3.4": (256, 256, 3, 3),
    "model3.6": (256,),
    "model4.0": (512, 256, 3, 3),
    "model4.2": (512, 512, 3, 3),
    "model4.4": (512, 512, 3, 3),
    "model4.6": (512,),
    **{f"model{stack}.{layer}": (512, 512, 3, 3) for stack in (5, 6, 7) for layer in (0, 2, 4)},
    "model5.6": (512,),
    "model6.6": (512,),
    "model7.6": (512,),
    "model8.0": (512, 256, 4, 4),
    "model8.2": (256, 256, 3, 3),
    "model8.4": (256, 256, 3, 3),
    "model8.6": (313, 256, 1, 1),
    "model_out": (2, 313, 1, 1),
}


def made(size="tiny", side=32, **changes):
    torch.manual_seed(0)
    config = dataclasses.replace(Colorizer.SIZES[size], **changes)
    return Colorizer(config, Spec(3, side)).eval()


def taught(model, cases):
    """As after it has seen these pictures, its weights as they were."""
    colours = lab(cases.input.float() / 255)
    model.train().count(colours[:, :1] / 100, colours[:, 1:])
    return model.eval()


def test_lab_is_that_of_scikit_image_and_comes_back():
    image = torch.rand(2, 3, 9, 7)
    expected = rgb2lab(image.permute(0, 2, 3, 1).numpy())
    assert np.abs(lab(image).permute(0, 2, 3, 1).numpy() - expected).max() < 1e-3
    assert (srgb(lab(image)) - image).abs().max() < 1e-4


def test_names_and_shapes_are_those_published():
    with torch.device("meta"):
        reference = Colorizer(Colorizer.SIZES["paper"], Spec(3, 256))
    weights = {
        name.removesuffix(".weight"): tuple(weight.shape)
        for name, weight in reference.state_dict().items()
        if name.endswith(".weight")
    }
    assert weights == PUBLISHED
    apart = {n: m.dilation for n, m in reference.named_modules() if hasattr(m, "dilation")}
    assert [apart[f"model{stack}.0"] for stack in (4, 5, 6, 7)] == [(1, 1), (2, 2), (2, 2), (1, 1)]
    with torch.inference_mode():
        assert made()(torch.rand(1, 1, 256, 256)).shape == (1, CLASSES, 64, 64)


def test_the_authors_file_answers_as_it_is(tmp_path):
    torch.manual_seed(1)
    model = Colorizer(Colorizer.SIZES["paper"], Spec(3, 256)).eval()
    published = {n: w for n, w in model.state_dict().items() if n not in ("histogram", "total")}
    torch.save(published, tmp_path / "colorizer.pth")
    Image.fromarray(np.full((40, 56), 90, np.uint8)).save(tmp_path / "grey.png")
    said = souron.load(tmp_path / "colorizer.pth")(tmp_path / "grey.png")
    expected = model.predict(Picture.read(tmp_path / "grey.png"), size=256, temperature=1)  # as in their program
    difference = np.asarray(said.after.image, int) - np.asarray(expected.after.image, int)
    assert np.abs(difference).max() <= 1 and expected.after.image.getextrema()[0][0] != 90
    assert Colorizer.of_published({**published, "more": torch.zeros(1)}) is None
    assert Colorizer.of_published({**published, "model1.0.weight": torch.zeros(1)}) is None


def test_by_name_they_are_loaded_and_trained_on(tmp_path, monkeypatch):
    torch.manual_seed(1)
    reference = Colorizer(Colorizer.SIZES["paper"], Spec(3, 256)).eval()
    held = {n: w for n, w in reference.state_dict().items() if n not in ("histogram", "total")}
    with pytest.raises(UserError) as trouble:
        registry.load_task("image_to_image").published("colorizer_paper", True)
    assert trouble.value.fix == "souron fetch colorizer_paper"
    monkeypatch.setattr(weights, "weights", lambda *_names: held)
    task = registry.load_task("image_to_image")
    found = task.published("colorizer_paper", True)
    on = task.published("colorizer_paper", True, spec=Spec(3, 64))
    assert torch.equal(found.model3[0].weight, held["model3.0.weight"])
    assert torch.equal(on.model3[0].weight, held["model3.0.weight"]) and on.spec.side == 64
    assert on.model3[0].weight.requires_grad and not on.model_out.weight.requires_grad
    assert registry.published_from("colorizer_paper") == "ImageNet"


def test_every_colour_of_srgb_has_a_class_near_it():
    model = made()
    ab = lab(torch.rand(1, 3, 60, 60))[:, 1:]
    found = model.centres[model.classes(ab)].permute(0, 3, 1, 2)
    assert (found - ab).abs().max() <= colorizer.BIN
    far = torch.cdist(ab[0].flatten(1).T, model.centres).argmin(1)
    assert (far == model.classes(ab).flatten()).float().mean() > 0.95
    assert torch.equal(bins(10.0, CLASSES), bins(10.0, CLASSES).unique(dim=0))


def test_rare_colours_weigh_more_and_pixels_one_in_the_mean():
    cases = coats(64, 32)
    model = taught(made(), cases)
    weights, often = model.weights(), model.frequencies()
    assert float((weights * often).sum()) == pytest.approx(1, abs=1e-4)
    common, rare = often.argmax(), model.histogram.argmin()
    assert weights[rare] > 1.5 * weights[common]
    even = taught(made(balance=1.0), cases).weights()
    assert torch.allclose(even, torch.ones(CLASSES), atol=1e-3)


def test_a_colour_is_spread_over_its_five_nearest_classes():
    model = made()
    share = model.spread(torch.tensor([[0.0, 0.0], [14.0, 21.0]]))
    assert torch.allclose(share.sum(1), torch.ones(2))
    assert ((share > 0).sum(1) == 5).all()
    assert model.centres[share.argmax(1)].tolist() == [[0, 0], [10, 20]]
    grey, beside = (model.classes(torch.tensor(ab).view(1, 2, 1, 1)) for ab in ([0.0, 0], [10.0, 0]))
    ratio = float(share[0, beside] / share[0, grey])  # by a Gaussian of 5, a bin of 10 away
    assert ratio == pytest.approx(np.exp(-(10**2) / (2 * 5**2)), rel=1e-3)


def answering(model, logits):
    """The same of every place."""
    model.forward = lambda light: logits.view(1, -1, 1, 1).expand(
        len(light), -1, light.shape[2] // 4, light.shape[3] // 4
    )
    return model


def test_the_loss_is_the_surprise_of_spread_colours_by_how_rare_the_nearest_is():
    model = answering(taught(made(), coats(64, 32)), torch.randn(CLASSES))
    image = coats(4, 32, seed=1).input.float() / 255
    torch.manual_seed(3)
    found = model.loss(Batch(image, torch.zeros(4).long()))
    torch.manual_seed(3)
    down, right = (int(torch.randint(4, ())) for _axis in range(2))
    ab = lab(image)[:, 1:, down::4, right::4].permute(0, 2, 3, 1).reshape(-1, 2)
    far, which = (ab[:, None] - model.centres).square().sum(2).sort(1)
    share = torch.softmax(-far[:, :5] / (2 * 5**2), 1)
    logs = model(torch.zeros(1, 1, 4, 4))[0, :, 0, 0].log_softmax(0)
    surprise = -(share * logs[which[:, :5]]).sum(1)
    expected = (model.weights()[which[:, 0]] * surprise).mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-4)
    assert float(found) != pytest.approx(float(surprise.mean()), rel=1e-2)


def test_any_of_the_pixels_that_share_an_answer_may_be_learnt_from():
    torch.manual_seed(0)
    model = answering(made(), torch.randn(CLASSES))
    image = torch.rand(1, 3, 4, 4).repeat(1, 1, 4, 4)
    losses = {round(float(model.loss(Batch(image, torch.zeros(1).long()))), 4) for _ in range(60)}
    assert len(losses) > 10


def test_a_colour_beside_a_common_one_is_less_rare():
    """Neither was seen, but the histogram is smoothed."""
    model = made()
    common, beside, far = (
        int(model.classes(torch.tensor(ab).view(1, 2, 1, 1))) for ab in ([0.0, 0.0], [10.0, 0.0], [60.0, 0.0])
    )
    model.histogram[common] = 1000
    weights = model.weights()
    assert weights[common] < 0.9 * weights[beside] < 0.9 * 0.9 * weights[far]


def test_what_is_validated_on_is_not_counted():
    cases = coats(4, 32)
    colours = lab(cases.input.float() / 255)
    model = made()
    model.count(colours[:, :1] / 100, colours[:, 1:])
    assert not model.histogram.any() and not model.total.any()
    assert taught(model, cases).histogram.sum() == 4 * 32 * 32


def test_bits_are_those_of_honest_probabilities():
    """A network whose answers are the histogram by its weights costs what the histogram costs."""
    cases = coats(32, 32)
    model = taught(made(), cases)
    last = model.model8[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_((model.frequencies() * model.weights()).log())
        image = cases.input.float() / 255
        given = model.given(image)
        told = model.further(Batch(image, torch.zeros(32).long()), given, given)
    own, beside = told["colour bits"], told["histogram:colour bits"]
    assert own.shape == (32, 32, 32) and torch.allclose(own, beside, atol=1e-3)
    share = model.histogram / model.histogram.sum()
    entropy = -(share[share > 0] * share[share > 0].log2()).sum()
    assert float(beside.mean()) == pytest.approx(float(entropy), abs=0.02)


def test_a_colder_answer_is_more_vivid_and_its_lightness_stays():
    model = made()
    given = torch.rand(1, 1, 16, 24) * 0.4 + 0.3
    torch.nn.init.normal_(model.model8[-1].bias)
    with torch.inference_mode():
        spread = [model.colours(given, t).square().mean() for t in (0.05, 0.38, 1.0)]
        assert spread[0] > spread[1] > spread[2]
        answer = model.translated(given, torch.zeros(1))
        inside = (answer > 0.01).all(1) & (answer < 0.99).all(1)
        assert (lab(answer)[:, 0] / 100 - given[:, 0]).abs()[inside].max() < 1e-3


def test_what_it_sees_has_no_colours():
    image = torch.rand(2, 3, 16, 16)
    model = made()
    other = srgb(torch.cat([lab(image)[:, :1], torch.zeros(2, 2, 16, 16)], 1))
    assert torch.allclose(model.given(image), model.given(other), atol=1e-4)
    grey = model.visible(model.given(image))
    assert (grey.amax(1) - grey.amin(1)).max() < 1e-2


def test_object_and_ground_are_measured_apart_beside_grey_and_mean_colours():
    cases = coats(16, 32)
    answers = evaluation.answers_of(taught(made(), cases), cases)
    for name in (
        "colour difference",
        "grey:colour difference",
        "mean colour:colour difference",
        "colour bits",
        "histogram:colour bits",
    ):
        rival, colon, metric = name.rpartition(":")
        whole, thing, ground = (answers[f"{rival}{colon}{of}{metric}"].numpy() for of in ("", "object ", "ground "))
        share = np.array([area_of(text, 32).mean() for text in cases.columns["object"]])
        assert np.allclose(share * thing + (1 - share) * ground, whole, rtol=1e-5)
    one = cases.input[3].permute(1, 2, 0).numpy()
    grey = evaluation.as_bytes(made().visible(made().given(cases.input[3:4] / 255)))
    apart = deltaE_ciede2000(rgb2lab(grey[0].permute(1, 2, 0).numpy()), rgb2lab(one))
    inside = area_of(cases.columns["object"][3], 32)
    found = answers["grey:object colour difference"][3]
    assert float(found) == pytest.approx(apart[inside].mean(), abs=1e-6)
    assert float(answers["grey:chroma"].max()) < 0.05


def test_regression_learns_colours_by_the_same_network():
    cases = coats(64, 32)
    image = cases.input.float() / 255
    batch = Batch(image, torch.zeros(64).long())
    model = made(regression=True).train()
    loss = model.loss(batch)
    loss.backward()
    assert loss.ndim == 0 and model.model_out.weight.grad.abs().sum() > 0
    assert not made().model_out.weight.requires_grad
    assert model.eval().further(batch, model.given(image), image) == {}
    found = model.colours(model.given(image), 0.38)
    with torch.no_grad():
        expected = SCALE * model.model_out(model(model.given(image)))
    assert torch.allclose(found[:, :, ::4, ::4].mean(), expected.mean(), atol=1.0)


def test_pictures_of_any_sort_are_coloured_and_coloured_ones_noted():
    model = made()
    ramp = np.linspace(0, 255, 20 * 12).reshape(12, 20)
    for image in (Image.fromarray(ramp.astype(np.uint8)), Image.fromarray(ramp.astype(np.float32))):
        answer = model.predict(Picture(image))
        assert answer.after.image.mode == "RGB" and answer.after.size == (20, 12)
        assert not answer.note and "note" not in answer.as_json()
    dot = model.predict(Picture(Image.new("RGB", (1, 1), (200, 30, 30))))
    assert "lightness" in dot.note and dot.note in str(dot) and dot.as_json()["note"] == dot.note
    fine = np.asarray(model.predict(Picture(Image.new("L", (700, 600), 120))).after.image)
    assert fine.shape == (600, 700, 3)


def test_a_hint_colours_what_is_near_and_as_light():
    model = made()
    grey = np.full((32, 32), 90, np.uint8)
    grey[:, 16:] = 190
    picture = Picture(Image.fromarray(grey))
    before = np.asarray(model.predict(picture).after.image).astype(int)
    after = np.asarray(model.predict(picture, hints="8,16,#b03020").after.image).astype(int)
    moved = np.abs(after - before).sum(2)
    assert moved[16, 8] > 30 and moved[16, 8] > 5 * moved[16, 22]
    wanted = lab(torch.tensor([176.0, 48, 32]).view(1, 3, 1, 1) / 255)[0, 1:, 0, 0].numpy()
    assert np.abs(rgb2lab(after.astype(np.uint8))[16, 8, 1:] - wanted).max() < 12
    for wrong in ("8,16", "40,1,red", "1,1,#zzz", "a,b,red", ";".join(["1,1,red"] * 65)):
        with pytest.raises(UserError) as caught:
            model.predict(picture, hints=wrong)
        assert caught.value.code == "value" and caught.value.fix


def test_grey_pictures_teach_nothing():
    grey = dataclasses.replace(coats(16, 32), input=coats(16, 32).input[:, :1])
    with pytest.raises(UserError) as caught:
        Colorizer.spec_for(grey)
    assert caught.value.code == "grey" and caught.value.fix


@pytest.fixture(scope="module")
def scenes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photo_scenes, "COUNTS", {"train": 48, "val": 8, "test": 16})
        return photo_scenes.of(stock.drawn(CATEGORIES), 32)


def test_scenes_show_one_thing_and_share_none_between_parts(scenes):
    assert set(scenes.part) == {"train", "val", "test"}
    sides = {}
    for group, part in zip(scenes.group, scenes.part, strict=True):
        sides.setdefault(group, set()).add(part)
    assert all(len(parts) == 1 for parts in sides.values())
    assert {"noise", "grass"} <= set(scenes.columns["ground"])
    shares = [area_of(text, 32).mean() for text in scenes.columns["object"]]
    assert min(shares) > 0.03 and max(shares) < 0.75


def test_a_run_to_its_report_says_where_grey_is_better(tmp_path, monkeypatch):
    monkeypatch.setattr(photo_scenes, "COUNTS", {"train": 48, "val": 8, "test": 16})
    record = train.train("colorizer_tiny", "drawn_photo_scenes", budget="64ex", batch=16, side=32, project=tmp_path)
    assert {"colour difference", "object colour bits", "chroma"} <= set(record.measures)
    assert {"grey", "mean colour", "histogram"} <= set(record.details.rivals)
    grey = record.details.rivals["grey"]
    won, of = grey.better["object colour difference"]
    assert any(f"in {of - won} of {of}" in note for note in record.notes) == (won <= of / 2)
    report = (record.folder / "report.html").read_text(encoding="utf-8")
    assert "CIEDE2000" in report and "the mean colour of that lightness" in report
