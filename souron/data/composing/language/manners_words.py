"""Vocabulary of ``manners`` in two languages, in ``manners_words.toml``: names, things, medicines, questions."""

import tomllib
from pathlib import Path

_lists = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
NAMES = _lists["names"]
THINGS = _lists["things"]  # a thing and its description
MEDICINES = _lists["medicines"]
COMPLAINTS = _lists["complaints"]
FRAMES = _lists["frames"]  # sort of the question -> language -> questions
POLITE = _lists["polite"]
IMPROPER = _lists["improper"]
DEFERRING = _lists["deferring"]
CARELESS = _lists["careless"]
DEFINING = _lists["defining"]
