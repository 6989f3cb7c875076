"""Statistics: intervals of shares, and counts among people, alarms or answers."""


def interval_low(right: int, count: int) -> float:
    """Return the lower end of the 95 % interval of a share, in percent.

    >>> round(interval_low(18, 20))
    70
    """
    from souron.stats.intervals import proportion_interval

    return 100 * proportion_interval(right, count).low


def interval_high(right: int, count: int) -> float:
    """Return the upper end of the 95 % interval of a share, in percent.

    >>> round(interval_high(0, 100), 1)
    3.7
    """
    from souron.stats.intervals import proportion_interval

    return 100 * proportion_interval(right, count).high


def false_alarms(sensitivity: float, specificity: float, prevalence: float, people: int = 1000) -> int:
    """Count the false alarms among so many people.

    >>> false_alarms(0.9, 0.9, 0.01)
    99
    """
    from souron.metrics.net_benefit import frequencies

    return frequencies(sensitivity, specificity, prevalence, people).alarms


def missed(sensitivity: float, specificity: float, prevalence: float, people: int = 1000) -> int:
    """Count the cases that are not found among so many people.

    >>> missed(0.6, 0.98, 0.02)
    8
    """
    from souron.metrics.net_benefit import frequencies

    return frequencies(sensitivity, specificity, prevalence, people).missed


def right_alarms(sensitivity: float, specificity: float, prevalence: float, people: int = 1000) -> float:
    """Return the percentage of alarms that are right.

    >>> round(right_alarms(0.8, 0.99, 0.01, 10_000), 1)
    44.7
    """
    from souron.metrics.net_benefit import frequencies

    counts = frequencies(sensitivity, specificity, prevalence, people)
    return 100 * counts.found / counts.called
