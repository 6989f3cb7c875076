"""The first tour: short parts, one page; what fails is named, and Ctrl-C keeps what is done."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import souron
from souron import registry
from souron.actions.tour import chapters, highlights, tour
from souron.actions.tour.highlights import Highlight, Part
from souron.cli import console, main
from souron.cli.parsing import options
from souron.hub import fetch, zoo
from souron.report.page import Plot
from souron.runs.events import Event, Interrupted
from souron.utils.messages import UserError, use_language

IMAGE = Plot("data:image/png;base64,AAAA", "a <cat>", 320)


def quick(project):
    yield Event("answer")
    yield Event("done", 1.0, record=Highlight(("a <b>result</b>",), (IMAGE,), "small", "souron x"))


def longer(project):
    page = project / "more" / "report.html"
    page.parent.mkdir()
    page.write_text("more")
    yield Event("done", 1.0, record=Highlight(("with a report",), page=page))


def refused(project):
    yield Event("answer")
    raise UserError("ready trained", "not there", fix="pip install souron-zoo")


def broken(project):
    raise ZeroDivisionError("by zero")
    yield


def parts(*runs):
    return tuple(Part(run.__name__, run.__name__, run) for run in runs)


def test_each_part_is_told_as_it_ends_and_the_page_shows_all(tmp_path):
    events = list(tour.touring(tmp_path / "runs", parts(quick, longer)))
    outcomes = [event.record for event in events if hasattr(event.record, "name")]
    assert [one.name for one in outcomes] == ["quick", "longer"]
    last = events[-1].record
    page = last.page.read_text("utf-8")
    assert "a &lt;b&gt;result&lt;/b&gt;" in page and 'alt="a &lt;cat&gt;"' in page
    assert 'href="more/report.html"' in page and "souron studio" in page
    assert last.as_json()["parts"][1]["page"].endswith("report.html")
    assert last.as_json()["sentence"] == "with a report"
    assert last.seconds >= sum(one.seconds for one in outcomes) > 0


def test_what_fails_is_named_and_the_rest_goes_on(tmp_path):
    *_before, last = tour.touring(tmp_path, parts(refused, broken, quick))
    refusal, bug, fine = last.record.as_json()["parts"]
    assert refusal["error"]["try"] == "pip install souron-zoo"
    assert bug["error"] == {"code": "bug", "found": "ZeroDivisionError: by zero", "try": "SOURON_DEBUG=1 souron tour"}
    assert fine["sentences"] == ["a <b>result</b>"]
    page = last.record.page.read_text("utf-8")
    assert "not there" in page and "pip install souron-zoo" in page


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_ctrl_c_keeps_the_finished_parts_on_the_page(tmp_path, where):
    closed = []

    def waits(project):
        try:
            yield Event("answer")
            if where == "inside":
                raise KeyboardInterrupt
            yield Event("answer")
        finally:
            closed.append(True)

    events = tour.touring(tmp_path, parts(quick, waits, quick))
    with pytest.raises(Interrupted) as interrupted:
        for event in events:
            if where == "outside" and event.text.startswith("2/3"):
                events.throw(KeyboardInterrupt())
    assert closed == [True]
    page = (interrupted.value.folder / "tour.html").read_text("utf-8")
    assert page.count("a &lt;b&gt;result") == 1
    assert interrupted.value.command == "souron tour"


def test_two_tours_at_once_have_folders_of_their_own(tmp_path):
    first, second = (tour.touring(tmp_path, parts(quick)) for _number in range(2))
    next(first), next(second)
    pages = {list(events)[-1].record.page for events in (first, second)}
    assert len(pages) == 2 and all(page.exists() for page in pages)


def test_a_project_that_cannot_be_written_is_said_before_anything_runs(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError):
        next(tour.touring(tmp_path / "runs", parts(quick)))


def test_the_command_prints_a_line_a_part_and_where_the_page_is(monkeypatch, capsys):
    monkeypatch.setattr(tour.touring, "__defaults__", ("runs", parts(quick, refused)))
    assert main.run(["tour"]) == 1  # as one part failed
    out, err = capsys.readouterr()
    assert "quick  (" in out and "a <b>result</b>" in out and "runs/tour/tour.html" in out
    assert "souron studio" in out and "[ready trained] not there" in err
    monkeypatch.setattr(tour.touring, "__defaults__", ("runs", parts(quick)))
    assert main.run(["tour", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [part["name"] for part in printed["parts"]] == ["quick"]
    assert Path(printed["page"]).exists() and printed["seconds"] >= 0


def test_the_highlights_are_those_of_the_lecture():
    names = [part.name for part in highlights.PARTS]
    assert names[:4] == ["photograph", "detection", "organs", "verdict"]
    assert names[4:] == ["language", "sources", "generated", "sentence", "race"]
    with use_language("ja"):
        assert all(tour._(part.title) != part.title for part in highlights.PARTS)


@pytest.mark.parametrize("name", ["detection", "organs", "sentence", "language", "generated"])
def test_without_the_ready_trained_systems_a_part_says_what_to_install(monkeypatch, name):
    monkeypatch.setattr(zoo, "root", lambda: None)
    monkeypatch.setattr(fetch, "where", lambda name: None)  # nor what was fetched
    [part] = [part for part in highlights.PARTS if part.name == name]
    with pytest.raises(UserError, match="souron-zoo"):
        list(part.run(Path()))


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_sentence_becomes_an_image_in_the_readers_language(monkeypatch, language, tmp_path):
    monkeypatch.setattr(highlights, "PAINTED", 1)
    with use_language(language):
        *_before, last = highlights.generate(tmp_path)
    assert last.record.sentences == (highlights.PROMPTS[language],)
    assert len(last.record.images) == 1


def test_photographs_are_named_with_published_weights(tmp_path):
    *_before, last = highlights.classify(tmp_path)
    cat, coffee = last.record.sentences
    assert "cat" in cat.partition(":")[2] and "espresso" in coffee
    assert len(last.record.images) == 4


@pytest.mark.parametrize("missing", [None, highlights.CUTTER])
def test_objects_are_found_on_photographs_where_the_starters_are_installed(monkeypatch, missing):
    class Answer:
        def drawn(self):
            return Image.new("RGB", (40, 30))

        def __str__(self):
            return "1 thing"

    monkeypatch.setattr(fetch, "where", lambda name: None if name == missing else Path())
    monkeypatch.setattr(highlights.models_api, "load", lambda name: lambda picture: Answer())
    monkeypatch.setattr(highlights, "detect_in_scenes", lambda: iter(["scenes"]))
    *_before, last = highlights.detect(Path())
    if missing:
        assert last == "scenes"
    else:
        sentences = last.record.sentences
        assert len(sentences) == len(last.record.images) == 4
        assert sentences[0] == "ssd_oid: 1 thing" and sentences[-1] == "u2net: 1 thing"


def test_what_is_cut_out_stands_on_white():
    image = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    image.putpixel((5, 5), (255, 0, 0, 255))
    shown = highlights._on_white(image).convert("RGB")
    assert shown.size == (26, 26) and shown.getpixel((13, 13)) == (255, 0, 0) and shown.getpixel((9, 9)) == (255,) * 3


@pytest.mark.slow
def test_a_table_of_predictions_is_judged(tmp_path):
    *_before, last = highlights.judge(tmp_path)
    assert "logistic regression is better than decision tree" in last.record.sentences[0]
    assert last.record.page.exists() and len(last.record.images) == 1
    record = souron.verdict(last.record.command.removeprefix("souron verdict "))
    assert record.cases == 569 and record.sentence in last.record.sentences


def test_no_tumour_is_judged_by_a_model_that_has_seen_it(monkeypatch):
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Memory(ClassifierMixin, BaseEstimator):
        def __init__(self, min_samples_leaf=1, random_state=0):
            self.min_samples_leaf, self.random_state = min_samples_leaf, random_state

        def fit(self, rows, labels):
            self.seen, self.classes_ = {tuple(row) for row in rows}, np.unique(labels)
            return self

        def predict(self, rows):
            return self.predict_proba(rows)[:, 1]

        def predict_proba(self, rows):
            return np.array([[0, tuple(row) in self.seen] for row in rows], float)

    monkeypatch.setattr("sklearn.tree.DecisionTreeClassifier", Memory)
    columns = highlights.predictions()
    assert set(columns["decision tree"]) == {"0.0000"} and len(columns["case"]) == 569


def test_a_chat_model_answers_where_it_was_fetched(monkeypatch, tmp_path):
    class Voice:
        def sampling(self, *options):
            return options

    class Conversation:
        def __init__(self, voice, chat, length, sampling):
            assert (length, sampling) == (highlights.REPLY, (0, None, 0))

        def ask(self, question):
            return iter([question[:3], " because"])

    monkeypatch.setattr(fetch, "where", lambda name: Path() if name == highlights.ASSISTANT else None)
    monkeypatch.setattr(highlights.models_api, "load", lambda name: SimpleNamespace(voice=Voice()))
    monkeypatch.setattr("souron.evaluation.language.conversation.Conversation", Conversation)
    *_before, last = highlights.answer(tmp_path)
    assert last.record.sentences == (highlights.QUESTION, f"{highlights.QUESTION[:3]} because")


def test_organs_turn(monkeypatch, tmp_path):
    import base64
    import io

    monkeypatch.setattr(highlights, "TURNS", 3)
    *_before, last = highlights.segment(tmp_path)
    planes, turning = last.record.images
    assert planes.width > turning.width and "liver" in last.record.sentences[0]
    moving = Image.open(io.BytesIO(base64.b64decode(turning.uri.partition(",")[2])))
    assert moving.n_frames == 3
    hue, saturation, _value = np.asarray(moving.convert("HSV")).reshape(-1, 3).T
    per_hue = np.bincount(hue[saturation > 100] // 16, minlength=16)
    assert (per_hue > 300).sum() >= 3  # liver, lungs, spine, ... each in its own colour


def test_the_race_is_fair_and_ends_in_a_verdict(monkeypatch, tmp_path):
    monkeypatch.setattr(highlights, "RACE", {"budget": "256ex", "seeds": 2})
    *_before, last = highlights.race(tmp_path)
    assert "mlp" in last.record.sentences[0] and len(last.record.sentences) == 3
    assert last.record.page.exists()


def test_the_command_names_every_chapter():
    assert (*chapters.CHAPTERS, "all") == options.CHAPTERS
    assert all(name in registry.action("tour").given.help for name in options.CHAPTERS)


def test_an_unknown_chapter_is_named_with_those_that_are():
    with pytest.raises(UserError) as trouble:
        next(chapters.touring("detecton"))
    assert "detection" in trouble.value.expected and trouble.value.fix == "souron tour detection"


@pytest.fixture
def played(monkeypatch):
    """The chapters that are shown; Ctrl-C is pressed in the first of several."""
    shown = []

    def touring(name, given):
        shown.append((name, given))
        yield Event("train")
        if (name, len(shown)) == ("classification", 1):
            raise Interrupted(Path("runs/classify/cnn"))
        yield Event("done", 1.0, record=SimpleNamespace(sentences=["so it is"], page="p.html", as_json=dict))

    monkeypatch.setattr(chapters, "touring", touring)
    return shown


def test_data_budget_and_seeds_are_for_the_fair_fight(played, capsys):
    assert main.run(["tour", "data=digits", "seeds=2"]) == 0
    assert played == [("fair-fight", chapters.Given("runs", "digits", "3s", 2))]
    assert "so it is" in capsys.readouterr().out
    assert main.run(["tour", "detection", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"chapter": "detection"}


@pytest.mark.parametrize(("typed", "code"), [("n\n", 130), ("", 130), ("\n", 0), ("y\n", 0)])
def test_ctrl_c_ends_one_chapter_and_offers_the_next(played, typed, code, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert main.run(["tour", "all"]) == code
    assert [name for name, _given in played] == list(chapters.CHAPTERS)[: 1 if code else None]
    out, err = capsys.readouterr()
    assert "1/8 classification" in out and "Continue with generation?" in err and "runs/classify/cnn" in out + err


def test_ctrl_c_that_comes_while_progress_is_shown_offers_the_next_chapter_too(played, capsys, monkeypatch):
    presses = [KeyboardInterrupt()]

    def tell(event):
        if event.phase == "train" and presses:
            raise presses.pop()

    monkeypatch.setattr(console, "tell", tell)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main.run(["tour", "all"]) == 0
    assert len(played) == len(chapters.CHAPTERS) and "Continue with generation?" in capsys.readouterr().err
