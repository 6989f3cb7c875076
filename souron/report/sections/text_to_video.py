"""Report sections of text-to-video systems.

Attributes of the prompt that can be read off the films, between shuffled captions (floor) and real
films (ceiling), and flicker of what should stand still.
"""

from typing import Any

from PIL import Image
from torch import Tensor

from souron.data.composing.moving import NEW, TITLES
from souron.evaluation.generators.film_reader import ATTRIBUTES, FilmResult, OfPart, frames_of
from souron.evaluation.generators.prompt_adherence import PromptedGallery
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.kinds.codecs import animation
from souron.metrics import text_to_video as metrics
from souron.report.blocks import Block, Cell, Gallery, Section, Table, sections
from souron.report.page import figure, filled, tile
from souron.utils import units
from souron.utils.messages import LANGUAGE_NAMES, N_, _

OF_A_FILM = TITLES | {metrics.FLICKER: metrics.FLICKER}
SHOWN = 24  # prompts
COMPARED = 10  # prompts
SUBSETS = {"new films": N_("new films"), NEW: N_("new pairs of object and motion")}


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for text-to-video systems."""
    result: FilmResult = record.details
    return sections(
        ("prompts", _("Prompts and films"), prompts(record)),
        ("obedience", _("What was requested, and what is recognised"), obedience(result)),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the films of the compared systems for the same prompts."""
    found: PromptedGallery = record.details
    names = [row.system for row in record.rows]
    rows = [
        [prompt, *(Cell("", image=tile(shown(found.drawn[name][row]), prompt)) for name in names)]
        for row, prompt in enumerate(found.prompts[:COMPARED])
    ]
    text = _("Of the first training of each, for the first prompts: none is selected.")
    return sections(("gallery", _("The same prompts"), [text, Table(["", *names], rows)]))


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} captioned films of {data} in {time}. Of the motions "
        "that {test} test prompts ask for, {value} are recognised in its films (95 % interval "
        "{interval})."
    )
    return filled(record, text, "motion accuracy")


def notes(record: RunRecord) -> list[str]:
    """Warn of attributes that are no better than with shuffled captions."""
    result: FilmResult = record.details
    whole = result.parts[0]
    blind = [
        _(TITLES[name])
        for name in ATTRIBUTES
        if name in whole.measures and whole.measures[name].low <= whole.floor[name]
    ]
    if not blind:
        return []
    return [_("No better than with shuffled captions: {attributes}.").format(attributes=", ".join(blind))]


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Generating short films of what a sentence says, of things like those of {data}.")
    line = 'model.generate(4, prompt="a red bird on grass moves to the left").folder'
    return text.format(data=record.data), line


def shown(strip: Tensor) -> Image.Image:
    """Show the frames of a strip (C, T * side, side) side by side."""
    film = frames_of(strip[None])[0].transpose(0, 1)  # (T, C, H, W)
    return animation.sheet(film, len(film))


def prompts(record: RunRecord) -> list[Block]:
    """Return the first prompts, uncurated, with generated films and missed attributes."""
    result: FilmResult = record.details
    right: Any = record.answers[0]["right"]
    tiles = []
    for row, prompt in enumerate(result.prompts[:SHOWN]):
        wrong = [_(TITLES[name]) for place, name in enumerate(ATTRIBUTES) if float(right[row, place]) == 0]
        told = _("missed: {names}").format(names=", ".join(wrong)) if wrong else "✓"
        tiles.append(tile(shown(result.strips[row]), prompt, [prompt, told]))
    text = _(
        "Captions of test films, and the films generated for them, frame by frame: the first samples, not selected. A "
        "film takes {each}."
    )
    return [text.format(each=units.seconds(result.seconds)), Gallery(tiles)]


def obedience(result: FilmResult) -> list[Block]:
    """Tabulate accuracy by attribute, and flicker, for each subset and language."""
    rows = []
    for part in result.parts:
        for name, measure in part.measures.items():
            level = name == metrics.FLICKER
            metric = metrics.FLICKER if level else metrics.ATTRIBUTES[name]
            ceiling = part.ceiling[name]
            rows.append(
                [
                    _named(part),
                    _(OF_A_FILM[name]),
                    Cell(units.whole(part.cases), part.cases),
                    *figure(metric, measure),
                    "" if level else units.percent(part.floor[name]),
                    f"{ceiling:.2f}" if level else units.percent(ceiling),
                ]
            )
    text = _(
        "Networks that were trained on real films, and never saw a generated one, read the films. Floor: the same "
        "films with the captions of others. Ceiling: real test films with their own captions. Flicker is how many grey "
        "levels a pixel changes from frame to frame where nothing should change: lower is better, and real films stand "
        "beside it."
    )
    columns = [_("number"), _("as asked"), _("95 % interval"), _("floor"), _("ceiling")]
    return [text, Table([_("prompts"), _("attribute"), *columns], rows, right=columns)]


def _named(part: OfPart) -> str:
    if part.subset:
        return _(SUBSETS[part.subset]) if part.subset in SUBSETS else part.subset
    return LANGUAGE_NAMES.get(part.language, part.language) or _("all prompts")
