"""Parse sides and other opposites, negation, names and content words of a sentence.

Opposites have the same number in English and Japanese, so that ``left`` and ``右`` are recognised
as different. These are lists and patterns, without a grammar; the learned judge may still notice
what they miss.
"""

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from souron.evaluation.language.unsupported_words import BINDS

WORDS = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
# category, words of one pole, words of the other
OPPOSITES: list[list[str]] = WORDS["opposites"]

_table: dict[str, set[tuple[int, int]]] = {}
for _number, (_sort, *_poles) in enumerate(OPPOSITES):
    for _pole, _words in enumerate(_poles):
        for _word in _words.replace("both-sides", "").split():
            _table.setdefault(_word, set()).add((_number, _pole))
_latin = sorted((w for w in _table if w[0].isascii()), key=len, reverse=True)
_asian = sorted((w for w in _table if not w[0].isascii()), key=len, reverse=True)
POLE = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(map(re.escape, _latin))})(?![A-Za-z])|{'|'.join(_asian)}", re.IGNORECASE)
# expressions that contain these characters with another meaning
NO_POLE = re.compile(
    r"以上|以下|以前|以後|以内|上記|下記|左右(?!とも)|上下|前後|午前|午後|名前|事前|直前|直後|最後に|"
    r"その後|この後|今後|背後|同上|向上|上手|下手|以上の|歯科|前述|目の前|以上で|生後|術前|術後|"
    r"長さ|高さ|高齢|大きさ|最高|最低|急性|早急|救急|縦横|"
    r"right (?:now|away)|all right|copyright|no longer|at least|first of all|as well|as long as|"
    r"so that",
    re.IGNORECASE,
)
NEGATIVE_EN = re.compile(
    r"(?<![A-Za-z])(?:no(?! longer than| more than| less than| fewer)|not(?! only)|cannot|never|"
    r"without|none|neither|nor|nothing|den(?:y|ies|ied|ying)|absen(?:t|ce)|negative|lack(?:s|ed|ing)?|"
    r"unable|rarely|free of|fail(?:s|ed)? to|contraindicated|forbidden|prohibited|avoid(?:s|ed)?|"
    r"refus(?:e|es|ed)|"
    r"rul(?:e|ed|es) out|don't|doesn't|didn't|isn't|aren't|wasn't|weren't|won't|can't|"
    r"couldn't|shouldn't|mustn't|hasn't|haven't|hadn't|needn't|wouldn't)(?![A-Za-z])",
    re.IGNORECASE,
)
NEGATIVE_JA = re.compile(
    r"ません|な[いか](?:っ[たて])?|なく(?:て|なっ|、|$)?|な[しき](?=[、。・\s)）]|$|で)|無[しい]|ず(?:に|、|$)|せず|"
    r"否定|陰性|不可|不能|不要|禁止|禁忌|避け|除外|(?:未|非|不|無)(?=[一-龯]{1,3})|ぬ(?=[。、]|$)"
)
NO_NEGATIVE_JA = re.compile(
    r"な(?:ければ|くては|いと)(?:な(?:り|ら)(?:ません|ない)|いけ(?:ません|ない))|かもしれ(?:ません|ない)|"
    r"だけで(?:は)?な(?:く|い)|のみな(?:らず|く)|少な[いくか]|危な[いく]|ざるを得な[いく]|"
    r"必ず|まず|ずつ|はず|いずれ|ずれ|限らず|問わず|相変わらず|わず|思わず|"
    r"(?:もし)?.{0,2}なかったら|しかな[いく]|違いな[いく]|"
    r"不正|不安|無料|無線|無事|非常|未来|未満|不足|無視|不明|不審|不具合|不良|無限|非公式|不思議|"
    # names that are no negation
    r"無作為|不整脈|未熟児|不妊|不全|不眠|不随意|不定愁訴|不育症|不動態|不活化|非劣性|非小細胞|非結核性|"
    r"非ステロイド|非侵襲|非定型|非代償|非アルコール|非特異|無菌|無呼吸|無酸症|無月経|無気肺|無水|無脾症|未分化|"
    r"未成年|未経産|未亡人|未定"
)
ASIAN = r"\u3400-\u9fff\uf900-\ufaff々"
KATAKANA = r"\u30a1-\u30fa\u30fc"
TOKEN = re.compile(rf"[{ASIAN}]+|[{KATAKANA}]{{2,}}|[A-Za-z][A-Za-z0-9_'’+-]*[A-Za-z0-9+]|[A-Za-z]")
CAPITAL = re.compile(r"(?<![\w.])(?:[A-Z][A-Za-z0-9]*[A-Za-z0-9-]*)")
DRUG = re.compile(
    r"\b[a-z]{2,}(?:cillin|mycin|azole|olol|pril|sartan|statin|caine|mab|xaban|profen|oxacin|"
    r"cycline|prazole|formin|gliptin|gliflozin|parin|farin|lone|sone|zepam|zolam|triptan|dipine|"
    r"setron|tidine|fenac|coxib|dronate|vir|phen|morphine|codeine|amide)\b"
    r"|\b(?:aspirin|paracetamol|insulin|digoxin|lithium|latex|iodine|naproxen|gabapentin|pregabalin|"
    r"adrenaline|epinephrine|thyroxine|levothyroxine|chlorhexidine|tramadol|fentanyl|ketamine|propofol)\b"
)
PERSON = re.compile(rf"([{ASIAN}]{{1,4}})(?=氏|さん|医師|先生|教授|病院|大学)")
CASE = re.compile(r"[。.!?！？:：]\s*$|^\W*$")
ENDS = ("ations", "ation", "ings", "ing", "ies", "ied", "es", "ed", "s", "ly", "e", "y")
BINDING = BINDS | {"been", "having", "has", "had", "their", "per", "via", "upon", "since", "within"}
COMMON_JA = frozenset(
    [
        "事",
        "時",
        "為",
        "場合",
        "以下",
        "上",
        "下",
        "中",
        "際",
        "方",
        "物",
        "等",
        "様",
        "内",
        "間",
        "用",
        "的",
        "性",
        "者",
        "可能",
        "使用",
        "必要",
    ]
)


