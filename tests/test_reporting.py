"""Reports and pictures: offline, escaped, readable, in two languages."""

import html.parser
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
import yaml
from judged import judge
from matplotlib.ft2font import FT2Font
from PIL import Image

from souron import registry
from souron.data.dataset import Dataset, Skipped
from souron.data.splits import Parts
from souron.evaluation.answers import Trainings
from souron.evaluation.generators import generation, sampling
from souron.evaluation.record import ComparisonRecord, Cost, RunRecord
from souron.evaluation.vision import classification
from souron.metrics.ranking import Ranking
from souron.report import comparison as comparison_page
from souron.report import plots, report
from souron.report import run as run_page
from souron.report import verdict as verdict_tables
from souron.report.blocks import Table
from souron.report.sections import classify as classify_section
from souron.report.sections import generate as generate_section
from souron.stats import intervals
from souron.stats.records import Margin, Measure, Row, Verdict, pairs_as_json, pairs_of_json
from souron.utils import fonts, plotting, units
from souron.utils.messages import UserError

pytestmark = pytest.mark.usefixtures("each_drawn")

HOSTILE = "<script>alert('x')</script>"
LABELS = ("猫", HOSTILE, "$x^2$ & co", "とても長い名前のクラスですから省かれます")
SYSTEMS = ("resnet18", "cnn", "<b>mlp</b>")
OPEN = {"meta", "link", "br", "img", "hr", "input"}  # elements that need no end tag


@pytest.fixture(scope="module")
def cases() -> Dataset:
    random = torch.Generator().manual_seed(0)
    label = torch.arange(60) % len(LABELS)
    image = torch.randint(0, 40, (60, 1, 12, 12), generator=random, dtype=torch.uint8)
    for i, k in enumerate(label.tolist()):
        image[i, :, 3 * k : 3 * k + 3] += 200
    return Dataset(
        name="写真",
        input=image,
        target=label,
        classes=LABELS,
        file=[f"写真/{i} <i>&.png" for i in range(60)],
        skipped=(Skipped(f"{HOSTILE}.jpg", "truncated", "the file is cut short"),),
        source="https://example.org/photos",
        licence="CC0",
    )


def curve(top: float, looks: int = 6) -> list[dict[str, float]]:
    return [
        {
            "step": 10 * i,
            "epoch": i,
            "seconds": 2.0 * i,
            "examples": 600 * i,
            "loss model": 2 / i,
            "val accuracy": top * (1 - 0.5**i),
        }
        for i in range(1, looks + 1)
    ]


@pytest.fixture
def run(cases, tmp_path) -> RunRecord:
    probability = torch.nn.functional.one_hot(cases.target, len(LABELS)).float() * 0.9 + 0.025
    probability[:5] = probability[:5].roll(1, 1)  # five mistakes
    answers = {
        "probability": probability.double(),
        "threshold": torch.full((60,), 0.5).double(),
        "temperature": torch.ones(60).double(),
    }
    trainings = Trainings.of_one(cases, answers, {})
    return RunRecord(
        folder=tmp_path / "run",
        system="resnet18",
        data="photos/",
        task="classify",
        seed=3,
        config={"depths": [2, 2, 2, 2], "width": 64},
        seen={"side": 12},
        parameters=11_173_962,
        flops=914_000_000,
        measures={"accuracy": intervals.proportion_interval(55, 60), "log loss": Measure(0.3, 0.2, 0.4, 60)},
        curve=curve(0.9),
        forecast=Cost(10.0, 1_000_000_000),
        outcome=Cost(12.0, 900_000_000),
        stopped="budget",
        parts={"train": 480, "val": 60, "test": 60},
        skipped=cases.skipped,
        receipt={
            "options": {"budget": "12s"},
            "command": "souron train resnet18 data='photos/<x>' budget=12s seed=3",
            "data": {"hash": "0123abcd"},
            "machine": {"packages": {"torch": "2.9"}, "memory": 16_000_000_000},
        },
        test=cases,
        answers=[answers],
        details=classification.result(trainings, None),
    )


