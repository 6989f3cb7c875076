"""Translations between two sorts of pictures: the networks as published, the hidden twins, each
term of the loss, and runs from a folder to a report."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import coats
from skimage import exposure
from torch import nn

import souron
from souron import registry
from souron.data import load
from souron.data.composing.composer import Composer
from souron.data.readers.run_lengths import area_of
from souron.data.sets import coats as coats_set
from souron.evaluation import summary
from souron.evaluation.vision import image_to_image as evaluation
from souron.kinds.picture import Picture
from souron.runs import train
from souron.systems.image_to_image.cyclegan import Block, Critic, CycleGAN, Generator
from souron.tasks.image_to_image import Batch, Spec
from souron.utils.messages import UserError

TASK = registry.load_task("image_to_image")


def made(size="tiny", **changes):
    torch.manual_seed(0)
    config = dataclasses.replace(CycleGAN.SIZES[size], **changes)
    return CycleGAN(config, Spec(3, 32, ("plain", "striped"))).eval()


def test_the_networks_are_as_large_as_those_published():
    with torch.device("meta"):
        model = CycleGAN(CycleGAN.SIZES["paper"], Spec(3, 256, ("A", "B")))
    assert summary.parameters(model.forth) == 11_378_179
    assert summary.parameters(model.critics[0]) == 2_764_737


def test_what_is_added_is_nothing_at_first_and_the_whole_where_it_is_not_added():
    image = torch.rand(2, 3, 30, 32)
    assert torch.equal(made(added=True)(image), image)
    assert not torch.allclose(made()(image), image, atol=0.1)


def test_domains_share_no_thing_and_twins_are_known_of_test_pictures_alone(monkeypatch):
    monkeypatch.setattr(coats_set, "COUNTS", {"train": 40, "val": 4, "test": 12})
    data = load.load("coats", 32)
    learnt = [i for i, part in enumerate(data.part) if part == "train"]
    groups = [{data.group[i] for i in learnt if data.target[i] == domain} for domain in (0, 1)]
    assert all(groups) and not groups[0] & groups[1]
    assert not any(data.columns["twin"][i] for i in learnt)
    composer = Composer(32, coats_set.SEED, "train", counts=(1,))
    things = [{cutout.name for cutout in block} for block in composer.blocks]
    assert not any(things[i] & things[j] for i in range(len(things)) for j in range(i))

    test = data.only([i for i, part in enumerate(data.part) if part == "test"])
    rows, areas = evaluation.twins(test), evaluation.areas(test)
    assert [test.file[row][-1] for row in rows] == ["A" if f[-1] == "B" else "B" for f in test.file]
    apart = (test.input[rows].int() - test.input.int()).abs().amax(1).numpy() > 0
    assert not (apart & ~areas).any() and apart[areas].mean() > 0.9
    assert evaluation.twins(test.only(range(3))) is None


def test_every_term_of_the_loss_pulls_on_both_generators():
    model = made().train()
    image = coats(8, 32).input.float() / 255
    a, b = image[::2], image[1::2]
    for generator in (model.forth, model.back):
        [last] = [generator.layers[-1].weight]
        whole = torch.autograd.grad(model.generators_loss(a, b), last)[0]
        for name in ("cycle", "identity"):
            other = made(**{name: 0.0}).train()
            other.load_state_dict(model.state_dict())
            twin = (other.forth if generator is model.forth else other.back).layers[-1].weight
            assert not torch.allclose(torch.autograd.grad(other.generators_loss(a, b), twin)[0], whole)
    # where nothing is lost there and back, and nothing is changed, the critics alone are left
    model.forth = model.back = torch.nn.Identity()
    with torch.no_grad():
        alone = [float((critic(one) - 1).square().mean()) for critic, one in zip(model.critics, (b, a), strict=True)]
        assert float(model.generators_loss(a, b)) == pytest.approx(sum(alone), rel=1e-5)


class By(torch.nn.Module):
    """A network that computes ``rule``."""

    def __init__(self, rule):
        super().__init__()
        self.rule, self.scale = rule, torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * self.rule(x)


def test_both_losses_are_those_of_the_paper():
    """With networks simple enough to compute them by hand."""
    assert (CycleGAN.SIZES["paper"].cycle, CycleGAN.SIZES["paper"].identity) == (10.0, 0.5)
    model = made(cycle=10.0, identity=0.5, part=4).train()
    model.forth, model.back = By(lambda x: 0.5 * x + 0.1), By(lambda x: x**2)
    model.critics = torch.nn.ModuleList(
        [By(lambda x: 3 * x.mean(1, keepdim=True)), By(lambda x: 1 - x.amax(1, keepdim=True))]
    )
    image = coats(8, 32).input.float() / 255
    a, b = image[::2], image[1::2]
    to_b, to_a = 0.5 * a + 0.1, b**2
    of_a, of_b = (critic.rule for critic in model.critics)

    def squares(score, target):
        return float((score - target).square().mean())

    def apart(one, other):
        return float((one - other).abs().mean())

    critics = (squares(of_a(a), 1) + squares(of_a(to_a), 0) + squares(of_b(b), 1) + squares(of_b(to_b), 0)) / 2
    fooled = squares(of_b(to_b), 1) + squares(of_a(to_a), 1)
    cycle = apart(to_b**2, a) + apart(0.5 * to_a + 0.1, b)
    identity = apart(0.5 * b + 0.1, b) + apart(a**2, a)
    losses = dict(model.updates(Batch(image, torch.arange(8) % 2), 0))
    assert float(losses["critics"].detach()) == pytest.approx(critics, rel=1e-5)
    whole = fooled + 10 * cycle + 5 * identity
    assert float(losses["generators"].detach()) == pytest.approx(whole, rel=1e-5)


def test_a_critic_sees_patches_of_70_pixels():
    """Without normalisation, which looks at the whole image."""
    critic = Critic(1, 2)
    for name, layer in critic.named_children():
        if isinstance(layer, torch.nn.InstanceNorm2d):
            setattr(critic, name, torch.nn.Identity())
        elif isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.constant_(layer.weight, 0.1)
    image = torch.ones(1, 1, 160, 160, requires_grad=True)
    score = critic(image)
    score[0, 0, score.shape[2] // 2, score.shape[3] // 2].backward()
    for axis in (0, 1):
        assert int((image.grad[0, 0].abs().sum(axis) > 0).sum()) == 70


def test_both_players_learn_by_adam_with_little_momentum():
    for optimizer in made().optimizers().values():
        assert optimizer.param_groups[0]["betas"] == (0.5, 0.999)


def test_what_a_residual_block_adds_is_normalised_in_each_map():
    torch.manual_seed(0)
    image = torch.randn(2, 4, 16, 16)
    with torch.no_grad():
        added = Block(4)(image) - image
    torch.testing.assert_close(added.mean((2, 3)), torch.zeros(2, 4), rtol=0, atol=1e-4)
    spread = added.std((2, 3), correction=0)
    torch.testing.assert_close(spread, torch.ones(2, 4), rtol=0, atol=1e-3)


def test_there_and_back_leads_through_the_other_generator():
    model = made()
    model.forth, model.back = By(lambda x: x / 2), By(lambda x: x**2)
    image, label = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    with torch.no_grad():
        there = model.translated(image, label)
        found = model.further(Batch(image, label), image, there)["cycle PSNR"]
    again = torch.stack([(image[0] / 2) ** 2, image[1] ** 2 / 2])
    torch.testing.assert_close(found, -10 * (again - image).square().mean((1, 2, 3)).log10())


def test_a_histogram_is_the_mean_of_all_pictures_of_its_domain():
    image = coats(8, 32).input.float() / 255
    together, *apart = made(), made(), made()
    for model, some in zip(apart, (image[:4], image[4:]), strict=True):
        for each in (together, model):
            each.count(some[::2], some[1::2])
    mean = (apart[0].histogram + apart[1].histogram) / 2
    assert not torch.allclose(apart[0].histogram, apart[1].histogram, atol=0.05)
    torch.testing.assert_close(together.histogram, mean)


def test_histogram_matching_is_that_of_scikit_image():
    model = made()
    image = coats(12, 32).input.float() / 255
    image[1::2] /= 2  # of the other domain, which is darker
    model.count(image[::2], image[1::2])
    label = torch.zeros(1, dtype=torch.long)
    found = model.matched(image[:1], label)[0].permute(1, 2, 0).numpy()
    target = np.concatenate(list(image[1::2].permute(0, 2, 3, 1).numpy()))
    expected = exposure.match_histograms(image[0].permute(1, 2, 0).numpy(), target, channel_axis=2)
    assert np.abs(found - expected).mean() < 0.03
    assert np.abs(image[0].permute(1, 2, 0).numpy() - expected).mean() > 0.05


def test_there_and_back_is_measured_where_no_twin_is_known():
    cases = dataclasses.replace(coats(8, 32), columns={})
    answers = evaluation.answers_of(made(), cases)
    assert "cycle PSNR" in answers and "PSNR" not in answers
    setup = next(TASK.setup(cases, type("S", (), {"test": torch.arange(8)}), None)).result
    assert TASK.ranks(setup) == "cycle PSNR"
    known = evaluation.answers_of(made(), coats(8, 32))
    assert {"PSNR", "object PSNR", "ground PSNR", "identity:PSNR", "histograms:PSNR"} <= set(known)
    area = area_of(coats(8, 32).columns["object"][0], 32)
    assert 0.05 < area.mean() < 0.6
    # the ground of a twin is the same, so that leaving it as it is cannot be beaten there
    assert known["identity:ground PSNR"].min() > 58


def test_what_has_not_two_domains_is_refused():
    data = coats(16, 32)
    with pytest.raises(UserError) as caught:
        CycleGAN.spec_for(data.only(range(0, 16, 2)))
    assert caught.value.code == "domains" and caught.value.fix
    twice = dataclasses.replace(data, input=data.input[torch.arange(16) // 2 * 2])
    with pytest.raises(UserError) as caught:
        CycleGAN.spec_for(twice)
    assert caught.value.code == "same pictures" and "8" in caught.value.found


def test_a_picture_is_translated_either_way():
    model = made()
    picture = Picture.of(coats(1, 32).input[0, :, :29, :22])
    there, back = model.predict(picture), model.predict(picture, to="plain")
    assert there.after.size == (22, 29) and there.after.image.mode == "RGB"
    assert np.abs(np.asarray(there.after.image).astype(int) - np.asarray(back.after.image)).max() > 0
    with pytest.raises(UserError) as caught:
        model.predict(picture, to="green")
    assert "plain, striped" in caught.value.expected
    with torch.no_grad():
        assert Generator(3, 4, 1, False)(torch.rand(1, 3, 1, 1)).shape == (1, 3, 1, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sorts of pictures, as CycleGAN's data sets lie."""
    place = tmp_path_factory.mktemp("coats")
    random = np.random.default_rng(0)
    for number in range(48):
        part = "test" if number >= 36 else "train"
        file = place / f"{part}{'AB'[number % 2]}" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        clouds = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        pixels = np.array(clouds.resize((32, 32), Image.Resampling.BICUBIC))
        pixels[..., 0] //= 1 + number % 2
        Image.fromarray(pixels).save(file)
    return place


