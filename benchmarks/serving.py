"""`souron serve` beside the same network behind plain FastAPI; and what many hours of misuse do.

    .venv/bin/python benchmarks/serving.py
    .venv/bin/python benchmarks/serving.py --soak 10min

The network is a ResNet-18 at 224 pixels with random weights, saved as a run: what it says is of no
use, what it costs is the same. The pictures are 16 cuts of 500 x 375 pixels from scikit-learn's two
photographs, as JPEG. The plain server is the usual tutorial's: a function that decodes, transforms
and calls the network in float32, which FastAPI runs in a thread for each request. `batch=1` is
souron without batches, which tells them from everything else. Each server is a process of its own,
so are the clients, and they take turns; clients keep their connections.

The soak asks `souron serve` as fast as it can, from several processes, for what it can answer and
has answered before, and beside that sends broken uploads, sends too slowly, takes answers too
slowly, breaks off, and is killed in between. Every answer is compared with the one of `souron
predict`. An answer is lost if the connection ends without one although the whole request was sent.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import psutil
from printing import say, spread, table, watched, where

from souron.data.dataset import Rows
from souron.training.budget import Budget
from souron.utils import hardware

CLIENTS = (1, 8, 32)
SERVERS = {"plain": "plain FastAPI", "single": "souron serve batch=1", "souron": "souron serve"}
LABELS, SIDE = 1000, 224
CUTS, WIDTH, HEIGHT = 16, 500, 375
NEAR = 1e-3  # how far a probability may be from souron predict's
BOUNDARY = "souron-benchmark"


def save_run(folder: Path, photos: Path) -> None:
    """A ResNet-18 as it is before training, as a run. Its last layer is stretched, so that it is
    sure of something, and of something else for each photograph: else every answer were right."""
    import torch

    from souron import registry
    from souron.kinds.codecs import image as image_codec
    from souron.runs import folder as run_folder
    from souron.tasks.classify import Spec
    from souron.utils import files as file_utils

    torch.manual_seed(0)
    kind, config = registry.load_system("resnet18")
    labels = tuple(f"class {number}" for number in range(LABELS))
    seen = Spec(3, SIDE, labels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    system = kind(config, seen).eval()
    images = [image_codec.square(image_codec.read(f, about=SIDE), SIDE, 3) for f in sorted(photos.iterdir())]
    with torch.inference_mode():
        logits = system(system.batch(Rows(torch.stack(images), None)).image)
        more = 5 / logits.std(0).mean()
        system.fc.bias.copy_((system.fc.bias - logits.mean(0)) * more)
        system.fc.weight.mul_(more)
    args = {
        "system": "resnet18",
        "data": "none",
        "config": run_folder.as_plain(config),
        "seen": run_folder.as_plain(seen),
    }
    run_folder.write_args(folder, args)
    file_utils.write_tensors(folder / "weights" / "best.safetensors", system.state_dict(), {})


def photographs(folder: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_sample_images

    folder.mkdir()
    chance = random.Random(0)
    for number in range(CUTS):
        photo = Image.fromarray(load_sample_images().images[number % 2])
        left = chance.randrange(photo.width - WIDTH)
        top = chance.randrange(photo.height - HEIGHT)
        cut = photo.crop((left, top, left + WIDTH, top + HEIGHT))
        cut.save(folder / f"{number:02}.jpg", quality=90)


def expected(run: Path, photos: Path) -> dict[str, list[dict[str, Any]]]:
    """What ``souron predict --json`` says of each."""
    words = ["predict", str(run), str(photos), "--json", "--quiet"]
    asked = [sys.executable, "-c", "from souron.cli.main import main; main()", *words]
    done = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True)
    told = map(json.loads, done.stdout.splitlines())
    return {Path(each["file"]).name: each["labels"] for each in told}


@contextmanager
def serving(who: str, run: Path, threads: int, *more: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server in a process of its own, until the block ends: its address."""
    if who == "plain":
        asked = [sys.executable, __file__, "--plain", str(run)]
    else:
        words = ["serve", str(run), "port=0", "--json", f"workers={threads}", *more]
        words += ["batch=1"] if who == "single" else []
        asked = [sys.executable, "-c", "from souron.cli.main import main; main()", *words]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    process = subprocess.Popen(asked, stdout=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["addresses"][0], psutil.Process(process.pid)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)


