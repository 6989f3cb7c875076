"""Boxes and outlines drawn by hand: what is stored, what readers make of it, and the page in a browser."""

import html
import io
import itertools
import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import browsing
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from souron.data import hand_annotations
from souron.data.formats import coco, coco_masks
from souron.data.readers.settings import Reading
from souron.hub import zoo
from souron.pipelines import default_system
from souron.studio import layout, page_routes
from souron.studio.jobs.job_queue import Jobs
from souron.studio.my_data import annotating
from souron.studio.security import access
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils.messages import UserError

STATIC = Path(layout.__file__).parent / "static"
CAT = {"class": "cat", "box": [10, 20, 30, 40]}
DOG = {"class": "dog", "outlines": [[[0, 0], [40, 0], [40, 20], [0, 20]]]}
HOSTILE = "<b>宇宙 ü&'.png"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Lists of files are not kept, and no folder is remembered from another test."""
    monkeypatch.setattr(hand_annotations, "FRESH", -1.0)
    hand_annotations._folders.clear()


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("1.png", "2.png", "10.png", HOSTILE):
        picture(folder / name)
    return folder


def picture(path, size=(100, 80)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 180, 160)).save(path)


def written(folder, name="annotations.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def draw(folder, file, *added, **more):
    shown = folder.image(file)
    return folder.save(file, shown["version"], added=added, **more)


def test_what_is_drawn_is_read_by_the_real_readers(photos):
    folder = hand_annotations.opened(photos)
    draw(folder, "1.png", CAT, DOG)
    draw(folder, HOSTILE, {"class": "猫", "box": [0, 0, 100, 80]})
    draw(folder, "2.png")
    found = coco.load(photos, Reading(side=100))
    assert found.classes == ("cat", "dog", "猫") and found.file == ["1.png", "2.png", HOSTILE] and not found.skipped[1:]
    assert found.target[0][:, 0].tolist() == [0, 1] and len(found.target[1]) == 0
    # a square of 100 pixels pads the 80 rows with 10 above
    assert found.target[0][:, 1:].tolist() == [[10, 30, 40, 70], [0, 10, 40, 30]]
    masks = coco_masks.load(photos, Reading(side=100))
    assert masks.classes == found.classes and len(masks.target[0].box) == 1
    about = written(photos)["annotations"][1]
    assert about["area"] == 800 and about["bbox"] == [0, 0, 40, 20]


def test_states_versions_and_what_is_looked_at(photos):
    folder = hand_annotations.opened(photos)
    assert list(folder.states()) == ["1.png", "2.png", "10.png", HOSTILE] or set(folder.states().values()) == {-1}
    assert not (photos / "annotations.json").exists()
    draw(folder, "2.png")
    version = draw(folder, "1.png", CAT)
    assert folder.states() | {HOSTILE: -1} == {"1.png": 1, "2.png": 0, "10.png": -1, HOSTILE: -1}
    assert folder.image("1.png")["version"] == version
    folder.save("2.png", folder.image("2.png")["version"], looked=False)
    assert folder.states()["2.png"] == -1 and [one["file_name"] for one in written(photos)["images"]] == ["1.png"]


def test_a_second_tab_does_not_overwrite_the_first(photos):
    folder = hand_annotations.opened(photos)
    one, two = folder.image("1.png"), folder.image("1.png")
    folder.save("1.png", one["version"], added=[CAT])
    before = (photos / "annotations.json").read_bytes()
    with pytest.raises(UserError) as error:
        folder.save("1.png", two["version"], added=[DOG])
    assert error.value.code == "changed" and (photos / "annotations.json").read_bytes() == before
    folder.save("2.png", folder.image("2.png")["version"], added=[DOG])  # another image is free


def test_a_change_by_another_program_is_seen_and_kept(photos):
    folder = hand_annotations.opened(photos)
    draw(folder, "1.png", CAT)
    version = folder.image("1.png")["version"]
    about = written(photos)
    about["annotations"][0]["bbox"] = [1, 2, 3, 4]
    about["info"] = {"by": "another"}
    (photos / "annotations.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="changed elsewhere"):
        folder.save("1.png", version, added=[DOG])
    draw(folder, "1.png", DOG)
    assert written(photos)["info"] == {"by": "another"} and len(written(photos)["annotations"]) == 2
    assert written(photos, "annotations.json.bak") == about


@pytest.fixture
def foreign(photos):
    """A file of somebody else's, with fields, numbers and faults of all kinds."""
    about = {
        "info": {"year": 2024},
        "licenses": [{"id": 7}],
        "images": [
            {"id": 5, "file_name": "1.png", "width": 100, "height": 80, "coco_url": "x"},
            {"id": "9", "file_name": "gone.png"},
            "no image",
        ],
        "categories": [{"id": 3, "name": "cat", "supercategory": "animal"}, {"id": 90, "name": "dog"}],
        "annotations": [
            {"id": 11, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5, "iscrowd": 0},
            {"id": 12, "image_id": 404, "category_id": 3, "bbox": [1, 2, 3, 4]},
            {"id": 13, "image_id": 5, "category_id": 404, "bbox": [5, 5, 9, 9]},
            {"id": 14, "image_id": 5, "category_id": 90, "iscrowd": 1,
             "segmentation": {"size": [80, 100], "counts": [0, 160, 7840]}},
            {"id": 15, "image_id": 5, "category_id": 90, "bbox": [1e300, -5, 3, "x"], "segmentation": [[1, 2, 3]]},
            {"id": 16, "image_id": 9, "category_id": 90, "bbox": [1, 1, 1, 1]},
            "no annotation",
        ],
    }  # fmt: skip
    (photos / "annotations.json").write_text(json.dumps(about))
    return photos, about


