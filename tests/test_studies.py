"""A study is one file: dropped into a folder of its own it has a command, help, JSON, a page in
both languages and a form in the studio."""

import asyncio
import importlib
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_cold_start import modules_after

import souron
from souron import registry
from souron.cli import app, main
from souron.cli.console import screen
from souron.studio import forms, jobs, run_list, run_view, security
from souron.studio.jobs import Jobs
from souron.studio.pages import study as study_page
from souron.studio.paths import Roots
from souron.studio.shared import PAGES, Studio
from souron.utils.messages import UserError, use_language

STORED = Path(__file__).parent / "stored"
STUDY = '''"""Count the words of texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from markupsafe import Markup

from souron.kinds.signature import Choice
from souron.runs.events import Event
from souron.study import Fact, Given, Record, Section, Study, Table
from souron.utils import files
from souron.utils.messages import N_, language


@dataclass(frozen=True)
class Options:
    least: Annotated[int, Choice(N_("letters of a word (default 1)"), low=1, high=30)] = 1
    only: Annotated[tuple[str, ...], Choice(N_("count these words"), metavar="WORD")] = ()
    upper: Annotated[bool, Choice(N_("keep capital letters"))] = False


@dataclass
class Counts(Record):
    eyebrow = "count"

    words: dict[str, int]
    folder: Path

    def page_title(self):
        return "Words counted"

    def as_json(self):
        return {"words": self.words, "total": sum(self.words.values())}

    def sentences(self):
        return [f"{sum(self.words.values())} words & more ({language()})."]

    def facts(self):
        return [Fact("different", str(len(self.words)), "by their letters")]

    def notes(self):
        return ["A word is what stands between blanks."]

    def tables(self):
        return [Table(("word", "count"), [(w, str(n)) for w, n in self.words.items()],
                      right=("count",))]

    def sections(self):
        return [Section("words", "The words", Markup("<p>{}</p>").format(" ".join(self.words)))]


class WordCount(Study):
    title = N_("Count the words of texts.")
    examples = ("souron wordcount notes.txt least=4", "souron wordcount a.txt b.txt only=fever")
    group = "language"
    given = Given("TEXTS", N_("texts to count in"), 1, 2)
    within = "audit"

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        counts: dict[str, int] = {}
        for number, path in enumerate(given):
            yield Event("read", number / len(given), text=path)
            for word in Path(path).read_text(encoding="utf-8").split():
                word = word if options.upper else word.lower()
                if len(word) >= options.least and (not options.only or word in options.only):
                    counts[word] = counts.get(word, 0) + 1
        place = files.new_folder(self.project / "wordcount", Path(given[0]).stem)
        yield Event("done", 1.0, record=Counts(counts, place))
'''


@pytest.fixture
def drop(tmp_path, monkeypatch):
    """Drop a file or folder into ``souron/studies``, elsewhere."""
    root = tmp_path / "elsewhere" / "souron"
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(souron, "__path__", [*souron.__path__, str(root)])

    def write(text=STUDY, name="wordcount.py"):
        file = root / "studies" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return file

    yield write
    for name in [name for name in sys.modules if name.startswith("souron.studies.wordcount")]:
        del sys.modules[name]


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "notes.txt").write_text("Fever and cough and fever", encoding="utf-8")
    (tmp_path / "more.txt").write_text("no fever", encoding="utf-8")


