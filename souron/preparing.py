"""From options to what a training needs: cases, their split, the system, its feeds."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from souron import finding, machine, probing, saving
from souron.budget import Budget
from souron.data import augmenting, duplicates, loading, splitting
from souron.data.cases import Cases, Feed
from souron.data.column import Sketch
from souron.data.folder import Large
from souron.data.splitting import Parts, Plan
from souron.fitting import Fit
from souron.probing import Seen
from souron.speaking import Trouble, _

MOST_LOOKED_AT = 500  # validation cases; more would take the time from training
FEWEST_DRAWN_FROM = 20  # pictures, by a generator; with fewer no part can be held against another
MOST_COMPARED = 20_000  # pictures that are looked through for copies of one another
PUBLISHED_SIDE = 224  # pixels, of ImageNet's networks


def cases_for(
    args: dict[str, Any],
    progress: Callable[[int, int], None] | None = None,
    large: Large = "decode",
) -> Cases:
    """The data that the options name. Published weights want colours, and the side of pictures that
    they were trained at; what draws needs no classes, but some pictures; what groups wants all of
    them at once, in memory. ``progress`` and ``large`` as in ``loading``. Raises Trouble."""
    task = finding.split(args["system"])[0].task
    draws = task == "generate"
    published = args["pretrained"] == "True"
    side = args["side"] or (PUBLISHED_SIDE if published else None)
    cases = loading.load(
        args["data"], side, args.get("group"), args.get("window"), 1 if draws else 2, progress,
        "refuse" if task == "group" else large,
    )  # fmt: skip
    if draws and len(cases) < FEWEST_DRAWN_FROM:
        raise Trouble(
            "few pictures",
            _("{count} pictures in {data}").format(count=len(cases), data=args["data"]),
            expected=_("{count} or more, to learn what they have in common").format(
                count=FEWEST_DRAWN_FROM
            ),
            fix=_("more pictures, or data=fashion"),
            exit=3,
        )
    return coloured(cases, 3) if published else cases


def coloured(cases: Cases, channels: int) -> Cases:
    """Grey pictures three times over, where a network wants three channels."""
    if channels != 3 or cases.channels != 1:
        return cases
    return replace(cases, image=cases.image.expand(-1, 3, -1, -1))


def divide(args: dict[str, Any], cases: Cases, task: str, repeats: int | None = None) -> Plan:
    """The plan, the same for every seed. A folder's copies of one picture stay together; parts of
    its own that share pictures or patients are refused unless the options allow them.

    Known data sets are taken as published. Few cases are cross-validated, see ``splitting.plan``.
    Raises Trouble.
    """
    folds = args.get("folds") if task == "classify" else 1
    repeats = repeats or args.get("repeats") or splitting.REPEATS
    if str(args["data"]) in loading.names():
        return splitting.plan(cases, folds or 1, repeats)
    foretold = isinstance(cases.image, Sketch)  # nothing is known of its pictures
    alike = duplicates.near(cases.stored) if len(cases) <= MOST_COMPARED and not foretold else ()
    plan = splitting.plan(cases, folds, repeats, alike)
    if not args.get("allow_leak") and not foretold:
        splitting.refuse_leaks(plan.kept.leaking, plan.kept.torn)
    return plan


def build(args: dict[str, Any], train_cases: Cases) -> Any:
    """The system that the options ask for, its weights drawn with the seed or loaded."""
    kind, config = finding.system(args["system"])
    changes = dict(args["changes"])
    if args["rate"] is not None:
        changes["rate"] = args["rate"]
    config = saving.override(config, changes)
    torch.manual_seed(args["seed"])
    seen = kind.see(train_cases)
    pretrained = args["pretrained"]
    if pretrained == "False":
        model = kind(config, seen)
    elif pretrained == "True":
        model = _from_published(args["system"], kind, config, seen)
    else:
        model = _from_run(Path(pretrained), kind, config, seen)
    if args["freeze"]:
        if pretrained == "False":
            raise Trouble(
                "option",
                _("freeze without pretrained would leave random layers as they are"),
                expected="pretrained=true freeze=true",
                exit=2,
            )
        model.freeze()
    return model


def _from_published(system: str, kind: Any, config: Any, seen: Any) -> Any:
    from souron import fetching

    entry, size = finding.split(system)
    source = kind.published(size, config)
    published = fetching.weights(system, source)
    if seen.side < 64:
        raise Trouble(
            "imgsz",
            _(
                "published weights want pictures of 64 pixels a side or more, these have {side}"
            ).format(side=seen.side),
            expected="imgsz=224",
            fix="imgsz=224",
        )
    if seen.channels != 3:
        raise Trouble(
            "channels",
            _("published weights want pictures of 3 channels, these have {channels}").format(
                channels=seen.channels
            ),
            expected=_("colour pictures"),
            exit=3,
        )
    mean, std = fetching.normalisation(source)
    model = kind(config, replace(seen, mean=mean, std=std))
    saving.fill(model, published, Path(entry.name), but=(model.head, *model.side_heads))
    return model


def _from_run(folder: Path, kind: Any, config: Any, seen: Any) -> Any:
    other = saving.load(folder)
    model = kind(config, replace(seen, mean=other.seen.mean, std=other.seen.std))
    saving.fill(model, other.state_dict(), folder, but=(model.head, *model.side_heads))
    return model


def looking(
    args: dict[str, Any], cases: Cases, model: Any, exact: bool = False
) -> Iterator[tuple[float, Seen | None]]:
    """Of a frozen model, what the layers below the last see, once and for all: how far it is,
    0..1, and at the end what was seen. Nothing where each training must look for itself: where
    layers learn, or each look at a picture differs (augmentation). ``exact``: in float32, as
    a run is measured again."""
    device = machine.device(args["device"])
    model.to(device)
    if not args["freeze"] or args["augment"] not in (None, "none"):
        return
    if probing.may(model, cases, device):
        if isinstance(cases.image, Sketch):
            yield 1.0, _foreseen(model, cases, cases.image, device)
            return
        yield from probing.features(model, cases, device, exact)


def _foreseen(model: Any, cases: Cases, sketch: Sketch, device: torch.device) -> Seen:
    """What the layers see of a few pictures in place of all, and how long all will take."""
    few = cases.only(range(min(len(sketch.few), len(cases))))
    *_before, (_done, seen) = probing.features(model, few, device)
    assert seen is not None, "it ends with what was seen"
    image: Any = Sketch(seen.cases.image, len(cases))
    return Seen(replace(cases, image=image), seen.seconds * len(cases) / len(few))


def enter(
    args: dict[str, Any],
    model: Any,
    cases: Cases,
    split: splitting.Split,
    seen: Seen | None,
    trainings: int = 1,
    dealt: Parts | None = None,
) -> tuple[Fit, Parts]:
    """The fit that is to run, and the parts as the fit's system wants them: of a frozen model the
    last layer alone, over what ``looking`` saw for so many ``trainings``. ``dealt`` are the parts
    of the cases, where several systems share one copy."""
    if seen is None:
        parts = dealt or split.deal(cases)
        return prepare(args, model, parts), parts
    parts = split.deal(seen.cases)
    fit = prepare({**args, "augment": "none"}, probing.Head(model), parts)
    learnt_from = (len(parts.train) + len(parts.val)) / len(cases)
    fit.seconds = seen.seconds * learnt_from / trainings  # part of learning, also where kept
    return fit, parts


def prepare(args: dict[str, Any], model: Any, parts: Parts) -> Fit:
    """The fit that is to run."""
    device = machine.device(args["device"])
    model.to(device)
    if model.channels_last:
        model.to(memory_format=torch.channels_last)
    names = parts.train.augment if args["augment"] is None else _names(args["augment"])
    change = augmenting.augmentation(names) if model.task == "classify" else None

    looked_at = parts.val.only(range(min(MOST_LOOKED_AT, len(parts.val))))
    return Fit(
        model,
        Feed(parts.train, model.prepare, change, args["seed"], device),
        Feed(looked_at, model.prepare, device=device),
        Budget.parse(args["budget"]),
        args["batch"],
        args["patience"],
    )


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(name.strip() for name in text.split(","))
