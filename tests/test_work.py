"""Work: figures by hand, names, tables from strangers, one's own tasks, the page, the command."""

import csv
import gzip
import json
import re
import socket

import numpy as np
import pytest

from souron.actions.work import Work, exposure, own_tasks, raters, tiles, titles
from souron.actions.work import record as work_page
from souron.actions.work import tables as work_tables
from souron.actions.work.tables import Occupation, Table, Task
from souron.cli import main
from souron.utils.messages import UserError, use_language

HEAD = "O*NET-SOC Code,Task ID,Task,Task Type,Title,people,gpt4\n"
CAUTIONS = ("does not say that a job is lost", "United States", "2021", "judgements")


@pytest.fixture(scope="module")
def table():
    return work_tables.usual()


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Nothing is fetched here, and runs lie in a folder of their own."""
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SOURON_DATA", raising=False)
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.chdir(tmp_path)


def refused(call, *given):
    with pytest.raises(UserError) as caught:
        call(*given)
    return caught.value


def made(*occupations):
    """A table: each occupation a code, a title and labels of people, GPT-4 saying E2 to all."""
    return Table(
        tuple(
            Occupation(code, title, tuple(Task(f"do {n}", True, label, "E2") for n, label in enumerate(labels)))
            for code, title, labels in occupations
        ),
        "made",
    )


def test_figures_by_hand_core_tasks_count_twice():
    tasks = [
        Task("a", True, "E1", "E0"),
        Task("b", True, "E0", "E0"),
        Task("c", False, "E2", "E0"),
        Task("d", False, "E2", "E1"),
    ]  # weights 1, 1, 1/2, 1/2
    assert exposure.exposure(tasks) == pytest.approx((1 / 3, 1 / 2, 2 / 3))
    assert exposure.exposure(tasks, "gpt4") == pytest.approx((1 / 6, 1 / 6, 1 / 6))
    assert exposure.tasks_of("Dentists, General")[0].keys() == {"task", "core", "weight", "people", "gpt4"}


def test_what_ships_has_the_figures_that_are_written_in_the_documentation(table):
    assert (len(table.occupations), len(table.tasks)) == (923, 19265)
    found = exposure.whole(table)
    people, gpt4 = found.means["people"], found.means["gpt4"]
    assert [people[name].value for name in exposure.FIGURES] == pytest.approx([0.149, 0.308, 0.468], abs=6e-4)
    assert [gpt4[name].value for name in exposure.FIGURES] == pytest.approx([0.140, 0.348, 0.556], abs=6e-4)
    assert all(each.low < each.value < each.high for each in people.values())
    assert found.agreement.kappa.value == pytest.approx(0.437, abs=6e-4)
    assert found.nearness.correlation == pytest.approx(0.876, abs=6e-4)
    assert found.nearness.error == pytest.approx(0.082, abs=6e-4)
    shares = {rule: [share.value for share in found.shares["people"][rule].values()] for rule in exposure.RULES}
    assert shares["list"] == pytest.approx([0.809, 0.195], abs=6e-4)
    assert shares["title"] == pytest.approx([0.787, 0.229], abs=6e-4)
    assert shares["soc"] == pytest.approx([0.803, 0.240], abs=6e-4)


def test_intervals_of_means_count_occupations(table):
    for found in exposure.means(table, "people").values():
        assert (found.n, found.groups) == (19265, len({one.soc for one in table.occupations}))


def test_workers_by_three_rules():
    """Chief executives are 200 480; a second occupation of the same six digits is counted with
    them by the list, shares them by the code, and is nobody by its title."""
    table = made(
        ("11-1011.00", "Chief Executives", ["E1"]),
        ("11-1011.03", "Chief Sustainability Officers", ["E0"]),
        ("99-9999.00", "Astronauts", ["E1"]),
    )
    assert exposure.workers(table, "list").tolist() == [200_480, 200_480, 0]
    assert exposure.workers(table, "title").tolist() == [200_480, 0, 0]
    assert exposure.workers(table, "soc").tolist() == [100_240, 100_240, 0]
    assert exposure.share_of_workers(table, "people", "list", 0.5).value == pytest.approx(0.5)
    assert exposure.curve(table, "people", "soc")[[0, 1, 100]] == pytest.approx([1, 0.5, 0.5])


def test_exactly_a_half_is_at_least_a_half():
    """Ten weights of a tenth each do not add up to one in floating point."""
    table = made(("11-1011.00", "Chief Executives", ["E1"] * 5 + ["E0"] * 5))
    assert exposure.share_of_workers(table, "people", "title", 0.5).value == 1
    assert exposure.share_of_workers(table, "people", "title", 0.51).value == 0


@pytest.mark.parametrize(
    ("asked", "title"),
    [
        ("Registered Nurses", "Registered Nurses"),
        ("registred nurse", "Registered Nurses"),
        ("nurse", "Registered Nurses"),
        ("dentist", "Dentists, General"),
        ("29-1021", "Dentists, General"),
        ("歯科医師", "Dentists, General"),
        ("看護師", "Registered Nurses"),
        ("プログラマ", "Computer Programmers"),
        ("radiologist", "Radiologists"),
    ],
)
def test_names_are_found(table, asked, title):
    assert titles.find(asked, table).occupation.title == title


def test_names_that_are_not_here_say_what_to_do(table):
    few = Table(table.occupations[:20], "few.csv")
    for asked in ("Orthodontists", "orthodontist", "矯正歯科医", "29-1023"):
        error = refused(titles.find, asked, few)
        assert (error.code, error.fix, error.exit) == ("occupation", "souron work Orthodontists", 3)
        assert "Orthodontists are not in few.csv" in error.found and "such as: " in error.expected
        assert titles.find(asked, table).occupation.title == "Orthodontists"
    error = refused(titles.find, "astronaut", table)
    assert error.code == "occupation" and "Astronomers" in error.expected
    for asked in ("", "x", "宇宙飛行士", "<script>", "a" * 10_000):
        assert refused(titles.find, asked, table).code == "occupation"


def test_every_japanese_name_has_a_title():
    known = {called.title for called in titles.titles()}
    assert len(known) == 923 and set(titles.japanese().values()) <= known
    employed = {one.title for one in work_tables.employment()}
    assert sum(called.counted_as in employed for called in titles.titles()) == 832


def table_file(folder, text, name="table.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_any_table_with_these_columns_is_read(tmp_path):
    """The authors' own names, tabs, E3 as E2; without a type all are core, without GPT-4 there is
    no second judge."""
    authors = table_file(
        tmp_path,
        "\tO*NET-SOC Code\tTask\tTask Type\tTitle\thuman_exposure_agg\tgpt4_exposure\textra\n"
        "0\t29-1023.00\tFit braces.\tCore\tOrthodontists\tE0\tE2\tx\n"
        "1\t29-1023.00\tWrite letters.\tSupplemental\tOrthodontists\tE3\tE1\tx\n",
        "full.tsv",
    )
    table = work_tables.read(authors)
    assert exposure.exposure(table.tasks) == pytest.approx((0, 1 / 6, 1 / 3))
    assert exposure.exposure(table.tasks, "gpt4") == pytest.approx((1 / 3, 2 / 3, 1))
    own = table_file(tmp_path, 'O*NET-SOC Code,Task,Title,people\n1,"Cut, and <b>sew",Tailors,E1\n')
    table = work_tables.read(own)
    assert table.tasks == (Task("Cut, and <b>sew", True, "E1", ""),) and not table.by_gpt4
    answer = Work().result("tailor", table=str(own))
    assert answer.answer.gpt4 is None and answer.as_json()["gpt4"] is None
    page = answer.report.read_text(encoding="utf-8")
    assert "<b>sew" not in page and "&lt;b&gt;sew" in page
    assert Work().result(str(own)).as_json()["occupations"][0]["occupation"] == "Tailors"


def test_tables_that_cannot_be_read_say_why(tmp_path):
    row = "29-1023.00,1,Fit braces.,Core,Orthodontists,E0,E0\n"
    cases = {
        "columns": HEAD.replace("people", "persons") + row,
        "label": HEAD + row.replace(",E0,", ",E7,"),
        "broken row": HEAD + "29-1023.00,1\n",
        "no tasks": HEAD,
        "empty file": "",
        "not a text": "O*NET\0" + row,
    }
    for code, text in cases.items():
        assert refused(work_tables.read, table_file(tmp_path, text)).code == code, code
    huge = HEAD + '29-1,1,"' + "a" * 200_000 + '",Core,T,E0,E0\n'
    assert refused(work_tables.read, table_file(tmp_path, huge)).code == "broken row"
    assert "line 2" in refused(work_tables.read, table_file(tmp_path, cases["label"])).found
    broken = tmp_path / "broken.tsv.gz"
    broken.write_bytes(gzip.compress(row.encode())[:-9])
    assert refused(work_tables.read, broken).code == "unreadable"
    assert refused(work_tables.read, tmp_path / "none.csv").code == "missing"


def test_a_table_that_swells_or_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(work_tables, "MOST_BYTES", 1_000)
    swollen = tmp_path / "swollen.tsv.gz"
    swollen.write_bytes(gzip.compress(b"a" * 100_000))
    assert swollen.stat().st_size < 1_000
    assert refused(work_tables.read, swollen).code == "too large"
    monkeypatch.setattr(work_tables, "MOST_TASKS", 2)
    rows = HEAD + "29-1023.00,1,Fit braces.,Core,Orthodontists,E0,E0\n" * 3
    assert refused(work_tables.read, table_file(tmp_path, rows)).code == "too large"


OWN = """
- Take impressions of teeth.
2. 治療計画を患者に説明する。
* Write letters of referral to other dentists.

