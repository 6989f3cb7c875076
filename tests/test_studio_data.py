"""The studio's page of data: what comes in, the words of the commands, what they found."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import typer.main

from souron.cli import app, main
from souron.cli.parsing import arguments
from souron.data import load
from souron.studio import data_view
from souron.studio.forms import own_data
from souron.studio.jobs import job_queue
from souron.studio.jobs.job_queue import Jobs
from souron.studio.pages import data
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils.messages import LANGUAGES, UserError, use_language

HOSTILE = "<img src=x onerror=alert(1)>"
PROJECT = Path("runs")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")


@pytest.fixture(params=LANGUAGES)
def studio(request):
    with use_language(request.param):
        yield Studio(PROJECT, Roots([Path.cwd(), PROJECT]), Jobs(PROJECT), request.param)


@pytest.fixture
def english():
    return Studio(PROJECT, Roots([Path.cwd(), PROJECT]), Jobs(PROJECT), "en")


def packed(folder, name="写真.zip"):
    with ZipFile(name, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    return name


def ended(studio, words, result, code=0, error=None):
    """A job that ended so."""
    job = studio.jobs.start(words, studio.language)
    job.note["over"] = "failed" if error else "done"
    job_queue.write(job.place / "result.json", result)
    said = {"error": error} if error else {}
    line = json.dumps({"time": 0, "ended": code, **said})
    (job.place / "events.jsonl").write_text(line + "\n")
    return job


def answer(capsys, words):
    """What the command prints for the studio, and its exit code."""
    capsys.readouterr()
    code = main.run([words[0], "--json", *words[1:]])
    return json.loads(capsys.readouterr().out.splitlines()[0]), code


def meant(words):
    """How the command line takes the words: arguments and options."""
    command = typer.main.get_command(app.app).commands["data"]
    rest = arguments.rewrite("data", command, arguments.take_global(words[1:]))
    return [word for word in rest if not word.startswith("--")], [word for word in rest if word.startswith("--")]


FORM = ("", "", "")  # imgsz, group, window

# what comes in


def test_the_studio_starts_without_what_it_needs_only_later(tmp_path):
    """Else its first page would come seconds later."""
    code = (
        "import sys; from pathlib import Path; from souron.studio import app; "
        "app.application(Path('runs'), port=7860); "
        "sys.exit(' '.join({'torch', 'matplotlib', 'sklearn'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_an_upload_becomes_the_chosen_data_and_the_command_reads_it(studio, photos, capsys):
    (photos / "notes.exe").write_bytes(b"MZ program")
    folder, told = data.take(studio, [packed(photos)])
    assert folder == "runs/.studio/uploads/photos"
    assert "notes.exe" in told and "60" in told
    words = data.look_words(studio, folder, *FORM)
    assert words == ["data", folder]
    found, code = answer(capsys, words)
    assert code == 0 and found["cases"] == 60
    job = ended(studio, words, found)
    shown = data_view.outcome(studio, job)
    assert f'src="/runs/data/photos/data.html?job={job.id}" title=' in shown
    assert f"/{studio.language}/train?data=runs%2F.studio%2Fuploads%2Fphotos" in shown


def test_predictions_lead_to_the_verdict_and_other_tables_are_data(studio, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio-1"))
    (tmp_path / "p.csv").write_text("case,truth,unet\n1,0,1\n2,1,1\n", encoding="utf-8")
    (tmp_path / "m.csv").write_text("length,width\n1,2\n3,4\n", encoding="utf-8")
    folder, told = data.take(studio, [str(tmp_path / "p.csv")])
    assert folder == "" and "study=verdict&amp;files=" in told
    assert data.take(studio, [str(tmp_path / "m.csv")])[0].startswith("runs/.studio/uploads/m")


# words


def test_a_form_becomes_the_words_of_the_command(english, photos):
    assert data.look_words(english, " digits ", "32", "", None) == ["data", "digits", "imgsz=32"]
    asked = ("64", "(\\d+) ", "40,400")
    assert data.look_words(english, "photos", *asked) == [
        "data",
        "photos",
        "imgsz=64",
        "group=(\\d+) ",
        "window=40,400",
    ]
    assert data.check_words(english, str(photos), *asked) == [
        "data",
        "check",
        "photos",
        "group=(\\d+) ",
        "window=40,400",
    ]


@POSIX
@pytest.mark.parametrize(
    "name", ["fix=x", "lang=ja", "--fix", "-x", "check", "anonymise", "./digits", "json", "~x", "a b", "写真"]
)
def test_no_folder_is_taken_for_an_option_or_a_name(english, name):
    folder = Path(name)
    folder.mkdir()
    typed = str(folder.absolute()) if name[0] in "~-" else name
    words = data.look_words(english, typed, *FORM)
    [found], options = meant(words)
    assert Path(found).samefile(folder) and found != "digits" and options == []
    job_queue.check(words, "en")
    (verb, found), options = meant(data.check_words(english, typed, *FORM))
    assert verb == "check" and Path(found).samefile(folder) and options == []


@pytest.mark.parametrize("text", ["/etc", "../outside", "", None, " ", "a\0b", "~root", "//server/x"])
@pytest.mark.parametrize("line", [data.look_words, data.check_words, data.clean_words])
def test_nothing_outside_of_the_roots_becomes_a_job(english, line, text):
    Path("../outside").mkdir(exist_ok=True)
    with pytest.raises(UserError, match=r"\[(outside|path)\]"):
        line(english, text, *FORM)
    with pytest.raises(UserError, match=r"\[(outside|path)\]"):
        data.anonymise_words(english, text, "")


def test_the_doctor_is_not_asked_about_a_known_data_set(studio):
    for line in (data.check_words, data.clean_words):
        with pytest.raises(UserError, match=r"\[data\]"):
            line(studio, "digits", *FORM)


def test_the_cleaned_table_lies_beside_the_pictures_and_over_nothing(english, photos):
    def fix(given):
        return data.clean_words(english, given, *FORM)[-1]

    assert fix("photos") == "fix=photos/checked.csv"
    (photos / "checked.csv").write_text("mine")
    assert fix("photos") == "fix=photos/checked-2.csv"
    (photos / "checked-2.csv").symlink_to("nowhere")
    assert fix("photos") == "fix=photos/checked-3.csv"
    assert fix("photos/checked.csv") == "fix=photos/checked-3.csv"


def test_the_anonymous_copy_is_a_new_folder_within_the_roots(english, photos):
    words = data.anonymise_words(english, "photos", "")
    assert words == ["data", "anonymise", "photos", "runs/.studio/uploads/photos-anonymous"]
    (data.place(english) / "photos-anonymous").mkdir(parents=True)
    assert data.anonymise_words(english, "photos", " ")[-1].endswith("photos-anonymous-2")
    assert data.anonymise_words(english, "photos", "copy")[-1] == "copy"
    (photos / "labels.csv").write_text("filename,label\n")
    assert data.anonymise_words(english, "photos/labels.csv", "copy")[2] == "photos"
    with pytest.raises(UserError, match="outside"):
        data.anonymise_words(english, "photos", "/tmp/copy")


def test_the_same_in_the_terminal_and_in_python(english, photos):
    shown = str(data.shown(english, ("photos", "32", "none", "")))
    assert "souron data photos imgsz=32 group=none\nsouron data check photos group=none" in shown
    assert "load.load(&#39;photos&#39;, side=32, group=&#39;none&#39;)" in shown
    assert "check" not in data.shown(english, ("digits", *FORM))
    assert data.shown(english, ("/etc", *FORM)) == ""


# what was found


@POSIX
def test_the_doctor_of_hostile_names_shows_them_as_text(studio, photos, capsys):
    (photos / "cat").rename(photos / HOSTILE)
    shutil.copy(next((photos / "犬").iterdir()), photos / HOSTILE / f"{HOSTILE}.png")
    (photos / HOSTILE / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    words = data.check_words(studio, "photos", *FORM)
    found, code = answer(capsys, words)
    assert code == 3
    watch = watching(studio)
    job = ended(studio, words, found, code)
    shown = watch.outcome(studio, job) + watch.progress(job, job.state)
    assert "<img" not in shown and 'sandbox="allow-popups"' in shown
    assert f'src="/runs/data/photos/check.html?job={job.id}"' in shown
    looked, code = answer(capsys, ["data", "photos"])
    assert code == 0 and HOSTILE in looked["labels"]
    assert "<img" not in data_view.outcome(studio, ended(studio, ["data", "photos"], looked))


def built(make):
    """What ``make`` makes of the blocks of a page; Gradio wants an event loop for that."""
    import gradio as gr

    async def build():
        with gr.Blocks() as blocks:
            return make(blocks)

    return asyncio.run(build())


def watching(studio):
    return built(lambda blocks: data.Looking(studio, data_view.outcome, ("data",)))


def finding(code, severity, **more):
    return {"code": code, "severity": severity, "files": [], "message": code, "fix": "", **more}


def test_what_went_wrong_stands_beside_what_was_found(studio):
    found = {"files": 3, "readable": 2, "findings": [finding("grave", "error")]}
    error = {"code": "exists", "found": "checked.csv is there already", "expected": "", "try": ""}
    words = ["data", "check", "photos", "fix=photos/checked.csv"]
    watch, job = watching(studio), ended(studio, words, found, 5, error)
    shown = watch.failure(job, "failed")
    assert "checked.csv is there already" in shown and "<h2>" in shown
    assert 'class="job failed"' in watch.progress(job, "failed")
    failed = ended(studio, words, {"error": error}, 3, error)
    assert "<h2>" not in watch.failure(failed, "failed")
    assert "checked.csv is there already" in watch.failure(failed, "failed")


def test_the_cleaned_table_is_offered_once_it_is_there(studio, photos, capsys):
    words = data.clean_words(studio, "photos", *FORM)
    found, _code = answer(capsys, words)
    job = ended(studio, words, found)
    shown = data_view.outcome(studio, job)
    assert f'href="/{studio.language}/data?data=photos%2Fchecked.csv"' in shown
    assert f'href="/{studio.language}/train?data=photos%2Fchecked.csv"' in shown
    assert "train?data=photos&#34;" not in shown and 'train?data=photos"' not in shown
    answer(capsys, data.look_words(studio, "photos/checked.csv", *FORM))
    Path("photos/checked.csv").unlink()
    assert "checked.csv" not in data_view.outcome(studio, job)


def test_what_identifies_is_said(english):
    found = {"cases": 100, "identifying": {"PatientName": 7, HOSTILE: 1}}
    shown = data_view.outcome(english, ended(english, ["data", "photos"], found))
    assert "<td>PatientName</td><td>7</td>" in shown and "<img" not in shown
    assert "iframe" not in shown  # no page was written


def test_how_patients_are_known_goes_on_to_the_training(english):
    job = ended(english, ["data", "photos", "imgsz=8", "group=p(\\d+)", "window=full"], {"cases": 1})
    shown = data_view.outcome(english, job)
    assert "/en/train?data=photos&amp;group=p%28%5Cd%2B%29&amp;window=full" in shown


def test_an_anonymous_copy_says_what_was_taken_out_and_what_stays(studio):
    found = {
        "out": "runs/.studio/uploads/copy",
        "files": 3,
        "removed": {"PatientName": 3},
        "folders": [HOSTILE],
        "skipped": [{"file": "a", "code": "b", "reason": "c"}],
        "left_out": 1,
        "tables": 0,
        "burned_in": {"said": 1, "likely": 0},
    }
    words = ["data", "anonymise", "scans", "runs/.studio/uploads/copy"]
    shown = data_view.outcome(studio, ended(studio, words, found))
    assert "PatientName 3" in shown and "<img" not in shown
    assert "data?data=runs%2F.studio%2Fuploads%2Fcopy" in shown
    none = {**found, "files": 0, "removed": {}, "folders": []}
    shown = watching(studio).failure(ended(studio, words, none, 3), "failed")
    assert "data?data=" not in shown and "<table" in shown


def test_a_page_opened_again_finds_the_newest_job_about_its_data(english, photos):
    first = english.jobs.start(["data", "photos"], "en")
    second = english.jobs.start(["data", "check", "photos"], "en")
    other = english.jobs.start(["data", "digits"], "en")
    english.jobs.start(["train", "cnn", "data=photos"], "en")
    assert data.latest(english, str(photos)) == second.id != first.id
    assert data.latest(english, "digits") == other.id
    assert data.latest(english, "/etc") == data.latest(english, "mnist") == ""


def test_it_is_said_which_data_sets_are_here(studio, monkeypatch):
    monkeypatch.setattr(load, "INSTALLED", Path("nowhere"))
    named = {name: text for text, name in own_data.choices(studio)}
    assert own_data.where(load.names()["mnist"]) in named["mnist"]
    assert own_data.where(load.names()["mnist"]) not in named["digits"]
    assert "/machine" in data.told(studio, "mnist") and "/machine" not in data.told(studio, "digits")
    assert f'data-address="/{studio.language}/data?data=digits"' in data.told(studio, "digits")
    assert "nowhere" in data.told(studio, "nowhere")
    assert "outside" in data.told(studio, "/etc") and "<img" not in data.told(studio, HOSTILE)


# what was brought earlier


@pytest.fixture
def uploads(studio):
    return built(lambda blocks: data.Uploads(studio))


def brought(studio, photos):
    packed(photos, "photos.zip")
    return data.take(studio, ["photos.zip"])[0]


def test_an_upload_is_listed_and_can_be_removed(studio, uploads, photos):
    folder = Path(brought(studio, photos))
    second = Path(brought(studio, photos))
    listed, column, choice = uploads.draw()
    assert column["visible"] and set(choice["choices"]) == {"photos", "photos-2"}
    assert "data=runs%2F.studio%2Fuploads%2Fphotos-2" in listed
    assert "photos" in uploads.ask("photos")
    uploads.delete("photos")
    assert not folder.exists() and second.exists()
    assert [path.name for path in data.place(studio).iterdir()] == ["photos-2"]
    with pytest.raises(UserError, match="missing"):
        uploads.delete("photos")


def test_an_upload_that_a_job_reads_stays(studio, uploads, photos):
    folder = brought(studio, photos)
    job = studio.jobs.start(["train", "cnn", f"data={folder}"], "en")
    with pytest.raises(UserError, match="in use"):
        uploads.delete("photos")
    assert Path(folder).is_dir()
    job.forget()
    uploads.delete("photos")


@POSIX
@pytest.mark.parametrize("name", ["..", "../uploads", "/etc", "", None, ".coming-x", "link"])
def test_only_an_upload_is_removed(studio, uploads, name):
    place = data.place(studio)
    (place / ".coming-x").mkdir(parents=True)
    Path("outside").mkdir()
    (place / "link").symlink_to(Path("outside").absolute())
    with pytest.raises(UserError, match="missing"):
        uploads.delete(name)
    assert Path("outside").is_dir() and (place / ".coming-x").is_dir()


def test_the_page_speaks_both_languages():
    import gradio as gr

    def texts(language):
        def make(blocks):
            data.page(Studio(PROJECT, Roots([Path.cwd()]), Jobs(PROJECT), language, blocks))
            return blocks.blocks.values()

        with use_language(language):
            parts = built(make)
        buttons = [part.value for part in parts if isinstance(part, gr.Button)]
        named = [part.label for part in parts if getattr(part, "label", None)]
        return buttons + [label for label in named if label not in data.READING]

    english, japanese = texts("en"), texts("ja")
    assert len(english) == len(japanese) > 10
    assert [same for same in english if same in japanese] == []
