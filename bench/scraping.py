"""A scraper as a process of its own: what /metrics shows of each agency, and when."""

from __future__ import annotations

import http.client
import multiprocessing
import random
import re
import time
from collections import Counter
from multiprocessing.connection import Connection
from typing import NamedTuple, Self

_SUBMITTED = re.compile(
    rb'^hoso_dossiers_submitted\{agency="([^"]+)"[^}]*period="year"\} ([0-9.e+]+)$', re.M
)


class Scrape(NamedTuple):
    """One answer of /metrics. Times are ``time.monotonic``, the same in all processes (Linux)."""

    asked: float
    answered: float
    submitted: dict[str, int]
    """Agency → dossiers submitted in the year, all channels."""


def read_submitted(body: bytes) -> dict[str, int]:
    """The year's submitted dossiers by agency, from the text of /metrics."""
    found: Counter[str] = Counter()
    for agency, value in _SUBMITTED.findall(body):
        found[agency.decode()] += int(float(value))
    return dict(found)


class Scraper:
    """Scrapes one worker again and again, with half to one and a half ``pause`` seconds between."""

    def __init__(self, port: int, pause: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_scrape, args=(port, pause, there), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        if not self._here.poll(60):
            raise TimeoutError("the scraper did not start")
        self._here.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def stop(self) -> list[Scrape]:
        """End it and return every scrape."""
        self._here.send(None)
        if not self._here.poll(60):
            raise TimeoutError("the scraper did not stop")
        scrapes: list[Scrape] = self._here.recv()
        return scrapes


def _scrape(port: int, pause: float, pipe: Connection) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    scrapes: list[Scrape] = []
    pipe.send(None)
    rng = random.Random(2022)
    while not pipe.poll(pause * (0.5 + rng.random())):
        asked = time.monotonic()
        connection.request("GET", "/metrics")
        body = connection.getresponse().read()
        answered = time.monotonic()
        scrapes.append(Scrape(asked, answered, read_submitted(body)))
    pipe.send(scrapes)
