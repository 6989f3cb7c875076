"""Rivals side by side: ratings and their intervals, the file of votes, what stays blind."""

import io
import json
import socket

import numpy as np
import pytest
from scipy.stats import binom, t
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score

from souron import registry
from souron.actions.arena import contest as arena
from souron.actions.arena import votes
from souron.actions.arena.contest import Rival
from souron.actions.arena.votes import Answer, Settings, Vote
from souron.cli import main
from souron.data.language.tokenizer import Tokenizer
from souron.evaluation.language.answer_judge import Comparer
from souron.evaluation.language.conversation import Voice
from souron.evaluation.language.text_generation import Sampling
from souron.stats import bradley_terry
from souron.stats.agreement import agreement
from souron.utils.messages import UserError

QUESTIONS = [f"What is {number}?" for number in range(40)]


class Parrot:
    """Answers at once; of the same words whoever is asked where the question says so."""

    def __init__(self, name):
        self.name = name

    def answer(self, question, length, sampling):
        if "too long" in question:
            raise UserError("context", "it does not fit", exit=3)
        own = sum(map(ord, self.name))
        said = f"{own} " + "words " * (sampling.seed * own % 97)
        text = "alike" if "alike" in question else said
        return Answer(question, "", text, 3, 0.1, "end")


def begun(file, *models, questions=QUESTIONS, **options):
    return arena.begin(models or ("eagle", "heron"), questions, file, loads=Parrot, **options)


def drawn(rng, count, rivals=2, gap=0.0):
    a = rng.integers(0, rivals, count)
    b = (a + rng.integers(1, rivals, count)) % rivals if rivals > 2 else 1 - a
    skill = np.r_[gap, np.zeros(rivals - 1)]
    won = rng.random(count) < 1 / (1 + np.exp(skill[b] - skill[a]))
    return a, b, won.astype(float)


def test_ratings_are_those_of_logistic_regression():
    a, b, won = drawn(np.random.default_rng(0), 90, 3, 0.8)
    found = bradley_terry.fit(a, b, won, 3)
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    first, second = np.r_[a, [i for i, _ in pairs]], np.r_[b, [j for _, j in pairs]]
    rows = np.eye(3)[first] - np.eye(3)[second]
    weight = np.r_[np.ones(90), np.full(6, bradley_terry.PRIOR)]
    labels = np.r_[won, np.ones(6)].astype(int)
    flipped = labels == 0  # the same with the sides turned; else one class could be missing
    rows[flipped], labels[flipped] = -rows[flipped], 1
    rows, labels, weight = np.r_[rows, -rows], np.r_[labels, 1 - labels], np.r_[weight, weight]
    other = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-10, max_iter=9999)
    skill = other.fit(rows[:, 1:], labels, weight).coef_[0]
    assert found.log_odds[1:] - found.log_odds[0] == pytest.approx(skill, abs=1e-4)
    chance = 1 / (1 + np.exp(-rows[: len(first), 1:] @ skill))
    spread = np.linalg.inv(
        (rows[: len(first), 1:] * (weight[: len(first)] * chance * (1 - chance))[:, None]).T @ rows[: len(first), 1:]
    )
    value, low, high = found.difference(1, 0)
    assert value == pytest.approx(skill[0], abs=1e-4)
    half = bradley_terry.WIDER * t.ppf(0.975, 89) * spread[0, 0] ** 0.5
    assert (high - low) / 2 == pytest.approx(half, rel=0.01)


@pytest.mark.parametrize("count", [15, 30, 60, 101, 150])
def test_copies_of_one_model_are_seldom_told_apart(count):
    """Over every outcome of the votes: 5 % are promised, and 95 % of intervals that hold it."""
    told = covered = 0.0
    for wins in range(count + 1):
        won = [1] * wins + [0] * (count - wins)
        found = bradley_terry.fit([0] * count, [1] * count, won, 2)
        [verdict] = bradley_terry.verdicts(found, ["a", "b"])
        told += binom.pmf(wins, count, 0.5) * (verdict.verdict != "cannot tell")
        covered += binom.pmf(wins, count, 0.69) * (verdict.low <= 0.8 <= verdict.high)
    assert told <= 0.05 and 0.93 <= covered <= 0.985


def test_votes_on_one_question_count_together():
    rng = np.random.default_rng(2)
    a, b, won = drawn(rng, 40)
    once = bradley_terry.fit(a, b, won, 2, list(range(40)))
    again = bradley_terry.fit(*(np.tile(each, 5) for each in (a, b, won)), 2, list(range(40)) * 5)
    (_one, low, high), (_more, lower, higher) = once.difference(0, 1), again.difference(0, 1)
    assert higher - lower > 0.9 * (high - low), "five times the same says nothing new"


