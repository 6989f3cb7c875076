"""The two processes of ``docs/two_devices.py`` compute what one does, and send what the paper's network has to."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import waiting
from test_engines import environment

PROGRAM = Path(__file__).parent.parent / "docs" / "two_devices.py"
# activations that a device of the tiny network holds, of an image, before the layers that read both halves
SENT = {"conv3": 12 * 13 * 13, "fc6": 12 * 6 * 6, "fc7": 32, "fc8": 32, "logits": 500}


@pytest.fixture(scope="module")
def printed():
    command = [sys.executable, str(PROGRAM), "tiny"]
    return subprocess.run(
        command, check=True, env=environment(), timeout=waiting.LIMIT, capture_output=True, text=True
    ).stdout


def test_two_devices_compute_what_one_process_computes(printed):
    difference = float(re.search(r"from one process: (\S+) of the largest logit", printed)[1])
    assert difference <= 1e-6


def test_they_exchange_activations_before_the_third_convolution_and_the_dense_layers_only(printed):
    rows = dict(re.findall(r"^(\w+) +[\d.]+ +([\d.]+)$", printed, re.MULTILINE))
    assert list(rows) == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8", "logits"]
    assert {name: kilobytes for name, kilobytes in rows.items() if float(kilobytes)} == {
        name: f"{4 * count / 1e3:.1f}" for name, count in SENT.items()
    }


def test_each_device_has_half_of_the_weights_and_sends_less_than_if_all_layers_read_both(printed):
    one = float(re.search(r"One device: +([\d.]+) MB", printed)[1])
    half, sent = map(float, re.search(r"Two devices: ([\d.]+) MB on each; each sends ([\d.]+) kB", printed).groups())
    every = float(re.search(r"it would send ([\d.]+) kB", printed)[1])
    assert one == pytest.approx(2 * half, abs=0.1) and sent < every / 4
