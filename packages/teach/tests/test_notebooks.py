"""The lessons run from top to bottom: offline, with small budgets, in both languages."""

import importlib.util
import json
import re
import socket
import sys

import matplotlib
import nbformat
import numpy as np
import pytest
from playing import NOTEBOOKS, build, played, shown, stepped, told

from souron.data.sets import captioned_scenes
from souron.data.sets import scenes as plain_scenes
from souron.lecture import notebooks
from souron.utils import plotting

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
    assert re.search(r"^\d\S*e-0\d$|^0\.0$", told(lesson), re.MULTILINE)  # by hand as by souron
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


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to run the cells of a notebook in, in this process; nothing is sent, and figures are counted."""
    asked = []

    def refuse(*given, **_named):
        asked.append(given)
        raise OSError("no network here")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(plotting, "DOTS", 48)
    for scenes in (plain_scenes, captioned_scenes):  # whose making takes most of the time
        monkeypatch.setattr(scenes, "COUNTS", {name: min(count, 300) for name, count in scenes.COUNTS.items()})
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda: None)
    plt.close("all")
    yield plt
    plt.close("all")
    assert asked == []


def unfinished(texts):
    """The exercises that wait for their reader."""
    return re.findall(r"^(\w+) is not written yet", "\n".join(texts), re.MULTILINE)


def test_a_map_by_hand_is_that_of_pca_and_clusters_are_counted(here):
    from souron.data.load import load

    known, texts = stepped("6_maps_and_clusters", {"BUDGET": "1s", "GROUPS": 5})
    assert unfinished(texts) == ["nearest_centre"] and len(here.get_fignums()) == 3
    assert int(known["table"].sum()) == len(load("digits")) and known["table"].shape == (5, 10)
    assert known["plane"].var(0).sum() == pytest.approx(known["explained"][:2].sum() * known["points"].var(0).sum())


def test_attention_and_the_next_token_are_those_of_the_model(here):
    known, texts = stepped("7_tokens_attention_gpt", {"BUDGET": "1s"})
    assert unfinished(texts) == ["merge_pair", "causal_attention"] and len(here.get_fignums()) == 1
    np.testing.assert_allclose(known["seen"].logits[-1], known["scores"], atol=1e-2, rtol=1e-2)
    assert "('t', 'h')" in "".join(texts)


def test_borrowed_layers_are_compared_on_few_images(here):
    systems = ["efficientnet_lite:frozen", "cnn_tiny"]
    known, texts = stepped("8_transfer_learning", {"BUDGET": "1ep", "SEEDS": 1, "SYSTEMS": systems})
    assert unfinished(texts) == ["top_k_accuracy"]
    counts = {part: len(list((known["Path"]("few images") / part).glob("*/*.png"))) for part in ("train", "test")}
    assert counts == {"train": 8 * len(known["names"]), "test": 25 * len(known["names"])}
    assert known["result"].cases == counts["test"]


def test_a_coin_is_learnt_where_patients_are_on_both_sides(here):
    known, texts = stepped("9_fair_comparison", {"BUDGET": "1ep", "SEEDS": 2, "SPLITS": 30})
    assert np.mean(known["by_image"]) > 0.9 and 0.4 < np.mean(known["by_patient"]) < 0.6
    assert unfinished(texts) == ["patients_on_both_sides"] and "set()" in "".join(texts)
    assert len(known["result"].verdicts) == 3


def test_rare_diseases_make_false_alarms_and_confidence_costs_calibration(here):
    known, texts = stepped("10_clinic", {})
    assert unfinished(texts) == ["predictive_value"] and len(here.get_fignums()) == 3
    assert "0.01 (10, 108, 9, 1, 99, 891)" in "".join(texts)
    off = [abs(np.subtract(*known["groups_of"](known[name]))).mean() for name in ("probability", "bolder")]
    assert off[1] > off[0]


def test_boxes_by_hand_give_cocos_figures(here):
    known, texts = stepped("11_boxes", {"IMAGES": 6})
    assert unfinished(texts) == ["box_overlap", "average_precision"] and len(here.get_fignums()) == 3
    precision = known["matches"].precision[0, 0]
    assert np.nanmean(precision) == pytest.approx(known["figures"]["AP50"]) and known["figures"]["AP50"] > 0.2


def test_a_pixel_costs_a_small_lesion_more(here):
    known, texts = stepped("12_masks", {"IMAGES": 8})
    assert unfinished(texts) == ["dice"] and len(here.get_fignums()) == 3
    assert known["shifted"][0] < 0.5 < 0.95 < known["shifted"][-1]
    assert re.search(r"3 0\.\d+ 0\.5\n30 0\.9\d+ 0\.5", "".join(texts))


def test_noise_is_walked_back_to_the_moons(here):
    known, texts = stepped("13_generating", {"STEPS": 200, "DRAWN": 1})
    assert unfinished(texts) == ["add_noise"] and len(here.get_fignums()) == 3
    assert np.mean(known["losses"][-50:]) < np.mean(known["losses"][:10])
    assert known["points"].abs().max() < 6


def test_sentences_and_images_lie_beside_what_they_mean(here):
    known, texts = stepped("14_meaning", {"PAIRS": 6})
    assert unfinished(texts) == ["cosine_table", "reciprocal_rank"] and len(here.get_fignums()) == 2
    table = known["table"]
    assert table[0, 1] > table[0, 5] and table[3, 4] > table[3, 5]  # the same in both languages
    assert re.search("nine o'clock|9時", next(text for text in texts if text.startswith("When can I")))


def test_occupations_are_counted_by_two_judges_and_a_filter_fails_one_language_more(here):
    known, texts = stepped("15_society", {"WAY": "lexicon"})
    assert unfinished(texts) == ["exposure_beta"] and len(here.get_fignums()) == 2
    assert known["gpt4"].mean() > known["people"].mean()
    english, japanese = known["measured"]
    assert english.catch.high < japanese.catch.low
    said = "".join(texts)
    assert len(re.findall(r"^(?:people|gpt4) +(?:list|title|soc) +\d", said, re.MULTILINE)) == 6
    assert "1.0% generated: 179 accused, 55% of them honest" in said and "100 at most 3." in said


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


def test_running_them_in_full_ends_with_an_error_where_one_fails(tmp_path, monkeypatch, capsys):
    found = importlib.util.spec_from_file_location("lessons", NOTEBOOKS.parent / "benchmarks" / "lessons.py")
    lessons = importlib.util.module_from_spec(found)
    found.loader.exec_module(lessons)
    for name, source in (("1_fails", "1 / 0"), ("2_runs", "1")):
        cells = [nbformat.v4.new_code_cell(source)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
    monkeypatch.setattr(lessons, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["lessons.py"])
    with pytest.raises(SystemExit) as ended:
        lessons.main()
    assert ended.value.code == "failed: 1_fails"
    printed = capsys.readouterr()
    lines = re.findall(r"^(\w+) +(\d+\.\d) s, processor +(\d+\.\d) s$", printed.out, re.MULTILINE)
    assert [name for name, *_seconds in lines] == ["1_fails", "2_runs", "total"]
    for column in (1, 2):
        *each, total = [float(line[column]) for line in lines]
        assert sum(each) == pytest.approx(total, abs=0.21)  # rounded
    assert "ZeroDivisionError" in printed.err


def test_the_notebooks_are_in_their_order():
    assert [name.split("_")[0] for name in LESSONS] == [*map(str, range(1, 16)), "letters"]
    assert notebooks.names() == LESSONS


@pytest.mark.parametrize("name", LESSONS)
def test_the_notebooks_are_those_of_the_text(name):
    for language in build.LANGUAGES:
        file = build.WRITTEN / language / f"{name}.ipynb"
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
def test_one_cell_installs_and_it_is_the_first(name):
    cells = [cell for cell in json.loads(build.text(name, "en"))["cells"] if cell["cell_type"] == "code"]
    installing = ["%pip" in "".join(cell["source"]) for cell in cells]
    assert installing == [True] + [False] * (len(cells) - 1)
    for cell in cells:
        for line in "".join(cell["source"]).splitlines():
            assert not line.startswith(("%", "!")), line


def installed(language):
    """Return what the first cell installs in this process."""
    asked = []
    [cell] = [cell for cell in build.notebook("first_cell", language).cells if cell.cell_type == "code"]
    source = cell.source.replace("%pip install --quiet {SOURON}", "ASKED.append(SOURON)")
    assert source != cell.source
    exec(source, {"ASKED": asked})
    return asked


@pytest.mark.parametrize("language", build.LANGUAGES)
def test_only_colab_installs_and_says_what(tmp_path, monkeypatch, capsys, language):
    monkeypatch.setenv("SOURON_LANG", "en")  # which the cell changes
    work, stub = tmp_path / "work", tmp_path / "stub" / "google" / "colab"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "souron-0.0-py3-none-any.whl").touch()
    assert installed(language) == [] and capsys.readouterr().out == ""
    stub.mkdir(parents=True)
    (stub / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "stub"))
    assert installed(language) == ["souron-0.0-py3-none-any.whl"]
    (work / "souron-0.0-py3-none-any.whl").unlink()
    assert installed(language) == ["souron souron-zoo souron-teach"]
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2 and told[1].endswith("souron souron-zoo souron-teach") and "pip" in told[1]
    assert bool(re.search(r"[ぁ-ん]", told[1])) == (language == "ja")
