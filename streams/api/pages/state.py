"""What a page says before any figure: as of when, whose, and what they lack.

A figure that is recovering, incomplete or without data is never shown as 0 or as whole (contract,
section 9): which agencies that is said of is found out here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from streams.api.worker_view import WorkerView
from streams.domain.calendar import ZONE, Period, first_day_of_month, month_and_day
from streams.domain.indicators import GROUPS, NATIONAL, Agency
from streams.domain.ledger import Months
from streams.domain.names import in_order
from streams.domain.targets import GROUP_OF
from streams.kafka.partitioner import partition_for
from streams.state.partition import NOT_SEEN, Seen

SILENT_MS = 3 * 86_400_000
"""An agency that has sent nothing for so long is said to be silent; as the alert has it."""

CATCHING_UP_RECORDS = 1_000
"""Fewer records behind are what is under way at any moment while events stream in."""


@dataclass(frozen=True)
class State:
    """What is to be said of the figures of a moment."""

    period: Period
    definition: str
    behind: int | None
    """Records that the figures lack; None if it can't be told."""
    agencies: Mapping[str, Agency]
    seen: Mapping[str, Seen]
    starting: bool
    """The worker has not been given its partitions yet."""
    recovering: list[Agency]
    """Whose partition nobody shows the figures of: what is known is what was published last."""
    unheard: list[Agency]
    """Who has sent nothing ever."""
    silent: list[Agency]
    """Who has sent nothing for days."""
    last_event: int | None
    """Of any agency, in ms since the epoch."""
    today: int
    first_day: int | None
    """The first day with anything on it; None: there is none."""
    now: datetime

    @property
    def all_silent(self) -> bool:
        return bool(self.silent) and len(self.silent) + len(self.unheard) == len(self.agencies)

    @property
    def future(self) -> bool:
        return self.period.end > self.today

    @property
    def before_first(self) -> bool:
        return self.first_day is not None and self.period.end < self.first_day

    @property
    def catching_up(self) -> bool:
        """Whether so much is behind that it is more than what happens to be under way."""
        return self.behind is not None and self.behind >= CATCHING_UP_RECORDS

    @property
    def warned(self) -> bool:
        """Whether there is anything to be warned of."""
        return bool(
            not self.agencies
            or self.first_day is None
            or self.starting
            or self.recovering
            or self.unheard
            or self.silent
            or self.catching_up
            or self.future
            or self.before_first
        )

    @property
    def agencies_in(self) -> int:
        """How many agencies the figures are whole of, as far as is known."""
        return len(self.agencies) - len({*self.unheard, *self.recovering})

    def of(self, scope: str) -> str | None:
        """What is the matter with the figures of an agency or a group: the key of a text."""
        if scope in GROUPS:
            members = [a for a in self.agencies.values() if self._belongs(a, scope)]
            if all(agency in self.unheard for agency in members):
                return "unheard"
            missing = any(agency in self.recovering for agency in members)
            return "incomplete" if missing or self.starting else None
        agency = self.agencies.get(scope)
        if agency is None:
            return None
        if agency in self.recovering:
            return "recovering"
        if agency in self.unheard:
            return "unheard"
        if agency in self.silent and not self.all_silent:
            return "silent"
        return None

    def seen_at(self, scope: str) -> int | None:
        """The broker's time of the last accepted event of an agency or a group."""
        if scope not in GROUPS:
            return self.seen.get(scope, NOT_SEEN).at
        stamps = [
            self.seen.get(agency.code, NOT_SEEN).at
            for agency in self.agencies.values()
            if self._belongs(agency, scope)
        ]
        return max((at for at in stamps if at is not None), default=None)

    @staticmethod
    def _belongs(agency: Agency, group: str) -> bool:
        return group in (NATIONAL, GROUP_OF[agency.kind])


def state_of(
    worker: WorkerView,
    period: Period,
    definition: str,
    behind: int | None,
    now: datetime,
) -> State:
    """The state as it is now; on the event loop, for it reads what events change."""
    settings, readiness = worker.settings, worker.readiness()
    agencies = dict(worker.reference.agencies)
    seen, months = worker.register.seen(), worker.register.months()
    ordered = sorted(agencies.values(), key=lambda agency: (agency.kind, in_order(agency.name)))
    own, hidden = set(readiness.partitions), set(readiness.recovering)

    def away(agency: Agency) -> bool:
        number = partition_for(agency.code.encode(), settings.partitions)
        return number in hidden or (number not in own and worker.owner_url(number) is None)

    recovering = [agency for agency in ordered if away(agency)]
    heard = {
        agency.code: at
        for agency in ordered
        if (at := seen.get(agency.code, NOT_SEEN).at) is not None
    }
    # One whose services are listed but whose events are not known of is in the months all the same.
    unheard = [
        agency for agency in ordered if agency.code not in heard and not months.get(agency.code)
    ]
    now_ms = int(now.timestamp() * 1000)
    today = worker.as_of() if settings.as_of == "today" else now.astimezone(ZONE).toordinal()
    return State(
        period=period,
        definition=definition,
        behind=behind,
        agencies=agencies,
        seen=seen,
        starting=not readiness.ready and not own,
        recovering=recovering,
        unheard=unheard,
        silent=[
            agency
            for agency in ordered
            if agency.code in heard and now_ms - heard[agency.code] > SILENT_MS
        ],
        last_event=max(heard.values(), default=None),
        today=today,
        first_day=_first_day([months[code] for code in agencies if months.get(code)], period.end),
        now=now,
    )


def _first_day(known: Sequence[Months], as_of: int) -> int | None:
    """The first day with a cell that is not 0, of any of them; of its month, before ``as_of``."""
    numbers = sorted({number for months in known for number in months})
    if numbers and numbers[0] < month_and_day(as_of)[0]:
        return first_day_of_month(numbers[0])
    for number in numbers:
        cells = [
            cells for months in known if number in months for cells in months[number].cells.values()
        ]
        days = [at for column in cells for at, amount in enumerate(column) if amount]
        if days:
            return first_day_of_month(number) + min(days) - 1
    return None
