"""Stand-ins for common extensions that a server does not have, as far as a schema needs them.

The embedded server is built without OpenSSL and a UUID library, and so without pgcrypto and uuid-ossp, which
many schemas name for nothing but a default: what they are used for most, the server can do by itself.
"""

from __future__ import annotations

import re

from psycopg import sql

_EXTENSION = re.compile(
    r'CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?("(?:[^"]|"")+"|[\w$]+)'
    r'(?:.*?\bSCHEMA\s+("(?:[^"]|"")+"|[\w$]+))?',
    re.IGNORECASE | re.DOTALL,
)
_RANDOM_UUID = "RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS 'SELECT pg_catalog.gen_random_uuid()'"
_DIGEST = (
    "RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT CASE lower($2) "
    "WHEN 'md5' THEN decode(md5({data}), 'hex') WHEN 'sha224' THEN sha224({data}) "
    "WHEN 'sha256' THEN sha256({data}) WHEN 'sha384' THEN sha384({data}) "
    "WHEN 'sha512' THEN sha512({data}) END $$"
)
_BYTES = (
    "RETURNS bytea LANGUAGE sql VOLATILE STRICT PARALLEL SAFE AS $$ SELECT substring("
    "decode(replace(string_agg(gen_random_uuid()::text, ''), '-', ''), 'hex') FROM 1 FOR $1) "
    "FROM generate_series(0, $1 / 16) $$"
)
# extension -> (function with its arguments, the rest of its definition)
STAND_INS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "uuid-ossp": tuple(
        (name, "()", _RANDOM_UUID) for name in ("uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4")
    ),
    "pgcrypto": (
        ("digest", "(bytea, text)", _DIGEST.format(data="$1")),
        ("digest", "(text, text)", _DIGEST.format(data="convert_to($1, 'UTF8')")),
        ("gen_random_bytes", "(integer)", _BYTES),
    ),
}


def stand_in(statement: str) -> tuple[str, tuple[sql.Composed, ...]] | None:
    """The extension that a CREATE EXTENSION names, and what to run instead; None without a stand-in."""
    match = _EXTENSION.match(statement)
    if match is None:
        return None
    extension, schema = (_plain(part) for part in match.groups())
    if extension not in STAND_INS:
        return None
    place = sql.SQL("{}.").format(sql.Identifier(schema)) if schema else sql.SQL("")
    return extension, tuple(
        sql.SQL("CREATE OR REPLACE FUNCTION {}{}{} {}").format(
            place, sql.Identifier(name), sql.SQL(arguments), sql.SQL(rest)
        )
        for name, arguments, rest in STAND_INS[extension]
    )


def _plain(name: str | None) -> str:
    if name is None:
        return ""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
