"""Prepare a training from its options: cases, split, system, batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from souron import registry
from souron.data import load, patients, splits
from souron.data.dataset import Dataset
from souron.data.lazy_column import Sketch
from souron.data.quality import duplicates
from souron.data.readers.settings import Large
from souron.data.splits import Parts, Plan
from souron.hub import names, zoo
from souron.hub.backbones import Backbone, MobileNetBackbone
from souron.runs import folder as run_folder
from souron.runs import options as run_options
from souron.task import Task
from souron.training import checkpoint, frozen
from souron.training.budget import Budget
from souron.training.frozen import Features
from souron.training.trainer import Trainer
from souron.utils import hardware
from souron.utils.messages import UserError, _

MOST_LOOKED_AT = 500  # validation cases; more would take the time from training
MOST_COMPARED = 20_000  # images searched for duplicates


def task_of(args: Mapping[str, Any]) -> Task:
    """Return the task of the system, or of the first of several systems."""
    system = _first_system(args)
    return registry.load_task(registry.find(str(system))[0].task)


def task_options(args: Mapping[str, Any], task: Task) -> Any:
    """Return the task's own options. Raises UserError for an option of another task."""
    return task.Options(**run_options.of_task(task.name, args))


def dataset_for(
    args: dict[str, Any], progress: Callable[[int, int], None] | None = None, large: Large = "decode"
) -> Dataset:
    """Load the data that the options name.

    Published weights need images of their channels, by default of the side that they were trained
    at; tasks that describe a whole data set require all of it in memory. ``progress`` and ``large``
    as in ``load``. Raises UserError.
    """
    task = task_of(args)
    published = args["pretrained"] == "True"
    side = args["side"] or (task.published_side(_first_system(args)) if published else 0) or None
    data = load.load(
        args["data"],
        side,
        args.get("group"),
        args.get("window"),
        task.fewest_classes,
        progress,
        large if task.held_out else "refuse",
        task.formats,
        task.target,
    )
    task.check(data, task_options(args, task))
    return coloured(data, task.published_channels(_first_system(args))) if published else data


def _first_system(args: Mapping[str, Any]) -> str:
    """Return the name of the system that is trained, or of the first of those compared."""
    return str(args["system"] if "system" in args else args["systems"][0].partition(":")[0])


def about_patients(args: Mapping[str, Any], task: Task, data: Dataset) -> str:
    """Describe how patients are identified, in a sentence.

    "" for known data sets, which are used as published, and for tasks without held-out cases.
    """
    if not task.held_out or str(args["data"]) in load.names():
        return ""
    return patients.about(data)


def coloured(data: Dataset, channels: int) -> Dataset:
    """Expand grey images to three channels if a network requires them."""
    if channels != 3 or data.channels != 1:
        return data
    return replace(data, input=data.input.expand(-1, 3, -1, -1))


def divide(args: dict[str, Any], data: Dataset, repeats: int | None = None) -> Plan:
    """Return the split plan, the same for every seed.

    Images that may be copies stay together where souron divides; predefined parts that share identical
    images or patients are refused unless the options allow them. Known data sets are used as published. Few cases are
    cross-validated, see ``splits.plan``. A brief training has one split with few cases to test. Raises UserError.
    """
    task = task_of(args)
    if not task.held_out:
        return Plan(splits.everything(data), [])
    plan = _divided(args, data, repeats)
    return plan._replace(kept=splits.shortened(plan.kept, data, run_options.MOST_BRIEF)) if args.get("brief") else plan


def _divided(args: dict[str, Any], data: Dataset, repeats: int | None) -> Plan:
    """Return the split plan of all cases."""
    task = task_of(args)
    options = task_options(args, task)
    folds = 1 if args.get("brief") else getattr(options, "folds", 1)
    repeats = repeats or getattr(options, "repeats", None) or splits.REPEATS
    curve = getattr(options, "learning_curve", None)
    balanced = with_strata(data, task)
    if str(args["data"]) in load.names():
        return splits.plan(balanced, folds or 1, repeats, curve=curve)
    alike = _near_duplicates(data)
    try:
        plan = splits.plan(balanced, folds, repeats, alike, curve)
    except UserError:
        if not alike:
            raise
        plan = splits.plan(balanced, folds, repeats, curve=curve)  # what may be copies never makes it impossible
        plan = plan._replace(kept=replace(plan.kept, doubtful=splits.doubtful(balanced, plan.kept, alike)))
    if not args.get("allow_leak") and not isinstance(data.input, Sketch):
        splits.refuse_leaks(plan.kept.leaking, plan.kept.torn)
    return plan


