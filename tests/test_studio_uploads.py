"""Uploaded files become a folder that holds data and nothing else, or nothing at all."""

import errno
import os
import shutil
import stat
import struct
import time
import unicodedata
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from souron.studio.security import uploads
from souron.utils.messages import UserError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
JPEG = b"\xff\xd8\xff\xe0" + bytes(40)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "uploads"


def packed(tmp_path, files, name="photos.zip", method=zipfile.ZIP_DEFLATED) -> Path:
    path = tmp_path / name
    with zipfile.ZipFile(path, "w", method) as archive:
        for inner, content in files.items():
            archive.writestr(inner, content)
    return path


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def refused(files, place, code):
    """The UserError; and nothing is left behind."""
    with pytest.raises(UserError) as caught:
        uploads.unpack(files, place)
    assert caught.value.code == code, str(caught.value)
    assert not place.exists() or list(place.iterdir()) == []
    assert caught.value.expected or code == "disk"
    return caught.value


def edited(path: Path, change) -> Path:
    """The zip with its bytes changed by hand."""
    path.write_bytes(change(path.read_bytes()))
    return path


def test_a_zip_becomes_a_folder_without_its_top_folder(tmp_path, place):
    files = {"my photos/cat/1.png": PNG, "my photos/犬/1 つ.jpg": JPEG, "my photos/labels.csv": b"a,b"}
    done = uploads.unpack([packed(tmp_path, files)], place)
    assert done.folder == place / "my-photos" and done.files == 3 and done.skipped == {}
    assert names(done.folder) == {"cat/1.png", "犬/1 つ.jpg", "labels.csv"}
    assert (done.folder / "cat/1.png").read_bytes() == PNG
    assert list(place.iterdir()) == [done.folder]
    if os.name != "nt":
        assert stat.S_IMODE(done.folder.stat().st_mode) == 0o700


def test_without_one_top_folder_the_zip_gives_the_name(tmp_path, place):
    path = packed(tmp_path, {"cat/1.png": PNG, "dog/1.png": PNG}, "ねこと いぬ.zip")
    assert uploads.unpack([path], place).folder.name == "ねこと-いぬ"
    assert uploads.unpack([path], place).folder.name == "ねこと-いぬ-2"


def test_several_files_are_a_folder(tmp_path, place):
    given = {"1.png": PNG, "2.jpg": JPEG, "x.exe": b"MZ\x90\0 a program"}
    for name, content in given.items():
        (tmp_path / name).write_bytes(content)
    done = uploads.unpack([tmp_path / name for name in given], place)
    assert done.folder == place / "upload" and names(done.folder) == {"1.png", "2.jpg"}
    assert done.skipped == {"unknown": ["x.exe"]} and "2 files" in str(done)
    assert (tmp_path / "1.png").exists()  # the upload itself is somebody else's


def with_names(tmp_path, names: list[bytes]) -> Path:
    """A zip of pictures with these bytes for names, and no word on their encoding."""
    stand_ins = {bytes([65 + i]) * len(name): name for i, name in enumerate(names)}
    path = packed(tmp_path, {stand_in.decode(): PNG for stand_in in stand_ins})
    for stand_in, name in stand_ins.items():
        edited(path, lambda raw, old=stand_in, new=name: raw.replace(old, new))
    return path


@pytest.mark.parametrize("encoding", ["cp932", "utf-8"])
def test_japanese_names_that_do_not_say_their_encoding(tmp_path, place, encoding):
    wanted = {"表/ソ能十.png", "犬/写真 1.png"}  # in cp932 some characters end in a backslash
    path = with_names(tmp_path, [f"資料/{name}".encode(encoding) for name in sorted(wanted)])
    done = uploads.unpack([path], place)
    assert names(done.folder) == wanted and done.folder.name == "資料"


def test_names_that_both_encodings_could_mean_are_utf8(tmp_path, place):
    assert "猫/鳥猫.png".encode().decode("cp932")
    done = uploads.unpack([with_names(tmp_path, ["猫/鳥猫.png".encode(), b"a/1.png"])], place)
    assert names(done.folder) == {"猫/鳥猫.png", "a/1.png"}


def test_what_macos_adds_is_left_out_and_names_are_composed(tmp_path, place):
    name = unicodedata.normalize("NFD", "が/ぱ.png")
    files = {f"top/{name}": PNG, "__MACOSX/top/._a.png": b"x", "top/.DS_Store": b"x", "top/Thumbs.db": b"x"}
    done = uploads.unpack([packed(tmp_path, files)], place)
    assert names(done.folder) == {"が/ぱ.png"} and len(done.skipped["junk"]) == 3


