"""Texts with a class each: TF-IDF beside scikit-learn's, a BERT that looks both ways."""

from dataclasses import replace

import torch
from shapes import sorted_texts

from souron import registry
from souron.data.dataset import ListColumn
from souron.kinds.text import Text
from souron.runs import train
from souron.training.loop import Run


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
    seen = [system.layers(system.token(row) + system.place(torch.arange(12))) for row in
            (tokens, other)]  # fmt: skip
    assert not torch.allclose(seen[0][0, 0], seen[1][0, 0])


def test_a_run_tells_what_it_read_the_beginning_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURON_LANG", "en")
    cases = sorted_texts(200)
    lines = [f"{text},{cases.classes[label]}"
             for text, label in zip(cases.input, cases.target.tolist(), strict=True)]  # fmt: skip
    long = [f"{text * 30},{label}" for text, label in (line.split(",") for line in lines[:40])]
    (tmp_path / "own.csv").write_text("\n".join(["text,label", *lines, *long]), encoding="utf-8")
    record = train.train("bert_tiny", tmp_path / "own.csv", budget="6ep", batch=32)
    assert record.measures["accuracy"].value > 0.8
    assert any("read the beginning only" in note for note in record.notes)
    assert (record.folder / "report.html").read_text(encoding="utf-8").count("AUC")
    said = record.model.predict(Text("the doctor and a fever"))
    assert said.labels == ("clinic", "sea") and abs(sum(said.probabilities) - 1) < 1e-5
