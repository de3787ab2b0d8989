"""*Ministries* and *Provinces*: who stands where."""

from __future__ import annotations

from grafana.src.expressions import (
    INDICATORS,
    NOW,
    OVER_TIME,
    Indicator,
    alike,
    course,
    denominator,
    missing,
    numerator,
    pace,
    seen,
    share,
    shortfall,
    spread,
    target,
    whole,
)
from grafana.src.nation import JUDGED, LAST_YEAR_PERIOD, NAMES
from grafana.src.panels import (
    COUNT,
    COURSES,
    MINUTE,
    POINTS,
    Column,
    Graph,
    Heading,
    Panel,
    Query,
    Table,
)
from grafana.src.status import STATUS
from grafana.src.texts import CHANNELS, PACE, TARGET, Text
from streams.domain.targets import GROUP_OF
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
        Text("Có hồ sơ", "Used"),
        Text("Niêm yết", "Listed"),
        Text("Thiếu (DVC)", "Missing"),
    ),
    "online_processed": (
        Text("Trực tuyến", "Online"),
        Text("Đã xử lý", "Processed"),
        Text("Thiếu (hồ sơ)", "Missing"),
    ),
}


def _ranking(indicator: Indicator, kind: str) -> Table:
    counted, of, short = _COUNTED[indicator]
    return Table(
        NAMES[indicator],
        Text(
            "Bảng sắp theo tỷ lệ; bấm vào tiêu đề cột để sắp khác, vào tên để xem cơ quan. Còn "
            "thiếu: mục tiêu trừ tỷ lệ, và số cần thêm để đạt mục tiêu. " + JUDGED[indicator].vi,
            "Sorted by share; a click on a heading sorts otherwise, on a name opens the agency. "
            "Short: target less share, and how many more would meet it. " + JUDGED[indicator].en,
        ),
        [
            Column(Text("Tỷ lệ", "Share"), alike(share(indicator, kind=kind)), bar=True, width=135),
            Column(TARGET, alike(target(indicator, kind=kind)), width=85),
            Column(
                Text("Trạng thái", "State"),
                course(indicator, kind=kind),
                COUNT,
                COURSES[indicator],
                width=125,
            ),
            Column(Text("Còn thiếu", "Short"), shortfall(indicator, kind=kind), POINTS, width=115),
            Column(short, missing(indicator, kind=kind), COUNT, width=115),
            Column(counted, alike(numerator(indicator, kind=kind)), COUNT, width=90),
            Column(of, alike(denominator(indicator, kind=kind)), COUNT, width=95),
            Column(
                Text("Năm trước", "Last year"),
                alike(share(indicator, NOW, LAST_YEAR_PERIOD, kind=kind)),
                width=95,
            ),
        ],
        label="scope",
        height=16,
    )


def _volumes(kind: str) -> Table:
    on_time = seen(metrics.DOSSIERS_ON_TIME, period="$period", kind=kind)
    due = seen(metrics.DOSSIERS_DUE, period="$period", kind=kind)
    submitted = [
        Column(
            name,
            seen(metrics.DOSSIERS_SUBMITTED, period="$period", kind=kind, channel=channel),
            COUNT,
            width=115,
        )
        for channel, name in CHANNELS.items()
    ]
    heard = seen(metrics.LAST_EVENT, kind=kind)
    return Table(
        Text("Hồ sơ nộp, đúng hạn, độ mới", "Dossiers submitted, on time, freshness"),
        Text(
            "Hồ sơ nộp trong kỳ theo kênh; hồ sơ giải quyết đúng hạn ÷ hồ sơ có hạn; lúc nhận sự "
            "kiện cuối cùng.",
            "Dossiers submitted in the period by channel; resolved on time ÷ those with a due "
            "date; when the last event was accepted.",
        ),
        [
            *submitted,
            Column(Text("Đúng hạn", "On time"), f"{on_time} / ({due} > 0)", bar=True, width=135),
            Column(Text("Sự kiện cuối cùng", "Last event"), f"1000 * {heard}", MINUTE, width=150),
        ],
        height=14,
    )


def _graph(indicator: Indicator, kind: str) -> Graph:
    group = {"scope": GROUP_OF[kind]}
    queries = [
        Query(whole(share(indicator, OVER_TIME, **group)), Text("Cả nhóm", "The group"), kind),
        Query(spread(indicator, kind, "1"), Text("Cao nhất", "Highest"), "highest"),
        Query(spread(indicator, kind, "0.5"), Text("Trung vị", "Median"), "middle"),
        Query(spread(indicator, kind, "0"), Text("Thấp nhất", "Lowest"), "lowest"),
        Query(target(indicator, OVER_TIME, **group), TARGET, "target"),
    ]
    if indicator == "services_with_dossiers":
        queries.append(Query(pace(indicator, OVER_TIME, **group), PACE, "pace"))
    return Graph(
        NAMES[indicator],
        Text(
            "Tỷ lệ gộp của nhóm, cơ quan cao nhất, ở giữa và thấp nhất, và mục tiêu gộp. "
            + JUDGED[indicator].vi,
            "The group's pooled share, its highest, middle and lowest agency, and its target. "
            + JUDGED[indicator].en,
        ),
        queries,
        daily=True,
    )


def panels(kind: str) -> tuple[Panel, ...]:
    """A kind's panels: ``ministry`` or ``province``."""
    return (
        STATUS,
        *(_ranking(indicator, kind) for indicator in INDICATORS),
        Heading(Text("Theo thời gian", "Over time")),
        *(_graph(indicator, kind) for indicator in INDICATORS),
        Heading(Text("Khối lượng", "Volumes")),
        _volumes(kind),
    )
