"""The memorisation audit: known distances, exact chances, copiers caught and others left alone."""

import io
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist
from test_actions import STORED as EVERY
from test_actions import shape
from torch import Tensor
from torch.nn import functional as F

from souron import registry
from souron.actions import memorisation
from souron.actions.memorisation import distances, record
from souron.actions.memorisation.distances import Change, Nearest, Space, pixels
from souron.actions.memorisation.record import MemorisationRecord, Result
from souron.cli import main
from souron.data import splits
from souron.data.dataset import Dataset
from souron.evaluation.generators import sampling
from souron.hub import zoo
from souron.kinds.codecs.image import as_image
from souron.runs import train
from souron.tasks.generate import Generator
from souron.training.loop import Run
from souron.utils.messages import UserError

DRAWN = 128
STORED = EVERY / "generate" / "dcgan-digits"


@pytest.fixture(scope="module")
def parts(digits) -> tuple[Dataset, Dataset, Dataset]:
    """What is learnt from, what is held out, and further real pictures that nobody learnt from."""
    split = splits.plan(digits, 1, 1).kept
    others = torch.cat([split.val, split.test])
    order = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(5))]
    return digits.only(split.train), digits.only(order[DRAWN:]), digits.only(order[:DRAWN])


def audited(image: Tensor, learnt: Dataset, held: Dataset, *spaces: Space) -> MemorisationRecord:
    *_before, (done, audit) = memorisation.compare(image, learnt, held, spaces or [pixels()])
    assert done == 1.0 and audit is not None
    return audit


def noisy(image: Tensor, levels: float) -> Tensor:
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(3))
    return (image.float() + levels * noise).clamp(0, 255).round().byte()


def some_of(image: Tensor, count: int, of: int | None = None) -> Tensor:
    random = torch.Generator().manual_seed(7)
    return image[torch.randint(of or len(image), (count,), generator=random)]


# distances


def test_the_ratio_is_that_of_its_definition(parts):
    learnt, held, real = parts
    space = replace(pixels(), changes=(Change(),))
    near = audited(real.input, learnt, held, space).results[0].generated
    kept = learnt.only(sorted(set(splits.same_image(learnt))))
    x, t = (one.input.flatten(1).double().numpy() for one in (real, kept))
    apart = cdist(x, t) / math.sqrt(x.shape[1])
    nearest = np.sort(apart, 1)[:, : distances.NEIGHBOURS]
    typical = nearest[:, distances.NEIGHBOURS // 2 - 1]  # the lower median
    assert np.allclose(near.distance, nearest[:, 0], atol=1e-3)
    assert np.allclose(near.ratio, nearest[:, 0] / typical, atol=1e-4)
    assert np.array_equal(near.row, apart.argmin(1))


def test_pieces_of_the_training_pictures_are_as_good_as_the_whole(parts, monkeypatch):
    learnt, held, real = parts
    whole = audited(real.input, learnt, held).results[0].generated
    monkeypatch.setattr(distances, "KNOWN", 37)
    monkeypatch.setattr(distances, "QUERIES", 11)
    pieces = audited(real.input, learnt, held).results[0].generated
    assert torch.equal(whole.row, pieces.row) and torch.equal(whole.change, pieces.change)
    assert torch.allclose(whole.ratio, pieces.ratio, atol=1e-5)


def test_a_change_moves_the_picture_and_repeats_its_edge():
    image = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3)
    assert Change(right=1).of(image).view(-1).tolist() == [0, 0, 1, 3, 3, 4, 6, 6, 7]
    assert Change(down=-1).of(image).view(-1).tolist() == [3, 4, 5, 6, 7, 8, 6, 7, 8]
    assert Change(mirror=True).of(image).view(-1).tolist() == [2, 1, 0, 5, 4, 3, 8, 7, 6]
    assert str(Change()) == "" and str(Change(True, 1)) == "mirrored, shifted by a pixel"


