"""The number of this process among those that torchrun started, and their start.

torchrun ends all processes where one ends. https://docs.pytorch.org/docs/stable/elastic/run.html
"""

import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence

from souron.utils import hardware
from souron.utils.messages import UserError, _

PATIENCE = 30  # seconds in which the leader says what went wrong, and all are ended
SIGNALS = "SIGTERM,SIGHUP,SIGQUIT"  # Ctrl-C is the leader's, which keeps the work


def rank() -> int:
    """Return the number of this process, 0 for the leader and outside of a team."""
    return int(os.environ.get("RANK", "0")) if size() > 1 else 0


def size() -> int:
    """Return the number of processes that torchrun started; 1 outside of a team."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def help_with(events: Iterable[object]) -> None:
    """Run a training as a helper, in silence. What goes wrong is the leader's to say, too."""
    try:
        for _event in events:
            pass
    except UserError:
        time.sleep(PATIENCE)
        raise


def start(count: int, words: Sequence[str]) -> int:
    """Run ``souron WORDS`` on ``count`` processes of this computer and return the exit code.

    Raises UserError where a helper ended by itself.
    """
    import logging

    os.environ["OMP_NUM_THREADS"] = str(max(1, hardware.cores() // count))  # torchrun would set 1
    os.environ.setdefault("USE_LIBUV", "0" if sys.platform == "win32" else "1")
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        run_id=str(os.getpid()),
        max_restarts=0,
        monitor_interval=0.5,
        signals_to_handle=SIGNALS,
    )
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        elastic_launch(config, sys.executable)("-m", "souron", *words)
    except ChildFailedError as error:
        number, failure = min(error.failures.items(), key=lambda one: one[1].timestamp)
        if number == 0 and failure.exitcode > 0:
            return int(failure.exitcode)  # its message is on the screen
        raise UserError(
            "processes",
            _("process {number} of {count} ended with code {code}").format(
                number=number + 1, count=count, code=failure.exitcode
            ),
            expected=_("enough memory for all of them"),
            fix="souron train --resume",
            exit=4,
        ) from error
    finally:
        signal.signal(signal.SIGINT, earlier)
    return 0


def without(words: Iterable[str]) -> list[str]:
    """Return the words of a command line without the number of processes."""
    kept, skip = list[str](), False
    for word in words:
        if skip:
            skip = False
        elif word in ("--processes",):
            skip = True
        elif not word.startswith(("processes=", "--processes=")):
            kept.append(word)
    return kept
