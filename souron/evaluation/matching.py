"""What is asked of a system that matches pictures and sentences: whether each finds the other,
whether a swapped word is noticed, and whether it names classes that it was never taught.

A gallery holds at most ``GALLERY`` pictures of one subset, so that recall does not depend on how
many cases there are. Where the data says object, colour, count, place and ground of each picture,
one word of its caption is swapped for another, and the system must prefer the true one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from souron.data.captions import Caption, in_language
from souron.data.composing import captioned_words
from souron.data.composing.captioned_words import COLOURS, GROUNDS, OWN, PLACES, Attributes
from souron.data.dataset import Dataset
from souron.evaluation.answers import Answers
from souron.metrics import match
from souron.stats.records import Measure

GALLERY = 500  # pictures
AT_ONCE = 256  # texts
ATTRIBUTES = captioned_words.NAMES


@dataclass(frozen=True)
class OfSubset:
    """What was measured of one subset in one language."""

    subset: str
    language: str
    cases: int
    measures: dict[str, Measure]  # of ``match``'s names, and of each attribute


@dataclass(frozen=True)
class MatchResult:
    """What a run's report shows."""

    parts: tuple[OfSubset, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "parts": [
                {
                    "subset": part.subset,
                    "language": part.language,
                    "cases": part.cases,
                    "measures": {name: vars(measure) for name, measure in part.measures.items()},
                }
                for part in self.parts
            ]
        }


def languages(data: Dataset) -> list[str]:
    """Of the captions, sorted."""
    return sorted({caption.language for captions in data.target for caption in captions})


def subsets(data: Dataset) -> list[str]:
    """Of each case, "" where the data has none."""
    return list(data.columns.get("subset", [""] * len(data)))


def galleries(data: Dataset) -> list[Tensor]:
    """Rows of cases that compete with each other: of one subset, at most ``GALLERY``."""
    names = subsets(data)
    found = []
    for name in dict.fromkeys(names):
        rows = torch.tensor([row for row, each in enumerate(names) if each == name])
        found += list(rows.split(GALLERY))
    return found


def known_attributes(data: Dataset) -> list[Attributes] | None:
    """Of each case; None where the data does not say."""
    if not set(ATTRIBUTES) <= set(data.columns):
        return None
    columns = (data.columns[name] for name in ATTRIBUTES)
    return [
        Attributes(thing, colour, int(count), place, ground)
        for thing, colour, count, place, ground in zip(*columns, strict=True)
    ]


def swapped(
    attributes: Attributes, name: str, classes: Sequence[str], random: np.random.Generator
) -> Attributes | None:
    """The same but for one attribute; None where it has none to swap."""
    every: dict[str, list[Any]] = {
        "object": list(classes), "colour": list(COLOURS), "count": [2, 3], "place": list(PLACES),
        "ground": list(GROUNDS),
    }  # fmt: skip
    own = getattr(attributes, name)
    if own in (OWN, "") or (name == "count" and own == 1):  # of one thing the place is said, too
        return None
    left = [other for other in every[name] if other != own]
    if not left:
        return None
    chosen = left[int(random.integers(len(left)))]
    return replace(attributes, **{name: chosen})


