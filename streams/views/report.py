"""The figures as the API and the reports print them: one shape for every reader.

Ratios are unrounded numbers, the float nearest to the exact fraction; a share without a
denominator is null, never 0. The shape is in :mod:`streams.views.answers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

from streams.domain.calendar import Period, PeriodKind, period_of
from streams.domain.indicators import NATIONAL, Counts, Figures
from streams.domain.targets import GROUP_OF, Gap, Indicator
from streams.state.partition import NOT_SEEN, Seen
from streams.views.answers import Channels, IndicatorsAnswer, Ratios, Row, TargetAnswer
from streams.views.behind import Ends
from streams.views.published_months import PublishedMonths
from streams.views.reference_data import ReferenceData


def report_json(
    register: PublishedMonths,
    reference: ReferenceData,
    definition: str,
    kind: PeriodKind,
    as_of: int,
    ends: Ends | None,
) -> IndicatorsAnswer:
    """The whole answer. ``KeyError`` for a definition that is not in ``DEFINITIONS``.

    ``ends`` is how far the brokers were shortly before (:meth:`streams.views.behind.Behind.ends`).
    """
    figures = register.figures(reference, definition, kind, as_of)
    behind = register.lacking(ends)
    period = period_of(kind, as_of)
    return answer_json(figures, period, definition, behind, register.seen(), reference)


def answer_json(
    figures: Iterable[Figures],
    period: Period,
    definition: str,
    behind: int | None,
    seen: Mapping[str, Seen],
    reference: ReferenceData,
) -> IndicatorsAnswer:
    """An answer with some rows, in the order given."""
    return {
        "as_of": _day(period.end),
        "period": {"kind": period.kind, "start": _day(period.start), "end": _day(period.end)},
        "definition": definition,
        "behind": behind,
        "release": None,
        "rows": [_row(row, _last_event(row, seen, reference)) for row in figures],
    }


def flat_rows(answer: IndicatorsAnswer) -> Iterator[dict[str, Any]]:
    """The rows of an answer as a table has them: one value a column, each with what it is about."""
    period = answer["period"]
    about = {
        "as_of": answer["as_of"],
        "period": period["kind"],
        "period_start": period["start"],
        "definition": answer["definition"],
        "behind": answer["behind"],
        "release": answer["release"],
    }
    for row in answer["rows"]:
        yield about | flat(row)


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``row`` with the fields of nested objects as fields of its own: ``previous_year_…``."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}_")
        else:
            found[prefix + name] = value
    return found


def _row(figures: Figures, last_event_at: str | None) -> Row:
    counts = figures.counts
    return {
        "scope": figures.scope,
        "name": figures.name,
        "kind": figures.kind,
        "services_listed": counts.services_listed,
        "services_with_dossiers": counts.services_with_dossiers,
        "services_with_dossiers_ratio": _share(*counts.fraction("services_with_dossiers")),
        "dossiers_processed": counts.dossiers_processed,
        "dossiers_processed_online": counts.dossiers_processed_online,
        "online_processed_ratio": _share(*counts.fraction("online_processed")),
        "dossiers_submitted": _channels(counts.submitted),
        "on_time_ratio": _share(counts.on_time, counts.due),
        "level4_of_eligible": _share(counts.eligible_level4, counts.eligible),
        "level34_of_listed": _share(counts.level34, counts.listed),
        "level4_of_listed": _share(counts.level4, counts.listed),
        "previous_year": _ratios(figures.previous_year),
        "previous_period": _ratios(figures.previous_period),
        "targets": {
            "services_with_dossiers": _target(figures.gaps["services_with_dossiers"]),
            "online_processed": _target(figures.gaps["online_processed"]),
        },
        "rank": {
            "services_with_dossiers": figures.ranks["services_with_dossiers"],
            "online_processed": figures.ranks["online_processed"],
        },
        "last_event_at": last_event_at,
    }


def _channels(submitted: tuple[int, int, int]) -> Channels:
    online, in_person, postal = submitted
    return {"online": online, "in_person": in_person, "postal": postal}


def _target(gap: Gap) -> TargetAnswer:
    return {
        "ratio": _number(gap.target),
        "shortfall": _number(gap.shortfall),
        "missing": gap.missing,
        "behind_pace": _number(gap.behind_pace),
    }


def _ratios(counts: Counts | None) -> Ratios:
    def ratio(indicator: Indicator) -> float | None:
        return None if counts is None else _share(*counts.fraction(indicator))

    return {
        "services_with_dossiers_ratio": ratio("services_with_dossiers"),
        "online_processed_ratio": ratio("online_processed"),
    }


def last_event_ms(row: Figures, seen: Mapping[str, Seen], reference: ReferenceData) -> int | None:
    """The broker's time of the last accepted event of an agency, or of any of a group."""
    if row.kind is not None:
        return seen.get(row.scope, NOT_SEEN).at
    stamps = [
        seen.get(agency.code, NOT_SEEN).at
        for agency in reference.agencies.values()
        if row.scope in (NATIONAL, GROUP_OF[agency.kind])
    ]
    return max((stamp for stamp in stamps if stamp is not None), default=None)


def _last_event(row: Figures, seen: Mapping[str, Seen], reference: ReferenceData) -> str | None:
    at = last_event_ms(row, seen, reference)
    if at is None:
        return None
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")


def _share(numerator: int, denominator: int) -> float | None:
    # Division of whole numbers gives the float nearest to the fraction.
    return numerator / denominator if denominator else None


def _number(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()
