"""What the SQLSTATEs that a migration makes an application see are called (PostgreSQL manual, appendix A)."""

from __future__ import annotations

_NAMES = {
    "08000": "connection exception",
    "08006": "connection failure",
    "0A000": "feature not supported (cached plan)",
    "22001": "value too long",
    "22003": "number out of range",
    "22P02": "invalid text representation",
    "23502": "not-null violation",
    "23503": "foreign-key violation",
    "23505": "unique violation",
    "23514": "check violation",
    "23P01": "exclusion violation",
    "25P02": "transaction already failed",
    "26000": "prepared statement missing",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "42501": "insufficient privilege",
    "42601": "syntax error",
    "42703": "undefined column",
    "42804": "type mismatch",
    "42883": "undefined function",
    "42P01": "undefined table",
    "42P07": "duplicate table",
    "53100": "disk full",
    "53300": "too many connections",
    "54000": "program limit exceeded",
    "55006": "object in use",
    "55P03": "lock not available",
    "57014": "query cancelled",
    "57P01": "server shut down",
    "57P03": "cannot connect now",
    "XX000": "internal error",
}


def describe(sqlstate: str | None) -> str:
    """`55P03 lock not available`; the bare code where it has no name here."""
    if not sqlstate:
        return "error"
    name = _NAMES.get(sqlstate)
    return f"{sqlstate} {name}" if name else sqlstate
