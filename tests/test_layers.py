"""Diagrams of layers: each system has one, and each layer its formula, shape, FLOPs and lines of source."""

import json
import re

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from souron import registry
from souron.evaluation import summary
from souron.report import diagram, layers
from souron.report.layers import formulas, places
from souron.report.layers.places import Place


@pytest.mark.parametrize("name", registry.entries())
def test_every_system_shows_its_layers(name):
    held = layers.found(registry.entries()[name])
    every = [layer for line in held.lines for layer in line]
    assert len(every) > 1
    for layer in every:
        assert layer.formula.strip() and formulas.meaning(layer.base)
        if layer.kind == "input":
            continue
        text = "\n".join(place.text() for place in layer.made)
        if layer.type == "step" and layer.kind != "step":  # of a sketch
            assert "def forward(" in text
            continue
        names = [part.rstrip("0123456789") for part in re.split(r"\W", layer.name)]
        assert any(name in text for name in filter(None, names)), (layer.name, layer.made)
        if layer.kind == "step":
            assert text.lstrip().startswith(f"def {layer.name}(")
        else:
            assert layer.shape and min(layer.shape) > 0
    assert layers.Layers(**read(held)) == held


def read(held):
    stored = json.loads(json.dumps(held.as_json()))
    lines = tuple(tuple(map(layers._layer, line)) for line in stored["lines"])
    return {"system": stored["system"], "size": stored["size"], "flops": stored["flops"], "lines": lines}


@pytest.mark.parametrize("name", ["resnet", "vgg", "densenet", "googlenet", "mobilenet", "cnn"])
def test_the_flops_of_the_layers_add_up_to_those_that_pytorch_counts(name):
    entry = registry.entries()[name]
    held = layers.found(entry)
    model, seen = summary.drawn(entry, held.size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, *summary.describe(seen), device="meta"))
    total = counter.get_total_flops()
    assert total > 0
    assert held.flops == total == sum(layer.flops for line in held.lines for layer in line)


def test_a_linear_layers_flops_are_two_for_each_weight():
    [line] = layers.found(registry.entries()["mlp"]).lines
    assert all(layer.flops == 2 * (layer.parameters - layer.shape[0]) > 0 for layer in line[1:])


def test_the_calls_of_a_layer_are_counted_and_their_flops_added():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = nn.Linear(3, 3)

        def forward(self, x):
            return self.shared(self.shared(x))

    model = Twice().to("meta")
    call = diagram.noted(model, lambda: model(torch.empty(1, 3, device="meta")))["shared"]
    assert (call.calls, call.flops, call.taken) == (2, 2 * 2 * 9, (3,))


def test_a_network_that_only_learns_is_counted_for_one_case():
    lines = layers.found(registry.entries()["gan"]).lines
    critic = [layer for line in lines for layer in line if layer.learning]
    assert critic and not all(layer.learning for line in lines for layer in line)
    for layer in critic:
        if layer.type == "Linear":  # real and generated images
            assert layer.flops == layer.calls * 2 * (layer.parameters - layer.shape[0])


def test_methods_that_are_no_networks_show_the_functions_of_their_file():
    [line] = layers.found(registry.entries()["kmeans"]).lines
    held = {layer.name: layer for layer in line}
    assert held["centres"].kind == "kept" and "register_buffer" in held["centres"].made[0].text()
    assert held["forward"].formula == "forward(points) = cdist(points, centres).argmin(1)"
    assert held["forward"].output == "Tensor (N,)"
    assert not {"sketch", "__init__"} & held.keys()
    assert [held[name].made[0].first for name in ("fit", "move", "forward", "far_apart")] == sorted(
        held[name].made[0].first for name in ("fit", "move", "forward", "far_apart")
    )
    assert all(not layer.flops for layer in line)


def test_a_layer_made_in_a_container_shows_both_lines():
    [line] = layers.found(registry.entries()["alexnet"]).lines
    conv2 = next(layer for layer in line if layer.name == "features.4")
    creating, naming = (place.text() for place in conv2.made)
    assert "conv2 = nn.Conv2d" in creating and "self.features" in naming
    assert conv2.own_class is None
    pool = next(layer for layer in line if layer.type == "Pool")
    assert pool.own_class.text().startswith("class Pool") and pool.base == "own"


def test_a_statement_over_several_lines_is_shown_whole(tmp_path, monkeypatch):
    file = tmp_path / "one.py"
    file.write_text("a = f(\n    1,\n    2,\n)\nfor b in (\n    1,\n):\n    c = 2\n", encoding="utf-8")
    monkeypatch.setattr(places, "HOME", tmp_path)
    assert places.statement("one.py", 2) == Place("one.py", 1, 4)
    assert places.statement("one.py", 6) == Place("one.py", 5, 7)
    assert places.statement("one.py", 8) == Place("one.py", 8, 8)


