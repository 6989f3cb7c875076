"""``souron audit generated``: whether drawn pictures can be told from real ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from souron.cli import arguments, console
from souron.cli.console import follow, note, print_json, screen, show
from souron.utils import hardware, units
from souron.utils.messages import _

OPTIONS = ("real", "drawn", "n", "seed", "device")
EXAMPLE = "souron audit generated real=photos/ drawn=a/ drawn=b/"


def audit(
    files: Sequence[str],
    open: bool,
    real: str | None = None,
    drawn: Sequence[str] = (),
    **given: Any,
) -> None:
    """Without ``real`` the first of the files is the real pictures. Raises UserError."""
    names = [*([real] if real else []), *files, *drawn]
    if len(names) < 2:
        raise arguments.missing("DRAWN" if names else "REAL", EXAMPLE)
    hardware.calm_allocator()
    hardware.share_cores()
    from souron.audit import generated as audits
    from souron.audit import generated_page

    [found] = follow(audits.auditing(names[0], names[1:], **given))
    page = generated_page.write_report(found, Path("runs"))
    if screen.json:
        sentences = generated_page.sentences(found)
        print_json({**found.as_json(), "sentence": " ".join(sentences), "page": page})
    else:
        show(*generated_page.sentences(found), "", table(found), "", *told(found), "")
        show(_("page: {path}").format(path=page))
    if found.skipped:
        note(_("{count} files could not be read").format(count=found.skipped))
    if open:
        import webbrowser

        webbrowser.open(page.absolute().as_uri())


def table(found: Any) -> Any:
    """A generator a line, as it is seen and unseen, of unchanged pictures."""
    from souron.audit.generated_page import change_name, figure, seen_name

    generator, detector, pictures = _("generator"), _("by the detector"), _("pictures")
    auc, one, five = _("AUC"), _("misses at 1 %"), _("misses at 5 %")
    made = console.table(generator, detector, pictures, auc, one, five, right=(auc, one, five))
    for row in found.rows:
        first, second = row.misses.values()
        made.add_row(row.generator, seen_name(row.seen), change_name(row.change),
                     figure(row.auc, "{:.2f}"), share(first), share(second))  # fmt: skip
    return made


def share(measure: Any) -> str:
    return units.UNKNOWN if measure is None else units.percent(measure.value)


def told(found: Any) -> list[str]:
    from souron.audit.generated_page import controls, limits

    return [*controls(found), "", limits()]
