"""A result as a document: its table as CSV and Word, its figure as PDF and PNG, with what must be read beside it.

A document holds the sentence, the caveats, and the fingerprint of the receipt that it was made from.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import souron
from souron import registry
from souron.data.display_names import called
from souron.data.quality import warnings as data_warnings
from souron.metrics.ranking import Ranking
from souron.report import verdict
from souron.report.blocks import Cell, Table
from souron.stats.records import Row, pairs_of_json
from souron.utils import plotting, units, word
from souron.utils.messages import UserError, _, language

MOST_BYTES = 2 * 10**7  # of a receipt
MOST_ROWS = 500
MOST_NOTES = 40
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute a text that begins so


@dataclass(frozen=True)
class Sheet:
    """The content of a document about one result."""

    name: str  # of its files
    title: str
    sentence: str
    tables: list[Table]
    notes: tuple[str, ...] = ()
    receipts: tuple[tuple[str, str], ...] = ()  # (run, SHA-256 of its receipt)
    made: str = ""  # the command that gives the same
    plot: Callable[[], bytes] | None = field(default=None, repr=False)


def of_folder(folder: Path) -> Sheet:
    """Return the sheet of a finished run or comparison. Raises UserError."""
    receipt, mark = _receipt(folder)
    rows = _rows(receipt)
    own = receipt.get("translated")
    translated = own.get(language()) if isinstance(own, dict) else None
    told: Mapping[str, Any] = translated if isinstance(translated, dict) else receipt
    notes = tuple(data_warnings.caveats(receipt, folder))[:MOST_NOTES]
    data = called(str(receipt.get("data") if isinstance(receipt.get("data"), str) else _name_of_data(receipt)))
    options = receipt.get("options")
    system = str(options.get("system", "")) if isinstance(options, dict) else ""
    if rows:
        return Sheet(
            folder.name,
            _("{count} systems on {data}").format(count=len(rows), data=data),
            str(told.get("sentence") or receipt.get("sentence") or ""),
            _comparison_tables(receipt, rows),
            notes,
            receipts=((folder.name, mark),),
            made=str(receipt.get("command", "")),
            plot=lambda: _intervals(rows),
        )
    measures = _measures(receipt)
    if not measures:
        raise _nothing(folder, _("its receipt holds no measures"))
    first = next(iter(measures))
    sentence = _("{measure} {value} (95 % interval {interval}) on {n} cases.").format(
        measure=registry.metric(first).title,
        value=registry.metric(first).text(measures[first]["value"]),
        interval=registry.metric(first).interval(measures[first]["low"], measures[first]["high"]),
        n=units.whole(measures[first]["n"]),
    )
    return Sheet(
        folder.name,
        _("{system} on {data}").format(system=system or folder.name, data=data),
        " ".join([sentence, *_positive(receipt)]),
        [_measure_table(measures)],
        notes,
        receipts=((folder.name, mark),),
        made=str(receipt.get("command", "")),
        plot=lambda: _intervals([_row(system or folder.name, first, measures[first])]),
    )


def _comparison_tables(receipt: Mapping[str, Any], rows: list[Row]) -> list[Table]:
    verdicts, margins = pairs_of_json(_list(receipt.get("verdicts"))[:MOST_ROWS])
    history = _list(receipt.get("margins"))
    last = _number(history[-1].get("margin")) if history and isinstance(history[-1], dict) else math.nan
    return verdict.tables(Ranking(registry.metric(rows[0].measure), rows, verdicts, margins, last))


def _measure_table(measures: Mapping[str, Mapping[str, float]]) -> Table:
    rows = [
        [
            Cell(registry.metric(name).title, name),
            Cell(registry.metric(name).text(m["value"]), m["value"]),
            Cell(registry.metric(name).interval(m["low"], m["high"]), (m["low"], m["high"])),
            Cell(units.whole(m["n"]), int(m["n"])),
        ]
        for name, m in measures.items()
    ]
    return Table([_("measure"), _("value"), _("95 % interval"), _("cases")], rows)


def _positive(receipt: Mapping[str, Any]) -> list[str]:
    """Name the positive class, which sensitivity and specificity are about; [] where there is none."""
    decision = receipt.get("decision")
    label = decision.get("positive") if isinstance(decision, dict) else None
    return [_("Positive class: {label}.").format(label=label)] if isinstance(label, str) else []


def of_pair(pair: Any) -> Sheet:
    """Return the sheet of a verdict on finished runs."""
    return Sheet(
        "-".join(name.rpartition("/")[2] for name in pair.names[:2]),
        _("{runs} on {data}").format(runs=_(", ").join(pair.names), data=pair.data),
        pair.sentence,
        pair.tables(),
        tuple(pair.notes()),
        tuple((name, _receipt(folder)[1]) for name, folder in zip(pair.names, pair.folders, strict=True)),
        pair.command,
        plot=lambda: _intervals(pair.rows),
    )


def as_csv(sheet: Sheet) -> bytes:
    """Return the tables as CSV in UTF-8; a text that a spreadsheet would compute begins with an apostrophe."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    for table in sheet.tables:
        if table.title:
            writer.writerow([])
            writer.writerow([_plain(table.title)])
        columns, rows = table.numbers()
        writer.writerow(map(_plain, columns))
        writer.writerows(map(_plain, row) for row in rows)
    writer.writerow([])
    marks = (f"{name} receipt.json SHA-256 {mark}" for name, mark in sheet.receipts)
    for text in (sheet.sentence, *sheet.notes, *marks):
        writer.writerow([_plain(text)])
    return stream.getvalue().encode("utf-8-sig", "replace")


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def as_figure(sheet: Sheet, kind: str) -> bytes:
    """Return the figure as ``"pdf"`` or ``"png"``."""
    assert sheet.plot is not None
    with plotting.pdf_pages() if kind == "pdf" else nullcontext():
        return sheet.plot()


