"""The inferred workload, with the shares of reads and of hot tables as the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rehearse.engines.postgres.command import command_of
from rehearse.engines.postgres.lexer import tokens
from rehearse.errors import InputError
from rehearse.model.schema import Schema, Table, TableKind
from rehearse.workload.evidence.entry import Tally
from rehearse.workload.evidence.folder import Written
from rehearse.workload.evidence.logged import pieces_of
from rehearse.workload.evidence.places import places_of
from rehearse.workload.evidence.scripting import Draft
from rehearse.workload.evidence.shape import shape_of
from rehearse.workload.infer import apportion, infer_workload
from rehearse.workload.script import Script, parse_script

_HOT = 5
_WHOLE = 1000
_SUPPOSED_ROWS = 1000
_READS = frozenset({"SELECT", "VALUES", "TABLE"})


def infer_scripts(schema: Schema, *, read_share: float | None, hot: Mapping[str, int]) -> Written:
    """Scripts for every table of `schema`. `read_share` is the part of transactions that only read (None: as
    inferred), `hot` by how much the scripts of a table are weighted up. Raises InputError for a table that
    is not there, or a schema without tables.
    """
    for name in hot:
        if schema.find(name) is None:
            raise InputError(f"--hot {name}: the schema has no such table")
    parents = [table for table in schema.tables if table.kind is not TableKind.FOREIGN]
    relations = frozenset(table.relation for table in parents)
    sources = infer_workload(schema, relations, dict.fromkeys(relations, _SUPPOSED_ROWS), generated=relations)
    if not sources:
        raise InputError("the schema has no table to send traffic to")
    scripts = [parse_script(source) for source in sources]
    heat = [
        source.weight * _heat(script, schema, hot) for source, script in zip(sources, scripts, strict=True)
    ]
    weights = _shared(heat, [is_read(script) for script in scripts], read_share)
    drafts = [
        Draft(source.name, source.text, weight, len(script.statements))
        for source, script, weight in zip(sources, scripts, weights, strict=True)
        if weight
    ]
    tally = Tally()
    tally.note("no rate is known from a schema: set it to your application's")
    return Written(tuple(drafts), tuple(draft.count for draft in drafts), None, (), tally)


def is_read(script: Script) -> bool:
    """Whether no statement of it writes."""
    return all(
        command_of(list(tokens(statement.text))) in _READS
        for statement in script.sql
        if statement.control is None
    )


def _heat(script: Script, schema: Schema, hot: Mapping[str, int]) -> int:
    tables = [table for table in _tables(script, schema) if table is not None]
    wanted = {found.relation: factor for name, factor in hot.items() if (found := schema.find(name))}
    return max((wanted[table.relation] for table in tables if table.relation in wanted), default=1)


def _tables(script: Script, schema: Schema) -> Sequence[Table | None]:
    named = [
        table
        for text in script.statements
        for piece in pieces_of(text) or []
        for table in places_of(shape_of(piece, ())[0]).tables
    ]
    return [schema.find(f"{one.schema}.{one.name}" if one.schema else one.name) for one in named]


def _shared(heat: Sequence[int], reads: Sequence[bool], share: float | None) -> list[int]:
    """Whole weights: reads together have `share` of them."""
    if share is None or all(reads) or not any(reads):
        return list(heat)
    weights = [0] * len(heat)
    for kind, part in ((True, share), (False, 1 - share)):
        places = [place for place, read in enumerate(reads) if read is kind]
        if part > 0:
            whole = max(round(_WHOLE * part), 1)
            for place, weight in zip(places, apportion(whole, [heat[i] for i in places]), strict=True):
                weights[place] = weight
    return weights


def hot_tables(given: Sequence[str]) -> dict[str, int]:
    """`orders` or `orders=10` by table. Raises InputError."""
    found: dict[str, int] = {}
    for text in given:
        name, sign, factor = text.partition("=")
        if sign and not (factor.isdecimal() and int(factor) > 0):
            raise InputError(f"--hot {text}: the factor is a whole number", f"--hot {name}={_HOT}")
        found[name] = int(factor) if sign else _HOT
    return found
