"""``souron mcp``: the tools, the folders that they may read, and a talk over standard input and output."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import anyio
import jsonschema
import pytest
import waiting
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from PIL import Image

from souron import registry
from souron.cli.main import run
from souron.mcp import server
from souron.mcp.confined import inside
from souron.utils.messages import UserError

TOOLS = server.tools_by_name()
STORED = Path(__file__).parent / "stored"
ASKS_OR_TRAINS = {
    "anonymise",
    "arena",
    "compare",
    "exam",
    "export",
    "exercises",
    "generate",
    "generated",
    "improper",
    "memorisation",
}
ASKS_OR_TRAINS |= {"tour", "train", "tune", "watch"}


def test_what_trains_asks_or_lets_a_model_write_is_no_tool():
    assert set(registry.actions()) - set(TOOLS) == ASKS_OR_TRAINS


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_tool_is_described_by_what_its_study_takes(name):
    entry = TOOLS[name]
    tool = server.tool_of(entry)
    jsonschema.Draft202012Validator.check_schema(tool.input_schema)
    properties = tool.input_schema["properties"]
    assert set(properties) == {"given", *(option.name for option in server.offered(entry))}
    assert tool.input_schema["required"] == (["given"] if entry.given.least else [])
    defaults = {option.name: option.default for option in server.offered(entry) if option.default is not None}
    listed = {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()}
    jsonschema.validate({"given": ["x"] * max(1, entry.given.least), **listed}, tool.input_schema)
    assert tool.description.startswith(tool.title) and "souron" in tool.description


@pytest.fixture
def folder(tmp_path, monkeypatch):
    study = tmp_path / "study"
    study.mkdir()
    (tmp_path / "outside.csv").write_text("case,truth,a\n")
    (study / "inside.csv").write_bytes((STORED / "calibration" / "predictions.csv").read_bytes())
    monkeypatch.chdir(study)
    return study.resolve()


OUTSIDE = ("../outside.csv", "{parent}/outside.csv", "~/x", "~", "/etc/passwd", "deeper/../../outside.csv", "link", "/")


@pytest.mark.parametrize("value", OUTSIDE)
def test_no_spelling_of_a_path_leads_out_of_the_folders(folder, value):
    (folder / "link").symlink_to(folder.parent / "outside.csv")
    with pytest.raises(UserError, match="outside of the folders"):
        inside(value.format(parent=folder.parent), [folder])


@pytest.mark.parametrize(
    "value", ("inside.csv", "{folder}/inside.csv", "a/../inside.csv", "cnn", "digits", "a text.", "")
)
def test_what_lies_within_and_what_is_no_path_passes(folder, value):
    inside(value.format(folder=folder), [folder])


def test_paths_are_searched_for_in_lists_and_behind_names():
    words = set(server._words({"given": ["old=/a.csv", "b.csv"], "data": "x,/c.csv", "margin": 5, "more": {"d": "/e"}}))
    assert {"/a.csv", "b.csv", "/c.csv", "/e"} <= words


GUARDED = {
    "read": "open('../outside.csv')",
    "list": "os.listdir('..')",
    "write": "open('new.csv', 'w')",
    "append": "open('inside.csv', 'a')",
    "write by flags": "os.open('new.csv', os.O_WRONLY | os.O_CREAT)",
    "remove": "os.remove('inside.csv')",
    "make a folder": "os.mkdir('new')",
    "move": "os.rename('inside.csv', 'runs/inside.csv')",
    "take in": "os.rename('../outside.csv', 'runs/outside.csv')",
    "carry out": "os.rename('runs/own.csv', '../own.csv')",
    "connect": "socket.create_connection(('127.0.0.1', 9))",
    "look up": "socket.getaddrinfo('example.org', 80)",
    "start": "subprocess.run([sys.executable, '-c', ''])",
}
ALLOWED = {
    "read": "open('inside.csv').read()",
    "write": "pathlib.Path('runs').mkdir(exist_ok=True); open('runs/a.json', 'w').close()",
    "temporary": "tempfile.TemporaryDirectory().cleanup()",
    "import": "import sklearn.cluster",
}


@pytest.fixture(scope="module")
def confined(tmp_path_factory):
    """Exceptions by action, of one confined process that tried them all."""
    parent = tmp_path_factory.mktemp("confined")
    (parent / "study" / "runs").mkdir(parents=True)
    for name in ("outside.csv", "study/inside.csv", "study/runs/own.csv"):
        (parent / name).write_text("a\n")
    program = f"""
        import json, os, pathlib, socket, subprocess, sys, tempfile
        from souron.mcp.confined import confine
        confine([pathlib.Path({str(parent / "study")!r}).resolve()])
        ends = {{}}
        for name, action in {[*(("no " + name, action) for name, action in GUARDED.items()), *ALLOWED.items()]!r}:
            try:
                exec(action)
                ends[name] = ""
            except Exception as error:
                ends[name] = type(error).__name__
        print(json.dumps(ends))
    """
    words = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=waiting.LIMIT)
    assert done.returncode == 0, done.stderr
    assert not (parent / "own.csv").exists() and (parent / "study" / "inside.csv").exists()
    return server.json.loads(done.stdout)


@pytest.mark.quick(seconds=4)
@pytest.mark.parametrize("action", GUARDED)
def test_a_confined_process_is_refused(confined, action):
    assert confined[f"no {action}"] == "PermissionError"


@pytest.mark.quick(seconds=4)
@pytest.mark.parametrize("action", ALLOWED)
def test_a_confined_process_may(confined, action):
    assert confined[action] == ""


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Answers to calls, of one server; what it wrote lies in the folder."""
    study = tmp_path_factory.mktemp("talk")
    Image.new("L", (28, 28)).save(study / "a.png")
    (study / "t.csv").write_bytes((STORED / "calibration" / "predictions.csv").read_bytes())
    for number in range(8):
        (study / "photos" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 30 * number).save(study / "photos" / "ab"[number % 2] / f"{number}.png")
    calls = {
        "described": ("data", {"given": ["photos"]}),
        "checked": ("data", {"given": ["check", "photos"]}),
        "cleaned": ("data", {"given": ["check", "photos"], "fix": "runs/clean.csv"}),
        "answered": ("data", {"given": ["check", "photos"], "answer": "few patients: a pilot"}),
        "anonymised": ("data", {"given": ["anonymise", "photos", "runs/copy"]}),
        "verdict": ("verdict", {"given": ["t.csv"]}),
        "plan": ("plan", {"given": [], "sensitivity": 0.8}),
        "texts": ("check", {"given": ["The study has 200 cases."], "sources": ["The study has 200 cases."]}),
        "outside": ("verdict", {"given": ["/etc/passwd"]}),
        "behind": ("verdict", {"given": ["a=/etc/passwd"]}),
        "option": ("verdict", {"given": ["t.csv"], "marginn": 5}),
        "number": ("plan", {"given": [], "sensitivity": "high"}),
        "nothing": ("verdict", {"given": []}),
        "too much": ("reporting", {"given": ["t.csv", "t.csv"]}),
        "tool": ("tune", {"given": ["cnn"]}),
        "predict": ("predict", {"given": ["mlp", "a.png", "none.png"]}),
        "image": ("predict", {"given": ["srgan", "a.png"]}),
        "camera": ("predict", {"given": ["yolo"], "source": "0"}),
        "fetch": ("surface", {"given": ["head_ct"]}),
    }
    words = ["-m", "souron", "mcp", f"folder={study}"]
    environment = {**os.environ, "SOURON_LANG": "en", "SOURON_CACHE": str(tmp_path_factory.mktemp("cache"))}
    parameters = StdioServerParameters(command=sys.executable, args=words, env=environment)
    steps = []

    async def advance(fraction, total, text):
        steps.append(fraction)

    async def talking():
        async with stdio_client(parameters) as streams, ClientSession(*streams) as session:
            await session.initialize()
            answers = {"tools": await session.list_tools()}
            for key, (name, given) in calls.items():
                answers[key] = await session.call_tool(name, given, progress_callback=advance)
            return answers

    answers = anyio.run(talking)
    return {**answers, "folder": study, "steps": steps}


