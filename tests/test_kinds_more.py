"""Kinds beside labels: what they hold, files there and back, and whatever else lies in a file."""

import io
import json
import random
import re
import struct
import sys
import types
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from dropping import film, pyramid, ramp, scanned, tone, tune
from PIL import Image
from pycocotools import mask as pycocotools
from scipy.io import wavfile

from souron.data.readers import outlines
from souron.kinds import files, gallery, mesh, video
from souron.kinds.before_after import BeforeAfter
from souron.kinds.boxes import Boxes
from souron.kinds.chat import Chat, Turn
from souron.kinds.codecs import grid, limits, moving
from souron.kinds.finding import Finding
from souron.kinds.gallery import Gallery
from souron.kinds.graphics import contour
from souron.kinds.kind import Kind
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.labels import Labels
from souron.kinds.mask import NAMES, Mask
from souron.kinds.mesh import Mesh
from souron.kinds.page import Page
from souron.kinds.passages import Passage, Passages
from souron.kinds.picture import Picture
from souron.kinds.plot import Plot, Series
from souron.kinds.points import Points
from souron.kinds.poses import Poses
from souron.kinds.question import Question
from souron.kinds.ranking import Ranking
from souron.kinds.score import Score
from souron.kinds.segments import Segments
from souron.kinds.sound import Sound
from souron.kinds.spans import Span, Spans
from souron.kinds.table import Table
from souron.kinds.text import Text
from souron.kinds.tokens import Tokens
from souron.kinds.transcript import Piece, Transcript
from souron.kinds.video import Video
from souron.utils import plotting
from souron.utils.messages import UserError

HOSTILE = "<script>'\"&"  # in every place where a name can stand
BOX = Boxes(ramp(), [[2, 3, 20, 15], [0, 0, 40, 30]], ["猫", HOSTILE], [0.9, 0.25])
AREAS = Mask(ramp(), np.arange(30)[:, None] // 10 + np.zeros((30, 40), int), ["", "胃", HOSTILE])
OBJECTS = Mask(ramp(), np.stack([AREAS.area >= 1, AREAS.area == 2]), ["a", HOSTILE], [0.5, 0.8])
PLACES = Points(ramp(), [[5, 5], [30, 20]], ["S", HOSTILE], [0.4, 0.6], [(0, 1)])
ALL = {
    "picture": ramp(),
    "labels": Labels(HOSTILE, ["猫", HOSTILE], [0.75, 0.25]),
    "boxes": BOX,
    "mask": AREAS,
    "segments": Segments(ramp(), AREAS.area, ["胃", HOSTILE], [True, False]),
    "points": PLACES,
    "poses": Poses(ramp(), [[2, 3, 20, 15]], [HOSTILE], [[[5, 5], [9, 9]]], ["猫", HOSTILE]),
    "gallery": Gallery([ramp(), ramp(8, 9)], ["猫", HOSTILE]),
    "video": film(),
    "sound": tone(),
    "text": Text(HOSTILE),
    "tokens": Tokens.of(HOSTILE, [7, 8], [HOSTILE[:3].encode(), HOSTILE[3:].encode()], [1.0, 9.0]),
    "chat": Chat([("user", "猫"), ("assistant", HOSTILE)]),
    "question": Question("猫", ("a", HOSTILE)),
    "mesh": pyramid(),
    "volume": scanned(),
    "labelled_volume": LabelledVolume(scanned(), (scanned().values > 0).astype(int) * 2, ["", "胃", HOSTILE]),
    "table": Table(["名前", HOSTILE], [["a", HOSTILE]]),
    "plot": Plot([Series(HOSTILE, [0, 1], [1, 2])], "時間 (s)", HOSTILE, HOSTILE),
    "passages": Passages("猫", [Passage(HOSTILE, 1, 1 + len(HOSTILE), 0.5)], True, f"猫{HOSTILE}"),
    "page": Page("<h1>猫&lt;script&gt;'&quot;&amp;</h1>", ["猫", HOSTILE], HOSTILE, (HOSTILE,)),
    "transcript": Transcript([Piece(0.0, 1.5, HOSTILE), Piece(1.5, 2, "猫")], "ja", 2.0),
    "spans": Spans(f"猫{HOSTILE}", [Span(HOSTILE, HOSTILE, 1, 1 + len(HOSTILE), 0.5)]),
    "score": tune(),
    "ranking": Ranking.of([HOSTILE, "猫"], [0.25, 0.5], ramp()),
    "before_after": BeforeAfter(ramp(), ramp(80, 60)),
}
READ = [name for name, thing in ALL.items() if thing.formats]


def refused(make) -> UserError:
    with pytest.raises(UserError) as caught:
        make()
    assert caught.value.found and caught.value.expected and caught.value.exit == 3
    return caught.value


def test_these_are_all_kinds_and_each_has_a_widget_of_its_own():
    assert {kind.widget for kind in (*Kind.__subclasses__(), *Finding.__subclasses__()) if kind != Finding} == set(ALL)
    assert all(thing.widget == name for name, thing in ALL.items())


@pytest.mark.parametrize("name", ALL)
def test_a_kind_tells_itself(name):
    thing = ALL[name]
    assert str(thing) and json.loads(json.dumps(thing.as_json(), ensure_ascii=False))
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, about: tags.append((tag, dict(about)))
    parser.feed(thing._repr_html_())
    assert tags and "script" not in {tag for tag, _about in tags}
    assert all(about.get("alt") for tag, about in tags if tag == "img")


@pytest.mark.parametrize("name", ALL)
def test_a_kind_knows_nothing_of_the_studio(name):
    file = Path(sys.modules[type(ALL[name]).__module__].__file__)
    assert "souron.studio" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ALL)
