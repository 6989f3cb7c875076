"""Wordings for requests of page parts, and the vocabulary to fill in, in two languages, in ``page_words.toml``."""

import tomllib
from pathlib import Path

HELD_FRAMES, HELD_WORDS = 2, 0.2  # wordings of a request; share of the label vocabulary
KANJI = ("一", "二", "三", "四", "五", "六", "七", "八")
NAMES = ("red", "blue", "green", "orange", "purple", "pink", "brown", "grey", "black", "yellow")

_lists = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
COLOURS = {"en": {name: ((name,), name) for name in NAMES}, **_lists["colours"]}  # -> (adjectives, its name)
NUMBERS = _lists["numbers"]
NOUNS = _lists["nouns"]
COLOURED = _lists["coloured"]
WORDINGS = _lists["wordings"]
FRAMES = _lists["frames"]
JOINS = _lists["joins"]
ABOVE = _lists["above"]
QUOTES = _lists["quotes"]
SERIES = _lists["series"]
TITLES = _lists["titles"]
LINKS = _lists["links"]
ITEMS = _lists["items"]
COLUMNS = _lists["columns"]
FIELDS = _lists["fields"]
PRESSES = _lists["presses"]
SUBJECTS = _lists["subjects"]
SENTENCES = _lists["sentences"]
FOOTERS = _lists["footers"]