def asked(
    image: Tensor,
    data: Dataset,
    classes: Sequence[str],
    read: Callable[[list[str]], Tensor],
    scale: float,
) -> Iterator[tuple[float, Answers | None]]:
    """How much is done, 0..1, and at the end answers about pictures whose features are ``image``
    (N, D); ``read`` maps texts to (n, D); ``scale`` makes cosines to logits.

    Of each case and language, (N, L): ``rank`` of its caption, ``back`` the rank of the picture for
    the caption, ``preferred`` the case whose caption was nearest, ``zero`` whether its class was
    named; (N, L, attributes) ``swap``: whether the true word was preferred.
    """
    spoken = languages(data)
    count = len(data)
    rank, back, preferred = torch.zeros(3, count, len(spoken), dtype=torch.long)
    zero = torch.full((count, len(spoken)), torch.nan)
    swap = torch.full((count, len(spoken), len(ATTRIBUTES)), torch.nan)
    attributes = known_attributes(data)
    for number, language in enumerate(spoken):
        own = [in_language(captions, language)[:1] for captions in data.target]
        rows = torch.tensor([row for row, some in enumerate(own) if some])
        texts = [own[row][0].text for row in rows.tolist()]
        features = torch.zeros(count, image.shape[1])
        features[rows] = in_batches(read, texts)
        text_of = dict(zip(rows.tolist(), texts, strict=True))
        for gallery in galleries(data):
            there = gallery[torch.isin(gallery, rows)]
            if len(there):
                similarity = image[there] @ features[there].T
                same = equal([text_of[row] for row in there.tolist()])
                rank[there, number] = match.ranks(similarity, same)
                back[there, number] = match.ranks(similarity.T, same)
                preferred[there, number] = there[similarity.argmax(1)]
        yield (number + 0.5) / len(spoken), None
        if attributes is not None:
            swap[:, number] = _swaps(image, attributes, features, classes, language, read)
            zero[:, number] = _named(image, attributes, classes, language, read, scale)
        yield (number + 1) / len(spoken) * 0.99, None
    yield 1.0, {"rank": rank, "back": back, "preferred": preferred, "swap": swap, "zero": zero}


def equal(texts: Sequence[str]) -> Tensor:
    """(N, N) bool: which texts are the same."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    of = torch.tensor([numbers[text] for text in texts])
    return of[:, None] == of[None, :]


def in_batches(read: Callable[[list[str]], Tensor], texts: Sequence[str]) -> Tensor:
    """(n, D) of any number of texts."""
    starts = range(0, len(texts), AT_ONCE)
    return torch.cat([read(list(texts[start : start + AT_ONCE])) for start in starts])


def caption_of(attributes: Attributes, language: str) -> str:
    """The first wording in that language; of one that has none, in English."""
    captions = captioned_words.captions(attributes)
    return (in_language(captions, language) or captions)[0].text


def _swaps(
    image: Tensor, attributes: Sequence[Attributes], true: Tensor, classes: Sequence[str],
    language: str, read: Callable[[list[str]], Tensor],
) -> Tensor:  # fmt: skip
    """(N, attributes): 1 where the true caption is nearer than one with that word swapped."""
    found = torch.full((len(attributes), len(ATTRIBUTES)), torch.nan)
    for place, name in enumerate(ATTRIBUTES):
        random = np.random.default_rng(place)  # the same swaps for every system
        others = [swapped(each, name, classes, random) for each in attributes]
        rows = [row for row, other in enumerate(others) if other is not None]
        texts = [caption_of(other, language) for other in others if other is not None]
        if rows:
            false = in_batches(read, texts)
            gain = (image[rows] * (true[rows] - false)).sum(1)
            found[rows, place] = (gain > 0).float()
    return found


def _named(
    image: Tensor, attributes: Sequence[Attributes], classes: Sequence[str], language: str,
    read: Callable[[list[str]], Tensor], scale: float,
) -> Tensor:  # fmt: skip
    """(N,): 1 where the true class is the likeliest. A class is as likely as all captions that name
    it together, whatever else they say: prompts are many, as in the paper."""
    arranged = [*((1, place) for place in PLACES), (2, ""), (3, "")]
    frames = [
        Attributes("", colour, count, place, ground)
        for colour, (count, place), ground in product([OWN, *COLOURS], arranged, GROUNDS)
    ]
    found = []
    for name in classes:
        texts = [caption_of(replace(frame, object=name), language) for frame in frames]
        found.append((scale * image @ in_batches(read, texts).T).logsumexp(1))
    nearest = torch.stack(found, 1).argmax(1)
    truth = torch.tensor([list(classes).index(each.object) for each in attributes])
    return (nearest == truth).float()


def spoken(data: Dataset, row: int, language: str) -> str:
    """A case's first caption in that language."""
    return usual(in_language(data.target[row], language))


def usual(captions: Sequence[Caption]) -> str:
    """The caption that stands for a picture where one is shown."""
    return captions[0].text if captions else ""
