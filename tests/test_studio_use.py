"""The studio's page to use what was trained, and the models that it keeps in memory."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import dropping
import gradio as gr
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
from souron.studio import answers, model_cache
from souron.studio.forms import predict_form, samples
from souron.studio.forms.generate_form import Drawing, latest, outcome
from souron.studio.jobs.job_queue import Jobs
from souron.studio.jobs.job_view import Watch
from souron.studio.pages import use
from souron.studio.security import access
from souron.studio.security.paths import Roots
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
    """A studio without a browser, its page within a Gradio app."""
    kept = {"GRADIO_TEMP_DIR": str(project / ".studio" / "temporary")}
    for name, value in (access.QUIET | kept).items():
        monkeypatch.setenv(name, value)

    places = Roots([tmp_path, project])
    blocks = looped(lambda: gr.Blocks(analytics_enabled=False))
    return Studio(project, places, Jobs(project), "en", blocks)


def looped(make):
    """What ``make`` makes, where an event loop runs; else Gradio makes loops that nobody closes."""

    async def made():
        return make()

    return asyncio.run(made())


def form_of(studio, name):
    """The form to ask it, as the page builds it."""
    source = predict_form.find(studio.project, name)

    def make():
        with studio.blocks:
            return predict_form.Predicting(studio, source, signature.signature(source.system), gr.HTML())

    return looped(make)


def test_the_newest_run_is_chosen_and_published_weights_stand_below(studio, project):
    offered = [name for _shown, name in use.choices(studio)]
    runs = [run(project, "cnn"), run(project, "mlp")]
    assert offered[:2] == runs and "efficientnet_lite" in offered[2:]
    update, said = use.offer(studio, {})
    assert update["value"] == runs[0] and said == ""


def test_a_run_that_was_stopped_is_not_the_one_that_is_chosen(studio, project):
    runs = [run(project, "cnn"), run(project, "mlp")]
    (Path(runs[0]) / "receipt.json").unlink()
    assert [name for _shown, name in use.choices(studio)][:2] == [runs[1], runs[0]]
    assert use.offer(studio, {})[0]["value"] == runs[1]


def test_what_the_address_asks_for_is_chosen(studio, project):
    name = run(project, "mlp")
    for query in ({"run": name}, {"run": str(Path(name).relative_to(project))}, {"run": str(Path(name).resolve())}):
        assert use.offer(studio, query)[0]["value"] == name
    assert use.offer(studio, {"system": "efficientnet_lite"})[0]["value"] == "efficientnet_lite"


def test_what_is_not_there_is_chosen_too_so_that_it_is_told_why(studio):
    update, _said = use.offer(studio, {"run": "classify/gone"})
    assert update["value"] == "classify/gone" == update["choices"][-1][1]
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
    update, said = use.offer(studio, {})
    assert update["value"] is None and "/en/train" in said


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
    form = form_of(studio, name)
    armed, _tab, image_file, _files = form.sampled()
    assert armed["interactive"] and form.loaded() == gr.skip()
    assert Path(image_file).is_relative_to(os.environ["GRADIO_TEMP_DIR"])
    found, cards, same = form.one(None, image_file, 5, False)
    [(_file, expected)] = models_api.predict(models_api.load(name), [image_file])
    assert found[0].said.as_json()["labels"] == expected.as_json()["labels"]
    assert expected.best[0] in cards and cards.count("<tr>") == 5
    assert f"souron predict {name} {Path(image_file).name}" in same
    assert f"souron serve {name}" in same and "souron.load(" in same


@pytest.mark.parametrize("name", ["clip", "transformer", "page_writer", "visual_qa"])
def test_one_click_answers_with_a_system_that_comes_ready_too(studio, name):
    """The text, or the question about the image, is there already."""
    form = form_of(studio, name)
    _armed, _tab, given, _files = form.sampled()
    own = [option.value for option in form.form.options.values()]
    _found, cards, same, *shown = form.one(None, given, *own, 5, False)
    assert "[" not in cards and f"souron predict {name}" in same and shown


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


def test_a_file_that_browsers_cannot_show_waits_among_the_files(studio, project, monkeypatch):
    form = form_of(studio, run(project, "mlp"))
    monkeypatch.setattr(samples, "sample", lambda *_given: Path("scan.dcm"))
    armed, tab, image_file, files = form.sampled()
    assert armed["interactive"] and tab["selected"] == "files" and files == ["scan.dcm"]
    assert not isinstance(image_file, str)


def test_several_files_are_answered_as_the_command_does(studio, project, files):
    name = run(project, "mlp")
    form = form_of(studio, name)
    found, cards, _same = form.several(list(map(str, files)), 3, False)
    assert [(each.file, each.said.as_json()) for each in found] == said(
        models_api.predict(models_api.load(name), files)
    )
    assert cards.count("<figure") == 10 and cards.count("<tr>") == 30


def test_more_labels_are_shown_without_asking_again(studio, project, files, monkeypatch):
    form = form_of(studio, run(project, "mlp"))
    found, _cards, _same = form.several([str(files[0])], 1, False)
    monkeypatch.setattr(models_api.Model, "answer", None)
    for top in (1, 4, 10, 20):
        assert answers.cards(found, top, False).count("<tr>") == min(top, 10)


def test_a_folder_is_answered_whole_and_only_within_the_roots(studio, project, photos):
    form = form_of(studio, run(project, "mlp"))
    found, _cards, same = form.all_of("photos/cat", 5, False)
    assert len(found) == 20 and "photos/cat" in same
    for text in ("/etc", "../..", "", "no such folder", "photos/*.tiff", "\0"):
        found, cards, _same = form.all_of(text, 5, False)
        assert found == [] and "trouble" in cards


def test_the_page_shows_so_many_and_names_the_command_for_all(studio, project, photos, monkeypatch):
    monkeypatch.setattr(predict_form, "MOST_ANSWERS", 7)
    found, cards, _same = form_of(studio, run(project, "mlp")).all_of("photos", 5, False)
    assert len(found) == 7 and "first 7" in cards


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
    form = form_of(studio, run(project, "cnn"))
    found, cards, _same = form.one(None, str(hostile), 5, False)
    assert found == [] and "trouble" in cards and "<img" not in cards
    assert str(hostile.parent) not in cards
    found, cards, _same = form.several([str(hostile), str(files[1])], 5, True)
    assert isinstance(found[0].said, UserError) and cards.count("<figure") == 2
    assert "<script" not in cards and "onerror=alert(1)>" not in cards.replace("&gt;", "")
    assert form.one(None, str(files[1]), 5, False)[0][0].said.best


def test_names_are_shown_as_text(studio, project, files):
    odd = files[0].with_name("<b>\"'&.png")
    shutil.copy(files[0], odd)
    found, cards, same = form_of(studio, run(project, "cnn")).several([str(odd)], 5, False)
    assert found[0].said.best and "<b>" not in cards and "<b>" not in same
    assert "&lt;b&gt;" in cards and "&lt;b&gt;" in same


def test_a_table_leads_to_the_page_that_reads_it(studio, project, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio-1"))
    form = form_of(studio, run(project, "cnn"))
    for content, way in (
        ("case,truth,unet\n1,0,1\n2,1,1\n", "study=verdict"),
        ("length,width\n1,2\n3,4\n", "my_data?"),
    ):
        (tmp_path / "t.csv").write_text(content, encoding="utf-8")
        found, cards, _same = form.several([str(tmp_path / "t.csv")], 5, False)
        assert found == [] and way in cards


def test_nothing_given_is_said(studio, project):
    form = form_of(studio, run(project, "cnn"))
    for found, cards, _same in (form.one(None, None, 5, False), form.several(None, 5, False)):
        assert found == [] and "nothing was given yet" in cards


def test_a_damaged_run_is_told_of_when_it_is_chosen(studio, project, files):
    form = form_of(studio, run(project, "cnn"))
    (Path(run(project, "cnn")) / "weights" / "best.safetensors").write_bytes(b"no weights")
    assert "trouble" in form.loaded()
    found, cards, _same = form.one(None, str(files[0]), 5, False)
    assert found == [] and "weights file" in cards


def test_it_shows_where_the_network_looked(studio, project, files):
    form = form_of(studio, run(project, "cnn"))
    found, plain, _same = form.several([str(files[0])], 5, False)
    looked, cards = form.look_again(found, 5, True)
    assert looked[0].looked.startswith("data:image/png") and looked[0].looked in cards
    assert looked[0].image in plain and looked[0].image not in cards
    assert answers.cards(looked, 5, False) == plain
    at_once, same_cards, _same = form.several([str(files[0])], 5, True)
    assert same_cards == cards and at_once == looked


def test_a_network_without_places_says_so(studio, project, files):
    form = form_of(studio, run(project, "mlp"))
    found, cards, _same = form.several([str(files[0])], 5, True)
    assert "has no spatial feature maps" in cards and found[0].image in cards


def test_published_weights_are_used_by_their_name(studio):
    form = form_of(studio, "efficientnet_lite")
    china = form.sampled()[2]
    found, cards, same = form.one(None, china, 3, False)
    assert Path(china).name == "china.jpg" and cards.count("<tr>") == 3
    assert len(found[0].said.labels) == 1000
    assert "souron predict efficientnet_lite china.jpg pretrained=true" in same
    assert "pretrained=True" in same


def test_both_languages(studio, project, files):
    form = form_of(studio, run(project, "cnn"))
    spoken = {}
    for language in LANGUAGES:
        with use_language(language):
            spoken[language] = (
                form.several(list(map(str, files)), 5, False)[1],
                form.one(None, None, 5, False)[1],
                predict_form.about(studio, form.source),
                predict_form.silent(studio),
            )
    for english, japanese in zip(spoken["en"], spoken["ja"], strict=True):
        assert english != japanese


@pytest.fixture
def dropped(tmp_path):
    """Systems of one file each that learn nothing: one for every kind that comes out."""
    sources = {f"gives_{kind}": dropping.source(kind) for kind in dropping.BODIES}
    with dropping.dropped(tmp_path, sources):
        yield


def handed_over(kind, tmp_path):
    """What the page's component for such a kind gives a handler."""
    example = dropping.EXAMPLES[kind]()
    if kind == "chat":
        return "やあ"
    if kind in ("text", "question"):
        return str(example)
    path = tmp_path / f"given{example.suffix}"
    example.save(path)
    return str(path)


