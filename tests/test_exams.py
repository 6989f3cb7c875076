"""Examinations: papers, orders, controls, pass marks, overlap, and questions that make no sense."""

import json
import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from shapes import asked

from souron import registry
from souron.actions import exam
from souron.actions.exam import overlap
from souron.cli import main
from souron.data import load
from souron.data.dataset import ListColumn
from souron.data.language import exam_papers
from souron.data.sets import glosses, terms
from souron.evaluation.answers import Setup, Trainings
from souron.evaluation.language import exams
from souron.evaluation.language.likelihood import log_likelihoods
from souron.kinds.question import Question
from souron.runs import compare, train
from souron.systems.choose import likelihood, longest, nearest
from souron.tasks.choose import Chooser, Item, check_questions
from souron.training.loop import Run
from souron.utils.messages import UserError

EDICT = """\
ぶどう膜炎 [ぶどうまくえん] /(n) (med) uveitis/
齲蝕 [うしょく] /(n) (med) dental caries/tooth decay/
う蝕 [うしょく] /(n) (med) dental caries/tooth decay/
結腸炎 [けっちょうえん] /(n) (med) colitis/
疥癬 [かいせん] /(n) (med) scabies/the itch/mange/
白血病 [はっけつびょう] /(n) (med) leukemia/leukaemia/(P)/
低血圧 [ていけつあつ] /(n) (med) hypotension/low blood pressure/
貧血 [ひんけつ] /(n) (med) anemia/
頭痛 [ずつう] /(n) (med) headache/
低血圧症 [ていけつあつしょう] /(n) (med) low blood pressure/
鼻骨 [びこつ] /(n) (anat) nasal bone/
内蔵脂肪 [ないぞうしぼう] /(sK) (n) (anat) visceral fat/
山 [やま] /(n) mountain/hill/(P)/
"""


@pytest.fixture
def edict(tmp_path, monkeypatch):
    (tmp_path / "data" / "terms").mkdir(parents=True)
    file = tmp_path / "data" / "terms" / "edict.utf8"
    file.write_text(EDICT, encoding="utf-8")
    monkeypatch.setenv("SOURON_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURON_LANG", "en")
    return file


class Fixed(Chooser):
    """Says what it is told to."""

    ORDERED = True

    def __init__(self, say):
        super().__init__(None, None)
        self.say = say

    def scores(self, questions):
        return torch.tensor([[self.say(question)] for question in questions])


def examine(model, data, seed=0, project="runs", **options):
    return exam.Exam(project).result(model, data=data, seed=seed, **options)


def answers(system, cases, decision=None):
    task = registry.load_task("choose")
    *_before, step = task.answer(system, cases, decision or {}, Setup(task.Options(), cases))
    return step.result


def result(system, cases):
    return exams.result(Trainings.of_one(cases, answers(system, cases), {}), cases)


def test_a_paper_asks_for_marked_terms_and_no_wrong_option_is_right_as_well(edict):
    paper = terms.paper(0)
    names = set(paper.file)
    assert "medicine/ぶどう膜炎" in names
    assert not any(word in name for name in names for word in ("山", "内蔵脂肪", "鼻骨"))
    meanings = {
        line.split()[0]: set(line.partition("/(n) (med) ")[2].strip("/\n").split("/")) for line in EDICT.splitlines()
    }
    japanese = {word: told for word, told in meanings.items() if word in str(names)}
    for question, key in zip(paper.input, paper.target.tolist(), strict=True):
        assert len(set(question.options)) == 4
        right = question.options[key]
        said = japanese.get(right) or {right}
        for place, option in enumerate(question.options):
            if place != key:
                assert not said & (japanese.get(option) or {option}), question


def test_each_seed_makes_another_paper_and_the_same_seed_the_same(edict):
    first, same, other = terms.paper(3), terms.paper(3), terms.paper(4)
    assert list(first.input) == list(same.input) and torch.equal(first.target, same.target)
    assert list(first.input) != list(other.input)


