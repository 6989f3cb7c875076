"""My data: one page for each data set, from the files to a verdict.

The files are checked, faults are corrected at one press, a first training and a comparison are
advised, and all runs stand in one table with the verdict above. The page's script
(``static/my_data.js``) asks for the sections anew while something is computed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron.data.corrections import Correction
from souron.studio import tables
from souron.studio.forms import own_data
from souron.studio.jobs.job_queue import ALIVE
from souron.studio.my_data import data_set, view
from souron.studio.my_data.data_set import OwnDataSet
from souron.studio.security import uploads
from souron.studio.security.paths import folder_size
from souron.studio.shared import Studio
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TITLE = N_("My data")
PLACE = "data"
EXAMPLE = "example-cells"  # folder of the example
SIDE = 160  # pixels of a thumbnail


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    """Return the page of one data set, or the list of all. Raises UserError."""
    return _one(OwnDataSet(studio, query["data"])) if query.get("data") else _all(studio)


def _one(own: OwnDataSet) -> Markup:
    if own.checking is None:
        own.check()
    sections = Markup("").join(
        Markup('<section id="{}" aria-live="{}">{}</section>').format(name, "polite" if name == "next" else "off", html)
        for name, html in view.sections(own).items()
    )
    return Markup(
        '<p><a href="{back}">← {all}</a></p><h1>{name}</h1><div class="own" data-module="/static/my_data.js" '
        'data-page="{language}/my_data" data-data="{data}" data-words="{words}">{sections}</div>'
    ).format(
        back=own.studio.url("my_data"),
        all=_("All my data"),
        name=own.name,
        language=own.studio.language,
        data=own.data,
        words=json.dumps(script_words()),
        sections=sections,
    )


def _all(studio: Studio) -> Markup:
    sets = data_set.known(studio, [path for _name, path in own_data.own(studio)])
    items = Markup("").join(view.card(own, units.size(folder_size(own.folder))) for own in sets)
    return Markup(
        '<h1>{title}</h1><p>{about}</p><div class="own" data-module="/static/my_data.js" '
        'data-page="{language}/my_data" data-words="{words}"><div class="zone" tabindex="-1"><p class="actions">'
        '<label class="pick">{folder}<input type="file" webkitdirectory multiple></label>'
        '<label class="pick">{files}<input type="file" multiple></label><span class="faint">{drop}</span></p>'
        '<form data-act="open"><label>{path}<input name="path" maxlength="1000" autocomplete="off"></label>'
        '<button>{open}</button></form><p class="actions"><button type="button" data-act="example">{example}</button>'
        '<span class="faint">{drawn}</span></p><p role="status" class="faint"></p></div>'
        '<p><a href="{verdict}">{judge}</a> · <a href="{plan}">{patients}</a></p>{list}</div>'
    ).format(
        title=_("My data"),
        about=_(
            "Bring a folder with a sub-folder for each class, or a table. It is checked for what would distort a "
            "result, trained on, and compared, all on one page. It is copied to this computer's folder of runs, and "
            "goes nowhere else."
        ),
        language=studio.language,
        words=json.dumps(script_words()),
        folder=_("Choose a folder"),
        files=_("Choose files or a zip"),
        drop=_("or drop them here"),
        path=_("or the path of a folder or table on this computer"),
        open=_("Open"),
        example=_("Try it with an example"),
        drawn=_("83 drawn cells of 20 patients, with faults put in on purpose"),
        verdict=studio.url("verdict"),
        judge=_("Predictions from elsewhere: which method is better?"),
        plan=studio.url("plan"),
        patients=_("How many patients does a study need?"),
        list=Markup('<h2>{}</h2><ul class="data-sets">{}</ul>').format(_("Data sets"), items) if items else "",
    )


def script_words() -> dict[str, str]:
    """Return the texts of the script."""
    return {
        "packing": _("packing {count} files …"),
        "sending": _("sending {size} MB to the studio on this computer …"),
        "many": _("More than {most} files: type the folder's path instead."),
        "none": _("There is no file in it."),
    }


def opened(studio: Studio, data: Any) -> OwnDataSet:
    """Return the data set that a request names. Raises UserError."""
    return OwnDataSet(studio, str(data or ""))


def state(studio: Studio, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return view.as_json(opened(studio, asked.get("data")))


def check(studio: Studio, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Start a check, unless one is running."""
    own = opened(studio, asked.get("data"))
    if own.checking is None or own.checking.state not in ALIVE:
        own.check()
    return state(studio, asked)


