"""Data sets of texts, from small files in the form of the published ones; the doctor; the page."""

import json
import random
import shutil
from collections import Counter

import pytest
import torch

from souron.actions import data as data_action
from souron.data import check, load
from souron.data.dataset import Dataset, ListColumn
from souron.data.quality import text_check
from souron.data.quality.findings import in_order
from souron.data.sets import mails, manuals
from souron.data.texts import Question
from souron.report import report
from souron.utils.messages import UserError


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """The reader's own data sets; no package of the machine's own in sight."""
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURON_DATA", str(tmp_path / "own"))
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.setattr(load, "INSTALLED", tmp_path / "installed")
    return tmp_path / "own"


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def sentences(number, spoken, count):
    """Paragraphs that nothing else has."""
    chance = random.Random(f"{number}/{spoken}")
    letters = "abcdefghijklmnop" if spoken == "en" else "あいうえおかきくけこさしすせそ漢字"
    words = ["".join(chance.choices(letters, k=6)) for _word in range(300)]
    space = " " if spoken == "en" else ""
    return [space.join(chance.choices(words, k=30)) for _sentence in range(count)]


def help_page(paragraphs):
    told = "\n".join(f'<p id="{n}" class="paragraph">{text}</p>' for n, text in paragraphs)
    return (
        "<html><head><title>T</title><script>var a = 1;</script></head><body><header>No</header>"
        f'<div id="DisplayArea"><h1 id="hd_id1">Title of it</h1>{told}</div></body></html>'
    )


COUNT = {"en": 150, "ja": 85}  # paragraphs of a chapter, about five pieces


def write_manuals(place):
    root = place / "manuals"
    for number, spoken in ((n, s) for n in range(24) for s in ("en", "ja")):
        body = "".join(f"<p>{text}</p>" for text in sentences(number, spoken, COUNT[spoken]))
        toc = '<div class="toc"><dl><dt><a>Contents of the chapter here</a></dt></dl></div>'
        written(
            root / manuals.needs[0] / f"ch{number:02d}.{spoken}.html",
            f"<html><body>{toc}<h1>Chapter</h1>{body}</body></html>",
        )
    for spoken, need in (("en", manuals.needs[1]), ("ja", manuals.needs[2])):
        written(
            root / need / "apt.html",
            "<html><head><title xmlns:d='x'>Chapter 6. Tools</title>"
            f"</head><body><p>{sentences('apt', spoken, 1)[0]}</p></body></html>",
        )
    written(
        root / manuals.needs[3] / "pkgs.html",
        '<body><nav>Menu</nav><div role="main"><p>Packages are maintained by people.</p>'
        "<p>Each has a maintainer, who answers for it.</p></div></body>",
    )
    again = sentences(0, "en", 1)[0]  # of a chapter
    untranslated = "This paragraph nobody has translated so far."
    page = help_page([("par_id1", "Open the file &amp; save it."), ("par_id2", again)])
    written(root / manuals.needs[4] / "swriter" / "a.html", page)
    page = help_page([("par_id1", "ファイルを開いて保存します。"), ("par_id2", untranslated)])
    written(root / manuals.needs[5] / "swriter" / "a.html", page)


def test_the_manuals_are_cut_and_divided_by_chapters(place):
    write_manuals(place)
    cases = load.load("manuals")
    text = "\n".join(cases.input)
    assert "Open the file & save it." in text and "ファイルを開いて保存します。" in text
    for never in ("Contents of", "var a", "Menu", "nobody has translated", "<p", "No\n"):
        assert never not in text
    assert text.count(sentences(0, "en", 1)[0]) == 1  # once, though two pages have it
    for chapter in set(cases.group):
        there = {cases.part[i] for i, name in enumerate(cases.group) if name == chapter}
        assert len(there) == 1, chapter
    count = Counter(zip(cases.columns["language"], cases.part, strict=True))
    assert {part for _spoken, part in count} == {"train", "val", "test"}
    assert abs(count["en", "test"] - count["ja", "test"]) <= 8
    sizes = {
        spoken: max(len(t) for t, s in zip(cases.input, cases.columns["language"], strict=True) if s == spoken)
        for spoken in ("en", "ja")
    }
    assert sizes["en"] < 8000 and sizes["ja"] < 4200

    known: set[str] = set()
    told = "This paragraph stands in two of the manuals."
    assert manuals._new(told, "en", known) and not manuals._new(f" {told.upper()}", "en", known)

    tested = next(
        name
        for name, part in zip(cases.group, cases.part, strict=True)
        if part == "test" and name.startswith("reference/")
    )
    copied = sentences(int(tested[-2:]), "en", 2)[1]
    page = help_page([("par_id1", f"It begins otherwise, but {copied}"), ("par_id3", "And so on.")])
    written(place / "manuals" / manuals.needs[4] / "swriter" / "b.html", page)
    after = load.load("manuals")
    of_test = [text for text, part in zip(after.input, after.part, strict=True) if part == "test"]
    assert any(copied in text for text in cases.input)
    assert not any(copied in text for text in of_test)


