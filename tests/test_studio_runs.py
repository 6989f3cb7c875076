"""The studio's page of runs: the list, another name, the bin, and the jobs."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import pytest
import send2trash
import yaml

from souron.runs import folder as run_folder
from souron.studio.jobs.job_queue import Jobs
from souron.studio.pages import compare, runs, train
from souron.studio.runs import results, run_list, run_view, trash
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils.messages import LANGUAGES, UserError, use_language

HOSTILE = "<img src=x onerror=alert(1)>"
PROJECT = Path("runs")  # the test's folder is where the studio was started
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


@pytest.fixture
def jobs():
    return Jobs(PROJECT)


@pytest.fixture(params=LANGUAGES)
def studio(request, jobs):
    with use_language(request.param):
        yield Studio(PROJECT, Roots([Path.cwd(), PROJECT]), jobs, request.param)


def make(name="cnn-digits", task="classify", finished=True, **more):
    """A run's folder."""
    folder = PROJECT / task / name
    folder.mkdir(parents=True)
    system = {"systems": ["mlp", "cnn:frozen"]} if task == "compare" else {"system": "cnn"}
    args = {**system, "data": "digits", **more}
    (folder / "args.yaml").write_text(yaml.safe_dump(args, allow_unicode=True), encoding="utf-8")
    (folder / "report.html").write_text("<h1>report</h1>")
    if finished:
        found = {"value": 0.972, "low": 0.96, "high": 0.98, "n": 300}
        row = {"system": "mlp", "measure": "accuracy", **found}
        told = (
            {"rows": [row], "sentence": "mlp is better"}
            if task == "compare"
            else {"measures": {"accuracy": found, "log loss": found}}
        )
        text = json.dumps({**told, "outcome": {"seconds": 12.0, "bytes": 10**6}})
        (folder / "receipt.json").write_text(text)
    return folder


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def changed_at(folder, moment):
    for path in (folder / "args.yaml", folder / "receipt.json"):
        if path.exists():
            os.utime(path, (moment, moment))


def states():
    return {run.name: run.state for run in run_list.runs(PROJECT)}


# listing


def test_every_run_is_listed_the_newest_first_with_its_headline():
    changed_at(make("old"), 1000)
    changed_at(make("new", "compare"), 3000)
    changed_at(make("going", finished=False), 2000)
    newest, going, oldest = run_list.runs(PROJECT)
    assert [newest.name, going.name, oldest.name] == ["new", "going", "old"]
    assert [newest.state, going.state, oldest.state] == ["finished", "unfinished", "finished"]
    assert str(newest.result) == "mlp accuracy 97.2 % (96.0–98.0 %)"
    assert newest.systems == ("mlp", "cnn:frozen") and newest.sentence == "mlp is better"
    assert str(oldest.result) == "accuracy 97.2 % (96.0–98.0 %)" and oldest.seconds == 12
    assert going.result is None


def test_pages_of_data_and_hidden_folders_are_no_runs():
    make()
    (PROJECT / "data" / "digits").mkdir(parents=True)
    (PROJECT / ".studio" / "jobs").mkdir(parents=True)
    (PROJECT / "classify" / ".part").mkdir()
    (PROJECT / "classify" / "file").write_text("")
    assert list(states()) == ["cnn-digits"]


def spoilt_args(folder):
    (folder / "args.yaml").unlink()


def no_yaml(folder):
    (folder / "args.yaml").write_text("system: [")


def a_list(folder):
    (folder / "args.yaml").write_text("- 1\n- 2\n")


def nothing_of_a_system(folder):
    (folder / "args.yaml").write_text("data: digits\n")


def systems_that_are_no_texts(folder):
    (folder / "args.yaml").write_text("systems: [1, {}]\n")


def no_text(folder):
    (folder / "args.yaml").write_bytes(b"\xff\xfe\x00system")


def too_large(folder):
    (folder / "args.yaml").write_text("system: cnn\n" + "#" * run_list.MOST_BYTES[".yaml"])


def too_deep(folder):
    (folder / "args.yaml").write_text("system: " + "[" * 5000)


def a_link_out(folder):
    (folder / "args.yaml").unlink()
    Path("secret").write_text("system: cnn\ndata: secret\n")
    (folder / "args.yaml").symlink_to(Path("secret").absolute())


