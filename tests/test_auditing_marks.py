"""Marks in sounds, scores, videos and pages, and what they say of how a thing was asked for."""

import io
import json
import random
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
from dropping import dropped, made_run, ramp, source, tone
from PIL import Image

from souron import model as models_api
from souron import registry
from souron.cli import main
from souron.kinds.before_after import BeforeAfter
from souron.kinds.codecs import containers, moving, provenance
from souron.kinds.codecs.provenance import GENERATED, Mark
from souron.kinds.picture import Picture
from souron.kinds.sound import Sound
from souron.kinds.video import Video
from souron.utils import files as file_utils
from souron.utils.messages import UserError

SETTINGS = {
    "prompt": "夕焼けの二羽の鳥, <script>alert('\"&')</script> 🐦\nand a 'cat'",
    "negative": "",
    "steps": 20,
    "guidance": 4.5,
    "sampler": "ddim",
    "mask": None,
    "tiled": True,
    "hints": [1, 2.5, "a"],
}
MARK = Mark("souron", "0.1.0", "latent_diffusion_small", '写真 & <b> "x"', "0123456789abcdef", 3, 7, settings=SETTINGS)
NOTES = b"\0\x90\x3c\x40\x60\x3c\0\0\xff\x2f\0"  # a note on and, by running status, off
PAGE = (
    "<!DOCTYPE html>\n<html lang='ja'><head><meta charset='utf-8'><title>頁</title></head>"
    "<body><h1>見出し</h1></body></html>"
)


def midi(*events: bytes) -> bytes:
    tracks = b"".join(b"MTrk" + len(track).to_bytes(4) + track for track in events)
    return b"MThd" + struct.pack(">IHHH", 6, 1, len(events), 96) + tracks


def film(path: Path, **options) -> Path:
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for shade in (0, 80, 160):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), shade, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def written(kind: str, folder: Path) -> Path:
    """A file of that kind without a mark."""
    path = folder / f"結果.{kind}"
    if kind == "wav":
        tone().save(path)
    elif kind == "mp4":
        film(path)
    elif kind == "mid":
        path.write_bytes(midi(b"\0\xff\x51\x03\x07\xa1\x20\0\xff\x2f\0", NOTES))
    elif kind == "html":
        path.write_text(PAGE, encoding="utf-8")
    else:
        ramp().save(path)
    return path


KINDS = ("wav", "mp4", "mid", "html", "png")


@pytest.mark.parametrize("kind", KINDS)
def test_a_mark_is_added_and_read_with_all_settings(kind, tmp_path):
    path = written(kind, tmp_path)
    assert provenance.look(path) == (None, "")  # a stranger's
    provenance.add(path, MARK)
    assert provenance.look(path) == (MARK, GENERATED)
    assert provenance.settings_of(path) == {"seed": 3, **SETTINGS}
    assert [path] == list(tmp_path.iterdir())
    path.rename(tmp_path / "renamed")  # what it is its bytes tell
    assert provenance.read(tmp_path / "renamed") == MARK


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "gif"])
def test_pictures_say_how_they_were_asked_for(kind, tmp_path):
    path = tmp_path / f"one.{kind}"
    provenance.save(ramp().image, path, MARK)
    assert provenance.settings_of(path) == {"seed": 3, **SETTINGS}
    packet = provenance.xmp(MARK)
    assert provenance.read_mark(packet) == MARK
    ElementTree.fromstring(packet[packet.index("<x:") : packet.index("<?xpacket end")])


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_a_photograph_that_was_changed_is_told_from_a_generated_one(kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    BeforeAfter(ramp(), ramp(80, 60), mark=MARK).save(path)
    edited = replace(MARK, digital_source_type=provenance.EDITED)
    assert provenance.look(path) == (edited, provenance.EDITED)
    assert provenance.read_mark(provenance.xmp(edited)) == edited
    with Image.open(path) as image:
        assert image.size == (80, 60)
    assert provenance.look(tmp_path / "a.original.png") == (None, "")


def test_a_sound_is_heard_as_before_and_other_programs_see_the_mark(tmp_path):
    path = written("wav", tmp_path)
    before = Sound.read(path).samples
    provenance.add(path, MARK)
    assert (Sound.read(path).samples == before).all()
    with av.open(str(path)) as container:
        assert json.loads(container.metadata["comment"])["settings"] == SETTINGS
        assert sum(frame.samples for frame in container.decode(audio=0)) == len(before)
    odd = Sound(np.zeros(3), 8000).encoded()
    (tmp_path / "odd.wav").write_bytes(odd[:-2] + b"\x07")  # one byte too few for its last sample
    raw = bytearray((tmp_path / "odd.wav").read_bytes())
    raw[4:8], raw[40:44] = struct.pack("<I", len(raw) - 8), struct.pack("<I", 5)
    (tmp_path / "odd.wav").write_bytes(raw)
    provenance.add(tmp_path / "odd.wav", MARK)
    assert provenance.read(tmp_path / "odd.wav") == MARK


@pytest.mark.parametrize("options", [{}, {"options": {"movflags": "faststart"}}])
def test_a_video_plays_as_before(options, tmp_path):
    path = film(tmp_path / "a.mp4", **options)
    before = Video.read(path).frames
    provenance.add(path, MARK)
    assert (Video.read(path).frames == before).all() and provenance.read(path) == MARK


def test_a_video_is_marked_as_it_is_written_and_keeps_that_when_copied(tmp_path):
    text = json.dumps(MARK.as_json())
    with moving.Writer(tmp_path / "a.mp4", 8, comment=text) as writer:
        for shade in (0, 100):
            writer.write(np.full((16, 32, 3), shade, np.uint8))
    assert provenance.read(tmp_path / "a.mp4") == MARK
    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(tmp_path / "b.mp4"), "w") as copy:
        copy.metadata.update(source.metadata)
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    assert provenance.read(tmp_path / "b.mp4") == MARK