def test_a_foreign_file_is_continued_and_nothing_of_it_is_lost(foreign):
    photos, about = foreign
    folder = hand_annotations.opened(photos)
    shown = folder.image("1.png")
    assert [mark["class"] for mark in shown["marks"]] == ["cat", "", "dog", "dog"]
    assert shown["marks"][2]["box"] == [0, 0, 2, 80] and shown["marks"][2]["fixed"]
    assert "box" not in shown["marks"][3] and len(folder.notes()) == 3
    folder.save(
        "1.png",
        shown["version"],
        changed=[{"place": 0, "box": [2, 2, 3, 4]}, {"place": 1, "class": "dog"}],
        added=[CAT | {"class": "bird"}],
    )
    now = written(photos)
    same = ("info", "licenses", "images")
    assert {name: now[name] for name in same} == {name: about[name] for name in same}
    assert now["categories"] == [*about["categories"], {"id": 91, "name": "bird"}]
    first, lost, second, *others, fresh = now["annotations"]
    assert (first["bbox"], first["score"], first["id"]) == ([2, 2, 3, 4], 0.5, 11)
    assert second["category_id"] == 90 and second["bbox"] == [5, 5, 9, 9]
    assert [lost, *others] == [about["annotations"][n] for n in (1, 3, 4, 5, 6)]
    assert fresh["id"] == 17 and fresh["category_id"] == 91 and fresh["image_id"] == 5
    assert written(photos, "annotations.json.bak") == about
    hand_annotations._folders.clear()  # a studio that is started again keeps what it found, once
    draw(hand_annotations.opened(photos), "2.png", CAT)
    hand_annotations._folders.clear()
    hand_annotations.opened(photos)
    assert written(photos, "annotations.json-2.bak") == now
    assert len(coco._files(photos)) == 1, "a copy is no further file of annotations"


def test_what_was_deleted_comes_back_with_its_own_fields(foreign):
    photos, about = foreign
    folder = hand_annotations.opened(photos)
    shown = folder.image("1.png")
    version = folder.save("1.png", shown["version"], deleted=[0, 2])
    assert [mark["class"] for mark in folder.image("1.png")["marks"]] == ["", "dog"]
    back = [{"more": shown["marks"][2]["more"], "class": "dog"}]
    folder.save("1.png", version, added=[*back, {**shown["marks"][0]}])
    *_, mask, box = written(photos)["annotations"]
    assert mask == about["annotations"][3]
    assert (box["id"], box["score"], box["bbox"]) == (11, 0.5, [1, 2, 3, 4])
    with pytest.raises(UserError):
        draw(folder, "1.png", {"more": "[" * 10**5})


