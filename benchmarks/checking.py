"""Does an answer stand in its sources? Errors that ``souron check`` catches, and makes up.

    python benchmarks/checking.py                   (some minutes; unseen documents)
    python benchmarks/checking.py learn             (writes souron/evaluation/claims/judges.json)

Needs ``souron fetch manuals manual_pairs``. Documents are pieces of manuals, of about 6 000
characters (3 000 in Japanese), of chapters and folders that ``learn`` has not seen. A sentence is
changed by ``errors`` or ``rewordings`` of this file, which are others than those that taught
(``souron/evaluation/claims/changes.py``); then the whole document is searched for it, as the
command does. ``checking.json`` has 60 sentences of dental and medical notes in each language, each
with an honest paraphrase and a wrong one, in six notes. Translations: English paragraphs of
LibreOffice's help, checked against the Japanese pages.

Caught: told "contradicted". Intervals count documents.
"""

import argparse
import json
import random
import re
import time
from functools import lru_cache
from pathlib import Path

import numpy as np

from souron.actions.check import passages, verdicts
from souron.blocks.sentences import SentenceEncoder
from souron.data import load
from souron.evaluation.claims import changes, comparison, judges, words
from souron.evaluation.claims.comparison import FEATURES
from souron.kinds.text import Text
from souron.stats import intervals

NOTES = Path(__file__).with_suffix(".json")
PARTS = ("measure", "learn", "manuals", "notes", "translations")
LETTERS = {"en": range(30, 260), "ja": range(14, 140)}
ALARMS = 0.035  # of harmless changes of validation documents, that set the thresholds
TAUGHT = {"same": 0.5, "word": 0.25}  # weights of examples; the others count 1
NOTE = 3.0  # weight of an example of ``learn`` in checking.json

