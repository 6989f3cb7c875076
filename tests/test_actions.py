"""A study is one file: dropped into a folder of its own it has a command, help, JSON, a page in
both languages and a form in the studio."""

import importlib
import io
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import plain_forms
import pytest
import roots
import test_serving as serving
import waiting
from PIL import Image
from test_cold_start import modules_after
from test_stored_results import shape

import souron
from souron import model, registry
from souron.action import Record, Table, sections
from souron.cli import actions, app, console, main
from souron.cli.console import screen
from souron.kinds.codecs import provenance
from souron.report import page
from souron.runs.options import ON_THE_COMMAND_LINE
from souron.serve import access
from souron.serve.api import Gate
from souron.serve.service import Service
from souron.serve.uploads import Limits
from souron.studio.forms import command_form
from souron.studio.jobs import job_queue
from souron.studio.jobs.job_queue import Jobs
from souron.studio.pages import study as study_page
from souron.studio.runs import run_list, run_view
from souron.studio.security import access as security
from souron.studio.security import upload_names as sent
from souron.studio.security.access import Guard
from souron.studio.security.paths import Roots
from souron.studio.shared import PAGES, Studio
from souron.utils import units
from souron.utils.messages import UserError, use_language

STORED = Path(__file__).parent / "stored"
STUDY = '''"""Count the words of texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from souron.kinds.signature import Choice
from souron.runs.events import Event
from souron.action import Fact, Given, Record, Section, Action, Table, text_of
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
        return [Section("words", "The words", [" ".join(self.words)])]


class WordCount(Action):
    title = N_("Count the words of texts.")
    examples = ("souron wordcount notes.txt least=4", "souron wordcount a.txt b.txt only=fever")
    group = "language"
    given = Given("TEXTS", N_("texts to count in"), 1, 2)
    within = "audit"

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        counts: dict[str, int] = {}
        texts = [text_of(one) for one in given]
        for number, text in enumerate(texts):
            yield Event("read", number / len(texts), text=text.file)
            for word in text.text.split():
                word = word if options.upper else word.lower()
                if len(word) >= options.least and (not options.only or word in options.only):
                    counts[word] = counts.get(word, 0) + 1
        place = self.new_folder(Path(texts[0].file).stem)
        yield Event("done", 1.0, record=Counts(counts, place))
'''


@pytest.fixture
def drop(tmp_path, monkeypatch):
    """Drop a file or folder into ``souron/actions``, elsewhere."""
    root = tmp_path / "elsewhere" / "souron"
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(souron, "__path__", [*souron.__path__, str(root)])

    def write(text=STUDY, name="wordcount.py"):
        file = root / "actions" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return file

    yield write
    for name in [name for name in sys.modules if name.startswith("souron.actions.wordcount")]:
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
    assert any(line.split() == ["wordcount", "Count", "the", "words", "of", "texts."] for line in of_group)
    assert main.run(["wordcount", "--help"]) == 0
    text = capsys.readouterr().out
    for part in (
        "TEXTS",
        "texts to count in",
        "least=N",
        "letters of a word",
        "only=WORD",
        "upper",
        "project=FOLDER",
        "open",
        "souron wordcount notes.txt least=4",
    ):
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
        for part in (
            "<h1>Words counted</h1>",
            f"5 words &amp; more ({language}).",
            "different",
            "by their letters",
            "A word is what stands between blanks.",
            'id="words"',
            "<p>fever and</p>",
        ):
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


