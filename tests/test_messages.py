"""Souron speaks two languages, and says the same in both."""

import gettext
import re
import threading
from pathlib import Path
from string import Formatter

import messages
import pytest
from babel.messages.pofile import read_po

import souron.cli.main
import souron.runs.folder
import souron.training.budget
from souron import registry
from souron.cli.parsing import arguments
from souron.data import load, transforms
from souron.report import plots
from souron.training import budget
from souron.utils import hardware
from souron.utils import messages as utils_messages
from souron.utils.messages import UserError

pytestmark = pytest.mark.usefixtures("each_drawn")

JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
COMMANDS = list(souron.cli.app.parser().commands)
CATALOGUE = {message.id: message for message in messages.everything()}


def fields(text: str) -> set[tuple[str, str | None, str | None]]:
    """Name, format and conversion of each ``{field}``."""
    return {(n, form, turned) for _text, n, form, turned in Formatter().parse(text) if n is not None}


def test_messages_are_found_wherever_they_stand():
    code = 'f"{_(\'a\')} b"; _("c" "d").format(e=1); _(x or " "); N_("f"); other("g")'
    assert set(messages.in_python(code)) == {"a", "cd", "f"}
    page = "<p>{{ _('a') }}{% if b %}{{ m.c(d, _('e').format(f=1)) }}{% endif %}g {{ h('i') }}"
    assert set(messages.in_template(page)) == {"a", "e"}


def test_every_message_is_translated_and_no_other():
    for house, wanted in messages.extracted().items():
        catalogue = messages.translated(house)
        known = {message.id for message in catalogue if message.id}
        assert wanted
        assert wanted - known == set(), "run make locale, and translate what it names"
        assert known - wanted == set(), "run make locale"
        assert not catalogue.obsolete
    assert [id for id, message in CATALOGUE.items() if not message.string or message.fuzzy] == []


def test_translations_have_the_fields_of_their_messages():
    differ = [id for id, message in CATALOGUE.items() if fields(id) != fields(message.string)]
    assert differ == []


def test_translations_are_indented_as_their_messages_are():
    def indent(text):
        return len(text) - len(text.lstrip(" "))

    assert [id for id, found in CATALOGUE.items() if indent(id) != indent(found.string)] == []


def test_translations_are_japanese():
    """But for abbreviations and for what consists of fields, marks and names alone."""
    plain = {id for id, message in CATALOGUE.items() if not JAPANESE.search(message.string)}
    words = {id for id in plain if re.search(r"[A-Za-z]{3}", re.sub(r"{.*?}|OKS|GPT-4", "", id))}
    hits = {"hit@1", "hit@3", "hit@8", "chrF", "ROUGE-1", "ROUGE-2", "ROUGE-L"}
    hits |= {"recall@1", "recall@5", "PSNR", "SSIM", "UNet", "CLIP", "t-SNE", "xor"}
    hits |= {"Adam", "SGD", "beta", "MLP", "GAN", "VAE", "the GAN"}
    assert words <= {"AUC", "FLOPs", "Python", "Grad-CAM", "The API", "the API", "mIoU", *hits}


FORBIDDEN = {  # in Japanese: pattern -> the one name that is used
    r"(?<!ノート)パソコン": "コンピューター (ノートパソコン)",
    r"(コンピュータ|フォルダ|ブラウザ|パラメータ|カテゴリ)(?!ー)": "...ー",
    r"(プロセッサ|ヘッダ|サーバ|ユーザ)(?!ー)": "...ー",
    r"(クラスタ|フィルタ)(?!ー|リ)": "...ー",
    r"(メモリ|ライブラリ)ー": "メモリ, ライブラリ",
    r"(?<!サブ)ピクセル": "画素",
    r"訓練(済|用|データ|動画)": "学習",
    r"閾値": "しきい値",
    r"全ての": "すべての",
    r"(各|色の)分類|分類(ごと|名|のつ|の名前| ?[{])|つの分類(?!器)": "クラス",
}
CLINICAL = r"症例"  # elsewhere a case is 事例
ABOUT_PATIENTS = {
    "clinic.po",
    "data.po",
    "detection.po",
    "verdict.po",
    "verdict_any.po",
    "verdict_any.md",
    "prediction_table.py",
    "V12.toml",
    "C5.toml",
    "claim.toml",
    "hints.toml",
    "stard-ai.toml",
    "tripod-ai.toml",
    "data.md",
    "csv_table.py",
    "patients.py",
}
NAMES_OF_COLUMNS = {"csv_table.py", "classified_texts.py", "text_files.py"}  # that others write


def japanese_texts():
    """(where, text) of everything in Japanese that people read, but for data to learn from."""
    yield from ((f"message {id!r}", message.string) for id, message in CATALOGUE.items())
    for file in sorted((messages.ROOT / "docs" / "locale").rglob("*.po")):
        with file.open("rb") as opened:
            yield from ((file.name, str(message.string)) for message in read_po(opened))
    written = [messages.ROOT / "README.ja.md", *messages.ROOT.glob("packages/teach/souron/lecture/notebooks/ja/*")]
    for folder, pattern in (
        ("souron", "*.py"),
        ("souron", "*.toml"),
        ("souron", "*.js"),
        ("packages", "*.py"),
        ("packages", "*.toml"),
        ("packages", "*.js"),
        ("zoo", "*.py"),
        ("docs", "*.md"),
        ("notebooks", "*.py"),
    ):
        written += (messages.ROOT / folder).rglob(pattern)
    for file in written:
        if file.is_file() and "_build" not in file.parts and file.name not in NAMES_OF_COLUMNS:
            yield file.name, file.read_text(encoding="utf-8")


