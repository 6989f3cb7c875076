"""Own recordings, from the files to the figures: formats, speakers, checks, commands and pages."""

import asyncio
import json
from collections import Counter
from dataclasses import replace

import httpx
import numpy as np
import pytest
import soundfile
import torch
from shapes import uttered

from souron import model as models_api
from souron.cli import main
from souron.data import load, patients, recordings, splits
from souron.data.composing import speech
from souron.data.formats import recordings as own_format
from souron.data.log_mel import RATE
from souron.data.recordings import Recording
from souron.data.sets import synthetic_digits
from souron.kinds.sound import Sound
from souron.kinds.transcript import Transcript
from souron.pipelines.pipeline import pipeline
from souron.report import report
from souron.runs import evaluate, train
from souron.serve import access
from souron.serve.api import Gate
from souron.serve.service import Service
from souron.serve.uploads import Limits
from souron.studio import answers, kept_answers
from souron.studio.forms import widgets
from souron.utils.messages import UserError


def write(folder, count=40, rate=16_000, suffix=".wav"):
    """Recordings of tones with a table of file, text and speaker."""
    cases = uttered(count)
    lines = ["file,text,speaker"]
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(count):
        name = f"{row:04d}{suffix}"
        soundfile.write(folder / name, cases.input[row].samples.numpy(), rate)
        lines.append(f"{name},{cases.target[row]},{cases.group[row]}")
    (folder / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    return cases


def read(path, **how):
    return load.load(path, formats=("recordings",), target="transcripts", **how)


def test_a_table_names_files_texts_and_speakers(tmp_path):
    cases = write(tmp_path)
    found = read(tmp_path)
    assert list(found.target) == list(cases.target) and found.group == cases.group
    assert recordings.holds(found) and len(found) == 40
    for mine, theirs in zip(found.input, cases.input, strict=True):
        assert (mine.wave.int() - theirs.wave.int()).abs().max() <= 1
    assert found.columns["language"][:2] == ["en", "ja"]
    parts = splits.split(replace(found, target=torch.zeros(40, dtype=torch.long), classes=("any",)), seed=0)
    speakers = [{found.group[row] for row in rows} for rows in (parts.train, parts.test)]
    assert not speakers[0] & speakers[1]  # no speaker on both sides
    assert "speakers" in patients.about(found)


def test_texts_may_stand_beside_or_in_lines_or_be_named_as_elsewhere(tmp_path):
    cases = write(tmp_path / "a", 6)
    (tmp_path / "a" / "metadata.csv").unlink()
    for row in range(6):
        place = tmp_path / "beside" / ("train" if row < 4 else "test")
        place.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / f"{row:04d}.wav").rename(place / f"{row:04d}.wav")
        (place / f"{row:04d}.txt").write_text(cases.target[row], encoding="utf-8")
    found = read(tmp_path / "beside")
    assert Counter(found.part) == {"train": 4, "test": 2} and found.group == []
    # LibriSpeech: speaker / chapter / files with a list of lines
    for speaker in ("84", "174"):
        place = tmp_path / "libri" / speaker / "1"
        place.mkdir(parents=True)
        soundfile.write(place / f"{speaker}-1-0000.flac", cases.input[0].samples.numpy(), RATE)
        (place / f"{speaker}-1.trans.txt").write_text(f"{speaker}-1-0000 HIGH LOW\n")
    found = read(tmp_path / "libri")
    assert sorted(found.group) == ["174", "84"] and list(found.target) == ["HIGH LOW"] * 2
    # Common Voice: several tables, of which those of the parts count; files in clips/
    place = tmp_path / "cv" / "clips"
    place.mkdir(parents=True)
    for row in range(4):
        soundfile.write(place / f"{row}.mp3", cases.input[row].samples.numpy(), RATE)
    head = "client_id\tpath\tsentence\n"
    for name, rows in (("train", (0, 1)), ("dev", (2,)), ("test", (3,)), ("invalidated", (0,))):
        lines = [f"s{row}\t{row}.mp3\t{cases.target[row]}" for row in rows]
        (tmp_path / "cv" / f"{name}.tsv").write_text(head + "\n".join(lines), encoding="utf-8")
    found = read(tmp_path / "cv")
    assert sorted(found.part) == ["test", "train", "train", "val"]
    assert sorted(found.group) == ["s0", "s1", "s2", "s3"] and not found.skipped


