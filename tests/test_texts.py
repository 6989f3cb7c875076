"""Texts as cases: what is read of files, what is left out and where it stands, what leaks."""

import json
from dataclasses import replace

import pytest
import torch

from souron.data import load, splits, texts
from souron.data.dataset import ListColumn
from souron.data.readers import text_files
from souron.data.texts import Preference, Question
from souron.kinds.chat import Turn
from souron.utils.messages import UserError


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("SOURON_LANG", "en")


def read(path, name):
    return load.load(path, formats=(name,))


def codes(cases):
    return {skipped.file: skipped.code for skipped in cases.skipped}


def lines(path, *rows):
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return path


def said(*turns):
    roles = ("user", "assistant") * len(turns)
    return [{"role": r, "content": t} for r, t in zip(roles, turns, strict=False)]


def test_pieces_are_the_text_cut_where_paragraphs_end():
    text = "".join(f"{'word ' * 60}{n}.\n\n" for n in range(50))
    cut = texts.pieces(text, 1000)
    assert "".join(cut) == text and max(map(len, cut)) <= 1350
    assert all(piece.endswith("\n\n") for piece in cut)
    unbroken = "あ" * 2500
    assert "".join(texts.pieces(unbroken, 1000)) == unbroken
    assert max(map(len, texts.pieces(unbroken, 1000))) <= 1250


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Hello, you.", "en"),
        ("こんにちは", "ja"),
        ("患者", "ja"),
        ("LibreOffice を開く", "ja"),
        ("Press 保存 to save the whole document now.", "en"),
        ("1 + 1 = 😀", ""),
    ],
)
def test_the_language_is_told_by_the_letters(text, spoken):
    assert texts.language(text) == spoken


def test_a_folder_of_texts_says_what_it_left_out(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    (tmp_path / "train" / "a.md").write_text("A first text.")
    (tmp_path / "train" / "sjis.txt").write_bytes("日本語の文章です。".encode("cp932"))
    (tmp_path / "test" / "b.txt").write_text("Another text.\n")
    for name, raw in {
        "empty.txt": b"",
        "emoji.txt": "😀".encode(),
        "nul.txt": b"a\0b",
        "euc.txt": b"\xb4\xc1\xbb",
        "half.txt": b"\xed\xa0\x80 x",
    }.items():
        (tmp_path / "train" / name).write_bytes(raw)
    (tmp_path / "train" / "out.txt").symlink_to("/etc/hostname")
    cases = read(tmp_path, "texts")
    assert list(zip(cases.file, cases.part, strict=True)) == [
        ("test/b.txt", "test"),
        ("train/a.md", "train"),
        ("train/sjis.txt", "train"),
    ]
    assert cases.columns["language"] == ["en", "en", "ja"] and not cases.images
    assert codes(cases) == {
        "train/empty.txt": "empty file",
        "train/emoji.txt": "no words",
        "train/nul.txt": "not a text",
        "train/euc.txt": "not a text",
        "train/half.txt": "not a text",
        "train/out.txt": "outside",
    }


def test_pieces_of_a_document_stay_together_where_there_are_many(tmp_path):
    for number in range(20):
        body = "".join(f"{number} {n} {'word ' * 100}\n\n" for n in range(16))
        (tmp_path / f"{number}.txt").write_text(body)
    cases = read(tmp_path, "texts")
    assert cases.file[:2] == ["0.txt#1", "0.txt#2"] and len(set(cases.group)) == 20
    dealt = splits.split(replace(cases, target=torch.zeros(len(cases)).long(), classes=("",)))
    groups = [{cases.group[i] for i in rows.tolist()} for rows in (dealt.train, dealt.test)]
    assert not groups[0] & groups[1] and dealt.torn == ()
    (tmp_path / "19.txt").unlink()
    assert read(tmp_path, "texts").group == ()


def test_a_folder_of_pictures_is_no_folder_of_texts(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "images" / "1.jpg").touch()
    (tmp_path / "labels" / "1.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(UserError):
        read(tmp_path, "texts")
    with pytest.raises(UserError):
        read(tmp_path, "classified_texts")


def test_conversations_are_read_and_faults_are_told_by_line(tmp_path):
    path = lines(
        tmp_path / "chat.jsonl",
        {"messages": [{"role": "system", "content": "Be kind."}, *said("Hi", "Hello")]},
        '{"messages": [',
        {"messages": [*said("Hi", "Hello"), {"role": "assistant", "content": "No"}]},
        {"messages": [{"content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
        {"messages": said("\ud800 x", "Hello")},
        {"messages": said("Hi")},
        {"messages": said(" ", "Hello")},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "😀"}]},
                {"role": "assistant", "content": "A face."},
            ]
        },
        {"prompt": "One?", "completion": "Two."},
        {"prompt": "One?", "chosen": "Two.", "rejected": "Three."},
        [1, 2],
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, *said("", "x")[1:]]},
    )
    cases = read(path, "chats")
    assert cases.file == [f"chat.jsonl:{n}" for n in (1, 8, 9)]
    assert cases.input[0][0] == Turn("system", "Be kind.")
    assert cases.input[1] == (Turn("user", "😀"), Turn("assistant", "A face."))
    assert codes(cases) == {
        "chat.jsonl:2": "broken JSON",
        "chat.jsonl:3": "order",
        "chat.jsonl:4": "role",
        "chat.jsonl:5": "lone surrogate",
        "chat.jsonl:6": "order",
        "chat.jsonl:7": "empty",
        "chat.jsonl:10": "other kind",
        "chat.jsonl:11": "broken JSON",
        "chat.jsonl:12": "not a text",
    }


