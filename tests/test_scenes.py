"""Scenes: what is on them is known exactly, and no side of the split has seen another's things."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from isolation import fetched
from PIL import Image

from souron.data import load
from souron.data.composing import composer, cutouts, figures, grounds, parallel, related_groups, stock, words
from souron.data.composing import scenes as many
from souron.data.composing.composer import Composer
from souron.data.composing.cutouts import CATEGORIES
from souron.data.sets import photographs as photographs_set
from souron.data.sets import scenes
from souron.utils.messages import UserError

FOLDERS = {
    "bird": "animals/birds",
    "mammal": "animals/mammals/cats",
    "flower": "plants/flowers",
    "fruit": "food/fruit",
    "vehicle": "vehicles/auto",
    "coin": "symbols/money/{}/coins",
    "sign": "town/roadsigns",
    "building": "town/houses/cartoon",
}
COUNTRIES = ("canadian", "euro", "japanese", "us")
EACH = 14  # stamps of a category
FEW = {"train": 60, "val": 20, "test": 40}  # scenes
SOME = {"train": 8, "val": 3, "test": 4}


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(load, "INSTALLED", tmp_path / "installed")


def write_stamp(file: Path, category: str, number: int, caption: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(figures.figure(category, number).pixels)
    clear = Image.new("RGBA", (image.width + 6, image.height + 6))
    clear.paste(image, (3, 3))
    clear.save(file, compress_level=1)
    if caption:
        text = f"{caption}\nja.utf8=もの\n"
        file.with_suffix(".txt").write_text(text, encoding="utf-8")


@pytest.fixture
def stamps(tmp_path) -> Path:
    """A folder as of the package: 14 stamps of each category, coins of four countries."""
    folder = tmp_path / "cache" / "data" / "stamps"
    for category, place in FOLDERS.items():
        for number in range(EACH):
            inside = place.format(COUNTRIES[number % 4])
            name = "abcdefghijklmn"[number] * 3
            write_stamp(folder / inside / f"{name}.png", category, number, f"A {name} {category}.")
    return folder


@pytest.fixture
def photographs(tmp_path) -> Path:
    """Noise under the names of the known photographs, three of each side that show nothing."""
    folder = tmp_path / "cache" / "data" / "photographs"
    folder.mkdir(parents=True)
    for part in related_groups.PARTS:
        known = [photo for photo in grounds.PHOTOS if photo.part == part and not photo.shows]
        for photo in known[-3:]:
            pixels = grounds.noise(400, np.random.default_rng(len(photo.file)))
            Image.fromarray(pixels).save(folder / photo.file)
    return folder


@pytest.fixture(scope="session")
def drawn() -> stock.Stock:
    return stock.drawn(numbers=12)


def many_of(source: stock.Stock, part: str = "train", count: int = 40, **options):
    made = Composer(64, 5, part, source=source, **options)
    return [made.scene(number) for number in range(count)]


def same(one: composer.Scene, other: composer.Scene) -> bool:
    tensors = ("image", "boxes", "labels", "masks")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in tensors) and (
        one.captions == other.captions and one.sources == other.sources
    )


def test_a_number_is_one_scene_whatever_was_made_before(drawn):
    first = Composer(64, 5, source=drawn).scene(7)
    after = Composer(64, 5, source=drawn)
    for number in (3, 7, 2):
        after.scene(number)
    assert same(first, after.scene(7))
    others = [
        Composer(64, 5, source=drawn).scene(8),
        Composer(64, 6, source=drawn).scene(7),
        Composer(64, 5, "test", source=drawn).scene(7),
    ]
    assert not any(same(first, other) for other in others)


def test_another_process_makes_the_same_scene(drawn):
    code = (
        "import hashlib, sys\n"
        "from souron.data.composing import composer, stock\n"
        "made = composer.Composer(64, 5, source=stock.drawn(numbers=12)).scene(7)\n"
        "print(hashlib.sha256(made.image.numpy().tobytes()).hexdigest())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = Composer(64, 5, source=drawn).scene(7).image.numpy().tobytes()
    assert told.stdout.strip() == hashlib.sha256(here).hexdigest()


def test_boxes_are_the_extents_of_disjoint_masks(drawn):
    things = 0
    for scene in many_of(drawn):
        assert len(scene.boxes) == len(scene.labels) == len(scene.masks) > 0
        assert scene.image.shape == (3, 64, 64) and scene.image.dtype == torch.uint8
        assert scene.boxes.dtype == torch.float32 and scene.labels.dtype == torch.int64
        assert scene.masks.sum(0).max() == 1
        for mask, box in zip(scene.masks, scene.boxes.tolist(), strict=True):
            rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
            edges = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert box == [float(edge) for edge in edges]
        things += len(scene.boxes)
    assert things > 80


def test_what_a_mask_covers_was_painted(drawn, monkeypatch):
    """The same scene with all things transparent has the ground alone."""
    scenes_ = many_of(drawn, count=20)
    monkeypatch.setattr(composer, "_shade", lambda *given: None)
    bare = many_of(drawn, count=20)
    lay = Composer._lay

    def unpainted(self, canvas, plan, rng):
        return lay(self, canvas.copy(), plan, rng)

    monkeypatch.setattr(Composer, "_lay", unpainted)
    shares = []
    for scene, shadeless, ground in zip(scenes_, bare, many_of(drawn, count=20), strict=True):
        apart = (shadeless.image.int() - ground.image.int()).abs().amax(0)
        covered = shadeless.masks.any(0)
        shares.append((apart[covered] > 8).float().mean())
        near = torch.nn.functional.max_pool2d(covered[None].float(), 5, 1, 2)[0] > 0
        assert apart[~near].max() == 0  # and nothing else was
        assert not torch.equal(scene.image, shadeless.image)  # shadows
    assert min(shares) > 0.6 and sum(shares) / len(shares) > 0.9


def test_maps_agree_with_masks(drawn):
    for scene in many_of(drawn, count=10):
        semantic, (ids, segments) = scene.semantic(), scene.panoptic()
        assert semantic.dtype == ids.dtype == torch.int64
        for place, (mask, label) in enumerate(zip(scene.masks, scene.labels, strict=True)):
            assert torch.equal(ids == place + 1, mask)
            assert (semantic[mask] == label + 1).all()
        nothing = ~scene.masks.any(0)
        assert (semantic[nothing] == 0).all() and (ids[nothing] == 0).all()
        assert [segment["area"] for segment in segments] == [
            int(nothing.sum()),
            *scene.masks.flatten(1).sum(1).tolist(),
        ]
        assert [segment["thing"] for segment in segments] == [False] + [True] * len(scene.labels)
        assert [s["category"] for s in segments[1:]] == (scene.labels + 1).tolist()


def test_sizes_are_in_range(drawn):
    longest = []
    for scene in many_of(drawn, counts=[1], count=150):
        assert len(scene.boxes) == 1
        left, top, right, bottom = scene.boxes[0].tolist()
        longest.append(max(right - left, bottom - top) / 64)
    assert min(longest) >= 0.20 - 1.5 / 64 and max(longest) <= 0.65 + 1.5 / 64
    assert min(longest) < 0.24 and max(longest) > 0.58


def test_nothing_is_hidden_but_for_a_part(drawn, monkeypatch):
    laid = []
    make = Composer._scene

    def watched(self, number, ground, canvas, things):
        laid.append(things)
        return make(self, number, ground, canvas, things)

    monkeypatch.setattr(Composer, "_scene", watched)
    least, partly = 1.0, 0
    for scene, things in zip(many_of(drawn, counts=[6], count=60), laid, strict=True):
        for whole, mask in zip(things, scene.masks, strict=True):
            share = float(mask.sum()) / whole.mask.sum()
            least, partly = min(least, share), partly + (share < 0.95)
    assert 1 - composer.HIDDEN <= least < 0.6 and partly > 30


GRASS = np.random.default_rng(0).normal((70, 140, 50), 18, (60, 60, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("colour", "seen"),
    [
        ((66, 132, 54), False),
        ((90, 150, 70), False),
        ((210, 40, 40), True),
        ((240, 240, 240), True),
        ((20, 20, 24), True),
    ],
)
def test_a_green_stamp_on_grass_is_refused(colour, seen):
    thing = np.full((60, 60, 3), colour, np.float32)
    solid = np.zeros((60, 60), bool)
    solid[15:45, 15:45] = True
    assert composer.stands_out(thing, solid, GRASS) == seen


def test_stripes_are_lost_on_rocks_but_not_on_a_wall():
    stripes = np.where(np.arange(60)[:, None, None] // 4 % 2, 250, 10) * np.ones((60, 60, 3))
    stripes = stripes.astype(np.float32)
    rocks = np.random.default_rng(0).normal(130, 60, (60, 60, 1)).clip(0, 255) * np.ones(3)
    solid = np.ones((60, 60), bool)
    assert not composer.stands_out(stripes, solid, rocks.astype(np.float32))
    assert composer.stands_out(stripes, solid, np.full((60, 60, 3), 130, np.float32))


def test_scenes_leave_out_what_would_not_be_seen(monkeypatch, drawn):
    """On a ground of the things' own green there is no green apple."""
    green = Image.new("RGBA", (80, 80), (70, 140, 50, 255))
    clear = Image.new("RGBA", (90, 90))
    clear.paste(green, (5, 5))
    pixels = cutouts.cut(clear)
    held = [
        stock.Held(cutouts.Cutout(f"{part}", "fruit", "", pixels, np.zeros((0, 2))), part, 0)
        for part in related_groups.PARTS
    ]
    apples = stock.Stock("stamps", tuple(held), (), (), "", {})
    monkeypatch.setattr(grounds, "noise", lambda side, rng: GRASS[:side, :side].clip(0, 255))
    made = Composer(60, 0, "train", ["fruit"], apples)
    assert all(len(made.scene(number).boxes) == 0 for number in range(10))
    assert made.scene(0).captions == words.NOTHING
    monkeypatch.setattr(composer, "DIFFERENT", 0.0)
    monkeypatch.setattr(composer, "ROUGH", 0.0)
    monkeypatch.setattr(composer, "WHOLE", 0.0)
    assert len(made.scene(0).boxes) > 0


