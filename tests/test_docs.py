"""The documentation: its snippets run, its pages hold what they should, its Japanese is whole."""

import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from babel.messages.pofile import read_po

from souron import registry
from souron.cli import main
from souron.evaluation import summary
from souron.kinds.codecs.image import as_image
from souron.report import diagram

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

SECONDS = re.compile(r"(budget=\"?)(\d+)s")


@pytest.fixture
def docs(monkeypatch):
    """The modules that build the site."""
    monkeypatch.syspath_prepend(DOCS)
    yield
    for name in ("build", "pages"):
        sys.modules.pop(name, None)


def snippets(page):
    return FENCE.findall(page.read_text(encoding="utf-8"))


PAGES = [ROOT / "README.md", *(page for page in sorted(DOCS.glob("*.md")) if snippets(page))]


@pytest.mark.usefixtures("same_eyes")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_works(page, photos, digits, capsys):
    """Its blocks run in order, beside a folder ``photos/`` and a digit in ``photo.png``. What
    trains for seconds trains for a tenth of them."""
    as_image(digits.input[0]).save("photo.png")
    assert snippets(page)
    for language, written in snippets(page):
        text = SECONDS.sub(lambda found: f"{found[1]}{int(found[2]) / 10}s", written)
        if language == "python":
            exec(compile(text, str(page), "exec"), {})
            continue
        for line in re.findall(r"^\$ souron (.*)$", text, re.MULTILINE):
            code = main.run(shlex.split(line))
            assert code == 0, f"souron {line}\n{capsys.readouterr().err}"


def test_both_readmes_show_the_same():
    """So that what the English one shows is run once."""
    [install, *shown] = snippets(ROOT / "README.md")
    assert "souron " not in install[1] and shown == snippets(ROOT / "README.ja.md")


def test_the_readme_names_the_two_commands():
    assert "$ make tour\n$ make test" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["cnn", "dcgan", "kmeans"])
def test_a_system_has_its_page_in_both_languages(name, docs, monkeypatch, tmp_path):
    """``make docs`` draws all of them, in all sizes."""
    import pages

    entry = registry.entries()[name]
    entry = replace(entry, sizes=tuple(dict.fromkeys(["tiny", "small", pages.size_drawn(entry)])))
    described = pages.describe(entry)
    for language, idea in (("en", entry.idea), ("ja", entry.ja)):
        monkeypatch.setenv("SOURON_LANG", language)
        text = pages.system(described)
        assert idea in text and entry.url in text
        assert f"`{name}_tiny`" in text and f"| `{name}` |" in text
        assert f"[{name}]({name}.md)" in pages.systems([entry])
    diagram.draw(described.lines, tmp_path / "layers.svg")
    assert (tmp_path / "layers.svg").stat().st_size > 2500


@pytest.mark.parametrize("name, parts", [("vae", ["encoder.0", "decoder.6"]), ("glow", ["levels.0", "levels.2"])])
def test_a_picture_has_what_learns_and_not_only_what_draws(name, parts):
    [line] = diagram.boxes(*summary.drawn(*registry.find(name)))
    assert line[0].kind == "input"
    assert [line[1].name, line[-1].name] == parts


def test_a_size_of_other_parts_is_not_the_one_drawn_but_can_be(docs):
    import pages

    entry = registry.entries()["dalle2"]
    assert pages.size_drawn(entry) == "small"
    names = [[box.name for box in line[1:]] for line in diagram.boxes(*summary.drawn(entry, "small"))]
    assert [line[0].split(".")[0] for line in names] == ["network", "prior", "decoder", "enlarger"]
    [karlo] = diagram.boxes(*summary.drawn(entry, "karlo"))
    assert {"karlo.decoder", "karlo.super_res_last"} < {box.name for box in karlo}


def line_of(name):
    [line] = diagram.boxes(*summary.drawn(*registry.find(name)))
    return line


def test_layers_of_volumes_words_and_one_dimension_have_their_kinds():
    volumes = line_of("unet_3d")
    assert {box.kind for box in volumes} == {"input", "convolution", "convolutions"}
    assert [diagram.channels(box) for box in volumes[:2]] == [1, volumes[1].shape[0]]
    assert diagram.side(diagram.Box("", "input", (2, 8, 8, 8))) == pytest.approx(8)
    kinds = {box.name: box.kind for box in line_of("visual_qa")}
    assert kinds["question.token"] == "embedding" and kinds["question.spans.0"] == "convolution"
    styles = diagram.boxes(*summary.drawn(*registry.find("stylegan2")))
    assert "other" not in {box.kind for line in styles for box in line}