def test_one_sided_votes_have_an_end():
    few = bradley_terry.fit([0] * 3, [1] * 3, [1] * 3, 2)
    many = bradley_terry.fit([0] * 20, [1] * 20, [1] * 20, 2)
    assert np.isfinite(many.log_odds).all()
    assert bradley_terry.verdicts(few, ["a", "b"])[0].verdict == "cannot tell"
    assert bradley_terry.verdicts(many, ["a", "b"])[0].verdict == "better"
    nine = bradley_terry.fit([0] * 9, [1] * 9, [1] * 9, 2)
    assert bradley_terry.verdicts(nine, ["a", "b"])[0].verdict == "better", "p = 0.004"


def test_so_many_votes_more_would_tell():
    won = [1] * 18 + [0] * 12
    found = bradley_terry.fit([0] * 30, [1] * 30, won, 2)
    [verdict] = bradley_terry.verdicts(found, ["a", "b"])
    assert verdict.verdict == "cannot tell" and 100 < verdict.cases_needed < 300
    times = round((30 + verdict.cases_needed) / 30)
    later = bradley_terry.fit([0] * 30 * times, [1] * 30 * times, won * times, 2)
    assert bradley_terry.verdicts(later, ["a", "b"])[0].verdict == "better"
    even = bradley_terry.fit([0, 0], [1, 1], [1, 0], 2)
    assert even.votes_needed(0, 1) is None


def test_verdicts_on_several_pairs_share_their_errors():
    """Where none of three pairs is told apart, each is tested at a third of 5 %."""
    found = bradley_terry.fit(*drawn(np.random.default_rng(0), 60, 3), 3)
    for verdict in bradley_terry.verdicts(found, "abc"):
        pair = "abc".index(verdict.a), "abc".index(verdict.b)
        assert verdict.verdict == "cannot tell"
        expected = found.difference(*pair, 1 - 0.05 / 3)
        assert (verdict.difference, verdict.low, verdict.high) == pytest.approx(expected)


@pytest.mark.parametrize("alike", [0.1, 0.6])
def test_kappa_is_sklearns(alike):
    rng = np.random.default_rng(3)
    one = rng.choice(["a", "b", ""], 60)
    other = np.where(rng.random(60) < alike, one, rng.choice(["a", "b", ""], 60))
    found = agreement(list(one), list(other))
    assert found.kappa.value == pytest.approx(cohen_kappa_score(one, other))
    rows = [rng.integers(0, 60, 60) for _ in range(300)]
    spread = np.std([cohen_kappa_score(one[row], other[row]) for row in rows])
    assert (found.kappa.high - found.kappa.low) / 3.92 == pytest.approx(spread, rel=0.2)
    for all_alike in (["a"] * 4, ["a", "b", "a", "a"]):
        assert np.isnan(agreement(["a"] * 4, all_alike).kappa.value), "its interval would be none"


def test_sides_are_drawn_by_chance_and_by_the_seed(tmp_path):
    def first(file, seed):
        return [match.first for match in begun(tmp_path / file, seed=seed).matches()]

    one = first("a.jsonl", 0)
    assert one == first("b.jsonl", 0) != first("c.jsonl", 1)
    assert len(one) == 40 and 10 < one.count("eagle") < 30
    orders = {match.question for match in begun(tmp_path / "d.jsonl", "a", "b", "c").matches()}
    assert len(orders) == 40


def test_the_order_of_questions_is_drawn_by_the_seed(tmp_path):
    def order(file, seed):
        return [match.question for match in begun(tmp_path / file, seed=seed).matches()]

    one, other = order("a.jsonl", 0), order("b.jsonl", 1)
    assert sorted(one) == sorted(other) == sorted(QUESTIONS)
    assert one != other and QUESTIONS not in (one, other)


def test_each_question_is_answered_by_a_draw_of_its_own(tmp_path):
    made = begun(tmp_path / "v.jsonl")
    assert len({made.answer(question, "eagle").text for question in QUESTIONS}) > 20


