"""The commands that only look: ``list``, ``show``, ``data``, ``fetch`` and ``doctor``."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from souron import finding, machine, options, parsing, showing
from souron.reporting import units
from souron.showing import print_json, screen, show
from souron.speaking import N_, Trouble, _

ROWS = 40  # of a structure table, at most


def list_(
    data: Annotated[bool, Option("--data", help=N_("the data sets instead"))] = False,
) -> None:
    # flags only: for any other kind of parameter typer imports pydantic, and the list would wait
    if data:
        list_data()
        return
    entries = finding.entries().values()
    if screen.json:
        print_json([as_json(entry) for entry in entries])
        return
    year, sizes, idea = _("year"), _("sizes"), _("idea")
    for name in dict.fromkeys(entry.task for entry in entries):
        made = showing.table(_("name"), year, sizes, idea, title=name)
        made.columns[2].min_width, made.columns[2].max_width = 16, 24
        for entry in entries:
            if entry.task == name:
                text = options.about(entry)
                if entry.status != "faithful":
                    text += f" ({status(entry)})"
                made.add_row(entry.name, str(entry.year), " ".join(entry.sizes), text)
        show(made, "")
    show(_("more on one: {command}").format(command="souron show resnet"))


def list_data() -> None:
    from souron.data import loading

    entries = loading.names().values()
    if screen.json:
        print_json([
            {"name": e.name, "task": e.task, "cases": e.cases, "idea": {"en": e.idea, "ja": e.ja},
             "licence": e.licence, "source": e.source, "where": e.where()}
            for e in entries
        ])  # fmt: skip
        return
    cases = _("cases")
    made = showing.table(_("name"), cases, _("what it is"), _("licence"), _("here"), right=(cases,))
    for entry in entries:
        here = _("yes") if entry.where() else f"souron fetch {entry.name}"
        made.add_row(
            entry.name, units.whole(entry.cases), options.about(entry), entry.licence, here
        )  # fmt: skip
    show(made, "", _("your own data: a folder with a sub-folder for each class, or a CSV"))


def status(entry: finding.Entry) -> str:
    return {
        "faithful": _("faithful"),
        "reduced": _("reduced"),
        "pretrained": _("pretrained"),
    }[entry.status]


def as_json(entry: finding.Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "task": entry.task,
        "year": entry.year,
        "paper": entry.paper,
        "url": entry.url,
        "idea": {"en": entry.idea, "ja": entry.ja},
        "sizes": list(entry.sizes),
        "status": entry.status,
    }


def show_(
    system: options.System,
    depth: Annotated[
        int | None,
        Option(min=1, metavar="N", help=N_("levels of parts within parts; what fits if not said")),
    ] = None,
) -> None:
    entry, size = finding.split(system or "")
    machine.calm_allocator()
    machine.share_cores()
    with screen.err.status(_("building {system} without numbers").format(system=system)):
        from souron import structure

        sizes: list[dict[str, Any]] = []
        for each in entry.sizes:
            model, seen = drawn(structure, entry, each)
            sizes.append({
                "size": each,
                "name": finding.spell(entry, each),
                "parameters": structure.parameters(model),
                "flops": structure.flops(model, seen),
                "input": structure.describe(seen),
            })  # fmt: skip
        model, seen = drawn(structure, entry, size)
        if depth is None and not screen.json:
            depth = structure.fitting(model, ROWS)
        layers = structure.structure(model, seen, depth)
    if screen.json:
        print_json({
            **as_json(entry), "sizes": sizes, "differs": differs(entry), "file": entry.file,
            "structure": {"size": size, "layers": [asdict(layer) for layer in layers]},
        })  # fmt: skip
        return
    show(showing.pairs(described(entry)), "")
    parameters, operations = _("parameters"), _("FLOPs")
    made = showing.table(
        _("name"), parameters, operations, _("input"), title=_("Sizes"),
        right=(parameters, operations),
    )  # fmt: skip
    for row in sizes:
        made.add_row(
            row["name"], units.whole(row["parameters"]), units.operations(row["flops"]),
            shape(row["input"]),
        )  # fmt: skip
    show(made, "")
    title = _("Structure of {name}").format(name=finding.spell(entry, size))
    made = showing.table(
        _("layer"), _("type"), _("gives out"), parameters, title=title, right=(parameters,)
    )
    for layer in layers:
        made.add_row(layer.name or entry.name, layer.type, shape(layer.shape),
                     units.whole(layer.parameters) if layer.parameters else "")  # fmt: skip
    show(made)
    for title, known in told_to(type(model)):
        show("", title, showing.pairs([(_option(each), _(each.choice.help)) for each in known]))
    assert depth is not None
    if depth < structure.deepest(model):
        deeper = f"souron show {system} depth={depth + 1}"
        show("", _("more layers: {command}").format(command=deeper))


def told_to(kind: Any) -> Iterator[tuple[str, list[Any]]]:
    """What that system can be told when it is used, with a heading."""
    from souron import asking

    asked = asking.ask(kind)
    if asked and asked.options:
        title = _("What its answering can be told (souron predict):")
        yield title, list(asked.options.values())
    drawing = asking.options_of(kind.drawing) if hasattr(kind, "drawing") else {}
    if drawing:
        yield _("What its drawing can be told (souron generate):"), list(drawing.values())


def _option(option: Any) -> str:
    """``steps=15 (1..1000)``"""
    default = "FILE" if option.default is None else option.default
    allowed = f" ({option.allowed})" if option.allowed else ""
    return f"{option.name}={default}{allowed}"


def drawn(structure: Any, entry: finding.Entry, size: str) -> tuple[Any, Any]:
    kind, config = finding.system(finding.spell(entry, size))
    seen = structure.reference(entry, size)
    return structure.blueprint(kind, config, seen), seen


def described(entry: finding.Entry) -> list[tuple[str, str]]:
    rows = [
        (entry.name, options.about(entry)),
        (_("paper"), entry.paper),
        ("", entry.url),
        (_("year"), str(entry.year)),
        (_("task"), entry.task),
        (_("status"), status(entry)),
        (_("differs"), differs(entry)),
        (_("file"), str(entry.file)),
    ]
    return [(name, text) for name, text in rows if text]


def differs(entry: finding.Entry) -> str:
    """The paragraph of a system's docstring that begins "Differs from the paper"."""
    found = re.search(r"Differs from the paper[,:]?\s*(.*?)(\n\s*\n|\Z)", entry.about, re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def shape(sides: Sequence[int] | None) -> str:
    return "" if sides is None else " × ".join(map(str, sides)) or "1"


def data_(
    data: Annotated[
        str,
        Argument(
            metavar="DATA",
            help=N_("a data set's name, a folder, or a CSV; or: check FOLDER; or: anonymise FOLDER "
                    "OUT"),
            autocompletion=options.complete_data,
        ),
    ],
    folder: Annotated[
        str | None,
        Argument(metavar="[FOLDER]", help=N_("the folder or CSV to check or anonymise")),
    ] = None,
    out: Annotated[
        str | None,
        Argument(metavar="[OUT]", help=N_("a new folder for the DICOM files without names")),
    ] = None,
    imgsz: options.Side = None,
    group: options.Group = None,
    window: options.Window = None,
    fix: Annotated[
        str | None,
        Option(metavar="CSV", help=N_("after check: a new table without broken files and copies")),
    ] = None,
    project: options.Project = None,
    open: options.Open = False,
) -> None:  # fmt: skip
    machine.calm_allocator()
    machine.share_cores()
    if data == "anonymise":
        anonymise(folder, out)
        return
    if data == "check" and out is None:
        check(folder, group, window, fix, Path(project or "runs"), open)
        return
    if folder is not None:
        raise Trouble(
            "option",
            _("one thing too many: {name}").format(name=out or folder),
            expected=_("a data set, or: check FOLDER"),
            fix=f"souron data check {folder}",
        )
    with screen.err.status(_("reading data")) as status:
        from souron.data import anonymising, loading
        from souron.reporting import report

        def told(done: int, total: int) -> None:
            status.update(f"{_('reading data')} {done / total:.0%}")

        cases = loading.load(data, imgsz, group, window, progress=told)
        held = anonymising.held(cases)
        place = Path(project or "runs") / "data" / (Path(data).stem or "data")
        page = report.data_page(cases, place)
    count = Counter(cases.label.tolist())
    labels = {label: count[i] for i, label in enumerate(cases.labels)}
    parts = {part or "-": n for part, n in Counter(cases.part).items()}
    if screen.json:
        print_json({
            "data": data, "cases": len(cases), "labels": labels, "parts": parts,
            "channels": cases.channels, "side": cases.side, "groups": len(set(cases.group)),
            "skipped": [asdict(skipped) for skipped in cases.skipped],
            "source": cases.source, "licence": cases.licence, "page": page, "identifying": held,
        })  # fmt: skip
    else:
        rows = [
            (_("data"), cases.name),
            (_("cases"), units.whole(len(cases))),
            (_("pictures"), shape((cases.channels, cases.side, cases.side))),
            (_("parts"), ", ".join(f"{part} {units.whole(n)}" for part, n in parts.items())),
            (
                _("groups"),
                _("{count} ({how})").format(
                    count=units.whole(len(set(cases.group))), how=cases.grouped
                )
                if cases.group
                else "",
            ),
            (_("licence"), cases.licence),
            (_("source"), cases.source),
            (_("identifying"), counted(held)),
        ]
        show(showing.pairs([row for row in rows if row[1]]), "", showing.bars(labels), "")
        showing.skipped_files(cases.skipped)
        show(_("page: {path}").format(path=page))
        if held:
            place = Path(data)
            command = f"souron data anonymise {place.parent if place.is_file() else data} OUT"
            show(_("a copy without what identifies: {command}").format(command=command))
    if open:
        browse(page)


def counted(files: Mapping[str, int]) -> str:
    """``PatientName 3, PatientID 3``: attributes of DICOM, and how many files hold them."""
    return ", ".join(f"{keyword} {units.whole(count)}" for keyword, count in sorted(files.items()))


def anonymise(folder: str | None, out: str | None) -> None:
    """A copy of a folder's DICOM files without what identifies. Exit code 3 without any."""
    if folder is None or out is None:
        missing = "OUT" if folder else "FOLDER"
        raise parsing.missing(missing, "souron data anonymise scans/ scans-without-names/")
    with screen.err.status(_("reading data")) as status:
        from souron.data import anonymising

        def watch(done: int, total: int) -> None:
            status.update(f"{done}/{total}")

        found = anonymising.anonymise(Path(folder), Path(out), watch)
    if screen.json:
        print_json({
            "out": out, "files": found.files, "removed": found.removed, "folders": found.folders,
            "skipped": [asdict(skipped) for skipped in found.skipped], "left_out": found.others,
            "tables": found.tables,
            "burned_in": {"said": found.said_burned_in, "likely": found.likely_burned_in},
        })  # fmt: skip
    else:
        rows = [
            (_("written"), _("{count} files in {out}").format(
                count=units.whole(found.files), out=out)),
            (_("removed"), counted(found.removed)),
            (_("left out"), _("{count} files that are not DICOM").format(
                count=units.whole(found.others)) if found.others else ""),
            (_("tables"), _("{count} with file, label, patient and part; other columns are left "
                            "out").format(count=units.whole(found.tables)) if found.tables else ""),
            (_("folders"), ", ".join(found.folders)),
        ]  # fmt: skip
        show(showing.pairs([row for row in rows if row[1]]), "")
        showing.skipped_files(found.skipped)
        for text in warnings(found):
            showing.warn(text)
    if not found.files:
        raise typer.Exit(3)


def warnings(found: Any) -> list[str]:
    """What an anonymised copy may still tell."""
    from souron.data import anonymising

    told = []
    if found.said_burned_in:
        told.append(_("{count} files say that there is text in the picture; it stays").format(
            count=units.whole(found.said_burned_in)))  # fmt: skip
    if found.likely_burned_in:
        told.append(_(
            "{count} files are of kinds that often have text in the picture (ultrasound, photos, "
            "captured screens); it stays: look at them").format(
                count=units.whole(found.likely_burned_in)))  # fmt: skip
    if found.folders:
        told.append(_("the folders kept their names: see that they name no one"))
    if found.files:
        told.append(_(
            "a PatientID became a pseudonym, made with the secret in {file}: keep it, and keep it "
            "out of the copy").format(file=anonymising.secret_file()))  # fmt: skip
    if found.tables:
        told.append(_("the labels are as they were: see that they name no one"))
    return told


def browse(page: Path) -> None:
    import webbrowser

    webbrowser.open(page.absolute().as_uri())


def check(
    folder: str | None,
    group: str | None,
    window: str | None,
    fix: str | None,
    project: Path,
    open: bool,
) -> None:
    """The doctor of data. Exit code 3 where findings of severity "error" stand."""
    if folder is None:
        raise parsing.missing("FOLDER", "souron data check photos/")
    with screen.err.status(_("reading data")) as status:
        from souron.data import checking
        from souron.reporting import report

        def watch(doing: str, part: float) -> None:
            status.update(f"{doing} {part:.0%}" if part else doing)

        found = checking.check(folder, group, watch, window)
        page = report.check_page(
            found, project / "data" / (Path(folder).stem or "data") / "check.html"
        )
    if screen.json:
        print_json({**found.as_json(), "page": page})
    else:
        made = showing.table(_("severity"), _("found"), _("what to do"))
        for finding in found.findings:
            shown = ", ".join(finding.files[:3]) + (", ..." if len(finding.files) > 3 else "")
            made.add_row(
                units.severity(finding.severity),
                "\n".join(filter(None, (f"[{finding.code}] {finding.message}", shown))),
                finding.fix,
            )
        show(_("{files} files, {readable} readable").format(
            files=units.whole(found.files), readable=units.whole(len(found.cases))))  # fmt: skip
        show(made if found.findings else _("Nothing was found that would spoil a result."))
        show(_("page: {path}").format(path=page))
    if fix:
        count = checking.manifest(found, Path(fix))
        if not screen.json:
            show(_("{path} lists {count} cases").format(path=fix, count=units.whole(count)))
    if open:
        browse(page)
    if not found.clean:
        raise typer.Exit(3)


def fetch(
    names: Annotated[
        list[str] | None,
        Argument(
            metavar="[NAMES]", help=N_("what to fetch"), autocompletion=options.complete_fetchable
        ),
    ] = None,
    every: Annotated[bool, Option("--all", help=N_("everything there is"))] = False,
    listing: Annotated[bool, Option("--list", help=N_("what can be fetched"))] = False,
    where: Annotated[bool, Option("--where", help=N_("where what is here lies"))] = False,
    bundle: Annotated[
        str | None,
        Option(metavar="DIR", help=N_("a folder to carry away: the names, or all that is here")),
    ] = None,
    verify: Annotated[
        str | None, Option(metavar="DIR", help=N_("check such a folder by its checksums"))
    ] = None,
) -> None:  # fmt: skip
    from souron import bundling, fetching

    if verify is not None:
        verify_bundle(Path(verify))
        return
    items = fetching.fetchable()
    if listing or where or not (names or every or bundle):
        list_fetchable({name: items[name] for name in names or items if name in items})
        return
    wanted = list(items) if every else names or []
    for name in wanted:
        fetching.where(name)  # a wrong name, before anything is fetched
    if bundle is not None:
        bundling.refuse(Path(bundle))
    fetched, troubles = {}, []
    for name in wanted:
        try:
            with showing.fetching_bar(name) as progress:
                fetched[name] = fetching.fetch(name, progress)
        except Trouble as trouble:
            troubles.append(trouble)
            if not screen.json:
                showing.show_trouble(trouble)
        else:
            if not screen.json:
                show(f"{name}: {fetched[name]}")
    made = None
    if bundle is not None and not troubles:
        with showing.fetching_bar(bundle) as progress:
            made = bundling.bundle(Path(bundle), wanted, progress)
    if screen.json:
        failed = [{"code": each.code, "found": each.found} for each in troubles]
        carried = {"bundle": asdict(made)} if made else {}
        print_json({"fetched": fetched, "failed": failed, **carried})
    elif made:
        show(_("{folder}: {names}; {files} files, {size}").format(
            folder=made.folder, names=", ".join(made.names), files=units.whole(made.files),
            size=units.size(made.bytes)))  # fmt: skip
        show(_("on the other computer: {command}").format(
            command=f"SOURON_CACHE={made.folder} souron fetch --where"))  # fmt: skip
    if troubles:
        raise typer.Exit(troubles[0].exit)


def verify_bundle(folder: Path) -> None:
    """Exit code 3 where a file differs from what its checksum says."""
    from souron import bundling

    with showing.fetching_bar(str(folder)) as progress:
        files, differences = bundling.verify(folder, progress)
    if screen.json:
        print_json({"files": files, "differences": [asdict(each) for each in differences]})
    elif differences:
        named = {"missing": _("missing"), "changed": _("changed"), "added": _("added"),
                 "outside": _("leads out of the folder")}  # fmt: skip
        for each in differences:
            show(f"{named[each.code]}: {each.file}")
    else:
        show(_("{files} files are as they were bundled").format(files=units.whole(files)))
    if differences:
        raise typer.Exit(3)


def list_fetchable(items: dict[str, Any]) -> None:
    from souron import fetching

    here = {name: fetching.where(name) for name in items}
    if screen.json:
        print_json([{**asdict(item), "where": here[name]} for name, item in items.items()])
        return
    size = _("size")
    made = showing.table(_("name"), _("kind"), size, _("licence"), _("where"), right=(size,))
    for name, item in items.items():
        made.add_row(
            name,
            _("data") if item.sort == "data" else _("weights"),
            units.size(item.megabytes * 1e6) if item.megabytes else "",
            item.licence,
            str(here[name] or "–"),
        )
    show(made, "", _("fetch one: {command}").format(command="souron fetch NAME"))


def doctor(project: options.Project = None) -> None:
    with screen.err.status(_("looking at this machine")):
        found = machine.checkup(Path(project or "runs"))
    if screen.json:
        print_json(found)
    else:
        show(showing.pairs(diagnosis(found)), "")
        for text in found["troubles"]:
            showing.warn(text)
        if found["usable"]:
            show(_("souron can work here; begin with: {command}").format(command="souron tour"))
    if not found["usable"]:
        raise typer.Exit(4)


def diagnosis(found: dict[str, Any]) -> list[tuple[str, str]]:
    """A checkup in words."""
    packages = {name: number or _("missing") for name, number in found["packages"].items()}
    here = [name for name, place in found["data"].items() if place]
    away = [name for name, place in found["data"].items() if not place]
    return [
        ("souron", packages.pop("souron")),
        (_("versions"), ", ".join(
            [f"Python {found['python']}", *(f"{n} {v}" for n, v in packages.items())])),
        (_("platform"), found["platform"]),
        (_("processor"), _("{name}; cores: {cores}, threads: {threads}").format(
            name=found["processor"], cores=found["cores"], threads=found["threads"])),
        (_("numbers"), _("bfloat16 where it is safe: this processor is made for it")
            if found["bf16"] else _("float32: this processor has no fast bfloat16")),
        (_("devices"), ", ".join(found["devices"])),
        (_("memory"), _("{total}, {free} free").format(
            total=units.size(found["memory"]), free=units.size(found["memory_free"]))),
        (_("run folder"), _("{folder}, {free} free").format(
            folder=found["folder"], free=units.size(found["disk_free"]))),
        (_("Japanese"), found["japanese_font"] or _(
            "no Japanese font: pictures show boxes; try: pip install matplotlib-fontja")),
        (_("network"), _("forbidden by SOURON_OFFLINE") if found["offline"] else _(
            "used by souron fetch alone")),
        (_("data here"), " ".join(here)),
        (_("data to fetch"), " ".join(away)),
        (_("weights here"), " ".join(found["can_predict"]) or _("none; see souron fetch --list")),
        (_("can train"), " ".join(found["can_train"])),
    ]  # fmt: skip
