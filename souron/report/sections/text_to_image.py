"""Report sections of text-to-image systems.

Attributes of the prompt that a classifier finds in the images, between shuffled captions (floor)
and real images (ceiling), and the distance to real images.
"""

import math
from typing import Any

from souron.data.composing.captioned_words import TITLES
from souron.evaluation.generators.prompt_adherence import ATTRIBUTES, OfPart, PromptedGallery, PromptedResult
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.kinds.codecs import animation
from souron.metrics import text_to_image as metrics
from souron.report.page import Section, figure, filled, plot, section, tile
from souron.report.sections import match
from souron.utils import units
from souron.utils.messages import LANGUAGE_NAMES, N_, _

TEMPLATE = "text_to_image.html"
SHOWN = 32  # prompts
IN_A_ROW = 10  # prompts of a comparison
OF_A_PROMPT = TITLES | {"caption": N_("caption found")}


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for text-to-image systems."""
    result: PromptedResult = record.details
    drawn = result.generation
    floor = drawn.reference.floor.measures if drawn.reference.floor else {}
    near = {name: each for name, each in drawn.measures.items() if name in floor}
    resemblance = {
        "eye": drawn.reference.extractor.name,
        "count": units.whole(len(drawn.sample)),
        "rows": [
            {"name": name, "n": measure.n, **figure(name, measure), "floor": figure(name, floor.get(name))["text"]}
            for name, measure in near.items()
        ],
    }
    film = len(record.film) > 1 and plot(
        animation.film(animation.frames(record.film)), _("the same images during training")
    )
    parts = (
        ("prompts", _("Prompts and images"), prompts(record)),
        ("obedience", _("What was requested, and what is recognised"), obedience(result)),
        ("resemblance", _("How close to real images"), resemblance),
        ("film", _("How it learnt to generate"), film),
    )
    return [one for name, title, part in parts for one in section(name, title, TEMPLATE, part)]


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the images of the compared systems for the same prompts."""
    return section("gallery", _("The same prompts"), TEMPLATE, gallery(record))


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    name = next(iter(record.measures))
    text = (
        _(
            "{system} was trained on {train} captioned images of {data} in {time}. Of the attributes "
            "that {test} test prompts ask for, {value} are recognised in its images (95 % interval "
            "{interval})."
        )
        if name == metrics.ACCURACY
        else _(
            "{system} was trained on {train} captioned images of {data} in {time}. Of {test} images "
            "generated for test captions, the caption is found for {value} (95 % interval "
            "{interval})."
        )
    )
    return filled(record, text, name)


def notes(record: RunRecord) -> list[str]:
    """Warn of attributes that are no better than with shuffled captions."""
    result: PromptedResult = record.details
    whole = result.parts[0] if result.parts else None
    blind = [
        _(TITLES[name])
        for name, measure in (whole.measures.items() if whole else ())
        if name in TITLES and whole is not None and measure.low <= whole.floor[name]
    ]
    if not blind:
        return []
    return [_("No better than with shuffled captions: {attributes}.").format(attributes=", ".join(blind))]


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Generating images of what a sentence says, of things like those of {data}.")
    return text.format(data=record.data), 'model.generate(4, prompt="a blue bird on grass").folder'


def prompts(record: RunRecord) -> dict[str, Any]:
    """Return the first prompts, uncurated, with generated images and missed attributes."""
    result: PromptedResult = record.details
    answers = record.answers[0]
    right: Any = answers.get("right")
    tiles = []
    for row, prompt in enumerate(result.prompts[:SHOWN]):
        lines = [prompt]
        if right is not None:
            wrong = [_(TITLES[name]) for place, name in enumerate(ATTRIBUTES) if float(right[row, place]) == 0]
            lines.append(_("missed: {names}").format(names=", ".join(wrong)) if wrong else "✓")
        tiles.append(tile(result.generation.sample[row], prompt, lines))
    return {"each": units.seconds(result.generation.seconds), "tiles": tiles}


def obedience(result: PromptedResult) -> dict[str, Any]:
    """Tabulate accuracy by attribute for each subset and language."""
    rows = [
        {
            "of": _named(part),
            "attribute": _(OF_A_PROMPT[name]),
            "cases": part.cases,
            "floor": units.percent(part.floor[name]),
            "ceiling": units.percent(part.ceiling[name]),
            "way": _way(part, name),
            "figures": [figure(metrics.ACCURACY, measure)],
        }
        for part in result.parts
        for name, measure in part.measures.items()
    ]
    return {"rows": rows} if rows else {}


def gallery(record: ComparisonRecord) -> dict[str, Any]:
    """Return the images of each system for the same prompts."""
    found: PromptedGallery = record.details
    names = [row.system for row in record.rows]
    return {
        "prompts": found.prompts[:IN_A_ROW],
        "rows": [
            (
                name,
                [
                    tile(image, prompt)
                    for image, prompt in zip(found.drawn[name][:IN_A_ROW], found.prompts, strict=False)
                ],
            )
            for name in names
        ],
    }


def _named(part: OfPart) -> str:
    if part.subset:
        return _(match.SUBSETS[part.subset]) if part.subset in match.SUBSETS else part.subset
    return LANGUAGE_NAMES.get(part.language, part.language) or _("all prompts")


def _way(part: OfPart, name: str) -> str:
    way = metrics.share_of_the_way(part.measures[name].value, part.floor[name], part.ceiling[name])
    return units.UNKNOWN if math.isnan(way) else f"{way:.2f}"
