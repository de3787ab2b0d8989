"""*Agency*: everything about one, chosen by its name."""

from __future__ import annotations

from grafana.src.expressions import (
    INDICATORS,
    NOW,
    OVER_TIME,
    Indicator,
    alike,
    beside,
    course,
    denominator,
    missing,
    numerator,
    pace,
    rejections,
    seen,
    share,
    shortfall,
    target,
)
from grafana.src.nation import JUDGED, LAST_YEAR_PERIOD, NAMES, NOT_JUDGED, beside_the_share, joined
from grafana.src.panels import (
    COUNT,
    COURSES,
    DAYS,
    HOURS,
    MINUTE,
    MINUTES,
    POINTS,
    REASONS,
    Column,
    Figures,
    Graph,
    Heading,
    Panel,
    Query,
    Table,
)
from grafana.src.status import STATUS
from grafana.src.texts import CHANNELS, LAST_YEAR, PACE, PERIODS, SHORT, TARGET, Text
from grafana.src.texts import NOW as NOW_NAME
from streams.metrics import catalogue as metrics

TITLE = Text("Cơ quan", "Agency")
DESCRIPTION = Text(
    "Một cơ quan: hai tỷ lệ với mục tiêu và tiến độ, kênh nộp, đúng hạn, dịch vụ, sự kiện bị loại.",
    "One agency: both shares with target and pace, channels, on time, services, rejected events.",
)

_WHO = {"scope": "$agency"}
_SENDER = {"agency": "$agency"}
_NO_SHARE = Text("không có tỷ lệ, xem dòng đầu trang", "no share, see the first line")


def _figures(indicator: Indicator) -> Figures:
    own = alike(share(indicator, **_WHO))
    return Figures(
        NAMES[indicator],
        Text(
            "Tỷ lệ trong kỳ của cơ quan đã chọn, mục tiêu, và cùng kỳ năm trước. "
            + JUDGED[indicator].vi,
            "The agency's share in the period, the target, and the same day last year. "
            + JUDGED[indicator].en,
        ),
        [Query(own, NOW_NAME), *beside_the_share(indicator, own, **_WHO)],
        width=12,
        nothing=_NO_SHARE,
    )


def _state(indicator: Indicator) -> Figures:
    return Figures(
        Text(f"Trạng thái: {SHORT[indicator].vi}", f"State: {SHORT[indicator].en}"),
        joined(NAMES[indicator], JUDGED[indicator]),
        [Query(course(indicator, **_WHO), NAMES[indicator])],
        COUNT,
        COURSES[indicator],
        width=4,
        named=False,
        nothing=NOT_JUDGED[indicator],
    )


def _short(indicator: Indicator) -> Figures:
    return Figures(
        Text(f"Còn thiếu: {SHORT[indicator].vi}", f"Short: {SHORT[indicator].en}"),
        joined(
            NAMES[indicator],
            Text("Mục tiêu trừ tỷ lệ; 0 nếu đã đạt.", "Target less share; 0 where it is met."),
            JUDGED[indicator],
        ),
        [Query(shortfall(indicator, **_WHO), NAMES[indicator])],
        POINTS,
        width=4,
        named=False,
        nothing=NOT_JUDGED[indicator],
    )


def _missing(indicator: Indicator) -> Figures:
    of = alike(denominator(indicator, **_WHO))
    return Figures(
        Text(f"Số lượng: {NAMES[indicator].vi}", f"Counts: {NAMES[indicator].en}"),
        Text(
            "Tử số và mẫu số hiện nay, và số dịch vụ hoặc hồ sơ cần thêm để đạt mục tiêu.",
            "Numerator and denominator now, and how many more services or dossiers would meet the "
            "target.",
        ),
        [
            Query(f"{alike(numerator(indicator, **_WHO))} and on () {of}", Text("có", "counted")),
            Query(of, Text("trên", "of")),
            Query(beside(of, missing(indicator, **_WHO)), Text("còn thiếu", "missing")),
        ],
        COUNT,
        width=12,
        nothing=_NO_SHARE,
    )


def _graph(indicator: Indicator) -> Graph:
    queries = [
        Query(share(indicator, OVER_TIME, **_WHO), NAMES[indicator], "agency"),
        Query(target(indicator, OVER_TIME, **_WHO), TARGET, "target"),
    ]
    if indicator == "services_with_dossiers":
        queries.append(Query(pace(indicator, OVER_TIME, **_WHO), PACE, "pace"))
    before = share(indicator, OVER_TIME, LAST_YEAR_PERIOD, **_WHO)
    queries.append(Query(before, LAST_YEAR, "last_year"))
    return Graph(
        NAMES[indicator],
        Text(
            "Tỷ lệ theo thời gian, mục tiêu và năm trước. " + JUDGED[indicator].vi,
            "The share over time, target and last year. " + JUDGED[indicator].en,
        ),
        queries,
        daily=True,
    )


