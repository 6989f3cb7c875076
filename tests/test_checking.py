"""Patients in file names, copies of pictures, leaks, and the doctor of data."""

import csv
import io
import json
import shutil
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import radiographs
import torch
from drawing import PATTERNS, textures
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps
from scipy import ndimage
from sklearn.datasets import load_sample_image

from souron.cli.main import run
from souron.data import check, splits
from souron.data.check.shortcuts import by_category, informedness, shortcut_of
from souron.data.dataset import Dataset
from souron.data.formats import csv_table, folder
from souron.data.patients import groups
from souron.data.quality import duplicates, wrong_labels
from souron.data.readers.settings import Reading
from souron.evaluation.vision import perceptual
from souron.runs import compare, evaluate, fingerprints, prepare
from souron.runs import train as run_train
from souron.utils.messages import UserError


@pytest.mark.parametrize(
    "files, wish, expected",
    [
        (["a/p1_l.png", "a/p1_r.png", "b/p2_l.png", "b/p3_l.png"], None, ["p1", "p1", "p2", "p3"]),
        (
            ["a/x-Patient07-1.png", "a/x-patient07-2.png", "b/x-patient08-1.png", "b/x-patient09-1.png"],
            None,
            ["patient07", "patient07", "patient08", "patient09"],
        ),
        (["a/1.png", "a/2.png", "b/3.png"], None, ["", "", ""]),
        (["a/p1.png", "a/p2.png", "b/p3.png"], None, ["", "", ""]),  # each has one only
        (["a/s1_1.png", "a/s1_2.png", "b/s2_1.png"], None, ["", "", ""]),  # two: too few
        (["a/山田/1.png", "a/山田/2.png", "b/佐藤/1.png", "b/鈴木/1.png"], None, ["山田", "山田", "佐藤", "鈴木"]),
        (["a/k7-1.png", "a/k7-2.png", "b/k8-1.png"], r"(k\d+)-", ["k7", "k7", "k8"]),
        (["a/p1_l.png", "a/p1_r.png", "b/p2_l.png", "b/p3_l.png"], "none", [""] * 4),
    ],
)
def test_groups_are_read_from_names(files, wish, expected):
    found = groups(files, [file[0] for file in files], wish)
    assert found.names == expected
    assert bool(found.how) == any(expected)


@pytest.mark.parametrize("wish", ["(p", "xyz"])
def test_a_pattern_that_finds_nothing_is_refused(wish):
    with pytest.raises(UserError) as trouble:
        groups(["a/p1_1.png"], ["a"], wish)
    assert trouble.value.code == "group"


