"""Questions about pictures: balanced, answered from the picture, measured scene by scene."""

import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dropping import ramp
from PIL import Image
from shapes import questioned
from torch.nn import functional as F

from souron import model, registry
from souron.cli.main import run
from souron.data import load
from souron.data.composing import captioned, scene_questions
from souron.data.composing.captioned_words import COLOURS, PLACES, THINGS
from souron.data.composing.words import ENGLISH
from souron.data.dataset import ListColumn, Loader
from souron.data.formats import picture_questions as files
from souron.data.language.tokenizer import Tokenizer
from souron.data.sets import captioned_scenes
from souron.data.target import target_of
from souron.data.targets.picture_questions import PictureQuestion, known_answers, told
from souron.evaluation.vision import visual_questions
from souron.kinds.ranking import Ranking
from souron.metrics import answer as metrics
from souron.pipelines.pipeline import pipeline
from souron.report import plots
from souron.systems.answer.visual_qa import Residual
from souron.tasks import answer as task
from souron.training.loop import Run
from souron.utils.messages import UserError, use_language

pytestmark = pytest.mark.usefixtures("each_drawn")

COMPOSER = captioned.Composer(captioned.drawn(), 64)
SCENES = [COMPOSER.attributes("train", number) for number in range(3000)]
ASKED = scene_questions.asked(SCENES, np.random.default_rng(0))
BOTH = {
    "yes": "はい",
    "no": "いいえ",
    **scene_questions.COLOUR_NAMES,
    "1": "1",
    "2": "2",
    "3": "3",
    **{word.one: word.ja for word in THINGS.values()},
    **dict(PLACES.values()),
    **dict(scene_questions.GROUND_NAMES.values()),
}


def english(sort=None):
    """Scene, question and answer of the English ones."""
    for scene, some in zip(SCENES, ASKED, strict=True):
        for one in some:
            if one.language == "en" and sort in (None, one.sort):
                yield scene, one.question, one.answer


def holds(scene, question):
    """Whether what a question of yes or no claims is true, read from its words alone."""
    claims = []
    if found := re.search(r"exactly (\w+)", question):
        claims.append(ENGLISH[scene.count] == found[1])
    elif "background" in question or "behind" in question:
        wanted = scene_questions.GROUND_NAMES[scene.ground][0]
        claims.append(re.search(rf"\b{wanted}\b", question) is not None)
    elif found := re.search(r"on the left|on the right|at the top|at the bottom|in the middle", question):
        claims.append(PLACES[scene.place][0] == found[0])
    else:
        claims.append(re.search(rf"\b{THINGS[scene.object].one}\b", question) is not None)
        if colour := re.search("|".join(COLOURS), question):
            claims.append(scene.colour == colour[0])
    return all(claims)


def test_answers_follow_from_what_the_scene_shows():
    open_truth = {
        "object": lambda s: THINGS[s.object].one,
        "colour": lambda s: s.colour,
        "count": lambda s: str(s.count),
        "place": lambda s: PLACES[s.place][0],
        "ground": lambda s: scene_questions.GROUND_NAMES[s.ground][0],
    }
    for sort, truth in open_truth.items():
        assert all(answer == truth(scene) for scene, _question, answer in english(sort))
    for scene, question, answer in english("yes/no"):
        assert answer == ("yes" if holds(scene, question) else "no"), (scene, question)


def test_each_question_is_asked_in_both_languages_with_the_same_answer():
    for some in ASKED:
        for one, other in zip(some[::2], some[1::2], strict=True):
            assert (one.language, other.language, one.sort) == ("en", "ja", other.sort)
            assert BOTH[one.answer] == other.answer


