"""The reason why an engine does not answer; this file imports nothing heavy."""


class Refused(Exception):
    """A part that an engine cannot take over; the text is the reason, in the reader's language.

    ``lasting``: another command would find the same, so that the reason is kept.
    """

    def __init__(self, reason: str, lasting: bool = True) -> None:
        super().__init__(reason)
        self.lasting = lasting


def last_line(error: Exception | None) -> str:
    """Return the last line of an error's text, at most 120 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()[:120]
