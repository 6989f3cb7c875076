"""Drawing: a picture's own noise, options, files, walks, films; what a user may get wrong."""

import dataclasses
import errno
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Annotated

import pytest
import torch
import waiting
from interrupting import stop_after
from PIL import Image
from torch import Tensor

from souron import registry
from souron.data.splits import Parts, Split
from souron.evaluation.generators import embedding, generation, sampling
from souron.evaluation.generators.sampling import Noise, Walk
from souron.kinds import signature
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs import provenance
from souron.kinds.signature import Choice
from souron.metrics.generation import kernel
from souron.runs import evaluate, generate, generated_files, train
from souron.runs import events as runs_events
from souron.runs.drawing import BETWEEN
from souron.tasks.generate import Generator, Spec
from souron.utils import files as file_utils
from souron.utils.messages import UserError

pytestmark = pytest.mark.usefixtures("same_eyes")


class Painter(Generator):
    """Paints its noise, in as many steps as are asked for."""

    def __init__(self, shares=(0.5, 0.5)):
        super().__init__(None, Spec(1, 8, ("a", "b"), shares))

    def drawing(
        self,
        noise: Noise,
        label: Tensor,
        *,
        steps: Annotated[int, Choice("how many", 1, 9)] = 1,
        way: Annotated[str, Choice("which", among=("up", "down"))] = "up",
        given: Annotated[Tensor | None, Choice("a picture")] = None,
    ) -> Iterator[Tensor]:
        start = noise.normal(1, 8, 8) * (1 if way == "up" else -1)
        for step in range(steps):
            yield start * (step + 1) / steps / 4


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    project = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURON_CACHE", str(project / "cache"))
        # the last weights: few pictures at a look would now and then choose the first ones
        patch.setattr(type(registry.load_task("generate")), "watches", "")
        return train.train("dcgan_tiny", "digits", budget="3ep", samples=60, project=project)


def test_a_pictures_noise_is_its_own():
    alone, beside = Noise(5, [7]), Noise(5, [3, 7, 9])
    for shape in ((4,), (2, 3), ()):
        assert torch.equal(alone.normal(*shape)[0], beside.normal(*shape)[1])
    assert not torch.equal(Noise(5, [7]).normal(9), Noise(6, [7]).normal(9))
    assert not torch.equal(Noise(0, [1]).normal(9), Noise(1, [0]).normal(9))


def test_noise_is_normal_uniform_and_chooses_by_weight():
    noise = Noise(1, range(4000))
    normal, uniform = noise.normal(2), noise.uniform(2)
    assert abs(normal.mean()) < 0.05 and abs(normal.std() - 1) < 0.05
    assert uniform.min() >= 0 and uniform.max() <= 1 and abs(uniform.mean() - 0.5) < 0.02
    chosen = noise.choose(torch.tensor([0.0, 3.0, 1.0, 0.0]).expand(4000, -1))
    assert set(chosen.tolist()) == {1, 2}
    assert abs((chosen == 1).double().mean() - 0.75) < 0.03


def test_a_walk_ends_where_it_should_and_stays_noise_on_the_way():
    def ends():
        return Noise(0, range(3000)), Noise(0, range(3000, 6000))

    a, b = (end.normal(2) for end in ends())
    for way, expected in ((0.0, a), (1.0, b), (0.3, None)):
        there = Walk(*ends(), [way] * 3000).normal(2)
        if expected is not None:
            assert torch.allclose(there, expected, atol=1e-6)
        assert abs(there.std() - 1) < 0.05


def test_classes_come_as_often_as_the_data_has_them():
    painter = Painter((0.9, 0.1))
    labels = painter.conditions(Noise(0, range(2000)))
    assert abs((labels == 0).double().mean() - 0.9) < 0.03


def test_asking_for_a_class_leaves_the_rest_of_the_noise():
    painter = Painter()
    free = painter.draw(Noise(2, range(4)))
    asked = painter.draw(Noise(2, range(4)), torch.zeros(4, dtype=torch.long))
    assert torch.equal(free, asked)


def test_a_generator_is_told_how_often_each_class_occurs_in_training(digits):
    rows = [(digits.target == label).nonzero()[:count, 0] for label, count in ((0, 30), (3, 10))]
    spec = registry.load_task("generate").spec(digits.only(torch.cat(rows)))
    assert spec.labels == tuple(digits.classes)
    assert spec.shares == (0.75, 0, 0, 0.25, 0, 0, 0, 0, 0, 0)


