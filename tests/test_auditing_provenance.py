"""Marks of generated pictures: written, read back, and read from files of strangers."""

import io
import json
import struct
import xml.etree.ElementTree as ElementTree
import zlib

import pytest
import torch
from PIL import Image, PngImagePlugin

import souron
from souron.cli import main
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs import provenance
from souron.kinds.codecs.provenance import GENERATED, Mark
from souron.utils import files as file_utils
from souron.utils.messages import UserError

MARK = Mark("souron", "0.1.0", "dcgan_small", '写真 & <b> "x"', "0123456789abcdef", 3, 7)
KINDS = ("png", "jpg", "webp", "gif")


def drawn(side: int = 24) -> Image.Image:
    random = torch.Generator().manual_seed(0)
    return image_codec.as_image(torch.randint(0, 256, (3, side, side), generator=random, dtype=torch.uint8))


@pytest.mark.parametrize("kind", KINDS)
def test_a_mark_is_read_as_it_was_written(kind, tmp_path):
    path = tmp_path / f"one.{kind}"
    provenance.save(drawn(), path, MARK)
    assert provenance.look(path) == (MARK, GENERATED)
    provenance.save(drawn(), path, MARK.of(None))
    assert provenance.read(path) == MARK.of(None)


def test_a_mark_leaves_the_pixels_as_they_are(tmp_path):
    provenance.save(drawn(), tmp_path / "one.png", MARK)
    with Image.open(tmp_path / "one.png") as image:
        assert image.tobytes() == drawn().tobytes()


@pytest.mark.parametrize("kind", ["png", "webp", "gif"])
def test_moving_pictures_keep_their_frames_and_carry_the_mark(kind, tmp_path):
    path = tmp_path / f"moving.{kind}"
    frames = [drawn(), drawn().rotate(90), drawn().rotate(180)]
    provenance.save(frames[0], path, MARK, save_all=True, append_images=frames[1:], loop=0, duration=[80, 80, 1000])
    assert provenance.read(path) == MARK
    with Image.open(path) as image:
        assert image.n_frames == 3 and image.info["loop"] == 0
        image.seek(2)
        assert image.convert("RGB").size == (24, 24)


@pytest.mark.parametrize("kind", KINDS)
def test_its_xmp_is_xml_with_what_iptc_asks(kind, tmp_path):
    path = tmp_path / f"one.{kind}"
    provenance.save(drawn(), path, MARK)
    raw = path.read_bytes()
    packet = raw[raw.index(b"<x:xmpmeta") : raw.index(b"</x:xmpmeta>") + 12]
    [about] = ElementTree.fromstring(packet).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert (
        about.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
        == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    assert about.get("{http://ns.adobe.com/xap/1.0/}CreatorTool") == "souron 0.1.0"
    assert about.get(f"{{{provenance.SPACE}}}data") == MARK.data
    assert about.get(f"{{{provenance.SPACE}}}generated") == "True"


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_the_mark_is_found_where_only_xmp_is_left(kind, tmp_path):
    packet = provenance.xmp(MARK)
    path = tmp_path / f"one.{kind}"
    if kind == "png":
        about = PngImagePlugin.PngInfo()
        about.add_itxt("XML:com.adobe.xmp", packet)
        drawn().save(path, pnginfo=about)
    else:
        drawn().save(path, xmp=packet.encode())
    assert provenance.read(path) == MARK


@pytest.mark.parametrize("kind", KINDS)
def test_saved_anew_the_mark_is_gone_and_that_is_no_error(kind, tmp_path):
    provenance.save(drawn(), tmp_path / "marked.png", MARK)
    path = tmp_path / f"anew.{kind}"
    Image.open(tmp_path / "marked.png").copy().convert("RGB").save(path)
    assert provenance.look(path) == (None, "")


def test_what_others_say_of_a_picture_is_passed_on(tmp_path):
    said = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    packet = f"<rdf:li><x:DigitalSourceType>{said}</x:DigitalSourceType></rdf:li>"
    drawn().save(tmp_path / "photo.jpg", xmp=packet.encode())
    assert provenance.look(tmp_path / "photo.jpg") == (None, said)


def test_a_format_without_a_place_for_it_is_refused(tmp_path):
    with pytest.raises(UserError, match="no mark") as caught:
        provenance.save(drawn(), tmp_path / "one.bmp", MARK)
    assert caught.value.fix == "one.png" and not (tmp_path / "one.bmp").exists()
    provenance.save(drawn(), tmp_path / "one.part", MARK, format="PNG")
    assert provenance.read(tmp_path / "one.part") == MARK


def test_the_mark_of_a_run_names_its_weights_and_not_where_its_data_lie(tmp_path):
    args = {"system": "dcgan_tiny", "data": "/home/tanaka/患者/scans/"}
    (tmp_path / "weights").mkdir()
    weights = tmp_path / "weights" / "best.safetensors"
    file_utils.write_tensors(weights, {"a": torch.zeros(3)}, {})
    mark = provenance.mark(tmp_path, args, 5)
    assert (mark.system, mark.data, mark.seed, mark.number) == ("dcgan_tiny", "scans", 5, None)
    assert (mark.software, mark.version, mark.generated) == ("souron", souron.__version__, True)
    assert len(mark.run) == 16 and provenance.mark(tmp_path, args, 5) == mark
    file_utils.write_tensors(weights, {"a": torch.ones(3)}, {})
    assert provenance.mark(tmp_path, args, 5).run != mark.run


def with_texts(path, *texts, key=provenance.PNG_KEY, compress=False):
    about = PngImagePlugin.PngInfo()
    for text in texts:
        about.add_text(key, text, zip=compress)
    drawn().save(path, pnginfo=about)


GOOD = {"software": "souron", "version": "1", "system": "a", "data": "b", "run": "c", "seed": 1, "generated": True}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "[" * 3000,
        '{"a":' * 700,
        json.dumps({**GOOD, "seed": "many"}),
        json.dumps({**GOOD, "seed": [1]}),
        json.dumps({**GOOD, "seed": 2**64}),
        json.dumps({**GOOD, "seed": None}),
        json.dumps({**GOOD, "seed": float("inf")}),
        json.dumps({**GOOD, "more": "x" * 50_000}),
        json.dumps([GOOD]),
        'souron:seed="1" souron:system="a"',
    ],
)
def test_what_is_no_mark_is_none(text, tmp_path):
    with_texts(tmp_path / "one.png", text)
    assert provenance.read(tmp_path / "one.png") is None


