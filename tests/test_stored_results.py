"""Studies print and write what they did: the keys and figures of stored results, in their files."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import test_audit_generated as generators
import test_skill
import test_watching
from PIL import Image
from test_exams import EDICT

from souron.cli import main
from souron.cli.console import screen
from souron.hub import zoo
from souron.kinds.volume import Volume
from souron.report import viewer

STORED = Path(__file__).parent / "stored"


def shape(thing):
    """The keys of a JSON value; of lists those of the first entry."""
    if isinstance(thing, dict):
        return {key: shape(value) for key, value in thing.items()}
    return [shape(thing[0])] if isinstance(thing, list) and thing else None


def test_an_exam_writes_the_keys_of_a_stored_one(tmp_path, monkeypatch, capsys):
    (tmp_path / "data" / "terms").mkdir(parents=True)
    (tmp_path / "data" / "terms" / "edict.utf8").write_text(EDICT, encoding="utf-8")
    monkeypatch.setenv("SOURON_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    stored = json.loads((STORED / "exam/nearest-terms-3/exam.json").read_text("utf-8"))
    assert main.run(["exam", "nearest", "data=terms", "seed=3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    written = json.loads(Path("runs/exam/nearest-terms-3/exam.json").read_text("utf-8"))
    assert shape(written) == shape(stored) and stored.keys() <= told.keys()
    for name in ("model", "data", "seed", "n", "chance", "report", "overlap"):
        assert written[name] == stored[name] == told[name]


def test_an_audit_writes_the_keys_of_a_stored_one(tmp_path, monkeypatch, capsys):
    makers = {"real": generators.photos, "a": generators.striped, "b": generators.blurred}
    for (name, make), count in zip(makers.items(), (60, 30, 29), strict=True):
        (tmp_path / name).mkdir()
        for number, pixels in enumerate(make(count, list(makers).index(name))):
            Image.fromarray(pixels[0].numpy()).save(tmp_path / name / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    stored = json.loads((STORED / "audit/generated-real/audit.json").read_text("utf-8"))
    assert main.run(["generated", "real", "a", "drawn=b", "n=30", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    written = json.loads(Path("runs/audit/generated-real/audit.json").read_text("utf-8"))
    assert shape(written) == shape(stored)
    assert told.keys() == {*stored, "sentence", "page"}
    for name in ("real", "real_pictures", "drawn_pictures", "side", "quality", "seed", "skipped"):
        assert written[name] == stored[name] == told[name]


def test_skill_prints_the_keys_and_figures_of_a_stored_result(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(test_skill.write_tables(tmp_path))
    stored = json.loads((STORED / "skill/scores/skill.json").read_text("utf-8"))
    assert main.run(["skill", "scores.csv", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {*stored, "sentence"} and not (tmp_path / "runs").exists()
    assert shape({name: told[name] for name in stored}) == shape(stored)
    for name in ("error", "constant", "gain"):
        assert told[name] == pytest.approx(stored[name])
    for name, one in stored["correlations"].items():
        assert told["correlations"][name] == pytest.approx(one)


def test_a_surface_has_the_files_and_keys_of_a_stored_one(tmp_path, monkeypatch, capsys, each_drawn):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(viewer, "SIDE", 60)
    values = np.full((20, 20, 20), -1000, np.int16)
    values[2:10, 2:10, 2:10] = values[13:17, 13:17, 13:17] = 1000
    Volume(values, np.eye(4)).save(tmp_path / "a.nii.gz")
    place = STORED / "surface/a"
    stored = json.loads((place / "surface.json").read_text("utf-8"))
    assert main.run(["surface", "a.nii.gz", "level=0", "faces=60", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {*stored, "sentence", "page"}
    assert shape({name: told[name] for name in stored}) == shape(stored)
    for name in ("volume", "level", "part", "parts", "open_edges", "notes", "files"):
        assert told[name] == stored[name]
    assert told["millilitres"] == pytest.approx(stored["millilitres"])
    written = Path("runs/surface/a")
    assert {file.name for file in place.iterdir()} <= {file.name for file in written.iterdir()}
    kept = json.loads((written / "surface.json").read_text("utf-8"))
    assert kept.keys() == stored.keys()
    for language in ("surface.html", "surface.ja.html"):
        assert "niivue" in (written / language).read_text("utf-8").lower()


@pytest.mark.skipif(zoo.where("gpt") is None, reason="the ready-trained systems are not installed")
@pytest.mark.parametrize(("words", "name"), [(["the 歯"], "tokens"), (["the 歯", "a"], "tokens2")])
def test_tokens_are_printed_as_stored(words, name, capsys):
    stored = json.loads((STORED / f"tokens/{name}.json").read_text("utf-8"))
    assert main.run(["tokens", *words, "gpt", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    texts = (
        [(told, stored)]
        if len(words) == 1
        else [(one["tokens"], other["tokens"]) for one, other in zip(told, stored, strict=True)]
    )
    for ours, theirs in texts:
        for one, other in zip(ours, theirs, strict=True):
            assert one.keys() == other.keys()
            assert one == {**other, "bits": pytest.approx(other["bits"], abs=0.1)}


def test_a_stored_file_of_votes_has_the_result_that_it_had(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(STORED / "arena", tmp_path / "runs" / "arena")
    stored = json.loads((STORED / "arena/q.json").read_text("utf-8"))
    assert main.run(["arena", "--results", "runs/arena/q.jsonl", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {*stored, "sentence"}
    for name, value in stored.items():
        if name in ("models", "verdicts"):
            assert [*map(pytest.approx, value)] == told[name]
        else:
            assert told[name] == value


def test_a_video_has_the_files_and_keys_of_a_stored_one(tmp_path, monkeypatch, capsys, each_drawn):
    pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(screen, "json", True)
    place = STORED / "watch/clip"
    stored = json.loads((place / "watch.json").read_text("utf-8"))
    clip = test_watching.film(tmp_path / "clip.mp4")
    test_watching.told_of(test_watching.model(), clip, tmp_path / "out")
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert shape(told) == shape(stored)
    for name in ("rate", "frames", "dropped", "cuts", "unit"):
        assert told[name] == stored[name]
    assert told["tracks"] == [pytest.approx(one) for one in stored["tracks"]]
    for name in ("tracks.csv", "motion.csv"):
        ours, theirs = (
            list(csv.reader((folder / name).read_text(encoding="utf-8").splitlines()))
            for folder in (tmp_path / "out", place)
        )
        assert ours[0] == theirs[0] and len(ours) == len(theirs)
