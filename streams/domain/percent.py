"""Numbers as people read them: rounded half up from exact arithmetic, never to all or to nothing.

Pure. Figures are fractions everywhere else; this is the one place where decimals are made of them
(contract, section 6).
"""

from __future__ import annotations

from fractions import Fraction


def percent(numerator: int, denominator: int, decimals: int = 2) -> str:
    """A share in percent, without the sign, rounded half up.

    Never up to 100 nor down to 0: 29,999 of 30,000 is ``99.99`` and 1 of 30,000 is ``0.01``, since
    "all" and "none" are statements of their own. Raises ``ZeroDivisionError`` where there is no
    share.
    """
    if not denominator:
        raise ZeroDivisionError
    whole, top, bottom = 100 * 10**decimals, abs(numerator), abs(denominator)
    units = (2 * top * whole + bottom) // (2 * bottom)
    if 0 < top < bottom:
        units = min(max(units, 1), whole - 1)
    return _printed(units, decimals, negative=bool(top) and (numerator < 0) != (denominator < 0))


def decimal(value: Fraction, decimals: int) -> str:
    """``value``, which is no share, with so many decimals, rounded half up."""
    units = _half_up(abs(value) * 10**decimals)
    return _printed(units, decimals, negative=value < 0 and units > 0)


def _half_up(value: Fraction) -> int:
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def _printed(units: int, decimals: int, *, negative: bool) -> str:
    whole, rest = divmod(units, 10**decimals)
    return f"{'-' if negative else ''}{whole:,}" + (f".{rest:0{decimals}d}" if decimals else "")
