"""The HTTP API: the predictions of souron predict, within limits, in both languages."""

import asyncio
import base64
import contextlib
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
from pathlib import Path
from typing import Annotated

import httpx
import pytest
import torch
import uvicorn
import waiting
from PIL import Image
from pydicom.data import get_testdata_file
from torch import nn

from souron import model, registry
from souron.cli import main
from souron.kinds.codecs.image import as_image
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.runs import train
from souron.serve import access, predictors, protocol, server
from souron.serve.api import Gate
from souron.serve.batching import Batcher
from souron.serve.service import Service
from souron.serve.uploads import Limits
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
    """Make a service of the run, or of another system, and its application."""
    services = []

    def serve(system=None, token="", **limits):
        loaded = model.Model(system.__name__, system(None, None)) if system else model.load(run)
        services.append(Service(loaded, Limits(**limits)))
        door = access.Door(PORT, token=token, lan=bool(token), programs=True)
        return services[-1], Gate(services[-1], door)

    yield serve
    for service in services:
        service.close()


def send(app, method="POST", path="/predict", **options):
    """One request, answered within this process."""

    async def once():
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            return await client.request(method, path, **options)

    return asyncio.run(once())


def error_code(response):
    return response.json()["error"]["code"]


@pytest.fixture(scope="module")
def pictures(digits):
    """Names and PNG files of ten digits, 0 to 9."""
    rows = [int((digits.target == label).nonzero()[0, 0]) for label in range(10)]
    return {f"{label} 数字.png": saved(as_image(digits.input[row])) for label, row in enumerate(rows)}


