"""*Pipeline*: whether the figures can be trusted, and what the workers do.

What happened is read from what prometheus/rules/pipeline.yml records: over any time these are few
series, and what was counted is whole numbers, the first of a kind included.
"""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import ValueMapping

from grafana.src.expressions import incomplete, misdefined, series, state
from grafana.src.panels import (
    CONSISTENT,
    COUNT,
    DAY,
    MINUTE,
    RATE,
    READY,
    SECONDS,
    UP,
    Column,
    Figures,
    Graph,
    Heading,
    Panel,
    Query,
    Table,
    value_map,
)
from grafana.src.texts import Language, Text
from streams.metrics import catalogue as metrics

TITLE = Text("Đường ống", "Pipeline")
DESCRIPTION = Text(
    "Số liệu có tin được không: cảnh báo, tiến trình, độ trễ, bản ghi bị loại hay mất, bảo toàn.",
    "Whether figures can be trusted: alerts, workers, lag, records rejected or lost, conservation.",
)

_CHOSEN = 'job=~"$job",instance=~"$instance"'
_NOBODY = Text("✘ không tiến trình nào chạy", "✘ no worker is up")
_NEVER = Text("✘ chưa thu thập tiến trình nào", "✘ no worker was ever scraped")
_NONE = Text("không bản ghi nào, hoặc chưa thu thập gì", "none, or nothing is scraped")
_LAG_LIMIT = 1000
"""Of hoso:figures_fresh:bool and HosoLagRising."""
_BLUE, _ORANGE, _GREY, _PURPLE, _YELLOW = "blue", "orange", "text", "purple", "yellow"


def _own(metric: metrics.Metric, **matchers: str) -> str:
    """A selector of what the chosen workers show."""
    return series(metric, instance="~$instance", **matchers)


def _recorded(name: str, matchers: str = _CHOSEN) -> str:
    return f"{name}{{{matchers}}}"


def _counted(name: str, window: str) -> str:
    return f"sum_over_time({_recorded(f'instance:hoso_{name}:count')}[{window}])"


_OF_JOB = 'job=~"$job"'
_LAG = _recorded("topic:hoso_consumer_lag:sum", _OF_JOB)
_SOMEBODY = f"count({_own(metrics.READY)})"
"""While a chosen worker is seen."""
_SHOWN = series(metrics.SERVICES_LISTED, level="4")
_UP = f"up{{{_CHOSEN}}}"


def _same(words: str) -> Text:
    return Text(words, words)


def _or_none(counted: str) -> str:
    """0 where nothing was counted while a worker was seen."""
    return f"{counted} or 0 * {_SOMEBODY}"


def _says(problem: str) -> str:
    """1 while there is the problem, 0 while there is not, nothing while no worker is seen."""
    seen = f"count({series(metrics.READY)})"
    return f"(({problem} > bool 0) and on () {seen}) or on () 0 * {seen}"


def _health(language: Language) -> ValueMapping:
    found: dict[str, tuple[str, str | None]] = {
        "-1": (Text("✘ chưa thu thập gì", "✘ nothing is scraped").of(language), _ORANGE),
        "0": (Text("✔ khoẻ: không cảnh báo nào", "✔ healthy: no alert fires").of(language), _BLUE),
    }
    some = Text("✘ {} cảnh báo đang phát", "✘ alerts firing: {}").of(language)
    found |= {str(number): (some.format(number), _ORANGE) for number in range(1, 20)}
    return value_map(found)


