"""Cephalometric measures: geometry, norms, error, and the study on a film."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from souron.actions import cephalometry
from souron.actions.cephalometry import measures
from souron.actions.cephalometry.measures import Error, Norm
from souron.cli import main
from souron.data.composing.phantoms import cephalograms
from souron.data.composing.phantoms.heads import LANDMARKS
from souron.evaluation.vision.keypoints import KeypointResult
from souron.utils.messages import UserError

# a head that looks to the right; x and y in pixels, y downwards
POINTS = {
    "sella": (0, 0),
    "nasion": (70, 0),
    "orbitale": (60, 30),
    "porion": (-20, 30),
    "A point": (70, 50),
    "B point": (65, 90),
    "pogonion": (65, 105),
    "menton": (60, 115),
    "gonion": (-10, 75),
    "posterior nasal spine": (25, 45),
    "anterior nasal spine": (75, 45),
}
NAMES = list(POINTS)


def measured(points=POINTS, change=lambda at: at):
    place = change(np.array([points[name] for name in NAMES], float))
    return {name: float(value) for name, value in measures.measure(NAMES, place).items()}


def test_angles_and_ratio_by_hand():
    found = measured()
    down = lambda x, y: math.degrees(math.atan2(y, x))  # noqa: E731
    assert found["SNA"] == pytest.approx(90)
    assert found["SNB"] == pytest.approx(90 - down(90, 5))
    assert found["ANB"] == pytest.approx(down(90, 5))
    assert found["facial angle"] == pytest.approx(90 - down(105, 5))
    mandibular = down(70, 40)  # of the mandibular to the horizontal Frankfort plane
    assert found["FMA"] == pytest.approx(mandibular)
    jaws = 90 - down(40, 5)  # of B to A, from the horizontal
    assert found["ODI"] == pytest.approx(180 - mandibular - jaws)
    assert found["APDI"] == pytest.approx(90 - down(105, 5) + (down(105, 5) - down(40, 5)))
    assert found["facial height ratio"] == pytest.approx(100 * math.hypot(10, 75) / math.hypot(10, 115))


def test_a_palate_that_is_tilted_down_in_front_counts_positive():
    tilted = measured(POINTS | {"anterior nasal spine": (75, 50)})
    tilt = math.degrees(math.atan2(5, 50))
    for name in ("ODI", "APDI"):
        assert tilted[name] - measured()[name] == pytest.approx(tilt)


@pytest.mark.parametrize("change", ["mirrored", "turned", "enlarged", "moved"])
def test_measures_do_not_depend_on_how_the_film_lies(change):
    angle = math.radians(12)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    changes = {
        "mirrored": lambda at: at * np.array([-1, 1]) + np.array([300, 0]),
        "turned": lambda at: at @ turn.T,
        "enlarged": lambda at: 3 * at,
        "moved": lambda at: at + np.array([40, -7]),
    }
    assert measured(change=changes[change]) == pytest.approx(measured())


def test_only_measures_with_all_their_landmarks_are_possible():
    able = [each.name for each in measures.possible(["S", "na", "Subspinale"])]
    assert able == ["SNA"]
    assert not measures.possible(["left eye", "nose"])
    assert [each.name for each in measures.possible(LANDMARKS)] == [each.name for each in measures.MEASURES]


def test_the_synthetic_jaw_classes_are_those_of_their_angles():
    """In class II the lower jaw lies behind, in class III in front."""
    made = cephalograms.films(cephalograms.Recipe(32, 3, {"test": 60}))
    values = measures.measure(LANDMARKS, made.points.double().numpy())
    jaws = np.array(made.jaws)
    mean = {jaw: {name: value[jaws == jaw].mean() for name, value in values.items()} for jaw in ("I", "II", "III")}
    for name, rising in (("ANB", False), ("APDI", True), ("ODI", False)):
        order = [mean[jaw][name] for jaw in ("II", "I", "III")]
        assert order == sorted(order, reverse=not rising), name


def test_error_is_bias_and_deviation_of_predicted_minus_marked():
    random = np.random.default_rng(0)
    marked = np.array([[POINTS[name] for name in NAMES]] * 400, float)
    predicted = marked + random.normal(0, 1, marked.shape)
    found = measures.errors(NAMES, predicted, marked)
    difference = measures.measure(NAMES, predicted)["SNA"] - measures.measure(NAMES, marked)["SNA"]
    assert found["SNA"].bias == pytest.approx(difference.mean())
    assert found["SNA"].deviation == pytest.approx(difference.std(ddof=1))
    inside = np.abs(difference - found["SNA"].bias) < measures.LIMITS * found["SNA"].deviation
    assert 0.92 < inside.mean() < 0.98
    marked[5:, NAMES.index("A point")] = np.nan
    few = measures.errors(NAMES, predicted, marked)
    assert "SNA" not in few and few["SNB"].cases == 400


def test_a_verdict_needs_limits_on_one_side_of_the_norm():
    norm, error = Norm(80, 84, "x"), Error(bias=1.0, deviation=0.5, cases=100)
    cases = {79: "below", 80.9: "unsure", 83: "within", 85.5: "unsure", 87: "above"}
    assert {value: measures.verdict(value, norm, error) for value in cases} == cases
    assert measures.verdict(70, norm, None) == "unsure"
    assert measures.verdict(math.nan, norm, error) == "unsure"


@pytest.mark.parametrize(
    "text",
    [
        "measure,low,high\nSNA,80,84\n",
        "measure,low,high,source\nSNA,84,80,x\n",
        "measure,low,high,source\nSNA,a,84,x\n",
        "measure,low,high,source\nXYZ,80,84,x\n",
        "x" * 100_001,
    ],
)
def test_a_table_of_norms_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "norms.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as trouble:
        measures.read_norms(tmp_path / "norms.csv")
    assert trouble.value.code == "norms"


def test_own_norms_take_the_place_of_those_of_souron(tmp_path):
    text = "measure,low,high,source\nSNA,70,72.5,own\n"
    (tmp_path / "norms.csv").write_text(text, encoding="utf-8")
    assert measures.read_norms(tmp_path / "norms.csv") == {"SNA": Norm(70, 72.5, "own")}


@pytest.fixture
def film(tmp_path, monkeypatch):
    """A folder with one film, its true measures, and test cases whose error is known."""
    made = cephalograms.films(cephalograms.Recipe(128, 7, {"test": 1}))
    Image.fromarray(made.images[0, 0].numpy()).save(tmp_path / "film.png")
    marked = made.points.double().expand(30, -1, -1)
    noise = torch.randn(marked.shape, generator=torch.Generator().manual_seed(0)).double()
    found = (marked + 0.4 * noise).numpy()
    nothing = np.zeros(0)
    result = KeypointResult(True, (), found, nothing, nothing, {}, {}, None)
    examined = SimpleNamespace(details=result, test=SimpleNamespace(target=marked))
    monkeypatch.setattr(cephalometry.evaluate, "examine", lambda folder: examined)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURON_LANG", "en")
    return {k: float(v[0]) for k, v in measures.measure(LANDMARKS, made.points.numpy()).items()}


def test_a_film_is_measured_with_the_ready_detector(film, tmp_path, capsys):
    assert main.run(["cephalometry", "heatmap_points", "film.png", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    [one] = told["films"]
    for name, value in film.items():
        low, high = one["measures"][name]["interval"]
        assert abs(one["measures"][name]["value"] - value) < 5, name
        assert low < high and told["error"][name]["cases"] == 30
    assert told["learnt_from"] == "cephalo (synthetic)"
    assert len(one["points"]) == len(LANDMARKS) and "familiar" in one
    page = (tmp_path / "runs/cephalometry/film/report.html").read_text(encoding="utf-8")
    assert "Steiner 1953" in page and "Bland, Altman" in page and "film.png" in page


def test_without_an_error_there_is_no_verdict(film, tmp_path, capsys, monkeypatch):
    def gone(folder):
        raise UserError("data", "the data is gone", exit=3)

    monkeypatch.setattr(cephalometry.evaluate, "examine", gone)
    assert main.run(["cephalometry", "heatmap_points", "film.png"]) == 0
    out, err = capsys.readouterr()
    assert "cannot tell: SNA, SNB" in out and "within the norm" not in out
    assert "the data is gone" in err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["resnet", "film.png"], "landmarks"),
        (["heatmap_points"], "argument"),
        (["heatmap_points", "nothing.png"], "files"),
        (["heatmap_points", "film.png", "norms=nothing.csv"], "norms"),
    ],
)
def test_what_cannot_be_measured_says_why(film, capsys, words, code):
    assert main.run(["cephalometry", *words, "--json"]) in (2, 3)
    assert json.loads(capsys.readouterr().out)["error"]["code"] == code


def test_an_unreadable_film_does_not_stop_the_others(film, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    assert main.run(["cephalometry", "heatmap_points", "film.png", "broken.png", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["films"]) == 1 and list(told["skipped"]) == ["broken.png"]


def test_a_film_that_is_none_is_said_to_be_unlike_the_training_data(film, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert main.run(["cephalometry", "heatmap_points", "film.png", "noise.png"]) == 0
    warned = " ".join(capsys.readouterr().err.split())
    assert "noise.png: unlike its training data" in warned
    assert "film.png: unlike its training data" not in warned
