"""Content Credentials: signed, changed or nothing; strangers' files; no network."""

import io
import json
import stat
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import shut
from PIL import Image

from souron.cli import main
from souron.kinds.codecs import credentials, provenance, signing_keys
from souron.kinds.codecs.provenance import EDITED, GENERATED, Mark
from souron.utils.messages import UserError

KINDS = ("png", "jpg", "webp", "gif")
DRAWN = Mark("souron", "0.1.0", "gan_small", "fashion", "0123456789abcdef", 3, 7)
NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def keys(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SOURON_KEYS", str(tmp_path / "keys"))
    return tmp_path / "keys"


def plain(path: Path) -> Path:
    Image.fromarray(NOISE).save(path)
    return path


def chunks(raw: bytes) -> list[tuple[bytes, bytes]]:
    """The names of a PNG's chunks, and what they hold."""
    found, place = [], 8
    while place < len(raw):
        size = int.from_bytes(raw[place : place + 4])
        found.append((raw[place + 4 : place + 8], raw[place + 8 : place + 8 + size]))
        place += 12 + size
    return found


def png_of(parts: list[tuple[bytes, bytes]]) -> bytes:
    packed = (len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4) for name, body in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_signed_picture_is_whole_and_a_bit_more_is_not(kind, tmp_path):
    path = plain(tmp_path / f"one.{kind}")
    before = path.read_bytes()
    signed = credentials.sign(path)
    assert signed.name == f"one.signed.{kind}" and path.read_bytes() == before
    assert signed.stat().st_size - len(before) < 6000  # no thumbnail
    answer = credentials.verify(signed)
    assert (answer.state, answer.trusted, answer.here) == ("signed", True, True)
    assert answer.software.startswith("souron ") and answer.made == ""
    raw = bytearray(signed.read_bytes())
    with Image.open(signed) as one, Image.open(path) as other:
        assert one.tobytes() == other.tobytes()
    raw[-20] ^= 1
    signed.write_bytes(raw)
    assert credentials.verify(signed).state == "changed"


def test_every_changed_pixel_is_found(tmp_path):
    parts = chunks(credentials.sign(plain(tmp_path / "one.png")).read_bytes())
    [data] = [body for name, body in parts if name == b"IDAT"]
    for place in (1, 700, 3000):  # of the rows, each behind a byte that names its filter
        pixels = bytearray(zlib.decompress(data))
        pixels[place] ^= 1
        changed = zlib.compress(bytes(pixels))
        path = tmp_path / "changed.png"
        path.write_bytes(png_of([(n, changed if n == b"IDAT" else body) for n, body in parts]))
        answer = credentials.verify(path)
        assert answer.state == "changed" and "dataHash.mismatch" in answer.why


@pytest.mark.parametrize("kind", KINDS)
def test_saved_anew_nothing_is_found_and_that_proves_nothing(kind, tmp_path, capsys):
    signed = credentials.sign(plain(tmp_path / f"one.{kind}"))
    with Image.open(signed) as image:
        image.convert("RGB").save(tmp_path / f"anew.{kind}")
    assert credentials.verify(tmp_path / f"anew.{kind}").state == "none"
    assert main.run(["verify", str(tmp_path / f"anew.{kind}")]) == 0
    assert "proves nothing" in " ".join(capsys.readouterr().out.split())


def test_what_souron_drew_is_signed_as_drawn(tmp_path):
    image = Image.fromarray(NOISE)
    for name, source in (("drawn", GENERATED), ("edited", EDITED)):
        path = tmp_path / f"{name}.png"
        mark = Mark(**{**DRAWN.as_json(), "digital_source_type": source})
        provenance.save(image, path, mark)
        signed = credentials.sign(path)
        assert credentials.verify(signed).made == source
        assert provenance.read(signed) == mark  # its own mark stays


def test_another_computers_name_is_only_a_name(tmp_path, monkeypatch, keys):
    signed = credentials.sign(plain(tmp_path / "one.png"))
    root = signing_keys.read_pem(keys / "root.pem")
    monkeypatch.setenv("SOURON_KEYS", str(tmp_path / "mine"))
    stranger = credentials.verify(signed)
    assert (stranger.state, stranger.trusted, stranger.here) == ("signed", False, False)
    credentials.sign(plain(tmp_path / "two.png"))  # this computer has a root of its own now
    known = credentials.verify(signed, [root])
    assert (known.state, known.trusted, known.here) == ("signed", True, False)


def test_signed_twice_it_is_whole_and_the_first_signature_stays_within(tmp_path):
    first = credentials.sign(plain(tmp_path / "one.png"))
    second = credentials.sign(first, tmp_path / "two.png")
    assert credentials.verify(second).state == "signed"
    assert second.stat().st_size > first.stat().st_size + 3000


def test_the_key_is_this_users_alone_and_no_key_of_the_root_is_kept(tmp_path, keys):
    credentials.sign(plain(tmp_path / "one.png"))
    assert sorted(p.name for p in keys.iterdir()) == ["root.pem", "signer.key", "signer.pem"]
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in keys.iterdir())
    key = (keys / "signer.key").read_bytes()
    credentials.sign(plain(tmp_path / "two.png"))
    assert (keys / "signer.key").read_bytes() == key
    (keys / "signer.key").unlink()
    with pytest.raises(UserError) as caught:  # never made anew over what is there
        credentials.sign(plain(tmp_path / "three.png"))
    assert caught.value.code == "keys"


