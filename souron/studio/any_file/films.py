"""Films on the page "Any file": a detector looks at each frame, and its boxes are joined to tracks.

A film is processed beside the page, one at a time; the page's script asks how far it is. The time
and the number of frames are bounded, and it stops when nobody asks any more. The file is deleted as
soon as the result is there; the result is kept in memory until the script has fetched it. The
tracker is that of ``souron watch``, see ``actions.watch.tracking``.
"""

import base64
import io
import secrets
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron.kinds.finding import film_notice, film_standing
from souron.studio.shared import remarks, table
from souron.utils.messages import UserError, _, use_language

MOST_SECONDS = 60.0  # of computing; the command line has no limit
MOST_FRAMES = 1500  # that are processed
MOST_SHOWN = 120  # frames with their tracks that the page plays
MOST_TRACKS = 50  # in the table
SIDE = 480  # pixels of a shown frame's longer side
PATIENCE = 30.0  # seconds without a question, after which the page counts as closed
AT_ONCE = 1.5  # seconds that the first request waits for the result
MOST_KEPT = 6  # films in memory
QUALITY = 80  # of the shown frames, as JPEG


@dataclass
class Track:
    """One object that was followed."""

    number: int
    label: str
    first: float  # second of the film
    last: float
    frames: int = 1


@dataclass
class Tracks:
    """The result for a film: its tracks, and some of its frames with them drawn."""

    tracks: list[Track]
    frames: list[str]  # data URIs
    times: list[float]  # second of each shown frame
    seconds: float  # of the film, as far as it was processed
    count: int  # frames that were processed
    unlike: int | None  # of these, frames unlike the training data; None without a check
    broken: str = ""  # why it ended early


@dataclass
class Film:
    """A film that is being processed, or was."""

    folder: Path  # of its own; deleted at the end
    file: Path
    system: str
    options: Mapping[str, Any]
    language: str
    finish: Callable[[Tracks, Any], dict[str, Any]]
    fraction: float = 0.0
    line: str = ""  # how far it is, in the reader's language
    result: dict[str, Any] | None = None
    trouble: UserError | None = None
    stopped: bool = False
    asked: float = field(default_factory=time.monotonic)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def abandoned(self) -> bool:
        return self.stopped or time.monotonic() - self.asked > PATIENCE


class Films:
    """The films of a server, by an id that cannot be guessed."""

    def __init__(self) -> None:
        self.films: OrderedDict[str, Film] = OrderedDict()
        self.guard = threading.Lock()  # of ``films``
        self.turn = threading.Lock()  # held by the film that is being processed

    def begin(
        self,
        file: Path,
        system: str,
        options: Mapping[str, Any],
        language: str,
        finish: Callable[[Tracks, Any], dict[str, Any]],
    ) -> dict[str, Any]:
        """Process a film, which is moved away, and return its first state, see ``state``.

        ``finish`` makes the page's answer of the tracks and the model. Raises UserError.
        """
        folder = Path(tempfile.mkdtemp(prefix="film-"))
        film = Film(folder, folder / file.name, system, options, language, finish)
        shutil.move(file, film.file)
        id = secrets.token_hex(12)
        with self.guard:
            while len(self.films) >= MOST_KEPT:
                self.films.popitem(last=False)[1].stopped = True
            self.films[id] = film
        threading.Thread(target=self._process, args=[film], daemon=True).start()
        film.done.wait(AT_ONCE)
        return self.state(id)

    def state(self, id: str, stop: bool = False) -> dict[str, Any]:
        """Return ``{"film", "fraction", "line"}``, or the answer once it is there, which is then
        forgotten here. ``stop``: end it with the frames so far. Raises UserError.
        """
        film = self.films.get(id)
        if film is None:
            raise UserError("missing", _("this film is not being processed any more"), fix=_("give it once more"))
        film.asked = time.monotonic()
        film.stopped |= stop
        if not film.done.is_set():
            return {"film": id, "fraction": film.fraction, "line": film.line or _("waiting")}
        with self.guard:
            self.films.pop(id, None)
        if film.trouble is not None:
            raise film.trouble
        return film.result or {}

    def _process(self, film: Film) -> None:
        from souron.cli import main
        from souron.studio.model_cache import models

        with use_language(film.language):
            try:
                with self.turn, models.answering(film.system) as model:
                    film.result = film.finish(followed(film, model), model)
            except Exception as error:  # else nobody would hear of it
                film.trouble = error if isinstance(error, UserError) else main.as_trouble(error)
            finally:
                shutil.rmtree(film.folder, ignore_errors=True)
                film.done.set()


