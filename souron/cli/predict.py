"""Commands that use a trained system: ``souron val``, ``predict`` and ``generate``."""

import csv
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main
from typer import Argument, Option

from souron import registry
from souron.cli import arguments, console
from souron.cli import options as cli_options
from souron.cli.app import command
from souron.cli.console import follow, note, print_json, screen, show
from souron.cli.train import given_options, use_cores, yes_or_no
from souron.hub import names
from souron.kinds import finding
from souron.runs.options import EvaluateOptions
from souron.utils import files as file_utils
from souron.utils import hardware
from souron.utils.messages import N_, UserError, _, unknown_option

OPTION = re.compile(r"[a-z_]+=(-?[\d.]+|[\w, -]*)", re.ASCII)  # an option: ``size=3``
ENDING = re.compile(r"\w\.[a-zA-Z]\w{1,4}$", re.ASCII)  # extension of a file name
MOST_OTHERS = 6  # other suitable systems that are listed
FORMS = {"coco": ".coco.json", "yolo": ".txt", "json": ".json", "csv": ".csv", "png": ".png"}


@command(
    "val",
    N_("Measure a trained system again, on its test cases or others."),
    "souron val runs/classify/cnn-digits\nsouron val runs/classify/resnet-photos data=others/\n"
    "souron val resnet                        (as it comes ready trained)",
    group="train",
)
@cli_options.takes(EvaluateOptions)
def val(
    run: Annotated[
        str | None,
        Argument(
            metavar="RUN|SYSTEM",
            help=N_("a run's folder, or a system that comes ready trained"),
            autocompletion=cli_options.complete_system_or_run,
        ),
    ] = None,
    model: cli_options.Model = None,
    data: cli_options.Data = None,
    **options: Any,
) -> None:
    folder = run or model
    if folder is None:
        raise arguments.missing("RUN", "souron val runs/classify/cnn-digits")
    hardware.calm_allocator()
    hardware.share_cores()
    with screen.err.status(_("testing")):
        from souron.runs import evaluate

        record = evaluate.examine(folder, data, **cli_options.given(options))
    if screen.json:
        measures = {name: asdict(measure) for name, measure in record.measures.items()}
        told = record.details.as_json() if hasattr(record.details, "as_json") else {}
        notes = {"notes": record.notes} if record.notes else {}
        unlike = {} if record.unlike is None else {"unlike": record.unlike}
        print_json({"run": folder, "data": data, "measures": measures, **unlike, **notes, **told})
    else:
        for note in record.notes:
            console.warn(note)
        show(console.measures(record.measures))


