"""The blocks of latent diffusion beside diffusers' own, with random weights."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import souron
from souron.blocks.autoencoder import Autoencoder, autoencoder_name, flat
from souron.blocks.latent import TextUNet, unet_name
from souron.evaluation.generators.sampling import Noise, done, draw
from souron.hub import diffusion_weights, names
from souron.kinds.codecs import provenance
from souron.kinds.text import Text
from souron.runs import generate as run_generate
from souron.systems.text_to_image.latent_diffusion import Config, LatentDiffusion
from souron.utils.messages import UserError

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
        return diffusers.UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, sample_size=64)
    return diffusers.UNet2DConditionModel(
        block_out_channels=(16, 32, 32),
        layers_per_block=2,
        cross_attention_dim=12,
        attention_head_dim=2,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )


def published_autoencoder(small=True):
    import diffusers

    widths = (8, 16, 16) if small else (128, 256, 512, 512)
    return diffusers.AutoencoderKL(
        block_out_channels=widths,
        layers_per_block=2,
        norm_num_groups=4 if small else 32,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        latent_channels=4,
        up_block_types=("UpDecoderBlock2D",) * len(widths),
    )


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
        "norm",
        "proj_in",
        "proj_out",
        *(inner + f"norm{i}" for i in (1, 2, 3)),
        *(f"{inner}attn{i}.{part}" for i in (1, 2) for part in linear),
        inner + "ff.net.0.proj",
        inner + "ff.net.2",
    )
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
        ("encoder", "down", layers, "downsample"),
        ("decoder", "up", layers + 1, "upsample"),
    ):
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


SMALL = Config((16, 32, 64, 64), (0, 1, 2), 2, (16, 32, 64, 64), 1, (1, 32, 2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stable Diffusion's parts as diffusers and transformers write them, small and random."""
    import diffusers
    import transformers

    place = tmp_path_factory.mktemp("published")
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=SMALL.widths, cross_attention_dim=32, attention_head_dim=1, norm_num_groups=4
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=SMALL.coder,
        layers_per_block=2,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            hidden_size=32, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2, projection_dim=32
        )
    )
    for part, model in {"unet": unet, "vae": vae, "text_encoder": text}.items():
        shaken(model)
        (place / part).mkdir()
        name = "model" if part == "text_encoder" else "diffusion_pytorch_model"
        begin = "text_model." if part == "text_encoder" else ""
        state = {begin + key.removeprefix("text_model."): weight.clone() for key, weight in model.state_dict().items()}
        save_file(state, place / part / f"{name}.safetensors")
    pairs = ["a b</w>", "c d</w>"]
    letters = ["a", "b</w>", "c", "d</w>", "ab</w>", "cd</w>", "a</w>", "b", "c</w>", "d"]
    words = [*letters, "<|startoftext|>", "<|endoftext|>"]
    (place / "tokenizer").mkdir()
    merges = "\n".join(["#version: 0.2", *pairs])
    (place / "tokenizer" / "merges.txt").write_text(merges, encoding="utf-8")
    vocabulary = json.dumps({word: number for number, word in enumerate(words)})
    (place / "tokenizer" / "vocab.json").write_text(vocabulary, encoding="utf-8")
    (place / "model_index.json").write_text("{}")
    return place


def packed_into_one(folder, file):
    """The same weights by the names of a single file; what it holds besides is passed over."""
    weights = {"model_ema.decay": torch.ones(1), "alphas_cumprod": torch.ones(4)}
    unet = load_file(folder / "unet/diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae/diffusion_pytorch_model.safetensors")
    for module in ldm_unet():
        for kind in ("weight", "bias"):
            if (ours := unet_name(f"{module}.{kind}")) in unet:
                weights[f"model.diffusion_model.{module}.{kind}"] = unet[ours]
    for module in ldm_autoencoder():
        for kind in ("weight", "bias"):
            tensor = vae[autoencoder_name(f"{module}.{kind}")]
            turned = ".attn_1." in module and tensor.ndim == 2
            weights[f"first_stage_model.{module}.{kind}"] = tensor[..., None, None] if turned else tensor
    begin = "cond_stage_model.transformer."
    text = load_file(folder / "text_encoder/model.safetensors")
    weights |= {begin + name: tensor for name, tensor in text.items()}
    weights[begin + "text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, file)


def test_a_folder_and_a_single_file_draw_the_same(folder, tmp_path):
    file = folder / "one.safetensors"
    packed_into_one(folder, file)
    assert all(isinstance(names.resolve(one), names.DiffusionModel) for one in (folder, file))
    assert isinstance(names.resolve(tmp_path), names.Run)
    part = folder / "unet/diffusion_pytorch_model.safetensors"
    assert isinstance(names.resolve(part), names.WeightsFile)
    drawn = []
    for path in (folder, file):
        model = diffusion_weights.system(path, 64, SMALL)
        assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
        drawn.append(done(draw(model, Noise(0, [0]), ["ab cd"], steps=3)))
    assert torch.equal(*drawn) and drawn[0].shape == (1, 3, 64, 64)
    assert drawn[0].float().std() > 1
    other = done(draw(model, Noise(0, [0]), ["cd"], steps=3, guidance=8.0))
    assert not torch.equal(other, drawn[0])


def test_words_are_read_as_transformers_reads_them(folder):
    import transformers

    model = diffusion_weights.system(folder, 64, SMALL)
    theirs = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(hidden_size=32, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2)
    ).eval()
    state = load_file(folder / "text_encoder/model.safetensors")
    today = {name: state["text_model." + name.removeprefix("text_model.")] for name in theirs.state_dict()}
    theirs.load_state_dict(today)
    tokens = model.tokens(["ab CD", ""])
    assert tokens.shape == (2, 77)
    assert tokens[0, :5].tolist() == [10, 4, 5, 11, 11] and tokens[1, :3].tolist() == [10, 11, 11]
    with torch.no_grad():
        expected = theirs(tokens).last_hidden_state
        words, mask = model.read(["ab CD", ""])
    assert mask is None
    assert (words.float() - expected).abs().max() < 0.1  # bf16 beside float32
    assert (words.float() - expected).abs().mean() < 0.02


