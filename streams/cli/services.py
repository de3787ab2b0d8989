"""``hoso services``: the services behind an agency's ratio, from a running worker."""

from __future__ import annotations

import os
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import click
from rich import box
from rich.table import Table
from yarl import URL

from streams.cli.errors import Failure
from streams.cli.questions import DayType, agency_named, format_of, period_and_definition
from streams.cli.report import cut, lacks
from streams.cli.running import load_settings, run
from streams.cli.terminal import (
    NOTHING,
    percent,
    print_first_that_fits,
    say,
    say_csv,
    say_json,
)
from streams.domain.calendar import ZONE, PeriodKind
from streams.domain.indicators import Agency, ratio

_ANSWER_SECONDS = 30.0


@click.command()
@click.argument("agency", metavar="AGENCY")
@click.option(
    "--with-dossiers/--without-dossiers",
    default=None,
    help="Only those that have online dossiers in the period, or only those that have none.",
)
@click.option(
    "--as-of",
    type=DayType("today"),
    metavar="YYYY-MM-DD|today",
    help="Last day that counts.  [default: the worker's own]",
)
@period_and_definition
@format_of("json is what the API answers.")
def services(
    agency: str,
    with_dossiers: bool | None,
    as_of: date | str | None,
    period: PeriodKind,
    definition: str | None,
    form: str,
) -> None:
    """List the services that an agency's share of services with online dossiers counts.

    AGENCY is its code or its name, with or without diacritics: hoso services "thanh hoa"
    --without-dossiers

    Asks the worker or `hoso web` at HOSO_URL (default: HOSO_WEB_HOST and HOSO_WEB_PORT).
    """
    settings = load_settings()
    asked: dict[str, str] = {"period": period}
    if as_of is not None:
        day = as_of if isinstance(as_of, date) else datetime.now(ZONE).date()
        asked["as_of"] = day.isoformat()
    if definition is not None:
        asked["definition"] = definition
    figures, answer = run(_ask(URL(settings.worker_url), agency, asked, with_dossiers))
    if form == "json":
        say_json(answer)
    elif form == "csv":
        about = {"agency": answer["agency"], "as_of": answer["as_of"]}
        about |= {"period": answer["period"]["kind"], "definition": answer["definition"]}
        say_csv(about | row for row in answer["services"])
    else:
        _print_table(figures, answer, with_dossiers)


async def _ask(
    worker: URL, text: str, asked: dict[str, str], with_dossiers: bool | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the API says of the agency and how far the figures are, and its services."""
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    ) as session:
        figures = await _get(session, worker, "/api/v1/indicators", asked)
        rows = {
            Agency(row["scope"], row["name"], row["kind"]): row
            for row in figures["rows"]
            if row["kind"] in ("ministry", "province")
        }
        agency = agency_named(rows, text)
        # Spelt out, so that midnight or an event in between does not move the day.
        asked |= {"as_of": figures["as_of"], "definition": figures["definition"]}
        if with_dossiers is not None:
            asked["with_dossiers"] = str(with_dossiers).lower()
        answer = await _get(
            session, worker, f"/api/v1/agencies/{_segment(agency.code)}/services", asked
        )
    return {"behind": figures["behind"], **rows[agency]}, answer


def _segment(code: str) -> str:
    """``code`` as one segment of a path, also one that is only dots."""
    quoted = quote(code, safe="")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")


async def _get(
    session: aiohttp.ClientSession, worker: URL, path: str, asked: dict[str, str]
) -> Any:
    """The answer's body. Raises ``Failure`` with the reason where there is none."""
    url = URL(f"{str(worker).rstrip('/')}{path}", encoded=True)
    try:
        async with session.get(url.with_query(asked)) as answer:
            status = answer.status
            body = await answer.json(content_type=None)
    except TimeoutError as error:
        raise Failure(
            f"{worker} does not answer within {_ANSWER_SECONDS:g} s (HOSO_URL)"
        ) from error
    except aiohttp.ClientError as error:
        raise Failure(f"no worker answers at {worker}: {_reason(error)} (HOSO_URL)") from error
    except ValueError as error:  # also what is no UTF-8
        raise Failure(f"{worker} is no worker of hoso: no JSON at {path} (HOSO_URL)") from error
    if status == 200:
        return body
    said = body.get("error") if isinstance(body, dict) else None
    raise Failure(f"{worker} answers {status}: {said or 'no reason given'}")


def _reason(error: aiohttp.ClientError) -> str:
    number = getattr(getattr(error, "os_error", None), "errno", None)
    return os.strerror(number).lower() if number else str(error) or type(error).__name__


def _print_table(
    figures: dict[str, Any], answer: dict[str, Any], with_dossiers: bool | None
) -> None:
    services = answer["services"]
    used, listed = figures["services_with_dossiers"], figures["services_listed"]
    title = (
        f"{figures['scope']} {figures['name']}: {used:,} of {listed:,} services have online "
        f"dossiers ({percent(ratio(used, listed))} %), {answer['period']['kind']} to "
        f"{answer['as_of']}, {answer['definition']}{lacks(figures['behind'])}"
    )
    say(title)
    print_first_that_fits(_table(services, *narrower) for narrower in _NARROWER)
    which = {None: "", True: " with online dossiers", False: " without online dossiers"}
    noun = "service" if len(services) == 1 else "services"
    say(f"{len(services):,} {noun}{which[with_dossiers]}")


# What a narrower terminal goes without, in this order, and how long names may be.
_NARROWER: tuple[tuple[frozenset[str], int], ...] = (
    (frozenset(), 100),
    (frozenset(), 60),
    (frozenset(), 40),
    (frozenset(), 24),
    (frozenset({"first day"}), 24),
    (frozenset({"first day", "last day"}), 24),
    (frozenset({"first day", "last day"}), 12),
    (frozenset({"first day", "last day", "name"}), 0),
)


def _table(services: list[dict[str, Any]], without: frozenset[str], longest: int) -> Table:
    table = Table(
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    heads = [
        head
        for head in ("code", "name", "level", "online dossiers", "first day", "last day")
        if head not in without
    ]
    for head in heads:
        number = head in ("level", "online dossiers")
        table.add_column(head, no_wrap=True, justify="right" if number else "left")
    for service in services:
        cells = {
            "code": service["code"],
            "name": cut(service["name"] or NOTHING, longest),
            "level": str(service["level"]),
            "online dossiers": f"{service['online_dossiers']:,}",
            "first day": service["first_day"] or NOTHING,
            "last day": service["last_day"] or NOTHING,
        }
        table.add_row(*(cells[head] for head in heads))
    return table