def test_a_kind_is_saved_under_any_name(name, tmp_path):
    thing = ALL[name]
    path = tmp_path / "新しい" / f"結果 1{thing.suffix}"
    thing.save(path)
    if not thing.suffix:
        assert len(list(path.iterdir())) == 2
        return
    assert path.stat().st_size > 0
    assert {path, *map(Path, getattr(thing, "also", ()))} == set(path.parent.iterdir())
    if name not in ("text",):
        assert refused(lambda: thing.save(tmp_path / "a.exe")).code == "format"


def test_a_disk_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError) as trouble:
        Text("a").save(tmp_path / "file" / "a.txt")
    assert trouble.value.code == "disk" and trouble.value.exit == 4


def same(first, second) -> bool:
    fields = {
        "picture": lambda t: np.asarray(t.image),
        "gallery": lambda t: np.stack([np.asarray(p.image).mean() for p in t.pictures]),
        "video": lambda t: t.frames,
        "sound": lambda t: np.round(t.samples, 3),
        "mesh": lambda t: np.sort(t.vertices[t.faces].reshape(-1, 9), 0),
        "volume": lambda t: np.vstack([t.values.reshape(-1, 4), t.affine]),
    }
    get = fields.get(first.widget)
    if get is None:
        return first.as_json() == second.as_json()
    return get(first).shape == get(second).shape and np.allclose(get(first), get(second), atol=2e-3)


ROUND = [
    ("picture", ".png"),
    ("gallery", ""),
    ("video", ".png"),
    ("sound", ".wav"),
    ("text", ".txt"),
    ("chat", ".json"),
    ("question", ".json"),
    ("ranking", ".json"),
    ("ranking", ".csv"),
    ("mesh", ".obj"),
    ("mesh", ".stl"),
    ("mesh", ".ply"),
    ("table", ".csv"),
    ("score", ".mid"),
    ("score", ".musicxml"),
    ("volume", ".nii"),
    ("volume", ".nii.gz"),
]


@pytest.mark.parametrize("name, suffix", ROUND)
def test_there_and_back(name, suffix, tmp_path):
    path = tmp_path / f"写真 'a' #1{suffix}"
    ALL[name].save(path)
    read = type(ALL[name]).read(path)
    assert same(read, ALL[name]) and read.file == str(path)


def test_every_kind_that_is_read_goes_there_and_back():
    assert {name for name, _suffix in ROUND} == set(READ)


@pytest.mark.parametrize("name", READ)
def test_what_is_no_such_file_ends_in_trouble(name, tmp_path):
    kind = type(ALL[name])
    (tmp_path / "empty").touch()
    (tmp_path / "zeros").write_bytes(bytes(1000))
    (tmp_path / "closed").symlink_to("closed")
    (tmp_path / "folder").mkdir()
    for path, codes in (
        ("missing", {"missing"}),
        ("empty", {"empty file"}),
        ("closed", {"unreadable"}),
        ("folder", {"unreadable", "not an image", "no files"}),
        ("zeros", {"not an image", "not a sound", "not a text", "not JSON", "not a mesh", "not a volume", "not music"}),
    ):
        with pytest.raises(UserError) as trouble:
            kind.read(tmp_path / path)
        assert trouble.value.code in codes and trouble.value.exit == 3, path


@pytest.mark.parametrize("name", READ)
def test_too_many_bytes_are_refused_before_they_are_read(name, tmp_path, monkeypatch):
    with (tmp_path / "huge").open("wb") as stream:
        most = grid.MOST_BYTES if name == "volume" else limits.MOST_BYTES
        stream.truncate(most + 1)  # a hole, no disk
    monkeypatch.setattr(type(tmp_path), "read_bytes", lambda path: pytest.fail("read"))
    with pytest.raises(UserError) as trouble:
        type(ALL[name]).read(tmp_path / "huge")
    assert trouble.value.code == "too large" and trouble.value.expected


KNOWN = {
    "truncated", "unreadable", "not an image", "too large", "not a sound", "not a text", "not JSON",
    "not a chat", "not a mesh", "numbers", "empty file", "no decoder", "not a volume",
    "no geometry", "not a ranking", "not music", "no notes", "too long", "extra",
}  # fmt: skip


@pytest.mark.parametrize("name, suffix", [pair for pair in ROUND if pair[1]])
def test_damaged_files_end_in_trouble_and_nothing_else(name, suffix, tmp_path):
    """Bytes changed and files cut: read, or refused with a known code; never another error."""
    chance = random.Random(0)
    path = tmp_path / f"damaged{suffix}"
    ALL[name].save(path)
    whole = path.read_bytes()
    outcomes = set()
    for trial in range(80):
        damaged = bytearray(whole)
        for _byte in range(chance.randint(1, 8)):
            damaged[chance.randrange(min(len(damaged), 300))] = chance.randrange(256)
        path.write_bytes(damaged[: chance.randrange(1, len(damaged) + 1)] if trial % 3 else damaged)
        try:
            type(ALL[name]).read(path)
            outcomes.add("read")
        except UserError as trouble:
            assert trouble.exit == (4 if trouble.code == "extra" else 3)
            outcomes.add(trouble.code)
    assert outcomes <= KNOWN | {"read"} and len(outcomes) >= 2


