"""The page Results: one list of everything, the verdict on finished runs, and documents."""

import csv
import io
import json
import os
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from zipfile import ZipFile

import browsing
import numpy as np
import pytest
import yaml
from fastapi import FastAPI
from fastapi.testclient import TestClient
from judged import judge
from PIL import Image

from souron.actions.verdict import runs as verdict_runs
from souron.cli.main import run as souron
from souron.runs import evaluate, train
from souron.runs import folder as run_folder
from souron.stats import verdict
from souron.studio import files, page_routes
from souron.studio.jobs.job_queue import Jobs
from souron.studio.pages import runs
from souron.studio.runs import export, results, run_list, verdict_view
from souron.studio.security import access
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils.files import read_tensors, write_tensors
from souron.utils.messages import LANGUAGES, UserError, use_language

HOSTILE = "<img src=x onerror=alert(1)>"
PROJECT = Path("runs")
MEASURE = {"value": 0.972, "low": 0.96, "high": 0.98, "n": 300}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs on the same split, a third with another budget and seed, and one that was cross-validated."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("SOURON_CACHE", str(place / "cache"))
        for name, system, more in (
            ("weak", "mlp_tiny", {}),
            ("strong", "cnn_tiny", {"budget": "3ep"}),
            ("again", "mlp_tiny", {"seed": 1, "budget": "2ep"}),
        ):
            options = {"budget": "1ep", "name": name, **more}
            for _event in train.training(system, "digits", forecast=False, **options):
                pass
        for _event in train.training(
            "mlp_tiny", "digits", forecast=False, budget="1ep", name="crossed", folds=2, repeats=2, learning_curve=1
        ):
            pass
    return place / "runs"


@pytest.fixture
def project(trained):
    shutil.copytree(trained, PROJECT)
    return PROJECT


@pytest.fixture
def jobs():
    return Jobs(PROJECT)


@pytest.fixture(params=LANGUAGES)
def studio(request, jobs):
    with use_language(request.param):
        yield Studio(PROJECT, Roots([Path.cwd(), PROJECT]), jobs, request.param)


@pytest.fixture
def client(jobs):
    app = FastAPI()
    studios = {wish: Studio(PROJECT, Roots([Path.cwd()]), jobs, wish) for wish in LANGUAGES}
    page_routes.add(app, studios.__getitem__)
    files.add_pages(app, studios)
    return TestClient(app)


def make(name="one", task="classify", system="cnn", data="digits", made=0.0, **receipt):
    folder = PROJECT / task / name
    folder.mkdir(parents=True)
    about = {"systems": [system, "mlp"]} if task == "compare" else {"system": system}
    (folder / "args.yaml").write_text(yaml.safe_dump({**about, "data": data}, allow_unicode=True), encoding="utf-8")
    row = {"system": system, "measure": "accuracy", **MEASURE}
    told = {"rows": [row]} if task == "compare" else {"measures": {"accuracy": MEASURE}}
    (folder / "receipt.json").write_text(json.dumps({**told, "outcome": {"seconds": 12.0}, **receipt}))
    for file in folder.iterdir():
        os.utime(file, (made or 1000, made or 1000))
    return folder


def text(html):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def names(html):
    return re.findall(r'<a href="[^"]*run=[^"]*">([^<]+)</a>', html)


# the list


def test_everything_is_in_one_list(studio):
    make("single", made=3000), make("both", "compare", made=2000)
    for place in ("audit/generated", "tour"):
        (PROJECT / place).mkdir(parents=True)
        (PROJECT / place / "report.html").write_text("")
        os.utime(PROJECT / place / "report.html", (1000, 1000))
    listed = results.listing(studio, {})
    assert names(listed) == ["single", "both"] and "generated" in listed and "97.2 % (96.0–98.0 %)" in text(listed)
    kinds = {item.name: item.kind for item in results.items(studio)}
    assert kinds == {"single": "run", "both": "comparison", "generated": "audit", "tour": "report"}
    assert names(results.listing(studio, {"kind": "comparison"})) == ["both"]
    assert listed.count('data-task="classify"') == 1  # a comparison is a verdict already


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("classification", ["photo"]),
        ("分類", ["photo"]),  # in the other language, too
        ("detection", ["boxes"]),
        ("未完", []),
        ("finished DIGITS", ["boxes"]),
        ("完了 ｄｉｇｉｔｓ", ["boxes"]),
        ("cnn nothing", []),
    ],
)
def test_a_search_understands_both_languages(studio, wanted, found):
    make("photo", data="photos"), make("boxes", "detect", "yolo")
    assert names(results.listing(studio, {"q": wanted})) == found


