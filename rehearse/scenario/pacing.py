"""Rates as people write them: a number, `closed-loop`, steps and ramps; and retries, by their names. Pure."""

from __future__ import annotations

import math
import re

from rehearse.model.workload import RateStep, RetryPolicy
from rehearse.scenario.values import RefusedError, parse_duration

CLOSED_LOOP = "closed-loop"
APPLICATION, NONE = "application", "none"
HIGHEST_RATE = 1_000_000


def as_steps(value: object) -> object:
    """A rate as the list of its steps: none for a closed loop, one without an end for a number. Lists are
    left to be checked. Raises RefusedError.
    """
    if value == CLOSED_LOOP:
        return []
    if isinstance(value, list):
        if not value:
            raise RefusedError("must not be empty", 'write [{ until = "30s", rate = 200 }, { rate = 400 }]')
        return value
    if isinstance(value, str):
        raise RefusedError("must be a number, not text", f'or "{CLOSED_LOOP}", or a list of steps')
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusedError("must be a number")
    if not math.isfinite(value):
        raise RefusedError(f"must be a finite number, not {value}")
    if value <= 0:
        raise RefusedError(f"must be above 0, not {value:.15g}")
    if value > HIGHEST_RATE:
        raise RefusedError(f"must be at most {HIGHEST_RATE}, not {value:.15g}")
    return [{"rate": float(value)}]


def check_steps(steps: tuple[RateStep, ...]) -> tuple[RateStep, ...]:
    """The steps, in order of their times. Raises RefusedError where they are not, or nothing is ever due."""
    now = 0.0
    for place, step in enumerate(steps):
        last = place == len(steps) - 1
        if step.until_s is None:
            if not last:
                raise RefusedError("needs `until` in every step but the last")
            if step.ramp:
                raise RefusedError("needs `until` in a step with `ramp`: it says when the rate is reached")
            continue
        if step.until_s <= now:
            raise RefusedError(
                "must name later times step by step", "`until` counts from the traffic's start"
            )
        now = step.until_s
    if steps and steps[-1].rate <= 0:
        raise RefusedError("must not end with a rate of 0", "without traffic nothing would be measured")
    return steps


_STEP = re.compile(r"(?P<ramp>to\s+)?(?P<rate>\S+)(?:\s+until\s+(?P<until>\S+))?")


def parse_rate(text: str) -> tuple[RateStep, ...]:
    """A rate on a command line: `500`, `closed-loop` (no step), or steps and ramps such as
    `200 until 30s, to 1000 until 60s, 400`. Raises RefusedError.
    """
    if text.strip() == CLOSED_LOOP:
        return ()
    return check_steps(tuple(_parse_step(part.strip()) for part in text.split(",")))


def _parse_step(text: str) -> RateStep:
    match = _STEP.fullmatch(text)
    if match is None:
        raise RefusedError(
            f"has `{text}`, which is no rate", 'write 500, or "200 until 30s, to 1000 until 60s, 400"'
        )
    try:
        rate = float(match["rate"])
    except ValueError:
        raise RefusedError(
            f"has `{match['rate']}`, which is no rate", f"transactions a second, or {CLOSED_LOOP}"
        ) from None
    if not 0 <= rate <= HIGHEST_RATE:
        raise RefusedError(f"must be from 0 to {HIGHEST_RATE}, not {rate:.15g}")
    if rate == 0 and match["until"] is None:
        raise RefusedError("must not end with a rate of 0", "without traffic nothing would be measured")
    until = match["until"]
    return RateStep(rate, None if until is None else parse_duration(until), bool(match["ramp"]))


def as_retry(value: object) -> object:
    """A retry policy as a table, None for none. Raises RefusedError for a word that is no policy."""
    if value in (None, NONE):
        return None
    if value == APPLICATION:
        return {}
    if isinstance(value, str):
        raise RefusedError(f'must not be "{value}"', f"it is {NONE}, {APPLICATION}, or a table")
    return value


def parse_retry(text: str) -> RetryPolicy | None:
    """`none`, `application`, or `SQLSTATE,...[:ATTEMPTS]`. Raises RefusedError."""
    if text in (NONE, APPLICATION):
        return None if text == NONE else RetryPolicy()
    states, colon, attempts = text.partition(":")
    if colon and not (attempts.isdecimal() and 2 <= int(attempts) <= 1000):
        raise RefusedError(f"has {attempts} attempts", "write a number from 2 to 1000")
    policy = RetryPolicy()
    sqlstates = tuple(check_sqlstate(state.strip()) for state in states.split(","))
    return RetryPolicy(sqlstates, int(attempts) if colon else policy.attempts, policy.backoff_s)


def check_sqlstate(text: str) -> str:
    """Five digits and capital letters. Raises RefusedError."""
    if len(text) != 5 or not text.isascii() or not text.isalnum() or text != text.upper():
        raise RefusedError(f"names `{text}`, which is no SQLSTATE", "such as 40001, 40P01 or 55P03")
    return text