_SEVERITIES = {
    "critical": (Text("✘ nghiêm trọng", "✘ critical"), _ORANGE),
    "warning": (Text("▲ cảnh báo", "▲ warning"), _YELLOW),
    "info": (Text("▼ thông tin", "▼ info"), None),
}
_ALERT_STATES: dict[str, tuple[Text, str | None]] = {
    "firing": (Text("đang phát", "firing"), None),
    "pending": (Text("đang chờ", "pending"), None),
}
_LAYERS: dict[str, tuple[Text, str | None]] = {
    "pipeline": (Text("đường ống", "pipeline"), None),
    "figures": (Text("số liệu", "figures"), None),
    "agency": (Text("cơ quan", "agency"), None),
}
_OUTCOMES = {
    "applied": (Text("áp dụng", "applied"), _BLUE),
    "duplicate": (Text("trùng", "duplicate"), _GREY),
    "superseded": (Text("bị thay", "superseded"), _PURPLE),
    "rejected": (Text("bị loại", "rejected"), _ORANGE),
    "forwarded": (Text("chuyển tiếp", "forwarded"), _YELLOW),
}
_LAYER = Text("Về", "About")
_SEVERITY = Text("Mức", "Severity")

_WORKERS = Figures(
    Text("Tiến trình", "Workers"),
    Text(
        "Tiến trình mà Prometheus thu thập được, tất cả, và sẵn sàng: mọi phân vùng đã khôi phục.",
        "Workers that Prometheus reaches, all of them, and those ready: every partition recovered.",
    ),
    [
        Query(f"sum({_UP})", Text("chạy", "up")),
        Query(f"count({_UP})", Text("tất cả", "of")),
        Query(f"sum({_own(metrics.READY)}) or 0 * count({_UP})", Text("sẵn sàng", "ready")),
    ],
    COUNT,
    nothing=_NEVER,
    lacking=None,
    width=8,
)

_TOP: tuple[Panel, ...] = (
    Figures(
        Text("Đường ống", "Pipeline"),
        Text(
            "Cảnh báo về đường ống đang phát. Khoẻ: không có cảnh báo nào, và mọi tiến trình chạy.",
            "Alerts about the pipeline that fire. Healthy: there is none, and all workers are up.",
        ),
        [
            Query(
                'count(ALERTS{alertstate="firing",layer="pipeline"}) '
                f"or count({_UP} == 0) or 0 * count({_UP}) or on () vector(-1)",
                Text("cảnh báo", "alerts"),
            )
        ],
        COUNT,
        words=_health,
        lacking=None,
        width=8,
        height=4,
    ),
    _WORKERS._replace(height=4),
    Figures(
        Text("Ngày tính", "As-of day"),
        Text(
            "Ngày mà /metrics tính đến, theo giờ Việt Nam.",
            "The day that /metrics counts up to, in Vietnam's time.",
        ),
        [Query(f"1000 * max({series(metrics.AS_OF)})", Text("ngày tính", "as of"))],
        DAY,
        nothing=_NOBODY,
        lacking=None,
        width=8,
        height=4,
    ),
    Figures(
        Text("Số liệu khớp?", "Figures consistent?"),
        Text(
            "Đủ phân vùng: mọi phân vùng thấy trong một ngày đang hiển thị và mọi tiến trình sẵn "
            "sàng. Một chủ: không cơ quan nào do hai tiến trình hiển thị. Định nghĩa: mọi tiến "
            "trình tính theo một định nghĩa (HOSO_DEFINITION).",
            "Complete: every partition seen within a day is shown and every worker ready. One "
            "owner: no agency is shown by two workers. Definition: all workers count by one "
            "(HOSO_DEFINITION).",
        ),
        [
            Query(_says(incomplete()), Text("đủ phân vùng", "complete")),
            Query(
                _says(f"(count(count by (agency) ({_SHOWN}) > 1) > 0)"),
                Text("một chủ", "one owner"),
            ),
            Query(_says(misdefined()), Text("định nghĩa", "definition")),
        ],
        COUNT,
        CONSISTENT,
        nothing=_NOBODY,
        lacking=None,
        width=8,
        height=4,
    ),
    Figures(
        Text("Chưa nhận", "Not yet processed"),
        Text(
            "Bản ghi trong các phân vùng mà chưa tiến trình nào nhận vào. Không có số khi có phân "
            "vùng không ai sở hữu: không ai biết ở đó có bao nhiêu.",
            "Records in the partitions that no worker has processed. No number while a partition "
            "has no owner: nobody knows how many are there.",
        ),
        [
            Query(
                f"sum(max by (topic, partition) ({series(metrics.CONSUMER_LAG)})) "
                f"unless on () {incomplete()}",
                Text("bản ghi", "records"),
            )
        ],
        COUNT,
        nothing=Text("✘ có phân vùng không ai nhận", "✘ a partition has no owner"),
        lacking=None,
        width=5,
        height=4,
    ),
    Figures(
        Text("Số liệu còn thiếu", "Figures lack"),
        Text(
            "Bản ghi mà broker có, còn số liệu của cả nước chưa có: chưa nhận, hoặc bị một giao "
            "dịch chưa kết thúc giữ lại.",
            "Records that the brokers have and the country's figures lack: not yet processed, or "
            "held back by an open transaction.",
        ),
        [Query(f"max({series(metrics.BEHIND)})", Text("bản ghi", "records"))],
        COUNT,
        nothing=Text("✘ không biết được", "✘ cannot be told"),
        lacking=None,
        width=5,
        height=4,
    ),
    Figures(
        Text("Bản ghi mất, trong khoảng đã chọn", "Records lost, in the range"),
        Text(
            "Bản ghi bị xóa khỏi topic, hoặc hỏng, trước khi được nhận vào; phải bằng 0.",
            "Records removed from their topic, or damaged, before they were read; must be 0.",
        ),
        [
            Query(
                _or_none(f"sum({_counted('records_lost', '$__range')})"),
                Text("bản ghi", "records"),
            )
        ],
        COUNT,
        nothing=_NOBODY,
        lacking=None,
        width=6,
        height=4,
    ),
    Table(
        Text("Cảnh báo đang phát", "Alerts firing"),
        Text(
            "Cảnh báo đang phát hoặc đang chờ, nặng nhất trước. Chuông canh (HosoWatchdog) không "
            "hiện ở đây.",
            "Alerts that fire or wait to, the worst first. The watchdog is not shown here.",
        ),
        [
            Column(
                Text("Số chuỗi", "Series"),
                'count by (alertname, severity, layer, alertstate) (ALERTS{severity!="none"})',
                COUNT,
            )
        ],
        label="alertname",
        label_title=Text("Cảnh báo", "Alert"),
        also=[
            ("severity", _SEVERITY),
            ("layer", _LAYER),
            ("alertstate", Text("Trạng thái", "State")),
        ],
        words={"severity": _SEVERITIES, "layer": _LAYERS, "alertstate": _ALERT_STATES},
        sort_label=_SEVERITY,
        descending=False,
        nothing=Text("✔ không có cảnh báo nào", "✔ no alert"),
        height=7,
    ),
)

