"""Every dashboard: its name, its words, its panels; and what all of them have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from grafana.src import agency, nation, pipeline, rankings, shortfalls
from grafana.src.panels import DATASOURCE, Panel, laid_out, uid
from grafana.src.texts import AGENCY, LANGUAGES, PERIODS, Language, Text, agencies

DIRECTORY = Path(__file__).parents[1] / "dashboards"
DATASOURCE_UID = "hoso-prometheus"


class Mark(NamedTuple):
    """Alerts as regions on the graphs of a page: one for each name, not for each agency."""

    name: Text
    expression: str
    title: str
    text: Text
    colour: str


PIPELINE_ALERTS = Mark(
    Text("Cảnh báo đường ống", "Pipeline alerts"),
    'max by (alertname) (ALERTS{alertstate="firing",layer="pipeline"})',
    "{{alertname}}",
    Text(
        "Số liệu lúc này có thể cũ hoặc thiếu: xem bảng Đường ống.",
        "Figures of this time may be old or lack something: see the dashboard Pipeline.",
    ),
    "purple",
)
OWN_ALERTS = Mark(
    Text("Cảnh báo của cơ quan", "Alerts of the agency"),
    'max by (alertname, indicator, reason) (ALERTS{alertstate="firing",scope="$agency"}'
    ' or ALERTS{alertstate="firing",agency="$agency"})',
    "{{alertname}} {{indicator}}{{reason}}",
    Text("Cảnh báo về chính cơ quan này.", "An alert about this agency itself."),
    "orange",
)


class Page(NamedTuple):
    """A dashboard before it has a language."""

    name: str
    title: Text
    description: Text
    panels: Sequence[Panel]
    variables: Sequence[str]
    since: str = "now-90d"
    refresh: str = "5m"
    """Figures of 90 days change by the hour, and by the minute at most."""
    marks: Sequence[Mark] = (PIPELINE_ALERTS,)


PAGES: tuple[Page, ...] = (
    Page("nation", nation.TITLE, nation.DESCRIPTION, nation.PANELS, ("period",)),
    Page(
        "ministries",
        rankings.MINISTRIES_TITLE,
        rankings.MINISTRIES_DESCRIPTION,
        rankings.panels("ministry"),
        ("period",),
    ),
    Page(
        "provinces",
        rankings.PROVINCES_TITLE,
        rankings.PROVINCES_DESCRIPTION,
        rankings.panels("province"),
        ("period",),
    ),
    Page(
        "agency",
        agency.TITLE,
        agency.DESCRIPTION,
        agency.PANELS,
        ("agency", "period"),
        marks=(PIPELINE_ALERTS, OWN_ALERTS),
    ),
    Page(
        "shortfalls",
        shortfalls.TITLE,
        shortfalls.DESCRIPTION,
        shortfalls.PANELS,
        ("period",),
    ),
    Page(
        "pipeline",
        pipeline.TITLE,
        pipeline.DESCRIPTION,
        pipeline.PANELS,
        ("job", "instance"),
        "now-6h",
        "1m",
    ),
)

_LINKS = Text("Bảng điều khiển", "Dashboards")
_LABELS: Mapping[str, Text] = {
    "datasource": Text("Nguồn dữ liệu", "Data source"),
    "job": Text("Nhóm thu thập", "Scrape job"),
    "instance": Text("Tiến trình", "Worker"),
    "period": Text("Kỳ", "Period"),
    "agency": AGENCY,
}


def build(page: Page, language: Language) -> dashboard.Dashboard:
    """A dashboard in a language."""
    made = (
        builder.Dashboard(page.title.of(language))
        .uid(uid(page.name, language))
        .description(page.description.of(language))
        .tags([_tag(language)])
        .timezone("Asia/Ho_Chi_Minh")
        .week_start("monday")
        .readonly()
        .time(page.since, "now")
        .refresh(page.refresh)
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(
            builder.DashboardLink(_LINKS.of(language))
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([_tag(language)])
            .as_dropdown(False)
            .keep_time(True)
            .include_vars(True)
        )
        .link(_other_language(page, language))
        .with_variable(
            builder.DatasourceVariable("datasource")
            .label(_LABELS["datasource"].of(language))
            .type("prometheus")
            .current(_option("Prometheus", DATASOURCE_UID))
        )
    )
    for mark in page.marks:
        made = made.annotation(_annotation(mark, language))
    for name in page.variables:
        made = made.with_variable(_VARIABLES[name](language))
    model = made.build()
    model.panels = laid_out(page.panels, language)
    return model


def as_json(model: dashboard.Dashboard) -> str:
    """The file's text."""
    return json.dumps(model, cls=JSONEncoder, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def files() -> dict[Path, str]:
    """Every file of grafana/dashboards and what is in it."""
    plugins.register_default_plugins()
    return {
        DIRECTORY / language / f"{page.name}.json": as_json(build(page, language))
        for language in LANGUAGES
        for page in PAGES
    }


class _Annotation(dashboard.AnnotationQuery):
    """With what Grafana's Prometheus data source reads besides, which the SDK does not know."""

    title: str
    text: str

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "titleFormat": self.title, "textFormat": self.text}


