"""The notebook on a language model's life runs: here with a tiny model and short stages."""

from playing import stepped
from shapes import sentences

import souron
from souron.data.composing.language import manners

TINY = {"layers": 1, "width": 32, "heads": 1}


def test_from_letters_to_manners(tmp_path, monkeypatch):
    train, compare = souron.train, souron.compare
    texts = tmp_path / "texts"
    texts.mkdir()
    for number, text in enumerate(sentences(60).input):
        (texts / f"{number:03d}.txt").write_text(text, encoding="utf-8")
    made = manners.exchanges(counts={"train": 4, "val": 2, "test": 2})
    monkeypatch.setattr(manners, "exchanges", lambda *_given: made)
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.chdir(tmp_path)

    def tiny(name):
        own = ",".join(f"{known}={value}" for known, value in TINY.items())
        return f"{name},{own}" if ":" in name else f"{name}:{own}"

    monkeypatch.setattr(
        souron, "train", lambda *given, **named: train(*given, config=TINY, batch=16, **named), raising=False
    )
    monkeypatch.setattr(
        souron, "compare", lambda names, *given, **named: compare(map(tiny, names), *given, batch=16, **named),
        raising=False,
    )  # fmt: skip
    letters = souron.train("gpt", texts, budget="2ep", name="letters")
    known, shown = stepped("letters_to_manners", {"START": str(letters.folder), "TALK": "2ep", "MANNERS": "2ep"})
    assert known["manners"].details.manners.rows
    assert known["manners"].seen["lesson"] == "preferences"
    assert "before" in "".join(shown)
