"""The inferred workload, with the shares of reads and of hot tables as the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rehearse.errors import InputError
from rehearse.model.schema import Schema, TableKind
from rehearse.workload.evidence.entry import Tally
from rehearse.workload.evidence.folder import Written
from rehearse.workload.evidence.scripting import Draft
from rehearse.workload.infer import infer_workload
from rehearse.workload.infer_weights import weighted
from rehearse.workload.script import parse_script

_HOT = 5
_SUPPOSED_ROWS = 1000


def infer_scripts(schema: Schema, *, read_share: float | None, hot: Mapping[str, int]) -> Written:
    """Scripts for every table of `schema`. `read_share` is the part of transactions that only read (None: as
    inferred), `hot` by how much the scripts of a table are weighted up. Raises InputError for a table that
    is not there, or a schema without tables.
    """
    parents = [table for table in schema.tables if table.kind is not TableKind.FOREIGN]
    relations = frozenset(table.relation for table in parents)
    sources = infer_workload(schema, relations, dict.fromkeys(relations, _SUPPOSED_ROWS), generated=relations)
    if not sources:
        raise InputError("the schema has no table to send traffic to")
    drafts = [
        Draft(source.name, source.text, source.weight, len(parse_script(source).statements))
        for source in weighted(sources, schema, None if read_share is None else 1 - read_share, hot)
    ]
    tally = Tally()
    tally.note("no rate is known from a schema: set it to your application's")
    return Written(tuple(drafts), tuple(draft.count for draft in drafts), None, (), tally)


def hot_tables(given: Sequence[str]) -> dict[str, int]:
    """`orders` or `orders=10` by table. Raises InputError."""
    found: dict[str, int] = {}
    for text in given:
        name, sign, factor = text.partition("=")
        if sign and not (factor.isdecimal() and int(factor) > 0):
            raise InputError(f"--hot {text}: the factor is a whole number", f"--hot {name}={_HOT}")
        found[name] = int(factor) if sign else _HOT
    return found