@pytest.fixture
def comparison(cases, tmp_path) -> ComparisonRecord:
    random = torch.Generator().manual_seed(1)
    guesses = {}
    for k, name in enumerate(SYSTEMS):
        wrong = torch.rand(2, len(cases), generator=random) < 0.15 * (k + 1)
        guesses[name] = torch.where(wrong, (cases.target + 1) % len(LABELS), cases.target)
    scores = {name: (said == cases.target).float() for name, said in guesses.items()}
    rows = [
        Row(
            name,
            "accuracy",
            m.value,
            m.low,
            m.high,
            30.0,
            6e4,
            10 ** (6 - k),
            10 ** (8 - k),
            tuple(scores[name].mean(1).tolist()),
        )
        for k, name in enumerate(SYSTEMS)
        for m in [intervals.interval(scores[name].numpy())]
    ]
    return ComparisonRecord(
        folder=tmp_path / "compare",
        task="classify",
        data="photos/",
        budget="30s",
        seeds=2,
        cases=len(cases),
        ranking=Ranking(registry.metric("accuracy"), rows, judge({name: s.numpy() for name, s in scores.items()})),
        sentence=f"resnet18 leads {SYSTEMS[2]}.",
        curves={name: [curve(0.9 - k / 10), curve(0.85)] for k, name in enumerate(SYSTEMS)},
        scores=scores,
        details=classification.ComparedLabels(guesses),
        report=tmp_path / "compare" / "report.html",
        receipt={"command": "souron compare resnet18 cnn", "options": {"batch": 128}},
        skipped=cases.skipped,
        test=cases,
    )