def test_captions_count_in_both_languages(drawn):
    for scene in many_of(drawn, count=30):
        names = Counter(scene.categories[label] for label in scene.labels.tolist())
        english, japanese = scene.captions["en"], scene.captions["ja"]
        assert len(english) == len(japanese) == 3
        assert sum(english[0].count(f"{words.ENGLISH[n]} ") for n in range(1, 10)) == len(names)
        for name, count in names.items():
            assert words.english(name, count) in english[0] and english[0] in english[1]
            assert words.japanese(name, count) in japanese[0] and japanese[0] in japanese[1]


def test_counters():
    said = [
        words.japanese(name, count)
        for name, count in (
            ("bird", 2),
            ("vehicle", 1),
            ("flower", 3),
            ("coin", 5),
            ("fruit", 4),
            ("mammal", 6),
            ("sign", 1),
            ("building", 2),
            ("person", 3),
        )
    ]
    assert said == [
        "二羽の鳥",
        "一台の乗り物",
        "三輪の花",
        "五枚の硬貨",
        "四個の果物",
        "六匹の動物",
        "一枚の標識",
        "二棟の建物",
        "三人",
    ]
    assert words.english("fruit", 1) == "one piece of fruit"
    told = words.captions(["bird", "coin", "bird"], [(0.1, 0.1), (0.9, 0.5), (0.5, 0.5)], [3, 9, 1])
    assert told["en"][0] == "two birds and one coin" and told["ja"][0] == "二羽の鳥と一枚の硬貨"
    assert told["en"][2] == "on the right the largest thing is a coin"
    assert told["ja"][2] == "一番大きいのは右の硬貨"


