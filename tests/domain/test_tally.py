"""Dossiers put into a ledger together leave it as they would one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.dossier import Contribution, contribution
from streams.domain.ledger import AgencyLedger
from streams.domain.tally import Tally
from tests.domain.register import Register
from tests.domain.worlds import World, worlds


def _state(ledger: AgencyLedger) -> Any:
    """All that later changes of the ledger depend on, and every cell that is not zero."""
    months = {number: month.rows() for number, month in ledger.months.items() if any(month.rows())}
    totals = {number: month.totals for number, month in ledger.months.items() if number in months}
    services = {
        code: (s.listings, s.spans, s.level4, s.online, s.firsts, s.resolved)
        for code, s in ledger.services.items()
    }
    return months, totals, services


def _put_in(ledger: AgencyLedger, contributions: list[Contribution]) -> None:
    tally = Tally()
    tally.count(contributions)
    for _ in ledger.add(tally):
        pass


@given(worlds(), st.integers(0, 100), st.booleans())
def test_a_tally_adds_what_its_dossiers_add_one_by_one(
    world: World, alone: int, listed_first: bool
) -> None:
    """Also to a ledger that holds others, and whether the services are listed before or after."""
    register = Register(world.events)
    assert register.ledgers
    for agency in register.ledgers:
        found = [contribution(d) for (a, _), d in register.dossiers.items() if a == agency]
        counted = [c for c in found if c is not None]
        listings = {code: s for (a, code), s in register.services.items() if a == agency}
        together, apart = AgencyLedger(), AgencyLedger()
        for code, service in listings.items():
            apart.relist(code, service)
            if listed_first:
                together.relist(code, service)
        for c in counted:
            apart.replace(None, c)
        for c in counted[:alone]:
            together.replace(None, c)
        _put_in(together, counted[alone:])
        for code, service in listings.items():
            together.relist(code, service)
        assert _state(together) == _state(apart)


@given(worlds())
def test_dossiers_put_in_together_can_be_taken_out_one_by_one(world: World) -> None:
    register = Register(world.events)
    for agency in register.ledgers:
        found = [contribution(d) for (a, _), d in register.dossiers.items() if a == agency]
        counted = [c for c in found if c is not None]
        ledger = AgencyLedger()
        _put_in(ledger, counted)
        for c in counted:
            ledger.replace(c, None)
        months, _, services = _state(ledger)
        assert months == {}
        assert all(state[3:] == (({}, {}), ({}, {}), {}) for state in services.values())
