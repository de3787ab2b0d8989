"""What Grafana draws: panels, columns, variables and links that the dashboards are made of.

A panel says its place on no grid: ``laid_out`` puts panels in rows of 24 columns, in their order.
Colour never says anything alone: states are a sign and a word, lines differ in width and dashes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import dashboard as dashboard_builder
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common, dashboard, units
from grafana_foundation_sdk.models.dashboard import (
    DashboardSpecialValueMapOptions,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    GridPos,
    SpecialValueMap,
    SpecialValueMatch,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.src.texts import AGENCY, GROUPS, Language, Text, agencies
from schemas.decoder import Reason

WIDTH = 24
DATASOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")

_BLUE, _ORANGE, _GREY = "blue", "orange", "text"
_DAY_AND_AN_HOUR = 25 * 3_600_000.0
_STATUS_SIZE = 16
_NOT_THERE = Text("chưa có", "none")


class Unit(NamedTuple):
    """How a number is written."""

    name: str | Text
    decimals: int | None = None

    def of(self, language: Language) -> str:
        return self.name if isinstance(self.name, str) else self.name.of(language)


SHARE = Unit(units.PercentUnit, 2)
COUNT = Unit("locale", 0)
"""With separators of thousands, as the reader's browser has them."""
POINTS = Unit(Text("suffix: điểm %", "suffix: points"), 2)
MORE_POINTS = Unit("prefix:+", 2)
"""Of points that are not negative; the sign of others is their own."""
LESS_POINTS = Unit(units.NoUnit, 2)
RATE = Unit(Text("suffix: bản ghi/s", "suffix: records/s"))
SECONDS = Unit(units.Seconds)
MINUTE = Unit("time:DD/MM/YYYY HH:mm")
DAY = Unit("time:DD/MM/YYYY")
MINUTES = Unit(Text("suffix: phút", "suffix: min"), 0)
HOURS = Unit(Text("suffix: giờ", "suffix: h"), 0)
DAYS = Unit(Text("suffix: ngày", "suffix: days"), 0)


class Line(NamedTuple):
    """How a meaning is drawn, on every page and in every language. The colours have a contrast of
    3 : 1 at least on Grafana's light and on its dark background."""

    colour: str
    width: int = 2
    dash: tuple[int, ...] = ()

    def properties(self) -> list[DynamicConfigValue]:
        style = {"fill": "dash", "dash": list(self.dash)} if self.dash else {"fill": "solid"}
        return [
            _property("color", {"mode": "fixed", "fixedColor": self.colour}),
            _property("custom.lineWidth", self.width),
            _property("custom.lineStyle", style),
        ]


LINES: dict[str, Line] = {
    "national": Line("#1F78C1", 3),
    "agency": Line("#1F78C1", 3),
    "ministry": Line("#D55E00", 2),
    "province": Line("#00926B", 2, (16, 4)),
    "target": Line(_GREY, 2, (10, 8)),
    "pace": Line("#B0529B", 2, (2, 4, 10, 4)),
    "last_year": Line("#808080", 2, (2, 6)),
    "highest": Line("#A07C00", 1),
    "middle": Line("#5B8A8A", 1, (6, 3)),
    "lowest": Line("#8A6FD1", 1, (3, 3)),
    "online": Line("#00879E", 2),
    "in_person": Line("#A8633A", 2, (10, 3)),
    "postal": Line("#8A6FD1", 2, (3, 3)),
    "on_time": Line("#00879E", 2),
    "level_1": Line("#A07C00", 1, (2, 6)),
    "level_2": Line("#A8633A", 1, (3, 3)),
    "level_3": Line("#00879E", 2, (10, 3)),
    "level_4": Line("#8A6FD1", 2),
    "with_dossiers": Line("#1F78C1", 3),
    "none": Line("#808080", 1),
}
"""What a series means → its line."""

_REASON_COLOURS = (
    *("#1F78C1", "#D55E00", "#00926B", "#B0529B", "#A07C00"),
    *("#00879E", "#A8633A", "#8A6FD1", "#808080", "#C0392B"),
)
REASONS: Mapping[str, tuple[Text, str]] = {
    reason.value: (Text(reason.value, reason.value), colour)
    for reason, colour in zip(Reason, _REASON_COLOURS, strict=True)
}
"""Why a record was rejected → what it is called, as everywhere, and its colour."""


class Query(NamedTuple):
    """An expression and what its series are called (``{{label}}`` for a label's value)."""

    expression: str
    name: Text
    meaning: str = ""
    """A key of ``LINES``; without one Grafana chooses."""
    unit: Unit | None = None
    """If it is not the panel's."""
    values: Mapping[str, Text] | None = None
    """Texts of some values."""


