"""``souron tour``: the lecture in minutes."""

from typing import Any

from souron import registry
from souron.cli import console
from souron.cli import options as cli_options
from souron.cli.app import command
from souron.cli.console import follow, print_json, screen, show
from souron.runs.options import TourOptions
from souron.utils import hardware
from souron.utils.messages import N_, _


@command(
    "tour",
    N_("See what souron can do, with ready-trained systems."),
    "souron tour\nsouron tour data=photos/ budget=30s seeds=3",
    group="start",
)
@cli_options.takes(TourOptions)
def tour(data: cli_options.Data = None, **options: Any) -> None:
    hardware.calm_allocator()
    hardware.share_cores()
    from souron.lecture import tour as touring

    given = cli_options.given({"data": data, **options})
    record = None
    for record in follow(touring.touring(**given)):
        if not screen.json:
            tell_stop(record)
    if screen.json and record is not None:
        print_json(record.as_json())


def tell_stop(record: Any) -> None:
    """One stop of the tour: in short for a run, in full for the comparison."""
    if hasattr(record, "verdicts"):
        console.comparison(record)
        return
    if hasattr(record, "drawings"):
        show(
            _("ready trained: {systems}").format(
                systems=", ".join([*record.answers, *record.drawings])
            )
            + f"  {record.folder / 'ready.html'}",
            _("What follows is trained live, for a few seconds each."),
        )
        return
    if hasattr(record, "sentences"):
        show(*record.sentences, str(record.page))
        return
    figures = ", ".join(
        f"{registry.metric(name).title} {registry.metric(name).text(found.value)}"
        for name, found in record.measures.items()
    )
    show(f"{record.system}: {figures or _('drawn')}  {record.folder / 'report.html'}")