@pytest.mark.parametrize(
    "changed", [Change(m, d, r) for m in (False, True) for d, r in ((0, 0), (0, 1), (-1, 0))], ids=str
)
def test_a_changed_copy_is_found_with_its_original(changed, parts):
    learnt, held, _real = parts
    # away from the edge nothing is lost by shifting
    learnt = replace(learnt, input=F.pad(learnt.input, (2, 2, 2, 2)))
    held = replace(held, input=F.pad(held.input, (2, 2, 2, 2)))
    audit = audited(changed.of(learnt.input[:40]), learnt, held)
    near = audit.results[0].generated
    assert near.distance.max() == 0 and audit.flagged.value == 1
    assert torch.equal(learnt.input[near.row], learnt.input[:40])


def test_large_pictures_are_compared_small_and_noise_does_not_hide_them():
    random = torch.Generator().manual_seed(0)
    image = F.interpolate(torch.rand(90, 3, 9, 9, generator=random) * 255, (96, 96)).byte()
    cases = Dataset("x", image, torch.zeros(90, dtype=torch.long), ("a",), [*map(str, range(90))])
    audit = audited(noisy(image[:10], 30), cases.only(range(50)), cases.only(range(50, 90)))
    assert audit.flagged.value == 1
    assert [pair.file for pair in sorted(audit.pairs, key=lambda p: p.picture)] == [*map(str, range(10))]


# chances


@pytest.mark.parametrize("control, rank", [(5, 1), (99, 1), (199, 2), (1000, 10)])
def test_the_threshold_leaves_about_one_in_a_hundred_below(control, rank):
    assert record.rank_of(control) == rank
    ratio = torch.randperm(control).float()
    assert record.threshold(ratio) == rank - 1


def of_ratios(drawn: Tensor, control: Tensor) -> Result:
    def near(ratio: Tensor) -> Nearest:
        none = torch.zeros(len(ratio), dtype=torch.long)
        return Nearest(none, ratio, ratio, none)

    return Result(pixels(), near(drawn), near(control), control)


@pytest.mark.parametrize("drawn, control", [(64, 60), (256, 300)])
def test_pictures_like_the_real_ones_are_called_copies_no_more_often_than_said(drawn, control):
    """Whatever the distribution: the chance is exact, so uniform or above."""
    random = torch.Generator().manual_seed(11)
    chances = torch.tensor(
        [
            of_ratios(torch.rand(drawn, generator=random), torch.rand(control, generator=random)).chance
            for _time in range(1000)
        ]
    )
    for level in (0.05, 0.01):
        error = 3 * math.sqrt(level * (1 - level) / 1000)
        assert (chances <= level).float().mean() < level + error
    assert (chances <= 0.3).float().mean() > 0.05  # and not for want of ever saying anything


def test_one_more_flagged_is_less_likely_by_chance():
    control = torch.linspace(0.5, 1, 200)
    chances = []
    for count in range(4):
        drawn = torch.full((100,), 0.9)
        drawn[:count] = 0.1
        chances.append(of_ratios(drawn, control).chance)
    assert chances[0] == 1 and chances == sorted(chances, reverse=True) and chances[3] < 0.2


def test_several_distances_share_the_doubt_and_the_control_has_all_their_flags(parts):
    learnt, held, real = parts
    ratio = torch.linspace(0.5, 1, 200)
    drawn = torch.full((100,), 0.9)
    drawn[:4] = 0.1
    one = of_ratios(drawn, ratio)
    assert record.DOUBT / 2 < one.chance < record.DOUBT
    other = of_ratios(torch.full((100,), 0.9), ratio.flip(0))
    audit = audited(real.input[:9], learnt, held)
    assert replace(audit, results=[one]).copies_too_much
    both = replace(audit, results=[one, other])
    assert not both.copies_too_much
    assert both.control.value == 0.02  # two real pictures of 200 by one distance, two by the other


