"""``souron predict``: apply a trained system to files."""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from souron import registry
from souron.cli import console
from souron.cli.answers import FORMS, Saving, place_of_answers, tell_csv, tell_json, tell_people
from souron.cli.app import command
from souron.cli.console import note, screen
from souron.cli.listing import with_help
from souron.cli.parsing import arguments
from souron.cli.parsing import options as cli_options
from souron.data.quality import warnings as data_warnings
from souron.hub import names, zoo
from souron.inference import modes
from souron.kinds import finding
from souron.utils import files as file_utils
from souron.utils import hardware
from souron.utils.messages import N_, UserError, _, unknown_option

OPTION = re.compile(r"[a-z_]+=(-?[\d.]+|[\w, -]*)", re.ASCII)  # an option: ``size=3``
ENDING = re.compile(r"\w\.[a-zA-Z]\w{1,4}$", re.ASCII)  # extension of a file name
MOST_OTHERS = 6  # other suitable systems that are listed

System = Annotated[
    str,
    Argument(
        metavar="RUN|SYSTEM",
        help=N_("a run's folder, or a system: ready trained, or with pretrained=true"),
        autocompletion=cli_options.complete_system_or_run,
    ),
]
Files = Annotated[
    list[str] | None, Argument(metavar="FILES", help=N_("files, folders, globs; name=value for its own options"))
]
Pretrained = Annotated[
    str | None,
    Option(metavar="true|PATH", help=N_("use the system's published weights; of clip also a file's or folder's")),
]
Top = Annotated[int, Option(min=1, metavar="N", help=N_("labels for each file (default 5)"))]
Csv = Annotated[bool, Option("--csv", help=N_("print file,rank,label,probability"))]
Source = Annotated[str | None, Option(metavar="VIDEO|0", help=N_("a video, or a camera's number from 0"))]
Tile = Annotated[int | None, Option(metavar="N", help=N_("process a large image in tiles of this many pixels a side"))]
Overlap = Annotated[float | None, Option(metavar="SHARE", help=N_("overlap of tiles, in sides (default 0.25)"))]
Microns = Annotated[
    float | None,
    Option(min=0.05, metavar="UM", help=N_("of a slide: the µm per pixel that the network was trained at")),
]
Glass = Annotated[bool, Option("--glass", help=N_("of a slide: look at tiles without tissue, too"))]
Live = Annotated[bool, Option("--live", help=N_("play a video at its own speed; count dropped frames"))]
Millimetres = Annotated[
    float | None, Option(min=1e-6, metavar="MM", help=N_("of a video: millimetres per pixel, for motion"))
]
Out = Annotated[
    str | None,
    Option(metavar="FOLDER", help=N_("save the answers there; images, sounds and the like are saved anyway")),
]
Reference = Annotated[str | None, Option(metavar="FILE", help=N_("the expected image, to compare with"))]
To = Annotated[
    str | None,
    Option(metavar="FORM", help=N_("save the answers as coco, yolo, json, csv, png; volumes as nifti, dicom")),
]
Refer = Annotated[
    str | None,
    Option(
        metavar="SHARE", help=N_("mark answers for a person: less confident than this share of the run's test answers")
    ),
]
On = Annotated[
    str | None, Option(metavar="ENGINE", help=N_("answer a folder in parts: processes:4, dask://HOST:PORT, slurm"))
]


