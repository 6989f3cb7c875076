"""A trained system as a folder that others run without souron."""

import ast
import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import isolation
import numpy as np
import pytest
import roots
import torch
import waiting
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils._sympy import functions

import souron
from souron import model as models_api
from souron import registry
from souron.blocks import folded_mobilenet
from souron.blocks.portable import Answer, Free, Input, Pixels, Portable, portable_of
from souron.cli import main
from souron.exports import cases, graph, resampling
from souron.exports import export as exports
from souron.exports.formats import onnx, openvino
from souron.exports.parts.compared import compared
from souron.exports.parts.within import within
from souron.exports.program import answers, program
from souron.hub import zoo
from souron.kinds.picture import Picture
from souron.kinds.signature import signature
from souron.systems.classify import efficientnet_lite
from souron.tasks.generate import Generator
from souron.utils import extras, files
from souron.utils.messages import UserError

ROOT = roots.ROOT
sys.path.append(str(ROOT / "docs"))
elsewhere = import_module("elsewhere")
sys.path.remove(str(ROOT / "docs"))

NOTES = json.loads(elsewhere.NOTES.read_text(encoding="utf-8"))
ENTRIES = registry.entries()
PASSED = [
    (name, format)
    for name, note in NOTES.items()
    for format, one in note.items()
    if name in ENTRIES and isinstance(one, dict) and "worst" in one
]


def cnn(place, labels=tuple("0123456789"), data="gone", seed=0):
    """The folder of an untrained network with these labels, and data that is not there."""
    kind = registry.load_system("cnn_tiny")[0]
    spec = import_module("souron.tasks.classify").Spec(1, 28, labels, (0.3,), (0.4,))
    torch.manual_seed(seed)
    system = kind(kind.SIZES["tiny"], spec)
    from souron.runs import folder

    args = {"system": "cnn_tiny", "config": folder.as_plain(system.config), "seen": folder.as_plain(spec), "data": data}
    folder.write_args(place, args)
    files.write_tensors(place / "weights" / "best.safetensors", system.state_dict(), {})
    return place


def picture(size=(50, 40), mode="RGB", seed=0):
    random = np.random.default_rng(seed)
    image = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(size)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(random.integers(0, 256, size[::-1], dtype=np.uint8)))
        return image
    return image.convert(mode)


# the whole way, outside of souron


@pytest.mark.parametrize("format", exports.format_names())
def test_a_folder_answers_as_souron_does_where_souron_is_not(tmp_path, format):
    run = cnn(tmp_path / "run")
    picture().save(tmp_path / "photo.png")
    made = souron.export(run, format=format, out=tmp_path / "out")
    assert made.format == format and made.max_difference <= exports.TOLERANCE and made.changed_labels == 0
    assert set(made.files) == {file.name for file in (tmp_path / "out").iterdir()}
    assert {"run.py", "answers.py", "model.json", "labels.txt", "check.npz", "README.md"} < set(made.files)
    program = tmp_path / "out" / "run.py"
    done = elsewhere.outside(program, "--check")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["equal"] is True
    done = elsewhere.outside(program, str(tmp_path / "photo.png"))
    assert "nothing here checks" in done.stderr
    first = json.loads(done.stdout.splitlines()[0])
    label, probability = souron.load(run)(tmp_path / "photo.png").best
    assert first["label"] == label and first["probability"] == pytest.approx(probability, abs=1e-4)
    assert not [file for file in program.parent.iterdir() if file.name not in made.files], "a report or a cache"


def test_the_check_fails_where_answers_differ(tmp_path):
    made = souron.export(cnn(tmp_path / "run"), out=tmp_path / "out")
    held = dict(np.load(tmp_path / "out" / "check.npz"))
    held["out_probability"][3] = held["out_probability"][3] * 1.01
    np.savez(tmp_path / "out" / "check.npz", **held)
    done = elsewhere.outside(Path(made.folder) / "run.py", "--check")
    assert done.returncode == 1 and json.loads(done.stdout)["equal"] is False


def test_what_is_no_souron_is_really_shut_out(tmp_path):
    (tmp_path / "run.py").write_text("import souron\n")
    assert "ModuleNotFoundError" in elsewhere.outside(tmp_path / "run.py").stderr


