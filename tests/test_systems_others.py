"""MLP, CNN, ViT, MLP-Mixer, timm, airbench, DCGAN, k-means: what each of them promises."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import timm
import torch
import torchvision
from sklearn.cluster import KMeans as Reference
from sklearn.datasets import load_digits
from torch.nn import functional as F

from souron.data.dataset import Dataset, Rows
from souron.evaluation.generators import sampling
from souron.systems.classify import airbench, cnn, mlp, mlp_mixer, vit
from souron.systems.classify import timm as any_timm
from souron.systems.cluster import kmeans
from souron.systems.generate.dcgan import DCGAN
from souron.tasks import classify, cluster, generate
from souron.training.budget import one_cycle, set_rate
from souron.training.loop import Run
from souron.utils.messages import UserError

CLASSIFIERS = [mlp.MLP, cnn.CNN, vit.ViT, mlp_mixer.MLPMixer, any_timm.Timm, airbench.Airbench]
TEN = tuple("0123456789")
THOUSAND = tuple(map(str, range(1000)))


def digits(first: int, last: int, side: int = 8) -> Dataset:
    found = load_digits()
    image = torch.tensor(found.images[first:last] / 16 * 255, dtype=torch.float32)[:, None]
    if side != 8:
        image = F.interpolate(image, (side, side), mode="bilinear")
    return Dataset(
        "digits",
        image.round().to(torch.uint8),
        torch.tensor(found.target[first:last]),
        TEN,
        [str(i) for i in range(first, last)],
    )


def learn(system, cases: Dataset, steps: int, batch: int = 64, end: int | None = None):
    run = Run(end or steps, batch, schedule=lambda optimizer, step: set_rate(optimizer, one_cycle(step / steps)))
    return list(system.fit(system.loader(cases), run))


def count(system) -> int:
    return sum(weight.numel() for weight in system.parameters())


def at_size(kind, size: str, side: int = 224, channels: int = 3, labels=THOUSAND):
    """Built without memory: for counting."""
    with torch.device("meta"):
        return kind(kind.SIZES[size], classify.Spec(channels, side, labels))


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_tiny_learns_digits(kind):
    torch.manual_seed(0)
    known = digits(0, 1400)
    system = kind(kind.SIZES["tiny"], classify.Classifier.spec_for(known))
    learn(system, known, 60 if kind is any_timm.Timm else 120)
    unseen = digits(1400, 1797)
    right = system.validate(system.loader(unseen))["accuracy"].mean()
    assert right > 0.8


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 28), (1, 32), (3, 64), (1, 45)])
def test_any_channels_and_side(kind, channels, side):
    for size in ("tiny", "small"):
        seen = classify.Spec(channels, side, ("a", "b", "c"))
        system = kind(kind.SIZES[size], seen).eval()
        with torch.inference_mode():
            assert system(torch.randn(2, channels, side, side)).shape == (2, 3)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_freezing_leaves_the_head_alone_to_learn(kind):
    system = kind(kind.SIZES["tiny"], classify.Spec(1, 8, TEN))
    system.freeze()
    system.train()
    learning = [weight for weight in system.parameters() if weight.requires_grad]
    head = system.get_submodule(system.head)
    assert {id(weight) for weight in learning} == {id(weight) for weight in head.parameters()}
    before = {name: tensor.clone() for name, tensor in system.state_dict().items()}
    learn(system, digits(0, 128), 2)
    after = system.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith(system.head + ".") for name in moved)


def test_training_pictures_reach_a_network_with_mean_0_and_variance_1():
    """In each channel; other pictures are moved and scaled by the same numbers."""
    grey = digits(0, 400)
    image = torch.cat([grey.input, grey.input // 2 + 60, 255 - grey.input], 1)
    cases, task = replace(grey, input=image), classify.Classification()
    spec = task.spec(cases)
    seen = task.batch(Rows(cases.input, cases.target), spec).image
    torch.testing.assert_close(seen.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)
    black = task.batch(Rows(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), None), spec).image
    assert black[0, :, 0, 0].tolist() == pytest.approx(
        [-mean / std for mean, std in zip(spec.mean, spec.std, strict=True)], rel=1e-5
    )


@pytest.mark.parametrize(
    ("kind", "size", "expected"),
    [
        (vit.ViT, "b16", 86_567_656),
        (vit.ViT, "b32", 88_224_232),
        (vit.ViT, "l16", 304_326_632),
        (mlp_mixer.MLPMixer, "b16", 59_880_472),
        (mlp_mixer.MLPMixer, "l16", 208_196_168),
    ],
)
def test_published_count_of_parameters(kind, size, expected):
    assert count(at_size(kind, size)) == expected


@pytest.mark.parametrize(
    ("size", "millions"), [("s32", 19), ("s16", 18), ("b32", 60), ("b16", 59), ("l32", 206), ("l16", 207), ("h14", 431)]
)
def test_mixer_has_the_millions_of_the_papers_table(size, millions):
    # the table counts without the last layer, to within its rounding
    body = at_size(mlp_mixer.MLPMixer, size)
    head = body.get_submodule("head")
    assert abs((count(body) - count(head)) / 1e6 - millions) < 1.01


def test_lenet_5_has_its_usual_61706_parameters():
    for side in (28, 32):
        assert count(at_size(cnn.CNN, "paper", side, 1, TEN)) == 61_706


def test_the_multilayer_perceptron_300_100_has_266610_parameters():
    assert count(at_size(mlp.MLP, "paper", 28, 1, TEN)) == 266_610


def test_the_multilayer_perceptron_is_its_equation():
    torch.manual_seed(0)
    ours = mlp.MLP(mlp.Config((5, 4)), classify.Spec(2, 3, ("a", "b", "c")))
    image = torch.randn(7, 2, 3, 3)
    h = image.reshape(7, 18)
    for layer in ours.hidden[0], ours.hidden[2]:
        h = (h @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(ours(image), h @ ours.fc.weight.T + ours.fc.bias)


def test_lenet_5_equals_its_layers_written_out():
    torch.manual_seed(0)
    ours = cnn.CNN(cnn.CNN.SIZES["paper"], classify.Spec(1, 28, TEN))
    first, second = ours.features[0], ours.features[3]
    image = torch.randn(2, 1, 28, 28)
    x = F.avg_pool2d(F.conv2d(image, first.weight, first.bias, padding=2).tanh(), 2)
    x = F.avg_pool2d(F.conv2d(x, second.weight, second.bias).tanh(), 2)
    assert x.shape == (2, 16, 5, 5)
    x = x.flatten(1)
    for full in ours.full[0], ours.full[2]:
        x = F.linear(x, full.weight, full.bias).tanh()
    assert torch.allclose(ours(image), ours.fc(x), atol=1e-6)


def test_the_later_cnn_equals_its_layers_written_out():
    """Filters that keep the side, batch normalisation, ReLU, the largest of 2x2."""
    torch.manual_seed(0)
    ours = cnn.CNN(cnn.CNN.SIZES["tiny"], classify.Spec(1, 28, TEN))
    x = image = torch.randn(4, 1, 28, 28)
    for convolution in ours.features[0], ours.features[4]:
        x = F.conv2d(x, convolution.weight, padding=1)
        x = F.batch_norm(x, None, None, training=True)
        x = F.max_pool2d(x.relu(), 2)
    x = F.adaptive_avg_pool2d(x, 5).flatten(1)
    x = F.linear(x, ours.full[0].weight, ours.full[0].bias).relu()
    torch.testing.assert_close(ours(image), ours.fc(x))


def test_vit_equals_torchvision():
    torch.manual_seed(0)
    reference = torchvision.models.vit_b_16(weights=None).eval()
    torch.nn.init.normal_(reference.heads.head.weight, std=0.02)  # zero says nothing
    ours = at_size(vit.ViT, "b16").eval()
    ours.load_state_dict(reference.state_dict(), assign=True)
    photo = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.allclose(ours(photo), reference(photo), atol=1e-5)


def test_attention_is_the_equation():
    torch.manual_seed(0)
    attention = vit.Attention(16, 2)
    x = torch.randn(1, 5, 16)
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    heads = []
    for head in (slice(0, 8), slice(8, 16)):
        q, k, v = ((x @ w.T + b)[..., head] for w, b in zip(weights, biases, strict=True))
        heads.append((q @ k.transpose(1, 2) / 8**0.5).softmax(-1) @ v)
    assert torch.allclose(attention(x), attention.out_proj(torch.cat(heads, -1)), atol=1e-6)


@pytest.mark.parametrize("kind", [vit.ViT, mlp_mixer.MLPMixer])
@pytest.mark.parametrize(("side", "patch", "grid"), [(8, 2, 4), (28, 4, 7), (45, 6, 8), (64, 9, 8), (224, 16, 14)])
def test_a_small_picture_has_smaller_patches(kind, side, patch, grid):
    system = at_size(kind, "tiny", side)
    if kind is vit.ViT:
        cut, places = system.conv_proj, system.encoder.pos_embedding.shape[1] - 1
    else:
        cut, places = system.stem.proj, system.blocks[0].mlp_tokens.fc1.in_features
    assert cut.kernel_size == cut.stride == (patch, patch)
    assert places == grid**2


@pytest.mark.parametrize("kind", [vit.ViT, mlp_mixer.MLPMixer])
def test_a_steep_loss_moves_the_weights_by_a_bounded_length(kind):
    torch.manual_seed(0)
    known = digits(0, 64)
    system = kind(kind.SIZES["tiny"], classify.Classifier.spec_for(known))
    system.loss = lambda batch: 1000 * F.cross_entropy(system(batch.image), batch.label)
    system.optimizers = lambda: {"model": torch.optim.SGD(system.parameters(), lr=1.0)}
    before = torch.nn.utils.parameters_to_vector(system.parameters()).detach()
    list(system.fit(system.loader(known), Run(1, 64)))
    after = torch.nn.utils.parameters_to_vector(system.parameters()).detach()
    assert (after - before).norm().item() == pytest.approx(1, rel=1e-3)


def test_positions_begin_as_large_as_the_patches_are():
    torch.manual_seed(0)
    system = vit.ViT(vit.ViT.SIZES["small"], classify.Spec(1, 28, TEN))
    patches = system.conv_proj(torch.randn(64, 1, 28, 28))
    assert patches.std().item() == pytest.approx(1, abs=0.15)
    assert system.encoder.pos_embedding.std().item() == pytest.approx(1, abs=0.1)


def test_mixer_equals_timm():
    torch.manual_seed(0)
    reference = timm.create_model("mixer_b16_224").eval()
    torch.nn.init.normal_(reference.head.weight, std=0.02)  # zero says nothing
    ours = at_size(mlp_mixer.MLPMixer, "b16").eval()
    ours.load_state_dict(reference.state_dict(), assign=True)
    photo = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.allclose(ours(photo), reference(photo), atol=1e-5)


def test_timm_takes_the_weights_of_the_network_it_names():
    reference = timm.create_model("test_resnet", num_classes=3, in_chans=3).eval()
    ours = any_timm.Timm(any_timm.Config("test_resnet"), classify.Spec(3, 32, ("a", "b", "c")))
    ours.load_state_dict(reference.state_dict())
    assert ours.state_dict().keys() == reference.state_dict().keys()
    photo = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(ours.eval()(photo), reference(photo))


def test_timm_gives_a_network_of_one_size_its_own_size():
    ours = any_timm.Timm(any_timm.Config("test_vit"), classify.Spec(1, 28, ("a", "b")))
    assert ours.side == 160
    assert ours.head == "head"
    assert ours(torch.randn(1, 1, 28, 28)).shape == (1, 2)


def seen_by_timm(name: str, image: torch.Tensor) -> torch.Tensor:
    """What the network of that name is given of a picture."""
    given = []
    ours = any_timm.Timm(any_timm.Config(name), classify.Spec(1, image.shape[-1], ("a", "b")))
    ours.backbone.register_forward_pre_hook(lambda _network, taken: given.append(taken[0]))
    ours.eval()(image)
    return given[0]


@torch.inference_mode()
def test_timm_enlarges_small_pictures_and_averages_where_it_shrinks_large_ones():
    assert seen_by_timm("test_resnet", torch.randn(2, 1, 8, 8)).shape == (2, 1, 32, 32)
    assert seen_by_timm("test_resnet", torch.randn(2, 1, 40, 40)).shape == (2, 1, 40, 40)
    place = torch.arange(480)
    chessboard = 1.0 - 2 * ((place[:, None] + place) % 2)
    seen = seen_by_timm("test_vit", chessboard.expand(1, 1, 480, 480))
    assert seen.shape == (1, 1, 160, 160) and seen.abs().max() < 0.1  # grey


def test_timms_published_weights_are_those_of_the_network_that_is_asked_for():
    for name, weights in {"resnet18": "a1_in1k", "resnet18.tv_in1k": "tv_in1k"}.items():
        found = any_timm.Timm.published("small", any_timm.Config(name))
        assert found == f"timm:resnet18.{weights}"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnt18", "resnet18"),
        ("resnet18.nonsense", "resnet18"),
        ("deit_tiny_distilled_patch16_224", "deit_tiny_patch16_224"),  # two last layers
    ],
)
def test_timm_names_the_nearest_network(name, near):
    with pytest.raises(UserError) as trouble:
        any_timm.Timm(any_timm.Config(name), classify.Spec(3, 32, ("a", "b")))
    assert trouble.value.code == "backbone"
    assert near in trouble.value.expected


@pytest.mark.parametrize("shape", [(64, 32 * 9), (200, 27), (24, 25)])
def test_orthogonal_brings_every_singular_value_near_one(shape):
    torch.manual_seed(0)
    u, _values, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    spread = torch.logspace(-1.5, 0, min(shape))  # the largest is thirty times the smallest
    made = airbench.orthogonal(u * spread @ v, steps=5)
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.6
    assert values.max() < 1.25
    assert torch.nn.functional.cosine_similarity(made.flatten(), (u @ v).flatten(), 0) > 0.97
    torch.testing.assert_close(airbench.orthogonal(500 * u * spread @ v, steps=5), made)


def test_two_steps_of_muon_by_hand():
    """Momentum that looks a step ahead; a bank of filters is brought to its length, and turns."""
    torch.manual_seed(0)
    shape = (4, 2, 3, 3)
    filters, bias = torch.nn.Parameter(torch.randn(shape)), torch.nn.Parameter(torch.randn(5))
    muon = airbench.Muon(
        [
            {"params": [filters], "lr": 0.1, "momentum": 0.6, "orthogonal": True},
            {"params": [bias], "lr": 0.2, "momentum": 0.85},
        ]
    )
    bank, other = filters.detach().clone(), bias.detach().clone()
    velocity, speed = torch.zeros(shape), torch.zeros(5)
    for _step in range(2):
        filters.grad, bias.grad = torch.randn(shape), torch.randn(5)
        velocity, speed = 0.6 * velocity + filters.grad, 0.85 * speed + bias.grad
        turn = airbench.orthogonal((filters.grad + 0.6 * velocity).flatten(1)).view(shape)
        bank = bank * 2 / bank.norm() - 0.1 * turn
        other = other - 0.2 * (bias.grad + 0.85 * speed)
        muon.step()
    torch.testing.assert_close(filters.detach(), bank)
    torch.testing.assert_close(bias.detach(), other)


@pytest.mark.parametrize(("residual", "times"), [(True, 2), (False, 1)])
def test_a_stage_begins_by_passing_on_the_largest_of_2x2(residual, times):
    """Its convolutions change nothing yet; what skips the second one is added to it."""
    stage = airbench.Stage(4, 8, True, airbench.Config(residual=residual, relu=True)).eval()
    maps = torch.rand(2, 4, 6, 6)
    expected = times * F.max_pool2d(maps, 2)
    torch.testing.assert_close(stage(maps)[:, :4], expected, rtol=1e-3, atol=1e-3)


def test_a_fifth_of_each_label_goes_to_all_classes():
    torch.manual_seed(0)
    system = airbench.Airbench(airbench.Airbench.SIZES["tiny"], classify.Spec(1, 16, TEN)).eval()
    batch = classify.Batch(torch.randn(6, 1, 16, 16), torch.arange(6))
    log_p = system(batch.image).log_softmax(1)
    expected = 0.8 * log_p[torch.arange(6), batch.label] + 0.2 * log_p.mean(1)
    torch.testing.assert_close(system.loss(batch), -expected.mean())


def test_whitening_leaves_patches_uncorrelated():
    torch.manual_seed(0)
    known = digits(0, 1400, 16)
    system = airbench.Airbench(airbench.Airbench.SIZES["tiny"], classify.Classifier.spec_for(known))
    batch = next(iter(system.loader(known).endless(1000)))
    system.whiten_for(batch.image)
    answers = system.whiten(batch.image).transpose(0, 1).flatten(1)
    half = len(answers) // 2
    assert torch.equal(answers[:half], -answers[half:])
    assert torch.allclose(answers[:4].cov(), torch.eye(4), atol=0.1)


def test_the_first_layer_is_computed_once():
    """A network that goes on with other pictures keeps it."""
    torch.manual_seed(0)
    known = digits(0, 128, 16)
    system = airbench.Airbench(airbench.Airbench.SIZES["tiny"], classify.Classifier.spec_for(known))
    learn(system, known, 1)
    before = system.whiten.weight.clone()
    learn(system, digits(128, 256, 16), 1)
    assert torch.equal(system.whiten.weight, before)


@pytest.mark.parametrize(("size", "learns"), [("quick", False), ("tiny", True)])
def test_nothing_flows_back_to_a_first_layer_that_does_not_learn(size, learns):
    known = digits(0, 256, 28)
    system = airbench.Airbench(airbench.Airbench.SIZES[size], classify.Classifier.spec_for(known))
    system.whiten_for(next(system.loader(known).endless(256)).image)
    before = {name: tensor.clone() for name, tensor in system.whiten.state_dict().items()}
    learn(system, known, 3)
    assert torch.equal(system.whiten.weight, before["weight"])
    assert torch.equal(system.whiten.bias, before["bias"]) is not learns
    seen = system.stages[0](system.whiten(torch.zeros(1, 1, 28, 28)))
    assert {"quick": 7, "tiny": 13}[size] == seen.shape[-1]  # half of the 13 and 27 places
    assert system.whiten(torch.zeros(1, 1, 28, 28)).requires_grad is learns


def test_airbench_resumed_equals_unbroken():
    known = digits(0, 512, 16)
    seen = classify.Classifier.spec_for(known)
    config = airbench.Airbench.SIZES["tiny"]
    torch.manual_seed(0)
    unbroken = airbench.Airbench(config, seen)
    learn(unbroken, known, 6)

    torch.manual_seed(0)
    broken = airbench.Airbench(config, seen)
    last = learn(broken, known, 6, end=3)[-1]
    saved = {name: optimizer.state_dict() for name, optimizer in last.optimizers.items()}
    again = airbench.Airbench(config, seen)
    again.load_state_dict(broken.state_dict())
    run = Run(6, 64, 3, saved, schedule=lambda o, step: set_rate(o, one_cycle(step / 6)))
    for _progress in again.fit(again.loader(known), run):
        pass
    kept = again.state_dict()
    for name, tensor in unbroken.state_dict().items():
        assert torch.equal(tensor, kept[name]), name


def test_airbench_at_the_papers_size_has_its_1970000_parameters():
    system = at_size(airbench.Airbench, "paper", 32, 3, TEN)
    assert round(count(system) / 1e6, 2) == 1.97


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 16), (1, 28), (3, 32), (1, 45), (3, 64)])
def test_dcgan_draws_pictures_of_the_datas_size(channels, side):
    system = DCGAN(DCGAN.SIZES["tiny"], generate.Spec(channels, side))
    drawn = system.draw(sampling.Noise(0, range(2)))
    assert drawn.shape == (2, channels, side, side)
    assert drawn.abs().max() <= 1
    assert system.critic(drawn).shape == (2, 1, 1, 1)


def test_dcgan_equals_the_known_counts():
    """Width 64 is PyTorch's own example, https://github.com/pytorch/examples/tree/main/dcgan."""
    with torch.device("meta"):
        system = DCGAN(DCGAN.SIZES["paper"].__class__(width=64, kernel=4), generate.Spec(3, 64))
    assert count(system.generator) == 3_576_704
    assert count(system.critic) == 2_765_568


