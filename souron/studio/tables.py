"""Tables dropped on a page: predictions of methods lead to the verdict, all others to My data."""

from pathlib import Path

from markupsafe import Markup

from souron.studio.forms import own_data
from souron.studio.security.paths import upload_folder
from souron.studio.shared import Studio
from souron.utils.messages import UserError, _

SURE = ("labels", "probability", "dice")  # kinds that measurements beside a label do not look like


def is_table(path: Path) -> bool:
    """Return whether a file is a table or a spreadsheet, by its name."""
    from souron.data.prediction_table import SPREADSHEETS
    from souron.kinds.table import Table

    return path.name.lower().endswith((*Table.formats, *SPREADSHEETS))


def holds_predictions(path: Path) -> bool:
    """Return whether a table holds predictions, and neither the labels of files nor measurements.

    Raises UserError for a spreadsheet.
    """
    from souron.data import prediction_table
    from souron.data.formats.csv_table import COLUMNS, key_of
    from souron.data.predictions import predictions

    if path.suffix.lower() in prediction_table.SPREADSHEETS:
        prediction_table.columns_of(path)
    try:
        sheet = prediction_table.read([path])
    except UserError:
        return False
    truths = [name for name, role in sheet.roles if role == "truth"]
    named = any(key_of(name) not in COLUMNS["label"] for name in truths)
    try:
        return predictions(sheet).kind in SURE or named
    except UserError as error:  # the form asks for the kind
        return named and error.code == "two readings"


def address(studio: Studio, file: Path) -> str:
    """Keep a table and return the address of the page for it. Raises UserError."""
    from souron.studio.security import uploads

    if holds_predictions(file):
        folder = uploads.unpack([file], Path(upload_folder()) / "tables").folder
        return studio.url("verdict", files=str(next(folder.iterdir())))
    folder = uploads.unpack([file], own_data.place(studio)).folder
    return studio.url("my_data", data=studio.roots.spell(folder.absolute()))


def way(studio: Studio, file: Path) -> tuple[str, Markup]:
    """Keep a table; return what it is, and that with a link to the page for it. Raises UserError."""
    where = address(studio, file)
    told = (
        _("These are predictions: the verdict says which method is better.")
        if where.startswith(studio.url("verdict"))
        else _("A table is checked, and trained on, on the page My data.")
    )
    link = Markup('<p>{0}</p><p class="actions"><a class="first" href="{1}">{2}</a></p>')
    return told, link.format(told, where, _("Open"))