@pytest.mark.parametrize(
    "mark",
    [
        {"box": [0, 0, 0, 5]},
        {"box": [200, 0, 5, 5]},
        {"box": [float("nan"), 0, 5, 5]},
        {"box": [0, 0, float("inf"), 5]},
        {"box": [1, 2, 3]},
        {"box": "1234"},
        {"box": {"left": 1}},
        {"outlines": []},
        {"outlines": [[[0, 0], [1, 1]]]},
        {"outlines": [[[0, 0], [9, 9], [5, 5]]]},
        {"outlines": [[["a", 0], [9, 9], [5, 5]]]},
        {"outlines": [[[1e12, 0], [9, 9], [5, 5]]]},
        {"outlines": 5},
        {},
        {"box": [0, 0, 5, 5], "class": ""},
        {"box": [0, 0, 5, 5], "class": "x" * 201},
        {"box": [0, 0, 5, 5], "class": "\u202e"},
    ],
)
def test_absurd_shapes_are_refused_and_nothing_is_written(photos, mark):
    folder = hand_annotations.opened(photos)
    draw(folder, "1.png", CAT)
    before = (photos / "annotations.json").read_bytes()
    with pytest.raises(UserError):
        draw(folder, "1.png", {"class": "cat"} | mark)
    assert (photos / "annotations.json").read_bytes() == before and len(folder.image("1.png")["marks"]) == 1


def test_shapes_are_clipped_to_the_image(photos):
    folder = hand_annotations.opened(photos)
    outline = {"class": "a", "outlines": [[[-9, 0], [50, -3], [150, 90]]]}
    draw(folder, "1.png", {"class": "cat", "box": [-1e9, -5, 2e9, 10]}, outline)
    box, outline = written(photos)["annotations"]
    assert box["bbox"] == [0, 0, 100, 5] and outline["segmentation"] == [[0, 0, 50, 0, 100, 80]]


@pytest.mark.parametrize(
    ("changed", "deleted"), [([{"place": 7, "class": "a"}], []), ([], [-1]), ([], [0, 0]), ([], [True])]
)
def test_changes_of_what_is_not_there_are_refused(photos, changed, deleted):
    folder = hand_annotations.opened(photos)
    version = draw(folder, "1.png", CAT)
    with pytest.raises(UserError):
        folder.save("1.png", version, changed=changed, deleted=deleted)


def test_classes_are_added_renamed_and_removed_when_unused(photos):
    folder = hand_annotations.opened(photos)
    folder.add_class("  cat \n food ")
    folder.add_class("dog")
    assert folder.classes() == ["cat food", "dog"]
    draw(folder, "1.png", {"class": "dog", "box": [0, 0, 5, 5]})
    folder.rename_class("cat food", "猫")
    folder.rename_class("dog", "wolf")
    assert hand_annotations.opened(photos).image("1.png")["marks"][0]["class"] == "wolf"
    with pytest.raises(UserError):
        folder.rename_class("wolf", "猫")
    with pytest.raises(UserError, match="1 annotations are of the class wolf"):
        folder.remove_class("wolf")
    folder.remove_class("猫")
    assert [one["name"] for one in written(photos)["categories"]] == ["wolf"]


def test_an_image_that_vanishes_keeps_its_annotations(photos):
    folder = hand_annotations.opened(photos)
    version = draw(folder, "1.png", CAT)
    (photos / "1.png").rename(photos.parent / "1.png")
    for name in ("1.png", "../1.png", "annotations.json", "/etc/passwd", ""):
        with pytest.raises(UserError, match="no image"):
            folder.save(name, version, added=[DOG])
    assert any("not in this folder" in note for note in folder.notes())
    draw(folder, "2.png", DOG)
    (photos.parent / "1.png").rename(photos / "1.png")
    assert folder.image("1.png")["version"] == version and len(folder.image("1.png")["marks"]) == 1