def test_dcgan_at_the_papers_size_has_its_5x5_kernels():
    """Of https://github.com/Newmu/dcgan_code: 1024, 512, 256, 128 channels, counted by hand."""
    with torch.device("meta"):
        system = DCGAN(DCGAN.SIZES["paper"], generate.Spec(3, 64))
    between = 25 * (1024 * 512 + 512 * 256 + 256 * 128)
    first = 100 * 1024 * 4 * 4 + 2 * 1024
    assert count(system.generator) == first + between + 2 * (512 + 256 + 128) + 25 * 128 * 3
    last = 1024 * 4 * 4
    assert count(system.critic) == 25 * 3 * 128 + between + 2 * (256 + 512 + 1024) + last


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 16), (1, 28), (1, 45), (3, 64)])
def test_dcgan_with_5x5_kernels_draws_and_scores_any_side(channels, side):
    system = DCGAN(DCGAN.SIZES["tiny"].__class__(8, 16, kernel=5), generate.Spec(channels, side))
    drawn = system.draw(sampling.Noise(0, range(2)))
    assert drawn.shape == (2, channels, side, side)
    assert system.critic(drawn).shape == (2, 1, 1, 1)


def test_dcgan_at_the_papers_size_starts_from_1024_channels_and_small_weights():
    system = DCGAN(DCGAN.SIZES["paper"], generate.Spec(3, 64))
    first = system.generator[0].weight
    assert first.shape == (100, 1024, 4, 4)
    assert first.std().item() == pytest.approx(0.02, rel=0.05)