def saved(image, format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def form(files):
    return [("file", (name, content)) for name, content in files.items()]


def in_json(files):
    listed = [{"file": name, "content": base64.b64encode(content).decode()} for name, content in files.items()]
    return {"files": listed}


def assert_same(predictions, expected):
    assert [one["file"] for one in predictions] == [one["file"] for one in expected]
    for one, other in zip(predictions, expected, strict=True):
        assert one.get("error") == other.get("error")
        labels, others = one.get("labels", []), other.get("labels", [])
        assert [each["label"] for each in labels] == [each["label"] for each in others]
        probabilities = [each["probability"] for each in labels]
        assert probabilities == pytest.approx([each["probability"] for each in others], abs=1e-3)


def predict_here(run, files, capsys, *options):
    """The exit code of souron predict, and what it prints of these files in the current folder."""
    for name, content in files.items():
        Path(name).write_bytes(content)
    code = main.run(["predict", run, *files, "--json", *options])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("body", ["form", "json"])
def test_predictions_are_those_of_souron_predict(body, pictures, run, serving, capsys):
    deep = (torch.arange(64).view(8, 8) * 1000).numpy().astype("uint16")
    files = pictures | {
        "deep.png": saved(Image.fromarray(deep)),
        "colours.jpg": saved(Image.effect_noise((40, 30), 90).convert("RGB"), "JPEG"),
        "scan.dcm": Path(get_testdata_file("SC_rgb_rle_2frame.dcm", download=False)).read_bytes(),
        "cut.png": next(iter(pictures.values()))[:-30],
        "text.png": b"not a picture",
        "empty.png": b"",
    }
    code, expected = predict_here(run, files, capsys, "top=3")
    assert code == 3 and sum("error" in one for one in expected) == 3
    assert sum("#" in one["file"] for one in expected) == 2  # frames
    _service, app = serving()
    options = {"files": form(files)} if body == "form" else {"json": in_json(files)}
    response = send(app, path="/predict?top=3", **options)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert_same(response.json(), expected)


def test_a_prediction_does_not_depend_on_its_batch(serving, digits):
    service, _app = serving()
    rows = [(digits.input[row], None) for row in range(40)]
    together, far = zip(*service.predictor.predict(rows), strict=True)
    alone, near = zip(*(service.predictor.predict([row])[0] for row in rows), strict=True)
    assert torch.stack(together).max() > 0.5
    assert torch.allclose(torch.stack(together), torch.stack(alone), atol=1e-5, rtol=0)
    assert [one.score for one in far] == pytest.approx([one.score for one in near], rel=1e-3)


class Scaled(nn.Sequential):
    """A convolution and a batch normalization with statistics of its own."""

    spec = Spec(3, 16, ("a", "b"))

    def __init__(self):
        super().__init__(nn.Conv2d(3, 2, 3, bias=False), nn.BatchNorm2d(2))
        nn.init.uniform_(self[1].running_mean)
        nn.init.uniform_(self[1].running_var, 1, 2)


class Branching(Scaled):
    def forward(self, image):
        return super().forward(image if image.mean() > 0 else -image)


def test_normalizations_are_fused_where_the_outputs_stay_the_same(monkeypatch):
    network, image = Scaled().eval(), torch.rand(4, 3, 16, 16)
    fused = predictors.fused(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert torch.allclose(fused(image), network(image), atol=1e-5)
    branching = Branching().eval()
    assert predictors.fused(branching) is branching  # cannot be traced
    other = "torch.fx.experimental.optimization.fuse"
    monkeypatch.setattr(other, lambda system: lambda image: system(image) + 0.01)
    assert predictors.fused(network) is network


def test_no_upload_touches_the_disk(serving, pictures):
    written = []
    watching = True

    def watch(event, given):
        if watching and event == "open" and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(given[0])

    sys.addaudithook(watch)
    _service, app = serving()
    large = saved(Image.effect_noise((1500, 1500), 200), compress_level=0)
    assert len(large) > 2_000_000
    many = {"large.png": large, **pictures}
    assert len(send(app, files=form(many)).json()) == 11
    assert len(send(app, json=in_json(many)).json()) == 11
    watching = False
    assert written == []


class Slow:
    """A network that waits for ``go``, then computes ``network``, or twice each input."""

    def __init__(self, network=None):
        self.go, self.began = threading.Event(), threading.Event()
        self.network, self.batches = network, []

    def __call__(self, batch):
        self.began.set()
        assert self.go.wait(waiting.LIMIT)
        self.batches.append(list(batch))
        if self.network:
            return self.network(batch)
        if "bad" in batch:
            raise ArithmeticError("bad")
        return [case * 2 for case in batch]


def test_inputs_that_come_while_the_network_computes_form_a_batch():
    slow = Slow()
    batcher = Batcher(slow, max_batch=4)
    first = batcher.put(1)
    assert slow.began.wait(waiting.LIMIT)
    rest = [batcher.put(number) for number in range(2, 8)]
    rest[1].cancel()
    slow.go.set()
    batcher.close()
    assert slow.batches == [[1], [2, 4, 5], [6, 7]]  # four were taken, one of them cancelled
    assert first.result() == 2 and [each.result() for each in rest[2:]] == [8, 10, 12, 14]
    assert (batcher.batches, batcher.cases) == (3, 6)


def test_two_batches_share_the_cores():
    threads, both = {}, threading.Barrier(2, timeout=waiting.LIMIT)

    def network(cases):
        both.wait()
        threads[cases[0]] = torch.get_num_threads()
        return cases

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        batcher = Batcher(network, max_batch=1, threads=2)
        outputs = [batcher.put(case) for case in "ab"]
        assert [each.result(waiting.LIMIT) for each in outputs] == ["a", "b"]
        batcher.close()
    finally:
        torch.set_num_threads(before)
    assert sorted(threads.values()) == [2, 4]  # the first began with all of them


def test_a_batch_waits_for_a_file_that_is_being_decoded(monkeypatch):
    monkeypatch.setattr("souron.serve.batching.BATCH_WAIT", 30)
    slow = Slow()
    slow.go.set()
    batcher = Batcher(slow, max_batch=4)
    decoding: Future = Future()
    batcher.expect(decoding)
    first = batcher.put(1)
    second = batcher.put(2)
    assert not first.done()
    decoding.set_result(None)
    assert second.result(waiting.LIMIT) == 4 and slow.batches == [[1, 2]]
    batcher.close()


def test_an_input_that_fails_spoils_no_other():
    slow = Slow()
    batcher = Batcher(slow, max_batch=4)
    futures = [batcher.put(image) for image in ("first", "a", "bad", "b")]
    slow.go.set()
    batcher.close()
    assert [futures[0].result(), futures[1].result(), futures[3].result()] == ["firstfirst", "aa", "bb"]
    with pytest.raises(ArithmeticError):
        futures[2].result()


def test_a_full_queue_blocks(monkeypatch):
    monkeypatch.setattr("souron.serve.batching.QUEUED_BATCHES", 1)
    slow = Slow()
    batcher = Batcher(slow, max_batch=2)
    batcher.put(1)
    assert slow.began.wait(waiting.LIMIT)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: [batcher.put(number) for number in (2, 3, 4)])
        assert len(batcher.queue) <= 2
        slow.go.set()
        assert [each.result(waiting.LIMIT) for each in done.result(waiting.LIMIT)] == [4, 6, 8]
    batcher.close()


FORM, JSON = "multipart/form-data; boundary=b", "application/json"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


def raw(content_type, content):
    return {"headers": {"content-type": content_type}, "content": content}


REFUSED = {
    (400, "no files"): {
        "no file": raw(JSON, b'{"files": []}'),
        "no file chosen": raw(FORM, PART.replace(b"a.png", b"") + b"\r\n--b--\r\n"),
    },
    (400, "broken upload"): {
        "a form cut off": raw(FORM, PART + b"abc"),
        "a second file cut off": raw(FORM, PART + b"abc\r\n" + PART + b"abc"),
        "a part's header cut off": raw(FORM, PART[:30]),
        "no form": raw(FORM, b"abc"),
        "no boundary": raw("multipart/form-data", PART),
        "JSON cut off": raw(JSON, b'{"files": ['),
        "other JSON": {"json": [1, 2]},
        "deep JSON": raw(JSON, b"[" * 30_000),
        "no text": raw(JSON, b"\xff\xfe"),
        "a number as name": {"json": {"files": [{"file": 1, "content": ""}]}},
        "no base64": {"json": {"files": [{"file": "a", "content": "犬"}]}},
    },
    (415, "content type"): {"none": {"content": b"abc"}, "another": raw("image/png", b"abc")},
    (422, "option"): {"a field": {"files": [("top", (None, "3"))]}, "no number": {"path": "/predict?top=many"}},
    (422, "value"): {"no labels": {"path": "/predict?top=0"}},
    (413, "too large"): {
        "a file": {"files": form({"a.png": bytes(5001)})},
        "a file in JSON": {"json": in_json({"a.png": bytes(5001)})},
        "many files": {"files": form({f"{i}": b"a" for i in range(5)})},
        "many files in JSON": {"json": in_json({f"{i}": b"a" for i in range(5)})},
        "JSON": raw(JSON, bytes(40_000)),
        "a form": raw(FORM, PART + bytes(40_000)),
        "chunks": raw(JSON, None),
    },
    (404, "path"): {"elsewhere": {"path": "/no/such/page"}},
    (405, "method"): {"another": {"method": "GET"}},
    (421, "host"): {
        "another": {"headers": {"host": f"evil.example:{PORT}"}},
        "another port": {"headers": {"host": "127.0.0.1:9999"}},
    },
    (403, "origin"): {"another site": {"headers": {"origin": "https://evil.example"}}},
}


async def chunks():
    for _ in range(40):
        yield bytes(1000)


@pytest.mark.parametrize(("status", "code", "case"), [(*key, case) for key in REFUSED for case in REFUSED[key]])
def test_an_error_says_what_is_wrong_in_the_language_of_the_request(status, code, case, serving):
    _service, app = serving(file=5000, files=4)
    for language in ("en", "ja"):
        request = dict(REFUSED[status, code][case])
        headers = {"accept-language": f"fr, {language};q=0.8"} | request.pop("headers", {})
        if case == "chunks":
            request["content"] = chunks()
        response = send(app, headers=headers, **request)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (status, code)
        assert set(error) == {"code", "found", "expected", "try"}
        assert response.headers["x-content-type-options"] == "nosniff"
        assert bool(JAPANESE.search(error["found"].replace("犬", ""))) == (language == "ja")


def test_the_error_of_a_file_is_in_the_language_too(serving, pictures):
    _service, app = serving()
    files = {"cut.png": pictures["1 数字.png"][:-30], "bomb.png": saved(Image.new("1", (10_000, 10_000)))}
    for language, japanese in (("en-GB,en;q=0.9", False), ("ja-JP,ja;q=0.9,en;q=0.8", True)):
        headers = {"accept-language": language}
        cut, bomb = (one["error"] for one in send(app, files=form(files), headers=headers).json())
        assert cut.startswith("[truncated] cut.png: ") and bomb.startswith("[too large] bomb.png")
        assert bool(JAPANESE.search(cut)) == bool(JAPANESE.search(bomb)) == japanese


def test_a_request_that_takes_too_long_is_given_up(serving, pictures, monkeypatch):
    service, app = serving(seconds=0.5, batch=2)
    slow = Slow(service.predictor.predict)
    monkeypatch.setattr(service.batcher, "predict", slow)
    few = dict(list(pictures.items())[:6])
    response = send(app, files=form(few))
    assert (response.status_code, error_code(response)) == (504, "timeout")
    assert (service.waiting, service.served) == (0, 0)
    slow.go.set()
    service.close()
    assert len(slow.batches) <= 2  # what waited in the queue was not computed in vain


def test_a_request_whose_client_leaves_is_given_up(serving, pictures, monkeypatch):
    service, app = serving(batch=2)
    slow = Slow(service.predictor.predict)
    monkeypatch.setattr(service.batcher, "predict", slow)
    body = json.dumps(in_json(dict(list(pictures.items())[:6]))).encode()
    messages = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]
    headers = [(b"host", f"127.0.0.1:{PORT}".encode()), (b"content-type", JSON.encode())]
    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}

    async def receive():
        if len(messages) == 1:
            await asyncio.to_thread(slow.began.wait, waiting.LIMIT)
        return messages.pop(0)

    async def ignore(message):
        pass

    asyncio.run(app(scope, receive, ignore))
    assert (service.waiting, service.served) == (0, 0)
    slow.go.set()
    service.close()
    assert len(slow.batches) <= 2  # what waited in the queue was not computed in vain