def test_a_failed_write_changes_nothing(photos, monkeypatch):
    folder = hand_annotations.opened(photos)
    version = draw(folder, "1.png", CAT)

    def full(*_given):
        raise UserError("disk", "full")

    with monkeypatch.context() as patch:
        patch.setattr(hand_annotations.files, "write", full)
        with pytest.raises(UserError):
            folder.save("1.png", version, added=[DOG])
    assert folder.image("1.png")["version"] == version and len(folder.image("1.png")["marks"]) == 1
    folder.save("1.png", version, added=[DOG])


def test_another_file_of_that_name_is_left_alone(photos):
    (photos / "annotations.json").write_text('{"mine": 1}')
    draw(hand_annotations.opened(photos), "1.png", CAT)
    assert written(photos) == {"mine": 1} and len(written(photos, "annotations-2.json")["annotations"]) == 1


def test_a_damaged_file_is_not_overwritten(photos):
    (photos / "annotations.json").write_text('{"images": [], "annotations": [')
    with pytest.raises(UserError):
        hand_annotations.opened(photos).states()
    (photos / "annotations.json").unlink()
    outside = photos.parent / "outside.json"
    outside.write_text('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "secret"}]}')
    (photos / "annotations.json").symlink_to(outside)
    draw(hand_annotations.opened(photos), "1.png", CAT)
    assert json.loads(outside.read_text())["images"] == []
    assert hand_annotations.opened(photos).classes() == ["cat"]


@pytest.mark.parametrize("posed", [False, True])
def test_yolo_is_taken_over_with_its_parts_and_stays(tmp_path, posed):
    for part in ("train", "val"):
        picture(tmp_path / "images" / part / "1.png")
        (tmp_path / "labels" / part).mkdir(parents=True)
    labels = tmp_path / "labels" / "train" / "1.txt"
    labels.write_text("1 0.5 0.5 0.2 0.5\n0 0 0 0.5 0 0.5 0.5\n")
    text = "path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n"
    (tmp_path / "data.yaml").write_text(text + ("kpt_shape: [1, 3]\n" if posed else ""))
    folder = hand_annotations.opened(tmp_path)
    box, outline = folder.image("images/train/1.png")["marks"]
    assert box["class"] == "dog" and box["box"] == [40, 20, 20, 40]
    assert outline["outlines"] == [[[0, 0], [50, 0], [50, 40]]]
    assert "YOLO" in folder.notes()[0] and folder.path_for_training() == tmp_path
    draw(folder, "images/val/1.png", CAT)
    assert folder.path_for_training() == tmp_path / "annotations.json" and not folder.notes()
    found = coco.load(folder.path_for_training(), Reading(side=100))
    assert found.part == ["train", "val"] and [len(boxes) for boxes in found.target] == [2, 1]
    assert labels.read_text().startswith("1 0.5")


def test_voc_is_taken_over(photos):
    (photos / "1.xml").write_text(
        "<annotation><filename>1.png</filename><object><name>cat</name><difficult>1</difficult><bndbox><xmin>11</xmin>"
        "<ymin>21</ymin><xmax>40</xmax><ymax>60</ymax></bndbox></object></annotation>"
    )
    folder = hand_annotations.opened(photos)
    assert folder.image("1.png")["marks"][0]["box"] == [10, 20, 30, 40]
    draw(folder, "2.png", DOG)
    assert written(photos)["annotations"][0]["iscrowd"] == 1 and len(coco.load(photos).file) == 2


def test_each_part_keeps_its_own_file(tmp_path):
    for part in ("train", "valid"):
        picture(tmp_path / part / "1.png")
        about = {
            "images": [{"id": 1, "file_name": "1.png"}],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [],
        }
        (tmp_path / part / "_annotations.coco.json").write_text(json.dumps(about))
    picture(tmp_path / "valid" / "2.png")
    folder = hand_annotations.opened(tmp_path)
    draw(folder, "valid/2.png", CAT)
    draw(folder, "train/1.png", CAT, DOG)
    names = [one["file_name"] for one in written(tmp_path / "valid", "_annotations.coco.json")["images"]]
    assert names == ["1.png", "2.png"]
    assert coco.load(tmp_path).part == ["train", "val", "val"]


