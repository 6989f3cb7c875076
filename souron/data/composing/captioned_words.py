"""Captions of scenes with known attributes, in English and in Japanese.

A scene has one to three things of one class, a colour (or their own), a position (of a single
thing) and a ground. Every caption states all of these, in several wordings; in Japanese the counter
fits the thing.
"""

import re
from dataclasses import dataclass, fields

from souron.data.composing.words import ENGLISH, JAPANESE, Word
from souron.data.targets.captions import Caption
from souron.utils.messages import N_

THINGS = {
    "bird": Word("bird", "birds", "鳥", "羽"),
    "mammal": Word("mammal", "mammals", "動物", "匹"),
    "fish": Word("fish", "fish", "魚", "匹"),
    "insect": Word("insect", "insects", "虫", "匹"),
    "flower": Word("flower", "flowers", "花", "輪"),
    "fruit": Word("fruit", "fruits", "果物", "個"),
    "vegetable": Word("vegetable", "vegetables", "野菜", "個"),
    "clothing": Word("garment", "garments", "服", "着"),
    "hat": Word("hat", "hats", "帽子", "個"),
    "person": Word("person", "people", "人", "人"),
    "building": Word("building", "buildings", "建物", "棟"),
    "vehicle": Word("vehicle", "vehicles", "乗り物", "台"),
    "sign": Word("road sign", "road signs", "標識", "枚"),
    "coin": Word("coin", "coins", "硬貨", "枚"),
    "planet": Word("planet", "planets", "惑星", "個"),
    "chess": Word("chess piece", "chess pieces", "チェスの駒", "個"),
    "instrument": Word("instrument", "instruments", "楽器", "つ"),
    "tool": Word("tool", "tools", "道具", "つ"),
    "dish": Word("dish", "dishes", "食器", "つ"),
    "appliance": Word("appliance", "appliances", "家電", "台"),
}
COLOURS = {  # Japanese, used before a noun: 赤い鳥, 紫の鳥
    "red": "赤い",
    "yellow": "黄色い",
    "green": "緑の",
    "blue": "青い",
    "purple": "紫の",
    "white": "白い",
}
PLACES = {
    "left": ("on the left", "左側"),
    "right": ("on the right", "右側"),
    "top": ("at the top", "上の方"),
    "bottom": ("at the bottom", "下の方"),
    "middle": ("in the middle", "真ん中"),
}
GROUNDS = {
    "grass": ("on grass", "草の上"),
    "sand": ("on sand", "砂の上"),
    "water": ("on water", "水の上"),
    "snow": ("on snow", "雪の上"),
    "sky": ("in the blue sky", "青空"),
    "night": ("in the night sky", "夜空"),
}
OWN = ""  # a thing keeps its own colour
REMARK = re.compile(r"[.!?—–。！？(（「,、:;].*", re.DOTALL)
COLOURED = re.compile(
    r"\b(red|yellow|green|blue|purple|white|black|orange|pink|brown|gr[ae]y|golden?|silver)|"
    r"[赤青黄緑紫白黒茶]|あか|あお|きいろ|みどり|むらさき|しろ|くろ|ちゃいろ|ピンク|オレンジ色",
    re.IGNORECASE,
)
MOST_WORDS, MOST_LETTERS = 3, 12  # limits of a stamp's own name, in English and in Japanese


@dataclass(frozen=True)
class Attributes:
    """All that a caption states about a scene."""

    object: str  # of ``THINGS``
    colour: str  # of ``COLOURS``, or ``OWN``
    count: int  # 1, 2, 3
    place: str  # of ``PLACES``; "" for several things
    ground: str  # of ``GROUNDS``


TITLES = {
    "object": N_("object"),
    "colour": N_("colour"),
    "count": N_("count"),
    "place": N_("place"),
    "ground": N_("ground"),
}
NAMES = tuple(each.name for each in fields(Attributes))


def captions(attributes: Attributes, called: tuple[str, str] = ("", "")) -> tuple[Caption, ...]:
    """Return three wordings in each language, and one more with the specific name in ``called``
    (English, Japanese) of a single thing, if it is known."""
    word = THINGS[attributes.object]
    english, japanese = called
    written = [*english_of(attributes, word.one, word.many)]
    if english and attributes.count == 1:
        written.append(english_of(attributes, english, english)[0])
    spoken = [*japanese_of(attributes, word.ja)]
    if japanese and attributes.count == 1:
        spoken.append(japanese_of(attributes, japanese)[0])
    return tuple(Caption(text, language) for language, texts in (("en", written), ("ja", spoken)) for text in texts)