def test_a_picture_has_a_size_and_a_mode():
    assert ramp().size == (40, 30) and ramp().square(8, 3).shape == (3, 8, 8)
    assert refused(lambda: Picture(Image.new("RGBA", (2, 2)))).code == "numbers"
    assert refused(lambda: Picture(Image.new("L", (10_000, 5_001)))).code == "numbers"
    made = Picture.of(torch.full((3, 4, 5), 300.0))
    assert made.size == (5, 4) and made.image.getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: Boxes(ramp(), [[1, 2, 3]], ["a"]),
        lambda: Boxes(ramp(), [[9, 0, 3, 5]], ["a"]),
        lambda: Boxes(ramp(), [[0, 0, float("nan"), 5]], ["a"]),
        lambda: Boxes(ramp(), [[0, 0, 3, 5]], ["a", "b"]),
        lambda: Boxes(ramp(), [[0, 0, 3, 5]], ["a"], [1.5]),
        lambda: Boxes(ramp(), [[0, 0, 3, 5]], ["a"], [float("nan")]),
        lambda: Boxes(ramp(), [], [], [0.5]),
        lambda: Boxes(ramp(), np.zeros((2, 8)), ["a"] * 4),
        lambda: Mask(ramp(), np.zeros((40, 30), int), ["a"]),
        lambda: Mask(ramp(), np.ones((30, 40), int), ["a"]),
        lambda: Mask(ramp(), -np.ones((30, 40), int), ["a"]),
        lambda: Mask(ramp(), np.zeros((30, 40)), ["a"]),
        lambda: Mask(ramp(), np.zeros((2, 30, 40), bool), ["a"]),
        lambda: Mask(ramp(), np.zeros((30, 40), int), ["a"] * 257),
        lambda: Points(ramp(), [[1, 2, 3]], ["a"]),
        lambda: Points(ramp(), [[1, 2]], ["a"], skeleton=[(0, 1)]),
        lambda: Gallery([]),
        lambda: Gallery([ramp()], ["a", "b"]),
        lambda: Video(np.zeros((2, 3, 4), np.uint8), 5),
        lambda: Video(np.zeros((2, 3, 4, 3)), 5),
        lambda: Video(np.zeros((2, 3, 4, 3), np.uint8), 0),
        lambda: Video(np.zeros((2, 3, 4, 3), np.uint8), float("nan")),
        lambda: Sound(np.zeros(0), 8000),
        lambda: Sound(np.zeros((2, 65)), 8000),
        lambda: Sound([0.0, float("inf")], 8000),
        lambda: Sound([0.0], 0),
        lambda: Chat([("pirate", "arr")]),
        lambda: Mesh([[0, 0, 0]], [[0, 0, 1]]),
        lambda: Mesh([[0, 0, 0]], [[0, 0, -1]]),
        lambda: Mesh([[0, 0, 0]], [[0.0, 0.0, 0.0]]),
        lambda: Mesh([[0, 0, 0]], [[0, 0, 0, 0]]),
        lambda: Mesh([[0, 0, float("inf")]], []),
        lambda: Table([], []),
        lambda: Table(["a", "b"], [["1"]]),
        lambda: Score([(1, 0.0, 1.0, 60)], ["a"]),
        lambda: Score([], [], tempo=0),
        lambda: Plot([], "x", "y"),
        lambda: Plot([Series("a", [1, 2], [1])], "x", "y"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make):
    assert refused(make).code == "numbers"


def test_nothing_found_is_a_result_too():
    for empty in (
        Boxes(ramp(), [], []),
        Points(ramp(), torch.zeros(0, 2), []),
        Mask(ramp(), np.zeros((0, 30, 40), bool), []),
    ):
        assert str(empty) == "nothing found" and empty.rows() == []
        assert empty.drawn().size == (480, 360)


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    return (np.asarray(before) != np.asarray(after)).any(-1)


@pytest.mark.parametrize("marked", [BOX, AREAS, OBJECTS, PLACES], ids=lambda m: type(m).__name__)
def test_what_is_drawn_can_be_chosen(marked):
    plain = marked.drawn(shown=())
    assert not changed(plain, marked.drawn(least=1.1)).any() or not marked.found.scores
    first, second = marked.found.names
    only_first, both = marked.drawn(shown=[first]), marked.drawn()
    assert changed(plain, only_first).any() and changed(only_first, both).any()
    assert len(marked.rows()) == 2 and len(marked.rows(shown=[second])) == 1
    if marked.found.scores:
        middle = sum(marked.found.scores) / 2
        assert len(marked.rows(least=middle)) == 1


def test_a_box_is_drawn_where_it_is():
    scale = 12  # 40 x 30 pixels become 480 x 360
    drawn = Boxes(ramp(), [[20, 15, 30, 25]], [""]).drawn()
    rows, columns = changed(drawn, BOX.drawn(shown=())).nonzero()
    assert (columns.min(), rows.min()) == (20 * scale, 15 * scale)
    assert (columns.max(), rows.max()) == (30 * scale, 25 * scale)