def test_filters_and_order_are_those_of_the_address(studio):
    make("a", data="x", made=1000), make("b", data="y", made=3000), make("c", data="x", made=2000)
    worse = {"accuracy": {**MEASURE, "value": 0.5}}
    make("d", "detect", "yolo", data="x", made=500, measures=worse)
    (PROJECT / "classify" / "a" / "receipt.json").unlink()
    order = lambda **query: names(results.listing(studio, query))  # noqa: E731
    assert order() == ["b", "c", "a", "d"]
    assert order(sort="name") == ["a", "b", "c", "d"] and order(sort="-name") == ["d", "c", "b", "a"]
    assert order(sort="-made") == ["d", "a", "c", "b"]
    assert order(sort="value")[-2:] == ["d", "a"]  # what has no figure comes last
    assert order(data="x", task="classify") == ["c", "a"]
    assert order(state="unfinished") == ["a"] and order(state="nothing") == []
    assert order(sort="__class__", part="99999999999", kind=HOSTILE) == []
    controls = results.controls(results.items(studio), {"data": "x", "q": HOSTILE, "task": "gone"})
    assert '<option value="x" selected>' in controls and "<img" not in controls and 'value="gone" selected' in controls


def test_thousands_of_runs_are_listed_by_pages_and_quickly(studio, monkeypatch):
    folder = make("run-0", data="digits")
    for number in range(1, 160):
        shutil.copytree(folder, folder.with_name(f"run-{number}"))
    results.listing(studio, {})
    read, drawn, row = run_list._parsed.cache_info().misses, [], results.row
    monkeypatch.setattr(results, "row", lambda *given: drawn.append(given) or row(*given))
    first = results.listing(studio, {"sort": "name"})
    assert run_list._parsed.cache_info().misses == read, "no file is read again"
    assert len(drawn) == results.EACH, "and a page is drawn, not the list"
    seen = names(first)
    for part in range(2, 5):
        seen += names(results.listing(studio, {"sort": "name", "part": str(part)}))
    assert len(names(first)) == results.EACH and len(seen) == len(set(seen)) == 160
    assert 'href="/' in first and "part=2" in first and "160" in text(first)
    assert names(results.listing(studio, {"sort": "name", "part": "900"})) == seen[-10:]
    assert names(results.listing(studio, {"part": "-1"})) and names(results.listing(studio, {"part": "²"}))


def test_hostile_names_stay_text_on_every_part_of_the_page(studio):
    folder = make(HOSTILE.replace("/", ""), data=HOSTILE, system=HOSTILE, notes=[HOSTILE])
    name = f"classify/{folder.name}"
    shown = [
        runs.body(studio, query) for query in ({}, {"run": name}, {"q": HOSTILE}, {"run": HOSTILE}, {"compare": name})
    ]
    assert all("<img" not in page for page in shown) and all("&lt;img" in page for page in shown)


# the verdict on finished runs


def test_the_verdict_is_that_of_the_statistics_on_the_kept_answers(project):
    found = verdict_runs.compare([project / "classify/weak", project / "classify/strong"])
    assert [row.system for row in found.rows] == ["strong", "weak"] and found.measure == "accuracy"
    best, other = (found.scores[name] for name in ("strong", "weak"))
    expected = verdict.difference(best, other)
    [one] = found.verdicts
    assert (one.difference, one.low, one.high, one.verdict) == (
        expected.difference,
        expected.low,
        expected.high,
        "better",
    )
    assert found.sentence.startswith("strong is better than weak by") and found.cases == best.shape[1]
    for row in found.rows:  # one figure has one interval: in the report, the list, and here
        [name, result] = next((r.name, r.result) for r in run_list.runs(project) if r.name == row.system)
        assert name == row.system
        assert (row.value, row.low, row.high) == pytest.approx((result.value, result.low, result.high), abs=1e-9)
    apart = (best != other).sum()
    assert found.differing == apart and len(found.apart) == min(apart, verdict_runs.MOST_SHOWN)
    case = found.apart[0]
    assert case.apart == 1 and case.truth in [answer.split(" ")[0] for answer in case.answers]