def english_of(attributes: Attributes, one: str, many: str) -> list[str]:
    """Return three English wordings, such as ``a red bird on the left, on grass``."""
    things = " ".join(filter(None, [attributes.colour, one if attributes.count == 1 else many]))
    if attributes.count == 1:
        things = f"{'an' if things[0] in 'aeiou' else 'a'} {things}"
    else:
        things = f"{ENGLISH[attributes.count]} {things}"
    ground = GROUNDS[attributes.ground][0]
    place = PLACES[attributes.place][0] if attributes.place else ""
    first = f"{things} {place}, {ground}" if place else f"{things} {ground}"
    last = f"{ground}: {things} {place}".strip()
    return [first, f"a picture of {first}", last]


def japanese_of(attributes: Attributes, noun: str) -> list[str]:
    """Return three Japanese wordings, such as ``草の上の左側に、一羽の赤い鳥``."""
    word = THINGS[attributes.object]
    number = JAPANESE[attributes.count] + word.counter
    coloured = COLOURS.get(attributes.colour, "") + noun
    ground = GROUNDS[attributes.ground][1]
    where = f"{ground}の{PLACES[attributes.place][1]}" if attributes.place else ground
    return [
        f"{where}に、{number}の{coloured}",
        f"{coloured}が{number}、{where}",
        f"{where}に{coloured}が{number}写った画像",
    ]


def cleaned(text: str, japanese: bool) -> str:
    """Extract the name of the thing from a stamp's caption, without article, remark and full stop.
    Returns "" if there is no short name, or if it names a colour, since the scene may use another.
    """
    name = REMARK.sub("", text.replace("\u3000", " ")).strip()
    if COLOURED.search(name):
        return ""
    if japanese:
        name = re.sub(r"\s+", "", name)
        return name if 0 < len(name) <= MOST_LETTERS else ""
    found = re.fullmatch(r"an? ([a-z][a-z' -]*)", name, re.IGNORECASE)  # neither "some" nor plurals
    name = found[1].strip().lower() if found else ""
    return name if len(name.split()) <= MOST_WORDS else ""


def asked_for(prompt: str) -> dict[str, str]:
    """Return the attributes that a prompt names, in English or Japanese, with their values.

    >>> asked_for("two red birds on grass")
    {'object': 'bird', 'colour': 'red', 'count': '2', 'ground': 'grass'}
    """
    text = prompt.lower()
    found: dict[str, str] = {}
    for name, table in _SPELLINGS.items():
        for spelling, value in table:
            pattern = rf"\b{re.escape(spelling)}\b" if spelling.isascii() else re.escape(spelling)
            if re.search(pattern, text):
                found[name] = value
                text = re.sub(pattern, " ", text)  # the blue of a blue sky is not a thing's colour
                break
    return {name: found[name] for name in NAMES if name in found}


def _spellings() -> dict[str, list[tuple[str, str]]]:
    """Return attribute -> (spelling, value) pairs, the longest first, in the order of the
    search."""
    things = [(spelling, name) for name, word in THINGS.items() for spelling in {word.one, word.many, word.ja}]
    counted = {word.counter for word in THINGS.values()}
    counts = [(ENGLISH[number], str(number)) for number in (2, 3)]
    counts += [(JAPANESE[n] + counter, str(n)) for n in (1, 2, 3) for counter in sorted(counted)]
    grounds = [
        (spelling, name)
        for name, (english, ja) in GROUNDS.items()
        for spelling in (
            english,
            ja,
            english.rpartition(" ")[2] if name not in ("sky", "night") else english,
            ja.removesuffix("の上"),
        )
    ]
    places = [
        (spelling, name)
        for name, (english, ja) in PLACES.items()
        for spelling in (english, ja, name if name in ("left", "right", "middle") else english, ja.removesuffix("側"))
    ]
    colours = [(spelling, name) for name, ja in COLOURS.items() for spelling in (name, ja[:-1])]
    tables = {
        "ground": [*grounds, ("night sky", "night"), ("blue sky", "sky"), ("夜", "night")],
        "place": places,
        "count": counts,
        "colour": colours,
        "object": things,
    }
    return {name: sorted(set(table), key=lambda pair: (-len(pair[0]), pair[0])) for name, table in tables.items()}


_SPELLINGS = _spellings()