def value(formula, module, given):
    """Evaluate the first line of a convolution's formula for every index, in plain Python."""
    index, right = re.fullmatch(r"y\[(.*?)\] = (.*)", formula.splitlines()[0]).groups()
    bounds = dict(re.findall(r"(\w) < (\d+)", formula))
    inner = [letter for letter in "cuv" if letter in bounds]
    bias, product = re.fullmatch(r"(b\[o\] \+ )?Σ (.*)", right).groups()
    code = product.replace("−", "-").replace("⌊", "(").replace("⌋", ")").replace("/", "//").replace("·", "*")
    code = re.sub(r"\[([^]]*)\]", lambda found: "(" + re.sub(r"(\d)\s*([a-z(])", r"\1*\2", found[1]) + ")", code)
    compiled = compile(code, "formula", "eval")

    def x(c, i, j):
        inside = 0 <= i < given.shape[1] and 0 <= j < given.shape[2]
        return given[c, i, j].item() if inside else 0.0

    made = module(given[None])[0]
    out = torch.zeros_like(made)
    for place in torch.cartesian_prod(*map(torch.arange, made.shape)).tolist():
        names = dict(zip(index.split(", "), place, strict=True))
        total = module.bias[place[0]].item() if bias else 0.0
        for each in torch.cartesian_prod(*(torch.arange(int(bounds[letter])) for letter in inner)).tolist():
            known = names | dict(zip(inner, each, strict=True))
            total += eval(compiled, {"w": lambda *at: weight(module, at), "x": x}, known)  # noqa: S307
        out[tuple(place)] = total
    return made, out


def weight(module, at):
    return module.weight[at if len(at) == 4 else (at[0], 0, *at[1:])].item()


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(2, 3, 3, padding=1),
        nn.Conv2d(2, 2, (3, 2), stride=2, padding=(2, 1), bias=False),
        nn.Conv2d(4, 6, 3, groups=2, dilation=2, padding=1),
        nn.Conv2d(3, 3, 3, groups=3, padding="same"),
    ],
)
@torch.no_grad()
def test_the_formula_of_a_convolution_computes_its_output(module):
    torch.manual_seed(0)
    base, formula = formulas.described(module)
    assert base == "Conv2d"
    torch.testing.assert_close(*value(formula, module, torch.randn(module.in_channels, 6, 5)))


def test_formulas_say_a_layers_own_numbers():
    def said(module):
        return formulas.described(module)[1]

    assert said(nn.Linear(5, 7)) == "y[o] = b[o] + Σ w[o, c] · x[c]\no < 7,  c < 5"
    assert "b[o]" not in said(nn.Linear(5, 7, bias=False))
    assert said(nn.MaxPool2d(3, 2, 1)) == "y[c, i, j] = max x[c, 2i + u − 1, 2j + v − 1]\nu < 3,  v < 3"
    assert said(nn.LeakyReLU(0.2)) == "y = max(x, 0.2 · x)"
    assert "4 groups" in said(nn.GroupNorm(4, 8))
    assert "y[o, 2i + u − 1, 2j + v − 1] += w[c, o, u, v]" in said(nn.ConvTranspose2d(3, 5, 4, 2, 1))
    assert said(nn.Sequential(nn.Linear(1, 1), nn.ReLU())) == "x → Linear → ReLU → y"


def test_a_class_may_name_its_formula_and_else_shows_its_forward_pass():
    class Plain(nn.Module):
        def forward(self, x):
            """Add one."""
            assert x.ndim == 2
            more: int = 1
            return torch.relu(x) + more

    class Named(Plain):
        formula = "y = x + 1"

        def forward(self, x):
            return x + 1

    class Derived(nn.ReLU):
        pass

    assert formulas.described(Plain()) == ("own", "more = 1\ny = relu(x) + more")
    assert formulas.described(Named()) == ("own", "y = x + 1")
    assert formulas.described(Derived()) == ("ReLU", "y = max(0, x)")


def test_a_long_formula_is_cut():
    lines = formulas.cut([str(number) for number in range(30)]).splitlines()
    assert len(lines) == formulas.MOST_LINES and lines[-1] == "…"


def test_a_gradient_penalty_is_no_obstacle():
    layer = next(
        layer for line in layers.found(registry.entries()["wgan_gp"]).lines for layer in line if layer.learning
    )
    assert layer.calls > 1


def test_a_single_block_is_opened_and_attention_is_not():
    def types(name):
        return [layer.type for line in layers.found(registry.entries()[name]).lines for layer in line]

    assert types("cyclegan").count("Block") > 2 and "Generator" not in types("cyclegan")
    assert types("bert").count("TransformerEncoderLayer") == 2
    kinds = [layer.kind for line in layers.found(registry.entries()["ctc"]).lines for layer in line]
    assert kinds.count("recurrent") == 2
