"""The pages: ``/``, ``/agencies/{code}``, ``/why``, and what they refer to (contract, section 9).

Every page is rendered here on the server, works without JavaScript, and gives each of its tables as
CSV and JSON. Figures are read in one go, so that a page is of one moment; brokers are asked before,
so that figures that are older than the answer never look complete.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import orjson
from aiohttp import web
from multidict import MultiMapping

from streams.api.pages import questions, why
from streams.api.pages.charts import chart, told
from streams.api.pages.questions import (
    AgencyQuery,
    Language,
    PageQuery,
    ScoreboardQuery,
    WhyQuery,
)
from streams.api.pages.rendering import STATIC, render, static, static_address
from streams.api.pages.shares import Row, arranged, asked_for, by_kind, rows_of
from streams.api.pages.state import State, state_of
from streams.api.pages.texts import Words
from streams.api.pages.written import Written
from streams.api.queries import BadParameterError, read
from streams.api.worker_view import NotReadyError, WorkerView
from streams.domain.calendar import ZONE, Period, period_of, previous_year
from streams.domain.course import course
from streams.domain.definitions import DEFINITIONS
from streams.domain.dossier import CHANNELS
from streams.domain.indicators import GROUPS, Agency, Figures, counts_on
from streams.domain.ledger import Months
from streams.domain.names import in_order, matches
from streams.domain.targets import INDICATORS
from streams.kafka.partitioner import partition_for
from streams.views.report import answer_json, flat_rows
from streams.views.spreadsheet import csv_lines

logger = logging.getLogger(__name__)

AskAgency = Callable[[web.Request, str, Mapping[str, str]], Awaitable[Mapping[str, Any]]]
"""Asks whoever owns an agency: ``(request, path, question)``. Raises ``NotReadyError``."""
Q = TypeVar("Q", bound=PageQuery)

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_WEEK = 7
_KEPT = 64
"""So many answers are kept, for whoever asks the same while nothing has changed."""
_MOMENT_SECONDS = 60
"""Words like "silent since" depend on the clock, no faster than this."""


class UnknownAgencyError(LookupError):
    """A page about an agency that is not registered."""

    def __init__(self, code: str) -> None:
        super().__init__(f"agency {code!r} is not registered")
        self.code = code


class _Snapshot(NamedTuple):
    """The figures of one moment, and what is to be said of them."""

    state: State
    figures: list[Figures]
    rows: list[Row]
    months: Mapping[str, Months]


class _Made(NamedTuple):
    """What is answered, ready to be sent."""

    body: bytes
    compressed: bytes
    mark: str
    content_type: str
    language: str | None

    @classmethod
    def of(cls, body: bytes, content_type: str, language: str | None = None) -> _Made:
        mark = f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'
        return cls(body, gzip.compress(body, 6, mtime=0), mark, content_type, language)


_Moment = tuple[object, ...]
"""Everything that a page depends on beside the question."""


def system_clock() -> datetime:
    """Now, in Asia/Ho_Chi_Minh."""
    return datetime.now(ZONE)


class Pages:
    """The pages of one process."""

    def __init__(
        self,
        worker: WorkerView,
        catch_up: Callable[[], Awaitable[None]],
        ask_agency: AskAgency,
        clock: Callable[[], datetime] = system_clock,
    ) -> None:
        """``catch_up`` has the views as they should be, or raises ``NotReadyError``."""
        self._worker = worker
        self._catch_up = catch_up
        self._ask_agency = ask_agency
        self._clock = clock
        self._kept: dict[tuple[str, str], tuple[_Moment | None, _Made]] = {}
        """Question and language → what was answered last, and as of which moment."""
        self._turn = asyncio.Lock()
        """One page at a time: see :mod:`streams.api.pages.rendering`."""

    def routes(self) -> list[web.RouteDef]:
        """What is to be served."""
        return [
            web.get("/", self._page(ScoreboardQuery, self._scoreboard)),
            web.get("/agencies/{code:[^/]+}", self._page(AgencyQuery, self._agency)),
            web.get("/why", self._page(WhyQuery, self._why)),
            web.get("/static/{name}", serve_static),
        ]

    def _page(
        self, model: type[Q], make: Callable[[web.Request, Q, Any], Awaitable[_Made]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            try:
                query = read(model, request.query)
                await self._catch_up()
                ends = await self._worker.register.behind.ends()
                # Before anything is made: what is newer then is made again, not passed over.
                moment = self._moment(request, ends)
                asked = request.rel_url.raw_path_qs, query.lang or language_of(request)
                known = self._kept.get(asked)
                if known is None or moment is None or known[0] != moment:
                    known = moment, await make(request, query, ends)
                    self._keep(asked, known)
                response = _answer(request, known[1])
            except BadParameterError as error:
                response = await self._wrong(request, model, error)
            except UnknownAgencyError as error:
                response = await self._unknown(request, error)
            except NotReadyError as error:
                response = await self._not_ready(request, error)
            except Exception:
                logger.exception("%s %s failed", request.method, request.path_qs)
                response = await self._failed(request)
            return response

        return handler

    def _moment(self, request: web.Request, ends: Any) -> _Moment | None:
        """As long as this is the same, so is the page; None: that cannot be told."""
        worker = self._worker
        readiness = worker.readiness()
        own = set(readiness.partitions)
        code = request.match_info.get("code")
        partitions = worker.settings.partitions
        if code is not None and partition_for(code.encode(), partitions) not in own:
            return None  # what its owner knows is asked of it
        register = worker.register
        others = tuple(
            number
            for number in range(partitions)
            if number not in own and worker.owner_url(number) is None
        )
        return (
            register.version,
            worker.reference.version,
            worker.progress().processed,
            register.lacking(ends) if ends is not None else None,
            readiness.ready,
            tuple(readiness.partitions),
            tuple(readiness.recovering),
            others,
            worker.as_of(),
            int(self._clock().timestamp() // _MOMENT_SECONDS),
        )

    def _keep(self, asked: tuple[str, str], made: tuple[_Moment | None, _Made]) -> None:
        self._kept.pop(asked, None)
        if made[0] is not None:
            self._kept[asked] = made
            if len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]

    # The pages

    async def _scoreboard(self, request: web.Request, query: ScoreboardQuery, ends: Any) -> _Made:
        async with self._turn:
            period = self._period(query)
            since = period.end - _WEEK if query.since is None else query.since.toordinal()
            found = self._read(query, ends, since=since if since >= 1 else None)
            # Of another period that began anew there is nothing to compare with.
            comparable = period.start <= since < period.end
            groups, agencies = by_kind(found.rows)
            shown = [kind for kind in agencies if query.scope in ("national", kind)]
            sections = {kind: arranged(agencies[kind], query, query.sort) for kind in shown}
            if query.limit is not None:
                sections = {kind: rows[: query.limit] for kind, rows in sections.items()}
            groups = [
                row
                for row in groups
                if query.scope in ("national", row.scope) and asked_for(row, query)
            ]
            rows = [*groups, *(row for kind in shown for row in sections[kind])]
            if query.format != "html":
                return self._table_of_rows(query, found, rows)
            words = self._words(request, query)
            whole = "groups" if query.scope == "national" else "group"
            nation = found.rows[0]
            chosen = next((row for row in found.rows if row.scope == query.scope), nation)
            return await self._html(
                request,
                "scoreboard.html",
                query,
                found.state,
                words=words,
                chosen=chosen,
                tables=[
                    *([("groups", words(whole), groups, None)] if groups else []),
                    *((kind, words(kind), sections[kind], len(agencies[kind])) for kind in shown),
                ],
                since=since if comparable else None,
                year_ago=previous_year(period.end),
            )

    async def _agency(self, request: web.Request, query: AgencyQuery, ends: Any) -> _Made:
        code = request.match_info["code"]
        as_of, definition = self._asked(query)
        if code not in self._worker.reference.agencies:
            raise UnknownAgencyError(code)
        question = {
            "period": query.period,
            "as_of": as_of.isoformat(),
            "definition": definition,
        }
        if query.with_dossiers is not None:
            question["with_dossiers"] = query.with_dossiers
        needs = query.table if query.format != "html" else None
        services = rejected = None
        away: NotReadyError | None = None
        try:
            if needs in (None, "services"):
                services = await self._ask_agency(request, "services", question)
            if needs in (None, "rejected"):
                rejected = await self._ask_agency(request, "rejected", {})
        except NotReadyError as error:
            if needs is not None:
                raise
            away = error
        async with self._turn:
            if code not in self._worker.reference.agencies:
                raise UnknownAgencyError(code)
            found = self._read(query, ends)
            row = next(row for row in found.rows if row.scope == code and not row.is_group)
            period = found.state.period
            months = found.months.get(code, Months())
            points = list(course(months, DEFINITIONS[definition], period))
            listed = None if services is None else _services(services["services"], query)
            if query.format != "html":
                return self._table_of_agency(query, found, row, listed, rejected, points)
            words = self._words(request, query)
            written = Written(words.language)
            year_before = previous_year(period.last)
            before = (
                []
                if year_before is None
                else list(
                    course(months, DEFINITIONS[definition], period_of(query.period, year_before))
                )
            )
            charts = {
                indicator: chart(
                    indicator,
                    points,
                    before,
                    row.figures.gaps[indicator].target,
                    period,
                    written.short_day if query.period == "month" else written.month,
                    written.percent_of_axis,
                )
                for indicator in INDICATORS
            }
            return await self._html(
                request,
                "agency.html",
                query,
                found.state,
                words=words,
                row=row,
                same_kind=sum(
                    other.figures.kind == row.figures.kind and other.services.rank is not None
                    for other in found.rows
                ),
                same_kind_online=sum(
                    other.figures.kind == row.figures.kind and other.online.rank is not None
                    for other in found.rows
                ),
                charts=charts,
                points=told(points, period),
                before={point.day: point for point in before},
                channels=CHANNELS,
                services=listed,
                everything=services and services["services"],
                rejected=rejected,
                rejected_at=rejected
                and int(datetime.fromisoformat(rejected["since"]).timestamp() * 1000),
                away=away,
                year_ago=previous_year(period.end),
            )

    async def _why(self, request: web.Request, query: WhyQuery, ends: Any) -> _Made:
        async with self._turn:
            if query.scope not in (*GROUPS, *self._worker.reference.agencies):
                raise UnknownAgencyError(query.scope)
            found = self._read(query, ends)
            row = next(row for row in found.rows if row.scope == query.scope)
            pooled = [
                other
                for other in found.rows
                if not other.is_group and why.belongs(other.figures, query.scope)
            ]
            shown = arranged(pooled, query, query.sort)
            if query.format != "html":
                return self._table_of_rows(query, found, shown)
            words = self._words(request, query)
            return await self._html(
                request,
                "why.html",
                query,
                found.state,
                words=words,
                row=row,
                written_out=why.written_out(row, found.state, words, Written(words.language)),
                pooled=shown,
                whole=len(shown) == len(pooled),
                scopes=[row for row in found.rows if row.is_group],
            )

    # What they are made of

    def _asked(self, query: PageQuery) -> tuple[Any, str]:
        """The as-of day and the definition, the worker's own where ``query`` names none."""
        as_of = query.as_of
        if as_of is None:
            as_of = datetime.fromordinal(self._worker.as_of()).date()
        return as_of, query.definition or self._worker.settings.definition

    def _period(self, query: PageQuery) -> Period:
        return period_of(query.period, self._asked(query)[0].toordinal())

    def _read(self, query: PageQuery, ends: Any, since: int | None = None) -> _Snapshot:
        worker, (_, definition) = self._worker, self._asked(query)
        period = self._period(query)
        register, reference = worker.register, worker.reference
        figures = register.figures(reference, definition, query.period, period.end)
        state = state_of(worker, period, definition, register.lacking(ends), self._clock())
        months = register.months()
        then = None
        if since is not None and period.start <= since < period.end:
            then = counts_on(
                since, reference.agencies.values(), months, DEFINITIONS[definition], query.period
            )
        return _Snapshot(state, figures, rows_of(figures, state, then), months)

    def _words(self, request: web.Request, query: PageQuery) -> Words:
        return Words(query.lang or language_of(request))

    async def _html(
        self,
        request: web.Request,
        template: str,
        query: PageQuery,
        state: State,
        *,
        words: Words,
        **context: Any,
    ) -> _Made:
        body = await render(
            template,
            **_common(request, words),
            query=query,
            state=state,
            definition=DEFINITIONS[state.definition],
            definitions=list(DEFINITIONS),
            sorts=_sorts(type(query)),
            other_language=questions.address(
                _path(request), query, lang="en" if words.language == "vi" else "vi"
            ),
            here=lambda **changes: questions.address(_path(request), query, **changes),
            there=lambda path, **changes: questions.elsewhere(path, query, **changes),
            agency_path=lambda code: f"/agencies/{quote(code, safe='')}",
            iso=_day,
            day_of=Written(words.language).iso_day,
            **context,
        )
        return await asyncio.to_thread(_Made.of, body, "text/html", words.language)

    # Tables

    def _table_of_rows(self, query: PageQuery, found: _Snapshot, rows: Iterable[Row]) -> _Made:
        state = found.state
        answer = answer_json(
            [row.figures for row in rows],
            state.period,
            state.definition,
            state.behind,
            state.seen,
            self._worker.reference,
        )
        if query.format == "json":
            return _made_json(answer)
        return _csv(flat_rows(answer))

    def _table_of_agency(
        self,
        query: AgencyQuery,
        found: _Snapshot,
        row: Row,
        services: list[dict[str, Any]] | None,
        rejected: Mapping[str, Any] | None,
        points: Iterable[Any],
    ) -> _Made:
        counts, state = row.figures.counts, found.state
        rows: list[dict[str, Any]]
        if query.table == "services":
            rows = services or []
        elif query.table == "rejected":
            reasons = (rejected or {}).get("rejected", {})
            rows = [{"reason": name, "records": n} for name, n in reasons.items()]
        elif query.table == "channels":
            rows = [
                {"channel": name, "dossiers_submitted": n}
                for name, n in zip(CHANNELS, counts.submitted, strict=True)
            ]
        elif query.table == "levels":
            rows = [
                {"level": level, "services_listed": n}
                for level, n in enumerate(counts.level, start=1)
            ]
        else:
            rows = [_point(point) for point in told(points, state.period)]
        if query.format == "csv":
            return _csv(rows)
        period = state.period
        about = {
            "agency": row.scope,
            "as_of": _day(period.end),
            "period": {
                "kind": period.kind,
                "start": _day(period.start),
                "end": _day(period.end),
            },
            "definition": state.definition,
        }
        return _made_json(about | {query.table: rows})

    # Errors

    async def _wrong(
        self, request: web.Request, model: type[PageQuery], error: BadParameterError
    ) -> web.Response:
        if _wants_data(request):
            return _json({"error": str(error), "parameter": error.parameter}, 400)
        words = Words(_language(request))
        return await _error(request, 400, words, _said(words, request.query, model, error))

    async def _unknown(self, request: web.Request, error: UnknownAgencyError) -> web.Response:
        if _wants_data(request):
            return _json({"error": str(error), "agency": error.code}, 404)
        words = Words(_language(request))
        known = self._worker.reference.agencies.values()
        alike = sorted(
            (agency for agency in known if matches(agency.code, agency.name, error.code)),
            key=lambda agency: in_order(agency.name),
        )
        message = words("unknown_agency", code=error.code)
        return await _error(request, 404, words, message, alike=alike[:10])

    async def _not_ready(self, request: web.Request, error: NotReadyError) -> web.Response:
        logger.warning("%s: %s", request.path, error)
        if _wants_data(request):
            code = request.match_info.get("code")
            about = {} if code is None else {"agency": code}
            return _json({"error": f"{error}; try again soon", **about}, 503)
        words = Words(_language(request))
        answer = await _error(request, 503, words, words("not_ready"))
        answer.headers["Retry-After"] = "5"
        return answer

    async def _failed(self, request: web.Request) -> web.Response:
        if _wants_data(request):
            return _json({"error": "internal error; the worker's log says more"}, 500)
        words = Words(_language(request))
        return await _error(request, 500, words, words("failed"))


