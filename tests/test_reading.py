"""Long texts: their sentences and places, what finds the right one, what ``souron ask`` says."""

import io
import json
import math
import os
import random
import sys
import textwrap
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import shapes
import torch
from shapes import published

import souron
from souron import registry
from souron.actions import ask as ask_study
from souron.cli import main
from souron.data.language.retrieval import Search, Shelf, places
from souron.data.language.sentences import LONGEST, sentences
from souron.data.language.tokenizer import Tokenizer
from souron.data.sets import help_questions
from souron.evaluation.answers import Setup
from souron.evaluation.language import unsupported_words
from souron.evaluation.language.retrieval_augmented import LENGTH, Speaker, Spoken
from souron.kinds.passages import Passage, Passages, in_one_line
from souron.kinds.text import Text
from souron.metrics import retrieval
from souron.report.sections import retrieve as section
from souron.runs import documents, passage_index, train
from souron.tasks.retrieve import Batch, missing_numbers, overlapping
from souron.training.loop import Run
from souron.utils.messages import UserError

WARD = (
    "The ward opens at eight. Patient 0417 is allergic to penicillin. "
    "He was given azithromycin for pneumonia.\r\n"
    "面会時間は午後二時からです。手術は金曜日に行われます。"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURON_LANG", "en")
    return tmp_path / "cache"


def told(text):
    """The sentences' texts; each is where it says that it is."""
    found = sentences(text)
    assert all(text[start:end] == said for said, start, end in found)
    assert all(a.end <= b.start for a, b in pairwise(found))
    return [said for said, *_place in found]


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            "Dr. Smith came at 3.5 p.m. to see J. Doe. He left! Did he?",
            ["Dr. Smith came at 3.5 p.m. to see J. Doe.", "He left!", "Did he?"],
        ),
        (
            "「はい。そうです。」と言った。次の文です！本当？",
            ["「はい。そうです。」と言った。", "次の文です！", "本当？"],
        ),
        ("# Heading\nText here.\n\n- one\r\n- two\r\n", ["# Heading", "Text here.", "- one", "- two"]),
        (
            "This line was broken by hand at a fixed width and\r\ngoes on here. End.",
            ["This line was broken by hand at a fixed width and\r\ngoes on here.", "End."],
        ),
        ("痛みを訴えた\n翌日退院した", ["痛みを訴えた", "翌日退院した"]),
        ("```\na = 1. B\n```\n😀\n---\n😀 fever", ["a = 1.", "B", "😀 fever"]),
        ("", []),
        ("😀", []),
        (" \r\n\t", []),
    ],
)
def test_sentences_and_their_places(text, expected):
    assert told(text) == expected


def test_a_line_without_an_end_is_cut_at_blanks():
    pieces = told("word " * 1000)
    assert max(map(len, pieces)) <= LONGEST and all(p.startswith("word") for p in pieces)
    assert "".join(told("あ" * 1000)) == "あ" * 1000


def test_places_count_characters_of_files_in_shift_jis_and_with_crlf(tmp_path):
    for encoding in ("utf-8", "cp932"):
        file = tmp_path / "ward.txt"
        file.write_bytes(WARD.encode(encoding))
        [quote] = souron.ask(file, "手術はいつですか", passages=1).passages.quotes
        assert WARD[quote.start : quote.end] == quote.text == "手術は金曜日に行われます。"


def test_a_text_that_is_indented_as_a_whole_keeps_its_sentences():
    """As licences, manual pages and letters are; a list and code within it stay apart."""
    text = (
        '      "Work" shall mean the work of authorship, whether in Source or\n'
        "      Object form, made available under the License.\n\n"
        "      (a) You must give any other recipients of the Work or\n"
        "          Derivative Works a copy of this License; and\n"
        "      (b) You must cause any modified files to carry notices.\n\n"
        "    values = np.array([1, 2, 3, 4]) + np.array([5, 6, 7, 8])\n"
        "    total = sum(values) / len(values); print(total, values)\n"
    )
    work, first, second, code, more = (" ".join(one.text.split()) for one in sentences(text))
    assert work.startswith('"Work"') and work.endswith("under the License.")
    assert first.endswith("a copy of this License; and") and second.startswith("(b)")
    assert code.startswith("values") and more.startswith("total")


