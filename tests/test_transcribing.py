"""Speech recognition: error rates, CTC, Whisper beside its reference, and the rules of times."""

import itertools
import math

import numpy as np
import pytest
import torch
from shapes import made, uttered
from torch.nn import functional as F

from souron import registry
from souron.blocks.speech_tokens import LANGUAGES, Heard, Layout, long_form, search
from souron.blocks.whisper import sinusoids
from souron.data import recordings
from souron.data.dataset import ListColumn, Rows
from souron.data.log_mel import RATE
from souron.evaluation.answers import Setup
from souron.evaluation.language import transcription as listening
from souron.kinds.sound import Sound
from souron.kinds.transcript import Piece
from souron.metrics import transcription
from souron.metrics.transcription import CHARACTER, WORD, character_error_rate, counted, word_error_rate
from souron.runs import folder as run_folder
from souron.stats import intervals
from souron.systems.transcribe import ctc
from souron.systems.transcribe.whisper import Config
from souron.tasks.transcribe import Spec, in_order
from souron.training.loop import Run
from souron.utils.messages import UserError

# error rates

JIWER = [  # references, transcripts, and the rates of words and characters by jiwer 4.0.0
    (["one two three four"], ["one two free four five"], 0.5, 0.3888888888888889),
    (["the cat sat on the mat", "hello world"], ["cat sat on a mat today", "hello"], 0.5, 0.5757575757575758),
    (["a b c"], ["x y z w"], 1.3333333333333333, 1.0),
    (["good morning"], ["good morning"], 0.0, 0.0),
    (["kitten", "x y"], ["sitting", "x"], 0.6666666666666666, 0.5555555555555556),
]


@pytest.mark.parametrize("right, said, words, characters", JIWER)
def test_error_rates_equal_jiwer(right, said, words, characters):
    assert word_error_rate(right, said) == pytest.approx(words, abs=1e-12)
    assert character_error_rate(right, said) == pytest.approx(characters, abs=1e-12)


def test_japanese_is_counted_in_characters():
    right = ["本日は晴天なり", "水をマレーシアから買わなくてはならないのです"]
    said = ["本日も晴天", "水をまれしやから変わなくてはならないのです"]
    assert character_error_rate(right, said) == pytest.approx(0.3103448275862069)  # as jiwer
    assert math.isnan(word_error_rate(right, said))
    assert counted("水を", "水 を 。") == ((0, 0), (0, 2))
    both = word_error_rate([*right, "one two"], [*said, "one"])
    assert both == 0.5  # only texts with words count


def test_case_width_and_punctuation_do_not_count():
    assert word_error_rate(["Don't worry, be happy!"], ["DON’T WORRY BE HAPPY"]) == 0
    assert character_error_rate(["ＡＢＣ 123"], ["abc 123."]) == 0


def test_edits_are_the_fewest():
    right, said = "intention", "execution"
    edits = transcription.aligned(right, said)
    assert "".join(edit.right for edit in edits) == right
    assert "".join(edit.pred for edit in edits) == said
    assert sum(edit.right != edit.pred for edit in edits) == 5
    assert transcription.distance(right, said) == 5


def test_an_interval_counts_speakers_and_a_long_recording_more():
    errors, words = np.array([0.0, 5, 1, 0]), np.array([10.0, 10, 2, 8])
    pseudo = transcription.pseudo_values(errors, words)
    assert pseudo.mean() == pytest.approx(0.2)
    random = np.random.default_rng(0)
    words = random.integers(1, 9, 400).astype(float)
    speakers = np.repeat(np.arange(20), 20)
    errors = random.binomial(words.astype(int), random.uniform(0, 0.6, 20)[speakers]).astype(float)
    pseudo = transcription.pseudo_values(errors, words)
    alone, grouped = intervals.interval(pseudo), intervals.interval(pseudo, speakers.tolist())
    assert alone.value == pytest.approx(errors.sum() / words.sum())
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)
    drawn = []  # the bootstrap over speakers of the ratio itself
    for _trial in range(2000):
        rows = np.concatenate([np.flatnonzero(speakers == k) for k in random.integers(0, 20, 20)])
        drawn.append(errors[rows].sum() / words[rows].sum())
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert grouped.high - grouped.low == pytest.approx(high - low, rel=0.25)
    assert transcription.pseudo_values(np.ones(3), np.zeros(3)) is None


