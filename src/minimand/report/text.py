"""Words and numbers as a report shows them: harmless, short, with digits that mean something."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

# Control characters, halves of surrogate pairs and non-characters (none of them may stand in XML:
# the SVG renderer aborts the process), and the marks that make text run backwards.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def printable(value: Any) -> Any:
    r"""`value` with every unprintable character, at any depth of lists and mappings, as U+FFFD.

    >>> printable({"a\x00b": ["c\x1b"]})
    {'a�b': ['c�']}
    """
    if isinstance(value, str):
        return _UNPRINTABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {printable(k): printable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(v) for v in value]
    return value


def clip(text: str, limit: int) -> str:
    """`text`, cut to at most `limit` characters.

    >>> clip("temperature", 6)
    'tempe…'
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def digits(low: float | None, high: float | None) -> int | None:
    """Decimals that show an interval's half-width with two significant digits; None if it has none.

    >>> digits(40.2, 46.0), digits(0.951, 0.979), digits(1.0, 1.0)
    (1, 3, None)
    """
    if low is None or high is None or not 0 < high - low < math.inf:
        return None
    return min(max(1 - math.floor(math.log10((high - low) / 2)), 0), 8)


def number(value: float | None, decimals: int | None = None) -> str:
    """`value` for reading: four significant digits, or the given number of decimals.

    >>> number(0.123456), number(12345.6), number(43.14, 1), number(-2e-9), number(None)
    ('0.1235', '12,346', '43.1', '−2.00e-09', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    size = abs(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if size >= 1e7 or (decimals is None and 0 < size < 1e-4):
        text = f"{value:.2e}"
    elif decimals is not None:
        text = f"{value:,.{decimals}f}"
    elif size >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.4g}"
    nothing = float(text.replace(",", "")) == 0
    return text.lstrip("-") if nothing else text.replace("-", "−", int(value < 0))


def interval(score: Mapping[str, Any], key: str = "value", decimals: int | None = None) -> str:
    """A score and its interval, all with the same decimals.

    >>> interval({"value": 43.12, "low": 40.2, "high": 46.04})
    '43.1 [40.2, 46.0]'
    """
    low, high = score.get("low"), score.get("high")
    decimals = digits(low, high) if decimals is None else decimals
    value = number(score[key], decimals)
    if low is None or high is None:
        return value
    return f"{value} [{number(low, decimals)}, {number(high, decimals)}]"


def duration(seconds: float) -> str:
    """A time span in the unit that suits it.

    >>> duration(0.0123), duration(12.34), duration(305.0)
    ('12 ms', '12.3 s', '5 min 5 s')
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"
