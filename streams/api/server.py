"""The HTTP server of a worker: metrics, health, the API and the pages, on Faust's web server hook.

Thin: parameters in, figures out. Every answer comes from any worker, except the services behind a
ratio, which live with the agency's owner and are asked of it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import date, datetime
from typing import Any, Literal, cast
from urllib.parse import quote

import aiohttp
import orjson
from aiohttp import web
from mode import Service
from yarl import URL

from streams.api.openapi import document
from streams.api.pages.routes import Pages, serve_no_page, system_clock
from streams.api.queries import BadParameterError, IndicatorsQuery, NoQuery, ServicesQuery, read
from streams.api.worker_view import NotReadyError, WorkerView
from streams.domain.calendar import PERIOD_KINDS, period_of
from streams.domain.definitions import DEFINITIONS
from streams.domain.services import ListedService, listed_services
from streams.kafka.partitioner import partition_for
from streams.settings import authority
from streams.views.answers import RejectedAnswer, ServiceAnswer, ServicesAnswer
from streams.views.report import report_json

logger = logging.getLogger(__name__)

STALE_SECONDS = 60.0
"""Without progress for this long while there is lag, a worker is not healthy."""

_COMPRESSED_ASIDE = 16_384
"""Bytes from which a body is compressed in another thread, so that no chunk waits for it."""

_OWNER_TIMEOUT = aiohttp.ClientTimeout(total=10)
_FORWARDED = "hoso-forwarded"
"""Marks a request that one worker asks of another."""

# Without the expression a code could have no braces; an encoded slash in it is no separator.
_SERVICES = "/api/v1/agencies/{code:[^/]+}/services"
_REJECTED = "/api/v1/agencies/{code:[^/]+}/rejected"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Scrape = Callable[[str, int | None], tuple[bytes, str]]
"""``(Accept, behind)`` → the metrics in a format that the scraper accepts, and its content type."""


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json", charset="utf-8"
    )


class _RefusedError(NotReadyError):
    """The owner of an agency was asked and answered with an error, which is passed on."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"the agency's worker answers {status}")
        self.status = status
        self.body = body


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadParameterError as error:
        return _json({"error": str(error), "parameter": error.parameter}, 400)
    except _RefusedError as refused:
        return web.Response(
            body=refused.body,
            status=refused.status,
            content_type="application/json",
            charset="utf-8",
        )
    except NotReadyError as error:
        about = {"agency": code} if (code := request.match_info.get("code")) else {}
        return _json({"error": f"{error}; try again soon", **about}, 503)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        browser = "text/html" in request.headers.get("Accept", "")
        if error.status == 404 and browser and not request.path.startswith("/api/"):
            return await serve_no_page(request)
        answer = _json({"error": f"{request.path}: {error.reason}"}, error.status)
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except Exception:
        logger.exception("%s %s failed", request.method, request.path_qs)
        return _json({"error": "internal error; the worker's log says more"}, 500)


