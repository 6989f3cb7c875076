"""One spelling for each name, so that a patient who is written in two ways is one patient.

Surely one are names that differ in width, case, invisible characters, look-alike letters of other alphabets, zeros
before a number, or in what stands between a letter and a number: ``P001``, ``p1``, ``Ｐ１``, ``P-1``. What stands
between two numbers, or two words, may tell patients apart: ``1-23`` and ``12-3`` stay two, and are asked about.
"""

import re
import unicodedata

DASHES = dict.fromkeys(map(ord, "-‐‑‒–—―−⁃﹘﹣－"), "-")
LATIN = str.maketrans(  # letters of Cyrillic and Greek that look like Latin ones
    "авекмнорстухіјѕ" + "АВЕКМНОРСТУХІЈЅ" + "αεικνορτυχ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "abekmhopctyxijs" + "ABEKMHOPCTYXIJS" + "aeiknoptyx" + "ABEZHIKMNOPTYX",
)
SELECTORS = range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)  # of variants of a character


def visible(name: str) -> str:
    """Return a name without characters that cannot be seen, such as zero-width spaces and marks of direction.

    >>> visible("P\\u200b1\\u00ad")
    'P1'
    """
    return "".join(
        letter
        for letter in name
        if unicodedata.category(letter) not in ("Cf", "Cc") and not any(ord(letter) in some for some in SELECTORS)
    )


def readable(name: str) -> str:
    """Return a name as it looks: half-width, in Latin letters where they look alike, with one kind of dash.

    >>> readable("\u0420001\u20112"), readable("Ｐ１")
    ('P001-2', 'P1')
    """
    return unicodedata.normalize("NFKC", visible(name)).translate(LATIN).translate(DASHES)


def one_spelling(name: str) -> str:
    """Return a name in the one spelling of all that surely mean the same.

    >>> {one_spelling(name) for name in ("P001", "p1", "Ｐ１", "P 1", "p-01", "\\u0420\\u200b1", "P\\u20111")}
    {'p1'}
    >>> one_spelling("7.0"), one_spelling("1-23"), one_spelling("田中　左")
    ('7', '1-23', '田中-左')
    """
    plain = re.sub(r"[\s\-_]+", "-", readable(name).casefold()).strip("-")
    plain = re.sub(r"(?<=[^\W\d_])-(?=\d)|(?<=\d)-(?=[^\W\d_])", "", plain)
    if re.fullmatch(r"\d+\.0+", plain):  # as spreadsheets write numbers
        plain = plain.partition(".")[0]
    return re.sub(r"(?<![\d.,])0+(?=\d)", "", plain)


def loose_spelling(name: str) -> str:
    """Return a name without anything but letters and digits: names that agree in this may mean the same.

    >>> loose_spelling("1-23") == loose_spelling("12-3"), loose_spelling("Tanaka Taro")
    (True, 'tanakataro')
    """
    return re.sub(r"[\W_]+", "", one_spelling(name))