def test_the_arenas_ratings_count_votes_on_one_question_together(tmp_path):
    """On every second question the votes go the other way, whoever is compared."""
    made = begun(tmp_path / "v.jsonl", "a", "b", "c", questions=QUESTIONS[:12])
    for match in list(made.matches()):
        usual = (match.first < match.second) == (QUESTIONS.index(match.question) % 4 > 0)
        made.vote(match, votes.FIRST if usual else votes.SECOND)
    given = [("abc".index(v.first), "abc".index(v.second), votes.SAID[v.said], v.question) for v in made.held.counted]
    first, second, said, asked = zip(*given, strict=True)
    apart = bradley_terry.fit(first, second, said, 3)
    together = bradley_terry.fit(first, second, said, 3, asked)
    assert together.rating(0)[2] > apart.rating(0)[2] + 0.1
    high = {model.name: model.high for model in made.result().models}
    expected = bradley_terry.MEAN + bradley_terry.POINTS * together.rating(0)[2]
    assert high["a"] == pytest.approx(expected)


def test_each_question_comes_once_before_any_comes_again(tmp_path):
    made = begun(tmp_path / "v.jsonl", "a", "b", "c", "d", questions=QUESTIONS[:8])
    asked = [match.question for match in made.matches()]
    assert len(asked) == 48 and len(set(asked[:8])) == 8
    pairs = {(match.question, *sorted((match.first, match.second))) for match in made.matches()}
    assert len(pairs) == 48


def test_votes_are_on_the_disk_at_once_and_resumed(tmp_path):
    file = tmp_path / "v.jsonl"
    made = begun(file)
    match = next(made.matches())
    assert made.answers(match) is not None
    made.vote(match, votes.FIRST)
    later = begun(file)
    assert later.held.votes == [Vote(match.question, match.first, match.second, "first")]
    assert match.question not in [other.question for other in later.matches()]
    assert later.held.answers == made.held.answers
    with pytest.raises(UserError, match="holds votes on eagle, heron"):
        begun(file, "eagle", "owl")


def test_a_broken_line_is_named_and_nothing_else_is_lost(tmp_path):
    file = tmp_path / "v.jsonl"
    made = begun(file)
    matches = list(made.matches())
    made.vote(matches[0], votes.FIRST)
    with file.open("a", encoding="utf-8") as stream:
        stream.write('{"vote": true, "question": "cut off in the mid')
    made.vote(matches[1], votes.SECOND)
    with file.open("a", encoding="utf-8") as stream:
        stream.write('{"vote": true, "question": 3}\n[1]\n')
    held = votes.read(file)
    assert len(held.votes) == 2
    assert [each.file for each in held.skipped] == ["v.jsonl:3", "v.jsonl:5", "v.jsonl:6"]


def test_only_the_first_blind_vote_counts(tmp_path):
    made = begun(tmp_path / "v.jsonl")
    one, two, three = list(made.matches())[:3]
    made.vote(one, votes.FIRST)
    made.vote(one, votes.SECOND)
    made.vote(two, votes.FIRST, blind=False)
    made.vote(two, votes.FIRST)
    made.vote(three, votes.BAD)
    found = made.result()
    assert (found.votes, found.ties, found.shown) == (2, 1, 3)


def test_a_pair_is_one_pair_with_its_sides_exchanged(tmp_path):
    made = begun(tmp_path / "v.jsonl")
    match = next(made.matches())
    turned = arena.Match(match.question, match.second, match.first)
    made.vote(match, votes.FIRST)
    assert made.voted(turned)
    made.vote(turned, votes.FIRST)
    assert (made.result().votes, made.result().shown) == (1, 1)


def test_answers_that_are_the_same_are_a_tie_and_long_questions_are_left_out(tmp_path):
    made = begun(tmp_path / "v.jsonl", questions=["alike", "too long", "other"])
    shown = [match.question for match in made.matches() if made.answers(match) is not None]
    assert shown == ["other"]
    found = made.result()
    assert found.votes == found.ties == 1
    assert [each.code for each in found.skipped] == ["context"]


def test_a_model_may_be_its_own_rival(tmp_path):
    made = begun(tmp_path / "v.jsonl", "eagle", "eagle")
    assert made.settings.models == ("eagle", "eagle #2") and list(made.rivals) == ["eagle"]
    first, second = made.answers(next(made.matches()))
    assert first.text != second.text, "another draw"


@pytest.mark.parametrize("models", [("one",), tuple("abcde")])
def test_two_to_four_models(models, tmp_path):
    with pytest.raises(UserError, match="models"):
        begun(tmp_path / "v.jsonl", *models)


