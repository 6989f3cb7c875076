"""Report sections of text-to-image systems.

Attributes of the prompt that a classifier finds in the images, between shuffled captions (floor)
and real images (ceiling), and the distance to real images.
"""

import math
from typing import Any

from souron.data.composing.captioned_words import TITLES
from souron.evaluation.generators.prompt_adherence import ATTRIBUTES, OfPart, PromptedGallery, PromptedResult
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.metrics import text_to_image as metrics
from souron.report.blocks import Block, Cell, Gallery, Section, Table, sections
from souron.report.page import figure, filled, tile
from souron.report.sections import generate, match
from souron.utils import units
from souron.utils.messages import LANGUAGE_NAMES, N_, _

SHOWN = 32  # prompts
IN_A_ROW = 10  # prompts of a comparison
OF_A_PROMPT = TITLES | {"caption": N_("caption found")}


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for text-to-image systems."""
    result: PromptedResult = record.details
    drawn = result.generation
    floor = drawn.reference.floor.measures if drawn.reference.floor else {}
    caption = _("The same noise and prompts, again and again, during training.")
    return sections(
        ("prompts", _("Prompts and images"), prompts(record)),
        ("obedience", _("What was requested, and what is recognised"), obedience(result)),
        ("resemblance", _("How close to real images"), generate.resemblance(drawn, list(floor))),
        ("film", _("How it learnt to generate"), generate.film(record, caption)),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the images of the compared systems for the same prompts."""
    return sections(("gallery", _("The same prompts"), gallery(record)))


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


def prompts(record: RunRecord) -> list[Block]:
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
    text = _(
        "Captions of test images, and the images generated for them: the first samples, not selected. An image takes "
        "{each}."
    )
    return [text.format(each=units.seconds(result.generation.seconds)), Gallery(tiles)]


def obedience(result: PromptedResult) -> list[Block]:
    """Tabulate accuracy by attribute for each subset and language."""
    columns = [
        _("number"), _("as asked"), _("95 % interval"), _("floor"), _("ceiling"), _("share of the way")
    ]  # fmt: skip
    rows = [
        [
            _named(part),
            _(OF_A_PROMPT[name]),
            Cell(units.whole(part.cases), part.cases),
            *figure(metrics.ACCURACY, measure),
            Cell(units.percent(part.floor[name]), part.floor[name]),
            Cell(units.percent(part.ceiling[name]), part.ceiling[name]),
            _way(part, name),
        ]
        for part in result.parts
        for name, measure in part.measures.items()
    ]
    text = _(
        "A network that was trained on real scenes, and never saw a generated one, reads the images. Floor: the same "
        "images with the captions of others. Ceiling: real test images with their own captions. The share of the way "
        "is 0 at the floor and 1 at the ceiling."
    )
    return [text, Table([_("prompts"), _("attribute"), *columns], rows, right=columns)] if rows else []


def gallery(record: ComparisonRecord) -> list[Block]:
    """Return the images of each system for the same prompts."""
    found: PromptedGallery = record.details
    prompts = found.prompts[:IN_A_ROW]
    rows = []
    for row in record.rows:
        drawn = zip(found.drawn[row.system][:IN_A_ROW], prompts, strict=False)
        rows.append([row.system, *(Cell("", image=tile(image, prompt)) for image, prompt in drawn)])
    text = _("Of the first training of each, for the first prompts: none is selected.")
    return [text, Table(["", *prompts], rows)]


def _named(part: OfPart) -> str:
    if part.subset:
        return _(match.SUBSETS[part.subset]) if part.subset in match.SUBSETS else part.subset
    return LANGUAGE_NAMES.get(part.language, part.language) or _("all prompts")


def _way(part: OfPart, name: str) -> str:
    way = metrics.share_of_the_way(part.measures[name].value, part.floor[name], part.ceiling[name])
    return units.UNKNOWN if math.isnan(way) else f"{way:.2f}"
