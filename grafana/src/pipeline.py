"""*Pipeline*: whether the figures can be trusted, and what the workers do."""

from __future__ import annotations

from grafana.src.expressions import OVER_TIME, incomplete, misdefined, series, state
from grafana.src.panels import (
    CONSISTENT,
    COUNT,
    DURATION,
    MOMENT,
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
)
from grafana.src.texts import Text
from streams.metrics import catalogue as metrics

TITLE = Text("Đường ống", "Pipeline")
DESCRIPTION = Text(
    "Số liệu có tin được không: tốc độ, độ trễ, sẵn sàng, bản ghi bị loại, bảo toàn, cảnh báo.",
    "Whether figures can be trusted: rates, lag, readiness, dead letters, conservation, alerts.",
)


def _own(metric: metrics.Metric, suffix: str = "", **matchers: str) -> str:
    """A selector of what the chosen workers did."""
    chosen = series(metric, instance="~$instance", **matchers)
    return chosen.replace(metric.name, metric.name + suffix, 1)


_SHOWN = series(metrics.SERVICES_LISTED, level="4")


def _rate(selector: str) -> str:
    return f"rate({selector}[$__rate_interval])"


def _same(words: str) -> Text:
    return Text(words, words)


def _says(problem: str) -> str:
    """1 while there is the problem, 0 while workers are seen and there is not."""
    return f"({problem} > bool 0) or on () 0 * count({series(metrics.READY)})"


def _quantiles() -> Graph:
    buckets = _rate(_own(metrics.BATCH_SECONDS, "_bucket"))
    return Graph(
        Text("Thời gian một lô", "Chunk time"),
        Text(
            "Từ khi nhận một lô bản ghi đến khi mọi dòng của nó được Kafka xác nhận.",
            "From a chunk of records handed over to all its rows acknowledged by Kafka.",
        ),
        [
            Query(f"histogram_quantile({q}, sum by (le) ({buckets}))", _same(f"p{round(q * 100)}"))
            for q in (0.5, 0.95, 0.99)
        ],
        SECONDS,
    )


def _conservation() -> Graph:
    events = _rate(_own(metrics.EVENTS, outcome="rejected"))
    reasons = _rate(_own(metrics.REJECTED))
    return Graph(
        Text("Bảo toàn: bị loại và trong dead-letters", "Conservation: rejected and dead-lettered"),
        Text(
            "Bản ghi có kết quả «rejected» và bản ghi vào dead-letters, mỗi giây. Hai đường phải "
            "trùng nhau: không bản ghi nào mất mà không có lý do. Không giải thích được: số bản "
            "ghi đã qua mà không có kết quả, phải bằng 0.",
            "Records with the outcome rejected and records put into the dead letters, a second. "
            "The two lines must be one: no record is lost without a reason. Unexplained: records "
            "moved past without an outcome, which must be 0.",
        ),
        [
            Query(f"sum({events})", Text("Kết quả rejected", "Outcome rejected")),
            Query(f"sum({reasons})", Text("Trong dead-letters", "In the dead letters")),
            Query(
                f"sum(max by (topic, partition) (abs({_own(metrics.CONSERVATION)})))",
                Text("Không giải thích được", "Unexplained"),
            ),
        ],
        RATE,
    )


