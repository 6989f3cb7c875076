"""``souron sign`` and ``souron verify``: Content Credentials of images."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from souron.cli import console
from souron.cli.app import command
from souron.cli.console import note, print_json, screen, show
from souron.utils import files as file_utils
from souron.utils.messages import N_, UserError, _

MOST = 10_000  # files of one command

Files = Annotated[list[str], Argument(metavar="FILES", help=N_("images, folders, globs"))]


@command(
    "sign",
    N_("Sign images, so that later changes show (Content Credentials)."),
    "souron sign picture.png\nsouron sign runs/generate/dcgan-digits/pictures/seed0/",
    group="society",
)
def sign(
    files: Files,
    out: Annotated[
        str | None, Option(metavar="FILE", help=N_("the signed copy of one image (default: picture.signed.png)"))
    ] = None,
) -> None:
    from souron.kinds.codecs import credentials, signing_keys

    credentials.library()
    paths = [path for path in listed(files) if ".signed" not in path.suffixes]
    if out and len(paths) > 1:
        raise UserError(
            "option",
            _("out= is for one image, and there are {count}").format(count=len(paths)),
            expected=_("without out=: each gets a signed copy beside it"),
        )
    rows: list[dict[str, Any]] = []
    with screen.err.status(_("signing")):
        for path in paths:
            try:
                signed = credentials.sign(path, Path(out) if out else None)
                rows.append({"file": str(path), "signed": str(signed), "error": None})
            except UserError as trouble:
                if len(paths) == 1:
                    raise
                rows.append({"file": str(path), "signed": None, "error": told(trouble)})
    if screen.json:
        print_json(rows[0] if len(rows) == 1 else {"files": rows})
    else:
        for row in rows:
            if row["signed"]:
                show(_("saved: {path}").format(path=row["signed"]))
        note(_("signed with the key of this computer, {path}").format(path=signing_keys.folder()))
    finish(rows)


@command(
    "verify",
    N_("Verify who signed an image and whether it was changed since."),
    "souron verify picture.signed.png\nsouron verify photos/ root=school.pem",
    group="society",
)
def verify(
    files: Files,
    root: Annotated[
        list[str] | None, Option(metavar="FILE", help=N_("a further root certificate (PEM) to trust; may be repeated"))
    ] = None,
) -> None:
    from souron.kinds.codecs import credentials, signing_keys

    credentials.library()
    roots = [signing_keys.read_pem(Path(name)) for name in root or []]
    paths = listed(files)
    rows: list[dict[str, Any]] = []
    with screen.err.status(_("verifying")):
        for path in paths:
            try:
                answer = credentials.verify(path, roots)
                rows.append({"file": str(path), **answer.as_json(), "error": None})
            except UserError as trouble:
                if len(paths) == 1:
                    raise
                rows.append({"file": str(path), "error": told(trouble)})
    if screen.json:
        print_json(rows[0] if len(rows) == 1 else {"files": rows})
    else:
        made = console.table(_("file"), _("what its signature says"))
        for row in rows:
            if not row["error"]:
                made.add_row(row["file"], sentence(row))
        if made.row_count:
            show(made)
    finish(rows)


def listed(files: list[str]) -> list[Path]:
    """Return the files to process. Raises UserError for none or more than ``MOST``."""
    found: list[Path] = []
    for path in file_utils.find_files(files):
        found.append(path)
        if len(found) > MOST:
            raise UserError(
                "too many",
                _("{path}: more than {count} files").format(path=" ".join(files), count=MOST),
                expected=_("fewer at a time"),
                exit=3,
            )
    if not found:
        raise UserError(
            "no files",
            _("nothing was found at {files}").format(files=" ".join(files)),
            expected=_("images: PNG, JPEG, WebP, GIF"),
            exit=3,
        )
    return found


def sentence(row: dict[str, Any]) -> str:
    """Return the result for one file: valid, changed, or no credentials."""
    if row["state"] == "none":
        said = _("nothing found, which proves nothing")
        return said + (f" ({row['why']})" if row["why"] else "")
    if row["state"] == "changed":
        said = (
            _("changed since {signer} signed it").format(signer=row["signer"])
            if row["signer"]
            else _("changed since it was signed")
        )
        return said + (f" ({row['why']})" if row["why"] else "")
    if row["here"]:
        said = _("signed by this computer, and unchanged")
    elif row["trusted"]:
        said = _("signed by {signer}, and unchanged").format(signer=row["signer"])
    else:
        said = _("signed by {signer}, and unchanged; whether that is really {signer} is not known here").format(
            signer=row["signer"] or _("somebody without a name")
        )
    made = row["made"].rpartition("/")[2]
    return said + (_("; it says of its origin: {made}").format(made=made) if made else "")


def told(trouble: UserError) -> str:
    return f"[{trouble.code}] {trouble.found}"


def finish(rows: list[dict[str, Any]]) -> None:
    """Print the errors and exit with code 3 where a file could not be read."""
    failed = [row["error"] for row in rows if row["error"]]
    for error in failed:
        console.warn(error)
    if failed:
        raise typer.Exit(3)