@command(
    "predict",
    N_("Apply a trained system to your files: images, texts, tables ..."),
    "souron predict cat.jpg                   (the best system here for a photograph)\n"
    "souron predict runs/classify/resnet-photos cat.jpg\n"
    'souron predict runs/classify/resnet-photos holidays/ "more/*.png" --csv > labels.csv\n'
    "souron predict resnet50 cat.jpg pretrained=true\n"
    'souron predict clip_vit_b_32 cat.jpg texts="a cat|a dog"\n'
    "souron predict runs/detect/yolo-scenes street.mp4 classes=vehicle\n"
    "souron predict runs/detect/yolo-scenes source=0     (a camera, until Ctrl-C)\n"
    "souron predict runs/detect/yolo-scenes slide.svs tile=512\n"
    "souron predict runs/detect/yolo-scenes new/ to=coco out=new    (labels to correct)\n"
    "souron predict runs/image_to_image/srgan-photo_patches photo.jpg scale=4\n"
    "souron predict RealESRGAN_x4plus.pth photo.jpg tile=256\n"
    "souron predict resnet shoe.png           (as it comes ready trained)\n"
    "souron predict runs/compose/music_transformer-chorales bars=8     (a new piece)\n"
    "souron predict runs/classify/resnet-photos -- -odd-name-.jpg",
    group="use",
)
def predict(
    context: typer.Context,
    system: Annotated[
        str,
        Argument(
            metavar="RUN|SYSTEM",
            help=N_("a run's folder, or a system: ready trained, or with pretrained=true"),
            autocompletion=cli_options.complete_system_or_run,
        ),
    ],
    files: Annotated[
        list[str] | None,
        Argument(metavar="FILES", help=N_("files, folders, globs; name=value for its own options")),
    ] = None,
    model: cli_options.Model = None,
    pretrained: Annotated[
        str | None,
        Option(
            metavar="true|PATH",
            help=N_("use the system's published weights; of clip also a file's or folder's"),
        ),
    ] = None,
    top: Annotated[
        int, Option(min=1, metavar="N", help=N_("labels for each file (default 5)"))
    ] = 5,
    csv: Annotated[bool, Option("--csv", help=N_("print file,rank,label,probability"))] = False,
    source: Annotated[
        str | None, Option(metavar="VIDEO|0", help=N_("a video, or a camera's number from 0"))
    ] = None,
    tile: Annotated[
        int | None,
        Option(metavar="N", help=N_("process a large image in tiles of this many pixels a side")),
    ] = None,
    overlap: Annotated[
        float | None, Option(metavar="SHARE", help=N_("overlap of tiles, in sides (default 0.25)"))
    ] = None,
    live: Annotated[
        bool, Option("--live", help=N_("play a video at its own speed; count dropped frames"))
    ] = False,
    mm: Annotated[
        float | None,
        Option(min=1e-6, metavar="MM", help=N_("of a video: millimetres per pixel, for motion")),
    ] = None,
    out: Annotated[
        str | None,
        Option(
            metavar="FOLDER",
            help=N_("save the answers there; images, sounds and the like are saved anyway"),
        ),
    ] = None,
    reference: Annotated[
        str | None,
        Option(metavar="FILE", help=N_("the expected image, to compare with")),
    ] = None,
    to: Annotated[
        str | None,
        Option(
            metavar="FORM",
            help=N_("save the answers as coco, yolo, json, csv, png; volumes as nifti, dicom"),
        ),
    ] = None,
    fields: cli_options.Fields = None,
) -> None:  # fmt: skip
    name, wanted, choice = resolve_system(system, files or [], model)
    wanted, chosen = chosen_options(name, wanted, fields or [], context)
    if not wanted and source is None and not begins_anew(name):
        raise arguments.missing("FILES", f"souron predict {name} cat.jpg")
    hardware.calm_allocator()
    hardware.share_cores()
    with screen.err.status(_("loading {name}").format(name=name)):
        from souron import model as models_api
        from souron.cli import watch
        from souron.pipelines import default_system
        from souron.runs.annotations import Annotations

        with console.warning_lines():
            loaded = models_api.load(name, yes_or_no(pretrained) or False)
    if to is not None and "to" in loaded.asked.options:  # forms of its own
        chosen, to = {**chosen, "to": to}, None
    elif to is not None and to not in FORMS:
        raise UserError("option", f"to={to}", expected=", ".join(FORMS), fix="to=coco")
    if (
        (tile or overlap) is not None and "tile" in loaded.asked.options
    ):  # a network that puts its tiles together again
        sizes = {"tile": tile, "overlap": overlap}
        told = {key: str(value) for key, value in sizes.items() if value is not None}
        chosen, tile = {**chosen, **told}, None
    truth = read_reference(loaded, reference)
    video = None if choice else watch.video_of(loaded, wanted, source)
    if video is not None or tile is not None:
        if to is not None:
            raise UserError(
                "option",
                _("videos and tiles are saved in forms of their own"),
                expected=_("to= with images that are processed whole"),
            )
        many, folder = loaded.for_many(), Path(out) if out else place_of_answers(name)
        if video is not None:
            watch.watch(many, video, folder, live, mm, chosen)
        elif tile is not None:
            watch.look_in_tiles(many, wanted, folder, tile, overlap, chosen)
        return
    with screen.err.status(_("loading {name}").format(name=name)):
        ask = default_system.predict if choice else models_api.predict
        answers = ask(loaded, wanted, **chosen)
    origin = describe_system(loaded, choice)
    tell: Any = (
        partial(tell_json, origin=origin) if screen.json else tell_csv() if csv else tell_people
    )
    place = Path(out) if out else None
    together = Annotations() if to == "coco" else None
    failed = total = 0
    for file, answer in answers:
        if isinstance(answer, UserError) and answer.code == "option":  # not this file's fault
            raise answer
        if truth is not None and not isinstance(answer, UserError):
            told_beside(answer, truth)
        total += 1
        failed += isinstance(answer, UserError)
        saved = None
        if not isinstance(answer, UserError):
            if together is not None:
                together.add(answer, file)
            elif place or to or getattr(answer, "kept", False):
                place = place or place_of_answers(name)
                saved = models_api.keep(answer, file, place, FORMS[to] if to else "", loaded)
        tell(str(file), answer, top, saved)
    if not total:
        raise UserError(
            "no files",
            _("nothing was found at {files}").format(files=" ".join(wanted)),
            expected=_("images, folders with images, or globs that match some"),
            exit=3,
        )
    if together is not None and together.images:
        saved = together.write(place or place_of_answers(name))
        print_json({"saved": str(saved)}) if screen.json else show(
            _("saved: {path}").format(path=saved)
        )
    if failed:
        note(_("{failed} of {total} files could not be read").format(failed=failed, total=total))
        raise typer.Exit(3)


