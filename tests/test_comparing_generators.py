"""GAN or diffusion? Generators at an equal budget, judged by what they draw."""

import json
from types import SimpleNamespace

import pytest
import torch

from souron import registry
from souron.data.load import load
from souron.evaluation.generators.sampling import Noise, Sample
from souron.report.sections import generate
from souron.runs import compare
from souron.systems.generate.dcgan import DCGAN

pytestmark = pytest.mark.usefixtures("same_eyes")


def fight(*systems, **options):
    options = {"budget": "2ep", "seeds": 2, "samples": 60, **options}
    return compare.compare(systems, "digits", **options)


@pytest.fixture(scope="module")
def fought(tmp_path_factory):
    project = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURON_CACHE", str(project / "cache"))
        yield fight("dcgan_tiny", "vae_tiny", project=project)


def test_the_ranking_is_by_frechet_distance_lowest_first(fought):
    assert fought.measure == "Fréchet distance" and fought.cases == 60
    values = [row.value for row in fought.rows]
    assert values == sorted(values) and len(fought.verdicts) == 1
    [verdict] = fought.verdicts
    assert verdict.difference == pytest.approx(values[1] - values[0])
    assert "Fréchet distance, 60 pictures" in fought.sentence


def test_every_measure_has_its_ranking_and_likelihood_only_those_that_know_it(fought):
    assert {"kernel distance", "precision", "recall", "density", "coverage"} <= set(fought.further)
    assert [row.system for row in fought.further["bits per dimension"].rows] == ["vae_tiny"]
    recall = [row.value for row in fought.further["recall"].rows]
    assert recall == sorted(recall, reverse=True)


def test_the_report_shows_pictures_side_by_side_and_the_floor(fought):
    text = fought.report.read_text(encoding="utf-8")
    assert 'id="gallery"' in text and "floor: real images" in text
    told = json.loads(json.dumps(fought.as_json()))
    assert told["generation"]["samples"] == 60
    assert told["generation"]["floor"]["Fréchet distance"]["value"] < told["rows"][0]["value"]
    assert len(told["generation"]["seconds_a_picture"]["dcgan_tiny"]) == 2


def test_pictures_shown_are_the_first_that_each_training_drew(fought):
    [first, second] = fought.details.drawn["dcgan_tiny"]
    assert first.shape == (60, 1, 8, 8) and not torch.equal(first, second)


def test_an_exact_copy_of_the_data_reaches_the_floor_and_one_picture_does_not(monkeypatch, tmp_path):
    """What draws training pictures is near; what draws a single one has no recall."""
    known = load("digits").input[:700].float() / 127.5 - 1

    def copies(self, noise: Noise, label):
        weight = torch.ones(len(noise), len(known), device=noise.device)
        yield known.to(noise.device)[noise.choose(weight)]

    monkeypatch.setattr(DCGAN, "drawing", copies)
    near = fight("dcgan_tiny", seeds=1, budget="128ex", project=tmp_path / "copies")

    def the_first(self, noise: Noise, label):
        yield known[:1].expand(len(noise), -1, -1, -1).to(noise.device)

    monkeypatch.setattr(DCGAN, "drawing", the_first)
    far = fight("dcgan_tiny", seeds=1, budget="128ex", project=tmp_path / "one")
    floor = near.details.floor["Fréchet distance"].value
    assert near.rows[0].value < 3 * floor and far.rows[0].value > 10 * floor
    assert near.further["recall"].rows[0].value > 0.6
    assert far.further["recall"].rows[0].value < 0.1


@pytest.mark.parametrize(
    "seconds, measure, told",
    [
        (15.0, "Fréchet distance", True),
        (9e3, "Fréchet distance", False),
        (15.0, "kernel distance", True),
        (15.0, "precision", False),
    ],
)
def test_an_order_that_longer_training_turns_round_is_said_to_be_one(seconds, measure, told):
    """By the receipts of what comes ready trained, where ddpm is better than vae."""
    rows = [SimpleNamespace(system=name, train_seconds=seconds) for name in ("vae", "ddpm")]
    record = SimpleNamespace(rows=rows, measure=measure)
    notes = generate.comparison_notes(record)
    assert bool(notes) == told
    if told:
        assert notes[0].index("ddpm") < notes[0].index("vae") and "min" in notes[0]
    record.rows = rows[::-1]
    assert not generate.comparison_notes(record) or measure == "precision"


@pytest.mark.parametrize("training, looks", [(50, 10), (100_000, 1280)])
def test_a_forecast_knows_that_looks_have_a_fifth_of_the_training_at_most(training, looks, monkeypatch):
    slow = Sample(torch.zeros(8, 1, 8, 8), seconds=2.0)  # a picture
    monkeypatch.setattr(Sample, "growing", lambda *given, **more: [slow])
    task = registry.load_task("generate")
    setup = SimpleNamespace(test=range(100))
    assert task.seconds(SimpleNamespace(system=None), setup, training) == looks + 200