def test_the_question_alone_tells_nothing():
    every = [one for some in ASKED for one in some]
    for sort in scene_questions.SORTS[:-1]:
        counts = Counter(one.answer for one in every if one.sort == sort and one.language == "en")
        assert len(set(counts.values())) == 1 and len(counts) > 2, sort
    polar = defaultdict(Counter)
    for one in every:
        if one.sort == "yes/no":
            polar[one.question][one.answer] += 1
    claims = [
        question
        for question in polar
        if re.match(r"Is this an? |Is there an? |Does the picture|Is the thing|これは", question)
    ]
    assert len(claims) > 100
    for question in claims:  # the others have the name of what is shown in them
        yes, no = polar[question].values()
        assert yes == no > 0, question
    answers = Counter(one.answer for one in every if one.sort == "yes/no")
    assert answers["yes"] == answers["no"] == answers["はい"] == answers["いいえ"]


def test_pairs_that_training_never_shows_are_not_asked_for_there():
    asked = {question for _scene, question, _answer in english("yes/no")}
    shown = {f"Is there a {scene.colour} {THINGS[scene.object].one}?" for scene in SCENES}
    pairs = {f"Is there a {colour} {THINGS[name].one}?" for name, colour in COMPOSER.pairs}
    assert len(asked & shown) > 30 and not asked & pairs
    new = [COMPOSER.attributes("new pairs", number) for number in range(300)]
    tested = scene_questions.asked(new, np.random.default_rng(0))
    assert {one.question for some in tested for one in some} & pairs


def test_the_set_has_questions_for_every_subset_and_the_pictures_of_the_captions(monkeypatch):
    monkeypatch.setattr(captioned_scenes, "COUNTS", dict.fromkeys(captioned.SUBSETS, 40))
    monkeypatch.setattr(captioned, "drawn", lambda: COMPOSER.source)
    data = load.load("drawn_scene_questions", target="picture_questions")
    assert data.has("picture_questions") and not data.has("captions")
    assert {name for name in data.columns["subset"] if name} == set(captioned.SUBSETS[2:])
    row = data.columns["subset"].index("new pairs")
    assert any(one.sort == "colour" for one in data.target[row])
    assert load.names()["drawn_scene_questions"].task == "answer"


def test_scores_count_questions_and_intervals_count_pictures():
    answers = {
        "right": torch.tensor([[1.0, 1, 0], [0, torch.nan, torch.nan]]),
        "others": torch.tensor([[1.0, 0, 0], [0, torch.nan, torch.nan]]),
        "log loss": torch.tensor([[0.5, 0.5, 0.5], [2, torch.nan, torch.nan]]),
    }
    scores = task.scores_of([answers], slice(None), None)
    assert scores[metrics.ACCURACY].mean() == pytest.approx(2 / 4)
    assert scores[metrics.OTHERS].mean() == pytest.approx(1 / 4)
    assert scores[metrics.GAIN].mean() == pytest.approx(1 / 4)
    assert scores[metrics.LOG_LOSS].mean() == pytest.approx(3.5 / 4)
    assert all(table.shape == (1, 2) for table in scores.values())
    kept = torch.tensor([[True, False, True], [False] * 3])
    only = task.scores_of([answers], [0], kept[[0]])
    assert only[metrics.ACCURACY].mean() == pytest.approx(1 / 2)


def test_an_answer_that_is_not_known_is_wrong_and_dear():
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    assert metrics.right(logits, torch.tensor([0, -1])).tolist() == [1, 0]
    loss = metrics.log_loss(logits, torch.tensor([0, -1]))
    assert loss[0] < 0.2 and loss[1] == pytest.approx(-np.log(metrics.LEAST))
    some = [(PictureQuestion("?", "b", ""), PictureQuestion("?", "a", "")), (PictureQuestion("?", "a", ""),)]
    assert known_answers(some, 1) == ("a",)
    assert known_answers([some[0], some[0][:1]], 1) == ("b",)
    assert visual_questions.flat(some, ("a",)).answer.tolist() == [-1, 0, 0]
    assert visual_questions.places(visual_questions.flat(some, ("a",)).row).tolist() == [0, 1, 0]


