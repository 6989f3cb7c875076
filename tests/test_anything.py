"""The page "Any file": what a file is, which system answers, what it has learnt from, and what is refused."""

import html
import json
import re
from pathlib import Path
from urllib.parse import unquote

import browsing
import numpy as np
import plain_forms
import pydicom.data
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from souron.hub import zoo
from souron.studio import layout, page_routes, tables
from souron.studio.any_file import answering
from souron.studio.jobs.job_queue import Jobs
from souron.studio.security import access, upload_names
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio

pytestmark = pytest.mark.skipif(zoo.root() is None, reason="the ready-trained systems are not installed")


@pytest.fixture
def client(tmp_path):
    app, project = FastAPI(), tmp_path / "runs"
    jobs = Jobs(project)
    page_routes.add(app, lambda language: Studio(project, Roots([tmp_path]), jobs, language))
    return TestClient(app)


def sample(client, name, language="en", system=""):
    return client.post(f"/do/{language}/anything/sample", json={"sample": name, "system": system})


def said(text):
    return html.unescape(re.sub(r"<[^>]+>", " ", text))


def test_a_photograph_is_named_and_another_system_may_answer(client):
    found = sample(client, "cat.png").json()
    assert (found["system"], found["what"]) == ("efficientnet_lite", "picture")
    assert "Egyptian cat" in said(found["html"]) or "tabby" in said(found["html"])
    assert "ImageNet" in said(found["html"])
    assert found["rows"][0][0] == "cat.png" and found["options"].endswith("/en/use?system=efficientnet_lite")
    other = next(name for name, _title in found["others"] if name == "alexnet")
    again = sample(client, "cat.png", system=other).json()
    assert again["system"] == "alexnet" and "unlike" in said(again["html"])


@pytest.mark.parametrize(
    ("name", "system"), [("prompt.txt", "gpt"), ("melody.mid", "music_transformer"), ("digits.wav", "ctc")]
)
def test_each_kind_of_sample_has_a_system(client, name, system):
    found = sample(client, name, "ja").json()
    assert found["system"] == system and found["rows"]


def test_an_own_file_keeps_its_name_and_leads_nowhere(client, tmp_path):
    Image.fromarray(np.full((60, 60, 3), 200, np.uint8)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    found = client.post("/send/en/anything/file?name=../../my%20photo.png", content=content).json()
    assert found["rows"][0][0] == "my photo.png"
    assert page_routes.file_name("/etc/pass$(wd)\n.png") == "pass(wd).png"
    assert page_routes.file_name("a" * 300 + ".png").endswith(".png")


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.png", b"no image"), ("a.xyz", b"1"), ("", b""), ("a.dcm", b"1"), ("a.nii.gz", b"\x1f\x8b")],
)
def test_what_nothing_can_answer_is_explained(client, name, content):
    answer = client.post(f"/send/en/anything/file?name={name}", content=content)
    found = answer.json()
    assert "trouble" in (found.get("detail") or found["html"])
    assert answer.status_code == (400 if "detail" in found else 200)


def test_only_systems_that_can_answer_are_taken(client):
    answer = sample(client, "cat.png", system="unet_3d")
    assert answer.status_code == 400 and "does not answer for such a file" in said(answer.json()["detail"])
    assert sample(client, "nothing.png").status_code == 400


def test_a_file_that_is_too_large_is_refused(client, monkeypatch):
    monkeypatch.setattr(page_routes, "MOST_BYTES", 10)
    answer = client.post("/send/en/anything/file?name=a.png", content=b"0" * 11)
    assert answer.status_code == 400 and "too large" in said(answer.json()["detail"])


def test_the_guard_lets_files_in_here_alone():
    assert access.find_route("/send/en/anything/file", "POST").sort == "upload"
    assert access.find_route("/do/en/anything/sample", "POST").sort == "call"
    assert access.find_route("/send/en/anything/file", "GET") is None
    assert access.find_route("/send/fr/anything/file", "POST") is None


@pytest.mark.parametrize("address", ["/do/en/anything/sent", "/do/en/lecture/sample", "/do/fr/anything/sample"])
def test_only_the_functions_that_a_page_names_are_called(client, address):
    assert client.post(address, json={}).status_code == 404


