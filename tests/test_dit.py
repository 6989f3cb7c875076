"""A Transformer in place of the UNet: begins as nothing, looks at a text, knows places."""

from dataclasses import replace

import pytest
import torch
from shapes import captioned
from torch import nn

from souron.blocks.dit import TextDiT, modulated, text_network
from souron.blocks.latent import TextUNet, Words
from souron.evaluation.generators.sampling import Noise, done, draw
from souron.systems.text_to_image.latent_diffusion import DENOISER, LatentDiffusion
from souron.training.loop import Run

PUBLISHED = 675_129_632  # weights of DiT-XL/2, fixed places of 256 patches among them


def network(**changes):
    """A small one in which nothing is zero any more."""
    torch.manual_seed(0)
    made = TextDiT(**{"width": 64, "layers": 2, "text": 24, "heads": 4} | changes).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return made


@pytest.fixture
def given():
    torch.manual_seed(1)
    return torch.randn(2, 4, 8, 8), torch.tensor([3, 700]), torch.randn(2, 6, 24)


def test_it_has_as_many_weights_as_the_published_network():
    with torch.device("meta"):
        made = TextDiT(4, 8)  # noise and its variance
    of_text = sum(
        weight.numel() for name, weight in made.named_parameters() if "cross_attn" in name or "norm_text" in name
    )
    of_classes, of_places = 1001 * 1152, 256 * 1152
    count = sum(weight.numel() for weight in made.parameters())
    assert count - of_text + of_classes + of_places == PUBLISHED


def test_a_block_is_that_of_the_paper_around_the_text():
    from timm.layers import Mlp
    from timm.models.vision_transformer import Attention

    torch.manual_seed(0)
    block = network().blocks[0]
    nn.init.zeros_(block.cross_attn.to_out[0].weight)
    nn.init.zeros_(block.cross_attn.to_out[0].bias)
    attention = Attention(64, 4, qkv_bias=True)
    mlp = Mlp(64, 256, act_layer=lambda: nn.GELU(approximate="tanh"))
    own = block.attn
    attention.load_state_dict(
        {
            "qkv.weight": own.in_proj_weight,
            "qkv.bias": own.in_proj_bias,
            "proj.weight": own.out_proj.weight,
            "proj.bias": own.out_proj.bias,
        }
    )
    for theirs, ours in ((mlp.fc1, block.mlp[0]), (mlp.fc2, block.mlp[2])):
        theirs.load_state_dict(ours.state_dict())
    x, step = torch.randn(2, 9, 64), torch.randn(2, 64)
    part = block.adaLN_modulation(step).chunk(6, 1)
    norm = nn.LayerNorm(64, 1e-6, elementwise_affine=False)
    with torch.no_grad():
        wanted = x + part[2][:, None] * attention(modulated(norm(x), part[0], part[1]))
        wanted = wanted + part[5][:, None] * mlp(modulated(norm(wanted), part[3], part[4]))
        found = block(x, step, Words(torch.randn(2, 6, 24)))
    assert torch.allclose(found, wanted, atol=1e-5)


def test_it_begins_as_nothing(given):
    torch.manual_seed(0)
    made = TextDiT(width=64, layers=2, text=24, heads=4)
    x, step = torch.randn(2, 9, 64), torch.randn(2, 64)
    for block in made.blocks:
        assert torch.equal(block(x, step, Words(given[2])), x)
    assert not made(*given).any()
    made(*given).sum().backward()
    assert made.linear_final.weight.grad.any()


@pytest.mark.parametrize("sides", [(8, 8), (7, 5), (1, 1), (4, 10)])
def test_maps_of_any_sides(given, sides):
    x = torch.randn(2, 4, *sides)
    assert network()(x, *given[1:]).shape == x.shape


