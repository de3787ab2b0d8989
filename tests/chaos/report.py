"""The outcome for people: a table on the screen, the same in docs/reliability.md."""

from __future__ import annotations

from pathlib import Path
from statistics import quantiles

from streams.domain.percent import percent
from tests.chaos.campaign import Outcome

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
_NAMES = {
    "kill": "SIGKILL of a worker",
    "scale": "scaled between 1 and 3 workers",
    "broker": "SIGKILL of a broker",
    "freeze": "SIGSTOP of a worker",
    "wipe": "data directory deleted",
    "cut": "network cut",
    "delay": "network slowed down",
    "clock": "wall clock moved",
    "damage": "bits flipped in the stores of a worker",
    "abort": "transactions left open, then aborted",
    "refuse": "sets of refused registrations and targets",
    "hostile": "sets of huge, oddly named and packed records",
}


def _share(share: float) -> str:
    return f"{percent(*share.as_integer_ratio(), 1)}%"


def lines(outcome: Outcome, command: str) -> list[tuple[str, str]]:
    """What was done and found, as names and values."""
    profile, letters = outcome.profile, outcome.letters
    found = [
        ("campaign", f"{profile.name}: {outcome.brokers}, {outcome.store}"),
        ("command", command),
        ("seed", str(outcome.seed)),
        ("seconds of faults", f"{outcome.seconds:.0f}"),
        ("events sent", f"{outcome.sent:,} in {profile.partitions} partitions of 3 topics"),
        ("of these malformed", f"{letters.malformed:,}"),
        ("sent on the wrong partition", f"{letters.astray:,}"),
    ]
    for kind, name in _NAMES.items():
        if kind in outcome.faults:
            value = str(outcome.faults[kind])
            if kind == "broker":
                value += f" ({outcome.coordinators_killed} the group's coordinator)"
            if kind == "freeze":
                value += f" ({profile.freeze_seconds:g} s each)"
            found.append((name, value))
    again = letters.letters - letters.distinct_letters
    share = again / letters.distinct_letters if letters.distinct_letters else 0.0
    found += [
        ("worker processes started", str(outcome.starts)),
        ("recovery, kill to ready", recovery(outcome.recoveries)),
        ("killed again before ready", str(outcome.killed_before_ready)),
        ("time with every partition ready", _share(outcome.share_whole)),
        ("caught up after the last fault", f"{outcome.catch_up_seconds:.0f} s"),
        ("restart from the logs alone", f"{outcome.restart_seconds:.0f} s"),
        ("stores found damaged and rebuilt", str(outcome.rebuilt)),
        ("processed but not committed, at the end", str(outcome.uncommitted)),
        (
            "the same, longest on the way",
            f"{outcome.longest_uncommitted:.1f} s (in {outcome.commit_looks:,} looks, of workers "
            "left in peace)",
        ),
        ("hoso audit", outcome.audited or "not run"),
        (
            "reprocessed",
            f"about {share * letters.records:,.0f} events ({_share(share)}: dead letters "
            f"written more than once, {again:,} of {letters.distinct_letters:,})",
        ),
        ("looks at /metrics", f"{outcome.scrapes:,}"),
        (
            "longest with two publishers",
            f"{outcome.longest_overlap:.1f} s (of a frozen worker {outcome.longest_zombie:.1f} s)",
        ),
        ("figures compared", f"{outcome.comparison.figures:,}"),
        ("**differences**", f"**{len(outcome.comparison.differences)}**"),
        ("wrong dead letters", str(len(letters.problems))),
        ("broken invariants", str(len(outcome.violations))),
    ]
    for how, count in outcome.ended.items():
        found.append(("workers that ended by themselves", f"{count}: {how}"))
    return found


def recovery(seconds: list[float]) -> str:
    """Median, 95th percentile and greatest."""
    if len(seconds) < 2:
        return ", ".join(f"{s:.1f} s" for s in seconds) or "none"
    cuts = quantiles(seconds, n=20, method="inclusive")
    return (
        f"p50 {cuts[9]:.1f} s, p95 {cuts[18]:.1f} s, max {max(seconds):.1f} s "
        f"({len(seconds)} recoveries)"
    )


def text(outcome: Outcome, command: str) -> str:
    """The table, and the first of whatever is wrong."""
    rows = [(name.strip("*"), value.strip("*")) for name, value in lines(outcome, command)]
    width = max(len(name) for name, _ in rows)
    said = [f"{name:<{width}}  {value}" for name, value in rows]
    for title, wrong in (
        ("differences", outcome.comparison.differences),
        ("dead letters", outcome.letters.problems),
        ("invariants", outcome.violations),
    ):
        if wrong:
            said += ["", f"{title}:", *(f"  {line}" for line in wrong[:25])]
    return "\n".join(said)


def write(outcome: Outcome, command: str, document: Path = DOCUMENT) -> None:
    """Put the table between this campaign's markers. Raises ``ValueError`` without markers."""
    name = f"{outcome.profile.name}-{outcome.brokers}-{outcome.store}"
    begin, end = f"<!-- chaos {name} -->\n", f"<!-- /chaos {name} -->"
    page = document.read_text(encoding="utf-8")
    if begin not in page or end not in page:
        raise ValueError(f"{document} has no markers for {name}")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    table = ["| | |", "| --- | --- |"]
    table += [f"| {name} | {value.replace('|', '/')} |" for name, value in lines(outcome, command)]
    document.write_text(before + begin + "\n".join(table) + "\n" + end + after, encoding="utf-8")
