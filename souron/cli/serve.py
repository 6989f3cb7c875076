"""``souron serve``: serve predictions over HTTP."""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from souron.cli import console
from souron.cli.app import command
from souron.cli.console import note, print_json, screen, show
from souron.cli.parsing import arguments
from souron.cli.parsing import options as cli_options
from souron.inference import modes
from souron.kinds.signature import only_one
from souron.utils import hardware
from souron.utils.messages import N_, _


@command(
    "serve",
    N_("Answer programs over HTTP, as souron predict answers you."),
    "souron serve runs/classify/resnet-photos\n"
    "souron serve resnet50 pretrained=true port=8080\n"
    "souron serve runs/classify/resnet-photos host=0.0.0.0 limit=100\n"
    "souron serve smollm2 filter=both withheld=withheld.jsonl",
    group="use",
)
def serve(
    system: Annotated[
        str | None,
        Argument(
            metavar="RUN|SYSTEM",
            help=N_("a run's folder, or a system: ready trained, or with pretrained=true"),
            autocompletion=cli_options.complete_system_or_run,
        ),
    ] = None,
    model: cli_options.Model = None,
    pretrained: Annotated[bool, Option("--pretrained", help=N_("use the system's published weights"))] = False,
    host: Annotated[
        str,
        Option(
            metavar="ADDRESS", help=N_("default 127.0.0.1: this computer alone; others need the token that is shown")
        ),
    ] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, metavar="N", help=N_("default 8000; 0: any"))] = 8000,
    workers: cli_options.Workers = None,
    batch: Annotated[int | None, Option(min=1, metavar="N", help=N_("cases in one forward pass (default 32)"))] = None,
    timeout: Annotated[
        float | None,
        Option(min=0.1, metavar="S", help=N_("seconds for a request to arrive, and for its answer (default 30)")),
    ] = None,
    limit: Annotated[int | None, Option(min=1, metavar="MB", help=N_("the largest file, in MB (default 20)"))] = None,
    fast: cli_options.Fast = None,
    engine: cli_options.Engine = None,
    filter: cli_options.Filter = "",
    lexicon: cli_options.Lexicon = None,
    withheld: Annotated[
        str | None, Option(metavar="FILE", help=N_("a new file for the sentences that filter= withholds"))
    ] = None,
) -> None:
    name = only_one(system, model)
    if name is None:
        raise arguments.missing("RUN|SYSTEM", "souron serve runs/classify/resnet-photos")
    mode = modes.chosen_mode(fast)
    hardware.calm_allocator()
    hardware.use_cores(workers)
    with screen.err.status(_("loading {name}").format(name=name)):
        from souron import model as models_api
        from souron.hub import zoo
        from souron.serve import server
        from souron.serve.service import Limits, Service

        limits: dict[str, Any] = {"batch": batch, "seconds": timeout, "file": limit and limit * 1_000_000}
        from souron.evaluation.harmful import filters

        filtered = filters.named(filter, lexicon, Path(withheld) if withheld else None)
        with console.warning_lines():
            loaded = models_api.load(name, pretrained, engine=engine)
        for text in zoo.weaknesses(loaded.folder) if loaded.folder else ():
            console.warn(f"{name}: {text}")
        limited = Limits(**{name: value for name, value in limits.items() if value is not None})
        service = Service(loaded.hasten(mode, notice=note), limited, filtered)
    server.serve(service, host, port, tell_address)


def tell_address(addresses: list[str], token: str) -> None:
    """Print the addresses of a server, once it answers."""
    if screen.json:
        print_json({"addresses": addresses, "token": token})
        return
    for address in addresses:
        show(address + (f"?token={token}" if token else ""))
    if token:
        show(_("programs send: {header}").format(header=f"Authorization: Bearer {token}"))
    note(_("Ctrl-C ends it, once what it has accepted is answered"))
