"""Karlo beside diffusers' UnCLIPPipeline, with random weights: each network, and the whole way to an image."""

import copy
import json
from dataclasses import replace

import diffusers
import pytest
import torch
import transformers
from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel
from safetensors.torch import load_file, save_file

import souron
from souron.blocks.clip import published_names
from souron.blocks.karlo import Karlo, Sizes
from souron.blocks.latent import Words
from souron.blocks.samplers import ancestral, cosine, end_to_end
from souron.cli import main
from souron.evaluation.generators.sampling import Noise, done
from souron.hub import diffusion_weights, fetch, names, packages, weights
from souron.kinds.codecs import provenance
from souron.kinds.text import Text
from souron.runs import generate as run_generate
from souron.systems.text_to_image.dalle2 import DALLE2
from souron.tasks.text_to_image import Spec
from souron.utils.messages import UserError

SMALL = Sizes((1, 32, 2), (1, 64, 2), (32, 64, 128), 2, 24, 16)
FOLDERS = ("text_encoder", "prior", "text_proj", "decoder", "super_res_first", "super_res_last")
LETTERS = ["a", "b</w>", "c", "d</w>", "ab</w>", "cd</w>", "a</w>", "b", "c</w>", "d"]
WORDS = [*LETTERS, "<|startoftext|>", "<|endoftext|>"]
START, END = 10, 11