PROSE = {
    "en": "The ward is open from two in the afternoon until seven in the evening on weekdays. Please wash your "
    "hands before you enter. Flowers in pots are not allowed, since soil carries germs that may hurt patients.",
    "ja": "病棟の面会は平日の午後二時から七時までです。入る前に手を洗ってください。鉢植えの花は土に菌がいるので"
    "持ち込めません。患者さんは枕元に電話を置くことができますが、夜は使えません。",
}


@pytest.mark.parametrize("width", [26, 30, 40, 44, 72, 100])
def test_a_wrapped_text_has_the_sentences_of_one_that_is_not(width):
    for text in (PROSE["en"], f"{PROSE['en']}\n\n{PROSE['ja']}", PROSE["ja"]):
        lines = [line for part in text.split("\n\n") for line in (*wrapped(part, width), "")]
        broken = "\r\n".join(lines)
        assert broken.count("\r\n") > 1
        assert [in_one_line(each) for each in told(broken)] == told(text)


def wrapped(text, columns):
    if " " in text:
        return textwrap.wrap(text, columns)
    return [text[start : start + columns // 2] for start in range(0, len(text), columns // 2)]


def test_lines_that_nobody_wrapped_stay_apart():
    """Though each ends where the next word would not have fitted."""
    drugs = ["Amlodipine 5 mg once daily in the morning", "Metformin 500 mg twice daily with meals"]
    drugs += ["Aspirin 100 mg once daily after breakfast"]
    fields, two = ["Name: Sakai", "Age: 54", "Ward: 4 East"], ["The first line is long enough", "Two"]
    short = ["milk, sugar and two beaten eggs", "flour", "butter at room temperature"]  # with room for a word
    for lines in (drugs, fields, two, short):
        assert told("\n".join(lines)) == lines


def test_a_wrapped_text_is_read_and_quoted_in_one_line():
    """The whole sentence is quoted, with its position."""
    for name, question, quote in (
        ("en", "Why no flowers in pots?", "patients."),
        ("ja", "なぜ鉢植えは持ち込めないのですか", "持ち込めません。"),
    ):
        text = "\n".join(wrapped(PROSE[name], 30))
        whole, broken = (souron.ask(Text(each), question, keep=False) for each in (PROSE[name], text))
        first, best = whole.passages.quotes[0], broken.passages.quotes[0]
        assert best.line() == first.text and first.text.endswith(quote)
        assert best.score == pytest.approx(first.score, abs=1e-6) and broken.found == whole.found
        assert text[best.start : best.end] == best.text != best.line()


def test_the_sentence_is_found_in_the_other_language():
    for question, answer in (
        ("When are visiting hours?", "面会時間は午後二時からです。"),
        ("患者のアレルギーは何ですか", "Patient 0417 is allergic to penicillin."),
    ):
        assert souron.ask(Text(WARD), question).passages.quotes[0].text == answer


def test_a_question_of_several_sentences_is_asked_one_by_one():
    encoder = souron.load("encoder").system
    *_before, (_done, index) = encoder.index(["Patient 0417 is allergic to penicillin."])
    asked = "The weather was fine on that day and the roads were dry. 患者はペニシリンに過敏である。"
    alone = "患者はペニシリンに過敏である。"
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder.rank(index, alone).dtype == torch.float32
    assert encoder.rank(index, asked)[0] >= encoder.rank(index, alone)[0] - 1e-6


def test_short_lines_are_held_back():
    encoder = souron.load("encoder").system
    *_before, (_done, index) = encoder.index(["Fever", "Fever is a temperature above 38 degrees."])
    assert index.float().norm(dim=1).tolist() == pytest.approx([0.75 + 0.25 * 5 / 32, 1], abs=2e-3)


def test_bm25_is_its_equation():
    texts = ["the cat sat", "the dog sat on the mat", "a bird"]
    system = souron.load("bm25").system
    *_before, (_done, index) = system.index(texts)
    score = system.rank(index, "the mat moon mat")
    words = [text.split() for text in texts]
    mean, k1, b = sum(map(len, words)) / 3, 1.2, 0.75
    for row, said in enumerate(words):
        expected = most = 0.0
        for word in ("the", "mat", "moon"):
            holding = sum(word in other for other in words)
            idf = math.log(1 + (3 - holding + 0.5) / (holding + 0.5))
            often = Counter(said)[word]
            slow = k1 * (1 - b + b * len(said) / mean)
            expected += idf * often * (k1 + 1) / (often + slow)
            most += idf * (k1 + 1)
        assert score[row] == pytest.approx(expected / most, rel=1e-5)


def test_bm25_reads_small_letters_and_of_japanese_every_two():
    words = sys.modules[registry.load_system("bm25")[0].__module__].words
    assert list(words("Fever 手術は 日 X線")) == ["fever", "手術", "術は", "日", "x", "線"]


def test_ranks_stand_behind_all_that_score_as_well():
    assert retrieval.rank([0.5, 0.9, 0.5], [True, False, False]) == 3
    assert retrieval.rank([0.5, 0.9], [False, True]) == 1
    assert retrieval.rank([0.5], [False]) == 0
    assert retrieval.hits([0, 1, 3, 4], 3).tolist() == [0, 1, 1, 0]
    assert retrieval.reciprocal([0, 1, 4]).tolist() == [0, 1, 0.25]
    some = retrieval.of_some([[1, 0, 1, 0]], [True, True, True, False])
    assert some.mean() == pytest.approx(2 / 3) and some.shape == (1, 4)


def test_the_threshold_is_the_one_that_tells_most():
    tried = retrieval.best_threshold([0.1, 0.2, 0.3, 0.8], [False, False, True, True])
    assert tried[0][1] == 0.5 and min(tried, key=lambda pair: pair[1]) == (0.25, 0.0)


def test_the_threshold_is_learnt_from_the_training_questions():
    kind, config = registry.load_system("bm25")
    system, cases = kind(replace(config, least=9.0), None), shapes.searches(40)
    steps = list(system.fit(system.loader(cases), Run(10**9)))
    wrong = [step.losses["told wrongly"].item() for step in steps]
    [batch] = system.loader(cases).once(40)
    told = system.asked(batch)[1] >= system.least
    there = torch.tensor([len(target) > 0 for target in cases.target])
    assert wrong[0] == 0.5 and wrong[-1] == min(wrong) < 0.3
    assert float((told != there).float().mean()) == pytest.approx(wrong[-1])


def test_a_question_with_a_number_that_stands_nowhere_has_no_score():
    asked = [Search(f"Is patient {n} allergic to penicillin?", WARD) for n in ("9911", "0417")]
    _ranks, best, _found = souron.load("bm25").system.asked(Batch(asked, [places(), places()]))
    assert best[0] == 0 < best[1]


def test_a_sentence_that_only_touches_a_passage_is_not_right():
    spans = torch.tensor([[0, 4], [4, 8], [7, 9], [8, 9]])
    assert overlapping(spans, places((4, 8))).tolist() == [False, True, True, False]


def test_told_counts_what_is_there_and_what_is_not():
    answers = {"rank": torch.tensor([1, 0, 2, 0]), "found": torch.tensor([1.0, 0.0, 0.0, 1.0])}
    scores = registry.load_task("retrieve").scores([answers], Setup(None, shapes.searches(4)))
    assert scores["told whether it is there"].tolist() == [[1, 1, 0, 0]]
    assert scores["hit@1"].mean() == 0.5 and scores["hit@3"].mean() == 1  # of two that are there


def test_a_number_that_stands_nowhere_is_told():
    assert missing_numbers("Is ９９１１ or 0417 ill?", [WARD]) == ("9911",)
    assert missing_numbers("1200 mg?", ["It was 1,200 mg."]) == ()
    reading = souron.ask(Text(WARD), "What is patient 9911 allergic to?")
    assert not reading.found and reading.passages.missing == ("9911",)
    assert "9911" in str(reading) and souron.ask(Text(WARD), "Allergic to penicillin?").found


def test_what_is_not_there_is_told_with_the_nearest_beside_it():
    reading = souron.ask(Text(WARD), "How do I fly to the moon?")
    assert not reading.found and len(reading.passages.quotes) == 3
    assert "No sentence is surely an answer" in str(reading)  # and no claim that it is not there


def test_what_stands_there_twice_is_quoted_once():
    quotes = souron.ask(Text("The ward is open. " * 3 + "It rains."), "Open?").passages.quotes
    assert [quote.text for quote in quotes] == ["The ward is open.", "It rains."]


def test_several_files_and_a_folder(tmp_path):
    for name, text in (("a.txt", "The ward is open."), ("b.md", "Penicillin harms him."), ("c.bin", "\0")):
        (tmp_path / name).write_text(text)
    reading = souron.ask([tmp_path / "a.txt", tmp_path / "b.md"], "Which medicine hurts?")
    assert reading.passages.quotes[0].file.endswith("b.md") and "b.md" in str(reading)
    assert souron.ask(tmp_path, "Which medicine hurts?").passages.quotes[0].file.endswith("b.md")


def test_the_second_question_reads_no_sentence_again(monkeypatch, cache):
    souron.ask(Text(WARD), "When?")
    [file] = (cache / "reading").glob("*.safetensors")
    encoder = documents.retriever_of("encoder")
    monkeypatch.setattr(type(encoder), "index", lambda *_given: pytest.fail("read again"))
    assert souron.ask(Text(WARD), "Is he allergic?").found
    monkeypatch.undo()
    monkeypatch.setenv("SOURON_CACHE", str(cache))
    file.write_bytes(b"\x80" * 500)
    assert souron.ask(Text(WARD), "Is he allergic?").found  # a damaged one is made anew


def test_the_cache_is_bounded_and_can_be_left_out(monkeypatch, cache):
    souron.ask(Text(WARD), "When?", keep=False)
    assert not (cache / "reading").exists()
    monkeypatch.setattr(passage_index, "MOST_BYTES", 12_000)  # two of these files
    for number in range(4):
        souron.ask(Text(f"{WARD} {number}"), "When?")
    assert sum(f.stat().st_size for f in (cache / "reading").iterdir()) <= 12_000


def test_an_index_is_that_of_its_system_and_its_text():
    systems = [SimpleNamespace(config=length) for length in (1, 2)]
    places = {passage_index._place(one, text) for one in systems for text in ("a", "b")}
    assert len(places) == 4


def test_the_index_that_was_not_used_for_longest_goes_first(monkeypatch, cache):
    texts = [Text(f"{WARD} {number}") for number in range(4)]
    files = []
    for number, text in enumerate(texts[:3]):
        souron.ask(text, "When?")
        [file] = {*(cache / "reading").iterdir()} - {*files}
        os.utime(file, (1000 + number, 1000 + number))
        files.append(file)
    souron.ask(texts[0], "Where?")  # the oldest is used again
    size = sum(file.stat().st_size for file in files)
    monkeypatch.setattr(passage_index, "MOST_BYTES", size + 100)
    souron.ask(texts[3], "When?")
    assert [file.exists() for file in files] == [True, False, True]


def test_words_that_no_passage_has_are_marked():
    answer = "The patient was given amoxicillin, 500 mg, for his pneumonia."
    spans = unsupported_words.unsupported(answer, [WARD])
    assert [answer[a:b] for a, b in spans] == ["amoxicillin", "500", "mg"]
    said = "患者は金曜日に退院します。"
    assert [said[a:b] for a, b in unsupported_words.unsupported(said, [WARD])] == ["患者", "退院"]
    assert unsupported_words.marked("a b", [(2, 3)], "<", ">") == "a <b>"


def test_a_language_model_comes_second(monkeypatch):
    class Stub:
        def answer(self, question, passages, seed):
            assert passages[0] == "Patient 0417 is allergic to penicillin."
            return Spoken("He is allergic to latex.", 1)

    monkeypatch.setattr(documents, "speaker_of", lambda name: Stub())
    reading = souron.ask(Text(WARD), "What is patient 0417 allergic to?", model="stub")
    text = str(reading)
    assert text.index("penicillin") < text.index("[?latex]")
    assert 0 < reading.seen.model < 0.5 and reading.as_json()["unsupported"] == ["latex"]
    refused = souron.ask(Text(WARD), "How do I fly to the moon?", model="stub")
    assert refused.answer == "" and refused.seen.model == 0


def test_only_what_the_language_model_saw_supports_its_words(monkeypatch):
    """It had room for one passage; the words stand in another."""
    stub = SimpleNamespace(answer=lambda *_given: Spoken("He was given azithromycin.", 1))
    monkeypatch.setattr(documents, "speaker_of", lambda name: stub)
    reading = souron.ask(Text(WARD), "What is patient 0417 allergic to?", model="stub")
    assert any("azithromycin" in quote.text for quote in reading.passages.quotes)
    assert reading.as_json()["unsupported"] == ["given", "azithromycin"]
    first, whole = ("".join(text.split()) for text in (reading.passages.quotes[0].text, WARD))
    assert reading.seen.model == pytest.approx(len(first) / len(whole))


def test_passages_that_do_not_fit_are_left_out_whole():
    tokenizer = Tokenizer.learn(["The ward is open."], 300)

    class Reader(SimpleNamespace):
        def kv_cache(self):
            return SimpleNamespace(length=0, truncate=lambda length: None)

        def read(self, tokens, memory):
            self.seen += tokens.tolist()
            return torch.zeros(len(tokenizer)).index_fill(0, torch.tensor(tokenizer.end), 9.0)

    long = "The ward is open. " * 20
    bare = Speaker(Reader(tokenizer=tokenizer), "x")
    one, two = (len(bare._tokens("Open?", [long] * count)) + LENGTH for count in (1, 2))
    for context, expected in ((two, 2), (two - 1, 1), (one, 1), (one - 1, 0)):
        reader = Reader(tokenizer=tokenizer, context=context, seen=[])
        said = Speaker(reader, "x").answer("Open?", [long, long], 0)
        assert said.passages == expected
        assert tokenizer.decode(reader.seen).count("- The ward") == expected


def test_the_command_prints_what_programs_read(tmp_path, capsys, monkeypatch):
    file = tmp_path / "ward.txt"
    file.write_text(WARD, encoding="utf-8")
    assert main.run(["ask", str(file), "What is he allergic to?", "passages=2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"answer", "found", "quotes", "seen", "seconds"} <= found.keys()
    assert found["seen"] == {"encoder": 1.0, "model": 0.0} and found["answer"] == ""
    assert found["quotes"][0].keys() == {"text", "start", "end", "score"}
    piped = SimpleNamespace(buffer=io.BytesIO(WARD.encode("cp932")))
    monkeypatch.setattr(sys, "stdin", piped)
    assert main.run(["ask", "-", "手術はいつですか", "--lang", "ja"]) == 0
    assert "手術は金曜日に行われます。" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content, question, code",
    [
        (b"", "Who?", "empty file"),
        ("😀".encode(), "Who?", "empty text"),
        (b"\xff\x00\x81\x00" * 9, "Who?", "not a text"),
        (WARD.encode(), "", "question"),
        (WARD.encode(), " \n", "question"),
        (WARD.encode(), "who " * 2000, "question"),
    ],
)
def test_what_cannot_be_read_is_told(content, question, code, tmp_path):
    file = tmp_path / "text.txt"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        souron.ask(file, question)
    assert caught.value.code == code


def test_a_huge_file_is_refused_unread(tmp_path):
    file = tmp_path / "huge.txt"
    with file.open("wb") as stream:
        stream.truncate(200_000_000)
    with pytest.raises(UserError) as caught:
        souron.ask(file, "Who?")
    assert caught.value.code == "too large"


def test_halves_of_letters_and_longer_questions_than_the_text():
    reading = souron.ask(Text("Fever \ud83d came. He slept."), "Did he have \udc00 fever " + "or so " * 99)
    assert reading.passages.quotes and json.dumps(reading.as_json()).encode()


def test_a_model_of_another_task_is_refused():
    with pytest.raises(UserError) as caught:
        souron.ask(Text(WARD), "Who?", retriever="resnet")
    assert caught.value.code == "task"


def test_passages_are_kept_as_json_and_csv(tmp_path):
    found = Passages("q", [Passage("a,b", 0, 3, 0.5)], True, "a,b <i>", "x.txt")
    found.save(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text().splitlines()[1] == 'x.txt,0,3,0.5,"a,b"'
    found.save(tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text()) == found.as_json()
    assert "<mark>a,b</mark> &lt;i&gt;" in found._repr_html_()
    with pytest.raises(UserError):
        Passages("q", [Passage("a", 3, 1, 0.5)])


def page(folder, language, name, rows):
    file = folder / language / "text" / f"{name}.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    said = "".join(f'<p id="par_id{n}" class="x">{text}</p>' for n, text in rows)
    file.write_text(f"<title>About page {name}</title><body>{said}</body>", encoding="utf-8")


@pytest.fixture
def help_pages(tmp_path, monkeypatch):
    """36 pages of two paragraphs in both languages."""
    folder = tmp_path / "data" / "help_questions"
    for number in range(36):
        said = "Paragraph {k} of page {number} tells how to open a file."
        english = [(k, said.format(k=k, number=number)) for k in (1, 2)]
        japanese = [(k, f"ページ{number}の段落{k}はファイルを開く方法を説明します。") for k in (1, 2)]
        page(folder, "en-US", f"p{number}", english)
        page(folder, "ja", f"p{number}", japanese)
    monkeypatch.setenv("SOURON_DATA", str(tmp_path / "data"))


def test_help_questions_and_their_places(help_pages):
    data = help_questions.load()
    pages = {"train": set(), "val": set(), "test": set()}
    for search, right, language, part, group in zip(
        data.input, data.target, data.columns["language"], data.part, data.group, strict=True
    ):
        pages[part].add(group.rpartition("/")[2])
        quoted = [search.document[a:b] for a, b in right.tolist()]
        if quoted and language == "ja":
            number, k = search.question.removeprefix("ページ").partition("は")[0].split("の段落")
            assert quoted == [f"Paragraph {k} of page {number} tells how to open a file."]
        if quoted and language == "en":
            number = search.question.removeprefix("About page p")
            assert all(f"page {number} tells" in text for text in quoted) and len(quoted) == 2
        if not quoted and language == "ja":
            number = search.question.removeprefix("ページ").partition("の")[0]
            assert f"page {number} tells" not in search.document
    assert not pages["train"] & pages["test"] and not pages["val"] & pages["test"]
    assert {len(right) for right in data.target} == {0, 1, 2}


def test_a_shelf_knows_where_its_paragraphs_lie():
    shelf = Shelf(["one", "two。", ""])
    assert [shelf.text[a:b] for a, b in shelf.spans] == ["one", "two。", ""]
    assert places().shape == (0, 2) and Search("q", "d") == ("q", "d")


def test_the_report_shows_what_was_found_and_missed(help_pages, tmp_path):
    record = train.train("bm25", "help_questions", budget="1ep", project=str(tmp_path / "runs"))
    found = record.details.by_language
    assert sum(each.asked for each in found.values()) == len(record.test)
    ranks = record.answers[0]["rank"]
    for language, each in found.items():
        rows = [row for row, said in enumerate(record.test.columns["language"]) if said == language]
        there = ranks[rows][ranks[rows] > 0]
        assert each.there == len(there)
        assert each.measures["hit@1"].value == pytest.approx(float((there == 1).float().mean()))
    always = (ranks > 0).float().mean()
    same = record.measures["told whether it is there"].low <= max(always, 1 - always)
    page = (record.folder / "report.html").read_text("utf-8")
    assert ("no better than by always saying the same" in page) == bool(same)
    assert "Questions and what was found" in page and "The worst misses" in page
    text, worst, *_others = section.missed(record.answers[0], record.test)
    assert f"{int((ranks > 1).sum())} have another passage first" in text
    wanted = [line for line in worst.blocks if line.startswith("The right one, found as number")]
    assert any(f"number {int(ranks.max())}:" in line for line in wanted) or any("✓" in line for line in worst.blocks)
    moved = record.answers[0] | {"rank": torch.where(ranks > 1, 2, ranks)}
    assert section.missed(moved, record.test)[0] == text
    step = max(1, len(record.test) // section.SHOWN)
    for number, item in enumerate(section.questions(record.answers[0], record.test)[1:]):
        rank = int(ranks[number * step])
        assert item.blocks[0].startswith("1. ✓") == (rank == 1) or rank > 1


# every token through a language model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a published model's files, its weights drawn by chance."""
    folder = tmp_path_factory.mktemp("model")
    published("llama", folder, Tokenizer.learn([*shapes.sentences(60).input], 300))
    return str(folder)


def windows_of(model="", **changes):
    kind, config = registry.load_system("windows")
    return kind(replace(config, model=model, **changes), None).eval()


def indexed(system, texts):
    *_before, (_done, index) = system.index(texts)
    return index


def test_windows_hold_every_token_and_each_sentence_whole_where_it_fits():
    cut = windows_module().cut
    rng = random.Random(0)
    for room in (16, 40):
        index = [[1000 * row + k for k in range(rng.randint(1, 50))] for row in range(60)]
        found = cut(index, room)
        assert {t for window in found for t in window.tokens} == {t for row in index for t in row}
        for row, tokens in enumerate(index):
            held = [w for w in found if w.first <= row <= w.last and set(tokens) <= {*w.tokens}]
            assert held or len(tokens) > room
        assert max(len(window.tokens) for window in found) <= room
        assert sum(len(w.tokens) for w in found) < 2.5 * sum(map(len, index))
    assert cut([], 16) == []


def test_windows_score_by_the_likelihood_of_the_question(model):
    """The whole text in one window: what transformers says of window and sentences, a token."""
    import transformers

    texts = ["The nurse reads.", "A doctor needs a tablet.", "患者が飲む。"]
    system = windows_of(model, window=256, together=2)
    _about, tokenizer, decoder = windows_module().loaded(model)
    decoder.float()
    score = system.rank(indexed(system, texts), "Who reads?")
    other = transformers.AutoModelForCausalLM.from_pretrained(model).float().eval()
    said = tokenizer.encode(" Who reads?")
    lines = [tokenizer.encode(f"{text}\n") for text in texts]

    def nats(passage):
        ids = torch.tensor([[tokenizer.start, *passage, *tokenizer.encode("Question:"), *said]])
        with torch.inference_mode():
            chance = other(ids).logits[0].log_softmax(-1)
        return float(chance[-len(said) - 1 : -1].gather(1, torch.tensor(said)[:, None]).sum())

    room = 64 - 1 - len(tokenizer.encode("Question:")) - len(said)
    assert sum(map(len, lines)) <= room, "one window"
    window = nats([token for line in lines for token in line])
    expected = [((window + nats(line)) / 2 - nats([])) / len(said) for line in lines]
    assert score.tolist() == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 1e-3


def test_letters_are_counted_in_the_window_and_in_the_text():
    """In the text aa once, ab twice and bb once; in the window ab once."""
    counts = windows_module().Counts([list(b"aab"), list(b"abb")], list(b"abc"))
    expected = math.log((1 + (2 + 1) / (3 + 256)) / (1 + 1)) + math.log((0 + 1) / (1 + 256) / 1)
    assert counts.nats([list(b"ab")]).item() == pytest.approx(expected)


def windows_module():
    return sys.modules[registry.load_system("windows")[0].__module__]


def test_what_fills_short_rows_changes_nothing(model):
    reader = windows_module().Model(model, "Who reads?")
    reader.decoder.float()
    long, short = list(range(20, 50)), list(range(20, 25))
    together = reader.nats([short, long])
    alone = torch.stack([reader.nats([each])[0] for each in (short, long)])
    assert torch.allclose(together, alone, atol=1e-3)
    assert abs(float(alone[0] - alone[1])) > 0.02


def test_windows_find_where_the_words_of_the_question_stand():
    text = "\n".join([*(f"Line {k} tells of rooms and keys." for k in range(80)), WARD])
    quotes = souron.ask(Text(text), "allergic to penicillin", retriever="windows_letters").passages
    assert quotes.quotes[0].text == "Patient 0417 is allergic to penicillin." and quotes.found


def test_the_language_model_that_reads_all_is_told(model):
    events = list(ask_study.asking(Text(WARD), "Who reads?", retriever="windows", model=model))
    reading = events[-1].record
    done = [event.fraction for event in events if event.phase == "read"]
    assert done == sorted(done) and len(done) > 2
    assert reading.as_json()["seen"] == {"encoder": 0.0, "model": 1.0}
    assert "a language model read 100 % of the text" in str(reading)
    long = windows_of(model)
    with pytest.raises(UserError) as caught:
        long.rank(indexed(long, ["The nurse reads."]), "Who reads this? " * 20)
    assert caught.value.code == "question" and "tokens" in caught.value.found


def test_ctrl_c_while_windows_read_ends_at_once(tmp_path, monkeypatch, capsys):
    kind = registry.load_system("windows")[0]
    real, steps = kind.ranking, []

    def stopped(self, index, question):
        for step in real(self, index, question):
            steps.append(step)
            yield step
            raise KeyboardInterrupt

    monkeypatch.setattr(kind, "ranking", stopped)
    (tmp_path / "ward.txt").write_text(WARD, encoding="utf-8")
    said = ["ask", str(tmp_path / "ward.txt"), "Who?", "retriever=windows_letters"]
    assert main.run(said) == 130 and len(steps) == 1
