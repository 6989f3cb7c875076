"""Questions that the attributes of a scene answer, in English and in Japanese.

For each sort as many questions are asked as possible without the wording giving the answer away, as
in Goyal and others: Making the V in VQA Matter (2017), https://arxiv.org/abs/1612.00837: every
colour, count, position, ground and object is the answer equally often, and each yes/no question is
answered by both equally often. A pair of object and colour that is never shown is never asked
about, so that its absence is not learnt.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from souron.data.composing.captioned_words import COLOURS, GROUNDS, PLACES, THINGS, Attributes
from souron.data.composing.words import ENGLISH, JAPANESE, Word
from souron.data.targets.picture_questions import YES_NO, PictureQuestion

ALIVE = ("bird", "mammal", "fish", "insect", "person")  # Japanese uses いる for these
GROUND_NAMES = {
    "grass": ("grass", "草"),
    "sand": ("sand", "砂"),
    "water": ("water", "水"),
    "snow": ("snow", "雪"),
    "sky": ("the blue sky", "青空"),
    "night": ("the night sky", "夜空"),
}
COLOUR_NAMES = {"red": "赤", "yellow": "黄色", "green": "緑", "blue": "青", "purple": "紫", "white": "白"}
POLAR = {True: ("yes", "はい"), False: ("no", "いいえ")}
SORTS = ("object", "colour", "count", "place", "ground", YES_NO)
WORDINGS = 2  # of each question, in each language

Pairs = list[tuple[str, str]]  # English and Japanese, for each wording
Row = tuple[str, Pairs, tuple[str, str]]  # sort, wordings, the answer in both languages


def asked(scenes: Sequence[Attributes], rng: np.random.Generator) -> list[tuple[PictureQuestion, ...]]:
    """Return the questions about each of these scenes, every one in both languages."""
    found: list[list[PictureQuestion]] = [[] for _scene in scenes]
    for row, number, (sort, wordings, answers) in _all_asked(scenes, rng):
        said = wordings[number % len(wordings)]
        found[row] += [
            PictureQuestion(text, answer, language, sort)
            for text, answer, language in zip(said, answers, ("en", "ja"), strict=True)
        ]
    return [tuple(some) for some in found]


def _all_asked(scenes: Sequence[Attributes], rng: np.random.Generator) -> Iterator[tuple[int, int, Row]]:
    """Yield the row of the scene, the number of the wording, and the question."""
    for truth, question in OPEN.values():
        values = [truth(scene) for scene in scenes]
        for row in equally_often(values, rng):
            yield row, int(rng.integers(WORDINGS)), question(scenes[row])
    for truth, wrong, statement in STATEMENTS:
        values = [truth(scene) for scene in scenes]
        for value, pair in yes_and_no(values, wrong, rng).items():
            for yes, rows in zip((True, False), pair, strict=True):
                for number, row in enumerate(rows):  # the same wordings for yes and no
                    yield row, number, (YES_NO, statement(scenes[row], value), POLAR[yes])


def equally_often(values: Sequence[Hashable | None], rng: np.random.Generator) -> list[int]:
    """Select rows in which every value except None occurs as often as the rarest."""
    rows: dict[Hashable, list[int]] = defaultdict(list)
    for row in rng.permutation(len(values)).tolist():
        if values[row] is not None:
            rows[values[row]].append(row)
    least = min(map(len, rows.values()), default=0)
    return sorted(row for some in rows.values() for row in some[:least])


def yes_and_no(
    values: Sequence[Any], wrong: Callable[[Any, Sequence[Any]], list[Any]], rng: np.random.Generator
) -> dict[Any, tuple[list[int], list[int]]]:
    """Return value -> rows for which it is true, and equally many for which it is false. ``wrong``
    lists the values that may be asked in place of a true one; the one that most lacks a no is
    chosen."""
    yes: dict[Any, list[int]] = defaultdict(list)
    no: dict[Any, list[int]] = defaultdict(list)
    order = [row for row in rng.permutation(len(values)).tolist() if values[row] is not None]
    half = len(order) // 2
    for row in order[:half]:
        yes[values[row]].append(row)
    known = list(yes)
    for row in order[half:]:
        others = wrong(values[row], known)
        lacks = [len(yes[other]) - len(no[other]) for other in others]
        if lacks and max(lacks) > 0:
            most = [o for o, lack in zip(others, lacks, strict=True) if lack == max(lacks)]
            no[most[int(rng.integers(len(most)))]].append(row)
    return {value: (yes[value][: len(no[value])], no[value][: len(yes[value])]) for value in known if no[value]}


def _others(value: Any, known: Sequence[Any]) -> list[Any]:
    return [other for other in known if other != value]


def _half_others(value: tuple[str, str], known: Sequence[tuple[str, str]]) -> list[Any]:
    """Return the pairs with the same object in another colour, or another object in the same
    colour."""
    return [other for other in known if (other[0] == value[0]) != (other[1] == value[1])]


def _word(scene: Attributes) -> Word:
    return THINGS[scene.object]


def _is(scene: Attributes) -> str:
    return "い" if scene.object in ALIVE else "あり"


def _object(scene: Attributes) -> Row:
    word = _word(scene)
    return (
        "object",
        [
            ("What is shown?", "何が写っていますか。"),
            ("What kind of thing is in the picture?", "画像にあるのは何ですか。"),
        ],
        (word.one, word.ja),
    )


def _colour(scene: Attributes) -> Row:
    word = _word(scene)
    return (
        "colour",
        [
            (f"What colour is the {word.one}?", f"{word.ja}は何色ですか。"),
            ("What is the colour of the thing that is shown?", "写っているものの色は何ですか。"),
        ],
        (scene.colour, COLOUR_NAMES[scene.colour]),
    )


def _count(scene: Attributes) -> Row:
    word = _word(scene)
    many = "いくつ" if word.counter == "つ" else f"何{word.counter}"
    return (
        "count",
        [
            (f"How many {word.many} are there?", f"{word.ja}は{many}{_is(scene)}ますか。"),
            (f"How many {word.many} do you see?", f"{word.ja}の数はいくつですか。"),
        ],
        (str(scene.count), str(scene.count)),
    )


def _place(scene: Attributes) -> Row:
    word = _word(scene)
    return (
        "place",
        [
            (f"Where in the picture is the {word.one}?", f"{word.ja}は画像のどこに{_is(scene)}ますか。"),
            (f"In which part of the picture is the {word.one}?", f"{word.ja}の位置はどこですか。"),
        ],
        PLACES[scene.place],
    )


def _ground(scene: Attributes) -> Row:
    word = _word(scene)
    return (
        "ground",
        [
            ("What is the background?", "背景は何ですか。"),
            (f"What is behind the {word.one}?", f"{word.ja}の後ろは何ですか。"),
        ],
        GROUND_NAMES[scene.ground],
    )


OPEN: Mapping[str, tuple[Callable[[Attributes], Any], Callable[[Attributes], Row]]] = {
    "object": (lambda scene: scene.object, _object),
    "colour": (lambda scene: scene.colour or None, _colour),
    "count": (lambda scene: scene.count, _count),
    "place": (lambda scene: scene.place or None, _place),
    "ground": (lambda scene: scene.ground, _ground),
}


def _shows(_scene: Attributes, name: str) -> Pairs:
    word = THINGS[name]
    return [
        (f"Does the picture show {_a(word.one)}?", f"{word.ja}が写っていますか。"),
        (f"Is this {_a(word.one)}?", f"これは{word.ja}ですか。"),
    ]


def _shows_pair(_scene: Attributes, pair: tuple[str, str]) -> Pairs:
    name, colour = pair
    word, be = THINGS[name], "い" if name in ALIVE else "あり"
    return [
        (f"Is there a {colour} {word.one}?", f"{COLOURS[colour]}{word.ja}は{be}ますか。"),
        (f"Is the thing that is shown a {colour} {word.one}?", f"写っているのは{COLOURS[colour]}{word.ja}ですか。"),
    ]


def _are(scene: Attributes, count: int) -> Pairs:
    word = _word(scene)
    number = JAPANESE[count] + word.counter
    noun = f"{ENGLISH[count]} {word.one if count == 1 else word.many}"
    return [
        (f"{'Is' if count == 1 else 'Are'} there exactly {noun}?", f"{word.ja}はちょうど{number}ですか。"),
        (f"Do you see exactly {noun}?", f"写っている{word.ja}は{number}ですか。"),
    ]


def _lies(scene: Attributes, place: str) -> Pairs:
    word, (english, japanese) = _word(scene), PLACES[place]
    return [
        (f"Is the {word.one} {english}?", f"{word.ja}は{japanese}に{_is(scene)}ますか。"),
        (f"Does the {word.one} lie {english}?", f"{word.ja}の位置は{japanese}ですか。"),
    ]


def _lies_on(scene: Attributes, ground: str) -> Pairs:
    word, (english, japanese) = _word(scene), GROUND_NAMES[ground]
    return [
        (f"Is the background {english}?", f"背景は{japanese}ですか。"),
        (f"Is there {english} behind the {word.one}?", f"{word.ja}の後ろは{japanese}ですか。"),
    ]


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


STATEMENTS: Sequence[tuple[Callable[[Attributes], Any], Callable[..., list[Any]], Callable[..., Pairs]]] = (
    (lambda scene: scene.object, _others, _shows),
    (lambda scene: (scene.object, scene.colour) if scene.colour else None, _half_others, _shows_pair),
    (lambda scene: scene.count, _others, _are),
    (lambda scene: scene.place or None, _others, _lies),
    (lambda scene: scene.ground, _others, _lies_on),
)
assert set(GROUND_NAMES) == set(GROUNDS) and set(COLOUR_NAMES) == set(COLOURS)
