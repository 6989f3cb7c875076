"""Scores, chorales and those who compose: files there and back, what is counted, what is kept."""

import io
import json
import math
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dropping import tune
from shapes import tunes as made
from torch.nn import functional as F

from souron import registry
from souron.cli import main
from souron.data import load, voices
from souron.data.dataset import ListColumn, Rows
from souron.data.voices import Voices
from souron.evaluation.generators.compose import words as written_words
from souron.kinds.codecs import midi, musicxml, notation, provenance
from souron.kinds.codecs.notation import Notation, Note, from_grid, heard, on_grid
from souron.kinds.score import Score, pitch_name
from souron.metrics import compose as counted
from souron.system import System
from souron.systems.compose.ngram_voices import CENTRE
from souron.tasks import compose as compose_task
from souron.tasks.compose import (
    HOLD,
    LEFT,
    LEFTS,
    OWN,
    PLACE,
    TOKEN,
    TOKENS,
    VOICE,
    Spec,
    asked,
    drawn,
    encoded,
    only_parts,
    order,
)
from souron.training.loop import Run
from souron.utils.messages import UserError, use_language

XML = """<?xml version="1.0"?>{head}
<score-partwise><part-list><score-part id="A"><part-name>Chor &lt;1&gt;</part-name></score-part>
<score-part id="B"/><score-part id="C"/></part-list>
<part id="A">
<measure number="0"><attributes><divisions>2</divisions><time><beats>3</beats>
<beat-type>4</beat-type></time></attributes>
<note><pitch><step>B</step><alter>-1</alter><octave>3</octave></pitch><duration>2</duration></note>
</measure>
<measure number="1"><sound tempo="72"/>
<note><grace/><pitch><step>A</step><octave>4</octave></pitch></note>
<note><pitch><step>C</step><octave>4</octave></pitch><duration>4</duration></note>
<note><chord/><pitch><step>E</step><octave>4</octave></pitch><duration>4</duration></note>
<note><pitch><step>F</step><alter>1</alter><octave>4</octave></pitch><duration>2</duration>
<tie type="start"/></note></measure>
<measure number="2"><note><pitch><step>F</step><alter>1</alter><octave>4</octave></pitch>
<duration>6</duration><tie type="stop"/></note></measure></part>
<part id="B"><measure number="0"><attributes><divisions>2</divisions></attributes></measure>
<measure number="1"><forward><duration>1</duration></forward>
<note><pitch><step>C</step><octave>3</octave></pitch><duration>1</duration></note>
<backup><duration>2</duration></backup>
<note><rest/><duration>2</duration></note></measure></part><part id="C"/></score-partwise>"""


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def trouble(path: Path, content: str | bytes | None = None) -> UserError:
    if content is not None:
        written(path, content)
    with pytest.raises(UserError) as caught:
        Score.read(path)
    assert caught.value.found and caught.value.exit == 3
    return caught.value


def system_of(name: str, cases, size="tiny", steps=6) -> System:
    kind = registry.load_system(name)[0]
    torch.manual_seed(0)
    system = kind(kind.SIZES[size], kind.spec_for(cases))
    for _progress in system.fit(system.loader(cases, seed=1), Run(steps, 32)):
        pass
    return system.eval()


# files


def test_musicxml_says_which_tone_sounds_when(tmp_path):
    read = Score.read(written(tmp_path / "a.musicxml", XML.format(head="")))
    assert read.tones == (
        (0, 0.0, 1.0, 58),  # the flat
        (0, 1.0, 2.0, 60),
        (0, 1.0, 2.0, 64),  # a chord
        (1, 1.5, 0.5, 48),  # after a gap that has no note
        (0, 3.0, 4.0, 66),  # tied over the bar line
    )
    assert (read.bar, read.pickup, read.tempo) == (3.0, 1.0, 72.0)
    assert read.parts[0] == "Chor <1>" and "<1>" not in read._repr_html_()


def test_midi_is_read_byte_by_byte(tmp_path):
    track = bytes.fromhex(
        "00ff5103 0b71b0"  # 750 000 microseconds a quarter: 80 a minute
        "00ff5804 03021808"  # three quarters
        "00903c40 00994040"  # C4; channel 10 is drums
        "8200 3c00"  # 256 ticks later, with the status before: loudness 0 ends a drum, no tone
        "00803c40 00ff2f00"
    )
    head = b"MThd" + bytes.fromhex("00000006 0000 0001 0080")
    read = Score.read(written(tmp_path / "a", head + b"MTrk" + len(track).to_bytes(4, "big") + track))
    assert read.tones == ((0, 0.0, 2.0, 60),) and read.tempo == pytest.approx(80)
    assert read.bar == 3.0


