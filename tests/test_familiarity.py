"""The check that an answer is about a case like those of training."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from PIL import Image
from safetensors.torch import save_file

from souron import model, registry
from souron.cli import main
from souron.data import load, splits
from souron.evaluation import familiarity
from souron.evaluation.familiarity import Check, Gauge
from souron.hub import zoo
from souron.kinds.boxes import Boxes
from souron.kinds.finding import Familiarity, Finding, notice, unlike
from souron.kinds.labels import Labels
from souron.kinds.picture import Picture
from souron.kinds.text import Text
from souron.runs import evaluate, fit, train
from souron.runs import folder as run_folder
from souron.studio import answers
from souron.utils import units
from souron.utils.messages import UserError

IMAGES = Path(skimage.__file__).parent / "data"
READY = sorted(file.parent.parent.name for file in zoo.root().glob(f"*/{familiarity.FILE}"))


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    project = tmp_path_factory.mktemp("familiar")
    return train.train("cnn_tiny", "digits", budget="10ep", folds=1, project=str(project))


@pytest.fixture
def run(record, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(record.folder, tmp_path / "run")


@pytest.fixture(scope="module")
def noise():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    return [Picture(Image.fromarray(one)) for one in pixels]


def flagged(asked, given):
    return [asked.answer(one).familiar.unlike for one in given]


def test_the_threshold_lets_one_validation_case_in_twenty_be(record):
    gauge = Gauge.read(record.folder / familiarity.FILE)
    digits = load.load("digits")
    wanted = [row for row, name in enumerate(digits.file) if part_of(record)[name] == "val"]
    far = familiarity.distances(gauge, record.model, digits.only(wanted)) > gauge.threshold
    assert gauge.cases == len(wanted)
    assert far.sum() == len(wanted) - math.ceil((len(wanted) + 1) * (1 - familiarity.ALARMS))


def part_of(record):
    lines = (record.folder / "split.csv").read_text(encoding="utf-8").splitlines()
    head = lines[0].split(",")
    rows = [line.split(",") for line in lines[1:]]
    return {row[head.index("file")]: row[head.index("part")] for row in rows}


def test_cases_like_those_of_training_are_rarely_flagged_and_noise_is(record, noise):
    asked, digits = model.load(record.folder), record.test
    own = flagged(asked, [Picture.of(one) for one in digits.input[:150]])
    assert sum(own) <= 20  # 5 % are expected; as many by chance in less than 1 in 10 000
    assert (
        0 < record.unlike <= 0.13
        and json.loads((record.folder / "receipt.json").read_text(encoding="utf-8"))["unlike"] == record.unlike
    )
    assert all(flagged(asked, noise))


def test_the_threshold_is_set_on_cases_that_training_did_not_see(monkeypatch):
    """Of a Gaussian with nearly as many directions as cases, those cases are all near."""
    seen = []
    names = ["layer"]
    drawn = torch.randn(400, 60, generator=torch.Generator().manual_seed(0))

    def features(_system, cases, _names=None):
        seen.append(cases.file)
        return {"layer": drawn[[int(name) for name in cases.file]]}

    class System:
        def found(self, loader): ...

    monkeypatch.setattr(familiarity, "features", features)
    monkeypatch.setattr(familiarity, "_layers", lambda *_: names)
    digits = load.load("digits")
    cases = replace(digits.only(range(400)), file=[str(row) for row in range(400)])
    gauge = familiarity.fit(System(), cases.only(range(70)), cases.only(range(70, 170)))
    assert seen[0] == [str(row) for row in range(70)]
    others = gauge.distance(drawn[170:]) > gauge.threshold
    assert 0.005 < others.double().mean() < 0.13  # half of them where training set it


def test_too_few_validation_cases_set_no_threshold(record):
    digits = load.load("digits")
    train, few = digits.only(range(100)), digits.only(range(100, 119))
    assert familiarity.fit(record.model, train, few) is None
    enough = familiarity.fit(record.model, train, digits.only(range(100, 120)))
    assert enough.cases == 20


def test_a_run_says_that_it_has_no_check(record, tmp_path):
    digits, rows = load.load("digits"), torch.arange(130)
    split = splits.Split(rows[:100], rows[100:119], rows[119:])
    [event] = fit.check(tmp_path, registry.load_task("classify"), record.model, digits, split, 100)
    assert "needs 20 validation cases, and there are 19" in event.text and not list(tmp_path.iterdir())


def test_the_report_says_how_many_test_cases_are_flagged(record):
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    page = page.replace("\u00a0", " ")
    assert "unlike the training data" in page and units.percent(record.unlike) in page


def test_the_command_warns_and_json_has_the_check(run, tmp_path, capsys):
    Image.open(IMAGES / "chelsea.png").save(tmp_path / "cat.png")
    main.run(["predict", str(run), "cat.png"])
    told = " ".join("".join(capsys.readouterr()).split())
    assert "unlike its training data (distance" in told
    main.run(["predict", str(run), "cat.png", "--json"])
    found = json.loads(capsys.readouterr().out)["familiar"]
    assert found["unlike"] and found["score"] > found["threshold"] > 0


def test_a_run_without_the_file_answers_without_the_check(run, noise, capsys):
    (run / familiarity.FILE).unlink()
    assert model.load(run).answer(noise[0]).familiar is None
    noise[0].save(Path("noise.png"))
    main.run(["predict", str(run), "noise.png", "--json"])
    assert json.loads(capsys.readouterr().out)["familiar"] is None
    assert evaluate.examine(run).unlike is None


def test_the_receipt_knows_the_file(run):
    receipt = json.loads((run / "receipt.json").read_text(encoding="utf-8"))
    assert familiarity.FILE in receipt["files"]
    gauge = Gauge.read(run / familiarity.FILE)
    replace(gauge, threshold=1e6).write(run / familiarity.FILE)
    with pytest.raises(UserError, match="not the files that the run ended with"):
        run_folder.refuse_changed(run)


def test_other_data_gets_a_note(run, tmp_path):
    rng = np.random.default_rng(0)
    for label in "01":
        (tmp_path / "noise" / label).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "noise" / label / f"{number}.png")
    record = evaluate.examine(run, tmp_path / "noise")
    assert record.unlike == 1
    assert any("100.0 % of these cases are unlike" in note for note in record.notes)


def hostile(gauge, name):
    tensors = {part: getattr(gauge, part) for part in ("mean", "scale", "basis", "variance")}
    about = {part: getattr(gauge, part) for part in ("layers", "rest", "threshold", "cases")}
    first = next(iter(gauge.layers))
    changes = {
        "no layers": ({}, {"layers": {}}),
        "layers as a list": ({}, {"layers": [1]}),
        "width": ({}, {"layers": {**gauge.layers, first: 10**9}}),
        "another width": ({}, {"layers": {**gauge.layers, first: gauge.layers[first] + 1}}),
        "not finite": ({"mean": gauge.mean * math.nan}, {}),
        "variance": ({"variance": -gauge.variance}, {}),
        "basis": ({"basis": gauge.basis[:-1].contiguous()}, {}),
        "threshold": ({}, {"threshold": "far"}),
        "no threshold": ({}, {"threshold": None}),
        "negative": ({}, {"threshold": -1.0}),
        "whole numbers": ({"mean": gauge.mean.long()}, {}),
    }
    return tensors | changes[name][0], about | changes[name][1]


@pytest.mark.parametrize(
    "name",
    [
        "no layers",
        "layers as a list",
        "width",
        "another width",
        "not finite",
        "variance",
        "basis",
        "threshold",
        "no threshold",
        "negative",
        "whole numbers",
    ],
)
def test_a_hostile_file_is_refused(run, noise, name):
    file = run / familiarity.FILE
    (run / "receipt.json").unlink()  # whoever changes the one can change the other
    tensors, about = hostile(Gauge.read(file), name)
    save_file(tensors, file, {"souron": json.dumps(about)})
    with pytest.raises(UserError, match="familiarity"):
        model.load(run).answer(noise[0])


def test_a_file_that_is_too_large_is_not_read(run):
    with (run / familiarity.FILE).open("ab") as file:
        file.truncate(familiarity.MOST_BYTES + 1)
    with pytest.raises(UserError, match="no familiarity check"):
        Gauge.read(run / familiarity.FILE)


def test_the_check_of_another_network_is_refused(run):
    file = run / familiarity.FILE
    (run / "receipt.json").unlink()
    shutil.copy(zoo.root() / "resnet" / familiarity.FILE, file)
    with pytest.raises(UserError, match="another network"):
        _ = model.load(run).check


def test_a_distance_is_that_of_the_gaussian():
    """Against the covariance written out."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(500, 12, generator=generator) @ torch.randn(12, 12, generator=generator)
    gauge = familiarity.gaussian({"a": mixed[:, :8], "b": mixed[:, 8:]})
    basis, scale = gauge.basis.double(), gauge.scale.double()
    rank = len(gauge.variance)
    covariance = basis @ torch.diag(gauge.variance.double() - gauge.rest) @ basis.T
    covariance += gauge.rest * torch.eye(12)
    z = (mixed.double() - gauge.mean) * scale
    wanted = ((z @ covariance.inverse()) * z).sum(1).div(12).sqrt()
    assert rank == 4
    assert torch.allclose(gauge.distance(mixed).double(), wanted, rtol=0.01)
    assert float(wanted.square().mean()) == pytest.approx(1, abs=0.02)


