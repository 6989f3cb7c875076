"""Report sections of image-text matching.

Recall by subset and language, accuracy with one word swapped, and the images whose caption has the
worst rank.
"""

from souron import registry
from souron.data.composing.captioned_words import TITLES
from souron.evaluation.answers import dense
from souron.evaluation.record import RunRecord
from souron.evaluation.vision import matching
from souron.evaluation.vision.matching import OfSubset
from souron.metrics import match
from souron.report.blocks import Block, Gallery, Section, Table, Tile, sections
from souron.report.page import figure, filled, tile
from souron.utils import units
from souron.utils.messages import LANGUAGE_NAMES, N_, _

WORST = 16  # images
FIGURES = (match.RECALL[1], match.RECALL[5], match.OF_IMAGES, match.ZERO_SHOT)
SUBSETS = {"new scenes": N_("new scenes"), "new pairs": N_("new pairs"), "unseen stamps": N_("held-out objects")}


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for image-text matching."""
    subsets, swaps = _table(record, FIGURES), _table(record, tuple(TITLES))
    recall = _(
        "Recall at K: how often the right caption is among the K nearest, of at most {count} captions of one subset. "
        "Zero-shot: the class is named by captions alone."
    ).format(count=matching.GALLERY)
    if any(part.subset in SUBSETS for part in _parts(record)):
        recall += " " + _(
            "New pairs are of an object and a colour that no training image has together; held-out objects are in no "
            "training image at all."
        )
    swapped = _(
        "How often the true caption is nearer to the image than the same with one word swapped. Chance level is 50 %."
    )
    return sections(
        ("subsets", _("By subset and language"), [recall, *subsets] if subsets else []),
        ("swaps", _("One word swapped"), [swapped, *swaps] if swaps else []),
        ("missed", _("The worst ranks"), missed(record)),
    )


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} captioned images of {data} in {time}. Of {test} test "
        "images, the right caption is the nearest for {value} (95 % interval {interval})."
    )
    return filled(record, text, match.RECALL[1])


def notes(record: RunRecord) -> list[str]:
    """Return the caveats of the figures."""
    told = []
    if record.data.endswith("captioned_scenes"):
        told.append(_("The scenes are composed by a program: photographs and what people write about them are harder."))
    return told


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Matching sentences to images like those of {data}.")
    return text.format(data=record.data), 'model("photo.jpg", texts="a red bird|a blue fish")'


def _parts(record: RunRecord) -> tuple[OfSubset, ...]:
    return getattr(record.details, "parts", ())


def _table(record: RunRecord, names: tuple[str, ...]) -> list[Table]:
    """Tabulate ``names`` by subset and language, all as shares; metrics without a value are left out."""
    parts = _parts(record)
    known = [name for name in names if any(name in part.measures for part in parts)]
    heads = [head for name in known for head in (_title(name), _("95 % interval"))]
    rows = [
        [
            _(SUBSETS[part.subset]) if part.subset in SUBSETS else part.subset,
            LANGUAGE_NAMES.get(part.language, part.language),
            units.whole(part.cases),
            *(cell for name in known for cell in figure(match.SWAPS, part.measures.get(name))),
        ]
        for part in parts
    ]
    columns = [_("pictures"), *heads]
    return [Table([_("subset"), _("language"), *columns], rows, right=columns)] if known else []


def _title(name: str) -> str:
    return _(TITLES[name]) if name in TITLES else registry.metric(name).title


def missed(record: RunRecord) -> list[Block]:
    """Show the images whose caption has the worst rank, with the caption that was ranked first."""
    assert record.test is not None
    answers, test = record.answers[0], record.test
    if "preferred" not in answers:
        return []
    rank, preferred = dense(answers, "rank"), dense(answers, "preferred")
    languages = matching.languages(test)
    places = [divmod(place, rank.shape[1]) for place in rank.flatten().argsort(descending=True).tolist()[: 4 * WORST]]
    shown: dict[int, Tile] = {}
    for row, number in places:
        if rank[row, number] > 1 and row not in shown and len(shown) < WORST:
            language = languages[number]
            own = matching.spoken(test, row, language)
            other = matching.spoken(test, int(preferred[row, number]), language)
            shown[row] = tile(
                test.input[row],
                own,
                (
                    own,
                    _("preferred: {text}").format(text=other),
                    _("rank {rank}").format(rank=units.whole(int(rank[row, number]))),
                ),
                test.file[row],
            )
    text = _("Of {all} captions, {count} are not the nearest to their image. Those with the lowest ranks:").format(
        all=units.whole(int((rank > 0).sum())), count=units.whole(int((rank > 1).sum()))
    )
    return [text, Gallery(list(shown.values()))] if shown else []