def test_nothing_is_overwritten(tmp_path):
    path = plain(tmp_path / "one.png")
    (tmp_path / "one.signed.png").write_text("mine")
    with pytest.raises(UserError) as caught:
        credentials.sign(path)
    assert caught.value.code == "exists" and (tmp_path / "one.signed.png").read_text() == "mine"


def test_only_a_valid_signature_over_the_picture_without_a_grave_fault_is_whole():
    signature, image = "claimSignature.validated", "assertion.dataHash.match"

    def state(passed, failed=""):
        told = {"success": [{"code": code} for code in passed], "failure": [{"code": failed}] if failed else []}
        return credentials._answer({"validation_results": {"activeManifest": told}}, True).state

    assert state([signature, image]) == "signed"
    assert state([signature]) == state([image]) == "changed"
    assert state([signature, image], "assertion.hashedURI.mismatch") == "changed"
    assert state([signature, image], "signingCredential.untrusted") == "signed"


# files of strangers


def test_two_manifests_and_a_broken_one_are_no_whole_signature(tmp_path):
    parts = chunks(credentials.sign(plain(tmp_path / "one.png")).read_bytes())
    [(at, manifest)] = [(i, body) for i, (name, body) in enumerate(parts) if name == b"caBX"]
    made = {
        "two": [*parts[:at], parts[at], *parts[at:]],
        "cut": [*parts[:at], (b"caBX", manifest[: len(manifest) // 2]), *parts[at + 1 :]],
        "junk": [*parts[:at], (b"caBX", b"\xff" * 2000), *parts[at + 1 :]],
        "huge": [*parts[:at], (b"caBX", manifest + bytes(40_000_000)), *parts[at + 1 :]],
    }
    for name, changed in made.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(png_of(changed))
        assert credentials.verify(path).state == "changed", name


@pytest.mark.parametrize(
    "content, code",
    [
        (b"", "empty file"),
        (b"hello" * 99, "not an image"),
        (b"BM" + bytes(60), "unreadable"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50_000_000), "too large"),
    ],
    ids=["empty", "text", "bitmap", "50 MB"],
)
def test_what_carries_no_signature_is_refused_with_a_reason(content, code, tmp_path):
    path = tmp_path / "one.png"
    path.write_bytes(content)
    for asked in (credentials.sign, credentials.verify):
        with pytest.raises(UserError) as caught:
            asked(path)
        assert caught.value.code == code and caught.value.exit == 3
    assert not (tmp_path / "one.signed.png").exists()


def test_a_bitmap_carries_none(tmp_path):
    with pytest.raises(UserError) as caught:
        credentials.sign(plain(tmp_path / "one.bmp"))
    assert caught.value.code == "format" and "PNG" in caught.value.expected


def test_without_the_extra_it_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert main.run(["verify", str(plain(tmp_path / "one.png"))]) == 4
    assert 'pip install "souron[credentials]"' in capsys.readouterr().err


def test_without_a_folder_to_write_in_it_says_so(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOURON_KEYS", str(tmp_path / "file" / "keys"))
    with pytest.raises(UserError) as caught:
        credentials.sign(plain(tmp_path / "one.png"))
    assert caught.value.code == "disk" and caught.value.exit == 4
    assert credentials.verify(plain(tmp_path / "two.png")).state == "none"


def test_the_commands_answer_programs(tmp_path, capsys):
    path = plain(tmp_path / "one.png")
    assert main.run(["sign", str(path), "--json"]) == 0
    signed = json.loads(capsys.readouterr().out)["signed"]
    assert main.run(["verify", signed, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["signer"], told["trusted"]) == ("signed", "souron on this computer", True)
    (tmp_path / "text.png").write_text("x" * 99)
    assert main.run(["verify", str(tmp_path / "*.png"), "--json"]) == 3  # one cannot be read
    told = json.loads(capsys.readouterr().out)["files"]
    assert [row.get("state") for row in told] == ["none", "signed", None]


@pytest.mark.skipif(not shut.possible(), reason="seccomp is Linux's")
def test_no_internet_socket_is_opened(tmp_path):
    assert shut.python("import socket; socket.socket()").returncode == -31  # SIGSYS: it is shut
    path = plain(tmp_path / "one.png")
    far = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-'
        'rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/"'
        ' dcterms:provenance="http://127.0.0.1:9/far.c2pa"/></rdf:RDF></x:xmpmeta>'
    )
    stream = io.BytesIO()
    Image.fromarray(NOISE).save(stream, "JPEG", xmp=far.encode())
    (tmp_path / "far.jpg").write_bytes(stream.getvalue())
    code = (
        "from pathlib import Path\nfrom souron.kinds.codecs import credentials as c\n"
        "print(c.verify(c.sign(Path(sys.argv[1]))).state, c.verify(Path(sys.argv[2])).state)"
    )
    done = shut.python(code, str(path), str(tmp_path / "far.jpg"))
    assert done.stdout.split() == ["signed", "none"], done.stderr