def test_what_cannot_be_music_is_named(tmp_path):
    entities = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
    assert trouble(tmp_path / "a.xml", XML.format(head=entities)).code == "not music"
    utf16 = XML.format(head=entities).replace("?>", ' encoding="utf-16"?>', 1).encode("utf-16")
    assert trouble(tmp_path / "b.xml", utf16).code == "not music"
    assert trouble(tmp_path / "c.mxl", "<html/>").code == "not music"
    assert trouble(tmp_path / "d.mid", midi.write(Notation([], []))).code == "no notes"
    hour = Notation([Note(0, 0, 1, 60), Note(0, 90 * 60, 1, 60)], ["a"])
    assert trouble(tmp_path / "e.mid", midi.write(hour)).code == "too long"
    whole = midi.write(tune().notation)
    assert trouble(tmp_path / "f.mid", whole[:-9]).code == "truncated"


def test_an_archive_is_bounded_while_it_is_unpacked(tmp_path, monkeypatch):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("META-INF/container.xml", "<container/>")
        packed.writestr("piece.xml", XML.format(head=""))
    path = written(tmp_path / "a.mxl", stream.getvalue())
    assert len(Score.read(path).tones) == 5
    monkeypatch.setattr(musicxml, "MOST_BYTES", 1200)
    assert len(stream.getvalue()) < 1200 < len(XML)
    assert trouble(path).code == "too large"


def test_a_note_over_bar_lines_is_written_in_parts_and_read_as_one(tmp_path):
    piece = Notation([Note(0, 0.0, 9.25, 61), Note(0, 10.0, 0.75, 60)], ["a"], 90.0, 3.0, 1.0)
    text = musicxml.write(piece, "souron")
    assert text.count(b"<tied ") >= 6 and text.count(b"<measure") == 5
    read = Score.read(written(tmp_path / "a.musicxml", text))
    assert [tuple(note) for note in read.tones] == [tuple(note) for note in piece.notes]


def test_a_grid_holds_one_tone_in_a_part_at_a_time():
    piece = Notation([Note(0, 0, 2, 60), Note(0, 0, 2, 64), Note(0, 1, 0.5, 65), Note(1, 0.5, 0.5, 50)], ["a", "b"])
    grid = on_grid(piece)
    assert grid[:, 0].tolist() == [64, 0, 0, 0, 65, 0, 1, 0]  # the highest; then silence
    assert grid[:, 1].tolist() == [1, 0, 50, 0, 1, 0, 0, 0]
    assert heard(grid)[:, 1].tolist() == [1, 1, 50, 50, 1, 1, 1, 1]
    assert from_grid(grid) == [(0, 0, 1, 64), (1, 0.5, 0.5, 50), (0, 1, 0.5, 65)]


# the kind


def test_a_tone_is_heard_at_its_pitch_and_ends():
    sound = Score([(0, 0.0, 1.0, 69)], ["a"], 60.0).sound()
    loud = np.abs(np.fft.rfft(sound.mono[: sound.rate]))
    assert loud.argmax() == 440
    assert sound.seconds == pytest.approx(1.12, abs=0.01) and np.abs(sound.mono).max() <= 0.81
    assert np.abs(sound.mono[-3:]).max() < 0.01
    assert pitch_name(60) == "C4" and pitch_name(70) == "A♯4"


def test_the_page_of_a_score_has_a_roll_and_a_player():
    with use_language("ja"):
        page = replace(tune(), title="<script>")._repr_html_()
    assert "<audio controls" in page and "data:audio/wav;base64," in page
    assert "data:image/png;base64," in page and "<script" not in page
    assert "<audio" not in Score()._repr_html_()


# what is counted


def tones(*rows):
    return np.array(rows)