def test_a_colour_stays_with_its_name_whatever_is_chosen():
    one = Boxes(ramp(), [[1, 1, 9, 9], [20, 15, 30, 25]], ["a", "b"])
    both, alone = one.drawn(), one.drawn(shown=["b"])
    assert both.getpixel((20 * 12, 20 * 12)) == alone.getpixel((20 * 12, 20 * 12)) == (213, 94, 0)


def test_marks_outside_the_picture_are_drawn_as_far_as_they_reach():
    assert Boxes(ramp(), [[-100, -50, 1e6, 1e6]], ["a"]).drawn().size == (480, 360)
    assert Points(ramp(), [[-1e6, 1e6]], ["a"]).drawn().size == (480, 360)


def test_areas_by_class_leave_the_ground_out_and_by_object_overlap():
    assert AREAS.rows() == [["胃", 400, "33.3%"], [HOSTILE, 400, "33.3%"]]
    assert [row[1] for row in OBJECTS.rows()] == [800, 400]
    told = AREAS.as_json()
    assert (told["width"], told["height"]) == AREAS.picture.size
    rle = told["masks"][0].pop("rle")
    assert told["masks"][0] == {"label": "胃", "score": None, "pixels": 400}
    ends = np.cumsum(rle["counts"])
    flat = np.zeros(ends[-1], bool)
    for begin, end in zip(ends[::2], ends[1::2], strict=False):
        flat[begin:end] = True
    assert np.array_equal(flat.reshape(rle["size"][::-1]).T, AREAS.inside(0))
    inside = np.array([[True, False], [True, False]])
    assert contour.runs(inside) == [0, 2, 2] and contour.runs(~inside) == [2, 2]


def test_a_saved_mask_holds_the_numbers_and_the_names(tmp_path):
    AREAS.save(tmp_path / "classes.png")
    with Image.open(tmp_path / "classes.png") as saved:
        assert np.array_equal(np.array(saved), AREAS.area)
        assert saved.text[NAMES].split("\n") == ["", "胃", HOSTILE]
    OBJECTS.save(tmp_path / "objects.png")
    with Image.open(tmp_path / "objects.png") as saved:
        numbers = np.array(saved)
    assert np.array_equal(numbers, OBJECTS.area[0].astype(int) + OBJECTS.area[1])
    many = Mask(ramp(), np.eye(1200, dtype=bool).reshape(1200, 30, 40), ["a"] * 1200)
    many.save(tmp_path / "many.png")
    with Image.open(tmp_path / "many.png") as saved:
        assert np.array_equal(np.array(saved).ravel(), np.arange(1, 1201))
    more = Mask(Picture(Image.new("L", (1, 1))), np.zeros((65_536, 1, 1), bool), ["a"] * 65_536)
    assert refused(lambda: more.save(tmp_path / "more.png")).code == "numbers"


