"""Kinds of target: what reports and ``souron data`` ask of each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from shapes import instanced, marks, masked, pieced, posed, scans, shapes

from souron.data import target as contract
from souron.data.dataset import Dataset, ListColumn
from souron.data.target import Target, target_of
from souron.data.targets.boxes import Objects
from souron.data.targets.classes import Classes
from souron.data.targets.classes_of_pixels import Areas
from souron.data.targets.classes_of_voxels import Voxels
from souron.data.targets.classified_texts import LabelledTexts
from souron.data.targets.instances import Instances, Masks
from souron.data.targets.panoptic import Divided
from souron.data.targets.points import Landmarks
from souron.data.targets.poses import Poses
from souron.data.targets.tagged_texts import TaggedTexts
from souron.data.targets.texts import Texts

MADE = {
    Objects: shapes,
    Masks: instanced,
    Poses: posed,
    Areas: masked,
    Divided: pieced,
    Landmarks: marks,
    Voxels: scans,
}


@pytest.mark.parametrize("kind", MADE, ids=lambda kind: kind.__name__)
def test_a_data_set_is_of_one_kind(kind, digits):
    assert type(target_of(MADE[kind](6))) is kind and type(target_of(digits)) is Classes


@pytest.mark.parametrize("kind", [kind for kind in MADE if kind is not Voxels], ids=lambda kind: kind.__name__)
def test_a_case_is_drawn_with_its_target_in_words(kind):
    cases = MADE[kind](6)
    target = target_of(cases)
    image, words = target.drawn(0)
    plain = np.asarray(cases.input[0, 0])
    enlarged = plain.repeat(image.width // plain.shape[1], 1).repeat(image.height // plain.shape[0], 0)
    assert (np.asarray(image)[..., 0] != enlarged).mean() > 0.002
    assert words and all(target.words(row) for row in range(6))
    assert target.examples(0, target.rows(2)[0]).shape[0] == 2


def test_a_volume_is_drawn_in_three_planes():
    cases = scans(6)
    target = target_of(cases)
    image, words = target.drawn(0)
    assert words == target.words(0) == "ball, cubes"
    _axial, coronal = 360, 360  # 24 mm each: slices 8 x 3, rows 12 x 2, columns 16 x 1.5
    assert image.size == (3 * 360 + 2 * 6, coronal)
    colours = {colour for _count, colour in image.getcolors(10**6)}
    assert any(red != green for red, green, _blue in colours)
    assert target.counts() == cases.target.flatten().long().bincount(minlength=3).tolist()
    assert set(target.rows(2)) == {0, 1, 2} and target.rows(2)[1] == [0, 1]
    small = target.examples(2, [0, 1])
    assert small.shape == (2, 3, 16, 16) and small.dtype == torch.uint8
    tinted = (small[0, 0] != small[0, 2]).sum()
    assert (
        tinted
        == (cases.target[0] == 2).sum((1, 2)).max()
        + (cases.target[0, (cases.target[0] == 2).sum((1, 2)).argmax()] == 1).sum()
    )
    assert target.pixels().shape == (6, 1, 12, 16)


def test_crowds_are_neither_counted_nor_drawn():
    cases = instanced(4)
    objects = cases.target[0]
    crowd = objects.box.clone()
    crowd[:, 0] = -1 - crowd[:, 0]
    cases.target.entries[0] = Instances(crowd, objects.bits)
    for target in (target_of(cases), Objects(cases)):
        assert sum(target.counts()) == sum(len(one.box) for one in cases.target.entries[1:])
        assert all(0 not in rows for rows in target.rows(9).values())
        assert not target.words(0)
        plain = Classes(cases).image(0)
        assert torch.equal(target.image(0), plain)
        assert np.unique(np.asarray(target.drawn(0)[0])).tolist() == plain.unique().tolist()


def test_boxes_without_an_object_are_a_kind_too():
    cases = shapes(2)
    cases.target.entries[:] = [torch.zeros(0, 5), torch.tensor([[1.0, 2, 2, 9, 9]])]
    target = target_of(cases)
    assert isinstance(cases.target, ListColumn) and target.counts() == [0, 1, 0]
    assert target.rows(1) == {1: [1]} and target.words(0) == "" and target.drawn(0)


def test_a_text_with_a_class_is_of_the_kind_that_derives_from_texts():
    texts = ListColumn(["a fever", "a cough"])
    data = Dataset("notes", texts, torch.tensor([1, 0]), ("lung", "heat"), ["1", "2"])
    assert type(target_of(data)) is LabelledTexts and target_of(data).answer(0) == "heat"
    assert data.has("texts") and data.has("classified_texts") and not data.has("classes")
    assert type(target_of(replace(data, target=None, classes=()))) is Texts
    tags = ListColumn([torch.tensor([0, 1]), torch.tensor([0, 0])])
    assert type(target_of(replace(data, target=tags))) is TaggedTexts


def test_cases_without_annotations_show_no_class(digits):
    bare = target_of(replace(digits, target=None))
    assert type(bare) is Target and bare.layout == "images"
    assert bare.counts() == [0] * 10 and bare.rows(3) == {}
    assert bare.words(0) == "" and bare.drawn(0) is None and list(bare.findings()) == []


def test_each_file_of_targets_is_one_kind():
    files = Path(contract.__file__).parent.joinpath("targets").glob("*.py")
    assert set(contract.kinds()) == {file.stem for file in files}
    headings = {kind.heading for kind in contract.kinds().values()}
    assert {"Classes", "Landmarks", "Captions", "Texts"} <= headings
