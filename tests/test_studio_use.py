"""The studio's page to use what was trained, and the models that it keeps in memory."""

import html
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path

import dropping
import pytest
import waiting
from PIL import Image

from souron import model as models_api
from souron.hub import zoo
from souron.kinds import signature
from souron.kinds.codecs.image import as_image
from souron.kinds.finding import unchecked as no_check
from souron.kinds.picture import Picture
from souron.runs import train
from souron.studio import kept_answers, model_cache
from souron.studio.forms import predict_form, samples
from souron.studio.forms.generate_form import latest, outcome
from souron.studio.jobs.job_queue import Jobs
from souron.studio.pages import use
from souron.studio.security import paths
from souron.studio.security.paths import Roots
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio
from souron.utils import files as file_utils
from souron.utils.messages import LANGUAGES, UserError, use_language


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of runs that stays as it is: two classifiers of digits."""
    project = tmp_path_factory.mktemp("project")
    for system, seed in (("mlp_tiny", 0), ("cnn_tiny", 1)):
        train.train(system, "digits", budget="2ep", seed=seed, project=project)
    return project


@pytest.fixture
def project(trained, tmp_path):
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


@pytest.fixture
def files(digits, tmp_path):
    """Ten pictures of digits."""
    made = [tmp_path / f"{row}.png" for row in range(10)]
    for row, file in enumerate(made):
        as_image(digits.input[row]).save(file)
    return made


def run(project, system):
    [found] = project.glob(f"classify/{system}*")
    return str(found)


def said(answers):
    return [(str(file), answer.as_json()) for file, answer in answers]


def counting(monkeypatch):
    """The names that ``predicting.load`` was asked for."""
    asked, load = [], models_api.load

    def counted(meaning, *options, **more):
        asked.append(meaning.name)
        return load(meaning, *options, **more)

    monkeypatch.setattr(models_api, "load", counted)
    return asked


def test_what_threads_ask_side_by_side_is_answered_as_one_by_one(project, files, monkeypatch):
    names = [run(project, "mlp"), run(project, "cnn")]
    alone = {name: said(models_api.predict(models_api.load(name), files)) for name in names}
    assert alone[names[0]] != alone[names[1]]
    asked, models = counting(monkeypatch), model_cache.Loaded()
    together = threading.Barrier(10)

    def ask(number):
        together.wait()
        name, file = names[number % 2], files[number]
        return name, number, said(models.predict(name, [file]))

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(ask, range(10)))
    for name, number, answer in answers:
        assert answer == alone[name][number : number + 1]
    assert sorted(asked) == sorted(names)


def test_a_model_answers_one_thread_at_a_time(project):
    models, name = model_cache.Loaded(), run(project, "mlp")
    inside, waited = threading.Event(), threading.Event()

    def ask():
        inside.set()
        with models.answering(name):
            waited.set()

    with models.answering(name):
        other = threading.Thread(target=ask)
        other.start()
        assert inside.wait(waiting.LIMIT) and not waited.wait(0.2)
    other.join()
    assert waited.is_set()


def test_another_model_answers_meanwhile(project, files):
    models = model_cache.Loaded()
    with models.answering(run(project, "mlp")), ThreadPoolExecutor(1) as threads:
        assert threads.submit(models.predict, run(project, "cnn"), files[:1]).result(waiting.LIMIT)


def test_a_run_that_was_trained_again_is_read_again(project, files):
    models, name = model_cache.Loaded(), run(project, "mlp")
    before = said(models.predict(name, files))
    other = train.train("mlp_tiny", "digits", budget="1ep", seed=7, project=project)
    shutil.rmtree(name)
    shutil.copytree(other.folder, name)
    after = said(models.predict(name, files))
    assert after == said(models_api.predict(models_api.load(name), files)) != before


def test_weights_put_in_their_place_in_the_same_instant_are_noticed(project, files):
    models, name = model_cache.Loaded(), run(project, "mlp")
    before = said(models.predict(name, files))
    path = Path(name) / "weights" / "best.safetensors"
    old = path.stat()
    weights, about = file_utils.read_tensors(path)
    file_utils.write_tensors(path, {key: -tensor for key, tensor in weights.items()}, about)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    with pytest.warns(UserWarning, match="not the files that the run ended with"):
        assert said(models.predict(name, files)) != before


def test_the_one_asked_last_stays_longest(project, files):
    names = [run(project, "mlp"), run(project, "cnn"), str(project / "classify" / "third")]
    shutil.copytree(names[0], names[2])
    models = model_cache.Loaded(most=2)
    for name in (names[0], names[1], names[0], names[2]):
        models.predict(name, files[:1])
    assert [name for name, _engine in models.places] == [names[0], names[2]]


def test_their_bytes_are_bounded(project, files):
    names = [run(project, "mlp"), run(project, "cnn")]
    sizes = [model_cache.size(models_api.load(name)) for name in names]
    for most, stay in ((sum(sizes), names), (sum(sizes) - 1, names[1:]), (1, names[1:])):
        models = model_cache.Loaded(most_bytes=most)
        for name in names:
            models.predict(name, files[:1])
        assert [name for name, _engine in models.places] == stay


DAMAGES = {
    "no weights": ("weights/best.safetensors", None),
    "weights cut short": ("weights/best.safetensors", b"\x10\0\0\0\0\0\0\0{"),
    "no args": ("args.yaml", None),
    "args of something else": ("args.yaml", b"[1, 2]"),
    "a config that is none": ("args.yaml", b"system: mlp_tiny\ndata: digits\nseen: {}\nconfig: 3"),
    "sizes that are none": (
        "args.yaml",
        b"system: mlp_tiny\ndata: digits\nconfig: {}\nseen: {channels: x, side: y, labels: [], mean: [0], std: [1]}",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_says_so_and_is_mended_by_another_training(project, files, damage):
    models, name = model_cache.Loaded(), run(project, "mlp")
    whole = said(models.predict(name, files))
    path, content = Path(name) / DAMAGES[damage][0], DAMAGES[damage][1]
    kept = path.read_bytes()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        models.predict(name, files)
    assert caught.value.found
    path.write_bytes(kept)
    assert said(models.predict(name, files)) == whole


# the page


@pytest.fixture
def studio(project, tmp_path, monkeypatch):
    """A studio without a browser."""
    monkeypatch.setattr(paths, "PLACE", ContextVar("PLACE", default=project / ".studio" / "temporary" / "here"))
    return Studio(project, Roots([tmp_path, project]), Jobs(project), "en")


class Form:
    """The form of a system, as the page shows it and a browser sends it."""

    def __init__(self, studio, name):
        self.studio, self.name = studio, name
        self.html = str(use.chosen(studio, name))
        self.shown = ""  # the place of the answers

    @property
    def id(self):
        found = re.search(r'name="answer-id" value="([^"]*)"', self.shown or self.html)
        return found[1] if found else ""  # a generator has none

    @property
    def kept(self):
        return kept_answers.answers.get(self.id)

    def posted(self, files=(), **fields):
        """What the browser sends: the fields as they stand there, but for those that are given here."""
        values = {"use-name": [self.name], "answer-id": [self.id]}
        for field in re.findall(r"<input[^>]* type=.(?:range|number|text|hidden).[^>]*>", self.html):
            told = dict(re.findall(r'([\w-]+)="([^"]*)"', field))
            values.setdefault(told["name"], [html.unescape(told.get("value", ""))])
        for name, inside in re.findall(r'<select name="([^"]*)">(.*?)</select>', self.html, re.S):
            values[name] = re.findall(r"<option selected>([^<]*)", inside)
        values |= {name.replace("_", "-") if name.startswith("given") else name: v for name, v in fields.items()}
        values = {name: each if isinstance(each, list) else [str(each)] for name, each in values.items()}
        return Posted(values, {"given-files": [Path(file) for file in files]})

    def predict(self, files=(), **fields):
        with use_language(self.studio.language):
            self.shown = str(use.PARTS["predict"](self.studio, self.posted(files, **fields)))
        return self.shown.partition('<div id="cards">')[2]

    def again(self, **fields):
        """The answers as the switches show them."""
        values = {"use-name": [self.name], "answer-id": [self.id]}
        values |= {f"view-{name}": each if isinstance(each, list) else [str(each)] for name, each in fields.items()}
        return str(use.PARTS["shown"](self.studio, Posted(values)))

    @property
    def same(self):
        return html.unescape(use.PARTS["same"](self.studio, self.posted()))


def test_the_newest_run_is_chosen_and_published_weights_stand_below(studio, project):
    offered = [name for _shown, name in use.choices(studio)]
    runs = [run(project, "cnn"), run(project, "mlp")]
    assert offered[:2] == runs and "efficientnet_lite" in offered[2:]
    assert f'<option value="{runs[0]}" selected>' in use.body(studio, {})


def test_a_run_that_was_stopped_is_not_the_one_that_is_chosen(studio, project):
    runs = [run(project, "cnn"), run(project, "mlp")]
    (Path(runs[0]) / "receipt.json").unlink()
    assert [name for _shown, name in use.choices(studio)][:2] == [runs[1], runs[0]]
    assert f'<option value="{runs[1]}" selected>' in use.body(studio, {})


def test_what_the_address_asks_for_is_chosen(studio, project):
    name = run(project, "mlp")
    for query in ({"run": name}, {"run": str(Path(name).relative_to(project))}, {"run": str(Path(name).resolve())}):
        assert f'<option value="{name}" selected>' in use.body(studio, query)
    assert '<option value="efficientnet_lite" selected>' in use.body(studio, {"system": "efficientnet_lite"})
    assert "<strong>mlp_tiny</strong>" in use.PARTS["system"](studio, Posted({"name": [name]}))


def test_what_is_not_there_is_chosen_too_so_that_it_is_told_why(studio):
    shown = use.body(studio, {"run": "classify/gone"})
    assert '<option value="classify/gone" selected>' in shown and 'class="trouble"' in shown
    with pytest.raises(UserError, match="no run"):
        predict_form.find(studio.project, "classify/gone")


def test_comparisons_and_runs_that_cannot_be_used_are_not_offered(studio, project):
    (project / "compare" / "some").mkdir(parents=True)
    (project / "compare" / "some" / "args.yaml").write_text("systems: [mlp]\n")
    (Path(run(project, "mlp")) / "args.yaml").write_text("[")
    (Path(run(project, "cnn")) / "weights" / "best.safetensors").unlink()
    names = [name for _shown, name in use.choices(studio)]
    assert not [name for name in names if "/" in name]


def test_where_there_is_nothing_it_says_what_to_do(studio, monkeypatch):
    monkeypatch.setattr(use, "choices", lambda studio: [])
    shown = use.body(studio, {})
    assert "<select" not in shown and "/en/train" in shown


@pytest.mark.parametrize(
    "name", ["../classify/x", "/etc/passwd", ".studio/jobs", "a\0/b", "classify/..", "no_such", ""]
)
def test_a_name_leads_to_a_run_or_a_system_and_nowhere_else(studio, name):
    with pytest.raises(UserError):
        predict_form.find(studio.project, name)


def test_a_system_without_weights_here_says_how_to_get_them(studio):
    with pytest.raises(UserError) as caught:
        predict_form.find(studio.project, "resnet18")
    assert "souron fetch resnet18" in caught.value.fix
    with pytest.raises(UserError, match="no published weights"):
        predict_form.find(studio.project, "cnn_tiny")
    assert predict_form.find(studio.project, "cnn").folder == zoo.where("cnn")


def test_one_click_gives_the_first_answer(studio, project):
    name = run(project, "cnn")
    form = Form(studio, name)
    assert "data:image/png" in form.html and use.PARTS["ready"](studio, form.posted()) == ""
    cards = form.predict(given_sample="true")
    [answer] = form.kept.answers
    assert Path(answer.file).is_relative_to(paths.upload_folder())
    [(_file, expected)] = models_api.predict(models_api.load(name), [answer.file])
    assert answer.said.as_json()["labels"] == expected.as_json()["labels"]
    assert expected.best[0] in cards and cards.count("<tr>") == 5
    assert f"souron predict {name} {Path(answer.file).name}" in form.same
    assert f"souron serve {name}" in form.same and "souron.load(" in form.same


@pytest.mark.parametrize("name", ["clip", "transformer", "page_writer", "visual_qa"])
def test_one_click_answers_with_a_system_that_comes_ready_too(studio, name):
    """The text, or the question about the image, is there already."""
    form = Form(studio, name)
    text = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", form.html, re.S)
    given = {"given_text": html.unescape(text[1])} if text else {"given_sample": "true"}
    cards = form.predict(**given)
    assert "trouble" not in cards and f"souron predict {name}" in form.same and form.kept.said


def test_the_sample_is_a_case_that_the_run_was_tested_on(studio, project, digits):
    source = predict_form.find(project, run(project, "cnn"))
    found = samples.sample(Picture, source.folder, source.args, studio.roots)
    listed = (source.folder / "split.csv").read_text(encoding="utf-8")
    assert f"\n{found.stem},{digits.classes[digits.target[int(found.stem)]]},,test\n" in listed
    shown = Picture.read(found).square(8, 1)
    assert shown.equal(digits.input[int(found.stem)])


def test_the_sample_of_ones_own_pictures_is_one_of_their_files(studio, project, photos):
    record = train.train("mlp_tiny", str(photos), budget="1ep", folds=1, project=project)
    source = predict_form.find(project, str(record.folder))
    found = samples.sample(Picture, source.folder, source.args, studio.roots)
    assert found.read_bytes() in [file.read_bytes() for file in photos.rglob(found.name)]
    elsewhere = Roots([project / "classify"])  # the pictures lie outside now
    fallen = samples.sample(Picture, source.folder, source.args, elsewhere)
    assert fallen.name == "china.jpg"


def test_several_files_are_answered_as_the_command_does(studio, project, files):
    name = run(project, "mlp")
    form = Form(studio, name)
    cards = form.predict(files, **{"view-top": "3"})
    expected = said(models_api.predict(models_api.load(name), files))
    answered = [(each.file, each.said.as_json()) for each in form.kept.answers]
    assert answered == [(file, told | {"file": Path(file).name}) for file, told in expected]
    assert cards.count("<figure") == 10 and cards.count("<tr>") == 30


def test_switches_show_more_labels_without_asking_again(studio, project, files, monkeypatch):
    form = Form(studio, run(project, "mlp"))
    form.predict(files[:1])
    monkeypatch.setattr(models_api.Model, "answer", None)
    for top in (1, 4, 10, 20, "x"):
        assert form.again(top=top).count("<tr>") == (min(top, 10) if top != "x" else 5)


def test_answers_that_are_not_kept_any_more_say_so(studio, project, files, monkeypatch):
    form = Form(studio, run(project, "mlp"))
    assert form.again(top=3) == ""  # nothing was asked yet
    form.predict(files[:1])
    monkeypatch.setattr(kept_answers, "SECONDS", -1.0)
    with pytest.raises(UserError, match="not kept any more"):
        form.again(top=3)


def test_a_folder_is_answered_whole_and_only_within_the_roots(studio, project, photos):
    form = Form(studio, run(project, "mlp"))
    form.predict(given_folder="photos/cat")
    assert len(form.kept.answers) == 20 and "photos/cat" in form.same
    for text in ("/etc", "../..", "", "no such folder", "photos/*.tiff", "\0"):
        with pytest.raises(UserError):
            form.predict(given_folder=text, given_way="folder")


def test_the_page_shows_so_many_and_names_the_command_for_all(studio, project, photos, monkeypatch):
    monkeypatch.setattr(predict_form, "MOST_ANSWERS", 7)
    form = Form(studio, run(project, "mlp"))
    assert "first 7" in form.predict(given_folder="photos") and len(form.kept.answers) == 7


HOSTILE = {
    "empty.png": b"",
    "text.png": b"<script>alert(1)</script>",
    "cut.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "bomb.gif": b"GIF89a\xff\xff\xff\xff\0\0\0",
    "<img src=x onerror=alert(1)>.jpg": b"\xff\xd8\xff\xe0 nothing",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gets_its_trouble_and_the_page_goes_on(studio, project, files, name):
    hostile = files[0].with_name(name)
    hostile.write_bytes(HOSTILE[name])
    form = Form(studio, run(project, "cnn"))
    cards = form.predict([hostile])
    assert "trouble" in cards and "<img" not in cards and str(hostile.parent) not in cards
    cards = form.predict([hostile, files[1]], **{"view-look": "true"})
    assert isinstance(form.kept.answers[0].said, UserError) and cards.count("<figure") == 2
    assert "<script" not in cards and "onerror=alert(1)>" not in cards.replace("&gt;", "")
    form.predict([files[1]])
    assert form.kept.said.best


def test_names_are_shown_as_text(studio, project, files):
    odd = files[0].with_name("<b>\"'&.png")
    shutil.copy(files[0], odd)
    form = Form(studio, run(project, "cnn"))
    cards, same = form.predict([odd]), use.PARTS["same"](studio, form.posted())
    assert form.kept.said.best and "<b>" not in cards and "<b>" not in same
    assert "&lt;b&gt;" in cards and "&lt;b&gt;" in same


def test_a_table_leads_to_the_page_that_reads_it(studio, project, tmp_path):
    form = Form(studio, run(project, "cnn"))
    for content, way in (
        ("case,truth,unet\n1,0,1\n2,1,1\n", "study=verdict"),
        ("length,width\n1,2\n3,4\n", "my_data?"),
    ):
        (tmp_path / "t.csv").write_text(content, encoding="utf-8")
        assert way in form.predict([tmp_path / "t.csv"]) and form.kept is None


def test_nothing_given_is_said(studio, project):
    with pytest.raises(UserError, match="nothing was given yet"):
        Form(studio, run(project, "cnn")).predict()


def test_a_damaged_run_is_told_of_when_it_is_chosen(studio, project, files):
    form = Form(studio, run(project, "cnn"))
    (Path(run(project, "cnn")) / "weights" / "best.safetensors").write_bytes(b"no weights")
    for ask in (lambda: use.PARTS["ready"](studio, form.posted()), lambda: form.predict([files[0]])):
        with pytest.raises(UserError, match="weights file"):
            ask()


def test_it_shows_where_the_network_looked(studio, project, files):
    form = Form(studio, run(project, "cnn"))
    plain = form.predict([files[0]])
    cards = form.again(look="true")
    [looked] = form.kept.answers
    assert looked.looked.startswith("data:image/png") and looked.looked in cards
    assert looked.image in plain and looked.image not in cards
    assert form.again() in plain
    assert cards in form.predict([files[0]], **{"view-look": "true"})


def test_a_network_without_places_says_so(studio, project, files):
    form = Form(studio, run(project, "mlp"))
    cards = form.predict([files[0]], **{"view-look": "true"})
    assert "has no spatial feature maps" in cards and form.kept.answers[0].image in cards


def test_published_weights_are_used_by_their_name(studio):
    form = Form(studio, "efficientnet_lite")
    cards = form.predict(given_sample="true", **{"view-top": "3"})
    assert "china.jpg" in cards and cards.count("<tr>") == 3
    assert len(form.kept.said.labels) == 1000
    assert "souron predict efficientnet_lite china.jpg pretrained=true" in form.same
    assert "pretrained=True" in form.same


def test_both_languages(studio, project, files):
    spoken = {}
    for language in LANGUAGES:
        with use_language(language):
            form = Form(replace(studio, language=language), run(project, "cnn"))
            spoken[language] = (form.html, form.predict(files), predict_form.silent(form.studio))
    for english, japanese in zip(spoken["en"], spoken["ja"], strict=True):
        assert english != japanese


@pytest.fixture
def dropped(tmp_path):
    """Systems of one file each that learn nothing: one for every kind that comes out."""
    sources = {f"gives_{kind}": dropping.source(kind) for kind in dropping.BODIES}
    with dropping.dropped(tmp_path, sources):
        yield


def sent(kind, tmp_path):
    """What a browser sends of the example of that kind: a text or a file."""
    example = dropping.EXAMPLES[kind]()
    if kind in ("text", "chat", "question"):
        return {"given_text": "やあ" if kind == "chat" else str(example).replace("\n", "\r\n")}
    path = tmp_path / f"例 <b>{example.suffix}"
    example.save(path)
    return {"files": [path]}


@pytest.mark.parametrize("gives", dropping.BODIES)
def test_a_dropped_in_system_appears_and_answers(studio, dropped, tmp_path, gives):
    name = f"gives_{gives}"
    assert name in [known for _shown, known in use.choices(studio)]
    form = Form(studio, name)
    took = dropping.BODIES[gives][0]
    cards = form.predict(**sent(took, tmp_path))
    assert "trouble" not in cards and "><b><" not in cards and str(tmp_path) not in cards
    assert form.kept.said.widget == gives
    assert (no_check() in cards) == (took in ("picture", "volume") and form.kept.said.of_image)
    assert f"souron predict {name}" in form.same and "pretrained" not in form.same
    if gives == "labels":
        assert "猫" in cards and "75.0 %" in cards and "&lt;b&gt;" in cards
        return
    links = html.unescape(use.PARTS["files"](studio, Posted({"use-name": [name], "answer-id": [form.id]})))
    numbers = re.findall(r"file\?id=([^&]+)&number=(\d+)", links)
    assert numbers
    for id, number in numbers:
        answer = use.VIEWS["file"](studio, {"id": id, "number": number})
        assert Path(answer.path).stat().st_size and Path(answer.path).parent.is_relative_to(form.kept.folder)
    with pytest.raises(UserError):
        use.VIEWS["file"](studio, {"id": form.id, "number": str(len(numbers))})
    folder = form.kept.folder
    form.predict(**sent(took, tmp_path))
    assert not folder.exists()  # the files of the answer before


def test_its_options_are_fields_and_words(studio, dropped, files):
    form = Form(studio, "gives_labels")
    assert 'name="least" min="0" max="1" step="0.01" value="0.25"' in form.html
    assert 'name="word" maxlength="2000" value="&lt;b&gt;"' in form.html
    cards = form.predict(files[:1], least="0.75")
    assert form.kept.said.best == ("猫", 0.75) and "75.0 %" in cards
    same = use.PARTS["same"](studio, form.posted(least="0.75"))
    assert "least=0.75" in same and "way=" not in same
    with pytest.raises(UserError, match=r"least=2\.0"):
        form.predict(files[:1], least="2.0")


def test_marks_are_redrawn_without_asking_again(studio, dropped, files, monkeypatch):
    form = Form(studio, "gives_boxes")
    assert "3 of 3 are shown" in form.predict(files[:1], count="3", least="0")
    assert "&lt;b&gt; (1)" in form.shown and "猫 (2)" in form.shown
    monkeypatch.setattr(models_api.Model, "answer", lambda *given: pytest.fail("asked again"))
    assert "2 of 3" in form.again(least="0.5", names=["<b>", "猫"], of="names")
    shown = form.again(names=["猫"], of="names")
    assert "2 of 3" in shown and "&lt;b&gt;" not in shown.partition("<table>")[2]
    assert "0 of 3" in form.again(of="names")


def test_a_video_plays_or_stands_at_a_frame(studio, dropped, tmp_path):
    form = Form(studio, "gives_video")
    assert "image/webp" in form.predict(**sent("video", tmp_path))
    assert 'name="view-frame" min="0" max="4"' in form.shown
    still = form.again(frame="3")
    assert "image/png" in still and "frame 3" in still and "image/webp" in form.again(frame="0")


def test_a_chat_goes_on_and_another_page_begins_anew(studio, dropped):
    form, other = Form(studio, "gives_chat"), Form(studio, "gives_chat")
    for turns in (2, 4):
        assert form.predict(given_text="やあ").count("<li") == turns
    assert [turn.text for turn in form.kept.said.turns if turn.role == "user"] == ["やあ", "やあ"]
    assert other.predict(given_text="やあ").count("<li") == 2


def test_the_oldest_answers_make_room(studio, project, files, monkeypatch):
    monkeypatch.setattr(kept_answers, "MOST", 2)
    forms = [Form(studio, run(project, "mlp")) for _number in range(3)]
    for form in forms:
        form.predict(files[:1])
    assert [form.kept is None for form in forms] == [True, False, False]


# generators, and what neither answers nor draws


@pytest.fixture(scope="module")
def drawing(tmp_path_factory):
    """A generator's run that knows classes and has options."""
    project = tmp_path_factory.mktemp("drawing")
    return train.train("ddpm_tiny", "digits", budget="1ep", project=project, samples=3).folder