def test_a_dropped_study_is_a_command_with_its_own_help(drop, capsys):
    drop()
    assert main.run(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("Language")
    of_group = lines[at : lines.index("", at)]
    assert any(line.split() == ["wordcount", "Count", "the", "words", "of", "texts."]
               for line in of_group)  # fmt: skip
    assert main.run(["wordcount", "--help"]) == 0
    text = capsys.readouterr().out
    for part in ("TEXTS", "texts to count in", "least=N", "letters of a word", "only=WORD", "upper",
                 "project=FOLDER", "open", "souron wordcount notes.txt least=4"):  # fmt: skip
        assert part in text
    assert "wordcount" not in {one.name for one in app.app.registered_commands}


def test_it_prints_and_writes_one_record(drop, texts, tmp_path, capsys):
    drop()
    words = ["wordcount", "notes.txt", "more.txt", "only=fever", "only=and", "project=kept"]
    assert main.run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["words"] == {"fever": 3, "and": 2} and told["total"] == 5
    assert told["sentence"] == "5 words & more (en)."
    folder = tmp_path / "kept" / "wordcount" / "notes"
    assert told["page"] == "kept/wordcount/notes/report.html"
    stored = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    assert stored == {"words": told["words"], "total": 5}
    for name, language, other in (("report.html", "en", "ja"), ("report.ja.html", "ja", "en")):
        page = (folder / name).read_text(encoding="utf-8")
        assert f'<html lang="{language}">' in page and f'hreflang="{other}"' in page
        for part in ("<h1>Words counted</h1>", f"5 words &amp; more ({language}).", "different",
                     "by their letters", "A word is what stands between blanks.", 'id="words"',
                     "<p>fever and</p>"):  # fmt: skip
            assert part in page


def test_the_terminal_shows_results_on_stdout_and_caveats_on_stderr(drop, texts, capsys):
    drop()
    assert main.run(["wordcount", "notes.txt", "least=4", "upper=true"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("3 words & more (en).")
    rows = [line.split() for line in out.splitlines()]
    assert ["Fever", "1"] in rows and ["cough", "1"] in rows and ["and", "2"] not in rows
    assert rows[-1] == ["page:", "runs/wordcount/notes/report.html"]
    assert "A word is what stands between blanks." in err and "reading: notes.txt" in err
    assert main.run(["audit", "wordcount", "notes.txt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == 5


def test_it_runs_from_python(drop, texts, tmp_path):
    drop()
    study = registry.load_study("wordcount")(tmp_path / "kept")
    record = study.result("notes.txt", only=("fever",))
    assert record.words == {"fever": 2} and record.report.is_file()
    with pytest.raises(UserError, match="no option is named 'leest'") as caught:
        study.result("notes.txt", leest=2)
    assert "least" in caught.value.expected


@pytest.mark.parametrize(
    "words, error",
    [([], "[argument] TEXTS is missing"), (["a", "b", "c"], "[option] one thing too many: c"),
     (["notes.txt", "least=0"], "[value] least=0"), (["notes.txt", "least=31"], "[value] least=31"),
     (["notes.txt", "leest=2"], "[option] no option is named 'leest'")],
)  # fmt: skip
def test_what_it_does_not_take_is_refused(words, error, drop, texts, tmp_path, capsys):
    drop()
    assert main.run(["wordcount", *words]) == 2
    assert error in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_ctrl_c_ends_it_without_a_folder(drop, texts, tmp_path, capsys):
    drop(STUDY.replace("        place = ", "        raise KeyboardInterrupt\n        place = "))
    assert main.run(["wordcount", "notes.txt"]) == 130
    assert "interrupted" in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_a_study_may_be_a_folder(drop, texts, capsys):
    head, _class, tail = STUDY.partition("class WordCount(Study):")
    drop(head, "wordcount/record.py")
    start = "from souron.studies.wordcount.record import Counts\n"
    head = head[: head.index("@dataclass\nclass Counts")].replace("\n\n\n", f"\n{start}\n\n", 1)
    drop(head + _class + tail, "wordcount/__init__.py")
    assert main.run(["wordcount", "notes.txt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == 5


@pytest.mark.parametrize(
    "before, after, found, expected",
    [('    title = N_("Count the words of texts.")\n', "", "no title", "title = "),
     ('    group = "language"\n', "", "no group", "group = "),
     ('    given = Given("TEXTS", N_("texts to count in"), 1, 2)\n', "", "no given", "given = "),
     ("    examples = (", "    shown = (", "no examples", "examples = "),
     ("    def run(", "    def go(", "no run", "run(self, given, options)"),
     ("def run(self, given: Sequence[str], options: Options)", "def run(self, given)",
      "run(self, given)", "run(self, given, options)"),
     ("    def sentences(self)", "    def said(self)", "no sentences", "sentences(self)"),
     ("(Study)", "", "0 classes of Study", "1"),
     ('group = "language"', 'group = "tongues"', "no group is named tongues", "language"),
     ('Given("TEXTS"', "Given(NAME", "malformed node", "plain values"),
     ("least: Annotated[int, Choice(N_(\"letters of a word (default 1)\"), low=1, high=30)]",
      "least: int", "least is not Annotated with a Choice", "plain values")],
    ids=lambda text: text.strip()[:20],
)  # fmt: skip
def test_a_file_that_breaks_the_contract_is_named_with_what_is_missing(
    before, after, found, expected, drop, capsys
):
    assert before in STUDY
    drop(STUDY.replace(before, after))
    for words in (["wordcount", "notes.txt"], ["--help"]):
        assert main.run(words) == 2
        error = capsys.readouterr().err
        assert "[study file]" in error and "wordcount.py" in error
        assert found in error and expected in error and '"Add a study"' in error
    assert main.run(["version"]) == 0  # no other command minds


def test_help_of_a_study_imports_nothing_heavy(tmp_path):
    code = "from souron.cli.main import run; assert run(['exam', '--help']) == 0"
    assert not {"torch", "numpy", "matplotlib", "jinja2", "souron.study"} & modules_after(
        code, tmp_path
    )


# what a study may say besides


def changed(**lines):
    """The toy study with further class variables."""
    return STUDY.replace(
        '    within = "audit"\n',
        "".join(f"    {name} = {value}\n" for name, value in lines.items()),
    )


UNKEPT = changed(keeps=False).replace(
    'files.new_folder(self.project / "wordcount", Path(given[0]).stem)', 'self.new_folder("counts")'
)


def test_a_study_that_keeps_nothing_writes_where_a_folder_is_named(drop, texts, tmp_path, capsys):
    drop(UNKEPT)
    assert main.run(["wordcount", "notes.txt", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["total"] == 5 and "page" not in told and not (tmp_path / "runs").exists()
    assert main.run(["wordcount", "notes.txt", "--json=false"]) == 0
    assert "page:" not in capsys.readouterr().out and not (tmp_path / "runs").exists()
    assert main.run(["wordcount", "notes.txt", "project=kept"]) == 0
    assert "page: kept/wordcount/counts/report.html" in capsys.readouterr().out
    assert (tmp_path / "kept/wordcount/counts/record.json").is_file()
    kind = registry.load_study("wordcount")
    assert kind().result("notes.txt").folder is None
    assert kind(tmp_path / "more").result("notes.txt").report.is_file()


def test_an_opened_page_is_written(drop, texts, tmp_path, monkeypatch):
    drop(UNKEPT)
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main.run(["wordcount", "notes.txt", "open=true"]) == 0
    assert opened == [(tmp_path / "runs/wordcount/counts/report.html").as_uri()]


ASKING = STUDY.replace("Fact, Given", "Ask, Fact, Given").replace(
    "        place =",
    """        ask = Ask("which? ", [("one or two", "bold")])
        yield Event("read", record=ask)
        counts[f"{ask.reply!r}"] = 1
        yield Event("read", record=Ask(texts=[("thank you", "")]))
        place =""",
)


@pytest.mark.parametrize(("typed", "reply"), [("two\n", "'two\\n'"), ("\n", "'\\n'"), ("", "None")])
def test_a_study_may_ask_whoever_runs_it(typed, reply, drop, texts, capsys, monkeypatch):
    drop(ASKING)
    for words in (["--json=false"], ["--json"]):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        assert main.run(["wordcount", "notes.txt", *words]) == 0
        out, err = capsys.readouterr()
        shown, other = (err, out) if screen.json else (out, err)
        assert shown.index("one or two") < shown.index("thank you") and "which? " in err
        assert "one or two" not in other
        last = out.splitlines()[-1]
        assert reply in (json.loads(last)["words"] if screen.json else out)


def test_where_nobody_answers_python_goes_on(drop, texts, tmp_path):
    drop(ASKING)
    record = registry.load_study("wordcount")(tmp_path).result("notes.txt")
    assert record.words["None"] == 1


def test_a_record_may_print_what_it_likes(drop, texts, capsys):
    """A CSV as it is, blanks at the ends of lines and all; a remark beside it on stderr."""
    shown = """    def shown(self):
        return [Plain("a,b \\n1,2\\x1b\\n"), Note("a remark"), "the end"]

    def notes(self):"""
    text = STUDY.replace("    def notes(self):", shown).replace(
        "Fact, Given", "Fact, Given, Note, Plain"
    )
    drop(text)
    assert main.run(["wordcount", "notes.txt", "--json=false"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("a,b \n1,2\x1b\nthe end\npage: ") and "a remark" in err


def test_tables_are_the_page_of_a_record_without_sections(drop, texts, tmp_path):
    a, b = STUDY.index("    def sections"), STUDY.index("\n\n\nclass WordCount")
    drop(STUDY[:a].rstrip() + STUDY[b:])
    record = registry.load_study("wordcount")(tmp_path).result("notes.txt", only=("fever",))
    page = record.report.read_text(encoding="utf-8")
    assert '<th scope="row">fever</th><td class="num">2</td>' in page
    assert 'href="#table-1"' in page


ENDING = STUDY.replace(
    '            yield Event("read", number / len(given), text=path)\n',
    """            try:
                yield Event("read", text=path)
                raise KeyboardInterrupt
            except KeyboardInterrupt:
                place = files.new_folder(self.project / "wordcount", "stopped")
                yield Event("done", 1.0, record=Counts({"stopped": 1}, place))
                return
""",
)


def test_ctrl_c_may_end_it_with_a_record(drop, texts, capsys, monkeypatch):
    """As a camera's, which has no other end."""
    drop(ENDING.replace("                raise KeyboardInterrupt\n", ""))
    monkeypatch.setattr("souron.cli.console.words", lambda event: press())

    def press():
        raise KeyboardInterrupt

    assert main.run(["wordcount", "notes.txt", "--json=false"]) == 0
    assert "stopped" in capsys.readouterr().out


# the studio


@pytest.fixture
def studio(tmp_path, monkeypatch):
    project = tmp_path / "runs"
    monkeypatch.chdir(tmp_path)
    return Studio(project, Roots([tmp_path]), Jobs(project), "en")


def built(make):
    """What ``make`` makes of the blocks of a page; Gradio wants an event loop for that."""
    import gradio as gr

    async def build():
        with gr.Blocks() as blocks:
            return make(blocks)

    return asyncio.run(build())


def test_the_studio_has_a_form_of_its_options(drop, texts, studio):
    import gradio as gr

    drop()
    form = built(lambda _blocks: study_page.Form(registry.study("wordcount"), True))
    assert list(form.fields) == ["files", "least", "only", "upper"]
    assert [type(widget) for widget in form.widgets] == [gr.Textbox] * 3 + [gr.Checkbox]
    assert form.widgets[0].label == "texts to count in"
    said = ("notes.txt\nmore.txt", "4", "fever\nand", True)
    words = [
        "wordcount",
        "notes.txt",
        "more.txt",
        "least=4",
        "only=fever",
        "only=and",
        "upper=true",
    ]
    assert form.words(said) == words
    same = form.same_as(*said)
    assert "souron wordcount notes.txt more.txt least=4 only=fever only=and upper=true" in same
    assert "WordCount().result(" in same and "least=4" in same
    job = studio.jobs.start(words, "en")
    assert not job.brief and form.held(job) == ["notes.txt\nmore.txt", "4", "fever\nand", True]
    with pytest.raises(UserError, match="no command is named"):
        jobs.check(["wordcounts"], "en")


def test_the_page_offers_each_study_once_and_shows_the_report(drop, texts, studio, capsys):
    drop()
    assert PAGES.count("study") == 1
    blocks = built(lambda blocks: study_page.page(replace(studio, blocks=blocks)) or blocks)
    [offered] = [one for one in blocks.blocks.values() if getattr(one, "label", "") == "tool"]
    assert [name for _shown, name in offered.choices] == list(registry.studies())
    assert "wordcount" in registry.studies()
    assert main.run(["wordcount", "notes.txt", "--json"]) == 0
    job = studio.jobs.start(["wordcount", "notes.txt"], "en")
    (job.place / "result.json").write_text(capsys.readouterr().out, encoding="utf-8")
    html = study_page.outcome(studio, job)
    assert "5 words &amp; more (en)." in html
    assert 'src="/runs/wordcount/notes/report.html"' in html
    assert 'href="/report/en/wordcount/notes"' in html
    japanese = study_page.outcome(replace(studio, language="ja"), job)
    assert "(en)" not in japanese
    assert 'src="/runs/wordcount/notes/report.ja.html"' in japanese


def test_a_number_that_is_none_is_refused_by_the_form(drop):
    drop()
    form = built(lambda _blocks: study_page.Form(registry.study("wordcount"), True))
    with use_language("en"), pytest.raises(UserError, match="letters of a word=many"):
        form.words(("notes.txt", "many", "", False))
    assert forms.chosen(form.fields.values(), ["", "", "", False]) == {}


TEXTS = STUDY.replace(
    'Given("TEXTS", N_("texts to count in"), 1, 2)',
    'Given("TEXTS", N_("texts to count in"), 1, 2, texts=("first words", "more"))',
)


def test_texts_have_areas_and_stand_behind_two_dashes(drop, texts, studio):
    drop(TEXTS)
    form = built(lambda _blocks: study_page.Form(registry.study("wordcount"), True))
    assert [widget.value for widget in form.widgets[:2]] == ["first words", "more"]
    hostile = "--json\n\nepochs=5; a text of two paragraphs"
    said = (hostile, "", "4", "", True)
    words = ["wordcount", "least=4", "upper=true", "--", hostile]
    assert form.words(said) == words
    job = studio.jobs.start(words, "en")
    assert form.held(job) == [hostile, "", "4", "", True]
    assert form.read((" ", "b", "", "", False)) == (["b"], {})


def test_a_text_that_is_a_file_must_lie_where_the_studio_may_read(drop, texts, studio, tmp_path):
    drop(TEXTS)
    form = built(lambda _blocks: study_page.Form(registry.study("wordcount"), True))
    assert form.paths(["notes.txt", "no file", "a" * 5000], {}) == ["notes.txt"]
    outside = tmp_path.parent / "outside.txt"
    outside.write_text("secret")
    with pytest.raises(UserError, match="outside"):
        studio.roots.command(form.paths([str(outside)], {}))
    studio.roots.command(form.paths(["/no/such/file, a text", "x" * 300], {}))


def test_runs_are_offered_as_they_come(drop, studio):
    drop(STUDY.replace('metavar="WORD")', 'metavar="WORD", of=("complete", "tokenize"))'))
    form = built(lambda _blocks: study_page.Form(registry.study("wordcount"), True))
    place = list(form.fields).index("only")
    before = form.opened(studio, None, {})[place]["choices"]
    run = studio.project / "complete" / "gpt-mine"
    (run / "weights").mkdir(parents=True)
    (run / "args.yaml").write_text("system: gpt\n")
    assert form.opened(studio, None, {})[place]["choices"] == before  # it has not learnt yet
    (run / "weights" / "best.safetensors").touch()
    other = studio.project / "classify" / "cnn-digits" / "weights"
    other.mkdir(parents=True)
    (other.parent / "args.yaml").write_text("system: cnn\n")
    (other / "best.safetensors").touch()
    update = form.opened(studio, None, {})[place]
    assert [name for _shown, name in update["choices"]] == [str(run), *(one for _, one in before)]
    assert update["value"] == str(run)
    assert form.opened(studio, None, {"only": "fever"})[place]["value"] == "fever"


def test_an_address_fills_the_form(drop, studio):
    drop()
    form = built(lambda _blocks: study_page.Form(registry.study("wordcount"), True))
    values = form.opened(studio, None, {"least": "4", "files": "no"})
    assert values[1] == "4" and all(isinstance(one, dict) for one in (values[0], *values[2:]))


def test_a_brief_study_does_not_wait_behind_a_training(drop, texts, studio):
    file = drop(changed(brief=True))
    job = studio.jobs.start(["wordcount", "notes.txt"], "en")
    assert job.brief
    drop(changed(brief=False))
    assert not job.brief
    file.write_text("class Broken(Study):\n    pass\n", encoding="utf-8")
    assert not job.brief


def test_a_study_may_have_a_page_for_hands(drop, studio):
    drop(changed(page='"train"'))
    with use_language("en"):
        blocks = built(lambda blocks: study_page.Form(registry.study("wordcount"), True) and blocks)
    [link] = [
        one for one in blocks.blocks.values() if "/en/train" in str(getattr(one, "value", ""))
    ]
    assert "the page Train" in link.value


def test_the_address_of_a_study_leads_to_its_form(drop, studio):
    drop()
    assert studio.url("wordcount", least=4) == "/en/study?study=wordcount&least=4"
    assert security.tool_of("/ja/wordcount").groups() == ("ja", "wordcount")
    assert security.tool_of("/en/tokens/") and not security.tool_of("/en/arena")
    for path in ("/en/train", "/en/nothing", "/fr/wordcount", "/en/wordcount/x", "/wordcount"):
        assert not security.tool_of(path)


def test_pages_of_studies_are_called_by_what_they_do(drop, studio):
    drop()
    place = studio.project / "wordcount" / "notes"
    place.mkdir(parents=True)
    (place / "report.html").touch()
    [page] = run_list.pages(studio.project)
    with use_language("en"):
        assert run_view.kind_of(page) == "Count the words of texts"