def test_each_update_of_dcgan_moves_its_own_network_only():
    torch.manual_seed(0)
    system = DCGAN(DCGAN.SIZES["tiny"], generate.Spec(1, 16))
    batch = generate.Batch(torch.rand(8, 1, 16, 16) * 2 - 1, torch.zeros(8))
    optimizers = system.optimizers()

    def weights() -> dict[str, list[torch.Tensor]]:
        return {
            name: [weight.detach().clone() for weight in system.get_submodule(name).parameters()]
            for name in ("critic", "generator")
        }

    for name, loss in system.updates(batch, 0):
        before = weights()
        optimizers[name].zero_grad()
        loss.backward(inputs=list(system.get_submodule(name).parameters()))
        optimizers[name].step()
        for other, after in weights().items():
            same = [torch.equal(a, b) for a, b in zip(before[other], after, strict=True)]
            assert not any(same) if other == name else all(same)


def test_the_critic_of_dcgan_learns_to_tell_drawn_from_real():
    torch.manual_seed(0)
    known = digits(0, 1024, 16)
    system = DCGAN(DCGAN.SIZES["tiny"], generate.Spec(1, 16))
    steps = learn(system, known, 40)
    losses = [progress.losses["critic"].item() for progress in steps]
    assert np.mean(losses[-10:]) < np.mean(losses[:3]) - 0.3


