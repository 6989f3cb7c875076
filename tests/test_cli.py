"""The command line: words in, exit codes, messages and JSON out."""

import errno
import importlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import souron
from souron import model as models_api
from souron import registry
from souron.cli import actions, app, main
from souron.cli import console as cli_console
from souron.cli.parsing import arguments
from souron.evaluation.record import Cost
from souron.hub import doctor
from souron.runs.events import Event, Forecast, Interrupted
from souron.utils import hardware
from souron.utils.messages import UserError

COMMANDS: Any = app.parser()


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOURON_LANG", "en")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("SOURON_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def souron_says(capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs a command line: exit code, stdout, stderr."""

    def say(*words: str) -> tuple[int, str, str]:
        code = main.run(words)
        return code, *capsys.readouterr()

    return say


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts functions in the place of those of ``souron.NAME``."""

    def put(name: str, **functions: Any) -> None:
        for function, other in functions.items():
            monkeypatch.setattr(importlib.import_module(f"souron.{name}"), function, other)

    return put


def fresh(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python in a new process."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("words", [["--help"], ["list"], ["list", "--json"], ["train", "--help"]])
def test_looking_around_does_not_import_torch(words: list[str]) -> None:
    done = fresh(
        f"import sys; from souron.cli.main import run; code = run({words!r}); "
        "heavy = {'torch', 'numpy', 'matplotlib', 'pydantic'} & set(sys.modules); "
        "sys.exit(code or (str(heavy) if heavy else 0))"
    )
    assert done.returncode == 0, done.stderr


def rewritten(verb: str, line: str) -> list[str]:
    return arguments.rewrite(verb, COMMANDS.commands[verb], shlex.split(line))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cnn epochs=5", ["cnn", "--epochs=5"]),
        ("cnn --epochs 5", ["cnn", "--epochs=5"]),
        ("cnn --epochs=5", ["cnn", "--epochs=5"]),
        ("cnn data=a=b/c", ["cnn", "--data=a=b/c"]),
        ("cnn --seed -1", ["cnn", "--seed=-1"]),
        ("cnn freeze=true", ["cnn", "--freeze"]),
        ("cnn freeze=no", ["cnn"]),
        ("cnn --freeze", ["cnn", "--freeze"]),
        ("cnn allow_leak=true", ["cnn", "--allow-leak"]),
        ("cnn --allow-leak", ["cnn", "--allow-leak"]),
        ("cnn pretrained", ["cnn", "pretrained"]),
        ("cnn --pretrained data=d", ["cnn", "--pretrained=true", "--data=d"]),
        ("cnn pretrained=runs/x", ["cnn", "--pretrained=runs/x"]),
        ("--resume", ["--resume=true"]),
        ("cnn width=32", ["cnn", "--set=width=32"]),
        ("cnn --width 32", ["cnn", "--set=width=32"]),
        ("-h", ["--help"]),
        ("cnn -- epochs=5", ["cnn", "--", "epochs=5"]),
    ],
)
def test_options_are_understood_in_every_spelling(line: str, expected: list[str]) -> None:
    assert rewritten("train", line) == expected


