"""Studies whose work is done elsewhere say what they say here, keep what came home, and name what failed."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_arena import Parrot

from souron.actions.arena import contest, votes
from souron.actions.arena.contest import Rival
from souron.actions.exam import Exam
from souron.actions.generated import Generated
from souron.cli import main
from souron.hub import zoo
from souron.runs.elsewhere import workers
from souron.runs.elsewhere.rounds import Agreement
from souron.utils.messages import UserError

pytestmark = pytest.mark.skipif(zoo.root() is None, reason="the ready-trained systems are not installed")


@pytest.fixture
def backwards(monkeypatch):
    """The parts of the work are done in this process, and arrive in reverse order; returns them."""
    handed_out = []

    def gather(_on, function, parts, _systems=()):
        parts = list(parts)
        handed_out.extend(given for _key, given in parts)
        yield from [(key, function(*given)) for key, given in parts][::-1]

    monkeypatch.setattr(workers, "gather", gather)
    return handed_out


# what workers must agree on


def test_a_worker_whose_weights_are_others_is_refused():
    own = Agreement.here(weights=workers.weights(["gpt"]))
    assert workers.run(own, 1, ["gpt"], max, 1, 2) == 2
    with pytest.raises(UserError, match="weights is") as trouble:
        workers.run(replace(own, weights="others"), 1, ["gpt"], max, 1, 2)
    assert trouble.value.code == "worker refused" and trouble.value.fix == "copy the run's folder"
    with pytest.raises(UserError, match="code is"):
        workers.run(replace(own, code="older"), 1, ["gpt"], max, 1, 2)


def test_a_unit_computes_with_the_threads_that_it_is_given():
    before = torch.get_num_threads()
    try:
        assert workers.run(Agreement.here(), before + 1, (), torch.get_num_threads) == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_system_is_loaded_once_and_again_with_other_weights(tmp_path):
    shutil.copytree(zoo.root() / "mlp", tmp_path / "own")
    run, calls = str(tmp_path / "own"), []

    def load(name):
        calls.append(name)
        return len(calls)

    assert workers.loaded(load, run) == workers.loaded(load, run) == 1
    with (tmp_path / "own" / "weights" / "best.safetensors").open("ab") as file:
        file.write(b"more")
    assert workers.loaded(load, run) == 2 and calls == [run, run]


def test_a_path_means_the_same_in_another_folder(tmp_path):
    for name in ("own", "gpt"):
        (tmp_path / name).mkdir()
        assert workers.anywhere(f"./{name}") == str(tmp_path / name)
    assert workers.anywhere("own") == str(tmp_path / "own")
    assert workers.anywhere("gpt") == "gpt", "which is a name, too"


# examinations


@pytest.fixture
def paper(tmp_path):
    """Forty questions, of which the last ones have fewer options, and one is too long for the model."""
    lines = []
    for number in range(40):
        options = [f"{word} {number}" for word in ("one", "two", "three", "four")][: 2 if number > 31 else 4]
        text = "word " * 999 if number == 7 else f"What is number {number}?"
        lines.append({"question": text, "options": options, "answer": options[number % len(options)]})
    file = tmp_path / "paper.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return str(file)


def examined(paper, **on):
    return Exam(writes=False).result("gpt", data=paper, **on)


def same_exam(one, other):
    own = {"seconds", "report"}
    here, there = ({key: told for key, told in each.as_json().items() if key not in own} for each in (one, other))
    assert here == there
    assert one.answers.keys() == other.answers.keys()
    assert all(torch.equal(one.answers[name], other.answers[name]) for name in one.answers)


def test_a_paper_that_workers_answer_has_the_figures_of_one_computer(paper):
    here = examined(paper)
    same_exam(here, examined(paper, on="processes:2"))
    assert "beginning of 1 questions" in here.remarks[0]


def test_batches_that_arrive_in_another_order_belong_to_their_questions(paper, backwards):
    there = examined(paper, on="anywhere")
    assert [len(questions) for _model, questions, _decision in backwards] == [32, 8]
    backwards.clear()
    same_exam(examined(paper), there)
    assert not backwards, "without on= nothing is handed out"


# the arena

QUESTIONS = ["What is a lamp?", "Who are you?", "x " * 5000, "Where is it?", "Why?", "When?"]


def begun(file, questions=QUESTIONS, **options):
    return contest.begin(["gpt", "gpt_small", "gpt"], questions, file, length=4, **options)


def texts(arena):
    """The answers to all questions but the long one."""
    wanted = {(question, name) for question in arena.questions if len(question) < 999 for name in arena.settings.models}
    return {key: arena.answer(*key).text for key in wanted}


def test_answers_that_workers_write_are_those_of_one_computer(tmp_path):
    here, there = begun(tmp_path / "here.jsonl"), begun(tmp_path / "there.jsonl")
    done = list(contest.write_all(there, "processes:2"))
    assert done[-1] == 1.0 and len(done) == 6
    there.loads, there.rivals = None, {}  # nothing is answered here
    assert texts(there) == texts(here)
    kept = votes.read(tmp_path / "there.jsonl").answers
    assert len(kept) == 15 and {key: kept[key].text for key in kept} == texts(here)
    for one in (here, there):
        assert [one.answers(match) for match in one.matches() if match.question == QUESTIONS[2]] == [None]
    assert there.unfit == here.unfit and len(here.unfit) == 1


def test_only_answers_that_are_missing_are_handed_out(tmp_path, backwards):
    list(contest.write_all(begun(tmp_path / "v.jsonl", QUESTIONS[:2]), "anywhere"))
    backwards.clear()
    list(contest.write_all(begun(tmp_path / "v.jsonl"), "anywhere"))
    assert [(name, list(questions)) for _model, name, questions, _settings in backwards] == [
        (name, QUESTIONS[2:]) for name in ("gpt", "gpt_small", "gpt #2")
    ]


def arena(capsys, monkeypatch, name, *more):
    """The command with votes from the keyboard: what it prints as JSON, and the judge's choices."""
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n2\n1\n4\n" * 9))
    Path("q.txt").write_text("\n".join(question for question in QUESTIONS if len(question) < 999), encoding="utf-8")
    words = ["arena", "gpt", "gpt_small", "q.txt", f"votes={name}", "length=4", "judge=gpt", "--quiet", "--json", *more]
    assert main.run(words) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    judged = sorted((one.question, one.first, one.chances) for one in votes.read(name).judged)
    return {key: told[key] for key in told if key != "file"}, judged


