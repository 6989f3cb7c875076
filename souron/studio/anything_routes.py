"""Routes of the page "Any file": a file or a text comes, and the answer of a system goes back."""

import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from markupsafe import Markup

from souron.hub import zoo
from souron.studio.pages import anything
from souron.studio.shared import Studio, remarks, trouble
from souron.utils.messages import LANGUAGES, UserError, _, use_language

MOST_BYTES = 500_000_000  # of a file
MOST_ANSWERS = 12  # of one file, such as the frames of a video
MOST_OTHERS = 12  # systems that are offered
SHOWN = 5  # labels of a classifier


def add(app: FastAPI, studio: Callable[[str], Studio]) -> None:
    """Add these routes to the application; ``studio`` returns the studio of a language."""

    def said(language: str, do: Callable[[], Any]) -> JSONResponse:
        with use_language(language if language in LANGUAGES else LANGUAGES[0]):
            try:
                return JSONResponse(do())
            except UserError as error:
                told = trouble(error.code, error.found, error.expected, error.fix)
                return JSONResponse({"detail": str(told)}, 400)

    @app.post("/anything/{language}/file")
    async def file(language: str, request: Request, name: str = "", system: str = "") -> JSONResponse:
        """Answer for the file in the body, of that ``name``; ``system`` in place of the best one."""
        with tempfile.TemporaryDirectory(prefix="anything-") as folder:
            place = Path(folder) / (safe(name) or "file")
            with place.open("wb") as stream:
                async for part in request.stream():
                    if stream.tell() + len(part) > MOST_BYTES:
                        return await run_in_threadpool(said, language, too_large)
                    stream.write(part)
            return await run_in_threadpool(said, language, lambda: answer(studio(language), place, system))

    @app.post("/anything/{language}/sample/{name}")
    def sample(language: str, name: str, system: str = "") -> JSONResponse:
        return said(language, lambda: sampled(studio(language), name, system))


def too_large() -> None:
    raise UserError(
        "too large",
        _("the file is too large"),
        expected=_("at most {most} MB").format(most=MOST_BYTES // 10**6),
        exit=3,
    )


def safe(name: str) -> str:
    """Return the last part of a file's name, without what a file system or a shell could mistake.

    >>> safe("../../etc/scan 1.nii.gz"), safe("")
    ('scan 1.nii.gz', '')
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(letter for letter in last if letter.isalnum() or letter in " ._-()")
    return kept.strip(" .")[-100:]


def sampled(studio: Studio, name: str, system: str) -> dict[str, Any]:
    """Answer for one of the page's samples. Raises UserError."""
    from souron.lecture import samples

    if name not in anything.SAMPLES:
        raise UserError(
            "missing", _("there is no example {name}").format(name=name), expected=", ".join(anything.SAMPLES)
        )
    with tempfile.TemporaryDirectory(prefix="anything-") as folder:
        samples.write(Path(folder), f"souron predict {name}")
        return answer(studio, Path(folder) / name, system)


def answer(studio: Studio, file: Path, system: str = "") -> dict[str, Any]:
    """Return the answer for a file with what can be said of it. Raises UserError.

    ``system`` has to be one of those that can answer for such a file.
    """
    from souron.kinds.codecs import moving
    from souron.pipelines import default_system
    from souron.studio import answers
    from souron.studio.model_cache import models

    choice = default_system.choose(str(file), studio.project)
    able = [choice.system, *choice.others]
    if system and system not in able:
        raise UserError(
            "system", _("{system} does not answer for such a file").format(system=system), expected=", ".join(able)
        )
    chosen = system or choice.system
    with models.answering(chosen) as model:
        if moving.is_video(file):
            found = list(islice(default_system.predict(model, [str(file)]), MOST_ANSWERS))
            shown = [answers.Answer(str(path), kind) for path, kind in found]
        else:
            shown = list(islice(answers.answered(model, [file], {}), MOST_ANSWERS))
        kind = model.asked.given
        learnt = model.learnt_from
    about = zoo.about(chosen) or (_("trained on {data}").format(data=learnt) if learnt else "")
    folder = zoo.where(chosen)
    weak = remarks(zoo.weaknesses(folder)) if folder is not None else Markup()
    return {
        "what": str(_(kind.noun)),
        "system": chosen,
        "name": Path(chosen).name,
        "html": answers.cards(shown, SHOWN, look=False) + Markup('<p class="faint">{}</p>').format(about) + weak,
        "rows": [[Path(one.file).name, answers.short(one.said)] for one in shown],
        "others": [[one, Path(one).name] for one in able if one != chosen][:MOST_OTHERS],
        "options": studio.url("use", **{"run" if "/" in chosen else "system": chosen}),
    }
