"""Alignment by one's own votes: a tiny policy is trained by DPO on which of two answers is preferred.

The policy chooses among a fixed list of answers to each question of souron's ``manner_pairs``: the
softmax of a weighted sum of six features of an answer. It starts without preferences. The votes
train it by ``preference_losses``, the loss of souron's language models. Everything that is
measured on the test questions is an exact expectation, without sampling.

Rafailov and others: Direct Preference Optimization (2023), https://arxiv.org/abs/2305.18290.
Harmlessness and over-refusal are reported together, as in Bai and others: Training a Helpful and
Harmless Assistant (2022), https://arxiv.org/abs/2204.05862.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, button, choice, controls, images, part, plot
from souron.utils.messages import N_, UserError, _, language

TITLE = N_("Alignment by your votes")
ABOUT = N_(
    "Two answers to a question: which do you prefer? From twenty such votes a tiny model learns by direct preference "
    "optimization (DPO) which answers to give. It chooses among a few ready answers and sees six features of them, "
    "so that you can watch what it learns, and what that costs on questions it has never seen."
)
QUESTION = N_(
    "Somebody votes twenty times, and always for the answer that sends people to a doctor. What happens to harmless "
    "questions such as: What is a candle?"
)
CHOICES = (
    N_("they are answered as before, since nobody asks a doctor about candles"),
    N_("they are refused more often"),
    N_("they are refused less often"),
)
RIGHT = 1
ANSWER = N_(
    "They are refused more often: over-refusal. The votes say only which of two answers is better, not why, and the "
    "simplest explanation is that sending people to a doctor is good everywhere. Improper answers become rare, too, "
    "so that a figure for harm alone looks perfect. Let the careful person vote: improper answers become rare, and "
    "harmless questions are not refused more often. A small beta lets the model move far from its start (KL), a large "
    "one keeps it near, with less of both effects."
)
WORDS = {
    "vote": N_("Vote {number} of {count}. Which answer do you prefer?"),
    "ended": N_("All {count} votes are given."),
    "prefer": N_("I prefer: {text}"),
    "now": N_(
        "After {votes} votes, on {held} test questions: preference accuracy {accuracy} %, improper answers "
        "{improper} %, over-refusal {refusal} %, KL divergence from the start {kl} nats."
    ),
    "accuracy": N_("preference accuracy"),
    "improper": N_("improper answers"),
    "refusal": N_("over-refusal"),
    "kl": N_("KL, nats"),
    "votes": N_("votes"),
    "rude": N_("is rude"),
    "dose": N_("gives a dose"),
    "defers": N_("sends to a doctor"),
    "defers_medical": N_("sends to a doctor (medical topic)"),
    "topic": N_("names the topic"),
    "length": N_("length"),
    "before": N_("before"),
    "after": N_("after"),
    "answer": N_("answer"),
}
TOUR = (
    ("a", N_("Read the question, then press the answer that you prefer. Twenty votes are asked for.")),
    ("now", N_("After each vote the model is trained anew, and measured on questions that it has never seen.")),
    (
        "curves",
        N_("If improper answers become rarer, is the model better?"),
        (N_("yes"), N_("not if it refuses harmless questions as well")),
        1,
    ),
    ("voter", N_("Others may vote for you: a careful person, one who is always cautious, one who likes it short.")),
    ("rest", N_("This person votes on all that you have not voted on.")),
    ("weights", N_("What the model has learned: a weight for each feature of an answer.")),
    (
        "beta",
        N_("Beta ties the model to its start. With which beta does it move farther?"),
        (N_("with a small one"), N_("with a large one")),
        0,
    ),
    ("examples", N_("Three test questions with the probability of each answer before and after.")),
)
VOTERS = ("careful", "cautious", "short")
BETAS = (0.5, 0.2, 1.0, 2.0, 5.0)  # the first is chosen at the beginning
VOTES, HELD = 20, 60  # votes; test questions of each sort
STEPS, RATE = 100, 0.5  # of gradient descent; the rate is divided by the square of beta
FEATURES = ("rude", "dose", "defers", "defers_medical", "topic", "length")


def stage() -> Markup:
    voters = [
        ("careful", _("a careful person")),
        ("cautious", _("one who is always cautious")),
        ("short", _("one who prefers the shorter answer")),
    ]
    return (
        part("question")
        + Markup('<p class="prompt" data-part="prompt"></p>')
        + Markup('<div class="pair">{}{}</div>').format(button("a", ""), button("b", ""))
        + beside(controls(
            choice("beta", _("beta"), [(str(beta), str(beta)) for beta in BETAS]),
            choice("voter", _("voter"), voters),
            button("rest", _("Vote for the rest")),
            button("back", _("Take back the last vote")),
            button("again", _("Start again")),
        ), images(
            plot("curves", _("figures on test questions, vote by vote"), 480, 240,
                   _("On test questions, vote by vote: shares of 0 to 100 %")),
            plot("drift", _("KL divergence from the start, vote by vote"), 260, 240,
                   _("KL divergence from the start, nats, vote by vote")),
            plot("weights", _("weights of the features"), 480, 240, _("Weights of an answer's features")),
        ), part("now"))
        + Markup("<h3>{}</h3>").format(_("Three questions that it has never seen"))
        + Markup('<div class="numbers" data-part="examples" tabindex="0"></div>')
    )  # fmt: skip


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pairs to vote on, and the policy that the votes so far train."""
    votes = interactive.table({"votes": [[vote] for vote in _votes(asked)]}, "votes", VOTES, 1, 1)
    beta = interactive.number(asked, "beta", min(BETAS), max(BETAS), BETAS[0])
    voter = interactive.among(asked, "voter", VOTERS)
    given, questions = [vote for (vote,) in votes], pairs(language())
    if asked.get("rest") is True:
        given += [preferred(voter, pair) for pair in questions[len(given) :]]
    return {
        "pairs": [[pair.question.prompt, *(pair.question.answers[i] for i in pair.places)] for pair in questions],
        "votes": given,
        "held": len(held(language())),
        **shifted(given, beta),
    }


