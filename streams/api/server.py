"""The HTTP server of a worker: metrics, health and the API, on Faust's web server hook.

Thin: parameters in, figures out. Every answer comes from any worker, except the services behind a
ratio, which live with the agency's owner and are asked of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
from aiohttp import web
from mode import Service
from prometheus_client import exposition
from yarl import URL

from streams.domain.calendar import PERIOD_KINDS, PeriodKind, period_of
from streams.domain.catalogue import listing_on
from streams.domain.definitions import DEFINITIONS
from streams.kafka.partitioner import partition_for
from streams.settings import authority
from streams.views.report import report_json

if TYPE_CHECKING:
    from streams.runtime.app import HosoApp

logger = logging.getLogger(__name__)

STALE_SECONDS = 60.0
"""Without progress for this long while there is lag, a worker is not healthy."""

_OWNER_TIMEOUT = aiohttp.ClientTimeout(total=10)
_FORWARDED = "hoso-forwarded"
"""Marks a request that one worker asks of another."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BadParameterError(ValueError):
    """A query parameter is wrong; the message says what was expected."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json", charset="utf-8"
    )


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadParameterError as error:
        return _json({"error": str(error), "parameter": error.parameter}, 400)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        answer = _json({"error": f"{request.path}: {error.reason}"}, error.status)
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except Exception:
        logger.exception("%s %s failed", request.method, request.path_qs)
        return _json({"error": "internal error; the worker's log says more"}, 500)


class WebServer(Service):  # type: ignore[misc]  # mode ships no types
    """Serves one worker. Started by Faust after the app."""

    def __init__(self, app: HosoApp, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._app = app
        self._runner: web.AppRunner | None = None
        self._client: aiohttp.ClientSession | None = None
        self._caught_up_at = time.monotonic()

    def application(self) -> web.Application:
        """The routes, for a server or a test client."""
        application = web.Application(middlewares=[_errors_as_json])
        application.cleanup_ctx.append(self._with_client)
        application.add_routes(
            [
                web.get("/metrics", self.metrics),
                web.get("/healthz", self.healthz),
                web.get("/readyz", self.readyz),
                web.get("/api/v1/indicators", self.indicators),
                web.get("/api/v1/agencies/{code}/services", self.services),
                web.get("/", self.index),
            ]
        )
        return application

    async def on_start(self) -> None:
        settings = self._app.settings
        self._runner = web.AppRunner(self.application(), access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, settings.web_host, settings.web_port).start()
        at = authority(settings.web_host, settings.web_port)
        logger.info("metrics and API: http://%s/", at)

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
        if self._app.settings.as_of == "latest":
            await self._app.register.catch_up()
        lag = self._app.instruments.lag
        lag.clear()
        for (topic, partition), records in self._app.lag().items():
            lag.labels(topic, str(partition)).set(records)
        conservation = self._app.instruments.conservation
        conservation.clear()
        for number, owned in self._app.tables_.owned.items():
            for topic, difference in owned.unexplained.items():
                conservation.labels(topic, str(number)).set(difference)
        encode, content_type = exposition.choose_encoder(request.headers.get("Accept", ""))
        # The state first: OpenMetrics ends with a mark that the encoder of the instruments sets.
        body = self._app.state_metrics.text().encode() + encode(self._app.registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def healthz(self, _: web.Request) -> web.StreamResponse:
        """200 while the process makes progress, 503 when it has lag and has stood still.

        An idle process is not stale: the time counts from when it was last seen without lag.
        """
        now = time.monotonic()
        lag = sum(self._app.lag().values())
        if not lag:
            self._caught_up_at = now
        progress = max(self._app.intake.last_progress, self._app.tables_.last_progress)
        stale = now - max(progress, self._caught_up_at)
        views = (self._app.reference.view, self._app.register.view)
        failed = [str(view.failed) for view in views if view.failed is not None]
        healthy = not failed and stale <= STALE_SECONDS
        return _json(
            {
                "healthy": healthy,
                "lag": lag,
                "taken_in": self._app.intake.taken_in,
                "seconds_since_progress": round(stale, 1),
                "failed": failed,
            },
            200 if healthy else 503,
        )

    async def readyz(self, _: web.Request) -> web.StreamResponse:
        """200 once every owned partition is recovered and published, else 503."""
        owned = self._app.tables_.owned
        ready = self._app.tables_.ready
        recovery = self._app.tables_.recovery
        return _json(
            {
                "ready": ready,
                "problems": [],  # while there are any the topic gate answers
                "partitions": sorted(owned),
                "recovering": sorted(
                    n
                    for n, partition in owned.items()
                    if not self._app.tables_.publishes(partition)
                ),
                "unexplained": {
                    f"{topic}[{number}]": difference
                    for number, partition in owned.items()
                    for topic, difference in partition.unexplained.items()
                    if difference
                },
                "recovery": {
                    "rows": recovery.rows,
                    "repaired": recovery.repaired,
                    "seconds": round(recovery.seconds, 3),
                },
            },
            200 if ready else 503,
        )

    async def index(self, _: web.Request) -> web.StreamResponse:
        """Where everything is, until the scoreboard is here."""
        return _json(
            {
                "name": "hoso",
                "metrics": "/metrics",
                "indicators": "/api/v1/indicators",
                "services": "/api/v1/agencies/{code}/services",
                "health": "/healthz",
                "ready": "/readyz",
            }
        )

    # API

    async def indicators(self, request: web.Request) -> web.StreamResponse:
        """Every agency's and group's figures for a period, as-of day and definition."""
        _only(request, {"period", "as_of", "definition"})
        period, as_of, definition = self._question(request)
        app = self._app
        await app.register.catch_up()
        return _json(report_json(app.register, app.reference, definition, period, as_of))

    async def services(self, request: web.Request) -> web.StreamResponse:
        """The listed services behind an agency's ratio, from the worker that owns it."""
        _only(request, {"period", "as_of", "definition", "with_dossiers"})
        wanted = _flag(request, "with_dossiers")
        if "as_of" not in request.query and self._app.settings.as_of == "latest":
            await self._app.register.catch_up()
        period, as_of, definition = self._question(request)
        code = request.match_info["code"]
        app = self._app
        if code not in app.reference.agencies:
            return _json({"error": f"agency {code!r} is not registered", "agency": code}, 404)
        number = partition_for(code.encode(), app.settings.partitions)
        owned = app.tables_.owned.get(number)
        if owned is None:
            # Spelt out, so that the owner's defaults and clock have no say.
            question = {
                "period": period,
                "as_of": date.fromordinal(as_of).isoformat(),
                "definition": definition,
            }
            if wanted is not None:
                question["with_dossiers"] = request.query["with_dossiers"]
            return await self._ask_owner(request, code, number, question)
        if not app.tables_.publishes(owned):
            return _json(
                {"error": f"agency {code!r} is being recovered; try again soon", "agency": code},
                503,
            )
        span = period_of(period, as_of)
        rule = DEFINITIONS[definition]
        ledger = owned.partition.ledgers.get(code)
        rows = []
        for service, state in sorted(ledger.services.items() if ledger is not None else ()):
            listing = listing_on(state.listings, as_of)
            if listing is None or listing.level not in rule.levels:
                continue
            found = state.online_dossiers(rule.used, span.start, span.end)
            if wanted is not None and wanted != (found is not None):
                continue
            dossiers, first, last = found or (0, None, None)
            rows.append(
                {
                    "code": service,
                    "name": listing.name or None,
                    "level": listing.level,
                    "online_dossiers": dossiers,
                    "first_day": None if first is None else date.fromordinal(first).isoformat(),
                    "last_day": None if last is None else date.fromordinal(last).isoformat(),
                }
            )
        return _json(
            {
                "agency": code,
                "as_of": date.fromordinal(as_of).isoformat(),
                "period": {
                    "kind": period,
                    "start": date.fromordinal(span.start).isoformat(),
                    "end": date.fromordinal(span.end).isoformat(),
                },
                "definition": definition,
                "services": rows,
            }
        )

    async def _ask_owner(
        self, request: web.Request, code: str, number: int, question: dict[str, str]
    ) -> web.StreamResponse:
        def unavailable(why: str) -> web.Response:
            return _json({"error": f"{why}; try again soon", "agency": code}, 503)

        # One hop only: two workers that each take the other for the owner must not chase a
        # request in circles while a rebalance is settling.
        if _FORWARDED in request.headers:
            return unavailable(f"this worker does not own partition {number} of agency {code!r}")
        owner = self._app.owner_url(number)
        if owner is None or self._client is None:
            return unavailable(f"nobody owns partition {number} of agency {code!r} now")
        path = URL(owner.rstrip("/") + request.rel_url.raw_path, encoded=True)
        try:
            async with self._client.get(
                path.with_query(question), headers={_FORWARDED: "1"}
            ) as answer:
                return web.Response(
                    body=await answer.read(),
                    status=answer.status,
                    content_type="application/json",
                    charset="utf-8",
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            logger.warning("the worker at %s does not answer: %r", owner, error)
            return unavailable(f"the worker of agency {code!r}, {owner}, does not answer")

    def _question(self, request: web.Request) -> tuple[PeriodKind, int, str]:
        period = request.query.get("period", "year")
        for kind in PERIOD_KINDS:
            if period == kind:
                break
        else:
            raise BadParameterError(
                "period", f"period: {period!r} is not one of {', '.join(PERIOD_KINDS)}"
            )
        definition = request.query.get("definition", self._app.settings.definition)
        if definition not in DEFINITIONS:
            raise BadParameterError(
                "definition",
                f"definition: {definition!r} is not one of {', '.join(DEFINITIONS)}",
            )
        text = request.query.get("as_of")
        if text is None:
            return kind, self._app.as_of(), definition
        try:
            as_of = date.fromisoformat(text)
        except ValueError:
            as_of = None
        if as_of is None or as_of.isoformat() != text:
            raise BadParameterError("as_of", f"as_of: {text!r} is not a date YYYY-MM-DD")
        return kind, as_of.toordinal(), definition


def _only(request: web.Request, known: set[str]) -> None:
    for name in request.query:
        if name not in known:
            raise BadParameterError(
                name, f"{name}: no such parameter, expected {', '.join(sorted(known))}"
            )
        if len(request.query.getall(name)) > 1:
            raise BadParameterError(name, f"{name}: given more than once")


def _flag(request: web.Request, name: str) -> bool | None:
    text = request.query.get(name)
    if text is None:
        return None
    if text not in ("true", "false"):
        raise BadParameterError(name, f"{name}: {text!r} is not true or false")
    return text == "true"
