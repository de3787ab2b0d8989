"""*Agency*: everything about one, chosen by its name."""

from __future__ import annotations

from grafana.src.expressions import (
    INDICATORS,
    NOW,
    OVER_TIME,
    RATIO,
    Indicator,
    denominator,
    met,
    missing,
    numerator,
    pace,
    ratio,
    series,
    shortfall,
    state,
    target,
)
from grafana.src.nation import NAMES
from grafana.src.panels import (
    COUNT,
    DURATION,
    MET,
    ON_COURSE,
    RATE,
    Column,
    Figures,
    Graph,
    Heading,
    Panel,
    Query,
    Table,
)
from grafana.src.texts import CHANNELS, LAST_YEAR, PERIODS, TARGET, Text
from streams.metrics import catalogue as metrics

TITLE = Text("Cơ quan", "Agency")
DESCRIPTION = Text(
    "Một cơ quan: hai tỷ lệ với mục tiêu và tiến độ, kênh nộp, đúng hạn, dịch vụ, sự kiện bị loại.",
    "One agency: both shares with target and pace, channels, on time, services, rejected events.",
)

_WHO = {"agency": "$agency"}
_PACE = Text("Tiến độ cần có", "Pace")
_NOW = Text("Hiện nay", "Now")


def _figures(indicator: Indicator) -> Figures:
    return Figures(
        NAMES[indicator],
        Text(
            "Tỷ lệ trong kỳ của cơ quan đã chọn, mục tiêu của năm, và cùng kỳ năm trước.",
            "The agency's share in the period, the year's target, and the same day last year.",
        ),
        [
            Query(ratio(indicator, **_WHO), _NOW),
            Query(target(indicator, **_WHO), TARGET),
            Query(ratio(indicator, NOW, "${period}_last_year", **_WHO), LAST_YEAR),
        ],
        width=8,
    )


def _state(indicator: Indicator) -> Figures:
    share, aim = ratio(indicator, **_WHO), target(indicator, **_WHO)
    return Figures(
        Text(f"Đạt mục tiêu? {NAMES[indicator].vi}", f"At the target? {NAMES[indicator].en}"),
        Text(
            "Tỷ lệ trong kỳ có bằng hoặc cao hơn mục tiêu.",
            "Whether the share is at the target or above.",
        ),
        [Query(met(share, aim), NAMES[indicator])],
        COUNT,
        MET,
        width=4,
    )


def _short(indicator: Indicator) -> Figures:
    share, aim = ratio(indicator, **_WHO), target(indicator, **_WHO)
    return Figures(
        Text(
            f"Còn thiếu (điểm phần trăm): {NAMES[indicator].vi}",
            f"Shortfall (points): {NAMES[indicator].en}",
        ),
        Text("Mục tiêu trừ tỷ lệ; 0 nếu đã đạt.", "Target less share; 0 where it is met."),
        [Query(shortfall(share, aim), Text("điểm", "points"))],
        width=4,
    )


def _missing(indicator: Indicator) -> Figures:
    return Figures(
        Text(
            f"Còn thiếu (số lượng): {NAMES[indicator].vi}",
            f"Missing (counts): {NAMES[indicator].en}",
        ),
        Text(
            "Số dịch vụ hoặc hồ sơ cần thêm để đạt mục tiêu, và tử số, mẫu số hiện nay.",
            "How many more services or dossiers would meet the target; numerator, denominator now.",
        ),
        [
            Query(missing(indicator, **_WHO), Text("còn thiếu", "missing")),
            Query(numerator(indicator, **_WHO), Text("có", "counted")),
            Query(denominator(indicator, **_WHO), Text("trên", "of")),
        ],
        COUNT,
        width=12,
    )


def _graph(indicator: Indicator) -> Graph:
    queries = [
        Query(ratio(indicator, OVER_TIME, **_WHO), NAMES[indicator]),
        Query(target(indicator, OVER_TIME, **_WHO), TARGET),
        Query(ratio(indicator, OVER_TIME, "${period}_last_year", **_WHO), LAST_YEAR),
    ]
    if indicator == "services_with_dossiers":
        queries.append(Query(pace(OVER_TIME, **_WHO), _PACE))
    return Graph(
        NAMES[indicator],
        Text(
            "Tỷ lệ theo thời gian, mục tiêu và năm trước. Tiến độ (chỉ với kỳ năm): đường thẳng "
            "từ 0 ngày 1/1 đến mục tiêu ngày 31/12; với hồ sơ, tiến độ chính là mục tiêu.",
            "The share over time, target and last year. Pace (for the year only): a straight line "
            "from 0 on 1 January to the target on 31 December; for dossiers it is the target.",
        ),
        queries,
    )


def _course() -> Figures:
    share = ratio("services_with_dossiers", **_WHO)
    return Figures(
        Text("Kịp tiến độ?", "On course?"),
        Text(
            "Dịch vụ có hồ sơ: tỷ lệ so với đường thẳng từ 0 đến mục tiêu của năm. Chỉ với kỳ năm.",
            "Services: the share against the line from 0 to the year's target. Year only.",
        ),
        [
            Query(met(share, pace(**_WHO)), NAMES["services_with_dossiers"]),
        ],
        COUNT,
        ON_COURSE,
        width=8,
    )