@pytest.mark.slow
def test_an_assistant_sees_the_tools(talk):
    assert {tool.name for tool in talk["tools"].tools} == set(TOOLS)


@pytest.mark.slow
def test_an_answer_is_a_sentence_its_caveats_and_json(talk):
    text, told = talk["verdict"].content[0].text, talk["verdict"].structured_content
    assert told["sentence"].split("\n")[0] in text.replace("\n", " ") and told["methods"]
    assert told["notes"] and all(f"caveat: {note}" in text for note in told["notes"])
    assert not talk["verdict"].is_error and talk["steps"] and all(0 <= step <= 1 for step in talk["steps"])


@pytest.mark.slow
def test_a_record_is_written_below_runs_and_nowhere_else(talk):
    assert talk["plan"].structured_content["page"].startswith("runs/plan/")
    assert (talk["folder"] / talk["plan"].structured_content["page"]).is_file()
    assert sorted(path.name for path in talk["folder"].iterdir()) == ["a.png", "photos", "runs", "t.csv"]
    assert {path.name for path in (talk["folder"] / "runs").iterdir()} == {"check", "data", "plan", "predict"}
    assert {path.name for path in (talk["folder"] / "runs" / "data").iterdir()} == {"photos"}


@pytest.mark.slow
def test_an_assistant_describes_and_checks_data(talk):
    described, checked = (talk[name].structured_content for name in ("described", "checked"))
    assert described["cases"] == checked["readable"] == 8 and checked["findings"] and checked["task"] == "classify"
    assert described["page"] == "runs/data/photos/data.html" and checked["page"] == "runs/data/photos/check.html"