class _AnnotationBuilder(builder.AnnotationQuery):
    def __init__(self, mark: Mark, language: Language) -> None:
        super().__init__()
        self._internal = _Annotation()
        self._internal.title, self._internal.text = mark.title, mark.text.of(language)


def _annotation(mark: Mark, language: Language) -> builder.AnnotationQuery:
    return (
        _AnnotationBuilder(mark, language)
        .name(mark.name.of(language))
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color(mark.colour)
        .expr(mark.expression)
    )


def _tag(language: Language) -> str:
    return f"hoso-{language}"


def _other_language(page: Page, language: Language) -> builder.DashboardLink:
    other: Language = "en" if language == "vi" else "vi"
    return (
        builder.DashboardLink("English" if other == "en" else "Tiếng Việt")
        .type(dashboard.DashboardLinkType.LINK)
        .url(f"/d/{uid(page.name, other)}")
        .icon("external link")
        .keep_time(True)
        .include_vars(True)
    )


def _option(text: str, value: str, selected: bool = True) -> dashboard.VariableOption:
    return dashboard.VariableOption(selected=selected, text=text, value=value)


def _asked(name: str, language: Language) -> builder.QueryVariable:
    """A variable whose values Prometheus gives, all of them unless told otherwise."""
    return (
        builder.QueryVariable(name)
        .label(_LABELS[name].of(language))
        .datasource(DATASOURCE)
        .query({"query": f"label_values(hoso_ready, {name})", "refId": name})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(_option("All", "$__all"))
    )


def _chosen(
    name: str, language: Language, values: Sequence[tuple[str, str]]
) -> builder.CustomVariable:
    """A variable with fixed (text, value) pairs, the first of which is chosen."""
    # Grafana splits the pairs at commas, and text from value at a colon between spaces.
    pairs = (f"{text} : {value}".replace(",", "\\,") for text, value in values)
    return (
        builder.CustomVariable(name)
        .label(_LABELS[name].of(language))
        .values(", ".join(pairs))
        .current(_option(*values[0]))
        .options([_option(text, value, index == 0) for index, (text, value) in enumerate(values)])
    )


def _period(language: Language) -> builder.CustomVariable:
    return _chosen(
        "period", language, [(text.of(language), value) for value, text in PERIODS.items()]
    )


def _agency(language: Language) -> builder.CustomVariable:
    return _chosen("agency", language, [(one.name, one.code) for one in agencies()])


def _job(language: Language) -> builder.QueryVariable:
    return _asked("job", language)


def _instance(language: Language) -> builder.QueryVariable:
    return _asked("instance", language)


_VARIABLES = {"period": _period, "agency": _agency, "job": _job, "instance": _instance}
