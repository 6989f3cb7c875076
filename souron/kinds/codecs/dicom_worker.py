"""The decoders written in C and C++, each in a process of its own.

A damaged JPEG-LS file ends the process that GDCM runs in, and a damaged JPEG 2000 file can keep
OpenJPEG busy without end. So a frame is handed to a process that may die or be stopped; the next
frame gets a new one. It is asked by a line of JSON and the coded frame, and answers with a line of
JSON and the pixels:

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
MEMORY = 6 * 2**30  # bytes that a process may ask for, where the system can limit it


class Worker:
    """A process that decodes one frame after the other."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[3])  # where souron lies; -P leaves the current folder out
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "souron.kinds.codecs.dicom_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )

    def decode(self, asked: dict[str, Any], coded: bytes) -> tuple[dict[str, Any], bytes]:
        """The answer and its pixels. Raises ValueError where the process died or was stopped."""
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
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was to be written goes nowhere
                    stream.close()
        self.process.wait()


_places = threading.BoundedSemaphore(os.cpu_count() or 1)
_idle: list[Worker] = []


def decode(syntax: str, plugin: str, coded: bytes, options: dict[str, Any]) -> tuple[Any, str]:
    """A frame's pixels, (H, W) or (H, W, 3), and how they are to be understood ("RGB", ...).

    ``options`` is what pydicom calls pixel options. Raises ValueError.
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
    except Exception as error:  # a decoder may raise anything; the one who asks hears of it
        return {"error": (str(error).splitlines() or [type(error).__name__])[-1].strip()}, b""
    head = {"dtype": array.dtype.str, "shape": array.shape,
            "kind": str(about["photometric_interpretation"])}  # fmt: skip
    return head, array.tobytes()


def main() -> None:
    """Answer until nobody asks. What the decoders print goes nowhere."""
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
