"""The doctor of labelled volumes: copies, mirrored ones, labels that are hardly there."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from souron.cli import main
from souron.data import check
from souron.data.quality import orientation
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.volume import Volume

SIZE = (8, 12, 16)


def torso(seed, liver=3):
    """Class numbers: a large ball on one side, a small one on the other, a column behind."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*map(np.arange, SIZE), indexing="ij")
    away = random.integers(-1, 2, 2)
    area = np.zeros(SIZE, np.uint8)
    area[(z - 4) ** 2 + (y - 5 - away[0]) ** 2 + (x - liver - away[1]) ** 2 < 10] = 1
    area[(z - 4) ** 2 + (y - 5) ** 2 + (x - 12 - away[1]) ** 2 < 3] = 2
    area[:, 9:11, 7:9] = 3
    return area


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_volume_is_found_with_its_axis(axis):
    area = np.stack([torso(seed) for seed in range(9)])
    area[:, 4:] = 0  # neither half alike along the slices
    area[4] = np.flip(area[4], axis)
    assert orientation.mirrored(torch.from_numpy(area), 4) == [(4, axis)]


def test_nobody_is_accused_without_grounds():
    area = torch.from_numpy(np.stack([torso(seed) for seed in range(9)]))
    assert orientation.mirrored(area, 4) == []
    assert orientation.mirrored(area[:3].flip(3), 4) == []  # too few to compare
    half = torch.cat([area[:4], area[4:8].flip(3)])
    assert orientation.mirrored(half, 4) == []  # which half is right cannot be told


@pytest.fixture
def ward(tmp_path):
    """Ten patients, one of them mirrored and one there twice, a label that one shows."""
    for name in ("images", "labels"):
        (tmp_path / "ward" / name).mkdir(parents=True)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]], affine[3, 3] = (3, 2, 2), 1
    for number in range(10):
        area = torso(number % 9)
        if number == 6:
            area[0, 0, 0] = 4
        random = np.random.default_rng(number % 9)
        values = (area * 50 + random.normal(0, 9, SIZE)).astype(np.int16)
        if number == 3:
            area, values = np.flip(area, 2), np.flip(values, 2)
        volume = Volume(values, affine)
        volume.save(tmp_path / "ward/images" / f"p{number}.nii.gz")
        names = ["", "liver", "spleen", "spine", "stone"]
        LabelledVolume(volume, area, names).save(tmp_path / "ward/labels" / f"p{number}.nii.gz")
    (tmp_path / "ward/classes.txt").write_text("background\nliver\nspleen\nspine\nstone\n")
    return tmp_path / "ward"


def test_the_doctor_names_copies_mirrored_ones_and_rare_labels(ward, capsys):
    found = {one.code: one for one in check.check(ward, formats=("volumes",)).findings}
    assert found["duplicates"].files == ("images/p0.nii.gz", "images/p9.nii.gz")
    assert found["flipped orientation"].files == ("images/p3.nii.gz",)
    assert "stone" in found["tiny class"].message and "liver" not in found["tiny class"].message
    assert main.run(["data", "check", str(ward), "task=segment_volume", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "flipped orientation" in [one["code"] for one in told["findings"]]
    assert "p3.nii.gz" in Path(told["page"]).read_text(encoding="utf-8")
