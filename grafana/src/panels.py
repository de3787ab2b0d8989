"""What Grafana draws: panels, columns, variables and links that the dashboards are made of.

A panel says its place on no grid: ``Layout`` puts panels in rows of 24 columns, in their order.
Colour never says anything alone: states are a sign and a word, targets are dashed lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import dashboard as dashboard_builder
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common, dashboard, units
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    GridPos,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.src.texts import AGENCY, GROUPS, LAST_YEAR, TARGET, Language, Text, agencies

WIDTH = 24
DATASOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")

_BLUE, _ORANGE, _GREY = "blue", "orange", "text"


class Query(NamedTuple):
    """An expression and what its series are called (``{{label}}`` for a label's value)."""

    expression: str
    name: Text


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


MET = State(Text("✔ đạt", "✔ met"), Text("✘ chưa đạt", "✘ not met"))
ON_COURSE = State(Text("▲ kịp tiến độ", "▲ on course"), Text("▼ chậm tiến độ", "▼ behind"))
ABOVE_LAST_YEAR = State(
    Text("▲ hơn năm trước", "▲ above last year"), Text("▼ không hơn", "▼ not above")
)
READY = State(Text("✔ sẵn sàng", "✔ ready"), Text("✘ chưa sẵn sàng", "✘ not ready"))
UP = State(Text("✔ chạy", "✔ up"), Text("✘ ngừng", "✘ down"))
CONSISTENT = State(Text("✘ lệch", "✘ differs"), Text("✔ khớp", "✔ agrees"), yes_is_good=False)


KIND_NUMBERS = {"1": GROUPS["ministry"], "2": GROUPS["province"]}
"""What ``expressions.kind_number`` gives."""


def agency_names() -> ValueMapping:
    """Codes shown as names."""
    return value_map({agency.code: (agency.name, None) for agency in agencies()})


def group_names(language: Language) -> ValueMapping:
    """``kind`` shown as the group's name."""
    return value_map({kind: (name.of(language), None) for kind, name in GROUPS.items()})


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


class Unit(NamedTuple):
    """How a number is written."""

    name: str | Text
    decimals: int | None = None

    def of(self, language: Language) -> str:
        return self.name.of(language) if isinstance(self.name, Text) else self.name


SHARE = Unit(units.PercentUnit, 2)
COUNT = Unit(units.NoUnit, 0)
RATE = Unit(Text("suffix: bản ghi/s", "suffix: records/s"))
SECONDS = Unit(units.Seconds)
MOMENT = Unit("dateTimeAsIso")
DAY = Unit("time:DD/MM/YYYY")
MINUTE = Unit("time:DD/MM/YYYY HH:mm")
DURATION = Unit("dtdurations", 0)


class Graph(NamedTuple):
    """Series over time. Targets and last year are drawn dashed and dotted, by their names."""

    title: Text
    description: Text
    queries: Sequence[Query]
    unit: Unit = SHARE
    stacked: bool = False
    state: State | None = None
    limit: float | None = None
    """Where it begins to be bad: a dashed line. The description says what the limit is."""
    bars: bool = False
    every: str | None = None
    """The shortest time between two points; of counts since the point before, at least the time
    between two that the rules record."""
    colours: Mapping[str, tuple[Text, str]] = {}
    """Of series by name: a label's value → what it is called, and its colour."""
    nothing: Text | None = None
    """What is said where there is no series."""
    width: int = 12
    height: int = 9

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
                dashboard_builder.FieldColor().mode(
                    dashboard.FieldColorModeId.PALETTE_CLASSIC_BY_NAME
                )
            )
            .line_width(2)
            .fill_opacity(15 if self.stacked else 0)
            # A gap is an outage and is shown as one; single samples of the past become points.
            .span_nulls(False)
            .show_points(common.VisibilityMode.AUTO)
            .tooltip(
                common_builder.VizTooltipOptions()
                .mode(common.TooltipDisplayMode.MULTI)
                .sort(common.SortOrder.DESCENDING)
            )
            .legend(
                common_builder.VizLegendOptions()
                .display_mode(common.LegendDisplayMode.TABLE)
                .placement(common.LegendPlacement.BOTTOM)
                .show_legend(True)
                .calcs(["lastNotNull"])
            )
        )
        if self.unit.decimals is not None:
            panel = panel.decimals(self.unit.decimals)
        if self.stacked:
            panel = panel.stacking(common_builder.StackingConfig().mode(common.StackingMode.NORMAL))
        if self.limit is not None:
            panel = panel.thresholds_style(
                common_builder.GraphThresholdsStyleConfig().mode(
                    common.GraphThresholdsStyleMode.DASHED
                )
            ).axis_soft_max(self.limit)
        if self.bars:
            panel = panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(60)
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
        for style, name in (("dash", TARGET), ("dot", LAST_YEAR)):
            dash: list[float] = [10, 8] if style == "dash" else [2, 6]
            panel = panel.override_by_regexp(
                f"/^{name.of(language)}/",
                [_property("custom.lineStyle", {"fill": style, "dash": dash})],
            )
        for index, query in enumerate(self.queries):
            panel = panel.with_target(_query(query, index, language).range())
        return panel.build()


