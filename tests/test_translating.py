"""Translations and summaries: the network beside torch's own, its search beside all sentences, the
measures beside those that the field uses."""

import itertools
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from shapes import summaries, translations
from torch import nn

from souron import registry
from souron.data import load
from souron.data.dataset import ListColumn
from souron.evaluation import written
from souron.evaluation.answers import Setup
from souron.kinds.text import Text
from souron.metrics.summary import rouge_l, rouge_n, units
from souron.metrics.translation import chrf
from souron.systems.summarise import central
from souron.systems.summarise.central import Central, centrality
from souron.systems.summarise.central import Config as OfCentral
from souron.systems.summarise.first import Config as OfFirst
from souron.systems.summarise.first import First
from souron.systems.translate.transformer import PAD, Config, Transformer
from souron.systems.translate.translation_memory import Config as OfMemory
from souron.systems.translate.translation_memory import TranslationMemory
from souron.tasks.translate import Spec
from souron.training.loop import Run
from souron.utils.messages import UserError

TEXTS = [
    ("Open the file menu.", "Open the file dialog."),
    ("ファイルを開きます。", "ファイルを閉じます。"),
    ("a", "Save the document as a template."),
    ("The cells are merged", "merged are cells The"),
    ("x", "y"),
    ("セルを結合するには、表を選択します。", "セルを分割するには、セルを選択してください。"),
]


def network(vocabulary=9, seed=0):
    torch.manual_seed(seed)
    config = Config(16, 2, 2, 24, 0.0, 32)
    model = Transformer(config, Spec("", vocabulary)).eval()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.4)
    return model


def test_chrf_is_that_of_sacrebleu():
    theirs = pytest.importorskip("sacrebleu").CHRF(word_order=0, eps_smoothing=False)
    for said, right in TEXTS + [(b, a) for a, b in TEXTS]:
        expected = theirs.sentence_score(said, [right]).score / 100
        assert chrf(said, right) == pytest.approx(expected, abs=1e-6)


def test_rouge_is_that_of_rouge_score():
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    theirs = scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    chance = random.Random(0)
    for _pair in range(20):
        said, right = (" ".join(chance.choices("abcdef", k=k)) for k in (12, 9))
        found = theirs.score(right, said)
        ours, others = units(said), units(right)
        assert rouge_n(ours, others, 1) == pytest.approx(found["rouge1"].fmeasure)
        assert rouge_n(ours, others, 2) == pytest.approx(found["rouge2"].fmeasure)
        assert rouge_l(ours, others) == pytest.approx(found["rougeL"].fmeasure)


def test_japanese_is_compared_letter_by_letter():
    assert units("Excel の表を開く。") == ["excel", *"の表を開く"]


def theirs_of(model):
    """torch's own Transformer with the same weights."""
    width, config = model.config.width, model.config
    theirs = nn.Transformer(
        width, config.heads, config.depth, config.depth, config.hidden, 0.0, batch_first=True,
        norm_first=True,
    ).eval()  # fmt: skip
    known = {}
    sides = (("encoder", model.encoder, model.read), ("decoder", model.decoder, model.wrote))
    for side, layers, norm in sides:
        for place, layer in enumerate(layers):
            name = f"{side}.layers.{place}"
            attentions = [("self_attn", layer.attention)]
            last = "norm2"
            known |= {f"{name}.norm1.{k}": v for k, v in layer.norm1.state_dict().items()}
            if layer.across is not None:
                attentions.append(("multihead_attn", layer.across))
                last = "norm3"
                known |= {f"{name}.norm2.{k}": v for k, v in layer.norm3.state_dict().items()}
            known |= {f"{name}.{last}.{k}": v for k, v in layer.norm2.state_dict().items()}
            for own, attention in attentions:
                parts = (attention.query, attention.key, attention.value)
                known[f"{name}.{own}.in_proj_weight"] = torch.cat([p.weight for p in parts])
                known[f"{name}.{own}.in_proj_bias"] = torch.cat([p.bias for p in parts])
                out = attention.out.state_dict()
                known |= {f"{name}.{own}.out_proj.{k}": v for k, v in out.items()}
            known |= {f"{name}.linear1.{k}": v for k, v in layer.up.state_dict().items()}
            known |= {f"{name}.linear2.{k}": v for k, v in layer.down.state_dict().items()}
        known |= {f"{side}.norm.{k}": v for k, v in norm.state_dict().items()}
    theirs.load_state_dict(known)
    return theirs


@pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:The PyTorch API of nested")
@torch.inference_mode()
def test_the_network_is_torchs_transformer():
    model = network()
    theirs = theirs_of(model)
    source = torch.tensor([[1, 2, 3, 4, 5], [5, 4, 3, PAD, PAD]])
    target = torch.tensor([[0, 3, 1, 2], [0, 2, 2, 6]])
    nothing = source < 0
    hidden = theirs(
        model.placed(source, 0), model.placed(target, 0),
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(4),
        src_key_padding_mask=nothing, memory_key_padding_mask=nothing,
    )  # fmt: skip
    expected = hidden @ model.token.weight.T
    assert torch.allclose(model(source, target), expected, atol=1e-4)


@torch.inference_mode()
def test_with_as_many_beams_as_sentences_the_best_of_all_is_found():
    """And what is written step by step with kept keys has the probability of one pass."""
    vocabulary, most = 4, 3
    for seed in range(4):
        model = network(vocabulary, seed)
        source = torch.tensor([[1, 2, 3]])

        def score(ids, model=model, source=source):
            asked = torch.tensor([[0, *ids]])
            chance = model(source, asked[:, :-1]).log_softmax(2)
            said = chance.gather(2, asked[:, 1:, None]).sum()
            return float(said) / ((5 + len(ids)) / 6) ** 0.6

        every = [
            (*inner, last)
            for length in range(1, most + 1)
            for inner in itertools.product(range(1, vocabulary), repeat=length - 1)
            for last in (range(vocabulary) if length == most else (0,))
        ]
        best = max(every, key=score)
        [found] = model.search(source, beams=vocabulary**most, most=most)
        assert found == [token for token in best if token != 0]


@torch.inference_mode()
def test_texts_beside_others_are_translated_alike():
    model = network(30)
    short, long = torch.tensor([[5, 4, 3]]), torch.tensor([[1, 2, 3, 4, 5, 6]])
    both = torch.tensor([[5, 4, 3, PAD, PAD, PAD], [1, 2, 3, 4, 5, 6]])
    alone = [model.search(one, 2, 8)[0] for one in (short, long)]
    assert model.search(both, 2, 8) == alone


def learnt(kind, config, cases, steps, batch=64):
    torch.manual_seed(0)
    model = kind(config, kind.spec_for(cases))
    for _progress in model.fit(model.loader(cases, seed=0), Run(steps, batch)):
        pass
    return model.eval()


def test_it_learns_to_translate_what_it_never_saw_both_ways():
    cases = translations(600)
    train, test = cases.only(range(500)), cases.only(range(500, 532))
    model = learnt(Transformer, Config(64, 2, 2, 128, 0.0, 64, 5e-3), train, 60)
    forth = model.translate(list(test.input))
    back = model.translate(list(test.target), back=True)
    right = sum(map(str.__eq__, forth, test.target)) + sum(map(str.__eq__, back, test.input))
    assert right >= 48
    text = f"{test.input[0]}\n\n- {test.input[1]}"
    said = model.predict(Text(text)).text
    assert "\n\n- " in said and said.split("\n\n- ")[1] == forth[1]
    assert model.predict(Text(test.target[0]), beams=1).text == back[0]


def test_a_language_that_was_not_learnt_is_refused():
    model = TranslationMemory(OfMemory(), Spec(""))
    model.keep([("One.", "一。")])
    with pytest.raises(UserError, match="into=fr"):
        model.predict(Text("One."), into="fr")
    assert model.predict(Text("One."), into="ja").text == "一。"


def test_a_memory_gives_the_translation_of_the_nearest_text_and_keeps_it(tmp_path):
    cases = translations(200)
    model = learnt(TranslationMemory, OfMemory(), cases, 2)
    assert model.translate([cases.input[7].upper()]) == [cases.target[7]]
    assert model.translate([cases.target[9][:-1]], back=True) == [cases.input[9]]
    again = TranslationMemory(OfMemory(), model.spec)
    for name in model.sized_by_data:
        setattr(again, name, torch.zeros_like(getattr(model, name)))
    again.translate(["x"])
    again.load_state_dict(model.state_dict())
    assert again.translate([cases.input[7]]) == [cases.target[7]]
    assert TranslationMemory(OfMemory(), model.spec).translate(["x", ""]) == ["", ""]


def test_written_texts_are_kept_whole_or_marked():
    texts = ["短い。", "長" * 3000, ""]
    kept = written.texts({"said": written.kept([4, 7, 9], texts)}, "said")
    assert kept[4] == "短い。" and kept[9] == ""
    assert kept[7].endswith("長…") and len(kept[7]) > 300