def _near_duplicates(data: Dataset) -> Sequence[tuple[int, int]]:
    """Return pairs of rows that may show the same image, also rotated, mirrored, inverted or framed.

    Empty for other data than images, for very many images, and for images not yet read. Radiographs
    with landmarks are taken in one pose, so that those of different patients look alike: there only
    equal pixels count.
    """
    if not data.images or data.has("points") or isinstance(data.stored, Sketch) or len(data) > MOST_COMPARED:
        return ()
    near = duplicates.near(data.stored)
    return [*near, *duplicates.altered(data.stored, near)]


def with_strata(data: Dataset, task: Task) -> Dataset:
    """Return the cases with the task's strata as target, for balanced splits."""
    strata = task.strata(data)
    return data if strata is data.target else replace(data, target=strata, classes=("",))


def build(args: dict[str, Any], train: Dataset) -> Any:
    """Build the system, with weights initialised by the seed or loaded."""
    system_class, config = registry.load_system(args["system"])
    changes = dict(args["changes"])
    if args["rate"] is not None:
        changes["rate"] = args["rate"]
    config = run_folder.override(config, changes)
    torch.manual_seed(args["seed"])
    spec = system_class.spec_for(train)
    task, pretrained = registry.load_task(system_class.task), args["pretrained"]
    if pretrained not in ("False", "True") and isinstance(meaning := names.known(pretrained), names.Ready):
        pretrained = str(run_folder.folder_of(meaning))
    if pretrained == "False":
        model = system_class(config, spec)
        for part in _backbones(model):
            part.load_published()
    elif pretrained == "True" or (task.published_files and not names.is_run(pretrained)):
        source = pretrained == "True" or pretrained
        model = task.published(args["system"], source, config, spec)
    else:
        model = _from_run(Path(pretrained), system_class, config, spec)
    if args["freeze"]:
        _freeze(model, pretrained)
    return model


def _backbones(model: Any) -> "list[Backbone | MobileNetBackbone]":
    return [part for part in model.modules() if isinstance(part, Backbone | MobileNetBackbone)]


def _freeze(model: Any, pretrained: str) -> None:
    """Freeze a classifier but for its last layer, and elsewhere the published backbone."""
    if backbones := _backbones(model):
        for part in backbones:
            part.freeze()
        return
    if pretrained == "False":
        raise UserError(
            "option",
            _("freeze without pretrained would leave random layers as they are"),
            expected="pretrained=true freeze=true",
            exit=2,
        )
    if not registry.load_task(model.task).head(model):
        raise UserError(
            "option",
            _("{task} has no last layer that could be trained alone").format(task=registry.task_name(model.task)),
            expected=_("freeze=true with a classifier, or with backbone=efficientnet_lite"),
            exit=2,
        )
    model.freeze()


def _from_run(folder: Path, system_class: Any, config: Any, spec: Any) -> Any:
    """Load the weights of another run except for the task's new layers, with its normalisation.

    Raises UserError.
    """
    other = run_folder.load(folder)
    task = registry.load_task(system_class.task)
    if other.task not in (system_class.task, *task.begins_with):
        raise UserError(
            "pretrained",
            _("{folder} is a run of {task}").format(folder=folder, task=registry.task_name(other.task)),
            expected=_("a run of {task}").format(task=registry.task_name(system_class.task)),
            exit=3,
        )
    inherited = {name: getattr(other.spec, name) for name in task.inherits if hasattr(other.spec, name)}
    if other.task != system_class.task and hasattr(system_class, "begin_with"):
        model = system_class(system_class.sized_for(config, other), replace(spec, **inherited))
        model.begin_with(other, folder)
        return model
    model = system_class(config, replace(spec, **inherited))
    new, weights = task.head(model), other.state_dict()
    if other.task != system_class.task:  # its output layers answer another question
        known = model.state_dict()
        weights = {name: weight for name, weight in weights.items() if name in known}
    checkpoint.fill(model, weights, folder, but=new)
    return model


