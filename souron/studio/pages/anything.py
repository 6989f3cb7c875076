"""Any file in, and the system that answers: what it is, which systems could answer, and the answer.

The page's script (``static/anything.js``) sends each file, and collects the answers in a table that
can be saved.
"""

import json
from collections.abc import Mapping

from markupsafe import Markup

from souron.studio import any_file
from souron.studio.shared import Studio
from souron.utils.messages import N_, _

TITLE = N_("Any file")
PLACE = "use"
ACTIONS = {"sample": any_file.sampled}
UPLOADS = {"file": any_file.sent}


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    examples = Markup("").join(
        Markup('<button type="button" data-sample="{}">{}</button>').format(name, _(text))
        for name, text in any_file.SAMPLES.items()
    )
    return Markup(
        '<h1>{title}</h1><p>{about}</p><div id="anything" class="anything" data-module="/static/anything.js" '
        'data-page="{language}/anything" data-words="{words}"><div class="zone"><p class="actions">'
        '<label class="pick">{choose}<input type="file" multiple></label>'
        '<button type="button" data-do="camera">{camera}</button><span class="faint">{drop}</span></p>'
        '<video hidden playsinline muted></video><label class="typed">{typed}<textarea rows="2" maxlength="20000">'
        '</textarea></label><p class="actions"><button type="button" data-do="text">{ask}</button></p></div>'
        '<p class="examples">{examples} {buttons}</p><p role="status" class="faint"></p><ol class="given"></ol>'
        '<p class="actions"><button type="button" data-do="save" hidden>{save}</button></p></div>'
    ).format(
        title=_("Use it on anything"),
        about=_(
            "Give it a photograph, a film, a CT volume, a text, a melody or a sound. The best system that is here "
            "answers, and says what it has learnt from and whether your file is unlike that."
        ),
        language=studio.language,
        words=json.dumps({name: str(text) for name, text in words().items()}),
        choose=_("Choose files"),
        camera=_("Camera"),
        drop=_("or drop files here, or paste an image"),
        typed=_("or type a text"),
        ask=_("Answer"),
        examples=_("Examples:"),
        buttons=examples,
        save=_("Save the answers as a table (CSV)"),
    )


def words() -> dict[str, str]:
    """Return the texts of the script."""
    return {
        "busy": _("computing …"),
        "shoot": _("Take the picture"),
        "camera": _("Camera"),
        "answered": _("{system} answers"),
        "others": _("another system:"),
        "done": _("{count} answers"),
        "options": _("all options of {system}"),
        "failed": _("This did not work. Is the studio still running?"),
        "file": _("file"),
        "system": _("system"),
        "answer": _("answer"),
    }
