"""PromQL of the figures.

State is read with the maximum over the workers first, because around a rebalance two may show an
agency, and only then summed over agencies; a group's ratio is the sum of numerators ÷ the sum of
denominators (docs/metrics.md). A pooled figure is left out while not every partition is shown: a
part of the country must not pass for the whole.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from streams.metrics import catalogue as metrics
from streams.metrics.catalogue import Metric

Indicator = Literal["services_with_dossiers", "online_processed"]
INDICATORS: tuple[Indicator, ...] = ("services_with_dossiers", "online_processed")

RATIO = {
    "services_with_dossiers": metrics.SERVICES_WITH_DOSSIERS_RATIO,
    "online_processed": metrics.ONLINE_PROCESSED_RATIO,
}


class At(NamedTuple):
    """When a series is read: as of now, or the last sample of a window, perhaps some time ago."""

    window: str = ""
    ago: str = ""


NOW = At()
OVER_TIME = At("$__rate_interval")
"""For graphs: also shows the daily samples of a backfilled past, at any step."""
WEEK_AGO = At("1d", "7d")
YEAR_AGO = At("1d", "365d")

# Roundings of floats are far smaller than this, and the distance of a target of up to five
# decimals from the next whole number of dossiers is larger.
_SLACK = "1e-6"

_VIETNAM_SECONDS = "25200"


def series(metric: Metric, at: At = NOW, /, **matchers: str) -> str:
    """A selector: exact matchers, regular expressions where the value starts with ``~``."""
    parts = ['job=~"$job"']
    for label, value in matchers.items():
        if value:
            sign = "=~" if value.startswith("~") else "="
            parts.append(f'{label}{sign}"{value.removeprefix("~")}"')
    selector = f"{metric.name}{{{','.join(parts)}}}"
    offset = f" offset {at.ago}" if at.ago else ""
    if at.window:
        return f"last_over_time({selector}[{at.window}]{offset})"
    return selector + offset


def highest(by: str, metric: Metric, at: At = NOW, /, **matchers: str) -> str:
    """The maximum over the workers: of what is shown at the moment, and only where nobody shows
    anything of the last samples before it. The last sample of a worker that has since given an
    agency away may be higher than what is shown of it now."""
    at_the_moment = f"max{by} ({series(metric, At('', at.ago), **matchers)})"
    if not at.window:
        return at_the_moment
    return f"({at_the_moment} or max{by} ({series(metric, at, **matchers)}))"


def state(metric: Metric, at: At = NOW, also: str = "", /, **matchers: str) -> str:
    """A state metric per agency, of whichever worker shows it; ``also`` names a further label."""
    labels = f"agency, kind, {also}" if also else "agency, kind"
    return highest(f" by ({labels})", metric, at, **matchers)


def ratio(indicator: Indicator, at: At = NOW, period: str = "$period", /, **who: str) -> str:
    """An agency's share."""
    return state(RATIO[indicator], at, period=period, **who)


def target(indicator: Indicator, at: At = NOW, /, **who: str) -> str:
    """An agency's target."""
    return state(metrics.TARGET_RATIO, at, indicator=indicator, **who)


def denominator(indicator: Indicator, at: At = NOW, period: str = "$period", /, **who: str) -> str:
    """What an agency's share is a share of. Of services: those listed on the as-of day only."""
    if indicator == "services_with_dossiers":
        each = state(metrics.SERVICES_LISTED, at, "level", level="~$levels", **who)
    else:
        each = state(metrics.DOSSIERS_PROCESSED, at, "channel", period=period, **who)
    return f"sum by (agency, kind) ({each})"


def numerator(indicator: Indicator, at: At = NOW, period: str = "$period", /, **who: str) -> str:
    """How many of them count. The share is the float nearest to the fraction, so this is whole
    under every definition."""
    if indicator == "services_with_dossiers":
        return state(metrics.SERVICES_WITH_DOSSIERS, at, period=period, **who)
    whole = denominator(indicator, at, period, **who)
    return f"round({ratio(indicator, at, period, **who)} * {whole})"


def incomplete(at: At = NOW) -> str:
    """Something while partitions are missing or a worker recovers; nothing when all is shown, and
    nothing in a backfilled past, which has no partitions."""
    topic, moment = {"topic": "~.*submissions"}, At("", at.ago)
    seen = series(metrics.CONSUMER_LAG, At("1d", at.ago), **topic)
    shown = series(metrics.CONSUMER_LAG, moment, **topic)
    return (
        f"(count(count by (partition) ({seen})) > "
        f"(count(count by (partition) ({shown})) or on () vector(0)) "
        f"or on () (min({series(metrics.READY, moment)}) == 0))"
    )