async def serve_static(request: web.Request) -> web.Response:
    """What pages refer to."""
    name = request.match_info["name"]
    if name not in STATIC:
        raise web.HTTPNotFound
    answer = _answer(request, _made_static(name))
    if str(request.rel_url) == static_address(name):
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return answer


async def serve_no_page(request: web.Request) -> web.Response:
    """The page of a path that leads nowhere."""
    words = Words(_language(request))
    return await _error(request, 404, words, words("no_page"))


async def serve_starting(request: web.Request) -> web.Response:
    """The page of a process that has no figures yet; the browser asks again by itself."""
    words = Words(_language(request))
    answer = await _error(request, 503, words, words("starting_page"), words("starting_title"))
    answer.headers.update({"Retry-After": "5", "Refresh": "5"})
    return answer


async def _error(
    request: web.Request,
    status: int,
    words: Words,
    message: str,
    heading: str | None = None,
    alike: Iterable[Agency] = (),
) -> web.Response:
    body = await render(
        "error.html",
        **_common(request, words),
        heading=heading or words(f"error_{status}"),
        message=message,
        alike=list(alike),
        agency_path=lambda code: f"/agencies/{quote(code, safe='')}",
    )
    return _answer(request, _Made.of(body, "text/html", words.language), status)


def _common(request: web.Request, words: Words) -> dict[str, Any]:
    return {
        "words": words,
        "written": Written(words.language),
        "language": words.language,
        "path": request.path,
    }