def _fresh() -> Figures:
    heard = f"max({seen(metrics.LAST_EVENT, **_SENDER)})"
    ago = f"(time() - {heard})"
    name = Text("cách đây", "ago")
    return Figures(
        Text("Sự kiện cuối cùng", "Last event"),
        Text(
            "Lúc nhận sự kiện cuối cùng của cơ quan theo giờ của Kafka, và đã bao lâu.",
            "When the agency's last event was accepted, by Kafka's clock, and how long ago.",
        ),
        [
            Query(f"1000 * {heard}", Text("lúc", "at"), unit=MINUTE),
            Query(f"{ago} / 60 < 120", name, unit=MINUTES),
            Query(f"{ago} / 3600 >= 2 < 48", name, unit=HOURS),
            Query(f"{ago} / 86400 >= 2", name, unit=DAYS),
        ],
        COUNT,
        width=8,
        nothing=Text("chưa từng nhận, hoặc chưa đủ số liệu", "never, or no figure"),
    )


def _channels(metric: metrics.Metric, title: Text, description: Text) -> Graph:
    return Graph(
        title,
        description,
        [
            Query(
                seen(metric, OVER_TIME, period="$period", channel=channel, **_SENDER),
                name,
                channel,
            )
            for channel, name in CHANNELS.items()
        ],
        COUNT,
        stacked=True,
        daily=True,
    )


def _on_time() -> Graph:
    on_time = seen(metrics.DOSSIERS_ON_TIME, OVER_TIME, period="$period", **_SENDER)
    due = seen(metrics.DOSSIERS_DUE, OVER_TIME, period="$period", **_SENDER)
    return Graph(
        Text("Giải quyết đúng hạn", "Resolved on time"),
        Text(
            "Hồ sơ giải quyết đúng hạn ÷ hồ sơ được giải quyết có hạn, trong kỳ.",
            "Dossiers resolved by their due date ÷ those resolved that had one, in the period.",
        ),
        [Query(f"{on_time} / ({due} > 0)", Text("Đúng hạn", "On time"), "on_time")],
        daily=True,
    )


def _services() -> Graph:
    queries = [
        Query(
            seen(metrics.SERVICES_LISTED, OVER_TIME, level=level, **_SENDER),
            Text(f"Niêm yết, mức độ {level}", f"Listed, level {level}"),
            f"level_{level}",
        )
        for level in ("1", "2", "3", "4")
    ]
    queries.append(
        Query(
            seen(metrics.SERVICES_WITH_DOSSIERS, OVER_TIME, period="$period", **_SENDER),
            Text("Có hồ sơ trực tuyến", "With online dossiers"),
            "with_dossiers",
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
        daily=True,
    )


def _rejected() -> Graph:
    rejected = rejections("reason", "$__interval", **_SENDER)
    return Graph(
        Text("Sự kiện bị loại, theo lý do", "Rejected events by reason"),
        Text(
            "Số bản ghi của cơ quan vào dead-letters trong mỗi khoảng, theo lý do, không sót.",
            "Records of the agency put into the dead letters in each interval, by reason; every "
            "one of them.",
        ),
        [
            Query(rejected, Text("{{reason}}", "{{reason}}")),
            Query(
                f"0 * hoso:agencies:count unless on () {rejected}",
                Text("không có sự kiện bị loại", "none rejected"),
                "none",
            ),
        ],
        COUNT,
        daily=True,
        bars=True,
        colours=REASONS,
        every="1m",
        nothing=Text("chưa có số liệu về sự kiện bị loại", "nothing is known of rejected events"),
    )


_NUMBERED = {period: str(number) for number, period in enumerate(PERIODS, start=1)}


def _periods() -> Table:
    def both(indicator: Indicator, suffix: str) -> str:
        wanted = "|".join(f"{period}{suffix}" for period in PERIODS)
        found = f"max by (period) ({share(indicator, NOW, f'~{wanted}', **_WHO)})"
        for period, number in _NUMBERED.items():
            name = f'"period", "{number}", "period", "{period}{suffix}"'
            found = f"label_replace({found}, {name})"
        return found

    columns = [
        Column(
            _capital(SHORT[indicator]) if not suffix else _of_last_year(indicator),
            both(indicator, suffix),
            width=width,
        )
        for indicator in INDICATORS
        for suffix, width in (("", 80), ("_last_year", 152))
    ]
    return Table(
        Text("Mọi kỳ", "All periods"),
        Text(
            "Hai tỷ lệ (DVC phát sinh hồ sơ, hồ sơ xử lý trực tuyến) từ đầu tháng, quý, nửa năm, "
            "năm đến ngày tính, và cùng kỳ năm trước.",
            "Both shares (services with dossiers, dossiers processed online) since the month, "
            "quarter, half and year began, and the same last year.",
        ),
        columns,
        label="period",
        label_title=Text("Kỳ", "Period"),
        rows={_NUMBERED[period]: name for period, name in PERIODS.items()},
        width=12,
        height=10,
    )


def _capital(text: Text) -> Text:
    return Text(text.vi[0].upper() + text.vi[1:], text.en[0].upper() + text.en[1:])


def _of_last_year(indicator: Indicator) -> Text:
    name = _capital(SHORT[indicator])
    return Text(f"{name.vi} năm trước", f"{name.en} last year")


PANELS: tuple[Panel, ...] = (
    STATUS,
    *(_figures(indicator) for indicator in INDICATORS),
    *(panel for indicator in INDICATORS for panel in (_state(indicator), _short(indicator))),
    _fresh(),
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