def test_votes_and_a_judge_on_an_engine_end_as_they_do_here(capsys, monkeypatch, backwards):
    there = arena(capsys, monkeypatch, "there.jsonl", "on=anywhere")
    functions = len(backwards)
    assert functions == 5 and there[0]["judges"][0]["compared"] == 5 == len(there[1])
    assert arena(capsys, monkeypatch, "here.jsonl") == there and len(backwards) == functions


def test_workers_load_each_model_once_and_other_errors_end_the_work(tmp_path, monkeypatch, backwards):
    loads = []
    monkeypatch.setattr(contest, "Rival", lambda name: loads.append(name) or Parrot(name))
    made = contest.begin(["gpt", "vae"], [str(number) for number in range(9)], tmp_path / "v.jsonl", loads=Parrot)
    list(contest.write_all(made, "anywhere"))
    assert loads == ["gpt", "vae"] and len(made.held.answers) == 18
    monkeypatch.setattr(Parrot, "answer", lambda *_given: (_ for _ in ()).throw(UserError("memory", "too large")))
    with pytest.raises(UserError, match="too large"):
        list(contest.write_all(replace(made, questions=["another"]), "anywhere"))
    assert Rival is not contest.Rival


# generated images


def audited(tmp_path, **on):
    return Generated(tmp_path / "runs").result("digits", "gan", str(tmp_path / "folder"), "vae", "gan", n=24, **on)


def test_generators_on_an_engine_draw_the_images_of_one_computer(tmp_path):
    from PIL import Image

    (tmp_path / "folder").mkdir()
    for number in range(24):
        Image.linear_gradient("L").rotate(15 * number).save(tmp_path / "folder" / f"{number}.png")
    here, there = audited(tmp_path), audited(tmp_path, on="processes:2")
    assert list(here.counts) == ["gan", "folder", "vae", "gan-2"]
    assert here.as_json() == there.as_json()


def test_generators_that_arrive_in_another_order_keep_their_names(backwards):
    from souron.actions import generated

    options = generated.Options(n=20, on="anywhere")
    events, found = generated.sources(["gan", "vae"], options), None
    phases = []
    while found is None:
        try:
            phases.append(next(events))
        except StopIteration as stop:
            found = stop.value
    assert [source.name for source in found] == ["gan", "vae"] and len(backwards) == 2
    assert [event.text for event in phases] == ["vae", "gan"] and phases[-1].fraction == 1.0
    [alone] = [e.record for e in generated.image_sources.generating("vae", 20, 0, "auto") if e.record is not None]
    assert torch.equal(found[1].image, alone.image)


# what comes ready trained


@pytest.fixture
def make(monkeypatch):
    """``zoo/make.py`` with small recipes: one that learns, and one without data."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "zoo"))
    import make

    small = {"data": "digits", "budget": "300ex", "side": 28}
    monkeypatch.setitem(make.RECIPES, "mlp", small)
    monkeypatch.setitem(make.RECIPES, "cnn", {**small, "data": "nowhere"})
    return make


def test_systems_that_workers_train_are_packed_here_and_the_failed_one_is_named(make, tmp_path, capsys, monkeypatch):
    package, arrived, unpacked = tmp_path / "package", [], make.unpacked
    package.mkdir()
    shutil.copy(zoo.root() / "sample.safetensors", package)
    monkeypatch.setattr(zoo, "root", lambda: package)
    monkeypatch.setattr(make, "unpacked", lambda content, folder: arrived.append(content) or unpacked(content, folder))
    assert make.make(["cnn", "mlp"], package, on="processes:2") == ["cnn"]
    told = capsys.readouterr()
    assert "cnn: [data] 'nowhere'" in told.err and "2 of 2" in told.err and "| mlp |" in told.out
    receipt = json.loads((package / "mlp" / "receipt.json").read_text(encoding="utf-8"))
    assert receipt["command"] == "python zoo/make.py mlp" and receipt["measures"]
    assert not (package / "cnn").exists()
    [there] = [content for content in arrived if isinstance(content, dict)]
    here = make.trained(make.stages("mlp"), tmp_path / "here") / "weights" / "best.safetensors"
    assert there["weights/best.safetensors"] == here.read_bytes()


def test_a_recipe_that_goes_on_from_another_one_has_its_trainings_in_order(make):
    found = make.stages("gpt_aligned")
    assert [stage["name"] for stage in found] == ["gpt_small-zoo", "gpt_instructed-zoo", "gpt_aligned-zoo"]
    assert [stage["system"] for stage in found] == ["gpt"] * 3 and "pretrained" not in found[1]
    [ddpm] = make.stages("ddpm")
    assert ddpm["config"] == {"width": 56} and ddpm["budget"] == "15min" and ddpm["data"] == "fashion"
