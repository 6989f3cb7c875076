"""Every report stands there in both languages, and each says all in its own."""

import html
import json
import re
from pathlib import Path
from string import Formatter

import messages
import pytest
import torch

from souron.kinds.codecs.image import as_image
from souron.report import page as report_page
from souron.report.page import report_file
from souron.runs import compare as run_compare
from souron.runs import train as run_train
from souron.training import forecast
from souron.utils import files
from souron.utils.messages import LANGUAGES, Message, UserError, _, again, sentences, use_language

JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]+")
NAMED = {"総論", "日本語"}  # words that are the same in every language
OTHER = {"en": "ja", "ja": "en"}
TINY = {"budget": "2ep", "batch": 16, "side": 16}


def pieces() -> set[str]:
    """What stands between the fields of each message, where that is long enough to be known again
    and no part of its translation."""
    found = set()
    for message in messages.everything():
        for text, *_field in Formatter().parse(message.id):
            if len(text) > 12 and text.strip() not in message.string:
                found.add(" ".join(text.split()))
    return {text for text in found if len(text) > 12}


def shown(page: str) -> str:
    """What is read of a page: its text and what its pictures are called. Not what files and
    commands say, nor the paper's name."""
    page = re.sub(r"<(pre|code|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    page = re.sub(r"<details><summary>[^<]*</summary>\s*</details>", " ", page)
    called = re.findall(r' (?:alt|aria-label|title)="([^"]*)"', page)
    text = re.sub(r"<[^>]+>", " ", page)
    return html.unescape(" ".join([*text.split(), *called])).replace("\N{NO-BREAK SPACE}", " ")


def photos() -> Path:
    """40 pictures of 20 patients in two classes, and two files that cannot be used."""
    folder, random = Path("photos"), torch.Generator().manual_seed(0)
    for i in range(40):
        path = folder / ("sound", "ill")[i % 4 // 2] / f"patient-{i // 2}_{i % 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = torch.randint(0, 150 + 50 * (i % 4 // 2), (3, 4, 4), generator=random)
        as_image(coarse.repeat_interleave(4, 1).repeat_interleave(4, 2).byte()).save(path)
    whole = path.read_bytes()
    (folder / "ill" / "half.png").write_bytes(whole[: len(whole) // 2])
    (folder / "astray.png").write_bytes(whole)
    return folder


def classifier(data, monkeypatch):
    """Nothing says which pictures are of one patient."""
    return run_train.train("cnn_tiny", data, **TINY, group="none", folds=1)


def cross_validated(data, monkeypatch):
    """Patients are known, and what the cross-validation leaves out is told."""
    monkeypatch.setattr(run_train, "probe", lambda fit: forecast.Probe(30, look=0, held=0))
    return run_train.train("cnn_tiny", data, **TINY)


def generator(data, monkeypatch):
    return run_train.train("vae_tiny", data, **TINY, samples=6)


def clusters(data, monkeypatch):
    return run_train.train("kmeans_tiny", data, **TINY)


def tree(data, monkeypatch):
    return run_train.train("hierarchical_tiny", data, **TINY)


def a_map(data, monkeypatch):
    return run_train.train("pca_tiny", data, **TINY)


def compared(data, monkeypatch):
    return run_compare.compare(["mlp_tiny", "cnn_tiny"], data, **TINY, seeds=2)


def compared_generators(data, monkeypatch):
    return run_compare.compare(["vae_tiny", "gan_tiny"], data, **TINY, seeds=1, samples=6)


MAKERS = [classifier, cross_validated, generator, clusters, tree, a_map, compared, compared_generators]
CASES = [("en", make) for make in MAKERS] + [("ja", make) for make in (classifier, cross_validated, compared)]


@pytest.mark.parametrize(("spoken", "make"), CASES, ids=[f"{make.__name__}-{spoken}" for spoken, make in CASES])
def test_a_report_in_each_language_holds_nothing_of_the_other(spoken, make, monkeypatch):
    """Whichever was spoken when the run was made, and its data read."""
    monkeypatch.setenv("SOURON_LANG", spoken)
    record = make(photos(), monkeypatch)
    pages = {wish: record.folder / report_file(wish) for wish in LANGUAGES if wish != spoken}
    pages[spoken] = record.folder / "report.html"
    text = {wish: path.read_text(encoding="utf-8") for wish, path in pages.items()}
    for wish, page in text.items():
        assert f'<html lang="{wish}">' in page
        assert re.findall(r'<a [^>]*href="(report[^"]*)"', page) == [pages[OTHER[wish]].name]
    english, japanese = shown(text["en"]), re.sub(r"\[shortcut [^\]]*\]", "", shown(text["ja"]))  # keys to answer by
    assert set(JAPANESE.findall(english)) <= NAMED
    assert [piece for piece in pieces() if piece in japanese] == []
    assert len(JAPANESE.findall(japanese)) > 50 and len(english.split()) > 100
    assert (spoken == "ja") == bool(JAPANESE.search(" ".join(record.notes)))


def test_notes_and_reasons_are_in_the_reports_language(monkeypatch):
    """What the test above would not miss where it is left out."""
    record = cross_validated(photos(), monkeypatch)
    assert record.reduced and record.patients and len(record.skipped) == 2
    for wish, path in (("en", "report.html"), ("ja", "report.ja.html")):
        page = html.unescape((record.folder / path).read_text(encoding="utf-8"))
        with use_language(wish):
            told = [
                again(record.reduced),
                again(record.patients),
                again(record.grouped),
                *(again(file.reason) for file in record.skipped),
            ]
        assert all(text.replace(" %", "\N{NO-BREAK SPACE}%") in page for text in told)
        assert all(bool(JAPANESE.search(text)) == (wish == "ja") for text in told)
    card = (record.folder / "card.md").read_text(encoding="utf-8")
    assert not JAPANESE.search(card)
    receipt = json.loads((record.folder / "receipt.json").read_text(encoding="utf-8"))
    assert receipt["notes"] == record.notes and record.reduced in receipt["notes"]


def test_a_message_can_be_said_again():
    listed = _(", ").join(["a", _("{count} cases").format(count=1234)])
    text = sentences([_("{how}, as {name} in {file}").format(how=listed, name=Path("n"), file="f")])
    assert str(text) == "a, 1234 cases, as n in f"
    with use_language("ja"):
        assert again(text) != text and JAPANESE.search(again(text)) and "1234 件" in again(text)
        assert again(again("plain")) == "plain" and again("") == "" and again(None) is None
    assert again(text) == text
    path = Message("{path}: {why}").format(path="x", why=_("not an image"))
    with use_language("ja"):
        assert JAPANESE.search(again(path.removeprefix("x: ")))
        assert not again(path.removeprefix("x: ")).startswith("x")


def test_a_message_keeps_no_exception_and_with_it_no_tensors():
    text = _("{path} cannot be read: {why}").format(path="p", why=OSError("disk"))
    assert text.recipe[2] == {"path": "p", "why": "disk"}


def test_a_full_disk_is_told_of_in_the_readers_language(tmp_path, monkeypatch):
    def full(path, text):
        raise files.cannot_write(path, OSError(28, "No space left on device"))

    monkeypatch.setattr(report_page.files, "write_text", full)
    with use_language("en"), pytest.raises(UserError, match="cannot write"):
        report_page.in_each_language(tmp_path, lambda elsewhere: _("cases"))
