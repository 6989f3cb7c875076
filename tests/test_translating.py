"""Translations and summaries: the network beside torch's own, its search beside all sentences, the
measures beside those that the field uses."""

import itertools
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from shapes import summaries, translations
from torch import nn

import souron
from souron import registry
from souron.data import load
from souron.data.dataset import ListColumn, Rows
from souron.data.language.tokenizer import Tokenizer
from souron.evaluation import answers
from souron.evaluation.answers import Setup, Trainings
from souron.evaluation.language import generated_texts
from souron.hub import zoo
from souron.kinds.text import Text
from souron.metrics.summary import rouge_l, rouge_n, units
from souron.metrics.translation import chrf, weaknesses
from souron.systems.summarise import central
from souron.systems.summarise.central import Central, centrality
from souron.systems.summarise.central import Config as OfCentral
from souron.systems.summarise.first import Config as OfFirst
from souron.systems.summarise.first import First
from souron.systems.translate.transformer import PAD, Batch, Config, Transformer
from souron.systems.translate.translation_memory import Config as OfMemory
from souron.systems.translate.translation_memory import TranslationMemory
from souron.tasks.translate import WELL, Spec, least_score, pieces
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
        width, config.heads, config.depth, config.depth, config.hidden, 0.0, batch_first=True, norm_first=True
    ).eval()
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
        model.placed(source, 0),
        model.placed(target, 0),
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(4),
        src_key_padding_mask=nothing,
        memory_key_padding_mask=nothing,
    )
    expected = hidden @ model.token.weight.T
    assert torch.allclose(model(source, target), expected, atol=1e-4)


@torch.inference_mode()
def test_places_are_told_by_sines():
    model = network()
    tokens = torch.tensor([[3, 1, 4]])
    found = model.placed(tokens, 5)[0]
    for place, token in enumerate(tokens[0].tolist()):
        for i in range(16):
            angle = (5 + place) / 10_000 ** (i // 2 * 2 / 16)
            wave = math.cos(angle) if i % 2 else math.sin(angle)
            expected = model.token.weight[token, i].item() * 4 + wave
            assert found[place, i].item() == pytest.approx(expected, abs=1e-4)


def test_a_tenth_of_the_right_tokens_weight_is_shared_while_it_learns():
    model = network()
    source = torch.tensor([[8, 1, 2], [8, 5, PAD]])
    target = torch.tensor([[0, 3, 1, 0], [0, 2, 0, PAD]])
    batch = Batch(source, target, torch.tensor([5, 3]))
    chance = model(source, target[:, :-1]).log_softmax(2)
    right = target[:, 1:]
    own = chance.gather(2, right.clamp(min=0)[..., None])[right >= 0].mean().item()
    every = chance.mean(2)[right >= 0].mean().item()
    assert model.loss(batch).item() == pytest.approx(-own, rel=1e-5)
    shared = 0.9 * own + 0.1 * every
    assert model.train().loss(batch).item() == pytest.approx(-shared, rel=1e-5)


def test_a_pair_is_learnt_in_both_directions():
    first, second = (torch.tensor([1, 2, 3]), torch.tensor(9)), (torch.tensor([4, 5]), torch.tensor(6))
    batch = network(30).batch(Rows([first], [second]))
    assert batch.source.tolist() == [[29, 1, 2, 3], [28, 4, 5, PAD]]
    assert batch.target.tolist() == [[0, 4, 5, 0, PAD], [0, 1, 2, 3, 0]]
    assert batch.bytes.tolist() == [6, 9]


@torch.inference_mode()
def test_bits_are_those_of_the_second_text_for_each_of_its_bytes():
    cases = translations(5)
    torch.manual_seed(0)
    model = Transformer(Config(16, 1, 2, 24, 0.0, 32), Transformer.spec_for(cases)).eval()
    tokenizer, found = model.tokenizer, model.surprise(cases)
    for row, (first, second) in enumerate(zip(cases.input, cases.target, strict=True)):
        asked = torch.tensor([[model.spec.vocabulary - 1, *tokenizer.encode(first)]])
        said = torch.tensor([[model.end, *tokenizer.encode(second), model.end]])
        chance = model(asked, said[:, :-1]).log_softmax(2).gather(2, said[:, 1:, None])
        bits = -chance.sum().item() / math.log(2)
        assert found[row].item() == pytest.approx(bits / len(second.encode()), rel=1e-4)


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
        [(found, mean)] = model.search(source, beams=vocabulary**most, most=most)
        assert found == [token for token in best if token != 0]
        chance = score(best) * ((5 + len(best)) / 6) ** 0.6
        assert mean == pytest.approx(chance / len(best), abs=1e-4)  # the score: of a token, in the mean


@torch.inference_mode()
def test_step_by_step_it_foretells_as_in_one_pass():
    model = network()
    source, target = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[0, 3, 1, 2, 6]])
    memory, mask = model.understood(source)
    caches = [{} for _layer in model.decoder]
    steps = [model.follow(target[:, k : k + 1], memory, mask, None, caches, k) for k in range(5)]
    assert torch.allclose(torch.cat(steps, 1), model(source, target), atol=1e-4)