def test_fields_of_strangers_are_cut_and_cannot_steer_a_terminal(tmp_path):
    with_texts(tmp_path / "one.png", json.dumps({**GOOD, "system": "\x1b[2J\r" + "x" * 999}))
    mark = provenance.read(tmp_path / "one.png")
    assert mark is not None and mark.system.startswith("?[2J?xxx")
    assert len(mark.system) == provenance.LONGEST_FIELD


def test_a_text_that_unpacks_without_end_is_not_unpacked(tmp_path):
    with_texts(tmp_path / "bomb.png", "x" * 20_000_000, compress=True)
    assert (tmp_path / "bomb.png").stat().st_size < 100_000
    with pytest.raises(UserError) as caught:
        provenance.read(tmp_path / "bomb.png")
    assert caught.value.exit == 3


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_a_picture_with_too_many_pixels_is_refused(tmp_path):
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    (tmp_path / "wide.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head))
    with pytest.raises(UserError) as caught:
        provenance.read(tmp_path / "wide.png")
    assert caught.value.exit == 3


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_end_in_a_message_or_in_nothing(kind, tmp_path):
    """Cut short anywhere, or with a byte changed anywhere in its head."""
    stream = tmp_path / f"whole.{kind}"
    provenance.save(drawn(8), stream, MARK)
    whole = stream.read_bytes()
    path = tmp_path / f"damaged.{kind}"
    random = torch.Generator().manual_seed(1)
    cuts = [whole[:end] for end in range(0, len(whole), 37)]
    places = torch.randint(0, min(len(whole), 1500), (60,), generator=random).tolist()
    flips = [whole[:i] + bytes([whole[i] ^ 0x55]) + whole[i + 1 :] for i in places]
    for raw in [*cuts, *flips]:
        path.write_bytes(raw)
        try:
            provenance.read(path)
        except UserError as trouble:
            assert trouble.exit == 3


def say(capsys, *words: str) -> tuple[int, str, str]:
    code = main.run(["audit", "provenance", *words])
    return code, *capsys.readouterr()


def test_the_command_tells_what_each_file_says_and_what_that_is_worth(tmp_path, capsys):
    provenance.save(drawn(), tmp_path / "a.png", MARK)
    drawn().save(tmp_path / "b.png")
    code, out, _err = say(capsys, str(tmp_path))
    assert code == 0
    told = " ".join(out.split())
    assert "generated by dcgan_small" in told and "seed 3, image 7" in told
    assert "A missing mark proves nothing" in told and "forge" in told

    code, out, _err = say(capsys, str(tmp_path), "--json")
    [first, second] = json.loads(out)["files"]
    assert code == 0 and second["mark"] is None and second["error"] is None
    assert first["mark"]["run"] == MARK.run and first["mark"]["number"] == 7
    assert first["digital_source_type"] == GENERATED


def test_unreadable_files_stop_no_other_and_end_with_code_3(tmp_path, capsys):
    provenance.save(drawn(), tmp_path / "a.png", MARK)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    code, out, _err = say(capsys, str(tmp_path), "--json")
    files = {row["file"].rpartition("/")[2]: row for row in json.loads(out)["files"]}
    assert code == 3 and files["a.png"]["mark"]["seed"] == 3
    assert files["text.png"]["error"].startswith("[not an image]")
    assert files["empty.png"]["error"].startswith("[empty file]")
    code, out, err = say(capsys, str(tmp_path))
    assert code == 3 and "generated by" in out and "2 of 3 files could not be read" in err


def test_without_a_file_it_says_what_is_missing(tmp_path, capsys):
    code, _out, err = say(capsys)
    assert code == 2 and "FILES is missing" in err
    code, _out, err = say(capsys, str(tmp_path / "*.png"))
    assert code == 3 and "nothing was found" in err
    code = main.run(["audit", "provenence", "a.png"])
    assert code == 2 and "generated, improper, ledger, memorisation, provenance" in capsys.readouterr().err


def test_a_gif_with_a_small_palette_is_still_a_gif(tmp_path):
    grey = drawn().convert("L").point(lambda value: 255 * (value > 127))
    provenance.save(grey, tmp_path / "two.gif", MARK)
    with Image.open(io.BytesIO((tmp_path / "two.gif").read_bytes())) as image:
        assert image.convert("L").tobytes() == grey.tobytes()
    assert provenance.read(tmp_path / "two.gif") == MARK