def value_map(texts: Mapping[str, tuple[str, str | None]]) -> ValueMapping:
    return ValueMap(
        {
            value: ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(texts.items())
        }
    )


class State(NamedTuple):
    """What 1 and 0 mean, each a sign and a word."""

    yes: Text
    no: Text
    yes_is_good: bool = True

    def mapping(self, language: Language) -> ValueMapping:
        good, bad = (_BLUE, _ORANGE) if self.yes_is_good else (_ORANGE, _BLUE)
        return value_map({"1": (self.yes.of(language), good), "0": (self.no.of(language), bad)})


ABOVE_LAST_YEAR = State(Text("▲ hơn", "▲ above"), Text("▼ không hơn", "▼ not above"))
READY = State(Text("✔ sẵn sàng", "✔ ready"), Text("✘ chưa sẵn sàng", "✘ not ready"))
UP = State(Text("✔ chạy", "✔ up"), Text("✘ ngừng", "✘ down"))
CONSISTENT = State(Text("✘ lệch", "✘ differs"), Text("✔ khớp", "✔ agrees"), yes_is_good=False)


class Course(NamedTuple):
    """What ``expressions.course`` gives, each a sign and a word."""

    reached: Text = Text("✔ đạt", "✔ met")
    on_course: Text = Text("▲ kịp tiến độ", "▲ on course")
    behind: Text = Text("▼ chậm tiến độ", "▼ behind")

    def mapping(self, language: Language) -> ValueMapping:
        return value_map(
            {
                "2": (self.reached.of(language), _BLUE),
                "1": (self.on_course.of(language), _BLUE),
                "0": (self.behind.of(language), _ORANGE),
            }
        )


ON_COURSE = Course()
MET = Course(behind=Text("✘ chưa đạt", "✘ not met"))
COURSES: Mapping[str, Course] = {"services_with_dossiers": ON_COURSE, "online_processed": MET}
"""Indicator → the words for where one stands against its target."""


def _missing_as(text: str) -> ValueMapping:
    """What is not there as a word, beside values that are."""
    return SpecialValueMap(
        DashboardSpecialValueMapOptions(
            match=SpecialValueMatch.NULL_AND_NAN, result=ValueMappingResult(text=text, index=9)
        )
    )


def agency_names() -> ValueMapping:
    """Codes shown as names."""
    return value_map({agency.code: (agency.name, None) for agency in agencies()})


def _texts(values: Mapping[str, Text], language: Language) -> ValueMapping:
    return value_map({value: (text.of(language), None) for value, text in values.items()})


def group_names(language: Language) -> ValueMapping:
    """``kind`` shown as the group's name."""
    return _texts(GROUPS, language)


def _letter(index: int) -> str:
    return chr(ord("A") + index)


def _query(query: Query, index: int, language: Language) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(query.expression)
        .legend_format(query.name.of(language))
        .ref_id(_letter(index))
        .datasource(DATASOURCE)
    )


def _property(id_val: str, value: object) -> DynamicConfigValue:
    return DynamicConfigValue(id_val=id_val, value=value)


def _neutral() -> dashboard_builder.ThresholdsConfig:
    """No threshold: what is good or bad is said by the target's series, not by a constant."""
    return (
        dashboard_builder.ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps([dashboard.Threshold(value=None, color=_GREY)])
    )


def _limit(value: float) -> dashboard_builder.ThresholdsConfig:
    return (
        dashboard_builder.ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps(
            [
                dashboard.Threshold(value=None, color=_GREY),
                dashboard.Threshold(value=value, color=_ORANGE),
            ]
        )
    )