def test_a_body_that_stalls_is_given_up(serving):
    service, app = serving(seconds=0.2)

    async def stalled():
        yield b'{"files": '
        await asyncio.sleep(2 * waiting.LIMIT)

    response = send(app, content=stalled(), headers={"content-type": JSON})
    assert (response.status_code, error_code(response), service.waiting) == (504, "timeout", 0)


def test_no_more_requests_than_may_wait(serving, pictures, monkeypatch):
    service, app = serving(requests=1)
    slow = Slow(service.predictor.predict)
    monkeypatch.setattr(service.batcher, "predict", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send, app, files=form(pictures))
        assert slow.began.wait(waiting.LIMIT)
        second = send(app, files=form(pictures))
        assert (second.status_code, error_code(second)) == (503, "busy")
        assert second.headers["retry-after"] == "1"
        health = send(app, "GET", "/health").json()
        assert (health["ready"], health["waiting"]) == (True, 1)
        slow.go.set()
        assert first.result().status_code == 200
    assert (service.waiting, service.served) == (0, 1)


def test_a_bug_is_an_error_too(serving, pictures, monkeypatch, capsys):
    service, app = serving()

    async def fail(*arguments):
        raise KeyError("oh")

    monkeypatch.setattr(service, "predict", fail)
    response = send(app, files=form(pictures))
    assert (response.status_code, error_code(response)) == (500, "bug")
    assert "KeyError" in capsys.readouterr().err
    assert service.waiting == 0


