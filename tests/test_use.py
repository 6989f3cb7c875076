"""The page "Any file": sound and film, the live camera, options, several files; devices of a real Chromium."""

import base64
import html
import io
import json
import re
import time
import wave
from contextlib import contextmanager

import browsing
import numpy as np
import pytest
import waiting
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from skimage import data as photographs

from souron.cli import main
from souron.hub import zoo
from souron.lecture import samples
from souron.pipelines import default_system
from souron.studio import page_routes
from souron.studio.any_file import films, live_camera
from souron.studio.forms import plain_options
from souron.studio.jobs.job_queue import Jobs
from souron.studio.security import uploads
from souron.studio.security.paths import Roots
from souron.studio.shared import Studio
from souron.utils.messages import UserError

pytestmark = pytest.mark.skipif(zoo.root() is None, reason="the ready-trained systems are not installed")
RATE = 48_000
CHROMIUM = pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium here")


@pytest.fixture
def client(tmp_path):
    app, project = FastAPI(), tmp_path / "runs"
    jobs = Jobs(project)
    page_routes.add(app, lambda language: Studio(project, Roots([tmp_path]), jobs, language))
    return TestClient(app)


def said(text):
    return html.unescape(re.sub(r"<[^>]+>", " ", text))


def do(client, name, **asked):
    return client.post(f"/do/en/anything/{name}", json=asked)


def send(client, name, content, **query):
    return client.post("/send/en/anything/file", params={"name": name, **query}, content=content)


def finished(client, answer):
    """Ask until a film is done."""
    limit = time.monotonic() + waiting.LIMIT
    while "film" in answer and time.monotonic() < limit:
        time.sleep(0.1)
        answer = do(client, "film", film=answer["film"]).json()
    return answer


def sound(samples_, rate=RATE):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((np.asarray(samples_) * 32767).astype("<i2").tobytes())
    return stream.getvalue()


def encoded(image, form="JPEG"):
    stream = io.BytesIO()
    image.save(stream, form)
    return base64.b64encode(stream.getvalue()).decode()


def test_spoken_digits_are_written_down_with_their_times(client, tmp_path):
    samples.write(tmp_path, "souron predict digits.wav")
    found = send(client, "recording.wav", (tmp_path / "digits.wav").read_bytes()).json()
    assert found["system"] == "ctc" and "nine nine seven nine" in said(found["html"])
    assert "00:00:01.760" in said(found["html"]) and "formant" in said(found["html"])  # what it has learnt from
    assert found["rows"][0][0] == "recording.wav" and found["rows"][0][2:] == ["ctc", "synthetic_digits", ""]
    assert "upload-" not in found["html"]  # the temporary folder
    shown = do(client, "sample", sample="digits.wav").json()["html"]
    assert "<audio controls" in shown


@pytest.mark.parametrize(
    ("samples_", "words"),
    [(np.zeros(RATE), "the sound is silent"), (np.zeros(0), "trouble"), (np.ones(1) / 9, "(no speech)")],
)
def test_a_sound_without_a_word_is_explained(client, samples_, words):
    answer = send(client, "recording.wav", sound(samples_))
    shown = answer.json().get("detail") or answer.json()["html"]
    assert words in (shown if words == "trouble" else said(shown))
    assert answer.status_code < 500


def test_whisper_answers_only_where_it_is(monkeypatch, tmp_path):
    (tmp_path / "a.wav").write_bytes(sound(np.zeros(10)))
    choice = default_system.choose(str(tmp_path / "a.wav"))
    assert choice.system == "whisper_base" and default_system.available(choice) == "ctc"
    monkeypatch.setattr(default_system, "_is_here", lambda name: True)
    assert default_system.available(choice) == "whisper_base"


def test_a_film_like_the_training_data_is_followed_by_a_detector(client):
    found = finished(client, do(client, "sample", sample="scene.gif").json())
    assert found["system"] == "yolo" and found["what"] == "film"
    file, told, system, learnt, familiar = found["rows"][0]
    assert (file, system, learnt, familiar) == ("scene.gif#1", "yolo", "drawn_scenes", "no")
    assert told == "sign: 0.0 s to 1.1 s, 12 frames"
    shown = found["shown"]
    assert len(shown["frames"]) == len(shown["times"]) == 12 and shown["times"] == sorted(shown["times"])
    assert shown["frames"][0].startswith("data:image/jpeg") and shown["frames"][0] != shown["frames"][-1]
    assert found["html"].count('class="swatch"') == len(found["rows"]) and 'data-at="0.000"' in found["html"]
    few = finished(client, do(client, "sample", sample="scene.gif", options={"conf": 0.9}).json())
    seen, sure = (sum(int(row[1].split()[-2]) for row in each["rows"]) for each in (found, few))
    assert 0 < sure < seen and 'name="conf" min="0" max="1"' in few["fields"]
    assert 'value="0.9"' in few["fields"]


