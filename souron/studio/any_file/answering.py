"""The page "Any file": the answer of the best system for a file, and what it has learnt from."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron.data import load
from souron.hub import zoo
from souron.kinds import finding
from souron.kinds.codecs import limits
from souron.kinds.table import Table
from souron.studio import tables
from souron.studio.any_file import films
from souron.studio.forms import plain_options
from souron.studio.shared import Studio, remarks
from souron.utils.messages import N_, UserError, _, language

SAMPLES = {  # name -> what it shows
    "cat.png": N_("a photograph"),
    "volume.nii.gz": N_("a CT volume"),
    "prompt.txt": N_("a text"),
    "melody.mid": N_("a melody"),
    "digits.wav": N_("spoken digits"),
    "scene.gif": N_("a film"),
}
MOST_ANSWERS = 12  # of one file, such as the frames of a video
MOST_OTHERS = 12  # systems that are offered
SHOWN = 5  # labels of a classifier
MOST_OPTIONS = 10_000  # characters of the options as JSON
DARK = 0.5  # percent of the pixels that may be black or white for contrast
SILENT = 1e-3  # largest sample of a silent sound, which a microphone's noise exceeds


def sent(studio: Studio, file: Path, query: Mapping[str, str]) -> dict[str, Any]:
    """Answer for an own file; a table leads to the page for it. Raises UserError."""
    if tables.is_table(file):
        return _table(studio, file)
    return answer(studio, file, query.get("system", ""), given_options(query.get("options", "")))


def _table(studio: Studio, file: Path) -> dict[str, Any]:
    """Return the answer for a table: the way to the page that reads it. Raises UserError."""
    return _without_system(_(Table.noun), file, *tables.way(studio, file))


def _seen(file: Path, error: UserError) -> dict[str, Any]:
    """Return the images of a file, from dark to bright, with the reason why no system answers. Raises UserError."""
    from PIL import ImageOps

    from souron.kinds.codecs import image
    from souron.kinds.picture import Picture
    from souron.studio import answers

    read = islice(Picture.each(file), MOST_ANSWERS)
    bright = [replace(each, image=ImageOps.autocontrast(image.rounded(each.image), cutoff=DARK)) for each in read]
    shown = [replace(answers.beside(each, each), said=error) for each in bright]
    cards = Markup("").join(answers.card(one, SHOWN, look=False) for one in shown)
    html = Markup('<div class="answers">{}</div>').format(Markup(_without_place(cards, file)))
    return _without_system(_(Picture.noun), file, _without_place(error.found, file), html)


def _without_system(noun: str, file: Path, told: str, html: Markup) -> dict[str, Any]:
    """Return what the page shows of a file that no system answers for."""
    return {
        "what": noun,
        "system": "",
        "short": told,
        "html": html,
        "rows": [[file.name, told, "", "", ""]],
        "others": [],
        "fields": "",
    }


def sampled(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Answer for one of ``SAMPLES``. Raises UserError."""
    from souron.kinds.sound import Sound
    from souron.lecture import samples

    name, options = str(asked.get("sample")), asked.get("options")
    if name not in SAMPLES:
        raise UserError("missing", _("there is no example {name}").format(name=name[:100]), expected=", ".join(SAMPLES))
    with tempfile.TemporaryDirectory(prefix="anything-") as folder:
        samples.write(Path(folder), f"souron predict {name}")
        file = Path(folder) / name
        heard = Markup(Sound.read(file)._repr_html_()) if name.endswith(Sound.formats) else Markup()
        told = answer(studio, file, str(asked.get("system") or ""), options if isinstance(options, dict) else {})
        return told | ({"html": heard + told["html"]} if heard else {})