@pytest.mark.slow
@pytest.mark.parametrize(("name", "format"), isolation.of_commit(PASSED, 4))
def test_what_the_table_calls_validated_is(tmp_path, name, format):
    made = exports.export(elsewhere.run_of(ENTRIES[name], tmp_path), format)
    done = elsewhere.outside(Path(made.folder) / "run.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert made.batch == NOTES[name][format]["batch"]


ALWAYS = ["yolo", "efficientnet_lite"]  # a backbone that pads by its own rule; a thousand labels
LEAVING = [
    name
    for name in sorted(file.parent.name for file in zoo.root().glob("*/args.yaml"))
    if name not in ALWAYS and not NOTES[zoo.system_of(name)].get("blocked")
]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ALWAYS, *isolation.of_commit(LEAVING, 2)])
def test_what_comes_ready_trained_leaves_as_it_comes(tmp_path, name):
    words = [sys.executable, "-m", "souron", "export", name, "format=onnx", f"out={tmp_path / 'out'}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=4 * waiting.LIMIT)
    assert done.returncode == 0, done.stderr
    assert "tracing the network" in done.stderr and "comparing the answers" in done.stderr
    assert elsewhere.outside(tmp_path / "out" / "run.py", "--check").returncode == 0


# the table


def test_every_system_stands_in_the_table_with_its_reason():
    assert set(NOTES) - {"versions"} == set(ENTRIES), "python docs/elsewhere.py NAME"
    for name, entry in ENTRIES.items():
        note = NOTES[name]
        assert note.get("blocked") or set(note) == set(exports.format_names()), name
        blocked = registry.load_system(registry.full_name(entry, "tiny"))[0].blocked
        assert not blocked or note["blocked"] == blocked, name


def test_the_page_is_that_of_the_notes():
    assert elsewhere.PAGE.read_text(encoding="utf-8") == elsewhere.written(NOTES), "python docs/elsewhere.py"


def test_a_long_reason_ends_at_a_word():
    reason = elsewhere.shortened("converted | " * 30 + "\nanother line")
    assert reason.endswith("converted / …") or reason.endswith("converted …")
    assert "|" not in reason and 100 < len(reason) <= elsewhere.LONGEST
    assert elsewhere.shortened("short\n") == "short"


MOSTLY = ("classify", "detect", "segment", "generate")


def test_most_systems_leave():
    """A network that no longer leaves is a loss that somebody has to notice."""
    for task in MOSTLY:
        names = [name for name, entry in ENTRIES.items() if entry.task == task]
        leaving = {name for name, _format in PASSED} & set(names)
        assert len(leaving) >= 0.6 * len(names), task


# run.py


REPRESENTATIVES = ("cnn", "yolo", "yolo_seg", "yolo_pose", "unet", "u2net", "heatmap_points", "cyclegan", "dcgan",
                   "clip", "bert", "bert_mask", "bert_tag", "gpt", "unet_3d")  # fmt: skip


@pytest.fixture(scope="module")
def portables():
    return {name: portable_of(elsewhere.built(ENTRIES[name]).eval()) for name in REPRESENTATIVES}


def test_a_program_is_short_and_holds_nothing_of_a_user(portables):
    ways = {(one.reads, one.shows) for one in portables.values()} | {("square", "findings")}
    for format in exports.format_names():
        writer = exports._format(format)
        text = program(writer.PACKAGES, writer.RUN, "IMAGE")
        assert len(text.splitlines()) <= 40
        assert imported(text) <= {"json", "logging", "os", "sys", "pathlib", "numpy", "answers", *RUNTIMES}
    for reads, shows in ways:
        assert imported(answers(reads, shows)) <= {"json", "sys", "pathlib", "typing", "wave", "numpy", "PIL"}


RUNTIMES = ("openvino", "onnxruntime", "torch")


def imported(text):
    """The modules that a program imports."""
    nodes = list(ast.walk(ast.parse(text)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom)}


def test_every_part_is_used_and_every_system_names_parts_that_exist(portables):
    folder = Path(exports.__file__).parent / "parts"
    for one in portables.values():
        assert (folder / f"{one.reads}.py").is_file() and (folder / f"{one.shows}.py").is_file()


SIZES = [(50, 40), (40, 90), (28, 28), (300, 64)]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "LA", "1"])
@pytest.mark.parametrize("name", ["cnn", "yolo", "unet", "u2net", "clip"])
def test_a_program_reads_images_as_souron_does(tmp_path, monkeypatch, portables, name, mode):
    monkeypatch.chdir(tmp_path)
    one = portables[name]
    assert one.of_kind is not None
    for number, size in enumerate(SIZES):
        file = tmp_path / f"{number}.png"
        picture(size, mode, number).save(file)
        wanted = one.of_kind(Picture.read(file))
        if min(wanted[0].shape[2:]) < 64 and "step" in one.about and one.about["step"]:
            continue  # narrower than the network takes: padded
        given, _place = part(one.reads).read(str(file), one.about)
        for mine, theirs in zip(given, wanted, strict=True):
            assert np.array_equal(mine, theirs.numpy()), (size, mode)


