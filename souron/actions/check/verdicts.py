"""Judge one sentence of an answer: retrieve passages, compare, decide."""

from collections.abc import Sequence

from souron.actions.check.passages import Candidate, Sources
from souron.actions.check.record import Checked
from souron.data.language.sentences import Sentence
from souron.evaluation.claims import comparison, judges, parts
from souron.evaluation.claims.comparison import Comparison
from souron.evaluation.claims.parts import Change
from souron.evaluation.claims.words import japanese

MORE = 0.2  # additional share of words that two sentences must contain over one
ENDS = ".!?。．！？"


def judged(sentence: Sentence, sources: Sources) -> Checked:
    """Judge one sentence of an answer against the sources."""
    if not says_something(sentence.text):
        return Checked(*sentence, "no claim")
    found = sources.find(sentence.text)
    if not found:
        return Checked(*sentence, "not found")
    found, made = compared(sentence.text, found, sources)
    language = "ja" if japanese(sentence.text) else "en"
    best, state, score, _against = judges.shipped().verdict(made, language)
    passage, told = found[best], made[best]
    changes: Sequence[Change] = told.changes if state == "contradicted" else ()
    if state == "contradicted" and not changes:
        state = "not found"  # words that a passage lacks contradict nothing
    return Checked(
        *sentence,
        state,
        passage.text,
        passage.file,
        passage.start,
        passage.end,
        score,
        changes,
        told.unchecked if state != "not found" else (),
    )


def says_something(sentence: str) -> bool:
    """Return whether a sentence has content to check: no greeting, nor a one-word heading."""
    words = parts.parts(sentence).words
    return len(words) > 1 or (len(words) == 1 and sentence.rstrip()[-1:] in ENDS)


def compared(sentence: str, found: Sequence[Candidate], sources: Sources) -> tuple[list[Candidate], list[Comparison]]:
    """Return the passages worth comparing, with their comparisons.

    A pair of sentences counts only if it contains more of the words than any single one.
    """
    kept: list[Candidate] = []
    made: list[Comparison] = []
    most = 0.0
    for each in sorted(found, key=lambda each: each.wide):
        one = comparison.compare(sentence, each.text, each.cosine, sources.knows)
        if not each.wide:
            most = max(most, one.features["recall"])
        elif one.features["recall"] < most + MORE:
            continue
        kept.append(each)
        made.append(one)
    return kept, made