def plain(run: Path) -> None:
    """The usual tutorial's server."""
    import torch
    import uvicorn
    from fastapi import FastAPI, UploadFile
    from PIL import Image
    from torchvision import transforms

    from souron.runs import folder as run_folder

    model = run_folder.load(run).eval()
    labels = model.spec.labels
    transform = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(SIDE),
            transforms.ToTensor(),
            transforms.Normalize(model.spec.mean, model.spec.std),
        ]
    )
    app = FastAPI()

    @app.post("/predict")
    def predict(file: UploadFile) -> list[dict[str, Any]]:
        image = transform(Image.open(file.file).convert("RGB"))[None]
        with torch.no_grad():
            probability = model(image).softmax(1)[0]
        best = probability.topk(5)
        return [
            {"label": labels[index], "probability": value}
            for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    config = uvicorn.Config(app, port=0, log_level="warning")
    listener = config.bind_socket()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as uvicorn's command line has it
    print(json.dumps({"addresses": [f"http://127.0.0.1:{listener.getsockname()[1]}/"]}), flush=True)
    uvicorn.Server(config).run([listener])


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Stream]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def heard(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection stays. Raises EOFError (IncompleteReadError) or
    OSError where there is no answer."""
    header = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(header.partition("content-length: ")[2].split("\r\n")[0])
    return (int(header.split()[1]), await reader.readexactly(length), "connection: close" not in header)


def request(url: str, body: bytes, kind: str) -> bytes:
    header = (
        f"POST /predict HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return header.encode() + body


def as_form(url: str, files: dict[str, bytes]) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, content in files.items()
    ]
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return request(url, body, f"multipart/form-data; boundary={BOUNDARY}")


def as_base64(url: str, files: dict[str, bytes]) -> bytes:
    listed = [{"file": n, "content": base64.b64encode(c).decode()} for n, c in files.items()]
    return request(url, json.dumps({"files": listed}).encode(), "application/json")


def read_photos(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


async def load(url: str, photos: Path, clients: int, seconds: float) -> list[float]:
    """The seconds of each answer, while so many clients ask one after the other."""
    requests = [as_form(url, {name: data}) for name, data in read_photos(photos).items()]
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        async with connected(url) as (reader, writer):
            while (begun := time.perf_counter()) < end:
                writer.write(requests[number % len(requests)])
                status, body, _stays = await heard(reader)
                assert status == 200, body
                took.append(time.perf_counter() - begun)
                number += 1

    await asyncio.gather(*(client(number) for number in range(clients)))
    return took


def asked(mode: str, *given: object) -> str:
    """What a process of clients prints."""
    words = [sys.executable, __file__, f"--{mode}", *map(str, given)]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout


def contest(run: Path, photos: Path, chosen: argparse.Namespace) -> None:
    told: dict[tuple[str, int], list[list[float]]] = {}
    with (
        watched(),
        serving("plain", run, chosen.threads) as (plain_url, _),
        serving("single", run, chosen.threads) as (single_url, _),
        serving("souron", run, chosen.threads) as (souron_url, _),
    ):
        urls = {"plain": plain_url, "single": single_url, "souron": souron_url}
        for url in urls.values():
            asked("load", url, photos, 8, 3)  # so that everything is warm
        for turn in range(chosen.rounds):
            for clients in CLIENTS:
                for who, url in urls.items():
                    took = json.loads(asked("load", url, photos, clients, chosen.seconds))
                    told.setdefault((who, clients), []).append(took)
                    rate = len(took) / chosen.seconds
                    say(f"turn {turn}, {clients} clients, {who}: {rate:.1f} a second")
    rows = [row(told, who, clients, chosen) for clients in CLIENTS for who in SERVERS]
    head = ["clients", "server", "requests a second", "times plain", "p50, ms", "p99, ms"]
    print(table(head, rows))
    print(
        f"\nResNet-18 at {SIDE} pixels, random weights; JPEG files of {WIDTH} x {HEIGHT} pixels, "
        f"one a request; {chosen.rounds} turns of {chosen.seconds:g} s, median (least to most)."
    )
    print("Clients and servers share the cores.")
    print(where(chosen.threads, "fastapi", "uvicorn", "souron"))


def row(told: Any, who: str, clients: int, chosen: argparse.Namespace) -> list[str]:
    def rates(name: str) -> list[float]:
        return [len(took) / chosen.seconds for took in told[name, clients]]

    def share(part: float) -> list[float]:
        return [1000 * sorted(took)[int(part * (len(took) - 1))] for took in told[who, clients]]

    times = [a / b for a, b in zip(rates(who), rates("plain"), strict=True)]
    return [
        str(clients),
        SERVERS[who],
        spread(rates(who)),
        spread(times, 2),
        spread(share(0.5), 0),
        spread(share(0.99), 0),
    ]


class Misuse:
    """One process of a soak: clients of every sort until the time is over. ``count`` says how each
    request ended."""

    def __init__(self, url: str, photos: Path, truth: Path, seed: int, patience: float) -> None:
        self.url, self.photos = url, read_photos(photos)
        self.truth = json.loads(truth.read_text())
        self.chance = random.Random(seed)
        self.patience = patience  # the server's
        self.count: Counter[str] = Counter()

    async def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        every = [self.good] * 6 + [self.broken, self.aborted, self.late, self.lazy]
        await asyncio.gather(*(self.repeat(one, end) for one in every))

    async def repeat(self, one: Any, end: float) -> None:
        while time.monotonic() < end:
            try:
                await one()
            except OSError as error:
                self.count[f"no connection: {type(error).__name__}"] += 1
                await asyncio.sleep(0.1)

    def some(self) -> dict[str, bytes]:
        names = self.chance.sample(sorted(self.photos), self.chance.choice((1, 1, 1, 2, 5)))
        return {name: self.photos[name] for name in names}

    async def good(self) -> None:
        """A few requests over one connection, each answer compared."""
        async with connected(self.url) as (reader, writer):
            for _ in range(self.chance.randrange(1, 20)):
                files = self.some()
                broken = self.chance.random() < 0.2
                if broken:
                    files["cut.jpg"] = next(iter(files.values()))[:2000]
                way = self.chance.choice((as_form, as_base64))
                try:
                    writer.write(way(self.url, files))
                    await writer.drain()
                    status, body, stays = await heard(reader)
                except (EOFError, OSError):
                    self.count["LOST"] += 1
                    return
                self.judge(files, status, body)
                if not stays:
                    return

    def judge(self, files: dict[str, bytes], status: int, body: bytes) -> None:
        if status != 200:
            self.count[f"good, but {status}"] += 1
            return
        told = json.loads(body)
        right = [each["file"] for each in told] == list(files) and all(map(self.is_right, told))
        self.count["right" if right else "WRONG"] += 1
        if not right:
            say(f"wrong: {list(files)}: {body[:2000]!r}")

    def is_right(self, told: dict[str, Any]) -> bool:
        if told["file"] == "cut.jpg":
            return told.get("error", "").startswith("[truncated]")
        known = {each["label"]: each["probability"] for each in self.truth[told["file"]]}
        return len(told.get("labels", ())) == 5 and all(
            abs(each["probability"] - known.get(each["label"], 0.0)) < NEAR for each in told["labels"]
        )

    async def broken(self) -> None:
        """An upload that is damaged, but whole: 400."""
        async with connected(self.url) as (reader, writer):
            whole = as_form(self.url, self.some()).partition(b"\r\n\r\n")[2]
            body = whole[: self.chance.randrange(len(whole) - len(BOUNDARY) - 8)]
            writer.write(request(self.url, body, f"multipart/form-data; boundary={BOUNDARY}"))
            try:
                status, _body, _stays = await heard(reader)
            except EOFError:
                status = 0
            self.count[f"broken upload: {status}"] += 1
        await asyncio.sleep(0.02)

    async def aborted(self) -> None:
        """Breaks off: within the upload, or when the answer is awaited."""
        async with connected(self.url) as (_reader, writer):
            whole = as_form(self.url, self.some())
            cut = self.chance.choice((len(whole), self.chance.randrange(len(whole))))
            writer.write(whole[:cut])
            await writer.drain()
            await asyncio.sleep(self.chance.random() * 0.05)
            writer.transport.abort()
            self.count["broken off by the client"] += 1

    async def late(self) -> None:
        """A byte of the body now and then: 504."""
        async with connected(self.url) as (reader, writer):
            whole = as_form(self.url, self.some())
            begin = whole.index(b"\r\n\r\n") + 100
            writer.write(whole[:begin])
            telling = asyncio.ensure_future(heard(reader))
            until = time.monotonic() + 3 * self.patience
            with suppress(OSError):
                while not telling.done() and time.monotonic() < until:
                    writer.write(whole[begin : begin + 1])
                    begin += 1
                    await asyncio.sleep(self.patience / 10)
            if not telling.done():
                telling.cancel()
                self.count["too slow, but still there"] += 1
                return
            try:
                self.count[f"too slow: {(await telling)[0]}"] += 1
            except (EOFError, OSError):
                self.count["too slow: cut off"] += 1

    async def lazy(self) -> None:
        """Asks again and again, and takes no answer for a while."""
        async with connected(self.url) as (_reader, writer):
            for _ in range(5):
                writer.write(as_form(self.url, self.some()))
            await asyncio.sleep(self.chance.random() * self.patience)
            self.count["took no answers"] += 1


def soak(run: Path, photos: Path, truth: Path, chosen: argparse.Namespace) -> None:
    seconds = Budget.parse(chosen.soak).amount
    patience = 5.0
    count: Counter[str] = Counter()
    memory: list[float] = []
    with watched(), serving("souron", run, chosen.threads, f"timeout={patience:g}") as (url, server):

        def clients(seed: int, time_left: float) -> subprocess.Popen:
            words = ["--misuse", url, photos, truth, seed, patience, time_left]
            return subprocess.Popen([sys.executable, __file__, *map(str, words)], stdout=subprocess.PIPE, text=True)

        end = time.monotonic() + seconds
        lasting, doomed, seed = [clients(0, seconds)], clients(1, seconds), 1
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(1.0, left))
            memory.append(server.memory_info().rss / 1e6)
            if len(memory) % 7 == 0:  # a kill, as it comes
                doomed.kill()
                doomed.communicate()
                count["processes of clients killed"] += 1
                seed += 1
                doomed = clients(seed, max(0.0, left))
        for process in (*lasting, doomed):
            count.update(json.loads(process.communicate(timeout=120)[0].splitlines()[-1]))
    print(table(["what", "how often"], [[what, f"{n:,}"] for what, n in sorted(count.items())]))
    parts = [memory[len(memory) * k // 5 : len(memory) * (k + 1) // 5] for k in range(5)]
    fifths = [f"{median(part):.0f}" for part in parts if part]
    print(f"\nWrong answers: {count['WRONG']}. Lost answers: {count['LOST']}.")
    print(f"Resident memory, MB, median of each fifth of the time: {', '.join(fifths)}; most {max(memory):.0f}.")
    print(f"{chosen.soak}; ResNet-18 at {SIDE} pixels, random weights; timeout={patience:g}.")
    print(where(chosen.threads, "fastapi", "uvicorn", "souron"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="a turn of one server")
    parser.add_argument("--threads", type=int, default=hardware.cores())
    parser.add_argument("--soak", metavar="TIME", help="misuse the server for so long: 10min")
    for hidden, count in (("--plain", 1), ("--load", 4), ("--misuse", 6)):
        parser.add_argument(hidden, nargs=count, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.plain:
        plain(Path(chosen.plain[0]))
    elif chosen.load:
        url, photos, clients, seconds = chosen.load
        print(json.dumps(asyncio.run(load(url, Path(photos), int(clients), float(seconds)))))
    elif chosen.misuse:
        url, photos, truth, seed, patience, seconds = chosen.misuse
        misuse = Misuse(url, Path(photos), Path(truth), int(seed), float(patience))
        asyncio.run(misuse.run(float(seconds)))
        print(json.dumps(misuse.count))
    else:
        with tempfile.TemporaryDirectory() as folder:
            run, photos = Path(folder) / "run", Path(folder) / "photos"
            photographs(photos)
            save_run(run, photos)
            truth = Path(folder) / "truth.json"
            truth.write_text(json.dumps(expected(run, photos)))
            if chosen.soak:
                soak(run, photos, truth, chosen)
            else:
                contest(run, photos, chosen)


if __name__ == "__main__":
    main()