def points_of(cases: Dataset) -> torch.Tensor:
    return cases.input.flatten(1).float() / 255


def test_inertia_never_rises_and_learning_ends_by_itself():
    torch.manual_seed(0)
    known = digits(0, 1797)
    system = kmeans.KMeans(kmeans.KMeans.SIZES["small"], cluster.Clusterer.spec_for(known))
    inertia = [progress.losses["inertia"].item() for progress in learn(system, known, 1000)]
    assert 5 < len(inertia) < 200
    assert all(after <= before + 1e-6 for before, after in pairwise(inertia))


def test_kmeans_equals_scikit_learns():
    known = digits(0, 1797)
    points = points_of(known)
    torch.manual_seed(3)
    start = kmeans.far_apart(points, 10)
    torch.manual_seed(3)
    system = kmeans.KMeans(kmeans.Config(10), cluster.Clusterer.spec_for(known))
    learn(system, known, 1000)
    reference = Reference(10, init=start.numpy(), n_init=1, algorithm="lloyd", tol=0, max_iter=1000)
    reference.fit(points.numpy())
    distance = torch.cdist(points, system.centres).amin(1).square().sum().item()
    assert distance == pytest.approx(reference.inertia_, rel=1e-4)
    assert np.allclose(system.centres.numpy(), reference.cluster_centers_, atol=1e-4)