def test_parallels_are_those_of_voices_that_move():
    fifths = tones([67, 1, 1, 60], [69, 1, 1, 62], [69, 1, 1, 62], [71, 1, 1, 64])
    assert counted.parallels(fifths) == (2, 0)  # what stays is no parallel
    assert counted.parallels(tones([72, 1, 1, 60], [74, 1, 1, 50])) == (0, 1)  # octaves apart
    assert counted.parallels(tones([67, 1, 1, 60], [69, 1, 1, 60])) == (0, 0)
    assert counted.parallels(tones([67, 1, 1, 60], [1, 1, 1, 62])) == (0, 0)


def test_a_beat_is_consonant_where_nothing_rubs_against_the_bass():
    chords = tones([76, 67, 60, 48], [77, 67, 60, 48], [78, 67, 60, 48], [70, 67, 1, 48])
    assert counted.consonant(chords).tolist() == [True, True, False, False]
    held = np.repeat(chords, 4, 0)
    assert counted.figures(held)[counted.CONSONANT] == 0.5
    assert counted.crossings(tones([60, 62, 50, 40], [64, 62, 50, 52], [64, 62, 1, 40])) == 2


def test_the_longest_copied_run_is_found_in_any_key():
    grid = made(2, seed=3).input
    words = [written_words(piece) for piece in grid]
    runs = counted.Runs([words[0]])
    assert runs.longest(words[0]) == 32
    moved = written_words(grid[0]._replace(grid=voices.transposed(grid[0].grid, 5)))
    assert runs.longest(moved) >= 31  # nothing but how the first bass tone was reached
    part = [*words[1][:10], *words[0][8:20], *words[1][22:]]
    assert runs.longest(part) >= 12 > runs.longest([(9,)] * 30)


# data


def chorale(seed: int, away: int = 0) -> Voices:
    """A tune of chance, with the same three voices below."""
    random = np.random.default_rng(seed)
    grid = torch.zeros(64, 4, dtype=torch.uint8)
    grid[::4, 0] = torch.from_numpy(67 + random.permutation(16) % 12).to(torch.uint8)
    grid[::8, 1], grid[::8, 2], grid[::8, 3] = 64, 55, 48
    return Voices(voices.transposed(grid, away), 16, 0)


def test_pieces_with_one_tune_are_one_group_in_any_key():
    pieces = [chorale(1), chorale(2), chorale(1, 3), chorale(3)]
    assert voices.tunes(pieces, ["a", "b", "c", "d"]) == ["a", "b", "a", "d"]