@pytest.mark.parametrize("gives", dropping.BODIES)
def test_a_dropped_in_system_appears_and_answers(studio, dropped, tmp_path, gives):
    name = f"gives_{gives}"
    assert name in [known for _shown, known in use.choices(studio)]
    form = form_of(studio, name)
    told = [option.default for option in form.asked.options.values()]
    value = handed_over(dropping.BODIES[gives][0], tmp_path)
    _found, cards, same, *view = form.one(None, value, *told, 5, False)
    if gives == "labels":
        assert "猫" in cards and "&lt;b&gt;" in cards and "<b>" not in cards
    else:
        unchecked = dropping.BODIES[gives][0] in ("picture", "volume") and form.asked.gives.of_image
        assert (no_check() in cards, cards == "") == (unchecked, not unchecked) and view[0].widget == gives
    assert f"souron predict {name}" in same and "pretrained" not in same


def test_its_options_are_widgets_and_words(studio, dropped, files):
    form = form_of(studio, "gives_labels")
    least, *_others, word = form.form.options.values()
    assert (least.minimum, least.maximum, least.value) == (0, 1, 0.25) and word.value == "<b>"
    told = {name: option.default for name, option in form.asked.options.items()}
    some = [str(files[0])]
    found, cards, same = form.several(some, *(told | {"least": 0.75}).values(), 5, False)
    assert found[0].said.best == ("猫", 0.75) and "75.0 %" in cards
    assert "least=0.75" in same and "way=" not in same and "way=" not in form.told_again(*told.values())
    found, cards, _same = form.several(some, *(told | {"least": 2.0}).values(), 5, False)
    assert found == [] and "least=2.0" in cards


