"""Rows that nobody has inserted yet: the generated ones, continued."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import polars as pl

from rehearse.dataset.bits import row_numbers
from rehearse.dataset.generate import Generator
from rehearse.dataset.recipe import DatasetPlan, TableRecipe
from rehearse.errors import DatasetError
from rehearse.model.relation import Relation
from rehearse.model.workload import Pool

# In a table that a seed file filled nobody knows which keys are taken; these are far from its first ones.
_BEYOND_SEEDED = 1_000_000


def fresh_pool(plan: DatasetPlan, relation: Relation, columns: Sequence[str], count: int, table: str) -> Pool:
    """Up to `count` rows that generation would have made next, as the text of parameters.

    Unique keys continue beyond the loaded rows, so there may be fewer rows than asked for where a key's
    domain ends; references are to rows that exist. `table` is the name that the pool is to carry. Raises
    DatasetError for a table or column that is not generated.
    """
    recipe = plan.tables.get(relation)
    if recipe is None:
        raise DatasetError(f"fresh rows of {relation}: no rows are generated for it")
    for column in columns:
        _require(recipe, column)
    start = recipe.rows if recipe.generated else max(recipe.rows, _BEYOND_SEEDED)
    stop = start + count if recipe.limit is None else min(start + count, recipe.limit)
    frame = Generator(plan).frame(relation, list(columns), row_numbers(start, max(start, stop)))
    made = {name: _texts(frame.to_series(place)) for place, name in enumerate(columns)}
    return Pool("fresh", table, made)


def _require(recipe: TableRecipe, column: str) -> None:
    names = [known.name for known in recipe.columns]
    if column not in names:
        near = difflib.get_close_matches(column, names, n=1)
        mend = f"did you mean {near[0]}?" if near else ""
        raise DatasetError(
            f"fresh rows of {recipe.relation}: {column} is not a column that is generated", mend
        )


def _texts(series: pl.Series) -> list[bytes | None]:
    return [None if text is None else text.encode() for text in series.cast(pl.String).to_list()]
