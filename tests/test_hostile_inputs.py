"""Files that nobody writes by mistake: refused within moments, with a reason, and never as a fault of souron."""

import io
import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from souron.data import prediction_table
from souron.data.formats import coco_panoptic, vectors
from souron.data.language.tokenizer import Tokenizer
from souron.hub import open_models, weights, zoo
from souron.hub.formats import gguf_head
from souron.kinds.codecs import dicom, image, moving
from souron.runs import datasheet
from souron.runs import folder as run_folder
from souron.utils.messages import UserError


def refused(function, *given):
    with pytest.raises(UserError) as trouble:
        function(*given)
    return trouble.value


def test_a_table_of_very_many_columns_is_refused_by_its_heading(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_table, "key_of", None)  # no name is looked at
    names = [f"m{i}" for i in range(prediction_table.MOST_COLUMNS + 1)]
    (tmp_path / "a.csv").write_text(",".join(names) + "\n", encoding="utf-8")
    for function, given in (
        (prediction_table.columns_of, tmp_path / "a.csv"),
        (prediction_table.columns_from, dict.fromkeys(names, (1,))),
    ):
        error = refused(function, given)
        assert error.code == "too large" and "20,001" in error.found and "20,000" in error.expected


def test_a_method_is_told_from_the_others_where_there_are_many():
    names = ["case", "method", *(f"prediction:{i}" for i in range(5)), "comment"]
    roles = dict(prediction_table.roles_of(names))
    assert [roles[name] for name in names] == ["case", "method", *["prediction"] * 5, "unused"]


def test_texts_of_a_gguf_count_as_what_they_cost(tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_head, "MOST_ITEMS", 29)  # five texts are more
    head = b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (1).to_bytes(8, "little")

    def check(texts):
        count = texts.to_bytes(8, "little")
        value = (9).to_bytes(4, "little") + (8).to_bytes(4, "little") + count + bytes(8 * texts)
        (tmp_path / "a.gguf").write_bytes(head + (6).to_bytes(8, "little") + b"tokens" + value)
        gguf_head.check(tmp_path / "a.gguf")

    check(4)
    with pytest.raises(ValueError, match="29 items"):
        check(5)


def test_very_many_segments_of_an_image_are_left_out_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(coco_panoptic, "MOST_SEGMENTS", 3)
    monkeypatch.setattr(coco_panoptic, "_segments", None)  # none of them is looked at
    entry = {"image_id": 1, "file_name": "1.png", "segments_info": [{"id": i} for i in range(1, 5)]}
    about = {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [entry]}
    told = []
    assert not list(coco_panoptic._listed(about, tmp_path / "a.json", tmp_path, {}, {}, told))
    assert (told[0].code, told[0].reason) == ("too many", "4 segments")


def test_an_image_of_comments_is_refused_before_they_are_read(tmp_path, monkeypatch):
    for comment in (b"a", b"a" * 70_000):
        (tmp_path / "a.ppm").write_bytes(b"P6\n#" + comment + b"\n2 1 255\n" + bytes(6))
        if len(comment) == 1:
            assert image.read(tmp_path / "a.ppm").size == (2, 1)
    monkeypatch.setattr(image.Image, "open", None)  # Pillow does not see it
    assert refused(image.read, tmp_path / "a.ppm").found.endswith("its header is too long")


@pytest.mark.parametrize("head", ["((((", "{" * 50, "'", "9" * 5_000])
def test_an_array_whose_head_is_no_head_is_refused(tmp_path, head):
    text = head.encode() + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    assert refused(vectors.load, tmp_path / "a.npy").exit == 3


def test_a_tokenizer_that_panics_is_refused(tmp_path, capfd):
    about = {
        "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": "CAAAAP///38="},
        "added_tokens": [],
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(about), encoding="utf-8")
    assert refused(Tokenizer.of_file, tmp_path / "tokenizer.json").code == "tokenizer"


def test_a_merge_outside_of_the_vocabulary_is_refused(tmp_path, monkeypatch):
    held = {"model": "gpt2", "pre": "gpt-2", "tokens": ["a", "b"], "token_type": [1, 1], "merges": ["a z"]}
    fields = {
        f"tokenizer.ggml.{key}": SimpleNamespace(contents=lambda value=value: value) for key, value in held.items()
    }
    monkeypatch.setattr(open_models, "_gguf", lambda path: SimpleNamespace(fields=fields))
    error = refused(open_models._tokenizer_of_gguf, tmp_path / "a.gguf", SimpleNamespace(template=""))
    assert error.code == "model" and "z" in error.found