def _fresh() -> Figures:
    return Figures(
        Text("Sự kiện cuối cách đây", "Last event ago"),
        Text(
            "Thời gian từ sự kiện cuối cùng được nhận của cơ quan, theo giờ của Kafka.",
            "Time since the agency's last accepted event, by Kafka's clock.",
        ),
        [Query(f"time() - {state(metrics.LAST_EVENT, **_WHO)}", Text("cách đây", "ago"))],
        DURATION,
        width=8,
    )


def _channels(metric: metrics.Metric, title: Text, description: Text) -> Graph:
    return Graph(
        title,
        description,
        [
            Query(state(metric, OVER_TIME, period="$period", channel=channel, **_WHO), name)
            for channel, name in CHANNELS.items()
        ],
        COUNT,
        stacked=True,
    )


def _on_time() -> Graph:
    on_time = state(metrics.DOSSIERS_ON_TIME, OVER_TIME, period="$period", **_WHO)
    due = state(metrics.DOSSIERS_DUE, OVER_TIME, period="$period", **_WHO)
    return Graph(
        Text("Giải quyết đúng hạn", "Resolved on time"),
        Text(
            "Hồ sơ giải quyết đúng hạn ÷ hồ sơ được giải quyết có hạn, trong kỳ.",
            "Dossiers resolved by their due date ÷ those resolved that had one, in the period.",
        ),
        [Query(f"{on_time} / ({due} > 0)", Text("Đúng hạn", "On time"))],
    )


def _services() -> Graph:
    queries = [
        Query(
            state(metrics.SERVICES_LISTED, OVER_TIME, level=level, **_WHO),
            Text(f"Niêm yết, mức độ {level}", f"Listed, level {level}"),
        )
        for level in ("1", "2", "3", "4")
    ]
    queries.append(
        Query(
            state(metrics.SERVICES_WITH_DOSSIERS, OVER_TIME, period="$period", **_WHO),
            Text("Có hồ sơ trực tuyến", "With online dossiers"),
        )
    )
    return Graph(
        Text("Dịch vụ", "Services"),
        Text(
            "Dịch vụ niêm yết theo mức độ (3: một phần, 4: toàn trình) và dịch vụ có hồ sơ.",
            "Services listed by level (3: partly online, 4: fully) and those with dossiers.",
        ),
        queries,
        COUNT,
    )


def _rejected() -> Graph:
    rejected = series(metrics.REJECTED, agency="$agency")
    return Graph(
        Text("Sự kiện bị loại, theo lý do", "Rejected events by reason"),
        Text(
            "Số bản ghi mỗi giây vào dead-letters, theo lý do. Trống khi không có gì bị loại.",
            "Records a second into the dead letters, by reason. Blank where none is rejected.",
        ),
        [
            Query(
                f"sum by (reason) (rate({rejected}[$__rate_interval]))",
                Text("{{reason}}", "{{reason}}"),
            )
        ],
        RATE,
    )


def _periods() -> Table:
    def both(indicator: Indicator, suffix: str) -> str:
        wanted = "|".join(f"{period}{suffix}" for period in PERIODS)
        each = f"max by (period) ({series(RATIO[indicator], period=f'~{wanted}', **_WHO)})"
        return (
            f'label_replace({each}, "period", "$1", "period", "(.+)_last_year")' if suffix else each
        )

    columns = [
        Column(
            NAMES[indicator] if not suffix else _of_last_year(indicator), both(indicator, suffix)
        )
        for indicator in INDICATORS
        for suffix in ("", "_last_year")
    ]
    return Table(
        Text("Mọi kỳ", "All periods"),
        Text(
            "Hai tỷ lệ từ đầu tháng, quý, nửa năm, năm đến ngày tính, và cùng kỳ năm trước.",
            "Both shares since the month, quarter, half and year began, and the same last year.",
        ),
        columns,
        label="period",
        label_title=Text("Kỳ", "Period"),
        width=12,
        height=9,
    )


def _of_last_year(indicator: Indicator) -> Text:
    name = NAMES[indicator]
    return Text(f"{name.vi}, {LAST_YEAR.vi.lower()}", f"{name.en}, {LAST_YEAR.en.lower()}")


PANELS: tuple[Panel, ...] = (
    *(_figures(indicator) for indicator in INDICATORS),
    _fresh(),
    *(panel for indicator in INDICATORS for panel in (_state(indicator), _short(indicator))),
    _course(),
    *(_missing(indicator) for indicator in INDICATORS),
    Heading(Text("Theo thời gian", "Over time")),
    *(_graph(indicator) for indicator in INDICATORS),
    _channels(
        metrics.DOSSIERS_SUBMITTED,
        Text("Hồ sơ nộp, theo kênh", "Dossiers submitted by channel"),
        Text("Hồ sơ được tính, nộp trong kỳ.", "Counted dossiers submitted in the period."),
    ),
    _channels(
        metrics.DOSSIERS_PROCESSED,
        Text("Hồ sơ xử lý, theo kênh", "Dossiers processed by channel"),
        Text(
            "Hồ sơ được giải quyết trong kỳ (qd766: được tiếp nhận), theo kênh nộp.",
            "Dossiers resolved in the period (qd766: received), by the channel they came in.",
        ),
    ),
    _on_time(),
    _services(),
    _periods(),
    _rejected(),
)