# CTC


def test_the_probability_of_a_text_is_the_sum_over_all_paths():
    """Every path of five outputs over three characters, counted one by one."""
    chance = torch.randn(5, 4, generator=torch.Generator().manual_seed(1)).log_softmax(1).double()
    sums: dict[tuple, float] = {}
    for path in itertools.product(range(4), repeat=5):
        text = tuple(k for k, _run in itertools.groupby(path) if k)
        p = math.exp(sum(chance[t, k].item() for t, k in enumerate(path)))
        sums[text] = sums.get(text, 0.0) + p
    assert sum(sums.values()) == pytest.approx(1)
    for text in ((1, 2), (2, 2), (3,), ()):
        nats = F.ctc_loss(
            chance[:, None],
            torch.tensor([text or (1,)]),
            torch.tensor([5]),
            torch.tensor([len(text)]),
            ctc.BLANK,
            "none",
        )
        assert math.exp(-nats.item()) == pytest.approx(sums[text])


def test_with_as_many_beams_as_texts_the_most_probable_one_is_found():
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        chance = (1.5 * torch.randn(4, 3, generator=generator)).log_softmax(1)
        sums: dict[tuple, float] = {}
        for path in itertools.product(range(3), repeat=4):
            text = tuple(k for k, _run in itertools.groupby(path) if k)
            p = math.exp(sum(chance[t, k].item() for t, k in enumerate(path)))
            sums[text] = sums.get(text, 0.0) + p
        assert tuple(ctc.prefix_search(chance, 200)) == max(sums, key=lambda text: sums[text])


def test_a_beam_finds_what_the_best_path_misses():
    """Two outputs: blank 0.6 each, so that the best path is empty; but "a" has 0.64 in all."""
    chance = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()
    assert ctc.greedy(chance) == []
    assert ctc.prefix_search(chance, 4) == [1]


def test_a_character_is_repeated_only_after_a_blank():
    table = torch.full((5, 2), 1e-6)
    for t, k in enumerate([1, 1, 0, 1, 1]):
        table[t, k] = 1
    assert [k for k, _t in ctc.greedy(table.log())] == [1, 1] == ctc.prefix_search(table.log(), 8)
    assert ctc.greedy(table[:2].log()) == [(1, 0)]


def system_of(name, cases, size="tiny"):
    kind = registry.load_system(name)[0]
    torch.manual_seed(0)
    return kind(kind.SIZES[size], kind.spec_for(cases)).eval()


@pytest.mark.parametrize("name", ["ctc", "whisper"])
def test_what_stands_beside_a_recording_changes_nothing(name):
    """A short recording in a batch with a longer one; within rounding, since shapes differ."""
    cases = uttered(40)
    system = system_of(name, cases)
    for weight in system.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    order = sorted(range(40), key=lambda row: len(cases.input[row].wave))
    short, long = order[0], order[-1]
    both = system.batch(
        Rows(ListColumn([cases.input[short], cases.input[long]]), ListColumn([cases.target[short], cases.target[long]]))
    )
    alone = system.batch(Rows(ListColumn([cases.input[short]]), ListColumn([cases.target[short]])))
    with torch.inference_mode():
        beside, own = system.surprises(both)[0], system.surprises(alone)[0]
    assert beside.item() == pytest.approx(own.item(), rel=1e-4)


def test_a_text_longer_than_its_recording_is_improbable_and_teaches_nothing():
    cases = uttered(8)
    system = system_of("ctc", cases)
    rows = Rows(cases.input[:1], ListColumn(["high low mid " * 40]))
    batch = system.batch(rows)
    assert system.surprises(batch).item() == ctc.MOST_BITS
    system.loss(batch).backward()
    assert all(weight.grad.isfinite().all() for weight in system.parameters())


def test_phrases_are_separated_by_pauses():
    system = system_of("ctc", uttered(8))
    a = system.spec.characters.index("h") + 1
    pieces = system.phrases([(a, 0), (a, 5), (a, 100), (a, 101)])
    assert [piece.text for piece in pieces] == ["hh", "hh"]
    assert (pieces[1].start, pieces[1].end) == pytest.approx((2.0, 2.04))


# Whisper