class Reader(html.parser.HTMLParser):
    """Checks that tags balance and gathers what a browser would load, follow and show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in OPEN:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.words).replace("\N{NO-BREAK SPACE}", " ")


def check_page(text: str, lang: str = "en") -> Reader:
    """Well-formed, self-contained and accessible."""
    reader = Reader(text)
    assert not reader.all("script") and not reader.all("link") and not reader.all("iframe")
    assert "url(" not in text and "@import" not in text
    for tag, attributes in reader.tags:
        assert not any(name.startswith("on") for name in attributes)
        if tag == "a":
            other = {"en": "ja", "ja": "en"}[lang]
            assert re.match(rf"https://|#|report\.{other}\.html$", attributes["href"])
        else:
            assert "href" not in attributes
        assert attributes.get("src", "data:").startswith("data:")
    anchors = {attributes["id"] for _tag, attributes in reader.tags if "id" in attributes}
    assert {a["href"][1:] for a in reader.all("a") if a["href"][0] == "#"} <= anchors
    assert reader.all("html")[0]["lang"] == lang
    assert reader.all("img") and all(image["alt"] for image in reader.all("img"))
    assert all(head.get("scope") for head in reader.all("th"))
    assert len(text) < 2_500_000
    return reader


def sections(text: str) -> list[str]:
    return re.findall(r'<h2 id="(\w+)"', text)


def test_a_classifiers_report_has_all_sections_and_only_itself(run):
    path = report.run_report(run)
    text = path.read_text(encoding="utf-8")
    reader = check_page(text)
    assert path == run.folder / "report.html"
    assert sections(text) == [
        "discrimination",
        "confusion",
        "classes",
        "mistakes",
        "calibration",
        "learning",
        "data",
        "forecast",
        "system",
        "receipt",
    ]
    assert HOSTILE in reader.text and HOSTILE not in text
    assert "91.7 % of 60 unseen test cases" in reader.text
    assert "Only 60 test cases" in reader.text
    assert "5 of 60 test cases are wrong" in reader.text
    assert "souron train resnet18 data='photos/<x>' budget=12s seed=3" in reader.text
    assert "0123abcd" in reader.text and "16 GB" in reader.text
    assert "+20 %" in reader.text and "-10 %" in reader.text  # outcome against forecast
    assert "the file is cut short" in reader.text
    assert registry.entries()["resnet"].idea in reader.text


def test_what_guessing_would_reach_is_said(run, cases):
    """Of three even classes a third; the best of a comparison is judged likewise."""
    most = cases.target.bincount().max().item() / len(cases)
    for right, told in (
        (most, "No better than guessing."),
        (most + 0.01, "No better than guessing on this data"),
        (0.99, ""),
    ):
        found = Measure(right, right - 0.1, right + 0.1, 60)
        text = " ".join(classify_section.notes(replace(run, measures={"accuracy": found})))
        assert told in text and ("Always answering" in text) == bool(told)
    sure = classify_section.chance(most + 0.05, most + 0.01, cases, "mlp")
    assert "Even the best, mlp: Barely better than guessing." in sure[0]
    assert classify_section.chance(1.0, 0.9, None) == []


def test_a_large_test_set_is_not_called_small(run):
    text = report.run_report(replace(run, parts={**run.parts, "test": 100})).read_text("utf-8")
    assert "the interval is wide" not in text


def few_positive(run, ill: int, patients: bool):
    """The run on two classes, ``ill`` patients of the positive one with two pictures each."""
    test = run.test.only(range(40))
    target = (torch.arange(40) >= 40 - 2 * ill).long()
    group = [f"p{i // 2}" for i in range(40)] if patients else ()
    test = replace(test, target=target, classes=("sound", "tumour"), group=group)
    sure = torch.where(target == 1, 0.8, 0.2) + torch.linspace(-0.1, 0.1, 40)
    answers = {
        "probability": torch.stack([1 - sure, sure], 1).double(),
        "threshold": torch.full((40,), 0.5).double(),
        "temperature": torch.ones(40).double(),
    }
    details = classification.result(Trainings.of_one(test, answers, {}), 1)
    return replace(run, test=test, answers=[answers], details=details, measures=details.measures)


def around(text: str, figure: str) -> list[str]:
    """What each row of a table, and each fact, begins with that is named so."""
    return re.findall(rf'<(?:th scope="row"|dt)>{figure}(.{{0,200}})', text, re.DOTALL)


@pytest.mark.parametrize("patients", [True, False])
def test_fewer_than_five_positive_patients_are_warned_of_beside_the_figure_and_on_top(run, patients):
    few = few_positive(run, 4, True) if patients else few_positive(run, 2, False)
    text = report.run_report(few).read_text(encoding="utf-8")
    what = "patients" if patients else "cases"
    told = f"Fewer than 5 test {what} of a class: tumour (4)."
    assert f'<p class="note">{told}' in text and told in few.folder.joinpath("card.md").read_text()
    for figure in ("sensitivity", "AUC"):
        beside = around(text, figure)
        assert len(beside) == 2 and all(f"few {what}: 4" in one for one in beside)
    assert not any("few " in one for one in around(text, "specificity"))
    assert around(text, "tumour")[0].startswith(f' <span class="worse">few {what}: 4')


def test_five_positive_patients_are_enough(run):
    text = report.run_report(few_positive(run, 5, True)).read_text(encoding="utf-8")
    box = text.partition('class="box"')[2].partition("</section>")[0]
    assert "Positive class" in box and "tumour: sensitivity" in box and "with the button Use it" in box
    assert "Fewer than 5" not in text and "few patients" not in text


def test_a_comparison_warns_of_few_positive_patients(run, comparison):
    test = few_positive(run, 4, True).test
    few = replace(comparison, test=test, details=classification.ComparedLabels({}))
    text = report.comparison_report(few).read_text(encoding="utf-8")
    assert '<p class="note">Fewer than 5 test patients of a class: tumour (4).' in text


def test_class_figures_are_sensitivity_and_precision_with_wilsons_interval(run):
    name, cases, *figures = classes(run.test, run.details).rows[0]
    recall, ends, precision, _ends = (cell.value for cell in figures)
    # of 15 cats two are called otherwise; one other case is called a cat
    assert (name, cases, recall, precision) == ("猫", "15", 13 / 15, 13 / 14)
    expected = intervals.proportion_interval(13, 15)
    assert ends == (expected.low, expected.high)


def classes(test, details):
    """The table of the classes."""
    return next(block for block in classify_section._classes(test, details) if isinstance(block, Table))


def test_a_class_that_never_occurs_has_no_figure(run):
    labels = (*LABELS, "never")
    probability = torch.cat([run.answers[0]["probability"], torch.zeros(60, 1)], 1)
    test = replace(run.test, classes=labels)
    answers = run.answers[0] | {"probability": probability}
    text = report.run_report(replace(run, test=test, answers=[answers])).read_text("utf-8")
    check_page(text)
    details = replace(run.details, by_class=list(classification.by_class(test, probability[None].numpy())))
    assert classes(test, details).rows[-1][1:4] == ["0", units.UNKNOWN, ""]


def test_mistakes_are_the_surest_first(run):
    run.answers[0]["probability"][2] = torch.tensor([0.0, 0.0, 0.0, 1.0]).double()
    _caption, shown = classify_section._mistakes(run.test, run.answers[0]["probability"])
    tiles = shown.tiles
    assert len(tiles) == 5
    assert tiles[0].file == run.test.file[2]
    assert tiles[0].lines[1] == "true: $x^2$ & co"


def test_the_report_is_in_japanese_where_that_is_the_language(run, monkeypatch):
    monkeypatch.setenv("SOURON_LANG", "ja")
    reader = check_page(report.run_report(run).read_text(encoding="utf-8"), "ja")
    assert registry.entries()["resnet"].ja in reader.text
    assert registry.entries()["resnet"].ja in (run.folder / "card.md").read_text(encoding="utf-8")


def test_every_text_of_the_pages_asks_for_its_translation(run, comparison, cases, monkeypatch):
    """With a translation that marks what it touched, no other words but data are left."""
    speaking = ("souron.report", "souron.data.target")  # kinds of target name what they show
    for module in [m for name, m in sys.modules.items() if name.startswith(speaking)]:
        if hasattr(module, "_"):
            monkeypatch.setattr(module, "_", lambda message: f"⟦{message}⟧")
    from souron.report import page

    monkeypatch.setitem(page._pages().globals, "_", lambda message: f"⟦{message}⟧")
    for path in (report.run_report(run), report.comparison_report(comparison), report.data_page(cases, run.folder)):
        text = path.read_text(encoding="utf-8")
        for element in re.findall(r"<(?:h2|h3|dt|summary|figcaption|caption)\b[^>]*>([^<]+)", text):
            named = element.strip() in {"accuracy", "log loss", ""}
            assert named or "⟦" in element, element


def test_the_report_is_replaced_in_one_step(run, monkeypatch):
    report.run_report(run)
    before = (run.folder / "report.html").read_bytes()
    run.seed = 4
    monkeypatch.setattr("pathlib.Path.replace", lambda *_paths: (_ for _ in ()).throw(OSError(28)))
    with pytest.raises(UserError, match="disk"):
        report.run_report(run)
    monkeypatch.undo()
    assert (run.folder / "report.html").read_bytes() == before
    assert sorted(p.name for p in run.folder.iterdir()) == ["card.md", "report.html", "report.ja.html"]


def test_a_name_that_is_no_text_does_not_stop_the_report(run):
    run.skipped = (Skipped("bad\udcff.png", "not an image", "no picture"),)
    check_page(report.run_report(run).read_text(encoding="utf-8"))


def test_balance_comes_from_the_split(run):
    run.folder.mkdir()
    rows = ["file,label,group,part", "a,猫,,train", "b,猫,,val", 'c,"$x^2$ & co",,test']
    (run.folder / "split.csv").write_text("\n".join(rows), encoding="utf-8")
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        original = plots.balance
        patch.setattr(plots, "balance", lambda parts, labels: drawn.append(parts) or original(parts, labels))
        report.run_report(run)
    assert drawn[-1] == {"training": [1, 0, 0, 0], "validation": [1, 0, 0, 0], "test": [0, 0, 1, 0]}


def appraisal(cases, collapsed=False):
    """Of pictures that are nearly the real ones, or one of them over and over."""
    classes = torch.eye(len(cases.classes))
    eye = SimpleNamespace(
        labels=cases.classes,
        name="an eye",
        see=lambda image: (
            image.flatten(1).float(),
            classes[image[:, 0].float().mean(2).argmax(1) // 3],  # where the bright stripe lies
        ),
    )
    reference = generation.ReferenceSet.of(eye, Parts(cases, cases, cases), 12)
    drawn = reference.test.input[:1].expand(12, -1, -1, -1) if collapsed else cases.input[:12]
    sample = sampling.Sample(drawn.byte(), 0.01)
    answers = generation.answers_of(sample, reference)
    found = reference.resemblance(answers)
    return generation.GenerationResult(reference, found, sample.image, 0.01, dict(found.measures))


@pytest.mark.parametrize("collapsed", [False, True])
def test_a_generators_report_shows_samples_figures_and_how_it_learnt(run, cases, collapsed):
    found = appraisal(cases, collapsed)
    record = replace(
        run,
        system="dcgan",
        task="generate",
        measures=found.measures,
        answers=[],
        details=found,
        film=[cases.input[:16].byte(), cases.input[1:17].byte()],
    )
    text = report.run_report(record).read_text(encoding="utf-8")
    check_page(text)
    assert sections(text)[:4] == ["samples", "resemblance", "drawn_classes", "film"]
    assert "confusion" not in sections(text) and "image/webp" in text
    assert ("Mode collapse suspected" in text) == collapsed


def test_samples_are_shown_as_they_were_drawn(cases):
    sheet = Image.open(io.BytesIO(plots.samples(cases.input[:1])))
    factor = sheet.width // 12
    pixels = torch.from_numpy(np.array(sheet.convert("L")))
    assert torch.equal(pixels[::factor, ::factor], cases.input[0, 0])


def test_a_groupings_report_shows_the_groups(run, cases):
    kind, config = registry.load_system("kmeans_tiny")
    model = kind(replace(config, groups=4), kind.spec_for(cases))
    model.centres.copy_(cases.input[:4].flatten(1) / 255)
    record = replace(
        run,
        system="kmeans",
        task="cluster",
        measures={"silhouette": Measure(0.2, 0.1, 0.3, 60)},
        answers=[{"cluster": model(cases.input.flatten(1) / 255), "silhouette": torch.rand(len(cases))}],
        model=model,
        curve=[],
    )
    text = report.run_report(record).read_text(encoding="utf-8")
    reader = check_page(text)
    assert sections(text)[0] == "clusters" and "learning" not in sections(text)
    assert "猫 (100 %)" in reader.text
    record.answers[0]["cluster"] = torch.arange(60)  # a tree that was stopped early holds as many
    reader = check_page(report.run_report(record).read_text(encoding="utf-8"))
    assert "Of 60 clusters, the 50 largest." in reader.text and "cluster 51" not in reader.text


def test_the_card_is_markdown_with_metadata(run):
    report.run_report(run)
    text = (run.folder / "card.md").read_text(encoding="utf-8")
    _nothing, metadata, body = text.split("---\n", 2)
    assert yaml.safe_load(metadata) == {"library_name": "souron", "tags": ["classify", "resnet18"]}
    headings = [line for line in body.splitlines() if line.startswith("## ")]
    assert headings == [
        "## Intended use",
        "## Data",
        "## Measures",
        "## Limits",
        "## How to load it",
        "## How it was made",
        "## Citation",
    ]
    assert "| accuracy | 91.7 % | 81.9–96.4 % | 60 |" in body
    assert "<script>" not in body
    assert f"souron.load({str(run.folder)!r})" in body


def test_a_comparisons_report_has_all_sections_and_only_itself(comparison):
    path = report.comparison_report(comparison)
    text = path.read_text(encoding="utf-8")
    reader = check_page(text)
    assert path == comparison.report
    assert sections(text) == ["ranking", "verdicts", "disagreements", "time", "size", "learning", "equal", "receipt"]
    assert comparison.sentence in reader.text and "<b>mlp</b>" not in text
    assert text.index("resnet18 leads") < text.index("<h2")
    assert "souron compare resnet18 cnn" in reader.text


def test_a_run_on_a_busy_machine_says_how_much_of_its_budget_it_had(run):
    run.receipt["options"] = {**run.receipt.get("options", {}), "budget": "10s"}
    curve = [{**run.curve[-1], "seconds": 10.0}]
    busy = replace(run, curve=curve, worked=3.0)
    assert any(note.startswith("The machine was busy") for note in run_page.notes(busy))
    for quiet in (replace(busy, worked=9.0), replace(busy, worked=None)):
        assert not any("busy" in note for note in run_page.notes(quiet))
    run.receipt["options"]["budget"] = "5ep"
    assert not any("busy" in note for note in run_page.notes(busy))


def test_a_comparison_on_machines_lists_them(comparison):
    played = [{"name": HOSTILE, "rounds": [0, 1, 2, 4], "speed": 512.4, "threads": 3}]
    far = replace(comparison, receipt={**comparison.receipt, "machines": played})
    for language in ("", ".ja"):
        path = report.comparison_report(far).with_name(f"report{language}.html")
        text = path.read_text(encoding="utf-8")
        [row] = re.findall(r'<h2 id="machines">.*?<tr><th scope="row">&lt;script&gt;(.*?)</tr>', text, re.DOTALL)
        assert "<td>1–3, 5</td>" in row and ">512</td>" in row and ">3</td>" in row
        assert 'id="machines"' in text and "<script" not in text
    assert 'id="machines"' not in report.comparison_report(comparison).read_text(encoding="utf-8")


def test_a_test_set_that_is_large_beside_the_training_set_is_warned_of(comparison):
    different, same = (
        replace(comparison.ranking, verdicts=[replace(comparison.verdicts[0], verdict=word)])
        for word in ("better", "cannot tell")
    )
    large = replace(comparison, sample=100, cases=60, ranking=different)
    [told] = comparison_page.large_test(large)
    assert "60 test cases and 100 for training" in told and told in comparison_page.notes(large)
    for fine in (replace(large, cases=20), replace(large, sample=0), replace(large, ranking=same)):
        assert comparison_page.large_test(fine) == []


def test_a_comparison_of_the_hardly_trained_says_so(comparison):
    """Each has seen 60 000 examples."""
    assert comparison_page.undertrained(replace(comparison, train=6000)) == []
    [told] = comparison_page.undertrained(replace(comparison, train=50_000))
    assert "resnet18 1.2" in told
    found = replace(comparison, train=50_000)
    text = report.comparison_report(found).read_text(encoding="utf-8")
    assert text.index("Barely trained") < text.index("<h2") and found.as_json()["notes"] == [told, *found.notes[1:]]


def test_a_legend_names_each_system_once():
    losses = [{"examples": n, "loss generator": 1 / n, "loss critic": 2 / n} for n in (1, 2, 3)]
    named = []

    def legend(figure, axes, columns):
        named.extend(axes.get_legend_handles_labels()[1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "add_legend", legend)
        plots.learning_curves({"gan": [losses], "vae": [losses]}, "", "examples")
        assert named == ["gan", "vae"]
        named.clear()
        plots.learning_curves({"gan": [losses]}, "", "examples")
        assert named == ["critic", "generator"]


def test_precision_of_what_is_like_no_picture_is_explained():
    told = generate_section.empty_precision({"precision": 1.0, "coverage": 0.01}, "gan")
    assert told.startswith("gan: Precision 100") and "no praise" in told
    assert generate_section.empty_precision({"precision": 1.0, "coverage": 0.9}) == ""
    assert generate_section.empty_precision({"precision": 0.2, "coverage": 0.01}) == ""
    assert generate_section.empty_precision({}) == ""


def test_a_comparison_of_what_is_not_classified_leaves_out_the_labels(comparison):
    comparison.guesses, comparison.test = {}, None
    text = report.comparison_report(comparison).read_text(encoding="utf-8")
    check_page(text)
    assert "disagreements" not in sections(text)


def test_disagreements_show_what_each_system_said(comparison, cases):
    predicted = {name: cases.target.repeat(3, 1) for name in SYSTEMS}
    predicted["cnn"][:2, 7] = 0  # case 7 is truly label 3
    comparison.details = classification.ComparedLabels(predicted)
    caption, shown = classify_section._disagreements(comparison)
    [tile] = shown.tiles
    assert tile.file == cases.file[7]
    assert tile.lines[2] == "cnn ✗ 猫 (2/3)" and tile.lines[2].parts[-1].style == "worse"
    assert tile.lines[1] == f"resnet18 ✓ {LABELS[3][:14]}…" and tile.lines[1].parts[-1].style == "better"
    assert "98.3 % of the cases all agree" in caption


@pytest.mark.parametrize(
    ("cases_needed", "seeds_needed", "told"),
    [
        (1234, 5, "about 1,300 more test cases, or 5 more seeds each"),
        (40, None, "about 40 more test cases"),
        (None, 7, "about 7 more seeds each; more cases alone will not do"),
        (None, None, "too close to decide with a reasonable number of cases or seeds"),
    ],
)
def test_a_verdict_says_what_would_settle_it(cases_needed, seeds_needed, told):
    verdict = Verdict("a", "b", 0.01, -0.02, 0.04, "cannot tell", cases_needed, seeds_needed)
    table = verdict_tables.pairs(Ranking(registry.metric("accuracy"), [], [verdict]))
    assert list(table.rows[0]) == ["a – b", "+1.0 points", "-2.0 to +4.0 points", "≈ cannot tell", told]


def test_the_tables_of_a_verdict_hold_numbers_for_a_csv_and_leave_out_what_is_not_known():
    accuracy = registry.metric("accuracy")
    rows = [Row("a", "accuracy", 0.9, 0.8, 0.95, parameters=1200), Row("b", "accuracy", 0.8, 0.7, 0.9)]
    pair = Verdict("a", "b", 0.1, -0.01, 0.2, "cannot tell", 30, None)
    found = Ranking(accuracy, rows, [pair], [Margin("not inferior", None)], 2)
    ranked, pairs = verdict_tables.tables(found, links={"a": "/en/runs?run=a"})
    assert list(ranked.columns) == ["system", "accuracy", "95 % interval", "parameters"]  # no time, no FLOP
    assert [row[-1] for row in ranked.rows] == ["1,200", units.UNKNOWN]
    assert [row[0].link for row in ranked.rows] == ["/en/runs?run=a", ""]
    columns, numbers = ranked.numbers()
    assert columns[:4] == ["system", "accuracy", "95 % interval, lower end", "95 % interval, upper end"]
    assert numbers[0] == ["a", 0.9, 0.8, 0.95, 1200]
    assert pairs.numbers()[1] == [["a – b", 0.1, -0.01, 0.2, "cannot tell", "not inferior", "about 30 more test cases"]]
    assert "to decide it" in pairs.wide and "to decide it" not in verdict_tables.pairs(found).right


def test_pairs_of_a_receipt_are_read_with_what_is_no_pair_left_out():
    pair = Verdict("a", "b", 0.1, -0.01, 0.2, "cannot tell", 30, None)
    kept = pairs_as_json([pair], [Margin("not inferior", None, True)])
    hostile = [3, {}, {**kept[0], "verdict": "x"}, {**kept[0], "low": "0"}, {**kept[0], "high": float("inf")}]
    assert pairs_of_json([*hostile, *kept]) == ([pair], [Margin("not inferior", None, True)])
    assert pairs_of_json({"a": kept}) == ([], []) and pairs_of_json([*kept, *pairs_as_json([pair])])[1] == []


def test_a_notebook_shows_a_summary_without_a_style_of_its_own(run, comparison):
    assert run._repr_html_() == report.run_html(run)
    assert comparison._repr_html_() == report.comparison_html(comparison)
    for text in (report.run_html(run), report.comparison_html(comparison)):
        reader = Reader(text)
        assert not reader.all("style") and not reader.all("script") and len(text) < 5000
        assert "report.html" in reader.text
    assert "91.7 %" in Reader(report.run_html(run)).text


def test_the_data_page_shows_classes_preparation_and_augmentation(cases, tmp_path):
    path = report.data_page(cases, tmp_path / "data")
    text = path.read_text(encoding="utf-8")
    reader = check_page(text)
    assert sections(text) == ["classes", "sizes", "preparation", "augmentation", "skipped"]
    assert "shift" in reader.text and "mirror" in reader.text
    assert "15 to 15 cases each" in reader.text
    with Image.open(tmp_path / "data" / "data.png") as image:
        assert image.width > 8 * plotting.DOTS


def test_the_data_page_shows_files_as_they_were_read(photos, tmp_path):
    from souron.data.load import load

    reader = check_page(report.data_page(load(photos, 16), tmp_path).read_text(encoding="utf-8"))
    assert "as read: 24 × 24" in reader.text and "resized: 16 × 16" in reader.text
    assert "from 24 × 24 to 24 × 24 pixels, median 24 × 24" in reader.text


def test_many_classes_are_told_by_the_most_confused_pairs():
    n = plots.READABLE_CLASSES + 10
    matrix = torch.eye(n).long() * 50
    matrix[3, 5] = 9
    labels = [f"種類{k}" for k in range(n)]
    assert plots.confusion(matrix, labels) == plots.confused_pairs(matrix, labels)
    few = Image.open(io.BytesIO(plots.confusion(matrix[:30, :30], labels[:30])))
    assert few.width - few.height == pytest.approx(0.6 * plotting.DOTS, abs=1)


@pytest.mark.parametrize(
    "picture",
    [
        lambda names: plots.confusion(torch.eye(len(names)).long(), names),
        lambda names: plots.balance({"訓練": [3] * len(names)}, names),
        lambda names: plots.grid(torch.zeros(len(names), 3, 8, 8, dtype=torch.uint8), names),
        lambda names: plots.classes(
            {name: torch.zeros(2, 3, 8, 8, dtype=torch.uint8) for name in names}, [2] * len(names), "cases"
        ),
    ],
    ids=["confusion", "balance", "grid", "classes"],
)
def test_names_of_any_kind_are_drawn_without_a_warning(picture):
    drawn = picture(["猫と犬", "$\\frac{1}{$", "🙂", "한국어", "a\tb\nc", HOSTILE, "\udcff"])
    assert drawn.startswith(b"\x89PNG")


def test_japanese_letters_have_a_font_wherever_souron_is_installed():
    assert fonts.shipped() is not None
    assert fonts.drawable("猫の写真、カタカナ、漢字 ABC") == "猫の写真、カタカナ、漢字 ABC"
    assert fonts.drawable("🙂 $x$") == r"□ \$x\$"
    letters = FT2Font(str(fonts.shipped())).get_charmap()
    assert all(ord(letter) in letters for letter in "総論あア、。・ー")


def test_without_a_japanese_font_boxes_are_drawn(monkeypatch):
    monkeypatch.setattr(fonts, "shipped", lambda: None)
    monkeypatch.setattr(fonts, "INSTALLED", ())
    fonts._files.cache_clear()
    fonts._characters.cache_clear()
    try:
        assert fonts.families() == [fonts.LATIN]
        assert fonts.drawable("猫 cat") == "□ cat"
        assert plots.confusion(torch.eye(2).long(), ["猫", "犬"])
    finally:
        fonts._files.cache_clear()
        fonts._characters.cache_clear()


def test_the_readers_own_matplotlib_settings_stay_and_do_not_matter(run):
    code = """
