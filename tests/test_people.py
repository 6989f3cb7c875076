"""Figures that souron draws for poses: exact boxes, points and visibility, and which side each is
on."""

import numpy as np
import pytest
import torch

from souron.data.composing import crowds, figures, related_groups, stock
from souron.data.composing.composer import Composer
from souron.data.targets.poses import HIDDEN, SEEN

COUNTS = {"train": 16, "val": 5, "test": 12}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("SOURON_CACHE", str(tmp_path_factory.mktemp("cache")))
    recipe = crowds.Recipe(64, 0, COUNTS, "person", 60)
    first = crowds.scenes(recipe)
    again = crowds.scenes(recipe)  # from the cache
    patch.undo()
    assert torch.equal(first.images, again.images) and first.blocks == again.blocks
    for one, other in zip(first.figures, again.figures, strict=True):
        assert torch.equal(one.point, other.point) and torch.equal(one.area, other.area)
    return first


def test_boxes_hold_all_of_a_figure_and_its_points(made):
    assert made.images.shape == (33, 3, 64, 64) and made.parts.count("test") == 12
    assert {len(each.box) for each in made.figures} >= {1, 2, 3}
    known = torch.cat([each.point for each in made.figures])
    assert set(known[..., 2].unique().tolist()) == {HIDDEN, SEEN}
    assert (known[..., 2] == SEEN).float().mean() > 0.8
    for each in made.figures:
        low, high = each.box[:, None, 1:3], each.box[:, None, 3:]
        place = each.point[..., :2]
        assert ((place >= low - 1.5) & (place <= high + 1.5)).all()
        size = (each.box[:, 3:] - each.box[:, 1:3]).amax(1)
        assert (size >= 0.3 * 64 - 2).all() and (size <= 0.75 * 64 + 2).all()
        filled = each.area / (each.box[:, 3:] - each.box[:, 1:3]).prod(1)
        assert (filled > 0.1).all() and (filled < 0.8).all()


def test_a_point_is_hidden_where_another_figure_lies_in_front():
    source = stock.drawn(("person",), 60)
    composer = Composer(96, 0, "test", ("person",), source, (3, 4), crowds.SIZES)
    hidden = 0
    for number in range(12):
        scene = composer.scene(number)
        for i, (point, mask) in enumerate(zip(scene.points, scene.masks, strict=True)):
            left, top, right, bottom = scene.whole[i, :4].tolist()
            seen = scene.boxes[i].tolist()
            assert left <= seen[0] and top <= seen[1] and right >= seen[2] and bottom >= seen[3]
            assert scene.whole[i, 4] >= mask.sum()
            front = scene.masks[i + 1 :].any(0)
            for x, y, visible in point.tolist():
                if not visible:
                    column, row = min(int(x), 95), min(int(y), 95)
                    around = np.s_[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
                    assert front[around].any()
                    hidden += 1
    assert hidden > 5


def test_left_is_the_persons_own_left():
    """Some of sixty are seen from behind; nobody is mirrored, so that names stay true."""
    places = np.stack([figures.figure("person", number).points for number in range(60)])
    names = figures.POINTS["person"]
    left, right = names.index("left shoulder"), names.index("right shoulder")
    faces_us = places[:, left, 0] > places[:, right, 0]
    assert 30 < faces_us.sum() < 55
    left, right = names.index("left foot"), names.index("right foot")
    assert ((places[:, left, 0] > places[:, right, 0]) == faces_us).mean() > 0.8
    source = stock.drawn(("person",), 60)
    composer = Composer(64, 0, "train", ("person",), source, (1, 2), crowds.SIZES)
    left, right = names.index("left shoulder"), names.index("right shoulder")
    for scene in map(composer.scene, range(20)):
        for name, point in zip(scene.sources.cutouts, scene.points, strict=True):
            there = point[left, 0] > point[right, 0]
            assert there == faces_us[int(name.rpartition("/")[2])]
    bones = crowds.skeleton("person")
    assert [names[other] for other in bones.mirror][:4] == ["head", "neck", "right shoulder", "left shoulder"]


def test_no_figure_of_a_test_scene_is_in_a_training_scene(made):
    source = stock.drawn(("person",), 60)
    of_part = {
        part: {
            name
            for number in range(count)
            for name in Composer(64, 0, part, ("person",), source, crowds.COUNTS, crowds.SIZES)
            .scene(number)
            .sources.cutouts
        }
        for part, count in COUNTS.items()
    }
    assert all(of_part.values())
    assert not of_part["train"] & (of_part["test"] | of_part["val"])
    assert not of_part["val"] & of_part["test"]
    blocks = {part: set() for part in related_groups.PARTS}
    for part, block in zip(made.parts, made.blocks, strict=True):
        blocks[part].add(block)
    assert len(blocks["test"]) == 10
