"""Report sections of speech recognition."""

from typing import TYPE_CHECKING, Any

from souron.evaluation.language.generated_texts import shortened
from souron.evaluation.language.transcription import TranscribeResult
from souron.metrics.transcription import CHARACTER, WORD
from souron.report.blocks import Block, Cell, Group, Live, Section, Table, sections
from souron.report.page import bare, figures, filled
from souron.report.recordings import listening, player, spectrogram
from souron.utils import units
from souron.utils.messages import _

if TYPE_CHECKING:
    from souron.evaluation.record import ComparisonRecord, RunRecord

SEEN = 3  # recordings with spectrogram and sound


def run(record: "RunRecord") -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, TranscribeResult) and test is not None
    names = [name for name in (WORD, CHARACTER) if name in record.measures]
    languages = [([language], measures) for language, measures in result.by_language.items()]
    heard = _(
        "Some test recordings, evenly spaced, not selected. Where it is known, the "
        "lower image shows where the system listened for each token of its text."
    )
    recordings = [_heard(result, test, row, text, number) for number, (row, text) in enumerate(result.shown)]
    nothing = _("(nothing)")
    confused = _("The most frequent errors of words, in the test recordings that are kept.")
    rows = [(said or nothing, other or nothing, units.whole(times)) for said, other, times in result.confused]
    table = Table([_("said"), _("heard"), _("times")], rows, right=[_("times")])
    return sections(
        ("languages", _("By language"), figures([_("language")], languages, names, cells=bare)),
        ("confused", _("Words that were confused"), [confused, table] if rows else []),
        ("heard", _("Recordings to read and hear"), [heard, *recordings] if recordings else []),
    )


def _heard(result: TranscribeResult, test: Any, row: int, text: str, number: int) -> Group:
    read = [(_("by a person"), shortened(test.target[row])), (_("by the system"), text)]
    shown: list[Block] = [Table([], [(name, Cell(words, style="text")) for name, words in read])]
    if number < SEEN or row in result.attention:
        recording, seen = test.input[row], result.attention.get(row)
        shown.append(spectrogram(recording) if seen is None else listening(recording, seen, text))
        shown.append(Live(player(recording)))
    return Group(test.file[row], shown)


def comparison(record: "ComparisonRecord") -> list[Section]:
    return []


def headline(record: "RunRecord") -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} recordings of {data} in {time}. Of {test} unseen test "
        "recordings it writes {value} of the words wrongly (95 % interval {interval})."
    )
    characters = _(
        "{system} was trained on {train} recordings of {data} in {time}. Of {test} unseen test "
        "recordings it writes {value} of the characters wrongly (95 % interval {interval})."
    )
    return filled(record, text, WORD) or filled(record, characters, CHARACTER)


def limits(record: "RunRecord") -> list[str]:
    """Return the limits of the figures, for the model card."""
    return [
        _(
            'An error rate counts words or characters, not what they mean: a lost "not" is one '
            "error, a name in another spelling as well. Case and punctuation do not count."
        ),
        _(
            "It holds for speakers, microphones and rooms like those of its test recordings. "
            "Others can be several times as hard."
        ),
        _("A text may be fluent and yet not what was said. Where it matters, a person listens."),
    ]


def use(record: "RunRecord") -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    text = _("Writing down speech like that of {data}, to be checked by someone who has heard it.")
    return text.format(data=record.data), 'print(model("speech.wav"))'