def test_a_film_of_photographs_is_classified_where_no_detector_has_seen_such(tmp_path, monkeypatch):
    cat, coffee = (Image.fromarray(getattr(photographs, name)()).resize((224, 150)) for name in ("chelsea", "coffee"))
    cat.save(tmp_path / "film.gif", save_all=True, append_images=[coffee], duration=700)
    film = str(tmp_path / "film.gif")
    assert default_system.choose(film).system == "efficientnet_lite"
    monkeypatch.setattr(default_system, "starters", lambda: ["ssd_oid", "nanodet"])
    choice = default_system.choose(film)
    assert choice.system == "nanodet" and choice.others[0] == "efficientnet_lite"


def test_the_command_line_follows_a_film_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    samples.write(tmp_path, "souron predict scene.gif")
    assert main.run(["predict", "scene.gif", f"out={tmp_path / 'out'}", "--json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["frames"] == 12 and last["tracks"][0]["label"] == "sign"


def test_a_long_film_is_asked_about_and_can_be_stopped(client, monkeypatch):
    monkeypatch.setattr(films, "AT_ONCE", 0.0)
    begun = do(client, "sample", sample="scene.gif").json()
    assert set(begun) == {"film", "fraction", "line"}
    stopped = do(client, "film", film=begun["film"], stop=True).json()
    found = finished(client, stopped)
    assert "stopped after" in said(found["html"]) and len(found["shown"]["frames"]) < 12
    assert do(client, "film", film=begun["film"]).status_code == 400  # it was fetched
    assert do(client, "film", film="../x").status_code == 400 and do(client, "film").status_code == 400


def test_the_frames_and_the_time_of_a_film_are_bounded(client, monkeypatch):
    monkeypatch.setattr(films, "MOST_FRAMES", 5)
    assert "stopped after 5 frames" in said(finished(client, do(client, "sample", sample="scene.gif").json())["html"])
    monkeypatch.setattr(films, "MOST_FRAMES", 100)
    monkeypatch.setattr(films, "PATIENCE", -1.0)  # nobody asks any more
    assert "stopped after 1 frames" in said(finished(client, do(client, "sample", sample="scene.gif").json())["html"])


def test_a_film_leaves_no_file_behind(client, monkeypatch, tmp_path):
    monkeypatch.setattr(films.tempfile, "tempdir", str(tmp_path))
    finished(client, do(client, "sample", sample="scene.gif").json())
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("film", "anything"))]
    assert not films.films.films


def test_frames_that_are_kept_stay_evenly_spaced():
    kept = films._Kept()
    for number in range(1000):
        kept.add(np.zeros((1, 3, 4, 4), np.uint8), float(number))
    steps = set(np.diff(kept.times).tolist())
    assert len(kept.frames) == len(kept.times) <= films.MOST_SHOWN and steps == {16.0} and kept.times[0] == 0


def test_a_film_that_is_none_is_explained(client):
    answer = send(client, "a.mp4", b"no film")
    shown = finished(client, answer.json())
    assert "not a video" in said(shown.get("detail") or shown["html"])


def test_the_camera_is_answered_and_nothing_is_written(client, tmp_path, monkeypatch):
    offered = do(client, "cameras").json()["systems"]
    assert offered[0] == ["efficientnet_lite", "efficientnet_lite – ImageNet-1k"]
    assert {"yolo", "keypoint_rcnn"} <= {name for name, _title in offered}
    assert not {"unet", "cyclegan"} & {name for name, _title in offered}
    monkeypatch.setattr(page_routes.tempfile, "TemporaryDirectory", None)
    cat = encoded(Image.fromarray(photographs.chelsea()))
    found = do(client, "frame", system="efficientnet_lite", image=cat).json()
    assert "Egyptian cat" in said(found["html"]) and found["seconds"] > 0
    drawn = do(client, "frame", system="keypoint_rcnn", image=cat).json()["html"]
    assert "data:image/" in drawn


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"system": "unet", "image": encoded(Image.new("RGB", (20, 20)))},
        {"system": "efficientnet_lite", "image": "no base64!"},
        {"system": "efficientnet_lite", "image": encoded(Image.new("RGB", (2001, 20)))},
        {"system": "efficientnet_lite", "image": encoded(Image.new("P", (20, 20)), "GIF")},
    ],
)
def test_a_frame_that_cannot_be_answered_is_refused(client, asked):
    answer = do(client, "frame", **asked)
    assert answer.status_code == 400 and "trouble" in answer.json()["detail"]