def a_pipe(folder):
    (folder / "args.yaml").unlink()
    os.mkfifo(folder / "args.yaml")


def half_a_receipt(folder):
    (folder / "receipt.json").write_text('{"measures": {"accur')


def a_deep_receipt(folder):
    (folder / "receipt.json").write_text("[" * 100_000)


def a_receipt_that_is_a_folder(folder):
    (folder / "receipt.json").unlink()
    (folder / "receipt.json").mkdir()


def a_receipt_that_leads_nowhere(folder):
    (folder / "receipt.json").unlink()
    (folder / "receipt.json").symlink_to("nowhere")


DAMAGES = [
    spoilt_args,
    no_yaml,
    a_list,
    nothing_of_a_system,
    systems_that_are_no_texts,
    no_text,
    too_large,
    too_deep,
    pytest.param(a_link_out, marks=POSIX),
    pytest.param(a_pipe, marks=POSIX),
    half_a_receipt,
    a_deep_receipt,
    a_receipt_that_is_a_folder,
    pytest.param(a_receipt_that_leads_nowhere, marks=POSIX),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_listed_as_damaged_and_spoils_no_other(studio, damage):
    make("good")
    damage(make("bad"))
    assert states() == {"good": "finished", "bad": "damaged"}
    bad = run_list.read(PROJECT / "classify" / "bad")
    assert bad.why and "secret" not in str(bad)
    shown = results.listing(studio, {})
    assert "good" in shown and "bad" in shown and run_view.run_state(bad) in shown
    run_view.facts(studio, bad, None), run_view.report(studio, bad)
    assert trash.rename(studio.jobs, bad.folder, "renamed").is_dir()


@pytest.mark.parametrize(
    "receipt",
    [
        {"measures": []},
        {"measures": {"accuracy": 1}},
        {"measures": {"accuracy": {"value": "high", "low": None}}, "outcome": []},
        {"measures": {"": {"value": 10**400}}, "outcome": {"seconds": float("nan")}},
        {"rows": [{}], "sentence": ["no"]},
        {"rows": [1]},
    ],
)
def test_a_receipt_may_hold_anything(studio, receipt):
    folder = make()
    (folder / "receipt.json").write_text(json.dumps(receipt))
    assert "cnn-digits" in results.listing(studio, {})


@POSIX
def test_what_is_no_run_is_listed_too(studio):
    make()
    for name in ("check/answer.en", "work/Dentists", "audit/generated-fashion", "tour", f"a{HOSTILE[:4]}"):
        (PROJECT / name).mkdir(parents=True)
    for name in (
        "check/answer.en/report.html",
        "work/Dentists/report.html",
        "work/Dentists/report.ja.html",
        "audit/generated-fashion/report.html",
        "tour/tour.html",
        f"a{HOSTILE[:4]}/ready.html",
    ):
        (PROJECT / name).write_text("")
    Path("secret.html").write_text("")
    (PROJECT / "tour" / "link.html").symlink_to(Path("secret.html").absolute())
    found = {page.file.relative_to(PROJECT).as_posix(): page.kind for page in run_list.pages(PROJECT)}
    assert found == {
        "check/answer.en/report.html": "check",
        "work/Dentists/report.html": "work",
        "audit/generated-fashion/report.html": "audit",
        "tour/tour.html": "tour",
        f"a{HOSTILE[:4]}/ready.html": "ready",
    }
    text = results.listing(studio, {})
    assert "cnn-digits" in text and text.count("/runs/") == 5 and HOSTILE[:4] not in text
    own = {"en": "report.html", "ja": "report.ja.html"}[studio.language]
    assert f"/runs/work/Dentists/{own}" in text
    assert "Dentists" in results.listing(studio, {"q": "dent"})
    assert "<table" not in results.listing(studio, {"q": "nothing of the kind"})


def test_a_run_that_changed_is_read_again():
    folder = make()
    assert run_list.read(folder).data == "digits"
    (folder / "args.yaml").write_text("system: mlp\ndata: photographs\n")
    assert run_list.read(folder).data == "photographs"


@POSIX
def test_hostile_names_are_text(studio):
    folder = make(HOSTILE, data=HOSTILE, system=f"cnn{HOSTILE}")
    (folder / "card.md").write_text(HOSTILE)
    (folder / f"{HOSTILE}.html").write_text("")
    run = run_list.read(run_list.find(PROJECT, folder))
    shown = [
        results.listing(studio, {}),
        run_view.facts(studio, run, None),
        run_view.report(studio, run),
        run_view.the_same(studio, str(folder)),
    ]
    assert all("<img" not in text for text in shown)
    assert all("&lt;img" in text for text in shown)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("", {"digits-a", "写真-b"}),
        ("DIGITS", {"digits-a"}),
        ("写真", {"写真-b"}),
        ("ｃｎｎ", {"digits-a", "写真-b"}),  # as a Japanese keyboard may write it
        ("digits nothing", set()),
    ],
)
def test_the_search_finds_each_of_its_words(studio, wanted, names):
    make("digits-a"), make("写真-b", data="photos")
    assert {item.name for item in results.chosen(results.items(studio), {"q": wanted})} == names


