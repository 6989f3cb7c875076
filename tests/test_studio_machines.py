"""The studio shows on which machines the rounds of a comparison run, and only its owner chooses them."""

import functools
import json
import platform
import re
from pathlib import Path

import plain_forms
import pytest
from test_studio_jobs import ended

from souron import registry
from souron.report.blocks import machine_table
from souron.runs.elsewhere import machines as far_machines
from souron.runs.elsewhere.machines import machines
from souron.studio import app as studio_app
from souron.studio.jobs import panel
from souron.studio.jobs.job_queue import Jobs
from souron.studio.pages import compare, runs, study
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils.messages import UserError

PROJECT = Path("runs")
HOSTILE = "<script>alert('x')</script>"
TITLE = "Machines that played the rounds"


@pytest.fixture
def studio():
    jobs = Jobs(PROJECT)
    yield Studio(PROJECT, Roots([Path.cwd(), PROJECT]), jobs, "en")
    jobs.close()


@pytest.fixture
def guest():
    """The studio of somebody in a room."""
    roots = Roots([Path.cwd()])
    jobs = Jobs(PROJECT, person="anna", allowed=functools.partial(studio_app.allowed, roots))
    return Studio(PROJECT, roots, jobs, "en")


def asked(studio, budget="100ex", **more):
    """The words of the comparison's form."""
    given = {"systems": ["mlp_tiny", "cnn_tiny"], "data": "digits", "budget": budget, "seeds": "2"}
    return compare.line(studio, plain_forms.form(**given, **more))


def played(folder, number, name="desk", threads=2, speed=1234.4):
    file = folder / "rounds" / f"{number}.machine.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"name": name, "threads": threads, "speed": speed, "seconds": 1.0}))
    return file


def shown(studio, job):
    """What the page to compare shows of a job."""
    return compare.PARTS["job"](studio, plain_forms.form(job=job.id))


def begun(studio, verb="compare"):
    """A job that says where it works, and the folder."""
    job = studio.jobs.start([verb, "mlp", "cnn"], "en")
    (job.place / "events.jsonl").write_text('{"phase": "train", "fraction": 0.1, "folder": "runs/compare/x"}\n')
    return job, PROJECT / "compare" / "x"


def test_a_comparison_on_two_processes_ends_with_its_machine_and_all_rounds(studio):
    line = asked(studio, on="processes:2")
    assert "on=processes:2" in line
    job = studio.jobs.start(line, "en")
    studio.jobs.run()
    assert ended(job) == "done", job.log
    report = Path(job.result["report"]).read_text(encoding="utf-8")
    for page in (shown(studio, job), report):
        [row] = re.findall(rf"<t[dh][^>]*>{re.escape(platform.node())}</t[dh]>(.*?)</tr>", page, re.DOTALL)
        cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
        assert cells[0] == "1–2" and cells[2] == "1" and float(re.sub(r"[^\d.]", "", cells[1])) > 0
    assert "{&#39;name" not in report, "the receipt does not repeat it"


def test_without_an_engine_there_is_no_table(studio):
    job, folder = begun(studio)
    assert TITLE not in shown(studio, job)
    training, _folder = begun(studio, "train")
    played(folder, 0)
    assert TITLE not in shown(studio, training)
    assert TITLE in shown(studio, job)


def test_the_table_is_renewed_when_a_round_arrives(studio):
    job, folder = begun(studio)
    for number, rounds in enumerate(("1", "1–2", "1–3")):
        played(folder, number)
        page = shown(studio, job)
        assert TITLE in page and f"<td>{rounds}</td><td>1,234</td><td>2</td>" in page


def test_a_hostile_name_is_text(studio):
    job, folder = begun(studio)
    played(folder, 0, HOSTILE)
    (folder / "args.yaml").write_text("systems: [mlp, cnn]\ndata: digits\n")
    for page in (shown(studio, job), runs.body(studio, {"run": "compare/x"})):
        assert TITLE in page and "&lt;script&gt;alert" in page and "<script" not in page


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"name": "x", "threads": 1, "speed": NaN}', "[" * 9000, "x" * 20_000]
)
def test_a_damaged_file_of_a_machine_is_left_out(content, tmp_path):
    played(tmp_path, 0).with_name("1.machine.json").write_text(content)
    played(tmp_path, 2).rename(tmp_path / "rounds" / "x.machine.json")
    (tmp_path / "rounds" / "3.machine.json").mkdir()
    assert [one["rounds"] for one in machines(tmp_path)] == [[0]]


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    played(tmp_path, 0)
    monkeypatch.setattr(far_machines, "MOST_BYTES", 10)
    assert machines(tmp_path) == []


