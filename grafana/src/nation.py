"""*Nation*: where the country stands."""

from __future__ import annotations

from grafana.src.expressions import (
    INDICATORS,
    NOW,
    OVER_TIME,
    WEEK_AGO,
    YEAR_AGO,
    Indicator,
    change,
    every_group,
    met,
    pooled,
    pooled_target,
    ratio,
    same_year,
    shortfall,
    target,
)
from grafana.src.panels import (
    COUNT,
    MET,
    Column,
    Figures,
    Graph,
    Heading,
    Panel,
    Query,
    Table,
)
from grafana.src.texts import GROUPS, LAST_YEAR, ONLINE, SERVICES, TARGET, Text

TITLE = Text("Cả nước", "Nation")
DESCRIPTION = Text(
    "Hai tỷ lệ của cả nước và hai nhóm, so với mục tiêu và năm trước; cơ quan tốt nhất, kém nhất.",
    "Both shares of the country and the two groups, with targets and last year; best and worst.",
)

NAMES = {"services_with_dossiers": SERVICES, "online_processed": ONLINE}

_WHAT = {
    "services_with_dossiers": Text(
        "Dịch vụ mức độ theo định nghĩa có ít nhất một hồ sơ trực tuyến trong kỳ ÷ dịch vụ được "
        "niêm yết ở mức độ đó vào ngày tính.",
        "Services at the definition's levels with at least one online dossier in the period ÷ "
        "services listed at those levels on the as-of day.",
    ),
    "online_processed": Text(
        "Hồ sơ được giải quyết trong kỳ mà nộp trực tuyến ÷ mọi hồ sơ được giải quyết trong kỳ.",
        "Dossiers processed in the period that came in online ÷ all processed in the period.",
    ),
}
_POOLED = Text(
    "Nhóm: tổng tử số ÷ tổng mẫu số, không phải trung bình các tỷ lệ. Để trống khi còn phân vùng "
    "chưa hiển thị, hoặc khi định nghĩa chọn ở trên khác với của tiến trình.",
    "Groups: sum of numerators ÷ sum of denominators, never an average of ratios. Blank while a "
    "partition is not shown, or if the definition chosen above is not the workers'.",
)
_TARGET_OF_GROUP = Text(
    "Mục tiêu của nhóm: tỷ lệ của nhóm nếu mỗi cơ quan đạt đúng mục tiêu của mình.",
    "A group's target: where it stands if each of its agencies meets its own target exactly.",
)


def _join(*texts: Text) -> Text:
    return Text(" ".join(t.vi for t in texts), " ".join(t.en for t in texts))


def _last_year(indicator: Indicator, kind: str = "") -> str:
    if indicator == "online_processed":
        return pooled(indicator, NOW, "${period}_last_year", kind)
    # What was listed a year ago is known from a year ago only.
    return pooled(indicator, YEAR_AGO, kind=kind)


def _figures(indicator: Indicator) -> Figures:
    return Figures(
        NAMES[indicator],
        _join(
            _WHAT[indicator],
            _POOLED,
            _TARGET_OF_GROUP,
            Text(
                "Năm trước: cùng ngày; với dịch vụ lấy từ lịch sử Prometheus 365 ngày trước.",
                "Last year: the same day; for services from Prometheus' history of 365 days ago.",
            ),
        ),
        [
            Query(pooled(indicator), Text("Hiện nay", "Now")),
            Query(pooled_target(indicator), TARGET),
            Query(_last_year(indicator), LAST_YEAR),
        ],
        width=8,
    )


def _graph(indicator: Indicator) -> Graph:
    queries = [
        Query(pooled(indicator, OVER_TIME), GROUPS["national"]),
        Query(pooled(indicator, OVER_TIME, kind="ministry"), GROUPS["ministry"]),
        Query(pooled(indicator, OVER_TIME, kind="province"), GROUPS["province"]),
        Query(pooled_target(indicator, OVER_TIME), TARGET),
        Query(
            pooled(indicator, OVER_TIME, "${period}_last_year")
            if indicator == "online_processed"
            else pooled(indicator, YEAR_AGO),
            LAST_YEAR,
        ),
    ]
    return Graph(NAMES[indicator], _join(_WHAT[indicator], _POOLED), queries)


def _groups(indicator: Indicator) -> Table:
    share = every_group(pooled(indicator), pooled(indicator, by_kind=True))
    aim = every_group(pooled_target(indicator), pooled_target(indicator, by_kind=True))
    return Table(
        NAMES[indicator],
        _join(_WHAT[indicator], _POOLED, _TARGET_OF_GROUP),
        [
            Column(Text("Tỷ lệ", "Share"), share, bar=True),
            Column(TARGET, aim),
            Column(Text("Còn thiếu", "Shortfall"), shortfall(share, aim)),
            Column(Text("Trạng thái", "State"), met(share, aim), COUNT, MET),
        ],
        label="kind",
        label_title=Text("Nhóm", "Group"),
        width=12,
        height=6,
    )


