"""COCO's outlines and runs against the evaluator's own decoder, and its files read for areas."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as theirs

from souron.data import load
from souron.data.readers import outlines
from souron.utils.messages import UserError

SIZE = (64, 40)  # width, height


def blob(seed):
    """(H, W) bool: an area with holes and parts."""
    random = np.random.default_rng(seed)
    return (random.random((10, 16)) < 0.45).repeat(4, 0).repeat(4, 1)


@pytest.mark.parametrize("seed", range(6))
def test_runs_are_those_of_the_reference(seed):
    true = blob(seed) if seed < 4 else np.full((40, 64), seed == 4)
    packed = theirs.encode(np.asfortranarray(true.astype(np.uint8)))
    packed["counts"] = packed["counts"].decode()
    assert (outlines.area(packed, *SIZE) == true).all()
    flat = true.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.r_[0, edges, len(flat)]).tolist()
    plain = {"size": [40, 64], "counts": [0, *runs] if flat[0] else runs}
    assert (outlines.area(plain, *SIZE) == true).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of the reference
def test_an_outline_holds_the_pixels_whose_middle_it_holds():
    whole = np.zeros((40, 64), dtype=bool)
    whole[4:20, 8:24] = True
    assert (outlines.area([[8, 4, 24, 4, 24, 20, 8, 20]], *SIZE) == whole).all()
    assert (outlines.area([[8, 20, 24, 20, 24, 4, 8, 4]], *SIZE) == whole).all()
    outside = outlines.area([[-50, -9, 900, -9, 900, 20, -50, 20]], *SIZE)
    assert outside[:20].all() and not outside[20:].any()
    two = outlines.area([[8, 4, 24, 4, 24, 20, 8, 20], [30, 4, 40, 4, 40, 9, 30, 9]], *SIZE)
    assert two.sum() == whole.sum() + 50
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    star = (
        np.c_[32 + np.cos(angle) * (12 + 5 * np.cos(5 * angle)), 20 + np.sin(angle) * (12 + 5 * np.cos(5 * angle))]
        .ravel()
        .tolist()
    )
    own = outlines.area([star], *SIZE)
    reference = theirs.decode(theirs.frPyObjects([star], 40, 64))[..., 0].astype(bool)
    assert (own & reference).sum() / (own | reference).sum() > 0.95


@pytest.mark.parametrize(
    "written",
    [
        None,
        3,
        "x",
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [["a", 1, 2, 3, 4, 5]],
        [[0, 0, float("nan"), 1, 2, 2]],
        [[0.0, 1.0] * 200_000],
        [1, 2],
        [[True, 1, 2, 3, 4, 5]],
        {"size": [40, 64], "counts": [5]},
        {"size": [64, 40], "counts": [2560]},
        {"size": [40, 64], "counts": [-5, 2565]},
        {"size": [40, 64], "counts": "\x00\x01"},
        {"size": [40, 64], "counts": "o" * 10**6},
        {"size": [40, 64], "counts": [2560.0]},
        {"size": [40, 64]},
    ],
)
def test_what_is_no_area_is_refused(written):
    with pytest.raises(ValueError, match=r"\w"):
        outlines.area(written, *SIZE)


def coco(folder, change=None):
    true = {}
    for part, rows in (("train", range(3)), ("val", range(3, 5))):
        images, annotations = [], []
        for row in rows:
            noise = np.random.default_rng(row).integers(0, 60, (40, 64, 3), dtype=np.uint8)
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise).save(folder / part / f"{row}.png")
            images.append({"id": row, "file_name": f"{row}.png", "width": 64, "height": 40})
            packed = theirs.encode(np.asfortranarray(blob(row).astype(np.uint8)))
            runs = {"size": [40, 64], "counts": packed["counts"].decode()}
            square = [[8, 4, 24, 4, 24, 20, 8, 20]]
            for category, written in ((18, runs), (17, square)):
                annotations.append(
                    {"id": 10 * row + category, "image_id": row, "category_id": category, "segmentation": written}
                )
            true[f"{part}/{row}.png"] = np.where(blob(row), 2, 0)
            true[f"{part}/{row}.png"][4:20, 8:24] = 1  # the smaller one lies above
        names = [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}]
        about = {"images": images, "annotations": annotations, "categories": names}
        if change:
            change(part, about)
        file = folder / "annotations" / f"instances_{part}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(about))
    return true


def test_a_file_of_areas_is_read_for_the_class_of_every_pixel(tmp_path):
    true = coco(tmp_path)
    cases = load.load(tmp_path, 64, formats=("masks", "areas"))
    assert cases.classes == ("background", "cat", "dog") and not cases.skipped
    assert cases.file == list(true) and list(cases.part) == ["train"] * 3 + ["val"] * 2
    for file, mask in zip(cases.file, cases.target, strict=True):
        assert (mask[12:52].numpy() == true[file]).all()
        assert (mask[:12] == 255).all() and (mask[52:] == 255).all()
    assert cases.target.dtype == torch.uint8


def test_areas_that_are_none_are_told(tmp_path):
    def change(part, about):
        if part == "val":
            about["annotations"][0]["segmentation"] = [[1, 2, 3]]
            about["annotations"][1]["category_id"] = 99
            about["images"][1]["width"] = 65
        else:
            about["annotations"].append("nothing")

    coco(tmp_path, change)
    cases = load.load(tmp_path, 64, formats=("areas",))
    codes = {(some.file.partition(",")[0].rpartition("/")[2], some.code) for some in cases.skipped}
    assert ("instances_val.json", "unreadable") in codes and ("4.png", "size") in codes
    assert ("instances_val.json", "class") in codes
    assert ("instances_train.json", "unreadable") in codes
    assert len(cases) == 4 and (cases.target[3][12:52] == 0).all()


def test_too_many_categories_are_refused(tmp_path):
    def change(_part, about):
        about["categories"] += [{"id": 100 + n, "name": f"more {n}"} for n in range(300)]

    coco(tmp_path, change)
    with pytest.raises(UserError, match="303 classes"):
        load.load(tmp_path, 64, formats=("areas",))


def test_an_outline_is_filled_alike_in_parts(monkeypatch):
    """Many corners are looked at some at a time; one that winds often around a pixel."""
    random = np.random.default_rng(0)
    corner = random.uniform(-20, 80, (700, 2))
    whole = outlines.filled([corner], *SIZE).whole(*SIZE)
    monkeypatch.setattr(outlines, "AT_ONCE", 50)
    assert (outlines.filled([corner], *SIZE).whole(*SIZE) == whole).all()
    y, x = np.mgrid[:40, :64] + 0.5
    inside = np.zeros((40, 64), dtype=bool)
    for (x0, y0), (x1, y1) in zip(corner, np.roll(corner, -1, 0), strict=True):
        crosses = (y0 <= y) != (y1 <= y)
        inside ^= crosses & (x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x)
    assert (whole == inside).all() and 0.3 < inside.mean() < 0.7
