"""CLIP: its two encoders beside open_clip's and transformers', and what learns with them."""

import pytest
import torch
from open_clip.model import CLIP as OpenCLIP
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel

from souron.blocks.clip import CLIP, PAD, TextTransformer, published_names

PUBLISHED = {  # open_clip's configuration of the pictures' network -> ours, size of the space
    "rn50": ({"layers": [3, 4, 6, 3], "width": 64}, ((3, 4, 6, 3), 64, 0), 1024),
    "vit_b_32": ({"layers": 12, "width": 768, "patch_size": 32}, ((12,), 768, 32), 512),
}
COUNTS = {"rn50": (489, 102.01), "vit_b_32": (302, 151.28)}  # tensors, million weights
TEXT = {"context_length": 77, "vocab_size": 99, "width": 64, "heads": 4, "layers": 2}
SMALL = {  # the same of few weights; the ResNet's stem pools from 128 pixels on
    "rn50": ({"layers": [1, 2, 1, 1], "width": 16, "image_size": 128}, ((1, 2, 1, 1), 16, 0)),
    "vit_b_32": (
        {"layers": 2, "width": 128, "patch_size": 16, "image_size": 64},
        ((2,), 128, 16),
    ),
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
        vocab_size=99, hidden_size=64, intermediate_size=256, num_hidden_layers=2,
        num_attention_heads=4, bos_token_id=97, eos_token_id=98, pad_token_id=0,
    )  # fmt: skip
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
            "vocab_size": 99, "hidden_size": 64, "intermediate_size": 256, "eos_token_id": 98,
            "num_hidden_layers": 2, "num_attention_heads": 4, "bos_token_id": 97,
        },
        vision_config={
            "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 64, "patch_size": 16,
        },
        projection_dim=48,
    )  # fmt: skip
    reference = moved(CLIPModel(config))
    model = CLIP(3, 64, (2,), 128, 16, 99, (2, 64, 4), 48, quick=True).eval()
    model.load_state_dict(published_names(reference.state_dict()))
    image, (tokens, own) = torch.randn(3, 3, 64, 64), texts()
    with torch.inference_mode():
        expected = reference(input_ids=tokens, pixel_values=image)
        pictures, words = (
            torch.nn.functional.normalize(part, dim=-1)
            for part in (model.image(image), model.text(own))
        )
    torch.testing.assert_close(pictures, expected.image_embeds, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(words, expected.text_embeds, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [1, 8, 28, 33, 64])
@pytest.mark.parametrize("name", SMALL)
def test_pictures_of_any_side_are_seen(name, side):
    model = CLIP(1, side, *SMALL[name][1], 99, (1, 64, 1), 48).eval()
    assert model.image(torch.randn(2, 1, side, side)).shape == (2, 48)