def test_a_large_jpeg_is_read_at_a_part_of_its_size_as_in_souron(tmp_path, portables):
    one = portables["cnn"]
    picture((900, 700)).save(tmp_path / "large.jpg")
    system = elsewhere.built(ENTRIES["cnn"])
    wanted = one.of_kind(Picture.read(tmp_path / "large.jpg", **system.reading()))
    given, _place = part("square").read(str(tmp_path / "large.jpg"), one.about)
    assert np.array_equal(given[0], wanted[0].numpy())


def part(name):
    return import_module(f"souron.exports.parts.{name}")


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    """What the program shows of a ready system's answer to a file, as JSON lines, and souron's own answer."""
    monkeypatch.chdir(tmp_path)

    def show(name, file=None, **options):
        model = models_api.load(name)
        one = portable_of(model.system.eval())
        file = file or zoo.examples(model.folder)[0]
        about = json.loads(json.dumps(dict(one.about)))
        given, place = part(one.reads).read(str(file), about)
        with torch.no_grad():
            outputs = [tensor.numpy() for tensor in one.network(*map(torch.from_numpy, given))]
        labels = [exports.line(label) for label in one.labels]
        part(one.shows).show(outputs, place, about, labels)
        return [json.loads(text) for text in capsys.readouterr().out.splitlines()], model(file, **options)

    return show


def test_labels_are_those_of_souron(shown):
    lines, answer = shown("mlp")
    assert [line["label"] for line in lines] == [label for label, _p in answer.top5]
    assert [line["probability"] for line in lines] == pytest.approx([p for _label, p in answer.top5], abs=1e-5)


@pytest.mark.parametrize("name", ["yolo_tiny", "ssd_tiny"])
def test_boxes_are_those_of_souron(shown, tmp_path, name):
    wide = Image.new("RGB", (300, 190), "white")
    wide.paste(Image.open(zoo.examples(models_api.load(name).folder)[0]).convert("RGB").resize((190, 190)), (40, 0))
    wide.save(tmp_path / "wide.png")
    lines, answer = shown(name, tmp_path / "wide.png", conf=0.25)
    assert len(lines) == len(answer.labels) > 0
    assert [line["label"] for line in lines] == list(answer.labels)
    assert np.allclose([line["box"] for line in lines], answer.box, atol=1e-2)
    assert np.allclose([line["score"] for line in lines], answer.scores, atol=1e-4)


def test_a_mask_is_that_of_souron(shown, tmp_path):
    [line], answer = shown("unet")
    area = np.asarray(Image.open(tmp_path / line["file"]))
    assert (area == answer.area).mean() > 0.9999 and sum(line["shares"].values()) == pytest.approx(1)


def test_objects_are_those_of_souron(shown, tmp_path):
    lines, answer = shown("yolo_seg_tiny")
    *objects, written = lines
    area = np.asarray(Image.open(tmp_path / written["file"]))
    assert [one["label"] for one in objects] == list(answer.names) and objects
    whole = answer.area.any(0)
    assert ((area > 0) == whole).mean() > 0.9999
    assert ((area == 1) == answer.area[0]).mean() > 0.9999


def test_figures_are_those_of_souron(shown):
    lines, answer = shown("yolo_pose_tiny")
    assert len(lines) == len(answer.labels) > 0
    points = [[xy[:2] for xy in line["points"].values()] for line in lines]
    assert np.allclose(points, answer.point, atol=1e-2)