# which folder


@pytest.mark.parametrize(
    "named", ["runs/classify/cnn-digits", "classify/cnn-digits", "runs/compare/../classify/cnn-digits"]
)
def test_a_run_is_found_as_the_command_line_names_it(named):
    folder = make()
    make("other", "compare")
    assert run_list.find(PROJECT, named) == folder
    assert run_list.find(PROJECT, Path(named).absolute() if "runs" in named else named) == folder


@pytest.mark.parametrize(
    "named",
    [
        "",
        ".",
        "..",
        "/",
        "runs",
        "classify",
        "runs/classify",
        "runs/classify/..",
        "../outside/run",
        "outside/run",
        "runs/classify/cnn-digits/weights",
        "runs/.studio/bin",
        "runs/classify/.hidden",
        "runs/classify/nothing",
        "runs/classify/file",
        "a\0b",
        "classify/\ud800",
        "x" * 5000,
    ],
)
def test_nothing_else_is_a_run(named):
    (make() / "weights").mkdir()
    for other in ("outside/run", "runs/.studio/bin", "runs/classify/.hidden"):
        Path(other).mkdir(parents=True)
    Path("runs/classify/file").write_text("")
    with pytest.raises(UserError, match="not a run"):
        run_list.find(PROJECT, named)


@POSIX
def test_a_link_is_no_run():
    make()
    Path("outside/task/run").mkdir(parents=True)
    Path("runs/classify/link").symlink_to(Path("outside/task/run").absolute())
    Path("runs/linked").symlink_to(Path("outside/task").absolute())
    for named in ("classify/link", "linked/run"):
        with pytest.raises(UserError, match="not a run"):
            run_list.find(PROJECT, named)
    assert list(states()) == ["cnn-digits"]


# another name


def test_a_renamed_run_keeps_all_it_has(jobs):
    folder = make()
    before = contents(folder)
    now = trash.rename(jobs, folder, " 肺のレントゲン.2 ")
    assert now == PROJECT / "classify" / "肺のレントゲン.2" and contents(now) == before
    assert not folder.exists()


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        ".hidden",
        "-dash",
        "a/b",
        "../up",
        "/etc",
        "a\\b",
        "a b",
        "a\0",
        "a\nb",
        "dot.",
        HOSTILE,
        "x" * 101,
        "字" * 34,
        "a:b",
        "a*",
    ],
)
def test_a_name_that_no_folder_should_have_is_refused(jobs, name):
    folder = make()
    before = contents(PROJECT / "classify")
    with pytest.raises(UserError, match=r"\[name\]"):
        trash.rename(jobs, folder, name)
    assert contents(PROJECT / "classify") == before


@pytest.mark.parametrize("there", ["run", "folder", "file", "itself"])
def test_no_run_is_renamed_over_another(jobs, there):
    folder, name = make(), "taken"
    match there:
        case "run":
            make("taken", data="mine")
        case "folder":
            (PROJECT / "classify" / "taken").mkdir()
        case "file":
            (PROJECT / "classify" / "taken").write_text("mine")
        case "itself":
            name = folder.name
    before = contents(PROJECT / "classify")
    with pytest.raises(UserError, match="exists"):
        trash.rename(jobs, folder, name)
    assert contents(PROJECT / "classify") == before


