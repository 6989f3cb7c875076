"""Workers that do not have the data get it, unless it is of patients or could be read on its way."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from test_engines import cluster_of_dask

from souron.data import parcels, splits
from souron.data.dataset import Dataset, ListColumn, content
from souron.engines import engine
from souron.runs.compare import compare
from souron.runs.elsewhere import sending
from souron.utils.messages import UserError

SYSTEMS = ["mlp_tiny", "cnn_tiny"]


def values(record):
    return [(row.system, row.value, row.low, row.high, row.seeds) for row in record.rows]


def plan_of(data):
    return splits.plan(data, 2, 1, curve=0)


@pytest.fixture
def few(digits):
    """Digits with names that identify people."""
    some = digits.only(digits.target.argsort(stable=True)[::8])  # of all classes
    names = [f"Ann Example {i // 2}" for i in range(len(some))]
    files = [f"Ann Example {i}.png" for i in range(len(some))]
    return replace(some, part=(), group=names, file=files, columns={"sex": names})


def returned(data, plan):
    written = parcels.pack(data, plan)
    key = parcels.key_of(written)
    assert parcels.lacks(key)
    parcels.keep(key, written)
    assert not parcels.lacks(key)
    return written, *parcels.read(key)


def test_a_parcel_holds_the_cases_and_their_splits_but_no_names(few):
    plan = plan_of(few)
    written, data, again = returned(few, plan)
    assert content(data) == content(few) and data.classes == few.classes and data.augment == few.augment
    assert b"Ann" not in written and not data.columns
    assert [data.group.index(name) for name in data.group] == [few.group.index(name) for name in few.group]
    assert len(again.repeats) == 1 and len(again.repeats[0]) == 2
    for one, other in zip([plan.kept, *plan.repeats[0]], [again.kept, *again.repeats[0]], strict=True):
        assert all(torch.equal(getattr(one, part), getattr(other, part)) for part in ("train", "val", "test"))


def test_grey_images_in_three_channels_are_packed_once(few):
    plan = plan_of(few)
    colour = replace(few, input=few.input.expand(-1, 3, -1, -1))
    written, data, _plan = returned(colour, plan)
    assert torch.equal(data.input, colour.input) and data.stored.shape[1] == 1
    assert len(written) < len(parcels.pack(few, plan)) + 100


def test_texts_and_tensors_of_different_shapes_are_packed():
    data = Dataset(
        "letters",
        ListColumn(["one", "two", "three", "four"]),
        ListColumn([torch.arange(n) for n in range(4)]),
        ("a", "b"),
        file="abcd",
        columns={"language": ["en", "de", "en", "de"]},
    )
    _written, again, _plan = returned(data, splits.Plan(splits.everything(data), []))
    assert content(again) == content(data) and list(again.input) == list(data.input)
    assert again.columns == data.columns


def test_other_kinds_and_large_data_are_not_packed(few, monkeypatch):
    pairs = replace(few, target=ListColumn([(torch.zeros(1), "a")] * len(few)))
    with pytest.raises(UserError, match="tuple"):
        parcels.pack(pairs, plan_of(few))
    monkeypatch.setattr(parcels, "MOST", 2**11)
    with pytest.raises(UserError, match="MB") as trouble:
        parcels.pack(few, plan_of(few))
    assert trouble.value.code == "send" and trouble.value.fix


def test_a_parcel_that_was_changed_is_refused(few):
    written = parcels.pack(few, plan_of(few))
    key = parcels.key_of(written)
    changed = written[:-1] + bytes([written[-1] ^ 1])
    with pytest.raises(UserError, match="not what was sent"):
        parcels.keep(key, changed)
    assert parcels.lacks(key)
    parcels.keep(key, written)
    parcels.file_of(key).write_bytes(changed)
    with pytest.raises(UserError, match="not what was sent"):
        parcels.read(key)
    parcels.file_of(key).unlink()
    with pytest.raises(UserError, match="was not sent to this computer"):
        parcels.read(key)


def test_few_parcels_stay(monkeypatch):
    monkeypatch.setattr(parcels, "KEPT", 2)
    for number in range(4):
        written = bytes([number])
        parcels.keep(parcels.key_of(written), written)
    assert len(list(parcels.file_of("0" * 32).parent.iterdir())) == 2


@pytest.mark.parametrize("on", ["dask://192.168.0.10:8786", "dask:tcp://desk:8786", "slurm:local"])
def test_nothing_is_sent_that_others_could_read(on):
    pytest.importorskip({"dask": "distributed", "slurm": "submitit"}[on.partition(":")[0]])
    with pytest.raises(UserError, match="others in the network can read") as trouble:
        compare(SYSTEMS, "digits", on=on, send="true", seeds=1)
    assert trouble.value.code == "send" and "tls" in trouble.value.fix


@pytest.mark.parametrize(
    "on", ["processes:2", "dask:tls://192.168.0.10:8786", "dask://127.0.0.1:8786", "dask:tcp://localhost:1"]
)
def test_encrypted_connections_and_this_computer_are_private(on):
    if on.startswith("dask"):
        pytest.importorskip("distributed")
    assert sending.wish(True, on) == "true" and sending.wish("patients", on) == "patients"
    assert sending.wish(None, on) == sending.wish("false", on) == ""


def test_a_wish_that_means_nothing_is_refused():
    with pytest.raises(UserError, match="send=everything"):
        sending.wish("everything", "processes:2")
    with pytest.raises(UserError, match="without on="):
        sending.wish("true", None)


def test_workers_that_others_could_listen_to_get_nothing():
    dask = pytest.importorskip("souron.engines.dask")
    run = []

    def client(scheduler, worker):
        def call(function, *given, **chosen):
            run.append(function)
            return {worker: True}

        return SimpleNamespace(scheduler_info=lambda: {"address": scheduler}, run=call)

    here, there = "tcp://127.0.0.1:1", "tcp://192.168.0.11:2"
    delivery = engine.Delivery("key", b"", parcels.lacks, parcels.keep)
    for pair in ((here, there), (there, here)):
        with pytest.raises(UserError, match="others in the network"):
            dask.delivered(client(*pair), delivery, None)
    assert parcels.keep not in run
    assert dask.delivered(client("tls://192.168.0.10:1", "tls://192.168.0.11:2"), delivery, None) == ["192.168.0.11"]
    assert run[-1] is parcels.keep


def test_data_of_patients_need_a_word_of_their_own(few):
    def comparison(data):
        return SimpleNamespace(everything=data, plan=plan_of(few))

    for data in (few, replace(few, group=(), question="Is p1 a patient?")):
        with pytest.raises(UserError, match="data of patients") as trouble:
            sending.delivery(comparison(data), "true")
        assert trouble.value.code == "send" and "send=patients" in trouble.value.expected
        assert sending.delivery(comparison(data), "patients").content
    assert sending.delivery(comparison(replace(few, group=())), "true").content
    assert sending.delivery(comparison(few), "") is None


def test_workers_without_the_data_get_it_once(photos, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    options = {"budget": "200ex", "seeds": 2, "folds": 2, "group": "none"}
    (tmp_path / "elsewhere").mkdir()
    received = tmp_path / "elsewhere" / "cache" / "received"
    with monkeypatch.context() as other:
        other.setenv("SOURON_CACHE", str(received.parent))
        with cluster_of_dask(tmp_path / "elsewhere") as (address, _processes):
            on = f"dask://{address}"
            other.setenv("SOURON_CACHE", str(tmp_path / "cache"))
            with pytest.raises(UserError, match="neither a data set"):
                compare(SYSTEMS, photos.name, on=on, **options)
            found = compare(SYSTEMS, photos.name, on=on, send="true", **options)
            [file] = received.iterdir()
            before = file.stat().st_mtime_ns
            compare(["mlp_tiny"], photos.name, on=on, send="true", **{**options, "budget": "100ex"})
            assert [file] == list(received.iterdir()) and file.stat().st_mtime_ns == before
    assert values(found) == values(compare(SYSTEMS, photos.name, **options))
    assert not (tmp_path / "cache" / "received").exists()


def test_processes_read_what_was_sent(photos):
    options = {"budget": "200ex", "seeds": 2, "folds": 1, "group": "none"}
    found = compare(SYSTEMS, str(photos), on="processes:1", send="true", **options)
    assert values(found) == values(compare(SYSTEMS, str(photos), **options))
    assert len(list(parcels.file_of("0" * 32).parent.iterdir())) == 1
