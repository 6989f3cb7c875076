"""``souron export``: a trained system as a folder that others run without souron."""

from typing import Annotated

from typer import Argument, Option

from souron.cli import console
from souron.cli.app import command
from souron.cli.console import note, print_json, screen, show
from souron.cli.parsing import arguments
from souron.cli.parsing import options as cli_options
from souron.exports import formats
from souron.utils import files, hardware, units
from souron.utils.messages import N_, _


@command(
    "export",
    N_("Write a trained system as a folder that runs without souron."),
    "souron export resnet                     (as it comes ready trained)\n"
    "souron export runs/classify/cnn-digits format=onnx\n"
    "souron export runs/detect/yolo-scenes format=torch out=for_the_clinic/\n"
    "souron export runs/classify/cnn-patients cases=noise",
    group="use",
)
def export(
    run: Annotated[
        str | None,
        Argument(
            metavar="RUN|SYSTEM",
            help=N_("a run's folder, or a system that comes ready trained"),
            autocompletion=cli_options.complete_system_or_run,
        ),
    ] = None,
    model: cli_options.Model = None,
    format: Annotated[
        str, Option(metavar="|".join(files.names_in(formats)), help=N_("the format of the network (default openvino)"))
    ] = "openvino",
    out: Annotated[
        str | None, Option(metavar="FOLDER", help=N_("the new folder (default: one in RUN, or here)"))
    ] = None,
    cases: Annotated[
        str,
        Option(
            metavar="CASES",
            help=N_("what the folder keeps for its check: validation or noise; auto: never images of yours"),
        ),
    ] = "auto",
) -> None:
    name = arguments.only_one(run, model)
    if name is None:
        raise arguments.missing("RUN", "souron export resnet")
    hardware.calm_allocator()
    with screen.err.status(_("exporting")) as status:
        from souron.exports import export as exports

        tell = status.update if screen.err.is_terminal else note
        exported = exports.export(name, format, out, cases, tell)
    if screen.json:
        print_json(exported.as_json())
        return
    show(_("saved: {path}").format(path=exported.folder))
    show(
        _("the same answers as here on {count} cases: off by {worst:.1e} of the outputs' spread at most").format(
            count=exported.cases, worst=exported.max_difference
        )
    )
    table = console.table(_("file"), _("size"), right=(_("size"),))
    for file, size in exported.sizes():
        table.add_row(file, units.size(size))
    show(table)
    if exported.kept != exported.source:
        note(_("the folder keeps random cases, and none of your data; cases=validation keeps those"))
    if exported.notice:
        note(_(exported.notice))
    if exported.batch == "1":
        note(_("it takes one case at a time"))
