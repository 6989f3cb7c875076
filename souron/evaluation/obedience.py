"""Do drawn pictures show what their prompts ask for? A reader says so that never saw a drawn one.

Where the data tells the attributes of its pictures, a network reads them off (``AttributeReader``).
Of other data, a matcher of pictures and sentences that did not guide the drawing looks for the true
caption among ``AMONG`` others (``CaptionJudge``). Beside both stand the ceiling, real test pictures
with their own captions, and the floor, drawn pictures with the captions of others.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from souron import registry
from souron.data.captions import in_language
from souron.data.composing import captioned_words
from souron.data.dataset import Dataset, digest
from souron.data.splits import Parts, Split
from souron.evaluation import embedding, matching
from souron.evaluation.answers import Answers, Setup
from souron.evaluation.attribute_reader import (
    AttributeReader,
    attribute_reader,
    kept_reader,
    readable,
)
from souron.evaluation.generation import ReferenceSet
from souron.stats.records import Measure
from souron.training.budget import Budget
from souron.training.trainer import Trainer
from souron.utils import files
from souron.utils.messages import UserError

ATTRIBUTES = matching.ATTRIBUTES
SAMPLE = 300  # pictures drawn, one a prompt
AMONG = 100  # captions
DRAWN_FOR = ("new scenes", "new pairs")  # subsets; others ask for the same
JUDGE = "clip"
EXAMPLES, BATCH, SEED = 40_000, 128, 17  # of the judge; not the seed that a run has by itself


@dataclass
class PromptSet(Setup):
    """Prompts, one a test case, and who reads what is drawn for them."""

    prompts: list[str] = field(kw_only=True)
    reference: ReferenceSet = field(kw_only=True)  # of the same cases, for distances
    reader: AttributeReader | None = field(default=None, kw_only=True)
    judge: Any = field(default=None, kw_only=True)  # a matcher
    ceiling: Answers = field(default_factory=dict, kw_only=True)  # of the real pictures

    def judged(self, image: Tensor) -> Answers:
        """Pictures (N, C, H, W) in 0..255, one for each prompt: ``right`` (N, attributes), not a
        number where a prompt does not ask; ``chance`` the probability of what was asked;
        ``shuffled`` as ``right``, of the prompt of another case; ``caption`` and ``stranger`` (N,)
        the place of the own caption, and of another's."""
        found: Answers = {}
        others = other_rows(self.test)
        if self.reader is not None:
            read = self.reader.read(image)
            wanted = self.reader.wanted(self.test.columns, range(len(self.test)))
            asked = asks(self.test)
            right, chance, shuffled = torch.full((3, *asked.shape), torch.nan)
            for place, name in enumerate(ATTRIBUTES):
                said, of = read[name].argmax(1), asked[:, place]
                right[of, place] = (said == wanted[name])[of].float()
                chance[of, place] = read[name].gather(1, wanted[name][:, None])[of, 0]
                of = asked[others, place]
                shuffled[of, place] = (said == wanted[name][others])[of].float()
            found |= {"right": right, "chance": chance, "shuffled": shuffled}
        if self.judge is not None:
            near = seen_by(self.judge, image) @ told_to(self.judge, self.prompts).T
            found["caption"] = among(near, self.prompts, torch.arange(len(image)))
            found["stranger"] = among(near, self.prompts, others)
        return found


@dataclass(frozen=True)
class OfPart:
    """What was measured of one subset's prompts in one language."""

    subset: str
    language: str
    cases: int
    measures: dict[str, Measure]  # of drawn pictures: each attribute, or the caption
    floor: dict[str, float]
    ceiling: dict[str, float]


@dataclass(frozen=True)
class PromptedResult:
    """What a run's report shows."""

    generation: Any  # GenerationResult
    parts: tuple[OfPart, ...]  # all prompts first
    prompts: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        told = self.generation.as_json()
        return told | {
            "obedience": [
                {
                    "subset": part.subset, "language": part.language, "cases": part.cases,
                    "measures": {name: vars(each) for name, each in part.measures.items()},
                    "floor": part.floor, "ceiling": part.ceiling,
                }
                for part in self.parts
            ]
        }  # fmt: skip


@dataclass(frozen=True)
class PromptedGallery:
    """What compared systems drew for the same prompts."""

    prompts: list[str]
    drawn: dict[str, Tensor]  # system -> (N, C, H, W) uint8, of its first training


def languages(data: Dataset) -> list[str]:
    """The language that each case is prompted in: in turn those that it has captions in."""
    found = []
    for row, captions in enumerate(data.target):
        own = sorted({caption.language for caption in captions})
        found.append(own[row % len(own)])
    return found


def prompts(data: Dataset) -> list[str]:
    """Of each case its first caption in that language."""
    spoken = languages(data)
    return [
        in_language(captions, language)[0].text
        for captions, language in zip(data.target, spoken, strict=True)
    ]


def asks(data: Dataset) -> Tensor:
    """(N, attributes) bool: which attributes a case's caption asks for."""
    known = [[bool(value) for value in data.columns[name]] for name in ATTRIBUTES]
    return torch.tensor(known).T


def other_rows(data: Dataset) -> Tensor:
    """(N,) another case of the same subset for each, as captions are shuffled."""
    names = matching.subsets(data)
    others = torch.arange(len(data))
    for name in dict.fromkeys(names):
        rows = torch.tensor([row for row, each in enumerate(names) if each == name])
        mixed = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))]
        others[mixed] = mixed.roll(1)
    return others


