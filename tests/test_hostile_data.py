"""What a folder or a table may hold that was made to harm, or made carelessly."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from souron.cli import main
from souron.data import check, load
from souron.data.formats import csv_table, folder
from souron.utils.messages import UserError


def save(path, value=100, size=(12, 12), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 50, 0)).save(path)
    return path


def why(cases) -> dict[str, str]:
    return {skipped.file: skipped.code for skipped in cases.skipped}


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, rows: int, extra: bytes = b"") -> bytes:
    """A grey PNG of zeros that declares width x height and holds so many rows."""
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(1 + width)) for _ in range(rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def tiff(**tags) -> bytes:
    """A grey TIFF of 8 x 8 whose tags say something else."""
    stream = io.BytesIO()
    Image.new("L", (8, 8), 90).save(stream, "TIFF")
    raw = bytearray(stream.getvalue())
    start = struct.unpack("<I", raw[4:8])[0]
    for i in range(struct.unpack("<H", raw[start : start + 2])[0]):
        at = start + 2 + 12 * i
        name = f"t{struct.unpack('<H', raw[at : at + 2])[0]}"
        if name in tags:
            raw[at + 2 : at + 12] = struct.pack("<HII", 4, *tags[name])  # LONG, count, value
    return bytes(raw)


def gif(width: int, height: int, frame: tuple[int, int] = (1, 1)) -> bytes:
    """A GIF of that many pixels, with one frame of one byte of data."""
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return b"GIF89a" + screen + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\x00;"


BOMB = zlib.compress(bytes(200_000_000), 9)

FILES = {
    "declared huge": (png(60_000, 60_000, 1), "too large"),
    "declared over the limit": (png(10_001, 5_000, 1), "too large"),
    "25 megapixels, cut": (png(5_000, 5_000, 5_000)[:12_000], "truncated"),
    "no pixels": (png(0, 5, 1), "unreadable or truncated"),
    "a text that unpacks to 200 MB": (png(8, 8, 8, chunk(b"zTXt", b"Comment\0\0" + BOMB)), "unreadable"),
    "a profile that unpacks to 200 MB": (png(8, 8, 8, chunk(b"iCCP", b"profile\0\0" + BOMB)), "unreadable"),
    "GIF, huge": (gif(65_535, 65_535), "too large"),
    "GIF, a huge frame": (gif(1, 1, (65_535, 65_535)), "too large"),
    "TIFF, huge": (tiff(t256=(1, 2**31 - 1), t257=(1, 2**31 - 1)), "too large"),
    "TIFF, a strip beyond the file": (tiff(t273=(1, 2**31)), "unreadable or truncated"),
    "TIFF, 4 thousand million strips": (tiff(t273=(2**32 - 1, 8)), "unreadable or truncated"),
    "TIFF, unknown compression": (tiff(t259=(1, 60_000)), "unreadable or truncated"),
}


@pytest.mark.parametrize("kind", FILES)
def test_bombs_and_broken_headers_are_skipped_by_name(tmp_path, kind):
    content, expected = FILES[kind]
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "1.png")
    (tmp_path / "a" / "bad.png").write_bytes(content)
    cases = folder.load(tmp_path)
    assert list(cases.file) == ["a/1.png", "b/1.png"]
    assert why(cases).keys() == {"a/bad.png"}
    assert why(cases)["a/bad.png"] in (expected, *expected.split(" or "))
    found = {finding.code: finding for finding in check.check(tmp_path).findings}
    assert found[why(cases)["a/bad.png"]].files == ("a/bad.png",)
    assert found[why(cases)["a/bad.png"]].severity == "error"


def test_fifty_megapixels_of_nothing_are_read(tmp_path):
    save(tmp_path / "b" / "1.png")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "zeros.png").write_bytes(png(10_000, 5_000, 5_000))
    cases = folder.load(tmp_path)
    assert cases.skipped == () and cases.input[0].count_nonzero() == 0


def test_ten_thousand_files(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    content = [save(tmp_path / f"{i}.png", i, (4, 4)).read_bytes() for i in range(256)]
    for i in range(10_000):
        (tmp_path / "ab"[i % 2] / f"{i}.png").write_bytes(content[i % 256])
    for i in range(256):
        (tmp_path / f"{i}.png").unlink()
    cases = folder.load(tmp_path)
    assert len(cases) == 10_000 and cases.skipped == ()
    assert cases.input[:, 0, 0, 0].tolist() == [int(file[2:-4]) % 256 for file in cases.file]


def test_links_that_lead_in_circles_or_away(tmp_path):
    root, away = tmp_path / "set", tmp_path / "away"
    save(away / "secret.png", 200)
    save(root / "a" / "1.png", 1)
    save(root / "b" / "1.png", 2)
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "one").symlink_to("two")
    (root / "a" / "two").symlink_to("one")
    (root / "b" / "away").symlink_to(away)
    (root / "b" / "secret.png").symlink_to(away / "secret.png")
    os.mkfifo(root / "b" / "pipe.png")  # waiting for it would take for ever
    cases = folder.load(root)
    assert list(cases.file) == ["a/1.png", "b/1.png"]
    assert why(cases) == {
        "a/up": "duplicate",
        "a/one": "unreadable",
        "a/two": "unreadable",
        "b/away": "outside",
        "b/secret.png": "outside",
        "b/pipe.png": "not an image",
    }


def test_a_page_among_the_pictures(tmp_path):
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "1.png", 200)
    (tmp_path / "a" / "index.html").write_text("<script>alert(1)</script>", encoding="utf-8")
    name = "<img src=x onerror=alert(1)>.png"
    (tmp_path / "b" / name).write_text("no picture", encoding="utf-8")
    assert why(folder.load(tmp_path)) == {"a/index.html": "not an image", f"b/{name}": "not an image"}
    assert main.run(["data", "check", str(tmp_path)]) == 0
    [page] = (tmp_path / "runs").rglob("check.html")
    text = page.read_text(encoding="utf-8")
    assert "index.html" in text and "onerror=alert" in text and "<img src=x" not in text


@pytest.fixture
def listed(tmp_path):
    """Twelve pictures, and what writes a table of them beside."""
    for i in range(12):
        save(tmp_path / "set" / "写真" / f"{i}.png", 20 * i)

    def write(lines, encoding="utf-8"):
        raw = lines if isinstance(lines, bytes) else "\n".join(lines).encode(encoding)
        (tmp_path / "set" / "list.csv").write_bytes(raw)
        return tmp_path / "set" / "list.csv"

    return write


def codes(path) -> dict[str, check.Finding]:
    return {finding.code: finding for finding in check.check(path).findings}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16", "utf-16-le"])
def test_encodings(listed, encoding):
    rows = [f"写真/{i}.png,{'猫犬'[i % 2]},患者{i // 2}" for i in range(12)]
    path = listed(["ファイル,ラベル,患者", *rows], encoding)
    if encoding == "utf-16-le":  # without the mark in front
        with pytest.raises(UserError) as trouble:
            csv_table.load(path)
        assert trouble.value.code == "unreadable"
        return
    cases = csv_table.load(path)
    assert cases.classes == ("犬", "猫") and len(cases) == 12
    assert cases.group[:3] == ["患者0", "患者0", "患者1"]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_lines_in_two_encodings(listed, ends):
    """As two tables that were put together are: names, labels and half-width katakana."""
    lines = ["file,label,施設".encode()]
    for i in range(12):
        text = f"写真/{i}.png,{'猫犬'[i % 2]},{'ﾈｺ病院' if i % 2 else '写真館'}"
        lines.append(text.encode("cp932" if i % 3 else "utf-8"))
    cases = csv_table.load(listed(ends.encode().join(lines)))
    assert len(cases) == 12 and cases.skipped == ()
    assert [cases.classes[c] for c in cases.target] == ["猫", "犬"] * 6
    assert cases.columns == {"site": ["写真館", "ﾈｺ病院"] * 6}


def test_half_width_katakana_is_not_taken_for_utf_8(listed):
    rows = [f"写真/{i}.png,{('ﾈｺ', 'ｲﾇ')[i % 2]}" for i in range(12)]
    assert "ﾈｺ".encode("cp932").decode("utf-8") == "Ⱥ"
    assert csv_table.load(listed(["file,label", *rows], "cp932")).classes == ("ｲﾇ", "ﾈｺ")


def test_missing_files_and_rows_twice_are_named_and_counted(listed):
    rows = [f"写真/{i}.png,{'ab'[i % 2]}" for i in range(12)]
    path = listed(["file,label", *rows, "写真/gone.png,a", "写真/away.png,b", rows[0], rows[0], "写真/1.png,a"])
    cases = csv_table.load(path)
    assert len(cases) == 12 and len(cases) + len(cases.skipped) == 17
    found = codes(path)
    assert found["missing"].files == ("写真/gone.png", "写真/away.png")
    assert found["missing"].severity == "error" and "2 files" in found["missing"].message
    assert found["duplicate"].files == ("写真/0.png", "写真/0.png")
    assert found["duplicate"].severity == "hint"
    assert found["label conflict"].files == ("写真/1.png",)
    assert found["label conflict"].severity == "error"


@pytest.mark.parametrize("nothing", ["nan", "NaN", "NA", "None", "null", "", "  ", "#N/A"])
def test_labels_that_are_none(listed, nothing):
    rows = [f"写真/{i}.png,{'ab'[i % 2]}" for i in range(10)]
    path = listed(["file,label", *rows, f"写真/10.png,{nothing}", f"写真/11.png,{nothing}"])
    cases = csv_table.load(path)
    assert cases.classes == ("a", "b") and len(cases) == 10
    assert why(cases) == {"写真/10.png": "no label", "写真/11.png": "no label"}
    assert nothing.strip() in cases.skipped[0].reason
    assert codes(path)["no label"].files == ("写真/10.png", "写真/11.png")


def test_none_in_small_letters_is_a_class(listed):
    rows = [f"写真/{i}.png,{('none', 'caries')[i % 2]}" for i in range(12)]
    assert csv_table.load(listed(["file,label", *rows])).classes == ("caries", "none")


def test_patients_in_two_classes_and_classes_of_one_patient(listed):
    patient = ["p1", "p1", "p2", "p2", "p3", "p4", "p5", "p6", "p7", "p9", "p9", "p9"]
    label = "abaaabaabccc"
    rows = [f"写真/{i}.png,{label[i]},{patient[i]}" for i in range(12)]
    found = codes(listed(["file,label,patient", *rows]))
    assert found["patient in classes"].files == ("写真/0.png", "写真/1.png")
    assert "1 patient " in found["patient in classes"].message
    assert found["few patients"].message.endswith("c")


def test_patients_that_are_not_known_stand_for_themselves(listed):
    rows = [f"写真/{i}.png,{'ab'[i % 2]},{'p1' if i < 2 else 'NaN'}" for i in range(12)]
    cases = csv_table.load(listed(["file,label,patient", *rows]))
    assert cases.group == ["p1", "p1", *[""] * 10]


def test_grey_among_colour(tmp_path):
    for i in range(6):
        save(tmp_path / "a" / f"{i}.png", 40 * i, mode="L" if i < 2 else "RGB")
        save(tmp_path / "b" / f"{i}.png", 30 * i)
    finding = codes(tmp_path)["mixed colours"]
    assert finding.files == ("a/0.png", "a/1.png")
    assert finding.message.startswith("2 grey images among 10")


def test_nothing_outside_of_the_folder_is_read(listed, tmp_path, monkeypatch):
    secret = save(tmp_path / "secret.png", 250)
    (tmp_path / "set" / "link.png").symlink_to(secret)
    rows = [f"写真/{i}.png,{'ab'[i % 2]}" for i in range(12)]
    deep = "写真/" + "../" * 40 + "etc/passwd"
    away = [
        "../secret.png",
        str(secret),
        "写真/../../secret.png",
        "..\\secret.png",
        "link.png",
        "/etc/passwd",
        deep,
        "/dev/zero",
        "x" * 5000,
    ]
    path = listed(["file,label", *rows, *(f"{name},a" for name in away)])
    opened = []
    plain = type(path).open

    def watched(self, *args, **options):
        opened.append(os.path.realpath(self))
        return plain(self, *args, **options)

    monkeypatch.setattr(type(path), "open", watched)
    cases = csv_table.load(path)
    assert len(cases) == 12 and int(cases.input.max()) < 250
    root = os.path.realpath(tmp_path / "set")
    assert len(opened) >= 24 and all(name.startswith(root + os.sep) for name in opened)
    assert len(cases.skipped) == len(away)  # nothing is lost
    assert set(why(cases).values()) <= {"outside", "duplicate", "unreadable"}
    assert {why(cases)[name] for name in ("../secret.png", "link.png")} <= {"outside", "duplicate"}


def test_a_table_within_its_own_limits(listed, monkeypatch):
    monkeypatch.setattr(csv_table, "MOST_BYTES", 100)
    with pytest.raises(UserError) as trouble:
        csv_table.load(listed(["file,label", "写真/0.png,a" * 20]))
    assert trouble.value.code == "unreadable"


HEADERS = [
    "file,label,label",
    "file,,label,,",
    "\0",
    "file,label,\x1b[31m",
    ",".join("x" * 5000),
    '"file,label',
    "file,label,=cmd()",
]


@pytest.mark.parametrize("header", HEADERS)
def test_odd_tables_end_in_cases_or_in_trouble(listed, header):
    chance = np.random.default_rng(0)
    for _ in range(20):
        noise = bytes(chance.integers(1, 256, 60).tolist())
        rows = "\n".join(f"写真/{i}.png,{'ab'[i % 2]},x" for i in range(4)).encode()
        path = listed(header.encode() + b"\n" + rows + b"\n" + noise)
        try:
            cases = load.load(path)
        except UserError as trouble:
            assert trouble.code in ("unreadable", "columns", "no image", "one class")
        else:
            assert len(cases) >= 2


def test_a_data_yaml_may_name_thousands_of_classes(tmp_path):
    for name in "ab":
        save(tmp_path / "train" / name / "1.png")
    names = "\n".join(f"  {i}: class{i}" for i in range(3000))
    (tmp_path / "data.yaml").write_text(f"train: train\nnames:\n{names}\n", encoding="utf-8")
    cases = load.load(tmp_path / "data.yaml")
    assert len(cases) == 2 and cases.classes == ("a", "b")


def test_the_command_says_it_without_a_traceback(listed, capsys):
    path = listed(["file,label", "写真/0.png,a", "写真/1.png,b", "写真/gone.png,a", "../x.png,b"])
    assert main.run(["data", "check", str(path)]) == 3
    seen = capsys.readouterr()
    assert "[missing] 1 file " in seen.out and "[outside] 1 file " in seen.out
    assert "Traceback" not in seen.out + seen.err