def test_of_two_that_want_one_name_one_gets_it(jobs, monkeypatch):
    """Without the lock, as two programs on one disk might."""
    monkeypatch.setattr(jobs, "changing", nullcontext)
    for attempt in range(30):
        sources = [make(f"{side}{attempt}", data=side) for side in ("left", "right")]
        target, together = PROJECT / "classify" / f"wanted{attempt}", threading.Barrier(2)

        def go(source, target=target, together=together):
            together.wait()
            try:
                trash.rename(jobs, source, target.name)
                return source
            except UserError as error:
                assert error.code == "exists"
                return None

        with ThreadPoolExecutor(2) as pool:
            [winner] = [source for source in pool.map(go, sources) if source]
        [loser] = [source for source in sources if source != winner]
        assert run_list.read(target).data in winner.name
        assert run_list.read(loser).data in loser.name


def test_where_the_disk_refuses_all_stays_as_it_was(jobs, monkeypatch):
    folder = make()
    before = contents(PROJECT / "classify")
    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(UserError, match="other disk"):
        trash.rename(jobs, folder, "other")
    assert contents(PROJECT / "classify") == before


def refusing(*_given):
    raise OSError(errno.EXDEV, "other disk")


# the bin


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the bin is elsewhere there")
def test_what_is_deleted_lies_whole_in_the_desktops_own_bin(tmp_path):
    """In a process of its own, since the place of the bin is read once."""
    folder, home = make(), tmp_path / "home"
    home.mkdir()
    (folder / "link").symlink_to(Path("outside").absolute())
    Path("outside").mkdir()
    Path("outside/mine").write_text("mine")
    before = contents(folder)
    code = (
        "from pathlib import Path; from souron.studio.runs import trash; "
        "from souron.studio.jobs.job_queue import Jobs; "
        f"trash.to_bin(Jobs(Path('runs')), Path({str(folder)!r}))"
    )
    place = {"HOME": str(home), "XDG_DATA_HOME": str(home / "share")}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | place)
    assert not folder.exists() and Path("outside/mine").exists()
    [kept] = [path for path in tmp_path.rglob("cnn-digits") if path.parent.name == "files"]
    assert contents(kept) == before


@pytest.mark.parametrize("error", [OSError("no bin"), PermissionError(errno.EACCES, "no bin")])
def test_where_there_is_no_bin_nothing_is_deleted(jobs, monkeypatch, error):
    def no_bin(_path):
        raise error

    monkeypatch.setattr(send2trash, "send2trash", no_bin)
    folder = make()
    before = contents(folder)
    with pytest.raises(UserError, match="no bin") as refused:
        trash.to_bin(jobs, folder)
    assert refused.value.expected and str(folder) in refused.value.fix
    assert contents(folder) == before


@pytest.fixture
def bin_holds(monkeypatch):
    """Stands for the desktop's bin; the folders that went there."""
    gone: list[Path] = []

    def to_bin(path):
        gone.append(Path(path))
        shutil.rmtree(path)

    monkeypatch.setattr(send2trash, "send2trash", to_bin)
    return gone


# runs that a job needs


@pytest.mark.parametrize(
    "words",
    [
        ["train", "resume=runs/classify/cnn-digits"],
        ["val", "runs/classify/cnn-digits"],
        ["train", "cnn", "data=digits", "pretrained=runs/classify/cnn-digits"],
        ["predict", "runs/classify/../classify/cnn-digits/", "x.png"],
    ],
)
def test_a_run_stays_where_it_is_while_a_job_needs_it(jobs, words, bin_holds):
    folder = make()
    other = make("other")
    job = jobs.start(words, "en")
    for act in (lambda: trash.to_bin(jobs, folder), lambda: trash.rename(jobs, folder, "renamed")):
        with pytest.raises(UserError, match="in use"):
            act()
    trash.to_bin(jobs, other)
    job.forget()
    trash.to_bin(jobs, folder)
    assert bin_holds == [other.resolve(), folder.resolve()]