def test_chorales_come_from_the_packages_files_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_DATA", str(tmp_path))
    with pytest.raises(UserError) as absent:
        load.load("chorales")
    assert absent.value.fix == "souron fetch chorales"
    for name, seed, away in (("bwv269", 1, 0), ("bwv2", 1, 2), ("bwv3", 2, 0)):
        text = musicxml.write(voices.notation(chorale(seed, away)), "souron")
        written(tmp_path / "chorales" / f"{name}.mxl", text)
    short = voices.notation(chorale(4))
    three = short._replace(notes=[n for n in short.notes if n.part < 3], parts=short.parts[:3])
    written(tmp_path / "chorales" / "bwv4.mxl", musicxml.write(three, "souron"))
    cases = load.load("chorales")
    assert list(cases.file) == ["bwv2", "bwv269", "bwv3"]
    assert cases.group[0] == cases.group[1] != cases.group[2]
    assert cases.part[0] == cases.part[1]
    assert torch.equal(cases.input[1].grid, chorale(1).grid)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Fifteen pieces, and four files that are none."""
    place = tmp_path / "合唱"
    for k, piece in enumerate(made(15).input):
        Score.of(voices.notation(piece)).save(place / f"{k}.{('mid', 'musicxml')[k % 2]}")
    five = [Note(part, 0.0, 4.0, 50 + 4 * part) for part in range(5)]
    Score(five, [str(k) for k in range(5)]).save(place / "five.mid")
    written(place / "none.mid", midi.write(Notation([], ["a"])))
    written(place / "readme.txt", "not a piece")
    written(place / "bad.xml", "<html>")
    return place


def test_a_folder_of_scores_is_read_and_what_is_no_piece_is_named(folder):
    cases = load.load(folder, formats=("scores",), target="scores")
    assert len(cases) == 15 and voices.holds(cases)
    assert {skipped.file: skipped.code for skipped in cases.skipped} == {
        "five.mid": "voices",
        "none.mid": "no notes",
        "bad.xml": "not music",
    }
    (folder / "only").mkdir()
    (folder / "five.mid").rename(folder / "only" / "five.mid")
    with pytest.raises(UserError) as nothing:
        load.load(folder / "only", formats=("scores",))
    assert nothing.value.fix == "data=chorales"


# who composes


@pytest.fixture(scope="module")
def cases():
    return made(60)


@pytest.fixture(scope="module")
def transformer(cases):
    return system_of("music_transformer", cases, steps=3)


def test_relative_attention_is_what_its_equation_says(transformer):
    """Token by token, pair by pair, without the skew."""
    attention = transformer.layers[0].attention
    x = torch.randn(2, 9, 32)
    q, k, v = attention.qkv(x).unflatten(2, (3, 2, 16)).permute(2, 0, 3, 1, 4)
    expected = torch.zeros(2, 9, 2, 16)
    last = attention.distance.shape[1] - 1
    for head in range(2):
        for i in range(9):
            score = (
                torch.stack(
                    [
                        (q[:, head, i] * (k[:, head, j] + attention.distance[head, last - (i - j)])).sum(1)
                        for j in range(i + 1)
                    ],
                    1,
                )
                / 4
            )
            expected[:, i, head] = (score.softmax(1)[:, :, None] * v[:, head, : i + 1]).sum(1)
    assert torch.allclose(attention(x), attention.out(expected.flatten(2)), atol=1e-5)


@torch.inference_mode()
def test_layers_and_head_begin_by_telling_nothing_of_what_they_see(cases):
    kind, config = registry.load_system("music_transformer_tiny")
    system = kind(config, kind.spec_for(cases)).eval()
    x = torch.randn(2, 9, config.width)
    added = system.through(x) - x
    assert torch.allclose(added, added[:1, :1], atol=1e-5)
    logits = system(encoded(cases.input[0], system.lead).long()[None, :64])
    assert torch.allclose(logits, logits[:, :1])


@torch.inference_mode()
def test_what_goes_on_is_heard_as_the_tone_that_began(transformer):
    before, rows = torch.zeros(2, 1, 5, dtype=torch.long), torch.zeros(2, 1, 5, dtype=torch.long)
    before[0, 0, TOKEN], before[0, 0, OWN] = HOLD, 60
    before[1, 0, TOKEN], before[1, 0, OWN] = 60, 55
    held, began = transformer.embedded(before, rows)
    difference = transformer.begins.weight[0] - transformer.begins.weight[1]
    assert torch.allclose((held - began)[0], difference, atol=1e-5)


@pytest.mark.parametrize("name, ahead", [("music_transformer", 8), ("ngram_voices", 0)])
def test_the_tune_is_written_so_far_ahead_of_the_other_voices(name, ahead):
    places = order(32, registry.load_system(name)[0].lead).tolist()
    assert sorted(places) == [[time, voice] for time in range(32) for voice in range(4)]
    tune = [row for row, (_time, voice) in enumerate(places) if voice == 0]
    for row, (time, voice) in enumerate(places):
        if voice:
            assert sum(other < row for other in tune) == min(32, time + ahead + 1)


@torch.inference_mode()
def test_moves_are_foretold_as_the_equation_says(cases):
    """Two rungs, by counting every move in every training piece."""
    system = system_of("ngram_voices", cases)
    seen = [Counter(), Counter()]

    def moves_from(row):
        return int(row[OWN]) if row[OWN] > 1 else CENTRE[row[VOICE]]

    def contexts(rows):
        return system.contexts(rows[None])[0, :, :2].tolist()

    for piece in cases.input:
        rows = encoded(piece, 0).long()
        for row, known in zip(rows, contexts(rows), strict=True):
            token = int(row[TOKEN])
            move = min(63, max(2, token - moves_from(row) + 32)) if token > 1 else token
            for rung, context in enumerate(known):
                seen[rung][context, move] += 1
    rows = encoded(cases.input[0], 0).long()
    found = system(rows[None])[0].exp()
    for k in (0, 9, 30, 77):
        chance = [1 / 64] * 64
        for rung, context in enumerate(contexts(rows)[k]):
            own = {move: n for (before, move), n in seen[rung].items() if before == context}
            total = sum(own.values())
            left = 0.75 * len(own) / total
            chance = [max(own.get(m, 0) - 0.75, 0) / total + left * chance[m] for m in range(64)]
        reached = [token - moves_from(rows[k]) + 32 for token in range(TOKENS)]
        told = [
            chance[token] if token < 2 else chance[move] if 2 <= move < 64 else 0.0
            for token, move in enumerate(reached)
        ]
        expected = torch.tensor(told) / sum(told) * (1 - 1e-4) + 1e-4 / TOKENS
        assert torch.allclose(found[k], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["music_transformer", "ngram_voices"])
def test_a_token_is_foretold_from_those_before_it_alone(name, cases):
    system = system_of(name, cases, steps=2)
    rows = encoded(cases.input[0], system.lead).long()[None, : system.context]
    changed = rows.clone()
    changed[0, 20, TOKEN] = 77
    changed[0, 24:, OWN] = 77
    with torch.inference_mode():
        first, second = system(rows), system(changed)
        memory: dict = {}
        steps = [system.following(rows[:, : k + 1], memory) for k in range(rows.shape[1])]
    assert torch.equal(first[:, :21], second[:, :21])
    assert not torch.allclose(first[:, 21:], second[:, 21:])
    assert torch.allclose(torch.cat(steps), first[0], atol=1e-4)
    assert torch.allclose(first.softmax(2).sum(2), torch.ones(1, rows.shape[1]), atol=1e-4)


def test_what_is_counted_counts_in_every_key(cases):
    system = system_of("ngram_voices", cases, "small")
    moved = [piece._replace(grid=voices.transposed(piece.grid, 7)) for piece in cases.input]
    here, there = (system.surprise(each) for each in (cases, replace(cases, input=ListColumn(moved))))
    # the first tone of each voice alone is nearer to the voice's middle or farther from it
    assert here.mean() < 1.5 and (here - there).abs().max() < 0.5


def test_what_is_known_is_kept_and_nothing_goes_on_before_it_began(transformer, cases, monkeypatch):
    logits = torch.zeros(1, TOKENS)
    logits[0, HOLD], logits[0, 64] = 9, 5
    monkeypatch.setattr(transformer, "following", lambda rows, memory: logits.clone())
    piece = cases.input[0]
    known = torch.zeros_like(piece.grid, dtype=torch.bool)
    known[:, 0] = True
    [grid] = transformer.write([piece], [known], 0, [(1,)])
    assert torch.equal(grid[:, 0], piece.grid[:, 0])
    assert grid[0, 1:].tolist() == [64, 64, 64] and not grid[1:, 1:].any()


def test_each_token_says_how_much_of_the_piece_is_left(cases):
    piece = cases.input[0]
    long = piece._replace(grid=piece.grid.repeat(LEFTS // len(piece.grid) + 2, 1))
    for one in (piece, long):
        times = [time for time, _voice in order(len(one.grid), 8).tolist()]
        assert encoded(one, 8)[:, LEFT].tolist() == [min(len(one.grid) - time, LEFTS) for time in times]


@pytest.mark.parametrize("column", [OWN, VOICE, PLACE, LEFT])
@torch.inference_mode()
def test_the_transformer_knows_voice_and_place_and_what_is_left(column, transformer, cases):
    rows = encoded(cases.input[0], transformer.lead).long()[None, :8]
    other = rows.clone()
    other[..., column] = (rows[..., column] + 1) % 4
    assert not torch.allclose(transformer(rows), transformer(other))


def test_what_fills_short_windows_is_not_learnt(transformer, cases):
    pieces = [encoded(cases.input[0], 8), encoded(cases.input[1], 8)[:20]]

    def loss(*some):
        return transformer.loss(transformer.batch(Rows(ListColumn(list(some)), None))).item()

    sizes = [len(piece) for piece in pieces]
    apart = sum(size * loss(piece) for size, piece in zip(sizes, pieces, strict=True)) / sum(sizes)
    assert loss(*pieces) == pytest.approx(apart, rel=1e-4)


@torch.inference_mode()
def test_every_token_of_a_long_piece_is_foretold_once(cases):
    """In windows that overlap, so that counts of the last few tokens never lack them."""
    system = system_of("ngram_voices", cases)
    rows = encoded(chorale(1), 0).long()
    assert len(rows) > 3 * system.context
    nats = F.cross_entropy(system(rows[None])[0], rows[:, TOKEN])
    [found] = system.surprise(replace(cases, input=ListColumn([chorale(1)])))
    assert found.item() == pytest.approx(nats.item() / math.log(2), rel=1e-4)


def test_a_piece_is_moved_as_a_whole(cases):
    """All tones by the same semitones, and nothing else."""
    change = registry.load_task("compose").augmentation(["transpose"])
    rows = encoded(cases.input[0], 0)
    rows[5, TOKEN] = 1
    away = set()
    for seed in range(80):
        generator = torch.Generator().manual_seed(seed)
        [moved] = change(Rows(ListColumn([rows]), None), generator).input
        assert torch.equal(moved[:, VOICE:], rows[:, VOICE:])
        tones = rows[:, : OWN + 1] > 1
        assert torch.equal(moved[:, : OWN + 1][~tones], rows[:, : OWN + 1][~tones])
        away |= set((moved - rows)[:, : OWN + 1][tones].tolist())
        assert len(set((moved - rows)[:, : OWN + 1][tones].tolist())) == 1
    assert away == set(range(-5, 7))


def test_a_temperature_sharpens_the_chances_that_are_drawn_from():
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log().expand(3, 3)
    chance = torch.tensor([0.1, 0.6, 0.9])
    assert drawn(logits, 1.0, chance).tolist() == [0, 1, 2]
    assert drawn(logits, 0.5, chance).tolist() == [0, 0, 2]  # 0.66, 0.24, 0.11
    assert drawn(logits, 0, chance).tolist() == [0, 0, 0]


def test_copies_are_those_of_training_pieces_alone(cases):
    data = replace(cases.only(range(3)), input=ListColumn([chorale(1), chorale(2), chorale(3)]))
    split = type("Split", (), {"train": torch.tensor([0, 1]), "test": torch.tensor([2])})
    [step] = registry.load_task("compose").setup(data, split, None)
    learnt, unseen = (step.result.runs.longest(written_words(data.input[row])) for row in (1, 2))
    assert learnt == 64 > 2 * unseen


def test_a_piece_follows_from_its_seed_in_any_batch(transformer, cases):
    wanted = [p._replace(grid=torch.zeros_like(p.grid)) for p in cases.input[:3]]
    wanted[1] = wanted[1]._replace(grid=wanted[1].grid[:16])
    known = [torch.zeros_like(piece.grid, dtype=torch.bool) for piece in wanted]
    together = transformer.write(wanted, known, 1.0, [(7, 0), (7, 1), (7, 2)])
    [alone] = transformer.write(wanted[1:2], known[1:2], 1.0, [(7, 1)])
    assert torch.equal(together[1], alone) and not torch.equal(together[0], together[2])
    assert (alone[0] > 0).all()  # nothing goes on before anything has begun


@pytest.mark.parametrize("name", ["music_transformer", "ngram_voices"])
def test_what_was_given_is_kept_note_for_note(name, cases):
    system = system_of(name, cases, steps=2)
    triplets = [Note(0, k / 3, 1 / 3, 100 + k % 3) for k in range(12)]  # between the sixteenths
    lowered, known, moved = asked(Score(triplets, ["melody"]), 8, system.spec)
    assert moved < 0 and known[:, 0].all() and not known[:, 1:].any()
    assert lowered.grid[:, 0].max() <= system.spec.high[0] + 6  # where training pieces were moved
    told = system.predict(Score(triplets, ["melody"], 72.0), seed=1)
    assert [n for n, was in zip(told.tones, told.given, strict=True) if was] == triplets
    assert {note.part for note in told.tones} == {0, 1, 2, 3} and told.tempo == 72.0
    again = system.predict(Score(triplets, ["melody"], 72.0), seed=1)
    assert again.tones == told.tones
    assert system.predict(Score(triplets, ["melody"]), seed=2).tones != told.tones

    piece = Score.of(voices.notation(cases.input[0]))
    on = system.predict(piece, bars=2)
    assert [n for n, was in zip(on.tones, on.given, strict=True) if was] == list(piece.tones)
    assert on.bars == 4 and min(n.start for n, w in zip(on.tones, on.given, strict=True) if not w) >= 8
    new = system.predict(Score(), bars=3)
    assert new.bars <= 3 and new.quarters <= 12 and not any(new.given)


def test_more_parts_than_voices_are_chosen_from_and_fewer_are_completed():
    lengths = (1.0, 4.0, 3.0, 2.0, 1.5)
    five = Score([Note(k, 0.0, length, 40 + 5 * k) for k, length in enumerate(lengths)], list("abcde"))
    kept, remark = only_parts(five, "")  # those that sound longest
    assert [note.part for note in kept.tones] == [1, 2, 3, 4] and "parts 1 a were left out" in remark
    two, remark = only_parts(five, "1, 5")
    assert [note.part for note in two.tones] == [0, 4] and "2 b, 3 c, 4 d" in remark
    _piece, known, _moved = asked(two, 8, Spec())
    assert known.any(0).tolist() == [True, False, False, True]  # outer voices
    assert only_parts(two, "") == (two, "")
    for numbers in ("1,9", "x", "1,2,3,4,5"):
        with pytest.raises(UserError, match="parts=") as refused:
            only_parts(five, numbers)
        assert refused.value.code == "voices" and "2 b" in refused.value.expected


def test_what_was_left_out_of_a_score_is_told():
    assert str(Score([Note(0, 0.0, 1.0, 60)], ["a"], remark="parts 2 b were left out")).endswith(
        "; parts 2 b were left out"
    )


def test_scores_that_are_no_melody_and_no_piece_are_refused(transformer):
    wide = Score([Note(0, 0.0, 1.0, 30), Note(0, 1.0, 1.0, 100)], ["a"])
    long = Score([Note(0, 4.0 * k, 4.0, 60) for k in range(300)], ["a"], 500.0)
    for score, code in ((wide, "reach"), (long, "too long")):
        with pytest.raises(UserError) as refused:
            transformer.predict(score)
        assert refused.value.code == code and refused.value.expected and refused.value.exit == 3


def test_a_run_writes_marked_files_and_a_report_with_its_rivals(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = ["train", "ngram_voices", f"data={folder}", "name=ng", "budget=2s", "project=."]
    assert main.run(told) == 0
    report = (tmp_path / "compose" / "ng" / "report.html").read_text(encoding="utf-8")
    assert "voices of different test pieces put together" in report and "<audio" in report
    assert main.run(["predict", "compose/ng", "bars=2", "seed=5"]) == 0
    [saved] = (tmp_path / "compose" / "ng").glob("answers*/new.mid")
    for end in (".mid", ".wav", ".png"):
        mark = provenance.read(saved.with_suffix(end))
        assert mark and mark.seed == 5 and mark.settings["bars"] == 2
    score = saved.with_suffix(".musicxml").read_text(encoding="utf-8")
    assert json.dumps(mark.as_json()) in score.replace("&quot;", '"')
    assert Score.read(saved.with_suffix(".musicxml")).tones == Score.read(saved).tones


def test_what_was_composed_is_composed_again_from_its_mark(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    told = ["train", "ngram_voices", f"data={folder}", "name=ng", "budget=2s"]
    assert main.run(told) == 0
    Score([Note(0, float(k), 1.0, 67 + k) for k in range(4)], ["melody"]).save(tmp_path / "m.mid")
    asked = ["runs/compose/ng", "m.mid", "seed=5", "temperature=0.5"]
    assert main.run(["predict", *asked, "out=first"]) == 0
    assert main.run(["generate", "--like", "first/m.mid", "out=again"]) == 0
    first, again = (Score.read(tmp_path / place / "m.mid") for place in ("first", "again"))
    assert again.tones == first.tones
    assert main.run(["generate", "--like", "first/m.mid", "seed=6", "out=other"]) == 0
    assert Score.read(tmp_path / "other" / "m.mid").tones != first.tones
    (tmp_path / "m.mid").unlink()
    capsys.readouterr()
    assert main.run(["generate", "--like", "first/m.mid"]) == 3
    assert "given=m.mid" in capsys.readouterr().err


def test_only_sizes_that_fit_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(notation, "MOST_PARTS", 1)
    monkeypatch.setattr(midi, "MOST_PARTS", 1)
    assert trouble(tmp_path / "a.mid", midi.write(tune().notation)).code == "too large"


def test_a_window_is_drawn_at_every_sixteenth_by_the_generator():
    piece = torch.arange(20).reshape(20, 1)
    drawn = [
        compose_task._window(piece, 12, torch.Generator().manual_seed(seed))[0].item()
        for seed in (*range(20), *range(20))
    ]
    assert drawn[:20] == drawn[20:] and set(drawn) == {0, 4, 8}