def test_keypoints_move_with_the_figure(drawn):
    """A wheel's hub is light and ringed by black, wherever the vehicle was turned to."""
    seen = 0
    made = Composer(128, 5, source=drawn, categories=["vehicle"], counts=[1])
    for number in range(30):
        scene = made.scene(number)
        [points] = scene.points
        assert points.shape == (len(figures.POINTS["vehicle"]), 3)
        left, _top, right, _bottom = scene.boxes[0].tolist()
        if right - left < 50:
            continue
        for x, y, visible in points[:2].tolist():
            hub = scene.image[:, int(y), int(x)].float()
            assert visible == 1 and hub.min() > 100 and hub.max() - hub.min() < 60
            ring = scene.image[:, int(y + 0.082 * (right - left)), int(x)].float()
            assert ring.max() < hub.min()
            seen += 1
    assert seen > 10
    for name, painter in figures.PAINTERS.items():
        assert len(painter(figures.Pen(np.random.default_rng(0)))) == len(figures.POINTS[name])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turn", [0, 30, -74])
def test_a_point_stays_where_it_was_marked(flip, turn):
    pixels = np.full((60, 90, 4), (90, 90, 90, 255), np.uint8)
    pixels[40:47, 10:17] = (255, 0, 0, 255)
    marked = np.array([[13.5, 43.5]], np.float32)
    cutout = cutouts.Cutout("", "bird", "", pixels, marked)
    drawn_, [point] = composer._drawn(cutout, 0.8, turn, flip)
    rows, columns = ((drawn_[..., 0] > 180) & (drawn_[..., 1] < 60)).nonzero()
    assert len(rows) and np.allclose(point, (columns.mean() + 0.5, rows.mean() + 0.5), atol=0.6)
    assert max(drawn_.shape[:2]) == pytest.approx(0.8 * max(composer._extent(cutout, turn)), abs=2)