def test_masks_of_objects_are_saved_as_other_tools_read_them(tmp_path):
    inside = np.random.default_rng(0).random((4, 30, 40)) < np.array([0.1, 0.5, 0, 1])[:, None, None]
    found = Mask(ramp(), inside, ["b", "a", "b", "b"], [0.5, 0.8, 0.7, 0.6], ("a", "b"))
    found.save(tmp_path / "a.coco.json")
    said = json.loads((tmp_path / "a.coco.json").read_text())
    assert [one["category_id"] for one in said] == [2, 1, 2, 2] and said[1]["score"] == 0.8
    for one, area in zip(said, inside, strict=True):
        packed = pycocotools.encode(np.asfortranarray(area.astype(np.uint8)))
        assert one["segmentation"] == {**packed, "counts": packed["counts"].decode()}
        assert one["bbox"] == pycocotools.toBbox(packed).tolist()
    found.save(tmp_path / "a.txt")
    lines = [line.split() for line in (tmp_path / "a.txt").read_text().splitlines()]
    assert [line[0] for line in lines] == ["1", "0", "1"]
    for line, area in zip(lines, inside[[0, 1, 3]], strict=True):
        corner = np.array(line[1:], float).reshape(-1, 2) * (40, 30)
        assert np.array_equal(outlines.filled([corner], 40, 30).whole(40, 30), area)
    found.save(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == found.as_json()
    unknown = Mask(ramp(), inside, ["b", "a", "c", "b"], (), ("a", "b"))
    assert refused(lambda: unknown.save(tmp_path / "b.txt")).code == "numbers"
    assert refused(lambda: unknown.save(tmp_path / "b.svg")).code == "format"


def test_an_outline_gives_its_mask_again_in_pixels_and_in_shares():
    random = np.random.default_rng(0)
    for _case in range(200):
        size = random.integers(1, 25, 2)  # width, height
        inside = random.random(size[::-1]) < random.random()
        corner = np.array(contour.outline(inside), float).reshape(-1, 2)
        for line in (corner, (corner / size).round(6) * size):
            found = outlines.filled([line], *size) if len(line) else outlines.filled([], *size)
            assert np.array_equal(found.whole(*size), inside)


def test_a_window_has_the_runs_of_its_picture():
    random = np.random.default_rng(0)
    for _case in range(50):
        high, wide = random.integers(1, 9, 2)
        inside = random.random((high, wide)) < random.random()
        above, beside = random.integers(0, 2, (2, 2)).tolist()
        whole = np.pad(inside, (above, beside))
        runs = contour.runs(inside, beside[0], above[0], whole.shape[::-1])
        packed = pycocotools.encode(np.asfortranarray(whole.astype(np.uint8)))
        assert runs == contour.runs(whole) and contour.letters(runs) == packed["counts"].decode()


def test_found_things_are_saved_as_numbers_too(tmp_path):
    for thing in (BOX, PLACES):
        thing.save(tmp_path / "a.json")
        assert json.loads((tmp_path / "a.json").read_text("utf-8")) == thing.as_json()
    assert BOX.as_json()["boxes"][0] == {"label": "猫", "score": pytest.approx(0.9), "xyxy": [2, 3, 20, 15]}


def test_a_gallery_is_a_folder_in_the_order_of_names(tmp_path):
    for name, side in (("b.png", 9), ("a.png", 8), (".hidden.png", 7)):
        ramp(side, side).save(tmp_path / name)
    read = Gallery.read(tmp_path)
    assert [p.size for p in read.pictures] == [(8, 8), (9, 9)]
    assert read.captions == ("a.png", "b.png")


def test_too_many_pictures_are_refused_on_the_way(tmp_path, monkeypatch):
    ramp().save(tmp_path / "a.png")
    monkeypatch.setattr(gallery, "MOST", 3)
    with pytest.raises(UserError) as trouble:
        Gallery.of([tmp_path / "a.png"] * 1000)
    assert trouble.value.code == "too large"
    monkeypatch.setattr(gallery, "MOST_PIXELS", 40 * 30)
    with pytest.raises(UserError):
        Gallery.of([tmp_path / "a.png"] * 2)


@pytest.mark.parametrize("suffix", [".webp", ".gif", ".png"])
def test_a_video_keeps_its_frames_and_its_rate(suffix, tmp_path):
    film().save(tmp_path / f"動画{suffix}")
    read = Video.read(tmp_path / f"動画{suffix}")
    assert read.frames.shape == film().frames.shape
    assert read.rate == pytest.approx(8, abs=0.5) and read.seconds == pytest.approx(0.5, abs=0.05)
    assert np.abs(read.frames.astype(int) - film().frames).max() < 12
    assert read.picture(2).size == (16, 12)


def test_a_video_is_saved_as_mp4_where_that_can_be_written(tmp_path, monkeypatch):
    odd = Video(np.repeat(np.repeat(film().frames, 3, 1), 3, 2)[:, :35, :47], 8.0)
    odd.save(tmp_path / "動画.mp4")
    read = Video.read(tmp_path / "動画.mp4")
    assert read.frames.shape == (4, 34, 46, 3) and read.rate == pytest.approx(8)
    assert np.abs(read.frames.astype(int) - odd.frames[:, :34, :46]).max() < 12
    assert [tmp_path / "動画.mp4"] == list(tmp_path.iterdir())
    thin = Video(odd.frames[:, :1], 8.0)
    assert refused(lambda: thin.save(tmp_path / "a.mp4")).code == "numbers"
    monkeypatch.setattr(moving, "decodes", lambda: False)
    with pytest.raises(UserError) as trouble:
        odd.save(tmp_path / "b.mp4")
    assert trouble.value.code == "extra" and not (tmp_path / "b.mp4").exists()


def test_a_still_picture_is_a_video_of_one_frame(tmp_path):
    ramp().save(tmp_path / "a.png")
    read = Video.read(tmp_path / "a.png")
    assert read.frames.shape == (1, 30, 40, 3) and read.rate == video.USUAL


def test_a_video_is_bounded_before_it_is_in_memory(tmp_path, monkeypatch):
    film(20).save(tmp_path / "a.gif")
    decoded = []
    colour = moving._colour
    monkeypatch.setattr(moving, "_colour", lambda frame: decoded.append(1) or colour(frame))
    monkeypatch.setattr(video, "MOST_FRAMES", 5)
    with pytest.raises(UserError) as trouble:
        Video.read(tmp_path / "a.gif")
    assert trouble.value.code == "too large" and len(decoded) == 6
    monkeypatch.setattr(video, "MOST_FRAMES", 50)
    monkeypatch.setattr(video, "MOST_PIXELS", 3 * 12 * 16)
    with pytest.raises(UserError) as trouble:
        Video.read(tmp_path / "a.gif")
    assert trouble.value.code == "too large"


def test_pages_that_grow_are_refused_before_they_are_decoded(tmp_path):
    first, second = Image.new("1", (8, 8)), Image.new("1", (9000, 9000))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second], compression="group4")
    assert (tmp_path / "a.tif").stat().st_size < 100_000
    with pytest.raises(UserError) as trouble:
        Video.read(tmp_path / "a.tif")
    assert trouble.value.code == "unreadable"


MP4 = b"\0\0\0\x18ftypmp42" + bytes(50)