@pytest.mark.parametrize(
    "name",
    [
        "../x.png",
        "a/../../x.png",
        "/etc/x.png",
        "C:/x.png",
        "c:x.png",
        "..\\x.png",
        "\\\\host\\x.png",
        "a//x.png",
        "a/\nb.png",
        "a/b\x1b[2J.png",
        "a/./b.png",
        "x" * 300 + ".png",
        "犬" * 90 + ".png",
        "/".join("abcdefghijklmnopqrst") + "/x.png",
    ],
)
def test_names_that_lead_elsewhere_or_cannot_be_kept(tmp_path, place, name):
    refused([packed(tmp_path, {"good/1.png": PNG, name: PNG})], place, "name")
    assert not (tmp_path / "x.png").exists()


def test_a_zero_in_a_name(tmp_path, place):
    path = packed(tmp_path, {"good/1.png": PNG, "good/2Xpng": PNG})
    refused([edited(path, lambda raw: raw.replace(b"2Xpng", b"2\0png"))], place, "name")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path, place, kind):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.png", PNG)
        info = zipfile.ZipInfo("a/2.png")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    refused([path], place, "link")


def test_an_upload_that_is_a_link_is_refused(tmp_path, place):
    (tmp_path / "link.png").symlink_to("/etc/passwd")
    (tmp_path / "1.png").write_bytes(PNG)
    refused([tmp_path / "link.png", tmp_path / "1.png"], place, "link")
    refused([tmp_path / "link.png"], place, "link")
    refused([tmp_path, tmp_path / "1.png"], place, "link")


@pytest.mark.parametrize(
    "pair", [("A/1.png", "a/1.PNG"), ("が.png", "か\u3099.png"), ("a/b", "a/b/1.png"), ("ﬁ.png", "FI.png")]
)
def test_names_that_are_one_elsewhere_are_refused(tmp_path, place, pair):
    refused([packed(tmp_path, dict.fromkeys((*pair, "z.png"), PNG))], place, "duplicate")


def test_two_uploads_of_one_name(tmp_path, place):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(PNG)
    refused([tmp_path / "a/1.png", tmp_path / "b/1.png"], place, "duplicate")


def test_a_bomb_is_refused_before_it_unpacks(tmp_path, place, monkeypatch):
    path = packed(tmp_path, {"a/zeros.png": PNG + bytes(5_000_000)})
    assert uploads.unpack([path], place).files == 1  # a small one may be as empty as it likes
    shutil.rmtree(place / "a")
    monkeypatch.setattr(uploads, "FREE", 1_000_000)
    refused([path], place, "bomb")


def test_entries_that_share_their_bytes_are_a_bomb(tmp_path, place):
    path = packed(tmp_path, {"a.png": PNG + os.urandom(50_000)})
    start = path.read_bytes().index(b"PK\x01\x02")
    raw = path.read_bytes()
    entry, end = raw[start : raw.index(b"PK\x05\x06")], raw[raw.index(b"PK\x05\x06") :]
    entries = b"".join(entry.replace(b"a.png", f"{i:05}".encode()) for i in range(100))
    counts = struct.pack("<HHII", 100, 100, len(entries), start)
    path.write_bytes(raw[:start] + entries + end[:8] + counts + end[20:])
    assert len(zipfile.ZipFile(path).infolist()) == 100
    refused([path], place, "bomb")


def test_a_zip_that_lies_about_a_size(tmp_path, place):
    path = packed(tmp_path, {"a/1.png": PNG + bytes(5000)})
    size = struct.pack("<I", len(PNG) + 5000)
    refused([edited(path, lambda raw: raw.replace(size, struct.pack("<I", 60)))], place, "damaged")


