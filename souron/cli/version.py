"""``souron version``: print the version of souron."""

import souron
from souron.cli.app import command
from souron.cli.console import print_json, screen, show
from souron.utils import hardware
from souron.utils.messages import N_


@command("version", N_("Print the version of souron."), "souron version\nsouron version --json", group="start")
def version() -> None:
    if screen.json:
        print_json({name: hardware.installed(name) for name in hardware.PACKAGES})
    else:
        show(f"souron {souron.__version__}")
