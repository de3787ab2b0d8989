"""The first line of every page of figures: as of when, by which definition, whether all is in."""

from __future__ import annotations

from grafana.src.expressions import never_shown, nothing_shown, status
from grafana.src.panels import Query, Status
from grafana.src.texts import Text

_SAME = Text(
    "{{day}}/{{month}}/{{year}} · {{definition}}", "{{day}}/{{month}}/{{year}} · {{definition}}"
)

STATUS = Status(
    Text("Số liệu", "Figures"),
    Text(
        "Ngày tính, định nghĩa, số cơ quan đang hiển thị trên số cơ quan thấy trong sáu giờ qua, "
        "và số bản ghi chưa được tính. Khi chưa đủ, số gộp của các nhóm để trống.",
        "The as-of day, the definition, how many of the agencies seen within six hours are shown, "
        "and how many records are not yet counted. While not all is in, groups' figures are blank.",
    ),
    Query(
        status(complete=True),
        Text(
            f"✔ Tính đến {_SAME.vi} · đủ {{{{shown}}}}/{{{{known}}}} cơ quan · "
            "chậm {{behind}} bản ghi",
            f"✔ As of {_SAME.en} · all {{{{shown}}}}/{{{{known}}}} agencies · "
            "{{behind}} records behind",
        ),
    ),
    (
        Query(
            status(complete=False),
            Text(
                f"✘ CHƯA ĐỦ: {{{{shown}}}}/{{{{known}}}} cơ quan · tính đến {_SAME.vi} · "
                "chậm {{behind}} bản ghi · số gộp để trống",
                f"✘ NOT ALL IN: {{{{shown}}}}/{{{{known}}}} agencies · as of {_SAME.en} · "
                "{{behind}} records behind · groups are blank",
            ),
        ),
        Query(
            nothing_shown(),
            Text(
                "✘ Không tiến trình nào hiển thị số liệu, các ô để trống · "
                "lần cuối tính đến {{day}}/{{month}}/{{year}}",
                "✘ No worker shows figures, tiles are blank · "
                "last as of {{day}}/{{month}}/{{year}}",
            ),
        ),
        Query(
            never_shown(),
            Text(
                "✘ Prometheus chưa có số liệu nào: kiểm tra việc thu thập và prometheus/rules",
                "✘ Prometheus has no figures: check what it scrapes, and prometheus/rules",
            ),
        ),
    ),
)