def test_validation_draws_the_same_chance_each_time_and_leaves_that_of_training(digits):
    class Guessing(Painter):
        likelihood = "bound"

        def bits(self, batch):
            return torch.rand(len(batch.image))

    system = Guessing()
    data = system.loader(digits.only(range(5)))
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = system.validate(data)["bits per dimension"]
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(system.validate(data)["bits per dimension"], first)


class Eye:
    """Sees pixels."""

    name, labels = "eye", ()

    def __init__(self):
        self.seen = []

    def see(self, images):
        self.seen.append(images.flatten(1).float())
        return self.seen[-1], None


def rows_of(images):
    return {tuple(values) for values in images.flatten(1).tolist()}


def test_reports_look_at_test_pictures_training_at_validation_and_the_floor_at_others(digits):
    """As many of each, in an order that no class decides."""
    val, test = digits.only(range(100, 120)), digits.only(range(200, 330))
    eye = Eye()
    found = generation.ReferenceSet.of(eye, Parts(digits.only(range(100)), val, test), 50)
    real, watched, others = eye.seen
    assert torch.equal(found.real[0], real) and torch.equal(found.watched[0], watched)
    assert len(found.test) == len(real) == len(others) == 50
    assert rows_of(real) == rows_of(found.test.input) and rows_of(real) < rows_of(test.input)
    assert not torch.equal(real, test.input[:50].flatten(1).float())
    assert rows_of(watched) == rows_of(val.input)
    assert rows_of(val.input) < rows_of(others) and not rows_of(others) & rows_of(real)
    assert rows_of(others) < rows_of(val.input) | rows_of(test.input)
    drawn = torch.randint(256, (30, 1, 8, 8))
    expected = kernel(watched.numpy(), drawn.flatten(1).numpy()).value
    assert found.kernel_distance(drawn) == pytest.approx(expected)


def test_patients_count_in_every_figure_and_in_the_floor(digits):
    patients = [f"patient {i // 5}" for i in range(120)]  # twelve have test pictures
    cases = dataclasses.replace(digits.only(range(120)), group=patients)
    parts = Parts(cases.only([]), cases.only(range(60)), cases.only(range(60, 120)))
    reference = generation.ReferenceSet.of(Eye(), parts, 60)
    torch.manual_seed(0)
    seeds = [{"features": 5 * torch.randn(60, 64), "bits per dimension": torch.rand(60)} for _training in range(2)]
    task = registry.load_task("generate")
    for measures in (reference.floor.measures, task.measures(seeds[:1], reference), task.measures(seeds, reference)):
        assert {one.groups for one in measures.values()} == {12}


def test_the_eye_learns_from_training_pictures_alone(digits, monkeypatch):
    asked = []
    monkeypatch.setattr(embedding, "feature_extractor", lambda data, rows: asked.append(rows) or [(1.0, Eye())])
    split = Split(torch.arange(100), torch.arange(100, 120), torch.arange(120, 150))
    *_before, (done, reference) = generation.reference_set(digits, split, 500)
    assert done == 1.0 and len(reference.test) == 30
    [rows] = asked
    assert torch.equal(rows, split.train)


def test_a_look_goes_on_learning_and_takes_a_fifth_of_the_time_at_most(monkeypatch):
    monkeypatch.setattr(generation, "AT_A_LOOK", 4)
    task, system = registry.load_task("generate"), Painter()
    setup = SimpleNamespace(kernel_distance=lambda image: float(len(image)))
    for learning, spent, last, looks in (
        (True, 0.0, False, True),
        (False, 19.0, False, True),
        (True, 21.0, False, False),
        (True, 21.0, True, True),
    ):
        trainer = SimpleNamespace(system=system, val=None, look_seconds=spent, seconds=100.0)
        system.train(learning)
        figures = task.watch(trainer, setup, last)
        assert figures == ({"kernel distance": 4.0} if looks else {})
        assert system.training is learning and (trainer.look_seconds > spent) is looks


def test_options_are_read_from_the_signature():
    known = signature.options_of(Painter.drawing)
    assert list(known) == ["steps", "way", "given"]
    assert known["steps"].read("3") == 3 and known["steps"].allowed == "1..9"
    assert signature.read_options(known, {"way": "down"}) == {"way": "down"}


