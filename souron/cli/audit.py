"""``souron audit NAME``: the actions that say ``within = "audit"``."""

from typing import Annotated

from typer import Argument

from souron.cli import actions
from souron.cli.app import command
from souron.utils.messages import N_, UserError, _


@command(
    "audit",
    N_("Audit a generative model: memorisation, training data, provenance, detectability."),
    group="society",
    cls=actions.Family,
)
def audit(
    name: Annotated[str, Argument(metavar="NAME", help=N_("an audit; souron audit NAME --help explains it"))],
    files: Annotated[list[str] | None, Argument(metavar="...", hidden=True)] = None,
) -> None:
    """Refuse a name that ``main`` has found no audit for."""
    raise UserError(
        "audit",
        _("there is no audit named {name!r}").format(name=name),
        expected=", ".join(actions.inside("audit")),
        fix="souron audit --help",
    )
