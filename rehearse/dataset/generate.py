"""Recipes carried out: row numbers in, columns out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rehearse.dataset.bits import Rows, below, fractions, key_of, mix, row_numbers
from rehearse.dataset.generators import Anywhere, Beside, InOrder, Jointly, Places
from rehearse.dataset.generators.numbers import Shaped
from rehearse.dataset.generators.placing import joined, shared_out
from rehearse.dataset.recipe import (
    Ascending,
    Borrowed,
    Calculated,
    Chosen,
    ColumnRecipe,
    DatasetPlan,
    Digit,
    Empty,
    Following,
    Nulls,
    Other,
    Own,
    Random,
    Reference,
    TableRecipe,
    Within,
)
from rehearse.dataset.siblings import Nth
from rehearse.dataset.values import Lattice, Raw, Values, pool_of
from rehearse.errors import DatasetError
from rehearse.model.relation import Relation

CHUNK_ROWS = 50_000
# stands for NULL in COPY's CSV: no generated text is this
NULL_MARK = "\\N"


@dataclass(frozen=True, slots=True)
class Counted:
    """Values of a lattice, as the raw integers that stand for them."""

    lattice: Lattice
    raw: Raw

    def text(self) -> pl.Series:
        """The values as the server reads them."""
        return self.lattice.text(self.raw)


@dataclass(frozen=True, slots=True)
class Pooled:
    """Texts out of the pool of `values` (see `pool_of`), by their places in it."""

    values: Values
    places: Rows

    def text(self) -> pl.Series:
        """The texts."""
        return self.values.at(self.places)


Made: TypeAlias = Counted | Pooled | pl.Series


@dataclass(frozen=True, slots=True)
class Cell:
    """One column of some rows, not yet written; `keep` is False where it is NULL (None: nowhere)."""

    made: Made
    keep: NDArray[np.bool_] | None = None


@dataclass(slots=True)
class _Batch:
    """Some rows of one table, and the parent rows that were drawn for them so far."""

    table: TableRecipe
    rows: Rows
    parents: dict[int, Rows] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Generator:
    """Makes any rows of any table of a plan."""

    plan: DatasetPlan

    def csv(self, relation: Relation, start: int, stop: int) -> bytes:
        """The rows [start, stop) in COPY's CSV format with NULL as `NULL_MARK`, columns in recipe order."""
        table = self.plan.tables[relation]
        frame = self.frame(relation, [column.name for column in table.columns], row_numbers(start, stop))
        return frame.write_csv(include_header=False, null_value=NULL_MARK, quote_style="necessary").encode()

    def cells(self, relation: Relation, start: int, stop: int) -> list[Cell]:
        """The rows [start, stop), columns in recipe order: numbers and instants still raw."""
        table = self.plan.tables[relation]
        batch = _Batch(table, row_numbers(start, stop))
        return [self._cell(batch, column) for column in table.columns]

    def frame(self, relation: Relation, columns: Sequence[str], rows: Rows) -> pl.DataFrame:
        """These columns of these rows: text, or numbers whose text is what the server reads."""
        table = self.plan.tables[relation]
        batch = _Batch(table, rows)
        # by place: a column's own name may be anything, an empty one included
        made = [self._column(batch, table.column(name)) for name in columns]
        return pl.DataFrame([series.alias(str(place)) for place, series in enumerate(made)])

    def _cell(self, batch: _Batch, column: ColumnRecipe) -> Cell:
        found = self.plan.found.witnesses.get(batch.table.relation, {})
        if column.name in found:
            return Cell(self._witness(batch, found[column.name]))
        keep = None if column.nulls is None else _kept(batch.rows, column.nulls)
        return Cell(self._made(batch, column), keep)

    def _column(self, batch: _Batch, column: ColumnRecipe) -> pl.Series:
        cell = self._cell(batch, column)
        series = cell.made if isinstance(cell.made, pl.Series) else cell.made.text()
        return series if cell.keep is None else _with_nulls(series, cell.keep)

    def _made(self, batch: _Batch, column: ColumnRecipe) -> Made:
        match column.source:
            case Own(Lattice() as lattice):
                return Counted(lattice, self._raw(batch, column))
            case Own(values, draw) if (pool := pool_of(values)) is not None:
                return Pooled(values, draw.index(batch.rows) % np.uint64(len(pool)))
            case Following(values=lattice):
                return Counted(lattice, self._raw(batch, column))
            case Chosen(Shaped(lattice=lattice, fine=False)):
                return Counted(lattice, self._raw(batch, column))
            case Borrowed(place, parent_column) if not batch.table.references[place].from_server:
                parent = self.plan.tables[batch.table.references[place].parent]
                return self._made(
                    _Batch(parent, self._parent_rows(batch, place)), parent.column(parent_column)
                )
        return self._filled(batch, column)

    def _witness(self, batch: _Batch, texts: list[str | None]) -> pl.Series:
        """One row of what the server accepted; the same one for all columns of the table."""
        chosen = below(batch.rows, key_of(self.plan.seed, str(batch.table.relation), "witness"), len(texts))
        return pl.Series(texts, dtype=pl.String).gather(chosen)

    def _filled(self, batch: _Batch, column: ColumnRecipe) -> pl.Series:
        match column.source:
            case Own(values, draw):
                return values.at(draw.index(batch.rows))
            case Following(values=values):
                return values.text(self._raw(batch, column))
            case Borrowed(place, parent_column):
                return self._borrowed(batch, place, parent_column)
            case Empty():
                return pl.Series([None], dtype=pl.String).new_from_index(0, len(batch.rows))
            case Chosen(generator):
                return generator.draw(batch.rows, self._places(batch, column))
            case Calculated(expression):
                columns = {name: self._column(batch, batch.table.column(name)) for name in expression.columns}
                return expression.draw(columns, len(batch.rows))

    def _places(self, batch: _Batch, column: ColumnRecipe) -> Places:
        """Where in its distribution each row's value of the column lies."""
        match column.source:
            case Chosen() as chosen:
                return self._placed(batch, chosen)
            case Own(_, draw):
                return _drawn_at(draw, batch)
            case Following(base):
                return self._places(batch, batch.table.column(base))
            case Borrowed(place, name):
                reference, rows = batch.table.references[place], self._parent_rows(batch, place)
                if reference.from_server:
                    return _along(rows, key_of(column.name), reference.size)
                parent = self.plan.tables[reference.parent]
                return self._places(_Batch(parent, rows), parent.column(name))
            case _:
                raise AssertionError(f"{column.name} has no distribution")

    def _placed(self, batch: _Batch, chosen: Chosen) -> Places:
        own = fractions(batch.rows, chosen.key)
        match chosen.placing:
            case Anywhere():
                return own
            case InOrder(correlation):
                return joined(own, _along(batch.rows, key_of(chosen.key), chosen.rows), correlation)
            case Beside(name, correlation):
                return joined(own, self._places(batch, batch.table.column(name)), correlation)
            case Jointly() as along:
                other = batch.table.column(along.column)
                there = _kept(batch.rows, other.nulls) if other.nulls is not None else None
                return shared_out(own, self._places(batch, other), along, there)

    def _borrowed(self, batch: _Batch, place: int, column: str) -> pl.Series:
        reference = batch.table.references[place]
        rows = self._parent_rows(batch, place)
        if reference.from_server:
            existing = self._existing(reference, column)
            return existing.gather(rows % np.uint64(len(existing)))
        parent = self.plan.tables[reference.parent]
        return self._filled(_Batch(parent, rows), parent.column(column))

    def _existing(self, reference: Reference, column: str) -> pl.Series:
        keys = self.plan.found.existing.get((reference.parent, reference.parent_columns))
        if not keys:
            raise DatasetError(
                f"the keys of {reference.parent} have not been read from the database", "load the data first"
            )
        place = reference.parent_columns.index(column)
        return pl.Series([key[place] for key in keys], dtype=pl.String)

    def _parent_rows(self, batch: _Batch, place: int) -> Rows:
        if place not in batch.parents:
            reference = batch.table.references[place]
            draw = reference.draw
            if isinstance(draw, Within):
                batch.parents[place] = self._agreeing(batch, draw)
            elif isinstance(draw, Other):
                further = draw.draw.index(batch.rows) + np.uint64(1)
                batch.parents[place] = (self._parent_rows(batch, draw.lead) + further) % np.uint64(draw.size)
            else:
                batch.parents[place] = draw.index(batch.rows) + np.uint64(reference.first)
        return batch.parents[place]

    def _agreeing(self, batch: _Batch, draw: Within) -> Rows:
        lead = self._parent_rows(batch, draw.lead)
        strata = np.uint64(draw.strata)
        if draw.through is None:
            stratum = lead % strata
        else:
            parent = self.plan.tables[batch.table.references[draw.lead].parent]
            stratum = self._parent_rows(_Batch(parent, lead), draw.through) % strata
        members = (np.uint64(draw.size) - stratum + strata - np.uint64(1)) // strata
        place = mix(batch.rows, draw.key) if draw.place is None else draw.place.index(batch.rows)
        return (stratum + strata * (place % members)).astype(np.uint64)

    def _raw(self, batch: _Batch, column: ColumnRecipe) -> Raw:
        """The raw integers of a column on a lattice."""
        match column.source:
            case Own(Lattice() as values, draw):
                return values.raw(draw.index(batch.rows))
            case Chosen(Shaped() as shaped):
                return shaped.raw(self._places(batch, column))
            case Following(base, values, key, least, span, sign):
                start = self._raw(batch, batch.table.column(base))
                distance = below(batch.rows, key, span + 1).astype(np.int64) + least
                # what runs out of the lattice is brought back, but not past the base
                low, high = values.spans[0][0], values.spans[-1][1]
                raw: Raw
                if sign > 0:
                    raw = np.maximum(np.minimum(start + distance, high), start + least)
                else:
                    raw = np.minimum(np.maximum(start - distance, low), start - least)
                return raw
            case _:
                raise AssertionError(f"{column.name} is not on a lattice")


