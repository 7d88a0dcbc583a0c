"""What a MySQL or MariaDB server says of itself, for the record of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pymysql

from rehearse.engines.mysql.connect import Connection, code, execute, fetch, identifier, message
from rehearse.model.target import EngineName

# Where a value came from that is not the shipped one; `AUTO` (MariaDB) is computed from the machine.
_CHANGED_MYSQL = """
SELECT v.variable_name, v.variable_value
FROM performance_schema.global_variables v JOIN performance_schema.variables_info i USING (variable_name)
WHERE i.variable_source <> 'COMPILED'
"""
_CHANGED_MARIADB = """
SELECT lower(variable_name), global_value FROM information_schema.system_variables
WHERE global_value_origin IN ('CONFIG', 'COMMAND-LINE', 'SQL')
  AND NOT (global_value <=> default_value)
"""

# Where the server is, who may log in, and in what people keep passwords, addresses or statements.
_NOT_SHOWN = re.compile(
    r".*(dir|dirs|_file|_path|socket|password|priv|host|_address|_uuid|_user|_index|_key|_cert)(_base|name)?"
    r"|port|.*_port|ssl_.*|tls_.*|admin_(ssl|tls)_.*|init_.*|log_error|log_bin_basename|report_.*|wsrep_.*|group_replication_.*"
    r"|(general_log|slow_query_log)_file|relay_log.*|autocommit|foreign_key_checks|unique_checks|pid_file"
    r"|rand_seed\d|pseudo_.*|timestamp|(gtid|persisted)_.*"
)

_READ_ONLY = 1238
_VALUE = re.compile(r"(to the value of|:) '.*", re.DOTALL)  # what was refused is nobody's to read


@dataclass(frozen=True, slots=True)
class Version:
    """`number` is (9, 7, 4); `text` as people say it, without the distribution's additions."""

    engine: EngineName
    number: tuple[int, ...]

    @property
    def text(self) -> str:
        """`9.7.4`."""
        return ".".join(map(str, self.number))


def server_version(connection: Connection) -> Version:
    """Which server it is, and its version."""
    return parse_version(str(fetch(connection, "SELECT version()")[0][0]))


def parse_version(text: str) -> Version:
    """`9.7.4-2`, `11.8.6-MariaDB-0+deb13u1`, `5.5.5-10.6.1-MariaDB`. Pure."""
    engine = EngineName.MARIADB if "mariadb" in text.lower() else EngineName.MYSQL
    if engine is EngineName.MARIADB:  # what MariaDB once put before it for the sake of old replicas
        text = text.removeprefix("5.5.5-")
    match = re.match(r"\d+(\.\d+)*", text)
    return Version(engine, tuple(int(part) for part in match[0].split(".")) if match else ())


def changed_settings(connection: Connection) -> tuple[tuple[str, str], ...]:
    """Names and values of global variables that differ from what the server ships with. Empty where the
    user may not look.
    """
    mariadb = server_version(connection).engine is EngineName.MARIADB
    try:
        rows = fetch(connection, _CHANGED_MARIADB if mariadb else _CHANGED_MYSQL)
    except pymysql.MySQLError:  # no right to look, or performance_schema is off
        return ()
    pairs = ((str(name), _text(value)) for name, value in rows)
    return tuple(sorted((name, value) for name, value in pairs if not _NOT_SHOWN.fullmatch(name)))


def known_settings(connection: Connection) -> dict[str, str]:
    """Every global variable of the server, by its name in lower case."""
    rows = fetch(connection, "SHOW GLOBAL VARIABLES")
    return {str(name).lower(): _text(value) for name, value in rows}


def refusals(connection: Connection, settings: Mapping[str, str]) -> dict[str, str]:
    """Which of these settings the server would not take, and what it says.

    Those that can be set while it runs are set, so that it has to be started anew afterwards; of the others
    it cannot be asked before. Needs the right to set them.
    """
    refused = {}
    for name, value in settings.items():
        try:
            execute(connection, f"SET GLOBAL {identifier(name)} = %(value)s", {"value": _typed(value)})
        except pymysql.MySQLError as error:
            if code(error) != _READ_ONLY:
                refused[name] = _VALUE.sub("", message(error))
    return refused


def _typed(value: str) -> str | int | float:
    """A number where it is one: a number in quotes is refused."""
    if re.fullmatch(r"-?\d+", value):
        return int(value)
    return float(value) if re.fullmatch(r"-?\d+\.\d+", value) else value


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else "" if value is None else str(value)