def test_preferences_come_in_each_usual_form(tmp_path):
    wanted = Preference((Turn("user", "Who?"),), "Me.", "You.")
    rows = [
        {"prompt": "Who?", "chosen": "Me.", "rejected": "You."},
        {"prompt": said("Who?"), "chosen": "Me.", "rejected": "You."},
        {"chosen": said("Who?", "Me."), "rejected": said("Who?", "You.")},
        {
            "prompt": "Who?",
            "chosen": [{"role": "assistant", "content": "Me."}],
            "rejected": [{"role": "assistant", "content": "You."}],
        },
        {"prompt": "Who?", "chosen": "Me.", "rejected": "Me. "},
        {"chosen": "Me.", "rejected": "You."},
    ]
    (tmp_path / "p.json").write_text(json.dumps(rows, indent=1))
    cases = read(tmp_path / "p.json", "chats")
    assert list(cases.input) == [wanted] * 4
    assert sorted(codes(cases).values()) == ["no messages", "same answers"]
    assert cases.file[0] == "p.json:2"


def test_a_broken_element_of_a_list_costs_only_itself(tmp_path):
    path = tmp_path / "c.json"
    good = json.dumps({"messages": said("Hi", "Hello")})
    path.write_text(f"[\n{good},\n{{broken\n}},\n{good}\n]")
    cases = read(path, "chats")
    assert cases.file == ["c.json:2", "c.json:5"] and codes(cases) == {"c.json:3": "broken JSON"}


def test_nesting_without_end_is_a_fault_of_its_line(tmp_path):
    path = lines(tmp_path / "c.jsonl", {"messages": said("Hi", "Hello")}, "[" * 100_000)
    cases = read(path, "chats")
    assert len(cases) == 1 and codes(cases) == {"c.jsonl:2": "broken JSON"}


def test_a_prompt_of_the_test_that_is_learnt_from_is_a_leak(tmp_path):
    lines(
        tmp_path / "train.jsonl",
        {"messages": said("Who are you?", "A model.")},
        {"messages": said("What is this?", "A thing.")},
    )
    lines(
        tmp_path / "test.jsonl",
        {"messages": said("who  are YOU?", "Nobody.")},
        {"messages": said("What is that?", "A thing.")},
    )
    cases = read(tmp_path, "chats")
    assert sorted(cases.part) == ["test", "test", "train", "train"]
    dealt = splits.split(replace(cases, target=torch.zeros(4).long(), classes=("",)), val=0.0)
    assert dealt.leaking == ("test.jsonl:1",)
    with pytest.raises(UserError, match="1 cases outside training") as trouble:
        splits.refuse_leaks(dealt.leaking, dealt.torn)
    assert trouble.value.code == "leak"


