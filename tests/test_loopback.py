"""Nothing is sent, and only this computer is heard: each command that starts a process or a server, under strace."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext, suppress

import httpx
import pytest
import waiting
from test_engines import cluster_of_dask
from test_inference import fresh

STRACE = shutil.which("strace")
HERE = ("AF_UNIX", "AF_NETLINK", "127.0.0.1", '"::1"')
LISTENING = re.compile(r"listen\(\d+<(?:TCP|TCPv6):\[(.*?)\]>")
LOOPBACK = re.compile(r"(127\.0\.0\.1|\[::1\]|\[::ffff:127\.0\.0\.1\]):\d+")
SHORT = "data=digits folds=1 budget=200ex --no-forecast"
COMPARED = "compare mlp_tiny cnn_tiny seeds=2 data=digits folds=1 budget=200ex"
COMMANDS = {
    "train": f"train mlp_tiny {SHORT}",
    "train on two processes": f"train mlp_tiny {SHORT} processes=2",
    "tune": "tune mlp_tiny data=digits trials=2 budget=200ex",
    "compare on processes": f"{COMPARED} on=processes:2",
    "compare on dask": f"{COMPARED} on=dask:{{dask}}",
    "compare on slurm": f"{COMPARED} on=slurm:local",
    "export": "export mlp format=onnx",
    "chat": "chat gpt_aligned filter=lexicon",
}
SERVERS = {"serve": ("serve mlp port=0 --json", "/"), "studio": ("studio port=0 --no-browser", "/")}


def strangers(log):
    """The addresses that were listened on or connected to, other than those of this computer."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        if "connect(" in line and "AF_" in line and not any(word in line for word in HERE):
            found.append(line)
        if (heard := LISTENING.search(line)) and not LOOPBACK.fullmatch(heard.group(1)):
            found.append(line)
    return found


def traced(log, words):
    strace = [STRACE, "-f", "-qq", "-yy", "--seccomp-bpf", "-e", "trace=connect,listen", "-o", str(log)]
    return [*strace, sys.executable, "-m", "souron", *words]


pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or STRACE is None, reason="needs strace: apt-get install strace"
)


@pytest.mark.parametrize("name", COMMANDS)
def test_only_this_computer_is_listened_to_and_nothing_is_sent(name, tmp_path):
    environment = fresh(tmp_path / "home") | {"PYTHONPATH": os.pathsep.join(sys.path)}
    words, log = COMMANDS[name], tmp_path / "calls"
    with cluster_of_dask(tmp_path, 1) if "{dask}" in words else nullcontext() as cluster:
        words = words.format(dask=cluster[0] if cluster else "").split()
        done = subprocess.run(
            traced(log, words), cwd=tmp_path, env=environment, input="hello\n", capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr + done.stdout
    assert not strangers(log)
    if "on" in name.split():  # where processes meet, they are watched as well
        assert log.stat().st_size


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_heard_on_this_computer_alone(name, tmp_path):
    words, page = SERVERS[name]
    log, out = tmp_path / "calls", tmp_path / "out"
    with out.open("w") as file:
        going = subprocess.Popen(
            traced(log, words.split()), cwd=tmp_path, env=fresh(tmp_path / "home"), stdout=file, start_new_session=True
        )
    try:
        address = waiting.until(
            lambda: re.search(r"http://127\.0\.0\.1:\d+", out.read_text()), lambda: going.poll() is None
        )
        assert httpx.get(address.group() + page, timeout=waiting.LIMIT, follow_redirects=True).status_code == 200
    finally:
        with suppress(ProcessLookupError):
            os.killpg(going.pid, signal.SIGINT)
        going.wait(waiting.LIMIT)
    assert LISTENING.search(log.read_text()) and not strangers(log)


def test_a_listener_of_others_and_a_connection_would_be_seen(tmp_path):
    code = (
        "import socket\n"
        "with socket.socket() as own, socket.socket() as open:\n"
        "    own.bind(('127.0.0.1', 0)); own.listen()\n"
        "    open.bind(('', 0)); open.listen()\n"
        "with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as away:\n"
        "    away.connect(('192.0.2.1', 443))\n"
    )
    log = tmp_path / "calls"
    command = traced(log, [])
    subprocess.run([*command[: command.index(sys.executable) + 1], "-c", code], check=False)
    seen = strangers(log)
    assert len(seen) == 2 and "0.0.0.0" in seen[0] and "192.0.2.1" in seen[1], json.dumps(seen)
