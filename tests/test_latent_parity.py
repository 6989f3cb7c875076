"""The blocks of latent diffusion beside diffusers' own, with random weights."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

import souron
from souron.blocks.autoencoder import Autoencoder, autoencoder_name, flat
from souron.blocks.latent import TextUNet, unet_name
from souron.blocks.samplers import SAMPLERS, scaled_linear
from souron.cli import main
from souron.evaluation.generators.sampling import Noise, done, draw
from souron.hub import adapters, diffusion_weights, names, packages, weights
from souron.kinds.codecs import provenance
from souron.kinds.picture import Picture
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


def networks():
    """The UNet and the autoencoder of diffusers, as small as ``SMALL``."""
    import diffusers

    unet = diffusers.UNet2DConditionModel(
        block_out_channels=SMALL.widths, cross_attention_dim=32, attention_head_dim=1, norm_num_groups=4
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=SMALL.coder,
        layers_per_block=2,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=0.18215,
    )
    return unet, vae


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stable Diffusion's parts as diffusers and transformers write them, small and random."""
    import transformers

    place = tmp_path_factory.mktemp("published")
    unet, vae = networks()
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


def test_the_whole_way_from_a_text_to_an_image_is_that_of_diffusers(folder):
    """Both in float32, from the same noise: tokens, text encoder, UNet with guidance, sampler, decoder."""
    import diffusers
    import transformers

    ours = diffusion_weights.system(folder, 64, SMALL).float()
    made = {"unet": ours.unet, "vae": ours.coder}
    unet, vae = networks()
    for name, theirs in (("unet", unet), ("vae", vae)):
        theirs.load_state_dict(made[name].state_dict())
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(hidden_size=32, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2)
    ).eval()
    state = load_file(folder / "text_encoder/model.safetensors")
    begin = "" if next(iter(text.state_dict())).startswith("text_model.") else "text_model."
    text.load_state_dict(
        {name: state[begin + name].bfloat16().float() for name in text.state_dict() if begin + name in state},
        strict=False,
    )
    start = Noise(5, [0]).normal(4, 8, 8)
    words = {one: ours.tokens([one]) for one in ("ab cd", "cd")}
    features = {one: text(ids.clamp(max=49_407)).last_hidden_state for one, ids in words.items()}
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        timestep_spacing="trailing",
        steps_offset=1,
    )
    pipeline = diffusers.StableDiffusionPipeline(
        vae, None, None, unet.eval(), scheduler, None, None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt_embeds=features["ab cd"],
        negative_prompt_embeds=features["cd"],
        latents=start.clone(),
        num_inference_steps=4,
        guidance_scale=3.0,
        output_type="pt",
        height=64,
        width=64,
    ).images
    found = done(ours.drawing(Noise(5, [0]), ["ab cd"], negative="cd", steps=4, guidance=3.0, sampler="ddim"))
    torch.testing.assert_close(((found + 1) / 2).clamp(0, 1), theirs, atol=2e-3, rtol=0)
    assert theirs.std() > 0.05


def test_the_sampler_of_few_steps_is_that_of_diffusers():
    import diffusers

    kept = scaled_linear().tolist()
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noises = torch.randn(8, *x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def network(noisy, t):
        return (noisy * 0.7 + t / 1000).sin()  # the noise that it finds

    def clean(noisy, t):
        return (noisy - (1 - kept[t]) ** 0.5 * network(noisy, t)) / kept[t] ** 0.5

    for steps in (1, 2, 4, 8):
        ours = list(SAMPLERS["lcm"](clean, kept, steps, x, iter(noises).__next__))[-1]
        scheduler = diffusers.LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        scheduler.set_timesteps(steps)
        drawn, theirs = iter(noises), x
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "diffusers.schedulers.scheduling_lcm.randn_tensor", lambda *_given, drawn=drawn, **_more: next(drawn)
            )
            for t in scheduler.timesteps:
                theirs = scheduler.step(network(theirs, int(t)), t, theirs).prev_sample
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def lora(unet, file, rank=2, alpha=1.0, but=()):
    """Random matrices for some layers of a UNet, by kohya's names; returns them by the layers' own."""
    torch.manual_seed(3)
    wanted = ("attn1.to_q", "ff.net.0.proj", "proj_in", "conv1", "downsamplers.0.conv", "time_emb_proj")
    held, pairs = {}, {}
    for name, layer in unet.named_modules():
        if not name.endswith(wanted):
            continue
        narrow = torch.randn(rank, *layer.weight.shape[1:])
        wide = torch.randn(layer.weight.shape[0], rank, *[1] * (layer.weight.ndim - 2))
        begin = "lora_unet_" + name.replace(".", "_")
        held |= {f"{begin}.lora_down.weight": narrow, f"{begin}.lora_up.weight": wide}
        held[f"{begin}.alpha"] = torch.tensor(alpha)
        pairs[name] = narrow, wide
    save_file({name: tensor for name, tensor in held.items() if name not in but}, file)
    return pairs


