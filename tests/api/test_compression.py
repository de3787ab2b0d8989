"""``/metrics`` is compressed for whoever takes gzip: 91 agencies are most of a megabyte of text."""

from __future__ import annotations

import gzip

import aiohttp
import pytest

from tests.api.conftest import Connect
from tests.api.world import World


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip;q=0.5, br", True),
        ("br, gzip; q=1.0", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, identity", False),
        ("deflate", False),
        ("identity", False),
        ("pgzip2", False),
        ("", False),
        (None, False),
    ],
)
@pytest.mark.parametrize("kind", ["text/plain", "application/openmetrics-text"])
async def test_metrics_are_compressed_for_whoever_takes_gzip(
    connect: Connect,
    example: World,
    kind: str,
    accepted: str | None,
    compressed: bool,
) -> None:
    client = await connect(example)
    url = client.make_url("/metrics")
    headers = {"Accept": kind} | ({} if accepted is None else {"Accept-Encoding": accepted})
    # One that leaves bodies as they came, and asks for no compression by itself.
    async with aiohttp.ClientSession(
        auto_decompress=False, skip_auto_headers={"Accept-Encoding"}
    ) as session:
        plain = await (await session.get(url, headers={"Accept": kind})).read()
        answer = await session.get(url, headers=headers)
        body = await answer.read()
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(kind)
    # A cache on the way may not give one client's answer to another.
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert int(answer.headers["Content-Length"]) == len(body)
    if compressed:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len(body) < len(plain) / 4
        body = gzip.decompress(body)
    else:
        assert "Content-Encoding" not in answer.headers
    assert _figures(body) == _figures(plain)


def _figures(text: bytes) -> list[str]:
    """All but what moves between two scrapes."""
    lines = text.decode().splitlines()
    assert len(lines) > 100
    return [line for line in lines if "_seconds" not in line]
