"""Prompt adherence: whether generated images show what their prompts ask for.

The judge is never trained on generated images. Where the data give the attributes of their images,
a classifier reads them (``AttributeReader``). For other data, an image-text matcher that did not
guide the generation looks for the true caption among ``AMONG`` others (``caption_judge``). The
ceiling is real test images with their own captions, the floor generated images with the captions of
others.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from souron import registry
from souron.data.composing import captioned_words
from souron.data.dataset import Dataset, digest
from souron.data.splits import Parts, Split
from souron.data.targets.captions import in_language
from souron.evaluation.answers import Answers, Setup
from souron.evaluation.generators import embedding
from souron.evaluation.generators.attribute_reader import AttributeReader, attribute_reader, kept_reader, readable
from souron.evaluation.generators.generation import ReferenceSet
from souron.evaluation.vision import matching
from souron.stats.records import Measure
from souron.training.budget import Budget
from souron.training.trainer import Trainer
from souron.utils import files
from souron.utils.messages import UserError

ATTRIBUTES = matching.ATTRIBUTES
SAMPLE = 300  # images generated, one per prompt
AMONG = 100  # captions
DRAWN_FOR = ("new scenes", "new pairs")  # subsets; the others repeat their prompts
JUDGE = "clip"
EXAMPLES, BATCH, SEED = 40_000, 128, 17  # of the judge; the seed differs from the default of runs


@dataclass
class PromptSet(Setup):
    """Prompts, one per test case, and the judges of the images generated for them."""

    prompts: list[str] = field(kw_only=True)
    reference: ReferenceSet = field(kw_only=True)  # for distances, of the same cases
    reader: AttributeReader | None = field(default=None, kw_only=True)
    judge: Any = field(default=None, kw_only=True)  # a matcher
    ceiling: Answers = field(default_factory=dict, kw_only=True)  # of the real images

    def judged(self, image: Tensor) -> Answers:
        """Compare images (N, C, H, W) in 0..255 with their prompts, one each.

        Returns ``right`` (N, attributes), NaN where a prompt does not ask; ``chance``, the
        probability of the requested value; ``shuffled``, as ``right`` but for the prompt of another
        case; ``caption`` and ``stranger`` (N,), the rank of the own caption and of another one.
        """
        answers: Answers = {}
        others = other_rows(self.test)
        if self.reader is not None:
            probabilities = self.reader.read(image)
            targets = self.reader.wanted(self.test.columns, range(len(self.test)))
            mask = asks(self.test)
            right, chance, shuffled = torch.full((3, *mask.shape), torch.nan)
            for column, name in enumerate(ATTRIBUTES):
                answer, of = probabilities[name].argmax(1), mask[:, column]
                right[of, column] = (answer == targets[name])[of].float()
                chance[of, column] = probabilities[name].gather(1, targets[name][:, None])[of, 0]
                of = mask[others, column]
                shuffled[of, column] = (answer == targets[name][others])[of].float()
            answers |= {"right": right, "chance": chance, "shuffled": shuffled}
        if self.judge is not None:
            near = seen_by(self.judge, image) @ told_to(self.judge, self.prompts).T
            answers["caption"] = among(near, self.prompts, torch.arange(len(image)))
            answers["stranger"] = among(near, self.prompts, others)
        return answers


@dataclass(frozen=True)
class OfPart:
    """Figures of one subset's prompts in one language."""

    subset: str
    language: str
    cases: int
    measures: dict[str, Measure]  # of generated images: each attribute, or the caption
    floor: dict[str, float]
    ceiling: dict[str, float]


@dataclass(frozen=True)
class PromptedResult:
    """The results of one run for its report."""

    generation: Any  # GenerationResult
    parts: tuple[OfPart, ...]  # all prompts first
    prompts: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        contents = self.generation.as_json()
        return contents | {
            "obedience": [
                {
                    "subset": part.subset,
                    "language": part.language,
                    "cases": part.cases,
                    "measures": {name: vars(measure) for name, measure in part.measures.items()},
                    "floor": part.floor,
                    "ceiling": part.ceiling,
                }
                for part in self.parts
            ]
        }


@dataclass(frozen=True)
class PromptedGallery:
    """Images that compared systems generated for the same prompts."""

    prompts: list[str]
    drawn: dict[str, Tensor]  # system -> (N, C, H, W) uint8, of its first training


def languages(data: Dataset) -> list[str]:
    """Return the language of each case's prompt, alternating over those of its captions."""
    result = []
    for row, captions in enumerate(data.target):
        own = sorted({caption.language for caption in captions})
        result.append(own[row % len(own)])
    return result


def prompts(data: Dataset) -> list[str]:
    """Return the first caption of each case in its language."""
    result = languages(data)
    return [in_language(captions, language)[0].text for captions, language in zip(data.target, result, strict=True)]


def asks(data: Dataset) -> Tensor:
    """Return the attributes that each case's caption asks for, (N, attributes) bool."""
    mask = [[bool(value) for value in data.columns[name]] for name in ATTRIBUTES]
    return torch.tensor(mask).T


def other_rows(data: Dataset) -> Tensor:
    """Return another case of the same subset for each case, (N,), to shuffle captions."""
    names = matching.subsets(data)
    others = torch.arange(len(data))
    for name in dict.fromkeys(names):
        rows = torch.tensor([row for row, other in enumerate(names) if other == name])
        order = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))]
        others[order] = order.roll(1)
    return others