class Figures(NamedTuple):
    """A few numbers as of now, each with its name; ``state`` says what 1 and 0 mean."""

    title: Text
    description: Text
    queries: Sequence[Query]
    unit: Unit = SHARE
    state: State | None = None
    words: Callable[[Language], ValueMapping] | None = None
    """Values that are said in words; the tile then shows no name."""
    nothing: Text = Text("–", "–")
    """What is said where there is no value."""
    width: int = 6
    height: int = 5

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
                common.BigValueTextMode.VALUE
                if self.words
                else common.BigValueTextMode.VALUE_AND_NAME
            )
            .reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]))
            .no_value(self.nothing.of(language))
        )
        if self.unit.decimals is not None:
            panel = panel.decimals(self.unit.decimals)
        if self.state:
            panel = panel.mappings([self.state.mapping(language)])
        if self.words:
            panel = panel.mappings([self.words(language)])
        for index, query in enumerate(self.queries):
            panel = panel.with_target(_query(query, index, language).instant())
        return panel.build()


class Column(NamedTuple):
    """A table's column: one value per row."""

    title: Text
    expression: str
    unit: Unit = SHARE
    state: State | None = None
    bar: bool = False
    names: Mapping[str, Text] | None = None
    """Texts of some values."""


class Table(NamedTuple):
    """Rows by a label, as of now. ``sort`` is a column's index; ``agency`` rows link on."""

    title: Text
    description: Text
    columns: Sequence[Column]
    label: str = "agency"
    label_title: Text = AGENCY
    sort: int = 0
    descending: bool = True
    also: Sequence[tuple[str, Text]] = ()
    """Further labels that are shown, with their titles; of a table with one column only."""
    words: Mapping[str, Mapping[str, tuple[Text, str | None]]] = {}
    """Of labels: a value → what is said, in which colour."""
    sort_label: Text | None = None
    """Sorted by this label instead of a column."""
    nothing: Text = Text("–", "–")
    width: int = WIDTH
    height: int = 12

    def build(self, language: Language) -> dashboard.Panel:
        titles = [column.title.of(language) for column in self.columns]
        panel = (
            table.Panel()
            .title(self.title.of(language))
            .description(self.description.of(language))
            .datasource(DATASOURCE)
            # Of labels; every column has its own. A date's would make dates of names.
            .unit(COUNT.of(language))
            .thresholds(_neutral())
            .filterable(True)
            .cell_height(common.TableCellHeight.SM)
            .show_header(True)
            .no_value(self.nothing.of(language))
            .sort_by(
                [
                    common_builder.TableSortByFieldState()
                    .display_name(
                        self.sort_label.of(language) if self.sort_label else titles[self.sort]
                    )
                    .desc(self.descending)
                ]
            )
        )
        one = len(self.columns) == 1
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
            elif label == "agency":
                panel = panel.override_by_name(
                    title.of(language), [_property("mappings", [agency_names()])]
                )
        if not one:
            # Joined, not merged: a query that finds nothing has no labels, and merging would then
            # know no key and show no row at all. Joining leaves it out.
            for transformation in self._joined():
                panel = panel.with_transformation(transformation)
        return panel.with_transformation(
            DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": order,
                    "renameByName": names,
                },
            )
        ).build()

    def _joined(self) -> list[DataTransformerConfig]:
        others = [name for name in ("Time", "kind") if name != self.label]
        return [
            DataTransformerConfig(
                id_val="filterFieldsByName", options={"exclude": {"names": others}}
            ),
            DataTransformerConfig(
                id_val="joinByField", options={"byField": self.label, "mode": "outer"}
            ),
        ]

    @staticmethod
    def _properties(column: Column, language: Language) -> list[DynamicConfigValue]:
        found = [_property("unit", column.unit.of(language))]
        if column.unit.decimals is not None:
            found.append(_property("decimals", column.unit.decimals))
        if column.state:
            found.append(_property("mappings", [column.state.mapping(language)]))
            found.append(_property("custom.cellOptions", {"type": "color-text"}))
        if column.names:
            texts = {value: (text.of(language), None) for value, text in column.names.items()}
            found.append(_property("mappings", [value_map(texts)]))
        if column.bar:
            found += [
                _property("min", 0),
                _property("max", 1),
                _property("color", {"mode": "fixed", "fixedColor": _BLUE}),
                _property(
                    "custom.cellOptions",
                    {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"},
                ),
                _property("custom.minWidth", 180),
            ]
        return found

    def _label_properties(self, language: Language) -> list[DynamicConfigValue]:
        if self.label == "kind":
            return [_property("mappings", [group_names(language)])]
        if self.label != "agency":
            return []
        link = {
            "title": Text("Xem cơ quan", "Open the agency").of(language),
            "url": f"/d/{uid('agency', language)}?var-agency=${{__value.raw}}"
            "&${__url_time_range}&${datasource:queryparam}&${job:queryparam}"
            "&${period:queryparam}&${levels:queryparam}",
        }
        return [
            _property("mappings", [agency_names()]),
            _property("links", [link]),
            _property("custom.minWidth", 220),
        ]


class Heading(NamedTuple):
    """A line that begins a section; ``collapsed``: its panels are seen, and asked for, when it is
    opened."""

    title: Text
    collapsed: bool = False
    width: int = WIDTH
    height: int = 1

    def build(self, language: Language) -> dashboard.RowPanel:
        return dashboard_builder.Row(self.title.of(language)).collapsed(self.collapsed).build()


Panel = Graph | Figures | Table | Heading


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
