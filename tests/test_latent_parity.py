"""The blocks of latent diffusion beside diffusers' own, with random weights."""

import pytest
import torch

from souron.blocks.autoencoder import Autoencoder, autoencoder_name, flat
from souron.blocks.latent import TextUNet, unet_name

SMALL_UNET = {"widths": (16, 32, 32), "attended": (0, 1), "text": 12, "heads": 2, "groups": 8}
SMALL_VAE = {"widths": (8, 16, 16), "groups": 4}


def shaken(module):
    """Small random weights everywhere: the last layers of blocks begin with zeros."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn_like(weight) / max(1, weight[0].numel()) ** 0.5)
    return module.eval()


def published_unet(small=True):
    import diffusers

    if not small:
        return diffusers.UNet2DConditionModel(
            cross_attention_dim=768, attention_head_dim=8, sample_size=64
        )
    return diffusers.UNet2DConditionModel(
        block_out_channels=(16, 32, 32), layers_per_block=2, cross_attention_dim=12,
        attention_head_dim=2, norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip


def published_autoencoder(small=True):
    import diffusers

    widths = (8, 16, 16) if small else (128, 256, 512, 512)
    return diffusers.AutoencoderKL(
        block_out_channels=widths, layers_per_block=2, norm_num_groups=4 if small else 32,
        down_block_types=("DownEncoderBlock2D",) * len(widths), latent_channels=4,
        up_block_types=("UpDecoderBlock2D",) * len(widths),
    )  # fmt: skip


@pytest.mark.parametrize("part, millions, tensors", [("unet", 859.52, 686), ("vae", 83.65, 248)])
def test_sd_15_has_the_published_tensors(part, millions, tensors):
    with torch.device("meta"):
        ours = TextUNet() if part == "unet" else Autoencoder()
        theirs = published_unet(False) if part == "unet" else published_autoencoder(False)
    shapes = {name: weight.shape for name, weight in ours.state_dict().items()}
    assert shapes == {name: weight.shape for name, weight in theirs.state_dict().items()}
    assert len(shapes) == tensors
    count = sum(shape.numel() for shape in shapes.values())
    assert round(count / 1e6, 2) == millions


def test_the_unet_computes_what_diffusers_does():
    theirs = shaken(published_unet())
    ours = TextUNet(**SMALL_UNET).eval()
    ours.load_state_dict(theirs.state_dict())
    x, step = torch.randn(2, 4, 12, 8), torch.tensor([3, 700])
    text = torch.randn(2, 5, 12)
    with torch.no_grad():
        expected = theirs(x, step, text).sample
        assert expected.std() > 0.1
        assert torch.allclose(ours(x, step, text), expected, rtol=0, atol=1e-5)


def test_the_autoencoder_computes_what_diffusers_does():
    theirs = shaken(published_autoencoder())
    ours = Autoencoder(**SMALL_VAE).eval()
    ours.load_state_dict(theirs.state_dict())
    x, latent = torch.randn(2, 3, 16, 24), torch.randn(2, 4, 4, 6)
    with torch.no_grad():
        found = theirs.encode(x).latent_dist
        mean, log_variance = ours.encode(x)
        assert torch.allclose(mean, found.mean, rtol=0, atol=1e-5)
        assert torch.allclose(log_variance, found.logvar, rtol=0, atol=1e-5)
        expected = theirs.decode(latent).sample
        assert torch.allclose(ours.decode(latent), expected, rtol=0, atol=1e-5)


def ldm_unet(levels=4, layers=2, attended=(0, 1, 2)):
    """Modules' names of the authors' UNet, in the order of their program (``openaimodel.py``)."""
    residual = ("in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3")
    inner = "transformer_blocks.0."
    linear = ("to_q", "to_k", "to_v", "to_out.0")
    transformer = (
        "norm", "proj_in", "proj_out", *(inner + f"norm{i}" for i in (1, 2, 3)),
        *(f"{inner}attn{i}.{part}" for i in (1, 2) for part in linear),
        inner + "ff.net.0.proj", inner + "ff.net.2",
    )  # fmt: skip
    yield from ("time_embed.0", "time_embed.2", "input_blocks.0.0", "out.0", "out.2")
    number = 1
    for level in range(levels):
        for _layer in range(layers):
            yield from (f"input_blocks.{number}.0.{part}" for part in residual)
            if level in (1, 2) and _layer == 0:  # the width changes
                yield f"input_blocks.{number}.0.skip_connection"
            if level in attended:
                yield from (f"input_blocks.{number}.1.{part}" for part in transformer)
            number += 1
        if level < levels - 1:
            yield f"input_blocks.{number}.0.op"
            number += 1
    yield from (f"middle_block.{i}.{part}" for i in (0, 2) for part in residual)
    yield from (f"middle_block.1.{part}" for part in transformer)
    number = 0
    for level in reversed(range(levels)):
        for layer in range(layers + 1):
            yield from (f"output_blocks.{number}.0.{part}" for part in residual)
            yield f"output_blocks.{number}.0.skip_connection"
            if level in attended:
                yield from (f"output_blocks.{number}.1.{part}" for part in transformer)
            if level and layer == layers:
                yield f"output_blocks.{number}.{1 + (level in attended)}.conv"
            number += 1


def ldm_autoencoder(levels=4, layers=2):
    residual = ("norm1", "conv1", "norm2", "conv2")
    attention = ("norm", "q", "k", "v", "proj_out")
    yield from ("quant_conv", "post_quant_conv")
    for side, way, count, change in (
        ("encoder", "down", layers, "downsample"), ("decoder", "up", layers + 1, "upsample")
    ):  # fmt: skip
        yield from (f"{side}.{part}" for part in ("conv_in", "norm_out", "conv_out"))
        yield from (f"{side}.mid.block_{i}.{part}" for i in (1, 2) for part in residual)
        yield from (f"{side}.mid.attn_1.{part}" for part in attention)
        for level in range(levels):
            for block in range(count):
                yield from (f"{side}.{way}.{level}.block.{block}.{part}" for part in residual)
            wider = (1, 2) if way == "down" else (0, 1)
            if level in wider:
                yield f"{side}.{way}.{level}.block.0.nin_shortcut"
            if level < levels - 1 if way == "down" else level > 0:
                yield f"{side}.{way}.{level}.{change}.conv"


BARE = ("to_q", "to_k", "to_v")  # of the UNet's attention: no bias


def tagged(modules, prefix, bare=()):
    """Name in a single file -> a number of its own."""
    names = [f"{module}.weight" for module in modules]
    names += [f"{module}.bias" for module in modules if not module.endswith(bare or ("?",))]
    return {prefix + name: torch.tensor([[float(i)]]) for i, name in enumerate(names)}


def test_the_names_of_a_single_file_lead_to_the_tensors_that_diffusers_takes_them_for():
    from diffusers.loaders import single_file_utils as utils

    prefix = "model.diffusion_model."
    held = tagged(list(ldm_unet()), prefix, BARE)
    with torch.device("meta"):
        theirs = published_unet(False)
    expected = utils.convert_ldm_unet_checkpoint(dict(held), dict(theirs.config))
    ours = {unet_name(name.removeprefix(prefix)): number for name, number in held.items()}
    assert ours == expected and ours.keys() == theirs.state_dict().keys()

    prefix = "first_stage_model."
    held = tagged(list(ldm_autoencoder()), prefix)
    with torch.device("meta"):
        theirs = published_autoencoder(False)
    expected = utils.convert_ldm_vae_checkpoint(dict(held), dict(theirs.config))
    ours = {autoencoder_name(name.removeprefix(prefix)): number for name, number in held.items()}
    assert ours == expected and ours.keys() == theirs.state_dict().keys()


def test_names_that_are_no_unets_are_none():
    for name in ("", "betas", "middle_block.9.x.weight", "input_blocks.x", "label_emb.0.weight"):
        assert unet_name(name) == ""


def test_names_and_shapes_of_older_files_of_an_autoencoder_lead_to_todays():
    old = "decoder.mid_block.attentions.0."
    assert autoencoder_name(old + "query.weight") == old + "to_q.weight"
    assert autoencoder_name(old + "proj_attn.bias") == old + "to_out.0.bias"
    assert autoencoder_name(old + "to_out.0.bias") == old + "to_out.0.bias"
    weight = torch.randn(8, 8, 1, 1)
    assert torch.equal(flat(weight, (8, 8)), weight[..., 0, 0])
    assert flat(weight, (8, 8, 1, 1)) is weight