def test_what_has_no_layers_is_drawn_by_its_stages():
    assert [box.name for box in line_of("kmeans")] == ["", "centres", "distances", "nearest centre"]
    assert [(box.name, box.shape) for box in line_of("bpe")] == [
        ("", ()),
        ("bytes", (256,)),
        ("merges", (4096, 2)),
        ("tokens", (4096,)),
    ]
    model, seen = summary.drawn(*registry.find("lora"))
    [line] = diagram.boxes(model, seen)
    weights = dict(model.named_parameters())
    thin = [box.name for box in line[2:]]
    assert thin == ["a.0_q", "b.0_q", "a.0_v", "b.0_v", "a.0_down", "b.0_down"]
    assert [box.shape[-1] for box in line[2:]] == [len(weights[name]) for name in thin], (
        "as many numbers as the matrix has rows"
    )


def test_other_threads_keep_autocast_while_a_system_is_drawn():
    seen = []

    class Drawn:
        def batch(self, rows):
            return rows

        def train(self):
            return self

        def eval(self):
            return self

        def updates(self, batch, step):
            with torch.autocast("meta", torch.bfloat16):
                seen.append(torch.autocast("cpu", torch.bfloat16)(lambda: torch.is_autocast_enabled("cpu"))())
            yield

    diagram.learn_once(Drawn(), None)
    assert seen == [True]


def test_a_picture_shows_the_layers_in_order_with_their_shapes(docs):
    import pages

    [row] = pages.describe(registry.entries()["cnn"]).lines
    assert [(box.kind, box.shape) for box in row] == [
        ("input", (1, 28, 28)),
        ("convolution", (6, 28, 28)),
        ("pooling", (6, 14, 14)),
        ("convolution", (16, 10, 10)),
        ("pooling", (16, 5, 5)),
        ("connected", (120,)),
        ("connected", (84,)),
        ("connected", (10,)),
    ]
    critic = pages.describe(registry.entries()["dcgan"]).lines[1]
    assert critic[0].shape == (3, 64, 64) and critic[-1].shape == (1, 1, 1)


def test_the_command_line_page_has_every_command_and_option(docs):
    import pages

    text = pages.commands()
    for verb in ("list", "show", "data", "train", "val", "predict", "compare", "fetch", "doctor"):
        assert f"\n## souron {verb}\n" in text
    assert "`budget=B`" in text and "`--freeze`" in text and "\x1b" not in text


def test_the_python_page_has_the_options_of_training(docs):
    import pages

    text = pages.python()
    assert "souron.train(\n    system: str = ''," in text and "budget: str = '60s'" in text
    assert "class RunRecord" in text and "model.val(" in text


# myst-parser still uses what Sphinx is about to remove
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_the_japanese_of_the_hand_written_pages_is_whole_and_of_today(docs, tmp_path):
    """``python docs/build.py --update`` brings new messages into the catalogues."""
    import build

    today = tmp_path / "today"
    build.templates(today)
    names = {file.stem for file in today.glob("*.pot")}
    assert names == {page.stem for page in DOCS.glob("*.md")}
    for name in sorted(names):
        wanted = {message.id for message in catalog(today / f"{name}.pot") if message.id}
        have = [m for m in catalog(DOCS / f"locale/ja/LC_MESSAGES/{name}.po") if m.id]
        assert {message.id for message in have} == wanted, name
        unfinished = [m.id for m in have if m.fuzzy or not m.string]
        assert not unfinished, (name, unfinished)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_a_broken_page_fails_the_brief_build_which_writes_none(docs, tmp_path, monkeypatch):
    """``python docs/build.py --brief``, of a site with one page."""
    import pages

    # isort: split
    import build

    described = []
    monkeypatch.setattr(pages, "describe_all", described.append)
    for name in ("draw", "write"):
        monkeypatch.setattr(pages, name, lambda *_given: None)
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["build.py", "--brief"])
    shutil.copy(DOCS / "conf.py", tmp_path)
    (tmp_path / "_static").mkdir()
    page = tmp_path / "index.md"
    page.write_text("# Site\n")
    assert build.main() == 0 and not list(tmp_path.rglob("*.html"))
    page.write_text("# Site\n\n[away](nowhere.md)\n")
    assert build.main() != 0
    assert described == [True, True], "no system is built"


def test_a_translation_keeps_code_and_links():
    """What stands in backticks, and where links lead, is the same in both languages."""
    for file in (DOCS / "locale/ja/LC_MESSAGES").glob("*.po"):
        for message in catalog(file):
            for pattern in (r"`[^`]+`", r"\]\([^)]*\)", r"\{[^}]*\}"):
                there = sorted(re.findall(pattern, message.string))
                assert sorted(re.findall(pattern, message.id)) == there, (file.name, message.id)


def catalog(file):
    with file.open("rb") as opened:
        return read_po(opened)
