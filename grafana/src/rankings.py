"""*Ministries* and *Provinces*: who stands where."""

from __future__ import annotations

from grafana.src.expressions import (
    INDICATORS,
    NOW,
    OVER_TIME,
    Indicator,
    denominator,
    met,
    missing,
    numerator,
    pooled,
    pooled_target,
    ratio,
    shortfall,
    state,
    target,
)
from grafana.src.nation import NAMES
from grafana.src.panels import COUNT, DURATION, MET, Column, Graph, Heading, Panel, Query, Table
from grafana.src.texts import CHANNELS, LAST_YEAR, TARGET, Text
from streams.metrics import catalogue as metrics

MINISTRIES_TITLE = Text("Bộ, ngành", "Ministries")
MINISTRIES_DESCRIPTION = Text(
    "Xếp hạng các bộ, ngành theo hai tỷ lệ, so với mục tiêu.",
    "Ministries ranked by both shares, with targets.",
)
PROVINCES_TITLE = Text("Tỉnh, thành phố", "Provinces")
PROVINCES_DESCRIPTION = Text(
    "Xếp hạng các tỉnh, thành phố theo hai tỷ lệ, so với mục tiêu.",
    "Provinces ranked by both shares, with targets.",
)

_COUNTED = {
    "services_with_dossiers": (
        Text("Có hồ sơ", "With dossiers"),
        Text("Được niêm yết", "Listed"),
        Text("Dịch vụ còn thiếu", "Services missing"),
    ),
    "online_processed": (
        Text("Trực tuyến", "Online"),
        Text("Được xử lý", "Processed"),
        Text("Hồ sơ còn thiếu", "Dossiers missing"),
    ),
}


def _ranking(indicator: Indicator, kind: str) -> Table:
    share, aim = ratio(indicator, kind=kind), target(indicator, kind=kind)
    counted, of, short = _COUNTED[indicator]
    return Table(
        NAMES[indicator],
        Text(
            "Bảng sắp theo tỷ lệ; bấm vào tiêu đề cột để sắp khác, vào tên để xem cơ quan. Còn "
            "thiếu: mục tiêu trừ tỷ lệ (điểm phần trăm), và số cần thêm để đạt mục tiêu.",
            "Sorted by share; a click on a heading sorts otherwise, on a name opens the agency. "
            "Shortfall: target less share (percentage points), and how many more would meet it.",
        ),
        [
            Column(Text("Tỷ lệ", "Share"), share, bar=True),
            Column(TARGET, aim),
            Column(Text("Trạng thái", "State"), met(share, aim), COUNT, MET),
            Column(Text("Còn thiếu", "Shortfall"), shortfall(share, aim)),
            Column(short, missing(indicator, kind=kind), COUNT),
            Column(counted, numerator(indicator, kind=kind), COUNT),
            Column(of, denominator(indicator, kind=kind), COUNT),
            Column(LAST_YEAR, ratio(indicator, NOW, "${period}_last_year", kind=kind)),
        ],
        height=16,
    )


def _volumes(kind: str) -> Table:
    on_time = state(metrics.DOSSIERS_ON_TIME, period="$period", kind=kind)
    due = state(metrics.DOSSIERS_DUE, period="$period", kind=kind)
    submitted = [
        Column(
            name,
            state(metrics.DOSSIERS_SUBMITTED, period="$period", kind=kind, channel=channel),
            COUNT,
        )
        for channel, name in CHANNELS.items()
    ]
    heard = state(metrics.LAST_EVENT, kind=kind)
    return Table(
        Text("Hồ sơ nộp, đúng hạn, độ mới", "Dossiers submitted, on time, freshness"),
        Text(
            "Hồ sơ nộp trong kỳ theo kênh; hồ sơ giải quyết đúng hạn ÷ hồ sơ có hạn; thời gian từ "
            "sự kiện cuối cùng được nhận.",
            "Dossiers submitted in the period by channel; resolved on time ÷ those with a due "
            "date; time since the last accepted event.",
        ),
        [
            *submitted,
            Column(Text("Đúng hạn", "On time"), f"{on_time} / ({due} > 0)", bar=True),
            Column(Text("Sự kiện cuối cách đây", "Last event ago"), f"time() - {heard}", DURATION),
        ],
        height=14,
    )


def _graph(indicator: Indicator, kind: str) -> Graph:
    queries = [
        Query(pooled(indicator, OVER_TIME, kind=kind), Text("Cả nhóm", "The group")),
        Query(f"max({ratio(indicator, OVER_TIME, kind=kind)})", Text("Cao nhất", "Highest")),
        Query(
            f"quantile(0.5, {ratio(indicator, OVER_TIME, kind=kind)})", Text("Trung vị", "Median")
        ),
        Query(f"min({ratio(indicator, OVER_TIME, kind=kind)})", Text("Thấp nhất", "Lowest")),
        Query(pooled_target(indicator, OVER_TIME, kind=kind), TARGET),
    ]
    return Graph(
        NAMES[indicator],
        Text(
            "Tỷ lệ gộp của nhóm, cơ quan cao nhất, ở giữa và thấp nhất, và mục tiêu gộp.",
            "The group's pooled share, its highest, middle and lowest agency, and its target.",
        ),
        queries,
    )


def panels(kind: str) -> tuple[Panel, ...]:
    """A kind's panels: ``ministry`` or ``province``."""
    return (
        *(_ranking(indicator, kind) for indicator in INDICATORS),
        Heading(Text("Theo thời gian", "Over time")),
        *(_graph(indicator, kind) for indicator in INDICATORS),
        Heading(Text("Khối lượng", "Volumes")),
        _volumes(kind),
    )
