"""Texts with a class each: TF-IDF beside scikit-learn's, a BERT that looks both ways."""

from dataclasses import replace

import pytest
import torch
from shapes import sorted_texts
from torch.nn import functional as F

from souron import registry
from souron.data.dataset import ListColumn
from souron.kinds.text import Text
from souron.runs import train
from souron.systems.classify_text import tfidf
from souron.tasks.classify_text import Batch, Options, padded, tokens_of
from souron.training.loop import Run
from souron.utils.messages import UserError


def learnt(name, cases, steps, size="tiny"):
    kind = registry.load_system(f"{name}_{size}")[0]
    torch.manual_seed(0)
    system = kind(kind.SIZES[size], kind.spec_for(cases))
    for _progress in system.fit(system.loader(cases, seed=0), Run(steps, 32)):
        pass
    return system.eval()


def test_the_line_is_the_one_that_scikit_learn_finds():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    cases = sorted_texts(120)
    texts = [" ".join(word for word in text.split() if word.isascii()) for text in cases.input]
    cases = replace(cases, input=ListColumn(texts))
    ours = learnt("tfidf", cases, 12, "small")
    vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\S+")
    x = vectors.fit_transform(texts)
    theirs = LogisticRegression(C=10.0, tol=1e-8, max_iter=1000).fit(x, cases.target.numpy())
    probability = ours.probabilities(ours.loader(cases))
    expected = torch.from_numpy(theirs.predict_proba(x)).float()
    assert torch.allclose(probability, expected, atol=2e-2)


def test_words_weigh_what_they_weigh_for_scikit_learn():
    from sklearn.feature_extraction.text import TfidfVectorizer

    cases = sorted_texts(120)
    texts = [f"{text} {text}" if row % 3 else text for row, text in enumerate(cases.input)]
    texts = [" ".join(word for word in text.split() if word.isascii()) for text in texts]
    ours = learnt("tfidf", replace(cases, input=ListColumn(texts)), 1, "small")
    theirs = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\S+").fit_transform(texts)
    for row, text in enumerate(ours.encoded(texts)):
        _numbers, values = ours._weighed(text)
        assert sorted(values.tolist()) == pytest.approx(sorted(theirs[row].data), abs=1e-5)


def test_japanese_is_counted_by_characters_and_their_pairs():
    assert list(tfidf.words("A RED bird_2, 赤い鳥")) == ["a", "red", "bird", "2", "赤", "い", "鳥", "赤い", "い鳥"]


def test_padding_and_the_company_in_a_batch_change_nothing():
    cases = sorted_texts(40)
    system = learnt("bert", cases, 5)
    alone = system.probabilities(system.loader(cases.only([3])))
    texts = list(cases.input)
    texts[4] = "long " * 50
    longer = replace(cases, input=ListColumn(texts))
    together = system.probabilities(system.loader(longer))[3]
    assert torch.allclose(alone[0], together, atol=1e-5)


def test_each_token_looks_at_those_after_it():
    system = learnt("bert", sorted_texts(40), 1)
    tokens = torch.randint(0, system.spec.vocabulary, (1, 12))
    other = tokens.clone()
    other[0, -1] = (other[0, -1] + 1) % system.spec.vocabulary
    seen = [system.layers(system.token(row) + system.place(torch.arange(12))) for row in (tokens, other)]
    assert not torch.allclose(seen[0][0, 0], seen[1][0, 0])
    assert not torch.allclose(system(tokens), system(other), atol=1e-5)


def test_the_order_of_words_counts():
    system = learnt("bert", sorted_texts(40), 1)
    tokens = torch.randint(0, system.spec.vocabulary, (1, 12))
    other = torch.cat([tokens[:, :1], tokens[:, 1:].flip(1)], 1)
    assert not torch.allclose(system(tokens), system(other), atol=1e-5)


def test_a_tenth_is_dropped_in_training_only():
    system, given = learnt("bert", sorted_texts(40), 1), {}
    for name in ("layers", "fc"):
        system.get_submodule(name).register_forward_pre_hook(
            lambda _layer, taken, name=name: given.update({name: taken[0]})
        )
    tokens = torch.randint(0, system.spec.vocabulary, (32, 12))
    for training in (False, True):
        system.train(training)(tokens)
        for name, values in given.items():
            gone = (values == 0).float().mean().item()
            assert gone == (pytest.approx(0.1, abs=0.04) if training else 0), name


def test_a_batch_of_texts_makes_a_step_of_every_sixteen():
    cases = sorted_texts(40)
    system = learnt("bert", cases, 1)
    tokens = padded(system.encoded(list(cases.input)), -1)
    losses = [loss.item() for _network, loss in system.updates(Batch(tokens, cases.target), 0)]
    answers = system(tokens).split(16), cases.target.split(16)
    expected = [F.cross_entropy(*some).item() for some in zip(*answers, strict=True)]
    assert len(losses) == 3 and losses == pytest.approx(expected, abs=1e-5)


def test_the_beginning_of_a_text_is_read_behind_the_start():
    system = learnt("bert", sorted_texts(40), 1)
    tokenizer, text = system.tokenizer, "the ship and the wave"
    whole = tokenizer.encode(text)
    count = len(whole)
    assert count > 4 and len(set(whole)) > 2
    for most in (count + 5, count + 1, count, 4):
        (found,) = tokens_of(tokenizer, [text], most)
        assert found.tolist() == [tokenizer.start, *whole][:most]
        system.config = replace(system.config, context=most)
        assert system.cut([text, ""]) == (most <= count)


def test_pictures_are_no_texts(digits):
    task = registry.load_task("classify_text")
    task.check(sorted_texts(8), Options())
    with pytest.raises(UserError, match="no texts"):
        task.check(digits, Options())


def test_a_run_tells_what_it_read_the_beginning_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURON_LANG", "en")
    cases = sorted_texts(200)
    lines = [f"{text},{cases.classes[label]}" for text, label in zip(cases.input, cases.target.tolist(), strict=True)]
    long = [f"{text * 30},{label}" for text, label in (line.split(",") for line in lines[:40])]
    (tmp_path / "own.csv").write_text("\n".join(["text,label", *lines, *long]), encoding="utf-8")
    record = train.train("bert_tiny", tmp_path / "own.csv", budget="6ep", batch=32)
    assert record.measures["accuracy"].value > 0.8
    assert any("read only the beginning" in note for note in record.notes)
    assert (record.folder / "report.html").read_text(encoding="utf-8").count("AUC")
    said = record.model.predict(Text("the doctor and a fever"))
    assert said.labels == ("clinic", "sea") and abs(sum(said.probabilities) - 1) < 1e-5