def test_an_audit_in_one_file_is_found_under_souron_audit(drop, texts, capsys):
    drop()
    assert main.run(["audit", "--help"]) == 0
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "wordcount TEXTS Count the words of texts." in rows
    assert "souron audit wordcount notes.txt least=4" in rows
    for name in ("generated REAL", "improper MODEL", "ledger RUN", "memorisation RUN", "provenance FILES"):
        assert [row for row in rows if row.startswith(f"{name} ")], name
    assert main.run(["audit", "wordcount", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("souron audit wordcount TEXTS") and "least=N" in text
    words = ["audit", "wordcount", "notes.txt", "least=4", "--upper", "--json"]
    assert main.run(words) == 0
    assert json.loads(capsys.readouterr().out)["words"] == {"Fever": 1, "cough": 1, "fever": 1}
    assert main.run(["audit", "wordcount", "notes.txt", "leest=4"]) == 2
    assert "least" in capsys.readouterr().err


def test_a_study_that_is_no_audit_is_none(drop, texts, capsys):
    drop(STUDY.replace('    within = "audit"\n', ""))
    for words in (["audit", "wordcount", "notes.txt"], ["audit", "exam", "nearest"]):
        assert main.run(words) == 2
        error = capsys.readouterr().err
        assert f"there is no audit named '{words[1]}'" in error and "memorisation" in error
    assert main.run(["audit"]) == 2 and "NAME is missing" in capsys.readouterr().err


def test_one_thing_too_many_is_named_where_one_is_taken(drop, texts, capsys):
    drop(STUDY.replace('N_("texts to count in"), 1, 2)', 'N_("a text"))'))
    assert main.run(["wordcount", "notes.txt", "more.txt"]) == 2
    assert "one thing too many: more.txt" in capsys.readouterr().err
    assert main.run(["wordcount", "--help"]) == 0
    assert capsys.readouterr().out.startswith("souron wordcount TEXTS [option")


LOOKUP = STUDY.replace('    within = "audit"\n', "    lookup = True\n").replace(
    'files.new_folder(self.project / "wordcount", Path(given[0]).stem)', "self.new_folder(Path(given[0]).stem)"
)


def test_a_lookup_writes_only_where_it_is_asked_to(drop, texts, tmp_path, capsys):
    drop(LOOKUP)
    before = sorted(tmp_path.iterdir())
    assert main.run(["wordcount", "notes.txt", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["total"] == 5 and "page" not in told
    assert main.run(["wordcount", "notes.txt"]) == 0
    assert "page:" not in capsys.readouterr().out and sorted(tmp_path.iterdir()) == before
    for name in ("notes", "notes-2"):
        assert main.run(["wordcount", "notes.txt", "project=kept", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["page"] == f"kept/wordcount/{name}/report.html" and Path(told["page"]).is_file()
    record = registry.load_action("wordcount")(tmp_path / "own").result("notes.txt")
    assert record.report == tmp_path / "own/wordcount/notes/report.html"


def test_without_sections_the_page_shows_the_tables(drop, texts):
    head, _sections, tail = STUDY.partition("    def sections(self):")
    drop(head + tail[tail.index("\n\n\nclass WordCount") :])
    assert main.run(["wordcount", "notes.txt", "--json"]) == 0
    for name, title in (("report.html", "Result"), ("report.ja.html", "結果")):
        page = Path("runs/wordcount/notes", name).read_text("utf-8")
        assert f'<h2 id="tables">{title}</h2>' in page
        assert '<th scope="col">word</th><th scope="col" class="num">count</th>' in page
        assert '<th scope="row">fever</th><td class="num">2</td>' in page


def test_a_record_may_name_its_files_and_report_what_failed(drop, texts, studio, capsys):
    more = (
        '    eyebrow = "count"\n    page_file, json_file = "words.html", "words.json"\n'
        "\n    @property\n    def exit_code(self):\n        return 3\n"
    )
    drop(STUDY.replace('    eyebrow = "count"\n', more))
    assert main.run(["wordcount", "notes.txt", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    folder = Path("runs/wordcount/notes")
    assert told["page"] == str(folder / "words.html") and told["total"] == 5
    assert {file.name for file in folder.iterdir()} == {"words.html", "words.ja.html", "words.json"}
    assert 'href="words.ja.html"' in (folder / "words.html").read_text("utf-8")
    job = studio.jobs.start(["wordcount", "notes.txt"], "en")
    (job.place / "result.json").write_text(json.dumps(told), encoding="utf-8")
    for language, name in (("en", "words.html"), ("ja", "words.ja.html")):
        html = study_page.outcome(replace(studio, language=language), job)
        assert html.count(f"/runs/wordcount/notes/{name}") == 2  # in the page, and alone


def test_a_table_is_shown_with_its_text_in_the_terminal_and_on_the_page(capsys):
    table = Table(("word", "count"), [("<b>fever", "3")], right=("count",), text="Counted & sorted")
    [part] = sections(("words", "The words", [table]))
    assert (part.name, part.title) == ("words", "The words")
    for text in ("&lt;b&gt;fever", '<td class="num">3</td>', "Counted &amp; sorted"):
        assert text in page.html(part.drawn())
    record = SimpleNamespace(sentences=list, tables=lambda: [table], notes=list)
    record.shown = lambda: Record.shown(record)
    actions.print_record(record)
    lines = capsys.readouterr().out.split("\n")
    assert lines.index("Counted & sorted") == lines.index("<b>fever      3") + 1


def test_a_lookup_is_written_where_that_is_asked_for(drop, texts, capsys):
    drop(STUDY.replace('    within = "audit"', "    lookup = True"))
    assert main.run(["wordcount", "notes.txt", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {"words", "total", "sentence"}
    assert not [*Path("runs").rglob("*.html")]
    assert main.run(["wordcount", "notes.txt", "project=runs"]) == 0
    [last] = [line for line in capsys.readouterr().out.split("\n") if line.startswith("page:")]
    assert Path(last.removeprefix("page: ")).is_file()


def test_it_runs_from_python(drop, texts, tmp_path):
    drop()
    study = registry.load_action("wordcount")(tmp_path / "kept")
    record = study.result("notes.txt", only=("fever",))
    assert record.words == {"fever": 2} and record.report.is_file()
    with pytest.raises(UserError, match="no option is named 'leest'") as caught:
        study.result("notes.txt", leest=2)
    assert "least" in caught.value.expected


@pytest.mark.parametrize(
    "words, error",
    [
        ([], "[argument] TEXTS is missing"),
        (["a", "b", "c"], "[option] one thing too many: c"),
        (["notes.txt", "least=0"], "[value] least=0"),
        (["notes.txt", "least=31"], "[value] least=31"),
        (["notes.txt", "leest=2"], "[option] no option is named 'leest'"),
    ],
)
def test_what_it_does_not_take_is_refused(words, error, drop, texts, tmp_path, capsys):
    drop()
    assert main.run(["wordcount", *words]) == 2
    assert error in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_ctrl_c_ends_it_without_a_folder(drop, texts, tmp_path, capsys):
    drop(STUDY.replace("        place = ", "        raise KeyboardInterrupt\n        place = "))
    assert main.run(["wordcount", "notes.txt"]) == 130
    assert "interrupted" in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_a_study_may_be_a_folder(drop, texts, capsys):
    head, _class, tail = STUDY.partition("class WordCount(Action):")
    drop(head, "wordcount/record.py")
    start = "from souron.actions.wordcount.record import Counts\n"
    head = head[: head.index("@dataclass\nclass Counts")].replace("\n\n\n", f"\n{start}\n\n", 1)
    drop(head + _class + tail, "wordcount/__init__.py")
    assert main.run(["wordcount", "notes.txt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == 5


@pytest.mark.parametrize(
    "before, after, found, expected",
    [
        ('    title = N_("Count the words of texts.")\n', "", "no title", "title = "),
        ('    group = "language"\n', "", "no group", "group = "),
        ('    given = Given("TEXTS", N_("texts to count in"), 1, 2)\n', "", "no given", "given = "),
        ("    examples = (", "    shown = (", "no examples", "examples = "),
        ("    def run(", "    def go(", "no run", "run(self, given, options)"),
        (
            "def run(self, given: Sequence[str], options: Options)",
            "def run(self, given)",
            "run(self, given)",
            "run(self, given, options)",
        ),
        ("    def sentences(self)", "    def said(self)", "no sentences", "sentences(self)"),
        ("(Action)", "", "0 classes of Action", "1"),
        ('group = "language"', 'group = "tongues"', "no group is named tongues", "language"),
        ('Given("TEXTS"', "Given(NAME", "malformed node", "plain values"),
        (
            'least: Annotated[int, Choice(N_("letters of a word (default 1)"), low=1, high=30)]',
            "least: int",
            "least is not Annotated with a Choice",
            "plain values",
        ),
    ],
    ids=lambda text: text.strip()[:20],
)
def test_a_file_that_breaks_the_contract_is_named_with_what_is_missing(before, after, found, expected, drop, capsys):
    assert before in STUDY
    drop(STUDY.replace(before, after))
    for words in (["wordcount", "notes.txt"], ["--help"]):
        assert main.run(words) == 2
        error = capsys.readouterr().err
        assert "[action file]" in error and "wordcount.py" in error
        assert found in error and expected in error and '"Add an action"' in error
    assert main.run(["version"]) == 0  # no other command minds


def test_help_of_a_study_imports_nothing_heavy(tmp_path):
    code = "from souron.cli.main import run; assert run(['exam', '--help']) == 0"
    assert not {"torch", "numpy", "matplotlib", "jinja2", "souron.action"} & modules_after(code, tmp_path)


# what a study may say besides


def changed(**lines):
    """The toy study with further class variables."""
    return STUDY.replace('    within = "audit"\n', "".join(f"    {name} = {value}\n" for name, value in lines.items()))


UNKEPT = changed(lookup=True).replace("Path(texts[0].file).stem", '"counts"')


def test_a_tool_stands_below_the_question_that_it_answers(drop, studio):
    drop(changed(question='N_("How many words?")'))
    page = study_page.by_question(studio, "")
    sections = dict(re.findall(r"<section><h2>(.*?)</h2>(.*?)</section>", page))
    assert list(sections)[:2] == ["Which is better?", "How many patients?"] and list(sections)[-1] == "How many words?"
    assert re.findall(r"<small>(\w+)", sections["How many words?"]) == ["wordcount"]
    assert re.findall(r"<small>(\w+)", sections["How many patients?"]) == ["plan"]
    more = page.partition("More tools")[2]
    assert "<small>tune" in more and "<small>plan" not in more
    assert sorted(re.findall(r"<small>(\w+)", page)) == sorted(study_page.tools())
    assert "<summary>All tools" in study_page.by_question(studio, "plan") and "<summary>All tools" not in page


def test_a_lookup_leaves_no_folder_but_the_one_named(drop, texts, tmp_path, capsys):
    drop(UNKEPT)
    assert main.run(["wordcount", "notes.txt", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["total"] == 5 and "page" not in told and not (tmp_path / "runs").exists()
    assert main.run(["wordcount", "notes.txt", "--json=false"]) == 0
    assert "page:" not in capsys.readouterr().out and not (tmp_path / "runs").exists()
    assert main.run(["wordcount", "notes.txt", "project=kept"]) == 0
    assert "page: kept/wordcount/counts/report.html" in capsys.readouterr().out
    assert (tmp_path / "kept/wordcount/counts/record.json").is_file()
    kind = registry.load_action("wordcount")
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
    record = registry.load_action("wordcount")(tmp_path).result("notes.txt")
    assert record.words["None"] == 1


def test_a_record_may_print_what_it_likes(drop, texts, capsys):
    """A CSV as it is, blanks at the ends of lines and all; a remark beside it on stderr."""
    shown = """    def shown(self):
        return [Plain("a,b \\n1,2\\x1b\\n"), Note("a remark"), "the end"]

    def notes(self):"""
    text = STUDY.replace("    def notes(self):", shown).replace("Fact, Given", "Fact, Given, Note, Plain")
    drop(text)
    assert main.run(["wordcount", "notes.txt", "--json=false"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("a,b \n1,2\x1b\nthe end\npage: ") and "a remark" in err


def test_what_a_record_says_below_its_page_is_printed_there(drop, texts, capsys):
    drop(
        STUDY.replace(
            "    def notes(self):",
            """    def below(self):
        return ["and now: souron list"]

    def notes(self):""",
        )
    )
    assert main.run(["wordcount", "notes.txt", "--json=false"]) == 0
    page, _, below = capsys.readouterr().out.partition("report.html")
    assert "page: " in page and "and now: souron list" in below


@pytest.mark.parametrize("name", ["imgsz", "lr0", "side", "rate"])
def test_an_option_arrives_by_the_name_that_the_action_gave_it(name, drop, texts, capsys):
    """Some options of trainings have another name on the command line: ``side`` is ``imgsz`` there."""
    drop(STUDY.replace("least", name))
    word = ON_THE_COMMAND_LINE.get(name, name)
    assert main.run(["wordcount", "notes.txt", f"{word}=4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["words"] == {"fever": 2, "cough": 1}


ENDING = STUDY.replace(
    '            yield Event("read", number / len(texts), text=text.file)\n',
    """            try:
                yield Event("read", text=text.file)
            except KeyboardInterrupt:
                yield Event("done", 1.0, record=Counts({"stopped": 1}, self.new_folder("stopped")))
                return
""",
)


def test_ctrl_c_may_end_it_with_a_record(drop, texts, capsys, monkeypatch):
    """As a camera's, which has no other end."""
    drop(ENDING)
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


def form_of(studio, name="wordcount"):
    return study_page.Form(studio, registry.action(name))


def test_the_studio_has_a_form_of_its_options(drop, texts, studio):
    drop()
    form = form_of(studio)
    assert list(form.fields) == ["files", "least", "only", "upper"]
    assert '<label for="field-files">texts to count in</label>' in form.html({})
    said = plain_forms.form(files="notes.txt\nmore.txt", least="4", only="fever\nand", upper="true")
    words = ["wordcount", "notes.txt", "more.txt", "least=4", "only=fever", "only=and", "upper=true"]
    assert form.checked(said) == words
    same = form.same_as(said)
    assert "souron wordcount notes.txt more.txt least=4 only=fever only=and upper=true" in same
    assert "WordCount().result(" in same and "least=4" in same
    job = studio.jobs.start(words, "en")
    assert not job.brief
    assert form.checked(plain_forms.sent(form.html(form.held(job, {})))) == words
    with pytest.raises(UserError, match="no command is named"):
        job_queue.check(["wordcounts"], "en")


def test_a_form_takes_files_where_the_study_does_and_lists_the_values_of_an_option(studio, tmp_path, monkeypatch):
    place = plain_forms.uploads(monkeypatch, tmp_path / "temporary" / "studio-2")
    form = form_of(studio, "verdict")
    html = form.html({})
    [files] = [tag for tag in plain_forms.controls(html) if 'type="file"' in tag]
    assert plain_forms.attribute(files, "accept") == ".csv,.tsv,.json,.jsonl" and " multiple" in files
    new, old = str(place / "sent" / "unet.csv"), str(tmp_path / "temporary" / "studio-1" / "old.csv")
    asked = plain_forms.form({"files-files": [new]}, files="truth.csv\n")
    assert form.read(asked)[0] == ["truth.csv", new]
    assert form.read(plain_forms.form(files="truth.csv"))[0] == ["truth.csv"]
    asked = plain_forms.form({"files-files": [new]}, **{"files": "", "files-kept": old})
    assert form.read(asked)[0] == [new], "a new file takes the place of one that was sent before"
    asked = plain_forms.form(**{"files-kept": ["/etc/passwd", old]})
    assert form.read(asked)[0] == [old], "only what was sent is taken for a sent file"
    job = studio.jobs.start(["verdict", "truth.csv", old, "kind=dice", "project=runs"], "en")
    assert form.held(job, {}) == {"files": "truth.csv", "kind": "dice"}, "nor the last upload nor where the result went"
    opened = plain_forms.sent(form.html(form.held(None, {"files": old, "kind": "dice"})))
    assert form.read(opened) == ([old], {"kind": "dice"})
    assert re.findall(r'<option value="(\w+)"', form.html({})[form.html({}).index("kind-offered") :])[:6] == [
        "labels",
        "probability",
        "score",
        "dice",
        "error",
        "rating",
    ]
    assert 'type="file"' not in form_of(studio, "skill").html({})


def test_the_page_offers_each_study_once_and_shows_the_report(drop, texts, studio, capsys):
    drop()
    assert PAGES.count("study") == 1
    tools = re.search(r'<select[^>]* name="study".*?</select>', study_page.body(studio, {}), re.DOTALL)[0]
    offered = re.findall(r'<option value="(\w+)"', tools)
    assert sorted(offered) == sorted(study_page.tools())
    groups = [registry.action(name).group for name in offered]
    assert groups == sorted(groups, key=list(console.GROUPS).index)  # what judges and plans comes first
    assert "wordcount" in registry.actions()
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


def test_the_studio_asks_a_lookup_for_its_page_and_lets_it_pass_a_training(drop, studio):
    drop(LOOKUP)
    words = form_of(studio).checked(plain_forms.form(files="notes.txt"))
    assert words == ["wordcount", "notes.txt", f"project={studio.project}"]
    assert studio.jobs.start(words, "en").brief
    assert form_of(studio, "exam").checked(plain_forms.form(given="nearest")) == ["exam", "nearest"]
    assert not studio.jobs.start(["exam", "nearest"], "en").brief


def test_a_number_that_is_none_is_refused_by_the_form(drop, studio):
    drop()
    form = form_of(studio)
    with use_language("en"), pytest.raises(UserError, match="letters of a word=many"):
        form.checked(plain_forms.form(files="notes.txt", least="many"))
    with pytest.raises(UserError, match="TEXTS"):
        form.checked(plain_forms.form())
    assert command_form.values(form.fields.values(), plain_forms.form(files="", least="")) == {}


def test_the_form_of_a_lookup_asks_for_its_page(studio):
    ask = form_of(studio, "ask")
    assert list(ask.fields) == ["files", "passages", "model", "retriever", "forget"]
    job = studio.jobs.start(["ask", "passages=5", "--", "ward.txt", "what=when?"], "en")
    assert ask.held(job, {}) == {"files": "ward.txt\nwhat=when?", "passages": "5"}
    elsewhere = replace(studio, project=studio.project / "more")
    assert f"project={elsewhere.project}" in form_of(elsewhere, "exam").checked(plain_forms.form(given="nearest"))


# studies of texts

LEFT_OUT = """    stop: Annotated[
        tuple[str, ...], Choice(N_("texts of words to leave out"), metavar="FILE", text=True)
    ] = ()
    upper: Annotated"""
STOP = """        stop = {word for one in options.stop for word in text_of(one).text.split()}
        counts: dict"""
OF_TEXTS = (
    STUDY.replace("    within =", "    texts = True\n    within =")
    .replace("    upper: Annotated", LEFT_OUT)
    .replace("        counts: dict", STOP)
    .replace("if len(word) >=", "if word not in stop and len(word) >=")
)
SLOW = OF_TEXTS.replace(
    "            for word in text.text.split():\n",
    """            while not Path("answered").exists():
                time.sleep(0.01)
                yield Event("read", 0.5)
            yield Event("read", 0.6)
            Path("went on").touch()
            for word in text.text.split():\n""",
).replace("from pathlib", "import time\nfrom pathlib")


@pytest.fixture
def served():
    """The application of a server, and its service."""
    services = []

    def serve(token="", **limits):
        shouting = model.Model("shouting", serving.Shouting(None, None))
        services.append(Service(shouting, Limits(**limits)))
        door = access.Door(serving.PORT, token=token, lan=bool(token), programs=True)
        return Gate(services[-1], door), services[-1]

    yield serve
    for service in services:
        service.close()


def ask(app, body, name="wordcount", **more):
    return serving.send(app, path=f"/studies/{name}", json=body, **more)


def test_a_dropped_study_of_texts_has_an_endpoint(drop, served, tmp_path):
    drop(OF_TEXTS)
    app, service = served()
    body = {"given": ["Fever and cough", "no Fever"], "least": 3, "upper": True, "stop": ["and"]}
    answer = ask(app, body)
    assert answer.status_code == 200 and service.served == 1
    told = {"words": {"Fever": 2, "cough": 1}, "total": 3, "sentence": "3 words & more (en)."}
    assert answer.json() == told
    japanese = ask(app, body, headers={"accept-language": "ja"}).json()
    assert japanese["sentence"] == "3 words & more (ja)."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere"]  # nothing is written
    drop()
    app, _service = served()
    for name in ("wordcount", "exam"):  # whose input is no text
        assert ask(app, body, name).status_code == 404


def test_its_endpoint_is_described_from_its_options(drop, served):
    drop(OF_TEXTS)
    app, _service = served()
    schema = serving.send(app, "GET", "/openapi.json").json()
    post = schema["paths"]["/studies/wordcount"]["post"]
    assert post["summary"] == "Count the words of texts."
    assert set(post["responses"]) == {"200", "400", "413", "415", "422", "503", "504"}
    body = post["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"given", "least", "stop", "upper"}  # not what is any word
    assert body["required"] == ["given"] and body["additionalProperties"] is False
    given, least, stop, upper = (body["properties"][n] for n in ("given", "least", "stop", "upper"))
    assert (given["minItems"], given["maxItems"], given["items"]["type"]) == (1, 2, "string")
    assert (least["minimum"], least["maximum"], least["default"]) == (1, 30, 1)
    assert least["description"] == "letters of a word (default 1)"
    assert (stop["type"], upper["type"]) == ("array", "boolean")
    assert set(post["responses"]["200"]["content"]["application/json"]["schema"]["required"]) == {"sentence"}
    page = serving.send(app, "GET", "/docs").text
    assert "POST /studies/wordcount" in page and "Count the words of texts." in page


def test_a_text_of_a_request_names_no_file(drop, served, texts):
    drop(OF_TEXTS)
    app, _service = served()
    for name in ("notes.txt", str(Path("notes.txt").absolute()), "-"):
        body = {"given": [name], "stop": ["more.txt"]}
        assert ask(app, body).json()["words"] == {name: 1}


BODY = {"given": ["Fever and cough"]}
REFUSED = {
    (400, "broken upload"): {
        "cut off": {"content": b'{"given": ['},
        "a list": {"json": [BODY]},
        "deep": {"content": b"[" * 1_900},
        "half a character": {"content": b'{"given": ["\\ud800"]}'},
    },
    (413, "too large"): {
        "a text": {"json": {"given": ["a" * 3000]}},
        "many texts": {"json": BODY | {"stop": ["a"] * 8}},
    },
    (415, "content type"): {"text": {"content": b"{}", "headers": {"content-type": "text/plain"}}},
    (422, "argument"): {"nothing given": {"json": {}}},
    (422, "value"): {
        "no list": {"json": {"given": "a"}},
        "no text": {"json": {"given": [1]}},
        "too few": {"json": {"given": []}},
        "too many": {"json": {"given": ["a"] * 3}},
        "too small": {"json": BODY | {"least": 0}},
        "a number as text": {"json": BODY | {"least": "4"}},
        "a switch as number": {"json": BODY | {"least": True}},
        "a number as switch": {"json": BODY | {"upper": 1}},
        "no list of texts": {"json": BODY | {"stop": "a"}},
    },
    (422, "option"): {
        "unknown": {"json": BODY | {"leest": 4}},
        "any word, such as a path": {"json": BODY | {"only": ["a"]}},
        "where to write": {"json": BODY | {"project": "elsewhere"}},
    },
    (405, "method"): {"another": {"method": "GET"}},
    (403, "origin"): {"another": {"json": BODY, "headers": {"origin": "https://evil.example"}}},
    (421, "host"): {"another": {"json": BODY, "headers": {"host": "evil.example"}}},
}


@pytest.mark.parametrize(("status", "code", "case"), [(*key, case) for key in REFUSED for case in REFUSED[key]])
def test_what_its_endpoint_refuses(status, code, case, drop, served):
    drop(OF_TEXTS)
    app, service = served(file=2000, files=4)
    for language in ("en", "ja"):
        asked = dict(REFUSED[status, code][case])
        headers = {"accept-language": language, "content-type": "application/json"}
        headers |= asked.pop("headers", {})
        answer = serving.send(app, path="/studies/wordcount", headers=headers, **asked)
        assert (answer.status_code, serving.error_code(answer)) == (status, code)
        found = answer.json()["error"]["found"]
        assert bool(serving.JAPANESE.search(found)) == (language == "ja")
    assert (service.waiting, service.served) == (0, 0)


def test_its_endpoint_needs_the_token(drop, served):
    drop(OF_TEXTS)
    app, _service = served(token="secret")
    assert ask(app, BODY).status_code == 401
    assert ask(app, BODY, headers={"authorization": "Bearer secret"}).status_code == 200


def test_a_study_ends_with_its_request(drop, served):
    """The next one could not begin before."""
    drop(SLOW)
    app, service = served(seconds=0.3)
    answer = ask(app, BODY)
    Path("answered").touch()
    assert (answer.status_code, serving.error_code(answer)) == (504, "timeout")
    service.actions.submit(int).result(waiting.LIMIT)
    assert not Path("went on").exists() and service.waiting == 0


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    """The folder of uploads, which a guard sets for each request."""
    return plain_forms.uploads(monkeypatch, tmp_path / "temporary")


def test_the_studio_has_a_place_to_paste_texts(drop, texts, studio, uploads):
    drop(OF_TEXTS)
    form = form_of(studio)
    assert list(form.fields) == ["files", "least", "only", "stop", "upper"]
    names = plain_forms.names(form.html({}))
    assert names == ["study", "files", "files-files", "least", "only", "stop", "stop-files", "upper"]
    said = plain_forms.form({"files-files": ["notes.txt"]}, files="Fever, =a\n-b", least="4", stop="and")
    assert "souron wordcount texts.txt notes.txt least=4 stop=stop.txt" in form.same_as(said)
    assert not uploads.exists()  # only what is started is kept
    name, pasted, sent, least, stop = form.checked(said)
    assert (name, sent, least) == ("wordcount", "notes.txt", "least=4")
    assert Path(pasted).read_text("utf-8") == "Fever, =a\n-b" and Path(pasted).stem == "texts"
    assert Path(stop.removeprefix("stop=")).read_text("utf-8") == "and"
    job = studio.jobs.start([name, pasted, sent, least, stop], "en")
    assert job.brief
    held = plain_forms.sent(form.html(form.held(job, {})))
    assert [held["files"].strip(), held["least"], held["stop"]] == ["Fever, =a\n-b", "4", "and"]
    assert form.read(plain_forms.form(files="", least="")) == ([], {})


def test_only_a_pasted_text_is_read_back(tmp_path, uploads):
    kept = sent.typed("mine")
    (tmp_path / "secret.txt").write_text("theirs", encoding="utf-8")
    (kept.parent / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert sent.typed_in(str(kept)) == "mine"
    (uploads / "other.txt").write_text("theirs", encoding="utf-8")
    for path in (
        tmp_path / "secret.txt",
        kept.parent / "link.txt",
        kept.parent / "none.txt",
        kept.parent / "../../other.txt",
        uploads / "typed" / ".." / "other.txt",
    ):
        assert sent.typed_in(str(path)) == ""


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        ("/en/wordcount", "/en/study?study=wordcount"),
        ("/ja/check/", "/ja/study?study=check"),
        ("/en/generated?job=7", "/en/study?study=generated&job=7"),
        ("/en/exam", ""),  # it has a page of its own
        ("/fr/check", None),
        ("/en/nothing", None),
        ("/en/check/more", None),
    ],
)
def test_a_study_without_a_page_is_found_by_its_name(path, leads, drop, tmp_path):
    drop()

    async def page(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = Guard(page, port=serving.PORT, place=tmp_path)
    answer = serving.send(guard, "GET", path)
    assert answer.status_code == {None: 404, "": 200}.get(leads, 307)
    assert answer.headers.get("location", "") == (leads or "")
    assert serving.send(guard, "POST", path).status_code != 307


# folders of earlier results


TEXTS = STUDY.replace(
    'Given("TEXTS", N_("texts to count in"), 1, 2)',
    'Given("TEXTS", N_("texts to count in"), 1, 2, typed=("first words", "more"))',
)

WARD = (
    "The left first molar was extracted on May 3, 2024. Amoxicillin 500 mg was given every 8 hours "
    "for 7 days. There was no bleeding after the extraction.\n"
)
SAID = (
    "The left first molar was extracted on May 3, 2024. Amoxicillin 250 mg was given every 8 hours "
    "for 7 days (doi:10.1038/nature14539). There was bleeding after the extraction. The parliament "
    "met in Vienna to discuss the railway. Yes.\n"
)


def test_texts_have_areas_and_stand_behind_two_dashes(drop, texts, studio):
    drop(TEXTS)
    form = form_of(studio)
    assert plain_forms.sent(form.html({})).all("files") == ["first words", "more"]
    hostile = "--json\n\nepochs=5; a text of two paragraphs"
    words = ["wordcount", "least=4", "upper=true", "--", hostile]
    assert form.checked(plain_forms.form(files=[hostile, ""], least="4", upper="true")) == words
    job = studio.jobs.start(words, "en")
    again = plain_forms.sent(form.html(form.held(job, {})))
    assert again.all("files") == [hostile, ""] and form.checked(again) == words
    assert form.read(plain_forms.form(files=[" ", "b"])) == (["b"], {})


def test_a_text_that_is_a_file_must_lie_where_the_studio_may_read(drop, texts, studio, tmp_path):
    drop(TEXTS)
    form = form_of(studio)
    assert form.paths(["notes.txt", "no file", "a" * 5000], {}) == ["notes.txt"]
    outside = tmp_path.parent / "outside.txt"
    outside.write_text("secret")
    with pytest.raises(UserError, match="outside"):
        studio.roots.command(form.paths([str(outside)], {}))
    studio.roots.command(form.paths(["/no/such/file, a text", "x" * 300], {}))


def test_runs_are_offered_as_they_come(drop, studio):
    drop(STUDY.replace('metavar="WORD")', 'metavar="WORD", of=("complete", "tokenize"))'))

    def offered(**values):
        html = form_of(studio).html(values)
        listed = re.search(r'<datalist id="only-offered">.*?</datalist>', html)[0]
        return re.findall(r'<option value="([^"]*)"', listed), plain_forms.sent(html)["only"]

    before, _chosen = offered()
    run = studio.project / "complete" / "gpt-mine"
    (run / "weights").mkdir(parents=True)
    (run / "args.yaml").write_text("system: gpt\n")
    assert offered()[0] == before  # it has not learnt yet
    (run / "weights" / "best.safetensors").touch()
    other = studio.project / "classify" / "cnn-digits" / "weights"
    other.mkdir(parents=True)
    (other.parent / "args.yaml").write_text("system: cnn\n")
    (other / "best.safetensors").touch()
    assert offered() == ([str(run), *before], str(run))
    assert offered(only="fever")[1] == "fever"


def test_a_ledger_of_a_stored_run_is_the_stored_one(tmp_path, capsys):
    shutil.copytree(STORED / "generate", tmp_path / "runs/generate")
    stored = json.loads((STORED / "ledger/dcgan-digits/ledger.json").read_text("utf-8"))
    for words in (["ledger"], ["audit", "ledger"]):
        assert main.run([*words, stored["run"], "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told == {**stored, "sentence": told["sentence"]}
    assert main.run(["ledger", stored["run"], "project=runs", "--quiet"]) == 0
    written = json.loads(Path("runs/ledger/dcgan-digits/ledger.json").read_text("utf-8"))
    assert written == stored


def test_the_provenance_of_stored_files_is_the_stored_one(tmp_path, capsys):
    stored = json.loads((STORED / "provenance/photos/provenance.json").read_text("utf-8"))
    marked, broken = (Path(one["file"]) for one in stored["files"])
    marked.parent.mkdir()
    mark = provenance.Mark(**stored["files"][0]["mark"])
    provenance.save(Image.new("L", (8, 8)), marked, mark)
    broken.write_text("no")
    for words in (["provenance"], ["audit", "provenance"]):
        assert main.run([*words, "photos/", "--json"]) == 3
        told = json.loads(capsys.readouterr().out)
        assert told == {**stored, "sentence": told["sentence"]}
    assert main.run(["provenance", "photos/", "project=runs", "--quiet"]) == 3
    written = json.loads(Path("runs/provenance/photos/provenance.json").read_text("utf-8"))
    assert written == stored
    page = Path("runs/provenance/photos/report.html").read_text("utf-8")
    assert "generated by dcgan_tiny" in page and "[not an image]" in page


def test_a_stored_run_leads_to_its_audit_in_the_language_of_the_studio(studio):
    shutil.copytree(STORED, studio.project)
    folder = studio.project / "generate/dcgan-digits"
    run = run_list.read(folder)
    found = run_view.further_pages(studio, run)
    assert found.count("<a ") == 1
    assert 'href="/runs/generate/dcgan-digits/audit-memorisation.html"' in found
    (folder / "audit-memorisation.ja.html").write_text("")
    assert run_view.further_pages(studio, run) == found
    found = run_view.further_pages(replace(studio, language="ja"), run)
    assert found.count("<a ") == 1
    assert 'href="/runs/generate/dcgan-digits/audit-memorisation.ja.html"' in found


LABELS = """O*NET-SOC Code,Task,Task Type,Title,people,gpt4
29-1021.00,Fill pulp chamber and canal with endodontic materials.,Core,"Dentists, General",E0,E0
29-1021.00,Write prescriptions for antibiotics or other medications.,Core,"Dentists, General",E1,E1
29-1021.00,Produce dental health educational materials.,Supplemental,"Dentists, General",E1,E2
29-1141.00,Record patients' medical information and vital signs.,Core,Registered Nurses,E2,E1
29-1141.00,Administer medications to patients.,Core,Registered Nurses,E0,E0
"""


@pytest.fixture
def given(tmp_path, monkeypatch):
    """The files that the stored results are of."""
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("labels.csv", LABELS),
        ("tasks.txt", "Take impressions of teeth.\n治療計画を患者に説明する。\n"),
        ("ward.txt", "The ward opens at eight. Patient 0417 is allergic to penicillin.\n"),
        ("answer.txt", "Carry on, see ISBN 978-3-16-148410-1 and https://doi.org/10.1000/182.\n"),
        ("refs.bib", "@article{a, title={Another thing}, author={Doe, Jane}, year={2015}}\n"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "words, file, same",
    [
        (
            ["work", "dentist", "table=labels.csv"],
            "work/Dentists-General/work.json",
            ["occupation", "code", "alpha", "beta", "zeta", "workers", "near", "source", "table", "report"],
        ),
        (["work", "tasks.txt"], "work/tasks/work.json", ["occupation", "source", "table"]),
        (
            ["work", "labels.csv"],
            "work/all/work.json",
            ["occupation", "alpha", "beta", "zeta", "tasks", "table", "report"],
        ),
        (
            ["ask", "ward.txt", "What is the patient allergic to?", "passages=1", "project=runs"],
            "ask/ward/ask.json",
            ["answer", "found", "unsupported", "missing", "seen", "question", "model"],
        ),
        (
            ["references", "answer.txt", "library=refs.bib"],
            "references/answer/references.json",
            ["citations", "counts", "library", "report"],
        ),
    ],
    ids=["occupation", "own tasks", "all occupations", "ask", "references"],
)
def test_a_study_writes_the_keys_of_a_stored_one(words, file, same, given, capsys):
    stored = json.loads((STORED / file).read_text("utf-8"))
    assert main.run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    written = json.loads((Path("runs") / file).read_text("utf-8"))
    assert shape(written) == shape(stored)
    assert told.keys() == {*stored, "sentence", "page"}
    for name in same:
        value = pytest.approx(stored[name]) if isinstance(stored[name], float) else stored[name]
        assert written[name] == told[name] == value, name


def test_a_checked_answer_writes_what_a_stored_one_holds(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("notes").mkdir()
    Path("notes/ward.txt").write_text(WARD, encoding="utf-8")
    Path("notes/scan.pdf").write_bytes(b"%PDF")
    Path("answer.txt").write_text(SAID, encoding="utf-8")
    Path("refs.bib").write_text(
        "@article{a, title={Deep learning}, author={LeCun, Yann}, year={2015}, doi={10.1038/nature14539}}\n",
        encoding="utf-8",
    )
    stored = json.loads((STORED / "check/answer/check.json").read_text("utf-8"))
    assert main.run(["check", "answer.txt", "sources=notes", "library=refs.bib", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    written = json.loads(Path("runs/check/answer/check.json").read_text("utf-8"))
    assert told.keys() == {*stored, "sentence", "page"} and shape(written) == shape(stored)
    assert {**written, "seconds": 0} == {**stored, "seconds": 0}


def test_stored_folders_are_listed_and_opened_in_the_studio(studio):
    shutil.copytree(STORED, studio.project)
    pages = {page.kind: page for page in run_list.pages(studio.project)}
    assert pages.keys() == {
        "exam",
        "audit",
        "ledger",
        "provenance",
        "work",
        "ask",
        "references",
        "check",
        "improper",
        "surface",
    }
    named = {kind: run_view.kind_of(page) for kind, page in pages.items()}
    assert named["ask"] == "a question to long texts"
    assert named["references"] == "references checked"
    assert studio.address(pages["surface"].file) == "/runs/surface/a/surface.html"
    assert all(kind != told for kind, told in named.items())
    assert studio.address(pages["ask"].file) == "/runs/ask/ward/report.html"
    assert studio.report(pages["references"].file.parent) == "/report/en/references/answer"
    assert studio.address(pages["audit"].file) == "/runs/audit/generated-real/audit-generated.html"
    assert studio.report(pages["exam"].file.parent) == "/report/en/exam/nearest-terms-3"
    assert studio.report(pages["check"].file.parent) == "/report/en/check/answer"
    assert studio.report(pages["improper"].file.parent) == "/report/en/improper/gpt"


def test_each_tool_has_a_form_where_its_link_leads():
    forms = study_page.tools()
    assert {"predict", "generate", "data"}.isdisjoint(forms) and {"verdict", "ask"} <= {*forms}
    for name, entry in registry.actions().items():
        assert name in forms or entry.page in PAGES, name


def test_an_address_fills_the_form(drop, studio):
    drop()
    held = plain_forms.sent(study_page.body(studio, {"study": "wordcount", "least": "4"}))
    assert (held["study"], held["least"], held["files"]) == ("wordcount", "4", "")


def test_a_tool_that_is_chosen_comes_with_its_newest_job(drop, texts, studio):
    drop()
    job = studio.jobs.start(["wordcount", "notes.txt", "least=4"], "en")
    drawn = study_page.PARTS["tool"](studio, plain_forms.form(study="wordcount"))
    assert f'data-job="{job.id}"' in drawn and plain_forms.sent(drawn)["least"] == "4"
    drawn = study_page.PARTS["tool"](studio, plain_forms.form(study="plan"))
    assert "data-job" not in drawn and 'data-address="/en/study?study=plan"' in drawn
    with pytest.raises(UserError, match="no tool"):
        study_page.PARTS["start"](studio, plain_forms.form(study="../plan"))


def test_a_brief_study_does_not_wait_behind_a_training(drop, texts, studio):
    file = drop(changed(brief=True))
    job = studio.jobs.start(["wordcount", "notes.txt"], "en")
    assert job.brief
    drop(changed(brief=False))
    assert not job.brief
    file.write_text("class Broken(Action):\n    pass\n", encoding="utf-8")
    assert not job.brief


def test_a_study_may_have_a_page_for_hands(drop, studio):
    drop(changed(page='"train"'))
    with use_language("en"):
        page = study_page.body(studio, {"study": "wordcount"})
    assert 'href="/en/train">By hand: the page Train' in page


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


def test_an_interval_is_written_in_one_way_everywhere():
    with use_language("en"):
        assert units.ends("0.55", "0.91") == "0.55–0.91" and units.ends("+0.1", "+0.3") == "+0.1 to +0.3"
        assert (
            units.interval("share", 0.5, 0.75) == "50.0–75.0 %" and units.interval("mm", -1, 2) == "-1.00 mm to 2.00 mm"
        )
        assert units.differences("share", -0.01, 0.02) == "-1.0 to +2.0 points"
    told = r'"[^"\n]*(?:\} – \{\w+(?:\.\w+)?:|\{low\} – \{high\})'
    files = [file for file in roots.sources() if roots.within(file).parts[0] == "actions"]
    assert len(files) > 60 and not [file.name for file in files if re.search(told, file.read_text(encoding="utf-8"))]