def test_the_same_prompt_stays_in_one_part_whatever_the_answer(tmp_path):
    rows = [{"prompt": f"{n}?", "chosen": f"a{k}", "rejected": "b"} for n in range(30) for k in range(2)]
    cases = read(lines(tmp_path / "p.jsonl", *rows), "chats")
    target = torch.zeros(60).long()
    dealt = splits.split(replace(cases, target=target, classes=("",)), val=0.2, test=0.2)
    asked = [{cases.input[i].prompt for i in rows.tolist()} for rows in (dealt.train, dealt.test)]
    assert asked[1] and not asked[0] & asked[1]
    known = splits.plan(replace(cases, target=target, classes=("",)), folds=5, repeats=1)
    for one in known.repeats[0]:
        train, test = ({cases.input[i].prompt for i in rows.tolist()} for rows in (one.train, one.test))
        assert test and not train & test


QUESTION = Question("Which?", ("red", "green", "blue", "grey"), "art")


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Which?", "options": list(QUESTION.options), "answer": "C", "subject": "art"},
        {"question": "Which?", "choices": list(QUESTION.options), "answer": "blue", "subject": "art"},
        {
            "question": "Which?",
            "options": dict(zip("ABCD", QUESTION.options, strict=True)),
            "answer": "blue",
            "answer_idx": "C",
            "topic": "art",
        },
        {
            "question": "Which?",
            "opa": "red",
            "opb": "green",
            "opc": "blue",
            "opd": "grey",
            "cop": "c",
            "subject_name": "art",
        },
        {"question": "Which?", "A": "red", "B": "green", "C": "blue", "D": "grey", "answer": " c ", "subject": "art"},
    ],
    ids=["list", "text", "medqa", "medmcqa", "columns"],
)
def test_questions_come_in_each_usual_form(tmp_path, row):
    cases = read(lines(tmp_path / "q.jsonl", row), "questions")
    assert cases.input[0] == QUESTION and cases.target.tolist() == [2]
    assert cases.classes == tuple("ABCD") and cases.columns["subject"] == ["art"]


def test_questions_of_a_table_and_of_mmlu(tmp_path):
    table = tmp_path / "q.csv"
    table.write_text("問題,A,B,C,正解\n何色?,赤,青,緑,B\n何?,赤,青,緑,E\n誰?,父,父,母,A\n色?,赤,青,緑,\n")
    cases = read(table, "questions")
    assert cases.input[0].options == ("赤", "青", "緑") and cases.target.tolist() == [1]
    assert codes(cases) == {"q.csv:3": "key", "q.csv:4": "options", "q.csv:5": "no key"}
    mmlu = tmp_path / "anatomy_test.csv"
    mmlu.write_text('"Which, then?",1,2,3,4,D\nWhat?,a,b,c,d,A\n')
    cases = read(mmlu, "questions")
    assert cases.target.tolist() == [3, 0] and cases.input[0].text == "Which, then?"
    assert cases.columns["subject"] == ["anatomy"] * 2 and cases.part == ["test"] * 2


def test_numbers_as_keys_count_from_where_the_file_shows(tmp_path):
    def keyed(*answers):
        rows = [
            {"question": f"Q{n}?", "choices": ["w", "x", "y", "z"], "answer": answer}
            for n, answer in enumerate(answers)
        ]
        return read(lines(tmp_path / "q.jsonl", *rows), "questions")

    assert keyed(0, 1, 2, 3).target.tolist() == [0, 1, 2, 3]
    assert keyed(1, 2, 3, 4).target.tolist() == [0, 1, 2, 3]
    odd = keyed(*[0] * 9, 4)
    assert odd.target.tolist() == [0] * 9 and codes(odd) == {"q.jsonl:10": "key"}
    with pytest.raises(UserError, match="from 0 or from 1"):
        keyed(1, 2, 3)