@pytest.mark.parametrize(
    "given, code",
    [({"steps": "0"}, "value"), ({"steps": "x"}, "option"), ({"way": "left"}, "value"), ({"step": "3"}, "option")],
)
def test_options_without_sense_are_refused(given, code):
    with pytest.raises(UserError) as trouble:
        signature.read_options(signature.options_of(Painter.drawing), given)
    assert trouble.value.code == code
    assert trouble.value.expected


def test_a_sample_grows_in_chunks_and_is_the_same_in_one():
    *_, sample = sampling.Sample.growing(Painter(), 150, seed=3)
    assert sample.image.shape == (150, 1, 8, 8) and sample.image.dtype == torch.uint8
    whole = sampling.as_bytes(Painter().draw(Noise(3, range(150))))
    assert torch.equal(sample.image, whole)


def test_a_round_walk_begins_at_its_stations():
    painter = Painter()
    frames = torch.stack(list(sampling.walk(painter, 1, range(2, 5), 6)))
    stations = sampling.as_bytes(painter.draw(Noise(1, [2, 3, 4])))
    assert len(frames) == 18 and torch.equal(frames[::6], stations)


def test_a_film_takes_a_tenth_of_the_time_and_goes_on(tmp_path):
    film = sampling.Film(tmp_path / "film.safetensors")
    assert film.shoot(Painter(), 0.0, 100.0) is not None
    assert film.shoot(Painter(), 0.01, 100.0) is None  # the next is due at a thirtieth
    assert film.shoot(Painter(), 0.5, 100.0) is not None
    film.seconds = 20.0
    assert film.shoot(Painter(), 0.9, 100.0) is None
    film.keep()
    again = sampling.Film(film.path)
    assert again.seconds == 20.0 and torch.equal(again.frames[1], film.frames[1])


def test_a_run_is_measured_against_the_floor_and_shows_how_it_learnt(run):
    assert list(run.measures)[:4] == ["Fréchet distance", "kernel distance", "precision", "recall"]
    floor = run.details.reference.floor.measures
    assert run.measures["Fréchet distance"].value > 2 * floor["Fréchet distance"].value
    assert run.measures["Fréchet distance"].n == 60 and run.film
    told = json.loads((run.folder / "receipt.json").read_text(encoding="utf-8"))
    assert told["samples"] == 60 and set(told["classes"]) == set(map(str, range(10)))
    assert "val kernel distance" in run.curve[0]


def test_measuring_again_gives_the_same(run):
    again = evaluate.evaluate(run.folder, samples=60)
    assert again["Fréchet distance"].value == pytest.approx(run.measures["Fréchet distance"].value, rel=1e-4)


def test_pictures_are_files_that_say_what_they_are(run, tmp_path):
    out = tmp_path / "out"
    record = generate.generate(run.folder, 5, 1, out=out, walk=2)
    names = sorted(file.name for file in out.iterdir())
    assert names == ["00000.png", "00001.png", "00002.png", "00003.png", "00004.png", "grid.png", "walk.webp"]
    assert record.as_json()["files"] == [str(file) for file in record.files]
    with Image.open(out / "00003.png") as image:
        assert image.size == (8, 8)
    mark = provenance.read(out / "00003.png")
    assert mark.number == 3 and mark.seed == 1 and mark.system == "dcgan_tiny"
    with Image.open(out / "walk.webp") as moving:
        assert 2 < moving.n_frames <= 2 * BETWEEN  # frames that are alike become one


def test_the_same_seed_gives_the_same_pictures_and_first_goes_on(run, tmp_path):
    whole = generate.generate(run.folder, 6, 4, out=tmp_path / "whole")
    rest = generate.generate(run.folder, 2, 4, first=4, out=tmp_path / "rest")
    for file in rest.files[:2]:
        assert file.read_bytes() == (whole.folder / file.name).read_bytes()


def test_no_picture_is_written_over(run, tmp_path):
    generate.generate(run.folder, 2, 1, out=tmp_path / "here")
    with pytest.raises(UserError) as trouble:
        generate.generate(run.folder, 3, 2, out=tmp_path / "here")
    assert trouble.value.code == "exists"
    again = generate.generate(run.folder, 2, 1)
    assert again.folder != generate.generate(run.folder, 2, 1).folder


def test_very_many_pictures_need_no_more_memory_and_lie_in_folders(run, tmp_path, monkeypatch):
    monkeypatch.setattr(generated_files, "A_FOLDER", 3)
    monkeypatch.setattr(sampling, "MOST_AT_ONCE", 2)
    record = generate.generate(run.folder, 7, 0, out=tmp_path / "many")
    folders = sorted(file.name for file in record.folder.iterdir() if file.is_dir())
    assert folders == ["0000", "0001", "0002"]
    assert len(list(record.folder.glob("*/*.png"))) == 7