def _kept(rows: Rows, nulls: Nulls) -> NDArray[np.bool_]:
    kept: NDArray[np.bool_] = (fractions(rows, nulls.key) * 100 >= nulls.percent) & (rows >= nulls.below)
    return kept


def _with_nulls(series: pl.Series, keep: NDArray[np.bool_]) -> pl.Series:
    nothing = pl.Series([None], dtype=series.dtype).new_from_index(0, len(series))
    return series.zip_with(pl.Series(keep), nothing)


def _drawn_at(draw: Random | Digit | Ascending | Nth, batch: _Batch) -> Places:
    """The places in [0, 1) of a draw: what was drawn by, or the order of what was counted."""
    match draw:
        case Random(key):
            return fractions(batch.rows, key)
        case Ascending(key, rows):
            return _along(batch.rows, key, rows)
        case Nth(shared):
            return _along(draw.index(batch.rows), key_of("nth"), max(1, shared.most))
        case Digit(divide, modulo, without):
            room = modulo or -(-batch.table.rows // (divide * (without or (1, 1))[1]))
            return _along(draw.index(batch.rows), key_of(divide, modulo), max(1, room))


def _along(index: Rows, key: int, count: int) -> Places:
    """Places in the order of an index in [0, count); beyond its end, the last one."""
    return np.minimum((index + fractions(index, key)) / count, 1 - 2.0**-53)
