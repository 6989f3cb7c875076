"""Sentences whose words have tags: a ``ListColumn`` of tensors (n,), the number of each word's
tag."""

from collections.abc import Iterator

import torch

from souron.data.dataset import Dataset
from souron.data.targets.texts import Texts
from souron.utils.messages import N_


class TaggedTexts(Texts):
    """Words (n,) of each case, with the number of a tag for each."""

    heading = N_("Tags")
    answer_name = N_("tags")
    unit = N_("{least} to {most} words each")

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return super().holds(cases) and bool(cases.classes) and cases.labels is None

    def counts(self) -> list[int]:
        tags = torch.cat(list(self.cases.target))
        return tags.bincount(minlength=len(self.cases.classes)).tolist()

    def of_class(self, label: int) -> Iterator[int]:
        yield from (row for row, tags in enumerate(self.cases.target) if (tags == label).any())

    def answer(self, row: int) -> str:
        tags = zip(self.cases.input[row], self.cases.target[row].tolist(), strict=True)
        return ", ".join(f"{word} {self.cases.classes[tag]}" for word, tag in tags if tag)
