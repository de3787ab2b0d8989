"""Makes the scheduled faults happen, each at its time, and undoes those that last."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

from tests.chaos.brokers import Brokers
from tests.chaos.mischief import Mischief
from tests.chaos.proxy import Link
from tests.chaos.schedule import Fault
from tests.chaos.workers import Place, Workers

_FLIPS = 12
_STARTED_SECONDS = 1.0
"""A worker that is to be killed again is given so long to get going."""


class Faults:
    """Everything that goes wrong on purpose."""

    def __init__(
        self,
        workers: Workers,
        brokers: Brokers,
        mischief: Mischief,
        group: str,
        topics: list[str],
        say: Callable[[str], None],
    ) -> None:
        self._workers = workers
        self._brokers = brokers
        self._mischief = mischief
        self._group = group
        self._topics = topics
        self._say = say
        self._one_broker_at_a_time = asyncio.Lock()
        self.done: Counter[str] = Counter()
        self.coordinators_killed = 0
        self.failed: list[str] = []
        """Faults that could not be made or mended."""
        self.under_way: Counter[str] = Counter()

    async def run(self, schedule: Iterable[Fault]) -> None:
        """All of it; returns when everything that fails for a time is whole again."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for fault in schedule:
                await asyncio.sleep(max(0.0, began + fault.at - time.monotonic()))
                tasks.create_task(self._one(fault))

    async def _one(self, fault: Fault) -> None:
        self.under_way[fault.kind] += 1
        try:
            await getattr(self, f"_{fault.kind}")(fault)
        except Exception as error:  # a long campaign goes on, and says so at its end
            self.failed.append(f"{fault.kind} at {fault.at:.0f} s: {error!r}")
            self._say(self.failed[-1])
        finally:
            self.under_way[fault.kind] -= 1

    async def _victim(self, target: int, spared: Iterable[int] = ()) -> Place:
        """A running worker that is not frozen and whose process is none of ``spared``."""
        while True:
            running = [
                place
                for place in self._workers.running()
                if place.process is not None and place.process.pid not in spared
            ]
            if running:
                return running[target % len(running)]
            await asyncio.sleep(0.1)

    async def _kill(self, fault: Fault) -> None:
        killed: set[int] = set()
        for target in fault.targets:
            if len(killed) >= len(self._workers.running()):
                # Fewer run than are to be killed: the next one dies while it starts or recovers.
                await self._victim(target, killed)
                await asyncio.sleep(_STARTED_SECONDS)
            place = await self._victim(target, killed)
            assert place.process is not None
            killed.add(place.process.pid)
            self._workers.kill(place)
            self.done["kill"] += 1

    async def _scale(self, fault: Fault) -> None:
        self._workers.leave_by = fault.detail
        self._workers.wanted = fault.targets[0]
        self.done["scale"] += 1

    async def _broker(self, fault: Fault) -> None:
        async with self._one_broker_at_a_time:
            node = fault.targets[0]
            if node < 0:
                node = await self._brokers.coordinator(self._group)
            self._brokers.kill(node)
            self.coordinators_killed += fault.targets[0] < 0
            self.done["broker"] += 1
            await asyncio.sleep(fault.seconds)
            await self._brokers.revive(node, self._topics)

    async def _freeze(self, fault: Fault) -> None:
        place = await self._victim(fault.targets[0])
        self._workers.freeze(place)
        self.done["freeze"] += 1
        await asyncio.sleep(fault.seconds)
        self._workers.thaw(place)

    async def _wipe(self, fault: Fault) -> None:
        place = await self._victim(fault.targets[0])
        place.held = True
        self._workers.kill(place)
        shutil.rmtree(place.data, ignore_errors=True)
        self.done["wipe"] += 1
        await asyncio.sleep(fault.seconds)
        place.held = False

    async def _damage(self, fault: Fault) -> None:
        """Flip bits in what a killed worker has on disk, wherever there are stores by then."""
        while True:
            places = [p for p in self._workers.running(frozen=True) if stores(p.data)]
            if places:
                break
            await asyncio.sleep(0.1)
        place = places[fault.targets[0] % len(places)]
        place.held = True
        if place.frozen:
            self._workers.thaw(place)
        self._workers.kill(place)
        flip_bits(stores(place.data), Random(fault.at))
        self.done["damage"] += 1
        await asyncio.sleep(fault.seconds)
        place.held = False

    async def _abort(self, fault: Fault) -> None:
        await self._mischief.abort(fault.targets[0], fault.seconds)
        self.done["abort"] += 1

    async def _refuse(self, fault: Fault) -> None:
        await self._mischief.refuse(fault.targets[0])
        self.done["refuse"] += 1

    async def _hostile(self, fault: Fault) -> None:
        await self._mischief.hostile(fault.targets[0])
        self.done["hostile"] += 1

    async def _cut(self, fault: Fault) -> None:
        place = await self._victim(fault.targets[0])
        ways = _ways(place, fault.node)
        for way in ways:
            way.cut("hang" if fault.detail == "hang" else "reset")
        self.done["cut"] += 1
        await asyncio.sleep(fault.seconds)
        for way in ways:
            way.mend()

    async def _delay(self, fault: Fault) -> None:
        place = await self._victim(fault.targets[0])
        ways = _ways(place, fault.node)
        for way in ways:
            way.delay = fault.amount
        self.done["delay"] += 1
        await asyncio.sleep(fault.seconds)
        for way in ways:
            way.mend()

    async def _clock(self, fault: Fault) -> None:
        place = await self._victim(fault.targets[0])
        self._workers.move_clock(place, fault.amount)
        self.done["clock"] += 1
        await asyncio.sleep(fault.seconds)
        self._workers.move_clock(place, 0.0)


def stores(data: Path) -> list[Path]:
    """The files of the stores of a worker, those with something in them."""
    found = []
    for path in sorted(data.glob("*/dossiers/*[0-9]/*")):
        with contextlib.suppress(FileNotFoundError):  # a store renames and deletes its files
            if path.stat().st_size and not path.name.startswith(("LOG", "LOCK")):
                found.append(path)
    return found


def flip_bits(paths: list[Path], random: Random) -> None:
    """Change some bits of some files, which nobody has open."""
    for path in random.sample(paths, min(3, len(paths))):
        data = bytearray(path.read_bytes())
        for _ in range(_FLIPS):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        path.write_bytes(data)


def _ways(place: Place, node: int | None) -> list[Link]:
    return place.ways if node is None else [place.ways[node % len(place.ways)]]
