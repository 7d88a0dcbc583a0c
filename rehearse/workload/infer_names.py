"""Names for inferred scripts: SQL identifiers, variables and pool draws that survive any schema."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from psycopg import sql

from rehearse.model.relation import Relation

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*\Z")
_NOT_PLAIN = re.compile(r"[^a-z0-9_]+")

# Every keyword of PostgreSQL's grammar that is not an unreserved one (manual, appendix C).
_KEYWORD_LIST = """
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check
    collate collation column concurrently constraint create cross current_catalog current_date
    current_role current_schema current_time current_timestamp current_user default deferrable desc
    distinct do else end except false fetch for foreign freeze from full grant group having ilike in
    initially inner intersect into is isnull join lateral leading left like limit localtime
    localtimestamp natural not notnull null offset on only or order outer overlaps placing primary
    references returning right select session_user similar some symmetric system_user table
    tablesample then to trailing true union unique user using variadic verbose when where window
    with
    between bigint bit boolean char character coalesce dec decimal exists extract float greatest grouping
    inout int integer interval json json_array json_arrayagg json_exists json_object json_objectagg
    json_query json_scalar json_serialize json_table json_value least merge_action national nchar none
    normalize nullif numeric out overlay position precision real row setof smallint substring time
    timestamp treat trim values varchar xmlattributes xmlconcat xmlelement xmlexists xmlforest
    xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
"""
_KEYWORDS = frozenset(_KEYWORD_LIST.split())
# Variables that pgbench sets by itself.
_TAKEN = ("client_id", "scale", "random_seed", "default_seed")


def quoted(name: str) -> str:
    """`name` as SQL: quoted only where it has to be, for people will read these scripts."""
    if _PLAIN.match(name) and name not in _KEYWORDS:
        return name
    return sql.Identifier(name).as_string(None)


def qualified(relation: Relation) -> str:
    """A table as SQL, with its schema unless that is `public`."""
    name = quoted(relation.name)
    return name if relation.schema == "public" else f"{quoted(relation.schema)}.{name}"


def draw(kind: str, relation: Relation, column: str) -> str:
    """`sample(orders.id)` or `fresh(orders.id)`."""
    # A dot in a name would read as the one between schema and table, so the schema is said then.
    bare = relation.schema == "public" and "." not in relation.name
    parts = (relation.name, column) if bare else (relation.schema, relation.name, column)
    return f"{kind}({'.'.join(_pool_name(part) for part in parts)})"


def _pool_name(name: str) -> str:
    return name if _PLAIN.match(name) else '"' + name.replace('"', '""') + '"'


def variables(columns: Iterable[str]) -> Mapping[str, str]:
    """A variable for each column: its own name where that is plain and free, else `v1`, `v2`, ..."""
    names: dict[str, str] = {}
    columns = list(dict.fromkeys(columns))
    taken = {*_TAKEN, *columns}
    for number, column in enumerate(columns, start=1):
        if _PLAIN.match(column) and column not in _TAKEN:
            names[column] = column
            continue
        name = f"v{number}"
        while name in taken:
            name += "_"
        taken.add(name)
        names[column] = name
    return names


def plain(relation: Relation) -> str:
    """A table's name reduced to what may stand in a script's name."""
    name = relation.name if relation.schema == "public" else f"{relation.schema}_{relation.name}"
    return plain_word(name)


def plain_word(name: str) -> str:
    """`name` in lower-case letters, digits and underscores; never empty."""
    return _NOT_PLAIN.sub("_", name.lower()).strip("_") or "x"


def comment(text: str) -> str:
    """`text` as comment lines; whatever a name has in it, it stays inside them."""
    printable = "".join(char if char.isprintable() else "?" for char in text)
    return f"-- {printable}\n"
