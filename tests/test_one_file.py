"""CONTRIBUTING.md keeps its word: what is added by one file, dropped into a folder of its own.

Systems, tasks, data sets, commands and studies have tests of their own, which the table "Add one
file" of docs/architecture.md names.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dropping import dropped, put_in, written
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from souron import kinds, registry
from souron import model as models_api
from souron.cli import main
from souron.data import load
from souron.data.dataset import ListColumn, Loader, digests
from souron.data.target import target_of
from souron.lecture import rows
from souron.runs import train
from souron.serve import endpoints
from souron.serve.api import application
from souron.studio import files, interactive, interactives
from souron.studio.security import access
from souron.utils.messages import UserError, use_language

ROOT = Path(__file__).parent.parent
TARGET = '''"""Arrows in an image: a ``ListColumn`` of ``Arrows``."""

from typing import NamedTuple

from PIL import ImageDraw
from torch import Tensor

from souron.data.quality.findings import of_rows
from souron.data.target import Target
from souron.data.targets.boxes import first_of
from souron.kinds.picture import Picture
from souron.utils.messages import N_


class Arrows(NamedTuple):
    ends: Tensor  # (n, 4) from x, y to x, y in pixels


class Pointing(Target):
    heading = N_("Arrows")
    counted = N_("arrows")
    one_class = False
    every_class = True

    @classmethod
    def holds(cls, cases):
        return isinstance(first_of(cases), Arrows)

    def counts(self):
        return [sum(len(one.ends) for one in self.cases.target)] * len(self.cases.classes)

    def of_class(self, label):
        yield from range(len(self.cases))

    def words(self, row):
        return f"{len(self.cases.target[row].ends)} <arrows>"

    def drawn(self, row):
        image = Picture.of(self.cases.input[row]).image.convert("RGB")
        for ends in self.cases.target[row].ends.tolist():
            ImageDraw.Draw(image).line(ends, fill=(255, 0, 0))
        return image, self.words(row)

    def findings(self):
        empty = [(row,) for row, one in enumerate(self.cases.target) if not len(one.ends)]
        yield from of_rows(self.cases, "no arrow", "warning", empty, "{count} without", "draw some")
'''
FORMAT = '''"""Images with arrows in ``arrows.txt``: ``name x y x y``, in pixels."""

import numpy as np
import torch
from PIL import Image

from souron.data.dataset import Dataset, ListColumn
from souron.data.targets.arrows import Arrows

tasks = ("locate", "classify")


def describes(path):
    return (path / "arrows.txt").is_file()


def load(path, reading):
    lines = [line.split() for line in (path / "arrows.txt").read_text().splitlines()]
    names = [line[0] for line in lines]
    pixels = np.stack([np.array(Image.open(path / name).convert("L")) for name in names])
    arrows = [Arrows(torch.tensor([list(map(float, line[1:]))]).reshape(-1, 4)) for line in lines]
    return Dataset(path.name, torch.from_numpy(pixels)[:, None], ListColumn(arrows), ("arrow",),
                   names, source=str(path))
'''


def arrows(folder: Path) -> Path:
    """Images with an arrow each, but the last one."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        pixels = random.integers(0, 99, (64, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    lines = [f"{number}.png 2 {4 * number} 60 9" for number in range(5)]
    (folder / "arrows.txt").write_text("\n".join([*lines, "5.png"]))
    return folder


@pytest.fixture
def target(tmp_path):
    """A kind of target and the format that it is read from, two files."""
    with put_in(tmp_path, {"data/targets/arrows.py": TARGET, "data/formats/arrow_list.py": FORMAT}):
        yield arrows(tmp_path / "flight")