def test_people_are_drawn_with_their_joints():
    [scene] = many_of(stock.stocked(["person"]), count=1, categories=["person"], counts=[1])
    assert scene.points[0].shape == (13, 3) and scene.captions["ja"][0] == "一人"
    assert scene.points[0][:, 2].mean() > 0.8


def test_kin_are_families():
    keys = [
        related_groups.close("animals/birds/crow.png", "bird", "A crow."),
        related_groups.close("animals/birds/crow_mirror.png", "bird", "A crow."),
        related_groups.close("animals/birds/crow2.png", "bird", "A black bird."),
        related_groups.close("animals/birds/cartoon/karl.png", "bird", "A crow!"),
        related_groups.close("animals/birds/owl.png", "bird", "An owl."),
        related_groups.close("plants/flowers/flower1.png", "flower", "A flower."),
        related_groups.close("plants/flowers/flower2.png", "flower", "A flower."),
    ]
    assert related_groups.families(keys) == [0, 0, 0, 0, 4, 5, 6]
    coins = [related_groups.wide(f"symbols/money/{c}.png", "coin", "") for c in ("us/a", "us/b", "euro/a")]
    assert related_groups.families(coins) == [0, 0, 2]


def relations(held: tuple[stock.Held, ...]) -> dict[str, set[str]]:
    """What kin share -> the sides that have it."""
    sides: dict[str, set[str]] = {}
    for cutout, part, _block in held:
        stem = Path(cutout.name).stem.replace("_mirror", "").rstrip("0123456789_-")
        keys = [f"{cutout.category} {stem}", cutout.caption.strip(".! ").lower() or cutout.name]
        if cutout.category == "coin":
            keys = [str(Path(cutout.name).parent)]
        elif cutout.category == "flower":
            keys = [cutout.name.replace("_mirror", "")]
        for key in keys:
            sides.setdefault(key, set()).add(part)
    return sides


def test_no_kin_on_two_sides(stamps):
    for category in ("bird", "sign"):
        place = stamps / FOLDERS[category]
        for name in ("aaa", "ccc", "fff", "kkk"):
            write_stamp(place / f"{name}_mirror.png", category, 20)
            write_stamp(place / f"{name}2.png", category, 21, f"Another {name}.")
    fruit = stamps / FOLDERS["fruit"] / "cartoon"
    for number, name in enumerate(("bbb", "ddd", "ggg")):
        write_stamp(fruit / f"other{'xyz'[number]}{name}.png", "fruit", 30, f"A {name} fruit!")
    held = stock.stocked().held
    assert stock.stocked().name == "stamps" and len(held) == 8 * EACH + 16 + 3
    sides = relations(held)
    assert len(sides) > 90 and all(len(parts) == 1 for parts in sides.values())
    for category in CATEGORIES:
        share = Counter(one.part for one in held if one.cutout.category == category)
        assert share["train"] > share["test"] > 0 and share["val"] > 0
    close: dict[str, set[tuple[str, int]]] = {}  # and none in two blocks, but for coins
    for cutout, part, block in held:
        stem = Path(cutout.name).stem[:3]
        if cutout.category in ("bird", "sign"):
            close.setdefault(f"{cutout.category} {stem}", set()).add((part, block))
    assert all(len(blocks) == 1 for blocks in close.values())


