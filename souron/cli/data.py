"""``souron data``: show a data set, check it, de-identify it."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from souron import registry
from souron.cli import console
from souron.cli.app import command
from souron.cli.console import note, print_json, screen, show
from souron.cli.parsing import arguments, options
from souron.pipelines import advice
from souron.utils import hardware, units
from souron.utils.messages import N_, UserError, _

if TYPE_CHECKING:
    from souron.data.target import Target


@command(
    "data",
    N_("Describe a data set; souron data check finds its problems."),
    "souron data digits\nsouron data photos/ --open\nsouron data list.csv --json\n"
    "souron data check photos/\nsouron data check photos/ --fix photos/checked.csv\n"
    'souron data check photos/ answer="few patients: a pilot, nothing is claimed of others"\n'
    "souron data cells/ task=segment_instances",
    group="data",
)
def data_(
    data: Annotated[
        str,
        Argument(
            metavar="DATA",
            help=N_("a data set's name, a folder, or a CSV; or: check FOLDER; or: anonymise FOLDER OUT"),
            autocompletion=options.complete_data,
        ),
    ],
    folder: Annotated[
        str | None, Argument(metavar="[FOLDER]", help=N_("the folder or CSV to check or anonymise"))
    ] = None,
    out: Annotated[
        str | None, Argument(metavar="[OUT]", help=N_("a new folder for the DICOM files without names"))
    ] = None,
    task: Annotated[
        str | None, Option(metavar="TASK", help=N_("read it as this task does: segment_instances, ..."))
    ] = None,
    imgsz: options.Side = None,
    group: options.Group = None,
    window: options.Window = None,
    fix: Annotated[
        str | None, Option(metavar="CSV", help=N_("after check: a new table without broken files and copies"))
    ] = None,
    answer: Annotated[
        str | None,
        Option(metavar="TEXT", help=N_("after check: an answer, WARNING: SENTENCE; an empty one takes it back")),
    ] = None,
    rotations: Annotated[
        bool, Option("--rotations", hidden=True)  # kept for compatibility: rotations are always checked
    ] = False,
    project: options.Project = None,
    open: options.Open = False,
) -> None:
    hardware.calm_allocator()
    if data == "anonymise":
        anonymise(folder, out)
        return
    if data == "check" and out is None:
        check(folder, group, window, fix, Path(project or "runs"), open, task, answer)
        return
    if folder is not None:
        raise UserError(
            "option",
            _("one thing too many: {name}").format(name=out or folder),
            expected=_("a data set, or: check FOLDER"),
            fix=f"souron data check {folder}",
        )
    describe(data, imgsz, group, window, task, Path(project or "runs"), open)


def describe(
    data: str, side: int | None, group: str | None, window: str | None, task: str | None, project: Path, open: bool
) -> None:
    """Print the properties of a data set, and write its page."""
    with screen.err.status(_("reading data")) as status:
        from souron.data import deidentify, display_names, load
        from souron.data.target import target_of
        from souron.report import report

        def told(done: int, total: int) -> None:
            status.update(f"{_('reading data')} {done / total:.0%}")

        formats, kind = reading_of(task)
        cases = load.load(data, side, group, window, progress=told, formats=formats, target=kind)
        held = deidentify.held(cases) if cases.images else {}
        place = project / "data" / (Path(display_names.folder(data)).stem or "data")
        target = target_of(cases)
        page = report.data_page(cases, place) if target.layout else None
    known = cases.target is not None and cases.classes
    labels = dict(zip(cases.classes, target.counts(), strict=True)) if known else {}
    parts = {part or "-": n for part, n in Counter(cases.part).items()}
    if screen.json:
        print_json(
            {
                "data": data,
                "cases": len(cases),
                "labels": labels,
                "parts": parts,
                **target.sizes(),
                "groups": len(set(cases.group)),
                "skipped": [asdict(skipped) for skipped in cases.skipped],
                "source": cases.source,
                "licence": cases.licence,
                "page": page,
                "identifying": held,
            }
        )
    else:
        rows = [*facts(target, parts), (_("identifying"), deidentify.counted(held))]
        show(console.pairs([row for row in rows if row[1]]), "", console.bars(labels), "")
        console.skipped_files(cases.skipped)
        if page:
            show(_("page: {path}").format(path=page))
        if held:
            folder = Path(data).parent if Path(data).is_file() else data
            command = f"souron data anonymise {folder} OUT"
            show(_("a copy without identifying data: {command}").format(command=command))
    if open and page:
        browse(page)


def facts(target: "Target", parts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return what there is to say of a data set, each with its name; "" where nothing is known."""
    cases = target.cases
    groups = _("{count} ({how})").format(count=units.whole(len(set(cases.group))), how=cases.grouped)
    return [
        (_("data"), cases.name),
        (_("cases"), units.whole(len(cases))),
        target.size(),
        (_("parts"), ", ".join(f"{part} {units.whole(n)}" for part, n in parts.items())),
        (_("groups"), groups if cases.group else cases.question),
        (_("licence"), cases.licence),
        (_("source"), cases.source),
    ]