def test_resume_takes_the_next_word_only_where_it_is_a_run(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    run.mkdir()
    (run / "args.yaml").touch()
    assert rewritten("train", "--resume 'my run' seed=1") == ["--resume=my run", "--seed=1"]
    assert rewritten("train", "--resume elsewhere") == ["--resume=true", "elsewhere"]


def test_file_names_with_equals_signs_stay_file_names(tmp_path: Path) -> None:
    (tmp_path / "top=3").touch()
    assert rewritten("predict", "m top=3") == ["m", "top=3"]
    assert rewritten("predict", "m top=4") == ["m", "--top=4"]
    assert rewritten("predict", "m a=b.png top=4") == ["m", "a=b.png", "--top=4"]
    assert rewritten("predict", "m -- top=4 -x.png") == ["m", "--", "top=4", "-x.png"]
    assert rewritten("predict", "m 日本=語.png dir/x=y.png") == ["m", "日本=語.png", "dir/x=y.png"]


@pytest.mark.parametrize(
    ("line", "exit", "code", "hint"),
    [
        ("trian", 2, "command", "train"),
        ("show resnt", 2, "system", "resnet"),
        ("train resnt data=digits", 2, "system", "resnet"),
        ("compare cnn mpl", 2, "system", "mlp"),
        ("train cnn epoks=5", 2, "option", "epochs"),
        ("train cnn --epoks 5", 2, "option", "epochs"),
        ("train cnn kernal=5", 2, "option", "kernel"),
        ("compare cnn mlp bugdet=5s", 2, "option", "budget"),
        ("compare cnn mlp width=5", 2, "option", "data"),
        ("predict mlp x.png pretraned=true", 2, "option", "pretrained"),
        ("predict mlp -x.png", 2, "option", "--"),
        ("train cnn epochs=many", 2, "value", "epochs=N"),
        ("train cnn epochs=0", 2, "value", "epochs=N"),
        ("train cnn freeze=perhaps", 2, "value", "freeze=true"),
        ("train cnn data", 2, "option", "souron train"),
        ("train cnn --data", 2, "value", "data=..."),
        ("train cnn budget=5s epochs=3", 2, "option", "budget"),
        ("train", 2, "argument", "SYSTEM"),
        ("compare", 2, "argument", "SYSTEMS"),
        ("predict mlp", 2, "argument", "FILES"),
        ("predict", 2, "argument", "RUN|SYSTEM"),
        ("data", 2, "argument", "DATA"),
        ("list --lang fr", 2, "language", "ja"),
        ("train --resume", 3, "resume", "resume="),
    ],
)
def test_wrong_words_are_answered_with_what_is_near(
    souron_says: Said, line: str, exit: int, code: str, hint: str
) -> None:
    left, out, err = souron_says(*line.split())
    assert (left, out) == (exit, "")
    assert err.startswith(f"[{code}]")
    assert hint in err
    assert "Traceback" not in err


def test_trouble_is_an_object_on_stdout_with_json(souron_says: Said) -> None:
    code, out, err = souron_says("show", "resnt", "--json")
    assert code == 2
    error = json.loads(out)["error"]
    assert error["code"] == "system"
    assert "resnet" in error["expected"]
    assert error["try"] == "souron show resnet"
    assert err.startswith("[system]")


@pytest.mark.parametrize(
    ("error", "exit", "code"),
    [
        (RuntimeError("it broke"), 1, "bug"),
        (MemoryError(), 4, "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 4, "memory"),
        (OSError(errno.ENOSPC, "No space left on device"), 4, "disk full"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 3, "file"),
        (UserError("leak", "cases on both sides", exit=5), 5, "leak"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_codes_say_what_kind_of_thing_went_wrong(
    souron_says: Said, pretend: Any, error: BaseException, exit: int, code: str
) -> None:
    def training(*given: Any, **options: Any) -> Any:
        raise error
        yield

    pretend("runs.train", training=training)
    left, out, err = souron_says("train", "cnn", "data=digits")
    assert (left, out) == (exit, "")
    assert f"[{code}]" in err or not code
    assert "Traceback" not in err


def test_a_bug_shows_where_it_is_on_request(souron_says: Said, pretend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend("runs.train", training=lambda *given, **options: iter([1 / 0]))
    assert "SOURON_DEBUG=1" in souron_says("train", "cnn")[2]
    monkeypatch.setenv("SOURON_DEBUG", "1")
    assert "Traceback" in souron_says("train", "cnn")[2]


def test_exit_codes_are_in_the_help(souron_says: Said) -> None:
    for words in ((), ("--help",)):
        code, out, _err = souron_says(*words)
        assert code == 0
        for number in ("0", "1", "2", "3", "4", "5", "130"):
            assert any(line.split()[:1] == [number] for line in out.splitlines())
        assert all(name in out for name in COMMANDS.commands)


def test_help_lists_the_commands_in_groups(souron_says: Said) -> None:
    lines = souron_says("--help", "--lang", "en")[1].splitlines()
    headings = ["Start", "Data", "Train and compare", "Use", "Language", "Trust and society", "Teach"]
    at = [lines.index(heading) for heading in headings]
    assert at == sorted(at) and lines.index("Begin with:") < at[0]
    ends = [*at[1:], lines.index("With every command:")]
    names = [
        [line.split()[0] for line in lines[start + 1 : end] if line[:3].strip()]
        for start, end in zip(at, ends, strict=True)
    ]
    assert sorted(name for group in names for name in group) == sorted(COMMANDS.commands)
    assert [names[0][:2], names[2][:2], names[3][0]] == [["tour", "studio"], ["train", "compare"], "predict"]
    first = lines[lines.index("Begin with:") + 1 :][:5]
    assert [line.split()[1] for line in first] == ["tour", "studio", "predict", "train", "compare"]


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_help_fits_the_terminal(
    souron_says: Said, monkeypatch: pytest.MonkeyPatch, columns: str, language: str
) -> None:
    from rich.cells import cell_len

    monkeypatch.setenv("COLUMNS", columns)
    _code, out, _err = souron_says("--help", "--lang", language)
    assert max(map(cell_len, out.splitlines())) <= int(columns)


def test_a_command_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "greet.py").write_text(
        "from souron.cli.app import command\n\n\n"
        '@command("greet", "Greet the reader.", "souron greet", group="teach")\n'
        "def greet() -> None:\n"
        '    print("hello")\n'
    )
    done = fresh(
        f"import souron.cli; souron.cli.__path__.append({str(tmp_path)!r}); "
        "from souron.cli.main import run; run(['--help']); run(['greet'])",
        SOURON_LANG="en",
    )
    listed = r"^Teach\n  exercises .*\n  greet +Greet the reader\.\n  lecture"  # as wide as the longest name
    assert re.search(listed, done.stdout, re.MULTILINE), done.stderr
    assert done.stdout.endswith("hello\n")


@pytest.mark.parametrize("name", sorted(COMMANDS.commands))
def test_every_command_explains_itself(souron_says: Said, name: str) -> None:
    code, out, err = souron_says(name, "--help")
    assert (code, err) == (0, "")
    assert "Examples:" in out
    for option in arguments.shown(arguments.options_of(COMMANDS.commands[name])):
        assert option in out


@pytest.mark.parametrize("name", sorted(COMMANDS.commands))
def test_examples_of_the_help_are_understood(name: str) -> None:
    for example in COMMANDS.commands[name].epilog.splitlines():
        words = shlex.split(example.partition("  ")[0].partition(" > ")[0])
        if words[2:3] == [name] and actions.is_inside(words[1], name):
            words.pop(1)  # souron data anonymise
        assert words[:2] == ["souron", name]
        rest = arguments.rewrite(name, COMMANDS.commands[name], arguments.take_global(words[2:]))
        COMMANDS.commands[name].make_context(name, rest)


def test_list_json_has_every_system(souron_says: Said) -> None:
    code, out, err = souron_says("list", "--json")
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert (code, err) == (0, "")
    assert list(found) == list(registry.entries())
    resnet = found["resnet"]
    assert set(resnet) == {"name", "task", "year", "paper", "url", "idea", "sizes", "status"}
    assert (resnet["task"], resnet["year"]) == ("classify", 2015)
    assert resnet["url"] == "https://arxiv.org/abs/1512.03385"
    assert "スキップ接続" in resnet["idea"]["ja"]
    assert "152" in resnet["sizes"]


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_list_fits_the_terminal(
    souron_says: Said, monkeypatch: pytest.MonkeyPatch, columns: str, language: str
) -> None:
    from rich.cells import cell_len

    monkeypatch.setenv("COLUMNS", columns)
    _code, out, _err = souron_says("list", "--lang", language)
    assert max(map(cell_len, out.splitlines())) <= int(columns)
    assert all(name in out for name in registry.entries())


def test_language_can_be_chosen_anywhere_in_the_line(souron_says: Said) -> None:
    for words in (("--lang", "ja", "list"), ("list", "--lang=ja"), ("list", "lang=ja")):
        assert "スキップ接続" in souron_says(*words)[1]
        assert "Skip connections" in souron_says("list", "--lang", "en")[1]


def test_list_of_data_says_what_is_here(souron_says: Said) -> None:
    found = {entry["name"]: entry for entry in json.loads(souron_says("list", "--data", "--json")[1])}
    assert found["digits"]["where"]
    assert found["fashion"]["cases"] == 70_000
    assert "digits" in souron_says("list", "--data")[1]


def test_show_counts_what_the_paper_counts(souron_says: Said) -> None:
    code, out, _err = souron_says("show", "vgg16", "--json")
    shown = json.loads(out)
    assert code == 0
    sizes = {size["size"]: size for size in shown["sizes"]}
    assert sizes["16"]["parameters"] == 138_357_544
    assert sizes["16"]["input"] == [3, 224, 224]
    assert shown["structure"]["size"] == "16"
    assert sum(layer["parameters"] for layer in shown["structure"]["layers"]) == 138_357_544
    assert shown["file"].endswith("vgg.py")


def test_show_is_a_table_for_people(souron_says: Said) -> None:
    _code, out, _err = souron_says("show", "kmeans")
    assert "784" in out
    assert "Lloyd" in out
    _code, out, _err = souron_says("show", "cnn_tiny", "depth=1")
    assert "1 × 28 × 28" in out


def test_structure_of_a_known_network() -> None:
    from souron.evaluation import summary

    entry, size = registry.find("resnet18")
    system, config = registry.load_system("resnet18")
    seen = summary.reference(entry, size)
    model = summary.blueprint(system, config, seen)
    assert summary.parameters(model) == 11_689_512
    # torchvision's table says 1.81 G multiply-adds
    assert summary.flops(model, seen) == pytest.approx(2 * 1.814e9, rel=1e-3)
    for depth in (1, 2, None):
        layers = summary.structure(model, seen, depth)
        assert sum(layer.parameters for layer in layers) == 11_689_512
    layers = {layer.name: layer for layer in layers}
    assert layers["conv1"].shape == (64, 112, 112)
    assert layers["layer4.1.conv2"].shape == (512, 7, 7)
    assert layers["fc"].parameters == 513_000
    assert len(summary.structure(model, seen, summary.fitting(model, 20))) <= 20


def test_flops_leave_the_model_as_it_is() -> None:
    from souron.evaluation import summary

    entry, size = registry.find("cnn_tiny")
    system, config = registry.load_system("cnn_tiny")
    seen = summary.reference(entry, size)
    model = system(config, seen).train()
    assert summary.flops(model, seen) == summary.flops(summary.blueprint(system, config, seen), seen)
    assert model.training
    assert model.device.type == "cpu"


def a_run(folder: Path) -> Any:
    from souron.data.dataset import Skipped
    from souron.evaluation.record import Cost, RunRecord
    from souron.stats.records import Measure

    return RunRecord(
        folder=folder,
        system="cnn",
        data="digits",
        task="classify",
        seed=0,
        config={},
        seen={},
        parameters=1,
        flops=1,
        measures={"accuracy": Measure(0.912, 0.9, 0.93, 360)},
        curve=[],
        forecast=Cost(10, 10**9),
        outcome=Cost(11, 2 * 10**9),
        stopped="budget",
        parts={"train": 1000, "val": 100, "test": 360},
        skipped=(Skipped("猫.png", "empty", "the file is empty"),),
    )


ASKED = SimpleNamespace(options={}, given=SimpleNamespace(folders=False))
EAGER = {"hasten": lambda *given: None, "answered_by": "eager"}


def fake_training(asked: list[Any]) -> Any:
    def training(system: str, data: Any, **options: Any) -> Any:
        asked.append((system, data, options))
        yield Event("data", text="digits")
        yield Event("forecast", 1.0, forecast=Forecast({}, Cost(10.0, 10**9), {}))
        yield Event("train", 0.5, 5.0, values={"step": 1, "val accuracy": 0.8})
        yield Event("done", 1.0, record=a_run(Path("runs/classify/cnn-digits")))

    return training


def test_train_hands_on_only_what_was_said(souron_says: Said, pretend: Any) -> None:
    asked: list[Any] = []
    pretend("runs.train", training=fake_training(asked))
    assert souron_says("train", "cnn", "--quiet")[0] == 0
    assert asked[-1] == ("cnn", None, {"config": {}, "project": "runs"})
    souron_says(
        *shlex.split(
            "train model=cnn data=photos/ epochs=5 --imgsz 64 lr0=0.1 pretrained=true freeze=true "
            "kernel=7 --hidden 10,20 patience=3 name='a b' project=out device=cpu seed=4"
        )
    )
    assert asked[-1] == (
        "cnn",
        "photos/",
        {
            "budget": "5ep",
            "side": 64,
            "rate": 0.1,
            "pretrained": True,
            "freeze": True,
            "config": {"kernel": "7", "hidden": "10,20"},
            "patience": 3,
            "name": "a b",
            "project": "out",
            "device": "cpu",
            "seed": 4,
        },
    )
    souron_says("train", "cnn", "time=90", "pretrained=runs/x")
    assert asked[-1][2]["budget"] == "90s"
    assert asked[-1][2]["pretrained"] == "runs/x"


def test_a_name_beside_model_is_the_system_and_model_one_of_its_options(souron_says: Said, pretend: Any) -> None:
    asked: list[Any] = []
    pretend("runs.train", training=fake_training(asked))
    assert souron_says("train", "lora", "model=gpt_small", "--quiet")[0] == 0
    assert asked[-1] == ("lora", None, {"config": {"model": "gpt_small"}, "project": "runs"})
    code, _out, err = souron_says("train", "cnn", "model=resnet", "--json")
    assert code == 2
    assert "model" in err


def test_two_names_of_one_thing_are_refused(souron_says: Said) -> None:
    for command in ("val", "export", "serve"):
        code, _out, err = souron_says(command, "cnn", "model=resnet")
        assert code == 2
        assert "cnn" in err and "resnet" in err, command


def test_train_shows_progress_on_stderr_and_the_result_on_stdout(souron_says: Said, pretend: Any) -> None:
    pretend("runs.train", training=fake_training([]))
    code, out, err = souron_says("train", "cnn", "data=digits")
    assert code == 0
    for text in ("91.2 %", "90.0–93.0 %", "360", "forecast", "10 s", "11 s", "猫.png", "report.html"):
        assert text in out
    for text in ("reading data", "training", "50 %", "5.0 s left", "accuracy 80.0 %", "1 GB"):
        assert text in err
    assert "reading data" not in out


def test_train_json_is_one_object_and_nothing_else_on_stdout(souron_says: Said, pretend: Any) -> None:
    pretend("runs.train", training=fake_training([]))
    _code, out, err = souron_says("train", "cnn", "--json")
    found = json.loads(out)
    assert out.count("\n") == 1
    assert set(found) == {
        "run",
        "system",
        "data",
        "engine",
        "measures",
        "train_seconds",
        "forecast",
        "outcome",
        "skipped",
        "notes",
    }
    assert set(found["measures"]["accuracy"]) == {"value", "low", "high", "n", "groups"}
    assert "training" in err
    assert souron_says("train", "cnn", "--json", "--quiet")[2] == ""


def test_json_has_null_where_a_number_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    cli_console.print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": Path("x")})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": "x"}


@pytest.mark.parametrize(
    ("folder", "hint"),
    [
        ("runs/classify/cnn", "souron train resume=runs/classify/cnn"),
        ("runs/compare/x", "souron compare resume=runs/compare/x"),
    ],
)
def test_an_interrupted_run_says_how_to_go_on(souron_says: Said, pretend: Any, folder: str, hint: str) -> None:
    def training(*given: Any, **options: Any) -> Any:
        yield Event("train", 0.5)
        raise Interrupted(Path(folder))

    pretend("runs.train", training=training)
    code, out, err = souron_says("train", "cnn", "--quiet")
    assert (code, out) == (130, "")
    assert hint in err


def test_resume_without_a_folder_takes_the_latest_unfinished_run(
    souron_says: Said, pretend: Any, tmp_path: Path
) -> None:
    asked: list[Any] = []
    pretend("runs.train", training=fake_training(asked))
    for age, name in enumerate(["classify/new", "classify/old", "classify/done", "compare/other"]):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        (run / "args.yaml").touch()
        os.utime(run / "args.yaml", (10**9 - age, 10**9 - age))
    (tmp_path / "runs/classify/done/receipt.json").touch()
    os.utime(tmp_path / "runs/compare/other/args.yaml")
    assert souron_says("train", "--resume")[0] == 0
    assert asked[-1][2]["resume"] == "runs/classify/new"
    souron_says("train", "resume=runs/classify/old")
    assert asked[-1][2]["resume"] == "runs/classify/old"


def a_comparison() -> Any:
    from souron.evaluation.record import ComparisonRecord
    from souron.metrics.metric import Metric
    from souron.metrics.ranking import Ranking
    from souron.stats.records import Row, Verdict

    rows = [
        Row(name, "accuracy", value, value - 0.01, value + 0.01, 10.0, 20_000.0, 50_000, 10**6, ())
        for name, value in (("cnn", 0.95), ("mlp", 0.9), ("vit", 0.89))
    ]
    return ComparisonRecord(
        folder=Path("runs/compare/x"),
        task="classify",
        data="digits",
        budget="10s",
        seeds=3,
        cases=360,
        ranking=Ranking(
            Metric("accuracy", unit="share"),
            rows,
            [
                Verdict("cnn", "mlp", 0.05, 0.02, 0.08, "better", None, None),
                Verdict("mlp", "vit", 0.01, -0.02, 0.04, "cannot tell", 4200, None),
            ],
        ),
        sentence="cnn is better than mlp.",
        curves={},
        scores={},
        report=Path("runs/compare/x/report.html"),
        receipt={},
    )


def fake_comparing(asked: list[Any]) -> Any:
    def comparing(systems: list[str], data: Any, **options: Any) -> Any:
        asked.append((systems, data, options))
        row = {
            "system": "cnn",
            "seed": 0,
            "seconds": 3.0,
            "fraction": 0.3,
            "val": 0.9,
            "measures": ("accuracy", "accuracy"),
            "test": [0.8],
        }
        yield Event("train", 0.3, 20.0, "cnn, 1/3", rows=[row])
        yield Event("done", 1.0, record=a_comparison())

    return comparing


def test_compare_ranks_and_gives_verdicts(souron_says: Said, pretend: Any) -> None:
    asked: list[Any] = []
    pretend("runs.compare", comparing=fake_comparing(asked))
    code, out, err = souron_says("compare", "cnn", "mlp", "vit", "data=digits", "budget=10s", "seeds=3")
    assert code == 0
    assert asked[-1] == (["cnn", "mlp", "vit"], "digits", {"budget": "10s", "project": "runs"})
    assert out.startswith("cnn is better than mlp.")
    for text in ("95.0 %", "cnn is better", "about 4,200 more test cases", "report.html"):
        assert text in " ".join(out.split())
    assert "20 s left" in err


def test_compare_json_is_the_object_that_was_promised(souron_says: Said, pretend: Any) -> None:
    pretend("runs.compare", comparing=fake_comparing([]))
    found = json.loads(souron_says("compare", "cnn", "mlp", "vit", "--json")[1])
    assert {"task", "data", "budget", "seeds", "cases", "rows", "verdicts", "sentence", "report"} <= (set(found))
    assert found["verdicts"][1]["verdict"] == "cannot tell"


def test_the_live_line_says_what_runs_and_how_long() -> None:
    following = cli_console.Following()
    console = Console(width=100, record=True, file=io.StringIO())
    row = {
        "system": "cnn",
        "seed": 0,
        "seconds": 3.0,
        "fraction": 0.3,
        "val": 0.9,
        "test": [0.8],
        "measures": ("accuracy", "accuracy"),
    }
    following.event = Event("train", 0.3, 80.0, "cnn, 1/3", rows=[row])
    console.print(following)
    text = console.export_text()
    for expected in ("training: cnn, 1/3", "30 %", "1 min 20 s left", "90.0 %", "80.0 %"):
        assert expected in text


@dataclass
class Answer:
    labels: tuple[str, ...] = ("cat", "dog", "猫")
    probabilities: tuple[float, ...] = (0.2, 0.1, 0.7)

    def called(self, label: str) -> str:
        return label


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    def predict(model: Any, files: list[str]) -> Any:
        for file in files:
            broken = UserError("truncated", f"{file}: ends too early", exit=3)
            yield Path(file), broken if "bad" in file else Answer()

    loaded = SimpleNamespace(name="m", folder=None, learnt_from="fashion", asked=ASKED, **EAGER)
    monkeypatch.setattr(models_api, "load", lambda name, pretrained, engine: loaded)
    monkeypatch.setattr(models_api, "predict", predict)


def test_predict_json_is_one_object_a_line(souron_says: Said, predictor: None) -> None:
    code, out, _err = souron_says("predict", "mlp", "a=b.png", "bad.png", "日本 '語.png", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert lines[0]["file"] == "a=b.png"
    assert lines[0]["labels"][0] == {"label": "猫", "probability": 0.7}
    assert set(lines[1]) == {"file", "error"}
    assert lines[2]["file"] == "日本 '語.png"


def test_predict_csv_and_table(souron_says: Said, predictor: None) -> None:
    code, out, _err = souron_says("predict", "mlp", "a,b.png", "--csv", "top=2")
    assert code == 0
    assert out.splitlines() == ["file,rank,label,probability", '"a,b.png",1,猫,0.700000', '"a,b.png",2,cat,0.200000']
    code, out, err = souron_says("predict", "mlp", "a.png", "bad.png", "--", "-x.png")
    assert code == 3
    assert "70.0 %" in out
    assert "-x.png" in out
    assert "[truncated] bad.png: ends too early" in err


def test_predict_says_when_a_glob_matches_nothing(souron_says: Said, monkeypatch: Any) -> None:
    loaded = SimpleNamespace(name="m", folder=None, learnt_from="fashion", asked=ASKED, **EAGER)
    nothing = lambda *given: iter(())  # noqa: E731
    monkeypatch.setattr(models_api, "load", lambda *given, **named: loaded)
    monkeypatch.setattr(models_api, "predict", nothing)
    code, _out, err = souron_says("predict", "mlp", "*.png")
    assert code == 3
    assert "[no files]" in err
    assert "*.png" in err


def test_val_measures_a_run(souron_says: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(folder: str, data: Any = None, **options: Any) -> Any:
        return a_run(Path(folder))

    monkeypatch.setattr("souron.runs.evaluate.examine", examine)
    assert "91.2 %" in souron_says("val", "runs/x")[1]
    found = json.loads(souron_says("val", "runs/x", "data=d", "--json")[1])
    assert found["measures"]["accuracy"]["n"] == 360
    assert (found["run"], found["data"]) == ("runs/x", "d")


def test_a_forecast_of_a_system_in_two_ways(souron_says: Said) -> None:
    code, out, _err = souron_says("compare", "mlp_tiny:rate=0.1", "mlp_tiny", "data=digits", "budget=1s", "--forecast")
    assert code == 0
    assert "mlp_tiny:rate=0.1, mlp_tiny on digits" in out


def test_a_chapter_of_the_tour_shows_each_stop_as_it_comes(souron_says: Said, pretend: Any) -> None:
    def touring(name: str, given: Any) -> Any:
        assert name == "fair-fight" and given.budget == "1s"
        yield Event("train", 0.5)
        yield Event("done", 1.0, record=a_run(Path("runs/classify/cnn-digits")))
        yield Event("train", 0.5)
        yield Event("done", 1.0, record=a_comparison())

    pretend("actions.tour.chapters", touring=touring)
    code, out, _err = souron_says("tour", "fair-fight", "budget=1s")
    assert code == 0
    assert out.index("91.2 %") < out.index("cnn is better than mlp.")
    assert out.rstrip().endswith("runs/compare/x/report.html")
    told = json.loads(souron_says("tour", "budget=1s", "--json")[1])
    assert told["chapter"] == "fair-fight" and told["sentence"] == "cnn is better than mlp."


def test_fetch_goes_on_after_a_failure_and_says_so(souron_says: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    from souron.hub import fetch as hub_fetch

    def fetch(name: str, watch: Any, used: Any) -> Path:
        watch(1, 2)
        if name == "mnist":
            raise UserError("offline", "no way there", exit=4)
        return Path("cache") / name

    monkeypatch.setattr(hub_fetch, "fetch", fetch)
    code, out, err = souron_says("fetch", "mnist", "fashion")
    assert code == 4
    assert "fashion: cache/fashion" in out
    assert "[offline]" in err
    found = json.loads(souron_says("fetch", "mnist", "fashion", "--json", "--quiet")[1])
    assert found["fetched"] == {"fashion": "cache/fashion"}
    assert found["failed"][0]["code"] == "offline"
    assert souron_says("fetch", "fashoin")[0] == 2


def test_fetch_lists_without_fetching(souron_says: Said) -> None:
    code, out, _err = souron_says("fetch", "--list")
    assert code == 0
    assert "resnet18" in out
    found = {item["name"]: item for item in json.loads(souron_says("fetch", "--where", "--json")[1])}
    assert found["cifar10"]["sort"] == "data"
    assert "where" in found["resnet18"]


def test_doctor_says_what_this_machine_can_do(souron_says: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _err = souron_says("doctor", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["usable"]
    assert found["data"]["digits"]
    assert found["memory"] >= found["memory_free"] > 0
    assert set(found["can_train"]) == set(registry.entries())
    assert found["packages"]["torch"] == hardware.installed("torch")
    _code, out, _err = souron_says("doctor")
    assert "souron tour" in out
    monkeypatch.setattr(doctor, "can_write", lambda folder: False)
    code, out, err = souron_says("doctor")
    assert code == 4
    assert "souron tour" not in out
    assert "nothing can be written" in err


def test_a_folder_that_cannot_be_written_is_noticed(tmp_path: Path) -> None:
    assert doctor.can_write(tmp_path)
    assert not doctor.can_write(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("amx", "avx512", "vendor", "faster"),
    [
        (True, True, "GenuineIntel", True),
        (False, True, "GenuineIntel", False),  # multiplies no faster than in float32
        (False, True, "AMD64 Family 25 Model 97 Stepping 2, AuthenticAMD", True),
        (False, False, "AuthenticAMD", False),
        (False, False, "", False),
    ],
)
def test_bfloat16_where_it_is_faster(monkeypatch, amx, avx512, vendor, faster) -> None:
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(hardware, "_vendor", lambda: vendor)
    assert hardware.bf16() is faster


def test_facts_need_no_torch() -> None:
    done = fresh(
        "import sys; from souron.utils import hardware; found = hardware.facts(); "
        "assert found['cores'] >= 1 and found['processor'] and found['packages']['torch']; "
        "assert 'torch' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr


def test_an_unknown_device_is_answered_with_those_there_are() -> None:
    assert hardware.device("cpu").type == "cpu"
    assert hardware.device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(UserError, match="no device 'tpu'") as caught:
        hardware.device("tpu")
    assert "cpu" in caught.value.expected
    assert caught.value.exit == 4


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_the_calm_allocator_keeps_big_blocks() -> None:
    """A freed block of 200 MB stays with the process, ready to be used again."""
    code = (
        "from souron.utils import hardware; import ctypes, psutil; {}; c = ctypes.CDLL(None); "
        "c.malloc.restype = ctypes.c_void_p; p = c.malloc(ctypes.c_size_t(200_000_000)); "
        "ctypes.memset(p, 1, 200_000_000); c.free(ctypes.c_void_p(p)); "
        "print(psutil.Process().memory_info().rss)"
    )
    assert int(fresh(code.format("assert hardware.calm_allocator()")).stdout) > 200_000_000
    assert int(fresh(code.format("pass")).stdout) < 200_000_000


def test_version(souron_says: Said) -> None:
    assert souron_says("version")[:2] == (0, f"souron {souron.__version__}\n")
    assert souron_says("--version")[1] == f"souron {souron.__version__}\n"
    assert json.loads(souron_says("version", "--json")[1])["torch"] == hardware.installed("torch")


def test_shells_complete_systems_and_options_without_torch() -> None:
    def complete(line: str) -> str:
        words = line.split(" ")
        done = fresh(
            "import sys; from souron.cli import main as cli; sys.argv = ['souron']\n"
            "try: cli.main()\nfinally: assert 'torch' not in sys.modules",
            _SOURON_COMPLETE="complete_bash",
            COMP_WORDS=line,
            COMP_CWORD=str(len(words) - 1),
        )
        assert "Error" not in done.stderr
        return done.stdout

    assert "resnet152" in complete("souron train resnet1").split()
    assert "vgg16" not in complete("souron train resnet1").split()
    assert "--epochs" in complete("souron train cnn --ep").split()
    assert "compare" in complete("souron co").split()


def test_output_that_nobody_reads_to_the_end_is_no_error() -> None:
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -m souron list | head -1", shell=True, capture_output=True, text=True
    )
    assert done.stderr == ""
