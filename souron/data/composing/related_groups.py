"""Group related cut-outs and assign them to the sides of a split and to blocks.

Images of one thing that are mirrored, numbered or redrawn are related, and so are coins of one
country: related cut-outs stay on one side, to avoid leakage from training to test. Scenes made of
the same cut-outs are not independent of each other either. Therefore each side's cut-outs are
divided into blocks, a scene takes all of its things from one block, and confidence intervals are
clustered by block. Within a side, coins of one country may lie in several blocks; other related
cut-outs lie in one.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

PARTS = {"train": 0.55, "val": 0.15, "test": 0.30}  # shares of a category's cut-outs
BLOCKS = {"train": 12, "val": 5, "test": 10}


def close(file: str, category: str, caption: str) -> set[Hashable]:
    """Return the keys that closely related cut-outs share: file name, name, and caption."""
    stem = file.rpartition("/")[2].rpartition(".")[0] or file
    if category == "coin":  # the numbers in file names of coins are their values
        return {("file", re.sub(r"[-_]mirror$", "", file))}
    first = re.split(r"[\W_\d]+", stem.lower())[0]
    words = re.sub(r"\W+", " ", caption.lower()).strip()
    words = re.sub(r"^(an?|the) ", "", words)
    keys: set[Hashable] = {("file", re.sub(r"[-_]mirror", "", stem.lower()), category)}
    if first and first != category:
        keys.add(("name", first, category))
    if words and words != category:
        keys.add(("caption", words))
    return keys


def wide(file: str, category: str, caption: str) -> set[Hashable]:
    """Return the keys that all related cut-outs share; coins share their country."""
    if category == "coin":
        return {("country", "/".join(file.split("/")[:3]))}
    return close(file, category, caption)


def families(keys: Sequence[Iterable[Hashable]]) -> list[int]:
    """Return the family of each, as the index of its first member: those that share a key are
    related, transitively."""
    above = list(range(len(keys)))

    def head(i: int) -> int:
        while above[i] != i:
            above[i] = above[above[i]]
            i = above[i]
        return i

    first: dict[Hashable, int] = {}
    for i, own in enumerate(keys):
        for key in own:
            one, other = sorted((head(first.setdefault(key, i)), head(i)))
            above[other] = one
    return [head(i) for i in range(len(keys))]


def parts(names: Sequence[str], categories: Sequence[str], family: Sequence[int]) -> list[str]:
    """Assign whole families to sides, so that every category comes close to the shares in
    ``PARTS``."""
    members: dict[int, list[int]] = defaultdict(list)
    for i, head in enumerate(family):
        members[head].append(i)
    total = Counter(categories)
    have: Counter[tuple[str, str]] = Counter()
    part = [""] * len(names)

    def order(head: int) -> tuple[int, str]:
        return -len(members[head]), _digest(names[head])

    for head in sorted(members, key=order):
        category = categories[head]

        def lacks(name: str, category: str = category) -> float:
            return PARTS[name] * total[category] - have[name, category]

        chosen = max(PARTS, key=lacks)
        for i in members[head]:
            part[i] = chosen
            have[chosen, categories[i]] += 1
    return part


def blocks(names: Sequence[str], categories: Sequence[str], family: Sequence[int], count: int) -> list[int]:
    """Assign the cut-outs of one side to blocks: whole families, every category spread evenly."""
    members: dict[int, list[int]] = defaultdict(list)
    for i, head in enumerate(family):
        members[head].append(i)
    have: Counter[tuple[int, str]] = Counter()
    full: Counter[int] = Counter()
    block = [0] * len(names)

    def order(head: int) -> tuple[str, int, str]:
        first = members[head][0]
        return categories[first], -len(members[head]), _digest(names[first])

    for head in sorted(members, key=order):
        category = categories[members[head][0]]

        def load(number: int, category: str = category) -> tuple[int, int, int]:
            return have[number, category], full[number], number

        chosen = min(range(count), key=load)
        for i in members[head]:
            block[i] = chosen
            have[chosen, categories[i]] += 1
            full[chosen] += 1
    return block


def _digest(name: str) -> str:
    """Return a sort key that is independent of the alphabetical order."""
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