def anonymise(folder: str | None, out: str | None) -> None:
    """Copy a folder's DICOM files without identifying attributes. Exit code 3 if there are none."""
    if folder is None or out is None:
        missing = "OUT" if folder else "FOLDER"
        raise arguments.missing(missing, "souron data anonymise scans/ scans-without-names/")
    with screen.err.status(_("reading data")) as status:
        from souron.data import deidentify

        def watch(done: int, total: int) -> None:
            status.update(f"{done}/{total}")

        found = deidentify.anonymise(Path(folder), Path(out), watch)
    if screen.json:
        print_json(
            {
                "out": out,
                "files": found.files,
                "removed": found.removed,
                "folders": found.folders,
                "skipped": [asdict(skipped) for skipped in found.skipped],
                "left_out": found.others,
                "tables": found.tables,
                "burned_in": {"said": found.said_burned_in, "likely": found.likely_burned_in},
            }
        )
    else:
        rows = [
            (_("written"), _("{count} files in {out}").format(count=units.whole(found.files), out=out)),
            (_("removed"), deidentify.counted(found.removed)),
            (
                _("left out"),
                _("{count} files that are not DICOM").format(count=units.whole(found.others)) if found.others else "",
            ),
            (
                _("tables"),
                _("{count} with file, label, patient and part; other columns are left out").format(
                    count=units.whole(found.tables)
                )
                if found.tables
                else "",
            ),
            (_("folders"), ", ".join(found.folders)),
        ]
        show(console.pairs([row for row in rows if row[1]]), "")
        console.skipped_files(found.skipped)
        for text in deidentify.warnings(found):
            console.warn(text)
    if not found.files:
        raise typer.Exit(3)


def browse(page: Path) -> None:
    import webbrowser

    webbrowser.open(page.absolute().as_uri())


def every_format() -> tuple[str, ...]:
    """Return all formats in the order in which they are tried.

    Text formats, which look into files, come first; then formats of single tasks, the more specific
    ones first; folders of classes accept everything else, so they come last.
    """
    from souron.data import load

    of_tasks = (name for task in registry.tasks().values() for name in task.formats)
    special = [name for name in of_tasks if name not in (*load.FORMATS, *load.TEXTS)]
    modules = {name: import_module(f"souron.data.formats.{name}") for name in special}
    special.sort(key=lambda name: not hasattr(modules[name], "refines"))
    return tuple(dict.fromkeys([*load.TEXTS, *special, *load.FORMATS]))


def reading_of(task: str | None) -> tuple[tuple[str, ...], str]:
    """Return the formats that a task accepts and its kind of target; all formats for None.

    Raises UserError for an unknown task.
    """
    if task is None:
        return every_format(), ""
    if task not in registry.tasks():
        raise UserError(
            "option",
            _("no task is called {name}").format(name=task),
            expected=", ".join(registry.tasks()),
            fix="souron list",
        )
    asked = registry.load_task(task)
    return asked.formats, asked.target