_EVENTS: tuple[Panel, ...] = (
    Heading(Text("Bản ghi", "Records")),
    Graph(
        Text("Nhận vào, theo kết quả", "Processed by outcome"),
        Text(
            "Bản ghi mỗi giây của mọi topic, trung bình năm phút.",
            "Records a second of all topics, over five minutes.",
        ),
        [
            Query(
                f"sum by (outcome) ({_recorded('instance_outcome:hoso_events:rate5m')})",
                _same("{{outcome}}"),
            )
        ],
        RATE,
        colours=_OUTCOMES,
        nothing=_NOBODY,
    ),
    Graph(
        Text("Nhận vào, theo topic", "Processed by topic"),
        Text(
            "Bản ghi mỗi giây, trung bình năm phút.",
            "Records a second, over five minutes.",
        ),
        [
            Query(
                f"sum by (topic) ({_recorded('instance_topic:hoso_events:rate5m')})",
                _same("{{topic}}"),
            )
        ],
        RATE,
        nothing=_NOBODY,
    ),
    Graph(
        Text("Chưa nhận, theo topic", "Not yet processed, by topic"),
        Text(
            f"Bản ghi trong các phân vùng có chủ. Trên {_LAG_LIMIT} (nét đứt) số liệu không còn "
            "mới: không cảnh báo nào về mục tiêu được gửi.",
            f"Records in partitions that have an owner. Above {_LAG_LIMIT} (dashed) figures are "
            "not fresh: no alert about a target is sent.",
        ),
        [Query(f"sum by (topic) ({_LAG})", _same("{{topic}}"))],
        COUNT,
        limit=_LAG_LIMIT,
        nothing=_NOBODY,
    ),
    Graph(
        Text("Số liệu còn thiếu, theo thời gian", "Figures lack, over time"),
        Text(
            "Bản ghi mà broker có, còn số liệu của cả nước chưa có. Chỗ trống: không biết được.",
            "Records that the brokers have and the country's figures lack. A gap: it cannot be "
            "told.",
        ),
        [Query(f"max({series(metrics.BEHIND)})", Text("bản ghi", "records"))],
        COUNT,
        limit=_LAG_LIMIT,
        colours={name: (Text("bản ghi", "records"), _BLUE) for name in ("bản ghi", "records")},
        nothing=Text("✘ không biết được", "✘ cannot be told"),
    ),
)

