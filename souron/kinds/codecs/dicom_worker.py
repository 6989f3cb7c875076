"""Decoders written in C and C++, each in a process of its own.

A damaged JPEG-LS file crashes the process that GDCM runs in, and a damaged JPEG 2000 file can make
OpenJPEG hang. So a frame is sent to a process that may crash or be killed; the next frame gets a
new one. A request is a line of JSON and the coded frame, an answer a line of JSON and the pixels:

    {"syntax": ..., "plugin": ..., "bytes": ..., "options": {...}}   ->
    {"dtype": ..., "shape": ..., "kind": ..., "bytes": ...}   or   {"error": ...}
"""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np

from souron.utils.messages import _

SECONDS = 30.0  # for a frame; the largest take a few
MEMORY = 6 * 2**30  # memory limit of a process in bytes, where the system supports it


class Worker:
    """A process that decodes frames one after the other."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[3])  # folder of souron; -P leaves the current folder out
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "souron.kinds.codecs.dicom_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )

    def decode(self, asked: dict[str, Any], coded: bytes) -> tuple[dict[str, Any], bytes]:
        """Return the answer and its pixels. Raises ValueError where the process died."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        watch = threading.Timer(SECONDS, self.process.kill)
        watch.start()
        try:
            _send(stdin, asked, coded)
            return _receive(stdout)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(_("the decoder broke off or took too long")) from error
        finally:
            watch.cancel()

    def close(self) -> None:
        """Kill the process and close its pipes."""
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # pending output is discarded
                    stream.close()
        self.process.wait()


_places = threading.BoundedSemaphore(os.cpu_count() or 1)
_idle: list[Worker] = []


def decode(syntax: str, plugin: str, coded: bytes, options: dict[str, Any]) -> tuple[Any, str]:
    """Decode a frame: pixels (H, W) or (H, W, 3), and their photometric interpretation.

    ``options`` are pydicom's pixel options. Raises ValueError.
    """
    asked = {"syntax": syntax, "plugin": plugin, "options": options}
    with _places:
        worker = _idle.pop() if _idle else Worker()
        try:
            answer, body = worker.decode(asked, coded)
        except BaseException:
            worker.close()
            raise
        _idle.append(worker)
    if "error" in answer:
        raise ValueError(str(answer["error"]))
    pixels = np.frombuffer(body, np.dtype(str(answer["dtype"])))
    return pixels.reshape(answer["shape"]), str(answer["kind"])


@atexit.register
def stop() -> None:
    """Close all idle workers."""
    while _idle:
        _idle.pop().close()


def _send(stream: IO[bytes], head: dict[str, Any], body: bytes) -> None:
    stream.write(json.dumps(head | {"bytes": len(body)}).encode() + b"\n")
    stream.write(body)
    stream.flush()


def _receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    head = json.loads(stream.readline() or "null")
    if not head:
        raise EOFError
    body = stream.read(head["bytes"])
    if len(body) != head["bytes"]:
        raise EOFError
    return head, body


def _answer(asked: dict[str, Any], coded: bytes) -> tuple[dict[str, Any], bytes]:
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    try:
        array, about = get_decoder(asked["syntax"]).as_array(
            encapsulate([coded]), index=0, decoding_plugin=asked["plugin"], **asked["options"]
        )
    except Exception as error:  # a decoder may raise anything; it is reported to the caller
        return {"error": (str(error).splitlines() or [type(error).__name__])[-1].strip()}, b""
    head = {"dtype": array.dtype.str, "shape": array.shape, "kind": str(about["photometric_interpretation"])}
    return head, array.tobytes()


def main() -> None:
    """Answer requests until the input ends. The decoders' own output is discarded."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    while True:
        try:
            asked, coded = _receive(sys.stdin.buffer)
        except EOFError:
            return
        _send(answers, *_answer(asked, coded))


if __name__ == "__main__":
    main()