def misdefined(at: At = NOW) -> str:
    """Agencies whose exported share is not numerator ÷ denominator: $levels is not that of the
    worker's definition. The year's figures are compared; nothing when all agree."""
    name: Indicator = "services_with_dossiers"
    own = f"{numerator(name, at, 'year')} / {denominator(name, at)}"
    return f"(count(abs({own} - {ratio(name, at, 'year')}) > 1e-9) > 0)"


def pooled(
    indicator: Indicator,
    at: At = NOW,
    period: str = "$period",
    kind: str = "",
    by_kind: bool = False,
) -> str:
    """A group's share: the nation's, a kind's, or each kind's as series by ``kind``."""
    over = "sum by (kind)" if by_kind else "sum"
    who = {"kind": kind}
    share = (
        f"{over} ({numerator(indicator, at, period, **who)}) / "
        f"({over} ({denominator(indicator, at, period, **who)}) > 0)"
    )
    gate = f" unless on () {incomplete(at)}"
    if indicator == "services_with_dossiers":
        gate += f" unless on () {misdefined(at)}"
    return share + gate


def pooled_target(
    indicator: Indicator,
    at: At = NOW,
    period: str = "$period",
    kind: str = "",
    by_kind: bool = False,
) -> str:
    """Where a group stands if each of its agencies meets its own target exactly."""
    over = "sum by (kind)" if by_kind else "sum"
    who = {"kind": kind}
    parts = denominator(indicator, at, period, **who)
    aims = target(indicator, at, **who)
    share = f"{over} ({aims} * {parts}) / ({over} ({parts} and {aims}) > 0)"
    return f"{share} unless on () {incomplete(at)}"


def every_group(nation: str, kinds: str) -> str:
    """Three series by ``kind``: national, ministry, province."""
    return f'label_replace({nation}, "kind", "national", "", "") or ({kinds})'


def kind_number(figure: str) -> str:
    """1 for a ministry, 2 for a province, of the agencies that a figure has."""
    numbers = (
        f"0 * {target(name, kind=kind)} + {number} or 0 * {ratio(name, kind=kind)} + {number}"
        for number, kind in ((1, "ministry"), (2, "province"))
        for name in INDICATORS
    )
    return f"({' or '.join(numbers)}) and {figure}"


def met(share: str, aim: str) -> str:
    """1 where a share is at its target or above, 0 below it."""
    return f"({share}) >= bool ({aim}) - 1e-12"


def shortfall(share: str, aim: str) -> str:
    """How far a share is below its target, 0 where it is not."""
    return f"clamp_min(({aim}) - ({share}), 0)"


def missing(indicator: Indicator, /, **who: str) -> str:
    """How many more services or dossiers would have met the target."""
    whole = f"ceil({target(indicator, **who)} * {denominator(indicator, **who)} - {_SLACK})"
    return f"clamp_min({whole} - {numerator(indicator, **who)}, 0) and {ratio(indicator, **who)}"


def as_of(at: At = NOW) -> str:
    """The as-of day as seconds at which UTC's calendar shows Vietnam's day."""
    return f"({highest('', metrics.AS_OF, at)} + {_VIETNAM_SECONDS})"


def pace(at: At = NOW, /, **who: str) -> str:
    """Where services_with_dossiers should stand: a straight line from 0 on 1 January to the target
    on 31 December. Nothing unless $period is the year, whose target it is."""
    day = as_of(at)
    gone = f"scalar((day_of_year({day}) - 1) / (364 + (year({day}) % 4 == bool 0)))"
    # No series has two periods, so this is there only when both are the year.
    name = metrics.SERVICES_WITH_DOSSIERS.name
    of_the_year = series(metrics.SERVICES_WITH_DOSSIERS, at, period="year").replace(
        f"{name}{{", f'{name}{{period=~"$period",'
    )
    return f"{target('services_with_dossiers', at, **who)} * {gone} and on () group({of_the_year})"


def same_year(figure: str, ago: At) -> str:
    """A figure as long as the as-of day and that of some time ago are in one year: across New Year
    the shares begin again, and a difference would say nothing."""
    return f"{figure} and on () (year({as_of()}) == year({as_of(ago)}))"


def change(indicator: Indicator, /, **who: str) -> str:
    """How far an agency's share of the year has moved in a week."""
    now, before = ratio(indicator, NOW, "year", **who), ratio(indicator, WEEK_AGO, "year", **who)
    return same_year(f"({now} - {before})", WEEK_AGO)


def last_met(indicator: Indicator, /, **who: str) -> str:
    """Milliseconds since 1970 of the last midnight (UTC) of 90 days on which the agency was at
    its target, of those that are below it now; 0 where there was none."""
    share = ratio(indicator, At("1d"), **who)
    aim = target(indicator, At("1d"), **who)
    then = f"max_over_time(timestamp({share} >= {aim})[90d:1d])"
    below = f"({ratio(indicator, **who)} < {target(indicator, **who)})"
    return f"1000 * {then} and {below} or 0 * {below}"
