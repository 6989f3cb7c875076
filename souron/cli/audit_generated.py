"""``souron audit generated``: whether drawn pictures can be told from real ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from souron.cli import arguments, console
from souron.cli.console import follow, note, print_json, screen, show
from souron.utils import files, hardware, units
from souron.utils.messages import _

PLACE = Path("runs/audit")
EXAMPLE = "souron audit generated real=photos/ drawn=a/ drawn=b/"


def generated(real: str | None, others: Sequence[str], given: dict[str, Any], open: bool) -> None:
    """Without ``real`` the first of the others is the real pictures. Raises UserError."""
    names = [*([real] if real else []), *others]
    if len(names) < 2:
        raise arguments.missing("DRAWN" if names else "REAL", EXAMPLE)
    hardware.calm_allocator()
    hardware.share_cores()
    from souron.audit import generated as audits
    from souron.audit import generated_page

    [audit] = follow(audits.auditing(names[0], names[1:], **given))
    folder = files.new_folder(PLACE, f"generated-{audit.real}")
    page = generated_page.audit_page(audit, folder)
    files.write_json(folder / "audit.json", audit.as_json())
    if screen.json:
        sentences = generated_page.sentences(audit)
        print_json({**audit.as_json(), "sentence": " ".join(sentences), "page": page})
    else:
        show(*generated_page.sentences(audit), "", table(audit), "", *told(audit), "")
        show(_("page: {path}").format(path=page))
    if audit.skipped:
        note(_("{count} files could not be read").format(count=audit.skipped))
    if open:
        import webbrowser

        webbrowser.open(page.absolute().as_uri())


def table(audit: Any) -> Any:
    """A generator a line, as it is seen and unseen, of unchanged pictures."""
    from souron.audit.generated_page import change_name, figure, seen_name

    generator, detector, pictures = _("generator"), _("by the detector"), _("pictures")
    auc, one, five = _("AUC"), _("misses at 1 %"), _("misses at 5 %")
    made = console.table(generator, detector, pictures, auc, one, five, right=(auc, one, five))
    for row in audit.rows:
        first, second = row.misses.values()
        made.add_row(row.generator, seen_name(row.seen), change_name(row.change),
                     figure(row.auc, "{:.2f}"), share(first), share(second))  # fmt: skip
    return made


def share(measure: Any) -> str:
    return units.UNKNOWN if measure is None else units.percent(measure.value)


def told(audit: Any) -> list[str]:
    from souron.audit.generated_page import controls, limits

    return [*controls(audit), "", limits()]