@pytest.mark.parametrize("gives", dropping.BODIES)
def test_what_is_to_be_filled_in_says_that_it_can_be(studio, dropped, gives):
    form = form_of(studio, f"gives_{gives}")
    inputs = [*form.form.inputs, form.files, form.folder, form.top, form.look]
    assert all(part.get_config()["interactive"] for part in inputs)
    for part in form.view.parts if form.view else []:
        assert getattr(part, "interactive", False) is not None


def test_a_chat_goes_on(studio, dropped):
    form = form_of(studio, "gives_chat")
    told = [option.default for option in form.asked.options.values()]
    first = form.one(None, "a", *told, 5, False)[3]
    second = form.one(first, "b", *told, 5, False)[3]
    assert [turn.text for turn in second.turns if turn.role == "user"] == ["a", "b"]


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
    source = predict_form.find(project, str(folder))
    assert source.labels == list("0123456789")

    def make():
        with studio.blocks:
            parts = source.labels, Watch(studio, outcome, ("generate",)), gr.HTML()
            return Drawing(studio, source.name, source.system, *parts)

    return looped(make)


def test_a_generators_form_holds_its_own_options(draws):
    options = signature.options_of(predict_form.find(draws.studio.project, draws.run).system.drawing)
    assert set(draws.own) == {name for name, each in options.items() if each.default is not None}
    assert set(draws.further) == {"first", "walk", "device"}