def test_a_stranger_is_of_the_same_subset_and_of_another_group():
    data = replace(
        questioned(40), columns={"subset": ["a"] * 20 + ["b"] * 20}, group=[f"stamp {case // 4}" for case in range(40)]
    )
    stranger = visual_questions.strangers(data)
    assert sorted(stranger.tolist()) == list(range(40))
    for row, other in enumerate(stranger.tolist()):
        assert data.columns["subset"][row] == data.columns["subset"][other]
        assert data.group[row] != data.group[other]


def fresh(name, **changes):
    """A small system that has learnt nothing."""
    kind, tokenizer = registry.load_system(name)[0], Tokenizer.learn(["is it red? what?"], 300)
    answers, languages = ("yes", "no", "はい", "いいえ"), ("en", "en", "ja", "ja")
    spec = task.Spec(3, 32, answers, languages, tokenizer.packed(), len(tokenizer))
    torch.manual_seed(0)
    return kind(replace(kind.SIZES["tiny"], **changes), spec).eval()


@pytest.mark.parametrize("name", ["visual_qa", "question_only"])
def test_a_question_is_the_most_of_one_two_and_three_tokens_in_a_row(name):
    system = fresh(name)
    reading = system.question if name == "visual_qa" else system
    assert [conv.kernel_size for conv in reading.spans] == [(1,), (2,), (3,)]
    with torch.no_grad():
        word = torch.cat([reading.token.weight[[5, 1, 7]], torch.zeros(2, 16)])
        most = []
        for span, conv in enumerate(reading.spans, 1):
            rows = [(conv.weight * word[at : at + span].T).sum((1, 2)) for at in range(3)]
            most.append((torch.stack(rows) + conv.bias).tanh().amax(0))
        u = reading.join(torch.cat(most))
        tokens = torch.tensor([[5, 1, 7, -1, -1]])
        if name == "visual_qa":
            torch.testing.assert_close(reading(tokens)[0], u)
            return
        said, looked = system.respond(system.see(torch.rand(1, 3, 32, 32)), tokens)
        torch.testing.assert_close(said[0], system.answer(F.relu(system.hidden(u))))
    assert looked.shape == (1, 0)


def test_it_looks_again_with_what_the_first_look_found():
    system, tokens = fresh("visual_qa", looks=2), torch.tensor([[5, 1, 7]])
    v = torch.randn(1, 9, 32).tanh()
    with torch.no_grad():
        first, _p = system.looks[0](v, system.question(tokens))
        u, p = system.looks[1](v, first)
        said, looked = system.respond(v, tokens)
        torch.testing.assert_close(said, system.answer(F.relu(system.hidden(u))))
    torch.testing.assert_close(looked, p)


def test_the_places_of_the_grid_know_where_they_are():
    seeing, image = fresh("visual_qa").picture, torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        where, seen = seeing.where.clone(), seeing(image).atanh()
        seeing.where.zero_()
        blind = seeing(image).atanh()
    torch.testing.assert_close(seen - blind, where.flatten(1).T[None], atol=1e-4, rtol=0)
    assert where.std() > 0.2


def test_the_input_is_led_around_two_convolutions():
    block = Residual(4).eval()
    torch.nn.init.zeros_(block.norm.weight)
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(x), x.relu())


def test_questions_whose_answer_is_not_known_are_not_learnt_from():
    system = fresh("question_only")
    known, other = (PictureQuestion("Is it red?", said, "en") for said in ("yes", "zebra"))
    image = torch.zeros(2, 3, 32, 32)
    both = system.loss(task.Batch(image, [(known, other), (other,)]))
    torch.testing.assert_close(both, system.loss(task.Batch(image[:1], [(known,)])))


