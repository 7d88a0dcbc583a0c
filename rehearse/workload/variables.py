"""The variables that scripts have without setting them."""

from __future__ import annotations

from collections.abc import Iterable

CLIENT_ID = "client_id"


def default_variables(seed: int, given: Iterable[tuple[str, int]]) -> dict[str, int]:
    """pgbench's own (`scale`, `random_seed`, `default_seed`) and those that the user gave.

    `client_id` is not among them: it is each client's own.
    """
    mixed = (seed * 0x9E3779B97F4A7C15 >> 7) & 2**62 - 1
    return {"scale": 1, "random_seed": seed, "default_seed": mixed} | dict(given)
