"""Pictures of any size, tile by tile: nothing twice, nothing cut, little memory."""

import contextlib
import csv
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from souron.actions.predict import tiles as predict_tiles
from souron.cli import actions, console
from souron.data.readers import outlines
from souron.kinds import signature
from souron.kinds.boxes import Boxes
from souron.kinds.codecs import slides
from souron.kinds.mask import Mask
from souron.runs import stitching, tiles
from souron.tasks.detect import Detector
from souron.utils.messages import UserError


@pytest.mark.parametrize("size", [(1000, 700), (512, 512), (100, 2000), (513, 1)])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.5])
def test_the_cores_cover_the_picture_once(size, overlap):
    covered = np.zeros(size[::-1], int)
    for window, core in tiles.grid(size, 512, overlap):
        left, top, right, bottom = window
        assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
        assert right - left <= 512 and bottom - top <= 512
        assert left <= core[0] < core[2] <= right and top <= core[1] < core[3] <= bottom
        covered[core[1] : core[3], core[0] : core[2]] += 1
    assert (covered == 1).all()


def scattered(count=60, size=(1500, 1100), seed=0):
    """A dark picture with bright squares apart from each other, and where they are."""
    random = np.random.default_rng(seed)
    pixels, boxes = np.full((size[1], size[0]), 20, np.uint8), []
    while len(boxes) < count:
        side = int(random.integers(15, 60))
        left, top = (int(random.integers(0, length - side)) for length in size)
        box = [left, top, left + side, top + side]
        around = pixels[max(top - 4, 0) : top + side + 4, max(left - 4, 0) : left + side + 4]
        if around.max() < 30:
            pixels[top : top + side, left : left + side] = 220
            boxes.append(box)
    return pixels, np.array(sorted(boxes))


def find(picture):
    """A box around each bright region, whatever of it is in the picture."""
    bright, _count = ndimage.label(np.asarray(picture.image.convert("L")) > 128)
    box = [[x.start, y.start, x.stop, y.stop] for y, x in ndimage.find_objects(bright)]
    return Boxes(
        picture, np.array(box, float).reshape(-1, 4), ["square"] * len(box), [0.9] * len(box), ("dot", "square")
    )


def segment(picture):
    bright = np.asarray(picture.image.convert("L")) > 128
    return Mask(picture, bright.astype(np.uint8), ["", "on"])


def parts(picture):
    """A mask for each bright region, whatever of it is in the picture."""
    bright, count = ndimage.label(np.asarray(picture.image.convert("L")) > 128)
    inside = bright == np.arange(1, count + 1)[:, None, None]
    return Mask(picture, inside, ["square"] * count, [0.9] * count, ("dot", "square"))


def run(look, path, folder, **options):
    *events, last = tiles.tiling(look, path, folder, **options)
    return events, last.record