def reference(timed=True):
    """A small Whisper of the transformers library with random weights, and ours with the same."""
    transformers = pytest.importorskip("transformers")
    layout = Layout(60, LANGUAGES[:3])
    config = transformers.WhisperConfig(
        vocab_size=layout.size,
        num_mel_bins=20,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_target_positions=64,
        decoder_start_token_id=layout.start,
        eos_token_id=layout.end,
        pad_token_id=layout.end,
        bos_token_id=layout.end,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        dropout=0.0,
    )
    torch.manual_seed(0)
    theirs = transformers.WhisperForConditionalGeneration(config).eval()
    for name, weight in theirs.named_parameters():
        if name != "model.encoder.embed_positions.weight" and "layer_norm" not in name:
            torch.nn.init.normal_(weight, std=1.0 if "positions" in name else 0.3)
    kind = registry.load_system("whisper")[0]
    spec = Spec("", 60, languages=LANGUAGES[:3], timed=True)
    ours = kind(Config(32, 2, 2, 2, 20, 64), spec).eval()
    held = theirs.state_dict()
    places = held.pop("model.encoder.embed_positions.weight")
    assert torch.equal(places, sinusoids(*places.shape))
    assert torch.equal(held.pop("proj_out.weight"), held["model.decoder.embed_tokens.weight"])
    ours.load_state_dict(held)
    return theirs, ours, layout


@pytest.fixture(scope="module")
def pair():
    return reference()


def test_logits_equal_those_of_the_reference(pair):
    theirs, ours, _layout = pair
    generator = torch.Generator().manual_seed(1)
    mel = torch.randn(2, 20, 3000, generator=generator)
    tokens = torch.randint(0, 60, (2, 7), generator=generator)
    with torch.inference_mode():
        right = theirs(input_features=mel, decoder_input_ids=tokens).logits
        made = ours(mel, torch.tensor([3000, 3000]), tokens)
    assert right.std() > 0.1
    torch.testing.assert_close(made, right, atol=1e-4, rtol=1e-4)


class Free(Layout):
    """Tokens without rules."""

    def allowed(self, logits, written, timed, silent=()):
        return logits.clone()


def follow(system, mel, beams=1):
    with torch.inference_mode():
        memory, mask = system.model["encoder"](mel, torch.full((len(mel),), mel.shape[2]))
    memory, mask = (part.repeat_interleave(beams, 0) for part in (memory, mask))
    return lambda tokens, caches: system.model["decoder"](tokens, memory, mask, caches)


def test_greedy_tokens_equal_those_of_the_reference(pair):
    theirs, ours, layout = pair
    import transformers

    mel = torch.randn(3, 20, 3000, generator=torch.Generator().manual_seed(2))
    prompt = torch.tensor([layout.prompt(name) for name in LANGUAGES[:3]])
    how = transformers.GenerationConfig(
        max_new_tokens=24,
        eos_token_id=layout.end,
        pad_token_id=layout.end,
        do_sample=False,
        decoder_start_token_id=layout.start,
    )
    right = transformers.GenerationMixin.generate(
        theirs, input_features=mel, decoder_input_ids=prompt, generation_config=how
    )[:, 4:].tolist()
    free = Free(60, LANGUAGES[:3])
    made = [heard.tokens for heard in search(follow(ours, mel), prompt, free, 2, 24)]
    cut = [ids[: [*ids, layout.end].index(layout.end)] for ids in right]
    assert made == cut
    assert len(set(itertools.chain(*cut))) > 6  # not one token over and over


def test_beams_follow_a_more_probable_text_than_greed(pair):
    _theirs, ours, _layout = pair
    mel = torch.randn(2, 20, 3000, generator=torch.Generator().manual_seed(3))
    free = Free(60, LANGUAGES[:3])
    prompt = torch.tensor([free.prompt("en"), free.prompt("zh")])

    def chance(heard):
        """The sum of the tokens' logarithms, computed anew without caches or beams."""
        sums = []
        for row, one in enumerate(heard):
            ids = torch.tensor([[*prompt[row].tolist(), *one.tokens]])
            logits = follow(ours, mel[row : row + 1])(ids[:, :-1], None)[0, 3:]
            found = logits.log_softmax(1).gather(1, ids[0, 4:, None]).sum().item()
            sums.append(found)
            assert found / len(one.tokens) == pytest.approx(one.chance, abs=1e-3)
        return sums

    greedy = search(follow(ours, mel), prompt, free, 2, 12)
    beams = search(follow(ours, mel, 6), prompt, free, 2, 12, beams=6)
    assert all(len(one.tokens) == 12 for one in (*greedy, *beams))
    one, six = chance(greedy), chance(beams)
    assert all(b >= a - 1e-4 for a, b in zip(one, six, strict=True)) and sum(six) > sum(one) + 0.1


