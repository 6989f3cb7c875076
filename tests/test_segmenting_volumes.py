"""Segmenters of volumes: what is asked of them, what is measured, what they learn."""

import importlib
import itertools
import json
import sys
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from scipy.ndimage import label
from shapes import scans

import souron
from souron import model, registry
from souron.blocks import volume_patches
from souron.data import load
from souron.data.dataset import Rows
from souron.data.readers import resampling
from souron.evaluation import summary
from souron.evaluation.vision import volumes
from souron.kinds.codecs import axes
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.volume import Volume
from souron.runs import evaluate, train
from souron.runs import folder as run_folder
from souron.training.budget import one_cycle, set_rate
from souron.training.loop import Run
from souron.utils.messages import UserError

TASK = registry.load_task("segment_volume")
NETWORK = sys.modules[registry.load_system("unet_3d")[0].__module__]
WINDOWS = sys.modules[registry.load_system("threshold")[0].__module__]


@pytest.fixture(scope="module")
def cases():
    return scans(24)


@pytest.fixture(scope="module")
def windows(cases):
    """Windows that have been found."""
    kind = registry.load_system("threshold_tiny")
    system = kind[0](kind[1], kind[0].spec_for(cases))
    for _progress in system.fit(system.loader(cases), Run(10)):
        pass
    return system.eval()


def network(cases, **changes):
    kind, config = registry.load_system("unet_3d_tiny")
    torch.manual_seed(0)
    return kind(replace(config, **changes), kind.spec_for(cases))


# figures


def test_figures_of_known_masks(cases):
    test = cases.only([0, 1])
    right = volumes.scores_of(test.target, test)
    assert right["mean Dice"].tolist() == right["surface Dice at 2 mm"].tolist() == [1, 1]
    assert right["HD95"].tolist() == right["volume error"].tolist() == [0, 0]
    none = volumes.scores_of(torch.zeros_like(test.target), test)
    assert none["mean Dice"].tolist() == [0, 0] and none["volume error"].tolist() == [1, 1]
    apart = np.linalg.norm(np.array([7, 11, 15]) * test.spacing[0])
    assert none["HD95"][0] == pytest.approx(apart)


def test_distances_run_in_the_millimetres_of_each_axis(cases):
    area = torch.zeros(1, 8, 12, 16, dtype=torch.uint8)
    area[0, 3, 4:8, 4:8] = 1
    test = replace(cases.only([1]), target=area, classes=("background", "plate"))
    assert test.spacing == [(4.0, 2.0, 1.5)]
    for axis, far in enumerate((4.0, 2.0, 1.5)):
        moved = volumes.scores_of(area.roll(1, axis + 1), test)
        assert moved["HD95"][0] == pytest.approx(far), axis
        if far >= 2:  # all surface voxels are 4 mm away, or none is farther than 2 mm
            assert moved["surface Dice at 2 mm"][0] == (far == 2), axis
    double = area.clone()
    double[0, 4, 4:8, 4:8] = 1
    assert volumes.scores_of(double, test)["volume error"][0] == pytest.approx(1)


def test_the_error_in_millilitres_has_a_sign(cases):
    answers = {"found": cases.target.where(cases.target != 1, 0)}
    answers["found"][:, 0, 0, :] = 2  # 16 voxels too many
    trainings = volumes.Trainings.of_one(cases, answers, {})
    atlas = volumes.atlas(cases.target, range(len(cases)), 3)
    ball, cubes = volumes.result(trainings, volumes.VolumeSetup(None, cases, atlas=atlas)).organs
    assert ball.error.value == pytest.approx(-ball.truth) and ball.found == 0
    assert cubes.error.value == pytest.approx(16 * 3.5 * 2 * 1.5 / 1000)


def test_the_atlas_is_what_most_training_volumes_say():
    target = torch.tensor([[0, 1, 2], [0, 1, 1], [2, 0, 2], [2, 2, 2]])[:, None, None].byte()
    assert volumes.atlas(target, [0, 1, 2], 3).flatten().tolist() == [0, 1, 2]


