"""The HTTP API: the answers of souron predict, within limits, in both languages, losing nothing."""

import asyncio
import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Annotated

import httpx
import pytest
import torch
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from torch import nn

from souron import model
from souron.cli import main
from souron.kinds.codecs.image import picture
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.runs import train
from souron.serve import access, answering, api, server, uploads
from souron.serve.batching import Batcher
from souron.serve.service import Service
from souron.serve.uploads import Limits, Refusal
from souron.system import System
from souron.tasks.classify import Spec
from souron.utils.messages import UserError

JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
PORT = 8000
BASE = f"http://127.0.0.1:{PORT}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a small convolutional network."""
    project = tmp_path_factory.mktemp("serving")
    return str(train.train("cnn_tiny", "digits", budget="10ep", project=str(project)).folder)


@pytest.fixture
def serving(run):
    """Make a service with limits of one's own, and what asks it within this process."""
    services = []

    def serve(**limits):
        service = Service(model.load(run), Limits(**limits))
        services.append(service)
        app = api.application(service, access.Door(PORT, programs=True))
        return service, app

    yield serve
    for service in services:
        service.close()


def ask(app, method="POST", path="/predict", **given):
    """One request, answered within this process."""

    async def once():
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            return await client.request(method, path, **given)

    return asyncio.run(once())


@pytest.fixture(scope="module")
def pictures(digits):
    """Names and PNG files of ten digits, 0 to 9."""
    found = {}
    for label in range(10):
        stream = io.BytesIO()
        row = int((digits.target == label).nonzero()[0, 0])
        picture(digits.input[row]).save(stream, "PNG")
        found[f"{label} 数字.png"] = stream.getvalue()
    return found


def form(files):
    return [("file", (name, content)) for name, content in files.items()]


def in_json(files):
    listed = [
        {"file": name, "content": base64.b64encode(content).decode()}
        for name, content in files.items()
    ]
    return {"files": listed}


def likely(answers):
    """Labels, and their probabilities."""
    labels = [[each["label"] for each in answer["labels"]] for answer in answers]
    return labels, torch.tensor([[e["probability"] for e in a["labels"]] for a in answers])


