"""Tokenizers that are ours beside the tokenizers library, and texts as they are cut."""

import csv
import io
import itertools
import json
import math
from collections import Counter
from random import Random
from types import SimpleNamespace

import pytest
import tokenizers
import torch
from shapes import sentences
from tokenizers import models, pre_tokenizers, trainers

from souron import registry
from souron.actions.tokens.bits import bits, cut
from souron.cli import main
from souron.kinds.text import Text
from souron.kinds.tokens import Piece, Tokens, single_bytes
from souron.metrics import tokens as metric
from souron.runs import folder
from souron.systems.tokenize import bpe, letters, unigram
from souron.tasks.tokenize import Batch, Spec, word_counts, words
from souron.training.loop import Run
from souron.utils import files
from souron.utils.messages import UserError

SYSTEMS = [bpe.BPE, unigram.Unigram, letters.Letters]
ODD = [
    "",
    " ",
    "a",
    "🦷",
    "e\u0301",
    "歯周病 12本",
    "I've\t\r\n\n  we'LL ½ Ⅷ 一二",
    "\x00\x85\xa0\u3000x",
    "a\u200db",
    "𠮷野家",
    "ａｂｃ１２",
    "_under-score_",
    "''s 't",
]


class Texts:
    def __init__(self, texts):
        self.texts = texts

    def once(self):
        yield Batch(self.texts)


def prose(count=40):
    """Sentences, and words that occur seldom, in both languages."""
    seldom = [f"{chr(0x4E00 + 7 * i)}{chr(0x4E03 + 7 * i)}の no. {i * i}, aaaa{i}" for i in range(60)]
    return [*sentences(count).input, *seldom, *["aaaaaaaaaa banana xaaax zaaaaaz"] * 5]


def learnt(kind, texts, size=400, **config):
    system = kind(type(kind.SIZES["tiny"])(size=size, **config), Spec(0))
    for progress in system.fit(Texts(texts), Run(10**9)):
        assert all(loss.isfinite() for loss in progress.losses.values())
    return system


@pytest.fixture(scope="module")
def systems():
    return {kind: learnt(kind, prose()) for kind in SYSTEMS}


def library(texts, size):
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    backend.train_from_iterator(texts, trainer)
    return backend


# byte pairs


def test_byte_pairs_are_those_of_the_tokenizers_library(systems):
    """The same merges in the same order, the same numbers for the same texts;
    benchmarks/tokenizing.py does it with a megabyte of each language."""
    backend = library(prose(), 400)
    model = json.loads(backend.to_str())["model"]
    merges = [tuple(map(model["vocab"].get, pair)) for pair in model["merges"]]
    ours = systems[bpe.BPE]
    assert len(merges) > 100 and ours.learnt() == merges
    random = Random(0)
    stirred = ["".join(random.choices("abnsx 0の患者th", k=60)) for _text in range(200)]
    for text in [*prose(), *ODD, *stirred]:
        assert ours.encode(text) == backend.encode(text).ids, text


def test_words_are_cut_as_by_the_tokenizers_library():
    theirs = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for text in [*ODD, "".join(ODD), "  ".join(ODD)]:
        spans = [place for _word, place in theirs.pre_tokenize_str(text)]
        assert words(text) == [text[start:end] for start, end in spans], text


def test_a_run_taken_up_again_ends_where_an_unbroken_one_does(systems):
    for kind in SYSTEMS:
        resumed = kind(systems[kind].config, Spec(0))
        for progress in resumed.fit(Texts(prose()), Run(10**9)):
            if progress.step == 2:
                break
        for progress in resumed.fit(Texts(prose()), Run(10**9, start=3)):
            assert progress.step >= 3
        kept = systems[kind].state_dict()
        for name, tensor in resumed.state_dict().items():
            assert torch.equal(tensor, kept[name]), (kind, name)


def test_what_a_long_word_takes_does_not_grow_as_its_square(systems):
    """A hostile text without a blank is one word."""
    assert len(systems[bpe.BPE].encode("ab" * 30_000)) > 10_000


def test_what_is_too_rare_is_not_joined():
    joined = {raw for raw in learnt(bpe.BPE, ["xyxyxy ab ab cd"]).raws if len(raw) > 1}
    assert {b"xy", b"xyxy", b" ab"} <= joined
    assert not {b" c", b"cd", b"xyxyxy"} & joined