class Graph(NamedTuple):
    """Series over time, each drawn as what it means."""

    title: Text
    description: Text
    queries: Sequence[Query]
    unit: Unit = SHARE
    stacked: bool = False
    state: State | None = None
    limit: float | None = None
    """Where it begins to be bad: a dashed line. The description says what the limit is."""
    daily: bool = False
    """Of figures, whose past may be exported: a sample a day."""
    bars: bool = False
    every: str | None = None
    """The shortest time between two points; of counts since the point before, at least the time
    between two that the rules record."""
    colours: Mapping[str, tuple[Text, str]] = {}
    """Of series by name: a label's value → what it is called, and its colour."""
    nothing: Text | None = None
    """What is said where there is no series."""
    width: int = 12
    height: int = 10

    def build(self, language: Language) -> dashboard.Panel:
        panel = (
            timeseries.Panel()
            .title(self.title.of(language))
            .description(self.description.of(language))
            .datasource(DATASOURCE)
            .unit(self.unit.of(language))
            .min(0)
            .thresholds(_neutral() if self.limit is None else _limit(self.limit))
            .color_scheme(
                dashboard_builder.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC)
            )
            .line_width(2)
            .fill_opacity(80 if self.bars else 15 if self.stacked else 0)
            # A gap is an outage and is shown as one; an exported past has a sample a day.
            .span_nulls(_DAY_AND_AN_HOUR if self.daily else False)
            .show_points(common.VisibilityMode.NEVER if self.daily else common.VisibilityMode.AUTO)
            .tooltip(
                common_builder.VizTooltipOptions()
                .mode(common.TooltipDisplayMode.MULTI)
                .sort(common.SortOrder.DESCENDING)
            )
            .legend(self._legend())
        )
        if self.unit.decimals is not None:
            panel = panel.decimals(self.unit.decimals)
        if self.stacked or self.bars:
            panel = panel.stacking(common_builder.StackingConfig().mode(common.StackingMode.NORMAL))
        if self.limit is not None:
            panel = panel.thresholds_style(
                common_builder.GraphThresholdsStyleConfig().mode(
                    common.GraphThresholdsStyleMode.DASHED
                )
            ).axis_soft_max(self.limit)
        if self.bars:
            panel = panel.draw_style(common.GraphDrawStyle.BARS)
        if self.every:
            panel = panel.interval(self.every)
        if self.nothing:
            panel = panel.no_value(self.nothing.of(language))
        for value, (name, colour) in self.colours.items():
            fixed = {"mode": "fixed", "fixedColor": colour}
            panel = panel.override_by_name(
                value, [_property("displayName", name.of(language)), _property("color", fixed)]
            )
        if self.state:
            panel = panel.mappings([self.state.mapping(language)]).max(1)
        for index, query in enumerate(self.queries):
            panel = panel.with_target(_query(query, index, language).range())
            if query.meaning:
                panel = panel.override_by_query(_letter(index), LINES[query.meaning].properties())
        return panel.build()

    def _legend(self) -> common_builder.VizLegendOptions:
        # A list: every name is seen; a table hides what is beyond a third of the panel.
        return (
            common_builder.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([] if self.daily or self.bars else ["lastNotNull"])
        )


class Figures(NamedTuple):
    """A few numbers as of now, each with its name; ``state`` says what their values mean."""

    title: Text
    description: Text
    queries: Sequence[Query]
    unit: Unit = SHARE
    state: State | Course | None = None
    words: Callable[[Language], ValueMapping] | None = None
    """Values that are said in words; the tile then shows no name."""
    width: int = 6
    height: int = 5
    named: bool = True
    """Whether the values' names are shown; one alone has the panel's title."""
    nothing: Text = Text("chưa đủ số liệu, xem dòng đầu trang", "no figure, see the first line")
    """What it means if no value is there."""
    lacking: Text | None = _NOT_THERE
    """What is said of a value that is NaN, beside others that are there; where none is, it would
    come before ``nothing``."""

    def build(self, language: Language) -> dashboard.Panel:
        panel = (
            stat.Panel()
            .title(self.title.of(language))
            .description(self.description.of(language))
            .datasource(DATASOURCE)
            .unit(self.unit.of(language))
            .thresholds(_neutral())
            .color_mode(common.BigValueColorMode.VALUE)
            .graph_mode(common.BigValueGraphMode.NONE)
            .text_mode(
                common.BigValueTextMode.VALUE_AND_NAME
                if self.named and not self.words
                else common.BigValueTextMode.VALUE
            )
            .wide_layout(False)
            .reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]))
            .no_value(self.nothing.of(language))
        )
        if self.unit.decimals is not None:
            panel = panel.decimals(self.unit.decimals)
        mappings = [_missing_as(self.lacking.of(language))] if self.lacking else []
        if self.state:
            mappings.insert(0, self.state.mapping(language))
        if self.words:
            mappings.insert(0, self.words(language))
        panel = panel.mappings(mappings)
        for index, query in enumerate(self.queries):
            panel = panel.with_target(_query(query, index, language).instant())
            own = []
            if query.unit:
                own = _unit_properties(query.unit, language)
            if query.values:
                own.append(_property("mappings", [_texts(query.values, language), *mappings[-1:]]))
            if own:
                panel = panel.override_by_query(_letter(index), own)
        return panel.build()


