"""Samples as a Parquet file: one row a transaction, names as dictionary columns, times in nanoseconds."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from rehearse.model.workload import Outcome, SampleColumns

_OUTCOMES: Final = pl.Enum([outcome.name for outcome in Outcome])
_TIMES: Final = ("scheduled_ns", "started_ns", "ended_ns")


def write_columns(samples: SampleColumns, path: Path) -> None:
    """`samples` to `path`, a column for each of `SampleColumns`, the codes as names."""
    codes = np.frombuffer(samples.sqlstate, dtype=np.int16)
    frame = pl.DataFrame(
        {
            "script": _named(np.frombuffer(samples.script, dtype=np.int16), samples.scripts),
            **{name: np.frombuffer(getattr(samples, name), dtype=np.int64) for name in _TIMES},
            "outcome": _named(np.frombuffer(samples.outcome, dtype=np.int16), tuple(o.name for o in Outcome)),
            "sqlstate": _named(codes, samples.sqlstates),
            "statement": np.frombuffer(samples.statement, dtype=np.int16),
        }
    )
    frame.write_parquet(path, compression="zstd")


def _named(codes: np.ndarray[tuple[int], np.dtype[np.int16]], names: tuple[str, ...]) -> pl.Series:
    series = pl.Series(codes).cast(pl.Int64)
    present = pl.select(pl.when(series >= 0).then(series)).to_series()
    return present.cast(pl.UInt32).cat.to(pl.Enum(list(names)))


def read_columns(path: Path) -> SampleColumns:
    """What `write_columns` wrote, one column after the other. OSError or ValueError where it is not that."""
    try:
        scripts, script = _coded(_column(path, "script"))
        sqlstates, sqlstate = _coded(_column(path, "sqlstate"))
        outcomes, outcome = _coded(_column(path, "outcome"))  # an older version knew fewer
        if outcomes != _names(pl.Series([], dtype=_OUTCOMES))[: len(outcomes)]:
            raise ValueError("its outcomes are not those of this version")
        return SampleColumns(
            scripts=scripts,
            sqlstates=sqlstates,
            script=script,
            scheduled_ns=_longs(_column(path, "scheduled_ns")),
            started_ns=_longs(_column(path, "started_ns")),
            ended_ns=_longs(_column(path, "ended_ns")),
            outcome=outcome,
            sqlstate=sqlstate,
            statement=_shorts(_column(path, "statement")),
        )
    except PolarsError as error:
        raise ValueError(str(error)) from error


def _column(path: Path, name: str) -> pl.Series:
    return pl.read_parquet(path, columns=[name]).to_series()


def _coded(series: pl.Series) -> tuple[tuple[str, ...], array[int]]:
    """The names, and which of them each is."""
    return _names(series), _shorts(series.to_physical().cast(pl.Int16).fill_null(-1))


def _names(series: pl.Series) -> tuple[str, ...]:
    if not isinstance(series.dtype, pl.Enum):
        raise ValueError(f"its column {series.name} has no names")
    return tuple(series.dtype.categories)


def _shorts(series: pl.Series) -> array[int]:
    return _packed("h", series.to_numpy().astype(np.int16, copy=False))


def _longs(series: pl.Series) -> array[int]:
    return _packed("q", series.to_numpy().astype(np.int64, copy=False))


def _packed(code: str, column: np.ndarray[tuple[int], np.dtype[np.integer]]) -> array[int]:
    packed = array(code)
    packed.frombytes(np.ascontiguousarray(column).view(np.uint8).data)
    return packed
