"""Captions of a scene's content, in English and in Japanese with the counter of each thing."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

ENGLISH = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
JAPANESE = "〇一二三四五六七八九十"


class Word(NamedTuple):
    """The words for a category."""

    one: str  # "bird"
    many: str  # "birds"
    ja: str  # 鳥
    counter: str  # 羽


WORDS = {
    "bird": Word("bird", "birds", "鳥", "羽"),
    "mammal": Word("mammal", "mammals", "動物", "匹"),
    "flower": Word("flower", "flowers", "花", "輪"),
    "fruit": Word("piece of fruit", "pieces of fruit", "果物", "個"),
    "vehicle": Word("vehicle", "vehicles", "乗り物", "台"),
    "coin": Word("coin", "coins", "硬貨", "枚"),
    "sign": Word("sign", "signs", "標識", "枚"),
    "building": Word("building", "buildings", "建物", "棟"),
    "insect": Word("insect", "insects", "昆虫", "匹"),
    "fish": Word("fish", "fish", "魚", "匹"),
    "vegetable": Word("vegetable", "vegetables", "野菜", "個"),
    "hat": Word("hat", "hats", "帽子", "個"),
    "person": Word("person", "people", "人", "人"),
}

PLACES = (  # of a 3 x 3 grid, row by row
    (("at the top left", "左上"), ("at the top", "上"), ("at the top right", "右上")),
    (("on the left", "左"), ("in the middle", "真ん中"), ("on the right", "右")),
    (("at the bottom left", "左下"), ("at the bottom", "下"), ("at the bottom right", "右下")),
)
NOTHING = {"en": ["nothing"], "ja": ["何もない"]}


def english(name: str, count: int) -> str:
    """Return a count with its noun in English, such as ``two birds``."""
    word = WORDS[name]
    number = ENGLISH[count] if count < len(ENGLISH) else str(count)
    return f"{number} {word.one if count == 1 else word.many}"


def japanese(name: str, count: int) -> str:
    """Return a count with its noun in Japanese, such as ``二羽の鳥``."""
    word = WORDS[name]
    number = JAPANESE[count] if count < len(JAPANESE) else str(count)
    if word.counter == word.ja:  # 三人, not 三人の人
        return f"{number}{word.counter}"
    return f"{number}{word.counter}の{word.ja}"


def captions(
    names: Sequence[str], places: Sequence[tuple[float, float]], sizes: Sequence[float]
) -> dict[str, list[str]]:
    """Return three captions in each language: the things and their counts, the same as a phrase "a
    picture of ...", and the position of the largest thing.

    ``names``: each thing's category; ``places``: its centre, x and y as fractions of the side;
    ``sizes``: the measure by which the largest is chosen.
    """
    if not names:
        return NOTHING
    counts = Counter(names).most_common()
    first = " and ".join(
        part for part in (", ".join(english(*each) for each in counts[:-1]), english(*counts[-1])) if part
    )
    said = "と".join(japanese(*each) for each in counts)
    largest = max(range(len(names)), key=lambda i: sizes[i])
    column, row = (min(2, max(0, int(3 * share))) for share in places[largest])
    where, place = PLACES[row][column]
    word = WORDS[names[largest]]
    article = "an" if word.one[0] in "aeiou" else "a"
    lead = "the largest thing is" if len(names) > 1 else "there is"
    begin = "一番大きいのは" if len(names) > 1 else ""
    return {
        "en": [first, f"a picture of {first}", f"{where} {lead} {article} {word.one}"],
        "ja": [
            said,
            f"{said}の写った画像",
            f"{begin}{place}の{word.ja}" if begin else f"{place}に{japanese(names[0], 1)}",
        ],
    }
