"""PromQL of the figures.

Shares, targets and pace are what prometheus/rules/figures.yml records of each scope (an agency, a
group or the nation): the rules pool, and one series of theirs over 90 days is read in milliseconds
where the workers' own take seconds. The exported past has the same series. What is not recorded is
read with the maximum over the workers, because around a rebalance two may show an agency.

A figure of a group is left out while not every partition is shown: a part of the country must not
pass for the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from streams.metrics import catalogue as metrics
from streams.metrics import recorded
from streams.metrics.catalogue import Metric

Indicator = Literal["services_with_dossiers", "online_processed"]
INDICATORS: tuple[Indicator, ...] = ("services_with_dossiers", "online_processed")


class At(NamedTuple):
    """When a series is read: as of now, or the last sample of a window, perhaps some time ago."""

    window: str = ""
    ago: str = ""


NOW = At()
OVER_TIME = At("$__rate_interval")
"""For graphs: also shows the daily samples of an exported past, at any step."""
WEEK_AGO = At("25h", "7d")
"""The last sample of that day: an exported past has one a day."""

# Roundings of floats are far smaller than this, and the distance of a target of up to five
# decimals from the next whole number of dossiers is larger.
_SLACK = "1e-6"
_ROUNDING = "1e-12"

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
    """How many definitions the workers count by, where it is more than one."""
    definitions = series(metrics.DEFINITION, At("", at.ago))
    return f"(count(count by (definition) ({definitions})) > 1)"


def seen(metric: Metric, at: At = NOW, also: str = "", /, **matchers: str) -> str:
    """A state metric of agencies, of whichever worker shows it; ``also`` names a further label.
    Over time also of an exported past, a sample a day, which has no job: a window over scrapes
    would read each of them several times, and find what a worker showed before it gave an agency
    away."""
    labels = f"agency, kind, {also}" if also else "agency, kind"
    shown = f"max by ({labels}) ({_selected(metric.name, NOW, matchers)})"
    if not at.window:
        return shown
    past = _selected(metric.name, at, matchers).replace("{", '{job="",', 1)
    return f"({shown} or max by ({labels}) ({past}))"


def _selected(name: str, at: At, matchers: Mapping[str, str]) -> str:
    parts = []
    for label, value in matchers.items():
        if value:
            sign = "=~" if value.startswith("~") else "="
            parts.append(f'{label}{sign}"{value.removeprefix("~")}"')
    selector = name + (f"{{{','.join(parts)}}}" if parts else "")
    offset = f" offset {at.ago}" if at.ago else ""
    if at.window:
        return f"last_over_time({selector}[{at.window}]{offset})"
    return selector + offset


def share(indicator: Indicator, at: At = NOW, period: str = "$period", /, **who: str) -> str:
    """A share of scopes: ``scope`` or ``kind`` says which."""
    return _selected(recorded.SHARE.name, at, {**who, "indicator": indicator, "period": period})


def target(indicator: Indicator, at: At = NOW, /, **who: str) -> str:
    """A target, where it applies: of services that is the year, at whose end it is to be reached;
    a share of processed dossiers does not grow, so that it is there in every period."""
    return _of_the_year(indicator, at, _selected(recorded.TARGET.name, at, _who(indicator, who)))


def pace(indicator: Indicator, at: At = NOW, /, **who: str) -> str:
    """Where the share should stand: of services a straight line from 0 on 1 January to the target
    on 31 December, of processed dossiers the target itself. Where the target applies."""
    return _of_the_year(indicator, at, _selected(recorded.PACE.name, at, _who(indicator, who)))


def _who(indicator: Indicator, who: Mapping[str, str]) -> dict[str, str]:
    return {**who, "indicator": indicator}


def _of_the_year(indicator: Indicator, at: At, figure: str) -> str:
    if indicator == "online_processed":
        return figure
    return f"({figure} and on () {_year_is_chosen(at)})"


def _year_is_chosen(at: At) -> str:
    # No series has two periods, so this is there only when both are the year.
    labels = {"period": "year", "scope": "national"}
    year = _selected(recorded.SHARE.name, At(at.window or "25h"), labels)
    return f"group({year.replace('}', _PERIOD, 1)})"


_PERIOD = ',period=~"$period"}'


_BY_SCOPE = "sum by (scope, kind)"
"""Drops the labels that differ between a share, its target and its counts."""


def alike(figure: str) -> str:
    """A figure by scope and kind alone, to be compared with others of the same scopes."""
    return f"{_BY_SCOPE} ({figure})"


def whole(figure: str) -> str:
    """A figure of groups, blank while a part of the country is not shown. An exported past has no
    partitions that could be missing."""
    return f"({figure} unless on () (hoso:figures_complete:bool == 0))"


def course(indicator: Indicator, /, **who: str) -> str:
    """2 at the target or above; else 1 on course to it, 0 behind. For processed dossiers the pace
    is the target itself, so that there is no 1."""
    own = alike(share(indicator, **who))
    passed = [f"({own} >= bool {alike(pace(indicator, **who))} - {_ROUNDING})"]
    passed.append(f"({own} >= bool {alike(target(indicator, **who))} - {_ROUNDING})")
    return " + ".join(passed)


def below(indicator: Indicator, /, **who: str) -> str:
    """The share of those who are below a target that applies."""
    aim = alike(target(indicator, **who))
    return f"({alike(share(indicator, **who))} < {aim} - {_ROUNDING})"


def shortfall(indicator: Indicator, /, **who: str) -> str:
    """How many percentage points a share is below its target, 0 where it is not."""
    aim, own = alike(target(indicator, **who)), alike(share(indicator, **who))
    return f"100 * clamp_min({aim} - {own}, 0)"


def denominator(indicator: Indicator, period: str = "$period", /, **who: str) -> str:
    """What a share is a share of."""
    return _selected("scope:hoso_denominator:sum", NOW, _counted(indicator, period, who))


def numerator(indicator: Indicator, period: str = "$period", /, **who: str) -> str:
    """How many of them count."""
    return _selected("scope:hoso_numerator:sum", NOW, _counted(indicator, period, who))


def _counted(indicator: Indicator, period: str, who: Mapping[str, str]) -> dict[str, str]:
    return {**who, "indicator": indicator, "period": period}


def missing(indicator: Indicator, /, **who: str) -> str:
    """How many more services or dossiers would have met the target."""
    of = f"({alike(denominator(indicator, **who))} > 0)"
    needed = f"ceil({alike(target(indicator, **who))} * {of} - {_SLACK})"
    return f"clamp_min({needed} - {alike(numerator(indicator, **who))}, 0)"


def spread(indicator: Indicator, kind: str, quantile: str) -> str:
    """Over time: the lowest (0), middle (0.5) or highest (1) share of a kind."""
    labels = {"kind": kind, "quantile": quantile, "indicator": indicator, "period": "$period"}
    return _selected(recorded.SPREAD.name, OVER_TIME, labels)


def change(indicator: Indicator, /, **who: str) -> str:
    """How many points a share of the year has moved in a week. Nothing in the first week of a year:
    the shares begin again, and a difference would say nothing."""
    now = alike(share(indicator, NOW, "year", **who))
    before = alike(share(indicator, WEEK_AGO, "year", **who))
    return f"(100 * ({now} - {before}) and on () (hoso:as_of_day_of_year:number > 7))"


def last_met(indicator: Indicator, /, **who: str) -> str:
    """Milliseconds since 1970 of the last hour of 90 days in which those were at their target who
    are below it now; 0 where there was none."""
    met = _selected(recorded.MET_AT.name, At("90d"), _who(indicator, who))
    then = met.replace("last_over_time", "max_over_time")
    under = below(indicator, **who)
    return f"1000 * {alike(then)} and {under} or 0 * {under}"


def as_of() -> str:
    """The as-of day as milliseconds since 1970."""
    return "1000 * hoso:as_of:timestamp"


def beside(main: str, figure: str) -> str:
    """A figure that stands beside a main one: nothing where that is missing, and not a number
    where it is missing itself. So a tile shows all of its values or none, and one that is not
    there does not leave its place to another."""
    return f"({figure} and on () {main}) or on () ({main} * NaN)"


def beside_in_a_year(main: str, figure: str) -> str:
    """The same of a figure that other periods than the year do not have; -1 in those."""
    other = f"((0 * {main} - 1) unless on () {_year_is_chosen(NOW)})"
    return f"({figure} and on () {main}) or on () {other} or on () ({main} * NaN)"


def rejections(by: str, window: str, /, **matchers: str) -> str:
    """How many records were rejected in a window, to the last one."""
    each = _selected("instance:hoso_events_rejected:count", NOW, matchers)
    return f"sum by ({by}) (sum_over_time({each}[{window}]))"


def _as_label(label: str, figure: str) -> str:
    """One series without a value of its own, with a number as text in a label."""
    return f'count_values("{label}", {figure})'


def _beside(*vectors: str) -> str:
    """Series of one sample each as one series, with all their labels."""
    first, *others = vectors
    for other in others:
        label = other.partition('"')[2].partition('"')[0]
        first += f" * on () group_left ({label}) {other}"
    return first


def _day(moment: str) -> tuple[str, ...]:
    """The day of a moment in Vietnam, as the labels ``day``, ``month`` and ``year``."""
    local = f"({moment} + {_VIETNAM_SECONDS})"
    two = {"day": f"day_of_month({local})", "month": f"month({local})"}
    padded = (
        f'label_replace({_as_label(name, number)}, "{name}", "0$1", "{name}", "(.)")'
        for name, number in two.items()
    )
    return *padded, _as_label("year", f"year({local})")


_DEFINITION = (
    "(count by (definition) (hoso_definition_info)"
    ' or on () label_replace(vector(1), "definition", "?", "", ""))'
)
_LAST_AS_OF = (
    "(last_over_time(hoso:as_of:timestamp[2h])"
    " or on () last_over_time(hoso:as_of_hourly:timestamp[90d])"
    ' or on () max(last_over_time(hoso_as_of_timestamp_seconds{job=""}[90d])))'
)
"""Each reads few samples: an hour's rule, an exported past."""


def status(complete: bool) -> str:
    """One series for each definition in use, with what there is to say of the figures in its
    labels: ``day``, ``month``, ``year``, ``definition``, ``shown``, ``known`` (agencies) and
    ``behind`` (records). Only while they are complete, or only while they are not."""
    behind = (
        f"({_as_label('behind', f'min({metrics.BEHIND.name})')}"
        ' or on () label_replace(vector(1), "behind", "?", "", ""))'
    )
    counts = (
        _as_label("shown", "(hoso:agencies:count or on () vector(0))"),
        _as_label("known", "(hoso:agencies_known:count or on () vector(0))"),
        behind,
    )
    line = _beside(_DEFINITION, *_day("hoso:as_of:timestamp"), *counts)
    return f"{line} and on () (hoso:figures_complete:bool == {int(complete)})"


def nothing_shown() -> str:
    """The day of the last figures as labels, while no worker shows any."""
    return f"{_beside(*_day(_LAST_AS_OF))} unless on () hoso:figures_complete:bool"


def never_shown() -> str:
    """Something while Prometheus knows of no figures at all, or has no rules to record them."""
    return f"vector(1) unless on () hoso:figures_complete:bool unless on () {_LAST_AS_OF}"
