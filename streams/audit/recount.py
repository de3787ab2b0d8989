"""Figures counted from the facts, straight as the contract's sections 3 and 4 word them.

A figure of a day looks at the dossiers of its window and at the catalogue of that day. ``cells``
says the same a second time, day by day, in the terms of the public topic.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import NamedTuple

import polars as pl

from streams.audit.calendar import KINDS, end_of, number_of, start_of, to_day
from streams.audit.facts import Facts

ZONE = "Asia/Ho_Chi_Minh"
CHANNELS = ("online", "in_person", "postal")
_LAST = number_of(date.max)


class Definition(NamedTuple):
    """A column of the table in the contract's section 4."""

    levels: tuple[int, ...]
    used: str
    """What happens to an online dossier in the period for its service to count."""
    processed: str
    online: str
    """The daily count that is the numerator of online_processed."""


DEFINITIONS = {
    "mic-2022": Definition((3, 4), "submitted", "resolved", "resolved_online"),
    "qd766": Definition((1, 2, 3, 4), "received", "received", "received_online"),
    "emc-2024": Definition((4,), "submitted", "resolved", "resolved_online_level4"),
}

Key = tuple[str, str, str, str]
"""(agency, kind of period, definition, figure); "" where the figure depends on neither."""
Counts = Counter[Key]


def day_of(column: str) -> pl.Expr:
    """The day in Viet Nam (since 1970-01-01) of an instant in µs."""
    instant = pl.col(column).cast(pl.Datetime("us", "UTC"))
    return instant.dt.convert_time_zone(ZONE).dt.date().cast(pl.Int32).cast(pl.Int64)


class Recount:
    """The facts as they stood when this was made."""

    def __init__(self, facts: Facts) -> None:
        self._known: dict[date, Counts] = {}
        self.latest = _latest(facts)
        """The latest day of any submission or step that was accepted; None without any."""
        self._listings = facts.listings.sort("effective_from")
        self._dossiers = self._counted(facts)
        self._daily = self._by_day().sort("day")
        self._online = {
            what: self._dossiers.filter(pl.col("channel") == 0)
            .select("agency", "service", day=what)
            .drop_nulls()
            .unique()
            .sort("day")
            for what in ("submitted", "received")
        }

    # -- dossiers ----------------------------------------------------------------------------

    def _counted(self, facts: Facts) -> pl.DataFrame:
        """The dossiers that count at all, and the days they count on."""

        def at(status: int) -> pl.Expr:
            return pl.col("at").filter(pl.col("status") == status).first()

        def some(*statuses: int) -> pl.Expr:
            return pl.col("status").is_in(statuses).any()

        steps = (
            facts.steps.filter(~pl.col("void"))
            .group_by("agency", "dossier")
            .agg(
                was_received=some(2, 4, 5, 6, 8, 9, 10),
                refused=some(3),
                withdrawn=some(7),
                accepted_at=at(2),
                resolved_at=pl.coalesce(at(9), at(10)),
            )
        )
        flags = ("was_received", "refused", "withdrawn")
        dossiers = (
            facts.submissions.filter(~pl.col("void"))
            .join(steps, on=["agency", "dossier"], how="left")
            .with_columns(pl.col(flags).fill_null(False))
            .filter(pl.col("was_received") | ~(pl.col("refused") | pl.col("withdrawn")))
            .with_columns(submitted=day_of("at"), resolved=day_of("resolved_at"))
            .with_columns(
                received=pl.when("was_received").then(
                    pl.coalesce(day_of("accepted_at"), "submitted")
                ),
                due=pl.col("resolved").is_not_null() & pl.col("due_at").is_not_null(),
                on_time=(pl.col("resolved_at") <= pl.col("due_at")).fill_null(False),
            )
            .select(
                *("agency", "service", "channel"),
                *("submitted", "received", "resolved", "due", "on_time"),
            )
            .sort("submitted")
        )
        catalogue = self._listings.select(
            "agency", "service", "effective_from", full=pl.col("listed") & (pl.col("level") == 4)
        )
        return dossiers.join_asof(
            catalogue,
            left_on="submitted",
            right_on="effective_from",
            by=["agency", "service"],
            strategy="backward",
            check_sortedness=False,
        ).with_columns(pl.col("full").fill_null(False))

    def _by_day(self) -> pl.DataFrame:
        """Dossiers by agency, what happened to them, and the day it happened."""
        parts = []
        for what in ("submitted", "received", "resolved"):
            for channel, name in enumerate(CHANNELS):
                parts.append((f"{what}_{name}", what, pl.col("channel") == channel))
        online = pl.col("channel") == 0
        parts.append(("resolved_online_level4", "resolved", online & pl.col("full")))
        parts.append(("due", "resolved", pl.col("due")))
        parts.append(("on_time", "resolved", pl.col("on_time")))
        return pl.concat(
            self._dossiers.filter(of & pl.col(day).is_not_null())
            .group_by("agency", day=day)
            .agg(n=pl.len().cast(pl.Int64))
            .select("agency", "day", "n", column=pl.lit(name))
            for name, day, of in parts
        )

    # -- figures of a day --------------------------------------------------------------------

    def figures(self, as_of: date) -> Counts:
        """Every count of every agency on a day, for all periods and definitions."""
        if as_of not in self._known:
            self._known[as_of] = self._figures(as_of)
        return self._known[as_of]

    def _figures(self, as_of: date) -> Counts:
        counts: Counts = Counter()
        until = number_of(as_of)
        in_force = (
            self._listings.filter(pl.col("effective_from") <= until)
            .unique(["agency", "service"], keep="last", maintain_order=True)
            .filter("listed")
            .select("agency", "service", "level", "eligible")
        )
        for agency, level, eligible in in_force.select("agency", "level", "eligible").iter_rows():
            counts[agency, "", "", f"listed_level{level}"] += 1
            if eligible:
                counts[agency, "", "", "eligible"] += 1
                if level == 4:
                    counts[agency, "", "", "eligible_level4"] += 1
            for name, definition in DEFINITIONS.items():
                if level in definition.levels:
                    counts[agency, "", name, "services_listed"] += 1
        for kind in KINDS:
            start = number_of(start_of(kind, as_of))
            self._flows(counts, kind, start, until)
            for what, days in self._online.items():
                used = (
                    _window(days, start, until)
                    .select("agency", "service")
                    .unique()
                    .join(in_force, on=["agency", "service"])
                    .group_by("agency", "level")
                    .len()
                )
                for agency, level, services in used.iter_rows():
                    for name, definition in DEFINITIONS.items():
                        if what == definition.used and level in definition.levels:
                            counts[agency, kind, name, "services_with_dossiers"] += services
        return counts

    def _flows(self, counts: Counts, kind: str, start: int, until: int) -> None:
        window = _window(self._daily, start, until)
        for agency, column, n in window.group_by("agency", "column").agg(pl.sum("n")).iter_rows():
            count_flow(counts, agency, kind, column, n)

    # -- every day ---------------------------------------------------------------------------

    def cells(self) -> pl.DataFrame:
        """Agency, column, day and number, as the public topic has them; zeroes left out."""
        parts = [self._daily.select("agency", "column", "day", "n")]
        spans = self._listings.select(
            *("agency", "service", "listed", "level", "eligible"),
            begin="effective_from",
            end=pl.col("effective_from").shift(-1).over("agency", "service"),
        ).filter("listed")
        spans = spans.with_columns(pl.col("end").fill_null(_LAST + 1))
        stocks = {f"listed_level{level}": pl.col("level") == level for level in (1, 2, 3, 4)}
        stocks["eligible"] = pl.col("eligible")
        stocks["eligible_level4"] = pl.col("eligible") & (pl.col("level") == 4)
        for column, holds in stocks.items():
            parts += _steps(spans.filter(holds), column, _LAST)
        for kind in KINDS:
            firsts = {what: _firsts(days, kind) for what, days in self._online.items()}
            for name, definition in DEFINITIONS.items():
                at_level = spans.filter(pl.col("level").is_in(definition.levels))
                used = (
                    at_level.join(firsts[definition.used], on=["agency", "service"])
                    .with_columns(begin=pl.max_horizontal("begin", "first"))
                    .filter((pl.col("begin") < pl.col("end")) & (pl.col("begin") <= pl.col("last")))
                )
                parts += _steps(used, f"used_{name}_{kind}", pl.col("last"))
        return (
            pl.concat(parts)
            .group_by("agency", "column", "day")
            .agg(pl.sum("n"))
            .filter(pl.col("n") != 0)
        )

    def months(self) -> set[date]:
        """The first days of the months in which anything happens."""
        days = [self._daily["day"], self._listings["effective_from"]]
        return {to_day(day).replace(day=1) for day in pl.concat(days).unique()}


