"""Films of heads that do not exist: what is on them is known, and each follows from its number."""

import numpy as np
import pytest
import torch

from souron.data import load
from souron.data.composing import parallel
from souron.data.composing.phantoms import cephalograms, head_radiographs, heads
from souron.data.composing.phantoms.heads import LANDMARKS
from souron.data.sets import cephalo
from souron.utils.messages import UserError

FEW = {"train": 12, "val": 4, "test": 6}


def recipe(**changes):
    return cephalograms.Recipe(**({"side": 48, "seed": 0, "counts": FEW} | changes))


@pytest.fixture(scope="module")
def patients():
    return [heads.head(np.random.default_rng([3, number])) for number in range(250)]


def at(head, name):
    return head.points[name]


def test_the_data_set_says_that_it_is_synthetic_and_has_millimetres(monkeypatch):
    monkeypatch.setattr(cephalo, "COUNTS", FEW)
    cases = load.load("cephalo", 48)
    assert "synthetic" in cases.name and "SYNTHETIC" in load.names()["cephalo"].idea
    assert "合成" in load.names()["cephalo"].ja
    assert cases.input.shape == (22, 1, 48, 48) and cases.input.dtype == torch.uint8
    assert cases.target.shape == (22, 19, 2) and cases.classes == LANDMARKS
    assert cases.has("points") and list(cases.spacing) == [256 / 48] * 22
    assert list(cases.part) == ["train"] * 12 + ["val"] * 4 + ["test"] * 6
    assert len(set(cases.file)) == 22 and not cases.group
    assert set(cases.columns["jaw class"]) <= set(heads.CLASSES)
    assert cases.only([3, 15]).spacing == [256 / 48] * 2
    assert sum(cephalo.COUNTS.values()) == 22 and "mirror" not in cases.augment


def test_a_film_follows_from_seed_part_and_number_alone():
    made = cephalograms.films(recipe())
    again = head_radiographs.film(48, np.random.default_rng([0, 2, 5]))
    assert torch.equal(made.images[-1], again.image)
    assert torch.equal(made.points[-1], again.points)
    digests = {image.numpy().tobytes() for image in made.images}
    assert len(digests) == 22  # no anatomy twice
    other = cephalograms.films(recipe(seed=1))
    assert not torch.equal(other.images, made.images)


def test_workers_make_what_one_process_makes(monkeypatch, tmp_path):
    rows = recipe().rows
    alone = cephalograms._some(recipe(), rows)
    monkeypatch.setattr(parallel, "FEWEST", 10)
    monkeypatch.setattr(parallel.hardware, "cores", lambda: 2)
    tensors, about = cephalograms._make(recipe(), tmp_path / "made.safetensors")
    assert all(torch.equal(tensors[name], alone[0][name]) for name in alone[0])
    assert about == alone[1] and not list(tmp_path.iterdir())


def test_films_are_kept_and_made_again_where_the_file_is_cut_short(monkeypatch, tmp_path):
    made = cephalograms.films(recipe())
    [file] = (tmp_path / "cache" / "films").glob("*.safetensors")
    make, calls = cephalograms._make, []
    monkeypatch.setattr(cephalograms, "_make", lambda *given: (calls.append(1), make(*given))[1])
    assert torch.equal(cephalograms.films(recipe()).images, made.images) and not calls
    file.write_bytes(file.read_bytes()[:1000])
    assert torch.equal(cephalograms.films(recipe()).images, made.images) and calls


@pytest.mark.parametrize("side", [8, 5000])
def test_films_of_other_sides_are_refused(side):
    with pytest.raises(UserError, match="imgsz"):
        cephalograms.films(recipe(side=side))


def test_the_anatomy_is_that_of_a_head(patients):
    for head in patients:
        p = head.points
        assert p["nasion"][0] > p["sella"][0] > p["porion"][0]  # the face looks to the right
        assert p["nasion"][1] < p["anterior nasal spine"][1] < p["upper lip"][1]
        assert p["upper lip"][1] < p["lower lip"][1] < p["soft tissue pogonion"][1]
        assert p["B point"][1] < p["pogonion"][1] < p["gnathion"][1] <= p["menton"][1] + 0.5
        assert p["articulare"][1] < p["gonion"][1] and p["gonion"][0] < p["menton"][0]
        assert p["soft tissue pogonion"][0] > p["pogonion"][0]
        assert p["posterior nasal spine"][0] < p["A point"][0] <= p["anterior nasal spine"][0]
    length = [np.hypot(*(at(h, "nasion") - at(h, "sella"))) for h in patients if h.age >= 18]
    assert 66 < np.mean(length) < 74 and 1 < np.std(length) < 6
    children = [np.hypot(*at(h, "nasion")) for h in patients if h.age < 12]
    assert np.mean(children) < np.mean(length) - 3


