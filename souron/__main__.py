"""Run the command ``souron`` as ``python -m souron``."""

import os
import signal


def hear_interrupts() -> None:
    """Make sure that an interrupt stops this process, even without a terminal that sends Ctrl-C.

    A shell starts background processes with SIGINT ignored, and child processes inherit that. A
    session leader receives no stray Ctrl-C, so the default handler is restored for it. On Windows,
    a process that leads a group receives Ctrl-Break instead.
    """
    if hasattr(signal, "SIGBREAK"):
        signal.signal(signal.SIGBREAK, lambda number, frame: signal.raise_signal(signal.SIGINT))
    elif os.getsid(0) == os.getpid() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    hear_interrupts()
    from souron.cli.main import main

    main()