# verdicts


def test_real_pictures_are_no_copies(parts):
    audit = audited(parts[2].input, *parts[:2])
    assert not audit.copies_too_much and audit.flagged.value < 0.04
    assert audit.sentences()[0].startswith("No sign of copying in 128 images")


def grainy(seed: int) -> tuple[Dataset, Dataset, Tensor]:
    """What is learnt from and what is held out, with grain, and new pictures without."""
    smooth = F.interpolate(torch.rand(628, 1, 3, 3, generator=torch.Generator().manual_seed(seed)) * 200, (16, 16)) + 25
    noise = torch.randn(smooth.shape, generator=torch.Generator().manual_seed(seed + 1000))
    real = (smooth + 40 * noise).clamp(0, 255).byte()
    cases = Dataset("x", real, torch.zeros(628, dtype=torch.long), ("a",), [*map(str, range(628))])
    return cases.only(range(400)), cases.only(range(400, 500)), smooth[500:].byte()


def test_smooth_pictures_lie_near_to_everything_and_are_not_taken_for_copies(tmp_path):
    """Without grain a new picture is nearer to every training picture than a real one is: by distance alone it would
    be a copy, and its ratio is that small to pictures that were not in training as well."""
    learnt, held, fresh = grainy(2)
    audit = audited(fresh, learnt, held)
    [found] = audit.results
    assert (found.generated.distance < found.control.distance.quantile(0.01)).float().mean() > 0.9
    assert record.chance(found.generated.ratio, found.control.ratio) < 0.001
    assert not audit.copies_too_much and audit.flagged.value < 0.03 and audit.grain < record.SMOOTH
    copied = torch.cat([fresh[:118], noisy(learnt.input[:10], 5)])
    audit = audited(copied, learnt, held)
    assert audit.copies_too_much and {pair.picture for pair in audit.pairs[:10]} == set(range(118, 128))
    audit.folder = tmp_path
    assert "Its images are smoother" in audit.write().read_text(encoding="utf-8")


@pytest.mark.slow
def test_new_smooth_pictures_are_called_copies_in_at_most_5_percent():
    plain = replace(pixels(), changes=(Change(),))
    called = [audited(fresh, learnt, held, plain).copies_too_much for learnt, held, fresh in map(grainy, range(60))]
    assert sum(called) <= 3


@pytest.mark.parametrize("levels, least", [(0, 1.0), (10, 0.99), (20, 0.6)])
def test_noisy_copies_are_caught(levels, least, parts):
    learnt, held, _real = parts
    audit = audited(noisy(some_of(learnt.input, DRAWN), levels), learnt, held)
    assert audit.copies_too_much and audit.flagged.value >= least
    assert audit.sentences()[0].startswith("It copies: ")


def test_a_few_copies_among_others_are_caught_and_come_first(parts):
    learnt, held, real = parts
    image = torch.cat([real.input[:120], noisy(learnt.input[:8], 5)])
    audit = audited(image, learnt, held)
    assert audit.copies_too_much
    assert {pair.picture for pair in audit.pairs[:8]} == set(range(120, 128))
    for pair in audit.pairs[:8]:
        assert pair.flagged and pair.file == learnt.file[pair.picture - 120]
    assert audit.flagged.low > 0.02


def test_with_fewer_pictures_more_could_go_unnoticed(parts):
    learnt, held, real = parts
    few, many = (audited(real.input[:n], learnt, held).flagged.high for n in (16, DRAWN))
    assert few > 2 * many


def jpeg(image: Tensor) -> Tensor:
    stream = io.BytesIO()
    as_image(image).save(stream, "JPEG", quality=90)
    return torch.from_numpy(np.array(Image.open(stream)))[None]


