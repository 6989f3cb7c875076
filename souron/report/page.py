"""Parts of every page: one HTML file with its images embedded, nothing loaded from elsewhere."""

import base64
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape
from PIL import Image
from torch import Tensor

import souron
from souron import registry
from souron.data import load
from souron.data.dataset import Dataset, Skipped
from souron.data.display_names import called
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.kinds.codecs import animation
from souron.kinds.codecs.image import as_image
from souron.report.blocks import REPORT, Block, Cell, Plot, Table, Tile
from souron.report.blocks import Fact as Fact
from souron.stats.records import Measure
from souron.training.budget import HERE, split_host
from souron.utils import files, plotting, units
from souron.utils.messages import LANGUAGE_NAMES, LANGUAGES, _, again, language, use_language

if TYPE_CHECKING:
    from jinja2 import Environment

SMALL_TEST = 100  # cases; fewer give wide intervals
GAP = 8  # pixels between images side by side
MOST_ITEMS = 12  # of a list in a receipt, such as label names


def plot(drawn: bytes, alt: str, caption: str = "") -> Plot:
    with Image.open(io.BytesIO(drawn)) as image:
        wide = image.width
    return Plot(plotting.uri(drawn), alt, round(wide * 96 / plotting.DOTS), caption)


def embedded(drawn: Image.Image, words: str) -> Plot:
    """Embed a photograph in the page as JPEG."""
    stream = io.BytesIO()
    drawn.save(stream, "JPEG", quality=88)
    uri = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
    return Plot(uri, words, min(drawn.width, 1100))


def side_by_side(panes: Sequence[Image.Image]) -> Image.Image:
    """Return images of one size as one."""
    wide, high = panes[0].size
    whole = Image.new("RGB", (len(panes) * (wide + GAP) - GAP, high), "white")
    for place, pane in enumerate(panes):
        whole.paste(pane, (place * (wide + GAP), 0))
    return whole


def joined(panes: Sequence[Image.Image], words: str) -> Plot:
    """Embed images of one size side by side."""
    return embedded(side_by_side(panes), words)


def spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` of the numbers below ``count``, evenly spaced.

    >>> spread(9, 3)
    [0, 4, 8]
    """
    return np.linspace(0, count - 1, min(most, count)).astype(int).tolist()


def tile(image: Tensor | Image.Image, alt: str, lines: Sequence[str] = (), file: str = "", *, most: int = 128) -> Tile:
    """Make a tile of an image: a tensor (C, H, W) uint8, or a PIL image, of ``most`` pixels a side."""
    shown = image if isinstance(image, Image.Image) else as_image(image)
    return Tile(animation.thumbnail(shown, most), alt, max(shown.size), tuple(lines), file)


def flat(thing: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested dicts to rows such as ``machine · cores``, ``2``, without empty values."""
    if isinstance(thing, Mapping):
        for key, value in thing.items():
            yield from flat(value, f"{name} · {key}" if name else str(key))
    elif isinstance(thing, list | tuple):
        more = len(thing) - MOST_ITEMS
        shown = ", ".join(str(item) for item in thing[:MOST_ITEMS])
        yield name, f"{shown}, … (+{more})" if more > 0 else shown
    elif thing not in (None, ""):
        kind = name.rpartition(" ")[2]
        if kind in ("memory", "memory_free", "bytes") and isinstance(thing, int):
            yield name, units.size(thing)
        elif kind == "seconds" and isinstance(thing, float):
            yield name, units.seconds(thing)
        else:
            yield name, str(thing)


def receipt(record: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return a receipt's parts, each with its rows; the command is a part of its own."""
    titles = {
        "data": _("Data"),
        "machine": _("Machine"),
        "forecast": _("Forecast"),
        "outcome": _("Outcome"),
        "options": _("Options"),
    }
    order = [*(key for key in titles if key in record), *(key for key in record if key not in titles)]
    return [
        (titles.get(key, key), list(flat(record[key], "" if key in titles else key)))
        for key in order
        if key != "command"
    ]


@lru_cache
def _pages() -> "Environment":
    return _environment(autoescape=True, finalize=_unbroken)


@lru_cache
def _cards() -> "Environment":
    return _environment(autoescape=False, finalize=_plain)


def _environment(**options: Any) -> "Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(files.package_folders("report/templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    environment.globals.update(_=_)
    environment.filters["whole"] = units.whole
    environment.filters["cell"] = lambda text: text if isinstance(text, Cell) else Cell(text)
    environment.filters["kind"] = lambda block: type(block).__name__
    return environment


def _unbroken(text: Any) -> Any:
    """Put a no-break space between a number and its percent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%") if isinstance(text, str) else text


def _plain(text: Any) -> str:
    """Escape a text for Markdown with HTML; Markup is trusted."""
    if isinstance(text, Markup):
        return text
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|>#])", r"\\\1", line)


def spelled(text: str, page: Path) -> str:
    """Return a text as it stands in a page (HTML) or a card (Markdown) that was written.

    >>> spelled("a < b", Path("report.html"))
    'a &lt; b'
    """
    return _plain(text) if page.suffix == ".md" else str(escape(_unbroken(text)))


def html(blocks: Sequence[Block]) -> Markup:
    """Return blocks as a page draws them, in the reader's language."""
    return Markup(_pages().get_template("macros.html").make_module().blocks(blocks))  # type: ignore[attr-defined]


def part(template: str, **context: Any) -> Markup:
    """Render a template that is a part of a page, in the reader's language."""
    return Markup(_pages().get_template(template).render(context))


def parts_and_groups(cases: Dataset, counted: str) -> list[tuple[str, str]]:
    """Return the parts of a data set, its groups and its source; ``counted`` is ``"{count} texts"``
    in the reader's language.
    """
    facts = [(part, counted.format(count=units.whole(count))) for part, count in Counter(cases.part).items() if part]
    if cases.group:
        facts.append((_("groups, kept together"), units.whole(len(set(cases.group)))))
        facts.append((_("grouped by"), cases.grouped))
    source = [(_("source"), cases.source), (_("licence"), cases.licence)]
    return [*facts, *((name, value or units.UNKNOWN) for name, value in source)]


def filled(record: RunRecord, text: str, name: str) -> str:
    """Fill a headline with a run's measurement of one metric; "" where the run has none."""
    if name not in record.measures:
        return ""
    measure, metric = record.measures[name], registry.metric(name)
    return text.format(
        system=record.system,
        data=called(record.data),
        train=units.whole(record.parts.get("train", 0)),
        test=units.whole(record.parts.get("test", 0)),
        time=units.seconds(record.outcome.seconds),
        value=metric.text(measure.value),
        interval=metric.interval(measure.low, measure.high),
    )


def figure(name: str, measure: Measure | None) -> tuple[Cell, Cell]:
    """Return a metric's measure for a table: its value, and its interval with a whisker."""
    if measure is None or not measure.n:
        return Cell(units.UNKNOWN), Cell("")
    metric, ends = registry.metric(name), (measure.low, measure.high)
    drawn = measure if measure.high <= 1 else None
    return Cell(metric.text(measure.value), measure.value), Cell(metric.interval(*ends), ends, "faint", place=drawn)


def bare(name: str, measure: Measure | None) -> tuple[Cell, Cell]:
    """Return the same without a whisker."""
    value, interval = figure(name, measure)
    return value, Cell(interval, interval.value, "faint")


def figures(
    heads: Sequence[str],
    rows: Iterable[tuple[Sequence[str], Mapping[str, Any]]],
    names: Sequence[str],
    right: Sequence[str] = (),
    cells: Callable[[str, Any], tuple[str, ...]] = figure,
) -> list[Table]:
    """Return a table of metrics, each with its interval; [] without rows.

    ``heads`` are the columns before, ``right`` those of them that hold numbers; each of ``rows`` is its cells in these
    columns and its measures by their names; ``cells`` is ``bare`` for a table without whiskers.
    """
    made = [
        (*before, *(cell for name in names for cell in cells(name, measures.get(name)))) for before, measures in rows
    ]
    of_metrics = [head for name in names for head in (registry.metric(name).title, _("95 % interval"))]
    return [Table([*heads, *of_metrics], made, right=[*right, *of_metrics])] if made else []


def grouped(record: RunRecord) -> list[str]:
    """Return how many groups of images the intervals of a run count; [] where each image counts."""
    groups = next((measure.groups for measure in record.measures.values()), None)
    text = _("The intervals count {groups} groups of images: images made of the same parts are not independent.")
    return [Cell(text.format(groups=groups), style="faint")] if groups else []


def page(template: str, **context: Any) -> str:
    """Render an HTML template in the reader's language."""
    context = {"elsewhere": (), **context} | {
        "language": language(),
        "version": souron.__version__,
        "day": date.today().isoformat(),
    }
    return _pages().get_template(template).render(context)


def card(template: str, **context: Any) -> str:
    """Render a Markdown template in the reader's language."""
    return _cards().get_template(template).render(context)


def write(path: Path, text: str) -> Path:
    """Write a page atomically; invalid characters of file names are shown as ``?``."""
    files.write_text(path, text.encode("utf-8", "replace").decode("utf-8"))
    return path


def report_file(wish: str = "", name: str = REPORT) -> str:
    """Return the name of a page's file: ``report.html``, or ``report.ja.html`` for ``"ja"``."""
    return f"{name.removesuffix('.html')}.{wish}.html" if wish else name


def in_each_language(folder: Path, make: Callable[..., str], name: str = REPORT) -> Path:
    """Write ``name`` in the current language, with the other languages beside it; return its path.

    The pages link to each other: ``make(elsewhere=...)`` returns a page, and passes ``elsewhere``
    to ``page``. Raises UserError.
    """
    names = {other: report_file(other, name) for other in LANGUAGES if other != language()}
    names[language()] = name  # last, so that the others exist when it does
    for wish, file in names.items():
        elsewhere = [(other, LANGUAGE_NAMES[other], there) for other, there in names.items() if other != wish]
        with use_language(wish):
            text = make(elsewhere=elsewhere)
        path = write(folder / file, text)  # errors are in the reader's language
    (folder / report_file(language(), name)).unlink(missing_ok=True)  # from another language
    return path


def in_other_languages(make: Callable[[], Any]) -> dict[str, Any]:
    """Call ``make`` in each language but the current one; return language -> result."""
    made = {}
    for wish in LANGUAGES:
        if wish != language():
            with use_language(wish):
                made[wish] = make()
    return made


def told_again(skipped: Sequence[Skipped]) -> list[Skipped]:
    """Return skipped files with their reasons in the reader's language."""
    return [replace(file, reason=again(file.reason)) for file in skipped]


def budget_text(text: str) -> str:
    budget, host = split_host(text)
    if host == HERE:
        return _("{time} on the computer that compared").format(time=budget_text(str(budget)))
    if host:
        return _("{time} on {host}").format(time=budget_text(str(budget)), host=host)
    if budget.unit == "seconds" and budget.amount < 60:
        return _("{seconds} s").format(seconds=f"{budget.amount:g}")
    if budget.unit == "seconds":
        return units.seconds(budget.amount)
    if budget.unit == "epochs":
        return _("{count} epochs").format(count=f"{budget.amount:g}")
    return _("{count} examples").format(count=units.count(budget.amount))


def leaks(record: RunRecord | ComparisonRecord) -> list[str]:
    """Return the warnings of a report whose test data overlaps with training, or may.

    Built-in data sets are used as published, so they get none.
    """
    leaking, torn, doubtful = record.leaking, record.torn, record.doubtful
    if record.data in load.names():
        return []
    shared = _(
        "The figures are too good: {groups} groups (patients) and {pictures} images are on "
        "both sides of the split, which was allowed (allow_leak)."
    ).format(groups=len(torn), pictures=len(leaking))
    maybe = _(
        "The figures may be too good: {count} images seem to be altered copies of images on the other side of the "
        "split. souron data check shows them side by side."
    ).format(count=len(doubtful))
    return [text for text, there in ((shared, leaking or torn), (maybe, doubtful)) if there]


def few_cases(cases: int) -> str:
    return _(
        "Only {n} test cases: the interval is wide, and another {n} cases could give a very different figure."
    ).format(n=cases)
