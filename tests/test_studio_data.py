"""The studio's page of data: what comes in, the words of the commands, what they found."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import plain_forms
import pytest

from souron.cli import app, main
from souron.cli.parsing import arguments
from souron.data import load
from souron.studio import data_view
from souron.studio.forms import own_data
from souron.studio.jobs import job_queue
from souron.studio.jobs.job_queue import Jobs
from souron.studio.pages import data
from souron.studio.security.paths import Roots
from souron.studio.security.posted import Posted
from souron.studio.shared import Studio
from souron.utils.messages import LANGUAGES, UserError, _, use_language

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
    command = app.parser("data").commands["data"]
    rest = arguments.rewrite("data", command, arguments.take_global(words[1:]))
    return [word for word in rest if not word.startswith("--")], [word for word in rest if word.startswith("--")]


def form(data, imgsz="", group="", window="", out=""):
    """The form of the page with these values."""
    return Posted({"data": [data], "imgsz": [imgsz], "group": [group], "window": [window], "out": [out]})


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
    words = data.look_words(studio, form(folder))
    assert words == ["data", folder]
    found, code = answer(capsys, words)
    assert code == 0 and found["cases"] == 60
    job = ended(studio, words, found)
    shown = data_view.outcome(studio, job)
    assert f'src="/runs/data/photos/data.html?job={job.id}" title=' in shown
    assert f"/{studio.language}/train?data=runs%2F.studio%2Fuploads%2Fphotos" in shown


def test_predictions_lead_to_the_verdict_and_other_tables_are_data(studio, tmp_path, monkeypatch):
    plain_forms.uploads(monkeypatch, tmp_path / "studio-1")
    (tmp_path / "p.csv").write_text("case,truth,unet\n1,0,1\n2,1,1\n", encoding="utf-8")
    (tmp_path / "m.csv").write_text("length,width\n1,2\n3,4\n", encoding="utf-8")
    folder, told = data.take(studio, [str(tmp_path / "p.csv")])
    assert folder == "" and "study=verdict&amp;files=" in told
    assert data.take(studio, [str(tmp_path / "m.csv")])[0].startswith("runs/.studio/uploads/m")


# words


def test_a_form_becomes_the_words_of_the_command(english, photos):
    assert data.look_words(english, form(" digits ", "32")) == ["data", "digits", "imgsz=32"]
    reading = ("64", "(\\d+) ", "40,400")
    words = ["group=(\\d+) ", "window=40,400"]
    assert data.look_words(english, form("photos", *reading)) == ["data", "photos", "imgsz=64", *words]
    assert data.check_words(english, form(str(photos), *reading)) == ["data", "check", "photos", *words]


@POSIX
@pytest.mark.parametrize(
    "name", ["fix=x", "lang=ja", "--fix", "-x", "check", "anonymise", "./digits", "json", "~x", "a b", "写真"]
)
def test_no_folder_is_taken_for_an_option_or_a_name(english, name):
    folder = Path(name)
    folder.mkdir()
    typed = str(folder.absolute()) if name[0] in "~-" else name
    words = data.look_words(english, form(typed))
    [found], options = meant(words)
    assert Path(found).samefile(folder) and found != "digits" and options == []
    job_queue.check(words, "en")
    (verb, found), options = meant(data.check_words(english, form(typed)))
    assert verb == "check" and Path(found).samefile(folder) and options == []


@pytest.mark.parametrize("text", ["/etc", "../outside", "", " ", "a\0b", "~root", "//server/x"])
@pytest.mark.parametrize("line", [data.look_words, data.check_words, data.clean_words, data.anonymise_words])
def test_nothing_outside_of_the_roots_becomes_a_job(english, line, text):
    Path("../outside").mkdir(exist_ok=True)
    with pytest.raises(UserError, match=r"\[(outside|path)\]"):
        line(english, form(text))


def test_the_doctor_is_not_asked_about_a_known_data_set(studio):
    for line in (data.check_words, data.clean_words):
        with pytest.raises(UserError, match=r"\[data\]"):
            line(studio, form("digits"))


def test_the_cleaned_table_lies_beside_the_pictures_and_over_nothing(english, photos):
    def fix(given):
        return data.clean_words(english, form(given))[-1]

    assert fix("photos") == "fix=photos/checked.csv"
    (photos / "checked.csv").write_text("mine")
    assert fix("photos") == "fix=photos/checked-2.csv"
    (photos / "checked-2.csv").symlink_to("nowhere")
    assert fix("photos") == "fix=photos/checked-3.csv"
    assert fix("photos/checked.csv") == "fix=photos/checked-3.csv"


def test_the_anonymous_copy_is_a_new_folder_within_the_roots(english, photos):
    words = data.anonymise_words(english, form("photos", out=""))
    assert words == ["data", "anonymise", "photos", "runs/.studio/uploads/photos-anonymous"]
    (data.place(english) / "photos-anonymous").mkdir(parents=True)
    assert data.anonymise_words(english, form("photos", out=" "))[-1].endswith("photos-anonymous-2")
    assert data.anonymise_words(english, form("photos", out="copy"))[-1] == "copy"
    (photos / "labels.csv").write_text("filename,label\n")
    assert data.anonymise_words(english, form("photos/labels.csv", out="copy"))[2] == "photos"
    with pytest.raises(UserError, match="outside"):
        data.anonymise_words(english, form("photos", out="/tmp/copy"))


def test_the_same_in_the_terminal_and_in_python(english, photos):
    shown = str(data.shown(english, form("photos", "32", "none")))
    assert "souron data photos imgsz=32 group=none\nsouron data check photos group=none" in shown
    assert "load.load(&#39;photos&#39;, side=32, group=&#39;none&#39;)" in shown
    assert "check" not in data.shown(english, form("digits"))
    assert data.shown(english, form("/etc")) == ""


# what was found


@POSIX
def test_the_doctor_of_hostile_names_shows_them_as_text(studio, photos, capsys):
    (photos / "cat").rename(photos / HOSTILE)
    shutil.copy(next((photos / "犬").iterdir()), photos / HOSTILE / f"{HOSTILE}.png")
    (photos / HOSTILE / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    words = data.check_words(studio, form("photos"))
    found, code = answer(capsys, words)
    assert code == 3
    job = ended(studio, words, found, code)
    shown = data.PANEL.html(studio, job.id)
    assert "<img" not in shown and 'sandbox="allow-popups"' in shown
    assert f'src="/runs/data/photos/check.html?job={job.id}"' in shown
    looked, code = answer(capsys, ["data", "photos"])
    assert code == 0 and HOSTILE in looked["labels"]
    assert "<img" not in data_view.outcome(studio, ended(studio, ["data", "photos"], looked))


def finding(code, severity, **more):
    return {"code": code, "severity": severity, "files": [], "message": code, "fix": "", **more}


def test_what_went_wrong_stands_beside_what_was_found(studio):
    found = {"files": 3, "readable": 2, "findings": [finding("grave", "error")]}
    error = {"code": "exists", "found": "checked.csv is there already", "expected": "", "try": ""}
    words = ["data", "check", "photos", "fix=photos/checked.csv"]
    job = ended(studio, words, found, 5, error)
    shown = data.PANEL.html(studio, job.id)
    headline = f"<h2>{_('Data check: {name}').format(name='photos')}</h2>"
    assert "checked.csv is there already" in shown and headline in shown and 'class="job failed"' in shown
    shown = data.PANEL.html(studio, ended(studio, words, {"error": error}, 3, error).id)
    assert "checked.csv is there already" in shown and headline not in shown


def test_the_cleaned_table_is_offered_once_it_is_there(studio, photos, capsys):
    words = data.clean_words(studio, form("photos"))
    found, _code = answer(capsys, words)
    job = ended(studio, words, found)
    shown = data_view.outcome(studio, job)
    assert f'href="/{studio.language}/data?data=photos%2Fchecked.csv"' in shown
    assert f'href="/{studio.language}/train?data=photos%2Fchecked.csv"' in shown
    assert "train?data=photos&#34;" not in shown and 'train?data=photos"' not in shown
    answer(capsys, data.look_words(studio, form("photos/checked.csv")))
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
    shown = data.PANEL.result(studio, ended(studio, words, none, 3), "failed")
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


def brought(studio, photos):
    packed(photos, "photos.zip")
    return data.take(studio, ["photos.zip"])[0]


def remove(studio, name):
    return data.PARTS["remove"](studio, Posted({"name": [name]}))


def test_an_upload_is_listed_and_can_be_removed(studio, photos):
    folder = Path(brought(studio, photos))
    second = Path(brought(studio, photos))
    listed = str(data.uploads(studio))
    assert listed.count("<tr>") == 3 and "data=runs%2F.studio%2Fuploads%2Fphotos-2" in listed
    assert f'hx-post="/part/{studio.language}/data/remove?name=photos-2"' in listed
    left = remove(studio, "photos")
    assert not folder.exists() and second.exists()
    assert "?name=photos-2" in left and '?name=photos"' not in left and 'role="status"' in left
    with pytest.raises(UserError, match="missing"):
        remove(studio, "photos")


def test_an_upload_that_a_job_reads_stays(studio, photos):
    folder = brought(studio, photos)
    job = studio.jobs.start(["train", "cnn", f"data={folder}"], "en")
    with pytest.raises(UserError, match="in use"):
        remove(studio, "photos")
    assert Path(folder).is_dir()
    job.forget()
    remove(studio, "photos")


@POSIX
@pytest.mark.parametrize("name", ["..", "../uploads", "/etc", "", ".coming-x", "link"])
def test_only_an_upload_is_removed(studio, name):
    place = data.place(studio)
    (place / ".coming-x").mkdir(parents=True)
    Path("outside").mkdir()
    (place / "link").symlink_to(Path("outside").absolute())
    with pytest.raises(UserError, match="missing"):
        remove(studio, name)
    assert Path("outside").is_dir() and (place / ".coming-x").is_dir()


# the page


def test_files_that_came_are_the_data_of_the_form(studio, photos):
    sent = Posted(
        {"data": ["digits"], "data-other": ["elsewhere"], "group": ["p(\\d)"]}, {"files": [Path(packed(photos))]}
    )
    part = str(data.PARTS["bring"](studio, sent))
    assert '<option value="runs/.studio/uploads/photos" selected>' in part and "elsewhere" not in part
    assert 'value="p(\\d)"' in part  # how the data is read is kept
    assert '<section id="uploads" hx-swap-oob="true">' in part and "?name=photos" in part
    with pytest.raises(UserError, match="nothing"):
        data.PARTS["bring"](studio, Posted({"data": ["digits"]}))


def test_what_is_chosen_from_the_list_takes_the_place_of_what_was_typed(studio):
    typed = Posted({"data": ["digits"], "data-other": ["photos"]})
    assert 'name="data-other" value="photos"' in data.choosing(studio, typed)
    assert "photos" not in data.PARTS["pick"](studio, typed)


def test_only_folders_and_tables_have_buttons_to_check_and_to_clean(studio, photos):
    def pressable(name):
        buttons = re.findall("<button[^>]*>", str(data.PARTS["doing"](studio, form(name))))
        return len([one for one in buttons if " disabled" not in one and "data-copy" not in one])

    assert pressable("digits") == 1 and pressable("photos") == 4


def test_a_job_in_the_address_is_shown_with_its_data(studio, photos):
    job = ended(studio, ["data", "check", "photos"], {"findings": []})
    ended(studio, ["data", "photos"], {"cases": 1})
    page = str(data.body(studio, {"job": job.id}))
    assert 'name="data-other" value="photos"' in page and f'data-job="{job.id}"' in page
    training = studio.jobs.start(["train", "cnn", "data=photos"], "en")
    assert training.id not in data.body(studio, {"job": training.id})


def test_a_press_starts_the_command_at_once(studio, photos, monkeypatch):
    begin, waits = studio.jobs.start, []

    def start(_self, words, language, queued):
        waits.append(queued)
        return begin(words, language)

    monkeypatch.setattr(Jobs, "start", start)
    for name, words in (("look", ["data", "photos"]), ("check", ["data", "check", "photos"])):
        panel = data.PARTS[name](studio, form("photos"))
        [job] = [job for job in studio.jobs.all() if job.id in panel]
        assert job.words == words
    assert waits == [False, False]


def test_the_page_speaks_both_languages():
    def texts(language):
        with use_language(language):
            page = str(data.body(Studio(PROJECT, Roots([Path.cwd()]), Jobs(PROJECT), language), {}))
        return re.findall(r"<(?:span|summary|button[^>]*|h\d|p)>([^<]+)<", page)

    english, japanese = texts("en"), texts("ja")
    assert len(english) == len(japanese) > 10
    assert [same for same in english if same in japanese] == []
