"""COCO's panoptic files: read whole, moved into squares, every fault told; what souron writes is
read again."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import pieced

from souron.data import load
from souron.data.formats import coco, coco_panoptic
from souron.data.target import target_of
from souron.data.targets.panoptic import Divided, shown
from souron.kinds.picture import Picture
from souron.utils.messages import UserError

SIZES = ((64, 32), (40, 60), (50, 50))  # width, height
CATEGORIES = [
    {"id": 7, "name": "dog", "isthing": 1},
    {"id": 3, "name": "grass", "isthing": 0},
    {"id": 5, "name": "cat", "isthing": 1},
]
GRASS, DOG, CAT, CROWD = 300, 70_000, 9, 65_536  # ids of segments


def segments():
    named = {GRASS: 3, DOG: 7, CAT: 5, CROWD: 7}
    return [
        {"id": n, "category_id": category, "iscrowd": int(n == CROWD), "area": 1, "bbox": [0] * 4}
        for n, category in named.items()
    ]


def map_of(size):
    """The upper half grass, below a dog, a cat and a crowd; a column is void."""
    wide, high = size
    ids = np.full((high, wide), GRASS)
    for n, part in enumerate((DOG, CAT, CROWD)):
        ids[high // 2 :, n * wide // 3 : (n + 1) * wide // 3] = part
    ids[:, -2:] = 0
    return ids


def written(folder, change=None, draw=None, count=6, kind="jpg"):
    for part in ("train", "val"):
        images, annotations = [], []
        for i in range(count) if part == "train" else range(count, count + 2):
            size = SIZES[i % 3]
            file = folder / part / f"{i}.{kind}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (i, 90, 200)).save(file)
            ids = map_of(size)
            colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
            image = Image.fromarray(colours)
            if draw and part == "train" and i == 0:
                image = draw(image)
            place = folder / "annotations" / f"panoptic_{part}" / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            image.save(place, format=image.info.get("as", "PNG"))
            images.append({"id": i, "file_name": file.name, "width": size[0], "height": size[1]})
            annotations.append({"image_id": i, "file_name": place.name, "segments_info": segments()})
        about = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        if change and part == "train":
            change(about)
        (folder / "annotations" / f"panoptic_{part}.json").write_text(json.dumps(about))
    return folder


def read(folder, side=60):
    return load.load(folder, side, formats=("coco_panoptic",))


def endless(about):
    about["images"][0]["width"] = float("inf")


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_segments_are_read_and_moved_with_their_pictures(tmp_path, kind):
    cases = read(written(tmp_path, endless, kind=kind))
    assert cases.classes == ("grass", "cat", "dog") and len(cases) == 8
    assert cases.part.count("train") == 6 and cases.part.count("val") == 2
    one = cases.target[1]  # 40 x 60, in the middle of 60 x 60
    assert one.label.tolist() == [1, 0, -1 - 2, 2]  # in the order of ids
    assert one.thing.tolist() == [True, False, True, True]
    assert not one.ids[:, :10].any() and not one.ids[:, 48:].any()  # beside, and void
    expected = torch.from_numpy(map_of((40, 60)))
    rows = torch.tensor([0, CAT, GRASS, CROWD, DOG])
    assert torch.equal(rows[one.ids[:, 10:50].long()], expected)
    assert [some.code for some in cases.skipped] == ["crowd"]
    assert target_of(cases).counts() == [8, 8, 8]


def test_souron_data_takes_it_for_what_it_is(tmp_path):
    """Boxes, outlines and segments lie in JSON files that begin alike."""
    every = ("coco", "areas", "coco_panoptic")
    cases = load.load(written(tmp_path), 60, formats=every)
    assert isinstance(target_of(cases), Divided)
    text = (tmp_path / "annotations" / "panoptic_val.json").read_text()
    (tmp_path / "annotations" / "instances_val.json").write_text(text.replace("segments_info", "x"))
    assert coco.describes(tmp_path) and coco_panoptic.describes(tmp_path)
    assert len(read(tmp_path)) == 8


def fault(cases):
    return [(some.code, some.file) for some in cases.skipped if some.code != "crowd"]


def changed(n=0, **entry):
    def change(about):
        about["annotations"][0]["segments_info"][n] |= entry

    return change


@pytest.mark.parametrize(
    "change, code, file, left",
    [
        (changed(0, category_id=99), "class", "segment 300", [1, -3, 2]),
        (changed(1, id=CAT), "duplicate", "segment 9", [0, -3, 2]),
        (changed(1, id=77), "missing", "segment 77", [1, 0, -3]),
        (changed(1, id="x"), "unreadable", "segment 2", [1, 0, -3]),
        (changed(1, id=2**24), "unreadable", "segment 16777216", [1, 0, -3]),
    ],
)
def test_a_segment_that_cannot_be_used_is_told_and_void(tmp_path, change, code, file, left):
    cases = read(written(tmp_path, change))
    told = fault(cases)
    assert any(c == code and file in f and "0.png" in f for c, f in told), told
    assert code == "duplicate" or "unknown" in dict(told)  # whose pixels are there
    labels = cases.target[0].label.tolist()
    assert sorted(labels) == sorted(left) or code == "duplicate"
    assert len(cases) == 8


def gone(about):
    about["annotations"][0]["file_name"] = "nowhere.png"


def outside(about):
    about["annotations"][0]["file_name"] = "../../../0.png"
    about["images"][0]["file_name"] = "/etc/passwd"


def another(about):
    about["images"][0]["width"] = 65


def silent(about):
    del about["annotations"][0]


def twice(about):
    about["annotations"][1]["image_id"] = 0


@pytest.mark.parametrize(
    "change, code, file",
    [
        (gone, "missing", "nowhere.png"),
        (outside, "missing", "passwd"),
        (another, "size", "0.png"),
        (silent, "no segments", "0.jpg"),
        (twice, "duplicate", "annotation 2"),
    ],
)
def test_a_picture_that_cannot_be_used_is_told_and_left_out(tmp_path, change, code, file):
    cases = read(written(tmp_path, change))
    assert len(cases) == 7
    assert any(c == code and file in f for c, f in fault(cases)), fault(cases)


def lossy(image):
    image.info["as"] = "JPEG"
    return image


def smaller(image):
    return image.resize((20, 20))


def grey(image):
    return image.convert("L")


@pytest.mark.parametrize("draw, code", [(smaller, "size"), (grey, "colours"), (lossy, "lossy")])
def test_a_map_that_cannot_be_used_is_told_by_its_file(tmp_path, draw, code):
    cases = read(written(tmp_path, draw=draw))
    assert len(cases) == 7
    assert fault(cases) == [(code, "annotations/panoptic_train/0.png")]


def no_flag(about):
    about["categories"] = [{"id": 3, "name": "grass"}]


def other_flag(about):
    about["categories"] = [{**CATEGORIES[0], "isthing": 0}, *CATEGORIES[1:]]


def boxes_alone(about):
    for entry in about["annotations"]:
        del entry["segments_info"]


def test_files_that_make_no_sense_are_refused(tmp_path):
    for change, found in ((no_flag, "isthing"), (other_flag, "dog")):
        with pytest.raises(UserError, match=found):
            read(written(tmp_path, change))
    (tmp_path / "annotations" / "panoptic_val.json").unlink()
    written(tmp_path / "boxes", boxes_alone)
    (tmp_path / "boxes" / "annotations" / "panoptic_val.json").unlink()
    with pytest.raises(UserError, match="segments"):
        read(tmp_path / "boxes")


def test_more_segments_than_a_map_of_bytes_holds_are_told(tmp_path):
    def many(about):
        listed = [{"id": n + 1, "category_id": 7, "iscrowd": 0} for n in range(400)]
        about["annotations"][0]["segments_info"] = listed

    def stripes(image):
        ids = np.arange(64 * 32).reshape(32, 64) // 5 % 400 + 1
        return Image.fromarray(np.stack([ids % 256, ids // 256, 0 * ids], -1).astype(np.uint8))

    cases = read(written(tmp_path, many, stripes), 64)
    assert len(cases.target[0].label) == 255 and ("too many" in dict(fault(cases)))


def test_what_souron_writes_is_read_again(tmp_path):
    cases = pieced(3, 48)
    for row, one in enumerate(cases.target):
        picture = Picture.of(cases.input[row])
        file = tmp_path / f"{row}.jpg"
        picture.save(file)
        found = shown(cases.input[row], one, cases.classes)
        named = type(found)(Picture.read(file), found.ids, found.names, found.things, (), cases.classes)
        named.save(tmp_path / f"{row}.coco.json")
        assert (tmp_path / f"{row}.coco.png").exists()
    again = read(tmp_path, 48)
    assert set(again.classes) == set(cases.classes) and not again.skipped
    for one, other in zip(again.target, cases.target, strict=True):
        compact = other.compact()
        assert torch.equal(one.ids, compact.ids) and torch.equal(one.thing, compact.thing)
        names = [[every.classes[n] for n in some.label.tolist()] for every, some in ((again, one), (cases, compact))]
        assert names[0] == names[1]