def test_sizes_are_those_of_the_upright_image(photos):
    turned = Image.new("RGB", (100, 80))
    exif = turned.getexif()
    exif[hand_annotations.ORIENTATION] = 6
    turned.save(photos / "turned.jpg", exif=exif)
    folder = hand_annotations.opened(photos)
    shown = folder.image("turned.jpg")
    assert (shown["width"], shown["height"]) == (80, 100)
    draw(folder, "turned.jpg", {"class": "cat", "box": [0, 0, 80, 100]})
    assert len(coco.load(photos).target[0]) == 1


def test_a_size_that_the_file_states_wrongly_is_told(photos):
    about = {
        "images": [{"id": 1, "file_name": "1.png", "width": 50, "height": 40}],
        "categories": [],
        "annotations": [],
    }
    (photos / "annotations.json").write_text(json.dumps(about))
    assert hand_annotations.opened(photos).image("1.png")["other_size"] == [50, 40]


def test_outlines_of_a_mask_give_the_mask_again():
    y, x = np.mgrid[:80, :100]
    mask = (x - 40) ** 2 + (y - 30) ** 2 < 400
    mask[60:70, 70:90] = True
    mask[0, 99] = True  # noise
    lines = hand_annotations.outlines_of(mask)
    from souron.data.readers import outlines

    again = outlines.filled([np.array(line) for line in lines], 100, 80).whole(100, 80)
    assert len(lines) == 2 and (again & mask).sum() / (again | mask).sum() > 0.95
    assert hand_annotations.outlines_of(np.zeros((5, 5), bool)) == []


def calls_within(work):
    """Count the calls and returns of functions, to which, unlike the time, other programs add nothing."""
    steps, before = itertools.count(), sys.getprofile()
    sys.setprofile(lambda *_given: next(steps))
    try:
        found = work()
    finally:
        sys.setprofile(before)
    return next(steps), found


