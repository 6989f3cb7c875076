"""The report of an audit of harmful output: rates with intervals, and the judges' accuracy."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from souron.report import page as pages
from souron.report.page import Fact, plot
from souron.society.improper import corpus, judges
from souron.society.improper.audit import MANNERS, Answered, ImproperRecord
from souron.society.improper.judges import Flagged, Record
from souron.society.improper.ways import WAY_NAMES
from souron.stats.records import Measure, Verdict
from souron.utils import plotting, units
from souron.utils.messages import N_, _

EXAMPLES = 12  # example answers per model
LETTERS = 400  # of an answer that is shown
SMALL = 100  # prompts; fewer give a wide interval
MANNERS_SORTS = {
    "everyday": N_("everyday"), "medical": N_("medical"), "harmless": N_("harmless"),
}  # fmt: skip


def write(record: ImproperRecord) -> Path:
    """Write the report in both languages and return its path. Raises UserError."""
    record.report = pages.in_each_language(record.folder, partial(_page, record))
    return record.report


def headline(record: ImproperRecord) -> str:
    rate = record.rate(record.after, "both")
    text = _("{model} gives {rate} inappropriate answers per 1 000 (95 % interval {low} to "
             "{high}), by lexicon and classifier, to {n} prompts.")  # fmt: skip
    said = text.format(
        model=record.model, rate=_whole(rate.value), low=_whole(rate.low), high=_whole(rate.high),
        n=units.whole(len(record.prompts)),
    )  # fmt: skip
    found = record.verdict()
    if found is None or record.before is None:
        return said
    return said + " " + sentence(record.before.model, found)


def sentence(before: str, found: Verdict) -> str:
    """Return the effect of tuning in one sentence."""
    words = {
        "better": _("Those are {difference} per 1 000 fewer than {before} gives (95 % interval "
                    "{low} to {high})."),
        "worse": _("Those are {difference} per 1 000 more than {before} gives (95 % interval {low} "
                   "to {high})."),
        "cannot tell": _("No clear difference from {before}: {difference} per 1 000 (95 % "
                         "interval {low} to {high})."),
    }[found.verdict]  # fmt: skip
    turned = -1 if found.verdict == "worse" else 1
    ends = sorted((turned * found.low, turned * found.high))
    said = words.format(
        difference=_whole(turned * found.difference), before=before, low=_whole(ends[0]),
        high=_whole(ends[1]),
    )  # fmt: skip
    if found.verdict == "cannot tell" and found.cases_needed:
        said += " " + _("About {count} more prompts would be needed.").format(
            count=units.roughly(found.cases_needed))  # fmt: skip
    return said


def notes(record: ImproperRecord) -> list[str]:
    """Return the caveats of the rates."""
    found = [
        _("Neither judge understands what it reads: both miss inappropriate answers and flag "
          "acceptable ones, as the table below shows. Read some answers before you trust a rate.")
    ]  # fmt: skip
    if len(record.prompts) < SMALL:
        found.append(_("Only {n} prompts: the interval is wide.").format(n=len(record.prompts)))
    if not record.entries:
        found.append(_("The lexicon is a list of rude words alone. {command} brings a longer "
                       "one.").format(command="souron fetch naughty_words"))  # fmt: skip
    return found


def way_name(way: str) -> str:
    return _("the judge of manners") if way == MANNERS else _(WAY_NAMES[way])


def part_name(name: str) -> str:
    """Return the name of a type of prompt, or of a language."""
    known = {**corpus.SORTS, **MANNERS_SORTS, "en": N_("English"), "ja": N_("Japanese")}
    return _(known[name]) if name in known else name or _("not known")


def span(found: Measure) -> str:
    """Format a rate per 1 000 with its interval."""
    return f"{_whole(found.value)} ({_whole(found.low)}–{_whole(found.high)})"


def share(found: Measure) -> str:
    low, high = units.percent(found.low), units.percent(found.high)
    return f"{units.percent(found.value)} ({low.removesuffix(' %')}–{high})"


def _whole(rate: float) -> str:
    return f"{1000 * rate:.0f}"


def models(record: ImproperRecord) -> list[Answered]:
    return [*([record.before] if record.before else []), record.after]


def _page(record: ImproperRecord, elsewhere: Sequence[Any]) -> str:
    headings = {
        "rates": _("Inappropriate answers per 1 000"),
        "judges": _("What the judges catch, and what they flag wrongly"),
        "answers": _("Answers that were flagged"),
        "measured": _("How it was measured"),
    }
    return pages.page(
        "improper.html",
        elsewhere=elsewhere,
        title=_("Inappropriate output of {model}").format(model=record.model),
        eyebrow=_("audit"),
        headline=headline(record),
        notes=notes(record),
        facts=[
            Fact(_("prompts"), units.whole(len(record.prompts)),
                 _("{count} answers to each").format(count=record.each)),
            Fact(_("tokens of an answer"), units.whole(record.length), _("at most")),
            Fact(_("entries of the lexicon"), units.whole(record.entries), record.words),
            Fact(_("seed"), str(record.seed)),
        ],
        contents=list(headings.items()),
        headings=headings,
        plot=plot(_bars(record), _("inappropriate answers per 1 000 by each way, with intervals")),
        models=[one.model for one in models(record)],
        rates=_rates(record),
        judges=[_judge(one) for one in record.judged],
        kinds=[_(corpus.KINDS[kind]) for kind in corpus.KINDS],
        alarms=_alarms(record.judged),
        examples=[_examples(record, one) for one in models(record)],
    )  # fmt: skip


def _bars(record: ImproperRecord) -> bytes:
    """Plot a bar for each method and model, as PNG."""
    ways, shown = list(record.after.improper), models(record)
    figure = plotting.new_figure(6.4, 0.6 + 0.42 * len(ways) * len(shown))
    axes = figure.subplots()
    plotting.style_axes(axes, _("inappropriate answers per 1 000"), "")
    height = 0.8 / len(shown)
    for index, one in enumerate(shown):
        found = [record.rate(one, way) for way in ways]
        value = [1000 * each.value for each in found]
        reach = [[1000 * (each.value - each.low) for each in found],
                 [1000 * (each.high - each.value) for each in found]]  # fmt: skip
        place = [row + (index - (len(shown) - 1) / 2) * height for row in range(len(ways))]
        axes.barh(place, value, height * 0.9, color=plotting.COLOURS[index], label=one.model,
                  xerr=reach, ecolor=plotting.INK, capsize=3)  # fmt: skip
    axes.set_yticks(range(len(ways)), [way_name(way) for way in ways])
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    if len(shown) > 1:
        plotting.add_legend(figure, axes, 2)
    return plotting.as_png(figure)


def _rates(record: ImproperRecord) -> list[dict[str, Any]]:
    """Return the rows of the table: all prompts, each type, each language."""
    parts: list[tuple[str, dict[str, str]]] = [(_("all prompts"), {})]
    parts += [(part_name(sort), {"sort": sort}) for sort in record.parts("sort")]
    parts += [(part_name(spoken), {"language": spoken}) for spoken in record.parts("language")]
    return [
        {
            "way": way_name(way),
            "part": name,
            "cells": [span(record.rate(one, way, **of)) for one in models(record)],
        }
        for way in record.after.improper
        for name, of in parts
    ]


def _judge(one: Record) -> dict[str, Any]:
    return {
        "way": _(WAY_NAMES[one.way]),
        "language": part_name(one.language),
        "cells": [share(one.clinical), share(one.proper), share(one.catch)],
        "kinds": [units.percent(found.value, 0) for found in one.kinds.values()],
    }


def _alarms(judged: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the clinical sentences that each method flags."""
    return [
        {
            "title": _("{way}, {language}: {count} of {n} clinical sentences").format(
                way=_(WAY_NAMES[one.way]), language=part_name(one.language),
                count=len(one.alarms), n=one.clinical.n,
            ),
            "sentences": one.alarms,
        }
        for one in judged
        if one.alarms
    ]  # fmt: skip


def _examples(record: ImproperRecord, one: Answered) -> dict[str, Any]:
    flagged = [number for number, hit in enumerate(one.improper["both"]) if hit]
    return {
        "title": _("{model}: {count} of {n} answers are flagged. Show {shown} of them: they may "
                   "hurt.").format(model=one.model, count=len(flagged), n=len(one.texts),
                                   shown=min(EXAMPLES, len(flagged))),
        "rows": [
            {
                "prompt": record.prompts[record.rows[number]].text,
                "answer": one.texts[number][:LETTERS],
                "reasons": _reasons(one.flagged["both"][number]),
            }
            for number in flagged[:EXAMPLES]
        ],
    }  # fmt: skip


def _reasons(found: Sequence[Flagged]) -> str:
    return ", ".join(dict.fromkeys(judges.reason(each) for each in found))
