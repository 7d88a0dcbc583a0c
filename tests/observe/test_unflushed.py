"""When the disk did not take the log."""

from __future__ import annotations

from rehearse.engines.postgres.activity import ServerState
from rehearse.observe.resources import ResourceLog, Unflushed

MS = 1_000_000


def state(place: int, *, flushing: int) -> ServerState:
    return ServerState(place, 1, 0, None, place, flushing)


def test_a_flush_that_does_not_end_is_a_standstill_from_look_to_look() -> None:
    log = Unflushed()
    for ms, place, flushing in ((0, 7, 0), (50, 8, 1), (100, 8, 3), (150, 8, 2), (200, 9, 1), (250, 10, 1)):
        log.seen(state(place, flushing=flushing), ms * MS, (ms + 2) * MS)
    assert log.spans() == ((52 * MS, 150 * MS),)


def test_a_log_that_nobody_waits_for_or_that_moves_is_none() -> None:
    idle, busy, between = Unflushed(), Unflushed(), Unflushed()
    for ms in range(0, 1000, 50):
        idle.seen(state(7, flushing=0), ms * MS, ms * MS)
        busy.seen(state(ms, flushing=9), ms * MS, ms * MS)
        between.seen(state(7, flushing=ms // 50 % 2), ms * MS, ms * MS)
    assert idle.spans() == busy.spans() == between.spans() == ()


class Stuck:
    """A server whose log does not move though two sessions wait for it."""

    closed = False
    looks = 0

    def state(self) -> ServerState:
        self.looks += 1
        return state(7, flushing=2)

    def disk_bytes(self) -> tuple[int, int | None]:
        return 1, None


def test_the_log_is_looked_at_more_often_while_nobody_is_answered() -> None:
    stuck, log = Stuck(), ResourceLog()
    for ms in range(0, 1000, 10):
        log.take(stuck, ms * MS, suspicious=ms < 500)
    assert stuck.looks == 10 + 2
    assert len(log.samples()) == 4
    assert len(log.unflushed()) == 1
