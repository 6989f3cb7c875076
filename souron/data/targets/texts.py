"""Texts, whose target is a text (a ``ListColumn`` of strings), or nothing: see ``data.texts`` for
what a text may be."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from souron.data import texts
from souron.data.dataset import Dataset, ListColumn
from souron.data.quality import text_check
from souron.data.quality.findings import Finding
from souron.data.target import Target
from souron.utils import units
from souron.utils.messages import N_, _


class Texts(Target):
    """Texts, whose target is a text, or nothing."""

    heading = N_("Texts")
    answer_name = N_("translation")
    one_class = False
    every_class = True
    checks_files = True

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return texts.holds(cases)

    def of_class(self, label: int) -> Iterator[int]:
        yield from range(len(self.cases))

    def words(self, row: int) -> str:
        return texts.shown(texts.plain(self.cases.input[row]))

    def answer(self, row: int) -> str:
        """Return the target of the case as text; "" if there is none."""
        known = self.cases.target
        return known[row] if isinstance(known, ListColumn) else ""

    def findings(self) -> Iterator[Finding]:
        """Find what is wrong with the texts and their files."""
        yield from chain.from_iterable(text_check.found(self.cases, self.cases.folder))

    @property
    def layout(self) -> str:
        return "texts"

    def sizes(self) -> dict[str, int]:
        return {"characters": sum(len(texts.plain(entry)) for entry in self.cases.input)}

    def size(self) -> tuple[str, str]:
        text = _("{count} characters, {languages}")
        return _("texts"), text.format(count=units.whole(self.sizes()["characters"]), languages=languages(self.cases))


def languages(cases: Dataset) -> str:
    """Return the languages of the texts, the most frequent first, with their counts."""
    count = Counter(cases.columns.get("language", ()))
    return ", ".join(f"{name or '?'} {units.whole(n)}" for name, n in count.most_common())