Dental instruments
歯科の器具
治療計画の立案
"""


def test_own_tasks_are_rated_as_people_would(tmp_path):
    found = own_tasks.rate(OWN)
    assert [task.line for task in found.tasks] == [2, 3, 4, 6, 7, 8]
    assert found.tasks[0].text == "Take impressions of teeth."
    impressions, plan, letters = (task.value("beta") for task in found.tasks[:3])
    assert impressions < 0.3 < plan and letters > 0.5
    for name, one in found.figures.items():
        assert one.value == pytest.approx(np.mean([task.value(name) for task in found.tasks]))
        assert 0 <= one.low < one.value < one.high <= 1
    assert [task.verb for task in found.tasks] == [True, True, True, False, False, True]
    assert "2 of 6" in found.remarks()[0] and "6: Dental instruments" in found.remarks()[0]
    english, japanese = (
        own_tasks.rate(text).tasks[0].value("beta")
        for text in ("Adjust orthodontic wires.", "矯正用ワイヤーを調整する。")
    )
    assert abs(english - japanese) < 0.15


def test_more_tasks_make_a_narrower_interval():
    few, many = (own_tasks.rate("Write a letter.\n" * count).figures["beta"] for count in (1, 20))
    assert few.value == pytest.approx(many.value)
    assert many.high - many.low < (few.high - few.low) / 2


def test_texts_without_tasks_or_with_too_many_are_refused(tmp_path):
    for text in ("", "\n \n", "---\n12 34\n"):
        assert refused(own_tasks.rate, text).code == "no tasks"
    error = refused(own_tasks.lines, "Write a letter.\n" * 10_000, "tasks.txt")
    assert error.code == "too many" and "10,000" in error.found
    assert refused(own_tasks.read, table_file(tmp_path, "", "empty.txt")).code == "empty file"
    long = own_tasks.lines("word " * 10_000, "long")
    assert len(long[0][1]) == own_tasks.MOST_LETTERS


def learnt(occupations=40, tasks=12, seed=0):
    """Labels that two directions of the vectors tell, and a direction that names the occupation."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(occupations * tasks, 8))
    own = np.repeat(random.normal(size=(occupations, 8)), tasks, 0)
    scores = np.stack([np.zeros(len(vectors)), vectors[:, 0], vectors[:, 1]], 1)
    labels = (scores + random.gumbel(size=scores.shape) * 0.5).argmax(1)
    names = [f"E{label}" for label in labels]
    table = made(*((f"{n:02}-0000.00", f"{n}", names[n * tasks : (n + 1) * tasks]) for n in range(occupations)))
    return table, vectors + 0.1 * own