def test_100_000_boxes_are_saved_in_seconds(photos):
    boxes = [{"id": n, "image_id": 1, "category_id": 1, "bbox": [n % 90, n % 70, 5, 5]} for n in range(1, 100_001)]
    about = {
        "images": [{"id": 1, "file_name": "1.png"}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": boxes,
    }
    (photos / "annotations.json").write_text(json.dumps(about))
    folder = hand_annotations.opened(photos)
    shown = folder.image("1.png", 10)
    assert shown["count"] == 100_000 and len(shown["marks"]) == 10
    changed = [{"place": 3, "box": [0, 0, 1, 1]}]
    calls, _version = calls_within(lambda: folder.save("1.png", shown["version"], changed=changed, added=[CAT] * 100))
    assert calls < 60 * 100_000, "some of each box, however many are added"
    assert len(written(photos)["annotations"]) == 100_100 and written(photos)["annotations"][3]["bbox"] == [0, 0, 1, 1]


# the page


@pytest.fixture
def studio(tmp_path):
    project = tmp_path / "runs"
    return Studio(project, Roots([tmp_path]), Jobs(project), "en")


@pytest.fixture
def client(studio):
    app = FastAPI()
    page_routes.add(app, lambda language: replace(studio, language=language))
    return TestClient(app)


def ask(client, action, **asked):
    return client.post(f"/do/en/annotate/{action}", json={"data": "photos", **asked})


def said(text):
    return html.unescape(re.sub(r"<[^>]+>", " ", text))


def test_the_page_asks_saves_and_shows(client, photos):
    found = ask(client, "listed").json()
    assert (found["total"] == 4 and found["train"]["yolo"].endswith("system=yolo&data=photos")) or photos
    shown = ask(client, "image", file=HOSTILE).json()
    saved = ask(client, "save", file=HOSTILE, version=shown["version"], added=[CAT]).json()
    again = ask(client, "save", file=HOSTILE, version=shown["version"], added=[CAT]).json()
    assert saved["version"] and "changed elsewhere" in again["changed"]
    assert ask(client, "listed", only="new").json()["drawn"] == 1
    view = client.get("/show/en/annotate/image", params={"data": "photos", "file": HOSTILE})
    assert view.headers["content-type"] == "image/png" and view.content.startswith(b"\x89PNG")
    assert ask(client, "classes", do="add", name="bird").json() == {"classes": ["cat", "bird"]}


def test_a_file_and_a_link_lead_no_further_than_the_studio_may_read(tmp_path):
    outside = tmp_path / "outside"
    picture(outside / "secret.png")
    (outside / "annotations").mkdir()
    about = {"images": [{"id": 1, "file_name": "secret.png", "width": 1e999, "height": 1}], "annotations": []}
    (outside / "annotations" / "a.json").write_text(json.dumps(about | {"categories": []}))
    project = outside / "annotations" / "runs"
    studio = Studio(project, Roots([outside / "annotations"]), Jobs(project), "en")
    with pytest.raises(UserError, match="outside"):
        annotating.listed(studio, {"data": "a.json"})
    assert hand_annotations.opened(outside).image("secret.png")["other_size"] is None
    inner = outside / "annotations" / "photos"
    inner.mkdir()
    (inner / "link.png").symlink_to(outside / "secret.png")
    for action in (annotating.shown, annotating.suggested):
        with pytest.raises(UserError):
            action(studio, {"data": "photos", "file": "link.png", "system": "yolo"})


def test_images_are_shown_within_bounds(client, photos):
    picture(photos / "large.png", (4000, 100))
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name, most in (("image", annotating.SHOWN), ("thumbnail", annotating.THUMBNAIL)):
        view = client.get(f"/show/en/annotate/{name}", params={"data": "photos", "file": "large.png"})
        with Image.open(io.BytesIO(view.content)) as image:
            assert image.width == most
    broken = {"data": "photos", "file": "broken.png"}
    assert client.get("/show/en/annotate/image", params=broken).status_code == 400
    assert client.get("/show/en/annotate/thumbnail", params=broken).status_code == 200
    shown = ask(client, "image", file="broken.png").json()
    assert "broken.png" in shown["broken"] and shown["next"] == "large.png"


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("listed", {"data": "/etc"}),
        ("listed", {"data": "../.."}),
        ("listed", {"data": ["photos"]}),
        ("listed", {"data": "nowhere"}),
        ("image", {"file": "../../etc/passwd"}),
        ("save", {"file": "1.png", "version": "", "added": ["x"]}),
        ("save", {"file": "1.png"}),
        ("classes", {"do": "add", "name": "\n"}),
    ],
)
def test_requests_that_lead_elsewhere_or_nowhere_are_refused(client, photos, name, asked):
    answer = ask(client, name, **asked)
    assert answer.status_code == 400 or "changed" in answer.json()
    assert not (photos / "annotations.json").exists()
    assert client.get("/show/en/annotate/image", params={"data": "/etc", "file": "passwd"}).status_code == 400


@pytest.mark.parametrize("system", ["/etc/passwd", "gpt", "", "efficientnet_lite"])
def test_only_systems_for_boxes_and_outlines_suggest(client, photos, system):
    answer = ask(client, "suggest", file="1.png", system=system)
    assert answer.status_code == 400 and "does not suggest" in said(answer.json()["detail"])


def test_a_folder_of_10_000_images_is_listed_by_pages(client, studio, photos):
    for number in range(9_996):
        (photos / f"x{number}.png").touch()
    found = ask(client, "listed", file="x9995.png").json()
    assert found["total"] == 10_000 and len(found["files"]) <= annotating.LISTED and found["page"] == found["pages"] - 1
    calls, last = calls_within(lambda: annotating.listed(studio, {"data": "photos", "page": 10**9}))
    assert last["page"] == found["page"]
    assert calls < 3000 * 10_000, "some hundred of each image, however many there are"


def test_a_run_trained_on_the_folder_suggests_first(client, photos, tmp_path, monkeypatch):
    from souron.studio.runs.run_list import Run

    runs = [
        Run(tmp_path / "runs" / "detect" / "other", "finished", 0.0, data="scenes"),
        Run(tmp_path / "runs" / "detect" / "own", "finished", 0.0, data=str(photos / "annotations.json")),
        Run(tmp_path / "runs" / "classify" / "no", "finished", 0.0, data=str(photos)),
    ]
    monkeypatch.setattr(annotating.run_list, "runs", lambda _project: runs)
    monkeypatch.setattr(default_system, "starters", lambda: ["ssd_oid", "nanodet"])
    monkeypatch.setattr(default_system, "learnt_from", lambda _name: "data")
    names = [Path(name).name for name, _title, _data in ask(client, "systems").json()["systems"]]
    assert names[:4] == ["own", "nanodet", "ssd_oid", "other"] and "no" not in names


