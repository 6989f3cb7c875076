"""Folders of pictures and masks: read whole, moved into squares, every fault told; and the command
line from such a folder to a comparison."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import masked

from souron.cli import main
from souron.data import load
from souron.data.formats import masks
from souron.data.readers.settings import Reading
from souron.kinds.mask import Mask
from souron.kinds.picture import Picture
from souron.utils.messages import UserError

SIZES = ((64, 32), (40, 60), (50, 50))  # width, height
BOX = (8, 4, 24, 20)  # left, top, right, bottom: class 2
LAYOUTS = ("{part}/{role}/{i}", "{role}/{part}/{i}", "{role}/{i}")
UNKNOWN = masks.UNKNOWN


def save(path, pixels, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette is not None:
        image = Image.fromarray(pixels, "P")
        image.putpalette(palette)
    image.save(path)


def numbers(size, label=2, ground=0):
    made = np.full((size[1], size[0]), ground, dtype=np.uint8)
    left, top, right, bottom = BOX
    made[top:bottom, left:right] = label
    return made


def folder(path, count=9, layout=LAYOUTS[0], names="ground\ncat\ndog\n", label=2, **mask):
    for i in range(count):
        part, size = "valid" if i >= count - 3 else "train", SIZES[i % 3]
        area = numbers(size, label)
        noise = np.random.default_rng(i).integers(0, 60, (*area.shape, 3), dtype=np.uint8)
        noise[area > 0] = 250
        save(path / f"{layout.format(part=part, role='images', i=i)}.png", noise)
        save(path / f"{layout.format(part=part, role='masks', i=i)}.png", area, **mask)
    if names:
        (path / "classes.txt").write_text(names)
    return path


def told(cases):
    return {(some.file, some.code) for some in cases.skipped}


def read(path, side=64):
    return load.load(path, side, formats=("masks",))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pictures_and_masks_lie_whole_in_squares(tmp_path, layout):
    cases = read(folder(tmp_path / "data", layout=layout))
    assert cases.classes == ("ground", "cat", "dog") and not cases.skipped
    assert cases.input.shape == (9, 3, 64, 64) and cases.target.shape == (9, 64, 64)
    assert cases.target.dtype == torch.uint8
    if "part" in layout:
        assert list(cases.part).count("val") == 3 and list(cases.part).count("train") == 6
    else:
        assert cases.part == ()
    for file, image, mask in zip(cases.file, cases.input, cases.target, strict=True):
        wide, high = SIZES[int(file.rpartition("/")[2].partition(".")[0]) % 3]
        beside = 1 - min(wide, high) / max(wide, high)
        assert (mask == UNKNOWN).float().mean() == pytest.approx(beside, abs=0.03)
        assert (image[:, mask == UNKNOWN] == 114).all()  # the grey beside a picture
        lit = image[0] > 150
        assert (lit == (mask == 2))[mask != UNKNOWN].float().mean() > 0.98
        assert set(mask.unique().tolist()) <= {0, 2, UNKNOWN}


def test_the_numbers_of_a_palette_count_and_names_in_its_text_are_read(tmp_path):
    palette = [255 - n for n in range(256) for _colour in range(3)]
    cases = read(folder(tmp_path / "palette", names="", palette=palette))
    assert cases.classes == ("background", "1", "2")
    assert (cases.target == 2).sum() > 100
    path = folder(tmp_path / "named", 3, LAYOUTS[2], names="")
    for i in range(3):
        picture = Picture.read(path / "images" / f"{i}.png")
        Mask(picture, numbers(SIZES[i]), ["", "cat", "dog"]).save(path / "masks" / f"{i}.png")
    cases = read(path)
    assert cases.classes == ("background", "cat", "dog") and not cases.skipped
    assert (cases.target == 2).sum() > 100


def test_of_two_classes_white_is_the_second_and_else_it_is_not_known(tmp_path):
    cases = read(folder(tmp_path / "two", names="", label=255))
    assert cases.classes == ("background", "foreground")
    assert ("two", "two classes") in told(cases)
    square = cases.target[2]  # 50 x 50: nothing beside it
    assert set(square.unique().tolist()) == {0, 1}
    assert (cases.target[0] == UNKNOWN).any()
    path = folder(tmp_path / "three", names="")
    save(path / "train/masks/0.png", numbers(SIZES[0], 255))
    cases = read(path)
    assert cases.classes == ("background", "1", "2")
    assert (cases.target[0] != UNKNOWN).sum() == (cases.target[0] == 0).sum() > 0


def test_every_fault_is_told(tmp_path):
    path = folder(tmp_path / "data", 12, LAYOUTS[2])
    place = path / "masks"
    save(place / "0.png", numbers((30, 30)))
    (place / "1.png").unlink()
    (path / "images/2.png").unlink()
    save(place / "3.png", numbers(SIZES[0], 7))
    (place / "4.png").write_bytes(b"")
    (place / "5.png").write_bytes((place / "6.png").read_bytes()[:60])
    colours = np.zeros((32, 64, 3), dtype=np.uint8)
    colours[..., 0] = 1
    save(place / "6.png", colours)
    Image.fromarray(numbers(SIZES[1])).save(place / "7.jpg")
    (place / "7.png").unlink()
    (place / "8.txt").write_text("a note")
    (path / "images/9.png").write_bytes(b"no picture")
    save(path / "10.png", numbers(SIZES[1]))
    save(place / "11.bmp", numbers(SIZES[2]))
    Image.fromarray(numbers(SIZES[1]).astype(np.uint16) * 400).save(place / "10.png")
    cases = read(path)
    assert told(cases) == {
        ("masks/0.png", "size"),
        ("images/1.png", "no mask"),
        ("masks/2.png", "missing"),
        ("masks/3.png", "class"),
        ("masks/4.png", "empty file"),
        ("masks/5.png", "truncated"),
        ("masks/6.png", "colours"),
        ("masks/7.jpg", "lossy"),
        ("masks/8.txt", "not an image"),
        ("images/9.png", "not an image"),
        ("10.png", "no mask"),
        ("masks/11.png", "duplicate"),
        ("masks/10.png", "class"),
        ("images/3.png", "no object"),
    }
    assert cases.file == ["images/3.png", "images/8.png", "images/11.png"]
    assert set(cases.target[0].unique().tolist()) == {0, UNKNOWN}  # class 7 is not known
    assert cases.classes == ("ground", "cat", "dog")


@pytest.mark.parametrize(
    "names, code", [("a\na\n", "names"), ("a\n\nb\n", "names"), ("", None), ("\n".join(map(str, range(256))), "names")]
)
def test_names_that_are_no_list_of_classes_are_told(tmp_path, names, code):
    path = folder(tmp_path / "data", 3, names="")
    (path / "classes.txt").write_text(names)
    cases = read(path)
    assert cases.classes == ("background", "1", "2")
    assert ("classes.txt", code) in told(cases) or code is None


def test_a_mask_may_say_that_it_is_one_and_grey_stored_as_colour_is_grey(tmp_path):
    path = folder(tmp_path / "data", 3, LAYOUTS[2])
    for i in range(3):
        area = np.asarray(Image.open(path / f"masks/{i}.png"))
        (path / f"masks/{i}.png").unlink()
        save(path / f"masks/{i}_mask.png", np.stack([area] * 3, 2))
    cases = read(path)
    assert len(cases) == 3 and not cases.skipped and (cases.target == 2).sum() > 100


def test_a_folder_without_a_mask_that_can_be_used_is_refused(tmp_path):
    path = folder(tmp_path / "data", 3, LAYOUTS[2])
    assert masks.describes(path)
    for file in (path / "masks").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"0\.png: no mask has this name") as caught:
        masks.load(path, Reading(32))
    assert caught.value.code == "no masks"
    (path / "masks").rmdir()
    assert not masks.describes(path) and not masks.describes(path / "classes.txt")


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path):
    path = folder(tmp_path / "data", 3, LAYOUTS[2])
    secret = tmp_path / "secret.png"
    (path / "masks/0.png").rename(secret)
    (path / "masks/0.png").symlink_to(secret)
    cases = read(path)
    assert len(cases) == 2 and any(some.code == "outside" for some in cases.skipped)


def test_from_a_folder_to_a_comparison_on_the_command_line(tmp_path, capsys):
    data = masked(60, 32, 2)
    for i, (image, mask) in enumerate(zip(data.input, data.target, strict=True)):
        part = ("train", "train", "train", "val", "test")[i // 5 % 5]
        save(tmp_path / f"areas/{part}/images/{i}.png", image.numpy().transpose(1, 2, 0))
        save(tmp_path / f"areas/{part}/masks/{i}.png", mask.numpy())
    (tmp_path / "areas/classes.txt").write_text("\n".join(data.classes))

    def run(*words):
        assert main.run([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    shown = run("data", "areas", "imgsz=32")
    assert shown["labels"]["background"] == (data.target == 0).sum() and not shown["skipped"]
    page = (tmp_path / shown["page"]).read_text(encoding="utf-8")
    assert "pixels each" in page
    trained = run("train", "unet_tiny", "data=areas", "imgsz=32", "budget=3ep", "batch=12")
    where = trained["run"]
    assert 0 < trained["measures"]["mIoU"]["value"] < 1
    again = run("val", where)
    assert again["measures"]["mIoU"] == trained["measures"]["mIoU"]
    said = run("predict", where, "areas/test/images/20.png")
    mask = np.asarray(Image.open(said["saved"]))
    assert mask.shape == (32, 32) and mask.max() <= 3
    fought = run("compare", "unet_tiny", "fcn_tiny", "data=areas", "imgsz=32", "budget=1ep", "seeds=2", "batch=12")
    assert "mIoU" in fought["sentence"]
