from __future__ import annotations

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.execute import execute_file
from rehearse.errors import SqlFileError
from rehearse.model.migration import SqlFile
from rehearse.model.target import Target

DUMP = """
SELECT pg_catalog.set_config('search_path', '', false);
CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA public;
COMMENT ON EXTENSION "uuid-ossp" IS 'generate universally unique identifiers (UUIDs)';
CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA public;
CREATE TABLE public.t (
    id uuid DEFAULT public.uuid_generate_v4() PRIMARY KEY,
    token bytea DEFAULT public.gen_random_bytes(20),
    hash bytea GENERATED ALWAYS AS (public.digest('abc'::text, 'sha256'::text)) STORED
);
INSERT INTO public.t DEFAULT VALUES;
"""
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_schema_that_names_missing_extensions_for_their_defaults_is_taken(database: Target) -> None:
    with connect(database, "rehearse") as connection:
        notes = execute_file(connection, SqlFile("dump.sql", DUMP))
        row = connection.execute("SELECT length(token), encode(hash, 'hex') FROM t").fetchone()
        installed = {name for (name,) in connection.execute("SELECT extname FROM pg_extension")}
    assert row == (20, ABC)
    for extension in ("uuid-ossp", "pgcrypto"):
        assert extension in installed or any(f"{extension} is not here" in note for note in notes)


def test_an_extension_without_a_stand_in_is_named(database: Target) -> None:
    with (
        connect(database, "rehearse") as connection,
        pytest.raises(SqlFileError, match=r"nowhere.*docker:IMAGE"),
    ):
        execute_file(connection, SqlFile("dump.sql", "CREATE EXTENSION nowhere;"))