class Pole(NamedTuple):
    sort: str  # "side", "order", "amount", "polarity"
    pair: int
    pole: int
    text: str
    start: int
    end: int


class Word(NamedTuple):
    """A content word, by its stem."""

    stem: str
    start: int
    end: int


class Name(NamedTuple):
    text: str
    sort: str  # "latin", "katakana", "drug", "person"
    start: int
    end: int


class Negative(NamedTuple):
    text: str
    start: int
    end: int
    about: frozenset[str]  # stems of the negated words


def japanese(text: str) -> bool:
    return re.search(r"[\u3040-\u30ff\u3400-\u9fff]", text) is not None


def poles(text: str) -> list[Pole]:
    """Return all opposites in a normalised text; a word may have several."""
    hidden = [match.span() for match in NO_POLE.finditer(text)]
    opposites = []
    for match in POLE.finditer(text):
        if any(start <= match.start() < end for start, end in hidden):
            continue
        word = match.group()
        for pair, pole in sorted(_table.get(word.lower(), _table.get(word, ()))):
            opposites.append(Pole(OPPOSITES[pair][0], pair, pole, word, *match.span()))
    return opposites


@lru_cache(maxsize=4096)
def words(text: str) -> tuple[Word, ...]:
    """Return the content words of a normalised text."""
    content_words = []
    for match in TOKEN.finditer(text):
        word = match.group()
        if word[0].isascii():
            small = word.lower().replace("’", "'").removesuffix("'s")
            if small not in BINDING and len(small) > 1:
                content_words.append(Word(stem(small), *match.span()))
        elif word not in COMMON_JA:
            content_words.append(Word(word.removesuffix("ー") if len(word) > 3 else word, *match.span()))
    return tuple(content_words)


def stem(word: str) -> str:
    for end in ENDS:
        if word.endswith(end) and len(word) - len(end) >= 3:
            word = word[: -len(end)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def pieces(text: str) -> list[str]:
    """Return the units of overlap: English stems, pairs of adjacent kanji, whole katakana words."""
    units = []
    for word in words(text):
        if re.match(rf"[{ASIAN}]", word.stem) and len(word.stem) > 2:
            units += [word.stem[k : k + 2] for k in range(len(word.stem) - 1)]
        else:
            units.append(word.stem)
    return units


def names(text: str) -> list[Name]:
    """Return capitalised words within a sentence, drugs by endings, katakana, persons."""
    entries = []
    for match in CAPITAL.finditer(text):
        word = match.group().rstrip("-")
        first = CASE.search(text[: match.start()]) is not None
        inside = any(letter.isupper() or letter.isdigit() for letter in word[1:])
        if (not first or inside) and len(word) > 1 and word.lower() not in BINDING:
            entries.append(Name(word, "latin", match.start(), match.start() + len(word)))
    for match in DRUG.finditer(text):
        entries.append(Name(match.group(), "drug", *match.span()))
    for match in re.finditer(rf"[{KATAKANA}]{{3,}}", text):
        entries.append(Name(match.group(), "katakana", *match.span()))
    for match in PERSON.finditer(text):
        entries.append(Name(match.group(1), "person", *match.span(1)))
    return sorted(entries, key=lambda name: name.start)


def negatives(text: str) -> list[Negative]:
    """Return the negations of a normalised text, each with the adjacent words that it negates."""
    content = words(text)
    negations = []
    for match in NEGATIVE_EN.finditer(text):
        after = [w.stem for w in content if match.start() <= w.start < match.end() + 60][:4]
        before = [w.stem for w in content if w.end <= match.start()][-2:]
        negations.append(Negative(match.group(), *match.span(), frozenset([*after, *before])))
    hidden = [match.span() for match in NO_NEGATIVE_JA.finditer(text)]
    last = -9
    for match in NEGATIVE_JA.finditer(text):
        inside = any(start <= match.start() < end for start, end in hidden)
        if inside or match.start() < last:
            continue
        about = [w.stem for w in content if match.start() - 14 <= w.end <= match.end() + 3][-3:]
        about += [w.stem for w in content if match.start() == w.start]
        negations.append(Negative(match.group(), *match.span(), frozenset(about)))
        last = match.end()
    return negations
