"""A server that ends a session says so unasked: at once after an answer, or in the middle of one."""

from __future__ import annotations

import struct

import pytest

from rehearse.engines.postgres.frames import Answer

ANSWER = b"C\0\0\0\x0dUPDATE 1\0" + b"Z\0\0\0\5T"
FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
FAREWELL = b"E" + struct.pack("!i", len(FIELDS) + 4) + FIELDS


@pytest.mark.parametrize("size", range(len(FAREWELL) + 1))
def test_an_answer_stays_good_whatever_is_said_after_it(size: int) -> None:
    answer = Answer()
    answer.feed(ANSWER + FAREWELL[:size])
    assert (answer.status, answer.failure) == (ord("T"), None)
    sequel = answer.sequel
    if not size:
        assert sequel is None
        return
    assert sequel is not None
    sequel.feed(FAREWELL[size:])
    assert sequel.failure is not None
    assert (sequel.failure.sqlstate, sequel.status, sequel.is_between_messages) == ("57P01", 0, True)


def test_a_statement_that_is_interrupted_has_no_answer() -> None:
    answer = Answer()
    answer.feed(FAREWELL)
    assert answer.status == 0
    assert answer.failure is not None
    assert answer.failure.sqlstate == "57P01"
