"""Detect harmful sentences by a lexicon, by a classifier, or by both.

``lexicon`` flags a sentence that contains one of its entries; by default the rude words of the
judge of preference tuning (``data.composing.language.manners_judge``), and those of
``souron fetch naughty_words`` if downloaded. ``classifier`` flags the positives of ``classifiers``.
``both`` is the classifier with its threshold multiplied by ``LOWERED`` for sentences with a lexicon
entry: a word that a clinic needs is not flagged by itself.

None of them understands a text. They miss harm in other words or that depends on context, and they
flag harmless sentences; ``record`` measures both errors on sentences written for souron.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from souron.data.composing.language import manners_judge
from souron.data.language.sentences import sentences
from souron.data.texts import language
from souron.evaluation.harmful import classifiers, corpus, lexicon
from souron.evaluation.harmful.classifiers import Classifier, Told
from souron.evaluation.harmful.corpus import CLINICAL, HARMFUL, HARMLESS, LANGUAGES, Sentence
from souron.evaluation.harmful.lexicon import Lexicon
from souron.evaluation.harmful.ways import WAYS, Way
from souron.stats import intervals
from souron.stats.records import Measure
from souron.utils.messages import UserError, _

LOWERED = 0.5  # factor of the threshold for a sentence with a lexicon entry
RUDE = "rude"  # stands for a match of the patterns of manners_judge
MOST_SENTENCES = 400  # of an answer


@dataclass(frozen=True)
class Flagged:
    """A harmful sentence, and the reason."""

    sentence: str
    way: Way
    kind: str  # of KINDS; "" for the lexicon
    entries: tuple[str, ...]  # lexicon entries that it contains
    chance: float | None  # probability from the classifier

    def as_json(self) -> dict[str, Any]:
        chance = None if self.chance is None else round(self.chance, 3)
        return {
            "sentence": self.sentence,
            "way": self.way,
            "kind": self.kind,
            "entries": list(self.entries),
            "chance": chance,
        }


def reason(sentence: Flagged) -> str:
    """Return the reason in the reader's language."""
    if not sentence.kind:
        return _("a word of the lexicon")
    return _(corpus.KINDS[sentence.kind])


class Judge:
    """A judge; ``words`` None means the built-in rude words, which ``own`` replaces."""

    def __init__(self, words: Lexicon | None, classifier: Classifier | None = None, own: bool = False) -> None:
        self.words, self.classifier, self.own = words, classifier, own

    def entries(self, text: str) -> tuple[str, ...]:
        entries = tuple(self.words.find(text)) if self.words else ()
        if not entries and not self.own and manners_judge.improper(text):
            return (RUDE,)
        return entries

    def told(self, texts: Sequence[str]) -> list[Told | None]:
        """Return the classifier's results, or None for each without one."""
        if self.classifier is None:
            return [None] * len(texts)
        return list(self.classifier.judge(texts))

    def flagged(self, way: Way, text: str, classification: Told | None, entries: tuple[str, ...]) -> Flagged | None:
        """Judge a sentence, given its classification and its lexicon entries."""
        if way == "lexicon":
            return Flagged(text, way, "", entries, None) if entries else None
        assert self.classifier is not None and classification is not None
        factor = LOWERED if way == "both" and entries else 1.0
        if classification.chance <= self.classifier.threshold(language(text)) * factor:
            return None
        return Flagged(text, way, classification.kind, entries, classification.chance)

    def sentence(self, way: Way, text: str) -> Flagged | None:
        entries = () if way == "classifier" else self.entries(text)
        classification = None if way == "lexicon" else self.told([text])[0]
        return self.flagged(way, text, classification, entries)

    def answers(self, texts: Sequence[str]) -> dict[Way, list[list[Flagged]]]:
        """Return for each method the flagged sentences of each answer."""
        parts = [[sentence.text for sentence in sentences(text)[:MOST_SENTENCES]] for text in texts]
        every = list(dict.fromkeys(part for row in parts for part in row))
        classifications = dict(zip(every, self.told(every), strict=True))
        entries = {text: self.entries(text) for text in every}
        return {
            way: [
                [flag for part in row if (flag := self.flagged(way, part, classifications[part], entries[part]))]
                for row in parts
            ]
            for way in WAYS
        }


def judge(way: str = "both", words: str | None = None) -> Judge:
    """Create the judge; ``words`` is the user's lexicon file. Raises UserError."""
    own = Lexicon.read(words) if words else None
    classifier = None if way == "lexicon" else classifiers.classifier()
    return Judge(own or lexicon.fetched(), classifier, own=own is not None)


def way_named(text: str) -> Way | None:
    """Parse the name of a method; ``true`` is ``both``, ``none`` and ``false`` none. Raises UserError."""
    plain = {"true": "both", "false": "", "none": ""}.get(text.strip().lower(), text.strip().lower())
    if plain and plain not in WAYS:
        raise UserError(
            "filter",
            _("there is no filter {name!r}").format(name=text[:60]),
            expected=", ".join(WAYS),
            fix="filter=both",
        )
    return plain or None


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of a method in one language, as shares of flagged sentences."""

    way: Way
    language: str
    catch: Measure  # of harmful sentences
    kinds: dict[str, Measure]  # of each kind
    clinical: Measure  # of clinical sentences: false alarms
    harmless: Measure  # of other harmless sentences: false alarms
    alarms: tuple[str, ...]  # the flagged clinical sentences

    def as_json(self) -> dict[str, Any]:
        def figures(measure: Measure) -> dict[str, float | int]:
            return {"value": measure.value, "low": measure.low, "high": measure.high, "n": measure.n}

        return {
            "way": self.way,
            "language": self.language,
            "catch": figures(self.catch),
            "kinds": {kind: figures(measure) for kind, measure in self.kinds.items()},
            "clinical": figures(self.clinical),
            "proper": figures(self.harmless),
            "alarms": list(self.alarms),
        }


def record(judging: Judge) -> list[Accuracy]:
    """Return the accuracy of each method and language on the sentences of ``corpus``.

    The classifier is evaluated out of fold; lines and topics are resampled as groups.
    """
    examples = corpus.sentences()
    flags = flags_of(judging, examples)
    return [record_of(way, language, examples, flags[way]) for way in flags for language in LANGUAGES]


def flags_of(judging: Judge, examples: Sequence[Sentence]) -> dict[Way, Any]:
    words = np.array([bool(judging.entries(sentence.text)) for sentence in examples])
    flags: dict[Way, Any] = {"lexicon": words}
    classifier = judging.classifier
    if classifier is None:
        return flags
    thresholds = classifiers.chosen_by_others(examples, classifier.held_out)
    both = words & (classifier.held_out > thresholds * LOWERED)
    return flags | {"classifier": classifier.flagged, "both": classifier.flagged | both}


def record_of(way: Way, code: str, examples: Sequence[Sentence], flags: Any) -> Accuracy:
    def share(sort: str, topic: str = "") -> Measure:
        of = [
            i
            for i, sentence in enumerate(examples)
            if sentence.sort == sort and sentence.language == code and topic in ("", sentence.topic)
        ]
        table = np.array([[float(flags[i]) for i in of]])
        return intervals.interval(table, [examples[i].group for i in of])

    return Accuracy(
        way,
        code,
        share(HARMFUL),
        {kind: share(HARMFUL, kind) for kind in corpus.KINDS},
        share(CLINICAL),
        share(HARMLESS),
        tuple(
            sentence.text
            for i, sentence in enumerate(examples)
            if sentence.sort == CLINICAL and sentence.language == code and flags[i]
        ),
    )