def test_the_key_stands_at_every_place_about_equally_often():
    entries = [exam_papers.Entry(f"{i}", f"q{i}", f"a{i}", "one", "x") for i in range(2000)]
    counts = exam_papers.paper("p", entries, 0, "", "").target.bincount(minlength=4)
    assert (counts - 500).abs().max() < 80


def test_definitions_that_hold_their_term_are_left_out(tmp_path, monkeypatch):
    def line(place, words, gloss, pointers=()):
        told = " ".join(f"{sign} {other} n 0000" for sign, other in pointers)
        joined = " ".join(f"{word} 0" for word in words)
        return f"{place} 26 n {len(words):02x} {joined} {len(pointers):03d} {told} | {gloss}  \n".replace("  |", " |")

    children = [
        (f"0000000{i}", (name,), gloss)
        for i, (name, gloss) in enumerate(
            (
                ("mumps", "a swelling of the parotid glands"),
                ("measles", 'a rash; "he had it"'),
                ("yellow_fever", "a fever with yellow skin, also yellow fever"),
                ("rabies", "a disease of dogs"),
                ("tetanus", "spasms of the jaw"),
                ("goitre", "a large thyroid"),
            )
        )
    ]
    root = line("14070360", ("disease",), "an illness", [("~", place) for place, *_ in children])
    folder = tmp_path / "glosses"
    folder.mkdir()
    text = (
        "  1 licence\n"
        + root
        + "".join(line(place, words, gloss, [("@", "14070360")]) for place, words, gloss in children)
    )
    (folder / "data.noun").write_text(text)
    for need in glosses.needs[1:]:
        (folder / need).write_text("  1 licence\n")
    monkeypatch.setenv("SOURON_DATA", str(tmp_path))
    paper = glosses.paper(0)
    assert len(paper) == 5 and not any("yellow" in name for name in paper.file)
    measles = next(question for question in paper.input if question.text == "a rash")
    assert "measles" in measles.options
    [texts] = glosses.texts().input
    assert "yellow fever: a fever" in texts and texts.count("\n") == 6


def test_of_equal_scores_each_option_is_picked_in_one_order():
    cases = asked(40)
    found = result(Fixed(lambda question: [0.0] * len(question.options)), cases)
    assert found.accuracy.value == 0.25 == found.chance
    assert exams.picked(torch.zeros(1, 4, 4), [cases.input[0]]).tolist() == [[0, 1, 2, 3]]


def test_a_habit_of_picking_one_place_scores_what_chance_does():
    cases = asked(40)
    found = result(Fixed(lambda question: [9.0, 0.0, 0.0, 0.0]), cases)
    assert found.accuracy.value == 0.25


def test_knowing_scores_one_and_the_shuffled_key_what_chance_does():
    cases = asked(400)
    key = {
        question: question.options[place] for question, place in zip(cases.input, cases.target.tolist(), strict=True)
    }
    known = {(question.text, frozenset(question.options)): right for question, right in key.items()}

    def say(question):
        right = known.get((question.text, frozenset(question.options)))
        return [float(option == right) for option in question.options]

    found = result(Fixed(say), cases)
    assert found.accuracy.value == 1.0 and found.control.value == 0.25
    assert found.fair and abs(found.shuffled.value - 0.25) < 0.09
    assert found.accuracy.low < 1.0 and found.accuracy.n == 400


def test_an_exam_is_unfair_where_the_shuffled_key_scores_otherwise_than_chance():
    found = result(Fixed(lambda question: [0.0] * 4), asked(100))
    assert found.fair
    assert not replace(found, shuffled=replace(found.shuffled, value=0.5)).fair


def test_the_intervals_count_questions_of_one_meaning_once():
    cases = replace(asked(40), group=[f"meaning {i // 4}" for i in range(40)])
    found = result(Fixed(lambda question: [9.0, 0.0, 0.0, 0.0]), cases)
    for measure in (found.accuracy, found.control, found.shuffled, found.by_subject["easy"]):
        assert (measure.n, measure.groups) == (40, 10)


