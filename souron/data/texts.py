"""Texts as cases: what stands in a data set's input beside plain texts."""

from typing import NamedTuple

from souron.kinds.chat import Turn


class Preference(NamedTuple):
    """Two answers, one of which is better."""

    prompt: tuple[Turn, ...]
    chosen: str
    rejected: str


class Question(NamedTuple):
    """A question with answers to choose from."""

    text: str
    options: tuple[str, ...]
    subject: str = ""
