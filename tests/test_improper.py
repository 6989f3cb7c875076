"""Improper output: lexicon, classifier, the filter of answers, and the audit."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import talking

import souron
from souron.actions import improper as audit
from souron.actions.improper import prompts
from souron.cli import main
from souron.evaluation.harmful import classifiers, corpus, filters, judges
from souron.evaluation.harmful.judges import Judge
from souron.evaluation.harmful.lexicon import Lexicon
from souron.evaluation.language.conversation import Conversation
from souron.evaluation.language.text_generation import Written
from souron.hub import bundle, fetch
from souron.kinds.chat import Turn
from souron.utils.messages import UserError

STORED = Path(__file__).parent / "stored/improper/gpt"
PLANTED = Lexicon.of(["wug", "Blick Florp", "a.*b", "gr+", "デブ", "なめ", "裸", "乳首", "sm"], "planted")


@pytest.fixture(scope="module")
def small():
    """A classifier that learnt from every third sentence, and knows no vectors."""
    known = corpus.sentences()
    patch = pytest.MonkeyPatch()
    patch.setattr(classifiers, "HASHED", 2**12)
    patch.setattr(classifiers, "LETTERS", (1, 3))

    class Blind:
        def encode(self, texts):
            return np.zeros((len(texts), 512), np.float32)

    patch.setattr(classifiers, "encoder", Blind)
    patch.setattr(corpus, "sentences", lambda: known[::3])
    yield classifiers.learn(known[::3])
    patch.undo()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return talking.run_of_talks(tmp_path_factory.mktemp("improper"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A WUG, please.", ["wug"]),
        ("wugs and swug", []),
        ("a ｗｕｇ in full width, a w\u200bug with a sign between", ["wug"]),
        ("blick  florp", ["blick florp"]),
        ("aXXb, gr, grr", []),  # what looks like a regular expression is none
        ("a.*b", ["a.*b"]),
        ("デブリードマンを行った", []),
        ("デブと言われた", ["デブ"]),
        ("ななめに切る", []),
        ("それをなめる", ["なめ"]),
        ("裸眼視力、全裸", []),
        ("裸のモデル", ["裸"]),
        ("左乳首の陥没", ["乳首"]),
        ("smoking, SMの", ["sm"]),
    ],
)
def test_an_entry_is_found_where_it_is_a_word(text, found):
    assert PLANTED.find(text) == found


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.txt", None, "no such file"),
        ("empty.txt", b"\n \n", "no entry"),
        ("broken.txt", b"\xff\xfe\x00", "utf-8"),
        ("table.json", b'{"a": 1}', "not a list"),
        ("deep.json", b"[" * 100_000, "recursion|depth|Expecting|not a list"),
        ("long.txt", b"x" * 101, "more than"),
        ("huge.txt", b"x\n" * 2_100_000, "more than"),
    ],
)
def test_a_lexicon_that_is_none_is_refused(tmp_path, name, content, said):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"no list of words") as error:
        Lexicon.read(file)
    assert error.value.code == "lexicon" and error.value.exit == 3
    import re

    assert re.search(said, error.value.found)


def test_a_lexicon_of_ones_own_takes_the_place_of_souron_s(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("\ufeffwug\n(unclosed\n", "utf-8")
    judging = Judge(Lexicon.read(file), own=True)
    assert judging.entries("A wug (unclosed") == ("wug", "(unclosed")
    assert not judging.entries("You idiot")
    assert Judge(None).entries("You idiot") == ("rude",)  # as preference tuning is judged


def test_the_lists_of_words_are_fetched_and_never_shipped(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path))
    monkeypatch.delenv("SOURON_DATA", raising=False)
    assert fetch.where("naughty_words") is None
    assert fetch.fetchable()["naughty_words"].licence == "CC-BY-4.0"
    folder = tmp_path / "data" / "naughty_words"
    folder.mkdir(parents=True)
    (folder / "en.json").write_text('["wug", 3]', "utf-8")
    (folder / "ja.json").write_text('["乳首"]', "utf-8")
    from souron.evaluation.harmful import lexicon

    carried = bundle._files(fetch.item("naughty_words"))
    assert set(carried) == {"data/naughty_words/en.json", "data/naughty_words/ja.json"}
    found = lexicon.fetched()
    assert found is not None and found.count == 2 and found.name == "naughty_words"


def test_the_sentences_are_as_many_as_is_said_and_in_step():
    for name in ("clinical_sentences", "harmless_sentences", "harmful_sentences", "prompts"):
        one, other = (corpus.read(name, spoken) for spoken in ("en", "ja"))
        assert [line[:2] for line in one] == [line[:2] for line in other]  # topic and number
        assert len({line.text for line in one}) == len(one)
    clinical = corpus.read("clinical_sentences", "en")
    assert len(clinical) == 300
    assert {line.topic for line in corpus.read("harmful_sentences", "en")} == set(corpus.KINDS)
    assert list(corpus.filled("a {b|c} {d|e|f}")) == ["a b d", "a c e", "a b f"]
    folds: dict[str, set[int]] = {}
    for each in corpus.sentences():
        folds.setdefault(each.group, set()).add(each.fold)
    assert all(len(found) == 1 for found in folds.values())  # no group on both sides


def test_a_sentence_is_judged_by_what_did_not_learn_from_it(small):
    known = corpus.sentences()
    again = np.array([told.chance for told in small.judge([each.text for each in known])])
    wrong = np.array([each.sort == "harmful" for each in known]) != (again > 0.5)
    held_out = np.array([each.sort == "harmful" for each in known]) != (small.held_out > 0.5)
    assert wrong.mean() < 0.02 < held_out.mean() < 0.3  # else it knew them
    for one in judges.record(Judge(PLANTED, small)):
        if one.way == "classifier":
            assert one.catch.value > 0.2 and one.clinical.value < 0.06
            assert len(one.alarms) == round(one.clinical.value * one.clinical.n)


def test_the_threshold_of_a_sentence_is_one_that_other_folds_chose(small):
    """Also the lower one of a sentence with an entry, as which all count here."""

    class Everywhere(Judge):
        def entries(self, text):
            return ("an entry",)

    known = corpus.sentences()
    fold = np.array([each.fold for each in known])
    both = judges.flags_of(Everywhere(None, small), known)["both"]
    for left in range(corpus.FOLDS):
        chosen = classifiers._thresholds(known, small.held_out, fold != left)
        for i in np.flatnonzero(fold == left):
            level = chosen[known[i].language]
            assert small.flagged[i] == (small.held_out[i] > level)
            assert both[i] == (small.held_out[i] > level * judges.LOWERED)


def test_few_proper_sentences_of_each_language_lie_above_its_threshold(small):
    known = corpus.sentences()
    for spoken in corpus.LANGUAGES:
        ends = [
            np.quantile(
                [
                    chance
                    for each, chance in zip(known, small.held_out, strict=True)
                    if (each.sort, each.language) == (sort, spoken)
                ],
                1 - alarms,
            )
            for sort, alarms in classifiers.ALARMS.items()
        ]
        assert small.threshold(spoken) == pytest.approx(max(0.5, *ends))
    assert small.threshold("fr") == max(small.thresholds.values())


def test_the_record_counts_groups_of_lines_and_not_sentences(small):
    known = corpus.sentences()
    for one in judges.record(Judge(PLANTED, small)):
        some = [each for each in known if (each.sort, each.language) == ("clinical", one.language)]
        groups = len({each.group for each in some})
        assert (one.clinical.n, one.clinical.groups) == (len(some), groups) and groups < len(some)


def test_several_answers_to_a_prompt_count_as_one_prompt(tmp_path):
    number = np.arange(40)
    asked = [corpus.Prompt(f"What is {n}?", "en", "", f"{n}") for n in number]

    def recorded(each):
        after, before = (
            audit.Answered(name, [], {}, {"both": np.repeat(number % often == 0, each)})
            for name, often in (("after", 8), ("before", 3))
        )
        return audit.ImproperRecord("after", after, before, asked, each, 0, 9, "", 0, [], tmp_path)

    once, often = recorded(1), recorded(10)
    width = [each.rate(each.after, "both") for each in (once, often)]
    assert width[1].groups == 40 and width[1].n == 400
    assert width[1].high - width[1].low > 0.9 * (width[0].high - width[0].low)
    one, ten = once.verdict(), often.verdict()
    assert ten.high - ten.low > 0.9 * (one.high - one.low)
    assert (one.a, one.b) == ("after", "before") and one.difference > 0


def test_five_prompts_get_no_verdict(tmp_path):
    """However many answers there are to each; of more the verdict is on the tuned model."""
    for count, rude, word in ((5, "before", "cannot tell"), (12, "before", "better"), (12, "after", "worse")):
        asked = [corpus.Prompt(f"What is {n}?", "en", "", f"{n}") for n in range(count)]
        flags = {name: {"both": np.full(10 * count, name == rude)} for name in ("after", "before")}
        after, before = (audit.Answered(name, [], {}, each) for name, each in flags.items())
        record = audit.ImproperRecord("after", after, before, asked, 10, 0, 9, "", 0, [], tmp_path)
        assert record.verdict().verdict == word


def test_an_entry_lowers_the_threshold_and_is_no_alarm_by_itself(small):
    judging = Judge(Lexicon.of(["nipple", "idiot"]), small)
    clinical = "The nipple was sewn with absorbable thread."
    assert judging.sentence("lexicon", clinical) is not None
    assert judging.sentence("both", clinical) is None
    threshold = small.threshold("en")
    doubtful = classifiers.Told(threshold * 0.8, "insult")
    assert judging.flagged("both", "idiot", doubtful, ("idiot",)).kind == "insult"
    assert judging.flagged("both", "idiot", doubtful, ()) is None
    assert judging.flagged("classifier", "idiot", doubtful, ("idiot",)) is None


def saying(monkeypatch, voice, text):
    """Let the model say that, a letter at a time."""
    words = [Written(0, letter, 0.0) for letter in text]
    monkeypatch.setattr(voice.writer, "write", lambda *given: (one for one in words))


def planted(way="lexicon"):
    return filters.Filter(Judge(PLANTED, own=True), way)


def test_nothing_improper_is_shown_before_it_is_judged(run, monkeypatch):
    voice, found = souron.load(run).voice, planted()
    saying(monkeypatch, voice, "Good day. You are a wug! It rains.\n左乳首です。次です")
    talk = Conversation(voice, screening=found.screen)
    answer = talk.ask("What is water?")
    shown = ""
    for part in answer:
        shown += part
        assert "wug" not in shown and "乳" not in shown
    notice = "[withheld: a word of the lexicon]"
    assert shown == f"Good day. {notice} It rains.\n{notice}次です"
    reply = talk.keep(answer)
    assert talk.chat.turns[-1].text == reply.text == shown
    assert [one["sentence"] for one in reply.as_json()["withheld"]] == ["You are a wug!", "左乳首です。"]
    assert found.as_json() == {"filter": "lexicon", "withheld": 2, "reasons": {"lexicon": 2}}
    plain = Conversation(voice).say("What is water?")
    assert "wug" in plain.text and "withheld" not in plain.as_json()


def test_the_end_of_a_stopped_answer_is_judged_too(run, monkeypatch):
    voice, found = souron.load(run).voice, planted()
    answer = voice.answer((Turn("user", "Hello"),), 40, screen=found.screen())

    def write(*given):
        said = ""
        for letter in "Good day. You are a wug and more":
            said += letter
            if said.endswith("wug"):
                answer.stop()
            yield Written(0, letter, 0.0)

    monkeypatch.setattr(voice.writer, "write", write)
    assert "".join(answer) == "Good day. [withheld: a word of the lexicon]"
    assert "wug" not in answer.text and not voice.busy.locked()


@pytest.mark.parametrize("text", ["wug" * 5_000, "x " * 5_000 + "wug", "\n" * 3_000, "…" * 3_000])
def test_text_without_an_end_is_not_held_back_for_ever(text):
    screen = planted().screen()
    told = "".join(screen.passed(letter for letter in text))
    assert (told == text) == (not screen.withheld)


def test_a_filter_that_is_none_is_refused(run, tmp_path, capsys):
    assert main.run(["chat", run, "Hello", "filter=sieve"]) == 2
    assert "there is no filter 'sieve'" in capsys.readouterr().err
    with pytest.raises(UserError, match="no filter"):
        filters.named("", "words.txt")
    log = tmp_path / "log.jsonl"
    log.write_text("mine", "utf-8")
    with pytest.raises(UserError, match="already"):
        filters.named("lexicon", None, log)
    assert filters.named("false") is None


def test_the_command_says_that_something_was_withheld(run, tmp_path, monkeypatch, capsys):
    words = tmp_path / "words.txt"
    words.write_text("number\n", "utf-8")  # stands in every answer that it learnt
    asked = ["chat", run, "What is water?", "temperature=0", "filter=lexicon", f"lexicon={words}"]
    assert main.run(asked) == 0
    told = capsys.readouterr()
    if "number" in souron.load(run).reply("What is water?", temperature=0).text:
        assert "number" not in told.out and "[withheld" in told.out
        assert "/filtered shows them" in told.err


def test_the_server_withholds_and_counts(run, monkeypatch):
    from starlette.testclient import TestClient

    from souron.serve.api import application
    from souron.serve.service import Service
    from souron.serve.uploads import Limits

    model = souron.load(run)
    saying(monkeypatch, model.voice, "Good day. You are a wug! It rains.")
    service = Service(model, Limits(), planted())
    client = TestClient(application(service, token=False))
    asked = {"messages": [{"role": "user", "content": "Hello"}]}
    told = client.post("/v1/chat/completions", json=asked).json()
    choice = told["choices"][0]
    assert "wug" not in json.dumps(told) and choice["finish_reason"] == "content_filter"
    assert told["souron"]["withheld"] == ["lexicon"]
    lines = client.post("/v1/chat/completions", json=asked | {"stream": True}).text
    parts = [json.loads(line[6:]) for line in lines.split("\n\n") if line.startswith("data: {")]
    shown = "".join(part["choices"][0]["delta"].get("content", "") for part in parts)
    assert shown == "Good day. [withheld: a word of the lexicon] It rains."
    assert client.get("/filtered").json() == {"filter": "lexicon", "withheld": 2, "reasons": {"lexicon": 2}}
    page = client.get("/docs")
    assert page.status_code == 200 and "POST /v1/chat/completions" in page.text
    refused = client.post("/predict", files={"file": ("a.txt", b"Hello")})
    assert refused.json()["error"]["code"] == "filter"  # else it were a way around
    service.close()


def judging(monkeypatch, small, words=PLANTED):
    made = Judge(words, small, own=True)
    monkeypatch.setattr(judges, "judge", lambda way="both", words=None: made)
    return made


def test_an_audit_compares_prompt_by_prompt_and_its_page_hides_what_hurts(run, small, tmp_path, monkeypatch):
    judging(monkeypatch, small)
    file = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"What is {number}?", "sort": "mine"} for number in range(30)]
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    texts = {"rude": "You stupid fool, shut up & <b>go</b>.", "kind": "It is water."}
    monkeypatch.setattr(audit.models, "load", lambda name: dataclasses.make_dataclass("M", ["voice"])(name))
    monkeypatch.setattr(
        audit,
        "answering",
        lambda voice, asked, each, seed, length: iter([audit.Step(1.0, result=[texts[voice]] * len(asked) * each)]),
    )
    study = audit.Improper(tmp_path / "runs")
    record = study.result("kind", before="rude", prompts=str(file), each=2)
    assert record.rate(record.before, "classifier").value == 1
    assert record.rate(record.after, "both").value == 0
    found = record.verdict("both")
    assert found.verdict == "better" and found.difference == 1
    page = record.report.read_text("utf-8")
    assert "per 1 000 fewer than rude gives" in page
    assert "<b>go</b>" not in page and "&lt;b&gt;go" in page
    before, _rest = page.split("&lt;b&gt;go", 1)
    assert before.rfind("<details>") > before.rfind("</details>")  # shown on request only
    assert (record.folder / "report.ja.html").is_file()
    lines = (record.folder / "answers.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 120 and json.loads(lines[-1])["both"] is True
    told = record.as_json()
    assert told["per_1000"]["both"]["value"] == 0 and told["verdict"]["fewer_per_1000"] == 1000
    again = study.result("kind", before="kind", prompts=str(file))
    assert again.verdict().verdict == "cannot tell"
    assert again.folder != record.folder  # nothing is overwritten


def test_the_judge_of_preference_tuning_stands_beside(small, monkeypatch):
    made = judging(monkeypatch, small)
    asked = prompts.chosen(prompts.prompts_of("manners"), 12, "en")
    assert {one.sort for one in asked} == {"everyday", "medical", "harmless"}
    answered = audit.judged(made, "m", asked, ["Shut up, idiot."] * 12)
    assert answered.improper["manners"].all()
    own = audit.judged(made, "m", corpus.prompts()[:3], ["Hello."] * 3)
    assert "manners" not in own.improper


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b'{"prompt": 3}', b"[" * 9_000])
def test_prompts_that_are_none_are_refused(tmp_path, content):
    file = tmp_path / "prompts.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match="holds no prompts"):
        prompts.prompts_of(str(file))


def keys(thing):
    """The names within a JSON value, at every depth; of a list those of its first entry."""
    if isinstance(thing, list):
        return keys(thing[0]) if thing else None
    return {name: keys(value) for name, value in thing.items()} if isinstance(thing, dict) else None


def test_the_audit_writes_the_keys_of_a_stored_one(run, small, tmp_path, monkeypatch, capsys):
    judging(monkeypatch, small)
    monkeypatch.chdir(tmp_path)
    asked = ["audit", "improper", run, f"before={run}", "n=6", "length=4", "--json"]
    assert main.run(asked) == 0
    told = json.loads(capsys.readouterr().out)
    folder = Path(told["page"]).parent
    stored = json.loads((STORED / "improper.json").read_text("utf-8"))
    written = json.loads((folder / "improper.json").read_text("utf-8"))
    assert keys(written) == keys(stored)
    assert told.keys() == {*stored, "sentence", "page"}
    assert told["report"] == str(folder / "report.html") and Path(told["answers_file"]).is_file()
    one, other = (
        [json.loads(line) for line in (place / "answers.jsonl").read_text("utf-8").splitlines()]
        for place in (folder, STORED)
    )
    assert [each.keys() for each in one] == [each.keys() for each in other]
    assert [each["prompt"] for each in one] == [each["prompt"] for each in other]
    same = ["prompts", "answers", "seed", "length"]
    assert [written[name] for name in same] == [stored[name] for name in same]


def test_the_study_and_the_audit_are_one_command(run, small, tmp_path, monkeypatch, capsys):
    judging(monkeypatch, small)
    monkeypatch.chdir(tmp_path)
    found = []
    for words in (["improper", run, run], ["audit", "improper", run, f"before={run}"]):
        assert main.run([*words, "n=2", "length=2", "seed=5", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    named = ("page", "report", "answers_file")
    assert [{k: v for k, v in each.items() if k not in named} for each in found[:1]] == [
        {k: v for k, v in each.items() if k not in named} for each in found[1:]
    ]
    assert main.run(["improper", run, run, f"before={run}"]) == 2
    assert "one thing too many" in capsys.readouterr().err


def test_the_audit_from_the_command_line(run, small, tmp_path, monkeypatch, capsys):
    judging(monkeypatch, small)
    asked = ["audit", "improper", run, "n=6", "length=4", f"project={tmp_path}", "--json"]
    assert main.run(asked) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["prompts"] == 6 and set(told["per_1000"]) == {"lexicon", "classifier", "both"}
    assert (tmp_path / "improper").is_dir()
    assert main.run(["audit", "improper"]) == 2
