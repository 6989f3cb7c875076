"""Sound files of many formats, resampled block by block; spectrograms; transcripts."""

import io
import json
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy import signal

from souron.data import recordings
from souron.data.log_mel import RATE, filters, log_mel
from souron.kinds.codecs import audio, limits
from souron.kinds.sound import Sound
from souron.kinds.transcript import Piece, Transcript
from souron.serve.uploads import Upload
from souron.utils.messages import UserError


def chord(seconds=1.0, rate=44_100, channels=2):
    time = np.arange(int(seconds * rate)) / rate
    tones = [0.4 * np.sin(2 * np.pi * 300 * (k + 1) * time) for k in range(channels)]
    return np.stack(tones, 1).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg"])
def test_files_of_each_format_hold_the_same_sound(suffix, tmp_path):
    path = tmp_path / f"音{suffix}"
    soundfile.write(path, chord(), 44_100)
    read = Sound.read(path)
    assert read.rate == 44_100 and read.samples.shape[1] == 2 and read.file == str(path)
    assert abs(read.seconds - 1) < 0.1  # MP3 begins with silence
    power = np.abs(np.fft.rfft(read.samples[:44_000, 0]))
    assert power.argmax() * 44_100 / 44_000 == pytest.approx(300, abs=1.5)
    mixed = Sound.read(path, rate=RATE)
    assert mixed.rate == RATE and mixed.samples.shape[1] == 1
    assert mixed.seconds == pytest.approx(read.seconds, abs=1e-3)
    uploaded = Sound.read(Upload(path.name, path.read_bytes()), rate=RATE)
    assert np.array_equal(uploaded.samples, mixed.samples)


@pytest.mark.parametrize("before", [8_000, 11_025, 22_050, 44_100, 48_000, 15_999, 16_000])
def test_blocks_are_resampled_as_the_whole_would_be(before, monkeypatch):
    monkeypatch.setattr(audio, "BLOCK", 1)
    samples = np.random.default_rng(0).normal(0, 0.1, before * 3 + 17).astype(np.float32)
    parts = np.array_split(samples, 7)
    made = np.concatenate([*audio.resampled(parts, before, RATE)])
    shared = np.gcd(before, RATE)
    right = signal.resample_poly(samples, RATE // shared, before // shared)
    assert made.shape == right.shape
    assert np.abs(made - right).max() < 1e-6


def test_what_the_new_rate_cannot_hold_is_removed():
    time = np.arange(48_000) / 48_000
    made = Sound(np.sin(2 * np.pi * 11_000 * time), 48_000).at(RATE)
    kept = Sound(np.sin(2 * np.pi * 1_000 * time), 48_000).at(RATE)
    assert np.abs(made[200:-200]).max() < 0.01 < 0.99 < np.abs(kept[200:-200]).max()


def test_hours_need_no_more_memory_than_their_blocks(tmp_path, monkeypatch):
    """Three hours of 2 kHz stereo: never are more than a few blocks of it in memory."""
    path, hours = tmp_path / "long.wav", 3
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(1)
        file.setframerate(2_000)
        minute = bytes([128, 160]) * 2_000 * 60
        for _minute in range(60 * hours):
            file.writeframesraw(minute)
    largest = []
    real = soundfile.SoundFile.read

    def read(self, frames=-1, *args, **how):
        block = real(self, frames, *args, **how)
        largest.append(block.nbytes)
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    monkeypatch.setattr(audio, "MOST_VALUES", hours * 3600 * 2_000)
    made = audio.mono(path, 2_000)
    assert len(made) == hours * 3600 * 2_000
    assert made[:5] == pytest.approx(np.full(5, 0.125), abs=1e-6)  # the mean of both channels
    assert max(largest) <= audio.BLOCK * 2_000 * 2 * 4
    monkeypatch.setattr(audio, "MOST_VALUES", hours * 3600 * 2_000 - 1)
    with pytest.raises(UserError) as trouble:
        audio.mono(path, 2_000)
    assert trouble.value.code == "too large"


def test_a_small_file_of_endless_silence_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "MOST_VALUES", 100_000)
    soundfile.write(tmp_path / "a.flac", np.zeros((200_000, 1)), 8_000)
    assert (tmp_path / "a.flac").stat().st_size < 2_000
    for how in ({}, {"rate": 8_000}):
        with pytest.raises(UserError) as trouble:
            Sound.read(tmp_path / "a.flac", **how)
        assert trouble.value.code == "too large"


def test_a_rate_that_no_sound_has_is_refused_before_it_is_resampled(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((1_000, 1)), 1)
    for how in ({}, {"rate": RATE}):
        with pytest.raises(UserError, match="1 samples a second") as trouble:
            Sound.read(tmp_path / "a.wav", **how)
        assert trouble.value.code == "unreadable" and "500 to" in trouble.value.expected


def test_nothing_and_almost_nothing(tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 2)), 8_000)
    for how in ({}, {"rate": RATE}):
        with pytest.raises(UserError) as trouble:
            Sound.read(tmp_path / "none.wav", **how)
        assert trouble.value.code == "numbers" and trouble.value.exit == 3
    soundfile.write(tmp_path / "one.wav", np.full((1, 2), 0.5), 8_000)
    assert len(Sound.read(tmp_path / "one.wav", rate=RATE).samples) == 2


