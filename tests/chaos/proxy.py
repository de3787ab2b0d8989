"""The network between a worker and its brokers: a TCP relay that can be cut and slowed down.

Brokers tell clients where brokers are (Metadata, FindCoordinator), and clients would then go round
the relay. Those answers hold ``127.0.0.1`` followed by the port as four bytes, on either broker and
in every version, so the relay writes its own port there: the same length, nothing else changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Mapping, Sequence
from typing import Literal

from streams.kafka.broker import HOST

_WHOLE = 1 << 19
"""Bigger answers are not of the kind that is rewritten; they pass in pieces."""
_PIECE = 1 << 16


class Link:
    """The way from one worker to one broker."""

    def __init__(self, upstream: int) -> None:
        """``upstream``: the broker's port on this machine."""
        self.upstream = upstream
        self.port = 0
        self.delay = 0.0
        """Seconds that every piece is held up, each way."""
        self.carried = 0
        """Bytes passed on."""
        self.rewrites: Mapping[bytes, bytes] = {}
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.mend()
        self._abort()
        if self._server is not None:
            self._server.close()

    def cut(self, how: Literal["hang", "reset"]) -> None:
        """``hang``: nothing passes and nobody is told. ``reset``: connections end, none begins."""
        if how == "hang":
            self._open.clear()
        else:
            self._refusing = True
            self._abort()

    @property
    def disturbed(self) -> bool:
        """Whether anything is wrong with it."""
        return self._refusing or not self._open.is_set() or self.delay > 0

    def mend(self) -> None:
        """As if nothing had been; what was held up passes now."""
        self._open.set()
        self._refusing = False
        self.delay = 0.0

    def _abort(self) -> None:
        for writer in list(self._writers):
            with contextlib.suppress(RuntimeError):
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection(HOST, self.upstream)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, back}
        self._writers |= ends
        pumps = [
            asyncio.create_task(self._requests(reader, back)),
            asyncio.create_task(self._answers(there, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in ends:
                end.transport.abort()
            self._writers -= ends
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _requests(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                await self._pass(piece, to)

    async def _answers(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(4)
                (size,) = struct.unpack(">i", head)
                if size <= _WHOLE:
                    body = await reader.readexactly(size)
                    for real, ours in self.rewrites.items():
                        if real in body:
                            body = body.replace(real, ours)
                    await self._pass(head + body, to)
                    continue
                await self._pass(head, to)
                while size:
                    piece = await reader.read(min(size, _PIECE))
                    if not piece:
                        return
                    size -= len(piece)
                    await self._pass(piece, to)

    async def _pass(self, piece: bytes, to: asyncio.StreamWriter) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._open.wait()
        to.write(piece)
        await to.drain()
        self.carried += len(piece)


async def links(upstreams: Sequence[int]) -> list[Link]:
    """One worker's ways to all brokers, started, so that it never learns of another way."""
    made = [Link(port) for port in upstreams]
    for link in made:
        await link.start()
    rewrites = {_address(link.upstream): _address(link.port) for link in made}
    for link in made:
        link.rewrites = rewrites
    return made


def _address(port: int) -> bytes:
    return HOST.encode() + struct.pack(">i", port)