def test_a_key_that_is_a_letter_and_another_options_text_is_not_guessed(tmp_path):
    row = {"question": "Blood group?", "options": ["O", "A", "B", "AB"], "answer": "A"}
    other = {"question": "Group?", "options": ["A", "B", "AB", "O"], "answer": "A"}
    cases = read(lines(tmp_path / "q.jsonl", row, other), "questions")
    assert codes(cases) == {"q.jsonl:1": "ambiguous key"} and cases.target.tolist() == [0]


def test_texts_with_classes_from_tables_and_folders(tmp_path):
    table = tmp_path / "t.tsv"
    table.write_text("text\tlabel\nGood thing\tpos\nBad thing\tneg\n\tpos\nNo label\t\n😀\tpos\n")
    cases = read(table, "classified_texts")
    assert cases.classes == ("neg", "pos") and cases.target.tolist() == [1, 0]
    assert codes(cases) == {"t.tsv:4": "empty", "t.tsv:5": "no label", "t.tsv:6": "no words"}
    for part, label, name in (("train", "neg", "1"), ("train", "pos", "2"), ("test", "pos", "3")):
        (tmp_path / "f" / part / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "f" / part / label / f"{name}.txt").write_text(f"text {name}")
    cases = read(tmp_path / "f", "classified_texts")
    assert cases.part == ["test", "train", "train"] and cases.target.tolist() == [1, 0, 1]


def test_tags_in_columns_and_in_records(tmp_path):
    path = tmp_path / "ner.conll"
    path.write_text("-DOCSTART- O\n\n太郎\t名詞\tI-PER\nは\t助詞\tO\n\nA B-LOC\nB\n\nX Q-PER\n\nY O\n")
    cases = read(path, "tagged_texts")
    assert list(cases.input) == [("太郎", "は"), ("Y",)]
    assert cases.classes == ("O", "B-PER", "I-PER")
    assert [tags.tolist() for tags in cases.target] == [[1, 0], [0]]
    assert codes(cases) == {"ner.conll:6": "no tags", "ner.conll:9": "tag"}
    rows = lines(
        tmp_path / "n.jsonl", {"tokens": ["A", "B"], "tags": ["B-LOC", "I-LOC"]}, {"tokens": ["A"], "tags": ["O", "O"]}
    )
    cases = read(rows, "tagged_texts")
    assert isinstance(cases.target, ListColumn) and cases.target[0].tolist() == [1, 2]
    assert codes(cases) == {"n.jsonl:2": "no tags"}


def test_pairs_for_translation(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("en,ja\nOpen a file,ファイルを開く\nOK,ok\n,空\n")
    cases = read(path, "text_pairs")
    assert cases.input[0] == "Open a file" and list(cases.target) == ["ファイルを開く"]
    assert cases.columns == {"language": ["en"], "target language": ["ja"]}
    assert codes(cases) == {"p.csv:3": "untranslated", "p.csv:4": "empty"}
    rows = lines(tmp_path / "p.jsonl", {"translation": {"en": "Yes", "ja": "はい"}})
    assert list(read(rows, "text_pairs").target) == ["はい"]


def test_a_file_with_nothing_to_use_names_its_first_fault(tmp_path):
    with pytest.raises(UserError, match=r"c\.jsonl:1: chosen and rejected are the same"):
        read(lines(tmp_path / "c.jsonl", {"prompt": "a", "chosen": "b", "rejected": "b"}), "chats")


def test_faults_without_end_are_counted(monkeypatch):
    monkeypatch.setattr(text_files, "MOST_SKIPPED", 3)
    faults = text_files.Faults()
    for number in range(10):
        faults.add(str(number), "x", "y")
    assert [skip.code for skip in faults.told()] == ["x"] * 3 + ["more"]
    assert faults.told()[-1].reason.startswith("7 more")