def test_answers_of_networks_are_those_that_are_kept(project):
    """Without the stored answers the networks answer again, within the time that the page has."""
    both = [project / "classify/weak", project / "classify/again"]
    before = verdict_runs.compare(both)
    for folder in both:
        (folder / "answers.safetensors").unlink()
    again = verdict_runs.compare(both)
    assert again.sentence == before.sentence and again.apart == before.apart
    with pytest.raises(UserError, match="keeps no answers") as refused:
        verdict_runs.compare(both, limit=0)
    assert "souron compare" in refused.value.fix


def test_answers_in_another_order_are_not_trusted(project):
    """The answers are in the order of split.csv; where the data now comes in another one, they do not fit."""
    folder = project / "classify/weak"
    before = verdict_runs.compare([folder, project / "classify/again"])
    head, *lines = (folder / "split.csv").read_text().splitlines()
    (folder / "split.csv").write_text("\n".join([head, *lines[::-1]]) + "\n")
    receipt = json.loads((folder / "receipt.json").read_text())
    del receipt["files"]
    (folder / "receipt.json").write_text(json.dumps(receipt))
    stored, about = read_tensors(folder / "answers.safetensors")
    count = sum(line.endswith(",test") for line in lines)
    turned = {key: one.flip([at for at, size in enumerate(one.shape) if size == count]) for key, one in stored.items()}
    assert any(not one.equal(stored[key]) for key, one in turned.items())
    write_tensors(folder / "answers.safetensors", turned, about)
    after = verdict_runs.compare([folder, project / "classify/again"])
    assert after.rows == before.rows and after.apart == before.apart


def test_what_was_not_equal_is_a_caveat(project):
    found = verdict_runs.compare([project / "classify/weak", project / "classify/again"])
    settings = {setting.name: setting for setting in found.settings}
    assert not settings["budget"].equal and not settings["seed"].equal
    assert settings["data"].equal and settings["training cases"].equal and settings["fingerprint of the data"].equal
    assert any(note.startswith("Not equal: budget: ") for note in found.notes())
    assert not any("seed" in note for note in found.notes())  # chance, which the sentence tells


def test_runs_with_other_test_cases_are_not_compared(project):
    with pytest.raises(UserError, match="different cases") as refused:
        verdict_runs.compare([project / "classify/weak", project / "classify/crossed"])
    assert "269" in refused.value.found
    folder = project / "classify/again"
    lines = (folder / "split.csv").read_text().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if line.rstrip().endswith(",test"))
    lines[place] = lines[place].replace(",test", ",train")
    (folder / "split.csv").write_text("".join(lines))
    with pytest.raises(UserError, match="different cases"):
        verdict_runs.compare([project / "classify/weak", folder])


def test_cases_of_one_name_with_other_content_are_not_the_same(project, monkeypatch):
    real = evaluate.cases_of
    count = iter(range(9))

    def other(*given):
        data = real(*given)
        if next(count):
            return replace(data, input=data.input.flip(-1))
        return data

    monkeypatch.setattr(evaluate, "cases_of", other)
    with pytest.raises(UserError, match="different cases"):
        verdict_runs.compare([project / "classify/weak", project / "classify/again"])


def test_cross_validated_runs_count_their_trainings(project):
    folder = project / "classify/crossed"
    shutil.copytree(folder, folder.with_name("other"))
    found = verdict_runs.compare([folder, folder.with_name("other")])
    assert found.cases == 1797 and found.differing == 0 and not found.apart
    assert "One seed each" not in found.sentence and found.verdicts[0].difference == 0
    tensors, about = run_folder.read_tensors(folder / "answers.safetensors")
    tensors["training"] = tensors["training"].flip(1)
    from souron.utils.files import write_tensors

    write_tensors(folder / "answers.safetensors", tensors, about)
    with pytest.raises(UserError, match="different folds"):
        verdict_runs.compare([folder, folder.with_name("other")])