def test_other_rates_and_channels_come_as_one_channel_at_16_khz(tmp_path):
    stereo = np.stack([np.full(8_000, 0.5), np.full(8_000, -0.1)], 1)
    soundfile.write(tmp_path / "a.wav", stereo, 8_000)
    (tmp_path / "a.txt").write_text("hello")
    [found] = read(tmp_path).input
    assert len(found.wave) == RATE and found.seconds == 1.0
    assert found.samples[4000:12000].mean().item() == pytest.approx(0.2, abs=1e-3)


def test_what_cannot_be_used_is_told_and_nothing_leads_out_of_the_folder(tmp_path):
    write(tmp_path / "in", 5)
    soundfile.write(tmp_path / "secret.wav", np.zeros(8_000), RATE)
    place = tmp_path / "in"
    soundfile.write(place / "long.wav", np.zeros(RATE * 31), RATE)
    soundfile.write(place / "short.wav", np.zeros(100), RATE)
    (place / "broken.flac").write_bytes(b"fLaC" + bytes(90))
    (place / "empty.wav").touch()
    rows = [
        "../secret.wav,out",
        "gone.wav,x",
        "long.wav,x",
        "short.wav,x",
        "broken.flac,x",
        "empty.wav,x",
        "0001.wav,twice",
        "0002.wav,",
        "/etc/passwd,x",
        ",x",
    ]
    with (place / "metadata.csv").open("a") as file:
        file.write("\n" + "\n".join(rows))
    found = read(place)
    codes = {skip.file: skip.code for skip in found.skipped}
    assert len(found) == 5 and len(codes) == 10
    assert codes["../secret.wav"] == "outside" and codes["gone.wav"] == "missing"
    assert codes["long.wav"] == codes["short.wav"] == "length"
    assert codes["empty.wav"] == "empty file" and codes["broken.flac"] in {"unreadable", "not a sound", "truncated"}
    assert codes["/etc/passwd"] in ("outside", "not a sound")
    assert {codes[f"metadata.csv:{line}"] for line in (13, 14, 16)} == {"duplicate", "empty", "missing"}
    (tmp_path / "nothing").mkdir()
    soundfile.write(tmp_path / "nothing" / "a.wav", np.zeros(8_000), RATE)
    assert not own_format.describes(tmp_path / "nothing")
    (tmp_path / "nothing" / "a.txt").write_text("...")
    with pytest.raises(UserError) as trouble:
        read(tmp_path / "nothing")
    assert trouble.value.code == "no recordings" and trouble.value.exit == 3


def test_a_tables_group_may_be_wished_otherwise(tmp_path):
    write(tmp_path, 10)
    assert read(tmp_path, group="none").group == []
    assert set(read(tmp_path, group=r"^(\d{3})").group) == {"000"}


def test_texts_and_pictures_are_not_taken_for_recordings(tmp_path):
    (tmp_path / "a.csv").write_text("file,text\na.png,hello\n")
    (tmp_path / "b.csv").write_text("text,label\nhello,1\n")
    assert own_format.describes(tmp_path / "a.csv")  # it names files with texts: they say
    assert not own_format.describes(tmp_path / "b.csv")
    assert not own_format.describes(tmp_path / "nowhere")


def test_too_much_sound_is_left_out(tmp_path, monkeypatch):
    write(tmp_path, 10)
    monkeypatch.setattr(own_format, "MOST_FILES", 4)
    found = read(tmp_path)
    assert len(found) == 4 and {skip.code for skip in found.skipped} == {"too many"}


# synthetic digits


