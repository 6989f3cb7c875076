"""Masked tokens and marked spans: encoders beside transformers', figures by hand, hostile input."""

import json
import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from shapes import sentences, tagged
from torch.nn import functional as F

import souron
from souron import registry
from souron.blocks.encoder import PAD, Encoder
from souron.data.dataset import ListColumn, Rows
from souron.data.language.tokenizer import Tokenizer
from souron.evaluation.answers import Setup, Trainings
from souron.evaluation.language import fill_mask
from souron.evaluation.language import named_entities as tag
from souron.kinds.spans import Span, Spans
from souron.kinds.text import Text
from souron.metrics import fill_mask as mask_metrics
from souron.metrics import tag as metrics
from souron.runs import prepare
from souron.tasks import fill_mask as fill_masks
from souron.tasks.fill_mask import FillMask
from souron.tasks.fill_mask import Spec as MaskSpec
from souron.tasks.tag import Tagging
from souron.training.loop import Run
from souron.utils.messages import UserError


def fresh(name, cases):
    kind, config = registry.load_system(name)
    torch.manual_seed(0)
    return kind(config, kind.spec_for(cases)).eval()


def learnt(name, cases, steps=30, augment=False):
    model = fresh(name, cases)
    change = (lambda rows, generator: rows) if augment else None
    for _progress in model.fit(model.loader(cases, change), Run(steps, 64)):
        pass
    return model.eval()


# the encoder


def as_bert(encoder, heads):
    """transformers' BertModel with the same weights; its layers hold queries, keys and values
    apart."""
    import transformers

    width, layers = encoder.token.weight.shape[1], len(encoder.layers)
    config = transformers.BertConfig(
        vocab_size=len(encoder.token.weight),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        type_vocab_size=1,
        max_position_embeddings=len(encoder.place.weight),
        layer_norm_eps=1e-5,
    )
    model = transformers.BertModel(config, add_pooling_layer=False)
    given = {
        "embeddings.word_embeddings.weight": encoder.token.weight,
        "embeddings.position_embeddings.weight": encoder.place.weight,
        "embeddings.token_type_embeddings.weight": torch.zeros(1, width),
        "embeddings.LayerNorm.weight": encoder.norm.weight,
        "embeddings.LayerNorm.bias": encoder.norm.bias,
    }
    for i, layer in enumerate(encoder.layers):
        place = f"encoder.layer.{i}."
        for kind in ("weight", "bias"):
            parts = getattr(layer.self_attn, f"in_proj_{kind}").chunk(3)
            names = ("query", "key", "value")
            given |= {f"{place}attention.self.{n}.{kind}": p for n, p in zip(names, parts, strict=True)}
            for name, part in (
                ("attention.output.dense", layer.self_attn.out_proj),
                ("attention.output.LayerNorm", layer.norm1),
                ("intermediate.dense", layer.linear1),
                ("output.dense", layer.linear2),
                ("output.LayerNorm", layer.norm2),
            ):
                given[f"{place}{name}.{kind}"] = getattr(part, kind)
    missing, unknown = model.load_state_dict(given, strict=False)
    assert not unknown and all("position_ids" in name for name in missing)
    return model.eval()


@pytest.mark.parametrize("learning", [False, True])
def test_the_encoder_answers_as_transformers_bert_does(learning):
    torch.manual_seed(0)
    encoder = Encoder(50, 16, 2, 32, 4).train(learning)
    for weight in encoder.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    tokens = torch.randint(50, (3, 12))
    tokens[1, 7:] = PAD
    there = tokens >= 0
    with torch.no_grad():
        expected = as_bert(encoder, 4)(tokens.clamp(min=0), there.long()).last_hidden_state
        found = encoder(tokens)
    assert torch.allclose(found[there], expected[there], atol=1e-4)


