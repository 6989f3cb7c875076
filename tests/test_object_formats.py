"""Masks of objects in COCO's, YOLO's and numbered files: whole in squares, every fault told."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as pycocotools
from shapes import instanced

from souron import registry
from souron.cli import main
from souron.data import check, load
from souron.data.readers import object_masks as objects
from souron.data.readers.outlines import Piece
from souron.data.targets.boxes import boxes_of
from souron.data.targets.instances import Instances
from souron.kinds.codecs.image import letterbox
from souron.kinds.graphics.contour import outline
from souron.kinds.mask import Mask
from souron.kinds.picture import Picture
from souron.tasks.segment_instances import InstanceSegmentation
from souron.utils.messages import UserError

FORMATS = InstanceSegmentation.formats
SIZES = ((64, 32), (40, 60), (50, 50))  # width, height
NAMES = ("cat", "dog")


def image(path, size, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def drawn(row):
    """Of a picture its size, and the masks of two objects that touch, the second of two parts and
    with a hole."""
    wide, high = SIZES[row % 3]
    y, x = np.mgrid[:high, :wide]
    disc = (x - 14) ** 2 + (y - 14) ** 2 < 90
    ring = (abs(x - 28) < 9) & (abs(y - 15) < 9) & ~disc & ~((abs(x - 31) < 3) & (abs(y - 15) < 3))
    return (wide, high), [disc, ring | ((x > wide - 4) & (y > high - 5))]


def letters(mask):
    packed = pycocotools.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": packed["counts"].decode()}


def corners(mask):
    return [[float(v) for corner in outline(mask) for v in corner]]


def runs(mask):
    flat = mask.T.ravel()
    ends = [*(np.flatnonzero(np.diff(flat)) + 1).tolist(), len(flat)]
    return {"size": list(mask.shape), "counts": np.diff([0, *([0] if flat[0] else []), *ends]).tolist()}


def coco(folder, change=None, forms=(letters, corners, runs)):
    for part, rows in (("train", range(6)), ("val", range(6, 9))):
        images, annotations = [], []
        for row in rows:
            size, masks = drawn(row)
            image(folder / part / f"{row}.png", size, row)
            images.append({"id": row, "file_name": f"{row}.png", "width": size[0], "height": size[1]})
            for number, mask in enumerate(masks):
                annotations.append(
                    {
                        "id": 2 * row + number,
                        "image_id": row,
                        "category_id": 17 + number,
                        "segmentation": forms[row % len(forms)](mask),
                        "iscrowd": 0,
                        "bbox": [8, 4, 10, 10],
                    }
                )
        names = [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}]
        about = {"images": images, "annotations": annotations, "categories": names}
        if change and part == "train":
            change(about)
        file = folder / "annotations" / f"instances_{part}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(about))
    return folder


def yolo(folder):
    for row in range(9):
        part = "train" if row < 6 else "valid"
        size, masks = drawn(row)
        image(folder / part / "images" / f"{row}.png", size, row)
        lines = [
            " ".join(
                [str(label), *(str(v / full) for corner in outline(mask) for v, full in zip(corner, size, strict=True))]
            )
            for label, mask in enumerate(masks)
        ]
        (folder / part / "labels").mkdir(exist_ok=True)
        (folder / part / "labels" / f"{row}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text("train: train/images\nval: valid/images\nnames: [cat, dog]\n")
    return folder


def ids(folder, kind=np.uint8, first=1, suffix=".png"):
    for row in range(9):
        part = "train" if row < 6 else "val"
        size, masks = drawn(row)
        image(folder / part / "images" / f"{row}.png", size, row)
        numbers = np.zeros(size[::-1], kind)
        for number, mask in enumerate(masks):
            numbers[mask] = first + 7 * number
        place = folder / part / "masks" / f"{row}{suffix}"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(numbers).save(place)
    (folder / "classes.txt").write_text("cell\n")
    return folder


def read(folder, side=64):
    return load.load(folder, side, formats=FORMATS)


def codes(data):
    return {(skipped.file, skipped.code) for skipped in data.skipped}


@pytest.mark.parametrize(
    "write",
    [coco, yolo, ids, lambda folder: ids(folder, np.uint16, 256), lambda folder: ids(folder, np.int32, 60_000, ".tif")],
    ids=["coco", "yolo", "ids", "ids of 16 bits", "ids in TIFF"],
)
def test_objects_lie_whole_in_squares(write, tmp_path):
    data = read(write(tmp_path / "set"))
    assert not data.skipped and data.input.shape == (9, 3, 64, 64)
    assert sorted(data.part) == ["train"] * 6 + ["val"] * 3
    assert data.classes == (("cell",) if write not in (coco, yolo) else NAMES)
    for file, found in zip(data.file, data.target, strict=True):
        size, masks = drawn(int(file.rpartition("/")[2].partition(".")[0]))
        _pixels, place = letterbox(Image.new("L", size), 64, 1)
        assert isinstance(found, Instances) and len(found.box) == 2
        for row, (mask, small) in enumerate(zip(masks, found.masks(64), strict=True)):
            y, x = mask.nonzero()
            edges = [[x.min(), y.min(), x.max() + 1, y.max() + 1]]
            assert found.box[row, 0] == (row if len(data.classes) == 2 else 0)
            assert np.allclose(found.box[row, 1:], place.within(np.array(edges))[0], atol=1e-4)
            ys, xs = (np.arange(64) + 0.5 - np.array([[place.top], [place.left]])) / [[place.high], [place.wide]]
            near = [axis.astype(int).clip(0, n - 1) for axis, n in zip((ys, xs), size[::-1], strict=True)]
            whole = mask[near[0]][:, near[1]] & ((ys >= 0) & (ys < size[1]))[:, None]
            whole &= (xs >= 0) & (xs < size[0])
            both = (whole & small.numpy()).sum() / (whole | small.numpy()).sum()
            assert both == 1 if 64 in size and write is coco else both > 0.93


def test_a_coco_file_tells_every_fault_by_its_number(tmp_path):
    square = [8, 4, 24, 4, 24, 20, 8, 20]

    def change(about):
        images, every = about["images"], about["annotations"]
        images.append({"id": 99, "file_name": "gone.png", "width": 9, "height": 9})
        images[1]["width"] = 77

        def add(number, row=0, **more):
            every.append({**every[2 * row], "id": number, **more})

        every.append(dict(every[0]))  # the same twice: kept once
        add(4, category_id=18)
        add(50, segmentation=[[1, 2, 3, 4]])
        add(51, segmentation=[[1, 2, 3, float("nan"), 5, 6]])
        add(52, segmentation=[[5, 5, 9, 5, 14, 5]])
        add(53, segmentation=[[100, 5, 120, 5, 120, 20]])
        add(54, segmentation=[[50, 5, 90, 5, 90, 20, 50, 20]])
        add(55, segmentation={"size": [32, 64], "counts": [5, 7]})
        add(56, segmentation={"size": [64, 32], "counts": [2048]})
        add(57, segmentation=[])
        add(58, segmentation=None, iscrowd=1)
        add(59, category_id=3)
        add(60, image_id=1234)
        add(61, row=2, segmentation=runs(drawn(2)[1][0]), iscrowd=1)
        add(62, row=2, segmentation=[square])
        add(63, row=2, segmentation=[square])
        add(64, segmentation={"size": [32, 64], "counts": [2048]})
        add(65, segmentation=[[1, 2, 3, 10**400, 5, 6]])
        every.append("nothing")

    data = read(coco(tmp_path / "set", change=change))
    where = "annotations/instances_train.json, annotation "
    assert {
        ("gone.png", "missing"),
        ("train/1.png", "size"),
        (where + "0", "duplicate"),
        (where + "4", "duplicate"),
        (where + "50", "unreadable"),
        (where + "51", "no number"),
        (where + "52", "no area"),
        (where + "53", "outside"),
        (where + "54", "cut"),
        (where + "55", "size"),
        (where + "56", "size"),
        (where + "57", "no mask"),
        (where + "58", "no mask"),
        (where + "59", "class"),
        (where + "60", "missing"),
        ("train/2.png", "duplicate"),
        ("train/2.png", "crowd"),
        (where + "64", "no area"),
        (where + "65", "outside"),
        (where + "31", "unreadable"),
    } == codes(data)
    first, third = (data.target[list(data.file).index(f"train/{n}.png")] for n in (0, 2))
    assert first.box[:, 0].tolist() == [0, 1, 1, 0] and third.box[:, 0].tolist() == [0, 1, -1, 0]
    cut = first.masks(64)[3]
    assert cut[21:36, 50:].all() and cut.sum() == 15 * 14
    task = InstanceSegmentation()
    task.check(data, None)
    learnt = task.batch(data.only([list(data.file).index("train/2.png")]), None)
    assert learnt.target[0][:, 0].tolist() == [0, 1, 0] and len(learnt.mask[0]) == 3


def test_a_yolo_file_tells_every_fault_by_its_line(tmp_path):
    folder = yolo(tmp_path / "set")
    labels = folder / "train" / "labels"
    good = (labels / "0.txt").read_text()
    (labels / "0.txt").write_text(
        good + "\n0 0.5 0.5 0.1 0.1\n0 0.1 0.1 0.2 0.1 0.2\n0 0.1 0.1 0.2 nan 0.2 0.2\n"
        "0 0.1 0.1 0.2 0.1 0.3 0.1\n7 0.1 0.1 0.2 0.1 0.2 0.2\n0 3 3 4 3 4 4\n"
        "1 0.8 0.1 1.5 0.1 1.5 0.9 0.8 0.9\n1 0.8 0.1 1.0001 0.1 1 0.9\ncat 1 2\n0.5 1 2 3 4 5 6\n" + good
    )
    (labels / "1.txt").unlink()
    (labels / "2.txt").write_text("")
    (labels / "strange.txt").write_text(good)
    data = read(folder)
    name = "train/labels/0.txt, line "
    assert {
        (name + "3", "unreadable"),
        (name + "4", "unreadable"),
        (name + "5", "no number"),
        (name + "6", "no area"),
        (name + "7", "class"),
        (name + "8", "outside"),
        (name + "9", "cut"),
        (name + "11", "unreadable"),
        (name + "12", "unreadable"),
        ("train/images/0.png", "duplicate"),
        ("train/labels/strange.txt", "missing"),
        ("train/images/1.png", "no label file"),
        ("train/images/1.png, train/images/2.png", "no object"),
    } == codes(data)
    assert len(boxes_of(data.target)[list(data.file).index("train/images/0.png")]) == 4


def test_numbered_masks_tell_what_they_are_not(tmp_path):
    folder = ids(tmp_path / "set")
    masks = folder / "train" / "masks"
    Image.fromarray(np.ones((9, 9), np.uint8)).save(masks / "0.png")
    (masks / "1.png").unlink()
    Image.fromarray(np.zeros((50, 50, 3), np.uint8) + np.arange(3, dtype=np.uint8)).save(masks / "2.png")
    Image.fromarray(np.full((32, 64), 0.5, np.float32)).save(masks / "3.tif")
    (masks / "3.png").unlink()
    (masks / "4.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(masks / "5.png")
    Image.fromarray(np.ones((9, 9), np.uint8)).save(masks / "strange.png")
    data = read(folder)
    place = "train/images/"
    assert {
        (place + "0.png", "size"),
        (place + "1.png", "no mask"),
        (place + "2.png", "colours"),
        (place + "3.png", "class"),
        (place + "4.png", "not an image"),
        (place + "5.png", "no object"),
        ("train/masks/strange.png", "missing"),
    } == codes(data)
    reason = next(some.reason for some in data.skipped if some.code == "size")
    assert "train/masks/0.png" in reason and "9 x 9" in reason


def test_masks_of_one_number_each_are_told(tmp_path):
    for row in range(3):
        image(tmp_path / "images" / f"{row}.png", (40, 40))
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray((drawn(2)[1][0][:40, :40] * 255).astype(np.uint8)).save(tmp_path / "masks" / f"{row}.png")
    data = read(tmp_path)
    assert data.classes == ("object",) and [len(box) for box in boxes_of(data.target)] == [1, 1, 1]
    assert [some.code for some in data.skipped] == ["one object"]


@pytest.mark.parametrize("form", ["coco", "yolo", "ids"])
def test_what_is_written_is_read_again(form, tmp_path):
    """Answers become labels: the same objects and the same pixels."""
    truth, images, annotations = instanced(6), [], []
    (tmp_path / "masks").mkdir()
    (tmp_path / "labels").mkdir()
    for row, found in enumerate(truth.target):
        name = f"{row}.png"
        shown = Picture.of(truth.input[row])
        (tmp_path / "images").mkdir(exist_ok=True)
        shown.save(tmp_path / "images" / name)
        labels = [truth.classes[int(label)] for label in found.box[:, 0]]
        masks = found.masks(64).numpy()
        answer = Mask(shown, masks, labels, [0.5] * len(labels), truth.classes)
        if form == "coco":
            images.append({"id": row, "file_name": name, "width": 64, "height": 64})
            annotations += answer.as_coco(row)
        elif form == "yolo":
            answer.save(tmp_path / "labels" / f"{row}.txt")
        else:
            answer.save(tmp_path / "masks" / name)
    if form == "coco":
        names = [{"id": n + 1, "name": name} for n, name in enumerate(truth.classes)]
        about = {"images": images, "annotations": annotations, "categories": names}
        (tmp_path / "a.json").write_text(json.dumps(about))
    elif form == "yolo":
        (tmp_path / "data.yaml").write_text("train: images\nnames: [" + ", ".join(truth.classes) + "]\n")
    again = read(tmp_path)
    assert not again.skipped and set(again.classes) == set(truth.classes)
    for one, other in zip(truth.target, again.target, strict=True):
        assert torch.equal(one.masks(64), other.masks(64))
        names = [[data.classes[int(n)] for n in objects.box[:, 0]] for data, objects in ((truth, one), (again, other))]
        assert names[0] == names[1]


@pytest.mark.parametrize("size", [(640, 417), (61, 200), (30, 30)])
def test_a_mask_becomes_smaller_as_its_picture_does(size):
    wide, high = size
    y, x = np.mgrid[:high, :wide]
    mask = ((x - wide / 2) / wide) ** 2 + ((y - high / 3) / high) ** 2 < 0.06
    _pixels, place = letterbox(Image.new("L", size), 64, 1)
    small = objects.reduced(Piece(0, 0, mask).tight(), size, place, 64)
    shape = (round(wide * place.wide), round(high * place.high))
    share = Image.fromarray(mask.astype(np.uint8) * 255).resize(shape, Image.Resampling.BOX)
    expected = np.zeros((64, 64), bool)
    expected[place.top : place.top + shape[1], place.left : place.left + shape[0]] = np.asarray(share) >= 128
    assert np.array_equal(small, expected) and small.sum() > 200
    thin = objects.reduced(
        Piece(3, 10, np.ones((20, 1), bool)), (640, 640), letterbox(Image.new("L", (640, 640)), 64, 1)[1], 64
    )
    assert thin.sum() == 2 and thin[1:3, 0].all()
    none = objects.reduced(
        Piece(3, 5, np.ones((1, 1), bool)), (6400, 6400), letterbox(Image.new("L", (6400, 6400)), 64, 1)[1], 64
    )
    assert none is None


def test_boxes_alone_are_refused_with_what_was_found(tmp_path):
    def change(about):
        for entry in about["annotations"]:
            entry["segmentation"] = []

    folder = coco(tmp_path / "set", change)
    with pytest.raises(UserError, match="no masks") as refused:
        read(folder / "annotations" / "instances_train.json")
    assert "annotation 0" in refused.value.found


def test_every_task_reads_its_own_of_one_folder(tmp_path):
    folder = coco(tmp_path / "set")
    kinds = {}
    for task in ("detect", "segment", "segment_instances"):
        names = registry.tasks()[task].formats
        data = load.load(folder, 64, formats=names)
        known = {"classes_of_pixels": "maps", "instances": "masks", "boxes": "boxes"}
        [kinds[task]] = [name for kind, name in known.items() if data.has(kind)]
    assert kinds == {"detect": "boxes", "segment": "maps", "segment_instances": "masks"}


def test_the_command_shows_and_checks_them(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    coco(tmp_path / "set")

    def run(*words):
        code = main.run([*words, "--json"])
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    code, told = run("data", "set", "task=segment_instances")
    assert not code and told["labels"] == {"cat": 9, "dog": 9} and told["parts"]["val"] == 3
    page = (tmp_path / told["page"]).read_text(encoding="utf-8")
    assert "objects each" in page
    code, told = run("data", "check", "set", "task=segment_instances")
    assert "tiny class" in {finding["code"] for finding in told["findings"]}
    assert main.run(["data", "set", "task=segment_instance"]) == 2
    assert "segment_instances" in capsys.readouterr().err
    code, told = run("train", "yolo_seg_tiny", "data=set", "imgsz=32", "budget=1ep")
    assert not code and 0 <= told["measures"]["mask AP"]["value"] <= 1
    asked = ("predict", told["run"], "set/val", "conf=0", "iou=0.5")
    code, told = run(*asked, "to=yolo", "out=lines")
    lines = (tmp_path / "lines" / "8.txt").read_text().splitlines()
    assert told["saved"] == "lines/8.txt" and lines
    assert all(line.split()[0] in "01" and len(line.split()) % 2 for line in lines)
    code, told = run(*asked, "to=coco", "out=set/val")
    assert not code and told == {"saved": "set/val/annotations.json"}
    again = read(tmp_path / "set" / "val" / "annotations.json")
    assert again.classes == NAMES and list(again.file) == ["6.png", "7.png", "8.png"]
    assert main.run([*asked, "to=svg"]) == 2 and "yolo" in capsys.readouterr().err


def test_the_doctor_looks_at_masks_of_objects(tmp_path):
    def boxes(mask):
        y, x = mask.nonzero()
        box = np.zeros_like(mask)
        box[y.min() : y.max() + 1, x.min() : x.max() + 1] = True
        return corners(box)

    def twice(about):
        entry = about["annotations"][2]
        slid = np.roll(drawn(1)[1][0], 1, 1)
        slid[0] = drawn(1)[1][0][0]
        about["annotations"].append(
            {**entry, "id": 70, "segmentation": letters(drawn(1)[1][0] | (slid & (np.arange(60)[:, None] < 12)))}
        )

    plain = check.check(coco(tmp_path / "plain"), formats=FORMATS).findings
    assert not {"masks like boxes", "drawn twice", "unit of boxes"} & {one.code for one in plain}
    found = check.check(coco(tmp_path / "boxes", twice, (boxes,)), formats=FORMATS).findings
    told = {one.code: one for one in found}
    assert told["masks like boxes"].severity == "warning"
    found = check.check(coco(tmp_path / "twice", twice), formats=FORMATS).findings
    told = {one.code: one for one in found}
    assert told["drawn twice"].files == ("train/1.png",)
