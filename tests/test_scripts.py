"""JavaScript: one step lints it and checks its types; a part of a page begins once all of it is there."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import browsing
import pytest

HOUSE = Path(__file__).parent.parent
DENO = Path(sysconfig.get_path("scripts")) / "deno"
STATIC = HOUSE / "souron" / "studio" / "static"
WITH_DENO = pytest.mark.skipif(not DENO.exists(), reason="there is no deno: make install-dev")
CHROMIUM = pytest.mark.skipif(not browsing.CHROMIUM, reason="there is no Chromium: apt-get install chromium")


@pytest.fixture
def house(tmp_path):
    """A folder in which ``make scripts`` finds Deno, its settings and no script."""
    for name in ("Makefile", "deno.jsonc", "souron/studio/types.d.ts"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HOUSE / name, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "deno").symlink_to(DENO)
    return tmp_path


def checked(house, ci="", **scripts):
    """The exit code of the step, and what it says of these scripts."""
    for name, text in scripts.items():
        (house / f"{name}.js").write_text(text, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--silent", "--old-file=install-dev", "scripts"]
    done = subprocess.run(
        command, cwd=house, env=environment | {"CI": ci, "NO_COLOR": "1"}, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@WITH_DENO
def test_the_step_names_what_the_linter_finds(house):
    code, said = checked(house, wrong='export const word = (text) => { const left = 1; return text == "a"; };\n')
    assert code != 0 and "no-unused-vars" in said and "eqeqeq" in said and "wrong.js:1" in said


@WITH_DENO
@pytest.mark.slow
def test_the_step_names_what_the_type_check_finds(house):
    right = "/** @type {(text: string) => number} */\nexport const length = (text) => text.length;\n"
    assert checked(house, right=right)[0] == 0
    wrong = 'import { length } from "./right.js";\nlength(3);\ndocument.querySelector("h1").remove();\nnothing();\n'
    code, said = checked(house, wrong=wrong)
    assert code != 0 and all(f"wrong.js:{line}" in said for line in (2, 3, 4)) and "right.js:" not in said


def test_without_deno_only_continuous_integration_fails(house):
    (house / ".venv" / "bin" / "deno").unlink()
    for ci in ("", "true"):
        code, said = checked(house, ci)
        assert (code != 0) == bool(ci) and "no deno" in said


PAGE = """<!DOCTYPE html><script src="/static/studio.js" data-language="en"></script>
<main id="page"><div data-module="/part.js"><script src="/slow.js"></script>
<button id="failing">a</button><button id="other">b</button></div></main>
<aside id="wrong" hidden><div></div></aside>"""
PART = """import { complain } from "/static/plain.js";
export const begin = (part) => {
  part.dataset.called = "";
  part.querySelector("#failing").addEventListener("click", () => complain("failed"));
};"""


def answering(page, held=()):
    """Let the page get its files from here; the routes of those in ``held`` by their paths."""
    texts, routes = {"/": PAGE, "/part.js": PART, "/slow.js": ""}, {}

    def answer(route):
        path = route.request.url.removeprefix("http://127.0.0.1:9")
        text = (STATIC / path.removeprefix("/static/")).read_text("utf-8") if "/static/" in path else texts[path]
        kind = "text/html" if path == "/" else "text/javascript"
        routes[path] = lambda: route.fulfill(body=text, content_type=kind)
        if path not in held:
            routes[path]()

    page.route("http://127.0.0.1:9/**", answer)
    return routes


@pytest.mark.slow
@CHROMIUM
def test_a_part_begins_once_all_of_it_is_there():
    with browsing.visiting() as visit:
        page = visit.page
        routes = answering(page, held=("/slow.js",))
        with page.expect_request("**/slow.js"):
            page.goto("http://127.0.0.1:9/", wait_until="commit")
        page.wait_for_selector("[data-module]", state="attached")  # the parser stands within it
        page.evaluate("import('/part.js').then(() => {})")
        assert page.locator("[data-called]").count() == 0
        routes["/slow.js"]()
        page.wait_for_selector("[data-begun]")
        assert visit.errors == []


@pytest.mark.slow
@CHROMIUM
def test_a_part_says_when_it_answers_and_what_goes_wrong_at_once_is_seen():
    with browsing.visiting() as visit:
        page = visit.page
        routes = answering(page, held=("/part.js",))
        with page.expect_request("**/part.js"):
            page.goto("http://127.0.0.1:9/")
        assert page.locator("[data-begun]").count() == 0
        routes["/part.js"]()
        page.wait_for_selector("[data-begun]")
        page.click("#failing")
        assert page.is_visible("#wrong") and page.inner_text("#wrong") == "failed"
        page.click("#other")
        assert page.is_hidden("#wrong") and visit.errors == []