def test_the_help_alone_is_cut_as_it_is_within_the_manuals(place):
    write_manuals(place)
    for number, spoken in ((4, "en-US"), (5, "ja")):
        shutil.copytree(place / "manuals" / manuals.needs[number], place / "office_help" / spoken / "text")
    alone, whole = load.load("office_help"), load.load("manuals")
    helps = [text for text, name in zip(whole.input, whole.group, strict=True) if name.startswith("help/")]
    opening = "Open the file & save it."
    assert "".join(alone.input).count(opening) == "".join(helps).count(opening) == 1
    assert set(alone.group) == {"help/swriter"} and set(alone.columns["manual"]) == {"help"}
    assert alone.licence == "MPL-2.0" and set(alone.columns["language"]) == {"en", "ja"}


def test_a_paragraph_that_ends_as_one_learnt_from_is_not_tested():
    long = "the same end of a sentence that both of these paragraphs have"
    chapters = {("a", "en"): [[f"One way to {long}."]], ("b", "en"): [[f"Another: {long}.", "Own."]]}
    manuals._without_copies(chapters, {"b": "test"})
    assert chapters["b", "en"] == [["Own."]] and len(chapters["a", "en"][0]) == 1


def test_pairs_are_aligned_by_their_numbers(place):
    for spoken, told in {
        "en-US": [
            ("par_id1", "Open <b>it</b>."),
            ("par_id2", "Close the file."),
            ("par_id3", "OK, now."),
            ("par_id4", "Only English here."),
        ],
        "ja": [
            ("par_id2", "ファイルを閉じます。"),
            ("par_id1", "開きます。"),
            ("par_id3", "OK, now."),
            ("par_id5", "余り"),
        ],
    }.items():
        for page in ("a", "b"):
            written(place / "manual_pairs" / spoken / "text" / "x" / f"{page}.html", help_page(told))
    cases = load.load("manual_pairs")
    assert list(zip(cases.input, cases.target, strict=True)) == [
        ("Open it.", "開きます。"),
        ("Close the file.", "ファイルを閉じます。"),
    ]
    assert cases.file[0] == "x/a#par_id1" and set(cases.group) == {"x/a"}


def mail(subject, body, headers=""):
    return json.dumps({"text": f"Subject: {subject}\nX-Spam: yes\n{headers}\n{body}"})