def test_limits_of_count_size_and_sum(tmp_path, place, monkeypatch):
    path = packed(tmp_path, {f"a/{i}.png": PNG + os.urandom(1000) for i in range(10)})
    for name, most, code in (
        ("MOST_FILES", 9, "too many files"),
        ("LARGEST", 1000, "too large"),
        ("MOST_BYTES", 10_000, "too large"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(uploads, name, most)
            refused([path], place, code)
    assert uploads.unpack([path], place).files == 10


def test_a_table_of_contents_that_would_fill_the_memory(tmp_path, place):
    path = packed(tmp_path, {"a/1.png": PNG})

    def claim(raw: bytes) -> bytes:
        at = raw.index(b"PK\x05\x06")
        return raw[: at + 12] + struct.pack("<I", 0xF0000000) + raw[at + 16 :]

    refused([edited(path, claim)], place, "too many files")


def test_a_password_is_named(tmp_path, place):
    path = packed(tmp_path, {"a/1.png": PNG})

    def lock(raw: bytes) -> bytes:
        at = raw.index(b"PK\x01\x02")
        return raw[:6] + b"\1\0" + raw[8 : at + 8] + b"\1\0" + raw[at + 10 :]

    trouble = refused([edited(path, lock)], place, "encrypted")
    assert "password" in trouble.found and "photos.zip" in trouble.found


@pytest.mark.parametrize("cut", [20, 200, 2000])
def test_a_zip_that_was_cut(tmp_path, place, cut):
    path = packed(tmp_path, {f"a/{i}.png": PNG + os.urandom(500) for i in range(5)})
    refused([edited(path, lambda raw: raw[:-cut])], place, "damaged")


def test_a_zip_with_wrong_bytes_leaves_nothing(tmp_path, place):
    path = packed(tmp_path, {"a/1.png": PNG, "a/2.png": PNG + os.urandom(5000)}, method=zipfile.ZIP_STORED)
    middle = path.read_bytes().index(b"a/2.png") + 3000
    refused([edited(path, lambda raw: raw[:middle] + bytes(100) + raw[middle + 100 :])], place, "damaged")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.7z", "a.RAR"])
def test_other_packings_are_refused_by_name(tmp_path, place, name):
    (tmp_path / name).write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(40))
    error = refused([tmp_path / name], place, "archive")
    assert name in error.found and "zip" in error.fix


def test_a_zip_with_an_unknown_compression(tmp_path, place):
    path = packed(tmp_path, {"a/1.png": PNG})
    method = b"\x14\0\0\0\x08\0", b"\x14\0\0\0\x09\0"
    refused([edited(path, lambda raw: raw.replace(*method))], place, "archive")


def test_only_data_is_kept_and_the_rest_is_counted(tmp_path, place):
    dicom, dicom_group = bytes(128) + b"DICM" + bytes(20), b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100"
    kept = {
        "a.png": PNG,
        "a.jpg": JPEG,
        "a.gif": b"GIF89a" + bytes(20),
        "a.bmp": b"BM" + bytes(40),
        "a.webp": b"RIFF\0\0\0\0WEBPVP8 ",
        "a.tif": b"II*\0" + bytes(9),
        "b.tif": b"MM\0*" + bytes(9),
        "a.pgm": b"P5 2 2 255\n1234",
        "a.dcm": dicom,
        "IM0001": dicom,
        "IM0002": dicom_group,
        "labels.csv": "名前,label\n".encode("cp932"),
        "utf16.csv": "名前,label".encode("utf-16"),
        "data.yaml": b"names: [a]",
        "MZ.csv": b"MZ,label\n1,2\n",
        "x.jpg": PNG,
    }
    unknown = {
        "a.exe": b"MZ\x90\0\3",
        "fake.png": b"MZ\x90\0\3",
        "b": b"\x7fELF\2",
        "inner.zip": b"PK\x03\x04" + bytes(20),
        "e.png": b"PK\x03\x04" + bytes(20),
        "f.gz": b"\x1f\x8b\x08",
        "g.html": b"<script>alert(1)</script>",
        "h.svg": b"<svg onload=alert(1)>",
        "i.js": b"alert(1)",
        "j.png": b"not a picture",
        "k.pkl": b"\x80\x04\x95",
        "l.csv": b"a\0b",
        "m.png": b"",
        "n.csv": b"",
    }
    junk = {".n.png": PNG, "o/.git/p.png": PNG}
    done = uploads.unpack([packed(tmp_path, kept | unknown | junk)], place)
    assert names(done.folder) == set(kept) and done.files == len(kept)
    skipped = {why: set(files) for why, files in done.skipped.items()}
    assert skipped == {"unknown": set(unknown), "junk": set(junk)}
    assert "neither images nor tables: 14" in str(done)


def test_nothing_that_can_be_used_is_refused(tmp_path, place):
    refused([packed(tmp_path, {"a.exe": b"MZ\x90\0"})], place, "nothing")
    refused([packed(tmp_path, {})], place, "nothing")
    refused([], place, "nothing")
    (tmp_path / "a.html").write_bytes(b"<html>")
    assert "neither" in refused([tmp_path / "a.html"], place, "nothing").found


def test_a_full_disk_is_named_before_and_while_writing(tmp_path, place, monkeypatch):
    path = packed(tmp_path, {"a/1.png": PNG, "a/2.png": PNG})
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _path: usage(1, 1, uploads.SPARE))
        assert "MB" in refused([path], place, "disk").found
    opened = Path.open

    def full(self, mode="r", *rest):
        if "x" in mode and self.name == "2.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(self, mode, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        trouble = refused([path], place, "disk")
    assert trouble.exit == 4 and "No space left" in trouble.found


def test_what_a_killed_server_left_is_removed_after_a_day(tmp_path, place):
    for name in ("old", "new"):
        (place / f"{uploads.PARTIAL}{name}").mkdir(parents=True)
    day = time.time() - uploads.STALE - 60
    os.utime(place / f"{uploads.PARTIAL}old", (day, day))
    uploads.unpack([packed(tmp_path, {"a.png": PNG})], place)
    assert {path.name for path in place.iterdir()} == {f"{uploads.PARTIAL}new", "photos"}


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("my photos", "my-photos"),
        ("写真（犬）", "写真-犬"),
        ("../../etc", "etc"),
        (".hidden", "hidden"),
        ("CON", "data-CON"),
        ("", "data-"),
        ("<b>", "b"),
        ("--help", "help"),
        ("a" * 300, "a" * 60),
        ("か\u3099", "が"),
        ("a\0b", "a-b"),
    ],
)
def test_the_folders_name_can_be_read_and_typed(title, name):
    assert uploads.safe(title) == name