def test_the_pages_load_nothing_and_speak_both_languages(serving):
    _service, app = serving()
    for path in ("/", "/docs"):
        for language in ("en", "ja"):
            response = send(app, "GET", path, headers={"accept-language": language})
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
    schema = send(app, "GET", "/openapi.json").json()
    studies = {f"/studies/{one.name}" for one in registry.actions().values() if one.texts}
    assert set(schema["paths"]) == {"/predict", "/health"} | studies and studies
    post = schema["paths"]["/predict"]["post"]
    assert set(post["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    assert set(post["responses"]) == {"200", "400", "413", "415", "422", "503", "504"}
    assert [each["name"] for each in post["parameters"]] == ["top"]
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schema)):
        assert name in schema["components"]["schemas"]
    japanese = send(app, "GET", "/openapi.json", headers={"accept-language": "ja"}).json()
    assert JAPANESE.search(japanese["paths"]["/predict"]["post"]["responses"]["413"]["description"])
    assert set(send(app, "GET", "/health").json()) == set(schema["components"]["schemas"]["Health"]["properties"])


def test_others_need_the_token(serving):
    _service, app = serving(token="secret")
    refused = send(app, "GET", "/health")
    assert (refused.status_code, error_code(refused)) == (401, "token")
    assert send(app, files=form({"a.png": b"a"})).status_code == 401
    known = {"authorization": "Bearer secret"}
    assert send(app, "GET", "/health", headers=known).status_code == 200
    assert send(app, "GET", "/?token=secret").status_code == 303  # on, with a cookie
    page = send(app, "GET", "/", headers=known).text
    assert "Bearer $TOKEN" in page and "secret" not in page


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.168.1.2", False),
        ("here.example", False),
    ],
)
def test_only_this_computer_is_served_without_a_token(host, alone):
    assert server.is_loopback(host) == alone


