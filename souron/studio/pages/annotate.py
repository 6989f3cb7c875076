"""Draw boxes and outlines on the images of a folder, name them, and train on them.

The page's script (``static/annotate.js``) shows one image at a time and saves each change.
"""

import json
from collections.abc import Mapping

from markupsafe import Markup

from souron.studio.forms import own_data
from souron.studio.my_data import annotating
from souron.studio.shared import Studio, here, missing, unanswered
from souron.utils.messages import N_, _

TITLE = N_("Draw boxes and outlines")
PLACE = "data"
ACTIONS = {
    "listed": annotating.listed,
    "image": annotating.image,
    "save": annotating.saved,
    "classes": annotating.classes,
    "systems": annotating.able,
    "suggest": annotating.suggested,
}
VIEWS = {"image": annotating.shown, "thumbnail": annotating.thumbnail}


def body(studio: Studio, query: Mapping[str, str]) -> Markup:
    head = Markup("<h1>{}</h1><p>{}</p>").format(
        _(TITLE),
        _(
            "Draw what a system should find: a box or an outline around each object, with its class. Each change is "
            "saved at once, in the folder of the images (annotations.json, COCO's format). The former file is kept "
            "as a copy."
        ),
    )
    data = query.get("data", "")
    return head + (_tool(studio, data, query.get("file", "")) if data else _choice(studio))


def _choice(studio: Studio) -> Markup:
    """Return links to the user's folders."""
    links = Markup("").join(
        Markup('<li><a href="{}">{}</a></li>').format(studio.url("annotate", data=path), name)
        for name, path in own_data.own(studio)
        if not path.endswith(".csv")
    )
    listed = Markup("<h2>{}</h2><ul>{}</ul>").format(_("Which images?"), links) if links else Markup()
    way = (studio.url("data"), _("Bring images"))
    return listed + missing(_("Images are brought on the page Data: as a zip of a folder, or one by one."), way)


def _tool(studio: Studio, data: str, file: str) -> Markup:
    folder = annotating.folder_of(studio, {"data": data})
    if not folder.files():
        return missing(
            _("There is no image in {folder}.").format(folder=folder.root), (studio.url("data"), _("Bring images"))
        )
    address = studio.url("annotate", data=data, file=file)
    tools, buttons = _buttons()
    return Markup(
        '<div id="annotate" class="annotate" data-module="/static/annotate.js" data-page="{language}/annotate" '
        'data-folder="{data}" data-file="{file}" data-words="{words}">'
        '<p class="way"><button type="button" data-do="previous" title="P">← {previous}</button>'
        '<strong class="file"></strong><span class="faint count"></span>'
        '<button type="button" data-do="next" title="N">{next} →</button>'
        '<button type="button" data-do="todo" title="U">{todo}</button></p>'
        '<div class="conflict remark" role="alert" hidden></div><div class="notes"></div>'
        '<div class="desk"><div><div class="tools" role="toolbar" aria-label="{tools_label}"><span>{tools}</span>'
        '<span>{buttons}</span><span class="faint saved" role="status"></span></div>'
        '<div class="stage" tabindex="-1"></div>'
        '<p class="faint hint"></p></div>'
        '<div class="side"><h2>{classes}</h2><div class="classes" role="radiogroup" aria-label="{classes}"></div>'
        '<form class="new"><input type="text" maxlength="100" aria-label="{new}" placeholder="{new}" '
        'autocomplete="off"><button>{add}</button></form>'
        '<h2>{objects}</h2><ol class="objects"></ol>'
        '<p><button type="button" data-do="empty" title="E" aria-pressed="false">{empty}</button></p>'
        '<h2>{suggesting}</h2><p class="faint">{about}</p><p class="ask"><select aria-label="{system}"></select>'
        '<button type="button" data-do="suggest" title="G">{suggest}</button>'
        '<button type="button" data-do="accept" title="A" hidden>{accept}</button>'
        '<button type="button" data-do="dismiss" hidden>{dismiss}</button></p>'
        '<p class="faint told" role="status"></p></div></div>'
        '<h2>{images}</h2><p class="counts" role="status"></p><p><label class="only"><input type="checkbox"> {only}'
        '</label></p><ul class="list"></ul><p class="pager"></p>'
        '<h2>{after}</h2><p>{training}</p><p class="actions train"></p><details class="same"><summary>{line}</summary>'
        '<pre class="commands"></pre></details>'
        "<details><summary>{keys}</summary><p>{all_keys}</p></details></div>{here}"
    ).format(
        language=studio.language,
        data=data,
        file=file,
        words=json.dumps({name: str(text) for name, text in words().items()}),
        previous=_("Previous"),
        next=_("Next"),
        todo=_("Next not yet looked at"),
        tools=tools,
        tools_label=_("tools"),
        buttons=buttons,
        classes=_("Classes"),
        new=_("a new class"),
        add=_("Add"),
        objects=_("On this image"),
        empty=_("Nothing to be found here"),
        suggesting=_("Let a system suggest"),
        about=_("Its suggestions are dashed, and nothing of them is saved until you accept it."),
        system=_("system"),
        suggest=_("Suggest"),
        accept=_("Accept all"),
        dismiss=_("Discard"),
        images=_("Images"),
        only=_("only those not yet looked at"),
        after=_("Train on it"),
        training=_(
            "Images with objects and images in which nothing is to be found are trained on; those that nobody has "
            "looked at are not. Outlines also count as boxes."
        ),
        line=_("Command line"),
        keys=_("Keys"),
        all_keys=_(
            "B box, O outline, M move; 1 to 9 the class, of the selected object or of the next one; Delete removes the "
            "selected one; N or → next, P or ← previous image, U the next one not yet looked at; E nothing here; "
            "Ctrl+Z undo, Ctrl+Y redo; + and − zoom; G suggest, A accept all; S save again; Esc ends a drawing."
        ),
        here=here(address),
    )