@pytest.mark.parametrize("tile", [256, 400, 5000])
def test_each_object_is_found_once_and_whole(tmp_path, tile):
    pixels, boxes = scattered()
    Image.fromarray(pixels).save(tmp_path / "large.png")
    events, record = run(find, tmp_path / "large.png", tmp_path / "out", tile=tile)
    found = np.array(sorted(box["xyxy"] for box in record.boxes))
    assert np.array_equal(found, boxes)
    assert record.tiles == len(events) and events[-1].fraction == 1
    with (tmp_path / "out" / "boxes.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(boxes)
    with Image.open(tmp_path / "out" / "overview.png") as drawn:
        assert drawn.size == (1500, 1100)


def test_tiles_that_disagree_on_a_box_do_not_tell_it_twice(tmp_path):
    """Boxes around one middle, of which one is half of the other: no suppression joins them."""
    pixels, boxes = scattered()
    Image.fromarray(pixels).save(tmp_path / "large.png")
    asked = []

    def find_differently(image):
        found = find(image)
        asked.append(image)
        half = (found.box[:, 2:] - found.box[:, :2]) / (2 if len(asked) % 2 else 4)
        middle = (found.box[:, :2] + found.box[:, 2:]) / 2
        box = np.concatenate([middle - half, middle + half], 1)
        return Boxes(image, box, found.labels, found.scores, found.classes)

    # none that a tile's edge cuts in two middles: every object fits into the overlap
    record = run(find_differently, tmp_path / "large.png", tmp_path / "out", tile=256, iou=0.9)[1]
    assert len(record.boxes) == len(boxes)


def test_an_object_larger_than_the_overlap_is_told_once_where_a_tile_holds_it_whole(tmp_path):
    pixels = np.full((400, 900), 20, np.uint8)
    pixels[100:300, 120:330] = 220
    Image.fromarray(pixels).save(tmp_path / "a.png")
    record = run(find, tmp_path / "a.png", tmp_path / "out", tile=400, overlap=0.2)[1]
    assert [box["xyxy"] for box in record.boxes] == [[120, 100, 330, 300]]


def test_neighbours_of_one_label_stay_two():
    one, neighbour, twice = [1, 0, 0, 10, 10, 0.9, 0], [1, 11, 0, 21, 10, 0.8, 0], [1, 0, 0, 9, 9]
    assert len(tiles.merged(np.array([one, neighbour, [*twice, 0.7, 0]]), 0.5)) == 2
    whole, part = [1, 0, 0, 30, 10, 0.3, 0], [12, 0, 20, 10, 0.9, 1]
    left = tiles.merged(np.array([whole, [1, *part], [0, *part]]), 0.5)
    assert sorted(left[:, 0].tolist()) == [0, 1] and left[left[:, 0] == 1][0, 5] == 0.3


def test_a_mask_from_tiles_is_that_of_the_whole(tmp_path):
    pixels, _boxes = scattered()
    Image.fromarray(pixels).save(tmp_path / "large.png")
    record = run(segment, tmp_path / "large.png", tmp_path / "out", tile=300)[1]
    area = np.load(tmp_path / "out" / "mask.npy")
    assert np.array_equal(area, pixels > 128)
    [on] = record.areas
    assert on["pixels"] == (pixels > 128).sum() and on["share"] == pytest.approx(area.mean())
    assert (tmp_path / "out" / "overview.png").exists()


def ellipses(size=(900, 700), count=60, seed=0):
    """A dark picture with bright ellipses of any size apart from each other; map of numbers."""
    random, (wide, high) = np.random.default_rng(seed), size
    pixels, numbers = np.full((high, wide), 20, np.uint8), np.zeros((high, wide), int)
    y, x = np.mgrid[:high, :wide]
    for number in range(1, count + 1):
        far, tall = random.integers(8, 90, 2)
        place = ((x - random.integers(0, wide)) / far, (y - random.integers(0, high)) / tall)
        from_middle = place[0] ** 2 + place[1] ** 2
        if not (numbers[from_middle < 1.6] > 0).any():
            pixels[from_middle < 1], numbers[from_middle < 1] = 220, number
    return pixels, numbers


def written(folder, size):
    """The masks in a file of COCO's."""
    told = json.loads((folder / "objects.json").read_text())
    found = [outlines.area(one["segmentation"], *size) for one in told["annotations"]]
    for one, area in zip(told["annotations"], found, strict=True):
        y, x = area.nonzero()
        left, top, wide, high = one["bbox"]
        assert one["area"] == area.sum()
        assert (x.min(), y.min(), x.max() + 1, y.max() + 1) == (left, top, left + wide, top + high)
    return told, found


@pytest.mark.parametrize(("tile", "overlap"), [(256, 0.25), (150, 0.6), (5000, 0)])
def test_masks_of_objects_from_tiles_are_those_of_the_whole(tmp_path, tile, overlap, monkeypatch):
    monkeypatch.setattr(stitching, "MOST_NAMED", 0)
    pixels, numbers = ellipses()
    Image.fromarray(pixels).save(tmp_path / "large.png")
    record = run(parts, tmp_path / "large.png", tmp_path / "out", tile=tile, overlap=overlap)[1]
    told, found = written(tmp_path / "out", (900, 700))
    there = np.unique(numbers)[1:]
    assert len(found) == len(record.boxes) == len(there) > 20
    for number in there:
        true = numbers == number
        y, x = true.nonzero()
        [area] = [area for area in found if area[y[0], x[0]]]
        assert (area & true).sum() / (area | true).sum() >= 0.99
    assert told["categories"][1]["name"] == "square" and told["images"][0]["width"] == 900
    with (tmp_path / "out" / "objects.csv").open() as file:
        assert sum(int(row["pixels"]) for row in csv.DictReader(file)) == (numbers > 0).sum()
    with Image.open(tmp_path / "out" / "overview.png") as drawn:
        tinted = np.asarray(drawn).std(2) > 5
        assert drawn.size == (900, 700) and np.array_equal(tinted, numbers > 0)


def test_neighbours_that_touch_stay_two_objects(tmp_path):
    """Cells side by side on the border of two tiles, of which one tile sees both as one."""
    pixels = np.full((200, 360), 20, np.uint8)
    pixels[80:110, 130:230], pixels[110:140, 130:230] = 200, 240
    Image.fromarray(pixels).save(tmp_path / "a.png")
    asked = []

    def cells(picture):
        grey = np.asarray(picture.image.convert("L")).astype(int)
        asked.append(picture)
        inside = np.stack([grey == 200, grey == 240])
        if len(asked) > 1:
            inside = inside.any(0, keepdims=True)
        return Mask(picture, inside, ["cell"] * len(inside), [0.9] * len(inside), ("cell",))

    run(cells, tmp_path / "a.png", tmp_path / "out", tile=200, overlap=0.2)
    _told, found = written(tmp_path / "out", (360, 200))
    assert len(found) == 2


def test_each_pixel_of_an_object_is_what_the_tile_of_its_core_says(tmp_path):
    """Two tiles see an object a little differently: it is neither where one does nor where both."""
    pixels = np.full((200, 360), 20, np.uint8)
    pixels[80:120, 120:240] = 220
    Image.fromarray(pixels).save(tmp_path / "a.png")
    asked = []

    def look(picture):
        asked.append(picture)
        bright = np.asarray(picture.image.convert("L")) > 128
        bright = np.roll(bright, 2 * (-1) ** len(asked), 0)
        return Mask(picture, bright[None], ["a"], [0.9], ("a",))

    run(look, tmp_path / "a.png", tmp_path / "out", tile=200, overlap=0.2)
    _told, [found] = written(tmp_path / "out", (360, 200))
    assert found.sum(0).max() == 40
    assert np.flatnonzero(found[:, 130]).tolist() == list(range(78, 118))
    assert np.flatnonzero(found[:, 230]).tolist() == list(range(82, 122))


def test_a_piece_that_a_tile_cut_joins_the_object_that_holds_it(tmp_path):
    """A tile sees a third of what lies at its edge, too little to agree with its neighbour."""
    pixels = np.full((200, 360), 20, np.uint8)
    pixels[80:120, 40:195] = 220
    Image.fromarray(pixels).save(tmp_path / "a.png")
    asked = []

    def look(picture):
        asked.append(picture)
        bright = np.asarray(picture.image.convert("L")) > 128
        if len(asked) == 2:
            bright[93:] = False
        return Mask(picture, bright[None], ["a"], [0.9], ("a",))

    run(look, tmp_path / "a.png", tmp_path / "out", tile=200, overlap=0.2)
    _told, found = written(tmp_path / "out", (360, 200))
    assert len(asked) == 2 and len(found) == 1


def test_a_piece_joins_the_one_that_it_agrees_with_best(tmp_path):
    """Two objects of one label lie over each other, of which the next tile sees the larger one."""
    pixels = np.full((200, 360), 20, np.uint8)
    pixels[60:140, 100:260] = 220
    Image.fromarray(pixels).save(tmp_path / "a.png")
    asked = []

    def look(picture):
        asked.append(picture)
        inside = np.asarray(picture.image.convert("L"))[None] > 128
        if len(asked) == 1:
            less = inside.copy()
            less[:, :70] = less[:, 130:] = False
            inside = np.concatenate([less, inside])
        return Mask(picture, inside, ["a"] * len(inside), [0.9] * len(inside), ("a",))

    record = run(look, tmp_path / "a.png", tmp_path / "out", tile=200, overlap=0.2)[1]
    found = sorted(box["xyxy"] for box in record.boxes)
    assert found == [[100, 60, 260, 140], [100, 70, 200, 130]]


def test_masks_of_a_large_picture_are_never_held_whole(tmp_path, monkeypatch):
    """6 144 x 6 144 pixels, a mask of which would be 38 MB."""
    block = np.full((256, 256), 20, np.uint8)
    block[100:140, 100:140] = 220

    class Slide:
        size, microns = (6144, 6144), 0.0

        def region(self, left, top, width, height):
            rows, columns = (np.arange(at, at + n) % 256 for at, n in ((top, height), (left, width)))
            return Image.fromarray(block[rows][:, columns])

        def overview(self, longest):
            return Image.new("L", (longest, longest))

    monkeypatch.setattr(slides, "opened", lambda path: contextlib.nullcontext(Slide()))
    monkeypatch.setattr(tiles, "SHOWN", 256)
    tracemalloc.start()
    record = run(parts, tmp_path / "a.svs", tmp_path / "out", tile=512)[1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert {box["pixels"] for box in record.boxes} == {1600} and len(record.boxes) == 24**2
    assert peak < 30_000_000


def test_a_slide_that_states_its_scale_has_areas_in_square_millimetres(monkeypatch, tmp_path, capsys):
    class Slide:
        size, microns = (200, 100), 0.5

        def region(self, left, top, width, height):
            return Image.new("L", (width, height))

        def overview(self, longest):
            return Image.new("L", (20, 10))

    monkeypatch.setattr(slides, "opened", lambda path: contextlib.nullcontext(Slide()))
    area = np.ones((100, 100), np.uint8)
    record = run(
        lambda image: Mask(image, area, ["", "tumour"]), tmp_path / "a.svs", tmp_path / "out", tile=100, overlap=0
    )[1]
    [tumour] = record.areas
    assert tumour["mm2"] == pytest.approx(200 * 100 * 0.25e-6)
    assert record.as_json()["microns_per_pixel"] == 0.5


class Scanned:
    """A slide of 400 x 200 pixels of 0.5 µm: stained tissue on the left, glass on the right."""

    size, microns = (400, 200), 0.5

    def __init__(self):
        stained = np.random.default_rng(0).normal((190, 120, 170), 12, (200, 400, 3))
        stained[:, 150:] = np.random.default_rng(1).normal(243, 2, (200, 250, 3))
        self.image = Image.fromarray(stained.clip(0, 255).astype(np.uint8))

    def region(self, left, top, width, height):
        return self.image.crop((left, top, left + width, top + height))

    def reduced(self, edges, size):
        return self.image.resize(size, Image.Resampling.BOX, edges)

    def overview(self, longest):
        return self.image.resize((min(longest, 100), min(longest, 100) // 2), Image.Resampling.BOX)


@pytest.fixture
def scanned(monkeypatch):
    slide = Scanned()
    monkeypatch.setattr(slides, "opened", lambda path: contextlib.nullcontext(slide))
    return slide


def everything(picture):
    """A mask that calls all of a tile tissue, whatever it shows."""
    return Mask(picture, np.ones(picture.size[::-1], np.uint8), ["", "tissue"])


def test_tiles_of_glass_are_left_out(scanned, tmp_path):
    looked = []

    def look(picture):
        looked.append(picture.size)
        return everything(picture)

    record = run(look, tmp_path / "a.svs", tmp_path / "out", tile=50, overlap=0)[1]
    assert record.tiles == len(looked) and record.tiles + record.glass == 32
    assert 12 <= record.tiles <= 16  # three columns of tissue, and a border
    area = np.load(tmp_path / "out" / "mask.npy")
    assert (area[:, :150] == 1).all() and (area[:, 250:] == tiles.UNSEEN).all()
    [tissue] = record.areas
    assert tissue["share"] == 1.0 and tissue["mm2"] == pytest.approx((area == 1).sum() * 0.25e-6)
    assert record.as_json()["tiles_of_glass"] == record.glass
    whole = run(look, tmp_path / "a.svs", tmp_path / "all", tile=50, overlap=0, glass=True)[1]
    assert whole.tiles == 32 and whole.glass == 0


def test_a_slide_is_read_at_the_resolution_of_the_network(scanned, tmp_path):
    seen = []

    def look(picture):
        seen.append(np.asarray(picture.image))
        return everything(picture)

    record = run(look, tmp_path / "a.svs", tmp_path / "out", tile=100, overlap=0, microns=2, glass=True)[1]
    assert record.size == (100, 50) and record.microns == 2.0 and record.tiles == 1
    expected = np.asarray(scanned.image.resize((100, 50), Image.Resampling.BOX))
    assert np.array_equal(seen[0], expected)
    [tissue] = record.areas
    assert tissue["mm2"] == pytest.approx(400 * 200 * 0.25e-6)  # the same area, in larger pixels


def test_an_image_without_a_scale_cannot_be_read_at_one(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(UserError) as trouble:
        run(find, tmp_path / "a.png", tmp_path / "out", tile=64, microns=0.5)
    assert trouble.value.code == "microns"
    with pytest.raises(UserError, match="microns=1000"):
        run(find, tmp_path / "a.png", tmp_path / "out", tile=64, microns=1000)


def test_tissue_is_what_is_coloured_or_dark():
    slide = Scanned()
    found = slides.tissue(slide.image)
    assert found[:, :150].all() and not found[:, 160:].any()
    assert slides.tissue(slide.image.crop((0, 0, 150, 200))).all()  # nothing but tissue
    assert not slides.tissue(slide.image.crop((200, 0, 400, 200))).any()  # nothing but glass
    pale = Image.fromarray(np.full((50, 50, 3), (235, 205, 225), np.uint8))
    assert slides.tissue(pale).all()
    assert slides.tissue(Image.new("RGB", (50, 50), (90, 90, 90))).all()  # folded or inked


def test_real_stained_tissue_is_tissue():
    """scikit-image's colon, of which the white is lumen and glass."""
    from skimage import data

    found = slides.tissue(Image.fromarray(data.immunohistochemistry()))
    assert 0.6 < found.mean() <= 1


@pytest.mark.parametrize(
    "properties, microns",
    [
        ({"openslide.mpp-x": "0.2520", "openslide.mpp-y": "0.2521"}, 0.252),
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.5"}, 0.0),
        ({"openslide.mpp-x": "nan", "openslide.mpp-y": "nan"}, 0.0),
        ({"openslide.mpp-x": "0.25"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_scale_of_a_slide_is_read_where_it_makes_sense(properties, microns):
    assert slides._microns(properties) == microns


def test_what_only_a_tile_at_its_edge_sees_is_not_told(tmp_path):
    pixels, _numbers = ellipses()
    Image.fromarray(pixels).save(tmp_path / "large.png")

    def dreaming(image):
        """A speck in the last row of pixels, which lies in the core of the tile below."""
        found = parts(image)
        speck = np.zeros(image.size[::-1], bool)
        speck[-1, 100:104] = True
        return Mask(
            image, np.concatenate([found.area, speck[None]]), [*found.names, "dot"], [*found.scores, 0.9], found.classes
        )

    record = run(dreaming, tmp_path / "large.png", tmp_path / "out", tile=256)[1]
    below = sum(box["label"] == "dot" for box in record.boxes)
    columns = len({window[0] for window, _core in tiles.grid((900, 700), 256)})
    assert below == columns  # of the last row of tiles, whose core goes to the edge


def test_ctrl_c_keeps_what_was_found(tmp_path):
    pixels, boxes = scattered()
    Image.fromarray(pixels).save(tmp_path / "large.png")
    events = tiles.tiling(find, tmp_path / "large.png", tmp_path / "out", tile=256)
    for _tile in range(12):
        next(events)
    record = events.throw(KeyboardInterrupt()).record
    assert record.tiles == 12 and "12" in record.broken
    assert 0 < len(record.boxes) < len(boxes) and (tmp_path / "out" / "boxes.csv").exists()


@pytest.mark.skipif(not slides.reads(), reason="openslide-python is not installed")
def test_a_slide_is_read_region_by_region(tmp_path):
    """A tiled TIFF as scanners write it; Pillow is never asked to decode it."""
    pixels, boxes = scattered()
    colour = np.repeat(pixels[..., None], 3, 2)
    tiled_tiff(tmp_path / "slide.tif", colour)
    with slides.opened(tmp_path / "slide.tif") as slide:
        assert type(slide).__name__ == "_Tiled" and slide.size == (1500, 1100)
        region = np.asarray(slide.region(300, 200, 500, 400))
        assert np.array_equal(region, colour[200:600, 300:800])
        small = np.asarray(slide.overview(150))
        assert small.shape == (110, 150, 3)
        assert small.mean() == pytest.approx(colour.mean(), rel=0.05)
        half = np.asarray(slide.reduced((300.0, 200.0, 800.0, 600.0), (250, 200)))
        wanted = Image.fromarray(colour[200:600, 300:800]).resize((250, 200), Image.Resampling.BOX)
        assert np.abs(half.astype(int) - np.asarray(wanted)).max() <= 1
    record = run(find, tmp_path / "slide.tif", tmp_path / "out", tile=256)[1]
    assert np.array_equal(np.array(sorted(box["xyxy"] for box in record.boxes)), boxes)


def tiled_tiff(path, pixels, side=256):
    """Uncompressed tiles, with the few tags that OpenSlide's generic reader asks for."""
    import struct

    height, width = pixels.shape[:2]
    rows, columns = -(-height // side), -(-width // side)
    pad = np.full((rows * side, columns * side, 3), 255, np.uint8)
    pad[:height, :width] = pixels
    blocks = [
        pad[r * side : (r + 1) * side, c * side : (c + 1) * side].tobytes() for r in range(rows) for c in range(columns)
    ]
    count, size = len(blocks), side * side * 3
    entries = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [8, 8, 8]),
        (259, 3, [1]),
        (262, 3, [2]),
        (277, 3, [3]),
        (284, 3, [1]),
        (322, 4, [side]),
        (323, 4, [side]),
        (324, 4, [8 + size * n for n in range(count)]),
        (325, 4, [size] * count),
    ]
    start = 8 + size * count
    body, more, at = b"", b"", start + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) <= 4:
            value = packed.ljust(4, b"\0")
        else:
            value, more = struct.pack("<I", at + len(more)), more + packed
        body += struct.pack("<HHI", tag, kind, len(values)) + value
    with path.open("wb") as file:
        file.write(struct.pack("<2sHI", b"II", 42, start) + b"".join(blocks))
        file.write(struct.pack("<H", len(entries)) + body + struct.pack("<I", 0) + more)


@pytest.mark.skipif(not slides.reads(), reason="openslide-python is not installed")
def test_a_slide_far_larger_than_memory_is_looked_at_in_little(tmp_path):
    """8 192 x 8 192 pixels would be 201 MB; its tiles are all one block on disk."""
    import struct

    side, length = 256, 8_192
    count, size = (length // side) ** 2, side * side * 3
    entries = [
        (256, 4, 1, struct.pack("<I", length)),
        (257, 4, 1, struct.pack("<I", length)),
        (258, 3, 3, struct.pack("<I", 8 + size)),
        (259, 3, 1, struct.pack("<I", 1)),
        (262, 3, 1, struct.pack("<I", 2)),
        (277, 3, 1, struct.pack("<I", 3)),
        (284, 3, 1, struct.pack("<I", 1)),
        (322, 4, 1, struct.pack("<I", side)),
        (323, 4, 1, struct.pack("<I", side)),
        (324, 4, count, struct.pack("<I", 14 + size)),
        (325, 4, count, struct.pack("<I", 14 + size + 4 * count)),
    ]
    block = np.full((side, side, 3), 20, np.uint8)
    block[100:140, 100:140] = 220
    start = 14 + size + 8 * count
    with (tmp_path / "slide.tif").open("wb") as file:
        file.write(struct.pack("<2sHI", b"II", 42, start) + block.tobytes())
        file.write(struct.pack("<3H", 8, 8, 8))
        file.write(struct.pack("<I", 8) * count + struct.pack("<I", size) * count)
        file.write(struct.pack("<H", len(entries)))
        file.write(b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries))
        file.write(struct.pack("<I", 0))
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_tiles import find\n"
        "from souron.runs import tiles\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"*_events, last = tiles.tiling(find, Path({str(tmp_path / 'slide.tif')!r}),\n"
        f"    Path({str(tmp_path / 'out')!r}), tile=1024)\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "print(len(last.record.boxes), grown // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    found, megabytes = map(int, done.stdout.split())
    assert found == count and megabytes < 180


def test_what_cannot_be_done_is_refused(tmp_path):
    pixels, _boxes = scattered(5)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(UserError) as trouble:
        run(find, tmp_path / "a.png", tmp_path / "out", tile=8)
    assert trouble.value.code == "value"
    with pytest.raises(UserError) as trouble:
        run(find, tmp_path / "missing.tif", tmp_path / "out", tile=256)
    assert trouble.value.code == "missing" and not (tmp_path / "out").exists()
    (tmp_path / "torn.tif").write_bytes(b"II*\0" + bytes(100))
    with pytest.raises(UserError) as trouble:
        run(find, tmp_path / "torn.tif", tmp_path / "out", tile=256)
    assert trouble.value.exit == 3
    with pytest.raises(UserError) as trouble:
        run(lambda part: part, tmp_path / "a.png", tmp_path, tile=256)
    assert trouble.value.code == "option"
    with pytest.raises(UserError) as trouble:  # without numbers of labels
        run(lambda part: Mask(part, np.zeros((0, *part.size[::-1])), []), tmp_path / "a.png", tmp_path, tile=5000)
    assert trouble.value.code == "option"


def look_in_tiles(*given):
    for record in console.follow(predict_tiles.run(*given), True):
        actions.tell(record)


def test_the_command_line_tells_what_lies_in_a_large_picture(tmp_path, capsys, monkeypatch):
    from souron.cli.console import screen

    pixels, boxes = scattered()
    Image.fromarray(pixels).save(tmp_path / "large.png")
    model = SimpleNamespace(asked=signature.signature(Detector), answer=lambda image, **_options: find(image))
    files = [str(tmp_path / "large.png")]
    monkeypatch.setattr(screen, "json", False)  # which an earlier command may have left
    look_in_tiles(model, files, tmp_path / "out", predict_tiles.Settings(256), {"conf": "0.3"})
    assert f"{len(boxes)} square" in capsys.readouterr().out
    monkeypatch.setattr(screen, "json", True)
    look_in_tiles(model, files, tmp_path / "out", predict_tiles.Settings(256), {})
    told = json.loads(capsys.readouterr().out)
    assert (told["width"], told["height"], len(told["boxes"])) == (1500, 1100, len(boxes))
    assert {folder.name for folder in (tmp_path / "out").iterdir()} == {"large", "large-2"}


def test_the_command_line_says_what_it_left_out_and_at_what_scale(scanned, tmp_path, capsys, monkeypatch):
    from souron.cli.console import screen

    (tmp_path / "a.svs").touch()
    model = SimpleNamespace(asked=signature.signature(Detector), answer=lambda picture, **_options: everything(picture))
    monkeypatch.setattr(screen, "json", False)
    given = model, [str(tmp_path / "a.svs")], tmp_path / "out"
    look_in_tiles(*given, predict_tiles.Settings(50), {})
    told = capsys.readouterr()
    assert "show no tissue" in told.out and "0.5 µm per pixel" in " ".join(told.err.split())
    look_in_tiles(*given, predict_tiles.Settings(50, microns=1.0, glass=True), {})
    told = capsys.readouterr()
    assert "200 x 100 pixels" in told.out and "show no tissue" not in told.out and "µm" not in told.err