def test_mails_show_what_a_reader_sees(place):
    html = "Content-Type: text/html\n"
    for need in mails.needs:
        for number in range(8):
            body = f"{need} letter number {number} " + sentences(f"{need}{number}", "en", 1)[0]
            written(place / "mails" / need / f"{number:02d}.json", mail(f"About {need} {number}", body))
    written(
        place / "mails" / "spam-1" / "91.json",
        mail("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "<p>Buy <b>now</b></p><script>x</script>", html),
    )
    written(place / "mails" / "spam-1" / "92.json", mail("Re: Grüße", "Something else entirely"))
    written(place / "mails" / "spam-1" / "93.json", mail("About spam-1 0", "no, another one"))
    cases = load.load("mails")
    at = {file: row for row, file in enumerate(cases.file)}
    assert cases.input[at["spam-1/91"]] == "Grüße\n\nBuy now"
    assert not any("X-Spam" in text for text in cases.input)
    assert cases.classes == ("ham", "spam") and cases.target[at["spam-1/91"]] == 1
    assert cases.group[at["spam-1/00"]] == cases.group[at["spam-1/93"]]
    groups = {
        part: {g for g, p in zip(cases.group, cases.part, strict=True) if p == part}
        for part in ("train", "val", "test")
    }
    assert all(groups.values())
    assert not groups["train"] & groups["test"] and not groups["train"] & groups["val"]


def test_entities_are_read_from_the_text_alone(place):
    lines = "\n\n".join(f"太郎{n}\t名詞\tB-PER\nは\t助詞\tO" for n in range(20))
    written(place / "entities" / "iob_sents.txt", lines + "\n\n")
    cases = load.load("entities")
    assert Counter(cases.part) == {"train": 16, "val": 2, "test": 2} and cases.part[-1] == "test"
    assert cases.input[3] == ("太郎3", "は") and cases.target[3].tolist() == [1, 0]


def test_speeches_of_a_president_are_in_one_part(place):
    for year in range(1990, 2010):
        text = "\n\n".join(sentences(year, "en", 300))
        written(place / "speeches" / "data" / f"{year}_president_{'abcdefghij'[year % 10]}_d.txt", text)
    cases = load.load("speeches")
    for president in set(cases.columns["president"]):
        there = {p for p, n in zip(cases.part, cases.columns["president"], strict=True) if n == president}
        assert len(there) == 1
    assert set(cases.part) == {"train", "val", "test"} and cases.columns["year"][0] == "1990"


def texts_of(*told, **known):
    count = len(told)
    return Dataset(
        "t",
        ListColumn(told),
        known.pop("target", None),
        known.pop("classes", ()),
        [f"{n}.txt" for n in range(count)],
        columns={"language": ["en"] * count},
        **known,
    )


def codes(cases, tmp_path):
    every = in_order(text_check.found(cases, tmp_path))
    return {finding.code: finding for finding in every}


def test_the_doctor_finds_copies_in_two_parts_and_answers_that_disagree(tmp_path):
    one, two = ("\n".join(sentences(n, "en", 4)) for n in (1, 2))
    nearly = two.replace(two[:12], "Quite other.", 1)
    cases = texts_of(
        one,
        one.upper(),
        two,
        nearly,
        "short",
        target=torch.tensor([0, 1, 0, 0, 0]),
        classes=("a", "b"),
        part=["train", "test", "train", "test", "train"],
    )
    found = codes(cases, tmp_path)
    assert found["leak"].rows == ((0, 1),) and found["leak"].severity == "error"
    assert found["label conflict"].rows == ((0, 1),)
    assert found["near leak"].rows == ((2, 3),) and found["near duplicates"].rows == ((2, 3),)
    assert "tiny class" in found and "mojibake" not in found
    assert text_check.near([one, two]) == []


@pytest.mark.parametrize(
    ("text", "garbled"),
    [
        ("Das schöne Mädchen – “ja”.", False),
        ("日本語の文章です。繧の字も一つ。", False),
        ("schöne Mädchen, größer".encode().decode("cp1252"), True),
        ("日本語の文章です。".encode().decode("cp932", "replace"), True),
        ("it’s “so”".encode().decode("cp1252", "replace"), True),
        ("Ângela e São João", False),
    ],
)
def test_letters_of_a_wrong_encoding_are_told(text, garbled):
    assert text_check.garbled(text) is garbled


def test_the_doctor_sees_keys_that_lengths_give_away(tmp_path):
    asked = [Question(f"Number {n}?", ("a", "b" * 9, "c", "d")) for n in range(50)]
    cases = texts_of(*asked, target=torch.ones(50).long(), classes=tuple("ABCD"))
    found = codes(cases, tmp_path)
    assert "shortcut" in found and "answer is B in 100%" in found["key position"].message
    fair = [Question(f"Number {n}?", ("aa", "bb", "cc", "dd")) for n in range(50)]
    fair_keys = torch.arange(50) % 4
    assert not codes(texts_of(*fair, target=fair_keys, classes=tuple("ABCD")), tmp_path)


def test_the_doctor_reads_a_file_with_every_format(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"messages": [\n{"prompt": "a", "completion": "b"}\n')
    found = check.check(tmp_path / "c.jsonl", formats=data_action.every_format())
    assert found.files == 2 and [f.code for f in found.findings] == ["broken JSON"]
    assert found.findings[0].files == ("c.jsonl:1",) and found.clean
    page = report.check_page(found, tmp_path / "check.html").read_text()
    assert "c.jsonl:1" in page
    (tmp_path / "plain.txt").write_bytes("日本語です。".encode("cp932"))
    found = check.check(tmp_path / "plain.txt", formats=data_action.every_format())
    assert [finding.code for finding in found.findings] == ["encoding"]


def test_the_page_shows_texts_to_read_and_takes_none_for_html(tmp_path):
    cases = texts_of("<script>alert(1)</script> read me", "x" * 5000, part=["train", "test"])
    page = report.data_page(cases, tmp_path).read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert "3,800 more characters" in page and "train" in page
    pairs = texts_of("One.", target=ListColumn(["一つ。"]))
    assert "一つ。" in report.data_page(pairs, tmp_path).read_text()


def test_data_sets_that_are_not_here_say_what_to_put_where(place):
    with pytest.raises(UserError, match="not on this computer") as trouble:
        load.load("entities")
    assert trouble.value.fix == "souron fetch entities"
    assert "iob_sents.txt" in trouble.value.expected
