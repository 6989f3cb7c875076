"""SegResNet: the network, its values, windows and axes beside those of MONAI."""

import hashlib

import nibabel
import numpy as np
import pytest
import torch

from souron import registry
from souron.blocks import volume_patches
from souron.hub import fetch, published, weights
from souron.kinds.volume import Volume
from souron.systems.segment_volume import segresnet
from souron.systems.segment_volume.segresnet import LABELS, Config, SegResNet
from souron.tasks.segment_volume import Spec
from souron.utils.messages import UserError

SMALL = Config(8, (1, 2, 1), 0.2, 16)


def small(labels=5):
    torch.manual_seed(0)
    return SegResNet(SMALL, Spec(1, (16, 16, 16), (3.0, 3.0, 3.0), tuple(map(str, range(labels))), ())).eval()


def reference(**changes):
    from monai.networks.nets import SegResNet as Reference

    about = {"init_filters": 8, "blocks_down": (1, 2, 1), "blocks_up": (1, 1), "out_channels": 5, "dropout_prob": 0.2}
    return Reference(spatial_dims=3, in_channels=1, **(about | changes)).eval()


def test_the_network_computes_what_monai_does():
    own, theirs = small(), reference()
    with torch.no_grad():
        for weight in own.parameters():
            weight.copy_(torch.randn_like(weight) / max(1, weight[0].numel()) ** 0.5)
    theirs.load_state_dict(own.state_dict())
    volume = torch.randn(2, 1, 16, 24, 8)
    with torch.inference_mode():
        torch.testing.assert_close(own(volume), theirs(volume), atol=1e-4, rtol=1e-4)


def test_the_published_size_has_the_names_and_shapes_of_the_bundle():
    with torch.device("meta"):
        own = SegResNet(Config(), SegResNet.published_spec("whole_body"))
        theirs = reference(init_filters=32, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1), out_channels=105)
    shapes = [{name: tuple(weight.shape) for name, weight in one.state_dict().items()} for one in (own, theirs)]
    assert shapes[0] == shapes[1]


def test_labels_are_in_the_order_of_the_bundle():
    numbered = {1: "spleen", 2: "right kidney", 5: "liver", 18: "vertebra L5", 23: "vertebra T12", 41: "vertebra C1",
                46: "left ventricle", 50: "brain", 54: "right iliac vein", 58: "left rib 1", 70: "right rib 1",
                81: "right rib 12", 88: "left femur", 92: "sacrum", 95: "right gluteus maximus",
                103: "right iliopsoas", 104: "urinary bladder"}  # fmt: skip
    assert {number: LABELS[number - 1] for number in numbered} == numbered
    assert len(LABELS) == len(set(LABELS)) == 104


def test_values_are_scaled_as_in_the_bundle():
    from monai.transforms import NormalizeIntensity, ScaleIntensity

    volume = torch.randn(1, 6, 7, 8) * 300
    volume[:, :2] = 0
    expected = ScaleIntensity(-1.0, 1.0)(NormalizeIntensity(nonzero=True)(volume.clone()))
    torch.testing.assert_close(segresnet.normalised(volume), torch.as_tensor(expected), atol=1e-5, rtol=1e-5)
    assert not segresnet.normalised(torch.zeros(1, 2, 2, 2)).any()


