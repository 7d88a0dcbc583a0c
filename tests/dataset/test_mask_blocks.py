"""Blocks of COPY's text as columns and back; integer keys as numbers, by lookup once many were asked for."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from rehearse.dataset.masking.block import has_escapes, read_block, write_block
from rehearse.dataset.masking.masks import UnreadableError
from rehearse.dataset.masking.measures import keys
from rehearse.dataset.masking.moments import moments
from rehearse.dataset.masking.prf import Prf

_BLOCK = b"1\tx\t\\N\n-22\t\t7\n\\N\ta\\\\Nb\t9223372036854775807\n"


def test_integers_come_as_numbers_and_go_out_as_they_came() -> None:
    frame = read_block(_BLOCK, ["a", "b", "c"], {"a", "c"})
    assert frame.dtypes == [pl.Int64, pl.String, pl.Int64]
    assert frame["c"].to_list() == [None, 7, (1 << 63) - 1]
    assert write_block(frame) == _BLOCK
    # what is no integer is left for the mask to refuse, by the column's name
    odd = read_block(b"1\tx\nless\ty\n", ["a", "b"], {"a"})
    assert odd.dtypes == [pl.String, pl.String]
    with pytest.raises(UnreadableError, match="no 64-bit integers"):
        keys(bytes(32), (1 << 63) - 1)(odd["a"])


def test_a_backslash_is_an_escape_unless_it_is_a_nulls() -> None:
    assert has_escapes(_BLOCK)
    assert not has_escapes(b"1\t\\N\n\\N\t2\n")
    assert has_escapes(b"a\\tb\t\\N\n")
    assert not has_escapes(b"1\t2\n")


def test_an_integer_and_its_text_have_one_mask_however_many_there_are() -> None:
    mask = keys(b"a key of two and thirty bytes...", (1 << 31) - 1)
    given = pl.Series([5, -5, 0, 12_345, None, 99_999, 2_000_000_000], dtype=pl.Int64)
    before = mask(given)
    assert mask(given.cast(pl.String)).to_list() == before.cast(pl.String).to_list()
    for _ in range(2):
        mask(pl.Series(np.arange(10_000, 100_000)))  # by now those of five digits are looked up
    assert mask(given).equals(before)


def test_what_is_looked_up_is_the_permutation_that_was_computed() -> None:
    prf, size = Prf(bytes(range(32))), 1000
    few = np.arange(10, dtype=np.uint64)
    computed = prf.permuted_below(size, few)
    prf.permuted_below(size, np.arange(size, dtype=np.uint64))
    every = prf.permuted_below(size, np.arange(size, dtype=np.uint64))
    assert sorted(every.tolist()) == list(range(size))
    assert every[:10].tolist() == computed.tolist() == prf.permuted_below(size, few).tolist()


def test_moments_that_have_no_end_stay_and_the_others_keep_their_order() -> None:
    mask = moments(bytes(32), 30.0, days_only=False, shift=False)
    given = ["2020-01-01 00:00:00+00", None, "infinity", "2020-01-01 00:00:00.25+00", "-infinity"]
    whole, none, endless, fine, first = mask(pl.Series(given)).to_list()
    assert (none, endless, first) == (None, "infinity", "-infinity")
    assert whole.endswith(".000000+00")
    assert whole < fine
    with pytest.raises(UnreadableError, match="before Christ"):
        mask(pl.Series(["2020-01-01 00:00:00+00", "0044-03-15 00:00:00+00 BC", "infinity"]))