def test_what_is_no_stable_diffusion_is_said(folder, tmp_path):
    def refused(path, code="model"):
        with pytest.raises(UserError) as caught:
            diffusion_weights.system(path, 64, SMALL)
        assert caught.value.code == code
        return str(caught.value.found)

    (tmp_path / "unet").mkdir()
    (tmp_path / "tokenizer").mkdir()
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "tokenizer" / name).write_bytes((folder / "tokenizer" / name).read_bytes())
    assert "unet/diffusion_pytorch_model.safetensors is missing" in refused(tmp_path)
    for part in ("unet", "vae", "text_encoder"):
        (tmp_path / part).mkdir(exist_ok=True)
        for file in (folder / part).iterdir():
            (tmp_path / part / file.name).write_bytes(file.read_bytes())
    file = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    whole = load_file(file)
    wrong = {name: weight for name, weight in whole.items() if name != "conv_in.bias"}
    save_file(wrong, file)
    assert "1 weights do not fit, as" in refused(tmp_path)
    file.write_bytes(b"\xff" * 64)
    assert "head is damaged" in refused(tmp_path)
    bare = tmp_path / "alone" / "one.safetensors"
    bare.parent.mkdir()
    packed_into_one(folder, bare)
    refused(bare, "tokenizer")


def test_what_a_picture_takes_is_reckoned_without_weights(monkeypatch):
    monkeypatch.setattr(diffusion_weights, "speed", lambda: 1e12)
    large, text = diffusion_weights.told("x", 512)
    small, _text = diffusion_weights.told("x", 256)
    # 40 calls of the UNet, 0.80 million million operations each (ptflops and fvcore count 0.40
    # multiplications with an addition), and one of the decoder
    assert large.seconds == pytest.approx(40 * 0.80 + 2.5, rel=0.1)
    assert 3.5 < large.seconds / small.seconds < 6
    assert 2.4e9 < large.bytes < 3.2e9 and small.bytes < large.bytes
    assert "512 pixels" in text and "GB" in text
    monkeypatch.setattr(diffusion_weights.hardware, "memory", lambda: (4 << 30, 1 << 30))
    with pytest.raises(UserError, match="GB of memory"):
        diffusion_weights.refuse_too_large(Path("sd"), large.bytes)


def test_a_published_model_draws_by_the_command_and_from_python(folder, monkeypatch, tmp_path):
    monkeypatch.setitem(LatentDiffusion.SIZES, "sd15", SMALL)
    monkeypatch.setattr(diffusion_weights, "speed", lambda: 1e9)
    events = list(run_generate.generating(folder, prompt="ab", steps="2", imgsz="64"))
    [foretold] = [event.note for event in events if event.note]
    assert foretold.startswith("an image of 64 pixels a side takes about ")
    record = events[-1].record
    assert record.count == 1 and record.run == folder
    [file] = [file for file in record.files if file.name == "00000.png"]
    said = provenance.read(file)
    assert said.system == "latent_diffusion_sd15" and said.settings["prompt"] == "ab"
    one = provenance.weights_hash(folder / "unet/diffusion_pytorch_model.safetensors")
    assert said.run == one
    again = list(run_generate.like(file, run=folder, out=tmp_path / "again"))[-1].record
    assert file.read_bytes() == (tmp_path / "again" / "00000.png").read_bytes()
    assert again.settings["steps"] == 2
    for options, code in (({"imgsz": "63"}, "value"), ({"prompt": " "}, "prompt")):
        with pytest.raises(UserError) as caught:
            list(run_generate.generating(folder, **{"prompt": "ab", "imgsz": "64", **options}))
        assert caught.value.code == code
    monkeypatch.setattr(diffusion_weights, "SIDE", 64)
    monkeypatch.setattr(diffusion_weights.system, "__defaults__", (64, None))
    picture = souron.load(str(folder))(Text("ab"), steps=2)
    assert picture.image.size == (64, 64)
