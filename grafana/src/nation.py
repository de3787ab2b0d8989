"""*Nation*: where the country stands."""

from __future__ import annotations

from typing import Any

from grafana.src.expressions import (
    INDICATORS,
    NOW,
    OVER_TIME,
    Indicator,
    alike,
    beside,
    beside_in_a_year,
    change,
    course,
    pace,
    share,
    shortfall,
    target,
    whole,
)
from grafana.src.panels import (
    COUNT,
    COURSES,
    LESS_POINTS,
    MORE_POINTS,
    POINTS,
    Column,
    Figures,
    Graph,
    Heading,
    Panel,
    Query,
    Table,
)
from grafana.src.status import STATUS
from grafana.src.texts import GROUPS, LAST_YEAR, ONLINE, PACE, SERVICES, SHORT, TARGET, Text
from grafana.src.texts import NOW as NOW_NAME

TITLE = Text("Cả nước", "Nation")
DESCRIPTION = Text(
    "Hai tỷ lệ của cả nước và hai nhóm, so với mục tiêu và năm trước; cơ quan tốt nhất, kém nhất.",
    "Both shares of the country and the two groups, with targets and last year; best and worst.",
)

NAMES = {"services_with_dossiers": SERVICES, "online_processed": ONLINE}
LAST_YEAR_PERIOD = "${period}_last_year"

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
JUDGED = {
    "services_with_dossiers": Text(
        "Mục tiêu là của cả năm, nên chỉ xét với kỳ Năm: kịp tiến độ là từ đường thẳng từ 0 ngày "
        "1/1 đến mục tiêu ngày 31/12 trở lên.",
        "The target is of the whole year, so it is judged for the year only: on course is at the "
        "straight line from 0 on 1 January to the target on 31 December, or above.",
    ),
    "online_processed": Text(
        "Tiến độ cần có chính là mục tiêu, trong mọi kỳ.",
        "The pace is the target itself, in every period.",
    ),
}
"""How each indicator is held against its target."""
NOT_JUDGED = {
    "services_with_dossiers": Text("chưa có, hoặc không phải kỳ Năm", "no figure, or not the year"),
    "online_processed": Text("chưa có số liệu", "no figure"),
}
"""Why nothing may be said of where one stands."""
_POOLED = Text(
    "Nhóm: tổng tử số ÷ tổng mẫu số, không phải trung bình các tỷ lệ. Để trống khi còn phân vùng "
    "chưa hiển thị.",
    "Groups: sum of numerators ÷ sum of denominators, never an average of ratios. Blank while a "
    "partition is not shown.",
)
_TARGET_OF_GROUP = Text(
    "Mục tiêu của nhóm: tỷ lệ của nhóm nếu mỗi cơ quan đạt đúng mục tiêu của mình.",
    "A group's target: where it stands if each of its agencies meets its own target exactly.",
)
_GROUP_KINDS = "~nation|group"
_AGENCY_KINDS = "~ministry|province"
_SCOPES = {"national": "1", "ministries": "2", "provinces": "3"}
_GROUP_ROWS = dict(zip(_SCOPES.values(), GROUPS.values(), strict=True))


def joined(*texts: Text) -> Text:
    """Sentences as one text."""
    return Text(" ".join(t.vi for t in texts), " ".join(t.en for t in texts))


def beside_the_share(indicator: Indicator, own: str, /, **who: str) -> list[Query]:
    """Target, pace and last year, for a tile whose share is ``own``."""
    before = alike(share(indicator, NOW, LAST_YEAR_PERIOD, **who))
    last_year = Query(beside(own, before), LAST_YEAR)
    aim = alike(target(indicator, **who))
    if indicator == "online_processed":
        return [Query(beside(own, aim), TARGET), last_year]
    of_the_year = {"-1": Text("của năm", "of the year")}
    figures = ((aim, TARGET), (alike(pace(indicator, **who)), PACE))
    return [
        *(
            Query(beside_in_a_year(own, figure), name, values=of_the_year)
            for figure, name in figures
        ),
        last_year,
    ]


def _figures(indicator: Indicator) -> Figures:
    own = alike(whole(share(indicator, scope="national")))
    return Figures(
        NAMES[indicator],
        joined(_WHAT[indicator], _POOLED, _TARGET_OF_GROUP, JUDGED[indicator]),
        [Query(own, NOW_NAME), *beside_the_share(indicator, own, scope="national")],
        width=12,
    )


def _graph(indicator: Indicator) -> Graph:
    def of(scope: str) -> str:
        return whole(share(indicator, OVER_TIME, scope=scope))

    queries = [
        Query(of("national"), GROUPS["national"], "national"),
        Query(of("ministries"), GROUPS["ministry"], "ministry"),
        Query(of("provinces"), GROUPS["province"], "province"),
        Query(target(indicator, OVER_TIME, scope="national"), TARGET, "target"),
    ]
    if indicator == "services_with_dossiers":
        queries.append(Query(pace(indicator, OVER_TIME, scope="national"), PACE, "pace"))
    before = whole(share(indicator, OVER_TIME, LAST_YEAR_PERIOD, scope="national"))
    queries.append(Query(before, LAST_YEAR, "last_year"))
    description = joined(_WHAT[indicator], _POOLED, JUDGED[indicator])
    return Graph(NAMES[indicator], description, queries, daily=True)


def _in_order(figure: str) -> str:
    """Groups by a number that sorts them: the nation first."""
    for scope, number in _SCOPES.items():
        figure = f'label_replace({figure}, "scope", "{number}", "scope", "{scope}")'
    return figure


