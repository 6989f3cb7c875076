"""One verdict: a word that is added to every verdict is seen on every face, and edits at most four files."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WORD = "toyword"

# file of a copy -> (text, what takes its place): each pair says how likely it was, as a toy
EDITS = {
    "stats/records.py": (
        "    seeds_needed: int | None  # further seeds, where seeds are lacking\n",
        "    seeds_needed: int | None  # further seeds, where seeds are lacking\n    toyword: float = 0.0\n",
    ),
    "stats/verdict.py": (
        "        seeds,\n    )\n\n\ndef _further",
        "        seeds,\n        0.4321,\n    )\n\n\ndef _further",
    ),
    "report/verdict.py": (
        '        _("verdict"): [word(one) for one in verdicts],\n',
        '        _("verdict"): [word(one) for one in verdicts],\n'
        '        "toyword": [Cell(f"{one.toyword:.4f}", one.toyword) for one in verdicts],\n',
    ),
}

FACES = """
import io, json, sys
from pathlib import Path
import souron
from souron.cli import main
from souron.report import comparison
from souron.studio.runs import export, verdict_view
from souron.utils.messages import use_language

record = souron.compare(["mlp_tiny", "cnn_tiny"], "digits", budget="1ep", seeds=2, project="runs")
runs = [souron.train(system, "digits", budget="1ep", project="runs").folder for system in ("mlp_tiny", "cnn_tiny")]
cases = range(40)
table = {"case": [*cases], "truth": [0, 1] * 20, "a": [0, 1] * 20, "b": [0, 0, 1, 1] * 10}
judged = souron.verdict(table)
found = souron.verdict(runs)
faces = {}
faces["page of a comparison"] = record.report.read_text("utf-8")
faces["notebook of a comparison"] = record._repr_html_()
faces["notebook of a table"] = judged._repr_html_()
faces["JSON of a comparison"] = json.dumps(record.as_json(), default=str)
faces["JSON of runs"] = json.dumps(found.as_json(), default=str)
faces["JSON of a table"] = json.dumps(judged.as_json(), default=str)
faces["page of a table"] = judged._page(())
for name, sheet in (("comparison", export.of_folder(record.folder)), ("runs", export.of_pair(found))):
    faces["CSV of a " + name] = export.as_csv(sheet).decode("utf-8-sig")
    import zipfile
    faces["Word of a " + name] = zipfile.ZipFile(io.BytesIO(export.as_docx(sheet))).read("word/document.xml").decode()
faces["studio"] = str(verdict_view.drawn_tables(found.tables()))
Path("faces.json").write_text(json.dumps(faces))
import csv
with open("table.csv", "w", newline="") as file:
    csv.writer(file).writerows([list(table), *zip(*table.values())])
assert main.run(["compare", *map(str, runs), "--lang", "en"]) == 0
assert main.run(["verdict", "table.csv", "--lang", "en"]) == 0
from souron.actions.compare import CompareRecord
from souron.cli import actions
actions.print_record(CompareRecord(record))
"""


@pytest.mark.slow
def test_a_word_in_every_verdict_edits_at_most_four_files(tmp_path):
    assert len(EDITS) <= 4
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "souron", copy / "souron", ignore=shutil.ignore_patterns("__pycache__"))
    for name, (old, new) in EDITS.items():
        text = (copy / "souron" / name).read_text("utf-8")
        assert text.count(old) == 1, name
        (copy / "souron" / name).write_text(text.replace(old, new), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "200"}
    command = [sys.executable, "-c", FACES]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    faces = json.loads((tmp_path / "faces.json").read_text("utf-8"))
    assert not [name for name, content in faces.items() if "0.4321" not in content]
    assert done.stdout.count("0.4321") == 3  # the terminal: runs, a table, a comparison
    rows = list(csv.reader(io.StringIO(faces["CSV of a runs"])))
    assert any(WORD in row for row in rows)