def test_the_blocks_of_a_side_are_disjoint_and_even(stamps):
    source = stock.stocked()
    for part, count in related_groups.BLOCKS.items():
        blocks = source.blocks(part, CATEGORIES)
        names = [cutout.name for block in blocks for cutout in block]
        assert len(names) == len(set(names)) == sum(one.part == part for one in source.held)
        sizes = [len(block) for block in blocks]
        assert len(blocks) == count and max(sizes) - min(sizes) <= 2
        for category in CATEGORIES:
            spread = [sum(one.category == category for one in block) for block in blocks]
            assert max(spread) - min(spread) <= 1


def test_a_scene_takes_its_things_from_one_block(stamps):
    source = stock.stocked()
    block_of = {one.cutout.name: (one.part, one.block) for one in source.held}
    for part in related_groups.PARTS:
        for scene in many_of(source, part, 2 * related_groups.BLOCKS[part]):
            assert {block_of[name] for name in scene.sources.cutouts} == {(part, scene.sources.block)}
            assert scene.points is None


def test_no_photograph_on_two_sides_nor_with_things_of_the_categories(stamps, photographs):
    source = stock.stocked()
    used = {part: {scene.sources.ground for scene in many_of(source, part, 30)} for part in related_groups.PARTS}
    assert all(len(names) >= 3 for names in used.values()) and "china.jpg" in used["train"]
    assert len(set.union(*used.values())) == sum(map(len, used.values()))
    shows = {photo.file: photo.shows for photo in grounds.PHOTOS}
    assert not any(shows[name] for names in used.values() for name in names)
    pixels = np.zeros((9, 9, 3), np.uint8)
    own = tuple(grounds.Ground(f"{i}", "test", ("insect",), pixels) for i in range(5))
    other = stock.Stock("stamps", source.held, own, (), "", {})
    assert other.photographs("test", ["insect", "bird"]) == []
    assert len(other.photographs("test", ["bird"])) == 5


def test_photographs_left_out_are_named():
    shown = {photo.file: photo.shows for photo in grounds.PHOTOS}
    assert shown["free_by_Peter_Nerlich.jpg"] == shown["Kleiber_by_Lukas_Baubkus.jpg"] == ("bird",)
    assert shown["friends_by_Aitzol_Berasategi.jpg"] == ("mammal",)
    for name in ("FreshFlower", "Garden", "YellowFlower", "LadyBird", "TwoWings"):
        assert "flower" in shown[f"{name}.jpg"]
    assert len({photo.file for photo in grounds.PHOTOS}) == len(grounds.PHOTOS)


