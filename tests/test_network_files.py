"""Networks in the files of other programs: their weights are read, whatever a file claims."""

import random

import convert
import network_files as made
import numpy as np
import pytest
import torch
from readers import graphs, onnx, tfjs, tflite
from readers.graphs import Refused

EXPECTED = torch.from_numpy(made.KERNEL.transpose(0, 3, 1, 2).copy())  # outputs, inputs, H, W


def check(held, name):
    assert set(held) == {f"{name}.weight", f"{name}.bias"}
    assert torch.equal(held[f"{name}.weight"], EXPECTED)
    assert torch.equal(held[f"{name}.bias"], torch.from_numpy(made.BIAS))


def refused(read, content, words=""):
    with pytest.raises(Refused) as trouble:
        read(content)
    assert words in str(trouble.value)


def test_each_format_gives_the_kernels_in_the_order_of_pytorch(tmp_path):
    check(tflite.weights(made.tflite()), "out")
    check(tflite.weights(made.tflite(half=False)), "out")
    check(tfjs.weights(made.tfjs(tmp_path)), "conv")
    check(onnx.weights(made.onnx()), "out")


def test_a_file_is_read_by_its_ending(tmp_path):
    (tmp_path / "a.tflite").write_bytes(made.tflite())
    (tmp_path / "a.onnx").write_bytes(made.onnx())
    check(convert.convolutions(tmp_path / "a.tflite"), "out")
    check(convert.convolutions(tmp_path / "a.onnx"), "out")
    check(convert.convolutions(made.tfjs(tmp_path)), "conv")
    assert convert.convolutions(tmp_path / "net.bin") == {}


def test_a_kernel_of_single_maps_has_its_outputs_first():
    depthwise = made.tflite(code=4, shape=(2, 2, 2, 3))
    weight = tflite.weights(made.tflite(code=4, shape=(1, 2, 6, 2)))["out.weight"]
    assert weight.shape == (2, 1, 2, 6)
    assert weight[1, 0, 0].tolist() == [1, 3, 5, 7, 9, 11]
    refused(tflite.weights, depthwise, "bias")  # three outputs, two numbers to add


@pytest.mark.parametrize("read, content", [(tflite.weights, made.tflite), (onnx.weights, made.onnx)])
def test_a_file_that_is_cut_anywhere_is_refused(read, content):
    whole = content()
    for end in range(len(whole)):
        try:
            held = read(whole[:end])
        except Refused:
            continue
        # an ONNX file may end after any of its fields: then there is less in it
        assert read is onnx.weights and not held


@pytest.mark.parametrize("read, content", [(tflite.weights, made.tflite), (onnx.weights, made.onnx)])
def test_changed_bytes_are_read_or_refused_and_nothing_else_happens(read, content):
    chance = random.Random(0)
    whole, refusals = content(), 0
    for _try in range(3000):
        changed = bytearray(whole)
        for _byte in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.choice([0, 1, 127, 128, 255])
        try:
            read(bytes(changed))
        except Refused:
            refusals += 1
    assert refusals > 300


def test_no_offset_leads_out_of_a_file():
    data = bytes(range(16))
    assert tflite._read(data, "B", 15) == 15
    for place in (-4, -1, 13, 16, 2**31):
        with pytest.raises(Refused):
            tflite._read(data, "I", place)
    behind = tflite.Table(b"\x10\0\0\0" + bytes(12), 0)  # its directory would begin before it
    with pytest.raises(Refused):
        behind.place(0)


def test_a_shape_that_does_not_fit_the_values_is_refused(tmp_path):
    for shape in ((2, 2, 2, 4), (2, 2, 2, 2), (-2, -2, 2, 3), (2**30, 2**30, 2, 3)):
        refused(tflite.weights, made.tflite(shape=shape))
        refused(onnx.weights, made.onnx(shape=[length % 2**64 for length in shape]))

        def lie(model, shape=shape):
            model["weightsManifest"][0]["weights"][0]["shape"] = list(shape)

        refused(tfjs.weights, made.tfjs(tmp_path, change=lie))
    refused(tflite.weights, made.tflite(shape=(2, 2, 6)), "3 axes")


def test_a_tensor_is_bounded_before_it_is_made():
    with pytest.raises(Refused, match="values"):
        graphs.volume((graphs.MOST_VALUES, 2))
    with pytest.raises(Refused):
        graphs.volume((1,) * (graphs.MOST_AXES + 1))
    assert graphs.volume(()) == 1 and graphs.volume((3, 0)) == 0
    refused(lambda n: graphs.limited(iter(int, 1), n), 100)  # a list without an end