def resolve_system(system: str, files: list[str], model: str | None) -> tuple[str, list[str], Any]:
    """Return the system's name, the files, and the ``Choice`` where the user named no system.

    Raises UserError where no available system was trained on such files.
    """
    if model is not None:
        return model, [system, *files], None
    if not names_files(system):
        return system, files, None
    from souron.pipelines import default_system

    choice = default_system.choose(system)
    return choice.system, [system, *files], choice


def names_files(word: str) -> bool:
    """Return whether a word is a file, a folder of files, a glob or a text.

    Otherwise it is the name of a system, a run or a published model. Imports nothing heavy.
    """
    if names.known(word) is not None:
        return False
    path = Path(word)
    if file_utils.there(word) or "*" in word or ENDING.search(word):
        return True
    inside = len(path.parts) > 1 and file_utils.there(path.parts[0])  # a run that is gone
    return not inside and (" " in word.strip() or not word.isascii())


def describe_system(loaded: Any, choice: Any) -> dict[str, str]:
    """Return the system's name and training data, for JSON.

    Where the user named no system, print both, with the other systems that take such files.
    """
    origin = {"system": loaded.name, "learnt_from": loaded.learnt_from}
    if choice is not None:
        note(_("answered by {system}, which was trained on {learnt_from}").format(**origin))
        named, more = choice.others[:MOST_OTHERS], len(choice.others[MOST_OTHERS:])
        named = [with_data(name) for name in named]
        if named:
            text = _("others that take such files: {names}") if not more else _(
                "others that take such files: {names} and {more} more (souron list)")  # fmt: skip
            note(text.format(names=", ".join(named), more=more))
        if not starters_here(choice):
            note(_("networks that answer on photographs: {command}").format(
                command="souron fetch starters"))  # fmt: skip
    return origin


def with_data(name: str) -> str:
    """Return a system's name with its training data: ``ssd_oid (Open Images V4)``."""
    from souron.pipelines import default_system

    learnt_from = default_system.learnt_from(name)
    return f"{name} ({learnt_from})" if learnt_from else name


def starters_here(choice: Any) -> bool:
    """Return whether a starter is here, or would not take such a file."""
    from souron.pipelines import default_system

    photograph = choice.system == default_system.FIRST["Picture"]
    return not photograph or bool(default_system.starters())


def told_beside(answer: Any, truth: Any) -> None:
    """Compare an image with the expected one. Raises UserError."""
    answer.judged(truth)


def read_reference(loaded: Any, file: str | None) -> Any:
    """Read the expected image; None where no file was given. Raises UserError."""
    if file is None:
        return None
    from souron.kinds.before_after import BeforeAfter
    from souron.kinds.picture import Picture

    if not hasattr(loaded.asked.gives, "judged") or not issubclass(loaded.asked.gives, BeforeAfter):
        raise UserError(
            "option",
            _("{name} makes no images that could be compared").format(name=loaded.name),
            expected=_("an image-to-image system"),
            exit=2,
        )
    return Picture.read(Path(file))


def chosen_options(
    name: str, words: list[str], fields: list[str], context: typer.Context
) -> tuple[list[str], dict[str, str]]:
    """Separate the files from the system's own options, which may stand among them."""
    told = dict(field.split("=", 1) for field in fields)
    maybe = [word for word in words if "=" in word and not file_utils.there(word)]
    if not told and not maybe:
        return words, {}
    own = own_options(name)
    for option in told:
        if option not in own:
            known = [*arguments.shown(arguments.options_of(context.command)), *own]
            raise unknown_option(option, known, "souron predict --help")
    files = []
    for word in words:
        option, _equals, value = word.partition("=")
        meant = get_close_matches(option, own, 1, 0.7) or (own and OPTION.fullmatch(word))
        if word not in maybe or (option not in own and not meant):
            files.append(word)
        elif option in own:
            told[option] = value
        else:
            raise unknown_option(option, list(own), f"souron show {name}")
    return files, told


