"""``python -m souron`` is the command ``souron``."""

import os
import signal


def hear_interrupts() -> None:
    """Let whoever started this stop it, also where Ctrl-C is not the terminal's to give.

    A shell's background process ignores it, and so would every child: but what leads a session of
    its own gets no stray one. Windows has Ctrl-Break for a process that leads a group.
    """
    if hasattr(signal, "SIGBREAK"):
        signal.signal(signal.SIGBREAK, lambda number, frame: signal.raise_signal(signal.SIGINT))
    elif os.getsid(0) == os.getpid() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    hear_interrupts()
    from souron.cli.main import main

    main()