def record() -> Iterator[dict[str, Any]]:
    """Yield the requests of an exported page: the start, and the votes of each other person."""
    for beta in BETAS:
        yield {"votes": [], "beta": beta, "voter": "careful", "rest": False}
        yield from ({"votes": [], "beta": beta, "voter": voter, "rest": True} for voter in VOTERS)


def _votes(asked: Mapping[str, Any]) -> list[int]:
    votes = asked.get("votes")
    if not isinstance(votes, list) or not all(type(vote) is int and vote in (0, 1) for vote in votes):
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="votes", value=str(votes)[:40]),
            expected=_("at most {count} votes, each 0 or 1").format(count=VOTES),
        )
    return votes


@dataclass(frozen=True)
class Question:
    """A question with its candidate answers; the first is the one that ``manner_pairs`` prefers."""

    prompt: str
    sort: str  # "everyday", "medical" or "harmless"
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Two of a question's answers, in the order shown."""

    question: Question
    places: tuple[int, int]


@lru_cache
def questions(spoken: str, part_: str, count: int) -> list[Question]:
    """Return ``count`` questions of each sort, the sorts in turn.

    The answers are the two of ``manner_pairs``, and one of the kind that is missing there: a
    refusal of an everyday question, a rude answer to the others.
    """
    from souron.data.composing.language import manners, manners_words

    made = [each for each in manners.exchanges() if each.part == part_ and each.language == spoken]
    chance = random.Random(f"alignment/{part_}/{spoken}")
    found: dict[str, list[Question]] = {sort: [] for sort in manners.SORTS}
    for exchange in made:
        if len(found[exchange.sort]) < count:
            kind = manners_words.DEFERRING if exchange.sort == "everyday" else manners_words.IMPROPER
            fitting = [text for text in kind[spoken] if "a_thing" not in text and " a {thing}" not in text]
            topic = topic_of(exchange.prompt, spoken)
            plain = topic.removeprefix("a ").removeprefix("an ")
            named = f"the {topic}" if spoken == "en" and exchange.sort == "everyday" else topic
            third = chance.choice(fitting).format(topic=named, thing=plain)
            found[exchange.sort].append(Question(exchange.prompt, exchange.sort, (exchange.good, exchange.bad, third)))
    return [each for together in zip(*found.values(), strict=True) for each in together]


def topic_of(prompt: str, spoken: str) -> str:
    """Return the thing, medicine or complaint that a question names; "" where there is none."""
    return max((word for word in (*_things(spoken), *_medical(spoken)) if word in prompt), key=len, default="")


def _things(spoken: str) -> list[str]:
    from souron.data.composing.language import manners_words as words

    return [thing for thing, _about in words.THINGS[spoken]]


def _medical(spoken: str) -> list[str]:
    from souron.data.composing.language import manners_words as words

    return [*(medicine for medicine, _about in words.MEDICINES[spoken]), *words.COMPLAINTS[spoken]]


@lru_cache
def pairs(spoken: str) -> list[Pair]:
    """Return the pairs to vote on: two answers of each question, in random order."""
    chance = random.Random(f"alignment/pairs/{spoken}")
    found = []
    for question in questions(spoken, "train", VOTES)[:VOTES]:
        places = chance.sample(range(3), 2) if chance.random() < 0.5 else chance.sample((0, 1), 2)
        found.append(Pair(question, (places[0], places[1])))
    return found


def held(spoken: str) -> list[Question]:
    return questions(spoken, "test", HELD)


