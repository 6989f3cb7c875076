"""``souron generate``: images of a trained generator as files, each marked as generated.

Beside the single images: a sheet of the first ones, the intermediate steps of iterative systems,
and an interpolation between images if requested. Files are written one by one, so that a million
need no more memory than sixty-four; those written before Ctrl-C are kept, and image 7 of a seed is
always the same, so that ``first=`` continues.
"""

import shlex
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from souron.evaluation.record import DrawnRecord
from souron.hub import diffusion_weights, names, zoo
from souron.kinds import signature
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs import provenance
from souron.runs import events
from souron.runs import folder as run_folder
from souron.runs.drawing import Conditions, Drawing
from souron.runs.events import Event, Interrupted
from souron.utils import files, hardware
from souron.utils.messages import N_, UserError, _

MOST = 1_000_000  # images per command
DRAWN_PUBLISHED = Path("runs/published")  # folder for images of published models
MANY = 64  # default number of images
STEPS = 20  # default steps of a published model
FEW_STEPS = {"steps": "4", "guidance": "1", "sampler": "lcm"}  # defaults of a distilled one
IMGSZ = signature.Choice(N_("pixels a side"), 64, 1024).option("imgsz", diffusion_weights.SIDE, type=int)
FROM_FILES = ("given", "image", "mask")  # options that name images
NEEDS = {"kept": "given", "strength": "image"}  # options that require an image
OR = "|"  # separates prompts


def generate(run: str | Path, n: int | None = None, seed: int = 0, **options: Any) -> DrawnRecord:
    """Run ``generating`` to its end. Takes the same options."""
    return events.last(generating(run, n, seed, **options))


def generating(
    run: str | Path,
    n: int | None = None,
    seed: int = 0,
    *,
    first: int = 0,
    label: str = "",
    prompt: str = "",
    given: str | Path = "",
    image: str | Path = "",
    mask: str | Path = "",
    walk: int = 0,
    out: str | Path = "",
    device: str = "auto",
    **options: Any,
) -> Iterator[Event]:
    """Generate ``n`` images (64) with the run in a folder or a ready-trained system.

    A published model, by its name or as a folder or a file that ``diffusion_weights`` reads,
    generates one image, ``imgsz`` pixels a side (Karlo: 256), with the weights of the file ``lora`` added
    (see ``hub.adapters``). ``first`` is the first image's number, ``label`` the class (several,
    separated by commas, take turns), ``prompt`` the prompt (several, separated by |, take turns),
    ``given`` an image, folder or glob to complete, ``image`` one to start from and ``mask`` the
    area to generate anew (white), ``walk`` the number of images to interpolate between, ``out`` the
    output folder (by default a new one in the run's); further ``options`` are those of the system's
    ``drawing``. All of them are stored in each file, see ``like``. Raises UserError.
    """
    meaning = names.resolve(run)
    published = meaning if isinstance(meaning, names.DiffusionModel) else None
    n = (1 if published else MANY) if n is None else n
    check(n, seed, first, walk)
    lora = str(options.pop("lora", "")) if published else ""
    source = yield from _published(published, lora, options) if published else _trained(meaning)
    system = source.system
    system.to(hardware.device(device))
    known = signature.options_of(type(system).drawing)
    options = signature.read_options(known, options, "souron generate --help")
    asked: dict[str, Any] = {"label": label, "prompt": prompt}
    asked |= {"given": given, "image": image, "mask": mask, "lora": lora}
    conditions = _conditions(system, options, asked)
    check_together(known, options, conditions.images)
    place = Path(out) if out else files.new_folder(source.place / "pictures", f"seed{seed}")
    asked["imgsz"] = system.spec.side if published else ""
    settings = _defaults(known, conditions.images) | options
    settings |= {name: value for name, value in asked.items() if value}
    mark = provenance.mark(source.folder, source.args, seed, settings, source.weights)
    record = DrawnRecord(place, source.folder, str(source.args["system"]), seed, 0, 0.0, [])
    record.settings = settings
    record.notes += _unknown_words(system, conditions.prompts)
    record.notes += [] if published else zoo.weaknesses(source.folder)

    def rest(place: str | Path) -> str:
        """Return the command that continues here, or repeats all if only sheets are missing."""
        done = record.count if record.count < n else 0
        count = {"n": n - done, "seed": seed, "first": first + done}
        steps = walk if walk and not done else ""
        every = {**count, **asked, "walk": steps, "out": place, **options}
        words = [f"{name}={value}" for name, value in every.items() if value != ""]
        return shlex.join(["souron", "generate", str(run), *words])

    drawing = Drawing(system, conditions, record, mark, range(first, first + n))
    try:
        yield from drawing.images(Path(str(source.args["data"])).name)
        yield from drawing.sheets(walk)
    except KeyboardInterrupt as stop:
        raise Interrupted(place, rest(place if record.count < n else "FOLDER")) from stop
    except UserError as trouble:
        if trouble.code == "disk":
            trouble.fix = rest("FOLDER")
        raise

    record.seconds = time.perf_counter() - drawing.begun
    yield Event("done", 1.0, record=record)