def test_what_the_form_proposes_is_the_command(draws, monkeypatch):
    started = []
    monkeypatch.setattr(
        draws.studio.jobs,
        "start",
        lambda words, language, queued: started.append((words, language, queued)) or Named("7"),
    )
    assert draws.begin(*draws.proposed()) == "7"
    assert started == [(["generate", draws.run, "n=16", "seed=1"], "en", False)]
    assert f"souron generate {draws.run} n=16 seed=1" in draws.the_same(*draws.proposed())


class Named:
    def __init__(self, id):
        self.id = id


def test_what_is_changed_is_said_as_text_that_the_command_takes(draws):
    values = draws.proposed()
    values[3], values[4] = ["3", "7"], "/tmp/somewhere/given.png"
    place = 6 + list(draws.own).index("steps")
    values[place] = 5
    read = draws.read(*values)
    assert read["label"] == "3,7" and read["steps"] == 5
    same = draws.the_same(*values)
    assert "label=3,7" in same and "given=given.png" in same and "steps=5" in same
    values[place] = 0
    with pytest.raises(UserError):
        draws.read(*values)


def test_it_draws(draws):
    values = draws.proposed()
    values[1] = 2
    job = draws.studio.jobs.get(draws.begin(*values))
    waiting.until(lambda: job.process() is None, every=0.2)
    assert job.state == "done", job.log
    assert latest(draws.studio, draws.run) == job.id
    assert latest(draws.studio, "another") == latest(draws.studio, None) == ""
    shown = outcome(draws.studio, job)
    assert shown.count("<img") >= 3 and f"/runs/generate/{Path(draws.run).name}/pictures" in shown


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
    assert "makes no predictions" in predict_form.silent(studio)
    assert f"/report/en/{record.folder.parent.name}/{record.folder.name}" in predict_form.about(studio, source)
    assert not predict_form.works(project, source.name) and predict_form.works(project, run(project, "mlp"))
    assert use.offer(studio, {})[0]["value"] == run(project, "cnn")  # although it is the newest


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

    def make():
        with use_language(language), studio.blocks:
            use.page(studio)
            for name in [*(name for _shown, name in use.choices(studio)), "classify/gone"]:
                watch = Watch(studio, outcome, ("generate",))
                predict_form.build(studio, name, watch, gr.HTML())
        return str(studio.blocks.get_config_file())

    shown = looped(make)
    assert ("Use what was trained" in shown) == (language == "en")


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
    form = form_of(studio, "yolo")
    own = [option.default for option in form.asked.options.values()]
    _found, card, same, *_rest = form.several([str(tmp_path / "clip.gif")], *own, 5, False)
    assert "4 frames" in card and "trouble" not in card and "clip.gif" in same
    [folder] = (project / "watch").iterdir()
    assert (folder / "tracks.csv").is_file()
    if (folder / "video.mp4").is_file():
        assert f'src="{studio.address(folder / "video.mp4")}"' in card
