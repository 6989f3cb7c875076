"""CLIP: its two encoders beside open_clip's and transformers', and what learns with them."""

import json
import shutil

import numpy as np
import open_clip
import pytest
import torch
from open_clip.loss import ClipLoss
from open_clip.model import CLIP as OpenCLIP
from open_clip.tokenizer import SimpleTokenizer, default_bpe
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel

from souron import model, registry
from souron.blocks.clip import CLIP, PAD, TextTransformer, published_names
from souron.cli.main import run
from souron.data.language.tokenizer import Tokenizer
from souron.data.targets.captions import Caption
from souron.hub import clip_weights, weights
from souron.pipelines import answers
from souron.systems.match import clip
from souron.tasks.match import Batch, Spec
from souron.utils.messages import UserError

PUBLISHED = {  # open_clip's configuration of the pictures' network -> ours, size of the space
    "rn50": ({"layers": [3, 4, 6, 3], "width": 64}, ((3, 4, 6, 3), 64, 0), 1024),
    "vit_b_32": ({"layers": 12, "width": 768, "patch_size": 32}, ((12,), 768, 32), 512),
}
COUNTS = {"rn50": (489, 102.01), "vit_b_32": (302, 151.28)}  # tensors, million weights
TEXT = {"context_length": 77, "vocab_size": 99, "width": 64, "heads": 4, "layers": 2}
SMALL = {  # the same of few weights; the ResNet's stem pools from 128 pixels on
    "rn50": ({"layers": [1, 2, 1, 1], "width": 16, "image_size": 128}, ((1, 2, 1, 1), 16, 0)),
    "vit_b_32": ({"layers": 2, "width": 128, "patch_size": 16, "image_size": 64}, ((2,), 128, 16)),
}
ENDS = (5, 20, 76)  # of three texts; their end has the highest number, behind it stand zeros


def texts():
    """Tokens (3, 77) as open_clip has them, and as we do."""
    torch.manual_seed(1)
    theirs = torch.randint(1, 98, (3, 77))
    ours = theirs.clone()
    for row, end in enumerate(ENDS):
        theirs[row, end] = ours[row, end] = 98
        theirs[row, end + 1 :], ours[row, end + 1 :] = 0, PAD
    return theirs, ours


def moved(model):
    """Weights away from where they begin, so that none of them is 0 or 1."""
    torch.manual_seed(0)
    for weight in model.parameters():
        weight.data = weight.data + 0.1 * torch.randn_like(weight)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer += 0.5 * torch.rand_like(buffer)
    return model.eval()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_sizes_have_the_published_names_and_shapes(name):
    theirs, ours, dims = PUBLISHED[name]
    text = {"context_length": 77, "vocab_size": 49_408, "width": 512, "heads": 8, "layers": 12}
    with torch.device("meta"):
        reference = OpenCLIP(dims, {**theirs, "image_size": 224}, text, quick_gelu=True)
        model = CLIP(3, 224, *ours, 49_408, (12, 512, 8), dims, quick=True)
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in reference.state_dict().items()}
    millions = sum(weight.numel() for weight in model.parameters()) / 1e6
    assert (len(shapes), round(millions, 2)) == COUNTS[name]


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", SMALL)
def test_both_encoders_answer_as_open_clip_does(name, quick):
    theirs, ours = SMALL[name]
    reference = moved(OpenCLIP(48, theirs, TEXT, quick_gelu=quick))
    model = CLIP(3, theirs["image_size"], *ours, 99, (2, 64, 4), 48, quick).eval()
    model.load_state_dict(published_names(reference.state_dict()))
    image, (tokens, own) = torch.randn(3, 3, *2 * [theirs["image_size"]]), texts()
    with torch.inference_mode():
        expected = reference.encode_image(image), reference.encode_text(tokens)
        found = model.image(image), model.text(own)
    for one, other in zip(expected, found, strict=True):
        assert one.std() > 0.1
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert model.logit_scale == reference.logit_scale