def test_digits_are_spoken_by_voices_that_stay_in_one_part():
    assert set(speech.WORDS) == {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
    parts = [synthetic_digits.part_of(number) for number in range(synthetic_digits.VOICES)]
    assert Counter(parts) == {"train": 32, "val": 6, "test": 10}
    known = set(speech.VOWELS) | set(speech.CONSONANTS)
    assert {sound for word in speech.WORDS.values() for sound in word.split()} <= known


def test_vowels_have_their_formants():
    """The loudest place of a man's "i" and "ɑ" between 1 and 3 kHz is near the second formant."""
    man = speech.Voice(0, 1, 1, 3.0, 0.0)
    for word, vowel in (("three", "i"), ("two", "u")):
        wave = speech.spoken([word], man, np.random.default_rng(0))
        last = wave[int(0.55 * len(wave)) : int(0.72 * len(wave))]
        power = np.abs(np.fft.rfft(last * np.hanning(len(last)), 16_000)) ** 2
        low, high = speech.VOWELS[vowel][0][1:3]
        first = power[150:600].argmax() + 150
        assert first == pytest.approx(low, abs=140)
        if vowel == "i":
            assert power[1800:2800].argmax() + 1800 == pytest.approx(high, abs=150)
            assert power[1800:2800].sum() > 10 * power[800:1500].sum()


def test_a_voice_says_the_same_word_differently_each_time():
    random = np.random.default_rng(0)
    voice = speech.voice(random)
    first, second = (speech.spoken(["six"], voice, random) for _time in range(2))
    assert len(first) != len(second) or not np.allclose(first, second)
    again = np.random.default_rng(3)
    assert np.array_equal(speech.spoken(["six"], voice, again), speech.spoken(["six"], voice, np.random.default_rng(3)))
    assert np.abs(first).max() <= 1 and first.dtype == np.float32


# commands and pages


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on own recordings."""
    place = tmp_path_factory.mktemp("speech")
    write(place / "talks", 60)
    record = train.train("ctc_tiny", str(place / "talks"), budget="6ep", project=str(place / "runs"))
    return record, place


def test_a_run_is_trained_reported_and_measured_again(run, capsys):
    record = run[0]
    assert {"word error rate", "character error rate"} <= set(record.measures)
    folder = record.folder
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "data:audio/wav;base64," in text and text.count("data:image/png;base64,") >= 3
    assert "<h2" in text and "synthetic" not in text
    japanese = (folder / "report.ja.html").read_text(encoding="utf-8")
    assert "単語誤り率" in japanese and "文字誤り率" in japanese
    table = (folder / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert table[0].startswith("file,word errors,words,character errors")
    again = evaluate.evaluate(folder, None)
    assert again["word error rate"].value == pytest.approx(record.measures["word error rate"].value)
    assert main.run(["val", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"en", "ja"} == set(told["by_language"])


def test_files_are_transcribed_on_the_command_line(run, capsys, tmp_path, monkeypatch):
    record, place = run
    monkeypatch.chdir(tmp_path)
    file = place / "talks" / "0000.wav"
    assert main.run(["predict", str(record.folder), str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"text", "language", "seconds", "pieces"} <= set(told) and "saved" not in told
    assert main.run(["predict", str(record.folder), str(file), "to=srt", "out=there"]) == 0
    shown = capsys.readouterr().out
    saved = tmp_path / "there" / "0000.srt"
    assert saved.exists() and str(saved.name) in shown
    assert main.run(["predict", str(record.folder), str(file), "to=doc"]) == 2
    assert "srt" in capsys.readouterr().err


def test_a_sound_without_a_systems_name_asks_for_whisper(run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    assert main.run(["predict", str(run[1] / "talks" / "0000.wav")]) == 4
    assert "souron fetch whisper_base" in capsys.readouterr().err


def test_two_systems_are_compared_fairly(run, tmp_path, capsys):
    place = run[1]
    assert (
        main.run(
            [
                "compare",
                "ctc_tiny",
                "whisper_tiny",
                f"data={place / 'talks'}",
                "budget=1ep",
                "seeds=2",
                f"project={tmp_path}",
                "--json",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert "word error rate" in json.dumps(told)


def test_data_are_shown_and_checked(tmp_path, capsys):
    talks = tmp_path / "talks"
    write(talks, 30)
    soundfile.write(talks / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(talks / "loud.wav", np.sign(np.sin(np.arange(RATE) / 9)), RATE)
    first = soundfile.read(talks / "0000.wav")[0]
    soundfile.write(talks / "copy.wav", first, RATE)
    with (talks / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write("\nsilent.wav,low mid,s\nloud.wav,low mid,s\ncopy.wav,another text,s\n")
        file.write(f"missing.wav,{'low mid high ' * 30},s\n")
    assert main.run(["data", "check", str(talks), "task=transcribe", "--json"]) == 3
    codes = {each["code"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
    assert codes["silence"]["files"] == ["silent.wav"]
    assert codes["clipping"]["files"] == ["loud.wav"]
    assert set(codes["label conflict"]["files"]) == {"0000.wav", "copy.wav"}
    assert codes["missing"]["files"] == ["missing.wav"]
    page = report.data_page(read(talks), tmp_path / "page")
    text = page.read_text(encoding="utf-8")
    assert text.count("<audio") == 4 and "silent.wav" not in text.partition("<h2")[0]
    assert main.run(["data", str(talks), "task=transcribe", f"project={tmp_path}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seconds"] > 10 and told["cases"] == 33


def test_a_sound_is_transcribed_over_http(run):
    record, place = run
    service = Service(models_api.load(record.folder), Limits())
    app = Gate(service, access.Door(8000, programs=True))

    async def once():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as to:
            content = (place / "talks" / "0001.wav").read_bytes()
            return await to.post("/predict?to=srt", files={"file": ("a.wav", content)})

    try:
        answer = asyncio.run(once())
    finally:
        service.close()
    assert answer.status_code == 200, answer.text
    [told] = answer.json()
    assert told["file"] == "a.wav" and {"text", "pieces", "content"} <= set(told)


def test_the_pipeline_answers_as_in_transformers(run, tmp_path):
    record, place = run
    hears = pipeline("automatic-speech-recognition", record.folder)
    file = place / "talks" / "0000.wav"
    told = hears(str(file), return_timestamps=True)
    assert set(told) == {"text", "chunks"}
    assert all(len(each["timestamp"]) == 2 for each in told["chunks"])
    wave = Sound.read(file, rate=RATE).samples[:, 0]
    assert hears(wave) == hears({"array": wave, "sampling_rate": RATE}) == {"text": told["text"]}
    assert hears([str(file)]) == [{"text": told["text"]}]
    with pytest.raises(UserError):
        hears("https://example.org/a.wav")


def test_in_the_studio_a_microphone_or_a_file_is_heard(run, tmp_path):
    record, place = run
    model = models_api.load(record.folder)
    fields = widgets.given(model.asked.given)
    assert 'data-do="microphone"' in fields and 'type="file"' in fields
    [one] = answers.answered(model, [place / "talks" / "0000.wav"], {})
    assert isinstance(one.said, Transcript)
    shown = answers.cards([one], 5, False)
    assert "<table" in shown or "<p>" in shown
    files = kept_answers.Kept("x", [one], 1, [], folder=tmp_path).saved()
    assert [file.name for file in files] == ["0000.txt", "0000.srt", "0000.vtt", "0000.json"]


def test_data_without_recordings_are_refused(digits):
    from souron import registry

    with pytest.raises(UserError) as trouble:
        registry.load_task("transcribe").check(digits, None)
    assert trouble.value.fix == "data=synthetic_digits"


def test_a_recording_keeps_sixteen_bits():
    samples = np.array([0.0, 0.5, -1.0, 1.0, 2.0])
    one = recordings.of(samples)
    assert isinstance(one, Recording) and one.wave.dtype == torch.int16
    assert one.wave.tolist() == [0, 16384, -32768, 32767, 32767]
