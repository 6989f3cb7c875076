"""Commands that only show something: ``list``, ``show``, ``doctor`` and ``version``."""

import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

import souron
from souron import registry
from souron.cli import console
from souron.cli.app import command
from souron.cli.console import print_json, screen, show
from souron.cli.parsing import options
from souron.hub import doctor as hub_doctor
from souron.hub import zoo
from souron.hub.doctor import diagnosis
from souron.registry import differs, entry_as_json, status
from souron.utils import hardware, units
from souron.utils.messages import N_, UserError, _

ROWS = 40  # maximum in a table of layers


@command(
    "list",
    N_("List every system by task: year, sizes, idea."),
    "souron list\nsouron list --json\nsouron list --data",
    group="start",
)
def list_(data: Annotated[bool, Option("--data", help=N_("the data sets instead"))] = False) -> None:
    # flags only: for any other kind of parameter typer imports pydantic, and the list would wait
    if data:
        list_data()
        return
    entries = registry.entries().values()
    if screen.json:
        print_json([entry_as_json(entry) for entry in entries])
        return
    year, sizes, idea = _("year"), _("sizes"), _("idea")
    for name in dict.fromkeys(entry.task for entry in entries):
        made = console.table(_("name"), year, sizes, idea, title=name)
        made.columns[2].min_width, made.columns[2].max_width = 16, 24
        for entry in entries:
            if entry.task == name:
                text = registry.about(entry)
                if entry.status != "faithful":
                    text += f" ({status(entry)})"
                made.add_row(entry.name, str(entry.year), " ".join(entry.sizes), text)
        show(made, "")
    show(_("more on one: {command}").format(command="souron show resnet"))


def list_data() -> None:
    from souron.data import load

    entries = load.names().values()
    if screen.json:
        print_json(
            [
                {
                    "name": e.name,
                    "task": e.task,
                    "cases": e.cases,
                    "idea": {"en": e.idea, "ja": e.ja},
                    "licence": e.licence,
                    "source": e.source,
                    "where": e.where(),
                }
                for e in entries
            ]
        )
        return
    cases = _("cases")
    made = console.table(_("name"), cases, _("what it is"), _("licence"), _("here"), right=(cases,))
    for entry in entries:
        here = _("yes") if entry.where() else f"souron fetch {entry.name}"
        made.add_row(entry.name, units.whole(entry.cases), registry.about(entry), entry.licence, here)
    show(made, "", _("your own data: a folder with a sub-folder for each class, or a CSV"), whole=True)


@command(
    "show",
    N_("Explain a system: idea, paper, layers and FLOPs, or one answer."),
    "souron show resnet\nsouron show resnet50 depth=2\nsouron show vit_b16 --json\n"
    "souron show yolo picture=photo.jpg           (as it comes ready trained)\n"
    "souron show runs/detect/ssd-photos picture=photo.jpg",
    group="start",
)
def show_(
    system: options.System,
    depth: Annotated[
        int | None, Option(min=1, metavar="N", help=N_("depth of nested modules to show (default: what fits)"))
    ] = None,
    picture: Annotated[
        str | None, Option(metavar="FILE", help=N_("how a run, or what comes ready trained, sees this one"))
    ] = None,
    project: options.Project = None,
    open: options.Open = False,
) -> None:
    if picture is not None:
        explain(system or "", Path(picture), Path(project or "runs"), open)
        return
    entry, size = registry.find(system or "")
    hardware.calm_allocator()
    with screen.err.status(_("building {system} without weights").format(system=system)):
        from souron.evaluation import summary

        sizes: list[dict[str, Any]] = []
        for each in entry.sizes:
            model, seen = summary.drawn(entry, each)
            sizes.append(
                {
                    "size": each,
                    "name": registry.full_name(entry, each),
                    "parameters": summary.parameters(model),
                    "flops": summary.flops(model, seen),
                    "input": summary.describe(seen),
                }
            )
        model, seen = summary.drawn(entry, size)
        if depth is None and not screen.json:
            depth = summary.fitting(model, ROWS)
        layers = summary.structure(model, seen, depth)
    if screen.json:
        print_json(
            {
                **entry_as_json(entry),
                "ready": zoo.about(entry.name),
                "warnings": warned(entry.name),
                "sizes": sizes,
                "differs": differs(entry),
                "file": entry.file,
                "structure": {"size": size, "layers": [asdict(layer) for layer in layers]},
            }
        )
        return
    show(console.pairs(described(entry)), "")
    parameters, operations = _("parameters"), _("FLOPs")
    made = console.table(
        _("name"), parameters, operations, _("input"), title=_("Sizes"), right=(parameters, operations)
    )
    for row in sizes:
        made.add_row(row["name"], units.whole(row["parameters"]), units.operations(row["flops"]), shape(row["input"]))
    show(made, "")
    title = _("Structure of {name}").format(name=registry.full_name(entry, size))
    made = console.table(_("layer"), _("type"), _("output"), parameters, title=title, right=(parameters,))
    for layer in layers:
        made.add_row(
            layer.name or entry.name,
            layer.type,
            shape(layer.shape),
            units.whole(layer.parameters) if layer.parameters else "",
        )
    show(made)
    for title, known in told_to(type(model)):
        show("", title, console.pairs(known))
    assert depth is not None
    if depth < summary.deepest(model):
        deeper = f"souron show {system} depth={depth + 1}"
        show("", _("more layers: {command}").format(command=deeper))