def test_an_operation_that_is_not_listed_is_refused(tmp_path):
    refused(tflite.weights, made.tflite(code=119), "119")  # WHILE
    refused(onnx.weights, made.onnx(kind="Loop"), "Loop")

    def change(model):
        model["modelTopology"]["node"][0]["op"] = "StatelessWhile"

    refused(tfjs.weights, made.tfjs(tmp_path, change=change), "StatelessWhile")


def test_a_loop_is_refused(tmp_path):
    refused(tflite.weights, made.tflite(inputs=(3, 1, 2)), "wait for each other")
    refused(onnx.weights, made.onnx(inputs=("out", "kernel", "bias")), "wait for each other")

    def change(model):
        model["modelTopology"]["node"][4]["input"] = ["sum", "kernel"]

    refused(tfjs.weights, made.tfjs(tmp_path, change=change), "wait for each other")


def test_what_is_computed_twice_or_from_nothing_is_refused():
    refused(tflite.weights, made.tflite(output=0), "twice")
    refused(onnx.weights, made.onnx(inputs=("nowhere", "kernel", "bias")), "not there")


def test_graphs_within_a_graph_are_refused(tmp_path):
    refused(tflite.weights, made.tflite(graphs=2), "2 graphs")
    inner = made.field(5, made.field(1, "body") + made.field(6, b""))
    refused(onnx.weights, made.onnx(attributes=inner), "branch or a loop")
    refused(onnx.weights, made.onnx() + made.field(25, b""), "functions")

    def change(model):
        model["modelTopology"]["library"] = {"function": [{"signature": {}}]}

    refused(tfjs.weights, made.tfjs(tmp_path, change=change), "functions")


def test_values_in_other_files_are_refused(tmp_path):
    outside = made.tensor("far", np.zeros(0, np.float32), 1) + made.field(14, 1)
    refused(onnx.weights, made.onnx(more=made.field(5, outside)), "another file")
    for path in ("../net.bin", "/etc/passwd", "a\\b.bin", "sub/net.bin", ".."):

        def change(model, path=path):
            model["weightsManifest"][0]["paths"] = [path]

        refused(tfjs.weights, made.tfjs(tmp_path, change=change))

    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "net.json").write_text((tmp_path / "net.json").read_text().replace("..", "../net.bin"))
    made.tfjs(tmp_path)  # the file that is named is there
    refused(tfjs.weights, tmp_path / "sub" / "net.json", "another folder")

    def absent(model):
        model["weightsManifest"][0]["paths"] = ["gone.bin"]

    refused(tfjs.weights, made.tfjs(tmp_path, change=absent), "gone.bin")


def test_raw_numbers_are_neither_missing_nor_left_over(tmp_path):
    file = made.tfjs(tmp_path)
    whole = (tmp_path / "net.bin").read_bytes()
    for content in (whole[:-1], whole + b"\0", b""):
        (tmp_path / "net.bin").write_bytes(content)
        refused(tfjs.weights, file, "cut")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"modelTopology": 1}', "[" * 100_000, '{"a":' * 50_000, "\xff"]
)
def test_a_table_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "net.json").write_text(text, encoding="latin-1")
    refused(tfjs.weights, tmp_path / "net.json")


def test_other_files_and_large_ones_are_refused(tmp_path, monkeypatch):
    refused(tflite.weights, made.tflite(identifier=b"TFL2"), "no TensorFlow Lite file")
    refused(tflite.weights, b"", "no TensorFlow Lite file")
    refused(onnx.weights, b"", "0 graphs")
    monkeypatch.setattr(graphs, "MOST_BYTES", 100)
    for name, content in (("a.tflite", made.tflite()), ("a.onnx", made.onnx())):
        (tmp_path / name).write_bytes(content)
        refused(convert.convolutions, tmp_path / name, "larger")


def test_eight_bits_are_scaled_about_their_zero():
    values, scale = torch.tensor([[1, 2], [3, 4]]), torch.tensor([2.0, 10.0])
    constants = {"v": values, "s": scale, "z": torch.tensor([1, 0])}
    operation = graphs.Operation("dequantize", "d", ("v", "s", "z"), ("d",))
    assert onnx._dequantized(operation, constants, 0).tolist() == [[0, 2], [30, 40]]
    assert onnx._dequantized(operation, constants, 1).tolist() == [[0, 20], [4, 40]]
    with pytest.raises(Refused, match="scale"):
        onnx._dequantized(operation, {**constants, "s": torch.ones(3)}, 0)
