"""One class for each case: a tensor (N,) of int64."""

from collections import Counter
from collections.abc import Iterator

from souron.data import texts
from souron.data.dataset import Dataset
from souron.data.quality.findings import TINY, UNEVEN, Finding, several_spellings, tiny_class
from souron.data.target import Target
from souron.utils.messages import _


class Classes(Target):
    """One class for each case."""

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return cases.labels is not None and not texts.holds(cases)

    def counts(self) -> list[int]:
        return self.cases.target.bincount(minlength=len(self.cases.classes)).tolist()

    def of_class(self, label: int) -> Iterator[int]:
        yield from (self.cases.target == label).nonzero().flatten().tolist()

    def words(self, row: int) -> str:
        return self.cases.classes[self.cases.target[row]]

    def findings(self) -> Iterator[Finding]:
        """Find classes in several spellings, and classes with few images."""
        labels = self.cases.target.tolist()
        yield from several_spellings(
            self.cases,
            "class spellings",
            [self.cases.classes[label] for label in labels],
            _("{count} classes may occur in several spellings: {names}"),
            _("one spelling for each; until then each counts as a separate class"),
            _("1 class may occur in several spellings: {names}"),
        )
        counts = Counter(labels)
        few = sorted(self.cases.classes[c] for c, count in counts.items() if count < TINY)
        if few:
            message = _("fewer than {count} images in: {labels}")
            yield tiny_class(message.format(count=TINY, labels=", ".join(few)), _("more images, or join classes"))
        most, least = max(counts.values()), min(counts.values())
        if most >= UNEVEN * least:
            message = _("the largest class has {most} images, the smallest {least}")
            yield Finding(
                "imbalance",
                "warning",
                (),
                message.format(most=most, least=least),
                _("read sensitivity class by class, not accuracy"),
            )