class Shouting(System):
    """From a text to a text: no classifier."""

    task = "shout"

    def predict(self, text: Text, *, marks: Annotated[int, Choice("exclamation marks", low=0, high=9)] = 1) -> Text:
        if "quiet" in text.text:
            raise ArithmeticError("cannot shout that")
        return Text(text.text.upper() + "!" * marks)


class Painting(Shouting):
    """From a text to a picture."""

    def predict(self, text: Text) -> Picture:
        return Picture(Image.new("L", (len(text.text), 1)))


def test_any_system_with_predict_is_served(serving, capsys):
    _service, app = serving(Shouting)
    files = {"a.txt": "犬 a".encode(), "b.txt": b"quiet", "c.txt": b"\0"}
    predictions = send(app, path="/predict?marks=2", files=form(files)).json()
    assert predictions[0] == {"file": "a.txt", "text": "犬 A!!"}
    assert predictions[1] == {"file": "b.txt", "error": "[bug] ArithmeticError: cannot shout that"}
    assert predictions[2]["error"].startswith("[not a text] c.txt")
    assert "cannot shout that" in capsys.readouterr().err
    for query, code in (("marks=10", "value"), ("marks=x", "option"), ("top=3", "option")):
        response = send(app, path=f"/predict?{query}", files=form(files))
        assert (response.status_code, error_code(response)) == (422, code)
    schema = send(app, "GET", "/openapi.json").json()
    [parameter] = schema["paths"]["/predict"]["post"]["parameters"]
    assert (parameter["name"], parameter["schema"]["maximum"]) == ("marks", 9)


def test_a_predicted_picture_is_sent_as_a_file(serving):
    _service, app = serving(Painting)
    [prediction] = send(app, json=in_json({"a.txt": b"hello"})).json()
    assert (prediction["file"], prediction["width"]) == ("a.txt", 5)
    assert Image.open(io.BytesIO(base64.b64decode(prediction["content"]))).size == (5, 1)


class Drawer:
    """Draws pictures from noise, and answers nothing."""

    def drawing(self):
        raise AssertionError("not asked")


def test_a_model_that_predicts_nothing_is_refused():
    with pytest.raises(UserError) as generator:
        predictors.predictor_for(model.Model("runs/g", Drawer()))
    assert generator.value.fix == "souron generate runs/g"
    with pytest.raises(UserError) as untrained:
        predictors.predictor_for(model.Model("cnn"))
    assert untrained.value.code == "not trained"


def test_a_port_that_is_taken_is_an_error(run, capsys):
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
        code = "from souron.cli.main import main; main()"
        child = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
        )
        started.append(child)
        [url] = json.loads(child.stdout.readline())["addresses"]
        return child, url

    yield start
    for child in started:
        child.kill()
        child.communicate()


