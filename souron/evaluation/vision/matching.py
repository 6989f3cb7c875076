"""Evaluate image-text matching: retrieval both ways, word swaps, zero-shot classification.

A gallery holds at most ``GALLERY`` images of one subset, so that recall does not depend on the
number of cases. Where the data give object, colour, count, position and background of each image,
one word of its caption is swapped for another, and the system must prefer the true caption.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from souron.data.composing import captioned_words
from souron.data.composing.captioned_words import COLOURS, GROUNDS, OWN, PLACES, Attributes
from souron.data.dataset import Dataset
from souron.data.targets.captions import Caption, in_language
from souron.evaluation.answers import Answers
from souron.metrics import match
from souron.stats.records import Measure

GALLERY = 500  # images
AT_ONCE = 256  # texts in a batch
ATTRIBUTES = captioned_words.NAMES


@dataclass(frozen=True)
class OfSubset:
    """Figures of one subset in one language."""

    subset: str
    language: str
    cases: int
    measures: dict[str, Measure]  # by metric of ``match``, and by attribute


@dataclass(frozen=True)
class MatchResult:
    """The results of one run for its report."""

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
    """Return the languages of the captions, sorted."""
    return sorted({caption.language for captions in data.target for caption in captions})


def subsets(data: Dataset) -> list[str]:
    """Return the subset of each case, "" where the data have none."""
    return list(data.columns.get("subset", [""] * len(data)))


def galleries(data: Dataset) -> list[Tensor]:
    """Return rows of cases that compete in retrieval: of one subset, at most ``GALLERY``."""
    names = subsets(data)
    rows_of_galleries = []
    for name in dict.fromkeys(names):
        rows = torch.tensor([row for row, subset in enumerate(names) if subset == name])
        rows_of_galleries += list(rows.split(GALLERY))
    return rows_of_galleries


def known_attributes(data: Dataset) -> list[Attributes] | None:
    """Return the attributes of each case; None where the data do not give them."""
    if not set(ATTRIBUTES) <= set(data.columns):
        return None
    columns = (data.columns[name] for name in ATTRIBUTES)
    return [
        Attributes(thing, colour, int(count), position, ground)
        for thing, colour, count, position, ground in zip(*columns, strict=True)
    ]


def swapped(
    attributes: Attributes, name: str, classes: Sequence[str], random: np.random.Generator
) -> Attributes | None:
    """Replace one attribute by another value at random; None where it cannot be swapped."""
    every: dict[str, list[Any]] = {
        "object": list(classes),
        "colour": list(COLOURS),
        "count": [2, 3],
        "place": list(PLACES),
        "ground": list(GROUNDS),
    }
    own = getattr(attributes, name)
    if own in (OWN, "") or (name == "count" and own == 1):  # single objects also have a position
        return None
    others = [other for other in every[name] if other != own]
    if not others:
        return None
    value = others[int(random.integers(len(others)))]
    return replace(attributes, **{name: value})


def asked(
    image: Tensor, data: Dataset, classes: Sequence[str], encode: Callable[[list[str]], Tensor], scale: float
) -> Iterator[tuple[float, Answers | None]]:
    """Yield (fraction done 0..1, None), and at the end (1, answers).

    ``image`` (N, D) are the features of the images; ``encode`` maps texts to (n, D); ``scale`` turns
    cosine similarities into logits.

    Answers per case and language, (N, L): ``rank`` of the caption, ``back`` the rank of the image
    given the caption, ``preferred`` the case with the nearest caption, ``zero`` whether the class
    was predicted; ``swap`` (N, L, attributes), whether the true word was preferred.
    """
    names = languages(data)
    count = len(data)
    rank, back, nearest = torch.zeros(3, count, len(names), dtype=torch.long)
    zero = torch.full((count, len(names)), torch.nan)
    swap = torch.full((count, len(names), len(ATTRIBUTES)), torch.nan)
    attributes = known_attributes(data)
    for number, language in enumerate(names):
        own = [in_language(captions, language)[:1] for captions in data.target]
        rows = torch.tensor([row for row, captions in enumerate(own) if captions])
        texts = [own[row][0].text for row in rows.tolist()]
        features = torch.zeros(count, image.shape[1])
        features[rows] = in_batches(encode, texts)
        text_of = dict(zip(rows.tolist(), texts, strict=True))
        for gallery in galleries(data):
            there = gallery[torch.isin(gallery, rows)]
            if len(there):
                similarity = image[there] @ features[there].T
                same = equal([text_of[row] for row in there.tolist()])
                rank[there, number] = match.ranks(similarity, same)
                back[there, number] = match.ranks(similarity.T, same)
                nearest[there, number] = there[similarity.argmax(1)]
        yield (number + 0.5) / len(names), None
        if attributes is not None:
            swap[:, number] = _swaps(image, attributes, features, classes, language, encode)
            zero[:, number] = _named(image, attributes, classes, language, encode, scale)
        yield (number + 1) / len(names) * 0.99, None
    yield 1.0, {"rank": rank, "back": back, "preferred": nearest, "swap": swap, "zero": zero}


def equal(texts: Sequence[str]) -> Tensor:
    """Return which texts are equal, (N, N) bool."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    of = torch.tensor([numbers[text] for text in texts])
    return of[:, None] == of[None, :]