def test_neighbouring_rounds_stand_together(tmp_path):
    for number in (0, 1, 2, 4, 6, 7, 11):
        played(tmp_path, number, "desk" if number != 4 else "lab")
    assert [row[1] for row in machine_table(machines(tmp_path)).rows] == ["1–3, 7–8, 12", "5"]


def test_the_form_says_what_may_be_written_there(studio, guest):
    html = compare.body(studio, {})
    names = plain_forms.names(html)
    assert "on" in names and "on" not in plain_forms.names(compare.body(guest, {}))
    assert {"sbatch", "round"}.isdisjoint(names)
    hint = re.search(r'<small id="field-on-about">(.*?)</small>', html)[1]
    assert 'placeholder="this computer"' in html
    assert "this computer" in hint and "processes:2" in hint and "docs/machines.md" in hint


def test_the_tools_of_a_guest_have_no_field_for_an_engine(guest, studio):
    entry = next(one for one in registry.actions().values() if any(option.name == "on" for option in one.options))
    assert "on" not in study.Form(guest, entry).fields
    fields = study.Form(studio, entry).fields
    assert "on" in fields and "resume" not in fields


def test_a_forecast_that_is_refused_is_none(guest, studio, monkeypatch):
    launched = []
    monkeypatch.setattr("souron.studio.jobs.job_queue.Job.launch", lambda job: launched.append(job) or job.drop())
    for one in (guest, studio):
        assert panel.estimate(one, lambda: [*asked(studio), "on=processes:2"]) == ""
    assert [job.jobs for job in launched] == [studio.jobs], "the guest's is not even begun"


def test_only_the_owner_names_an_engine(guest, studio):
    verbs = ("compare", "predict", *registry.action_files())
    ways = (["on=processes:2"], ["--on=slurm"], ["--on", "slurm"], ["--data", "--", "--on=dask://10.0.0.1:8786"])
    for verb in verbs:
        for way in ways:
            with pytest.raises(UserError, match="only whoever started the studio chooses the machines"):
                guest.jobs.start([verb, "mlp", "cnn", *way], "en")
    assert not guest.jobs.all()
    for name in verbs:
        assert studio.jobs.start([name, "mlp", "cnn", "on=processes:2"], "en").state == "waiting"
    assert guest.jobs.start(["compare", "mlp", "cnn", "name=on"], "en").state == "waiting"


def test_a_job_of_a_guest_that_names_an_engine_neither_starts_nor_goes_on(guest):
    """As one of an earlier version may, or one whose words were changed."""
    line = ["compare", "mlp", "cnn", "on=processes:2"]
    job = guest.jobs.add(line, "en", True, Path.cwd())
    guest.jobs.advance()
    assert job.state == "failed" and job.trouble["code"] == "engine"
    with pytest.raises(UserError, match="chooses the machines"):
        job.resume()


def test_a_job_goes_on_with_its_engine(studio):
    for line, folder in (
        (["compare", "mlp", "cnn", "on=processes:2", "seeds=9"], PROJECT / "compare" / "x"),
        (["tune", "mlp", "on=processes:2", "trials=9"], PROJECT / "tune" / "x"),
    ):
        job = studio.jobs.start(line, "en")
        job.stop()
        (job.place / "events.jsonl").write_text(json.dumps({"phase": "train", "folder": str(folder)}) + "\n")
        folder.mkdir(parents=True)
        (folder / "args.yaml").write_text("systems: [mlp, cnn]\n")
        assert job.resume().words == [line[0], f"resume={folder}", "on=processes:2"]
    exam = studio.jobs.start(["exam", "nearest"], "en")
    exam.stop()
    (exam.place / "events.jsonl").write_text('{"phase": "train", "folder": "runs/exam/x"}\n')
    assert exam.resume().words == ["exam", "nearest"]
