"""Which script a text belongs to, where the simple protocol writes values into it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.engines.postgres.wire import Execute, Value
from rehearse.observe.party import ScriptNames

READ = "SELECT note FROM t WHERE id = $1 AND v = $2"
WRITE = "UPDATE t SET v = v + $1, note = $2 WHERE id = $3"
NAMES = ScriptNames({READ: "read", WRITE: "write", "SELECT $1": "one", "COMMIT": "write"})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(st.integers(), st.none(), st.booleans(), st.binary().filter(lambda b: b"\0" not in b)),
        min_size=3,
        max_size=3,
    )
)
def test_a_text_with_its_values_is_its_scripts(values: list[Value]) -> None:
    given_values = [
        value.decode("latin1").encode() if isinstance(value, bytes) else value for value in values
    ]
    parts = ("UPDATE t SET v = v + ", ", note = ", " WHERE id = ", "")
    text = Execute(0, 1, parts, tuple(given_values)).literal.decode()
    assert NAMES.of(text) == "write"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SELECT note FROM t WHERE id = 5 AND v = -1.5e3", "read"),
        ("SELECT note FROM t WHERE id = 5 AND v = 'it''s; COMMIT'", "read"),
        ("SELECT note FROM t WHERE id = 5 AND v = 6 OR true", None),
        ("SELECT note FROM t WHERE id = (SELECT 5) AND v = 6", None),
        ("SELECT 7", "one"),
        ("COMMIT", "write"),
    ],
)
def test_only_values_may_differ(text: str, name: str | None) -> None:
    assert NAMES.of(text) == name