def frames(count):
    """A DICOM file of so many noisy frames."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7.3", generate_uid()
    made.Rows, made.Columns, made.NumberOfFrames = 16, 12, count
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    noise = torch.randint(0, 4096, (count, 16, 12), generator=torch.Generator().manual_seed(0))
    made.PixelData = noise.numpy().astype("<u2").tobytes()
    made["PixelData"].VR = "OW"
    return made


@pytest.fixture
def files(pictures, tmp_path):
    """Pictures of every sort, and what is none, also as files in the current folder."""
    deep, scan = io.BytesIO(), io.BytesIO()
    Image.fromarray((torch.arange(64).view(8, 8) * 1000).numpy().astype("uint16")).save(deep, "PNG")
    colours = io.BytesIO()
    Image.effect_noise((40, 30), 90).convert("RGB").save(colours, "JPEG")
    frames(10).save_as(scan, enforce_file_format=True)
    first = next(iter(pictures.values()))
    found = pictures | {
        "deep.png": deep.getvalue(),
        "colours.jpg": colours.getvalue(),
        "scan.dcm": scan.getvalue(),
        "cut.png": first[:-30],
        "text.png": b"not a picture",
        "empty.png": b"",
    }
    for name, content in found.items():
        (tmp_path / name).write_bytes(content)
    return found


@pytest.mark.parametrize("way", ["form", "json"])
def test_it_says_what_predict_says(way, files, run, serving, capsys):
    assert main.run(["predict", run, *files, "--json", "top=3"]) == 3  # three cannot be read
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    _service, app = serving()
    given = {"files": form(files)} if way == "form" else {"json": in_json(files)}
    response = ask(app, path="/predict?top=3", **given)
    answers = response.json()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert [answer["file"] for answer in answers] == [each["file"] for each in expected]
    assert sum("#" in answer["file"] for answer in answers) == 10  # frames
    errors = [each for each in expected if "error" in each]
    assert len(errors) == 3 and [a for a in answers if "error" in a] == errors
    labels, probability = likely([a for a in answers if "labels" in a])
    expected_labels, expected_probability = likely([a for a in expected if "labels" in a])
    assert labels == expected_labels
    assert torch.allclose(probability, expected_probability, atol=1e-3, rtol=0)


def test_an_answer_does_not_depend_on_what_else_is_asked(serving, digits):
    service, _app = serving()
    rows = [digits.input[row] for row in range(40)]
    together = torch.stack(service.answering.network(rows))
    alone = torch.stack([service.answering.network([row])[0] for row in rows])
    assert together.max() > 0.5
    assert torch.allclose(together, alone, atol=1e-5, rtol=0)


class Scaled(nn.Module):
    """A convolution and a normalisation that has statistics of its own."""

    def __init__(self, knows=True):
        super().__init__()
        self.spec, self.knows = Spec(3, 16, ("a", "b")), knows
        self.conv, self.norm = nn.Conv2d(3, 2, 3, bias=False), nn.BatchNorm2d(2)
        nn.init.uniform_(self.norm.running_mean)
        nn.init.uniform_(self.norm.running_var, 1, 2)

    def forward(self, image):
        if not self.knows and image.mean() > 0:  # which way depends on the picture
            image = image - 1
        return self.norm(self.conv(image)).mean((2, 3))


def test_normalisations_are_folded_into_convolutions():
    network, image = Scaled().eval(), torch.rand(4, 3, 16, 16)
    folded = answering.folded(network)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    assert torch.allclose(folded(image), network(image), atol=1e-5)


def test_a_network_that_cannot_be_read_stays_as_it_is(monkeypatch):
    network = Scaled(knows=False).eval()
    assert answering.folded(network) is network
    network = Scaled().eval()
    monkeypatch.setattr(answering, "fused", lambda graph: lambda image: graph(image) + 0.01)
    assert answering.folded(network) is network  # what came of it says something else


def test_nothing_that_was_sent_touches_the_disk(serving, pictures):
    written = []
    watching = True

    def watch(event, given):
        if watching and event == "open" and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(given[0])

    sys.addaudithook(watch)
    _service, app = serving()
    large = io.BytesIO()
    Image.effect_noise((1500, 1500), 200).save(large, "PNG", compress_level=0)
    assert len(large.getvalue()) > 2_000_000
    many = {"large.png": large.getvalue(), **pictures}
    assert len(ask(app, files=form(many)).json()) == 11
    assert len(ask(app, json=in_json(many)).json()) == 11
    watching = False
    assert written == []


class Slow:
    """A network that computes when it is told to: what it is given, or twice each thing."""

    def __init__(self, network=None):
        self.go, self.began = threading.Event(), threading.Event()
        self.network, self.spec = network, []

    def __call__(self, pictures):
        self.began.set()
        assert self.go.wait(30)
        self.spec.append(list(pictures))
        if self.network:
            return self.network(pictures)
        if "bad" in pictures:
            raise ArithmeticError("bad")
        return [picture * 2 for picture in pictures]


def test_what_comes_while_the_network_computes_goes_through_it_together():
    slow = Slow()
    batcher = Batcher(slow, most=4)
    first = batcher.put(1)
    assert slow.began.wait(30)
    rest = [batcher.put(number) for number in range(2, 8)]
    rest[1].cancel()
    slow.go.set()
    batcher.close()
    assert slow.spec == [[1], [2, 4, 5], [6, 7]]  # four were taken, one of them in vain
    assert first.result() == 2 and [each.result() for each in rest[2:]] == [8, 10, 12, 14]
    assert (batcher.batches, batcher.cases) == (3, 6)


def test_two_batches_share_the_cores():
    told, both = {}, threading.Barrier(2, timeout=30)

    def network(cases):
        both.wait()
        told[cases[0]] = torch.get_num_threads()
        return cases

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        batcher = Batcher(network, most=1, lanes=2)
        asked = [batcher.put(case) for case in "ab"]
        assert [each.result(30) for each in asked] == ["a", "b"]
        batcher.close()
    finally:
        torch.set_num_threads(before)
    assert sorted(told.values()) == [2, 4]  # the first began with all of them


def test_a_picture_that_is_being_decoded_is_waited_for(monkeypatch):
    monkeypatch.setattr("souron.serve.batching.PATIENCE", 30)
    slow = Slow()
    slow.go.set()
    batcher = Batcher(slow, most=4)
    decoding: Future = Future()
    batcher.expect(decoding)
    first = batcher.put(1)
    second = batcher.put(2)
    assert not first.done()
    decoding.set_result(None)
    assert second.result(30) == 4 and slow.spec == [[1, 2]]
    batcher.close()


def test_a_picture_that_fails_spoils_no_other():
    slow = Slow()
    batcher = Batcher(slow, most=4)
    futures = [batcher.put(picture) for picture in ("first", "a", "bad", "b")]
    slow.go.set()
    batcher.close()
    assert [futures[0].result(), futures[1].result(), futures[3].result()] == [
        "firstfirst", "aa", "bb",
    ]  # fmt: skip
    with pytest.raises(ArithmeticError):
        futures[2].result()


def test_who_brings_too_many_pictures_waits(monkeypatch):
    monkeypatch.setattr("souron.serve.batching.ROOM", 1)
    slow = Slow()
    batcher = Batcher(slow, most=2)
    batcher.put(1)
    assert slow.began.wait(30)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: [batcher.put(number) for number in (2, 3, 4)])
        assert len(batcher.waiting) <= 2
        slow.go.set()
        assert [each.result(30) for each in done.result(30)] == [4, 6, 8]
    batcher.close()


def test_a_failing_network_is_told_picture_by_picture(serving, pictures, monkeypatch, capsys):
    service, app = serving()
    network = service.batcher.network

    def sometimes(given):
        if any(torch.equal(each, marked) for each in given):
            raise ArithmeticError("no such number")
        return network(given)

    name = "3 数字.png"
    read = Picture.read(uploads.Upload(name, pictures[name]), **service.reading)
    marked = service.answering.take(read, {})
    monkeypatch.setattr(service.batcher, "network", sometimes)
    answers = {answer.pop("file"): answer for answer in ask(app, files=form(pictures)).json()}
    assert answers.pop(name) == {"error": "[bug] ArithmeticError: no such number"}
    assert len(answers) == 9 and all("labels" in answer for answer in answers.values())
    assert "no such number" in capsys.readouterr().err  # whoever runs the server sees where


MULTIPART = {"content-type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
IN_JSON = {"content-type": "application/json"}
REFUSED = {
    "nothing": ({"headers": IN_JSON, "content": b'{"files": []}'}, 400, "no files"),
    "a form without a file": (
        {"headers": MULTIPART, "content": PART.replace(b"a.png", b"") + b"\r\n--b--\r\n"},
        400,
        "no files",
    ),
    "a form cut off": ({"headers": MULTIPART, "content": PART + b"abc"}, 400, "broken upload"),
    "a form cut off in its header": (
        {"headers": MULTIPART, "content": PART[:30]}, 400, "broken upload",
    ),
    "a form that is none": ({"headers": MULTIPART, "content": b"abc"}, 400, "broken upload"),
    "no boundary": (
        {"headers": {"content-type": "multipart/form-data"}, "content": PART},
        400,
        "broken upload",
    ),
    "JSON cut off": ({"headers": IN_JSON, "content": b'{"files": ['}, 400, "broken upload"),
    "other JSON": ({"json": [1, 2]}, 400, "broken upload"),
    "deep JSON": ({"headers": IN_JSON, "content": b"[" * 30_000}, 400, "broken upload"),
    "no text": ({"headers": IN_JSON, "content": b"\xff\xfe"}, 400, "broken upload"),
    "a name that is none": (
        {"json": {"files": [{"file": 1, "content": ""}]}}, 400, "broken upload",
    ),
    "no base64": (
        {"json": {"files": [{"file": "a", "content": "犬"}]}}, 400, "broken upload",
    ),
    "no type": ({"content": b"abc"}, 415, "content type"),
    "another type": (
        {"headers": {"content-type": "image/png"}, "content": b"abc"}, 415, "content type",
    ),
    "packed": (
        {"headers": IN_JSON | {"content-encoding": "gzip"}, "content": b"abc"}, 415, "content type",
    ),
    "a field": ({"files": [("top", (None, "3"))]}, 422, "option"),
    "no number": ({"path": "/predict?top=many", "content": b""}, 422, "option"),
    "too few labels": ({"path": "/predict?top=0", "content": b""}, 422, "value"),
    "a large file": ({"files": form({"a.png": bytes(5001)})}, 413, "too large"),
    "a large file in JSON": ({"json": in_json({"a.png": bytes(5001)})}, 413, "too large"),
    "many files": ({"files": form({f"{i}": b"a" for i in range(5)})}, 413, "too large"),
    "many files in JSON": ({"json": in_json({f"{i}": b"a" for i in range(5)})}, 413, "too large"),
    "a large request": (
        {"headers": IN_JSON, "content": bytes(40_000)}, 413, "too large",
    ),
    "a large request that does not say so": (
        {"headers": IN_JSON, "content": "chunks"}, 413, "too large",
    ),
    "elsewhere": ({"path": "/no/such/page"}, 404, "path"),
    "another method": ({"method": "GET"}, 405, "method"),
    "another host": ({"headers": {"host": f"evil.example:{PORT}"}}, 421, "host"),
    "another port": ({"headers": {"host": "127.0.0.1:9999"}}, 421, "host"),
    "another site": ({"headers": {"origin": "https://evil.example"}}, 403, "origin"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_says_what_is_wrong_in_the_language_of_whoever_asked(case, serving):
    given, status, code = REFUSED[case]
    given = dict(given)
    _service, app = serving(file=5000, files=4)
    told = {}
    for language in ("en", "ja"):
        if given.get("content") == "chunks":

            async def chunks():
                for _ in range(40):
                    yield bytes(1000)

            sent = given | {"content": chunks()}
        else:
            sent = dict(given)
        sent["headers"] = {"accept-language": f"fr, {language};q=0.8"} | given.get("headers", {})
        response = ask(app, **sent)
        told[language] = response.json()["error"]
        assert (response.status_code, told[language]["code"]) == (status, code)
        assert set(told[language]) == {"code", "found", "expected", "try"}
        assert response.headers["x-content-type-options"] == "nosniff"
        assert bool(JAPANESE.search(told[language]["found"].replace("犬", ""))) == (
            language == "ja"
        )


def test_a_file_s_own_error_is_told_in_the_language_too(serving, pictures):
    _service, app = serving()
    cut = {"cut.png": pictures["1 数字.png"][:-30]}
    told = [
        ask(app, files=form(cut), headers={"accept-language": language}).json()[0]["error"]
        for language in ("en-GB,en;q=0.9", "ja-JP,ja;q=0.9,en;q=0.8")
    ]
    assert told[0] == "[truncated] cut.png: the file is cut short"
    assert told[1].startswith("[truncated] cut.png: ") and JAPANESE.search(told[1])


def test_a_picture_with_too_many_pixels_is_refused(serving):
    _service, app = serving()
    bomb = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(bomb, "PNG")
    [answer] = ask(app, files=form({"bomb.png": bomb.getvalue()})).json()
    assert answer["error"].startswith("[too large] bomb.png")


def test_an_answer_that_takes_too_long_is_given_up(serving, pictures, monkeypatch):
    service, app = serving(seconds=0.2, batch=1)
    slow = Slow(service.answering.network)
    monkeypatch.setattr(service.batcher, "network", slow)
    response = ask(app, files=form(pictures))
    assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")
    assert (service.requests, service.held) == (0, 0)
    slow.go.set()
    service.close()
    assert len(slow.spec) == 1  # the others were not computed in vain


def test_no_more_requests_than_may_wait(serving, pictures, monkeypatch):
    service, app = serving(requests=1)
    slow = Slow(service.answering.network)
    monkeypatch.setattr(service.batcher, "network", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, app, files=form(pictures))
        assert slow.began.wait(30)
        second = ask(app, files=form(pictures))
        assert (second.status_code, second.json()["error"]["code"]) == (503, "busy")
        assert second.headers["retry-after"] == "1"
        health = ask(app, "GET", "/health").json()
        assert (health["ready"], health["waiting"]) == (True, 1)
        slow.go.set()
        assert first.result().status_code == 200
    assert (service.requests, service.held) == (0, 0)


def test_no_more_bytes_than_may_be_held(serving, pictures):
    service, app = serving(file=5000)
    service.held = service.limits.held
    response = ask(app, files=form({"a.png": pictures["1 数字.png"]}))
    assert (response.status_code, response.json()["error"]["code"]) == (503, "busy")
    assert service.held == service.limits.held


def test_a_mistake_of_souron_s_is_told_as_one(serving, pictures, monkeypatch, capsys):
    service, app = serving()

    async def fail(*given):
        raise KeyError("oh")

    monkeypatch.setattr(service, "answer", fail)
    response = ask(app, files=form(pictures))
    assert (response.status_code, response.json()["error"]["code"]) == (500, "bug")
    assert "KeyError" in capsys.readouterr().err
    assert service.requests == 0


def test_the_pages_load_nothing_and_speak_both_languages(serving):
    _service, app = serving()
    for path in ("/", "/docs"):
        for language in ("en", "ja"):
            response = ask(app, "GET", path, headers={"accept-language": language})
            text = response.text
            assert response.status_code == 200 and f'<html lang="{language}">' in text
            assert "default-src 'none'" in response.headers["content-security-policy"]
            assert bool(JAPANESE.search(text.replace("総論", ""))) == (language == "ja")
            assert not re.search(r"<script|@import|url\(|\bsrc=", text)
            links = re.findall(r'(?:href|action)="([^"]*)"', text)
            assert len(links) > 4 and all(re.match(r"/(?!/)|data:", link) for link in links)
            outside = set(re.findall(r"(?:https?:)?//[\w.:]+", text)) - {f"http://127.0.0.1:{PORT}"}
            assert outside <= {"//9j"}  # what a JPEG begins with, in base64


def test_openapi_describes_what_there_is(serving):
    _service, app = serving()
    schema = ask(app, "GET", "/openapi.json").json()
    assert set(schema["paths"]) == {"/predict", "/health"}
    post = schema["paths"]["/predict"]["post"]
    assert set(post["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    assert set(post["responses"]) == {"200", "400", "408", "413", "415", "422", "503", "504"}
    assert [each["name"] for each in post["parameters"]] == ["top"]
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schema)):
        assert name in schema["components"]["schemas"]
    japanese = ask(app, "GET", "/openapi.json", headers={"accept-language": "ja"}).json()
    assert JAPANESE.search(japanese["paths"]["/predict"]["post"]["responses"]["413"]["description"])
    assert set(ask(app, "GET", "/health").json()) == set(
        schema["components"]["schemas"]["Health"]["properties"]
    )


def test_others_need_the_token(run):
    service = Service(model.load(run), Limits())
    app = api.application(service, access.Door(PORT, token="secret", lan=True, programs=True))
    refused = ask(app, "GET", "/health")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "token")
    known = {"authorization": "Bearer secret"}
    assert ask(app, "GET", "/health", headers=known).status_code == 200
    assert ask(app, "GET", "/?token=secret").status_code == 303  # on, with a cookie
    page = ask(app, "GET", "/", headers=known).text
    assert "Bearer $TOKEN" in page and "secret" not in page
    service.close()


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
     ("192.168.1.2", False), ("here.example", False)],
)  # fmt: skip
def test_only_this_computer_is_served_without_a_token(host, alone):
    assert server.loopback(host) == alone


class Shouting(System):
    """Answers a text with a text: no classifier."""

    task = "shout"

    def evaluate(self, data):
        return {}

    def predict(
        self, text: Text, *, marks: Annotated[int, Choice("exclamation marks", low=0, high=9)] = 1
    ) -> Text:
        if "quiet" in text.text:
            raise ArithmeticError("cannot shout that")
        return Text(text.text.upper() + "!" * marks)


class Painting(Shouting):
    """Answers a text with a picture."""

    def predict(self, text: Text) -> Picture:
        return Picture(Image.new("L", (len(text.text), 1)))


def serve_system(kind):
    service = Service(model.Model(kind.__name__, kind(None, None)), Limits())
    return service, api.application(service, access.Door(PORT, programs=True))


def test_any_system_that_answers_is_served(capsys):
    service, app = serve_system(Shouting)
    files = {"a.txt": "犬 a".encode(), "b.txt": b"quiet", "c.txt": b"\0"}
    answers = ask(app, path="/predict?marks=2", files=form(files)).json()
    assert answers[0] == {"file": "a.txt", "text": "犬 A!!"}
    assert answers[1] == {"file": "b.txt", "error": "[bug] ArithmeticError: cannot shout that"}
    assert answers[2]["error"].startswith("[not a text] c.txt")
    assert "cannot shout that" in capsys.readouterr().err
    for query, code in (("marks=10", "value"), ("marks=x", "option"), ("top=3", "option")):
        response = ask(app, path=f"/predict?{query}", files=form(files))
        assert (response.status_code, response.json()["error"]["code"]) == (422, code)
    [about] = ask(app, "GET", "/openapi.json").json()["paths"]["/predict"]["post"]["parameters"]
    assert (about["name"], about["schema"]["maximum"]) == ("marks", 9)
    service.close()


def test_an_answer_that_words_cannot_tell_comes_as_a_file():
    service, app = serve_system(Painting)
    [answer] = ask(app, json=in_json({"a.txt": b"hello"})).json()
    assert (answer["file"], answer["width"]) == ("a.txt", 5)
    assert Image.open(io.BytesIO(base64.b64decode(answer["content"]))).size == (5, 1)
    service.close()


def test_what_nothing_can_be_asked_of_is_refused():
    with pytest.raises(UserError) as drawing:
        answering.answering(model.Model("runs/g", SimpleNamespace(task="generate")))
    assert drawing.value.fix == "souron generate runs/g"
    with pytest.raises(UserError) as untrained:
        answering.answering(model.Model("cnn"))
    assert untrained.value.code == "not trained"


def test_a_port_that_is_taken_is_told(run, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert main.run(["serve", run, f"port={other.getsockname()[1]}"]) == 4
    assert capsys.readouterr().err.startswith("[port] ")


@pytest.fixture
def process(run):
    """Start ``souron serve`` in a process of its own; its address."""
    started = []

    def start(*options):
        words = ["serve", run, "port=0", "--json", *options]
        code = "import sys; from souron.cli import main; sys.argv[0] = 'souron'; main()"
        child = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE,
                                 env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True)  # fmt: skip
        started.append(child)
        [url] = json.loads(child.stdout.readline())["addresses"]
        return child, url

    yield start
    for child in started:
        child.kill()
        child.communicate()


def connect(url):
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port), timeout=30)


def head(url, length):
    host = httpx.URL(url).netloc.decode()
    return (
        f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def answer(connection):
    """Status and body of what comes, until the other side closes."""
    told = b""
    while some := connection.recv(65536):
        told += some
    header, _blank, body = told.partition(b"\r\n\r\n")
    return int(header.split()[1]), json.loads(body)


def test_a_server_serves_many_and_cuts_off_who_is_too_slow(process, pictures, run, capsys):
    child, url = process("timeout=1")
    slow, slower = connect(url), connect(url)
    slow.sendall(b"POST /predict HTTP/1.1\r\nHo")
    slower.sendall(head(url, 1000) + b"{")
    with connect(url) as left:
        left.sendall(head(url, 1000) + b'{"files": ')  # and is gone
    with connect(url) as noise:
        noise.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert answer(noise)[1]["error"]["code"] == "http"

    def once(item):
        return httpx.post(f"{url}predict?top=1", files=form(dict([item])), timeout=30).json()

    with ThreadPoolExecutor(10) as pool:
        answers = [told for [told] in pool.map(once, pictures.items())]
    assert [told["file"] for told in answers] == list(pictures)
    alone = {name: ask_predict(run, name, content, capsys) for name, content in pictures.items()}
    for told in answers:
        [label], [expected] = told["labels"], alone[told["file"]]
        assert label["label"] == expected["label"]
        assert abs(label["probability"] - expected["probability"]) < 1e-3
    for connection in (slow, slower):
        with connection:
            status, body = answer(connection)
            assert (status, body["error"]["code"]) == (408, "slow")
    health = httpx.get(f"{url}health").json()
    assert (health["served"], health["waiting"]) == (10, 0)
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 0


def ask_predict(run, name, content, capsys):
    with open(name, "wb") as file:  # noqa: PTH123
        file.write(content)
    assert main.run(["predict", run, name, "top=1", "--json"]) == 0
    return json.loads(capsys.readouterr().out)["labels"]


def test_a_server_that_ends_answers_what_it_accepted(process, pictures):
    child, url = process()
    body = json.dumps(in_json(pictures)).encode()
    with connect(url) as accepted, connect(url) as idle:
        accepted.sendall(head(url, len(body)) + body[:100])
        while httpx.get(f"{url}health").json()["waiting"] == 0:
            pass
        child.send_signal(signal.SIGTERM)
        while True:
            late = httpx.post(f"{url}predict", files=form(pictures))
            if late.status_code != 200:
                break
        assert (late.status_code, late.json()["error"]["code"]) == (503, "ending")
        assert late.headers["retry-after"] == "1"
        assert httpx.get(f"{url}health").status_code == 503
        accepted.sendall(body[100:])
        status, answers = answer(accepted)
        assert status == 200 and len(answers) == len(pictures)
        assert idle.recv(1) == b""
    assert child.wait(30) == 0


@pytest.mark.parametrize(
    ("said", "language"),
    [("", "en"), ("ja", "ja"), ("en-US,en;q=0.9,ja;q=0.8", "en"), ("ja-JP, en;q=0.5", "ja")],
)
def test_the_language_is_what_the_reader_likes_most(said, language, serving):
    _service, app = serving()
    headers = {"accept-language": said} if said else {}
    assert f'lang="{language}"' in ask(app, "GET", "/", headers=headers).text


def test_without_a_wish_the_server_s_own_language_is_spoken(serving, monkeypatch):
    monkeypatch.setenv("SOURON_LANG", "ja")
    _service, app = serving()
    assert 'lang="ja"' in ask(app, "GET", "/").text


def test_a_refusal_is_a_trouble():
    error = Refusal(413, "too large", "a", "b", "c")
    assert str(error).startswith("[too large] a") and error.status == 413