def as_docx(sheet: Sheet) -> bytes:
    """Return a Word document: sentence, caveats, figure, tables, and the receipts' fingerprints."""
    from docx.shared import Cm

    document = word.new(sheet.title)
    word.paragraph(document, sheet.sentence, bold=True)
    if sheet.notes:
        word.heading(document, _("Read this first"))
        for note in sheet.notes:
            word.bullet(document, note)
    if sheet.plot is not None:
        document.add_picture(io.BytesIO(as_figure(sheet, "png")), width=Cm(15.5))
    for table in sheet.tables:
        if table.title:
            word.heading(document, table.title)
        word.table(document, table.columns, table.rows)
    word.heading(document, _("Receipt"))
    for name, mark in sheet.receipts:
        word.paragraph(document, f"{name}: receipt.json SHA-256 {mark}")
    if sheet.made:
        word.paragraph(document, _("The same on the command line: {command}").format(command=sheet.made))
    word.paragraph(document, _("written by souron {version}").format(version=souron.__version__))
    return word.as_bytes(document)


def _intervals(rows: Sequence[Row]) -> bytes:
    from souron.report import plots

    return plots.intervals(rows)


def _receipt(folder: Path) -> tuple[dict[str, Any], str]:
    """Return a receipt and the SHA-256 of its file. Raises UserError where there is none."""
    path = folder / "receipt.json"
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise ValueError(_("no receipt.json that souron wrote"))
        content = path.read_bytes()
        receipt = json.loads(content)
        if not isinstance(receipt, dict):
            raise ValueError(_("no receipt.json that souron wrote"))
    except (OSError, ValueError, RecursionError) as error:
        raise _nothing(folder, str(error)) from error
    return receipt, sha256(content).hexdigest()


def _nothing(folder: Path, why: str) -> UserError:
    return UserError(
        "export",
        _("{name} has no figures to export: {why}").format(name=folder.name, why=why),
        expected=_("a finished run or comparison"),
        exit=3,
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _name_of_data(receipt: Mapping[str, Any]) -> str:
    data, options = receipt.get("data"), receipt.get("options")
    if isinstance(options, dict) and options.get("data"):
        return str(options["data"])
    return str(data.get("name", "")) if isinstance(data, dict) else ""


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else math.nan


def _measures(receipt: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return name -> value, low, high, n of the measures that are numbers."""
    found = receipt.get("measures")
    made = {}
    for name, about in found.items() if isinstance(found, dict) else ():
        if isinstance(about, dict) and math.isfinite(_number(about.get("value"))):
            made[str(name)] = {end: _number(about.get(end)) for end in ("value", "low", "high")}
            n = _number(about.get("n"))
            made[str(name)]["n"] = n if math.isfinite(n) else 0
    return made


def _row(system: str, name: str, about: Mapping[str, Any], seeds: tuple[float, ...] = ()) -> Row:
    value, low, high = (_number(about.get(end)) for end in ("value", "low", "high"))
    return Row(system, name, value, low, high, 0, 0, 0, 0, seeds)


def _rows(receipt: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a comparison that hold numbers."""
    made = []
    for row in _list(receipt.get("rows"))[:MOST_ROWS]:
        if isinstance(row, dict) and math.isfinite(_number(row.get("value"))):
            seeds = tuple(filter(math.isfinite, map(_number, _list(row.get("seeds")))))
            made.append(_row(str(row.get("system")), str(row.get("measure")), row, seeds))
    return made