def followed(film: Film, model: Any) -> Tracks:
    """Follow the objects of a film with a loaded detector. Raises UserError."""
    from souron.actions import watch

    begun, kept = time.monotonic(), _Kept()
    tracks: dict[int, Track] = {}
    count, at = 0, 0.0
    events = watch.of_model(model, film.file, film.folder / "tracks", film.options, every=0.0)
    for event in events:
        if event.record is None:
            count, at = int(event.values["frame"]) + 1, event.values["seconds"]
            for row in event.rows:
                track = tracks.setdefault(row["track"], Track(row["track"], row["label"], at, at, 0))
                track.label, track.last, track.frames = row["label"], at, track.frames + 1
            kept.add(event.picture, at)
            film.fraction, film.line = event.fraction, event.text
            if film.abandoned or count >= MOST_FRAMES or time.monotonic() - begun > MOST_SECONDS:
                event = events.throw(KeyboardInterrupt())
        if event.record is not None:
            record = event.record
            return Tracks(
                list(tracks.values()), kept.frames, kept.times, at, record.frames, record.unlike, record.broken
            )
    raise AssertionError("it ends with a record")


class _Kept:
    """Frames evenly spaced: every second one is dropped whenever there are too many."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.times: list[float] = []
        self.step, self.seen = 1, 0

    def add(self, picture: Any, at: float) -> None:
        """Keep a frame (1, 3, H, W) uint8 if it is its turn."""
        if self.seen % self.step == 0:
            self.frames.append(jpeg(picture[0].transpose(1, 2, 0)))
            self.times.append(round(at, 3))
        self.seen += 1
        if len(self.frames) > MOST_SHOWN:
            self.frames, self.times, self.step = self.frames[::2], self.times[::2], 2 * self.step


def jpeg(pixels: Any) -> str:
    """Return an image (H, W, 3) uint8, scaled down, as a data URI."""
    from PIL import Image

    image, stream = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((SIDE, SIDE))
    image.save(stream, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def html(found: Tracks) -> Markup:
    """Return the player, which the page's script fills with the frames, and the table of tracks."""
    from souron.kinds.graphics import overlay
    from souron.studio.answers import film_doubt

    longest = sorted(found.tracks, key=lambda track: -track.frames)[:MOST_TRACKS]
    rows = [
        (
            Markup('<i class="swatch" style="background:rgb({},{},{})"></i>{}').format(
                *overlay.colour(track.number), track.number
            ),
            track.label,
            Markup('<button type="button" data-at="{:.3f}">{:.1f}</button>').format(track.first, track.first),
            f"{track.last:.1f}",
            track.frames,
        )
        for track in longest
    ]
    left = len(found.tracks) - MOST_TRACKS
    notes = [found.broken, _("{count} shorter tracks are left out").format(count=left) if left > 0 else ""]
    heads = (_("track"), _("class"), _("first second"), _("last second"), _("frames"))
    return (
        Markup(
            '{}<p role="status"><strong>{}</strong></p>{}<figure class="film"><img alt="{}"><div class="player">'
            '<button type="button" data-do="play">{}</button><input type="range" min="0" value="0" aria-label="{}">'
            "<output></output></div></figure>"
        ).format(
            film_doubt(found.unlike, found.count),
            summary(found),
            remarks(filter(None, notes)),
            _("a frame with its numbered boxes"),
            _("Play"),
            _("frame"),
        )
        + (table(heads, rows, _("One colour and number for each object that was followed")) if rows else Markup())
        + Markup('<p class="faint">{}</p>').format(
            _("The boxes of one frame are joined to those of the next by ByteTrack (2021); a track may break or swap.")
        )
    )


def summary(found: Tracks) -> str:
    return _("{frames} frames in {seconds:.1f} s of film; {count} tracks").format(
        frames=found.count, seconds=found.seconds, count=len(found.tracks)
    )


def short(found: Tracks) -> str:
    """Return the result in a line, after the warning where most frames are unlike the training data."""
    if film_standing(found.unlike, found.count) != "unlike":
        return summary(found)
    return f"{film_notice(found.unlike, found.count)} – {summary(found)}"


def rows(found: Tracks, name: str) -> list[tuple[str, str]]:
    """Return a row (file, answer) of the table that can be saved for each track, and one without any."""
    told = _("{label}: {first:.1f} s to {last:.1f} s, {frames} frames")
    each = [
        (
            f"{name}#{track.number}",
            told.format(label=track.label, first=track.first, last=track.last, frames=track.frames),
        )
        for track in found.tracks
    ]
    return each or [(name, _("nothing found"))]


films = Films()  # of this server