@torch.inference_mode()
def test_its_guesses_are_those_of_transformers_bert():
    """Their head with the same weights; only that the mask is no guess is ours."""
    import transformers
    from transformers.models.bert.modeling_bert import BertLMPredictionHead

    model = fresh("bert_mask_tiny", sentences(20))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    config = transformers.BertConfig(vocab_size=model.spec.vocabulary, hidden_size=64, layer_norm_eps=1e-5)
    theirs = BertLMPredictionHead(config)
    theirs.load_state_dict(
        {
            "transform.dense.weight": model.dense.weight,
            "transform.dense.bias": model.dense.bias,
            "transform.LayerNorm.weight": model.norm.weight,
            "transform.LayerNorm.bias": model.norm.bias,
            "decoder.weight": model.encoder.token.weight,
            "decoder.bias": model.bias,
            "bias": model.bias,
        }
    )
    tokens = torch.randint(100, (2, 12))
    asked = torch.rand(2, 12) < 0.4
    expected = theirs(model.encoder(tokens)[asked])
    assert torch.allclose(model.guesses(tokens, asked)[:, :-1], expected[:, :-1], atol=1e-3)


# masks


def test_masks_of_a_test_are_drawn_once_and_are_15_percent():
    ids = torch.arange(200) % 40
    first, again = (fill_mask.for_test(ids, "a text", 40) for _each in range(2))
    assert torch.equal(first.asked, again.asked) and int(first.asked.sum()) == 30
    assert not torch.equal(first.asked, fill_mask.for_test(ids, "another", 40).asked)
    assert bool((first.given[first.asked] == 40).all())
    assert torch.equal(first.given[~first.asked], ids[~first.asked])


def test_training_masks_are_as_in_the_paper():
    ids = torch.full((40_000,), 7)
    found = fill_mask.for_training(ids, 1000, 1001, torch.Generator().manual_seed(0))
    given = found.given[found.asked]
    assert int(found.asked.sum()) == 6000
    assert (given == 1000).float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert (given == 7).float().mean().item() == pytest.approx(0.1, abs=0.015)
    assert int(given.max()) == 1000 and torch.equal(found.given[~found.asked], ids[~found.asked])


def test_masks_are_drawn_anew_each_time_it_learns():
    model = fresh("bert_mask_tiny", sentences(20))
    cases = replace(sentences(1), input=ListColumn([sentences(1).input[0] * 9]))
    loader = model.loader(cases, lambda rows, generator: rows)
    drawn = list(islice(loader.endless(1), 60))
    assert len({tuple(batch.asked.flatten().tolist()) for batch in drawn}) == 60
    assert len({int(batch.true[0, 0]) for batch in drawn}) > 5, "windows of one beginning"
    given = torch.cat([batch.given[batch.asked] for batch in drawn])
    assert (given == model.mask).float().mean().item() == pytest.approx(0.8, abs=0.06)


def test_training_hides_a_share_of_its_own_and_tests_15_percent():
    model = fresh("bert_mask_tiny", sentences(20))
    rows = ListColumn([fill_mask.Masked(*[torch.arange(2000) % 50] * 3)])
    drawn = model._window(Rows(rows, None), torch.Generator().manual_seed(0)).input[0]
    assert int(drawn.asked.sum()) == round(model.hidden * model.context) == round(0.3 * model.context)


def test_windows_of_training_double_with_the_budget(monkeypatch):
    model = fresh("bert_mask_tiny", sentences(20))
    context, seen = model.context, []
    tokens = torch.arange(4 * context).view(4, context)
    batch = fill_masks.Batch(tokens, tokens, tokens % 5 == 0, torch.arange(4))
    monkeypatch.setattr(type(model), "loss", lambda _self, part: seen.append(part.given))
    lengths = []
    for used in (0.0, 0.14, 0.16, 0.31, 0.46, 0.99):
        model.used = used
        seen.clear()
        assert [name for name, _loss in model.updates(batch, 0)]
        lengths.append(seen[0].shape[1])
        assert torch.equal(torch.cat(seen).flatten(), tokens.flatten()), "each token once, in order"
    assert lengths == [8, 8, 16, 32, context, context] and context == 64