def test_a_score_keeps_its_events_and_its_time(tmp_path):
    path = written("mid", tmp_path)
    before = path.read_bytes()
    provenance.add(path, MARK)
    after = path.read_bytes()
    text = json.dumps(MARK.as_json()).encode()
    begin = after.index(text)
    assert after[begin - 5 : begin - 2] == b"\0\xff\x01"  # at once: the notes' time is as it was
    length = len(text) + 5
    first = before.index(b"MTrk") + 4
    whole = after[: begin - 5] + after[begin + len(text) :]
    assert int.from_bytes(after[first : first + 4]) == 11 + length
    assert whole[:first] + before[first : first + 4] + whole[first + 4 :] == before
    late = midi(NOTES, b"\0\xf0\x02\x01\xf7\x81\x00\xff\x01" + bytes([len(b"hi")]) + b"hi" + NOTES)
    path.write_bytes(late)
    assert containers.read(path, "MIDI").own == ["hi"]


def test_a_page_holds_the_mark_as_text_and_its_charset_stays_first(tmp_path):
    path = written("html", tmp_path)
    provenance.add(path, MARK)
    raw = path.read_bytes()
    assert raw.index(b"charset") < 1024 and raw.startswith(b"<!DOCTYPE html>")
    tags, metas = [], {}

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append(tag)
            about = dict(attrs)
            metas.update({about["name"]: about["content"]} if "name" in about else {})

    Reader().feed(raw.decode())
    assert "script" not in tags and metas["digitalSourceType"] == GENERATED
    assert json.loads(metas["souron"])["settings"] == SETTINGS
    for bare in ("<!doctype html><p>x", "<html><p>x", "\ufeff <!-- a -->\n<!DOCTYPE HTML><HEAD>"):
        path.write_text(bare, encoding="utf-8")
        provenance.add(path, MARK)
        assert provenance.read(path) == MARK


@pytest.mark.parametrize("kind, name", [("wav", b"_PMX"), ("mp4", b"uuid")])
def test_sounds_and_videos_hold_the_xmp_that_iptc_asks_for(kind, name, tmp_path):
    path = written(kind, tmp_path)
    provenance.add(path, MARK)
    raw = path.read_bytes()
    assert name in raw
    packet = raw[raw.index(b"<x:xmpmeta") : raw.index(b"</x:xmpmeta>") + 12]
    [about] = ElementTree.fromstring(packet).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert about.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType") == GENERATED
    assert json.loads(about.get(f"{{{provenance.SPACE}}}settings")) == SETTINGS


