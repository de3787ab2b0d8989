"""Numbers, days and names as people of a language write them, for pages.

Numbers come rounded from :mod:`streams.domain.percent`; only their signs are changed here. What
portals sent as a name is shown as the text that it is: characters that would turn the text around
them, or that nobody sees, are written out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from functools import lru_cache

from markupsafe import Markup, escape

from streams.api.pages.questions import Language
from streams.domain.calendar import ZONE
from streams.domain.percent import decimal, percent
from streams.views.spreadsheet import plain

NOTHING = "–"
"""Where there is no figure: never 0."""
_VIETNAMESE = str.maketrans(",.", ".,")


@dataclass(frozen=True)
class Written:
    """How one language writes what it is given."""

    language: Language

    def percent(self, numerator: int, denominator: int) -> str:
        """A share with its sign, or a dash where there is none."""
        if not denominator:
            return NOTHING
        return self._percent(percent(numerator, denominator))

    def target(self, value: Fraction | None) -> str:
        """A target as a share: decimals only where it has any."""
        if value is None:
            return NOTHING
        whole = (100 * value).denominator == 1
        return self._percent(percent(value.numerator, value.denominator, 0 if whole else 2))

    def percent_of_axis(self, whole: int) -> str:
        """Whole percent, as an axis has them."""
        return self._percent(str(whole))

    def points(self, value: Fraction | None, signed: bool = False) -> str:
        """A distance between shares in percentage points, without the unit."""
        if value is None:
            return NOTHING
        text = self._number(percent(abs(value.numerator), value.denominator))
        if signed and value:
            text = f"{'+' if value > 0 else '−'}{text}"
        return text

    def count(self, value: int | None, signed: bool = False) -> str:
        """A whole number."""
        if value is None:
            return NOTHING
        if 0 <= value < 1000 and not signed:
            return str(value)
        text = self._number(f"{abs(value):,}")
        if value < 0:
            return f"−{text}"
        return f"+{text}" if signed and value else text

    def decimal(self, value: Fraction, decimals: int) -> str:
        """A number that is no share."""
        return self._number(decimal(value, decimals))

    def day(self, day: int | None) -> str:
        """A day (an ordinal): 25/08/2022 · 25 Aug 2022."""
        if day is None:
            return NOTHING
        at = date.fromordinal(day)
        if self.language == "vi":
            return f"{at.day:02d}/{at.month:02d}/{at.year:04d}"
        return f"{at.day} {_MONTHS[at.month - 1]} {at.year}"

    def iso_day(self, text: str | None) -> str:
        """A day that is given as YYYY-MM-DD."""
        return NOTHING if text is None else _iso_day(self, text)

    def short_day(self, day: int) -> str:
        """A day without its year."""
        at = date.fromordinal(day)
        if self.language == "vi":
            return f"{at.day:02d}/{at.month:02d}"
        return f"{at.day} {_MONTHS[at.month - 1]}"

    def month(self, day: int) -> str:
        """The month of a day, as short as an axis wants it."""
        at = date.fromordinal(day)
        return f"T{at.month}" if self.language == "vi" else _MONTHS[at.month - 1]

    def moment(self, ms: int | None) -> str:
        """An instant in ms since the epoch, on the country's clock."""
        if ms is None:
            return NOTHING
        at = datetime.fromtimestamp(ms / 1000, UTC).astimezone(ZONE)
        clock = f"{at.hour:02d}:{at.minute:02d}"
        day = self.day(at.toordinal())
        return f"{clock} {day}" if self.language == "vi" else f"{day}, {clock}"

    def moment_from(self, ms: int | None, now: datetime) -> str:
        """An instant as it is said at ``now``: the time of today, the day of any other."""
        if ms is None:
            return NOTHING
        at = datetime.fromtimestamp(ms / 1000, UTC).astimezone(ZONE)
        if at.date() == now.astimezone(ZONE).date():
            return f"{at.hour:02d}:{at.minute:02d}"
        return self.day(at.toordinal())

    def _number(self, text: str) -> str:
        text = text.replace("-", "−")
        return text.translate(_VIETNAMESE) if self.language == "vi" else text

    def _percent(self, text: str) -> str:
        return f"{self._number(text)} %" if self.language == "vi" else f"{self._number(text)}%"


@lru_cache(maxsize=4096)
def _iso_day(written: Written, text: str) -> str:
    return written.day(date.fromisoformat(text).toordinal())


def isolated(name: str) -> Markup:
    """``name`` as HTML that has no say in the direction of the text around it."""
    return Markup(f"<bdi>{escape(plain(name))}</bdi>")


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
