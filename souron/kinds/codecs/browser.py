"""Screenshots of pages, by a Chromium that is installed on this computer."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from souron.utils.messages import UserError, _

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 40  # time limit
MOST_SIDE = 4000  # pixels
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=127.0.0.1:9",
)


def found() -> str:
    """Return the path of a Chromium; "" where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), "")


def screenshot(html: str, width: int, height: int) -> bytes:
    """Return a PNG of a page of that width and height in pixels, rendered without a network.

    Raises UserError where there is no Chromium, where it fails or takes too long.
    """
    program = found()
    if not program:
        raise _failed(_("there is no Chromium on this computer"), "apt-get install chromium")
    sides = f"{min(max(64, width), MOST_SIDE)},{min(max(64, height), MOST_SIDE)}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page, image = Path(folder, "page.html"), Path(folder, "page.png")
        page.write_text(html, encoding="utf-8", errors="replace")
        flags = [*FLAGS, f"--user-data-dir={folder}/profile", f"--window-size={sides}"]
        if getattr(os, "geteuid", lambda: 1)() == 0:
            flags.append("--no-sandbox")  # Chromium refuses to start for root otherwise
        try:
            subprocess.run(
                [program, *flags, f"--screenshot={image}", page.as_uri()],
                timeout=SECONDS,
                check=False,
                capture_output=True,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _failed(str(error)[:200], "") from error
        if not image.is_file():
            raise _failed(_("Chromium drew nothing"), "")
        return image.read_bytes()


def _failed(found: str, fix: str) -> UserError:
    return UserError("browser", found, expected=_("a Chromium that draws the page"), fix=fix, exit=4)