def test_how_to_score_is_decided_on_questions_that_are_not_on_the_paper(tmp_path, monkeypatch):
    """Of forty questions of a file each seed draws others for the paper."""
    monkeypatch.setattr(exam.load, "paper", lambda *_given: asked(40))
    monkeypatch.setattr(exam.ExamRecord, "write", lambda _record: None)
    decided_on = []
    task = type(registry.load_task("choose"))
    decide = task.decide
    monkeypatch.setattr(task, "decide", lambda *given: decided_on.append(set(given[2].file)) or decide(*given))
    asked_for = [set(examine("nearest", "asked", seed, questions=5, project=tmp_path).test.file) for seed in (0, 1)]
    for paper, others in zip(asked_for, decided_on, strict=True):
        assert len(paper) == 5 and others and not paper & others
    assert asked_for[0] != asked_for[1]


def test_options_that_give_the_answer_away_show_in_the_control():
    cases = asked(60)
    found = result(Fixed(lambda q: [float(o.startswith("the ")) for o in q.options]), cases)
    assert found.control.low > found.chance


def test_questions_with_fewer_options_are_scored_by_their_own():
    four, two = asked(20), asked(20, seed=1, options=2)
    cases = replace(
        four,
        input=ListColumn([*four.input, *two.input]),
        target=torch.cat([four.target, two.target]),
        file=[str(i) for i in range(40)],
    )
    found = result(Fixed(lambda q: [0.0] * len(q.options) + [-math.inf] * (4 - len(q.options))), cases)
    assert found.chance == 0.375 == found.accuracy.value


def test_orders_that_disagree_count_as_one_question():
    right = np.array([[1.0, 0.5, 0.0, 0.75] * 25])
    measure = registry.metric("accuracy").measure(right)
    assert measure.n == 100 and 0.45 < measure.low < measure.value < measure.high < 0.68


def test_a_score_that_is_not_a_number_is_told():
    with pytest.raises(UserError, match="not a finite") as trouble:
        answers(Fixed(lambda question: [0.0, math.nan, 0.0, 0.0]), asked(3))
    assert trouble.value.code == "not finite"


def test_what_options_alone_say_is_taken_off_where_validation_shows_that_it_helps():
    class Biased(Fixed):
        PRIORS = (0.0, 1.0)
        ORDERED = False

    def say(question):
        known = {"犬": "dog", "猫": "cat", "魚": "fish", "本": "book", "雨": "rain", "水": "water"}
        likes = [5.0 * (option in ("school", "the heart", "heart")) for option in question.options]
        wanted = known.get(question.text, "-")
        return [like + 3.0 * (wanted in option) for like, option in zip(likes, question.options, strict=True)]

    cases, task = asked(200), registry.load_task("choose")
    decision = task.decide(Biased(say), cases, Setup(task.Options(), cases))
    assert decision["prior"] == 1.0
    plain = exams.share_right(answers(Biased(say), cases)["picked"], cases.target).mean()
    less = exams.share_right(answers(Biased(say), cases, decision)["picked"], cases.target).mean()
    assert less > plain + 0.1


def test_the_plain_way_is_kept_where_another_is_not_better():
    class Even(Fixed):
        PRIORS = (0.0, 1.0)
        ORDERED = False

    def say(question):  # nothing without a question, so that nothing can be taken off
        return [3.0 * (option.startswith("the ") and bool(question.text)) for option in question.options]

    cases, task = asked(20), registry.load_task("choose")
    assert task.decide(Even(say), cases, Setup(task.Options(), cases))["prior"] == 0.0


def test_the_temperature_softens_probabilities_and_moves_no_pick():
    cases = asked(3)
    system = Fixed(lambda question: [2.0 * o.startswith("the ") for o in question.options])
    plain, warm = answers(system, cases), answers(system, cases, {"temperature": 2.0})
    assert torch.equal(plain["picked"], warm["picked"])
    expected = math.e / (math.e + 3)
    assert warm["probability"].amax(1).tolist() == pytest.approx([expected] * 3)


