"""Report sections of visual question answering.

Accuracy by kind of question, subset and language, beside the same questions asked of other images;
and the attention behind right and wrong answers.
"""

from collections.abc import Iterator, Mapping

from souron import registry
from souron.data.composing.captioned_words import TITLES
from souron.data.targets.picture_questions import NUMBER, OTHER, YES_NO
from souron.evaluation.answers import Sparse, dense
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision.visual_questions import OfQuestions
from souron.metrics import answer as metrics
from souron.report import plots
from souron.report.blocks import Block, Cell, Gallery, Group, Section, Table, Tile, sections
from souron.report.page import bare, figure, figures, filled, tile
from souron.report.sections.match import SUBSETS
from souron.stats.records import Measure
from souron.utils import units
from souron.utils.messages import LANGUAGE_NAMES, N_, _

FIGURES = (metrics.ACCURACY, metrics.OTHERS, metrics.GAIN)
SORTS = TITLES | {YES_NO: N_("yes or no"), NUMBER: N_("a number"), OTHER: N_("other")}
SHOWN = 12  # tiles of right answers, and of wrong ones


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for visual question answering."""
    text = _(
        "Beside each figure stands the same question about another image: what is right then is known from the "
        "question alone. Intervals count images, since questions about one image are not independent."
    )
    sorts = _by_sort([part for part in _parts(record) if part.sort and not part.subset])
    return sections(
        ("sorts", _("By kind of question"), [text, *sorts] if sorts else []),
        ("subsets", _("By subset and language"), _by_subset([part for part in _parts(record) if not part.sort])),
        ("both", _("Each kind in each subset"), _matrix(record)),
        ("looked", _("Where it looked"), looked(record)),
    )


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on the questions about {train} images of {data} in {time}. Of the "
        "questions about {test} test images it answers {value} correctly (95 % interval "
        "{interval})."
    )
    return filled(record, text, metrics.ACCURACY)


def notes(record: RunRecord) -> list[str]:
    """Return the caveats of the figures."""
    told = []
    if record.data.endswith("scene_questions"):
        told.append(
            _("The scenes and the questions are composed by a program: what people ask about photographs is harder.")
        )
    gain = record.measures.get(metrics.GAIN)
    if gain is not None and gain.low <= 0:
        told.append(_("With other images it answers as well: nothing shows that it uses the image."))
    return told


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Answering questions about images like those of {data}, with answers it knows.")
    return text.format(data=record.data), 'model("photo.jpg", question="What is shown?")'


def _parts(record: RunRecord) -> tuple[OfQuestions, ...]:
    return getattr(record.details, "parts", ())


def _matrix(record: RunRecord) -> list[Block]:
    """Tabulate accuracy by kind of question and subset, also with other images."""
    measures = {(part.sort, part.subset): part.measures for part in _parts(record) if part.sort and part.subset}
    subsets = list(dict.fromkeys(subset for _sort, subset in measures))
    columns = [_subset(name) for name in subsets]
    rows = [
        [_sort(sort), *(_own_and_other(measures.get((sort, subset), {})) for subset in subsets)]
        for sort in dict.fromkeys(sort for sort, _subset in measures)
    ]
    text = _("Accuracy with its 95 % interval, and below it the accuracy with other pictures.")
    return [text, Table([_("asked for"), *columns], rows, right=columns)] if rows else []


def _sort(name: str) -> str:
    return _(SORTS[name]) if name in SORTS else name


def _subset(name: str) -> str:
    return _(SUBSETS[name]) if name in SUBSETS else name or _("all")


def looked(record: RunRecord) -> list[Block]:
    """Return right and wrong answers, each with the image regions attended to."""
    if record.test is None or not record.answers or "looked" not in record.answers[0]:
        return []
    every = list(_tiles(record))
    text = _(
        "The brighter a position, the more of the answer was read from it in the last attention step. It shows where "
        "it looked, not that it looked for the right reason. Below each: the question, the answer and its probability; "
        "of each kind in turn, the most confident first."
    )
    found = {
        title: [shown for right, shown in every if right is wanted][:SHOWN]
        for title, wanted in ((_("Right"), True), (_("Wrong"), False))
    }
    groups = [Group(title, [Gallery(tiles)]) for title, tiles in found.items() if tiles]
    return [text, *groups] if groups else []


def _tiles(record: RunRecord) -> Iterator[tuple[bool, Tile]]:
    answers, test = record.answers[0], record.test
    assert test is not None
    maps, places = answers["looked"], answers["question"]
    assert isinstance(maps, Sparse) and isinstance(places, Sparse)
    chosen, sure = dense(answers, "chosen"), dense(answers, "probability")
    known = getattr(record.details, "known", ())
    for row, looked_at, place in zip(maps.rows.tolist(), maps.values, places.values.tolist(), strict=True):
        one = test.target[row][place]
        number = int(chosen[row, place])
        said = known[number] if 0 <= number < len(known) else "?"
        right = said == one.answer
        told = _("{answer} ({share})").format(answer=said, share=units.percent(float(sure[row, place])))
        lines = [one.question, told]
        if not right:
            lines.append(_("right: {answer}").format(answer=one.answer))
        shown = plots.overlay_of_shares(test.input[row], looked_at)
        yield right, tile(shown, f"{one.question} {told}", lines, test.file[row])


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the sections of a comparison's report: accuracy by kind of question and system."""
    compared = record.details or {}
    sorts = list(dict.fromkeys(sort for measures in compared.values() for sort in measures))
    heads = [head for sort in sorts for head in (_sort(sort), _("95 % interval"))]
    rows = [
        [system, *(cell for sort in sorts for cell in figure(metrics.ACCURACY, measures.get(sort)))]
        for system, measures in compared.items()
    ]
    blocks: list[Block] = [_("Accuracy by what is asked for."), Table([_("system"), *heads], rows, right=heads)]
    return sections(("compared", _("By kind of question"), blocks if sorts else []))


def _by_sort(parts: list[OfQuestions]) -> list[Table]:
    heads = [_("asked for"), _("questions")]
    rows = [([_sort(part.sort), units.whole(part.questions)], part.measures) for part in parts]
    return figures(heads, rows, FIGURES, heads[1:], _cells)


def _by_subset(parts: list[OfQuestions]) -> list[Table]:
    heads = [_("subset"), _("language"), _("questions")]
    rows = [
        (
            [
                _subset(part.subset),
                LANGUAGE_NAMES.get(part.language, part.language) or _("all"),
                units.whole(part.questions),
            ],
            part.measures,
        )
        for part in parts
    ]
    return figures(heads, rows, FIGURES, heads[2:], _cells)


def _cells(name: str, measure: Measure | None) -> tuple[Cell, Cell]:
    """Format a measure for the table; a gain is given in points with its sign."""
    if name != metrics.GAIN or measure is None:
        return figure(name, measure)
    metric, ends = registry.metric(name), (measure.low, measure.high)
    return Cell(metric.difference(measure.value), measure.value), Cell(metric.differences(*ends), ends, "faint")


def _own_and_other(measures: Mapping[str, Measure]) -> Cell:
    own, interval = bare(metrics.ACCURACY, measures.get(metrics.ACCURACY))
    other, _interval = bare(metrics.OTHERS, measures.get(metrics.OTHERS))
    return Cell.of(own, interval, Cell(other, style="faint below"))