def test_the_same_bytes_are_one_token_however_they_were_joined():
    tokens = bpe.Vocabulary()
    a, b, c = map(tokens.raws.index, (b"a", b"b", b"c"))
    ab, bc = tokens.join((a, b)), tokens.join((b, c))
    assert tokens.join((ab, c)) == tokens.join((a, bc)) == 258 == len(tokens.raws) - 1


# letters


def test_the_most_frequent_letters_have_tokens_of_their_own():
    """Of equally frequent ones the older code; letters of one byte have a token already."""
    texts = ["龍 龍 龍 龍 龍 龍", "歯a 歯b 歯c", "患 患 患", "a" * 9]
    system = learnt(letters.Letters, texts, 258)
    assert [raw.decode() for raw in system.raws[256:]] == ["龍", "患"]
    assert system.encode("龍歯") == [256, *(single_bytes().index(byte) for byte in "歯".encode())]


# unigram


@pytest.fixture(scope="module")
def lattice():
    counted = Counter({"banana": 3, "ana": 2, "bab": 1, "nabanan": 2})
    return unigram.Lattice(counted, ["a", "b", "n"], 4, 30), counted


def cuts(word, known):
    """Every way to cut a word into known pieces."""
    for places in itertools.product((False, True), repeat=len(word) - 1):
        ends = [0, *(i + 1 for i, cut in enumerate(places) if cut), len(word)]
        parts = [word[a:b] for a, b in itertools.pairwise(ends)]
        if all(part in known for part in parts):
            yield parts


def test_expected_uses_are_those_of_all_cuts(lattice):
    graph, counted = lattice
    score = torch.randn(len(graph.count), dtype=torch.double, generator=torch.Generator().manual_seed(0))
    known = {graph.piece(i): (i, float(score[i])) for i in range(len(score))}
    assert {"anan", "ban", "na"} <= set(known)
    expected, total = torch.zeros_like(score), 0.0
    for word, often in counted.items():
        chances = [math.exp(sum(known[p][1] for p in parts)) for parts in cuts(word, known)]
        total += often * math.log(sum(chances))
        for parts, chance in zip(cuts(word, known), chances, strict=True):
            for part in parts:
                expected[known[part][0]] += often * chance / sum(chances)
    used, likelihood = graph.expect(score)
    assert torch.allclose(used, expected) and math.isclose(float(likelihood), total)


def test_what_a_piece_would_be_cut_into_otherwise(lattice):
    graph, _counted = lattice
    score = -torch.rand(len(graph.count), dtype=torch.double, generator=torch.Generator().manual_seed(1))
    known = {graph.piece(i): float(score[i]) for i in range(len(score))}
    for i, found in enumerate(graph.otherwise(score).tolist()):
        others = {p: s for p, s in known.items() if p != graph.piece(i)}
        best = max((sum(map(others.get, c)) for c in cuts(graph.piece(i), others)), default=-math.inf)
        assert found == pytest.approx(best)


