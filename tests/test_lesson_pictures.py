"""What lessons show: preparation, augmentations by strength, surfaces, feature maps."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from souron import registry
from souron.data import transforms
from souron.data.augmentation_preview import at_strength, strengths
from souron.data.preprocessing import greyed, one_hot, preparation
from souron.evaluation import decision_surface, feature_maps
from souron.report import lesson_plots, network_plots, sliders
from souron.runs.compare import Comparison
from souron.utils.messages import UserError

pytestmark = pytest.mark.usefixtures("each_drawn")


class Net(nn.Module):
    """Convolutions with all that changes where a window lies."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 2), groups=2)
        self.second = nn.Conv2d(4, 6, 3, dilation=2, padding="same", bias=False)
        self.bend = nn.ReLU(inplace=True)

    def forward(self, image):
        return self.bend(self.second(self.first(image)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def test_one_pixel_by_hand_is_what_the_layer_computes(net):
    image = torch.randn(1, 2, 9, 8)
    for layer, maps in (("first", 4), ("second", 6)):
        made = next(m.maps for m in feature_maps.feature_maps(net, image) if m.name == layer)
        assert made.shape[0] == maps
        for row, column in ((0, 0), (2, 3), (made.shape[1] - 1, made.shape[2] - 1)):
            pixel = feature_maps.one_pixel(net, image, row, column, maps - 1, layer)
            assert pixel.value == pytest.approx(pixel.layer, abs=1e-5)
            assert pixel.layer == made[maps - 1, row, column].item()
    assert made.min() < 0  # what follows in place did not change what was kept
    assert feature_maps.one_pixel(net, image, 0, 0).top == -1


def test_a_place_or_a_layer_that_is_not_there_is_refused(net):
    image = torch.randn(1, 2, 9, 8)
    with pytest.raises(UserError, match="row 99"):
        feature_maps.one_pixel(net, image, 99, 0)
    with pytest.raises(UserError) as trouble:
        feature_maps.kernels(net, "secnd")
    assert trouble.value.fix == "layer=second"
    with pytest.raises(UserError, match="no convolution"):
        feature_maps.convolutions(nn.Linear(2, 2))


def test_the_network_is_left_as_it_was(net):
    net.train()
    feature_maps.feature_maps(net, torch.randn(1, 2, 9, 8))
    assert net.training and not net.first._forward_hooks


def test_the_last_step_of_preparation_is_what_the_network_is_given(digits):
    few = digits.only(range(100))
    system = decision_surface.network(few)
    given = next(iter(system.loader(few).once(100))).image
    steps = preparation(few.input)
    assert [step.name for step in steps] == ["read", "scaled", "standardised"]
    assert torch.allclose(steps[-1].values, given, atol=1e-5)
    assert steps[-1].mean == pytest.approx(0, abs=1e-5) and steps[-1].deviation == pytest.approx(1)
    share, edges = steps[0].histogram(10)
    assert share.sum().item() == pytest.approx(1) and edges[-1] == 255


def test_grey_is_what_pillow_makes_of_colours():
    colours = torch.randint(0, 256, (1, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    colours = colours.to(torch.uint8)
    of_pillow = np.asarray(Image.fromarray(colours[0].permute(1, 2, 0).numpy()).convert("L"))
    assert np.abs(greyed(colours)[0, 0].numpy().astype(int) - of_pillow).max() <= 1
    steps = preparation(colours, side=8, grey=True)
    assert [step.name for step in steps] == ["read", "grey", "resized", "scaled", "standardised"]
    assert steps[-1].values.shape == (1, 1, 8, 8)


def test_one_hot_refuses_what_no_class_has():
    assert one_hot([2, 0], 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    for wrong in ([3], [-1]):
        with pytest.raises(UserError, match="class"):
            one_hot(wrong, 3)


def test_full_strength_is_as_far_as_training_goes(digits):
    image = digits.input[3]
    many = image.expand(400, -1, -1, -1).contiguous()
    for name in ("shift", "mirror", "brightness", "rotate"):
        change = transforms.augmentation([name])
        made = change(many, torch.Generator().manual_seed(0)).float()
        least, most = made.mean((1, 2, 3)).min(), made.mean((1, 2, 3)).max()
        for _strength, shown in strengths(image, name):
            assert least - 9 <= shown.float().mean() <= most + 9
        assert torch.equal(at_strength(image, name, 0), image)
    assert torch.equal(at_strength(image, "mirror", 1), image.flip(2))
    assert torch.equal(at_strength(image, "shift", 1)[:, :, 1:], image[:, :, :-1])
    covered = (at_strength(digits.input[3], "erase", 1) != image).sum()
    assert 8 <= covered <= 16  # a square of half the side, where it was not grey already
    for name, strength in (("rotate", 1.5), ("erase", -0.5), ("rotate", float("nan")), ("x", 0)):
        with pytest.raises(UserError):
            at_strength(image, name, strength)


def test_a_network_learns_to_part_a_plane():
    moons = decision_surface.points("moons", 200)
    system = decision_surface.network(moons, widths=(8,), rate=2e-2)
    again = decision_surface.network(moons, widths=(8,), rate=2e-2)
    assert all(map(torch.equal, system.parameters(), again.parameters()))
    first, last = decision_surface.learn(system, moons, 150, at=[0, 150])
    assert (first.step, last.step) == (0, 150)
    assert last.loss < 0.6 * first.loss and last.accuracy > 0.85
    where = decision_surface.plane(moons)
    x, y = moons.input.flatten(1).T
    low, high = where.low, where.high
    columns = ((x - low[0]) / (high[0] - low[0]) * (where.side - 1)).round().long()
    rows = ((y - low[1]) / (high[1] - low[1]) * (where.side - 1)).round().long()
    agree = (last.decision[rows, columns] == moons.target).float().mean()
    assert agree == pytest.approx(last.accuracy, abs=0.05)  # the picture shows what it answers
    assert last.units.shape == (8, where.side, where.side) and (last.units >= 0).all()
    assert not torch.equal(first.weights["fc.weight"], last.weights["fc.weight"])


def test_points_and_steps_have_limits():
    for name, count in (("nothing", 100), ("moons", 3), ("moons", 10**7)):
        with pytest.raises(UserError, match="points"):
            decision_surface.points(name, count)
    data = decision_surface.points("xor", 50)
    with pytest.raises(UserError, match="steps"):
        next(decision_surface.learn(decision_surface.network(data), data, 10**9))
    assert {len(decision_surface.points(n, 40)) for n in decision_surface.shapes()} == {40}
    steps = decision_surface.moments(400)
    assert steps[0] == 0 and steps[-1] == 400 and steps == sorted(set(steps))


def test_pictures_show_themselves_and_overwrite_nothing(digits, tmp_path):
    drawn = lesson_plots.strengths(digits.input[3], ["shift"], 3)
    assert drawn._repr_html_().startswith("<img src='data:image/png;base64,")
    assert drawn.save(tmp_path / "a.png").name == "a.png"
    assert drawn.save(tmp_path / "a.png").name == "a-2.png"
    hostile = lesson_plots.gallery(digits.input[:1], ["<script>'"])
    assert "<script>" not in hostile._repr_html_()
    with pytest.raises(UserError, match="no pictures"):
        lesson_plots.overview(registry_free(digits))
    colours = torch.zeros(1, 3, 8, 8)
    assert lesson_plots.preparation(preparation(colours)).png  # all one value, three channels


def registry_free(digits):
    """The same cases without classes."""
    from dataclasses import replace

    return replace(digits, target=None)


def test_a_slider_moves_the_picture(digits):
    box = sliders.augmentations(digits.input[3], ["rotate", "mirror"])
    slider, shown = box.children[0].children
    before = shown.value
    slider.value = 1
    assert shown.value != before and slider.min == -1
    assert box.children[1].children[0].min == 0


def test_without_widgets_there_is_a_grid(digits, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    assert sliders.augmentations(digits.input[3], ["rotate"]).png


def test_each_system_of_a_comparison_may_have_its_own_augmentation():
    system = "cnn_tiny:augment=shift+rotate,kernel=5"
    args = {"systems": [system, "cnn_tiny"], "data": "digits", "augment": "mirror"}
    comparison = Comparison(args)
    of = comparison.of(system, 1)
    assert of["augment"] == "shift,rotate" and of["changes"] == {"kernel": "5"}
    assert comparison.of("cnn_tiny", 1)["augment"] == "mirror"


def test_maps_of_a_real_network(digits):
    kind, config = registry.load_system("cnn_tiny")
    system = kind(config, kind.spec_for(digits)).eval()
    image = next(iter(system.loader(digits.only([0])).once(1))).image
    layers = feature_maps.feature_maps(system, image)
    assert [each.kind for each in layers[:4]] == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    pixel = feature_maps.one_pixel(system, image, 0, 7, 1)
    assert network_plots.one_pixel(pixel, image[0]).words.count(f"{pixel.value:.4f}") >= 2