def in_batches(encode: Callable[[list[str]], Tensor], texts: Sequence[str]) -> Tensor:
    """Encode any number of texts in batches, (n, D)."""
    starts = range(0, len(texts), AT_ONCE)
    return torch.cat([encode(list(texts[start : start + AT_ONCE])) for start in starts])


def caption_of(attributes: Attributes, language: str) -> str:
    """Return the first caption in that language, or in English where there is none."""
    captions = captioned_words.captions(attributes)
    return (in_language(captions, language) or captions)[0].text


def _swaps(
    image: Tensor,
    attributes: Sequence[Attributes],
    true: Tensor,
    classes: Sequence[str],
    language: str,
    encode: Callable[[list[str]], Tensor],
) -> Tensor:
    """Return 1 where the true caption is nearer than the one with a swapped word, (N,
    attributes).
    """
    gains = torch.full((len(attributes), len(ATTRIBUTES)), torch.nan)
    for column, name in enumerate(ATTRIBUTES):
        random = np.random.default_rng(column)  # the same swaps for every system
        others = [swapped(attribute, name, classes, random) for attribute in attributes]
        rows = [row for row, other in enumerate(others) if other is not None]
        texts = [caption_of(other, language) for other in others if other is not None]
        if rows:
            false = in_batches(encode, texts)
            gain = (image[rows] * (true[rows] - false)).sum(1)
            gains[rows, column] = (gain > 0).float()
    return gains


def _named(
    image: Tensor,
    attributes: Sequence[Attributes],
    classes: Sequence[str],
    language: str,
    encode: Callable[[list[str]], Tensor],
    scale: float,
) -> Tensor:
    """Return 1 where the true class is the most probable, (N,).

    The score of a class sums the probabilities of all captions that name it, whatever else they
    say: prompt ensembling, as in the paper.
    """
    layouts = [*((1, position) for position in PLACES), (2, ""), (3, "")]
    frames = [
        Attributes("", colour, count, position, ground)
        for colour, (count, position), ground in product([OWN, *COLOURS], layouts, GROUNDS)
    ]
    scores = []
    for name in classes:
        texts = [caption_of(replace(frame, object=name), language) for frame in frames]
        scores.append((scale * image @ in_batches(encode, texts).T).logsumexp(1))
    nearest = torch.stack(scores, 1).argmax(1)
    truth = torch.tensor([list(classes).index(attribute.object) for attribute in attributes])
    return (nearest == truth).float()


def spoken(data: Dataset, row: int, language: str) -> str:
    """Return a case's first caption in that language."""
    return usual(in_language(data.target[row], language))


def usual(captions: Sequence[Caption]) -> str:
    """Return the caption to show with an image."""
    return captions[0].text if captions else ""