# errors and rewordings of the benchmark; none is a rule of changes.py
CHANGES = json.loads(NOTES.read_text("utf-8"))["changes"]
SIDES, DENIED, AFFIRMED, REWORDED = (CHANGES[name] for name in ("sides", "denied", "affirmed", "reworded"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", default="measure", choices=PARTS)
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--sentences", type=int, default=4)
    given = parser.parse_args()
    begun = time.process_time()
    if given.what == "learn":
        learn(given.documents, given.sentences)
    else:
        measure(given.what, given.documents, given.sentences)
    print(f"{time.process_time() - begun:.0f} s of one core")


read = lru_cache(load.load)


def documents(part, language, most, seed=0):
    """(chapter, text) of some pieces of the manuals."""
    data = read("manuals")
    rows = [
        (group, text)
        for group, text, own, its in zip(data.group, data.input, data.columns["language"], data.part, strict=True)
        if own == language and its == part
    ]
    random.Random(seed).shuffle(rows)
    return rows[:most]


def sources_of(texts):
    *_before, (_done, made) = passages.prepared([Text(text, "") for text in texts], keep=False)
    return made


def usable(text, language):
    plain = "\n" not in text and not set(text) & set("{}<>|$\\=")
    long = len(text) in LETTERS[language] and len(words.words(text)) >= 4
    return plain and long and text[-1] in ".!。！"


def claims_from(rows, language, most, rng, change):
    """(chapter, kind, wrong, claim, comparisons, whether each passage is the sentence's own)."""
    for group, text in rows:
        sources = sources_of([text])
        good = [one for _number, one in sources.cut if usable(one.text, language)]
        for one in rng.sample(good, min(most, len(good))):
            others = [each.text for each in good if each.text != one.text]
            for kind, wrong, claim in change(one.text, rng, others, language):
                found, made = verdicts.compared(claim, sources.find(claim), sources)
                own = [each.start <= one.start and each.end >= one.end for each in found]
                if made:
                    yield group, kind, wrong, claim, made, own


def lessons(text, rng, others, language):
    """What ``learn`` learns from."""
    made = [("same", 0, text)]
    made += [("harmless", 0, each) for each in changes.harmless(text, rng)]
    return made + [(kind, 1, each) for kind, each in changes.wrong(text, rng, others)]


def trials(text, rng, others, language):
    """What is measured: this file's own changes."""
    made = [(f"reworded: {kind}", 0, each) for kind, each in rewordings(text, rng, others, language)]
    return made + [(kind, 1, each) for kind, each in errors(text, rng, language)]


def errors(text, rng, language):
    made = [
        ("number", _number(text, rng)),
        ("side", _side(text, rng, language)),
        ("negation", _negation(text, rng, language)),
    ]
    return [(kind, each) for kind, each in made if each and each != text]


def _number(text, rng):
    """Digits exchanged, one more or less, or another number near it."""
    there = list(re.finditer(r"(?<![\w.,:/-])\d+(?![\w.,:/-]*\d)", text))
    there += re.finditer(r"(?<=[\u3040-\u9fff])\d+(?![.\d])", text)
    if not there:
        return ""
    at = rng.choice(there)
    said = at.group()
    ways = [
        said[::-1],
        said + "0",
        str(int(said) + rng.randrange(2, 6)),
        str(max(1, round(int(said) * rng.uniform(1.2, 1.9)) + 1)),
    ]
    other = next((way for way in rng.sample(ways, 4) if int(way) != int(said)), "")
    return text[: at.start()] + other + text[at.end() :] if other else ""


def _side(text, rng, language):
    edges = r"\b" if language == "en" else ""
    pairs = [pair for one in SIDES[language] for pair in (one, one[::-1])]
    there = [(m, other) for word, other in pairs for m in re.finditer(rf"{edges}{word}{edges}", text, re.IGNORECASE)]
    if not there:
        return ""
    at, other = rng.choice(there)
    return text[: at.start()] + other + text[at.end() :]


def _negation(text, rng, language):
    rules = AFFIRMED[language] if language == "ja" else [*AFFIRMED["en"]]
    for pattern, put in [*rules, *rng.sample(DENIED[language], len(DENIED[language]))]:
        if language == "en" and re.search(pattern, text):
            return re.sub(pattern, put, text, count=1)
        if language == "ja" and (text.endswith(pattern) or (pattern == "しない" and pattern in text)):
            return put.join(text.rsplit(pattern, 1))
    return ""


def rewordings(text, rng, others, language):
    """True sentences that are not word for word the source's."""
    if language == "en":
        lower = text if text[:2].isupper() or text.startswith("I ") else text[0].lower() + text[1:]
        framed = [
            f"According to the manual, {lower}",
            f"Please note that {lower}",
            f"{text[:-1]}, as the documentation says.",
        ]
    else:
        framed = [f"マニュアルによると、{text}", f"なお、{text}", f"{text[:-1]}と説明されている。"]
    made = [("framed", rng.choice(framed))]
    pairs = [(a, b) for a, b in REWORDED[language] if re.search(rf"\b{a}\b" if a.isascii() else a, text)]
    told = text
    for one, other in rng.sample(pairs, min(2, len(pairs))):
        told = re.sub(rf"\b{one}\b" if one.isascii() else one, other, told, count=1)
    made += [("words", told)] if pairs else []
    parts = re.split(r"(?<=[a-z]), (?=(?:and|but|so) )", text) if language == "en" else text.split("が、")
    if len(parts) == 2 and len(words.words(parts[0])) >= 4:
        made.append(("first half", parts[0] + ("." if language == "en" else "。")))
    return [(kind, each) for kind, each in made if each and each != text]


def notes(part):
    return json.loads(NOTES.read_text("utf-8"))[part]


def rows_of(made):
    return np.array([[one.features[name] for name in FEATURES] for one in made])


def learn(most, each):
    rng, encoder = random.Random(0), SentenceEncoder()
    rows, wrong, weights = [], [], []
    for language in ("en", "ja"):
        found = claims_from(documents("train", language, most), language, each, rng, lessons)
        for _group, kind, bad, _claim, made, own in found:
            for one, right in zip(made, own, strict=True):
                if right:
                    rows.append(one)
                    wrong.append(bad)
                    weights.append(TAUGHT.get(kind, 1.0))
    told = notes("learn")
    models, alike = {}, {"within": ([], []), "across": ([], [])}
    across, across_wrong = [], []
    for language, pairs in told.items():
        other = told["ja" if language == "en" else "en"]
        for number, (_source, honest, false) in enumerate(pairs):
            for claim, bad in ((honest, 0), (false, 1)):
                for shelf, where in ((pairs, "within"), (other, "across")):
                    vectors = encoder.encode([claim, *(pair[0] for pair in shelf)])
                    for k, cosine in enumerate((vectors[1:] @ vectors[0]).tolist()):
                        one = comparison.compare(claim, shelf[k][0], cosine)
                        alike[where][0].append([one.features[n] for n in judges.ALIKE])
                        alike[where][1].append(int(k == number))
                        if k == number and where == "within":
                            rows.append(one)
                            wrong.append(bad)
                            weights.append(NOTE)
                        elif k == number:
                            across.append(one)
                            across_wrong.append(bad)
    for where, (about, same) in alike.items():
        weight = np.where(np.array(same) == 1, 6.0, 1.0)
        models[f"alike {where}"] = judges.learn(np.array(about), np.array(same), weight)
    models["contradicts within"] = judges.learn(rows_of(rows), np.array(wrong), np.array(weights))
    pairs = translated("train", 120, rng, encoder, lessons)
    made = across + [one for _group, _kind, _bad, one in pairs]
    bad = across_wrong + [bad for _group, _kind, bad, _one in pairs]
    models["contradicts across"] = judges.learn(rows_of(made), np.array(bad), np.ones(len(bad)), blind=True)
    judge = judges.Judge(
        {"features": list(FEATURES), "models": models, "thresholds": {"en": 1.0, "ja": 1.0, "across": 1.0}}
    )
    levels = {}
    for language in ("en", "ja"):
        found = claims_from(documents("val", language, most), language, each, rng, lessons)
        scores = [
            judge.verdict(made, language).contradiction
            for _group, kind, bad, _claim, made, _own in found
            if not bad and kind == "harmless"
        ]
        levels[language] = round(max(0.5, float(np.quantile(scores, 1 - ALARMS))), 3)
    pairs = translated("val", 60, rng, encoder, lessons)
    scores = judge.contradicts([one for _group, _kind, bad, one in pairs if not bad])
    levels["across"] = round(max(0.5, float(np.quantile(scores, 1 - ALARMS))), 3)
    told = {"features": list(FEATURES), "models": models, "thresholds": levels}
    judges.FILE.write_text(json.dumps(told) + "\n", "utf-8")
    print(f"{len(rows)} examples within a language, {len(made)} across; thresholds {levels}")


def translated(part, most, rng, encoder, change):
    """English sentences of the help and their changes beside the Japanese paragraph."""
    data = read("manual_pairs")
    rows = [
        k
        for k, its in enumerate(data.part)
        if its == part and usable(data.input[k], "en") and words.japanese(str(data.target[k]))
    ]
    made = []
    for k in rng.sample(rows, min(most, len(rows))):
        english, japanese = data.input[k], str(data.target[k])
        for kind, bad, claim in change(english, rng, [], "en"):
            if kind in ("word", "name", "swap"):
                continue
            vectors = encoder.encode([claim, japanese])
            one = comparison.compare(claim, japanese, float(vectors[0] @ vectors[1]))
            made.append((data.group[k], kind, bad, one))
    return made


def measure(part, most, each):
    judge = judges.shipped()
    print("| claims | language | kind | n | contradicted (95 % interval) | not found |")
    print("|---|---|---|---|---|---|")
    for name, measured in (("manuals", _manuals), ("notes", _notes), ("translations", _translated)):
        if part in ("measure", name):
            measured(judge, most, each)


def _manuals(judge, most, each):
    for language in ("en", "ja"):
        rows = documents("test", language, most)
        found = claims_from(rows, language, each, random.Random(1), trials)
        table(
            "manuals",
            language,
            [(group, kind, bad, judge.verdict(made, language)) for group, kind, bad, _claim, made, _own in found],
        )


def _notes(judge, most, each):
    for language, docs in notes("test").items():
        told = []
        for number, doc in enumerate(docs):
            sources = sources_of(["\n".join(pair[0] for pair in doc["pairs"])])
            for _source, honest, false, kind in doc["pairs"]:
                for claim, bad, name in ((honest, 0, "reworded: paraphrase"), (false, 1, kind)):
                    _found, made = verdicts.compared(claim, sources.find(claim), sources)
                    told.append((number, name, bad, judge.verdict(made, language)))
        table("notes", language, told)


def _translated(judge, most, each):
    pairs = translated("test", 6 * most, random.Random(1), SentenceEncoder(), trials)
    told = [(group, kind, bad, judge.verdict([one], "en")) for group, kind, bad, one in pairs]
    table("translations", "en in ja", told)


def table(name, language, told):
    """A row a kind: how many were told contradicted, and not found."""
    kinds = sorted({kind for _group, kind, _bad, _verdict in told}, key=lambda k: (":" in k, k))
    honest = [row for row in told if not row[2]]
    parts = [(kind, [row for row in told if row[1] == kind]) for kind in kinds]
    for kind, rows in [*parts, ("true sentences, all", honest)]:
        hit = [float(row[3].state == "contradicted") for row in rows]
        found = intervals.share_interval(np.array(hit)[None], [row[0] for row in rows])
        lost = sum(row[3].state == "not found" for row in rows) / len(rows)
        print(
            f"| {name} | {language} | {kind} | {len(rows)} | {found.value:.3f} "
            f"({found.low:.2f}–{found.high:.2f}) | {lost:.3f} |"
        )


if __name__ == "__main__":
    main()