def test_an_option_is_read_after_the_question_and_scored_as_a_whole_and_a_letter(monkeypatch):
    seen = []

    def read(_model, pairs):
        seen.extend(pairs)
        return torch.tensor([-6.0, -8.0, -3.0]), torch.zeros(3, dtype=torch.bool)

    monkeypatch.setattr(likelihood, "log_likelihoods", read)
    system = likelihood.Likelihood.of(None)
    said = system.scores([Item("Who?", ("me", "mine")), Item("", ("I",))])
    before = "Question: Who?\nAnswer:"
    assert seen == [(before, " me"), (before, " mine"), ("Answer:", " I")]
    assert said[0].tolist() == [[-6, -8], [-3, -2]]
    assert said[1].tolist() == [[-3, -math.inf]] * 2


def test_what_a_language_model_finds_likely_anyway_may_be_taken_off(monkeypatch):
    """ "water" is likely after anything; the question adds less than that to what it names."""

    def read(_model, pairs):
        nats = [5.0 * (text == " water") + 3.0 * (text in before) for before, text in pairs]
        return torch.tensor(nats), torch.zeros(len(pairs), dtype=torch.bool)

    monkeypatch.setattr(likelihood, "log_likelihoods", read)
    asked_of = [Item(f"Say {word}", ("dog", "water")) for word in ("dog", "water")]
    cases = replace(asked(2), input=ListColumn(asked_of), target=torch.tensor([0, 1]))
    task, system = registry.load_task("choose"), likelihood.Likelihood.of(None)
    decision = task.decide(system, cases, Setup(task.Options(), cases))
    assert decision["prior"] == 1.0
    assert answers(system, cases, decision)["picked"].tolist() == [[0, 0], [1, 1]]


def test_without_a_model_letters_of_questions_with_their_right_options_are_counted():
    asked_of = ListColumn([Item("q", ("ab", "cd"))])
    cases = replace(asked(1), input=asked_of, target=torch.tensor([1]))
    system = likelihood.Likelihood(likelihood.Config(), None)
    list(system.fit(system.loader(cases), Run(1)))
    counts = Counter(pairwise(b"Question: q\nAnswer: cd"))
    firsts = Counter({first: 0 for first, _second in counts})
    for (first, _second), count in counts.items():
        firsts[first] += count
    assert all(system.counts[pair] == count for pair, count in counts.items())
    assert system.counts.sum() == counts.total()
    expected = sum(math.log((counts[pair] + 0.1) / (firsts[pair[0]] + 25.6)) for pair in pairwise(b": cd"))
    assert system.scores(list(cases.input))[0, 0, 1].item() == pytest.approx(expected, rel=1e-5)


def test_longest_counts_letters_by_the_mean_of_a_questions_options():
    asked_of = [Item("q", ("ab", "abcdef")), Item("r", ("a", "bc", "def"))]
    said = longest.Longest(longest.Config(), None).scores(asked_of)
    assert said[:, 0].tolist() == [[0.5, 1.5, -math.inf], [0.5, 1.0, 1.5]]


def test_nearest_scores_by_the_inner_product_with_the_question(monkeypatch):
    at = {"q": (1, 0), "r": (0, 1), "a": (0.75, 0.5), "b": (0.25, 0.5), "c": (0, 1)}
    encoder = SimpleNamespace(encode=lambda texts: np.array([at[t] for t in texts], np.float32))
    monkeypatch.setattr(nearest, "encoder", encoder)
    system = nearest.Nearest(nearest.Config(), None)
    said = system.scores([Item("q", ("a", "b")), Item("r", ("a", "b", "c"))])
    assert said[:, 0].tolist() == [[0.75, 0.25, -math.inf], [0.5, 0.5, 1.0]]
    told = system.predict(Question("q", ("a", "b"))).probabilities
    assert told[0] == pytest.approx(1 / (1 + math.exp(-15 * 0.5)))  # before anything was learnt


def test_nearest_knows_nothing_without_the_question():
    system = nearest.Nearest(nearest.Config(), None)
    assert system.scores([Item("", ("dog", "cat"))])[0, 0].tolist() == [0, 0]