def test_layers_count_alike_however_wide(record):
    gauge = Gauge.read(record.folder / familiarity.FILE)
    digits = load.load("digits").only(range(200))
    rows = familiarity.features(record.model, digits, list(gauge.layers))
    whole = familiarity.gaussian(rows)
    z = (torch.cat([*rows.values()], 1) - whole.mean) * whole.scale
    widths = [*whole.layers.values()]
    spread = [float(part.var(0).sum()) for part in z.split(widths, 1)]
    differ = [float((part > 0).double().mean()) for part in whole.scale.split(widths)]
    assert len(set(widths)) > 1 and max(differ) == 1  # a channel that never differs counts nothing
    assert spread == pytest.approx(differ, rel=1e-3)


def test_threads_hear_their_own_answers_alone(record, noise):
    from concurrent.futures import ThreadPoolExecutor

    asked = model.load(record.folder)
    alone = [asked.answer(one).familiar.score for one in noise]
    with ThreadPoolExecutor(4) as pool:
        together = [one.familiar.score for one in pool.map(asked.answer, noise)]
    assert together == pytest.approx(alone, rel=1e-5)


def test_a_trained_model_is_checked_anew(tmp_path):
    asked = model.load("cnn_tiny")
    asked.train("digits", budget="2ep", folds=1, project=str(tmp_path))
    first = asked.check
    asked.train("digits", budget="2ep", folds=1, project=str(tmp_path))
    assert asked.check is not first and asked.check.network is asked.system