@pytest.mark.skipif(zoo.root() is None, reason="the ready-trained systems are not installed")
@pytest.mark.parametrize(("system", "shape"), [("yolo", "box"), ("yolo_seg", "outlines")])
def test_a_system_suggests_and_nothing_is_stored(client, photos, system, shape):
    scene = zoo.examples(zoo.root() / system)[0]
    (photos / "scene.png").write_bytes(scene.read_bytes())
    ask(client, "classes", do="add", name="MAMMAL")
    before = (photos / "annotations.json").read_bytes()
    found = ask(client, "suggest", file="scene.png", system=system).json()["marks"]
    assert found and all(shape in mark and 0 <= mark["score"] <= 1 for mark in found)
    assert (photos / "annotations.json").read_bytes() == before
    with Image.open(scene) as image:
        size = image.size
    assert all(hand_annotations.as_shape(mark, size) for mark in found)


def test_suggestions_have_the_names_of_the_folder():
    from souron.kinds.boxes import Boxes
    from souron.kinds.picture import Picture

    answer = Boxes(Picture(Image.new("RGB", (50, 50))), [[0, 0, 9, 9], [5, 5, 20, 20]], ["Cat", "bird"], [0.4, 0.9])
    found = annotating.marks_of(answer, ["dog", "cat"])
    assert [(mark["class"], mark["box"]) for mark in found] == [("bird", [5, 5, 15, 15]), ("cat", [0, 0, 9, 9])]


def test_the_guard_and_the_policy_fit_the_page():
    assert access.find_route("/en/annotate", "GET").sort == "page"
    script = (STATIC / "annotorious.js").read_text(encoding="utf-8")
    assert "eval(" not in script and "new Function" not in script and "importScripts" not in script
    assert "Annotorious 3.8.10" in (STATIC / "annotorious.LICENSE").read_text(encoding="utf-8")


CHROMIUM = pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")


@pytest.fixture
def folder(looked_at):
    """A folder with two images below the studio's own."""
    place = looked_at.folder / f"photos-{time.time_ns()}"
    place.mkdir()
    picture(place / "1.png", (200, 160))
    picture(place / "2.png", (200, 160))
    return place


def opened(visit, server, folder, file, language="en"):
    visit.page.goto(f"{server.address}/{language}/annotate?data={folder.name}&file={file}")
    visit.page.wait_for_selector(f"[data-ready='{file}']")
    visit.page.wait_for_selector(".list li:nth-child(2)")


def drag(page, left, top, right, bottom):
    """Drag over the image, in shares of its sides."""
    box = page.locator(".stage img").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in ((left, top), (right, bottom))]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=4)
    page.mouse.up()


def count(page, number):
    page.wait_for_selector(f".objects:has(> li:nth-child({number})):not(:has(> li:nth-child({number + 1})))")
    page.wait_for_selector("#annotate[data-state=saved]")


@CHROMIUM
@pytest.mark.parametrize("width", [1280, 390])
def test_a_box_is_drawn_named_and_there_after_reloading(looked_at, folder, width):
    with browsing.visiting("en", width=width) as visit:
        page = visit.page
        opened(visit, looked_at, folder, "1.png")
        drag(page, 0.25, 0.25, 0.5, 0.75)
        page.wait_for_selector("#annotate[data-state=classless]")
        page.locator(".new input").fill("cat <b>")
        page.keyboard.press("Enter")
        count(page, 1)
        left, top, wide, high = written(folder)["annotations"][0]["bbox"]
        assert max(abs(left - 50), abs(top - 40), abs(wide - 50), abs(high - 80)) < 2
        page.reload()
        page.wait_for_selector("[data-ready='1.png']")
        assert page.locator(".objects .name").inner_text() == "cat <b>"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.errors == [] and visit.outside == []