def _buttons() -> tuple[Markup, Markup]:
    """Return the buttons of the drawing tools, and those of what is done with a drawing."""
    tools = Markup("").join(
        Markup('<button type="button" data-tool="{}" aria-pressed="{}" title="{}">{}</button>').format(
            tool, "true" if tool == "rectangle" else "false", key, name
        )
        for tool, name, key in (("rectangle", _("Box"), "B"), ("polygon", _("Outline"), "O"), ("move", _("Move"), "M"))
    )
    buttons = Markup("").join(
        Markup('<button type="button" data-do="{}" title="{}"{}>{}</button>').format(
            name, key, Markup(' aria-label="{}"').format(label) if label else "", text
        )
        for name, text, key, label in (
            ("undo", "↶", _("undo (Ctrl+Z)"), _("undo")),
            ("redo", "↷", _("redo (Ctrl+Y)"), _("redo")),
            ("delete", _("Delete"), _("Delete key"), ""),
            ("out", "−", "−", _("smaller")),
            ("in", "+", "+", _("larger")),
        )
    )
    return tools, buttons


def words() -> dict[str, str]:
    """Return the texts of the script."""
    return {
        "saved": _("Each change is saved at once. All is saved."),
        "saving": _("saving …"),
        "unsaved": _("Not saved yet. Press S to try again."),
        "failed": unanswered(),
        "of": _("{place} of {total}"),
        "counts": _("{total} images: {drawn} with objects, {empty} looked at and empty, {rest} not yet looked at"),
        "new": _("not yet looked at"),
        "empty": _("looked at: empty"),
        "drawn": _("{count} drawn"),
        "earlier": _("Earlier"),
        "further": _("Further"),
        "page": _("page {page} of {pages}"),
        "rectangle": _("Drag a box around an object. Press a box to change it."),
        "polygon": _("Press along the outline of an object; press the first corner to close it."),
        "move": _("Drag to move the image. Drawing is off."),
        "classless": _("without a class"),
        "needs": _("Give the new object a class: press one, or type a new name."),
        "suggested": _("suggested"),
        "accept": _("accept"),
        "remove": _("delete"),
        "rename": _("rename"),
        "asked": _("a new name for {name}"),
        "fixed": _("a mask, whose shape is kept as it is"),
        "more": _("{count} more objects are on this image. They are kept, and not shown."),
        "size": _("The file says that this image has {there} pixels; it has {here}. Systems would leave it out."),
        "busy": _("computing …"),
        "nothing": _("The system detects nothing on this image."),
        "waiting": _("Your changes of this image are not saved yet."),
        "stored": _("Show what is stored"),
        "both": _("Add my changes to what is stored"),
        "yolo": _("Train a detector on it"),
        "yolo_seg": _("Train a system that outlines objects"),
        "learnt": _("{system}, trained on {data}"),
        "none": _("no system is here"),
    }
