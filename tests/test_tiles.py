"""Pictures of any size, tile by tile: nothing twice, nothing cut, little memory."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from souron.cli import watch as cli_watch
from souron.kinds import signature
from souron.kinds.boxes import Boxes
from souron.kinds.codecs import slides
from souron.kinds.mask import Mask
from souron.runs import tiles
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
    return Boxes(picture, np.array(box, float).reshape(-1, 4), ["square"] * len(box),
                 [0.9] * len(box), ("dot", "square"))  # fmt: skip


def segment(picture):
    bright = np.asarray(picture.image.convert("L")) > 128
    return Mask(picture, bright.astype(np.uint8), ["", "on"])


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

    def find_differently(picture):
        found = find(picture)
        asked.append(picture)
        half = (found.box[:, 2:] - found.box[:, :2]) / (2 if len(asked) % 2 else 4)
        middle = (found.box[:, :2] + found.box[:, 2:]) / 2
        box = np.concatenate([middle - half, middle + half], 1)
        return Boxes(picture, box, found.labels, found.scores, found.classes)

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
        pad[r * side : (r + 1) * side, c * side : (c + 1) * side].tobytes()
        for r in range(rows)
        for c in range(columns)
    ]
    count, size = len(blocks), side * side * 3
    entries = [
        (256, 4, [width]), (257, 4, [height]), (258, 3, [8, 8, 8]), (259, 3, [1]), (262, 3, [2]),
        (277, 3, [3]), (284, 3, [1]), (322, 4, [side]), (323, 4, [side]),
        (324, 4, [8 + size * n for n in range(count)]), (325, 4, [size] * count),
    ]  # fmt: skip
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
        (256, 4, 1, struct.pack("<I", length)), (257, 4, 1, struct.pack("<I", length)),
        (258, 3, 3, struct.pack("<I", 8 + size)), (259, 3, 1, struct.pack("<I", 1)),
        (262, 3, 1, struct.pack("<I", 2)), (277, 3, 1, struct.pack("<I", 3)),
        (284, 3, 1, struct.pack("<I", 1)), (322, 4, 1, struct.pack("<I", side)),
        (323, 4, 1, struct.pack("<I", side)), (324, 4, count, struct.pack("<I", 14 + size)),
        (325, 4, count, struct.pack("<I", 14 + size + 4 * count)),
    ]  # fmt: skip
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


def test_the_command_line_tells_what_lies_in_a_large_picture(tmp_path, capsys, monkeypatch):
    from souron.cli.console import screen

    pixels, boxes = scattered()
    Image.fromarray(pixels).save(tmp_path / "large.png")
    model = SimpleNamespace(
        asked=signature.signature(Detector), answer=lambda picture, **_options: find(picture)
    )
    files = [str(tmp_path / "large.png")]
    cli_watch.look_in_tiles(model, files, tmp_path / "out", 256, None, {"conf": "0.3"})
    assert f"{len(boxes)} square" in capsys.readouterr().out
    monkeypatch.setattr(screen, "json", True)
    cli_watch.look_in_tiles(model, files, tmp_path / "out", 256, None, {})
    told = json.loads(capsys.readouterr().out)
    assert (told["width"], told["height"], len(told["boxes"])) == (1500, 1100, len(boxes))
    assert {folder.name for folder in (tmp_path / "out").iterdir()} == {"large", "large-2"}