def test_an_image_of_a_browser_has_bounds_wherever_it_is_decoded(monkeypatch):
    def content(*size):
        return base64.b64decode(encoded(Image.new("RGB", size), "PNG"))

    assert uploads.image(content(2000, 8)).size == (2000, 8)
    for wrong in (content(2001, 20), content(7, 20), b"", b"GIF89a", content(20, 20)[:40]):
        with pytest.raises(UserError):
            uploads.image(wrong)
    monkeypatch.setattr(uploads, "LARGEST_IMAGE", 10)
    with pytest.raises(UserError):
        uploads.image(content(20, 20))


def test_an_image_is_turned_upright():
    turned, stream = Image.new("RGB", (20, 10)), io.BytesIO()
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(stream, "JPEG", exif=exif)
    assert uploads.image(stream.getvalue()).size == (10, 20)


def test_an_option_answers_again_and_a_wrong_one_is_explained(client):
    def length(options):
        return len(do(client, "sample", sample="prompt.txt", options=options).json()["rows"][0][1])

    assert length({"length": 5, "page": "x", "nosuch": 1}) < length({"length": 60})
    found = do(client, "sample", sample="prompt.txt", options={"length": 100_000})
    assert found.status_code == 400 and "1..4096" in said(found.json()["detail"])
    found = send(client, "a.txt", b"The state", options="{no json")
    assert found.status_code == 400
    found = send(client, "a.txt", b"The state", options=json.dumps({"length": 3, "temperature": 0}))
    assert found.status_code == 200 and 'name="length" min="1" max="640" step="1" value="3"' in found.json()["fields"]


def test_an_option_of_each_sort_has_a_field():
    from souron.kinds.signature import Choice

    options = {
        "steps": Choice("h", low=1, high=1000).option("steps", 20),
        "scale": Choice("h", low=0).option("scale", 1.0),
        "plain": Choice("h").option("plain", True),
        "way": Choice("h", among=("a", "b")).option("way", "b"),
        "to": Choice("h", among=("srt", "txt")).option("to", "srt"),
        "text": Choice("h").option("text", "<b>"),
        "image": Choice("h").option("image", None),
    }
    shown = str(plain_options.fields(options, {"steps": 50}))
    assert 'type="range" name="steps" min="1" max="100" step="1" value="50"' in shown
    assert 'type="number" name="scale" step="any" value="1.0" min="0"' in shown
    assert 'type="checkbox" name="plain" checked' in shown and "<option selected>b</option>" in shown
    assert "&lt;b&gt;" in shown and 'name="to"' not in shown and 'name="image"' not in shown
    assert plain_options.read(options, {"steps": "900", "plain": False, "way": "a", "to": "x", "image": "/etc"}) == {
        "steps": 100,
        "plain": False,
        "way": "a",
    }


