"""Bright shapes with boxes on dark noise: a data set for detectors, drawn in a second; and marks
whose middles are landmarks; and volumes with bright solids."""

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw

from souron import registry
from souron.data import recordings
from souron.data.composing import moving
from souron.data.composing.captioned import TINTS
from souron.data.composing.captioned_grounds import ground as painted_ground
from souron.data.composing.captioned_words import NAMES, Attributes, captions
from souron.data.composing.scene_questions import OPEN, POLAR, STATEMENTS
from souron.data.dataset import Dataset, ListColumn
from souron.data.language.retrieval import Search, Shelf, places
from souron.data.language.tokenizer import Tokenizer
from souron.data.language.web_pages import Part
from souron.data.log_mel import RATE
from souron.data.readers.run_lengths import lengths_of
from souron.data.targets.boxes import boxes_of
from souron.data.targets.instances import numbered
from souron.data.targets.panoptic import divided
from souron.data.targets.picture_questions import PictureQuestion
from souron.data.targets.poses import HIDDEN, SEEN, Figures, Skeleton, area_of
from souron.data.texts import Question
from souron.data.voices import Voices

LABELS = ("square", "disc", "wedge")


def shapes(count=200, side=64, most=3, seed=0, channels=3) -> Dataset:
    """One to ``most`` shapes a picture, a quarter to a half of the side each; blocks of five."""
    found = instanced(count, side, most, seed, channels)
    return replace(found, target=ListColumn(boxes_of(found.target)))


