"""The verdict on finished runs in the studio: computed once, shown, and exported."""

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.studio.runs import run_list
from souron.studio.runs.export import verdict_text
from souron.studio.shared import Studio, command, remarks, same_thing, table
from souron.utils import units
from souron.utils.messages import UserError, _

PATIENCE = 60.0  # seconds for answers that a run does not keep
KEPT = 16  # verdicts
computing = threading.Lock()  # two tabs that ask for the same wait for one computation


def verdict(studio: Studio, named: Sequence[str]) -> Any:
    """Return the verdict on runs by their names (``souron.runs.pair.Pair``). Raises UserError."""
    folders = tuple(dict.fromkeys(run_list.find(studio.project, name) for name in named[:100]))
    marks = tuple(_mark(folder) for folder in folders)
    with computing:
        return _verdict(folders, marks, studio.language)


def _mark(folder: Path) -> tuple[int, ...]:
    """Return when the files that a verdict is made of were changed."""
    names = ("receipt.json", "args.yaml", "answers.safetensors", "split.csv", "folds.csv")
    found = []
    for name in names:
        try:
            found.append((folder / name).lstat().st_mtime_ns)
        except OSError:
            found.append(0)
    return tuple(found)


@lru_cache(KEPT)
def _verdict(folders: tuple[Path, ...], _marks: tuple[tuple[int, ...], ...], _language: str) -> Any:
    from souron.runs import pair

    try:
        return pair.compare(folders, PATIENCE, images=True)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        # arguments and answers of a run are not trusted: they may hold anything
        raise UserError(
            "damaged",
            _("these runs cannot be read: {why}").format(why=f"{type(error).__name__}: {error}"[:200]),
            expected=_("runs as souron wrote them"),
            exit=3,
        ) from error


def shown(studio: Studio, pair: Any, documents: Markup) -> Markup:
    """Return a verdict as HTML: the sentence, caveats, figures, settings and the cases that differ."""
    metric = registry.metric(pair.measure)
    names = [row.system for row in pair.rows]
    figures = table(
        (_("run"), metric.title, _("95 % interval"), _("trained")),
        [
            (
                Markup('<a href="{}">{}</a>').format(
                    studio.url("runs", run=f"{folder.parent.name}/{folder.name}"), row.system
                ),
                metric.text(row.value),
                metric.interval(row.low, row.high),
                units.seconds(row.train_seconds),
            )
            for row, folder in zip(pair.rows, pair.folders, strict=True)
        ],
        _("on the same {count} test cases").format(count=units.whole(pair.cases)),
    )
    return Markup(
        '<figure class="copy quote"><pre class="verdict">{sentence}</pre>'
        '<button type="button" data-copy>{copy}</button>'
        "</figure>{notes}{documents}{figures}"
        "{differences}<h2>{equal}</h2>{settings}<h2>{apart}</h2>{cases}{same}"
    ).format(
        sentence=pair.sentence,
        copy=_("copy"),
        documents=documents,
        notes=remarks(pair.notes),
        figures=figures,
        differences=_differences(pair),
        equal=_("What was equal"),
        settings=table(
            (_("setting"), *names, _("equal?")),
            [
                (
                    one.name,
                    *one.values,
                    _("equal") if one.equal else Markup("<strong>{}</strong>").format(_("not equal")),
                )
                for one in pair.settings
            ],
        ),
        apart=_("Cases that differ most"),
        cases=_cases(pair),
        same=same_thing(
            command(["compare", *map(str, pair.folders)]),
            f"from souron.runs import pair\nprint(pair.compare({[str(folder) for folder in pair.folders]!r}).sentence)",
        ),
    )


def _differences(pair: Any) -> Markup:
    metric = registry.metric(pair.measure)
    rows = [
        (
            f"{one.a} – {one.b}",
            metric.difference(one.difference),
            metric.differences(one.low, one.high),
            verdict_text(one),
            _needed(one),
        )
        for one in pair.verdicts
    ]
    heads = (_("pair"), _("difference"), _("interval"), _("verdict"), _("further cases needed"))
    return table(heads, rows, _("differences; together they err in at most 5 % of such comparisons"))


def _needed(one: Any) -> str:
    if one.verdict != "cannot tell":
        return ""
    return _("about {cases}").format(cases=units.roughly(one.cases_needed)) if one.cases_needed else units.UNKNOWN


def _cases(pair: Any) -> Markup:
    if not pair.shown:
        return Markup("<p>{}</p>").format(_("Every case is scored alike."))
    pictured = any(case.image for case in pair.shown)
    texts = any(any(case.answers) for case in pair.shown)
    rows = [
        (
            *([_picture(case)] if pictured else []),
            case.file,
            case.truth,
            *(
                Markup('<span class="{}">{}</span>').format(
                    _grade(score, case.scores, pair.measure), answer if texts else f"{score:.4g}"
                )
                for score, answer in zip(case.scores, case.answers, strict=True)
            ),
        )
        for case in pair.shown
    ]
    heads = (*([_("image")] if pictured else []), _("case"), _("truth"), *(row.system for row in pair.rows))
    caption = _("{shown} of {count} cases that are scored differently; the better answer is marked").format(
        shown=len(rows), count=units.whole(pair.differing)
    )
    return table(heads, rows, caption)


def _picture(case: Any) -> Markup:
    return Markup('<img class="pixels small" alt="" src="{}">').format(case.image) if case.image else Markup()


def _grade(score: float, scores: Sequence[float], measure: str) -> str:
    best = max(scores) if registry.metric(measure).higher_is_better else min(scores)
    return "better" if score == best else ""
