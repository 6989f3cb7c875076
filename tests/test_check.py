"""Answers beside their sources: what is compared, what the judge makes of it, ``souron check``."""

import io
import json
import random
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import test_serving as serving
import waiting

from souron import model
from souron.actions.check import faithfulness, page, passages, self_consistency
from souron.cli import main
from souron.evaluation.claims import changes, comparison, judges, quantities
from souron.evaluation.language.text_generation import Sampling
from souron.kinds.text import Text
from souron.runs import documents
from souron.serve import access
from souron.serve.api import Gate
from souron.serve.service import Service
from souron.serve.uploads import Limits
from souron.utils.messages import UserError

WARD = (
    "The ward opens at eight. Amoxicillin 500 mg was given every 8 hours for 7 days. "
    "The left first molar was extracted on May 3, 2024. "
    "There was no bleeding after the extraction.\n"
    "左側の下顎に腫脹を認めた。ペニシリンアレルギーはない。体重は60 kgである。"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURON_LANG", "en")


@pytest.fixture
def ward(tmp_path):
    file = tmp_path / "notes" / "ward.txt"
    file.parent.mkdir()
    file.write_text(WARD, "utf-8")
    return file


def amounts(text):
    return [(round(q.low, 9), round(q.high, 9), q.dim) for q in quantities.quantities(quantities.normal(text).text)]


@pytest.mark.parametrize(
    "one, other",
    [
        ("500 mg", "0.5 g"),
        ("５００ｍｇ", "500 mg"),
        ("500ミリグラム", "0.5 g"),
        ("㎎ 1", "mg 1"),
        ("三本の歯", "3本の歯"),
        ("二百五十 mg", "250 mg"),
        ("30 %", "3割"),
        ("30 percent", "30パーセント"),
        ("two weeks", "14日間"),
        ("1,200 ml", "1.2 L"),
        ("10-15 mg", "10〜15ミリグラム"),
        ("from 3 to 5 days", "3-5 days"),
        ("twice", "2回"),
        ("101.3 °F", "38.5 ℃"),
        ("120万円", "1200000 yen"),
        ("18か月", "1.5 years"),
        ("100 mg/dL", "1 g/L"),
    ],
)
def test_a_quantity_is_the_same_however_it_is_written(one, other):
    assert amounts(one) == amounts(other) != []


def test_numerals_in_words_and_names_are_no_quantities():
    assert amounts("一部の患者は十分である。COVID-19, HbA1c, SHA256") == []
    assert amounts("version 2.0.1 at 10:30") == [(0, 0, ""), (0, 0, "")]


def test_dates_agree_across_calendars():
    told = [
        quantities.dates(text)[0] for text in ("令和6年5月3日", "May 3, 2024", "3 May 2024", "2024-05-03", "2024年5月")
    ]
    assert all(one.agrees(other) for one in told for other in told)
    assert not told[0].agrees(quantities.dates("平成6年5月3日")[0])


ALIKE = [
    ("The dose was 0.5 g.", "The dose was 500 mg."),
    ("Bleeding did not occur.", "There was no bleeding."),
    ("治療は14日間続いた。", "治療は二週間続いた。"),
    ("痛みは認めません。", "痛みはない。"),
    ("The study took place in 2024.", "研究は令和6年に行われた。"),
]
OTHERWISE = [
    ("number", "The dose was 250 mg.", "The dose was 500 mg."),
    ("number", "用量は250 mgであった。", "用量は0.5 gであった。"),
    ("unit", "The dose was 500 g.", "The dose was 500 mg."),
    ("date", "抜歯は令和5年に行った。", "The tooth was extracted in 2024."),
    ("side", "The right molar was extracted.", "The left molar was extracted."),
    ("side", "右側に腫脹を認めた。", "There was swelling on the left."),
    ("negation", "There was bleeding.", "There was no bleeding."),
    ("negation", "痛みを認める。", "痛みは認めない。"),
    ("negation", "You can never save files without a name.", "You can save files without a name."),
    ("amount", "The pressure increased.", "血圧は低下した。"),
    ("name", "She was given metformin.", "She was given amoxicillin."),
    ("name", "She is allergic to aspirin.", "She is allergic to penicillin."),
    ("name", "ワルファリンを投与した。", "アモキシシリンを投与した。"),
    ("swap", "The left pocket was 3 mm, the right 5 mm.", "The left pocket was 5 mm, the right 3 mm."),
    ("swap", "Mori operated and Sato assisted.", "Sato operated and Mori assisted."),
    ("comparison", "It lasted at most 3 days.", "It lasted at least 3 days."),
]


@pytest.mark.parametrize("sentence, passage", ALIKE)
def test_what_is_written_otherwise_is_no_change(sentence, passage):
    assert not comparison.compare(sentence, passage, 0.8).features["plain"]


@pytest.mark.parametrize("kind, sentence, passage", OTHERWISE)
def test_what_differs_is_named_with_its_place(kind, sentence, passage):
    found = comparison.compare(sentence, passage, 0.8)
    assert kind in [change.kind for change in found.changes] and found.features["plain"]
    for change in found.changes:
        assert sentence[max(0, change.start) : max(0, change.end)] == change.answer
        assert passage[max(0, change.first) : max(0, change.last)] == change.source


def test_a_turned_sentence_exchanges_no_names():
    pairs = [
        ("Mori was assisted by Sato.", "Sato assisted Mori."),
        ("Sato and Mori operated in Kyoto.", "Mori and Sato operated in Kyoto, as planned by all."),
    ]
    for sentence, passage in pairs:
        assert not comparison.compare(sentence, passage, 0.8).features["swap"], sentence


def test_a_month_is_no_name_of_a_place():
    found = comparison.compare("We met in Kyoto again.", "We met again in March.", 0.8)
    assert [(each.kind, each.source) for each in found.changes if each.kind == "name"] == [("name", "")]


def test_a_word_that_is_not_in_the_passage_contradicts_nothing(monkeypatch):
    monkeypatch.setattr(judges.Judge, "verdict", lambda *_given: judges.Verdict(0, "contradicted", 0.1, 0.9))
    said = Text("The study patients received the dose of amoxicillin for 7 days.")
    [found] = faithfulness.check(said, Text("Patients received amoxicillin for 7 days.")).checked
    assert (found.state, list(found.changed)) == ("not found", [])
    said = Text("Patients received amoxicillin for 9 days.")
    [other] = faithfulness.check(said, Text("Patients received amoxicillin for 7 days.")).checked
    assert other.state == "contradicted"


def test_places_are_those_of_the_text_as_it_stands():
    [change] = comparison.compare("量は㎎で２５０ｍｇ。", "量は㎎で５００ｍｇ。", 0.9).changes
    assert (change.answer, change.source) == ("２５０ｍｇ", "５００ｍｇ")


def test_changes_that_teach_are_changes():
    rng = random.Random(0)
    text = "If it hurts, 20 mg of amoxicillin is given to the left side for 2 weeks in 2024."
    wrong = dict(changes.wrong(text, rng, ["Metformin or metformin is given."]))
    assert {"number", "unit", "date", "side", "negation", "name", "swap"} <= set(wrong)
    for kind in ("number", "unit", "side", "negation", "name", "date"):
        assert comparison.compare(wrong[kind], text, 0.9).features["plain"], wrong[kind]
    reworded = changes.harmless("2 hours later the patient was given 500 mg.", rng)
    assert len(reworded) >= 2
    assert not any(
        comparison.compare(each, "2 hours later the patient was given 500 mg.", 0.9).features["plain"]
        for each in reworded
    )


@pytest.mark.parametrize(
    "sentence, state",
    [
        ("She was given amoxicillin, 0.5 g every eight hours, for 7 days.", "supported"),
        ("Amoxicillin 250 mg was given every 8 hours for 7 days.", "contradicted"),
        ("The right first molar was extracted on May 3, 2024.", "contradicted"),
        ("There was bleeding after the extraction.", "contradicted"),
        ("The parliament met in Vienna to discuss the railway.", "not found"),
        ("左の下顎に腫脹がみられた。", "supported"),
        ("右側の下顎に腫脹を認めた。", "contradicted"),
        ("ペニシリンアレルギーがある。", "contradicted"),
        ("株価は東京市場で急落した。", "not found"),
        ("Yes.", "no claim"),
    ],
)
def test_each_sentence_gets_its_state(sentence, state):
    [found] = faithfulness.check(Text(sentence), Text(WARD)).checked
    assert found.state == state
    if state in ("supported", "contradicted"):
        assert WARD[found.first : found.last] == found.passage
    assert bool(found.changed) == (state == "contradicted")


def test_a_source_in_the_other_language_is_compared_as_far_as_that_goes():
    said = "The left lower jaw was swollen. She weighs 90 kg. She weighs 60 kg."
    found = faithfulness.check(Text(said), Text("左側の下顎に腫脹を認めた。彼女の体重は60 kgである。"))
    assert [each.state for each in found.checked] == ["supported", "contradicted", "supported"]
    name = faithfulness.check(Text("Doctor Tanaka extracted the tooth."), Text("佐藤医師が抜歯した。"))
    assert name.checked[0].unchecked == ["name"] or name.checked[0].state == "not found"


def test_the_command_and_its_page(ward, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = tmp_path / "answer.txt"
    answer.write_bytes("<b>右側</b>の下顎に腫脹を認めた。体重は60 kgである。".encode("cp932"))
    (ward.parent / "scan.pdf").write_bytes(b"%PDF")
    words = ["check", str(answer), f"sources={ward.parent}", "page=checked.html"]
    assert main.run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    first, second = told["sentences"]
    assert {"sentence", "state", "passage", "file", "score", "changed"} <= set(first)
    assert (first["state"], second["state"]) == ("contradicted", "supported")
    assert first["changed"][0]["answer"] == "右側" and first["file"] == str(ward)
    assert told["skipped"] == ["scan.pdf"]
    html = (tmp_path / "checked.html").read_text("utf-8")
    assert "<b>右側" not in html and "&lt;b&gt;<mark>右側</mark>" in html
    assert "<mark>左側</mark>" in html
    assert "http" not in html.replace("http-equiv", "") and "<script" not in html
    again = faithfulness.check(answer, str(ward.parent))
    assert page.rows(again) in html
    assert main.run(words) == 2  # the page is there already
    assert main.run(words[:-1]) == 0
    assert "✗ contradicted" in capsys.readouterr().out


def test_references_have_a_section_of_their_own(ward, tmp_path, capsys):
    refs, answer = tmp_path / "refs.bib", tmp_path / "answer.md"
    refs.write_text(
        "@article{a, title={Deep learning}, author={LeCun, Yann}, year={2015}, doi={10.1038/nature14539}}", "utf-8"
    )
    answer.write_text("Amoxicillin 500 mg was given (doi:10.1038/nature14539).", "utf-8")
    assert main.run(["check", str(answer), f"sources={ward}", f"library={refs}", "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out)["citations"]
    assert told["key"] == "a"


@pytest.mark.parametrize(
    "answer, source, code",
    [
        (b"", b"One sentence.", "empty file"),
        (b" \n\t", b"One sentence.", "empty answer"),
        (b"\x00\xff\x00binary", b"One sentence.", "not a text"),
        (b"It is so.", b"\x89PNG\r\n\x1a\n\x00", "not a text"),
        (b"It is so.", b"---", "no texts"),
    ],
)
def test_what_cannot_be_checked_is_said(answer, source, code, tmp_path):
    said, told = tmp_path / "a.txt", tmp_path / "s.txt"
    said.write_bytes(answer)
    told.write_bytes(source)
    with pytest.raises(UserError) as trouble:
        faithfulness.check(said, told)
    assert trouble.value.code == code and trouble.value.exit == 3


def test_an_answer_of_100_000_sentences_is_refused_at_once(monkeypatch):
    for step in ("documents", "references", "passages", "verdicts"):
        monkeypatch.setattr(faithfulness, step, None)  # not even its sources are read
    with pytest.raises(UserError) as trouble:
        faithfulness.check(Text("The dose is 5 mg. " * 100_000), Text(WARD))
    assert trouble.value.code == "too large"


def test_hostile_sentences_take_no_longer():
    begun = time.process_time()
    for text in ("1" * 400, "1,1" * 130, "一" * 400, "not " * 100, "1 - " * 100, "A" * 400, "千万" * 200):
        comparison.compare(text, text[::-1], 0.5)
    assert time.process_time() - begun < waiting.LIMIT  # without bounds it would be hours


def test_the_command_names_what_is_missing(ward, capsys):
    assert main.run(["check"]) == 2
    assert "sources=" in capsys.readouterr().err
    assert main.run(["check", str(ward)]) == 0  # its references alone, and how to check the rest
    assert "sources=notes/" in capsys.readouterr().err
    assert main.run(["check", str(ward), f"sources={ward}", "samples=3"]) == 2


def test_an_answer_can_be_piped_in(ward, monkeypatch, capsys):
    piped = SimpleNamespace(buffer=io.BytesIO(b"Amoxicillin 250 mg was given every 8 hours."))
    monkeypatch.setattr(sys, "stdin", piped)
    assert main.run(["check", "-", f"sources={ward}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["contradicted"] == 1


def test_a_server_checks_texts_and_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    service = Service(model.Model("shouting", serving.Shouting(None, None)), Limits())
    app = Gate(service, access.Door(serving.PORT, programs=True))
    body = {"given": ["The ward opens at eight. The right molar was extracted."], "sources": ["Nothing.", WARD]}
    told = serving.send(app, path="/studies/check", json=body).json()
    assert told["sentence"].startswith("2 sentences: 1 supported, 1 contradicted")
    last = told["sentences"][-1]
    assert (last["file"], last["changed"][0]["kind"]) == ("sources-2", "side")
    assert WARD[last["first"] : last["last"]] == last["passage"]
    for name in ("model", "library", "page", "question"):
        refused = serving.send(app, path="/studies/check", json=body | {name: "x"})
        assert serving.error_code(refused) == "option"
    empty = serving.send(app, path="/studies/check", json=body | {"given": ["---"]})
    assert serving.error_code(empty) == "empty answer"
    alone = serving.send(app, path="/studies/check", json={"given": ["ISBN 978-3-16-148410-1"]})
    assert alone.json()["citations"][0]["state"] == "impossible"
    schema = serving.send(app, "GET", "/openapi.json", headers={"accept-language": "ja"}).json()
    assert serving.JAPANESE.search(schema["paths"]["/studies/check"]["post"]["summary"])
    service.close()
    assert list(tmp_path.rglob("*")) == []


def test_answers_that_are_drawn_again_are_counted(monkeypatch):
    said = ["He was given 500 mg of amoxicillin.", "He was given 250 mg of amoxicillin.", ""]
    tokenizer = SimpleNamespace(template="", start=0, encode=lambda text: [1, 2])
    reader = SimpleNamespace(tokenizer=tokenizer, context=1_000)
    monkeypatch.setattr(documents, "speaker_of", lambda name: SimpleNamespace(reader=reader))
    seeds = []

    def write(self, tokens, length, sampling: Sampling):
        seeds.append(sampling.seed)
        return [SimpleNamespace(text=said[len(seeds) - 1])]

    monkeypatch.setattr(
        self_consistency, "Writer", lambda reader: SimpleNamespace(write=lambda *given: write(None, *given))
    )
    found = faithfulness.check(
        Text("He was given 500 mg of amoxicillin."),
        Text(WARD),
        model="any",
        samples=3,
        question="What was he given?",
        seed=5,
    )
    assert found.checked[0].agree == (1, 3) and seeds == [5, 6, 7]


LEVELS = {"en": 0.5, "ja": 0.95, "across": 0.99}


def verdict(alike, against, language="en", across=False):
    """Of passages that are so much alike, and so likely contradict."""
    judge = judges.Judge({"features": [*comparison.FEATURES], "models": {}, "thresholds": LEVELS})
    judge.alike = lambda _made: np.array(alike)
    judge.contradicts = lambda _made: np.array(against)
    found = judge.verdict([SimpleNamespace(across=across)] * len(alike), language)
    return found.passage, found.state


def test_a_passage_that_supports_wins_if_it_is_hardly_less_alike():
    assert verdict([3.0, 2.5, 0.5], [0.9, 0.1, 0.0]) == (1, "supported")
    assert verdict([3.0, 1.5], [0.9, 0.1]) == (0, "contradicted")
    assert verdict([3.0, 2.5], [0.9, 0.8]) == (0, "contradicted")
    assert verdict([-0.5, -1.0], [0.0, 0.0]) == (0, "not found")


def test_each_language_has_a_threshold_of_its_own():
    assert verdict([1.0], [0.9], "en") == (0, "contradicted")
    assert verdict([1.0], [0.9], "ja") == (0, "supported")
    assert verdict([1.0], [0.97], "ja") == (0, "contradicted")
    assert verdict([1.0], [0.97], "en", across=True) == (0, "supported")


def test_what_differs_never_speaks_for_a_passage():
    """Not even where, by chance, true sentences have other numbers than their passages."""
    random = np.random.default_rng(0)
    wrong = np.arange(200) % 2
    rows = np.zeros((200, len(comparison.FEATURES)))
    for name in ("number changed", "recall"):
        rows[:, comparison.FEATURES.index(name)] = 1 - wrong + random.normal(size=200)
    weight = dict(zip(comparison.FEATURES, judges.learn(rows, wrong, np.ones(200))["weight"], strict=True))
    assert weight["number changed"] == 0 and weight["recall"] < -0.3


def test_the_judge_knows_the_features_that_it_learnt_from():
    told = json.loads(judges.FILE.read_text("utf-8"))
    assert judges.FILE.stat().st_size < 100_000
    with pytest.raises(ValueError):
        judges.Judge(told | {"features": told["features"][1:]})


def test_two_sentences_that_follow_one_another_are_one_passage():
    *_before, (_done, sources) = passages.prepared([Text("He has a fever. He takes 5 mg.")], False)
    texts = [each.text for each in sources.find("He has a fever and takes 5 mg.")]
    assert "He has a fever. He takes 5 mg." in texts