def test_an_organ_keeps_as_many_parts_as_it_has():
    area = np.zeros((4, 5, 9), np.uint8)
    area[:, :, 0], area[:2, :2, 3], area[0, 0, 5], area[3, 4, 7:] = 1, 1, 2, 2
    assert volumes.parts_of(torch.from_numpy(area)[None], 3) == (2, 2)
    one = volumes.largest(area, (1, 1))
    assert (one == 1).sum() == 20 and (one == 2).sum() == 2
    assert np.array_equal(volumes.largest(area, (2, 2)), area)
    assert (area == 1).sum() == 24  # what was given is as it was
    crumbs = np.concatenate([area, np.zeros_like(area)])
    crumbs[7, 4, 0] = 1  # less than a tenth of it
    assert volumes.parts_of(torch.from_numpy(crumbs)[None], 3)[0] == 2


def test_two_kidneys_are_two_parts(cases):
    spec = TASK.spec(cases)
    assert spec.parts == (1, 2) and spec.labels == ("background", "ball", "cubes")
    assert spec.size == (8, 12, 16) and spec.spacing == (3.5, 2.0, 1.5)


@pytest.mark.parametrize(
    "change",
    [
        {"target": torch.zeros(24, dtype=torch.long)},
        {"target": torch.zeros(24, 8, 12, 15, dtype=torch.uint8)},
        {"target": torch.full((24, 8, 12, 16), 3, dtype=torch.uint8)},
        {"input": torch.zeros(24, 1, 12, 16)},
        {"classes": ("background",)},
        {"spacing": ()},
        {"spacing": [(1.0, 0.0, 1.0)] * 24},
    ],
)
def test_data_that_cannot_be_segmented_is_told(cases, change):
    TASK.check(cases, None)
    with pytest.raises(UserError) as trouble:
        TASK.check(replace(cases, **change), None)
    assert trouble.value.code == "no labelled volumes" and trouble.value.exit == 3


def test_classes_in_another_order_are_renumbered(cases):
    turned = TASK.renumbered(cases.target, torch.tensor([0, 2, 1]))
    assert torch.equal(turned == 2, cases.target == 1) and turned.dtype == torch.uint8


# the kind


AFFINE = np.array([[0, 0, 0.7, -3], [0, 0.8, 0, 4], [1.5, 0, 0, 5], [0, 0, 0, 1]])


def test_a_labelled_volume_lies_where_the_volume_lies(tmp_path):
    area = np.zeros((4, 5, 6), int)
    area[1:3, 2, 3:] = 1
    thing = LabelledVolume(Volume(np.zeros((4, 5, 6), np.int16), AFFINE), area, ["", "liver"])
    told = thing.as_json()
    assert told["spacing"] == [0.7, 0.8, 1.5] and told["labels"] == [
        {"name": "liver", "voxels": 6, "millilitres": round(6 * 0.7 * 0.8 * 1.5 / 1000, 3)}
    ]
    thing.save(tmp_path / "a.nii.gz")
    read = nibabel.load(tmp_path / "a.nii.gz")
    assert read.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(read.dataobj).T, area)
    assert np.allclose(Volume.read(tmp_path / "a.nii.gz").affine, AFFINE)
    assert "liver" in thing._repr_html_()


@pytest.mark.parametrize(
    "area, names",
    [
        (np.zeros((4, 5, 5), int), ["", "a"]),
        (np.full((4, 5, 6), 2), ["", "a"]),
        (np.full((4, 5, 6), -1), ["", "a"]),
        (np.zeros((4, 5, 6)), ["", "a"]),
        (np.zeros((4, 5, 6), int), ["a"] * 257),
    ],
)
def test_labels_that_make_no_sense_are_refused(area, names):
    with pytest.raises(UserError) as trouble:
        LabelledVolume(Volume(np.zeros((4, 5, 6), np.int16), AFFINE), area, names)
    assert trouble.value.exit == 3


# answering