def test_a_column_of_the_table_names_the_patients(tmp_path):
    textures(tmp_path, count=4)
    lines = ["file,label,owner"] + [f"{name}/{i}.png,{name},{name[0]}{i % 2}" for name in PATTERNS for i in range(4)]
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    assert csv_table.load(tmp_path / "list.csv").group == ()
    cases = csv_table.load(tmp_path / "list.csv", Reading(group="owner"))
    assert cases.group[:4] == ["s0", "s1", "s0", "s1"]
    assert csv_table.load(tmp_path / "list.csv", Reading(group=r"/(\d)")).group[:2] == ["0", "1"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return textures(tmp_path_factory.mktemp("drawn") / "textures", count=20)


def brighter(image, path):
    ImageEnhance.Brightness(image).enhance(1.25).save(path)


def darker(image, path):
    image.point(lambda value: max(0, value - 64)).save(path)


CHANGES = {
    "re-encoded": lambda image, path: image.save(path.with_suffix(".jpg"), quality=60),
    "resized": lambda image, path: image.resize((77, 77)).save(path),
    "brighter": brighter,
    "darker": darker,
    "grey levels": lambda image, path: ImageEnhance.Contrast(image).enhance(0.8).save(path),
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Pieces of two photographs, those with something on them."""
    place = tmp_path_factory.mktemp("photographs") / "pieces"
    for name in ("china", "flower"):
        (place / name).mkdir(parents=True)
        whole = load_sample_image(f"{name}.jpg")
        for i, (y, x) in enumerate(product(range(0, 330, 96), range(0, 540, 96))):
            piece = whole[y : y + 96, x : x + 96]
            if piece.std((0, 1)).mean() > 15:
                Image.fromarray(piece).save(place / name / f"{i}.png")
    return place


@pytest.mark.parametrize("change", CHANGES)
def test_copies_are_found_and_other_pictures_are_not(photographs, tmp_path, change):
    place = tmp_path / "both"
    shutil.copytree(photographs, place)
    files = sorted(photographs.rglob("*.png"))
    assert len(files) > 30
    for file in files:
        CHANGES[change](Image.open(file), place / file.parent.name / f"copy {file.name}")
    cases = folder.load(place, Reading(64))
    pairs = {
        frozenset(f"{cases.file[i]}".partition(".")[0].replace("copy ", "") for i in pair)
        for pair in duplicates.near(cases.input)
    }
    found = sum(len(pair) == 1 for pair in pairs)
    assert found >= 0.97 * len(files)
    assert sum(len(pair) == 2 for pair in pairs) == 0


def test_grey_copies_among_colour_are_found_within_one_set_and_across_two(photographs):
    """One rule for the doctor, a split and what a run has learnt from."""
    colour = folder.load(photographs, Reading(64)).input[:20]
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    grey = (colour.float() * weights).sum(1, keepdim=True).round().byte().expand(-1, 3, -1, -1)
    expected = [(i, i) for i in range(20)]
    assert duplicates.near(torch.cat([colour, grey])) == [(i, i + 20) for i in range(20)]
    for known, other in ((colour, grey), (grey, colour), (colour, grey[:, :1])):
        assert duplicates.copies(*map(duplicates.reduced, (known, other))) == expected
    assert duplicates.near(torch.cat([colour[:10], grey[10:]])) == []


def test_of_many_copies_as_many_pairs_as_join_them(photographs):
    one, other = folder.load(photographs, Reading(64)).input[:2]
    image = torch.stack([one] * 50 + [other] * 30)
    pairs = duplicates.near(image)
    assert len(pairs) == 49 + 29
    assert {i < 50 for i, _j in pairs} == {True, False}
    assert all((i < 50) == (j < 50) for i, j in pairs)


def test_a_fitted_picture_is_the_other_cut_off_where_it_is():
    chance = torch.Generator().manual_seed(0)
    one = 255 * torch.rand(3, 3, 16, 16, generator=chance)
    other = (1.4 * one - 20).clamp(0, 255)
    assert torch.allclose(duplicates.fitted(one, other), other, atol=0.5)
    assert duplicates.same(one, other, left=0.0).all()
    assert duplicates.fitted(one, 255 - one).count_nonzero() == 0  # a negative is no copy


@pytest.mark.parametrize("strength", [6, 40])  # levels
def test_fine_texture_is_known_again_after_jpeg_and_not_taken_for_another(strength):
    """JPEG's levels are many beside those of a faint texture."""
    chance = torch.Generator().manual_seed(0)
    coarse = torch.randn(20, 1, 12, 12, generator=chance)
    noise = coarse.repeat_interleave(6, 2).repeat_interleave(6, 3)[..., :64, :64]
    noise = noise + torch.randn(20, 1, 64, 64, generator=chance)
    image = (128 + strength * noise).clamp(0, 255).byte().expand(-1, 3, -1, -1)
    copies = []
    for one in image:
        stream = io.BytesIO()
        Image.fromarray(one.permute(1, 2, 0).numpy()).save(stream, "JPEG", quality=50)
        copies.append(torch.from_numpy(np.asarray(Image.open(stream)).copy()).permute(2, 0, 1))
    found = duplicates.near(torch.cat([image, torch.stack(copies)]))
    assert found == [(i, i + 20) for i in range(20)]


@pytest.mark.parametrize("strength", [1.0, 0.25])
def test_radiographs_of_different_patients_are_no_copies_even_where_they_are_faint(strength):
    drawn = []
    for patient in range(40):
        chance = np.random.default_rng(patient)
        picture = radiographs.radiograph(radiographs.jaw(chance), chance, 0, 64)
        drawn.append(radiographs.exposed(picture, "A", chance) / radiographs.MOST)
    image = torch.from_numpy(255 * strength * np.stack(drawn))[:, None]
    assert duplicates.near(image.byte()) == []


def with_parts(drawn, place, leaking=0, torn=0):
    """Parts of their own; some test pictures are training pictures too."""
    for name in ("rings", "waves"):
        for i in range(16):
            part = "train" if i < 10 else "val" if i < 13 else "test"
            patient = f"p{i:02d}_1" if i < 16 - torn else f"p{i - 10:02d}_2"
            (place / part / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(drawn / name / f"{i}.png", place / part / name / f"{patient}.png")
        for i in range(leaking):
            shutil.copy(drawn / name / f"{i}.png", place / "test" / name / f"p{90 + i}_3.png")
    return place


def train(data, **options):
    return run_train.train("mlp_tiny", data, budget="2ep", batch=8, **options)


def test_pictures_on_both_sides_are_refused_unless_allowed(drawn, tmp_path):
    data = with_parts(drawn, tmp_path / "leaky", leaking=2)
    with pytest.raises(UserError, match="4 cases outside training") as trouble:
        train(data)
    assert (trouble.value.code, trouble.value.exit) == ("leak", 3)
    with pytest.raises(UserError, match="4 cases outside training"):
        compare.compare(["mlp_tiny", "cnn_tiny"], data, budget="1ep", seeds=1)
    record = train(data, allow_leak=True)
    assert len(record.leaking) == 4
    assert record.receipt["command"].endswith("allow_leak=True")
    report = (record.folder / "report.html").read_text(encoding="utf-8")
    assert report.index("The figures are too good") < report.index("<main>")


def test_patients_on_both_sides_are_refused(drawn, tmp_path):
    data = with_parts(drawn, tmp_path / "torn", torn=2)
    with pytest.raises(UserError, match=r"2 groups \(patients\) are in training"):
        train(data)
    assert train(data, group="none").torn == ()


def test_without_parts_of_their_own_patients_stay_together(drawn, tmp_path):
    data = tmp_path / "plain"
    for name in ("rings", "waves"):
        (data / name).mkdir(parents=True)
        for i in range(20):
            for eye in "lr":
                shutil.copy(drawn / name / f"{i}.png", data / name / f"{name[0]}_p{i}_{eye}.png")
    cases = folder.load(data, Reading(64))
    assert len(set(cases.group)) == 20
    parts = prepare.divide({"system": "cnn", "data": str(data)}, cases).kept.deal(cases)
    assert not set(parts.train.group) & set(parts.test.group)


def test_near_copies_stay_together_in_a_split_and_in_every_fold(drawn, tmp_path):
    """Each picture and its copy as a JPEG, under names that tell nothing of one another."""
    data = tmp_path / "plain"
    for name in ("rings", "waves"):
        (data / name).mkdir(parents=True)
        for i in range(20):
            image = Image.open(drawn / name / f"{i}.png")
            image.save(data / name / f"{i * 7 % 20}.png")
            image.convert("RGB").save(data / name / f"a{i * 3 % 20}.jpg", quality=90)
    cases = folder.load(data, Reading(64))
    pairs = [(cases.file[i], cases.file[j]) for i, j in duplicates.near(cases.stored)]
    assert len(pairs) >= 38 and not cases.group
    args = {"system": "cnn", "data": str(data)}
    split = prepare.divide({**args, "folds": 1}, cases).kept
    crossed = prepare.divide({**args, "repeats": 1}, cases)
    for one in (split, *crossed.repeats[0], *crossed.fewer[0.5]):
        parts = one.deal(cases)
        for part in (parts.train, parts.val, parts.test):
            here = set(part.file)
            assert not [pair for pair in pairs if (pair[0] in here) != (pair[1] in here)]


@pytest.mark.filterwarnings("ignore:Data check of")
def test_other_data_with_known_patients_or_pictures_is_refused(drawn, tmp_path):
    record = train(with_parts(drawn, tmp_path / "own"))
    other = tmp_path / "other"
    for name in ("rings", "waves"):
        (other / name).mkdir(parents=True)
        for i in range(16, 20):
            shutil.copy(drawn / name / f"{i}.png", other / name / f"q{i}.png")
    assert evaluate.evaluate(record.folder, other)["accuracy"].n == 8
    shutil.copy(drawn / "rings/0.png", other / "rings/another name.png")
    with pytest.raises(UserError, match=r"1 of 9 images .*1 identical to the pixel") as trouble:
        evaluate.evaluate(record.folder, other)
    assert trouble.value.code == "leak"
    with pytest.warns(UserWarning, match="too good"):
        assert evaluate.evaluate(record.folder, other, allow_leak=True)["accuracy"].n == 9


def spoilt(drawn, place):
    """A folder with one of every trouble."""
    shutil.copytree(drawn, place)
    (place / "rings" / "cut.png").write_bytes((place / "rings" / "0.png").read_bytes()[:200])
    (place / "rings" / "empty.png").touch()
    (place / "rings" / "page.html").write_text("<p>", encoding="utf-8")
    shutil.copy(place / "rings" / "1.png", place / "rings" / "again.png")
    shutil.copy(place / "rings" / "2.png", place / "waves" / "conflict.png")
    Image.open(place / "dots" / "3.png").resize((400, 400)).save(place / "dots" / "large.png")
    (place / "tiny").mkdir()
    for i in range(2):
        shutil.copy(place / "checks" / f"{i}.png", place / "tiny" / f"{i}.png")
        (place / "checks" / f"{i}.png").unlink()
    for file in (place / "zigzag").iterdir():  # all of one class are stripes of another size
        Image.open(file).crop((0, 0, 40, 40)).save(file)
    return place


def test_the_doctor_finds_what_was_hidden(drawn, tmp_path):
    place = spoilt(drawn, tmp_path / "spoilt")
    before = {path: path.read_bytes() for path in place.rglob("*.*")}
    found = check.check(place)
    codes = {finding.code: finding for finding in found.findings}
    assert {
        "truncated",
        "empty file",
        "not an image",
        "duplicates",
        "label conflict",
        "odd size",
        "tiny class",
        "imbalance",
        "no groups",
    } <= codes.keys()
    assert codes["truncated"].files == ("rings/cut.png",)
    assert set(codes["label conflict"].files) == {"rings/2.png", "waves/conflict.png"}
    assert {"rings/1.png", "rings/again.png"} <= set(codes["duplicates"].files)
    assert "dots/large.png" in codes["odd size"].files
    assert [f.severity for f in found.findings] == sorted(
        (f.severity for f in found.findings), key=("error", "warning", "hint").index
    )
    assert not found.clean
    shape = json.loads(json.dumps(found.as_json()))
    assert shape.keys() == {"files", "readable", "labels", "groups", "parts", "findings"}
    assert shape["labels"].keys() == set(found.cases.classes) and sum(shape["labels"].values()) == shape["readable"]
    assert shape["findings"][0].keys() == {
        "code",
        "severity",
        "files",
        "message",
        "fix",
        "families",
        "key",
        "suggested",
        "question",
    }

    with pytest.raises(UserError) as trouble:
        check.manifest(found, tmp_path / "elsewhere.csv")
    assert trouble.value.code == "outside"
    count = check.manifest(found, place / "checked.csv")
    with (place / "checked.csv").open(encoding="utf-8", newline="") as stream:
        listed = {row["filename"] for row in csv.DictReader(stream)}
    assert len(listed) == count
    assert not {"rings/2.png", "waves/conflict.png", "rings/again.png"} & listed
    assert "rings/1.png" in listed
    assert before == {path: path.read_bytes() for path in before}
    with pytest.raises(UserError) as trouble:
        check.manifest(found, place / "checked.csv")
    assert trouble.value.code == "exists"


def test_a_clean_folder_is_clean(drawn):
    found = check.check(drawn)
    assert found.clean
    assert {finding.code for finding in found.findings} <= {"no groups"}


def test_a_copy_under_two_patients_is_an_error(drawn, tmp_path):
    lines = ["filename,label,patient"]
    for name in ("rings", "waves"):
        (tmp_path / name).mkdir()
        for i in range(12):
            shutil.copy(drawn / name / f"{i}.png", tmp_path / name / f"{i}.png")
            lines.append(f"{name}/{i}.png,{name},{name[0]}{i}")
    shutil.copy(drawn / "rings/3.png", tmp_path / "rings/other.png")
    Image.open(drawn / "rings/4.png").save(tmp_path / "rings/same.jpg", quality=90)
    lines += ["rings/other.png,rings,r99", "rings/same.jpg,rings,r98"]
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    found = check.check(tmp_path / "list.csv")
    [leak] = of_code(found.findings, "copies of patients")
    assert leak.severity == "error" and not found.clean
    assert set(leak.files) == {"rings/3.png", "rings/other.png"}
    [asked] = of_code(found.findings, "near conflict")
    assert asked.severity == "warning" and set(asked.files) == {"rings/4.png", "rings/same.jpg"}


@pytest.mark.slow
def test_a_pair_that_may_be_copies_is_a_question_until_it_is_answered(drawn, tmp_path, capsys):
    place = tmp_path / "pictures"
    shutil.copytree(drawn, place)
    Image.open(drawn / "rings/3.png").save(place / "waves/other.jpg", quality=90)
    words = ["data", "check", str(place), f"project={tmp_path / 'runs'}", "--json"]
    table = tmp_path / "runs/data/pictures/copies.csv"

    def asked():
        code = run(words)
        return code, {one["code"]: one for one in json.loads(capsys.readouterr().out)["findings"]}

    code, found = asked()
    assert code == 0 and found["near duplicates"]["question"]
    assert found["near duplicates"]["families"] == [["rings/3.png", "waves/other.jpg"]]
    assert "difference, 4 times" in table.with_name("check.html").read_text(encoding="utf-8")
    line = "rings/3.png,waves/other.jpg,"
    assert line in table.read_text(encoding="utf-8")
    for answer, expected in (("different", (0, set())), ("copy", (3, {"confirmed copies", "label conflict"}))):
        table.write_text(f"file,other,answer\n{line}{answer}\n", encoding="utf-8")
        code, found = asked()
        assert (code, found.keys() - {"no groups", "wrong label"}) == expected
        assert f"{line}{answer}" in table.read_text(encoding="utf-8")
    table.write_text(f"file,other,answer\n{line}perhaps\n", encoding="utf-8")
    assert run(words) == 3 and '"answers"' in capsys.readouterr().out


def one_view(count, seed=0):
    """Images of one view: fifteen things that all of them show, each a little larger or smaller, and noise."""
    chance = np.random.default_rng(seed)
    shapes = ndimage.gaussian_filter(chance.normal(size=(15, 64, 64)), (0, 4, 4)) * 20
    view = ndimage.gaussian_filter(chance.normal(size=(64, 64)), 6) * 600
    sizes = chance.normal(0, 1, (count, 15))
    images = 128 + view + np.einsum("nk,khw->nhw", sizes, shapes) + chance.normal(0, 2, (count, 64, 64))
    return torch.tensor(images[:, None].clip(0, 255)).byte()


@pytest.mark.quick(seconds=6)
def test_images_of_one_view_are_no_copies_and_their_copies_are_found():
    images = one_view(300)
    small = duplicates.thumbnails(images, duplicates.FINE)
    alike = (small @ small.T).fill_diagonal_(0)
    assert (alike > duplicates.ALIKE_FINE).any(1).float().mean() > 0.9  # by a fixed threshold nearly all were copies
    assert duplicates.near(images) == [] and duplicates.altered(images) == []
    copies = []
    for one in images[:20, 0]:
        stream = io.BytesIO()
        Image.fromarray(one.numpy()).save(stream, "JPEG", quality=75)
        copies.append(torch.tensor(np.asarray(Image.open(stream)))[None])
    every = torch.cat([images, torch.stack(copies), images[20:40].flip(3)])
    assert {(i, i + 300) for i in range(20)} == set(duplicates.near(every))
    turned = set(duplicates.altered(every))
    assert turned <= {(i, i + 300) for i in range(20, 40)} and len(turned) >= 5
    kept = duplicates.reduced(images)
    assert duplicates.copies(kept[:150], kept[150:]) == []


def test_what_may_be_copies_never_makes_a_training_impossible():
    """Each image may be a copy of the next one, so that together they could not be divided."""
    noise = torch.randint(0, 255, (30, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    cases = Dataset("few", noise, torch.arange(30) % 2, ("a", "b"), [f"{i}.png" for i in range(30)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "_near_duplicates", lambda data: list(pairwise(range(30))))
        split = prepare.divide({"system": "cnn", "data": "few", "folds": 1}, cases).kept
        parted = replace(cases, part=["train" if i < 20 else "test" for i in range(30)])
        given = prepare.divide({"system": "cnn", "data": "few", "folds": 1}, parted).kept
    assert len(split.train) and len(split.val) and len(split.test)
    assert given.leaking == () and len(given.doubtful) >= 10
    whole = replace(cases, part=["train"] * 20 + ["val"] * 5 + ["test"] * 5)
    one = splits.split(whole, alike=[(0, 25)])
    assert one.leaking == () and one.doubtful == ("25.png",)


def test_wrong_labels_are_found(drawn, tmp_path):
    place = tmp_path / "mislabelled"
    shutil.copytree(drawn, place)
    names = sorted(path.name for path in place.iterdir())
    wrong = set()
    for name, other in pairwise(names[:7]):
        (place / name / "0.png").rename(place / other / f"from {name}.png")
        wrong.add(f"{other}/from {name}.png")
    found = check.check(place, embed=perceptual.pooled)
    [doubt] = [each for each in found.findings if each.code == "wrong label"]
    assert doubt.severity == "warning"
    assert len(wrong & set(doubt.files)) >= 4
    assert len(set(doubt.files) - wrong) <= 2
    assert "?" in doubt.message


def test_a_confident_prediction_of_another_class_is_a_suspect():
    """The example of Northcutt et al.: a threshold for each class, not one for all."""
    probability = np.array([[0.9, 0.1], [0.55, 0.45], [0.3, 0.7], [0.45, 0.55], [0.8, 0.2], [0.6, 0.4]])
    label = np.array([0, 0, 1, 1, 1, 1])  # thresholds .725, which .6 misses, and .4625
    assert wrong_labels.suspects(probability, label) == [(4, 0)]


@pytest.mark.parametrize("shortcut", ["size", "kind", "border"])
def test_a_figure_that_tells_the_class_is_a_shortcut(drawn, tmp_path, shortcut):
    for name in ("rings", "waves"):
        (tmp_path / name).mkdir()
        for i in range(20):
            image = Image.open(drawn / name / f"{i}.png")
            place = tmp_path / name / f"{i}.png"
            if name == "waves" and shortcut == "size":
                image = image.resize((80, 80))
            if name == "waves" and shortcut == "kind":
                place = place.with_suffix(".bmp")
            if name == "waves" and shortcut == "border":
                image.paste((255, 255, 255), (0, 0, 64, 3))
                image.paste((255, 255, 255), (0, 61, 64, 64))
            image.save(place)
    told = [f.message for f in check.check(tmp_path).findings if f.code == "shortcut"]
    wanted = {"size": "width", "kind": "kind of file", "border": "brightness of the border"}
    assert any(message.startswith(wanted[shortcut]) for message in told)


def test_a_copy_in_another_part_may_be_a_leak_where_it_was_encoded_anew(drawn, tmp_path):
    place = with_parts(drawn, tmp_path / "parts")
    copy = Image.open(place / "train/rings/p00_1.png").convert("RGB")
    copy.save(place / "test/rings/p90_3.jpg", quality=90)
    [leak] = of_code(check.check(place).findings, "near leak")
    assert leak.severity == "warning"
    assert set(leak.files) == {"train/rings/p00_1.png", "test/rings/p90_3.jpg"}


def test_what_names_the_patient_is_no_shortcut():
    """Six patients, each with a number and a device of its own: known, they tell the label."""
    patient = np.repeat(np.arange(6), 10)
    label = patient % 3
    names = [f"patient {one}" for one in patient]
    for values in (patient.astype(float), [f"device {'abcdef'[one]}" for one in patient]):
        assert not shortcut_of(values, label, names).classes
        assert shortcut_of(values, label, range(60)).classes == [0, 1, 2]


def test_the_class_that_is_always_said_is_not_given_away():
    label = np.repeat([0, 1], [100, 12])
    noise = np.random.default_rng(0).normal(size=112)
    assert shortcut_of(noise, label, range(112)).classes == []
    assert informedness(label == 0, np.ones(112, bool)) == 0


def test_a_category_says_the_class_that_it_is_most_frequent_in_for_its_size():
    """Of ninety of one class forty are in it, of ten of the other nine."""
    label = np.repeat([0, 1], [90, 10])
    site = ["a"] * 40 + ["b"] * 50 + ["a"] * 9 + ["b"]
    said = by_category(site, label, range(100))
    assert said.tolist() == [int(name == "a") for name in site]


def test_pictures_of_one_patient_do_not_vouch_for_each_others_label():
    """Patients unlike each other, of whom one has the wrong label in all pictures: a classifier
    that had seen some of them would know the others."""
    random = np.random.default_rng(0)
    patient = np.repeat(np.arange(30), 5)
    truth = patient % 2
    features = 0.1 * random.normal(size=(150, 200)) + random.normal(size=(30, 200))[patient]
    features[:, :40] += truth[:, None] - 0.5
    label = np.where(patient == 4, 1 - truth, truth)
    probability = wrong_labels.cross_validated(features, label, [str(one) for one in patient])
    found = {row for row, _other in wrong_labels.suspects(probability, label)}
    assert set(np.flatnonzero(patient == 4)) <= found


def in_two_classes(drawn, place, change):
    """Twenty pictures of each of two classes; those of the second as ``change`` makes them."""
    for name in ("rings", "waves"):
        (place / name).mkdir(parents=True)
        for i in range(20):
            image = Image.open(drawn / name / f"{i}.png")
            (change(image) if name == "waves" else image).save(place / name / f"{i}.png")
    return place


def shortcuts(place):
    return [f.message for f in check.check(place).findings if f.code == "shortcut"]


def test_a_shortcut_names_the_classes_and_their_values(drawn, tmp_path):
    place = in_two_classes(drawn, tmp_path, lambda image: image.resize((80, 80)))
    [message] = [m for m in shortcuts(place) if m.startswith("width")]
    assert "predicts the class: rings (64), waves (80); 100% of" in message


def test_a_shortcut_to_one_class_of_many_names_that_class(drawn, tmp_path):
    place = tmp_path / "many"
    shutil.copytree(drawn, place)
    for file in (place / "zigzag").iterdir():
        Image.open(file).crop((0, 0, 48, 48)).save(file)
    [message] = [m for m in shortcuts(place) if m.startswith("width")]
    assert "predicts the class: zigzag (48), others (64);" in message


@pytest.mark.parametrize("cast", [(30, 0, 0), (0, 0, 25), (0, 25, 0)])
def test_a_colour_cast_that_separates_the_classes_is_a_shortcut(photographs, tmp_path, cast):
    """Of grey photographs, so that nothing else is coloured but one corner of each."""
    files = sorted(photographs.rglob("*.png"))

    def saved(place, change):
        for i, file in enumerate(files):
            name = "ab"[i % 2]
            (place / name).mkdir(parents=True, exist_ok=True)
            pixels = np.asarray(Image.open(file).convert("L").convert("RGB")).astype(int)
            pixels += np.array(change if name == "b" else 0)
            pixels[0, 0] = (255, 0, 0)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / name / f"{i}.png")
        return place

    plain = shortcuts(saved(tmp_path / "plain", (0, 0, 0)))
    assert not any(message.startswith("colour cast") for message in plain)
    coloured = shortcuts(saved(tmp_path / "cast", cast))
    assert any(m.startswith("colour cast") and ", b (" in m for m in coloured)


def of_code(findings, code):
    return [finding for finding in findings if finding.code == code]


ALTERED = {
    "90": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "180": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "270": lambda image: image.transpose(Image.Transpose.ROTATE_270),
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "transposed": lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    "transverse": lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    "inverted": ImageOps.invert,
    "inverted and mirrored": lambda image: ImageOps.invert(ImageOps.mirror(image)),
    "framed": lambda image: ImageOps.expand(image, 12, "white"),
}


@pytest.mark.parametrize("change", ALTERED)
def test_altered_copies_across_parts_are_found(photographs, tmp_path, change):
    for name in ("china", "flower"):
        files = sorted((photographs / name).iterdir())
        for i, file in enumerate(files):
            place = tmp_path / ("test" if i < 3 else "train") / name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
        for file in files[:2]:
            image = ALTERED[change](Image.open(file))
            image.save(tmp_path / "train" / name / f"altered {file.stem}.jpg", quality=90)
    found = check.check(tmp_path)
    [copies] = of_code(found.findings, "rotated copies")
    [leak] = of_code(found.findings, "rotated leak")
    assert len(copies.rows) == len(leak.rows) == 4 and leak.severity == "warning"
    assert sum("altered" in file for file in leak.files) == 4
    cases = folder.load(tmp_path, Reading(64))
    split = prepare.divide({"system": "cnn", "data": str(tmp_path)}, cases).kept
    assert split.leaking == () and len(split.doubtful) == 4


@pytest.mark.parametrize("change", ALTERED)
def test_altered_copies_of_training_pictures_are_known_again(photographs, tmp_path, change):
    files = sorted(photographs.rglob("*.png"))
    for i, file in enumerate(files[-8:]):  # two of them were learnt from
        place = tmp_path / "others" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        ALTERED[change](Image.open(file)).save(place / f"{i}.png")
    learnt = folder.load(photographs, Reading(64))
    new = {str(file.relative_to(photographs)) for file in files[-6:]}
    rows = torch.tensor([i for i, name in enumerate(learnt.file) if name not in new])
    others = folder.load(tmp_path / "others", Reading(64))
    shared = fingerprints.overlap(fingerprints.fingerprints(learnt, rows), others)
    assert {(Path(own).stem, Path(known).name) for own, known in shared.near} == {
        (str(i), file.name) for i, file in enumerate(files[-8:-6])
    }


def test_drawings_on_white_are_known_again_in_a_larger_white_frame():
    chance = np.random.default_rng(0)
    plain, framed = [], []
    for _drawing in range(12):
        image = Image.new("RGB", (64, 64), "white")
        draw = ImageDraw.Draw(image)
        for _shape in range(6):
            corners = [tuple(corner) for corner in chance.integers(9, 55, (3, 2)).tolist()]
            draw.polygon(corners, fill=tuple(chance.integers(0, 200, 3).tolist()))
        plain.append(image)
        framed.append(ImageOps.expand(image, 8, "white").resize((64, 64), Image.Resampling.BILINEAR))
    pixels = torch.stack([torch.tensor(np.asarray(one)) for one in [*plain, *framed]])
    found = duplicates.altered(pixels.permute(0, 3, 1, 2))
    assert {(i, i + 12) for i in range(12)} >= set(found) and len(found) >= 8


def test_photographs_without_copies_have_none_in_any_direction(photographs):
    assert not of_code(check.check(photographs).findings, "rotated copies")


def test_the_command_line_reports_altered_copies(photographs, tmp_path, capsys):
    place = tmp_path / "pieces"
    shutil.copytree(photographs, place)
    file = next((place / "china").iterdir())
    Image.open(file).rotate(180).save(place / "flower" / "turned.png")
    run(["data", "check", str(place), "--json"])
    assert "rotated copies" in capsys.readouterr().out


def test_pictures_that_look_the_same_when_turned_are_no_rotated_copies(drawn, tmp_path):
    for name in ("dots", "cross"):
        shutil.copytree(drawn / name, tmp_path / name)
    assert not of_code(check.check(tmp_path).findings, "rotated copies")


def test_patients_and_classes_in_two_spellings_are_findings_with_their_names(drawn, tmp_path):
    names = ["P1", "p1", "P001", "Ｐ１", "P 1", "P10", "P2", "p2", "P3", "P4"]
    labels = ["SOUND", "sound", "caries", "caries"]
    lines = ["filename,label,patient"]
    for i in range(20):
        shutil.copy(drawn / "rings" / f"{i}.png", tmp_path)
        lines.append(f"{i}.png,{labels[i % 4]},{names[i % 10]}")
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    findings = check.check(tmp_path / "list.csv").findings
    [of_patients] = of_code(findings, "patient spellings")
    [of_classes] = of_code(findings, "class spellings")
    assert "P1 = p1 = P001 = Ｐ１ = P 1" in of_patients.message and "are one each" in of_patients.message
    assert "P2 = p2" in of_patients.message
    assert not any(name in of_patients.message for name in ("P10", "P3", "P4"))
    assert "SOUND = sound" in of_classes.message and "caries" not in of_classes.message
    assert len(of_patients.files) == 7 and len(of_classes.files) == 2


def test_a_stray_file_is_named_by_the_doctor(drawn, tmp_path):
    for name in ("rings", "waves"):
        (tmp_path / name).mkdir()
        for i in range(20):
            file = f"{name[0]}{i // 2:02d}-{i % 2}.png"
            shutil.copy(drawn / name / f"{i}.png", tmp_path / name / file)
    shutil.copy(drawn / "dots" / "0.png", tmp_path / "waves" / "cover.png")
    [stray] = of_code(check.check(tmp_path).findings, "no patient")
    assert stray.files == ("waves/cover.png",)


def listed(drawn, place, columns):
    """A table of twenty pictures of two classes each, with columns made of class and number."""
    lines = [",".join(["file", "label", *columns])]
    for name in ("rings", "waves"):
        (place / name).mkdir(parents=True)
        for i in range(20):
            shutil.copy(drawn / name / f"{i}.png", place / name)
            lines.append(",".join([f"{name}/{i}.png", name, *(c(name, i) for c in columns.values())]))
    (place / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    return place / "list.csv"


def test_a_column_that_tells_the_class_is_a_shortcut(drawn, tmp_path):
    columns = {
        "site": lambda name, i: "ABCD"[i % 2 + 2 * (name == "waves")],
        "date": lambda name, i: f"202{int(name == 'waves')}-05-{i + 1:02d}",
        "score": lambda name, i: str(i + 30.5 * (name == "waves")),
        "sex": lambda name, i: "fm"[i % 2],
        "id": lambda name, i: f"{name[0]}{i}",
        "age": lambda name, i: str(40 + 7 * i % 20),
    }
    found = check.check(listed(drawn, tmp_path, columns))
    told = [f.message for f in found.findings if f.code == "shortcut"]
    named = {name for name in columns if any(m.startswith(f"the column {name} ") for m in told)}
    assert named == {"site", "date", "score"}


def test_a_manifest_keeps_the_columns(drawn, tmp_path):
    found = check.check(listed(drawn, tmp_path, {"site": lambda name, i: f"s{i % 3}"}))
    check.manifest(found, tmp_path / "checked.csv")
    assert csv_table.load(tmp_path / "checked.csv").columns == found.cases.columns


def test_the_camera_that_exif_names_is_a_shortcut(drawn, tmp_path):
    for name in ("rings", "waves"):
        (tmp_path / name).mkdir()
        for i in range(20):
            exif = Image.Exif()
            exif[0x0110] = "Model X" if name == "waves" else f"Model {'AB'[i % 2]}"
            exif[0x0132] = f"2024:05:{i + 1:02d} 10:00:00"
            image = Image.open(drawn / name / f"{i}.png")
            image.save(tmp_path / name / f"{i}.jpg", exif=exif)
    told = [f.message for f in check.check(tmp_path).findings if f.code == "shortcut"]
    assert any(message.startswith("camera (EXIF) alone") for message in told)
    assert not any(message.startswith("date (EXIF)") for message in told)


def lettered(image, text, place, size):
    image = image.copy()
    font = ImageFont.load_default(size)
    ImageDraw.Draw(image).text(place, text, fill=(255, 255, 255), font=font)
    return image


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Sixty pieces of photographs, 256 pixels a side, in two classes, with black edges."""
    place = tmp_path_factory.mktemp("scans") / "scans"
    for name in ("china", "flower"):
        (place / name).mkdir(parents=True)
        whole = load_sample_image(f"{name}.jpg")
        for i, (y, x) in enumerate(product(range(0, 300, 60), range(0, 456, 76))):
            image = Image.new("RGB", (256, 256))
            image.paste(Image.fromarray(whole[y : y + 128, x : x + 180]).resize((180, 180)), (38, 38))
            image.save(place / name / f"{i}.png")
    return place


def in_text(place):
    found = check.check(place)
    return {file for f in found.findings if f.code == "burned-in text" for file in f.files}


def test_letters_that_were_burned_in_are_a_hint(scans, tmp_path):
    place = tmp_path / "scans"
    shutil.copytree(scans, place)
    assert len(in_text(place)) <= 2  # of 60
    wanted = set()
    for i in range(20):
        file = place / "china" / f"{i}.png"
        text = ("TANAKA H", "2024-05-01", "M/63Y 120kV")[i % 3]
        lettered(Image.open(file), text, (6, 238 if i % 2 else 6), 14).save(file)
        wanted.add(f"china/{i}.png")
    found = in_text(place)
    assert len(found & wanted) >= 18 and len(found - wanted) <= 2


def test_a_mark_at_the_same_place_in_many_pictures_is_a_hint(scans, tmp_path):
    place = tmp_path / "scans"
    shutil.copytree(scans, place)
    wanted = {f"flower/{i}.png" for i in range(0, 30, 2)}
    for name in wanted:
        lettered(Image.open(place / name), "R", (220, 8), 24).save(place / name)
    found = in_text(place)
    assert len(found & wanted) >= 14 and len(found - wanted) <= 2


def test_a_column_may_say_that_letters_are_there(drawn, tmp_path):
    column = {"burned-in annotation": lambda name, i: "YES" if i == 3 else "NO"}
    path = listed(drawn, tmp_path, column)
    assert in_text(path) == {"rings/3.png", "waves/3.png"}


def test_near_duplicates_keep_to_one_side():
    torch.manual_seed(0)
    image = torch.randint(0, 255, (40, 1, 16, 16)).byte()
    cases = Dataset("few", image, torch.arange(40) % 2, ("a", "b"), [f"{i}.png" for i in range(40)])
    plain = splits.split(cases)
    one, other = int(plain.train[0]), int(plain.test[0])
    moved = splits.split(cases, alike=[(one, other)])
    part = {row: name for name in ("train", "val", "test") for row in getattr(moved, name).tolist()}
    assert part[one] == part[other]
