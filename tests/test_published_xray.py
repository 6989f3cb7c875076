"""torchxrayvision's network by name: 18 findings on a chest film, from a made-up file."""

import hashlib
import io
import json
import os
import pickle
from dataclasses import replace

import numpy as np
import pydicom
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from souron import model as models_api
from souron import registry
from souron.cli import main
from souron.evaluation import chest_films
from souron.hub import chest_findings, fetch, names, pickled_networks, published
from souron.kinds.findings import Findings
from souron.kinds.picture import Picture
from souron.serve import predictors
from souron.tasks.classify import Spec
from souron.utils.messages import UserError

NAME = "densenet121-res224-all"


@pytest.fixture(scope="module")
def theirs():
    """torchvision's DenseNet-121 for one channel and 18 findings, as torchxrayvision has it."""
    torch.manual_seed(0)
    network = torchvision.models.densenet121(num_classes=18)
    network.features.conv0 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):  # inputs of about 1000 become such of about 1
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    network.features.norm0.running_var.fill_(1e6)
    with torch.no_grad():
        network.classifier.weight.mul_(20)
    return network.eval()


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_WEIGHTS", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


@pytest.fixture
def offer(own, monkeypatch):
    """Save a whole network, classes and all, where the published one belongs."""

    def put(network, new=False):
        row = published.of_system(NAME)
        torch.save(network, own / row.file, _use_new_zipfile_serialization=new)
        digest = hashlib.sha256((own / row.file).read_bytes()).hexdigest()
        monkeypatch.setitem(published.table(), row.source, replace(row, sha256=digest))
        return own / row.file

    return put


def grey_values(height=260, width=300):
    """Two dark lungs beside a bright spine."""
    values = np.random.default_rng(0).normal(70, 12, (height, width))
    values[:, width // 2 - 22 : width // 2 + 22] += 110
    return values.clip(0, 255).astype(np.uint8)


@pytest.fixture
def film(tmp_path):
    Image.fromarray(grey_values()).save(tmp_path / "film.png")
    return tmp_path / "film.png"


def test_the_publisher_s_name_is_a_size_of_densenet():
    assert registry.full_name(*registry.find(NAME)) == "densenet_xray" == fetch.item(NAME).name
    assert isinstance(names.resolve(NAME), names.System)
    row = published.of_system(NAME)
    assert row.sha256.startswith("56524913") and (row.channels, row.side) == (1, 224)
    assert len(chest_findings.LABELS) == 18 and not row.opened


@pytest.mark.parametrize("new", [False, True], ids=["old format", "new format"])
def test_a_film_is_read_as_the_reference_reads_it(theirs, offer, film, new):
    offer(theirs, new)
    model = models_api.load(NAME)
    found = model(film)
    assert isinstance(found, Findings) and found.labels == chest_findings.LABELS
    square = np.asarray(Image.fromarray(grey_values()[:, 20:280]).resize((224, 224), Image.Resampling.BILINEAR))
    given = (2 * (square.astype(np.float32) / 255) - 1) * 1024  # torchxrayvision's normalize
    with torch.no_grad():
        expected = theirs(torch.from_numpy(given)[None, None]).sigmoid()[0]
    least = torch.tensor(list(chest_findings.THRESHOLDS.values()))
    below = expected < least
    expected[below] = expected[below] / (2 * least[below])  # its op_norm
    expected[~below] = 1 - (1 - expected[~below]) / (2 * (1 - least[~below]))
    assert 0 < below.sum() < 18 and expected.std() > 0.1
    assert np.allclose(found.scores, expected, atol=2e-3)
    assert [name for name, _score in found.above] == sorted(
        (name for name, low in zip(found.labels, below, strict=True) if not low),
        key=lambda name: -expected[found.labels.index(name)],
    )
    assert model.learnt_from.startswith("NIH ChestX-ray14") and not str(found.familiar)


def test_a_dicom_film_and_a_grey_film_in_colours_are_read_alike(theirs, offer, film, tmp_path):
    offer(theirs)
    model = models_api.load(NAME)
    Image.open(film).convert("RGB").save(tmp_path / "three.png")
    file = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    values = grey_values()
    file.Rows, file.Columns = values.shape
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation, file.SamplesPerPixel = 7, 0, 1
    file.RescaleSlope, file.RescaleIntercept = 1, 0
    for name in ("WindowCenter", "WindowWidth", "PixelPaddingValue"):
        file.pop(name, None)
    file.WindowCenter, file.WindowWidth = 128, 256
    file.PixelData = values.tobytes()
    file.save_as(tmp_path / "film.dcm")
    scores = [model(path).scores for path in (film, tmp_path / "three.png", tmp_path / "film.dcm")]
    assert np.allclose(scores[0], scores[1], atol=1e-6)
    assert np.allclose(scores[0], scores[2], atol=0.05)  # a window is not the whole range


def test_a_colour_photograph_is_refused_and_another_image_warned_of(theirs, offer, tmp_path, film):
    offer(theirs)
    model = models_api.load(NAME)
    colours = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "cat.png")
    with pytest.raises(UserError, match="is a colour image") as trouble:
        model(tmp_path / "cat.png")
    assert (trouble.value.code, trouble.value.exit) == ("no x-ray", 3)
    for values in (255 - grey_values(), grey_values()[:, :140], np.full((50, 50), 9, np.uint8)):
        Image.fromarray(values).save(tmp_path / "other.png")
        assert "unlike its training data" in str(model(tmp_path / "other.png").familiar)
    deep = Picture(Image.fromarray(grey_values().astype(np.float32)))
    assert not chest_films.familiarity(deep).unlike


