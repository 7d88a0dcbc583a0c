"""Names of a scenario held against the schema, as soon as that is applied: a typo costs no load."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence

from rehearse.errors import RehearseError, ScenarioError
from rehearse.model.accepted import AcceptSpec
from rehearse.model.scenario import RowCounts, Scenario
from rehearse.model.schema import Schema, Table
from rehearse.workload.infer import infer_workload
from rehearse.workload.script import parse_script

_NEAR = 0.8  # how alike a risk's subject is to a table's name that it is taken for a slip of the pen
_SLIP = 0.6
_MANY = 12


def check_names(scenario: Scenario, schema: Schema) -> None:
    """Raises ScenarioError for whatever the scenario names and `schema` does not have: all of it at once,
    each with the nearest name there is.
    """
    problems = list(dict.fromkeys(_problems(scenario, schema)))
    if len(problems) == 1:
        raise ScenarioError(*problems[0])
    if problems:
        raise ScenarioError(
            f"{len(problems)} names are not in the schema: "
            + "; ".join(f"({place}) {RehearseError(*each)}" for place, each in enumerate(problems, 1))
        )


def find_drawn(schema: Schema, name: str, columns: Iterable[str]) -> Table:
    """The table of that name, which has these columns; ScenarioError if it has not, or is not there."""
    table = schema.find(name)
    for what, mend in _drawn(schema, name, columns):
        raise ScenarioError(what, mend)
    assert table is not None
    return table


def near(word: str, known: Sequence[str]) -> str:
    """A mend: `did you mean ...?`; empty where nothing is close."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=_SLIP)
    return f"did you mean {found[0]}?" if found else ""


def _problems(scenario: Scenario, schema: Schema) -> Iterator[tuple[str, str]]:
    dataset, workload = scenario.dataset, scenario.workload
    yield from _counted(dataset.rows, schema, "rows for {}: there is no such table")
    production = "production rows name a table that the schema does not have: {}"
    yield from _counted(scenario.production, schema, production)
    for column in dataset.columns:
        yield from _column(schema, column.column)
    for name in (spec.table for spec in dataset.tables):
        yield from _table(schema, name, "[dataset.tables] names a table that the schema does not have: {}")
    for name in (children.per for spec in dataset.tables for children in spec.children):
        yield from _table(schema, name, "`children` per {}: there is no such table")
    for name, _factor in workload.hot:
        yield from _table(schema, name, "hot names {}: the schema has no such table")
    for adversary in scenario.adversaries:
        what = f"an adversary ({adversary.kind}) is to stand on {{}}: there is no such table"
        yield from _table(schema, adversary.table, what)
    for source in workload.scripts:
        for key in sorted(parse_script(source).pool_keys, key=lambda key: (key.table, key.column)):
            yield from _drawn(schema, key.table, (key.column,))
    if not workload.scripts and scenario.gates:
        yield from _scripts_of_gates(scenario, schema)
    yield from _expendable(scenario.migration.expendable, schema)
    for spec in scenario.accepted:
        yield from _accepted(spec, schema, scenario)


def _counted(counts: RowCounts, schema: Schema, what: str) -> Iterator[tuple[str, str]]:
    for name, _rows in counts.tables:
        yield from _table(schema, name, what)


def _table(schema: Schema, name: str, what: str) -> Iterator[tuple[str, str]]:
    if schema.find(name) is not None or schema.find(name.replace('"', "")) is not None:
        return
    homes = sorted(t.relation.schema for t in schema.tables if t.relation.name == name)
    if homes:
        yield f"{name} is a table in each of the schemas {', '.join(homes)}", "name the schema"
        return
    known = _table_names(schema)
    some = ", ".join(str(table.relation) for table in schema.tables[:8])
    yield what.format(name), near(name, known) or (f"the schema has {some}" if some else "")


def _table_names(schema: Schema) -> list[str]:
    """As they may be written: those in `public` first without it, with their schemas, and without."""
    short = [str(table.relation) for table in schema.tables]
    full = [f"{t.relation.schema}.{t.relation.name}" for t in schema.tables]
    return [*short, *full, *(name for t in schema.tables if schema.find(name := t.relation.name) is not None)]


