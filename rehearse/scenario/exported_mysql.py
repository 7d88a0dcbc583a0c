"""A MySQL or MariaDB server's settings as exported: SHOW VARIABLES in any of its forms, or my.cnf. Pure."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from io import StringIO

from rehearse.errors import SqlFileError
from rehearse.model.migration import SqlFile

Pairs = tuple[tuple[str, str], ...]

_EXPORT = 'export it by: mysql --batch -e "SHOW GLOBAL VARIABLES" > production.tsv'
_NAME, _VALUE = "variable_name", ("value", "variable_value")
_GROUP = re.compile(r"\[([^\]]+)\]")
# The groups that a server reads, some with a version after a dash.
_SERVERS = re.compile(r"(mysqld|mariadbd|mariadb|server|galera|client-server)(-[\d.]+)?")
_OPTION = re.compile(
    r"""(?P<name>[A-Za-z][\w.-]*)\s*
        (?:=\s*(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<bare>[^#]*?))\s*(?:\#.*)?)?""",
    re.VERBOSE,
)
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "\\": "\\", "s": " ", '"': '"', "'": "'"}


def parse_variables(file: SqlFile) -> Pairs:
    """Names in lower case, with underscores, and their values; of a name given twice the last counts.

    Raises SqlFileError, naming the line, where `file` is none of the forms. Lines that are not understood are
    not quoted: they may hold a password.
    """
    text = file.text.lstrip("\ufeff")
    first = text.lstrip().partition("\n")[0].lower()
    if text.lstrip().startswith(("[{", "[\n", "[ ", "{")) or first.strip() == "[":
        pairs = _from_json(file.name, text)
    elif _NAME in first or first.startswith(("+--", "***")):
        pairs = _from_rows(file.name, text)
    else:
        pairs = list(_from_options(file.name, text))
    return tuple({_canonical(name): value for name, value in pairs}.items())


def _canonical(name: str) -> str:
    return name.strip().lower().replace("-", "_").removeprefix("loose_")


def _from_json(name: str, text: str) -> list[tuple[str, str]]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise SqlFileError(name, error.lineno, f"not JSON: {error.msg.lower()}", _EXPORT) from None
    if isinstance(document, dict):
        document = [{_NAME: key, _VALUE[0]: value} for key, value in document.items()]
    pairs = []
    for row in document:
        words = {str(key).lower(): value for key, value in row.items()} if isinstance(row, dict) else {}
        value = next((words[key] for key in _VALUE if key in words), None)
        if not isinstance(words.get(_NAME), str) or isinstance(value, dict | list):
            raise SqlFileError(name, 1, "not a JSON array of objects with Variable_name and Value", _EXPORT)
        pairs.append((words[_NAME], _text(value)))
    return pairs


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    return "" if value is None else str(value)


def _from_rows(name: str, text: str) -> list[tuple[str, str]]:
    """Tab-separated, CSV, and the table with bars that a terminal shows."""
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("+-"):
            continue
        words = _cells(line)
        if len(words) != 2:
            raise SqlFileError(name, number, "not a row of SHOW VARIABLES", _EXPORT)
        if words[0].lower() != _NAME:
            pairs.append((words[0], words[1]))
    return pairs


def _cells(line: str) -> list[str]:
    if line.startswith("|"):
        return [word.strip() for word in line.strip().removeprefix("|").removesuffix("|").split("|", 1)]
    if "\t" in line:
        return [word.strip() for word in line.split("\t")]
    return [word.strip() for word in next(csv.reader(StringIO(line)), [])]


def _from_options(name: str, text: str) -> Iterator[tuple[str, str]]:
    """An option file: what stands in the groups that a server reads, or before any group."""
    ours = True
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith(("#", ";")):
            continue
        group = _GROUP.match(line)
        if group is not None:
            ours = _SERVERS.fullmatch(group[1].strip()) is not None
            continue
        if line.startswith("!include"):
            raise SqlFileError(name, number, "other files are not read", "give one file with everything")
        match = _OPTION.fullmatch(line)
        if match is None:
            raise SqlFileError(name, number, "not a line of an option file", f"name = value, or {_EXPORT}")
        if ours:
            yield _option(match)


def _option(match: re.Match[str]) -> tuple[str, str]:
    """A name alone turns it on; `skip_` and `disable_` before one turn it off."""
    name = _canonical(match["name"])
    quoted = match["double"] if match["double"] is not None else match["single"]
    if quoted is not None:
        return name, re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), quoted)
    if match["bare"] is not None:
        return name, match["bare"]
    for prefix in ("disable_", "skip_"):
        if name.startswith(prefix) and name not in _CALLED_SKIP:
            return name.removeprefix(prefix), "OFF"
    return name.removeprefix("enable_"), "ON"


_CALLED_SKIP = ("skip_name_resolve", "skip_networking", "skip_external_locking", "skip_show_database")