_LOST: tuple[Panel, ...] = (
    Heading(Text("Bị loại, bị mất", "Rejected, lost"), collapsed=True),
    Graph(
        Text("Vào dead-letters, theo lý do", "Into the dead letters by reason"),
        Text(
            "Số bản ghi từ điểm trước đến điểm này, theo lý do (docs/metrics.md).",
            "Records since the point before, by reason (docs/metrics.md).",
        ),
        [
            Query(
                f"sum by (reason) ({_counted('events_rejected', '$__interval')})",
                _same("{{reason}}"),
            ),
        ],
        COUNT,
        bars=True,
        every="1m",
        nothing=_NONE,
    ),
    Graph(
        Text("Bảo toàn: bị loại và trong dead-letters", "Conservation: rejected and dead-lettered"),
        Text(
            "Bản ghi có kết quả «rejected» và bản ghi vào dead-letters, từ điểm trước đến điểm "
            "này: phải bằng nhau, không bản ghi nào mất mà không có lý do. Không giải thích được: "
            "số bản ghi đã qua mà không có kết quả, phải bằng 0.",
            "Records with the outcome rejected and records put into the dead letters, since the "
            "point before: they must be equal, no record is lost without a reason. Unexplained: "
            "records moved past without an outcome, which must be 0.",
        ),
        [
            Query(
                _or_none(f"sum({_counted('outcome_rejected', '$__interval')})"),
                Text("Kết quả rejected", "Outcome rejected"),
            ),
            Query(
                _or_none(f"sum({_counted('events_rejected', '$__interval')})"),
                Text("Trong dead-letters", "In the dead letters"),
            ),
            Query(
                f"sum({_recorded('job:hoso_conservation_difference:sum', _OF_JOB)})",
                Text("Không giải thích được", "Unexplained"),
            ),
        ],
        COUNT,
        colours={
            name: (text, colour)
            for text, colour in (
                (Text("Kết quả rejected", "Outcome rejected"), _ORANGE),
                (Text("Trong dead-letters", "In the dead letters"), _BLUE),
                (Text("Không giải thích được", "Unexplained"), "red"),
            )
            for name in text
        },
        nothing=_NOBODY,
        every="1m",
    ),
    Table(
        Text("Bị loại trong khoảng đã chọn, theo cơ quan", "Rejected in the range by agency"),
        Text(
            "Hai mươi cơ quan và lý do có nhiều bản ghi bị loại nhất; «?»: không biết của ai.",
            "The twenty agencies and reasons with most rejected records; “?”: nobody knows whose.",
        ),
        [
            Column(
                Text("Bản ghi", "Records"),
                "topk(20, label_replace(sum by (agency, reason) "
                f'({_counted("events_rejected", "$__range")}), "agency", "?", "agency", ""))',
                COUNT,
                width=110,
            )
        ],
        also=[("reason", Text("Lý do", "Reason"))],
        also_width=160,
        nothing=_NONE,
        width=12,
    ),
    Graph(
        Text("Bản ghi mất, theo topic", "Records lost by topic"),
        Text(
            "Số bản ghi bị xóa khỏi topic, hoặc hỏng, trước khi được nhận vào, từ điểm trước đến "
            "điểm này; phải không có.",
            "Records removed from their topic, or damaged, before they were read, since the point "
            "before; there must be none.",
        ),
        [Query(f"sum by (topic) ({_counted('records_lost', '$__interval')})", _same("{{topic}}"))],
        COUNT,
        bars=True,
        every="1m",
        nothing=_NONE,
        height=12,
    ),
)