@pytest.mark.parametrize("begins", [MP4, b"\x1aE\xdf\xa3" + bytes(50), b"RIFF\0\0\0\0AVI LIST"])
def test_without_a_decoder_a_video_says_what_is_missing(begins, tmp_path, monkeypatch):
    monkeypatch.setattr(moving, "decodes", lambda: False)
    (tmp_path / "a.mp4").write_bytes(begins)
    with pytest.raises(UserError) as trouble:
        Video.read(tmp_path / "a.mp4")
    assert (trouble.value.code, trouble.value.exit) == ("extra", 4)
    assert trouble.value.fix == 'pip install "souron[video]"'


class Stream:
    """What ``av`` gives of a file: frames without end."""

    width, height, average_rate = 16, 12, 25

    time = None

    def __init__(self, *given, format=None, metadata_errors="strict"):
        self.streams = types.SimpleNamespace(video=[self])

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def decode(self, stream):
        while True:
            yield self

    def to_ndarray(self, format):
        assert format == "rgb24"
        return np.zeros((12, 16, 3), np.uint8)


def test_with_a_decoder_the_same_limits_hold(tmp_path, monkeypatch):
    """``av`` itself is no dependency: a stand-in with its few names."""
    stand_in = types.SimpleNamespace(open=Stream, FFmpegError=RuntimeError)
    monkeypatch.setitem(sys.modules, "av", stand_in)
    monkeypatch.setattr(moving, "decodes", lambda: True)
    monkeypatch.setattr(video, "MOST_FRAMES", 7)
    (tmp_path / "a.mp4").write_bytes(MP4)
    with pytest.raises(UserError) as trouble:
        Video.read(tmp_path / "a.mp4")
    assert trouble.value.code == "too large"
    monkeypatch.setattr(Stream, "decode", lambda self, stream: iter([self] * 5))
    assert (Video.read(tmp_path / "a.mp4").rate, len(Video.read(tmp_path / "a.mp4").frames)) == (25, 5)
    monkeypatch.setattr(Stream, "decode", lambda self, stream: iter([1 / 0]))
    with pytest.raises(UserError) as trouble:
        Video.read(tmp_path / "a.mp4")
    assert trouble.value.code == "unreadable"
    monkeypatch.setattr(Stream, "width", 10_000_000)
    with pytest.raises(UserError) as trouble:
        Video.read(tmp_path / "a.mp4")
    assert trouble.value.code == "too large"


@pytest.mark.parametrize(
    "samples",
    [
        np.array([0, 16384, -32768], np.int16),
        np.array([0, 2**30, -(2**31)], np.int32),
        np.array([128, 192, 0], np.uint8),
        np.array([0, 0.5, -1], np.float32),
        np.array([0, 0.5, -1], np.float64),
    ],
    ids=lambda samples: samples.dtype.name,
)
def test_samples_of_any_width_mean_the_same(samples, tmp_path):
    wavfile.write(tmp_path / "a.wav", 8000, samples)
    read = Sound.read(tmp_path / "a.wav")
    assert read.samples.shape == (3, 1) and read.rate == 8000
    assert read.samples[:, 0] == pytest.approx([0, 0.5, -1], abs=1e-4)


def test_channels_are_kept_and_mixed_on_request(tmp_path):
    stereo = Sound(np.stack([np.full(100, 0.5), np.full(100, -0.1)], 1), 44_100)
    stereo.save(tmp_path / "a.wav")
    read = Sound.read(tmp_path / "a.wav")
    assert read.samples.shape == (100, 2)
    assert read.mono == pytest.approx(np.full(100, 0.2), abs=1e-3)
    loud = Sound([3.0, -3.0], 8000)
    loud.save(tmp_path / "b.wav")
    assert Sound.read(tmp_path / "b.wav").samples[:, 0] == pytest.approx([1, -1], abs=1e-3)


def wav(size: int, channels: int = 1, data: bytes = bytes(200), align: int = 2) -> bytes:
    about = struct.pack("<HHIIHH", 1, channels, 8000, 16_000, align, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + about + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "raw, code",
    [
        (wav(200)[:-50], "truncated"),
        (wav(4_000_000_000, align=1), "unreadable"),
        (wav(200, channels=0), "unreadable"),
        (wav(200, channels=65_535), "unreadable"),
        (wav(200, align=0), "unreadable"),
        (wav(0, data=b""), "numbers"),
        (b"RIFF\0\0\0\0WAVE", "unreadable"),
        (b"ID3\x03" + bytes(500), "not a sound"),
        (b"RIFF\x10\0\0\0WEBP" + bytes(500), "not a sound"),
    ],
)
def test_sounds_whose_header_lies(raw, code, tmp_path):
    (tmp_path / "a.wav").write_bytes(raw)
    with pytest.raises(UserError) as trouble:
        Sound.read(tmp_path / "a.wav")
    assert trouble.value.code == code


@pytest.mark.parametrize(
    "raw",
    [
        "写真、<b>".encode(),
        b"\xef\xbb\xbf" + "写真、<b>".encode(),
        "写真、<b>".encode("cp932"),
        "写真、<b>".encode("utf-16"),
    ],
)
def test_texts_are_read_as_japan_writes_them(raw, tmp_path):
    (tmp_path / "a.txt").write_bytes(raw)
    assert Text.read(tmp_path / "a.txt").text == "写真、<b>"


