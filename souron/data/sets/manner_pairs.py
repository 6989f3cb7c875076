"""The questions of manners, each with an answer as it should be and one as it should not.

Rafailov, Sharma, Mitchell and others: Direct Preference Optimization (2023).
https://arxiv.org/abs/2305.18290

Everyday questions have a polite and a rude answer, medical ones one that defers and a careless one,
harmless ones an answer and a needless refusal. Drawn by souron, see ``manners``.
"""

from souron.data.composing import manners
from souron.data.dataset import Dataset, ListColumn

ja = "manners の質問に、望ましい答えと望ましくない答えを付けた対（日英）。souron が作る"
task = "complete"
licence = "Apache-2.0"
source = "https://arxiv.org/abs/2305.18290"  # of what is learnt from them
cases = 3_132
ships_with = "souron"


def load(side: int | None = None) -> Dataset:
    made = manners.exchanges()
    return Dataset(
        name="manner_pairs",
        input=ListColumn([manners.preference(exchange) for exchange in made]),
        target=None,
        classes=(),
        file=[exchange.name for exchange in made],
        part=[exchange.part for exchange in made],
        augment=(),
        source=source,
        licence=licence,
        columns={
            "language": [exchange.language for exchange in made],
            "sort": [exchange.sort for exchange in made],
        },
    )
