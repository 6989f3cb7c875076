"""``souron generate`` with a prompt: what is asked for stands in the file, and is drawn again."""

import json
import shlex

import pytest
from PIL import Image
from shapes import captioned as captioned_shapes

from souron.actions.memorisation import Memorisation
from souron.cli import main
from souron.evaluation.generators import prompt_adherence
from souron.evaluation.record import DrawnRecord
from souron.kinds.codecs import provenance
from souron.runs import events as runs_events
from souron.runs import generate, train
from souron.utils.messages import UserError

PROMPT = "a red coin on the left, on sand"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures with captions in a folder, as people have them."""
    folder = tmp_path_factory.mktemp("captions")
    data = captioned_shapes(60, 32)
    lines = []
    for row in range(len(data)):
        name = f"{row:02}.png"
        Image.fromarray(data.input[row].permute(1, 2, 0).numpy()).save(folder / name)
        texts = {f"text_{caption.language}": caption.text for caption in data.target[row]}
        lines.append(json.dumps({"file_name": name, **texts}, ensure_ascii=False))
    (folder / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    project = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURON_CACHE", str(project / "cache"))
        patch.setattr(prompt_adherence, "EXAMPLES", 256)
        yield train.train(
            "latent_diffusion_tiny", data=folder, budget="4 epochs", batch=16, samples=8, side=32, project=project
        ).folder


def drawn(run, tmp_path, name="out", **options) -> DrawnRecord:
    return generate.generate(run, out=tmp_path / name, **{"n": 2, "steps": 3, **options})


def pixels(file):
    with Image.open(file) as image:
        return image.convert("RGB").tobytes()


def test_a_run_on_a_folder_says_whether_captions_are_found(run):
    receipt = json.loads((run / "receipt.json").read_text("utf-8"))
    assert "caption found" in receipt["measures"]
    assert "attribute accuracy" not in receipt["measures"]  # nobody knows them
    assert "share of the way" in (run / "report.html").read_text("utf-8")


def test_all_that_was_asked_for_stands_in_the_file_and_is_drawn_again(run, tmp_path, monkeypatch):
    record = drawn(run, tmp_path, prompt=PROMPT, negative="night", guidance=2.5, seed=4, n=3)
    second = record.files[1]
    settings = provenance.settings_of(second)
    assert settings["prompt"] == PROMPT and settings["negative"] == "night"
    assert (settings["guidance"], settings["steps"], settings["seed"]) == (2.5, 3, 4)
    [again] = [event.record for event in generate.like(second, run=run, out=tmp_path / "again") if event.record]
    assert again.count == 1 and pixels(again.files[0]) == pixels(second)
    [other] = [
        event.record
        for event in generate.like(second, run=run, out=tmp_path / "other", prompt="a blue sign")
        if event.record
    ]
    assert pixels(other.files[0]) != pixels(second)
    with pytest.raises(UserError) as told:
        list(generate.like(second))  # no run below the folder that one is in
    assert told.value.code == "no run"
    place = tmp_path / "home" / "runs" / "text_to_image"
    place.mkdir(parents=True)
    (place / "mine").symlink_to(run)
    monkeypatch.chdir(tmp_path / "home")
    *_before, last = generate.like(second)
    assert pixels(last.record.files[0]) == pixels(second)


def test_a_picture_of_a_seed_is_the_same_in_any_batch_and_prompts_take_turns(run, tmp_path):
    one = drawn(run, tmp_path, "one", prompt="a red coin|a blue sign", n=4)
    two = drawn(run, tmp_path, "two", prompt="a blue sign", n=1, first=1)
    assert pixels(one.files[1]) == pixels(two.files[0])
    assert pixels(one.files[0]) != pixels(one.files[2])


def test_what_stands_in_json(run, tmp_path):
    told = drawn(run, tmp_path, prompt=PROMPT + " with a dragon", negative="night").as_json()
    assert told["prompt"].startswith(PROMPT) and told["negative"] == "night"
    assert {"files", "seed", "steps", "guidance", "seconds"} <= set(told)
    assert "dragon" in told["notes"][0] and "red" not in told["notes"][0]


def test_from_a_picture_and_where_it_is_drawn_anew(run, folder, tmp_path):
    image = folder / "00.png"
    mask = Image.new("L", (32, 32))
    mask.paste(255, (16, 0, 32, 32))
    mask.save(tmp_path / "mask.png")
    before = image.read_bytes()
    options = {"prompt": PROMPT, "image": image, "n": 1}
    whole = drawn(run, tmp_path, "whole", **options)
    half = drawn(run, tmp_path, "half", mask=tmp_path / "mask.png", **options)
    left = (0, 0, 16, 32)
    with Image.open(image) as start, Image.open(half.files[0]) as some:
        assert start.convert("RGB").crop(left).tobytes() == some.convert("RGB").crop(left).tobytes()
        assert start.convert("RGB").tobytes() != some.convert("RGB").tobytes()
    with Image.open(image) as start, Image.open(whole.files[0]) as all_of_it:
        assert start.convert("RGB").crop(left).tobytes() != all_of_it.crop(left).tobytes()
    same = drawn(run, tmp_path, "same", strength=0, **options)
    assert pixels(same.files[0]) == pixels(image)
    drawn(run, tmp_path, "all", strength=1, **options)
    assert image.read_bytes() == before
    Image.new("L", (64, 20), 255).save(tmp_path / "large.png")  # of another size
    drawn(run, tmp_path, "large", mask=tmp_path / "large.png", **options)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"prompt": "   "}, "prompt"),
        ({"prompt": "x" * 3000}, "prompt"),
        ({"prompt": "a coin|"}, "prompt"),
        ({"label": "coin"}, "label"),
        ({"given": "EMPTY"}, "given"),
        ({"mask": "EMPTY"}, "mask"),
        ({"image": "EMPTY", "mask": "EMPTY"}, "mask"),
        ({"strength": 0.5}, "option"),
        ({"image": "nowhere.png"}, "missing"),
        ({"steps": 0}, "value"),
        ({"guidance": "nan"}, "value"),
    ],
)
def test_what_makes_no_sense_is_refused(run, tmp_path, options, code):
    Image.new("L", (32, 32)).save(tmp_path / "EMPTY.png")
    options = {name: str(tmp_path / "EMPTY.png") if value == "EMPTY" else value for name, value in options.items()}
    with pytest.raises(UserError) as told:
        drawn(run, tmp_path, **{"n": 1, **options})
    assert told.value.code == code
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("prompt", ["a dragon", "竜の絵", "a coin|a castle under the moon"])
def test_a_prompt_in_words_that_no_caption_has_is_asked_about_and_nothing_is_drawn(run, tmp_path, prompt):
    with pytest.raises(UserError) as told:
        drawn(run, tmp_path, prompt=prompt, n=1)
    assert told.value.code == "unknown words" and not (tmp_path / "out").exists()
    assert any(word in told.value.found for word in ("dragon", "竜", "castle"))
    fix = told.value.fix.partition('"')[2].rstrip('"')
    assert drawn(run, tmp_path, prompt=fix, n=1).count == 1


def test_one_unknown_word_of_many_is_named_beside_the_picture(run, tmp_path):
    found = drawn(run, tmp_path, prompt="a red dragon on sand", n=1)
    assert found.count == 1 and any("dragon" in note for note in found.notes)


@pytest.mark.parametrize("prompt", ["🐦🌱", "a\x00coin", "赤い硬貨", "<a>coin(1)</a>"])
def test_any_letters_are_a_prompt(run, tmp_path, prompt):
    assert drawn(run, tmp_path, prompt=prompt, n=1).count == 1


def test_after_ctrl_c_the_rest_is_drawn_with_the_same_prompt(run, tmp_path):
    steps = generate.generating(run, 130, prompt=PROMPT, steps=2, out=tmp_path / "out")
    next(steps)
    with pytest.raises(runs_events.Interrupted) as stopped:
        steps.throw(KeyboardInterrupt)
    assert shlex.quote(f"prompt={PROMPT}") in stopped.value.command


def test_copies_of_training_pictures_are_looked_for_here_too(run):
    told = Memorisation().result(str(run), n=16).as_json()
    assert told["samples"] == 16 and told["control"] > 0
    assert {one["name"] for one in told["distances"]} == {"pixels", "features"}


def test_a_file_without_a_mark_is_no_pattern(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    with pytest.raises(UserError) as told:
        list(generate.like(tmp_path / "plain.png"))
    assert told.value.code == "no mark"


def test_a_prompt_longer_than_a_name_may_be_is_no_file(run, tmp_path, capsys):
    long = "|".join(["a red coin on the left, on sand"] * 12)
    assert len(long) > 255
    words = ["generate", str(run), f"prompt={long}", "n=1", "steps=2", f"out={tmp_path / 'out'}"]
    assert main.run(words) == 0