def test_a_centre_without_points_moves_to_the_farthest_point():
    points = torch.tensor([[0.0], [1.0], [2.0], [30.0]])
    system = kmeans.KMeans(kmeans.Config(2), cluster.Spec(1))
    system.centres.copy_(torch.tensor([[1.0], [1000.0]]))
    system.move(points, system(points), (points - 1).square().sum(1))
    assert system.centres.tolist() == [[1.0], [30.0]]


def test_first_centres_are_different_points_far_apart():
    torch.manual_seed(0)
    blobs = torch.randn(300, 2) * 0.01 + torch.tensor([[0.0, 0], [10, 0], [0, 10]]).repeat(100, 1)
    hits = sum(len(torch.cdist(kmeans.far_apart(blobs, 3), blobs[:3]).argmin(1).unique()) == 3 for _trial in range(20))
    assert hits == 20  # by chance alone it would be 2 in 9


def test_centres_are_drawn_by_the_squared_distance():
    """Of points at 0, 1 and 3, after the first one that at 3 comes nine times in ten."""
    torch.manual_seed(0)
    points = torch.tensor([[0.0], [1.0], [3.0]])
    drawn = [kmeans.far_apart(points, 2)[:, 0].tolist() for _trial in range(900)]
    second = [centre for first, centre in drawn if first == 0]
    assert 250 < len(second) < 350  # the first is drawn by chance alone
    assert second.count(3.0) / len(second) == pytest.approx(0.9, abs=0.06)


def test_more_groups_than_different_points_is_refused():
    with pytest.raises(UserError) as trouble:
        kmeans.far_apart(torch.tensor([[0.0], [1.0]]).repeat(20, 1), 3)
    assert (trouble.value.code, trouble.value.fix) == ("groups", "groups=2")