@pytest.mark.parametrize(
    "options, code",
    [
        ({"n": 0}, "value"),
        ({"n": 10**6 + 1}, "value"),
        ({"seed": -1}, "value"),
        ({"walk": 1}, "value"),
        ({"label": "3"}, "label"),
        ({"given": "x.png"}, "given"),
        ({"colour": "red"}, "option"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(run, options, code):
    before = sorted((run.folder / "pictures").glob("*"))
    with pytest.raises(UserError) as trouble:
        generate.generate(run.folder, **options)
    assert trouble.value.code == code
    assert sorted((run.folder / "pictures").glob("*")) == before


def test_a_classifier_does_not_draw(tmp_path):
    record = train.train("mlp_tiny", "digits", budget="1ep", project=tmp_path)
    with pytest.raises(UserError) as trouble:
        generate.generate(record.folder)
    assert trouble.value.code == "task" and "dcgan" in trouble.value.fix


def test_ctrl_c_keeps_what_was_drawn_and_says_how_to_go_on(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "MOST_AT_ONCE", 2)
    events = generate.generating(run.folder, 10, 1, out=tmp_path / "some")
    for event in events:
        if event.fraction >= 0.4:
            break
    with pytest.raises(runs_events.Interrupted) as interrupted:
        events.throw(KeyboardInterrupt)
    assert len(list((tmp_path / "some").glob("0*.png"))) == 4
    assert "n=6" in interrupted.value.command and "first=4" in interrupted.value.command


@pytest.mark.parametrize(
    "room, rest", [(5, "n=6 seed=1 first=4 out=FOLDER"), (10, "n=10 seed=1 first=0 walk=2 out=FOLDER")]
)  # whole batches, to another folder; and where only the sheets found no room, all of it
def test_a_full_disk_keeps_what_was_drawn_and_says_how_to_go_on(room, rest, run, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "MOST_AT_ONCE", 2)
    save, saved = provenance.save, []

    def full(image, path, *given, **options):
        save(image, path, *given, **options)
        saved.append(path)
        if len(saved) > room:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(provenance, "save", full)
    with pytest.raises(UserError) as trouble:
        generate.generate(run.folder, 10, 1, walk=2, out=tmp_path / "some")
    assert trouble.value.code == "disk" and trouble.value.exit == 4
    assert trouble.value.fix.endswith(rest)
    names = sorted(file.name for file in (tmp_path / "some").iterdir())
    assert len(names) == room and all(name.endswith(".png") for name in names)  # and no half one


def test_a_killed_drawing_leaves_whole_pictures(run, tmp_path):
    out = tmp_path / "many"
    words = [sys.executable, "-m", "souron", "generate", run.folder, "n=50000", f"out={out}"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    waiting.until(lambda: len(list(out.glob("*/*.png"))) >= 300, lambda: process.poll() is None)
    process.kill()
    process.wait()
    drawn = sorted(out.glob("*/*.png"))
    assert 300 <= len(drawn) < 50000
    for file in drawn:
        with Image.open(file) as image:
            image.load()
    again = generate.generate(run.folder, 4, 0, first=7, out=tmp_path / "again")
    assert again.files[0].read_bytes() == drawn[7].read_bytes()  # any of them can be drawn again


def test_a_loss_that_is_no_number_names_its_step_and_keeps_the_last_good_weights(monkeypatch, tmp_path):
    from souron.systems.generate.dcgan import DCGAN

    updates = DCGAN.updates

    def broken(self, batch, step):
        for name, loss in updates(self, batch, step):
            yield name, loss * (math.nan if step == 30 and name == "generator" else 1)

    monkeypatch.setattr(DCGAN, "updates", broken)
    with pytest.raises(UserError) as trouble:
        train.train("dcgan_tiny", "digits", budget="9ep", samples=50, project=tmp_path)
    assert trouble.value.code == "not finite"
    assert "generator" in trouble.value.found and "step 31" in trouble.value.found
    [folder] = (tmp_path / "generate").iterdir()
    kept = file_utils.read_tensors(folder / "weights" / "best.safetensors")[0]
    assert all(tensor.isfinite().all() for tensor in kept.values())
    assert generate.generate(folder, 2).count == 2


def test_an_interrupted_generator_goes_on_to_the_same_weights_and_film(tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = {"budget": "2ep", "samples": 50}
    with monkeypatch.context() as patch:
        stop_after(100, patch, steps=8)
        unbroken = train.train("dcgan_tiny", "digits", **options, project=whole)
    with monkeypatch.context() as patch:
        stop_after(1, patch, steps=8)
        with pytest.raises(runs_events.Interrupted) as interrupted:
            train.train("dcgan_tiny", "digits", **options, project=parts)
    resumed = train.train(resume=interrupted.value.folder)
    kept = resumed.model.state_dict()
    for name, tensor in unbroken.model.state_dict().items():
        assert torch.equal(tensor, kept[name]), name
    assert not (resumed.folder / "weights" / "film.safetensors").exists()
    with Image.open(resumed.folder / "timelapse.webp") as film:
        assert 1 < film.n_frames <= len(resumed.film)  # frames that are alike become one


@pytest.fixture
def loose(tmp_path, digits):
    """Pictures of mixed sizes and colours, in a folder without classes."""
    folder = tmp_path / "loose 絵"
    folder.mkdir()
    for i in range(40):
        image = image_codec.as_image(digits.input[i]).resize((8 + i % 5, 8))
        image.convert("RGB" if i % 7 == 0 else "L").save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_without_classes_is_drawn_from(loose, tmp_path):
    record = train.train("dcgan_tiny", loose, budget="2ep", side=16, project=tmp_path)
    assert record.model.spec.labels == ("loose 絵",) and record.model.spec.channels == 3
    assert [skipped.file for skipped in record.skipped] == ["notes.txt"]
    assert generate.generate(record.folder, 2).count == 2


def test_one_class_folder_is_enough_to_draw_and_too_few_to_classify(loose, tmp_path):
    above = tmp_path / "above"
    above.mkdir()
    loose.rename(above / "only")
    record = train.train("vae_tiny", above, budget="1ep", side=8, project=tmp_path)
    assert record.model.spec.labels == ("only",)
    with pytest.raises(UserError) as trouble:
        train.train("mlp_tiny", above, budget="1ep", project=tmp_path)
    assert trouble.value.code == "one class"


@pytest.mark.parametrize("count", [1, 19])
def test_too_few_pictures_are_refused(loose, tmp_path, count):
    for file in sorted(loose.glob("*.png"))[count:]:
        file.unlink()
    with pytest.raises(UserError) as trouble:
        train.train("dcgan_tiny", loose, budget="1ep", project=tmp_path)
    assert trouble.value.code == "few pictures" and f"{count} images" in trouble.value.found


@pytest.mark.parametrize("system", ["biggan_tiny", "ddpm_tiny"])
def test_a_class_with_a_single_picture_can_be_asked_for(loose, tmp_path, system):
    classes = tmp_path / "classes"
    for label, files in (("many", "1*.png"), ("more", "2*.png"), ("one", "3.png")):
        (classes / label).mkdir(parents=True)
        for file in loose.glob(files):
            file.rename(classes / label / file.name)
    record = train.train(system, classes, budget="2ep", side=8, project=tmp_path)
    drawn = generate.generate(record.folder, 3, label="one,many")
    assert drawn.count == 3


def test_what_a_run_draws_and_a_walk_follow_the_seed(monkeypatch):
    drawn, task = [], registry.load_task("generate")

    def growing(_system, count, seed):
        drawn.append((count, seed))
        yield sampling.Sample(torch.zeros(count, 1, 8, 8), 0.0)

    monkeypatch.setattr(sampling.Sample, "growing", growing)
    monkeypatch.setattr(generation, "answers_of", lambda *_given: {})
    monkeypatch.setattr(type(task), "validate", lambda *_given: {})
    list(task.answer(Painter(), None, {}, SimpleNamespace(test=range(4)), 3))
    assert drawn == [(4, 3)]
    first, again, other = (torch.stack(list(sampling.walk(Painter(), seed, range(2), 3))) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first[0], other[0])


def test_a_film_begins_at_once_and_ends_with_the_last_picture(tmp_path):
    film = sampling.Film(tmp_path / "film.safetensors")
    assert film.shoot(Painter(), 0.0, 0.0) is not None
    film.seconds = 9.0
    assert film.shoot(Painter(), 0.5, 9.0) is None, "it has had its tenth of the time"
    assert film.shoot(Painter(), 1.0, 9.0) is not None