def test_copies_among_the_held_out_do_not_spoil_the_control(parts):
    learnt, held, _real = parts
    clean = audited(some_of(learnt.input, DRAWN), learnt, held)
    copies = torch.stack([*learnt.input[:12], *(jpeg(one) for one in learnt.input[20:32])])
    leaky = replace(held, input=torch.cat([copies, held.input[len(copies) :]]))
    audit = audited(noisy(some_of(learnt.input, DRAWN), 10), learnt, leaky)
    assert audit.copies - clean.copies >= 20  # of 24; re-encoded ones may look like others
    assert audit.results[0].threshold > 0.8 * clean.results[0].threshold
    assert audit.copies_too_much and audit.flagged.value > 0.95
    assert len(audit.held_out) == len(held) - audit.copies == audit.control.n


def test_pictures_that_training_repeats_are_caught_all_the_same(parts):
    """Where a picture's neighbourhood is that picture many times over, no ratio is small."""
    learnt, held, _real = parts
    rows = [*range(5)] * 80 + [*range(5, 300)]
    audit = audited(noisy(some_of(learnt.input, DRAWN, of=5), 5), learnt.only(rows), held)
    assert audit.flagged.value == 1 and len(audit.training) == 300


class Eyed:
    """Sees pictures whose colours are turned round as the same."""

    name = "a stand-in"

    def features(self, image: Tensor) -> Tensor:
        return (image.float() - 127.5).abs().flatten(1)


def test_what_the_eye_takes_for_a_copy_is_one(parts):
    learnt, held, _real = parts
    negative = 255 - learnt.input[:64]
    by_pixels = audited(negative, learnt, held)
    both = audited(negative, learnt, held, pixels(), distances.features(Eyed()))
    assert not by_pixels.copies_too_much
    assert both.copies_too_much and both.flagged.value == 1
    assert {pair.space for pair in both.pairs} == {"features"}
    assert [one.space.network for one in both.results] == ["", "a stand-in"]


def test_of_very_many_training_pictures_the_eye_sees_some(parts, monkeypatch):
    learnt, held, real = parts
    monkeypatch.setattr(distances, "MOST_SEEN", 100)
    audit = audited(real.input, learnt, held, distances.features(Eyed()))
    rows = audit.results[0].generated.row
    assert len(rows.unique()) > 30 and rows.max() > 200


@pytest.mark.parametrize("learnt, held", [(4, 50), (50, 4)])
def test_too_few_pictures_are_refused(learnt, held, parts):
    with pytest.raises(UserError, match="there are 4") as caught:
        audited(parts[2].input, parts[0].only(range(learnt)), parts[1].only(range(held)))
    assert caught.value.exit == 3


def test_flat_and_equal_pictures_divide_nothing_by_zero(parts):
    learnt, held, _real = parts
    blank = learnt.input.clone()
    blank[:60] = 0
    audit = audited(torch.zeros_like(learnt.input[:8]), replace(learnt, input=blank), held)
    assert all(math.isfinite(pair.ratio) for pair in audit.pairs)
    assert audit.flagged.value == 1  # that one picture is given back


# generators


class Replay(Generator):
    """Gives back what it holds, with some noise."""

    def __init__(self, image: Tensor, levels: float, labels: tuple[str, ...]) -> None:
        torch.nn.Module.__init__(self)
        self.spec = replace(
            self.spec_for(Dataset("", image, torch.zeros(len(image)).long(), ("a",), [])),
            labels=labels,
            shares=(1 / len(labels),) * len(labels),
        )
        self.register_buffer("image", image)
        self.levels = levels

    def drawing(self, noise, label):
        row = noise.choose(torch.ones(len(noise), len(self.image)))
        held = self.image[row].float() / 127.5 - 1
        yield held + self.levels / 127.5 * noise.normal(*held.shape[1:])


def sample(system: Generator, count: int = DRAWN) -> Tensor:
    *_before, drawn = sampling.Sample.growing(system, count, 0)
    return drawn.image


