"""What the readers of the measurement ask for is what is served, and what they find is said."""

from __future__ import annotations

import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from multidict import MultiDict
from yarl import URL

from bench.readers import KINDS, lines, public, random_path
from streams.api.pages.questions import AgencyQuery, ScoreboardQuery, WhyQuery
from streams.api.queries import IndicatorsQuery, read


def test_every_question_is_a_good_one_and_all_kinds_are_asked() -> None:
    rng = random.Random(1)
    asked = [random_path(rng, ["H26", "H56"]) for _ in range(300)]
    assert {kind for kind, _ in asked} == set(KINDS)
    models = {"/": ScoreboardQuery, "/why": WhyQuery, "/api/v1/indicators": IndicatorsQuery}
    for _, path in asked:
        url = URL(path)
        read(models.get(url.path, AgencyQuery), MultiDict(url.query))
    assert len({path for _, path in asked}) > 290


def test_readers_time_every_answer_and_count_what_is_refused() -> None:
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(503 if self.path.startswith("/api") else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with public([server.server_port], 4, 0.02) as found:
            until = time.monotonic() + 60
            while not any(path.startswith("/api") for path in asked) or len(asked) < 20:
                assert time.monotonic() < until
                time.sleep(0.01)
    finally:
        server.shutdown()
    assert found["page"]["n"] > 0
    assert set(found["wrong"]) == {"503 /api/v1/indicators"}
    assert found["wrong"]["503 /api/v1/indicators"] == found["api"]["n"]


def test_the_result_says_what_was_answered_and_how_fresh_the_worker_was() -> None:
    one = {"p50_ms": 10.0, "p99_ms": 20.0, "max_ms": 30.0, "n": 40}
    fresh = {"p50_ms": 70.0, "p99_ms": 190.0, "events_per_second": 5000, "seconds": 60.0}
    shown = lines(
        {
            "readers": 200, "webs": 2, "pause_seconds": 10.0, "load_before": 0.5,
            "without": {"freshness": fresh}, "with": {"freshness": fresh, "page": one, "wrong": {}},
        }
    )  # fmt: skip
    assert "page: p50 10 ms, p99 20 ms, max 30 ms of 40" in shown
    assert "refused or failed: none" in shown
    assert "without readers 70 and 190 ms" in shown[-1]
