"""Test whether a generator copies its training images, by the nearest one to each generated image.

An image x is judged by how much nearer its nearest training image is than its neighbourhood (the
ratio, see ``distances``). A copy's ratio is near 0. The distance alone would not do: smooth images
lie near to everything.

The threshold comes from real images not used in training, as in Meehan, Chaudhuri, Dasgupta:
A Non-Parametric Test to Detect Data-Copying in Generative Models (2020),
https://arxiv.org/abs/2004.05675. It is the r-th smallest of their m ratios, where
r / (m + 1) is about ``record.LEVEL``. Of n images generated from the same distribution, the number
below the threshold is beta-binomial with n, r and m + 1 - r, whatever the distribution; more
indicate copying.

Where real images are grainy and generated ones smooth, the latter have smaller ratios without being
copies. They have them to images that were not in training as well, so that these ratios are a second
control, with a threshold and a p-value of its own: copies are below both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.action import Action, Given
from souron.actions.memorisation import distances
from souron.actions.memorisation.distances import Nearest, Space
from souron.actions.memorisation.record import MemorisationRecord, Pair, Result
from souron.data import splits
from souron.data.dataset import Dataset
from souron.evaluation.generators import embedding, prompt_adherence, sampling
from souron.kinds.signature import Choice
from souron.runs import datasheet, generate, prepare, train
from souron.runs import folder as run_folder
from souron.runs.events import Event
from souron.runs.reading import reading
from souron.utils import hardware
from souron.utils.messages import N_, UserError, _

MOST_CONTROL = 1000  # real images
FEWEST_CONTROL, FEWEST_TRAINING = 5, 5


@dataclass(frozen=True)
class Options:
    n: Annotated[int, Choice(N_("images to generate (default 256)"), low=1, high=4000)] = 256
    seed: Annotated[int, Choice(N_("random seed (default 0)"), low=0)] = 0
    device: Annotated[str, Choice(N_("what computes: auto, cpu, cuda, cuda:1, mps"), metavar="X")] = "auto"


class Memorisation(Action):
    """Generate ``n`` images with a run and compare each with all training images.

    They are compared by pixels and by the features suited to the data (``embedding``). The page
    lies in the run's folder, and replaces that of an earlier audit.
    """

    title = N_("Test whether a generator copies its training images.")
    examples = ("souron memorisation runs/generate/dcgan-digits n=256",)
    group = "society"
    given = Given("RUN", N_("a run's folder"))
    within = "audit"

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        folder = run_folder.find(given[0])
        args = run_folder.read_args(folder)
        system = generate.generator(folder, args)
        system.to(hardware.device(options.device))
        sheet = datasheet.read(folder)
        yield Event("data", text=str(args["data"]))
        cases = yield from reading(args)
        split = prepare.read_split(folder, cases, prepare.task_of(args))
        image = torch.empty(0)
        for sample in sampling.Sample.growing(system, options.n, options.seed):
            image = sample.image
            left = sample.seconds * (options.n - len(image))
            yield Event("draw", len(image) / options.n, left)
        spaces = [distances.pixels(), distances.features((yield from extractor(cases, split)))]
        training = cases.only(split.train)
        held_out = cases.only(torch.cat([split.val, split.test]))
        record, text = None, _("with {count} training images").format(count=len(training))
        for done, made in compare(image, training, held_out, spaces):
            record = made
            yield Event("compare", done, text=text)
        assert record is not None
        record.run, record.system, record.data = str(folder), sheet.system, sheet.data
        record.seed, record.sheet = options.seed, sheet
        record.changed = sheet.hash != train.receipt(args, cases)["data"]["hash"]
        record.folder = generate.own_place(folder, self.project)
        record.replaced = (record.folder / record.page_file).exists()
        note = _("the page of an earlier audit was replaced") if record.replaced else ""
        yield Event("done", 1.0, record=record, note=note)


def extractor(cases: Dataset, split: Any) -> Any:
    """Yield events while the network for image features is trained; return the network."""
    known = prompt_adherence.with_classes(cases) if cases.has("captions") else cases
    network = None
    for done, made in embedding.feature_extractor(known, split.train):
        network = made
        yield Event("features", done, text=_("training the network that compares images"))
    assert network is not None
    return network


def compare(
    image: Tensor, training: Dataset, held_out: Dataset, spaces: Sequence[Space]
) -> Iterator[tuple[float, MemorisationRecord | None]]:
    """Compare generated images ``image`` (N, C, H, W) in 0..255 with training images.

    Yields progress, and the record last. A copy is nearer to an image in ``training`` than those in
    ``held_out`` are. The first of ``spaces`` finds held-out images that are copies themselves and
    excludes them from the control. Raises UserError if there are too few images.
    """
    first = sorted(set(splits.same_image(training)))  # a repeated image counts once
    training = training.only(first)
    _check(len(training), FEWEST_TRAINING, _("different training images"))
    order = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(0))
    held_out = held_out.only(order[:MOST_CONTROL])
    equal = set(splits.shared(training, held_out))
    held_out = held_out.only([i for i, file in enumerate(held_out.file) if file not in equal])
    _check(len(held_out), FEWEST_CONTROL, _("images it was not trained on"))
    generated: list[Nearest] = []
    real: list[Nearest] = []
    for number, space in enumerate(spaces):
        both = torch.cat([image.to(held_out.input.dtype), held_out.input[:]])
        near = None
        for done, found in distances.nearest(both, training.input, space):
            near = found
            yield (number + done) / len(spaces), None
        assert near is not None
        generated.append(near.only(torch.arange(len(image))))
        real.append(near.only(torch.arange(len(image), len(both))))
    new = ~distances.are_copies(held_out.input, training.input, real[0], spaces[0])
    held_out = held_out.only(new.nonzero().flatten())
    results = []
    for space, own, control in zip(spaces, generated, real, strict=True):
        *_before, (_done, apart) = distances.nearest(image.to(held_out.input.dtype), held_out.input[:], space)
        assert apart is not None
        results.append(Result(space, own, control.only(new), apart.ratio))
    yield (
        1.0,
        MemorisationRecord(
            image=image,
            training=training,
            held_out=held_out,
            grain=(grain(image).median() / grain(held_out.input[:]).median().clamp(min=1e-6)).item(),
            copies=len(equal) + int((~new).sum()),
            results=results,
            pairs=_pairs(results, training),
        ),
    )


def grain(image: Tensor) -> Tensor:
    """Return the root mean square (N,) of details finer than three pixels, in levels."""
    values = image.float()
    coarse = F.avg_pool2d(F.pad(values, (1, 1, 1, 1), "replicate"), 3, 1)
    return (values - coarse).flatten(1).square().mean(1).sqrt()


def _check(count: int, fewest: int, what: str) -> None:
    if count < fewest:
        raise UserError(
            "too few",
            _("there are {count} {what}").format(count=count, what=what),
            expected=_("at least {count}").format(count=fewest),
            exit=3,
        )


def _pairs(results: Sequence[Result], training: Dataset) -> list[Pair]:
    """Return the pair of each generated image by its most suspicious distance, worst first."""
    relative = [one.generated.ratio / max(one.threshold, 1e-6) for one in results]
    least, which = torch.stack(relative).min(0)  # of (spaces, N)
    pairs = []
    for i in least.argsort(stable=True).tolist():
        one = results[int(which[i])]
        near = one.generated
        row = int(near.row[i])
        pairs.append(
            Pair(
                picture=i,
                row=row,
                file=training.file[row],
                space=one.space.name,
                distance=round(near.distance[i].item(), 4),
                ratio=round(near.ratio[i].item(), 4),
                change=str(one.space.changes[int(near.change[i])]),
                flagged=any(bool(each.flagged[i]) for each in results),
            )
        )
    return pairs
