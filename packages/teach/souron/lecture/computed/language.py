"""Language: probabilities and losses of tokens, adapters, search, ratings, speed."""

from collections.abc import Sequence


def softmax(logits: Sequence[float], at: int, temperature: float = 1.0) -> float:
    """Return the probability at a place.

    >>> round(softmax([2, 1, 0], 0), 3)
    0.665
    """
    import torch

    return float((torch.tensor(logits, dtype=torch.float64) / temperature).softmax(0)[at])


def counted_loss(losses: Sequence[float], counts: Sequence[int]) -> float:
    """Return the mean loss of the tokens that count (1), as in instruction tuning; others have 0.

    >>> counted_loss([4, 3, 1, 2], [0, 0, 1, 1])
    1.5
    """
    import torch

    loss, count = (torch.tensor(each, dtype=torch.float64) for each in (losses, counts))
    return float((loss * count).sum() / count.sum())


def preference_loss(chosen: float, rejected: float, beta: float) -> float:
    """Return DPO's loss of a pair; the log-likelihoods are differences from the frozen copy.

    >>> round(preference_loss(0, 0, 0.1), 3)
    0.693
    """
    import torch

    from souron.tasks.complete import preference_losses

    return float(preference_losses(torch.tensor(float(chosen)), torch.tensor(float(rejected)), beta))


def low_rank_parameters(rank: int, inputs: int, outputs: int) -> int:
    """Count the parameters of LoRA's two matrices beside one weight matrix.

    >>> low_rank_parameters(8, 768, 768)
    12288
    """
    import torch

    up, down = torch.empty(outputs, rank, device="meta"), torch.empty(rank, inputs, device="meta")
    assert (up @ down).shape == (outputs, inputs)
    return up.numel() + down.numel()


def reciprocal_rank(scores: Sequence[float], at: int) -> float:
    """Return 1 / rank of the right item among scores.

    >>> round(reciprocal_rank([0.9, 0.2, 0.5], 1), 3)
    0.333
    """
    from souron.metrics import retrieval

    return float(retrieval.reciprocal(retrieval.rank(scores, [place == at for place in range(len(scores))])))


def winning_share(points: float) -> float:
    """Return the percentage of votes that a model wins against one whose rating is so many points lower.

    >>> round(winning_share(400), 1)
    90.9
    """
    from souron.stats.bradley_terry import POINTS, share

    return 100 * share(points / POINTS)


def tokens_per_second(billions: float, gigabytes_per_second: float) -> float:
    """Return the highest rate of a model with so many billion parameters at that memory bandwidth.

    The parameters are rounded to 4 bits, with their scales 4.5.

    >>> tokens_per_second(8, 45)
    10.0
    """
    from souron.hub.model_table import Row

    return Row("", parameters=billions).tokens_per_second(gigabytes_per_second * 1e9)