def test_a_generator_that_gives_back_fifty_pictures_is_caught(parts):
    learnt, held, real = parts
    few = learnt.only(range(50))
    collapsed = audited(sample(Replay(few.input, 12, few.classes)), few, held)
    assert collapsed.copies_too_much and collapsed.flagged.value > 0.9
    fresh = audited(sample(Replay(real.input, 12, few.classes)), few, held)
    assert not fresh.copies_too_much


def trained(name: str, learnt: Dataset, steps: int) -> Generator:
    kind, config = registry.load_system(name)
    torch.manual_seed(0)
    system = kind(config, kind.spec_for(learnt))
    for _progress in system.fit(system.loader(learnt, seed=1), Run(steps, 50)):
        pass
    return system


def test_diffusion_that_saw_fifty_pictures_again_and_again_is_caught(parts):
    learnt, held, _real = parts
    few = learnt.only(range(50))
    audit = audited(sample(trained("ddpm_tiny", few, 300)), few, held)
    assert audit.copies_too_much and audit.flagged.value > 0.08


def test_diffusion_that_saw_many_pictures_is_not(parts):
    learnt, held, _real = parts
    audit = audited(sample(trained("ddpm_tiny", learnt, 120)), learnt, held)
    assert not audit.copies_too_much and audit.flagged.value < 0.03