def test_the_page_itself_is_plain():
    assert access.find_route("/en/anything", "GET").sort == "page"


def test_five_places_hold_every_page():
    of = [page for place in layout.places() for page in place.pages]
    tools = [name for name in layout.PAGES if getattr(layout.module(name), "PLACE", "") == layout.TOOL]
    assert sorted([*of, *tools, "machine"]) == sorted(layout.PAGES)
    assert [place.name for place in layout.places()] == ["learn", "teach", "data", "use", "results"]
    assert layout.place_of("exam").name == "use" and layout.place_of("machine") is None
    assert "anything" in layout.places()[3].pages and answering.SAMPLES


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")
@pytest.mark.parametrize("language", ["en", "ja"])
def test_an_example_is_answered_and_the_table_saved(language, looked_at):
    with browsing.visiting(language, width=390) as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/{language}/anything")
        page.click("[data-sample='cat.png']")
        page.wait_for_selector(".given .answer .shares")
        page.locator("input[type=file]").set_input_files(
            {"name": "-1+1.txt", "mimeType": "text/plain", "buffer": b"The state of the"}
        )
        page.wait_for_selector(".given > li:nth-child(2) .shares")
        page.wait_for_selector(".given > li:not(.busy):first-child .answer")
        with page.expect_download() as saved:
            page.click("[data-do=save]")
        table = saved.value.path().read_text(encoding="utf-8-sig")
        assert "cat.png" in table and '"\'-11.txt"' in table and len(table.splitlines()) >= 3
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert visit.errors == [] and visit.outside == []


def test_a_dicom_image_is_shown_though_no_system_answers(client):
    file = Path(pydicom.data.get_testdata_file("CT_small.dcm"))
    found = client.post("/send/en/anything/file?name=scan.dcm", content=file.read_bytes()).json()
    assert '<img src="data:image/png' in found["html"] and "trouble" in found["html"]
    assert "could not be read" not in found["html"] and "upload-" not in json.dumps(found)
    assert found["rows"][0][0] == "scan.dcm"


@pytest.mark.parametrize(
    ("heads", "cells", "holds"),
    [
        ("case,truth,unet,nnunet", "{0},{1},{1},{2}", True),
        ("case,label,unet", "{0},{1},{2}", True),
        ("case,truth,unet", "{0},{1},{0}.5", True),  # scores
        ("filename,label,patient", "{0}.png,{1},p{2}", False),
        ("filename,label,age", "{0}.png,{1},{0}", False),
        ("id,label,height", "{0},{1},-{0}.5", False),
        ("id,label,length,width", "{0},{1},{0}.5,{0}.25", False),
        ("length,width", "{0}.5,{0}.25", False),
        ("", "", False),
    ],
)
def test_predictions_are_told_from_labels_and_measurements(tmp_path, heads, cells, holds):
    rows = [cells.format(number, number % 2, number % 3 % 2) for number in range(12)]
    (tmp_path / "table.csv").write_text("\n".join([heads, *rows]) + "\n", encoding="utf-8")
    assert tables.holds_predictions(tmp_path / "table.csv") is holds


def test_a_table_leads_to_the_page_that_reads_it(client, tmp_path, monkeypatch):
    plain_forms.uploads(monkeypatch, tmp_path / "runs" / ".studio" / "temporary" / "studio-1")
    content = b"case,truth,unet\n1,0,1\n2,1,1\n"
    for page in ("anything/file", "my_data/files"):
        found = client.post(f"/send/en/{page}?name=p.csv", content=content).json()
        address = html.unescape(found.get("address") or re.search(r'href="([^"]+)"', found["html"])[1])
        assert address.startswith("/en/study?study=verdict&files=")
        file = Path(unquote(address.partition("files=")[2]))
        assert file.read_bytes() == content and upload_names.is_sent(str(file))
    found = client.post("/send/en/anything/file?name=m.csv", content=b"length,width\n1,2\n3,4\n").json()
    assert 'href="/en/my_data?data=' in found["html"]
    assert "spreadsheet" in client.post("/send/en/my_data/files?name=m.xlsx", content=b"PK").json()["detail"]