class Status(NamedTuple):
    """One line of text: the name of whichever series is there, in its query's colour."""

    title: Text
    description: Text
    good: Query
    bad: Sequence[Query]
    width: int = WIDTH
    height: int = 2

    def build(self, language: Language) -> dashboard.Panel:
        panel = (
            stat.Panel()
            .title(self.title.of(language))
            .description(self.description.of(language))
            .datasource(DATASOURCE)
            .unit(units.NoUnit)
            .thresholds(_neutral())
            .color_mode(common.BigValueColorMode.VALUE)
            .graph_mode(common.BigValueGraphMode.NONE)
            .justify_mode(common.BigValueJustifyMode.AUTO)
            .text_mode(common.BigValueTextMode.NAME)
            .text(common_builder.VizTextDisplayOptions().value_size(_STATUS_SIZE))
            .orientation(common.VizOrientation.HORIZONTAL)
            .reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]))
        )
        for index, query in enumerate((self.good, *self.bad)):
            colour = _ORANGE if index else _BLUE
            panel = panel.with_target(_query(query, index, language).instant())
            panel = panel.override_by_query(
                _letter(index), [_property("color", {"mode": "fixed", "fixedColor": colour})]
            )
        return panel.build()


class Column(NamedTuple):
    """A table's column: one value per row."""

    title: Text
    expression: str
    unit: Unit = SHARE
    state: State | Course | None = None
    bar: bool = False
    names: Mapping[str, Text] | None = None
    """Texts of some values."""
    width: int = 0
    """In pixels; columns without one share what is left."""