@pytest.mark.parametrize("chosen", [[], ["weak"], ["weak", "weak"], ["weak"] + [f"w{i}" for i in range(9)]])
def test_two_to_eight_runs_are_compared(project, chosen):
    with pytest.raises(UserError, match="not comparable"):
        verdict_runs.compare([project / "classify" / name for name in chosen])


def test_only_finished_runs_of_one_task_are_compared(project):
    weak = project / "classify/weak"
    unfinished = make("unfinished")
    (unfinished / "receipt.json").unlink()
    broken = make("broken")
    (broken / "receipt.json").write_text("[" * 100_000)
    for other in (make("both", "compare"), make("det", "detect", "yolo"), unfinished, broken):
        with pytest.raises(UserError, match=r"not comparable|not a run"):
            verdict_runs.compare([weak, other])


def test_three_runs_are_judged_together(project):
    folders = [project / "classify" / name for name in ("weak", "strong", "again")]
    found = verdict_runs.compare(folders)
    expected = judge({row.system: found.scores[row.system] for row in found.rows}, times=1)
    assert found.verdicts == expected and len(expected) == 3 and len(found.apart[0].answers) == 3


def test_the_command_compares_runs_that_are_there(project, capsys):
    words = ["compare", "runs/classify/weak", "runs/classify/strong"]
    assert souron([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdicts"][0]["verdict"] == "better" and told["runs"][0] == "runs/classify/strong"
    assert souron(words) == 0 and "strong is better than weak" in capsys.readouterr().out
    assert souron([*words, "seeds=5"]) == 2 and "cannot go together" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["answers", "args", "split", "gone"])
def test_damaged_runs_are_explained_on_the_page(project, client, damage):
    folder = project / "classify/weak"
    match damage:
        case "answers":
            (folder / "answers.safetensors").write_bytes(b"\x00" * 40)
        case "args":
            args = yaml.safe_load((folder / "args.yaml").read_text())
            (folder / "args.yaml").write_text(yaml.safe_dump({**args, "seen": {"labels": 3}, "side": []}))
        case "split":
            (folder / "split.csv").write_text("file,part\n" + "x" * 10**5)
        case "gone":
            shutil.rmtree(folder)
    answer = client.post("/do/en/runs/compare", json={"runs": ["classify/weak", "classify/strong"]})
    assert answer.status_code == 400 and "trouble" in answer.json()["detail"]


@pytest.mark.parametrize(
    "asked", [{}, {"runs": "classify/weak"}, {"runs": [1, None]}, {"runs": ["../../etc"] * 900}, [3]]
)
def test_the_page_takes_anything_that_is_asked(project, client, asked):
    for name in ("compare", "rename", "resume", "stop", "delete", "question", "list", "jobs"):
        assert client.post(f"/do/en/runs/{name}", json=asked).status_code in (200, 400)
    assert (project / "classify/weak").is_dir()


def test_a_verdict_is_computed_once_until_a_run_changes(project, studio, monkeypatch):
    verdict_view._verdict.cache_clear()
    named = ["classify/weak", "classify/strong"]
    first = verdict_view.verdict(studio, named)
    assert verdict_view.verdict(studio, named) is first
    os.utime(project / "classify/weak" / "receipt.json", (5, 5))
    assert verdict_view.verdict(studio, named) is not first


# one figure, one interval


def test_the_learning_curve_ends_with_the_figure_of_the_report(project):
    record = evaluate.examine(project / "classify/crossed")
    assert record.details.sizes[-1][1] == record.measures["accuracy"]
    receipt = json.loads((project / "classify/crossed" / "receipt.json").read_text())["measures"]["accuracy"]
    assert receipt["low"] == pytest.approx(record.measures["accuracy"].low, abs=1e-9)


def test_an_accuracy_over_the_same_cases_has_the_interval_of_the_report():
    import torch

    from souron.evaluation.answers import Sparse
    from souron.evaluation.vision import classification, corruptions
    from souron.stats import intervals

    right = torch.ones(8, corruptions.steps())
    right[0] = 0
    repeats = np.stack([right[:, 0].numpy(), right[:, 0].flip(0).numpy()])
    headline, alone = intervals.interval(repeats), intervals.interval(repeats[0])
    assert (headline.low, headline.high) != (alone.low, alone.high)  # the two that a report could have shown
    first, *_others = classification._disturbed(Sparse(torch.arange(8), right), None, headline)
    assert first.accuracy == headline
    some = Sparse(torch.arange(7), right[:7])
    assert next(classification._disturbed(some, None, headline)).accuracy.n == 7


# documents


def document(client, kind, query, language="en"):
    return client.get(f"/show/{language}/runs/document?{query}&kind={kind}")


RUN, BOTH = "run=classify/strong", "compare=classify/weak&compare=classify/strong"


@pytest.mark.parametrize("query", [RUN, BOTH, "run=compare/both"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_result_is_exported_with_what_must_be_read_beside_it(project, client, query, language):
    make("both", "compare", notes=["=read me"], sentence="cnn is better")
    receipt = json.loads((PROJECT / "classify/strong/receipt.json").read_text())
    receipt["decision"] = {"positive": "caries"}
    (PROJECT / "classify/strong/receipt.json").write_text(json.dumps(receipt))
    table = document(client, "csv", query, language)
    assert table.status_code == 200 and "attachment" in table.headers["content-disposition"]
    rows = list(csv.reader(io.StringIO(table.content.decode("utf-8-sig"))))
    assert any("accuracy" in row for row in rows) and any("SHA-256" in cell for row in rows for cell in row)
    word = document(client, "docx", query, language)
    with ZipFile(io.BytesIO(word.content)) as archive:
        inside = archive.read("word/document.xml").decode()
        assert any(name.startswith("word/media/") for name in archive.namelist())
        assert 'w:eastAsia="Yu Gothic"' in archive.read("word/styles.xml").decode()
    assert "SHA-256" in inside and ("正解率" in inside) == (language == "ja")
    assert ("caries" in inside) == (query == RUN)  # what sensitivity and specificity are about
    if query == "run=compare/both":
        assert "cnn is better" in inside and any(row == ["'=read me"] for row in rows)
    assert document(client, "pdf", query, language).content.startswith(b"%PDF")
    image = Image.open(io.BytesIO(document(client, "png", query, language).content))
    assert image.format == "PNG" and image.width > 100


def test_the_figure_as_pdf_holds_its_japanese_font(project):
    with use_language("ja"):
        sheet = export.of_folder(project / "classify/strong")
        content = export.as_figure(sheet, "pdf")
        assert b"IPAexGothic" in content or b"CJK" in content
        assert export.as_figure(sheet, "png").startswith(b"\x89PNG")  # what follows is PNG again


@pytest.mark.parametrize(
    "query",
    ["run=classify/nothing", "run=", "", "compare=classify/weak", "run=../../etc/passwd", "compare=a&compare=b"],
)
def test_what_cannot_be_exported_is_explained(project, client, query):
    assert document(client, "csv", query).status_code == 400
    assert document(client, "exe", RUN).status_code == 400


@pytest.mark.parametrize(
    "receipt",
    ["[]", "{", '{"measures": 3}', '{"measures": {"accuracy": {"value": "x"}}}', '{"rows": [1, {"value": null}]}'],
)
def test_a_damaged_receipt_has_no_document(studio, receipt):
    folder = make()
    (folder / "receipt.json").write_text(receipt)
    with pytest.raises(UserError, match="export"):
        export.of_folder(folder)
    assert "/document?" not in runs.body(studio, {"run": "classify/one"})


def test_control_characters_are_no_trouble_in_a_document():
    folder = make(sentence="a\x00b\x0b", notes=["c\x07", "\ud800"], command="d\x1f")
    with ZipFile(io.BytesIO(export.as_docx(export.of_folder(folder)))) as archive:
        assert "word/document.xml" in archive.namelist()


# the address and the guard


def test_all_values_of_a_name_in_the_address_reach_the_page(project, client):
    page = client.get(f"/en/runs?{BOTH}").text
    assert json.loads(unescape(re.search(r'data-runs="([^"]*)"', page)[1])) == ["classify/weak", "classify/strong"]
    assert access.find_route("/en/runs", "GET").sort == "page"
    assert access.find_route("/show/en/runs/document", "GET").sort == "own"


def test_the_page_speaks_both_languages(jobs):
    shown = {}
    for language in LANGUAGES:
        with use_language(language):
            studio = Studio(PROJECT, Roots([Path.cwd()]), jobs, language)
            page = runs.body(studio, {})
            shown[language] = set(re.findall(r">([^<>]*\w[^<>]*)<", page)) | set(runs.words().values())
    assert len(shown["en"]) > 15
    missing = {"Results"} & shown["ja"]
    assert not missing


@pytest.fixture(scope="module")
def server(trained, tmp_path_factory):
    place = tmp_path_factory.mktemp("results")
    shutil.copytree(trained, place / "runs")
    with browsing.serving(place) as started:
        yield started
    assert not any("Traceback" in line for line in started.lines), "".join(started.lines)


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
@pytest.mark.parametrize("language", LANGUAGES)
def test_two_runs_are_selected_and_compared_in_the_browser(server, language):
    with browsing.visiting(language, width=390) as visit:
        page = visit.page
        page.goto(f"{server.address}/{language}/runs")
        page.wait_for_selector("#results[data-ready]")
        page.check("input[value='classify/weak']")
        assert page.locator("[data-do=compare]").is_disabled()
        page.fill("[name=q]", "strong")
        page.wait_for_selector(".list tbody tr:only-child")
        assert page.url.endswith("?q=strong")
        page.check("input[value='classify/strong']")
        page.fill("[name=q]", "")
        page.wait_for_selector(".list tbody tr:nth-child(4)")
        assert page.locator(".list input:checked").count() == 2  # the selection outlives a search
        page.select_option("[name=task]", "classify")
        page.click("[data-do=compare]")
        page.wait_for_selector(".compared .verdict")
        assert "strong" in page.inner_text(".verdict") and page.locator(".compared img.small").count() == 12
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        with page.expect_download() as saved:
            page.click(".documents a >> nth=1")
        assert saved.value.suggested_filename == "strong-weak.docx" and saved.value.path().stat().st_size > 10_000
        page.go_back()
        page.wait_for_selector("#results[data-ready] .list table")
        assert page.url.endswith("?task=classify") and page.input_value("[name=task]") == "classify"
        page.go_back()
        page.wait_for_selector("[name=task] option[value='']:checked", state="attached")
        assert page.url.endswith("/runs")
        assert visit.errors == [] and visit.outside == []


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_is_renamed_and_what_another_tab_took_away_is_told(server, language):
    folder = server.folder / "runs" / "classify"
    with browsing.visiting(language, width=390) as visit:
        page = visit.page
        shutil.copytree(folder / "weak", folder / "mine")
        page.goto(f"{server.address}/{language}/runs?run=classify/mine")
        page.wait_for_selector("#results[data-ready]")
        page.fill("[name=name]", "../up")
        page.click("[data-do=rename]")
        page.wait_for_selector("#wrong .trouble")
        page.fill("[name=name]", f"own-{language}")
        page.press("[name=name]", "Enter")
        page.wait_for_url(f"**/runs?run=classify%2Fown-{language}")
        page.wait_for_selector("#results[data-ready] .told:has-text('mine')")
        assert (folder / f"own-{language}").is_dir() and not (folder / "mine").exists()
        page.click("[data-do=delete]")
        page.wait_for_selector(f".question:has-text('own-{language}')")
        page.click("[data-do=no]")
        page.wait_for_selector(".question", state="hidden")
        page.frame_locator("iframe.frame").locator("h1").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        shutil.rmtree(folder / f"own-{language}")
        page.click("[data-do=delete]")
        page.wait_for_selector("#wrong .trouble")
        page.reload()
        page.wait_for_selector("#results [role=status]")
        assert visit.outside == [] and all("400" in error for error in visit.errors)


def test_reports_and_studio_have_the_same_colours():
    place = Path(files.__file__).parent.parent
    report, studio_ = (
        re.findall(r"--([\w-]+): (#\w{6})", path.read_text())
        for path in (place / "report/templates/style.css", place / "studio/static/studio.css")
    )
    own = dict.fromkeys(name for name, _colour in studio_[:8])
    light, dark = dict(studio_[:8]), dict(studio_[8:16])
    assert {name: dict(report[:10]).get(name, light[name]) for name in own} == light
    assert {name: dict(report[10:20]).get(name, dark[name]) for name in own} == dark