def test_landmarks_are_those_of_souron(shown):
    lines, answer = shown("heatmap_points")
    assert np.allclose([(line["x"], line["y"]) for line in lines], answer.point, atol=1e-2)


@pytest.mark.parametrize("name", ["compact", "cyclegan"])
def test_an_image_is_that_of_souron(shown, tmp_path, name):
    [line], answer = shown(name)
    made, own = np.asarray(Image.open(tmp_path / line["file"])), np.asarray(answer.after.image)
    assert made.shape == own.shape and np.abs(made.astype(int) - own).max() <= 1


def test_the_next_token_is_that_of_souron(portables):
    model = elsewhere.built(ENTRIES["gpt"]).eval()
    tokens = model.tokenizer.encode("a text that is continued")
    [given], _place = part("tokens").read(",".join(map(str, tokens)), portables["gpt"].about)
    [logits] = portable_of(model).network(torch.from_numpy(given))
    assert torch.allclose(logits, model(torch.tensor([tokens])).float())


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_what_lies_between_0_and_1_is_named_a_probability(portables, name):
    """It is compared in parts of the largest: nearly all landmarks are sure, and their spread is a few hundredths."""
    portable = portables[name]
    outputs = dict(zip(portable.outputs, graph.eager(portable, portable.sample(2)), strict=True))
    shares = {key for key, tensor in outputs.items() if tensor.min() >= 0 and tensor.max() <= 1}
    assert shares - {"image", "result"} <= {"probability"}


def test_a_number_that_the_network_does_not_know_is_refused():
    about = {"inputs": {"noise": [3], "label": []}, "below": {"label": 10}}
    noise = np.full((1, 3), 99.0, np.float32)
    assert within([noise, np.array([9])], about)[1] == 9
    for label in (10, -1):
        with pytest.raises(ValueError, match="label: numbers from 0 to 9"):
            within([noise, np.array([label])], about)
    assert "run(within(inputs, about))" in program((), "", "SEED")


def test_a_seed_gives_the_same_image_again(portables):
    one = portables["dcgan"]
    first, again, other = (part("noise").read(seed, one.about)[0] for seed in ("7", "7", "8"))
    draw = [one.network(*map(torch.from_numpy, given))[0] for given in (first, again, other)]
    assert torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2])
    assert draw[0].min() >= 0 and draw[0].max() <= 1


# labels and other things from users


HOSTILE = ("two\nlines", "<b>bold</b>", 'a "quoted" one', "日本語", "\x1b[31mred", "'''; import os #", "\u2028end", "")


def test_labels_are_never_code_and_stay_in_order(tmp_path):
    run = cnn(tmp_path / "run", HOSTILE)
    made = souron.export(run, format="torch", out=tmp_path / "out")
    labels = (tmp_path / "out" / "labels.txt").read_text(encoding="utf-8").split("\n")
    assert labels[-1] == "" and len(labels) == len(HOSTILE) + 1
    assert labels[1] == HOSTILE[1] and labels[3] == HOSTILE[3] and "\x1b" not in "".join(labels)
    text = (tmp_path / "out" / "run.py").read_text(encoding="utf-8")
    assert not [label for label in HOSTILE if len(label) > 1 and label in text]
    picture().save(tmp_path / "photo.png")
    done = elsewhere.outside(Path(made.folder) / "run.py", str(tmp_path / "photo.png"))
    said = {json.loads(line)["label"] for line in done.stdout.splitlines()}
    assert len(said) == 5 and said <= set(labels), done.stderr


def test_paths_of_the_user_stay_at_home(tmp_path):
    run = cnn(tmp_path / "run", data=str(tmp_path / "patients of Dr. Tanaka"))
    receipt = {"data": {"name": str(tmp_path / "patients"), "licence": "own"}, "machine": {"processor": "secret"}}
    (run / "receipt.json").write_text(json.dumps(receipt))
    souron.export(run, format="torch", out=tmp_path / "out")
    text = (tmp_path / "out" / "model.json").read_text(encoding="utf-8")
    about = json.loads(text)
    assert str(tmp_path) not in text and "secret" not in text
    assert about["trained_on"] == {"name": "patients", "licence": "own"} and about["licence"] == "own"


