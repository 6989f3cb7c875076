"""Faster answers: an engine answers as the network does, or the network answers itself and says why."""

import contextlib
import copy
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import torch
import waiting
from torch import nn

from souron import model, registry
from souron.cli import main
from souron.data import load
from souron.hub import doctor
from souron.inference import building, built, dispatch, engine, graph, int8, trial
from souron.inference.agreement import Agreement
from souron.inference.building import Build
from souron.inference.cases import Parts, of_run, source_names
from souron.inference.cases import parts_of as parts_of_run
from souron.inference.engine import Engine, Plan
from souron.inference.graph import Graph, Signature
from souron.inference.modes import chosen_mode
from souron.inference.outer_calls import Call, recording
from souron.inference.refusal import Refused
from souron.kinds.codecs.image import as_image
from souron.kinds.picture import Picture
from souron.runs import prepare, train
from souron.serve.predictors import ClassifierPredictor
from souron.utils import extras, files, hardware, silent
from souron.utils.messages import UserError

pytestmark = pytest.mark.skipif(not extras.installed("fast"), reason='needs pip install "souron[fast]"')
STRACE = shutil.which("strace")
NEAR = 1e-4  # of probabilities, as float32 adds in another order


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A run of a small convolutional network, with its familiarity check."""
    project = tmp_path_factory.mktemp("runs")
    return train.train("cnn_tiny", "digits", budget="6ep", folds=1, project=str(project))


@pytest.fixture(scope="module")
def images():
    return [Picture.of(one) for one in load.load("digits").input[:12]]


@pytest.fixture(autouse=True)
def fast_enough(monkeypatch):
    """No verdict of these tests depends on the time."""
    for module in (building, int8):
        monkeypatch.setattr(module, "faster", lambda made: 2.0)


class Lines(list):
    def __call__(self, text):
        self.append(text)


def hastened(folder, mode="f32", inputs=None, wait=True):
    """A model with an engine, and the lines that it says."""
    lines = Lines()
    return model.load(folder).hasten(mode, inputs, wait, lines), lines


def difference(one, other):
    return max(abs(a - b) for a, b in zip(one.probabilities, other.probabilities, strict=True))


def test_from_the_second_answer_on_an_engine_answers_as_the_network_does(record, images):
    plain, (fast, lines) = model.load(record.folder), hastened(record.folder)
    named = []
    for image in images:
        assert difference(fast.answer(image), plain.answer(image)) < NEAR
        named.append(fast.answered_by)
    assert named == ["eager"] + ["openvino f32"] * (len(images) - 1)
    assert lines == ["OpenVINO answers from now on (f32, checked on 64 validation cases)"]
    assert plain.answered_by == "eager"
    assert fast.engine.build.record["difference"] < 1e-4


def test_an_engine_is_built_in_the_background_while_the_network_answers(record, images, monkeypatch):
    begin, build = threading.Event(), building.build
    monkeypatch.setattr(building, "build", lambda *given: begin.wait(waiting.LIMIT) and build(*given))
    fast, _lines = hastened(record.folder, wait=False)
    for image in images[:3]:
        fast.answer(image)
        assert fast.answered_by == "eager"
    begin.set()
    fast.engine.wait(waiting.LIMIT)
    fast.answer(images[0])
    assert fast.answered_by == "openvino f32"


def test_an_engine_that_is_slower_is_not_used_unless_it_was_named(record, images, monkeypatch):
    monkeypatch.setattr(building, "faster", lambda made: 0.9)
    for mode, name in (("auto", "eager"), ("f32", "openvino f32")):
        fast, lines = hastened(record.folder, mode, wait=False)
        fast.answer(images[0])
        fast.answer(images[1])
        fast.engine.wait(waiting.LIMIT)
        fast.answer(images[2])
        assert fast.answered_by == name
        assert ("not faster" in lines[-1]) == (mode == "auto")


def test_nothing_is_built_for_short_work(record, images):
    fast, lines = hastened(record.folder, "auto", inputs=3, wait=False)
    for image in images[:3]:
        fast.answer(image)
    assert (fast.answered_by, fast.engine.state, lines) == ("eager", "off", [])
    assert not built.home().exists()


def test_the_familiarity_check_hears_what_the_engine_computed(record, images):
    plain, (fast, _lines) = model.load(record.folder), hastened(record.folder)
    fast.answer(images[0])
    for image in images[:4]:
        [one, other] = [each.answer(image).familiar for each in (plain, fast)]
        assert fast.answered_by == "openvino f32"
        assert abs(one.score - other.score) < 1e-3 * one.score and one.threshold == other.threshold


class Scaled(nn.Module):
    """A network whose conversion went wrong by one percent."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *given):
        return tuple(1.01 * each for each in self.inner(*given))