def test_a_finished_run_is_exported_for_use_without_souron(studio, jobs):
    folder = make()
    make("half", finished=False)
    assert 'data-do="elsewhere"' in runs.body(studio, {"run": "classify/cnn-digits"})
    assert 'data-do="elsewhere"' not in runs.body(studio, {"run": "classify/half"})
    runs.export_elsewhere(studio, {"run": "classify/cnn-digits", "format": "onnx"})
    [job] = jobs.all()
    assert job.words == ["export", str(folder), "format=onnx"]
    for run, format in (("classify/cnn-digits", "out=x"), ("classify/half", "onnx"), ("classify/cnn-digits", "")):
        with pytest.raises(UserError, match="export"):
            runs.export_elsewhere(studio, {"run": run, "format": format})
    assert len(jobs.all()) == 1
    (folder / "export-onnx").mkdir()
    assert "export-onnx.zip" not in runs.body(studio, {"run": "classify/cnn-digits"})
    (folder / "export-onnx" / "model.json").write_text("{}")
    assert "/export/classify/cnn-digits/export-onnx.zip" in runs.body(studio, {"run": "classify/cnn-digits"})


def test_the_run_that_a_job_has_made_is_its_own(jobs):
    folder = make(finished=False)
    job = jobs.start(["train", "cnn", "data=digits"], "en")
    event = {"time": 0, "phase": "train", "fraction": 0.1, "folder": str(folder)}
    (job.place / "events.jsonl").write_text(json.dumps(event) + "\n")
    assert trash.user_of(jobs, folder).id == job.id
    with pytest.raises(UserError, match="in use"):
        trash.to_bin(jobs, folder)


# the page


def test_go_on_makes_one_job(studio, jobs):
    make(finished=False), make("both", "compare", finished=False), make("done")
    assert 'data-do="resume"' in runs.body(studio, {"run": "classify/cnn-digits"})
    assert 'data-do="resume"' not in runs.body(studio, {"run": "classify/done"})
    assert 'href="' in runs.resume(studio, {"run": "classify/cnn-digits"})["html"]
    assert 'data-do="resume"' not in runs.body(studio, {"run": "classify/cnn-digits"})
    runs.resume(studio, {"run": "runs/compare/both"})
    assert [job.words for job in jobs.all()] == [
        ["compare", "resume=runs/compare/both"],
        ["train", "resume=runs/classify/cnn-digits"],
    ]
    for run in ("classify/cnn-digits", "classify/done"):
        with pytest.raises(UserError, match=r"in use|resume"):
            runs.resume(studio, {"run": run})
    assert len(jobs.all()) == 2


def test_delete_on_the_page(studio, bin_holds):
    folder = make().resolve()
    asked = {"runs": ["classify/cnn-digits"]}
    assert "cnn-digits" in runs.ask_to_delete(studio, asked)["question"] and folder.is_dir()
    told = runs.delete(studio, asked)
    assert "cnn-digits" in told["html"] and told["go"] == f"/{studio.language}/runs" and bin_holds == [folder]
    gone = runs.body(studio, {"run": "classify/cnn-digits"})  # another tab, told that it is gone
    assert "classify/cnn-digits" in gone and 'data-do="delete"' not in gone
    with pytest.raises(UserError, match="not a run"):
        runs.delete(studio, asked)


def test_several_go_to_the_bin_after_one_question(studio, jobs, bin_holds):
    first, second, third = make("a"), make("b", "compare"), make("c")
    asked = {"runs": ["classify/a", "compare/b", 3, "classify/c"]}
    question = runs.ask_to_delete(studio, asked)["question"]
    assert "3" in question and all(name in question for name in "abc")
    job = jobs.start(["val", "runs/classify/c"], "en")
    with pytest.raises(UserError, match="in use"):
        runs.ask_to_delete(studio, asked)
    job.forget()
    runs.delete(studio, asked)
    assert bin_holds == [folder.absolute() for folder in (first, second, third)]


def test_a_new_name_leads_to_the_run(studio):
    make()
    told = runs.rename(studio, {"run": "classify/cnn-digits", "name": "other"})
    assert told["go"] == f"/{studio.language}/runs?run=classify%2Fother" and "cnn-digits" in told["html"]
    for name in ("../up", None, 3.5):
        with pytest.raises(UserError, match=r"\[name\]|exists"):
            runs.rename(studio, {"run": "classify/other", "name": name} if name != 3.5 else {"run": "classify/other"})