def placed(cases, row, spacing=None):
    """A case as a volume in millimetres, slices towards the head."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag(spacing or cases.spacing[row])[::-1]
    return Volume(cases.input[row, 0].numpy(), affine)


def test_the_patient_is_turned_upright_and_back(windows, cases):
    volume = placed(cases, 0)
    straight = windows.predict(volume)
    assert volume.orientation == "LPS" and axes.upright(volume.affine) == ((0, 1, 2), ())
    right = volume.affine @ np.diag([1, 1, -1, 1])  # columns run to the right
    assert axes.upright(right[:, [2, 0, 1, 3]]) == ((1, 2, 0), (2,))
    assert volumes.volumes.dice(straight.area == 2, cases.target[0].numpy() == 2) > 0.85
    for order, flips in itertools.product(itertools.permutations(range(3)), ((), (0,), (1, 2))):
        turned = volume.affine[:, [*order, 3]].copy()
        values = np.flip(volume.values.transpose(order), flips)
        for axis in flips:
            turned[:3, 3] += turned[:3, axis] * (values.shape[axis] - 1)
            turned[:3, axis] *= -1
        found = windows.predict(Volume(values, turned)).area
        assert np.array_equal(np.flip(found, flips), straight.area.transpose(order)), (order, flips)


def test_a_volume_of_other_spacing_keeps_its_millilitres(windows, cases):
    volume = placed(cases, 0, windows.spec.spacing)
    fine = volume.affine.copy()
    fine[:3, :3] /= 2
    values = volume.values.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    coarse, found = windows.predict(volume), windows.predict(Volume(values, fine))
    assert found.area.shape == (16, 24, 32)
    for one, other in zip(coarse.rows(), found.rows(), strict=True):
        assert other[2] == pytest.approx(one[2], rel=0.15) and one[2] > 0


def test_a_volume_is_asked_at_the_spacing_of_the_training_cases(windows, cases, monkeypatch):
    asked = []

    def named(volume):
        asked.append(volume[0])
        return torch.zeros(volume.shape[1:])

    monkeypatch.setattr(windows, "named", named)
    volume = placed(cases, 0, windows.spec.spacing)
    fine = volume.affine.copy()
    fine[:3, :3] /= 2
    windows.predict(Volume(volume.values.repeat(2, 0).repeat(2, 1).repeat(2, 2), fine))
    turned = volume.affine[:, [2, 0, 1, 3]]
    windows.predict(Volume(volume.values.transpose(2, 0, 1), turned))
    assert [there.shape for there in asked] == [(8, 12, 16)] * 2
    for there in asked:
        assert torch.allclose(there, cases.input[0, 0].float(), atol=1e-3)


def test_voxels_that_become_larger_are_averaged():
    peak = torch.tensor([0.0, 0, 0, 8, 0, 0])[None, None, None]
    assert resampling.resampled(peak, (1, 1, 1)).item() == pytest.approx(8 / 6)
    assert resampling.resampled(peak, (1, 1, 4)).flatten().tolist() == pytest.approx([0, 0, 8 / 1.5, 0])
    grey = torch.arange(8.0).view(1, 2, 2, 2)
    assert resampling.resampled(grey, (1, 1, 1)).item() == 3.5
    assert resampling.resampled(grey, (2, 2, 1)).flatten().tolist() == [0.5, 2.5, 4.5, 6.5]
    assert resampling.resampled(grey, (2, 2, 2)).equal(grey)
    half = torch.tensor([[[0, 1]]])
    assert resampling.resampled_labels(half, (1, 2, 4), 2).tolist() == [[[0, 0, 1, 1]] * 2]


@pytest.mark.parametrize("step", [40.0, 900.0])
def test_a_volume_too_large_at_the_training_spacing_is_refused(windows, step):
    values = np.zeros((60, 60, 60), np.int16)
    affine = np.diag([step, step, step, 1.0])[[2, 1, 0, 3]]
    with pytest.raises(UserError) as trouble:
        windows.predict(Volume(values, affine))
    assert trouble.value.code == "too large" and trouble.value.exit == 3


# thresholds


def test_the_window_is_the_best_of_all():
    random = np.random.default_rng(0)
    organ, other = (torch.from_numpy(random.integers(0, 20, 12)).double() for _part in range(2))
    every = organ + other
    low, high, dice = WINDOWS.best(organ, every)
    tried = {
        (a, b): float(2 * organ[a : b + 1].sum() / (every[a : b + 1].sum() + organ.sum()))
        for a in range(12)
        for b in range(a, 12)
    }
    assert dice == pytest.approx(max(tried.values())) and tried[low, high] == pytest.approx(dice)


def test_thresholds_find_what_has_a_brightness_of_its_own(windows, cases):
    assert 30 <= windows.window[0, 0] < 120 < windows.window[0, 1] < windows.window[1, 0] + 60
    said = windows.validate(windows.loader(cases))["mean Dice"]
    assert said.mean() > 0.9
    island = cases.input[0].clone()
    island[0, 0, 0, 0] = 260
    assert label(windows.named(island).numpy() == 2)[1] == 3
    assert label(windows.kept(island).numpy() == 2)[1] == 2


def test_before_it_has_learnt_it_finds_nothing(cases):
    kind, config = registry.load_system("threshold_tiny")
    assert not kind(config, kind.spec_for(cases)).named(cases.input[0]).any()


def test_of_windows_that_overlap_the_better_one_has_the_voxel(windows):
    other = type(windows)(windows.config, windows.spec)
    other.window.copy_(torch.tensor([[0.0, 100.0], [50.0, 150.0]]))
    other.dice.copy_(torch.tensor([0.9, 0.5]))
    values = torch.tensor([-1, 60, 120, 160])[None, None, None]
    assert other.named(values).flatten().tolist() == [0, 1, 2, 0]
    other.dice.copy_(torch.tensor([0.5, 0.9]))
    assert other.named(values).flatten().tolist() == [0, 2, 2, 0]


def test_what_lies_outside_of_the_scale_counts_as_its_end(windows):
    other = type(windows)(windows.config, windows.spec)
    other.window.copy_(torch.tensor([[WINDOWS.LOW, -900], [1000, WINDOWS.HIGH]]))
    other.dice.fill_(0.9)
    values = torch.tensor([-3000, -950, 0, 1500, 9000])[None, None, None]
    assert other.named(values).flatten().tolist() == [1, 1, 0, 2, 2]
    counted = other.histogram((values[None], torch.zeros(1, 1, 1, 5, dtype=torch.uint8)))
    assert counted[0, 0] == counted[-1, 0] == 1 and counted.sum() == 5


# the network


def test_small_is_half_a_million_parameters_and_answers_at_any_size():
    kind, config = registry.load_system("unet_3d")
    built = summary.blueprint(kind, config, TASK.example(kind, "small"))
    assert 400_000 < sum(part.numel() for part in built.parameters()) < 600_000
    assert built.example().shape == (48, 80, 96)
    small = network(scans(4)).eval()
    with torch.inference_mode():
        assert small.named(torch.zeros(1, 7, 11, 5)).shape == (7, 11, 5)


def test_it_has_the_parameters_of_the_paper():
    """19 069 955, counted with a bias and without normalisation; that has a scale for each map."""
    kind, config = registry.load_system("unet_3d_paper")
    spec = replace(TASK.example(kind, "paper"), channels=0, labels=("", "a", "b"))  # 3 channels in
    built = summary.blueprint(kind, config, spec)
    maps = sum(m.num_features for m in built.modules() if isinstance(m, torch.nn.BatchNorm3d))
    assert sum(part.numel() for part in built.parameters()) == 19_069_955 + maps
    assert maps == 2336


def test_patches_lie_around_organs_that_are_drawn_alike(monkeypatch):
    target = torch.zeros(24, 24, 24, dtype=torch.uint8)
    target[:12], target[20, 20, 20] = 1, 2
    torch.manual_seed(0)
    cuts = [NETWORK.around(target, (4, 4, 4), 3) for _draw in range(300)]
    assert all(target[cut].shape == (4, 4, 4) for cut in cuts)
    assert 0.3 < np.mean([2 in target[cut] for cut in cuts]) < 0.5  # one voxel of 13 824
    monkeypatch.setattr(volume_patches, "AROUND", 0.0)
    cuts = [NETWORK.around(target, (4, 4, 4), 3) for _draw in range(300)]
    assert np.mean([2 in target[cut] for cut in cuts]) < 0.05
    monkeypatch.setattr(volume_patches, "AROUND", 1.0)
    assert target[NETWORK.around(target, (99, 4, 4), 3)].shape == (24, 4, 4)


def test_a_patch_knows_where_it_lies(cases):
    made = network(cases)
    whole = made.channels(cases.input[0])
    cut = (slice(2, 6), slice(3, 9), slice(0, 5))
    assert torch.equal(made.channels(cases.input[0], cut), whole[(slice(None), *cut)])
    assert whole[2:, 0, 0, 0].tolist() == pytest.approx([-7 / 8, -11 / 12, -15 / 16])
    assert whole[2:, -1, -1, -1].tolist() == pytest.approx([7 / 8, 11 / 12, 15 / 16])


def test_values_are_seen_through_two_windows(cases):
    volume = torch.full((1, 8, 12, 16), 40)
    volume[0, 0, 0, :5] = torch.tensor([240, -160, 1000, -3000, 4000])
    narrow, wide = network(cases).channels(volume)[:2, 0, 0, :6].tolist()
    assert narrow == pytest.approx([1, -1, 2, -2, 2, 0])
    assert wide == pytest.approx([1 / 3, -1 / 3, 1.6, -2, 4, 0])


def test_a_patch_is_a_little_brighter_or_paler_and_stays_where_it_is(cases, monkeypatch):
    made, cut = network(cases), (slice(0, 8),) * 3
    monkeypatch.setattr(NETWORK, "around", lambda *_given: cut)
    batch = TASK.batch(Rows(cases.input, cases.target), None)
    plain, drawn = made.channels(cases.input[0], cut), []
    low, high = plain[:2].argmin(), plain[:2].argmax()
    for _draw in range(12):
        inputs, target = made.patch(batch, 0)
        assert torch.equal(inputs[2:], plain[2:]) and torch.equal(target, cases.target[0][cut])
        grey, there = plain[:2].flatten(), inputs[:2].flatten()
        contrast = (there[high] - there[low]) / (grey[high] - grey[low])
        drawn.append((contrast - 1, there[low] - contrast * grey[low]))
        assert torch.allclose(there, contrast * grey + drawn[-1][1], atol=1e-4)
    each = torch.tensor(drawn)
    assert (each.std(0) > 0.02).all() and each.abs().max() < 0.1001


@torch.no_grad()
def test_the_way_up_sees_what_each_level_was_on_the_way_down(cases):
    made = network(cases).eval()
    kept, seen = [], []
    for level in made.down:
        level.register_forward_hook(lambda _level, _given, out: kept.append(out))
    for up in made.up:
        up.convs.register_forward_pre_hook(lambda _level, given: seen.append(given[0]))
    made(torch.rand(1, 5, 8, 12, 16))
    for before, given in zip(kept[-2::-1], seen, strict=True):
        assert torch.equal(given[:, : before.shape[1]], before) and before.any()


def test_dice_loss_of_known_masks():
    target = torch.tensor([0, 0, 1, 1])[None, None, None]
    right = 40.0 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1)
    assert NETWORK.dice_loss(right, target).item() == pytest.approx(0, abs=1e-4)
    wrong = right[:, [1, 0, 2]]
    assert NETWORK.dice_loss(wrong, target).item() == pytest.approx(1 - 1 / 5)  # (0 + 1) / (4 + 1)


def test_rare_classes_weigh_more_until_the_budget_is_used(cases):
    made = network(cases)
    made.loss(TASK.batch(Rows(cases.input, cases.target), made.spec))
    share = cases.target.flatten().long().bincount(minlength=3) / cases.target.numel()
    assert torch.allclose(made.share, share)
    weight = made.weight
    assert (weight[1] / weight[0]).item() == pytest.approx(float(share[0] / share[1]) ** 0.5)
    assert (weight * share).sum().item() == pytest.approx(1) and weight.argmin() == 0
    made.used = 0.5
    assert torch.equal(made.weight, weight)
    made.used = 0.75
    half = made.weight
    assert (half[1] / half[0]).item() == pytest.approx(float(share[0] / share[1]) ** 0.25)
    made.used = 1.0
    assert made.weight.tolist() == pytest.approx([1, 1, 1])


def test_the_loss_weighs_classes_and_counts_dice(cases, monkeypatch):
    batch = TASK.batch(Rows(cases.input, cases.target), None)

    def loss(**parts):
        made = network(cases)
        with monkeypatch.context() as changed:
            for name, part in parts.items():
                changed.setattr(NETWORK, name, part)
            torch.manual_seed(3)
            return made.loss(batch).item()

    alone = loss(dice_loss=lambda *_given: torch.zeros(()))
    assert 0.3 < loss() - alone < 1
    assert loss(POWER=0.0) != pytest.approx(loss(), rel=1e-3)


def test_a_network_learns_both_solids(cases):
    made = network(cases)
    run = Run(120, 8, schedule=lambda optimizer, step: set_rate(optimizer, one_cycle(step / 120)))
    for _progress in made.fit(made.loader(cases), run):
        pass
    assert made.validate(made.loader(cases))["mean Dice"].mean() > 0.8


# a whole run


DATA = '''"""Solids in noise, with the class of every voxel."""

from shapes import scans

ja = "雑音の中の立体とボクセルの分類"
task = "segment_volume"
licence = "CC0"
source = "https://example.org/shapes"
cases = 40
ships_with = "torch"


def load(side=None):
    return scans(cases)
'''


@pytest.fixture
def solids(tmp_path, monkeypatch):
    """The volumes as a data set of its own."""
    file = tmp_path / "elsewhere" / "souron" / "data" / "sets" / "solids.py"
    file.parent.mkdir(parents=True)
    file.write_text(DATA, encoding="utf-8")
    monkeypatch.setattr(souron, "__path__", [*souron.__path__, str(file.parents[2])])
    load.names.cache_clear()
    importlib.invalidate_caches()
    yield "solids"
    sys.modules.pop("souron.data.sets.solids", None)
    monkeypatch.undo()
    load.names.cache_clear()


def test_the_plan_of_a_network_stands_in_its_receipt(solids, tmp_path):
    small = {"width": 2, "voxels": 500, "levels": 2}
    run = train.train("unet_3d_planned", solids, budget="1ep", config=small, project=tmp_path / "runs")
    told = json.loads((run.folder / "receipt.json").read_text(encoding="utf-8"))
    assert told["plan"]["patch"] == list(run.model.layout.patch) and len(told["plan"]["kernels"]) == 2
    again = run_folder.load(run.folder)
    assert again.layout == run.model.layout
    assert again.spec.foreground == run.model.spec.foreground and len(again.spec.foreground) == 4


def test_a_segmenter_trains_reports_predicts_and_is_measured_again(solids, tmp_path):
    record = train.train("threshold_tiny", solids, budget="10ep")
    assert list(record.measures) == [metric.name for metric in TASK.metrics]
    measure = record.measures["mean Dice"]
    assert measure.value > 0.9 and measure.low < measure.value < measure.high
    baselines = record.details.baselines
    assert baselines["untrained"]["mean Dice"].value == 0
    assert 0.1 < baselines["atlas"]["mean Dice"].value < measure.value
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    for part in ("found", "organs", "worst"):
        assert f'id="{part}"' in page
    assert page.count("slice 4") >= 1 and "cubes" in page and "true ml" in page and "false parts per case" in page
    for one in record.details.organs:
        assert one.sensitivity.value == 1 and one.parts >= one.cases and one.alarms.value < 2
    assert evaluate.evaluate(record.folder) == record.measures
    header, *lines = (record.folder / "predictions.csv").read_text().splitlines()
    assert header.startswith("file,label,Dice") and len(lines) == 2 * len(record.test)

    placed(record.test, 0).save(tmp_path / "scan.nii.gz")
    found = model.load(record.folder)(tmp_path / "scan.nii.gz")
    assert isinstance(found, LabelledVolume) and found.area.shape == (8, 12, 16)
    assert volumes.volumes.dice(found.area == 2, record.test.target[0].numpy() == 2) > 0.6