def told_to(kind: Any) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield a heading, and the options of predicting and of generating with their explanations."""
    from souron.kinds import signature

    asked = signature.signature(kind)
    if asked and (known := asked.options | asked.reading):
        title = _("Options of its predictions (souron predict):")
        yield title, options.with_help(known)
    drawing = signature.options_of(kind.drawing) if hasattr(kind, "drawing") else {}
    if drawing:
        yield _("Options of its generation (souron generate):"), options.with_help(drawing)


def explain(name: str, file: Path, project: Path, open: bool) -> None:
    """Write a page on the steps from an image to the answer, and print its path."""
    hardware.calm_allocator()
    with screen.err.status(_("loading {name}").format(name=name)):
        from souron import model as models_api
        from souron.kinds.picture import Picture
        from souron.report import steps

        loaded = models_api.load(name)
        page = None
        if loaded.asked.given is Picture:
            page = steps.explained(loaded.system, Path(name).name, Picture.read(file), project)
    if page is None:
        raise UserError(
            "no steps",
            _("{system} does not show how it reaches an answer").format(system=name),
            expected=_("a system that finds boxes, masks, areas or points in images"),
            fix=f"souron show yolo picture={file}",
            exit=2,
        )
    print_json({"page": page}) if screen.json else show(_("page: {path}").format(path=page))
    if open:
        webbrowser.open(page.absolute().as_uri())


def described(entry: registry.Entry) -> list[tuple[str, str]]:
    rows = [
        (entry.name, registry.about(entry)),
        (_("paper"), entry.paper),
        ("", entry.url),
        (_("year"), str(entry.year)),
        (_("task"), entry.task),
        (_("status"), status(entry)),
        (_("differs"), differs(entry)),
        (_("ready"), zoo.about(entry.name)),
        *(("", text) for text in warned(entry.name)),
        (_("file"), str(entry.file)),
    ]
    return [(name, text) for name, text in rows if text]


def warned(name: str) -> list[str]:
    """Return the known weaknesses of a ready-trained system."""
    folder = zoo.where(name)
    return [] if folder is None else zoo.weaknesses(folder)


def shape(sides: Sequence[int] | None) -> str:
    return "" if sides is None else " × ".join(map(str, sides)) or "1"


@command(
    "doctor",
    N_("Check this computer: processor, memory, disk, data, weights."),
    "souron doctor\nsouron doctor --json",
    group="start",
)
def doctor(project: options.Project = None) -> None:
    with screen.err.status(_("looking at this machine")):
        found = hub_doctor.diagnose(Path(project or "runs"))
    if screen.json:
        print_json(found)
    else:
        show(console.pairs(diagnosis(found)), "")
        for text in found["troubles"]:
            console.warn(text)
        if found["usable"]:
            show(_("souron can work here; begin with: {command}").format(command="souron tour"))
    if not found["usable"]:
        raise typer.Exit(4)


@command("version", N_("Print the version of souron."), "souron version\nsouron version --json", group="start")
def version() -> None:
    if screen.json:
        print_json({name: hardware.installed(name) for name in hardware.PACKAGES})
    else:
        show(f"souron {souron.__version__}")
