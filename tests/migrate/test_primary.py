"""The server's messages about data quote the data."""

from __future__ import annotations

import pytest

from rehearse.engines.postgres.primary import without_values


@pytest.mark.parametrize(
    ("sqlstate", "message", "shown"),
    [
        (
            "22P02",
            'invalid input syntax for type integer: "ann"',
            'invalid input syntax for type integer: "..."',
        ),
        (
            "22003",
            'value "99999999999" is out of range for type integer',
            'value "..." is out of range for type integer',
        ),
        (
            "22021",
            'invalid byte sequence for encoding "UTF8": 0x00',
            'invalid byte sequence for encoding "UTF8": 0x00',
        ),
        ("22P02", 'malformed array literal: "a "" b', 'malformed array literal: "..."'),
        ("22P02", 'malformed array literal: "{"Ann Lee",x}"', 'malformed array literal: "..."'),
        (
            "22P02",
            "ungültige Eingabesyntax für Typ integer: »ann«",
            'ungültige Eingabesyntax für Typ integer: "..."',
        ),
        ("42P01", 'relation "people" does not exist', 'relation "people" does not exist'),
        (None, 'no "state"', 'no "state"'),
    ],
)
def test_values_go_and_names_stay(sqlstate: str | None, message: str, shown: str) -> None:
    assert without_values(sqlstate, message) == shown