@contextmanager
def with_devices(server, language="en", *flags, width=390):
    """A browser whose camera and microphone are simulated."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=browsing.CHROMIUM, args=["--no-sandbox", "--mute-audio", *browsing.FLAGS[-1:], *flags]
        )
        page = browser.new_page(viewport={"width": width, "height": 900}, reduced_motion="reduce")
        page.set_default_timeout(browsing.PATIENCE)
        errors = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        try:
            page.goto(f"{server.address}/{language}/anything")
            page.wait_for_selector("#anything[data-begun]")
            yield page, errors
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        finally:
            browser.close()


PRESS_AT_ONCE = """() => {
  const button = document.querySelector("[data-do=microphone]");
  const again = new MutationObserver(() => {
    if (button.getAttribute("aria-pressed") !== "true") return;
    again.disconnect();
    button.click();
  });
  again.observe(button, { attributes: true });
  button.click();
}"""
FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@CHROMIUM
def test_a_recording_is_played_back_and_written_down(looked_at, tmp_path):
    samples.write(tmp_path, "souron predict digits.wav")
    heard = f"--use-file-for-fake-audio-capture={tmp_path / 'digits.wav'}%noloop"
    with with_devices(looked_at, "en", *FAKE, heard) as (page, errors):
        page.click("[data-do=microphone]")
        page.wait_for_selector("[data-do=microphone][aria-pressed=true]")
        page.wait_for_selector(".recording output:text-matches('^[2-9]')")
        page.click("[data-do=microphone]")
        page.wait_for_selector(".given > li:not(.busy) .place .answer")
        shown = page.inner_text(".given")
        assert "recording.wav" in shown and "ctc" in shown and "synthetic_digits" in shown and "nine" in shown
        seconds = page.evaluate("document.querySelector('.given audio').duration")
        assert 1.5 < seconds < 20 and page.locator(".recording").is_hidden()
        assert errors == []


@CHROMIUM
def test_a_silent_microphone_a_short_press_and_none_are_said(looked_at, tmp_path):
    (tmp_path / "silent.wav").write_bytes(sound(np.zeros(RATE)))
    heard = f"--use-file-for-fake-audio-capture={tmp_path / 'silent.wav'}"
    with with_devices(looked_at, "en", *FAKE, heard) as (page, errors):
        page.click("[data-do=microphone]")
        page.wait_for_selector(".recording output:text-matches('^[1-9]')")
        page.click("[data-do=microphone]")
        page.wait_for_selector("#wrong:not([hidden]) :text('silent')")
        page.evaluate(PRESS_AT_ONCE)
        page.wait_for_selector("#wrong:not([hidden]) :text('recorded')")
        assert page.locator(".given > li").count() == 0 and errors == []
    with with_devices(looked_at, "ja", "--deny-permission-prompts") as (page, _errors):
        page.click("[data-do=microphone]")
        page.wait_for_selector("#wrong:not([hidden])")
        assert page.locator("#wrong div").inner_text() != ""
        page.click("[data-close]")
        page.click("[data-do=live]")
        page.wait_for_selector("#wrong:not([hidden])")
        assert page.get_attribute("[data-do=live]", "aria-pressed") == "false"


@CHROMIUM
def test_the_live_camera_answers_until_it_is_stopped(looked_at):
    with with_devices(looked_at, "en", *FAKE) as (page, errors):
        asked = []
        page.on("request", lambda request: asked.append(request) if "/frame" in request.url else None)
        page.click("[data-do=live]")
        page.wait_for_selector(".live .now .shares")
        page.select_option(".live select", "keypoint_rcnn")
        page.wait_for_selector(".live .now img")
        assert "answers a second" in page.inner_text(".live [role=status]")
        page.click("[data-do=live]")
        page.wait_for_selector(".live", state="hidden")
        assert page.evaluate("document.querySelector('.live video').srcObject") is None
        count = len(asked)
        page.wait_for_timeout(1000)
        assert count >= 2 and len(asked) <= count + 1 and errors == []


@CHROMIUM
def test_several_files_are_tiles_and_a_film_is_played(looked_at, tmp_path):
    samples.write(tmp_path, "souron predict scene.gif cat.png digits.wav")
    with with_devices(looked_at, "en") as (page, errors):
        names = ("cat.png", "scene.gif", "digits.wav")
        page.locator("input[type=file]").set_input_files([tmp_path / name for name in names])
        for place in range(1, 4):
            page.wait_for_selector(f".tiles > li:nth-child({place}):not(.busy) .short:not(:empty)")
        assert page.locator(".tiles summary > img").count() == 2
        assert page.locator(".tiles figure.film").is_hidden()
        page.click(".tiles > li:nth-child(2) > details > summary")
        image = ".tiles figure.film img"
        first = page.get_attribute(image, "src")
        page.click(".film [data-do=play]")
        page.wait_for_selector(".film output:text-matches('^0.[3-9]')")
        page.click(".film [data-do=play]")
        assert page.get_attribute(image, "src") != first
        page.locator(".tiles [data-at]").first.click()
        assert page.inner_text(".film output") == "0.0 s" and page.get_attribute(image, "src") == first
        page.click(".tiles > li:nth-child(2) .options > summary")
        with page.expect_response(lambda response: "/anything/file" in response.url):
            page.locator(".tiles [name=conf]").fill("0.95")  # how long it is busy depends on the machine
        page.wait_for_selector(".tiles > li:nth-child(2):not(.busy)")
        with page.expect_download() as saved:
            page.click("[data-do=save]")
        table = saved.value.path().read_text(encoding="utf-8-sig").splitlines()
        assert table[0] == '"file","answer","system","trained on","unlike its training data"'
        assert any(line.startswith('"scene.gif') and line.endswith('"yolo","drawn_scenes","no"') for line in table)
        assert not any("0.0 s to 1.1 s" in line for line in table)  # the answer before the option was changed
        assert errors == []


def test_only_tasks_of_a_moment_are_live(tmp_path):
    run = tmp_path / "runs" / "segment" / "mine"
    assert live_camera._task(str(run)) == "segment" and live_camera._task("yolo") == "detect"
