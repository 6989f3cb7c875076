"""Teach it yourself: pictures for a while, a check, a training in seconds, a run that is kept."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import browsing
import numpy as np
import pytest
from PIL import Image

from souron.cli.main import run
from souron.data.load import load
from souron.runs import folder as run_folder
from souron.studio.lecture import teaching
from souron.studio.lecture.teaching import Teaching
from souron.studio.model_cache import models
from souron.utils.messages import UserError


def image(seed: int, colour: tuple[int, int, int], size: int = 64) -> bytes:
    """A patch of that colour with noise, as a JPEG."""
    noise = np.random.default_rng(seed).integers(-60, 60, (size // 4, size // 4, 3))
    pixels = np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((size, size)).save(file, "JPEG", quality=95)
    return file.getvalue()


class InTurn:
    """Jobs that are done at once, in this process."""

    def __init__(self, capsys):
        self.capsys, self.words, self.dropped = capsys, [], 0

    def start(self, words, language, *, queued=True):
        self.words = words
        self.capsys.readouterr()
        code = run([words[0], "--json", *words[1:]])
        told = self.capsys.readouterr()
        found = json.loads(told.out)
        self.job = SimpleNamespace(
            id="1",
            state="failed" if code else "done",
            result=found,
            last={},
            trouble=found.get("error"),
            drop=self.drop,
            words=words,
        )
        return self.job

    def drop(self):
        self.dropped += 1

    def get(self, id):
        return self.job

    def all(self):
        return [self.job] if self.words else []


@pytest.fixture
def page(tmp_path, capsys):
    """An open page: (what it speaks with, its id)."""
    taught = Teaching(tmp_path / "runs", InTurn(capsys))
    return taught, taught.begin()


def brought(page, label, count, colour=(200, 30, 30), person="", first=0):
    """Pictures as the page sends and then names them."""
    taught, id = page
    people = [person if isinstance(person, str) else person(k) for k in range(count)]
    return [
        {"number": taught.add(id, image(first + k, colour)), "label": label, "person": people[k]} for k in range(count)
    ]


RED, BLUE = (200, 40, 40), (40, 40, 200)


def test_from_pictures_to_a_run_that_is_kept(page, tmp_path):
    taught, id = page
    asked = brought(page, "赤 い", 10, RED, lambda k: f"p{k // 3}")
    asked += brought(page, "blue, 'deep'", 10, BLUE, lambda k: f"q{k // 3}", first=50)
    spare = brought(page, "赤 い", 1, first=99)  # removed again on the page
    taught.train(id, {"pictures": asked}, "en")
    told = taught.state(id)
    assert told["state"] == "done" and told["figure"]["n"] >= 2 and "group=patient" in taught.jobs.words
    red, blue = (taught.answer(id, image(200 + k, c)) for k, c in enumerate((RED, BLUE)))
    assert red[0] > 0.6 and blue[1] > 0.6 and sum(red) == pytest.approx(1, abs=1e-3)
    split = (taught.find(id).folder / "runs/classify/taught/split.csv").read_text(encoding="utf-8")
    parts = {}
    for line in split.splitlines()[1:]:
        *_rest, group, part = line.split(",")
        parts.setdefault(group, set()).add(part)
    assert all(len(each) == 1 for each in parts.values())  # no person on both sides
    kept = taught.keep(id, "my / colours")
    assert kept == taught.keep(id, "again") and kept.parent == tmp_path / "runs/classify"
    args = run_folder.read_args(kept)
    assert len(load(args["data"])) == 20
    assert str(spare[0]["number"]) not in {file.stem for file in Path(args["data"]).parent.rglob("*")}
    taught.end(id)
    assert taught.jobs.dropped == 1  # its record leads nowhere any more
    assert not (tmp_path / "runs/.studio/teach" / id).exists()
    assert len(load(args["data"])) == 20
    file = tmp_path / "new.jpg"
    file.write_bytes(image(300, BLUE))
    [(_path, said)] = models.predict(str(kept), [file])
    assert said.best[0] == "blue, 'deep'"
    assert run(["val", str(kept), "--quiet"]) == 0


def remarks(page, asked):
    taught, id = page
    return " ".join(taught.check(id, {"pictures": asked}))


def test_what_the_check_finds(page):
    few = [*brought(page, "a", 3, RED), *brought(page, "b", 20, BLUE, first=50)]
    assert "a has 3 pictures" in remarks(page, few)
    assert "b has 20 pictures and a only 3" in remarks(page, few)
    fine = [*brought(page, "a", 12, RED, first=100), *brought(page, "b", 12, BLUE, first=150)]
    assert remarks(page, fine) == ""
    own = [{**each, "person": "Anna" if each["label"] == "a" else ""} for each in fine]
    assert "All pictures of a are of one person" in remarks(page, own)
    some = [{**each, "person": f"p{k % 2}"} for k, each in enumerate(fine)]
    assert "at least three" in remarks(page, some)
    three = [{**each, "person": f"p{k % 3}"} for k, each in enumerate(fine)]
    assert remarks(page, three) == ""
    twice = [*fine, *brought(page, "b", 1, RED, first=100), *brought(page, "a", 1, RED, first=101)]
    told = remarks(page, twice)
    assert "1 pairs of pictures seem to show the same in two classes" in told and "nearly the same" in told


def test_groups_are_used_only_where_they_can_be_kept_apart(page):
    taught, id = page
    asked = [*brought(page, "a", 4, RED, "Anna"), *brought(page, "b", 4, BLUE, "Ben")]
    images = teaching.read(taught.find(id), {"pictures": asked})
    assert not teaching.grouped(images)
    assert teaching.grouped([teaching.Taught(k, "ab"[k % 2], str(k)) for k in range(6)])


BAD = {
    "nothing": None,
    "no list": {"pictures": 3},
    "one class": {"pictures": [{"number": 1, "label": "a"}]},
    "no name": {"pictures": [{"number": 1, "label": " "}, {"number": 2, "label": "b"}]},
    "not there": {"pictures": [{"number": 77, "label": "a"}, {"number": "../1", "label": "b"}]},
    "one each": {"pictures": [{"number": 1, "label": "a"}, {"number": 2, "label": "b"}]},
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_learnt_from_is_refused(name, page):
    taught, id = page
    brought(page, "a", 2)
    with pytest.raises(UserError) as trouble:
        taught.train(id, BAD[name], "en")
    assert trouble.value.code in ("classes", "few pictures") and taught.state(id) == {"state": "none"}


def test_what_is_no_picture_is_not_kept(page, monkeypatch):
    taught, id = page
    truncated = image(0, RED)[:200]
    huge = io.BytesIO()
    Image.new("RGB", (5000, 9)).save(huge, "PNG")
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    for content in (b"", b"MZ" + b"0" * 99, svg, truncated, huge.getvalue(), b"\xff\xd8\xff" * 10**6):
        with pytest.raises(UserError, match="no picture"):
            taught.add(id, content)
    with pytest.raises(UserError, match="nothing was learnt"):
        taught.keep(id, "x")
    for wrong in ("0" * 24, "../../etc", ""):
        with pytest.raises(UserError, match="started again"):
            taught.add(wrong, image(0, RED))
    monkeypatch.setattr(teaching, "MOST_IMAGES", 1)
    taught.add(id, image(0, RED))
    with pytest.raises(UserError, match="as many as"):
        taught.add(id, image(1, RED))
    taught.remove(id, 1)
    assert list((taught.place / id / "pictures").iterdir()) == []


def test_pages_that_were_left_leave_nothing(tmp_path, page, monkeypatch):
    taught, id = page
    brought(page, "a", 1)
    monkeypatch.setattr(teaching, "MOST_SESSIONS", 2)
    taught.begin(), taught.begin()
    assert id not in taught.sessions and not (taught.place / id).exists()
    last = taught.begin()
    taught.add(last, image(0, RED))
    Teaching(tmp_path / "runs", taught.jobs)  # a studio that starts
    assert not taught.place.exists()


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium: apt-get install chromium")
def test_the_page_begins_though_its_script_comes_last(looked_at):
    held = []
    with browsing.visiting() as visit:
        visit.page.route("**/static/teach.js", lambda route: held.append(route))
        visit.page.goto(f"{looked_at.address}/en/teach", wait_until="commit")
        visit.page.wait_for_selector("#teach [data-do=class]")
        visit.page.wait_for_timeout(1000)  # nothing else is drawn by now
        assert visit.page.locator("#teach fieldset").count() == 0
        held[0].continue_()
        visit.page.wait_for_selector("#teach fieldset >> nth=1")


AGAIN = """
const part = document.getElementById("teach"), anew = part.cloneNode(true);
anew.querySelector(".classes").replaceChildren();
anew.removeAttribute("data-begun");
part.replaceWith(anew);
"""  # as htmx does when it draws a part a second time


@pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium: apt-get install chromium")
def test_the_page_by_keyboard_and_on_a_telephone(looked_at, tmp_path):
    files = []
    for k, colour in enumerate((RED, RED, BLUE, BLUE)):
        files.append(tmp_path / f"{k}.jpg")
        files[-1].write_bytes(image(k, colour, 640))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with browsing.visiting("en", width=390) as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/en/teach")
        page.wait_for_selector("#teach fieldset >> nth=1")
        page.evaluate(AGAIN)
        page.wait_for_selector("#teach fieldset >> nth=1")
        page.route(
            "**/state",
            lambda route: route.fulfill(
                json={"state": "done", "fraction": 1, "figure": {"text": "93 %", "interval": "80 to 98 %", "n": 9}}
            ),
        )
        page.route("**/train", lambda route: route.fulfill(json={"done": True}))
        page.route("**/answer", lambda route: route.fulfill(json={"shares": [0.25, 0.75]}))
        boxes = page.locator("#teach fieldset")
        for k, name in enumerate(("赤", "blue")):
            boxes.nth(k).locator("input").first.focus()
            page.keyboard.type(name)  # the name that stands there is selected
            boxes.nth(k).locator("input[type=file]").set_input_files(files[2 * k : 2 * k + 2])
        page.wait_for_selector("[data-do=train]:enabled")
        page.wait_for_selector(".remarks li")
        assert "赤 has 2 pictures" in page.inner_text(".remarks")
        boxes.nth(0).locator("input[type=file]").set_input_files(tmp_path / "broken.jpg")
        page.wait_for_selector(".wrong:not([hidden])")
        assert "broken.jpg" in page.inner_text(".wrong")
        page.focus("[data-do=train]")
        page.keyboard.press("Enter")
        page.wait_for_selector(".trying:not([hidden])")
        assert "of 9 new images right" in page.inner_text(".figure")
        page.set_input_files("[data-try]", files[3])
        page.wait_for_selector(".tried li")
        assert page.inner_text(".bars .most") == "blue: 75 %"
        boxes.nth(0).locator(".thumbs button").first.focus()
        with page.expect_response("**/remove/*"):
            page.keyboard.press("Enter")  # a picture is removed
        page.wait_for_selector("[data-do=train]:disabled")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert "souron train" not in page.inner_text("#page")
        assert visit.outside == [] and not [e for e in visit.errors if "400" not in e]
        stored = list((looked_at.folder / "runs/.studio/teach").rglob("*.jpg"))
        with Image.open(stored[0]) as small:
            assert len(stored) == 3 and max(small.size) == 320