def connect(url):
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port), timeout=waiting.LIMIT)


def head(url, length):
    host = httpx.URL(url).netloc.decode()
    return (
        f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_a_server_serves_many_and_outlives_bad_clients(process, pictures, run, capsys):
    child, url = process(f"timeout={waiting.LIMIT}")
    with connect(url) as gone:
        gone.sendall(head(url, 1000) + b'{"files": ')
    with connect(url) as noise:
        noise.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert noise.recv(65536).startswith(b"HTTP/1.1 400")

    def once(item):
        return httpx.post(f"{url}predict?top=1", files=form(dict([item])), timeout=waiting.LIMIT).json()

    with ThreadPoolExecutor(10) as pool:
        predictions = [one for [one] in pool.map(once, pictures.items())]
    assert_same(predictions, predict_here(run, pictures, capsys, "top=1")[1])
    health = httpx.get(f"{url}health").json()
    assert (health["served"], health["waiting"]) == (10, 0)
    child.send_signal(signal.SIGINT)
    assert child.wait(waiting.LIMIT) == 0


def test_a_server_that_ends_answers_what_it_accepted(process, pictures):
    child, url = process()
    body = json.dumps(in_json(pictures)).encode()
    with connect(url) as accepted, connect(url) as idle:
        accepted.sendall(head(url, len(body)) + body[:100])
        waiting.until(lambda: httpx.get(f"{url}health").json()["waiting"])
        child.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b""
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}health")
        accepted.sendall(body[100:])
        received = b""
        while some := accepted.recv(65536):
            received += some
        header, _blank, predictions = received.partition(b"\r\n\r\n")
        assert header.startswith(b"HTTP/1.1 200") and len(json.loads(predictions)) == len(pictures)
    assert child.wait(waiting.LIMIT) == 0


def test_without_accept_language_the_server_s_own_language_is_used(serving, monkeypatch):
    monkeypatch.setenv("SOURON_LANG", "ja")
    _service, app = serving()
    assert 'lang="ja"' in send(app, "GET", "/").text


@pytest.fixture
def bounded(monkeypatch):
    """A server with short limits in a thread; its port."""
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(protocol, "MOST_OF_ADDRESS", 5)

    async def hello(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    settings = uvicorn.Config(
        hello, port=0, http=protocol.BoundedProtocol, lifespan="off", log_level="critical", ws="none"
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    waiting.until(lambda: server.started, thread.is_alive)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(waiting.LIMIT)


def test_headers_that_are_never_finished_end_the_connection(bounded, monkeypatch):
    for sent in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n"):
        address = ("127.0.0.1", bounded)
        with socket.create_connection(address, timeout=waiting.LIMIT) as held, contextlib.suppress(ConnectionError):
            held.sendall(sent)
            assert held.recv(100) == b""
    monkeypatch.setattr(protocol, "HEADER_SECONDS", waiting.LIMIT)
    with socket.create_connection(("127.0.0.1", bounded), timeout=waiting.LIMIT) as kept:
        for seconds in (waiting.LIMIT, 0.5):  # a second request on the same connection, and what comes after it
            monkeypatch.setattr(protocol, "HEADER_SECONDS", seconds)
            kept.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            received = b""
            while not received.endswith(b"hello\r\n0\r\n\r\n"):
                received += kept.recv(100)
        with contextlib.suppress(ConnectionError):
            kept.sendall(b"GET / HTTP/1.1\r\n")
            assert kept.recv(100) == b""


def test_unfinished_requests_of_an_address_make_room_for_good_ones(bounded, monkeypatch):
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 600)
    held = [socket.create_connection(("127.0.0.1", bounded), timeout=waiting.LIMIT) for _one in range(20)]
    for one in held:
        with contextlib.suppress(OSError):
            one.sendall(b"GET / HTTP/1.1\r\n")
    assert httpx.get(f"http://127.0.0.1:{bounded}/").text == "hello"
    with contextlib.suppress(ConnectionResetError):
        assert held[0].recv(100) == b"", "the first one made room"
    for one in held:
        one.close()