def test_the_rules_of_times_are_those_of_the_reference():
    """Each step of random texts: what may follow is what the transformers library lets follow."""
    pytest.importorskip("transformers")
    from transformers import GenerationConfig
    from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor

    layout = Layout(60, LANGUAGES[:3])
    how = GenerationConfig(
        eos_token_id=layout.end, no_timestamps_token_id=layout.untimed, max_initial_timestamp_index=50
    )
    rules = WhisperTimeStampLogitsProcessor(how, begin_index=3)
    generator = torch.Generator().manual_seed(4)
    opened = 0
    for _text in range(30):
        written: list[int] = []
        for _step in range(12):
            logits = torch.randn(1, layout.size, generator=generator)
            logits[:, layout.start : layout.untimed] = -torch.inf  # ours never writes those
            logits[:, layout.first_time :] -= 3.5 if torch.rand((), generator=generator) < 0.7 else 0
            before = torch.tensor([[*layout.prompt("en")[:3], *written]])
            right = rules(before, logits.clone())
            made = layout.allowed(logits, [written], True)
            assert torch.equal(made.isfinite(), right.isfinite()), written
            written.append(int(made.argmax()))
            opened += written[-1] >= layout.first_time
            if written[-1] == layout.end:
                break
    assert opened > 40


def test_without_times_only_text_is_written():
    layout = Layout(60, LANGUAGES[:3])
    made = layout.allowed(torch.zeros(1, layout.size), [[]], False, silent=(7,))
    assert made[0].isfinite().nonzero().flatten().tolist() == [*range(7), *range(8, 61)]
    assert layout.prompt("de", translate=True) == [61, 64, layout.translate, layout.untimed]


def test_published_tokens_have_their_numbers():
    layout = Layout(50_257)
    assert (layout.end, layout.start, layout.size) == (50_257, 50_258, 51_865)
    assert layout.prompt("ja", timed=True) == [50_258, 50_266, 50_359]
    assert (layout.translate, layout.silence, layout.untimed) == (50_358, 50_362, 50_363)
    assert layout.first_time == 50_364 and len(LANGUAGES) == 100
    assert Layout(50_257, LANGUAGES).size == 51_866


def test_phrases_lie_between_times():
    layout = Layout(60, LANGUAGES[:3])
    at = layout.first_time
    tokens = [at, 5, 6, at + 100, at + 100, 7, at + 250, at + 250]
    assert layout.phrases(tokens, 30) == ([(0.0, 2.0, [5, 6]), (2.0, 5.0, [7])], 5.0)
    assert layout.phrases([at, 5, at + 100], 30) == ([(0.0, 2.0, [5])], 30)  # to the end
    assert layout.phrases([at + 10, 5, 6], 4) == ([(0.0, 4, [5, 6])], 4)  # unclosed
    assert layout.phrases([at, at + 100, 5, at + 150, at + 150], 30)[1] == 3.0
    assert layout.phrases([], 30) == ([], 30)


def test_a_long_sound_goes_on_where_the_last_phrase_ended():
    layout = Layout(60, LANGUAGES[:3])
    at, begun = layout.first_time, []
    answers = iter(
        [
            Heard([at, 1, at + 500, at + 500, 2, at + 600, at + 600], -0.1),  # 12 s are understood
            Heard([9, 9, 9], -2.0, 0.9),  # silence, and improbable
            Heard([at, 3, at + 50], -0.2),
        ]
    )

    def hear(begin, _end, beams):
        begun.append((begin / 100, beams))
        return next(answers)

    found = list(long_form(45 * 100, 100, 30, layout, hear, lambda ids: " ".join(map(str, ids))))
    assert begun == [(0.0, 1), (12.0, 1), (42.0, 1)]
    assert found == [(0.0, 10.0, "1"), (10.0, 12.0, "2"), (42.0, 43.0, "3")]


