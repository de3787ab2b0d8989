"""*Shortfalls*: who misses what, by how much, since when, and whether it is on course."""

from __future__ import annotations

from grafana.src.expressions import (
    INDICATORS,
    NOW,
    Indicator,
    change,
    last_met,
    met,
    missing,
    pace,
    ratio,
    shortfall,
    target,
)
from grafana.src.nation import NAMES
from grafana.src.panels import (
    ABOVE_LAST_YEAR,
    COUNT,
    MOMENT,
    ON_COURSE,
    Column,
    Figures,
    Heading,
    Panel,
    Query,
    Table,
)
from grafana.src.texts import GROUPS, TARGET, Text

TITLE = Text("Chưa đạt mục tiêu", "Shortfalls")
DESCRIPTION = Text(
    "Cơ quan nào thiếu gì, thiếu bao nhiêu, từ khi nào, có kịp tiến độ không.",
    "Who misses what, by how much, since when, on course or not.",
)


def _below(indicator: Indicator, **who: str) -> str:
    return f"({ratio(indicator, **who)} < {target(indicator, **who)})"


def _how_many(indicator: Indicator) -> Figures:
    return Figures(
        Text(
            f"Cơ quan chưa đạt: {NAMES[indicator].vi}",
            f"Agencies below target: {NAMES[indicator].en}",
        ),
        Text(
            "Số cơ quan có tỷ lệ thấp hơn mục tiêu của mình, theo nhóm.",
            "Agencies whose share is below their own target, by group.",
        ),
        [
            Query(
                f"count({_below(indicator, kind=kind)}) "
                f"or on () 0 * count({target(indicator, kind=kind)})",
                GROUPS[kind],
            )
            for kind in ("ministry", "province")
        ],
        COUNT,
        width=8,
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
        width=4,
    )


def _table(indicator: Indicator) -> Table:
    share, aim, below = ratio(indicator), target(indicator), _below(indicator)
    columns = [
        Column(Text("Còn thiếu", "Shortfall"), f"({shortfall(share, aim)}) and {below}", bar=True),
        Column(Text("Số còn thiếu", "Missing"), f"{missing(indicator)} and {below}", COUNT),
        Column(Text("Tỷ lệ", "Share"), below),
        Column(TARGET, f"{aim} and {below}"),
    ]
    if indicator == "services_with_dossiers":
        columns.append(
            Column(
                Text("Tiến độ", "Course"),
                f"({met(share, pace())}) and {below}",
                COUNT,
                ON_COURSE,
            )
        )
    columns += [
        Column(
            Text("So với năm trước", "Against last year"),
            f"({share} > bool {ratio(indicator, NOW, '${period}_last_year')}) and {below}",
            COUNT,
            ABOVE_LAST_YEAR,
        ),
        Column(
            Text("Thay đổi tuần qua (năm)", "Change in a week (year)"),
            f"({change(indicator)}) and {below}",
        ),
        Column(Text("Đạt lần cuối", "Last met"), last_met(indicator), MOMENT),
    ]
    return Table(
        NAMES[indicator],
        Text(
            "Mọi cơ quan dưới mục tiêu, thiếu nhiều nhất ở trên. Tiến độ: đường thẳng từ 0 đến mục "
            "tiêu của năm (chỉ với kỳ năm; với hồ sơ trực tuyến tiến độ chính là mục tiêu, nên ai "
            "dưới mục tiêu là chậm). Đạt lần cuối: ngày cuối trong 90 ngày; trống là lâu hơn hoặc "
            "chưa bao giờ.",
            "Every agency below its target, most missing first. Course: the line from 0 to the "
            "year's target (for the year only; for dossiers the pace is the target itself, so "
            "whoever is below it is behind). Last met: the last day of 90; blank: longer ago or "
            "never.",
        ),
        columns,
        also=[("kind", Text("Nhóm", "Group"))],
        height=18,
    )


PANELS: tuple[Panel, ...] = (
    *(panel for indicator in INDICATORS for panel in (_how_many(indicator), _how_much(indicator))),
    *(
        panel
        for indicator in INDICATORS
        for panel in (Heading(NAMES[indicator]), _table(indicator))
    ),
)