def test_hostile_stamps_are_skipped_and_reported(stamps):
    birds = stamps / "animals/birds"
    (birds / "empty.png").write_bytes(b"")
    (birds / "words.png").write_bytes(b"not a picture at all")
    cut = (birds / "aaa.png").read_bytes()
    (birds / "short.png").write_bytes(cut[: len(cut) // 2])
    Image.new("RGBA", (50, 50), (9, 9, 9, 0)).save(birds / "clear.png")
    dot = Image.new("RGBA", (50, 50))
    dot.putpixel((20, 20), (9, 9, 9, 255))
    dot.save(birds / "dot.png")
    Image.new("RGB", (50, 50), (9, 9, 9)).save(birds / "opaque.png")
    huge = bytearray(cut)
    huge[16:24] = (60_000).to_bytes(4, "big") * 2
    (birds / "huge.png").write_bytes(huge)
    (birds / "away.png").symlink_to("/etc/hostname")
    found = stock.stocked()
    codes = {Path(skipped.file).stem: skipped.code for skipped in found.skipped}
    assert codes == {
        "empty": "empty file",
        "words": "not an image",
        "short": "truncated",
        "clear": "no thing",
        "dot": "no thing",
        "opaque": "no thing",
        "huge": codes["huge"],
        "away": "outside",
    }
    assert codes["huge"] in ("too large", "truncated", "unreadable") and found.name == "stamps"
    assert all(skipped.reason for skipped in found.skipped)
    assert len(found.held) == 8 * EACH


def test_captions_that_speak_of_several_things_are_left_out(stamps):
    before = len(cutouts.stamps(stamps))
    for name, caption in (("pair", "Two birds."), ("flock", "Some birds."), ("one", "A bird.")):
        write_stamp(stamps / f"animals/birds/{name}.png", "bird", 3, caption)
    write_stamp(stamps / "animals/birds/pair_mirror.png", "bird", 3)
    write_stamp(stamps / "animals/birds/cartoon/tux.png", "bird", 3, "Tux.")
    assert len(cutouts.stamps(stamps)) == before + 1


def test_shadows_painted_beside_a_stamp_go():
    image = Image.new("RGBA", (60, 60))
    image.paste((200, 30, 30, 255), (10, 10, 20, 40))
    image.paste((200, 30, 30, 255), (10, 30, 40, 40))
    image.paste((0, 0, 0, 100), (20, 10, 55, 30))
    alpha = cutouts.cut(image)[..., 3]
    assert alpha.shape == (30, 30) and (alpha[:, :10] == 255).all() and (alpha[20:] == 255).all()
    assert (alpha[:17, 13:] == 0).all() and (alpha[:20, 10] == 100).all()
    glass = Image.new("RGBA", (60, 60))
    glass.paste((200, 30, 30, 150), (10, 10, 40, 40))
    assert (cutouts.cut(glass)[..., 3] == 255).all()


def recipe(**changes) -> many.Recipe:
    told = {"side": 48, "seed": 0, "counts": FEW, "categories": CATEGORIES} | changes
    return many.Recipe(**told)


def test_the_data_set_without_stamps_is_drawn_and_says_so(monkeypatch):
    monkeypatch.setattr(scenes, "COUNTS", FEW)
    cases = load.load("scenes", 48)
    assert cases.name == "drawn_scenes" and cases.licence == "Apache-2.0"
    assert cases.input.shape == (120, 3, 48, 48) and cases.input.dtype == torch.uint8
    assert cases.classes == CATEGORIES and len(cases.target) == 120
    assert list(cases.part) == ["train"] * 60 + ["val"] * 20 + ["test"] * 40
    assert cases.file[60] == "val/00000" and len(set(cases.file)) == 120
    for rows in cases.target:
        assert rows.dtype == torch.float32 and rows.shape[1] == 5 and len(rows)
        assert (rows[:, 0] < 8).all() and (rows[:, 1:] >= 0).all() and (rows[:, 1:] <= 48).all()
        assert (rows[:, 3:] > rows[:, 1:3]).all()
    assert load.names()["scenes"].where() is not None
    assert load.names()["photographs"].where() is None


def test_the_data_set_of_stamps_has_a_group_for_each_block(stamps, photographs, monkeypatch):
    monkeypatch.setattr(scenes, "COUNTS", FEW)
    (stamps / "animals/birds/empty.png").write_bytes(b"")
    cases = load.load("scenes", 48)
    assert cases.name == "scenes" and "GPL" in cases.licence
    groups: dict[str, set[str]] = {}
    for group, part in zip(cases.group, cases.part, strict=True):
        groups.setdefault(part, set()).add(group)
    assert {part: len(found) for part, found in groups.items()} == related_groups.BLOCKS
    assert len(set.union(*groups.values())) == sum(related_groups.BLOCKS.values())
    assert [skipped.code for skipped in cases.skipped] == ["empty file"]
    test = Composer(48, scenes.SEED, "test", source=stock.stocked())
    for number in (0, 39):
        scene, row = test.scene(number), 80 + number
        assert torch.equal(cases.input[row], scene.image)
        assert torch.equal(cases.target[row][:, 1:], scene.boxes)
        assert cases.group[row] == f"test block {scene.sources.block}"
        assert cases.columns["ground"][row] == scene.sources.ground


def test_workers_make_what_one_process_makes(stamps, photographs, monkeypatch):
    source = stock.stocked()
    alone = many._some(recipe(), source, recipe().rows)
    monkeypatch.setattr(parallel, "FEWEST", 10)
    monkeypatch.setattr(parallel.hardware, "cores", lambda: 2)
    tensors, about = many._make(recipe(), source, stamps.parent / "made.safetensors")
    assert tensors.keys() == alone[0].keys() and about == alone[1]
    assert all(torch.equal(tensors[name], alone[0][name]) for name in tensors)
    assert sorted(child.name for child in stamps.parent.iterdir()) == ["photographs", "stamps"]


def test_a_worker_that_fails_is_told_and_nothing_is_kept(drawn, monkeypatch, tmp_path):
    monkeypatch.setattr(parallel, "FEWEST", 10)
    monkeypatch.setattr(parallel.hardware, "cores", lambda: 2)
    origin = {"categories": ["unicorn"], "numbers": 1}
    broken = stock.Stock("drawn", drawn.held, (), (), "x", origin)
    with pytest.raises(UserError, match="making scenes broke off") as trouble:
        many.scenes(recipe(), broken)
    assert trouble.value.code == "scenes" and "unicorn" in trouble.value.found
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_scenes_are_kept_and_made_again_where_the_file_is_cut_short(drawn, monkeypatch, tmp_path):
    some = recipe(counts=SOME)
    made = many.scenes(some, drawn)
    [file] = (tmp_path / "cache" / "scenes").glob("*.safetensors")
    whole = file.read_bytes()
    left = file.with_name(f".{file.stem}-of-one-that-was-killed")
    left.mkdir()
    make, calls = many._make, []
    monkeypatch.setattr(many, "_make", lambda *given: (calls.append(1), make(*given))[1])
    assert torch.equal(many.scenes(some, drawn).images, made.images) and not calls
    for damage in (whole[: len(whole) // 2], b"", whole[:5], b"\xff" * 100):
        file.write_bytes(damage)
        again = many.scenes(some, drawn)
        assert torch.equal(again.images, made.images) and file.read_bytes() == whole
    assert len(calls) == 4 and not left.exists()
    many.scenes(recipe(counts=SOME, seed=1), drawn)
    many.scenes(some, stock.drawn(numbers=13))
    assert len(calls) == 6 and len(list(file.parent.glob("*.safetensors"))) == 3


def test_cut_outs_are_kept_and_made_again_where_the_file_is_cut_short(stamps, tmp_path):
    first = stock.stocked()
    [file] = (tmp_path / "cache" / "scenes").glob("cut-outs-*")
    whole = file.read_bytes()
    for damage in (whole[:-1000], b""):
        file.write_bytes(damage)
        stock._of_stamps.cache_clear()
        again = stock.stocked()
        assert file.read_bytes() == whole
        assert all(
            np.array_equal(one.cutout.pixels, other.cutout.pixels)
            for one, other in zip(first.held, again.held, strict=True)
        )
    os.utime(stamps / "animals/birds/aaa.png", (1, 1))
    assert stock.stocked().digest != first.digest


def test_too_few_stamps_of_a_category_are_drawn_instead(stamps):
    for file in sorted((stamps / FOLDERS["sign"]).glob("*.png"))[2:]:
        file.unlink()
    assert stock.stocked().name == "drawn"
    assert stock.stocked(["bird", "coin"]).name == "stamps"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"part": "exam"}, "part"),
        ({"side": 4}, "side"),
        ({"side": 5000}, "side"),
        ({"categories": ["unicorn"]}, "category"),
    ],
)
def test_what_cannot_be_made_is_told(drawn, options, code):
    with pytest.raises(UserError) as trouble:
        Composer(**({"source": drawn} | options))
    assert trouble.value.code == code and trouble.value.expected


