"""Folders of pictures with captions, and with questions: what is read, and every fault by name."""

import json

import numpy as np
import pytest
from dropping import ramp
from PIL import Image

from souron.data import check, load
from souron.data.formats import captions
from souron.data.target import target_of
from souron.data.targets import captions as words
from souron.data.targets.captions import Caption
from souron.report import dataset as data_report
from souron.utils.messages import UserError, use_language


def image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def written(folder, rows, name="metadata.jsonl"):
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(path, side=8):
    return load.load(path, side, formats=("captions",))


def told(cases):
    return dict(zip(cases.file, cases.target, strict=True))


def faults(cases):
    return {(skip.file, skip.code) for skip in cases.skipped}


@pytest.fixture
def folder(tmp_path):
    for number in range(1, 6):
        image(tmp_path / "写真" / f"{number}.png", number)
    return tmp_path / "写真"


def test_lines_name_pictures_and_say_captions_in_any_known_column(folder):
    written(
        folder,
        [
            {"file_name": "1.png", "text": "a red bird"},
            {"file_name": "1.png", "text_ja": "赤い鳥", "caption_en": "one bird"},
            {"file_name": "2.png", "captions": ["二羽の鳥", {"text": "deux oiseaux"}, "a red bird"]},
            {"file_name": "./3.png", "caption": "Vögel", "language": "de"},
            {"image": "4.png", "caption": "東京 station", "language": "English"},
            {"file_name": "sub/../5.png", "text": "  two\n lines ", "caption": None},
        ],
    )
    cases = read(folder)
    assert told(cases) == {
        "1.png": (Caption("a red bird", "en"), Caption("赤い鳥", "ja"), Caption("one bird", "en")),
        "2.png": (Caption("二羽の鳥", "ja"), Caption("deux oiseaux", "en"), Caption("a red bird", "en")),
        "3.png": (Caption("Vögel", "en"),),
        "4.png": (Caption("東京 station", "en"),),
        "5.png": (Caption("two lines", "en"),),
    }
    assert cases.has("captions") and cases.input.shape == (5, 3, 8, 8) and not cases.skipped
    assert "mirror" not in cases.augment  # it would make left of right


def test_a_text_beside_a_picture_has_a_caption_a_line(folder):
    (folder / "1.txt").write_text("a bird\n\n鳥がいる\na bird\n", encoding="utf-8")
    (folder / "2.txt").write_bytes("白い猫".encode("cp932"))
    (folder / "README.txt").write_text("what this is")
    cases = read(folder)
    assert told(cases) == {
        "1.png": (Caption("a bird", "en"), Caption("鳥がいる", "ja")),
        "2.png": (Caption("白い猫", "ja"),),
    }
    assert faults(cases) == {(f"{number}.png", "no caption") for number in (3, 4, 5)}


def test_parts_are_folders_or_what_a_line_says(tmp_path):
    for part, seed in (("train", 1), ("val", 2), ("test", 3)):
        image(tmp_path / part / "a.png", seed)
    written(tmp_path / "train", [{"file_name": "a.png", "text": "a"}])
    (tmp_path / "val" / "a.txt").write_text("b")
    written(tmp_path, ["file_name,text,patient", "test/a.png,c,7"], "metadata.csv")
    cases = read(tmp_path)
    rows = dict(zip(cases.file, zip(cases.part, cases.group, strict=True), strict=True))
    assert rows == {"train/a.png": ("train", ""), "val/a.png": ("val", ""), "test/a.png": ("test", "7")}
    image(tmp_path / "b" / "x.png", 4)
    written(tmp_path / "b", [{"file_name": "x.png", "text": "d", "split": "validation"}])
    assert read(tmp_path / "b").part == ["val"]
    assert read(tmp_path / "b" / "metadata.jsonl").file == ["x.png"]


