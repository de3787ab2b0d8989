"""*Shortfalls*: who misses what, by how much, since when, and whether it is on course."""

from __future__ import annotations

from grafana.src.expressions import (
    INDICATORS,
    NOW,
    Indicator,
    alike,
    below,
    change,
    course,
    last_met,
    missing,
    share,
    shortfall,
    target,
)
from grafana.src.nation import JUDGED, LAST_YEAR_PERIOD, NAMES, NOT_JUDGED
from grafana.src.panels import (
    ABOVE_LAST_YEAR,
    COUNT,
    COURSES,
    DAY,
    POINTS,
    Column,
    Figures,
    Heading,
    Panel,
    Query,
    Table,
)
from grafana.src.status import STATUS
from grafana.src.texts import GROUPS, SHORT, TARGET, Text

TITLE = Text("Chưa đạt mục tiêu", "Shortfalls")
DESCRIPTION = Text(
    "Cơ quan nào thiếu gì, thiếu bao nhiêu, từ khi nào, có kịp tiến độ không.",
    "Who misses what, by how much, since when, on course or not.",
)

_KINDS = "~ministry|province"
_EARLIER = {"0": Text("trước đó", "earlier")}


def _how_many(indicator: Indicator) -> Figures:
    return Figures(
        Text(
            f"Cơ quan chưa đạt: {SHORT[indicator].vi}",
            f"Agencies below: {SHORT[indicator].en}",
        ),
        Text(
            "Số cơ quan có tỷ lệ thấp hơn mục tiêu của mình, theo nhóm. " + JUDGED[indicator].vi,
            "Agencies whose share is below their own target, by group. " + JUDGED[indicator].en,
        ),
        [
            Query(
                f"count({below(indicator, kind=kind)}) "
                f"or on () 0 * count({alike(target(indicator, kind=kind))})",
                GROUPS[kind],
            )
            for kind in ("ministry", "province")
        ],
        COUNT,
        width=6,
        nothing=NOT_JUDGED[indicator],
    )


def _how_much(indicator: Indicator) -> Figures:
    name = (
        Text("Dịch vụ còn thiếu", "Services missing")
        if indicator == "services_with_dossiers"
        else Text("Hồ sơ còn thiếu", "Dossiers missing")
    )
    return Figures(
        name,
        Text(
            "Cộng qua các cơ quan: số cần thêm để mỗi cơ quan đạt mục tiêu của mình.",
            "Over the agencies: how many more it takes for each to meet its own target.",
        ),
        [
            Query(f"sum({missing(indicator, kind=kind)})", GROUPS[kind])
            for kind in ("ministry", "province")
        ],
        COUNT,
        width=6,
        nothing=NOT_JUDGED[indicator],
    )


def _table(indicator: Indicator) -> Table:
    under = below(indicator, kind=_KINDS)
    before = alike(share(indicator, NOW, LAST_YEAR_PERIOD, kind=_KINDS))

    def of_them(figure: str) -> str:
        return f"({figure}) and {under}"

    columns = [
        Column(
            Text("Còn thiếu", "Short"),
            of_them(shortfall(indicator, kind=_KINDS)),
            POINTS,
            width=120,
        ),
        Column(
            Text("Số còn thiếu", "Missing"),
            of_them(missing(indicator, kind=_KINDS)),
            COUNT,
            width=110,
        ),
        Column(Text("Tỷ lệ", "Share"), under, bar=True, width=130),
        Column(TARGET, of_them(alike(target(indicator, kind=_KINDS))), width=85),
    ]
    if indicator == "services_with_dossiers":
        columns.append(
            Column(
                Text("Tiến độ", "Course"),
                of_them(course(indicator, kind=_KINDS)),
                COUNT,
                COURSES[indicator],
                width=125,
            )
        )
    columns += [
        Column(
            Text("Năm trước", "Last year"),
            of_them(f"{alike(share(indicator, kind=_KINDS))} > bool {before}"),
            COUNT,
            ABOVE_LAST_YEAR,
            width=110,
        ),
        Column(
            Text("Tuần qua", "In a week"),
            of_them(change(indicator, kind=_KINDS)),
            POINTS,
            width=115,
        ),
        Column(
            Text("Đạt lần cuối", "Last met"),
            last_met(indicator, kind=_KINDS),
            DAY,
            names=_EARLIER,
            width=115,
        ),
    ]
    return Table(
        NAMES[indicator],
        Text(
            "Mọi cơ quan dưới mục tiêu, thiếu nhiều nhất ở trên. "
            + JUDGED[indicator].vi
            + " Năm trước: hơn cùng kỳ năm trước hay không. Tuần qua: thay đổi của tỷ lệ từ đầu "
            "năm. Đạt lần cuối: ngày cuối trong 90 ngày; trước đó hoặc chưa bao giờ.",
            "Every agency below its target, most missing first. "
            + JUDGED[indicator].en
            + " Last year: above the same day of last year or not. In a week: the change of the "
            "share of the year. Last met: the last day of 90; earlier or never.",
        ),
        columns,
        nothing=Text(
            "không cơ quan nào thiếu, hoặc chưa đủ số liệu: xem dòng đầu trang",
            "nobody misses anything, or no figures: see the first line",
        ),
        label="scope",
        height=18,
    )


PANELS: tuple[Panel, ...] = (
    STATUS,
    *(panel for indicator in INDICATORS for panel in (_how_many(indicator), _how_much(indicator))),
    *(
        panel
        for indicator in INDICATORS
        for panel in (Heading(NAMES[indicator]), _table(indicator))
    ),
)
