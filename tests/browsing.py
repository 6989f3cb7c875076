"""A studio in a process of its own and a real Chromium to look at it, for tests and screenshots."""

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import waiting
from filelock import FileLock

from souron.utils.messages import _translations, use_language

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
FLAGS = (
    "--headless",
    "--hide-scrollbars",
    "--mute-audio",
    "--force-color-profile=srgb",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-popup-blocking",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--disable-background-timer-throttling",
    "--disable-ipc-flooding-protection",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
KEPT = Path(__file__).parent.parent / "build" / "studio"
PATIENCE = waiting.LIMIT * 1000  # milliseconds
LEFT = ("AbortError", "Connection errored out")  # said of a page that is left


def said(message: str, language: str) -> str:
    """What the studio says in that language."""
    with use_language(language):
        return _translations(language).gettext(message)


@dataclass
class Server:
    """``souron studio`` in a folder of its own."""

    folder: Path
    options: tuple[str, ...] = ()
    code: str = ""  # run in place of ``python -m souron``
    process: Any = None
    address: str = ""
    log: Path = field(default_factory=lambda: Path(tempfile.mkstemp(prefix="studio-", suffix=".log")[1]))

    @property
    def lines(self) -> list[str]:
        """The lines that it has printed until now."""
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)

    @property
    def command(self) -> dict[str, Any]:
        """Its words, folder and environment, as ``subprocess`` takes them."""
        environment = os.environ | {
            "SOURON_LANG": "en",
            "SOURON_CACHE": str(self.folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        how = ["-c", self.code] if self.code else ["-m", "souron"]
        words = [sys.executable, *how, "studio", "port=0", "--no-browser", *self.options]
        return {"args": words, "cwd": self.folder, "env": environment}

    def start(self) -> "Server":
        with self.log.open("w") as log:
            self.process = subprocess.Popen(**self.command, stdout=log, stderr=log)
        return self.started(lambda: self.process.poll() is None)

    def started(self, alive: Callable[[], bool]) -> "Server":
        """Itself, once it has printed its address."""

        def printed() -> str:
            return "".join(self.lines)

        found = waiting.until(lambda: re.search(r"https?://127\.0\.0\.1:\d+(?=\s|/)", printed()), alive, log=printed)
        self.address = found.group()
        return self

    def end(self, signal: int = 2) -> int:
        self.process.send_signal(signal)
        return self.process.wait(waiting.LIMIT)


def detached(server: Server) -> Server:
    """Start a studio that belongs to no process of the tests."""
    command = server.command
    command["args"] = ["sh", "-c", '"$@" > "$LOG" 2>&1 & echo $!', "sh", *command["args"]]
    command["env"] |= {"LOG": str(server.log)}
    told = subprocess.run(**command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True)
    server.process = psutil.Process(int(told.stdout))
    return server.started(lambda: waiting.alive(server.process))


@contextmanager
def one_for_all(folder: Path) -> Iterator[Server]:
    """One studio for all workers of a run: the first one starts it, the last one ends it.

    ``folder`` is where all of them look for it.
    """
    note, lock = folder / "studio.json", FileLock(folder / "studio.lock")
    (folder / "studio").mkdir(exist_ok=True)
    server = Server(folder / "studio", log=folder / "studio.log")
    with lock:
        state = json.loads(note.read_text()) if note.exists() else {"users": 0}
        if state["users"]:
            server.address, server.process = state["address"], psutil.Process(state["pid"])
        else:
            detached(server)
        state |= {"users": state["users"] + 1, "address": server.address, "pid": server.process.pid}
        note.write_text(json.dumps(state))
    try:
        yield server
    finally:
        with lock:
            users = json.loads(note.read_text())["users"] - 1
            note.write_text(json.dumps(state | {"users": users}))
            if not users:
                server.process.terminate()
                waiting.until(lambda: not waiting.alive(server.process))


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Server]:
    server = Server(folder, options).start()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.end()


@dataclass
class Visit:
    """A browser of its own: what it asked for outside of this machine, what went wrong."""

    page: Any
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Chromium:
    """A running browser."""

    address: str  # by which it is steered
    process: Any
    profile: str

    def end(self) -> None:
        self.process.kill()
        self.process.wait(waiting.LIMIT)
        shutil.rmtree(self.profile, ignore_errors=True)


@cache
def chromium() -> Chromium:
    """Start the one Chromium of this process."""
    profile = tempfile.mkdtemp()
    flags = [*FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    flags += ["--no-sandbox"] if os.getuid() == 0 else []
    log = Path(profile) / "log"
    with log.open("w") as written:
        browser = subprocess.Popen([CHROMIUM, *flags], stdout=written, stderr=written)

    def address() -> re.Match[str] | None:
        return re.search(r"DevTools listening on (ws://\S+)", log.read_text())

    found = waiting.until(address, lambda: browser.poll() is None, log=log.read_text)
    started = Chromium(found[1], browser, profile)
    atexit.register(started.end)
    return started


def connected(player: Any) -> Any:
    """The one Chromium, or a new one where that does not answer any more."""
    from playwright.sync_api import TimeoutError

    try:
        return player.chromium.connect_over_cdp(chromium().address)
    except TimeoutError:
        chromium().end()
        chromium.cache_clear()
        return player.chromium.connect_over_cdp(chromium().address)


@contextmanager
def visiting(language: str = "en", dark: bool = False, width: int = 1280) -> Iterator[Visit]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = connected(player)
        context = browser.new_context(
            locale={"en": "en-US", "ja": "ja-JP"}[language],
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",  # colours on their way are neither of the two to be judged
            viewport={"width": width, "height": 900},
            accept_downloads=True,
        )
        context.add_init_script(PENDING)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        visit = Visit(page)

        def asked(request: Any) -> None:
            if not re.match(r"(https?://127\.0\.0\.1[:/]|data:|blob:)", request.url):
                visit.outside.append(request.url)

        def logged(message: Any) -> None:
            if message.type == "error" and not any(part in message.text for part in LEFT):
                visit.errors.append(message.text)

        page.on("request", asked)
        page.on("console", logged)
        page.on("pageerror", lambda error: visit.errors.append(str(error)))
        try:
            yield visit
        except Exception:
            keep(page, "failed")
            raise
        finally:
            browser.close()


PENDING = """
const ask = window.fetch;
window.pending = 0;
window.fetch = async (address, asked) => {
  if (!String(address).includes("/run/predict")) return ask(address, asked);
  window.pending += 1;
  return ask(address, asked).finally(() => { window.pending -= 1; });
};
"""  # how many of the page's questions the studio has not yet answered

SETTLED = """
([still, most]) => new Promise((done) => {
  const begun = performance.now();
  let changed = begun;
  const watch = new MutationObserver(() => { changed = performance.now(); });
  watch.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
  const look = setInterval(() => {
    const now = performance.now();
    if (window.pending > 0) changed = now;
    if (now - changed < still && now - begun < most) return;
    clearInterval(look);
    watch.disconnect();
    done(now - changed >= still);
  }, 50);
})
"""


ESTIMATED = "!document.querySelector('.htmx-request')"  # nothing of the page is asked for any more, as a forecast is


def settle(page: Any) -> None:
    """Wait until every question of the page is answered and nothing is drawn any more."""
    assert page.evaluate(SETTLED, [300, PATIENCE]), "the page never comes to rest"


def keep(page: Any, name: str) -> None:
    """A picture of the page in ``build/studio``."""
    KEPT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=KEPT / f"{name}.png", full_page=True)


def axe(visit: Visit, server: Server, language: str, name: str) -> list[dict[str, Any]]:
    """What axe-core finds on a page: accessibility rules that are broken, with their impact."""
    from axe_playwright_python.sync_playwright import Axe

    path = "" if name == "lecture" else name
    visit.page.goto(f"{server.address}/{language}/{path}")
    visit.page.wait_for_selector("h1")
    settle(visit.page)
    waiting.until(lambda: visit.page.evaluate(ESTIMATED), every=0.2)
    return Axe().run(visit.page).response["violations"]