def test_questions_are_read_and_faults_are_named(tmp_path):
    file = tmp_path / "q.jsonl"
    lines = [
        '{"question": "Why?"}',
        '{"prompt": "なぜ？"}',
        '{"text": 1}',
        "{broken",
        '{"question": "Why?"}',
        '{"question": "\\ud83d"}',
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    found, skipped = votes.questions(file)
    assert found == ["Why?", "なぜ？", "?"]
    assert [each.file for each in skipped] == ["q.jsonl:3", "q.jsonl:4", "q.jsonl:5"]
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(UserError, match="no question"):
        votes.questions(tmp_path / "empty.txt")
    (tmp_path / "q.txt").write_bytes("痛い？\n".encode("cp932"))
    assert votes.questions(tmp_path / "q.txt")[0] == ["痛い？"]


class Place:
    """A judge that always prefers what it reads first."""

    def prefers_first(self, question, one, other):
        return 0.9


class Taste:
    """A judge that prefers the longer answer, wherever it stands."""

    def prefers_first(self, question, one, other):
        return 0.8 if len(one) > len(other) else 0.2


def test_a_judge_is_held_against_the_votes(tmp_path):
    made = begun(tmp_path / "v.jsonl", questions=QUESTIONS[:12])
    for match in list(made.matches()):
        first, second = made.answers(match)
        longer = len(first.text) > len(second.text)
        made.vote(match, votes.FIRST if longer else votes.SECOND)
    list(arena.judge(made.held, "place", Place()))
    list(arena.judge(made.held, "taste", Taste()))
    place, taste = votes_again(made).judges
    assert place.first.value == 1 and place.undecided == 12
    assert place.agreement.same.value == 0
    assert taste.first.value == 0.5  # of both orders of a pair, that in which the longer is first
    assert taste.agreement.same.value == 1 and taste.compared == 12
    assert [*arena.judge(made.held, "place", None)] == [(0, 0)], "asked once"


def votes_again(made):
    return arena.result(votes.read(made.held.file))


@pytest.fixture(scope="module")
def model():
    """An untrained GPT with a tokenizer."""
    tokenizer = Tokenizer.learn(["Which answer is better? Reply with A or B only."] * 9, 300)
    kind, config = registry.load_system("gpt_tiny")
    spec = registry.load_task("complete").Spec(tokenizer.packed(), len(tokenizer))
    return kind(config, spec).eval()


class Short:
    """The model with room for a judge's question, of which it sees the end."""

    context = 4096

    def __init__(self, model):
        self.tokenizer, self.kv_cache, self.read = model.tokenizer, model.kv_cache, model.read


def test_a_model_answers_and_compares(model):
    rival = Rival.__new__(Rival)
    rival.name, rival.voice = "gpt", Voice(model)
    one = rival.answer("A?", 5, Sampling(seed=3))
    assert one.tokens <= 5 and one.text == rival.answer("A?", 5, Sampling(seed=3)).text
    with pytest.raises(UserError, match=r"\[context\]"):
        rival.answer("why " * 999, 5, Sampling())
    judge = Comparer(model)
    assert judge.prefers_first("why " * 999, "a", "b") is None
    judge.model = Short(model)
    assert 0 < judge.prefers_first("A?", "a", "b") < 1


def run(words, capsys, monkeypatch, said=""):
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    code = main.run(words)
    told = capsys.readouterr()
    return code, told.out, told.err


def test_the_command_asks_blind_and_needs_no_network(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(arena, "Rival", Parrot)
    monkeypatch.setattr(socket.socket, "connect", None)
    (tmp_path / "q.txt").write_text("One?\nTwo?\nThree?\n")
    words = ["arena", "eagle", "heron", "q.txt", "--quiet"]
    code, out, _err = run(words, capsys, monkeypatch, "1\nx\n4\n")
    first = out.index("1 was")
    assert code == 0 and "eagle" not in out[:first] and "heron" not in out[:first]
    assert "2 votes on 2 questions, 1 of them ties" in out
    code, out, _err = run([*words, "--json"], capsys, monkeypatch, "n\n2\n")
    told = json.loads(out.splitlines()[-1])
    assert told["votes"] == 2 and told["not_counted"] == 1
    assert {"name", "rating", "low", "high"} <= set(told["models"][0])
    assert told["verdicts"][0]["verdict"] == "cannot tell"
    code, out, _err = run(["arena", "--results", "runs/arena/q.jsonl"], capsys, monkeypatch)
    assert code == 0 and "2 votes on 2 questions" in out


def test_without_votes_there_are_no_results(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun(tmp_path / "v.jsonl")
    code, _out, err = run(["arena", "--results", "v.jsonl"], capsys, monkeypatch)
    assert code == 3 and "holds no votes yet" in err
    (tmp_path / "other.jsonl").write_text('{"text": "no arena"}\n')
    code, _out, err = run(["arena", "--results", "other.jsonl"], capsys, monkeypatch)
    assert code == 3 and "holds no votes of an arena" in err
    assert Settings(("a", "b")).seed == 0