def test_japanese_has_one_name_for_each_thing():
    wrong, seen = [], 0
    for where, text in japanese_texts():
        seen += bool(JAPANESE.search(text))
        wrong += [(where, found[0], name) for pattern, name in FORBIDDEN.items() if (found := re.search(pattern, text))]
        clinical = where in ABOUT_PATIENTS or re.search(r"clinical|surface", where)
        if re.search(CLINICAL, text) and not clinical:
            wrong.append((where, CLINICAL, "事例"))
    assert wrong == []
    assert seen > 3000


def test_what_is_compiled_is_what_is_translated():
    for house, catalogue in messages.CATALOGS.items():
        with catalogue.with_suffix(".mo").open("rb") as file:
            compiled = dict(gettext.GNUTranslations(file)._catalog)
        del compiled[""]  # the header
        assert compiled == {message.id: message.string for message in messages.translated(house) if message.id}


def test_a_message_of_a_distribution_is_translated_beside_those_of_the_core():
    of_clinic = {message.id for house in list(messages.CATALOGS)[1:] for message in messages.translated(house)}
    wanted = "Plan a study's sample size: how many patients before it begins."
    assert wanted in of_clinic
    with utils_messages.use_language("ja"):
        assert utils_messages._(wanted) == CATALOGUE[wanted].string
        assert utils_messages._("interrupted") == CATALOGUE["interrupted"].string


TROUBLES = [
    lambda: registry.find("resnte"),
    lambda: budget.Budget.parse("soon"),
    lambda: load.load("no-such-data"),
    lambda: hardware.device("abacus"),
    lambda: transforms.augmentation(["tilt"]),
    lambda: arguments.take_global(["--lang", "tlh", "list"]),
    lambda: souron.training.budget.one_budget("5s", 3, "", "60s"),
    lambda: souron.runs.folder.to_resume("true", Path("nowhere"), "train"),
    lambda: souron.cli.main.obey(["trian"]),
    lambda: souron.cli.main.obey(["show", "resnet", "depht=2"]),
    lambda: souron.cli.main.obey(["train", "mlp", "data=digits", "epochs=many"]),
]


@pytest.mark.parametrize("act", TROUBLES)
def test_a_trouble_is_the_same_in_both_languages_but_for_its_words(act, monkeypatch):
    told = {}
    for language in ("en", "ja"):
        monkeypatch.setenv("SOURON_LANG", language)
        with pytest.raises(UserError) as caught:
            act()
        told[language] = caught.value
        text = str(caught.value)
        assert text.startswith(f"[{caught.value.code}] ")
        assert bool(JAPANESE.search(text)) == (language == "ja")
    en, ja = told["en"], told["ja"]
    assert (en.code, en.exit) == (ja.code, ja.exit)
    assert en.found != ja.found
    assert bool(en.expected) == bool(ja.expected) and bool(en.fix) == bool(ja.fix)
    assert len(str(en).splitlines()) == len(str(ja).splitlines())


def test_commands_answer_in_the_language_asked_for(capsys):
    assert souron.cli.main.run(["--lang", "ja", "list"]) == 0
    out = capsys.readouterr().out
    assert "考え方" in out and "スキップ接続" in out and "resnet" in out
    assert souron.cli.main.run(["--lang", "en", "list"]) == 0
    assert not JAPANESE.search(capsys.readouterr().out)


def test_an_error_is_told_in_japanese(capsys):
    assert souron.cli.main.run(["--lang", "ja", "show", "resnte"]) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.splitlines()[0] == "[system] 'resnte' というシステムはありません"
    assert "対処: souron show resnet" in seen.err


@pytest.mark.parametrize("words", [[], *([name] for name in sorted(COMMANDS))], ids=" ".join)
def test_help_in_japanese_holds_no_english_message(words, capsys):
    assert souron.cli.main.run(["--lang", "ja", *words, "--help"]) == 0
    out = capsys.readouterr().out
    assert JAPANESE.search(out) and "JSON" in out
    # a translation broken over two lines is one text still, and so is a message
    text = " ".join(out.split())
    english = [id for id in CATALOGUE if id.count(" ") >= 2 and "{" not in id]
    assert len(english) > 200
    assert [id for id in english if " ".join(id.split()) in text] == []


def test_a_picture_in_japanese_is_drawn_without_a_missing_letter(monkeypatch):
    """Matplotlib warns of a letter that the font lacks, and here warnings are errors."""
    monkeypatch.setenv("SOURON_LANG", "ja")
    curve = [{"seconds": s, "loss all": 1 / s, "val accuracy": s / 4} for s in (1.0, 2.0, 3.0)]
    assert plots.accuracy_over_seconds({"mlp": [curve]}, "accuracy", budget=2.5)
    assert plots.learning_curves({"mlp": [curve]}, "accuracy", budget=2.5)


def test_a_server_answers_each_in_its_own_language(monkeypatch):
    monkeypatch.setenv("SOURON_LANG", "en")
    spoken = {}

    def answer(language: str) -> None:
        with utils_messages.use_language(language):
            barrier.wait()  # both are inside
            spoken[language] = utils_messages._("the loss {name} is not finite at step {step}")

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=answer, args=[language]) for language in ("en", "ja")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not JAPANESE.search(spoken["en"]) and JAPANESE.search(spoken["ja"])
    assert utils_messages.language() == "en"