def _groups(indicator: Indicator) -> Table:
    def column(title: Text, figure: str, **how: Any) -> Column:
        return Column(title, _in_order(whole(figure)), **how)

    return Table(
        NAMES[indicator],
        joined(_WHAT[indicator], _POOLED, _TARGET_OF_GROUP, JUDGED[indicator]),
        [
            column(
                Text("Tỷ lệ", "Share"),
                alike(share(indicator, kind=_GROUP_KINDS)),
                bar=True,
                width=125,
            ),
            column(TARGET, alike(target(indicator, kind=_GROUP_KINDS)), width=75),
            column(
                Text("Còn thiếu", "Short of it"),
                shortfall(indicator, kind=_GROUP_KINDS),
                unit=POINTS,
                width=115,
            ),
            column(
                Text("Trạng thái", "State"),
                course(indicator, kind=_GROUP_KINDS),
                unit=COUNT,
                state=COURSES[indicator],
                width=120,
            ),
        ],
        label="scope",
        label_title=Text("Nhóm", "Group"),
        rows=_GROUP_ROWS,
        width=12,
        height=6,
    )


def _standing(indicator: Indicator) -> Figures:
    where = course(indicator, kind=_AGENCY_KINDS)
    words = COURSES[indicator]
    levels = [(2, words.reached), (1, words.on_course), (0, words.behind)]
    if indicator == "online_processed":
        levels.remove((1, words.on_course))
    return Figures(
        Text(f"Số cơ quan: {NAMES[indicator].vi}", f"Agencies: {NAMES[indicator].en}"),
        joined(
            JUDGED[indicator],
            Text(
                "Cơ quan không có mẫu số hoặc mục tiêu không được tính.",
                "Agencies without a denominator or a target are not counted.",
            ),
        ),
        [
            Query(f"count(({where}) == {level}) or on () 0 * count({where})", name)
            for level, name in levels
        ],
        COUNT,
        width=8,
        nothing=NOT_JUDGED[indicator],
    )


def _ten(indicator: Indicator, best: bool) -> Table:
    pick = "topk" if best else "bottomk"
    own = alike(share(indicator, kind=_AGENCY_KINDS))
    chosen = f"{pick}(10, {own})"
    title = (
        Text("Mười cơ quan cao nhất", "Best ten")
        if best
        else Text("Mười cơ quan thấp nhất", "Worst ten")
    )
    return Table(
        Text(f"{title.vi}: {NAMES[indicator].vi}", f"{title.en}: {NAMES[indicator].en}"),
        joined(
            _WHAT[indicator],
            JUDGED[indicator],
            Text(
                "Bằng điểm ở cuối bảng thì chỉ hiện một số.",
                "Of ties at the end some are left out.",
            ),
        ),
        [
            Column(Text("Tỷ lệ", "Share"), chosen, bar=True, width=110),
            Column(
                Text("Trạng thái", "State"),
                f"({course(indicator, kind=_AGENCY_KINDS)}) and {chosen}",
                COUNT,
                COURSES[indicator],
                width=120,
            ),
        ],
        label="scope",
        descending=best,
        width=12,
    )


def _changes() -> Figures:
    queries = []
    for indicator in INDICATORS:
        moved = whole(change(indicator, scope="national"))
        queries += [
            Query(f"{moved} >= 0", SHORT[indicator], unit=MORE_POINTS),
            Query(f"{moved} < 0", SHORT[indicator], unit=LESS_POINTS),
        ]
    return Figures(
        Text("Thay đổi trong tuần (điểm %, cả năm)", "Change in a week (points, year)"),
        Text(
            "Tỷ lệ từ đầu năm của cả nước trừ tỷ lệ của bảy ngày trước. Trống trong bảy ngày đầu "
            "năm, khi tỷ lệ bắt đầu lại từ ngày 1/1.",
            "The nation's share of the year less that of seven days ago. Blank in the first seven "
            "days of the year, since shares begin again on 1 January.",
        ),
        queries,
        POINTS,
        width=8,
    )


def _movers(indicator: Indicator, up: bool) -> Table:
    moved = change(indicator, kind=_AGENCY_KINDS)
    chosen = f"topk(5, {moved} > 0)" if up else f"bottomk(5, {moved} < 0)"
    title = (
        Text("Tăng nhiều nhất trong tuần", "Most risen in a week")
        if up
        else Text("Giảm nhiều nhất trong tuần", "Most fallen in a week")
    )
    return Table(
        Text(f"{title.vi}: {NAMES[indicator].vi}", f"{title.en}: {NAMES[indicator].en}"),
        Text(
            "Năm cơ quan có tỷ lệ từ đầu năm thay đổi nhiều nhất so với bảy ngày trước. Trống "
            "trong bảy ngày đầu năm.",
            "The five agencies whose share of the year moved most against seven days ago. Blank in "
            "the first seven days of the year.",
        ),
        [
            Column(
                Text("Điểm %", "Points"),
                chosen,
                MORE_POINTS if up else LESS_POINTS,
                width=100,
            )
        ],
        label="scope",
        descending=up,
        nothing=Text("không có ai, hoặc chưa có số liệu", "nobody, or no figures"),
        width=12,
        height=8,
    )


PANELS: tuple[Panel, ...] = (
    STATUS,
    *(_figures(indicator) for indicator in INDICATORS),
    *(_standing(indicator) for indicator in INDICATORS),
    _changes(),
    Heading(Text("Theo nhóm", "By group")),
    *(_groups(indicator) for indicator in INDICATORS),
    *(_graph(indicator) for indicator in INDICATORS),
    Heading(Text("Cao nhất và thấp nhất", "Best and worst")),
    *(_ten(indicator, best) for indicator in INDICATORS for best in (True, False)),
    Heading(Text("Thay đổi", "Change")),
    *(_movers(indicator, up) for indicator in INDICATORS for up in (True, False)),
)