def film(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far a film is, or its answer; ``stop`` ends it. Raises UserError."""
    return films.films.state(str(asked.get("film")), bool(asked.get("stop")))


def given_options(text: str) -> dict[str, Any]:
    """Read the options that a script sends as JSON. Raises UserError."""
    try:
        if len(text) > MOST_OPTIONS:
            raise ValueError("too long")
        options = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise UserError("json", _("the request cannot be read: {why}").format(why=error)) from error
    return options if isinstance(options, dict) else {}


def answer(studio: Studio, file: Path, system: str = "", options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the answer for a file with what can be said of it. Raises UserError.

    ``system`` has to be one of those that can answer for such a file. For a film and a detector it
    may be the state of ``films.Films``, which ``film`` continues; the file is moved then.
    """
    from souron.kinds.boxes import Boxes
    from souron.kinds.codecs import moving
    from souron.pipelines import default_system
    from souron.studio import answers
    from souron.studio.model_cache import models

    try:
        choice = default_system.choose(str(file), studio.project)
    except UserError as error:
        if file.suffix.lower() in limits.DICOM:
            return _seen(file, error)
        raise
    able = [choice.system, *choice.others]
    if system and system not in able:
        raise UserError(
            "system", _("{system} does not answer for such a file").format(system=system), expected=", ".join(able)
        )
    chosen = system or default_system.available(choice)
    is_film = moving.is_video(file)
    with models.answering(chosen) as model:
        tracked = is_film and model.asked.gives is Boxes
        given = plain_options.read(model.asked.options, {**_defaults(chosen), **(options or {})})
        if not tracked:
            shown = list(islice(_answered(model, file, given, is_film), MOST_ANSWERS))
            html = Markup(_without_place(answers.cards(shown, SHOWN, look=False), file))
            rows = [
                (Path(one.file).name, _without_place(answers.short(one.said), file), _familiar(one.said))
                for one in shown
            ]
            picture = next((one.image for one in shown if one.image), "")
            return {**_about(studio, model, chosen, able, given, html, rows), "picture": picture}
    name = file.name

    def finish(found: films.Tracks, model: Any) -> dict[str, Any]:
        familiar = finding.film_notice(found.unlike, found.count) or _("no")
        rows = [(*row, familiar) for row in films.rows(found, name)]
        told = _about(studio, model, chosen, able, given, films.html(found), rows, _("film"))
        return {
            **told,
            "short": films.short(found),
            "shown": {"frames": found.frames, "times": found.times},
            "picture": next(iter(found.frames), ""),
        }

    return films.films.begin(file, chosen, given, studio.language, finish)


def _answered(model: Any, file: Path, options: Mapping[str, Any], is_film: bool) -> Iterator[Any]:
    """Yield the answers for a file, for the frames of a film, or its error.

    A silent sound is an error: no system could hear anything in it.
    """
    from souron.kinds.sound import Sound
    from souron.pipelines import default_system
    from souron.studio import answers

    if is_film:
        for path, kind in default_system.predict(model, [str(file)], **options):
            yield answers.Answer(str(path), kind, learnt=model.learnt_from)
        return
    try:
        for given in model.asked.given.each(file, **model.reading):
            if isinstance(given, Sound) and float(abs(given.samples).max()) < SILENT:
                raise UserError(
                    "silence",
                    _("the sound is silent"),
                    expected=_("something that is said"),
                    fix=_("check that the microphone is switched on, and speak closer to it"),
                )
            yield answers.beside(given, model.answer(given, **options), model.learnt_from)
    except UserError as error:
        yield answers.Answer(str(file), error)


def _without_place(text: str, file: Path) -> str:
    """Remove the temporary folder of a file from a text: it means nothing to the user."""
    return str(text).replace(f"{file.parent}/", "")


def _defaults(system: str) -> dict[str, Any]:
    """Return the options that go with a ready-trained system, such as its question."""
    folder = zoo.where(system)
    return dict(zoo.asked(folder)) if folder is not None else {}


def _about(
    studio: Studio,
    model: Any,
    chosen: str,
    able: list[str],
    options: Mapping[str, Any],
    html: Markup,
    rows: list[tuple[str, str, str]],
    noun: str = "",
) -> dict[str, Any]:
    """Return an answer with its system, that one's training data, the others, and the options.

    ``rows``: file, answer, and whether the file is unlike the training data.
    """
    learnt = model.learnt_from
    about = zoo.about(chosen) or (_("trained on {data}").format(data=learnt) if learnt else "")
    origin = [text for text in (about, _data(learnt)) if text]
    folder = zoo.where(chosen)
    weak = remarks(zoo.weaknesses(folder)) if folder is not None else Markup()
    return {
        "what": noun or str(_(model.asked.given.noun)),
        "system": chosen,
        "name": Path(chosen).name,
        "short": rows[0][1] if len(rows) == 1 else _("{count} answers").format(count=len(rows)),
        "html": html + Markup("").join(map(Markup('<p class="faint">{}</p>').format, origin)) + weak,
        "rows": [[file, told, Path(chosen).name, learnt, familiar] for file, told, familiar in rows],
        "others": [[one, Path(one).name] for one in able if one != chosen][:MOST_OTHERS],
        "fields": plain_options.fields(model.asked.options, options),
        "options": studio.url("use", **{"run" if "/" in chosen else "system": chosen}),
    }


def _data(name: str) -> str:
    """Describe the training data in the reader's language; "" where it is no data set of souron."""
    entry = load.names().get(name)
    if entry is None:
        return ""
    return f"{name}: {entry.ja if language() == 'ja' and entry.ja else entry.idea}"


def _familiar(said: Any) -> str:
    """Return whether a file is unlike the training data; "" where no check applies."""
    told = {"unlike": _("yes"), "unchecked": _("no check"), "familiar": _("no")}
    return told.get(finding.standing(said), "")