@pytest.mark.parametrize("side", [16, 33, 200])
def test_any_side_will_do(drawn, side):
    made = Composer(side, 0, source=drawn)
    assert all(made.scene(number).image.shape == (3, side, side) for number in range(20))


def test_photographs_are_a_data_set(photographs):
    for name in photographs_set.needs:
        if not (photographs / name).exists():
            (photographs / name).mkdir(parents=True) if "." not in name else Image.new(
                "RGB", (400, 300), (90, 120, 60)
            ).save(photographs / name)
    cases = load.load("photographs", 32)
    assert cases.input.shape[1:] == (3, 32, 32) and len(cases) % photographs_set.SQUARES == 0
    parts: dict[str, set[str]] = {}
    for group, part in zip(cases.group, cases.part, strict=True):
        parts.setdefault(group, set()).add(part)
    assert all(len(found) == 1 for found in parts.values())


def test_the_real_stamps_suffice():
    source = stock.of_stamps(stock.Places(fetched("stamps"), ()))
    count = Counter(one.cutout.category for one in source.held)
    assert set(CATEGORIES) <= set(source.categories) and not source.skipped
    assert all(count[name] >= 15 for name in CATEGORIES) and sum(count.values()) > 250
    assert all(len(parts) == 1 for parts in relations(source.held).values())
    for part, number in related_groups.BLOCKS.items():
        assert len(source.blocks(part, CATEGORIES)) == number
    for scene in many_of(source, "test", 20):
        assert len(scene.boxes) and scene.masks.sum(0).max() <= 1
