"""Reporting tables are filled with what a run's files hold, and with nothing else."""

import json
import re
from pathlib import Path

import pytest
import roots
import yaml
from docx import Document

from souron.actions.reporting import ReportingStudy, guidelines, source
from souron.actions.reporting.facts import FACTS
from souron.cli import main
from souron.utils.messages import UserError, use_language

STORED = roots.ROOT / "tests" / "stored"
COUNTS = {"stard-ai": (40, 48), "tripod-ai": (27, 52), "claim": (44, 44), "tripod-llm": (19, 49)}
ACCURACY = {"value": 0.75, "low": 0.5123, "high": 0.9123, "n": 8, "groups": 4}
MACHINE = {"python": "3.11.7", "packages": {"souron": "0.1.0", "torch": "2.13.0"}, "processor": "Z80", "cores": 2}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURON_LANG", "en")


def write(folder="runs/classify/one", patients=True, **changes):
    """Write the files of a finished run of a classifier of 8 test cases, two a patient; ``changes`` of its receipt."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    cases = [(f"{number}.png", "sound" if number % 4 < 2 else "caries", f"P{number // 2}") for number in range(16)]
    options = {"system": "mlp", "data": "teeth.csv", "budget": "5ep", "batch": 32, "seed": 7, "pretrained": "False",
               "patience": 0, "rate": None, "prevalence": 0.2, "config": {"widths": [8], "rate": 0.003}}  # fmt: skip
    seen = {"channels": 1, "side": 28, "labels": ["caries", "sound"], "mean": [0.5], "std": [0.25]}
    args = {**options, "seen": seen, "config": options["config"]}
    (folder / "args.yaml").write_text(yaml.safe_dump(args), encoding="utf-8")
    measures = {"accuracy": {**ACCURACY, "groups": 4 if patients else None}}
    receipt = {
        "run": str(folder), "system": "mlp", "measures": measures, "skipped": [], "notes": ["A caveat."],
        "data": {"name": "teeth", "cases": 16, "hash": "abc", "source": "clinic", "licence": "CC0"},
        "decision": {"positive": "caries", "threshold": [0.25, 0.5]}, "parameters": 4242, "options": options,
        "machine": MACHINE, "command": "souron train mlp data=teeth.csv", "subgroups": [],
        "files": {"weights/best.safetensors": "f00d"}, **changes,
    }  # fmt: skip
    (folder / "receipt.json").write_text(json.dumps(receipt), encoding="utf-8")
    rows = [f"{file},{label},{group if patients else ''},{'test' if place >= 8 else 'train'}"
            for place, (file, label, group) in enumerate(cases)]  # fmt: skip
    (folder / "split.csv").write_text("\n".join(["file,label,group,part", *rows]), encoding="utf-8")
    (folder / "results.csv").write_text("step,epoch,seconds,examples,loss model,val accuracy\n")
    told = [f"{file},{label},sound,0.6" for file, label, _group in cases[8:]]
    (folder / "predictions.csv").write_text("\n".join(["file,label,predicted,probability", *told]), encoding="utf-8")
    return folder


def answers(folder, guideline):
    record = ReportingStudy(writes=False).result(folder, guideline=guideline)
    return {one["number"]: one for one in record.as_json()["items"]}


@pytest.mark.parametrize("name", COUNTS)
def test_every_item_has_a_number_a_text_and_japanese(name):
    guideline = guidelines.read(name)
    numbers = [one.number for one in guideline.items]
    assert (len({int(re.match(r"\d+", number)[0]) for number in numbers}), len(numbers)) == COUNTS[name]
    assert guideline.reference and guideline.numbered and guideline.doi.startswith("10.")
    for item in guideline.items:
        for words in (item.section, item.text, item.hint, *filter(None, [item.rest])):
            assert words.en and re.search(r"[぀-ヿ一-鿿]", words.ja), (item.number, words)
    assert tuple(sorted(COUNTS)) == guidelines.NAMES


def test_a_filled_value_is_the_receipts():
    found = answers(write(), "stard-ai")
    assert found["31"]["status"] == "filled"
    assert found["31"]["value"] == "On the test cases: accuracy 75.0 % (95 % CI 51.2–91.2 %; n = 8, 4 patients)."
    assert "25.0–50.0 %" in found["15c"]["value"] and "Youden" in found["15c"]["value"]
    assert "torch 2.13.0" in found["13"]["value"] and found["13"]["status"] == "partly"
    for part in ("budget 5ep", "batch size 32", "maximum learning rate 0.003", "random seed 7", "random weights"):
        assert part in found["15b"]["value"]
    assert "4,242 parameters" in found["15a"]["value"]
    assert "4 of 8 tested cases (50.0 %) are caries" in found["28"]["value"]
    assert "assume a prevalence of 20.0 %" in found["28"]["value"]
    assert "caries called sound: 4, sound called sound: 4" in found["30"]["value"]
    assert "SHA-256 of the weights: f00d" in found["40a"]["value"]
    assert "best validation accuracy" in found["15b"]["value"] and "AdamW" in found["15b"]["value"]
    assert found["6"] == {**found["6"], "status": "to write", "value": ""} and found["6"]["to_write"]


def test_the_sentence_counts_each_status():
    record = ReportingStudy(writes=False).result(write(), guideline="claim")
    counts = record.as_json()["counts"]
    assert sum(counts.values()) == 44 and counts["not applicable"] == 1
    assert record.sentences() == [
        f"CLAIM 2024: {counts['filled']} of 44 items and sub-items filled from the run, {counts['partly']} in part; "
        f"{counts['to write']} to be written by you. Does not apply: 1."
    ]
    assert min(counts.values()) > 0


def test_patients_are_stated_only_where_the_run_knows_them():
    known, unknown = answers(write(), "claim"), answers(write("runs/classify/two", patients=False), "claim")
    assert "Split by patient" in known["20"]["value"] and "8 tested cases of 4 patients" in known["21"]["value"]
    everything = " ".join(one["value"] for one in unknown.values())
    assert "Split by patient" not in everything and "of 4" not in unknown["21"]["value"]
    assert "Cases were divided singly" in unknown["20"]["value"]
    assert "count each case as independent" in unknown["29"]["value"]


def test_patients_on_both_sides_are_not_said_to_be_apart():
    folder = write()
    split = (folder / "split.csv").read_text(encoding="utf-8").replace("0.png,sound,P0,", "0.png,sound,P7,")
    (folder / "split.csv").write_text(split, encoding="utf-8")
    assert (
        answers(folder, "claim")["20"]["value"]
        == "Some groups of cases (patients) are in more than one part of a split."
    )


def test_groups_of_a_published_data_set_are_not_called_patients():
    folder = write(options={"data": "scenes"})
    found = answers(folder, "claim")
    assert "8 tested cases of 4 groups" in found["21"]["value"] and "Split by group" in found["20"]["value"]
    assert "patient" not in " ".join(one["value"] for one in found.values())


def test_a_system_without_a_loss_has_no_optimiser():
    folder = write()
    (folder / "results.csv").unlink()
    text = answers(folder, "stard-ai")["15b"]["value"]
    assert "One split" in text and not re.search("AdamW|random weights|best validation", text)


def test_folds_and_repeats_are_those_of_the_file():
    folder = write()
    rows = [f"{n}.png,sound,P{n // 2},{n // 2 % 4 + 1},{n // 2 % 4 + 1}" for n in range(16)]
    (folder / "folds.csv").write_text("\n".join(["file,label,group,repeat 1,repeat 2", *rows]), encoding="utf-8")
    found = answers(folder, "claim")
    assert "4-fold cross-validation, repeats: 2" in found["19"]["value"]
    assert "16 tested cases of 8 patients" in found["21"]["value"]


def test_columns_of_the_datas_table_are_read_while_it_is_unchanged():
    folder = write()
    rows = [f"{n}.png,sound,{'AB'[n % 2]},{40 + n},2022-0{1 + n % 9}-08" for n in range(16)]
    Path("teeth.csv").write_text("\n".join(["filename,label,site,age,date", *rows, ""]), encoding="utf-8")
    found = answers(folder, "stard-ai")
    assert "Dates in the data: 2022-01-08 to 2022-09-08" in found["9"]["value"] and "A 8, B 8" in found["9"]["value"]
    assert "Age: median 47.5 (40–55; n = 16)" in found["25"]["value"]
    Path("teeth.csv").write_text("\n".join(["filename,label,site,age,date", *rows[:-1], ""]), encoding="utf-8")
    changed = answers(folder, "stard-ai")
    assert changed["9"]["status"] == changed["25"]["status"] == "to write"


def test_nothing_is_stated_that_the_receipt_lacks():
    folder = write(machine=None, decision=None, parameters=None, command=None, files=None, options=None)
    found = answers(folder, "stard-ai")
    assert found["15c"]["status"] == found["28"]["status"] == found["13"]["status"] == "to write"
    everything = json.dumps(list(found.values()))
    assert "parameters." not in everything and "Software" not in everything and "random weights" not in everything
    assert "prevalence of" not in everything and "nan" not in everything and "None" not in everything


def test_values_of_other_types_count_as_absent():
    folder = write(
        machine=[1], decision={"positive": ["x"], "threshold": {"a": 1}}, parameters="many", subgroups={"a": 3},
        notes=[{"a": 1}], skipped="x", calibration=[], options={"config": 3, "seed": {"a": 1}}, files=["x"],
        measures={"accuracy": {**ACCURACY, "high": "x"}, "AUC": None},
    )  # fmt: skip
    for name in COUNTS:
        assert answers(folder, name)
    assert answers(folder, "stard-ai")["31"]["status"] == "to write"


def test_hostile_text_is_escaped():
    evil = "<script>alert(1)</script> | `x` \x00\x1b[31m"
    folder = write(notes=[evil], data={"name": evil, "cases": 16, "hash": evil, "source": evil, "licence": evil})
    record = ReportingStudy("made").result(folder, guideline="stard-ai")
    for name in ("report.html", "report.ja.html", "reporting.md"):
        text = (record.folder / name).read_text(encoding="utf-8")
        assert "<script>alert" not in text and "&lt;script" in text
        assert "\x00" not in text and "\x1b" not in text
    rows = [line for line in record.markdown().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {6}
    Document(record.folder / "reporting.docx")


def test_paragraphs_are_sentences_of_the_receipt_in_both_languages():
    folder = write()
    made = ReportingStudy(writes=False).result(folder).as_json()
    assert made["guideline"] == "STARD-AI"
    for part in (
        "16 cases",
        "8 tested cases of 4 patients",
        "One split of the cases: training 8, test 8",
        "Python 3.11.7",
        "count patients, not single cases",
    ):
        assert part in made["methods"]
    assert "75.0 % (95 % CI 51.2–91.2 %; n = 8, 4 patients)" in made["results"]
    assert made["translated"]["ja"]["items"][30]["text"] != made["items"][30]["text"]
    with use_language("ja"):
        assert ReportingStudy(writes=False).result(folder).as_json()["items"] == made["translated"]["ja"]["items"]


def test_page_markdown_and_word_hold_the_same_rows():
    record = ReportingStudy("made").result(write(), guideline="claim")
    document = Document(record.folder / "reporting.docx")
    [table] = document.tables
    stored = json.loads((record.folder / "reporting.json").read_text(encoding="utf-8"))
    assert [row.cells[0].text for row in table.rows][1:] == [one["number"] for one in stored["items"]]
    assert [row.cells[3].text for row in table.rows][1:] == [one["value"] for one in stored["items"]]
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    markdown = (record.folder / "reporting.md").read_text(encoding="utf-8")
    for one in stored["items"]:
        assert f'<th scope="row">{one["number"]}</th>' in page and f"| {one['number']} |" in markdown
    assert (record.folder / "report.ja.html").is_file()


def test_a_comparison_states_its_verdict():
    row = {"system": "cnn", "measure": "accuracy", "value": 0.9, "low": 0.8, "high": 0.95}
    rows = [row, {**row, "system": "mlp", "value": 0.7}]
    folder = write(rows=rows, sentence="cnn is better than mlp.", task="classify", cases=8, seeds=3, measures=None)
    found = answers(folder, "claim")
    assert found["37"]["value"].startswith("accuracy (95 % CI): cnn 90.0 % (80.0–95.0 %), mlp 70.0 %")
    assert found["37"]["value"].endswith("cnn is better than mlp.")
    assert "cnn, mlp" in found["22"]["value"] and found["27"]["status"] == "to write"
    assert "8 tested cases of 4 patients" in found["21"]["value"]


def test_an_exam_and_an_arena_fill_tripod_llm():
    exam = ReportingStudy(writes=False).result(STORED / "exam/nearest-terms-3")
    assert exam.guideline.key == "tripod-llm"
    found = {one["number"]: one for one in exam.as_json()["items"]}
    assert "n = 10 questions" in found["17"]["value"] and "by chance 25.0 %" in found["17"]["value"]
    assert "not known: nearest brings weights" in found["6a"]["value"]
    assert found["10"]["status"] == "not applicable" and found["6c"]["status"] == "to write"
    Path("votes").mkdir()
    (Path("votes") / "arena.json").write_bytes((STORED / "arena/q.json").read_bytes())
    found = answers("votes", "tripod-llm")
    assert "2 blind votes" in found["17"]["value"] and "heron 1074" in found["17"]["value"]
    assert "blind" in found["7e"]["value"] and found["10"]["status"] == "to write"


def unfinished():
    (write() / "receipt.json").unlink()


def no_run():
    Path("runs/classify/one").mkdir(parents=True)


def no_object():
    (write() / "receipt.json").write_text("[1]")


def huge(monkeypatch):
    write()
    monkeypatch.setattr(source, "MOST_BYTES", 500)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (unfinished, "not finished"),
        (no_run, "not a run"),
        (no_object, "not a run"),
        (huge, "too large"),
        (None, "not a run"),
    ],
)
def test_what_is_no_finished_run_is_refused(make, code, monkeypatch):
    if make is not None:
        make(*([monkeypatch] if make is huge else []))
    with pytest.raises(UserError) as refused:
        ReportingStudy("made").result("runs/classify/one")
    assert refused.value.code == code and refused.value.expected
    assert not Path("made").exists()


def test_the_command_prints_the_paragraphs_and_refuses_other_guidelines(capsys):
    folder = write()
    assert main.run(["reporting", str(folder), "guideline=claim", "project=made"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("CLAIM 2024: ") and "Methods" in out and "reporting.docx" in out.replace("\n", "")
    assert main.run(["reporting", str(folder), "guideline=consort"]) == 2


def test_every_fact_is_asked_for_by_a_guideline():
    asked = {name for key in COUNTS for one in guidelines.read(key).items for name in (*one.facts, *one.without)}
    assert asked | {"patients"} == FACTS.keys()