def _latest(facts: Facts) -> date | None:
    if facts.latest is None:
        return None
    return to_day(pl.DataFrame({"at": [facts.latest]}).select(day_of("at")).item())


def count_flow(counts: Counts, agency: str, kind: str, column: str, n: int) -> None:
    """Add ``n`` dossiers of a daily count to the figures it is part of."""
    what, _, channel = column.partition("_")
    if what == "submitted" or column in ("due", "on_time"):
        counts[agency, kind, "", column] += n
    for name, definition in DEFINITIONS.items():
        if what == definition.processed and channel in CHANNELS:
            counts[agency, kind, name, "dossiers_processed"] += n
        if column == definition.online:
            counts[agency, kind, name, "dossiers_processed_online"] += n


def _window(frame: pl.DataFrame, start: int, until: int) -> pl.DataFrame:
    """The rows of the days ``start`` to ``until`` of a frame sorted by day."""
    low = frame["day"].search_sorted(start, side="left")
    return frame.slice(low, frame["day"].search_sorted(until, side="right") - low)


def _steps(spans: pl.DataFrame, column: str, last: int | pl.Expr) -> list[pl.DataFrame]:
    """+1 where a span begins, −1 where it ends, if that is not after the day ``last``."""
    named = pl.lit(column).alias("column")
    return [
        spans.select("agency", named, day="begin", n=pl.lit(1, pl.Int64)),
        spans.filter(pl.col("end") <= last).select(
            "agency", named, day="end", n=pl.lit(-1, pl.Int64)
        ),
    ]


def _firsts(days: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Per service and period of ``kind``: the first of the days in it, and the period's last."""
    known = days.select("day").unique()
    starts = {day: to_day(day) for day in known["day"]}
    periods = pl.DataFrame(
        {
            "day": list(starts),
            "start": [number_of(start_of(kind, day)) for day in starts.values()],
            "last": [number_of(end_of(kind, day)) for day in starts.values()],
        },
        schema={"day": pl.Int64, "start": pl.Int64, "last": pl.Int64},
    )
    return (
        days.join(periods, on="day")
        .group_by("agency", "service", "start", "last")
        .agg(first=pl.min("day"))
    )