@CHROMIUM
def test_everything_has_a_key(looked_at, folder):
    with browsing.visiting("en") as visit:
        page = visit.page
        for name in ("cat", "dog"):
            hand_annotations.opened(folder).add_class(name)
        opened(visit, looked_at, folder, "1.png")
        page.keyboard.press("2")
        drag(page, 0.1, 0.1, 0.3, 0.3)
        count(page, 1)
        page.keyboard.press("1")  # of the selected one
        page.wait_for_selector(".objects .name:text('cat')")
        page.keyboard.press("Delete")
        page.wait_for_selector(".objects:not(:has(li))", state="attached")
        page.keyboard.press("Control+z")
        count(page, 1)
        page.keyboard.press("Control+z")
        page.wait_for_selector(".objects .name:text('dog')")
        page.keyboard.press("Control+y")
        page.wait_for_selector(".objects .name:text('cat')")
        page.keyboard.press("o")
        box = page.locator(".stage img").bounding_box()
        for x, y in ((0.4, 0.4), (0.8, 0.4), (0.8, 0.7), (0.4, 0.7), (0.4, 0.4)):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"], delay=30)
            page.wait_for_timeout(350)  # two at once would be a double click
        count(page, 2)
        page.keyboard.press("n")
        page.wait_for_selector("[data-ready='2.png']")
        page.keyboard.press("e")
        page.wait_for_selector("[data-do=empty][aria-pressed=true]")
        page.wait_for_selector(".list li[data-file='2.png'][data-made='0']")
        page.keyboard.press("p")
        page.wait_for_selector("[data-ready='1.png']")
        count(page, 2)
        found = coco.load(folder)
        assert [len(boxes) for boxes in found.target] == [2, 0] and found.classes == ("cat", "dog")
        assert len(coco_masks.load(folder).target[0].box) == 1
        assert visit.errors == [] and visit.outside == []


@CHROMIUM
def test_a_second_tab_is_told_and_both_can_be_kept(looked_at, folder):
    hand_annotations.opened(folder).add_class("cat")
    with browsing.visiting("en") as visit:
        opened(visit, looked_at, folder, "1.png")
        other = visit.page.context.new_page()
        other.goto(f"{looked_at.address}/en/annotate?data={folder.name}&file=1.png")
        other.wait_for_selector("[data-ready='1.png']")
        drag(other, 0.1, 0.1, 0.3, 0.3)
        count(other, 1)
        drag(visit.page, 0.5, 0.5, 0.8, 0.8)
        visit.page.wait_for_selector("#annotate[data-state=unsaved] .conflict:not([hidden])")
        assert len(written(folder)["annotations"]) == 1
        visit.page.click("[data-choose=both]")
        count(visit.page, 2)
        assert len(written(folder)["annotations"]) == 2
        assert visit.errors == []


@CHROMIUM
@pytest.mark.skipif(zoo.root() is None, reason="the ready-trained systems are not installed")
def test_suggestions_are_stored_when_they_are_accepted(looked_at, folder):
    (folder / "1.png").write_bytes(zoo.examples(zoo.root() / "yolo")[0].read_bytes())
    with browsing.visiting("ja") as visit:
        page = visit.page
        opened(visit, looked_at, folder, "1.png", "ja")
        page.wait_for_selector(".ask option", state="attached")
        page.select_option(".ask select", "yolo")
        page.click("[data-do=suggest]")
        page.wait_for_selector(".tags .suggested")
        assert not (folder / "annotations.json").exists()
        page.click("[data-do=accept]")
        page.wait_for_selector(".tags:not(:has(.suggested))", state="attached")
        page.wait_for_selector(".classes .chip")
        page.wait_for_selector("#annotate[data-state=saved]")
        assert len(written(folder)["annotations"]) == page.locator(".objects li").count() > 0
        assert visit.errors == [] and visit.outside == []


@CHROMIUM
def test_the_page_is_accessible(looked_at, folder):
    hand_annotations.opened(folder).add_class("cat")
    with browsing.visiting("en") as visit:
        assert not browsing.axe(visit, looked_at, "en", f"annotate?data={folder.name}&file=1.png")