def test_shorter_windows_keep_masks_cases_and_leave_padding_out():
    given = torch.tensor([[1, 2, 3, 4, 5], [6, 7, -1, -1, -1]])
    asked = torch.tensor([[True, False, False, True, False], [False, True, False, False, False]])
    found = fill_masks.shorter(fill_masks.Batch(given, given + 10, asked, torch.tensor([3, 4])), 2)
    assert found.given.tolist() == [[1, 2], [3, 4], [5, -1], [6, 7]]
    assert found.asked.tolist() == [[True, False], [False, True], [False, False], [False, True]]
    assert found.case.tolist() == [3, 3, 3, 4] and found.true[0].tolist() == [11, 12]


@pytest.mark.parametrize("name", ["neighbours", "bert_mask_tiny"])
def test_the_mask_itself_is_no_guess(name):
    model = learnt(name, sentences(20), 2, augment=True)
    given = torch.tensor([[5, model.mask, 7, model.mask]])
    assert bool((model.guesses(given, given == model.mask)[:, model.mask] == -torch.inf).all())


def test_scores_of_masks_by_hand():
    chance = torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.5, 0.25, 0.125, 0.125]])
    scores = mask_metrics.scores(chance.log(), torch.tensor([0, 1]), torch.tensor([0, 2]), 3)
    assert scores["accuracy"].tolist() == [1, 0, 0]
    assert scores["accuracy in five guesses"].tolist() == [1, 0, 1]
    assert scores["bits per masked token"].tolist() == pytest.approx([1, 0, 2])
    assert scores["count"].tolist() == [1, 0, 1]


def test_neighbours_are_bayes_of_the_counts():
    """Beside a plain count of who follows whom, without a discount."""
    cases = sentences(40)
    kind, config = registry.load_system("neighbours")
    model = kind(replace(config, discount=0.0), kind.spec_for(cases))
    for _progress in model.fit(model.loader(cases), Run(2, 8)):
        pass
    texts = [model.tokenizer.encode(text) for text in cases.input]
    size = model.spec.vocabulary
    follow = np.zeros((size, size))
    for ids in texts:
        np.add.at(follow, (ids[:-1], ids[1:]), 1)
    share = follow / follow.sum(1, keepdims=True).clip(1)
    matters = 0
    for at in range(1, 20):
        left, right = texts[0][at - 1], texts[0][at + 1]
        expected = share[left] * share[:, right]
        expected /= expected.sum()
        given = torch.tensor([[*texts[0][:at], model.mask, *texts[0][at + 1 :]]])
        found = model.guesses(given, given == model.mask)[0].softmax(0).numpy()
        assert np.allclose(found, expected, atol=1e-5)
        matters += not np.allclose(expected, share[left], atol=0.05)
    assert matters


def test_the_fifth_guess_counts_and_the_sixth_does_not():
    logits = -torch.arange(8.0).expand(3, 8)
    found = mask_metrics.scores(logits, torch.tensor([0, 4, 5]), torch.arange(3), 3)
    assert found["accuracy in five guesses"].tolist() == [1, 1, 0]


def test_chances_after_each_token_sum_to_one():
    """What the counts are discounted by goes to all tokens, as often as each comes."""
    cases = sentences(40)
    model = learnt("neighbours", cases, 2)
    single, table = (part.exp().double() for part in model.chances())
    assert torch.allclose(table.sum(1), torch.ones(len(table)).double(), atol=1e-4)
    texts = [model.tokenizer.encode(text) for text in cases.input]
    a, b = texts[0][3:5]
    after = [text[i + 1] for text in texts for i in range(len(text) - 1) if text[i] == a]
    kept = (after.count(b) - 0.75) / len(after)
    expected = kept + 0.75 * len(set(after)) / len(after) * single[b].item()
    assert table[a, b].item() == pytest.approx(expected, rel=1e-4)