def test_a_question_is_answered_in_its_language():
    system = fresh("question_only")
    for question, answers in (("Is it red?", {"yes", "no"}), ("赤いですか。", {"はい", "いいえ"})):
        told = system.predict(ramp(32, 32), question=question)
        assert {one.text for one in told.texts} == answers
        assert sum(one.score for one in told.texts) == pytest.approx(1)


def test_the_same_questions_are_asked_about_another_picture():
    """Of what tells bright from dark by the picture alone."""
    bright = torch.tensor([0, 1, 0, 0, 1])
    image = (255 * bright).byte()[:, None, None, None].expand(5, 3, 4, 4).contiguous()
    said = [(PictureQuestion("Is it bright?", ("no", "yes")[it], "en"),) for it in bright.tolist()]
    data = replace(questioned(5), input=image, target=ListColumn(said), group=())
    system = SimpleNamespace(
        spec=SimpleNamespace(answers=("no", "yes")),
        loader=lambda some: Loader(some, lambda rows: task.Batch(rows.input.float(), [])),
        tokens=lambda texts: torch.zeros(len(texts), 1),
        see=lambda image: image[:, :1, 0, 0] / 255,
        respond=lambda seen, tokens: (torch.cat([1 - seen, seen], 1), seen),
    )
    *_before, (_done, answers) = visual_questions.asked(system, data, 1, ("no", "yes"))
    alike = bright[visual_questions.strangers(data)] == bright
    assert answers["right"][:, 0].tolist() == [1] * 5
    assert answers["others"][:, 0].tolist() == alike.tolist() and not alike.all()


@pytest.fixture(scope="module")
def learnt():
    """Each system after some seconds, and its answers to questions that it never had."""
    data, found = questioned(400), {}
    train, test = data.only(range(320)), data.only(range(320, 400))
    for name in ("visual_qa", "question_only"):
        kind = registry.load_system(name)[0]
        torch.manual_seed(0)
        system = kind(replace(kind.SIZES["tiny"], rate=6e-3), kind.spec_for(train))
        for _progress in system.fit(system.loader(train, seed=1), Run(100, 64)):
            pass
        with torch.inference_mode():
            *_before, (_done, answers) = visual_questions.asked(system, test, 8, system.spec.answers)
        found[name] = (system, answers, test)
    return found


def test_with_the_picture_it_is_twenty_points_better_than_without(learnt):
    right = {name: float(answers["right"].nanmean()) for name, (_s, answers, _t) in learnt.items()}
    other = float(learnt["visual_qa"][1]["others"].nanmean())
    assert right["visual_qa"] > right["question_only"] + 0.2, right
    assert right["visual_qa"] > other + 0.2, other
    blind = learnt["question_only"][1]
    assert torch.equal(blind["right"], blind["others"])  # it never saw them


def test_a_look_is_the_equations_of_its_docstring():
    look = fresh("visual_qa").looks[0]
    torch.manual_seed(0)
    v, u = torch.randn(2, 9, 32).tanh(), torch.randn(2, 32)
    with torch.inference_mode():
        after, p = look(v, u)
        for row in range(2):
            h = [torch.tanh(look.place.weight @ place + look.asks.weight @ u[row] + look.asks.bias) for place in v[row]]
            share = torch.stack([look.attention.weight[0] @ each for each in h]).exp()
            share = share / share.sum()
            seen = sum(s * place for s, place in zip(share, v[row], strict=True))
            joined = torch.tanh(look.found.weight @ seen + look.found.bias) * torch.tanh(
                look.asked.weight @ u[row] + look.asked.bias
            )
            torch.testing.assert_close(p[row], share)
            torch.testing.assert_close(after[row], u[row] + joined)