def test_jaw_classes_differ_in_where_the_lower_jaw_is(patients):
    """The angle A, nasion, B, as in Steiner's analysis."""

    def anb(head):
        n, a, b = (at(head, name) for name in ("nasion", "A point", "B point"))
        angles = [np.degrees(np.arctan2(*(p - n)[::-1])) for p in (b, a)]
        return angles[0] - angles[1]

    mean = {c: np.mean([anb(h) for h in patients if h.jaw == c]) for c in heads.CLASSES}
    assert mean["II"] > mean["I"] + 1.5 and mean["I"] > mean["III"] + 1.5, mean


def test_landmarks_are_where_cephalometry_defines_them(patients):
    for head in patients:
        jaw = heads.smooth(head.curves["mandible"], True, 60)
        chin = jaw[jaw[:, 0] > at(head, "menton")[0] - 5]
        assert at(head, "menton")[1] == pytest.approx(chin[:, 1].max(), abs=0.05)  # the lowest
        for name in ("pogonion", "B point", "gnathion"):
            assert np.hypot(*(jaw - at(head, name)).T).min() < 0.15, name
        skin = heads.smooth(head.curves["skin"], True, 60)
        for name in ("upper lip", "lower lip", "subnasale", "soft tissue pogonion"):
            assert np.hypot(*(skin - at(head, name)).T).min() < 0.15, name
        sella = head.curves["sella"]
        assert sella[:, 0].min() < 0 < sella[:, 0].max() and sella[:, 1].max() > 0


def test_points_lie_on_what_is_drawn_also_on_a_turned_film():
    """The ring of the ear rod is drawn with the porion on top of it, whatever the turn."""
    head = heads.head(np.random.default_rng(0))
    for turn in (-0.3, 0.0, 0.4):
        sheet = head_radiographs.Sheet(128, turn, (4.0, -3.0))
        drawn = sheet.mask(head.curves["meatus"])
        y, x = np.nonzero(drawn > 0.5)
        middle = np.array([[x.mean() + 0.5, y.mean() + 0.5]]) / head_radiographs.FINE
        centre = head.curves["meatus"].mean(0)[None]
        assert np.abs(sheet.pixels(centre) - middle).max() < 0.25
        across, down = sheet.millimetres()
        row, column = (int(at * head_radiographs.FINE) for at in sheet.pixels(centre)[0][::-1])
        assert abs(across[row, column] - centre[0, 0]) < 1.1
        assert abs(down[row, column] - centre[0, 1]) < 1.1


def test_teeth_are_bright_air_is_dark_and_films_differ():
    for number in range(3):
        film = head_radiographs.film(128, np.random.default_rng([1, number]))
        grey = film.image[0].float()
        x, y = film.points[LANDMARKS.index("upper incisor tip")].int().tolist()
        tooth = grey[y - 4 : y + 1, x - 3 : x + 2].mean()
        corner = min(grey[20:60, :8].mean(), grey[40:90, -8:].mean())
        assert tooth > corner + 40
        assert 5 < grey.mean() < 200 and grey.std() > 15


def test_a_landmark_outside_of_the_film_is_not_marked(monkeypatch):
    monkeypatch.setattr(head_radiographs, "MIDDLE", (70.0, 12.0))
    film = head_radiographs.film(64, np.random.default_rng(0))
    gone = film.points.isnan().all(1)
    assert gone[LANDMARKS.index("porion")] or film.points[LANDMARKS.index("porion"), 0] < 20
    monkeypatch.setattr(head_radiographs, "MIDDLE", (150.0, 12.0))
    film = head_radiographs.film(64, np.random.default_rng(0))
    assert film.points[LANDMARKS.index("sella")].isnan().all()
    assert (film.points.isnan().any(1) == film.points.isnan().all(1)).all()