# the command


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A real run, and the cache with its eye."""
    place = tmp_path_factory.mktemp("audited")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURON_CACHE", str(place / "cache"))
        record = train.train("dcgan_tiny", "digits", budget="12000ex", project=place)
    return record.folder


@pytest.fixture
def say(run, monkeypatch, capsys):
    monkeypatch.setenv("SOURON_CACHE", str(run.parents[1] / "cache"))
    for file in run.glob("audit-memorisation*"):
        file.unlink()

    def said(*words: str) -> tuple[int, str, str]:
        code = main.run(["audit", *words])
        return code, *capsys.readouterr()

    return said


def test_the_audit_of_a_run_is_json_and_a_page(run, say):
    code, out, err = say("memorisation", str(run), "n=48", "seed=2", "--json")
    told = json.loads(out)
    assert code == 0 and "replaced" not in err
    assert {"samples", "flagged", "rate", "low", "high", "control_rate", "pairs"} <= told.keys()
    assert told["samples"] == 48 and told["seed"] == 2 and not told["copies"]
    assert not told["data_changed"] and not told["replaced"]
    assert told["low"] <= told["rate"] <= told["high"]
    assert sorted(pair["picture"] for pair in told["pairs"]) == [*range(48)]
    assert {"picture", "file", "distance", "ratio"} <= told["pairs"][0].keys()
    assert [way["name"] for way in told["distances"]] == ["pixels", "features"]
    page = (run / "audit-memorisation.html").read_text(encoding="utf-8")
    assert told["page"] == str(run / "audit-memorisation.html")
    assert told["sentence"] in " ".join(page.split()).replace("\N{NO-BREAK SPACE}", " ")
    assert "30-4" in page and "CC-BY-4.0" in page and "unreasonably prejudice" in page
    assert 'src="http' not in page and "<script" not in page

    code, out, err = say("memorisation", str(run), "n=16")
    assert code == 0 and "page of an earlier audit was replaced" in err
    assert "No sign of copying in 16 images" in out and "distance by" in out


def test_it_writes_the_keys_of_a_stored_one_and_both_languages(run, say):
    stored = json.loads((STORED / "audit-memorisation.json").read_text(encoding="utf-8"))
    code, out, _err = say("memorisation", str(run), "n=16", "seed=2", "--json")
    told, written = json.loads(out), json.loads((run / "audit-memorisation.json").read_text())
    assert code == 0 and told.keys() == {*stored, "sentence", "page"}
    assert shape(written) == shape(stored)
    for name in ("system", "data", "seed", "samples", "held_out_copies", "data_changed"):
        assert written[name] == stored[name] == told[name]
    page, other = (
        " ".join((run / name).read_text(encoding="utf-8").split())
        for name in ("audit-memorisation.html", "audit-memorisation.ja.html")
    )
    assert "Generated images beside" in page
    assert "生成画像と、最も近い学習画像" in other and "第30条の4" in other
    assert "mirrored" not in other and "Generated images" not in other


def test_a_ready_trained_system_is_audited_by_its_name_outside_of_the_package(run, say, tmp_path, monkeypatch):
    name = zoo.receipt(run)["system"]
    entry = registry.find(name)[0]
    packed = tmp_path / "souron_zoo" / entry.name
    shutil.copytree(run, packed, ignore=shutil.ignore_patterns("audit-*"))
    monkeypatch.setattr(zoo, "root", lambda: packed.parent)
    monkeypatch.chdir(tmp_path)
    before = sorted(packed.rglob("*"))
    code, out, err = say("memorisation", name, "n=16", "--json")
    assert code == 0, err
    assert json.loads(out)["page"] == f"runs/ready/{entry.name}/audit-memorisation.html"
    assert (tmp_path / json.loads(out)["page"]).is_file()
    assert sorted(packed.rglob("*")) == before


def test_the_same_seed_gives_the_same_audit(run, say):
    first, second = (json.loads(say("memorisation", str(run), "n=20", "--json")[1]) for _time in range(2))
    assert first["pairs"] == second["pairs"]


@pytest.mark.parametrize("count", ["0", "-3", "5000", "many"])
def test_numbers_that_make_no_sense_are_refused(count, run, say):
    code, _out, err = say("memorisation", str(run), f"n={count}")
    assert code == 2 and count in err


def test_what_draws_nothing_is_refused(tmp_path, say):
    folder = train.train("mlp_tiny", "digits", budget="1000ex", project=tmp_path).folder
    code, _out, err = say("memorisation", str(folder))
    assert code == 2 and "does not generate" in err
    code, _out, err = say("memorisation", str(tmp_path / "nowhere"))
    assert code == 3 and "[not a run]" in err
    code, _out, err = say("memorisation")
    assert code == 2 and "RUN is missing" in err
    code, _out, err = say("memorisation", "a", "b")
    assert code == 2 and "one thing too many: b" in err


# the page


@pytest.mark.parametrize("copying", [True, False])
def test_the_page_escapes_names_and_shows_pairs(copying, parts, tmp_path):
    learnt, held, real = parts
    learnt = replace(learnt, file=[f"<script>{name}" for name in learnt.file])
    image = some_of(learnt.input, 60) if copying else real.input[:60]
    audit = audited(image, learnt, held, pixels(), distances.features(Eyed()))
    audit.folder, audit.system, audit.data = tmp_path, "<b>dcgan</b>", "写真"
    text = audit.write().read_text(encoding="utf-8")
    assert "<script" not in text and "<b>dcgan" not in text and "写真" in text
    shown = record.FLAGGED if copying else record.NEAREST
    assert text.count('alt="generated image') == shown
    assert text.count('alt="real image') == record.REAL
    flagged = sum(pair.flagged for pair in audit.pairs)
    assert all(pair.flagged for pair in audit.pairs[:flagged])
    assert (flagged == 60 and "60 are flagged, the worst 24" in text) == copying


def test_notes_say_what_makes_an_audit_less_sure(parts, tmp_path):
    learnt, held, real = parts
    leaky = torch.cat([learnt.input[:3], held.input[:40]])
    rows = held.only(range(43))
    audit = audited(real.input[:20], learnt, replace(rows, input=leaky))
    audit.folder, audit.changed = tmp_path, True
    text = " ".join(audit.write().read_text(encoding="utf-8").split())
    assert "The data have changed since the run" in text
    assert f"Only {audit.control.n} real images" in text
    assert f"{audit.copies} images outside of training are copies" in text and audit.copies >= 3