CLINICAL = (
    "A {age}-year-old woman comes to the physician because of fever and cough for three "
    "days. Her temperature is 39 C and her pulse is 102/min. Crackles are heard over the "
    "right lower lobe. Leukocytes are 15 000 per cubic millimetre, and a film of the chest "
    "shows an opacity there. Which of the following is the best next step?"
)


@pytest.mark.parametrize(
    "change, why",
    [
        ({}, ""),
        ({"count": 10}, "too few"),
        ({"options": 3}, "4 or 5 options"),
        ({"text": "uveitis in Japanese"}, "shorter"),
        ({"text": "x" * 400}, "are about a patient"),
    ],
)
def test_pass_marks_are_for_usmle_style_papers_only(change, why):
    text = change.get("text", CLINICAL)
    options = tuple("abcde"[: change.get("options", 5)])
    questions = [Item(text.format(age=20 + i), options) for i in range(change.get("count", 40))]
    told = exams.why_no_pass_marks(questions)
    assert why in told if why else told == ""


def test_log_likelihoods_are_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    from souron.data.language.tokenizer import Tokenizer

    torch.manual_seed(0)
    tokenizer = Tokenizer.learn(["What is a fever? A high temperature. 発熱とは何ですか"] * 20, 400)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
    )
    network = transformers.LlamaForCausalLM(config).eval()

    class Reader:
        context, device = 64, torch.device("cpu")

        def log_likelihoods(self, tokens):
            logits = network(tokens[:, :-1]).logits.log_softmax(2)
            return logits.gather(2, tokens[:, 1:, None])[..., 0]

    reader = Reader()
    reader.tokenizer = tokenizer
    pairs = [("Question: What is a fever?\nAnswer:", " high"), ("Answer:", " 発熱"), ("x" * 500, " temperature")]
    found, shortened = log_likelihoods(reader, pairs)
    assert shortened.tolist() == [False, False, True]
    for (before, text), nats in zip(pairs[:2], found.tolist(), strict=False):
        said = tokenizer.encode(text)
        ids = torch.tensor([[tokenizer.start, *tokenizer.encode(before), *said]])
        labels = ids.clone()
        labels[:, : -len(said)] = -100
        with torch.no_grad():
            loss = network(input_ids=ids, labels=labels).loss.item()
        assert nats == pytest.approx(-loss * len(said), abs=1e-3)


def test_the_scale_is_the_one_with_the_least_loss():
    cases = asked(100)
    cases.target[::4] = (cases.target[::4] + 1) % 4  # some keys are wrong
    kind, config = registry.load_system("longest")
    system = kind(config, None)
    losses = [p.losses["log loss"].item() for p in system.fit(system.loader(cases), Run(8))]

    def loss(scale):
        system.scale.fill_(scale)
        p = system.logits(list(cases.input)).softmax(1)
        return -p[torch.arange(100), cases.target].log().mean().item()

    best = system.scale.item()
    assert losses[0] == pytest.approx(math.log(4)) and losses[-1] < min(losses) + 1e-9
    assert loss(best) < min(loss(best * 1.1), loss(best * 0.9), loss(best + 0.1))