def preferred(voter: str, pair: Pair) -> int:
    """Return which answer of a pair a person prefers, 0 or 1."""
    from souron.data.composing.language.manners import judged
    from souron.data.composing.language.manners_judge import defers

    answers = [pair.question.answers[place] for place in pair.places]
    if voter == "short" and len(answers[0]) != len(answers[1]):
        return int(len(answers[1]) < len(answers[0]))
    if voter == "cautious" and defers(answers[0]) != defers(answers[1]):
        return int(defers(answers[1]))
    if 0 in pair.places:
        return pair.places.index(0)
    return int(judged(pair.question.sort, answers[0]).improper)


@lru_cache
def features(question: Question) -> Any:
    """Return the features of each answer, (answers, FEATURES) float32."""
    import torch

    from souron.data.composing.language.manners_judge import defers, gives_dose, improper
    from souron.data.texts import language as language_of

    spoken = language_of(question.prompt)
    topic = topic_of(question.prompt, spoken)
    medical = topic in _medical(spoken)
    long = 60 if spoken == "en" else 25  # characters of an answer of usual length
    return torch.tensor(
        [
            [
                float(improper(text)),
                float(gives_dose(text)),
                float(defers(text)),
                float(defers(text) and medical),
                float(bool(topic) and topic in text.lower()),
                len(text) / long - 1,
            ]
            for text in question.answers
        ]
    )


def train(chosen: Any, rejected: Any, beta: float) -> Any:
    """Train policies on the first 0, 1, ..., n of n votes by DPO, and return their weights (n + 1, FEATURES).

    ``chosen``, ``rejected``: features (n, FEATURES). In the difference of two log-ratios of one
    question the softmax's denominators cancel, which leaves the weighted difference of features.
    With steps divided by the square of beta the implicit reward, beta times the log-ratio, is the
    same for every beta, which decides only how far the policy moves.
    """
    import torch

    from souron.tasks.complete import preference_losses

    count = len(chosen)
    weights = torch.zeros(count + 1, len(FEATURES), requires_grad=True)
    among_first = torch.ones(count + 1, count).tril(-1)  # (policies, votes)
    for _step in range(STEPS if count else 0):
        losses = preference_losses(weights @ chosen.T, weights @ rejected.T, beta)  # (policies, votes)
        loss = (losses * among_first).sum(1) / among_first.sum(1).clamp(min=1)
        (slope,) = torch.autograd.grad(loss.sum(), [weights])
        with torch.no_grad():
            weights -= RATE / beta**2 * slope
    return weights.detach()


def shifted(votes: list[int], beta: float) -> dict[str, Any]:
    """Return figures on the test questions after each vote, the weights, and examples."""
    import torch

    spoken = language()
    known = pairs(spoken)[: len(votes)]
    both = [features(pair.question)[list(pair.places)] for pair in known]
    rows = torch.stack(both) if both else torch.zeros(0, 2, len(FEATURES))
    voted = torch.tensor(votes, dtype=torch.long)
    which = torch.arange(len(votes))
    weights = train(rows[which, voted], rows[which, 1 - voted], beta)
    test = held(spoken)
    stacked = torch.stack([features(question) for question in test])  # (questions, answers, FEATURES)
    policies = torch.einsum("qaf,pf->pqa", stacked, weights).softmax(-1)  # (policies, questions, answers)
    return {
        "history": figures(policies, test),
        "weights": [round(value, 3) for value in weights[-1].tolist()],
        "examples": [
            [each.prompt, *zip(each.answers, *(rounded(policies[place, row]) for place in (0, -1)), strict=True)]
            for row, each in enumerate(test[:3])
        ],
    }


def figures(policies: Any, test: list[Question]) -> dict[str, list[float]]:
    """Return figures of each policy (policies, questions, answers) on test questions.

    Preference accuracy is the share of questions whose desired answer is more probable than the
    undesired one, ties counting half; the other shares are expectations over the policy's answers.
    """
    import torch

    improper, refusal = (torch.tensor(rows, dtype=torch.float32) for rows in _judgements(tuple(test)))
    harmless = torch.tensor([question.sort == "harmless" for question in test])
    apart = policies[..., 0] - policies[..., 1]
    right = (apart > 1e-6).float() + 0.5 * (apart.abs() <= 1e-6).float()
    moved = (policies * (policies / policies[:1]).clamp(min=1e-30).log()).sum(-1)
    return {
        "accuracy": rounded(right.mean(1)),
        "improper": rounded((policies * improper)[:, ~harmless].sum(-1).mean(1)),
        "refusal": rounded((policies * refusal)[:, harmless].sum(-1).mean(1)),
        "kl": rounded(moved.mean(1)),
    }


@lru_cache
def _judgements(test: tuple[Question, ...]) -> tuple[list[list[bool]], list[list[bool]]]:
    """Return which answers are improper, and which refuse a harmless question, by souron's lists of words."""
    from souron.data.composing.language.manners import judged

    found = [[judged(question.sort, text) for text in question.answers] for question in test]
    return [[one.improper for one in row] for row in found], [[one.over_refusal for one in row] for row in found]


def rounded(values: Any) -> list[float]:
    return [round(value, 4) for value in values.tolist()]
