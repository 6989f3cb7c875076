"""Split a text into sentences with exact positions, in English and in Japanese.

A sentence ends at ``。！？`` or at ``.?!`` before whitespace, at an empty line, before a list item,
a heading or a line of code, and at the end of a line unless the text is wrapped: the line is as wide
as those of wrapped texts are, or all lines of the paragraph end where the next word would not fit.
Pieces longer than ``LONGEST`` are cut, at a comma or whitespace if there is one, so that a file
without line breaks is handled as well. Nothing is changed: ``text[start:end]`` is the sentence, for
all kinds of line endings.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

LONGEST = 400  # characters
MOST_QUOTED = 200  # characters within 「」 in which its end is sought
WRAPPED = range(45, 131)  # columns of a line that may continue in the next
WIDTHS = range(24, 251)  # columns of a paragraph all of whose lines are full
SPARE = 4  # columns that a full Japanese line may lack, as some characters never begin one
LINE = re.compile(r"[^\r\n\f\v\x1c-\x1e\x85\u2028\u2029]+")
FENCE = re.compile(r"\s*(```|~~~)")
ITEM = re.compile(r"\s*([-*+•‣◦・●○■□◆◇※>|]|#{1,6}\s|\(?\d{1,3}[.)、．）]|\(?[a-zA-Z][.)]\s|[①-⑳])\s*")
DEEPER = 4  # columns by which code, or a nested list, is indented
PROSE = 0.85  # least share of letters and whitespace in a line of prose, as opposed to code
END = re.compile(r"[。！？!?．.…]+[」』）】〉》)\]\"'”’]*")
ASIAN = "。！？．"
ASIA = "\u2e80"  # the first of the characters that are two columns wide
NEXT = ("\n", "\r\n", "\r")
ABBREVIATED = re.compile(
    r"(?<!\w)(?:[A-Za-z]|Mrs?|Ms|Drs?|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|cf|al|Figs?|Eqs?|"
    r"Nos?|pp?|vol|approx|ca|resp|incl|Inc|Ltd|Co|Corp|dept|est)\.$",
    re.IGNORECASE,
)
GOES_ON = re.compile(r"\s*(と|って|などと?|の|を|が|は|も|に|で|な)")
WORD = re.compile(r"\w")
SOFT = re.compile(r"[、,;；:：\s]")


class Sentence(NamedTuple):
    text: str  # unchanged, with its line breaks
    start: int  # in characters of the whole text
    end: int


def sentences(text: str) -> list[Sentence]:
    """Return the sentences in the order of the text; pieces without a letter or a digit are left
    out."""
    return [
        Sentence(text[start:end], start, end)
        for block in _blocks(text)
        for first, last in _within(text, *block)
        for start, end in _short(text, first, last)
        if WORD.search(text, start, end)
    ]


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of lines, joining those of text wrapped at a fixed width."""
    start = end = -1  # of the current block
    code, full = False, _full_lines(text)
    for line in LINE.finditer(text):
        first, last = line.span()
        fence = FENCE.match(text, first, last) is not None
        apart = code or fence or not _goes_on(text, start, end, first, last, full)
        if start >= 0 and apart:
            yield start, end
        start, end = (first if start < 0 or apart else start), last
        code ^= fence
    if start >= 0:
        yield start, end


def _goes_on(text: str, start: int, end: int, first: int, last: int, full: set[int]) -> bool:
    """Return whether the line from ``first`` to ``last`` continues the block from ``start``.

    ``full`` are the ends of full lines.
    """
    if start < 0 or last - start > 20 * LONGEST:
        return False
    if not _follows(text, end, first, last):
        return False
    line = max(text.rfind("\n", start, end), text.rfind("\r", start, end), start - 1) + 1
    if text.startswith("#", line) or not _beside(text[line:end], text[first:last], text[start:last]):
        return False
    return columns(text[line:end]) in WRAPPED or end in full


def _follows(text: str, end: int, first: int, last: int) -> bool:
    """Return whether a line stands below the one that ends at ``end``, and is no list item."""
    return text[end:first] in NEXT and not ITEM.match(text, first, last) and not text[first:last].isspace()


