"""The lessons run from top to bottom: offline, with small budgets, in both languages."""

import ast
import json
import re

import pytest
from playing import NOTEBOOKS, build, played, shown, told

SMALL = {
    "1_first_run": {"BUDGET": "1ep"},
    "2_pictures_as_numbers": {"WANTED": ["cifar10", "digits"]},
    "3_mlp": {"BUDGET": "1ep", "STEPS": 30},
    "4_cnn": {"BUDGET": "1ep", "SYSTEM": "cnn_tiny", "STEPS": 10},
    "5_augmentation": {"BUDGET": "1ep", "SEEDS": 2, "AUGMENTATIONS": ["none", "shift"]},
}
LESSONS = build.names()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for a notebook, as people name them; IPython's own files stay beside it."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    place = tmp_path / "my lessons 授業"
    place.mkdir()
    return place


def test_the_first_lesson_runs_twice_and_overwrites_nothing(folder):
    lesson = played("1_first_run", folder, SMALL["1_first_run"], twice=True)
    runs = sorted(run.name for run in (folder / "runs" / "classify").iterdir())
    assert runs == ["mlp-digits", "mlp-digits-2"]
    assert "True)" in told(lesson)  # what is measured again is the same
    assert len(shown(lesson)) == 6


def test_pictures_become_numbers(folder):
    lesson = played("2_pictures_as_numbers", folder, SMALL["2_pictures_as_numbers"])
    assert "souron fetch cifar10" in told(lesson)  # what is not there says how it comes
    assert float(told(lesson).splitlines()[-2]) < 1e-5  # by hand as by souron
    assert len(shown(lesson)) == 5


def test_an_mlp_by_hand_and_moment_by_moment(folder):
    lesson = played("3_mlp", folder, SMALL["3_mlp"])
    assert "'hidden.0.weight': (16, 64)" in told(lesson)
    assert len(shown(lesson)) == 9


def test_a_cnn_by_hand_and_layer_by_layer(folder):
    lesson = played("4_cnn", folder, SMALL["4_cnn"])
    assert "features.4" in told(lesson)
    assert "(8, 3, 3)" in told(lesson)


def test_augmentation_is_measured_and_slides(folder):
    lesson = played("5_augmentation", folder, SMALL["5_augmentation"])
    figure = r"[+-]\d+\.\d"
    verdict = rf"shift +{figure} \({figure}\.\.{figure}\) (better|worse|cannot tell)"
    assert re.search(verdict, told(lesson))
    kinds = {kind for cell in lesson.cells for output in cell.get("outputs", ()) for kind in output.get("data", {})}
    assert "application/vnd.jupyter.widget-view+json" in kinds


REFUSED = """
import os
import urllib.error
import urllib.request
os.access = lambda *given: False
try:
    urllib.request.urlopen("http://127.0.0.1:9")
except urllib.error.URLError as refused:
    print(refused, len(asked))
asked.clear()
"""


def test_where_nothing_may_be_written_runs_go_elsewhere_and_the_network_is_shut(folder):
    lesson = played("first_cell", folder, before=REFUSED)
    assert re.search(r"no network here.* [1-9]", told(lesson))
    assert "/souron-" in told(lesson) and not any(folder.iterdir())


@pytest.mark.parametrize("name", LESSONS)
def test_the_notebooks_are_those_of_the_text(name):
    for language in build.LANGUAGES:
        file = NOTEBOOKS / language / f"{name}.ipynb"
        assert file.read_text(encoding="utf-8") == build.text(name, language), "make notebooks"


@pytest.mark.parametrize("name", LESSONS)
def test_both_languages_run_the_same_code(name):
    code, words = {}, {}
    for language in build.LANGUAGES:
        cells = json.loads(build.text(name, language))["cells"]
        code[language] = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        words[language] = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    switched = [source.replace('LANGUAGE = "ja"', 'LANGUAGE = "en"') for source in code["ja"]]
    assert switched == code["en"] != code["ja"]
    assert len(words["ja"]) == len(words["en"])
    for english, japanese in zip(words["en"], words["ja"], strict=True):
        assert re.search(r"[ぁ-んァ-ヶ一-龠]", japanese)
        assert not re.search(r"[ぁ-んァ-ヶ一-龠]", english)
        assert set(re.findall(r"`[^`]+`", english)) == set(re.findall(r"`[^`]+`", japanese))


@pytest.mark.parametrize("name", LESSONS)
def test_only_colab_installs(name):
    cells = json.loads(build.text(name, "en"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    for source in code:
        for line in source.splitlines():
            assert not line.startswith(("%", "!")), line
    [installing] = [source for source in code if "%pip" in source]
    plain = installing.replace("%pip install --quiet {SOURON}", "raise SystemExit")
    [only] = [node for node in ast.parse(plain).body if "SystemExit" in ast.dump(node)]
    assert isinstance(only, ast.If) and "google.colab" in ast.dump(only.test)