def test_an_exam_tells_its_figures_and_writes_what_was_wrong(edict, tmp_path, capsys):
    assert main.run(["exam", "nearest", "data=terms", "seed=3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"accuracy", "low", "high", "n", "control", "chance", "by_subject"} <= told.keys()
    assert told["low"] <= told["accuracy"] <= told["high"] and told["chance"] == 0.25
    assert "weights whose training texts are not here" in told["overlap"]["unknown"]
    report = (tmp_path / told["report"]).read_text(encoding="utf-8")
    assert "not clinical judgement" in report and "are not drawn" in report
    assert (tmp_path / told["report"]).with_name("report.ja.html").exists()


def test_questions_that_a_run_has_learnt_from_are_counted(edict, tmp_path):
    record = train.train("longest", "terms", budget="5s", name="own")
    found = examine(str(record.folder), "terms", seed=0)
    assert found.overlap.texts == record.parts["train"]
    assert len(found.overlap.seen) >= record.parts["train"]  # the same paper
    assert set(found.overlap.answered) <= set(found.overlap.seen)


def test_runs_of_words_that_stand_in_both_are_an_overlap():
    questions = [
        Item("the quick brown fox jumps over the lazy dog today", ("a dog", "cat")),
        Item("fever in Japanese", ("発熱", "咳")),
        Item("something else", ("x", "y")),
    ]
    texts = ["It said: The quick brown fox jumps over the lazy dog, a dog.", "Fever, in Japanese", "something was else"]
    assert overlap.of_texts(questions, [0, 0, 0], texts) == ((0, 1), (0,))


def test_a_language_model_sits_an_exam_by_likelihood(edict, tmp_path):
    (tmp_path / "texts").mkdir()
    for number in range(12):
        (tmp_path / "texts" / f"{number}.txt").write_text(
            f"Question: uveitis in Japanese\nAnswer: ぶどう膜炎. Text {number}. " * 20
        )
    record = train.train("ngram", tmp_path / "texts", budget="5s", name="own")
    found = examine(str(record.folder), "terms", seed=1)
    assert found.system == "ngram" and 0 <= found.result.accuracy.value <= 1
    assert found.overlap.texts > 0
    with pytest.raises(UserError, match="answers no questions"):
        examine("mlp", "terms")


def test_an_unknown_model_is_told(tmp_path):
    with pytest.raises(UserError, match="no run of a language model"):
        registry.load_system("likelihood")[0](
            replace(registry.load_system("likelihood")[1], model=str(tmp_path / "gone")), None
        )


def test_the_nearest_option_is_better_than_the_longest_where_meaning_helps(edict, monkeypatch):
    cases = replace(
        asked(300),
        input=ListColumn(
            [
                question._replace(options=tuple(o.removeprefix("the ") for o in question.options))
                for question in asked(300).input
            ]
        ),
    )
    monkeypatch.setattr(terms, "paper", lambda seed: cases)
    record = compare.compare(["nearest", "longest"], "terms", budget="5s", seeds=1)
    assert record.rows[0].system == "nearest" and record.verdicts[0].verdict == "better"


@pytest.mark.parametrize(
    "question, key, wrong",
    [
        (Item("q", ("one",)), 0, "1 options"),
        (Item("q", ("a", "b")), 2, "option 3 of 2"),
        (Item("q", ("a", "a ")), 0, "alike"),
        (Item("x" * 10_000_000, ("a", "b")), 0, "characters"),
        (Item("q", tuple("abcdefghijkl")), 0, "12 options"),
    ],
)
def test_questions_that_make_no_sense_are_told(question, key, wrong):
    cases = replace(asked(1), input=ListColumn([question]), target=torch.tensor([key]))
    with pytest.raises(UserError, match=wrong):
        check_questions(cases)
    with pytest.raises(UserError, match="holds no questions"):
        check_questions(replace(cases, input=ListColumn(["text"])))


def test_a_question_is_read_from_a_text_and_from_json(tmp_path):
    plain = Question.of_text("Which is a bone?\nA) femur\nB) liver\n(C) heart")
    assert plain.text == "Which is a bone?" and plain.options == ("femur", "liver", "heart")
    assert Question.of_text("骨は?\n\n大腿骨\n肝臓").options == ("大腿骨", "肝臓")
    (tmp_path / "q.json").write_text(json.dumps([plain.as_json(), plain.as_json()]))
    assert [one.options for one in Question.each(tmp_path / "q.json")] == [plain.options] * 2
    for text, wrong in (("alone", "0 options"), ("q\na\na", "twice"), ("q\n" + "x" * 60_000 + "\ny", "characters")):
        with pytest.raises(UserError, match=wrong):
            Question.of_text(text)
    (tmp_path / "bad.json").write_text('{"question": 1, "options": []}')
    with pytest.raises(UserError, match="no question"):
        Question.read(tmp_path / "bad.json")


def test_the_sets_tell_what_they_are():
    assert {"terms", "glosses"} <= set(load.names())
    assert load.names()["terms"].task == "choose"