@pytest.fixture
def draws(studio, drawing, project):
    """Its form."""
    folder = project / "generate" / drawing.name
    shutil.copytree(drawing, folder)
    assert predict_form.find(project, str(folder)).labels == list("0123456789")
    return Form(studio, str(folder))


def test_a_generators_form_holds_its_own_options(draws):
    options = signature.options_of(predict_form.find(draws.studio.project, draws.name).system.drawing)
    own = [name for name, each in options.items() if each.default is not None]
    for name in (*own, "n", "seed", "label", "first", "walk", "device"):
        assert f'name="{name}"' in draws.html


def test_what_the_form_proposes_is_the_command(draws, monkeypatch):
    started = []

    def start(words, language, queued):
        started.append((words, language, queued))
        return Named("7")

    monkeypatch.setattr(draws.studio.jobs, "start", start)
    use.PARTS["generate"](draws.studio, draws.posted())
    assert started == [(["generate", draws.name, "n=16", "seed=1"], "en", False)]
    assert f"souron generate {draws.name} n=16 seed=1" in draws.same


class Named:
    def __init__(self, id):
        self.id = id


def test_what_is_changed_is_said_as_text_that_the_command_takes(draws):
    form = draws.posted(label=["3", "7"], steps="5")
    form.files["given"] = [Path("/tmp/somewhere/given.png")]
    words = predict_form.generate(draws.studio, form)
    assert "label=3,7" in words and "steps=5" in words and "given=/tmp/somewhere/given.png" in words
    same = use.PARTS["same"](draws.studio, form)
    assert "label=3,7" in same and "given=given.png" in same and "steps=5" in same
    with pytest.raises(UserError):
        predict_form.generate(draws.studio, draws.posted(steps="0"))