def test_centrality_is_the_walks_rest():
    """The eigenvector of the same matrix, by numpy's own way."""
    torch.manual_seed(1)
    vectors = nn.functional.normalize(torch.rand(7, 3), dim=1)
    like = vectors @ vectors.T
    p = centrality(like, 0.85, 0.9)
    weight = torch.where(like >= 0.9, like, 0.0)
    step = (weight / weight.sum(1, keepdim=True)).double()
    matrix = 0.15 / 7 + 0.85 * step.T
    value, vector = torch.linalg.eig(matrix)
    best = vector[:, value.real.argmax()].real
    assert torch.allclose(p.double(), best / best.sum(), atol=1e-5)


TELLING = (
    "The weather was fine. The heart pumps blood through the body. The heart pumps blood through "
    "the whole body. Blood from the heart carries oxygen. Arteries carry blood from the heart. "
    "My aunt sells shoes."
)


def test_central_sentences_are_about_the_subject_and_no_two_say_the_same():
    found = Central(OfCentral(), None).predict(Text(TELLING), count=3)
    texts = [quote.text for quote in found.quotes]
    assert all("heart" in text for text in texts)
    assert sum("pumps" in text for text in texts) == 1
    starts = [quote.start for quote in found.quotes]
    assert starts == sorted(starts)
    assert all(TELLING[quote.start : quote.end] == quote.text for quote in found.quotes)
    same = Central(OfCentral(penalty=0.0), None).predict(Text(TELLING), count=3)
    assert sum("pumps" in quote.text for quote in same.quotes) == 2


def test_a_sentence_is_compared_with_every_chosen_one(monkeypatch):
    """The last says what the first does, and nothing of what the second does."""
    like = [[1, 0, 0], [0, 1, 0], [0.4, 0.4, 0.68**0.5], [1, 0, 0]]
    vectors = np.array(like, dtype=np.float32)
    monkeypatch.setattr(central, "encoder", SimpleNamespace(encode=lambda texts: vectors))
    found = Central(OfCentral(penalty=10.0), None).chosen(list("abca"), 3)
    assert [place for place, _score in found][1:] == [1, 2] and found[0][1] == 1


def test_the_first_sentences_are_chosen_the_first_as_the_most_telling():
    model = First(OfFirst(), None)
    assert model.chosen(["a", "b", "c"], 2) == [(0, 1.0), (1, 0.5)]
    assert model.chosen(["a"], 2) == [(0, 1.0)]


def test_chosen_sentences_are_told_in_the_order_of_the_text(monkeypatch):
    model = First(OfFirst(), None)
    monkeypatch.setattr(model, "chosen", lambda texts, most: [(2, 0.9), (0, 0.5)])
    told = [sentence.text for sentence, _score in model.summary("One. Two. Three.", 2)]
    assert told == ["One.", "Three."]


def test_texts_are_summarised_at_the_learnt_length():
    """Their first sentence is what a person wrote of them."""
    cases, model = summaries(8), learnt(First, OfFirst(), summaries(40), 6)
    *_before, step = registry.load_task("summarise").answer(model, cases, {}, Setup(None, cases))
    assert step.result["ROUGE-1"].eq(1).all()
    assert model.validate(model.loader(cases))["ROUGE-1"].eq(1).all()


def test_how_many_sentences_is_learnt():
    cases = summaries(40)
    model = learnt(First, OfFirst(), cases, 6)
    assert int(model.length) == 1
    longer = [" ".join(text.split(". ")[:3]) for text in cases.input]
    two = type(cases)(**{**vars(cases), "target": ListColumn(longer)})
    assert int(learnt(First, OfFirst(), two, 6).length) > 1


@pytest.mark.parametrize("kind, config", [(Central, OfCentral()), (First, OfFirst())])
def test_texts_that_cannot_be_summarised(kind, config):
    model = kind(config, None)
    assert len(model.predict(Text("One. Two."), count=9).quotes) == 2
    for text in ("", "!!!", "\n\n"):
        with pytest.raises(UserError, match="no sentence"):
            model.predict(Text(text))
    with pytest.raises(UserError, match="at most 4000 sentences"):
        model.predict(Text("Good day. " * 4001))
    if kind is Central:
        assert len(model.predict(Text("Same here. " * 30), count=3).quotes) == 3


def test_own_texts_with_summaries(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("document,summary\nA long text.,Short.\n", encoding="utf-8")
    cases = load.load(str(file), formats=registry.load_task("summarise").formats)
    assert list(cases.input) == ["A long text."] and list(cases.target) == ["Short."]


@pytest.mark.parametrize("task", ["translate", "summarise"])
def test_data_without_pairs_are_refused(task, digits):
    with pytest.raises(UserError) as caught:
        registry.load_task(task).check(digits, None)
    assert caught.value.code == "no pairs"
