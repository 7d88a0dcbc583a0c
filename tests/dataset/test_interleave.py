from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rehearse.dataset.interleave import interleaved


@given(st.lists(st.integers(1, 40), min_size=1, max_size=7))
def test_every_place_is_counted_once_and_in_turn(sizes: list[int]) -> None:
    piece, offset = interleaved(np.array(sizes, dtype=np.int64), np.arange(sum(sizes), dtype=np.int64))
    pairs = list(zip(piece.tolist(), offset.tolist(), strict=True))
    assert sorted(pairs) == [(p, o) for p, size in enumerate(sizes) for o in range(size)]
    assert {p for p, _ in pairs[: len(sizes)]} == set(range(len(sizes)))


def test_endless_ranges_are_gone_round_too() -> None:
    piece, offset = interleaved(np.array([2**62, 2**62, 3]), np.arange(12, dtype=np.int64))
    assert piece.tolist() == [2, 0, 1] * 3 + [0, 1, 0]
    assert offset.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4]
