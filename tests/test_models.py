"""Open language models: the table, what files say of themselves, damaged and hostile files."""

import json
import socket
import struct

import gguf
import numpy as np
import pytest

from souron.cli import main
from souron.hub import model_table, open_models
from souron.hub.model_table import IN_FILE, Row
from souron.utils.messages import UserError

POISON = "{{ cycler.__init__.__globals__.os.system('touch poisoned') }}"


def small(path, template="{{ messages[0].content }}", licence="cc-by-nc-4.0"):
    """A Llama of one layer."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("Tiny One")
    writer.add_license(licence)
    writer.add_languages(["ja", "en"])
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(16)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_chat_template(template)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "ab"])
    writer.add_token_merges(["a b"])
    writer.add_token_types([1, 1, 1])
    writer.add_tensor("token_embd.weight", np.zeros((3, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(model_table, "PROBE", 0.01)
    model_table.bandwidth.cache_clear()
    monkeypatch.setattr(model_table.fetch, "where", lambda name: None)  # reading it takes seconds


def test_the_table_says_where_each_cell_stands():
    rows = model_table.published()
    assert len({row.name for row in rows}) == len(rows)
    assert sum(row.year >= 2024 for row in rows) >= 20 and sum(row.year < 2024 for row in rows) >= 9
    for row in rows:
        assert (row.parameters > 0 or row.licence == "closed") and row.licence and row.languages, row.name
        assert {row.commercial, row.safety} <= set(model_table.WORDS), row.name
        assert all(page.startswith("https://") for page in (row.page, *row.at.values())), row.name
        told = model_table.commercial(row.licence)
        assert told == row.commercial, row.name
        assert model_table.says(row.licence), row.name


def test_seven_billion_parameters_write_five_tokens_a_second():
    """20 GB a second come from the memory of the laptop in question."""
    row = Row("seven", parameters=7.0)
    assert row.tokens_per_second(20e9) == pytest.approx(5, abs=0.2)
    experts = Row("experts", parameters=30.0, active=3.0)
    assert experts.tokens_per_second(20e9) > 10 and experts.memory > 20e9


def test_one_that_does_not_fit_says_what_does():
    told = model_table.forecast(Row("seven", parameters=7.0), 20e9, 3e9)
    assert "does not fit" in told and "4.4 billion" in told and "8.0 tokens a second" in told
    assert "does not fit" not in model_table.forecast(Row("seven", parameters=7.0), 20e9, 9e9)


def test_a_files_own_metadata_goes_first(tmp_path):
    row = model_table.described(small(tmp_path / "Qwen3-0.6B-Q8_0.gguf"))
    assert row.licence == "cc-by-nc-4.0" and row.commercial == "no"
    assert row.context == 64 and row.languages == ("ja", "en") and row.parameters == 24e-9
    assert row.source("licence") == row.source("context") == IN_FILE
    assert row.year == 2025 and row.source("year").startswith("https://"), "of the file's name"


def test_a_file_is_read_once(tmp_path, monkeypatch):
    file = small(tmp_path / "one.gguf")
    first = open_models.glance(file)
    monkeypatch.setattr(open_models, "describe", None)
    assert open_models.glance(file) == first
    small(file, licence="mit")
    with pytest.raises(TypeError):
        open_models.glance(file)


def test_all_about_one_file(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", None)
    small(tmp_path / "one.gguf", POISON)
    assert main.run(["models", "one.gguf"]) == 0
    out, err = capsys.readouterr()
    assert "8192 tokens" not in out + err
    assert main.run(["models", "Qwen3-1.7B"]) == 0
    assert "at most 8192 tokens of its context" in capsys.readouterr().err
    assert POISON in out and "Not for commercial use" in err
    assert not (tmp_path / "poisoned").exists()
    assert main.run(["models", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    own = next(row for row in first if row["path"] and row["path"].endswith("one.gguf"))
    assert own["sources"]["licence"] == IN_FILE and own["context"] == 64
    assert any(row["name"] == "Qwen3-1.7B" for row in first)


def damaged(kind, folder):
    """A file or folder that is no model."""
    path = small(folder / "good.gguf")
    raw = path.read_bytes()
    path.unlink()
    path = folder / "bad.gguf"
    if kind == "truncated":
        path.write_bytes(raw[: len(raw) // 2])
    elif kind == "big-endian":
        path.write_bytes(b"GGUF" + struct.pack(">I", 3) + raw[8:])
    elif kind == "huge":
        path.write_bytes(raw[:8] + struct.pack("<QQ", 2**60, 2**60) + raw[24:])
    elif kind in ("long list", "long texts"):  # of numbers, or of texts
        item, claim = (0, 2**40) if kind == "long list" else (8, 2**40)
        key = struct.pack("<Q", 3) + b"abc" + struct.pack("<IIQ", 9, item, claim)
        path.write_bytes(raw[:8] + struct.pack("<QQ", 0, 1) + key + b"\0" * 14)
        assert path.stat().st_size < 70
    elif kind == "pickle":
        path.write_bytes(b"\x80\x04\x95" + b"\0" * 40)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickled folder":
        path.mkdir()
        (path / "config.json").write_text('{"model_type": "llama"}')
        (path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    return path


KINDS = ("truncated", "big-endian", "huge", "long list", "long texts", "pickle", "empty", "pickled folder")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_model_is_told(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = damaged(kind, tmp_path)
    assert main.run(["models", str(path)]) == 3
    assert "is no language model" in capsys.readouterr().err
    assert main.run(["models", "--json"]) == 0
    told = capsys.readouterr()
    assert "bad.gguf" in told.err and "Qwen3-1.7B" in told.out
    (tmp_path / "q.txt").write_text("Why?")
    assert main.run(["arena", str(path), str(path), "q.txt"]) == 3
    assert "is no language model" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_folder_without_tokenizer_is_told(tmp_path):
    from safetensors.numpy import save_file

    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    weights = {"model.embed_tokens.weight": np.zeros((3, 8), np.float32)}
    save_file(weights, str(tmp_path / "model.safetensors"))
    assert model_table.described(tmp_path).context == 64
    with pytest.raises(UserError, match="is no tokenizer"):
        open_models.load(str(tmp_path))


CONFIG = {
    "model_type": "llama",
    "vocab_size": 3,
    "num_hidden_layers": 0,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "tie_word_embeddings": True,
    "max_position_embeddings": 64,
}


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 10**9, "model_type": "qwen3"},
        {"text_config": {"num_hidden_layers": 10**9}},
        {"vocab_size": 10**12},
        {"num_hidden_layers": -1},
        {"num_attention_heads": 3},
        {"num_key_value_heads": 5},
        {"num_attention_heads": 8},
        {"vocab_size": "many"},
        {"hidden_size": None},
        {"max_position_embeddings": 0},
        {"rope_theta": -1.0},
    ],
)
def test_sizes_that_its_weights_cannot_have_are_told(change, tmp_path):
    from safetensors.numpy import save_file

    (tmp_path / "config.json").write_text(json.dumps(CONFIG | change))
    (tmp_path / "tokenizer.json").write_text("{}")
    weights = {"model.embed_tokens.weight": np.zeros((3, 8), np.float32)}
    save_file(weights, str(tmp_path / "model.safetensors"))
    for opened in (open_models.describe, open_models.structure_by, open_models.load_any):
        with pytest.raises(UserError, match="is no language model"):
            opened(tmp_path if opened is open_models.describe else str(tmp_path))


def test_an_unknown_name_is_told(capsys):
    assert main.run(["models", "qwen3-1.7"]) == 3
    assert "Qwen3-1.7B" in capsys.readouterr().err
