"""Reading pictures safely, whatever lies in the file; showing labels."""

import io
import random
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import waiting
from PIL import Image

from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs import limits
from souron.kinds.labels import Labels
from souron.utils.messages import UserError

RAMP = np.stack([np.tile(np.arange(40) * 6, (30, 1)), np.full((30, 40), 90), np.full((30, 40), 200)], 2).astype(
    np.uint8
)  # (30, 40, 3)


def code(path: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        image_codec.read(path, **options)
    assert caught.value.exit == 3
    return caught.value.code


def giant_png(path: Path, side: int = 10_001) -> Path:
    """Over 100 million pixels of 1 bit in a few kilobytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = (b"\0" * (1 + (side + 7) // 8)) * side
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_content_decides_what_a_file_is(tmp_path, kind):
    path = tmp_path / "name.txt"
    Image.fromarray(RAMP).save(path, kind)
    read = image_codec.read(path)
    assert read.mode == "RGB" and read.size == (40, 30)
    assert np.abs(np.asarray(read).astype(int) - RAMP).mean() < 8


@pytest.mark.parametrize(
    "name", ["写真 1.png", "two words.png", 'it\'s "so".png', "-rf.png", "%s{x}.png", "か\u3099.png"]
)
def test_unusual_names(tmp_path, name):
    Image.fromarray(RAMP).save(tmp_path / name)
    assert np.array_equal(np.asarray(image_codec.read(tmp_path / name, tmp_path)), RAMP)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_cut_short_anywhere(tmp_path, kind):
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(whole, kind)
    path = tmp_path / "cut"
    for part in (0.97, 0.7, 0.4):
        path.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * part)])
        assert code(path) == "truncated"


def test_damaged_files_end_in_trouble_and_nothing_else(tmp_path, capfd):
    """Random bytes changed in real files: read, or refused with a known code."""
    chance = random.Random(0)
    path = tmp_path / "damaged"
    codes = set()
    for kind in ("JPEG", "PNG", "BMP", "GIF", "WEBP", "PPM", "TIFF"):
        whole = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(RAMP).save(whole, kind, **({"exif": exif} if kind == "JPEG" else {}))
        for _trial in range(60):
            damaged = bytearray(whole.getvalue())
            for _byte in range(chance.randint(1, 6)):
                damaged[chance.randrange(min(len(damaged), 300))] = chance.randrange(256)
            path.write_bytes(damaged)
            try:
                assert image_codec.read(path).mode in ("L", "F", "RGB")
            except UserError as trouble:
                codes.add(trouble.code)
    assert codes <= {"truncated", "unreadable", "not an image", "too large"}
    assert len(codes) >= 3


def test_text_named_png(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    assert code(tmp_path / "a.png") == "not an image"


def test_empty_missing_and_folder(tmp_path):
    (tmp_path / "a.png").touch()
    assert code(tmp_path / "a.png") == "empty file"
    assert code(tmp_path / "b.png") == "missing"
    assert code(tmp_path) == "not an image"


def test_a_hundred_megapixels_are_refused_before_decoding(tmp_path, monkeypatch):
    path = giant_png(tmp_path / "giant.png")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert code(path) == "too large"
    assert code(giant_png(tmp_path / "bomb.png", 14_001)) == "too large"  # over Pillow's own limit


def test_too_many_bytes(tmp_path):
    with (tmp_path / "a.png").open("wb") as stream:
        stream.truncate(limits.MOST_BYTES + 1)  # a hole, no disk
    assert code(tmp_path / "a.png") == "too large"


def test_links(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    Image.fromarray(RAMP).save(outside / "a.png")
    Image.fromarray(RAMP).save(inside / "b.png")
    (inside / "leads out.png").symlink_to(outside / "a.png")
    (inside / "stays.png").symlink_to("b.png")
    (inside / "loop.png").symlink_to("loop.png")
    assert code(inside / "leads out.png", inside=inside) == "outside"
    assert image_codec.read(inside / "stays.png", inside).size == (40, 30)
    assert image_codec.read(inside / "leads out.png").size == (40, 30)
    assert code(inside / "loop.png", inside=inside) == "unreadable"
    assert code(inside / ".." / "out" / "a.png", inside=inside) == "outside"


def test_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    Image.fromarray(RAMP).save(tmp_path / "a.png", exif=exif)
    read = np.asarray(image_codec.read(tmp_path / "a.png"))
    assert np.array_equal(read, np.rot90(RAMP, -1))


def test_transparent_becomes_white(tmp_path):
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    clear.putpixel((0, 0), (10, 20, 30, 255))
    clear.save(tmp_path / "rgba.png")
    read = image_codec.read(tmp_path / "rgba.png")
    assert read.getpixel((0, 0)) == (10, 20, 30) and read.getpixel((3, 3)) == (255, 255, 255)

    Image.new("LA", (4, 4), (0, 0)).save(tmp_path / "la.png")
    assert image_codec.read(tmp_path / "la.png").getextrema() == (255, 255)

    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((0, 0), 0)
    palette.save(tmp_path / "p.png", transparency=1)
    read = image_codec.read(tmp_path / "p.png")
    assert read.getpixel((0, 0)) == (255, 0, 0) and read.getpixel((3, 3)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    deep = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(deep).save(tmp_path / name)
        read = image_codec.read(tmp_path / name)
        assert read.mode == "F"
        assert np.asarray(read) == pytest.approx(deep / 257)
        assert np.asarray(image_codec.rounded(read)).tolist() == [[0, 1, 128, 255]]


def test_other_modes(tmp_path):
    Image.fromarray(RAMP).convert("CMYK").save(tmp_path / "cmyk.tif")
    assert np.abs(np.asarray(image_codec.read(tmp_path / "cmyk.tif")).astype(int) - RAMP).max() <= 1
    Image.new("1", (3, 3), 1).save(tmp_path / "bits.png")
    assert image_codec.read(tmp_path / "bits.png").getextrema() == (255, 255)
    grey = Image.new("P", (4, 4), 1)
    grey.putpalette([0, 0, 0, 77, 77, 77])
    grey.save(tmp_path / "grey.png")
    assert image_codec.read(tmp_path / "grey.png").getextrema() == (77, 77)


def test_a_large_jpeg_is_decoded_small(tmp_path):
    Image.fromarray(RAMP).resize((1600, 1200)).save(tmp_path / "a.jpg", quality=95)
    small = image_codec.read(tmp_path / "a.jpg", about=64)
    assert min(small.size) == 150
    whole = image_codec.square(image_codec.read(tmp_path / "a.jpg"), 64, 3)
    assert (image_codec.square(small, 64, 3).int() - whole.int()).abs().max() <= 3


def test_large_images_are_decoded_one_at_a_time_and_without_copies(monkeypatch):
    monkeypatch.setattr(image_codec, "LARGE", 99)

    def meet(side, limit):
        """Return how many of two images were there while the other was."""
        both, met = threading.Barrier(2), []

        def shrink(image):
            with suppress(threading.BrokenBarrierError):
                met.append(both.wait(limit))
            return image

        images = [Image.new("RGB", (side, side)) for _number in range(2)]
        with ThreadPoolExecutor(2) as pool:
            found = [*pool.map(lambda image: image_codec.shrunk(image, 5, shrink), images)]
        assert all(one is image for one, image in zip(found, images, strict=True))
        return len(met)

    assert meet(10, 0.1) == 0 and meet(9, waiting.LIMIT) == 2
    with pytest.raises(ZeroDivisionError):
        image_codec.shrunk(Image.new("L", (10, 10)), 5, lambda image: 1 / 0)


def test_square_takes_the_middle():
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 200
    assert torch.equal(image_codec.square(Image.fromarray(wide), 10, 1), torch.full((1, 10, 10), 200).byte())
    assert image_codec.square(Image.fromarray(wide), 5, 3).shape == (3, 5, 5)
    assert image_codec.square(Image.fromarray(RAMP), 7, 1).shape == (1, 7, 7)


def test_resizing_is_smooth():
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    small = image_codec.square(Image.fromarray(checks.astype(np.uint8)), 16, 1)
    assert (small.int() - 128).abs().max() <= 2


@pytest.mark.parametrize("channels", [1, 3])
def test_there_and_back(channels):
    pixels = torch.randint(0, 256, (channels, 9, 9)).byte()
    assert torch.equal(image_codec.square(image_codec.as_image(pixels), 9, channels), pixels)


def test_data_uri():
    uri = image_codec.data_uri(Image.fromarray(RAMP))
    assert uri.startswith("data:image/png;base64,iVBOR")


def test_warnings_come_back_after_threads():
    before = list(warnings.filters)

    def work():
        for _i in range(200):
            with limits.quiet:
                warnings.warn("not heard", stacklevel=1)

    threads = [threading.Thread(target=work) for _i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
    with pytest.warns(UserWarning):
        warnings.warn("heard", UserWarning, stacklevel=1)


def test_names_for_people():
    assert limits.readable("か\u3099") == "が"
    from_windows = "写真".encode("cp932").decode("utf-8", "surrogateescape")
    assert limits.readable(from_windows) == "写真"
    limits.readable("\udcff\udcfe").encode()  # never fails to encode


LABELS = Labels("a <b>.png", ["cat", "<dog>", "c", "d", "e", "f"], [0.1, 0.5, 0.2, 0.1, 0.06, 0.04])


def test_labels_top5_and_best():
    assert LABELS.top5[:2] == [("<dog>", 0.5), ("c", 0.2)]
    assert len(LABELS.top5) == 5 and "f" not in dict(LABELS.top5)
    assert LABELS.best == ("<dog>", 0.5)
    assert Labels("a", ["x"], [1.0]).top5 == [("x", 1.0)]


def test_labels_as_json():
    assert Labels("a", ["x", "y"], (0.25, 0.75)).as_json() == {
        "file": "a",
        "labels": [{"label": "y", "probability": 0.75}, {"label": "x", "probability": 0.25}],
        "familiar": None,
    }


def test_labels_show_themselves():
    assert str(LABELS).startswith("a <b>.png: <dog> 50.0%, c 20.0%") and "\n" not in str(LABELS)
    html = LABELS._repr_html_()
    assert "<dog>" not in html and "&lt;dog&gt;" in html and "<b>" not in html
    assert "width:50.0%" in html


def png(rows, of, width=16, colours=0):
    """Grey or colour, each row white; ``rows`` of the rows, and then the data ends as it should."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, of, 8, colours, 0, 0, 0)
    data = zlib.compress(rows * (b"\0" + b"\xff" * width * (3 if colours else 1)))
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", data[:9]), chunk(b"IDAT", data[9:])
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


@pytest.mark.parametrize("colours", [0, 2])
def test_a_png_that_ends_early_is_no_black_picture(tmp_path, colours):
    path = tmp_path / "short.png"
    path.write_bytes(png(16, 16, colours=colours))
    assert np.asarray(image_codec.read(path)).min() == 255
    path.write_bytes(png(15, 16, colours=colours))
    with pytest.raises(UserError) as trouble:
        image_codec.read(path)
    assert trouble.value.code == "truncated"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("width", [1, 3, 13])
def test_a_black_png_is_read(tmp_path, mode, width):
    path = tmp_path / "black.png"
    Image.new(mode, (width, 7), 0).save(path)
    assert image_codec.read(path).size == (width, 7)