def test_a_lora_adds_its_two_layers_one_after_the_other(tmp_path):
    unet = shaken(TextUNet(4, 4, (16, 32), 1, (0,), 12, 2, 8))
    file = tmp_path / "lora.safetensors"
    pairs = lora(unet, file)
    given = torch.randn(1, 4, 8, 8), torch.tensor([500]), torch.randn(1, 5, 12)

    def beside(layer, narrow, wide):
        def add(_layer, inputs, output):
            [x] = inputs
            if layer.weight.ndim == 2:
                return output + 0.5 * F.linear(F.linear(x, narrow), wide)
            return output + 0.5 * F.conv2d(F.conv2d(x, narrow, None, layer.stride, layer.padding), wide)

        return layer.register_forward_hook(add)

    with torch.no_grad():
        before = unet(*given)
        hooks = [beside(unet.get_submodule(name), *each) for name, each in pairs.items()]
        wanted = unet(*given)
        for hook in hooks:
            hook.remove()
        assert adapters.merge(unet, file) == len(pairs) > 6
        found = unet(*given)
    assert (before - wanted).abs().max() > 0.1
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda held: held.pop("lora_unet_mid_block_attentions_0_proj_in.lora_up.weight"),
        lambda held: held.update({"lora_te_text_model.lora_up.weight": torch.ones(2, 2)}),
        lambda held: held.update({"lora_unet_nowhere.lora_up.weight": torch.ones(2, 2)}),
        lambda held: held.update({"lora_unet_conv_in.lora_up.weight": torch.ones(2, 2)}),
        lambda held: held.update({"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": torch.ones(3, 7, 1, 1)}),
        lambda held: held.clear(),
    ],
)
def test_a_lora_that_does_not_fit_is_refused(tmp_path, spoil):
    unet = TextUNet(4, 4, (16, 32), 1, (0,), 12, 2, 8)
    file = tmp_path / "lora.safetensors"
    lora(unet, file)
    held = load_file(file)
    spoil(held)
    save_file(held, file)
    with pytest.raises(UserError) as trouble:
        adapters.merge(unet, file)
    assert trouble.value.code == "weights file"


def test_by_name_they_are_fetched_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weights, "folders", lambda: [tmp_path])
    for name, missing in (("stable_diffusion", "stable_diffusion"), ("stable_diffusion_lcm", "stable_diffusion")):
        assert main.run(["generate", name, "prompt=a cat"]) == 4
        assert f"souron fetch {missing}" in capsys.readouterr().err
    (tmp_path / "stable_diffusion").mkdir()
    (tmp_path / "stable_diffusion" / packages.DIFFUSION["stable_diffusion"].package.archive).touch()
    assert main.run(["generate", "stable_diffusion_lcm", "prompt=a cat"]) == 4
    assert "souron fetch stable_diffusion_lcm" in capsys.readouterr().err


def test_the_distilled_one_generates_in_four_steps_without_guidance(folder, monkeypatch, tmp_path):
    monkeypatch.setitem(LatentDiffusion.SIZES, "sd15", SMALL)
    monkeypatch.setattr(diffusion_weights, "speed", lambda: 1e9)
    unet = diffusion_weights.system(folder, 64, SMALL).unet
    lora(unet, tmp_path / "lora.safetensors")
    meaning = names.DiffusionModel("stable_diffusion_lcm", folder, tmp_path / "lora.safetensors")
    monkeypatch.setattr(names, "resolve", lambda _name: meaning)
    record = list(run_generate.generating("stable_diffusion_lcm", prompt="ab", imgsz="64"))[-1].record
    assert {name: record.settings[name] for name in ("steps", "guidance", "sampler")} == {
        "steps": 4,
        "guidance": 1.0,
        "sampler": "lcm",
    }
    plain = names.DiffusionModel(str(folder), folder)
    monkeypatch.setattr(names, "resolve", lambda _name: plain)
    own = {"prompt": "ab", "imgsz": "64", "steps": "4", "guidance": "1", "sampler": "lcm"}
    with_lora = list(run_generate.generating(folder, lora=str(tmp_path / "lora.safetensors"), **own))[-1].record
    without = list(run_generate.generating(folder, **own))[-1].record
    assert with_lora.settings["lora"].endswith("lora.safetensors")
    pixels = [Picture.read(one.files[0].parent / "00000.png").image.tobytes() for one in (record, with_lora, without)]
    assert pixels[0] == pixels[1] != pixels[2]


def test_without_guidance_the_network_is_asked_once(folder, monkeypatch):
    model = diffusion_weights.system(folder, 64, SMALL)
    batches = []
    whole = model.unet.forward
    monkeypatch.setattr(model.unet, "forward", lambda x, *more: batches.append(len(x)) or whole(x, *more))
    done(draw(model, Noise(0, [0]), ["ab"], steps=1, guidance=1.0))
    done(draw(model, Noise(0, [0]), ["ab"], steps=1, guidance=2.0))
    assert batches == [1, 2]
