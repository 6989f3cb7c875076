"""Torsos that do not exist: what is in them is known, and each follows from its number."""

import numpy as np
import pytest
import torch

from souron.data import load
from souron.data.composing import parallel
from souron.data.composing.phantoms import torso, torsos
from souron.data.composing.phantoms.torso import ORGANS, SIZE
from souron.data.sets import phantoms
from souron.data.target import target_of

FEW = {"train": 2, "val": 1, "test": 1}
RECIPE = torsos.Recipe(0, FEW)


@pytest.fixture(scope="module")
def made():
    return torsos._unpacked(RECIPE, *torsos._some(RECIPE, RECIPE.rows))


@pytest.fixture
def cases(made, monkeypatch):
    monkeypatch.setattr(phantoms, "COUNTS", FEW)
    monkeypatch.setattr(torsos, "torsos", lambda recipe: made)
    return load.load("phantoms")


def of(made, row, organ):
    return (made.organs[row] == ORGANS.index(organ) + 1).numpy()


def test_the_data_set_says_that_it_is_synthetic_and_has_three_spacings(cases):
    assert "synthetic" in cases.name and "SYNTHETIC" in load.names()["phantoms"].idea
    assert "合成" in load.names()["phantoms"].ja
    assert cases.input.shape == (4, 1, *SIZE) and cases.input.dtype == torch.int16
    assert cases.target.shape == (4, *SIZE) and cases.target.dtype == torch.uint8
    assert cases.classes == ("background", *ORGANS) and cases.volumes and not cases.images
    assert all(len(steps) == 3 and steps[1] == steps[2] for steps in cases.spacing)
    assert len(set(cases.spacing)) == 4 and cases.only([2]).spacing == [cases.spacing[2]]
    assert list(cases.part) == ["train", "train", "val", "test"] and len(set(cases.file)) == 4
    assert sum(target_of(cases).counts()) == cases.target.numel()
    assert target_of(cases).shape()[1] == "48 x 80 x 96 voxels"


def test_the_published_counts_are_38_patients():
    assert sum(phantoms.COUNTS.values()) == phantoms.cases == 38
    assert phantoms.COUNTS == {"train": 24, "val": 4, "test": 10}


def test_a_patient_follows_from_seed_part_and_number_alone(made):
    again = torso.torso(np.random.default_rng([0, 0, 1]))
    assert torch.equal(again.volume, made.volumes[1, 0])
    assert torch.equal(again.organs, made.organs[1]) and again.spacing == made.spacing[1]
    assert not torch.equal(made.organs[0], made.organs[1])


def test_workers_make_what_one_process_makes(made, monkeypatch, tmp_path):
    monkeypatch.setattr(torsos, "FEWEST", 2)
    monkeypatch.setattr(parallel.hardware, "cores", lambda: 2)
    few = torsos.Recipe(0, {"train": 2})
    tensors, about = torsos._make(few, tmp_path / "made.safetensors")
    assert torch.equal(tensors["volumes"], made.volumes[:2])
    assert about["liver"] == made.millilitres["liver"][:2]


def test_few_cases_of_another_data_set_are_still_made_here(monkeypatch, tmp_path):
    monkeypatch.setattr(parallel.hardware, "cores", lambda: 2)
    monkeypatch.setattr(parallel, "_worker", lambda *_told: pytest.fail("a process was started"))
    assert parallel.shared("", {}, 38, lambda: ({}, {"alone": True}), tmp_path / "made")[1]


def test_what_is_kept_of_another_recipe_is_not_taken(made):
    tensors, about = torsos._some(torsos.Recipe(0, {"val": 1}), [("val", 0)])
    with pytest.raises(ValueError):
        torsos._unpacked(RECIPE, tensors, about)


@pytest.mark.parametrize("row", range(4))
def test_the_masks_have_the_volumes_that_are_told(made, row):
    voxel = np.prod(made.spacing[row]) / 1000
    for organ in ORGANS:
        known, held = float(made.millilitres[organ][row]), of(made, row, organ).sum() * voxel
        assert held == pytest.approx(known, rel=0.03), organ
    liver, spleen, kidneys = (float(made.millilitres[organ][row]) for organ in ("liver", "spleen", "kidneys"))
    assert 1000 < liver < 2500 and 90 < spleen < 400 and 150 < kidneys < 450


@pytest.mark.parametrize("row", range(4))
def test_organs_lie_where_they_lie_in_people_and_are_as_dense(made, row):
    place = {organ: np.argwhere(of(made, row, organ)).mean(0) for organ in ORGANS}
    columns = {organ: at[2] for organ, at in place.items()}
    assert columns["liver"] < columns["spine"] < columns["spleen"]  # the patient's right is left
    assert columns["spine"] < columns["aorta"] < columns["spleen"]
    assert place["aorta"][1] < place["spine"][1]  # in front of it
    assert place["lungs"][0] > place["liver"][0] > place["kidneys"][0]  # slices run to the head
    grey = {o: float(np.median(made.volumes[row, 0].numpy()[of(made, row, o)])) for o in ORGANS}
    assert grey["lungs"] < -700 and 50 < grey["liver"] < 150 and grey["spine"] > 130
    assert grey["liver"] < grey["kidneys"] and grey["liver"] < grey["aorta"]
    assert made.volumes[row].min() >= -1024


def test_a_solid_has_the_volume_of_its_formula():
    canvas = torso.blank((6.8, 4.2, 4.2), np.random.default_rng(0))
    voxel = 6.8 * 4.2 * 4.2 / 8
    for turn, lean in ((0, 0), (0.5, 0), (0, 0.3), (-0.4, -0.2)):
        where = canvas.solid((20, 10, -30), (29, 42, 50), turn, lean)
        assert where.sum() * voxel == pytest.approx(4 / 3 * np.pi * 29 * 42 * 50, rel=0.01)


def test_voxels_are_averaged_and_classed_by_the_majority():
    fine = np.zeros((2, 2, 4), np.float32)
    fine[0, 0, :2], fine[..., 2:] = 80, 8
    assert torso.eight(fine).tolist() == [[[160, 64]]]
    organ = np.zeros((2, 2, 4), np.uint8)
    organ[0], organ[1, 0, 0], organ[0, :, 2:] = 3, 3, 2
    assert torso.majority(organ).tolist() == [[[3, 0]]]  # five of eight, four of eight
    assert torso.majority(np.roll(organ, 2, 2)).tolist() == [[[2, 3]]]


def test_a_scan_is_noisy_and_darker_in_the_middle_and_beside_bone():
    size = (8, 80, 96)
    y, x = np.meshgrid(np.arange(80) - 39.5, np.arange(96) - 47.5, indexing="ij")
    far = np.sqrt(x**2 + y**2)
    body = np.broadcast_to(np.where(far < 35, 50.0, -1000.0), size).astype(np.float32)
    plain = torso.scanned(body, np.random.default_rng(0)).astype(float)
    middle, rim = plain[:, far < 8].mean(), plain[:, (far > 28) & (far < 32)].mean()
    assert middle < rim - 1 and 8 < plain[:, far < 8].std() < 25
    bone = body.copy()
    bone[:, (np.abs(x - 10) < 4) & (np.abs(y) < 4)] = 600
    shown = torso.scanned(bone, np.random.default_rng(0)).astype(float)
    beside = (np.abs(x - 10) < 7) & (np.abs(y) >= 6) & (np.abs(y) < 9)
    assert shown[:, beside].mean() < plain[:, beside].mean() - 1
