"""What observation costs and misses."""

from __future__ import annotations

from rehearse.model.waits import ObserverCost

GAP_LIMIT_NS = 500_000_000  # twice the longest time between samples that is meant to be
# Somebody who waits is suspected after 20 ms and looked for 25 ms after the last look at most, or after 45 ms
# where somebody always is suspected: with no longer pause than this in between, a wait of 100 ms is seen.
LAPSE_LIMIT_NS = 50_000_000
_MOST_GAPS = 1_000


class CostMeter:
    """Told of every sample, adds up. A gap is a stretch of more than GAP_LIMIT_NS without a good sample, a
    lapse one of more than LAPSE_LIMIT_NS in which the observer could not even decide whether to take one.
    """

    def __init__(self, started_ns: int) -> None:
        self._started_ns = started_ns
        self._last_good_ns = started_ns
        self._samples = 0
        self._failed = 0
        self._busy_ns = 0
        self._max_gap_ns = 0
        self._gaps: list[tuple[int, int]] = []
        self._awake_ns = started_ns
        self._lapses: list[tuple[int, int]] = []
        self._lapsed_ns = 0

    def awake(self, now_ns: int) -> None:
        """The observer runs, and may look at the server if it wants to."""
        if now_ns - self._awake_ns > LAPSE_LIMIT_NS:
            self._lapsed_ns += now_ns - self._awake_ns
            if self._lapses and self._lapses[-1][1] == self._awake_ns:
                self._lapses[-1] = self._lapses[-1][0], now_ns
            elif len(self._lapses) < _MOST_GAPS:
                self._lapses.append((self._awake_ns, now_ns))
        self._awake_ns = now_ns

    def succeeded(self, asked_ns: int, ended_ns: int) -> None:
        """A sample that shows the server as it was at `asked_ns` or a little later."""
        self._samples += 1
        self._busy_ns += ended_ns - asked_ns
        self._seen_at(asked_ns)

    def failed(self, started_ns: int, ended_ns: int) -> None:
        """A question that was not answered."""
        self._failed += 1
        self._busy_ns += ended_ns - started_ns

    def cost(self, now_ns: int) -> ObserverCost:
        """The sum; the stretch from the last good sample to `now_ns` counts."""
        self._seen_at(now_ns)
        self.awake(now_ns)
        return ObserverCost(
            samples=self._samples,
            busy_ns=self._busy_ns,
            elapsed_ns=now_ns - self._started_ns,
            max_gap_ns=self._max_gap_ns,
            gap_limit_ns=GAP_LIMIT_NS,
            gaps=tuple(self._gaps),
            failed_samples=self._failed,
            lapses=tuple(self._lapses),
            lapsed_ns=self._lapsed_ns,
            lapse_limit_ns=LAPSE_LIMIT_NS,
        )

    def _seen_at(self, now_ns: int) -> None:
        gap_ns = now_ns - self._last_good_ns
        self._max_gap_ns = max(self._max_gap_ns, gap_ns)
        if gap_ns > GAP_LIMIT_NS and len(self._gaps) < _MOST_GAPS:
            self._gaps.append((self._last_good_ns, now_ns))
        self._last_good_ns = now_ns
