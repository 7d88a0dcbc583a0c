"""Two clocks compared: the server's, in which it says since when a session waits, and ours."""

from __future__ import annotations

from dataclasses import dataclass

# What a clock that is being set right by NTP may gain or lose on another: 500 parts in a million.
_DRIFT_DIVISOR = 2_000


@dataclass(frozen=True, slots=True)
class ClockBounds:
    """What has to be added to the server's time (in ns) to come to ours: `low_ns` to `high_ns`.

    Each question to the server that brings its time back narrows it, as the server read its clock after
    we asked and before we had the answer. Between questions the clocks may drift apart.
    """

    low_ns: int
    high_ns: int
    at_ns: int  # on our clock: when this was true

    @classmethod
    def of(cls, asked_ns: int, clock_us: int, answered_ns: int) -> ClockBounds:
        """What one question tells."""
        # the server's clock is cut to whole microseconds: it may have been one later
        return cls(asked_ns - (clock_us + 1) * 1_000, answered_ns - clock_us * 1_000, asked_ns)

    def narrowed(self, asked_ns: int, clock_us: int, answered_ns: int) -> ClockBounds:
        """What this and a later question tell together; the later one alone if a clock was set between."""
        new = ClockBounds.of(asked_ns, clock_us, answered_ns)
        slack = _drift(answered_ns - self.at_ns)
        low = max(new.low_ns, self.low_ns - slack)
        high = min(new.high_ns, self.high_ns + slack)
        return ClockBounds(low, high, asked_ns) if low <= high else new

    def not_after(self, server_us: int) -> int:
        """A time on our clock that is not after the server's `server_us`."""
        return server_us * 1_000 + self.low_ns

    def not_before(self, server_us: int, age_us: int) -> int:
        """A time on our clock not before the server's `server_us`, which was `age_us` ago."""
        return (server_us + 1) * 1_000 + self.high_ns + _drift(age_us * 1_000)


def _drift(span_ns: int) -> int:
    return max(0, span_ns) // _DRIFT_DIVISOR + 1