class _Source(NamedTuple):
    """A generator, loaded, and where it comes from."""

    system: Any
    folder: Path
    args: dict[str, Any]  # of its run
    place: Path  # the folder of its output
    weights: Path | None = None  # of a published model


def _trained(meaning: names.Meaning) -> Generator[Event, None, _Source]:
    """Load the generator of a run, or a ready-trained one. Raises UserError."""
    yield from ()
    folder = run_folder.folder_of(meaning)
    args = run_folder.read_args(folder)
    return _Source(generator(folder, args), folder, args, own_place(folder))


def _published(meaning: names.DiffusionModel, lora: str, options: dict[str, Any]) -> Generator[Event, None, _Source]:
    """Load a published model; its side is taken out of the ``options``. Raises UserError.

    One that was distilled to generate in a few steps is given the options for it, and Karlo its
    publisher's.
    """
    if lora:
        meaning = replace(meaning, lora=Path(lora).expanduser())
    elif meaning.lora is not None:
        for name, value in FEW_STEPS.items():
            options.setdefault(name, value)
    diffusion_weights.refuse_missing(meaning)
    file, model = meaning.path, diffusion_weights.model(meaning.path)
    for name, value in model.options.items():
        options.setdefault(name, value)
    side = IMGSZ.read(options.pop("imgsz", diffusion_weights.side_of(file)))
    diffusion_weights.refuse_side(file, side)
    weights = diffusion_weights.file_of(file)
    steps = options.get("steps", STEPS)
    known = int(steps) if str(steps).isdigit() else STEPS
    _cost, text = diffusion_weights.told(file, side, known, guided=str(options.get("guidance")) != "1")
    yield Event("forecast", text=text, note=text)
    yield Event("data", text=_("loading {name}").format(name=file.name))
    args = {"system": model.system, "data": ""}
    return _Source(diffusion_weights.of(meaning, side), file, args, DRAWN_PUBLISHED / Path(meaning.name).stem, weights)


def _conditions(system: Any, options: dict[str, Any], asked: Mapping[str, Any]) -> Conditions:
    """Read the classes, prompts and images that were asked for. Raises UserError."""
    return Conditions(
        system.device,
        options,
        numbers_of(system, asked["label"]),
        prompts_of(system, asked["prompt"]),
        {name: images_of(system, name, asked[name]) for name in FROM_FILES if asked[name]},
    )


