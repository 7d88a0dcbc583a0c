"""The weights of an inferred workload as the user wants them: how much writes, which tables are hot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rehearse.engines.postgres.command import command_of
from rehearse.engines.postgres.lexer import tokens
from rehearse.errors import InputError
from rehearse.model.schema import Schema, Table
from rehearse.model.workload import ScriptSource
from rehearse.workload.evidence.logged import pieces_of
from rehearse.workload.evidence.places import places_of
from rehearse.workload.evidence.shape import shape_of
from rehearse.workload.infer import apportion
from rehearse.workload.script import Script, parse_script

_WHOLE = 1000
_READS = frozenset({"SELECT", "VALUES", "TABLE"})


def weighted(
    sources: Sequence[ScriptSource], schema: Schema, writes: float | None, hot: Mapping[str, float]
) -> tuple[ScriptSource, ...]:
    """The scripts with `writes` as the part of transactions that write (None: as inferred), and those of the
    tables in `hot` weighted up by a factor; without those that are not to be sent. Raises InputError for a
    table that is not there, or that nothing is sent to, and for writes where no script makes any.
    """
    if writes is None and not hot:
        return tuple(sources)
    for name in hot:
        if schema.find(name) is None:
            raise InputError(f"hot names {name}: the schema has no such table")
    scripts = [parse_script(source) for source in sources]
    reads = [is_read(script) for script in scripts]
    if writes and all(reads):
        raise InputError("no script that writes can be inferred from the schema", "take out writes")
    if writes is not None and writes < 1 and not any(reads):
        raise InputError("no script that reads can be inferred from the schema", "take out writes")
    heat = [
        round(source.weight * _heat(script, schema, hot))
        for source, script in zip(sources, scripts, strict=True)
    ]
    weights = _shared(heat, reads, None if writes is None else 1 - writes)
    return tuple(
        replace(source, weight=weight) for source, weight in zip(sources, weights, strict=True) if weight
    )


def is_read(script: Script) -> bool:
    """Whether no statement of it writes."""
    return all(
        command_of(list(tokens(statement.text))) in _READS
        for statement in script.sql
        if statement.control is None
    )


def _heat(script: Script, schema: Schema, hot: Mapping[str, float]) -> float:
    tables = [table for table in _tables(script, schema) if table is not None]
    wanted = {found.relation: factor for name, factor in hot.items() if (found := schema.find(name))}
    return max((wanted[table.relation] for table in tables if table.relation in wanted), default=1.0)


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