def _path(request: web.Request) -> str:
    return request.rel_url.raw_path


def language_of(request: web.Request) -> Language:
    """The language that the reader's browser prefers; Vietnamese where it says neither."""
    best: tuple[float, Language] = (0.0, "vi")
    for part in request.headers.get("Accept-Language", "").split(","):
        tag, _, rest = part.strip().partition(";")
        spoken = tag.strip().lower().split("-")[0]
        weight = 1.0
        if rest.strip().startswith("q="):
            try:
                weight = float(rest.strip()[2:])
            except ValueError:
                continue
        if spoken in questions.LANGUAGES and weight > best[0]:
            best = weight, "en" if spoken == "en" else "vi"
    return best[1]


def _language(request: web.Request) -> Language:
    """The language of an error: as asked for, if that at least is right."""
    asked = request.query.get("lang")
    if asked in questions.LANGUAGES:
        return "en" if asked == "en" else "vi"
    return language_of(request)


def _wants_data(request: web.Request) -> bool:
    return request.query.get("format") in ("json", "csv")


def _said(
    words: Words,
    asked: MultiMapping[str],
    model: type[PageQuery],
    error: BadParameterError,
) -> str:
    name = error.parameter
    field = model.model_fields.get(name)
    if field is None:
        return words("unknown_parameter", name=name)
    if len(asked.getall(name)) > 1:
        return words("given_twice", name=name)
    description = field.description or ""
    if "YYYY-MM-DD" in description:
        expected = words("expected_day")
    elif description.startswith("a number"):
        expected = words("expected_count")
    elif "characters" in description:
        expected = words("expected_text")
    elif name == "scope" and model is WhyQuery:
        expected = words("expected_scope")
    else:
        values = description.removeprefix("one of ").replace(" or ", ", ")
        expected = values
    return words("bad_value", name=name, value=asked[name], expected=expected)