def answered(text: str, keys: Sequence[str]) -> tuple[str, str]:
    """Return the warning that an answer is about, and its sentence. Raises UserError for an unknown one.

    >>> answered("few patients: a pilot", ["few patients"])
    ('few patients', 'a pilot')
    """
    key, colon, sentence = (part.strip() for part in text.partition(":"))
    if key not in keys or not colon:
        raise UserError(
            "answer",
            _("{answer} answers no warning of this data").format(answer=f"answer={text!r}"),
            expected=" | ".join(f"{key}: ..." for key in dict.fromkeys(keys)) or _("a warning that the check gives"),
            fix='answer="shortcut brightness: one lamp lights all classes"',
        )
    return key, sentence


def check(
    folder: str | None,
    group: str | None,
    window: str | None,
    fix: str | None,
    project: Path,
    open: bool,
    task: str | None = None,
    answer: str | None = None,
) -> None:
    """Check a data set, keep the answer to a warning, and print the findings.

    Exit code 3 if any has severity "error".
    """
    if folder is None:
        raise arguments.missing("FOLDER", "souron data check photos/")
    with screen.err.status(_("reading data")) as status:
        from souron.data import case_table
        from souron.data import check as data_check
        from souron.data.check import answers
        from souron.data.check import warnings as data_warnings
        from souron.data.quality import warnings as quality
        from souron.data.target import target_of
        from souron.evaluation.vision import perceptual
        from souron.report import answering, report

        def watch(doing: str, part: float) -> None:
            status.update(f"{doing} {part:.0%}" if part else doing)

        place = project / "data" / (Path(folder).stem or "data")
        known = answers.read(place / answers.FILE)
        found = data_check.check(folder, group, watch, window, reading_of(task)[0], perceptual.pooled, known)
        page = report.check_page(found, place / "check.html")
        if asked := found.questions:
            answers.write(place / answers.FILE, known, asked)
        travelling = [one.key for one in data_warnings.keep(found, folder, place)]
        if answer is not None:
            answering.answer(project, folder, *answered(answer, travelling))
        answer_of = quality.answers(project).get(quality.place_of(folder), {})
        if found.cases.labels is not None:
            case_table.write(page.with_name("cases.csv"), case_table.rows(found.cases))
    fitting = task or advice.task_of(type(target_of(found.cases)).__module__.rpartition(".")[2])
    if screen.json:
        print_json({**found.as_json(), "page": page, "task": fitting})
    else:
        made = console.table(_("severity"), _("found"), _("what to do"))
        for finding in found.findings:
            shown = ", ".join(finding.files[:3]) + (", ..." if len(finding.files) > 3 else "")
            made.add_row(
                units.severity(finding.severity),
                "\n".join(filter(None, (f"[{finding.key}] {finding.message}", shown))),
                quality.answered(answer_of[finding.key]) if finding.key in answer_of else finding.fix,
            )
        show(
            _("{files} files, {readable} readable").format(
                files=units.whole(found.files), readable=units.whole(len(found.cases))
            )
        )
        show(made if found.findings else _("No problem was found that would distort a result."))
        if travelling:
            note(_("Each warning stands beside every result of this data until it is mended or answered."))
        show(_("page: {path}").format(path=page))
        best = advice.advise(fitting, len(found.cases), len(set(filter(None, found.cases.group))))
        if best is not None:
            show(best.reason, shlex.join(["souron", *best.command(fix or folder)]))
    if fix:
        count = data_check.manifest(found, Path(fix))
        if not screen.json:
            show(_("{path} lists {count} cases").format(path=fix, count=units.whole(count)))
    if open:
        browse(page)
    if not found.clean:
        raise typer.Exit(3)