def test_where_it_looked_is_shown_row_by_row_and_only_above_its_share(learnt):
    system, _answers, test = learnt["visual_qa"]
    with torch.inference_mode():
        [batch] = system.loader(test).once(len(test))
        seen = system.see(batch.image)
        looked = system.respond(seen, system.tokens(["What is shown?"] * len(test)))[1]
    assert looked.shape[1] == 64 and looked.sum(1).allclose(torch.ones(len(test)))
    place = torch.full((4, 4), 0.02)
    place[0, 3] = 0.7  # above on the right; the others get less than an equal share
    drawn = plots.overlay_of_shares(torch.full((3, 64, 64), 90), place)
    shown = np.asarray(drawn).astype(int).sum(2)
    half = shown.shape[0] // 2
    corners = [shown[:half, :half], shown[:half, half:], shown[half:, :half], shown[half:, half:]]
    assert [int(corner.std() > 5) for corner in corners] == [0, 1, 0, 0]


def test_what_stands_behind_the_end_of_a_question_changes_nothing(learnt):
    for name, (system, _answers, test) in learnt.items():
        tokens = system.tokens(["What is shown?", "Where in the picture is the coin? " * 3])
        [batch] = system.loader(test.only([0, 1])).once(2)
        with torch.inference_mode():
            seen = system.see(batch.image)
            both, _looked = system.respond(seen, tokens)
            length = int((tokens[0] >= 0).sum())
            alone, _looked = system.respond(seen[:1], tokens[:1, :length])
        torch.testing.assert_close(both[:1], alone, msg=name)


def test_predict_names_unknown_words_and_says_when_it_is_not_sure(learnt):
    system = learnt["visual_qa"][0]
    image = ramp(64, 48)
    asked = system.predict(image, question="What colour is the zebra?")
    assert isinstance(asked, Ranking) and len(asked.texts) == task.NEAREST and asked.sure
    assert any("zebra" in note for note in asked.notes)
    assert "zebra" in str(asked) and "zebra" in asked._repr_html_()
    assert asked.as_json()["notes"] == list(asked.notes)
    assert asked.picture.size == (task.SIDE, task.SIDE)  # with where it looked
    assert "%" in str(asked).splitlines()[0]
    assert len(system.notes("What is shown?", 0.49)) == 1
    assert system.notes("What is shown?", 0.51) == []
    with use_language("ja"):
        assert system.unknown_words("シマウマは何色ですか。") == ["シマウマ"]
    japanese = system.predict(image, question="シマウマは何色ですか。").texts
    english = set(BOTH) - set(BOTH.values())
    assert not {one.text for one in japanese} & english
    assert {one.text for one in asked.texts} <= english
    blind = learnt["question_only"][0].predict(image, question="What is shown?")
    assert blind.picture is image


@pytest.mark.parametrize("question", ["", " \n ", "a" * 1001, "赤 " * 120])
def test_an_empty_or_endless_question_is_refused(learnt, question):
    with pytest.raises(UserError) as caught:
        learnt["visual_qa"][0].predict(ramp(), question=question)
    assert caught.value.code == "option" and caught.value.expected and caught.value.fix


def test_data_without_questions_or_with_one_answer_is_refused():
    data = questioned(8)
    with pytest.raises(UserError) as caught:
        task.check_questions(replace(data, target=torch.zeros(8, dtype=torch.long)))
    assert caught.value.code == "no questions"
    same = ListColumn([(PictureQuestion("Is it?", "yes", "en"),)] * 8)
    with pytest.raises(UserError) as caught:
        task.check_questions(replace(data, target=same))
    assert caught.value.code == "one answer"


def test_the_check_of_data_names_questions_that_give_their_answers_away():
    fair = questioned(60)
    assert list(target_of(fair).findings()) == []
    always = tuple(PictureQuestion("Is it a banana?", "yes", "en") for _each in range(2))
    data = replace(fair, target=ListColumn([always] * 60))
    assert [one.code for one in target_of(data).findings()] == ["language bias"]
    assert target_of(data).words(0) == "Is it a banana? yes"


def write(folder, lines, images=("1.png", "2.png", "sub/3.png")):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(images):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (50 * number, 0, 0)).save(folder / name)
    text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")