def test_a_text_that_repeats_itself_is_searched_once_more():
    layout, asked = Layout(60, LANGUAGES[:3]), []

    def hear(_begin, _end, beams):
        asked.append(beams)
        return Heard([layout.first_time, *([1] * 90 if beams == 1 else [1, 2])], -0.1)

    def text_of(ids):
        return "word " * 30 if len(ids) > 9 else "a quick brown fox"

    [(_start, _end, text)] = long_form(500, 100, 30, layout, hear, text_of)
    assert asked == [1, 5] and text == "a quick brown fox"


def scripted(layout, *tokens):
    """A decoder that writes these tokens, then the last of them for ever; its steps are counted."""
    steps = []

    def follow(_tokens, _caches):
        logits = torch.zeros(1, 1, layout.size)
        logits[..., tokens[min(len(steps), len(tokens) - 1)]] = 99.0
        steps.append(1)
        return logits

    return follow, steps


def test_a_text_ends_with_its_sound():
    """Text behind the end was said by nobody."""
    layout = Layout(60, LANGUAGES[:3])
    at, prompt = layout.first_time, torch.tensor([layout.prompt("en", timed=True)])
    said = (at, 5, at + 165)  # 3.3 s
    follow, steps = scripted(layout, *said, at + 165, 7, at + 300)
    [heard] = search(follow, prompt, layout, 1, 200, timed=True, seconds=3.3)
    assert heard.tokens == [*said] and len(steps) == 3
    follow, steps = scripted(layout, *said, at + 165, 7, at + 300, layout.end)
    [heard] = search(follow, prompt, layout, 1, 200, timed=True, seconds=30)
    assert heard.tokens == [*said, at + 165, 7, at + 300]


def test_a_text_that_goes_on_repeating_itself_is_ended_and_doubted():
    layout, asked = Layout(60, LANGUAGES[:3]), []
    follow, steps = scripted(layout, 3, 4, 1)
    [heard] = search(follow, torch.tensor([layout.prompt("en")]), layout, 1, 200)
    assert heard.tokens == [3, 4, *[1] * 24] and len(steps) == 26

    def hear(_begin, _end, beams):
        asked.append(beams)
        return Heard([layout.first_time, *[1] * 24], -0.1)

    list(long_form(500, 100, 30, layout, hear, lambda ids: "Oh"))
    assert asked == [1, 5]