SEEN = {"labels": ["a", "b"], "channels": 1, "side": 8}


@pytest.mark.parametrize(
    "change",
    [{"labels": [["a"], "b"]}, {"labels": "ab"}, {"side": 10**9}, {"side": "8"}, {"channels": [1]}, {"mean": [None]}],
)
def test_arguments_of_another_type_are_refused(change):
    args = {"system": "mlp_tiny", "config": {}, "seen": SEEN}
    assert run_folder.spec_of(args, "classify").labels == ("a", "b")
    assert refused(run_folder.spec_of, {**args, "seen": {**SEEN, **change}}, "classify").code == "not a run"


def test_a_network_that_no_memory_holds_is_refused():
    args = {"system": "mlp_tiny", "config": {}, "seen": {**SEEN, "side": 65_536, "channels": 10**9}}
    assert refused(run_folder.build, args).code == "not a run"


def test_a_receipt_of_brackets_alone_is_none(tmp_path):
    (tmp_path / "receipt.json").write_text("[" * 200_000, encoding="utf-8")
    assert zoo.receipt(tmp_path) == {} and run_folder.changed(tmp_path) == ""
    assert refused(datasheet._receipt, tmp_path).exit == 3


@pytest.mark.parametrize("parser", ["CSafeLoader", "SafeLoader"])
def test_arguments_nested_very_deeply_are_refused(parser, tmp_path, monkeypatch):
    monkeypatch.setattr(yaml, "CSafeLoader", getattr(yaml, parser, yaml.SafeLoader), raising=False)
    deep = "- " * 200_000
    (tmp_path / "args.yaml").write_text(deep, encoding="utf-8")
    (tmp_path / "README.md").write_text(f"---\n{deep}\n---\n", encoding="utf-8")
    error = refused(run_folder.read_args, tmp_path)
    assert error.code == "not a run" and "nest" in error.found
    assert open_models._front_matter(tmp_path / "README.md") == {}


@pytest.mark.parametrize("address", ["ucx://1", "http://127.0.0.1:1"])
def test_another_protocol_than_those_of_dask_is_refused(address):
    dask = pytest.importorskip("souron.engines.dask")
    assert refused(dask.is_private, address).code == "engine"
    assert dask.whole("127.0.0.1:1") == "tcp://127.0.0.1:1" and dask.whole("tls://a:1") == "tls://a:1"


def test_a_video_whose_brand_is_no_text_is_read(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    with moving.Writer(path, 10) as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8))
    raw = path.read_bytes()
    assert raw[4:8] == b"ftyp"
    path.write_bytes(raw[:8] + b"\xff" * 4 + raw[12:])
    assert len(list(moving.frames(path))) == 1 and moving.count(path) == 1 and moving.length(path)


def test_refused_weights_come_without_advice_to_run_them(tmp_path):
    stream = io.BytesIO()
    torch.save({"a": SimpleNamespace()}, stream)
    (tmp_path / "a.pth").write_bytes(stream.getvalue())
    error = refused(weights.read_weights, tmp_path / "a.pth")
    assert error.code == "corrupt" and "weights_only" not in error.found and "more than tensors" in error.found


def test_what_a_library_warns_of_stays_with_it(tmp_path):
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    held = Dataset()
    held.file_meta = FileMetaDataset()
    held.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    held.file_meta.MediaStorageSOPClassUID = held.file_meta.MediaStorageSOPInstanceUID = "1.2"
    held.BitsAllocated, held.PixelRepresentation = 8, 0
    held.Rows, held.Columns, held.PatientID, held.PixelData = 1, 2, "p1", b"\0\0"
    held.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    raw = (tmp_path / "a.dcm").read_bytes()
    place = raw.index(b"\x10\x00\x20\x00LO")
    damaged = raw[:place] + raw[place:].replace(b"LO", b"DS", 1).replace(b"p1", b"9x", 1)  # no number
    (tmp_path / "a.dcm").write_bytes(damaged)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        dicom.text(dicom.read(tmp_path / "a.dcm"), "PatientID")
        with dicom.translated(tmp_path / "a.dcm"):
            warnings.warn("/a/path/of/a/library.py: a value", stacklevel=1)
    assert not heard