@pytest.mark.parametrize("size", [(16, 16, 16), (20, 37, 16), (9, 40, 30), (50, 16, 17)])
def test_windows_are_averaged_as_in_the_bundle(size):
    from monai.inferers import sliding_window_inference

    own = small()
    volume = torch.randn(1, *size)
    with torch.inference_mode():
        found = volume_patches.slid(own, volume, 16, 0.25)
        theirs = sliding_window_inference(
            volume[None], 16, 1, own, overlap=0.25, mode="gaussian", padding_mode="replicate"
        )
    assert found.shape == size
    assert (found == theirs[0].argmax(0)).float().mean() > 0.999  # ties


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, 1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_network_sees_the_axes_that_the_bundle_has(signs, order, tmp_path, monkeypatch):
    """A bright voxel lies where nibabel's canonical orientation (RAS) has it, and its class comes back to it."""
    affine = np.zeros((4, 4))
    affine[order, range(3)] = np.array(signs) * 3.0
    affine[3, 3] = 1
    values = np.full((9, 10, 11), -1000, np.int16)
    place = (2, 3, 8)
    values[place] = 900
    image = nibabel.Nifti1Image(values, affine)
    nibabel.save(image, tmp_path / "a.nii.gz")
    wanted = np.argwhere(nibabel.as_closest_canonical(image).get_fdata() == 900)[0]
    seen = []

    def slid(_network, volume, _side, _overlap):
        seen.append(np.argwhere((volume[0] == volume.max()).numpy())[0])
        return (volume[0] == volume.max()).long() * 5

    monkeypatch.setattr(segresnet, "slid", slid)
    with torch.device("meta"):
        model = SegResNet(Config(), SegResNet.published_spec("whole_body"))
    monkeypatch.setattr(type(model), "device", torch.device("cpu"))
    volume = Volume.read(tmp_path / "a.nii.gz")
    found = model.predict(volume)
    assert np.array_equal(seen[0], wanted)
    assert np.array_equal(np.argwhere(found.area == 5)[0], np.argwhere(volume.values == 900)[0])
    assert found.names[5] == "liver" and (found.area == 5).sum() == 1


@pytest.mark.parametrize(
    "low, high, strange", [(-1000, 800, False), (0, 800, True), (-1000, -900, True), (-1000, 100, True)]
)
def test_a_volume_that_is_no_ct_is_answered_with_a_warning(low, high, strange, monkeypatch):
    monkeypatch.setattr(segresnet, "slid", lambda _network, volume, *_more: torch.zeros(volume.shape[1:]).long())
    with torch.device("meta"):
        model = SegResNet(Config(), SegResNet.published_spec("whole_body"))
    monkeypatch.setattr(type(model), "device", torch.device("cpu"))
    values = np.random.default_rng(0).integers(low, high, (8, 8, 8)).astype(np.int16)
    found = model.predict(Volume(values, np.diag([3.0, 3.0, 3.0, 1.0])))
    assert found.familiar.unlike == strange


def test_a_volume_smaller_than_a_patch_is_learnt_from():
    model = small(3)
    batch = type("Batch", (), {"volume": torch.randn(2, 1, 6, 20, 9), "target": torch.ones(2, 6, 20, 9).byte()})
    assert model.loss(batch).isfinite()
    found = model.named(torch.randn(1, 6, 20, 9))
    assert found.shape == (6, 20, 9)


def test_by_name_they_are_fetched_with_the_md5_of_their_table(tmp_path, monkeypatch):
    row = published.about("MONAI:whole_body_ct_3mm")
    assert len(row.md5) == 32 and row.licence.startswith("Apache-2.0") and row.channels == 1
    with pytest.raises(UserError) as trouble:
        registry.load_task("segment_volume").published("segresnet_whole_body", True)
    assert trouble.value.fix == "souron fetch segresnet_whole_body"
    torch.save({name: torch.randn(1) for name in ("a", "b")}, tmp_path / "own.pt")
    content = (tmp_path / "own.pt").read_bytes()

    def download(_url, file, *_more):
        file.write_bytes(content)
        return file

    monkeypatch.setenv("SOURON_CACHE", str(tmp_path))
    monkeypatch.delenv("SOURON_OFFLINE", raising=False)
    monkeypatch.setattr(fetch, "_download", download)
    with pytest.raises(UserError, match="is not what was published"):
        fetch.fetch("segresnet_whole_body")
    own = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(published, "about", lambda _source: type(row)(**{**vars(row), "md5": own}))
    fetch.fetch("segresnet_whole_body")
    assert set(weights.weights("segresnet_whole_body", row.source)) == {"a", "b"}
    [kept] = (tmp_path / "weights").glob("*")
    kept.unlink()
    (tmp_path / "weights" / row.file).write_bytes(content[:-1] + b"?")  # a copy made by hand, damaged
    with pytest.raises(UserError, match="does not match the checksum"):
        weights.weights("segresnet_whole_body", row.source)