def begun(config):
    """The texts in all their cuts, with the chances of pieces before learning."""
    counted = word_counts(Texts(prose()))
    alphabet = unigram.frequent_letters(counted, (config.size - 256) // 2)
    graph = unigram.Lattice(counted, alphabet, config.longest, config.candidates)
    return graph, graph.count.double().log() - graph.count.sum().log()


def round_of(graph, score):
    expected, _likelihood = graph.expect(score)
    told = torch.digamma(expected.clamp(min=0.5)) - torch.digamma(expected.sum())
    return expected, told


def test_chances_follow_from_expected_uses_with_few_held_down():
    """By the digamma function, which takes more from what is seldom used."""
    config = unigram.Config(400, 6, 220)
    system = unigram.Unigram(config, Spec(0))
    assert len(list(system.fit(Texts(prose()), Run(1)))) == 1
    graph, score = begun(config)
    _expected, told = round_of(graph, score)
    assert system.raws and len(system.tokens) > 100
    for number, value in enumerate(told.tolist()):
        if graph.piece(number) in system.tokens:
            assert system.tokens[graph.piece(number)][1] == pytest.approx(value, abs=1e-4)


def test_the_pieces_go_that_are_missed_least():
    """Not the seldom ones: a piece that others can stand for may be frequent."""
    system = learnt(unigram.Unigram, prose(), 400, longest=6, candidates=400)
    graph, score = begun(system.config)
    room = 400 - 256 + sum(letter.isascii() for letter in graph.alphabet)
    while True:
        for _round in range(2):
            expected, score = round_of(graph, score)
        if len(score) <= room:
            break
        loss = expected * (score - graph.otherwise(score))
        loss[expected < 0.5] = -1
        loss[: len(graph.alphabet)] = math.inf
        kept = loss.topk(max(room, int(0.75 * len(loss)))).indices
        score = graph.only(kept.sort().values, score)
    assert system.raws and len(score) == room
    assert {graph.piece(number) for number in range(room)} <= {*system.tokens}


def test_the_most_probable_cut_need_not_have_the_longest_pieces():
    system = unigram.Unigram(unigram.Config(259, 3), Spec(0))
    scores = {"ab": -2.0, "bc": -1.5, "abc": -9.0}
    system.score.fill_(-4.0)
    for place, (piece, score) in enumerate(scores.items()):
        system.letters[place, : len(piece)] = torch.tensor([*map(ord, piece)])
        system.score[256 + place] = score
    cut = [[system.raws[id] for id in system.encode(text)] for text in ("ab", "abc", "ababc")]
    assert cut == [[b"ab"], [b"a", b"bc"], [b"ab", b"a", b"bc"]]


def test_a_text_is_cut_as_by_the_tokenizers_library(systems):
    """Their Viterbi with our pieces and scores."""
    ours = systems[unigram.Unigram]
    scores = [(raw.decode(), float(ours.score[i])) for i, raw in enumerate(ours.raws) if not metric.is_part(raw)]
    theirs = tokenizers.Tokenizer(models.Unigram([("<unk>", -99.0), *scores], 0))
    known = {piece for piece, _score in scores}
    for text in prose()[:20]:
        for word in words(text):
            if set(word) <= known:
                found = [ours.raws[i].decode() for i in ours.encode(word)]
                best = theirs.encode(word).tokens
                total = sum(dict(scores)[piece] for piece in found)
                assert total == pytest.approx(sum(dict(scores)[piece] for piece in best), abs=1e-4)


def test_bits_of_the_pieces_are_those_of_probabilities(systems):
    ours = systems[unigram.Unigram]
    used = [i for i, raw in enumerate(ours.raws) if not metric.is_part(raw)]
    assert 0.5 < sum(2.0**-bits for bits in ours.bits(used)) < 1.1


# all


@pytest.mark.parametrize("text", ODD)
def test_every_text_comes_back_and_every_token_says_where_it_stands(systems, text):
    for system in systems.values():
        found = system.predict(Text(text))
        assert system.decode([piece.id for piece in found.pieces]) == text == found.text
        assert b"".join(piece.raw for piece in found.pieces) == text.encode()
        assert all(piece.text == text[piece.start : piece.end] for piece in found.pieces)


def test_tokens_follow_the_weights_that_are_loaded_later(systems):
    text = prose()[0]
    for kind, system in systems.items():
        fresh = kind(system.config, Spec(0))
        assert fresh.encode(text) != system.encode(text) or kind is letters.Letters
        fresh.load_state_dict(system.state_dict())
        assert fresh.encode(text) == system.encode(text)


def test_half_a_letter_becomes_a_question_mark(systems):
    for system in systems.values():
        assert system.predict(Text("a\ud83d")).text == "a?"


def test_tokens_save_what_letters_do_not(systems):
    used = {kind: sum(len(system.encode(text)) for text in prose()) for kind, system in systems.items()}
    assert used[bpe.BPE] < 0.5 * used[letters.Letters]
    assert used[unigram.Unigram] < 0.5 * used[letters.Letters]


def test_the_task_measures_by_text(systems):
    task, cases = registry.load_task("tokenize"), sentences(6)
    [*_before, step] = task.setup(cases, type("All", (), {"test": torch.arange(6)}), None)
    [*_before, last] = task.answer(systems[bpe.BPE], cases, {}, step.result, 0)
    scores = task.scores([last.result], step.result)
    ids = systems[bpe.BPE].encode(cases.input[1])
    assert scores["bytes a token"][0, 1] == len(cases.input[1].encode()) / len(ids)
    assert scores["letters a token"][0, 1] == len(cases.input[1]) / len(ids)
    torn = sum(metric.is_part(systems[bpe.BPE].raws[id]) for id in ids)
    assert scores["parts of letters"][0, 1] == torn / len(ids)
    measures = task.measures([last.result], step.result)
    assert set(measures) == {metric.name for metric in task.metrics}
    few = dict.fromkeys(metric.COUNTS, torch.full((6,), 9.0))
    few["parts"] = torch.tensor([0.0, 0, 0, 0, 0, 1])
    assert task.measures([few], step.result)["parts of letters"].low >= 0
    few["letters"] = torch.full((6,), 5.0)
    assert task.scores([few], step.result)["parts of letters"].tolist() == [[0, 0, 0, 0, 0, 1 / 9]]
    with pytest.raises(UserError, match="no texts"):
        task.check(type("Pictures", (), {"input": torch.zeros(2, 1, 8, 8), "name": "x"}), None)


# the kind


def test_parts_of_a_letter_are_told():
    found = Tokens.of("の歯", [5, 6], [b"\xe3\x81\xae\xe6", b"\xad\xaf"])
    assert found.torn == (1,) and "歯" in found.summary
    assert [found.written(piece) for piece in found.pieces] == ["の\\xe6", "\\xad\\xaf"]
    assert found.as_json()["tokens"] == [
        {"id": 5, "text": "の歯", "start": 0, "end": 2, "bytes": "e381aee6"},
        {"id": 6, "text": "歯", "start": 1, "end": 2, "bytes": "adaf"},
    ]
    whole = Tokens.of("の歯", [5, 6], ["の".encode(), "歯".encode()])
    assert whole.torn == () and "bytes" not in whole.as_json()["tokens"][0]


def test_what_a_terminal_would_obey_is_written_as_signs():
    found = Tokens.of("\x1b[31m\n", [1, 2], [b"\x1b[31m", b"\n"], [1.0, 20.0])
    assert "\x1b" not in str(found) and "\x1b" not in found.__rich__().plain
    assert "\x1b" not in found._repr_html_()


def test_tokens_are_saved_as_table_json_and_page(tmp_path):
    found = Tokens.of("a<b 歯", [1, 2], [b"a<b ", "歯".encode()], [3.0, 5.0])
    for suffix in (".csv", ".json", ".html"):
        found.save(tmp_path / f"tokens{suffix}")
    with (tmp_path / "tokens.csv").open(encoding="utf-8") as file:
        assert list(csv.DictReader(file))[1]["bytes"] == "e6adaf"
    told = json.loads((tmp_path / "tokens.json").read_text(encoding="utf-8"))
    assert told[1] == {"id": 2, "text": "歯", "start": 4, "end": 5, "bits": 5.0}
    assert "a&lt;b" in (tmp_path / "tokens.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("piece", [(1, "a", 0, 9), (1, "a", 2, 1), (-1, "a", 0, 1)])
def test_tokens_outside_of_the_text_are_refused(piece):
    with pytest.raises(UserError):
        Tokens("abc", [Piece(*piece)])


# the library's tokenizers, and models that foretell


def test_the_librarys_tokens_have_their_bytes():
    from souron.data.language.tokenizer import Tokenizer

    tokenizer = Tokenizer.learn(prose(), 300)
    for text in ODD:
        found = cut(Text(text), tokenizer, "x")
        assert b"".join(piece.raw for piece in found.pieces) == text.encode()
    assert cut(Text("🦷"), tokenizer).torn == (0,)


@pytest.mark.parametrize("context", [4, 64])
def test_bits_are_those_of_the_language_model(context):
    """Of a table of counts every token's, also where the text is longer than what it sees."""
    kind, _config = registry.load_system("ngram")
    cases = sentences(20)
    system = kind(type(kind.SIZES["tiny"])(order=2, context=context), kind.spec_for(cases))
    for _progress in system.fit(system.loader(cases), Run(10)):
        pass
    found = cut(Text(cases.input[0]), system)
    ids = torch.tensor([system.tokenizer.start, *(piece.id for piece in found.pieces)])
    expected = -system.log_likelihoods(ids[None])[0] / math.log(2)
    assert torch.allclose(torch.tensor([p.bits for p in found.pieces]), expected, atol=1e-4)
    assert len(found.pieces) > 8


def test_beyond_what_a_model_sees_half_of_it_still_stands_before_each_token():
    """A model of six tokens that says how many it saw before each, as bits."""

    def before(tokens):
        return -math.log(2) * torch.arange(1.0, tokens.shape[1])[None]

    model = SimpleNamespace(context=6, device="cpu", tokenizer=SimpleNamespace(start=0), log_likelihoods=before)
    seen = [1, 2, 3, 4, 5, 6, *[4, 5, 6] * 4, 4, 5]
    assert bits(model, range(1, 21)) == pytest.approx(seen)


def test_bytes_have_gpt2s_numbers():
    assert [single_bytes().index(ord(letter)) for letter in "!A \n"] == [0, 32, 220, 198]


# souron tokens


@pytest.fixture
def run(systems, tmp_path):
    system = systems[bpe.BPE]
    folder.write_args(
        tmp_path,
        {
            "system": "bpe_tiny",
            "config": folder.as_plain(system.config),
            "seen": folder.as_plain(system.spec),
            "data": "sentences",
        },
    )
    files.write_tensors(tmp_path / "weights" / "best.safetensors", system.state_dict(), {})
    return str(tmp_path)


def test_the_command_tells_the_tokens_of_a_text(run, systems, capsys):
    assert main.run(["tokens", "歯 a=b\x1b", run, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["id"] for each in told] == systems[bpe.BPE].encode("歯 a=b\x1b")
    assert {"id", "text", "start", "end"} <= set(told[0]) <= {"id", "text", "start", "end", "bytes"}
    assert main.run(["tokens", "the doctor", "歯", f"model={run}"]) == 0
    shown = capsys.readouterr().out
    assert "│" in shown and "split within a character: 歯" in shown and "\x1b" not in shown


def test_the_command_reads_files_and_writes_pages(run, tmp_path, capsys):
    text = tmp_path / "手紙.txt"
    text.write_text("歯", encoding="cp932")
    page = tmp_path / "page.html"
    assert main.run(["tokens", str(text), run, "--csv", f"out={page}"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert "".join(row["bytes"] for row in rows) == "歯".encode().hex()
    assert page.read_text(encoding="utf-8").count("<span") == len(rows)


@pytest.mark.parametrize("words", [["a", "bpe"], ["a", "model=resnet"], ["a", "model=none"], []])
def test_the_command_says_what_cuts_texts(words, capsys):
    assert main.run(["tokens", *words]) in (2, 3)
    assert "try:" in capsys.readouterr().err


def test_a_file_that_is_no_tokenizer_is_told(tmp_path, capsys):
    (tmp_path / "tokenizer.json").write_text('{"model": 1}')
    assert main.run(["tokens", "a", str(tmp_path / "tokenizer.json")]) == 3
    assert "no tokenizer" in capsys.readouterr().err


def test_a_pair_that_has_changed_waits_for_its_own_turn():
    system = bpe.BPE(bpe.Config(320), Spec(0))
    x, y, z, w = (single_bytes().index(ord(letter)) for letter in "xyzw")
    pairs = [(y, z), (x, y), (256, w), (x, 256)]  # of the last two the former goes first
    system.merges[:4] = torch.tensor(pairs)
    assert system.encode("xyzw") == [x, 258]


def test_a_pair_that_occurs_just_often_enough_is_joined():
    assert b"ab" in learnt(bpe.BPE, ["ab", "ab"], least=2).raws
    assert b"ab" not in learnt(bpe.BPE, ["ab"], least=2).raws


def test_the_length_in_tokens_is_that_of_the_vocabulary():
    """An é of two bytes and one token, five times, beside five blanks."""
    system = letters.Letters(letters.Config(size=300), Spec(0))
    *_others, progress = system.fit(Texts(["é é é é é"]), Run(10**9))
    assert progress.losses["tokens a byte"].item() == pytest.approx(9 / 14)