def test_every_fault_is_told_by_file_and_line_and_the_rest_goes_on(folder, tmp_path):
    (tmp_path / "secret.png").write_bytes((folder / "1.png").read_bytes())
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "secret.txt").write_text("a secret")
    (folder / "5.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "4.png").write_bytes(b"no picture")
    (folder / "lonely.txt").write_text("nobody")
    (folder / "3.txt").write_text(" \n")
    written(
        folder,
        [
            {"file_name": "1.png", "text": "kept"},
            '{"file_name": "1.png", "text": ',
            "[1]",
            {"file_name": "../secret.png", "text": "a"},
            {"file_name": str(tmp_path / "secret.png"), "text": "a"},
            {"file_name": "missing.png", "text": "a"},
            {"text": "a"},
            {"file_name": "2.png", "text": ""},
            {"file_name": "2.png", "text": 7},
            {"file_name": "2.png", "text": "!?"},
            {"file_name": "2.png", "text": "long " * 900},
            {"file_name": "3.png"},
            {"file_name": "metadata.jsonl", "text": "a"},
            {"file_name": "link.png", "text": "a"},
            {"file_name": "4.png", "text": "a"},
        ],
    )
    cases = read(folder)
    where = "metadata.jsonl:"
    assert set(told(cases)) == {"1.png", "2.png"}
    [long] = told(cases)["2.png"]
    assert len(long.text) <= words.LONGEST and long.text.startswith("long long")
    assert faults(cases) == {
        (where + "2", "broken JSON"),
        (where + "3", "broken JSON"),
        (where + "4", "outside"),
        (where + "5", "outside"),
        (where + "6", "missing"),
        (where + "7", "no file"),
        (where + "8", "no caption"),
        (where + "9", "not a text"),
        (where + "10", "no words"),
        (where + "11", "cut"),
        (where + "12", "no caption"),
        (where + "13", "not an image"),
        ("link.png", "outside"),
        ("4.png", "not an image"),
        ("lonely.txt", "missing"),
        ("3.txt", "no caption"),
        ("3.png", "no caption"),
        ("5.txt", "outside"),
        ("5.png", "no caption"),
    }
    assert "secret" not in json.dumps([caption.text for each in cases.target for caption in each])


def test_a_picture_has_so_many_captions_and_no_more(folder):
    written(folder, [{"file_name": "1.png", "captions": [f"caption {i}" for i in range(5000)]}])
    assert len(told(read(folder))["1.png"]) == captions.MOST


@pytest.mark.parametrize("rows", [[{"file_name": "1.png", "text": ""}], [{"file_name": "no.png", "text": "a"}], ["{"]])
def test_nothing_to_learn_from_is_refused_with_the_first_reason(rows, folder):
    written(folder, rows)
    with pytest.raises(UserError) as trouble:
        captions.load(folder)
    assert trouble.value.code == "no captions" and "metadata.jsonl:1" in trouble.value.found
    assert "file_name" in trouble.value.fix and trouble.value.exit == 3


def test_the_format_knows_its_own_and_leaves_others_alone(folder, tmp_path):
    written(folder, [{"file_name": "1.png", "text": "a"}])
    assert captions.describes(folder) and captions.describes(folder / "metadata.jsonl")
    every = (*load.TEXTS, "captions", *load.FORMATS)
    assert load.load(folder, 8, formats=every).has("captions")
    boxes = tmp_path / "yolo"
    image(boxes / "1.png")
    (boxes / "1.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert not captions.describes(boxes)
    written(tmp_path / "texts", [{"text": "a"}])
    assert not captions.describes(tmp_path / "texts")
    image(tmp_path / "classes" / "cat" / "1.png")
    assert not captions.describes(tmp_path / "classes")
    assert not captions.describes(folder / "1.png")


def test_one_caption_for_all_is_warned_of_in_a_check(folder):
    written(folder, [{"file_name": f"{i}.png", "text": "a photo"} for i in range(1, 6)])
    found = check.check(folder, formats=("captions",)).findings
    assert {("one caption", "warning")} <= {(one.code, one.severity) for one in found}
    written(folder, [{"file_name": f"{i}.png", "text": f"photo {i}"} for i in range(1, 6)])
    found = check.check(folder, formats=("captions",)).findings
    assert "one caption" not in {one.code for one in found}


def test_the_page_of_such_data_shows_captions_and_escapes_them(folder, tmp_path):
    written(folder, [{"file_name": f"{i}.png", "text": f"<script>{i}", "text_ja": f"<b>絵{i}"} for i in range(1, 6)])
    cases = read(folder)
    assert target_of(cases).number == 10
    with use_language("ja"):
        assert target_of(cases).words(0) == "<b>絵1"
    page = data_report.data_page(cases, tmp_path / "out").read_text(encoding="utf-8")
    assert "&lt;script&gt;1" in page and "<script>1" not in page


@pytest.mark.parametrize("text, language", [("二羽の鳥", "ja"), ("a bird", "en"), ("東京 tower", "ja"), ("12 !", "")])
def test_a_language_is_told_by_letters(text, language):
    assert words.language_of(text) == language


def test_a_ramp_is_no_caption(tmp_path):
    ramp().save(tmp_path / "1.png")
    with pytest.raises(UserError):
        captions.load(tmp_path)


def test_pictures_with_questions_are_not_mirrored_either(folder):
    written(folder, [{"file_name": "1.png", "question": "Where is the bird?", "answer": "left"}])
    cases = load.load(folder, 8, formats=("picture_questions",))
    assert cases.has("picture_questions") and "mirror" not in cases.augment
