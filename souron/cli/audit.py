"""``souron audit``: what a generator gives back and learnt from, who drew a picture, or whether."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from souron.cli import arguments, console, options
from souron.cli.app import command
from souron.cli.console import follow, note, print_json, screen, show
from souron.utils import hardware, units
from souron.utils.messages import N_, UserError, _

KINDS = ("memorisation", "provenance", "ledger", "generated", "improper")
SHOWN = 200  # characters of a setting
PAIRS = 8  # that are printed
CLASSES, FILES = 50, 3  # of a ledger that are printed


@command(
    "audit",
    N_("Whether a generator copies its training pictures; what it learnt from; who drew one; "
       "whether drawn pictures can be told from real ones."),
    "souron audit memorisation runs/generate/dcgan-digits n=256\n"
    "souron audit ledger runs/generate/dcgan-digits\n"
    "souron audit provenance picture.png more/\n"
    "souron audit generated fashion gan dcgan runs/generate/ddpm-fashion\n"
    "souron audit generated real=photos/ drawn=a/ drawn=b/ n=1000\n"
    "souron audit improper runs/complete/manners before=runs/complete/talk",
)  # fmt: skip
def audit_(
    what: Annotated[
        str,
        Argument(
            metavar="WHAT",
            help=N_(
                "memorisation RUN, ledger RUN, provenance FILES, generated REAL DRAWN ..., or "
                "improper MODEL"
            ),
        ),
    ],
    files: Annotated[
        list[str] | None,
        Argument(metavar="RUN|FILES", help=N_("a run's folder; or pictures, folders, globs")),
    ] = None,
    real: Annotated[
        str | None,
        Option(metavar="D", help=N_("of generated: a data set or folder of real pictures")),
    ] = None,
    drawn: Annotated[
        list[str] | None,
        Option(
            metavar="D",
            help=N_("of generated: a run, a ready-trained generator or a folder; may be repeated"),
        ),
    ] = None,
    n: Annotated[
        int | None,
        Option(
            metavar="N",
            help=N_(
                "pictures to draw and compare (256; of generated 400 of each); or prompts (all)"
            ),
        ),
    ] = None,
    seed: options.Seed = None,
    device: options.Device = None,
    open: options.Open = False,
    before: Annotated[
        str | None,
        Option(metavar="MODEL", help=N_("improper: the model before it was tuned, to compare")),
    ] = None,
    prompts: Annotated[
        str | None,
        Option(metavar="FILE", help=N_("improper: prompts of your own, a line each; or manners")),
    ] = None,
    lexicon: options.Lexicon = None,
    language: Annotated[
        str | None, Option(metavar="L", help=N_("improper: prompts in en or ja alone"))
    ] = None,
    each: Annotated[
        int | None,
        Option(min=1, max=50, metavar="N", help=N_("improper: answers to each prompt (1)")),
    ] = None,
    length: Annotated[
        int | None,
        Option(min=1, max=4096, metavar="N", help=N_("improper: tokens of an answer (48)")),
    ] = None,
    project: options.Project = None,
) -> None:
    if what not in KINDS:
        raise UserError(
            "audit",
            _("there is no audit named {name!r}").format(name=what),
            expected=", ".join(KINDS),
            fix="souron audit --help",
        )
    if what == "generated":
        from souron.cli import audit_generated

        asked = {"n": n, "seed": seed, "device": device}
        audit_generated.generated(
            real, [*(files or []), *(drawn or [])],
            {name: value for name, value in asked.items() if value is not None}, open,
        )  # fmt: skip
        return
    if not files:
        raise arguments.missing(
            "FILES" if what == "provenance" else "RUN",
            "souron audit provenance picture.png"
            if what == "provenance"
            else "souron audit improper smollm2"
            if what == "improper"
            else f"souron audit {what} runs/generate/dcgan-digits",
        )
    if what == "provenance":
        provenance(files)
        return
    if what == "improper":
        from souron.cli import improper

        improper.audit(files, before, open, prompts=prompts, lexicon=lexicon, language=language,
                       n=n, each=each, length=length, seed=seed, project=project)  # fmt: skip
        return
    if len(files) > 1:
        raise UserError(
            "option",
            _("one thing too many: {name}").format(name=files[1]),
            expected=_("a run's folder"),
            fix=f"souron audit {what} {files[0]}",
        )
    if what == "ledger":
        ledger(Path(files[0]))
        return
    given = {"n": n, "seed": seed, "device": device}
    memorisation(Path(files[0]), {name: v for name, v in given.items() if v is not None}, open)


def memorisation(folder: Path, given: dict[str, Any], open: bool) -> None:
    hardware.calm_allocator()
    hardware.share_cores()
    from souron.audit import memorization
    from souron.audit import page as audit_page

    [audit] = follow(memorization.auditing(folder, **given))
    replaced = (folder / audit_page.NAME).exists()
    page = audit_page.audit_page(audit)
    if replaced:
        note(_("the page of an earlier audit was replaced"))
    if screen.json:
        told = {"sentence": memorization.sentence(audit), "page": page, "replaced": replaced}
        print_json({**audit.as_json(), **told})
    else:
        show(memorization.sentence(audit), "", ways(audit), "", nearest(audit), "")
        show(_("page: {path}").format(path=page))
    if open:
        import webbrowser

        webbrowser.open(page.absolute().as_uri())


def ways(audit: Any) -> Any:
    """Each distance, and what it found."""
    from souron.audit.page import space_name

    limit, drawn, real = _("too near from"), _("drawn, too near"), _("real, too near")
    made = console.table(_("distance by"), limit, drawn, real, right=(limit, drawn, real))
    for one in audit.found:
        made.add_row(
            space_name(one.space.name), f"{one.threshold:.2f}",
            f"{int(one.flagged.sum())} / {audit.samples}",
            f"{int(one.real.sum())} / {len(one.real)}",
        )  # fmt: skip
    return made


def nearest(audit: Any) -> Any:
    from souron.audit.page import space_name

    number, ratio, distance = _("drawn picture"), _("ratio"), _("distance")
    made = console.table(
        number, _("nearest training picture"), _("by"), distance, ratio, "",
        title=_("The nearest pairs"), right=(number, distance, ratio),
    )  # fmt: skip
    for pair in audit.pairs[:PAIRS]:
        told = [*([_("too near")] if pair.flagged else []), *([pair.change] if pair.change else [])]
        made.add_row(
            str(pair.picture), pair.file, space_name(pair.space), f"{pair.distance:.2f}",
            f"{pair.ratio:.2f}", ", ".join(told),
        )  # fmt: skip
    return made


def ledger(folder: Path) -> None:
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
        (_("hash of the pictures"), told.hash),
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
    show(_("learnt from, by class:"), console.bars(train.classes, most=CLASSES), "")
    files = ", ".join(train.files[:FILES])
    show(_("files: {files}, ...; all of them in {path}").format(
        files=files, path=folder / "split.csv"))  # fmt: skip
    if not told.licence:
        note(_("no licence is stated: that the pictures could be opened does not mean that they "
               "may be used"))  # fmt: skip


def provenance(files: Sequence[str]) -> None:
    """What each file says of its origin. Exit code 3 where one could not be read."""
    from souron.kinds.codecs import provenance as provenance_codec
    from souron.utils import files as file_utils

    told: list[dict[str, Any]] = []
    for path in file_utils.find_files(files):
        try:
            mark, source = provenance_codec.look(path)
            told.append({
                "file": str(path), "mark": None if mark is None else asdict(mark),
                "digital_source_type": source, "error": None,
            })  # fmt: skip
        except UserError as trouble:
            error = f"[{trouble.code}] {trouble.found}"
            told.append({"file": str(path), "mark": None, "digital_source_type": "",
                         "error": error})  # fmt: skip
    if not told:
        raise UserError(
            "no files",
            _("nothing was found at {files}").format(files=" ".join(files)),
            expected=_("pictures, sounds, scores, videos, pages, or folders with some"),
            exit=3,
        )
    if screen.json:
        print_json({"files": told, "note": limits()})
    else:
        made = console.table(_("file"), _("what it says of its origin"))
        for row in told:
            if row["error"]:
                console.warn(row["error"])
            else:
                made.add_row(row["file"], summary_lines(row))
        if made.row_count:
            show(made, "", limits())
    failed = sum(row["error"] is not None for row in told)
    if failed:
        note(_("{failed} of {total} files could not be read").format(
            failed=failed, total=len(told)))  # fmt: skip
        raise typer.Exit(3)


def summary_lines(row: dict[str, Any]) -> str:
    from souron.kinds.codecs.provenance import EDITED

    mark = row["mark"]
    if mark is None:
        kind = row["digital_source_type"]
        return _("not by souron; it says {kind}").format(kind=kind) if kind else _("nothing")
    words = _("generated by {system}, trained on {data}; seed {seed}")
    if mark["digital_source_type"] == EDITED:
        words = _("edited by {system}, trained on {data}; seed {seed}")
    elif mark["number"] is not None:
        words = _("generated by {system}, trained on {data}; seed {seed}, picture {number}")
    told = (words + _("; run {run}, {software} {version}")).format(**mark)
    asked = ", ".join(
        f"{name}={' '.join(str(value).split())[:SHOWN]}"
        for name, value in mark.get("settings", {}).items()
        if value not in (None, "")
    )
    return told + (_("; asked with {settings}").format(settings=asked) if asked else "")


def limits() -> str:
    return _(
        "A missing mark proves nothing: saving a picture anew can lose it. A mark proves little: "
        "anyone can remove or forge one."
    )