def test_a_ready_trained_generator_draws_below_the_project(studio, project, monkeypatch):
    monkeypatch.chdir(project)  # elsewhere than where a command would write
    *_words, out = predict_form.generate(studio, Form(studio, "ddpm").posted(seed="3"))
    assert out == f"out={studio.project / 'ready' / 'ddpm' / 'pictures' / 'seed3'}"


@pytest.mark.parametrize("name, places", [("image_gpt", ["given"]), ("latent_diffusion", ["image", "mask"])])
def test_it_takes_an_image_to_complete_or_to_start_from(studio, name, places):
    form = Form(studio, name)
    assert re.findall(r'<input[^>]* type="file" name="(\w+)"', form.html) == places
    assert ('data-paint="image"' in form.html) == ("mask" in places)
    assert ("<textarea" in form.html) == (name == "latent_diffusion")


def test_it_draws(draws):
    panel = use.PARTS["generate"](draws.studio, draws.posted(n="2"))
    assert 'id="job"' in panel
    [job] = draws.studio.jobs.all()
    waiting.until(lambda: job.process() is None, every=0.2)
    assert job.state == "done", job.log
    assert latest(draws.studio, draws.name) == job.id
    assert latest(draws.studio, "another") == latest(draws.studio, "") == ""
    shown = use.body(draws.studio, {"job": job.id})
    assert shown.count('loading="lazy"') >= 3 and f"/runs/generate/{Path(draws.name).name}/pictures" in shown