def test_what_stands_behind_the_end_of_a_text_changes_nothing():
    model = TextTransformer(99, 2, 64, 4, 48).eval()
    _theirs, tokens = texts()
    with torch.inference_mode():
        torch.testing.assert_close(model(tokens)[:1], model(tokens[:1, : ENDS[0] + 1]))


@pytest.mark.parametrize("named", ["text_model.", ""])
def test_stable_diffusions_text_encoder_loads_by_the_names_of_transformers(named):
    """transformers 5 leaves ``text_model.`` out, the published files have it."""
    config = CLIPTextConfig(
        vocab_size=99,
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=97,
        eos_token_id=98,
        pad_token_id=0,
    )
    reference = moved(CLIPTextModel(config))
    weights = {named + key: tensor for key, tensor in reference.state_dict().items()}
    places = {named + "embeddings.position_ids": torch.arange(77)[None]}  # in older files
    model = TextTransformer(99, 2, 64, 4).eval()
    model.load_state_dict(published_names(weights | places))
    tokens, _own = texts()
    with torch.inference_mode():
        found, expected = model.features(tokens), reference(tokens).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_whole_clip_loads_by_the_names_of_transformers():
    config = CLIPConfig(
        text_config={
            "vocab_size": 99,
            "hidden_size": 64,
            "intermediate_size": 256,
            "eos_token_id": 98,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "bos_token_id": 97,
        },
        vision_config={
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 16,
        },
        projection_dim=48,
    )
    reference = moved(CLIPModel(config))
    model = CLIP(3, 64, (2,), 128, 16, 99, (2, 64, 4), 48, quick=True).eval()
    model.load_state_dict(published_names(reference.state_dict()))
    image, (tokens, own) = torch.randn(3, 3, 64, 64), texts()
    with torch.inference_mode():
        expected = reference(input_ids=tokens, pixel_values=image)
        images, words = (torch.nn.functional.normalize(part, dim=-1) for part in (model.image(image), model.text(own)))
    torch.testing.assert_close(images, expected.image_embeds, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(words, expected.text_embeds, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [1, 8, 28, 33, 64])
@pytest.mark.parametrize("name", SMALL)
def test_pictures_of_any_side_are_seen(name, side):
    model = CLIP(1, side, *SMALL[name][1], 99, (1, 64, 1), 48).eval()
    assert model.image(torch.randn(2, 1, side, side)).shape == (2, 48)


def points(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def test_the_loss_is_that_of_open_clip_where_all_captions_differ():
    torch.manual_seed(0)
    image, text, scale = points(6, 8), points(6, 8), torch.tensor(9.0)
    own = torch.eye(6, dtype=torch.bool)
    expected = ClipLoss()(image, text, scale)
    torch.testing.assert_close(clip.contrast(image, text, scale, own), expected)


def test_equal_captions_do_not_compete():
    """Else both pictures of "a red bird" would be driven apart for nothing."""
    torch.manual_seed(0)
    tokens = torch.tensor([[1, 2, PAD], [3, 4, 5], [1, 2, PAD]])
    same = clip.equal(tokens)
    assert same.tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    image, text, scale = points(3, 8), points(3, 8), torch.tensor(9.0)
    text[2] = text[0]
    logits = scale * image @ text.T
    pairs = [logits[[0, 1]][:, [0, 1]], logits[[1, 2]][:, [1, 2]]]
    rows = [pairs[0][0], pairs[1][1], logits[1]]  # the middle one competes with both
    columns = [pairs[0][:, 0], pairs[1][:, 1], logits[:, 1]]
    places = [0, 1, 1]
    losses = [
        -part.log_softmax(0)[place] for parts in (rows, columns) for part, place in zip(parts, places, strict=True)
    ]
    found = clip.contrast(image, text, scale, same)
    torch.testing.assert_close(found, torch.stack(losses).mean())


def small(channels=3, side=32):
    torch.manual_seed(0)
    words = Tokenizer.learn(["a red bird on grass"] * 9, 300)
    spec = Spec(channels, side, words.packed(), len(words))
    return clip.CLIP(clip.CLIP.SIZES["tiny"], spec).eval()


def test_the_tables_show_the_published_sizes_as_they_are():
    spec = registry.load_task("match").example(clip.CLIP, "rn50")
    assert spec == Spec(3, 224, "", 49_408)
    with torch.device("meta"):
        model = clip.CLIP(clip.CLIP.SIZES["rn50"], spec)
    assert sum(weight.numel() for weight in model.parameters()) == 102_007_137


def test_the_temperature_has_a_bound():
    model = small()
    assert model.scale.item() == pytest.approx(1 / 0.07)
    model.network.logit_scale.data.fill_(50.0)
    assert model.scale.item() == pytest.approx(100)


def test_the_temperature_learns():
    model = small()
    captions = [(Caption("a red bird", "en"),), (Caption("grass", "en"),)]
    before = model.scale.item()
    model.loss(Batch(torch.randn(2, 3, 32, 32), captions)).backward()
    model.optimizers()["model"].step()
    assert model.scale.item() != before


@torch.inference_mode()
def test_points_have_length_1():
    model = small()
    images, sentences = torch.randn(5, 3, 32, 32), model.tokens(["a red bird", "grass"])
    for points in model.see(images), model.read(sentences):
        torch.testing.assert_close(points.norm(dim=1), torch.ones(len(points)))


@torch.inference_mode()
def test_of_several_captions_each_is_drawn_at_times():
    model, read = small(), []
    plain = model.tokens
    model.tokens = lambda texts: read.append(texts) or plain(texts)
    said = ("a red bird", "a bird on grass", "a red bird on grass")
    captions = [tuple(Caption(text, "en") for text in said), (Caption("grass", "en"),)]
    for _step in range(30):
        model.loss(Batch(torch.zeros(2, 3, 32, 32), captions))
    assert {first for first, _second in read} == set(said)
    assert {second for _first, second in read} == {"grass"}


def test_gains_biases_and_the_temperature_do_not_decay():
    model = small()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    model.optimizers()["model"].step()
    for name, weight in model.named_parameters():
        kept = 1 - 0.1 * model.config.rate if weight.ndim > 1 else 1
        torch.testing.assert_close(weight.detach(), kept * before[name], rtol=1e-6, atol=0)


def test_capital_letters_and_what_follows_the_end_change_nothing():
    model = small()
    with torch.inference_mode():
        one = model.read(model.tokens(["a red bird", "a red bird on grass and more of it"]))
        other = model.read(model.tokens(["A Red BIRD"]))
    torch.testing.assert_close(one[:1], other)
    assert model.tokens(["word " * 200]).shape == (1, 77)
    assert model.tokens(["", "é☕"]).shape[0] == 2


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_normalised_as_the_published_networks_saw_them(channels):
    model = small(channels)
    given = []
    model.network.image = lambda image: given.append(image) or torch.ones(1, 4)
    model.see(torch.zeros(1, channels, 32, 32))  # the middle grey
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    expected = [(0.5 - m) / s for m, s in zip(mean, std, strict=True)]
    if channels == 1:
        expected = [(0.5 - np.mean(mean)) / np.mean(std)]
    assert given[0].mean((0, 2, 3)).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_pipeline_gives_each_label_its_share():
    system = small()
    names = ["red bird", "blue fish"]
    image = Image.fromarray(np.full((32, 32, 3), 99, np.uint8))
    found = answers.matched(system, image, candidate_labels=names)
    with torch.inference_mode():
        seen = system.see(torch.full((1, 3, 32, 32), 99 / 127.5 - 1))
        read = system.read(system.tokens([f"This is a photo of {name}." for name in names]))
        shares = (system.scale * seen @ read.T)[0].softmax(0).tolist()
    assert {row["label"]: row["score"] for row in found} == pytest.approx(dict(zip(names, shares, strict=True)))
    assert found[0]["score"] > found[1]["score"]
    with pytest.raises(UserError, match="no labels"):
        answers.matched(system, image)


SAYINGS = (
    "a photo of a cat",
    "A  Red Bird's 12 wings!!",
    "鳥が二羽",
    "naïve café ☕",
    "don't 3.14 a_b",
    "<|endoftext|> x",
    "a" * 50,
    "word " * 99,
    "",
)
NARROW = clip.Config((2,), 64, 32, (1, 64, 1), 48, quick=True)
FEW = {"context_length": 77, "vocab_size": 49_408, "width": 64, "heads": 1, "layers": 1}
EYES = {"layers": 2, "width": 64, "patch_size": 32, "image_size": 224}


@pytest.fixture(scope="module")
def reference():
    """open_clip's network of few weights, but of the published side and tokens."""
    torch.manual_seed(0)
    return moved(OpenCLIP(48, EYES, FEW, quick_gelu=True))


@pytest.fixture
def folder(tmp_path, monkeypatch, reference):
    """Its weights as open_clip publishes them; ``clip_vit_b_32`` is as narrow meanwhile."""
    monkeypatch.setitem(clip.CLIP.SIZES, "vit_b_32", NARROW)
    monkeypatch.setenv("SOURON_WEIGHTS", str(tmp_path))
    folder = tmp_path / "vit_base_patch32_clip_224.openai"
    folder.mkdir()
    shutil.copy(default_bpe(), folder / clip_weights.MERGES)
    save_file(reference.state_dict(), folder / weights.OPEN_CLIP)
    return folder


@pytest.fixture
def photo(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    Image.fromarray(noise).resize((300, 300)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_texts_become_the_tokens_of_open_clip(folder):
    reference = SimpleTokenizer()
    (folder / "config.json").write_text(json.dumps({"hidden_act": "gelu"}))
    model = clip_weights.system("clip_vit_b_32")
    assert NARROW.quick and not model.config.quick  # as the file beside the weights says
    own = clip_weights.tokenizer(folder)
    assert all(own.encode(text) == reference.encode(text) for text in SAYINGS)
    expected = reference(list(SAYINGS))
    found = model.tokens(SAYINGS)
    assert found.shape == (len(SAYINGS), 77)
    assert torch.equal(found.clamp(min=0), expected)


@pytest.mark.parametrize("files", [("tokenizer.json",), ("vocab.json", "merges.txt")])
def test_a_tokenizer_is_read_in_every_form_that_is_published(folder, tmp_path, files):
    first = clip_weights.tokenizer(folder)
    told = json.loads(first.backend.to_str())
    other = tmp_path / "other" / "tokenizer"  # where Stable Diffusion has it
    other.mkdir(parents=True)
    if files == ("tokenizer.json",):
        (other / files[0]).write_text(first.backend.to_str(), encoding="utf-8")
    else:
        merges = ["#version: 0.2", *(" ".join(pair) for pair in told["model"]["merges"])]
        (other / "vocab.json").write_text(json.dumps(told["model"]["vocab"]), encoding="utf-8")
        (other / "merges.txt").write_text("\n".join(merges), encoding="utf-8")
    second = clip_weights.tokenizer(tmp_path / "other")
    assert [second.encode(text) for text in SAYINGS] == [first.encode(text) for text in SAYINGS]
    assert (second.start, second.end) == (first.start, first.end) == (49_406, (49_407,))


def test_a_published_clip_ranks_texts_as_open_clip_does(folder, photo, reference, capsys):
    texts = ["a cat", "a dog", "二羽の鳥"]
    change = open_clip.image_transform(224, is_train=False)
    with torch.inference_mode():
        seen = reference.encode_image(change(Image.open(photo))[None], normalize=True)
        read = reference.encode_text(SimpleTokenizer()(texts), normalize=True)
    expected = dict(zip(texts, (seen @ read.T)[0].tolist(), strict=True))

    ranking = model.load("clip_vit_b_32")(photo, texts="|".join(texts))
    for scored in ranking.texts:
        assert scored.score == pytest.approx(expected[scored.text], abs=1e-4)
    wide = Image.new("RGB", (600, 300))  # of which half is seen, at the same pixels once it is smaller
    wide.paste(Image.open(photo), (150, 0))
    wide.save(photo)
    again = model.load("clip_vit_b_32")(photo, texts="|".join(texts))
    assert [s.score for s in again.texts] == pytest.approx([s.score for s in ranking.texts], abs=2e-3)
    words = ["predict", "clip_vit_b_32", str(photo), f"texts={'|'.join(texts)}", "--json"]
    assert run([*words, f"pretrained={folder}"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["text"] for row in told["ranking"]] == [scored.text for scored in ranking.texts]


@pytest.mark.parametrize("sort", ["a file", "half precision", "a training's checkpoint"])
def test_weights_load_from_every_form_of_file(folder, tmp_path, reference, sort):
    state = reference.state_dict()
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder / clip_weights.MERGES, other)
    file = other / "mine.safetensors"
    if sort == "a file":
        shutil.copy(folder / weights.OPEN_CLIP, file)
    elif sort == "half precision":
        half = {name: tensor.half() for name, tensor in state.items()}
        save_file(half, file := other / "model.safetensors")
        state = {name: tensor.float() for name, tensor in half.items()}
    else:
        held = {"epoch": 3, "state_dict": {f"module.{n}": t for n, t in state.items()}}
        torch.save(held, file := other / "open_clip_pytorch_model.bin")
    for place in (file, other):
        found = clip_weights.read(place).weights
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], state[name]) for name in state)


def test_the_configuration_beside_the_weights_says_which_gelu_they_want(folder):
    def wanted(name="", told=""):
        if name:
            (folder / name).write_text(told)
        return clip_weights.read(folder).quick

    assert wanted() is None  # as the size says
    assert wanted("config.json", json.dumps({"text_config": {"hidden_act": "gelu"}})) is False
    assert wanted("config.json", json.dumps({"hidden_act": "quick_gelu"})) is True
    assert wanted("open_clip_config.json", json.dumps({"model_cfg": {"embed_dim": 48}})) is False
    assert wanted("open_clip_config.json", "[") is None  # damaged


def refused(path):
    with pytest.raises(UserError) as trouble:
        model.load("clip_vit_b_32", pretrained=str(path))
    assert trouble.value.exit in (3, 4)
    return trouble.value


def test_what_is_no_clip_says_why(folder, tmp_path, reference):
    missing = refused(tmp_path / "nothing")
    assert "no weights at" in missing.found and weights.OPEN_CLIP in missing.expected
    state = reference.state_dict()
    save_file({f"other.{n}": t for n, t in state.items()}, folder / weights.OPEN_CLIP)
    other = refused(folder)
    assert other.code == "other system" and "do not fit" in other.found
    (folder / weights.OPEN_CLIP).write_bytes(b"not it")
    assert refused(folder).code == "corrupt"
    save_file(state, folder / weights.OPEN_CLIP)
    (folder / clip_weights.MERGES).write_bytes(b"not it")
    assert "is no tokenizer" in refused(folder).found
    (folder / clip_weights.MERGES).unlink()
    assert "have no tokenizer beside them" in refused(folder).found


def test_openais_own_file_is_a_program_and_runs_nothing(tmp_path):
    class Own(torch.nn.Module):
        def forward(self, x):
            return x

    with pytest.warns(DeprecationWarning):
        torch.jit.script(Own()).save(str(tmp_path / "ViT-B-32.pt"))
    trouble = refused(tmp_path / "ViT-B-32.pt")
    assert "TorchScript" in trouble.found and "souron fetch clip_vit_b_32" in trouble.fix


def test_without_its_weights_the_name_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError) as trouble:
        model.load("clip_rn50")
    assert trouble.value.fix == "souron fetch clip_rn50"
    assert "resnet50_clip.openai/open_clip_model.safetensors" in trouble.value.expected