def _sorts(model: type[PageQuery]) -> list[str]:
    return list(questions.SORTS[model])


def _services(services: list[dict[str, Any]], query: AgencyQuery) -> list[dict[str, Any]]:
    """The services that the filter lets through, in the order asked for; by code where equal."""
    found = [
        service for service in services if matches(service["code"], service["name"] or "", query.q)
    ]
    found.sort(key=lambda service: service["code"])

    def key(service: dict[str, Any]) -> Any:
        value = service[query.sort]
        return in_order(value) if query.sort == "name" and value else value

    known = [service for service in found if service[query.sort] is not None]
    known.sort(key=key, reverse=query.descending(query.sort))
    return known + [service for service in found if service[query.sort] is None]


def _point(point: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"day": _day(point.day)}
    for indicator, (top, bottom) in (
        ("services_with_dossiers", ("services_with_dossiers", "services_listed")),
        ("online_processed", ("dossiers_processed_online", "dossiers_processed")),
    ):
        numerator, denominator = getattr(point, indicator)
        row |= {
            top: numerator,
            bottom: denominator,
            f"{indicator}_ratio": numerator / denominator if denominator else None,
        }
    return row


def _day(ordinal: int) -> str:
    return datetime.fromordinal(ordinal).date().isoformat()


def _answer(request: web.Request, made: _Made, status: int = 200) -> web.Response:
    """With a mark by which a reader that has these very bytes is spared them."""
    headers = _HEADERS | {"Vary": "Accept-Encoding, Accept-Language"}
    if status == 200:
        headers |= {"ETag": made.mark, "Cache-Control": "no-cache"}
        known = [each.strip() for each in request.headers.get("If-None-Match", "").split(",")]
        if made.mark in known or made.mark.removeprefix("W/") in known:
            return web.Response(status=304, headers=headers)
    else:
        headers["Cache-Control"] = "no-store"
    if made.language is not None:
        headers["Content-Language"] = made.language
    body = made.body
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        body = made.compressed
    return web.Response(
        body=body,
        status=status,
        content_type=made.content_type,
        charset="utf-8",
        headers=headers,
    )


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        content_type="application/json",
        charset="utf-8",
        headers=_HEADERS,
    )


def _made_json(body: Any) -> _Made:
    return _Made.of(orjson.dumps(body), "application/json")


def _csv(rows: Iterable[Mapping[str, Any]]) -> _Made:
    return _Made.of("".join(csv_lines(rows)).encode(), "text/csv")


@cache
def _made_static(name: str) -> _Made:
    return _Made.of(static(name), STATIC[name])