@torch.inference_mode()
def test_a_longer_translation_may_be_a_little_less_likely(monkeypatch):
    """No word at all has the logarithm -0.99, two words and the end -1.10 / (8 / 6)^0.6 = -0.93."""
    chance = torch.tensor([[0.37, 0.5, 0.13], [0.05, 0.05, 0.9], [0.74, 0.13, 0.13]]).log()
    model = network(3)

    def follow(target, memory, memory_mask, mask, caches, place):
        return chance[place].expand(len(target), 1, 3)

    monkeypatch.setattr(model, "follow", follow)
    [(tokens, _mean)] = model.search(torch.tensor([[1, 2]]), beams=3, most=3)
    assert tokens == [1, 2]


@torch.inference_mode()
def test_texts_beside_others_are_translated_alike():
    model = network(30)
    short, long = torch.tensor([[5, 4, 3]]), torch.tensor([[1, 2, 3, 4, 5, 6]])
    both = torch.tensor([[5, 4, 3, PAD, PAD, PAD], [1, 2, 3, 4, 5, 6]])
    alone = [model.search(one, 2, 8)[0] for one in (short, long)]
    for (tokens, mean), (others, other) in zip(model.search(both, 2, 8), alone, strict=True):
        assert tokens == others and mean == pytest.approx(other, abs=1e-4)


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


def test_a_translation_says_how_sure_it_is_and_warns_below_what_was_right_on_validation_texts():
    model = TranslationMemory(OfMemory(), Spec(""))
    model.keep([("Open the file menu.", "メニューを開きます。"), ("Save the document.", "文書を保存します。")])
    text = Text("Open the file menu.\nThe tooth hurts.")
    told = model.predict(text)
    assert told.notes == () and told.score == pytest.approx(0.5, abs=0.1)  # 1 and nearly 0
    model.decision = {"least score": 0.6, "least score, backwards": 2.0}
    [note] = model.predict(text).notes
    assert "1 of 2 sentences have a score below 0.60" in note and "do not rely on this translation" in note
    assert model.predict(Text("Open the file menu.")).notes == ()
    back = model.predict(Text("文書を保存します。"))
    assert "1 of 1 sentences have a score below 2.00" in back.notes[0]
    assert back.as_json() == {"text": "Save the document.", "score": 1.0, "notes": list(back.notes)}
    assert back.notes[0] in back._repr_html_()


def test_the_least_score_is_chosen_on_validation_texts_for_each_direction(tmp_path):
    task, known, asked = registry.load_task("translate"), translations(60), translations(20, seed=1)
    model = learnt(TranslationMemory, OfMemory(), known, 2)
    found = task.decide(model, asked, Setup(None, asked))
    for back, name in enumerate(found):
        sides = (asked.target, asked.input) if back else (asked.input, asked.target)
        said = model.translations(list(sides[0]), bool(back))
        good = [chrf(one.text, right) for one, right in zip(said, sides[1], strict=True) if one.score >= found[name]]
        assert not good or sum(good) / len(good) >= WELL
    assert least_score([-0.1, -0.5, -2.0], [0.9, 0.3, 0.0]) == -0.5
    assert least_score([-0.5, -0.1], [0.2, 0.1]) > -0.1  # none is good: each is warned of
    Trainings.empty(asked, found).write(tmp_path / "answers.safetensors")
    assert answers.decision(tmp_path / "answers.safetensors") == pytest.approx(found)
    assert answers.decision(tmp_path / "none.safetensors") == {}