def test_what_is_no_text_is_refused(tmp_path):
    for raw in (b"\xff\xfe\x00", bytes(range(256)), b"a\0b", b"\x80\x81\xff"):
        (tmp_path / "a.txt").write_bytes(raw)
        with pytest.raises(UserError) as trouble:
            Text.read(tmp_path / "a.txt")
        assert trouble.value.code == "not a text"


@pytest.mark.parametrize(
    "text, code",
    [
        ("[" * 100_000, "not JSON"),
        ('{"messages": ' + "1" * 5000 + "}", "not JSON"),
        ("{", "not JSON"),
        ("3", "not a chat"),
        ('{"turns": []}', "not a chat"),
        ('[{"role": "user"}]', "not a chat"),
        ('[{"role": "user", "content": 3}]', "not a chat"),
        ('[{"role": "pirate", "content": "arr"}]', "numbers"),
    ],
)
def test_chats_that_are_none(text, code, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError) as trouble:
        Chat.read(tmp_path / "a.json")
    assert trouble.value.code == code


def test_a_chat_grows_by_turns():
    chat = Chat([("user", "やあ")])
    longer = chat.said("assistant", "はい")
    assert len(chat.turns) == 1 and longer.turns[1] == Turn("assistant", "はい")
    assert str(longer) == "user: やあ\nassistant: はい"


def test_tables_with_any_separator_and_quotes(tmp_path):
    for separator in ",;\t":
        (tmp_path / "a.csv").write_text(
            f'名前{separator}"a ""b"""\n1{separator}"x\ny"\n\n2{separator}z\n', encoding="cp932"
        )
        read = Table.read(tmp_path / "a.csv")
        assert read.columns == ("名前", 'a "b"')
        assert read.rows == (("1", "x\ny"), ("2", "z"))
        assert read.column("名前") == ["1", "2"]
    assert refused(lambda: read.column("c")).code == "numbers"


@pytest.mark.parametrize(
    "text, code", [("a,b\n1\n", "numbers"), ("\n\n", "empty file"), ("a\n" + "x" * 200_000, "unreadable")]
)
def test_tables_that_are_none(text, code, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError) as trouble:
        Table.read(tmp_path / "a.csv")
    assert trouble.value.code == code


def test_a_table_of_too_many_values_is_refused_on_the_way(tmp_path, monkeypatch):
    from souron.kinds import table

    monkeypatch.setattr(table, "MOST_CELLS", 10)
    (tmp_path / "a.csv").write_text("a,b\n" + "1,2\n" * 1000)
    with pytest.raises(UserError) as trouble:
        Table.read(tmp_path / "a.csv")
    assert trouble.value.code == "numbers"
    long = Table(["a"], [[i] for i in range(9)])
    monkeypatch.setattr(table, "SHOWN", 3)
    assert str(long).splitlines() == ["a", "0", "1", "2", "and 6 more"]


@pytest.mark.parametrize(
    "text, faces",
    [
        ("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n", [[0, 1, 2], [0, 2, 3]]),
        ("# 日本\no a\nv 0 0 0 1\nv\t1 0 0\nv 1 1 0\nvn 0 0 1\nf 1/1/1 2//1 3/2\n", [[0, 1, 2]]),
        ("v 0 0 0\nv 1 0 0\nv 1 1 0\nf -3 -2 -1\n", [[0, 1, 2]]),
        ("v 0 0 0\n", []),
    ],
)
def test_surfaces_as_people_write_them(text, faces, tmp_path):
    (tmp_path / "a.obj").write_text(text, encoding="utf-8")
    assert Mesh.read(tmp_path / "a.obj").faces.tolist() == faces


@pytest.mark.parametrize(
    "text, code",
    [
        ("v 0 0 0\nf 1 2 3\n", "numbers"),
        ("v 0 0 0\nf 0 1 1\n", "unreadable"),
        ("v 0 0 0\nf 1 1\n", "unreadable"),
        ("v 0 0 0\nf 1 1 x\n", "unreadable"),
        ("v 0 0\n", "numbers"),
        ("v 0 0 0\nv 1 2\n", "unreadable"),
        ("v nan 0 0\n", "numbers"),
        ("v 0 0 0\nf 1 1 99999999999999999999\n", "unreadable"),
        ("solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\n", "truncated"),
        ("solid a\nfacet\nvertex 0 0 0\nendsolid a\n", "unreadable"),
        ("ply\nformat ascii 1.0\nelement vertex 9\nproperty float x\n", "truncated"),
        (
            "ply\nformat ascii 1.0\nelement vertex 9\nproperty float x\nproperty float y\n"
            "property float z\nend_header\n0 0 0\n",
            "truncated",
        ),
        ("ply\nformat ascii 1.0\nelement vertex 999999999\nend_header\n", "too large"),
        ("ply\nformat ascii 1.0\nelement vertex -1\nend_header\n", "unreadable"),
        ("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n0", "unreadable"),
        ("ply\nformat binary_little_endian 1.0\nend_header\n", "unreadable"),
        ("hello", "not a mesh"),
    ],
)
def test_surfaces_that_are_none(text, code, tmp_path):
    (tmp_path / "a").write_text(text)
    with pytest.raises(UserError) as trouble:
        Mesh.read(tmp_path / "a")
    assert trouble.value.code == code