def own_run(tmp_path, digits):
    """A run on a folder of images of a user's."""
    for number in range(60):
        place = tmp_path / "photos" / str(number % 2)
        place.mkdir(parents=True, exist_ok=True)
        image = digits.input[number, 0].numpy()
        Image.fromarray(image).resize((28, 28)).save(place / f"{number}.png")
    return souron.train("cnn_tiny", tmp_path / "photos", budget="1ep", folds=1).folder


def test_a_users_cases_are_compared_but_not_given_away(tmp_path, digits):
    run = own_run(tmp_path, digits)
    made = exports.export(run, "torch", tmp_path / "out")
    assert (made.source, made.kept) == ("validation", "noise")
    kept = exports.export(run, "torch", tmp_path / "kept", cases="validation")
    assert (kept.source, kept.kept) == ("validation", "validation")
    own, noise = (np.load(tmp_path / name / "check.npz")["in_image"] for name in ("kept", "out"))
    assert own.shape == noise.shape or len(own) < 16
    assert not {one.tobytes() for one in own} & {one.tobytes() for one in noise}
    assert not cases.is_own("digits") and cases.is_own(str(tmp_path / "photos"))


def test_a_run_whose_data_is_gone_is_compared_on_noise(tmp_path):
    made = souron.export(cnn(tmp_path / "run"), format="torch", out=tmp_path / "out")
    assert (made.source, made.kept, made.cases) == ("noise", "noise", 16)


def test_a_ready_system_is_compared_on_its_examples_where_its_data_is_not_here(tmp_path):
    made = souron.export("mlp", format="torch", out=tmp_path / "out")
    assert made.source in ("examples", "validation") and made.left_out == ("familiar",)
    assert "nothing here checks" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "nothing here checks" in made.as_json()["notice"]
    about = json.loads((tmp_path / "out" / "model.json").read_text(encoding="utf-8"))
    assert about["licence"] == "MIT" and about["trained_on"]["name"] == "fashion" and about["measures"]


# answers that differ


class Averaging(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, image):
        return (self.conv(image.float() / 50).mean((2, 3)).softmax(1),)


class Enlarging(nn.Module):
    """Bicubic interpolation with a = -1/2, of which PyTorch 2.13 makes another one in an ONNX file."""

    def forward(self, image):
        return (F.interpolate(image.float(), scale_factor=2, mode="bicubic", antialias=True).flatten(1),)


def toy(network=None):
    return Portable(
        network or Averaging(), (Input("image", (1, 8, 8)),), ("probability",), "square", "labels", tuple("abcd"),
        {"probability": 1}, {"side": 8, "channels": 1},
    )  # fmt: skip


def checked(tmp_path, portable, writer):
    """Write a network and compare it, as an export does."""
    about = {
        "inputs": {"image": []}, "outputs": ["probability"], "decides": {"probability": 1}, "batch": "any",
        "tolerance": exports.TOLERANCE, "format": "a format", "system": "toy",
    }  # fmt: skip
    held = exports._check(portable, portable.sample(16))
    return exports._network(tmp_path / writer.FILE, writer, portable, about, [held], lambda step: None)


def test_a_network_that_is_converted_wrongly_is_refused(tmp_path, monkeypatch):
    checked(tmp_path, toy(), onnx)
    monkeypatch.setattr(resampling, "decompositions", dict)
    with pytest.raises(UserError, match=r"other answers.*off by"):
        checked(tmp_path, toy(Enlarging()), onnx)


@pytest.mark.parametrize("writer", [onnx, openvino])
def test_antialiased_interpolation_is_written_as_products(tmp_path, writer):
    _run, agreement = checked(tmp_path, toy(Enlarging()), writer)
    assert agreement["max_difference"] < exports.TOLERANCE


