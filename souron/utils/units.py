"""Human-readable numbers: ``1.2 M``, ``3.4 GFLOP``, ``12 MB``, ``1 min 20 s``, ``93.2 %``."""

import math

from souron.utils.messages import _

UNKNOWN = "–"


def count(number: float) -> str:
    """Format a count: exact below ten thousand, then ``60 k``, ``1.2 M``, ``138 M``, ``1.5 B``."""
    if not math.isfinite(number):
        return UNKNOWN
    return whole(number) if number < 9_999.5 else _scaled(number, ("", "k", "M", "B", "T"))


def whole(number: float) -> str:
    """Format with every digit: ``60,000``."""
    return f"{round(number):,}"


def roughly(number: int) -> str:
    """Round up to two digits: 63,108 is ``64,000``."""
    power = 10 ** max(len(str(number)) - 2, 0)
    return whole(-(-number // power) * power)


def operations(number: float) -> str:
    """Format floating-point operations: ``3.4 GFLOP``."""
    scaled = _scaled(number, ("", "k", "M", "G", "T", "P"))
    return f"{scaled}FLOP" if " " in scaled else f"{scaled} FLOP"


def scaled(number: float) -> str:
    """Format with an SI prefix: ``900 M``, ``1 G``."""
    return _scaled(number, ("", "k", "M", "G", "T", "P"))


def size(number: float) -> str:
    """Format bytes in powers of a thousand: ``12 MB``."""
    scaled = _scaled(number, ("", "k", "M", "G", "T", "P"))
    return f"{scaled}B" if " " in scaled else f"{scaled} B"


def _scaled(number: float, prefixes: tuple[str, ...]) -> str:
    power = 0
    while abs(number) >= 999.5 and power < len(prefixes) - 1:
        number, power = number / 1000, power + 1
    text = f"{number:.0f}" if abs(number) >= 99.95 or not power else f"{number:.1f}"
    return f"{text.removesuffix('.0')} {prefixes[power]}" if power else text


def seconds(duration: float) -> str:
    """Format a duration: ``3.1 ms``, ``0.42 s``, ``3.2 s``, ``42 s``, ``1 min 20 s``,
    ``2 h 5 min``.
    """
    if not math.isfinite(duration):
        return UNKNOWN
    if 0 < duration < 0.00995:
        return _("{milliseconds} ms").format(milliseconds=f"{1000 * duration:.2g}")
    if duration < 0.995:
        return _("{seconds} s").format(seconds=f"{duration:.2f}")
    if duration < 9.95:
        return _("{seconds} s").format(seconds=f"{duration:.1f}")
    if duration < 59.5:
        return _("{seconds} s").format(seconds=round(duration))
    if duration < 3599.5:
        minutes, rest = divmod(round(duration), 60)
        if rest == 0:
            return _("{minutes} min").format(minutes=minutes)
        return _("{minutes} min {seconds} s").format(minutes=minutes, seconds=rest)
    hours, rest = divmod(round(duration / 60), 60)
    return _("{hours} h {minutes} min").format(hours=hours, minutes=rest)


def percent(share: float, digits: int = 1) -> str:
    """Format a proportion in 0..1: ``93.2 %``."""
    return f"{100 * share:.{digits}f} %" if math.isfinite(share) else UNKNOWN


def measure(unit: str, value: float) -> str:
    """Format a value with its unit: a percentage for ``"share"``, else three significant digits."""
    if not math.isfinite(value):
        return UNKNOWN
    return percent(value) if unit == "share" else f"{_three(value)} {unit}".rstrip()


def interval(unit: str, low: float, high: float) -> str:
    """Format an interval: ``91.5–92.6 %``, or ``-0.12 to 0.34`` with negative ends."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return UNKNOWN
    suffix = " %" if unit == "share" else f" {unit}" if unit else ""
    first, last = measure(unit, low), measure(unit, high)
    return ends(first if low < 0 or high < 0 else first.removesuffix(suffix), last)


def ends(low: str, high: str) -> str:
    """Join the ends of an interval, which are formatted already: ``0.55–0.91``; signed ones with a word.

    >>> ends("0.55", "0.91"), ends("-0.12", "0.34"), ends("+0.1", "+0.3")
    ('0.55–0.91', '-0.12 to 0.34', '+0.1 to +0.3')
    """
    signed = low.startswith(("-", "+")) or high.startswith(("-", "+"))
    return _("{low} to {high}").format(low=low, high=high) if signed else f"{low}–{high}"


def difference(unit: str, value: float) -> str:
    """Format a difference with its sign; of proportions in percentage points: ``+1.2 points``."""
    if not math.isfinite(value):
        return UNKNOWN
    if unit == "share":
        digits = 1 if value == 0 or abs(value) >= 5e-4 else 2
        points = round(100 * value, digits) + 0.0  # -0.0 becomes 0.0
        return _("{points} points").format(points=f"{points:+.{digits}f}")
    return f"{'+' if value >= 0 else ''}{_three(value)} {unit}".rstrip()


def differences(unit: str, low: float, high: float) -> str:
    """Format an interval of differences: ``-1.2 to +0.4 points``."""
    first = difference(unit, low)
    if unit == "share":
        first = first.split(" ")[0]
    return ends(first, difference(unit, high))


def _three(value: float) -> str:
    """Format three significant digits with trailing zeros, without an exponent from 1e-4 to 1e6."""
    if value == 0 or not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def severity(name: str) -> str:
    """Return the severity of a data finding in the reader's language."""
    return {"error": _("error"), "warning": _("warning"), "hint": _("hint")}.get(name, name)
