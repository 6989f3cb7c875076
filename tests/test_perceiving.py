"""The eye: the same every time, kept, made again where it is damaged; what it sees."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from souron.data.dataset import Dataset
from souron.evaluation.generators import embedding
from souron.utils.files import cache_folder

torch.set_num_threads(1)


def made(cases, rows):
    """The eye, and how far it was at each event."""
    *fractions, (last, eye) = embedding.feature_extractor(cases, rows)
    assert last == 1.0 and eye is not None
    assert all(one is None for _done, one in fractions)
    return eye, [done for done, _one in fractions]


def kept():
    return sorted((cache_folder() / "eyes").glob("*.safetensors"))


def colours(count: int, side: int, labels: int = 2) -> Dataset:
    """Pictures of stripes: class 0 upright and reddish, class 1 lying and bluish, ..."""
    rng = np.random.default_rng(0)
    label = torch.arange(count) % labels
    image = torch.tensor(rng.integers(0, 60, (count, 3, side, side)), dtype=torch.uint8)
    for i in range(count):
        c = int(label[i])
        picture = image[i].transpose(1, 2) if c % 2 else image[i]
        picture[c % 3, :, :: 2 + c // 2] += 180
    names = tuple(f"class {c}" for c in range(labels))
    return Dataset("stripes", image, label, names, [str(i) for i in range(count)])


@pytest.fixture(scope="module")
def read(digits, tmp_path_factory):
    """An eye for digits: trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURON_CACHE", str(tmp_path_factory.mktemp("cache")))
        return made(digits, range(0, 1200))


def test_a_small_grey_eye_reads_digits(read, digits):
    eye, fractions = read
    assert len(fractions) > 1 and fractions == sorted(fractions)
    assert eye.accuracy.value > 0.96 and eye.accuracy.n == 597
    assert eye.dimensions == 128 and eye.labels == digits.classes
    assert "digits" in eye.name and "1,200" in eye.name and "128" in eye.name
    held_out = digits.only(range(1200, 1797))
    features, probability = eye.see(held_out.input)
    assert features.shape == (597, 128) and features.dtype == torch.float32
    torch.testing.assert_close(probability.sum(1), torch.ones(597))
    right = (probability.argmax(1) == held_out.target).double().mean()
    assert eye.accuracy.value == pytest.approx(right.item())
    assert probability.amax(1).mean() > 0.9  # its labels were not smoothed


def test_the_features_are_what_its_last_layer_names_classes_by(read, digits):
    eye, _fractions = read
    features, probability = eye.see(digits.input[:50])
    answer = eye.network.fc(features * eye.scale) / 9
    torch.testing.assert_close(answer.softmax(1), probability)
    train = eye.features(digits.input[:1200])
    assert train.square().mean().item() == pytest.approx(1, rel=1e-5)


def test_a_picture_is_seen_alike_in_whatever_company(read, digits):
    eye, _fractions = read
    image = digits.input[:300]
    features = eye.features(image)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    assert torch.equal(eye.features(image[order]), features[order])
    assert torch.equal(eye.features(image[7:8]), features[7:8])
    assert torch.equal(eye.features(image.float()), features)
    assert torch.equal(eye.probabilities(image[:3]), eye.probabilities(image)[:3])


def test_pictures_of_none_are_none(read):
    eye, _fractions = read
    features, probability = eye.see(torch.empty(0, 1, 8, 8, dtype=torch.uint8))
    assert features.shape == (0, 128) and probability.shape == (0, 10)


def test_other_channels_are_refused(read):
    with pytest.raises(ValueError, match="channels"):
        read[0].features(torch.zeros(2, 3, 8, 8))


@pytest.fixture
def quick(monkeypatch):
    """A shorter training, for what does not need a good eye."""
    monkeypatch.setattr(embedding, "EXAMPLES", 640)


def test_it_is_the_same_to_the_bit_whatever_was_random_before_and_with_two_threads(quick, digits):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, _fractions = made(digits, range(600))
    assert torch.equal(torch.get_rng_state(), before)
    [file] = kept()
    file.unlink()
    torch.manual_seed(2)
    torch.set_num_threads(2)
    try:
        other, _fractions = made(digits, range(600))
        assert torch.get_num_threads() == 2
        assert torch.equal(one.features(digits.input), other.features(digits.input))
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one.features(digits.input), other.features(digits.input))


def test_it_is_kept_and_read_again(quick, digits, monkeypatch):
    one, fractions = made(digits, range(600))
    assert fractions and len(kept()) == 1

    def train(*_args, **_named):
        raise AssertionError("it was kept")

    monkeypatch.setattr(embedding.Trainer, "go", train)
    other, fractions = made(digits, range(600))
    assert not fractions
    assert other.accuracy == one.accuracy and other.name == one.name
    assert torch.equal(one.features(digits.input), other.features(digits.input))


@pytest.mark.parametrize("damage", ["cut", "bits", "other", "empty", "nothing said"])
def test_a_damaged_file_is_made_again(quick, digits, damage):
    one, _fractions = made(digits, range(600))
    [file] = kept()
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "bits":
        file.write_bytes(content[:-40] + bytes(b ^ 1 for b in content[-40:]))
    elif damage == "other":
        save_file({"weight": torch.zeros(3)}, file)
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        save_file(load_file(file), file)  # without what souron says of it
    other, fractions = made(digits, range(600))
    assert fractions
    assert torch.equal(one.features(digits.input), other.features(digits.input))
    assert file.read_bytes() == content
    assert kept() == [file]