def test_what_others_say_of_their_files_is_passed_on(tmp_path):
    said = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    page = f"<!doctype html><meta content='{said}' name='digitalSourceType'>"
    (tmp_path / "a.html").write_text(page)
    assert provenance.look(tmp_path / "a.html") == (None, said)
    film(tmp_path / "a.mp4")
    packet = f"<rdf:li><x:DigitalSourceType>{said}</x:DigitalSourceType></rdf:li>".encode()
    box = containers.XMP_BOX + packet
    with (tmp_path / "a.mp4").open("ab") as stream:
        stream.write((len(box) + 8).to_bytes(4) + b"uuid" + box)
    assert provenance.look(tmp_path / "a.mp4") == (None, said)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_end_in_a_message_or_in_nothing(kind, tmp_path):
    path = written(kind, tmp_path)
    provenance.add(path, MARK)
    whole, chance, codes = path.read_bytes(), random.Random(0), set()
    for trial in range(150):
        damaged = bytearray(whole)
        if trial % 2:
            for _byte in range(chance.randint(1, 6)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged if trial % 2 else damaged[: chance.randrange(len(damaged))])
        for do in (provenance.read, lambda path: provenance.add(path, MARK)):
            try:
                do(path)
            except UserError as trouble:
                codes.add(trouble.code)
                assert trouble.found and trouble.exit == 3
    # a page may end anywhere
    assert codes & ({"not an image"} if kind == "html" else {"truncated"})


@pytest.mark.parametrize(
    "raw",
    [
        b"RIFF\xff\xff\xff\x7fWAVE",
        b"RIFF\x20\0\0\0WAVELIST\xff\xff\xff\x7fINFO" + bytes(40),
        b"\0\0\0\x10ftypisom\0\0\0\0\x7f\0\0\0moov",
        b"\0\0\0\x08ftyp\0\0\0\x01moov" + b"\xff" * 8,
        b"\0\0\0\x08ftyp\0\0\0\x01moov" + bytes(8),  # a box of no length would never end
        b"\0\0\0\x08ftyp\0\0\0\x04moov" + bytes(80),
        b"MThd\0\0\0\x06\0\0\0\x01\0\x60MTrk\x7f\0\0\0" + bytes(20),
        b"MThd\xff\xff\xff\xff",
        midi(b"\0\xff\x01\xff\xff\xff\x7f"),
        midi(b"\0\x01\x02"),  # goes on with a status that there was not
        midi(b"\xff\xff\xff\xff\xff"),
    ],
)
def test_files_that_lie_about_their_lengths_are_refused(raw, tmp_path):
    (tmp_path / "a").write_bytes(raw)
    for do in (provenance.read, lambda path: provenance.add(path, MARK)):
        with pytest.raises(UserError) as trouble:
            do(tmp_path / "a")
        assert trouble.value.code == "truncated" and (tmp_path / "a").read_bytes() == raw


def test_headers_without_end_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "MOST_STEPS", 10)
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x08free" * 500)
    (tmp_path / "a.mid").write_bytes(midi(b"\0\xff\x01\x01a" * 500))
    assert provenance.read(tmp_path / "a.mp4") is None
    assert len(containers.read(tmp_path / "a.mid", "MIDI").own) == 10


def test_other_files_are_refused_with_what_can_be_read(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"ID3\x03" + bytes(500))
    (tmp_path / "a.txt").write_text("no page")
    (tmp_path / "a.svg").write_text("<svg></svg>")
    for name in ("a.mp3", "a.txt", "a.svg"):
        for do in (provenance.read, lambda path: provenance.add(path, MARK)):
            with pytest.raises(UserError) as trouble:
                do(tmp_path / name)
            assert trouble.value.code == "not an image" and "MIDI" in trouble.value.expected
    ramp().save(tmp_path / "a.bmp")
    before = (tmp_path / "a.bmp").read_bytes()
    with pytest.raises(UserError) as trouble:
        provenance.add(tmp_path / "a.bmp", MARK)
    assert trouble.value.code == "format" and (tmp_path / "a.bmp").read_bytes() == before
    streamed = bytearray(tone().encoded())
    streamed[4:8] = b"\xff\xff\xff\xff"  # written as it came
    (tmp_path / "a.wav").write_bytes(streamed)
    assert provenance.read(tmp_path / "a.wav") is None
    with pytest.raises(UserError) as trouble:
        provenance.add(tmp_path / "a.wav", MARK)
    assert trouble.value.code == "format"


def test_a_png_keeps_its_pixels_bit_for_bit(tmp_path):
    deep = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300
    Image.fromarray(deep).save(tmp_path / "a.png")
    provenance.add(tmp_path / "a.png", MARK)
    assert provenance.read(tmp_path / "a.png") == MARK
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "I;16" and (np.asarray(image) == deep).all()
    assert Picture.read(tmp_path / "a.png").size == (8, 6)


def test_a_file_that_says_nothing_has_no_settings(tmp_path):
    ramp().save(tmp_path / "a.png")
    with pytest.raises(UserError) as trouble:
        provenance.settings_of(tmp_path / "a.png")
    assert trouble.value.code == "no mark" and trouble.value.expected and trouble.value.exit == 3
    provenance.save(ramp().image, tmp_path / "b.png", Mark(*"abcde", seed=5))
    assert provenance.settings_of(tmp_path / "b.png") == {"seed": 5}


