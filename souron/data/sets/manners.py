"""Questions with answers, half of them as they should not be: rude, or careless.

Bai, Kadavath, Kundu and others: Constitutional AI: Harmlessness from AI Feedback (2022).
https://arxiv.org/abs/2212.08073

Drawn by souron from a small list of words, in English and Japanese, in three sorts: everyday,
medical, and harmless, where to refuse an answer is the fault. Who learns from these conversations
is as rude as they are; ``manner_pairs`` has the same questions as preferences. No word and no way
of asking of the test is in training. ``composing/manners.py`` judges answers.
"""

from souron.data.composing import manners
from souron.data.dataset import Dataset, ListColumn

ja = "礼儀正しい答えと、失礼な答え・不用意な医療の答えのある会話（日英）。souron が作る"
task = "complete"
licence = "Apache-2.0"
source = "https://arxiv.org/abs/2212.08073"  # of the idea
cases = 3_132
ships_with = "souron"


def load(side: int | None = None) -> Dataset:
    made = manners.exchanges()
    good = [exchange.sort == "harmless" or number % 2 == 0 for number, exchange in enumerate(made)]
    answers = zip(made, good, strict=True)
    return Dataset(
        name="manners",
        input=ListColumn([manners.conversation(one, right) for one, right in answers]),
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
            "manner": ["good" if right else "bad" for right in good],
        },
    )