def test_a_poor_translator_is_named_as_such():
    assert weaknesses({"chrF": {"value": 0.185}, "chrF, backwards": {"value": 0.4}})[0].startswith("Poor translator")
    assert weaknesses({"chrF": {"value": 0.5}}) == weaknesses({}) == []
    if zoo.where("transformer") is not None:
        assert "chrF 18.5 %" in zoo.weaknesses(zoo.where("transformer"))[0]
        assert souron.load("transformer").system.decision


def test_a_language_that_was_not_learnt_is_refused():
    model = TranslationMemory(OfMemory(), Spec(""))
    model.keep([("One.", "一。")])
    with pytest.raises(UserError, match="into=fr"):
        model.predict(Text("One."), into="fr")
    assert model.predict(Text("One."), into="ja").text == "一。"


def test_the_language_of_a_text_says_into_which_it_is_translated():
    model = TranslationMemory(OfMemory(), Spec(""))
    model.keep([("One.", "一。"), ("Two.", "二。")])
    assert model.predict(Text("Two.")).text == "二。"
    assert model.predict(Text("二。")).text == "Two."


def test_both_directions_are_compared_with_texts_of_their_own_language():
    known, asked = translations(20), translations(20, seed=1)
    model = learnt(TranslationMemory, OfMemory(), known, 2)
    *_steps, last = registry.load_task("translate").answer(model, asked, {}, None)
    forth = [chrf(*pair) for pair in zip(model.translate(asked.input), asked.target, strict=True)]
    told = model.translate(list(asked.target), back=True)
    back = [chrf(*pair) for pair in zip(told, asked.input, strict=True)]
    assert last.result["chrF"].tolist() == pytest.approx(forth)
    assert last.result["chrF, backwards"].tolist() == pytest.approx(back)
    assert abs(sum(forth) - sum(back)) > 0.1


def test_the_tokenizer_learns_from_both_languages():
    cases = translations(60)
    spec = registry.load_task("translate").spec(cases)
    tokenizer = Tokenizer.unpacked(spec.tokenizer)
    for text in (cases.input[0], cases.target[0]):
        assert len(tokenizer.encode(text)) < len(text) / 2
    assert spec.languages == ("en", "ja") and spec.vocabulary == len(tokenizer) + 2


def test_long_lines_are_translated_by_sentences():
    text = f"- {'The patient reads. ' * 30}\n- A nurse. A doctor."
    found = pieces(text)
    assert len(found) == 31 and found[-1].text == "A nurse. A doctor."
    assert all(text[each.start : each.end] == each.text for each in found)


def test_runs_of_letters_are_weighed_as_by_scikit_learn():
    from sklearn.feature_extraction.text import TfidfVectorizer

    known, asked = translations(40), translations(12, seed=1)
    model = learnt(TranslationMemory, OfMemory(), known, 2)
    theirs = TfidfVectorizer(analyzer="char", ngram_range=(2, 4), sublinear_tf=True)
    own, others = (
        [f" {text} " for text in cases.input] for cases in (known, asked)
    )  # a blank tells where a text begins and ends
    vectors = theirs.fit_transform(own)
    like = (theirs.transform(others) @ vectors.T).toarray().max(1)
    assert model.nearest(asked.input, False)[1].tolist() == pytest.approx(like.tolist(), abs=1e-3)


def test_a_memory_gives_the_translation_of_the_nearest_text_and_keeps_it(tmp_path):
    cases = translations(200)
    model = learnt(TranslationMemory, OfMemory(), cases, 2)
    assert model.translate([cases.input[7].upper()]) == [cases.target[7]]
    assert model.translate([cases.input[-1]]) == [cases.target[-1]]
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
    kept = generated_texts.texts({"said": generated_texts.kept([4, 7, 9], texts)}, "said")
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