def run(folder: Path) -> Path:
    (folder / "weights").mkdir()
    file_utils.write_tensors(folder / "weights" / "best.safetensors", {}, {})
    return folder


def test_settings_are_kept_as_json_and_files_by_their_names_alone(tmp_path):
    args = {"system": "a", "data": "b"}
    given = {"image": Path("/home/tanaka/患者.png"), "points": ((1, 2),), "x": float("nan")}
    mark = provenance.mark(run(tmp_path), args, 1, given)
    assert mark.settings == {"image": "患者.png", "points": [[1, 2]], "x": "nan"}
    with pytest.raises(UserError) as trouble:
        provenance.mark(tmp_path, args, 1, {"steps": 3, "prompt": "鳥" * 5000})
    assert trouble.value.code == "too large" and "prompt" in trouble.value.found
    longest = provenance.mark(tmp_path, args, 1, {"prompt": '"' * 11_900})
    for kind in ("png", "jpg", "webp", "gif"):  # Exif and XMP have room for it
        provenance.save(ramp().image, tmp_path / f"a.{kind}", longest)
        assert provenance.read(tmp_path / f"a.{kind}") == longest


@pytest.mark.parametrize(
    "given, kept",
    [
        ([1], {}),
        ("x", {}),
        ("[" * 3000, {}),
        (5, {}),
        ({"../a": 1, "A": 1, "a" * 41: 1, "": 1, "ok": 1}, {"ok": 1}),
        ({"a": {"b": 1}, "c": [[1], {"d": 1}, 2]}, {"a": None, "c": [2]}),
        ({"prompt": "\x1b[2Ja\nb"}, {"prompt": "?[2Ja\nb"}),
        ({f"a{i}": i for i in range(500)}, {f"a{i}": i for i in range(100)}),
    ],
)
def test_settings_of_strangers_are_taken_only_where_they_may_be_some(given, kept, tmp_path):
    told = json.dumps({**MARK.as_json(), "settings": given})
    page = PAGE.replace("<title>", f'<meta name="souron" content="{escape(told)}"><title>')
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    assert provenance.read(tmp_path / "a.html").settings == kept


def test_the_command_reads_all_of_them(tmp_path, capsys):
    for kind in KINDS:
        provenance.add(written(kind, tmp_path), MARK)
    (tmp_path / "b.wav").write_bytes(tone().encoded())
    assert main.run(["audit", "provenance", str(tmp_path)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("generated by latent_diffusion_small") == 5 and "nothing" in told
    assert "steps=20" in told and "🐦 and" in told  # in one line
    assert main.run(["audit", "provenance", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["files"]
    assert sum(row["mark"] is not None for row in rows) == 5
    assert next(row for row in rows if row["mark"])["mark"]["settings"] == SETTINGS
    BeforeAfter(ramp(), ramp(), mark=MARK).save(tmp_path / "z" / "c.png")
    assert main.run(["audit", "provenance", str(tmp_path / "z" / "c.png")]) == 0
    assert "edited by latent_diffusion_small" in " ".join(capsys.readouterr().out.split())


def test_a_gif_says_it_in_its_comment_too(tmp_path):
    provenance.save(ramp().image, tmp_path / "a.gif", MARK)
    with Image.open(io.BytesIO((tmp_path / "a.gif").read_bytes())) as image:
        assert json.loads(image.info["comment"])["settings"] == SETTINGS


@pytest.mark.parametrize("learns", [True, False])
def test_a_picture_that_a_trained_system_changed_is_marked_when_it_is_saved(learns, tmp_path):
    text = source("before_after").replace("needs_fit = False", f"needs_fit = {learns}")
    with dropped(tmp_path, {"editor": text}):
        kind, config = registry.load_system("editor_tiny")
        system = kind(config, kind.spec_for(None))
        place = made_run(tmp_path / "run", "editor_tiny", system, config, system.spec)
        ramp().save(tmp_path / "a.png")
        loaded = models_api.load(place)
        [(file, said)] = models_api.predict(loaded, [tmp_path / "a.png"], count=3, way="up")
        saved = models_api.keep(said, file, tmp_path / "out")
    found, kind = provenance.look(saved)
    if not learns:
        assert (found, kind) == (None, "")
        return
    assert (found.system, found.seed, kind) == ("editor_tiny", 0, provenance.EDITED)
    assert provenance.settings_of(saved) == {"given": "a.png", "seed": 0, "count": 3, "way": "up"}