def test_answers_to_many_in_a_row_are_checked_too():
    asked = model.load("yolo")
    scene = Picture.read(zoo.examples(asked.folder)[0])
    quick, slow = asked.for_many().answer(scene), asked.answer(scene)
    assert quick.familiar.score == pytest.approx(slow.familiar.score, rel=0.1)


PADDED = sorted(  # systems that put bars beside an image which is not square, and were trained on squares
    name for name in READY if registry.find(name)[0].task in ("detect", "segment", "segment_instances", "pose")
)


@pytest.mark.parametrize("cut", [(0, 16, 128, 112), (16, 0, 112, 128)], ids=["4:3", "3:4"])
@pytest.mark.parametrize("name", PADDED)
def test_bars_beside_an_image_do_not_make_it_unlike(name, cut):
    asked = model.load(name)
    scene = Picture.read(zoo.examples(asked.folder)[0])
    found = asked.answer(Picture(scene.image.crop(cut))).familiar
    assert found.score < 1.1 * found.threshold  # its things are a third larger than any of training


def test_a_photograph_beside_bars_is_unlike_drawings():
    photograph = Picture(Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png"))
    assert photograph.size[0] != photograph.size[1]
    assert model.load("yolo").answer(photograph).familiar.unlike


@pytest.mark.parametrize("color", [(0, 0, 0), (128, 128, 128), (255, 0, 0)], ids=["black", "grey", "red"])
@pytest.mark.parametrize("name", ["mlp", "vit", "resnet"])
def test_an_image_of_one_colour_is_a_guess(name, color):
    """Black lies near the drawings of shoes on black."""
    from souron.serve import predictors

    asked, image = model.load(name), Picture(Image.new("RGB", (40, 30), color))
    assert asked.answer(image).familiar.blank and "one colour" in notice(asked.answer(image))
    predictor = predictors.predictor_for(asked)
    shoe = Picture.read(zoo.examples(asked.folder)[0])
    told = predictor.predict([predictor.preprocess(one, {}) for one in (shoe, image)])
    assert [predictor.encode(one, {})["familiar"]["unlike"] for one in told] == [False, True]


def test_a_server_says_it_too(record, noise):
    from souron.serve import predictors

    asked = model.load(record.folder)
    predictor = predictors.predictor_for(asked)
    batch = [predictor.preprocess(one, {}) for one in noise]
    told = [predictor.encode(each, {})["familiar"] for each in predictor.predict(batch)]
    wanted = [asked.answer(one).familiar for one in noise]
    assert [one["score"] for one in told] == pytest.approx([one.score for one in wanted], rel=1e-3)
    assert all(one["unlike"] for one in told)


def test_the_studio_shows_the_warning():
    said = Labels("cat.png", ("bag", "coat"), (0.9, 0.1))
    said.judged(Familiarity(3.5, 1.25))
    assert "unlike its training data" in answers.said(answers.Answer("cat.png", said), 2)
    said.judged(Familiarity(1.0, 1.25))
    assert "unlike" not in answers.said(answers.Answer("cat.png", said), 2)


def test_kinds_of_findings_tell_it_in_json():
    boxes = Boxes(Picture(Image.new("L", (4, 4))), np.zeros((0, 4)), ())
    assert boxes.as_json()["familiar"] is None and unlike(boxes) == ""
    boxes.judged(Familiarity(2.0, 1.0))
    assert boxes.as_json()["familiar"] == {"score": 2.0, "threshold": 1.0, "unlike": True}
    assert unlike("a text") == ""


# what comes ready trained


def test_what_finds_something_comes_with_the_check():
    for folder in sorted(file.parent for file in zoo.root().glob("*/args.yaml")):
        system = run_folder.load(folder)
        asked = model.Model(folder.name, system, folder)
        about = asked.asked if hasattr(system, "predict") else None
        finds = about is not None and issubclass(about.gives, Finding) and about.given is not Text
        assert (folder / familiarity.FILE).is_file() == finds, folder.name
        if finds:
            assert isinstance(asked.check, Check)
            assert (folder / familiarity.FILE).stat().st_size < 250_000
            assert familiarity.FILE in zoo.receipt(folder)["files"]


def test_resnet_knows_a_cat_and_a_rocket_for_unlike_clothes():
    asked = model.load("resnet")
    for name in ("chelsea.png", "rocket.jpg", "astronaut.png", "coffee.png"):
        assert asked(IMAGES / name).familiar.unlike, name
    image = zoo.sample()[0]
    own = flagged(asked, [Picture.of(one) for one in image[:300]])
    assert 3 <= sum(own) <= 30  # 15 are expected


def test_yolo_knows_a_photograph_for_unlike_drawn_scenes():
    asked = model.load("yolo")
    assert asked(IMAGES / "chelsea.png").familiar.unlike
    assert asked(IMAGES / "astronaut.png").familiar.unlike
    own = [asked(file).familiar.unlike for file in zoo.examples(asked.folder)]
    assert sum(own) <= 2


def test_a_volume_is_checked():
    asked = model.load("unet_3d")
    [example] = zoo.examples(asked.folder)
    assert not asked(example).familiar.unlike
