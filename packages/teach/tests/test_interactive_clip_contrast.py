"""Contrast: the matrix is the system's own answer, and the page's loss and pull are PyTorch's."""

import base64
import re

import browsing
import numpy as np
import pytest
import torch
from PIL import Image

from souron.blocks.clip import contrast
from souron.hub import zoo
from souron.kinds.picture import Picture
from souron.studio import interactive
from souron.studio.interactives import clip_contrast
from souron.studio.model_cache import models
from souron.utils.messages import UserError

pytestmark = pytest.mark.skipif(zoo.where("clip") is None, reason="souron-zoo is not installed")
TEXTS = [str(sentence) for sentence in clip_contrast.SENTENCES]
ASKED = {"model": "clip", "images": [0, 1, 2, 3], "texts": TEXTS}


@pytest.fixture(scope="module")
def found():
    return clip_contrast.answer(ASKED)


def sent(picture):
    image = picture.image.convert("RGB")
    return {"width": image.width, "height": image.height, "rgb": base64.b64encode(image.tobytes()).decode()}


def test_the_matrix_is_the_systems_own_answer(found):
    with models.answering("clip") as model:
        for row, file in zip(found["cosine"], interactive.examples("clip"), strict=True):
            ranking = model.system.predict(Picture.read(file), texts="|".join(TEXTS))
            own = {each.text: each.score for each in ranking.texts}
            assert row == pytest.approx([own[text] for text in TEXTS], abs=1e-5)
        assert found["scale"] == pytest.approx(model.system.scale.item())
    assert np.diag(found["images"]) == pytest.approx(1, abs=1e-5)
    assert np.diag(found["texts"]) == pytest.approx(1, abs=1e-5)


def test_each_image_finds_its_sentence(found):
    assert np.argmax(found["cosine"], 1).tolist() == np.argmax(found["cosine"], 0).tolist() == [0, 1, 2, 3]


def test_an_own_image_counts_as_the_same_file_would(found):
    file = interactive.examples("clip")[1]
    own = clip_contrast.answer(ASKED | {"images": [sent(Picture.read(file)), 0]})
    assert own["cosine"][0] == pytest.approx(found["cosine"][1], abs=1e-5)
    assert own["cosine"][1] == pytest.approx(found["cosine"][0], abs=1e-5)


def test_bad_images_and_sentences_are_refused():
    whole = sent(Picture(Image.new("RGB", (3, 2))))
    for changed in (
        {"images": []},
        {"images": [99]},
        {"images": [0] * 7},
        {"images": "0"},
        {"texts": []},
        {"texts": [""]},
        {"texts": ["a" * 201]},
        {"texts": [1]},
        {"model": "clip_tiny"},
        {"images": [whole | {"width": 4}]},
        {"images": [whole | {"width": 10**5, "height": 10**5}]},
        {"images": [whole | {"rgb": "*"}]},
        {"images": [whole | {"rgb": None}]},
    ):
        with pytest.raises(UserError):
            clip_contrast.answer(ASKED | changed)


def test_all_requests_of_the_record_are_answered():
    answers = [interactive.answer("clip_contrast", asked) for asked in clip_contrast.record()]
    assert len(answers[0]["examples"]) == 4 and len(answers[-1]["cosine"]) == 4 and len(answers) == 16
    side = answers[0]["side"]
    assert len(base64.b64decode(answers[0]["examples"][0])) == 3 * side**2


def pull(found, scale, count, image, text):
    """The tangential pull of one cell, and of all sentences on the image, by autograd."""
    rows = torch.tensor(found["cosine"], dtype=torch.float64)[:count, :count]
    logits = (scale * rows).requires_grad_()
    own = torch.arange(count)
    loss = (torch.nn.functional.cross_entropy(logits, own) + torch.nn.functional.cross_entropy(logits.T, own)) / 2
    loss.backward()
    slope = -scale * logits.grad  # of the cosines
    gram, cosine = torch.tensor(found["texts"], dtype=torch.float64)[:count, :count], rows[image]
    tangent = gram - cosine[:, None] * cosine[None]
    whole = (slope[image] @ tangent @ slope[image]).sqrt()
    return loss.item(), (slope[image, text] * (1 - cosine[text] ** 2).sqrt()).item(), whole.item()


