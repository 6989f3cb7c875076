"""Lines of the command line while an answer takes long."""

import threading

import waiting

from souron.cli import console


def test_an_answer_that_takes_long_is_told_of(monkeypatch):
    """Every ten seconds, also where stderr is a pipe; nothing is said of answers that come at once."""
    told, heard = [], threading.Event()
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 0.01)
    monkeypatch.setattr(console, "note", lambda text: (told.append(text), heard.set()))

    def answers():
        yield "quick"
        assert heard.wait(waiting.LIMIT)
        yield "slow"

    before = threading.active_count()
    assert list(console.awaited(answers())) == ["quick", "slow"]
    assert told[0].startswith("still answering, for ")
    waiting.until(lambda: threading.active_count() <= before)
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 60)
    told.clear()
    assert list(console.awaited(range(3))) == [0, 1, 2] and told == []