PANELS: tuple[Panel, ...] = (
    Figures(
        Text("Tiến trình", "Workers"),
        Text(
            "Tiến trình mà Prometheus thu thập được, và sẵn sàng: mọi phân vùng đã khôi phục.",
            "Workers that Prometheus scrapes, and those ready: every partition recovered.",
        ),
        [
            Query('sum(up{job=~"$job",instance=~"$instance"})', Text("chạy", "up")),
            Query('count(up{job=~"$job",instance=~"$instance"})', Text("tất cả", "of")),
            Query(f"sum({_own(metrics.READY)})", Text("sẵn sàng", "ready")),
        ],
        COUNT,
        width=8,
    ),
    Figures(
        Text("Số liệu khớp?", "Figures consistent?"),
        Text(
            "Đủ phân vùng: mọi phân vùng thấy trong một ngày đang hiển thị và mọi tiến trình sẵn "
            "sàng. Một chủ: không cơ quan nào do hai tiến trình hiển thị. Định nghĩa: tử số ÷ mẫu "
            "số mic-2022 bằng tỷ lệ được xuất (khác nếu HOSO_DEFINITION khác mic-2022).",
            "Complete: every partition seen within a day is shown and every worker ready. One "
            "owner: no agency is shown by two workers. Definition: numerator ÷ denominator of "
            "mic-2022 is the exported share (differs where HOSO_DEFINITION is not mic-2022).",
        ),
        [
            Query(_says(incomplete()), Text("đủ phân vùng", "complete")),
            Query(
                _says(f"(count(count by (agency) ({_SHOWN}) > 1) > 0)"),
                Text("một chủ", "one owner"),
            ),
            Query(_says(misdefined().replace("$levels", "3|4")), Text("định nghĩa", "definition")),
        ],
        COUNT,
        CONSISTENT,
        width=8,
    ),
    Figures(
        Text("Ngày tính", "As-of day"),
        Text(
            "Ngày mà /metrics tính đến, theo giờ Việt Nam.",
            "The day that /metrics counts up to, in Vietnam's time.",
        ),
        [Query(f"1000 * max({series(metrics.AS_OF)})", Text("ngày tính", "as of"))],
        MOMENT,
        width=4,
    ),
    Figures(
        Text("Chưa nhận", "Not yet processed"),
        Text(
            "Bản ghi trong các phân vùng chưa được nhận vào, tổng cộng.",
            "Records in the partitions that have not been processed, in total.",
        ),
        [
            Query(
                f"sum(max by (topic, partition) ({series(metrics.CONSUMER_LAG)}))",
                Text("bản ghi", "records"),
            )
        ],
        COUNT,
        width=4,
    ),
    Table(
        Text("Cảnh báo đang phát", "Alerts firing"),
        Text(
            "Cảnh báo đang phát hoặc đang chờ; trống là không có. Chuông canh (HosoWatchdog) không "
            "hiện ở đây.",
            "Alerts that fire or wait to; blank: none. The watchdog is not shown here.",
        ),
        [
            Column(
                Text("Số chuỗi", "Series"),
                'count by (alertname, severity, alertstate) (ALERTS{severity!="none"})',
                COUNT,
            )
        ],
        label="alertname",
        label_title=Text("Cảnh báo", "Alert"),
        also=[("severity", Text("Mức", "Severity")), ("alertstate", Text("Trạng thái", "State"))],
        height=7,
    ),
    Heading(Text("Sự kiện", "Events")),
    Graph(
        Text("Bản ghi nhận vào, theo kết quả", "Records processed by outcome"),
        Text(
            "Bản ghi mỗi giây của mọi topic: áp dụng, trùng, bị thay, bị loại, chuyển tiếp.",
            "Records a second of all topics: applied, duplicate, superseded, rejected, forwarded.",
        ),
        [Query(f"sum by (outcome) ({_rate(_own(metrics.EVENTS))})", _same("{{outcome}}"))],
        RATE,
    ),
    Graph(
        Text("Bản ghi nhận vào, theo topic", "Records processed by topic"),
        Text("Bản ghi mỗi giây.", "Records a second."),
        [Query(f"sum by (topic) ({_rate(_own(metrics.EVENTS))})", _same("{{topic}}"))],
        RATE,
    ),
    Graph(
        Text("Độ trễ theo topic", "Lag by topic"),
        Text(
            "Bản ghi trong các phân vùng được sở hữu chưa nhận vào.",
            "Records in owned partitions not yet processed.",
        ),
        [
            Query(
                "sum by (topic) (max by (topic, partition) "
                f"({series(metrics.CONSUMER_LAG, OVER_TIME)}))",
                _same("{{topic}}"),
            )
        ],
        COUNT,
    ),
    _quantiles(),
    Heading(Text("Bị loại", "Rejected")),
    Graph(
        Text("Vào dead-letters, theo lý do", "Into the dead letters by reason"),
        Text(
            "Bản ghi mỗi giây, theo lý do (docs/metrics.md). Trống khi chưa có gì bị loại.",
            "Records a second, by reason (docs/metrics.md). Blank until a record is rejected.",
        ),
        [Query(f"sum by (reason) ({_rate(_own(metrics.REJECTED))})", _same("{{reason}}"))],
        RATE,
    ),
    _conservation(),
    Table(
        Text("Bị loại trong khoảng đã chọn, theo cơ quan", "Rejected in the range by agency"),
        Text(
            "Bản ghi bị loại trong khoảng thời gian đã chọn; cơ quan trống: không biết là ai.",
            "Records rejected in the chosen time range; no agency: nobody knows whose.",
        ),
        [
            Column(
                Text("Bản ghi", "Records"),
                "topk(20, sum by (agency, reason) "
                f"(increase({_own(metrics.REJECTED)}[$__range])) > 0)",
                COUNT,
            )
        ],
        also=[("reason", Text("Lý do", "Reason"))],
        width=12,
    ),
    Table(
        Text("Im lặng lâu nhất", "Longest silent"),
        Text(
            "Hai mươi cơ quan có sự kiện cuối cùng cũ nhất; cơ quan chưa từng gửi không có ở đây.",
            "The twenty agencies whose last event is oldest; those never heard of are not here.",
        ),
        [
            Column(
                Text("Sự kiện cuối cách đây", "Last event ago"),
                f"topk(20, time() - {state(metrics.LAST_EVENT)})",
                DURATION,
            )
        ],
        also=[("kind", Text("Nhóm", "Group"))],
        width=12,
    ),
    Heading(Text("Tiến trình", "Workers")),
    Graph(
        Text("Sẵn sàng", "Ready"),
        Text(
            "1: mọi phân vùng của tiến trình đã khôi phục và được hiển thị; 0: chưa.",
            "1: every partition of the worker is recovered and shown; 0: not yet.",
        ),
        [Query(_own(metrics.READY), _same("{{instance}}"))],
        COUNT,
        state=READY,
    ),
    Graph(
        Text("Thu thập được", "Scraped"),
        Text(
            "1: Prometheus thu thập được tiến trình; 0: không.",
            "1: Prometheus reaches the worker; 0: not.",
        ),
        [Query('up{job=~"$job",instance=~"$instance"}', _same("{{instance}}"))],
        COUNT,
        state=UP,
    ),
    Graph(
        Text("Phân vùng theo tiến trình", "Partitions by worker"),
        Text(
            "Phân vùng mà mỗi tiến trình sở hữu.",
            "Partitions that each worker owns.",
        ),
        [
            Query(
                f"count by (instance) ({_own(metrics.CONSUMER_LAG, topic='~.*submissions')})",
                _same("{{instance}}"),
            )
        ],
        COUNT,
    ),
    Graph(
        Text("Cơ quan theo tiến trình", "Agencies by worker"),
        Text(
            "Cơ quan mà mỗi tiến trình hiển thị.",
            "Agencies that each worker shows.",
        ),
        [
            Query(
                f"count by (instance) ({_own(metrics.SERVICES_LISTED, level='4')})",
                _same("{{instance}}"),
            )
        ],
        COUNT,
    ),
)