def test_the_loss_by_hand_is_that_of_clip(found):
    with models.answering("clip") as model, torch.no_grad():
        system = model.system
        pixels = torch.stack([system.pixels(Picture.read(file)) for file in interactive.examples("clip")])
        own = contrast(system.see(pixels), system.read(system.tokens(TEXTS)), system.scale, torch.eye(4) > 0)
    assert pull(found, found["scale"], 4, 0, 0)[0] == pytest.approx(own.item(), abs=1e-4)


def numbers(page, part):
    return [float(value) for value in re.findall(r"\d+\.\d+", page.locator(f"[data-part={part}]").inner_text())]


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_the_page_shows_the_same_numbers_and_every_control_works(looked_at, found, tmp_path):
    with browsing.visiting() as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/en/interactives?name=clip_contrast")
        page.locator("[data-do=skip]").click()
        page.wait_for_selector("[data-ready]")
        shown = [float(text) for text in page.locator("[data-cell]").all_inner_texts()]
        assert shown == pytest.approx(np.array(found["cosine"]).flatten().tolist(), abs=0.0051)
        page.locator("[name=own]").check()
        assert numbers(page, "loss")[0] == pytest.approx(pull(found, found["scale"], 4, 0, 0)[0], abs=2e-4)
        page.locator("[name=temperature]").fill("0.2")  # which ends that
        assert not page.locator("[name=own]").is_checked()
        page.locator("[data-cell='1,2']").focus()
        page.keyboard.press("Enter")
        loss, cell, whole = pull(found, 5.0, 4, 1, 2)
        assert numbers(page, "loss")[0] == pytest.approx(loss, abs=2e-4)
        assert numbers(page, "pull")[:2] == pytest.approx([abs(cell), whole], abs=2e-4)
        assert ("apart" in page.locator("[data-part=pull]").inner_text()) == (cell < 0)
        logits = 5 * torch.tensor(found["cosine"])
        for kind, dim in (("rows", 1), ("columns", 0)):
            page.locator("[name=shown]").select_option(kind)
            shares = [float(text.rstrip(" %")) for text in page.locator("[data-cell]").all_inner_texts()]
            assert shares == pytest.approx((100 * logits.softmax(dim)).flatten().tolist(), abs=0.51)
        assert (
            f"sentence 2 ({TEXTS[1]}), {100 * logits.softmax(1)[1, 1]:.1f} %"
            in page.locator("[data-part=zero]").inner_text()
        )
        page.locator("[data-part=images] button").nth(3).click()  # out of the batch
        page.wait_for_selector("[data-cell='3,0']", state="detached")
        page.locator("[data-cell='0,3']").click()
        assert "no partner" in page.locator("[data-part=pull]").inner_text()
        file = tmp_path / "猫.png"
        Picture.read(interactive.examples("clip")[3]).save(file)
        page.locator("[data-part=photo]").set_input_files(str(file))
        page.wait_for_selector("[data-cell='3,0']")
        page.locator("[name=shown]").select_option("cosine")
        own = float(page.locator("[data-cell='3,3']").inner_text())
        assert own == pytest.approx(found["cosine"][3][3], abs=0.0051)
        page.locator("[name=text3]").fill("a red bird")
        page.locator("[data-do=compare]").click()
        page.wait_for_selector(".interactive[aria-busy]", state="detached")
        again = clip_contrast.answer({"model": "clip", "images": [3], "texts": ["a red bird"]})["cosine"][0][0]
        assert float(page.locator("[data-cell='3,3']").inner_text()) == pytest.approx(again, abs=0.0051)
        assert visit.outside == [] and visit.errors == []