@pytest.mark.slow
def test_texts_may_stand_in_place_of_their_files(talk):
    assert not talk["texts"].is_error, talk["texts"].content


@pytest.mark.slow
def test_an_assistant_reads_the_answer_for_each_file(talk):
    first, second = talk["predict"].structured_content["answers"]
    assert len(first["labels"]) == 5 and first["system"] == "mlp" and "error" in second
    assert talk["predict"].content[0].text.startswith("a.png: ")
    [image] = talk["image"].structured_content["answers"]
    assert image["saved"].startswith("runs/predict/srgan") and (talk["folder"] / image["saved"]).is_file()


def test_a_caveat_stands_below_the_sentence():
    record = SimpleNamespace(
        sentences=lambda: ["A is better."], notes=lambda: ["Few cases."], as_json=dict, report=None
    )
    assert server.answered(record).content[0].text == "A is better.\ncaveat: Few cases."


def test_a_text_is_no_name_of_a_file_unless_that_is_there(folder):
    assert server._text("inside.csv", "given-1") == "inside.csv"
    text = server._text("He took 250 mg.", "given-1")
    assert (text.text, str(text.file)) == ("He took 250 mg.", "given-1")


REFUSED = {"outside": "outside", "behind": "outside", "option": "option", "number": "option", "nothing": "argument"}
REFUSED |= {"cleaned": "option", "answered": "option", "anonymised": "option"}
REFUSED |= {"too much": "option", "tool": "tool", "fetch": "fetch", "camera": "camera"}


@pytest.mark.slow
@pytest.mark.parametrize("call", REFUSED)
def test_an_error_says_what_it_is(talk, call):
    assert talk[call].is_error
    told = talk[call].structured_content["error"]
    assert told["code"] == REFUSED[call] and told["found"] in talk[call].content[0].text


def test_a_folder_is_named_and_is_neither_the_disk_nor_home(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").touch()
    assert run(["mcp"]) == 2 and "--folder is missing" in capsys.readouterr().err
    for name in ("/", str(tmp_path), "~", str(tmp_path / "file"), str(tmp_path / "none")):
        assert run(["mcp", "--folder", name]) == 3
        assert "not a folder for an assistant" in capsys.readouterr().err
