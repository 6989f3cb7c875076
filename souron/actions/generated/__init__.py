"""Drawn or real? A detector judged on generators that it has seen, and on ones that it has not.

A detector learns from real pictures and from those of some generators, and is then asked about
pictures that it did not learn from. Whether it has *seen* the generator decides how good it looks:
so each generator is left out once, and judged by a detector that learnt from the others alone. This
is also how different the pictures are: a classifier two-sample test (Lopez-Paz, Oquab: Revisiting
Classifier Two-Sample Tests, 2016, https://arxiv.org/abs/1610.06545), where an AUC of 0.5 means that
the detector cannot tell them apart.

The parts are those of the real pictures, 2 : 1 : 1, by group where groups are known, and halves of
each generator's; a drawn picture that shows what a real one shows goes where that one goes:

    training      the detector learns from it
    validation    real pictures: the threshold that 1 % (5 %) of them pass
    test          AUC, misses among the drawn, false alarms among the real

Real pictures against real pictures, told apart by chance, are the control: an AUC away from 0.5
would be a fault of the measurement. So is what can be told from the files alone (``by_file``): the
detector never sees it, but whoever trains one on the files as they are does.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from souron.action import Action, Given
from souron.actions.generated import image_sources, measures
from souron.actions.generated.image_sources import Source
from souron.actions.generated.measures import Judge, Mistake, Parts, Row, Seen, halves_beside, split, twins
from souron.actions.generated.record import Audit
from souron.evaluation import generated_detector
from souron.evaluation.generated_detector import CHANGES, Detector
from souron.kinds.signature import Choice
from souron.runs.events import Event, left
from souron.utils import files
from souron.utils.messages import N_, UserError, _

FEWEST_REAL, FEWEST_DRAWN = 40, 20
EACH = 3  # pictures of each generator that are shown as taken for real
REAL = 4  # times as many real pictures, where there are so many


@dataclass(frozen=True)
class Options:
    real: Annotated[str, Choice(N_("a data set or folder of real pictures, in place of REAL"), metavar="D")] = ""
    drawn: Annotated[
        tuple[str, ...], Choice(N_("a run, a ready-trained generator or a folder; may be repeated"), metavar="D")
    ] = ()
    n: Annotated[int, Choice(N_("pictures of each generator (default 400)"), low=20, high=4000)] = 400
    seed: Annotated[int, Choice(N_("random seed (default 0)"), low=0)] = 0
    device: Annotated[str, Choice(N_("what computes: auto, cpu, cuda, cuda:1, mps"), metavar="X")] = "auto"
    on: Annotated[str, Choice(N_("where generators run: processes:4, dask://HOST:PORT, slurm"), metavar="ENGINE")] = ""


class Generated(Action):
    """Compare real pictures (a data set's name, a folder) with those of generators (runs, systems
    that come ready trained, folders), ``n`` of each. Without ``real`` the first name is the real
    pictures. With ``on`` each generator draws on an engine; the detectors are compared here."""

    title = N_("Measure how well generated images can be detected.")
    examples = (
        "souron generated fashion gan dcgan runs/generate/ddpm-fashion",
        "souron generated fashion gan dcgan ddpm on=processes:2",
        "souron generated real=photos/ drawn=a/ drawn=b/ n=1000",
    )
    group = "society"
    given = Given("REAL DRAWN ...", N_("real pictures, then generators: runs, systems, folders"), 0, None)
    within = "audit"

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        names = [*([options.real] if options.real else []), *given, *options.drawn]
        if len(names) < 2:
            argument = "DRAWN" if names else "REAL"
            raise UserError(
                "argument",
                _("{argument} is missing").format(argument=argument),
                expected=argument,
                fix=self.examples[-1],
            )
        yield Event("data", text=names[0])
        real = image_sources.real(names[0], REAL * options.n, options.seed)
        others = yield from sources(names[1:], options)
        _name_apart(others)
        for done, audit in compare(real, others, options.seed):
            if audit is None:
                yield Event("compare", done)
            else:
                audit.folder = files.new_folder(self.project / "audit", f"generated-{audit.real}")
                yield Event("done", 1.0, record=audit)


def sources(names: Sequence[str], options: Options) -> Generator[Event, None, list[Source]]:
    """Read folders, and let runs generate images, here or on an engine; in the order of ``names``."""
    found: dict[int, Source] = {}
    runs = [place for place, name in enumerate(names) if image_sources.is_run(name)]
    common = (options.n, options.seed, options.device)
    if options.on:
        begun = time.monotonic()
        for number, source in image_sources.elsewhere(options.on, [names[place] for place in runs], *common):
            found[runs[number]] = source
            done = len(found) / len(runs)
            yield Event("draw", done, left(begun, done), source.name)
    for place, name in enumerate(names):
        if place in found:
            continue
        if place not in runs:
            yield Event("data", text=name)
            found[place] = image_sources.folder(name, options.n, options.seed)
            continue
        for event in image_sources.generating(name, *common):
            if event.record is not None:
                found[place] = event.record
            yield Event(event.phase, event.fraction, event.seconds_left, event.text)
    return [found[place] for place in range(len(names))]


def _name_apart(sources: list[Source]) -> None:
    """No two of one name."""
    taken: set[str] = {""}
    for source in sources:
        name, number = source.name, 2
        while source.name in taken:
            source.name, number = f"{name}-{number}", number + 1
        taken.add(source.name)


def compare(real: Source, drawn: Sequence[Source], seed: int = 0) -> Iterator[tuple[float, Audit | None]]:
    """Yield the fraction done, 0..1, and the audit at the end. Raises UserError for too few
    images."""
    sources = [real, *drawn]
    pipeline = image_sources.one_pipeline(sources)
    images: list[Tensor] = []
    seen: list[Seen] = []
    steps = len(sources) + 2 * len(drawn) + 2
    for number, source in enumerate(sources):
        made = []
        for done, one in source.through(pipeline):
            made.append(one)
            yield 0.6 * (number + done) / steps, None
        fewest = FEWEST_DRAWN if number else FEWEST_REAL
        if len(made) < fewest:
            raise UserError(
                "too few",
                _("{name} has {count} images").format(name=source.name, count=len(made)),
                expected=_("at least {count}").format(count=fewest),
                exit=3,
            )
        images.append(torch.stack(made))
        seen.append(Seen.of(images[-1]))
        yield (number + 1) / steps, None
    group = real.group or [str(i) for i in range(len(images[0]))]
    random = np.random.default_rng(seed)
    parts = Parts(*split(group, (2, 1, 1), random))
    halves = [halves_beside(parts, twins(some, images[0]), random) for some in images[1:]]
    groups = [group[i] for i in parts.test] if real.group else None
    judge = Judge(seen[0], parts, groups)
    names = [source.name for source in drawn]
    train = [one.features[CHANGES[0]][half[0]] for one, half in zip(seen[1:], halves, strict=True)]
    every = generated_detector.fit(judge.train, train)
    yield (len(sources) + 1) / steps, None
    rows: list[Row] = []
    unseen: dict[int, Detector] = {}
    for number, name in enumerate(names):
        test = {change: found[halves[number][1]] for change, found in seen[number + 1].features.items()}
        rows += judge.rows(name, True, every, test)
        others = [found for other, found in enumerate(train) if other != number]
        if others:
            unseen[number] = generated_detector.fit(judge.train, others)
            rows += judge.rows(name, False, unseen[number], test)
        yield (len(sources) + 2 + 2 * number) / steps, None
    yield (
        1.0,
        Audit(
            real=real.name,
            counts=dict(zip(names, map(len, images[1:]), strict=True)),
            reals=len(images[0]),
            groups=len(set(group)) if real.group else 0,
            pipeline=pipeline,
            sides={source.name: source.side for source in sources},
            rows=rows,
            control=measures.control(seen[0], parts, group, bool(real.group), random),
            by_file=measures.by_file(real, drawn, random),
            taken_for_real=_taken_for_real(drawn, images[1:], seen[1:], halves, unseen, every),
            taken_for_drawn=measures.worst(
                real, images[0], parts.test, -every.of_features(seen[0].features[CHANGES[0]]), ""
            ),
            detector=every,
            seed=seed,
            skipped=sum(source.skipped for source in sources),
        ),
    )


def _taken_for_real(
    drawn: Sequence[Source],
    images: Sequence[Tensor],
    seen: Sequence[Seen],
    halves: Sequence[Sequence[Any]],
    unseen: dict[int, Detector],
    every: Detector,
) -> list[Mistake]:
    """The drawn pictures with the lowest scores, a few of each generator."""
    found = []
    for number, source in enumerate(drawn):
        detector = unseen.get(number, every)
        score = detector.of_features(seen[number].features[CHANGES[0]])
        found += measures.worst(source, images[number], halves[number][1], score, source.name)[:EACH]
    return sorted(found, key=lambda one: one.score)
