"""``souron fetch``: download data sets and published weights, or import them from a bundle."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from souron.cli import console, references
from souron.cli.app import command
from souron.cli.console import print_json, screen, show
from souron.cli.parsing import options
from souron.utils import units
from souron.utils.messages import N_, UserError, _


@command(
    "fetch",
    N_("Download data and weights; no other command uses the network."),
    "souron fetch --list\nsouron fetch fashion\n"
    "souron fetch starters                    (networks that answer on photographs)\n"
    "souron fetch --where\n"
    "souron fetch --bundle usb/ fashion resnet50\nsouron fetch --verify usb/\n"
    "souron fetch references answer.txt",
    group="data",
)
def fetch(
    names: Annotated[
        list[str] | None,
        Argument(metavar="[NAMES]", help=N_("what to fetch"), autocompletion=options.complete_fetchable),
    ] = None,
    every: Annotated[bool, Option("--all", help=N_("everything there is"))] = False,
    listing: Annotated[bool, Option("--list", help=N_("what can be fetched"))] = False,
    where: Annotated[bool, Option("--where", help=N_("where local files are stored"))] = False,
    bundle: Annotated[
        str | None,
        Option(metavar="DIR", help=N_("a folder to carry to another computer: the names, or all that is here")),
    ] = None,
    verify: Annotated[str | None, Option(metavar="DIR", help=N_("check such a folder by its checksums"))] = None,
    out: Annotated[str | None, Option(metavar="FILE", help=N_("where the answers about references are kept"))] = None,
    yes: Annotated[bool, Option("--yes", help=N_("references: their identifiers may leave this computer"))] = False,
) -> None:
    from souron.data import load
    from souron.hub import bundle as hub_bundle
    from souron.hub import fetch as hub_fetch

    if names and names[0] == "references":
        references.fetch(names[1:], out, yes)
        return
    if verify is not None:
        verify_bundle(Path(verify))
        return
    items, groups = hub_fetch.fetchable(), hub_fetch.groups()
    names = list(dict.fromkeys(one for name in names or [] for one in groups.get(name, [name])))
    if listing or where or not (names or every or bundle):
        shipped = load.names().keys() - items.keys()
        wanted = [hub_fetch.item(name) for name in names or items if name not in shipped]
        list_fetchable({item.name: item for item in wanted})
        return
    chosen = list(items) if every else names
    for name in chosen:
        hub_fetch.where(name)  # a wrong name, before anything is fetched
    if bundle is not None:
        hub_bundle.refuse(Path(bundle))
    fetched, troubles = {}, []
    for name in chosen:
        item, sources = hub_fetch.item(name), list[hub_fetch.Source]()
        if not screen.json and hub_fetch.where(name) is None:
            tell_licence(item)
        try:
            with console.fetching_bar(name, item.megabytes * 10**6) as progress:
                fetched[name] = hub_fetch.fetch(name, progress, sources.append)
        except UserError as trouble:
            troubles.append(trouble)
            if not screen.json:
                console.show_trouble(trouble)
        else:
            if not screen.json:
                tell_source(name, fetched[name], sources)
    made = None
    if bundle is not None and not troubles:
        with console.fetching_bar(bundle) as progress:
            made = hub_bundle.bundle(Path(bundle), chosen, progress)
    if screen.json:
        failed = [{"code": each.code, "found": each.found} for each in troubles]
        carried = {"bundle": asdict(made)} if made else {}
        print_json({"fetched": fetched, "failed": failed, **carried})
    elif made:
        show(
            _("{folder}: {names}; {files} files, {size}").format(
                folder=made.folder,
                names=", ".join(made.names),
                files=units.whole(made.files),
                size=units.size(made.bytes),
            )
        )
        show(_("on the other computer: {command}").format(command=f"SOURON_CACHE={made.folder} souron fetch --where"))
    if troubles:
        raise typer.Exit(troubles[0].exit)


def tell_licence(item: Any) -> None:
    """Print the size and the licence of what is about to be fetched, where they are known."""
    if item.licence:
        size = units.size(item.megabytes * 1e6) if item.megabytes else units.UNKNOWN
        licence = item.terms or item.licence
        show(_("{name}: {size}, licence: {licence}").format(name=item.name, size=size, licence=licence))


def tell_source(name: str, path: Path, sources: Sequence[Any]) -> None:
    """Print where something is now and the source it came from; none where it was here already."""
    show(f"{name}: {path}")
    for source in sources:
        text = _("from {source}") if not source.licence else _("from {source}, a package under {licence}")
        show(text.format(source=source.origin, licence=source.licence))


def verify_bundle(folder: Path) -> None:
    """Verify the checksums of a bundle. Exit code 3 where a file differs."""
    from souron.hub import bundle as hub_bundle

    with console.fetching_bar(str(folder)) as progress:
        files, differences = hub_bundle.verify(folder, progress)
    if screen.json:
        print_json({"files": files, "differences": [asdict(each) for each in differences]})
    elif differences:
        named = {
            "missing": _("missing"),
            "changed": _("changed"),
            "added": _("added"),
            "outside": _("leads out of the folder"),
        }
        for each in differences:
            show(f"{named[each.code]}: {each.file}")
    else:
        show(_("{files} files are as they were bundled").format(files=units.whole(files)))
    if differences:
        raise typer.Exit(3)


def list_fetchable(items: dict[str, Any]) -> None:
    from souron.hub import fetch as hub_fetch

    here = {name: hub_fetch.where(name) for name in items}
    if screen.json:
        print_json([{**item.as_json(), "where": here[name]} for name, item in items.items()])
        return
    size = _("size")
    made = console.table(_("name"), _("kind"), size, _("licence"), _("where"), right=(size,))
    for name, item in items.items():
        made.add_row(
            name,
            _("data") if item.sort == "data" else _("weights"),
            units.size(item.megabytes * 1e6) if item.megabytes else "",
            item.licence,
            str(here[name] or "–"),
        )
    show(made, "", _("fetch one: {command}").format(command="souron fetch NAME"), whole=True)
