"""Findings: answers about an image or a volume, with a check for out-of-distribution cases.

Every face shows first what ``notice`` returns, and the answer to an unlike case as a guess.
"""

from dataclasses import dataclass, field
from html import escape
from typing import Any

from souron.kinds.kind import Kind
from souron.utils.messages import _


@dataclass(frozen=True)
class Familiarity:
    """Distance of a case from the training cases, with the 95th percentile of validation cases."""

    score: float
    threshold: float
    blank: bool = False  # an image of one colour, however near it lies

    @property
    def unlike(self) -> bool:
        """True where the case is farther than the threshold, or shows nothing."""
        return self.blank or self.score > self.threshold

    def as_json(self) -> dict[str, Any]:
        return {"score": round(self.score, 4), "threshold": round(self.threshold, 4), "unlike": self.unlike}

    def __str__(self) -> str:
        """Return the warning; "" for a case similar to those of training."""
        if not self.unlike:
            return ""
        if self.blank:
            return _("an image of one colour, on which nothing can be recognised: treat this answer as a guess")
        return _(
            "unlike its training data (distance {score:.2f}, threshold {threshold:.2f}): treat this answer as a guess"
        ).format(score=self.score, threshold=self.threshold)


@dataclass(frozen=True, eq=False)
class Finding(Kind):
    """An answer that may carry the check of ``evaluation.familiarity``."""

    familiar: Familiarity | None = field(default=None, kw_only=True)  # None: there is no check
    of_image: bool = field(default=True, kw_only=True, repr=False)  # False: it answers a text

    def judged(self, familiar: Familiarity | None) -> "Finding":
        """Attach the check to the answer, once, when it is made."""
        object.__setattr__(self, "familiar", familiar)
        return self

    def as_json(self) -> dict[str, Any]:
        """Return ``familiar``, see ``check_json``."""
        return check_json(self)

    def _repr_mimebundle_(self, **_asked: Any) -> dict[str, str]:
        """Return the HTML for a notebook: the notice above the answer."""
        text, html = notice(self), self._repr_html_()
        return {"text/html": f"<p><strong>{escape(text)}</strong></p>{html}" if text else html}


def standing(answer: Any) -> str:
    """Return "familiar", "unlike" or "unchecked"; "" where no check applies, as to a text.

    >>> standing("a text")
    ''
    """
    if not getattr(answer, "of_image", False):
        return ""
    familiar = getattr(answer, "familiar", None)
    return "unchecked" if familiar is None else "unlike" if familiar.unlike else "familiar"


def notice(answer: Any) -> str:
    """Return what is shown before an answer: the warning, or that there is no check; else "".

    >>> notice("a text")
    ''
    """
    return unchecked() if standing(answer) == "unchecked" else unlike(answer)


def unchecked() -> str:
    """Return the sentence for an answer without a check.

    >>> unchecked()
    'there is no check of whether this is like the training data'
    """
    return _("there is no check of whether this is like the training data")


def film_standing(unlike: int | None, frames: int) -> str:
    """Return the standing of a film, of whose frames so many are unlike: it is itself where most are.

    >>> film_standing(None, 9), film_standing(4, 9), film_standing(5, 9)
    ('unchecked', 'familiar', 'unlike')
    """
    return "unchecked" if unlike is None else "unlike" if 2 * unlike > frames else "familiar"


def film_notice(unlike: int | None, frames: int) -> str:
    """Return the notice for a film; "" where no frame is unlike the training data.

    >>> film_notice(2, 9), film_notice(0, 9)
    ('2 of 9 frames are unlike its training data', '')
    """
    if unlike is None:
        return unchecked()
    text = _("{count} of {total} frames are unlike its training data")
    return text.format(count=unlike, total=frames) if unlike else ""


def advice(data: str = "") -> str:
    """Return what could help where a case is unlike the training data ``data``.

    >>> advice("fashion")[:27]
    'It has learnt from fashion,'
    """
    learnt = _("It has learnt from nothing like this.")
    if data:
        learnt = _("It has learnt from {data}, and from nothing like this.").format(data=data)
    ways = _("What could answer: another system, or one that is trained on files of your own.")
    return f"{learnt} {ways}"


def guess(answer: str) -> str:
    """Return an answer in words as the guess that it is for an unlike case.

    >>> guess("bag 97 %")
    'guess: bag 97 %'
    """
    return _("guess: {answer}").format(answer=answer)


def check_json(answer: Any) -> dict[str, Any]:
    """Return ``familiar``, null without a check; {} where none applies.

    >>> check_json("a text")
    {}
    """
    familiar = getattr(answer, "familiar", None)
    return {"familiar": familiar and familiar.as_json()} if standing(answer) else {}


def unlike(answer: Any) -> str:
    """Return the warning of an answer; "" without a check, and for a familiar case.

    >>> unlike("an answer without a check")
    ''
    >>> str(Familiarity(score=0.5, threshold=1.0)), Familiarity(2.0, 1.0).unlike
    ('', True)
    """
    return str(getattr(answer, "familiar", None) or "")