def test_jobs_that_are_over_are_left_to_the_queue(studio, jobs):
    over, waiting = (jobs.start(["train", "cnn", f"data={data}"], "en") for data in ("old", "new"))
    assert runs.jobs(studio).count('data-do="stop"') == 2
    runs.stop(studio, {"job": over.id})
    shown = runs.jobs(studio)
    assert over.state == "stopped" and over.id not in shown and waiting.id in shown
    assert f"/{studio.language}/queue" in shown


def test_a_report_is_framed_without_the_right_to_scripts(studio):
    folder = make("写真 <b>")
    found = run_view.report(studio, run_list.read(folder))
    assert 'sandbox="allow-popups"' in found and "<b>" not in found
    assert "/runs/classify/%E5%86%99%E7%9C%9F%20%3Cb%3E/report.html" in found


@POSIX
def test_a_report_that_leads_out_of_the_project_is_not_shown(studio):
    folder = make()
    Path("secret.html").write_text("secret")
    for name in ("report.html", "card.md", "timelapse.webp", "audit.html"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(Path("secret.html").absolute())
    found = run_view.report(studio, run_list.read(folder))
    assert "iframe" not in found and "secret" not in found and "href" not in found


def test_each_run_leads_on_by_what_it_is(studio):
    def leads(folder):
        return [address for _text, address in run_view.ways(studio, run_list.read(folder))]

    language = studio.language
    finished, both, going = make(), make("c", "compare"), make("going", finished=False)
    assert leads(finished)[0] == f"/{language}/use?run=runs%2Fclassify%2Fcnn-digits"
    assert f"/{language}/compare?systems=mlp%2Ccnn%3Afrozen&data=digits" in leads(both)
    assert not any("/use" in address for address in (*leads(both), *leads(going)))
    assert "/export/classify/cnn-digits.zip" in leads(finished)
    (going / "args.yaml").unlink()
    assert leads(going) == [f"/{language}/runs"]


# in which language


def browser(jobs):
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from souron.studio import files

    app = FastAPI()
    files.add(app, PROJECT, jobs)
    return TestClient(app)


def written(folder, **pages):
    """Reports by their language; the first is that of the run."""
    own = next(iter(pages))
    for wish in pages:
        name = "report.html" if wish == own else f"report.{wish}.html"
        links = "".join(
            f'<a class="elsewhere" href="{other}.html" lang="{other}">{other}</a>' for other in pages if other != wish
        )
        (folder / name).write_text(f'<html lang="{wish}"><h1>{pages[wish]}{links}</h1>')


@pytest.mark.parametrize("own", LANGUAGES)
def test_a_report_opens_in_the_readers_language(jobs, own):
    other = next(wish for wish in LANGUAGES if wish != own)
    written(make(), **{own: "own", other: "translated"})
    reader = browser(jobs)
    for wish, file, text in ((own, "report", "own"), (other, f"report.{other}", "translated")):
        address = f"/runs/classify/cnn-digits/{file}.html"
        with use_language(wish):
            studio = Studio(PROJECT, Roots([Path.cwd()]), jobs, wish)
            framed = run_view.report(studio, run_list.read(PROJECT / "classify/cnn-digits"))
        assert f'src="{address}"' in framed and framed.count("report.") == 1
        page = reader.get(f"/report/{wish}/classify/cnn-digits").text
        assert f'src="{address}"' in page and 'class="remark"' not in page
        shown = reader.get(address).text  # the page around it leads to the other language
        assert text in shown and "elsewhere" not in shown


def test_a_report_in_one_language_alone_opens_in_both_and_says_so(jobs):
    written(make(), ja="japanese")
    reader = browser(jobs)
    for wish in LANGUAGES:
        page = reader.get(f"/report/{wish}/classify/cnn-digits").text
        assert 'src="/runs/classify/cnn-digits/report.html"' in page
        assert ('class="remark"' in page) == (wish == "en")
    assert reader.get("/report/en/classify/nothing").status_code == 404


@POSIX
def test_a_report_that_leads_out_of_the_runs_is_not_opened(jobs):
    folder = make()
    Path("secret.html").write_text("secret")
    (folder / "report.ja.html").symlink_to(Path("secret.html").absolute())
    assert "/report.html" in browser(jobs).get("/report/ja/classify/cnn-digits").text
    assert browser(jobs).get("/runs/classify/cnn-digits/report.ja.html").status_code == 404


def add(folder, **more):
    """More in a receipt."""
    path = folder / "receipt.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more), encoding="utf-8")
    return folder


@pytest.mark.parametrize("task", ["classify", "compare"])
def test_what_is_to_be_known_first_stands_in_the_readers_language(studio, task):
    words = {"en": f"patients {HOSTILE}", "ja": f"患者 {HOSTILE}"}
    own, other = words[studio.language], {"en": "ja", "ja": "en"}[studio.language]
    folder = make(task=task)
    add(
        folder,
        notes=[words[other]],
        sentence=f"sentence in {other}",
        translated={studio.language: {"notes": [own], "sentence": f"sentence in {studio.language}"}},
    )
    run = run_list.read(folder)
    shown = run_view.facts(studio, run, None)
    first = own.partition(" ")[0]
    assert f'<p class="remark">{first} &lt;img' in shown and "<img" not in shown
    assert words[other].partition(" ")[0] not in shown
    assert run.sentence == f"sentence in {studio.language}"
    add(folder, translated=[1])  # of an earlier run there is what was said
    assert run_list.read(folder).notes == (words[other],)


@pytest.mark.parametrize("notes", [3, "text", [[5, "x"]], [[1], {}, None, "said"], {"a": 1}])
def test_notes_may_be_anything(studio, notes):
    run = run_list.read(add(make(), notes=notes, translated={"en": 1, "ja": notes}, files=notes))
    assert run.notes in ((), ("said",))
    run_view.facts(studio, run, None)


def test_files_that_the_run_did_not_end_with_are_told(studio):
    folder = make()
    weights = folder / "weights" / "best.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"learnt")
    add(folder, **run_folder.ending(folder))
    told = lambda: run_view.facts(studio, run_list.read(folder), None)  # noqa: E731
    assert "best.safetensors" not in told()
    weights.write_bytes(b"other")
    assert '<p class="remark">' in told() and "weights/best.safetensors" in told()


def job_of(result):
    return SimpleNamespace(result=result)


@pytest.mark.parametrize("there", [True, False])
def test_a_training_and_a_comparison_end_with_what_is_to_be_known(studio, there):
    """As the run says it, in the page's language; where it is gone, as the command said it."""
    said = {"notes": ["note of the command"], "measures": {}, "rows": [], "sentence": "as said"}
    own = {studio.language: {"notes": ["note of the run"], "sentence": "in this language"}}
    for page, task, named in ((train, "classify", "run"), (compare, "compare", "report")):
        folder = PROJECT / task / "one"
        if there:
            add(make("one", task), translated=own)
        result = said | {named: str(folder / "report.html" if named == "report" else folder)}
        shown = page.outcome(studio, job_of(result))
        note = "note of the run" if there else "note of the command"
        assert shown.count('<p class="remark">') == 1 and note in shown
        if task == "compare":
            assert ("in this language" if there else "as said") in shown


def test_a_run_is_exported_whole_and_nothing_is_left_behind(jobs, monkeypatch, tmp_path):
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from souron.studio import files

    folder = make()
    (folder / "pictures").mkdir()
    (folder / "pictures" / "犬.png").write_bytes(b"picture")
    (folder / "secret").symlink_to(Path("/etc/hostname"))
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(files.tempfile, "tempdir", str(place))
    app = FastAPI()
    files.add(app, PROJECT, jobs)
    browser = TestClient(app)
    sent = browser.get("/export/classify/cnn-digits.zip")
    with ZipFile(io.BytesIO(sent.content)) as archive:
        names = archive.namelist()
        assert archive.read("cnn-digits/pictures/犬.png") == b"picture"
    assert "cnn-digits/receipt.json" in names and "cnn-digits/secret" not in names
    assert browser.get("/export/classify/nothing.zip").status_code == 404

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ZipFile, "write", full)
    refused = browser.get("/export/classify/cnn-digits.zip")
    assert refused.status_code == 507 and "No space left" in refused.text
    assert list(place.iterdir()) == []
