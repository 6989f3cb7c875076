"""Apply a trained system to files, a video, tiles of a large image, or a folder on several machines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from souron import model as models_api
from souron.action import Action, Given
from souron.actions.predict import files, naming, shards, tiles, video
from souron.actions.predict.answer import place_of_answers
from souron.hub import names
from souron.inference import modes
from souron.kinds.signature import Choice, yes_or_no
from souron.runs.events import Event
from souron.utils.messages import N_, UserError, _


@dataclass(frozen=True)
class Options:
    model: Annotated[str, Choice(N_("the system, as an option"), metavar="SYSTEM")] = ""
    pretrained: Annotated[
        str, Choice(N_("use the system's published weights; of clip also a file's or folder's"), metavar="true|PATH")
    ] = ""
    top: Annotated[int, Choice(N_("labels for each file (default 5)"), low=1)] = 5
    csv: Annotated[bool, Choice(N_("print file,rank,label,probability"))] = False
    source: Annotated[str, Choice(N_("a video, or a camera's number from 0"), metavar="VIDEO|0")] = ""
    tile: Annotated[int | None, Choice(N_("process a large image in tiles of this many pixels a side"))] = None
    overlap: Annotated[float | None, Choice(N_("overlap of tiles, in sides (default 0.25)"), metavar="SHARE")] = None
    microns: Annotated[
        float, Choice(N_("of a slide: the µm per pixel that the network was trained at"), low=0.05, metavar="UM")
    ] = 0.0
    glass: Annotated[bool, Choice(N_("of a slide: look at tiles without tissue, too"))] = False
    live: Annotated[bool, Choice(N_("play a video at its own speed; count dropped frames"))] = False
    mm: Annotated[float, Choice(N_("of a video: millimetres per pixel, for motion"), low=1e-6, metavar="MM")] = 0.0
    out: Annotated[
        str,
        Choice(
            N_("save the answers there; images, sounds and the like are saved anyway"), metavar="FOLDER", writes=True
        ),
    ] = ""
    reference: Annotated[str, Choice(N_("the expected image, to compare with"), metavar="FILE")] = ""
    to: Annotated[
        str, Choice(N_("save the answers as coco, yolo, json, csv, png; volumes as nifti, dicom"), metavar="FORM")
    ] = ""
    refer: Annotated[
        str,
        Choice(
            N_("mark answers for a person: less confident than this share of the run's test answers"), metavar="SHARE"
        ),
    ] = ""
    on: Annotated[
        str, Choice(N_("answer a folder in parts: processes:4, dask://HOST:PORT, slurm"), metavar="ENGINE", writes=True)
    ] = ""
    fast: Annotated[
        str, Choice(N_("the engine of many answers: auto (default), off, f32, bf16, int8"), metavar="HOW")
    ] = ""
    engine: Annotated[
        str, Choice(N_("souron (default), or llama: a .gguf file runs with llama.cpp"), metavar="ENGINE")
    ] = ""
    own: Annotated[dict[str, str] | None, Choice(N_("options of the system"))] = None


class Predict(Action):
    """Answer for each file, and show each answer as it comes. What is given decides how: a video is followed
    frame by frame, ``tile`` looks at a large image in parts, and ``on`` answers a folder on several machines."""

    title = N_("Apply a trained system to your files: images, texts, tables ...")
    examples = (
        "souron predict cat.jpg                   (the best system here for a photograph)",
        "souron predict runs/classify/resnet-photos cat.jpg",
        'souron predict runs/classify/resnet-photos holidays/ "more/*.png" --csv > labels.csv',
        "souron predict runs/classify/resnet-photos new/ refer=10%     (mark answers to pass on to a person)",
        "souron predict resnet50 cat.jpg pretrained=true",
        'souron predict clip_vit_b_32 cat.jpg texts="a cat|a dog"',
        "souron predict runs/detect/yolo-scenes street.mp4 classes=vehicle",
        "souron predict runs/detect/yolo-scenes source=0     (a camera, until Ctrl-C)",
        "souron predict runs/detect/yolo-scenes slide.svs tile=512 microns=0.5",
        "souron predict runs/detect/yolo-scenes new/ to=coco out=new    (labels to correct)",
        "souron predict runs/image_to_image/srgan-photo_patches photo.jpg scale=4",
        "souron predict RealESRGAN_x4plus.pth photo.jpg tile=256",
        "souron predict resnet shoe.png           (as it comes ready trained)",
        "souron predict model.gguf prompt.txt engine=llama    (llama.cpp writes the continuation)",
        "souron predict whisper_base talk.mp3 to=srt        (after: souron fetch whisper_base)",
        "souron predict runs/compose/music_transformer-chorales bars=8     (a new piece)",
        "souron predict resnet50 archive/ on=processes:2 out=answers    (a large folder, in shards)",
        "souron predict runs/classify/resnet-photos -- -odd-name-.jpg",
    )
    group = "use"
    given = Given(
        "RUN|SYSTEM",
        N_("a run's folder, or a system: ready trained, or with pretrained=true"),
        1,
        None,
        rest=("FILES", N_("files, folders, globs; name=value for its own options")),
    )
    brief = True
    page = "use"
    streams = True
    reads_only = True

    def __init__(self, project: str | Path | None = None, *, writes: bool | None = None) -> None:
        super().__init__(project, writes=writes)
        self.of_project = project is not None  # else answers go to the run that gives them

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        mode = modes.chosen_mode(options.fast or None)
        meaning, words, choice = naming.resolve_system([*given], options.model)
        words, chosen = naming.chosen_options(meaning, words, options.own or {})
        if not words and not options.source and not naming.begins_anew(meaning):
            raise naming.missing_files(meaning)

        def folder() -> Path:
            if not self.writes:
                raise UserError("writing", _("nothing is written here"), expected=_("files that are answered in words"))
            if options.out:
                return Path(options.out)
            below = self.new_folder(Path(meaning.name).name) if self.of_project else None
            return below or place_of_answers(meaning)

        if options.on:
            files.refuse_referral(options.refer)
            files.refuse_engine(options.engine)
            yield from shards.run(meaning, words, folder, options.on, chosen, mode)
            return
        loaded = models_api.load(meaning, yes_or_no(options.pretrained) or False, engine=options.engine or None)
        least = files.least_confidence(meaning, options.refer)
        own, to, tile = files.own_settings(loaded, options.to, options.tile, options.overlap)
        chosen |= own
        truth = files.read_reference(loaded, options.reference)
        film = video.video_of(loaded, words, options.source)
        if isinstance(film, int) and not self.camera:
            raise UserError("camera", _("no camera is opened here"), expected=_("a video"), exit=5)
        if film is None and tile is None:
            answers = files.Answers(loaded, folder, options, to, least, truth, self.writes)
            yield from answers.run(words, choice, chosen, mode)
            return
        files.refuse_form(to)
        files.refuse_referral(options.refer)
        if film is not None:
            yield from video.run(loaded, film, folder(), choice, chosen, mode, options.live, options.mm)
        elif tile is not None:
            notices: list[str] = []
            many = loaded.for_many().hasten(mode, None, notice=notices.append)
            yield from (Event("", note=text) for text in notices)
            settings = tiles.Settings(tile, options.overlap, options.microns, options.glass)
            yield from tiles.run(many, words, folder(), settings, chosen)

    def further_options(self, given: Sequence[str]) -> Mapping[str, Any]:
        meaning = names.known(given[0])
        return naming.own_options(meaning) if meaning is not None else {}