def test_a_window_is_encoded_once_whatever_is_asked_of_it():
    system, count = system_of("whisper", uttered(40)), []
    system.model["encoder"].register_forward_hook(lambda *_: count.append(1))
    wave = uttered(40).input[0].samples
    system.listen(wave)
    assert len(count) == 1
    most = []
    system.model["decoder"].register_forward_hook(lambda _module, given, _out: most.append(given[0].shape))
    system.listen(wave[: RATE // 10])
    assert len(most) <= 1 + 16 + 2  # of the language, of any sound, of a tenth of a second


def test_languages_are_detected_among_those_known():
    system = system_of("whisper", uttered(40))
    assert system.spec.languages == ("en", "ja")
    waves = [one.samples for one in uttered(40).input[:4]]
    heads = system.layout
    with torch.no_grad():
        system.model["decoder"].layer_norm.weight.zero_()
        system.model["decoder"].layer_norm.bias.copy_(torch.ones(32))
        system.model["decoder"].embed_tokens.weight.zero_()
        system.model["decoder"].embed_tokens.weight[heads.language("ja")] = 1.0
    assert system.detect(system.encoded(waves)) == ["ja"] * 4
    with pytest.raises(UserError) as trouble:
        system.predict(Sound(waves[0].numpy(), RATE), language="xx")
    assert trouble.value.expected == "en, ja"


# learning


@pytest.fixture(scope="module")
def learnt():
    """Both small systems after a few hundred steps on tones, which are their words."""
    found, cases = {}, made("transcripts", 200)
    english = cases.only([row for row in range(200) if row % 2 == 0])
    for name, steps, lr in (("ctc", 24, 2e-2), ("whisper", 30, 1e-2)):
        kind = registry.load_system(name)[0]
        config = kind.SIZES["tiny"]
        torch.manual_seed(0)
        system = kind(type(config)(**{**vars(config), "rate": lr}), kind.spec_for(english))
        for _progress in system.fit(system.loader(english, seed=1), Run(steps, 96)):
            pass
        found[name] = system.eval()
    return found, english


@pytest.mark.parametrize("name", ["ctc", "whisper"])
def test_words_are_learnt_from_recordings(learnt, name):
    """Test on 50 unseen recordings; the most frequent word alone would be wrong in two of three."""
    systems, _cases = learnt
    unseen = uttered(100, seed=7)
    unseen = unseen.only([row for row in range(100) if row % 2 == 0])
    told = dict(systems[name].texts(unseen.input))
    rate = word_error_rate(list(unseen.target), [told[row] for row in range(len(unseen))])
    assert rate < 0.35, (rate, list(told.values())[:5])


def test_ctc_says_when_a_word_was_spoken(learnt):
    systems, cases = learnt
    wave = torch.zeros(int(2.5 * RATE))
    one = cases.input[0].samples
    wave[: len(one)], wave[-len(one) :] = one, one
    answer = systems["ctc"].predict(Sound(wave.numpy(), RATE), beams=4)
    assert len(answer.pieces) == 2 and answer.language == "en"
    assert answer.pieces[0].end < len(one) / RATE + 0.1
    assert answer.pieces[1].start > 2.5 - len(one) / RATE - 0.1


@pytest.mark.parametrize("name", ["ctc", "whisper"])
def test_a_sound_longer_than_a_window_is_heard_to_its_end(learnt, name, monkeypatch):
    systems, cases = learnt
    system = systems[name]
    monkeypatch.setattr(system, "window", 2.0)
    wave = recordings.joined([one.samples for one in cases.input[:6]], 0.3)
    answer = system.predict(Sound(wave.numpy(), RATE), beams=1, to="srt")
    assert answer.seconds == pytest.approx(len(wave) / RATE)
    assert answer.pieces[-1].end > 0.7 * answer.seconds and answer.kept
    shown = systems[name].attention(cases.input[0], cases.target[0])
    assert shown is None or (shown.ndim == 2 and shown.isfinite().all())


def test_figures_are_of_sums_and_reports_hold_what_was_heard(learnt):
    systems, cases = learnt
    task = registry.load_task("transcribe")
    test = cases.only(range(30))
    setup = Setup(None, test)
    *_steps, last = task.answer(systems["ctc"], test, {}, setup)
    answers = last.result
    scores = task.scores([answers], setup)
    told = dict(systems["ctc"].texts(test.input))
    said = [told[row] for row in range(30)]
    assert scores[WORD].mean() == pytest.approx(word_error_rate(list(test.target), said))
    assert scores[CHARACTER].mean() == pytest.approx(character_error_rate(list(test.target), said))
    measures = task.measures([answers], setup)
    assert 0 <= measures[WORD].low <= measures[WORD].value <= measures[WORD].high
    assert measures[WORD].groups == len(set(test.group))
    confused = listening.confused(list(test.target), said)
    wrong = sum(counted(*pair)[0][0] for pair in zip(test.target, said, strict=True))
    assert sum(times for _said, _heard, times in confused) <= wrong
    assert task.ranks(setup) == WORD
    japanese = uttered(8).only([1, 3, 5])
    assert task.ranks(Setup(None, japanese)) == CHARACTER


def test_phrases_do_not_overlap():
    pieces = [Piece(1.0, 2.0, "b"), Piece(0.0, 1.4, "a"), Piece(2.5, 2.5, "c")]
    assert in_order(pieces) == [Piece(0.0, 1.0, "a"), Piece(1.0, 2.0, "b"), Piece(2.5, 2.5, "c")]


def test_a_run_knows_its_words_again(learnt, tmp_path):
    systems, cases = learnt
    system = systems["whisper"]
    args = {
        "system": "whisper_tiny",
        "config": run_folder.as_plain(system.config),
        "seen": run_folder.as_plain(system.spec),
        "data": "uttered",
    }
    run_folder.write_args(tmp_path, args)
    from souron.utils import files

    files.write_tensors(tmp_path / "weights" / "best.safetensors", system.state_dict(), {})
    again = run_folder.load(tmp_path)
    assert list(again.texts(cases.input[:5])) == list(system.texts(cases.input[:5]))