def features(
    args: dict[str, Any], data: Dataset, model: Any, exact: bool = False
) -> Iterator[tuple[float, Features | None]]:
    """Yield progress 0..1 and, at the end, the features of a frozen network.

    Yields nothing if the network must run in each training: if its layers are trained, or the
    images are augmented. ``exact``: in float32, as in a later evaluation.
    """
    device = hardware.device(args["device"])
    model.to(device)
    if not args["freeze"] or args["augment"] not in (None, "none") or _backbones(model):
        return
    if frozen.may(model, data, device):
        if isinstance(data.input, Sketch):
            yield 1.0, _foreseen(model, data, data.input, device)
            return
        yield from frozen.features(model, data, device, exact)


def _foreseen(model: Any, data: Dataset, sketch: Sketch, device: torch.device) -> Features:
    """Compute the features of a few images in place of all, and estimate the time of all."""
    few = data.only(range(min(len(sketch.few), len(data))))
    *_before, (_done, computed) = frozen.features(model, few, device)
    assert computed is not None, "it ends with the features"
    column = Sketch(computed.cases.input, len(data))
    return Features(replace(data, input=column), computed.seconds * len(data) / len(few))


@dataclass
class Entrant:
    """A training that is ready to start."""

    trainer: Trainer
    parts: Parts  # as the trainer's system wants them: features, for a frozen network


def enter(
    args: dict[str, Any],
    model: Any,
    data: Dataset,
    split: splits.Split,
    computed: Features | None,
    trainings: int = 1,
    dealt: Parts | None = None,
) -> Entrant:
    """Create a training; of a frozen model the last layer alone, over ``computed`` features.

    Their cost is shared by ``trainings``. ``dealt`` are the parts of the cases if several systems
    share one copy.
    """
    if computed is None:
        parts = dealt or split.deal(data)
        return Entrant(trainer(args, model, parts), parts)
    parts = split.deal(computed.cases)
    made = trainer({**args, "augment": "none"}, model.head_alone(), parts)
    learnt_from = (len(parts.train) + len(parts.val)) / len(data)
    made.seconds = computed.seconds * learnt_from / trainings  # counted as training, also if cached
    made.worked = made.charged = made.seconds
    made.least_steps = frozen.LEAST_EPOCHS * made.epoch_steps
    if made.budget.unit == "seconds":
        made.patience = made.patience or frozen.PATIENCE
        made.system.most_steps = max(frozen.MOST_STEPS, frozen.MOST_EPOCHS * made.epoch_steps)
    return Entrant(made, parts)


def trainer(args: dict[str, Any], model: Any, parts: Parts) -> Trainer:
    """Create the trainer of a system with its batches and budget."""
    device = hardware.device(args["device"])
    model.to(device)
    if model.channels_last:
        model.to(memory_format=torch.channels_last)
    task = registry.load_task(model.task)
    change = None
    if args["augment"] is not None:
        change = task.augmentation(_names(args["augment"]))
    elif task.augments:
        change = task.augmentation(parts.train.augment)
    watched = parts.val.only(range(min(MOST_LOOKED_AT, len(parts.val))))
    return Trainer(
        model,
        model.loader(parts.train, change, args["seed"], device),
        model.loader(watched, device=device),
        Budget.parse(args["budget"]),
        args["batch"],
        args["patience"],
        task,
        by_clock=bool(args.get("brief")),
    )


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(name.strip() for name in text.split(","))


def write_plan(folder: Path, plan: Plan, data: Dataset, task: Task) -> None:
    """Write ``split.csv``, and ``folds.csv`` with cross-validation."""
    balanced = with_strata(data, task)
    splits.write(plan.kept, balanced, folder / "split.csv")
    if plan.repeats:
        splits.write_folds(plan, balanced, folder / "folds.csv")


def read_split(folder: Path, data: Dataset, task: Task) -> splits.Split:
    """Read the split of a run. Raises UserError if the data has changed."""
    if not task.held_out:
        return splits.everything(data)
    if zoo.holds(folder):
        return divide(run_folder.read_args(folder), data).kept
    return splits.read(folder / "split.csv", with_strata(data, task))
