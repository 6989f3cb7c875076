"""A process that dies at once where it opens an internet socket, native libraries included.

A filter of system calls (seccomp, classic BPF) that Linux applies to ``socket``: unlike a patched
Python module it also sees what compiled code does.
"""

import ctypes
import platform
import struct
import subprocess
import sys

SOCKET = {"x86_64": 41, "aarch64": 198}  # the number of the system call
INTERNET = (2, 10)  # AF_INET, AF_INET6
KILL, ALLOW = 0x80000000, 0x7FFF0000
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # of classic BPF: a word, jump if equal, return


def possible() -> bool:
    return sys.platform == "linux" and platform.machine() in SOCKET


def shut() -> None:
    """From here on this process is killed where it opens an internet socket."""
    program = [
        (LOAD, 0, 0, 0),  # the system call's number
        (EQUAL, 0, 4, SOCKET[platform.machine()]),
        (LOAD, 0, 0, 16),  # its first argument, the family
        (EQUAL, 1, 0, INTERNET[0]),
        (EQUAL, 0, 1, INTERNET[1]),
        (RETURN, 0, 0, KILL),
        (RETURN, 0, 0, ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    place = ctypes.create_string_buffer(code)
    filter_ = struct.pack("HxxxxxxP", len(program), ctypes.addressof(place))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(filter_), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def python(code: str, *words: str) -> subprocess.CompletedProcess:
    """Run code in a process that is shut, with the same search path."""
    start = f"import sys; sys.path[:0] = {sys.path!r}; import shut; shut.shut()\n"
    asked = [sys.executable, "-c", start + code, *words]
    return subprocess.run(asked, capture_output=True, text=True, timeout=300)