class Table(NamedTuple):
    """Rows by a label, as of now. ``sort`` is a column's index; ``agency`` rows link on."""

    title: Text
    description: Text
    columns: Sequence[Column]
    label: str = "agency"
    """``scope`` and ``agency`` are shown by name; see ``rows`` for others."""
    label_title: Text = AGENCY
    rows: Mapping[str, Text] | None = None
    """The label's values and their names, in their order: the table stays sorted by them."""
    sort: int = 0
    descending: bool = True
    also: Sequence[tuple[str, Text]] = ()
    """Further labels that are shown, with their titles; of a table with one column only."""
    also_width: int = 0
    """Theirs in pixels."""
    words: Mapping[str, Mapping[str, tuple[Text, str | None]]] = {}
    """Of labels: a value → what is said, in which colour."""
    sort_label: Text | None = None
    """Sorted by this label instead of a column."""
    nothing: Text = Text("chưa đủ số liệu, xem dòng đầu trang", "no figures, see the first line")
    """What it means if no row is there."""
    width: int = WIDTH
    height: int = 12

    def build(self, language: Language) -> dashboard.Panel:
        titles = [column.title.of(language) for column in self.columns]
        sorted_by = self.label_title if self.rows else self.sort_label
        panel = (
            table.Panel()
            .title(self.title.of(language))
            .description(self.description.of(language))
            .datasource(DATASOURCE)
            # Of labels; every column has its own. A date's would make dates of names.
            .unit(COUNT.of(language))
            .thresholds(_neutral())
            .filterable(False)
            .cell_height(common.TableCellHeight.SM)
            .show_header(True)
            .no_value(self.nothing.of(language))
            .sort_by(
                [
                    common_builder.TableSortByFieldState()
                    .display_name((sorted_by or self.columns[self.sort].title).of(language))
                    .desc(self.descending and not self.rows)
                ]
            )
        )
        one = len(self.columns) == 1
        unshown = [name for name in _BESIDE_THE_LABEL if name != self.label]
        for label, _ in self.also:
            if label in unshown:
                unshown.remove(label)
        order = {self.label: 0}
        names = {self.label: self.label_title.of(language)}
        # If the other queries find nothing, the first one's value keeps its plain name too.
        names["Value"] = titles[0]
        for label, title in self.also:
            order[label] = len(order)
            names[label] = title.of(language)
        for index, (column, title_) in enumerate(zip(self.columns, titles, strict=True)):
            # A single frame is not merged, and its value keeps its plain name.
            field = "Value" if one else f"Value #{_letter(index)}"
            order[field] = len(order)
            names[field] = title_
            panel = panel.override_by_name(title_, self._properties(column, language))
            panel = panel.with_target(
                _query(Query(column.expression, column.title), index, language)
                .format(PromQueryFormat.TABLE)
                .instant()
            )
        panel = panel.override_by_name(
            self.label_title.of(language), self._label_properties(language)
        )
        for label, title in self.also:
            if self.also_width:
                width = [_property("custom.width", self.also_width)]
                panel = panel.override_by_name(title.of(language), width)
            if label in self.words:
                said = {
                    value: (text.of(language), colour)
                    for value, (text, colour) in self.words[label].items()
                }
                panel = panel.override_by_name(
                    title.of(language),
                    [
                        _property("mappings", [value_map(said)]),
                        _property("custom.cellOptions", {"type": "color-text"}),
                    ],
                )
            elif label == "kind":
                panel = panel.override_by_name(
                    title.of(language), [_property("mappings", [group_names(language)])]
                )
            elif label in _OF_AGENCIES:
                panel = panel.override_by_name(
                    title.of(language), [_property("mappings", [agency_names()])]
                )
        if not one:
            # Joined, not merged: a query that finds nothing has no labels, and merging would then
            # know no key and show no row at all. Joining leaves it out.
            for transformation in self._joined(unshown):
                panel = panel.with_transformation(transformation)
        return panel.with_transformation(
            DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": dict.fromkeys(unshown, True),
                    "indexByName": order,
                    "renameByName": names,
                },
            )
        ).build()

    def _joined(self, unshown: list[str]) -> list[DataTransformerConfig]:
        return [
            DataTransformerConfig(
                id_val="filterFieldsByName", options={"exclude": {"names": unshown}}
            ),
            DataTransformerConfig(
                id_val="joinByField", options={"byField": self.label, "mode": "outer"}
            ),
        ]

    @staticmethod
    def _properties(column: Column, language: Language) -> list[DynamicConfigValue]:
        found = [*_unit_properties(column.unit, language), _property("noValue", "–")]
        if column.width:
            found.append(_property("custom.width", column.width))
        if column.state:
            found.append(_property("mappings", [column.state.mapping(language)]))
            found.append(_property("custom.cellOptions", {"type": "color-text"}))
        if column.names:
            found.append(_property("mappings", [_texts(column.names, language)]))
        if column.bar:
            found += [
                _property("min", 0),
                _property("max", 1),
                _property("color", {"mode": "fixed", "fixedColor": _BLUE}),
                _property(
                    "custom.cellOptions",
                    {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"},
                ),
            ]
        return found

    def _label_properties(self, language: Language) -> list[DynamicConfigValue]:
        if self.rows:
            return [
                _property("mappings", [_texts(self.rows, language)]),
                _property("custom.minWidth", 120),
            ]
        if self.label not in _OF_AGENCIES:
            return []
        link = {
            "title": Text("Xem cơ quan", "Open the agency").of(language),
            "url": f"/d/{uid('agency', language)}?var-agency=${{__value.raw}}"
            "&${__url_time_range}&${datasource:queryparam}&${period:queryparam}",
        }
        return [
            _property("mappings", [agency_names()]),
            _property("links", [link]),
            _property("custom.minWidth", 150),
        ]


_OF_AGENCIES = ("agency", "scope")
_BESIDE_THE_LABEL = ("Time", "kind", "scope", "indicator", "period")
"""Columns that Prometheus gives besides the values, of which none is shown twice."""


def _unit_properties(unit: Unit, language: Language) -> list[DynamicConfigValue]:
    found = [_property("unit", unit.of(language))]
    if unit.decimals is not None:
        found.append(_property("decimals", unit.decimals))
    return found


class Heading(NamedTuple):
    """A line that begins a section; ``collapsed``: its panels are seen, and asked for, when it is
    opened."""

    title: Text
    collapsed: bool = False
    width: int = WIDTH
    height: int = 1

    def build(self, language: Language) -> dashboard.RowPanel:
        return dashboard_builder.Row(self.title.of(language)).collapsed(self.collapsed).build()


Panel = Graph | Figures | Status | Table | Heading


def uid(name: str, language: Language) -> str:
    """A dashboard's fixed identifier: ``hoso-NAME``, in English ``hoso-NAME-en``."""
    return f"hoso-{name}" if language == "vi" else f"hoso-{name}-{language}"


def laid_out(panels: Sequence[Panel], language: Language) -> list[Any]:
    """The panels with ids and places: side by side while they fit, then below. Those of a
    collapsed section are in its heading."""
    built: list[Any] = []
    section = built
    x = y = height = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > WIDTH:
            x, y, height = 0, y + height, 0
        if isinstance(panel, Heading) and section is not built:
            x, y, height = 0, built[-1].grid_pos.y + 1, 0
        one: Any = panel.build(language)
        one.id_val = number
        one.grid_pos = GridPos(h=panel.height, w=panel.width, x=x, y=y)
        if isinstance(panel, Heading):
            built.append(one)
            section = one.panels if panel.collapsed else built
        else:
            section.append(one)
        x, height = x + panel.width, max(height, panel.height)
    return built