def test_folders_of_two_domains_are_no_groups(folder):
    data = load.load(folder, 32, formats=TASK.formats, fewest_classes=1)
    assert not any(data.group) and data.classes == ("A", "B")
    assert set(data.part) == {"train", "test"}


@pytest.mark.parametrize("system, expected", [("cyclegan_tiny", "cycle PSNR"), ("srgan_tiny", "PSNR of luma")])
def test_a_run_from_a_folder_to_a_report(system, expected, folder, tmp_path):
    record = train.train(system, folder, budget="160ex", batch=32, side=32, project=tmp_path)
    assert expected in record.measures and record.measures[expected].n == 12
    report = (record.folder / "report.html").read_text(encoding="utf-8")
    assert "bicubic" in report if system == "srgan_tiny" else "cycle PSNR" in report
    if system == "srgan_tiny":
        assert "What the GAN stage made up" in report
        assert record.details.as_json()["better"]["bicubic"]["PSNR of luma"][1] == 12
        assert any("GAN stage" in note for note in record.notes)


class Published(nn.Sequential):
    """The generator of github.com/junyanz/pytorch-CycleGAN-and-pix2pix, ``resnet_9blocks``, by its names."""

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
            again = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
            self.conv_block = nn.Sequential(*half, nn.ReLU(), *again)

        def forward(self, x):
            return x + self.conv_block(x)

    def __init__(self, blocks=9):
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, 64, 7), nn.InstanceNorm2d(64), nn.ReLU()]
        for width in (64, 128):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU()]
        layers += [self.Block(256) for _block in range(blocks)]
        for width in (256, 128):
            layers += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1), nn.InstanceNorm2d(width // 2), nn.ReLU()]
        super().__init__(*layers, nn.ReflectionPad2d(3), nn.Conv2d(64, 3, 7), nn.Tanh())


def test_a_generator_of_the_authors_translates_as_their_program_does(tmp_path):
    torch.manual_seed(2)
    reference = Published().eval()
    file = {f"model.{name}": weight for name, weight in reference.state_dict().items()}
    old = {"model.2.running_mean": torch.zeros(64), "model.2.running_var": torch.ones(64)}
    torch.save({**file, **old}, tmp_path / "horse2zebra.pth")
    model = souron.load(tmp_path / "horse2zebra.pth").system
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(model(image), (reference(2 * image - 1) + 1) / 2, atol=1e-5)
    Picture.of((255 * image[0]).byte()).save(tmp_path / "a.png")
    assert souron.load(tmp_path / "horse2zebra.pth")(tmp_path / "a.png").after.size == (64, 64)
    with pytest.raises(UserError, match="one way"):
        model.predict(Picture.read(tmp_path / "a.png"), to="A")
    assert CycleGAN.of_published({**file, "model.1.weight": torch.zeros(1)}) is None
    assert CycleGAN.of_published({name: weight for name, weight in file.items() if "10" not in name}) is None
