"""The words of the pages, in Vietnamese as the ministries write them and in English."""

from __future__ import annotations

from typing import NamedTuple

from streams.api.pages.questions import Language
from streams.domain.definitions import Definition


class Words(NamedTuple):
    """The texts of one language: ``words("behind", n=3)``."""

    language: Language

    def __call__(self, key: str, /, **values: object) -> str:
        text = _TEXTS[key][0 if self.language == "vi" else 1]
        return text.format(**values) if values else text

    def counted(self, indicator: str, definition: Definition) -> tuple[str, str]:
        """What the numerator and the denominator of an indicator count, in words."""
        levels = "".join(map(str, sorted(definition.levels)))
        if indicator == "services_with_dossiers":
            listed = self(f"listed_{levels}")
            return self(f"used_{definition.used}"), listed
        numerator = "online_level4" if definition.online.endswith("level4") else "online_all"
        return self(numerator), self(f"all_{definition.processed}")


_TEXTS: dict[str, tuple[str, str]] = {
    "site": ("Dịch vụ công trực tuyến", "Online public services"),
    "site_sub": ("mức độ sử dụng, cập nhật trực tiếp", "how much they are used, live"),
    "headline": (
        "Dịch vụ công trực tuyến được sử dụng đến đâu?",
        "How much are online public services used?",
    ),
    "agencies": ("Cơ quan", "Agencies"),
    "release": ("Bản số liệu", "Release"),
    "further": ("Các số khác", "Further figures"),
    "used": ("Có hồ sơ", "Used"),
    "listed": ("Niêm yết", "Listed"),
    "processed": ("Tất cả", "All"),
    "source_catalogue": (
        "Danh mục dịch vụ có hiệu lực vào ngày tính.",
        "The catalogue of services as it stands on the as-of day.",
    ),
    "source_on_time": (
        "Hạn trả mà cổng dịch vụ công đã ghi cho từng hồ sơ.",
        "The due date that the portal gave each dossier.",
    ),
    "rejected_away": (
        "Chưa biết: tiến trình phụ trách cơ quan này không trả lời.",
        "Not known: the process that has this agency does not answer.",
    ),
    "no_service_match": (
        "Không có dịch vụ nào tên như “{q}”.",
        "No service goes by “{q}”.",
    ),
    "reason_too_large": ("Quá lớn", "Too large"),
    "reason_not_json": ("Không phải JSON", "Not JSON"),
    "reason_bad_envelope": ("Sai phong bì CloudEvents", "Bad envelope"),
    "reason_unknown_type": ("Loại sự kiện lạ", "Unknown type"),
    "reason_wrong_topic": ("Sai topic", "Wrong topic"),
    "reason_bad_data": ("Dữ liệu sai", "Bad data"),
    "reason_key_mismatch": ("Khóa không khớp cơ quan", "Key of another agency"),
    "reason_unknown_agency": ("Cơ quan chưa đăng ký", "Unknown agency"),
    "reason_source_not_allowed": ("Nguồn không được phép", "Source not allowed"),
    "reason_future_time": ("Thời điểm ở tương lai", "A time in the future"),
    "skip": ("Đến nội dung chính", "Skip to the content"),
    "scoreboard": ("Bảng số liệu", "Scoreboard"),
    "why": ("Đằng sau con số", "Behind the figures"),
    "why_link": ("Vì sao là con số này?", "Why this figure?"),
    "language": ("Ngôn ngữ", "Language"),
    "navigation": ("Các trang", "Pages"),
    "question": ("Chọn số liệu", "Choose the figures"),
    "show": ("Xem", "Show"),
    "period": ("Kỳ", "Period"),
    "period_year": ("Năm", "Year"),
    "period_half": ("Nửa năm", "Half-year"),
    "period_quarter": ("Quý", "Quarter"),
    "period_month": ("Tháng", "Month"),
    "as_of": ("Tính đến ngày", "As of"),
    "definition": ("Cách tính", "Definition"),
    "definition_mic-2022": (
        "mic-2022: Bộ Thông tin và Truyền thông, 2022",
        "mic-2022: Ministry of Information and Communications, 2022",
    ),
    "definition_qd766": ("qd766: Quyết định 766/QĐ-TTg", "qd766: Decision 766/QĐ-TTg"),
    "definition_emc-2024": (
        "emc-2024: hệ thống đo lường EMC, 2024",
        "emc-2024: the EMC measuring system, 2024",
    ),
    "source_mic-2022": (
        "Cách Bộ Thông tin và Truyền thông tính số liệu công bố năm 2022.",
        "As the Ministry of Information and Communications counted what it published in 2022.",
    ),
    "source_qd766": (
        "Quyết định 766/QĐ-TTg ngày 23/6/2022 của Thủ tướng Chính phủ.",
        "Decision 766/QĐ-TTg of the Prime Minister, 23 June 2022.",
    ),
    "source_emc-2024": (
        "Cách tính của hệ thống đo lường EMC, 2024: dịch vụ công trực tuyến toàn trình.",
        "As the EMC measuring system counts in 2024: services that are online from end to end.",
    ),
    "day_hint": ("để trống: mới nhất", "blank: the latest"),
    "filter": ("Tìm cơ quan", "Find an agency"),
    "filter_service": ("Tìm dịch vụ", "Find a service"),
    "filter_hint": ("tên hoặc mã, có dấu hoặc không", "name or code, accents optional"),
    "sort": ("Sắp xếp theo", "Sort by"),
    "order": ("Thứ tự", "Order"),
    "order_desc": ("Cao đến thấp", "Highest first"),
    "order_asc": ("Thấp đến cao", "Lowest first"),
    "sort_name": ("Tên", "Name"),
    "sort_code": ("Mã", "Code"),
    "sort_services_with_dossiers": ("Tỷ lệ dịch vụ", "Share of services"),
    "sort_services_missing": ("Số dịch vụ còn thiếu", "Services missing"),
    "sort_services_change": ("Thay đổi, dịch vụ", "Change, services"),
    "sort_services_listed": ("Số dịch vụ", "Services listed"),
    "sort_online_processed": ("Tỷ lệ hồ sơ", "Share of dossiers"),
    "sort_online_missing": ("Số hồ sơ còn thiếu", "Dossiers missing"),
    "sort_online_change": ("Thay đổi, hồ sơ", "Change, dossiers"),
    "sort_dossiers_processed": ("Số hồ sơ", "Dossiers processed"),
    "sort_last_event": ("Sự kiện gần nhất", "Last event"),
    "sort_level": ("Mức độ", "Level"),
    "sort_online_dossiers": ("Số hồ sơ trực tuyến", "Online dossiers"),
    "sort_last_day": ("Ngày gần nhất", "Last day"),
    "national": ("Cả nước", "The country"),
    "ministries": ("Bộ, ngành", "Ministries"),
    "provinces": ("Tỉnh, thành phố", "Provinces"),
    "groups": ("Cả nước và hai nhóm", "The country and its two groups"),
    "services_with_dossiers": (
        "Dịch vụ công trực tuyến phát sinh hồ sơ",
        "Services with online dossiers",
    ),
    "online_processed": ("Hồ sơ xử lý trực tuyến", "Dossiers processed online"),
    "services_short": ("Dịch vụ phát sinh hồ sơ", "Services with online dossiers"),
    "online_short": ("Hồ sơ xử lý trực tuyến", "Dossiers processed online"),
    "services_unit": ("dịch vụ", "services"),
    "dossiers_unit": ("hồ sơ", "dossiers"),
    "rank": ("Hạng", "Rank"),
    "agency": ("Cơ quan", "Agency"),
    "share": ("Tỷ lệ", "Share"),
    "counted": ("Có hồ sơ / tổng số", "Used / listed"),
    "counted_online": ("Trực tuyến / tổng số", "Online / all"),
    "missing": ("Còn thiếu", "Missing"),
    "change": ("Từ {day}", "Since {day}"),
    "last_event": ("Sự kiện gần nhất", "Last event"),
    "target": ("Mục tiêu", "Target"),
    "no_target": ("chưa giao mục tiêu", "no target assigned"),
    "pace": ("Tiến độ", "Pace"),
    "shortfall": ("Còn cách mục tiêu", "Short of the target"),
    "points": ("{n} điểm\u00a0%", "{n} points"),
    "met": ("Đạt mục tiêu", "Target met"),
    "met_short": ("đạt", "met"),
    "rank_n": ("hạng {rank} trong {n}", "rank {rank} of {n}"),
    "group": ("Cả nhóm", "The group"),
    "missing_n": ("còn thiếu {n} {unit}", "{n} {unit} missing"),
    "last_year": ("Cùng ngày năm trước", "Same day last year"),
    "last_period": ("Cả kỳ trước", "Period before"),
    "no_share": ("Chưa có số liệu", "No data yet"),
    "no_share_why": (
        "Không có gì để chia: mẫu số bằng 0.",
        "Nothing to divide by: the denominator is 0.",
    ),
    "state": ("Số liệu này", "These figures"),
    "period_to": ("{kind}: {start} đến {end}", "{kind}: {start} to {end}"),
    "agencies_in": ("{n} trong {all} cơ quan có số liệu", "{n} of {all} agencies are in"),
    "behind_none": ("đã tính mọi bản ghi", "every record is counted"),
    "behind": ("còn {n} bản ghi chưa tính", "{n} records behind"),
    "behind_one": ("còn 1 bản ghi chưa tính", "1 record behind"),
    "behind_unknown": (
        "không biết còn bao nhiêu bản ghi chưa tính",
        "how many records are behind can’t be told",
    ),
    "no_release": (
        "số liệu hiện tại, không phải bản đã chốt",
        "current figures, no release",
    ),
    "stale": (
        "Mất liên lạc với máy chủ từ {at}. Số liệu dưới đây là của lúc đó.",
        "No word from the server since {at}. The figures below are from then.",
    ),
    "starting": (
        "Hệ thống đang khởi động: số liệu dưới đây là của lần công bố gần nhất và có thể chưa đủ.",
        "Starting: the figures below are those published last and may be incomplete.",
    ),
    "starting_title": ("Đang khởi động", "Starting"),
    "starting_page": (
        "Hệ thống đang khởi động và chưa thể đưa ra số liệu. Xin tải lại trang sau ít phút.",
        "Starting: there are no figures yet. Please load the page again in a moment.",
    ),
    "catching_up": (
        "Đang tính tiếp: còn {n} bản ghi chưa tính. Số liệu chưa đủ.",
        "Catching up: {n} records behind. The figures are not complete yet.",
    ),
    "recovering": (
        "Đang khôi phục số liệu của {n} cơ quan. Số liệu của các cơ quan này là của lần công bố "
        "gần nhất, nên tổng của cả nước và của nhóm chưa đủ:",
        "Being recovered ({n}). Shown is what was published last, so the totals of the country and "
        "of groups are not complete:",
    ),
    "recovering_tag": ("đang khôi phục", "recovering"),
    "incomplete_tag": ("chưa đủ", "incomplete"),
    "unheard": (
        "{n} cơ quan chưa gửi sự kiện nào, nên chưa có số liệu:",
        "Nothing has been sent yet, so there are no figures ({n}):",
    ),
    "unheard_tag": ("chưa có dữ liệu", "no data"),
    "silent": (
        "{n} cơ quan không gửi gì từ hơn ba ngày nay:",
        "Nothing has been sent for more than three days ({n}):",
    ),
    "all_silent": (
        "Không có cơ quan nào gửi gì từ hơn ba ngày nay. Sự kiện gần nhất: {at}.",
        "No agency has sent anything for more than three days. The last event: {at}.",
    ),
    "silent_tag": ("im lặng từ {at}", "silent since {at}"),
    "future": (
        "Ngày {day} còn ở phía trước: số liệu gồm những gì đã có đến hôm nay, {today}.",
        "{day} is still to come: the figures are what there is up to today, {today}.",
    ),
    "before_first": (
        "Ngày {day} ở trước sự kiện đầu tiên ({first}): chưa có số liệu nào.",
        "{day} is before the first event ({first}): there are no figures.",
    ),
    "no_event": ("Chưa có sự kiện nào.", "There has been no event yet."),
    "no_agency": (
        "Chưa có cơ quan nào được đăng ký.",
        "No agency is registered yet.",
    ),
    "no_row": ("Không có dòng nào.", "No rows."),
    "no_match": ("Không có cơ quan nào tên như “{q}”.", "No agency goes by “{q}”."),
    "all_rows": ("Xem tất cả", "Show all"),
    "lowest_provinces": ("Năm tỉnh thấp nhất về hồ sơ", "The five lowest provinces by dossiers"),
    "week_change": ("Thay đổi nhiều nhất trong tuần", "What changed most in a week"),
    "a_year_ago": ("Cùng ngày năm trước", "The same day a year ago"),
    "shortcuts": ("Xem nhanh", "Shortcuts"),
    "download": ("Tải bảng này", "This table as"),
    "table_note": (
        "Vạch đứng trên thanh là mục tiêu. Các cơ quan bằng nhau cùng hạng. Tỷ lệ làm tròn đến hai "
        "chữ số; nhóm cộng tử số và mẫu số, không lấy trung bình.",
        "The upright mark on a bar is the target. Ties share a rank. Shares are rounded to two "
        "decimals; groups pool numerators and denominators, they are no averages.",
    ),
    "chart": ("Diễn biến trong kỳ", "Over the period"),
    "chart_desc": (
        "{name}: từ {first} đến {last}; mục tiêu {target}. Bảng số liệu ở bên dưới.",
        "{name}: from {first} to {last}; target {target}. The numbers are in the table below.",
    ),
    "chart_table": ("Số liệu của biểu đồ", "The numbers of the chart"),
    "this_period": ("Kỳ này", "This period"),
    "year_before": ("Năm trước", "Year before"),
    "day": ("Ngày", "Day"),
    "channels": ("Hồ sơ đã nộp, theo kênh", "Dossiers submitted, by channel"),
    "channel": ("Kênh", "Channel"),
    "online": ("Trực tuyến", "Online"),
    "in_person": ("Trực tiếp", "In person"),
    "postal": ("Bưu chính", "By post"),
    "on_time": ("Giải quyết đúng hạn", "Resolved on time"),
    "levels": ("Dịch vụ được niêm yết, theo mức độ", "Services listed, by level"),
    "level": ("Mức độ", "Level"),
    "level_1": ("Mức độ 1", "Level 1"),
    "level_2": ("Mức độ 2", "Level 2"),
    "level_3": ("Mức độ 3 (một phần)", "Level 3 (partly online)"),
    "level_4": ("Mức độ 4 (toàn trình)", "Level 4 (from end to end)"),
    "level4_of_eligible": (
        "Dịch vụ đủ điều kiện đã toàn trình",
        "Eligible services at level 4",
    ),
    "level34_of_listed": ("Dịch vụ ở mức độ 3 và 4", "Services at level 3 or 4"),
    "level4_of_listed": ("Dịch vụ ở mức độ 4", "Services at level 4"),
    "number": ("Số lượng", "Number"),
    "rejected": ("Bản ghi bị từ chối, theo lý do", "Rejected records, by reason"),
    "rejected_since": (
        "Đếm từ khi tiến trình phụ trách cơ quan này khởi động, {at}.",
        "Counted since the process that has this agency was started, {at}.",
    ),
    "rejected_none": ("Không có bản ghi nào bị từ chối.", "No record has been rejected."),
    "reason": ("Lý do", "Reason"),
    "records": ("Bản ghi", "Records"),
    "services": ("Dịch vụ của cơ quan", "The agency’s services"),
    "services_all": ("Tất cả", "All"),
    "services_without": ("Chưa có hồ sơ trực tuyến", "Without online dossiers"),
    "services_with": ("Có hồ sơ trực tuyến", "With online dossiers"),
    "service_name": ("Tên dịch vụ", "Name"),
    "online_dossiers": ("Hồ sơ trực tuyến", "Online dossiers"),
    "first_day": ("Ngày đầu", "First day"),
    "last_day": ("Ngày cuối", "Last day"),
    "services_away": (
        "Danh sách dịch vụ tạm thời chưa có: {why}.",
        "The services cannot be shown now: {why}.",
    ),
    "owner_away": (
        "tiến trình phụ trách cơ quan này đang khôi phục hoặc không trả lời",
        "the process that has this agency is recovering or does not answer",
    ),
    "code": ("Mã", "Code"),
    "name": ("Tên", "Name"),
    "why_lead": (
        "Mỗi con số được viết ra đủ: công thức, số liệu hôm nay, căn cứ, và các cơ quan cộng lại "
        "thành nó.",
        "Each figure written out: its formula, today’s numbers, where the rule comes from, and the "
        "agencies that add up to it.",
    ),
    "scope": ("Phạm vi", "Scope"),
    "source": ("Căn cứ", "The rule’s source"),
    "exact": (
        "Tính bằng phân số chính xác; chỉ làm tròn khi viết ra.",
        "Reckoned in exact fractions; rounded only where it is written.",
    ),
    "target_of": ("Mục tiêu năm {year}", "Target for {year}"),
    "missing_formula": ("Còn thiếu", "Missing"),
    "pace_formula": ("Tiến độ đến ngày {day}", "Pace on {day}"),
    "pace_days": ("{n} trong {all} ngày", "{n} of {all} days"),
    "pace_is_target": ("bằng mục tiêu, cả kỳ", "the target, all through the period"),
    "behind_pace": ("chậm {n} điểm\u00a0%", "{n} points behind"),
    "on_pace": ("kịp tiến độ", "on pace"),
    "pooled": ("Các cơ quan cộng lại", "The agencies that it pools"),
    "sum": ("Cộng", "Sum"),
    "services_of": ("Các dịch vụ đằng sau con số", "The services behind it"),
    "events_source": (
        "Sự kiện do cổng dịch vụ công của các cơ quan gửi, mỗi sự kiện tính một lần.",
        "Events sent by the agencies’ portals, each counted once.",
    ),
    "due": (
        "hồ sơ giải quyết trong kỳ và có hạn trả",
        "dossiers resolved in the period that had a due date",
    ),
    "kept": ("hồ sơ giải quyết đúng hạn", "resolved by their due date"),
    "eligible": ("dịch vụ đủ điều kiện toàn trình", "services eligible for level 4"),
    "eligible4": ("dịch vụ đã ở mức độ 4", "at level 4"),
    "listed_any": ("dịch vụ được niêm yết", "services listed"),
    "at34": ("dịch vụ ở mức độ 3 hoặc 4", "at level 3 or 4"),
    "at4": ("dịch vụ ở mức độ 4", "at level 4"),
    "listed_34": (
        "dịch vụ được niêm yết ở mức độ 3 hoặc 4 vào ngày tính",
        "services listed at level 3 or 4 on the as-of day",
    ),
    "listed_4": (
        "dịch vụ được niêm yết ở mức độ 4 vào ngày tính",
        "services listed at level 4 on the as-of day",
    ),
    "listed_1234": (
        "dịch vụ được niêm yết vào ngày tính, mọi mức độ",
        "services listed on the as-of day, at any level",
    ),
    "used_submitted": (
        "dịch vụ có ít nhất một hồ sơ trực tuyến nộp trong kỳ",
        "with at least one online dossier submitted in the period",
    ),
    "used_received": (
        "dịch vụ có ít nhất một hồ sơ trực tuyến được tiếp nhận trong kỳ",
        "with at least one online dossier received in the period",
    ),
    "all_resolved": ("hồ sơ được giải quyết trong kỳ", "dossiers resolved in the period"),
    "all_received": ("hồ sơ được tiếp nhận trong kỳ", "dossiers received in the period"),
    "online_all": ("hồ sơ nộp trực tuyến", "came in online"),
    "online_level4": (
        "hồ sơ nộp trực tuyến cho dịch vụ ở mức độ 4 vào ngày nộp",
        "came in online, for a service at level 4 on the day",
    ),
    "error_400": ("Yêu cầu không đúng", "The request is wrong"),
    "error_404": ("Không tìm thấy", "Not found"),
    "error_405": ("Không được phép", "Not allowed"),
    "error_500": ("Có lỗi", "Something went wrong"),
    "error_503": ("Chưa thể trả lời", "No answer yet"),
    "unknown_parameter": ("Không có tham số “{name}”.", "There is no parameter “{name}”."),
    "given_twice": (
        "Tham số “{name}” được đưa ra nhiều lần.",
        "The parameter “{name}” is given more than once.",
    ),
    "bad_value": (
        "Tham số “{name}” không thể là “{value}”. Phải là: {expected}.",
        "The parameter “{name}” can’t be “{value}”. Expected: {expected}.",
    ),
    "expected_day": ("một ngày, dạng YYYY-MM-DD", "a day as YYYY-MM-DD"),
    "expected_count": ("một số từ 1 đến 9999", "a number from 1 to 9999"),
    "expected_text": ("văn bản không quá 500 ký tự", "text of at most 500 characters"),
    "expected_scope": (
        "national, ministries, provinces hoặc mã của một cơ quan",
        "national, ministries, provinces or the code of an agency",
    ),
    "unknown_agency": (
        "Không có cơ quan nào được đăng ký với mã “{code}”.",
        "No agency is registered with the code “{code}”.",
    ),
    "did_you_mean": ("Có phải là:", "Did you mean:"),
    "no_page": ("Không có trang này.", "There is no such page."),
    "failed": (
        "Máy chủ gặp lỗi; nhật ký của máy chủ có chi tiết.",
        "The server has met a fault; its log says more.",
    ),
    "not_ready": (
        "Chưa thể đưa ra số liệu. Xin thử lại sau ít phút.",
        "There are no figures to show now. Please try again in a moment.",
    ),
    "footer": (
        "Tính từ sự kiện do các cổng dịch vụ công gửi; mọi bảng đều tải về được dạng CSV và JSON.",
        "Counted from the events that portals send; every table is CSV and JSON, too.",
    ),
}
