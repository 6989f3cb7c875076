"""What a model answers before and after it learnt manners."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from shapes import sentences

from souron import registry
from souron.data.composing.language import manners as composing
from souron.data.dataset import Dataset, ListColumn
from souron.data.language.tokenizer import Tokenizer
from souron.data.splits import Split
from souron.evaluation.answers import Trainings
from souron.evaluation.language import manners
from souron.evaluation.language.text_generation import Sampling, Writer, answers
from souron.kinds.chat import Turn
from souron.runs import compare
from souron.tasks.complete import Spec
from souron.utils.messages import UserError

MADE = composing.exchanges(counts={"train": 3, "val": 2, "test": 4})


def questions():
    return Dataset(
        "manners",
        ListColumn([composing.preference(one) for one in MADE]),
        None,
        (),
        [one.name for one in MADE],
        part=[one.part for one in MADE],
        augment=(),
        columns={"language": [one.language for one in MADE], "sort": [one.sort for one in MADE]},
    )


@pytest.fixture(scope="module")
def model():
    texts = [text for one in MADE for text in (one.prompt, one.good, one.bad)]
    tokenizer = Tokenizer.learn(texts * 3, 700)
    kind, config = registry.load_system("gpt_tiny")
    torch.manual_seed(0)
    made = kind(config, Spec(tokenizer.packed(), len(tokenizer), "preferences"))
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return made.eval()


def of_the_test(cases):
    return cases.only([row for row, part in enumerate(cases.part) if part == "test"])


def saying(model, cases, which):
    """Answers as if the model had said the good or the bad ones."""
    tokens = torch.full((len(cases), manners.LENGTH), manners.NONE)
    for row, pair in enumerate(cases.input):
        ids = model.tokenizer.encode(getattr(pair, which))[: manners.LENGTH]
        tokens[row, : len(ids)] = torch.tensor(ids)
    return {"answer": tokens, **manners._judged(model.tokenizer, tokens, cases)}


def test_shares_count_the_questions_of_their_sorts_alone(model):
    cases = of_the_test(questions())
    good, bad = saying(model, cases, "chosen"), saying(model, cases, "rejected")
    for said, improper, refused in ((good, 0, 0), (bad, 1, 1)):
        found = manners.scores([said], cases)
        assert found["improper answers"].mean() == pytest.approx(improper)
        assert found["over-refusal"].mean() == pytest.approx(refused)
        measure = manners.share("over-refusal", found["over-refusal"], cases)
        assert measure.value == pytest.approx(refused)
        assert measure.n == sum(sort == "harmless" for sort in cases.columns["sort"])
    doses = manners.share("doses given", manners.scores([bad], cases)["doses given"], cases)
    medical = np.array([sort == "medical" for sort in cases.columns["sort"]])
    assert doses.value == pytest.approx(bad["doses given"].numpy()[medical].mean())


def test_intervals_of_shares_count_patients(model):
    cases = of_the_test(questions())
    cases = replace(cases, group=[f"patient {row // 2}" for row in range(len(cases))])
    said = saying(model, cases, "chosen")
    share = manners.share("over-refusal", manners.scores([said], cases)["over-refusal"], cases)
    result = manners.result(said, cases)
    assert share.groups and all(row.after.groups for row in result.rows)
    assert max(Counter((read.sort, read.language) for read in result.read).values()) == 3, "few are shown"


def test_every_question_is_answered_and_what_was_before_stands_beside(model):
    task, data = registry.load_task("complete"), questions()
    cases = of_the_test(data)
    rows = torch.arange(len(data))
    split = Split(rows[:0], rows[:0], torch.tensor([i for i, p in enumerate(data.part) if p == "test"]))
    [*_steps, last] = task.setup(data, split, None)
    setup = last.result
    model.reference = (model,)  # nothing was learnt: it has not moved
    *_steps, last = task.answer(model, cases, {}, setup)
    said = last.result
    assert said["answer"].shape == (len(cases), manners.LENGTH)
    assert task.ranks(setup) == "improper answers"
    other = type(model)(model.config, model.spec).eval()
    model.reference = (other,)
    *_steps, last = task.details(model, said, setup)
    details = last.result
    assert details["moved"].abs().sum() > 0 and "before: improper answers" in details
    found = manners.result(said | details, cases)
    names = {(row.name, row.language) for row in found.rows}
    assert ("over-refusal", "ja") in names and ("tokens of an answer", "en") in names
    assert all(row.before is not None for row in found.rows)
    assert {read.sort for read in found.read} == set(composing.SORTS)
    result = task.result(Trainings.of_one(cases, said | details, {}), setup)
    assert result.as_json()["manners"]["kl"].keys() == {"en", "ja"}
    model.reference = ()


def test_answers_are_drawn_with_the_seed_that_is_given(model, monkeypatch):
    """Else the trainings of a comparison would share the luck of their answers."""
    drawn = []
    monkeypatch.setattr(manners, "answers", lambda *given: drawn.append(given[-1].seed) or [])
    for seed in (0, 3):
        list(registry.load_task("complete").answer(model, of_the_test(questions()).only(range(2)), {}, None, seed))
    assert drawn == [0, 3]


def test_many_answers_are_those_that_each_would_get_alone(model):
    prompts = [
        model.tokenizer.conversation(manners.asked(pair), answer=True)[0] for pair in list(questions().input)[:6]
    ]
    how = Sampling(temperature=0)
    together = dict(answers(model, prompts, 12, how))
    for number, prompt in enumerate(prompts):
        alone = [each.token for each in Writer(model).write(prompt, 12, how)]
        assert together[number] == alone


def test_repeated_words_are_counted():
    assert manners.repeated("a b c d e f") == 0
    assert manners.repeated("no no no no no") == pytest.approx(2 / 3)
    assert manners.repeated("薬薬薬薬") == pytest.approx(0.5)
    assert manners.repeated("") == 0


def test_an_arm_of_a_comparison_changes_the_config(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for number, text in enumerate(sentences(60).input):
        (folder / f"{number:03d}.txt").write_text(text, encoding="utf-8")
    record = compare.compare(
        ["gpt_tiny:width=32,heads=1", "gpt_tiny:layers=1"],
        folder,
        budget="2ep",
        seeds=1,
        batch=16,
        project=tmp_path / "runs",
    )
    parameters = {row.system: row.parameters for row in record.rows}
    assert set(parameters) == {"gpt_tiny:width=32,heads=1", "gpt_tiny:layers=1"}
    assert len(set(parameters.values())) == 2
    with pytest.raises(UserError, match="widht"):
        compare.compare(["gpt_tiny:widht=3", "ngram"], folder, project=tmp_path)


def test_only_the_better_answers_are_learnt_where_that_is_wanted(model):
    kind, config = registry.load_system("gpt_tiny")
    from dataclasses import replace

    chosen = kind(replace(config, preferences="chosen"), model.spec)
    chosen.load_state_dict(model.state_dict())
    data = questions().only(range(4))
    [batch] = chosen.loader(data, lambda rows, generator: rows).once()
    said = chosen.log_likelihoods(batch.tokens[:4]) * batch.counts[:4]
    assert chosen.loss(batch).item() == pytest.approx(-(said.sum() / batch.counts[:4].sum()).item(), rel=1e-5)


def test_turns_before_the_answer_are_asked():
    talk = (Turn("user", "a"), Turn("assistant", "b"))
    assert manners.asked(talk) == talk[:1]