def shaken(module, seed=0):
    """Small random weights everywhere: the last layers of blocks begin with zeros."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn_like(weight) / max(1, weight[0].numel()) ** 0.5)
    return module.eval()


def unets(sizes):
    """The decoder and an enlarger of diffusers, as the published configurations say."""
    levels = len(sizes.widths)
    common = {"block_out_channels": sizes.widths, "layers_per_block": sizes.layers}
    decoder = diffusers.UNet2DConditionModel(
        **common,
        sample_size=sizes.low,
        in_channels=3,
        out_channels=6,
        down_block_types=("ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * (levels - 1)),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=(*["SimpleCrossAttnUpBlock2D"] * (levels - 1), "ResnetUpsampleBlock2D"),
        cross_attention_dim=sizes.tokens,
        attention_head_dim=64,
        class_embed_type="identity",
        resnet_time_scale_shift="scale_shift",
    )
    enlarger = diffusers.UNet2DModel(
        **common,
        sample_size=sizes.side,
        in_channels=6,
        out_channels=3,
        down_block_types=("ResnetDownsampleBlock2D",) * levels,
        up_block_types=("ResnetUpsampleBlock2D",) * levels,
        add_attention=False,
    )
    return decoder, enlarger


def published(sizes):
    """The six networks of diffusers and transformers, by the names of their folders."""
    (layers, dims, heads), (depth, width, prior_heads) = sizes.text, sizes.prior
    decoder, enlarger = unets(sizes)
    return {
        "text_encoder": transformers.CLIPTextModelWithProjection(
            transformers.CLIPTextConfig(
                hidden_size=dims,
                intermediate_size=4 * dims,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                projection_dim=dims,
                eos_token_id=END,
            )
        ),
        "prior": diffusers.PriorTransformer(prior_heads, width // prior_heads, depth, dims),
        "text_proj": UnCLIPTextProjModel(
            clip_embeddings_dim=dims, time_embed_dim=4 * sizes.widths[0], cross_attention_dim=sizes.tokens
        ),
        "decoder": decoder,
        "super_res_first": enlarger,
        "super_res_last": unets(sizes)[1],
    }


@pytest.fixture(scope="module")
def theirs():
    return {part: shaken(network, seed) for seed, (part, network) in enumerate(published(SMALL).items())}


@pytest.fixture(scope="module")
def ours(theirs):
    made = Karlo(SMALL).eval()
    for part, network in theirs.items():
        held = network.state_dict()
        made.get_submodule(part).load_state_dict(published_names(held) if part == "text_encoder" else held)
    return made


def test_karlo_has_the_published_tensors():
    """Sizes in bytes of files of the same networks (karlo-v1-alpha-image-variations), with the head of each
    file, and those that the site shows, rounded.
    """
    with torch.device("meta"):
        made, expected = Karlo(Sizes()), published(Sizes())
    shapes = {name: tuple(weight.shape) for name, weight in made.state_dict().items()}
    for part in FOLDERS[1:]:
        wanted = {f"{part}.{name}": tuple(weight.shape) for name, weight in expected[part].state_dict().items()}
        assert {name: shape for name, shape in shapes.items() if name.startswith(f"{part}.")} == wanted, part
    size = {part: 4 * sum(each.numel() for each in made.get_submodule(part).state_dict().values()) for part in FOLDERS}
    for part, bytes in {"decoder": 3_541_838_088, "super_res_last": 2_766_362_780, "text_encoder": 494_625_272}.items():
        assert 0 < bytes - size[part] < 200_000
    assert round(size["prior"] / 1e9, 2) == 4.09 and round(size["text_proj"] / 1e6, 1) == 31.5


def test_the_decoder_computes_what_diffusers_does(ours, theirs):
    torch.manual_seed(1)
    x, step, vector = torch.randn(2, 3, 16, 8), torch.tensor([3, 700]), torch.randn(2, 128)
    known = torch.arange(9) < torch.tensor([[9], [4]])
    words, mask = torch.randn(2, 9, SMALL.tokens), ~known[:, None, None] * -1e4
    with torch.no_grad():
        expected = theirs["decoder"](x, step, words, class_labels=vector, attention_mask=known).sample
        found = ours.decoder(x, step, vector, Words(words, mask))
        without = ours.decoder(x, step, vector, Words(words + 5 * ~known[..., None], mask))
    assert expected.shape == (2, 6, 16, 8) and expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(without, found, rtol=0, atol=2e-5)


def test_the_enlargers_compute_what_diffusers_does(ours, theirs):
    torch.manual_seed(1)
    x, step = torch.randn(2, 6, 24, 16), torch.tensor([3, 700])
    for part in FOLDERS[-2:]:
        with torch.no_grad():
            expected = theirs[part](x, step).sample
            found = ours.get_submodule(part)(x, step)
        assert expected.std() > 0.1
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def tokens(texts):
    """Pairs of letters, as the tokenizer of ``folder`` numbers them."""
    rows = [[START, *[WORDS.index(f"{pair}</w>") for pair in text.split()], END] for text in texts]
    return torch.tensor([row + [-1] * (77 - len(row)) for row in rows])


def test_words_are_read_as_transformers_reads_them(ours, theirs):
    ids = tokens(["ab cd", ""])
    with torch.no_grad():
        expected = theirs["text_encoder"](ids.where(ids >= 0, END))
        text = ours.read(ids)
    torch.testing.assert_close(text.point, expected.text_embeds, rtol=0, atol=1e-5)
    for words, wanted, known in zip(text.words, expected.last_hidden_state, text.known, strict=True):
        torch.testing.assert_close(words[known], wanted[known], rtol=0, atol=1e-5)
    assert text.known.sum(1).tolist() == [4, 2]


def test_the_condition_of_the_decoder_is_that_of_diffusers(ours, theirs):
    torch.manual_seed(1)
    text, point = ours.read(tokens(["ab cd", "cd"])), torch.randn(1, 32)
    none = ours.text_proj.learned_classifier_free_guidance_embeddings
    with torch.no_grad():
        expected, time = theirs["text_proj"](
            image_embeddings=point,
            prompt_embeds=text.point,
            text_encoder_hidden_states=text.words,
            do_classifier_free_guidance=True,
        )
        vector, words = ours.text_proj(text, torch.cat([none[None], point]))
    torch.testing.assert_close(vector, time, rtol=0, atol=1e-5)
    torch.testing.assert_close(words.tokens, expected, rtol=0, atol=1e-5)
    assert (words.mask == 0).sum(3).flatten().tolist() == [4 + 4, 4 + 3]


@pytest.mark.parametrize("steps", [2, 7, 25, 60])
@pytest.mark.parametrize("variance", ["fixed_small_log", "learned_range"])
def test_the_sampler_is_that_of_diffusers(steps, variance):
    scheduler = diffusers.UnCLIPScheduler(variance_type=variance)
    scheduler.set_timesteps(steps)
    kept = cosine().tolist()
    assert end_to_end(kept, steps) == scheduler.timesteps.tolist()
    torch.manual_seed(0)
    x, noises = torch.randn(2, 3, 4, 4), torch.randn(steps, 2, 3, 4, 4)
    learnt = variance == "learned_range"

    def network(noisy, t):
        both = torch.cat([noisy, -noisy], 1) if learnt else noisy
        return (both * 0.7 + t / 1000).sin()

    def find(noisy, t):
        noise, *share = network(noisy, t).split(3, 1)
        clean = ((noisy - (1 - kept[t]) ** 0.5 * noise) / kept[t] ** 0.5).clamp(-1, 1)
        return clean, (share[0] + 1) / 2 if learnt else 0.0

    *_steps, found = ancestral(find, kept, end_to_end(kept, steps), x, iter(noises).__next__)
    drawn, expected = iter(noises), x
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffusers.schedulers.scheduling_unclip.randn_tensor", lambda *_given, **_more: next(drawn))
        for t, after in zip(scheduler.timesteps, [*scheduler.timesteps[1:], None], strict=True):
            expected = scheduler.step(network(expected, int(t)), t, expected, after).prev_sample
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


class Tape(Noise):
    """Noise in float64 that remembers what was drawn."""

    def __init__(self, *given):
        super().__init__(*given)
        self.drawn = []

    def normal(self, *shape):
        self.drawn.append(super().normal(*shape).double())
        return self.drawn[-1]


class Numbered:
    """A tokenizer of ``transformers`` that numbers pairs of letters."""

    model_max_length = 77

    def __call__(self, texts, **_options):
        ids = tokens([texts] if isinstance(texts, str) else texts)
        return transformers.BatchEncoding({"input_ids": ids.where(ids >= 0, END), "attention_mask": ids >= 0})


def replayed(theirs, drawn, prompts, steps):
    """The images (B, 3, side, side) in 0..1 of diffusers' pipeline with its own defaults, from given noise.

    Its schedule is computed in float64; in float32 it is compared by the test of the sampler.
    """
    made = diffusers.UnCLIPPipeline(
        **theirs,
        tokenizer=None,
        prior_scheduler=diffusers.UnCLIPScheduler(clip_sample_range=5.0, prediction_type="sample"),
        decoder_scheduler=diffusers.UnCLIPScheduler(variance_type="learned_range"),
        super_res_scheduler=diffusers.UnCLIPScheduler(),
    )
    made.tokenizer = Numbered()
    made.set_progress_bar_config(disable=True)
    for scheduler in (made.prior_scheduler, made.decoder_scheduler, made.super_res_scheduler):
        scheduler.alphas_cumprod = cosine()
        scheduler.alphas = scheduler.alphas_cumprod / torch.cat([torch.ones(1), scheduler.alphas_cumprod[:-1]])
        scheduler.betas = 1 - scheduler.alphas
    left = iter(drawn)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("schedulers.scheduling_unclip", "pipelines.deprecated.unclip.pipeline_unclip"):
            patch.setattr(f"diffusers.{module}.randn_tensor", lambda *_given, **_more: next(left))
        images = made(
            prompts, prior_num_inference_steps=steps, decoder_num_inference_steps=steps, output_type="np"
        ).images
    assert next(left, None) is None
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@pytest.mark.parametrize("steps", [3, 25])
def test_the_whole_way_from_a_text_to_an_image_is_that_of_diffusers(ours, theirs, steps):
    """From the same noise, with guidance of 4 and 8 and seven steps of the enlargers.

    In float64: the first step of each network divides by 0.00005, which magnifies what float32 rounds.
    """
    noise, prompts = Tape(5, [0, 1]), ["ab cd", "cd"]
    ours, theirs = copy.deepcopy(ours).double(), {part: copy.deepcopy(each).double() for part, each in theirs.items()}
    with torch.no_grad():
        found = done(ours.drawing(tokens(["", "", *prompts]), noise.normal, steps=steps))
    expected = replayed(theirs, noise.drawn, prompts, steps)
    assert expected.shape == (2, 3, 64, 64) and expected.std() > 0.1
    torch.testing.assert_close(((found + 1) / 2).clamp(0, 1).float(), expected, rtol=0, atol=1e-3)


@torch.no_grad()
def test_without_guidance_the_decoder_is_evaluated_on_the_prompt_alone(ours, monkeypatch):
    batches, whole = [], ours.decoder.forward
    monkeypatch.setattr(ours.decoder, "forward", lambda x, *more: batches.append(len(x)) or whole(x, *more))
    images = {
        (guidance, free): done(ours.drawing(tokens([free, "cd"]), Noise(0, [0]).normal, steps=2, guidance=guidance))
        for guidance in (1.0, 2.0)
        for free in ("", "ab")
    }
    assert batches == [1] * 4 + [2] * 4
    assert not torch.equal(images[2.0, ""], images[2.0, "ab"])  # what is not wanted
    assert not torch.equal(images[1.0, ""], images[2.0, ""])


@torch.no_grad()
@pytest.mark.parametrize("sampler", ["dpm", "ddim", "ddpm"])
def test_every_sampler_ends_with_an_image_and_shows_smaller_ones_before(ours, sampler):
    frames = list(ours.drawing(tokens(["", "cd"]), Noise(0, [0]).normal, steps=4, sampler=sampler))
    assert {frame.shape for frame in frames} == {(1, 3, 64, 64)} and len(frames) == 6
    assert all(frame.isfinite().all() for frame in frames) and frames[-1].abs().max() <= 1


def written(theirs, place):
    """Karlo's folder as diffusers and transformers write it."""
    for part, network in theirs.items():
        (place / part).mkdir()
        name = "model" if part == "text_encoder" else "diffusion_pytorch_model"
        state = {key: weight.clone() for key, weight in network.state_dict().items()}
        save_file(state, place / part / f"{name}.safetensors")
    (place / "tokenizer").mkdir()
    merges = "\n".join(["#version: 0.2", "a b</w>", "c d</w>"])
    (place / "tokenizer" / "merges.txt").write_text(merges, encoding="utf-8")
    vocabulary = json.dumps({word: number for number, word in enumerate(WORDS)})
    (place / "tokenizer" / "vocab.json").write_text(vocabulary, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    return written(theirs, tmp_path_factory.mktemp("karlo"))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(DALLE2.SIZES, "karlo", SMALL)
    monkeypatch.setattr(diffusion_weights, "speed", lambda: 1e9)


@torch.no_grad()
def test_a_folder_is_read_with_its_tokenizer(folder, ours, small):
    meaning = names.resolve(folder)
    assert isinstance(meaning, names.DiffusionModel)
    made = diffusion_weights.of(meaning)
    assert made.spec.side == 64 and {each.dtype for each in made.state_dict().values()} == {torch.bfloat16}
    found = done(made.float().drawing(Noise(0, [0]), ["ab CD"], negative="", sampler="ddpm", steps=2, guidance=8.0))
    rounded = Karlo(SMALL).eval()
    rounded.load_state_dict({name: each.bfloat16().float() for name, each in ours.state_dict().items()})
    expected = done(rounded.drawing(tokens(["", "ab cd"]), Noise(0, [0]).normal, steps=2))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_the_command_uses_the_published_defaults(folder, small, tmp_path):
    events = list(run_generate.generating(folder, prompt="ab", steps="2", out=tmp_path / "one"))
    [estimate] = [event.note for event in events if event.note]
    assert estimate.startswith("an image of 64 pixels a side takes about ")
    record = events[-1].record
    assert {name: record.settings[name] for name in ("steps", "guidance", "sampler")} == {
        "steps": 2,
        "guidance": 8.0,
        "sampler": "ddpm",
    }
    mark = provenance.read(tmp_path / "one" / "00000.png")
    assert mark.system == "dalle2_karlo" and mark.settings["prompt"] == "ab"
    assert mark.run == provenance.weights_hash(folder / "prior/diffusion_pytorch_model.safetensors")
    list(run_generate.like(tmp_path / "one" / "00000.png", run=folder, out=tmp_path / "again"))
    first, second = ((tmp_path / name / "00000.png").read_bytes() for name in ("one", "again"))
    assert first == second
    image = souron.load(str(folder))(Text("ab"), steps=2)
    assert image.image.size == (64, 64)


@pytest.mark.parametrize("options", [{"imgsz": "512"}, {"lora": "style.safetensors"}, {"image": "one.png"}])
def test_what_karlo_cannot_do_is_refused(folder, small, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    from souron.kinds.picture import Picture

    Picture.of(torch.zeros(3, 64, 64, dtype=torch.uint8)).image.save("one.png")
    with pytest.raises(UserError, match=r"imgsz=512|LoRA|from a text alone"):
        list(run_generate.generating(folder, prompt="ab", steps="2", **options))


def test_karlo_is_not_trained_here():
    with torch.device("meta"), pytest.raises(UserError, match="not trained") as trouble:
        DALLE2(SMALL, Spec(3, 64, "", 9, words=("a", "coin")))
    assert trouble.value.fix.startswith("souron train dalle2 ")


def test_a_missing_file_and_a_wrong_shape_are_named_with_what_to_do(folder, small, tmp_path):
    def refused():
        with pytest.raises(UserError) as trouble:
            diffusion_weights.system(place)
        assert "Karlo" in str(trouble.value.found) and "souron fetch karlo" in trouble.value.fix
        return str(trouble.value.found)

    place = tmp_path / "karlo"
    for part in [*FOLDERS, "tokenizer"]:
        (place / part).mkdir(parents=True)
        for file in (folder / part).iterdir():
            (place / part / file.name).write_bytes(file.read_bytes())
    file = place / "text_proj" / "diffusion_pytorch_model.safetensors"
    whole = load_file(file)
    save_file(whole | {"embedding_proj.bias": torch.zeros(7)}, file)
    assert "text_proj.embedding_proj.bias" in refused()
    save_file({name: each for name, each in whole.items() if name != "embedding_proj.bias"}, file)
    assert "text_proj.embedding_proj.bias" in refused()
    file.write_bytes(b"\xff" * 64)
    assert "head is damaged" in refused()
    file.unlink()
    assert "text_proj/diffusion_pytorch_model.safetensors is missing" in refused()


def test_by_name_karlo_is_fetched_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weights, "folders", lambda: [tmp_path])
    assert main.run(["generate", "karlo", "prompt=a cat"]) == 4
    said = capsys.readouterr().err
    assert "souron fetch karlo" in said and "karlo/super_res_first/diffusion_pytorch_model.safetensors" in said
    (tmp_path / "karlo").mkdir()
    (tmp_path / "karlo" / "prior").mkdir()
    assert main.run(["generate", "karlo", "prompt=a cat"]) == 3
    assert "prior/diffusion_pytorch_model.safetensors is missing" in capsys.readouterr().err


def test_fetching_shows_the_licence_and_checks_what_is_known_of_each_file(tmp_path, monkeypatch, capsys):
    """Five files are pinned by the publisher's SHA-256, the sixth by what the site says of it."""
    asked = {}
    package = packages.DIFFUSION["karlo"].package

    def download(url, file, _progress=None, digest="", limit=0):
        asked[url.partition("/karlo-v1-alpha/")[2]] = digest
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("oid sha256:" + 64 * "b" if file.name == "pointer" else "")
        return file

    monkeypatch.setattr(fetch, "_download", download)
    monkeypatch.setenv("SOURON_OFFLINE", "0")
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path))
    monkeypatch.setattr(weights, "folders", lambda: [tmp_path / "weights"])
    assert main.run(["fetch", "karlo"]) == 0
    assert "CreativeML OpenRAIL-M" in "".join(capsys.readouterr())
    stem = f"resolve/{package.revision}"
    large = {name: digest for name, digest in asked.items() if name.endswith(".safetensors") and "/raw/" not in name}
    large = {name: digest for name, digest in large.items() if name.startswith(stem)}
    assert {name.split("/")[-2] for name in large} == set(FOLDERS)
    assert all(len(digest) == len("sha256:") + 64 for digest in large.values())
    assert large[f"{stem}/super_res_first/diffusion_pytorch_model.safetensors"] == "sha256:" + 64 * "b"
    assert {"merges.txt", "vocab.json"} <= {name.split("/")[-1] for name in asked}
    held = {file.relative_to(tmp_path / "weights/karlo").as_posix() for file in (tmp_path / "weights").rglob("*.*")}
    assert held == set(package.names)
    assert names.resolve("karlo").path == tmp_path / "weights" / "karlo"


def test_an_image_is_estimated_without_weights(monkeypatch):
    monkeypatch.setattr(diffusion_weights, "speed", lambda: 1e12)
    with torch.device("meta"):
        made = DALLE2(Sizes(), Spec(3, 256))
    more = diffusion_weights.cost(made, 25)
    less = diffusion_weights.cost(made, 25, guided=False)
    assert 6.8e9 < more.bytes < 8e9
    assert less.seconds < more.seconds < 2 * less.seconds
    made.karlo.sizes = replace(Sizes(), low=32)
    assert more.seconds > 2 * diffusion_weights.cost(made, 25).seconds