def chosen(data: Dataset, test: Sequence[int] | Tensor, count: int) -> list[int]:
    """Test rows that are drawn for, evenly from each subset."""
    rows = torch.as_tensor(test).tolist()
    names = matching.subsets(data)
    wanted = [row for row in rows if names[row] in DRAWN_FOR] or rows
    each = {name: [r for r in wanted if names[r] == name] for name in dict.fromkeys(
        names[r] for r in wanted)}  # fmt: skip
    share = max(1, count // max(1, len(each)))
    return [row for some in each.values() for row in some[:share]]


def prompt_set(
    data: Dataset, split: Split, count: int, options: Any
) -> Iterator[tuple[float, PromptSet | None]]:
    """How much is done, 0..1, and at the end the prompts with who reads and judges; all learnt from
    the training cases alone. Raises UserError."""
    test = data.only(chosen(data, split.test, count))
    train, val = data.only(split.train), data.only(split.val)
    plain = with_classes(data)
    extractor = None
    for done, extractor in embedding.feature_extractor(plain, split.train):  # noqa: B007
        yield 0.2 * done, None
    assert extractor is not None
    parts = Parts(*(with_classes(each) for each in (train, val, test)))
    reference = ReferenceSet.of(extractor, parts, len(test), options)
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
    test = test.only(order)  # as the reference set has them
    reader = judge = None
    if readable(data):
        for done, reader in attribute_reader(train):  # noqa: B007
            yield 0.2 + 0.7 * done, None
    else:
        for done, judge in caption_judge(train):  # noqa: B007
            yield 0.2 + 0.7 * done, None
    made = PromptSet(
        options, test, prompts=prompts(test), reference=reference, reader=reader, judge=judge
    )
    made.ceiling = made.judged(test.input[:])
    yield 1.0, made


def with_classes(data: Dataset) -> Dataset:
    """The same pictures with the object as class, where it is known, for the feature extractor."""
    names = data.columns.get("object", [""] * len(data))
    known = tuple(dict.fromkeys(names)) if not data.classes else data.classes
    number = {name: place for place, name in enumerate(known)}
    target = torch.tensor([number.get(name, 0) for name in names], dtype=torch.long)
    return replace(data, target=target, classes=tuple(known))


def caption_judge(train: Dataset) -> Iterator[tuple[float, Any]]:
    """How much is done, 0..1, and at the end a matcher that learnt from these captions with a seed
    of its own; from the cache where it has."""
    kind, config = registry.load_system(JUDGE)
    hasher = hashlib.blake2b(digest_size=16)
    hasher.update(repr((JUDGE, config, EXAMPLES, BATCH, SEED, len(train))).encode())
    digest(train.input, hasher)
    digest(train.target, hasher)
    place = files.cache_folder() / "readers" / f"{hasher.hexdigest()}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        judge: Any = kind(config, registry.load_task("match").spec(train))
        if place.exists():
            try:
                judge.load_state_dict(files.read_tensors(place)[0])
                yield 1.0, judge.eval()
                return
            except (UserError, RuntimeError):
                place.unlink(missing_ok=True)
        feed = judge.loader(train, None, SEED)
        examples = min(EXAMPLES, 100 * len(train))
        fit = Trainer(judge, feed, None, Budget(examples, "examples"), min(BATCH, len(train)))
    while not fit.done:
        fit.go(1.0)
        yield min(0.97, fit.fraction), None
    files.write_tensors(place, judge.state_dict(), {"judge": JUDGE})
    yield 1.0, judge.eval()


@torch.inference_mode()
def seen_by(judge: Any, image: Tensor) -> Tensor:
    """(N, D) of pictures in 0..255."""
    some = image.split(128)
    return torch.cat([judge.see(each.float() / 127.5 - 1).float().cpu() for each in some])


@torch.inference_mode()
def told_to(judge: Any, texts: Sequence[str]) -> Tensor:
    """(N, D)"""
    return matching.in_batches(judge.read_texts, texts)


def among(near: Tensor, texts: Sequence[str], own: Tensor) -> Tensor:
    """(N,) from 1: the place of caption ``own`` (N,) among ``AMONG`` captions, the same for each
    picture whatever is asked for."""
    same = matching.equal(texts)
    count = len(texts)
    step = max(1, count // AMONG)
    ranks = []
    for row in range(count):
        rivals = [(row + k * step) % count for k in range(min(AMONG, count))]
        rivals = [each for each in rivals if not same[own[row], each]]
        ranks.append(1 + int((near[row, rivals] >= near[row, own[row]]).sum()))
    return torch.tensor(ranks)


def read_off(data: str, image: Tensor, prompt: str) -> dict[str, Any]:
    """What a prompt asks of each attribute, and its probability as the reader of that data reads it
    off the picture (1, 3, H, W) in 0..255; nothing where no reader has learnt on this computer."""
    asked = captioned_words.asked_for(prompt)
    reader = kept_reader(data)
    if reader is None or not asked:
        return {}
    read = reader.read(image)
    return {
        name: {
            "asked": value,
            "p": round(float(read[name][0, reader.answers[name].index(value)]), 4),
        }
        for name, value in asked.items()
        if value in reader.answers[name]
    }