def correct(studio: Studio, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Answer a finding: all of it, or one ``family`` of its files, in the ``way`` of a button.

    Files are named by the check's result, never by the request. Raises UserError.
    """
    own = opened(studio, asked.get("data"))
    one = _finding(own, asked)
    try:
        places = one.open if asked.get("family") is None else (int(asked["family"]),)
        families = [one.families[place] for place in places if place in one.open]
        if not families:
            raise IndexError
    except (IndexError, TypeError, ValueError) as error:
        raise _gone() from error
    own.correct(_corrections(own, one, families, str(asked.get("way")), str(asked.get("value") or "")))
    return state(studio, asked)


def answer(studio: Studio, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Keep a person's answer to a warning; without a ``value`` it is taken back. Raises UserError."""
    own = opened(studio, asked.get("data"))
    own.answer(_finding(own, asked).key, str(asked.get("value") or ""))
    return state(studio, asked)


def _finding(own: OwnDataSet, asked: Mapping[str, Any]) -> data_set.Finding:
    """Return the finding that a request is about. Raises UserError."""
    try:
        return own.findings[int(asked.get("finding", -1))]
    except (IndexError, TypeError, ValueError) as error:
        raise _gone() from error


def _gone() -> UserError:
    return UserError(
        "missing",
        _("this finding is not there any more"),
        expected=_("one of those that the page shows"),
        fix=_("load the page again"),
    )


def _corrections(
    own: OwnDataSet, one: data_set.Finding, families: list[tuple[str, ...]], way: str, value: str
) -> list[Correction]:
    """Return the corrections that a way of answering makes. Raises UserError for an unknown one."""
    files = tuple(file for family in families for file in family)
    if way == "one":
        return [Correction("leave out", tuple(f for family in families for f in family[1:]), reason=one.code)]
    if way == "different" and one.question:
        return [Correction("different", family, reason=one.code) for family in families]
    if way == "out":
        return [Correction("leave out", files, reason=one.code)]
    if way == "split":
        return [Correction("split", reason=one.code)]
    known = {row["filename"]: row for row in own.cases}
    if way == "label" and value in own.labels:
        return [Correction("label", files, value, one.code)]
    if way == "right":
        return [Correction("label", (file,), known[file]["label"], one.code) for file in files if file in known]
    if way == "patient" and files and files[0] in known:
        names = {known[file]["group"] for file in files if file in known}
        every = tuple(row["filename"] for row in own.cases if row["group"] in names)
        return [Correction("group", every, known[files[0]]["group"], one.code)]
    raise UserError("value", _("nothing can be corrected in this way"), expected=_("one of the page's buttons"))


def undo(studio: Studio, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    number = asked.get("number")
    opened(studio, asked.get("data")).undo(number if isinstance(number, int) else -1)
    return state(studio, asked)


def train(studio: Studio, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return _start(studio, asked, compare=False)


def compare(studio: Studio, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return _start(studio, asked, compare=True)


def _start(studio: Studio, asked: Mapping[str, Any], compare: bool) -> Mapping[str, Any]:
    """Start the training or the comparison that is advised, unless one of them runs. Raises UserError."""
    own = opened(studio, asked.get("data"))
    best = own.advice
    line = [] if best is None else best.comparison(own.used) if compare else best.command(own.used)
    if not line:
        raise UserError(
            "task", _("no system learns from such files yet"), expected=_("images in a folder for each class")
        )
    if not own.jobs:
        more = [f"{name}={value}" for name, value in studio.project_option().items()]
        studio.jobs.start([*line, *more], studio.language)
    return state(studio, asked)


def stop(studio: Studio, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Stop a job of this data; its work is kept."""
    own = opened(studio, asked.get("data"))
    for job in own.jobs:
        if job.id == asked.get("job"):
            job.stop()
    return state(studio, asked)


def open_path(studio: Studio, asked: Mapping[str, Any]) -> dict[str, str]:
    """Return the address of the page of a folder or table on this computer. Raises UserError."""
    return {"address": studio.url("my_data", data=opened(studio, asked.get("path")).data)}


def example(studio: Studio, _asked: Mapping[str, Any]) -> dict[str, str]:
    """Draw the example, unless that is done, and return the address of its page. Raises UserError."""
    from souron.data.composing import cells

    place = own_data.place(studio) / EXAMPLE
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{EXAMPLE}")
        cells.write(beside)
        beside.rename(place)
    return {"address": studio.url("my_data", data=studio.roots.spell(place.absolute()))}


def bring(studio: Studio, file: Path, _query: Mapping[str, str]) -> dict[str, str]:
    """Unpack what was sent into a folder of its own, and return the address of its page. Raises UserError."""
    if tables.is_table(file):
        return {"address": tables.address(studio, file)}
    done = uploads.unpack([file], own_data.place(studio))
    return {"address": studio.url("my_data", data=studio.roots.spell(done.folder.absolute()))}


def image(studio: Studio, query: Mapping[str, str]) -> Any:
    """Return a thumbnail of a case. Raises UserError for a file outside of the data, or no image."""
    from fastapi.responses import Response

    from souron.kinds.codecs import image as image_codec

    own = opened(studio, query.get("data"))
    path, frame = image_codec.case_file(own.folder, query.get("file", ""))
    found = image_codec.read(path, own.folder, about=SIDE, frame=frame)
    small = image_codec.rounded(found) if found.mode == "F" else found
    small.thumbnail((SIDE, SIDE))
    return Response(image_codec.png(small), media_type="image/png", headers={"Cache-Control": "private, max-age=600"})


ACTIONS = {
    "state": state,
    "check": check,
    "correct": correct,
    "answer": answer,
    "undo": undo,
    "train": train,
    "compare": compare,
    "stop": stop,
    "open": open_path,
    "example": example,
}
UPLOADS = {"files": bring}
VIEWS = {"image": image}