def test_neither_a_masked_neighbour_nor_an_edge_says_anything():
    model = learnt("neighbours", sentences(40), 2)
    a, b = model.tokenizer.encode(sentences(1).input[0])[3:5]
    mask = model.mask

    def guessed(given, place):
        asked = torch.zeros(1, len(given), dtype=torch.bool)
        asked[0, place] = True
        return model.guesses(torch.tensor([given]), asked)

    alone = guessed([mask], 0)
    assert torch.allclose(guessed([mask, mask, mask], 1), alone)
    assert torch.allclose(guessed([a, mask, mask], 1), guessed([a, mask], 1))
    assert torch.allclose(guessed([mask, mask, b], 1), guessed([mask, b], 0))
    assert not torch.allclose(guessed([a, mask], 1), alone, atol=0.1)
    assert not torch.allclose(guessed([mask, b], 0), alone, atol=0.1)


@pytest.mark.parametrize("name", ["neighbours", "bert_mask_tiny"])
def test_a_mask_is_filled_with_words(name):
    model = learnt(name, sentences(120), 16, augment=True)
    said = model.predict(Text("The patient takes the [MASK]."))
    assert "file" in said.labels[:5] and sum(said.probabilities) == pytest.approx(1, abs=1e-3)
    assert len(set(said.labels)) == len(said.labels)
    several = Text("[MASK] patient takes the [MASK].")
    first, second = (model.predict(several, place=place) for place in (1, 2))
    assert first.best != second.best
    for text, place in ((Text("no mask"), 1), (Text(""), 1), (several, 3)):
        with pytest.raises(UserError) as trouble:
            model.predict(text, place=place)
        assert trouble.value.code == "no mask" and trouble.value.fix
    long = Text("The patient takes the file. " * 60 + "The nurse takes the [MASK]." + " a" * 500)
    assert model.predict(long).best[1] > 0


def test_a_text_in_windows_asks_each_mask_once():
    tokenizer = Tokenizer.learn([*sentences(40).input], 300)
    kind, config = registry.load_system("bert_mask_tiny")
    torch.manual_seed(0)
    model = kind(config, MaskSpec(tokenizer.packed(), len(tokenizer) + 1)).eval()
    text = " ".join(sentences(40).input[::2])
    data = model.loader(replace(sentences(1), input=ListColumn([text]), file=["a"], columns={}))
    [batch] = data.once()
    whole = model.masked(text)
    assert len(batch.given) > 3 and int(batch.asked.sum()) == int(whole.asked.sum())
    assert torch.equal(batch.true[batch.true >= 0], whole.true)
    nats = F.cross_entropy(model.guesses(batch.given, batch.asked), batch.true[batch.asked])
    bits = FillMask().validate(model, data)["bits per masked token"]
    assert bits.item() == pytest.approx(nats.item() / math.log(2), abs=1e-4)


# spans


def test_tags_of_words_are_spans_of_the_text_and_back():
    words = ("Ann", "Lee", "went", "to", "New", "York")
    found = tag.sentence(words, torch.tensor([3, 4, 0, 0, 1, 2]))
    assert found.text == "Ann Lee went to New York"
    assert found.spans.tolist() == [[1, 0, 7], [0, 16, 24]]
    places = tag.units(found.text)
    tags = tag.tags_of(places, found.spans)
    assert tags.tolist() == [3, 4, 0, 0, 1, 2]
    spans = tag.spans_of(places, tags.tolist(), [0.5] * 6)
    assert spans == [[1, 0, 7, 0.5], [0, 16, 24, 0.5]]
    japanese = tag.sentence(("大", "阪", "へ"), torch.tensor([1, 2, 0]))
    assert japanese.text == "大阪へ" and japanese.spans.tolist() == [[0, 0, 2]]
    assert tag.tags_of(tag.units("大阪へ"), japanese.spans).tolist() == [1, 2, 0]


