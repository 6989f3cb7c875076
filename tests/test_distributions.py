"""The core knows the contents of ``packages/`` by name; ``test_rules.py`` sees that it imports none of them."""

import json
import re
import subprocess
import sys

import pytest
import roots

import souron
from souron import registry
from souron.cli import main
from souron.engines import engine
from souron.runs.elsewhere import rounds
from souron.studio import app
from souron.studio.pages import study
from souron.studio.security import access
from souron.utils import distributions
from souron.utils.messages import UserError


def contents(house):
    """The files of a distribution without ``.py``, and folders that are an action or a page as a whole."""
    files = [roots.within(file).with_suffix("") for file in house.rglob("*.py") if "__pycache__" not in file.parts]
    folders = {name.parent for name in files if name.name == "__init__"}
    return {name.as_posix() for name in files if not folders & {*name.parents}} | {
        folder.as_posix() for folder in folders if not folders & {*folder.parents}
    }


def test_the_core_knows_what_each_distribution_holds():
    held = {folder.name: contents(folder / "souron") for folder in roots.distributions()}
    assert held == {name: set(paths) for name, paths in distributions.CONTENTS.items()}
    assert [str(folder) for folder in roots.houses()] == list(souron.__path__)


@pytest.fixture
def without(monkeypatch):
    """The core alone."""
    monkeypatch.setattr(souron, "__path__", list(souron.__path__)[:1])


def test_a_missing_one_is_named_with_its_command(without, capsys):
    assert "plan" not in registry.action_files() and "verdict" in registry.action_files()
    assert main.run(["plan"]) == 4
    assert "pip install souron-clinic" in capsys.readouterr().err
    for asked in (
        lambda: registry.action("plan"),
        lambda: souron.calibration,
        lambda: study.body(None, {"study": "plan"}),
    ):
        with pytest.raises(UserError, match="is in souron-clinic, which is not installed") as trouble:
            asked()
        assert trouble.value.fix == "pip install souron-clinic"
    assert access.tool_of("/en/plan") and not access.tool_of("/en/nothing")


def test_a_missing_engine_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(distributions, "version", lambda _name: "")
    assert engine.schemes() == ["processes"]
    with pytest.raises(UserError, match="'slurm' is in souron-far, which is not installed") as trouble:
        engine.find("slurm:short")
    assert trouble.value.fix == "pip install souron-far"


def test_without_exports_no_format_is_offered(monkeypatch):
    assert {"onnx", "openvino", "torch"} == {*registry.export_formats()}
    monkeypatch.setattr(distributions, "version", lambda _name: "")
    assert registry.export_formats() == []
    with pytest.raises(UserError, match="'export' is in souron-fast, which is not installed"):
        _ = souron.export


def test_another_version_than_the_cores_is_refused_by_name(monkeypatch, capsys):
    monkeypatch.setattr(souron, "__version__", "9.0.0")
    assert "plan" not in registry.action_files() and "verdict" in registry.action_files()
    assert main.run(["plan"]) == 4
    text = capsys.readouterr().err
    assert "souron-clinic" in text and "pip install souron-clinic==9.0.0" in text
    with pytest.raises(UserError, match=r"souron-clinic [\d.]+ does not fit souron 9.0.0"):
        distributions.check("actions/plan")
    distributions.check("actions/verdict")


def test_the_code_of_a_round_is_the_cores(tmp_path, monkeypatch):
    """Installed, the files of both lie in one folder, and another computer may have the core alone."""
    (tmp_path / "souron" / "actions").mkdir(parents=True)
    monkeypatch.setattr(souron, "__file__", str(tmp_path / "souron" / "__init__.py"))
    (tmp_path / "souron" / "loss.py").write_text("a = 1\n")
    alone = rounds.code.__wrapped__()
    (tmp_path / "souron" / "actions" / "plan.py").write_text("a = 1\n")
    assert rounds.code.__wrapped__() == alone
    (tmp_path / "souron" / "actions" / "other.py").write_text("a = 1\n")
    assert rounds.code.__wrapped__() != alone


ALONE = """
import json, sys
import souron
del souron.__path__[1:]
from pathlib import Path
from souron.studio.app import application
from starlette.testclient import TestClient
app, jobs = application(Path(sys.argv[1]), port=7860)
client = TestClient(app, base_url="http://127.0.0.1:7860")
answers = {path: client.get(path) for path in sys.argv[2:]}
print(json.dumps({path: [answer.status_code, answer.text] for path, answer in answers.items()}))
"""


@pytest.mark.quick(seconds=10)
def test_the_core_alone_serves_its_pages_and_links_to_no_page_that_is_missing(tmp_path):
    paths = ["/en/", "/ja/", "/lecture/en/V1", "/lecture/ja/start", "/en/study", "/en/train"]
    missing = ["/en/courses", "/en/interactives", "/lecture/en/course", "/lecture/en/answers.jsonl"]
    command = [sys.executable, "-c", ALONE, str(tmp_path / "runs"), *paths, *missing]
    done = subprocess.run(command, capture_output=True, text=True)
    answers = json.loads(done.stdout.splitlines()[-1]) if done.stdout else done.stderr
    assert {answers[path][0] for path in paths} == {200} and {answers[path][0] for path in missing} == {404}
    for path in paths:
        links = set(re.findall(r'href="/(?:en|ja)/(?:study\?study=)?([a-z]+)', answers[path][1]))
        assert links and not links & {"courses", "interactives", "teach", "exercises"}, path
    assert 'data-part="marked"' not in answers["/lecture/en/V1"][1]


def test_notebooks_and_interactives_are_named_with_their_distribution(without, capsys, tmp_path):
    for words in (["notebooks"], ["export", str(tmp_path / "pages")]):
        assert main.run(["lecture", *words]) == 4
        assert "pip install souron-teach" in capsys.readouterr().err
    with pytest.raises(UserError, match="is in souron-teach"):
        app.start(tmp_path, course=tmp_path / "my.toml", browser=False)
    assert not list(tmp_path.iterdir())