def _defaults(known: Mapping[str, Any], images: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the defaults of the options that apply to these images."""
    return {
        name: option.default
        for name, option in known.items()
        if option.default is not None and (name not in NEEDS or NEEDS[name] in images)
    }


def _unknown_words(system: Any, prompts: Sequence[str]) -> list[str]:
    """Return the caveat about words that no training caption contains, if there are any."""
    unknown = [word for each in prompts for word in system.unknown_words(each)]
    if not unknown:
        return []
    text = _("No training caption contains: {words}. The model cannot know what that means.")
    return [text.format(words=", ".join(dict.fromkeys(unknown)))]


def own_place(folder: Path, project: Path = Path("runs")) -> Path:
    """Return the folder for output: the run's own, or the project's for a ready-trained system."""
    return project / "ready" / folder.name if zoo.holds(folder) else folder


def check(n: int, seed: int, first: int, walk: int) -> None:
    """Raise UserError for numbers out of range."""
    for name, value, low, high in (
        ("n", n, 1, MOST),
        ("seed", seed, 0, 2**31 - 1),
        ("first", first, 0, MOST),
        ("walk", walk, 0, 1000),
    ):
        if not low <= value <= high:
            raise UserError(
                "value",
                _("{name}={value} is not understood").format(name=name, value=value),
                expected=f"{low}..{high}",
                fix=f"{name}={min(max(value, low), high)}",
            )
    if walk == 1:
        raise UserError("value", "walk=1", expected=_("two images or more to interpolate between"))


def numbers_of(system: Any, label: str) -> list[int]:
    """Return the indices of the requested classes. Raises UserError for unknown ones."""
    names = [name.strip() for name in label.split(",") if name.strip()]
    if names and not getattr(system, "conditional", False):
        raise UserError(
            "label",
            _("{system} generates without a class").format(system=type(system).__name__),
            expected=_("a conditional system, such as ddpm or biggan"),
            fix=_("leave label out"),
        )
    for name in names:
        if name not in system.spec.labels:
            raise UserError(
                "label", _("no class is named {name!r}").format(name=name), expected=", ".join(system.spec.labels)
            )
    return [system.spec.labels.index(name) for name in names]


def prompts_of(system: Any, prompt: str) -> list[str]:
    """Return the requested prompts.

    Raises UserError if the system takes none, or one is empty or has unknown words.
    """
    if not prompt:
        return []
    if not system.prompted:
        raise UserError(
            "prompt",
            _("{system} generates without a prompt").format(system=type(system).__name__),
            expected=_("a system that generates from a prompt, such as latent_diffusion"),
            fix="souron train latent_diffusion data=captioned_scenes",
        )
    from souron.tasks.text_to_image import checked

    prompts = [checked(each) for each in prompt.split(OR)]
    for each in prompts:
        system.refuse_unknown(each)
    return prompts


def images_of(system: Any, name: str, path: str | Path) -> Tensor:
    """Read images (N, C, H, W) in -1..1 to complete or start from, or a ``mask`` (N, 1, H, W).

    A mask is 1 where it is white. Raises UserError.
    """
    known = signature.options_of(type(system).drawing)
    if name not in known:
        takes = {"given": "image_gpt", "image": "latent_diffusion", "mask": "latent_diffusion"}
        raise UserError(
            name,
            _("{system} takes no {name}").format(system=type(system).__name__, name=name),
            expected=takes[name],
            fix="souron list",
        )
    side = system.spec.side
    channels = 1 if name == "mask" else system.spec.channels
    read = [image_codec.square(image_codec.read(file, about=side), side, channels) for file in files.find_files([path])]
    if not read:
        raise UserError("no files", _("nothing was found at {files}").format(files=path), exit=3)
    values = torch.stack(read).float()
    return (values > 127.5).float() if name == "mask" else values / 127.5 - 1


def check_together(known: Mapping[str, Any], options: Mapping[str, Any], shown: Mapping[str, Tensor]) -> None:
    """Raise UserError for an option without its image, and for an empty mask."""
    for name, needs in NEEDS.items():
        if name in options and needs in known and needs not in shown:
            raise UserError(
                "option",
                _("{name} without {needs}").format(name=name, needs=needs),
                expected=f"{needs}=photo.png {name}=0.5",
            )
    if "mask" not in shown:
        return
    if "image" not in shown:
        raise UserError(
            "mask",
            _("{name} without {needs}").format(name="mask", needs="image"),
            expected="image=photo.png mask=mask.png",
        )
    if not shown["mask"].any():
        raise UserError(
            "mask",
            _("the mask is black throughout: nothing would be generated"),
            expected=_("white where the image is to be generated anew"),
        )


def like(path: str | Path, **changed: Any) -> Iterator[Event]:
    """Generate again the image that a file's mark describes; ``changed`` options are replaced.

    Raises UserError for a file without a mark, and if its run is not found.
    """
    said = provenance.read(Path(path))
    if said is None:
        raise UserError(
            "no mark",
            _("{file} does not say how it was generated").format(file=path),
            expected=_("an image that souron generate wrote"),
            exit=3,
        )
    own = dict(said.settings)
    check_there(path, own, changed)
    run = changed.pop("run", None) or run_of(said)
    asked = {"n": 1, "seed": said.seed, "first": said.number or 0, **own, **changed}
    yield from generating(run, **asked)


def check_there(path: str | Path, own: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
    """Raise UserError if an image that the file was made from is missing.

    The mark stores names, not locations.
    """
    for name in FROM_FILES:
        if name in own and name not in changed and not Path(str(own[name])).exists():
            raise UserError(
                "no files",
                _("{file} was made from {name}={path}, which is not here").format(file=path, name=name, path=own[name]),
                expected=_("that file, in the folder you are in or named"),
                fix=f"{name}=PATH",
                exit=3,
            )


def run_of(mark: provenance.Mark) -> str | Path:
    """Return the run on this computer with the weights in the mark. Raises UserError."""
    ready = run_folder.ready(mark.system.partition("_")[0]) if mark.system else None
    near = sorted(Path("runs").glob("*/*/weights/best.safetensors"))
    for folder in [*([ready] if ready else []), *(file.parent.parent for file in near)]:
        if provenance.run_hash(folder) == mark.run:
            return folder
    raise UserError(
        "no run",
        _("no run here has the weights that generated it ({hash})").format(hash=mark.run),
        expected=_("the run of {system} in {folder}").format(system=mark.system, folder="runs/"),
        fix=f"model=RUN, or souron train {mark.system}",
        exit=3,
    )


def generator(folder: Path, args: Mapping[str, Any]) -> Any:
    """Load a run's generator. Raises UserError if its system is no generator."""
    system = run_folder.load(folder)
    if not hasattr(system, "drawing"):
        raise UserError(
            "task",
            _("{run} holds {system}, which does not generate").format(run=folder, system=args["system"]),
            expected=_("a generator's run"),
            fix="souron train dcgan data=digits budget=60s",
        )
    return system
