"""Drawn or real: the file format is no clue, unseen generators are really unseen, controls hold."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from souron.actions import generated
from souron.actions.generated import image_sources
from souron.actions.generated import measures as generated_measures
from souron.actions.generated.image_sources import Source
from souron.actions.generated.record import Audit
from souron.cli import main
from souron.evaluation import generated_detector
from souron.evaluation.generated_detector import Pipeline
from souron.kinds.codecs import provenance
from souron.utils.messages import UserError

SIDE = 32


def photos(count: int, seed: int) -> torch.Tensor:
    """(N, 1, S, S) uint8: smooth shapes and a little noise."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 6, 6, generator=random)
    smooth = F.interpolate(coarse, (SIDE, SIDE), mode="bicubic").clamp(0, 1) * 255
    noise = 6 * torch.randn(count, 1, SIDE, SIDE, generator=random)
    return (smooth + noise).clamp(0, 255).round().byte()


def striped(count: int, seed: int) -> torch.Tensor:
    """A generator that leaves a faint pattern, every second column a little brighter."""
    image = photos(count, seed).int()
    image[..., ::2] += 9
    return image.clamp(0, 255).byte()


def blurred(count: int, seed: int) -> torch.Tensor:
    image = photos(count, seed).float()
    return F.avg_pool2d(F.pad(image, (1, 1, 1, 1), "replicate"), 3, 1).round().byte()


def compared(real: Source, *drawn: Source) -> Audit:
    *_before, (done, audit) = generated.compare(real, drawn)
    assert done == 1.0 and audit is not None
    return audit


@pytest.fixture(scope="module")
def audit() -> Audit:
    return compared(
        Source("real", image=photos(400, 0)),
        Source("striped", image=striped(120, 1)),
        Source("blurred", image=blurred(120, 2)),
    )


@pytest.fixture
def planted(tmp_path) -> tuple[Source, Source]:
    """The same pictures twice: as JPEG files they are called real, as PNG files drawn."""
    for number, pixels in enumerate(photos(160, 3)):
        image = Image.fromarray(pixels[0].numpy())
        for folder, kind in (("real", "jpg"), ("drawn", "png")):
            (tmp_path / folder).mkdir(exist_ok=True)
            image.save(tmp_path / folder / f"{number:03}.{kind}", **({"quality": 60} if kind == "jpg" else {}))
    return (image_sources.folder(str(tmp_path / "real"), 160, 0), image_sources.folder(str(tmp_path / "drawn"), 160, 1))


# the file format


def test_the_pipeline_leaves_nothing_of_the_file_format(planted):
    found = compared(*planted)
    row = found.row("drawn", True, "as it is")
    assert row is not None and row.auc.low < 0.5 < row.auc.high and row.auc.value < 0.62
    assert found.by_file is not None and found.by_file.value > 0.99  # what the files alone tell
    assert found.pipeline.quality == 60


def test_without_the_pipelines_compression_the_detector_reads_the_format(planted, monkeypatch):
    monkeypatch.setattr(image_sources, "one_pipeline", lambda _sources: Pipeline(SIDE, 1, None))
    row = compared(*planted).row("drawn", True, "as it is")
    assert row is not None and row.auc.low > 0.9


@pytest.mark.parametrize("quality", [20, 50, 75, 90, 95])
def test_the_quality_of_a_jpeg_is_read_from_its_table(quality, tmp_path):
    Image.fromarray(photos(1, 0)[0, 0].numpy()).save(tmp_path / "a.jpg", quality=quality)
    with Image.open(tmp_path / "a.jpg") as image:
        assert abs(generated_detector.jpeg_quality(image) - quality) <= 2
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert generated_detector.jpeg_quality(image) is None


# seen and unseen