@pytest.mark.parametrize(
    "name, cut, code", [("a.flac", 0.5, "unreadable"), ("a.flac", 0.99, "unreadable"), ("a.wav", 0.5, "truncated")]
)
def test_files_that_are_cut_short_are_refused(name, cut, code, tmp_path):
    soundfile.write(tmp_path / name, chord(3.0), 44_100)
    raw = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(raw[: int(len(raw) * cut)])
    for how in ({}, {"rate": RATE}):
        with pytest.raises(UserError) as trouble:
            Sound.read(tmp_path / name, **how)
        assert trouble.value.code == code


@pytest.mark.parametrize("suffix", [".flac", ".mp3", ".ogg"])
def test_damaged_bytes_end_in_sound_or_in_trouble(suffix, tmp_path):
    random = np.random.default_rng(0)
    stream = io.BytesIO()
    soundfile.write(stream, chord(0.3), 44_100, format=suffix[1:].upper())
    path = tmp_path / f"a{suffix}"
    for _trial in range(40):
        raw = bytearray(stream.getvalue())
        for place in random.integers(0, len(raw), 6).tolist():
            raw[place] = int(random.integers(256))
        path.write_bytes(raw)
        try:
            assert np.isfinite(Sound.read(path, rate=RATE).samples).all()
        except UserError as trouble:
            assert trouble.code in {"unreadable", "not a sound", "truncated", "numbers"}


def test_a_large_file_is_only_read_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MOST_BYTES", 1_000)
    soundfile.write(tmp_path / "a.wav", chord(0.2), 44_100)
    monkeypatch.setattr(audio.opened.__wrapped__, "__defaults__", (1_000,))
    with pytest.raises(UserError) as trouble:
        Sound.read(tmp_path / "a.wav")
    assert trouble.value.code == "too large"
    assert Sound.read(tmp_path / "a.wav", rate=RATE).seconds == pytest.approx(0.2, abs=1e-3)


# spectrograms


@pytest.mark.parametrize("bands", [80, 128])
def test_spectrograms_equal_those_of_whisper(bands):
    """The feature extractor of the transformers library, in float32: rounding of its own order."""
    transformers = pytest.importorskip("transformers")
    extractor = transformers.WhisperFeatureExtractor(feature_size=bands)
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(30 * RATE, generator=generator) * 0.1
    samples[12 * RATE :] = 0  # a pause, which the loudest place scales
    right = extractor(samples.numpy(), sampling_rate=RATE, return_tensors="pt").input_features[0]
    assert log_mel(samples, bands).shape == right.shape == (bands, 3000)
    torch.testing.assert_close(log_mel(samples, bands), right, atol=2e-5, rtol=0)
    known = torch.from_numpy(extractor.mel_filters.T).float()
    torch.testing.assert_close(filters(bands), known, atol=1e-7, rtol=0)


def test_a_tone_lights_the_band_of_its_pitch():
    time = torch.arange(RATE) / RATE
    bands = [int(log_mel(torch.sin(2 * np.pi * hertz * time)).mean(1).argmax()) for hertz in (200, 1000, 4000)]
    centres = filters(80).argmax(1) * RATE / 400
    assert [float(centres[band]) for band in bands] == pytest.approx([200, 1000, 4000], rel=0.12)


def test_windows_are_cut_where_it_is_quiet():
    wave = torch.randn(5 * RATE, generator=torch.Generator().manual_seed(0)) * 0.1
    wave[int(1.7 * RATE) : int(1.9 * RATE)] = 0
    parts = list(recordings.windows(wave, 2.0))
    assert torch.equal(torch.cat([part for _start, part in parts]), wave)
    assert all(len(part) <= 2 * RATE for _start, part in parts)
    assert 1.69 <= parts[1][0] <= 1.9


# transcripts

SAID = Transcript([Piece(0.0, 1.25, "Good --> bye."), Piece(1.25, 3661.5, "a\n\nb")], "en", 3700)


def test_subtitles_are_read_by_other_programs(tmp_path):
    SAID.save(tmp_path / "a.srt")
    first, second = (tmp_path / "a.srt").read_text("utf-8").strip().split("\n\n")
    assert first == "1\n00:00:00,000 --> 00:00:01,250\nGood → bye."
    assert second == "2\n00:00:01,250 --> 01:01:01,500\na b"
    SAID.save(tmp_path / "a.vtt")
    told = (tmp_path / "a.vtt").read_text("utf-8")
    assert told.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.250\n") and "1\n00" not in told
    SAID.save(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["pieces"][1]["start"] == 1.25


def test_a_transcript_is_saved_where_its_form_is_named():
    assert not SAID.kept and SAID.suffix == ".txt"
    subtitles = Transcript(SAID.pieces, form="srt")
    assert subtitles.kept and subtitles.suffix == ".srt"
    assert Transcript([Piece(0, 1, "水を"), Piece(1, 2, "飲む")], "ja").text == "水を飲む"
    assert Transcript([Piece(0, 1, "one"), Piece(1, 2, "two")], "en").text == "one two"


@pytest.mark.parametrize(
    "pieces",
    [
        [Piece(2, 1, "a")],
        [Piece(-1, 1, "a")],
        [Piece(1, 2, "a"), Piece(0, 3, "b")],
        [Piece(0, float("nan"), "a")],
        [Piece(0, float("inf"), "a")],
    ],
)
def test_times_are_in_order(pieces):
    with pytest.raises(UserError) as trouble:
        Transcript(pieces)
    assert trouble.value.code == "numbers"


def test_an_upload_is_read_as_a_file_is(tmp_path):
    soundfile.write(tmp_path / "a.wav", chord(0.2), 44_100)
    read = Sound.read(Upload("a.wav", (tmp_path / "a.wav").read_bytes()))
    assert np.array_equal(read.samples, Sound.read(Path(tmp_path / "a.wav")).samples)