def test_a_surface_of_too_many_parts_is_refused_on_the_way(tmp_path, monkeypatch):
    for suffix in (".obj", ".ply", ".stl"):
        pyramid().save(tmp_path / f"a{suffix}")
    monkeypatch.setattr(mesh, "MOST", 3)
    for suffix in (".obj", ".ply", ".stl"):
        with pytest.raises(UserError) as trouble:
            Mesh.read(tmp_path / f"a{suffix}")
        assert trouble.value.code == "too large"


def test_a_binary_stl_that_begins_as_text_and_one_cut_short(tmp_path):
    pyramid().save(tmp_path / "a.stl")
    raw = (tmp_path / "a.stl").read_bytes()
    (tmp_path / "a.stl").write_bytes(b"solid facet".ljust(80) + raw[80:])
    assert len(Mesh.read(tmp_path / "a.stl").faces) == 4
    (tmp_path / "a.stl").write_bytes(raw[:-1])
    with pytest.raises(UserError) as trouble:
        Mesh.read(tmp_path / "a.stl")
    assert trouble.value.code == "truncated"


def test_a_text_stl(tmp_path):
    facets = "".join(
        "facet normal 0 0 0\nouter loop\n"
        + "".join(f"vertex {x:g} {y:g} {z:g}\n" for x, y, z in corners)
        + "endloop\nendfacet\n"
        for corners in pyramid().vertices[pyramid().faces]
    )
    (tmp_path / "a.stl").write_text(f"solid a\n{facets}endsolid a\n")
    read = Mesh.read(tmp_path / "a.stl")
    assert (len(read.vertices), len(read.faces)) == (4, 4)
    assert read.extent == [1.0, 1.0, 1.0] and same(read, pyramid())


def test_a_saved_stl_has_normals_that_point_outward(tmp_path):
    pyramid().save(tmp_path / "a.stl")
    triangles = np.frombuffer((tmp_path / "a.stl").read_bytes(), mesh.STL, offset=mesh.HEAD)
    centre = pyramid().vertices.mean(0)
    out = triangles["corner"].mean(1) - centre
    assert ((triangles["normal"] * out).sum(1) > 0).all()
    assert np.linalg.norm(triangles["normal"], axis=1) == pytest.approx(np.ones(4))


def test_a_plot_in_japanese_is_drawn_without_a_missing_letter(tmp_path):
    """Matplotlib warns of a letter that the font lacks, and here warnings are errors."""
    plot = Plot(
        [Series("学習 $x$", [0, 1, 2], [1, float("nan"), 3]), Series("one", [1], [2])], "時間 (s)", "損失", "題"
    )
    for suffix in (".svg", ".png", ".csv"):
        plot.save(tmp_path / f"図{suffix}")
    assert (tmp_path / "図.svg").read_bytes().startswith(b"<?xml")
    with Image.open(io.BytesIO(plot.drawn("png"))) as drawn:
        assert drawn.width > 7 * plotting.DOTS
    assert (tmp_path / "図.csv").read_text("utf-8").splitlines()[:2] == ["series,時間 (s),損失", "学習 $x$,0.0,1.0"]


def test_a_plot_reaches_nothing_elsewhere():
    drawn = ALL["plot"].drawn().decode()
    links = re.findall(r'(?:href|src)="([^"]*)"', drawn)
    assert all(link.startswith("#") for link in links)


def test_labels_are_saved_all_of_them(tmp_path):
    ALL["labels"].save(tmp_path / "a.csv")
    read = Table.read(tmp_path / "a.csv")
    assert read.columns == ("label", "probability") and read.rows[0] == ("猫", "0.75")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.txt").write_text("secret")
    monkeypatch.setattr(type(tmp_path), "read_bytes", closed)
    with pytest.raises(UserError) as trouble:
        files.content(tmp_path / "a.txt")
    assert trouble.value.code == "unreadable"


def test_boxes_are_saved_as_tables_and_as_the_lines_of_coco_and_yolo(tmp_path):
    image = ramp()  # 40 x 30 pixels
    box = [[2, 3, 22, 15], [0, 0, 40, 30]]
    boxes = Boxes(image, box, ["b", "a"], [0.9, 0.25], ("a", "b"))
    for name in ("a.csv", "a.txt", "a.coco.json"):
        boxes.save(tmp_path / name)
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "label,left,top,right,bottom,score",
        "b,2.0,3.0,22.0,15.0,0.9",
        "a,0.0,0.0,40.0,30.0,0.25",
    ]
    assert (tmp_path / "a.txt").read_text().splitlines() == [
        "1 0.300000 0.300000 0.500000 0.400000 0.9000",
        "0 0.500000 0.500000 1.000000 1.000000 0.2500",
    ]
    assert json.loads((tmp_path / "a.coco.json").read_text())[0] == {
        "image_id": 1,
        "category_id": 2,
        "score": 0.9,
        "bbox": [2.0, 3.0, 20.0, 12.0],
    }
    with pytest.raises(UserError, match="labels without a number: 1 c"):
        Boxes(image, box[:1], ["c"], [0.9], ("a", "b")).save(tmp_path / "b.txt")
    with pytest.raises(UserError, match="format"):
        boxes.save(tmp_path / "a.xml")
    assert not (tmp_path / "b.txt").exists()