def test_pictures_elsewhere_are_not_linked(studio, tmp_path, files):
    job = Named("1")
    job.result = {"files": [str(files[0]), "/etc/passwd", "<b>"], "folder": "<b>", "count": 1}
    shown = outcome(studio, job)
    assert "<img" not in shown and "<b>" not in shown


def test_what_answers_nothing_says_so_and_what_to_do(studio, project):
    record = train.train("kmeans", "digits", budget="1ep", project=project)
    source = predict_form.find(project, str(record.folder))
    assert signature.signature(source.system) is None and not hasattr(source.system, "drawing")
    assert str(record.folder) in [name for _shown, name in use.choices(studio)]
    shown = use.chosen(studio, str(record.folder))
    assert "makes no predictions" in shown and "<form" not in shown
    assert f"/report/en/{record.folder.parent.name}/{record.folder.name}" in shown
    assert not predict_form.works(project, source.name) and predict_form.works(project, run(project, "mlp"))
    assert f'<option value="{run(project, "cnn")}" selected>' in use.body(studio, {})  # although it is the newest
    with pytest.raises(UserError):
        use.PARTS["predict"](studio, Posted({"use-name": [str(record.folder)]}))


def test_it_says_where_the_weights_are_not_those_that_the_run_ended_with(studio, project):
    name = run(project, "mlp")
    assert "remark" not in predict_form.about(studio, predict_form.find(project, name))
    [weights] = Path(name).glob("weights/best.safetensors")
    shutil.copy(Path(run(project, "cnn")) / "weights" / "best.safetensors", weights)
    shown = predict_form.about(studio, predict_form.find(project, name))
    assert '<p class="remark">' in shown and "weights/best.safetensors" in shown


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_built(studio, project, language):
    """In each language, with the form for each thing that can be chosen."""
    studio = replace(studio, language=language)
    with use_language(language):
        assert ("Use what was trained" in use.body(studio, {})) == (language == "en")
        for name in [*(name for _shown, name in use.choices(studio)), "classify/gone"]:
            assert 'id="system"' in use.chosen(studio, name)


def test_the_page_needs_no_torch_before_something_is_chosen():
    code = "import sys, souron.studio.pages.use; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_video_is_looked_at_frame_by_frame(studio, project, tmp_path):
    """As on the command line: a detector, and one file that moves."""
    image = Image.new("RGB", (96, 96), (20, 20, 20))
    frames = [image.copy() for _number in range(4)]
    for number, frame in enumerate(frames):
        frame.paste((230, 230, 230), (10 * number, 40, 10 * number + 20, 60))
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:], duration=100)
    form = Form(studio, "yolo")
    card = form.predict([tmp_path / "clip.gif"])
    assert "4 frames" in card and "trouble" not in card
    [folder] = (project / "watch").iterdir()
    assert (folder / "tracks.csv").is_file()
    if (folder / "video.mp4").is_file():
        assert f'src="{studio.address(folder / "video.mp4")}"' in card
