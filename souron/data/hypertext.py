"""Paragraphs of an HTML page, as text. For pages of manuals that were written by programs: tags are
taken out by patterns, nothing is run, loaded or repaired.
"""

import html
import re

UNREAD = re.compile(
    r"(?is)<(script|style|noscript|nav|header|footer|aside|button|svg|math|head|title)\b.*?</\1\s*>"
    r"|<!--.*?-->"
)
BLOCK = re.compile(
    r"(?i)</?(?:p|div|h[1-6]|li|ul|ol|dl|dt|dd|table|tr|td|th|pre|section|blockquote|hr|br|body)"
    r"\b[^<>]*>"
)
TAG = re.compile(r"<[^<>]*>")
SPACE = re.compile(r"\s+")


def paragraphs(page: str) -> list[str]:
    """Each block's text on one line, in the order of the page; empty ones are left out."""
    page = UNREAD.sub(" ", page)
    blocks = (inline(block) for block in BLOCK.split(page))
    return [block for block in blocks if block]


def inline(markup: str) -> str:
    """The text of a block without its tags."""
    return SPACE.sub(" ", html.unescape(TAG.sub("", markup)).replace("¶", "")).strip()
