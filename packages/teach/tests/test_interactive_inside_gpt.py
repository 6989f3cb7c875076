"""Inside a GPT: what is shown is what the decoder computes."""

import base64
import json
import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import browsing
import numpy as np
import pytest
import torch

from souron import registry
from souron.blocks.decoder import Decoder, named
from souron.evaluation.language import inside_decoder
from souron.hub import zoo
from souron.studio import model_cache
from souron.studio.interactives import inside_gpt
from souron.studio.security import paths
from souron.utils.messages import UserError

READY = pytest.mark.skipif(zoo.where("gpt_small") is None, reason="souron-zoo is not installed")
ASKED = {"model": "gpt_small", "text": "To insert a table", "more": [], "untrained": False, "layer": 1}


@pytest.mark.parametrize("structure", ["modern", "gpt2", "smollm2"])
def test_attention_weights_times_values_are_what_the_decoder_mixes(structure):
    torch.manual_seed(0)
    decoder = Decoder(named(structure, 50, 16, 2, 48, 6)).eval()
    for weight in decoder.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    tokens = torch.randint(50, (9,))
    found = inside_decoder.trace(decoder, tokens)
    s = decoder.structure
    torch.testing.assert_close(found.attention.sum(-1), torch.ones(2, 6, 9))
    assert not found.attention.triu(1).any()  # no token attends to a later one
    values = found.values.repeat_interleave(s.heads // s.shared, 1)
    torch.testing.assert_close(found.attention @ values, found.mixed, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(found.logits, decoder(tokens[None])[0])
        out = decoder.blocks[1].attention.out(found.mixed[1].transpose(0, 1).reshape(9, 48))
        x = found.embedding if s.rotary else found.embedding + decoder.places(torch.arange(9))
        turn = decoder.turn(torch.arange(9), x.dtype) if s.rotary else None
        x = decoder.blocks[0](x[None], turn, None, 0, lambda layer, name, given, made: made)
        block = decoder.blocks[1]
        attended = x + out
        expected = attended + block.mlp.down(found.hidden[1])
        torch.testing.assert_close(block(x, turn, None, 1, lambda layer, name, given, made: made), expected)
        torch.testing.assert_close(inside_decoder.cached_logits(decoder, tokens), found.logits[-1])


def test_heads_are_described_by_what_they_attend_to():
    count = 8
    previous = torch.diag(torch.ones(count - 1), -1)
    previous[0, 0] = 1
    first = torch.zeros(count, count)
    first[:, 0] = 1
    equal = torch.ones(count, count).tril()
    equal /= equal.sum(1, keepdim=True)
    one, two, three = inside_decoder.heads(torch.stack([previous, first, equal])[None])
    assert (one.previous, one.first, one.entropy) == (1, 0, 0)
    assert (two.previous, two.first, two.entropy) == (0, 1, 0)
    entropy, share = inside_decoder.uniform(count)
    assert three.entropy == pytest.approx(entropy) and three.previous == three.first == pytest.approx(share)
    assert inside_decoder.heads(torch.ones(1, 1, 2, 2)) == []


@READY
def test_the_page_shows_the_models_own_numbers():
    from souron.model import load

    told = inside_gpt.answer(ASKED)
    system = load("gpt_small").system
    ids = [system.tokenizer.start, *system.tokenizer.encode(ASKED["text"])]
    assert [each for each, _text in told["tokens"]] == ids
    with torch.no_grad():
        logits = system(torch.tensor([ids]))[0, -1]
    sent = np.frombuffer(base64.b64decode(told["logits"]), "<f4")
    torch.testing.assert_close(torch.tensor(sent).softmax(0), logits.softmax(0))
    assert [each for each, _text in told["top"]] == logits.topk(inside_gpt.TOP).indices.tolist()
    attention = np.frombuffer(base64.b64decode(told["attention"]), np.uint8).reshape(told["count"], len(ids), -1)
    found = inside_decoder.trace(system.decoder, torch.tensor(ids)).attention[1]
    assert np.abs(attention / 255 - found.numpy()).max() <= 0.51 / 255
    assert told["difference"] < 1e-4 and told["layers"] == len(told["heads"]) / told["count"]


@READY
def test_untrained_heads_are_alike_and_trained_ones_are_not():
    trained = inside_gpt.answer(ASKED | {"text": inside_gpt.first_text()})
    untrained = inside_gpt.answer(ASKED | {"text": inside_gpt.first_text(), "untrained": True})
    assert untrained["other"] == trained["heads"] and untrained["heads"] == trained["other"]
    spread = [np.std([head[2] for head in each["heads"]]) for each in (trained, untrained)]
    assert spread[0] > 3 * spread[1]


@READY
def test_a_long_text_is_cut_and_an_appended_token_is_read():
    told = inside_gpt.answer(ASKED | {"text": "table " * 200})
    assert len(told["tokens"]) == inside_gpt.MOST and told["left"] > 100
    told = inside_gpt.answer(ASKED | {"more": [7, 300]})
    assert [each for each, _text in told["tokens"]][-2:] == [7, 300]


@READY
@pytest.mark.parametrize(
    "wrong",
    [
        {"text": None},
        {"text": "x" * 3000},
        {"more": [4096]},
        {"more": [True]},
        {"more": "1"},
        {"layer": 4},
        {"model": "/etc"},
        {"model": "run:../../x"},
    ],
)
def test_what_is_out_of_bounds_is_refused(wrong):
    with pytest.raises(UserError):
        inside_gpt.answer(ASKED | wrong)


@READY
def test_a_run_of_the_readers_own_can_be_chosen(tmp_path):
    folder = tmp_path / "complete" / "mine"
    shutil.copytree(zoo.where("gpt"), folder)
    token = paths.PLACE.set(tmp_path / ".studio" / "temporary" / "x")
    try:
        assert ("run:mine", str(folder)) in [(value, name) for value, _shown, name in inside_gpt.models()]
        assert inside_gpt.answer(ASKED | {"model": "run:mine"})["layers"] == 3
    finally:
        paths.PLACE.reset(token)


@READY
def test_a_published_model_is_shown_in_bfloat16(monkeypatch):
    kind, config = registry.load_system("open_model_tiny")  # the weights of gpt, read as a published model
    system = kind(config, None)
    monkeypatch.setattr(inside_gpt, "models", lambda: [("smollm2", "", "smollm2")])
    monkeypatch.setattr(model_cache.models, "answering", lambda name: nullcontext(SimpleNamespace(system=system)))
    told = inside_gpt.answer(ASKED | {"model": "smollm2"})
    assert told["layers"] == 3 and told["other"] == [] and len(told["heads"]) == 9
    blank = inside_gpt.answer(ASKED | {"model": "smollm2", "untrained": True})
    assert blank["heads"] != told["heads"] and blank["tokens"] == told["tokens"]


@READY
def test_the_record_answers_what_the_page_asks():
    asked = list(inside_gpt.record())
    told = [inside_gpt.answer(each) for each in asked]
    assert len(asked) == 16 and all(each["logits"] for each in told)
    assert sum(len(json.dumps(each)) for each in told) < 3_000_000


def drawn(logits, temperature, topk, topp):
    """Chances with temperature, top-k and top-p, written as in a textbook."""
    chances, order = (logits / temperature).softmax(0).sort(descending=True)
    if topk:
        chances[topk:] = 0
        chances = chances / chances.sum()
    chances[chances.cumsum(0) - chances > topp] = 0
    return chances / chances.sum(), order


@READY
@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
def test_the_script_computes_the_chances_and_appends_a_token(looked_at):
    told = inside_gpt.answer(ASKED | {"layer": 0, "text": inside_gpt.first_text()})
    logits = torch.tensor(np.frombuffer(base64.b64decode(told["logits"]), "<f4").copy())
    with browsing.visiting(width=390) as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/en/interactives?name=inside_gpt")
        page.locator("[data-do=skip]").click()
        page.wait_for_selector("[data-ready]")
        for temperature, topk, topp in ((1, 0, 1), (0.5, 5, 1), (1.5, 8, 0.5)):
            for name, value in (("temperature", temperature), ("topk", topk), ("topp", topp)):
                slide(page, name, value)
            chances, _order = drawn(logits, temperature, topk, topp)
            shown = page.locator("[data-part=next] button").all_inner_texts()
            for text, chance in zip(shown, chances.tolist(), strict=False):
                assert float(text.split()[-2]) == pytest.approx(100 * chance, abs=0.006)
            assert f"{int((chances > 0).sum())} tokens" in page.locator("[data-part=likely]").inner_text()
        count = len(told["tokens"])
        page.locator("[data-part=next] button").first.press("Enter")
        page.wait_for_selector(f"[data-part=tokens] li:nth-child({count + 1})")
        assert f"Keys and values of {count} tokens are kept, of 1" in page.locator("[data-part=cache]").inner_text()
        for does in ("draw", "back", "look"):
            page.locator(f"[data-do={does}]").press("Enter")
            browsing.settle(page)
        assert page.locator("[data-part=tokens] li").count() == count
        page.locator("[name=weights]").select_option("untrained")
        slide(page, "layer", 2)
        page.wait_for_selector(":text('Layer 2, head 1')")
        page.locator("canvas[data-canvas=layers]").press("ArrowRight")
        assert "head 2" in page.locator("[data-part=attends]").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert visit.outside == [] and visit.errors == []


def slide(page, name, value):
    page.locator(f"[name={name}]").evaluate(
        "(range, value) => { range.value = value; for (const kind of ['input', 'change'])"
        " range.dispatchEvent(new Event(kind, { bubbles: true })); }",
        value,
    )
    browsing.settle(page)
