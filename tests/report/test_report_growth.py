"""What the scale and the replica trials found, in words."""

from __future__ import annotations

import pytest

from rehearse.model.growth import Bounds, Law
from rehearse.model.replica import ReplicaFacts
from rehearse.model.verdict import Growth, Unit
from rehearse.report.growth import growth_line, replica_lines

POINTS = ((500, 0.155), (1_000, 0.16), (2_000, 0.176))


@pytest.mark.parametrize(
    ("projected", "says"),
    [
        (0.18, "duration does not grow with tenants, within noise: 180 ms at 10 M rows"),
        (
            358.0,
            "duration shows no growth with tenants here; by what is done, it grows: 5 min 58 s at 10 M rows",
        ),
    ],
)
def test_what_is_projected_to_grow_is_not_said_to_stay(projected: float, says: str) -> None:
    bounds = Bounds(projected, projected, projected)
    growth = Growth("duration", Unit.SECONDS, Law.CONSTANT, "tenants", POINTS, 10_000_000, bounds)
    assert growth_line(growth).startswith(says)


def test_of_many_readers_a_few_are_named() -> None:
    scripts = tuple(f"read_{number}" for number in range(20))
    lines = replica_lines(ReplicaFacts(0, 0, 0, 0, 0, 0, scripts, 59))
    assert (
        "read_0, read_1, read_2, read_3 and 16 more scripts read on the standby: 59 transactions finished"
        in lines
    )


def test_what_failed_on_the_standby_by_itself_has_its_sqlstates() -> None:
    facts = ReplicaFacts(0, 0, 0, 0, 0, 0, ("read",), 59, 8, refused=(("0A000", 8),))
    assert "8 transactions failed there for another reason: 0A000 ×8" in replica_lines(facts)
