"""One class for each text, or the correct option of a question: a tensor (N,) of int64."""

from collections.abc import Iterator

from souron.data.dataset import Dataset
from souron.data.targets.texts import Texts
from souron.utils.messages import N_


class LabelledTexts(Texts):
    """One class for each text; for a question the letter of the correct option."""

    heading = N_("Classes")
    answer_name = N_("class")
    unit = N_("{least} to {most} texts each")
    one_class = True
    every_class = False

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return super().holds(cases) and bool(cases.classes) and cases.labels is not None

    def counts(self) -> list[int]:
        return self.cases.target.bincount(minlength=len(self.cases.classes)).tolist()

    def of_class(self, label: int) -> Iterator[int]:
        yield from (self.cases.target == label).nonzero().flatten().tolist()

    def answer(self, row: int) -> str:
        return self.cases.classes[self.cases.target[row]]