def own_options(name: str) -> dict[str, Any]:
    """Return the options for predicting of a run or a system."""
    if isinstance(names.known(name), names.WeightsFile):
        from souron.kinds import signature
        from souron.runs import loading

        able = map(signature.signature, loading.published_systems().values())
        return {key: option for one in able if one for key, option in one.options.items()}
    asked = signature_of(name)
    return asked.options | asked.reading if asked else {}


def begins_anew(name: str) -> bool:
    """Return whether a system can predict without a file."""
    asked = signature_of(name)
    return asked is not None and asked.given.blank


def signature_of(name: str) -> Any:
    """Return the signature of a run's or system's ``predict``; None without one."""
    from souron.kinds import signature
    from souron.runs import folder as run_folder

    if names.is_run(name):
        name = str(run_folder.read_args(Path(name))["system"])
    try:
        return signature.signature(registry.load_system(name)[0])
    except UserError:  # loading it says what is wrong
        return None


def place_of_answers(name: str) -> Path:
    """Return a new folder for answers, inside the run if the system is a run."""
    return file_utils.new_folder(Path(name) if names.is_run(name) else Path(), "answers")


def best(answer: Any, top: int) -> list[tuple[str, float]]:
    """Return the ``top`` most probable labels with their probabilities."""
    pairs = zip(answer.labels, map(float, answer.probabilities), strict=True)
    return sorted(pairs, key=lambda pair: -pair[1])[:top]


def are_labels(answer: Any) -> bool:
    """Return whether an answer consists of labels; only for these does the user choose a number."""
    return hasattr(answer, "labels") and hasattr(answer, "probabilities")


def tell_json(
    file: str, answer: Any, top: int, saved: Path | None, origin: Mapping[str, Any] | None = None
) -> None:
    """Print one JSON object on a line; ``origin``: the system that answered."""
    if isinstance(answer, UserError):
        print_json({"file": file, "error": f"[{answer.code}] {answer.found}"})
        return
    told: dict[str, Any] = {"file": file, **(origin or {})}
    if are_labels(answer):
        told["labels"] = [{"label": name, "probability": p} for name, p in best(answer, top)]
    else:
        told |= answer.as_json()
    familiar = getattr(answer, "familiar", None)
    if familiar is not None:
        told["familiar"] = familiar.as_json()
    print_json(told | ({"saved": str(saved)} if saved else {}))


def tell_csv() -> Callable:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "rank", "label", "probability"])

    def tell(file: str, answer: Any, top: int, saved: Path | None) -> None:
        if isinstance(answer, UserError):
            console.warn(f"[{answer.code}] {answer.found}")
            return
        if not are_labels(answer):
            raise UserError(
                "option",
                _("--csv lists labels, and this system gives none"),
                expected="--json",
                fix="out=FOLDER",
            )
        for rank, (label, probability) in enumerate(best(answer, top), 1):
            writer.writerow([file, rank, label, f"{probability:.6f}"])
        warn_unlike(file, answer)

    return tell


def warn_unlike(file: str, answer: Any) -> None:
    """Warn where the case is unlike the training data."""
    if text := finding.unlike(answer):
        console.warn(f"{file}: {text}")


def tell_people(file: str, answer: Any, top: int, saved: Path | None) -> None:
    if isinstance(answer, UserError):
        first, *rest = str(answer).splitlines()
        console.warn(first)
        for line in rest:
            note(line)
        return
    show(file, console.likelihoods(best(answer, top)) if are_labels(answer) else str(answer))
    warn_unlike(file, answer)
    for text in getattr(answer, "notes", ()):
        console.warn(text)
    for path in [saved, *getattr(answer, "also", [])] if saved else []:
        show(_("saved: {path}").format(path=path))


