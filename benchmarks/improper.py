"""What judges improper sentences: catch against false alarms; and what preference tuning changed.

    python benchmarks/improper.py judges
    python benchmarks/improper.py answers talk=runs/complete/talk manners=runs/complete/manners

``judges``: the lexicon, the classifier and both on the sentences written for souron, the classifier
on those that it has not learnt from; with souron's rude words alone, and with naughty_words where
``souron fetch naughty_words`` has brought it; ``either`` flags what the lexicon or the classifier
flags. Then, with the rude words alone, on texts that neither was mended on: the 100 answers of
``tests/manner_answers.py`` that the words of manners were not mended on, and the test answers of
``manner_pairs``.

``answers``: improper answers per 1 000 before and after, with the verdict.
"""

import argparse
import importlib.util
import time
from pathlib import Path

import numpy as np
from printing import say, table, watched, where

from souron.actions.improper import Improper
from souron.actions.improper import record as report
from souron.data.composing.language import manners
from souron.evaluation.harmful import classifiers, corpus, lexicon
from souron.evaluation.harmful.judges import Judge, flags_of, record, record_of
from souron.stats.intervals import proportion_interval

HAND = Path(__file__).parents[1] / "tests" / "manner_answers.py"


def judges() -> None:
    begun = time.process_time()
    made = classifiers.classifier()
    seconds = time.process_time() - begun
    chosen = ", ".join(f"{name} {value:.2f}" for name, value in made.thresholds.items())
    say(f"classifier ready after {seconds:.1f} s of the processor; thresholds {chosen}")
    words = lexicon.fetched()
    for name, found in {"rude words": None, **({"naughty_words": words} if words else {})}.items():
        judging = Judge(found, made)
        say(f"\n**lexicon: {name}{f' ({found.count} entries)' if found else ''}**\n")
        head = ["by", "language", "false positives, clinical", "false positives, other", "recall", *corpus.KINDS]
        records = record(judging)
        rows = [
            [
                one.way,
                one.language,
                *map(report.share, (one.clinical, one.harmless, one.catch)),
                *(f"{found.value:.0%}" for found in one.kinds.values()),
            ]
            for one in records
        ]
        say(table(head, rows + _either(judging)))
    say("\n" + table(["by", "texts", "flagged"], list(_others(Judge(None, made)))))


def _either(judging: Judge) -> list[list[str]]:
    known = corpus.sentences()
    flags = flags_of(judging, known)
    either = flags["lexicon"] | flags["classifier"]
    found = [record_of("both", spoken, known, either) for spoken in ("en", "ja")]
    return [
        [
            "either",
            one.language,
            *map(report.share, (one.clinical, one.harmless, one.catch)),
            *(f"{each.value:.0%}" for each in one.kinds.values()),
        ]
        for one in found
    ]


def _others(judging: Judge):
    """Texts that nothing here has learnt from: what is flagged of improper and of proper ones."""
    spec = importlib.util.spec_from_file_location("manner_answers", HAND)
    hand = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hand)
    sets = {"improper answers by hand": [], "proper answers by hand": []}
    for listed in (hand.ENGLISH, hand.JAPANESE):
        rows = [line.split("|", 1) for line in listed.strip().splitlines()]
        for marks, text in rows[len(rows) // 2 :]:
            sets[f"{'im' if 'i' in marks else ''}proper answers by hand"].append(text)
    test = manners.exchanges(counts={"train": 0, "val": 0, "test": 200})
    for sort in ("everyday", "medical"):
        mine = [one for one in test if one.sort == sort]
        sets[f"manners, {sort}, bad"] = [one.bad for one in mine]
        sets[f"manners, {sort}, good"] = [one.good for one in mine]
    for name, texts in sets.items():
        for way, flagged in judging.answers(texts).items():
            hits = sum(map(bool, flagged))
            yield [way, f"{name} ({len(texts)})", report.share(proportion_interval(hits, len(texts)))]


def answers(talk: str, tuned: str, prompts: str | None, each: int, n: int | None) -> None:
    folder = Path("runs")
    options = {"before": talk, "prompts": prompts or "", "each": each, "n": n}
    found = Improper(folder).result(tuned, **options)
    head = ["by", *(one.model for one in found.models)]
    rows = [[way, *(report.span(found.rate(one, way)) for one in found.models)] for way in found.after.improper]
    say(table(head, rows))
    for way in found.after.improper:
        say(f"{way}: {report.sentence('before', found.verdict(way))}")
    agree = np.mean(found.after.improper["both"] == found.after.improper["classifier"])
    say(f"both and classifier agree on {agree:.1%} of the answers; page: {found.report}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("judges", "answers"))
    parser.add_argument("runs", nargs="*", metavar="talk=RUN manners=RUN")
    parser.add_argument("--prompts")
    parser.add_argument("--each", type=int, default=1)
    parser.add_argument("--n", type=int)
    asked = parser.parse_args()
    with watched():
        if asked.what == "judges":
            judges()
        else:
            named = dict(one.split("=", 1) for one in asked.runs)
            answers(named["talk"], named["manners"], asked.prompts, asked.each, asked.n)
    say("\n" + where(1, "souron", "scikit-learn"))


if __name__ == "__main__":
    main()