def _meeting(indicator: Indicator) -> Figures:
    reached = met(ratio(indicator), target(indicator))
    return Figures(
        Text(
            f"Số cơ quan đạt mục tiêu: {NAMES[indicator].vi}",
            f"Agencies at their target: {NAMES[indicator].en}",
        ),
        Text(
            "Số cơ quan có tỷ lệ bằng hoặc cao hơn mục tiêu của mình; cơ quan không có mẫu số "
            "hoặc mục tiêu không được tính.",
            "Agencies whose share is at their own target or above; those without a denominator or "
            "a target are not counted.",
        ),
        [
            Query(f"sum({reached})", Text("đạt", "met")),
            Query(f"count({reached}) - sum({reached})", Text("chưa đạt", "not met")),
        ],
        COUNT,
        width=8,
    )


def _ten(indicator: Indicator, best: bool) -> Table:
    pick = "topk" if best else "bottomk"
    chosen = f"{pick}(10, {ratio(indicator)})"
    title = (
        Text("Mười cơ quan cao nhất", "Best ten")
        if best
        else Text("Mười cơ quan thấp nhất", "Worst ten")
    )
    return Table(
        Text(f"{title.vi}: {NAMES[indicator].vi}", f"{title.en}: {NAMES[indicator].en}"),
        _join(
            _WHAT[indicator],
            Text(
                "Bằng điểm ở cuối bảng thì chỉ hiện một số.",
                "Of ties at the end some are left out.",
            ),
        ),
        [
            Column(Text("Tỷ lệ", "Share"), chosen, bar=True),
            Column(TARGET, f"{target(indicator)} and {chosen}"),
            Column(
                Text("Trạng thái", "State"),
                f"({met(ratio(indicator), target(indicator))}) and {chosen}",
                COUNT,
                MET,
            ),
        ],
        also=[("kind", Text("Nhóm", "Group"))],
        descending=best,
        width=12,
    )


def _changes() -> Figures:
    queries = [
        Query(
            same_year(
                f"(({pooled(indicator, NOW, 'year')}) - ({pooled(indicator, WEEK_AGO, 'year')}))",
                WEEK_AGO,
            ),
            NAMES[indicator],
        )
        for indicator in INDICATORS
    ]
    return Figures(
        Text("Thay đổi sau một tuần (điểm phần trăm, cả năm)", "Change in a week (points, year)"),
        Text(
            "Tỷ lệ từ đầu năm của cả nước trừ tỷ lệ của bảy ngày trước. Trống qua giao thừa.",
            "The nation's share of the year less that of seven days ago. Blank across New Year.",
        ),
        queries,
        width=8,
    )


def _movers(indicator: Indicator) -> Table:
    return Table(
        Text(
            f"Thay đổi nhiều nhất trong tuần: {NAMES[indicator].vi}",
            f"Most moved in a week: {NAMES[indicator].en}",
        ),
        Text(
            "Mười cơ quan có tỷ lệ từ đầu năm thay đổi nhiều nhất so với bảy ngày trước (điểm "
            "phần trăm). Trống qua giao thừa.",
            "The ten agencies whose share of the year moved most against seven days ago "
            "(percentage points). Blank across New Year.",
        ),
        [
            Column(
                Text("Thay đổi", "Change"),
                f"({change(indicator)}) and topk(10, abs({change(indicator)}))",
            )
        ],
        also=[("kind", Text("Nhóm", "Group"))],
        width=12,
    )


PANELS: tuple[Panel, ...] = (
    *(_figures(indicator) for indicator in INDICATORS),
    _changes(),
    *(_meeting(indicator) for indicator in INDICATORS),
    Figures(
        Text("Cơ quan hiển thị", "Agencies shown"),
        Text(
            "Số cơ quan mà các tiến trình đang hiển thị. Ít hơn thường lệ: xem bảng Đường ống.",
            "Agencies that workers show now. Fewer than usual: see the dashboard Pipeline.",
        ),
        [
            Query(f"count({ratio('services_with_dossiers')})", Text("có dịch vụ", "with services")),
            Query(
                f"count({target('services_with_dossiers')})", Text("có mục tiêu", "with a target")
            ),
        ],
        COUNT,
        width=8,
    ),
    Heading(Text("Theo nhóm", "By group")),
    *(_groups(indicator) for indicator in INDICATORS),
    *(_graph(indicator) for indicator in INDICATORS),
    Heading(Text("Cao nhất và thấp nhất", "Best and worst")),
    *(_ten(indicator, best) for indicator in INDICATORS for best in (True, False)),
    Heading(Text("Thay đổi", "Change")),
    *(_movers(indicator) for indicator in INDICATORS),
)