@command(
    "generate",
    N_("Generate images with a trained model; a seed repeats them."),
    "souron generate ddpm n=16                (as it comes ready trained)\n"
    "souron generate runs/generate/dcgan-digits n=64 seed=1\n"
    "souron generate runs/generate/ddpm-fashion sampler=dpm steps=15 label=Coat\n"
    "souron generate runs/generate/stylegan-fashion truncation=0.7 walk=8\n"
    "souron generate runs/generate/image_gpt-fashion given=photo.png kept=0.5\n"
    'souron generate latent_diffusion prompt="a blue bird on the left, on grass"\n'
    "souron generate latent_diffusion prompt=雪の上に、二羽の青い鳥 guidance=5 seed=3\n"
    "souron generate --like picture.png       (once more)",
    group="use",
)
def generate(
    run: Annotated[
        str | None,
        Argument(
            metavar="RUN|SYSTEM",
            help=N_("a run's folder, or a system that comes ready trained"),
            autocompletion=cli_options.complete_system_or_run,
        ),
    ] = None,
    model: cli_options.Model = None,
    n: Annotated[int | None, Option(metavar="N", help=N_("images (default 64)"))] = None,
    seed: cli_options.Seed = None,
    first: Annotated[
        int | None, Option(metavar="N", help=N_("the first image's number, to continue; 0"))
    ] = None,
    label: Annotated[
        str | None, Option(metavar="CLASS", help=N_("generate this class; several with commas"))
    ] = None,
    prompt: Annotated[
        str | None, Option(metavar="TEXT", help=N_("generate what it says; several with |"))
    ] = None,
    given: Annotated[
        str | None, Option(metavar="FILE", help=N_("an image, folder or glob to complete"))
    ] = None,
    image: Annotated[
        str | None, Option(metavar="FILE", help=N_("an image, folder or glob to start from"))
    ] = None,
    mask: Annotated[
        str | None, Option(metavar="FILE", help=N_("white where the image is generated anew"))
    ] = None,
    like: Annotated[
        str | None, Option(metavar="FILE", help=N_("generate again what this file records"))
    ] = None,
    walk: Annotated[
        int | None, Option(metavar="N", help=N_("also an animation that interpolates between N"))
    ] = None,
    out: Annotated[
        str | None, Option(metavar="FOLDER", help=N_("output folder (default: a new one in RUN)"))
    ] = None,
    device: cli_options.Device = None,
    workers: cli_options.Workers = None,
    fields: cli_options.Fields = None,
) -> None:
    folder = run or model
    options = given_options(
        n=n, seed=seed, first=first, label=label, prompt=prompt, given=given, image=image,
        mask=mask, walk=walk, out=out, device=device,
        **dict(field.split("=", 1) for field in fields or []),
    )  # fmt: skip
    hardware.calm_allocator()
    hardware.share_cores()
    use_cores(workers)
    from souron.runs import generate as run_generate

    if like is not None and (mark := mark_of_answer(Path(like))):
        answer_again(Path(like), mark, folder, options)
        return
    if like is not None:
        drawing = run_generate.like(like, **({"run": folder} if folder else {}), **options)
    elif folder is None:
        raise arguments.missing("RUN", "souron generate runs/generate/dcgan-digits n=64")
    else:
        drawing = run_generate.generating(folder, **options)
    [record] = follow(drawing)
    if screen.json:
        print_json(record.as_json())
    else:
        console.drawn(record)


def mark_of_answer(path: Path) -> Any:
    """Return the provenance mark of a file that ``souron predict`` wrote; None for other files."""
    from souron.kinds.codecs import provenance

    mark = provenance.read(path)
    if mark is None or not mark.system:
        return None
    return None if hasattr(registry.load_system(mark.system)[0], "drawing") else mark


def answer_again(path: Path, mark: Any, run: str | None, changed: Mapping[str, Any]) -> None:
    """Repeat the prediction in a file's mark, with the same input and options except ``changed``.

    Raises UserError where the run or the input file is missing.
    """
    from souron import model as models_api
    from souron.runs import generate as run_generate

    changed = dict(changed)
    place = changed.pop("out", None)
    run_generate.check_there(path, mark.settings, changed)
    name = str(run or run_generate.run_of(mark))
    told = {key: str(value) for key, value in {**mark.settings, **changed}.items()}
    given = [told.pop(key) for key in ("given", "prompt") if key in told]
    loaded = models_api.load(name)
    for file, answer in models_api.predict(loaded, given, **told):
        if isinstance(answer, UserError):
            raise answer
        folder = Path(place) if place else place_of_answers(name)
        saved = models_api.keep(answer, file, folder, by=loaded)
        (tell_json if screen.json else tell_people)(str(file), answer, 1, saved)
