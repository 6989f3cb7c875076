"""Fields and files that a form of a page sends; the files keep their names."""

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from souron.studio.security.paths import upload_folder
from souron.studio.security.upload_names import can_be_kept
from souron.utils.messages import UserError, _

MOST_FILES = 1000  # of one form
MOST_FIELDS = 2000
MOST_TEXT = 4 * 10**6  # bytes of a field that is no file
SENT = "sent"  # the folder of files within that of uploads


@dataclass(frozen=True)
class Posted:
    """The fields of a form by name; a field may have several values.

    >>> form = Posted({"data": ["digits"], "n": ["1", "2"]})
    >>> form["data"], form.all("n"), form["none"]
    ('digits', ['1', '2'], '')
    """

    values: Mapping[str, list[str]] = field(default_factory=dict)
    files: Mapping[str, list[Path]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, [""])[-1]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def all(self, name: str) -> list[str]:
        return list(self.values.get(name, ()))

    def paths(self, name: str) -> list[str]:
        """Return the files of a field."""
        return [str(path) for path in self.files.get(name, ())]


def of_query(query: Mapping[str, str]) -> Posted:
    """Return the values of an address as those of a form."""
    return Posted({name: [value] for name, value in query.items()})


async def received(request: Request) -> Posted:
    """Read the form of a request, or its query; files are kept among the uploads. Raises UserError, OSError."""
    pairs: list[tuple[str, Any]] = list(request.query_params.multi_items())
    if request.method == "POST":
        try:
            form = await request.form(max_files=MOST_FILES, max_fields=MOST_FIELDS, max_part_size=MOST_TEXT)
        except HTTPException as error:
            found = _("the request cannot be read: {why}").format(why=error.detail)
            raise UserError("form", found, expected=_("at most {most} MB").format(most=MOST_TEXT // 10**6)) from error
        pairs += form.multi_items()
    values: dict[str, list[str]] = {}
    files: dict[str, list[Path]] = {}
    for name, value in pairs:
        if isinstance(value, str):
            values.setdefault(name, []).append(value)
        elif value.filename:
            files.setdefault(name, []).append(await run_in_threadpool(_kept, value))
    return Posted(values, files)


def _kept(sent: Any) -> Path:
    """Write an uploaded file below a folder whose name cannot be guessed, and return its path."""
    name = sent.filename.replace("%22", '"').replace("\\", "/").rpartition("/")[2]  # a browser's spelling of "
    folder = Path(upload_folder()) / SENT / secrets.token_hex(8)
    folder.mkdir(parents=True)
    path = folder / (name if can_be_kept(name) else "file" + Path(name).suffix[:20].encode("ascii", "ignore").decode())
    with path.open("wb") as file:
        shutil.copyfileobj(sent.file, file)
    path.chmod(0o600)
    return path
