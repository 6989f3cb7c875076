"""``souron audit memorisation``: whether a generator copies its training pictures."""

from collections.abc import Sequence
from typing import Any

from souron.cli import arguments, console
from souron.cli.console import follow, note, print_json, screen, show
from souron.utils import hardware
from souron.utils.messages import _

OPTIONS = ("n", "seed", "device")
PAIRS = 8  # that are printed


def audit(files: Sequence[str], open: bool, **given: Any) -> None:
    """Raises UserError."""
    folder = arguments.one_run(files, "souron audit memorisation")
    hardware.calm_allocator()
    hardware.share_cores()
    from souron.audit import memorization
    from souron.audit import page as audit_page

    [found] = follow(memorization.auditing(folder, **given))
    replaced = (found.place / audit_page.NAME).exists()
    page = audit_page.audit_page(found)
    if replaced:
        note(_("the page of an earlier audit was replaced"))
    if screen.json:
        told = {"sentence": memorization.sentence(found), "page": page, "replaced": replaced}
        print_json({**found.as_json(), **told})
    else:
        show(memorization.sentence(found), "", ways(found), "", nearest(found), "")
        show(_("page: {path}").format(path=page))
    if open:
        import webbrowser

        webbrowser.open(page.absolute().as_uri())


def ways(found: Any) -> Any:
    """Each distance, and what it found."""
    from souron.audit.page import space_name

    limit, drawn, real = _("too near from"), _("generated, too near"), _("real, too near")
    made = console.table(_("distance by"), limit, drawn, real, right=(limit, drawn, real))
    for one in found.found:
        made.add_row(
            space_name(one.space.name), f"{one.threshold:.2f}",
            f"{int(one.flagged.sum())} / {found.samples}",
            f"{int(one.real.sum())} / {len(one.real)}",
        )  # fmt: skip
    return made


def nearest(found: Any) -> Any:
    from souron.audit.page import space_name

    number, ratio, distance = _("generated image"), _("ratio"), _("distance")
    made = console.table(
        number, _("nearest training image"), _("by"), distance, ratio, "",
        title=_("The nearest pairs"), right=(number, distance, ratio),
    )  # fmt: skip
    for pair in found.pairs[:PAIRS]:
        told = [*([_("too near")] if pair.flagged else []), *([pair.change] if pair.change else [])]
        made.add_row(
            str(pair.picture), pair.file, space_name(pair.space), f"{pair.distance:.2f}",
            f"{pair.ratio:.2f}", ", ".join(told),
        )  # fmt: skip
    return made