class WebServer(Service):  # type: ignore[misc]  # mode ships no types
    """Serves one worker. Started by Faust after the app."""

    def __init__(
        self,
        worker: WorkerView,
        clock: Callable[[], datetime] = system_clock,
        scrape: Scrape | None = None,
        **kwargs: Any,
    ) -> None:
        """``scrape`` gives the metrics; without it there are none."""
        super().__init__(**kwargs)
        self._worker = worker
        self._scrape = scrape
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self._client: aiohttp.ClientSession | None = None
        self._caught_up_at = time.monotonic()

    def application(self) -> web.Application:
        """The routes, for a server or a test client."""
        application = web.Application(middlewares=[_errors_as_json])
        application.cleanup_ctx.append(self._with_client)
        application.add_routes(
            [
                web.get("/healthz", self.healthz),
                web.get("/readyz", self.readyz),
                web.get("/api/v1/indicators", self.indicators),
                web.get(_SERVICES, self.services),
                web.get(_REJECTED, self.rejected),
                web.get("/api/v1/openapi.json", self.openapi),
            ]
        )
        if self._scrape is not None:
            application.router.add_get("/metrics", self.metrics)
        if self._worker.settings.web_pages:
            application.add_routes(
                Pages(self._worker, self._catch_up, self._ask_agency, self._clock).routes()
            )
        return application

    async def on_start(self) -> None:
        settings = self._worker.settings
        self._runner = web.AppRunner(self.application(), access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, settings.web_host, settings.web_port).start()
        at = authority(settings.web_host, settings.web_port)
        logger.info("serving http://%s/", at)

    async def on_stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _with_client(self, _: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(timeout=_OWNER_TIMEOUT) as self._client:
            yield
        self._client = None

    # Operations

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Prometheus or OpenMetrics text, as the scraper accepts."""
        if self._worker.settings.as_of == "latest":
            await self._worker.register.catch_up()
        assert self._scrape is not None
        register = self._worker.register
        records = register.lacking(await register.behind.ends())
        body, content_type = self._scrape(request.headers.get("Accept", ""), records)
        answer = web.Response(
            body=body,
            headers={"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"},
            zlib_executor_size=_COMPRESSED_ASIDE,
        )
        if _takes_gzip(request):
            answer.enable_compression(web.ContentCoding.gzip)
        return answer

    async def healthz(self, _: web.Request) -> web.StreamResponse:
        """200 while the process makes progress, 503 when it has lag and is stalled.

        An idle process is not stale: the time counts from when it was last seen without lag.
        """
        now = time.monotonic()
        lag = sum(self._worker.lag().values())
        if not lag:
            self._caught_up_at = now
        processed, progress = self._worker.progress()
        stale = now - max(progress, self._caught_up_at)
        failed = self._failed()
        healthy = not failed and stale <= STALE_SECONDS
        return _json(
            {
                "healthy": healthy,
                "lag": lag,
                "processed": processed,
                "seconds_since_progress": round(stale, 1),
                "failed": failed,
            },
            200 if healthy else 503,
        )

    async def readyz(self, _: web.Request) -> web.StreamResponse:
        """200 once every owned partition is recovered and published, else 503."""
        found = self._worker.readiness()
        return _json(found._asdict(), 200 if found.ready else 503)

    # API

    async def indicators(self, request: web.Request) -> web.StreamResponse:
        """Every agency's and group's figures for a period, as-of day and definition."""
        query = read(IndicatorsQuery, request.query)
        worker = self._worker
        await self._catch_up()
        # In this order: figures that are older than the ends never look complete.
        ends = await worker.register.behind.ends()
        as_of, definition = self._defaults(query)
        return _json(
            report_json(worker.register, worker.reference, definition, query.period, as_of, ends)
        )

    async def services(self, request: web.Request) -> web.StreamResponse:
        """The listed services behind an agency's ratio, from the worker that owns it."""
        query = read(ServicesQuery, request.query)
        code = request.match_info["code"]
        await self._catch_up()
        as_of, definition = self._defaults(query)
        # Spelt out, so that the owner's defaults and clock have no say.
        question = {"period": query.period, "as_of": _day(as_of), "definition": definition}
        if query.with_dossiers is not None:
            question["with_dossiers"] = query.with_dossiers
        return await self._answer_of_owner(request, code, "services", question)

    async def rejected(self, request: web.Request) -> web.StreamResponse:
        """How many of an agency's records were rejected, by reason, by the worker that owns it."""
        read(NoQuery, request.query)
        await self._catch_up()
        return await self._answer_of_owner(request, request.match_info["code"], "rejected", {})

    async def openapi(self, request: web.Request) -> web.StreamResponse:
        """All of this as OpenAPI 3.1."""
        read(NoQuery, request.query)
        settings = self._worker.settings
        return _json(document(metrics=self._scrape is not None, pages=settings.web_pages))

    async def _answer_of_owner(
        self, request: web.Request, code: str, what: str, question: Mapping[str, str]
    ) -> web.StreamResponse:
        if code not in self._worker.reference.agencies:
            return _json({"error": f"agency {code!r} is not registered", "agency": code}, 404)
        return _json(await self._ask_agency(request, what, question))

    async def _ask_agency(
        self, request: web.Request, what: str, question: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """What only the owner of the agency of ``request`` knows: its services, or what was
        rejected. From this worker, or else asked of the one that owns it."""
        code = request.match_info["code"]
        ledger = self._worker.ledger(code)
        if ledger is None:
            return await self._ask_owner(request, code, what, question)
        if what == "rejected":
            since, reasons = self._worker.rejected(code)
            rejected: RejectedAnswer = {
                "agency": code,
                "since": since.isoformat(timespec="seconds"),
                "rejected": dict(sorted(reasons.items())),
            }
            return rejected
        as_of, definition = date.fromisoformat(question["as_of"]), question["definition"]
        (kind,) = (kind for kind in PERIOD_KINDS if kind == question["period"])
        period = period_of(kind, as_of.toordinal())
        wanted = {"true": (True,), "false": (False,)}.get(
            question.get("with_dossiers", ""), (True, False)
        )
        answer: ServicesAnswer = {
            "agency": code,
            "as_of": question["as_of"],
            "period": {
                "kind": kind,
                "start": _day(period.start),
                "end": _day(period.end),
            },
            "definition": definition,
            "services": [
                _service(row)
                for row in listed_services(ledger, DEFINITIONS[definition], period)
                if bool(row.online_dossiers) in wanted
            ],
        }
        return answer

    async def _ask_owner(
        self, request: web.Request, code: str, what: str, question: Mapping[str, str]
    ) -> dict[str, Any]:
        number = partition_for(code.encode(), self._worker.settings.partitions)
        # One hop only: two workers that each take the other for the owner must not chase a
        # request in circles while a rebalance is settling.
        if _FORWARDED in request.headers:
            raise NotReadyError(f"this worker does not own partition {number} of agency {code!r}")
        owner = self._worker.owner_url(number)
        if owner is None or self._client is None:
            raise NotReadyError(f"nobody owns partition {number} of agency {code!r} now")
        # Dots too: a code may be of nothing else, and is no step up the path.
        spelt = quote(code, safe="").replace(".", "%2E")
        path = URL(f"{owner.rstrip('/')}/api/v1/agencies/{spelt}/{what}", encoded=True)
        try:
            async with self._client.get(
                path.with_query(question), headers={_FORWARDED: "1"}
            ) as answer:
                body = await answer.read()
                if answer.status == 200:
                    found: dict[str, Any] = orjson.loads(body)
                    return found
        except (aiohttp.ClientError, TimeoutError) as error:
            logger.warning("the worker at %s does not answer: %r", owner, error)
            raise NotReadyError(
                f"the worker of agency {code!r}, {owner}, does not answer"
            ) from error
        raise _RefusedError(answer.status, body)

    def _failed(self) -> list[str]:
        views = self._worker.reference.view, self._worker.register.view
        return [str(view.failed) for view in views if view.failed is not None]

    async def _catch_up(self) -> None:
        """Have the views as they should be. Raises ``NotReadyError`` where one has failed: what it
        knows would be shown as the present for good."""
        if failed := self._failed():
            raise NotReadyError("; ".join(failed))
        await self._worker.register.catch_up()

    def _defaults(self, query: IndicatorsQuery) -> tuple[int, str]:
        """As-of day and definition, the worker's own where ``query`` names none."""
        as_of = self._worker.as_of() if query.as_of is None else query.as_of.toordinal()
        return as_of, query.definition or self._worker.settings.definition


def _takes_gzip(request: web.Request) -> bool:
    """Whether Accept-Encoding names gzip, and not with a weight of 0 (RFC 9110, 12.5.3)."""
    given = ",".join(request.headers.getall("Accept-Encoding", ())).lower()
    for coding in given.split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip":
            return re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight) is None
    return False


def _service(row: ListedService) -> ServiceAnswer:
    return {
        "code": row.code,
        "name": row.name or None,
        "level": cast(Literal[1, 2, 3, 4], row.level),
        "online_dossiers": row.online_dossiers,
        "first_day": None if row.first_day is None else _day(row.first_day),
        "last_day": None if row.last_day is None else _day(row.last_day),
    }


def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()