_CHUNK_TIME = Graph(
    Text("Thời gian một lô", "Chunk time"),
    Text(
        "Từ khi nhận một lô bản ghi đến khi mọi dòng của nó được Kafka xác nhận, năm phút qua, của "
        "tiến trình chậm nhất. Chỗ trống: không có lô nào.",
        "From a chunk of records handed over to all its rows acknowledged by Kafka, over five "
        "minutes, of the slowest worker. A gap: there was no chunk.",
    ),
    [
        Query(
            f"max by (quantile) ({_recorded('instance:hoso_batch_seconds:quantile5m')})",
            _same("{{quantile}}"),
        )
    ],
    SECONDS,
    colours={
        "0.5": (_same("p50"), _BLUE),
        "0.95": (_same("p95"), _YELLOW),
        "0.99": (_same("p99"), _ORANGE),
    },
    nothing=_NOBODY,
)

_PER_WORKER: tuple[Panel, ...] = (
    Heading(Text("Tiến trình", "Workers"), collapsed=True),
    Graph(
        Text("Thu thập được", "Scraped"),
        Text(
            "1: Prometheus thu thập được tiến trình; 0: không.",
            "1: Prometheus reaches the worker; 0: not.",
        ),
        [Query(_UP, _same("{{instance}}"))],
        COUNT,
        state=UP,
        nothing=_NEVER,
    ),
    Graph(
        Text("Sẵn sàng", "Ready"),
        Text(
            "1: mọi phân vùng của tiến trình đã khôi phục và được hiển thị; 0: chưa.",
            "1: every partition of the worker is recovered and shown; 0: not yet.",
        ),
        [Query(_own(metrics.READY), _same("{{instance}}"))],
        COUNT,
        state=READY,
        nothing=_NOBODY,
    ),
    Graph(
        Text("Phân vùng theo tiến trình", "Partitions by worker"),
        Text(
            "Phân vùng mà mỗi tiến trình đang chạy sở hữu.",
            "Partitions that each worker that is up owns.",
        ),
        [
            Query(
                f"{_recorded('instance:hoso_partitions:count')} and on (job, instance) {_UP} == 1",
                _same("{{instance}}"),
            )
        ],
        COUNT,
        nothing=_NOBODY,
    ),
    Graph(
        Text("Cơ quan theo tiến trình", "Agencies by worker"),
        Text(
            "Cơ quan mà mỗi tiến trình đang chạy hiển thị.",
            "Agencies that each worker that is up shows.",
        ),
        [
            Query(
                f"{_recorded('instance:hoso_agencies:count')} and on (job, instance) {_UP} == 1",
                _same("{{instance}}"),
            )
        ],
        COUNT,
        nothing=_NOBODY,
    ),
    _CHUNK_TIME,
    Table(
        Text("Im lặng lâu nhất", "Longest silent"),
        Text(
            "Hai mươi cơ quan có sự kiện cuối cùng cũ nhất; cơ quan chưa từng gửi không có ở đây.",
            "The twenty agencies whose last event is oldest; those never heard of are not here.",
        ),
        [
            Column(
                Text("Sự kiện cuối", "Last event"),
                f"1000 * bottomk(20, {state(metrics.LAST_EVENT)})",
                MINUTE,
                width=150,
            )
        ],
        descending=False,
        nothing=_NOBODY,
        width=12,
        height=9,
    ),
)

PANELS: tuple[Panel, ...] = (*_TOP, *_EVENTS, *_LOST, *_PER_WORKER)