def wrongly(monkeypatch, change):
    """Let what is converted be another module."""
    openvino = silent.imported("openvino")
    convert = openvino.convert_model

    monkeypatch.setattr(openvino, "convert_model", lambda flat, **given: convert(change(flat), **given))


def test_a_network_that_converts_wrongly_is_refused_with_a_line(record, images, monkeypatch):
    wrongly(monkeypatch, Scaled)
    fast, lines = hastened(record.folder)
    plain = model.load(record.folder)
    for image in images[:3]:
        assert fast.answer(image).probabilities == plain.answer(image).probabilities
    assert fast.answered_by == "eager"
    [line] = lines
    assert line.startswith("answers are computed by PyTorch alone: its outputs differ by 0.0")


class Branch(nn.Module):
    """A layer with a branch on the data, of which tracing keeps one side."""

    def __init__(self, inner, bound):
        super().__init__()
        self.inner, self.bound = inner, bound

    def forward(self, x):
        y = self.inner(x)
        return y if y.mean() > self.bound else 2 * y


def test_a_branch_on_the_data_that_tracing_loses_is_refused(record, images):
    fast, lines = hastened(record.folder)
    fast.system.eval()
    with torch.no_grad():
        means = [float(fast.system(fast.system.batch(rows_of(image)).image).mean()) for image in images]
    fast.system.fc = Branch(fast.system.fc, sorted(means)[len(means) // 2])
    for image in images[:3]:
        fast.answer(image)
    assert fast.answered_by == "eager" and fast.engine.state == "refused"
    assert "differ by" in lines[0]


def rows_of(image):
    from souron.data.dataset import Rows

    return Rows(image.square(8, 1)[None], None)


def test_a_lower_precision_that_differs_too_much_gives_way_to_float32(record, images, monkeypatch):
    monkeypatch.setitem(building.TOLERANCES, "bf16", 0.0)
    fast, lines = hastened(record.folder, "bf16")
    for image in images[:2]:
        fast.answer(image)
    assert fast.answered_by == "openvino f32"
    assert lines[0].startswith("bf16 is not used: its outputs differ by") and len(lines) == 2


def test_a_label_that_changes_against_a_clear_lead_is_refused():
    agreement = Agreement()
    scores = torch.tensor([[1.0, 0.2, 0.0], [0.1, 1.0, 0.0]]).repeat(500, 1)
    other = scores.clone()
    other[0, :2] = torch.tensor([0.58, 0.62])
    agreement.add([scores], [other])
    with pytest.raises(Refused, match="another label"):
        agreement.check(1.2)
    agreement.check(2.0)


def test_equal_outputs_of_other_shape_or_number_are_refused():
    for actual in ([torch.zeros(2, 3)], [], [torch.zeros(3, 2), torch.zeros(1)]):
        agreement = Agreement()
        agreement.add([torch.zeros(3, 2)], actual)
        with pytest.raises(Refused):
            agreement.check(1.0)


def with_hook(system):
    system.fc.register_forward_hook(lambda *given: None)


def in_training(system):
    system.fc.train()


def with_other_weights(system):
    with torch.no_grad():
        system.fc.bias.add_(1)


@pytest.mark.parametrize("change", [with_hook, in_training, with_other_weights])
def test_a_network_that_was_changed_since_the_check_answers_itself(record, images, change):
    (fast, _lines), plain = hastened(record.folder), model.load(record.folder)
    for image in images[:2]:
        fast.answer(image)
    assert fast.answered_by == "openvino f32"
    for one in (fast, plain):
        change(one.system)
    image = fast.system.batch(rows_of(images[0])).image
    with torch.no_grad():
        assert torch.equal(fast.system(image), plain.system(image))


def test_gradients_other_shapes_and_no_case_at_all_are_left_to_the_network(record, images):
    (fast, _lines), plain = hastened(record.folder), model.load(record.folder)
    for image in images[:2]:
        fast.answer(image)
    one = fast.system.batch(rows_of(images[0])).image
    count = fast.engine.count
    assert fast.system(one.requires_grad_()).grad_fn is not None
    with torch.no_grad():
        for given, asked in ((one.detach(), 1), (one.detach().repeat(5, 1, 1, 1), 1), (one.detach()[:0], 0)):
            count.fast = 0
            assert torch.allclose(fast.system(given), plain.system.eval()(given), atol=1e-4)
            assert count.fast == asked
        count.fast = count.eager = 0
        for other in (one.detach()[:, :, :6, :6], one.detach().double()):
            with contextlib.suppress(RuntimeError):  # as the network itself raises
                fast.system(other)
        assert (count.fast, count.eager) == (0, 2)


def test_a_copy_of_the_network_and_another_model_of_the_run_are_not_touched(record, images):
    fast, _lines = hastened(record.folder)
    other = model.load(record.folder)
    for image in images[:2]:
        fast.answer(image)
    twin = copy.deepcopy(fast.system)
    with torch.no_grad():
        twin.fc.bias.add_(1)
        image = twin.batch(rows_of(images[0])).image
        assert torch.allclose(twin(image), other.system.eval()(image) + 1, atol=1e-4)
    fast.engine.close()
    fast.answer(images[0])
    assert fast.answered_by == "eager"


def test_threads_ask_the_engine_at_the_same_time(record, images):
    (fast, _lines), plain = hastened(record.folder), model.load(record.folder)
    for image in images[:2]:
        fast.answer(image)
    expected, wrong = [plain.answer(image) for image in images], []

    def ask():
        for image, one in zip(images, expected, strict=True):
            if difference(fast.answer(image), one) > NEAR or fast.answered_by != "openvino f32":
                wrong.append(image)

    threads = [threading.Thread(target=ask) for _each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_engine_that_answers_nan_is_not_asked_again(record, images, monkeypatch):
    fast, lines = hastened(record.folder)
    for image in images[:2]:
        fast.answer(image)
    ask = Graph.__call__
    monkeypatch.setattr(Graph, "__call__", lambda self, tensors: [math.nan * each for each in ask(self, tensors)])
    assert fast.answer(images[0]).probabilities == model.load(record.folder).answer(images[0]).probabilities
    assert fast.answered_by == "eager" and "no numbers" in lines[-1]
    assert fast.engine.state == "refused" and "forward" not in fast.system.__dict__


class Lists(nn.Module):
    """A network that cannot be traced as a whole, whose parts have nested arguments."""

    config = spec = None
    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.lower, self.upper = Pyramid(), nn.Sequential(nn.Linear(4, 3), nn.ReLU())

    def forward(self, x):
        maps = self.lower([x, 2 * x], scale={"by": 3.0})
        if not isinstance(maps["sum"].sum().item(), float):
            raise AssertionError
        return self.upper(maps["sum"]).tolist()


class Pyramid(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(4, 4)

    def forward(self, maps, scale):
        return {"sum": self.mix(sum(maps)) * scale["by"], "sides": [(len(maps), 4)]}


def test_where_the_whole_cannot_be_converted_its_parts_are(monkeypatch):
    network = Lists().eval()
    with recording(network) as calls, torch.no_grad():
        expected = network(torch.ones(2, 4))
    build = building.build(copy.deepcopy(network), calls, "f32", None)
    assert set(build.graphs) == {"lower", "upper"}
    assert (build.record["source"], build.record["cases"]) == ("noise", 8)
    engine = Engine(network, mode="f32", plan=Plan(wait=True))
    engine._attach(build)
    with torch.no_grad():
        answer = network(torch.ones(2, 4))
        assert engine.count.fast == 2 and torch.allclose(torch.tensor(answer), torch.tensor(expected), atol=1e-5)
        network.lower([torch.ones(2, 4), torch.ones(2, 4)], scale={"by": 2.0})  # another number, not checked
        assert (engine.count.fast, engine.count.eager) == (2, 1)


class Baked(nn.Module):
    """A module whose graph keeps the number of cases of the trace."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return torch.cat([self.fc(x), torch.zeros(len(x), 2)], 1)


def test_a_graph_that_keeps_the_number_of_cases_is_used_for_that_number_alone():
    whole, baked = nn.Sequential(nn.Linear(4, 4)).eval(), Baked().eval()
    for module, free in ((whole, True), (baked, False)):
        made, _flat = graph.converted(module, Call("", (torch.randn(1, 4),), {}), "f32")
        assert made.signature.any_batch is free
        three = Signature.of((torch.randn(3, 4),), {})[0]
        assert made.signature.fits(three) is free


class Remembering(nn.Module):
    """A module that keeps what it computed in a dictionary of the caller, as a decoder does."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x, memory):
        memory["key"] = self.fc(x)
        return memory["key"].sum(1)


class Counting(Remembering):
    """A module that counts its calls in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x, memory):
        self.count += 1
        return self.fc(x) + self.count


@pytest.mark.parametrize("kind", [Remembering, Counting])
def test_a_module_that_keeps_a_state_is_refused(kind):
    with pytest.raises(Refused, match="keeps a state"):
        graph.converted(kind().eval(), Call("", (torch.ones(1, 4), {}), {}), "f32")


class Some(nn.Module):
    """A module whose sizes depend on the values: a trace keeps the number of its example."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x[x[:, 0] > 0])


def test_a_module_whose_sizes_depend_on_the_values_is_refused():
    with pytest.raises(Refused, match="sizes depend on the data"):
        graph.converted(Some().eval(), Call("", (torch.ones(1, 4),), {}), "f32")


def test_a_graph_whose_compilation_crashes_ends_another_process_and_is_refused(monkeypatch):
    """The second of three crashes; the others are compiled."""
    parts = []
    for name in "abc":
        module = nn.Sequential(nn.Linear(4, 4)).eval()
        made, flat = graph.converted(module, Call("", (torch.randn(1, 4),), {}), "f32")
        parts.append(building.Part(name, module, [made], [flat], [], []))
    run, count = subprocess.run, []

    def crashing(command, stdout, input, **named):
        """Stop before the second graph, as a crash does."""
        left = json.loads(input)
        count.append(len(left))
        return run(command, stdout=stdout, input=json.dumps(left[:1] if len(left) == 3 else left), **named)

    monkeypatch.setattr(trial.subprocess, "run", crashing)
    reasons = []
    assert [part.name for part in building.compiled(parts, reasons)] == ["a", "c"]
    assert reasons == ["Sequential: its compilation crashes"] and count == [3, 1]


# the cache


def stored():
    return [folder for folder in built.home().iterdir() if (folder / built.RECORD).is_file()]


@pytest.fixture
def kept(record, images):
    """A folder of a build that an earlier command has kept."""
    fast, _lines = hastened(record.folder)
    for image in images[:2]:
        fast.answer(image)
    [folder] = stored()
    assert not [each for each in built.home().iterdir() if each != folder]
    return folder


def test_a_kept_build_is_read_and_not_made_again(kept, record, images, monkeypatch):
    monkeypatch.setattr(building, "build", lambda *given: pytest.fail("made again"))
    (fast, lines), plain = hastened(record.folder), model.load(record.folder)
    for image in images[:3]:
        assert difference(fast.answer(image), plain.answer(image)) < NEAR
    assert fast.answered_by == "openvino f32" and len(lines) == 1
    assert abs(fast.answer(images[0]).familiar.score - plain.answer(images[0]).familiar.score) < 1e-3


def half_written(folder, _run):
    (folder / "0.bin").write_bytes((folder / "0.bin").read_bytes()[:-100])


def without_its_record(folder, _run):
    (folder / built.RECORD).write_text('{"key": "', encoding="utf-8")


def of_something_else(folder, _run):
    record = json.loads((folder / built.RECORD).read_text(encoding="utf-8"))
    (folder / built.RECORD).write_text(json.dumps(record | {"key": "another"}), encoding="utf-8")


def with_bytes_added(folder, _run):
    """A file that was changed where no graph reads it."""
    (folder / "0.bin").write_bytes((folder / "0.bin").read_bytes() + bytes(8))


def with_other_weights_inside(folder, run):
    """A graph that was changed together with its checksum."""
    values = (folder / "0.bin").read_bytes()
    record = json.loads((folder / built.RECORD).read_text(encoding="utf-8"))
    weight = model.load(run).system.fc.weight.detach().numpy()
    assert values.count(weight.tobytes()) == 1
    (folder / "0.bin").write_bytes(values.replace(weight.tobytes(), (1.5 * weight).tobytes()))
    record["files"]["0.bin"] = built.digest(folder / "0.bin")
    (folder / built.RECORD).write_text(json.dumps(record), encoding="utf-8")


DAMAGES = [half_written, without_its_record, of_something_else, with_bytes_added, with_other_weights_inside]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_build_is_removed_with_a_line_and_made_again(kept, record, images, damage):
    damage(kept, record.folder)
    (fast, lines), plain = hastened(record.folder), model.load(record.folder)
    for image in images[:3]:
        assert difference(fast.answer(image), plain.answer(image)) < NEAR
    assert lines[0].startswith("the stored build was removed: ") and len(lines) == 2
    assert fast.answered_by == "openvino f32" and stored() == [kept]


def other_processor(_folder, monkeypatch):
    monkeypatch.setattr(hardware, "processor", lambda: "another processor")


def other_version(_folder, monkeypatch):
    monkeypatch.setattr(built.souron, "__version__", "99")


def other_weights(folder, _monkeypatch):
    file = folder / "weights" / "best.safetensors"
    tensors, about = files.read_tensors(file)
    files.write_tensors(
        file, {name: each + 1e-3 if each.is_floating_point() else each for name, each in tensors.items()}, about
    )


@pytest.mark.parametrize("change", [other_processor, other_version, other_weights])
@pytest.mark.filterwarnings("ignore:.*weights")  # the file is not the one that the run ended with
def test_a_build_of_another_processor_version_or_weight_file_is_not_read(
    kept, record, images, monkeypatch, change, tmp_path
):
    folder = shutil.copytree(record.folder, tmp_path / "changed")
    change(folder, monkeypatch)
    monkeypatch.setattr(built, "read", lambda *given: pytest.fail("read"))
    (fast, _lines), plain = hastened(folder), model.load(folder)
    for image in images[:2]:
        assert difference(fast.answer(image), plain.answer(image)) < NEAR
    assert fast.answered_by == "openvino f32" and len(stored()) == 2


def test_on_a_full_disk_the_engine_answers_and_nothing_is_kept(record, images, monkeypatch):
    openvino = silent.imported("openvino")
    save = openvino.save_model

    def full(model, file, **named):
        if built.home() in Path(file).parents:
            raise RuntimeError("No space left on device")
        save(model, file, **named)

    monkeypatch.setattr(openvino, "save_model", full)
    fast, lines = hastened(record.folder)
    for image in images[:2]:
        fast.answer(image)
    assert fast.answered_by == "openvino f32"
    assert lines[0] == "the build is not kept: No space left on device" and not [*built.home().iterdir()]


def test_a_build_that_was_killed_is_never_read_and_removed_after_a_day(record, images):
    left = built.home() / f"{built.PART}abandoned"
    left.mkdir(parents=True)
    (left / "0.xml").write_text("half")
    os.utime(left, (0, time.time() - 2 * built.ABANDONED))
    fast, _lines = hastened(record.folder)
    for image in images[:2]:
        fast.answer(image)
    assert fast.answered_by == "openvino f32" and not left.exists()


def test_the_builds_that_were_used_longest_ago_make_room(kept, record, images, monkeypatch):
    monkeypatch.setattr(built, "MOST_BYTES", 1)
    fast, _lines = hastened(record.folder, "bf16")
    for image in images[:2]:
        fast.answer(image)
    assert kept not in stored() and len(stored()) == 1


def test_a_refused_build_is_not_tried_again_by_each_command(record, images, monkeypatch):
    wrongly(monkeypatch, Scaled)
    for _command in range(2):
        fast, lines = hastened(record.folder)
        for image in images[:2]:
            fast.answer(image)
        assert fast.engine.state == "refused" and "differ by" in lines[0]
        monkeypatch.setattr(building, "build", lambda *given: pytest.fail("tried again"))


# 8 bits


def parts_of(record, train_cases=60, val_cases=600, positive=None):
    digits = load.load("digits")
    rows = torch.arange(len(digits))
    return Parts(digits.only(rows[:train_cases]), digits.only(rows[-val_cases:]), positive)


def calls_of(system):
    with recording(system.eval()) as calls, torch.no_grad():
        system.probabilities(system.loader(load.load("digits").only([0])))
    return calls


@pytest.mark.slow
def test_8_bits_are_taken_where_validation_cases_show_that_little_is_lost(record):
    system = model.load(record.folder).system
    build = int8.build(building.shared_copy(system), calls_of(system), None, parts=parts_of(record, 60, 1700))
    [made] = build.graphs[""]
    assert made.precision == "int8"
    proof = build.record["proof"]["accuracy"]
    assert proof["low"] > -0.01 and build.record["cases"] == 1700


def test_an_8_bit_network_that_lost_everything_is_refused(record, monkeypatch):
    system = model.load(record.folder).system
    ask = Graph.__call__

    def lost(self, tensors):
        return [torch.zeros_like(each) if self.precision == "int8" else each for each in ask(self, tensors)]

    monkeypatch.setattr(Graph, "__call__", lost)
    with pytest.raises(Refused, match=r"8 bits may lose .* points of accuracy"):
        int8.build(building.shared_copy(system), calls_of(system), None, parts=parts_of(record, 10, 100))


def test_few_validation_cases_cannot_tell_and_say_how_many_are_needed():
    for right in (torch.ones(20), torch.full((20,), 0.87)):
        found, word = int8.lost(right, right, 0.01, registry.metric("accuracy"))
        assert (found.difference, word.word) == (0.0, "cannot tell") and word.cases_needed > 100
        with pytest.raises(Refused, match=r"cannot tell .* about \d+ more cases needed"):
            int8.refuse("accuracy", found, word)


def test_the_sensitivity_for_the_class_to_detect_is_judged_too(record):
    system, right = model.load(record.folder).system, (torch.ones(600).double(), "accuracy")
    assert int8.proof(system, right, right, parts_of(record, 10, 600))["proof"].keys() == {"accuracy"}
    with pytest.raises(Refused, match="sensitivity"):  # of about 60 cases of that class
        int8.proof(system, right, right, parts_of(record, 10, 600, positive=3))


def repeated(patients, cases):
    """Digits of one class, so many cases of each patient."""
    digits = load.load("digits").only([0] * (patients * cases))
    return replace(digits, group=[f"p{i // cases}" for i in range(patients * cases)])


def test_8_bits_are_judged_by_patients():
    """Four hundred equal answers about twenty patients are no proof, nor are those about the class to detect."""
    cases = repeated(400, 1)
    right = torch.ones(400).double(), "accuracy"
    assert int8.proof(None, right, right, Parts(cases, cases))["difference"] == 0
    few = repeated(20, 20)
    with pytest.raises(Refused, match="accuracy; about"):
        int8.proof(None, right, right, Parts(few, few))
    both = replace(
        load.load("digits").only([0] * 800),
        target=torch.tensor([0] * 400 + [3] * 400),
        group=[*(f"w{i}" for i in range(400)), *few.group],
    )
    right = torch.ones(800).double(), "accuracy"
    assert int8.proof(None, right, right, Parts(both, both, 0))
    with pytest.raises(Refused, match="sensitivity; about"):
        int8.proof(None, right, right, Parts(both, both, 3))
    constant = torch.full((400,), 0.87)
    assert int8.lost(constant, constant, 0.01, registry.metric("accuracy"), few.group)[1].word == "cannot tell"


def test_ten_segmentations_without_a_failure_are_no_proof():
    before = torch.linspace(0.85, 0.95, 10).double()
    found, word = int8.lost(before, torch.linspace(0.8501, 0.9502, 10).double(), 0.01, registry.metric("mean Dice"))
    assert 0 < found.difference < 2e-4 and word.word == "cannot tell"


def test_a_run_without_a_validation_part_is_not_proved_on_its_training_cases(record, monkeypatch):
    split = replace(prepare.read_split(record.folder, load.load("digits"), registry.load_task("classify")), val=[])
    monkeypatch.setattr(prepare, "read_split", lambda *given: split)
    found = parts_of_run(model.load(record.folder).system, record.folder)
    assert len(found.train) and not len(found.val) and found.source == "training"
    assert next(of_run(found))[0] > 0 and "training" in source_names()
    with pytest.raises(Refused, match="8 bits need validation cases"):
        int8.build(None, None, None, parts=found)


def test_8_bits_are_used_without_being_asked_for_once_they_are_proven(record, images, monkeypatch):
    fast, _lines = hastened(record.folder, "auto", wait=False)
    ladder = []
    monkeypatch.setattr(fast.engine, "_of_precision", lambda copy, precision, place: ladder.append(precision))
    fast.answer(images[0])
    fast.answer(images[1])
    fast.engine.wait(waiting.LIMIT)
    assert ladder[0] == "int8" and ladder[-1] == "f32"
    assert not fast.engine._makes("int8") and fast.engine._makes("f32")


# commands


@pytest.fixture
def shown(tmp_path):
    """Files of twelve digits."""
    folder = tmp_path / "digits"
    folder.mkdir()
    for row, one in enumerate(load.load("digits").input[:12]):
        as_image(one).save(folder / f"{row:02}.png")
    return folder


def told(capsys, *words):
    assert main.run([*map(str, words), "--json"]) == 0, capsys.readouterr().err
    captured = capsys.readouterr()
    return [json.loads(line) for line in captured.out.splitlines()], captured.err


def test_predict_names_the_engine_of_each_answer(record, shown, capsys):
    rows, err = told(capsys, "predict", record.folder, shown, "fast=f32")
    assert [row["engine"] for row in rows] == ["eager"] + ["openvino f32"] * 11
    assert "OpenVINO answers from now on" in err
    plain, err = told(capsys, "predict", record.folder, shown, "fast=off")
    assert {row["engine"] for row in plain} == {"eager"} and "OpenVINO" not in err
    assert [row["labels"][0]["label"] for row in rows] == [row["labels"][0]["label"] for row in plain]


def test_an_unknown_engine_is_refused_before_anything_is_loaded(record, shown):
    assert main.run(["predict", str(record.folder), str(shown), "fast=turbo"]) == 2
    with pytest.raises(UserError, match="fast=turbo"):
        chosen_mode("turbo")


def test_val_uses_one_engine_from_the_first_case_to_the_last(record, capsys):
    [eager], _err = told(capsys, "val", record.folder, "fast=auto")
    assert eager["engine"] == "eager"  # nothing is stored, and nothing is built unasked
    [fast], err = told(capsys, "val", record.folder, "fast=f32")
    assert fast["engine"] == "openvino f32" and "checked on" in err
    assert abs(fast["measures"]["accuracy"]["value"] - eager["measures"]["accuracy"]["value"]) < 1e-6


def test_val_takes_a_stored_build_by_itself(record, capsys, monkeypatch):
    told(capsys, "val", record.folder, "fast=f32")
    monkeypatch.setattr(building, "build", lambda *given: pytest.fail("made again"))
    [again], _err = told(capsys, "val", record.folder, "fast=auto")
    assert again["engine"] == "openvino f32"


def test_a_server_answers_in_batches_with_the_engine(record, images):
    fast, lines = hastened(record.folder)
    predictor = ClassifierPredictor(fast)
    plain = ClassifierPredictor(model.load(record.folder))
    given = [predictor.preprocess(image, {}) for image in images]
    predictor.predict(given[:1])
    answers, expected = predictor.predict(given), plain.predict(given)
    assert predictor.engine.name == "openvino f32", lines
    for (one, near), (other, far) in zip(answers, expected, strict=True):
        assert torch.allclose(one, other, atol=NEAR) and abs(near.score - far.score) < 1e-2


def test_doctor_says_that_the_engines_report_nothing(monkeypatch):
    [row] = [text for title, text in doctor.diagnosis(doctor.diagnose(Path())) if title == "engines"]
    assert "openvino" in row and "switched off" in row
    assert "souron[fast]" in doctor._engines(dict.fromkeys(doctor.ENGINES))


def fresh(folder):
    """The environment of a person who has just installed souron: an empty home, not a test machine."""
    own = ("SOURON_", "XDG_", "MPL", "HF_", "TORCH_HOME")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own) and name != "CI"}
    folder.mkdir()
    return kept | {"HOME": str(folder), "USERPROFILE": str(folder), "SOURON_LANG": "en", "PYTHONDONTWRITEBYTECODE": "1"}


def traced(log, *words):
    trace = [STRACE, "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect", "-o", str(log)] if STRACE else []
    return [*trace, sys.executable, "-m", "souron", *map(str, words)]


def foreign(home):
    """Files in a home that are not in souron's own cache."""
    return [str(file) for file in home.rglob("*") if file.is_file() and "souron" not in file.relative_to(home).parts]


def away(log):
    """Connections beyond this computer."""
    lines = log.read_text().splitlines() if log.exists() else []
    here = ("AF_UNIX", "AF_NETLINK", "127.0.0.1", '"::1"')
    return [line for line in lines if "connect(" in line and not any(word in line for word in here)]


@pytest.mark.skipif(sys.platform != "linux" or STRACE is None, reason="needs strace: apt-get install strace")
def test_no_command_sends_or_leaves_anything_with_an_engine_on(record, shown, tmp_path):
    environment, log = fresh(tmp_path / "home"), tmp_path / "connections"
    commands = {  # each names its engine
        "predict": ("predict", record.folder, shown, "fast=int8", "--json"),
        "val": ("val", record.folder, "fast=f32", "--json"),
    }
    for name, words in commands.items():
        command = traced(tmp_path / name, *words)
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and "openvino" in done.stdout, done.stderr
        assert not away(tmp_path / name)
    server = subprocess.Popen(
        traced(log, "serve", record.folder, "port=0", "fast=f32", "--json"),
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        address = json.loads(server.stdout.readline())["addresses"][0]
        file = next(shown.iterdir()).read_bytes()
        for _request in range(3):
            assert httpx.post(f"{address}predict", files={"file": file}, timeout=waiting.LIMIT).status_code == 200
    finally:
        os.killpg(server.pid, signal.SIGINT)
        server.wait(waiting.LIMIT)
        server.stdout.close()
    assert not away(log)
    assert not foreign(tmp_path / "home")
    assert [*(tmp_path / "home").rglob(built.RECORD)]


def test_a_foreign_file_or_a_connection_would_be_seen(tmp_path):
    (tmp_path / "home" / "intel").mkdir(parents=True)
    (tmp_path / "home" / "intel" / "stats").touch()
    assert foreign(tmp_path / "home")
    log = tmp_path / "log"
    log.write_text(
        '12 connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("142.250.1.1")}, 16) = 0\n'
    )
    assert away(log)


def test_the_program_ends_while_an_engine_is_built_and_leaves_nothing_half(record, shown, tmp_path):
    code = (
        "import sys; from souron import model; from souron.hub import zoo\n"
        "from souron.kinds.picture import Picture\n"
        "m = model.load(sys.argv[1]).hasten('f32')\n"
        "p = Picture.read(__import__('pathlib').Path(sys.argv[2]))\n"
        "[m.answer(p) for _ in range(2)]; print(m.engine.state)"
    )
    words = [sys.executable, "-W", "error", "-c", code, str(record.folder), str(next(shown.iterdir()))]
    done = subprocess.run(words, env=os.environ | {"SOURON_CACHE": str(tmp_path / "c")}, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip() in ("building", "attached"), done.stderr) == (0, True, "")
    assert not [*(tmp_path / "c").rglob(f"{built.PART}*")]


def test_a_build_reports_its_precision():
    assert Build({}, {}, {}, {"precision": "bf16"}).precision == "bf16"


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_one_value_that_is_no_number_is_noticed(wrong):
    tensor = torch.randn(3, 50, 7)
    assert dispatch.is_finite(tensor)
    tensor[1, 49, 2] = wrong
    assert not dispatch.is_finite(tensor)
    assert dispatch.is_finite(torch.zeros(0, 4)) and dispatch.is_finite(torch.zeros(2, dtype=torch.long))


def test_tracing_is_quiet_before_its_thread_begins(monkeypatch):
    """So that another thread that leaves ``catch_warnings`` meanwhile does not take it away."""
    system, seen = nn.Identity(), []
    system.device = torch.device("cpu")
    monkeypatch.setattr(engine.building, "shared_copy", lambda system: system)
    monkeypatch.setattr(engine.threading, "Thread", lambda **named: SimpleNamespace(start=lambda: seen.append(found())))

    def found():
        return any(issubclass(torch.jit.TracerWarning, each[2]) and each[0] == "ignore" for each in warnings.filters)

    with warnings.catch_warnings():
        warnings.resetwarnings()
        Engine(system)._start()
    assert seen == [True]