def test_every_answer_says_that_this_is_no_medical_device(theirs, offer, film, capsys, monkeypatch):
    offer(theirs)
    assert main.run(["predict", NAME, str(film)]) == 0
    said = capsys.readouterr()
    assert "no medical device" in said.err and "Effusion" in said.out
    assert main.run(["predict", NAME, str(film), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["findings"]) == 18 and "no medical device" in told["notes"][0]
    assert told["findings"][0]["above"] == (told["findings"][0]["score"] >= 0.5)
    assert "labels" not in told and "MIMIC-CXR" in told["learnt_from"]
    monkeypatch.setenv("SOURON_LANG", "ja")
    assert main.run(["predict", NAME, str(film)]) == 0
    said = capsys.readouterr()
    assert "胸水" in said.out and "医療機器ではありません" in said.err
    page = models_api.load(NAME)(film)._repr_html_()
    assert "気胸" in page and "医療機器ではありません" in page


def test_a_server_answers_with_scores_not_with_shares(theirs, offer, film):
    offer(theirs)
    model = models_api.load(NAME)
    predictor = predictors.predictor_for(model)
    [output] = predictor.predict([(Picture.read(film), {})])
    told = predictor.encode(output, {})
    assert len(told["findings"]) == 18 and told["notes"] and "familiar" in told


def test_data_with_one_class_each_is_not_evaluated(theirs, offer):
    offer(theirs)
    with pytest.raises(UserError, match="several findings"):
        models_api.load(NAME).system.probabilities(None)


def test_training_begins_with_all_but_the_last_layer(theirs, offer):
    offer(theirs)
    task = registry.load_task("classify")
    assert (task.published_side(NAME), task.published_channels(NAME)) == (224, 1)
    model = task.published(NAME, True, None, Spec(1, 224, ("well", "ill")))
    assert torch.equal(model.features.conv0.weight, theirs.features.conv0.weight)
    assert model.classifier.weight.shape == (2, 1024) and not model.thresholds
    assert (model.spec.mean, model.spec.std) == ((0.5,), (1 / 2048,))
    with pytest.raises(UserError, match="1 channels, these have 3"):
        task.published(NAME, True, None, Spec(3, 224, ("well", "ill")))


def test_a_cut_file_and_another_network_are_refused(theirs, offer):
    file = offer(theirs)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(UserError, match="does not match the checksum"):
        models_api.load(NAME)
    offer(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(UserError, match="another system's weights"):
        models_api.load(NAME)
    offer({"only": "words"})
    with pytest.raises(UserError, match="cannot be read"):
        models_api.load(NAME)


class Harmful(nn.Linear):
    """A layer whose pickle calls a function."""

    def __init__(self, folder):
        super().__init__(2, 2)
        self.call = Call(folder)


class Call:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("new", [False, True], ids=["old format", "new format"])
def test_no_code_of_a_file_is_run(tmp_path, new):
    made = tmp_path / "made"
    network = Harmful(str(made))
    torch.save(network, tmp_path / "net.pt", _use_new_zipfile_serialization=new)
    held = pickled_networks.read(tmp_path / "net.pt")
    assert not made.exists()
    assert held.keys() == {"weight", "bias"} and torch.equal(held["weight"], network.weight)
    torch.load(tmp_path / "net.pt", weights_only=False)  # what it would have done
    assert made.exists()


def test_a_file_changes_no_function_of_torch(tmp_path):
    rebuild = torch._utils._rebuild_tensor_v2
    before = rebuild.__defaults__
    state = pickle.dumps((None, {"__defaults__": (1,)}), 2)[2:-1]  # of attributes, as BUILD takes it
    content = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + state + b"b."
    pickled_networks.Unpickler(io.BytesIO(content)).load()
    assert rebuild.__defaults__ == before


def test_the_licence_and_the_data_are_shown_before(monkeypatch, capsys):
    monkeypatch.setenv("SOURON_OFFLINE", "1")
    assert main.run(["fetch", NAME]) == 4
    said = capsys.readouterr()
    assert "torchxrayvision publishes them under Apache-2.0" in said.out
    assert "CheXpert" in said.out and "best.pt" in said.err