def test_other_data_is_another_eye(quick, digits):
    made(digits, range(600))
    made(digits, range(601))
    changed = replace(digits, input=digits.input.clone())
    changed.input[5, 0, 4, 4] += 1
    made(changed, range(600))
    assert len(kept()) == 3
    changed.input[1500, 0, 4, 4] += 1  # held out: nothing is learnt from it
    made(changed, range(600))
    assert len(kept()) == 3


def test_it_learns_from_the_training_part_alone(quick, digits):
    """Held-out pictures may be anything."""
    one, _fractions = made(digits, range(600))
    [file] = kept()
    file.unlink()
    spoilt = replace(digits, input=digits.input.clone(), target=digits.target.clone())
    spoilt.input[600:] = 0
    spoilt.target[600:] = 0
    other, _fractions = made(spoilt, range(600))
    assert torch.equal(one.features(digits.input), other.features(digits.input))


@pytest.mark.parametrize("channels, side", [(1, 8), (3, 8), (1, 64), (3, 64), (3, 32)])
def test_pictures_without_classes_go_to_the_backbone(channels, side):
    rng = np.random.default_rng(0)
    image = torch.tensor(rng.integers(0, 256, (6, channels, side, side)), dtype=torch.uint8)
    cases = Dataset("own", image, torch.zeros(6, dtype=torch.long), ("",), list("abcdef"))
    eye, _fractions = made(cases, range(4))
    assert eye.accuracy is None and eye.labels == () and not kept()
    features, probability = eye.see(image)
    assert probability is None and features.shape == (6, 128) and eye.dimensions == 128
    assert torch.isfinite(features).all() and "ImageNet" in eye.name
    again, _fractions = made(cases, range(4))
    assert torch.equal(again.features(image), features)
    assert torch.equal(again.features(image.flip(0)), features.flip(0))


def test_grey_pictures_are_seen_three_times_over_and_at_112_pixels():
    cases = colours(6, 64, labels=1)
    eye, _fractions = made(cases, range(4))
    grey = cases.input[:, :1].float()
    large = F.interpolate(grey, size=(112, 112), mode="bilinear", antialias=True)
    assert torch.equal(eye.features(grey), eye.features(grey.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(eye.features(grey), eye.features(large), rtol=1e-4, atol=1e-4)


def test_the_projection_keeps_distances_and_the_backbone_is_the_published_one():
    cases = colours(24, 32, labels=1)
    eye, _fractions = made(cases, range(10))
    narrow = torch.pdist(eye.features(cases.input))
    wide = torch.pdist(embedding._seen(eye.network, cases.input)[0])
    assert (narrow / wide).mean() == pytest.approx(1, abs=0.1)
    columns = eye.projection.double()
    torch.testing.assert_close(columns.T @ columns, torch.eye(128).double() * 10, atol=1e-5, rtol=1e-5)
    # published weights, not drawn ones: the sum of the first layer's filters
    from souron.hub import weights

    weights = weights.weights("efficientnet_lite", eye.network.published("small", None))
    assert torch.equal(eye.network.conv_stem.weight, weights["conv_stem.weight"])


@pytest.mark.parametrize("labels", [2, 3])
def test_photos_in_classes_are_named(labels):
    cases = colours(60, 24, labels)
    eye, fractions = made(cases, range(30))
    assert fractions and eye.labels == cases.classes
    assert eye.accuracy.n == 30 and eye.accuracy.value > 0.9
    probability = eye.probabilities(cases.input[30:])
    torch.testing.assert_close(probability.sum(1), torch.ones(30))
    right = (probability.argmax(1) == cases.target[30:]).double().mean()
    assert eye.accuracy.value == pytest.approx(right.item())
    [file] = kept()
    again, fractions = made(cases, range(30))
    assert not fractions and again.accuracy == eye.accuracy
    assert torch.equal(again.probabilities(cases.input[30:]), probability)
    file.write_bytes(file.read_bytes()[:100])
    again, fractions = made(cases, range(30))
    assert fractions and torch.equal(again.probabilities(cases.input[30:]), probability)


def test_a_class_that_training_lacks_is_never_named():
    cases = colours(40, 24, 2)
    cases = replace(cases, classes=("class 0", "class 1", "none of these"))
    eye, _fractions = made(cases, range(20))
    probability = eye.probabilities(cases.input)
    assert probability.shape == (40, 3) and probability[:, 2].max() == 0


def test_few_grey_pictures_in_classes_go_to_the_backbone(digits):
    eye, _fractions = made(digits.only(range(140)), range(100))
    assert eye.projection is not None and eye.labels == digits.classes
    assert eye.accuracy.value > 0.5


def test_one_picture_to_learn_from():
    cases = colours(3, 16)
    eye, _fractions = made(cases, [0])
    assert eye.labels == () and eye.features(cases.input).shape == (3, 128)


def test_without_held_out_pictures_the_accuracy_is_not_known():
    eye, _fractions = made(colours(20, 16), range(20))
    assert eye.accuracy is None and eye.labels