def chosen(data: Dataset, test: Sequence[int] | Tensor, count: int) -> list[int]:
    """Choose test rows to generate images for, evenly from each subset."""
    rows = torch.as_tensor(test).tolist()
    names = matching.subsets(data)
    candidates = [row for row in rows if names[row] in DRAWN_FOR] or rows
    rows_of = {
        name: [r for r in candidates if names[r] == name] for name in dict.fromkeys(names[r] for r in candidates)
    }
    share = max(1, count // max(1, len(rows_of)))
    return [row for subset_rows in rows_of.values() for row in subset_rows[:share]]


def prompt_set(data: Dataset, split: Split, count: int, options: Any) -> Iterator[tuple[float, PromptSet | None]]:
    """Yield (fraction done 0..1, None), and at the end the prompts with their judges.

    All are trained on the training cases alone. Raises UserError.
    """
    test = data.only(chosen(data, split.test, count))
    train, val = data.only(split.train), data.only(split.val)
    plain = with_classes(data)
    extractor = None
    for share, extractor in embedding.feature_extractor(plain, split.train):  # noqa: B007
        yield 0.2 * share, None
    assert extractor is not None
    parts = Parts(*(with_classes(part) for part in (train, val, test)))
    reference = ReferenceSet.of(extractor, parts, len(test), options)
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
    test = test.only(order)  # in the order of the reference set
    reader = judge = None
    if readable(data):
        for share, reader in attribute_reader(train):  # noqa: B007
            yield 0.2 + 0.7 * share, None
    else:
        for share, judge in caption_judge(train):  # noqa: B007
            yield 0.2 + 0.7 * share, None
    prompt_set = PromptSet(options, test, prompts=prompts(test), reference=reference, reader=reader, judge=judge)
    prompt_set.ceiling = prompt_set.judged(test.input[:])
    yield 1.0, prompt_set


def with_classes(data: Dataset) -> Dataset:
    """Set the class to the object, where it is known, for the feature extractor."""
    names = data.columns.get("object", [""] * len(data))
    classes = tuple(dict.fromkeys(names)) if not data.classes else data.classes
    number = {name: index for index, name in enumerate(classes)}
    target = torch.tensor([number.get(name, 0) for name in names], dtype=torch.long)
    return replace(data, target=target, classes=tuple(classes))


def caption_judge(train: Dataset) -> Iterator[tuple[float, Any]]:
    """Yield (fraction done 0..1, None), and at the end a matcher trained on these captions.

    It has a seed of its own and is cached.
    """
    system_class, config = registry.load_system(JUDGE)
    hasher = hashlib.blake2b(digest_size=16)
    hasher.update(repr((JUDGE, config, EXAMPLES, BATCH, SEED, len(train))).encode())
    digest(train.input, hasher)
    digest(train.target, hasher)
    path = files.cache_folder() / "readers" / f"{hasher.hexdigest()}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        judge: Any = system_class(config, registry.load_task("match").spec(train))
        if path.exists():
            try:
                judge.load_state_dict(files.read_tensors(path)[0])
                yield 1.0, judge.eval()
                return
            except (UserError, RuntimeError):
                path.unlink(missing_ok=True)
        feed = judge.loader(train, None, SEED)
        examples = min(EXAMPLES, 100 * len(train))
        fit = Trainer(judge, feed, None, Budget(examples, "examples"), min(BATCH, len(train)))
    while not fit.done:
        fit.go(1.0)
        yield min(0.97, fit.fraction), None
    files.write_tensors(path, judge.state_dict(), {"judge": JUDGE})
    yield 1.0, judge.eval()


@torch.inference_mode()
def seen_by(judge: Any, image: Tensor) -> Tensor:
    """Encode images in 0..255, (N, D)."""
    batches = image.split(128)
    return torch.cat([judge.see(batch.float() / 127.5 - 1).float().cpu() for batch in batches])


@torch.inference_mode()
def told_to(judge: Any, texts: Sequence[str]) -> Tensor:
    """Encode texts, (N, D)."""
    return matching.in_batches(judge.read_texts, texts)


def among(near: Tensor, texts: Sequence[str], own: Tensor) -> Tensor:
    """Return the rank, from 1, of caption ``own`` (N,) among ``AMONG`` captions.

    The candidates of an image are the same whatever its prompt.
    """
    same = matching.equal(texts)
    count = len(texts)
    step = max(1, count // AMONG)
    ranks = []
    for row in range(count):
        rivals = [(row + k * step) % count for k in range(min(AMONG, count))]
        rivals = [rival for rival in rivals if not same[own[row], rival]]
        ranks.append(1 + int((near[row, rivals] >= near[row, own[row]]).sum()))
    return torch.tensor(ranks)


def read_off(data: str, image: Tensor, prompt: str) -> dict[str, Any]:
    """Return the requested value of each attribute and its probability in the image.

    The image is (1, 3, H, W) in 0..255. {} where no reader for that data is cached.
    """
    attributes = captioned_words.asked_for(prompt)
    reader = kept_reader(data)
    if reader is None or not attributes:
        return {}
    probabilities = reader.read(image)
    return {
        name: {"asked": value, "p": round(float(probabilities[name][0, reader.answers[name].index(value)]), 4)}
        for name, value in attributes.items()
        if value in reader.answers[name]
    }