def test_a_kind_of_target_is_gathered_and_indexed(target):
    cases = load.load(target, formats=("arrow_list",))
    assert cases.has("arrows") and not cases.has("boxes") and not cases.has("classes")
    assert type(target_of(cases)).__name__ == "Pointing"
    some = cases.only([3, 0])
    assert [one.ends[0, 1].item() for one in some.target] == [12, 0]
    batch = next(Loader(cases, lambda rows: rows).endless(4))
    assert isinstance(batch.target, ListColumn) and len(batch.target) == 4
    assert {type(one).__name__ for one in batch.target} == {"Arrows"}
    assert len(set(digests(cases.target))) == 6
    assert list(digests(some.target)) == [list(digests(cases.target))[row] for row in (3, 0)]


def test_a_kind_of_target_is_checked(target, tmp_path, capsys):
    assert main.run(["data", "check", str(target), "--json"]) == 0
    found = {one["code"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert found["no arrow"]["files"] == ["5.png"] and found["no arrow"]["message"] == "1 without"
    page = (tmp_path / "runs" / "data" / "flight" / "check.html").read_text(encoding="utf-8")
    assert "0 &lt;arrows&gt;" in page and "draw some" in page


def test_a_kind_of_target_is_shown(target, tmp_path, capsys):
    assert main.run(["data", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == {"arrow": 5}
    page = (tmp_path / "runs" / "data" / "flight" / "data.html").read_text(encoding="utf-8")
    assert page.count("0.png: 1 &lt;arrows&gt;") >= 1 and "<h2>Arrows</h2>" in re.sub(r"<h2[^>]*>", "<h2>", page)


def test_two_kinds_that_claim_the_same_data_are_told(target):
    cases = load.load(target, formats=("arrow_list",))
    twin = TARGET.replace("class Pointing", "class Twin").replace(
        "class Arrows(NamedTuple):\n    ends: Tensor  # (n, 4) from x, y to x, y in pixels\n",
        "from souron.data.targets.arrows import Arrows\n",
    )
    with (
        put_in(target.parent / "more", {"data/targets/twins.py": twin}),
        pytest.raises(AssertionError, match="several ways"),
    ):
        target_of(cases)


STRIPES = '''"""Images as rows of ``grey.txt``: a class, then 64 grey values."""

import torch



from souron.data.dataset import Dataset

tasks = ("classify",)


def describes(path):
    return (path / "grey.txt").is_file()


def load(path, reading):
    rows = [line.split() for line in (path / "grey.txt").read_text().splitlines()]
    pixels = torch.tensor([list(map(int, row[1:])) for row in rows], dtype=torch.uint8)
    classes = sorted({row[0] for row in rows})
    target = torch.tensor([classes.index(row[0]) for row in rows])
    names = [f"line {number}" for number in range(1, len(rows) + 1)]
    return Dataset(path.name, pixels.view(-1, 1, 8, 8), target, tuple(classes), names)
'''


def test_a_file_format(tmp_path, digits):
    folder = tmp_path / "table"
    folder.mkdir()
    lines = [
        " ".join([f"class{label}", *map(str, image.flatten().tolist())])
        for image, label in zip(digits.input[:200], digits.target[:200].tolist(), strict=True)
    ]
    (folder / "grey.txt").write_text("\n".join(lines))
    with pytest.raises(UserError, match="class"):
        train.train("mlp", folder, budget="1ep")
    with put_in(tmp_path, {"data/formats/grey_rows.py": STRIPES}):
        assert "grey_rows" in registry.tasks()["classify"].formats
        record = train.train("mlp", folder, budget="1ep")
        assert record.test.file[0].startswith("line ") and "class7" in record.test.classes
    assert "grey_rows" not in registry.load_task("classify").formats


KIND = '''"""Chords: tones that sound together."""

from dataclasses import dataclass
from html import escape

from souron.kinds.kind import Kind
from souron.utils import files
from souron.utils.messages import N_


@dataclass(frozen=True)
class Chord(Kind):
    noun = N_("chord")
    suffix = ".chord"
    formats = (".chord",)

    tones: tuple[str, ...]
    file: str = ""

    @classmethod
    def read(cls, path, **how):
        return cls(tuple(path.read_text(encoding="utf-8").split()), str(path))

    def save(self, path):
        files.write_text(path, " ".join(self.tones))

    def as_json(self):
        return {"tones": list(self.tones)}

    def _repr_html_(self):
        return f"<b>{escape(' '.join(self.tones))}</b>"
'''


def test_a_kind_of_answer(tmp_path, capsys):
    from souron.studio import answers, kept_answers
    from souron.studio.forms import widgets

    sources = {"chorder": written("chord", "chord", "return Chord(given.tones[::-1])")}
    with put_in(tmp_path, {"kinds/chord.py": KIND}, kinds), dropped(tmp_path / "more", sources):
        (tmp_path / "a.chord").write_text("C <E> G")
        assert main.run(["predict", "chorder", "a.chord", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["tones"] == ["G", "<E>", "C"]
        model = models_api.load("chorder")
        fields = widgets.given(model.asked.given)
        assert "chord" in fields and 'accept=".chord"' in fields
        [one] = answers.answered(model, [tmp_path / "a.chord"], {})
        assert "<b>G &lt;E&gt; C</b>" in answers.cards([one], 5, False)
        [saved] = kept_answers.Kept("chorder", [one], 1, [], folder=tmp_path / "saved").saved()
        assert saved.name == "a.chord" and saved.read_text() == "G <E> C"


def test_a_row_of_the_lecture(tmp_path, capsys):
    text = (Path(rows.__file__).parent / "rows" / "V1.toml").read_text(encoding="utf-8")
    numbers = [int(id[1:]) for id in rows.rows() if id[0] == "V"]
    new = f"V{max(numbers) + 1}"
    with put_in(tmp_path, {f"lecture/rows/{new}.toml": text.replace('"AlexNet"', '"Another"')}):
        assert rows.find(new).text.title == "Another"
        ids = list(rows.rows())
        assert ids[ids.index(new) - 1] == f"V{max(numbers)}" and ids[-1] == "E5"
        [chapter] = [one for one in rows.chapters() if one.name == "images"]
        assert chapter.rows[-1].id == new
        assert main.run(["lecture", new.lower()]) == 0
        assert "Another" in capsys.readouterr().out
    with put_in(tmp_path / "wrong", {"lecture/rows/V1b.toml": text}), pytest.raises(UserError) as e:
        rows.rows()
    assert e.value.code == "lecture file" and "V1b" in e.value.found


INTERACTIVE = '''"""A coin is tossed."""

from souron.studio import interactive
from souron.utils.messages import N_

TITLE = N_("A coin <b>")
ABOUT = N_("It is tossed.")
QUESTION = N_("Which side is up?")
CHOICES = (N_("heads"), N_("tails"))
RIGHT = 1
ANSWER = N_("Either of them.")


def stage():
    return interactive.button("toss", "toss")


def answer(asked):
    return {"side": interactive.among(asked, "side", ("tails", "heads"))}
'''


def test_an_interactive(tmp_path):
    script = "studio/static/interactives/coin.js"
    text = "export function start(root, tools) {}\n"
    with put_in(tmp_path, {"studio/interactives/coin.py": INTERACTIVE, script: text}, interactives):
        assert interactive.names()[-1] == "coin" and interactive.names()[0] == "playground"
        page = interactive.html("coin")
        assert "A coin &lt;b&gt;" in page and 'data-do="toss"' in page
        app = FastAPI()
        files.add_static(app)
        client = TestClient(app)
        assert client.post("/interactive/en/coin", json={}).json() == {"side": "tails"}
        assert client.post("/interactive/en/coin", json={"side": "edge"}).status_code == 400
        assert client.get("/static/interactives/coin.js").text == text
        assert client.get("/static/interactives/common.js").status_code == 200
        for outside in ("nothing.js", "%2e%2e%2fcoin.js", "..%2f..%2finteractives%2fcoin.py"):
            assert client.get(f"/static/interactives/{outside}").status_code == 404
    assert "coin" not in interactive.names()


PAGE = '''"""A page that greets."""

from souron.utils.messages import N_

TITLE = N_("Greeting")


def body(studio, query):
    return f"<h1>Good morning in {studio.language}</h1>"
'''
VISIT = """
import sys
from pathlib import Path
import souron
souron.__path__.append({place!r})
from souron.studio import shared
from souron.studio.app import application
from starlette.testclient import TestClient
app, jobs = application(Path({folder!r}), port=7860)
client = TestClient(app, base_url="http://127.0.0.1:7860")
for language in ("en", "ja"):
    answer = client.get(f"/{{language}}/greeting")
    told = f"Good morning in {{language}}" in answer.text
    print(answer.status_code, told, f"/{{language}}/greeting" in answer.text)
print(client.get("/en/nothing").status_code, shared.PAGES[0], shared.PAGES[-1])
"""


def test_a_page_of_the_studio(tmp_path):
    written_page = tmp_path / "souron" / "studio" / "pages" / "greeting.py"
    written_page.parent.mkdir(parents=True)
    written_page.write_text(PAGE, encoding="utf-8")
    code = VISIT.format(place=str(tmp_path / "souron"), folder=str(tmp_path / "runs"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    first, second, last = done.stdout.splitlines()[-3:]
    assert first == second == "200 True True", done.stderr
    assert last == "404 lecture greeting"
    assert access.find_route("/en/greeting", "GET") is None  # of this process


ENDPOINT = '''"""``GET /echo``: a word, once more."""

from souron.utils.messages import UserError, _


def add(app, service):
    @app.get("/echo", summary=_("It is said again."))
    async def echo(word: str = "") -> dict[str, str]:
        if not word:
            raise UserError("no files", "nothing was said", expected="word=")
        return {"said": word, "by": service.name}
'''


class Silent:
    """A service without a model, of which the endpoints need a few names."""

    name, task, voice, filtered = "silent", "classify", None, None

    class predictor:
        options: dict = {}


def test_an_endpoint(tmp_path):
    with put_in(tmp_path, {"serve/endpoints/echo.py": ENDPOINT}, endpoints), use_language("en"):
        client = TestClient(application(Silent(), token=False), raise_server_exceptions=False)
        assert client.get("/echo?word=hi").json() == {"said": "hi", "by": "silent"}
        refused = client.get("/echo")
        assert refused.status_code == 400
        assert refused.json()["error"]["expected"] == "word="
        paths = list(client.get("/openapi.json").json()["paths"])
        assert sorted(paths) == ["/echo", "/health", "/predict", "/studies/check"]
        assert "/echo" in client.get("/other").json()["error"]["expected"]


TABLE = re.findall(
    r"^\| (?!to add|---)(.*?) \| (.*?) \| (.*?) \| (.*?) \|$",
    (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Add one file")[1],
    re.MULTILINE,
)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_the_table_of_files_names_what_exists(row):
    _thing, written_files, _edited, test = row
    for path in re.findall(r"`((?:souron|packages|tests|docs|notebooks)/[^`]*)`", written_files):
        folder = ROOT / path.split("<")[0]
        assert folder.is_dir() if "<" in path else folder.exists(), path
    [file] = re.findall(r"`((?:packages/\w+/)?tests/\w+\.py)`", test)
    text = (ROOT / file).read_text(encoding="utf-8")
    if "adds one" in test:
        assert re.search(r"put_in|__path__|dropped", text), f"{file} drops nothing in"


def test_the_table_of_files_is_whole():
    names = {thing for thing, *_more in TABLE}
    assert {
        "a system",
        "a task",
        "an action",
        "a kind of target",
        "a kind of answer",
        "a data format",
        "a data set",
        "a command",
        "an interactive",
        "a row of the lecture",
        "an endpoint of serve",
        "a page of the studio",
        "metrics",
        "a section of the report",
    } <= names