@pytest.mark.parametrize("writer", [onnx, openvino])
def test_interpolation_follows_the_size_of_an_image(tmp_path, writer):
    class Twice(nn.Module):
        def forward(self, image):
            return (F.interpolate(image.float(), scale_factor=2, mode="bicubic", antialias=True),)

    port = Input("image", (1, 8, 8), free={1: Free(8, 64), 2: Free(8, 64)})
    portable = replace(toy(Twice()), inputs=(port,), outputs=("large",), decides={})
    with graph.quiet():
        writer.write(graph.traced(portable, "toy", many=True), portable, tmp_path / writer.FILE)
    image = torch.randint(256, (2, 1, 12, 30), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    [large] = writer.network(tmp_path / writer.FILE)([image.numpy()])
    torch.testing.assert_close(torch.from_numpy(large), Twice()(image)[0], rtol=0, atol=1e-2)


@pytest.mark.parametrize("convolution", [efficientnet_lite.Convolution, folded_mobilenet.Convolution])
def test_padding_of_a_free_side_has_no_cases(monkeypatch, convolution):
    """A larger one of two sides would be in all sides after it, and simplifying them would never end."""
    made, make = [], functions.Max.__new__
    monkeypatch.setattr(functions.Max, "__new__", lambda *given, **named: made.append(1) or make(*given, **named))
    layers = nn.Sequential(*(convolution(3, 3, kernel, 2) for kernel in (3, 5, 3))).eval()
    free = Free(64, 256, 32)
    image = Input("image", (3, 64, 64), free={1: free, 2: free})
    portable = replace(toy(Pixels(layers, lambda out: (out,))), inputs=(image,))
    assert graph.traced(portable, "toy", many=True) and len(made) < 200, "it was hundreds"


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [{"size": (5, 17)}, {"size": (16, 9)}, {"scale_factor": 2.5}, {"scale_factor": 0.4}])
def test_products_resample_as_pytorch_does(mode, size):
    image = torch.rand(2, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(image, mode=mode, antialias=True, **size)
    scale = size.get("scale_factor")
    kernel = {"bilinear": resampling.triangle, "bicubic": resampling.cubic}[mode]
    resampled = resampling.resampling(kernel)(image, size.get("size"), False, scale and (scale, scale))
    torch.testing.assert_close(resampled, expected, rtol=0, atol=1e-5)


def test_a_flow_takes_the_inverses_of_its_matrices_along():
    glow = elsewhere.built(ENTRIES["glow"]).eval()
    portable = portable_of(glow)
    program = graph.traced(portable, "glow", many=True)
    assert not any("inv" in str(node.target) for node in program.graph.nodes if node.op == "call_function")
    noise = portable.sample(2)
    [image] = portable.network(*noise)
    [expected] = Generator.portable(glow).network(*noise)
    assert torch.equal(image, expected)


def test_a_converter_that_answers_otherwise_leaves_nothing(tmp_path, monkeypatch):
    run = cnn(tmp_path / "run")
    own = openvino.network
    monkeypatch.setattr(openvino, "network", lambda file: lambda given: [1.001 * own(file)(given)[0]])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="other answers"):
        souron.export(run, out=tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


# bad input of a program in the folder


def exported(tmp_path, format="openvino"):
    return Path(souron.export(cnn(tmp_path / "run"), format=format, out=tmp_path / "out").folder)


def sentence_of(place, *words):
    """Return the sentence of a program that fails; never a traceback."""
    done = elsewhere.outside(place / "run.py", *words)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


def test_a_program_says_what_to_do_about_a_wrong_input(tmp_path):
    place = exported(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    for word in (str(tmp_path / "notes.txt"), "gone.png"):
        sentence = sentence_of(place, word)
        assert "cannot be answered" in sentence and "Next: python run.py IMAGE" in sentence
    assert "python run.py IMAGE: an answer" in sentence_of(place)


@pytest.mark.parametrize(
    ("format", "name"),
    [("openvino", "model.bin"), ("openvino", "model.json"), ("openvino", "check.npz"), ("torch", "model.pt2")],
)
def test_a_program_says_what_to_do_about_a_damaged_folder(tmp_path, format, name):
    place = exported(tmp_path, format)
    whole = (place / name).read_bytes()
    (place / name).write_bytes(whole[: len(whole) // 2])
    assert "damaged. Next: copy or export it again" in sentence_of(place, "--check")
    (place / name).unlink()
    assert "damaged" in sentence_of(place, "--check")


def test_other_weights_under_the_same_name_are_noticed(tmp_path):
    place = exported(tmp_path)
    other = Path(souron.export(cnn(tmp_path / "other", seed=1), out=tmp_path / "else").folder)
    (place / "model.bin").write_bytes((other / "model.bin").read_bytes())
    assert "Other answers. Next: copy the folder again" in sentence_of(place, "--check")


def test_a_missing_runtime_is_named(tmp_path):
    place = exported(tmp_path)
    text = (place / "run.py").read_text(encoding="utf-8").replace("import openvino\n", "import no_such_runtime\n")
    (place / "run.py").write_text(text, encoding="utf-8")
    said = sentence_of(place, "--check")
    assert "no_such_runtime cannot be imported here. Next: pip install openvino numpy pillow" in said


ABOUT = {
    "inputs": {"x": []}, "outputs": ["y"], "decides": {"y": 1}, "batch": "any", "tolerance": 1e-4,
}  # fmt: skip


def held(count=4):
    x = np.random.default_rng(0).standard_normal((count, 3), np.float32)
    return {"in_x": x, "out_y": 2 * x}


def test_equal_answers_are_equal_and_a_changed_label_counts():
    assert compared(lambda given: [2 * given[0]], held(), ABOUT) == (0.0, 0)
    worst, changed = compared(lambda given: [-2 * given[0]], held(), ABOUT)
    assert worst > 1 and changed > 0


def test_a_label_within_the_margin_does_not_count():
    close = {"in_x": np.zeros((2, 2), np.float32), "out_y": np.array([[1.0, 1.0 + 1e-6], [0.0, 5.0]], np.float32)}

    def run(given):
        return [close["out_y"][: len(given[0])] + np.array([[2e-6, 0.0]], np.float32)]

    _worst, changed = compared(run, close, {**ABOUT, "batch": "1"})
    assert changed == 1  # the second case is compared with the answers to the first: far beyond the margin
    same = {name: one[:1] for name, one in close.items()}
    assert compared(run, same, {**ABOUT, "batch": "1"})[1] == 0


def test_probabilities_differ_by_parts_of_the_largest():
    """Nearly all of a thousand classes are near 0, and so is their spread."""
    probability = np.full((1, 1000), 1e-6, np.float32)
    probability[0, 3] = 0.999
    held = {"in_x": probability, "out_probability": probability}
    about = {**ABOUT, "outputs": ["probability"], "decides": {"probability": 1}, "batch": "1"}
    assert compared(lambda given: [given[0] - np.float32(9e-6)], held, about)[0] < 2e-5
    assert compared(lambda given: [given[0] * np.float32(0.999)], held, about)[0] > 1e-4


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_answer_that_is_no_number_is_no_equal_answer(wrong):
    def run(given):
        answer = 2 * given[0]
        answer[0, 0] = wrong
        return [answer]

    assert not compared(run, held(), ABOUT)[0] <= 1e-4


def test_answers_that_are_right_for_single_cases_only_are_noticed():
    def run(given):
        return [2 * given[0] if len(given[0]) == 1 else 2 * np.flip(given[0], 0)]

    assert compared(run, held(), ABOUT)[0] > 1e-4
    assert compared(run, held(), {**ABOUT, "batch": "1"}) == (0.0, 0)


def test_an_answer_of_another_shape_is_noticed():
    assert compared(lambda given: [2 * given[0][:1]], held(), ABOUT)[0] == np.inf


def test_a_network_of_one_number_of_cases_takes_one_at_a_time():
    class Fixed(nn.Module):
        def forward(self, image):
            return (image.float().reshape(len(image), 64)[:, :4].softmax(1),)

    with pytest.raises(UserError, match="not traced"):
        graph.traced(toy(Fixed()), "toy", many=True)
    assert graph.traced(toy(Fixed()), "toy", many=False)


def test_a_network_with_a_decision_of_its_own_cannot_be_traced():
    class Deciding(nn.Module):
        def forward(self, image):
            return (image.float(),) if image.float().sum() > 0 else (-image.float(),)

    with pytest.raises(UserError, match="not traced"):
        graph.traced(toy(Deciding()), "toy", many=False)


def test_pixels_are_prepared_within_the_network():
    network = Pixels(nn.Flatten(), lambda out: (out,), 50.0, 10.0)
    [out] = network(torch.full((1, 1, 2, 2), 60, dtype=torch.uint8))
    assert torch.equal(out, torch.ones(1, 4))


def test_a_function_brings_its_weights_along():
    layer = nn.Linear(2, 2)
    assert list(Answer(layer, lambda x: (layer(x),)).parameters())


# what must not be left, or lost


@pytest.mark.parametrize(
    "trouble", [OSError(28, "No space left on device"), KeyboardInterrupt(), RuntimeError("no rule")]
)
def test_nothing_half_is_left(tmp_path, monkeypatch, trouble):
    run = cnn(tmp_path / "run")

    def write(program, portable, file):
        file.write_text("half")
        raise trouble

    monkeypatch.setattr(openvino, "write", write)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((UserError, KeyboardInterrupt)) as raised:
        souron.export(run, out=tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before
    codes = {OSError: "disk", RuntimeError: "not converted"}
    assert getattr(raised.value, "code", None) == codes.get(type(trouble))
    assert not isinstance(trouble, OSError) or raised.value.fix == "out=FOLDER"


def test_nothing_is_overwritten(tmp_path, monkeypatch):
    run = cnn(tmp_path / "run")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists"):
        souron.export(run, format="torch", out=tmp_path / "out")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="exists"):
        souron.export(run, format="torch", out=tmp_path / "lost")
    first, second = (souron.export(run, format="torch").folder for _time in range(2))
    assert Path(first) == run / "export-torch" and Path(second) == run / "export-torch-2"


def test_a_folder_that_appears_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    run = cnn(tmp_path / "run")
    own = exports.write_text
    monkeypatch.setattr(
        exports, "write_text", lambda path, text: ((tmp_path / "out").mkdir(exist_ok=True), own(path, text))
    )
    with pytest.raises(UserError, match="exists"):
        souron.export(run, format="torch", out=tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


# errors


def test_a_system_that_cannot_leave_says_why(tmp_path):
    with pytest.raises(UserError, match=r"no export.*second network"):
        exports.export(elsewhere.run_of(ENTRIES["faster_rcnn"], tmp_path / "run"))
    with pytest.raises(UserError, match=r"no export.*one pass"):
        exports.export(elsewhere.run_of(ENTRIES["transformer"], tmp_path / "other"))


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    run = cnn(tmp_path / "run")
    monkeypatch.setattr(extras, "installed", lambda extra: False)
    with pytest.raises(UserError, match=r"souron\[onnx\]"):
        souron.export(run, format="onnx")


@pytest.mark.parametrize("options", [{"format": "tflite"}, {"format": "../formats/onnx"}, {"cases": "all"}])
def test_other_values_are_refused(tmp_path, options):
    with pytest.raises(UserError, match="value"):
        souron.export(cnn(tmp_path / "run"), **options)


def test_what_was_never_trained_is_not_exported():
    with pytest.raises(UserError, match="not trained"):
        souron.export("visual_qa_small")


# the command


def test_the_command_prints_what_was_made(tmp_path, capsys):
    run = cnn(tmp_path / "run")
    assert main.run(["export", str(run), "format=torch", f"out={tmp_path / 'out'}", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {"format", "folder", "files", "max_difference", "changed_labels", "milliseconds"} < set(said)
    assert said["milliseconds"] > 0 and said["changed_labels"] == 0 and "run.py" in said["files"]
    assert main.run(["export", str(run), "format=torch"]) == 0
    out, err = capsys.readouterr()
    assert "nothing here checks that an input is like the training data" in err
    assert os.sep + "export-torch" in out and "16" in out and "model.pt2" in out
    assert main.run(["export"]) == 2


def test_every_format_has_what_its_contract_asks_for():
    for name in exports.format_names():
        writer = exports._format(name)
        assert writer.EXTRA in ("", *extras.EXTRAS) and writer.FILE and writer.PACKAGES
        assert "def network(file):" in writer.RUN and callable(writer.write) and callable(writer.network)


def test_a_system_without_a_prediction_has_no_examples(tmp_path):
    system = elsewhere.built(ENTRIES["dcgan"])
    assert signature(type(system)) is None
    one = portable_of(system.eval())
    assert cases._examples(system, replace(one, of_kind=lambda kind: []), tmp_path) == []
