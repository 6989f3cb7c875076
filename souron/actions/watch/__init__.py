"""Track objects in a video or before a camera, and measure how they move."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from souron import model as models_api
from souron.action import Action, Given
from souron.actions.watch.video import EVERY, watching
from souron.inference import modes
from souron.kinds.boxes import Boxes
from souron.kinds.codecs import moving
from souron.kinds.finding import unlike
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice, read_options
from souron.runs.events import Event
from souron.utils import files
from souron.utils.messages import N_, UserError, _


@dataclass(frozen=True)
class Options:
    conf: Annotated[float, Choice(N_("least score of a box (default: the system's own)"), low=0, high=1)] = 0.0
    classes: Annotated[str, Choice(N_("only these classes, separated by commas"))] = ""
    live: Annotated[bool, Choice(N_("play a video at its own speed; count dropped frames"))] = False
    mm: Annotated[float, Choice(N_("of a video: millimetres per pixel, for motion"), low=0, metavar="MM")] = 0.0
    out: Annotated[str, Choice(N_("where the files go (default runs/watch)"), metavar="FOLDER")] = ""
    fast: Annotated[
        str, Choice(N_("the engine of many answers: auto (default), off, f32, bf16, int8"), metavar="HOW")
    ] = ""


class Watch(Action):
    """Let a detector look at each frame, join its boxes to tracks, and write the video with them.

    ``souron predict`` does the same where it is given a video.
    """

    title = N_("Track objects in a video, and measure how they move.")
    examples = (
        "souron watch runs/detect/yolo-scenes street.mp4 classes=vehicle",
        "souron watch runs/detect/yolo-scenes 0        (a camera, until Ctrl-C)",
        "souron watch runs/detect/tools operation.mp4 mm=0.2",
    )
    group = "use"
    given = Given("RUN|SYSTEM VIDEO", N_("a detector, then a video or a camera's number"), 2, 2)

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        name, video = given
        source = int(video) if is_camera(video) else Path(video)
        yield Event("data", text=name)
        mode = modes.chosen_mode(options.fast)
        model = models_api.load(name)
        check_detector(model)
        new = Path(video).stem if isinstance(source, Path) else f"camera-{video}"
        folder = Path(options.out) if options.out else files.new_folder(self.project / "watch", new)
        told = {"conf": options.conf, "classes": options.classes}
        chosen = {name: value for name, value in told.items() if value}
        many = model.for_many().hasten(mode, moving.count(source))
        yield from of_model(many, source, folder, chosen, live=options.live, mm=options.mm or None)


def is_camera(source: str) -> bool:
    """Return whether a source is the number of a camera, not a file."""
    return source.isdecimal() and len(source) <= 3


def check_detector(model: Any) -> None:
    """Raises UserError where a system detects no boxes."""
    if model.asked is None or model.asked.gives is not Boxes:
        raise UserError(
            "option",
            _("{name} finds no boxes that could be tracked").format(name=model.name),
            expected=_("a detector"),
            fix="souron list",
        )


def of_model(
    model: Any,
    source: Path | int,
    folder: Path,
    chosen: Mapping[str, Any],
    *,
    live: bool = False,
    mm: float | None = None,
    every: float = EVERY,
) -> Generator[Event, None, None]:
    """Process a video or a camera with a loaded detector and its options, see ``watching``.

    Raises UserError.
    """
    options = read_options(model.asked.options, dict(chosen), "souron predict --help")
    conf = options.pop("conf", model.asked.options["conf"].default)
    strange: list[bool] = []

    def look(picture: Picture, least: float) -> Boxes:
        boxes: Boxes = model.answer(picture, conf=least, **options)
        strange.append(bool(unlike(boxes)))
        return boxes

    return watching(
        look,
        source,
        folder,
        classes=model.system.spec.labels,
        conf=conf,
        live=live,
        mm=mm,
        every=every,
        unlike=(lambda: sum(strange)) if model.check or model.outlier_detector else None,
        engine=lambda: model.answered_by,
    )
