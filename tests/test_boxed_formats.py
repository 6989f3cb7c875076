"""COCO, VOC and YOLO files of boxes: read whole, moved into squares, every fault told."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from souron.data import check, load
from souron.data.readers.settings import Reading
from souron.utils.messages import UserError

FORMATS = ("yolo_boxes", "coco", "voc")
SIZES = ((64, 32), (40, 60), (50, 50))  # width, height
BOX = (8, 4, 24, 20)  # left, top, right, bottom: bright


def image(path, size):
    pixels = np.random.default_rng(0).integers(0, 60, (size[1], size[0], 3), dtype=np.uint8)
    left, top, right, bottom = BOX
    pixels[top:bottom, left:right] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def yolo(folder, count=9, names="[cat, dog]", shape="{part}/images/{i}.png", label=None):
    for i in range(count):
        part, (wide, high) = "valid" if i >= count - 3 else "train", SIZES[i % 3]
        place = folder / shape.format(part=part, i=i)
        image(place, (wide, high))
        left, top, right, bottom = BOX
        shares = ((left + right) / 2 / wide, (top + bottom) / 2 / high, (right - left) / wide, (bottom - top) / high)
        text = folder / str(place.relative_to(folder)).replace("images", "labels")
        text = text.with_suffix(".txt")
        text.parent.mkdir(parents=True, exist_ok=True)
        number = i % 2 if label is None else label(i)
        text.write_text(f"{number} {' '.join(map(str, shares))}\n")
    where = shape.partition("/{i}")[0]
    (folder / "data.yaml").write_text(
        f"train: {where.format(part='train')}\nval: {where.format(part='valid')}\nnames: {names}\n"
    )
    return folder


def coco(folder, count=9, change=None, where="annotations/instances_{part}.json"):
    for part in ("train", "val"):
        rows = range(count - 3) if part == "train" else range(count - 3, count)
        images, annotations = [], []
        for i in rows:
            image(folder / part / f"{i}.png", SIZES[i % 3])
            size = dict(zip(("width", "height"), SIZES[i % 3], strict=True))
            images.append({"id": i, "file_name": f"{i}.png", **size})
            left, top, right, bottom = BOX
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": i,
                    "category_id": 18 if i % 2 else 17,
                    "bbox": [left, top, right - left, bottom - top],
                    "iscrowd": 0,
                }
            )
        names = [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}]
        about = {"images": images, "annotations": annotations, "categories": names}
        if change and part == "train":
            change(about)
        file = folder / where.format(part=part)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(about))
    return folder


def voc(folder, count=9, first=1, change=str):
    for i in range(count):
        wide, high = SIZES[i % 3]
        image(folder / "JPEGImages" / f"{i}.jpg", (wide, high))
        left, top, right, bottom = BOX
        text = (
            f"<annotation><filename>{i}.jpg</filename><size><width>{wide}</width>"
            f"<height>{high}</height></size><object><name>{('cat', 'dog')[i % 2]}</name>"
            f"<bndbox><xmin>{left + first}</xmin><ymin>{top + first}</ymin><xmax>{right}</xmax>"
            f"<ymax>{bottom}</ymax></bndbox></object></annotation>"
        )
        file = folder / "Annotations" / f"{i}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(change(text) if i == 0 else text)
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(map(str, range(count - 3))))
    (lists / "val.txt").write_text("\n".join(map(str, range(count - 3, count))))
    return folder


def read(folder, side=64):
    return load.load(folder, side, formats=FORMATS)


def codes(data):
    return {(skipped.file, skipped.code) for skipped in data.skipped}


@pytest.mark.parametrize(
    "write",
    [
        yolo,
        lambda folder: yolo(folder, shape="images/{part}/{i}.png"),
        coco,
        lambda folder: coco(folder, where="{part}/_annotations.coco.json"),
        voc,
    ],
    ids=["yolo", "yolo, parts below", "coco", "coco, beside", "voc"],
)
def test_pictures_of_any_size_lie_in_squares_with_their_boxes(write, tmp_path):
    data = read(write(tmp_path / "set"))
    assert data.input.shape == (9, 3, 64, 64) and data.classes == ("cat", "dog")
    assert sorted(data.part) == ["train"] * 6 + ["val"] * 3
    assert not data.skipped, data.skipped
    for image, boxes, file in zip(data.input, data.target, data.file, strict=True):
        [[label, left, top, right, bottom]] = boxes.tolist()
        number = int(file.rpartition("/")[2].partition(".")[0])
        assert label == number % 2
        y, x = np.nonzero(image.float().mean(0).numpy() > 170)
        lit = [x.min(), y.min(), x.max() + 1, y.max() + 1]
        assert np.abs(np.array(lit) - [left, top, right, bottom]).max() <= 2, file
        assert boxes.dtype == torch.float32


def test_a_yolo_file_tells_every_fault_by_its_box(tmp_path):
    folder = yolo(tmp_path / "set")
    labels = folder / "train" / "labels"
    good = (labels / "0.txt").read_text()
    (labels / "0.txt").write_text(
        good + "0 nan 0.5 0.1 0.1\n0 0.5 0.5 0 0.1\n7 0.5 0.5 0.2 0.2\n1 5 5 0.1 0.1\n"
        "1 0.05 0.5 0.2 0.2\n1 0.5 0.5 1.00001 1\nhello\n1 0.1 0.1 0.4 0.1 0.4 0.5\n" + good
    )
    (labels / "1.txt").unlink()
    (labels / "2.txt").write_text("")
    (labels / "strange.txt").write_text(good)
    (folder / "train" / "images" / "3.png").write_bytes(b"no picture")
    data = read(folder)
    told = codes(data)
    name = "train/images/0.png, box "
    assert {
        (name + "2", "no number"),
        (name + "3", "no area"),
        (name + "4", "class"),
        (name + "5", "outside"),
        (name + "6", "cut"),
        ("train/images/0.png", "duplicate"),
        ("train/labels/0.txt, line 8", "unreadable"),
        ("train/labels/strange.txt", "missing"),
        ("train/images/1.png", "no label file"),
        ("train/images/3.png", "not an image"),
        ("train/images/1.png, train/images/2.png", "no object"),
    } == told
    boxes = data.target[list(data.file).index("train/images/0.png")]
    assert len(boxes) == 4  # the good one, the cut one, the one of 1.00001, the outline
    wide, high = 64, 32
    outline = [0.1 * wide, 0.1 * high + 16, 0.4 * wide, 0.5 * high + 16]
    assert boxes[-1, 1:].tolist() == pytest.approx(outline, abs=1e-3)
    assert len(data) == 8 and len(data.target[list(data.file).index("train/images/2.png")]) == 0


def test_classes_counted_from_1_are_refused(tmp_path):
    with pytest.raises(UserError, match="off by one"):
        read(yolo(tmp_path / "set", label=lambda i: 1 + i % 2))
    data = read(yolo(tmp_path / "named", names="{1: cat, 2: dog}", label=lambda i: 1 + i % 2))
    assert data.classes == ("cat", "dog") and data.target[0][0, 0] == 0


def test_a_coco_file_tells_every_fault_by_its_number(tmp_path):
    def change(about):
        images, annotations = about["images"], about["annotations"]
        images.append({**images[0], "file_name": "again.png"})
        images.append({"id": 99, "file_name": "gone.png", "width": 9, "height": 9})
        images[1]["width"] = 77
        annotations.append({**annotations[0]})
        annotations.append({**annotations[2], "id": 50, "image_id": 1234})
        annotations.append({**annotations[2], "id": 51, "category_id": 3})
        annotations.append({**annotations[2], "id": 52, "bbox": [1, 2, -3, 4]})
        annotations.append({**annotations[2], "id": 53, "bbox": "no"})
        annotations.append({**annotations[2], "id": 54, "bbox": [0, 0, 30, 30], "iscrowd": 1})
        annotations.append({**annotations[3], "id": 55, "bbox": [1, None, 3, 4]})
        annotations.append("nothing")

    data = read(coco(tmp_path / "set", change=change))
    where = "annotations/instances_train.json, annotation "
    assert {
        ("again.png", "duplicate"),
        ("gone.png", "missing"),
        ("train/1.png", "size"),
        (where + "0", "duplicate"),
        (where + "50", "missing"),
        (where + "51", "class"),
        (where + "53", "unreadable"),
        (where + "14", "unreadable"),
        ("train/2.png, box 2", "no area"),
        ("train/3.png, box 2", "no number"),
        ("train/2.png", "crowd"),
    } == codes(data)
    crowd = data.target[list(data.file).index("train/2.png")]
    assert crowd[:, 0].tolist() == [0, -1] and len(data) == 8


def test_a_coco_file_alone_is_one_part_and_two_categories_of_one_number_are_refused(tmp_path):
    folder = coco(tmp_path / "set")
    data = read(folder / "annotations" / "instances_train.json")
    assert len(data) == 6 and set(data.part) == {"train"}

    def change(about):
        about["categories"].append({"id": 17, "name": "cow"})

    with pytest.raises(UserError, match="two categories"):
        read(coco(tmp_path / "other", change=change))
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "a.json").write_text('{"images": 3, "annotations": [], "categories": []}')
    with pytest.raises(UserError, match="no list of images"):
        read(tmp_path / "list")


def test_a_voc_file_counts_from_1_or_0_and_tells_its_faults(tmp_path):
    difficult = "<difficult>1</difficult></object></annotation>"
    hard = voc(tmp_path / "hard", change=lambda t: t.replace("</object></annotation>", difficult))
    data = read(hard)
    assert data.target[0][:, 0].tolist() == [-1]
    assert ("JPEGImages/0.jpg", "crowd") in codes(data)

    bomb = '<!DOCTYPE a [<!ENTITY b "cc">]><annotation>&b;</annotation>'
    (hard / "Annotations" / "1.xml").write_text(bomb)
    (hard / "Annotations" / "2.xml").write_text("<annotation><object></annotation>")
    (hard / "Annotations" / "strange.xml").write_text("<annotation></annotation>")
    text = (hard / "Annotations" / "3.xml").read_text()
    (hard / "Annotations" / "3.xml").write_text(text.replace("<width>", "<width>1"))
    (hard / "Annotations" / "4.xml").write_text(
        (hard / "Annotations" / "4.xml").read_text().replace("<name>cat</name>", "")
    )
    assert {
        ("Annotations/1.xml", "unreadable"),
        ("Annotations/2.xml", "unreadable"),
        ("JPEGImages/1.jpg", "no label file"),
        ("JPEGImages/2.jpg", "no label file"),
        ("Annotations/strange.xml", "missing"),
        ("JPEGImages/3.jpg", "size"),
        ("Annotations/4.xml, box 1", "class"),
        ("JPEGImages/4.jpg", "no object"),
        ("JPEGImages/0.jpg", "crowd"),
    } == codes(read(hard))

    infinite = voc(tmp_path / "infinite", change=lambda t: t.replace("<width>", "<width>1e999"))
    assert len(read(infinite).target[0]) == 1

    zero = voc(tmp_path / "zero", first=0, change=lambda text: text.replace(">8<", ">0<"))
    data = read(zero)
    assert codes(data) == {("zero", "counting")}
    one = read(voc(tmp_path / "from one"))
    assert codes(one) == set() and torch.equal(data.target[1], one.target[1])
    edges = data.target[2][0, 1:] * 50 / 64
    assert edges.tolist() == pytest.approx(BOX, abs=1e-4)


def test_a_folder_of_classes_is_still_read_for_classification_and_refused_without_boxes(photos):
    assert load.load(photos).classes
    with pytest.raises(UserError, match="data"):
        load.load(photos, formats=FORMATS)


def test_nothing_usable_is_refused_with_what_was_wrong(tmp_path):
    folder = yolo(tmp_path / "set")
    for file in folder.glob("*/labels/*.txt"):
        file.write_text("0 0.5 0.5 0 0\n")
    with pytest.raises(UserError, match="no boxes") as refused:
        read(folder)
    assert "without an area" in refused.value.found
    for file in folder.glob("*/images/*.png"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match="no image"):
        load.load(folder, None, formats=FORMATS)


def test_the_side_is_128_unless_told(tmp_path):
    from souron.data.formats import yolo_boxes

    folder = yolo(tmp_path / "set")
    assert yolo_boxes.load(folder, Reading()).side == 128
    told = []
    yolo_boxes.load(folder, Reading(32, progress=lambda done, count: told.append((done, count))))
    assert told == [(0, 9)]


def findings(folder, *others):
    found = check.check(folder, formats=(*FORMATS, *others, *load.FORMATS))
    return {finding.code: finding for finding in found.findings}


def test_the_doctor_looks_at_boxes(tmp_path):
    found = findings(yolo(tmp_path / "set", count=9))
    assert found["tiny class"].severity == "warning" and "cat" in found["tiny class"].message
    assert "unit of boxes" not in found and "label conflict" not in found
    assert "patient in classes" not in found and not {"imbalance", "spelling"} & set(found)


def test_the_doctor_knows_boxes_in_the_wrong_unit(tmp_path):
    def in_shares(about):
        for annotation in about["annotations"]:
            annotation["bbox"] = [0.1, 0.2, 0.3, 0.4]

    found = findings(coco(tmp_path / "shares", change=in_shares))
    assert found["unit of boxes"].severity == "error" and "6 of 9" in found["unit of boxes"].message

    folder = yolo(tmp_path / "pixels", count=9)
    for file in folder.rglob("labels/*.txt"):
        if file.stem not in "01":
            file.write_text("0 20 16 10 8\n")
    found = findings(folder)
    assert found["unit of boxes"].severity == "error" and "7 of 9" in found["unit of boxes"].message


def test_no_table_of_classes_is_written_of_boxes(tmp_path):
    folder = yolo(tmp_path / "set")
    found = check.check(folder, formats=FORMATS)
    with pytest.raises(UserError) as trouble:
        check.manifest(found, folder / "checked.csv")
    assert trouble.value.code == "option" and not (folder / "checked.csv").exists()


def test_the_doctor_looks_at_masks(tmp_path):
    for i in range(4):
        image(tmp_path / "images" / f"{i}.png", (32, 32))
        (tmp_path / "masks").mkdir(exist_ok=True)
        area = np.zeros((32, 32), np.uint8)
        area[:16] = i % 2
        Image.fromarray(area).save(tmp_path / "masks" / f"{i}.png")
    found = findings(tmp_path, "masks")
    assert {"imbalance", "tiny class", "unit of boxes"}.isdisjoint(found) and "no groups" in found