def test_a_generator_that_was_left_out_was_not_learnt_from(audit):
    seen = {name: audit.row(name, True, "as it is") for name in audit.counts}
    unseen = {name: audit.row(name, False, "as it is") for name in audit.counts}
    assert seen["striped"].auc.low > 0.9 and seen["blurred"].auc.low > 0.9
    assert unseen["striped"].auc.value < 0.7  # what blurs teaches nothing of stripes
    assert seen["striped"].misses[0.05].value < 0.3 < unseen["striped"].misses[0.05].value
    assert len(audit.rows) == 2 * 2 * 3


def test_real_against_real_stays_at_a_half(audit):
    for measure in audit.control:
        assert measure.low < 0.5 < measure.high


def test_halving_takes_the_stripes_away(audit):
    row = audit.row("striped", True, "halved")
    assert row.auc.value < audit.row("striped", True, "as it is").auc.value - 0.15


def test_one_generator_alone_is_never_unseen():
    found = compared(Source("real", image=photos(80, 0)), Source("a", image=striped(40, 1)))
    assert {row.seen for row in found.rows} == {True}
    # a quarter of 80 pictures is too few for a threshold of 1 %
    assert all(row.misses[0.01] is None for row in found.rows)


def test_a_threshold_lets_no_more_pass_in_the_mean_than_it_says():
    random = np.random.default_rng(0)
    passed = []
    for _set in range(2000):
        real = random.random(120)
        limit = generated_measures.threshold(real, 0.05)
        passed.append(1 - limit)  # of further numbers from the same distribution
    assert 0.045 < np.mean(passed) <= 0.0505
    assert generated_measures.threshold(random.random(98), 0.01) is None
    assert generated_measures.threshold(np.arange(99.0), 0.01) == 98


def test_no_group_lies_in_two_parts():
    group = [f"patient {i // 7}" for i in range(200)]
    parts = generated_measures.split(group, (2, 1, 1), np.random.default_rng(1))
    sets = [{group[row] for row in part} for part in parts]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    assert sorted(np.concatenate(parts).tolist()) == list(range(200))
    assert abs(len(parts[0]) - 100) < 15


class First:
    """A detector whose score is the first feature."""

    def of_features(self, found):
        return found[:, 0].astype(float)


def test_the_threshold_is_that_of_the_validation_pictures():
    score = np.r_[np.zeros(50), np.linspace(0, 1, 99), np.full(50, 0.5)][:, None]
    seen = generated_measures.Seen({"as it is": score, "jpeg 75": score, "halved": score + 3})
    parts = generated_measures.Parts(*np.split(np.arange(199), [50, 149]))
    drawn = dict.fromkeys(generated_detector.CHANGES, np.full((30, 1), 0.97))
    plain, _jpeg, halved = generated_measures.Judge(seen, parts, None).rows("a", True, First(), drawn)
    assert plain.alarms[0.05].value == plain.misses[0.05].value == 0
    assert halved.alarms[0.05].value == 0 and halved.misses[0.05].value == 1
    assert halved.kept[0.05].value == 1  # above the threshold of unchanged ones


def test_intervals_count_the_patients_of_the_test_part():
    patients = [f"patient {i // 4}" for i in range(120)]
    real = Source("real", image=photos(120, 0), group=patients)
    row = compared(real, Source("a", image=striped(40, 1))).row("a", True, "as it is")
    assert row.alarms[0.05].groups == row.alarms[0.05].n / 4


def test_a_drawn_copy_goes_where_its_original_goes():
    real = photos(40, 0)
    noise = torch.randint(-3, 4, real[:20].shape, generator=torch.Generator().manual_seed(1))
    copies = (real[:20].int() + noise).clamp(0, 255).byte()
    twin = generated_measures.twins(torch.cat([copies, photos(20, 5)]), real)
    assert twin.tolist() == [*range(20), *[-1] * 20]
    rows = np.arange(40)
    parts = generated_measures.Parts(rows[::2], rows[1::4], rows[3::4])
    learns, judged = generated_measures.halves_beside(parts, twin, np.random.default_rng(0))
    assert set(learns[learns < 20]) == set(range(0, 20, 2))
    assert sorted([*learns, *judged]) == list(range(40)) and 4 < (learns >= 20).sum() < 16


