"""``python -m tests.mutants``: apply each mutant to a copy of the tree and run the fast tests.

Exit code 1 if a mutant survives. Each replaces one piece of code that must stand exactly once in
its file, so a mutant that no longer fits is an error, not a pass.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
FAST = (
    "tests/processing",
    "tests/kafka/test_isolation.py",
    "tests/runtime/test_faust_driver.py",
    "tests/views",
    "tests/state",
    "tests/metrics",
    "tests/api",
    "tests/domain",
)
"""Tests without a broker that hold what no fault may change; the tests of the mutant's own room
come first, because they find it soonest."""
COPIED = ("streams", "schemas", "tests", "docs", "pyproject.toml", "README.md")


class Mutant(NamedTuple):
    """One fault: ``old`` becomes ``new`` in ``path``."""

    name: str
    path: str
    old: str
    new: str

    @property
    def room(self) -> str:
        """The directory under ``streams``, or ``schemas``."""
        package, room, *_ = self.path.split("/")
        return room if package == "streams" else package


MUTANTS = (
    Mutant(
        "a seek in another thread than the one that fetches",
        "streams/runtime/faust_driver.py",
        "        await self._thread.call_thread(self._thread.seek_here, partition, offset)\n",
        "        self._thread.seek(partition, offset)\n",
    ),
    Mutant(
        "increment instead of derive",
        "streams/state/merge.py",
        "                old = None if before is UNKNOWN else contribution(before)\n",
        "                old = None\n",
    ),
    Mutant(
        "checkpoint before the rows are acknowledged",
        "streams/processing/intake.py",
        "                batches = await asyncio.gather(*await handed_over)\n",
        "                cursor.checkpoint = checkpoint\n"
        "                batches = await asyncio.gather(*await handed_over)\n",
    ),
    Mutant(
        "checkpoint in the log before its rows",
        "streams/processing/chunk.py",
        "    rows.append(checkpoint_row(topic_name, checkpoint))\n",
        "    rows.insert(0, checkpoint_row(topic_name, checkpoint))\n",
    ),
    Mutant(
        "skip if seen",
        "streams/state/merge.py",
        "            rows[key] = encode_dossier(state)\n            before = self._before[key]\n",
        "            before = self._before[key]\n"
        "            if state is before:\n"
        "                continue\n"
        "            rows[key] = encode_dossier(state)\n",
    ),
    Mutant(
        "off-by-one fence",
        "streams/processing/intake.py",
        "        if first > position:\n",
        "        if first > position + 1:\n",
    ),
    Mutant(
        "records that are handed over again processed twice",
        "streams/processing/intake.py",
        "            new = [record for record in fetched.records if record.offset >= position]\n",
        "            new = fetched.records\n",
    ),
    Mutant(
        "a log that was cut is passed over",
        "streams/processing/intake.py",
        "        return cursor.truncated or (last is not None",
        "        return False and (last is not None",
    ),
    Mutant(
        "processing time for event time",
        "schemas/fast_path.py",
        "    at = instant_us(data.at)\n",
        "    at = (record.timestamp or 0) * 1000\n",
    ),
    Mutant(
        "last arrival wins",
        "streams/domain/dossier.py",
        "        if _rank(fact) < _rank(known):\n",
        "        if False:\n",
    ),
    Mutant(
        "swallowed exception",
        "streams/processing/intake.py",
        '            self._fatal(f"rows of a chunk of {topic} could not be written: {error!r}")\n'
        "            return False\n",
        "            pass\n",
    ),
    Mutant(
        "stale rows after revoke",
        "streams/processing/tasks.py",
        "        return task.running and self._in_touch()\n",
        "        return task.phase is not Phase.RESTORING and self._in_touch()\n",
    ),
    Mutant(
        "no wait for acks",
        "streams/processing/intake.py",
        "                batches = await asyncio.gather(*await handed_over)\n",
        "                await handed_over\n                batches = []\n",
    ),
    Mutant(
        "refused reference record not made good",
        "streams/processing/intake.py",
        "            await self._repair.make_good([tp.partition])\n",
        "",
    ),
    Mutant(
        "older reference value comes back",
        "streams/views/reference_rule.py",
        "        comes_back = best.event is None\n",
        "        comes_back = False\n",
    ),
    Mutant(
        "emptied month not published",
        "streams/state/partition.py",
        "            if row.cells.rows() != (cells.rows() if cells is not None else {}):\n",
        "            if cells and cells.rows() and row.cells.rows() != cells.rows():\n",
    ),
    Mutant(
        "ledgers kept apart from their rows",
        "streams/state/ledger_store.py",
        "        self._store.put_many(rows, beside, added=added)\n"
        "        self._save_some(ledgers)\n",
        "        self._store.put_many({}, beside)\n"
        "        self._store.put_many(rows, added=added)\n"
        "        self._save_some(ledgers)\n",
    ),
    Mutant(
        "a short scan trusted",
        "streams/state/stores.py",
        "                iterator.next()\n            iterator.status()\n",
        "                iterator.next()\n",
    ),
    Mutant(
        "rows that were lost not counted",
        "streams/state/stores.py",
        "        if count is not None and found != count:\n",
        "        if False:\n",
    ),
    Mutant(
        "writes missing from the middle",
        "streams/state/write_sequence.py",
        "            elif (span, first) != (self._span + 1, self.last + 1):\n",
        "            elif False:\n",
    ),
    Mutant(
        "a damaged chunk half processed",
        "streams/processing/tasks.py",
        "            task.partition.set_aside(str(damage))\n",
        "",
    ),
    Mutant(
        "saved ledgers of other rules trusted",
        "streams/state/ledger_store.py",
        "        if mark == self._fingerprint:\n",
        "        if mark is not None:\n",
    ),
    Mutant(
        "committed past what is written",
        "streams/processing/tasks.py",
        "            (topic, task.number): cursor.checkpoint.next\n",
        "            (topic, task.number): cursor.processed.next\n",
    ),
    Mutant(
        "the last record of a chunk not committed",
        "streams/processing/tasks.py",
        "            (topic, task.number): cursor.checkpoint.next\n",
        "            (topic, task.number): max(0, cursor.checkpoint.next - 1)\n",
    ),
    Mutant(
        "commits follow Faust's books",
        "streams/runtime/faust_driver.py",
        "    async def _commit_tps(self, *_: Any, **__: Any) -> bool:\n",
        "    async def _commit_what_is_ours(self, *_: Any, **__: Any) -> bool:\n",
    ),
    Mutant(
        "text of an earlier scrape",
        "streams/metrics/exposition.py",
        "            text = known.get(part)\n",
        "            text = next((t for p, t in known.items() if p[:3] == part[:3]), None)\n",
    ),
    Mutant(
        "records of aborted transactions counted",
        "streams/runtime/faust_driver.py",
        "        consumer = read_committed(super()._create_consumer(loop))\n",
        "        consumer = super()._create_consumer(loop)\n",
    ),
    Mutant(
        "a mark before its rows",
        "streams/processing/chunk.py",
        "        writes.months += marks({topic_name: checkpoint.next})\n",
        "        writes.months[:0] = marks({topic_name: checkpoint.next})\n",
    ),
    Mutant(
        "numerator outside the denominator",
        "streams/domain/ledger.py",
        "                listed = service.spans[index]\n",
        "                listed = [Span(1, 1 << 40)]\n",
    ),
)


def places(mutant: Mutant) -> int:
    """How often the code that the mutant replaces stands in its file: once, or it has moved."""
    path = ROOT / mutant.path
    return path.read_text(encoding="utf-8").count(mutant.old) if path.exists() else 0


def run(mutant: Mutant) -> tuple[str | None, float]:
    """The first test that catches the mutant, or None, and the seconds it took."""
    with tempfile.TemporaryDirectory(prefix="hoso-mutant-") as directory:
        copy = Path(directory)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, copy / name, ignore=ignored)
            else:
                shutil.copy(source, copy / name)
        target = copy / mutant.path
        text = target.read_text(encoding="utf-8")
        if places(mutant) != 1:
            raise SystemExit(
                f"mutant {mutant.name!r}: its place stands {places(mutant)} times in "
                f"{mutant.path}, expected once"
            )
        target.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        started = time.monotonic()
        # The copy's packages, not the installed ones, whatever the installation looks like.
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-x",
                "--no-header",
                *("-m", "not slow"),
                *("-p", "no:cacheprovider"),
                *sorted(FAST, key=lambda tests: not tests.startswith(f"tests/{mutant.room}")),
            ],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "CI": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - started
        if done.returncode == 0:
            return None, seconds
        caught = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
        if done.returncode != 1 or caught is None:
            raise SystemExit(f"mutant {mutant.name!r}: pytest failed to run\n{done.stdout[-2000:]}")
        return caught[1], seconds


def main() -> int:
    """Run every mutant (or those whose names are given); 1 if one survives."""
    wanted = set(sys.argv[1:])
    chosen = [mutant for mutant in MUTANTS if not wanted or mutant.name in wanted]
    survived = 0
    for mutant in chosen:
        caught, seconds = run(mutant)
        survived += caught is None
        print(f"{mutant.name:36} {caught or 'SURVIVED'}  ({seconds:.0f} s)", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} mutants caught")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