def test_patches_come_out_where_they_went_in(given):
    """What changes at one place changes that patch most."""
    made = network(layers=1)
    x = given[0].clone()
    x[:, :, 2, 5] += 3
    with torch.no_grad():
        moved = (made(x, *given[1:]) - made(*given)).abs().sum((0, 1))
    patches = moved.view(4, 2, 4, 2).sum((1, 3))
    assert patches.argmax() == 1 * 4 + 2


def test_text_step_and_place_are_heard(given):
    made, (x, step, text) = network(), given
    with torch.no_grad():
        answer = made(x, step, text)
        assert (made(x, step, text.flip(0)) - answer).abs().max() > 1e-2
        assert (made(x, step.flip(0), text) - answer).abs().max() > 1e-2
        flat = made(torch.ones(1, 4, 8, 8), step[:1], text[:1]).unfold(2, 2, 2).unfold(3, 2, 2)
    by_place = flat.permute(0, 2, 3, 1, 4, 5).flatten(1, 2).flatten(2)[0]  # (16, numbers)
    assert torch.cdist(by_place, by_place).add(torch.eye(16)).min() > 1e-2


def test_what_is_masked_is_not_looked_at(given):
    made, (x, step, text) = network(), given
    mask = torch.zeros(2, 1, 1, 6)
    mask[..., 4:] = -torch.inf
    other = text.clone()
    other[:, 4:] = 100
    with torch.no_grad():
        assert torch.equal(made(x, step, text, mask), made(x, step, other, mask))
        short = made(x, step, text[:, :4])
        assert torch.allclose(made(x, step, text, mask), short, atol=1e-5)
        assert not torch.allclose(made(x, step, text), short, atol=1e-3)


def test_one_width_is_a_dit():
    dit = text_network(4, (100,), 3, (), 24, True)
    assert isinstance(dit, TextDiT) and len(dit.blocks) == 3
    assert dit.blocks[0].attn.heads == 2  # the most that divide the width
    dit(torch.randn(1, 4, 4, 4), torch.tensor([1]), torch.randn(1, 3, 24))
    odd = text_network(4, (30,), 1, (), 24, True)
    odd(torch.randn(1, 4, 4, 4), torch.tensor([1]), torch.randn(1, 3, 24))
    assert isinstance(text_network(4, (16, 32), 1, (1,), 24, True), TextUNet)


def test_the_small_networks_differ_in_nothing_else():
    cases = captioned(48, 32)
    spec = LatentDiffusion.spec_for(cases)
    with torch.device("meta"):
        unet, dit = (LatentDiffusion(LatentDiffusion.SIZES[size], spec) for size in ("small", "small_dit"))
    assert isinstance(dit.unet, TextDiT) and isinstance(unet.unet, TextUNet)
    for part in ("network", "coder"):
        shapes = [
            {name: each.shape for name, each in model.get_submodule(part).state_dict().items()} for model in (unet, dit)
        ]
        assert shapes[0] == shapes[1]
    counts = [sum(each.numel() for each in model.unet.parameters()) for model in (unet, dit)]
    assert counts[1] == pytest.approx(counts[0], rel=0.05)


def test_a_small_one_learns_and_draws_what_the_text_says():
    cases = captioned(96, 32)
    torch.manual_seed(0)
    size = replace(LatentDiffusion.SIZES["tiny"], widths=(32,), attended=(), layers=2)
    model = LatentDiffusion(size, LatentDiffusion.spec_for(cases))
    assert len(model.unet.blocks) == 2
    begun = [weight.clone() for weight in model.average.parameters()]
    for _progress in model.fit(model.loader(cases, seed=1), Run(30, 32)):
        pass
    moved = zip(begun, model.average.parameters(), strict=True)
    assert all(not torch.equal(before, after) for before, after in moved)
    assert list(model.in_stages)[-1] == DENOISER
    prompts = ["a red coin on the left", "夜の青い標識"]
    drawn = done(draw(model, Noise(3, [4, 4]), prompts, steps=4))
    assert drawn.shape == (2, 3, 32, 32)
    assert not torch.equal(drawn[0], drawn[1])  # one noise, two texts
