"""Uploaded files and typed texts, which are kept among the uploads of whoever sends them."""

import os
import unicodedata
from hashlib import blake2b
from pathlib import Path

from souron.kinds import files
from souron.kinds.text import Text
from souron.studio.security.paths import upload_folder
from souron.utils.messages import UserError

LONGEST = 255  # bytes of a name
TYPED = "typed"  # the folder of typed texts


def is_sent(path: str) -> bool:
    """Return whether a path leads to a file that was uploaded, also to a server that has ended."""
    try:
        return Path(path).resolve().is_relative_to(Path(upload_folder()).parent.resolve())
    except (OSError, ValueError):  # ValueError: a null byte
        return False


def can_be_kept(name: str) -> bool:
    """Return whether a name is safe for a file beside the uploaded one."""
    plain = Path(name).name == name and not name.startswith(".") and "\\" not in name
    if not plain or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return False
    return 0 < len(os.fsencode(name)) <= LONGEST


def typed(text: str, name: str = "text") -> Path:
    """Return the file that holds a typed text, written if it is new. Raises UserError."""
    written = Text(text).text.encode("utf-8", "replace")
    digest = blake2b(written, digest_size=12).hexdigest()
    path = _typed_folder() / digest / f"{name}.txt"
    if not path.exists():
        files.write(path, written)
    return path


def typed_in(path: str) -> str:
    """Return the text of a file that ``typed`` has written; "" for any other, or none any more."""
    try:
        file = Path(path).resolve()
        ours = file.parent.parent == _typed_folder().resolve()
        return files.words(file) if ours else ""
    except (UserError, OSError, ValueError):  # ValueError: a null byte
        return ""


def _typed_folder() -> Path:
    return Path(upload_folder()) / TYPED