def test_each_generator_weighs_the_same_and_all_together_what_the_real_do():
    """Two generators, to the left and to the right of the real ones: no line tells them apart."""
    random = np.random.default_rng(0)

    def some(count, place):
        return random.normal(place, 1, (count, 1)).astype(np.float32)

    detector = generated_detector.fit(some(200, 0), [some(40, 3), some(400, -3)])
    scores = detector.of_features(np.array([[-3.0], [0.0], [3.0]], np.float32))
    assert scores == pytest.approx([0.5] * 3, abs=0.1)


def test_files_that_tell_nothing_are_at_a_half():
    random = np.random.default_rng(0)
    real, drawn = (
        Source(
            name,
            header=[
                image_sources.Header("PNG", 32, 32, True, None, size)
                for size in random.integers(500, 5000, 60).tolist()
            ],
        )
        for name in ("real", "drawn")
    )
    found = generated_measures.by_file(real, [drawn], random)
    assert found.low < 0.5 < found.high


def test_a_detector_gives_a_score_to_any_pictures(audit):
    pipeline = audit.pipeline
    real = pipeline.many(photos(40, 11))
    drawn = pipeline.many([Image.fromarray(one[0].numpy()) for one in striped(40, 12)])
    scores = audit.detector.scores
    assert generated_measures.auc(scores(real), scores(drawn)).low > 0.7
    own = generated_detector.fit_images(real, [drawn])
    assert own.scores(drawn).shape == (40,) and own.scores(drawn).min() > own.scores(real).max()


# files, and the command


def test_the_command_writes_a_page_that_loads_nothing(tmp_path, capsys):
    for name, image in (("real", photos(60, 0)), ("<b>a", striped(30, 1)), ("b", blurred(29, 2))):
        (tmp_path / name).mkdir()
        for number, pixels in enumerate(image):
            Image.fromarray(pixels[0].numpy()).save(tmp_path / name / f"{number}.png")
    (tmp_path / "b" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    mark = provenance.Mark("souron", "0", "gan", "x", "0" * 16, 0, None)
    provenance.save(Image.new("L", (99, 99)), tmp_path / "b" / "grid.png", mark)
    words = [
        "audit",
        "generated",
        f"real={tmp_path / 'real'}",
        f"drawn={tmp_path / '<b>a'}",
        f"drawn={tmp_path / 'b'}",
        "n=30",
        "--json",
    ]
    assert main.run(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["drawn_pictures"] == {"<b>a": 30, "b": 29}  # the sheet and the broken one are none
    assert told["skipped"] == 1 and len(told["rows"]) == 12 and told["side"] == SIDE
    page = Path(told["page"]).read_text("utf-8")
    assert "A detector is no proof" in page and "&lt;b&gt;a" in page and "<b>a" not in page
    assert 'src="http' not in page and "url(http" not in page
    assert json.loads((Path(told["page"]).parent / "audit.json").read_text("utf-8"))["rows"]


def test_a_run_that_comes_ready_trained_is_drawn_for_the_audit(monkeypatch):
    [event] = [e for e in image_sources.generating("gan", 24, 0, "cpu") if e.record is not None]
    assert event.record.image.shape == (24, 1, 28, 28) and event.record.name == "gan"
    assert image_sources.is_run("gan") and not image_sources.is_run("no such thing")


@pytest.mark.parametrize(
    "words, code",
    [
        (["generated"], 2),
        (["generated", "digits"], 2),
        (["generated", "digits", "nowhere/"], 3),
        (["generated", "digits", "gan", "n=3"], 2),
    ],
    ids=["nothing", "one", "missing", "few"],
)
def test_what_cannot_be_compared_is_refused(words, code, capsys):
    assert main.run(["audit", *words]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_few_pictures_are_refused():
    with pytest.raises(UserError) as caught:
        compared(Source("real", image=photos(60, 0)), Source("a", image=striped(5, 1)))
    assert caught.value.code == "too few" and caught.value.exit == 3