def test_f1_and_its_pseudo_values_by_hand():
    random = np.random.default_rng(0)
    true = [random.integers(0, 3, (random.integers(0, 5), 3)) for _case in range(30)]
    said = [np.concatenate([one[:2], random.integers(0, 3, (1, 3))]) for one in true]

    def f1(rows):
        right = there = found = 0
        for row in rows:
            a, b = ({tuple(s) for s in one[row].tolist()} for one in (said, true))
            right, found, there = right + len(a & b), found + len(a), there + len(b)
        precision, recall = right / found, right / there
        return 2 * precision * recall / (precision + recall)

    scores = metrics.scores(metrics.counts(said, true))["span F1"]
    assert scores.mean() == pytest.approx(f1(range(30)))
    expected = [30 * f1(range(30)) - 29 * f1([r for r in range(30) if r != out]) for out in range(30)]
    assert np.allclose(scores - scores.mean(), expected - np.mean(expected))
    groups = [row // 3 for row in range(30)]
    grouped = metrics.scores(metrics.counts(said, true), groups)["span F1"]
    left = f1([r for r in range(30) if r // 3 != 4]) - f1([r for r in range(30) if r // 3 != 7])
    assert (grouped[21] - grouped[12]) == pytest.approx(left * 9)
    nothing = metrics.scores(metrics.counts([[]] * 3, [[]] * 3))
    assert all(np.isfinite(values).all() for values in nothing.values())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_likeliest_tags_have_a_beginning(seed):
    from souron.systems.tag import bert_tag

    torch.manual_seed(seed)
    chance = torch.randn(6, 5).log_softmax(1)
    chance[0, 2] += 2.0  # what cannot be: a span that goes on where nothing was
    chance[3, 4] += 2.0
    found = bert_tag.likeliest(chance).tolist()

    def possible(tags):
        return all(tag % 2 or not tag or (i and tags[i - 1] in (tag - 1, tag)) for i, tag in enumerate(tags))

    every = torch.cartesian_prod(*[torch.arange(5)] * 6)
    allowed = torch.tensor([possible(tags) for tags in every.tolist()])
    total = chance[torch.arange(6), every].sum(1).masked_fill(~allowed, -torch.inf)
    assert found == every[total.argmax()].tolist()


def test_exchanged_spans_stay_in_their_places():
    from souron.systems.tag import bert_tag

    one = tag.sentence(("Ann", "Lee", "went", "to", "New", "York"), torch.tensor([3, 4, 0, 0, 1, 2]))
    pool = {0: ["Oslo"], 1: ["Bob"]}
    seen = set()
    for seed in range(20):
        changed = bert_tag.swapped(one, pool, torch.Generator().manual_seed(seed))
        texts = [(label, changed.text[start:end]) for label, start, end in changed.spans.tolist()]
        assert texts[0] in ((1, "Ann Lee"), (1, "Bob")) and texts[1] in ((0, "New York"), (0, "Oslo"))
        seen.add(changed.text)
    assert seen == {f"{who} went to {to}" for who in ("Ann Lee", "Bob") for to in ("New York", "Oslo")}


def test_one_sentence_in_two_gets_other_spans_of_its_labels():
    """And of those each span with a chance of one half."""
    model = fresh("bert_tag_tiny", tagged(20))
    words = ("Place", "Name")
    read = [tag.sentence((f"{words[k % 2]}{k}", "it"), torch.tensor([1 + k % 2 * 2, 0])) for k in range(600)]
    change = model.changes(read)
    changed = change(Rows(ListColumn(read), None), torch.Generator().manual_seed(0)).input
    assert all(one.text.startswith(words[one.spans[0, 0]]) for one in changed)
    other = [one.text != before.text for one, before in zip(changed, read, strict=True)]
    assert sum(other) / len(other) == pytest.approx(0.25, abs=0.05)


def test_of_each_unit_the_first_token_alone_is_asked():
    model = fresh("bert_tag_tiny", tagged(40))
    one = tag.sentence(("Xyzzyx", "saw", "Qwertz"), torch.tensor([3, 0, 1]))
    batch = model.batch(Rows(ListColumn([one]), None))
    sizes = [len(model.tokens(piece)) for piece in ("Xyzzyx", " saw", " Qwertz")]
    assert batch.tokens.shape[1] == sum(sizes) and min(sizes[0], sizes[2]) > 1
    expected = [value for tag, size in zip((3, 0, 1), sizes, strict=True) for value in (tag, *[PAD] * (size - 1))]
    assert batch.tags.tolist() == [expected]


@pytest.mark.parametrize("one", ["Bob went to Oslo. ", "佐藤は京都へ行く。", "12.5 or 3.5 mg\n"])
def test_long_texts_are_cut_behind_a_sentence(one):
    model = fresh("bert_tag_tiny", tagged(40))
    places = tag.units(one * 20)
    parts = model.parts(one * 20, places)
    assert len(parts) > 2 and sum(len(part) for _number, part in parts) == len(places)
    assert all(sum(map(len, part)) <= 64 for _number, part in parts)
    assert all(places[number][0] % len(one) == 0 for number, _part in parts)


def test_the_lexicon_keeps_what_is_usually_marked_by_its_usual_label():
    lines = [("May", 3), ("May", 1), ("May", 1), ("Will", 3), ("Will", 0), ("Will", 0), ("Bob", 3), ("Bob", 0)]
    cases = replace(
        tagged(8),
        input=ListColumn([(name, "left") for name, _tag in lines]),
        target=ListColumn([torch.tensor([tag, 0]) for _name, tag in lines]),
    )
    told = learnt("lexicon", cases, 2).predict(Text("Bob, Will and May"))
    spans = [(span.label, span.text, span.score) for span in told.spans]
    assert spans == [("PER", "Bob", 0.5), ("LOC", "May", 1.0)]


def test_sentences_of_one_document_are_judged_together():
    cases = replace(tagged(30), group=[f"document {row // 5}" for row in range(30)])
    true = [one.spans.tolist() for one in tag.sentences(cases)]
    said = [[[*span, 0.9] for span in spans[: row % 3]] for row, spans in enumerate(true)]
    found = Tagging().judge(tag.packed(said), Setup(None, cases))["span F1"]
    counted = metrics.counts(said, true)
    together = metrics.scores(counted, cases.group)["span F1"]
    assert np.allclose(found, together)
    assert not np.allclose(together, metrics.scores(counted)["span F1"])


def test_the_lexicon_takes_the_longest_known_span():
    model = learnt("lexicon", tagged(60), 2)
    told = model.predict(Text("Ann Lee saw New York, not York."))
    assert [(span.label, span.text) for span in told.spans] == [("PER", "Ann Lee"), ("LOC", "New York")]
    model.remember({"New": (1, 1.0), "New York": (0, 1.0), "York City": (0, 1.0)})
    assert model.found(["New York City"]) == [[[0, 0, 8, 1.0]]]
    told = model.predict(Text("New York City"))
    assert [(span.label, span.text) for span in told.spans] == [("LOC", "New York")]
    model = learnt("lexicon", tagged(60), 2)
    assert not model.predict(Text("")).spans and not model.predict(Text("Annie Leeds")).spans
    assert [span.text for span in model.predict(Text("佐藤は大阪へ")).spans] == ["佐藤", "大阪"]


def test_a_tagger_marks_names_and_reads_long_texts():
    model = learnt("bert_tag_tiny", tagged(120), 25, augment=True)
    told = model.predict(Text("Bob went to Oslo."))
    assert [(span.label, span.text) for span in told.spans] == [("PER", "Bob"), ("LOC", "Oslo")]
    assert all(0.3 < span.score <= 1 for span in told.spans)
    assert not model.predict(Text("Bob went to Oslo."), least=1.0).spans
    long = model.predict(Text("Bob went to Oslo. 佐藤は京都へ行く。\n" * 40))
    assert len(long.spans) >= 150  # of 160: parts of 64 tokens each
    for text in ("", "  \n", "🦷", "\ud800", "a" * 3000):
        model.predict(Text(text))


def test_spans_that_make_no_sense_are_refused():
    Spans("abc", [Span("a", "X", 0, 1), Span("c", "X", 2, 3)])
    for spans in (
        [Span("b", "X", 0, 1)],
        [Span("", "X", 1, 1)],
        [Span("c", "X", 2, 9)],
        [Span("ab", "X", 0, 2), Span("b", "X", 1, 2)],
    ):
        with pytest.raises(UserError):
            Spans("abc", spans)


# whole runs


def test_a_tagger_begins_with_what_masks_taught(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    for number, text in enumerate(sentences(24).input):
        (tmp_path / "texts").mkdir(exist_ok=True)
        (tmp_path / "texts" / f"{number}.txt").write_text(text, encoding="utf-8")
    lines = []
    cases = tagged(60)
    for words, tags in zip(cases.input, cases.target, strict=True):
        lines += [f"{w}\t{cases.classes[t]}" for w, t in zip(words, tags.tolist(), strict=True)]
        lines.append("")
    (tmp_path / "tags.conll").write_text("\n".join(lines), encoding="utf-8")
    masks = souron.train("bert_mask_tiny", data=str(tmp_path / "texts"), budget="100ex", project=tmp_path / "runs")
    assert {"accuracy", "bits per masked token"} <= set(masks.measures)
    spans = souron.train(
        "bert_tag_tiny",
        data=str(tmp_path / "tags.conll"),
        budget="100ex",
        pretrained=str(masks.folder),
        project=tmp_path / "runs",
    )
    assert spans.model.spec.tokenizer == masks.model.spec.tokenizer
    assert "span F1" in spans.measures
    for run in (masks, spans):
        assert "<mark" in (run.folder / "report.html").read_text(encoding="utf-8") or run is masks
        json.loads((run.folder / "receipt.json").read_text(encoding="utf-8"))
    args = {
        "system": "bert_tag_tiny",
        "changes": {},
        "rate": None,
        "seed": 0,
        "freeze": False,
        "pretrained": str(masks.folder),
    }
    begun = prepare.build(args, cases)
    assert torch.equal(begun.encoder.token.weight, masks.model.encoder.token.weight)
    with pytest.raises(UserError):  # not the other way
        prepare.build({**args, "system": "bert_mask_tiny", "pretrained": str(spans.folder)}, sentences(20))
    with pytest.raises(UserError):
        prepare.build({**args, "freeze": True}, cases)


def test_figures_of_a_label_count_patients():
    cases = tagged(24)
    cases = replace(cases, group=[f"patient {row // 4}" for row in range(24)])
    true = [one.spans.numpy() for one in tag.sentences(cases)]
    said = [np.c_[spans, np.ones(len(spans))][: row % 3] for row, spans in enumerate(true)]
    answers = tag.packed(said)
    result = Tagging().result(Trainings.of_one(cases, answers, {}), Setup(Tagging.Options(), cases))
    for number, name in enumerate(tag.labels_of(cases.classes)):
        own = [[spans[spans[:, 0] == number] for spans in each] for each in (said, true)]
        scores = metrics.scores(metrics.counts(*own), cases.units)["span F1"]
        expected = registry.metric("span F1").measure(scores[None], cases.units)
        assert result.by_label[name]["span F1"] == expected and expected.groups == 6
