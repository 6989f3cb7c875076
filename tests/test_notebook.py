"""The notebook on a language model's life runs: here with a tiny model and few conversations."""

from playing import stepped

import souron
from souron.data.composing.language import manners

TINY = {"layers": 1, "width": 32, "heads": 1}


def test_from_letters_to_manners(tmp_path, monkeypatch):
    train = souron.train
    made = manners.exchanges(counts={"train": 4, "val": 2, "test": 2})
    monkeypatch.setattr(manners, "exchanges", lambda *_given: made)
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.chdir(tmp_path)

    def tiny(*given, **named):
        return train(*given, config=TINY, batch=16, **named)

    monkeypatch.setattr(souron, "train", tiny, raising=False)
    talk = souron.train("gpt", "manners", budget="2ep", name="talk")
    known, shown = stepped(
        "letters_to_manners", {"LETTERS": str(talk.folder), "TALK": str(talk.folder), "BUDGET": "2ep"}
    )
    assert known["manners"].details.manners.rows
    assert known["manners"].seen["lesson"] == "preferences"
    assert "before" in "".join(shown) and "".join(shown).count("My tooth hurts. What should I do? ->") == 2