def _full_lines(text: str) -> set[int]:
    """Return the ends of the lines that were wrapped: all of a wrapped paragraph's but its last one.

    Some programs wrap at a number of columns, and some at a number of characters.
    """
    paragraphs = [(spans, [text[start:end] for start, end in spans]) for spans in _paragraphs(text)]
    full: set[int] = set()
    for size in (columns, len):
        width = max((_wrapping(lines, size) for _spans, lines in paragraphs), default=0)
        wrapped = (spans for spans, lines in paragraphs if _wrapping(lines, size) or _wrapping(lines, size, width))
        full.update(end for spans in wrapped for _start, end in spans[:-1])
    return full


def _paragraphs(text: str) -> Iterator[list[tuple[int, int]]]:
    """Yield the spans of lines that stand below one another."""
    spans: list[tuple[int, int]] = []
    for line in LINE.finditer(text):
        if line[0].isspace():
            continue
        if spans and not _follows(text, spans[-1][1], *line.span()):
            yield spans
            spans = []
        spans.append(line.span())
    yield spans


def _wrapping(lines: Sequence[str], size: Callable[[str], int], known: int = 0) -> int:
    """Return the ``size`` of line at which a paragraph was wrapped, 0 where it was not.

    All its lines but the last one end where the next word would not have fitted. Two lines show that only
    where the second one begins with a small letter or the width is ``known`` from other paragraphs, and no
    lines do most of which begin with a capital, as those of lists and poems.
    """
    widths, begins = [size(line) for line in lines], [line.strip() for line in lines[1:]]
    width = max(known, *widths, 0)
    if not begins or max(map(columns, lines)) not in WIDTHS or width > known > 0:
        return 0
    if len(begins) == 1 and not known and not begins[0][0].islower():
        return 0
    if sum(begin[0].isupper() for begin in begins) > len(begins) / 2:
        return 0
    words = [2 + SPARE if begin[0] > ASIA else 1 + size(begin.split()[0]) for begin in begins]
    full = all(before + word > width for before, word in zip(widths[:-1], words, strict=True))
    return width if full else 0


def _beside(before: str, line: str, block: str) -> bool:
    """Return whether a line may continue ``before`` by its indentation: not further indented,
    except below the text of a list item, and not in a ``block`` of code."""
    item = ITEM.match(before)
    starts = {_indentation(before), item.end() if item else 0}
    inner = _indentation(line)
    if inner >= max(starts) + DEEPER:
        return False
    return inner < DEEPER or _is_prose(block)


def _indentation(line: str) -> int:
    line = line.expandtabs(DEEPER)
    return len(line) - len(line.lstrip())


def _is_prose(line: str) -> bool:
    text = " ".join(line.split())
    return sum(letter.isalpha() or letter.isspace() for letter in text) >= PROSE * len(text)


def columns(line: str) -> int:
    """Return the display width of a line; Japanese characters count twice, as on a terminal."""
    return len(line) + sum(ASIA <= letter <= "\uffee" for letter in line[: WRAPPED.stop])


def _within(text: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of the sentences of a block."""
    start = first
    for end in END.finditer(text, first, last):
        if _ends(text, start, end, last):
            yield start, end.end()
            start = end.end()
    yield start, last


def _ends(text: str, start: int, end: re.Match[str], last: int) -> bool:
    marks, after = end.group(), end.end()
    following = text[after : after + 1] if after < last else ""
    if any(mark in marks for mark in ASIAN):
        since = max(start, after - LONGEST)
        quoted = text.count("「", since, after) > text.count("」", since, after)
        if quoted and text.find("」", after, min(last, after + MOST_QUOTED)) >= 0:
            return False
        return not (marks[-1] in "」』）】〉》" and GOES_ON.match(text, after, last))
    if following and not following.isspace():
        return False
    if "." in marks and "!" not in marks and "?" not in marks:
        if ABBREVIATED.search(text, max(start, end.start() - 8), end.start() + 1):
            return False
        coming = text[after : min(last, after + 20)].lstrip()
        return not coming[:1].islower()
    return True


def _short(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the span without surrounding whitespace, split into pieces if it is too long."""
    while True:
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        if end - start <= LONGEST:
            break
        cut = start + LONGEST
        for place in range(cut - 1, start + LONGEST // 2, -1):
            if SOFT.match(text, place):
                cut = place + 1
                break
        piece = text[start:cut].rstrip()
        yield start, start + len(piece)
        start = cut
    if start < end:
        yield start, end