def instanced(count=200, side=64, most=3, seed=0, channels=3) -> Dataset:
    """The same with the pixels of each shape; a later one lies above the others."""
    random = np.random.default_rng(seed)
    images, objects = [], []
    for _case in range(count):
        noise = random.integers(0, 90, (side, side, 3), dtype=np.uint8)
        picture, ids = Image.fromarray(noise), Image.new("L", (side, side))
        rows = []
        for _shape in range(random.integers(1, most + 1)):
            label, size = random.integers(0, 3), random.integers(side // 4, side // 2)
            left, top = random.integers(0, side - size, 2)
            box = [left, top, left + size, top + size]
            if any(overlap(box, other[1:]) > 0.1 for other in rows):
                continue
            edges = (left, top, left + size - 1, top + size - 1)
            colour = tuple(random.integers(150, 256, 3).tolist())
            for canvas, fill in ((picture, colour), (ids, len(rows) + 1)):
                draw = ImageDraw.Draw(canvas)
                if label == 0:
                    draw.rectangle(edges, fill=fill)
                elif label == 1:
                    draw.ellipse(edges, fill=fill)
                else:
                    corners = [(left, edges[3]), (edges[2], edges[3]), (left + size // 2, top)]
                    draw.polygon(corners, fill=fill)
            rows.append([label, *box])
        images.append(np.asarray(picture).transpose(2, 0, 1))
        boxes = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
        objects.append(numbered(boxes, torch.from_numpy(np.array(ids))))
    image = torch.from_numpy(np.stack(images))
    if channels == 1:
        image = image.float().mean(1, keepdim=True).byte()
    files = [f"{case}.png" for case in range(count)]
    group = [f"block {case // 5}" for case in range(count)]
    return Dataset("shapes", image, ListColumn(objects), LABELS, files, group, licence="CC0")


def masked(count=200, side=64, most=3, seed=0, channels=3) -> Dataset:
    """Such shapes with the class of every pixel: a shape is what is brighter than the noise, and of
    two that touch the later one."""
    found = shapes(count, side, most, seed, channels)
    colours = shapes(count, side, most, seed).input
    maps = torch.zeros(count, side, side, dtype=torch.uint8)
    for area, image, boxes in zip(maps, colours, found.target, strict=True):
        lit = image.amax(0) >= 150
        for label, *edges in boxes.int().tolist():
            left, top, right, bottom = edges
            area[top:bottom, left:right][lit[top:bottom, left:right]] = label + 1
    return replace(found, target=maps, classes=("background", *LABELS))


def pieced(count=200, side=64, most=3, seed=0, channels=3) -> Dataset:
    """Such shapes as segments, each a thing, on a background that is stuff."""
    found = instanced(count, side, most, seed, channels)
    pieces = []
    for one in found.target:
        masks = one.masks(side)
        order = torch.arange(1, len(masks) + 1)[:, None, None]
        ids = 1 + (masks * order).amax(0) if len(masks) else torch.ones(side, side)
        labels = [0, *(one.box[:, 0].long() + 1).tolist()]
        pieces.append(divided(labels, [False] + [True] * len(masks), ids))
    return replace(found, target=ListColumn(pieces), classes=("background", *LABELS))


MARKS = ("middle of the square", "middle of the disc", "tip of the wedge")


def marks(count=200, side=64, seed=0, hidden=0.05, spacing=0.5) -> Dataset:
    """Each shape once, an eighth to a fifth of the side, grey; two pictures a patient. A landmark
    is not marked with the chance ``hidden``."""
    random = np.random.default_rng(seed)
    images, points = [], torch.zeros(count, 3, 2)
    for case in range(count):
        image = Image.fromarray(random.integers(0, 70, (side, side), dtype=np.uint8))
        draw = ImageDraw.Draw(image)
        for k in range(3):
            half = random.integers(side // 12, side // 7)
            x = random.integers(half, side - half)
            y = random.integers(k * side // 3, (k + 1) * side // 3)
            edges = (x - half, y - half, x + half, y + half)
            if k == 0:
                draw.rectangle(edges, fill=230)
            elif k == 1:
                draw.ellipse(edges, fill=230)
            else:
                draw.polygon([(x, y), (x - half, y + 2 * half), (x + half, y + 2 * half)], fill=230)
            points[case, k] = torch.tensor([x + 0.5, y + 0.5])
        images.append(torch.from_numpy(np.array(image))[None])
    gone = torch.from_numpy(random.random((count, 3)) < hidden)
    gone[:, 0] = False
    points[gone] = torch.nan
    return Dataset(
        "marks",
        torch.stack(images),
        points,
        MARKS,
        [f"{case}.png" for case in range(count)],
        [f"patient {case // 2}" for case in range(count)],
        augment=("shift", "brightness"),
        licence="CC0",
        spacing=[spacing] * count if spacing else (),
    )


def scans(count=40, size=(8, 12, 16), seed=0) -> Dataset:
    """Volumes with a ball, and with a cube on each side, in noise of other spacing each."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 20, (count, 1, *size))
    area = np.zeros((count, *size), np.uint8)
    z, y, x = np.meshgrid(*map(np.arange, size), indexing="ij")
    for case in range(count):
        away = random.integers(-1, 2, 3)
        ball = (z - 4 - away[0]) ** 2 + (y - 4 - away[1]) ** 2 + (x - 8 - away[2]) ** 2 < 8
        deep = abs(y - 9) < 2
        cubes = deep & (abs(z - 4) < 2) & ((abs(x - 3 - away[2]) < 2) | (abs(x - 13) < 2))
        area[case][ball], area[case][cubes] = 1, 2
    values += 120 * (area == 1)[:, None] + 250 * (area == 2)[:, None]
    return Dataset(
        "scans",
        torch.from_numpy(values.round().astype(np.int16)),
        torch.from_numpy(area),
        ("background", "ball", "cubes"),
        [f"{case}.nii.gz" for case in range(count)],
        licence="CC0",
        augment=(),
        spacing=[(3.0 + case % 2, 2.0, 1.5) for case in range(count)],
    )


MADE = {  # by what a task wants of a case
    "boxes": lambda count: shapes(count, 32),
    "instances": lambda count: instanced(count, 32),
    "classes_of_pixels": lambda count: masked(count, 32),
    "panoptic": lambda count: pieced(count, 32),
    "classes_of_voxels": scans,
    "points": lambda count: marks(count, 32),
    "poses": lambda count: posed(count, 32),
    "pictures": lambda count: coats(count, 32),
    "texts": lambda count: sentences(count),
    "passages": lambda count: searches(count),
    "questions": lambda count: asked(count),
    "classified_texts": lambda count: sorted_texts(count),
    "tags": lambda count: tagged(count),
    "translations": lambda count: translations(count),
    "summaries": lambda count: summaries(count),
    "scores": lambda count: tunes(count),
    "transcripts": lambda count: uttered(count),
    "pages": lambda count: requested(count),
    "captions": lambda count: captioned(count),
    "film_captions": lambda count: filmed(count),
    "picture_questions": lambda count: questioned(count),
}


def coats(count=200, side=64, seed=0) -> Dataset:
    """Discs on coloured grounds, plain and striped in turn: each is the other's twin, and both are
    of one group."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    images, areas = [], []
    for case in range(count):
        if case % 2 == 0:
            ground, colour = random.integers(30, 226, (2, 3))
            reach = random.integers(side // 5, side // 3)
            middle = random.integers(reach, side - reach, 2)
            inside = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 < reach**2
            noise = random.integers(-6, 7, (side, side, 1))
        coat = inside & ((y // 3) % 2 == 0) if case % 2 else np.zeros_like(inside)
        shown = np.where(inside[..., None], colour, ground) + noise
        shown = np.where(coat[..., None], shown // 3, shown)
        images.append(shown.clip(0, 255).astype(np.uint8).transpose(2, 0, 1))
        areas.append(lengths_of(inside))
    names = [f"{case}.png" for case in range(count)]
    return Dataset(
        "coats",
        torch.from_numpy(np.stack(images)),
        torch.arange(count) % 2,
        ("plain", "striped"),
        names,
        [f"pair {case // 2}" for case in range(count)],
        augment=("mirror",),
        licence="CC0",
        columns={"twin": [f"{min(case ^ 1, count - 1)}.png" for case in range(count)], "object": areas},
    )


WORDS = (
    ("犬", "dog"),
    ("猫", "cat"),
    ("魚", "fish"),
    ("本", "book"),
    ("雨", "rain"),
    ("心臓", "heart"),
    ("水", "water"),
    ("学校", "school"),
    ("医者", "doctor"),
    ("電車", "train"),
    ("花", "flower"),
)


def sorted_texts(count=200, seed=0) -> Dataset:
    """Sentences about patients or about the sea, English and Japanese in turn."""
    generator = np.random.default_rng(seed)
    words = (("fever", "doctor", "ward", "患者", "薬"), ("ship", "wave", "harbour", "海", "船"))
    label = generator.integers(2, size=count)
    texts = [" ".join(["the", *generator.choice(words[which], 3), "and", "more"]) for which in label]
    return Dataset(
        "sorted texts",
        ListColumn(texts),
        torch.from_numpy(label),
        ("clinic", "sea"),
        [f"{i:04d}" for i in range(count)],
        augment=(),
        licence="CC0",
    )


def asked(count=200, seed=0, options=4) -> Dataset:
    """Japanese words whose English one is to be chosen; with an article it is longer than most."""
    generator = np.random.default_rng(seed)
    questions, right = [], []
    for _case in range(count):
        chosen = generator.permutation(len(WORDS))[:options]
        place = int(generator.integers(options))
        said = [WORDS[word][1] for word in chosen]
        said[place] = f"the {said[place]}"
        questions.append(Question(WORDS[chosen[place]][0], tuple(said), "easy"))
        right.append(place)
    return Dataset(
        "asked",
        ListColumn(questions),
        torch.tensor(right),
        tuple("ABCDEFGH")[:options],
        [f"{i:04d}" for i in range(count)],
        augment=(),
        licence="CC0",
    )


THINGS = (
    ("The key of the cabinet", "棚の鍵は", "lies in room 201.", "201号室にある。"),
    ("The old wheelchair", "古い車椅子は", "was given away.", "人に譲られた。"),
    ("Dr. Ogawa", "小川医師は", "is on call on Monday.", "月曜日の当直である。"),
    ("The blue folder", "青い書類入れは", "holds the letters.", "手紙を収めている。"),
)


def searches(count=200) -> Dataset:
    """Questions to a text of four sentences, in turn one that it answers and one that it does not;
    English and Japanese."""
    texts = [Shelf([f"{who} {what}" for who, _j, what, _k in THINGS])]
    texts.append(Shelf(["".join((who, what)) for _e, who, _f, what in THINGS]))
    asked, right = [], []
    for number in range(count):
        language, k, absent = number // 2 % 2, number // 4 % len(THINGS), number % 2
        shelf = texts[language]
        what = THINGS[k][language]
        if absent:
            what = ("How far is the moon?", "月はどれほど遠いですか")[language]
        asked.append(Search(what, shelf.text))
        right.append(places() if absent else places(shelf.spans[k]))
    return Dataset(
        "searches",
        ListColumn(asked),
        ListColumn(right),
        (),
        [f"{i:04d}" for i in range(count)],
        augment=(),
        columns={"language": [("en", "ja")[i // 2 % 2] for i in range(count)]},
    )


def sentences(count=200, seed=0) -> Dataset:
    """Short sentences from a few words, English and Japanese in turn."""
    generator = np.random.default_rng(seed)
    words = (
        ("The patient", "The nurse", "A doctor"),
        ("takes", "reads", "needs"),
        ("the file", "a tablet", "two letters"),
    )
    japanese = (("患者が", "看護師が", "医師が"), ("書類を", "薬を", "手紙を"), ("読む", "飲む", "書く"))
    texts = []
    for number in range(count):
        chosen = [generator.integers(3, size=3) for _line in range(4)]
        if number % 2:
            texts.append("".join("".join(japanese[i][k] for i, k in enumerate(c)) + "。" for c in chosen))
        else:
            texts.append(" ".join(" ".join(words[i][k] for i, k in enumerate(c)) + "." for c in chosen))
    return Dataset(
        "sentences",
        ListColumn(texts),
        None,
        (),
        [f"{i:04d}" for i in range(count)],
        augment=(),
        columns={"language": ["ja" if i % 2 else "en" for i in range(count)]},
    )


def tagged(count=200, seed=0) -> Dataset:
    """Sentences with the names of persons and places, English and Japanese in turn."""
    generator = np.random.default_rng(seed)
    people = (("Ann", "Lee"), ("Bob",), ("Eve", "Stone")), (("田中",), ("山", "田"), ("佐藤",))
    places = (("Paris",), ("New", "York"), ("Oslo",)), (("東京",), ("大", "阪"), ("京都",))
    sentences, tags = [], []
    for number in range(count):
        spoken = number % 2
        person, place = (names[spoken][generator.integers(3)] for names in (people, places))
        before, after = (("went", "to"), (".",)), (("は",), ("へ", "行く", "。"))
        middle, end = before if not spoken else after
        words = [*person, *middle, *place, *end]
        sentences.append(tuple(words))
        tags.append(
            torch.tensor(
                [*([3] + [4] * (len(person) - 1)), *[0] * len(middle), *([1] + [2] * (len(place) - 1)), *[0] * len(end)]
            )
        )
    return Dataset(
        "tagged",
        ListColumn(sentences),
        ListColumn(tags),
        ("O", "B-LOC", "I-LOC", "B-PER", "I-PER"),
        [f"{i:04d}" for i in range(count)],
        augment=(),
        licence="CC0",
        columns={"language": ["ja" if i % 2 else "en" for i in range(count)]},
    )


ENGLISH = (
    ("The patient", "The nurse", "A doctor", "The pupil", "My brother", "The driver"),
    ("reads", "takes", "writes", "wants", "buys", "loses"),
    ("the file", "a tablet", "two letters", "the key", "a book", "three tickets"),
)
JAPANESE = (
    ("患者が", "看護師が", "医師が", "生徒が", "兄が", "運転手が"),
    ("読む", "とる", "書く", "ほしがる", "買う", "なくす"),
    ("書類を", "錠剤を", "手紙を二通", "鍵を", "本を", "切符を三枚"),
)


def translations(count=200, seed=0) -> Dataset:
    """Two English sentences of three words, and the Japanese ones, whose verb comes last; blocks of
    five."""
    generator = np.random.default_rng(seed)
    rows = generator.integers(6, size=(count, 2, 3)).tolist()
    english = [" ".join(_english(row) for row in pair) for pair in rows]
    japanese = ["".join(_japanese(row) for row in pair) for pair in rows]
    return Dataset(
        "translations",
        ListColumn(english),
        ListColumn(japanese),
        (),
        [f"{i:04d}" for i in range(count)],
        [f"block {i // 5}" for i in range(count)],
        augment=(),
        licence="CC0",
        columns={"language": ["en"] * count, "target language": ["ja"] * count},
    )


def _english(row):
    return " ".join(ENGLISH[i][k] for i, k in enumerate(row)) + "."


def _japanese(row):
    return "".join(JAPANESE[i][row[i]] for i in (0, 2, 1)) + "。"


def summaries(count=200, seed=0) -> Dataset:
    """Five sentences about different things, and what the first of them says again; English and
    Japanese in turn."""
    generator = np.random.default_rng(seed)
    texts, leads = [], []
    for number in range(count):
        rows = zip(*(generator.permutation(6)[:5] for _part in range(3)), strict=True)
        told = [_japanese(row) if number % 2 else _english(row) for row in rows]
        texts.append(("" if number % 2 else " ").join(told))
        leads.append(told[0])
    return Dataset(
        "summaries",
        ListColumn(texts),
        ListColumn(leads),
        (),
        [f"{i:04d}" for i in range(count)],
        augment=(),
        licence="CC0",
        columns={"language": ["ja" if i % 2 else "en" for i in range(count)]},
    )


def tunes(count=200, seed=0) -> Dataset:
    """Two bars of triads, each a quarter long, in a key of chance; the tune is the chords' top, and
    the third goes on where the chord stays. Blocks of five."""
    generator = np.random.default_rng(seed)
    chords = ((12, 7, 4, -12), (12, 9, 5, -7), (11, 7, 2, -5))  # tonic, subdominant, dominant
    pieces = []
    for _piece in range(count):
        grid = torch.zeros(32, 4, dtype=torch.uint8)
        key, before = 55 + int(generator.integers(6)), -1
        for beat in range(8):
            chord = 0 if beat in (0, 7) else int(generator.integers(3))
            grid[4 * beat] = torch.tensor(chords[chord]) + key
            if chord == before:
                grid[4 * beat, 2] = 0
            before = chord
        pieces.append(Voices(grid, 16, 0))
    return Dataset(
        "tunes",
        ListColumn(pieces),
        None,
        (),
        [f"{i:04d}" for i in range(count)],
        [f"block {i // 5}" for i in range(count)],
        augment=("transpose",),
        licence="CC0",
    )


def requested(count=200, seed=0) -> Dataset:
    """Requests for pages of one or two parts, English and Japanese in turn."""
    generator = np.random.default_rng(seed)
    said = {
        "menu": ("a menu with {} links", "リンクが{}のメニュー"),
        "list": ("a list of {} items", "項目が{}のリスト"),
        "form": ("a form with {} fields", "欄が{}のフォーム"),
        "cards": ("{} cards", "カード{}枚"),
    }
    requests, parts = [], []
    for case in range(count):
        chosen = generator.permutation(list(said))[: generator.integers(1, 3)].tolist()
        counts = generator.integers(2, 6, len(chosen)).tolist()
        told = [said[kind][case % 2].format(n) for kind, n in zip(chosen, counts, strict=True)]
        requests.append(("、" if case % 2 else " and ").join(told))
        parts.append(tuple(Part(kind, "", n) for kind, n in zip(chosen, counts, strict=True)))
    return Dataset(
        "requested",
        ListColumn(requests),
        ListColumn(parts),
        (),
        [f"{i:04d}" for i in range(count)],
        augment=(),
        licence="CC0",
        columns={
            "language": ["ja" if i % 2 else "en" for i in range(count)],
            "subset": ["new pairs" if i % 3 else "new wordings" for i in range(count)],
        },
    )


TONES = {"low": 300, "mid": 900, "high": 2700}  # Hz


def uttered(count=200, seed=0) -> Dataset:
    """Recordings of one to three tones in noise, each the word of its pitch; blocks of five are one
    speaker's, English and a Japanese word in turn."""
    generator = np.random.default_rng(seed)
    made, texts = [], []
    for number in range(count):
        words = generator.choice(list(TONES), generator.integers(1, 4)).tolist()
        time = np.arange(int(0.15 * RATE)) / RATE
        level = generator.uniform(0.1, 0.5)
        parts = [np.zeros(800)]
        for word in words:
            pitch = TONES[word] * generator.uniform(0.95, 1.05)
            parts += [level * np.sin(2 * np.pi * pitch * time), np.zeros(1200)]
        wave = np.concatenate(parts)
        made.append(recordings.of(wave + generator.normal(0, 0.002, len(wave))))
        texts.append("低中高"[list(TONES).index(words[0])] if number % 2 else " ".join(words))
    return Dataset(
        "uttered",
        ListColumn(made),
        ListColumn(texts),
        (),
        [f"{i:04d}.wav" for i in range(count)],
        [f"speaker {i // 5}" for i in range(count)],
        augment=(),
        licence="CC0",
        columns={"language": ["ja" if i % 2 else "en" for i in range(count)]},
    )


BAR = Skeleton(("left end", "right end", "middle"), ((0, 2), (2, 1)), (1, 0, 2))


def posed(count=200, side=64, most=2, seed=0) -> Dataset:
    """One to ``most`` bars a picture with bright ends and a green middle; blocks of five. An end
    under a later bar is hidden, and one in twenty is not marked."""
    random = np.random.default_rng(seed)
    images, figures = [], []
    for _case in range(count):
        image = Image.fromarray(random.integers(0, 70, (side, side, 3), dtype=np.uint8))
        draw, rows, points = ImageDraw.Draw(image), [], []
        for _bar in range(random.integers(1, most + 1)):
            half = side // 4
            x, y = random.uniform(half + 3, side - half - 3, 2)
            angle = random.uniform(-1.2, 1.2)
            away = half * np.array([np.cos(angle), np.sin(angle)])
            ends = [(x - away[0], y - away[1]), (x + away[0], y + away[1]), (x, y)]
            draw.line((*ends[0], *ends[1]), fill=(150, 80, 160), width=max(2, side // 16))
            for k, (a, b) in enumerate(ends):
                r = max(2, side // 20)
                draw.ellipse((a - r, b - r, a + r, b + r), fill=((40, 230, 60), "white")[k < 2])
                for other in points:  # those that lie below
                    for place in other:
                        if np.hypot(place[0] - a, place[1] - b) < r:
                            place[2] = min(place[2], HIDDEN)
            reach = np.abs(away) + 3
            rows.append([0, x - reach[0], y - reach[1], x + reach[0], y + reach[1]])
            points.append([[a, b, SEEN * (random.random() > 0.05)] for a, b in ends])
        images.append(torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy()))
        box = torch.tensor(rows, dtype=torch.float32)
        figures.append(Figures(box, torch.tensor(points, dtype=torch.float32), area_of(box), BAR))
    return Dataset(
        "bars",
        torch.stack(images),
        ListColumn(figures),
        ("bar",),
        [f"{case}.png" for case in range(count)],
        [f"block {case // 5}" for case in range(count)],
        licence="CC0",
    )


def cases_for(task, digits, count):
    """So many cases of what a task takes; the same object each time, which nothing changes."""
    target = registry.load_task(task).target
    return made(target, count) if target in MADE else digits.only(range(count))


@lru_cache(maxsize=4)
def made(target, count):
    return MADE[target](count)


def overlap(first, second):
    """Intersection over the smaller area."""
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    area = min((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return max(wide, 0) * max(high, 0) / area


def pieces_learnt(text):
    """A tokenizer like Llama 2's, as the library of that name learns it."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, trainers

    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    blanks = [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    backend.normalizer = normalizers.Sequence(blanks)
    signs = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=signs, show_progress=False)
    backend.train_from_iterator([text] * 20, trainer)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return Tokenizer(backend, "", ["</s>"], "<s>")


def gguf_of(model, tokenizer, file, factors=None, architecture="llama", pieces=False, template=""):
    """As llama.cpp writes it; of Llama the two halves of a head stand in turn."""
    import gguf

    config, writer = model.config, gguf.GGUFWriter(str(file), architecture)
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors.float().numpy())
    writer.add_license("mit")
    if template:
        writer.add_chat_template(template)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_file_type(0)
    writer.add_tokenizer_model("llama" if pieces else "gpt2")
    writer.add_tokenizer_pre("default" if pieces else "gpt-2")
    words = [tokenizer.backend.id_to_token(i) for i in range(len(tokenizer))]
    writer.add_token_list(words)
    merges = json.loads(tokenizer.backend.to_str())["model"]["merges"]
    if pieces:
        special, rank = ("<s>", "</s>"), {"".join(pair): n for n, pair in enumerate(merges)}
        sorts = [6 if word.startswith("<0x") else 3 if word in special else 1 for word in words]
        writer.add_token_types([2, *sorts[1:]])
        writer.add_token_scores([-float(rank.get(word, 10**6)) for word in words])
        writer.add_bos_token_id(tokenizer.start)
    else:
        writer.add_token_types([3 if word.startswith("<|") else 1 for word in words])
        writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(tokenizer.end[0])
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "self_attn.q_norm": "attn_q_norm",
        "self_attn.k_norm": "attn_k_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "model.layers": "blk",
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
    }
    for name, weight in model.state_dict().items():
        values = weight.float().numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        turned = next((heads[part] for part in heads if part in name), 0)
        if turned and architecture == "llama":
            shape = values.shape
            values = values.reshape(turned, 2, shape[0] // turned // 2, -1).swapaxes(1, 2)
            values = np.ascontiguousarray(values.reshape(shape))
        for old, new in names.items():
            name = name.replace(old, new)
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def published(kind, folder, tokenizer, **more):
    """A small model of transformers with weights that bf16 holds, saved as models are."""
    import transformers

    torch.manual_seed(1)
    if kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2, n_head=4)
    else:
        made = {
            "llama": transformers.LlamaConfig,
            "qwen2": transformers.Qwen2Config,
            "qwen3": transformers.Qwen3Config,
        }[kind]
        config = made(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            tie_word_embeddings=kind == "qwen2",
            **more,
        )
    model = transformers.AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
        weight.data = weight.data.bfloat16().float()
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer.backend.to_str(), encoding="utf-8")
    return model.eval()


def captioned(count=200, side=32, seed=0) -> Dataset:
    """A coin (disc), a road sign (square) or a building (wedge) in one of three colours, left or
    right, on sand or at night, with captions in English and Japanese."""
    generator = np.random.default_rng(seed)
    images, asked = [], []
    for _case in range(count):
        thing = str(generator.choice(["coin", "sign", "building"]))
        colour = str(generator.choice(["red", "green", "blue"]))
        place = str(generator.choice(["left", "right"]))
        ground = str(generator.choice(["sand", "night"]))
        behind = painted_ground(ground, side, generator).clip(0, 255).astype(np.uint8)
        image = Image.fromarray(behind)
        draw = ImageDraw.Draw(image)
        half, x = side // 4, side * (3 if place == "left" else 7) // 10
        box = (x - half, side // 2 - half, x + half, side // 2 + half)
        fill = TINTS[colour]
        if thing == "coin":
            draw.ellipse(box, fill=fill)
        elif thing == "sign":
            draw.rectangle(box, fill=fill)
        else:
            draw.polygon([(box[0], box[3]), (box[2], box[3]), (x, box[1])], fill=fill)
        images.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
        asked.append(Attributes(thing, colour, 1, place, ground))
    return Dataset(
        "captioned",
        torch.stack(images),
        ListColumn(list(map(captions, asked))),
        ("coin", "sign", "building"),
        [f"{case}.png" for case in range(count)],
        augment=(),
        licence="CC0",
        columns={name: [str(getattr(each, name)) for each in asked] for name in NAMES},
    )


def filmed(count=200, side=16, frames=4, seed=0) -> Dataset:
    """A red, green or blue square on sand or at night that moves to one of four sides or stays, in
    strips of frames, with captions in English and Japanese."""
    generator = np.random.default_rng(seed)
    strips, asked = [], []
    for _case in range(count):
        colour = str(generator.choice(["red", "green", "blue"]))
        behind = str(generator.choice(["sand", "night"]))
        motion = str(generator.choice(["left", "right", "up", "down", "still"]))
        canvas = painted_ground(behind, side, generator).clip(0, 255).astype(np.uint8)
        film = np.stack([canvas] * frames)
        for frame, (x, y, size, _turn) in zip(film, moving.way(motion, frames, generator), strict=True):
            half = round(size * side / 2)
            left, top = (round(place * side) for place in (x, y))
            frame[max(0, top - half) : top + half, max(0, left - half) : left + half] = TINTS[colour]
        strips.append(torch.from_numpy(film.reshape(-1, side, 3)).permute(2, 0, 1))
        asked.append(moving.Moving("sign", colour, behind, motion))
    return Dataset(
        "filmed",
        torch.stack(strips),
        ListColumn(list(map(moving.captions, asked))),
        ("sign",),
        [f"{case}.webp" for case in range(count)],
        augment=(),
        licence="CC0",
        columns={name: [str(getattr(each, name)) for each in asked] for name in moving.NAMES},
    )


def questioned(count=200, side=32, seed=0) -> Dataset:
    """The pictures of ``captioned`` with four questions each, in English and Japanese."""
    drawn = captioned(count, side, seed)
    every = []
    for number in range(count):
        thing, colour, _one, place, ground = (drawn.columns[name][number] for name in NAMES)
        scene = Attributes(thing, colour, 1, place, ground)
        rows = [OPEN[name][1](scene) for name in ("object", "colour", "place")]
        rows.append(("yes/no", STATEMENTS[3][2](scene, "left"), POLAR[place == "left"]))
        every.append(
            tuple(
                PictureQuestion(text, answer, language, sort)
                for sort, wordings, answers in rows
                for text, answer, language in zip(wordings[number % 2], answers, ("en", "ja"), strict=True)
            )
        )
    return replace(drawn, name="questioned", target=ListColumn(every), classes=())