class Predicting(console.Command):
    """The command, whose help also names the options of the system that stands beside --help."""

    def of_system(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        meaning = names.known(self.words[0]) if len(self.words) > 1 else None
        if meaning is not None and (own := own_options(meaning)):
            yield _("Options of {name}:").format(name=meaning.name), with_help(own)


@command(
    "predict",
    N_("Apply a trained system to your files: images, texts, tables ..."),
    "souron predict cat.jpg                   (the best system here for a photograph)\n"
    "souron predict runs/classify/resnet-photos cat.jpg\n"
    'souron predict runs/classify/resnet-photos holidays/ "more/*.png" --csv > labels.csv\n'
    "souron predict runs/classify/resnet-photos new/ refer=10%     (mark answers to pass on to a person)\n"
    "souron predict resnet50 cat.jpg pretrained=true\n"
    'souron predict clip_vit_b_32 cat.jpg texts="a cat|a dog"\n'
    "souron predict runs/detect/yolo-scenes street.mp4 classes=vehicle\n"
    "souron predict runs/detect/yolo-scenes source=0     (a camera, until Ctrl-C)\n"
    "souron predict runs/detect/yolo-scenes slide.svs tile=512 microns=0.5\n"
    "souron predict runs/detect/yolo-scenes new/ to=coco out=new    (labels to correct)\n"
    "souron predict runs/image_to_image/srgan-photo_patches photo.jpg scale=4\n"
    "souron predict RealESRGAN_x4plus.pth photo.jpg tile=256\n"
    "souron predict resnet shoe.png           (as it comes ready trained)\n"
    "souron predict model.gguf prompt.txt engine=llama    (llama.cpp writes the continuation)\n"
    "souron predict whisper_base talk.mp3 to=srt        (after: souron fetch whisper_base)\n"
    "souron predict runs/compose/music_transformer-chorales bars=8     (a new piece)\n"
    "souron predict resnet50 archive/ on=processes:2 out=answers    (a large folder, in shards)\n"
    "souron predict runs/classify/resnet-photos -- -odd-name-.jpg",
    group="use",
    cls=Predicting,
)
def predict(
    context: typer.Context,
    system: System,
    files: Files = None,
    model: cli_options.Model = None,
    pretrained: Pretrained = None,
    top: Top = 5,
    csv: Csv = False,
    source: Source = None,
    tile: Tile = None,
    overlap: Overlap = None,
    microns: Microns = None,
    glass: Glass = False,
    live: Live = False,
    mm: Millimetres = None,
    out: Out = None,
    reference: Reference = None,
    to: To = None,
    refer: Refer = None,
    on: On = None,
    fast: cli_options.Fast = None,
    engine: cli_options.Engine = None,
    fields: cli_options.Fields = None,
) -> None:
    mode = modes.chosen_mode(fast)
    meaning, wanted, choice = resolve_system(system, files or [], model)
    wanted, chosen = chosen_options(meaning, wanted, fields or [], context)
    if not wanted and source is None and not begins_anew(meaning):
        raise arguments.missing("FILES", f"souron predict {meaning.name} cat.jpg")
    if on is not None:
        refuse_referral(refer)
        refuse_engine(engine)
        answer_in_shards(meaning, wanted, Path(out) if out else place_of_answers(meaning), on, chosen, mode)
        return
    hardware.calm_allocator()
    loading = _("loading {name}").format(name=meaning.name)
    with screen.err.status(loading):
        from souron import model as models_api
        from souron.cli import watch
        from souron.kinds.codecs import moving
        from souron.pipelines import default_system

        with console.warning_lines():
            loaded = models_api.load(meaning, arguments.yes_or_no(pretrained) or False, engine=engine)
    least = least_confidence(meaning, refer)
    own, to, tile = own_settings(loaded, to, tile, overlap)
    chosen |= own
    truth = read_reference(loaded, reference)
    video = watch.video_of(loaded, wanted, source)
    if video is not None or tile is not None:
        refuse_form(to)
        refuse_referral(refer)
        frames = None if video is None else moving.count(video)
        many = loaded.for_many().hasten(mode, frames, notice=note)
        folder = Path(out) if out else place_of_answers(meaning)
        if video is not None:
            describe_system(loaded, choice)
            watch.watch(many, video, folder, live, mm, chosen)
        elif tile is not None:
            watch.look_in_tiles(many, wanted, folder, tile, overlap, chosen, microns, glass)
        return
    loaded.hasten(mode, files_of(loaded, wanted), modes.waits(mode), note)
    with screen.err.status(loading):
        ask = default_system.predict if choice else models_api.predict
        answers = ask(loaded, wanted, **chosen)
    tell: Any = tell_csv() if csv else tell_people
    origin = describe_system(loaded, choice)
    if screen.json:
        tell = partial(tell_json, origin=lambda: origin | {"engine": loaded.answered_by})
    tell_all(answers, partial(tell, top=top, least=least), truth, Saving(loaded, meaning, out, to), wanted)


def answer_in_shards(
    meaning: names.Meaning, wanted: list[str], out: Path, on: str, chosen: dict[str, str], fast: str
) -> None:
    """Answer a folder on an engine. Exit code 3 if files could not be read. Raises UserError."""
    from souron.pipelines import shards

    if len(wanted) != 1:
        raise UserError(
            "option",
            _("{count} files are given").format(count=len(wanted)),
            expected=_("one folder, whose files are answered on an engine"),
            fix=f"souron predict {meaning.name} FOLDER on={on}",
        )
    for found in console.follow(shards.answering(meaning.name, Path(wanted[0]), out, on, chosen, fast)):
        told = found.as_json()
        if screen.json:
            console.print_json(told)
        else:
            console.show(_("{count} files answered: {path}").format(count=found.count, path=told["answers"]))
        if found.failed:
            note(_("{failed} of {total} files could not be read").format(failed=found.failed, total=found.count))
            raise typer.Exit(3)


def files_of(loaded: Any, wanted: list[str]) -> int:
    """Return how many files there are to answer."""
    return sum(1 for _file in file_utils.find_files(wanted, loaded.asked.given.folders))


def own_settings(
    loaded: Any, to: str | None, tile: int | None, overlap: float | None
) -> tuple[dict[str, str], str | None, int | None]:
    """Return the options among these that the system has itself, and what is left of ``to`` and
    ``tile``. Raises UserError for an unknown form."""
    own: dict[str, str] = {}
    if to is not None and "to" in loaded.asked.options:  # forms of its own
        own, to = {"to": to}, None
    elif to is not None and to not in FORMS:
        raise UserError("option", f"to={to}", expected=", ".join(FORMS), fix="to=coco")
    if "tile" in loaded.asked.options:  # a network that puts its tiles together again
        sizes = {"tile": tile, "overlap": overlap}
        own |= {key: str(value) for key, value in sizes.items() if value is not None}
        tile = None
    return own, to, tile


def refuse_form(to: str | None) -> None:
    """Raise UserError if answers for a video or tiles are to be saved in a form."""
    if to is not None:
        raise UserError(
            "option",
            _("videos and tiles are saved in forms of their own"),
            expected=_("to= with images that are processed whole"),
        )


def refuse_referral(refer: str | None) -> None:
    """Raise UserError if answers of a video, of tiles or of an engine are to be marked for a person."""
    if refer is not None:
        raise UserError(
            "option",
            _("refer= marks single answers of a classifier"),
            expected=_("images that are processed whole, on this computer"),
        )


def refuse_engine(engine: str | None) -> None:
    """Raise UserError if the parts of a folder are to be answered by llama.cpp."""
    if engine is not None:
        raise UserError(
            "option",
            _("engine= and on= are used together"),
            expected=_("engine= for files that are answered here, or on= for a large folder"),
        )


def least_confidence(meaning: names.Meaning, refer: str | None) -> float | None:
    """Return the confidence below which answers are passed on to a person; None without ``refer``.

    Raises UserError for a system that is no run of a classifier.
    """
    if refer is None:
        return None
    from souron.evaluation import run_predictions
    from souron.kinds.signature import as_share

    share = as_share("refer", refer)
    if type(meaning) is not names.Run:  # a ``Ready`` has no answers
        raise UserError(
            "not a classifier's run",
            _("{name} is no run, so that its confidence on test cases is unknown").format(name=meaning.name),
            expected=_("a folder made by souron train with a classifier"),
            fix="ls runs/*",
        )
    return run_predictions.least_confidence(meaning.folder, share)


def tell_all(answers: Iterable[tuple[Any, Any]], tell: Any, truth: Any, saving: Saving, wanted: list[str]) -> None:
    """Print and save every answer. Raises UserError if there is no file, or for a wrong option;
    exit code 3 if files could not be read."""
    failed = total = 0
    standings = set[str]()
    for file, answer in console.awaited(answers):
        total += 1
        saved = None
        if isinstance(answer, UserError):
            if answer.code == "option":  # not this file's fault
                raise answer
            failed += 1
        else:
            if truth is not None:
                answer.judged(truth)
            saved = saving.keep(answer, file)
        standing = finding.standing(answer)
        if standing == "unchecked" and standing not in standings:
            note(finding.unchecked())
        standings.add(standing)
        tell(str(file), answer, saved=saved)
    if not total:
        raise UserError(
            "no files",
            _("nothing was found at {files}").format(files=" ".join(wanted)),
            expected=_("images, folders with images, or globs that match some"),
            exit=3,
        )
    if "unlike" in standings:
        note(f"{finding.advice(saving.loaded.learnt_from)} (souron list, souron train)")
    saving.end()
    if failed:
        note(_("{failed} of {total} files could not be read").format(failed=failed, total=total))
        raise typer.Exit(3)


def resolve_system(system: str, files: list[str], model: str | None) -> tuple[names.Meaning, list[str], Any]:
    """Return what the system's name means, the files, and the ``Choice`` where the user named none.

    Raises UserError for an unknown name, and where no available system was trained on such files.
    """
    if model is not None:
        return names.resolve(model), [system, *files], None
    meaning = names.known(system)
    if meaning is not None or not names_files(system):
        return meaning or names.missing(system), files, None
    from souron.pipelines import default_system

    choice = default_system.choose(system)
    return names.resolve(choice.system), [system, *files], choice


def names_files(word: str) -> bool:
    """Return whether a word without a meaning is a file, a folder of files, a glob or a text.

    Otherwise it is a wrong name, or a run that is gone. Imports nothing heavy.
    """
    path = Path(word)
    if file_utils.there(word) or "*" in word or ENDING.search(word):
        return True
    inside = len(path.parts) > 1 and file_utils.there(path.parts[0])  # a run that is gone
    return not inside and (" " in word.strip() or not word.isascii())


def describe_system(loaded: Any, choice: Any) -> dict[str, Any]:
    """Return the system's name, training data and known weaknesses, for JSON.

    Weaknesses, and the warnings of the data check, are printed. Where the user named no system, print all, with the
    other systems that take such files.
    """
    origin = {"system": loaded.name, "learnt_from": loaded.learnt_from}
    weaknesses = zoo.weaknesses(loaded.folder) if loaded.folder else []
    for text in weaknesses:
        console.warn(f"{loaded.name}: {text}")
    warnings = data_warnings.of_run(loaded.folder)
    for text in data_warnings.texts(warnings, loaded.folder):
        console.warn(text)
    if choice is not None:
        note(_("answered by {system}, which was trained on {learnt_from}").format(**origin))
        named, more = choice.others[:MOST_OTHERS], len(choice.others[MOST_OTHERS:])
        named = [with_data(name) for name in named]
        if named:
            text = (
                _("others that take such files: {names}")
                if not more
                else _("others that take such files: {names} and {more} more (souron list)")
            )
            note(text.format(names=", ".join(named), more=more))
        if not starters_here(choice):
            note(_("networks that answer on photographs: {command}").format(command="souron fetch starters"))
    origin |= {"weaknesses": weaknesses} if weaknesses else {}
    return origin | data_warnings.as_json(warnings, loaded.folder)


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
    meaning: names.Meaning, words: list[str], fields: list[str], context: typer.Context
) -> tuple[list[str], dict[str, str]]:
    """Separate the files from the system's own options, which may stand among them."""
    told = dict(field.split("=", 1) for field in fields)
    maybe = [word for word in words if "=" in word and not file_utils.there(word)]
    if not told and not maybe:
        return words, {}
    own = own_options(meaning)
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
            raise unknown_option(option, list(own), f"souron show {meaning.name}")
    return files, told


def own_options(meaning: names.Meaning) -> dict[str, Any]:
    """Return the options for predicting of a run or a system."""
    if isinstance(meaning, names.WeightsFile):
        from souron.kinds import signature
        from souron.runs import loading

        able = map(signature.signature, loading.published_systems().values())
        return {key: option for one in able if one for key, option in one.options.items()}
    asked = signature_of(meaning)
    return asked.options | asked.reading if asked else {}


def begins_anew(meaning: names.Meaning) -> bool:
    """Return whether a system can predict without a file."""
    asked = signature_of(meaning)
    return asked is not None and asked.given.blank


def signature_of(meaning: names.Meaning) -> Any:
    """Return the signature of a run's or system's ``predict``; None without one."""
    from souron.kinds import signature
    from souron.runs import folder as run_folder

    name = meaning.system if isinstance(meaning, names.PublishedFolder) else meaning.name
    try:
        if isinstance(meaning, names.Run):
            name = str(run_folder.read_args(meaning.folder)["system"])
        return signature.signature(registry.load_system(name)[0])
    except UserError:  # loading it says what is wrong
        return None