def test_questions_of_a_folder(tmp_path):
    write(
        tmp_path,
        [
            {"file_name": "1.png", "question": "What colour?", "answer": " Red. "},
            {"file_name": "1.png", "question": "鳥は何羽いますか。", "answer": 2, "sort": "count"},
            {
                "file_name": "sub/3.png",
                "questions": [{"question": "Is it red?", "answer": "Yes"}, {"question": "Is it?", "answer": ""}],
            },
            {"file_name": "2.png", "question": "What?", "answers": ["a", "b", {"answer": "b"}]},
            {"file_name": "2.png", "question": "x" * 2000, "answer": "a"},
            {"file_name": "4.png", "question": "Where?", "answer": "a"},
            "{",
        ],
    )
    assert files.describes(tmp_path)
    data = files.load(tmp_path)
    asked = dict(zip(data.file, data.target, strict=True))
    assert asked["1.png"] == (
        PictureQuestion("What colour?", "red", "en", "other"),
        PictureQuestion("鳥は何羽いますか。", "2", "ja", "count"),
    )
    assert asked["2.png"] == (PictureQuestion("What?", "b", "en", "other"),)
    assert asked["sub/3.png"] == (told("Is it red?", "yes"),)
    assert asked["sub/3.png"][0].sort == "yes/no"
    codes = {(skip.file, skip.code) for skip in data.skipped}
    assert ("metadata.jsonl:3", "not a text") in codes and ("metadata.jsonl:5", "too long") in codes
    assert any(place.startswith("metadata.jsonl:6") for place, _code in codes)
    assert any(place.startswith("metadata.jsonl:7") for place, _code in codes)


def test_a_folder_of_many_pictures_is_known_by_its_metadata(tmp_path):
    write(tmp_path, [{"file_name": "1.png", "question": "What?", "answer": "a"}])
    for number in range(600):  # before it in the order of names
        (tmp_path / f"a{number}.png").touch()
    assert files.describes(tmp_path)


def test_a_folder_without_one_usable_question_is_refused(tmp_path):
    write(tmp_path, [{"file_name": "1.png", "question": "What?", "answer": "  "}])
    with pytest.raises(UserError) as caught:
        files.load(tmp_path)
    assert caught.value.code == "no questions" and caught.value.exit == 3


def test_a_run_on_a_folder_of_ones_own_is_reported_and_answers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = questioned(60)
    lines = [
        {"file_name": file, "question": one.question, "answer": one.answer, "sort": one.sort}
        for file, some in zip(data.file, data.target, strict=True)
        for one in some
    ]
    lines.append({"file_name": data.file[0], "question": "<script>alert(1)</script>?", "answer": "<b>"})
    write(tmp_path / "own", lines, ())
    for pixels, file in zip(data.input, data.file, strict=True):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "own" / file)
    assert run(["train", "visual_qa_tiny", "data=own", "epochs=2", "imgsz=32", "seed=0"]) == 0
    [folder] = (tmp_path / "runs" / "answer").iterdir()
    page = (folder / "report.html").read_text(encoding="utf-8")
    for part in ('id="sorts"', 'id="looked"', "data:image"):
        assert part in page
    assert "<script>alert" not in page
    capsys.readouterr()
    image = str(tmp_path / "own" / data.file[0])
    asked = ["predict", str(folder), image, "question=What is shown?", "--json"]
    assert run(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["ranking"]) == task.NEAREST
    answers = model.load(str(folder))(image, question="鳥は何色ですか。")
    assert "鳥" in " ".join(answers.notes)  # the folder asks about coins, signs and buildings
    ask = pipeline("vqa", model=str(folder))
    [first, second] = ask(image=image, question="What is shown?", top_k=2)
    assert first["score"] >= second["score"] and first["answer"] == found["ranking"][0]["text"]
    assert ask([{"image": image, "question": "What is shown?"}])[0][:2] == [first, second]
    assert run(["predict", str(folder), image]) == 2