def test_the_rater_learns_expects_without_bias_and_knows_its_error():
    table, vectors = learnt()
    rater, unseen = raters.learn(table, vectors, {})
    assert unseen.sum(1) == pytest.approx(1)
    truth = exposure.betas(table)
    start, expected = 0, []
    for one in table.occupations:
        part = unseen[start : (start := start + len(one.tasks))]
        expected.append(raters.expectation(part).beta)
    near = exposure.nearness(np.array(expected), truth)
    assert near.correlation > 0.5 and abs(near.bias) < 0.02
    deviation = raters.spread_of(rater.spread["beta"], 12)
    inside = np.abs(np.array(expected) - truth) < 1.96 * deviation
    assert inside.mean() >= 0.85
    assert raters.spread_of(rater.spread["beta"], 1) > 2 * deviation


def test_who_is_rated_was_never_seen(monkeypatch):
    """A model that keeps what it saw knows nothing of what it is asked for."""
    table, vectors = learnt(8, 4)
    groups = np.repeat([one.soc for one in table.occupations], 4)

    class Keeper:
        def fit(self, x, y):
            self.seen = {tuple(row) for row in x}
            self.groups = {groups[n] for n, row in enumerate(vectors) if tuple(row) in self.seen}
            return self

        def predict_proba(self, x):
            asked = {groups[n] for n, row in enumerate(vectors) if tuple(row) in set(map(tuple, x))}
            assert asked and not asked & self.groups
            return np.full((len(x), 3), 1 / 3)

    monkeypatch.setattr(raters, "new_model", Keeper)
    assert raters.predictions(table, vectors, 4).sum() == pytest.approx(len(vectors))


