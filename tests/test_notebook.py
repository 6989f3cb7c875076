"""The notebook runs: here with a few sentences in place of manuals, and short lessons."""

import json
from pathlib import Path

from shapes import sentences

import souron
from souron.data.composing.language import manners

FILE = Path(__file__).parent.parent / "notebooks" / "en" / "letters_to_manners.ipynb"


def test_from_letters_to_manners(tmp_path, monkeypatch):
    texts = tmp_path / "texts"
    texts.mkdir()
    for number, text in enumerate(sentences(60).input):
        (texts / f"{number:03d}.txt").write_text(text, encoding="utf-8")
    made = manners.exchanges(counts={"train": 4, "val": 2, "test": 2})
    monkeypatch.setattr(manners, "exchanges", lambda *_given: made)
    monkeypatch.chdir(tmp_path)

    def short(do):
        def run(systems, data, **options):
            tiny = {"config": {"layers": 1, "width": 32, "heads": 1}} if do is souron.train else {}
            if systems == "ngram":
                tiny = {}
            if do is souron.compare:
                systems = [f"{s}{',' if ':' in s else ':'}layers=1,width=32,heads=1" for s in systems]
            options |= {"budget": "2ep", "batch": 16} | tiny
            return do(systems, texts if data == "manuals" else data, **options)

        return run

    cells = json.loads(FILE.read_text(encoding="utf-8"))["cells"]
    known = {}
    ours = type(
        "souron",
        (),
        {
            "load": staticmethod(souron.load),
            "train": staticmethod(short(souron.train)),
            "compare": staticmethod(short(souron.compare)),
        },
    )
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "google.colab" not in source:
            known["souron"] = ours
            exec(source, known)
    assert known["manners"].details.manners.rows
    assert known["manners"].seen["lesson"] == "preferences"