def _column(schema: Schema, name: str) -> Iterator[tuple[str, str]]:
    """`[schema.]table.column`, where either may have dots in it."""
    plain = name.replace('"', "")
    splits = [
        (schema.find(spelled[:place]), spelled[place + 1 :])
        for spelled in (name, plain)
        for place, character in enumerate(spelled)
        if character == "."
    ]
    if any(t is not None and any(c.name == rest for c in t.columns) for t, rest in splits):
        return
    table = next((table for table, _ in splits if table is not None), None)
    if table is not None:
        missing = plain.rpartition(".")[2]
        mend = near(missing, [column.name for column in table.columns])
        yield f"[dataset.columns] {table.relation} has no column {missing}", mend
    elif "." not in plain:
        yield f"[dataset.columns] {name} names no table", "write table.column"
    else:
        what = "[dataset.columns] names a table that the schema does not have: {}"
        yield from _table(schema, plain.rpartition(".")[0], what)


def _drawn(schema: Schema, name: str, columns: Iterable[str]) -> Iterator[tuple[str, str]]:
    table = schema.find(name)
    if table is None:
        names = [str(t.relation) for t in schema.tables]
        what = f"a script draws from the table {name}, which the schema does not have"
        yield what, near(name, names)
        return
    known = [column.name for column in table.columns]
    for column in columns:
        if column not in known:
            what = f"a script draws from {name}.{column}, which {name} does not have"
            yield what, near(column, known)


def _expendable(names: Iterable[str], schema: Schema) -> Iterator[tuple[str, str]]:
    """What may be lost has to be there: a typo is found now, not by a verdict at the end."""
    known = [
        name.replace('"', "")
        for table in schema.tables
        for relation in (table.relation.name, f"{table.relation.schema}.{table.relation.name}")
        for name in (relation, *(f"{relation}.{column.name}" for column in table.columns))
    ]
    for name in names:
        plain = name.replace('"', "").strip()
        if plain not in known:
            mend = near(plain, known) or "write TABLE or TABLE.COLUMN"
            yield f"expendable names what the schema does not have: {name}", mend


def _scripts_of_gates(scenario: Scenario, schema: Schema) -> Iterator[tuple[str, str]]:
    """Gates on scripts that are inferred from no table of the schema. Which joins there will be depends on
    what the migration touches, so that these are left for later.
    """
    tables = frozenset(table.relation for table in schema.tables)
    inferred = infer_workload(schema, tables, dict.fromkeys(tables, 1), generated=tables)
    after = scenario.workload.after
    names = [source.name for source in (*inferred, *(after.scripts if after else ()))]
    for gate in scenario.gates:
        for metric in (gate.metric, gate.relative_to):
            script = "" if metric is None else dict(metric.selector).get("script", "")
            plain = re.sub(r"_\d+$", "", script)
            if script and not {script, plain} & {*names} and not re.search("_with_|_and_its_", script):
                yield unsent(str(metric), script, names)


def unsent(metric: str, script: str, names: Sequence[str]) -> tuple[str, str]:
    """What is wrong with a gate on a script that is none of `names`, and the mend."""
    some = ", ".join([*names[:_MANY], *(["..."] if len(names) > _MANY else [])])
    return f"the gate on {metric} names a script that is not sent", near(script, names) or f"there are {some}"


def _accepted(spec: AcceptSpec, schema: Schema, scenario: Scenario) -> Iterator[tuple[str, str]]:
    """A risk's subject that is a slip of the pen away from a table. It may be anything else, such as an
    index, a script, or what the migration makes, so that no other is refused.
    """
    name = spec.subject.replace('"', "").strip()
    files = (*scenario.migration.up, *scenario.migration.down)
    if not _may_be_table(name) or any(file.tool is not None for file in files):
        return
    texts = " ".join([*(file.text for file in files), *(s.text for s in scenario.workload.scripts)]).lower()
    there = {
        word.lower() for t in schema.tables for word in (t.relation.schema, *(c.name for c in t.columns))
    }
    words = {name.lower(), *name.lower().split(".")} - there
    if any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", texts) for word in words):
        return
    known = {each.replace('"', "").lower(): each for each in reversed(_table_names(schema))}
    parts = [".".join(name.lower().split(".")[:length]) for length in range(1, name.count(".") + 2)]
    if known.keys() & set(parts):
        return
    for part in reversed(parts):
        for found in difflib.get_close_matches(part, known, n=1, cutoff=_NEAR):
            if not (part.startswith(found) or found.startswith(part)):
                what = f"{spec.place} is about {spec.subject}, which the schema does not have"
                yield what, f"did you mean {known[found]}{name[len(part) :]}?"
                return


def _may_be_table(name: str) -> bool:
    """Not a pattern, not a phrase, and without a number, as names have that are made in a loop."""
    return bool(name) and re.search(r"[*?/ (\d]", name) is None