def test_the_weights_that_ship_are_of_the_table_that_ships():
    rater = raters.shipped()
    assert rater.about["table"] == work_tables.digest(work_tables.shipped())
    assert rater.weight.shape == (512, 3) and rater.about["tasks"] == "19265"


def test_tiles_say_in_words_what_the_colour_says():
    tasks = [Task("<i>a", False, "E1", "E2"), Task("b", True, "E0", "")]
    html = tiles.of_labels(tasks)
    assert "<i>a" not in html and "&lt;i&gt;a" in html
    assert html.count("<li") == 2 and "grade4" in html and "●" in html and "○" in html
    assert "counts half" in html and "exposed to a language model alone" in html
    assert [tiles.grade(beta) for beta in (0, 0.12, 0.13, 0.5, 1)] == [0, 0, 1, 2, 4]


@pytest.mark.parametrize("words", [[], ["dentist"], ["tasks.txt"]])
def test_the_command_says_what_the_figures_are_not(words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", None)  # nobody is asked
    table_file(tmp_path, OWN, "tasks.txt")
    assert main.run(["work", *words]) == 0
    told = capsys.readouterr()
    for text in CAUTIONS:
        assert text in told.err
    folder, *_others = (tmp_path / "runs" / "work").iterdir()
    for name in ("report.html", "report.ja.html"):
        page = (folder / name).read_text(encoding="utf-8")
        assert not re.search(r"(src|href)=\"(?!data:|#|report|https://arxiv)", page)
        assert "O*NET" in page and "CC BY 4.0" in page
    english = (folder / "report.html").read_text(encoding="utf-8")
    assert all(text in english for text in CAUTIONS)


def test_json_has_what_it_promises(tmp_path, capsys):
    table_file(tmp_path, OWN, "tasks.txt")
    for words, name in ((["dentist"], "Dentists, General"), (["tasks.txt"], None)):
        assert main.run(["work", *words, "--json", "--quiet"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert {"occupation", "alpha", "beta", "zeta", "tasks"} <= told.keys()
        assert told["occupation"] == name and len(told["tasks"]) == (20 if name else 6)
        assert any("job is lost" in text for text in told["notes"])
    assert main.run(["work", "no/such.txt", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "missing"


def test_the_curve_falls_and_is_drawn(table):
    curve = exposure.curve(table, "people", "list")
    assert curve[0] == 1 and (np.diff(curve) <= 0).all()
    small = Table(table.occupations[:30], "small")
    assert work_page.curves(small, ["people", "gpt4"]).startswith(b"\x89PNG")
    with use_language("ja"):
        assert work_page.curves(small, ["people"]).startswith(b"\x89PNG")


def test_titles_are_a_table_of_three_columns():
    with (work_tables.folder() / "titles.csv").open(encoding="utf-8", newline="") as stream:
        assert next(csv.reader(stream)) == ["O*NET-SOC Code", "Title", "OCC_TITLE"]
