"""Whether the migrations in the repository make the schema that production has."""

from __future__ import annotations

from dataclasses import dataclass

from rehearse.model.relation import Relation
from rehearse.model.trials import SchemaDifference


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that differs: `difference.before` is what the history makes, `after` what production has.
    `table` is the table that it is or belongs to, if any; `touched`: the migration locks that.
    """

    difference: SchemaDifference
    table: Relation | None = None
    touched: bool = False


@dataclass(frozen=True, slots=True)
class DriftFacts:
    """The schema that `files` of the history make, compared with that of `schema` (a file's name; empty: the
    dataset's). `left_out` are files of the history that are the migration itself.
    """

    files: int
    schema: str
    found: tuple[Drift, ...] = ()
    left_out: tuple[str, ...] = ()