import matplotlib, sys
before = matplotlib.rcParams.copy()
from souron.report import plots
curve = [{"seconds": float(i), "examples": i, "loss model": 1 / i} for i in (1, 2, 3)]
plots.learning_curves({"a": [curve]}, "accuracy")
assert matplotlib.rcParams.copy() == before and "matplotlib.pyplot" not in sys.modules
assert "matplotlib_fontja" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    plain = plots.learning_curves({"a": [curve(0.9)]}, "accuracy")
    dark = {"text.color": "white", "axes.facecolor": "black", "xtick.color": "white"}
    with matplotlib.rc_context(dark):
        assert plots.learning_curves({"a": [curve(0.9)]}, "accuracy") == plain


def test_labels_at_line_ends_lie_apart_and_inside():
    heights = plots._apart([0.1, 0.9, 0.9, 0.95], 0.1, 0, 1)
    assert heights[0] == pytest.approx(0.1)
    gaps = [above - below for below, above in pairwise(heights)]
    assert min(gaps) == pytest.approx(0.1) and max(heights) <= 1
    assert plots._apart([0.0, 0.0], 0.2, 0, 1) == [0, 0.2]


def test_the_band_of_seeds_needs_no_common_looks():
    short = [{"seconds": 1.0, "val accuracy": 0.5}, {"seconds": 3.0, "val accuracy": 0.7}]
    long = [{"seconds": 0.5 * i, "val accuracy": 0.1 * i} for i in range(1, 8)]
    assert plots.accuracy_over_seconds({"a": [short, long], "b": [[]]}, "accuracy", 3.0)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (units.count(950), "950"),
        (units.count(9_876), "9,876"),
        (units.count(60_000), "60 k"),
        (units.count(999_960), "1 M"),
        (units.count(1_234_567), "1.2 M"),
        (units.count(138_357_544), "138 M"),
        (units.count(1.5e9), "1.5 B"),
        (units.whole(60_000), "60,000"),
        (units.roughly(63_108), "64,000"),
        (units.roughly(7), "7"),
        (units.operations(3.4e9), "3.4 GFLOP"),
        (units.operations(12), "12 FLOP"),
        (units.size(12_000_000), "12 MB"),
        (units.size(999), "999 B"),
        (units.size(1.34e9), "1.3 GB"),
        (units.seconds(0.4213), "0.42 s"),
        (units.seconds(3.21), "3.2 s"),
        (units.seconds(9.97), "10 s"),
        (units.seconds(59.7), "1 min"),
        (units.seconds(80), "1 min 20 s"),
        (units.seconds(7500), "2 h 5 min"),
        (units.seconds(float("inf")), "–"),
        (units.percent(0.9324), "93.2 %"),
        (units.percent(0.07, 0), "7 %"),
        (registry.metric("accuracy").text(1.0), "100.0 %"),
        (registry.metric("log loss").text(0.30012), "0.300"),
        (registry.metric("log loss").text(12.345), "12.3"),
        (registry.metric("log loss").text(0), "0"),
        (registry.metric("accuracy").interval(0.915, 0.926), "91.5–92.6 %"),
        (registry.metric("silhouette").interval(-0.1, 0.2), "-0.100 to 0.200"),
        (registry.metric("accuracy").difference(0.012), "+1.2 points"),
        (registry.metric("accuracy").difference(-0.0000001), "+0.00 points"),
        (registry.metric("accuracy").difference(0.0002), "+0.02 points"),
        (registry.metric("log loss").difference(-0.05), "-0.0500"),
    ],
)
def test_numbers_read_well(said, expected):
    assert said == expected


def test_units_need_nothing_heavy():
    code = "import souron.utils.units, sys, json; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "matplotlib", "jinja2", "PIL"} & set(json.loads(done.stdout))
