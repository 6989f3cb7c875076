"""Report sections of speech recognition."""

from typing import TYPE_CHECKING, Any

from souron import registry
from souron.evaluation.language.generated_texts import shortened
from souron.evaluation.language.transcription import TranscribeResult
from souron.metrics.transcription import CHARACTER, WORD
from souron.report.page import Section, figure, filled, section
from souron.report.recordings import listening, player, spectrogram
from souron.utils.messages import _

if TYPE_CHECKING:
    from souron.evaluation.record import ComparisonRecord, RunRecord

TEMPLATE = "transcribe.html"
SEEN = 3  # recordings with spectrogram and sound


def run(record: "RunRecord") -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, TranscribeResult) and test is not None
    names = [name for name in (WORD, CHARACTER) if name in record.measures]
    table: Any = {
        "metrics": [registry.metric(name).title for name in names],
        "rows": [
            (language, [figure(name, measures.get(name)) for name in names])
            for language, measures in result.by_language.items()
        ],
    }
    heard = {
        "told": _(
            "Some test recordings, evenly spaced, not selected. Where it is known, the "
            "lower image shows where the system listened for each token of its text."
        ),
        "recordings": [_heard(result, test, row, text, number) for number, (row, text) in enumerate(result.shown)],
    }
    nothing = _("(nothing)")
    confused = {
        "told": _("The most frequent errors of words, in the test recordings that are kept."),
        "rows": [(said or nothing, other or nothing, times) for said, other, times in result.confused],
    }
    parts = (
        ("languages", _("By language"), table if result.by_language else None),
        ("confused", _("Words that were confused"), confused if result.confused else None),
        ("heard", _("Recordings to read and hear"), heard if result.shown else None),
    )
    return [one for name, title, part in parts for one in section(name, title, TEMPLATE, part)]


def _heard(result: TranscribeResult, test: Any, row: int, text: str, number: int) -> Any:
    words = [(_("by a person"), shortened(test.target[row])), (_("by the system"), text)]
    if number >= SEEN and row not in result.attention:
        return test.file[row], words, None, None
    recording = test.input[row]
    seen = result.attention.get(row)
    image = spectrogram(recording) if seen is None else listening(recording, seen, text)
    return test.file[row], words, image, player(recording)


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
