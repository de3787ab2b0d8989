"""Who has not been answered for a session timeout must not think that it owns anything."""

from __future__ import annotations

from streams.runtime.heartbeat import Heartbeat


class Coordinator:
    answers = True

    async def _do_heartbeat(self) -> bool:
        return self.answers


async def test_a_process_is_in_touch_for_one_session_after_the_last_answer() -> None:
    now = 100.0
    heartbeat = Heartbeat(6.0, lambda: now)
    assert heartbeat.in_touch
    coordinator = Coordinator()
    heartbeat.attach(coordinator)
    now = 106.0
    assert heartbeat.in_touch
    assert await coordinator._do_heartbeat()
    now = 112.0
    assert heartbeat.in_touch
    coordinator.answers = False
    assert not await coordinator._do_heartbeat()
    now = 112.1
    assert not heartbeat.in_touch


async def test_a_new_assignment_is_an_answer_too() -> None:
    now = 0.0
    heartbeat = Heartbeat(6.0, lambda: now)
    coordinator = Coordinator()
    heartbeat.attach(coordinator)
    now = 90.0
    assert not heartbeat.in_touch
    heartbeat.attach(coordinator)
    assert heartbeat.in_touch
    assert await coordinator._do_heartbeat()
