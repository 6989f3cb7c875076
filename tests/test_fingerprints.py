"""A run knows its training pictures and its own files again: others in their place are refused."""

import json
import shutil
from itertools import product

import numpy as np
import pytest
import radiographs
import torch
from drawing import textures
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_image

import souron
from souron.cli.main import run
from souron.data.formats import folder
from souron.data.quality import duplicates
from souron.data.readers.settings import Reading
from souron.runs import evaluate, fingerprints
from souron.runs import folder as run_folder
from souron.runs import train as run_train
from souron.serve import server
from souron.utils.messages import UserError

pytestmark = pytest.mark.usefixtures("same_eyes")


def jpeg(image, path):
    image.save(path.with_suffix(".jpg"), quality=90)


def resized(image, path):
    image.resize((90, 90)).save(path)


def brighter(image, path):
    ImageEnhance.Brightness(image).enhance(1.25).save(path)


def darker(image, path):
    image.point(lambda value: max(0, value - 64)).save(path)


CHANGES = (jpeg, resized, brighter, darker)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return textures(tmp_path_factory.mktemp("drawn") / "textures", count=24)


@pytest.fixture
def own(drawn, tmp_path):
    """The first sixteen pictures of two classes, with parts of their own."""
    place = tmp_path / "own"
    for name in ("rings", "waves"):
        for i in range(16):
            part = "train" if i < 10 else "val" if i < 13 else "test"
            (place / part / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(drawn / name / f"{i}.png", place / part / name)
    return place


def others(drawn, place, change, copied=4):
    """Eight pictures that were not learnt from and so many changed training pictures, by turns."""
    for name in ("rings", "waves"):
        (place / name).mkdir(parents=True)
        for i in range(16, 20):
            shutil.copy(drawn / name / f"{i}.png", place / name / f"new{i}.png")
        for i in range(copied):
            change(Image.open(drawn / name / f"{i}.png"), place / name / f"copy{i}.png")
    return place


def train(data, system="mlp_tiny", **options):
    return run_train.train(system, data, budget="2ep", batch=8, **options)


@pytest.mark.parametrize("change", CHANGES)
def test_changed_training_pictures_are_refused_though_the_training_data_is_gone(drawn, own, tmp_path, change):
    record = train(own)
    shutil.rmtree(own)
    assert evaluate.examine(record.folder, others(drawn, tmp_path / "new", change, 0)).notes == []
    half = others(drawn, tmp_path / "half", change)
    with pytest.raises(UserError) as trouble:
        evaluate.examine(record.folder, half)
    assert (trouble.value.code, trouble.value.exit) == ("leak", 3)
    assert trouble.value.found.startswith("8 of 16 images") and "8 resized" in trouble.value.found
    assert "as train/rings/0.png" in trouble.value.found
    allowed = evaluate.examine(record.folder, half, allow_leak=True)
    assert allowed.measures["accuracy"].n == 16 and len(allowed.leaking) == 8
    [note] = allowed.notes
    assert note.startswith("The figures are too good") and "8 of 16" in note


@pytest.mark.parametrize("system", ["kmeans", "vae_tiny"])
def test_every_task_that_has_pictures_refuses_them(drawn, own, tmp_path, system):
    data = own / "train" if system == "kmeans" else own
    record = train(data, system, **({"samples": 8} if system == "vae_tiny" else {}))
    with pytest.raises(UserError, match="8 of 16 images") as trouble:
        evaluate.examine(record.folder, others(drawn, tmp_path / "half", jpeg))
    assert trouble.value.code == "leak"


@pytest.mark.filterwarnings("ignore:Data check of")
def test_a_run_without_fingerprints_reads_its_data_or_says_that_it_cannot(drawn, own, tmp_path):
    record = train(own)
    (record.folder / fingerprints.FILE).unlink()
    half = others(drawn, tmp_path / "half", jpeg)
    with pytest.raises(UserError, match="8 of 16 images"):
        evaluate.examine(record.folder, half)
    shutil.rmtree(own)
    [note] = evaluate.examine(record.folder, half).notes
    assert note.startswith("Copies of training images could not be looked for")
    with pytest.warns(UserWarning, match="could not be looked for"):
        evaluate.evaluate(record.folder, half)


def test_the_command_line_says_what_was_allowed(drawn, own, tmp_path, capfd):
    record = train(own)
    half = others(drawn, tmp_path / "half", jpeg)
    assert run(["val", str(record.folder), f"data={half}"]) == 3
    assert "8 of 16 images" in capfd.readouterr().err
    assert run(["val", str(record.folder), f"data={half}", "allow_leak=true"]) == 0
    assert "The figures are too good" in capfd.readouterr().err
    assert run(["val", str(record.folder), f"data={half}", "allow_leak=true", "--json"]) == 0
    assert "too good" in json.loads(capfd.readouterr().out)["notes"][0]


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
def test_reduced_pictures_are_enough_to_know_copies_and_no_others(photographs, tmp_path, change):
    for file in photographs.rglob("*.png"):
        (tmp_path / "copies" / file.parent.name).mkdir(parents=True, exist_ok=True)
        change(Image.open(file), tmp_path / "copies" / file.parent.name / file.name)
    learnt = folder.load(photographs, Reading(64))
    cases = folder.load(tmp_path / "copies", Reading(64))
    kept = duplicates.reduced(learnt.stored)
    assert kept.dtype == torch.uint8 and kept.shape[-1] == duplicates.FINE
    pairs = duplicates.copies(kept, duplicates.reduced(cases.stored))
    stem = [str(file).rpartition(".")[0] for file in cases.file]
    right = sum(stem[j] == str(learnt.file[i]).rpartition(".")[0] for i, j in pairs)
    assert right >= 0.95 * len(learnt) and len(pairs) == right
    grey = fingerprints.fingerprints(cases).reduced.float().mean(1, keepdim=True)
    assert len(duplicates.copies(kept, grey)) >= 0.9 * len(learnt)


@pytest.mark.parametrize("deep", [True, False])
def test_faint_radiographs_of_other_patients_are_no_copies(deep):
    image = []
    for patient in range(40):
        chance = np.random.default_rng(patient)
        picture = radiographs.radiograph(radiographs.jaw(chance), chance, 0, 64)
        image.append(radiographs.exposed(picture, "A", chance) / radiographs.MOST)
    every = torch.from_numpy(64 * np.stack(image))[:, None]
    every = every.float() if deep else every.byte()
    kept = duplicates.reduced(every)
    assert duplicates.copies(kept[:20], kept[20:]) == []
    assert duplicates.copies(kept[:20], kept[:20]) == [(i, i) for i in range(20)]


def test_one_image_of_many_that_may_be_a_copy_is_no_reason_to_refuse():
    pair = ("new.png", "old.png")
    few, many = (fingerprints.Overlap(200, near=[pair] * count) for count in (2, 3))
    fingerprints.refuse(few)
    [note] = fingerprints.notes(few)
    assert few.files == () and note.startswith("2 of 200 images may be altered copies") and "as old.png" in note
    with pytest.raises(UserError, match="3 of 200 images"):
        fingerprints.refuse(many)
    with pytest.raises(UserError, match="1 identical"):
        fingerprints.refuse(fingerprints.Overlap(2000, exact=[pair], near=[pair]))


def test_another_file_than_the_run_ended_with_is_refused_and_told(own, drawn):
    record = train(own)
    receipt = json.loads((record.folder / "receipt.json").read_text(encoding="utf-8"))
    assert {"weights/best.safetensors", "split.csv"} <= receipt["files"].keys()
    assert all(len(value) == 64 for value in receipt["files"].values())
    assert evaluate.evaluate(record.folder) == record.measures
    souron.load(record.folder)

    split = record.folder / "split.csv"
    whole = split.read_text(encoding="utf-8")
    split.write_text(whole.replace(",train\n", ",test\n", 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"split\.csv \(written 20") as trouble:
        evaluate.evaluate(record.folder)
    assert (trouble.value.code, trouble.value.exit) == ("changed", 3)
    split.write_text(whole, encoding="utf-8")
    evaluate.evaluate(record.folder)

    other = train(own, seed=1)
    weights = "weights/best.safetensors"
    shutil.copy(other.folder / weights, record.folder / weights)
    with pytest.raises(UserError, match=r"best\.safetensors"):
        evaluate.evaluate(record.folder)
    with pytest.warns(UserWarning, match=r"best\.safetensors"):
        souron.load(record.folder)


def test_predict_warns_of_other_weights_and_answers(own, drawn, capfd):
    record, other = train(own), train(own, seed=1)
    image = str(drawn / "rings" / "0.png")
    assert run(["predict", str(record.folder), image]) == 0
    assert "not the files" not in capfd.readouterr().err
    weights = "weights/best.safetensors"
    shutil.copy(other.folder / weights, record.folder / weights)
    assert run(["predict", str(record.folder), image]) == 0
    said = capfd.readouterr()
    assert "not the files that the run ended with" in said.err and "rings" in said.out


def exchanged(record, other):
    """The run with another run's weights."""
    weights = "weights/best.safetensors"
    shutil.copy(other.folder / weights, record.folder / weights)
    return str(record.folder)


def told(words, capfd):
    """What a command says on stderr of files that are not the run's."""
    assert run(words) == 0
    return [line for line in capfd.readouterr().err.splitlines() if "not the files" in line]


def test_generate_warns_of_other_weights_and_draws(own, capfd):
    record, other = (train(own, "vae_tiny", samples=8, seed=seed) for seed in (0, 1))
    words = ["generate", str(record.folder), "n=1"]
    assert told(words, capfd) == []
    exchanged(record, other)
    [line] = told([*words, "--quiet"], capfd)
    assert line.startswith(f"{record.folder}: ") and "best.safetensors (written 20" in line
    with pytest.warns(UserWarning, match="not the files that the run ended with"):
        souron.load(record.folder)
    assert len(list(record.folder.glob("pictures/*/00000.png"))) == 2


def test_serve_warns_of_other_weights_when_it_starts(own, capfd, monkeypatch):
    record, other, served = train(own), train(own, seed=1), []

    def serve(service, *_where):
        served.append(service.name)
        service.close()

    monkeypatch.setattr(server, "serve", serve)
    words = ["serve", str(record.folder)]
    assert told(words, capfd) == []
    [line] = told(["serve", exchanged(record, other)], capfd)
    assert line.startswith(f"{record.folder}: ") and len(served) == 2


def test_a_training_that_starts_from_other_weights_warns_of_it(own, capfd):
    record, other = train(own), train(own, seed=1)
    words = ["train", "mlp_tiny", f"data={own}", "budget=1ep", f"pretrained={record.folder}"]
    assert told(words, capfd) == []
    exchanged(record, other)
    [line] = told(words, capfd)
    assert line.startswith(f"{record.folder}: ")


def test_exchanged_labels_are_refused_and_another_place_of_the_data_is_not(tmp_path):
    args = {"system": "cnn_tiny", "data": "here", "seen": {"labels": ["ill", "well"]}, "config": {"rate": 0.1}}
    run_folder.write_args(tmp_path, args)
    (tmp_path / "receipt.json").write_text(json.dumps(run_folder.ending(tmp_path)), encoding="utf-8")
    run_folder.write_args(tmp_path, args | {"data": "there"})
    run_folder.refuse_changed(tmp_path)
    run_folder.write_args(tmp_path, args | {"seen": {"labels": ["well", "ill"]}})
    with pytest.raises(UserError, match=r"args\.yaml \(written 20"):
        run_folder.refuse_changed(tmp_path)


def test_a_run_without_hashes_opens_as_before(own):
    record = train(own)
    path = record.folder / "receipt.json"
    receipt = json.loads(path.read_text(encoding="utf-8"))
    del receipt["files"], receipt["ended"]
    path.write_text(json.dumps(receipt), encoding="utf-8")
    with (record.folder / "split.csv").open("a", encoding="utf-8") as split:
        split.write("")
    assert evaluate.evaluate(record.folder) == record.measures
    souron.load(record.folder)
