"""The drift trial: the schema that the history of migrations makes, compared with production's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rehearse.acts.loading import PREVIEW
from rehearse.acts.trial import TRIAL, TrialContext
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.differences import Objects, describe, differences
from rehearse.engines.postgres.execute import execute_file
from rehearse.engines.postgres.introspect import introspect
from rehearse.engines.postgres.server_facts import create_extensions
from rehearse.model.drift import Drift, DriftFacts
from rehearse.model.ledgers import LEDGERS, has_shape_of_a_ledger
from rehearse.model.migration import SqlFile
from rehearse.model.record import Trial
from rehearse.model.relation import Relation
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.model.trials import SchemaDifference, TrialKind

# A history is seldom applied by production's roles, and comments do nothing.
_NOT_COMPARED = frozenset({"privileges", "comment"})


def drift(context: TrialContext) -> Trial:
    """Build the history in an empty database, and compare it with the dataset's schema, or the one named.

    SqlFileError names the file and line of the history that fails: what it would make is then not known.
    """
    spec = context.scenario.trials.drift
    if spec is None:
        return Trial(TrialKind.DRIFT)
    own = {file.text.strip() for file in context.scenario.migration.up}
    files = tuple(file for file in spec.history if file.text.strip() not in own)
    context.on_status("drift: building the history")
    database = context.scenario.database
    made = built(context.server.target, PREVIEW, database, files)
    if spec.schema is None:
        wanted = context.base.target
    else:
        context.on_status(f"drift: building {spec.schema.name}")
        wanted = built(context.server.target, TRIAL, database, (spec.schema,))
    try:
        found = compare(made, wanted, context.base.preview.touched)
    finally:
        drop_database(context.server.target, PREVIEW)
    left_out = tuple(file.name for file in spec.history if file not in files)
    facts = DriftFacts(len(files), spec.schema.name if spec.schema else "", found, left_out)
    return Trial(TrialKind.DRIFT, drift=facts)


def compared(
    server: Target, spec: DatabaseSpec, history: Iterable[SqlFile], schema: SqlFile
) -> tuple[Drift, ...]:
    """What differs between the schema that `history` makes and `schema`, each in a database of its own."""
    try:
        made = built(server, PREVIEW, spec, history)
        return compare(made, built(server, TRIAL, spec, (schema,)), frozenset())
    finally:
        for name in (PREVIEW, TRIAL):
            drop_database(server, name)


def built(server: Target, name: str, spec: DatabaseSpec, files: Iterable[SqlFile]) -> Target:
    """A new database `name` in which `files` were executed after what every database of the scenario gets."""
    drop_database(server, name)
    create_database(server, name)
    target = server.on(name)
    with connect(target, "rehearse") as connection:
        create_extensions(connection, spec.extensions)
        for file in (*spec.init, *files):
            execute_file(connection, file)
    return target


def compare(history: Target, production: Target, touched: frozenset[Relation]) -> tuple[Drift, ...]:
    """What differs between two databases, without the ledgers of migration tools."""
    made, there = _described(history), _described(production)
    tables = _tables(history) | _tables(production)
    found = []
    for difference, table in _with_tables(made, there, tables):
        found.append(Drift(difference, table, touched=table is not None and table in touched))
    return tuple(found)


def _described(target: Target) -> Objects:
    with connect(target, "rehearse") as connection:
        objects = without_ledgers(describe(connection))
    return {key: described for key, described in objects.items() if key[0] not in _NOT_COMPARED}


def without_ledgers(objects: Objects) -> Objects:
    """`objects` less the tables in which migration tools note what they have applied, and their parts."""
    columns: dict[str, list[str]] = {}
    for (kind, name), described in objects.items():
        if kind == "column" and described.part_of:
            own = name.removeprefix(f"{described.part_of}.")
            columns.setdefault(described.part_of, []).append(own.strip('"'))
    ledgers = {
        table
        for table, own in columns.items()
        if _bare(table) in LEDGERS or has_shape_of_a_ledger(_bare(table), own)
    }
    # that the name of a sequence begins like theirs is all that says whose it is
    numbers = tuple(f"{_bare(table)}_" for table in ledgers)
    return {
        (kind, name): described
        for (kind, name), described in objects.items()
        if (described.part_of or name) not in ledgers
        and not (kind == "sequence" and _bare(name).startswith(numbers))
    }


def _bare(name: str) -> str:
    return name.rsplit(".", 1)[-1].strip('"')


def _tables(target: Target) -> dict[str, Relation]:
    """Tables by their name as the server prints it where nothing is on the search path."""
    with connect(target, "rehearse") as connection:
        relations = [table.relation for table in introspect(connection).tables]
        rows = connection.execute(
            "SELECT pg_catalog.quote_ident(s) || '.' || pg_catalog.quote_ident(t) "
            "FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY u(s, t, place) ORDER BY place",
            ([each.schema for each in relations], [each.name for each in relations]),
        ).fetchall()
    return {name: relation for (name,), relation in zip(rows, relations, strict=True)}


def _with_tables(
    made: Objects, there: Objects, tables: Mapping[str, Relation]
) -> Iterable[tuple[SchemaDifference, Relation | None]]:
    for difference in differences(made, there):
        name = difference.name
        for key in ((difference.kind, name), (difference.kind, f"public.{name}")):
            described = made.get(key) or there.get(key)
            if described is not None:
                yield difference, tables.get(described.part_of or key[1])
                break
        else:
            yield difference, None
