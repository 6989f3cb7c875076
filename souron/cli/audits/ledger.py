"""``souron audit ledger``: what a generator learnt from."""

from collections.abc import Sequence

from souron.cli import arguments, console
from souron.cli.console import note, print_json, screen, show
from souron.utils import units
from souron.utils.messages import _

OPTIONS = ()
CLASSES, FILES = 50, 3  # that are printed


def audit(files: Sequence[str], open: bool) -> None:
    """Nothing to open: the ledger has no page. Raises UserError."""
    folder = arguments.one_run(files, "souron audit ledger")
    from souron.audit import datasheet
    from souron.audit.page import part_name

    told = datasheet.read(folder)
    if screen.json:
        print_json(told.as_json())
        return
    rows = [
        (_("run"), told.run),
        (_("system"), told.system),
        (_("data"), told.data),
        (_("source"), told.source or _("not stated")),
        (_("licence"), told.licence or _("not stated")),
        (_("pictures"), units.whole(told.cases)),
        (_("hash of the images"), told.hash),
        (_("began with"), told.started_from),
    ]
    show(console.pairs([row for row in rows if row[1]]), "")
    cases, groups = _("cases"), _("patients")
    made = console.table(_("part"), cases, groups, _("fingerprint"), right=(cases, groups))
    for part in told.parts:
        patients = units.whole(part.groups) if part.groups else units.UNKNOWN
        made.add_row(part_name(part.name), units.whole(part.cases), patients, part.hash)
    show(made, "")
    train = next(part for part in told.parts if part.name == "train")
    show(_("training data, by class:"), console.bars(train.classes, most=CLASSES), "")
    names = ", ".join(train.files[:FILES])
    show(_("files: {files}, ...; all of them in {path}").format(
        files=names, path=folder / "split.csv"))  # fmt: skip
    if not told.licence:
        note(_("no licence is stated: being able to open the images does not mean that you may "
               "use them"))  # fmt: skip
